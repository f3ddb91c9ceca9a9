/*
 * Cgroups: version 2, version 1, or both at once. What a mount is, statfs says; where it is, the
 * mount table. With both, the v1 hierarchies hold the limits and the cgroup2 tree kills and tells
 * whether anything lives. Only the hierarchies that we use get a folder: memory, cpu, cpuacct,
 * pids, and devices where the cgroup2 tree cannot restrict them.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "agent/runtime/runtime_internal.h"
#include "shared/base/log.h"

#define CPU_PERIOD_US      100000
#define CPU_PERIOD_LONG_US 1000000 /* the longest that the kernel takes */
#define CPU_QUOTA_LEAST    1000
#define MOUNTINFO_MAX      (4 << 20)
#define KILL_ROUNDS_MAX    50
#define DEVICES_LIST_MAX   65536

static int write_at(const char *folder, const char *file, const char *value)
{
        _cleanup_free_ char *path = xasprintf("%s/%s", folder, file);
        _cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

        if (fd < 0)
                return -errno;
        return write(fd, value, strlen(value)) < 0 ? -errno : 0;
}

static int write_number(const char *folder, const char *file, int64_t v)
{
        char text[32];

        snprintf(text, sizeof(text), "%lld", (long long)v);
        return write_at(folder, file, text);
}

static bool is_magic(const char *path, long magic)
{
        struct statfs fs;

        return statfs(path, &fs) == 0 && (long)fs.f_type == magic;
}

static bool has_word(const char *list, const char *word)
{
        _cleanup_strv_ char **v = str_split(list, ',');

        return strv_has(v, word);
}

static int add_v1(struct cgroups *g, const char *mount, const char *options, const char *parent)
{
        struct hierarchy h = {.has_memory = has_word(options, "memory"),
                              .has_cpu = has_word(options, "cpu"),
                              .has_pids = has_word(options, "pids"),
                              .has_devices = has_word(options, "devices")};

        if (!h.has_memory && !h.has_cpu && !h.has_pids && !h.has_devices &&
            !has_word(options, "cpuacct"))
                return 0;
        if (g->n_v1 == HIERARCHIES_MAX || !is_magic(mount, CGROUP_SUPER_MAGIC))
                return 0;
        g->has_memory |= h.has_memory;
        g->has_cpu |= h.has_cpu;
        g->has_pids |= h.has_pids;
        h.name = xstrdup(strrchr(mount, '/') + 1);
        h.folder = xasprintf("%s/%s", mount, parent);
        g->v1[g->n_v1++] = h;
        return mkdir(h.folder, 0755) < 0 && errno != EEXIST ? -errno : 0;
}

/* One line of the mount table: "ID PARENT DEV ROOT MOUNT OPTIONS [...] - TYPE SOURCE OPTIONS". */
static int add_mount(struct cgroups *g, char *line, const char *parent)
{
        char *dash = strstr(line, " - ");
        char mount[512], type[32], options[256];

        if (!dash || sscanf(line, "%*s %*s %*s %*s %511s", mount) != 1 ||
            sscanf(dash + 3, "%31s %*s %255s", type, options) != 2)
                return 0;
        if (str_is_equal(type, "cgroup"))
                return add_v1(g, mount, options, parent);
        if (!str_is_equal(type, "cgroup2") || g->unified ||
            !is_magic(mount, (long)CGROUP2_SUPER_MAGIC))
                return 0;
        g->unified = xasprintf("%s/%s", mount, parent);
        return mkdir(g->unified, 0755) < 0 && errno != EEXIST ? -errno : 0;
}

static const char *const devices_allowed[] = {"c *:* m",   "b *:* m",    "c 1:3 rwm", "c 1:5 rwm",
                                              "c 1:7 rwm", "c 1:8 rwm",  "c 1:9 rwm", "c 5:0 rwm",
                                              "c 5:2 rwm", "c 136:* rwm"};

/* With containers below, as an earlier agent left them, it cannot be restricted again, and is. */
static bool is_restricted_v1(const struct hierarchy *h)
{
        _cleanup_free_ char *path = xasprintf("%s/devices.list", h->folder);
        _cleanup_buf_ struct buf b = {0};

        return io_read_file(AT_FDCWD, path, DEVICES_LIST_MAX, &b) == 0 &&
               !str_has_prefix(buf_str(&b), "a ");
}

