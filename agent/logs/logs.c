/*
 * Log streams: see logs.h. All streams are served from one timer that is set when there may be
 * something to send: never inside the call that brought the reason. Files that are followed are
 * watched with one inotify descriptor, by folder.
 */
#include "agent/logs/logs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "agent/logs/reader.h"
#include "agent/runtime/runtime.h"
#include "shared/base/buf.h"
#include "shared/base/err.h"
#include "shared/base/list.h"
#include "shared/base/log.h"
#include "shared/base/map.h"
#include "shared/base/mem.h"
#include "shared/wire/wire.h"

#define WATCH_EVENTS (IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_ONLYDIR)
#define LATE_MS      20   /* lines that come one by one are gathered for this long */
#define LOOK_MS      1000 /* how often files are looked at that cannot be watched */

struct agent_logs {
        struct loop *loop;
        struct agent_logs_ports ports;
        struct map streams;
        size_t n_tails; /* of all streams */
        struct loop_timer *timer;
        bool is_due;
        struct loop_timer *look; /* at files that are not watched */
        bool is_looking;
        int inotify_fd; /* -1: none */
        struct loop_fd *inotify;
};

struct stream {
        uint64_t id;
        struct list tails;
        uint32_t underway; /* batches that are not acknowledged */
        bool follow;
};

/* One container's part of a stream. */
struct tail {
        struct list link;
        struct id task;
        int64_t last_n, since_us; /* what is asked for */
        bool goes_on;             /* what comes after the records of since_us, too */
        struct reader *reader;    /* NULL: it has not begun yet */
        int watch;                /* of inotify; -1: none */
        int error;                /* why it cannot be begun; 0: it can */
        bool has_ended, is_removed, has_news;
};

/* Lines that go into one message. */
struct batch {
        struct buf text;
        struct reader_line lines[LOGS_BATCH_LINES_MAX];
        size_t n;
};

static void set_due(struct agent_logs *s, int64_t delay_ms)
{
        if (s->is_due)
                return;
        s->is_due = true;
        loop_timer_set(s->timer, delay_ms);
}

/* --- watching ----------------------------------------------------------------------------------
 */

/* Finds the tails of a watch, or with -1 all. */
static void mark_news(struct agent_logs *s, int watch)
{
        struct stream *st;
        struct tail *t;
        size_t i;

        MAP_FOREACH (st, i, &s->streams) {
                LIST_FOREACH (t, &st->tails, link) {
                        if (watch < 0 || t->watch == watch)
                                t->has_news = true;
                }
        }
}

static void on_inotify(void *arg, int events UNUSED)
{
        struct agent_logs *s = arg;
        _Alignas(struct inotify_event) char buf[4096];
        ssize_t n;

        while ((n = read(s->inotify_fd, buf, sizeof(buf))) > 0) {
                for (char *p = buf; p < buf + n;) {
                        const struct inotify_event *e = (const void *)p;

                        mark_news(s, e->mask & IN_Q_OVERFLOW ? -1 : e->wd);
                        p += sizeof(*e) + e->len;
                }
        }
        set_due(s, LATE_MS);
}

/* At files that no watch tells of, as long as there are any: the machine has only so many watches.
 */
static void look_later(struct agent_logs *s)
{
        if (s->is_looking)
                return;
        s->is_looking = true;
        loop_timer_set(s->look, LOOK_MS);
}

static void on_look(void *arg)
{
        struct agent_logs *s = arg;
        struct stream *st;
        struct tail *t;
        size_t i;

        s->is_looking = false;
        MAP_FOREACH (st, i, &s->streams) {
                LIST_FOREACH (t, &st->tails, link) {
                        if (!st->follow || !t->reader || t->watch >= 0)
                                continue;
                        t->has_news = true;
                        set_due(s, 0);
                        look_later(s);
                }
        }
}

