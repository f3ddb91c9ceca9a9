/*
 * The mounts a user asked for, and the three files of the container's folder. Sources are made
 * where that was asked for, here and not by the agent: a dead network mount would stop it. They are
 * picked up before the tree becomes private, so that propagation can be kept; each target is opened
 * in the root and used by descriptor.
 */
#include <limits.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "agent/shim/shim_internal.h"
#include "agent/shim/sys.h"

#define MS_PRIVATE_BIT (1u << 18)
#define MS_SLAVE_BIT   (1u << 19)

static int sources[SHIM_MOUNTS_MAX];

static const struct shim_mount *mount_of(uint32_t i)
{
        return (const struct shim_mount *)(const void *)((const char *)shim.spec +
                                                         shim.spec->mounts.offset) +
               i;
}

static int make_folders(const char *path)
{
        char part[PATH_MAX];
        size_t n = strlen(path);

        if (n >= sizeof(part))
                return -ENAMETOOLONG;
        for (size_t i = 1; i <= n; i++) {
                if (path[i] != '/' && path[i] != 0)
                        continue;
                memcpy(part, path, i);
                part[i] = 0;
                if (mkdir(part, 0755) < 0 && errno != EEXIST)
                        return -errno;
        }
        return 0;
}

static void make_source(const struct shim_mount *m)
{
        const char *source = spec_text(shim.spec, m->source);
        char what[SHIM_TEXT_MAX];
        struct text t = {what, 0, sizeof(what)};

        progress_at("mount source", source);
        if (faccessat(AT_FDCWD, source, F_OK, 0) == 0)
                return;
        text_add(&t, "mount ");
        text_add(&t, spec_text(shim.spec, m->target));
        text_add(&t, ": make");
        child_check(make_folders(source), what, source);
}

static int open_source(const struct shim_mount *m)
{
        const char *source = spec_text(shim.spec, m->source);
        unsigned flags = OPEN_TREE_CLONE | AT_EMPTY_PATH |
                         (m->flags & SHIM_MOUNT_NONRECURSIVE ? 0 : AT_RECURSIVE);

        progress_at("mount source", source);
        int fd = open(source, O_PATH | O_CLOEXEC);

        child_check(fd < 0 ? -errno : 0, "mount source", source);
        if (m->subpath) {
                const char *sub = spec_text(shim.spec, m->subpath);
                int below =
                        sys_openat2(fd, sub, O_PATH, 0, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);

                child_check(below, "mount subpath", sub);
                close(fd);
                fd = below;
        }
        int tree = sys_open_tree(fd, "", flags);

        child_check(tree, "mount source", source);
        close(fd);
        return tree;
}

/* All are made first: several mounts may have one source. */
void binds_open(void)
{
        for (uint32_t i = 0; i < shim.spec->mounts.count; i++)
                if (mount_of(i)->type == SHIM_MOUNT_BIND && mount_of(i)->flags & SHIM_MOUNT_CREATE)
                        make_source(mount_of(i));
        for (uint32_t i = 0; i < shim.spec->mounts.count; i++)
                if (mount_of(i)->type == SHIM_MOUNT_BIND)
                        sources[i] = open_source(mount_of(i));
}

static void set_propagation(int fd, uint32_t propagation, const char *target)
{
        struct mount_attr a = {0};
        bool is_recursive = propagation == SHIM_RPRIVATE || propagation == SHIM_RSLAVE;

        if (propagation == SHIM_PRIVATE || propagation == SHIM_RPRIVATE)
                a.propagation = MS_PRIVATE_BIT;
        else if (propagation == SHIM_SLAVE || propagation == SHIM_RSLAVE)
                a.propagation = MS_SLAVE_BIT;
        else
                return;
        child_check(sys_mount_setattr(fd, is_recursive ? AT_RECURSIVE : 0, &a), "mount", target);
}

static int make_tmpfs(const struct shim_mount *m)
{
        char size[24], mode[24];
        const char *options[] = {"mode", mode, "size", size, NULL};
        struct text s = {size, 0, sizeof(size)}, o = {mode, 0, sizeof(mode)};

        text_add_number(&s, (int64_t)m->size);
        for (int shift = 9; shift >= 0; shift -= 3)
                text_add_number(&o, (int64_t)(m->mode >> shift & 7));
        if (m->size == 0)
                options[2] = NULL;
        return mount_new("tmpfs", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC,
                         options);
}

