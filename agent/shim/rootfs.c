/*
 * Opening below the container's root. Everything goes through openat2 with RESOLVE_IN_ROOT, so that
 * no link of an image or a shared volume leads out, and is then used by descriptor only.
 */
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/shim/shim_internal.h"
#include "agent/shim/sys.h"

int root_open(int root, const char *path, uint64_t flags)
{
        return sys_openat2(root, path, flags, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

/* Makes the last component of path; what is above is there. */
static int make_last(int root, const char *path, size_t n, bool is_folder, unsigned mode)
{
        char parent[PATH_MAX], name[NAME_MAX + 1];
        size_t slash = n;

        while (slash > 0 && path[slash - 1] != '/')
                slash--;
        if (n - slash > NAME_MAX || n - slash == 0)
                return n == slash ? 0 : -ENAMETOOLONG;
        memcpy(parent, path, slash);
        memcpy(parent + slash, ".", 2);
        memcpy(name, path + slash, n - slash);
        name[n - slash] = 0;
        int dir = root_open(root, parent, O_PATH | O_DIRECTORY);
        if (dir < 0)
                return dir;
        int r = 0;
        if (is_folder) {
                r = mkdirat(dir, name, mode) < 0 && errno != EEXIST ? -errno : 0;
        } else {
                int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                                mode);
                if (fd < 0)
                        r = errno == EEXIST ? 0 : -errno;
                else
                        close(fd);
        }
        close(dir);
        return r;
}

int root_open_make(int root, const char *path, bool is_folder, unsigned mode)
{
        size_t n = strlen(path);
        int fd = root_open(root, path, O_PATH | (is_folder ? O_DIRECTORY : 0));

        if (fd != -ENOENT)
                return fd;
        if (n + 2 > PATH_MAX)
                return -ENAMETOOLONG;
        for (size_t i = 1; i <= n; i++) {
                if (i < n && path[i] != '/')
                        continue;
                int r = make_last(root, path, i, i < n || is_folder, i < n ? 0755 : mode);
                if (r < 0)
                        return r;
        }
        return root_open(root, path, O_PATH | (is_folder ? O_DIRECTORY : 0));
}

int root_open_file(int root, const char *path)
{
        int fd = root_open(root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
        struct stat st;

        if (fd < 0)
                return fd;
        if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
                close(fd);
                return -EINVAL;
        }
        return fd;
}
