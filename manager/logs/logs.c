/* The hub of log lines: see logs.h. An "ask" is one LogStart to one node. */
#include "manager/logs/logs.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "proto/control.pb-c.h"
#include "shared/base/map.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/wire/wire.h"

#define ERROR_TEXT_MAX 512

struct logs {
        struct list streams;
        struct map asks;   /* struct ask by number */
        struct list stops; /* struct stop */
        uint64_t last_ask;
};

/* A LogStop that is to be sent. */
struct stop {
        struct list link;
        struct id node;
        uint64_t ask;
};

struct asked_task {
        struct id id;
        char *name;
        int64_t tail, since_us;   /* what is asked for */
        struct log_position last; /* of what came */
        uint32_t skip;            /* lines that bear its time and will come a second time */
        bool is_ended;
};

enum ask_state { ASK_WAITING, ASK_STARTED, ASK_NODE_DOWN };

struct ask {
        struct list link; /* log_stream.asks */
        struct log_stream *stream;
        uint64_t number;
        struct id node;
        char *hostname;
        enum ask_state state;
        struct asked_task *tasks;
        size_t n, cap, ended;
        uint32_t unacknowledged; /* LogData in the queue */
        uint32_t credit;         /* LogData that went on, not yet told the agent */
};

struct chunk {
        struct list link;
        uint64_t ask; /* 0: a warning */
        struct buf bytes;
};

struct log_stream {
        struct list link;
        struct logs *logs;
        struct log_options options;
        struct list asks;
        struct list queue; /* struct chunk */
        size_t queue_bytes, n_tasks;
        uint32_t underway; /* chunks that the client has not acknowledged */
        uint64_t left_out; /* LogData dropped since the last warning */
};

struct logs *logs_new(void)
{
        struct logs *l = xnew(struct logs);

        list_init(&l->streams);
        list_init(&l->stops);
        l->asks = MAP_INIT(struct ask, number, MAP_KEY_U64);
        return l;
}

void logs_free(struct logs *l)
{
        struct list *i;

        if (!l)
                return;
        assert(list_is_empty(&l->streams));
        while ((i = list_pop_front(&l->stops)))
                free(LIST_ITEM(i, struct stop, link));
        map_done(&l->asks);
        free(l);
}

static void ask_free(struct ask *k)
{
        list_remove(&k->link);
        map_remove(&k->stream->logs->asks, k);
        k->stream->n_tasks -= k->n;
        for (size_t i = 0; i < k->n; i++)
                free(k->tasks[i].name);
        free(k->tasks);
        free(k->hostname);
        free(k);
}

/* Tells the node to stop, if it was started, and forgets the ask. */
static void ask_stop(struct ask *k)
{
        if (k->state == ASK_STARTED) {
                struct stop *stop = xnew(struct stop);

                stop->node = k->node;
                stop->ask = k->number;
                list_push_back(&k->stream->logs->stops, &stop->link);
        }
        ask_free(k);
}

struct log_stream *logs_open(struct logs *l, const struct log_options *o)
{
        struct log_stream *s = xnew(struct log_stream);

        s->logs = l;
        s->options = *o;
        list_init(&s->asks);
        list_init(&s->queue);
        list_push_back(&l->streams, &s->link);
        return s;
}

static void chunk_free(struct log_stream *s, struct chunk *c)
{
        list_remove(&c->link);
        s->queue_bytes -= c->bytes.len;
        buf_done(&c->bytes);
        free(c);
}

void logs_close(struct log_stream *s)
{
        if (!s)
                return;
        while (!list_is_empty(&s->asks))
                ask_stop(LIST_ITEM(s->asks.next, struct ask, link));
        while (!list_is_empty(&s->queue))
                chunk_free(s, LIST_ITEM(s->queue.next, struct chunk, link));
        list_remove(&s->link);
        free(s);
}

/* --- asking -------------------------------------------------------------------------------------
 */
static struct ask *ask_new(struct log_stream *s, struct id node, const char *hostname)
{
        struct ask *k = xnew(struct ask);

