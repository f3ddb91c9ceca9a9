/*
 * The network: agents and clients to managers, and managers to each other. What is on its way to a
 * manager is lost with its process.
 */
#include "tests/sim/sim_net.h"

#include <errno.h>
#include <stdlib.h>

#include "tests/sim/sim.h"

#define DELAY_MS_MAX   5
#define SLOW_MS_MAX    3000
#define GONE_MS_MIN    3500 /* later than the slowest message */
#define GONE_MS_MAX    6000
#define GONE_CHANCE    900 /* that the manager hears of it at all */
#define BROKEN_MS_MAX  1500
#define CLIENT_GONE_MS 20

struct parcel {
        uint64_t connection, epoch; /* epoch: of the link between managers */
        int from, to;               /* managers */
        bool is_local;
        uint8_t key[32];
        size_t n;
        uint8_t bytes[];
};

static struct parcel *parcel_new(uint64_t connection, const uint8_t *p, size_t n)
{
        struct parcel *parcel = xcalloc(1, sizeof(*parcel) + n);

        parcel->connection = connection;
        parcel->n = n;
        if (n)
                memcpy(parcel->bytes, p, n);
        return parcel;
}

static int64_t draw_delay(struct sim *sim)
{
        int64_t delay = sim_between(sim, 0, DELAY_MS_MAX);

        return sim_chance(sim, sim->faults.slow) ? delay + sim_between(sim, 0, SLOW_MS_MAX) : delay;
}

/* --- agents -------------------------------------------------------------------------------------
 */
/* How often it arrives; what is not as it should be is remembered. */
static int draw_copies(struct sim_agent *a)
{
        struct sim *sim = a->sim;
        int lost = sim_chance(sim, sim->faults.loss);

        sim->n_messages++;
        if (lost || a->is_cut)
                a->hurt_ms = sim->now_ms;
        return a->is_cut ? 0 : 1 + sim_chance(sim, sim->faults.duplicate) - lost;
}

static int64_t draw_agent_delay(struct sim_agent *a)
{
        int64_t delay = draw_delay(a->sim);

        if (delay > DELAY_MS_MAX)
                a->hurt_ms = a->sim->now_ms + delay;
        return delay;
}

static void arrive(struct sim_manager *m, void *arg, bool is_void)
{
        struct parcel *p = arg;
        struct sim_agent *a = p->is_local ? NULL : sim_agent_by_key(m->sim, p->key);

        if (!is_void && !(a && a->is_cut))
                sim_manager_hear(m, p->connection, p->is_local ? NULL : p->key, p->bytes, p->n);
        free(p);
}

void sim_net_from_agent(struct sim_agent *a, const uint8_t *bytes, size_t n)
{
        struct sim *sim = a->sim;

        for (int copies = draw_copies(a); copies > 0; copies--) {
                struct parcel *p = parcel_new(a->connection, bytes, n);

                memcpy(p->key, a->key, sizeof(p->key));
                sim_manager_later(&sim->managers[a->manager], draw_agent_delay(a), arrive, p);
        }
}

static void arrive_at_agent(struct sim *sim, void *arg)
{
        struct parcel *p = arg;
        struct sim_agent *a = sim_agent_by_connection(sim, p->connection);

        if (a && !a->is_cut)
                sim_agent_hear(a, p->connection, p->bytes, p->n);
        free(p);
}

static void gone(struct sim_manager *m, void *arg, bool is_void)
{
        uint64_t *connection = arg;

        if (!is_void)
                sim_manager_on_gone(m, *connection);
        free(connection);
}

void sim_net_agent_left(struct sim_agent *a)
{
        struct sim *sim = a->sim;

        if (a->connection && sim_chance(sim, GONE_CHANCE))
                sim_manager_later(&sim->managers[a->manager],
                                  sim_between(sim, GONE_MS_MIN, GONE_MS_MAX), gone,
                                  xmemdup(&a->connection, sizeof(a->connection)));
}

/* --- clients ------------------------------------------------------------------------------------
 */
static struct sim_end *end_of(struct sim *sim, uint64_t connection)
{
        if (sim->user.end.connection == connection)
                return &sim->user.end;
        for (int i = 0; i < SIM_REGISTER_CLIENTS; i++)
                if (sim->registers.clients[i].end.connection == connection)
                        return &sim->registers.clients[i].end;
        return NULL;
}

