/*
 * Taking a container away: its cgroup as soon as nothing lives there, its folder by a rename into
 * the trash, which a thread empties, one folder after another. The same for an ended container and
 * for a start that failed.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "agent/runtime/runtime_internal.h"

#define RETRY_FIRST_MS 1
#define RETRY_LAST_MS  100
#define RETRIES_MAX    600
/* After some 2.6 seconds a start that failed is told, whatever is left of it. */
#define RETRIES_UNTOLD_MAX 55
/* The wait doubles after every fifth attempt, so often. */
#define RETRY_DOUBLINGS_MAX 7

struct trash_entry {
        struct list link;
        char *name;
};

/* The one that is being deleted. */
struct trash_job {
        struct runtime *runtime; /* NULL: closed meanwhile, and trash_fd is ours */
        int trash_fd;
        char *name;
};

static void trash_next(struct runtime *r);

static void delete_entry(void *arg)
{
        struct trash_job *j = arg;
        int r = io_remove_tree(j->trash_fd, j->name);

        if (r < 0)
                log_warn("trash: cannot delete entry=%s error=%s", j->name, err_name(r));
}

static void on_deleted(void *arg)
{
        struct trash_job *j = arg;
        struct runtime *r = j->runtime;

        if (!r)
                close(j->trash_fd);
        free(j->name);
        free(j);
        if (!r)
                return;
        r->trash_job = NULL;
        trash_next(r);
}

/* One at a time: the loop's few threads have other things to do, too. */
static void trash_next(struct runtime *r)
{
        struct list *l = r->trash_job ? NULL : list_pop_front(&r->trash);

        if (!l)
                return;
        struct trash_entry *e = LIST_ITEM(l, struct trash_entry, link);
        struct trash_job *j = xnew(struct trash_job);

        *j = (struct trash_job){r, r->trash_fd, e->name};
        free(e);
        r->trash_job = j;
        loop_work(r->loop, delete_entry, on_deleted, j);
}

static void trash_put(struct runtime *r, char *name)
{
        struct trash_entry *e = xnew(struct trash_entry);

        e->name = name;
        list_push_back(&r->trash, &e->link);
        trash_next(r);
}

/* The job that is under way goes on; the rest is for the next agent. */
void trash_close(struct runtime *r)
{
        struct list *l;

        while ((l = list_pop_front(&r->trash))) {
                struct trash_entry *e = LIST_ITEM(l, struct trash_entry, link);

                free(e->name);
                free(e);
        }
        if (r->trash_job) {
                r->trash_job->runtime = NULL;
                r->trash_fd = -1;
        }
}

void trash_sweep(struct runtime *r)
{
        int fd = openat(r->trash_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *dir = fd < 0 ? NULL : fdopendir(fd);
        struct dirent *e;

        while (dir && (e = readdir(dir)))
                if (e->d_name[0] != '.')
                        trash_put(r, xstrdup(e->d_name));
        if (dir)
                closedir(dir);
}

/* --- containers ----------------------------------------------------------------------------------
 */
static int64_t retry_wait_ms(int retries)
{
        return MIN(RETRY_FIRST_MS << MIN(retries / 5, RETRY_DOUBLINGS_MAX), RETRY_LAST_MS);
}

/* Never inside the call that asked for the start. */
static void tell_failure(struct container *c)
{
        runtime_started_fn *started = c->failure.code ? STEAL_PTR(c->started) : NULL;

        answer_later(c->runtime, (struct answer){.id = c->id,
                                                 .started = started,
                                                 .arg = c->started_arg,
                                                 .err = c->failure});
}

/* It is out of sight. */
static void finish(struct container *c)
{
        struct runtime *r = c->runtime;

        tell_failure(c);
        answer_later(r, (struct answer){.removed = c->removed, .arg = c->removed_arg});
        container_free(c);
}

static void on_retry(void *arg)
{
        struct container *c = arg;

        if (c->is_removing)
                container_discard(c);
        else
                container_drop_cgroup(c);
}

/* False: something lives there yet, and on_retry comes. */
static bool is_cgroup_gone(struct container *c)
{
        struct runtime *r = c->runtime;
        int busy = cgroup_remove(&r->cgroups, c->name);

        if (busy == 0)
                return true;
        if (c->retries >= RETRIES_MAX) {
                log_warn("cgroup does not empty: task=%s error=%s", c->title, err_name(busy));
                return true;
        }
        if (c->retries++ % 10 == 5)
                cgroup_kill(&r->cgroups, c->name);
        if (c->retries == RETRIES_UNTOLD_MAX && c->failure.code) {
                log_warn("a process of a start that failed cannot be killed yet: task=%s",
                         c->title);
                tell_failure(c);
        }
        if (!c->retry)
                c->retry = loop_timer_new(r->loop, on_retry, c);
        loop_timer_set(c->retry, retry_wait_ms(c->retries));
        return false;
}

void container_drop_cgroup(struct container *c)
{
        is_cgroup_gone(c);
}

void container_discard(struct container *c)
{
        struct runtime *r = c->runtime;

        if (!is_cgroup_gone(c))
                return;
        char *name = xasprintf("%s-%llu-%d", c->name, (unsigned long long)r->trash_count++,
                               (int)getpid());

        if (renameat(r->containers_fd, c->name, r->trash_fd, name) == 0) {
                trash_put(r, name);
        } else {
                if (errno != ENOENT)
                        log_warn("cannot remove folder: task=%s error=%s", c->title,
                                 err_name(errno));
                free(name);
        }
        finish(c);
}

void container_fail(struct container *c, const struct err *err)
{
        c->failure = *err;
        err_wrap(&c->failure, "task %s", c->title);
        container_unwatch(c);
        list_remove(&c->queue_link);
        if (c->start && c->start->supervisor >= 0)
                syscall(SYS_pidfd_send_signal, c->start->supervisor, SIGKILL, NULL, 0);
        start_done(c);
        cgroup_kill(&c->runtime->cgroups, c->name);
        c->is_removing = true;
        container_discard(c);
}

void runtime_remove(struct runtime *r, struct id id, loop_fn *done, void *arg)
{
        struct container *c = map_get_id(&r->containers, id);

        if (!c || c->is_removing || c->phase != PHASE_ENDED) {
                /* Nothing to do: told later all the same. */
                answer_later(r, (struct answer){.removed = done, .arg = arg});
                return;
        }
        c->is_removing = true;
        c->retries = 0;
        c->removed = done;
        c->removed_arg = arg;
        struct shim_message forget = {.type = SHIM_FORGET};

        if (c->socket >= 0)
                message_put(c->socket, &forget, "", NULL, 0);
        container_unwatch(c);
        container_discard(c);
}
