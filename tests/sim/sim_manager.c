/*
 * A manager of the simulation: the real replica, relay, front and members, over a simulated disk
 * and network. Does what the daemon's driver (manager/driver.c) does, in the same order. It
 * crashes, is stopped for a while, loses its disk, and comes back.
 */
#include "tests/sim/sim_manager.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/sim.h"
#include "tests/sim/sim_told.h"

#define RESTART_MS_MIN 50
#define RESTART_MS_MAX 4000
#define JOIN_AGAIN_MS  500
#define WAKE_MS_MAX    100000
#define LOOK_EVERY     4  /* states are hashed: that is half of all work */
#define COPY_FAILS     50 /* of 1000 */

static void pump(struct sim_manager *m);
static void enter(struct sim_manager *m);

/* --- time ---------------------------------------------------------------------------------------
 */
static struct now local_now(const struct sim_manager *m)
{
        int64_t passed = (int64_t)((double)m->sim->now_ms * m->rate);

        return (struct now){m->zero + passed, SIM_WALL_START_MS + m->wall_offset + passed};
}

struct later {
        struct sim_manager *m;
        uint64_t life;
        sim_manager_fn *fn;
        void *arg;
        bool is_ordered;
};

bool sim_manager_is_paused(const struct sim_manager *m)
{
        return m->paused_until > m->sim->now_ms;
}

void sim_manager_event(struct sim *sim, void *arg)
{
        struct later *l = arg;
        bool is_void = l->life != l->m->life;

        if (!is_void && sim_manager_is_paused(l->m)) {
                int64_t jitter = l->is_ordered ? 0 : sim_between(sim, 0, 2);

                sim_at(sim, l->m->paused_until - sim->now_ms + jitter, sim_manager_event, l);
                return;
        }
        l->fn(l->m, l->arg, is_void);
        free(l);
}

static void later(struct sim_manager *m, int64_t delay_ms, sim_manager_fn *fn, void *arg,
                  bool is_ordered)
{
        struct later *l = xnew(struct later);

        *l = (struct later){m, m->life, fn, arg, is_ordered};
        sim_at(m->sim, delay_ms, sim_manager_event, l);
}

void sim_manager_later(struct sim_manager *m, int64_t delay_ms, sim_manager_fn *fn, void *arg)
{
        later(m, delay_ms, fn, arg, false);
}

void sim_manager_later_in_order(struct sim_manager *m, int64_t delay_ms, sim_manager_fn *fn,
                                void *arg)
{
        later(m, delay_ms, fn, arg, true);
}

/* Only the wake-up that was set last counts: the others are void. */
static void wake(struct sim_manager *m, void *arg UNUSED, bool is_void)
{
        if (is_void || !m->replica || m->wake_at > m->sim->now_ms)
                return;
        m->wake_at = TIME_NEVER;
        pump(m);
}

static void wake_in(struct sim_manager *m, int64_t delay_ms)
{
        int64_t at_ms = m->sim->now_ms + MIN(delay_ms, (int64_t)WAKE_MS_MAX);

        if (at_ms >= m->wake_at)
                return;
        m->wake_at = at_ms;
        sim_manager_later(m, at_ms - m->sim->now_ms, wake, NULL);
}

/* All that comes at the same time is heard before it. */
static void wake_now(struct sim_manager *m)
{
        wake_in(m, 0);
}

/* --- the replica's disk -------------------------------------------------------------------------
 */
static void op_write(void *arg, struct raft_write *w)
{
        sim_disk_write(arg, w);
}

static void op_set_store(void *arg, struct store *store)
{
        struct sim_manager *m = arg;

        if (!store && m->replica) {
                m->sim->n_drops++;
                sim_trace(m->sim, "%s: drops its state", m->hostname);
        }
        sim_disk_set_store(m, store);
}

static void op_set_applied(void *arg, uint64_t index)
{
        struct sim_manager *m = arg;

        sim_agreed_note(m);
        sim_disk_set_applied(m, index);
        /* All are looked at in the end; whoever is ahead or behind stays so. */
        if (index && (m->members || (index + (uint64_t)m->index) % LOOK_EVERY == 0))
                sim_agreed_check(m, m->disk.store, index, "applied");
}

