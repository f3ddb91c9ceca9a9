/*
 * The server's side of net: a ROUTER for the tcp endpoints and one for the ipc ones, each with its
 * monitor. See net.h.
 *
 * No peer chooses its routing id: each connection has the one that ZeroMQ made for it, and a peer
 * that brings its own is dropped. So nobody can take over the way to another (as with
 * ZMQ_ROUTER_HANDOVER), nobody is locked out after a broken link (as without it), and a node that
 * comes again simply has one more connection: the newest is the one that counts above.
 *
 * That a connection is gone is learnt from the monitor, which names descriptors: each message tells
 * the descriptor it came in on. Descriptors are used again, so what is read is kept in order:
 * monitor first, then the messages that were there, then who is gone.
 *
 * What arrives at one time wakes each I/O thread that has a part in it: so a few connections are
 * all one thread's, and only a crowd has two. Then both listen at the same socket, and whichever
 * has time accepts.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>
#include <zmq.h>

#include "shared/base/buf.h"
#include "shared/base/log.h"
#include "shared/base/map.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/model/model.h"
#include "shared/net/net_internal.h"

#define TCP_BACKLOG  4096
#define HANDSHAKE_MS 10000
#define LOOK_MS      50
#define LOOKS_MAX    20 /* at one who was said to be gone */
#define IO_THREADS   2  /* handshakes of a crowd cost 2 ms of CPU each */
#define CROWD        64 /* connections that one of them serves; beyond, the other accepts as well */
#define ROUTE_BYTES  5  /* a zero and four bytes: the ids that ZeroMQ gives */

enum { PORT_TCP, PORT_IPC, PORT_COUNT };

struct connection {
        struct net_sender sender;
        uint64_t route; /* of both ports: unique in by_route */
        uint64_t fd;
        uint64_t cookie; /* of the socket that was at fd; 0: it was gone already */
        bool is_refused;
        unsigned messages; /* while nobody knows whose key it is */
};

/* ZeroMQ names a descriptor shortly before it closes it; so who seems to be there is looked at
 * again for a while. */
struct suspect {
        int fd, looks;
};

struct port {
        struct net_server *server;
        struct net_socket *router, *monitor;
        bool is_local;
        bool is_crowded;      /* both I/O threads accept */
        struct buf listening; /* int: descriptors it listens at; ZeroMQ's */
        struct buf gone;      /* struct suspect: whom the monitor named, not yet looked at */
        struct buf again;     /* those to be looked at once more */
        struct loop_timer *look;
};

struct net_server {
        struct list link; /* net.servers */
        struct net *net;
        struct net_server_config config;
        struct port ports[PORT_COUNT];
        char domain[24];
        char **endpoints; /* as bound */
        struct map by_number, by_route, by_fd;
};

struct net_server *net_find_server(struct net *n, const char *domain)
{
        struct net_server *s;

        LIST_FOREACH (s, &n->servers, link)
                if (str_is_equal(s->domain, domain))
                        return s;
        return NULL;
}

bool net_server_accepts(struct net_server *s, const uint8_t key[NET_KEY_BYTES])
{
        struct id node = {0};

        return s->config.accept(s->config.arg, key, &node);
}

/* --- connections -------------------------------------------------------------------------------*/
static uint64_t route_of(const struct port *port, const uint8_t *id)
{
        return (uint64_t)port->is_local << 32 | (uint64_t)id[1] << 24 | (uint64_t)id[2] << 16 |
               (uint64_t)id[3] << 8 | id[4];
}

static void route_encode(uint64_t route, uint8_t ret[ROUTE_BYTES])
{
        ret[0] = 0;
        for (int i = 1; i < ROUTE_BYTES; i++)
                ret[i] = (uint8_t)(route >> (8 * (ROUTE_BYTES - 1 - i)));
}

static void forget(struct net_server *s, struct connection *c)
{
        map_remove(&s->by_number, c);
        map_remove(&s->by_route, c);
        if (map_get_u64(&s->by_fd, c->fd) == c)
                map_remove(&s->by_fd, c);
        free(c);
}

/* The callback may close the server: nothing of it is touched after. */
static void forget_and_tell(struct net_server *s, struct connection *c)
{
        uint64_t number = c->sender.connection;

        forget(s, c);
        if (s->config.on_gone)
                s->config.on_gone(s->config.arg, number);
}

