/* A container's config as the supervisor's flat spec. Every number and list is checked here, so
 * that the person who asked gets a text; the supervisor checks the bounds once more. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/runtime/runtime_internal.h"

#define LOG_MAX_DEFAULT   (10 << 20)
#define LOG_FILES_DEFAULT 3
#define LOG_MAX_LEAST     (64 << 10)
#define TMPFS_MODE        01777
#define HOST_FILE_MAX     (1 << 20)
#define GID_MAP_MAX       (64 << 10)

static struct shim_spec *spec_of(struct buf *b)
{
        return (struct shim_spec *)(void *)b->data;
}

static uint32_t put_text(struct buf *b, const char *s)
{
        uint32_t at = (uint32_t)b->len;

        if (str_is_empty(s))
                return 0;
        buf_append(b, s, strlen(s) + 1);
        return at;
}

static void align(struct buf *b)
{
        while (b->len % 8)
                buf_putc(b, 0);
}

/* The texts, then the table of their places. Empty texts are kept: they may be arguments. */
static struct shim_list put_texts(struct buf *b, char *const *v, size_t n)
{
        struct shim_list l = {0, (uint32_t)n};
        _cleanup_free_ uint32_t *at = xnew_array(uint32_t, n + 1);

        for (size_t i = 0; i < n; i++) {
                at[i] = (uint32_t)b->len;
                buf_append(b, v[i], strlen(v[i]) + 1);
        }
        align(b);
        l.offset = (uint32_t)b->len;
        buf_append(b, at, n * sizeof(*at));
        return l;
}

static int check_count(size_t n, size_t max, const char *what, struct err *err)
{
        return n > max ? err_set(err, E2BIG, "too many %s: %zu, at most %zu", what, n, max) : 0;
}

static int propagation_parse(const char *s, uint32_t *ret, struct err *err)
{
        static const char *const names[] = {"private", "rprivate", "slave",
                                            "rslave",  "shared",   "rshared"};

        *ret = SHIM_RPRIVATE;
        if (str_is_empty(s))
                return 0;
        for (uint32_t i = 0; i < ARRAY_SIZE(names); i++)
                if (str_is_equal(s, names[i])) {
                        *ret = i;
                        return 0;
                }
        return err_set(err, EINVAL, "unknown propagation %s", s);
}

static int encode_mount(struct buf *b, const struct container_mount *m, struct shim_mount *ret,
                        struct err *err)
{
        bool is_tmpfs = m->type == MOUNT_TMPFS;
        uint32_t propagation;

        if (str_is_empty(m->target) || m->target[0] != '/' || str_is_equal(m->target, "/"))
                return err_set(err, EINVAL, "mount %s: target must be an absolute path below /",
                               m->target ? m->target : "");
        if (!is_tmpfs && (str_is_empty(m->source) || m->source[0] != '/'))
                return err_set(err, EINVAL, "mount %s: source must be an absolute path", m->target);
        if (strlen(m->target) > RUNTIME_PATH_MAX ||
            (m->source && strlen(m->source) > RUNTIME_PATH_MAX))
                return err_set(err, ENAMETOOLONG, "mount: path is too long");
        if (m->tmpfs_size < 0 || m->tmpfs_mode > 07777)
                return err_set(err, EINVAL, "mount %s: bad size or mode", m->target);
        if (propagation_parse(m->propagation, &propagation, err) < 0)
                return err_wrap(err, "mount %s", m->target);
        *ret = (struct shim_mount){
                .type = is_tmpfs ? SHIM_MOUNT_TMPFS : SHIM_MOUNT_BIND,
                .flags = (m->read_only ? (uint32_t)SHIM_MOUNT_READ_ONLY : 0) |
                         (m->nonrecursive ? (uint32_t)SHIM_MOUNT_NONRECURSIVE : 0) |
                         (m->copy_up ? (uint32_t)SHIM_MOUNT_COPY_UP : 0) |
                         (m->is_own ? (uint32_t)SHIM_MOUNT_OWN : 0) |
                         (m->create_source ? (uint32_t)SHIM_MOUNT_CREATE : 0),
                .propagation = propagation,
                .mode = m->tmpfs_mode ? m->tmpfs_mode : TMPFS_MODE,
                .source = put_text(b, m->source),
                .target = put_text(b, m->target),
                .subpath = put_text(b, m->subpath),
                .size = (uint64_t)m->tmpfs_size};
        return 0;
}

static size_t depth_of(const char *path)
{
        size_t n = 0;

        for (; *path; path++)
                n += path[0] == '/' && path[1] != '/' && path[1] != 0;
        return n;
}

/* Outer targets first, whatever the order they were given in; else as given. */
static int encode_mounts(struct buf *b, const struct container_config *c, struct shim_list *ret,
                         struct err *err)
{
        _cleanup_free_ struct shim_mount *m = xnew_array(struct shim_mount, c->n_mounts + 1);
        _cleanup_free_ size_t *order = xnew_array(size_t, c->n_mounts + 1);

