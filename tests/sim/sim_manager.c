/*
 * The manager of the simulation: the real store and turn, over a log that a crash cuts back to what
 * was durable. Does what the daemon's driver does: inputs, turn, propose, commit, effects.
 */
#include "tests/sim/sim.h"
#include "tests/sim/sim_told.h"

#include <stdio.h>
#include <stdlib.h>

#define COMMIT_MS_MAX  15
#define RESTART_MS_MIN 50
#define RESTART_MS_MAX 4000

static void pump(struct sim *sim);

/* Only the wake-up that was set last counts: the others are void. */
static void wake(struct sim *sim, void *arg UNUSED)
{
        if (sim->manager.wake_at == sim->now_ms) {
                sim->manager.wake_at = TIME_NEVER;
                pump(sim);
        }
}

static void wake_at(struct sim *sim, int64_t at_ms)
{
        if (at_ms >= sim->manager.wake_at)
                return;
        sim->manager.wake_at = at_ms;
        sim_at(sim, at_ms - sim->now_ms, wake, NULL);
}

static void log_append(struct sim_manager *m, struct buf *entry)
{
        if (m->log_len == m->log_cap) {
                m->log_cap = m->log_cap ? m->log_cap * 2 : 64;
                m->log = xreallocarray(m->log, m->log_cap, sizeof(struct buf));
        }
        m->log[m->log_len++] = *entry;
        memset(entry, 0, sizeof(*entry));
}

static void make_durable(struct sim *sim)
{
        struct sim_manager *m = &sim->manager;

        if (store_apply_entry(m->shadow, m->pending.data, m->pending.len) < 0)
                sim_fail(sim, "an entry of the manager cannot be applied");
        log_append(m, &m->pending);
        sim->n_commits++;
        sim_told_commit(sim);
}

static void perform(struct sim *sim, const struct effect *e)
{
        struct sim_agent *a;

        switch (e->kind) {
        case EFFECT_CLIENT: sim_client_hear(sim, e->bytes.data, e->bytes.len); break;
        case EFFECT_AGENT:
                a = sim_agent_by_node(sim, e->peer.node);
                if (!a)
                        break;
                sim_told_agent(sim, a, e->bytes.data, e->bytes.len);
                sim_to_agent(sim, a, e->bytes.data, e->bytes.len);
                break;
        case EFFECT_UNKNOWN_AGENT:
                a = sim_agent_by_connection(sim, e->peer.connection);
                if (a)
                        sim_to_agent(sim, a, e->bytes.data, e->bytes.len);
                break;
        case EFFECT_ALLOW_KEY:
        case EFFECT_FORGET_KEY:
        case EFFECT_BLOB_RELEASE:
                break; /* the keys are looked up in the store, blobs are not here */
        }
}

static void release(struct sim *sim, struct list *effects)
{
        struct effect *e;

        LIST_FOREACH (e, effects, link)
                perform(sim, e);
        effects_free(effects);
}

struct commit {
        uint64_t life;
};

static void commit(struct sim *sim, void *arg)
{
        struct sim_manager *m = &sim->manager;
        struct commit *c = arg;
        struct list effects;

        if (m->turn && c->life == m->life) {
                make_durable(sim);
                m->is_committing = false;
                turn_set_last_index(m->turn, m->log_len);
                if (store_hash(m->store) != store_hash(m->shadow))
                        sim_fail(sim, "replaying the log does not give the manager's state");
                if (sim_chance(sim, 300))
                        sim_rows_write(sim);
                list_init(&effects);
                list_splice_back(&effects, &m->effects);
                release(sim, &effects);
                pump(sim);
        }
        free(c);
}

static void propose(struct sim *sim)
{
        struct sim_manager *m = &sim->manager;
        struct commit *c = xnew(struct commit);

        m->is_committing = true;
        c->life = m->life;
        sim_at(sim, sim_between(sim, 0, COMMIT_MS_MAX), commit, c);
}

static void run_turn(struct sim *sim)
{
        struct sim_manager *m = &sim->manager;
        struct list effects;

        list_init(&effects);
        m->run_at = turn_run(m->turn, sim_now(sim), &effects);
        buf_clear(&m->pending);
        if (store_take_changes(m->store, sim_now(sim).wall_ms, &m->pending) > 0) {
                list_splice_back(&m->effects, &effects);
                propose(sim);
        } else {
                release(sim, &effects);
        }
}

static void pump(struct sim *sim)
{
        struct sim_manager *m = &sim->manager;

        if (!m->turn)
                return;
        if (!m->is_committing && (turn_has_inputs(m->turn) || m->run_at <= sim->now_ms))
                run_turn(sim);
        if (m->turn && !m->is_committing && m->run_at != TIME_NEVER)
                wake_at(sim, MAX(m->run_at, sim->now_ms + 1));
}

