/* The turn's driver: see driver.h. */
#include "manager/driver.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "manager/consensus/single.h"
#include "shared/base/log.h"
#include "shared/base/map.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/wire/wire.h"

#define CONTROL_KIND_FIRST 10 /* Request.kind: the fields from here on */
#define AGENT_KIND_FIRST   2  /* AgentMessage.kind */
#define SESSION_MAX        64

/* Where a node's messages go: the newest connection that it has spoken on. */
struct route {
        struct id node;
        uint64_t connection;
        bool is_lost;       /* a message was, and that was said; until it registers */
        size_t session_len; /* of its last BlobGet: its answers bear it */
        uint8_t session[SESSION_MAX];
};

struct client {
        uint64_t connection;
};

struct driver {
        struct driver_config config;
        struct net *net;
        struct net_server *server;
        struct consensus *consensus;
        struct blobs *blobs;
        struct turn *turn;
        struct loop_hook *hook;
        struct loop_timer *timer;
        struct map routes, clients;
        struct wire_arena arena;

        int64_t run_at, timer_at; /* mono ms; TIME_NEVER: none */
        struct list effects;      /* that wait for the commit */
        int64_t pending_index;    /* of the entry that is being committed; 0: none */
        bool is_leader, is_ready, is_stopping;
        int exit_code;
};

static void fail(struct driver *d, const char *what, int error)
{
        log_error("%s: %s", what, err_name(error));
        d->exit_code = EXIT_FAILURE;
        loop_stop(d->config.loop);
}

/* --- what comes in ------------------------------------------------------------------------------
 */
static void send_response(void *arg, uint64_t connection, const Swarm__Response *r)
{
        struct driver *d = arg;
        _cleanup_buf_ struct buf b = {0};

        WIRE_PACK(r, &b);
        int e = net_send(d->server, connection, b.data, b.len);
        if (e < 0)
                log_debug("response lost connection=%llu: %s", (unsigned long long)connection,
                          err_name(e));
}

static void answer_error(struct driver *d, uint64_t connection, uint64_t number, int code,
                         const char *text)
{
        Swarm__Response r = SWARM__RESPONSE__INIT;

        r.number = number;
        r.code = (uint32_t)code;
        r.error = (char *)text;
        send_response(d, connection, &r);
}

static const Swarm__Request *unpack_request(struct driver *d, const uint8_t *p, size_t n)
{
        wire_arena_reset(&d->arena);
        return wire_unpack(&d->arena, &swarm__request__descriptor, p, n);
}

/* The control protocol over tcp is for managers: their key stands for the socket file. */
static bool may_control(struct driver *d, const struct net_sender *from)
{
        struct node *node = from->is_local ? NULL : store_find_node(d->config.store, from->node);

        return from->is_local || (node && node->role == ROLE_MANAGER);
}

static void note_client(struct driver *d, uint64_t connection)
{
        if (map_get_u64(&d->clients, connection))
                return;
        struct client *c = xnew(struct client);

        c->connection = connection;
        map_put(&d->clients, c);
}

/* Requests about bytes of images. True: answered, or will be; else it goes to the turn. */
static bool take_image_request(struct driver *d, uint64_t connection, const uint8_t *p, size_t n)
{
        struct err err = {0};
        int kind = wire_peek_kind(p, n, CONTROL_KIND_FIRST);

        if (kind != SWARM__REQUEST__KIND_BLOB_STAT && kind != SWARM__REQUEST__KIND_BLOB_PUT &&
            kind != SWARM__REQUEST__KIND_IMAGE_CREATE && kind != SWARM__REQUEST__KIND_BLOB_GET)
                return false;
        const Swarm__Request *q = unpack_request(d, p, n);
        if (!q)
                return true;
        if (blobs_on_request(d->blobs, connection, q))
                return true;
        if (q->kind_case != SWARM__REQUEST__KIND_IMAGE_CREATE)
                return false;
        int r = blobs_check_image(d->blobs, q->image_create, &err);
        if (r < 0)
                answer_error(d, connection, q->number, -r, err.text);
        return r < 0;
}

