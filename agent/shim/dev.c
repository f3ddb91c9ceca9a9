/* /dev of the container: a small tmpfs with the six nodes, links, pts, shm, mqueue, a terminal. */
#include <linux/magic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <termios.h>

#include "agent/shim/shim_internal.h"
#include "agent/shim/sys.h"

static const struct {
        const char *name;
        unsigned major, minor;
} nodes[] = {{"null", 1, 3},   {"zero", 1, 5},    {"full", 1, 7},
             {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}};
static const struct {
        const char *name, *to;
} links[] = {{"fd", "/proc/self/fd"},       {"stdin", "/proc/self/fd/0"},
             {"stdout", "/proc/self/fd/1"}, {"stderr", "/proc/self/fd/2"},
             {"ptmx", "pts/ptmx"},          {"core", "/proc/kcore"}};

static void mount_below(int dev, const char *name, int mount)
{
        child_check(mount, "mount /dev/", name);
        child_check(mkdirat(dev, name, 0755) < 0 ? -errno : 0, "mkdir /dev/", name);
        int at = openat(dev, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

        child_check(at < 0 ? -errno : 0, "mount /dev/", name);
        child_check(sys_move_mount(mount, at), "mount /dev/", name);
        close(at);
        close(mount);
}

int dev_make(int root)
{
        static const char *const options[] = {"mode", "755", "size", "65536k", NULL};
        static const char *const pts[] = {"mode", "0620", "ptmxmode", "0666", "gid", "5", NULL};
        static const char *const shm[] = {"mode", "1777", "size", "64m", NULL};
        unsigned safe = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
        int dev = mount_new("tmpfs", MOUNT_ATTR_NOSUID | MOUNT_ATTR_STRICTATIME, options);

        mount_attach(dev, root, "/dev");
        for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++)
                child_check(mknodat(dev, nodes[i].name, S_IFCHR | 0666,
                                    makedev(nodes[i].major, nodes[i].minor)) < 0
                                    ? -errno
                                    : 0,
                            "mknod /dev/", nodes[i].name);
        for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++)
                child_check(symlinkat(links[i].to, dev, links[i].name) < 0 ? -errno : 0,
                            "symlink /dev/", links[i].name);
        mount_below(dev, "pts", mount_new("devpts", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, pts));
        mount_below(dev, "shm", mount_new("tmpfs", safe, shm));
        mount_below(dev, "mqueue", mount_new("mqueue", safe, NULL));
        int null = openat(dev, "null", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

        child_check(null < 0 ? -errno : 0, "open", "/dev/null");
        close(dev);
        return null;
}

/* A terminal of the container's own pts. The master goes to the supervisor, the slave becomes
 * descriptors 0 to 2 and /dev/console; both are opened by number, never by a name of the image. */
void dev_make_tty(int root, int stdio[3])
{
        int ptmx = root_open(root, "/dev/pts/ptmx", O_RDWR | O_NOCTTY);
        struct statfs fs;
        int unlock = 0;

        child_check(ptmx, "open", "/dev/pts/ptmx");
        if (fstatfs(ptmx, &fs) < 0 || fs.f_type != DEVPTS_SUPER_MAGIC)
                child_fail(125, EINVAL, "unsafe terminal", "/dev/pts/ptmx");
        child_check(ioctl(ptmx, TIOCSPTLCK, &unlock) < 0 ? -errno : 0, "open", "/dev/pts");
        int slave = ioctl(ptmx, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);

        child_check(slave < 0 ? -errno : 0, "open", "/dev/pts");
        int at = root_open_make(root, "/dev/console", false, 0600);

        child_check(at, "mount", "/dev/console");
        int tree = sys_open_tree(slave, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);

        child_check(tree, "mount", "/dev/console");
        child_check(sys_move_mount(tree, at), "mount", "/dev/console");
        close(tree);
        close(at);
        struct shim_message m = {.type = SHIM_STARTED};

        child_check(message_send(child_sync_fd, &m, "", ptmx, 0), "pass", "terminal");
        close(ptmx);
        close(stdio[0]);
        stdio[0] = stdio[1] = stdio[2] = slave;
}
