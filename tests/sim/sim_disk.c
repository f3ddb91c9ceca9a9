/*
 * A manager's disk: a queue of writes, of which all that wait go into one transaction. A crash
 * loses what was not synced; of the transaction under way any part of its steps may be there
 * afterwards, in order: that is more than SQLite would do to us. Rows of the state are written
 * behind, in slices.
 */
#include "tests/sim/sim_disk.h"

#include <stdlib.h>

#include "tests/sim/sim.h"

#define SYNC_MS_MAX      12
#define SYNC_SLOW_MS_MAX 600
#define BEHIND_MS_MIN    50
#define BEHIND_MS_MAX    1200
#define SLICE_ROWS_MAX   60
#define TORN_STEPS_MAX   12
#define LOG_ALONE_CHANCE 250 /* that the tables are lost, while the log still has all */

enum op_kind { OP_RAFT, OP_ROWS, OP_CUT, OP_LOAD, OP_COPY };

struct sim_op {
        enum op_kind kind;
        struct raft_write write;
        struct sim_slice slice;
        struct raft_base base;
        uint64_t peer;
};

/* What the process is told of an operation. */
struct done {
        enum op_kind kind;
        uint64_t seq, covered, peer, index;
        struct store *store;
        struct buf copy;
};

/* --- the log ------------------------------------------------------------------------------------
 */
static uint64_t last_of(const struct sim_disk *d)
{
        return d->first + d->n;
}

static void drop_from(struct sim_disk *d, uint64_t from)
{
        while (d->n && last_of(d) >= from)
                raft_bytes_unref(d->entries[--d->n].bytes);
}

static void put_entry(struct sim_manager *m, uint64_t index, const struct raft_entry *e)
{
        struct sim_disk *d = &m->disk;

        if (index != last_of(d) + 1) {
                sim_fail(m->sim, "%s: entry %llu is written behind %llu", m->hostname,
                         (unsigned long long)index, (unsigned long long)last_of(d));
                return;
        }
        if (d->n == d->cap) {
                d->cap = d->cap ? d->cap * 2 : 64;
                d->entries = xreallocarray(d->entries, d->cap, sizeof(*d->entries));
        }
        d->entries[d->n] = *e;
        raft_bytes_ref(d->entries[d->n++].bytes);
}

/* Entries that the tables cover and the log does not stand on are not needed. */
static void drop_covered(struct sim_disk *d)
{
        uint64_t to = MIN(d->base.index, d->rows.covered);
        size_t n = to > d->first ? (size_t)MIN(to - d->first, (uint64_t)d->n) : 0;

        for (size_t i = 0; i < n; i++)
                raft_bytes_unref(d->entries[i].bytes);
        d->n -= n;
        d->first += n;
        if (n && d->n)
                memmove(d->entries, d->entries + n, d->n * sizeof(*d->entries));
}

const struct raft_entry *sim_disk_entry(const struct sim_manager *m, uint64_t index)
{
        const struct sim_disk *d = &m->disk;

        return index > d->first && index <= last_of(d) ? &d->entries[index - d->first - 1] : NULL;
}

void sim_disk_members(const struct sim_manager *m, struct raft_members *ret)
{
        const struct sim_disk *d = &m->disk;

        *ret = d->base.members;
        for (uint64_t i = last_of(d); i > d->base.index; i--) {
                const struct raft_entry *e = sim_disk_entry(m, i);

                if (e->kind != RAFT_ENTRY_MEMBERS)
                        continue;
                raft_members_decode(e->bytes->data, e->bytes->len, ret);
                return;
        }
}

/* Entries from what the tables cover on: they must be there. */
static const struct raft_entry *behind_rows(struct sim_manager *m)
{
        struct sim_disk *d = &m->disk;

        if (d->rows.covered < d->first || d->rows.newest > last_of(d)) {
                sim_fail(m->sim, "%s: rows of %llu to %llu, but the log is %llu to %llu",
                         m->hostname, (unsigned long long)d->rows.covered,
                         (unsigned long long)d->rows.newest, (unsigned long long)d->first,
                         (unsigned long long)last_of(d));
                return NULL;
        }
        return d->entries + (d->rows.covered - d->first);
}

static struct store *load_rows(struct sim_manager *m)
{
        const struct raft_entry *entries = behind_rows(m);

        return m->sim->failure[0] ? store_new() : sim_rows_load(m->sim, &m->disk.rows, entries);
}

/* --- steps of a transaction ---------------------------------------------------------------------
 */
static void install(struct sim_manager *m, const struct raft_base *base)
{
        struct sim_disk *d = &m->disk;
        struct raft_entry *entries = sim_rows_unpack(m->sim, &d->incoming, &d->rows);

        if (d->rows.newest != base->index)
                sim_fail(m->sim, "%s: a snapshot of %llu comes as one of %llu", m->hostname,
                         (unsigned long long)d->rows.newest, (unsigned long long)base->index);
        drop_from(d, 0);
        d->first = d->rows.covered;
        d->base = *base;
        for (uint64_t i = d->rows.covered; i < d->rows.newest && !m->sim->failure[0]; i++) {
                struct raft_entry *e = &entries[i - d->rows.covered];

                put_entry(m, i + 1, e);
                raft_bytes_unref(e->bytes);
        }
        free(entries);
        m->sim->n_installs++;
        sim_trace(m->sim, "%s: a snapshot of %llu is in place", m->hostname,
                  (unsigned long long)base->index);
}

