/* System calls that the C library has no function for. All return -errno on failure. */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif
#ifndef SYS_move_mount
#define SYS_open_tree  428
#define SYS_move_mount 429
#define SYS_fsopen     430
#define SYS_fsconfig   431
#define SYS_fsmount    432
#endif
#ifndef SYS_clone3
#define SYS_clone3 435
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef SYS_openat2
#define SYS_openat2 437
#endif
#ifndef AT_EMPTY_PATH
#define AT_EMPTY_PATH 0x1000
#endif
#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif
/* Of sys/mount.h, which cannot be had together with linux/mount.h everywhere. */
#define SYS_MNT_DETACH 2

static inline long sys_result(long r)
{
        return r < 0 ? -errno : r;
}

static inline int sys_openat2(int dirfd, const char *path, uint64_t flags, uint64_t mode,
                              uint64_t resolve)
{
        struct open_how how = {.flags = flags | O_CLOEXEC, .mode = mode, .resolve = resolve};

        return (int)sys_result(syscall(SYS_openat2, dirfd, path, &how, sizeof(how)));
}

static inline int sys_open_tree(int dirfd, const char *path, unsigned flags)
{
        return (int)sys_result(syscall(SYS_open_tree, dirfd, path, flags | OPEN_TREE_CLOEXEC));
}

/* Moves the mount of from onto the place that to stands for. */
static inline int sys_move_mount(int from, int to)
{
        return (int)sys_result(syscall(SYS_move_mount, from, "", to, "",
                                       MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH));
}

static inline int sys_fsopen(const char *type)
{
        return (int)sys_result(syscall(SYS_fsopen, type, FSOPEN_CLOEXEC));
}

static inline int sys_fsconfig(int fd, unsigned cmd, const char *key, const char *value)
{
        return (int)sys_result(syscall(SYS_fsconfig, fd, cmd, key, value, 0));
}

static inline int sys_fsmount(int fd, unsigned attributes)
{
        return (int)sys_result(syscall(SYS_fsmount, fd, FSMOUNT_CLOEXEC, attributes));
}

static inline int sys_mount_setattr(int fd, unsigned flags, struct mount_attr *a)
{
        return (int)sys_result(
                syscall(SYS_mount_setattr, fd, "", flags | AT_EMPTY_PATH, a, sizeof(*a)));
}

static inline long sys_clone3(struct clone_args *a)
{
        return sys_result(syscall(SYS_clone3, a, sizeof(*a)));
}

static inline int sys_close_range(unsigned from, unsigned to, unsigned flags)
{
        return (int)sys_result(syscall(SYS_close_range, from, to, flags));
}

/* Of struct statx, which cannot be had together with sys/stat.h everywhere: its size, where its
 * attributes are, and that of the root of a mount. */
#define SYS_STATX_WORDS      32
#define SYS_STATX_ATTRIBUTES 1
#define SYS_STATX_MOUNT_ROOT 0x2000u

/* 1: what is mounted, and not below that; 0; -errno. */
static inline int sys_is_mount_root(int fd)
{
        uint64_t st[SYS_STATX_WORDS] = {0};
        long r = sys_result(syscall(SYS_statx, fd, "", AT_EMPTY_PATH, 0u, st));

        return r < 0 ? (int)r : (st[SYS_STATX_ATTRIBUTES] & SYS_STATX_MOUNT_ROOT) != 0;
}

static inline int sys_pidfd_kill(int pidfd, int signum)
{
        return (int)sys_result(syscall(SYS_pidfd_send_signal, pidfd, signum, (void *)0, 0));
}
