/* A service and its spec as a document: see doc.c. Durations are nanoseconds, as in Docker's API.
 */
#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/model/model.h"
#include "swarmctl/output/doc_internal.h"

static json_t *mount_doc(const Swarm__Mount *m)
{
        json_t *o = json_object(), *options = json_object();

        doc_put_str(o, "Type", mount_type_name((enum mount_type)m->type));
        doc_put_str_if(o, "Source", m->source);
        doc_put_str(o, "Target", m->target);
        if (m->read_only)
                doc_put_bool(o, "ReadOnly", true);
        if (m->type == MOUNT_BIND) {
                doc_put_str_if(options, "Propagation", m->propagation);
                if (m->nonrecursive)
                        doc_put_bool(options, "NonRecursive", true);
                if (m->create_source)
                        doc_put_bool(options, "CreateMountpoint", true);
        } else if (m->type == MOUNT_VOLUME) {
                if (m->nocopy)
                        doc_put_bool(options, "NoCopy", true);
                doc_put_str_if(options, "Subpath", m->subpath);
        } else {
                if (m->tmpfs_size)
                        doc_put_int(options, "SizeBytes", m->tmpfs_size);
                if (m->tmpfs_mode)
                        doc_put_int(options, "Mode", m->tmpfs_mode);
        }
        if (json_object_size(options))
                doc_put(o,
                        m->type == MOUNT_BIND     ? "BindOptions"
                        : m->type == MOUNT_VOLUME ? "VolumeOptions"
                                                  : "TmpfsOptions",
                        options);
        else
                json_decref(options);
        return o;
}

static void put_test(json_t *o, const Swarm__Health *h)
{
        json_t *test = json_array();
        static const char *const words[] = {
                [HEALTH_NONE] = "NONE", [HEALTH_CMD] = "CMD", [HEALTH_SHELL] = "CMD-SHELL",
                [HEALTH_HTTP] = "HTTP", [HEALTH_TCP] = "TCP",
        };

        if (h->type < ARRAY_SIZE(words) && words[h->type])
                json_array_append_new(test, json_string(words[h->type]));
        if (h->type == HEALTH_HTTP || h->type == HEALTH_TCP) {
                _cleanup_free_ char *s =
                        xasprintf("%u%s", h->port, h->type == HEALTH_HTTP ? h->path : "");

                json_array_append_new(test, json_string(s));
        }
        for (size_t i = 0; i < h->n_cmd; i++)
                json_array_append_new(test, json_string(h->cmd[i]));
        if (json_array_size(test))
                doc_put(o, "Test", test);
        else
                json_decref(test);
}

static json_t *health_doc(const Swarm__Health *h)
{
        json_t *o = json_object();

        put_test(o, h);
        if (h->interval_ms)
                doc_put_int(o, "Interval", h->interval_ms * NANO_PER_MS);
        if (h->timeout_ms)
                doc_put_int(o, "Timeout", h->timeout_ms * NANO_PER_MS);
        if (h->start_period_ms)
                doc_put_int(o, "StartPeriod", h->start_period_ms * NANO_PER_MS);
        if (h->start_interval_ms)
                doc_put_int(o, "StartInterval", h->start_interval_ms * NANO_PER_MS);
        if (h->retries)
                doc_put_int(o, "Retries", h->retries);
        return o;
}

static void put_mounts_and_limits(json_t *o, const Swarm__ContainerSpec *c)
{
        json_t *mounts = json_array(), *ulimits = json_array();

        for (size_t i = 0; i < c->n_mounts; i++)
                json_array_append_new(mounts, mount_doc(c->mounts[i]));
        for (size_t i = 0; i < c->n_ulimits; i++) {
                json_t *u = json_object();

                doc_put_str(u, "Name", c->ulimits[i]->name);
                doc_put_int(u, "Hard", c->ulimits[i]->hard);
                doc_put_int(u, "Soft", c->ulimits[i]->soft);
                json_array_append_new(ulimits, u);
        }
        if (c->n_mounts)
                doc_put(o, "Mounts", json_incref(mounts));
        if (c->n_ulimits)
                doc_put(o, "Ulimits", json_incref(ulimits));
        json_decref(mounts);
        json_decref(ulimits);
}

