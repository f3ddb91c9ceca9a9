/* What kind of world it is, and what goes wrong in it. */
#include <string.h>

#include "tests/raft-sim/sim.h"

#define ENTRY_BYTES_MAX    600
#define MESSAGE_BYTES_MORE 800 /* beyond entries and pieces */

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
        w->client_pause_ms = chance(w, 200) ? 600 : 40;
        w->settings = (struct raft_settings){
                .heartbeat_ms = heartbeat,
                .election_min_ms = heartbeat * between(w, 3, 6),
                .append_bytes_max = chance(w, 300) ? 1 : 200 + rng_below(r, 4000),
                .inflight_bytes_max = 1000 + rng_below(r, 10000),
                .chunk_bytes = 100 + rng_below(r, 1000),
                .log_bytes_max = chance(w, 300) ? 20000 : 500000,
                .log_keep_bytes = 1 + rng_below(r, 5000),
        };
        /* The nearer they are, the more often two stand at once. */
        w->settings.election_max_ms = w->settings.election_min_ms * between(w, 11, 20) / 10;
}

/* Elections one upon the other: time-outs as short as the network is slow, members that stay. */
static void draw_storm(struct world *w)
{
        struct faults *f = &w->faults;

        w->is_storm = true;
        w->is_fixed = chance(w, 600);
        w->target = w->is_fixed ? (chance(w, 300) ? 3 : 5) : (size_t)between(w, 2, 4);
        w->settings.append_bytes_max = chance(w, 600) ? 1 : 500;
        w->settings.heartbeat_ms = 10;
        w->settings.election_min_ms = between(w, 30, 80);
        w->settings.election_max_ms = w->settings.election_min_ms + between(w, 5, 60);
        f->delay_ms = between(w, 3, 30);
        f->disk_ms = between(w, 1, 30);
        f->restart_ms = between(w, 5, 200);
        f->elected = (uint64_t)between(w, 300, 1000);
        f->agreed = chance(w, 300) ? 0 : rng_below(&w->rng, 200);
        f->sending = chance(w, 500) ? 0 : rng_below(&w->rng, 40);
        f->voted = chance(w, 300) ? 0 : rng_below(&w->rng, 300);
}

/* After MIT's 6.824: each leader dies soon after it was elected, and only as many live as are just
 * needed, or one less. So entries of old terms come to majorities late, as in figure 8. */
static void draw_gauntlet(struct world *w)
{
        w->is_gauntlet = w->is_fixed = true;
        w->target = 5;
        w->settings.append_bytes_max = 1;
        w->settings.heartbeat_ms = 10;
        w->settings.election_min_ms = between(w, 30, 60);
        w->settings.election_max_ms = w->settings.election_min_ms * 2;
        quiet(w);
        w->faults.delay_ms = between(w, 1, 12);
        w->faults.disk_ms = between(w, 1, 6);
        w->faults.loss = chance(w, 500) ? 0 : 100;
        w->client_pause_ms = 10;
}

/* Blows that come where they hurt, one after the other. */
static void draw_spite(struct world *w)
{
        struct faults *f = &w->faults;

        f->elected = rng_below(&w->rng, 600);
        f->sending = chance(w, 300) ? 0 : rng_below(&w->rng, 40);
        f->agreed = chance(w, 300) ? 0 : rng_below(&w->rng, 40);
        f->voted = chance(w, 300) ? 0 : rng_below(&w->rng, 300);
        f->restart_ms = between(w, 20, 600);
}

/* Links that are full for much longer than an election takes. As long as each message gets through
 * in a part of that, the leader stays. */
static void draw_narrow_links(struct world *w)
{
        size_t largest = MAX(w->settings.append_bytes_max, w->settings.chunk_bytes);

        w->faults.link_bytes =
                (double)(MAX(largest, (size_t)ENTRY_BYTES_MAX) + MESSAGE_BYTES_MORE) /
                ((double)w->settings.election_min_ms / 4);
}

