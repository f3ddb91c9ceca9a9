/* What goes wrong in a world, and its end. */
#include <stdlib.h>

#include "tests/sim/sim.h"

#define PAUSE_MS_MAX      1500
#define LONG_PAUSE_MS_MAX 4000
#define SPLIT_MS_MAX      3000
#define LONG_SPLIT_MS_MAX 12000
#define SLOW_DISK_MS_MAX  4000
#define DEMOTED_MS        15000 /* after the request it is done, or never */

static void draw_managers(struct sim *sim)
{
        static const int numbers[] = {1, 1, 1, 3, 3, 3, 3, 5, 5, 7};

        sim->n_managers = numbers[rng_below(&sim->rng, ARRAY_SIZE(numbers))];
        sim->drift = sim_chance(sim, 500) ? 0 : 0.02;
        sim->raft = (struct raft_settings){
                .append_bytes_max = sim_chance(sim, 300) ? 1 : 0,
                .chunk_bytes = 200 + rng_below(&sim->rng, 20000),
                .log_keep_bytes =
                        sim_chance(sim, 300) ? 64u << 20 : 1 + rng_below(&sim->rng, 20000),
        };
}

static void draw_manager_faults(struct sim *sim, struct sim_faults *f)
{
        struct rng *r = &sim->rng;

        f->manager_crash = rng_below(r, sim->n_managers > 1 ? 50 : 80);
        f->manager_pause = sim_chance(sim, 300) ? 0 : rng_below(r, 60);
        f->disk_full = sim_chance(sim, 500) ? 0 : rng_below(r, 20);
        f->disk_slow = sim_chance(sim, 500) ? 0 : rng_below(r, 40);
        f->power = sim_chance(sim, 500) ? 0 : rng_below(r, 20);
        if (sim->n_managers == 1)
                return;
        f->manager_wipe = sim_chance(sim, 500) ? 0 : rng_below(r, 20);
        f->demote = sim_chance(sim, 500) ? 0 : rng_below(r, 60);
        f->split = sim_chance(sim, 300) ? 0 : rng_below(r, 60);
        f->isolate = sim_chance(sim, 300) ? 0 : rng_below(r, 100);
        f->link_breaks = sim_chance(sim, 500) ? 0 : rng_below(r, 10);
}

void sim_fault_draw(struct sim *sim)
{
        struct sim_faults *f = &sim->faults;

        draw_managers(sim);
        /* A tenth of the worlds is nearly perfect: bugs also hide where nothing goes wrong. */
        if (sim_chance(sim, 100))
                return;
        f->loss = rng_below(&sim->rng, 100);
        f->duplicate = rng_below(&sim->rng, 100);
        f->slow = rng_below(&sim->rng, 60);
        /* In others managers change, and all else is well. */
        if (sim_chance(sim, 200))
                f->loss = f->slow = 0;
        f->agent_crash = rng_below(&sim->rng, 40);
        f->node_reboot = rng_below(&sim->rng, 20);
        f->journal_loss = rng_below(&sim->rng, 200);
        f->partition = rng_below(&sim->rng, 50);
        f->prepare_fails = rng_below(&sim->rng, 60);
        f->start_fails = rng_below(&sim->rng, 60);
        f->exits = rng_below(&sim->rng, 300);
        f->unhealthy = rng_below(&sim->rng, 200);
        draw_manager_faults(sim, f);
}

/* --- agents -------------------------------------------------------------------------------------
 */
static void heal_link(struct sim *sim, void *arg)
{
        int *index = arg;
        struct sim_agent *a = &sim->agents[*index];

        free(index);
        if (a->is_cut)
                sim_trace(sim, "%s: link heals", a->hostname);
        a->is_cut = false;
        a->hurt_ms = sim->now_ms;
}

static void hurt_agent(struct sim *sim, struct sim_agent *a)
{
        if (sim_chance(sim, sim->faults.partition) && !a->is_cut) {
                sim_trace(sim, "%s: link cut", a->hostname);
                a->is_cut = true;
                sim_at(sim, sim_between(sim, 100, 15000), heal_link,
                       xmemdup(&a->index, sizeof(a->index)));
        }
        if (!a->core)
                return;
        if (sim_chance(sim, sim->faults.agent_crash))
                sim_agent_crash(a);
        else if (sim_chance(sim, sim->faults.node_reboot))
                sim_agent_reboot(a);
}

/* --- managers -----------------------------------------------------------------------------------
 */
static bool keeps_majority(struct sim *sim, const struct raft_members *members,
                           const struct sim_manager *without)
{
        size_t n = 0;

        for (size_t i = 0; i < members->n; i++)
                for (int k = 0; members->of[i].is_voter && k < sim->n_managers; k++)
                        n += sim->managers[k].id == members->of[i].id &&
                             !sim->managers[k].is_entering && &sim->managers[k] != without;
        return n > raft_members_count_voters(members) / 2;
}

/* By no list that might come to count would the cluster be lost. */
static bool can_lose(struct sim *sim, const struct sim_manager *it)
{
        bool can = keeps_majority(sim, &sim->agreed.members, it) &&
                   sim->now_ms > sim->demoted_ms + DEMOTED_MS;

        for (int i = 0; i < sim->n_managers; i++) {
                struct sim_manager *m = &sim->managers[i];
                struct raft_members on_disk;

                sim_disk_members(m, &on_disk);
                if (on_disk.n)
                        can = can && keeps_majority(sim, &on_disk, it);
                if (m->replica && replica_members(m->replica)->n)
                        can = can && keeps_majority(sim, replica_members(m->replica), it);
        }
        return can;
}

