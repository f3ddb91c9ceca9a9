/*
 * The end of a container that was asked for: the stop signal, and by force what is left after its
 * grace. When that is, and which signal was not delivered yet, is kept beside the container (file
 * "stop": "1 <mono ms> <signal, 0: delivered>"), so that an agent that takes it over neither sends
 * the signal again nor waits anew. Where that cannot be written (a full disk), this agent goes on
 * all the same, and the next one is asked for it anew.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/runtime/runtime_internal.h"

#define STOP_TEXT_MAX 64

static void write_stop(const struct container *c)
{
        char text[STOP_TEXT_MAX];
        int n = snprintf(text, sizeof(text), "1 %" PRId64 " %d\n", c->kill_at_ms, c->owed_signal);
        int flags = O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC;
        _cleanup_close_ int fd = openat(c->folder_fd, "stop.tmp", flags, 0600);
        int r = fd < 0 ? -errno : io_write_all(fd, text, (size_t)n);

        if (r == 0 && renameat(c->folder_fd, "stop.tmp", c->folder_fd, "stop") < 0)
                r = -errno;
        if (r < 0)
                log_warn("a stop is not kept for a later agent: task=%s error=%s", c->title,
                         err_name(r));
}

void container_send_owed(struct container *c)
{
        if (!c->owed_signal || c->pidfd < 0)
                return;
        syscall(SYS_pidfd_send_signal, c->pidfd, c->owed_signal, NULL, 0);
        c->owed_signal = 0;
        if (c->grace)
                write_stop(c);
}

static void on_grace_over(void *arg)
{
        struct container *c = arg;

        log_info("container killed after its grace period task=%s", c->title);
        runtime_kill(c->runtime, c->id);
}

static void wait_for_grace(struct container *c, int64_t kill_at_ms)
{
        c->kill_at_ms = kill_at_ms;
        c->grace = loop_timer_new(c->runtime->loop, on_grace_over, c);
        loop_timer_set(c->grace, MAX(kill_at_ms - time_now().mono_ms, 0));
}

int runtime_stop(struct runtime *r, struct id id, int signum, int64_t grace_ms)
{
        struct container *c = map_get_id(&r->containers, id);
        int64_t now_ms = time_now().mono_ms;

        if (!c || c->phase != PHASE_RUNNING)
                return -ESRCH;
        if (c->grace)
                return 0;
        wait_for_grace(c, now_ms + MIN(grace_ms, TIME_NEVER - 1 - now_ms));
        if (c->owed_signal != SIGKILL)
                c->owed_signal = signum;
        if (c->pidfd >= 0)
                container_send_owed(c);
        else
                write_stop(c);
        return 0;
}

void container_resume_stop(struct container *c)
{
        _cleanup_buf_ struct buf b = {0};
        int64_t kill_at_ms;
        int signum;

        if (c->folder_fd < 0 || io_read_file(c->folder_fd, "stop", STOP_TEXT_MAX, &b) < 0 ||
            sscanf(buf_str(&b), "1 %" SCNd64 " %d", &kill_at_ms, &signum) != 2 || signum < 0 ||
            signum > SIGRTMAX)
                return;
        wait_for_grace(c, kill_at_ms);
        c->owed_signal = signum;
        container_send_owed(c);
}

bool runtime_is_stopping(struct runtime *r, struct id id)
{
        const struct container *c = map_get_id(&r->containers, id);

        return c && c->grace;
}

int runtime_kill(struct runtime *r, struct id id)
{
        struct container *c = map_get_id(&r->containers, id);

        if (!c || c->phase != PHASE_RUNNING)
                return -ESRCH;
        cgroup_kill(&r->cgroups, c->name);
        c->owed_signal = SIGKILL;
        container_send_owed(c);
        container_await_end(c);
        return 0;
}
