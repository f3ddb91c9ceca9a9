/*
 * A manager around the core: it does what a step's output says, applies what is agreed, writes its
 * tables behind, and cuts the log.
 */
#include <math.h>
#include <string.h>

#include "tests/raft-sim/sim.h"

#define FOUNDER 1 /* begins as the only voter of an empty log */

static int64_t local_now(const struct node *n)
{
        return n->clock_zero + (int64_t)((double)n->w->now_ms * n->rate);
}

static int64_t wait_for(const struct node *n, int64_t local_ms)
{
        int64_t ms = (int64_t)ceil((double)(local_ms - local_now(n)) / n->rate);

        return MAX(ms, 0);
}

/* --- life ---------------------------------------------------------------------------------------
 */
struct node *node_new(struct world *w)
{
        if (w->n_nodes == NODES_MAX)
                return NULL;
        struct node *n = &w->nodes[w->n_nodes++];

        n->w = w;
        n->id = w->n_nodes;
        n->is_used = true;
        n->rate = 1 + w->faults.drift * (double)between(w, -1000, 1000) / 1000;
        n->clock_zero = between(w, 0, 1000000);
        if (n->id == FOUNDER) {
                n->disk.base.members.n = 1;
                n->disk.base.members.of[0] = (struct raft_member){.id = 1, .is_voter = true};
                n->was_member = true;
                w->members = n->disk.base.members;
        }
        return n;
}

static void write_behind(struct world *w, struct node *n, void *arg UNUSED)
{
        struct disk_op op = {.kind = DISK_TABLES, .tables = n->state};

        /* A state that is being replaced must not be written over the one that replaces it. */
        if (!n->is_installing && n->state.index > n->disk.tables.index)
                disk_queue(n, &op);
        at(w, between(w, 200, 2000), write_behind, n, NULL);
}

static void wake(struct world *w UNUSED, struct node *n, void *arg UNUSED)
{
        struct raft_event e = {.kind = RAFT_TICK};

        if (n->wake_at > n->w->now_ms)
                return; /* a later one was set meanwhile */
        n->wake_at = TIME_NEVER;
        node_step(n, &e);
}

static void set_wake(struct node *n)
{
        int64_t deadline = raft_deadline_ms(n->raft);

        if (deadline == TIME_NEVER)
                return;
        int64_t delay = MIN(wait_for(n, deadline), (int64_t)100000);
        if (n->w->now_ms + delay < n->wake_at || n->wake_at < n->w->now_ms) {
                n->wake_at = n->w->now_ms + delay;
                at(n->w, delay, wake, n, NULL);
        }
}

void node_start(struct node *n)
{
        struct disk *d = &n->disk;
        struct raft_start start = {.id = n->id,
                                   .seed = rng_next(&n->w->rng),
                                   .now_ms = local_now(n),
                                   .settings = n->w->settings,
                                   .term = d->term,
                                   .vote = d->vote,
                                   .base = d->base,
                                   .entries = d->entries,
                                   .n_entries = d->n,
                                   .applied = d->tables.index};

        if (n->raft)
                return;
        n->life++;
        n->wake_at = TIME_NEVER;
        n->is_applying = n->is_installing = n->is_disk_full = n->is_ready = false;
        n->restart_at = 0;
        buf_clear(&d->staging);
        n->state = d->tables;
        n->told = d->tables.index;
        n->role = RAFT_FOLLOWER;
        n->term = d->term;
        n->leader = n->read_round = n->read_index = 0;
        trace(n->w, "node %lu: starts, term %lu, log %lu-%lu, applied %lu", n->id, d->term,
              d->base.index, d->base.index + d->n, n->told);
        if (raft_new(&start, &n->raft) < 0) {
                n->raft = NULL;
                fail(n->w, "node %lu: what is on its disk is refused", n->id);
                return;
        }
        set_wake(n);
        at(n->w, between(n->w, 200, 2000), write_behind, n, NULL);
}

void node_lose_link(struct node *n, uint64_t peer)
{
        struct raft_event e = {.kind = RAFT_LEADER_GONE, .peer = peer};

        if (n->raft && n->paused_until <= n->w->now_ms)
                node_step(n, &e);
}

static void lose_link(struct world *w UNUSED, struct node *n, void *arg)
{
        node_lose_link(n, *(uint64_t *)arg);
}

