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

struct net_client {
        struct net_socket *socket, *monitor; /* no monitor: NULL */
        struct net_client_config config;
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

static void on_monitor(struct net_socket *s)
{
        bool is_broken = false;
        char frame[NET_ENDPOINT_MAX];

        for (int i = 0; i < READ_BUDGET && zmq_recv(s->zs, frame, sizeof(frame), ZMQ_DONTWAIT) >= 0;
             i++)
                is_broken = true;
        if (!is_broken)
                return;
        struct net_client *c = s->owner;
        /* What came before the line broke is heard before the news that it did. */
        c->socket->touched = true;
        on_readable(c->socket);
        if (s->zs)
                c->config.on_broken(c->config.arg);
}

static int open_monitor(struct net *n, struct net_client *c)
{
        char endpoint[64];

        snprintf(endpoint, sizeof(endpoint), "inproc://monitor.client.%llu",
                 (unsigned long long)++n->last_client);
        c->monitor = net_socket_open(n, ZMQ_PAIR, on_monitor, c);
        if (zmq_socket_monitor(c->socket->zs, endpoint,
                               ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                                       ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL |
                                       ZMQ_EVENT_HANDSHAKE_FAILED_AUTH) ||
            zmq_connect(c->monitor->zs, endpoint))
                return net_error();
        return 0;
}

int net_connect(struct net *n, const struct net_client_config *config, struct net_client **ret,
                struct err *err)
{
        bool is_tcp = str_has_prefix(config->endpoint, "tcp://");

        int r = net_check_endpoint(config->endpoint, config->keys && config->server_key, err);

        if (r < 0)
                return r;
        struct net_client *c = xnew(struct net_client);

        c->config = *config;
        c->socket = net_socket_open(n, ZMQ_DEALER, on_readable, c);
        net_set_int(c->socket, ZMQ_RECONNECT_IVL, RECONNECT_MS);
        net_set_int(c->socket, ZMQ_RECONNECT_IVL_MAX, RECONNECT_MAX_MS);
        if (is_tcp) {
                net_set_tcp(c->socket, config->endpoint);
                net_set_bytes(c->socket, ZMQ_CURVE_SERVERKEY, config->server_key, NET_KEY_BYTES);
                net_set_bytes(c->socket, ZMQ_CURVE_PUBLICKEY, config->keys->public_key,
                              NET_KEY_BYTES);
                net_set_bytes(c->socket, ZMQ_CURVE_SECRETKEY, config->keys->secret_key,
                              NET_KEY_BYTES);
        }
        c->config.endpoint = NULL; /* the caller's, not needed any more; keys likewise */
        c->config.keys = NULL;
        c->config.server_key = NULL;
        r = config->on_broken ? open_monitor(n, c) : 0;
        if (r >= 0 && zmq_connect(c->socket->zs, config->endpoint))
                r = net_error();
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
        return net_send_frame(c->socket, p, n, 0);
}

void net_client_close(struct net_client *c)
{
        if (!c)
                return;
        net_socket_close(c->monitor);
        net_socket_close(c->socket);
        free(c);
}
