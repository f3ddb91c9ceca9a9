/*
 * Rows that are behind the memory. They are told in rounds. A round begins with all objects that
 * are queued then, tells the puts, each after what it refers to, and then the deletions, users
 * first; what changes meanwhile waits for the next. An object that changes in mid-round may be told
 * as it is by then: the log still has the change, and to put it twice does no harm. So wherever a
 * round is cut off, every row in the tables refers to rows that are there.
 */
#include <string.h>

#include "manager/store/store_internal.h"
#include "shared/base/mem.h"
#include "shared/wire/wire.h"

#define RADIX 256

struct telling {
        void (*fn)(void *arg, const struct row *r);
        void *arg;
        size_t count;
};

static void push(struct row_queue *q, uint64_t row, void *object)
{
        if (q->len == q->cap) {
                q->cap = q->cap ? q->cap * 2 : 64;
                q->refs = xreallocarray(q->refs, q->cap, sizeof(*q->refs));
        }
        q->refs[q->len++] = (struct row_ref){row, object};
}

void row_queue_put(struct store *s, enum row_table kind, void *object)
{
        struct marks m = object_marks(s, kind, object);

        if (!(*m.dirty & DIRTY_QUEUED))
                push(&s->puts[kind], m.row, object);
        *m.dirty |= DIRTY_QUEUED | DIRTY_BEHIND;
}

void row_queue_delete(struct store *s, enum row_table kind, uint64_t row)
{
        push(&s->deletes[kind], row, NULL);
}

static bool is_sorted(const struct row_queue *q, uint64_t *ret_max)
{
        bool sorted = true;

        *ret_max = q->len ? q->refs[0].row : 0;
        for (size_t i = 1; i < q->len; i++) {
                sorted = sorted && q->refs[i - 1].row <= q->refs[i].row;
                *ret_max = MAX(*ret_max, q->refs[i].row);
        }
        return sorted;
}

/* By row: radix sort, lowest digit first (Knuth 5.2.5). */
static void sort(struct row_queue *q)
{
        uint64_t max;

        if (is_sorted(q, &max))
                return;
        struct row_ref *other = xnew_array(struct row_ref, q->cap);
        for (unsigned shift = 0; shift < 64 && max >> shift; shift += 8) {
                size_t start[RADIX + 1] = {0};

                for (size_t i = 0; i < q->len; i++)
                        start[(q->refs[i].row >> shift & (RADIX - 1)) + 1]++;
                for (size_t d = 0; d < RADIX; d++)
                        start[d + 1] += start[d];
                for (size_t i = 0; i < q->len; i++)
                        other[start[q->refs[i].row >> shift & (RADIX - 1)]++] = q->refs[i];
                struct row_ref *swap = q->refs;
                q->refs = other;
                other = swap;
        }
        free(other);
}

static void begin_queue(struct store *s, struct row_queue *round, struct row_queue *next)
{
        free(round->refs);
        *round = *next;
        *next = (struct row_queue){0};
        sort(round);
        s->round_left += round->len;
}

static void begin_round(struct store *s)
{
        for (enum row_table kind = 0; kind < KINDS; kind++) {
                begin_queue(s, &s->round_puts[kind], &s->puts[kind]);
                begin_queue(s, &s->round_deletes[kind], &s->deletes[kind]);
        }
}

static void describe(struct store *s, enum row_table kind, void *object, struct row *r)
{
        if (kind == ROW_CLUSTER) {
                r->time_ms = s->cluster.msg->updated_ms;
        } else if (kind == ROW_NODES) {
                const struct node *node = object;

                r->id = node->id;
                r->name = node_hostname(node);
                r->state = node_state_name(node_stored_state(node));
                r->time_ms = node->updated_ms;
        } else if (kind == ROW_SERVICES) {
                const struct service *service = object;

                r->id = service->id;
                r->name = service->name;
                r->state = update_state_name(service->update.state);
                r->time_ms = service->updated_ms;
        } else if (kind == ROW_SPECS) {
                const struct spec *spec = object;

                r->id = spec->service_id;
                r->name = spec->msg->name;
        } else if (kind == ROW_TASKS) {
                const struct task *task = object;

                r->id = task->id;
                r->name = task->service->name;
                r->state = task_state_name((enum task_state)task->state);
                r->desired = task_state_name((enum task_state)task->desired);
                r->time_ms = task->state_ms;
        } else if (kind == ROW_IMAGES) {
                const struct image *image = object;

                r->name = image->msg->n_names ? image->msg->names[0] : NULL;
                r->time_ms = image->msg->created_ms;
        }
}

