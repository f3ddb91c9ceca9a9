/*
 * The scheduler: keeps the picture of the nodes by the store's watch, gathers waiting tasks into
 * groups (one a service and spec version), and places them once a turn. What does not fit is
 * parked, told why, and tried again once a node that could take it has more room or is another.
 */
#include <assert.h>
#include <string.h>

#include "manager/scheduler/scheduler_internal.h"

#define WAITING_TEXT "waits for a suitable node"

/* --- groups
 * -------------------------------------------------------------------------------------*/

static struct group *group_find(struct sservice *ss, const struct spec *spec)
{
        struct group *g;

        LIST_FOREACH (g, &ss->groups, service_link) {
                if (g->demand.spec == spec)
                        return g;
        }
        return NULL;
}

static void group_free(struct group *g)
{
        list_remove(&g->link);
        list_remove(&g->service_link);
        demand_done(&g->demand);
        free(g);
}

static void group_wake(struct scheduler *s, struct group *g)
{
        list_remove(&g->link);
        list_push_back(&s->groups, &g->link);
}

static void wait_add(struct scheduler *s, struct task *task)
{
        struct sservice *ss = sservice_get(s, task->service);
        struct group *g;

        if (task->node) {
                list_push_back(&s->fixed, &task->stage_link);
                return;
        }
        g = group_find(ss, task->spec);
        if (!g) {
                g = xnew(struct group);
                g->service = ss;
                demand_init(&g->demand, task->spec);
                list_init(&g->tasks);
                list_init(&g->link);
                list_push_back(&ss->groups, &g->service_link);
        }
        list_push_back(&g->tasks, &task->stage_link);
        g->len++;
        group_wake(s, g);
}

static void wait_remove(struct task *task, bool is_fixed)
{
        if (!list_is_linked(&task->stage_link))
                return;
        list_remove(&task->stage_link);
        if (is_fixed)
                return;
        struct group *g = group_find(task->service->sched, task->spec);
        if (--g->len == 0)
                group_free(g);
}

static bool is_waiting(enum task_state state, enum task_state desired)
{
        return state < TASK_ASSIGNED && desired <= TASK_RUNNING;
}

/* --- the watch
 * ----------------------------------------------------------------------------------*/

/* What a task is on its node. */
struct hold {
        bool reserves, counts;
};

static struct hold hold_of(enum task_state state, enum task_state desired, const struct node *node)
{
        bool reserves = node && state >= TASK_ASSIGNED && !task_state_is_terminal(state);

        return (struct hold){reserves, reserves && desired <= TASK_RUNNING};
}

static void account(struct scheduler *s, struct task *task, struct node *node, struct hold was,
                    struct hold is)
{
        if (is.reserves != was.reserves)
                nodes_reserve(s, task, node, is.reserves ? 1 : -1);
        if (is.counts != was.counts)
                nodes_count(s, task, node, is.counts ? 1 : -1);
}

static void note_failure(struct scheduler *s, struct task *task, int64_t at_ms)
{
        if (task->node && (task->state == TASK_FAILED || task->state == TASK_REJECTED))
                failures_add(sservice_get(s, task->service), task->spec->version,
                             nodes_index(s, task->node), at_ms);
}

static void on_task(void *arg, struct task *task, enum change_kind kind,
                    const struct task_before *before)
{
        struct scheduler *s = arg;
        struct hold is = hold_of(task->state, task->desired, task->node), was = {0};

        if (s->is_placing)
                return;
        if (kind == CHANGE_CREATED) {
                account(s, task, task->node, was, is);
                if (is_waiting(task->state, task->desired))
                        wait_add(s, task);
                return;
        }
        was = hold_of(before->state, before->desired, before->node);
        if (kind == CHANGE_REMOVED)
                is = (struct hold){0};
        account(s, task, task->node, was, is);
        if (kind == CHANGE_REMOVED || !is_waiting(task->state, task->desired))
                wait_remove(task, before->node != NULL);
        if (kind == CHANGE_UPDATED && task->state != before->state)
                note_failure(s, task, s->now.mono_ms);
}

static void on_node(void *arg, struct node *node, enum change_kind kind)
{
        struct scheduler *s = arg;

        if (kind == CHANGE_REMOVED)
                nodes_remove(s, node);
        else if (!node->sched)
                nodes_add(s, node);
        else
                nodes_refresh(s, node);
}

