/*
 * The log that the managers agree on, once for all: whoever first calls an entry agreed writes it
 * down here, and all others must have the same. A store that is fed with it alone says what the
 * state is at each index.
 */
#include "tests/sim/sim_agreed.h"

#include <stdlib.h>

#include "tests/sim/sim.h"
#include "tests/sim/sim_told.h"

#define WELL_MS 8000 /* who was well for so long must not be declared down */

void sim_agreed_init(struct sim *sim)
{
        struct sim_agreed *g = &sim->agreed;

        g->shadow = store_new();
        g->cap = 256;
        g->entries = xnew_array(struct raft_entry, g->cap);
        g->hashes = xnew_array(uint64_t, g->cap + 1);
        g->hashes[0] = store_hash(g->shadow);
}

void sim_agreed_done(struct sim *sim)
{
        struct sim_agreed *g = &sim->agreed;

        for (uint64_t i = 0; i < g->n; i++)
                raft_bytes_unref(g->entries[i].bytes);
        free(g->entries);
        free(g->hashes);
        store_free(g->shadow);
}

/* Whoever lives and reaches the managers is not declared down because another one leads now. */
static void check_down(struct sim_manager *m, struct sim_agent *a)
{
        struct sim *sim = m->sim;
        struct sim_manager *through = &sim->managers[a->manager];
        int64_t since = MAX(MAX(a->hurt_ms, a->connected_ms), MAX(m->hurt_ms, through->hurt_ms));

        if (a->core && !a->is_cut && replica_turn(m->replica) && since + WELL_MS < sim->now_ms)
                sim_fail(sim, "%s is declared down by %s, though it was well and could be heard",
                         a->hostname, m->hostname);
}

static void look_at_nodes(struct sim_manager *m)
{
        struct sim *sim = m->sim;

        for (int i = 0; i < sim->n_agents; i++) {
                struct sim_agent *a = &sim->agents[i];
                struct node *node = store_find_node_by_key(sim->agreed.shadow, a->key);
                bool is_down = node && node->state == NODE_DOWN;

                if (is_down && !a->is_down) {
                        sim_trace(sim, "%s: is declared down", a->hostname);
                        check_down(m, a);
                }
                a->is_down = is_down;
        }
}

static void append(struct sim_manager *m, const struct raft_entry *e)
{
        struct sim *sim = m->sim;
        struct sim_agreed *g = &sim->agreed;

        if (g->n == g->cap) {
                g->cap *= 2;
                g->entries = xreallocarray(g->entries, g->cap, sizeof(*g->entries));
                g->hashes = xreallocarray(g->hashes, g->cap + 1, sizeof(*g->hashes));
        }
        g->entries[g->n] = *e;
        raft_bytes_ref(e->bytes);
        g->n++;
        if (e->kind == RAFT_ENTRY_MEMBERS &&
            raft_members_decode(e->bytes->data, e->bytes->len, &g->members) < 0)
                sim_fail(sim, "the members cannot be read");
        if (e->kind == RAFT_ENTRY_DATA &&
            store_apply_entry(g->shadow, e->bytes->data, e->bytes->len) < 0)
                sim_fail(sim, "an entry of %s cannot be applied", m->hostname);
        g->hashes[g->n] = e->kind == RAFT_ENTRY_DATA ? store_hash(g->shadow) : g->hashes[g->n - 1];
        if (e->kind != RAFT_ENTRY_DATA)
                return;
        sim_told_commit(sim);
        look_at_nodes(m);
}

static bool is_same(const struct raft_entry *a, const struct raft_entry *b)
{
        size_t n = a->bytes ? a->bytes->len : 0;

        return a->term == b->term && a->kind == b->kind && n == (b->bytes ? b->bytes->len : 0) &&
               (n == 0 || !memcmp(a->bytes->data, b->bytes->data, n));
}

void sim_agreed_note(struct sim_manager *m)
{
        struct sim *sim = m->sim;
        struct sim_agreed *g = &sim->agreed;

        if (!m->replica)
                return;
        uint64_t commit = replica_status(m->replica)->commit_index;
        for (; m->noted < commit && !sim->failure[0]; m->noted++) {
                const struct raft_entry *e = sim_disk_entry(m, m->noted + 1);

                /* Not there: it came with a snapshot. */
                if ((!e && m->noted >= g->n) ||
                    (e && m->noted < g->n && !is_same(e, &g->entries[m->noted])))
                        sim_fail(sim, "%s: entry %llu is agreed, but %s", m->hostname,
                                 (unsigned long long)m->noted + 1,
                                 e ? "others have another" : "it is not on its disk");
                else if (m->noted >= g->n)
                        append(m, e);
        }
}

uint64_t sim_agreed_hash(struct sim *sim, uint64_t index)
{
        if (index > sim->agreed.n) {
                sim_fail(sim, "a state at entry %llu, of which %llu are agreed",
                         (unsigned long long)index, (unsigned long long)sim->agreed.n);
                return 0;
        }
        return sim->agreed.hashes[index];
}

void sim_agreed_check(struct sim_manager *m, struct store *store, uint64_t index, const char *what)
{
        if (store_hash(store) != sim_agreed_hash(m->sim, index))
                sim_fail(m->sim, "%s: its state is not what %llu agreed entries make it: %s",
                         m->hostname, (unsigned long long)index, what);
}