static void tell(struct store *s, enum row_table kind, void *object, struct telling *t)
{
        struct marks m = object_marks(s, kind, object);
        struct object_msg encoded;
        struct row r = {.table = kind, .row = m.row};

        r.msg = object_encode(s, kind, object, &encoded);
        describe(s, kind, object, &r);
        t->fn(t->arg, &r);
        t->count++;
        *m.dirty &= (uint8_t)~DIRTY_BEHIND;
        *m.dirty |= DIRTY_STORED;
}

static void tell_if_new(struct store *s, enum row_table kind, void *object, struct telling *t)
{
        if (object && !(*object_marks(s, kind, object).dirty & DIRTY_STORED))
                tell(s, kind, object, t);
}

/* An object that changed in mid-round may refer to what is queued for the next only. */
static void tell_referred(struct store *s, enum row_table kind, void *object, struct telling *t)
{
        if (kind == ROW_SERVICES) {
                struct service *service = object;

                tell_if_new(s, ROW_SPECS, service->spec, t);
                tell_if_new(s, ROW_SPECS, service->previous_spec, t);
        } else if (kind == ROW_TASKS) {
                struct task *task = object;

                tell_if_new(s, ROW_SPECS, task->spec, t);
                if (!(task->service->dirty & DIRTY_STORED)) {
                        tell_referred(s, ROW_SERVICES, task->service, t);
                        tell(s, ROW_SERVICES, task->service, t);
                }
                tell_if_new(s, ROW_NODES, task->node, t);
        }
}

static void tell_deleted(enum row_table kind, uint64_t row, struct telling *t)
{
        t->fn(t->arg, &(struct row){.table = kind, .row = row});
        t->count++;
}

static void tell_put(struct store *s, enum row_table kind, void *object, struct telling *t)
{
        uint8_t *dirty = object_marks(s, kind, object).dirty;

        *dirty &= (uint8_t)~DIRTY_QUEUED;
        if (*dirty & DIRTY_GONE) {
                /* In a turn's list still: it is dropped when that is taken. */
                if (*dirty & DIRTY_CHANGED)
                        return;
                if (*dirty & DIRTY_STORED)
                        tell_deleted(kind, object_marks(s, kind, object).row, t);
                object_free(s, kind, object);
                return;
        }
        if (!(*dirty & DIRTY_BEHIND))
                return;
        tell_referred(s, kind, object, t);
        tell(s, kind, object, t);
}

static void tell_queue(struct store *s, enum row_table kind, struct row_queue *q, size_t max,
                       struct telling *t)
{
        while (q->next < q->len && t->count < max) {
                struct row_ref ref = q->refs[q->next++];

                s->round_left--;
                if (ref.object) {
                        tell_put(s, kind, ref.object, t);
                } else {
                        tell_deleted(kind, ref.row, t);
                }
        }
}

size_t store_flush_rows(struct store *s, size_t max, void (*fn)(void *arg, const struct row *r),
                        void *arg)
{
        static const enum row_table puts[KINDS] = {ROW_CLUSTER,  ROW_NODES, ROW_SPECS,
                                                   ROW_SERVICES, ROW_TASKS, ROW_IMAGES};
        static const enum row_table deletes[] = {ROW_TASKS, ROW_SERVICES, ROW_SPECS, ROW_NODES,
                                                 ROW_IMAGES};
        struct telling t = {fn, arg, 0};

        if (s->round_left == 0)
                begin_round(s);
        for (size_t i = 0; i < KINDS; i++)
                tell_queue(s, puts[i], &s->round_puts[puts[i]], max, &t);
        for (size_t i = 0; i < ARRAY_SIZE(deletes); i++)
                tell_queue(s, deletes[i], &s->round_deletes[deletes[i]], max, &t);
        return t.count;
}

size_t store_unflushed_rows(struct store *s)
{
        size_t n = s->round_left;

        for (enum row_table kind = 0; kind < KINDS; kind++)
                n += s->puts[kind].len + s->deletes[kind].len;
        return n;
}

bool store_is_between_rounds(struct store *s)
{
        return s->round_left == 0;
}

static void queue_done(struct store *s, enum row_table kind, struct row_queue *q)
{
        for (size_t i = q->next; i < q->len; i++) {
                void *object = q->refs[i].object;

                if (object && (*object_marks(s, kind, object).dirty & DIRTY_GONE))
                        object_free(s, kind, object);
        }
        free(q->refs);
}

void rows_done(struct store *s)
{
        for (enum row_table kind = 0; kind < KINDS; kind++) {
                queue_done(s, kind, &s->round_puts[kind]);
                queue_done(s, kind, &s->puts[kind]);
                free(s->round_deletes[kind].refs);
                free(s->deletes[kind].refs);
        }
}