static struct connection *add_connection(struct port *port, uint64_t route, const uint8_t *key)
{
        struct net_server *s = port->server;
        struct connection *c = xnew(struct connection);

        c->sender.connection = ++s->net->last_connection;
        c->sender.is_local = port->is_local;
        if (key)
                memcpy(c->sender.key, key, NET_KEY_BYTES);
        c->route = route;
        c->fd = UINT64_MAX;
        map_put(&s->by_number, c);
        map_put(&s->by_route, c);
        return c;
}

/* Whose the connections are that are accepted from what is bound next. */
static void set_io_threads(struct port *port, uint64_t mask)
{
        net_set_bytes(port->router, ZMQ_AFFINITY, &mask, sizeof(mask));
}

/* One of two that are asked at once finds nothing: it must not wait for the next. -errno: this
 * endpoint stays with one thread. */
static int listen_again(struct port *port, int listening)
{
        int fd = fcntl(listening, F_DUPFD_CLOEXEC, 0);
        int r = 0;

        if (fd < 0 || fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0)
                r = -errno;
        net_set_int(port->router, ZMQ_USE_FD, fd);
        if (r == 0 && zmq_bind(port->router->zs, "tcp://127.0.0.1:*")) /* fd says where */
                r = net_error();
        net_set_int(port->router, ZMQ_USE_FD, -1);
        if (r < 0 && fd >= 0)
                close(fd);
        return r;
}

static void let_all_accept(struct port *port)
{
        struct buf fds = port->listening;

        port->is_crowded = true;
        port->listening = (struct buf){0}; /* the monitor tells of these again */
        set_io_threads(port, 2);
        for (size_t i = 0; i < fds.len; i += sizeof(int)) {
                int fd;

                memcpy(&fd, fds.data + i, sizeof(fd));
                int r = listen_again(port, fd);
                if (r < 0)
                        log_warn("one thread alone serves a crowd: %s", zmq_strerror(-r));
        }
        buf_done(&fds);
}

/* The kernel's name for a socket, never used again. 0: the descriptor is none. */
static uint64_t cookie_of(int fd)
{
        uint64_t cookie = 0;
        socklen_t len = sizeof(cookie);

        return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len) ? 0 : cookie;
}

static bool is_unix_socket(int fd)
{
        int domain = 0;
        socklen_t len = sizeof(domain);

        return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_UNIX;
}

/* Who of two had the descriptor first? A port counts its routing ids up, and around. */
static bool is_older(const struct connection *a, const struct connection *b, int fd)
{
        if (a->sender.is_local != b->sender.is_local)
                return a->sender.is_local != is_unix_socket(fd);
        return (int32_t)((uint32_t)a->route - (uint32_t)b->route) < 0;
}

/* Whose descriptor this is from now on; the one who had it before is gone. False: the message is to
 * be dropped: these are last words of one who is gone (was said to be, if it was known), read after
 * the first of the next to have the descriptor; or the server was closed by a callback. */
static bool set_fd(struct net_socket *socket, struct connection *c, int fd)
{
        struct port *port = socket->owner;
        struct net_server *s = port->server;

        if (fd < 0 || c->fd == (uint64_t)fd)
                return true;
        if (map_get_u64(&s->by_fd, c->fd) == c)
                map_remove(&s->by_fd, c);
        struct connection *before = map_get_u64(&s->by_fd, (uint64_t)fd);
        if (before && is_older(c, before, fd)) {
                forget(s, c);
                return false;
        }
        c->fd = (uint64_t)fd;
        c->cookie = cookie_of(fd);
        if (before)
                map_remove(&s->by_fd, before);
        map_put(&s->by_fd, c);
        if (before)
                forget_and_tell(s, before);
        return socket->zs != NULL;
}

/* ZeroMQ has no call for it, so the descriptor that it uses is shut. It may be another's by now,
 * and is left alone if it is; a moment later it hits somebody else, who connects again. */
void net_drop(struct net_server *s, uint64_t connection)
{
        struct connection *c = map_get_u64(&s->by_number, connection);

        if (c && !c->sender.is_local && c->cookie && c->cookie == cookie_of((int)c->fd))
                shutdown((int)c->fd, SHUT_RDWR);
}

