/* Time, chance and the network. */
#include <stdio.h>
#include <string.h>

#include "tests/raft-sim/sim.h"

#define EVENTS_MAX 3000000

struct event {
        int64_t at_ms;
        uint64_t seq;
        event_fn *fn;
        struct node *node;
        uint64_t life;
        void *arg;
};

static bool is_before(const struct event *a, const struct event *b)
{
        return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->seq < b->seq;
}

static void push(struct world *w, struct event e)
{
        if (w->n_events == w->cap_events) {
                w->cap_events = w->cap_events ? w->cap_events * 2 : 256;
                w->events = xreallocarray(w->events, w->cap_events, sizeof(struct event));
        }
        size_t i = w->n_events++;

        for (; i > 0 && is_before(&e, &w->events[(i - 1) / 2]); i = (i - 1) / 2)
                w->events[i] = w->events[(i - 1) / 2];
        w->events[i] = e;
}

static struct event pop(struct world *w)
{
        struct event top = w->events[0], last = w->events[--w->n_events];
        size_t i = 0;

        for (;;) {
                size_t child = 2 * i + 1;

                if (child >= w->n_events)
                        break;
                if (child + 1 < w->n_events && is_before(&w->events[child + 1], &w->events[child]))
                        child++;
                if (!is_before(&w->events[child], &last))
                        break;
                w->events[i] = w->events[child];
                i = child;
        }
        w->events[i] = last;
        return top;
}

void at(struct world *w, int64_t delay_ms, event_fn *fn, struct node *n, void *arg)
{
        push(w, (struct event){w->now_ms + delay_ms, w->event_seq++, fn, n, n ? n->life : 0, arg});
}

bool chance(struct world *w, uint64_t of_thousand)
{
        return rng_below(&w->rng, 1000) < of_thousand;
}

int64_t between(struct world *w, int64_t low, int64_t high)
{
        return low + (int64_t)rng_below(&w->rng, (uint64_t)(high - low + 1));
}

void fail(struct world *w, const char *format, ...)
{
        va_list ap;

        if (w->failure[0])
                return;
        va_start(ap, format);
        vsnprintf(w->failure, sizeof(w->failure), format, ap);
        va_end(ap);
}

void trace(struct world *w, const char *format, ...)
{
        va_list ap;

        if (!w->is_verbose)
                return;
        printf("# %8.3f ", (double)w->now_ms / 1000);
        va_start(ap, format);
        vprintf(format, ap);
        va_end(ap);
        putchar('\n');
}

/* A process that is stopped hears of it when it goes on; a dead one never. */
static void handle(struct world *w, struct event *e)
{
        struct node *n = e->node;

        if (n && n->life != e->life) {
                free(e->arg);
                return;
        }
        if (n && n->paused_until > w->now_ms) {
                e->at_ms = n->paused_until + between(w, 0, 2);
                push(w, *e);
                return;
        }
        e->fn(w, n, e->arg);
        free(e->arg);
}

bool run_until(struct world *w, int64_t until_ms)
{
        while (w->n_events && w->events[0].at_ms <= until_ms && !w->failure[0]) {
                struct event e = pop(w);

                w->now_ms = MAX(w->now_ms, e.at_ms);
                handle(w, &e);
                if (++w->counts.events > EVENTS_MAX)
                        fail(w, "more than %d events: something turns without end", EVENTS_MAX);
        }
        w->now_ms = until_ms;
        return !w->failure[0];
}

/* --- the network --------------------------------------------------------------------------------
 */
struct parcel {
        uint64_t from, to;
        size_t n;
        uint8_t bytes[];
};

static void receive(struct node *n, const struct parcel *p)
{
        struct raft_message m;

        if (raft_message_decode(p->bytes, p->n, &m) < 0) {
                fail(n->w, "node %lu cannot read a message", n->id);
                return;
        }
        struct raft_event e = {.kind = RAFT_RECEIVE, .message = &m};
        if (node_step(n, &e) < 0)
                fail(n->w, "node %lu refuses a message of kind %d from %lu", n->id, m.kind, m.from);
        raft_message_done(&m);
}

static void deliver(struct world *w, struct node *unused UNUSED, void *arg)
{
        struct parcel *p = arg;
        struct node *n = node_by_id(w, p->to);

        if (!n || !n->raft || w->is_blocked[p->from - 1][p->to - 1])
                return;
        if (n->paused_until > w->now_ms) { /* it waits in the socket */
                at(w, n->paused_until - w->now_ms, deliver, NULL, xmemdup(p, sizeof(*p) + p->n));
                return;
        }
        receive(n, p);
}

static struct parcel *pack(const struct raft_message *m)
{
        _cleanup_buf_ struct buf b = {0};

        raft_message_encode(m, &b);
        struct parcel *p = xmalloc(sizeof(*p) + b.len);
        *p = (struct parcel){m->from, m->to, b.len};
        memcpy(p->bytes, b.data, b.len);
        return p;
}

/* How long until it is out of a narrow link, where one waits for the other. */
static int64_t squeeze(struct world *w, const struct parcel *p)
{
        double *free_at = &w->link_free[p->from - 1][p->to - 1], now = (double)w->now_ms;

        if (w->faults.link_bytes == 0)
                return 0;
        *free_at = MAX(*free_at, now) + (double)p->n / w->faults.link_bytes;
        return (int64_t)(*free_at - now);
}

void carry(struct node *from, const struct raft_message *m)
{
        struct world *w = from->w;
        int copies = 1 + chance(w, w->faults.duplicate) - chance(w, w->faults.loss);

        w->counts.messages++;
        if (m->to == 0 || m->to > NODES_MAX || m->to == from->id || m->from != from->id) {
                fail(w, "node %lu sends to %lu as %lu", from->id, m->to, m->from);
                return;
        }
        for (; copies > 0 && !w->is_blocked[from->id - 1][m->to - 1]; copies--) {
                int64_t delay = between(w, 0, w->faults.delay_ms);

                /* Late words of a handing over do the most harm. */
                if (chance(w, w->faults.slow && m->kind == RAFT_TIMEOUT_NOW ? 300 : w->faults.slow))
                        delay += between(w, 0, 3000);
                struct parcel *p = pack(m);
                at(w, delay + squeeze(w, p), deliver, NULL, p);
        }
}

struct node *node_by_id(struct world *w, uint64_t id)
{
        return id > 0 && id <= w->n_nodes ? &w->nodes[id - 1] : NULL;
}

void world_done(struct world *w)
{
        struct node *n;

        FOREACH_NODE (n, w)
                node_done(n);
        for (size_t i = 0; i < w->n_events; i++)
                free(w->events[i].arg);
        for (size_t i = 0; i < w->n_slots; i++)
                free(w->slots[i].versions);
        free(w->events);
        free(w->slots);
        free(w->lists);
        free(w->agreed);
        free(w->leaders);
        free(w->past);
}
