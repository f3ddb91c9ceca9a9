/*
 * wait: what `service create`, `update`, `scale` and `rollback` do once the manager has accepted
 * the change: follow the service until it has converged, and say how it went. A manager that
 * restarts meanwhile is waited for: the change is in force, whether it is followed or not.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "swarmctl/cmd/cmd.h"

struct wait_config {
        const char *name;          /* of the service, for what is said */
        const char *done;          /* what has been accepted: "created" */
        bool is_rollback;          /* by hand: that it rolls back is what was asked for */
        int64_t before_started_ms; /* of the update status before the change; 0: none */
};

/* --detach --quiet */
extern const struct flag wait_flags[];

/* Returns at once with --detach, prints nothing with --quiet. ref: the service. Returns an exit
 * code; what went wrong has been said. */
int wait_converged(struct ctl *ctl, const struct args *args, const char *ref,
                   const struct wait_config *config);

/* Asks for one service. what: NULL, or as in ctl_ask. *ret is the answer that owns *ret_service, to
 * be freed with wire_free. Returns 0 or an exit code, said. */
int wait_get_service(struct ctl *ctl, const char *ref, const char *what, Swarm__Response **ret,
                     Swarm__Service **ret_service);
