/*
 * Readers of containers' logs: see logs.h. A stream of the manager has a reader for each task; a
 * reader goes through the rotated files, oldest first, and then along the current one. It holds the
 * file open: when the name belongs to another file and it has read its own to the end, it goes on
 * with the next.
 */
#include "agent/logs/logs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/base/buf.h"
#include "shared/base/list.h"
#include "shared/base/log.h"
#include "shared/base/mem.h"
#include "shared/wire/wire.h"

#define READ_BYTES  65536
#define ROTATED_MAX 16
#define POLL_MS     250 /* a second look, should a notice of a change have been missed */

struct stream {
        struct list link;
        struct agent_logs *owner;
        uint64_t number;
        bool follow;
        int64_t since_us;
        uint32_t underway; /* LogData that the manager has not acknowledged */
        struct list readers;
};

struct reader {
        struct list link;
        struct stream *stream;
        struct id task;
        int fd; /* -1: no file yet */
        ino_t inode;
        struct buf tail; /* a record whose end is not written yet */
        int64_t skip;    /* records to pass over before the last N */
        bool has_ended;  /* the container: what is there is all */
        int watch;       /* inotify, -1 */
};

struct agent_logs {
        struct loop *loop;
        struct runtime *runtime;
        struct agent_logs_port port;
        struct list streams;
        size_t n_streams;
        int inotify;
        struct loop_fd *inotify_fd;
        struct loop_timer *timer; /* goes on with what is left, or looks again */
};

/* --- files ---------------------------------------------------------------------------------------
 */
static int open_log(struct agent_logs *g, struct id task, int n, ino_t *ret_inode)
{
        _cleanup_free_ char *path = runtime_log_path(g->runtime, task, n);
        struct stat st;

        if (!path)
                return -ENOENT;
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
                return -errno;
        if (fstat(fd, &st) < 0) {
                close(fd);
                return -errno;
        }
        *ret_inode = st.st_ino;
        return fd;
}

static void reader_close(struct reader *r)
{
        if (r->fd >= 0)
                close(r->fd);
        r->fd = -1;
}

/* The oldest file there is. */
static void open_oldest(struct reader *r)
{
        for (int n = ROTATED_MAX; n >= 0 && r->fd < 0; n--)
                r->fd = open_log(r->stream->owner, r->task, n, &r->inode);
}

/* The file that followed ours: the one that is a number newer than ours is now; if ours is no
 * longer among them, the oldest. Returns false when ours is the newest. */
static bool open_next(struct reader *r)
{
        struct agent_logs *g = r->stream->owner;

        for (int n = 0; n <= ROTATED_MAX; n++) {
                ino_t inode = 0, next = 0;
                int fd = open_log(g, r->task, n, &inode);

                if (fd >= 0)
                        close(fd);
                if (fd < 0 && n > 0)
                        break;
                if (fd < 0 || inode != r->inode)
                        continue;
                if (n == 0)
                        return false;
                fd = open_log(g, r->task, n - 1, &next);
                if (fd < 0)
                        return false;
                reader_close(r);
                r->fd = fd;
                r->inode = next;
                return true;
        }
        reader_close(r);
        open_oldest(r);
        return r->fd >= 0;
}

/* --- records -------------------------------------------------------------------------------------
 */
/* "<us> <o|e> <F|P> text": fills line, whose text points into the record. False: no such record. */
static bool parse_record(char *s, size_t n, Swarm__LogLine *line)
{
        char *end;

        swarm__log_line__init(line);
        errno = 0;
        line->time_us = strtoll(s, &end, 10);
        if (errno || end == s || (size_t)(end - s) + 5 > n || end[0] != ' ' || end[2] != ' ' ||
            end[4] != ' ')
                return false;
        line->fd = end[1] == 'e' ? 2 : 1;
        line->is_partial = end[3] == 'P';
        line->text = (ProtobufCBinaryData){n - (size_t)(end + 5 - s), (uint8_t *)end + 5};
        return true;
}

struct batch {
        Swarm__LogLine lines[LOGS_BATCH_LINES], *list[LOGS_BATCH_LINES];
        size_t n, bytes;
        size_t used; /* of the reader's tail */
};

