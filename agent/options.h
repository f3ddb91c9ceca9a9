/* What an operator tells swarm-agent: its flags, checked. See options.c for the table. */
#pragma once

#include <stdint.h>
#include <stdio.h>

#include "proto/objects.pb-c.h"
#include "shared/base/buf.h"
#include "shared/base/err.h"
#include "shared/base/log.h"

struct agent_options {
        char *data_dir, *join, *token, *advertise, *hostname, *shim, *unpack, *manager,
                *cgroup_parent, *log_level;
        char **labels, **generic;
        int64_t reserve_cpu, reserve_memory;
        enum log_level level;
        struct buf to_keep; /* what a later start may leave out, as it is written */
};

/* 0; 1: help or version printed; -errno with text. agent_options_done in every case. */
int agent_options_parse(int argc, char *const *argv, struct agent_options *ret, FILE *out,
                        struct err *err);
void agent_options_done(struct agent_options *o);
/* What was not told now is what was told at an earlier start, kept in DIR/agent/settings. What is
 * then still open gets its default. */
int agent_options_recall(struct agent_options *o, struct err *err);
/* After the recall, once all of it was found to be good: it is what later starts recall. What was
 * told to be empty (a number: 0) is forgotten. */
int agent_options_keep(const struct agent_options *o, struct err *err);
/* Sets shim, unless it is told, and unpack: the programs beside this one. After the recall. */
int agent_options_find_programs(struct agent_options *o, struct err *err);

/* What this machine is and has, less what the operator keeps back. Heap: wire_free. */
int agent_describe(const struct agent_options *o, Swarm__NodeDescription **ret, struct err *err);
/* The address that this machine sends from to "HOST:PORT". Heap; NULL: there is no way there. */
char *agent_address_to(const char *host_port);
