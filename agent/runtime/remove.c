/*
 * Taking a container away: its cgroup as soon as nothing lives there, its folder by a rename into
 * the trash, which a thread empties. The same for an ended container and for a start that failed.
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
/* The wait doubles after every fifth attempt, so often. */
#define RETRY_DOUBLINGS_MAX 7

struct trash_work {
        struct list link;
        struct container *container; /* to be told of, NULL: nobody */
        int trash_fd;
        char *name;
};

static void delete_entry(void *arg)
{
        struct trash_work *w = arg;
        int r = io_remove_tree(w->trash_fd, w->name);

        if (r < 0)
                log_warn("trash: cannot delete entry=%s error=%s", w->name, err_name(r));
}

static void finish(struct container *c)
{
        struct runtime *r = c->runtime;
        runtime_started_fn *started = c->failure.code ? c->started : NULL;
        void *started_arg = c->started_arg, *removed_arg = c->removed_arg;
        loop_fn *removed = c->removed;
        struct err err = c->failure;
        struct id id = c->id;

        container_free(c);
        runtime_soon(r); /* its place in the queue */
        if (started)
                started(started_arg, id, 0, &err);
        if (removed)
                removed(removed_arg);
}

static void on_deleted(void *arg)
{
        struct trash_work *w = arg;
        struct container *c = w->container;

        list_remove(&w->link);
        close(w->trash_fd);
        free(w->name);
        free(w);
        if (c)
                finish(c);
}

static void submit(struct runtime *r, char *name, struct container *c)
{
        struct trash_work *w = xnew(struct trash_work);

        w->name = name;
        w->container = c;
        w->trash_fd = fcntl(r->trash_fd, F_DUPFD_CLOEXEC, 3);
        list_push_back(&r->trash, &w->link);
        loop_work(r->loop, delete_entry, on_deleted, w);
}

/* Work that is under way goes on and tells nobody. */
void trash_close(struct runtime *r)
{
        struct list *l;

        while ((l = list_pop_front(&r->trash)))
                LIST_ITEM(l, struct trash_work, link)->container = NULL;
}

void trash_sweep(struct runtime *r)
{
        int fd = openat(r->trash_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *dir = fd < 0 ? NULL : fdopendir(fd);
        struct dirent *e;

        while (dir && (e = readdir(dir)))
                if (e->d_name[0] != '.')
                        submit(r, xstrdup(e->d_name), NULL);
        if (dir)
                closedir(dir);
}

static int64_t retry_wait_ms(int retries)
{
        return MIN(RETRY_FIRST_MS << MIN(retries / 5, RETRY_DOUBLINGS_MAX), RETRY_LAST_MS);
}

static void on_retry(void *arg)
{
        struct container *c = arg;

        if (c->is_gone)
                finish(c);
        else
                container_discard(c);
}

void container_discard(struct container *c)
{
        struct runtime *r = c->runtime;
        int busy = cgroup_remove(&r->cgroups, c->name);

        if (!c->retry)
                c->retry = loop_timer_new(r->loop, on_retry, c);
        if (busy < 0 && c->retries < RETRIES_MAX) {
                if (c->retries++ % 10 == 5)
                        cgroup_kill(&r->cgroups, c->name);
                loop_timer_set(c->retry, retry_wait_ms(c->retries));
                return;
        }
        if (busy < 0)
                log_warn("cgroup does not empty: task=%s error=%s", c->title, err_name(busy));
        char *name = xasprintf("%s-%llu-%d", c->name, (unsigned long long)r->trash_count++,
                               (int)getpid());

        if (renameat(r->containers_fd, c->name, r->trash_fd, name) < 0 && errno != ENOENT)
                log_warn("cannot remove folder: task=%s error=%s", c->title, err_name(errno));
        /* A failed start is told of when nothing is left; a removal, when it is out of sight. */
        submit(r, name, c->failure.code ? c : NULL);
        if (!c->failure.code) {
                c->is_gone = true;
                loop_timer_set(c->retry, 0);
        }
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

static void nothing(void *arg)
{
        (void)arg;
}

void runtime_remove(struct runtime *r, struct id id, loop_fn *done, void *arg)
{
        struct container *c = map_get_id(&r->containers, id);

        if (!c || c->is_removing || c->phase != PHASE_ENDED) {
                /* Nothing to do: told later all the same. */
                if (done)
                        loop_work(r->loop, nothing, done, arg);
                return;
        }
        c->is_removing = true;
        c->removed = done;
        c->removed_arg = arg;
        struct shim_message forget = {.type = SHIM_FORGET};

        if (c->socket >= 0)
                message_put(c->socket, &forget, "", NULL, 0);
        container_unwatch(c);
        container_discard(c);
}
