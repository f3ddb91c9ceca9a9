/* The administrator: adds managers, promotes, demotes and removes them, and hands leadership over.
 */
#include <stdio.h>

#include "tests/raft-sim/sim.h"

#define MEMBERS_AT_ONCE 9

struct node *find_leader(struct world *w)
{
        struct node *n, *found = NULL;

        FOREACH_NODE (n, w) {
                if (n->raft && n->role == RAFT_LEADER && n->paused_until <= w->now_ms &&
                    (!found || chance(w, 500)))
                        found = n;
        }
        return found;
}

static const struct raft_member *pick(struct world *w, const struct raft_members *m, bool is_voter)
{
        const struct raft_member *found = NULL;
        uint64_t seen = 0;

        for (size_t i = 0; i < m->n; i++) {
                if (m->of[i].is_voter == is_voter && rng_below(&w->rng, ++seen) == 0)
                        found = &m->of[i];
        }
        return found;
}

/* One that was never a member for sure, or a new one. */
static struct node *newcomer(struct world *w)
{
        struct node *n;

        FOREACH_NODE (n, w) {
                if (!n->was_member && !n->is_wiped)
                        return n;
        }
        n = node_new(w);
        if (n)
                node_start(n);
        return n;
}

static void change(struct world *w, struct node *leader, enum raft_change what, uint64_t id)
{
        struct raft_event e = {.kind = RAFT_CHANGE};
        static const char *const names[] = {"puts learner", "promotes", "demotes", "removes"};
        bool is_own = id == leader->id && (what == RAFT_DEMOTE || what == RAFT_REMOVE);
        char address[32];

        snprintf(address, sizeof(address), "10.0.0.%lu:%lu", id, w->next_op % 60000);
        e.change.what = what;
        e.change.id = id;
        e.change.address = address;
        int64_t rc = node_step(leader, &e);
        trace(w, "node %lu %s %lu: %ld", leader->id, names[what], id, rc);
        if (rc >= 0 && is_own) {
                w->counts.removed_leaders++;
                w->is_change_expected = true;
        }
}

static void transfer(struct world *w, struct node *leader)
{
        const struct raft_member *to = pick(w, raft_members(leader->raft), true);
        struct raft_event e = {.kind = RAFT_TRANSFER};

        e.peer = to && chance(w, 500) ? to->id : 0;
        if (node_step(leader, &e) < 0)
                return;
        trace(w, "node %lu hands over to %lu", leader->id, e.peer);
        w->counts.transfers++;
        w->is_change_expected = true;
}

static bool is_caught_up(const struct node *leader, uint64_t id)
{
        struct raft_progress p;

        return raft_progress(leader->raft, id, &p) == 0 &&
               p.match + 20 > raft_last_index(leader->raft);
}

static void grow(struct world *w, struct node *leader)
{
        const struct raft_members *m = raft_members(leader->raft);
        const struct raft_member *learner = pick(w, m, false);
        struct node *n;

        if (learner && (is_caught_up(leader, learner->id) || chance(w, 50)))
                change(w, leader, RAFT_PROMOTE, learner->id);
        else if (m->n < MEMBERS_AT_ONCE && (!learner || chance(w, 300)) && (n = newcomer(w)))
                change(w, leader, RAFT_PUT_LEARNER, n->id);
}

static void shrink(struct world *w, struct node *leader)
{
        const struct raft_members *m = raft_members(leader->raft);
        const struct raft_member *it = pick(w, m, chance(w, 700));

        if (!it)
                return;
        if (it->is_voter && chance(w, 300))
                change(w, leader, RAFT_DEMOTE, it->id);
        else if (chance(w, 100))
                change(w, leader, RAFT_PUT_LEARNER, it->id); /* a new address */
        else
                change(w, leader, RAFT_REMOVE, it->id);
}

/* Asks one that leads or did so a moment ago. */
void admin_ask(struct world *w, struct node *leader, void *arg UNUSED)
{
        size_t voters = raft_members_count_voters(raft_members(leader->raft));

        if (w->is_healed)
                return;
        if (chance(w, w->is_storm ? 30 : 150))
                transfer(w, leader);
        else if (voters < w->target ? chance(w, 900) : chance(w, 300))
                grow(w, leader);
        else if (w->now_ms > 5000)
                shrink(w, leader);
}

void admin_act(struct world *w, struct node *unused UNUSED, void *arg UNUSED)
{
        struct node *leader = find_leader(w);

        at(w, between(w, 50, w->now_ms < 5000 || w->faults.elected ? 300 : 3000), admin_act, NULL,
           NULL);
        if (leader && !w->victim &&
            (!w->is_fixed || raft_members_count_voters(&w->members) < w->target || chance(w, 50)))
                admin_ask(w, leader, NULL);
}
