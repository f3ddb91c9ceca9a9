/* What a container may ask for: command, environment, mounts, health, capabilities, limits. */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "manager/api/validate_internal.h"
#include "shared/model/container_rules.h"
#include "shared/model/placeholder.h"

#define ENV_MAX     4096
#define ARGS_MAX    4096
#define SIGNALS_MAX 64
#define MOUNTS_MAX  128

/* Arguments and values may have several lines and tabs, where names may not. */
static int check_lines(const char *s, const char *what, struct err *err)
{
        _cleanup_free_ char *flat = xstrdup(s);

        for (char *p = flat; *p; p++)
                if (strchr("\n\r\t", *p))
                        *p = ' ';
        return check_text(flat, what, err);
}

static int check_strings(char *const *v, size_t n, size_t max, const char *what, struct err *err)
{
        int r = check_count(n, max, what, err);

        for (size_t i = 0; r == 0 && i < n; i++)
                r = check_lines(v[i], what, err);
        return r;
}

/* What a placeholder stands for, where it is known before there is a task; else the shortest that
 * it can be. */
static void put_known(void *arg, enum placeholder what, const char *key, struct buf *out)
{
        const Swarm__ServiceSpec *spec = arg;

        switch (what) {
        case PLACEHOLDER_SERVICE_NAME: buf_puts(out, spec->name); break;
        case PLACEHOLDER_SERVICE_LABEL:
                for (size_t i = 0; i < spec->n_labels; i++)
                        if (str_is_equal(spec->labels[i]->key, key))
                                buf_puts(out, spec->labels[i]->value);
                break;
        case PLACEHOLDER_TASK_NAME:
                buf_printf(out, "%s.1.%s", spec->name, ID_S((struct id){0}));
                break;
        case PLACEHOLDER_SERVICE_ID:
        case PLACEHOLDER_NODE_ID:
        case PLACEHOLDER_TASK_ID: buf_puts(out, ID_S((struct id){0})); break;
        case PLACEHOLDER_NODE_HOSTNAME: buf_puts(out, "x"); break;
        case PLACEHOLDER_TASK_SLOT: buf_puts(out, "1"); break;
        }
}

/* *ret: the text as far as it is known, heap. */
static int fill_known(const char *text, const Swarm__ServiceSpec *spec, char **ret, struct err *err)
{
        return placeholders_fill(text, put_known, (void *)(uintptr_t)spec, ret, err);
}

/* One of the environment, which an error names; a name alone takes the image's variable away. */
static int check_variable(const char *variable, const Swarm__ServiceSpec *spec, struct err *err)
{
        _cleanup_free_ char *name = xstrndup(variable, MIN(strcspn(variable, "="), NAME_MAX_LEN));
        _cleanup_free_ char *what = xasprintf("env %s", name), *known = NULL;
        const char *eq = strchr(variable, '=');
        int r = check_text(name, "env", err);

        if (r == 0 && !*name)
                return err_set(err, EINVAL, "env %s: must be KEY=VALUE or KEY", variable);
        if (r == 0)
                r = check_lines(variable, what, err);
        if (r == 0 && fill_known(eq ? eq + 1 : "", spec, &known, err) < 0)
                r = err_wrap(err, "%s", what);
        return r;
}

static int check_env(const Swarm__ServiceSpec *spec, struct err *err)
{
        const Swarm__ContainerSpec *c = spec->task->container;
        int r = check_count(c->n_env, ENV_MAX, "env", err);

        for (size_t i = 0; r == 0 && i < c->n_env; i++)
                r = check_variable(c->env[i], spec, err);
        return r;
}

static int check_hostname(const Swarm__ServiceSpec *spec, struct err *err)
{
        const char *hostname = spec->task->container->hostname;
        _cleanup_free_ char *known = NULL;

        if (!*hostname)
                return 0;
        if (fill_known(hostname, spec, &known, err) < 0)
                return err_wrap(err, "hostname");
        return hostname_check(known, err);
}

