/*
 * A manager's core for tests: a store, a turn over it, a clock that stands until it is moved, and
 * the effects of the turns, kept packed until they are looked for. Each turn commits at once.
 */
#pragma once

#include "manager/turn.h"
#include "shared/wire/wire.h"

#define CORE_WORKER_SECRET  "worker-secret"
#define CORE_MANAGER_SECRET "manager-secret"

struct core {
        struct store *store;
        struct turn *turn;
        struct now now;
        struct list effects;
        int64_t due;                 /* of the last turn */
        size_t changes, entry_bytes; /* of the last turn */
        uint64_t number;             /* of the last request */
        uint64_t manager;            /* which clients are connected to; 0: this one */
        struct wire_arena arena;
};

void core_open(struct core *r);
void core_close(struct core *r);
void core_run(struct core *r);
/* Moves the clock and runs. */
void core_advance(struct core *r, int64_t ms);

/* Gives the request a number, brings it in from a connection, and runs. */
void core_send(struct core *r, uint64_t connection, Swarm__Request *q);
/* The oldest response to a connection that was not taken yet; NULL: none. */
const Swarm__Response *core_take_response(struct core *r, uint64_t connection);
/* Both, from connection 1: there must be one. */
const Swarm__Response *core_ask(struct core *r, Swarm__Request *q);

/* Brings a message in; does not run. */
void core_say(struct core *r, struct peer from, const uint8_t key[32], Swarm__AgentMessage *m);
/* The oldest message of a kind to an agent that was not taken yet (those before it of other kinds
 * stay); NULL: none. connection: for one that is not known yet. */
const Swarm__ManagerMessage *core_take_message(struct core *r, struct peer to,
                                               Swarm__ManagerMessage__KindCase kind);
/* The oldest effect of a kind is dropped: its node, or zero when there is none. */
bool core_take_effect(struct core *r, enum effect_kind kind, struct id *ret_node);
void core_drop_effects(struct core *r);

/* An agent of the rig. */
struct core_node {
        struct id id, session;
        uint64_t connection;
        uint8_t key[32];
        uint32_t protocol, protocol_oldest; /* 0: as it is today */
        const char *host;                   /* NULL: not told */
};
void core_describe(Swarm__NodeDescription *d, Swarm__Resources *capacity, const char *hostname);
/* Joins and registers; hostname must outlive the rig. */
void core_add_node(struct core *r, const char *hostname, struct core_node *ret);
/* Only says it. */
void core_say_register(struct core *r, const char *hostname, const struct core_node *n);
void core_register(struct core *r, const char *hostname, struct core_node *n);
void core_heartbeat(struct core *r, const struct core_node *n, uint64_t assigned_seq);
void core_disk_full(struct core *r, const struct core_node *n, bool is_full); /* a heartbeat */
void core_status(struct core *r, const struct core_node *n, uint64_t seq, uint64_t oldest,
                 struct id task, enum task_state state, const char *text);

#define IMAGE_ID "sha256:0000000000000000000000000000000000000000000000000000000000000001"
const Swarm__Response *core_put_image(struct core *r, const char *id, const char *name);
/* An image busybox:latest, with that id. */
void core_add_image(struct core *r);
/* A service of that image with n replicas; the id of it. */
struct id core_add_service(struct core *r, const char *name, uint64_t replicas);