/* Another version may be in force: what of the service is old is counted anew. */
static void count_old(struct scheduler *s, struct sservice *ss)
{
        struct task *task;

        if (ss->seen_version == ss->service->spec->version)
                return;
        ss->seen_version = ss->service->spec->version;
        counts_clear(&ss->old);
        LIST_FOREACH (task, &ss->service->tasks, service_link) {
                if (hold_of(task->state, task->desired, task->node).counts &&
                    sservice_is_old(ss, task->spec))
                        counts_add(&ss->old, nodes_index(s, task->node), 1);
        }
}

static void on_service(void *arg, struct service *service, enum change_kind kind)
{
        if (kind == CHANGE_REMOVED)
                sservice_free(arg, service->sched);
        else if (service->sched)
                count_old(arg, service->sched);
}

static void load(struct scheduler *s, const struct breath *breath)
{
        struct node *node;
        struct service *service;
        struct task *task;
        size_t i, n = 0;

        MAP_FOREACH (node, i, store_nodes(s->store))
                nodes_add(s, node);
        MAP_FOREACH (service, i, store_services(s->store)) {
                LIST_FOREACH (task, &service->tasks, service_link) {
                        breathe_now_and_then(breath, &n);
                        /* Reservations are in the nodes already. */
                        if (hold_of(task->state, task->desired, task->node).counts)
                                nodes_count(s, task, task->node, 1);
                        if (is_waiting(task->state, task->desired))
                                wait_add(s, task);
                        note_failure(s, task,
                                     s->now.mono_ms - MAX(s->now.wall_ms - task->state_ms, 0));
                }
        }
}

struct scheduler *scheduler_new(struct store *store, const struct breath *breath, struct now now)
{
        struct scheduler *s = xnew(struct scheduler);

        s->store = store;
        s->now = now;
        list_init(&s->groups);
        list_init(&s->parked);
        list_init(&s->fixed);
        list_init(&s->fixed_parked);
        load(s, breath);
        s->watch = (struct store_watch){
                .arg = s, .on_service = on_service, .on_task = on_task, .on_node = on_node};
        store_watch(store, &s->watch);
        return s;
}

static void drop_groups(struct list *groups)
{
        struct list *l;

        while (!list_is_empty(groups)) {
                struct group *g = LIST_ITEM(groups->next, struct group, link);

                while ((l = list_pop_front(&g->tasks)))
                        ;
                group_free(g);
        }
}

void scheduler_free(struct scheduler *s)
{
        struct service *service;
        struct node *node;
        size_t i;

        if (!s)
                return;
        list_remove(&s->watch.link);
        drop_groups(&s->groups);
        drop_groups(&s->parked);
        while (list_pop_front(&s->fixed) || list_pop_front(&s->fixed_parked))
                ;
        MAP_FOREACH (service, i, store_services(s->store))
                sservice_free(s, service->sched);
        MAP_FOREACH (node, i, store_nodes(s->store))
                node->sched = NULL;
        for (i = 0; i < s->n_nodes; i++)
                pool_free(s->nodes[i].pool);
        free(s->nodes);
        free(s->touched);
        free(s->mine);
        free(s->heap);
        free(s->decisions);
        free(s);
}

/* --- placing
 * ------------------------------------------------------------------------------------*/

static bool is_full(const struct scheduler *s)
{
        return store_change_weight(s->store) >= s->change_max;
}

/* Writes a decision down. Resources and counts are taken already, generic ones are claimed here. */
static void assign(struct scheduler *s, struct task *task, uint32_t index, const struct demand *d)
{
        struct snode *n = &s->nodes[index];
        Swarm__Resources *generic = NULL;

        if (d->reservations)
                generic = pool_claim(n->pool, d->reservations);
        list_remove(&task->stage_link);
        s->is_placing = true;
        store_assign_task(s->store, task, n->node, s->now.wall_ms, &generic);
        s->is_placing = false;
}

/* Parked groups that one of the touched nodes can help are tried again. */
static void wake(struct scheduler *s)
{
        struct group *g, *tmp;
        struct list *l;

        LIST_FOREACH_SAFE (g, tmp, &s->parked, link) {
                if (s->has_news)
                        g->is_stale = true;
                for (size_t i = 0; i < s->n_touched; i++) {
                        uint32_t node = s->touched[i];

                        if (filter_node(&g->demand, &s->nodes[node],
                                        counts_get(&g->service->counts, node)) != FILTER_PASSED)
                                continue;
                        group_wake(s, g);
                        break;
                }
        }
        if (s->n_touched > 0 || s->has_news) {
                while ((l = list_pop_front(&s->fixed_parked)))
                        list_push_back(&s->fixed, l);
        }
        s->n_touched = 0;
        s->has_news = false;
}

