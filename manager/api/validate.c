/*
 * What a service may ask for: limits and defaults of the spec as a whole, of resources, restart,
 * placement and updates. The container's part is in validate_container.c. One line an error, that
 * names the field as swarmctl's flag does.
 */
#include "manager/api/validate_internal.h"

#include <errno.h>

#include "manager/store/constraint.h"

#define RULES_MAX        64
#define SPREAD_MAX       8
#define TIME_MS_MAX      (365LL * 24 * 3600 * 1000)
#define CPU_NANO_MAX     (1000000LL * NANO_PER_CPU)
#define MEMORY_BYTES_MAX (1LL << 50)

int check_count(size_t n, size_t max, const char *what, struct err *err)
{
        return n <= max ? 0 : err_set(err, EINVAL, "%s: more than %zu", what, max);
}

int check_text(const char *s, const char *what, struct err *err)
{
        if (strlen(s) > SPEC_TEXT_MAX)
                return err_set(err, EINVAL, "%s: longer than %d bytes", what, SPEC_TEXT_MAX);
        if (!text_is_valid(s))
                return err_set(err, EINVAL, "%s: has control characters or is no UTF-8", what);
        return 0;
}

int check_labels(Swarm__KeyValue *const *labels, size_t n, const char *what, struct err *err)
{
        int r = check_count(n, SPEC_ITEMS_MAX, what, err);

        for (size_t i = 0; r == 0 && i < n; i++) {
                if (!*labels[i]->key)
                        return err_set(err, EINVAL, "%s: a key is empty", what);
                r = check_text(labels[i]->key, what, err);
                if (r == 0 && strchr(labels[i]->key, ' '))
                        return err_set(err, EINVAL, "%s '%s': the key has a space", what,
                                       labels[i]->key);
                if (r == 0)
                        r = check_text(labels[i]->value, what, err);
        }
        return r;
}

static int check_time(int64_t ms, const char *what, struct err *err)
{
        if (ms < 0)
                return err_set(err, EINVAL, "%s: must not be negative", what);
        if (ms > TIME_MS_MAX)
                return err_set(err, EINVAL, "%s: longer than a year", what);
        return 0;
}

int check_time_range(int64_t ms, const char *what, struct err *err)
{
        return check_time(ms, what, err);
}

static int check_generic(const Swarm__Resources *r, struct err *err)
{
        int e = check_count(r->n_generic, SPEC_ITEMS_MAX, "generic-resource", err);

        for (size_t i = 0; e == 0 && i < r->n_generic; i++) {
                const Swarm__GenericResource *g = r->generic[i];

                if (!name_is_valid(g->kind))
                        return err_set(err, EINVAL, "generic-resource %s: not a valid name",
                                       g->kind);
                if (g->n_names || g->count < 1)
                        return err_set(err, EINVAL,
                                       "generic-resource %s: a service asks for a count of at "
                                       "least 1",
                                       g->kind);
        }
        return e;
}

static int check_resources(const Swarm__Resources *r, const char *what, struct err *err)
{
        if (!r)
                return 0;
        if (r->nano_cpus && r->nano_cpus < CPU_NANO_MIN)
                return err_set(err, EINVAL, "%s-cpu: must be at least 0.001", what);
        if (r->nano_cpus > CPU_NANO_MAX)
                return err_set(err, EINVAL, "%s-cpu: more than 1000000", what);
        if (r->memory_bytes && r->memory_bytes < MEMORY_BYTES_MIN)
                return err_set(err, EINVAL, "%s-memory: must be at least 4MiB", what);
        if (r->memory_bytes > MEMORY_BYTES_MAX)
                return err_set(err, EINVAL, "%s-memory: more than 1PiB", what);
        if (r->pids < 0)
                return err_set(err, EINVAL, "%s-pids: must not be negative", what);
        return check_generic(r, err);
}

