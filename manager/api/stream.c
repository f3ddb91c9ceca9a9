/*
 * Streams: the progress of a service, events, and log lines. What happens in a turn is noted when
 * the store tells it and sent at the turn's end, so that a client hears of a state once, and only
 * of one that is durable. A note costs the same for a service of one task and of 100,000.
 */
#include <errno.h>
#include <stdio.h>

#include "manager/api/api_internal.h"

#define LOG_TAKE_MAX 256 /* responses of one stream in a turn */

/* --- opening and closing -------------------------------------------------------------------------
 */
static int stream_open(struct call *c, enum stream_kind kind, struct stream **ret)
{
        struct api *a = c->a;

        if (a->stream_count >= STREAMS_MAX)
                return err_set(&c->err, EBUSY, "more than %d streams are open", STREAMS_MAX);
        struct stream *s = xnew(struct stream);
        s->kind = kind;
        s->connection = c->connection;
        s->number = c->q->number;
        s->heard_ms = a->now.mono_ms;
        list_push_back(&a->streams, &s->link);
        a->stream_count++;
        *ret = s;
        return 0;
}

void stream_close(struct api *a, struct stream *s)
{
        if (s->log)
                logs_close(s->log);
        wire_free(s->filter);
        free(s->error);
        free(s->pending);
        list_remove(&s->link);
        a->stream_count--;
        free(s);
}

static struct stream *stream_find(struct api *a, uint64_t connection, uint64_t number)
{
        struct stream *s;

        LIST_FOREACH (s, &a->streams, link)
                if (s->connection == connection && s->number == number)
                        return s;
        return NULL;
}

int on_cancel(struct call *c)
{
        struct stream *s = stream_find(c->a, c->connection, c->q->number);

        if (s)
                stream_close(c->a, s);
        return 0;
}

int on_keep_alive(struct call *c UNUSED)
{
        return 0; /* that it came is all it says */
}

/* --- progress of a service -----------------------------------------------------------------------
 */
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
        s->is_dirty = true;
        return 0;
}

static void set_text(char **field, const char *text)
{
        free(*field);
        *field = xstrdup_or_null(text);
}

static void note_watch(struct stream *s, struct task *task, const struct task_before *before)
{
        bool has_failed = task->state == TASK_FAILED || task->state == TASK_REJECTED;

        s->is_dirty = true;
        if (task->spec != task->service->spec)
                return;
        if (before && has_failed && before->state != task->state) {
                s->failed++;
                set_text(&s->error, task->error ? task->error : task->message);
        }
        if (task->state <= TASK_PENDING)
                set_text(&s->pending, task->error);
}

static void note_log(struct stream *s, struct task *task)
{
        if (s->follow && task->node && !task_state_is_terminal(task->state))
                logs_add_task(s->log, task, true);
}

void streams_note_task(struct api *a, struct task *task, const struct task_before *before)
{
        struct stream *s;

        LIST_FOREACH (s, &a->streams, link) {
                if (!id_is_equal(s->service, task->service->id))
                        continue;
                if (s->kind == STREAM_WATCH)
                        note_watch(s, task, before);
                else if (s->kind == STREAM_LOGS)
                        note_log(s, task);
        }
}

void streams_note_service(struct api *a, struct service *service)
{
        struct stream *s;

        LIST_FOREACH (s, &a->streams, link)
                if (s->kind == STREAM_WATCH && id_is_equal(s->service, service->id))
                        s->is_dirty = true;
}

/* The tasks that live, if they are few; counts by state of the same. */
struct progress_tasks {
        struct task_msg msgs[WATCH_TASKS_MAX * 2];
        Swarm__Task *list[WATCH_TASKS_MAX * 2];
        uint64_t by_state[TASK_ORPHANED / 64 + 1];
        size_t n;
};

static void fill_tasks(struct api *a, struct service *service, Swarm__Progress *p,
                       struct progress_tasks *tasks)
{
        struct task *t;

        LIST_FOREACH (t, &service->tasks, service_link) {
                if (t->desired > TASK_RUNNING)
                        continue;
                tasks->by_state[t->state / 64]++;
                if (tasks->n == ARRAY_SIZE(tasks->list))
                        continue;
                task_to_msg(a, t, &tasks->msgs[tasks->n]);
                tasks->list[tasks->n] = &tasks->msgs[tasks->n].object.m.task;
                tasks->n++;
        }
        p->tasks = tasks->list;
        p->n_tasks = tasks->n;
        p->by_state = tasks->by_state;
        p->n_by_state = ARRAY_SIZE(tasks->by_state);
}

