/*
 * shim: what the agent and the supervisor of one container say to each other. Place in the flow:
 * agent/runtime starts build/swarm-shim with a SEQPACKET socket (descriptor SHIM_FD_SOCKET) and the
 * program's own sealed copy (SHIM_FD_EXE), and sends one SHIM_START message with descriptors; the
 * supervisor answers STARTED (with a pidfd) or FAILED, later EXITED, and serves requests, also over
 * the listening socket "sock" in the container's folder. A start that lasts is told of by PROGRESS.
 * All is in the machine's own byte order: the two are programs of one host. An agent may take over
 * from a supervisor of another version, older or newer: each message has the newest version that
 * its sender speaks, HELLO the oldest as well. Compiles with glibc and musl.
 */
#pragma once

#include <stdint.h>

#define SHIM_MAGIC   0x53574d31u
#define SHIM_VERSION 1u
#define SHIM_OLDEST  1 /* version that is understood as well */

enum { SHIM_FD_SOCKET = 3, SHIM_FD_EXE = 4 };

#define SHIM_SPEC_MAX      (4u << 20)
#define SHIM_LAYERS_MAX    129 /* the image's, and one below for what is mounted upon */
#define SHIM_ARGS_MAX      4096
#define SHIM_ENV_MAX       4096
#define SHIM_GROUPS_MAX    64
#define SHIM_MOUNTS_MAX    128
#define SHIM_LIMITS_MAX    16
#define SHIM_SYSCTLS_MAX   66
#define SHIM_HIERARCHIES   16 /* cgroup v1 */
#define SHIM_TEXT_MAX      400
#define SHIM_EXEC_ARGS_MAX 32768
#define SHIM_EXEC_OUTPUT   4096
#define SHIM_EXECS_MAX     8
#define SHIM_LOG_LINE_MAX  16384
#define SHIM_LOG_FILES_MAX 100
#define SHIM_FDS_MAX       (SHIM_HIERARCHIES + 8)

/* --- the spec: this struct, then what it points at. Strings are offsets from the start of the
 * spec, 0: none; the last byte of a spec is 0, so that every offset below its size is a string. ---
 */
struct shim_list {
        uint32_t offset, count;
};

enum { /* shim_spec.flags */
       SHIM_READ_ONLY = 1,
       SHIM_TTY = 2,
       SHIM_INIT = 4,
       SHIM_HOST_NETWORK = 8,
       SHIM_CGROUP2_MOUNT = 16, /* show the cgroup2 tree at /sys/fs/cgroup; else the listed ones */
};

enum { SHIM_MOUNT_BIND, SHIM_MOUNT_TMPFS };
enum { /* shim_mount.flags */
       SHIM_MOUNT_READ_ONLY = 1,
       SHIM_MOUNT_NONRECURSIVE = 2,
       SHIM_MOUNT_COPY_UP = 4,
       SHIM_MOUNT_OWN = 8,     /* a volume that no other container fills */
       SHIM_MOUNT_CREATE = 16, /* its source is made when it is missing, as a folder */
};
enum { SHIM_PRIVATE, SHIM_RPRIVATE, SHIM_SLAVE, SHIM_RSLAVE, SHIM_SHARED, SHIM_RSHARED };

struct shim_mount {
        uint32_t type, flags, propagation, mode;
        uint32_t source, target, subpath, unused; /* strings */
        uint64_t size;
};

struct shim_limit {
        uint32_t resource, unused;
        uint64_t soft, hard;
};

struct shim_spec {
        uint32_t magic, version, size, flags;
        uint32_t name, hostname, workdir, user, boot_id, folder, hosts, resolv; /* strings */
        struct shim_list argv, env, layers, groups; /* of uint32_t strings; layers: lowest first */
        struct shim_list sysctls;                   /* pairs: path below /proc/sys, value */
        struct shim_list cgroups;                   /* pairs: name below /sys/fs/cgroup, folder */
        struct shim_list mounts, limits;            /* of the structs above */
        uint64_t capabilities;                      /* the bounding, permitted and effective set */
        uint64_t log_max_bytes;
        uint32_t log_max_files;
        int32_t fail_at; /* for tests; the product's program does not look at it */
};

/* --- messages --- */
enum shim_type {
        SHIM_START = 1, /* agent: the descriptors below */
        SHIM_STARTED,   /* shim: pid, number: start time; with a pidfd */
        SHIM_FAILED,    /* shim: value: errno, status: 125..127, text: what failed */
        SHIM_EXITED,    /* shim: status, number: wall clock ms, value: killed for want of memory */
        SHIM_HELLO,     /* agent; the shim answers with HELLO, as STARTED; both: value: SHIM_OLDEST,
                           0 if the sender does not tell */
        SHIM_SIGNAL,    /* agent: value: the signal; answered by RESULT */
        SHIM_KILL,      /* agent: SIGKILL to the first process; answered by RESULT */
        SHIM_STATUS,    /* agent; answered by RESULT: number: log lines dropped */
        SHIM_EXEC,      /* agent: number: time-out in ms; text: arguments, each with its NUL */
        SHIM_FORGET,    /* agent, after EXITED: the container is being removed */
        SHIM_RESULT,    /* shim: value: 0 or -errno (ENOSYS: a request that it does not know); of
                           EXEC also status, text: output */
        SHIM_PROGRESS,  /* shim, while it starts: something was done; text: what it is at */
};

/* A message is this head and length more bytes. */
struct shim_message {
        uint32_t magic, version, type, length;
        uint32_t cookie; /* of a request, given back with its RESULT */
        int32_t value, status, pid;
        int64_t number;
};

/* The order of SHIM_START's descriptors; value has bit 1 << i set for each optional one that is
 * there; then status many "tasks" files of cgroup v1. */
enum shim_start_fd {
        SHIM_START_SPEC,
        SHIM_START_FOLDER,
        SHIM_START_LOCK,    /* held locked as long as the supervisor lives */
        SHIM_START_SECCOMP, /* a file of struct sock_filter */
        SHIM_START_CGROUP2, /* optional: the container's folder in the cgroup2 tree */
        SHIM_START_OOM,     /* optional: memory.oom_control (v1) or memory.events (v2) */
        SHIM_START_FIXED,
};

/* -EBADMSG unless every offset, list and number of the spec lies in its bounds. */
int shim_spec_check(const void *p, uint64_t n);
