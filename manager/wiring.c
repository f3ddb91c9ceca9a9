/*
 * What a manager is made of: see wiring.h. Opened in this order: the node's key, the database
 * with its lock and the store that it holds, the cluster (made with --init), the gate,
 * the driver with the network. What can fail is told in one line, and the manager ends.
 */
#include "manager/wiring.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "manager/driver.h"
#include "shared/base/mem.h"
#include "shared/base/notify.h"
#include "shared/base/str.h"
#include "version.h"

struct manager {
        struct options *options;
        int argc;
        char *const *argv;
        struct err err;
        struct loop *loop;
        struct store *store;
        struct db *db;
        struct gate *gate;
        struct driver *driver;
        struct net_keys node_keys, cluster_keys;
        struct id node;
        bool is_new_cluster;
        char *managers[2]; /* addresses that agents are told; the turn keeps the pointer */
        struct turn_config turn;
};

static char *path_of(const struct manager *m, const char *name)
{
        return xasprintf("%s/%s", m->options->data_dir, name);
}

/* The database's lock keeps a second manager out, so what follows may write. */
static int open_store(struct manager *m)
{
        _cleanup_free_ char *dir = path_of(m, "manager");
        _cleanup_free_ char *file = path_of(m, "manager/swarm.db");
        int r;

        /* Nothing is made for a manager that will not start. */
        if (access(file, F_OK) && !m->options->init)
                return err_set(&m->err, ENOENT, "%s: no cluster here; --init makes a new one",
                               m->options->data_dir);
        if (access(file, F_OK) && !m->options->advertise)
                return err_set(&m->err, EINVAL, "--advertise IP[:PORT] is needed with --init");
        r = identity_make_node_key(m->options->data_dir, &m->node_keys, &m->err);
        if (r < 0)
                return r;
        m->store = store_new();
        r = db_open(dir, m->store, &m->db, &m->err);
        return r < 0 ? r : options_complete(m->options, &m->err);
}

static bool has_cluster(const struct manager *m)
{
        return store_cluster(m->store)->msg->secret_key.len == NET_KEY_BYTES;
}

static int open_cluster(struct manager *m)
{
        if (!has_cluster(m)) {
                Swarm__Cluster *cluster = NULL;

                if (!m->options->init)
                        return err_set(&m->err, ENOENT,
                                       "%s: no cluster here; --init makes a new "
                                       "one",
                                       m->options->data_dir);
                int r = cluster_make(time_now().wall_ms, &cluster);
                if (r < 0)
                        return err_set(&m->err, -r, "cannot make the cluster's keys");
                store_put_cluster(m->store, &cluster);
                m->is_new_cluster = true;
        }
        int r = net_keys_derive(store_cluster(m->store)->msg->secret_key.data, &m->cluster_keys);
        return r < 0 ? err_set(&m->err, -r, "the cluster's key is damaged") : 0;
}

/* The manager itself is a node; without an agent beside it one that takes no tasks. */
static void open_node(struct manager *m)
{
        int64_t wall_ms = time_now().wall_ms;
        struct node *node = store_find_node_by_key(m->store, m->node_keys.public_key);
        Swarm__NodeDescription d = SWARM__NODE_DESCRIPTION__INIT;
        _cleanup_free_ char *ip = xstrdup(m->options->advertise);
        struct utsname uts;
        struct rng rng;

        if (node) {
                m->node = node->id;
                return;
        }
        if (getrandom(&rng.state, sizeof(rng.state), 0) != sizeof(rng.state))
                abort();
        m->node = id_make(&rng);
        node = store_add_node(m->store, m->node, m->node_keys.public_key, ROLE_MANAGER, wall_ms);
        *strrchr(ip, ':') = 0;
        uname(&uts);
        d.hostname = m->options->hostname;
        d.os = (char *)"linux";
        d.arch = uts.machine;
        d.address = ip;
        d.engine_version = (char *)SWARM_VERSION;
        store_set_node_description(m->store, node, &d, wall_ms);
}

static void print_join_commands(struct manager *m)
{
        const Swarm__Cluster *cluster = store_cluster(m->store)->msg;
        char token[IDENTITY_TOKEN_TEXT_LEN + 1];

        cluster_token(cluster, ROLE_WORKER, token);
        printf("A new cluster is made. To add a worker, run on it:\n\n"
               "    swarm-agent --join %s --token %s\n\n",
               m->options->advertise, token);
        cluster_token(cluster, ROLE_MANAGER, token);
        printf("For a further manager, once this version takes more than one:\n\n"
               "    swarm-manager --advertise IP --join %s --token %s\n\n",
               m->options->advertise, token);
}

static void on_ready(void *arg)
{
        struct manager *m = arg;
        struct err err = {0};

        if (identity_write_cluster_key(m->options->data_dir, m->cluster_keys.public_key, &err) < 0)
                log_warn("swarmctl over tcp will not work: %s", err.text);
        if (m->is_new_cluster)
                print_join_commands(m);
        printf("manager ready node=%s listen=%s advertise=%s\n", ID_S(m->node), m->options->listen,
               m->options->advertise);
        fflush(stdout);
        notify_service_manager("READY=1");
}

static int open_driver(struct manager *m)
{
        _cleanup_free_ char *tcp = xasprintf("tcp://%s", m->options->listen);
        _cleanup_free_ char *socket = path_of(m, "manager.sock");
        _cleanup_free_ char *ipc = xasprintf("ipc://%s", socket);
        _cleanup_free_ char *blob_dir = path_of(m, "manager/blobs");
        const char *endpoints[] = {tcp, ipc, NULL};
        struct driver_config c = {
                .loop = m->loop,
                .store = m->store,
                .db = m->db,
                .gate = m->gate,
                .turn = &m->turn,
                .cluster_keys = &m->cluster_keys,
                .endpoints = endpoints,
                .blob_dir = blob_dir,
                .arg = m,
                .on_ready = on_ready,
        };

        m->managers[0] = m->options->advertise;
        m->turn = (struct turn_config){.version = SWARM_VERSION,
                                       .node = m->node,
                                       .hostname = m->options->hostname,
                                       .managers = m->managers};
        if (getrandom(&m->turn.seed, sizeof(m->turn.seed), 0) != sizeof(m->turn.seed))
                abort();
        return driver_open(&c, &m->driver, &m->err);
}

static void on_end(void *arg, int signum UNUSED)
{
        struct manager *m = arg;

        notify_service_manager("STOPPING=1");
        driver_stop(m->driver);
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
        if (r < 0)
                return r;
        open_node(m);
        m->gate = gate_new(m->store);
        r = open_driver(m);
        if (r < 0)
                return r;
        loop_on_signal(m->loop, SIGTERM, on_end, m);
        loop_on_signal(m->loop, SIGINT, on_end, m);
        loop_on_signal(m->loop, SIGHUP, on_reload, m);
        return 0;
}

int manager_run(struct options *options, int argc, char *const *argv)
{
        struct manager m = {.options = options, .argc = argc, .argv = argv};
        int code = EXIT_FAILURE;

        log_set_level(options->level);
        signal(SIGPIPE, SIG_IGN);
        m.loop = loop_new();
        if (open_all(&m) < 0) {
                log_error("%s", m.err.text);
        } else {
                loop_run(m.loop);
                code = driver_exit_code(m.driver);
        }
        driver_close(m.driver);
        gate_free(m.gate);
        db_close(m.db);
        store_free(m.store);
        loop_free(m.loop);
        explicit_bzero(&m.node_keys, sizeof(m.node_keys));
        explicit_bzero(&m.cluster_keys, sizeof(m.cluster_keys));
        return code;
}
