/*
 * The container's file systems: layers, proc, sysfs, cgroups, masks, the pivot. Runs in the first
 * process, in its own mount namespace. Every step that fails ends the start with "mount PATH: why".
 */
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "agent/shim/shim_internal.h"
#include "agent/shim/sys.h"

#define MOUNT_OPTIONS_MAX 4000

static void fd_path(char *p, size_t cap, int fd)
{
        struct text t = {p, 0, cap};

        text_add(&t, "/proc/self/fd/");
        text_add_number(&t, fd);
}

/* Adds a folder to an overlay being made; by descriptor, so that names of any length and with any
 * character will do. */
static int overlay_add(int fs, const char *key, int dirfd, const char *path)
{
        char link[64];
        int fd = openat(dirfd, path, O_PATH | O_DIRECTORY | O_CLOEXEC);

        if (fd < 0)
                return -errno;
        fd_path(link, sizeof(link), fd);
        int r = sys_fsconfig(fs, FSCONFIG_SET_STRING, key, link);

        close(fd);
        return r;
}

static int overlay_set(int fs, const char *key, const char *value)
{
        int r = sys_fsconfig(fs, FSCONFIG_SET_STRING, key, value);

        return r == -EINVAL ? 0 : r; /* an older kernel that lacks the option */
}

/* Before Linux 6.5 there is no lowerdir+: one string for mount(2), then the mount is picked up. */
static int overlay_old(const struct shim_spec *s)
{
        static char options[MOUNT_OPTIONS_MAX];
        struct text t = {options, 0, sizeof(options)};
        char link[64];

        text_add(&t, "metacopy=off,redirect_dir=nofollow,volatile,upperdir=");
        fd_path(link, sizeof(link), openat(shim.folder_fd, "upper", O_PATH | O_CLOEXEC));
        text_add(&t, link);
        text_add(&t, ",workdir=");
        fd_path(link, sizeof(link), openat(shim.folder_fd, "work", O_PATH | O_CLOEXEC));
        text_add(&t, link);
        for (uint32_t i = s->layers.count; i-- > 0;) {
                const char *layer = spec_item(s, &s->layers, i);
                int fd = open(layer, O_PATH | O_DIRECTORY | O_CLOEXEC);

                if (fd < 0)
                        child_fail(125, errno, "layer", layer);
                fd_path(link, sizeof(link), fd);
                text_add(&t, i + 1 == s->layers.count ? ",lowerdir=" : ":");
                text_add(&t, link);
        }
        if (t.n + 1 >= t.cap)
                return -E2BIG;
        fd_path(link, sizeof(link), shim.folder_fd);
        long r = syscall(SYS_mount, "overlay", link, "overlay", 0UL, options);
        if (r < 0)
                return -errno;
        int fd = sys_open_tree(AT_FDCWD, link, OPEN_TREE_CLONE);

        syscall(SYS_umount2, link, SYS_MNT_DETACH);
        return fd;
}

static int overlay_new(const struct shim_spec *s)
{
        int fs = sys_fsopen("overlay");
        int r = fs;

        for (uint32_t i = s->layers.count; r >= 0 && i-- > 0;) {
                r = overlay_add(fs, "lowerdir+", AT_FDCWD, spec_item(s, &s->layers, i));
                if (r == -EINVAL && i + 1 == s->layers.count) {
                        close(fs);
                        return overlay_old(s);
                }
                if (r < 0)
                        child_fail(125, -r, "layer", spec_item(s, &s->layers, i));
        }
        if (r >= 0)
                r = overlay_add(fs, "upperdir", shim.folder_fd, "upper");
        if (r >= 0)
                r = overlay_add(fs, "workdir", shim.folder_fd, "work");
        if (r >= 0)
                r = overlay_set(fs, "metacopy", "off");
        if (r >= 0)
                r = overlay_set(fs, "redirect_dir", "nofollow");
        /* The writable layer is never used again after a crash of the host: no need to sync it. */
        if (r >= 0 && sys_fsconfig(fs, FSCONFIG_SET_FLAG, "volatile", NULL) < 0)
                r = 0;
        if (r >= 0)
                r = sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL);
        if (r >= 0)
                r = sys_fsmount(fs, 0);
        if (fs >= 0)
                close(fs);
        return r;
}

