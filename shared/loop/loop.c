/*
 * The loop over libuv: see loop.h. Every handle is a heap struct of its own that is freed in its
 * close callback, so that a callback may free the handle it came from. What can fail here is the
 * lack of descriptors or memory at the start of a daemon, which ends it.
 */
#include "shared/loop/loop.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <uv.h>

#include "shared/base/err.h"
#include "shared/base/list.h"
#include "shared/base/log.h"
#include "shared/base/mem.h"

#define SPAWN_FDS_MAX 64

struct loop {
        uv_loop_t uv;
        struct list hooks;    /* in order of creation */
        struct list children; /* not reaped yet */
        uv_prepare_t prepare;
        uv_check_t check;
        uv_idle_t idle; /* active: do not sleep */
        bool has_hooks;
};

static void must(int r, const char *what)
{
        if (r >= 0)
                return;
        log_error("%s: %s", what, err_name(r));
        abort();
}

struct loop *loop_new(void)
{
        struct loop *l = xnew(struct loop);

        must(uv_loop_init(&l->uv), "cannot make the event loop");
        list_init(&l->hooks);
        list_init(&l->children);
        return l;
}

void loop_run(struct loop *l)
{
        uv_run(&l->uv, UV_RUN_DEFAULT);
}

void loop_stop(struct loop *l)
{
        uv_stop(&l->uv);
}

static void forget_children(struct loop *l);

/* Every handle's data points at the block to free. */
static void free_data(uv_handle_t *h)
{
        free(h->data);
}

static void close_handle(void *h)
{
        uv_close(h, free_data);
}

static void close_leftover(uv_handle_t *h, void *arg UNUSED)
{
        if (uv_is_closing(h))
                return;
        /* Signals live until here; all else should have been freed by its owner. */
        assert(h->type == UV_SIGNAL);
        uv_close(h, free_data);
}

void loop_free(struct loop *l)
{
        if (!l)
                return;
        assert(list_is_empty(&l->hooks));
        if (l->has_hooks) {
                uv_close((uv_handle_t *)&l->prepare, NULL);
                uv_close((uv_handle_t *)&l->check, NULL);
                uv_close((uv_handle_t *)&l->idle, NULL);
        }
        forget_children(l);
        uv_walk(&l->uv, close_leftover, NULL);
        uv_run(&l->uv, UV_RUN_DEFAULT);
        must(uv_loop_close(&l->uv), "cannot close the event loop");
        free(l);
}

/* --- timers ------------------------------------------------------------------------------------*/
struct loop_timer {
        uv_timer_t uv;
        loop_fn *fn;
        void *arg;
};

static void on_timer(uv_timer_t *h)
{
        struct loop_timer *t = h->data;

        t->fn(t->arg);
}

struct loop_timer *loop_timer_new(struct loop *l, loop_fn *fn, void *arg)
{
        struct loop_timer *t = xnew(struct loop_timer);

        t->fn = fn;
        t->arg = arg;
        t->uv.data = t;
        must(uv_timer_init(&l->uv, &t->uv), "cannot make a timer");
        return t;
}

void loop_timer_set(struct loop_timer *t, int64_t delay_ms)
{
        assert(delay_ms >= 0);
        /* The loop's clock stands since it woke: a long callback must not make the timer early. */
        uv_update_time(t->uv.loop);
        must(uv_timer_start(&t->uv, on_timer, (uint64_t)delay_ms, 0), "cannot set a timer");
}

void loop_timer_clear(struct loop_timer *t)
{
        uv_timer_stop(&t->uv);
}

void loop_timer_free(struct loop_timer *t)
{
        if (t)
                close_handle(&t->uv);
}

/* --- descriptors -------------------------------------------------------------------------------*/
struct loop_fd {
        uv_poll_t uv;
        loop_fd_fn *fn;
        void *arg;
        int events;
};

static int to_uv(int events)
{
        return (events & LOOP_READ ? UV_READABLE : 0) | (events & LOOP_WRITE ? UV_WRITABLE : 0) |
               (events & LOOP_HANGUP ? UV_DISCONNECT : 0);
}

static void on_fd(uv_poll_t *h, int status, int uv_events)
{
        struct loop_fd *f = h->data;
        int events = (uv_events & UV_READABLE ? LOOP_READ : 0) |
                     (uv_events & UV_WRITABLE ? LOOP_WRITE : 0) |
                     (uv_events & UV_DISCONNECT ? LOOP_HANGUP : 0);

        /* libuv has stopped watching after an error: the owner's read or write tells which. */
        if (status < 0)
                events = f->events | LOOP_HANGUP;
        f->fn(f->arg, events);
}

int loop_fd_new(struct loop *l, int fd, int events, loop_fd_fn *fn, void *arg, struct loop_fd **ret)
{
        struct loop_fd *f = xnew(struct loop_fd);
        int r = uv_poll_init(&l->uv, &f->uv, fd);

        if (r < 0) {
                free(f);
                return r;
        }
        f->fn = fn;
        f->arg = arg;
        f->uv.data = f;
        loop_fd_set(f, events);
        *ret = f;
        return 0;
}

