/* The leader's face: see front.h. */
#include "manager/front.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "shared/base/log.h"
#include "shared/base/map.h"
#include "shared/base/mem.h"
#include "shared/wire/wire.h"

#define SESSION_MAX   64
#define TOO_MANY_WAIT "manager: too many requests are waiting"

/* Where a node's messages go: the connection that it has registered on, or first spoke on. */
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

struct front {
        struct front_config config;
        struct turn *turn; /* NULL: this manager does not lead */
        struct store *store;
        struct blobs *blobs;
        struct copies *copies;
        struct gate *gate;
        struct map routes, clients;
        struct wire_arena arena;
};

/* --- clients ------------------------------------------------------------------------------------
 */
static void send_response(struct front *f, uint64_t connection, const Swarm__Response *r)
{
        _cleanup_buf_ struct buf b = {0};

        WIRE_PACK(r, &b);
        int e = relay_send(f->config.relay, connection, b.data, b.len);
        if (e < 0)
                log_debug("response lost connection=%llu: %s", (unsigned long long)connection,
                          err_name(e));
}

static void answer_error(struct front *f, uint64_t connection, uint64_t number, int code,
                         const char *text)
{
        Swarm__Response r = SWARM__RESPONSE__INIT;

        r.number = number;
        r.code = (uint32_t)code;
        r.error = (char *)(uintptr_t)text;
        send_response(f, connection, &r);
}

static const Swarm__Request *unpack_request(struct front *f, const uint8_t *p, size_t n)
{
        wire_arena_reset(&f->arena);
        return wire_unpack(&f->arena, &swarm__request__descriptor, p, n);
}

/* The control protocol over tcp is for managers: their key stands for the socket file. */
static bool may_control(struct front *f, const struct relay_sender *from)
{
        if (from->is_local)
                return true;
        struct node *node = store_find_node(f->store, gate_node(f->gate, from->key));
        return node && node->role == ROLE_MANAGER;
}

static void note_client(struct front *f, uint64_t connection)
{
        if (map_get_u64(&f->clients, connection))
                return;
        struct client *c = xnew(struct client);

        c->connection = connection;
        map_put(&f->clients, c);
}

static bool is_for_turn(int kind)
{
        return kind != SWARM__REQUEST__KIND_BLOB_STAT && kind != SWARM__REQUEST__KIND_BLOB_PUT &&
               kind != SWARM__REQUEST__KIND_IMAGE_CREATE && kind != SWARM__REQUEST__KIND_BLOB_GET &&
               kind != SWARM__REQUEST__KIND_BACKUP_GET;
}

/* True: it waits until other managers have its blobs, or was refused. */
static bool take_image_create(struct front *f, uint64_t connection, const Swarm__Request *q,
                              const uint8_t *p, size_t n)
{
        struct err err = {0};
        int r = blobs_check_image(f->blobs, q->image_create, &err);

        if (r == 0)
                r = copies_place(f->copies, connection, q->image_create->image, p, n,
                                 time_now().mono_ms, &err);
        if (r < 0)
                answer_error(f, connection, q->number, -r, err.text);
        return r <= 0;
}

/* Requests about bytes of images, or of a backup. True: answered, or will be; else it goes to the
 * turn. */
static bool take_bytes_request(struct front *f, uint64_t connection, const uint8_t *p, size_t n)
{
        if (is_for_turn(wire_peek_kind(&swarm__request__descriptor, p, n)))
                return false;
        const Swarm__Request *q = unpack_request(f, p, n);
        if (!q)
                return false;
        if (q->kind_case == SWARM__REQUEST__KIND_BACKUP_GET) {
                backups_on_get(f->config.backups, connection, q->number, q->backup_get);
                return true;
        }
        if (blobs_on_request(f->blobs, connection, q))
                return true;
        return q->kind_case == SWARM__REQUEST__KIND_IMAGE_CREATE &&
               take_image_create(f, connection, q, p, n);
}

static void on_control(struct front *f, const struct relay_sender *from, const uint8_t *p, size_t n)
{
        const Swarm__Request *q;
        int refusal = 0;

        if (!may_control(f, from))
                refusal = EACCES;
        else if (!take_bytes_request(f, from->number, p, n))
                refusal = -turn_input_client(
                        f->turn,
                        (struct peer){.connection = from->number, .manager = from->manager}, p, n);
        note_client(f, from->number);
        if (refusal == 0)
                return;
        q = refusal == EBADMSG ? NULL : unpack_request(f, p, n);
        if (!q) /* bytes that are no request: there is nobody to answer */
                relay_drop(f->config.relay, from->number);
        else
                answer_error(f, from->number, q->number, refusal,
                             refusal == EACCES ? "control: this node's key is not a manager's"
                                               : TOO_MANY_WAIT);
}