static json_t *container_doc(const Swarm__ContainerSpec *c)
{
        json_t *o = json_object();

        doc_put_str(o, "Image", c->image);
        doc_put_str_if(o, "ImageID", c->image_id);
        if (c->n_labels)
                doc_put_map(o, "Labels", c->labels, c->n_labels);
        doc_put_list(o, "Command", c->entrypoint, c->n_entrypoint);
        doc_put_list(o, "Args", c->args, c->n_args);
        doc_put_str_if(o, "Hostname", c->hostname);
        doc_put_list(o, "Env", c->env, c->n_env);
        doc_put_str_if(o, "Dir", c->workdir);
        doc_put_str_if(o, "User", c->user);
        doc_put_list(o, "Groups", c->groups, c->n_groups);
        if (c->init)
                doc_put_bool(o, "Init", true);
        if (c->tty)
                doc_put_bool(o, "TTY", true);
        doc_put_str_if(o, "StopSignal", c->stop_signal);
        if (c->read_only)
                doc_put_bool(o, "ReadOnly", true);
        doc_put_int(o, "StopGracePeriod",
                    (c->stop_grace_ms ? c->stop_grace_ms->value : DEFAULT_STOP_GRACE_MS) *
                            NANO_PER_MS);
        if (c->health)
                doc_put(o, "Healthcheck", health_doc(c->health));
        if (c->n_sysctls)
                doc_put_map(o, "Sysctls", c->sysctls, c->n_sysctls);
        doc_put_list(o, "CapabilityAdd", c->cap_add, c->n_cap_add);
        doc_put_list(o, "CapabilityDrop", c->cap_drop, c->n_cap_drop);
        put_mounts_and_limits(o, c);
        return o;
}

static json_t *restart_doc(const Swarm__RestartPolicy *p)
{
        json_t *o = json_object();
        const int64_t delay = p && p->delay_ms ? p->delay_ms->value : DEFAULT_RESTART_DELAY_MS;

        doc_put_str(o, "Condition",
                    restart_condition_name(p ? (enum restart_condition)p->condition : RESTART_ANY));
        doc_put_int(o, "Delay", delay * NANO_PER_MS);
        doc_put_int(o, "MaxAttempts", p ? (int64_t)p->max_attempts : 0);
        if (p && p->window_ms)
                doc_put_int(o, "Window", p->window_ms * NANO_PER_MS);
        return o;
}

static json_t *spread_doc(const char *descriptor)
{
        json_t *o = json_object(), *spread = json_object();

        doc_put_str(spread, "SpreadDescriptor", descriptor);
        doc_put(o, "Spread", spread);
        return o;
}

static json_t *placement_doc(const Swarm__Placement *p)
{
        json_t *o = json_object(), *preferences = json_array(), *platforms = json_array();

        doc_put_list(o, "Constraints", p->constraints, p->n_constraints);
        for (size_t i = 0; i < p->n_spread; i++)
                json_array_append_new(preferences, spread_doc(p->spread[i]));
        for (size_t i = 0; i < p->n_platforms; i++) {
                json_t *one = json_object();

                doc_put_str(one, "Architecture", p->platforms[i]->arch);
                doc_put_str(one, "OS", p->platforms[i]->os);
                json_array_append_new(platforms, one);
        }
        if (p->n_spread)
                doc_put(o, "Preferences", json_incref(preferences));
        if (p->max_replicas_per_node)
                doc_put_int(o, "MaxReplicas", (int64_t)p->max_replicas_per_node);
        if (p->n_platforms)
                doc_put(o, "Platforms", json_incref(platforms));
        doc_put_str(o, "Strategy", placement_strategy_name((enum placement_strategy)p->strategy));
        json_decref(preferences);
        json_decref(platforms);
        return o;
}

