/*
 * Filling an empty volume with what the image has at its place, once, also when several containers
 * start on it at a time and when one is killed meanwhile. Beside the volume's folder, where no
 * container sees it, there is a file ".NAME.INODE.filling" until the copy is whole and on the disk.
 * Who has it locked copies, others wait; a byte in it says that a copy had begun: whoever locks it
 * then does the rest. The volume's folder itself is not locked: its containers could lock it, too.
 */
#include <limits.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "agent/shim/shim_internal.h"
#include "agent/shim/sys.h"

struct marker {
        int beside; /* the folder that the volume's is in */
        char name[NAME_MAX + 1];
};

static int marker_open(struct marker *m, const char *source, int volume)
{
        char parent[PATH_MAX];
        size_t n = strlen(source);
        struct text t = {m->name, 0, sizeof(m->name)};
        struct stat st;

        while (n > 1 && source[n - 1] == '/')
                n--;
        if (n >= sizeof(parent) || source[0] != '/')
                return -EINVAL;
        memcpy(parent, source, n);
        parent[n] = 0;
        char *slash = strrchr(parent, '/');

        text_add(&t, ".");
        text_add(&t, slash + 1);
        *(slash == parent ? slash + 1 : slash) = 0;
        if (fstat(volume, &st) < 0)
                return -errno;
        text_add(&t, ".");
        text_add_number(&t, (int64_t)st.st_ino);
        text_add(&t, ".filling");
        if (t.n + 1 == t.cap)
                return -ENAMETOOLONG;
        m->beside = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return m->beside < 0 ? -errno : 0;
}

static bool marker_is_there(const struct marker *m)
{
        return faccessat(m->beside, m->name, F_OK, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT;
}

/* A locked descriptor of it; -EAGAIN: it was taken away while we waited. */
static int marker_lock(const struct marker *m)
{
        int fd = openat(m->beside, m->name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
        struct stat held, named;
        int r;

        if (fd < 0)
                return -errno;
        do
                r = flock(fd, LOCK_EX) < 0 ? -errno : 0;
        while (r == -EINTR);
        if (r == 0 && fstat(fd, &held) < 0)
                r = -errno;
        if (r == 0 && (fstatat(m->beside, m->name, &named, AT_SYMLINK_NOFOLLOW) < 0 ||
                       held.st_ino != named.st_ino))
                r = -EAGAIN;
        if (r < 0)
                close(fd);
        return r < 0 ? r : fd;
}

/* On the disk before the first file, so that it is found after the host has fallen, too. */
static int begin(const struct marker *m, int fd, int from, int volume)
{
        int r = copy_owner(from, volume);

        step();
        if (r == 0 && (pwrite(fd, "1", 1, 0) != 1 || fsync(fd) < 0 || fsync(m->beside) < 0))
                r = -errno;
        return r;
}

static int fill_locked(const struct marker *m, int fd, int from, int volume)
{
        struct stat st;
        int r = fstat(fd, &st) < 0 ? -errno : 0;

        if (r == 0 && st.st_size == 0) {
                int is_empty = copy_is_empty(volume);

                if (is_empty <= 0) {
                        unlinkat(m->beside, m->name, 0);
                        return is_empty;
                }
                r = begin(m, fd, from, volume);
        }
        step();
        if (r == 0)
                r = copy_up(from, volume);
        step();
        if (r == 0 && syncfs(volume) < 0)
                r = -errno;
        step();
        if (r == 0 && unlinkat(m->beside, m->name, 0) < 0)
                r = -errno;
        return r;
}

/* Emptiness is asked first: the marker is there before the first entry is. So a volume that was not
 * empty and has no marker after that is whole, or has been the user's from the start. */
static int fill(const struct marker *m, int from, int volume)
{
        int is_empty = copy_is_empty(volume), has_nothing = copy_is_empty(from);

        if (is_empty < 0 || has_nothing < 0)
                return is_empty < 0 ? is_empty : has_nothing;
        if (!marker_is_there(m)) {
                if (!is_empty)
                        return 0;
                if (has_nothing)
                        return copy_owner(from, volume);
        }
        int fd = marker_lock(m);

        if (fd < 0)
                return fd;
        int r = fill_locked(m, fd, from, volume);

        close(fd);
        return r;
}

/* The container goes when this fails, and the volume with it. */
static int fill_own(int from, int volume)
{
        int r = copy_is_empty(volume);

        if (r <= 0)
                return r;
        r = copy_owner(from, volume);
        return r == 0 ? copy_up(from, volume) : r;
}

static int fill_shared(int from, int volume, const char *source)
{
        struct marker m;
        int r = marker_open(&m, source, volume);

        if (r < 0)
                return r;
        do
                r = fill(&m, from, volume);
        while (r == -EAGAIN);
        close(m.beside);
        return r;
}

int fill_volume(int from, int to, const char *source)
{
        int volume = openat(to, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int r = volume < 0 ? -errno
                : source   ? fill_shared(from, volume, source)
                           : fill_own(from, volume);

        if (volume >= 0)
                close(volume);
        return r;
}
