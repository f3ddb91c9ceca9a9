/*
 * Copies what the image has at a volume's place into the volume: folders, files and links with
 * owner, mode and times, by descriptor. Other kinds of files are left out. What is there already
 * stays as it is: files appear in one piece, so it is either whole or the user's, and a copy that
 * was cut short can be done again.
 */
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#include "agent/shim/shim_internal.h"
#include "agent/shim/sys.h"

#define COPY_DEPTH_MAX 64
#define COPY_CHUNK     (1 << 20)
#define ENTRY_BYTES    4096 /* what one costs on the disk, about */

struct dirent64 {
        uint64_t ino;
        int64_t off;
        uint16_t reclen;
        uint8_t type;
        char name[];
};

typedef int each_fn(int from, int to, const char *name, int depth);

/* Calls fn for each entry but . and .. until it returns other than 0. */
static int for_each(int from, int to, int depth, each_fn *fn)
{
        char buffer[2048] __attribute__((aligned(8)));
        int r = 0;

        for (;;) {
                long n = syscall(SYS_getdents64, from, buffer, sizeof(buffer));

                if (n <= 0)
                        return n < 0 ? -errno : 0;
                for (long i = 0; i < n && r == 0;) {
                        struct dirent64 *e = (struct dirent64 *)(void *)(buffer + i);

                        i += e->reclen;
                        if (strcmp(e->name, ".") != 0 && strcmp(e->name, "..") != 0)
                                r = fn(from, to, e->name, depth);
                }
                if (r != 0)
                        return r;
        }
}

/* Of the image: by no link, and into no other mount. */
static int open_image(int from, const char *name, uint64_t flags)
{
        return sys_openat2(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | flags, 0,
                           RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS);
}

static int copy_content(int in, int out, const struct stat *st)
{
        struct timespec times[2] = {st->st_atim, st->st_mtim};
        ssize_t n;
        int r = 0;

        while (r == 0 && (n = sendfile(out, in, NULL, COPY_CHUNK)) != 0)
                r = n < 0 ? -errno : fill_made(out, (size_t)n);
        if (r < 0)
                return r;
        if (fchown(out, st->st_uid, st->st_gid) < 0 || fchmod(out, st->st_mode & 07777) < 0 ||
            futimens(out, times) < 0)
                return -errno;
        return 0;
}

/* On a file system without unnamed files: by its name, and away again when it fails. Only there one
 * that is killed meanwhile leaves a part of a file. */
static int copy_file_named(int in, int to, const char *name, const struct stat *st)
{
        int out = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

        if (out < 0)
                return errno == EEXIST ? 0 : -errno;
        int r = copy_content(in, out, st);

        close(out);
        if (r < 0)
                unlinkat(to, name, 0);
        return r;
}

static int copy_file(int from, int to, const char *name, const struct stat *st)
{
        int in = open_image(from, name, 0);

        if (in < 0)
                return in;
        int out = openat(to, ".", O_WRONLY | O_TMPFILE | O_CLOEXEC, 0600);
        int r = out < 0 ? -errno : copy_content(in, out, st);

        if (r == 0) {
                step();
                r = linkat(out, "", to, name, AT_EMPTY_PATH) < 0 && errno != EEXIST ? -errno : 0;
        } else if (out < 0 && (r == -EOPNOTSUPP || r == -EISDIR)) {
                r = copy_file_named(in, to, name, st);
        }
        close(in);
        if (out >= 0)
                close(out);
        return r;
}

static int copy_link(int from, int to, const char *name, const struct stat *st)
{
        char target[4096];
        ssize_t n = readlinkat(from, name, target, sizeof(target) - 1);

        if (n < 0)
                return -errno;
        target[n] = 0;
        if (symlinkat(target, to, name) < 0)
                return errno == EEXIST ? 0 : -errno;
        return fchownat(to, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

static int set_owner(int fd, const struct stat *st)
{
        return fchown(fd, st->st_uid, st->st_gid) < 0 || fchmod(fd, st->st_mode & 07777) < 0
                       ? -errno
                       : 0;
}

static int copy_entry(int from, int to, const char *name, int depth);

/* A folder of the user keeps its owner and mode. One that was just made, by us or by a copy that
 * was cut short there, has these. */
static bool is_new(int fd)
{
        struct stat st;

        return fstat(fd, &st) == 0 && st.st_uid == 0 && st.st_gid == 0 &&
               (st.st_mode & 07777) == 0700;
}

static int copy_folder(int from, int to, const char *name, const struct stat *st, int depth)
{
        if (mkdirat(to, name, 0700) < 0 && errno != EEXIST)
                return -errno;
        step();
        int out = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

        if (out < 0)
                return errno == ENOTDIR || errno == ELOOP ? 0 : -errno; /* the user's, then */
        int in = open_image(from, name, O_DIRECTORY);
        int r = in < 0 ? in : is_new(out) ? set_owner(out, st) : 0;

        if (r == 0)
                r = for_each(in, out, depth + 1, copy_entry);
        if (in >= 0)
                close(in);
        close(out);
        return r;
}

static int copy_entry(int from, int to, const char *name, int depth)
{
        struct stat st, there;
        int r = fill_made(to, ENTRY_BYTES);

        if (r < 0)
                return r;
        if (depth > COPY_DEPTH_MAX)
                return -ELOOP;
        step();
        if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return -errno;
        if (S_ISDIR(st.st_mode))
                return copy_folder(from, to, name, &st, depth);
        if (fstatat(to, name, &there, AT_SYMLINK_NOFOLLOW) == 0)
                return 0;
        return S_ISREG(st.st_mode)   ? copy_file(from, to, name, &st)
               : S_ISLNK(st.st_mode) ? copy_link(from, to, name, &st)
                                     : 0;
}

static int found(int from, int to, const char *name, int depth)
{
        (void)from, (void)to, (void)name, (void)depth;
        return 1;
}

int copy_is_empty(int folder)
{
        int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int r = fd < 0 ? -errno : for_each(fd, fd, 0, found);

        if (fd >= 0)
                close(fd);
        return r < 0 ? r : r == 0;
}

int copy_owner(int from, int to)
{
        struct stat st;

        return fstat(from, &st) < 0 ? -errno : set_owner(to, &st);
}

int copy_up(int from, int to)
{
        return for_each(from, to, 1, copy_entry);
}
