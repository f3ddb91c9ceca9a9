/* The client's side of net: one DEALER. See net.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <zmq.h>

#include "shared/base/log.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/model/model.h"
#include "shared/net/net_internal.h"

/* ZeroMQ adds a random part to each wait, so that a crowd does not come back at once. */
#define RECONNECT_MS     100
#define RECONNECT_MAX_MS 1000

/* Of clients that are told when they are connected. */
#define CONNECT_MS   3000
#define HANDSHAKE_MS 10000 /* a server with a crowd before it takes its time */
#define HEARTBEAT_MS 1000
#define SILENCE_MS   3000

_Static_assert(HEARTBEAT_MS + SILENCE_MS < NET_VANISHED_MS, "what net.h promises");

struct net_client {
        struct net *net;
        struct net_socket *socket, *monitor; /* no monitor: NULL; neither: before the next try */
        struct net_client_config config;     /* what it points to: here */
        char endpoint[NET_ENDPOINT_MAX];
        struct net_keys keys;
        uint8_t server_key[NET_KEY_BYTES];
        struct loop_timer *retry; /* NULL: ZeroMQ tries again by itself */
        int wait_ms;              /* before the next try */
        bool is_up;
};

static int has_more(const zmq_msg_t *m)
{
        return zmq_msg_more(m);
}

static void on_readable(struct net_socket *s)
{
        bool in_multipart = false;

        for (int i = 0; i < READ_BUDGET && s->zs; i++) {
                struct net_client *c = s->owner;
                zmq_msg_t m;

                zmq_msg_init(&m);
                if (zmq_msg_recv(&m, s->zs, ZMQ_DONTWAIT) < 0) {
                        zmq_msg_close(&m);
                        return;
                }
                /* Messages are one frame: what has more is none of ours. */
                if (!in_multipart && !has_more(&m) &&
                    zmq_msg_size(&m) <= 2 * (size_t)MESSAGE_BYTES_MAX)
                        c->config.on_message(c->config.arg, zmq_msg_data(&m), zmq_msg_size(&m));
                in_multipart = has_more(&m);
                zmq_msg_close(&m);
        }
}

static void close_sockets(struct net_client *c)
{
        net_monitored_close(STEAL_PTR(c->socket), STEAL_PTR(c->monitor));
}

static void try_later(struct net_client *c)
{
        close_sockets(c);
        loop_timer_set(c->retry, c->wait_ms);
        c->wait_ms = MIN(2 * c->wait_ms, RECONNECT_MAX_MS);
}

static void tell_broken(struct net_client *c)
{
        struct net_socket *monitor = c->monitor;
        bool is_told = !c->retry || c->is_up;

        /* What came before the line broke is heard before the news that it did. */
        c->socket->touched = true;
        on_readable(c->socket);
        if (!monitor->zs)
                return;
        c->is_up = false;
        if (c->retry)
                try_later(c);
        if (is_told)
                c->config.on_broken(c->config.arg);
}

static void tell_connected(struct net_client *c)
{
        int events;
        size_t len = sizeof(events);

        /* Makes the socket hear of the connection at once, so that it can be sent to. */
        c->socket->touched = true;
        zmq_getsockopt(c->socket->zs, ZMQ_EVENTS, &events, &len);
        c->is_up = true;
        c->wait_ms = RECONNECT_MS;
        c->config.on_connected(c->config.arg);
}

/* One loss may come as several events and is told once. */
static void on_monitor(struct net_socket *s)
{
        bool is_broken = false;
        int event, fd;

        for (int i = 0; i < READ_BUDGET && s->zs && net_read_event(s, &event, &fd) >= 0; i++) {
                struct net_client *c = s->owner;

                if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED)
                        tell_connected(c);
                else if (event == ZMQ_EVENT_CLOSED && !c->retry)
                        c->config.on_unreachable(c->config.arg);
                else
                        is_broken = true;
        }
        if (is_broken && s->zs)
                tell_broken(s->owner);
}