static void op_load(void *arg)
{
        sim_disk_load(arg);
}

static void op_cut_log(void *arg, const struct raft_base *base)
{
        sim_disk_cut(arg, base);
}

void sim_manager_on_durable(struct sim_manager *m, uint64_t seq)
{
        replica_persisted(m->replica, local_now(m), seq);
        sim_agreed_note(m);
        wake_now(m);
}

void sim_manager_on_covered(struct sim_manager *m, uint64_t index)
{
        replica_covered(m->replica, local_now(m), index);
        wake_now(m);
}

void sim_manager_on_loaded(struct sim_manager *m, struct store *store, uint64_t applied)
{
        replica_loaded(m->replica, local_now(m), store, applied);
        wake_now(m);
}

/* --- snapshots for others -----------------------------------------------------------------------
 */
static struct sim_sending *find_sending(struct sim_manager *m, uint64_t peer)
{
        for (size_t i = 0; i < ARRAY_SIZE(m->sending); i++)
                if (m->sending[i].peer == peer)
                        return &m->sending[i];
        return NULL;
}

static void op_want_snapshot(void *arg, uint64_t peer)
{
        struct sim_manager *m = arg;
        struct sim_sending *s = find_sending(m, peer);

        if (!s)
                s = find_sending(m, 0);
        if (!s || s->is_making)
                return;
        s->peer = peer;
        s->is_making = true;
        sim_disk_copy(m, peer);
}

void sim_manager_on_copied(struct sim_manager *m, uint64_t peer, uint64_t index, struct buf *copy)
{
        struct sim_sending *s = find_sending(m, peer);
        bool is_ok = index && !sim_chance(m->sim, m->sim->is_healed ? 0 : COPY_FAILS);

        if (!s || !s->is_making)
                return;
        s->is_making = false;
        s->made = (struct sim_copy){is_ok ? index : 0, *copy};
        *copy = (struct buf){0};
        bool is_taken = replica_snapshot_ready(m->replica, local_now(m), peer, s->made.index,
                                               is_ok ? s->made.bytes.len : 0);
        if (is_taken && is_ok) {
                buf_done(&s->sending.bytes);
                s->sending = s->made;
                s->made.bytes = (struct buf){0};
        }
        buf_done(&s->made.bytes);
        s->made = (struct sim_copy){0};
        wake_now(m);
}

static void drop_sent(struct sim_manager *m)
{
        for (size_t i = 0; i < ARRAY_SIZE(m->sending); i++) {
                struct sim_sending *s = &m->sending[i];
                struct raft_progress p;

                if (!s->peer || s->is_making ||
                    (replica_progress(m->replica, s->peer, &p) == 0 && p.in_snapshot))
                        continue;
                buf_done(&s->sending.bytes);
                *s = (struct sim_sending){0};
        }
}

static struct raft_bytes *read_chunk(struct sim_manager *m, const struct raft_message *msg)
{
        struct sim_sending *s = find_sending(m, msg->to);
        const struct sim_copy *c = s && s->made.index == msg->chunk.index ? &s->made
                                   : s                                    ? &s->sending
                                                                          : NULL;

        if (!c || c->index != msg->chunk.index ||
            msg->chunk.offset + msg->chunk.len > c->bytes.len) {
                sim_fail(m->sim, "%s: sends a snapshot that is not there", m->hostname);
                return raft_bytes_new(NULL, msg->chunk.len);
        }
        return raft_bytes_new(c->bytes.data + msg->chunk.offset, msg->chunk.len);
}

/* --- other managers -----------------------------------------------------------------------------
 */
static void op_send(void *arg, const struct raft_message *msg)
{
        struct sim_manager *m = arg;
        struct raft_message copy = *msg;
        _cleanup_buf_ struct buf b = {0};

        if (msg->kind == RAFT_CHUNK)
                copy.chunk.bytes = read_chunk(m, msg);
        raft_message_encode(&copy, &b);
        if (msg->kind == RAFT_CHUNK)
                raft_bytes_unref(copy.chunk.bytes);
        sim_net_raft(m, msg->to, b.data, b.len);
}

