/* The agent's line to a manager: see link.h. */
#include "agent/link.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "agent/node_key.h"
#include "shared/base/buf.h"
#include "shared/base/io.h"
#include "shared/base/log.h"
#include "shared/base/mem.h"
#include "shared/base/rng.h"
#include "shared/base/str.h"
#include "shared/identity/identity.h"
#include "shared/model/model.h"
#include "shared/net/net.h"
#include "shared/wire/wire.h"

#define JOIN_RETRY_MS  1000
#define JOIN_TURNS     5 /* unanswered joins before the next manager is tried */
#define MANAGERS_BYTES 65536

struct link {
        struct link_config config;
        struct loop *loop;
        struct net *net;
        struct net_client *client;
        struct loop_timer *timer; /* connect, or join again */
        struct net_keys keys;
        uint8_t cluster_key[NET_KEY_BYTES];
        char key_text[IDENTITY_KEY_TEXT_LEN + 1];
        char secret[IDENTITY_SECRET_TEXT_LEN + 1]; /* "": no token */
        char **managers; /* in an order of this agent's own, but for those of the start */
        size_t turn;     /* which of them is next */
        char *current;   /* the present one, or the last; NULL: none yet */
        struct rng rng;
        int joins; /* sent over this connection, unanswered */
        struct id node;
        bool has_kept;    /* the list is on disk as it is here */
        bool has_manager; /* the data-dir is a manager's as well */
};

/* --- what is kept on disk ------------------------------------------------------------------------
 */
static char *path_of(const struct link *k, const char *name)
{
        return xasprintf("%s/agent/%s", k->config.data_dir, name);
}

static void load_node(struct link *k)
{
        _cleanup_free_ char *path = path_of(k, "node.id");
        _cleanup_buf_ struct buf b = {0};

        if (io_read_file(AT_FDCWD, path, ID_TEXT_MAX, &b) == 0 && b.len >= ID_TEXT_LEN) {
                b.data[ID_TEXT_LEN] = 0;
                if (id_parse(buf_str(&b), &k->node) < 0)
                        log_warn("%s is not an id: joining again", path);
        }
}

static void keep(struct link *k, const char *name, const char *text)
{
        _cleanup_free_ char *path = path_of(k, name);
        int r = io_write_file_atomic(AT_FDCWD, path, text, strlen(text), 0600);

        if (r < 0)
                log_error("cannot write %s error=%s", path, err_name(r));
}

static void load_managers_of(struct link *k, const char *path)
{
        _cleanup_buf_ struct buf b = {0};

        if (io_read_file(AT_FDCWD, path, MANAGERS_BYTES, &b) < 0)
                return;
        _cleanup_strv_ char **lines = str_split(buf_str(&b), '\n');
        for (size_t i = 0; lines[i] && strv_len(k->managers) < LINK_MANAGERS_MAX; i++)
                if (*lines[i] && !strv_has(k->managers, lines[i]))
                        strv_push(&k->managers, lines[i]);
}

/* As told, as kept, and the manager of this data-dir, whose node we then are. */
static void load_managers(struct link *k)
{
        _cleanup_free_ char *kept = path_of(k, "managers");
        _cleanup_free_ char *local = xasprintf("%s/manager/address", k->config.data_dir);

        if (k->config.join)
                strv_push(&k->managers, k->config.join);
        k->has_manager = access(local, F_OK) == 0;
        load_managers_of(k, local);
        load_managers_of(k, kept);
}

/* The cluster's key: of the token, or as kept. They must agree. */
static int load_cluster_key(struct link *k, struct err *err)
{
        struct join_token token;
        struct err ignored = {0};
        int r = identity_read_cluster_key(k->config.data_dir, k->cluster_key, &ignored);
        bool is_kept = r == 0;

        if (r < 0 && r != -ENOENT)
                return err_set(err, -r, "%s", ignored.text);
        if (!k->config.token)
                return is_kept ? 0 : err_set(err, EINVAL, "--token is needed at the first start");
        r = join_token_parse(k->config.token, &token, err);
        if (r < 0)
                return r;
        if (is_kept && memcmp(token.cluster_key, k->cluster_key, NET_KEY_BYTES) != 0)
                return err_set(err, EINVAL, "--token: is of another cluster than %s",
                               k->config.data_dir);
        memcpy(k->cluster_key, token.cluster_key, NET_KEY_BYTES);
        memcpy(k->secret, token.secret, sizeof(k->secret));
        return is_kept ? 0 : identity_write_cluster_key(k->config.data_dir, k->cluster_key, err);
}

