/* Specs of services and descriptions of nodes from words KEY=VALUE. */
#include "tests/lib/plan_spec.h"

#include <errno.h>
#include <stdio.h>

#include "shared/wire/wire.h"

static void set_string(char **field, const char *value)
{
        if (*field != protobuf_c_empty_string)
                free(*field);
        *field = xstrdup(value);
}

/* Sets a list to "a,b"; "" empties it. */
static void set_list(char ***list, size_t *n, const char *value)
{
        for (size_t i = 0; i < *n; i++)
                free((*list)[i]);
        free(*list);
        *list = NULL;
        *n = 0;
        if (!*value)
                return;
        *list = str_split(value, ',');
        *n = strv_len(*list);
}

static int64_t duration(const char *value)
{
        int64_t ms = -1;

        return parse_duration_ms(value, &ms) < 0 ? -1 : ms;
}

static uint64_t number(const char *value)
{
        uint64_t n = 0;

        return parse_u64(value, &n) < 0 ? UINT64_MAX : n;
}

static void set_number(Swarm__Number **field, int64_t value)
{
        if (!*field) {
                *field = xnew(Swarm__Number);
                swarm__number__init(*field);
        }
        (*field)->value = value;
}

#define ENSURE(field, type, init)             \
        do {                                  \
                if (!(field)) {               \
                        (field) = xnew(type); \
                        init(field);          \
                }                             \
        } while (0)

/* The resource of that kind, a new one if there is none. */
static Swarm__GenericResource *generic_get(Swarm__Resources *r, const char *kind)
{
        Swarm__GenericResource *g;

        for (size_t i = 0; i < r->n_generic; i++)
                if (str_is_equal(r->generic[i]->kind, kind))
                        return r->generic[i];
        g = xnew(Swarm__GenericResource);
        swarm__generic_resource__init(g);
        g->kind = xstrdup(kind);
        r->generic = xreallocarray(r->generic, r->n_generic + 1, sizeof(r->generic[0]));
        r->generic[r->n_generic++] = g;
        return g;
}

static void generic_set(Swarm__Resources *r, const char *kind, const char *value)
{
        Swarm__GenericResource *g = generic_get(r, kind);

        set_list(&g->names, &g->n_names, "");
        g->count = 0;
        if (parse_i64(value, &g->count) < 0)
                set_list(&g->names, &g->n_names, value);
}

static int update_word(Swarm__UpdateConfig *u, const char *key, const char *value)
{
        enum failure_action action = ACTION_PAUSE;
        enum update_order order = ORDER_STOP_FIRST;

        if (str_is_equal(key, "parallelism"))
                u->parallelism = number(value);
        else if (str_is_equal(key, "delay"))
                u->delay_ms = duration(value);
        else if (str_is_equal(key, "monitor"))
                u->monitor_ms = duration(value);
        else if (str_is_equal(key, "wait"))
                u->wait_ms = duration(value);
        else if (str_is_equal(key, "ratio"))
                return parse_ratio(value, &u->max_failure_ratio);
        else if (str_is_equal(key, "action") && failure_action_parse(value, &action) == 0)
                u->failure_action = action;
        else if (str_is_equal(key, "order") && update_order_parse(value, &order) == 0)
                u->order = order;
        else
                return -EINVAL;
        return 0;
}

static Swarm__UpdateConfig *ensure_update(Swarm__UpdateConfig **u)
{
        if (!*u) {
                *u = xnew(Swarm__UpdateConfig);
                swarm__update_config__init(*u);
                (*u)->parallelism = 1;
                (*u)->monitor_ms = DEFAULT_UPDATE_MONITOR_MS;
                (*u)->wait_ms = DEFAULT_UPDATE_WAIT_MS;
        }
        return *u;
}

static int restart_word(Swarm__RestartPolicy *r, const char *key, const char *value)
{
        enum restart_condition condition = RESTART_ANY;

        if (str_is_equal(key, "restart") && restart_condition_parse(value, &condition) == 0)
                r->condition = condition;
        else if (str_is_equal(key, "delay"))
                set_number(&r->delay_ms, duration(value));
        else if (str_is_equal(key, "attempts"))
                r->max_attempts = number(value);
        else if (str_is_equal(key, "window"))
                r->window_ms = duration(value);
        else
                return -EINVAL;
        return 0;
}

static int set_platform(Swarm__Placement *p, const char *value)
{
        const char *slash = strchr(value, '/');
        Swarm__Platform *platform;

        if (!slash)
                return -EINVAL;
        platform = xnew(Swarm__Platform);
        swarm__platform__init(platform);
        platform->os = xstrndup(value, (size_t)(slash - value));
        platform->arch = xstrdup(slash + 1);
        p->platforms = xreallocarray(p->platforms, p->n_platforms + 1, sizeof(platform));
        p->platforms[p->n_platforms++] = platform;
        return 0;
}