        k->stream = s;
        k->number = ++s->logs->last_ask;
        k->node = node;
        k->hostname = xstrdup(hostname);
        list_push_back(&s->asks, &k->link);
        map_put(&s->logs->asks, k);
        return k;
}

/* Takes the task's name. */
static void ask_add(struct ask *k, struct asked_task *take_task)
{
        if (k->n == k->cap) {
                k->cap = MAX(k->cap * 2, (size_t)4);
                k->tasks = xreallocarray(k->tasks, k->cap, sizeof(*k->tasks));
        }
        k->tasks[k->n] = *take_task;
        k->tasks[k->n++].skip = take_task->last.count;
        take_task->name = NULL;
        k->stream->n_tasks++;
}

static struct asked_task *find_task(struct ask *k, struct id id)
{
        for (size_t i = 0; i < k->n; i++)
                if (id_is_equal(k->tasks[i].id, id))
                        return &k->tasks[i];
        return NULL;
}

static int add_task(struct log_stream *s, const struct task *task, int64_t tail, int64_t since_us,
                    const struct log_position *after)
{
        struct ask *k, *fit = NULL;

        LIST_FOREACH (k, &s->asks, link) {
                if (!id_is_equal(k->node, task->node->id))
                        continue;
                if (find_task(k, task->id))
                        return 0;
                if (k->state == ASK_WAITING)
                        fit = k;
        }
        if (s->n_tasks >= LOG_TASKS_MAX)
                return -ENOSPC;
        if (!fit)
                fit = ask_new(s, task->node->id, node_hostname(task->node));
        ask_add(fit, &(struct asked_task){.id = task->id,
                                          .name = task_name(task),
                                          .tail = tail,
                                          .since_us = since_us,
                                          .last = *after});
        return 0;
}

int logs_add_task(struct log_stream *s, const struct task *task, bool from_start)
{
        const struct log_position none = {0, 0};

        return add_task(s, task, from_start ? -1 : s->options.tail,
                        from_start ? 0 : s->options.since_us, &none);
}

int logs_add_task_after(struct log_stream *s, const struct task *task,
                        const struct log_position *after)
{
        return add_task(s, task, -1, after->time_us, after);
}

/* --- chunks -------------------------------------------------------------------------------------
 */
static void push(struct log_stream *s, uint64_t ask, Swarm__LogChunk *log)
{
        Swarm__Response r = SWARM__RESPONSE__INIT;
        struct chunk *c = xnew(struct chunk);

        r.number = s->options.number;
        r.more = true;
        r.kind_case = SWARM__RESPONSE__KIND_LOG;
        r.log = log;
        WIRE_PACK(&r, &c->bytes);
        c->ask = ask;
        s->queue_bytes += c->bytes.len;
        list_push_back(&s->queue, &c->link);
}

void logs_warn(struct log_stream *s, const char *format, ...)
{
        Swarm__LogChunk log = SWARM__LOG_CHUNK__INIT;
        char text[ERROR_TEXT_MAX];
        va_list ap;

        va_start(ap, format);
        vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        _cleanup_free_ char *clean = text_clean(text, sizeof(text));
        log.warning = clean;
        push(s, 0, &log);
}

void logs_acknowledge(struct log_stream *s, uint32_t count)
{
        s->underway -= MIN(s->underway, count);
}

bool logs_take(struct log_stream *s, struct buf *ret)
{
        if (list_is_empty(&s->queue) || s->underway >= LOG_CLIENT_WINDOW)
                return false;
        struct chunk *c = LIST_ITEM(s->queue.next, struct chunk, link);
        struct ask *k = c->ask ? map_get_u64(&s->logs->asks, c->ask) : NULL;

        if (k && k->unacknowledged > 0) {
                k->unacknowledged--;
                k->credit++;
        }
        s->queue_bytes -= c->bytes.len;
        *ret = c->bytes;
        c->bytes = (struct buf){0};
        chunk_free(s, c);
        s->underway++;
        if (s->left_out && list_is_empty(&s->queue)) {
                logs_warn(s, "%llu messages of lines were left out: the reader is too slow",
                          (unsigned long long)s->left_out);
                s->left_out = 0;
        }
        return true;
}

