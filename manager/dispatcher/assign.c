/*
 * What agents are told of their tasks. The store's watch notes each task that changed in its
 * session, so a turn costs O(changes); a new session gets the complete set. Messages are bounded in
 * tasks and bytes and form a chain: each applies to the one before. A spec goes out once a session,
 * in the message with the first task that needs it, with the record of its image.
 */
#include <string.h>

#include "manager/dispatcher/dispatcher_internal.h"
#include "shared/base/mem.h"
#include "shared/wire/wire.h"

/* What a spec or task adds to a message beyond its own bytes, at most. */
#define SPEC_OVERHEAD 64
#define TASK_BYTES    96

struct item {
        Swarm__TaskAssignment msg;
        uint8_t id[ID_BYTES], service_id[ID_BYTES];
};

/* One message being put together. */
struct batch {
        struct item items[ASSIGN_TASKS_MAX];
        Swarm__TaskAssignment *tasks[ASSIGN_TASKS_MAX];
        Swarm__SpecVersion spec_msgs[ASSIGN_TASKS_MAX], *specs[ASSIGN_TASKS_MAX];
        uint8_t spec_ids[ASSIGN_TASKS_MAX][ID_BYTES];
        Swarm__Image image_msgs[ASSIGN_TASKS_MAX], *images[ASSIGN_TASKS_MAX];
        uint8_t removed_ids[ASSIGN_TASKS_MAX][ID_BYTES];
        ProtobufCBinaryData removed[ASSIGN_TASKS_MAX];
        size_t n_tasks, n_specs, n_images, n_removed, bytes;

        struct dispatcher *d;
        struct session *session;
        struct list *effects;
        bool is_complete;
        uint64_t applies_to;
        size_t sent_bytes;
};

struct batch *batch_new(void)
{
        return xnew(struct batch);
}

void batch_free(struct batch *b)
{
        free(b);
}

void id_list_push(struct id_list *l, struct id id)
{
        if (l->n == l->cap) {
                l->cap = MAX(l->cap * 2, (size_t)8);
                l->ids = xreallocarray(l->ids, l->cap, sizeof(*l->ids));
        }
        l->ids[l->n++] = id;
}

void id_list_done(struct id_list *l)
{
        free(l->ids);
        *l = (struct id_list){0};
}

/* --- noting -------------------------------------------------------------------------------------
 */
void assign_on_task(struct dispatcher *d, struct task *task, enum change_kind kind,
                    const struct task_before *before)
{
        struct session *s = task->node ? session_of(task->node) : NULL;

        if (!s || id_is_zero(s->id) || s->needs_complete || task->state < TASK_ASSIGNED)
                return;
        if (kind == CHANGE_REMOVED) {
                id_list_push(&s->removed, task->id);
        } else {
                bool is_news = !before || before->state < TASK_ASSIGNED ||
                               before->desired != task->desired || before->node != task->node;
                if (!is_news || (task->flags & TASK_FLAG_TELL))
                        return;
                task->flags |= TASK_FLAG_TELL;
                id_list_push(&s->dirty, task->id);
        }
        session_must_tell(d, s);
}

void assign_forget_specs(struct session *s)
{
        struct sent_spec *sent;
        size_t i;

        MAP_FOREACH (sent, i, &s->specs) {
                free(sent);
        }
        map_done(&s->specs);
}

/* --- putting a message together -----------------------------------------------------------------
 */
static void send_batch(struct batch *b, bool is_continued)
{
        Swarm__ManagerMessage m = SWARM__MANAGER_MESSAGE__INIT;
        Swarm__Assignments a = SWARM__ASSIGNMENTS__INIT;
        struct session *s = b->session;
        uint8_t id[ID_BYTES];

        a.is_complete = b->is_complete;
        a.is_continued = is_continued;
        a.applies_to = b->applies_to;
        a.results_in = ++s->assign_seq;
        a.n_specs = b->n_specs;
        a.specs = b->specs;
        a.n_tasks = b->n_tasks;
        a.tasks = b->tasks;
        a.n_removed = b->n_removed;
        a.removed = b->removed;
        a.n_images = b->n_images;
        a.images = b->images;
        m.session = wire_id(s->id, id);
        m.kind_case = SWARM__MANAGER_MESSAGE__KIND_ASSIGNMENTS;
        m.assignments = &a;
        effect_agent(b->effects, (struct peer){.node = s->node->id}, &m);
        b->sent_bytes += b->bytes;
        b->applies_to = s->assign_seq;
        b->n_tasks = b->n_specs = b->n_images = b->n_removed = b->bytes = 0;
}

/* Closes the message first when so much more would be too much. */
static void make_room(struct batch *b, size_t bytes)
{
        bool is_full = b->n_tasks == ASSIGN_TASKS_MAX || b->n_removed == ASSIGN_TASKS_MAX;

        if (is_full || (b->bytes > 0 && b->bytes + bytes > ASSIGN_BYTES_MAX))
                send_batch(b, b->is_complete);
}

