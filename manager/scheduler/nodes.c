/*
 * The picture of the nodes: what is free there. A task holds its reservation from ASSIGNED until it
 * has ended, wanted or not; it counts for ranking and limits only while it is wanted.
 */
#include <assert.h>

#include "manager/scheduler/scheduler_internal.h"

uint32_t nodes_index(UNUSED const struct scheduler *s, const struct node *node)
{
        return (uint32_t)((uintptr_t)node->sched - 1);
}

void nodes_touch(struct scheduler *s, uint32_t index)
{
        if (s->n_touched == s->cap_touched) {
                s->cap_touched = s->cap_touched ? s->cap_touched * 2 : 64;
                s->touched = xreallocarray(s->touched, s->cap_touched, sizeof(s->touched[0]));
        }
        s->touched[s->n_touched++] = index;
}

static bool holds(const struct task *task)
{
        return task->state >= TASK_ASSIGNED && !task_state_is_terminal(task->state);
}

static void reserve(struct snode *n, const struct task *task, int by)
{
        const Swarm__Resources *need = task->spec->msg->task->reservations;

        if (need) {
                n->cpu_free -= by * need->nano_cpus;
                n->memory_free -= by * need->memory_bytes;
        }
        if (!task->generic || !n->pool)
                return;
        if (by > 0)
                pool_take(n->pool, task->generic);
        else
                pool_give(n->pool, task->generic);
}

void nodes_reserve(struct scheduler *s, const struct task *task, struct node *node, int by)
{
        uint32_t i = nodes_index(s, node);

        reserve(&s->nodes[i], task, by);
        if (by < 0)
                nodes_touch(s, i);
}

void nodes_count(struct scheduler *s, const struct task *task, struct node *node, int by)
{
        uint32_t i = nodes_index(s, node);

        s->nodes[i].tasks += (uint32_t)by;
        sservice_count(sservice_get(s, task->service), task->spec, i, by);
        if (by < 0)
                nodes_touch(s, i);
}

void nodes_refresh(struct scheduler *s, struct node *node)
{
        uint32_t i = nodes_index(s, node);
        struct snode *n = &s->nodes[i];
        const Swarm__Resources *capacity = node->description ? node->description->capacity : NULL;
        struct task *task;

        n->is_open = node->state == NODE_READY && node->availability == AVAILABILITY_ACTIVE;
        n->is_disk_full = node->is_disk_full;
        n->cpu_free = capacity ? capacity->nano_cpus : 0;
        n->memory_free = capacity ? capacity->memory_bytes : 0;
        n->cpu_inverse = n->cpu_free > 0 ? 1.0 / (double)n->cpu_free : 0;
        n->memory_inverse = n->memory_free > 0 ? 1.0 / (double)n->memory_free : 0;
        pool_free(n->pool);
        n->pool = pool_new(capacity);
        LIST_FOREACH (task, &node->tasks, node_link) {
                if (holds(task))
                        reserve(n, task, 1);
        }
        s->has_news = true;
        if (n->is_open)
                nodes_touch(s, i);
}

struct snode *nodes_add(struct scheduler *s, struct node *node)
{
        uint32_t i = 0;

        while (i < s->n_nodes && s->nodes[i].is_used)
                i++;
        if (i == s->n_nodes) {
                if (s->n_nodes == s->cap_nodes) {
                        s->cap_nodes = s->cap_nodes ? s->cap_nodes * 2 : 64;
                        s->nodes = xreallocarray(s->nodes, s->cap_nodes, sizeof(s->nodes[0]));
                }
                s->n_nodes++;
        }
        s->nodes[i] = (struct snode){.node = node, .is_used = true};
        node->sched = (void *)(uintptr_t)(i + 1);
        s->is_rank_old = true;
        nodes_refresh(s, node);
        return &s->nodes[i];
}

static void forget_failures(struct sservice *ss, uint32_t node)
{
        size_t n = 0;

        for (size_t i = 0; i < ss->n_failures; i++)
                if (ss->failures[i].node != node)
                        ss->failures[n++] = ss->failures[i];
        ss->n_failures = n;
}

void nodes_remove(struct scheduler *s, struct node *node)
{
        uint32_t index = nodes_index(s, node);
        struct service *service;
        size_t i;

        MAP_FOREACH (service, i, store_services(s->store)) {
                if (service->sched)
                        forget_failures(service->sched, index);
        }
        pool_free(s->nodes[index].pool);
        s->nodes[index] = (struct snode){0};
        node->sched = NULL;
        s->has_news = true;
}

static int compare_ids(const void *a, const void *b)
{
        const struct node *const *x = a, *const *y = b;

        return id_compare((*x)->id, (*y)->id);
}

void nodes_rank(struct scheduler *s)
{
        uint32_t n = 0;

        if (!s->is_rank_old)
                return;
        _cleanup_free_ struct node **sorted = xnew_array(struct node *, s->n_nodes + 1);
        for (uint32_t i = 0; i < s->n_nodes; i++)
                if (s->nodes[i].is_used)
                        sorted[n++] = s->nodes[i].node;
        qsort(sorted, n, sizeof(sorted[0]), compare_ids);
        for (uint32_t i = 0; i < n; i++)
                s->nodes[nodes_index(s, sorted[i])].rank = i;
        s->is_rank_old = false;
}

struct sservice *sservice_get(UNUSED struct scheduler *s, struct service *service)
{
        struct sservice *ss = service->sched;

        if (!ss) {
                ss = xnew(struct sservice);
                ss->service = service;
                ss->seen_version = service->spec->version;
                list_init(&ss->groups);
                service->sched = ss;
        }
        return ss;
}

void sservice_count(struct sservice *ss, const struct spec *spec, uint32_t node, int by)
{
        counts_add(&ss->counts, node, by);
        if (sservice_is_old(ss, spec))
                counts_add(&ss->old, node, by);
}

void sservice_free(UNUSED struct scheduler *s, struct sservice *ss)
{
        if (!ss)
                return;
        ss->service->sched = NULL;
        counts_clear(&ss->counts);
        counts_clear(&ss->old);
        free(ss->failures);
        free(ss);
}
