/*
 * orchestrator: the stage that decides which tasks there should be: replicated and global services,
 * restarts with back-off, rolling updates and rollback, node loss and drain, constraint
 * enforcement, task history. Docker Swarm's rules; the work of a turn is bounded by what changed,
 * not by what exists: a status of one task in a service of 100,000 costs O(log n).
 */
#pragma once

#include "manager/store/store.h"
#include "shared/base/rng.h"

struct orchestrator;

/* Builds its state from the store: restart delays and updates in progress go on. Registers a watch.
 */
struct orchestrator *orchestrator_new(struct store *store, struct now now);
void orchestrator_free(struct orchestrator *o);
/* Looks at all that was noted since the last call and at what is due. Stops early when the store's
 * changes weigh change_max, or after much work (all slots, in a first call). Returns the mono time
 * of its next deadline, now.mono_ms if it stopped early, TIME_NEVER if nothing is waiting. */
int64_t orchestrator_run(struct orchestrator *o, struct now now, struct rng *rng,
                         size_t change_max);
