/*
 * The program that unpacks one layer: see unpack.h. A layer is the most hostile thing an agent
 * reads, so that this process first gives up what it does not need: it sees nothing but the target
 * folder, can start nothing, and has the capabilities to set owners and overlay's marks, no others.
 */
#include "agent/unpack/unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <locale.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shared/base/io.h"
#include "shared/base/mem.h"
#include "shared/base/parse.h"
#include "shared/base/str.h"
#include "shared/image/image.h"
#include "shared/image/layer.h"

#define MEMORY_BYTES_MAX (1u << 30) /* zstd's window and the folders' times fit */
#define CPU_SECONDS_MAX  3600
#define FILES_MAX        64 /* it holds a handful: the blob, the root, a folder or two */

/* Owners and modes of files of other owners; file capabilities; trusted.overlay attributes. */
#define CAPS_KEPT                                                                         \
        (1u << CAP_CHOWN | 1u << CAP_DAC_OVERRIDE | 1u << CAP_FOWNER | 1u << CAP_FSETID | \
         1u << CAP_SYS_ADMIN | 1u << CAP_SETFCAP)

/* All that unpacking and leaving need. What is not here fails with EPERM. */
static const int allowed[] = {
        SCMP_SYS(read),
        SCMP_SYS(write),
        SCMP_SYS(pwrite64),
        SCMP_SYS(openat),
        SCMP_SYS(close),
        SCMP_SYS(fstat),
        SCMP_SYS(newfstatat),
        SCMP_SYS(statx),
        SCMP_SYS(lseek),
        SCMP_SYS(fcntl),
        SCMP_SYS(getdents64),
        SCMP_SYS(mkdirat),
        SCMP_SYS(unlinkat),
        SCMP_SYS(symlinkat),
        SCMP_SYS(linkat),
        SCMP_SYS(mknodat),
        SCMP_SYS(fchown),
        SCMP_SYS(fchownat),
        SCMP_SYS(fchmod),
        SCMP_SYS(utimensat),
        SCMP_SYS(fsetxattr),
        SCMP_SYS(ftruncate),
        SCMP_SYS(umask),
        SCMP_SYS(syncfs),
        SCMP_SYS(mmap),
        SCMP_SYS(munmap),
        SCMP_SYS(mremap),
        SCMP_SYS(brk),
        SCMP_SYS(madvise),
        SCMP_SYS(mprotect),
        SCMP_SYS(futex),
        SCMP_SYS(rt_sigreturn),
        SCMP_SYS(restart_syscall),
        SCMP_SYS(getrandom),
        SCMP_SYS(clock_gettime),
        SCMP_SYS(gettimeofday),
        SCMP_SYS(exit),
        SCMP_SYS(exit_group),
        SCMP_SYS(getpid),
        SCMP_SYS(sigaltstack),
        SCMP_SYS(gettid),
        SCMP_SYS(tgkill),
        SCMP_SYS(rt_sigprocmask),
};

/* From here on "/" is the target folder, on a mount without devices, set-uid and programs, and
 * nothing else of the host has a name. Returns a descriptor of it. */
