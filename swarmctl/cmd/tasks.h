/*
 * tasks: the table of tasks that `service ps` and `node ps` print: newest first within a slot, the
 * slot's earlier tasks marked as its history.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/base/buf.h"
#include "swarmctl/cmd/cmd.h"

/* --filter --format --no-resolve --no-trunc --quiet */
extern const struct flag tasks_flags[];

/* The whole command: asks for the tasks of the services (or nodes) and prints them. Returns an exit
 * code. args: parsed with tasks_flags. */
int tasks_run_ps(struct ctl *ctl, const struct args *args, char *const *refs, size_t n,
                 bool refs_are_nodes);

/* Sorts the tasks and appends their table, in the form that args ask for. -EINVAL with a text for a
 * bad --format. */
int tasks_format(const struct args *args, Swarm__Task **tasks, size_t n, int64_t now_ms,
                 struct buf *out, struct err *err);
/* The same to standard output. Returns an exit code. */
int tasks_print(struct ctl *ctl, const struct args *args, Swarm__Task **tasks, size_t n);

/* "web.1", of a global service "web.<node id>"; with ids in place of names when !resolve. */
char *task_label(const Swarm__Task *t, bool resolve);