static void fill_cluster(struct sim *sim)
{
        struct sim_manager *m = &sim->manager;
        Swarm__Cluster cluster = SWARM__CLUSTER__INIT;
        Swarm__ClusterSettings settings = SWARM__CLUSTER_SETTINGS__INIT;
        uint8_t id[ID_BYTES];

        settings.heartbeat_ms = DEFAULT_HEARTBEAT_MS;
        settings.suspect_ms = DEFAULT_SUSPECT_MS;
        settings.down_ms = DEFAULT_DOWN_MS;
        settings.mass_failure_wait_ms = DEFAULT_MASS_FAILURE_MS;
        settings.task_history_limit = DEFAULT_HISTORY_LIMIT;
        snprintf(sim->worker_secret, sizeof(sim->worker_secret), "%s", ID_S(id_make(&sim->rng)));
        cluster.id = wire_id(id_make(&sim->rng), id);
        cluster.worker_secret = sim->worker_secret;
        cluster.manager_secret = (char *)"0000000000000000000000000";
        cluster.settings = &settings;
        cluster.created_ms = sim_now(sim).wall_ms;
        Swarm__Cluster *copy = wire_dup(&cluster);
        store_put_cluster(m->store, &copy);
        store_take_changes(m->store, sim_now(sim).wall_ms, &m->pending);
        make_durable(sim);
}

/* Two images that work and one whose containers never do. */
static void fill_images(struct sim *sim)
{
        struct sim_manager *m = &sim->manager;
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
                store_put_image(m->store, &image);
        }
        store_take_changes(m->store, sim_now(sim).wall_ms, &m->pending);
        make_durable(sim);
}

void sim_manager_init(struct sim *sim)
{
        sim->manager.shadow = store_new();
        sim_rows_init(&sim->manager.rows);
        sim_told_init(sim);
        list_init(&sim->manager.effects);
        sim_manager_start(sim);
}

/* From the rows and the rest of the log; sometimes from the log alone, as if there were none. */
static void recover(struct sim *sim)
{
        struct sim_manager *m = &sim->manager;

        if (sim_chance(sim, 250))
                sim_rows_clear(&m->rows);
        for (size_t i = sim_rows_load(sim); i < m->log_len && !sim->failure[0]; i++) {
                store_set_recovering(m->store, i < m->rows.newest);
                if (store_apply_entry(m->store, m->log[i].data, m->log[i].len) < 0)
                        sim_fail(sim, "entry %zu of the log cannot be replayed", i);
        }
        store_set_recovering(m->store, false);
        if (store_hash(m->store) != store_hash(m->shadow))
                sim_fail(sim, "rows up to entry %zu and the log from %zu to %zu give another state",
                         m->rows.newest, m->rows.covered, m->log_len);
}

void sim_manager_start(struct sim *sim)
{
        struct sim_manager *m = &sim->manager;
        bool is_first = m->log_len == 0;
        struct turn_config config = {.seed = rng_next(&sim->rng),
                                     .version = "sim",
                                     .node = {1, 1},
                                     .hostname = "manager"};

        m->life++;
        m->store = store_new();
        m->is_committing = false;
        recover(sim);
        if (is_first) {
                fill_cluster(sim);
                fill_images(sim);
        }
        m->turn = turn_new(m->store, &config, sim_now(sim));
        m->run_at = sim->now_ms;
        sim_trace(sim, "manager starts, %zu entries", m->log_len);
        m->wake_at = TIME_NEVER;
        wake_at(sim, sim->now_ms + 1);
}

static void start_again(struct sim *sim, void *arg UNUSED)
{
        sim_manager_start(sim);
}

void sim_manager_crash(struct sim *sim)
{
        struct sim_manager *m = &sim->manager;

        sim_trace(sim, "manager crashes%s", m->is_committing ? " in a commit" : "");
        sim->n_crashes++;
        if (m->is_committing && sim_chance(sim, 500))
                make_durable(sim); /* it was written; nobody was told */
        buf_clear(&m->pending);
        effects_free(&m->effects);
        turn_free(m->turn);
        store_free(m->store);
        m->turn = NULL;
        m->store = NULL;
        sim->client_connection++;
        sim_at(sim, sim_between(sim, RESTART_MS_MIN, RESTART_MS_MAX), start_again, NULL);
}

void sim_manager_hear_agent(struct sim *sim, struct sim_agent *a, uint64_t connection,
                            const uint8_t *p, size_t n)
{
        struct sim_manager *m = &sim->manager;
        struct peer from = {.connection = connection};

        if (!m->turn)
                return;
        struct node *node = store_find_node_by_key(m->shadow, a->key);
        if (node)
                from.node = node->id;
        if (turn_input_agent(m->turn, from, a->key, p, n) < 0)
                sim_fail(sim, "the manager refused a message of %s", a->hostname);
        pump(sim);
}

void sim_manager_hear_client(struct sim *sim, const Swarm__Request *r)
{
        struct sim_manager *m = &sim->manager;
        _cleanup_buf_ struct buf b = {0};

        if (!m->turn)
                return;
        WIRE_PACK(r, &b);
        if (turn_input_client(m->turn, sim->client_connection, b.data, b.len) < 0)
                sim_fail(sim, "the manager refused a client's message");
        pump(sim);
}

void sim_manager_done(struct sim *sim)
{
        struct sim_manager *m = &sim->manager;

        effects_free(&m->effects);
        if (m->turn) {
                turn_free(m->turn);
                store_free(m->store);
        }
        store_free(m->shadow);
        sim_rows_done(&m->rows);
        sim_told_done(sim);
        for (size_t i = 0; i < m->log_len; i++)
                buf_done(&m->log[i]);
        free(m->log);
        buf_done(&m->pending);
}
