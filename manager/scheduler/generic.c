/*
 * Generic resources of a node: discrete ("gpu=4") and named sets ("gpu=UUID1,UUID2"). A task asks
 * for a number of a kind; of a named set it gets that many names, lowest in the node's order first.
 */
#include <assert.h>

#include "manager/scheduler/scheduler_internal.h"
#include "shared/base/str.h"
#include "shared/wire/wire.h"

struct kind {
        char *name;
        int64_t free;
        char **names;  /* NULL-terminated; NULL: discrete */
        bool *is_free; /* of each name */
};

struct pool {
        size_t n;
        struct kind kinds[];
};

struct pool *pool_new(const Swarm__Resources *capacity)
{
        if (!capacity || capacity->n_generic == 0)
                return NULL;
        struct pool *pool =
                xcalloc(1, sizeof(*pool) + capacity->n_generic * sizeof(pool->kinds[0]));
        for (size_t i = 0; i < capacity->n_generic; i++) {
                const Swarm__GenericResource *g = capacity->generic[i];
                struct kind *k = &pool->kinds[pool->n++];

                k->name = xstrdup(g->kind);
                k->free = g->n_names ? (int64_t)g->n_names : g->count;
                if (g->n_names == 0)
                        continue;
                k->is_free = xnew_array(bool, g->n_names);
                for (size_t j = 0; j < g->n_names; j++) {
                        strv_push(&k->names, g->names[j]);
                        k->is_free[j] = true;
                }
        }
        return pool;
}

void pool_free(struct pool *pool)
{
        for (size_t i = 0; pool && i < pool->n; i++) {
                free(pool->kinds[i].name);
                strv_free(pool->kinds[i].names);
                free(pool->kinds[i].is_free);
        }
        free(pool);
}

static const struct kind *find(const struct pool *pool, const char *name)
{
        for (size_t i = 0; pool && i < pool->n; i++)
                if (str_is_equal(pool->kinds[i].name, name))
                        return &pool->kinds[i];
        return NULL;
}

static int64_t number_of(const Swarm__GenericResource *g)
{
        return g->n_names ? (int64_t)g->n_names : g->count;
}

bool pool_fits(const struct pool *pool, const Swarm__Resources *need)
{
        for (size_t i = 0; i < need->n_generic; i++) {
                const struct kind *k = find(pool, need->generic[i]->kind);

                if (!k || k->free < number_of(need->generic[i]))
                        return false;
        }
        return true;
}

Swarm__Resources *pool_claim(struct pool *pool, const Swarm__Resources *need)
{
        Swarm__Resources claim = SWARM__RESOURCES__INIT;
        Swarm__Resources *ret;

        assert(pool_fits(pool, need));
        _cleanup_free_ Swarm__GenericResource *all =
                xnew_array(Swarm__GenericResource, need->n_generic);
        _cleanup_free_ Swarm__GenericResource **list =
                xnew_array(Swarm__GenericResource *, need->n_generic);
        for (size_t i = 0; i < need->n_generic; i++) {
                const struct kind *k = find(pool, need->generic[i]->kind);
                int64_t n = number_of(need->generic[i]);

                swarm__generic_resource__init(&all[i]);
                all[i].kind = k->name;
                list[i] = &all[i];
                if (!k->names) {
                        all[i].count = n;
                        continue;
                }
                all[i].names = xnew_array(char *, (size_t)n);
                for (size_t j = 0; k->names[j] && all[i].n_names < (size_t)n; j++)
                        if (k->is_free[j])
                                all[i].names[all[i].n_names++] = k->names[j];
        }
        claim.n_generic = need->n_generic;
        claim.generic = list;
        ret = wire_dup(&claim);
        for (size_t i = 0; i < need->n_generic; i++)
                free(all[i].names);
        pool_take(pool, ret);
        return ret;
}

static void change(struct pool *pool, const Swarm__Resources *claimed, bool is_given)
{
        for (size_t i = 0; i < claimed->n_generic; i++) {
                const Swarm__GenericResource *g = claimed->generic[i];
                struct kind *k = (struct kind *)find(pool, g->kind);

                if (!k)
                        continue;
                if (!k->names) {
                        k->free += is_given ? number_of(g) : -number_of(g);
                        continue;
                }
                for (size_t n = 0; n < g->n_names; n++)
                        for (size_t j = 0; k->names[j]; j++)
                                if (str_is_equal(k->names[j], g->names[n]) &&
                                    k->is_free[j] != is_given) {
                                        k->is_free[j] = is_given;
                                        k->free += is_given ? 1 : -1;
                                }
        }
}

void pool_take(struct pool *pool, const Swarm__Resources *claimed)
{
        change(pool, claimed, false);
}

void pool_give(struct pool *pool, const Swarm__Resources *claimed)
{
        change(pool, claimed, true);
}
