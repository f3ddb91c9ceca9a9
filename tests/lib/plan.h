/*
 * A cluster under plan: the store, the orchestrator and the scheduler on a clock of its own, and
 * simple agents that run what they are given. What the two stages decide is written down as text.
 * For the golden cases and for unit tests.
 *
 * How a task behaves is in its image's name: "bad" fails instead of running, "crash" runs and fails
 * after a second, "done" runs and completes after a second, "hang" never runs; others run for ever.
 */
#pragma once

#include "manager/orchestrator/orchestrator.h"
#include "manager/scheduler/scheduler.h"
#include "shared/base/base.h"

#define PLAN_LIFE_MS 1000 /* of "crash" and "done" */

struct plan {
        struct store *store;
        struct orchestrator *orchestrator;
        struct scheduler *scheduler;
        struct store_watch watch;
        struct now now;
        int64_t start_ms; /* mono */
        struct rng rng;
        size_t change_max;  /* of a turn */
        int64_t run_ms;     /* agents start tasks after this; negative: they do nothing */
        int64_t stop_ms;    /* and stop them after this */
        struct list events; /* of agents, by time */
        struct list names;  /* of tasks and nodes ever seen */
        struct map by_id;   /* names by id */
        struct buf out;     /* decisions since plan_forget */
        struct buf entries; /* all that was committed: a length (8 bytes) before each */
        bool is_in_stage;
        uint64_t last_node, last_service;
};

void plan_open(struct plan *p);
void plan_close(struct plan *p);
/* Runs the stages until they wait for something, and the agents' events that are due. */
void plan_settle(struct plan *p);
void plan_advance(struct plan *p, int64_t ms);
/* The manager ends and comes back: everything is built again from the entries. */
void plan_restart(struct plan *p);
/* "web.1", "web.1#2" (second task of the slot), "web@n1": in the order they were made. */
const char *plan_name(struct plan *p, struct id id);
struct task *plan_find_task(struct plan *p, const char *name); /* NULL: none */
struct node *plan_find_node(struct plan *p, const char *name);
void plan_name_node(struct plan *p, struct id id, const char *name);
/* The agent of a node that came back: stops and starts what it is told. */
void plan_agent_returns(struct plan *p, struct node *node);
/* A line into the decisions, after the time. */
void plan_say(struct plan *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
