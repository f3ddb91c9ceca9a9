/* Arguments and environment of a container: see container_internal.h. */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "agent/container/container_internal.h"
#include "shared/base/mem.h"

#define PATH_DEFAULT "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

void env_set(char ***env, const char *entry)
{
        size_t key = strcspn(entry, "=");

        for (char **e = *env; e && *e; e++) {
                if (strncmp(*e, entry, key) == 0 && ((*e)[key] == '=' || !(*e)[key])) {
                        free(*e);
                        *e = xstrdup(entry);
                        return;
                }
        }
        strv_push(env, entry);
}

static void env_unset(char **env, const char *key)
{
        size_t n = strlen(key);
        char **to = env;

        for (char **e = env; e && *e; e++) {
                if (strncmp(*e, key, n) == 0 && ((*e)[n] == '=' || !(*e)[n]))
                        free(*e);
                else
                        *to++ = *e;
        }
        if (to)
                *to = NULL;
}

/* "gpu" of two kinds: counted, as a number, or named, as the names with commas between. All claims
 * of one kind are one variable. */
static void set_resource(char ***env, const struct agent_task *t, size_t first)
{
        const char *kind = t->generic[first]->kind;
        _cleanup_buf_ struct buf value = {0}, name = {0};
        int64_t count = 0;

        for (size_t i = first; i < t->n_generic; i++) {
                const Swarm__GenericResource *g = t->generic[i];

                if (!str_is_equal(g->kind, kind))
                        continue;
                count += g->count;
                for (size_t k = 0; k < g->n_names; k++)
                        buf_printf(&value, "%s%s", value.len ? "," : "", g->names[k]);
        }
        if (value.len == 0)
                buf_printf(&value, "%lld", (long long)count);
        for (const char *p = kind; *p; p++)
                buf_putc(&name,
                         isalnum((unsigned char)*p) ? (char)toupper((unsigned char)*p) : '_');
        _cleanup_free_ char *ours =
                xasprintf("SWARM_RESOURCE_%s=%s", buf_str(&name), buf_str(&value));
        _cleanup_free_ char *docker =
                xasprintf("DOCKER_RESOURCE_%s=%s", buf_str(&name), buf_str(&value));
        env_set(env, ours);
        env_set(env, docker);
}

static bool is_first_of_kind(const struct agent_task *t, size_t i)
{
        for (size_t k = 0; k < i; k++)
                if (str_is_equal(t->generic[k]->kind, t->generic[i]->kind))
                        return false;
        return true;
}

int env_make(const struct container_input *in, const struct template_values *v,
             const char *hostname, char ***ret, struct err *err)
{
        const struct agent_task *t = in->task;
        const Swarm__ContainerSpec *c = t->spec->task->container;
        _cleanup_strv_ char **env = NULL;
        _cleanup_free_ char *host = xasprintf("HOSTNAME=%s", hostname);

        env_set(&env, PATH_DEFAULT);
        env_set(&env, host);
        if (c->tty)
                env_set(&env, "TERM=xterm");
        for (char **e = in->image->env; e && *e; e++)
                env_set(&env, *e);
        for (size_t i = 0; i < c->n_env; i++) {
                _cleanup_free_ char *entry = NULL;

                if (template_expand(c->env[i], v, &entry, err) < 0)
                        return err_wrap(err, "environment");
                if (strchr(entry, '='))
                        env_set(&env, entry);
                else /* "KEY" alone: it is to have none */
                        env_unset(env, entry);
        }
        for (size_t i = 0; i < t->n_generic; i++)
                if (is_first_of_kind(t, i))
                        set_resource(&env, t, i);
        *ret = STEAL_PTR(env);
        return 0;
}

static void push_all(char ***v, char *const *from)
{
        for (; from && *from; from++)
                strv_push(v, *from);
}

int argv_make(const Swarm__ContainerSpec *c, const struct image_config *image, char ***ret,
              struct err *err)
{
        char **argv = NULL;

        for (size_t i = 0; i < c->n_entrypoint; i++)
                strv_push(&argv, c->entrypoint[i]);
        if (c->n_entrypoint == 0)
                push_all(&argv, image->entrypoint);
        for (size_t i = 0; i < c->n_args; i++)
                strv_push(&argv, c->args[i]);
        if (c->n_entrypoint == 0 && c->n_args == 0)
                push_all(&argv, image->cmd);
        if (!argv || !*argv[0]) {
                strv_free(argv);
                return err_set(err, EINVAL, "no command: neither the service nor image %s has one",
                               c->image);
        }
        *ret = argv;
        return 0;
}