static void take_chunk(struct sim_manager *m, const struct raft_write *w)
{
        struct buf *b = &m->disk.incoming;

        if (w->chunk_offset == 0)
                buf_clear(b);
        if (b->len != w->chunk_offset)
                sim_fail(m->sim, "%s: a piece at %llu, not at %zu", m->hostname,
                         (unsigned long long)w->chunk_offset, b->len);
        buf_append(b, w->chunk->data, w->chunk->len);
}

static bool spend(uint64_t *budget)
{
        return *budget && (*budget)--;
}

/* As many steps as *budget allows. */
static void do_raft(struct sim_manager *m, const struct raft_write *w, uint64_t *budget)
{
        struct sim_disk *d = &m->disk;

        if (!spend(budget))
                return;
        d->term = w->term;
        d->vote = w->vote;
        if (!spend(budget))
                return;
        if (w->drops_chunks)
                buf_clear(&d->incoming);
        if (w->chunk)
                take_chunk(m, w);
        if (w->install)
                install(m, w->install);
        if (!w->from || !spend(budget))
                return;
        drop_from(d, w->from);
        for (size_t i = 0; i < w->n_entries && spend(budget); i++)
                put_entry(m, w->from + i, &w->entries[i]);
}

static void do_cut(struct sim_disk *d, const struct raft_base *base)
{
        if (base->index > d->base.index)
                d->base = *base;
        drop_covered(d);
}

static void do_copy(struct sim_manager *m, struct done *ret)
{
        const struct raft_entry *entries = behind_rows(m);

        if (m->sim->failure[0])
                return;
        ret->index = m->disk.rows.newest;
        sim_rows_pack(&m->disk.rows, entries, &ret->copy);
}

static void do_op(struct sim_manager *m, struct sim_op *op, uint64_t *budget, struct done *ret)
{
        *ret = (struct done){.kind = op->kind, .peer = op->peer};
        switch (op->kind) {
        case OP_RAFT:
                ret->seq = op->write.seq;
                do_raft(m, &op->write, budget);
                break;
        case OP_ROWS:
                ret->covered = op->slice.covered;
                if (spend(budget))
                        sim_rows_put(&m->disk.rows, &op->slice);
                break;
        case OP_CUT:
                if (spend(budget))
                        do_cut(&m->disk, &op->base);
                break;
        case OP_LOAD:
                ret->store = load_rows(m);
                ret->index = m->disk.rows.newest;
                break;
        case OP_COPY: do_copy(m, ret); break;
        }
}

/* --- the queue ----------------------------------------------------------------------------------
 */
static void drop_ops(struct sim_disk *d, size_t count)
{
        for (size_t i = 0; i < count; i++) {
                raft_write_done(&d->queue[i].write);
                sim_slice_done(&d->queue[i].slice);
        }
        d->n_queue -= count;
        if (d->n_queue)
                memmove(d->queue, d->queue + count, d->n_queue * sizeof(*d->queue));
}

static void begin(struct sim_manager *m);

struct told {
        size_t n;
        struct done done[];
};

static void tell_one(struct sim_manager *m, struct done *d)
{
        switch (d->kind) {
        case OP_RAFT: sim_manager_on_durable(m, d->seq); break;
        case OP_ROWS:
                if (d->covered)
                        sim_manager_on_covered(m, d->covered);
                break;
        case OP_LOAD:
                sim_manager_on_loaded(m, d->store, d->index);
                d->store = NULL;
                break;
        case OP_COPY: sim_manager_on_copied(m, d->peer, d->index, &d->copy); break;
        case OP_CUT: break;
        }
}

/* The process hears of it, if it lives. */
static void tell(struct sim_manager *m, void *arg, bool is_void)
{
        struct told *t = arg;

        for (size_t i = 0; i < t->n; i++) {
                if (!is_void)
                        tell_one(m, &t->done[i]);
                store_free(t->done[i].store);
                buf_done(&t->done[i].copy);
        }
        free(t);
}

/* The disk goes on even if the process is stopped. */
static void synced(struct sim *sim, void *arg)
{
        uint64_t *who = arg, budget = UINT64_MAX;
        struct sim_manager *m = &sim->managers[who[0]];
        struct sim_disk *d = &m->disk;
        bool is_void = who[1] != m->life;

        free(who);
        if (is_void)
                return;
        if (d->is_full) {
                sim_trace(sim, "%s: disk full", m->hostname);
                d->is_full = false;
                sim_manager_crash(m);
                return;
        }
        struct told *t = xmalloc(sizeof(*t) + d->n_running * sizeof(t->done[0]));
        t->n = d->n_running;
        for (size_t i = 0; i < d->n_running; i++)
                do_op(m, &d->queue[i], &budget, &t->done[i]);
        drop_ops(d, d->n_running);
        d->n_running = 0;
        sim_manager_later(m, 0, tell, t);
        begin(m);
}