static char *text_or_empty(char *s)
{
        return s ? s : (char *)(uintptr_t)protobuf_c_empty_string;
}

static void send_progress(struct api *a, struct stream *s, struct service *service,
                          struct list *effects)
{
        struct progress_tasks *tasks = xnew(struct progress_tasks);
        Swarm__Response r = SWARM__RESPONSE__INIT;
        Swarm__Progress p = SWARM__PROGRESS__INIT;
        struct object_msg o;

        object_encode(a->store, ROW_SERVICES, service, &o);
        p.service = &o.m.service;
        p.running = store_running_tasks(a->store, service);
        p.desired = service_desired(a, service);
        if (p.desired <= WATCH_TASKS_MAX)
                fill_tasks(a, service, &p, tasks);
        p.failed_total = s->failed;
        p.last_error = text_or_empty(s->error);
        p.pending_reason = text_or_empty(s->pending);
        r.number = s->number;
        r.more = true;
        r.kind_case = SWARM__RESPONSE__KIND_PROGRESS;
        r.progress = &p;
        effect_client(effects, s->connection, &r);
        free(tasks);
}

static void send_end(struct stream *s, int code, const char *error, struct list *effects)
{
        Swarm__Response r = SWARM__RESPONSE__INIT;
        Swarm__Empty empty = SWARM__EMPTY__INIT;

        r.number = s->number;
        r.code = (uint32_t)code;
        r.error = (char *)(uintptr_t)error;
        r.kind_case = SWARM__RESPONSE__KIND_DONE;
        r.done = &empty;
        effect_client(effects, s->connection, &r);
}

static void send_watch(struct api *a, struct stream *s, struct list *effects)
{
        struct service *service = store_find_service(a->store, s->service);

        if (!s->is_dirty)
                return;
        s->is_dirty = false;
        if (service && !service->is_removing) {
                send_progress(a, s, service, effects);
                return;
        }
        send_end(s, ENOENT, "the service was removed", effects);
        stream_close(a, s);
}

/* --- events --------------------------------------------------------------------------------------
 */
void events_add(struct api *a, const char *type, const char *action, const char *id,
                const char *name, const char *key, const char *value)
{
        Swarm__Event e = SWARM__EVENT__INIT;
        Swarm__KeyValue attribute = SWARM__KEY_VALUE__INIT, *attributes = &attribute;

        e.time_ms = a->now.wall_ms;
        e.type = (char *)(uintptr_t)type;
        e.action = (char *)(uintptr_t)action;
        e.id = (char *)(uintptr_t)id;
        e.name = (char *)(uintptr_t)name;
        if (key && *value) {
                attribute.key = (char *)(uintptr_t)key;
                attribute.value = (char *)(uintptr_t)value;
                e.attributes = &attributes;
                e.n_attributes = 1;
        }
        struct event *slot = &a->events[a->event_count++ % EVENTS_KEPT];
        wire_free(slot->msg);
        slot->msg = wire_dup(&e);
}

static bool event_matches(const Swarm__EventsRequest *m, const Swarm__Event *e)
{
        bool has_service = e->n_attributes && str_is_equal(e->attributes[0]->key, "service");
        struct filter_value values[] = {
                {"type", e->type, false},
                {"event", e->action, false},
                {"service", str_is_equal(e->type, "service") ? e->name : NULL, false},
                {"service", str_is_equal(e->type, "service") ? e->id : NULL, true},
                {"service", has_service ? e->attributes[0]->value : NULL, false},
                {"node", str_is_equal(e->type, "node") ? e->name : NULL, false},
                {"node", str_is_equal(e->type, "node") ? e->id : NULL, true},
        };

        return e->time_ms >= m->since_ms && (!m->until_ms || e->time_ms <= m->until_ms) &&
               filters_match(m->filters, m->n_filters, values, ARRAY_SIZE(values));
}

static void send_events(struct api *a, struct stream *s, uint64_t from, struct list *effects)
{
        if (a->event_count - from > EVENTS_KEPT)
                from = a->event_count - EVENTS_KEPT;
        for (; from < a->event_count; from++) {
                Swarm__Event *e = a->events[from % EVENTS_KEPT].msg;
                Swarm__Response r = SWARM__RESPONSE__INIT;

                if (!event_matches(s->filter, e))
                        continue;
                r.number = s->number;
                r.more = true;
                r.kind_case = SWARM__RESPONSE__KIND_EVENT;
                r.event = e;
                effect_client(effects, s->connection, &r);
        }
}

