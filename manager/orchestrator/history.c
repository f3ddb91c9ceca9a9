/*
 * Task history: what is to be removed goes as soon as nothing can run of it, what is no longer
 * wanted before it had a node at once (it would wait for one for ever), and a slot keeps no
 * more tasks than the cluster's limit says, its live one counted, and those that the restart
 * policy's window still needs, TASK_HISTORY_MAX in all. A task on a lost node may go: when the node
 * returns, its agent gets the complete set and stops what is not in it.
 */
#include "manager/orchestrator/orchestrator_internal.h"

static bool can_go(const struct task *task)
{
        return !task_is_live(task) && (task->state < TASK_ASSIGNED || task_has_ended(task) ||
                                       !task->node || node_is_lost(task->node));
}

void history_reap(struct slot *slot)
{
        for (size_t i = slot->count; i-- > 0;) {
                struct task *task = slot_task(slot, i);

                const bool was_anywhere = task->state >= TASK_ASSIGNED;

                if ((task->desired == TASK_REMOVE || !was_anywhere) && can_go(task))
                        store_remove_task(slot->os->o->store, task);
        }
}

/* The window of the restart policy has to see it: see attempts_in_window. It ends when the newest
 * task did, or will end now or later. */
static bool is_in_window(const struct slot *slot, const struct task *task,
                         const struct task *newest)
{
        const Swarm__RestartPolicy *policy = newest->spec->msg->task->restart;
        int64_t end_ms = task_has_ended(newest) ? newest->state_ms : slot->os->o->now.wall_ms;

        return policy && policy->max_attempts > 0 && policy->window_ms > 0 && task->attempts > 0 &&
               task->spec->version == newest->spec->version &&
               task->created_ms > end_ms - policy->window_ms;
}

void history_trim(struct slot *slot)
{
        struct orchestrator *o = slot->os->o;
        int64_t limit = o->history_limit < 0 ? TASK_HISTORY_MAX : o->history_limit;
        struct task *newest = slot_newest(slot), *last = slot_last(slot);
        size_t excess;

        limit = MIN(MAX(limit, 1), TASK_HISTORY_MAX);
        if (slot->count <= limit || !newest)
                return;
        excess = slot->count - (size_t)limit;
        for (size_t i = 0; excess > 0 && i < slot->count;) {
                struct task *task = slot_task(slot, i);

                if (task != newest && task != last && can_go(task) &&
                    (slot->count > TASK_HISTORY_MAX || !is_in_window(slot, task, newest)))
                        store_remove_task(o->store, task);
                else
                        i++;
                excess = slot->count > limit ? slot->count - (size_t)limit : 0;
        }
}
