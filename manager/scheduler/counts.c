/* A service on the nodes: how many of its tasks each has, and where it failed lately. */
#include <assert.h>
#include <string.h>

#include "manager/scheduler/scheduler_internal.h"

static uint32_t home(const struct counts *c, uint32_t node)
{
        return (node * 0x9e3779b1u) & (c->cap - 1);
}

static struct count *find(const struct counts *c, uint32_t node)
{
        uint32_t i = home(c, node);

        while (c->slots[i].node && c->slots[i].node != node + 1)
                i = (i + 1) & (c->cap - 1);
        return &c->slots[i];
}

uint32_t counts_get(const struct counts *c, uint32_t node)
{
        return c->cap ? find(c, node)->n : 0;
}

/* Nodes that have none any more are left out. */
static void resize(struct counts *c)
{
        struct counts old = *c;
        uint32_t live = 0;

        for (uint32_t i = 0; i < old.cap; i++)
                live += old.slots[i].n > 0;
        c->cap = 16;
        while (c->cap < live * 4)
                c->cap *= 2;
        c->slots = xnew_array(struct count, c->cap);
        c->used = live;
        for (uint32_t i = 0; i < old.cap; i++)
                if (old.slots[i].n > 0)
                        *find(c, old.slots[i].node - 1) = old.slots[i];
        free(old.slots);
}

void counts_add(struct counts *c, uint32_t node, int by)
{
        if ((c->used + 1) * 4 > c->cap * 3)
                resize(c);
        struct count *slot = find(c, node);
        if (!slot->node) {
                slot->node = node + 1;
                c->used++;
        }
        assert(by > 0 || slot->n > 0);
        slot->n += (uint32_t)by;
}

void counts_clear(struct counts *c)
{
        free(c->slots);
        *c = (struct counts){0};
}

static struct failures *failures_find(const struct sservice *ss, uint64_t version, uint32_t node)
{
        for (size_t i = 0; i < ss->n_failures; i++)
                if (ss->failures[i].node == node && ss->failures[i].version == version)
                        return &ss->failures[i];
        return NULL;
}

void failures_add(struct sservice *ss, uint64_t version, uint32_t node, int64_t at_ms)
{
        struct failures *f = failures_find(ss, version, node);

        if (!f) {
                if (ss->n_failures == FAILURES_MAX)
                        memmove(ss->failures, ss->failures + 1,
                                --ss->n_failures * sizeof(ss->failures[0]));
                ss->failures =
                        xreallocarray(ss->failures, ss->n_failures + 1, sizeof(ss->failures[0]));
                f = &ss->failures[ss->n_failures++];
                *f = (struct failures){.version = version, .node = node};
                for (int i = 0; i < FAILURES_KEPT; i++)
                        f->at_ms[i] = INT64_MIN / 2;
        }
        f->at_ms[f->next] = at_ms;
        f->next = (f->next + 1) % FAILURES_KEPT;
}

uint32_t failures_count(const struct failures *f, uint64_t version, int64_t now_ms)
{
        uint32_t n = 0;

        if (f->version != version)
                return 0;
        for (int i = 0; i < FAILURES_KEPT; i++)
                n += f->at_ms[i] > now_ms - FAILURES_PERIOD_MS;
        return n >= FAILURES_MANY ? n : 0;
}