/* Asked until the node is known: a Join may have made it known meanwhile. A stranger has a few
 * words to say; who says more must connect anew for it, which costs him more than us. */
static bool is_heard(struct port *port, struct connection *c, size_t n)
{
        struct net_server *s = port->server;

        if (c->is_refused)
                return false;
        if (port->is_local || !id_is_zero(c->sender.node))
                return true;
        c->is_refused = !s->config.accept(s->config.arg, c->sender.key, &c->sender.node);
        if (c->is_refused || !id_is_zero(c->sender.node))
                return !c->is_refused;
        c->is_refused = ++c->messages > NET_STRANGER_MESSAGES || n > NET_STRANGER_BYTES;
        if (c->is_refused)
                net_drop(s, c->sender.connection);
        return !c->is_refused;
}

/* The connection that a message is of, made on its first. NULL: drop the message. */
static struct connection *find_connection(struct net_socket *socket, uint64_t route, zmq_msg_t *m)
{
        struct port *port = socket->owner;
        struct net_server *s = port->server;
        struct connection *c = map_get_u64(&s->by_route, route);
        uint8_t key[NET_KEY_BYTES];

        if (!port->is_local && net_user_id_parse(zmq_msg_gets(m, "User-Id"), key))
                return NULL;
        if (c && !port->is_local && memcmp(key, c->sender.key, NET_KEY_BYTES)) {
                /* Another peer under a routing id that came round again. */
                forget_and_tell(s, c);
                if (!socket->zs)
                        return NULL;
                c = NULL;
        }
        if (!c)
                c = add_connection(port, route, port->is_local ? NULL : key);
        if (!port->is_local && !port->is_crowded && s->by_number.len > CROWD)
                let_all_accept(port);
        if (!set_fd(socket, c, zmq_msg_get(m, ZMQ_SRCFD)))
                return NULL;
        return is_heard(port, c, zmq_msg_size(m)) ? c : NULL;
}

/* --- reading -----------------------------------------------------------------------------------*/
/* Reads one whole message: the routing id, and the payload into m. 1: a good one; 0: one that is to
 * be dropped; -EAGAIN: none. */
static int read_message(struct port *port, uint64_t *ret_route, zmq_msg_t *m)
{
        void *zs = port->router->zs;
        zmq_msg_t id;
        bool is_good;
        int count = 1;

        zmq_msg_init(&id);
        if (zmq_msg_recv(&id, zs, ZMQ_DONTWAIT) < 0) {
                zmq_msg_close(&id);
                return net_error();
        }
        const uint8_t *bytes = zmq_msg_data(&id);
        is_good = zmq_msg_size(&id) == ROUTE_BYTES && bytes[0] == 0;
        if (is_good)
                *ret_route = route_of(port, bytes);
        int more = zmq_msg_more(&id);
        zmq_msg_close(&id);
        for (; more; count++) {
                if (zmq_msg_recv(m, zs, ZMQ_DONTWAIT) < 0)
                        return 0;
                more = zmq_msg_more(m);
        }
        return is_good && count == 2 && zmq_msg_size(m) <= MESSAGE_BYTES_MAX;
}

/* The monitor may tell of an earlier user of the descriptor, even of one that never sent a message:
 * whoever has it now is asked himself, if it is still the one. */
