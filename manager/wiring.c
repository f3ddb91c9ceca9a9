/*
 * What a manager is made of: see wiring.h. Opened in this order: the database with its lock, the
 * keys at rest (which a person may have to unlock), the node's key, the store that the database
 * holds, the cluster (made with --init), the gate, the driver with the network. What can fail is
 * told in one line, and the manager ends.
 */
#include "manager/wiring.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "manager/driver.h"
#include "manager/identity/identity.h"
#include "manager/join.h"
#include "manager/lock.h"
#include "shared/base/io.h"
#include "shared/base/mem.h"
#include "shared/base/notify.h"
#include "shared/base/process.h"
#include "shared/base/str.h"
#include "shared/wire/wire.h"
#include "version.h"

struct manager {
        struct options *options;
        int argc;
        char *const *argv;
        struct err err;
        struct loop *loop;
        struct lock *lock;
        struct db *db;
        struct db_state state;
        struct store *store; /* the driver's, once that is open */
        struct driver *driver;
        struct net_keys node_keys, cluster_keys;
        bool is_new_cluster; /* made by this process */
};

static char *path_of(const struct manager *m, const char *name)
{
        return xasprintf("%s/%s", m->options->data_dir, name);
}

static uint64_t random_id(void)
{
        uint64_t id = 0;

        while (!id)
                if (getrandom(&id, sizeof(id), 0) != sizeof(id))
                        abort();
        return id;
}

/* --- a manager's first start --------------------------------------------------------------------
 */
static int no_cluster(struct manager *m)
{
        return err_set(&m->err, ENOENT,
                       "%s: no cluster here; --init makes a new one, --join enters one",
                       m->options->data_dir);
}

/* The cluster's key, which a manager needs before it has any state; nor has it that at once after a
 * start, as the newest of it is in the log. */
static int keep_cluster_key(struct manager *m)
{
        _cleanup_free_ char *path = path_of(m, "manager/cluster.key");
        int r = seal_write_file(AT_FDCWD, path, lock_seal_key(m->lock), m->cluster_keys.secret_key);

        return r < 0 ? err_set(&m->err, -r, "%s: %s", path, err_name(r)) : 0;
}

static int set_identity(struct manager *m, uint64_t id, const struct raft_members *members)
{
        int r = db_set_identity(m->db, id, members, &m->err);

        if (r < 0)
                return r;
        db_state_done(&m->state);
        return db_read_state(m->db, &m->state, &m->err);
}

static struct raft_members only_self(const struct manager *m)
{
        struct raft_members members = {.n = 1};
        struct raft_member *self = &members.of[0];

        self->id = random_id();
        self->is_voter = true;
        snprintf(self->address, sizeof(self->address), "%s", m->options->advertise);
        return members;
}

static int begin_cluster(struct manager *m)
{
        struct raft_members members = only_self(m);

        return set_identity(m, members.of[0].id, &members);
}

/* The others are gone, or were never there: whoever was a manager beside this one is none when this
 * manager leads. Its id is a new one, so that nothing that they might still say is meant for it. */
static int stand_alone(struct manager *m)
{
        struct raft_members members = only_self(m);

        return db_stand_alone(m->db, members.of[0].id, &members, &m->err);
}

/* The backup's state, to begin with: as with stand_alone. */
static int restore(struct manager *m, const char *dir)
{
        struct raft_members members = only_self(m);
        struct err why = {0};
        int r = db_check_copy(m->options->restore, &why);

        if (r == 0)
                r = db_restore(dir, m->options->restore, members.of[0].id, &members, &why);
        return r < 0 ? err_set(&m->err, -r, "--restore: %s", why.text) : 0;
}

/* One that is not wanted, or no more, leaves nothing behind: it has nothing yet. */
static int enter_cluster(struct manager *m, uint64_t id)
{
        static const struct raft_members none;
        _cleanup_free_ char *dir = path_of(m, "manager");
        struct err ignored = {0};
        struct joined joined = {0};
        int r = join_cluster(m->loop, m->options, &m->node_keys, id, &joined, &m->err);

        if (r == -EACCES) {
                db_close(STEAL_PTR(m->db));
                db_remove(dir, &ignored);
        }
        m->cluster_keys = joined.cluster_keys;
        if (r == 0)
                r = lock_begin(m->lock, m->db, joined.cluster_keys.secret_key,
                               joined.is_autolocked ? joined.unlock_key : NULL, &m->err);
        explicit_bzero(&joined, sizeof(joined));
        if (r == 0)
                r = keep_cluster_key(m);
        return r < 0 ? r : set_identity(m, id, &none);
}