void loop_fd_set(struct loop_fd *f, int events)
{
        f->events = events;
        if (events)
                must(uv_poll_start(&f->uv, to_uv(events), on_fd), "cannot watch a descriptor");
        else
                uv_poll_stop(&f->uv);
}

void loop_fd_free(struct loop_fd *f)
{
        if (f)
                close_handle(&f->uv);
}

/* --- signals -----------------------------------------------------------------------------------*/
struct loop_signal {
        uv_signal_t uv;
        loop_signal_fn *fn;
        void *arg;
};

static void on_signal(uv_signal_t *h, int signum)
{
        struct loop_signal *s = h->data;

        s->fn(s->arg, signum);
}

int loop_on_signal(struct loop *l, int signum, loop_signal_fn *fn, void *arg)
{
        struct loop_signal *s = xnew(struct loop_signal);

        s->fn = fn;
        s->arg = arg;
        s->uv.data = s;
        must(uv_signal_init(&l->uv, &s->uv), "cannot watch signals");
        int r = uv_signal_start(&s->uv, on_signal, signum);
        if (r < 0)
                close_handle(&s->uv);
        return r;
}

/* --- doorbells ---------------------------------------------------------------------------------*/
struct loop_wake {
        uv_async_t uv;
        loop_fn *fn;
        void *arg;
};

static void on_wake(uv_async_t *h)
{
        struct loop_wake *w = h->data;

        w->fn(w->arg);
}

struct loop_wake *loop_wake_new(struct loop *l, loop_fn *fn, void *arg)
{
        struct loop_wake *w = xnew(struct loop_wake);

        w->fn = fn;
        w->arg = arg;
        w->uv.data = w;
        must(uv_async_init(&l->uv, &w->uv, on_wake), "cannot make a doorbell");
        return w;
}

void loop_wake_send(struct loop_wake *w)
{
        must(uv_async_send(&w->uv), "cannot ring a doorbell");
}

void loop_wake_free(struct loop_wake *w)
{
        if (w)
                close_handle(&w->uv);
}

/* --- work on other threads ---------------------------------------------------------------------*/
struct loop_job {
        uv_work_t uv;
        loop_fn *work, *done;
        void *arg;
};

static void on_work(uv_work_t *w)
{
        struct loop_job *j = w->data;

        j->work(j->arg);
}

static void on_work_done(uv_work_t *w, int status UNUSED)
{
        struct loop_job *j = w->data;

        j->done(j->arg);
        free(j);
}

void loop_work(struct loop *l, loop_fn *work, loop_fn *done, void *arg)
{
        struct loop_job *j = xnew(struct loop_job);

        j->work = work;
        j->done = done;
        j->arg = arg;
        j->uv.data = j;
        must(uv_queue_work(&l->uv, &j->uv, on_work, on_work_done), "cannot queue work");
}

/* --- hooks around the sleep --------------------------------------------------------------------*/
struct loop_hook {
        struct list link;
        struct loop *loop;
        bool (*prepare)(void *arg);
        loop_fn *check;
        void *arg;
};

static void on_idle(uv_idle_t *h UNUSED)
{
}

/* Newest first: what stands on a library runs before the library's own last look. */
static void on_prepare(uv_prepare_t *h)
{
        struct loop *l = h->data;
        bool again = false;

        for (struct list *p = l->hooks.prev, *prev; p != &l->hooks; p = prev) {
                struct loop_hook *hook = LIST_ITEM(p, struct loop_hook, link);

                prev = p->prev;
                if (hook->prepare && hook->prepare(hook->arg))
                        again = true;
        }
        if (again)
                uv_idle_start(&l->idle, on_idle);
        else
                uv_idle_stop(&l->idle);
}

static void on_check(uv_check_t *h)
{
        struct loop *l = h->data;
        struct loop_hook *hook, *next;

        LIST_FOREACH_SAFE (hook, next, &l->hooks, link)
                if (hook->check)
                        hook->check(hook->arg);
}

static void start_hooks(struct loop *l)
{
        must(uv_prepare_init(&l->uv, &l->prepare), "cannot make a hook");
        must(uv_check_init(&l->uv, &l->check), "cannot make a hook");
        must(uv_idle_init(&l->uv, &l->idle), "cannot make a hook");
        l->prepare.data = l;
        l->check.data = l;
        uv_prepare_start(&l->prepare, on_prepare);
        uv_check_start(&l->check, on_check);
        /* A hook by itself is no reason for the loop to go on. */
        uv_unref((uv_handle_t *)&l->prepare);
        uv_unref((uv_handle_t *)&l->check);
        l->has_hooks = true;
}

struct loop_hook *loop_hook_new(struct loop *l, bool (*prepare)(void *arg), loop_fn *check,
                                void *arg)
{
        struct loop_hook *h = xnew(struct loop_hook);

        if (!l->has_hooks)
                start_hooks(l);
        h->loop = l;
        h->prepare = prepare;
        h->check = check;
        h->arg = arg;
        list_push_back(&l->hooks, &h->link);
        return h;
}