void sim_manager_hear_raft(struct sim_manager *m, uint64_t from, const uint8_t *p, size_t n)
{
        struct raft_message msg;

        if (!m->replica)
                return;
        if (raft_message_decode(p, n, &msg) < 0) {
                sim_fail(m->sim, "%s: manager %llu says what is no message", m->hostname,
                         (unsigned long long)from);
                return;
        }
        replica_receive(m->replica, local_now(m), &msg);
        raft_message_done(&msg);
        sim_agreed_note(m);
        wake_now(m);
}

void sim_manager_hear_peer(struct sim_manager *m, uint64_t from, const uint8_t *p, size_t n)
{
        _cleanup_arena_ struct wire_arena arena = {0};
        const Swarm__PeerMessage *msg = wire_unpack(&arena, &swarm__peer_message__descriptor, p, n);

        if (!m->replica)
                return;
        if (!msg)
                sim_fail(m->sim, "%s: a manager says what is no message", m->hostname);
        else if (msg->kind_case == SWARM__PEER_MESSAGE__KIND_RELAY_UP)
                relay_on_up(m->relay, from, msg->relay_up, local_now(m).mono_ms);
        else if (msg->kind_case == SWARM__PEER_MESSAGE__KIND_RELAY_DOWN)
                relay_on_down(m->relay, from, msg->relay_down);
        else if (msg->kind_case == SWARM__PEER_MESSAGE__KIND_HEARD_NODES)
                heard_on_message(m->heard, msg->heard_nodes, replica_status(m->replica)->leader,
                                 replica_turn(m->replica), local_now(m).mono_ms);
        wake_now(m);
}

void sim_manager_on_broken(struct sim_manager *m, uint64_t id)
{
        if (!m->replica)
                return;
        relay_on_peer_broken(m->relay, id);
        wake_now(m);
}

/* Without a raft hint, which the simulation never gives: as driver.c does. */
void sim_manager_on_again(struct sim_manager *m, uint64_t id)
{
        sim_manager_on_broken(m, id);
}

static void follow_members(struct sim_manager *m)
{
        const struct raft_members *now = replica_members(m->replica);
        size_t n = 0;

        if (memcmp(now, &m->known, sizeof(*now)) == 0)
                return;
        m->known = *now;
        for (size_t i = 0; i < now->n; i++)
                if (now->of[i].is_voter)
                        m->managers[n++] = m->known.of[i].address;
        m->managers[n] = NULL;
        if (replica_turn(m->replica))
                turn_managers_changed(replica_turn(m->replica));
}

/* --- agents and clients -------------------------------------------------------------------------
 */
void sim_manager_hear(struct sim_manager *m, uint64_t connection, const uint8_t *key,
                      const uint8_t *p, size_t n)
{
        struct net_sender from = {.connection = connection, .is_local = !key};

        if (!m->replica)
                return;
        if (key)
                memcpy(from.key, key, sizeof(from.key));
        relay_on_message(m->relay, &from, p, n, local_now(m).mono_ms);
        wake_now(m);
}

void sim_manager_on_gone(struct sim_manager *m, uint64_t connection)
{
        if (!m->replica)
                return;
        relay_on_gone(m->relay, connection);
        wake_now(m);
}

static int send_here(void *arg, uint64_t connection, const uint8_t *p, size_t n)
{
        struct sim_manager *m = arg;

        return m->replica ? sim_net_to(m, connection, p, n) : -EHOSTUNREACH; /* it is dying */
}

static int send_peer(void *arg, uint64_t to, const Swarm__PeerMessage *msg)
{
        struct sim_manager *m = arg;

        return m->replica ? sim_net_peer(m, to, msg) : -EHOSTUNREACH;
}

static void drop_here(void *arg, uint64_t connection)
{
        struct sim_manager *m = arg;

        if (m->replica)
                sim_net_drop(m, connection);
}

static void forget_key(void *arg UNUSED, const uint8_t key[NET_KEY_BYTES] UNUSED)
{
}

static void on_input(void *arg, const struct relay_sender *from, const uint8_t *p, size_t n)
{
        front_on_input(((struct sim_manager *)arg)->front, from, p, n);
}

static void on_client_gone(void *arg, uint64_t number)
{
        front_on_gone(((struct sim_manager *)arg)->front, number);
}