static bool is_same(const struct stat *a, const struct stat *b)
{
        return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Nothing may be put over proc, sysfs or the cgroups: what the kernel shows there is relied on. Nor
 * over the root, which a link of the image or a ".." can lead to. */
static void check_target(int root, int at, const char *target)
{
        struct statfs fs;
        struct stat a, b;

        child_check(fstatfs(at, &fs) < 0 ? -errno : 0, "mount", target);
        child_check(fstat(at, &a) < 0 || fstat(root, &b) < 0 ? -errno : 0, "mount", target);
        if (is_same(&a, &b))
                child_fail(125, EPERM, "mount over the root folder", target);
        if (fs.f_type == PROC_SUPER_MAGIC || fs.f_type == SYSFS_MAGIC ||
            fs.f_type == CGROUP_SUPER_MAGIC || fs.f_type == CGROUP2_SUPER_MAGIC)
                child_fail(125, EPERM, "mount over a system folder", target);
}

/* From the folder that was checked. A clone of its mount alone shows what the image has there,
 * without what is mounted below; and a folder of another mount has nothing of the image. */
static void fill_from_image(int fd, int root, int at, const struct shim_mount *m)
{
        const char *target = spec_text(shim.spec, m->target);
        const char *source = spec_text(shim.spec, m->source);
        struct stat a, b;

        progress_at("copy up", target);
        child_check(fstat(at, &a) < 0 || fstat(root, &b) < 0 ? -errno : 0, "copy up", target);
        if (a.st_dev != b.st_dev)
                return;
        int image = sys_open_tree(at, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);

        child_check(image, "copy up", target);
        int from = sys_openat2(image, ".", O_RDONLY | O_DIRECTORY, 0,
                               RESOLVE_IN_ROOT | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS);

        child_check(from, "copy up", target);
        child_check(fill_volume(from, fd, m->flags & SHIM_MOUNT_OWN ? NULL : source), "copy up",
                    target);
        close(from);
        close(image);
}

static void attach(int root, const struct shim_mount *m, int fd)
{
        const char *target = spec_text(shim.spec, m->target);
        struct stat st;

        child_check(fd, "mount", target);
        child_check(fstat(fd, &st) < 0 ? -errno : 0, "mount", target);
        int at = root_open_make(root, target, S_ISDIR(st.st_mode), 0755);

        child_check(at, "mount", target);
        check_target(root, at, target);
        if (m->flags & SHIM_MOUNT_COPY_UP && S_ISDIR(st.st_mode))
                fill_from_image(fd, root, at, m);
        if (m->type == SHIM_MOUNT_BIND)
                set_propagation(fd, m->propagation, target);
        if (m->flags & SHIM_MOUNT_READ_ONLY)
                child_check(set_read_only(fd, !(m->flags & SHIM_MOUNT_NONRECURSIVE)), "mount",
                            target);
        child_check(sys_move_mount(fd, at), "mount", target);
        close(at);
        close(fd);
}

static void write_text(int fd, const char *text, const char *target)
{
        size_t n = strlen(text);

        while (n > 0) {
                ssize_t w = write(fd, text, n);

                child_check(w < 0 ? -errno : 0, "write", target);
                text += w;
                n -= (size_t)w;
        }
}

/* The user has mounted a folder of his there. */
static bool is_covered(int root, const char *folder)
{
        int fd = root_open(root, folder, O_PATH | O_DIRECTORY);
        struct stat a, b;

        if (fd < 0)
                return false;
        bool is = fstat(fd, &a) == 0 && fstat(root, &b) == 0 && a.st_dev != b.st_dev;

        close(fd);
        return is;
}

/* The place of a file of the container's own, -1: there is none. A folder that the user has mounted
 * on /etc may have no place for it, or none that can be made; a file that he has mounted is his. */
static int find_own(int root, const char *target)
{
        int at = root_open_make(root, target, false, 0644);

        if (at < 0 && is_covered(root, "/etc"))
                return -1;
        child_check(at, "mount", target);
        int is_users = sys_is_mount_root(at); /* the image has none */

        child_check(is_users, "mount", target);
        if (is_users) {
                close(at);
                return -1;
        }
        check_target(root, at, target);
        return at;
}

/* It lives in the memory of the container's /dev, where it has no name: nothing of it has to be
 * made on the disk, and removed again. */
static void attach_own(int root, int dev, const char *target, const char *text, const char *more)
{
        int at = find_own(root, target);

        if (at < 0)
                return;
        int file = openat(dev, "own", O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);

        child_check(file < 0 ? -errno : 0, "make", target);
        write_text(file, text, target);
        write_text(file, more, target);
        int fd = sys_open_tree(file, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);

        child_check(fd, "mount", target);
        if (shim.spec->flags & SHIM_READ_ONLY)
                child_check(set_read_only(fd, false), "mount", target);
        child_check(sys_move_mount(fd, at), "mount", target);
        child_check(unlinkat(dev, "own", 0) < 0 ? -errno : 0, "make", target);
        close(at);
        close(fd);
        close(file);
}

/* The container's own files come last: the user's mounts could hide them. */
void binds_attach(int root)
{
        const struct shim_spec *s = shim.spec;
        int dev = root_open(root, "/dev", O_RDONLY | O_DIRECTORY); /* its own, and not a mount */

        child_check(dev, "open", "/dev");
        for (uint32_t i = 0; i < shim.spec->mounts.count; i++) {
                const struct shim_mount *m = mount_of(i);

                attach(root, m, m->type == SHIM_MOUNT_BIND ? sources[i] : make_tmpfs(m));
        }
        attach_own(root, dev, "/etc/hosts", spec_text(s, s->hosts), "");
        attach_own(root, dev, "/etc/hostname", spec_text(s, s->hostname), "\n");
        attach_own(root, dev, "/etc/resolv.conf", spec_text(s, s->resolv), "");
        close(dev);
}
