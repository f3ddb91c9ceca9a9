/* Names of capabilities, limits and sysctls, and which of them a container may have. */
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>

#include "agent/runtime/runtime_internal.h"

static const char *const capabilities[] = {"CHOWN",
                                           "DAC_OVERRIDE",
                                           "DAC_READ_SEARCH",
                                           "FOWNER",
                                           "FSETID",
                                           "KILL",
                                           "SETGID",
                                           "SETUID",
                                           "SETPCAP",
                                           "LINUX_IMMUTABLE",
                                           "NET_BIND_SERVICE",
                                           "NET_BROADCAST",
                                           "NET_ADMIN",
                                           "NET_RAW",
                                           "IPC_LOCK",
                                           "IPC_OWNER",
                                           "SYS_MODULE",
                                           "SYS_RAWIO",
                                           "SYS_CHROOT",
                                           "SYS_PTRACE",
                                           "SYS_PACCT",
                                           "SYS_ADMIN",
                                           "SYS_BOOT",
                                           "SYS_NICE",
                                           "SYS_RESOURCE",
                                           "SYS_TIME",
                                           "SYS_TTY_CONFIG",
                                           "MKNOD",
                                           "LEASE",
                                           "AUDIT_WRITE",
                                           "AUDIT_CONTROL",
                                           "SETFCAP",
                                           "MAC_OVERRIDE",
                                           "MAC_ADMIN",
                                           "SYSLOG",
                                           "WAKE_ALARM",
                                           "BLOCK_SUSPEND",
                                           "AUDIT_READ",
                                           "PERFMON",
                                           "BPF",
                                           "CHECKPOINT_RESTORE"};

static int capability_parse(const char *s, uint64_t *ret, struct err *err)
{
        const char *name = strncasecmp(s, "CAP_", 4) == 0 ? s + 4 : s;

        if (strcasecmp(name, "ALL") == 0) {
                *ret = (1ull << ARRAY_SIZE(capabilities)) - 1;
                return 0;
        }
        for (size_t i = 0; i < ARRAY_SIZE(capabilities); i++)
                if (strcasecmp(name, capabilities[i]) == 0) {
                        *ret = 1ull << i;
                        return 0;
                }
        return err_set(err, EINVAL, "unknown capability %s", s);
}

/* As Docker: ALL first, so that "drop ALL, add X" and "add ALL, drop X" mean what they say. */
int capabilities_resolve(char *const *add, char *const *drop, uint64_t *ret, struct err *err)
{
        uint64_t all = (1ull << ARRAY_SIZE(capabilities)) - 1;
        uint64_t added = 0, dropped = 0, one, set;

        for (; add && *add; add++) {
                if (capability_parse(*add, &one, err) < 0)
                        return -EINVAL;
                added |= one;
        }
        for (; drop && *drop; drop++) {
                if (capability_parse(*drop, &one, err) < 0)
                        return -EINVAL;
                dropped |= one;
        }
        if (dropped == all)
                set = added == all ? 0 : added;
        else if (added == all)
                set = all & ~dropped;
        else
                set = (CAPS_DEFAULT & ~dropped) | added;
        *ret = set;
        return 0;
}

static const struct {
        const char *name;
        uint32_t resource;
} limits[] = {{"core", RLIMIT_CORE},         {"cpu", RLIMIT_CPU},
              {"data", RLIMIT_DATA},         {"fsize", RLIMIT_FSIZE},
              {"locks", RLIMIT_LOCKS},       {"memlock", RLIMIT_MEMLOCK},
              {"msgqueue", RLIMIT_MSGQUEUE}, {"nice", RLIMIT_NICE},
              {"nofile", RLIMIT_NOFILE},     {"nproc", RLIMIT_NPROC},
              {"rss", RLIMIT_RSS},           {"rtprio", RLIMIT_RTPRIO},
              {"rttime", RLIMIT_RTTIME},     {"sigpending", RLIMIT_SIGPENDING},
              {"stack", RLIMIT_STACK}};

int limit_resolve(const struct container_ulimit *u, struct shim_limit *ret, struct err *err)
{
        for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
                if (!str_is_equal(limits[i].name, u->name))
                        continue;
                uint64_t soft = u->soft < 0 ? (uint64_t)RLIM_INFINITY : (uint64_t)u->soft;
                uint64_t hard = u->hard < 0 ? (uint64_t)RLIM_INFINITY : (uint64_t)u->hard;

                if (soft > hard)
                        return err_set(err, EINVAL, "ulimit %s: soft limit above the hard one",
                                       u->name);
                *ret = (struct shim_limit){
                        .resource = limits[i].resource, .soft = soft, .hard = hard};
                return 0;
        }
        return err_set(err, EINVAL, "unknown ulimit %s", u->name);
}

static bool sysctl_is_namespaced(const char *path, enum container_network network)
{
        static const char *const names[] = {
                "kernel/msgmax", "kernel/msgmnb", "kernel/msgmni", "kernel/sem",
                "kernel/shmall", "kernel/shmmax", "kernel/shmmni", "kernel/shm_rmid_forced"};

        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                if (str_is_equal(path, names[i]))
                        return true;
        if (str_has_prefix(path, "fs/mqueue/"))
                return true;
        return str_has_prefix(path, "net/") && network != CONTAINER_NET_HOST;
}

/* Normalised first and checked then: neither a dot nor a slash can hide what is meant. */
int sysctl_resolve(const char *key, enum container_network network, char **ret, struct err *err)
{
        bool has_slash = strchr(key, '/') != NULL;
        _cleanup_free_ char *path = xstrdup(key);

        if (strlen(key) > 200)
                return err_set(err, EINVAL, "sysctl name is too long");
        for (char *p = path; *p; p++) {
                if (*p == '.' && !has_slash)
                        *p = '/';
                if (!isalnum((unsigned char)*p) && !strchr("_-/.", *p))
                        return err_set(err, EINVAL, "sysctl %s: bad name", key);
        }
        if (strstr(path, "..") || strstr(path, "//") || !sysctl_is_namespaced(path, network))
                return err_set(err, EINVAL, "sysctl %s: a container has none of its own", key);
        *ret = STEAL_PTR(path);
        return 0;
}
