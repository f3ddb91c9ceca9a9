/*
 * loop: the one loop thread of a daemon (libuv's only home). Timers, descriptors, signals, work on
 * other threads, and child programs. Callbacks run on the loop thread, never inside the call that
 * submitted them, exactly once for one-shot things. All functions are for the loop thread except
 * loop_wake_send.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct loop;

struct loop *loop_new(void);
/* Runs until loop_stop. */
void loop_run(struct loop *l);
void loop_stop(struct loop *l);
/* All handles must have been freed or stopped by their owners; what is still closing is waited for.
 */
void loop_free(struct loop *l);

typedef void loop_fn(void *arg);

/* A one-shot timer that can be set again and again. Starts unset. */
struct loop_timer;
struct loop_timer *loop_timer_new(struct loop *l, loop_fn *fn, void *arg);
void loop_timer_set(struct loop_timer *t, int64_t delay_ms); /* replaces an earlier setting; >= 0 */
void loop_timer_clear(struct loop_timer *t);
void loop_timer_free(struct loop_timer *t); /* NULL is fine */

/* Readiness of a descriptor, which stays the caller's and is made non-blocking. events: LOOP_READ |
 * LOOP_WRITE | LOOP_HANGUP. After an error on it fn gets all that was asked for and LOOP_HANGUP,
 * and nothing more until loop_fd_set. -EPERM: a file that is always ready; -EEXIST: already
 * watched. */
enum { LOOP_READ = 1, LOOP_WRITE = 2, LOOP_HANGUP = 4 };
struct loop_fd;
typedef void loop_fd_fn(void *arg, int events);
int loop_fd_new(struct loop *l, int fd, int events, loop_fd_fn *fn, void *arg,
                struct loop_fd **ret);
void loop_fd_set(struct loop_fd *f, int events);
void loop_fd_free(struct loop_fd *f); /* before the descriptor is closed; NULL is fine */

/* Until the loop is freed. */
typedef void loop_signal_fn(void *arg, int signum);
int loop_on_signal(struct loop *l, int signum, loop_signal_fn *fn, void *arg);

/* A doorbell that any thread may ring; rings in quick succession may come as one call. */
struct loop_wake;
struct loop_wake *loop_wake_new(struct loop *l, loop_fn *fn, void *arg);
void loop_wake_send(struct loop_wake *w);
void loop_wake_free(struct loop_wake *w);

/* Runs work on a thread of the pool, then done on the loop. Both get arg. */
void loop_work(struct loop *l, loop_fn *work, loop_fn *done, void *arg);

/* Before the loop sleeps (prepare: return true to be called again at once instead of sleeping) and
 * after it woke (check): for libraries with descriptors of their own kind, and for work that
 * gathers what one round brought. Either may be NULL. prepare goes from the newest hook to the
 * oldest, check the other way round. A hook frees no other one. */
struct loop_hook;
struct loop_hook *loop_hook_new(struct loop *l, bool (*prepare)(void *arg), loop_fn *check,
                                void *arg);
void loop_hook_free(struct loop_hook *h);

/* Starts a program; fds[i] becomes its descriptor i (-1: /dev/null), all others are closed. env
 * NULL: an empty environment. on_exit gets the wait status. Returns the pid or -errno. */
struct loop_spawn {
        char *const *argv;
        char *const *env;
        const int *fds;
        int n_fds;
        bool has_own_session; /* no child of our session: what is sent to ours does not reach it */
        void (*on_exit)(void *arg, pid_t pid, int wait_status);
        void *arg;
};
pid_t loop_spawn(struct loop *l, const struct loop_spawn *s);
