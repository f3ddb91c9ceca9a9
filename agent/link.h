/*
 * link: the agent's line to a manager: which one, joining the cluster once, and one connection at a
 * time. When that breaks, another manager is tried within LINK_MOVE_MS, at a moment and with a
 * manager drawn by lot: so a crowd of agents that loses its manager spreads over those that are
 * left. Place in the flow: between the network and the agent's core. What can fail: a token that is
 * refused, a data-dir that belongs to another cluster; both end the agent with one line.
 *
 * On disk, below DIR: node.key, cluster.pub (shared with a manager of this machine), agent/node.id
 * once joined, agent/managers (addresses, one a line, as last told).
 */
#pragma once

#include "proto/dispatch.pb-c.h"
#include "shared/base/err.h"
#include "shared/base/id.h"
#include "shared/loop/loop.h"

#define LINK_MANAGERS_MAX 64
#define LINK_MOVE_MS      1000

struct link;

struct link_config {
        const char *data_dir;
        const char *join, *token; /* NULL: not told */
        const Swarm__NodeDescription *description;
        void *arg;
        loop_fn *on_sealed;              /* as in node_key.h, during link_open */
        void (*on_connected)(void *arg); /* joined, with a fresh connection: never in a call */
        void (*on_message)(void *arg, const uint8_t *p, size_t n);
        /* The connection broke, or there is none to be had: others are tried, until on_connected.
         */
        void (*on_broken)(void *arg);
        /* The cluster will not have us, ever. */
        void (*on_refused)(void *arg, const Swarm__Refused *m);
};

/* May run the loop: see node_key.h. */
int link_open(struct loop *l, const struct link_config *c, struct link **ret, struct err *err);
void link_close(struct link *k); /* NULL is fine */
/* Over the present connection; may be lost, which -EAGAIN is sure of. */
int link_send(struct link *k, const uint8_t *p, size_t n);
/* Leaves the present manager for the next one, soon. */
void link_reconnect(struct link *k);
/* The cluster does not know this node any more. Forgets that it joined, here and on disk. */
void link_leave(struct link *k);
/* Leaves, and joins anew with the token. False: there is none, nothing happened. */
bool link_join_again(struct link *k);
/* The managers there are now: HOST:PORT. Kept for the next start. */
void link_set_managers(struct link *k, char *const *managers, size_t n);
/* The node's id; zero before it joined. */
struct id link_node(const struct link *k);
/* The present manager, or the last one: HOST:PORT. Valid until the next call of another function.
 */
const char *link_manager(const struct link *k);
/* In place of the description that it was opened with. */
void link_describe(struct link *k, const Swarm__NodeDescription *d);
/* The node's public key as text, for names; valid while the link is. */
const char *link_key_text(const struct link *k);
