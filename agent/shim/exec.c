/*
 * Programs run inside a running container (health checks): a child that enters its namespaces and
 * cgroups and takes on the same restrictions. Output is kept up to a cap, the rest read and
 * dropped.
 */
#include <linux/close_range.h>
#include <poll.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "agent/shim/shim_internal.h"
#include "agent/shim/sys.h"

struct exec {
        bool is_used, has_timed_out, has_exited;
        int connection; /* -1: nobody waits any more */
        uint32_t cookie;
        pid_t pid;
        int pidfd, out_fd, sync_fd;
        int error; /* 0, or -errno before its program began */
        int status;
        int64_t deadline_ms;
        size_t n;
        char output[SHIM_EXEC_OUTPUT];
};

static struct exec execs[SHIM_EXECS_MAX];

static int64_t mono_ms(void)
{
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void enter_container(void)
{
        int spaces = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWCGROUP;

        child_join_cgroups();
        child_check(sys_result(syscall(SYS_setns, shim.pidfd, spaces)), "enter", "namespaces");
}

/* An input at its end. No name inside is opened for it: what lies at /dev/null there is whatever
 * the container's programs want it to be. */
static int ended_pipe(void)
{
        int in[2];

        child_check(pipe2(in, O_CLOEXEC) < 0 ? -errno : 0, "make", "pipe");
        close(in[1]);
        return in[0];
}

static _Noreturn void exec_child(int sync_fd, int out_fd, const char *args, size_t n)
{
        static char *argv[SHIM_ARGS_MAX + 1];
        size_t count = 0;
        struct user user;

        child_sync_fd = sync_fd;
        close(shim.lock_fd);
        shim.spec = spec_map(shim.spec_fd);
        if (!shim.spec)
                child_fail(125, EBADMSG, "read", "spec");
        for (size_t i = 0; i < n && count < SHIM_ARGS_MAX; i += strlen(args + i) + 1)
                argv[count++] = (char *)(uintptr_t)(args + i);
        int in_fd = ended_pipe();

        enter_container();
        int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
        int stdio[3] = {in_fd, out_fd, out_fd};

        child_check(root < 0 ? -errno : 0, "open", "/");
        user_find(root, &user);
        creds_set_limits();
        child_check(setsid() < 0 ? -errno : 0, "set", "session");
        child_set_stdio(stdio);
        (void)!fchown(0, user.uid, user.gid);
        (void)!fchown(1, user.uid, user.gid);
        creds_make_workdir(root);
        creds_enter_workdir(root);
        creds_prepare(&user);
        child_check(sys_close_range(3, ~0u, CLOSE_RANGE_CLOEXEC), "close", "descriptors");
        umask(022);
        for (int i = 1; i < NSIG; i++)
                signal(i, SIG_DFL);
        creds_exec(argv, creds_env(&user), -1);
}

static long clone_into(int *ret_pidfd)
{
        struct clone_args a = {.flags = CLONE_PIDFD,
                               .pidfd = (uint64_t)(uintptr_t)ret_pidfd,
                               .exit_signal = SIGCHLD};

        if (shim.cgroup2_fd >= 0) {
                a.flags |= CLONE_INTO_CGROUP;
                a.cgroup = (unsigned)shim.cgroup2_fd;
        }
        return sys_clone3(&a);
}

static int start(struct exec *e, const char *args, size_t n)
{
        static bool is_inside; /* children are born in the container's pid namespace */
        int sync[2], out[2];

        if (!is_inside) {
                long r = sys_result(syscall(SYS_setns, shim.pidfd, CLONE_NEWPID));

                if (r < 0)
                        return (int)r;
                is_inside = true;
        }
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sync) < 0)
                return -errno;
        if (pipe2(out, O_CLOEXEC) < 0) {
                int r = -errno;

                close(sync[0]), close(sync[1]);
                return r;
        }
        long pid = clone_into(&e->pidfd);

        if (pid == 0)
                exec_child(sync[1], out[1], args, n);
        close(sync[1]);
        close(out[1]);
        if (pid < 0) {
                close(sync[0]), close(out[0]);
                return (int)pid;
        }
        fcntl(out[0], F_SETFL, O_NONBLOCK);
        e->pid = (pid_t)pid;
        e->sync_fd = sync[0];
        e->out_fd = out[0];
        return 0;
}

