/*
 * One slot, looked at by level. What the newest of its tasks that is not to be removed decides:
 *
 *   none ----------------------------------> free: only tasks to be removed, or nothing
 *   live, fine ----------------------------> started when its time has come; older live ones
 * stopped live, ended ---------> desired SHUTDOWN, and (restart policy) a new task, held back by
 * the delay live, node lost -----> desired SHUTDOWN, and a new task at once live, node drained -->
 * desired SHUTDOWN, and a new task that waits for the old one to stop not live -------------->
 * finished, unless the restart policy wants it to go on
 *
 * Desired states only grow: READY, RUNNING, SHUTDOWN, REMOVE.
 */
#include <assert.h>

#include "manager/orchestrator/orchestrator_internal.h"
#include "manager/store/constraint.h"

struct task *slot_add_task(struct slot *slot, enum task_state desired, const struct task_init *as)
{
        struct orch_service *os = slot->os;
        struct orchestrator *o = os->o;
        struct task_init init = *as;

        init.id = id_make(o->rng);
        init.spec = os->service->spec;
        init.slot = slot->number;
        init.node = os->is_global ? slot_node(slot) : NULL;
        init.state = TASK_PENDING;
        init.desired = desired;
        init.created_ms = o->now.wall_ms;
        assert(desired <= TASK_RUNNING);
        return store_add_task(o->store, os->service, &init);
}

void slot_set_desired(struct slot *slot, struct task *except, enum task_state desired)
{
        for (size_t i = 0; i < slot->count; i++) {
                struct task *task = slot_task(slot, i);

                if (task != except && task->desired < desired)
                        store_set_task_desired(slot->os->o->store, task, desired);
        }
}

bool slot_node_is_valid(const struct slot *slot)
{
        const struct node *node = slot_node(slot);
        const struct spec *spec = slot->os->service->spec;

        return node->state != NODE_DOWN && node->availability != AVAILABILITY_DRAIN &&
               constraint_spec_is_met(spec, node) && platform_is_met(spec, node);
}

bool slot_node_is_open(const struct slot *slot)
{
        const struct node *node = slot_node(slot);

        return node->state == NODE_READY && node->availability == AVAILABILITY_ACTIVE;
}

/* Older live tasks are there while an update starts the new one first. They go once the new one
 * runs, and are not replaced by themselves. */
static void retire_older(struct slot *slot, struct task *newest)
{
        struct store *store = slot->os->o->store;
        bool is_taken_over = newest->state == TASK_RUNNING && task_is_live(newest);

        for (size_t i = 0; i < slot->count; i++) {
                struct task *task = slot_task(slot, i);
                struct node *node = task->node;

                if (task == newest || !task_is_live(task))
                        continue;
                if (is_taken_over || task_has_ended(task) ||
                    (node && (node_is_lost(node) || node->availability == AVAILABILITY_DRAIN)))
                        store_set_task_desired(store, task, TASK_SHUTDOWN);
        }
}

static bool is_evicted(const struct slot *slot, const struct task *task)
{
        const struct node *node = task->node;

        return !slot->os->is_global && node &&
               (node_is_lost(node) || node->availability == AVAILABILITY_DRAIN);
}

/* A task that fails while it is held back (its image cannot be had, say) has not used its turn: the
 * next one waits for it to come. Else each would be followed at once by another. */
static int64_t replace_at_ms(const struct slot *slot, const struct task *ended)
{
        bool is_of_now = ended->spec->version == slot->os->service->spec->version;

        return is_of_now && restart_ended_by_itself(ended) ? restart_held_ms(slot, ended)
                                                           : slot->os->o->now.mono_ms;
}

/* The newest has ended, or its node is lost or drained, or it was stopped before: go on? */
static void step_ended(struct slot *slot, struct task *newest, int64_t *due_ms)
{
        struct orch_service *os = slot->os;
        int64_t at_ms = replace_at_ms(slot, newest);

        if (task_is_live(newest))
                store_set_task_desired(os->o->store, newest, TASK_SHUTDOWN);
        if (os->is_global && !(slot_node_is_valid(slot) && slot_node_is_open(slot)))
                return;
        if (!restart_is_wanted(slot, newest))
                return;
        if (at_ms > os->o->now.mono_ms)
                *due_ms = MIN(*due_ms, at_ms);
        else
                restart_task(slot, newest);
}

static void step_global(struct slot *slot)
{
        if (!slot_node_is_valid(slot)) {
                slot_set_desired(slot, NULL, TASK_SHUTDOWN);
                return;
        }
        if (!slot_node_is_open(slot))
                return;
        if (!slot_newest(slot))
                slot_add_task(slot, TASK_RUNNING, &(struct task_init){0});
}

bool slot_has_failed(const struct slot *slot)
{
        const struct task *last = slot_last(slot), *newest = slot_newest(slot);

        return last != newest && restart_ended_by_itself(last) &&
               last->spec->version == slot->os->service->spec->version;
}

/* Its node does not suit the spec in force any more, or is open for an update only now. */
static void step_outdated(struct slot *slot, const struct task *newest, int64_t *due_ms)
{
        struct orch_service *os = slot->os;

        if (slot->phase || !task_is_dirty(os, newest))
                return;
        if (slot_has_failed(slot)) {
                step_ended(slot, slot_last(slot), due_ms);
                return;
        }
        if ((!task_is_live(newest) || task_has_ended(newest)) && restart_is_wanted(slot, newest))
                return; /* by a task of the spec in force */
        if (!os->is_global || (slot_node_is_valid(slot) && slot_node_is_open(slot)))
                update_add(slot);
}

/* Gives the newest its start, once its time has come. */
static void step_start(struct slot *slot, int64_t *due_ms)
{
        struct orchestrator *o = slot->os->o;
        struct task *newest = slot_newest(slot);

        if (!newest || newest->desired != TASK_READY)
                return;
        int64_t at_ms = restart_start_ms(slot, newest);
        if (at_ms <= o->now.mono_ms)
                store_set_task_desired(o->store, newest, TASK_RUNNING);
        else
                *due_ms = MIN(*due_ms, at_ms);
}

void slot_step(struct slot *slot)
{
        struct orch_service *os = slot->os;
        int64_t due_ms = TIME_NEVER;

        history_reap(slot);
        if (os->service->is_removing)
                return;
        if (os->is_global)
                step_global(slot);
        struct task *newest = slot_newest(slot);
        if (newest) {
                retire_older(slot, newest);
                step_outdated(slot, newest, &due_ms);
                if (!task_is_live(newest) || task_has_ended(newest) || is_evicted(slot, newest))
                        step_ended(slot, newest, &due_ms);
                update_slot(slot, &due_ms);
                step_start(slot, &due_ms);
                history_trim(slot);
        } else {
                update_forget(slot);
        }
        timer_set(slot, due_ms);
}