static const char *no_leader(void *arg UNUSED)
{
        return "the cluster has no leader";
}

/* What leaves is of a state that is agreed. */
static void op_release(void *arg, struct list *effects)
{
        struct sim_manager *m = arg;
        struct sim *sim = m->sim;
        struct store *store = replica_store(m->replica);
        struct effect *e;

        sim_agreed_note(m);
        if (sim->event_seq % LOOK_EVERY == 0)
                sim_agreed_check(m, store, replica_applied(m->replica), "effects are let out");
        LIST_FOREACH (e, effects, link) {
                struct node *node =
                        e->kind == EFFECT_AGENT ? store_find_node(store, e->peer.node) : NULL;
                struct sim_agent *a = node ? sim_agent_by_key(sim, node->public_key) : NULL;

                if (a)
                        sim_told_agent(sim, store, a, e->bytes.data, e->bytes.len);
        }
        front_release(m->front, effects);
}

/* --- leading ------------------------------------------------------------------------------------
 */
static void fill_cluster(struct sim *sim, struct store *store)
{
        Swarm__Cluster cluster = SWARM__CLUSTER__INIT;
        Swarm__ClusterSettings settings = SWARM__CLUSTER_SETTINGS__INIT;
        uint8_t id[ID_BYTES];

        settings.heartbeat_ms = DEFAULT_HEARTBEAT_MS;
        settings.suspect_ms = DEFAULT_SUSPECT_MS;
        settings.down_ms = DEFAULT_DOWN_MS;
        settings.mass_failure_wait_ms = DEFAULT_MASS_FAILURE_MS;
        settings.task_history_limit = DEFAULT_HISTORY_LIMIT;
        cluster.id = wire_id(id_make(&sim->rng), id);
        cluster.worker_secret = sim->worker_secret;
        cluster.manager_secret = sim->manager_secret;
        cluster.settings = &settings;
        cluster.created_ms = sim_now(sim).wall_ms;
        Swarm__Cluster *copy = wire_dup(&cluster);
        store_put_cluster(store, &copy);
}

/* Two images that work and one whose containers never do. */
static void fill_images(struct store *store)
{
        static const char *const names[] = {"good:1", "good:2", "bad:1"};

        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                Swarm__Image image = SWARM__IMAGE__INIT;
                char id[80];
                char *name = (char *)names[i];

                snprintf(id, sizeof(id), "sha256:%064zu", i + 1);
                image.id = id;
                image.n_names = 1;
                image.names = &name;
                image.os = (char *)"linux";
                image.arch = (char *)"amd64";
                store_put_image(store, &image);
        }
}

static void describe(struct sim_manager *m, Swarm__NodeDescription *d, Swarm__Resources *capacity)
{
        swarm__node_description__init(d);
        swarm__resources__init(capacity);
        d->hostname = m->hostname;
        d->os = (char *)"linux";
        d->arch = (char *)"x86_64";
        d->capacity = capacity;
}

static struct node *make_node(struct sim_manager *m, struct store *store, int64_t wall_ms)
{
        struct node *node =
                store_add_node(store, id_make(&m->sim->rng), m->key, ROLE_MANAGER, wall_ms);
        Swarm__NodeDescription d;
        Swarm__Resources capacity;

        describe(m, &d, &capacity);
        store_set_node_description(store, node, &d, wall_ms);
        return node;
}

/* As manager/wiring.c. */
static void op_on_lead(void *arg, struct store *store, struct now now)
{
        struct sim_manager *m = arg;
        struct node *node = store_find_node_by_key(store, m->key);

        if (!*store_cluster(store)->msg->worker_secret) {
                fill_cluster(m->sim, store);
                fill_images(store);
        }
        if (!node)
                node = make_node(m, store, now.wall_ms);
        if (node->manager_id != m->id || !str_is_equal(node->manager_address, m->address))
                store_set_node_manager(store, node, m->id, m->address, now.wall_ms);
        m->turn.node = node->id;
}