/* Its machine may say so to those that are connected with it. */
static void tell_of_end(struct node *n)
{
        struct node *other;

        FOREACH_NODE (other, n->w) {
                if (other != n && other->raft && chance(n->w, 500))
                        at(n->w, between(n->w, 0, n->w->faults.delay_ms), lose_link, other,
                           xmemdup(&n->id, sizeof(n->id)));
        }
}

void node_crash(struct node *n)
{
        if (!n->raft)
                return;
        trace(n->w, "node %lu: dies", n->id);
        n->w->counts.crashes++;
        n->life++;
        n->paused_until = 0;
        raft_free(n->raft);
        n->raft = NULL;
        n->role = RAFT_FOLLOWER;
        client_lost(n);
        disk_crash(n);
        tell_of_end(n);
}

/* One that is at long work instead of stopped says so. */
static void beat(struct world *w, struct node *unused UNUSED, void *arg)
{
        struct raft_event e = {.kind = RAFT_BEAT};
        struct node *n = node_by_id(w, *(uint64_t *)arg);

        if (!n->raft || n->paused_until <= w->now_ms)
                return;
        node_step(n, &e);
        at(w, between(w, 1, 40), beat, NULL, xmemdup(arg, sizeof(n->id)));
}

void node_pause(struct node *n, int64_t ms)
{
        bool is_working = chance(n->w, 300);

        trace(n->w, "node %lu: %s for %ld ms", n->id, is_working ? "at work" : "stopped", ms);
        n->paused_until = n->w->now_ms + ms;
        if (is_working)
                at(n->w, 0, beat, NULL, xmemdup(&n->id, sizeof(n->id)));
        for (int i = 0; i < 3; i++)
                at(n->w, ms + between(n->w, 0, 2), client_knock, n, NULL);
}

void node_done(struct node *n)
{
        raft_free(n->raft);
        n->raft = NULL;
        disk_wipe(n);
}

/* --- what is agreed -----------------------------------------------------------------------------
 */
uint64_t entry_op(const struct raft_entry *e)
{
        uint64_t op = 0;

        if (e->kind == RAFT_ENTRY_DATA && e->bytes && e->bytes->len >= 16)
                memcpy(&op, e->bytes->data, sizeof(op));
        return op;
}

uint64_t entry_key(const struct raft_entry *e)
{
        uint64_t key;

        memcpy(&key, e->bytes->data + 8, sizeof(key));
        return key % KEYS;
}

static bool apply_next(struct node *n)
{
        uint64_t index = n->state.index + 1;
        const struct raft_entry *e = raft_entry_at(n->raft, index);

        if (!e) {
                fail(n->w, "node %lu: entry %lu is to be applied and gone", n->id, index);
                return false;
        }
        uint64_t op = entry_op(e);
        if (op) {
                n->state.value[entry_key(e)] = op;
                n->state.version[entry_key(e)] = index;
        }
        n->state.index = index;
        check_applied(n, e);
        client_applied(n, index, e->term);
        return true;
}

static void plan_apply(struct node *n);

static void apply(struct world *w, struct node *n, void *arg UNUSED)
{
        uint64_t batch = (uint64_t)between(w, 1, 200);

        n->is_applying = false;
        if (n->is_installing)
                return;
        while (n->state.index < n->told && batch--) {
                if (!apply_next(n))
                        return;
        }
        client_reads(n);
        plan_apply(n);
}

static void plan_apply(struct node *n)
{
        if (n->is_applying || n->is_installing || n->state.index >= n->told)
                return;
        n->is_applying = true;
        at(n->w, between(n->w, 0, 2), apply, n, NULL);
}

/* --- snapshots ----------------------------------------------------------------------------------
 */
static void make_snapshot(struct world *w UNUSED, struct node *n, void *arg)
{
        uint64_t peer = *(uint64_t *)arg;
        struct raft_event e = {.kind = RAFT_SNAPSHOT_READY};

        e.snapshot.peer = peer;
        if (!n->is_installing && n->state.index && !chance(w, 50)) {
                e.snapshot.index = n->state.index;
                e.snapshot.size = snapshot_size(&n->state);
                n->made = n->state;
        }
        if (node_step(n, &e) >= 0)
                n->sending[peer - 1].state = n->made;
        n->made.index = 0;
}

