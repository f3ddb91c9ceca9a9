/* From flags to a spec: single values. See spec.h; lists are in spec_lists.c. */
#include "swarmctl/cmd/spec.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "shared/base/mem.h"
#include "shared/base/parse.h"
#include "shared/base/str.h"
#include "shared/model/model.h"
#include "swarmctl/cmd/spec_internal.h"

Swarm__ServiceSpec *spec_begin(void)
{
        Swarm__ServiceSpec *s = EDIT_NEW(Swarm__ServiceSpec, swarm__service_spec__init);

        s->task = EDIT_NEW(Swarm__TaskSpec, swarm__task_spec__init);
        s->task->container = EDIT_NEW(Swarm__ContainerSpec, swarm__container_spec__init);
        s->replicas = 1;
        return s;
}

/* A field that a flag sets as it is. */
struct plain {
        const char *flag;
        size_t offset;
};

static void apply_strings(Swarm__ContainerSpec *c, const struct args *a)
{
        static const struct plain plains[] = {
                {"image", offsetof(Swarm__ContainerSpec, image)},
                {"hostname", offsetof(Swarm__ContainerSpec, hostname)},
                {"user", offsetof(Swarm__ContainerSpec, user)},
                {"workdir", offsetof(Swarm__ContainerSpec, workdir)},
                {"stop-signal", offsetof(Swarm__ContainerSpec, stop_signal)},
        };

        for (size_t i = 0; i < ARRAY_SIZE(plains); i++) {
                const char *text = args_text(a, plains[i].flag);

                if (text)
                        edit_str((char **)(void *)((char *)c + plains[i].offset), text);
        }
}

static void apply_switches(Swarm__ContainerSpec *c, const struct args *a)
{
        static const struct plain plains[] = {
                {"tty", offsetof(Swarm__ContainerSpec, tty)},
                {"init", offsetof(Swarm__ContainerSpec, init)},
                {"read-only", offsetof(Swarm__ContainerSpec, read_only)},
        };

        for (size_t i = 0; i < ARRAY_SIZE(plains); i++)
                if (args_is_set(a, plains[i].flag))
                        *(protobuf_c_boolean *)(void *)((char *)c + plains[i].offset) =
                                args_on(a, plains[i].flag);
}

static int apply_container(Swarm__ContainerSpec *c, const struct args *a, struct err *err)
{
        const struct flag_value *grace = args_find(a, "stop-grace-period");
        const struct flag_value *entrypoint = args_find(a, "entrypoint");
        const struct flag_value *arguments = args_find(a, "args");

        if (args_is_set(a, "image") && !*args_text(a, "image"))
                return err_set(err, EINVAL, "--image must not be empty");
        if (args_is_set(a, "image"))
                edit_str(&c->image_id, ""); /* the manager looks up what it is at present */
        apply_strings(c, a);
        apply_switches(c, a);
        if (grace && grace->is_set)
                edit_number(&c->stop_grace_ms, grace->number);
        if (entrypoint && entrypoint->is_set)
                edit_set_strs(&c->entrypoint, &c->n_entrypoint, entrypoint->list);
        if (arguments && arguments->is_set)
                edit_set_strs(&c->args, &c->n_args, arguments->list);
        return spec_apply_health(c, a, err);
}

static void apply_i64(int64_t *field, const struct args *a, const char *name)
{
        if (args_is_set(a, name))
                *field = args_get(a, name)->number;
}

static void apply_u64(uint64_t *field, const struct args *a, const char *name)
{
        if (args_is_set(a, name))
                *field = (uint64_t)args_get(a, name)->number;
}

static void apply_resources(Swarm__TaskSpec *t, const struct args *a)
{
        Swarm__Resources *r;

        if (args_is_set(a, "limit-cpu") || args_is_set(a, "limit-memory") ||
            args_is_set(a, "limit-pids")) {
                r = EDIT_SUB(t->limits, Swarm__Resources, swarm__resources__init);
                apply_i64(&r->nano_cpus, a, "limit-cpu");
                apply_i64(&r->memory_bytes, a, "limit-memory");
                apply_i64(&r->pids, a, "limit-pids");
        }
        if (args_is_set(a, "reserve-cpu") || args_is_set(a, "reserve-memory")) {
                r = EDIT_SUB(t->reservations, Swarm__Resources, swarm__resources__init);
                apply_i64(&r->nano_cpus, a, "reserve-cpu");
                apply_i64(&r->memory_bytes, a, "reserve-memory");
        }
}