static int64_t in_order(struct sim *sim, int64_t *last_at, int64_t delay_ms)
{
        *last_at = MAX(*last_at, sim->now_ms + delay_ms);
        return *last_at - sim->now_ms;
}

static void arrive_at_client(struct sim *sim, void *arg)
{
        struct parcel *p = arg;
        struct sim_end *end = end_of(sim, p->connection);

        if (end)
                end->hear(end->arg, p->bytes, p->n);
        free(p);
}

static void arrive_at_joiner(struct sim *sim, void *arg)
{
        struct parcel *p = arg;
        struct sim_manager *m = sim_manager_by_joining(sim, p->connection);

        if (m)
                sim_manager_hear_joined(m, p->bytes, p->n);
        free(p);
}

void sim_net_join(struct sim_manager *from, int to, const uint8_t *bytes, size_t n)
{
        struct sim *sim = from->sim;
        struct parcel *p = parcel_new(from->joining, bytes, n);

        memcpy(p->key, from->key, sizeof(p->key));
        sim_manager_later(&sim->managers[to], sim_between(sim, 0, DELAY_MS_MAX), arrive, p);
}

int sim_net_to(struct sim_manager *m, uint64_t connection, const uint8_t *bytes, size_t n)
{
        struct sim *sim = m->sim;
        struct sim_agent *a = sim_agent_by_connection(sim, connection);
        struct sim_end *end = end_of(sim, connection);

        if (end && end->manager == m->index) {
                sim_at(sim, sim_between(sim, 0, DELAY_MS_MAX), arrive_at_client,
                       parcel_new(connection, bytes, n));
                return 0;
        }
        if (sim_manager_by_joining(sim, connection))
                sim_at(sim, sim_between(sim, 0, DELAY_MS_MAX), arrive_at_joiner,
                       parcel_new(connection, bytes, n));
        if (!a || a->manager != m->index)
                return -EHOSTUNREACH;
        for (int copies = draw_copies(a); copies > 0; copies--)
                sim_at(sim, draw_agent_delay(a), arrive_at_agent, parcel_new(connection, bytes, n));
        return 0;
}

void sim_net_drop(struct sim_manager *m, uint64_t connection)
{
        struct sim_agent *a = sim_agent_by_connection(m->sim, connection);

        if (a && a->manager == m->index)
                sim_agent_broken(a);
}

int sim_net_any_manager(struct sim *sim)
{
        int found = -1;
        uint64_t seen = 0;

        for (int i = 0; i < sim->n_managers; i++)
                if (sim->managers[i].id && !sim->managers[i].is_entering &&
                    rng_below(&sim->rng, ++seen) == 0)
                        found = i;
        return found;
}

void sim_net_end_move(struct sim_end *end, int manager)
{
        struct sim *sim = end->sim;

        if (end->connection)
                sim_manager_later(&sim->managers[end->manager],
                                  in_order(sim, &end->last_at, CLIENT_GONE_MS), gone,
                                  xmemdup(&end->connection, sizeof(end->connection)));
        end->manager = manager >= 0 ? manager : MAX(sim_net_any_manager(sim), 0);
        end->connection = ++sim->next_request;
        end->last_at = 0;
}

void sim_net_end_send(struct sim_end *end, const uint8_t *bytes, size_t n)
{
        struct sim *sim = end->sim;

        if (!end->connection || !sim->managers[end->manager].replica)
                sim_net_end_move(end, -1);
        struct parcel *p = parcel_new(end->connection, bytes, n);

        p->is_local = true;
        sim_manager_later_in_order(&sim->managers[end->manager],
                                   in_order(sim, &end->last_at, sim_between(sim, 0, DELAY_MS_MAX)),
                                   arrive, p);
}

/* --- managers -----------------------------------------------------------------------------------
 */
static struct sim_link *link_between(struct sim *sim, int from, int to)
{
        return &sim->net.links[from][to];
}

static void say_broken(struct sim_manager *m, void *arg, bool is_void)
{
        struct sim *sim = m->sim;
        int *to = arg;
        struct sim_link *link = link_between(sim, m->index, *to);

        link->is_broken = false;
        if (!is_void && sim->managers[*to].id)
                sim_manager_on_broken(m, sim->managers[*to].id);
        free(to);
}