bool logs_is_done(const struct log_stream *s)
{
        return list_is_empty(&s->asks) && list_is_empty(&s->queue);
}

/* --- from agents --------------------------------------------------------------------------------
 */
/* The started ask of that number, if it was made to this node. */
static struct ask *find_ask(struct logs *l, struct id node, uint64_t number)
{
        struct ask *k = map_get_u64(&l->asks, number);

        return k && id_is_equal(k->node, node) && k->state == ASK_STARTED ? k : NULL;
}

/* How many lines at the beginning were had already. */
static size_t count_had(struct asked_task *t, const Swarm__LogData *m)
{
        size_t n = 0;

        while (n < m->n_lines && t->skip > 0 && m->lines[n]->time_us == t->last.time_us) {
                n++;
                t->skip--;
        }
        if (n < m->n_lines)
                t->skip = 0;
        return n;
}

static void note_line(struct log_position *last, int64_t time_us)
{
        if (time_us < last->time_us)
                return; /* the node's clock was set back */
        if (time_us > last->time_us)
                *last = (struct log_position){time_us, 0};
        last->count++;
}

void logs_on_data(struct logs *l, struct id node, const Swarm__LogData *m)
{
        struct ask *k = find_ask(l, node, m->stream);
        Swarm__LogChunk log = SWARM__LOG_CHUNK__INIT;
        struct id id;

        if (!k || wire_get_id(&m->task_id, &id) < 0)
                return;
        struct log_stream *s = k->stream;
        struct asked_task *t = find_task(k, id);
        if (!t || t->is_ended || m->n_lines == 0)
                return;
        if (k->unacknowledged >= LOG_WINDOW) {
                logs_warn(s, "node %s sends log lines without being asked for them", k->hostname);
                ask_stop(k);
                return;
        }
        size_t had = count_had(t, m);
        for (size_t i = had; i < m->n_lines; i++)
                note_line(&t->last, m->lines[i]->time_us);
        if (had == m->n_lines) {
                k->credit++;
                return;
        }
        if (s->queue_bytes >= LOG_QUEUE_BYTES_MAX) {
                s->left_out++;
                k->credit++;
                return;
        }
        log.task_id = m->task_id;
        log.task_name = t->name;
        log.node = k->hostname;
        log.n_lines = m->n_lines - had;
        log.lines = m->lines + had;
        push(s, k->number, &log);
        k->unacknowledged++;
}

void logs_on_end(struct logs *l, struct id node, const Swarm__LogEnd *m)
{
        struct ask *k = find_ask(l, node, m->stream);
        struct id id;

        if (!k || wire_get_id(&m->task_id, &id) < 0)
                return;
        struct asked_task *t = find_task(k, id);
        if (!t || t->is_ended)
                return;
        t->is_ended = true;
        k->ended++;
        if (!str_is_empty(m->error))
                logs_warn(k->stream, "task %s: %s", t->name, m->error);
        if (k->ended == k->n)
                ask_free(k);
}

/* What has not ended is asked for again, each task from its last line on, with one ask: a node
 * serves a bounded number of them. */
static void ask_again(struct ask *k)
{
        struct ask *new = ask_new(k->stream, k->node, k->hostname);

        for (size_t i = 0; i < k->n; i++) {
                struct asked_task *t = &k->tasks[i];

                if (t->is_ended)
                        continue;
                if (t->last.time_us > 0) {
                        t->tail = -1;
                        t->since_us = t->last.time_us;
                }
                ask_add(new, t);
        }
        ask_free(k);
}

/* The asks that stand now to a node: fn may remove the one it gets, and add others. */
static void each_ask(struct logs *l, struct id node, void (*fn)(struct ask *k))
{
        uint64_t last = l->last_ask;
        struct log_stream *s;
        struct ask *k, *next;

        LIST_FOREACH (s, &l->streams, link) {
                LIST_FOREACH_SAFE (k, next, &s->asks, link) {
                        if (k->number <= last && id_is_equal(k->node, node))
                                fn(k);
                }
        }
}