int exec_start(const struct shim_message *m, const char *args, int connection)
{
        struct exec *e = execs;

        if (m->length == 0 || args[m->length - 1] != 0 || m->number <= 0)
                return -EINVAL;
        while (e < execs + SHIM_EXECS_MAX && e->is_used)
                e++;
        if (e == execs + SHIM_EXECS_MAX)
                return -EBUSY; /* what the kernel gives a full container is -EAGAIN */
        memset(e, 0, offsetof(struct exec, output));
        int r = start(e, args, m->length);
        if (r < 0)
                return r;
        e->is_used = true;
        e->connection = connection;
        e->cookie = m->cookie;
        e->deadline_ms = mono_ms() + m->number;
        return 0;
}

int exec_poll(struct pollfd *p)
{
        int n = 0;

        for (int i = 0; i < SHIM_EXECS_MAX; i++) {
                if (!execs[i].is_used)
                        continue;
                p[n++] = (struct pollfd){.fd = execs[i].pidfd, .events = POLLIN};
                p[n++] = (struct pollfd){.fd = execs[i].out_fd, .events = POLLIN};
                p[n++] = (struct pollfd){.fd = execs[i].sync_fd, .events = POLLIN};
        }
        return n;
}

int exec_timeout(void)
{
        int64_t first = -1, now = mono_ms();

        for (int i = 0; i < SHIM_EXECS_MAX; i++)
                if (execs[i].is_used && !execs[i].has_timed_out &&
                    (first < 0 || execs[i].deadline_ms < first))
                        first = execs[i].deadline_ms;
        return first < 0 ? -1 : first <= now ? 0 : (int)(first - now < 60000 ? first - now : 60000);
}

void exec_forget(int connection)
{
        for (int i = 0; i < SHIM_EXECS_MAX; i++)
                if (execs[i].is_used && execs[i].connection == connection)
                        execs[i].connection = -1;
}

static void read_output(struct exec *e)
{
        char rest[1024];

        /* Bounded, so that a flood does not keep the rest of the work waiting. */
        for (int i = 0; i < 64 && e->out_fd >= 0; i++) {
                bool is_full = e->n == sizeof(e->output);
                ssize_t n = is_full ? read(e->out_fd, rest, sizeof(rest))
                                    : read(e->out_fd, e->output + e->n, sizeof(e->output) - e->n);

                if (n < 0)
                        return;
                if (n == 0) {
                        close(e->out_fd);
                        e->out_fd = -1;
                } else if (!is_full) {
                        e->n += (size_t)n;
                }
        }
}

static void read_sync(struct exec *e)
{
        struct shim_message m;
        char text[SHIM_TEXT_MAX];
        int r = message_receive(e->sync_fd, &m, text, sizeof(text), NULL, NULL, MSG_DONTWAIT);

        if (r == -EAGAIN)
                return;
        if (r >= 0 && m.type == SHIM_FAILED) {
                struct text t = {e->output, 0, sizeof(e->output)};

                /* As a shell would: the text as output, and 126 or 127; other failures are ours. */
                for (int i = 0; i < r && t.n + 1 < t.cap; i++)
                        t.p[t.n++] = text[i];
                text_add(&t, ": ");
                text_add(&t, strerror(m.value));
                e->n = t.n;
                e->error = m.status == 125 ? -m.value : 0;
        }
        close(e->sync_fd);
        e->sync_fd = -1;
}

static void finish(struct exec *e)
{
        struct shim_message m = {.type = SHIM_RESULT,
                                 .cookie = e->cookie,
                                 .value = e->has_timed_out ? -ETIME : e->error,
                                 .status = e->status,
                                 .length = (uint32_t)e->n};
        int connection = e->connection;

        close(e->pidfd);
        if (e->out_fd >= 0)
                close(e->out_fd);
        if (e->sync_fd >= 0)
                close(e->sync_fd);
        e->is_used = false;
        if (connection >= 0)
                serve_answer(connection, &m, e->output);
}

/* One that takes too long is killed with its process group, before its leader is reaped: until then
 * its number is taken. */
static void advance(struct exec *e)
{
        struct pollfd p = {.fd = e->pidfd, .events = POLLIN};
        int status;

        if (!e->has_timed_out && mono_ms() >= e->deadline_ms) {
                e->has_timed_out = true;
                kill(-e->pid, SIGKILL);
                sys_pidfd_kill(e->pidfd, SIGKILL);
        }
        if (e->out_fd >= 0)
                read_output(e);
        if (e->sync_fd >= 0)
                read_sync(e);
        if (poll(&p, 1, 0) <= 0)
                return;
        if (e->out_fd >= 0)
                read_output(e);
        if (e->sync_fd >= 0)
                read_sync(e);
        if (waitpid(e->pid, &status, WNOHANG) != e->pid)
                return;
        e->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        finish(e);
}

void exec_advance(void)
{
        for (int i = 0; i < SHIM_EXECS_MAX; i++)
                if (execs[i].is_used)
                        advance(&execs[i]);
}
