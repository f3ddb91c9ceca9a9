/*
 * heard: when nodes were last heard, carried over a change of leader. Place in the flow: each
 * manager hears the agents that are connected to it (manager/relay.h). When another one leads from
 * now on, it is told when this one last heard which node; and the one that leads begins its first
 * turn with what it heard itself and what it was told. So a node that lives is not missed, and one
 * that was silent already is not waited for once more.
 *
 * Pure: time comes in with the call, messages go out through the config. Nothing fails: news that
 * are lost on their way cost a node that is dead the time for which it is waited anyway.
 */
#pragma once

#include "manager/relay.h"
#include "manager/turn.h"

struct heard;

/* All is borrowed. */
struct heard_config {
        uint64_t id;         /* of this manager */
        struct relay *relay; /* what was heard here */
        void *arg;
        int (*send)(void *arg, uint64_t to, const Swarm__PeerMessage *m); /* as peers_send */
};

struct heard *heard_new(const struct heard_config *c);
void heard_free(struct heard *h); /* NULL is fine */

/* Who leads (0: nobody known): told once each time that it is another one than before. Call after
 * every event. store NULL: it is not known just now whose the keys are; then it is told later. */
void heard_run(struct heard *h, uint64_t leader, struct store *store, int64_t now_ms);
/* Another manager told, and leader is who leads now. turn NULL: this one does not, or not yet; if
 * it is to lead, it is kept for heard_begin. Of ids that are none nothing is believed. */
void heard_on_message(struct heard *h, const Swarm__HeardNodes *m, uint64_t leader,
                      struct turn *turn, int64_t now_ms);
/* This manager leads: before the turn runs for the first time. */
void heard_begin(struct heard *h, struct turn *turn, struct store *store, int64_t now_ms);