/* It was taken off the members, and nobody told it. */
static bool is_out(struct sim *sim, const struct sim_manager *m)
{
        struct node *node = store_find_node_by_key(sim->agreed.shadow, m->key);

        return m->id && !m->is_entering && node &&
               (node->role != ROLE_MANAGER || node->manager_id != m->id) &&
               !raft_members_find(&sim->agreed.members, m->id);
}

static void stop(struct sim *sim, struct sim_manager *m)
{
        sim_manager_pause(
                m, sim_between(sim, 50, sim_chance(sim, 300) ? LONG_PAUSE_MS_MAX : PAUSE_MS_MAX));
}

static void hurt_manager(struct sim *sim, struct sim_manager *m)
{
        const struct sim_faults *f = &sim->faults;
        /* Whoever leads is hurt more often. */
        uint64_t more = m->members && sim->n_managers > 1 ? 2 : 1;

        if (!m->replica)
                return;
        if (sim_chance(sim, f->manager_crash * more)) {
                sim_manager_crash(m);
        } else if (sim_chance(sim, f->manager_pause * more)) {
                stop(sim, m);
        } else if (sim_chance(sim, f->disk_full)) {
                m->disk.is_full = true;
        } else if (sim_chance(sim, f->disk_slow)) {
                m->disk.slow_until = sim->now_ms + sim_between(sim, 100, SLOW_DISK_MS_MAX);
                m->hurt_ms = MAX(m->hurt_ms, m->disk.slow_until + 1000);
        } else if (sim_chance(sim, f->manager_wipe) && can_lose(sim, m)) {
                sim->lost_ms = sim->now_ms;
                sim_manager_wipe(m);
        }
}

static void mend(struct sim *sim, void *arg UNUSED)
{
        sim_net_unblock_all(sim);
}

static void split(struct sim *sim)
{
        bool side[SIM_MANAGERS_MAX], is_one_way = sim_chance(sim, 300);

        sim_trace(sim, "the network parts");
        for (int i = 0; i < sim->n_managers; i++)
                side[i] = sim_chance(sim, 500);
        for (int i = 0; i < sim->n_managers; i++)
                for (int j = 0; j < sim->n_managers; j++)
                        if (side[i] != side[j] && (!is_one_way || side[i]))
                                sim_net_block(sim, i, j);
}

/* One hears nobody, is heard by nobody, or both. */
static void isolate(struct sim *sim, int it)
{
        int64_t how = sim_between(sim, 0, 2);

        sim_trace(sim, "%s: is cut off%s", sim->managers[it].hostname,
                  sim->managers[it].members ? ", the leader" : "");
        if (sim->managers[it].members)
                sim_register_probe(sim, it);
        for (int i = 0; i < sim->n_managers; i++) {
                if (how != 0)
                        sim_net_block(sim, it, i);
                if (how != 1)
                        sim_net_block(sim, i, it);
        }
}

static void hurt_network(struct sim *sim)
{
        struct sim_manager *leader = sim_manager_leader(sim);
        int any = (int)rng_below(&sim->rng, (uint64_t)sim->n_managers);

        if (sim_chance(sim, sim->faults.split))
                split(sim);
        else if (sim_chance(sim, sim->faults.isolate))
                isolate(sim, leader && sim_chance(sim, 600) ? leader->index : any);
        else
                return;
        sim_at(sim, sim_between(sim, 100, sim_chance(sim, 300) ? LONG_SPLIT_MS_MAX : SPLIT_MS_MAX),
               mend, NULL);
}

void sim_fault_second(struct sim *sim)
{
        for (int i = 0; i < sim->n_managers; i++)
                if (is_out(sim, &sim->managers[i]) && sim_chance(sim, 300))
                        sim_manager_wipe(&sim->managers[i]);
        if (sim->is_healed)
                return;
        for (int i = 0; i < sim->n_managers; i++)
                hurt_manager(sim, &sim->managers[i]);
        hurt_network(sim);
        if (sim_chance(sim, sim->faults.power)) {
                sim_trace(sim, "the power fails");
                for (int i = 0; i < sim->n_managers; i++)
                        sim_manager_crash(&sim->managers[i]);
        }
        for (int i = 0; i < sim->n_agents; i++)
                hurt_agent(sim, &sim->agents[i]);
}

void sim_fault_heal(struct sim *sim)
{
        sim_trace(sim, "--- all faults stop");
        memset(&sim->faults, 0, sizeof(sim->faults));
        sim->is_healed = true;
        sim_net_unblock_all(sim);
        for (int i = 0; i < sim->n_managers; i++) {
                sim->managers[i].disk.is_full = false;
                sim->managers[i].disk.slow_until = 0;
        }
        for (int i = 0; i < sim->n_agents; i++) {
                sim->agents[i].is_cut = false;
                sim->agents[i].hurt_ms = MAX(sim->agents[i].hurt_ms, sim->now_ms);
                sim->agents[i].is_drained = i > 0 && sim_chance(sim, 150);
        }
}