static int check_propagation(const Swarm__Mount *m, struct err *err)
{
        static const char *const known[] = {"",       "private", "rprivate", "slave",
                                            "rslave", "shared",  "rshared"};

        for (size_t i = 0; i < ARRAY_SIZE(known); i++)
                if (str_is_equal(m->propagation, known[i]))
                        return *m->propagation && m->type != MOUNT_BIND
                                       ? err_set(err, EINVAL, "bind-propagation is for binds only")
                                       : 0;
        return err_set(err, EINVAL, "bind-propagation %s is not known", m->propagation);
}

static int check_volume(const Swarm__Mount *m, const char *name, struct err *err)
{
        if (*name && !name_is_valid(name))
                return err_set(err, EINVAL, "'%s' is not a valid volume name", name);
        if (*m->subpath == '/' || strstr(m->subpath, ".."))
                return err_set(err, EINVAL, "volume-subpath must be relative");
        return check_text(m->subpath, "volume-subpath", err);
}

/* source: as far as it is known. */
static int check_mount_source(const Swarm__Mount *m, const char *source, struct err *err)
{
        switch ((enum mount_type)m->type) {
        case MOUNT_BIND: return path_check(source, "source", err);
        case MOUNT_TMPFS:
                if (*m->source)
                        return err_set(err, EINVAL, "a tmpfs has no source");
                if (m->tmpfs_size < 0 || m->tmpfs_mode > 07777)
                        return err_set(err, EINVAL, "tmpfs-size or tmpfs-mode is wrong");
                return 0;
        case MOUNT_VOLUME: return check_volume(m, source, err);
        }
        return err_set(err, EINVAL, "unknown type %u", m->type);
}

static int check_mount(const Swarm__ServiceSpec *spec, size_t i, struct err *err)
{
        const Swarm__ContainerSpec *c = spec->task->container;
        const Swarm__Mount *m = c->mounts[i];
        _cleanup_free_ char *source = NULL, *target = NULL;
        int r = fill_known(m->target, spec, &target, err);

        if (r == 0)
                r = mount_target_check(target, err);
        for (size_t k = 0; r == 0 && k < i; k++)
                if (path_is_same(c->mounts[k]->target, m->target))
                        return err_set(err, EINVAL, "duplicate mount point");
        if (r == 0)
                r = fill_known(m->source, spec, &source, err);
        if (r == 0)
                r = check_mount_source(m, source, err);
        return r < 0 ? r : check_propagation(m, err);
}

static int check_mounts(const Swarm__ServiceSpec *spec, struct err *err)
{
        const Swarm__ContainerSpec *c = spec->task->container;
        int r = check_count(c->n_mounts, MOUNTS_MAX, "mount", err);

        for (size_t i = 0; r == 0 && i < c->n_mounts; i++)
                if (check_mount(spec, i, err) < 0)
                        r = err_wrap(err, "mount %.100s", c->mounts[i]->target);
        return r;
}

static int check_health(const Swarm__Health *h, struct err *err)
{
        int r = 0;

        if (!h)
                return 0;
        if (h->type > HEALTH_TCP)
                return err_set(err, EINVAL, "health: unknown type %u", h->type);
        if ((h->type == HEALTH_CMD || h->type == HEALTH_SHELL) && h->n_cmd == 0)
                return err_set(err, EINVAL, "health-cmd: is empty");
        if ((h->type == HEALTH_HTTP || h->type == HEALTH_TCP) && (h->port < 1 || h->port > 65535))
                return err_set(err, EINVAL, "health: port must be between 1 and 65535");
        if (*h->path && *h->path != '/')
                return err_set(err, EINVAL, "health-http: the path must begin with /");
        r = check_strings(h->cmd, h->n_cmd, ARGS_MAX, "health-cmd", err);
        if (r == 0)
                r = check_text(h->path, "health-http", err);
        if (r == 0)
                r = check_time_range(h->interval_ms, "health-interval", err);
        if (r == 0)
                r = check_time_range(h->timeout_ms, "health-timeout", err);
        if (r == 0)
                r = check_time_range(h->start_period_ms, "health-start-period", err);
        return r < 0 ? r : check_time_range(h->start_interval_ms, "health-start-interval", err);
}

