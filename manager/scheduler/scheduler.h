/*
 * scheduler: the stage that decides where tasks run. Tasks are placed per (service, spec version)
 * group with a heap over the nodes that pass the filters. A group that does not fit is parked until
 * a node or a reservation changes that could help it.
 */
#pragma once

#include "manager/store/store.h"
#include "shared/base/breath.h"

struct scheduler;

/* Builds its picture of the nodes from the store. Registers a watch. breath: for the call. */
struct scheduler *scheduler_new(struct store *store, const struct breath *breath, struct now now);
void scheduler_free(struct scheduler *s);
/* Places what can be placed. Returns as orchestrator_run. */
int64_t scheduler_run(struct scheduler *s, struct now now, size_t change_max);