/* It has joined, but no manager has told it anything yet: nobody counts on it. */
static bool is_outside(const struct manager *m)
{
        return m->state.id && !m->state.base.index && !m->state.base.members.n &&
               !m->state.n_entries;
}

/* Nothing is made for a manager that will not start: -EINVAL when it was told too little. */
static int check_start(struct manager *m)
{
        const struct options *o = m->options;
        _cleanup_free_ char *file = path_of(m, "manager/swarm.db");
        bool is_first = o->restore || access(file, F_OK) != 0;
        uint8_t key[NET_KEY_BYTES];
        struct err ignored = {0};

        if (is_first && !o->init && !o->join && !o->restore)
                return no_cluster(m);
        if (is_first && o->join && !o->token &&
            identity_read_cluster_key(o->data_dir, key, &ignored) == -ENOENT)
                return err_set(&m->err, EINVAL, "--join: --token TOKEN is needed, too");
        if (is_first && !o->advertise)
                return err_set(&m->err, EINVAL, "--advertise IP[:PORT] is needed with --%s",
                               o->init   ? "init"
                               : o->join ? "join"
                                         : "restore");
        return 0;
}

static int settle_identity(struct manager *m)
{
        const struct options *o = m->options;

        if (m->state.id)
                return is_outside(m) && o->join ? enter_cluster(m, m->state.id) : 0;
        if (!o->init && !o->join)
                return no_cluster(m);
        return o->init ? begin_cluster(m) : enter_cluster(m, random_id());
}

/* The database's lock keeps a second manager out, so what follows may write. */
static int open_store(struct manager *m)
{
        const struct options *o = m->options;
        _cleanup_free_ char *dir = path_of(m, "manager");
        int r = o->restore ? restore(m, dir) : 0;

        if (r == 0)
                r = db_open(dir, &m->db, &m->err);
        if (r == 0)
                r = options_complete(m->options, &m->err);
        if (r == 0)
                r = lock_open(m->lock, m->loop, m->db, &m->err);
        if (r == 0)
                r = identity_make_node_key(o->data_dir, lock_seal_key(m->lock), &m->node_keys,
                                           &m->err);
        if (r == 0 && o->force_new_cluster)
                r = stand_alone(m);
        if (r == 0)
                r = db_read_state(m->db, &m->state, &m->err);
        if (r == 0)
                r = settle_identity(m);
        return r < 0 ? r : db_load_now(m->db, &m->store, &m->err);
}

/* --- the cluster's key --------------------------------------------------------------------------
 */
static int make_key(struct manager *m)
{
        if (!m->options->init)
                return no_cluster(m);
        if (net_keys_make(&m->cluster_keys) < 0)
                return err_set(&m->err, EIO, "cannot make the cluster's keys");
        return keep_cluster_key(m);
}

/* As the state has it; as it was made or told when this manager was new; or a new one. */
static int open_cluster(struct manager *m)
{
        const ProtobufCBinaryData *key = &store_cluster(m->store)->msg->secret_key;
        _cleanup_free_ char *path = path_of(m, "manager/cluster.key");
        uint8_t kept[NET_KEY_BYTES];
        int r = 0;

        if (key->len == NET_KEY_BYTES) {
                r = net_keys_derive(key->data, &m->cluster_keys);
                unlink(path); /* of no use any more */
        } else if (seal_read_file(AT_FDCWD, path, lock_seal_key(m->lock), kept) == 0) {
                r = net_keys_derive(kept, &m->cluster_keys);
                explicit_bzero(kept, sizeof(kept));
        } else {
                r = make_key(m);
                if (r < 0)
                        return r;
        }
        if (r < 0)
                return err_set(&m->err, -r, "the cluster's key is damaged");
        lock_set_cluster_key(m->lock, m->db, m->cluster_keys.secret_key);
        return 0;
}