static int placement_word(Swarm__Placement *p, const char *key, const char *value)
{
        enum placement_strategy strategy = STRATEGY_SPREAD;

        if (str_is_equal(key, "constraint"))
                set_list(&p->constraints, &p->n_constraints, value);
        else if (str_is_equal(key, "spread"))
                set_list(&p->spread, &p->n_spread, value);
        else if (str_is_equal(key, "max-per-node"))
                p->max_replicas_per_node = number(value);
        else if (str_is_equal(key, "strategy") && placement_strategy_parse(value, &strategy) == 0)
                p->strategy = strategy;
        else if (str_is_equal(key, "platform"))
                return set_platform(p, value);
        else
                return -EINVAL;
        return 0;
}

static int resource_word(Swarm__Resources *r, const char *key, const char *value)
{
        if (str_is_equal(key, "cpu"))
                return parse_cpu(value, &r->nano_cpus);
        if (str_is_equal(key, "mem"))
                return parse_size(value, &r->memory_bytes);
        if (!str_has_prefix(key, "generic."))
                return -EINVAL;
        generic_set(r, key + strlen("generic."), value);
        return 0;
}

int spec_word(Swarm__ServiceSpec *spec, const char *key, const char *value)
{
        Swarm__TaskSpec *t = spec->task;

        if (str_is_equal(key, "image"))
                set_string(&t->container->image, value);
        else if (str_is_equal(key, "replicas"))
                spec->replicas = number(value);
        else if (str_is_equal(key, "mode"))
                spec->mode = str_is_equal(value, "global") ? MODE_GLOBAL : MODE_REPLICATED;
        else if (str_is_equal(key, "force"))
                t->force_update = number(value);
        else if (str_has_prefix(key, "update-"))
                return update_word(ensure_update(&spec->update), key + 7, value);
        else if (str_has_prefix(key, "rollback-"))
                return update_word(ensure_update(&spec->rollback), key + 9, value);
        else if (restart_word(t->restart, key, value) == 0 ||
                 placement_word(t->placement, key, value) == 0)
                return 0;
        else
                return resource_word(t->reservations, key, value);
        return 0;
}

Swarm__ServiceSpec *spec_new_empty(const char *name)
{
        Swarm__ServiceSpec *spec = xnew(Swarm__ServiceSpec);

        swarm__service_spec__init(spec);
        spec->name = xstrdup(name);
        spec->replicas = 1;
        ENSURE(spec->task, Swarm__TaskSpec, swarm__task_spec__init);
        ENSURE(spec->task->container, Swarm__ContainerSpec, swarm__container_spec__init);
        ENSURE(spec->task->restart, Swarm__RestartPolicy, swarm__restart_policy__init);
        ENSURE(spec->task->placement, Swarm__Placement, swarm__placement__init);
        ENSURE(spec->task->reservations, Swarm__Resources, swarm__resources__init);
        spec->task->container->image = xstrdup("v1");
        return spec;
}

static void label_add(Swarm__KeyValue ***list, size_t *n, const char *key, const char *value)
{
        Swarm__KeyValue *kv = xnew(Swarm__KeyValue);

        swarm__key_value__init(kv);
        kv->key = xstrdup(key);
        kv->value = xstrdup(value);
        *list = xreallocarray(*list, *n + 1, sizeof(kv));
        (*list)[(*n)++] = kv;
}

/* A label that is there gets the new value. */
static void label_set(Swarm__KeyValue ***list, size_t *n, const char *key, const char *value)
{
        for (size_t i = 0; i < *n; i++)
                if (str_is_equal((*list)[i]->key, key)) {
                        set_string(&(*list)[i]->value, value);
                        return;
                }
        label_add(list, n, key, value);
}

int node_word(Swarm__Node *node, const char *key, const char *value)
{
        Swarm__NodeDescription *d = node->description;

        if (str_has_prefix(key, "label."))
                label_set(&node->labels, &node->n_labels, key + 6, value);
        else if (str_has_prefix(key, "engine."))
                label_set(&d->engine_labels, &d->n_engine_labels, key + 7, value);
        else if (str_is_equal(key, "arch"))
                set_string(&d->arch, value);
        else if (str_is_equal(key, "os"))
                set_string(&d->os, value);
        else
                return resource_word(d->capacity, key, value);
        return 0;
}

Swarm__Node *node_new_empty(const char *name)
{
        Swarm__Node *node = xnew(Swarm__Node);

        swarm__node__init(node);
        ENSURE(node->description, Swarm__NodeDescription, swarm__node_description__init);
        ENSURE(node->description->capacity, Swarm__Resources, swarm__resources__init);
        node->description->hostname = xstrdup(name);
        node->description->os = xstrdup("linux");
        node->description->arch = xstrdup("x86_64");
        node->description->capacity->nano_cpus = 4 * NANO_PER_CPU;
        node->description->capacity->memory_bytes = 8LL << 30;
        return node;
}
