/* A task's spec and its image's config as the runtime's config: see container.h. */
#include "agent/container/container.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "agent/container/container_internal.h"
#include "shared/base/mem.h"
#include "shared/model/container_rules.h"
#include "shared/wire/wire.h"

#define HOSTNAME_ID_CHARS 12
#define STOP_GRACE_MS_MAX (24 * 3600 * 1000LL)

const char *plan_keep(struct container_plan *p, const char *text)
{
        strv_push(&p->memory->texts, text);
        return p->memory->texts[strv_len(p->memory->texts) - 1];
}

void container_plan_free(struct container_plan *p)
{
        if (!p)
                return;
        strv_free(p->memory->argv);
        strv_free(p->memory->env);
        strv_free(p->memory->groups);
        strv_free(p->memory->cap_add);
        strv_free(p->memory->cap_drop);
        strv_free(p->memory->texts);
        free(p->memory->mounts);
        free(p->memory->ulimits);
        free(p->memory->sysctls);
        free(p->memory);
        strv_free(p->volumes);
        strv_free(p->anonymous_volumes);
        wire_free(p->health);
        free(p);
}

static char **copy_list(char *const *from, size_t n)
{
        char **v = NULL;

        for (size_t i = 0; i < n; i++)
                strv_push(&v, from[i]);
        return v;
}

static bool is_host_network(const Swarm__TaskSpec *t)
{
        return t->n_networks > 0 && str_is_equal(t->networks[0], "host");
}

static int set_hostname(const struct container_input *in, const struct template_values *v,
                        struct container_plan *p, struct err *err)
{
        const Swarm__TaskSpec *t = in->task->spec->task;
        _cleanup_free_ char *name = NULL;

        if (!str_is_empty(t->container->hostname)) {
                if (template_expand(t->container->hostname, v, &name, err) < 0)
                        return err_wrap(err, "hostname");
                if (hostname_check(name, err) < 0)
                        return -err->code;
        } else if (is_host_network(t)) {
                name = xstrdup(in->node_hostname);
        } else {
                name = xstrndup(ID_S(in->task->id), HOSTNAME_ID_CHARS);
        }
        p->config.hostname = plan_keep(p, name);
        return 0;
}

static int set_stop(const struct container_input *in, struct container_plan *p, struct err *err)
{
        const Swarm__ContainerSpec *c = in->task->spec->task->container;
        const char *name = c->stop_signal;

        if (str_is_empty(name))
                name = in->image->stop_signal;
        p->stop_signal = SIGTERM;
        if (!str_is_empty(name) && signal_parse(name, &p->stop_signal) < 0)
                return err_set(err, EINVAL, "stop signal \"%s\": there is no such signal", name);
        p->stop_grace_ms = DEFAULT_STOP_GRACE_MS;
        if (c->stop_grace_ms && c->stop_grace_ms->value >= 0)
                p->stop_grace_ms = MIN(c->stop_grace_ms->value, STOP_GRACE_MS_MAX);
        return 0;
}

static void set_lists(const Swarm__ContainerSpec *c, struct container_plan *p)
{
        struct container_memory *m = p->memory;
        struct container_config *config = &p->config;

        config->groups = m->groups = copy_list(c->groups, c->n_groups);
        config->cap_add = m->cap_add = copy_list(c->cap_add, c->n_cap_add);
        config->cap_drop = m->cap_drop = copy_list(c->cap_drop, c->n_cap_drop);
        if (c->n_ulimits > 0) {
                m->ulimits = xnew_array(struct container_ulimit, c->n_ulimits);
                for (size_t i = 0; i < c->n_ulimits; i++)
                        m->ulimits[i] = (struct container_ulimit){.name = c->ulimits[i]->name,
                                                                  .soft = c->ulimits[i]->soft,
                                                                  .hard = c->ulimits[i]->hard};
        }
        config->ulimits = m->ulimits;
        config->n_ulimits = c->n_ulimits;
        if (c->n_sysctls > 0) {
                m->sysctls = xnew_array(struct container_sysctl, c->n_sysctls);
                for (size_t i = 0; i < c->n_sysctls; i++)
                        m->sysctls[i] = (struct container_sysctl){.key = c->sysctls[i]->key,
                                                                  .value = c->sysctls[i]->value};
        }
        config->sysctls = m->sysctls;
        config->n_sysctls = c->n_sysctls;
}

static void set_plain(const struct container_input *in, struct container_plan *p)
{
        const Swarm__TaskSpec *t = in->task->spec->task;
        const Swarm__ContainerSpec *c = t->container;
        struct container_config *config = &p->config;

        config->id = in->task->id;
        config->name = in->task->name;
        config->layers = in->layers;
        config->workdir = str_is_empty(c->workdir) ? in->image->workdir : c->workdir;
        config->user = str_is_empty(c->user) ? in->image->user : c->user;
        config->network = is_host_network(t) ? CONTAINER_NET_HOST : CONTAINER_NET_NONE;
        config->read_only = c->read_only;
        config->tty = c->tty;
        config->init = c->init;
        if (t->limits) {
                config->nano_cpus = t->limits->nano_cpus;
                config->memory_bytes = t->limits->memory_bytes;
                config->pids = t->limits->pids;
        }
}

static int check_sizes(const Swarm__ContainerSpec *c, struct err *err)
{
        size_t n = MAX(MAX(MAX(c->n_env, c->n_args), c->n_entrypoint),
                       MAX(MAX(c->n_ulimits, c->n_sysctls), c->n_groups));

        n = MAX(n, MAX(c->n_cap_add, c->n_cap_drop));
        if (n > CONTAINER_LIST_MAX)
                return err_set(err, E2BIG, "a list of the specification has more than %d entries",
                               CONTAINER_LIST_MAX);
        return 0;
}

static int fill(const struct container_input *in, struct container_plan *p, struct err *err)
{
        const Swarm__ContainerSpec *c = in->task->spec->task->container;
        const struct template_values v = {in->task, in->node_id, in->node_hostname};
        struct container_memory *m = p->memory;

        if (check_sizes(c, err) < 0 || set_hostname(in, &v, p, err) < 0 ||
            argv_make(c, in->image, &m->argv, err) < 0 ||
            env_make(in, &v, p->config.hostname, &m->env, err) < 0 ||
            mounts_make(in, &v, p, err) < 0 || set_stop(in, p, err) < 0 ||
            health_make(c->health, in->image->health, &p->health, err) < 0)
                return -err->code;
        p->config.argv = m->argv;
        p->config.env = m->env;
        set_plain(in, p);
        set_lists(c, p);
        return 0;
}

int container_plan_make(const struct container_input *in, struct container_plan **ret,
                        struct err *err)
{
        struct container_plan *p = xnew(struct container_plan);
        int r;

        p->memory = xnew(struct container_memory);
        r = fill(in, p, err);
        if (r < 0) {
                container_plan_free(p);
                return r;
        }
        *ret = p;
        return 0;
}