static void apply_restart(Swarm__TaskSpec *t, const struct args *a)
{
        enum restart_condition condition;
        Swarm__RestartPolicy *p;

        if (!args_is_set(a, "restart-condition") && !args_is_set(a, "restart-delay") &&
            !args_is_set(a, "restart-max-attempts") && !args_is_set(a, "restart-window"))
                return;
        p = EDIT_SUB(t->restart, Swarm__RestartPolicy, swarm__restart_policy__init);
        if (args_is_set(a, "restart-condition") &&
            restart_condition_parse(args_text(a, "restart-condition"), &condition) == 0)
                p->condition = condition;
        if (args_is_set(a, "restart-delay"))
                edit_number(&p->delay_ms, args_get(a, "restart-delay")->number);
        apply_u64(&p->max_attempts, a, "restart-max-attempts");
        apply_i64(&p->window_ms, a, "restart-window");
}

static const char *prefixed(const char *prefix, const char *name, char ret[64])
{
        snprintf(ret, 64, "%s-%s", prefix, name);
        return ret;
}

static bool any_update_flag(const struct args *a, const char *prefix)
{
        static const char *const names[] = {
                "parallelism",       "delay", "monitor", "failure-action",
                "max-failure-ratio", "order", "wait"};
        char name[64];

        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                if (args_is_set(a, prefixed(prefix, names[i], name)))
                        return true;
        return false;
}

/* update-* or rollback-*. What was not there starts from the defaults. */
static void apply_update_config(Swarm__UpdateConfig **field, const struct args *a,
                                const char *prefix)
{
        enum failure_action action;
        enum update_order order;
        Swarm__UpdateConfig *u = *field;
        char name[64];

        if (!any_update_flag(a, prefix))
                return;
        if (!u) {
                u = *field = EDIT_NEW(Swarm__UpdateConfig, swarm__update_config__init);
                u->parallelism = 1;
                u->monitor_ms = DEFAULT_UPDATE_MONITOR_MS;
                u->wait_ms = DEFAULT_UPDATE_WAIT_MS;
        }
        apply_u64(&u->parallelism, a, prefixed(prefix, "parallelism", name));
        apply_i64(&u->delay_ms, a, prefixed(prefix, "delay", name));
        apply_i64(&u->monitor_ms, a, prefixed(prefix, "monitor", name));
        apply_i64(&u->wait_ms, a, prefixed(prefix, "wait", name));
        if (args_is_set(a, prefixed(prefix, "failure-action", name)) &&
            failure_action_parse(args_text(a, name), &action) == 0)
                u->failure_action = action;
        if (args_is_set(a, prefixed(prefix, "order", name)) &&
            update_order_parse(args_text(a, name), &order) == 0)
                u->order = order;
        if (args_is_set(a, prefixed(prefix, "max-failure-ratio", name)))
                u->max_failure_ratio = args_get(a, name)->ratio;
}

static int apply_mode(Swarm__ServiceSpec *s, const struct args *a, struct err *err)
{
        /* That the mode is another one is seen in the command line, or in the service. */
        const int code = args_is_set(a, "mode") ? EINVAL : EOPNOTSUPP;
        enum service_mode mode;

        if (args_is_set(a, "mode") && service_mode_parse(args_text(a, "mode"), &mode) == 0)
                s->mode = mode;
        if (s->mode == MODE_GLOBAL) {
                s->replicas = 0;
                if (args_is_set(a, "replicas"))
                        return err_set(err, code,
                                       "--replicas can only be used with replicated mode");
                if (args_is_set(a, "replicas-max-per-node"))
                        return err_set(
                                err, code,
                                "--replicas-max-per-node can only be used with replicated mode");
        }
        apply_u64(&s->replicas, a, "replicas");
        return 0;
}

static void apply_placement(Swarm__TaskSpec *t, const struct args *a)
{
        enum placement_strategy strategy;
        Swarm__Placement *p;

        if (!args_is_set(a, "replicas-max-per-node") && !args_is_set(a, "placement-strategy"))
                return;
        p = EDIT_SUB(t->placement, Swarm__Placement, swarm__placement__init);
        apply_u64(&p->max_replicas_per_node, a, "replicas-max-per-node");
        if (args_is_set(a, "placement-strategy") &&
            placement_strategy_parse(args_text(a, "placement-strategy"), &strategy) == 0)
                p->strategy = strategy;
}

int spec_apply(Swarm__ServiceSpec *s, const struct args *a, struct err *err)
{
        Swarm__TaskSpec *t = EDIT_SUB(s->task, Swarm__TaskSpec, swarm__task_spec__init);
        int r;

        EDIT_SUB(t->container, Swarm__ContainerSpec, swarm__container_spec__init);
        if (args_text(a, "name"))
                edit_str(&s->name, args_text(a, "name"));
        r = apply_mode(s, a, err);
        if (r == 0)
                r = apply_container(t->container, a, err);
        if (r == 0)
                r = spec_apply_env_files(t->container, a, err);
        if (r == 0)
                r = spec_apply_lists(s, a, err);
        if (r < 0)
                return r;
        apply_resources(t, a);
        apply_restart(t, a);
        apply_placement(t, a);
        apply_update_config(&s->update, a, "update");
        apply_update_config(&s->rollback, a, "rollback");
        if (args_on(a, "force"))
                t->force_update++;
        return 0;
}
