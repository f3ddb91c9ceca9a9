/*
 * agent: the agent's decisions, as plain functions over data: the session with the manager, the
 * worker that reconciles assigned with existing tasks, each task's state machine, and the reports.
 * Place in the flow: the driver (agent/wiring.c, or the simulator) brings it messages, container
 * events and the time, and does through the ports what it asks for. Pure but for the ports, which
 * only queue: a port never calls back inside the call.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/dispatch.pb-c.h"
#include "shared/base/err.h"
#include "shared/base/id.h"
#include "shared/base/time.h"
#include "shared/model/model.h"

struct agent;

/* What a container needs beyond its TaskSpec. What it points to lives until the answer to
 * container_remove; the struct itself is borrowed for the call. */
struct agent_task {
        struct id id, service_id;
        uint64_t slot;                  /* 0: global */
        const char *name;               /* web.3 */
        const Swarm__ServiceSpec *spec; /* of the task's version */
        const Swarm__GenericResource *const *generic;
        size_t n_generic;
        enum task_state state; /* as it was last reported */
};

struct agent_ports {
        void *arg;
        /* To the manager over the present connection; may be lost. */
        void (*send)(void *arg, const uint8_t *p, size_t n);
        /* The present manager is silent or refused us: connect to the next one. */
        void (*reconnect)(void *arg);

        /* Containers, by task id. Each is answered later by one agent_on_container event (prepare:
         * PREPARED or FAILED; start: STARTED or FAILED; remove: REMOVED), and a started one by one
         * EXITED in any case. stop: the stop signal, and after the grace period the end by force; a
         * start that is not answered yet is given up, and answered by FAILED.
         * remove may name a container that is not there (any more). */
        void (*container_prepare)(void *arg,
                                  const struct agent_task *t); /* image, volumes, config */
        void (*container_start)(void *arg, const struct agent_task *t);
        /* One that was found without its task is this task's: answered as a start, by how it is
         * (STARTED, EXITED), or by FAILED. */
        void (*container_adopt)(void *arg, const struct agent_task *t);
        void (*container_stop)(void *arg, struct id task);
        void (*container_remove)(void *arg, struct id task);

        /* The journal: what must outlive the agent. No container starts after such a call before it
         * is durable against the agent's death. packed: a JournalTask of the caller's; removed
         * tasks are forgotten. */
        void (*journal_put)(void *arg, struct id task, const uint8_t *packed, size_t n);
        void (*journal_remove)(void *arg, struct id task);

        /* An image that came with the assignments; told before a task that uses it is prepared.
         * May be NULL. */
        void (*on_image)(void *arg, const Swarm__Image *m);
        /* Logs and blobs are the driver's: messages of these kinds are handed through. */
        void (*on_blob_data)(void *arg, const Swarm__BlobData *m);
        void (*on_log_start)(void *arg, const Swarm__LogStart *m);
        void (*on_log_stop)(void *arg, const Swarm__LogStop *m);
        void (*on_log_ack)(void *arg, const Swarm__LogAck *m);
        /* Has the disk no room for what a new task needs? Asked for each heartbeat. May be NULL. */
        bool (*is_disk_full)(void *arg);
        /* The node's id and labels, as the manager tells them (templates need them). */
        void (*on_session)(void *arg, const Swarm__Session *m);
        /* The managers, when they are others now, and the node's role. May be NULL. */
        void (*on_heartbeat)(void *arg, const Swarm__HeartbeatReply *m);
        /* The manager will not have us: EACCES: the node was removed; EPROTO. May be NULL. */
        void (*on_refused)(void *arg, const Swarm__Refused *m);
};

enum container_event_kind {
        CONTAINER_PREPARED,
        CONTAINER_STARTED,   /* the program runs; is_health_checked: wait for HEALTHY */
        CONTAINER_HEALTHY,   /* a check passed: the first, or after one that was told */
        CONTAINER_UNWELL,    /* a check failed, and nothing follows from it yet: text says how */
        CONTAINER_UNHEALTHY, /* it is to be stopped */
        CONTAINER_EXITED,
        CONTAINER_FAILED, /* prepare or start did not work: text says why */
        CONTAINER_REMOVED,
};

struct container_event {
        struct id task;
        enum container_event_kind kind;
        bool is_health_checked;
        int exit_code; /* EXITED: 0..255, -1: not known */
        bool is_oom;
        int64_t wall_ms;  /* when it happened; 0: now */
        const char *text; /* why: FAILED, UNWELL, UNHEALTHY, EXITED with an unknown status */
};

struct agent_config {
        uint64_t seed;                             /* for jitter */
        const Swarm__NodeDescription *description; /* borrowed; see agent_set_description */
};

struct agent *agent_new(const struct agent_config *c, const struct agent_ports *ports);
void agent_free(struct agent *a);

/* At start, in this order: what the journal holds, then what the runtime found (tasks of the
 * journal without a container that got as far as STARTING have ended with an unknown status), then
 * start. */
int agent_load_task(struct agent *a, const uint8_t *packed, size_t n); /* -EBADMSG */
/* One of no task that was loaded (the journal is lost) is kept as it is until the manager's set
 * names its task, or does not. e: of one that ended, its EXITED; of one that runs, NULL or a
 * STARTED (for is_health_checked). */
void agent_load_container(struct agent *a, struct id task, bool is_running,
                          const struct container_event *e);
/* A task that was loaded, for taking over its container. False: there is none, or its spec is not
 * valid. */
bool agent_get_task(const struct agent *a, struct id task, struct agent_task *ret);
void agent_start(struct agent *a, struct now now);

/* Events. A message that is garbage or of another session is dropped. */
void agent_on_message(struct agent *a, struct now now, const uint8_t *p, size_t n);
void agent_on_connected(struct agent *a, struct now now); /* a new connection: register */
void agent_on_container(struct agent *a, struct now now, const struct container_event *e);
/* A message could not be sent: asks for a new session, in which all that matters is told again. */
void agent_on_lost(struct agent *a, struct now now);
/* Does what is due. Call when agent_deadline has come. */
void agent_tick(struct agent *a, struct now now);
/* The node was removed from the cluster: all containers are ended and removed, the journal is
 * emptied. */
void agent_abandon(struct agent *a, struct now now);
bool agent_is_idle(const struct agent *a); /* no task is left */
/* When agent_tick is to be called at the latest, mono ms; TIME_NEVER: only on events. */
int64_t agent_deadline(const struct agent *a);
void agent_set_description(struct agent *a, const Swarm__NodeDescription *d); /* registers anew */
/* The session id to put into messages of the driver's own; n = 0: none. Borrowed. */
ProtobufCBinaryData agent_session(const struct agent *a);