static void say(struct node *n, struct raft_message *m)
{
        if (m->kind == RAFT_CHUNK) {
                const struct state *s = &n->sending[m->to - 1].state;

                if (n->made.index) /* the step that took it sends the first pieces at once */
                        s = &n->made;
                if (s->index != m->chunk.index || m->chunk.bytes)
                        fail(n->w, "node %lu: sends a snapshot that is not there", n->id);
                m->chunk.bytes = raft_bytes_new(NULL, 0);
                m->chunk.bytes = xrealloc(m->chunk.bytes, sizeof(*m->chunk.bytes) + m->chunk.len);
                m->chunk.bytes->len = m->chunk.len;
                snapshot_bytes(s, m->chunk.offset, m->chunk.len, m->chunk.bytes->data);
        }
        carry(n, m);
}

/* --- an output ----------------------------------------------------------------------------------
 */
static void on_role(struct node *n, const struct raft_output *out)
{
        bool is_other = out->role != n->role || out->term != n->term;
        bool was_leader = n->role == RAFT_LEADER;

        if (out->term < n->term)
                fail(n->w, "node %lu: term %lu after %lu", n->id, out->term, n->term);
        n->role = out->role;
        n->term = out->term;
        n->leader = out->leader;
        n->is_ready = out->is_ready;
        n->is_removed = out->is_removed;
        if (!is_other)
                return;
        if (was_leader)
                client_lost(n);
        if (n->role == RAFT_LEADER) {
                trace(n->w, "node %lu: leads term %lu", n->id, n->term);
                n->leads_since = n->w->now_ms;
                check_leader(n);
                spite(n, n->w->faults.elected);
                if (chance(n->w, n->w->faults.elected))
                        at(n->w, between(n->w, 0, 5), admin_ask, n, NULL);
        }
}

static void on_commit(struct node *n, uint64_t index)
{
        if (index < n->told)
                fail(n->w, "node %lu: agreed up to %lu after %lu", n->id, index, n->told);
        for (uint64_t i = n->told + 1; i <= index; i++)
                check_commit(n, i);
        if (index > n->told && n->role == RAFT_LEADER)
                spite(n, n->w->faults.agreed);
        n->told = index;
        plan_apply(n);
        if (n->role == RAFT_LEADER)
                check_leading(n);
}

static void carry_out(struct node *n, struct raft_output *out)
{
        struct disk_op op = {.kind = DISK_RAFT};

        on_role(n, out);
        if (out->write.seq) {
                check_write(n, &out->write);
                n->is_installing |= out->write.install != NULL;
                op.write = out->write;
                memset(&out->write, 0, sizeof(out->write));
                disk_queue(n, &op);
        }
        if (out->n_messages && out->messages[0].kind == RAFT_APPEND)
                spite(n, n->w->faults.sending);
        for (size_t i = 0; i < out->n_messages; i++) {
                if (out->messages[i].kind == RAFT_VOTED || out->messages[i].kind == RAFT_VOTE)
                        check_vote(n, &out->messages[i]);
                say(n, &out->messages[i]);
        }
        for (size_t i = 0; i < out->n_want_snapshot; i++)
                at(n->w, between(n->w, 0, 50), make_snapshot, n,
                   xmemdup(&out->want_snapshot[i], sizeof(uint64_t)));
        on_commit(n, out->commit_index);
        n->read_round = out->read_round;
        n->read_index = out->read_index;
        raft_output_done(out);
        client_reads(n);
        set_wake(n);
}

int64_t node_step(struct node *n, struct raft_event *e)
{
        struct raft_output out;

        e->now_ms = local_now(n);
        int64_t rc = raft_step(n->raft, e, &out);
        carry_out(n, &out);
        return rc;
}

void node_persisted(struct node *n, uint64_t seq)
{
        struct raft_event e = {.kind = RAFT_PERSISTED, .seq = seq};

        node_step(n, &e);
}

static void cut(struct node *n, uint64_t index)
{
        struct raft_event e = {.kind = RAFT_CUT, .index = index};
        struct disk_op op = {.kind = DISK_CUT};

        if (node_step(n, &e) < 0)
                fail(n->w, "node %lu: may not cut its log at %lu", n->id, index);
        op.base = *raft_base(n->raft);
        check_base(n, &op.base);
        disk_queue(n, &op);
}

void node_on_disk(struct node *n, const struct disk_done *done)
{
        if (done->is_install) {
                n->state = done->tables;
                n->is_installing = false;
                trace(n->w, "node %lu: took over a snapshot of %lu", n->id, n->state.index);
        } else if (done->kind == DISK_TABLES && !n->is_installing && !chance(n->w, 300)) {
                cut(n, done->tables.index);
        }
}