static int check_reservation_within_limit(const Swarm__TaskSpec *task, struct err *err)
{
        const Swarm__Resources *limit = task->limits, *reserve = task->reservations;

        if (!limit || !reserve)
                return 0;
        if (limit->memory_bytes && reserve->memory_bytes > limit->memory_bytes)
                return err_set(err, EINVAL, "reserve-memory: more than limit-memory");
        if (limit->nano_cpus && reserve->nano_cpus > limit->nano_cpus)
                return err_set(err, EINVAL, "reserve-cpu: more than limit-cpu");
        return 0;
}

static int check_restart(Swarm__TaskSpec *task, struct err *err)
{
        const Swarm__RestartPolicy *p = task->restart;

        if (!p)
                return 0;
        if (p->condition > RESTART_NONE)
                return err_set(err, EINVAL, "restart-condition: unknown number %u", p->condition);
        if (p->delay_ms && check_time(p->delay_ms->value, "restart-delay", err) < 0)
                return -EINVAL;
        if (p->window_ms && p->max_attempts > TASK_HISTORY_MAX)
                return err_set(err, EINVAL,
                               "restart-max-attempts: more than %d within a restart-window",
                               TASK_HISTORY_MAX);
        return check_time(p->window_ms, "restart-window", err);
}

static int check_spread(const Swarm__Placement *p, struct err *err)
{
        int r = check_count(p->n_spread, SPREAD_MAX, "placement-pref", err);

        for (size_t i = 0; r == 0 && i < p->n_spread; i++) {
                const char *s = p->spread[i];
                const char *dot = strrchr(s, '.');

                if ((!str_has_prefix(s, "node.labels.") && !str_has_prefix(s, "engine.labels.")) ||
                    !dot[1])
                        return err_set(err, EINVAL,
                                       "placement-pref %s: must be node.labels.NAME or "
                                       "engine.labels.NAME",
                                       s);
                r = check_text(s, "placement-pref", err);
        }
        return r;
}

static int check_placement(const Swarm__ServiceSpec *spec, struct err *err)
{
        const Swarm__Placement *p = spec->task->placement;
        struct constraint *constraints = NULL;

        if (!p)
                return 0;
        if (p->strategy > STRATEGY_BINPACK)
                return err_set(err, EINVAL, "placement-strategy: unknown number %u", p->strategy);
        if (p->max_replicas_per_node && spec->mode != MODE_REPLICATED)
                return err_set(err, EINVAL, "replicas-max-per-node: only for replicated services");
        int r = check_count(p->n_constraints, RULES_MAX, "constraint", err);
        for (size_t i = 0; r == 0 && i < p->n_constraints; i++)
                r = check_text(p->constraints[i], "constraint", err);
        if (r == 0)
                r = constraint_parse(p->constraints, p->n_constraints, &constraints, err);
        free(constraints);
        return r < 0 ? r : check_spread(p, err);
}

/* name: "update" or "rollback". */
static int check_update(const Swarm__UpdateConfig *u, const char *name, struct err *err)
{
        int most = str_is_equal(name, "rollback") ? ACTION_CONTINUE : ACTION_ROLLBACK;

        if (!u)
                return 0;
        if (u->failure_action > (uint32_t)most)
                return err_set(err, EINVAL, "%s-failure-action: must be %s", name,
                               most == ACTION_ROLLBACK ? "pause, continue or rollback"
                                                       : "pause or continue");
        if (u->order > ORDER_START_FIRST)
                return err_set(err, EINVAL, "%s-order: must be stop-first or start-first", name);
        if (!(u->max_failure_ratio >= 0 && u->max_failure_ratio <= 1))
                return err_set(err, EINVAL, "%s-max-failure-ratio: must be between 0 and 1", name);
        if (u->delay_ms < 0 || u->delay_ms > TIME_MS_MAX)
                return err_set(err, EINVAL, "%s-delay: must be between 0 and a year", name);
        if (u->monitor_ms < 0 || u->monitor_ms > TIME_MS_MAX)
                return err_set(err, EINVAL, "%s-monitor: must be between 0 and a year", name);
        if (u->wait_ms < 0 || u->wait_ms > TIME_MS_MAX)
                return err_set(err, EINVAL, "%s-wait: must be between 0 and a year", name);
        return 0;
}

