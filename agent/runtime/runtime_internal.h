/*
 * The runtime's inside. Files: runtime.c (open, the containers, small calls), start.c (a start from
 * its queue to its answer), watch.c (what supervisors say), stop.c (the stop signal, grace and
 * kill), recover.c (what is with a container), remove.c, exec.c, encode.c (config to flat spec),
 * message.c (the socket), cgroup.c, devices.c, seccomp.c, profile.c, limits.c (names of
 * capabilities, limits, sysctls).
 */
#pragma once

#include "agent/runtime/isolation_internal.h"
#include "agent/runtime/runtime.h"
#include "agent/runtime/waits_internal.h"
#include "agent/shim/shim.h"
#include "shared/base/base.h"

#define RUNTIME_PATH_MAX 3000
#define HIERARCHIES_MAX  8
#define PROGRAMS_MAX     16

/* --- encode.c --- */
struct encode_extra {
        const struct cgroups *cgroups;
        const char *cgroup_name, *boot_id, *folder, *base_layer;
        uint64_t caps;
        int fail_at;
};
int spec_encode(const struct container_config *c, const struct encode_extra *x, struct buf *ret,
                struct err *err);

/* --- containers --- */
enum container_phase { PHASE_QUEUED, PHASE_STARTING, PHASE_RUNNING, PHASE_ENDED };

struct container {
        struct id id;
        struct runtime *runtime;
        enum container_phase phase;
        char name[ID_TEXT_MAX]; /* of folder and cgroup */
        char *title;            /* web.3 */
        struct list queue_link; /* queued for a start */
        struct buf spec;        /* until started */
        struct buf layers;      /* likewise: the folders, each with its NUL */
        struct start *start;    /* while it is under way */
        char *hosts;
        struct cgroup_limits limits;
        uint64_t caps;
        int folder_fd, socket, pidfd;
        pid_t pid;
        struct loop_fd *watch;
        struct container_exit exit;
        runtime_started_fn *started;
        void *started_arg;
        struct list execs;        /* of struct exec_wait */
        struct loop_timer *retry; /* while something still lives in the cgroup */
        int retries;
        struct loop_timer *look; /* while nothing is known of its supervisor */
        int looks;
        bool is_foreign; /* its supervisor is of a version that was said not to be understood */
        int owed_signal; /* to be sent once there is a pidfd; 0: none */
        struct loop_timer *grace; /* since its stop was asked for, until kill_at_ms (mono) */
        int64_t kill_at_ms;
        struct loop_timer *patience; /* since it was killed: for the word of its end */
        struct err failure;          /* of a start, told once nothing is left */
        loop_fn *removed;
        void *removed_arg;
        bool is_removing;
};

struct runtime {
        struct loop *loop;
        char *root, *cgroup_name;
        char *base_layer; /* below every image: the places that we mount upon */
        int root_fd, containers_fd, trash_fd, shim_fd;
        struct runtime_events events;
        struct cgroups cgroups;
        struct map containers;
        struct list queue; /* waiting for their turn to start */
        int n_starting, starting_max;
        int64_t start_silence_ms, kill_answer_ms;
        struct loop_timer *soon;     /* for the queue and the answers */
        struct list answers;         /* of struct answer */
        struct list trash;           /* of struct trash_entry: to be deleted */
        struct trash_job *trash_job; /* what is being deleted */
        uint64_t trash_count;
        struct {
                uint64_t caps;
                int fd;
        } programs[PROGRAMS_MAX]; /* seccomp, by capabilities */
        size_t n_programs;
        uint32_t cookies;
        int fail_at;
        char boot_id[48];
};

/* Makes the program fail at its nth step (negative: die there); only its test build does. */
void runtime_set_fail_at(struct runtime *r, int n);

struct container *container_new(struct runtime *r, struct id id);
void container_free(struct container *c); /* leaves everything but the memory as it is */
/* Cleans up what there is of a start, and tells then. */
void container_fail(struct container *c, const struct err *err);
/* text: the step and the name that the supervisor tells. Returns -err->code. */
int start_failure(const char *text, int code, struct err *err);
void container_ended(struct container *c, const struct container_exit *e);
int container_open_folder(struct container *c);
void container_await_end(struct container *c); /* it was killed */
void container_send_owed(struct container *c); /* the signal, once there is a pidfd */
/* Of one that was taken over and runs: a stop that an earlier agent began goes on. */
void container_resume_stop(struct container *c);
int container_watch(struct container *c, int fd); /* takes fd over, and closes it on failure */
void container_unwatch(struct container *c);
/* Connects to the supervisor and asks for the pidfd; the answer comes as a message. */
int container_connect(struct container *c);
int container_greet(struct container *c);
/* Takes that answer now. Anything else, and the connection is given up: -errno. */
int container_hear_greeting(struct container *c);
/* 1: its supervisor is dead for sure; 0: it lives; -errno: that cannot be known. */
int container_is_orphan(struct container *c);
/* What is with it is looked at after a while, which grows; error: why it is not known. */
void container_look_later(struct container *c, int error);
/* Folder and cgroup away, as soon as nothing lives there; then whoever waits is told soon, and c is
 * freed, maybe in the call. */
void container_discard(struct container *c);
void container_drop_cgroup(struct container *c); /* of one that ended: alone, while it is kept */
void trash_close(struct runtime *r);
void trash_sweep(struct runtime *r); /* what an earlier agent left there */
int exit_read(int folder_fd, struct container_exit *ret);
/* The end of a process that its parent has reaped; -ENOSYS where the kernel does not tell. */
int pidfd_exit_status(int pidfd);

int message_put(int fd, const struct shim_message *m, const void *text, const int *fds, int n_fds);
int message_take(int fd, struct shim_message *m, char *text, size_t cap, int *ret_fd);