/* --- joining -------------------------------------------------------------------------------------
 */
static void send_join(struct link *k)
{
        Swarm__Join join = SWARM__JOIN__INIT;
        Swarm__AgentMessage m = SWARM__AGENT_MESSAGE__INIT;
        _cleanup_buf_ struct buf b = {0};

        join.secret = k->secret;
        join.description = (Swarm__NodeDescription *)(uintptr_t)k->config.description;
        join.role = ROLE_WORKER;
        m.kind_case = SWARM__AGENT_MESSAGE__KIND_JOIN;
        m.join = &join;
        WIRE_PACK(&m, &b);
        link_send(k, b.data, b.len);
        loop_timer_set(k->timer, JOIN_RETRY_MS);
}

static void on_joined(struct link *k, const Swarm__Joined *m)
{
        if (wire_get_id(&m->node_id, &k->node) < 0)
                return;
        keep(k, "node.id", ID_S(k->node));
        log_info("joined the cluster node=%s", ID_S(k->node));
        loop_timer_clear(k->timer);
        k->config.on_connected(k->config.arg);
}

static void on_message(void *arg, const uint8_t *p, size_t n)
{
        struct link *k = arg;
        _cleanup_arena_ struct wire_arena arena = {0};

        if (!id_is_zero(k->node)) {
                k->config.on_message(k->config.arg, p, n);
                return;
        }
        Swarm__ManagerMessage *m = wire_unpack(&arena, &swarm__manager_message__descriptor, p, n);
        if (m && m->kind_case == SWARM__MANAGER_MESSAGE__KIND_JOINED)
                on_joined(k, m->joined);
        else if (m && m->kind_case == SWARM__MANAGER_MESSAGE__KIND_REFUSED)
                k->config.on_refused(k->config.arg, m->refused);
}

/* --- connecting ----------------------------------------------------------------------------------
 */
/* The connection is of no use. Others have lost theirs at the same moment. */
static void move(struct link *k)
{
        net_client_close(k->client);
        k->client = NULL;
        loop_timer_set(k->timer, (int64_t)rng_below(&k->rng, LINK_MOVE_MS));
        k->config.on_broken(k->config.arg);
}

static void on_broken(void *arg)
{
        struct link *k = arg;

        log_debug("the connection broke manager=%s", k->current);
        move(k);
}

/* The only manager that is known is tried again by the connection itself. */
static void on_unreachable(void *arg)
{
        struct link *k = arg;

        log_debug("nobody listens manager=%s", k->current);
        if (strv_len(k->managers) > 1)
                move(k);
}

/* The next one, but not the present one again if there is another. */
static const char *choose(struct link *k)
{
        size_t n = strv_len(k->managers);
        const char *next = k->managers[k->turn++ % n];

        if (n > 1 && k->current && str_is_equal(next, k->current))
                next = k->managers[k->turn++ % n];
        free(k->current);
        k->current = xstrdup(next);
        return k->current;
}

static void connect_next(struct link *k)
{
        const char *manager = choose(k);
        _cleanup_free_ char *endpoint = xasprintf("tcp://%s", manager);
        struct net_client_config c = {.endpoint = endpoint,
                                      .keys = &k->keys,
                                      .server_key = k->cluster_key,
                                      .arg = k,
                                      .on_message = on_message,
                                      .on_broken = on_broken,
                                      .on_unreachable = on_unreachable};
        struct err err = {0};

        net_client_close(k->client);
        k->client = NULL;
        k->joins = 0;
        if (net_connect(k->net, &c, &k->client, &err) < 0) {
                log_error("cannot connect manager=%s error=%s", manager, err.text);
                loop_timer_set(k->timer, JOIN_RETRY_MS);
                return;
        }
        log_debug("connecting manager=%s", manager);
        if (id_is_zero(k->node))
                send_join(k);
        else
                k->config.on_connected(k->config.arg);
}

static void on_timer(void *arg)
{
        struct link *k = arg;

        if (!k->client || !id_is_zero(k->node) || k->joins++ == JOIN_TURNS) {
                connect_next(k);
                return;
        }
        if (k->joins == 1)
                log_warn("no answer yet, trying on manager=%s", link_manager(k));
        send_join(k);
}

/* With another key the cluster would take this node for a stranger, and what it runs would be
 * ended: a restore or a mount that is not complete is for a person to look at. */
