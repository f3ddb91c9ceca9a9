/*
 * worker: reconciles the tasks that the manager assigned with those that exist here. Place in the
 * flow: takes assignment sets and container events, steps the state machines of the tasks they
 * touch, and calls the ports; statuses go to the report. Pure but for the ports, which only queue.
 *
 * A COMPLETE set is the truth: what is not in it is stopped, removed and forgotten. An INCREMENTAL
 * one must fit on the set before. A task that is named while it is being removed (a container of a
 * lost journal) begins when it is gone. What was loaded and has no container yet is prepared when a
 * set names it, since the sets bring the images. Specs are kept once a (service, version), counted
 * by their tasks; a few without tasks stay for those that come again in the same session.
 */
#pragma once

#include "agent/agent.h"
#include "agent/report/report.h"
#include "shared/base/list.h"
#include "shared/base/map.h"

/* With those that end or are being removed; the manager places fewer. A task beyond is rejected. */
#define WORKER_TASKS_MAX      (2 * NODE_TASKS_MAX)
#define WORKER_SPECS_IDLE_MAX 256

struct worker {
        const struct agent_ports *ports;
        struct report *report;
        struct map tasks, specs;
        struct list idle_specs; /* longest unused first */
        struct id node_id;      /* zero: not known yet */
        uint64_t seq;           /* results_in of the last set taken; 0: none in this session */
        uint32_t epoch;         /* of the complete set that is being taken */
        bool is_collecting;     /* a complete set goes on in the next message */
        bool has_set;           /* a complete set was taken in this session */
};

void worker_init(struct worker *w, const struct agent_ports *ports, struct report *report);
void worker_done(struct worker *w);

/* As agent_load_task, agent_load_container, agent_get_task and agent_start. */
int worker_load(struct worker *w, const uint8_t *packed, size_t n);
void worker_load_container(struct worker *w, struct id task, bool is_running,
                           const struct container_event *e);
bool worker_get_task(const struct worker *w, struct id task, struct agent_task *ret);
void worker_start(struct worker *w, struct now now);

/* A new session: a complete set comes next. */
void worker_on_session(struct worker *w, struct id node_id);
/* -ESTALE: does not fit on what we have, or names a spec that we do not; a complete set is needed.
 * A copy of a set that was taken already is ignored. */
int worker_assign(struct worker *w, struct now now, const Swarm__Assignments *m);
/* As agent_abandon. */
void worker_abandon(struct worker *w, struct now now);
void worker_on_container(struct worker *w, struct now now, const struct container_event *e);
