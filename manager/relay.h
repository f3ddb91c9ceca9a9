/*
 * relay: whose connection is where, and the way to the manager that leads. Place in the flow: all
 * that clients and agents say comes in here, at whichever manager they are connected to. The
 * manager that leads hears it; another one passes it on and its answers back. While there is no
 * leader, requests of clients wait; agents say things again by themselves.
 *
 * A connection has a number, wherever it is; a higher one was heard first later. A client whose
 * request went to a leader that is lost, or to which the link broke, is told so: what it asked may
 * have been done or not. No answer vanishes: one that cannot be sent to another manager has the
 * link broken (relay_take_overrun).
 */
#pragma once

#include "proto/peer.pb-c.h"
#include "shared/base/time.h"
#include "shared/net/net.h"

#define RELAY_HEARD_MS  10000       /* older news of a node help nobody: it was judged by then */
#define RELAY_WAIT_MS   10000       /* for a leader; then a request is refused, or sooner */
#define RELAY_BYTES_MAX (32u << 20) /* of requests that wait */
#define RELAY_ASKED_MAX 4096        /* requests of a connection that are not answered yet */

struct relay;

struct relay_sender {
        uint64_t number; /* of the connection */
        uint8_t key[NET_KEY_BYTES];
        bool is_local;    /* a client at a manager's socket file */
        uint64_t manager; /* where it is connected */
};

struct relay_config {
        uint64_t id; /* of this manager */
        void *arg;
        /* To a connection at this manager: as net_send. To another manager: as peers_send. */
        int (*send)(void *arg, uint64_t connection, const uint8_t *p, size_t n);
        int (*send_peer)(void *arg, uint64_t to, const Swarm__PeerMessage *m);
        void (*drop)(void *arg, uint64_t connection); /* as net_drop */
        /* This manager leads: a message for it. */
        void (*on_input)(void *arg, const struct relay_sender *from, const uint8_t *p, size_t n);
        void (*on_gone)(void *arg, uint64_t number);
        /* Why there is no leader, for a client that waited for one in vain: valid at once. */
        const char *(*no_leader)(void *arg);
};

struct relay *relay_new(const struct relay_config *c);
void relay_free(struct relay *r); /* NULL is fine */

/* Who leads from now on; 0: nobody known. is_ready: it is this one, and it takes inputs. */
/* When this one stops to lead, connections at other managers are forgotten, and these told. */
void relay_set_leader(struct relay *r, uint64_t leader, bool is_ready);
/* A message of a client or an agent at this manager, and that one of them left. */
void relay_on_message(struct relay *r, const struct net_sender *from, const uint8_t *p, size_t n,
                      int64_t now_ms);
void relay_on_gone(struct relay *r, uint64_t connection);
/* What this manager itself has to say, as an agent with that key would. Lost without a leader. */
void relay_say(struct relay *r, const uint8_t key[NET_KEY_BYTES], const uint8_t *p, size_t n);
/* From other managers. */
void relay_on_up(struct relay *r, uint64_t peer, const Swarm__RelayUp *m, int64_t now_ms);
void relay_on_down(struct relay *r, uint64_t peer, const Swarm__RelayDown *m);
/* The link to or from it broke, or there is one again after that: nothing is left of what was said
 * before. */
void relay_on_peer_broken(struct relay *r, uint64_t peer);
/* A manager for which so much waits that an answer could not be sent to it: break the link, so that
 * both ends know. Each once; 0: none (more). */
uint64_t relay_take_overrun(struct relay *r);
/* Refuses what has waited too long. Returns when the next does; TIME_NEVER: none. */
int64_t relay_run(struct relay *r, int64_t now_ms);

/* To a connection, wherever it is. 0 or as net_send. */
int relay_send(struct relay *r, uint64_t number, const uint8_t *p, size_t n);
/* Ends a connection, wherever it is. None of that number: nothing. */
void relay_drop(struct relay *r, uint64_t number);
/* Keys of agents that spoke here within RELAY_HEARD_MS, also when their connection is gone, and
 * when they were last heard: mono ms. A key may come several times. */
typedef void relay_heard_fn(void *arg, const uint8_t key[NET_KEY_BYTES], int64_t heard_ms,
                            bool is_gone);
void relay_heard(struct relay *r, int64_t now_ms, relay_heard_fn *fn, void *arg);
/* A Request begins with a number, an AgentMessage never does. */
bool relay_is_request(const uint8_t *p, size_t n);
