/*
 * What is with a container: asked for each that an earlier agent left, and again for one whose
 * supervisor is not heard any more. A record of its end is its end; a start of an earlier boot
 * ended with the host; one without state never began; one whose supervisor is dead is ended by its
 * cgroup (whose name no other process can have). Only the lock proves that a supervisor is dead: it
 * holds it as long as it lives, and nobody else does. Whatever else goes wrong (no descriptors, a
 * disk that fails, a supervisor that is slow) says nothing of the container: it is left as it is,
 * and looked at again. No decision hangs on a process number.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>

#include "agent/runtime/runtime_internal.h"

#define UNFINISHED_WAIT_MS 2000
#define ANSWERS_WAIT_MS    2000 /* for all supervisors together */
#define LOOK_FIRST_MS      2
#define LOOK_LAST_MS       5000
#define LOOK_DOUBLINGS_MAX 12
#define QUIET_LOOKS        6 /* no word in the log before: a supervisor may just be ending */

enum verdict { IS_RUNNING, IS_ENDED, IS_UNFINISHED };

struct recovery {
        struct runtime *runtime;
        runtime_found_fn *fn;
        void *arg;
        int64_t answers_until_ms; /* mono */
};

/* --- one look ------------------------------------------------------------------------------------
 */

int container_is_orphan(struct container *c)
{
        _cleanup_close_ int fd = openat(c->folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (fd < 0)
                return -errno;
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
                return 1;
        return errno == EWOULDBLOCK ? 0 : -errno;
}

/* What is not there, or was cut short with its host, is none: 0. Else -errno, or 1. */
static int read_exit(struct container *c, struct container_exit *ret)
{
        int r = exit_read(c->folder_fd, ret);

        return r == 0 ? 1 : r == -ENOENT || r == -EBADMSG || r == -EFBIG ? 0 : r;
}

static int read_state(struct container *c, bool *ret_is_here)
{
        _cleanup_buf_ struct buf b = {0};
        char boot[48];
        int r = io_read_file(c->folder_fd, "state", 256, &b);

        if (r < 0)
                return r == -ENOENT || r == -EFBIG ? 0 : r;
        if (sscanf(buf_str(&b), "1 %47s", boot) != 1)
                return 0;
        *ret_is_here = str_is_equal(boot, c->runtime->boot_id);
        return 1;
}

/* Without its supervisor a container has nobody to write its log or tell of its end: it is ended,
 * unless it has ended by itself, and the status is what the kernel remembers. */
static void end_lost(struct container *c, struct container_exit *e)
{
        struct pollfd p = {.fd = c->pidfd, .events = POLLIN};

        e->reason = "supervisor was lost";
        e->is_oom = cgroup_was_oom(&c->runtime->cgroups, c->name);
        if (c->pidfd >= 0 && poll(&p, 1, 0) > 0) {
                int status = pidfd_exit_status(c->pidfd);

                if (status >= 0) {
                        e->status = status;
                        e->reason = NULL;
                }
        }
        cgroup_kill(&c->runtime->cgroups, c->name);
}

/* A verdict, ret set with IS_ENDED; or -errno: nothing is known now. IS_RUNNING: connected, and its
 * supervisor will answer. */
static int look(struct container *c, struct container_exit *ret)
{
        bool is_here = false;
        int r = c->folder_fd >= 0 ? 0 : container_open_folder(c);

        if (r < 0)
                return r;
        *ret = (struct container_exit){.status = -1, .time_ms = time_now().wall_ms};
        r = read_exit(c, ret);
        if (r != 0)
                return r < 0 ? r : IS_ENDED;
        r = read_state(c, &is_here);
        if (r <= 0)
                return r < 0 ? r : IS_UNFINISHED;
        if (!is_here) {
                ret->reason = "host was restarted";
                return IS_ENDED;
        }
        r = container_is_orphan(c);
        if (r < 0)
                return r;
        if (r == 0) {
                r = container_connect(c);
                return r < 0 ? r : IS_RUNNING;
        }
        r = read_exit(c, ret); /* it may have been its last act, just now */
        if (r == 0)
                end_lost(c, ret);
        return r < 0 ? r : IS_ENDED;
}

/* --- and again -----------------------------------------------------------------------------------
 */

static void look_again(struct container *c)
{
        struct container_exit e;
        int r = look(c, &e);

        if (r == IS_RUNNING)
                return;
        if (r < 0) {
                container_look_later(c, r);
                return;
        }
        if (r == IS_UNFINISHED) {
                e.reason = "its start did not come to an end";
                cgroup_kill(&c->runtime->cgroups, c->name);
        }
        container_ended(c, &e);
}

static void on_look(void *arg)
{
        struct container *c = arg;

        if (c->phase != PHASE_RUNNING)
                return;
        if (c->socket < 0)
                look_again(c);
        else if (c->pidfd < 0 && container_greet(c) < 0)
                container_look_later(c, -EAGAIN);
}

void container_look_later(struct container *c, int error)
{
        int64_t wait_ms = LOOK_FIRST_MS << MIN(c->looks, LOOK_DOUBLINGS_MAX);

        if (c->looks == QUIET_LOOKS)
                log_warn("container cannot be looked after now, and is left as it is: task=%s "
                         "error=%s",
                         c->title, err_name(error));
        if (c->looks <= MAX(QUIET_LOOKS, LOOK_DOUBLINGS_MAX))
                c->looks++;
        if (!c->look)
                c->look = loop_timer_new(c->runtime->loop, on_look, c);
        loop_timer_set(c->look, MIN(wait_ms, LOOK_LAST_MS));
}

/* --- taking over ---------------------------------------------------------------------------------
 */

/* A supervisor whose agent has gone gives up before its program runs: waited for. */
static void wait_for_supervisor(struct container *c)
{
        struct timespec pause = {.tv_nsec = 5000000};

        for (int i = 0; i < UNFINISHED_WAIT_MS / 5 && container_is_orphan(c) == 0; i++)
                nanosleep(&pause, NULL);
}

static void found_ended(struct recovery *x, struct container *c, const struct container_exit *e)
{
        c->phase = PHASE_ENDED;
        c->exit = *e;
        container_drop_cgroup(c);
        x->fn(x->arg, c->id, false, 0, e);
}

static void discard_unfinished(struct container *c)
{
        wait_for_supervisor(c);
        cgroup_kill(&c->runtime->cgroups, c->name);
        c->phase = PHASE_ENDED;
        c->is_removing = true;
        container_discard(c);
}

/* The supervisor's answer is there at once, mostly. One that is late comes over the loop. */
static int hear_answer(struct recovery *x, struct container *c)
{
        int64_t left_ms = MAX(x->answers_until_ms - time_now().mono_ms, 0);
        struct pollfd p = {.fd = c->socket, .events = POLLIN};
        int r = poll(&p, 1, (int)left_ms) > 0 ? container_hear_greeting(c) : 0;

        return r < 0 ? r : IS_RUNNING;
}

/* One that is just ending has no socket any more, and its lock still: waited for. */
static int look_well(struct recovery *x, struct container *c, struct container_exit *ret)
{
        struct timespec pause = {.tv_nsec = 2000000};

        for (;;) {
                int r = look(c, ret);

                if (r == IS_RUNNING)
                        r = hear_answer(x, c);
                bool is_ending = r == -ECONNREFUSED || r == -ENOENT || r == -EPIPE;
                if (!is_ending || time_now().mono_ms >= x->answers_until_ms)
                        return r;
                nanosleep(&pause, NULL);
        }
}

static void recover_one(struct recovery *x, struct container *c)
{
        struct container_exit e;
        int r = look_well(x, c, &e);

        if (r == IS_ENDED) {
                found_ended(x, c, &e);
        } else if (r == IS_UNFINISHED) {
                discard_unfinished(c);
        } else {
                c->phase = PHASE_RUNNING;
                if (r < 0)
                        container_look_later(c, r);
                container_resume_stop(c);
                x->fn(x->arg, c->id, true, c->pid, NULL);
        }
}

/* A cgroup without a folder: the agent died between making one and the other. */
static void sweep_cgroup(void *arg, const char *name)
{
        struct runtime *r = arg;
        struct id id;

        if (id_parse(name, &id) < 0 || map_get_id(&r->containers, id))
                return;
        cgroup_kill(&r->cgroups, name);
        cgroup_remove(&r->cgroups, name);
}

static void recover_entry(struct recovery *x, const char *name)
{
        struct id id;

        if (id_parse(name, &id) < 0 || map_get_id(&x->runtime->containers, id))
                return;
        struct container *c = container_new(x->runtime, id);

        c->title = xstrdup(c->name);
        int r = container_open_folder(c);

        if (r == -ENOENT || r == -ENOTDIR || r == -ELOOP)
                container_free(c); /* no container at all */
        else
                recover_one(x, c);
}

/* Cgroups are swept only when all folders have been seen. */
int runtime_recover(struct runtime *r, runtime_found_fn *fn, void *arg)
{
        struct recovery x = {r, fn, arg, time_now().mono_ms + ANSWERS_WAIT_MS};
        int fd = openat(r->containers_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *dir = fd < 0 ? NULL : fdopendir(fd);
        struct dirent *e;
        int result = dir ? 0 : -errno;

        if (!dir && fd >= 0)
                close(fd);
        while (dir && (errno = 0, e = readdir(dir)))
                recover_entry(&x, e->d_name);
        if (dir) {
                result = -errno;
                closedir(dir);
        }
        if (result == 0)
                cgroups_each(&r->cgroups, sweep_cgroup, r);
        return result;
}