/* --- what a leader sees to ----------------------------------------------------------------------
 */
static struct node *make_node(struct manager *m, struct store *store, int64_t wall_ms)
{
        Swarm__NodeDescription d = SWARM__NODE_DESCRIPTION__INIT;
        _cleanup_free_ char *ip = xstrdup(m->options->advertise);
        struct utsname uts;
        struct rng rng = {random_id()};
        struct node *node = store_add_node(store, id_make(&rng), m->node_keys.public_key,
                                           ROLE_MANAGER, wall_ms);

        *strrchr(ip, ':') = 0;
        uname(&uts);
        d.hostname = m->options->hostname;
        d.os = (char *)"linux";
        d.arch = uts.machine;
        d.address = ip;
        d.engine_version = (char *)SWARM_VERSION;
        store_set_node_description(store, node, &d, wall_ms);
        return node;
}

static void demote_others(struct manager *m, struct store *store, int64_t wall_ms)
{
        struct node *node;
        size_t i;

        MAP_FOREACH (node, i, store_nodes(store)) {
                if (node->role != ROLE_MANAGER ||
                    !memcmp(node->public_key, m->node_keys.public_key, NET_KEY_BYTES))
                        continue;
                store_set_node_spec(store, node, node->availability, ROLE_WORKER,
                                    (const Swarm__KeyValue *const *)node->labels->labels,
                                    node->labels->n_labels, wall_ms);
                store_set_node_manager(store, node, 0, NULL, wall_ms);
        }
}

/* By force or from a copy, whether by this process or by one that died before it was agreed: the
 * log stands on this manager alone, and the state knows it by another id, or not at all. (One that
 * was demoted has none there.) */
static bool has_to_settle_alone(const struct manager *m, const struct node *node)
{
        const struct raft_members *members = &m->state.base.members;

        return members->n == 1 && members->of[0].id == m->state.id &&
               (!node || (node->manager_id && node->manager_id != m->state.id));
}

/* The manager itself is a node; without an agent beside it one that takes no tasks. */
static void on_lead(void *arg, struct store *store, struct now now)
{
        struct manager *m = arg;
        struct node *node = store_find_node_by_key(store, m->node_keys.public_key);

        if (store_cluster(store)->msg->public_key.len == 0) {
                Swarm__Cluster *cluster = cluster_make(&m->cluster_keys, now.wall_ms);

                store_put_cluster(store, &cluster);
                m->is_new_cluster = true;
        }
        if (has_to_settle_alone(m, node))
                demote_others(m, store, now.wall_ms);
        if (!node)
                node = make_node(m, store, now.wall_ms);
        if (node->role == ROLE_MANAGER && /* else it was demoted, and leads until another one can */
            (node->manager_id != m->state.id ||
             !str_is_equal(node->manager_address, m->options->advertise)))
                store_set_node_manager(store, node, m->state.id, m->options->advertise,
                                       now.wall_ms);
}

static void print_join_commands(struct manager *m)
{
        char tokens[2][IDENTITY_TOKEN_TEXT_LEN + 1];
        const Swarm__Cluster *cluster = driver_cluster(m->driver);

        if (!cluster)
                return;
        cluster_token(cluster, ROLE_WORKER, tokens[0]);
        cluster_token(cluster, ROLE_MANAGER, tokens[1]);
        printf("A new cluster is made. To add a worker, run on it:\n\n"
               "    swarm-agent --join %s --token %s\n\n"
               "To add a manager (three can lose one, five two), run on it:\n\n"
               "    swarm-manager --advertise IP --join %s --token %s\n\n",
               m->options->advertise, tokens[0], m->options->advertise, tokens[1]);
}

static void on_ready(void *arg)
{
        struct manager *m = arg;
        struct err err = {0};

        if (identity_write_cluster_key(m->options->data_dir, m->cluster_keys.public_key, &err) < 0)
                log_warn("swarmctl over tcp will not work: %s", err.text);
        if (m->is_new_cluster)
                print_join_commands(m);
        printf("manager ready node=%s listen=%s advertise=%s\n", ID_S(driver_node(m->driver)),
               m->options->listen, m->options->advertise);
        fflush(stdout);
        notify_service_manager("READY=1");
        process_settle();
}

