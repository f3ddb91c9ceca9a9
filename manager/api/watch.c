/*
 * The progress of a service, as a stream: counted once when the stream is opened, then kept by what
 * the store tells, so that a turn costs the same for a service of one task and of 100,000.
 */
#include "manager/api/api_internal.h"

#include <errno.h>

static void set_text(char **field, const char *text)
{
        free(*field);
        *field = str_is_empty(text) ? NULL : xstrdup(text);
}

static const char *reason_of(const struct task *task)
{
        return task->error ? task->error : task->message;
}

static bool is_live(unsigned desired)
{
        return desired <= TASK_RUNNING;
}

static bool has_failed(unsigned state)
{
        return state == TASK_FAILED || state == TASK_REJECTED;
}

/* Nodes that are down do not say when it ends. */
static bool is_stopping(unsigned state, unsigned desired, const struct node *node)
{
        return !is_live(desired) && state >= TASK_ASSIGNED &&
               !task_state_is_terminal((enum task_state)state) && node && node->state != NODE_DOWN;
}

static uint64_t count_stopping(const struct service *service)
{
        const struct task *t;
        uint64_t n = 0;

        LIST_FOREACH (t, &service->tasks, service_link)
                n += is_stopping(t->state, t->desired, t->node);
        return n;
}

static void note_failure(struct watch *w, const struct task *task)
{
        set_text(&w->error, reason_of(task));
        free(w->failed_task);
        w->failed_task = task_name(task);
}

/* What is told of the spec in force: how many of its tasks failed, and why the newest did. */
static void count_failures(struct watch *w, const struct service *service)
{
        struct task *t, *newest = NULL;

        w->spec_version = service->spec->version;
        w->failed = 0;
        LIST_FOREACH (t, &service->tasks, service_link)
                if (t->spec == service->spec && has_failed(t->state)) {
                        w->failed++;
                        newest = t;
                }
        set_text(&w->error, NULL);
        set_text(&w->failed_task, NULL);
        if (newest)
                note_failure(w, newest);
}

static void count_tasks(struct watch *w, const struct service *service)
{
        const struct task *t;

        LIST_FOREACH (t, &service->tasks, service_link) {
                if (!is_live(t->desired))
                        continue;
                w->by_state[t->state / WATCH_STATE_STEP]++;
                if (t->state == TASK_PENDING)
                        set_text(&w->pending, t->error);
        }
        count_failures(w, service);
}

int on_service_watch(struct call *c)
{
        struct service *service;
        struct stream *s;
        int r = find_service(c->a, c->q->service_watch->ref, &service, &c->err);

        if (r == 0)
                r = stream_open(c, STREAM_WATCH, &s);
        if (r < 0)
                return r;
        s->service = service->id;
        s->watch.is_dirty = s->watch.is_node_dirty = true;
        count_tasks(&s->watch, service);
        return 0;
}

void watch_note_task(struct stream *s, struct task *task, enum change_kind kind,
                     const struct task_before *before)
{
        struct watch *w = &s->watch;
        bool was_counted = kind != CHANGE_CREATED;
        unsigned old_state = before ? before->state : task->state;
        unsigned old_desired = before ? before->desired : task->desired;
        const struct node *old_node = before ? before->node : task->node;

        w->is_dirty = true;
        if (was_counted && is_live(old_desired))
                w->by_state[old_state / WATCH_STATE_STEP]--;
        if (was_counted)
                w->stopping -= is_stopping(old_state, old_desired, old_node);
        if (kind == CHANGE_REMOVED)
                return;
        if (is_live(task->desired))
                w->by_state[task->state / WATCH_STATE_STEP]++;
        w->stopping += is_stopping(task->state, task->desired, task->node);
        if (task->state == TASK_PENDING && task->error)
                set_text(&w->pending, task->error);
        if (task->spec != task->service->spec)
                return;
        if (has_failed(task->state) && !(was_counted && has_failed(old_state))) {
                w->failed++;
                note_failure(w, task);
        }
}

void watch_note_service(struct stream *s, struct service *service)
{
        s->watch.is_dirty = s->watch.is_node_dirty = true;
        if (s->watch.spec_version != service->spec->version)
                count_failures(&s->watch, service);
}

/* The tasks that live, if they are few. */
struct live_tasks {
        struct task_msg msgs[WATCH_TASKS_MAX * 2];
        Swarm__Task *list[WATCH_TASKS_MAX * 2];
};

static void fill_tasks(struct api *a, struct service *service, Swarm__Progress *p,
                       struct live_tasks *tasks)
{
        struct task *t;

        p->tasks = tasks->list;
        LIST_FOREACH (t, &service->tasks, service_link) {
                if (!is_live(t->desired) || p->n_tasks == ARRAY_SIZE(tasks->list))
                        continue;
                task_to_msg(a, t, &tasks->msgs[p->n_tasks]);
                tasks->list[p->n_tasks] = &tasks->msgs[p->n_tasks].object.m.task;
                p->n_tasks++;
        }
}

static char *text_or_empty(char *s)
{
        return s ? s : (char *)(uintptr_t)protobuf_c_empty_string;
}

static void send_progress(struct api *a, struct stream *s, struct service *service,
                          struct list *effects)
{
        struct live_tasks *tasks = xnew(struct live_tasks);
        Swarm__Response r = SWARM__RESPONSE__INIT;
        Swarm__Progress p = SWARM__PROGRESS__INIT;
        struct watch *w = &s->watch;
        struct object_msg o;

        if (w->by_state[TASK_NEW / WATCH_STATE_STEP] == 0 &&
            w->by_state[TASK_PENDING / WATCH_STATE_STEP] == 0)
                set_text(&w->pending, NULL);
        object_encode(a->store, ROW_SERVICES, service, &o);
        p.service = &o.m.service;
        p.running = store_running_tasks(a->store, service);
        p.desired = w->desired;
        if (p.desired <= WATCH_TASKS_MAX)
                fill_tasks(a, service, &p, tasks);
        p.by_state = w->by_state;
        p.n_by_state = ARRAY_SIZE(w->by_state);
        p.failed_total = w->failed;
        p.stopping = w->stopping;
        p.last_error = text_or_empty(w->error);
        p.last_failed = text_or_empty(w->failed_task);
        p.pending_reason = text_or_empty(w->pending);
        r.number = s->number;
        r.more = true;
        r.kind_case = SWARM__RESPONSE__KIND_PROGRESS;
        r.progress = &p;
        effect_client(effects, s->connection, &r);
        free(tasks);
}

void watch_send(struct api *a, struct stream *s, struct list *effects)
{
        struct service *service = store_find_service(a->store, s->service);
        struct watch *w = &s->watch;

        if (!service || service->is_removing) {
                stream_end(a, s, ENOENT, "the service was removed", effects);
                return;
        }
        if (w->is_node_dirty) {
                uint64_t desired = service_desired(a, service), stopping = count_stopping(service);

                w->is_dirty |= desired != w->desired || stopping != w->stopping;
                w->desired = desired;
                w->stopping = stopping;
                w->is_node_dirty = false;
        }
        if (w->is_dirty)
                send_progress(a, s, service, effects);
        w->is_dirty = false;
}