static int enter_target(int fd, struct err *err)
{
        struct mount_attr attr = {.attr_set =
                                          MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC};

        /* Taken out of the old namespace, to which the descriptor belongs, and put over the new
         * one's root. */
        _cleanup_close_ int tree =
                open_tree(fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
        if (tree < 0 || mount_setattr(tree, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
                return err_set(err, errno, "bind the target: %s", err_name(errno));
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
                return err_set(err, errno, "mount namespace: %s", err_name(errno));
        if (move_mount(tree, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0)
                return err_set(err, errno, "mount the target: %s", err_name(errno));
        if (fchdir(tree) < 0)
                return err_set(err, errno, "enter the target: %s", err_name(errno));
        /* A root that is the kernel's first one cannot be pivoted away from. */
        if (syscall(SYS_pivot_root, ".", ".") == 0) {
                if (umount2(".", MNT_DETACH) < 0)
                        return err_set(err, errno, "leave the old root: %s", err_name(errno));
        } else if (errno != EINVAL || chroot(".") < 0) {
                return err_set(err, errno, "enter the target: %s", err_name(errno));
        }
        int root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return root < 0 ? err_set(err, errno, "enter the target: %s", err_name(errno)) : root;
}

static int set_limit(int resource, rlim_t max)
{
        struct rlimit now, l = {.rlim_cur = max, .rlim_max = max};

        if (getrlimit((__rlimit_resource_t)resource, &now) == 0 && now.rlim_max < max)
                return 0; /* it is tighter already */
        return setrlimit((__rlimit_resource_t)resource, &l) < 0 ? -errno : 0;
}

static int set_limits(int64_t max_bytes, struct err *err)
{
        int r = set_limit(RLIMIT_FSIZE, (rlim_t)max_bytes);

        if (r == 0)
                r = set_limit(RLIMIT_NOFILE, FILES_MAX);
        if (r == 0)
                r = set_limit(RLIMIT_CORE, 0);
        if (r == 0)
                r = set_limit(RLIMIT_CPU, CPU_SECONDS_MAX);
#if !defined(__SANITIZE_ADDRESS__) /* whose shadow is larger than any limit */
        if (r == 0)
                r = set_limit(RLIMIT_AS, MEMORY_BYTES_MAX);
#endif
        signal(SIGXFSZ, SIG_IGN);
        signal(SIGPIPE, SIG_IGN);
        return r < 0 ? err_set(err, -r, "limits: %s", err_name(r)) : 0;
}

static int drop_capabilities(struct err *err)
{
        struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
        struct __user_cap_data_struct d[2] = {
                {.effective = CAPS_KEPT, .permitted = CAPS_KEPT},
                {0},
        };

        for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
                if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
                        return err_set(err, errno, "capabilities: %s", err_name(errno));
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || syscall(SYS_capset, &h, d) < 0)
                return err_set(err, errno, "capabilities: %s", err_name(errno));
        return 0;
}

static int filter_calls(struct err *err)
{
        scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
        int r = ctx ? 0 : -ENOMEM;

        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(allowed); i++)
                r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, allowed[i], 0);
        if (r == 0)
                r = seccomp_load(ctx);
        if (ctx)
                seccomp_release(ctx);
        return r < 0 ? err_set(err, -r, "seccomp: %s", err_name(r)) : 0;
}

int unpack_lock_in(int target_fd, int64_t max_bytes, struct err *err)
{
        int root, r;

        /* Names that are not ASCII are kept as they are only under a UTF-8 locale. */
        setlocale(LC_CTYPE, "C.UTF-8");
        root = enter_target(target_fd, err);
        if (root < 0)
                return root;
        r = set_limits(max_bytes, err);
        if (r == 0)
                r = drop_capabilities(err);
        if (r == 0)
                r = filter_calls(err);
        if (r < 0) {
                close(root);
                return r;
        }
        return root;
}

static int unpack(int argc, char **argv, struct err *err)
{
        struct layer_result result;
        uint64_t max_bytes;
        int root, r;

        if (argc != 3 || !digest_is_valid(argv[1]) || parse_u64(argv[2], &max_bytes) < 0 ||
            max_bytes > LAYER_BYTES_MAX)
                return err_set(err, EINVAL, "usage: swarm-unpack DIFF-ID MAX-BYTES");
        if (close_range(STDERR_FILENO + 1, ~0U, 0) < 0)
                return err_set(err, errno, "close: %s", err_name(errno));
        root = unpack_lock_in(STDOUT_FILENO, (int64_t)max_bytes, err);
        if (root < 0)
                return root;
        close(STDOUT_FILENO); /* it is outside of the new root */
        r = layer_unpack(STDIN_FILENO, root, argv[1], (int64_t)max_bytes, &result, err);
        /* Before the folder gets its name: what has the name is whole, even after a power cut. */
        if (r == 0 && syncfs(root) < 0)
                r = err_set(err, errno, "sync: %s", err_name(errno));
        close(root);
        return r;
}

int unpack_main(int argc, char **argv)
{
        struct err err = {0};
        int status = 0;

        if (unpack(argc, argv, &err) < 0) {
                io_write_all(STDERR_FILENO, err.text, strlen(err.text));
                status = err.code == ENOSPC || err.code == EDQUOT ? UNPACK_EXIT_NO_SPACE : 1;
        }
        /* At once: what libraries do at exit may need calls that are forbidden by now. */
        _exit(status);
}