static void op_on_turn(void *arg, struct turn *turn, struct store *store)
{
        struct sim_manager *m = arg;

        sim_trace(m->sim, "%s: leads, %llu entries", m->hostname,
                  (unsigned long long)replica_applied(m->replica));
        m->sim->n_elections++;
        heard_begin(m->heard, turn, store, local_now(m).mono_ms);
        front_begin(m->front, &(struct front_lead){.turn = turn, .store = store});
        m->members = members_new(store);
}

static void op_on_lead_end(void *arg)
{
        struct sim_manager *m = arg;

        sim_trace(m->sim, "%s: leads no more", m->hostname);
        members_free(m->members);
        m->members = NULL;
        front_end(m->front);
        relay_set_leader(m->relay, 0, false);
}

static void op_on_failure(void *arg, const char *text)
{
        struct sim_manager *m = arg;

        sim_fail(m->sim, "%s: %s", m->hostname, text);
}

static enum manager_status manager_status(void *arg, uint64_t id)
{
        return members_status(((struct sim_manager *)arg)->replica, id);
}

static bool can_demote(void *arg, uint64_t id, struct err *err)
{
        struct sim_manager *m = arg;

        return members_can_leave(m->members, m->replica, id, err);
}

struct sim_manager *sim_manager_leader(struct sim *sim)
{
        struct sim_manager *found = NULL;

        for (int i = 0; i < sim->n_managers; i++) {
                struct sim_manager *m = &sim->managers[i];

                if (m->replica && replica_turn(m->replica) && !sim_manager_is_paused(m) &&
                    (!found ||
                     replica_status(m->replica)->term > replica_status(found->replica)->term))
                        found = m;
        }
        return found;
}

void sim_manager_trace(const struct sim_manager *m)
{
        const struct consensus_status *s = m->replica ? replica_status(m->replica) : NULL;
        struct raft_members members;
        char text[16 * SIM_MANAGERS_MAX + 64] = "";
        size_t n = 0;

        sim_disk_members(m, &members);
        for (size_t i = 0; i < members.n && n < sizeof(text) - 24; i++)
                n += (size_t)snprintf(text + n, sizeof(text) - n, " %llu%s",
                                      (unsigned long long)members.of[i].id,
                                      members.of[i].is_voter ? "" : " (learns)");
        sim_trace(m->sim, "%s: id %llu, %s, term %llu, %llu agreed, log to %llu, members%s",
                  m->hostname, (unsigned long long)m->id,
                  m->is_entering ? "is to join"
                  : !s           ? "dead"
                  : s->is_leader ? "leads"
                                 : "follows",
                  (unsigned long long)m->disk.term, (unsigned long long)(s ? s->commit_index : 0),
                  (unsigned long long)m->disk.first + m->disk.n, text);
}

/* --- the loop -----------------------------------------------------------------------------------
 */
/* As run_parts of manager/driver.c. */
static int64_t run_parts(struct sim_manager *m, struct now now)
{
        int64_t due = replica_run(m->replica, now);
        const struct consensus_status *s = replica_status(m->replica);

        follow_members(m);
        relay_set_leader(m->relay, s->leader, replica_turn(m->replica) != NULL);
        due = MIN(due, relay_run(m->relay, now.mono_ms));
        if (m->members && !replica_is_waiting(m->replica))
                due = MIN(due, members_run(m->members, m->replica, now));
        drop_sent(m);
        heard_run(m->heard, s->leader, replica_store(m->replica), now.mono_ms);
        struct turn *turn = replica_turn(m->replica);
        if (turn && turn_has_inputs(turn) && !replica_is_waiting(m->replica) && s->can_propose)
                due = now.mono_ms;
        return due;
}

static void pump(struct sim_manager *m)
{
        struct now now = local_now(m);
        int64_t due = run_parts(m, now);

        sim_agreed_note(m);
        if (replica_status(m->replica)->is_removed) {
                sim_trace(m->sim, "%s: was taken off the members", m->hostname);
                sim_manager_wipe(m);
                return;
        }
        if (due != TIME_NEVER)
                wake_in(m, MAX((int64_t)ceil((double)(due - now.mono_ms) / m->rate), 1));
}

/* --- life ---------------------------------------------------------------------------------------
 */