static void begin(struct sim_manager *m)
{
        struct sim *sim = m->sim;
        struct sim_disk *d = &m->disk;
        uint64_t who[2] = {(uint64_t)m->index, m->life};
        int64_t delay = sim_between(sim, 0, SYNC_MS_MAX);

        if (d->n_running || d->n_queue == 0)
                return;
        if (d->slow_until > sim->now_ms)
                delay += sim_between(sim, 0, SYNC_SLOW_MS_MAX);
        d->n_running = d->n_queue;
        sim_at(sim, delay, synced, xmemdup(who, sizeof(who)));
}

static void enqueue(struct sim_manager *m, const struct sim_op *op)
{
        struct sim_disk *d = &m->disk;

        if (d->n_queue == d->cap_queue) {
                d->cap_queue = d->cap_queue ? d->cap_queue * 2 : 16;
                d->queue = xreallocarray(d->queue, d->cap_queue, sizeof(*d->queue));
        }
        d->queue[d->n_queue++] = *op;
        begin(m);
}

void sim_disk_write(struct sim_manager *m, struct raft_write *w)
{
        struct sim_op op = {.kind = OP_RAFT, .write = *w};

        *w = (struct raft_write){0};
        enqueue(m, &op);
}

void sim_disk_load(struct sim_manager *m)
{
        if (m->disk.store)
                sim_fail(m->sim, "%s: the state is read while there is one", m->hostname);
        enqueue(m, &(struct sim_op){.kind = OP_LOAD});
}

void sim_disk_copy(struct sim_manager *m, uint64_t peer)
{
        enqueue(m, &(struct sim_op){.kind = OP_COPY, .peer = peer});
}

void sim_disk_cut(struct sim_manager *m, const struct raft_base *base)
{
        enqueue(m, &(struct sim_op){.kind = OP_CUT, .base = *base});
}

/* --- rows, behind -------------------------------------------------------------------------------
 */
void sim_disk_set_store(struct sim_manager *m, struct store *store)
{
        m->disk.store = store;
        m->disk.applied = 0;
}

void sim_disk_set_applied(struct sim_manager *m, uint64_t index)
{
        m->disk.applied = index;
}

static void write_behind(struct sim_manager *m, void *arg UNUSED, bool is_void)
{
        struct sim *sim = m->sim;
        struct sim_disk *d = &m->disk;
        struct sim_op op = {.kind = OP_ROWS};

        if (is_void)
                return;
        sim_manager_later(m, sim_between(sim, BEHIND_MS_MIN, BEHIND_MS_MAX), write_behind, NULL);
        if (!d->store || !d->applied || !store_unflushed_rows(d->store))
                return;
        sim_agreed_check(m, d->store, d->applied, "rows are written");
        if (store_is_between_rounds(d->store))
                d->round = d->applied;
        sim_slice_take(&op.slice, d->store, (size_t)sim_between(sim, 1, SLICE_ROWS_MAX));
        op.slice.newest = d->applied;
        if (store_is_between_rounds(d->store))
                op.slice.covered = d->round;
        enqueue(m, &op);
}

/* --- life ---------------------------------------------------------------------------------------
 */
void sim_disk_start(struct sim_manager *m)
{
        struct sim_disk *d = &m->disk;

        buf_clear(&d->incoming);
        if (d->base.index == 0 && d->first == 0 && sim_chance(m->sim, LOG_ALONE_CHANCE))
                sim_rows_clear(&d->rows);
        sim_manager_later(m, sim_between(m->sim, BEHIND_MS_MIN, BEHIND_MS_MAX), write_behind, NULL);
}

struct store *sim_disk_load_now(struct sim_manager *m)
{
        return load_rows(m);
}

void sim_disk_crash(struct sim_manager *m)
{
        struct sim_disk *d = &m->disk;
        uint64_t budget =
                sim_chance(m->sim, 500) ? (uint64_t)sim_between(m->sim, 0, TORN_STEPS_MAX) : 0;

        for (size_t i = 0; i < d->n_running; i++) {
                struct done done;

                if (d->queue[i].kind == OP_LOAD || d->queue[i].kind == OP_COPY)
                        continue;
                do_op(m, &d->queue[i], &budget, &done);
        }
        drop_ops(d, d->n_queue);
        d->n_running = 0;
        d->store = NULL;
        d->applied = 0;
        d->is_full = false;
}

void sim_disk_done(struct sim_manager *m)
{
        struct sim_disk *d = &m->disk;

        drop_ops(d, d->n_queue);
        drop_from(d, 0);
        free(d->entries);
        free(d->queue);
        sim_rows_done(&d->rows);
        buf_done(&d->incoming);
        *d = (struct sim_disk){0};
}

void sim_disk_init(struct sim_manager *m)
{
        sim_disk_done(m);
        sim_rows_init(&m->disk.rows);
}
