/*
 * logs: sends containers' log lines to the manager, as it asked for: the last ones, those since a
 * time, and those to come. Place in the flow: beside the core; the driver hands the manager's
 * messages in, and sends what comes out. Lines go out in batches, of which a stream may have
 * LOG_WINDOW that the manager has not acknowledged, so that a slow reader slows nobody else.
 */
#pragma once

#include "proto/dispatch.pb-c.h"
#include "shared/base/id.h"
#include "shared/loop/loop.h"

#define LOGS_TAILS_MAX 100000 /* tasks in all streams; beyond, a stream is refused */
/* Files of containers that are removed while somebody has yet to read them, which stay on the disk
 * that long; beyond, the rest of a log is lost, and that is told. */
#define LOGS_HELD_MAX        1000
#define LOGS_BATCH_BYTES_MAX (256u << 10)
#define LOGS_BATCH_LINES_MAX 2000

struct agent_logs;

struct agent_logs_ports {
        void *path_arg;
        char *(*path)(void *arg, struct id id, int n); /* as runtime_log_path */
        void *arg;                                     /* of what follows */
        bool (*is_live)(void *arg, struct id id);      /* runs, or will: more lines may come */
        void (*send_data)(void *arg, const Swarm__LogData *m);
        void (*send_end)(void *arg, const Swarm__LogEnd *m);
};

struct agent_logs *agent_logs_new(struct loop *l, const struct agent_logs_ports *ports);
void agent_logs_free(struct agent_logs *s); /* NULL is fine */

void agent_logs_start(struct agent_logs *s, const Swarm__LogStart *m);
void agent_logs_stop(struct agent_logs *s, uint64_t stream);
void agent_logs_on_ack(struct agent_logs *s, uint64_t stream, uint32_t count);
void agent_logs_on_session(struct agent_logs *s); /* a new session: all streams are over */

/* A container began, ended, or is to be removed: its files are there for this call yet, and are
 * read to their end whenever whoever follows gets to it. */
void agent_logs_on_start(struct agent_logs *s, struct id task);
void agent_logs_on_end(struct agent_logs *s, struct id task);
void agent_logs_on_remove(struct agent_logs *s, struct id task);

char *agent_logs_runtime_path(void *arg, struct id id,
                              int n); /* path of a struct runtime, which is arg */
