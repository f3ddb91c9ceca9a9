/* See container_rig.h. */
#include "tests/lib/container_rig.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "shared/base/base.h"

char rig_output[1 << 16];

static const char *const applets[] = {
        "sh",   "true",     "false",    "cat",    "ls",     "echo",    "sleep", "id",
        "grep", "mkdir",    "touch",    "head",   "yes",    "dd",      "mount", "umount",
        "stat", "readlink", "hostname", "env",    "kill",   "test",    "seq",   "tail",
        "wc",   "chmod",    "ps",       "pwd",    "mknod",  "unshare", "ln",    "rm",
        "cp",   "tr",       "ip",       "printf", "ulimit", "sed",     "awk",   "tty"};

static void put(const char *folder, const char *name, const char *text)
{
        _cleanup_free_ char *path = xasprintf("%s/%s", folder, name);

        int r = io_write_file_atomic(AT_FDCWD, path, text, strlen(text), 0644);
        assert(r == 0);
}

static void make_rootfs(const char *folder)
{
        static const char *const folders[] = {"bin", "etc", "tmp", "data", "proc", "sys", "dev"};
        _cleanup_buf_ struct buf b = {0};
        int r = io_read_file(AT_FDCWD, "/bin/busybox", 16 << 20, &b);

        assert(r == 0);
        for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
                _cleanup_free_ char *path = xasprintf("%s/%s", folder, folders[i]);

                r = io_mkdir_all(path, 0755);
                assert(r == 0);
        }
        _cleanup_free_ char *busybox = xasprintf("%s/bin/busybox", folder);

        r = io_write_file_atomic(AT_FDCWD, busybox, b.data, b.len, 0755);
        assert(r == 0);
        for (size_t i = 0; i < ARRAY_SIZE(applets); i++) {
                _cleanup_free_ char *path = xasprintf("%s/bin/%s", folder, applets[i]);

                r = symlink("busybox", path);
                assert(r == 0);
        }
        put(folder, "etc/passwd",
            "root:x:0:0:root:/root:/bin/sh\nweb:x:1001:1002:web:/home/web:/bin/sh\n");
        put(folder, "etc/group",
            "root:x:0:\nweb:x:1002:\nextra:x:1003:web\nother:x:1004:root,web\nlone:x:1005:\n");
        put(folder, "data/seed", "from the image\n");
        put(folder, "etc/noexec", "text\n");
}

static void on_exit_told(void *arg, struct id id, const struct container_exit *e)
{
        struct rig *r = arg;

        (void)id;
        r->exit = *e;
        r->is_exited = true;
}

static void on_started(void *arg, struct id id, pid_t pid, const struct err *err)
{
        struct rig *r = arg;

        (void)id;
        r->pid = pid;
        r->err = err ? *err : (struct err){0};
        r->is_started = true;
}

static void on_removed(void *arg)
{
        struct rig *r = arg;

        r->is_removed = true;
}

void rig_open_runtime(struct rig *r)
{
        struct err err = {0};
        struct runtime_config c = {.root = r->run,
                                   .shim_path = r->shim,
                                   .cgroup_name = r->cgroup,
                                   .events = {.arg = r, .on_exit = on_exit_told}};

        r->loop = loop_new();
        int result = runtime_open(r->loop, &c, &r->runtime, &err);
        if (result < 0)
                fprintf(stderr, "# %s\n", err.text);
        assert(result == 0);
}

void rig_close_runtime(struct rig *r)
{
        runtime_close(r->runtime);
        loop_free(r->loop);
        r->runtime = NULL;
        r->loop = NULL;
}

bool rig_open(struct rig *r, const char *shim)
{
        char template[] = "/tmp/swarm-rig-XXXXXX";
        const char *build = getenv("BUILD") ? getenv("BUILD") : "build";

        if (geteuid() != 0 || access("/bin/busybox", X_OK) < 0)
                return false;
        memset(r, 0, sizeof(*r));
        char *folder = mkdtemp(template);
        assert(folder);
        r->folder = xstrdup(folder);
        r->rootfs = xasprintf("%s/rootfs", folder);
        r->run = xasprintf("%s/run", folder);
        r->cgroup = xasprintf("swarm-rig-%d", (int)getpid());
        r->shim = shim ? xstrdup(shim) : xasprintf("%s/swarm-shim", build);
        make_rootfs(r->rootfs);
        rig_open_runtime(r);
        return true;
}

/* Names of what must not be there any more, one a line; "" when all is clean. */
static void find_residue(struct rig *r, struct buf *ret)
{
        _cleanup_buf_ struct buf mounts = {0};
        _cleanup_free_ char *containers = xasprintf("%s/c", r->run);
        DIR *dir = opendir(containers);
        struct dirent *e;

        while (dir && (e = readdir(dir)))
                if (e->d_name[0] != '.')
                        buf_printf(ret, "folder %s\n", e->d_name);
        if (dir)
                closedir(dir);
        io_read_file(AT_FDCWD, "/proc/self/mountinfo", 4 << 20, &mounts);
        if (strstr(buf_str(&mounts), r->folder))
                buf_puts(ret, "a mount\n");
        for (const char *const *p =
                     (const char *const[]){"/sys/fs/cgroup/memory", "/sys/fs/cgroup/unified",
                                           "/sys/fs/cgroup/pids", "/sys/fs/cgroup/cpu",
                                           "/sys/fs/cgroup", NULL};
             *p; p++) {
                _cleanup_free_ char *path = xasprintf("%s/%s", *p, r->cgroup);

                if (access(path, F_OK) == 0)
                        buf_printf(ret, "cgroup %s\n", path);
        }
}

