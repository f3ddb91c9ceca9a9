/*
 * The last steps before the program: limits, sysctls, capabilities, user, no_new_privs, folder,
 * seccomp, execve. The same for the first process and for execs.
 */
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/magic.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "agent/shim/shim_internal.h"
#include "agent/shim/sys.h"

#define FILTER_MAX 4096

/* As users name it. */
static const char *limit_name(uint32_t resource)
{
        static const char *const names[] = {
                [RLIMIT_CPU] = "cpu",           [RLIMIT_FSIZE] = "fsize",
                [RLIMIT_DATA] = "data",         [RLIMIT_STACK] = "stack",
                [RLIMIT_CORE] = "core",         [RLIMIT_RSS] = "rss",
                [RLIMIT_NPROC] = "nproc",       [RLIMIT_NOFILE] = "nofile",
                [RLIMIT_MEMLOCK] = "memlock",   [RLIMIT_AS] = "as",
                [RLIMIT_LOCKS] = "locks",       [RLIMIT_SIGPENDING] = "sigpending",
                [RLIMIT_MSGQUEUE] = "msgqueue", [RLIMIT_NICE] = "nice",
                [RLIMIT_RTPRIO] = "rtprio",     [RLIMIT_RTTIME] = "rttime",
        };

        return resource < sizeof(names) / sizeof(names[0]) && names[resource] ? names[resource]
                                                                              : "";
}

void creds_set_limits(void)
{
        const struct shim_spec *s = shim.spec;
        const struct shim_limit *l =
                (const struct shim_limit *)(const void *)((const char *)s + s->limits.offset);

        for (uint32_t i = 0; i < s->limits.count; i++) {
                struct rlimit r = {.rlim_cur = l[i].soft, .rlim_max = l[i].hard};

                child_check(setrlimit((int)l[i].resource, &r) < 0 ? -errno : 0, "ulimit",
                            limit_name(l[i].resource));
        }
}

/* Through a proc of our own making that nobody else can reach, and no links in it. */
void creds_write_sysctls(int proc)
{
        const struct shim_spec *s = shim.spec;

        for (uint32_t i = 0; i + 1 < s->sysctls.count; i += 2) {
                const char *path = spec_item(s, &s->sysctls, i);
                const char *value = spec_item(s, &s->sysctls, i + 1);
                char full[256];
                struct text t = {full, 0, sizeof(full)};
                struct statfs fs;

                text_add(&t, "sys/");
                text_add(&t, path);
                int fd = sys_openat2(proc, full, O_WRONLY, 0,
                                     RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV);
                child_check(fd, "sysctl", path);
                if (fstatfs(fd, &fs) < 0 || fs.f_type != PROC_SUPER_MAGIC)
                        child_fail(125, EINVAL, "unsafe sysctl", path);
                child_check(write(fd, value, strlen(value)) < 0 ? -errno : 0, "sysctl", path);
                close(fd);
        }
}

static void set_capabilities(uint64_t set)
{
        struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
        struct __user_cap_data_struct d[2] = {0};

        d[0].effective = d[0].permitted = (uint32_t)set;
        d[1].effective = d[1].permitted = (uint32_t)(set >> 32);
        child_check(sys_result(syscall(SYS_capset, &h, d)), "set", "capabilities");
}

/* The raw calls: those of the C library would do it for every thread, by signals. */
void creds_prepare(const struct user *u)
{
        uint64_t set = shim.spec->capabilities;

        for (int cap = 0; cap < 64; cap++) {
                int r = prctl(PR_CAPBSET_READ, cap, 0, 0, 0);

                if (r < 0)
                        break;
                if (r == 1 && !(set >> cap & 1))
                        child_check(prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 ? -errno : 0, "drop",
                                    "capabilities");
                if (r == 0)
                        set &= ~(1ull << cap);
        }
        for (int cap = 63; cap >= 0; cap--)
                if (set >> cap & 1 && prctl(PR_CAPBSET_READ, cap, 0, 0, 0) != 1)
                        set &= ~(1ull << cap);
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
        child_check(sys_result(syscall(SYS_setgroups, u->n_groups, u->groups)), "set", "groups");
        child_check(sys_result(syscall(SYS_setresgid, u->gid, u->gid, u->gid)), "set", "group");
        if (u->uid == 0) {
                set_capabilities(set);
                return;
        }
        child_check(sys_result(syscall(SYS_setresuid, u->uid, u->uid, u->uid)), "set", "user");
        set_capabilities(0);
}

static bool has_name(char **env, const char *name)
{
        size_t n = strlen(name);

        for (; *env; env++)
                if (strncmp(*env, name, n) == 0 && (*env)[n] == '=')
                        return true;
        return false;
}