void loop_hook_free(struct loop_hook *h)
{
        if (!h)
                return;
        list_remove(&h->link);
        free(h);
}

/* --- child programs ------------------------------------------------------------------------------
 * posix_spawn, which does not copy the page tables of a large parent as fork does (libuv's way),
 * and a pidfd in the loop for the child's end. */
struct loop_child {
        struct list link; /* of the loop's children */
        struct loop_fd *watch;
        int pidfd;
        pid_t pid;
        void (*on_exit)(void *arg, pid_t pid, int wait_status);
        void *arg;
};

static void child_free(struct loop_child *c)
{
        list_remove(&c->link);
        loop_fd_free(c->watch);
        if (c->pidfd >= 0)
                close(c->pidfd);
        free(c);
}

static void forget_children(struct loop *l)
{
        while (!list_is_empty(&l->children))
                child_free(LIST_ITEM(l->children.next, struct loop_child, link));
}

static void on_child_exit(void *arg, int events UNUSED)
{
        struct loop_child *c = arg;
        int wait_status;

        if (waitpid(c->pid, &wait_status, WNOHANG) != c->pid)
                return;
        if (c->on_exit)
                c->on_exit(c->arg, c->pid, wait_status);
        child_free(c);
}

static int child_watch(struct loop *l, struct loop_child *c)
{
        c->pidfd = (int)syscall(SYS_pidfd_open, c->pid, 0);
        if (c->pidfd < 0)
                return -errno;
        return loop_fd_new(l, c->pidfd, LOOP_READ, on_child_exit, c, &c->watch);
}

static int open_null(int least)
{
        int fd = open("/dev/null", O_RDWR | O_CLOEXEC), up = fd;

        if (fd >= 0 && fd < least) {
                up = fcntl(fd, F_DUPFD_CLOEXEC, least);
                close(fd);
        }
        return up;
}

/* All from numbers above those that the child gets, so that none is overwritten before its turn.
 * The copies are in made[0..*n_made-1]. */
static int lift_fds(const struct loop_spawn *s, int from[], int made[], int *n_made)
{
        int null_fd = -1;

        for (int i = 0; i < s->n_fds; i++) {
                from[i] = s->fds[i] < 0 ? null_fd : s->fds[i];
                if (from[i] >= s->n_fds)
                        continue;
                from[i] = s->fds[i] < 0 ? open_null(s->n_fds)
                                        : fcntl(s->fds[i], F_DUPFD_CLOEXEC, s->n_fds);
                if (from[i] < 0)
                        return -errno;
                made[(*n_made)++] = from[i];
                if (s->fds[i] < 0)
                        null_fd = from[i];
        }
        return 0;
}

/* Signals as a program expects them: none blocked or ignored. */
static int spawn_with(const struct loop_spawn *s, const int from[], pid_t *ret_pid)
{
        static char *empty_env[] = {NULL};
        posix_spawn_file_actions_t actions;
        posix_spawnattr_t attr;
        sigset_t all, none;
        int r = posix_spawn_file_actions_init(&actions);

        posix_spawnattr_init(&attr);
        sigfillset(&all);
        sigemptyset(&none);
        posix_spawnattr_setflags(&attr, (short)(POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK |
                                                (s->has_own_session ? POSIX_SPAWN_SETSID : 0)));
        posix_spawnattr_setsigdefault(&attr, &all);
        posix_spawnattr_setsigmask(&attr, &none);
        for (int i = 0; r == 0 && i < s->n_fds; i++)
                r = posix_spawn_file_actions_adddup2(&actions, from[i], i);
        if (r == 0)
                r = posix_spawn(ret_pid, s->argv[0], &actions, &attr, s->argv,
                                s->env ? s->env : empty_env);
        posix_spawnattr_destroy(&attr);
        posix_spawn_file_actions_destroy(&actions);
        return -r;
}

pid_t loop_spawn(struct loop *l, const struct loop_spawn *s)
{
        int from[SPAWN_FDS_MAX], made[SPAWN_FDS_MAX], n_made = 0;

        if (s->n_fds > SPAWN_FDS_MAX)
                return -E2BIG;
        struct loop_child *c = xnew(struct loop_child);
        list_push_back(&l->children, &c->link);
        c->pidfd = -1;
        c->on_exit = s->on_exit;
        c->arg = s->arg;
        int r = lift_fds(s, from, made, &n_made);
        if (r == 0)
                r = spawn_with(s, from, &c->pid);
        while (n_made > 0)
                close(made[--n_made]);
        if (r == 0) {
                r = child_watch(l, c);
                if (r < 0) { /* nobody would reap it */
                        kill(c->pid, SIGKILL);
                        waitpid(c->pid, NULL, 0);
                }
        }
        if (r < 0) {
                child_free(c);
                return r;
        }
        return c->pid;
}