static void watch(struct agent_logs *s, struct tail *t)
{
        _cleanup_free_ char *path = s->ports.path(s->ports.path_arg, t->task, 0);
        char *slash = path ? strrchr(path, '/') : NULL;

        t->watch = -1;
        if (!path)
                return;
        if (slash && s->inotify_fd >= 0) {
                *slash = 0;
                t->watch = inotify_add_watch(s->inotify_fd, path, WATCH_EVENTS);
                if (t->watch < 0)
                        log_debug("cannot watch a log folder=%s error=%s", path, err_name(errno));
        }
        if (t->watch < 0)
                look_later(s);
}

static void unwatch(struct agent_logs *s, struct tail *t)
{
        struct stream *st;
        struct tail *other;
        size_t i;

        if (t->watch < 0)
                return;
        MAP_FOREACH (st, i, &s->streams) {
                LIST_FOREACH (other, &st->tails, link) {
                        if (other != t && other->watch == t->watch)
                                return; /* in use by another stream */
                }
        }
        inotify_rm_watch(s->inotify_fd, t->watch);
}

/* --- streams -----------------------------------------------------------------------------------
 */

static void tail_free(struct agent_logs *s, struct tail *t)
{
        unwatch(s, t);
        list_remove(&t->link);
        reader_close(t->reader);
        free(t);
        s->n_tails--;
}

static void stream_free(struct agent_logs *s, struct stream *st)
{
        struct tail *t, *tmp;

        LIST_FOREACH_SAFE (t, tmp, &st->tails, link)
                tail_free(s, t);
        map_remove(&s->streams, st);
        free(st);
}

static void send_end(struct agent_logs *s, uint64_t stream, struct id task, const char *error)
{
        Swarm__LogEnd m = SWARM__LOG_END__INIT;
        uint8_t id[ID_BYTES];

        m.stream = stream;
        m.task_id = wire_id(task, id);
        if (error)
                m.error = (char *)error;
        s->ports.send_end(s->ports.arg, &m);
}

static void send_failure(struct agent_logs *s, uint64_t stream, const struct tail *t, int error)
{
        _cleanup_free_ char *text = xasprintf(
                "%s%s", t->is_removed ? "it was removed before all of its log was read: " : "",
                err_name(error));

        send_end(s, stream, t->task, text);
}

static void send_batch(struct agent_logs *s, struct stream *st, const struct tail *t,
                       const struct batch *b)
{
        Swarm__LogData m = SWARM__LOG_DATA__INIT;
        _cleanup_free_ Swarm__LogLine *lines = xnew_array(Swarm__LogLine, b->n);
        _cleanup_free_ Swarm__LogLine **list = xnew_array(Swarm__LogLine *, b->n);
        uint8_t id[ID_BYTES];
        size_t offset = 0;

        for (size_t i = 0; i < b->n; i++) {
                swarm__log_line__init(&lines[i]);
                lines[i].time_us = b->lines[i].time_us;
                lines[i].fd = (uint32_t)b->lines[i].fd;
                lines[i].is_partial = b->lines[i].is_partial;
                lines[i].text = (ProtobufCBinaryData){b->lines[i].len, b->text.data + offset};
                offset += b->lines[i].len;
                list[i] = &lines[i];
        }
        m.stream = st->id;
        m.task_id = wire_id(t->task, id);
        m.lines = list;
        m.n_lines = b->n;
        st->underway++;
        s->ports.send_data(s->ports.arg, &m);
}

/* Reads until the batch is full: 1; or until there is no more at present: 0; -errno. */
static int gather(struct tail *t, struct batch *b)
{
        buf_clear(&b->text);
        b->n = 0;
        while (b->n < LOGS_BATCH_LINES_MAX && b->text.len < LOGS_BATCH_BYTES_MAX) {
                struct reader_line *line = &b->lines[b->n];
                int r = reader_next(t->reader, line);

                if (r <= 0)
                        return r;
                buf_append(&b->text, line->text, line->len);
                b->n++;
        }
        return 1;
}