void front_on_placed(struct front *f, uint64_t connection, const struct buf *request,
                     const struct err *placing)
{
        const Swarm__Request *q = f->turn ? unpack_request(f, request->data, request->len) : NULL;
        struct err err = {0};
        int r;

        if (!q)
                return;
        if (placing)
                err = *placing;
        r = placing ? -err.code : blobs_check_image(f->blobs, q->image_create, &err);
        if (r == 0) {
                /* Where the client is connected does not matter for an image. */
                struct peer from = {.connection = connection};

                r = turn_input_client(f->turn, from, request->data, request->len);
                if (r < 0)
                        err_set(&err, -r, TOO_MANY_WAIT);
        }
        if (r < 0)
                answer_error(f, connection, q->number, -r, err.text);
}

/* --- agents -------------------------------------------------------------------------------------
 */
static struct route *add_route(struct front *f, struct id node, uint64_t connection)
{
        struct route *r = xnew(struct route);

        r->node = node;
        r->connection = connection;
        map_put(&f->routes, r);
        return r;
}

/* The connection is the node's; any will do for one that has none yet. NULL: it is not, and only
 * a Register is heard on it. */
static struct route *find_route(struct front *f, struct id node, uint64_t connection)
{
        struct route *r = map_get_id(&f->routes, node);

        if (!r)
                r = add_route(f, node, connection);
        return r->connection == connection ? r : NULL;
}

/* It has registered. An agent has one connection: what waits in its older one would be read by
 * nobody. */
static void set_route(struct front *f, struct id node, uint64_t connection)
{
        struct route *r = map_get_id(&f->routes, node);

        if (!r)
                r = add_route(f, node, connection);
        if (r->connection != connection)
                relay_drop(f->config.relay, r->connection);
        r->connection = connection;
        r->is_lost = false;
}

/* A message to or from an agent. What it said is not known any more, so all is said anew. */
static void on_lost(struct front *f, struct route *route, int error)
{
        if (!route || route->is_lost)
                return;
        log_debug("message lost node=%s: %s", ID_S(route->node), err_name(error));
        route->is_lost = true;
        turn_input_agent_lost(f->turn, route->node);
}

/* BlobGet and BlobAck: they never go through the turn. */
static void on_blob_message(struct front *f, struct route *route, const uint8_t *p, size_t n)
{
        wire_arena_reset(&f->arena);
        const Swarm__AgentMessage *m =
                wire_unpack(&f->arena, &swarm__agent_message__descriptor, p, n);

        if (!m || m->session.len > SESSION_MAX)
                return;
        if (m->kind_case == SWARM__AGENT_MESSAGE__KIND_BLOB_ACK) {
                blobs_on_ack(f->blobs, route->connection, m->blob_ack->receipt);
                return;
        }
        if (m->kind_case != SWARM__AGENT_MESSAGE__KIND_BLOB_GET)
                return;
        route->session_len = m->session.len;
        if (m->session.len)
                memcpy(route->session, m->session.data, m->session.len);
        blobs_on_get(f->blobs, route->node, route->connection, m->blob_get);
}

/* A node that was removed while it was away registers, and is told. Whether a Register makes its
 * connection the node's, the turn says; a manager that joins has the key of its machine's agent,
 * and another connection. */
static bool is_for_strangers(int kind)
{
        return kind == SWARM__AGENT_MESSAGE__KIND_JOIN ||
               kind == SWARM__AGENT_MESSAGE__KIND_REGISTER;
}

static void on_agent(struct front *f, const struct relay_sender *from, const uint8_t *p, size_t n)
{
        struct peer peer = {.connection = from->number, .node = gate_node(f->gate, from->key)};
        bool is_known = !id_is_zero(peer.node);
        int kind = wire_peek_kind(&swarm__agent_message__descriptor, p, n);
        bool is_routed = is_known && !is_for_strangers(kind);

        if (kind <= 0 || (!is_known && !is_for_strangers(kind)))
                return;
        struct route *route = is_routed ? find_route(f, peer.node, from->number) : NULL;
        if (is_routed && !route)
                return; /* say, the last words of a connection that the agent has left */
        if (kind == SWARM__AGENT_MESSAGE__KIND_BLOB_GET ||
            kind == SWARM__AGENT_MESSAGE__KIND_BLOB_ACK) {
                on_blob_message(f, route, p, n);
                return;
        }
        int r = turn_input_agent(f->turn, peer, from->key, p, n);
        if (r < 0)
                on_lost(f, route, r);
}

void front_on_input(struct front *f, const struct relay_sender *from, const uint8_t *p, size_t n)
{
        if (relay_is_request(p, n))
                on_control(f, from, p, n);
        else if (!from->is_local)
                on_agent(f, from, p, n);
}

