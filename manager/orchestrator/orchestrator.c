/*
 * The orchestrator: notes what changed (the store's watch) and looks at it once a turn, in this
 * order: timers that are due, services, nodes, slots, until nothing is left to look at or the
 * turn's share of changes is used up. See orchestrator_internal.h for the parts.
 */
#include "manager/orchestrator/orchestrator_internal.h"

#define STEPS_MAX 100000 /* slots and services looked at in one turn: a fraction of a second */

void slot_mark(struct slot *slot)
{
        if (!list_is_linked(&slot->link))
                list_push_back(&slot->os->o->dirty_slots, &slot->link);
}

void service_mark(struct orch_service *os)
{
        if (!list_is_linked(&os->service->orch_link))
                list_push_back(&os->o->dirty_services, &os->service->orch_link);
}

void node_mark(struct orchestrator *o, struct node *node)
{
        struct orch_node *on = node->orch;

        if (!on) {
                on = xnew(struct orch_node);
                on->node = node;
                list_init(&on->link);
                node->orch = on;
        }
        if (!list_is_linked(&on->link))
                list_push_back(&o->dirty_nodes, &on->link);
}

static void node_forget(struct node *node)
{
        struct orch_node *on = node->orch;

        if (!on)
                return;
        list_remove(&on->link);
        free(on);
        node->orch = NULL;
}

static void on_service(void *arg, struct service *service, enum change_kind kind)
{
        struct orchestrator *o = arg;
        struct orch_service *os = service->orch;

        if (kind == CHANGE_REMOVED) {
                if (os)
                        index_remove_service(os);
                return;
        }
        if (!os)
                os = index_add_service(o, service);
        service_mark(os);
}

static void on_task(void *arg, struct task *task, enum change_kind kind,
                    const struct task_before *before)
{
        struct slot *slot = index_slot_of(task);

        (void)arg;
        if (!slot)
                return;
        switch (kind) {
        case CHANGE_CREATED: index_add_task(slot, task); break;
        case CHANGE_REMOVED:
                index_remove_task(slot, task);
                /* Looked at after each, a hundred thousand tasks would take minutes. */
                if (slot->os->service->is_removing && slot->os->service->task_count == 0)
                        service_mark(slot->os);
                break;
        case CHANGE_UPDATED:
                if (task->state == before->state && task->desired == before->desired &&
                    task->node == before->node)
                        return;
                if (task->desired != before->desired)
                        index_review(slot);
                break;
        }
        slot_mark(slot);
}

static void on_node(void *arg, struct node *node, enum change_kind kind)
{
        struct orchestrator *o = arg;
        struct orch_service *os;

        if (kind != CHANGE_REMOVED) {
                node_mark(o, node);
                return;
        }
        LIST_FOREACH (os, &o->globals, global_link)
                index_drop_node(os, node);
        node_forget(node);
}

static int64_t history_limit(struct orchestrator *o)
{
        const Swarm__Cluster *msg = store_cluster(o->store)->msg;

        return msg->settings ? msg->settings->task_history_limit : DEFAULT_HISTORY_LIMIT;
}

static void on_cluster(void *arg, struct cluster *cluster)
{
        struct orchestrator *o = arg;
        struct service *service;
        struct slot *slot;
        size_t i, j;

        (void)cluster;
        if (o->history_limit == history_limit(o))
                return;
        o->history_limit = history_limit(o);
        MAP_FOREACH (service, i, store_services(o->store)) {
                j = 0;
                while (service->orch && (slot = index_next(service->orch, &j)))
                        slot_mark(slot);
        }
}

static void load(struct orchestrator *o)
{
        struct service *service;
        struct node *node;
        struct task *task;
        size_t i;

        MAP_FOREACH (service, i, store_services(o->store)) {
                struct orch_service *os = index_add_service(o, service);

                os->is_resuming = true;
                LIST_FOREACH (task, &service->tasks, service_link) {
                        struct slot *slot = index_slot_of(task);

                        if (!slot)
                                continue;
                        index_add_task(slot, task);
                        slot_mark(slot);
                }
                service_mark(os);
        }
        MAP_FOREACH (node, i, store_nodes(o->store))
                node_mark(o, node);
}

struct orchestrator *orchestrator_new(struct store *store, struct now now)
{
        struct orchestrator *o = xnew(struct orchestrator);

        o->store = store;
        o->now = now;
        list_init(&o->dirty_slots);
        list_init(&o->dirty_services);
        list_init(&o->dirty_nodes);
        list_init(&o->globals);
        o->history_limit = history_limit(o);
        load(o);
        o->watch = (struct store_watch){.arg = o,
                                        .on_service = on_service,
                                        .on_task = on_task,
                                        .on_node = on_node,
                                        .on_cluster = on_cluster};
        store_watch(store, &o->watch);
        return o;
}

void orchestrator_free(struct orchestrator *o)
{
        struct service *service;
        struct node *node;
        size_t i;

        if (!o)
                return;
        list_remove(&o->watch.link);
        MAP_FOREACH (service, i, store_services(o->store)) {
                if (service->orch)
                        index_remove_service(service->orch);
        }
        MAP_FOREACH (node, i, store_nodes(o->store))
                node_forget(node);
        free(o->heap);
        free(o);
}

/* Looks at one thing; false when there is nothing to look at. */
static bool step(struct orchestrator *o)
{
        struct list *l;

        if ((l = list_pop_front(&o->dirty_services)))
                service_step(LIST_ITEM(l, struct service, orch_link)->orch);
        else if ((l = list_pop_front(&o->dirty_nodes)))
                node_step(o, LIST_ITEM(l, struct orch_node, link)->node);
        else if ((l = list_pop_front(&o->dirty_slots)))
                slot_step(LIST_ITEM(l, struct slot, link));
        else
                return false;
        return true;
}

int64_t orchestrator_run(struct orchestrator *o, struct now now, struct rng *rng, size_t change_max)
{
        struct slot *slot;

        o->now = now;
        o->rng = rng;
        o->change_max = change_max;
        while ((slot = timer_take_due(o, now.mono_ms)))
                slot_mark(slot);
        for (size_t n = 0; n == 0 || step(o); n++)
                if (is_full(o) || n >= STEPS_MAX)
                        return now.mono_ms;
        return o->heap_len ? o->heap[0]->due_ms : TIME_NEVER;
}
