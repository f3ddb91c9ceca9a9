/* Files and descriptors: see io.h. */
#include "shared/base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shared/base/buf.h"
#include "shared/base/mem.h"

#define READ_CHUNK 65536

int io_write_all(int fd, const void *p, size_t n)
{
        const char *s = p;

        while (n) {
                ssize_t w = write(fd, s, n);

                if (w < 0 && errno == EINTR)
                        continue;
                if (w < 0)
                        return -errno;
                s += w;
                n -= (size_t)w;
        }
        return 0;
}

int io_read_exact(int fd, void *p, size_t n)
{
        char *s = p;

        while (n) {
                ssize_t r = read(fd, s, n);

                if (r < 0 && errno == EINTR)
                        continue;
                if (r < 0)
                        return -errno;
                if (r == 0)
                        return -EIO;
                s += r;
                n -= (size_t)r;
        }
        return 0;
}

int io_read_file(int dirfd, const char *path, size_t max_bytes, struct buf *ret)
{
        _cleanup_close_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
        _cleanup_buf_ struct buf b = {0};

        if (fd < 0)
                return -errno;
        for (;;) {
                buf_reserve(&b, READ_CHUNK);
                ssize_t r = read(fd, b.data + b.len, READ_CHUNK);

                if (r < 0 && errno == EINTR)
                        continue;
                if (r < 0)
                        return -errno;
                b.len += (size_t)r;
                b.data[b.len] = 0;
                if (b.len > max_bytes)
                        return -EFBIG;
                if (r == 0)
                        break;
        }
        buf_done(ret);
        *ret = b;
        memset(&b, 0, sizeof(b));
        return 0;
}

int io_sync_folder_of(int dirfd, const char *path)
{
        char folder[PATH_MAX];
        const char *slash = strrchr(path, '/');

        if (slash && (size_t)(slash - path) >= sizeof(folder))
                return -ENAMETOOLONG;
        snprintf(folder, sizeof(folder), "%.*s", slash ? (int)MAX(slash - path, 1) : 1,
                 slash ? path : ".");
        _cleanup_close_ int fd = openat(dirfd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 || fsync(fd) < 0)
                return -errno;
        return 0;
}

static int write_and_sync(int dirfd, const char *path, const void *p, size_t n, mode_t mode)
{
        int flags = O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC;
        _cleanup_close_ int fd = openat(dirfd, path, flags, mode);

        if (fd < 0)
                return -errno;
        int r = io_write_all(fd, p, n);
        if (r < 0)
                return r;
        return fsync(fd) < 0 ? -errno : 0;
}

int io_write_file_atomic(int dirfd, const char *path, const void *p, size_t n, mode_t mode)
{
        _cleanup_free_ char *tmp = xasprintf("%s.tmp", path);
        int r = write_and_sync(dirfd, tmp, p, n, mode);

        if (r == 0 && renameat(dirfd, tmp, dirfd, path) < 0)
                r = -errno;
        if (r < 0) {
                unlinkat(dirfd, tmp, 0);
                return r;
        }
        return io_sync_folder_of(dirfd, path);
}

static int copy_all(int from, int to)
{
        char buf[65536];
        ssize_t n;

        while ((n = read(from, buf, sizeof(buf))) != 0) {
                int r = n > 0 ? io_write_all(to, buf, (size_t)n) : errno == EINTR ? 0 : -errno;

                if (r < 0)
                        return r;
        }
        return fsync(to) < 0 ? -errno : 0;
}

int io_copy_file(const char *from, const char *to, mode_t mode)
{
        _cleanup_close_ int in = open(from, O_RDONLY | O_CLOEXEC);
        _cleanup_close_ int out =
                in < 0 ? -1 : open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);

        if (in < 0 || out < 0)
                return -errno;
        int r = copy_all(in, out);
        if (r == 0)
                r = io_sync_folder_of(AT_FDCWD, to);
        if (r < 0)
                unlink(to);
        return r;
}

int io_mkdir_all(const char *path, mode_t mode)
{
        _cleanup_free_ char *copy = xstrdup(path);

        for (char *p = copy + 1; *p; p++) {
                if (*p != '/')
                        continue;
                *p = 0;
                if (mkdir(copy, mode) < 0 && errno != EEXIST)
                        return -errno;
                *p = '/';
        }
        return mkdir(copy, mode) < 0 && errno != EEXIST ? -errno : 0;
}

int io_openat2(int dirfd, const char *path, int flags, mode_t mode, uint64_t resolve)
{
        struct open_how how = {
                .flags = (uint64_t)(unsigned)(flags | O_CLOEXEC), .mode = mode, .resolve = resolve};
        long fd = syscall(SYS_openat2, dirfd, path, &how, sizeof(how));

        return fd < 0 ? -errno : (int)fd;
}