/* Ids are random, so adding the version keeps them apart. */
static struct id spec_key(const struct spec *spec)
{
        return (struct id){spec->service_id.hi, spec->service_id.lo + spec->version};
}

static void add_image(struct batch *b, const struct spec *spec)
{
        const Swarm__TaskSpec *t = spec->msg->task;
        struct image *image = NULL;

        if (t && t->container)
                image = store_find_image(b->d->store, t->container->image_id);
        if (!image)
                return;
        for (size_t i = 0; i < b->n_images; i++)
                if (b->image_msgs[i].id == image->msg->id)
                        return;
        Swarm__Image *m = &b->image_msgs[b->n_images];
        *m = *image->msg;
        m->n_names = 0;
        m->names = NULL;
        b->images[b->n_images++] = m;
        b->bytes += swarm__image__get_packed_size(m) + SPEC_OVERHEAD;
}

static void add_spec(struct batch *b, const struct spec *spec)
{
        Swarm__SpecVersion *m = &b->spec_msgs[b->n_specs];
        struct sent_spec *sent = xnew(struct sent_spec);

        sent->key = spec_key(spec);
        map_put(&b->session->specs, sent);
        swarm__spec_version__init(m);
        m->service_id = wire_id(spec->service_id, b->spec_ids[b->n_specs]);
        m->spec_version = spec->version;
        m->spec = (ProtobufCBinaryData){spec->packed_len, spec->packed};
        b->specs[b->n_specs++] = m;
        b->bytes += spec->packed_len + SPEC_OVERHEAD;
        add_image(b, spec);
}

static void add_task(struct batch *b, struct task *task)
{
        bool has_spec = map_get_id(&b->session->specs, spec_key(task->spec)) != NULL;
        size_t bytes = TASK_BYTES;

        if (task->generic)
                bytes += swarm__resources__get_packed_size(task->generic);
        make_room(b, bytes + (has_spec ? 0 : task->spec->packed_len));
        if (!has_spec)
                add_spec(b, task->spec);
        struct item *item = &b->items[b->n_tasks];
        swarm__task_assignment__init(&item->msg);
        item->msg.task_id = wire_id(task->id, item->id);
        item->msg.service_id = wire_id(task->spec->service_id, item->service_id);
        item->msg.spec_version = task->spec->version;
        item->msg.slot = task->slot;
        item->msg.desired = task->desired;
        if (task->generic) {
                item->msg.n_generic = task->generic->n_generic;
                item->msg.generic = task->generic->generic;
        }
        b->tasks[b->n_tasks++] = &item->msg;
        b->bytes += bytes;
}

static void add_removed(struct batch *b, struct id id)
{
        make_room(b, TASK_BYTES);
        b->removed[b->n_removed] = wire_id(id, b->removed_ids[b->n_removed]);
        b->n_removed++;
        b->bytes += TASK_BYTES;
}

/* --- sending ------------------------------------------------------------------------------------
 */
static void send_complete(struct batch *b)
{
        struct session *s = b->session;
        struct task *task;

        assign_forget_specs(s);
        b->is_complete = true;
        b->applies_to = 0;
        LIST_FOREACH (task, &s->node->tasks, node_link) {
                task->flags &= (uint8_t)~TASK_FLAG_TELL;
                if (task->state >= TASK_ASSIGNED && task->state != TASK_ORPHANED)
                        add_task(b, task);
        }
        send_batch(b, false);
        s->needs_complete = false;
}

static void send_changes(struct batch *b)
{
        struct session *s = b->session;

        b->is_complete = false;
        b->applies_to = s->assign_seq;
        for (size_t i = 0; i < s->dirty.n; i++) {
                struct task *task = store_find_task(b->d->store, s->dirty.ids[i]);

                if (!task || !(task->flags & TASK_FLAG_TELL))
                        continue;
                task->flags &= (uint8_t)~TASK_FLAG_TELL;
                if (task->node == s->node && task->state >= TASK_ASSIGNED)
                        add_task(b, task);
        }
        for (size_t i = 0; i < s->removed.n; i++)
                add_removed(b, s->removed.ids[i]);
        if (b->bytes > 0)
                send_batch(b, false);
}

size_t assign_send(struct dispatcher *d, struct session *s, struct now now, struct list *effects)
{
        struct batch *b = d->batch;

        if (!s->needs_complete && s->dirty.n == 0 && s->removed.n == 0)
                return 0;
        b->d = d;
        b->session = s;
        b->effects = effects;
        b->sent_bytes = 0;
        if (s->needs_complete || s->specs.len > SESSION_SPECS_MAX)
                send_complete(b);
        else
                send_changes(b);
        id_list_done(&s->dirty);
        id_list_done(&s->removed);
        s->assigned_ms = now.mono_ms;
        return b->sent_bytes;
}
