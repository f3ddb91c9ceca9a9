/*
 * Taking over what an earlier agent left. A folder with an exit record is an ended container; one
 * with a supervisor that answers, a running one; one of an earlier boot ended with the host; one
 * whose supervisor is dead is ended by its cgroup (whose name no other process can have). One
 * without state never began. No decision hangs on a process number.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>

#include "agent/runtime/runtime_internal.h"

#define UNFINISHED_WAIT_MS 2000

struct recovery {
        struct runtime *runtime;
        runtime_found_fn *fn;
        void *arg;
};

/* False while a supervisor lives: it holds the lock, and nobody else can. */
static bool is_supervisor_gone(struct container *c)
{
        _cleanup_close_ int fd = openat(c->folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        return fd < 0 || flock(fd, LOCK_EX | LOCK_NB) == 0;
}

/* A supervisor whose agent has gone gives up before its program runs: waited for. */
static void wait_for_supervisor(struct container *c)
{
        struct timespec pause = {.tv_nsec = 5000000};

        for (int i = 0; i < UNFINISHED_WAIT_MS / 5 && !is_supervisor_gone(c); i++)
                nanosleep(&pause, NULL);
}

static bool is_of_this_boot(struct container *c, bool *ret_has_state)
{
        _cleanup_buf_ struct buf b = {0};
        char boot[48] = "";

        *ret_has_state = io_read_file(c->folder_fd, "state", 256, &b) == 0 &&
                         sscanf(buf_str(&b), "1 %47s", boot) == 1;
        return str_is_equal(boot, c->runtime->boot_id);
}

static void found_ended(struct recovery *x, struct container *c, const struct container_exit *e)
{
        c->phase = PHASE_ENDED;
        c->exit = *e;
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

static void recover_one(struct recovery *x, struct container *c)
{
        struct container_exit e = {.status = -1, .time_ms = time_now().wall_ms};
        bool has_state, is_here = is_of_this_boot(c, &has_state);

        if (exit_read(c->folder_fd, &e) == 0) {
                found_ended(x, c, &e);
        } else if (!has_state) {
                discard_unfinished(c);
        } else if (!is_here) {
                e.reason = "host was restarted";
                found_ended(x, c, &e);
        } else if (container_connect(c) == 0) {
                c->phase = PHASE_RUNNING;
                x->fn(x->arg, c->id, true, c->pid, NULL);
        } else {
                wait_for_supervisor(c); /* it may be writing its last record */
                if (exit_read(c->folder_fd, &e) < 0) {
                        e.reason = "supervisor was lost";
                        e.is_oom = cgroup_was_oom(&c->runtime->cgroups, c->name);
                        cgroup_kill(&c->runtime->cgroups, c->name);
                }
                found_ended(x, c, &e);
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

int runtime_recover(struct runtime *r, runtime_found_fn *fn, void *arg)
{
        struct recovery x = {r, fn, arg};
        int fd = openat(r->containers_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *dir = fd < 0 ? NULL : fdopendir(fd);
        struct dirent *e;
        struct id id;

        if (!dir)
                return -errno;
        while ((e = readdir(dir))) {
                if (id_parse(e->d_name, &id) < 0 || map_get_id(&r->containers, id))
                        continue;
                struct container *c = container_new(r, id);

                c->title = xstrdup(c->name);
                c->hostname = xstrdup("");
                if (container_open_folder(c) < 0)
                        container_free(c);
                else
                        recover_one(&x, c);
        }
        closedir(dir);
        cgroups_each(&r->cgroups, sweep_cgroup, r);
        return 0;
}
