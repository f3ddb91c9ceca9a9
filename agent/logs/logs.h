/*
 * logs: reads containers' logs for whoever follows them through the manager. Place in the flow: a
 * LogStart of the manager comes in, LogData and LogEnd go out, as fast as the manager acknowledges.
 * Lines are never torn and never lost, over rotations too: a file is read to its end before the one
 * that took its place. What can fail: a task that is not (or no longer) here: LogEnd says so.
 */
#pragma once

#include "agent/runtime/runtime.h"
#include "proto/dispatch.pb-c.h"

#define LOGS_STREAMS_MAX 256
#define LOGS_BATCH_LINES 256
#define LOGS_BATCH_BYTES (128u << 10)
#define LOGS_LINE_MAX    (17u << 10) /* of a record: the supervisor splits at 16 KiB */

struct agent_logs;

struct agent_logs_port {
        void *arg;
        /* log_data or log_end is set; the callee fills the session in. */
        void (*send)(void *arg, Swarm__AgentMessage *m);
        bool (*is_running)(void *arg, struct id task);
};

struct agent_logs *agent_logs_new(struct loop *l, struct runtime *rt,
                                  const struct agent_logs_port *p);
void agent_logs_free(struct agent_logs *g);
void agent_logs_start(struct agent_logs *g, const Swarm__LogStart *m);
void agent_logs_stop(struct agent_logs *g, const Swarm__LogStop *m);
void agent_logs_ack(struct agent_logs *g, const Swarm__LogAck *m);
/* The container has ended: the rest is sent, then LogEnd. */
void agent_logs_task_ended(struct agent_logs *g, struct id task);
/* A new session: the manager knows none of the streams any more. */
void agent_logs_reset(struct agent_logs *g);