static void on_control(struct driver *d, const struct net_sender *from, const uint8_t *p, size_t n)
{
        const Swarm__Request *q;
        int refusal = 0;

        if (!may_control(d, from))
                refusal = EACCES;
        else if (!take_image_request(d, from->connection, p, n))
                refusal = -turn_input_client(d->turn, from->connection, p, n);
        note_client(d, from->connection);
        if (refusal != EACCES && refusal != EAGAIN)
                return; /* taken, or bytes that are no request: no one to answer */
        q = unpack_request(d, p, n);
        if (q)
                answer_error(d, from->connection, q->number, refusal,
                             refusal == EACCES ? "control: this node's key is not a manager's"
                                               : "manager: too many requests are waiting");
}

/* An agent has one connection: what waits in its older one would be read by nobody. NULL: this is
 * the older one. */
static struct route *note_route(struct driver *d, const struct net_sender *from)
{
        struct route *r = map_get_id(&d->routes, from->node);

        if (!r) {
                r = xnew(struct route);
                r->node = from->node;
                map_put(&d->routes, r);
        }
        if (from->connection > r->connection) {
                net_drop(d->server, r->connection);
                r->connection = from->connection;
        }
        return from->connection == r->connection ? r : NULL;
}

/* A message to or from an agent. What it said is not known any more, so all is said anew. */
static void on_lost(struct driver *d, struct route *route, int error)
{
        if (!route || route->is_lost)
                return;
        log_debug("message lost node=%s: %s", ID_S(route->node), err_name(error));
        route->is_lost = true;
        turn_input_agent_lost(d->turn, route->node);
}

/* BlobGet and BlobAck: they never go through the turn. */
static void on_blob_message(struct driver *d, struct route *route, const uint8_t *p, size_t n)
{
        wire_arena_reset(&d->arena);
        const Swarm__AgentMessage *m =
                wire_unpack(&d->arena, &swarm__agent_message__descriptor, p, n);

        if (!m || m->session.len > SESSION_MAX)
                return;
        if (m->kind_case == SWARM__AGENT_MESSAGE__KIND_BLOB_ACK) {
                blobs_on_ack(d->blobs, route->connection, m->blob_ack->receipt);
                return;
        }
        if (m->kind_case != SWARM__AGENT_MESSAGE__KIND_BLOB_GET)
                return;
        route->session_len = m->session.len;
        if (m->session.len)
                memcpy(route->session, m->session.data, m->session.len);
        blobs_on_get(d->blobs, route->node, route->connection, m->blob_get);
}

/* A node that was removed while it was away registers, and is told. */
static bool is_for_strangers(int kind)
{
        return kind == SWARM__AGENT_MESSAGE__KIND_JOIN ||
               kind == SWARM__AGENT_MESSAGE__KIND_REGISTER;
}

static void on_agent(struct driver *d, const struct net_sender *from, const uint8_t *p, size_t n)
{
        struct peer peer = {from->connection, from->node};
        bool is_known = !id_is_zero(from->node);
        int kind = wire_peek_kind(p, n, AGENT_KIND_FIRST);

        if (kind <= 0 || (!is_known && !is_for_strangers(kind)))
                return;
        struct route *route = is_known ? note_route(d, from) : NULL;
        if (is_known && !route)
                return; /* the last words of a connection that the agent has left */
        if (kind == SWARM__AGENT_MESSAGE__KIND_BLOB_GET ||
            kind == SWARM__AGENT_MESSAGE__KIND_BLOB_ACK) {
                on_blob_message(d, route, p, n);
                return;
        }
        if (route && kind == SWARM__AGENT_MESSAGE__KIND_REGISTER)
                route->is_lost = false;
        int r = turn_input_agent(d->turn, peer, from->key, p, n);
        if (r < 0)
                on_lost(d, route, r);
}

/* A Request begins with a number, an AgentMessage never does. */
static bool is_control(const uint8_t *p, size_t n)
{
        return n > 0 && (p[0] & 7) == 0;
}

static void on_message(void *arg, const struct net_sender *from, const uint8_t *p, size_t n)
{
        struct driver *d = arg;

        if (d->is_stopping)
                return;
        if (is_control(p, n))
                on_control(d, from, p, n);
        else if (!from->is_local)
                on_agent(d, from, p, n);
}

static void on_gone(void *arg, uint64_t connection)
{
        struct driver *d = arg;
        struct client *c = map_get_u64(&d->clients, connection);

        blobs_on_gone(d->blobs, connection);
        if (!c)
                return;
        map_remove(&d->clients, c);
        free(c);
        turn_input_client_gone(d->turn, connection);
}

