/* The network of the simulation: see sim_net.c. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/peer.pb-c.h"

#define SIM_MANAGERS_MAX 7

struct sim;
struct sim_agent;
struct sim_manager;

/* From one manager to another: whole messages in order, until it breaks. */
struct sim_link {
        uint64_t epoch; /* what was sent in an earlier one is lost */
        uint64_t heard; /* the last epoch of which the receiver heard something */
        int64_t last_at;
        bool is_broken; /* and the sender does not know yet */
};

struct sim_net {
        bool is_blocked[SIM_MANAGERS_MAX][SIM_MANAGERS_MAX]; /* from, to */
        struct sim_link links[SIM_MANAGERS_MAX][SIM_MANAGERS_MAX];
};

/* A client, connected to one manager. */
struct sim_end {
        struct sim *sim;
        uint64_t connection; /* 0: none yet */
        int manager;
        int64_t last_at;
        void *arg;
        void (*hear)(void *arg, const uint8_t *p, size_t n);
};

/* Agents: messages may be lost, come twice, late, in any order. */
void sim_net_from_agent(struct sim_agent *a, const uint8_t *p, size_t n);
/* It has left the connection that it had to the manager. */
void sim_net_agent_left(struct sim_agent *a);
/* The manager to an agent or a client that is connected there. */
int sim_net_to(struct sim_manager *m, uint64_t connection, const uint8_t *p, size_t n);
/* Ends a connection. */
void sim_net_drop(struct sim_manager *m, uint64_t connection);

/* To that manager; -1: to any. */
void sim_net_end_move(struct sim_end *end, int manager);
/* In order, not lost unless the manager dies. */
void sim_net_end_send(struct sim_end *end, const uint8_t *p, size_t n);

/* One that is to join speaks to another. */
void sim_net_join(struct sim_manager *from, int to, const uint8_t *p, size_t n);

/* Any manager that is a member or was to become one; -1: there is none. */
int sim_net_any_manager(struct sim *sim);

/* Raft's messages are treated as badly as it allows; others go over the links. */
void sim_net_raft(struct sim_manager *from, uint64_t to, const uint8_t *p, size_t n);
int sim_net_peer(struct sim_manager *from, uint64_t to, const Swarm__PeerMessage *m);
void sim_net_manager_died(struct sim_manager *m);
void sim_net_block(struct sim *sim, int from, int to);
void sim_net_unblock_all(struct sim *sim);
