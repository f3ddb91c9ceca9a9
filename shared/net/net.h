/*
 * net: messages over ZeroMQ (its only home), on the loop. A server is a ROUTER, a client a DEALER;
 * a message is one frame of bytes, at most MESSAGE_BYTES_MAX (to a client: twice that); tcp is
 * always CURVE, ipc never. Callbacks may close what they came from. ZeroMQ promises neither
 * delivery nor order across reconnects: the protocols above (proto/dispatch.proto,
 * proto/control.proto) do.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/base/err.h"
#include "shared/base/id.h"
#include "shared/loop/loop.h"

#define NET_KEY_BYTES    32
#define NET_ENDPOINT_MAX 256
#define NET_VANISHED_MS  5000
/* Of a connection whose node is not known; beyond, it is broken. */
#define NET_STRANGER_MESSAGES 64
#define NET_STRANGER_BYTES    (256u << 10) /* of one message */

struct net;
struct net_server;
struct net_client;

/* A Curve25519 key pair. */
struct net_keys {
        uint8_t public_key[NET_KEY_BYTES], secret_key[NET_KEY_BYTES];
};

int net_keys_make(struct net_keys *ret);
/* The public key that belongs to a secret one. */
int net_keys_derive(const uint8_t secret_key[NET_KEY_BYTES], struct net_keys *ret);

struct net *net_new(struct loop *l);
void net_free(struct net *n); /* all servers and clients must be closed */
/* For a process with more than about a thousand clients, before the first. */
void net_set_sockets_max(struct net *n, int max);

/* Who sent a message. key and node are zero over ipc. node is what `accept` gave. */
struct net_sender {
        uint64_t connection; /* names the connection to net_send; never 0, never used again */
        struct id node;
        uint8_t key[NET_KEY_BYTES];
        bool is_local; /* over ipc */
};

struct net_server_config {
        const char *const *endpoints; /* "tcp://0.0.0.0:7377", "ipc:///path"; NULL-terminated */
        const struct net_keys *keys;  /* for tcp */
        void *arg;
        /* May this key connect, and as which node (zero: not known yet)? Asked for each new tcp
         * connection, and again for each of its messages until the node is known: a Join on it may
         * have made it so. Must not block or call net. */
        bool (*accept)(void *arg, const uint8_t key[NET_KEY_BYTES], struct id *ret_node);
        void (*on_message)(void *arg, const struct net_sender *from, const uint8_t *p, size_t n);
        void (*on_gone)(void *arg, uint64_t connection); /* a hint: may come late or never */
        mode_t ipc_mode; /* permissions of the socket file: 0600 unless set */
};

int net_listen(struct net *n, const struct net_server_config *c, struct net_server **ret,
               struct err *err);
/* Where it listens, in the order of the endpoints, with the port that "tcp://127.0.0.1:*" got. */
const char *net_server_endpoint(const struct net_server *s, size_t i);
/* 0; -EHOSTUNREACH: gone; -EAGAIN: its queue is full, nothing was sent; -EMSGSIZE. */
int net_send(struct net_server *s, uint64_t connection, const uint8_t *p, size_t n);
/* Whose the connections of a key are is asked anew, with the next message of each. */
void net_forget_key(struct net_server *s, const uint8_t key[NET_KEY_BYTES]);
/* Breaks a connection over tcp; on_gone follows. None of that number: nothing. */
void net_drop(struct net_server *s, uint64_t connection);
void net_server_close(struct net_server *s); /* NULL is fine */

struct net_client_config {
        const char *endpoint;
        const struct net_keys *keys; /* own; NULL for ipc */
        const uint8_t *server_key;   /* NET_KEY_BYTES; NULL for ipc */
        void *arg;
        void (*on_message)(void *arg, const uint8_t *p, size_t n);
        /* The connection broke, or the server does not take our key; it is tried again. What was
         * sent may be lost. NULL: not told, and two descriptors saved. */
        void (*on_broken)(void *arg);
        /* No connection can be made just now: nobody listens there; it is tried again. NULL: not
         * told. With on_broken, and without on_connected. */
        void (*on_unreachable)(void *arg);
        /* It is up from now on, until on_broken, which is needed with it and told after it alone.
         * While it is not up nothing is taken (-EAGAIN), what was taken never outlives it, and both
         * ends notice within NET_VANISHED_MS that the other's machine is gone. NULL: messages are
         * taken at any time. */
        void (*on_connected)(void *arg);
};

/* Connects in the background and again when the connection breaks. -EINVAL: bad endpoint. */
int net_connect(struct net *n, const struct net_client_config *c, struct net_client **ret,
                struct err *err);
int net_client_send(struct net_client *c, const uint8_t *p, size_t n); /* as net_send */
void net_client_close(struct net_client *c); /* NULL is fine; what is queued gets up to 100 ms */
