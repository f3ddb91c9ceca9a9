/* wiring: makes an agent of its parts and runs it. See wiring.c. */
#pragma once

#include "agent/options.h"

/* Runs until SIGTERM or SIGINT, which leave the containers running, or until the cluster will not
 * have this node. Returns the process's exit status; what was wrong has been said. */
int agent_run(struct agent_options *o, int argc, char *const *argv);
