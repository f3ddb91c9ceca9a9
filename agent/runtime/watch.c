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
#include "shared/model/protocol.h"

#define TEXT_MAX (SHIM_EXEC_OUTPUT + SHIM_TEXT_MAX)

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

/* The record "1 STATUS OOM TIME\n" that the supervisor leaves, with blanks behind it; all blanks
 * before the end. */
int exit_read(int folder_fd, struct container_exit *ret)
{
        _cleanup_buf_ struct buf b = {0};
        int status, oom, n = 0;
        long long time_ms;
        int r = io_read_file(folder_fd, "exit", 256, &b);

        if (r < 0)
                return r;
        if (sscanf(buf_str(&b), "1 %d %d %lld%n", &status, &oom, &time_ms, &n) != 3 ||
            buf_str(&b)[n] != '\n' || status < 0 || status > 255)
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
        loop_timer_free(STEAL_PTR(c->grace));
        container_drop_cgroup(c);
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

/* The descriptor is lost where there is no room for it: asked for once more. */
static void on_greeted(struct container *c, const struct shim_message *m, int pidfd)
{
        c->pid = m->pid;
        if (pidfd < 0) {
                if (c->pidfd < 0)
                        container_look_later(c, -EMFILE);
                return;
        }
        if (c->pidfd >= 0)
                close(c->pidfd);
        c->pidfd = pidfd;
        c->looks = 0;
        container_send_owed(c);
}

/* An older agent may find a supervisor of a newer version that no longer speaks with it. */
static bool speaks(struct container *c, const struct shim_message *m)
{
        struct protocol_end supervisor = {"its supervisor",
                                          protocol_told((uint32_t)m->value, m->version)};
        struct protocol_end agent = {"this agent", {SHIM_OLDEST, SHIM_VERSION}};
        struct err err = {0};

        if (protocol_agree("container", &supervisor, &agent, &err) > 0)
                return true;
        if (!c->is_foreign)
                log_warn("container runs on, and cannot be looked after: task=%s: %s", c->title,
                         err.text);
        c->is_foreign = true;
        return false;
}

/* Greeted. -EPROTO: nothing that it says would be understood. */
static int on_hello(struct container *c, const struct shim_message *m, int pidfd)
{
        if (speaks(c, m)) {
                on_greeted(c, m, pidfd);
                return 0;
        }
        if (pidfd >= 0)
                close(pidfd);
        container_unwatch(c);
        return -EPROTO;
}

static void on_started(struct container *c, const struct shim_message *m, int pidfd)
{
        if (c->phase != PHASE_STARTING) {
                if (pidfd >= 0)
                        close(pidfd);
                return;
        }
        c->phase = PHASE_RUNNING;
        on_greeted(c, m, pidfd);
        start_done(c);
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
                start_failure(text, m->value, &err);
        container_fail(c, &err);
}

static void on_message(struct container *c, const struct shim_message *m, const char *text, int fd)
{
        if (m->type == SHIM_STARTED) {
                on_started(c, m, fd);
                return;
        }
        if (m->type == SHIM_HELLO && c->phase == PHASE_RUNNING) {
                if (on_hello(c, m, fd) < 0)
                        container_look_later(c, -EPROTO);
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
        } else if (m->type == SHIM_PROGRESS) {
                start_moved(c, text);
        } else if (m->type == SHIM_RESULT) {
                exec_answered(c, m, text);
        }
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
                /* Either it has dropped us, being slow, or it is gone. */
                execs_fail(c, -ENOTCONN);
                container_look_later(c, -EPIPE);
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

int container_watch(struct container *c, int fd)
{
        int r = loop_fd_new(c->runtime->loop, fd, LOOP_READ, on_readable, c, &c->watch);

        if (r < 0) {
                c->watch = NULL;
                close(fd);
                return r;
        }
        c->socket = fd;
        return 0;
}

static int connect_to(struct container *c)
{
        struct sockaddr_un a = {.sun_family = AF_UNIX};
        _cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/sock", c->folder_fd);
        if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
                return -errno;
        return STEAL_FD(fd);
}

/* --- supervisors that say nothing ----------------------------------------------------------------
 */

/* The process at the other end of a connection; of the pair that we made ourselves, it is us. */
static pid_t peer_of(int fd)
{
        struct ucred who = {.pid = -1};
        socklen_t n = sizeof(who);

        return fd >= 0 && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) == 0 ? who.pid : -1;
}

/* Whoever listens at the socket. That a supervisor still lives once there is a descriptor for the
 * process of that number proves that the descriptor is the supervisor's. */
static int kill_supervisor(struct container *c)
{
        pid_t pid = peer_of(c->socket);
        _cleanup_close_ int fd = pid > 0 && pid != getpid() ? -1 : connect_to(c);

        if (fd >= 0)
                pid = peer_of(fd);
        if (pid <= 0 || pid == getpid())
                return -ESRCH;
        _cleanup_close_ int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);

        if (pidfd < 0)
                return -errno;
        int r = container_is_orphan(c);

        if (r != 0)
                return r < 0 ? r : -ESRCH;
        return syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0) < 0 ? -errno : 0;
}

/* Its processes are gone and its supervisor does not say so: it is stopped, or stuck. Its own end
 * is seen at its socket, and then it is looked at what is left. */
static void on_no_answer(void *arg)
{
        struct container *c = arg;
        struct runtime *r = c->runtime;

        if (c->phase != PHASE_RUNNING)
                return;
        loop_timer_set(c->patience, r->kill_answer_ms);
        if (!cgroup_is_empty(&r->cgroups, c->name)) {
                log_warn("container does not die: task=%s", c->title);
                cgroup_kill(&r->cgroups, c->name);
                return;
        }
        int e = kill_supervisor(c);

        log_warn("supervisor does not tell of its container's end, and is killed: task=%s "
                 "result=%s",
                 c->title, e < 0 ? err_name(e) : "done");
        if (e == 0 && c->socket < 0)
                container_look_later(c, -EPIPE);
}

void container_await_end(struct container *c)
{
        if (c->patience)
                return;
        c->patience = loop_timer_new(c->runtime->loop, on_no_answer, c);
        loop_timer_set(c->patience, c->runtime->kill_answer_ms);
}

int container_greet(struct container *c)
{
        const struct shim_message m = {.type = SHIM_HELLO, .value = SHIM_OLDEST};

        return message_put(c->socket, &m, "", NULL, 0);
}

int container_connect(struct container *c)
{
        int fd = connect_to(c);
        int r = fd < 0 ? fd : container_watch(c, fd);

        if (r == 0)
                r = container_greet(c);
        if (r < 0)
                container_unwatch(c);
        return r;
}

int container_hear_greeting(struct container *c)
{
        struct shim_message m;
        char text[SHIM_TEXT_MAX];
        int fd = -1;
        int r = message_take(c->socket, &m, text, sizeof(text), &fd);

        if (r >= 0 && m.type == SHIM_HELLO)
                return on_hello(c, &m, fd);
        if (fd >= 0)
                close(fd);
        container_unwatch(c);
        return r < 0 ? r : -EPIPE;
}
