/*
 * A manager's disk: a queue of writes, of which all that wait go into one transaction. A crash
 * loses what was not synced; of the transaction under way any part of its steps may be there
 * afterwards, in order: that is more than SQLite would do to us.
 */
#include <string.h>

#include "tests/raft-sim/sim.h"

#define SNAPSHOT_MORE_MAX 6000

uint64_t mix(uint64_t a, uint64_t b)
{
        struct rng r = {a * 0x9e3779b97f4a7c15u + b};

        return rng_next(&r);
}

/* --- snapshots: the state, and padding that depends on it ----------------------------------------
 */
uint64_t snapshot_size(const struct state *s)
{
        return sizeof(*s) + mix(s->index, 1) % SNAPSHOT_MORE_MAX;
}

static uint8_t snapshot_byte(const struct state *s, uint64_t offset)
{
        if (offset < sizeof(*s))
                return ((const uint8_t *)s)[offset];
        return (uint8_t)(s->hash >> (offset % 8 * 8)) ^ (uint8_t)(offset * 7);
}

void snapshot_bytes(const struct state *s, uint64_t offset, size_t len, uint8_t *ret)
{
        for (size_t i = 0; i < len; i++)
                ret[i] = snapshot_byte(s, offset + i);
}

static void read_snapshot(struct node *n, struct state *ret)
{
        const struct buf *b = &n->disk.staging;

        if (b->len < sizeof(*ret)) {
                fail(n->w, "node %lu: a snapshot of %zu bytes", n->id, b->len);
                return;
        }
        memcpy(ret, b->data, sizeof(*ret));
        if (b->len != snapshot_size(ret))
                fail(n->w, "node %lu: a snapshot of %zu bytes", n->id, b->len);
        for (size_t i = 0; i < b->len; i++) {
                if (b->data[i] != snapshot_byte(ret, i)) {
                        fail(n->w, "node %lu: the snapshot differs at %zu", n->id, i);
                        return;
                }
        }
}

/* --- steps of a transaction ---------------------------------------------------------------------
 */
static uint64_t last_of(const struct disk *d)
{
        return d->base.index + d->n;
}

static void drop_from(struct disk *d, uint64_t from)
{
        while (d->n && last_of(d) >= from)
                raft_bytes_unref(d->entries[--d->n].bytes);
}

static void put_entry(struct node *n, uint64_t index, const struct raft_entry *e)
{
        struct disk *d = &n->disk;

        if (index != last_of(d) + 1) {
                fail(n->w, "node %lu: entry %lu is written behind %lu", n->id, index, last_of(d));
                return;
        }
        if (d->n == d->cap) {
                d->cap = d->cap ? d->cap * 2 : 64;
                d->entries = xreallocarray(d->entries, d->cap, sizeof(*d->entries));
        }
        d->entries[d->n] = *e;
        raft_bytes_ref(d->entries[d->n++].bytes);
}

static void cut(struct disk *d, const struct raft_base *base)
{
        size_t n = (size_t)MIN(base->index - d->base.index, (uint64_t)d->n);

        for (size_t i = 0; i < n; i++)
                raft_bytes_unref(d->entries[i].bytes);
        d->n -= n;
        if (d->n)
                memmove(d->entries, d->entries + n, d->n * sizeof(*d->entries));
        d->base = *base;
}

static void install(struct node *n, const struct raft_base *base)
{
        struct disk *d = &n->disk;

        read_snapshot(n, &d->tables);
        if (d->tables.index != base->index)
                fail(n->w, "node %lu: a snapshot of %lu comes as one of %lu", n->id,
                     d->tables.index, base->index);
        drop_from(d, d->base.index + 1);
        d->base = *base;
        buf_clear(&d->staging);
        n->w->counts.snapshots++;
}

static void take_chunk(struct node *n, const struct raft_write *w)
{
        struct buf *b = &n->disk.staging;

        if (w->chunk_offset == 0)
                buf_clear(b);
        if (b->len != w->chunk_offset)
                fail(n->w, "node %lu: a piece at %lu, not at %zu", n->id, w->chunk_offset, b->len);
        buf_append(b, w->chunk->data, w->chunk->len);
}

/* As many steps as *budget allows. */
static void do_raft(struct node *n, const struct raft_write *w, uint64_t *budget)
{
        struct disk *d = &n->disk;

        if (!*budget || !(*budget)--)
                return;
        d->term = w->term;
        d->vote = w->vote;
        if (!*budget || !(*budget)--)
                return;
        if (w->drops_chunks)
                buf_clear(&d->staging);
        if (w->chunk)
                take_chunk(n, w);
        if (w->install)
                install(n, w->install);
        if (!w->from || !*budget || !(*budget)--)
                return;
        if (last_of(d) >= w->from)
                n->w->counts.truncations++;
        drop_from(d, w->from);
        for (size_t i = 0; i < w->n_entries && *budget; i++, (*budget)--)
                put_entry(n, w->from + i, &w->entries[i]);
}