int on_events(struct call *c)
{
        static const char *const keys[] = {"type", "event", "service", "node", NULL};
        const Swarm__EventsRequest *m = c->q->events;
        struct api *a = c->a;
        struct stream *s;
        int r = filters_check(m->filters, m->n_filters, keys, &c->err);

        if (r == 0)
                r = stream_open(c, STREAM_EVENTS, &s);
        if (r < 0)
                return r;
        s->filter = wire_dup(m);
        s->event_from = m->since_ms ? 0 : a->event_count;
        return 0;
}

static void send_event_stream(struct api *a, struct stream *s, struct list *effects)
{
        send_events(a, s, s->event_from, effects);
        s->event_from = a->event_count;
        if (s->filter->until_ms && a->now.wall_ms >= s->filter->until_ms) {
                send_end(s, 0, protobuf_c_empty_string, effects);
                stream_close(a, s);
        }
}

/* --- logs ----------------------------------------------------------------------------------------
 */
static void add_log_task(struct stream *s, struct task *task)
{
        _cleanup_free_ char *name = task_name(task);

        if (!task->node) {
                if (!s->follow && task->desired <= TASK_RUNNING)
                        logs_warn(s->log, "task %s has not been scheduled", name);
        } else if (task->node->state == NODE_DOWN) {
                logs_warn(s->log, "task %s: node %s is not available", name,
                          node_hostname(task->node));
        } else if (logs_add_task(s->log, task, false) < 0) {
                logs_warn(s->log, "task %s: more than %d tasks", name, LOG_TASKS_MAX);
        }
}

int on_logs(struct call *c)
{
        const Swarm__LogsRequest *m = c->q->logs;
        struct service *service = NULL;
        struct task *task = NULL, *t;
        struct stream *s;
        struct err ignored;

        if (find_service(c->a, m->ref, &service, &ignored) < 0 &&
            find_task(c->a, m->ref, &task, &ignored) < 0)
                return err_set(&c->err, ENOENT, "no such task or service: %s", m->ref);
        if ((service ? service : task->service)->spec->msg->task->container->tty && !m->is_raw)
                return err_set(&c->err, EINVAL, "%s: has a tty: use --raw", m->ref);
        int r = stream_open(c, STREAM_LOGS, &s);
        if (r < 0)
                return r;
        struct log_options o = {.number = c->q->number,
                                .follow = m->follow,
                                .tail = m->tail < 0 ? -1 : m->tail,
                                .since_us = m->since_us};
        s->log = logs_open(c->a->logs, &o);
        s->follow = m->follow;
        if (task) {
                add_log_task(s, task);
                return 0;
        }
        s->service = service->id;
        LIST_FOREACH (t, &service->tasks, service_link)
                add_log_task(s, t);
        return 0;
}

int on_log_acknowledge(struct call *c)
{
        struct stream *s = stream_find(c->a, c->connection, c->q->number);

        if (s && s->log)
                logs_acknowledge(s->log, c->q->log_acknowledge->count);
        return 0;
}

/* Returns true when there is more to take at once. */
static bool send_logs(struct api *a, struct stream *s, struct list *effects)
{
        for (int i = 0; i < LOG_TAKE_MAX; i++) {
                struct buf b = {0};

                if (!logs_take(s->log, &b)) {
                        if (!logs_is_done(s->log) || (s->follow && !id_is_zero(s->service)))
                                return false;
                        send_end(s, 0, protobuf_c_empty_string, effects);
                        stream_close(a, s);
                        return false;
                }
                effect_client_bytes(effects, s->connection, &b);
        }
        return true;
}

/* --- the end of a turn ---------------------------------------------------------------------------
 */
int64_t streams_send(struct api *a, struct list *effects)
{
        struct stream *s, *next;
        int64_t due = TIME_NEVER;

        LIST_FOREACH_SAFE (s, next, &a->streams, link) {
                if (a->now.mono_ms - s->heard_ms >= STREAM_SILENCE_MS) {
                        stream_close(a, s);
                        continue;
                }
                due = MIN(due, s->heard_ms + STREAM_SILENCE_MS);
                switch (s->kind) {
                case STREAM_WATCH: send_watch(a, s, effects); break;
                case STREAM_EVENTS:
                        if (s->filter->until_ms)
                                due = MIN(due,
                                          a->now.mono_ms +
                                                  MAX(s->filter->until_ms - a->now.wall_ms, 0));
                        send_event_stream(a, s, effects);
                        break;
                case STREAM_LOGS:
                        if (send_logs(a, s, effects))
                                due = a->now.mono_ms;
                        break;
                }
        }
        return due;
}