static int open_reader(struct agent_logs *s, const struct stream *st, struct tail *t)
{
        struct reader_source source = {s->ports.path_arg, s->ports.path};

        if (t->error)
                return t->error;
        if (st->follow)
                watch(s, t); /* before reading, so that nothing falls in between */
        int r = reader_open(&source, t->task, t->last_n, t->since_us, &t->reader);
        if (r == 0 && t->goes_on)
                reader_go_on(t->reader);
        if (r == 0 && !st->follow) /* however fast the container writes, there is an end */
                r = reader_end_here(t->reader);
        return r;
}

/* Sends what there is and may be sent. True: the tail is over, and the end was told. */
static bool serve_tail(struct agent_logs *s, struct stream *st, struct tail *t, struct batch *b)
{
        int r = 1;

        if (!t->reader) {
                r = open_reader(s, st, t);
                if (r == -ENOENT && st->follow && !t->has_ended)
                        return false; /* agent_logs_on_start comes back to it */
                if (r == -ENOENT)
                        send_end(s, st->id, t->task, NULL);
                else if (r < 0)
                        send_failure(s, st->id, t, r);
                if (r < 0)
                        return true;
                r = 1;
        }
        while (r == 1 && st->underway < LOG_WINDOW) {
                r = gather(t, b);
                if (b->n > 0)
                        send_batch(s, st, t, b);
        }
        if (r == 1)
                return false; /* goes on when the manager acknowledges */
        t->has_news = false;
        if (r == 0 && st->follow && !t->has_ended)
                return false;
        if (r < 0)
                send_failure(s, st->id, t, r);
        else
                send_end(s, st->id, t->task, NULL);
        return true;
}

static void serve_stream(struct agent_logs *s, struct stream *st, struct batch *b)
{
        struct tail *t, *tmp;

        LIST_FOREACH_SAFE (t, tmp, &st->tails, link) {
                if (st->underway >= LOG_WINDOW)
                        break;
                if (!t->has_news)
                        continue;
                if (serve_tail(s, st, t, b)) {
                        tail_free(s, t);
                } else { /* each in its turn */
                        list_remove(&t->link);
                        list_push_back(&st->tails, &t->link);
                }
        }
        if (list_is_empty(&st->tails))
                stream_free(s, st);
}

static void on_timer(void *arg)
{
        struct agent_logs *s = arg;
        _cleanup_free_ struct stream **list = NULL;
        struct batch *b;
        struct stream *st;
        size_t i, n = 0;

        s->is_due = false;
        if (s->streams.len == 0)
                return;
        list = xnew_array(struct stream *, s->streams.len);
        MAP_FOREACH (st, i, &s->streams)
                list[n++] = st;
        b = xnew(struct batch);
        for (i = 0; i < n; i++)
                serve_stream(s, list[i], b);
        buf_done(&b->text);
        free(b);
}

/* --- in ----------------------------------------------------------------------------------------
 */

struct agent_logs *agent_logs_new(struct loop *l, const struct agent_logs_ports *ports)
{
        struct agent_logs *s = xnew(struct agent_logs);

        s->loop = l;
        s->ports = *ports;
        s->streams = MAP_INIT(struct stream, id, MAP_KEY_U64);
        s->timer = loop_timer_new(l, on_timer, s);
        s->look = loop_timer_new(l, on_look, s);
        s->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
        if (s->inotify_fd >= 0 &&
            loop_fd_new(l, s->inotify_fd, LOOP_READ, on_inotify, s, &s->inotify) < 0) {
                close(s->inotify_fd);
                s->inotify_fd = -1;
        }
        return s;
}

void agent_logs_on_session(struct agent_logs *s)
{
        struct stream *st;

        for (size_t i = 0; (st = map_next(&s->streams, &i)); i = 0)
                stream_free(s, st);
}

void agent_logs_free(struct agent_logs *s)
{
        if (!s)
                return;
        agent_logs_on_session(s);
        map_done(&s->streams);
        loop_timer_free(s->timer);
        loop_timer_free(s->look);
        loop_fd_free(s->inotify);
        if (s->inotify_fd >= 0)
                close(s->inotify_fd);
        free(s);
}

