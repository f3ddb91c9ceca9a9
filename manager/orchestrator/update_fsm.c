/*
 * The states of a service's update, as users see them:
 *
 *                    +--------> COMPLETED
 *   NONE -> UPDATING +--------> PAUSED
 *              ^     +--------> ROLLBACK_STARTED --> ROLLBACK_COMPLETED
 *              |                                 +-> ROLLBACK_PAUSED
 *              +-- from any of them, when the user changes the service
 *
 * ROLLBACK_STARTED is also entered by a user's `service rollback` (the api moves it). Invariant: a
 * rollback is never rolled back, also not when it goes on for tasks that had no place before, after
 * ROLLBACK_COMPLETED.
 */
#include <assert.h>

#include "manager/orchestrator/orchestrator_internal.h"

#define BIT(state) (1u << (state))

static const unsigned legal_moves[] = {
        [UPDATE_NONE] = BIT(UPDATE_UPDATING),
        [UPDATE_UPDATING] = BIT(UPDATE_UPDATING) | BIT(UPDATE_PAUSED) | BIT(UPDATE_COMPLETED) |
                            BIT(UPDATE_ROLLBACK_STARTED),
        [UPDATE_PAUSED] = BIT(UPDATE_UPDATING),
        [UPDATE_COMPLETED] = BIT(UPDATE_UPDATING),
        [UPDATE_ROLLBACK_STARTED] = BIT(UPDATE_ROLLBACK_PAUSED) | BIT(UPDATE_ROLLBACK_COMPLETED),
        [UPDATE_ROLLBACK_PAUSED] = BIT(UPDATE_UPDATING),
        [UPDATE_ROLLBACK_COMPLETED] = BIT(UPDATE_ROLLBACK_STARTED),
};

void update_move(struct orch_service *os, enum update_state to, const char *message)
{
        struct service *service = os->service;
        int64_t wall_ms = os->o->now.wall_ms;
        bool is_begin = to == UPDATE_UPDATING || to == UPDATE_ROLLBACK_STARTED;
        bool is_end = to == UPDATE_COMPLETED || to == UPDATE_ROLLBACK_COMPLETED;

        assert(legal_moves[service->update.state] & BIT(to));
        store_set_update_status(os->o->store, service, to,
                                is_begin ? wall_ms : service->update.started_ms,
                                is_end ? wall_ms : 0, message);
}
