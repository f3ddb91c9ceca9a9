/*
 * Filters: may one more task of a spec go to a node? In Docker's order; the first that says no is
 * the one that is counted in the explanation.
 */
#include <stdlib.h>

#include "manager/scheduler/scheduler_internal.h"
#include "manager/store/constraint.h"
#include "shared/base/buf.h"

void demand_init(struct demand *d, const struct spec *spec)
{
        const Swarm__TaskSpec *t = spec->msg->task;
        const Swarm__Placement *p = t->placement;

        *d = (struct demand){.spec = spec};
        if (t->reservations) {
                d->cpu = t->reservations->nano_cpus;
                d->memory = t->reservations->memory_bytes;
                if (t->reservations->n_generic > 0)
                        d->reservations = t->reservations;
        }
        if (!p)
                return;
        d->has_platforms = p->n_platforms > 0;
        d->max_per_node = (uint32_t)MIN(p->max_replicas_per_node, UINT32_MAX);
        if (p->n_constraints > 0)
                d->has_bad_constraints = constraint_parse(p->constraints, p->n_constraints,
                                                          &d->constraints, NULL) < 0;
}

void demand_done(struct demand *d)
{
        free(d->constraints);
        d->constraints = NULL;
}

enum filter filter_node(const struct demand *d, const struct snode *n, uint32_t mine)
{
        if (!n->is_open)
                return FILTER_READY;
        if (n->is_disk_full)
                return FILTER_DISK;
        if (n->tasks >= NODE_TASKS_MAX)
                return FILTER_TASKS;
        if (d->cpu > n->cpu_free && d->cpu > 0)
                return FILTER_RESOURCES;
        if (d->memory > n->memory_free && d->memory > 0)
                return FILTER_RESOURCES;
        if (d->reservations && !pool_fits(n->pool, d->reservations))
                return FILTER_RESOURCES;
        if (d->has_bad_constraints ||
            (d->constraints && !constraint_is_met(d->constraints, n->node)))
                return FILTER_CONSTRAINTS;
        if (d->has_platforms && !platform_is_met(d->spec, n->node))
                return FILTER_PLATFORM;
        if (d->max_per_node && mine >= d->max_per_node)
                return FILTER_MAX_REPLICAS;
        return FILTER_PASSED;
}

static const char *const one[FILTER_COUNT] = {
        [FILTER_READY] = "1 node not available for new tasks",
        [FILTER_DISK] = "disk full on 1 node",
        [FILTER_TASKS] = "too many tasks on 1 node",
        [FILTER_RESOURCES] = "insufficient resources on 1 node",
        [FILTER_CONSTRAINTS] = "scheduling constraints not satisfied on 1 node",
        [FILTER_PLATFORM] = "unsupported platform on 1 node",
        [FILTER_MAX_REPLICAS] = "replicas limit reached on 1 node",
};
static const char *const before_count[FILTER_COUNT] = {
        [FILTER_READY] = "",
        [FILTER_DISK] = "disk full on ",
        [FILTER_TASKS] = "too many tasks on ",
        [FILTER_RESOURCES] = "insufficient resources on ",
        [FILTER_CONSTRAINTS] = "scheduling constraints not satisfied on ",
        [FILTER_PLATFORM] = "unsupported platform on ",
        [FILTER_MAX_REPLICAS] = "replicas limit reached on ",
};

/* A manager without an agent beside it is no node that might take tasks. */
static bool has_agent(const struct snode *n)
{
        return n->node->state != NODE_UNKNOWN;
}

char *filter_explain(const struct scheduler *s, const struct demand *d, const uint32_t *mine,
                     uint32_t only_node)
{
        uint32_t count[FILTER_COUNT + 1] = {0};
        const char *separator = " (";
        struct buf b = {0};

        for (uint32_t i = 0; i < s->n_nodes; i++)
                if (s->nodes[i].is_used &&
                    (only_node == ANY_NODE ? has_agent(&s->nodes[i]) : only_node == i))
                        count[filter_node(d, &s->nodes[i], mine[i])]++;
        buf_puts(&b, "no suitable node");
        for (;;) {
                int most = 0;

                for (int f = 1; f < FILTER_COUNT; f++)
                        if (count[f] > count[most])
                                most = f;
                if (count[most] == 0)
                        break;
                buf_puts(&b, separator);
                separator = "; ";
                if (count[most] == 1)
                        buf_puts(&b, one[most]);
                else
                        buf_printf(&b, "%s%u nodes%s", before_count[most], count[most],
                                   most == FILTER_READY ? " not available for new tasks" : "");
                count[most] = 0;
        }
        if (separator[0] == ';')
                buf_putc(&b, ')');
        return buf_take_str(&b);
}
