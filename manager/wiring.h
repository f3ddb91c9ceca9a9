/* wiring: what a manager is made of, opened in order, run, and closed in order. */
#pragma once

#include "manager/options.h"

/* Runs the manager until it is told to end. 0, or the exit code; what went wrong has been logged.
 */
int manager_run(struct options *options, int argc, char *const *argv);