void front_on_gone(struct front *f, uint64_t connection)
{
        struct client *c = map_get_u64(&f->clients, connection);

        blobs_on_gone(f->blobs, connection);
        if (!c)
                return; /* agents are told apart by their keys: it speaks again from elsewhere */
        map_remove(&f->clients, c);
        free(c);
        copies_drop(f->copies, connection);
        backups_on_client_gone(f->config.backups, connection);
        turn_input_client_gone(f->turn, connection);
}

/* --- images -------------------------------------------------------------------------------------
 */
void front_on_blob_response(struct front *f, uint64_t connection, const Swarm__Response *r)
{
        if (f->turn)
                send_response(f, connection, r);
}

int front_on_blob_data(struct front *f, struct id node, uint64_t connection,
                       const Swarm__BlobData *data)
{
        struct route *route = f->turn ? map_get_id(&f->routes, node) : NULL;
        Swarm__ManagerMessage m = SWARM__MANAGER_MESSAGE__INIT;
        _cleanup_buf_ struct buf b = {0};

        if (!route || route->connection != connection)
                return -ENOTCONN;
        m.session = (ProtobufCBinaryData){route->session_len, route->session};
        m.kind_case = SWARM__MANAGER_MESSAGE__KIND_BLOB_DATA;
        m.blob_data = (Swarm__BlobData *)(uintptr_t)data;
        WIRE_PACK(&m, &b);
        return relay_send(f->config.relay, connection, b.data, b.len);
}

/* --- effects ------------------------------------------------------------------------------------
 */
static void forget_key(struct front *f, const struct effect *e)
{
        struct route *route = map_get_id(&f->routes, e->peer.node);

        gate_forget(f->gate, e->key);
        f->config.forget_key(f->config.arg, e->key);
        if (route) {
                map_remove(&f->routes, route);
                free(route);
        }
}

static void perform(struct front *f, const struct effect *e)
{
        uint64_t connection = e->peer.connection;
        struct route *route = NULL;

        switch (e->kind) {
        case EFFECT_AGENT:
                route = map_get_id(&f->routes, e->peer.node);
                if (!route)
                        return;
                connection = route->connection;
                break;
        case EFFECT_CLIENT:
        case EFFECT_UNKNOWN_AGENT: break;
        case EFFECT_ROUTE: set_route(f, e->peer.node, connection); return;
        case EFFECT_ALLOW_KEY: gate_allow(f->gate, e->key, e->peer.node); return;
        case EFFECT_FORGET_KEY: forget_key(f, e); return;
        case EFFECT_BLOB_RELEASE: blobs_release(f->blobs, e->text); return;
        }
        int r = relay_send(f->config.relay, connection, e->bytes.data, e->bytes.len);
        if (r < 0 && route)
                on_lost(f, route, r);
        else if (r < 0)
                log_debug("message lost connection=%llu: %s", (unsigned long long)connection,
                          err_name(r));
}

void front_release(struct front *f, struct list *effects)
{
        struct effect *e;

        LIST_FOREACH (e, effects, link)
                if (f->turn)
                        perform(f, e);
        effects_free(effects);
}

/* --- leading ------------------------------------------------------------------------------------
 */
void front_begin(struct front *f, const struct front_lead *lead)
{
        f->turn = lead->turn;
        f->store = lead->store;
        f->blobs = lead->blobs;
        f->copies = lead->copies;
        f->gate = gate_new(lead->store);
}

static void free_all(struct map *m)
{
        void *item;
        size_t i;

        MAP_FOREACH (item, i, m)
                free(item);
        map_done(m);
}

static void empty(struct front *f)
{
        f->routes = MAP_INIT(struct route, node, MAP_KEY_ID);
        f->clients = MAP_INIT(struct client, connection, MAP_KEY_U64);
}

void front_end(struct front *f)
{
        struct route *route;
        struct client *c;
        size_t i;

        if (!f->turn)
                return;
        copies_drop(f->copies, 0);
        MAP_FOREACH (c, i, &f->clients) {
                blobs_on_gone(f->blobs, c->connection);
                backups_on_client_gone(f->config.backups, c->connection);
        }
        MAP_FOREACH (route, i, &f->routes)
                blobs_on_gone(f->blobs, route->connection);
        free_all(&f->routes);
        free_all(&f->clients);
        empty(f);
        gate_free(f->gate);
        f->gate = NULL;
        f->turn = NULL;
        f->store = NULL;
}

struct front *front_new(const struct front_config *c)
{
        struct front *f = xnew(struct front);

        f->config = *c;
        empty(f);
        return f;
}

void front_free(struct front *f)
{
        if (!f)
                return;
        front_end(f);
        wire_arena_done(&f->arena);
        free(f);
}