void draw_world(struct world *w)
{
        struct faults *f = &w->faults;
        struct rng *r = &w->rng;

        draw_settings(w);
        quiet(w);
        w->is_calm = chance(w, 150);
        if (w->is_calm) {
                if (chance(w, 500))
                        draw_narrow_links(w);
                return;
        }
        if (chance(w, 150)) {
                draw_gauntlet(w);
                return;
        }
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
        f->disk_hang = chance(w, 700) ? 0 : rng_below(r, 20);
        f->delay_ms = chance(w, 200) ? 40 : between(w, 1, 8);
        f->disk_ms = chance(w, 200) ? 60 : between(w, 1, 12);
        f->drift = chance(w, 500) ? 0.02 : 0.3;
        f->restart_ms = between(w, 100, 3000);
        if (chance(w, 600))
                draw_spite(w);
        if (chance(w, 400))
                draw_storm(w);
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

static void cut_off(struct world *w, struct node *n)
{
        trace(w, "node %lu is cut off", n->id);
        isolate(w, n);
        at(w, between(w, 10, 2 * w->settings.election_max_ms), mend_links, NULL, NULL);
}

static void restart(struct world *w, struct node *unused UNUSED, void *arg)
{
        struct node *n = node_by_id(w, *(uint64_t *)arg);

        if (!n->is_wiped)
                node_start(n);
}

static void blow(struct world *w, struct node *n, void *arg UNUSED)
{
        if (w->is_healed)
                return;
        if (chance(w, 400)) {
                cut_off(w, n);
                return;
        }
        node_crash(n);
        if (chance(w, 500))
                at(w, between(w, 1, w->faults.restart_ms), restart, NULL,
                   xmemdup(&n->id, sizeof(n->id)));
}

/* Where the members are to stay, they first all come. */
static bool is_begun(const struct world *w)
{
        return !w->is_fixed || w->now_ms > 8000 ||
               raft_members_count_voters(&w->members) == w->target;
}

void spite(struct node *n, uint64_t of_thousand)
{
        struct world *w = n->w;

        if (w->is_healed || !is_begun(w) || !chance(w, of_thousand))
                return;
        if (chance(w, 400))
                cut_off(w, n);
        if (chance(w, 700))
                at(w, between(w, 0, w->faults.delay_ms * 3), blow, n, NULL);
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
        else if (chance(w, w->faults.disk_hang))
                n->disk_hangs_until = w->now_ms + between(w, 1000, 12000);
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

/* A link breaks, and both ends live. In a calm world that happens to the victim alone: of a leader
 * that a majority lost sight of nobody says that it stays. */
static void break_links(struct world *w)
{
        struct node *n = w->is_calm ? node_by_id(w, w->victim) : any(w);

        if (n && n->raft && chance(w, 300))
                node_lose_link(n, chance(w, 500) ? n->leader : any(w)->id);
}

static void run_gauntlet(struct world *w)
{
        struct node *n, *leader = find_leader(w), *dead = NULL;
        size_t alive = 0;
        uint64_t seen = 0;

        if (leader)
                node_crash(leader);
        FOREACH_NODE (n, w) {
                alive += n->raft != NULL;
                if (!n->raft && !n->is_wiped && rng_below(&w->rng, ++seen) == 0)
                        dead = n;
        }
        if (alive < 3 && dead)
                node_start(dead);
        at(w,
           chance(w, 100) ? between(w, 0, 2 * w->settings.election_max_ms)
                          : between(w, 0, 2 * w->faults.delay_ms),
           fault_act, NULL, NULL);
}

void fault_act(struct world *w, struct node *unused UNUSED, void *arg UNUSED)
{
        struct node *n;

        if (w->is_healed)
                return;
        if (w->is_gauntlet && is_begun(w)) {
                run_gauntlet(w);
                return;
        }
        FOREACH_NODE (n, w)
                turn_of(w, n);
        check_stale(w);
        if (!is_begun(w)) {
                at(w, 100, fault_act, NULL, NULL);
                return;
        }
        if (w->is_calm && !w->is_change_expected)
                hurt_follower(w);
        hurt_one(w);
        break_links(w);
        cut_links(w);
        if (chance(w, w->faults.crash_all)) {
                trace(w, "the power fails");
                FOREACH_NODE (n, w)
                        node_crash(n);
        }
        at(w, w->is_storm ? between(w, 5, 60) : between(w, 20, 400), fault_act, NULL, NULL);
}

/* May one be without its disk? By no list may the others be too few. */
static bool is_one_spare(struct world *w)
{
        struct node *n;

        FOREACH_NODE (n, w) {
                const struct raft_members *m = n->raft ? raft_members(n->raft) : NULL;

                if (m && m->n && raft_members_count_voters(m) < 3)
                        return false;
        }
        return true;
}

/* All is well but for one disk, which neither ends its work nor fails: the others must go on. */
static void hang_one(struct world *w)
{
        const struct node *leader = find_leader(w);

        if (!is_one_spare(w) || chance(w, 500))
                return;
        w->hung = leader ? leader->id : w->members.of[rng_below(&w->rng, w->members.n)].id;
        node_by_id(w, w->hung)->disk_hangs_until = TIME_NEVER;
        w->is_change_expected |= leader != NULL;
        trace(w, "the disk of node %lu hangs", w->hung);
}

void heal(struct world *w)
{
        struct node *n;

        trace(w, "--- all faults stop");
        w->is_healed = true;
        w->client_pause_ms = 40;
        quiet(w);
        mend_links(w, NULL, NULL);
        FOREACH_NODE (n, w) {
                n->is_disk_full = false;
                n->disk_slow_until = n->disk_hangs_until = 0;
                if (!n->is_wiped && !n->raft)
                        node_start(n);
        }
        hang_one(w);
}
