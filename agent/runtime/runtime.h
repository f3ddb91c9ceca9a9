/*
 * runtime: runs containers, each under a supervisor of its own (agent/shim). Place in the flow: the
 * worker's driver asks for a start, and is told of starts, exits and exec results by callbacks on
 * the loop. It knows nothing of services, images or networks: a container is a list of layers and a
 * config. What can fail: every step of making a container; the error is one line a user reads.
 *
 * On disk, below the root folder (0700): c/<task id>/{state,log,exit,sock,layers,upper,...}, which
 * an agent that starts anew reads to take over what runs. The log is text, a record a line:
 * "<unix time in us> <o|e> <F|P> <text>\n" (stdout or stderr; a full line, or part of one).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "shared/base/err.h"
#include "shared/base/id.h"
#include "shared/loop/loop.h"
#include "shared/model/model.h"

struct runtime;

enum container_network { CONTAINER_NET_NONE, CONTAINER_NET_HOST };

struct container_mount {
        enum mount_type type; /* a volume comes as its folder on the host */
        const char *source, *target;
        bool read_only, nonrecursive, create_source;
        const char *propagation; /* "" or NULL: rprivate */
        int64_t tmpfs_size;
        uint32_t tmpfs_mode;
        const char *subpath; /* below source, resolved inside it; NULL: none */
        bool copy_up;        /* an empty volume is filled from the image's folder first; while that
                                is not done, a file .NAME.INODE.filling lies beside source */
        bool is_own;         /* a volume that goes with the container: it is never filled twice */
};

struct container_ulimit {
        const char *name;
        int64_t soft, hard; /* -1: unlimited */
};

struct container_sysctl {
        const char *key, *value;
};

/* All strings and arrays are borrowed for the call. String lists are NULL-terminated, NULL: empty.
 */
struct container_config {
        struct id id;
        const char *name;    /* for messages: web.3 */
        char *const *layers; /* folders on the host, lowest first; at least one */
        char *const *argv, *const *env;
        const char *workdir; /* "" or NULL: / */
        const char *user;    /* user[:group] of the image's files; "" or NULL: root */
        char *const *groups; /* supplementary, names or numbers */
        const char *hostname;
        enum container_network network;
        const struct container_mount *mounts;
        size_t n_mounts;
        char *const *cap_add, *const *cap_drop; /* "NET_ADMIN", "CAP_NET_ADMIN", "ALL" */
        const struct container_ulimit *ulimits;
        size_t n_ulimits;
        const struct container_sysctl *sysctls;
        size_t n_sysctls;
        bool read_only, tty, init;
        int64_t nano_cpus, memory_bytes, pids; /* limits, 0: none */
        int64_t log_max_bytes; /* a log file is rotated beyond; 0: 10 MiB, and log_max_files 3 */
        int log_max_files;
};

struct container_exit {
        int status;         /* 0..255, 128 + signal when killed by one; -1: not known */
        bool is_oom;        /* the kernel killed in its cgroup for want of memory */
        int64_t time_ms;    /* wall clock */
        const char *reason; /* NULL, or why the status is not known: "host was restarted" */
};

struct runtime_events {
        void *arg;
        void (*on_exit)(void *arg, struct id id, const struct container_exit *e);
};

struct runtime_config {
        const char *root;        /* folder of the runtime's own */
        const char *shim_path;   /* the supervisor's program */
        const char *cgroup_name; /* parent of all containers' cgroups: "swarm-<agent>" */
        struct runtime_events events;
};

/* Checks what the kernel has (cgroups v1, v2, both) and makes the parent cgroups. */
int runtime_open(struct loop *l, const struct runtime_config *c, struct runtime **ret,
                 struct err *err);
/* Leaves the containers running. Whoever waits is answered in the call, and must not call back: a
 * start that is not through fails with ECANCELED and ends, an exec gets -ECANCELED, a removal is
 * told as done (what is left of it is found by the next recovery). Ends are told by that, too. */
void runtime_close(struct runtime *r);

/* What was found of earlier containers, in the call: running (their exits will be told by on_exit
 * as if we had started them; pid 0: its supervisor has not answered yet), or ended (exit is set).
 * One of which nothing can be known now is said to run. Unfinished starts are cleaned away
 * silently. -errno: not all could be found, and the runtime is of no use. */
typedef void runtime_found_fn(void *arg, struct id id, bool is_running, pid_t pid,
                              const struct container_exit *exit);
int runtime_recover(struct runtime *r, runtime_found_fn *fn, void *arg);

/* A start that gets nowhere for so long is given up: nothing is copied into its volumes, and no
 * step of its set-up ends. One that gets on may last as long as it needs. It is far beyond what a
 * slow disk takes, and below an update's wait for a new task (5 min), so that the reason is told.
 */
#define RUNTIME_START_SILENCE_MS 120000

/* Starts wait in one queue: as many are under way as there are processors (those that take long do
 * not count). done: err NULL once the program has been executed, else why not, and nothing of it is
 * left but what the kernel does not let be killed: it dies when it is let, and never gets as far as
 * the program. */
typedef void runtime_started_fn(void *arg, struct id id, pid_t pid, const struct err *err);
void runtime_start(struct runtime *r, const struct container_config *c, runtime_started_fn *done,
                   void *arg);
/* Gives up a start that was not answered yet, queued or under way: what there is of it is killed,
 * and its done is told ECANCELED. -ESRCH: no such start. */
int runtime_cancel(struct runtime *r, struct id id);
/* A signal to its first process, and its end by force after grace_ms; once for each container, and
 * an agent that takes it over goes on where this one was. -ESRCH */
int runtime_stop(struct runtime *r, struct id id, int signum, int64_t grace_ms);
bool runtime_is_stopping(struct runtime *r, struct id id);
/* All its processes, for sure. Its end is told by its supervisor; one that is silent about it for
 * RUNTIME_KILL_ANSWER_MS is killed, too, and the end is told without it. -ESRCH */
#define RUNTIME_KILL_ANSWER_MS 10000
int runtime_kill(struct runtime *r, struct id id);
/* Removes an ended container's folder, cgroup and writable layer; in the background. done may be
 * NULL. */
void runtime_remove(struct runtime *r, struct id id, loop_fn *done, void *arg);

/* Runs argv inside, with the container's own isolation, user, env and folder. Killed at timeout_ms.
 * done: wait status as container_exit.status, -ETIME, -ENOTCONN (its supervisor is not heard now),
 * -EBUSY (it has its hands full), or another -errno; at most 4 KiB of output.
 */
typedef void runtime_exec_fn(void *arg, int status, const char *output, size_t n);
void runtime_exec(struct runtime *r, struct id id, char *const *argv, int64_t timeout_ms,
                  runtime_exec_fn *done, void *arg);
/* Where the log is; n = 0 the current file, 1.. the rotated ones. Heap; NULL: no such container,
 * or it is being removed. */
char *runtime_log_path(struct runtime *r, struct id id, int n);
/* The layers that it was started with, lowest first; heap, NULL-terminated. NULL: that cannot be
 * known (an agent before this one kept no record, or it cannot be read now). */
char **runtime_layers(struct runtime *r, struct id id);
/* A descriptor of the container's network namespace, for probes; -errno. */
int runtime_netns(struct runtime *r, struct id id);