static void open_parts(struct sim_manager *m)
{
        struct relay_config relay = {.id = m->id,
                                     .arg = m,
                                     .send = send_here,
                                     .send_peer = send_peer,
                                     .drop = drop_here,
                                     .on_input = on_input,
                                     .on_gone = on_client_gone,
                                     .no_leader = no_leader};

        m->relay = relay_new(&relay);
        m->heard = heard_new(&(struct heard_config){m->id, m->relay, m, send_peer});
        m->front = front_new(
                &(struct front_config){.relay = m->relay, .arg = m, .forget_key = forget_key});
        m->turn = (struct turn_config){.seed = rng_next(&m->sim->rng),
                                       .version = "sim",
                                       .hostname = m->hostname,
                                       .managers = m->managers,
                                       .arg = m,
                                       .manager_status = manager_status,
                                       .can_demote = can_demote};
}

static void open_replica(struct sim_manager *m)
{
        const struct sim_disk *d = &m->disk;
        uint64_t skip = d->base.index - d->first;
        struct replica_config c = {
                .start = {.id = m->id,
                          .seed = rng_next(&m->sim->rng),
                          .now_ms = local_now(m).mono_ms,
                          .settings = m->sim->raft,
                          .term = d->term,
                          .vote = d->vote,
                          .base = d->base,
                          .entries = d->entries ? d->entries + skip : NULL,
                          .n_entries = d->n - skip,
                          .applied = d->rows.newest},
                .store = sim_disk_load_now(m),
                .turn = &m->turn,
                .ops = {.arg = m,
                        .write = op_write,
                        .set_store = op_set_store,
                        .set_applied = op_set_applied,
                        .load = op_load,
                        .cut_log = op_cut_log,
                        .send = op_send,
                        .want_snapshot = op_want_snapshot,
                        .release = op_release,
                        .on_lead = op_on_lead,
                        .on_turn = op_on_turn,
                        .on_lead_end = op_on_lead_end,
                        .on_failure = op_on_failure},
        };

        if (replica_new(&c, &m->replica) < 0) {
                m->replica = NULL;
                sim_fail(m->sim, "%s: what is on its disk is refused", m->hostname);
        }
}

static void start(struct sim_manager *m)
{
        m->life++;
        m->hurt_ms = m->sim->now_ms;
        m->wake_at = TIME_NEVER;
        sim_disk_start(m);
        m->noted = m->disk.rows.newest;
        sim_trace(m->sim, "%s: starts as %llu, term %llu, log %llu-%llu, rows %llu-%llu",
                  m->hostname, (unsigned long long)m->id, (unsigned long long)m->disk.term,
                  (unsigned long long)m->disk.first, (unsigned long long)m->disk.first + m->disk.n,
                  (unsigned long long)m->disk.rows.covered,
                  (unsigned long long)m->disk.rows.newest);
        open_parts(m);
        open_replica(m);
        if (m->replica)
                wake_now(m);
}

static void close_parts(struct sim_manager *m)
{
        struct replica *r = m->replica;

        m->replica = NULL; /* what it tells on its way out is of no interest */
        replica_free(r);
        front_free(m->front);
        heard_free(m->heard);
        relay_free(m->relay);
        m->front = NULL;
        m->heard = NULL;
        m->relay = NULL;
        for (size_t i = 0; i < ARRAY_SIZE(m->sending); i++) {
                buf_done(&m->sending[i].sending.bytes);
                m->sending[i] = (struct sim_sending){0};
        }
}

static void start_again(struct sim_manager *m, void *arg UNUSED, bool is_void)
{
        if (is_void || m->replica)
                return;
        if (!m->id || m->is_entering)
                enter(m);
        else
                start(m);
}

void sim_manager_crash(struct sim_manager *m)
{
        struct sim *sim = m->sim;

        if (!m->replica)
                return;
        sim_trace(sim, "%s: dies%s", m->hostname, m->members ? ", the leader" : "");
        sim->n_crashes++;
        m->life++;
        m->paused_until = 0;
        m->hurt_ms = sim->now_ms;
        close_parts(m);
        sim_disk_crash(m);
        sim_net_manager_died(m);
        sim_manager_later(m, sim_between(sim, RESTART_MS_MIN, RESTART_MS_MAX), start_again, NULL);
}