/* The mount lies over the container's own folder, in this namespace only. */
int mount_overlay(void)
{
        int fd = overlay_new(shim.spec);

        child_check(fd, "mount", "/");
        child_check(sys_move_mount(fd, shim.folder_fd), "mount", "/");
        return fd;
}

/* options: pairs of key and value, NULL at the end; a value NULL is a flag. */
int mount_new(const char *type, unsigned attributes, const char *const *options)
{
        int fs = sys_fsopen(type);
        int r = fs;

        for (size_t i = 0; r >= 0 && options && options[i]; i += 2)
                r = sys_fsconfig(fs, options[i + 1] ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG,
                                 options[i], options[i + 1]);
        if (r >= 0)
                r = sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL);
        if (r >= 0)
                r = sys_fsmount(fs, attributes);
        if (fs >= 0)
                close(fs);
        return r;
}

int mount_proc(void)
{
        int fd = mount_new("proc", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, NULL);

        child_check(fd, "mount", "/proc");
        return fd;
}

/* Onto a folder of the image, which must be one: a link named /proc would make every later write
 * there go astray. */
void mount_attach(int mount, int root, const char *path)
{
        child_check(mount, "mount", path);
        int at = sys_openat2(root, path + 1, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0,
                             RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS);
        if (at == -ENOENT)
                at = root_open_make(root, path, true, 0755);
        if (at == -ELOOP || at == -ENOTDIR)
                child_fail(125, ENOTDIR, "unsafe image", path);
        child_check(at, "mount", path);
        child_check(sys_move_mount(mount, at), "mount", path);
        close(at);
}

int set_read_only(int mount, bool is_recursive)
{
        struct mount_attr a = {.attr_set = MOUNT_ATTR_RDONLY};

        return sys_mount_setattr(mount, is_recursive ? AT_RECURSIVE : 0, &a);
}

#define SYSTEM_ATTRIBUTES (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)

static void mount_cgroups(int root)
{
        const struct shim_spec *s = shim.spec;
        static const char *const options[] = {"mode", "755", "size", "64k", NULL, NULL};
        char path[128];

        if (s->flags & SHIM_CGROUP2_MOUNT) {
                int fd = mount_new("cgroup2", SYSTEM_ATTRIBUTES | MOUNT_ATTR_RDONLY, NULL);

                mount_attach(fd, root, "/sys/fs/cgroup");
                close(fd);
                return;
        }
        int top = mount_new("tmpfs", SYSTEM_ATTRIBUTES, options);

        mount_attach(top, root, "/sys/fs/cgroup");
        for (uint32_t i = 0; i + 1 < s->cgroups.count; i += 2) {
                struct text t = {path, 0, sizeof(path)};
                struct mount_attr a = {.attr_set = SYSTEM_ATTRIBUTES | MOUNT_ATTR_RDONLY};
                int fd = sys_open_tree(AT_FDCWD, spec_item(s, &s->cgroups, i + 1), OPEN_TREE_CLONE);

                text_add(&t, "/sys/fs/cgroup/");
                text_add(&t, spec_item(s, &s->cgroups, i));
                child_check(fd, "mount", path);
                child_check(sys_mount_setattr(fd, 0, &a), "mount", path);
                mount_attach(fd, root, path);
                close(fd);
        }
        child_check(set_read_only(top, false), "mount", "/sys/fs/cgroup");
        close(top);
}

void mount_system(int root, int proc)
{
        struct mount_attr a = {.attr_set = SYSTEM_ATTRIBUTES | MOUNT_ATTR_RDONLY};
        int sys;

        mount_attach(proc, root, "/proc");
        /* With the host's network a new sysfs would show another one: the host's, then. */
        if (shim.spec->flags & SHIM_HOST_NETWORK) {
                sys = sys_open_tree(AT_FDCWD, "/sys", OPEN_TREE_CLONE);
                child_check(sys, "mount", "/sys");
                child_check(sys_mount_setattr(sys, 0, &a), "mount", "/sys");
        } else {
                sys = mount_new("sysfs", SYSTEM_ATTRIBUTES | MOUNT_ATTR_RDONLY, NULL);
        }
        mount_attach(sys, root, "/sys");
        close(sys);
        mount_cgroups(root);
}

