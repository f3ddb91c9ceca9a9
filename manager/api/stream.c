/*
 * Streams: opening, closing, expiry, and log lines; watch.c has the progress of services, events.c
 * the events. What happens in a turn is noted when the store tells it and sent at the turn's end,
 * so that a client hears of a state once, and only of one that is durable.
 */
#include <errno.h>

#include "manager/api/api_internal.h"

#define LOG_TAKE_MAX 256 /* responses of one stream in a turn */

/* --- opening and closing -------------------------------------------------------------------------
 */
static size_t count_streams(struct api *a, uint64_t connection)
{
        struct stream *s;
        size_t n = 0;

        LIST_FOREACH (s, &a->streams, link)
                n += s->connection == connection;
        return n;
}

int stream_open(struct call *c, enum stream_kind kind, struct stream **ret)
{
        struct api *a = c->a;

        if (a->stream_count >= STREAMS_MAX)
                return err_set(&c->err, EBUSY, "more than %d streams are open", STREAMS_MAX);
        if (count_streams(a, c->connection) >= CLIENT_STREAMS_MAX)
                return err_set(&c->err, EBUSY, "more than %d streams of this client are open",
                               CLIENT_STREAMS_MAX);
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
        free(s->watch.error);
        free(s->watch.failed_task);
        free(s->watch.pending);
        list_remove(&s->link);
        a->stream_count--;
        free(s);
}