static const char *const capabilities[] = {"AUDIT_CONTROL",   "AUDIT_READ",   "AUDIT_WRITE",
                                           "BLOCK_SUSPEND",   "BPF",          "CHECKPOINT_RESTORE",
                                           "CHOWN",           "DAC_OVERRIDE", "DAC_READ_SEARCH",
                                           "FOWNER",          "FSETID",       "IPC_LOCK",
                                           "IPC_OWNER",       "KILL",         "LEASE",
                                           "LINUX_IMMUTABLE", "MAC_ADMIN",    "MAC_OVERRIDE",
                                           "MKNOD",           "NET_ADMIN",    "NET_BIND_SERVICE",
                                           "NET_BROADCAST",   "NET_RAW",      "PERFMON",
                                           "SETFCAP",         "SETGID",       "SETPCAP",
                                           "SETUID",          "SYSLOG",       "SYS_ADMIN",
                                           "SYS_BOOT",        "SYS_CHROOT",   "SYS_MODULE",
                                           "SYS_NICE",        "SYS_PACCT",    "SYS_PTRACE",
                                           "SYS_RAWIO",       "SYS_RESOURCE", "SYS_TIME",
                                           "SYS_TTY_CONFIG",  "WAKE_ALARM",   "ALL"};

static int check_capabilities(char *const *v, size_t n, const char *what, struct err *err)
{
        for (size_t i = 0; i < n; i++) {
                const char *name = str_has_prefix(v[i], "CAP_") ? v[i] + 4 : v[i];
                bool is_known = false;

                for (size_t k = 0; k < ARRAY_SIZE(capabilities); k++)
                        is_known |= str_is_equal(name, capabilities[k]);
                if (!is_known)
                        return err_set(err, EINVAL, "%s %s: no such capability", what, v[i]);
        }
        return check_count(n, SPEC_ITEMS_MAX, what, err);
}

static int check_ulimits(const Swarm__ContainerSpec *c, struct err *err)
{
        static const char *const known[] = {"core",    "cpu",      "data",   "fsize",      "locks",
                                            "memlock", "msgqueue", "nice",   "nofile",     "nproc",
                                            "rss",     "rtprio",   "rttime", "sigpending", "stack"};

        for (size_t i = 0; i < c->n_ulimits; i++) {
                const Swarm__Ulimit *u = c->ulimits[i];
                bool is_known = false;

                for (size_t k = 0; k < ARRAY_SIZE(known); k++)
                        is_known |= str_is_equal(u->name, known[k]);
                if (!is_known)
                        return err_set(err, EINVAL, "ulimit %s: no such limit", u->name);
                if (u->soft < -1 || u->hard < -1 ||
                    (u->hard != -1 && (u->soft == -1 || u->soft > u->hard)))
                        return err_set(err, EINVAL, "ulimit %s: soft limit above hard limit",
                                       u->name);
        }
        return check_count(c->n_ulimits, SPEC_ITEMS_MAX, "ulimit", err);
}

/* Only what belongs to a namespace of the container's own. Dots and slashes mean the same. */
static int check_sysctl(const char *key, bool has_host_network, struct err *err)
{
        static const char *const known[] = {
                "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem",
                "kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced"};
        _cleanup_free_ char *k = xstrdup(key);

        for (char *p = k; *p; p++)
                if (*p == '/')
                        *p = '.';
        if (strstr(k, "..") || *k == '.' || !text_is_valid(k))
                return err_set(err, EINVAL, "sysctl %s: not a valid name", key);
        for (size_t i = 0; i < ARRAY_SIZE(known); i++)
                if (str_is_equal(k, known[i]))
                        return 0;
        if (str_has_prefix(k, "fs.mqueue."))
                return 0;
        if (str_has_prefix(k, "net."))
                return has_host_network
                               ? err_set(err, EINVAL,
                                         "sysctl %s: not allowed with the host's network", key)
                               : 0;
        return err_set(err, EINVAL, "sysctl %s: is not of a namespace of the container's own", key);
}

