/*
 * A real runtime over a busybox root file system in a folder of its own, for unit tests and
 * benches: waits for starts and ends on a real loop, with a deadline, and checks at the end that
 * nothing is left: no process, mount, cgroup or folder.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "agent/runtime/runtime.h"

#define RIG_WAIT_MS 20000

struct rig {
        char *folder; /* temporary: rootfs/ and run/ */
        char *rootfs; /* a layer with busybox */
        char *run;    /* the runtime's root */
        char *cgroup; /* name of the parent cgroup */
        char *shim;   /* path of the supervisor's program */
        struct loop *loop;
        struct runtime *runtime;
        uint64_t ids;
        /* of the latest of each kind */
        bool is_started, is_exited, is_removed, is_answered, has_timed_out;
        struct err err;
        pid_t pid;
        struct container_exit exit;
        int exec_status;
        char exec_output[4097];
};

/* shim NULL: the product's. False: this machine cannot run containers (not root). */
bool rig_open(struct rig *r, const char *shim);
void rig_close(struct rig *r); /* asserts that nothing is left */
void rig_open_runtime(struct rig *r);
void rig_close_runtime(struct rig *r);

/* A config with the rig's layer, for argv (borrowed); the caller adds to it. */
struct container_config rig_config(struct rig *r, char *const *argv);
/* The same for `sh -c script`; argv: room for 4, which the config borrows. */
struct container_config rig_script(struct rig *r, char **argv, const char *script);
/* 0, or -errno with r->err set. */
int rig_start(struct rig *r, const struct container_config *c);
void rig_wait(struct rig *r, const bool *flag);
void rig_turn(struct rig *r, int64_t ms); /* lets the loop run for so long */
void rig_wait_exit(struct rig *r);
void rig_remove(struct rig *r, struct id id);
/* Starts `sh -c script`, waits for its end, removes it; returns the status. */
int rig_run(struct rig *r, const char *script);
int rig_run_config(struct rig *r, const struct container_config *c);
/* Runs `sh -c script` (or argv) inside, waits for the answer; returns its status. */
int rig_exec(struct rig *r, struct id id, const char *script, int64_t timeout_ms);
int rig_exec_argv(struct rig *r, struct id id, char *const *argv, int64_t timeout_ms);
/* What the latest rig_run wrote to its log, without the heads of lines. */
extern char rig_output[1 << 16];
void rig_read_log(struct rig *r, struct id id);