        for (size_t i = 0; i < c->n_mounts; i++) {
                size_t at = i;

                if (encode_mount(b, &c->mounts[i], &m[i], err) < 0)
                        return -err->code;
                for (; at > 0 &&
                       depth_of(c->mounts[order[at - 1]].target) > depth_of(c->mounts[i].target);
                     at--)
                        order[at] = order[at - 1];
                order[at] = i;
        }
        align(b);
        *ret = (struct shim_list){(uint32_t)b->len, (uint32_t)c->n_mounts};
        for (size_t i = 0; i < c->n_mounts; i++)
                buf_append(b, &m[order[i]], sizeof(m[0]));
        return 0;
}

static int encode_limits(struct buf *b, const struct container_config *c, struct shim_list *ret,
                         struct err *err)
{
        struct shim_limit l;

        align(b);
        *ret = (struct shim_list){(uint32_t)b->len, (uint32_t)c->n_ulimits};
        for (size_t i = 0; i < c->n_ulimits; i++) {
                if (limit_resolve(&c->ulimits[i], &l, err) < 0)
                        return -EINVAL;
                buf_append(b, &l, sizeof(l));
        }
        return 0;
}

static bool gids_are_all_mapped(void)
{
        _cleanup_buf_ struct buf b = {0};
        unsigned inside, outside, n;

        return io_read_file(AT_FDCWD, "/proc/self/gid_map", GID_MAP_MAX, &b) == 0 &&
               sscanf(buf_str(&b), "%u %u %u", &inside, &outside, &n) == 3 && inside == 0 &&
               n > INT32_MAX;
}

/* A network of a container's own has no ports and no groups to guard. Where the kernel has no such
 * thing, or we are in a user namespace that lacks the groups, it is left as it is. */
#define OWN_SYSCTLS_MAX 2
static void push_own_sysctls(char ***pairs)
{
        if (access("/proc/sys/net/ipv4/ip_unprivileged_port_start", F_OK) == 0) {
                strv_push(pairs, "net/ipv4/ip_unprivileged_port_start");
                strv_push(pairs, "0");
        }
        if (access("/proc/sys/net/ipv4/ping_group_range", F_OK) == 0 && gids_are_all_mapped()) {
                strv_push(pairs, "net/ipv4/ping_group_range");
                strv_push(pairs, "0 2147483647");
        }
}

/* What the service says comes after what we set unasked, and holds. */
static int encode_sysctls(struct buf *b, const struct container_config *c, struct shim_list *ret,
                          struct err *err)
{
        _cleanup_strv_ char **pairs = NULL;

        if (c->network != CONTAINER_NET_HOST)
                push_own_sysctls(&pairs);
        for (size_t i = 0; i < c->n_sysctls; i++) {
                _cleanup_free_ char *path = NULL;

                if (sysctl_resolve(c->sysctls[i].key, c->network, &path, err) < 0)
                        return -EINVAL;
                strv_push(&pairs, path);
                strv_push(&pairs, c->sysctls[i].value);
        }
        *ret = put_texts(b, pairs, strv_len(pairs));
        return 0;
}

static struct shim_list encode_cgroups(struct buf *b, const struct encode_extra *x)
{
        _cleanup_strv_ char **pairs = NULL;

        for (size_t i = 0; i < x->cgroups->n_v1; i++) {
                const struct hierarchy *h = &x->cgroups->v1[i];
                _cleanup_free_ char *folder = xasprintf("%s/%s", h->folder, x->cgroup_name);

                strv_push(&pairs, h->name);
                strv_push(&pairs, folder);
        }
        return put_texts(b, pairs, strv_len(pairs));
}

static struct shim_list encode_layers(struct buf *b, const struct container_config *c,
                                      const struct encode_extra *x)
{
        _cleanup_strv_ char **layers = NULL;

        strv_push(&layers, x->base_layer);
        for (size_t i = 0; c->layers[i]; i++)
                strv_push(&layers, c->layers[i]);
        return put_texts(b, layers, strv_len(layers));
}

static struct shim_list encode_env(struct buf *b, const struct container_config *c)
{
        static const char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:"
                                   "/sbin:/bin";
        _cleanup_strv_ char **env = NULL;
        bool has_path = false, has_hostname = false, has_term = false;

        for (size_t i = 0; c->env && c->env[i]; i++) {
                has_path |= str_has_prefix(c->env[i], "PATH=");
                has_hostname |= str_has_prefix(c->env[i], "HOSTNAME=");
                has_term |= str_has_prefix(c->env[i], "TERM=");
        }
        if (!has_path)
                strv_push(&env, path);
        if (!has_hostname && !str_is_empty(c->hostname)) {
                _cleanup_free_ char *s = xasprintf("HOSTNAME=%s", c->hostname);

                strv_push(&env, s);
        }
        if (c->tty && !has_term)
                strv_push(&env, "TERM=xterm");
        for (size_t i = 0; c->env && c->env[i]; i++)
                strv_push(&env, c->env[i]);
        return put_texts(b, env, strv_len(env));
}

