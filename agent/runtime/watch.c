/* What supervisors say, and their loss. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "agent/runtime/runtime_internal.h"

#define HELLO_WAIT_MS 1000
#define TEXT_MAX      (SHIM_EXEC_OUTPUT + SHIM_TEXT_MAX)

/* Linux 6.15; in no header that is packaged yet. */
struct pidfd_info_v0 {
        uint64_t mask, cgroupid;
        uint32_t ids[11];
        int32_t exit_code;
};
#define PIDFD_GET_INFO_V0  _IOWR(0xFF, 11, struct pidfd_info_v0)
#define PIDFD_INFO_EXIT_V0 (1u << 3)

int pidfd_exit_status(int pidfd)
{
        struct pidfd_info_v0 info = {.mask = PIDFD_INFO_EXIT_V0};

        if (ioctl(pidfd, PIDFD_GET_INFO_V0, &info) < 0 || !(info.mask & PIDFD_INFO_EXIT_V0))
                return -ENOSYS;
        return WIFEXITED(info.exit_code) ? WEXITSTATUS(info.exit_code)
                                         : 128 + WTERMSIG(info.exit_code);
}

/* The record "1 STATUS OOM TIME\n" that the supervisor leaves. */
int exit_read(int folder_fd, struct container_exit *ret)
{
        _cleanup_buf_ struct buf b = {0};
        int status, oom;
        long long time_ms;
        int r = io_read_file(folder_fd, "exit", 256, &b);

        if (r < 0)
                return r;
        if (sscanf(buf_str(&b), "1 %d %d %lld", &status, &oom, &time_ms) != 3 || status < 0 ||
            status > 255)
                return -EBADMSG;
        *ret = (struct container_exit){.status = status, .is_oom = oom != 0, .time_ms = time_ms};
        return 0;
}

void container_ended(struct container *c, const struct container_exit *e)
{
        struct runtime *r = c->runtime;

        if (c->phase == PHASE_ENDED)
                return;
        c->phase = PHASE_ENDED;
        c->exit = *e;
        execs_fail(c, -ESRCH);
        struct container_exit copy = *e;
        struct id id = c->id;

        if (r->events.on_exit)
                r->events.on_exit(r->events.arg, id, &copy);
}

void container_unwatch(struct container *c)
{
        loop_fd_free(c->watch);
        c->watch = NULL;
        if (c->socket >= 0)
                close(c->socket);
        c->socket = -1;
}

static void on_started(struct container *c, const struct shim_message *m, int pidfd)
{
        struct runtime *r = c->runtime;

        if (c->phase != PHASE_STARTING) {
                if (pidfd >= 0)
                        close(pidfd);
                return;
        }
        c->phase = PHASE_RUNNING;
        c->pid = m->pid;
        c->pidfd = pidfd;
        r->n_starting--;
        runtime_soon(r);
        c->started(c->started_arg, c->id, c->pid, NULL);
}

static void on_failed(struct container *c, const struct shim_message *m, const char *text)
{
        struct err err = {0};

        if (c->phase != PHASE_STARTING)
                return;
        if (cgroup_was_oom(&c->runtime->cgroups, c->name))
                err_set(&err, ENOMEM, "killed while being set up: memory limit is too low");
        else
                err_set(&err, m->value ? m->value : EIO, "%s: %s", text, err_name(m->value));
        container_fail(c, &err);
}

static void on_message(struct container *c, const struct shim_message *m, const char *text, int fd)
{
        if (m->type == SHIM_STARTED) {
                on_started(c, m, fd);
                return;
        }
        if (fd >= 0)
                close(fd);
        if (m->type == SHIM_FAILED) {
                on_failed(c, m, text);
        } else if (m->type == SHIM_EXITED) {
                struct container_exit e = {
                        .status = m->status, .is_oom = m->value != 0, .time_ms = m->number};
                container_ended(c, &e);
        } else if (m->type == SHIM_RESULT) {
                exec_answered(c, m, text);
        }
}

/* Without its supervisor a container has nobody to write its log or tell of its end: it is ended,
 * unless it has ended by itself, and the status is what the kernel remembers. */
static void on_shim_dead(struct container *c)
{
        struct container_exit e;
        struct pollfd p = {.fd = c->pidfd, .events = POLLIN};

        if (exit_read(c->folder_fd, &e) == 0) {
                container_ended(c, &e);
                return;
        }
        e = (struct container_exit){
                .status = -1, .time_ms = time_now().wall_ms, .reason = "supervisor was lost"};
        e.is_oom = cgroup_was_oom(&c->runtime->cgroups, c->name);
        if (c->pidfd >= 0 && poll(&p, 1, 0) > 0) {
                int status = pidfd_exit_status(c->pidfd);

                if (status >= 0) {
                        e.status = status;
                        e.reason = NULL;
                }
        }
        cgroup_kill(&c->runtime->cgroups, c->name);
        container_ended(c, &e);
}

static void on_lost(struct container *c)
{
        struct err err = {0};

        container_unwatch(c);
        switch (c->phase) {
        case PHASE_STARTING:
                err_set(&err, EIO, "supervisor ended unexpectedly");
                container_fail(c, &err);
                break;
        case PHASE_RUNNING:
                execs_fail(c, -EIO);
                /* Either it has dropped us, being slow, or it is gone. */
                if (container_connect(c) < 0)
                        on_shim_dead(c);
                break;
        default: break;
        }
}

static void on_readable(void *arg, int events)
{
        static char text[TEXT_MAX + 1];
        struct container *c = arg;
        struct shim_message m;
        int fd;
        int r = message_take(c->socket, &m, text, TEXT_MAX, &fd);

        (void)events;
        if (r == -EAGAIN)
                return;
        if (r < 0) {
                if (fd >= 0)
                        close(fd);
                on_lost(c);
                return;
        }
        text[r] = 0;
        on_message(c, &m, text, fd);
}

void container_watch(struct container *c, int fd)
{
        c->socket = fd;
        if (loop_fd_new(c->runtime->loop, fd, LOOP_READ, on_readable, c, &c->watch) < 0)
                c->watch = NULL;
}

static int connect_to(struct container *c)
{
        struct sockaddr_un a = {.sun_family = AF_UNIX};
        struct timeval wait = {.tv_sec = HELLO_WAIT_MS / 1000};
        _cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

        snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/sock", c->folder_fd);
        if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) < 0 ||
            connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
                return -errno;
        return STEAL_FD(fd);
}

int container_connect(struct container *c)
{
        struct shim_message m = {.type = SHIM_HELLO};
        char text[SHIM_TEXT_MAX];
        _cleanup_close_ int fd = connect_to(c);
        int pidfd = -1;
        int r = fd < 0 ? fd : message_put(fd, &m, "", NULL, 0);

        if (r >= 0)
                r = message_take(fd, &m, text, sizeof(text), &pidfd);
        if (r >= 0 && (m.type != SHIM_HELLO || pidfd < 0))
                r = -EBADMSG;
        if (r < 0) {
                if (pidfd >= 0)
                        close(pidfd);
                return r;
        }
        if (c->pidfd >= 0)
                close(c->pidfd);
        c->pidfd = pidfd;
        c->pid = m.pid;
        fcntl(fd, F_SETFL, O_NONBLOCK);
        container_watch(c, STEAL_FD(fd));
        return 0;
}