static int check_key_is_there(const struct link *k, struct err *err)
{
        _cleanup_free_ char *id = path_of(k, "node.id");
        _cleanup_free_ char *key = xasprintf("%s/node.key", k->config.data_dir);

        if (access(id, F_OK) < 0 || access(key, F_OK) == 0)
                return 0;
        return err_set(err, ENOENT,
                       "%s is missing, but this node has joined: put it back, or remove %s to join "
                       "as a new node",
                       key, id);
}

int link_open(struct loop *l, const struct link_config *c, struct link **ret, struct err *err)
{
        struct link *k = xnew(struct link);

        k->config = *c;
        k->loop = l;
        if (getrandom(&k->rng.state, sizeof(k->rng.state), 0) < 0)
                abort();
        int r = check_key_is_there(k, err);
        if (r == 0)
                r = node_key_take(l, c->data_dir, c->on_sealed, c->arg, &k->keys, err);
        if (r == 0)
                r = load_cluster_key(k, err);
        if (r == 0) {
                identity_key_format(k->keys.public_key, k->key_text);
                load_node(k);
                load_managers(k);
                if (!k->managers)
                        r = err_set(err, EINVAL, "--join HOST:PORT is needed at the first start");
                else if (id_is_zero(k->node) && !*k->secret && !k->has_manager)
                        r = err_set(err, EINVAL, "--token is needed: this node has not joined yet");
        }
        if (r < 0) {
                link_close(k);
                return r;
        }
        k->net = net_new(l);
        k->timer = loop_timer_new(l, on_timer, k);
        loop_timer_set(k->timer, 0);
        *ret = k;
        return 0;
}

void link_close(struct link *k)
{
        if (!k)
                return;
        net_client_close(k->client);
        loop_timer_free(k->timer);
        if (k->net)
                net_free(k->net);
        strv_free(k->managers);
        free(k->current);
        free(k);
}

int link_send(struct link *k, const uint8_t *p, size_t n)
{
        int r = k->client ? net_client_send(k->client, p, n) : -EAGAIN;

        if (r < 0)
                log_debug("message not sent bytes=%zu error=%s", n, err_name(r));
        return r;
}

void link_reconnect(struct link *k)
{
        net_client_close(k->client);
        k->client = NULL;
        loop_timer_set(k->timer, 0);
}

void link_leave(struct link *k)
{
        _cleanup_free_ char *path = path_of(k, "node.id");

        k->node = (struct id){0};
        if (unlink(path) < 0 && errno != ENOENT)
                log_error("cannot remove %s error=%s", path, err_name(errno));
}

bool link_join_again(struct link *k)
{
        if (!*k->secret)
                return false;
        link_leave(k);
        link_reconnect(k);
        return true;
}

static void shuffle(struct link *k, char **v)
{
        for (size_t i = strv_len(v); i > 1; i--) {
                size_t j = (size_t)rng_below(&k->rng, i);
                char *other = v[j];

                v[j] = v[i - 1];
                v[i - 1] = other;
        }
}

/* Both without doubles. */
static bool has_same(char **a, char **b)
{
        bool is_same = strv_len(a) == strv_len(b);

        for (size_t i = 0; is_same && a && a[i]; i++)
                is_same = strv_has(b, a[i]);
        return is_same;
}

static void keep_managers(struct link *k)
{
        _cleanup_buf_ struct buf b = {0};

        for (size_t i = 0; k->managers[i]; i++)
                buf_printf(&b, "%s\n", k->managers[i]);
        keep(k, "managers", buf_str(&b));
        k->has_kept = true;
}

void link_set_managers(struct link *k, char *const *managers, size_t n)
{
        char **now = NULL;

        for (size_t i = 0; i < MIN(n, (size_t)LINK_MANAGERS_MAX); i++)
                if (*managers[i] && text_is_valid(managers[i]) && !strv_has(now, managers[i]))
                        strv_push(&now, managers[i]);
        if (!now || (k->has_kept && has_same(now, k->managers))) {
                strv_free(now);
                return;
        }
        shuffle(k, now);
        strv_free(k->managers);
        k->managers = now;
        k->turn = 0;
        keep_managers(k);
}

const char *link_manager(const struct link *k)
{
        return k->current ? k->current : k->managers[0];
}

void link_describe(struct link *k, const Swarm__NodeDescription *d)
{
        k->config.description = d;
}

struct id link_node(const struct link *k)
{
        return k->node;
}

const char *link_key_text(const struct link *k)
{
        return k->key_text;
}
