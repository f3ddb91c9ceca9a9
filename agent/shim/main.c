/*
 * swarm-shim: the supervisor of one container. Started by the agent (shim.h says with what), it
 * makes the container, lets it go once its state is on disk, writes its log, serves requests, and
 * leaves a durable record of its end. Place in the flow: agent/runtime -> here -> the container's
 * program. Whatever fails before the program runs goes back as one FAILED message and leaves
 * nothing.
 */
#include <linux/close_range.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "agent/shim/shim_internal.h"
#include "agent/shim/sys.h"

#define FORGET_WAIT_MS 200
#define PROGRESS_MS    1000 /* how often a start that lasts is looked at */
#define EXIT_BYTES     64   /* of the record of the end */

static int exit_fd;

struct shim shim = {.cgroup2_fd = -1, .oom_fd = -1, .pidfd = -1, .out_fd = {-1, -1}};

static void remove_traces(void)
{
        unlinkat(shim.folder_fd, "sock", 0);
        unlinkat(shim.folder_fd, "state", 0);
}

/* Whoever finds the folder before the end of the first process must find an unfinished start. */
static _Noreturn void give_up(int err, int exit_code, const char *text)
{
        struct shim_message m = {.type = SHIM_FAILED,
                                 .value = err,
                                 .status = exit_code,
                                 .length = (uint32_t)strlen(text)};

        if (shim.spec)
                remove_traces();
        if (shim.pid > 0) {
                sys_pidfd_kill(shim.pidfd, SIGKILL);
                waitpid(shim.pid, NULL, 0);
        }
        message_send(SHIM_FD_SOCKET, &m, text, -1, MSG_DONTWAIT);
        _exit(1);
}

static void take_start(void)
{
        struct shim_message m;
        int fds[SHIM_FDS_MAX], n = SHIM_FDS_MAX, at = SHIM_START_CGROUP2;
        int r = message_receive(SHIM_FD_SOCKET, &m, NULL, 0, fds, &n, 0);

        if (r == -EPIPE)
                _exit(1); /* the agent went away before it began */
        if (r < 0 || m.type != SHIM_START || n < SHIM_START_CGROUP2)
                give_up(EBADMSG, 125, "read start message");
        shim.spec_fd = fds[SHIM_START_SPEC];
        shim.folder_fd = fds[SHIM_START_FOLDER];
        shim.lock_fd = fds[SHIM_START_LOCK];
        shim.seccomp_fd = fds[SHIM_START_SECCOMP];
        if (m.value & 1 << SHIM_START_CGROUP2 && at < n)
                shim.cgroup2_fd = fds[at++];
        if (m.value & 1 << SHIM_START_OOM && at < n)
                shim.oom_fd = fds[at++];
        for (; at < n && shim.n_tasks < SHIM_HIERARCHIES; at++)
                shim.tasks_fd[shim.n_tasks++] = fds[at];
        if (shim.n_tasks != m.status)
                give_up(EBADMSG, 125, "read start message");
        shim.spec = spec_map(shim.spec_fd);
        if (!shim.spec)
                give_up(EBADMSG, 125, "read spec");
}

static void check(int r, const char *what)
{
        if (r < 0)
                give_up(-r, 125, what);
}

/* Field 22 of /proc/PID/stat; the name in the second may hold anything but ends at the last ')'. */
static uint64_t read_start_time(pid_t pid)
{
        char path[64], text[1024];
        struct text t = {path, 0, sizeof(path)};
        uint64_t v = 0;

        text_add(&t, "/proc/");
        text_add_number(&t, pid);
        text_add(&t, "/stat");
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

        if (fd >= 0)
                close(fd);
        if (n <= 0)
                return 0;
        text[n] = 0;
        char *p = strrchr(text, ')');

        for (int field = 2; p && field < 22; field++)
                p = strchr(p + 1, ' ');
        size_t len = p ? strcspn(p + 1, " ") : 0;

        return p && text_parse_number(p + 1, len, &v) ? v : 0;
}

