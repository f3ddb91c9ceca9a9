/*
 * task_fsm: the state machine of one task on its node. Place in the flow: the worker brings desired
 * states and container events, asks for the next step until there is none, and does it. Pure.
 *
 * Two axes, one writer each: `state` is what the manager is told and only moves forward; `phase` is
 * where the container is.
 *
 *   state   ASSIGNED > ACCEPTED > PREPARING > READY > STARTING > RUNNING > COMPLETE | FAILED
 *             |          (a prepare that failed: REJECTED)                 | SHUTDOWN (as desired)
 *             +--- SHUTDOWN, from anywhere, when nothing runs
 *
 *   phase   NONE -prepare-> PREPARING -> PREPARED -start-> STARTING -> RUNNING
 *                              |                              |           |
 *                              |                              +-- stop ---+-> STOPPING
 *                              |                              |           |      |
 *                              +------------> ENDED <---------+-----------+------+
 *           PREPARED, ENDED -remove-> REMOVING -> GONE; NONE and GONE are forgotten
 *
 * Invariant: a container is started at most once, and a task is COMPLETE, FAILED or SHUTDOWN only
 * when nothing of it runs.
 */
#pragma once

#include "agent/agent.h"
#include "shared/model/model.h"

#define TASK_TEXT_MAX 600

enum task_phase {
        PHASE_NONE,
        PHASE_PREPARING,
        PHASE_PREPARED,
        PHASE_STARTING,
        PHASE_RUNNING,
        PHASE_STOPPING,
        PHASE_ENDED,
        PHASE_REMOVING,
        PHASE_GONE,
};

struct task_fsm {
        enum task_state state;   /* written by task_fsm_move */
        enum task_state desired; /* written by task_fsm_want */
        enum task_phase phase;   /* written by task_fsm_event and task_fsm_did */
        bool is_checked;         /* RUNNING waits for a passed health check */
        char *unhealthy;         /* it is stopped because of its health check: why. Heap */
        bool is_removed;         /* the manager forgot it: end and be forgotten */
};

enum task_act { ACT_NONE, ACT_PREPARE, ACT_START, ACT_STOP, ACT_REMOVE, ACT_FORGET };

/* What is to be done next: the state to move to (the present one: none), then the act. */
struct task_step {
        enum task_state state;
        enum task_act act;
};

/* How a container's end reads. state is the present one when nothing ended. */
struct task_end {
        enum task_state state;
        int exit_code;
        char error[TASK_TEXT_MAX];
};

void task_fsm_done(struct task_fsm *f);

/* Desired states move forward only; others are ignored. True when it changed. */
bool task_fsm_want(struct task_fsm *f, enum task_state desired);
struct task_step task_fsm_step(const struct task_fsm *f);
/* Notes that the act has been submitted. Asserts that it was the one asked for. */
void task_fsm_did(struct task_fsm *f, enum task_act act);
/* Moves the phase for an event; ret tells the terminal state, if it led to one: the caller moves
 * to it. False: the event does not fit the phase and was ignored. */
bool task_fsm_event(struct task_fsm *f, const struct container_event *e, struct task_end *ret);
/* The one mover of `state`: asserts that the move is legal. */
void task_fsm_move(struct task_fsm *f, enum task_state state);
/* Docker's word for having reached a state: "started". */
const char *task_fsm_message(enum task_state state);
