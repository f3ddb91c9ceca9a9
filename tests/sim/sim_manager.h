/* A manager of the simulation: see sim_manager.c. */
#pragma once

#include "manager/front.h"
#include "manager/heard.h"
#include "manager/relay.h"
#include "manager/replica/members.h"
#include "tests/sim/sim_disk.h"
#include "tests/sim/sim_net.h"

struct sim_copy { /* of the tables, as a snapshot */
        uint64_t index;
        struct buf bytes;
};

struct sim_sending {
        uint64_t peer; /* 0: none */
        bool is_making;
        struct sim_copy sending, made; /* made: the core is being told of it */
};

struct sim_manager {
        struct sim *sim;
        int index;
        uint64_t id;      /* among the members; 0: it is to join */
        uint64_t joining; /* its connection while it does */
        bool is_entering; /* asks for admission under that id */
        uint8_t key[32];  /* of its machine */
        char hostname[16], address[24];
        uint64_t life; /* as a sim_agent's */
        double rate;   /* of its clock */
        int64_t zero, wall_offset;
        int64_t paused_until, hurt_ms; /* hurt_ms: when it was last not well */
        int64_t wake_at;               /* TIME_NEVER: not */

        struct sim_disk disk;
        struct replica *replica; /* NULL while the process is dead */
        struct relay *relay;
        struct heard *heard;
        struct front *front;
        struct members *members; /* NULL: does not lead */
        struct turn_config turn;
        char *managers[RAFT_MEMBERS_MAX + 1];
        struct raft_members known;
        struct sim_sending sending[SIM_MANAGERS_MAX];
        uint64_t noted; /* agreed entries that were looked at */
        bool did_lead;
};

typedef void sim_manager_fn(struct sim_manager *m, void *arg, bool is_void);

void sim_manager_init(struct sim *sim, int index);
void sim_manager_crash(struct sim_manager *m);
void sim_manager_pause(struct sim_manager *m, int64_t ms);
/* Its disk is lost: it comes back as a new one. */
void sim_manager_wipe(struct sim_manager *m);
void sim_manager_done(struct sim_manager *m);
/* How it stands. */
void sim_manager_trace(const struct sim_manager *m);
bool sim_manager_is_paused(const struct sim_manager *m);
/* The one that leads and has a turn; NULL: none. */
struct sim_manager *sim_manager_leader(struct sim *sim);

/* An event of this life of the process: void in any other; it waits while that is stopped. */
void sim_manager_later(struct sim_manager *m, int64_t delay_ms, sim_manager_fn *fn, void *arg);
void sim_manager_later_in_order(struct sim_manager *m, int64_t delay_ms, sim_manager_fn *fn,
                                void *arg);
void sim_manager_event(struct sim *sim, void *arg); /* one of these */

/* From the network. key NULL: a client. */
void sim_manager_hear(struct sim_manager *m, uint64_t connection, const uint8_t *key,
                      const uint8_t *p, size_t n);
void sim_manager_on_gone(struct sim_manager *m, uint64_t connection);
void sim_manager_hear_raft(struct sim_manager *m, uint64_t from, const uint8_t *p, size_t n);
void sim_manager_hear_peer(struct sim_manager *m, uint64_t from, const uint8_t *p, size_t n);
void sim_manager_on_broken(struct sim_manager *m, uint64_t id);
void sim_manager_on_again(struct sim_manager *m,
                          uint64_t id); /* before the first that comes then */
/* One that is to join, over that connection; NULL: none. */
struct sim_manager *sim_manager_by_joining(struct sim *sim, uint64_t connection);
void sim_manager_hear_joined(struct sim_manager *m, const uint8_t *p, size_t n);

/* From the disk. */
void sim_manager_on_durable(struct sim_manager *m, uint64_t seq);
void sim_manager_on_covered(struct sim_manager *m, uint64_t index);
void sim_manager_on_loaded(struct sim_manager *m, struct store *store, uint64_t applied);
void sim_manager_on_copied(struct sim_manager *m, uint64_t peer, uint64_t index, struct buf *copy);
