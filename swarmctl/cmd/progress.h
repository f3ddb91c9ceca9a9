/*
 * progress: how a service comes to be what was asked for, told from what the manager's watch says.
 * Pure: messages and the time in, lines (or, for a terminal, frames that replace each other) and
 * the end out.
 *
 *   GOES_ON --+-- no update under way, and as many tasks run as should, for monitor_ms,
 *             |   and what should run no more has ended --------------------------------> CONVERGED
 *             +-- the update or rollback is paused -----------------------------------> PAUSED
 *             +-- an update's rollback, which the user did not ask for, is complete --> ROLLED_BACK
 *
 * Any task that leaves `running` starts monitor_ms anew. After an update that the manager itself
 * has watched (its failure action is not `continue`) nothing is left to wait for.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/control.pb-c.h"
#include "shared/base/buf.h"

#define PROGRESS_TASKS_MAX       64   /* that are told of one by one */
#define PROGRESS_LINE_MS         1000 /* least time between two lines of counts */
#define PROGRESS_DEFAULT_COLUMNS 80

struct progress_config {
        const char *name;          /* of the service */
        int64_t monitor_ms;        /* how long all tasks must run */
        int64_t before_started_ms; /* of the update status before the change; 0: none */
        bool is_rollback;          /* asked for by the user */
        bool is_unwatched;         /* failure action `continue`: the manager does not watch */
        bool is_terminal;
        unsigned columns; /* of the terminal; 0: PROGRESS_DEFAULT_COLUMNS */
};

enum progress_result {
        PROGRESS_GOES_ON,
        PROGRESS_CONVERGED,
        PROGRESS_PAUSED,
        PROGRESS_ROLLED_BACK,
};

struct progress;

struct progress *progress_new(const struct progress_config *config); /* copies it */
void progress_free(struct progress *p);                              /* NULL is fine */

/* m: the next message of the watch, or NULL when only time has passed. Appends what is to be
 * printed. now_ms: mono. To be called no more once it has ended. */
enum progress_result progress_step(struct progress *p, const Swarm__Progress *m, int64_t now_ms,
                                   struct buf *out);
/* In how many ms progress_step is to be called without a message; -1: never. */
int64_t progress_wait_ms(const struct progress *p, int64_t now_ms);
/* How far it has come, while it goes on: "2 of 3 tasks running; web.3: no suitable node". To be
 * freed. */
char *progress_state(const struct progress *p);
/* After PAUSED and ROLLED_BACK: "service update paused: task web.1 failed early". */
const char *progress_reason(const struct progress *p);
