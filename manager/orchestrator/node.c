/*
 * A node that changed: the slots of its tasks are looked at (it may be lost, drained, back), global
 * services may want a task there, and tasks that it no longer suits are rejected (constraint
 * enforcement). Of those that no longer fit, the newest go.
 */
#include <stdlib.h>

#include "manager/orchestrator/orchestrator_internal.h"
#include "manager/store/constraint.h"
#include "shared/base/str.h"
#include "shared/wire/wire.h"

#define REJECTED_TEXT "assigned node no longer meets constraints"

static void mark_slots(struct node *node)
{
        struct task *task;

        LIST_FOREACH (task, &node->tasks, node_link) {
                struct slot *slot = index_slot_of(task);

                if (slot)
                        slot_mark(slot);
        }
}

static void mark_globals(struct orchestrator *o, struct node *node)
{
        struct orch_service *os;

        LIST_FOREACH (os, &o->globals, global_link) {
                if (!os->service->is_removing)
                        slot_mark(index_global_slot(os, node));
        }
}

static int compare_age(const void *a, const void *b)
{
        const struct task *x = *(struct task *const *)a, *y = *(struct task *const *)b;

        if (x->created_ms != y->created_ms)
                return x->created_ms < y->created_ms ? -1 : 1;
        return id_compare(x->id, y->id);
}

static bool holds_node(const struct task *task)
{
        return task_is_live(task) && task->state >= TASK_ASSIGNED && !task_has_ended(task);
}

/* Takes the claims of a task from what is free; false when there is not enough. */
static bool take_generic(const Swarm__Resources *claimed, Swarm__Resources *free_now)
{
        for (size_t i = 0; claimed && i < claimed->n_generic; i++) {
                const Swarm__GenericResource *want = claimed->generic[i];
                int64_t have = 0, need = want->n_names ? (int64_t)want->n_names : want->count;

                for (size_t j = 0; j < free_now->n_generic; j++) {
                        Swarm__GenericResource *g = free_now->generic[j];

                        if (!str_is_equal(g->kind, want->kind))
                                continue;
                        have = g->count;
                        g->count -= MIN(have, need);
                }
                if (have < need)
                        return false;
        }
        return true;
}

/* A copy of what the node has, in which named sets are counted in `count`. */
static Swarm__Resources *copy_capacity(const struct node *node)
{
        Swarm__Resources *r = wire_dup(node->description->capacity);

        for (size_t i = 0; i < r->n_generic; i++)
                if (r->generic[i]->n_names)
                        r->generic[i]->count = (int64_t)r->generic[i]->n_names;
        return r;
}

static bool still_fits(const struct task *task, Swarm__Resources *free_now)
{
        const Swarm__Resources *need = task->spec->msg->task->reservations;

        if (!need)
                return true;
        if (need->nano_cpus > free_now->nano_cpus || need->memory_bytes > free_now->memory_bytes ||
            !take_generic(task->generic, free_now))
                return false;
        free_now->nano_cpus -= need->nano_cpus;
        free_now->memory_bytes -= need->memory_bytes;
        return true;
}

/* Whose constraints hold for a task: the spec's in force, unless the task is of another version
 * that an update has yet to replace. */
static const struct spec *placement_of(const struct task *task)
{
        const struct service *service = task->service;

        switch (service->update.state) {
        case UPDATE_NONE:
        case UPDATE_COMPLETED:
        case UPDATE_ROLLBACK_COMPLETED:
                return task_is_outdated(service->orch, task) ? task->spec : service->spec;
        case UPDATE_UPDATING:
        case UPDATE_PAUSED:
        case UPDATE_ROLLBACK_STARTED:
        case UPDATE_ROLLBACK_PAUSED: return task->spec;
        }
        return task->spec;
}

static void enforce(struct orchestrator *o, struct node *node)
{
        size_t n = 0;
        struct task *task;

        if (node->state != NODE_READY || node->availability != AVAILABILITY_ACTIVE ||
            !node->description || !node->description->capacity || node->task_count == 0)
                return;
        _cleanup_free_ struct task **tasks = xnew_array(struct task *, node->task_count);
        LIST_FOREACH (task, &node->tasks, node_link) {
                if (holds_node(task))
                        tasks[n++] = task;
        }
        qsort(tasks, n, sizeof(tasks[0]), compare_age);
        Swarm__Resources *free_now = copy_capacity(node);
        for (size_t i = 0; i < n; i++) {
                if (constraint_spec_is_met(placement_of(tasks[i]), node) &&
                    still_fits(tasks[i], free_now))
                        continue;
                store_set_task_state(o->store, tasks[i], TASK_REJECTED, o->now.wall_ms,
                                     REJECTED_TEXT, REJECTED_TEXT, -1);
        }
        wire_free(free_now);
}

void node_step(struct orchestrator *o, struct node *node)
{
        mark_slots(node);
        mark_globals(o, node);
        enforce(o, node);
}