/* Takes whole records off the reader's tail, as many as one message may have. */
static void take_records(struct reader *r, struct batch *b)
{
        char *s = (char *)r->tail.data;
        size_t left = r->tail.len;

        while (b->n < LOGS_BATCH_LINES && b->bytes < LOGS_BATCH_BYTES && left) {
                char *end = memchr(s, '\n', left);
                Swarm__LogLine *line = &b->lines[b->n];

                if (!end && left < LOGS_LINE_MAX)
                        break;
                size_t n = end ? (size_t)(end - s) : left;
                if (parse_record(s, n, line) && line->time_us >= r->stream->since_us) {
                        if (r->skip > 0) {
                                r->skip--;
                        } else {
                                b->list[b->n] = line;
                                b->n++;
                                b->bytes += n;
                        }
                }
                n += end ? 1 : 0;
                s += n;
                left -= n;
                b->used += n;
        }
}

static void drop_used(struct reader *r, size_t used)
{
        memmove(r->tail.data, r->tail.data + used, r->tail.len - used);
        r->tail.len -= used;
}

static void send_batch(struct reader *r, struct batch *b)
{
        struct agent_logs *g = r->stream->owner;
        Swarm__AgentMessage m = SWARM__AGENT_MESSAGE__INIT;
        Swarm__LogData data = SWARM__LOG_DATA__INIT;
        uint8_t id[ID_BYTES];

        data.stream = r->stream->number;
        data.task_id = wire_id(r->task, id);
        data.lines = b->list;
        data.n_lines = b->n;
        m.kind_case = SWARM__AGENT_MESSAGE__KIND_LOG_DATA;
        m.log_data = &data;
        r->stream->underway++;
        g->port.send(g->port.arg, &m);
}

static void send_end(struct stream *s, struct id task, const char *error)
{
        struct agent_logs *g = s->owner;
        Swarm__AgentMessage m = SWARM__AGENT_MESSAGE__INIT;
        Swarm__LogEnd end = SWARM__LOG_END__INIT;
        uint8_t id[ID_BYTES];

        end.stream = s->number;
        end.task_id = wire_id(task, id);
        end.error = (char *)(uintptr_t)error;
        m.kind_case = SWARM__AGENT_MESSAGE__KIND_LOG_END;
        m.log_end = &end;
        g->port.send(g->port.arg, &m);
}

/* --- readers -------------------------------------------------------------------------------------
 */
static void reader_free(struct reader *r)
{
        if (r->watch >= 0)
                inotify_rm_watch(r->stream->owner->inotify, r->watch);
        list_remove(&r->link);
        reader_close(r);
        buf_done(&r->tail);
        free(r);
}

/* Reads on; 0 at the end of all files there are. */
static ssize_t read_more(struct reader *r)
{
        for (;;) {
                if (r->fd < 0)
                        open_oldest(r);
                if (r->fd < 0)
                        return 0;
                buf_reserve(&r->tail, READ_BYTES);
                ssize_t n = read(r->fd, r->tail.data + r->tail.len, READ_BYTES);
                if (n > 0) {
                        r->tail.len += (size_t)n;
                        return n;
                }
                if (!open_next(r))
                        return 0;
        }
}

/* One message's worth. Returns true when there is more at once. */
static bool reader_step(struct reader *r)
{
        struct batch *b = xnew(struct batch);
        bool is_dry = false;

        take_records(r, b);
        if (b->used == 0) {
                is_dry = read_more(r) == 0;
                take_records(r, b);
        }
        if (b->n)
                send_batch(r, b);
        drop_used(r, b->used);
        bool is_over = is_dry && b->used == 0;
        free(b);
        if (is_over && (!r->stream->follow || r->has_ended)) {
                send_end(r->stream, r->task, "");
                reader_free(r);
        }
        return !is_over;
}

static void stream_free(struct stream *s)
{
        struct reader *r, *next;

        LIST_FOREACH_SAFE (r, next, &s->readers, link)
                reader_free(r);
        list_remove(&s->link);
        s->owner->n_streams--;
        free(s);
}

/* Each reader one step; again at once while some have more and the manager takes it. */
static void run(void *arg)
{
        struct agent_logs *g = arg;
        struct stream *s, *next_stream;
        bool has_more = false, has_readers = false;

        LIST_FOREACH_SAFE (s, next_stream, &g->streams, link) {
                struct reader *r, *next;

                LIST_FOREACH_SAFE (r, next, &s->readers, link)
                        if (s->underway < LOG_WINDOW)
                                has_more |= reader_step(r);
                has_readers |= !list_is_empty(&s->readers);
                if (!s->follow && list_is_empty(&s->readers))
                        stream_free(s);
        }
        if (has_more)
                loop_timer_set(g->timer, 0);
        else if (has_readers)
                loop_timer_set(g->timer, POLL_MS);
}

