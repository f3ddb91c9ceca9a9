/*
 * sim: the real managers (replica, relay, front, members) and the real agent cores in one process,
 * on a simulated clock, network, runtime and disks, all drawn from one seed. Faults happen for a
 * while (safety phase: invariants are checked at every step), then all faults stop and the cluster
 * must converge (liveness phase) or the simulator says what is stuck.
 *
 * The method is TigerBeetle's and FoundationDB's; the code is ours.
 */
#pragma once

#include "agent/agent.h"
#include "manager/turn.h"
#include "proto/control.pb-c.h"
#include "shared/base/base.h"
#include "shared/wire/wire.h"
#include "tests/sim/sim_agreed.h"
#include "tests/sim/sim_client.h"
#include "tests/sim/sim_manager.h"
#include "tests/sim/sim_net.h"
#include "tests/sim/sim_register.h"

#define SIM_NODES_MAX     10
#define SIM_SERVICES_MAX  6
#define SIM_WALL_START_MS 1700000000000

struct sim;
typedef void sim_fn(struct sim *sim, void *arg);

/* How bad the world is, drawn from the seed; all zero once healed. Chances are of 1000. */
struct sim_faults {
        uint64_t loss, duplicate, slow;                        /* a message */
        uint64_t manager_crash, manager_pause, manager_wipe;   /* a second, of each manager */
        uint64_t disk_full, disk_slow, demote;                 /* likewise */
        uint64_t power, split, isolate;                        /* a second */
        uint64_t link_breaks;                                  /* a message between managers */
        uint64_t agent_crash, node_reboot, partition;          /* a second, of each node */
        uint64_t journal_loss;                                 /* a crash of an agent */
        uint64_t prepare_fails, start_fails, exits, unhealthy; /* a container */
};

enum sim_container_state { SIM_PREPARING, SIM_PREPARED, SIM_STARTING, SIM_RUNNING, SIM_ENDED };

struct sim_container {
        struct id id;
        struct sim_agent *agent;
        enum sim_container_state state;
        bool is_bad; /* of an image that never works */
        bool is_health_checked, is_stopping;
        int starts; /* at most one, ever */
        int exit_code;
        struct id service_id;
        uint64_t slot;
        struct list link;
};

struct sim_agent {
        struct sim *sim;
        int index;
        struct agent *core;  /* NULL while the process is dead */
        uint64_t life;       /* counts starts of the process: events of an earlier one are void */
        uint64_t connection; /* of the present life */
        int manager;         /* where that leads */
        int64_t connected_ms;
        int64_t hurt_ms; /* when it was last dead, cut off, or lost a message */
        uint8_t key[32];
        struct id node;
        bool is_joined, is_cut, is_removed;
        bool is_down;    /* by what is agreed */
        bool is_drained; /* in the end: the others are active then */
        int64_t tick_at;
        struct list containers; /* of the machine: they outlive the agent */
        struct map journal;     /* what the agent wrote, by task */
        struct buf reported;    /* the last status batch that it sent */
        Swarm__NodeDescription description;
        Swarm__Resources capacity;
        char hostname[16];
};

struct sim {
        uint64_t seed;
        struct rng rng;
        int64_t now_ms;
        bool is_verbose, is_healed, is_settled;
        struct sim_faults faults;
        struct sim_event *events; /* binary heap */
        size_t n_events, cap_events;
        uint64_t event_seq;

        struct raft_settings raft;
        double drift;
        struct sim_manager managers[SIM_MANAGERS_MAX];
        int n_managers;
        struct sim_net net;
        struct sim_agreed agreed;
        struct sim_agent agents[SIM_NODES_MAX];
        int n_agents;
        struct sim_user user;
        struct sim_service services[SIM_SERVICES_MAX];
        int n_services;
        struct sim_registers registers;
        uint64_t next_request, next_manager;
        int64_t lost_ms, demoted_ms; /* a manager, at last */
        char worker_secret[64], manager_secret[64];
        char failure[512]; /* "": none */
        struct map seen;   /* of sim_told.c */
        uint64_t n_messages, n_crashes, n_starts, n_elections, n_installs, n_drops;
};

/* sim.c: the world. */
void sim_at(struct sim *sim, int64_t delay_ms, sim_fn *fn, void *arg);
struct now sim_now(const struct sim *sim);
bool sim_chance(struct sim *sim, uint64_t of_thousand);
int64_t sim_between(struct sim *sim, int64_t low, int64_t high);
void sim_fail(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
void sim_trace(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* sim_fault.c */
void sim_fault_draw(struct sim *sim);
void sim_fault_second(struct sim *sim);
void sim_fault_heal(struct sim *sim);

/* sim_agent.c */
void sim_agent_init(struct sim *sim, int index);
void sim_agent_start(struct sim_agent *a);
void sim_agent_crash(struct sim_agent *a);
void sim_agent_reboot(struct sim_agent *a);
void sim_agent_hear(struct sim_agent *a, uint64_t connection, const uint8_t *p, size_t n);
void sim_agent_broken(struct sim_agent *a); /* its connection: it makes another */
struct sim_agent *sim_agent_by_key(struct sim *sim, const uint8_t key[32]);
struct sim_agent *sim_agent_by_connection(struct sim *sim, uint64_t connection);
void sim_agent_done(struct sim_agent *a);
struct sim_container *sim_agent_find(struct sim_agent *a, struct id task);

/* sim_check.c */
void sim_check_step(struct sim *sim);
/* NULL: the managers are of one mind, and all there; else as below. */
const char *sim_check_managers(struct sim *sim);
/* NULL: converged; else what is stuck, in a static buffer. */
const char *sim_check_converged(struct sim *sim);
