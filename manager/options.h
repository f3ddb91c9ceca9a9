/* What an operator tells swarm-manager: its flags, checked. See options.c for the table. */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "shared/base/err.h"
#include "shared/base/log.h"

struct options {
        char *data_dir, *advertise, *listen, *join, *token, *hostname, *log_level, *restore;
        bool init, force_new_cluster;
        enum log_level level;
};

/* 0; 1: help or version printed; -errno with text. options_done in every case. */
int options_parse(int argc, char *const *argv, struct options *ret, FILE *out, struct err *err);
/* For a manager that is told neither to make nor to enter a cluster: the agent of a node that was
 * promoted leaves word where to join, in DIR/agent/manager. */
int options_take_promotion(struct options *o, struct err *err);
/* What was not told now is what was told at an earlier start, kept in DIR/manager/address. */
int options_complete(struct options *o, struct err *err);
void options_done(struct options *o);