static const char *const masked[] = {
        "proc/acpi",       "proc/asound",        "proc/interrupts",  "proc/kcore",
        "proc/keys",       "proc/latency_stats", "proc/sched_debug", "proc/scsi",
        "proc/timer_list", "proc/timer_stats",   "sys/firmware",     "sys/devices/virtual/powercap",
};
static const char *const guarded[] = {"proc/bus", "proc/fs", "proc/irq", "proc/sys",
                                      "proc/sysrq-trigger"};

/* -ENOENT is fine: not every kernel has every file. */
static int open_system(int root, const char *path)
{
        int fd = sys_openat2(root, path, O_PATH, 0, RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS);

        if (fd < 0 && fd != -ENOENT)
                child_fail(125, -fd, "mask", path);
        return fd;
}

static void mask(int root, const char *path, int null, int empty)
{
        int at = open_system(root, path);
        struct stat st;

        if (at < 0)
                return;
        child_check(fstat(at, &st) < 0 ? -errno : 0, "mask", path);
        int fd = sys_open_tree(S_ISDIR(st.st_mode) ? empty : null, "",
                               OPEN_TREE_CLONE | AT_EMPTY_PATH);

        child_check(fd, "mask", path);
        child_check(sys_move_mount(fd, at), "mask", path);
        close(fd);
        close(at);
}

static void mask_throttles(int root, int null, int empty)
{
        char path[96];

        for (int cpu = 0;; cpu++) {
                struct text t = {path, 0, sizeof(path)};

                text_add(&t, "sys/devices/system/cpu/cpu");
                text_add_number(&t, cpu);
                int fd = open_system(root, path);
                if (fd < 0)
                        return;
                close(fd);
                text_add(&t, "/thermal_throttle");
                mask(root, path, null, empty);
        }
}

void mount_protect(int root)
{
        static const char *const options[] = {"mode", "755", "size", "0", "nr_inodes", "2", NULL};
        int null = root_open(root, "/dev/null", O_PATH | O_NOFOLLOW);
        int empty = mount_new("tmpfs", SYSTEM_ATTRIBUTES | MOUNT_ATTR_RDONLY, options);
        struct stat st;

        child_check(null, "open", "/dev/null");
        child_check(empty, "mount", "masks");
        if (fstat(null, &st) < 0 || !S_ISCHR(st.st_mode) || st.st_rdev != 0x103)
                child_fail(125, EINVAL, "unsafe image", "/dev/null");
        for (size_t i = 0; i < sizeof(masked) / sizeof(masked[0]); i++)
                mask(root, masked[i], null, empty);
        mask_throttles(root, null, empty);
        for (size_t i = 0; i < sizeof(guarded) / sizeof(guarded[0]); i++) {
                int at = open_system(root, guarded[i]);

                if (at < 0)
                        continue;
                int fd = sys_open_tree(at, "", OPEN_TREE_CLONE | AT_EMPTY_PATH | AT_RECURSIVE);

                child_check(fd, "protect", guarded[i]);
                child_check(set_read_only(fd, true), "protect", guarded[i]);
                child_check(sys_move_mount(fd, at), "protect", guarded[i]);
                close(fd);
                close(at);
        }
        close(null);
        close(empty);
}

void mount_pivot(int root)
{
        int old = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
        struct mount_attr a = {.propagation = 1 << 19}; /* MS_SLAVE: nothing reaches the host */

        child_check(old < 0 ? -errno : 0, "open", "/");
        child_check(fchdir(root) < 0 ? -errno : 0, "open", "/");
        child_check(sys_result(syscall(SYS_pivot_root, ".", ".")), "pivot", "/");
        child_check(fchdir(old) < 0 ? -errno : 0, "pivot", "/");
        child_check(sys_mount_setattr(old, AT_RECURSIVE, &a), "pivot", "/");
        child_check(sys_result(syscall(SYS_umount2, ".", SYS_MNT_DETACH)), "pivot", "/");
        child_check(chdir("/") < 0 ? -errno : 0, "pivot", "/");
        close(old);
        if (shim.spec->flags & SHIM_READ_ONLY)
                child_check(set_read_only(root, false), "mount", "/");
}