static void do_op(struct node *n, const struct disk_op *op, uint64_t *budget)
{
        switch (op->kind) {
        case DISK_RAFT: do_raft(n, &op->write, budget); return;
        case DISK_TABLES:
                if (*budget && (*budget)--)
                        n->disk.tables = op->tables;
                return;
        case DISK_CUT:
                if (*budget && (*budget)-- && op->base.index > n->disk.base.index)
                        cut(&n->disk, &op->base);
                return;
        }
}

/* --- the queue ----------------------------------------------------------------------------------
 */
static void drop_ops(struct node *n, size_t count)
{
        for (size_t i = 0; i < count; i++)
                raft_write_done(&n->queue[i].write);
        n->n_queue -= count;
        if (n->n_queue)
                memmove(n->queue, n->queue + count, n->n_queue * sizeof(*n->queue));
}

static void begin(struct node *n);

struct told {
        size_t n;
        struct disk_done done[];
};

/* The process hears of it; the disk was done even if the process is stopped. */
static void tell(struct world *w UNUSED, struct node *n, void *arg)
{
        struct told *t = arg;
        uint64_t seq = 0, life = n->life;

        for (size_t i = 0; i < t->n && n->life == life; i++) {
                seq = MAX(seq, t->done[i].seq);
                node_on_disk(n, &t->done[i]);
        }
        if (seq && n->life == life)
                node_persisted(n, seq);
}

static void synced(struct world *w, struct node *unused UNUSED, void *arg)
{
        const uint64_t *who = arg;
        struct node *n = node_by_id(w, who[0]);
        uint64_t budget = UINT64_MAX;

        if (n->life != who[1])
                return;
        if (n->disk_hangs_until > w->now_ms) {
                at(w, between(w, 1, 50), synced, NULL, xmemdup(who, 2 * sizeof(*who)));
                return;
        }
        if (n->is_disk_full) {
                trace(w, "node %lu: disk full", n->id);
                node_crash(n);
                return;
        }
        struct told *t = xmalloc(sizeof(*t) + n->n_running * sizeof(t->done[0]));
        t->n = n->n_running;
        for (size_t i = 0; i < n->n_running; i++) {
                struct disk_op *op = &n->queue[i];

                do_op(n, op, &budget);
                t->done[i] = (struct disk_done){op->kind, op->write.seq, op->write.install != NULL,
                                                n->disk.tables};
        }
        drop_ops(n, n->n_running);
        n->n_running = 0;
        at(w, 0, tell, n, t);
        begin(n);
}

static void begin(struct node *n)
{
        struct world *w = n->w;
        uint64_t who[2] = {n->id, n->life};
        int64_t delay = between(w, 0, w->faults.disk_ms);

        if (n->n_running || n->n_queue == 0)
                return;
        if (n->disk_slow_until > w->now_ms)
                delay += between(w, 0, 800);
        n->n_running = n->n_queue;
        at(w, delay, synced, NULL, xmemdup(who, sizeof(who)));
}

void disk_queue(struct node *n, const struct disk_op *op)
{
        if (n->n_queue == n->cap_queue) {
                n->cap_queue = n->cap_queue ? n->cap_queue * 2 : 16;
                n->queue = xreallocarray(n->queue, n->cap_queue, sizeof(*n->queue));
        }
        n->queue[n->n_queue++] = *op;
        begin(n);
}

void disk_crash(struct node *n)
{
        struct world *w = n->w;
        uint64_t budget = chance(w, 500) ? (uint64_t)between(w, 0, 12) : 0;

        if (budget && n->n_running)
                w->counts.torn++;
        for (size_t i = 0; i < n->n_running; i++)
                do_op(n, &n->queue[i], &budget);
        drop_ops(n, n->n_queue);
        n->n_running = 0;
}

void disk_wipe(struct node *n)
{
        drop_ops(n, n->n_queue);
        drop_from(&n->disk, n->disk.base.index + 1);
        free(n->disk.entries);
        buf_done(&n->disk.staging);
        memset(&n->disk, 0, sizeof(n->disk));
        free(n->queue);
        n->queue = NULL;
        n->n_queue = n->cap_queue = n->n_running = 0;
}