void rig_close(struct rig *r)
{
        _cleanup_buf_ struct buf residue = {0};

        if (!r->folder)
                return;
        if (r->runtime)
                rig_close_runtime(r);
        find_residue(r, &residue);
        if (residue.len)
                fprintf(stderr, "# left: %s", buf_str(&residue));
        assert(residue.len == 0);
        int result = io_remove_tree(AT_FDCWD, r->folder);
        assert(result == 0);
        free(r->folder);
        free(r->rootfs);
        free(r->run);
        free(r->cgroup);
        free(r->shim);
        memset(r, 0, sizeof(*r));
}

struct container_config rig_config(struct rig *r, char *const *argv)
{
        static char *layers[2];

        layers[0] = r->rootfs;
        return (struct container_config){.id = {.hi = 0x1234567, .lo = ++r->ids},
                                         .name = "web.1",
                                         .hostname = "box",
                                         .layers = layers,
                                         .argv = argv};
}

struct waiting {
        struct rig *rig;
        const bool *flag;
};

static void on_late(void *arg)
{
        struct rig *r = arg;

        r->has_timed_out = true;
        loop_stop(r->loop);
}

static bool stop_when_set(void *arg)
{
        struct waiting *w = arg;

        if (*w->flag)
                loop_stop(w->rig->loop);
        return false;
}

static void nothing(void *arg)
{
        (void)arg;
}

void rig_wait(struct rig *r, const bool *flag)
{
        struct waiting w = {r, flag};
        struct loop_timer *t = loop_timer_new(r->loop, on_late, r);
        struct loop_hook *h = loop_hook_new(r->loop, stop_when_set, nothing, &w);

        r->has_timed_out = false;
        loop_timer_set(t, RIG_WAIT_MS);
        while (!*flag && !r->has_timed_out)
                loop_run(r->loop);
        loop_hook_free(h);
        loop_timer_free(t);
        assert(*flag);
}

int rig_start(struct rig *r, const struct container_config *c)
{
        r->is_started = r->is_exited = false;
        runtime_start(r->runtime, c, on_started, r);
        assert(!r->is_started);
        rig_wait(r, &r->is_started);
        if (r->err.code && getenv("RIG_VERBOSE"))
                fprintf(stderr, "# %s\n", r->err.text);
        return -r->err.code;
}

void rig_wait_exit(struct rig *r)
{
        rig_wait(r, &r->is_exited);
}

void rig_remove(struct rig *r, struct id id)
{
        r->is_removed = false;
        runtime_remove(r->runtime, id, on_removed, r);
        rig_wait(r, &r->is_removed);
}

void rig_read_log(struct rig *r, struct id id)
{
        _cleanup_free_ char *path = runtime_log_path(r->runtime, id, 0);
        _cleanup_buf_ struct buf b = {0};
        struct buf out = {0};

        rig_output[0] = 0;
        if (!path || io_read_file(AT_FDCWD, path, 64 << 20, &b) < 0)
                return;
        for (char *line = (char *)b.data, *end; (end = strchr(line, '\n')); line = end + 1) {
                *end = 0;
                char *text = strchr(line, ' ');

                assert(text && strlen(text) >= 5 && (text[1] == 'o' || text[1] == 'e') &&
                       (text[3] == 'F' || text[3] == 'P'));
                buf_printf(&out, "%s\n", text + 5);
        }
        snprintf(rig_output, sizeof(rig_output), "%s", buf_str(&out));
        buf_done(&out);
}

int rig_run_config(struct rig *r, const struct container_config *c)
{
        int result = rig_start(r, c);

        if (result < 0)
                return result;
        rig_wait_exit(r);
        rig_read_log(r, c->id);
        rig_remove(r, c->id);
        return r->exit.status;
}

struct container_config rig_script(struct rig *r, char **argv, const char *script)
{
        argv[0] = (char *)(uintptr_t) "sh";
        argv[1] = (char *)(uintptr_t) "-c";
        argv[2] = (char *)(uintptr_t)script;
        argv[3] = NULL;
        return rig_config(r, argv);
}

static void stop_loop(void *arg)
{
        loop_stop(arg);
}

void rig_turn(struct rig *r, int64_t ms)
{
        struct loop_timer *t = loop_timer_new(r->loop, stop_loop, r->loop);

        loop_timer_set(t, ms);
        loop_run(r->loop);
        loop_timer_free(t);
}

int rig_run(struct rig *r, const char *script)
{
        char *argv[4];
        struct container_config c = rig_script(r, argv, script);

        return rig_run_config(r, &c);
}

static void on_answer(void *arg, int status, const char *output, size_t n)
{
        struct rig *r = arg;

        r->exec_status = status;
        snprintf(r->exec_output, sizeof(r->exec_output), "%.*s", (int)n, output);
        r->is_answered = true;
}

int rig_exec_argv(struct rig *r, struct id id, char *const *argv, int64_t timeout_ms)
{
        r->is_answered = false;
        runtime_exec(r->runtime, id, argv, timeout_ms, on_answer, r);
        assert(!r->is_answered);
        rig_wait(r, &r->is_answered);
        return r->exec_status;
}

int rig_exec(struct rig *r, struct id id, const char *script, int64_t timeout_ms)
{
        char *const argv[] = {"sh", "-c", (char *)(uintptr_t)script, NULL};

        return rig_exec_argv(r, id, argv, timeout_ms);
}