static void on_session(struct ask *k)
{
        if (k->state != ASK_WAITING)
                ask_again(k);
}

void logs_on_session(struct logs *l, struct id node)
{
        each_ask(l, node, on_session);
}

static void on_down(struct ask *k)
{
        if (k->state == ASK_NODE_DOWN)
                return;
        logs_warn(k->stream, "node %s is not available", k->hostname);
        if (k->stream->options.follow)
                k->state = ASK_NODE_DOWN;
        else
                ask_free(k);
}

void logs_on_node_down(struct logs *l, struct id node)
{
        each_ask(l, node, on_down);
}

/* --- to agents ----------------------------------------------------------------------------------
 */
typedef void tell_fn(void *arg, struct id node, Swarm__ManagerMessage *m);

static void tell_start(struct ask *k, tell_fn *tell, void *arg)
{
        Swarm__ManagerMessage m = SWARM__MANAGER_MESSAGE__INIT;
        Swarm__LogStart start = SWARM__LOG_START__INIT;
        _cleanup_free_ uint8_t *ids = xcalloc(k->n, ID_BYTES);
        _cleanup_free_ Swarm__LogTask *tasks = xcalloc(k->n, sizeof(*tasks));
        _cleanup_free_ Swarm__LogTask **list = xcalloc(k->n, sizeof(*list));

        for (size_t i = 0; i < k->n; i++) {
                swarm__log_task__init(&tasks[i]);
                tasks[i].task_id = wire_id(k->tasks[i].id, ids + i * ID_BYTES);
                tasks[i].tail = k->tasks[i].tail;
                tasks[i].since_us = k->tasks[i].since_us;
                tasks[i].goes_on = k->tasks[i].last.time_us > 0;
                list[i] = &tasks[i];
        }
        start.stream = k->number;
        start.n_tasks = k->n;
        start.tasks = list;
        start.follow = k->stream->options.follow;
        m.kind_case = SWARM__MANAGER_MESSAGE__KIND_LOG_START;
        m.log_start = &start;
        tell(arg, k->node, &m);
        k->state = ASK_STARTED;
}

static void tell_credit(struct ask *k, tell_fn *tell, void *arg)
{
        Swarm__ManagerMessage m = SWARM__MANAGER_MESSAGE__INIT;
        Swarm__LogAck ack = SWARM__LOG_ACK__INIT;

        ack.stream = k->number;
        ack.count = k->credit;
        m.kind_case = SWARM__MANAGER_MESSAGE__KIND_LOG_ACK;
        m.log_ack = &ack;
        tell(arg, k->node, &m);
        k->credit = 0;
}

static void flush_stream(struct log_stream *s, tell_fn *tell, void *arg)
{
        size_t started = 0;
        struct ask *k;

        LIST_FOREACH (k, &s->asks, link) {
                if (k->state == ASK_WAITING && (s->options.follow || started < LOG_NODES_MAX))
                        tell_start(k, tell, arg);
                if (k->state == ASK_STARTED) {
                        started++;
                        if (k->credit)
                                tell_credit(k, tell, arg);
                }
        }
}

void logs_flush(struct logs *l, tell_fn *tell, void *arg)
{
        struct log_stream *s;
        struct list *i;

        while ((i = list_pop_front(&l->stops))) {
                struct stop *stop = LIST_ITEM(i, struct stop, link);
                Swarm__ManagerMessage m = SWARM__MANAGER_MESSAGE__INIT;
                Swarm__LogStop log_stop = SWARM__LOG_STOP__INIT;

                log_stop.stream = stop->ask;
                m.kind_case = SWARM__MANAGER_MESSAGE__KIND_LOG_STOP;
                m.log_stop = &log_stop;
                tell(arg, stop->node, &m);
                free(stop);
        }
        LIST_FOREACH (s, &l->streams, link) {
                flush_stream(s, tell, arg);
        }
}
