/*
 * ZeroMQ on the loop: the context, the glue that reads its sockets, and keys. See net.h, and
 * net_internal.h for the rule of the doorbell. What can fail here at run time is the lack of
 * descriptors, which ends the daemon: ZeroMQ itself aborts then as well.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include <sodium.h>
#include <zmq.h>

#include "shared/base/log.h"
#include "shared/base/mem.h"
#include "shared/base/parse.h"
#include "shared/base/str.h"
#include "shared/model/model.h"
#include "shared/net/net_internal.h"

#define LINGER_MS             100
#define TCP_KEEPALIVE_IDLE_S  20
#define TCP_KEEPALIVE_INTVL_S 5
#define TCP_KEEPALIVE_COUNT   4
#define TCP_UNACKNOWLEDGED_MS 20000
#define QUEUE_MAX             1000 /* messages to or from one peer */
#define CURVE_OVERHEAD        64   /* what it adds to a frame, which ZMQ_MAXMSGSIZE counts */

int net_error(void)
{
        return -zmq_errno();
}

int net_keys_make(struct net_keys *ret)
{
        if (sodium_init() < 0)
                return -EIO;
        crypto_box_keypair(ret->public_key, ret->secret_key);
        return 0;
}

int net_keys_derive(const uint8_t secret_key[NET_KEY_BYTES], struct net_keys *ret)
{
        struct net_keys keys;

        if (sodium_init() < 0)
                return -EIO;
        memcpy(keys.secret_key, secret_key, NET_KEY_BYTES);
        if (crypto_scalarmult_base(keys.public_key, keys.secret_key))
                return -EINVAL;
        *ret = keys;
        return 0;
}

void net_user_id_format(const uint8_t key[NET_KEY_BYTES], char ret[NET_USER_ID_MAX])
{
        sodium_bin2hex(ret, NET_USER_ID_MAX, key, NET_KEY_BYTES);
}

int net_user_id_parse(const char *s, uint8_t ret[NET_KEY_BYTES])
{
        size_t n = 0;

        if (!s || strlen(s) != NET_USER_ID_MAX - 1 ||
            sodium_hex2bin(ret, NET_KEY_BYTES, s, NET_USER_ID_MAX - 1, NULL, &n, NULL) ||
            n != NET_KEY_BYTES)
                return -EINVAL;
        return 0;
}

/* --- sockets -----------------------------------------------------------------------------------*/
static void on_doorbell(void *arg, int events UNUSED)
{
        struct net_socket *s = arg;

        s->touched = true;
}

void net_set_int(struct net_socket *s, int option, int value)
{
        int r = zmq_setsockopt(s->zs, option, &value, sizeof(value));

        assert(r == 0);
        s->touched = true;
}

void net_set_bytes(struct net_socket *s, int option, const void *p, size_t n)
{
        int r = zmq_setsockopt(s->zs, option, p, n);

        assert(r == 0);
        s->touched = true;
}

void net_set_message_max(struct net_socket *s, size_t bytes)
{
        int64_t max = (int64_t)bytes + CURVE_OVERHEAD;

        net_set_bytes(s, ZMQ_MAXMSGSIZE, &max, sizeof(max));
}

struct net_socket *net_socket_open(struct net *n, int type,
                                   void (*on_readable)(struct net_socket *s), void *owner)
{
        struct net_socket *s = xnew(struct net_socket);
        int fd = -1;
        size_t len = sizeof(fd);

        s->net = n;
        s->on_readable = on_readable;
        s->owner = owner;
        s->zs = zmq_socket(n->ctx, type);
        if (!s->zs || zmq_getsockopt(s->zs, ZMQ_FD, &fd, &len) ||
            loop_fd_new(n->loop, fd, LOOP_READ, on_doorbell, s, &s->fd)) {
                log_error("cannot make a message socket: %s", zmq_strerror(zmq_errno()));
                abort();
        }
        net_set_int(s, ZMQ_LINGER, LINGER_MS);
        net_set_int(s, ZMQ_SNDHWM, QUEUE_MAX);
        net_set_int(s, ZMQ_RCVHWM, QUEUE_MAX);
        net_set_message_max(s, 2 * (size_t)MESSAGE_BYTES_MAX);
        list_push_back(&n->sockets, &s->link);
        return s;
}

static void purge(struct net *n)
{
        struct net_socket *s, *next;

        n->has_closed = false;
        LIST_FOREACH_SAFE (s, next, &n->sockets, link) {
                if (s->zs)
                        continue;
                list_remove(&s->link);
                free(s);
        }
}

void net_socket_close(struct net_socket *s)
{
        struct net *n;

        if (!s)
                return;
        n = s->net;
        loop_fd_free(s->fd);
        zmq_close(s->zs);
        s->zs = NULL;
        n->has_closed = true;
        if (!n->is_reading)
                purge(n);
}

void net_monitored_close(struct net_socket *s, struct net_socket *monitor)
{
        if (s && s->zs && monitor)
                zmq_socket_monitor(s->zs, NULL, 0);
        net_socket_close(monitor);
        net_socket_close(s);
}

