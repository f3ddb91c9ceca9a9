/* Status reports: see report.h. */
#include "agent/report/report.h"

#include <stdlib.h>

#include "shared/base/mem.h"
#include "shared/wire/wire.h"

struct report_batch {
        Swarm__StatusBatch message;
        Swarm__TaskStatus *statuses;
        Swarm__TaskStatus **list;
        uint8_t (*ids)[ID_BYTES];
};

void report_init(struct report *r)
{
        list_init(&r->dirty);
        list_init(&r->inflight);
        r->seq = 0;
        r->resend_at_ms = r->due_at_ms = TIME_NEVER;
}

void report_item_init(struct report_item *i, struct id task)
{
        *i = (struct report_item){.task = task, .exit_code = -1, .message = ""};
        list_init(&i->link);
}

void report_item_done(struct report_item *i)
{
        list_remove(&i->link);
        free(i->error);
        i->error = NULL;
}

void report_touch(struct report *r, struct report_item *i, bool is_urgent, int64_t mono_ms)
{
        int64_t due = is_urgent ? mono_ms : mono_ms + REPORT_LAZY_MS;

        r->due_at_ms = MIN(r->due_at_ms, due);
        if (i->is_inflight)
                i->is_changed = true;
        else if (!list_is_linked(&i->link))
                list_push_back(&r->dirty, &i->link);
}

static void requeue(struct report *r, struct report_item *i)
{
        list_remove(&i->link);
        i->is_inflight = i->is_changed = false;
        list_push_back(&r->dirty, &i->link);
}

void report_restart(struct report *r, int64_t mono_ms)
{
        struct report_item *i, *tmp;

        LIST_FOREACH_SAFE (i, tmp, &r->inflight, link)
                requeue(r, i);
        r->resend_at_ms = TIME_NEVER;
        if (!list_is_empty(&r->dirty))
                r->due_at_ms = mono_ms;
}

void report_on_ack(struct report *r, uint64_t seq)
{
        struct report_item *i, *tmp;

        if (seq != r->seq || r->resend_at_ms == TIME_NEVER)
                return;
        LIST_FOREACH_SAFE (i, tmp, &r->inflight, link) {
                if (i->is_changed) {
                        requeue(r, i);
                } else {
                        list_remove(&i->link);
                        i->is_inflight = false;
                }
        }
        r->resend_at_ms = TIME_NEVER;
}

void report_item_encode(const struct report_item *i, Swarm__TaskStatus *ret, uint8_t id[ID_BYTES])
{
        swarm__task_status__init(ret);
        ret->task_id = wire_id(i->task, id);
        ret->state = i->state;
        ret->state_ms = i->state_ms;
        ret->message = (char *)i->message;
        if (i->error)
                ret->error = i->error;
        ret->exit_code = i->exit_code;
}

/* The statuses on their way as a message. */
static struct report_batch *batch_new(const struct report *r)
{
        struct report_batch *b = xnew(struct report_batch);
        const struct report_item *i;
        size_t n = 0;

        LIST_FOREACH (i, &r->inflight, link)
                n++;
        b->statuses = xnew_array(Swarm__TaskStatus, n);
        b->list = xnew_array(Swarm__TaskStatus *, n);
        b->ids = xcalloc(n, sizeof(*b->ids));
        n = 0;
        LIST_FOREACH (i, &r->inflight, link) {
                report_item_encode(i, &b->statuses[n], b->ids[n]);
                b->list[n] = &b->statuses[n];
                n++;
        }
        swarm__status_batch__init(&b->message);
        b->message.seq = b->message.oldest = r->seq;
        b->message.statuses = b->list;
        b->message.n_statuses = n;
        return b;
}

struct report_batch *report_next(struct report *r, int64_t mono_ms)
{
        if (list_is_empty(&r->inflight))
                r->resend_at_ms = TIME_NEVER; /* all of it was forgotten meanwhile */
        if (r->resend_at_ms != TIME_NEVER) {
                if (mono_ms < r->resend_at_ms)
                        return NULL;
        } else {
                if (mono_ms < r->due_at_ms || list_is_empty(&r->dirty))
                        return NULL;
                for (int n = 0; n < REPORT_BATCH_MAX && !list_is_empty(&r->dirty); n++) {
                        struct list *l = list_pop_front(&r->dirty);

                        LIST_ITEM(l, struct report_item, link)->is_inflight = true;
                        list_push_back(&r->inflight, l);
                }
                r->seq++;
                r->due_at_ms = list_is_empty(&r->dirty) ? TIME_NEVER : mono_ms;
        }
        r->resend_at_ms = mono_ms + REPORT_RESEND_MS;
        return batch_new(r);
}

const Swarm__StatusBatch *report_batch_message(const struct report_batch *b)
{
        return &b->message;
}

void report_batch_free(struct report_batch *b)
{
        if (!b)
                return;
        free(b->statuses);
        free(b->list);
        free(b->ids);
        free(b);
}

int64_t report_deadline(const struct report *r)
{
        if (r->resend_at_ms != TIME_NEVER)
                return r->resend_at_ms;
        return list_is_empty(&r->dirty) ? TIME_NEVER : r->due_at_ms;
}
