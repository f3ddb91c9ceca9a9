/* What confines a container: cgroups, devices, the seccomp profile, names of limits. */
#pragma once

#include "agent/runtime/runtime.h"
#include "agent/shim/shim.h"
#include "shared/base/base.h"

#define HIERARCHIES_MAX 8

/* --- cgroup.c: where the kernel has its controllers; each container has a folder in each --- */
struct hierarchy {
        char *name;   /* "memory", "cpu,cpuacct": as mounted below /sys/fs/cgroup */
        char *folder; /* of our parent cgroup */
        bool has_memory, has_cpu, has_pids, has_devices;
};
struct cgroups {
        char *unified;                      /* our parent in the cgroup2 tree, or NULL */
        bool unified_limits;                /* the cgroup2 tree is the one with the controllers */
        bool has_memory, has_cpu, has_pids; /* limits that this machine can keep */
        struct hierarchy v1[HIERARCHIES_MAX];
        size_t n_v1;
};
struct cgroup_limits {
        int64_t nano_cpus, memory_bytes, pids;
};
int cgroups_open(struct cgroups *g, const char *parent, struct err *err);
void cgroups_done(struct cgroups *g);
int cgroup_make(const struct cgroups *g, const char *name, const struct cgroup_limits *l,
                struct err *err);
bool cgroup_is_empty(const struct cgroups *g, const char *name); /* or is not there */
void cgroup_kill(const struct cgroups *g, const char *name);
int cgroup_remove(const struct cgroups *g, const char *name); /* -EBUSY: something lives in it */
/* The start message's optional descriptors; returns how many. value, n_tasks as in shim.h. */
int cgroup_open_fds(const struct cgroups *g, const char *name, int *fds, int *ret_value,
                    int *ret_tasks);
bool cgroup_was_oom(const struct cgroups *g, const char *name);
/* Calls fn for each container's cgroup, in whatever tree it is. */
void cgroups_each(const struct cgroups *g, void (*fn)(void *arg, const char *name), void *arg);

/* Lets containers make and use only the harmless devices; once, for all below the folder. */
int devices_restrict(int cgroup2_fd);

/* --- seccomp.c, profile.c --- */
struct profile_rule {
        uint64_t caps; /* any of these unlocks it; 0: always */
        const char *names;
};
extern const struct profile_rule profile_rules[];
/* A descriptor of a sealed file with the program for that set of capabilities; cached below folder.
 */
int seccomp_open_program(const char *folder, uint64_t caps, struct err *err);
uint64_t seccomp_rules_hash(const struct profile_rule *rules); /* for its name */

/* --- limits.c --- */
#define CAPS_DEFAULT 0xa80425fbull
int capabilities_resolve(char *const *add, char *const *drop, uint64_t *ret, struct err *err);
int limit_resolve(const struct container_ulimit *u, struct shim_limit *ret, struct err *err);
/* "net.core.somaxconn" to "net/core/somaxconn", if a container may set it. */
int sysctl_resolve(const char *key, enum container_network network, char **ret, struct err *err);