/* A new file with these bytes: its descriptor. */
static int write_new(const char *name, const char *p, size_t n)
{
        int fd = openat(shim.folder_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                        0600);

        if (fd < 0)
                return -errno;
        errno = 0;
        if (write(fd, p, n) == (ssize_t)n)
                return fd;
        int r = errno ? -errno : -ENOSPC;

        close(fd);
        return r;
}

/* In its full size from the start, so that the end can be written on a disk without room: the
 * record is written over it, and is none before. */
static void make_exit(void)
{
        char blank[EXIT_BYTES];

        memset(blank, ' ', sizeof(blank));
        exit_fd = write_new("exit", blank, sizeof(blank));
        check(exit_fd, "write record of the end");
}

static void write_state(void)
{
        char line[160];
        struct text t = {line, 0, sizeof(line)};

        text_add(&t, "1 ");
        text_add(&t, spec_text(shim.spec, shim.spec->boot_id));
        text_add(&t, " ");
        text_add_number(&t, shim.pid);
        text_add(&t, " ");
        text_add_number(&t, (int64_t)shim.start_time);
        text_add(&t, "\n");
        int r = write_new("state.tmp", line, t.n);

        check(r, "write state");
        close(r);
        r = renameat(shim.folder_fd, "state.tmp", shim.folder_fd, "state");
        check(r < 0 ? -errno : 0, "write state");
}

static void make_pipes(int stdio[3], int ends[2])
{
        int out[2], err[2];

        check(pipe2(out, O_CLOEXEC) < 0 ? -errno : 0, "make pipe");
        check(pipe2(err, O_CLOEXEC) < 0 ? -errno : 0, "make pipe");
        fcntl(out[0], F_SETFL, O_NONBLOCK);
        fcntl(err[0], F_SETFL, O_NONBLOCK);
        stdio[0] = -1; /* of the container's own /dev, once that is made */
        stdio[1] = ends[0] = out[1];
        stdio[2] = ends[1] = err[1];
        shim.out_fd[0] = out[0];
        shim.out_fd[1] = err[0];
}

static void make_container(int sync[2])
{
        int stdio[3], ends[2];
        struct clone_args a = {.flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC |
                                        CLONE_PIDFD,
                               .pidfd = (uint64_t)(uintptr_t)&shim.pidfd,
                               .exit_signal = SIGCHLD};

        check(log_open(), "open log");
        make_exit();
        check(serve_listen(), "listen");
        check(progress_open(), "get memory");
        make_pipes(stdio, ends);
        check(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sync) < 0 ? -errno : 0,
              "make socket");
        if (!(shim.spec->flags & SHIM_HOST_NETWORK))
                a.flags |= CLONE_NEWNET;
        if (shim.cgroup2_fd >= 0) {
                a.flags |= CLONE_INTO_CGROUP;
                a.cgroup = (unsigned)shim.cgroup2_fd;
        }
        long pid = sys_clone3(&a);

        check((int)pid, "make namespaces");
        if (pid == 0) {
                close(sync[0]);
                child_main(sync[1], stdio);
        }
        shim.pid = (pid_t)pid;
        close(sync[1]);
        close(ends[0]);
        close(ends[1]);
        shim.start_time = read_start_time(shim.pid);
        write_state();
}

static void take_terminal(int fd)
{
        if (shim.out_fd[1] < 0) {
                close(fd);
                return;
        }
        close(shim.out_fd[0]);
        close(shim.out_fd[1]);
        shim.out_fd[0] = fd;
        shim.out_fd[1] = -1;
        fcntl(fd, F_SETFL, O_NONBLOCK);
}

static bool is_agent_gone(void)
{
        struct pollfd p = {.fd = SHIM_FD_SOCKET, .events = 0};

        return poll(&p, 1, 0) > 0 && p.revents & (POLLHUP | POLLERR);
}