/* A global service's task: its node is given, only whether it fits is asked. */
static void place_fixed(struct scheduler *s, struct task *task)
{
        uint32_t index = nodes_index(s, task->node);
        struct sservice *ss = sservice_get(s, task->service);
        struct snode *n = &s->nodes[index];
        struct demand d;

        demand_init(&d, task->spec);
        d.max_per_node = 0;
        if (filter_node(&d, n, 0) == FILTER_PASSED) {
                n->cpu_free -= d.cpu;
                n->memory_free -= d.memory;
                n->tasks++;
                sservice_count(ss, task->spec, index, 1);
                assign(s, task, index, &d);
        } else {
                place_scratch(s, ss);
                _cleanup_free_ char *reason = filter_explain(s, &d, s->mine, index);
                list_remove(&task->stage_link);
                list_push_back(&s->fixed_parked, &task->stage_link);
                store_set_task_message(s->store, task, WAITING_TEXT, reason);
        }
        demand_done(&d);
}

/* Tells the group's tasks why they wait. False when the turn is full before all are told. */
static bool tell(struct scheduler *s, struct group *g)
{
        struct task *task;

        place_scratch(s, g->service);
        _cleanup_free_ char *reason = filter_explain(s, &g->demand, s->mine, ANY_NODE);
        g->is_stale = true;
        LIST_FOREACH (task, &g->tasks, stage_link) {
                if (is_full(s))
                        return false;
                store_set_task_message(s->store, task, WAITING_TEXT, reason);
        }
        g->is_stale = false;
        g->told_ms = MAX(s->now.mono_ms, 1);
        return true;
}

static int64_t tell_at_ms(const struct scheduler *s, const struct group *g)
{
        bool may_wait = g->told_ms && g->len > RETELL_TASKS;

        return may_wait ? g->told_ms + RETELL_MS : s->now.mono_ms;
}

static uint32_t *decisions(struct scheduler *s, size_t n)
{
        if (s->cap_decisions < n) {
                s->cap_decisions = n;
                s->decisions = xreallocarray(s->decisions, n, sizeof(s->decisions[0]));
        }
        return s->decisions;
}

/* Places what it can of a group, which is freed when nothing is left of it, else parked; it stays
 * where it is when the turn is full. */
static void place_group(struct scheduler *s, struct group *g)
{
        size_t room = s->change_max - MIN(store_change_weight(s->store), s->change_max);
        size_t want = MIN(g->len, room), n;
        uint32_t *nodes;

        if (want == 0)
                return;
        if (g->demand.reservations)
                want = 1; /* claims are made one by one */
        nodes = decisions(s, want);
        place_scratch(s, g->service);
        n = place(s, g->service, &g->demand, want, nodes);
        for (size_t i = 0; i < n; i++)
                assign(s, LIST_ITEM(g->tasks.next, struct task, stage_link), nodes[i], &g->demand);
        g->len -= n;
        if (g->len == 0) {
                group_free(g);
                return;
        }
        if (n == want)
                return;
        list_remove(&g->link);
        list_push_back(&s->parked, &g->link);
        g->is_stale = true;
}

int64_t scheduler_run(struct scheduler *s, struct now now, size_t change_max)
{
        int64_t next_ms = TIME_NEVER;
        struct group *g;

        s->now = now;
        s->change_max = change_max;
        wake(s);
        while (!list_is_empty(&s->fixed)) {
                if (is_full(s))
                        return now.mono_ms;
                place_fixed(s, LIST_ITEM(s->fixed.next, struct task, stage_link));
        }
        while (!list_is_empty(&s->groups)) {
                if (is_full(s))
                        return now.mono_ms;
                place_group(s, LIST_ITEM(s->groups.next, struct group, link));
        }
        LIST_FOREACH (g, &s->parked, link) {
                int64_t at_ms = tell_at_ms(s, g);

                if (!g->is_stale)
                        continue;
                if (at_ms > now.mono_ms)
                        next_ms = MIN(next_ms, at_ms);
                else if (!tell(s, g))
                        return now.mono_ms;
        }
        return next_ms;
}
