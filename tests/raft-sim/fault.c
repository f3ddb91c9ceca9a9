/* What goes wrong, and who changes the members meanwhile. */
#include <stdio.h>
#include <string.h>

#include "tests/raft-sim/sim.h"

#define MEMBERS_AT_ONCE 9

static void quiet(struct world *w)
{
        w->faults = (struct faults){.delay_ms = 4, .disk_ms = 6, .restart_ms = 1000};
}

static void draw_settings(struct world *w)
{
        static const size_t targets[] = {1, 3, 3, 3, 5, 5, 7};
        struct rng *r = &w->rng;
        int64_t heartbeat = between(w, 20, 100);

        w->target = targets[rng_below(r, ARRAY_SIZE(targets))];
        w->n_clients = 1 + rng_below(r, CLIENTS_MAX);
        w->settings = (struct raft_settings){
                .heartbeat_ms = heartbeat,
                .election_min_ms = heartbeat * between(w, 3, 6),
                .append_bytes_max = chance(w, 300) ? 1 : 200 + rng_below(r, 4000),
                .inflight_bytes_max = 1000 + rng_below(r, 10000),
                .chunk_bytes = 100 + rng_below(r, 1000),
                .log_bytes_max = chance(w, 300) ? 20000 : 500000,
                .log_keep_bytes = 1 + rng_below(r, 5000),
        };
        w->settings.election_max_ms = w->settings.election_min_ms * 2;
}

/* Blows that come where they hurt, one after the other. */
static void draw_spite(struct world *w)
{
        struct faults *f = &w->faults;

        f->elected = rng_below(&w->rng, 600);
        f->sending = chance(w, 300) ? 0 : rng_below(&w->rng, 40);
        f->agreed = chance(w, 300) ? 0 : rng_below(&w->rng, 40);
        f->restart_ms = between(w, 20, 600);
}

void draw_world(struct world *w)
{
        struct faults *f = &w->faults;
        struct rng *r = &w->rng;

        draw_settings(w);
        quiet(w);
        w->is_calm = chance(w, 150);
        if (w->is_calm)
                return;
        f->loss = chance(w, 300) ? 0 : rng_below(r, 80);
        f->duplicate = chance(w, 300) ? 0 : rng_below(r, 80);
        f->slow = chance(w, 300) ? 0 : rng_below(r, 40);
        f->crash = chance(w, 300) ? 0 : rng_below(r, 150);
        f->crash_all = chance(w, 500) ? 0 : rng_below(r, 15);
        f->pause = chance(w, 500) ? 0 : rng_below(r, 80);
        f->partition = chance(w, 300) ? 0 : rng_below(r, 120);
        f->cut = chance(w, 300) ? 0 : rng_below(r, 100);
        f->disk_full = chance(w, 700) ? 0 : rng_below(r, 40);
        f->disk_slow = chance(w, 500) ? 0 : rng_below(r, 80);
        f->delay_ms = chance(w, 200) ? 40 : between(w, 1, 8);
        f->disk_ms = chance(w, 200) ? 60 : between(w, 1, 12);
        f->drift = chance(w, 500) ? 0.02 : 0.3;
        f->restart_ms = between(w, 100, 3000);
        if (chance(w, 500))
                draw_spite(w);
}

/* --- faults -------------------------------------------------------------------------------------
 */
static void mend_links(struct world *w, struct node *unused UNUSED, void *arg UNUSED)
{
        memset(w->is_blocked, 0, sizeof(w->is_blocked));
}

static void block(struct world *w, size_t from, size_t to)
{
        w->is_blocked[from][to] = true;
}

static void split(struct world *w)
{
        bool side[NODES_MAX];
        bool is_one_way = chance(w, 300);

        for (size_t i = 0; i < w->n_nodes; i++)
                side[i] = chance(w, 500);
        for (size_t i = 0; i < w->n_nodes; i++) {
                for (size_t j = 0; j < w->n_nodes; j++) {
                        if (side[i] != side[j] && (!is_one_way || side[i]))
                                block(w, i, j);
                }
        }
}

/* One node hears nobody, is heard by nobody, or both. */
static void isolate(struct world *w, struct node *n)
{
        size_t it = n->id - 1;
        int64_t how = between(w, 0, 2);

        for (size_t i = 0; i < w->n_nodes; i++) {
                if (how != 0)
                        block(w, it, i);
                if (how != 1)
                        block(w, i, it);
        }
}

static void blow(struct world *w, struct node *n, void *arg UNUSED)
{
        if (w->is_healed)
                return;
        if (chance(w, 500)) {
                node_crash(n);
                return;
        }
        trace(w, "node %lu is cut off", n->id);
        isolate(w, n);
        at(w, between(w, 20, 2 * w->settings.election_max_ms), mend_links, NULL, NULL);
}

void spite(struct node *n, uint64_t of_thousand)
{
        if (!n->w->is_healed && chance(n->w, of_thousand))
                at(n->w, between(n->w, 0, n->w->faults.delay_ms * 3), blow, n, NULL);
}