static void on_inotify(void *arg, int events UNUSED)
{
        struct agent_logs *g = arg;
        char drained[4096];

        while (read(g->inotify, drained, sizeof(drained)) > 0)
                continue;
        run(g);
}

/* Counts the records of all files, to know how many lie before the last `tail`. */
static int64_t count_records(struct agent_logs *g, struct id task)
{
        _cleanup_free_ char *chunk = xmalloc(READ_BYTES);
        int64_t records = 0;

        for (int i = ROTATED_MAX; i >= 0; i--) {
                ino_t inode;
                _cleanup_close_ int fd = open_log(g, task, i, &inode);
                ssize_t n;

                while (fd >= 0 && (n = read(fd, chunk, READ_BYTES)) > 0)
                        for (char *p = chunk; (p = memchr(p, '\n', (size_t)(chunk + n - p))); p++)
                                records++;
        }
        return records;
}

static void reader_add(struct stream *s, struct id task, int64_t tail)
{
        struct agent_logs *g = s->owner;
        _cleanup_free_ char *path = runtime_log_path(g->runtime, task, 0);
        struct reader *r;

        if (!path) {
                send_end(s, task, "its log is not on this node any more");
                return;
        }
        r = xnew(struct reader);
        r->stream = s;
        r->task = task;
        r->fd = -1;
        r->has_ended = !g->port.is_running(g->port.arg, task);
        r->skip = tail < 0 ? 0 : MAX(count_records(g, task) - tail, 0);
        r->watch = s->follow ? inotify_add_watch(g->inotify, path, IN_MODIFY | IN_MOVE_SELF) : -1;
        list_push_back(&s->readers, &r->link);
}

/* --- the module ----------------------------------------------------------------------------------
 */
struct agent_logs *agent_logs_new(struct loop *l, struct runtime *rt,
                                  const struct agent_logs_port *p)
{
        struct agent_logs *g = xnew(struct agent_logs);

        g->loop = l;
        g->runtime = rt;
        g->port = *p;
        list_init(&g->streams);
        g->timer = loop_timer_new(l, run, g);
        g->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
        if (g->inotify >= 0 &&
            loop_fd_new(l, g->inotify, LOOP_READ, on_inotify, g, &g->inotify_fd) < 0)
                log_warn("no notices of log changes: logs are looked at every %d ms", POLL_MS);
        return g;
}

void agent_logs_free(struct agent_logs *g)
{
        if (!g)
                return;
        agent_logs_reset(g);
        loop_fd_free(g->inotify_fd);
        loop_timer_free(g->timer);
        if (g->inotify >= 0)
                close(g->inotify);
        free(g);
}

static struct stream *stream_find(struct agent_logs *g, uint64_t number)
{
        struct stream *s;

        LIST_FOREACH (s, &g->streams, link)
                if (s->number == number)
                        return s;
        return NULL;
}

void agent_logs_start(struct agent_logs *g, const Swarm__LogStart *m)
{
        struct stream *s;

        if (stream_find(g, m->stream))
                return;
        s = xnew(struct stream);
        s->owner = g;
        s->number = m->stream;
        s->follow = m->follow;
        s->since_us = m->since_us;
        list_init(&s->readers);
        list_push_back(&g->streams, &s->link);
        g->n_streams++;
        for (size_t i = 0; i < m->n_tasks; i++) {
                struct id task;

                if (wire_get_id(&m->tasks[i], &task) < 0)
                        continue;
                if (g->n_streams > LOGS_STREAMS_MAX)
                        send_end(s, task, "too many logs are being read on this node");
                else
                        reader_add(s, task, m->tail);
        }
        loop_timer_set(g->timer, 0);
}

void agent_logs_stop(struct agent_logs *g, const Swarm__LogStop *m)
{
        struct stream *s = stream_find(g, m->stream);

        if (s)
                stream_free(s);
}

void agent_logs_ack(struct agent_logs *g, const Swarm__LogAck *m)
{
        struct stream *s = stream_find(g, m->stream);

        if (!s)
                return;
        s->underway -= MIN(m->count, s->underway);
        loop_timer_set(g->timer, 0);
}

void agent_logs_task_ended(struct agent_logs *g, struct id task)
{
        struct stream *s;
        struct reader *r;

        LIST_FOREACH (s, &g->streams, link)
                LIST_FOREACH (r, &s->readers, link)
                        if (id_is_equal(r->task, task))
                                r->has_ended = true;
        loop_timer_set(g->timer, 0);
}

void agent_logs_reset(struct agent_logs *g)
{
        while (!list_is_empty(&g->streams))
                stream_free(LIST_ITEM(g->streams.next, struct stream, link));
}
