/* Inside net: what the context, servers and clients share. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shared/base/list.h"
#include "shared/net/net.h"

#define READ_BUDGET 256 /* messages of one socket per round of the loop */

/*
 * One ZeroMQ socket on the loop. Its descriptor is only a doorbell, and any call on the socket may
 * swallow a ring. So whoever calls anything on zs sets `touched`; a touched socket is read in the
 * round's check and looked at once more before the loop sleeps. An untouched one will ring.
 *
 * Closing one inside a callback only empties it: the struct lives to the end of the round, so a
 * reader looks at zs after each callback, and at its owner only if zs is still there.
 */
struct net_socket {
        struct list link;
        struct net *net;
        void *zs; /* NULL: closed */
        struct loop_fd *fd;
        bool touched;
        void (*on_readable)(struct net_socket *s);
        void *owner;
};

struct net {
        struct loop *loop;
        struct loop_hook *hook;
        void *ctx;
        struct net_socket *zap; /* NULL until there is a server on tcp */
        struct list sockets;    /* in order of reading: a socket's monitor before the socket */
        struct list servers;
        uint64_t last_connection, last_server, last_client;
        bool is_reading, has_closed;
};

int net_check_endpoint(const char *endpoint, bool has_keys, struct err *err);
/* ZeroMQ's errno as a negative number. */
int net_error(void);
struct net_socket *net_socket_open(struct net *n, int type,
                                   void (*on_readable)(struct net_socket *s), void *owner);
void net_socket_close(struct net_socket *s);
/* At another time than in a round's check, and not inside any callback of net. */
void net_read(struct net_socket *s);
/* Options that are always valid: asserted. */
void net_set_int(struct net_socket *s, int option, int value);
void net_set_bytes(struct net_socket *s, int option, const void *p, size_t n);
/* A peer that sends a longer message is cut off. */
void net_set_message_max(struct net_socket *s, size_t bytes);
/* Keep-alive and the like, of both sides. */
void net_set_tcp(struct net_socket *s, const char *endpoint);
/* Closes a socket and its monitor, which is told no more before nobody reads it: ZeroMQ's thread,
 * which serves many, would wait for ever to tell the socket's end. NULL is fine. */
void net_monitored_close(struct net_socket *s, struct net_socket *monitor);
/* The next of ZMQ_EVENT_* that a monitor (ZMQ_PAIR) has to tell, and what it is of; -EAGAIN: none.
 */
int net_read_event(struct net_socket *monitor, int *ret_event, int *ret_fd);
int net_send_frame(struct net_socket *s, const void *p, size_t n, int flags);

int net_zap_open(struct net *n);

/* The server with this ZAP domain, or NULL. */
struct net_server *net_find_server(struct net *n, const char *domain);
/* May a key connect to it? */
bool net_server_accepts(struct net_server *s, const uint8_t key[NET_KEY_BYTES]);

#define NET_USER_ID_MAX (2 * NET_KEY_BYTES + 1)
/* A key as the user id of messages: lower-case hexadecimal. */
void net_user_id_format(const uint8_t key[NET_KEY_BYTES], char ret[NET_USER_ID_MAX]);
int net_user_id_parse(const char *s, uint8_t ret[NET_KEY_BYTES]);