char **creds_env(const struct user *u)
{
        static char *env[SHIM_ENV_MAX + 2];
        static char home[sizeof(u->home) + 8];
        const struct shim_spec *s = shim.spec;
        uint32_t n = 0;

        for (; n < s->env.count; n++)
                env[n] = (char *)(uintptr_t)spec_item(s, &s->env, n);
        if (!has_name(env, "HOME")) {
                struct text t = {home, 0, sizeof(home)};

                text_add(&t, "HOME=");
                text_add(&t, u->home);
                env[n] = home;
        }
        return env;
}

static const char *workdir(void)
{
        return shim.spec->workdir ? spec_text(shim.spec, shim.spec->workdir) : "/";
}

void creds_make_workdir(int root)
{
        int fd = root_open_make(root, workdir(), true, 0755);

        child_check(fd, "workdir", workdir());
        close(fd);
}

/* Opened in the root without magic links, so /proc/self/fd/N leads nowhere. */
void creds_enter_workdir(int root)
{
        int fd = root_open(root, workdir(), O_PATH | O_DIRECTORY);
        char cwd[PATH_MAX];

        child_check(fd, "workdir", workdir());
        child_check(fchdir(fd) < 0 ? -errno : 0, "workdir", workdir());
        close(fd);
        long n = syscall(SYS_getcwd, cwd, sizeof(cwd));
        if (n < 0 || cwd[0] != '/')
                child_fail(125, n < 0 ? errno : EINVAL, "workdir", workdir());
}

static void load_filter(void)
{
        struct stat st;

        child_check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0, "set", "no_new_privs");
        child_check(fstat(shim.seccomp_fd, &st) < 0 ? -errno : 0, "load", "seccomp");
        if (st.st_size == 0 || st.st_size % (off_t)sizeof(struct sock_filter) ||
            st.st_size / (off_t)sizeof(struct sock_filter) > FILTER_MAX)
                child_fail(125, EINVAL, "load", "seccomp");
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, shim.seccomp_fd, 0);

        child_check(p == MAP_FAILED ? -errno : 0, "load", "seccomp");
        struct sock_fprog prog = {
                .len = (unsigned short)((size_t)st.st_size / sizeof(struct sock_filter)),
                .filter = p};

        child_check(sys_result(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog)), "load",
                    "seccomp");
}

static const char *env_path(char **env)
{
        for (; *env; env++)
                if (strncmp(*env, "PATH=", 5) == 0)
                        return *env + 5;
        return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
}

static int check_program(const char *path)
{
        struct stat st;

        if (stat(path, &st) < 0)
                return -errno;
        if (S_ISDIR(st.st_mode))
                return -EACCES;
        return syscall(SYS_faccessat, AT_FDCWD, path, X_OK) < 0 ? -errno : 0;
}

/* What execvp would take; ret gets the path. The first "permission denied" beats "not found". */
static int find_program(const char *name, const char *path, char ret[PATH_MAX])
{
        struct text t = {ret, 0, PATH_MAX};
        int result = -ENOENT;

        if (strchr(name, '/')) {
                text_add(&t, name);
                return check_program(ret);
        }
        while (*name) {
                const char *end = strchr(path, ':');
                size_t n = end ? (size_t)(end - path) : strlen(path);

                t.n = 0;
                for (size_t i = 0; i < n && t.n + 1 < t.cap; i++)
                        ret[t.n++] = path[i];
                text_add(&t, n ? "/" : "./");
                text_add(&t, name);
                int r = t.n + 1 < t.cap ? check_program(ret) : -ENAMETOOLONG;
                if (r == 0)
                        return 0;
                if (r == -EACCES)
                        result = r;
                if (!end)
                        break;
                path = end + 1;
        }
        return result;
}

_Noreturn void creds_exec(char **argv, char **env, int exe_fd)
{
        static char *own[SHIM_ARGS_MAX + 3];
        static char path[PATH_MAX];
        const struct shim_spec *s = shim.spec;
        bool is_init = !argv && s->flags & SHIM_INIT;
        int n = 0;

        if (!argv) {
                if (is_init) {
                        own[n++] = (char *)(uintptr_t) "swarm-init";
                        own[n++] = path;
                }
                for (uint32_t i = 0; i < s->argv.count; i++)
                        own[n++] = (char *)(uintptr_t)spec_item(s, &s->argv, i);
                argv = own;
        }
        char *name = is_init ? argv[2] : argv[0];
        int r = find_program(name, env_path(env), path);

        if (r < 0)
                child_fail(r == -ENOENT || r == -ENOTDIR ? 127 : 126, -r, "exec", name);
        /* A signal that comes before init waits for it would be lost on process 1: blocked until
         * then. */
        if (is_init) {
                sigset_t all;

                sigfillset(&all);
                sigprocmask(SIG_SETMASK, &all, NULL);
        }
        load_filter();
        if (is_init)
                syscall(SYS_execveat, exe_fd, "", argv, env, AT_EMPTY_PATH);
        else
                syscall(SYS_execve, path, argv, env);
        child_fail(errno == ENOENT ? 127 : 126, errno, "exec", name);
}
