/*
 * One service as a whole: as many slots as it has replicas (the lowest free numbers first; when
 * there are too many, those that do not run go first, then those on the nodes that have most of it,
 * then the highest numbers), its update, and its removal.
 */
#include <stdlib.h>
#include <string.h>

#include "manager/orchestrator/orchestrator_internal.h"
#include "manager/store/constraint.h"
#include "shared/wire/wire.h"

/* --- is a task of the spec in force? -----------------------------------------------------------*/

bool task_is_outdated(struct orch_service *os, const struct task *task)
{
        return spec_diffs_get(&os->diffs, task->spec, os->service->spec) == SPEC_OTHER;
}

bool task_is_dirty(struct orch_service *os, const struct task *task)
{
        const struct spec *spec = os->service->spec;

        switch (spec_diffs_get(&os->diffs, task->spec, spec)) {
        case SPEC_SAME: return false;
        case SPEC_PLACEMENT:
                return !task->node || !constraint_spec_is_met(spec, task->node) ||
                       !platform_is_met(spec, task->node);
        case SPEC_OTHER: return true;
        }
        abort();
}

/* --- replicas
 * -----------------------------------------------------------------------------------*/

struct victim {
        struct slot *slot;
        const struct node *node; /* NULL: not placed */
        uint32_t nth;            /* copy on its node, in order of slots; after sorting by node */
        bool is_running;
};

static struct victim judge(struct slot *slot)
{
        struct victim v = {.slot = slot};

        for (size_t i = slot->count; i-- > 0;) {
                const struct task *task = slot_task(slot, i);

                if (!task_is_live(task) || task_has_ended(task))
                        continue;
                if (!v.node || task->state == TASK_RUNNING)
                        v.node = task->node;
                if (task->state == TASK_RUNNING)
                        v.is_running = true;
        }
        return v;
}

/* By node; on it the running first, then the lowest numbers. */
static int compare_on_node(const void *a, const void *b)
{
        const struct victim *x = a, *y = b;

        if (x->node != y->node) {
                if (!x->node || !y->node)
                        return x->node ? -1 : 1;
                return id_compare(x->node->id, y->node->id);
        }
        if (x->is_running != y->is_running)
                return x->is_running ? -1 : 1;
        return x->slot->number < y->slot->number ? -1 : 1;
}

/* Those that go first stand first. */
static int compare_victims(const void *a, const void *b)
{
        const struct victim *x = a, *y = b;

        if (!x->node != !y->node)
                return x->node ? 1 : -1;
        if (x->is_running != y->is_running)
                return x->is_running ? 1 : -1;
        if (x->nth != y->nth)
                return x->nth > y->nth ? -1 : 1;
        return x->slot->number > y->slot->number ? -1 : 1;
}

static void scale_down(struct orch_service *os, size_t excess)
{
        struct orchestrator *o = os->o;
        size_t n = 0, i = 0;
        struct slot *slot;

        _cleanup_free_ struct victim *v = xnew_array(struct victim, os->occupied);
        while ((slot = index_next(os, &i)))
                if (slot->is_occupied)
                        v[n++] = judge(slot);
        qsort(v, n, sizeof(v[0]), compare_on_node);
        for (i = 1; i < n; i++)
                v[i].nth = v[i].node && v[i].node == v[i - 1].node ? v[i - 1].nth + 1 : 0;
        qsort(v, n, sizeof(v[0]), compare_victims);
        for (i = 0; i < excess && !is_full(o); i++)
                slot_set_desired(v[i].slot, NULL, TASK_REMOVE);
}

static void scale_up(struct orch_service *os, uint64_t replicas)
{
        while (os->occupied < replicas && !is_full(os->o)) {
                struct slot *slot = index_slot(os, os->free_from);

                if (!slot->is_occupied)
                        slot_add_task(slot, TASK_RUNNING, &(struct task_init){0});
                os->free_from++;
        }
}

static void step_replicated(struct orch_service *os)
{
        uint64_t replicas = os->service->spec->msg->replicas;

        if (os->occupied > replicas)
                scale_down(os, os->occupied - replicas);
        else if (os->occupied < replicas)
                scale_up(os, replicas);
        if (os->occupied != replicas)
                service_mark(os);
}

/* --- global
 * -------------------------------------------------------------------------------------*/

static void mark_all_nodes(struct orch_service *os)
{
        struct node *node;
        size_t i;

        MAP_FOREACH (node, i, store_nodes(os->o->store))
                slot_mark(index_global_slot(os, node));
}

/* --- removal
 * ------------------------------------------------------------------------------------*/

static void step_removing(struct orch_service *os)
{
        struct orchestrator *o = os->o;
        struct service *service = os->service;
        struct task *task;

        if (service->task_count == 0) {
                store_remove_service(o->store, service);
                return;
        }
        LIST_FOREACH (task, &service->tasks, service_link) {
                if (task->desired == TASK_REMOVE)
                        continue;
                if (is_full(o)) {
                        service_mark(os);
                        return;
                }
                store_set_task_desired(o->store, task, TASK_REMOVE);
        }
}

void service_step(struct orch_service *os)
{
        bool is_new_spec = os->seen_version != os->service->spec->version;

        if (os->service->is_removing) {
                step_removing(os);
                return;
        }
        if (is_new_spec)
                update_review(os);
        if (!os->is_global)
                step_replicated(os);
        else if (is_new_spec)
                mark_all_nodes(os);
        update_pump(os);
}