static bool on_accept(void *arg, const uint8_t key[NET_KEY_BYTES], struct id *ret_node)
{
        struct driver *d = arg;

        *ret_node = gate_node(d->config.gate, key);
        return true; /* a stranger: the turn says what it may do */
}

/* --- images -------------------------------------------------------------------------------------
 */
static bool is_blob_used(void *arg, const char *digest)
{
        struct driver *d = arg;
        struct image *image;
        size_t i;

        MAP_FOREACH (image, i, store_images(d->config.store)) {
                if (str_is_equal(image->id, digest))
                        return true;
                for (size_t j = 0; j < image->msg->n_layers; j++)
                        if (str_is_equal(image->msg->layers[j]->digest, digest))
                                return true;
        }
        return false;
}

static int send_blob_data(void *arg, struct id node, uint64_t connection,
                          const Swarm__BlobData *data)
{
        struct driver *d = arg;
        struct route *route = map_get_id(&d->routes, node);
        Swarm__ManagerMessage m = SWARM__MANAGER_MESSAGE__INIT;
        _cleanup_buf_ struct buf b = {0};

        if (!route || route->connection != connection)
                return -ENOTCONN;
        m.session = (ProtobufCBinaryData){route->session_len, route->session};
        m.kind_case = SWARM__MANAGER_MESSAGE__KIND_BLOB_DATA;
        m.blob_data = (Swarm__BlobData *)data;
        WIRE_PACK(&m, &b);
        return net_send(d->server, connection, b.data, b.len);
}

/* --- effects ------------------------------------------------------------------------------------
 */
static void forget_key(struct driver *d, const struct effect *e)
{
        struct route *route = map_get_id(&d->routes, e->peer.node);

        gate_forget(d->config.gate, e->key);
        net_forget_key(d->server, e->key);
        if (route) {
                map_remove(&d->routes, route);
                free(route);
        }
}

static void perform(struct driver *d, const struct effect *e)
{
        uint64_t connection = e->peer.connection;
        struct route *route = NULL;

        switch (e->kind) {
        case EFFECT_AGENT:
                route = map_get_id(&d->routes, e->peer.node);
                if (!route)
                        return;
                connection = route->connection;
                break;
        case EFFECT_CLIENT:
        case EFFECT_UNKNOWN_AGENT: break;
        case EFFECT_ALLOW_KEY: gate_allow(d->config.gate, e->key, e->peer.node); return;
        case EFFECT_FORGET_KEY: forget_key(d, e); return;
        case EFFECT_BLOB_RELEASE: blobs_release(d->blobs, e->text); return;
        }
        int r = net_send(d->server, connection, e->bytes.data, e->bytes.len);
        if (r < 0 && route)
                on_lost(d, route, r);
        else if (r < 0)
                log_debug("message lost connection=%llu: %s", (unsigned long long)connection,
                          err_name(r));
}

static void release(struct driver *d, struct list *effects)
{
        struct effect *e;

        LIST_FOREACH (e, effects, link)
                perform(d, e);
        effects_free(effects);
}

/* --- the turn -----------------------------------------------------------------------------------
 */
static void settle(struct driver *d)
{
        if (d->is_ready)
                return;
        d->is_ready = true;
        d->config.on_ready(d->config.arg);
}

static void on_commit(void *arg, uint64_t index)
{
        struct driver *d = arg;
        struct list effects;

        if (!d->pending_index || index < (uint64_t)d->pending_index)
                return;
        d->pending_index = 0;
        turn_set_last_index(d->turn, index);
        list_init(&effects);
        list_splice_back(&effects, &d->effects);
        release(d, &effects);
        settle(d);
}

/* What start-up changed in the store goes out with the first turn, right after the single voter
 * said that it leads: before the database looks at rows for the first time. */
static void on_role(void *arg, enum consensus_role role)
{
        struct driver *d = arg;

        d->is_leader = role == CONSENSUS_LEADER;
}

static void on_failure(void *arg, int error)
{
        fail(arg, "the log cannot be written, nothing more will be committed", error);
}