static int check_sysctls(const Swarm__TaskSpec *task, struct err *err)
{
        const Swarm__ContainerSpec *c = task->container;
        bool is_host = task->n_networks == 1 && str_is_equal(task->networks[0], "host");
        int r = check_labels(c->sysctls, c->n_sysctls, "sysctl", err);

        for (size_t i = 0; r == 0 && i < c->n_sysctls; i++)
                r = check_sysctl(c->sysctls[i]->key, is_host, err);
        return r;
}

/* "TERM", "SIGTERM", "15", "RTMIN+3". */
static bool signal_is_valid(const char *s)
{
        uint64_t number;

        if (parse_u64(s, &number) == 0)
                return number >= 1 && number <= SIGNALS_MAX;
        if (str_has_prefix(s, "SIG"))
                s += 3;
        for (int i = 1; i < SIGNALS_MAX; i++) {
                const char *name = sigabbrev_np(i);

                if (name && str_is_equal(name, s))
                        return true;
        }
        if (str_is_equal(s, "RTMIN") || str_is_equal(s, "RTMAX"))
                return true;
        return (str_has_prefix(s, "RTMIN+") || str_has_prefix(s, "RTMAX-")) &&
               parse_u64(s + 6, &number) == 0 && number <= (uint64_t)(SIGRTMAX - SIGRTMIN);
}

static int check_stop(const Swarm__ContainerSpec *c, struct err *err)
{
        if (c->stop_grace_ms &&
            check_time_range(c->stop_grace_ms->value, "stop-grace-period", err) < 0)
                return -EINVAL;
        if (*c->stop_signal && !signal_is_valid(c->stop_signal))
                return err_set(err, EINVAL, "stop-signal %s: no such signal", c->stop_signal);
        return 0;
}

static int check_identity(const Swarm__ServiceSpec *spec, struct err *err)
{
        const Swarm__ContainerSpec *c = spec->task->container;
        int r = check_text(c->user, "user", err);

        if (r == 0 && *c->workdir)
                r = path_check(c->workdir, "workdir", err);
        if (r == 0)
                r = check_strings(c->groups, c->n_groups, SPEC_ITEMS_MAX, "group", err);
        return r < 0 ? r : check_hostname(spec, err);
}

int container_validate(const Swarm__ServiceSpec *spec, struct err *err)
{
        const Swarm__ContainerSpec *c = spec->task->container;
        int r = *c->image ? check_text(c->image, "image", err)
                          : err_set(err, EINVAL, "image: is empty");

        if (r == 0)
                r = check_strings(c->entrypoint, c->n_entrypoint, ARGS_MAX, "entrypoint", err);
        if (r == 0)
                r = check_strings(c->args, c->n_args, ARGS_MAX, "args", err);
        if (r == 0)
                r = check_env(spec, err);
        if (r == 0)
                r = check_identity(spec, err);
        if (r == 0)
                r = check_mounts(spec, err);
        if (r == 0)
                r = check_health(c->health, err);
        if (r == 0)
                r = check_capabilities(c->cap_add, c->n_cap_add, "cap-add", err);
        if (r == 0)
                r = check_capabilities(c->cap_drop, c->n_cap_drop, "cap-drop", err);
        if (r == 0)
                r = check_ulimits(c, err);
        if (r == 0)
                r = check_sysctls(spec->task, err);
        if (r == 0)
                r = check_labels(c->labels, c->n_labels, "container-label", err);
        return r < 0 ? r : check_stop(c, err);
}