json_t *doc_task_spec(const Swarm__TaskSpec *s)
{
        static const Swarm__Placement no_placement = SWARM__PLACEMENT__INIT;
        json_t *o = json_object(), *resources = json_object(), *networks = json_array();

        if (s->container)
                doc_put(o, "ContainerSpec", container_doc(s->container));
        doc_put(resources, "Limits", doc_resources(s->limits));
        doc_put(resources, "Reservations", doc_resources(s->reservations));
        doc_put(o, "Resources", resources);
        doc_put(o, "RestartPolicy", restart_doc(s->restart));
        doc_put(o, "Placement", placement_doc(s->placement ? s->placement : &no_placement));
        for (size_t i = 0; i < s->n_networks; i++) {
                json_t *n = json_object();

                doc_put_str(n, "Target", s->networks[i]);
                json_array_append_new(networks, n);
        }
        doc_put(o, "Networks", networks);
        doc_put_int(o, "ForceUpdate", (int64_t)s->force_update);
        doc_put_str(o, "Runtime", "container");
        return o;
}

static json_t *update_doc(const Swarm__UpdateConfig *u)
{
        json_t *o = json_object();

        doc_put_int(o, "Parallelism", u ? (int64_t)u->parallelism : 1);
        doc_put_int(o, "Delay", (u ? u->delay_ms : 0) * NANO_PER_MS);
        doc_put_str(o, "FailureAction",
                    failure_action_name(u ? (enum failure_action)u->failure_action : ACTION_PAUSE));
        doc_put_int(o, "Monitor", (u ? u->monitor_ms : DEFAULT_UPDATE_MONITOR_MS) * NANO_PER_MS);
        doc_put(o, "MaxFailureRatio", json_real(u ? u->max_failure_ratio : 0));
        doc_put_str(o, "Order",
                    update_order_name(u ? (enum update_order)u->order : ORDER_STOP_FIRST));
        doc_put_int(o, "Wait", (u ? u->wait_ms : DEFAULT_UPDATE_WAIT_MS) * NANO_PER_MS);
        return o;
}

json_t *doc_spec(const Swarm__ServiceSpec *s)
{
        json_t *o = json_object(), *mode = json_object(), *kind = json_object();
        json_t *endpoint = json_object();

        doc_put_str(o, "Name", s->name);
        doc_put_map(o, "Labels", s->labels, s->n_labels);
        if (s->task)
                doc_put(o, "TaskTemplate", doc_task_spec(s->task));
        if (s->mode == MODE_REPLICATED)
                doc_put_int(kind, "Replicas", (int64_t)s->replicas);
        doc_put(mode, s->mode == MODE_REPLICATED ? "Replicated" : "Global", kind);
        doc_put(o, "Mode", mode);
        doc_put(o, "UpdateConfig", update_doc(s->update));
        doc_put(o, "RollbackConfig", update_doc(s->rollback));
        doc_put_str(endpoint, "Mode", "vip");
        doc_put(o, "EndpointSpec", endpoint);
        return o;
}

static json_t *update_status(const Swarm__UpdateStatus *u)
{
        json_t *o = json_object();

        if (!u || u->state == UPDATE_NONE)
                return o;
        doc_put_str(o, "State", update_state_name((enum update_state)u->state));
        doc_put_time(o, "StartedAt", u->started_ms);
        if (u->completed_ms)
                doc_put_time(o, "CompletedAt", u->completed_ms);
        doc_put_str(o, "Message", u->message);
        return o;
}

json_t *doc_service(const Swarm__Service *s)
{
        json_t *o = json_object(), *version = json_object(), *status = json_object();
        json_t *endpoint = json_object();

        doc_put_id(o, "ID", &s->id);
        doc_put_int(version, "Index", (int64_t)s->version);
        doc_put(o, "Version", version);
        doc_put_time(o, "CreatedAt", s->created_ms);
        doc_put_time(o, "UpdatedAt", s->updated_ms);
        if (s->spec)
                doc_put(o, "Spec", doc_spec(s->spec));
        if (s->previous_spec)
                doc_put(o, "PreviousSpec", doc_spec(s->previous_spec));
        doc_put(endpoint, "Spec", json_object());
        doc_put(o, "Endpoint", endpoint);
        doc_put(o, "UpdateStatus", update_status(s->update_status));
        doc_put_int(status, "RunningTasks", (int64_t)s->running);
        doc_put_int(status, "DesiredTasks", (int64_t)s->desired);
        doc_put(o, "ServiceStatus", status);
        return o;
}
