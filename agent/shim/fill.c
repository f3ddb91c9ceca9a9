/*
 * Filling an empty volume with what the image has at its place, once, also when several containers
 * start on it at a time and when one is killed meanwhile. Beside the volume's folder, where no
 * container sees it, there is a file ".NAME.INODE.filling" until the copy is whole and on the disk.
 * Who has it locked copies, others wait; a byte in it says that a copy had begun: whoever locks it
 * then does the rest. The volume's folder itself is not locked: its containers could lock it, too.
 *
 * All show that they get on (progress.c): who copies by what has been copied, and by the marker's
 * time for those who wait, which pass that on. So a copy may last as long as it needs, and one that
 * stands still holds nobody up for longer than it may itself.
 */
#include <limits.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "agent/shim/shim_internal.h"
#include "agent/shim/sys.h"

#define WAIT_MS      10
#define SHOW_US      1000000    /* how often the marker's time is set */
#define UNSYNCED_MAX (64 << 20) /* so that no single wait for the disk is a long one */

/* The marker's descriptor while we copy; -1: or into a volume that nobody waits for. */
static int filling = -1;
static int64_t shown_us;
static size_t unsynced;

struct marker {
        const char *source; /* the volume's path */
        int beside;         /* the folder that the volume's is in */
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
        m->source = source;
        m->beside = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return m->beside < 0 ? -errno : 0;
}

static bool marker_is_there(const struct marker *m)
{
        return faccessat(m->beside, m->name, F_OK, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT;
}

int fill_made(int fd, size_t n_bytes)
{
        int64_t now_us = wall_us();

        progress_made();
        if (filling < 0)
                return 0;
        if (now_us - shown_us >= SHOW_US || now_us < shown_us) {
                shown_us = now_us;
                futimens(filling, NULL);
        }
        unsynced += n_bytes;
        if (unsynced < UNSYNCED_MAX)
                return 0;
        unsynced = 0;
        return syncfs(fd) < 0 ? -errno : 0;
}

/* Not asleep in the kernel: whether the one who has the lock gets on must be seen. */
static int lock_patiently(const struct marker *m, int fd)
{
        struct timespec pause = {.tv_nsec = WAIT_MS * 1000000};
        struct stat before = {0}, st;

        for (bool is_first = true; flock(fd, LOCK_EX | LOCK_NB) < 0; is_first = false) {
                if (errno != EWOULDBLOCK || fstat(fd, &st) < 0)
                        return -errno;
                if (is_first)
                        progress_at("wait for another container that fills", m->source);
                else if (st.st_mtim.tv_sec != before.st_mtim.tv_sec ||
                         st.st_mtim.tv_nsec != before.st_mtim.tv_nsec)
                        progress_made();
                before = st;
                nanosleep(&pause, NULL);
        }
        progress_at("fill", m->source);
        return 0;
}

/* A locked descriptor of it; -EAGAIN: it was taken away while we waited. */
static int marker_lock(const struct marker *m)
{
        int fd = openat(m->beside, m->name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
        struct stat held, named;

        if (fd < 0)
                return -errno;
        int r = lock_patiently(m, fd);

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
        filling = fd;
        if (r == 0)
                r = copy_up(from, volume);
        filling = -1;
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