static void run_turn(struct driver *d, struct now now)
{
        _cleanup_buf_ struct buf entry = {0};
        struct list effects;

        list_init(&effects);
        d->run_at = turn_run(d->turn, now, &effects);
        if (store_take_changes(d->config.store, now.wall_ms, &entry) == 0) {
                release(d, &effects);
                settle(d);
                return;
        }
        list_splice_back(&d->effects, &effects);
        int64_t index = d->consensus->ops->propose(d->consensus, &entry);
        if (index < 0) {
                fail(d, "consensus does not take the entry", (int)-index);
                return;
        }
        d->pending_index = index;
}

static void on_timer(void *arg)
{
        struct driver *d = arg;

        d->timer_at = TIME_NEVER; /* the hook that follows looks at run_at */
}

static void set_timer(struct driver *d, int64_t now_ms)
{
        if (d->timer_at == d->run_at)
                return;
        d->timer_at = d->run_at;
        if (d->run_at == TIME_NEVER)
                loop_timer_clear(d->timer);
        else
                loop_timer_set(d->timer, MAX(d->run_at - now_ms, 0));
}

/* Before the loop sleeps: all that came in this round is heard in one turn. */
static bool before_sleep(void *arg)
{
        struct driver *d = arg;
        struct now now;

        if (d->pending_index || d->exit_code)
                return false;
        if (d->is_stopping) {
                loop_stop(d->config.loop);
                return false;
        }
        if (!d->is_leader)
                return false;
        now = time_now();
        if (turn_has_inputs(d->turn) || d->run_at <= now.mono_ms)
                run_turn(d, now);
        if (d->pending_index || d->exit_code)
                return false;
        if (d->run_at <= now.mono_ms || turn_has_inputs(d->turn))
                return true;
        set_timer(d, now.mono_ms);
        return false;
}

/* --- opening and closing ------------------------------------------------------------------------
 */
static int open_parts(struct driver *d, struct err *err)
{
        const struct driver_config *c = &d->config;
        struct consensus_events events = {d, on_commit, on_role, on_failure};
        struct blobs_config blobs = {c->blob_dir, d, is_blob_used, send_response, send_blob_data};
        struct net_server_config server = {
                .endpoints = c->endpoints,
                .keys = c->cluster_keys,
                .arg = d,
                .accept = on_accept,
                .on_message = on_message,
                .on_gone = on_gone,
        };
        int r = net_listen(d->net, &server, &d->server, err);

        if (r < 0)
                return r;
        r = blobs_open(c->loop, &blobs, &d->blobs, err);
        if (r < 0)
                return r;
        d->consensus = consensus_single_new(c->loop, c->db, &events);
        return 0;
}

int driver_open(const struct driver_config *c, struct driver **ret, struct err *err)
{
        struct driver *d = xnew(struct driver);
        struct now now = time_now();

        d->config = *c;
        d->routes = MAP_INIT(struct route, node, MAP_KEY_ID);
        d->clients = MAP_INIT(struct client, connection, MAP_KEY_U64);
        list_init(&d->effects);
        d->run_at = now.mono_ms;
        d->timer_at = TIME_NEVER;
        d->timer = loop_timer_new(c->loop, on_timer, d);
        d->net = net_new(c->loop);
        d->turn = turn_new(c->store, c->turn, now);
        int r = open_parts(d, err);
        if (r < 0) {
                driver_close(d);
                return r;
        }
        d->hook = loop_hook_new(c->loop, before_sleep, NULL, d);
        *ret = d;
        return 0;
}

void driver_stop(struct driver *d)
{
        d->is_stopping = true;
}

int driver_exit_code(const struct driver *d)
{
        return d->exit_code;
}

void driver_close(struct driver *d)
{
        void *item;
        size_t i;

        if (!d)
                return;
        loop_hook_free(d->hook);
        loop_timer_free(d->timer);
        if (d->consensus)
                d->consensus->ops->close(d->consensus);
        blobs_close(d->blobs);
        net_server_close(d->server);
        net_free(d->net);
        effects_free(&d->effects);
        turn_free(d->turn);
        MAP_FOREACH (item, i, &d->routes)
                free(item);
        MAP_FOREACH (item, i, &d->clients)
                free(item);
        map_done(&d->routes);
        map_done(&d->clients);
        wire_arena_done(&d->arena);
        free(d);
}
