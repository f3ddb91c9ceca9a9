/*
 * turn: the manager's decisions. A turn takes the inputs that have arrived, runs the stages once in
 * order (api, dispatcher in, orchestrator, scheduler, dispatcher out) over the store, and leaves a
 * change list and effects. The driver (manager/wiring.c, or the simulator) proposes the change list
 * and releases the effects only once it is committed. Pure: a function of state, inputs and now.
 *
 * Read turn.c first: it is the table of contents of the manager.
 */
#pragma once

#include "manager/store/store.h"
#include "proto/control.pb-c.h"
#include "proto/dispatch.pb-c.h"
#include "shared/base/breath.h"
#include "shared/base/err.h"
#include "shared/base/rng.h"

#define TURN_CHANGES_MAX      30000        /* what a turn's changes may weigh; the rest waits */
#define TURN_EFFECT_BYTES_MAX (64u << 20)  /* of answers in a turn, of log lines, of assignments */
#define TURN_INPUTS_MAX       100000       /* queued inputs; beyond, requests are answered EAGAIN */
#define TURN_STRANGERS_MAX    10000        /* of them from keys that are no node's */
#define TURN_STRANGER_BYTES   (256u << 10) /* of one message of such a key; of all 64 times that */
#define TURN_INPUT_BYTES_MAX  (256u << 20) /* of all queued inputs, likewise */

struct turn;

/* Who sent a message or is to get one. Opaque to the core: the driver's routing, compared by value.
 */
struct peer {
        uint64_t connection; /* of a client or of an agent that is not known yet; 0: none */
        struct id node;      /* of an agent that is known: by the transport, not by what it says */
        uint64_t manager;    /* which a client is connected to; 0: this one */
};

enum effect_kind {
        EFFECT_CLIENT,        /* bytes: a packed Response for peer.connection */
        EFFECT_AGENT,         /* bytes: a packed ManagerMessage for peer.node */
        EFFECT_UNKNOWN_AGENT, /* bytes: a packed ManagerMessage for peer.connection (join) */
        EFFECT_ROUTE,         /* what is for peer.node goes to peer.connection from now on */
        EFFECT_ALLOW_KEY,     /* peer.node may connect with key */
        EFFECT_FORGET_KEY,    /* key is a stranger's from now on */
        EFFECT_BLOB_RELEASE,  /* text: digest that no image needs any more */
};

struct effect {
        struct list link;
        enum effect_kind kind;
        struct peer peer;
        uint8_t key[32];
        struct buf bytes; /* owned */
        char *text;       /* owned, NULL: none */
};

void effects_free(struct list *effects); /* empties a list of struct effect */

/* The one home of effects (manager/effect.c): each appends one to the list. */
void effect_client(struct list *effects, uint64_t connection, const Swarm__Response *r);
/* bytes: a packed Response, taken. */
void effect_client_bytes(struct list *effects, uint64_t connection, struct buf *bytes);
/* EFFECT_AGENT when to.node is set, else EFFECT_UNKNOWN_AGENT. */
void effect_agent(struct list *effects, struct peer to, const Swarm__ManagerMessage *m);
void effect_route(struct list *effects, struct id node, uint64_t connection);
void effect_allow_key(struct list *effects, struct id node, const uint8_t key[32]);
void effect_forget_key(struct list *effects, struct id node, const uint8_t key[32]);
void effect_blob_release(struct list *effects, const char *digest);

/* One of those that agree, as the leader knows it. */
struct turn_member {
        uint64_t id;
        const char *address;        /* borrowed until the next call */
        enum member_role role;      /* never JOINING */
        enum manager_status status; /* by whether it is heard, also when it does not vote */
        int64_t behind;             /* agreed entries that it may lack; -1: not known */
};

struct turn_config {
        uint64_t seed; /* for ids: from the system in a daemon, from the seed in a simulation */
        const char *version;   /* of this program */
        struct id node;        /* of this manager, which leads */
        const char *hostname;  /* likewise */
        char *const *managers; /* addresses to tell agents: HOST:PORT; borrowed, read anew each
                                  time; NULL: none */
        void *arg;
        /* How the manager of that id stands; NULL: all are there. */
        enum manager_status (*manager_status)(void *arg, uint64_t manager_id);
        /* 32 bytes that nobody can guess: from the system in a daemon. NULL: from the seed. */
        void (*draw_key)(void *arg, uint8_t ret[32]);
        /* Would the managers be able to agree without that one? NULL: yes. */
        bool (*can_demote)(void *arg, uint64_t manager_id, struct err *err);
        /* The i-th of the members; false: there are not so many. NULL: none is known. */
        bool (*get_member)(void *arg, size_t i, struct turn_member *ret);
        /* No manager that can be asked has the bytes of that digest. NULL: all are there. */
        bool (*is_blob_missing)(void *arg, const char *digest);
        struct breath breath; /* of all stages */
};

/* Builds the stages' own state from the store, which is loaded. Borrows the store. */
struct turn *turn_new(struct store *store, const struct turn_config *config, struct now now);
void turn_free(struct turn *t);

/* Inputs: copied; judged in the next turn_run, in order. -EAGAIN when the queue is full, -EBADMSG
 * for bytes that are no message (nothing is queued; the driver drops or answers). */
int turn_input_client(struct turn *t, struct peer from, const uint8_t *p, size_t n);
int turn_input_agent(struct turn *t, struct peer from, const uint8_t key[32], const uint8_t *p,
                     size_t n);
/* The transport saw the client go. */
void turn_input_client_gone(struct turn *t, uint64_t connection);
/* A message to or from the node was lost: its session ends, and all is told anew in the next. */
void turn_input_agent_lost(struct turn *t, struct id node);
/* turn_config.managers are others now: each agent is told with its next heartbeat. */
void turn_managers_changed(struct turn *t);
/* Another manager, or this one before it led, heard the node last at that mono time of this
 * machine: it is not waited for as long as one of which nothing is known. is_gone: and saw its
 * connection end, so that it may have spoken to yet another one since. */
void turn_input_heard(struct turn *t, struct id node, int64_t heard_ms, bool is_gone);
bool turn_has_inputs(const struct turn *t);

/* Runs one turn. Changes are in the store's list, effects are appended to ret_effects (in order).
 * Returns when it wants to run again at the latest: mono time, now.mono_ms for "at once" (work was
 * left over), TIME_NEVER for "when there is input". */
int64_t turn_run(struct turn *t, struct now now, struct list *ret_effects);

/* Index of the last committed entry, for `info`. */
void turn_set_last_index(struct turn *t, uint64_t index);
