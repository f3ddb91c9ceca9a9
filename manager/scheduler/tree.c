/*
 * `--placement-pref spread=node.labels.X`, several levels: a tree whose branches are the values of
 * a label (nodes without it form one branch), its leaves the heaps of place.c. Each task goes down
 * the branch that has fewest tasks of the service (those that an update leaves before all), of
 * equals the one with the best node. All nodes count for a branch, also those that can take
 * nothing; only those that can are in the heaps.
 */
#include <string.h>

#include "manager/scheduler/scheduler_internal.h"
#include "shared/base/str.h"

struct branch {
        struct branch *children; /* a heap; NULL: a leaf */
        uint32_t n_children;
        struct candidate *heap; /* of a leaf */
        uint32_t n;
        uint64_t tasks;  /* of the service, in the branch: those an update leaves, those it does not
                          */
        struct key best; /* of the node that it would give */
};

/* A node with its labels; sorted by them. */
struct tree_row {
        const char *labels[SPREAD_LEVELS_MAX];
        uint32_t node;
        uint64_t tasks;              /* as of a branch */
        struct candidate *candidate; /* NULL: takes nothing */
};

#define TREE_LEFT_SHIFT 32

static uint64_t count_of(uint32_t mine, uint32_t old)
{
        return (uint64_t)(mine - old) << TREE_LEFT_SHIFT | old;
}

static const char *find_label(Swarm__KeyValue *const *labels, size_t n, const char *key)
{
        for (size_t i = 0; i < n; i++)
                if (str_is_equal(labels[i]->key, key))
                        return labels[i]->value;
        return "";
}

static const char *label_of(const struct node *node, const char *preference)
{
        if (str_has_prefix(preference, "node.labels."))
                return find_label(node->labels->labels, node->labels->n_labels,
                                  preference + strlen("node.labels."));
        if (str_has_prefix(preference, "engine.labels.") && node->description)
                return find_label(node->description->engine_labels,
                                  node->description->n_engine_labels,
                                  preference + strlen("engine.labels."));
        return "";
}

static int compare_rows(const void *a, const void *b)
{
        const struct tree_row *x = a, *y = b;

        for (size_t i = 0; i < SPREAD_LEVELS_MAX && x->labels[i]; i++) {
                int c = strcmp(x->labels[i], y->labels[i]);

                if (c)
                        return c;
        }
        return x->node < y->node ? -1 : 1;
}

static bool branch_is_less(const struct branch *a, const struct branch *b)
{
        if (a->tasks != b->tasks)
                return a->tasks < b->tasks;
        return key_is_less(a->best, b->best);
}

static void sink(struct branch *heap, uint32_t n, uint32_t i)
{
        struct branch b = heap[i];

        for (uint32_t child; (child = 2 * i + 1) < n; i = child) {
                if (child + 1 < n && branch_is_less(&heap[child + 1], &heap[child]))
                        child++;
                if (!branch_is_less(&heap[child], &b))
                        break;
                heap[i] = heap[child];
        }
        heap[i] = b;
}

static bool is_empty(const struct branch *b)
{
        return b->children ? b->n_children == 0 : b->n == 0;
}

static void set_best(struct branch *b)
{
        if (!is_empty(b))
                b->best = b->children ? b->children[0].best : b->heap[0].key;
}

static void branch_done(struct branch *b)
{
        for (uint32_t i = 0; i < b->n_children; i++)
                branch_done(&b->children[i]);
        free(b->children);
}

/* Makes the branch of rows[0..n), which have the same labels above `level`; their candidates are
 * copied to *to, which moves on. */
static struct branch build(const struct tree_row *rows, uint32_t n, size_t level, size_t levels,
                           struct candidate **to)
{
        struct branch b = {.heap = *to};

        for (uint32_t i = 0; i < n; i++)
                b.tasks += rows[i].tasks;
        if (level == levels) {
                for (uint32_t i = 0; i < n; i++)
                        if (rows[i].candidate)
                                b.heap[b.n++] = *rows[i].candidate;
                *to += b.n;
                heap_make(b.heap, b.n);
                set_best(&b);
                return b;
        }
        b.children = xnew_array(struct branch, n);
        for (uint32_t i = 0, end; i < n; i = end) {
                end = i + 1;
                while (end < n && str_is_equal(rows[i].labels[level], rows[end].labels[level]))
                        end++;
                struct branch child = build(rows + i, end - i, level + 1, levels, to);
                if (is_empty(&child))
                        branch_done(&child);
                else
                        b.children[b.n_children++] = child;
        }
        for (uint32_t i = b.n_children / 2; i-- > 0;)
                sink(b.children, b.n_children, i);
        set_best(&b);
        return b;
}

/* Places one task in a branch that is not empty; returns the node. */
static uint32_t place_one(struct scheduler *s, struct sservice *ss, const struct demand *d,
                          struct branch *b)
{
        uint32_t node;

        if (b->children) {
                node = place_one(s, ss, d, &b->children[0]);
                if (is_empty(&b->children[0])) {
                        branch_done(&b->children[0]);
                        b->children[0] = b->children[--b->n_children];
                }
                if (b->n_children > 0)
                        sink(b->children, b->n_children, 0);
        } else {
                node = b->heap[0].node;
                if (!place_on(s, ss, d, &b->heap[0]))
                        b->heap[0] = b->heap[--b->n];
                if (b->n > 0)
                        heap_down(b->heap, b->n, 0);
        }
        b->tasks += count_of(1, sservice_is_old(ss, d->spec));
        set_best(b);
        return node;
}

size_t place_in_tree(struct scheduler *s, struct sservice *ss, const struct demand *d,
                     uint32_t n_candidates, size_t n, uint32_t *ret_nodes)
{
        const Swarm__Placement *p = d->spec->msg->task->placement;
        size_t levels = MIN(p->n_spread, (size_t)SPREAD_LEVELS_MAX), done = 0;
        uint32_t n_rows = 0, next = 0;

        _cleanup_free_ struct tree_row *rows = xnew_array(struct tree_row, s->n_nodes);
        _cleanup_free_ struct candidate *candidates = xnew_array(struct candidate, n_candidates);
        for (uint32_t i = 0; i < s->n_nodes; i++) {
                struct tree_row *row = &rows[n_rows];

                if (!s->nodes[i].is_used)
                        continue;
                row->node = i;
                row->tasks = count_of(s->mine[i], counts_get(&ss->old, i));
                if (next < n_candidates && s->heap[next].node == i)
                        row->candidate = &s->heap[next++];
                for (size_t l = 0; l < levels; l++)
                        row->labels[l] = label_of(s->nodes[i].node, p->spread[l]);
                n_rows++;
        }
        qsort(rows, n_rows, sizeof(rows[0]), compare_rows);
        struct candidate *to = candidates;
        struct branch root = build(rows, n_rows, 0, levels, &to);
        while (done < n && !is_empty(&root))
                ret_nodes[done++] = place_one(s, ss, d, &root);
        branch_done(&root);
        return done;
}
