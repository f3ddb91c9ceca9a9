/*
 * The restart policy: whether a slot whose task ended goes on, and after what delay. All that it
 * needs is in the stored tasks, so that a manager that restarts goes on where it was:
 *   task.attempts   restarts of this slot and spec version before the task (MaxAttempts)
 *   task.failures   failures in a row before the task (back-off: the delay doubles with each)
 *   not_before_ms   when the delay is over, wall clock
 * What the node did (lost, drained) is not the task's fault: no delay, nothing is counted.
 */
#include "manager/orchestrator/orchestrator_internal.h"

bool node_is_lost(const struct node *node)
{
        return node->state == NODE_DOWN;
}

bool restart_ended_by_itself(const struct task *task)
{
        return task->state == TASK_COMPLETE || task->state == TASK_FAILED ||
               task->state == TASK_REJECTED;
}

/* Restarts of this version in the slot that fall into the window before the task ended. */
static uint64_t attempts_in_window(const struct slot *slot, const struct task *ended,
                                   int64_t window_ms)
{
        uint64_t n = 0;

        for (size_t i = 0; i < slot->count; i++) {
                const struct task *task = slot_task(slot, i);

                n += task->spec->version == ended->spec->version && task->attempts > 0 &&
                     task->created_ms > ended->state_ms - window_ms;
        }
        return n;
}

bool restart_is_wanted(const struct slot *slot, const struct task *ended)
{
        const Swarm__RestartPolicy *policy = ended->spec->msg->task->restart;

        if (!policy)
                return true;
        if (policy->condition == RESTART_NONE)
                return false;
        if (policy->condition == RESTART_ON_FAILURE && ended->state == TASK_COMPLETE)
                return false;
        if (policy->max_attempts == 0)
                return true;
        if (policy->window_ms == 0)
                return ended->attempts < policy->max_attempts;
        return attempts_in_window(slot, ended, policy->window_ms) < policy->max_attempts;
}

static int64_t base_delay_ms(const struct task *task)
{
        const Swarm__RestartPolicy *policy = task->spec->msg->task->restart;

        return policy && policy->delay_ms ? policy->delay_ms->value : DEFAULT_RESTART_DELAY_MS;
}

/* The delay after `failures` failures in a row, the last one included. A slot without a delay of
 * its own gets one with its third failure: else it would fail a thousand times a second. */
static int64_t delay_ms(int64_t base_ms, unsigned failures)
{
        int64_t ms = base_ms;

        for (unsigned i = 1; i < failures && ms < RESTART_BACKOFF_MAX_MS; i++) {
                int64_t least_ms = i > 1 ? RESTART_BACKOFF_MIN_MS : 0;

                ms = MIN(MAX(ms * 2, least_ms), RESTART_BACKOFF_MAX_MS);
        }
        return ms;
}

void restart_task(struct slot *slot, const struct task *ended)
{
        struct orch_service *os = slot->os;
        int64_t wall_ms = os->o->now.wall_ms, not_before_ms = 0;
        unsigned failures = ended->failures, attempts = ended->attempts;
        bool is_new = ended->spec->version != os->service->spec->version;
        bool is_fresh = is_new && task_is_dirty(os, ended); /* nothing of it has failed yet */

        if (restart_ended_by_itself(ended)) {
                bool is_reset = ended->running_ms &&
                                ended->state_ms - ended->running_ms >= RESTART_BACKOFF_RESET_MS;

                if (ended->state == TASK_COMPLETE && base_delay_ms(ended) > 0)
                        failures = 0;
                else
                        failures = is_reset ? 1 : failures + 1;
                attempts++;
                not_before_ms = wall_ms + delay_ms(base_delay_ms(ended), failures);
                if (not_before_ms <= wall_ms)
                        not_before_ms = 0;
        }
        if (is_new)
                attempts = 0;
        if (is_fresh)
                failures = 0;
        slot_add_task(slot, TASK_READY,
                      &(struct task_init){
                              .failures = (uint16_t)MIN(failures, UINT16_MAX),
                              .attempts = (uint16_t)MIN(attempts, UINT16_MAX),
                              .not_before_ms = not_before_ms,
                              .of_update = !is_new && !restart_ended_by_itself(ended) &&
                                           ended->flags & TASK_FLAG_UPDATE,
                      });
}

/* It may still run somewhere: it was given to a node that is there, and has not ended. */
static bool may_run(const struct task *task)
{
        return task->state >= TASK_ASSIGNED && !task_has_ended(task) && task->node &&
               !node_is_lost(task->node);
}

int64_t restart_held_ms(const struct slot *slot, const struct task *task)
{
        struct now now = slot->os->o->now;
        int64_t wait_ms = MAX(task->not_before_ms - now.wall_ms, 0);
        /* A wall clock that was set back must not hold it for longer than a delay is. */
        int64_t longest_ms = MAX(base_delay_ms(task), RESTART_BACKOFF_MAX_MS);

        return now.mono_ms + MIN(wait_ms, longest_ms);
}

int64_t restart_start_ms(const struct slot *slot, const struct task *task)
{
        struct now now = slot->os->o->now;
        int64_t held_ms = restart_held_ms(slot, task), wait_ms;

        if (held_ms > now.mono_ms)
                return held_ms;
        int64_t since_ms = MAX(task->created_ms, task->not_before_ms);
        wait_ms = MIN(since_ms + OLD_TASK_WAIT_MS - now.wall_ms, OLD_TASK_WAIT_MS);
        if (wait_ms <= 0)
                return now.mono_ms;
        for (size_t i = 0; i < slot->count; i++) {
                const struct task *old = slot_task(slot, i);

                if (old != task && !task_is_live(old) && may_run(old))
                        return now.mono_ms + wait_ms;
        }
        return now.mono_ms;
}
