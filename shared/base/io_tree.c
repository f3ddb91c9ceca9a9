/*
 * Removing a tree: io_remove_tree of io.h. It may be one that a container made to be hard to
 * remove, but in which nothing runs any more. So there is no recursion and no descriptor a level: a
 * walk with one folder open, which goes down by a name and up by "..", checked against where it
 * came from. On its way up it finds by the place of its entry the folder that it has emptied. What
 * lies deeper than the walk remembers is moved to the top, to be met there again.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/base/io.h"
#include "shared/base/mem.h"

#define TREE_LEVELS_MAX 4096
#define TREE_IDLE_MAX   (2 * TREE_LEVELS_MAX) /* steps that remove nothing, in a row */
#define TREE_LOST_MAX   10000
#define TREE_CHUNK      2048

struct level {
        dev_t dev;
        ino_t ino;
        off_t place; /* of the entry that leads down */
};

struct walk {
        int top, fd; /* the same at the start; fd is its own */
        struct level *levels;
        size_t depth;
        off_t place;             /* in fd: what is before it has been removed */
        char name[NAME_MAX + 1]; /* the folder to go down to */
        unsigned moved;
        int idle;
        bool has_removed;
};

/* -ENOTEMPTY: a folder, to be emptied first. */
static int remove_entry(int dirfd, const char *name)
{
        if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
                return 0;
        int r = -errno;

        if (r != -EISDIR && r != -EPERM)
                return r;
        if (unlinkat(dirfd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
                return 0;
        return errno == ENOTDIR ? r : errno == EEXIST ? -ENOTEMPTY : -errno;
}

static void did_remove(struct walk *w)
{
        w->idle = 0;
        w->has_removed = true;
}

/* Removes what it can of the folder; 1: there is another one in it, w->name, to go down to. */
static int clear_folder(struct walk *w)
{
        union {
                struct dirent64 align;
                char bytes[TREE_CHUNK];
        } b;
        ssize_t n;

        /* A place may have become invalid: from the start, then. */
        if (lseek(w->fd, w->place, SEEK_SET) < 0 && lseek(w->fd, w->place = 0, SEEK_SET) < 0)
                return -errno;
        while ((n = getdents64(w->fd, b.bytes, sizeof(b.bytes))) > 0)
                for (ssize_t i = 0; i < n;) {
                        struct dirent64 *e = (struct dirent64 *)(void *)(b.bytes + i);

                        i += e->d_reclen;
                        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
                                int r = remove_entry(w->fd, e->d_name);

                                if (r == -ENOTEMPTY) {
                                        snprintf(w->name, sizeof(w->name), "%s", e->d_name);
                                        return 1;
                                }
                                if (r < 0)
                                        return r;
                                did_remove(w);
                        }
                        w->place = e->d_off;
                }
        return n < 0 ? -errno : 0;
}

static int enter(struct walk *w, int fd, off_t place)
{
        if (fd < 0)
                return -errno;
        close(w->fd);
        w->fd = fd;
        w->place = place;
        return 0;
}

/* The names at the top may be taken, by what was moved before or by the tree itself. */
static int move_to_top(struct walk *w)
{
        char name[32];

        for (;;) {
                snprintf(name, sizeof(name), "deep-%u", w->moved++);
                if (renameat(w->fd, w->name, w->top, name) == 0) {
                        did_remove(w);
                        return 0;
                }
                if (errno != EEXIST && errno != ENOTEMPTY && errno != ENOTDIR)
                        return -errno;
        }
}

static int go_down(struct walk *w)
{
        struct stat st;

        if (w->depth == TREE_LEVELS_MAX)
                return move_to_top(w);
        if (++w->idle > TREE_IDLE_MAX)
                return -ENOTEMPTY;
        if (fstat(w->fd, &st) < 0)
                return -errno;
        w->levels[w->depth] = (struct level){st.st_dev, st.st_ino, w->place};
        int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
        int r = enter(w, openat(w->fd, w->name, flags), 0);

        w->depth += r == 0;
        return r;
}

static int go_up(struct walk *w)
{
        const struct level *l = &w->levels[--w->depth];
        struct stat st;
        int r = enter(w, openat(w->fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC), l->place);

        if (r == 0 && fstat(w->fd, &st) < 0)
                r = -errno;
        if (r == 0 && (st.st_dev != l->dev || st.st_ino != l->ino))
                r = -ESTALE; /* somebody moves folders about: what else is up there is not ours */
        return r;
}

/* All below the folder, but for what was moved to its top behind the walk's back. 1: something was
 * removed, 0: nothing. */
static int empty_folder(int dirfd, const char *name)
{
        int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
        _cleanup_close_ int top = openat(dirfd, name, flags);
        struct walk w = {.top = top, .fd = top < 0 ? -1 : openat(top, ".", flags)};
        int r = w.fd < 0 ? -errno : 0;

        if (r < 0)
                return r;
        w.levels = xreallocarray(NULL, TREE_LEVELS_MAX, sizeof(struct level)); /* not zeroed */
        while ((r = clear_folder(&w)) > 0 || (r == 0 && w.depth > 0)) {
                r = r > 0 ? go_down(&w) : go_up(&w);
                if (r < 0)
                        break;
        }
        free(w.levels);
        close(w.fd);
        return r < 0 ? r : w.has_removed;
}

int io_remove_tree(int dirfd, const char *name)
{
        int r, n_lost = 0;

        while ((r = remove_entry(dirfd, name)) == -ENOTEMPTY) {
                int did = empty_folder(dirfd, name);

                bool is_lost = did == -ENOENT || did == -ENOTEMPTY || did == 0;

                if (is_lost && n_lost++ < TREE_LOST_MAX)
                        continue; /* somebody else removes it, too, and was faster there */
                if (did <= 0)
                        return did < 0 ? did : r;
        }
        return r;
}
