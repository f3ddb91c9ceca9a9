/*
 * members: the managers that agree are those that the state says. Place in the flow: the leader
 * compares the nodes of role manager with the members of the log, and proposes one change at a
 * time: who is new becomes a learner, who has caught up a voter, who is no manager any more leaves.
 *
 * Pure.
 */
#pragma once

#include "manager/replica/replica.h"

struct members;

/* For one leadership; the store is borrowed. */
struct members *members_new(struct store *store);
void members_free(struct members *m); /* NULL is fine */
/* Call between turns. Returns when to call again at the latest: mono time. */
int64_t members_run(struct members *m, struct replica *r, struct now now);
/* Could the others still agree if this one left, as far as they are heard now? Those that the state
 * takes off the members already are not counted. */
bool members_can_leave(const struct members *m, const struct replica *r, uint64_t id,
                       struct err *err);
/* UNREACHABLE also for one that does not vote yet: nobody may count on it. Only the leader can
 * tell. */
enum manager_status members_status(const struct replica *r, uint64_t id);
/* As turn_config.get_member; likewise only the leader. */
bool members_get(const struct replica *r, size_t i, struct turn_member *ret);
