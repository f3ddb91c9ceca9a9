/*
 * Clients: each writes or reads a register, one request at a time, and tells what it saw. A write's
 * value is its own number, its version the log's index. No operation's version may be older than
 * one that was complete before it began: `floor` of a key is the newest that anybody was told of.
 * That catches a stale read where it happens; history.c looks at all of it in the end.
 */
#include <string.h>

#include "tests/raft-sim/sim.h"

#define PATIENCE_MS 3000

static void close_op(struct op *op)
{
        op->is_open = false;
}

/* Nobody will say whether it was done. */
static void give_up(struct world *w, struct op *op)
{
        w->counts.unknown++;
        history_note(w, op, 0, false);
        close_op(op);
}

static void complete(struct world *w, struct op *op, uint64_t version, uint64_t value)
{
        if (op->is_read ? version < op->floor : version <= op->floor)
                fail(w,
                     "not linearizable: %s %lu of key %lu saw %lu, but %lu was there before it "
                     "began",
                     op->is_read ? "read" : "write", op->id, op->key, version, op->floor);
        w->floor[op->key] = MAX(w->floor[op->key], version);
        if (op->is_read)
                w->counts.reads++;
        else
                w->counts.writes++;
        w->healed_ops += w->is_healed;
        history_note(w, op, value, true);
        close_op(op);
}

void client_applied(struct node *n, uint64_t index, uint64_t term)
{
        struct world *w = n->w;

        for (size_t i = 0; i < w->n_clients; i++) {
                struct op *op = &w->ops[i];

                if (!op->is_open || op->is_read || op->node != n->id || op->index != index)
                        continue;
                if (op->term != term)
                        close_op(op); /* another's entry stands there */
                else if (w->slots[index].op != op->id)
                        fail(w, "write %lu is acknowledged, but entry %lu is another", op->id,
                             index);
                else
                        complete(w, op, index, op->id);
        }
}

void client_reads(struct node *n)
{
        struct world *w = n->w;

        for (size_t i = 0; i < w->n_clients; i++) {
                struct op *op = &w->ops[i];

                if (op->is_open && op->is_read && op->node == n->id && op->round <= n->read_round &&
                    n->state.index >= n->read_index)
                        complete(w, op, n->state.version[op->key], n->state.value[op->key]);
        }
}

void client_lost(struct node *n)
{
        struct world *w = n->w;

        for (size_t i = 0; i < w->n_clients; i++) {
                struct op *op = &w->ops[i];

                if (op->is_open && op->node == n->id)
                        give_up(w, op);
        }
}

static void propose(struct world *w, struct node *n, struct op *op)
{
        uint8_t bytes[600] = {0};
        size_t len = 16 + (size_t)between(w, 0, chance(w, 50) ? 500 : 30);

        memcpy(bytes, &op->id, 8);
        memcpy(bytes + 8, &op->key, 8);
        struct raft_event e = {.kind = RAFT_PROPOSE, .bytes = raft_bytes_new(bytes, len)};
        int64_t index = node_step(n, &e);
        raft_bytes_unref(e.bytes);
        if (index < 0) {
                close_op(op);
                return;
        }
        op->index = (uint64_t)index;
        op->term = n->term;
}

static void ask(struct node *n, struct op *op)
{
        struct raft_event e = {.kind = RAFT_READ};
        int64_t round = node_step(n, &e);

        if (round < 0) {
                close_op(op);
                return;
        }
        op->round = (uint64_t)round;
        client_reads(n);
}

static struct node *choose(struct world *w)
{
        struct node *n = node_by_id(w, w->hint);

        if (!n || !n->raft || chance(w, 300))
                n = &w->nodes[between(w, 0, (int64_t)w->n_nodes - 1)];
        w->hint = n->leader; /* 0: then another is asked next time */
        return n;
}

static void begin(struct world *w, struct node *n, struct op *op)
{
        if (!n->raft || n->paused_until > w->now_ms)
                return;
        *op = (struct op){.id = ++w->next_op,
                          .key = rng_below(&w->rng, KEYS),
                          .is_read = chance(w, 500),
                          .since = w->now_ms,
                          .began = history_tick(w),
                          .node = n->id,
                          .round = UINT64_MAX};
        op->floor = w->floor[op->key];
        op->is_open = true;
        if (op->is_read)
                ask(n, op);
        else
                propose(w, n, op);
}

void client_knock(struct world *w, struct node *n, void *arg UNUSED)
{
        for (size_t i = 0; i < w->n_clients; i++) {
                if (!w->ops[i].is_open && !w->is_closing) {
                        begin(w, n, &w->ops[i]);
                        return;
                }
        }
}

void client_act(struct world *w, struct node *unused UNUSED, void *arg UNUSED)
{
        for (size_t i = 0; i < w->n_clients && !w->is_closing; i++) {
                struct op *op = &w->ops[i];

                if (op->is_open && w->now_ms - op->since > PATIENCE_MS)
                        give_up(w, op);
                if (!op->is_open && chance(w, 500))
                        begin(w, choose(w), op);
        }
        at(w, between(w, 5, w->client_pause_ms), client_act, NULL, NULL);
}
