/* What a container may ask for: command, environment, mounts, health, capabilities, limits. */
#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "manager/api/validate_internal.h"

#define ENV_MAX           4096
#define ARGS_MAX          4096
#define HOSTNAME_MAX      253
#define HOSTNAME_PART_MAX 63
#define SIGNALS_MAX       64
#define MOUNTS_MAX        128
#define PATH_TEXT_MAX     4095

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

/* "{{.Service.Name}}" and the others: what stands between braces must be known. ret_plain, if not
 * NULL, gets the text with an 'x' for each of them (heap). */
static int check_template(const char *s, const char *what, char **ret_plain, struct err *err)
{
        static const char *const known[] = {".Service.ID",    ".Service.Name", ".Node.ID",
                                            ".Node.Hostname", ".Task.ID",      ".Task.Name",
                                            ".Task.Slot"};
        _cleanup_buf_ struct buf plain = {0};
        const char *open;

        for (; (open = strstr(s, "{{")); s = strstr(open, "}}") + 2) {
                const char *end = strstr(open, "}}");
                bool is_known = false;

                if (!end)
                        return err_set(err, EINVAL, "%s: '{{' without '}}'", what);
                _cleanup_free_ char *inner = xstrndup(open + 2, (size_t)(end - open - 2));
                char *word = inner + strspn(inner, " ");
                word[strcspn(word, " ")] = 0;
                for (size_t i = 0; i < ARRAY_SIZE(known); i++)
                        is_known |= str_is_equal(word, known[i]);
                if (!is_known && !str_has_prefix(word, ".Service.Labels.") &&
                    !str_has_prefix(word, ".Node.Labels."))
                        return err_set(err, EINVAL, "%s: unknown template {{%s}}", what, word);
                buf_append(&plain, s, (size_t)(open - s));
                buf_putc(&plain, 'x');
        }
        buf_puts(&plain, s);
        if (ret_plain)
                *ret_plain = buf_take_str(&plain);
        return 0;
}

/* One of the environment, which an error names. */
static int check_variable(const char *variable, struct err *err)
{
        _cleanup_free_ char *name = xstrndup(variable, MIN(strcspn(variable, "="), NAME_MAX_LEN));
        _cleanup_free_ char *what = xasprintf("env %s", name);
        const char *value;
        size_t n;
        int r = check_text(name, "env", err);

        if (r == 0 && parse_key_value(variable, &n, &value) < 0)
                return err_set(err, EINVAL, "env %s: must be KEY=VALUE", *name ? name : variable);
        if (r == 0)
                r = check_lines(variable, what, err);
        return r < 0 ? r : check_template(value, what, NULL, err);
}

static int check_env(const Swarm__ContainerSpec *c, struct err *err)
{
        int r = check_count(c->n_env, ENV_MAX, "env", err);

        for (size_t i = 0; r == 0 && i < c->n_env; i++)
                r = check_variable(c->env[i], err);
        return r;
}

/* Parts of letters, digits and '-' (inside), with dots between. */
static bool hostname_is_valid(const char *s)
{
        size_t part = 0;

        if (strlen(s) > HOSTNAME_MAX)
                return false;
        for (; *s; s++) {
                bool is_end = !s[1] || s[1] == '.';

                if (*s == '.') {
                        if (part == 0 || is_end)
                                return false;
                        part = 0;
                        continue;
                }
                if (++part > HOSTNAME_PART_MAX)
                        return false;
                if (*s == '-' ? part == 1 || is_end : !isalnum((unsigned char)*s) && *s != '_')
                        return false;
        }
        return true;
}

static int check_hostname(const char *s, struct err *err)
{
        _cleanup_free_ char *plain = NULL;
        int r = check_template(s, "hostname", &plain, err);

        if (r == 0 && !hostname_is_valid(plain))
                return err_set(err, EINVAL, "hostname %s: not a valid hostname", s);
        return r;
}

/* Absolute, and no ".." among its parts. */
static int check_path(const char *s, const char *what, struct err *err)
{
        if (*s != '/')
                return err_set(err, EINVAL, "%s '%s': must be an absolute path", what, s);
        if (strlen(s) > PATH_TEXT_MAX || !text_is_valid(s))
                return err_set(err, EINVAL, "%s: too long or not a valid path", what);
        for (const char *p = s; (p = strstr(p, "/..")); p += 3)
                if (p[3] == '/' || p[3] == 0)
                        return err_set(err, EINVAL, "%s '%s': must not contain '..'", what, s);
        return check_template(s, what, NULL, err);
}

static int check_propagation(const Swarm__Mount *m, struct err *err)
{
        static const char *const known[] = {"",       "private", "rprivate", "slave",
                                            "rslave", "shared",  "rshared"};

        for (size_t i = 0; i < ARRAY_SIZE(known); i++)
                if (str_is_equal(m->propagation, known[i]))
                        return *m->propagation && m->type != MOUNT_BIND
                                       ? err_set(err, EINVAL,
                                                 "mount %s: bind-propagation is for binds only",
                                                 m->target)
                                       : 0;
        return err_set(err, EINVAL, "mount %s: bind-propagation %s is not known", m->target,
                       m->propagation);
}