static void refuse(struct agent_logs *s, const Swarm__LogStart *m, const char *why)
{
        struct id task;

        for (size_t i = 0; i < m->n_tasks && i < LOGS_TAILS_MAX; i++)
                if (wire_get_id(&m->tasks[i]->task_id, &task) == 0)
                        send_end(s, m->stream, task, why);
}

void agent_logs_start(struct agent_logs *s, const Swarm__LogStart *m)
{
        struct stream *st;

        agent_logs_stop(s, m->stream);
        if (m->n_tasks > LOGS_TAILS_MAX - s->n_tails) {
                refuse(s, m, "the node serves the logs of too many tasks already");
                return;
        }
        st = xnew(struct stream);
        st->id = m->stream;
        st->follow = m->follow;
        list_init(&st->tails);
        map_put(&s->streams, st);
        for (size_t i = 0; i < m->n_tasks; i++) {
                struct tail *t = xnew(struct tail);

                if (wire_get_id(&m->tasks[i]->task_id, &t->task) < 0) {
                        free(t);
                        continue;
                }
                t->last_n = m->tasks[i]->tail;
                t->since_us = m->tasks[i]->since_us;
                t->goes_on = m->tasks[i]->goes_on;
                t->watch = -1;
                t->has_news = true;
                t->has_ended = !s->ports.is_live(s->ports.arg, t->task);
                list_push_back(&st->tails, &t->link);
                s->n_tails++;
        }
        set_due(s, 0);
}

void agent_logs_stop(struct agent_logs *s, uint64_t stream)
{
        struct stream *st = map_get_u64(&s->streams, stream);

        if (st)
                stream_free(s, st);
}

void agent_logs_on_ack(struct agent_logs *s, uint64_t stream, uint32_t count)
{
        struct stream *st = map_get_u64(&s->streams, stream);

        if (!st)
                return;
        st->underway -= MIN(count, st->underway);
        set_due(s, 0);
}

static void mark_task(struct agent_logs *s, struct id task, bool has_ended)
{
        struct stream *st;
        struct tail *t;
        size_t i;

        MAP_FOREACH (st, i, &s->streams) {
                LIST_FOREACH (t, &st->tails, link) {
                        if (!id_is_equal(t->task, task))
                                continue;
                        t->has_news = true;
                        t->has_ended |= has_ended;
                        set_due(s, 0);
                }
        }
}

void agent_logs_on_start(struct agent_logs *s, struct id task)
{
        mark_task(s, task, false);
}

void agent_logs_on_end(struct agent_logs *s, struct id task)
{
        mark_task(s, task, true);
}

static size_t count_held(const struct agent_logs *s)
{
        struct stream *st;
        struct tail *t;
        size_t i, n = 0;

        MAP_FOREACH (st, i, &s->streams) {
                LIST_FOREACH (t, &st->tails, link)
                        n += t->reader ? reader_n_held(t->reader) : 0;
        }
        return n;
}

static void hold(struct agent_logs *s, const struct stream *st, struct tail *t)
{
        t->is_removed = true;
        if (!t->reader)
                t->error = open_reader(s, st, t);
        if (t->reader)
                reader_hold(t->reader, LOGS_HELD_MAX - MIN(count_held(s), LOGS_HELD_MAX));
}

void agent_logs_on_remove(struct agent_logs *s, struct id task)
{
        struct stream *st;
        struct tail *t;
        size_t i;

        mark_task(s, task, true);
        MAP_FOREACH (st, i, &s->streams) {
                LIST_FOREACH (t, &st->tails, link) {
                        if (id_is_equal(t->task, task))
                                hold(s, st, t);
                }
        }
}

char *agent_logs_runtime_path(void *arg, struct id id, int n)
{
        return runtime_log_path(arg, id, n);
}