static struct node *any(struct world *w)
{
        struct node *n = &w->nodes[rng_below(&w->rng, w->n_nodes)];
        struct node *leader = node_by_id(w, w->hint);

        return leader && chance(w, 400) ? leader : n;
}

static void cut_links(struct world *w)
{
        if (chance(w, w->faults.partition)) {
                trace(w, "the network parts");
                split(w);
        } else if (chance(w, w->faults.cut)) {
                struct node *n = any(w);
                trace(w, "node %lu is cut off", n->id);
                isolate(w, n);
        } else if (chance(w, w->faults.cut)) {
                block(w, any(w)->id - 1, any(w)->id - 1);
        } else {
                return;
        }
        at(w, between(w, 100, chance(w, 200) ? 12000 : 3000), mend_links, NULL, NULL);
}

static void hurt_one(struct world *w)
{
        struct node *n = any(w);

        if (!n->raft)
                return;
        if (chance(w, w->faults.crash))
                node_crash(n);
        else if (chance(w, w->faults.pause))
                node_pause(n, between(w, 50, chance(w, 200) ? 8000 : 1500));
        else if (chance(w, w->faults.disk_full))
                n->is_disk_full = true;
        else if (chance(w, w->faults.disk_slow))
                n->disk_slow_until = w->now_ms + between(w, 100, 4000);
}

static void turn_of(struct world *w, struct node *n)
{
        if (n->is_wiped)
                return;
        if (n->is_out && chance(w, 30)) { /* it cleans up, or somebody does */
                node_crash(n);
                disk_wipe(n);
                n->is_wiped = true;
                trace(w, "node %lu is gone", n->id);
                return;
        }
        if (n->raft)
                return;
        if (!n->restart_at)
                n->restart_at =
                        w->now_ms + between(w, 1, w->faults.restart_ms * (chance(w, 100) ? 8 : 1));
        if (w->now_ms >= n->restart_at)
                node_start(n);
}

/* In a calm world one follower at a time is hurt, where the others are enough without it. Whether
 * it only sends, only hears, is stopped or dead: when it comes back it must disturb nobody. */
static void calm_end(struct world *w, struct node *unused UNUSED, void *arg UNUSED)
{
        struct node *n = node_by_id(w, w->victim);

        mend_links(w, NULL, NULL);
        if (!n->is_wiped)
                node_start(n);
        w->victim = 0;
}

static void hurt_follower(struct world *w)
{
        struct node *n = any(w), *leader = node_by_id(w, w->hint);
        int64_t ms = between(w, 20, 5 * w->settings.election_max_ms);

        if (w->victim || !leader || !leader->raft || !leader->is_ready || n == leader || !n->raft ||
            n->is_out || chance(w, 700) ||
            raft_members_count_voters(raft_members(leader->raft)) < 3)
                return;
        w->victim = n->id;
        if (chance(w, 300))
                node_crash(n);
        else if (chance(w, 300))
                node_pause(n, ms);
        else
                isolate(w, n);
        trace(w, "node %lu is the victim for %ld ms", n->id, ms);
        at(w, ms + 3 * w->settings.election_max_ms, calm_end, NULL, NULL);
}

void fault_act(struct world *w, struct node *unused UNUSED, void *arg UNUSED)
{
        struct node *n;

        if (w->is_healed)
                return;
        FOREACH_NODE(n, w)
        turn_of(w, n);
        check_stale(w);
        if (w->is_calm && !w->is_change_expected)
                hurt_follower(w);
        hurt_one(w);
        cut_links(w);
        if (chance(w, w->faults.crash_all)) {
                trace(w, "the power fails");
                FOREACH_NODE(n, w)
                node_crash(n);
        }
        at(w, between(w, 20, 400), fault_act, NULL, NULL);
}

void heal(struct world *w)
{
        struct node *n;

        trace(w, "--- all faults stop");
        w->is_healed = true;
        quiet(w);
        mend_links(w, NULL, NULL);
        FOREACH_NODE(n, w)
        {
                n->is_disk_full = false;
                n->disk_slow_until = 0;
                if (!n->is_wiped && !n->raft)
                        node_start(n);
        }
}

/* --- the administrator --------------------------------------------------------------------------
 */
static struct node *find_leader(struct world *w)
{
        struct node *n, *found = NULL;

        FOREACH_NODE(n, w)
        {
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

        FOREACH_NODE(n, w)
        {
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

void admin_act(struct world *w, struct node *unused UNUSED, void *arg UNUSED)
{
        struct node *leader = find_leader(w);
        size_t voters;

        if (w->is_healed)
                return;
        at(w, between(w, 50, w->now_ms < 5000 || w->faults.elected ? 300 : 3000), admin_act, NULL,
           NULL);
        if (!leader || w->victim)
                return;
        voters = raft_members_count_voters(raft_members(leader->raft));
        if (chance(w, 150))
                transfer(w, leader);
        else if (voters < w->target ? chance(w, 900) : chance(w, 300))
                grow(w, leader);
        else if (w->now_ms > 5000)
                shrink(w, leader);
}