static int check_mode(const Swarm__ServiceSpec *spec, struct err *err)
{
        if (spec->mode > MODE_GLOBAL)
                return err_set(err, EINVAL, "mode: unknown number %u", spec->mode);
        if (spec->mode == MODE_GLOBAL && spec->replicas)
                return err_set(err, EINVAL, "replicas: only for replicated services");
        if (spec->replicas > SERVICE_REPLICAS_MAX)
                return err_set(err, EINVAL, "replicas: more than %d", SERVICE_REPLICAS_MAX);
        return 0;
}

static int check_networks(const Swarm__TaskSpec *task, struct err *err)
{
        if (task->n_networks > 1)
                return err_set(err, EINVAL, "network: only one of host and none");
        if (task->n_networks == 1 && !str_is_equal(task->networks[0], "host") &&
            !str_is_equal(task->networks[0], "none"))
                return err_set(err, EINVAL, "network %s: not found (there are host and none)",
                               task->networks[0]);
        return 0;
}

/* It asks for the very image that is in force: it stays so even if the name is another's by now. */
static bool is_pinned(struct api *a, const Swarm__ContainerSpec *c,
                      const Swarm__ServiceSpec *present)
{
        const Swarm__ContainerSpec *now = present ? present->task->container : NULL;

        return now && *c->image_id && str_is_equal(c->image_id, now->image_id) &&
               str_is_equal(c->image, now->image) && store_find_image(a->store, c->image_id);
}

/* The image's id and platform go into the spec, so that all nodes run the same. */
static int resolve_image(struct api *a, Swarm__TaskSpec *task, struct err *err)
{
        Swarm__ContainerSpec *c = task->container;
        struct image *image;

        if (find_image(a, c->image, &image, err) < 0)
                return -ENOENT;
        if (!str_is_equal(c->image_id, image->id))
                spec_set_string(&c->image_id, image->id);
        spec_set_platform(task->placement, image->msg->arch, image->msg->os);
        return 0;
}

/* Is there anything to run? A command's arguments are one too, if the image has no entrypoint. */
static int check_command(struct api *a, const Swarm__ContainerSpec *c, struct err *err)
{
        const struct image *image = store_find_image(a->store, c->image_id);

        if (c->n_entrypoint || c->n_args || !image || !image->msg->lacks_command)
                return 0;
        return err_set(err, EINVAL, "image %s has no command: give one", c->image);
}

int spec_validate(struct api *a, Swarm__ServiceSpec *spec, const Swarm__ServiceSpec *present,
                  struct err *err)
{
        if (!name_is_valid(spec->name))
                return err_set(err, EINVAL,
                               "service name '%s': must match [a-zA-Z0-9][a-zA-Z0-9_.-]* and "
                               "have at most %d characters",
                               text_is_valid(spec->name) ? spec->name : "", NAME_MAX_LEN);
        if (!spec->task || !spec->task->container)
                return err_set(err, EINVAL, "service %s: has no container", spec->name);
        spec_fill_defaults(spec);
        int r = check_mode(spec, err);
        if (r == 0)
                r = check_labels(spec->labels, spec->n_labels, "label", err);
        if (r == 0)
                r = check_resources(spec->task->limits, "limit", err);
        if (r == 0)
                r = check_resources(spec->task->reservations, "reserve", err);
        if (r == 0)
                r = check_reservation_within_limit(spec->task, err);
        if (r == 0)
                r = check_restart(spec->task, err);
        if (r == 0)
                r = check_placement(spec, err);
        if (r == 0)
                r = check_update(spec->update, "update", err);
        if (r == 0)
                r = check_update(spec->rollback, "rollback", err);
        if (r == 0)
                r = check_networks(spec->task, err);
        if (r == 0)
                r = container_validate(spec, err);
        if (r == 0 && !is_pinned(a, spec->task->container, present))
                r = resolve_image(a, spec->task, err);
        if (r == 0)
                r = check_command(a, spec->task->container, err);
        if (r == 0 && swarm__service_spec__get_packed_size(spec) > SPEC_BYTES_MAX)
                r = err_set(err, EINVAL, "service %s: the spec is larger than 1MiB", spec->name);
        return r;
}