/* Files of /etc. With the host's network its names hold too; alone there is only oneself. */
static void encode_etc(struct buf *b, const struct container_config *c, struct shim_spec *s)
{
        _cleanup_buf_ struct buf hosts = {0}, resolv = {0};
        bool is_host = c->network == CONTAINER_NET_HOST;

        if (!is_host || io_read_file(AT_FDCWD, "/etc/hosts", HOST_FILE_MAX, &hosts) < 0)
                buf_puts(&hosts, "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n");
        if (!is_host && !str_is_empty(c->hostname))
                buf_printf(&hosts, "127.0.1.1\t%s\n", c->hostname);
        if (is_host)
                io_read_file(AT_FDCWD, "/etc/resolv.conf", HOST_FILE_MAX, &resolv);
        s->hosts = put_text(b, buf_str(&hosts));
        s->resolv = put_text(b, buf_str(&resolv));
}

static int check_config(const struct container_config *c, struct err *err)
{
        if (strv_len(c->argv) == 0 || !c->argv[0][0])
                return err_set(err, EINVAL, "no command is given");
        if (strv_len(c->layers) == 0)
                return err_set(err, EINVAL, "image has no layers");
        if (c->hostname && strlen(c->hostname) > 63)
                return err_set(err, EINVAL, "hostname is longer than 63 characters");
        if (c->workdir && strlen(c->workdir) > RUNTIME_PATH_MAX)
                return err_set(err, ENAMETOOLONG, "workdir is too long");
        if (c->workdir && c->workdir[0] && c->workdir[0] != '/')
                return err_set(err, EINVAL, "workdir %s: must be absolute", c->workdir);
        if (c->nano_cpus < 0 || c->memory_bytes < 0 || c->pids < 0 || c->log_max_bytes < 0 ||
            c->log_max_files < 0 || c->log_max_files > SHIM_LOG_FILES_MAX)
                return err_set(err, EINVAL, "a limit is out of range");
        if (check_count(strv_len(c->argv), SHIM_ARGS_MAX, "arguments", err) < 0 ||
            check_count(strv_len(c->env), SHIM_ENV_MAX - 3, "environment variables", err) < 0 ||
            check_count(strv_len(c->layers), SHIM_LAYERS_MAX - 1, "layers", err) < 0 ||
            check_count(strv_len(c->groups), SHIM_GROUPS_MAX, "groups", err) < 0 ||
            check_count(c->n_mounts, SHIM_MOUNTS_MAX, "mounts", err) < 0 ||
            check_count(c->n_ulimits, SHIM_LIMITS_MAX, "ulimits", err) < 0 ||
            check_count(c->n_sysctls, SHIM_SYSCTLS_MAX - OWN_SYSCTLS_MAX, "sysctls", err) < 0)
                return -E2BIG;
        return 0;
}

static uint32_t flags_of(const struct container_config *c, const struct encode_extra *x)
{
        return (c->read_only ? (uint32_t)SHIM_READ_ONLY : 0) | (c->tty ? (uint32_t)SHIM_TTY : 0) |
               (c->init ? (uint32_t)SHIM_INIT : 0) |
               (c->network == CONTAINER_NET_HOST ? (uint32_t)SHIM_HOST_NETWORK : 0) |
               (x->cgroups->unified_limits ? (uint32_t)SHIM_CGROUP2_MOUNT : 0);
}

int spec_encode(const struct container_config *c, const struct encode_extra *x, struct buf *ret,
                struct err *err)
{
        _cleanup_buf_ struct buf b = {0};
        struct shim_spec s = {.magic = SHIM_MAGIC, .version = SHIM_VERSION};

        if (check_config(c, err) < 0)
                return -err->code;
        buf_append(&b, &s, sizeof(s));
        s.flags = flags_of(c, x);
        s.name = put_text(&b, c->name);
        s.hostname = put_text(&b, c->hostname);
        s.workdir = put_text(&b, c->workdir);
        s.user = put_text(&b, c->user);
        s.boot_id = put_text(&b, x->boot_id);
        s.folder = put_text(&b, x->folder);
        encode_etc(&b, c, &s);
        s.argv = put_texts(&b, c->argv, strv_len(c->argv));
        s.env = encode_env(&b, c);
        s.layers = encode_layers(&b, c, x);
        s.groups = put_texts(&b, c->groups, strv_len(c->groups));
        s.cgroups = encode_cgroups(&b, x);
        if (encode_sysctls(&b, c, &s.sysctls, err) < 0 ||
            encode_mounts(&b, c, &s.mounts, err) < 0 || encode_limits(&b, c, &s.limits, err) < 0)
                return -err->code;
        s.capabilities = x->caps;
        s.log_max_bytes = (uint64_t)(c->log_max_bytes ? MAX(c->log_max_bytes, LOG_MAX_LEAST)
                                                      : LOG_MAX_DEFAULT);
        s.log_max_files = (uint32_t)(c->log_max_files ? c->log_max_files : LOG_FILES_DEFAULT);
        s.fail_at = x->fail_at;
        buf_putc(&b, 0);
        if (b.len > SHIM_SPEC_MAX)
                return err_set(err, E2BIG, "arguments and environment are too long");
        s.size = (uint32_t)b.len;
        *spec_of(&b) = s;
        buf_done(ret);
        *ret = b;
        memset(&b, 0, sizeof(b));
        return 0;
}