static int open_driver(struct manager *m)
{
        _cleanup_free_ char *tcp = xasprintf("tcp://%s", m->options->listen);
        _cleanup_free_ char *socket = path_of(m, "manager.sock");
        _cleanup_free_ char *ipc = xasprintf("ipc://%s", socket);
        _cleanup_free_ char *dir = path_of(m, "manager");
        const char *endpoints[] = {tcp, ipc, NULL};
        struct driver_config c = {
                .loop = m->loop,
                .db = STEAL_PTR(m->db),
                .state = &m->state,
                .store = STEAL_PTR(m->store),
                .hostname = m->options->hostname,
                .address = m->options->advertise,
                .node_keys = &m->node_keys,
                .cluster_keys = &m->cluster_keys,
                .lock = m->lock,
                .endpoints = endpoints,
                .dir = dir,
                .arg = m,
                .on_lead = on_lead,
                .on_ready = on_ready,
        };

        return driver_open(&c, &m->driver, &m->err);
}

static void on_end(void *arg, int signum UNUSED)
{
        struct manager *m = arg;

        notify_service_manager("STOPPING=1");
        if (m->driver)
                driver_stop(m->driver);
        else
                loop_stop(m->loop); /* it waits for something before it works */
}

/* What can be changed in flight: the log's level. */
static void on_reload(void *arg, int signum UNUSED)
{
        struct manager *m = arg;
        struct options fresh;
        struct err err = {0};
        int r = options_parse(m->argc, m->argv, &fresh, stderr, &err);

        if (r < 0)
                log_warn("settings stay as they are: %s", err.text);
        else if (r == 0)
                log_set_level(fresh.level);
        options_done(&fresh);
}

static int open_all(struct manager *m)
{
        int r = open_store(m);

        if (r >= 0)
                r = open_cluster(m);
        if (r >= 0)
                r = open_driver(m);
        return r;
}

/* The cluster goes on without this manager: what it kept is of no use, and would be in the way of
 * the next one here. The node's key stays: the node may be a worker. */
static int forget_all(const struct manager *m)
{
        _cleanup_free_ char *dir = path_of(m, "manager");
        _cleanup_free_ char *socket = path_of(m, "manager.sock");
        struct err err = {0};

        if (lock_give_up(m->lock, &err) < 0 || db_remove(dir, &err) < 0) {
                log_error("this manager was taken off the members, but its state stays: %s",
                          err.text);
                return EXIT_FAILURE;
        }
        if (unlink(socket) < 0 && errno != ENOENT)
                log_warn("cannot remove %s error=%s", socket, err_name(errno));
        log_info("this manager was taken off the members: its state is removed path=%s", dir);
        return EXIT_SUCCESS;
}

int manager_run(struct options *options, int argc, char *const *argv)
{
        struct manager m = {.options = options, .argc = argc, .argv = argv};
        int code = EXIT_FAILURE;
        bool is_removed = false;

        log_set_level(options->level);
        signal(SIGPIPE, SIG_IGN);
        m.loop = loop_new();
        m.lock = lock_new(options->data_dir);
        loop_on_signal(m.loop, SIGTERM, on_end, &m);
        loop_on_signal(m.loop, SIGINT, on_end, &m);
        loop_on_signal(m.loop, SIGHUP, on_reload, &m);
        int told = options_take_promotion(options, &m.err);
        if (told == 0)
                told = check_start(&m);
        int r = told < 0 ? told : open_all(&m);
        if (r == -ECANCELED) {
                code = EXIT_SUCCESS;
        } else if (r < 0) {
                log_error("%s", m.err.text);
                code = told == -EINVAL ? EXIT_USAGE : EXIT_FAILURE;
        } else {
                loop_run(m.loop);
                code = driver_exit_code(m.driver);
                is_removed = driver_is_removed(m.driver);
        }
        driver_close(m.driver);
        db_close(m.db);
        if (is_removed)
                code = forget_all(&m);
        db_state_done(&m.state);
        store_free(m.store);
        loop_free(m.loop);
        lock_free(m.lock);
        explicit_bzero(&m.node_keys, sizeof(m.node_keys));
        explicit_bzero(&m.cluster_keys, sizeof(m.cluster_keys));
        return code;
}