void net_set_tcp(struct net_socket *s, const char *endpoint)
{
        net_set_int(s, ZMQ_TCP_KEEPALIVE, 1);
        net_set_int(s, ZMQ_TCP_KEEPALIVE_IDLE, TCP_KEEPALIVE_IDLE_S);
        net_set_int(s, ZMQ_TCP_KEEPALIVE_INTVL, TCP_KEEPALIVE_INTVL_S);
        net_set_int(s, ZMQ_TCP_KEEPALIVE_CNT, TCP_KEEPALIVE_COUNT);
        net_set_int(s, ZMQ_TCP_MAXRT, TCP_UNACKNOWLEDGED_MS);
        if (strchr(endpoint, '['))
                net_set_int(s, ZMQ_IPV6, 1);
}

int net_read_event(struct net_socket *monitor, int *ret_event, int *ret_fd)
{
        uint8_t frame[sizeof(uint16_t) + sizeof(int32_t)], address[1];
        uint16_t event;
        int32_t value;

        /* Two frames: event and value, and an address, which is cut off. */
        if (zmq_recv(monitor->zs, frame, sizeof(frame), ZMQ_DONTWAIT) < 0)
                return net_error();
        zmq_recv(monitor->zs, address, sizeof(address), ZMQ_DONTWAIT);
        memcpy(&event, frame, sizeof(event));
        memcpy(&value, frame + sizeof(event), sizeof(value));
        *ret_event = event;
        *ret_fd = value;
        return 0;
}

int net_send_frame(struct net_socket *s, const void *p, size_t n, int flags)
{
        int r;

        s->touched = true;
        do {
                r = zmq_send(s->zs, p, n, flags | ZMQ_DONTWAIT);
        } while (r < 0 && zmq_errno() == EINTR);
        return r < 0 ? net_error() : 0;
}

int net_check_endpoint(const char *endpoint, bool has_keys, struct err *err)
{
        bool is_tcp = str_has_prefix(endpoint, "tcp://");
        const char *port = strrchr(endpoint, ':');
        uint64_t number;

        if (!is_tcp && !str_has_prefix(endpoint, "ipc:///"))
                return err_set(err, EINVAL, "%s: not tcp://HOST:PORT or ipc:///PATH", endpoint);
        if (strlen(endpoint) >= NET_ENDPOINT_MAX ||
            (!is_tcp &&
             strlen(endpoint + strlen("ipc://")) >= sizeof(((struct sockaddr_un *)NULL)->sun_path)))
                return err_set(err, ENAMETOOLONG, "%s: too long", endpoint);
        if (!is_tcp)
                return 0;
        /* ZeroMQ would take a port modulo 65536. */
        if (!str_is_equal(port, ":*") && (parse_u64(port + 1, &number) || number > UINT16_MAX))
                return err_set(err, EINVAL, "%s: no port from 1 to 65535 at its end", endpoint);
        if (!has_keys)
                return err_set(err, EINVAL, "%s: keys are needed for tcp", endpoint);
        return 0;
}

/* --- the loop's rounds -------------------------------------------------------------------------*/
static void check(void *arg)
{
        struct net *n = arg;
        struct net_socket *s;

        n->is_reading = true;
        LIST_FOREACH (s, &n->sockets, link)
                if (s->zs && s->touched)
                        s->on_readable(s);
        n->is_reading = false;
        if (n->has_closed)
                purge(n);
}

void net_read(struct net_socket *s)
{
        struct net *n = s->net;

        s->touched = true;
        n->is_reading = true;
        s->on_readable(s);
        n->is_reading = false;
        if (n->has_closed)
                purge(n);
}

static bool prepare(void *arg)
{
        struct net *n = arg;
        struct net_socket *s;
        bool again = false;

        LIST_FOREACH (s, &n->sockets, link) {
                int events = 0;
                size_t len = sizeof(events);

                if (!s->touched)
                        continue;
                if (zmq_getsockopt(s->zs, ZMQ_EVENTS, &events, &len) || (events & ZMQ_POLLIN))
                        again = true;
                else
                        s->touched = false;
        }
        return again;
}

struct net *net_new(struct loop *l)
{
        struct net *n = xnew(struct net);

        n->loop = l;
        n->ctx = zmq_ctx_new();
        if (!n->ctx)
                abort();
        list_init(&n->sockets);
        list_init(&n->servers);
        n->hook = loop_hook_new(l, prepare, check, n);
        return n;
}

void net_set_sockets_max(struct net *n, int max)
{
        assert(list_is_empty(&n->sockets));
        zmq_ctx_set(n->ctx, ZMQ_MAX_SOCKETS, max);
}

void net_free(struct net *n)
{
        if (!n)
                return;
        net_socket_close(n->zap);
        assert(list_is_empty(&n->servers) && list_is_empty(&n->sockets));
        loop_hook_free(n->hook);
        while (zmq_ctx_term(n->ctx) && zmq_errno() == EINTR)
                ;
        free(n);
}
