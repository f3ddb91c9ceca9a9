/*
 * What the orchestrator's files share. A service has slots (numbered, or one a node for a global
 * service), a slot has tasks: at most two live ones (an update with start-first), the others are
 * history. Everything is looked at by level, not by edge: `slot_step` reads what is, takes the next
 * action and says when it wants to look again, so that a restarted manager goes on from the store.
 */
#pragma once

#include "manager/orchestrator/slot_internal.h"

struct orch_node {
        struct node *node;
        struct list link; /* orchestrator.dirty_nodes */
};

struct orchestrator {
        struct store *store;
        struct store_watch watch;
        struct list dirty_slots, dirty_services, dirty_nodes;
        struct list globals;
        struct slot **heap; /* timers, soonest first */
        size_t heap_len, heap_cap;
        int64_t history_limit;
        struct now now;  /* of the run */
        struct rng *rng; /* likewise */
        size_t change_max;
};

/* orchestrator.c */
void slot_mark(struct slot *slot);
void service_mark(struct orch_service *os);
void node_mark(struct orchestrator *o, struct node *node);
static inline bool is_full(struct orchestrator *o)
{
        return store_change_weight(o->store) >= o->change_max;
}

/* index.c: slots of a service, tasks of a slot, timers */
struct orch_service *index_add_service(struct orchestrator *o, struct service *service);
void index_remove_service(struct orch_service *os);
struct slot *index_slot(struct orch_service *os, uint32_t number);
struct slot *index_global_slot(struct orch_service *os, struct node *node);
void index_drop_node(struct orch_service *os, struct node *node);
struct slot *index_slot_of(const struct task *task); /* NULL: its service is not known */
void index_add_task(struct slot *slot, struct task *task);
void index_remove_task(struct slot *slot, struct task *task);
void index_review(struct slot *slot); /* is_occupied may have changed */
/* Slots of a service one after another: start with *i = 0, NULL at the end. */
struct slot *index_next(struct orch_service *os, size_t *i);
void timer_set(struct slot *slot, int64_t due_ms); /* TIME_NEVER: none */
struct slot *timer_take_due(struct orchestrator *o, int64_t mono_ms);

static inline struct task *slot_task(const struct slot *slot, size_t i)
{
        return slot->cap ? slot->tasks.many[i] : slot->tasks.one;
}
struct node *slot_node(const struct slot *slot); /* of a global slot */
/* The newest live task, else the newest that is not to be removed, else NULL. */
struct task *slot_newest(const struct slot *slot);
/* The last one made that is not to be removed, live or not; NULL: none. */
struct task *slot_last(const struct slot *slot);
static inline bool task_is_live(const struct task *task) /* it is wanted */
{
        return task->desired <= TASK_RUNNING;
}
static inline bool task_has_ended(const struct task *task)
{
        return task_state_is_terminal(task->state);
}

/* slot.c */
/* A task of the spec in force has ended without ever running, and the old one serves on: the slot
 * has had its turn in the update, and its restart policy says what comes of it. */
bool slot_has_failed(const struct slot *slot);
void slot_step(struct slot *slot);
/* A new task of the service's spec in force; as: what else it is to have. */
struct task *slot_add_task(struct slot *slot, enum task_state desired, const struct task_init *as);
void slot_set_desired(struct slot *slot, struct task *except, enum task_state desired);
/* A global service's: may it run there, and may something new begin there? */
bool slot_node_is_valid(const struct slot *slot);
bool slot_node_is_open(const struct slot *slot);

/* restart.c */
bool node_is_lost(const struct node *node);
bool restart_is_wanted(const struct slot *slot, const struct task *ended);
/* The task ended by itself, so that the restart policy's delay holds. */
bool restart_ended_by_itself(const struct task *task);
void restart_task(struct slot *slot, const struct task *ended);
/* When the task's delay is over: mono time, now or before for "it is". */
int64_t restart_held_ms(const struct slot *slot, const struct task *task);
/* When the task may get desired RUNNING: mono time, now or before for "at once". */
int64_t restart_start_ms(const struct slot *slot, const struct task *task);

/* service.c */
void service_step(struct orch_service *os);
/* It is to be replaced: of another spec, or placed where the one in force does not allow it. */
bool task_is_dirty(struct orch_service *os, const struct task *task);
/* More than its placement is another in the spec in force. */
bool task_is_outdated(struct orch_service *os, const struct task *task);

/* update.c */
void update_review(struct orch_service *os); /* the spec in force is another, or just loaded */
void update_pump(struct orch_service *os);   /* next slots, completion */
void update_slot(struct slot *slot, int64_t *due_ms);
void update_add(struct slot *slot);    /* a slot became dirty by itself */
void update_forget(struct slot *slot); /* it has no part in the update any more */

/* update_fsm.c: what becomes of service->update */
void update_move(struct orch_service *os, enum update_state to, const char *message);

/* history.c */
void history_reap(struct slot *slot);
void history_trim(struct slot *slot);

/* node.c */
void node_step(struct orchestrator *o, struct node *node);