void sim_manager_pause(struct sim_manager *m, int64_t ms)
{
        if (!m->replica)
                return;
        sim_trace(m->sim, "%s: stopped for %lld ms%s", m->hostname, (long long)ms,
                  m->members ? ", the leader" : "");
        m->paused_until = m->sim->now_ms + ms;
        m->hurt_ms = m->paused_until;
}

void sim_manager_wipe(struct sim_manager *m)
{
        sim_trace(m->sim, "%s: its disk is lost", m->hostname);
        sim_manager_crash(m);
        sim_disk_init(m);
        m->id = 0;
}

/* --- joining ------------------------------------------------------------------------------------
 */
static void try_to_enter(struct sim_manager *m, void *arg UNUSED, bool is_void)
{
        struct sim *sim = m->sim;
        Swarm__Join join = SWARM__JOIN__INIT;
        Swarm__AgentMessage out = SWARM__AGENT_MESSAGE__INIT;
        Swarm__NodeDescription d;
        Swarm__Resources capacity;
        _cleanup_buf_ struct buf b = {0};
        int to = sim_net_any_manager(sim);

        if (is_void || !m->is_entering)
                return;
        describe(m, &d, &capacity);
        join.secret = sim->manager_secret;
        join.description = &d;
        join.role = ROLE_MANAGER;
        join.manager_id = m->id;
        join.manager_address = m->address;
        out.kind_case = SWARM__AGENT_MESSAGE__KIND_JOIN;
        out.join = &join;
        WIRE_PACK(&out, &b);
        m->joining = ++sim->next_request;
        if (to >= 0)
                sim_net_join(m, to, b.data, b.len);
        sim_manager_later(m, JOIN_AGAIN_MS, try_to_enter, NULL);
}

static void enter(struct sim_manager *m)
{
        m->life++;
        if (!m->id)
                m->id = ++m->sim->next_manager;
        m->is_entering = true;
        try_to_enter(m, NULL, false);
}

struct sim_manager *sim_manager_by_joining(struct sim *sim, uint64_t connection)
{
        for (int i = 0; i < sim->n_managers; i++)
                if (sim->managers[i].is_entering && sim->managers[i].joining == connection)
                        return &sim->managers[i];
        return NULL;
}

void sim_manager_hear_joined(struct sim_manager *m, const uint8_t *p, size_t n)
{
        _cleanup_arena_ struct wire_arena arena = {0};
        const Swarm__ManagerMessage *msg =
                wire_unpack(&arena, &swarm__manager_message__descriptor, p, n);

        if (msg && msg->kind_case == SWARM__MANAGER_MESSAGE__KIND_REFUSED)
                sim_fail(m->sim, "%s: may not join: %s", m->hostname, msg->refused->text);
        if (!msg || msg->kind_case != SWARM__MANAGER_MESSAGE__KIND_JOINED)
                return;
        m->is_entering = false;
        start(m);
}

void sim_manager_init(struct sim *sim, int index)
{
        struct sim_manager *m = &sim->managers[index];

        m->sim = sim;
        m->index = index;
        for (size_t i = 0; i < sizeof(m->key); i++)
                m->key[i] = (uint8_t)rng_next(&sim->rng);
        snprintf(m->hostname, sizeof(m->hostname), "m%d", index);
        snprintf(m->address, sizeof(m->address), "10.0.0.%d:7377", index + 1);
        m->rate = 1 + sim->drift * (double)sim_between(sim, -1000, 1000) / 1000;
        m->zero = sim_between(sim, 0, 1000000);
        m->wall_offset = sim_between(sim, -500, 500);
        sim_disk_init(m);
        if (index > 0) {
                enter(m);
                return;
        }
        m->id = ++sim->next_manager;
        struct raft_members *members = &m->disk.base.members;
        members->n = 1;
        members->of[0] = (struct raft_member){.id = m->id, .is_voter = true};
        memcpy(members->of[0].address, m->address, sizeof(m->address));
        sim->agreed.members = *members;
        start(m);
}

void sim_manager_done(struct sim_manager *m)
{
        m->life++;
        m->paused_until = 0;
        close_parts(m);
        sim_disk_done(m);
}
