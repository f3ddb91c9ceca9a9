/* Fills an empty volume with what the image has at its place: folders, files and links with owner,
 * mode and times, by descriptor. Other kinds of files are left out. */
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#include "agent/shim/shim_internal.h"
#include "agent/shim/sys.h"

#define COPY_DEPTH_MAX 64
#define COPY_CHUNK     (1 << 20)

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

static int copy_file(int from, int to, const char *name, const struct stat *st)
{
        int in = open_image(from, name, 0);
        int out = in < 0 ? in
                         : openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                                  0600);
        int r = in < 0 ? in : out < 0 ? -errno : 0;
        struct timespec times[2] = {st->st_atim, st->st_mtim};

        while (r == 0) {
                ssize_t n = sendfile(out, in, NULL, COPY_CHUNK);

                if (n <= 0) {
                        r = n < 0 ? -errno : 0;
                        break;
                }
        }
        if (r == 0 && (fchown(out, st->st_uid, st->st_gid) < 0 ||
                       fchmod(out, st->st_mode & 07777) < 0 || futimens(out, times) < 0))
                r = -errno;
        if (in >= 0)
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
        if (symlinkat(target, to, name) < 0 ||
            fchownat(to, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0)
                return -errno;
        return 0;
}

static int copy_entry(int from, int to, const char *name, int depth);

static int copy_folder(int from, int to, const struct stat *st, int depth)
{
        int r = for_each(from, to, depth + 1, copy_entry);

        if (r == 0 &&
            (fchown(to, st->st_uid, st->st_gid) < 0 || fchmod(to, st->st_mode & 07777) < 0))
                r = -errno;
        return r;
}

static int copy_entry(int from, int to, const char *name, int depth)
{
        struct stat st;

        if (depth > COPY_DEPTH_MAX)
                return -ELOOP;
        if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return -errno;
        if (S_ISREG(st.st_mode))
                return copy_file(from, to, name, &st);
        if (S_ISLNK(st.st_mode))
                return copy_link(from, to, name, &st);
        if (!S_ISDIR(st.st_mode))
                return 0;
        if (mkdirat(to, name, 0700) < 0)
                return -errno;
        int in = open_image(from, name, O_DIRECTORY);
        int out = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int r = in < 0 ? in : out < 0 ? -errno : copy_folder(in, out, &st, depth);

        if (in >= 0)
                close(in);
        if (out >= 0)
                close(out);
        return r;
}

static int found(int from, int to, const char *name, int depth)
{
        (void)from, (void)to, (void)name, (void)depth;
        return 1;
}

/* to: the volume; nothing happens unless it is empty. */
int copy_up(int from, int to)
{
        int out = openat(to, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        struct stat st;
        int r = out < 0 ? -errno : for_each(out, out, 0, found);

        if (r == 0)
                r = fstat(from, &st) < 0 ? -errno : copy_folder(from, out, &st, 0);
        if (out >= 0)
                close(out);
        return r > 0 ? 0 : r;
}