static bool is_connected(const struct connection *c)
{
        int fd = (int)c->fd;
        char byte;

        if (cookie_of(fd) != c->cookie)
                return false;
        ssize_t n = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
        return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

/* Those whom the monitor named and whose last messages are read. */
static void tell_gone(struct net_socket *socket)
{
        struct port *port = socket->owner;
        struct buf gone = port->gone;

        port->gone = (struct buf){0};
        for (size_t i = 0; i < gone.len && socket->zs; i += sizeof(struct suspect)) {
                struct net_server *s = port->server;
                struct suspect it;

                memcpy(&it, gone.data + i, sizeof(it));
                struct connection *c = map_get_u64(&s->by_fd, (uint64_t)it.fd);
                if (c && !is_connected(c)) {
                        forget_and_tell(s, c);
                } else if (c && ++it.looks < LOOKS_MAX) {
                        buf_append(&port->again, &it, sizeof(it));
                        loop_timer_set(port->look, LOOK_MS);
                }
        }
        buf_done(&gone);
}

static void on_readable(struct net_socket *socket)
{
        for (int i = 0; i < READ_BUDGET && socket->zs; i++) {
                struct port *port = socket->owner;
                struct connection *c = NULL;
                uint64_t route = 0;
                zmq_msg_t m;

                zmq_msg_init(&m);
                int r = read_message(port, &route, &m);
                if (r > 0)
                        c = find_connection(socket, route, &m);
                if (c) {
                        struct net_sender from = c->sender;
                        const struct net_server_config *config = &port->server->config;

                        config->on_message(config->arg, &from, zmq_msg_data(&m), zmq_msg_size(&m));
                }
                zmq_msg_close(&m);
                if (r < 0) {
                        tell_gone(socket);
                        return;
                }
        }
}

static void on_look(void *arg)
{
        struct port *port = arg;

        buf_append(&port->gone, port->again.data, port->again.len);
        buf_clear(&port->again);
        net_read(port->router);
}

static void on_monitor(struct net_socket *socket)
{
        struct port *port = socket->owner;

        for (int i = 0; i < READ_BUDGET; i++) {
                int event, fd;

                if (net_read_event(socket, &event, &fd) < 0)
                        return;
                if (event == ZMQ_EVENT_LISTENING) {
                        buf_append(&port->listening, &fd, sizeof(fd));
                        continue;
                }
                struct suspect it = {.fd = fd};
                buf_append(&port->gone, &it, sizeof(it));
                port->router->touched = true;
        }
}

/* --- opening -----------------------------------------------------------------------------------*/
static int open_monitor(struct port *port)
{
        struct net_server *s = port->server;
        char endpoint[64];

        snprintf(endpoint, sizeof(endpoint), "inproc://monitor.%s.%d", s->domain, port->is_local);
        port->monitor = net_socket_open(s->net, ZMQ_PAIR, on_monitor, port);
        net_set_int(port->monitor, ZMQ_RCVHWM, 0);
        if (zmq_socket_monitor(port->router->zs, endpoint,
                               ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_LISTENING) ||
            zmq_connect(port->monitor->zs, endpoint))
                return net_error();
        return 0;
}

/* The monitor's place in the list must be before the router's. */
static void read_monitor_first(struct port *port)
{
        list_remove(&port->router->link);
        list_push_back(&port->server->net->sockets, &port->router->link);
}

static int open_port(struct net_server *s, bool is_local, const struct net_keys *keys)
{
        struct port *port = &s->ports[is_local ? PORT_IPC : PORT_TCP];
        int r;

        if (port->router)
                return 0;
        if (!is_local) {
                r = net_zap_open(s->net);
                if (r < 0)
                        return r;
        }
        port->server = s;
        port->is_local = is_local;
        port->look = loop_timer_new(s->net->loop, on_look, port);
        port->router = net_socket_open(s->net, ZMQ_ROUTER, on_readable, port);
        net_set_int(port->router, ZMQ_ROUTER_MANDATORY, 1);
        net_set_int(port->router, ZMQ_BACKLOG, TCP_BACKLOG);
        net_set_int(port->router, ZMQ_HANDSHAKE_IVL, HANDSHAKE_MS);
        net_set_message_max(port->router, MESSAGE_BYTES_MAX);
        if (!is_local) {
                set_io_threads(port, 1);
                net_set_bytes(port->router, ZMQ_ZAP_DOMAIN, s->domain, strlen(s->domain));
                net_set_int(port->router, ZMQ_CURVE_SERVER, 1);
                net_set_bytes(port->router, ZMQ_CURVE_SECRETKEY, keys->secret_key, NET_KEY_BYTES);
        }
        r = open_monitor(port);
        read_monitor_first(port);
        return r;
}

static int bind_one(struct net_server *s, const char *endpoint, const struct net_keys *keys)
{
        bool is_local = str_has_prefix(endpoint, "ipc://");
        char bound[NET_ENDPOINT_MAX];
        size_t len = sizeof(bound);
        int r = open_port(s, is_local, keys);
        struct net_socket *router = s->ports[is_local ? PORT_IPC : PORT_TCP].router;
        mode_t mode = s->config.ipc_mode ? s->config.ipc_mode : 0600;

        if (r < 0)
                return r;
        if (!is_local)
                net_set_tcp(router, endpoint);
        /* The socket file has its permissions from birth, not a moment later. */
        mode_t before = is_local ? umask(0777 & ~mode) : 0;
        r = zmq_bind(router->zs, endpoint) ? net_error() : 0;
        if (is_local)
                umask(before);
        if (r < 0)
                return r;
        if (zmq_getsockopt(router->zs, ZMQ_LAST_ENDPOINT, bound, &len))
                return net_error();
        strv_push(&s->endpoints, bound);
        return 0;
}

static struct net_server *server_new(struct net *n, const struct net_server_config *c)
{
        struct net_server *s = xnew(struct net_server);

        s->net = n;
        s->config = *c;
        s->config.endpoints = NULL; /* the caller's, not needed any more; the keys likewise */
        s->config.keys = NULL;
        s->by_number = MAP_INIT(struct connection, sender.connection, MAP_KEY_U64);
        s->by_route = MAP_INIT(struct connection, route, MAP_KEY_U64);
        s->by_fd = MAP_INIT(struct connection, fd, MAP_KEY_U64);
        snprintf(s->domain, sizeof(s->domain), "swarm%llu", (unsigned long long)++n->last_server);
        list_push_back(&n->servers, &s->link);
        return s;
}

int net_listen(struct net *n, const struct net_server_config *c, struct net_server **ret,
               struct err *err)
{
        for (size_t i = 0; c->endpoints[i]; i++) {
                int r = net_check_endpoint(c->endpoints[i], c->keys, err);

                if (r < 0)
                        return r;
        }
        if (list_is_empty(&n->sockets))
                zmq_ctx_set(n->ctx, ZMQ_IO_THREADS, IO_THREADS);
        struct net_server *s = server_new(n, c);
        for (size_t i = 0; c->endpoints[i]; i++) {
                int r = bind_one(s, c->endpoints[i], c->keys);

                if (r < 0) {
                        net_server_close(s);
                        return err_set(err, -r, "listen on %s: %s", c->endpoints[i],
                                       zmq_strerror(-r));
                }
        }
        *ret = s;
        return 0;
}

const char *net_server_endpoint(const struct net_server *s, size_t i)
{
        assert(i < strv_len(s->endpoints));
        return s->endpoints[i];
}

/* --- sending, closing --------------------------------------------------------------------------*/
int net_send(struct net_server *s, uint64_t connection, const uint8_t *p, size_t n)
{
        struct connection *c = map_get_u64(&s->by_number, connection);
        uint8_t route[ROUTE_BYTES];

        if (n > 2 * (size_t)MESSAGE_BYTES_MAX)
                return -EMSGSIZE;
        if (!c || c->is_refused)
                return -EHOSTUNREACH;
        struct net_socket *router = s->ports[c->sender.is_local ? PORT_IPC : PORT_TCP].router;

        route_encode(c->route, route);
        int r = net_send_frame(router, route, sizeof(route), ZMQ_SNDMORE);
        return r < 0 ? r : net_send_frame(router, p, n, 0);
}

void net_forget_key(struct net_server *s, const uint8_t key[NET_KEY_BYTES])
{
        struct connection *c;
        size_t i;

        MAP_FOREACH (c, i, &s->by_number) {
                if (!c->sender.is_local && !memcmp(c->sender.key, key, NET_KEY_BYTES))
                        c->sender.node = (struct id){0};
        }
}

void net_server_close(struct net_server *s)
{
        struct connection *c;
        size_t i;

        if (!s)
                return;
        for (size_t p = 0; p < PORT_COUNT; p++) {
                net_monitored_close(s->ports[p].router, s->ports[p].monitor);
                loop_timer_free(s->ports[p].look);
                buf_done(&s->ports[p].listening);
                buf_done(&s->ports[p].gone);
                buf_done(&s->ports[p].again);
        }
        MAP_FOREACH (c, i, &s->by_number)
                free(c);
        map_done(&s->by_number);
        map_done(&s->by_route);
        map_done(&s->by_fd);
        strv_free(s->endpoints);
        list_remove(&s->link);
        free(s);
}