/* The rules of a v1 folder are inherited by those made below it. */
static int restrict_v1(const struct hierarchy *h)
{
        if (is_restricted_v1(h))
                return 0;
        int r = write_at(h->folder, "devices.deny", "a");

        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(devices_allowed); i++)
                r = write_at(h->folder, "devices.allow", devices_allowed[i]);
        return r;
}

static void drop_v1(struct cgroups *g, size_t i)
{
        rmdir(g->v1[i].folder);
        free(g->v1[i].name);
        free(g->v1[i].folder);
        g->v1[i] = g->v1[--g->n_v1];
}

static int restrict_devices(struct cgroups *g)
{
        int r = -ENOSYS;

        if (g->unified) {
                _cleanup_close_ int fd = open(g->unified, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

                r = fd < 0 ? -errno : devices_restrict(fd);
        }
        for (size_t i = g->n_v1; i-- > 0;) {
                struct hierarchy *h = &g->v1[i];

                if (!h->has_devices)
                        continue;
                if (r == 0 && !h->has_memory && !h->has_cpu && !h->has_pids)
                        drop_v1(g, i);
                else if (r < 0)
                        r = restrict_v1(h);
        }
        return r;
}

/* Hands a controller of the cgroup2 tree down, from the mount to our folder and on to the
 * containers. False: this machine's kernel has it not, or keeps it for version 1. */
static bool enable_controller(struct cgroups *g, const char *top, const char *name)
{
        write_at(top, "cgroup.subtree_control", name);
        int r = write_at(g->unified, "cgroup.subtree_control", name);

        if (r < 0 && r != -ENOENT)
                log_warn("cgroup controller %s cannot be used: %s", name + 1, err_name(r));
        return r == 0;
}

/* Cgroup2 alone. */
static void enable_controllers(struct cgroups *g)
{
        _cleanup_free_ char *top = xstrdup(g->unified);

        *strrchr(top, '/') = 0;
        g->has_memory |= enable_controller(g, top, "+memory");
        g->has_pids |= enable_controller(g, top, "+pids");
        g->has_cpu |= enable_controller(g, top, "+cpu");
        g->unified_limits = true;
}

static void say_what_lacks(const struct cgroups *g)
{
        if (g->has_memory && g->has_cpu && g->has_pids)
                return;
        log_warn("this kernel has no cgroups for%s%s%s: services with such limits cannot run here",
                 g->has_memory ? "" : " memory", g->has_cpu ? "" : " cpu",
                 g->has_pids ? "" : " pids");
}

int cgroups_open(struct cgroups *g, const char *parent, struct err *err)
{
        _cleanup_buf_ struct buf b = {0};
        int r = io_read_file(AT_FDCWD, "/proc/self/mountinfo", MOUNTINFO_MAX, &b);
        char *save = NULL;

        memset(g, 0, sizeof(*g));
        for (char *line = r < 0 ? NULL : strtok_r((char *)b.data, "\n", &save); line && r == 0;
             line = strtok_r(NULL, "\n", &save))
                r = add_mount(g, line, parent);
        if (r == 0 && !g->unified && g->n_v1 == 0)
                r = err_set(err, ENOSYS,
                            "no cgroups are mounted below /sys/fs/cgroup (ip netns exec "
                            "hides them: nsenter --net does not)");
        else if (r == 0 && !g->has_memory && g->unified)
                enable_controllers(g);
        if (r == 0)
                r = restrict_devices(g);
        if (r == 0)
                say_what_lacks(g);
        if (r < 0) {
                if (!err->code)
                        err_set(err, -r, "cgroup %s: %s", parent, err_name(r));
                cgroups_done(g);
        }
        return r;
}

void cgroups_done(struct cgroups *g)
{
        if (g->unified)
                rmdir(g->unified);
        free(g->unified);
        for (size_t i = 0; i < g->n_v1; i++) {
                rmdir(g->v1[i].folder);
                free(g->v1[i].name);
                free(g->v1[i].folder);
        }
        memset(g, 0, sizeof(*g));
}

/* The kernel takes no quota below CPU_QUOTA_LEAST: so little is given over a longer period. */
static int period_of(int64_t nano_cpus)
{
        return nano_cpus < NANO_PER_CPU / CPU_PERIOD_US * CPU_QUOTA_LEAST ? CPU_PERIOD_LONG_US
                                                                          : CPU_PERIOD_US;
}

static int64_t quota_of(int64_t nano_cpus)
{
        return MAX(nano_cpus / (NANO_PER_CPU / period_of(nano_cpus)), CPU_QUOTA_LEAST);
}

static int limit_v1(const struct hierarchy *h, const char *folder, const struct cgroup_limits *l)
{
        int r = 0;

        if (h->has_memory && l->memory_bytes) {
                r = write_number(folder, "memory.limit_in_bytes", l->memory_bytes);
                int swap = write_number(folder, "memory.memsw.limit_in_bytes", l->memory_bytes * 2);
                if (r == 0 && swap < 0 && swap != -ENOENT)
                        r = swap;
        }
        if (r == 0 && h->has_cpu && l->nano_cpus) {
                r = write_number(folder, "cpu.cfs_period_us", period_of(l->nano_cpus));
                if (r == 0)
                        r = write_number(folder, "cpu.cfs_quota_us", quota_of(l->nano_cpus));
        }
        if (r == 0 && h->has_pids && l->pids)
                r = write_number(folder, "pids.max", l->pids);
        return r;
}

static int unless_missing(int r)
{
        return r == -ENOENT ? 0 : r;
}

/* A controller that is not here is one of version 1: check_limits has seen to it. */
static int limit_v2(const char *folder, const struct cgroup_limits *l)
{
        char cpu[64];
        int r = 0;

        if (l->memory_bytes) {
                r = unless_missing(write_number(folder, "memory.max", l->memory_bytes));
                int swap = write_number(folder, "memory.swap.max", l->memory_bytes);

                if (r == 0 && swap < 0 && swap != -ENOENT)
                        r = swap;
        }
        if (r == 0 && l->nano_cpus) {
                snprintf(cpu, sizeof(cpu), "%lld %d", (long long)quota_of(l->nano_cpus),
                         period_of(l->nano_cpus));
                r = unless_missing(write_at(folder, "cpu.max", cpu));
        }
        if (r == 0 && l->pids)
                r = unless_missing(write_number(folder, "pids.max", l->pids));
        return r;
}

static int check_limits(const struct cgroups *g, const struct cgroup_limits *l, struct err *err)
{
        const char *what = l->memory_bytes && !g->has_memory ? "memory"
                           : l->nano_cpus && !g->has_cpu     ? "cpu"
                           : l->pids && !g->has_pids         ? "pids"
                                                             : NULL;

        return what ? err_set(err, EOPNOTSUPP, "limit-%s: this node's kernel has no cgroups for it",
                              what)
                    : 0;
}

int cgroup_make(const struct cgroups *g, const char *name, const struct cgroup_limits *l,
                struct err *err)
{
        int r = check_limits(g, l, err);

        if (r < 0)
                return r;

        for (size_t i = 0; r == 0 && i < g->n_v1; i++) {
                _cleanup_free_ char *folder = xasprintf("%s/%s", g->v1[i].folder, name);

                r = mkdir(folder, 0755) < 0 ? -errno : limit_v1(&g->v1[i], folder, l);
        }
        if (r == 0 && g->unified) {
                _cleanup_free_ char *folder = xasprintf("%s/%s", g->unified, name);

                r = mkdir(folder, 0755) < 0 ? -errno : 0;
                if (r == 0 && g->unified_limits)
                        r = limit_v2(folder, l);
        }
        if (r < 0) {
                cgroup_remove(g, name);
                return err_set(err, -r, "make cgroup: %s", err_name(r));
        }
        return 0;
}

static bool kill_listed(const char *folder, const char *name)
{
        _cleanup_free_ char *path = xasprintf("%s/%s/cgroup.procs", folder, name);
        FILE *f = fopen(path, "re");
        bool is_any = false;
        int pid;

        if (!f)
                return false;
        while (fscanf(f, "%d", &pid) == 1 && pid > 0)
                is_any |= kill(pid, SIGKILL) == 0;
        fclose(f);
        return is_any;
}

/* By the kernel's own cgroup.kill; with v1 alone, round by round until none is left. */
void cgroup_kill(const struct cgroups *g, const char *name)
{
        if (g->unified) {
                _cleanup_free_ char *folder = xasprintf("%s/%s", g->unified, name);

                if (write_at(folder, "cgroup.kill", "1") == 0)
                        return;
        }
        for (int round = 0; round < KILL_ROUNDS_MAX; round++) {
                bool is_any = g->unified && kill_listed(g->unified, name);

                for (size_t i = 0; i < g->n_v1; i++)
                        is_any |= kill_listed(g->v1[i].folder, name);
                if (!is_any)
                        return;
        }
}

static bool has_listed(const char *folder, const char *name)
{
        _cleanup_free_ char *path = xasprintf("%s/%s/cgroup.procs", folder, name);
        FILE *f = fopen(path, "re");
        int pid;
        bool is_any = f && fscanf(f, "%d", &pid) == 1;

        if (f)
                fclose(f);
        return is_any;
}

bool cgroup_is_empty(const struct cgroups *g, const char *name)
{
        bool is_any = g->unified && has_listed(g->unified, name);

        for (size_t i = 0; i < g->n_v1; i++)
                is_any |= has_listed(g->v1[i].folder, name);
        return !is_any;
}

static int remove_folder(const char *parent, const char *name)
{
        _cleanup_free_ char *folder = xasprintf("%s/%s", parent, name);

        return rmdir(folder) < 0 && errno != ENOENT ? -errno : 0;
}

int cgroup_remove(const struct cgroups *g, const char *name)
{
        int result = g->unified ? remove_folder(g->unified, name) : 0;

        for (size_t i = 0; i < g->n_v1; i++) {
                int r = remove_folder(g->v1[i].folder, name);

                if (r < 0)
                        result = r;
        }
        return result;
}

int cgroup_open_fds(const struct cgroups *g, const char *name, int *fds, int *ret_value,
                    int *ret_tasks)
{
        char path[1024];
        int n = 0, oom = -1;

        *ret_value = *ret_tasks = 0;
        if (g->unified) {
                snprintf(path, sizeof(path), "%s/%s", g->unified, name);
                fds[n++] = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                *ret_value |= 1 << SHIM_START_CGROUP2;
                snprintf(path, sizeof(path), "%s/%s/memory.events", g->unified, name);
                oom = open(path, O_RDONLY | O_CLOEXEC);
        }
        for (size_t i = 0; i < g->n_v1 && oom < 0; i++) {
                snprintf(path, sizeof(path), "%s/%s/memory.oom_control", g->v1[i].folder, name);
                if (g->v1[i].has_memory)
                        oom = open(path, O_RDONLY | O_CLOEXEC);
        }
        if (oom >= 0) {
                fds[n++] = oom;
                *ret_value |= 1 << SHIM_START_OOM;
        }
        for (size_t i = 0; i < g->n_v1; i++) {
                snprintf(path, sizeof(path), "%s/%s/tasks", g->v1[i].folder, name);
                fds[n++] = open(path, O_WRONLY | O_CLOEXEC);
                ++*ret_tasks;
        }
        return n;
}

bool cgroup_was_oom(const struct cgroups *g, const char *name)
{
        int fds[SHIM_FDS_MAX], value, tasks;
        int n = cgroup_open_fds(g, name, fds, &value, &tasks);
        int oom = value & 1 << SHIM_START_CGROUP2 ? 1 : 0;
        char text[512];
        ssize_t len = 0;

        if (value & 1 << SHIM_START_OOM && fds[oom] >= 0)
                len = read(fds[oom], text, sizeof(text) - 1);
        for (int i = 0; i < n; i++)
                if (fds[i] >= 0)
                        close(fds[i]);
        text[MAX(len, 0)] = 0;
        const char *p = strstr(text, "oom_kill ");
        return p && p[9] >= '1' && p[9] <= '9';
}

void cgroups_each(const struct cgroups *g, void (*fn)(void *arg, const char *name), void *arg)
{
        for (size_t i = 0; i < g->n_v1 + (g->unified ? 1 : 0); i++) {
                DIR *dir = opendir(i < g->n_v1 ? g->v1[i].folder : g->unified);
                struct dirent *e;

                while (dir && (e = readdir(dir)))
                        if (e->d_type == DT_DIR && e->d_name[0] != '.')
                                fn(arg, e->d_name);
                if (dir)
                        closedir(dir);
        }
}