static int check_volume(const Swarm__Mount *m, struct err *err)
{
        _cleanup_free_ char *plain = NULL;

        if (check_template(m->source, "mount: volume name", &plain, err) < 0)
                return -EINVAL;
        if (*plain && !name_is_valid(plain))
                return err_set(err, EINVAL, "mount %s: '%s' is not a valid volume name", m->target,
                               m->source);
        if (*m->subpath == '/' || strstr(m->subpath, ".."))
                return err_set(err, EINVAL, "mount %s: volume-subpath must be relative", m->target);
        return check_text(m->subpath, "volume-subpath", err);
}

static int check_mount_source(const Swarm__Mount *m, struct err *err)
{
        switch ((enum mount_type)m->type) {
        case MOUNT_BIND: return check_path(m->source, "mount: bind source", err);
        case MOUNT_TMPFS:
                if (*m->source)
                        return err_set(err, EINVAL, "mount %s: a tmpfs has no source", m->target);
                if (m->tmpfs_size < 0 || m->tmpfs_mode > 07777)
                        return err_set(err, EINVAL, "mount %s: tmpfs-size or tmpfs-mode is wrong",
                                       m->target);
                return 0;
        case MOUNT_VOLUME: return check_volume(m, err);
        }
        return err_set(err, EINVAL, "mount %s: unknown type %u", m->target, m->type);
}

/* The next part of a path, its length in *ret_n: "/a//b/" is "/a/b", and "/./a" is "/a". */
static const char *path_part(const char *p, size_t *ret_n)
{
        while (*p == '/' || (*p == '.' && (p[1] == '/' || !p[1])))
                p++;
        *ret_n = strcspn(p, "/");
        return p;
}

/* Is a the same as b, or above it? */
static bool has_path(const char *a, const char *b, bool *ret_is_same)
{
        for (;;) {
                size_t n, n_b;

                a = path_part(a, &n);
                b = path_part(b, &n_b);
                *ret_is_same = n_b == 0;
                if (n == 0)
                        return true;
                if (n != n_b || memcmp(a, b, n) != 0)
                        return false;
                a += n;
                b += n;
        }
}

static bool is_same_path(const char *a, const char *b)
{
        bool is_same;

        return has_path(a, b, &is_same) && is_same;
}

/* What the runtime makes itself, and the container needs as it is. */
static int check_target(const char *target, struct err *err)
{
        static const char *const made[] = {"/", "/dev", "/proc", "/sys"};
        bool is_same;

        for (size_t i = 0; i < ARRAY_SIZE(made); i++)
                if (is_same_path(made[i], target))
                        return err_set(err, EINVAL, "mount: target must not be %s", made[i]);
        return has_path("/proc", target, &is_same)
                       ? err_set(err, EINVAL, "mount %s: target must not be below /proc", target)
                       : 0;
}

static int check_mount(const Swarm__ContainerSpec *c, size_t i, struct err *err)
{
        const Swarm__Mount *m = c->mounts[i];
        int r = check_path(m->target, "mount: target", err);

        if (r == 0)
                r = check_target(m->target, err);
        for (size_t k = 0; r == 0 && k < i; k++)
                if (is_same_path(c->mounts[k]->target, m->target))
                        return err_set(err, EINVAL, "mount %s: duplicate mount point", m->target);
        if (r == 0)
                r = check_mount_source(m, err);
        return r < 0 ? r : check_propagation(m, err);
}

static int check_mounts(const Swarm__ContainerSpec *c, struct err *err)
{
        int r = check_count(c->n_mounts, MOUNTS_MAX, "mount", err);

        for (size_t i = 0; r == 0 && i < c->n_mounts; i++)
                r = check_mount(c, i, err);
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

static int check_identity(const Swarm__ContainerSpec *c, struct err *err)
{
        int r = check_text(c->user, "user", err);

        if (r == 0 && *c->workdir)
                r = check_path(c->workdir, "workdir", err);
        if (r == 0)
                r = check_strings(c->groups, c->n_groups, SPEC_ITEMS_MAX, "group", err);
        return r < 0 ? r : check_hostname(c->hostname, err);
}

int container_validate(const Swarm__TaskSpec *task, struct err *err)
{
        const Swarm__ContainerSpec *c = task->container;
        int r = *c->image ? check_text(c->image, "image", err)
                          : err_set(err, EINVAL, "image: is empty");

        if (r == 0)
                r = check_strings(c->entrypoint, c->n_entrypoint, ARGS_MAX, "entrypoint", err);
        if (r == 0)
                r = check_strings(c->args, c->n_args, ARGS_MAX, "args", err);
        if (r == 0)
                r = check_env(c, err);
        if (r == 0)
                r = check_identity(c, err);
        if (r == 0)
                r = check_mounts(c, err);
        if (r == 0)
                r = check_health(c->health, err);
        if (r == 0)
                r = check_capabilities(c->cap_add, c->n_cap_add, "cap-add", err);
        if (r == 0)
                r = check_capabilities(c->cap_drop, c->n_cap_drop, "cap-drop", err);
        if (r == 0)
                r = check_ulimits(c, err);
        if (r == 0)
                r = check_sysctls(task, err);
        if (r == 0)
                r = check_labels(c->labels, c->n_labels, "container-label", err);
        return r < 0 ? r : check_stop(c, err);
}