static int open_monitor(struct net_client *c)
{
        char endpoint[64];
        int events = ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                     ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH;

        if (c->retry)
                events |= ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_CLOSED;
        else if (c->config.on_unreachable)
                events |= ZMQ_EVENT_CLOSED;
        snprintf(endpoint, sizeof(endpoint), "inproc://monitor.client.%llu",
                 (unsigned long long)++c->net->last_client);
        c->monitor = net_socket_open(c->net, ZMQ_PAIR, on_monitor, c);
        if (zmq_socket_monitor(c->socket->zs, endpoint, events) ||
            zmq_connect(c->monitor->zs, endpoint))
                return net_error();
        return 0;
}

/* One socket for one connection: ZeroMQ itself would send on what was meant for the one before, and
 * would never try again after an answer that is none. The other end is asked whether it is there,
 * and does the same. */
static void set_watched(struct net_socket *s)
{
        net_set_int(s, ZMQ_RECONNECT_IVL, -1);
        net_set_int(s, ZMQ_IMMEDIATE, 1);
        net_set_int(s, ZMQ_CONNECT_TIMEOUT, CONNECT_MS);
        net_set_int(s, ZMQ_HANDSHAKE_IVL, HANDSHAKE_MS);
        net_set_int(s, ZMQ_HEARTBEAT_IVL, HEARTBEAT_MS);
        net_set_int(s, ZMQ_HEARTBEAT_TIMEOUT, SILENCE_MS);
        net_set_int(s, ZMQ_HEARTBEAT_TTL, SILENCE_MS);
}

static int open_sockets(struct net_client *c)
{
        c->socket = net_socket_open(c->net, ZMQ_DEALER, on_readable, c);
        net_set_int(c->socket, ZMQ_RECONNECT_IVL, RECONNECT_MS);
        net_set_int(c->socket, ZMQ_RECONNECT_IVL_MAX, RECONNECT_MAX_MS);
        if (c->config.keys) {
                net_set_tcp(c->socket, c->endpoint);
                net_set_bytes(c->socket, ZMQ_CURVE_SERVERKEY, c->server_key, NET_KEY_BYTES);
                net_set_bytes(c->socket, ZMQ_CURVE_PUBLICKEY, c->keys.public_key, NET_KEY_BYTES);
                net_set_bytes(c->socket, ZMQ_CURVE_SECRETKEY, c->keys.secret_key, NET_KEY_BYTES);
        }
        if (c->retry)
                set_watched(c->socket);
        int r = c->config.on_broken ? open_monitor(c) : 0;
        if (r >= 0 && zmq_connect(c->socket->zs, c->endpoint))
                r = net_error();
        return r;
}

static void on_retry(void *arg)
{
        struct net_client *c = arg;

        if (open_sockets(c) < 0)
                try_later(c);
}

static struct net_client *client_new(struct net *n, const struct net_client_config *config)
{
        struct net_client *c = xnew(struct net_client);

        c->net = n;
        c->config = *config;
        snprintf(c->endpoint, sizeof(c->endpoint), "%s", config->endpoint);
        c->config.endpoint = c->endpoint;
        c->config.keys = NULL;
        if (str_has_prefix(config->endpoint, "tcp://")) {
                c->keys = *config->keys;
                c->config.keys = &c->keys;
                memcpy(c->server_key, config->server_key, NET_KEY_BYTES);
                c->config.server_key = c->server_key;
        }
        c->wait_ms = RECONNECT_MS;
        if (config->on_connected)
                c->retry = loop_timer_new(n->loop, on_retry, c);
        return c;
}

int net_connect(struct net *n, const struct net_client_config *config, struct net_client **ret,
                struct err *err)
{
        int r = net_check_endpoint(config->endpoint, config->keys && config->server_key, err);

        if (r < 0)
                return r;
        struct net_client *c = client_new(n, config);
        r = open_sockets(c);
        if (r < 0) {
                net_client_close(c);
                return err_set(err, -r, "connect to %s: %s", config->endpoint, zmq_strerror(-r));
        }
        *ret = c;
        return 0;
}

int net_client_send(struct net_client *c, const uint8_t *p, size_t n)
{
        if (n > MESSAGE_BYTES_MAX)
                return -EMSGSIZE;
        return c->socket ? net_send_frame(c->socket, p, n, 0) : -EAGAIN;
}

void net_client_close(struct net_client *c)
{
        if (!c)
                return;
        close_sockets(c);
        loop_timer_free(c->retry);
        free(c);
}