void stream_end(struct api *a, struct stream *s, int code, const char *error, struct list *effects)
{
        Swarm__Response r = SWARM__RESPONSE__INIT;
        Swarm__Empty empty = SWARM__EMPTY__INIT;

        r.number = s->number;
        r.code = (uint32_t)code;
        r.error = (char *)(uintptr_t)error;
        r.kind_case = SWARM__RESPONSE__KIND_DONE;
        r.done = &empty;
        effect_client(effects, s->connection, &r);
        stream_close(a, s);
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

/* --- what happens --------------------------------------------------------------------------------
 */
/* With follow, a task joins once its agent has begun to start it, so that the agent knows it. */
static void note_log(struct stream *s, struct task *task, const struct task_before *before)
{
        bool is_wanted = !id_is_zero(s->service) || id_is_equal(s->task, task->id);

        if (is_wanted && s->follow && before && task->node && before->state < TASK_STARTING &&
            task->state >= TASK_STARTING && task->state != TASK_REJECTED &&
            task->state != TASK_ORPHANED && logs_add_task(s->log, task, true) < 0)
                logs_warn(s->log, "more than %d tasks: lines of others are left out",
                          LOG_TASKS_MAX);
}

void streams_note_task(struct api *a, struct task *task, enum change_kind kind,
                       const struct task_before *before)
{
        struct stream *s;

        LIST_FOREACH (s, &a->streams, link) {
                bool is_service = id_is_equal(s->service, task->service->id);

                if (s->kind == STREAM_WATCH && is_service)
                        watch_note_task(s, task, kind, before);
                else if (s->kind == STREAM_LOGS && (is_service || id_is_equal(s->task, task->id)))
                        note_log(s, task, before);
        }
}

void streams_note_service(struct api *a, struct service *service)
{
        struct stream *s;

        LIST_FOREACH (s, &a->streams, link)
                if (s->kind == STREAM_WATCH && id_is_equal(s->service, service->id))
                        watch_note_service(s, service);
}

void streams_note_nodes(struct api *a)
{
        struct stream *s;

        LIST_FOREACH (s, &a->streams, link)
                s->watch.is_node_dirty = true;
}

/* --- logs ----------------------------------------------------------------------------------------
 */
/* after: NULL for what the stream's options say. */
static void add_log_task(struct stream *s, struct task *task, const struct log_position *after)
{
        _cleanup_free_ char *name = task_name(task);
        bool has_begun = task->state >= TASK_STARTING && task->state != TASK_REJECTED &&
                         task->state != TASK_ORPHANED;

        if (task->node && task->node->state == NODE_DOWN) {
                logs_warn(s->log, "task %s: node %s is not available", name,
                          node_hostname(task->node));
        } else if (!task->node || !has_begun) {
                if (task->desired <= TASK_RUNNING && !s->follow)
                        logs_warn(s->log,
                                  task->node ? "task %s has not been started"
                                             : "task %s has not been scheduled",
                                  name);
        } else if ((after ? logs_add_task_after(s->log, task, after)
                          : logs_add_task(s->log, task, false)) < 0) {
                logs_warn(s->log, "task %s: more than %d tasks", name, LOG_TASKS_MAX);
        }
}

/* The tasks of which the client has lines. Those that are gone have no more. */
static void add_known_tasks(struct api *a, struct stream *s, const Swarm__LogsRequest *m)
{
        for (size_t i = 0; i < m->n_after; i++) {
                const Swarm__LogPosition *p = m->after[i];
                const struct log_position after = {p->time_us, p->count};
                struct id id;
                struct task *t =
                        wire_get_id(&p->task_id, &id) < 0 ? NULL : store_find_task(a->store, id);

                if (t && (id_is_equal(s->task, id) || id_is_equal(s->service, t->service->id)))
                        add_log_task(s, t, &after);
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
        if (m->n_after > LOG_TASKS_MAX)
                return err_set(&c->err, EINVAL, "%s: more than %d tasks", m->ref, LOG_TASKS_MAX);
        int r = stream_open(c, STREAM_LOGS, &s);
        if (r < 0)
                return r;
        struct log_options o = {.number = c->q->number,
                                .follow = m->follow,
                                .tail = m->tail < 0 ? -1 : m->tail,
                                .since_us = m->since_us};
        s->log = logs_open(c->a->logs, &o);
        s->follow = m->follow;
        s->task = task ? task->id : s->task;
        s->service = task ? s->service : service->id;
        add_known_tasks(c->a, s, m);
        if (task)
                add_log_task(s, task, NULL);
        else
                LIST_FOREACH (t, &service->tasks, service_link)
                        add_log_task(s, t, NULL);
        return 0;
}

int on_log_acknowledge(struct call *c)
{
        struct stream *s = stream_find(c->a, c->connection, c->q->number);

        if (s && s->log)
                logs_acknowledge(s->log, c->q->log_acknowledge->count);
        return 0;
}

/* When following: the service lives, or the task has not begun yet. */
static bool may_still_come(struct api *a, const struct stream *s)
{
        const struct service *service = store_find_service(a->store, s->service);
        const struct task *task = store_find_task(a->store, s->task);

        if (!s->follow)
                return false;
        if (service)
                return !service->is_removing;
        return task && task->state < TASK_STARTING;
}

/* Returns true when there is more to take at once. bytes: taken in this turn. */
static bool send_logs(struct api *a, struct stream *s, size_t *bytes, struct list *effects)
{
        for (int i = 0; i < LOG_TAKE_MAX && *bytes < TURN_EFFECT_BYTES_MAX; i++) {
                struct buf b = {0};

                if (!logs_take(s->log, &b)) {
                        if (logs_is_done(s->log) && !may_still_come(a, s))
                                stream_end(a, s, 0, protobuf_c_empty_string, effects);
                        return false;
                }
                *bytes += b.len;
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
        size_t log_bytes = 0;

        LIST_FOREACH_SAFE (s, next, &a->streams, link) {
                if (a->now.mono_ms - s->heard_ms >= STREAM_SILENCE_MS) {
                        stream_end(a, s, ETIMEDOUT, "nothing was heard from the client", effects);
                        continue;
                }
                due = MIN(due, s->heard_ms + STREAM_SILENCE_MS);
                switch (s->kind) {
                case STREAM_WATCH: watch_send(a, s, effects); break;
                case STREAM_EVENTS:
                        if (s->filter->until_ms)
                                due = MIN(due,
                                          a->now.mono_ms +
                                                  MAX(s->filter->until_ms - a->now.wall_ms, 0));
                        events_send(a, s, effects);
                        break;
                case STREAM_LOGS:
                        if (send_logs(a, s, &log_bytes, effects))
                                due = a->now.mono_ms;
                        break;
                }
        }
        return due;
}
