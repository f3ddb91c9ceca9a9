/*
 * The decisions for one group: a heap over the nodes that pass the filters, by rank; each placement
 * takes the best, counts the task there, and lets the node sink to its new place. O(nodes + tasks
 * log nodes), no allocation, nothing of the store is touched: the caller writes the decisions down.
 *
 * Rank of `spread`, best first: fewest recent failures of the version (if many), fewest tasks of
 * the service that will be left once its update is through, fewest of it at all, most of the
 * scarcer of CPU and memory left after placing (as a fraction of what can be reserved), fewest
 * tasks, lowest id. `binpack`: failures, least left, most tasks, lowest id.
 */
#include <string.h>

#include "manager/scheduler/scheduler_internal.h"

/* Parts of a key, from the high bits down. */
#define FAILED_SHIFT 60
#define LEFT_SHIFT   44
#define OLD_SHIFT    28
#define FAILED_MAX   ((1u << (64 - FAILED_SHIFT)) - 1)
#define MINE_MAX     ((1u << (FAILED_SHIFT - LEFT_SHIFT)) - 1)
#define USED_MAX     ((1u << OLD_SHIFT) - 1)

_Static_assert(FAILED_MAX >= FAILURES_KEPT && MINE_MAX >= NODE_TASKS_MAX, "they fit into a key");

void place_scratch(struct scheduler *s, const struct sservice *ss)
{
        if (s->cap_scratch < s->n_nodes) {
                s->cap_scratch = s->cap_nodes;
                s->mine = xreallocarray(s->mine, s->cap_scratch, sizeof(s->mine[0]));
                s->heap = xreallocarray(s->heap, s->cap_scratch, sizeof(s->heap[0]));
        }
        if (s->n_nodes > 0)
                memset(s->mine, 0, s->n_nodes * sizeof(s->mine[0]));
        for (uint32_t i = 0; i < ss->counts.cap; i++)
                if (ss->counts.slots[i].n > 0)
                        s->mine[ss->counts.slots[i].node - 1] = ss->counts.slots[i].n;
}

/* How much of the node is used after placing, 0..USED_MAX: the scarcer resource. */
static uint32_t used_after(const struct demand *d, const struct snode *n)
{
        double left = 1, l;

        if (n->cpu_inverse > 0 && (l = (double)(n->cpu_free - d->cpu) * n->cpu_inverse) < left)
                left = l;
        if (n->memory_inverse > 0 &&
            (l = (double)(n->memory_free - d->memory) * n->memory_inverse) < left)
                left = l;
        if (left < 0)
                left = 0;
        return (uint32_t)((1 - left) * USED_MAX);
}

static struct key key_of(const struct demand *d, const struct snode *n, const struct candidate *c)
{
        const Swarm__Placement *p = d->spec->msg->task->placement;
        uint64_t failed = MIN(c->failed, FAILED_MAX), used = used_after(d, n);

        if (p && p->strategy == STRATEGY_BINPACK)
                return (struct key){failed << FAILED_SHIFT | (USED_MAX - used),
                                    (uint64_t)(UINT32_MAX - n->tasks) << 32 | n->rank};
        return (struct key){failed << FAILED_SHIFT |
                                    (uint64_t)MIN(c->mine - c->old, MINE_MAX) << LEFT_SHIFT |
                                    (uint64_t)MIN(c->old, MINE_MAX) << OLD_SHIFT | used,
                            (uint64_t)n->tasks << 32 | n->rank};
}

/* The candidate of a node; they are in order of index. NULL: it is none. */
static struct candidate *find_candidate(struct scheduler *s, uint32_t n, uint32_t node)
{
        uint32_t low = 0, high = n;

        while (low < high) {
                uint32_t middle = (low + high) / 2;

                if (s->heap[middle].node < node)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low < n && s->heap[low].node == node ? &s->heap[low] : NULL;
}

uint32_t place_candidates(struct scheduler *s, const struct sservice *ss, const struct demand *d)
{
        uint32_t n = 0;

        for (uint32_t i = 0; i < s->n_nodes; i++) {
                if (filter_node(d, &s->nodes[i], s->mine[i]) != FILTER_PASSED)
                        continue;
                struct candidate *c = &s->heap[n++];
                *c = (struct candidate){
                        .node = i, .mine = s->mine[i], .old = counts_get(&ss->old, i)};
                c->key = key_of(d, &s->nodes[i], c);
        }
        for (size_t i = 0; i < ss->n_failures; i++) {
                uint32_t failed =
                        failures_count(&ss->failures[i], d->spec->version, s->now.mono_ms);
                struct candidate *c = failed ? find_candidate(s, n, ss->failures[i].node) : NULL;

                if (!c)
                        continue;
                c->failed = failed;
                c->key = key_of(d, &s->nodes[c->node], c);
        }
        return n;
}

bool place_on(struct scheduler *s, struct sservice *ss, const struct demand *d, struct candidate *c)
{
        struct snode *n = &s->nodes[c->node];

        n->cpu_free -= d->cpu;
        n->memory_free -= d->memory;
        n->tasks++;
        sservice_count(ss, d->spec, c->node, 1);
        s->mine[c->node] = ++c->mine;
        c->old += sservice_is_old(ss, d->spec);
        if (n->cpu_free < d->cpu || n->memory_free < d->memory || d->max_per_node ||
            n->tasks >= NODE_TASKS_MAX) {
                if (filter_node(d, n, c->mine) != FILTER_PASSED)
                        return false;
        }
        c->key = key_of(d, n, c);
        return true;
}

void heap_down(struct candidate *heap, uint32_t n, uint32_t i)
{
        struct candidate c = heap[i];

        for (uint32_t child; (child = 2 * i + 1) < n; i = child) {
                if (child + 1 < n && key_is_less(heap[child + 1].key, heap[child].key))
                        child++;
                if (!key_is_less(heap[child].key, c.key))
                        break;
                heap[i] = heap[child];
        }
        heap[i] = c;
}

void heap_make(struct candidate *heap, uint32_t n)
{
        for (uint32_t i = n / 2; i-- > 0;)
                heap_down(heap, n, i);
}

/* Few tasks: looking for the best of all once is cheaper than a heap. */
static void best_first(struct candidate *heap, uint32_t n)
{
        uint32_t best = 0;

        for (uint32_t i = 1; i < n; i++)
                if (key_is_less(heap[i].key, heap[best].key))
                        best = i;
        struct candidate c = heap[0];
        heap[0] = heap[best];
        heap[best] = c;
}

size_t place(struct scheduler *s, struct sservice *ss, const struct demand *d, size_t n,
             uint32_t *ret_nodes)
{
        const Swarm__Placement *p = d->spec->msg->task->placement;
        size_t done = 0;

        nodes_rank(s);
        uint32_t len = place_candidates(s, ss, d);
        if (len == 0)
                return 0;
        if (p && p->n_spread > 0)
                return place_in_tree(s, ss, d, len, n, ret_nodes);
        if (n == 1)
                best_first(s->heap, len);
        else
                heap_make(s->heap, len);
        while (done < n && len > 0) {
                ret_nodes[done++] = s->heap[0].node;
                if (!place_on(s, ss, d, &s->heap[0]))
                        s->heap[0] = s->heap[--len];
                if (done < n && len > 0)
                        heap_down(s->heap, len, 0);
        }
        return done;
}