static void break_link(struct sim *sim, int from, int to)
{
        struct sim_link *link = link_between(sim, from, to);

        if (link->is_broken)
                return;
        link->epoch++;
        link->is_broken = true;
        sim->managers[from].hurt_ms = sim->managers[to].hurt_ms = sim->now_ms + BROKEN_MS_MAX;
        sim_manager_later(&sim->managers[from], sim_between(sim, 0, BROKEN_MS_MAX), say_broken,
                          xmemdup(&to, sizeof(to)));
}

static void raft_arrives(struct sim_manager *m, void *arg, bool is_void)
{
        struct parcel *p = arg;

        if (!is_void && !m->sim->net.is_blocked[p->from][p->to])
                sim_manager_hear_raft(m, p->connection, p->bytes, p->n);
        free(p);
}

static struct sim_manager *by_id(struct sim *sim, uint64_t id)
{
        for (int i = 0; i < sim->n_managers; i++)
                if (sim->managers[i].id == id)
                        return &sim->managers[i];
        return NULL;
}

void sim_net_raft(struct sim_manager *from, uint64_t to_id, const uint8_t *bytes, size_t n)
{
        struct sim *sim = from->sim;
        struct sim_manager *to = by_id(sim, to_id);
        int copies = 1 + sim_chance(sim, sim->faults.duplicate) - sim_chance(sim, sim->faults.loss);

        sim->n_messages++;
        if (!to || sim->net.is_blocked[from->index][to->index])
                return;
        for (; copies > 0; copies--) {
                struct parcel *p = parcel_new(from->id, bytes, n);

                p->from = from->index;
                p->to = to->index;
                sim_manager_later(to, draw_delay(sim), raft_arrives, p);
        }
}

static void peer_arrives(struct sim_manager *m, void *arg, bool is_void)
{
        struct sim *sim = m->sim;
        struct parcel *p = arg;
        struct sim_link *link = link_between(sim, p->from, p->to);

        if (p->epoch == link->epoch && (is_void || sim->net.is_blocked[p->from][p->to])) {
                break_link(sim, p->from, p->to);
        } else if (p->epoch == link->epoch) {
                if (p->epoch != link->heard)
                        sim_manager_on_again(m, p->connection);
                link->heard = p->epoch;
                sim_manager_hear_peer(m, p->connection, p->bytes, p->n);
        }
        free(p);
}

int sim_net_peer(struct sim_manager *from, uint64_t to_id, const Swarm__PeerMessage *m)
{
        struct sim *sim = from->sim;
        struct sim_manager *to = by_id(sim, to_id);
        _cleanup_buf_ struct buf b = {0};

        sim->n_messages++;
        if (!to)
                return -EHOSTUNREACH;
        struct sim_link *link = link_between(sim, from->index, to->index);
        if (link->is_broken)
                return 0; /* it is lost, and that will be said */
        if (!to->replica || sim->net.is_blocked[from->index][to->index] ||
            sim_chance(sim, sim->faults.link_breaks)) {
                break_link(sim, from->index, to->index);
                return 0;
        }
        WIRE_PACK(m, &b);
        struct parcel *p = parcel_new(from->id, b.data, b.len);
        p->from = from->index;
        p->to = to->index;
        p->epoch = link->epoch;
        sim_manager_later_in_order(to, in_order(sim, &link->last_at, draw_delay(sim)), peer_arrives,
                                   p);
        return 0;
}

void sim_net_manager_died(struct sim_manager *m)
{
        struct sim *sim = m->sim;

        for (int i = 0; i < sim->n_managers; i++) {
                if (i == m->index)
                        continue;
                break_link(sim, i, m->index);
                link_between(sim, m->index, i)->epoch++;
                link_between(sim, m->index, i)->is_broken = false;
        }
}

void sim_net_block(struct sim *sim, int from, int to)
{
        if (from == to)
                return;
        sim->net.is_blocked[from][to] = true;
        break_link(sim, from, to);
        break_link(sim, to, from);
}

void sim_net_unblock_all(struct sim *sim)
{
        for (int i = 0; i < sim->n_managers; i++)
                for (int j = 0; j < sim->n_managers; j++) {
                        if (!sim->net.is_blocked[i][j])
                                continue;
                        sim->net.is_blocked[i][j] = false;
                        sim->managers[i].hurt_ms = sim->managers[j].hurt_ms =
                                sim->now_ms + BROKEN_MS_MAX;
                }
}