static void tell_progress(void)
{
        char text[SHIM_TEXT_MAX];
        struct shim_message m = {.type = SHIM_PROGRESS};

        if (!progress_look(text))
                return;
        m.length = (uint32_t)strlen(text);
        message_send(SHIM_FD_SOCKET, &m, text, -1, MSG_DONTWAIT);
}

/* Until the first process has something to say, which may never be. An agent that has gone means
 * that the start is nobody's: it must not go on. */
static void wait_for_child(int sync)
{
        struct pollfd p[] = {{.fd = sync, .events = POLLIN}, {.fd = SHIM_FD_SOCKET}};

        while (!p[0].revents) {
                if (poll(p, 2, PROGRESS_MS) == 0)
                        tell_progress();
                if (p[1].revents)
                        give_up(ECANCELED, 125, "agent has gone");
        }
}

static void see_it_start(int sync)
{
        bool is_ready = false;

        for (;;) {
                struct shim_message m;
                char text[SHIM_TEXT_MAX + 1];
                int fd = -1, n = 1;

                if (!is_ready)
                        wait_for_child(sync);
                int r = message_receive(sync, &m, text, sizeof(text) - 1, &fd, &n, 0);

                if (r == -EPIPE && is_ready)
                        break;
                if (r < 0)
                        give_up(ECANCELED, 125, "first process was killed while being set up");
                text[r] = 0;
                if (m.type == SHIM_FAILED)
                        give_up(m.value, m.status, text);
                if (n == 1) {
                        take_terminal(fd);
                        continue;
                }
                is_ready = true;
                m = (struct shim_message){.type = SHIM_START};
                if (message_send(sync, &m, "", -1, 0) < 0)
                        is_ready = false;
        }
        close(sync);
        progress_close();
}

static void write_exit(const struct shim_message *m)
{
        char line[EXIT_BYTES];
        struct text t = {line, 0, sizeof(line)};

        text_add(&t, "1 ");
        text_add_number(&t, m->status);
        text_add(&t, m->value ? " 1 " : " 0 ");
        text_add_number(&t, m->number);
        text_add(&t, "\n");
        /* Readable first, told next, durable last: who is connected need not wait for the disk, and
         * what is removed at once is not synced at all. */
        bool is_written = pwrite(exit_fd, line, t.n, 0) == (ssize_t)t.n;

        unlinkat(shim.folder_fd, "sock", 0);
        serve_send_all(m);
        if (is_written && !serve_is_forgotten(FORGET_WAIT_MS)) {
                fsync(exit_fd);
                fsync(shim.folder_fd);
        }
}

static void become_supervisor(void)
{
        sigset_t none;

        setsid();
        prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
        signal(SIGPIPE, SIG_IGN);
        signal(SIGHUP, SIG_IGN);
        signal(SIGTERM, SIG_IGN);
        signal(SIGINT, SIG_IGN);
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        umask(0);
        if (chdir("/") < 0)
                _exit(1);
        sys_close_range(SHIM_FD_EXE + 1, ~0u, 0);
        fcntl(SHIM_FD_SOCKET, F_SETFD, FD_CLOEXEC);
        fcntl(SHIM_FD_EXE, F_SETFD, FD_CLOEXEC);
}

int main(int argc, char **argv)
{
        int sync[2];
        struct shim_message m;

        if (argc >= 3 && strcmp(argv[0], "swarm-init") == 0)
                return init_main(argv);
        become_supervisor();
        take_start();
        make_container(sync);
        see_it_start(sync[0]);
        spec_unmap(shim.spec);
        shim.spec = NULL;
        close(SHIM_FD_EXE);
        m = (struct shim_message){
                .type = SHIM_STARTED, .pid = shim.pid, .number = (int64_t)shim.start_time};
        if (message_send(SHIM_FD_SOCKET, &m, "", shim.pidfd, MSG_DONTWAIT) < 0 && is_agent_gone())
                close(SHIM_FD_SOCKET), serve_run(-1, &m);
        else
                serve_run(SHIM_FD_SOCKET, &m);
        write_exit(&m);
        return 0;
}
