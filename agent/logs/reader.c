/* Reading log files: see reader.h. */
#include "agent/logs/reader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/base/mem.h"

#define CHUNK_BYTES (16 << 10)
#define HEAD_MAX    32
/* Where a line begins is not looked for beyond so much of the other descriptor's lines. */
#define LOOK_BACK_BYTES_MAX (256 << 10)
#define OPEN_TRIES          8
#define DIGITS_MAX          19

struct reader {
        struct reader_source source;
        struct id id;
        int64_t since_us;
        bool has_part;      /* since_us is that of a record that was had */
        bool is_partial[2]; /* by descriptor: the last record, */
        bool is_old[2];     /* and whether its line is from before since_us */
        int fd;
        off_t offset;      /* of data in the file; what was read begins at a record */
        bool is_last_read; /* the file was rotated away: one more look, then the next one */
        bool is_skipping;  /* until the end of a damaged record */
        ino_t last_inode;  /* 0: lines are read as they come */
        off_t last_size;   /* of that file, beyond which nothing is read */
        int last_fd;       /* holds it, so that no other file gets its number; -1: none */
        bool is_held;      /* the files have been removed: what is to be read is in held */
        int *held;         /* the newer files, oldest first */
        size_t n_held, next_held;
        int held_error; /* why there are not more */
        char *data;     /* READER_LINE_MAX; NULL: nothing is held */
        size_t begin, end;
};

/* -ENOENT: this one is not there, others may be; -ERANGE: nor are those with higher numbers. */
static int open_file(const struct reader *r, int n)
{
        _cleanup_free_ char *path = r->source.path(r->source.arg, r->id, n);
        int fd;

        if (!path)
                return -ERANGE;
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        return fd < 0 ? -errno : fd;
}

/* 0: it is not there, others may be. */
static int inode_at(const struct reader *r, int n, ino_t *ret)
{
        _cleanup_free_ char *path = r->source.path(r->source.arg, r->id, n);
        struct stat st;

        if (!path)
                return -ERANGE;
        *ret = lstat(path, &st) < 0 ? 0 : st.st_ino;
        return 0;
}

static ino_t own_inode(const struct reader *r)
{
        struct stat st;

        return fstat(r->fd, &st) < 0 ? 0 : st.st_ino;
}

/* Where a file is, and what surrounds it: a rotation that is under way, or that failed, leaves
 * numbers without a file. */
struct place {
        int own;   /* -ENOENT: it has been deleted */
        int newer; /* the one that comes after it; after one that has been deleted, the oldest.
                      -ENOENT: none */
};

static struct place find_file(const struct reader *r, ino_t inode)
{
        struct place p = {-ENOENT, -ENOENT};
        ino_t other;

        for (int n = 0; inode_at(r, n, &other) == 0; n++) {
                if (other == inode) {
                        p.own = n;
                        break;
                }
                if (other)
                        p.newer = n;
        }
        return p;
}

static struct place find_own(const struct reader *r)
{
        return find_file(r, own_inode(r));
}

/* "<us> <o|e> <F|P> <text>". False: damaged. */
static bool parse(const char *p, size_t n, struct reader_line *ret)
{
        int64_t time_us = 0;
        size_t i = 0;

        while (i < n && i < DIGITS_MAX - 1 && p[i] >= '0' && p[i] <= '9')
                time_us = time_us * 10 + (p[i++] - '0');
        if (i == 0 || n - i < 5 || p[i] != ' ' || (p[i + 1] != 'o' && p[i + 1] != 'e') ||
            p[i + 2] != ' ' || (p[i + 3] != 'F' && p[i + 3] != 'P') || p[i + 4] != ' ')
                return false;
        *ret = (struct reader_line){.time_us = time_us,
                                    .fd = p[i + 1] == 'o' ? 1 : 2,
                                    .is_partial = p[i + 3] == 'P',
                                    .text = p + i + 5,
                                    .len = n - i - 5};
        return true;
}

/* --- where to begin ----------------------------------------------------------------------------
 */

/* What is wanted in going back from the newest record: the last lines. A line may be several
 * records, with the other descriptor's between them. */
struct back {
        int64_t left;      /* lines of which nothing was seen yet */
        bool has_seen[2];  /* by descriptor */
        bool is_wanted[2]; /* its line that was seen last: older records may belong to it */
        int64_t beyond;    /* bytes since there was one that is wanted */
};

static bool is_all_found(const struct back *b)
{
        return b->left == 0 &&
               ((!b->is_wanted[0] && !b->is_wanted[1]) || b->beyond > LOOK_BACK_BYTES_MAX);
}

/* The next older record: is it wanted? */
static bool look_back(struct back *b, const struct reader_line *l)
{
        int i = l->fd - 1;

        if (!l->is_partial || !b->has_seen[i]) { /* another line ends here */
                b->is_wanted[i] = b->left > 0;
                b->left -= b->left > 0;
        }
        b->has_seen[i] = true;
        if (b->is_wanted[i])
                b->beyond = 0;
        return b->is_wanted[i];
}

/* Goes back through a file; the offset of the oldest record that is wanted, -1: none is. What
 * comes after the last newline is not whole yet. */
static int64_t seek_back(int fd, struct back *b)
{
        char buf[CHUNK_BYTES + HEAD_MAX];
        int64_t end = lseek(fd, 0, SEEK_END), found = -1;
        bool has_end = false;

        while (end > 0 && !is_all_found(b)) {
                int64_t from = MAX(end - CHUNK_BYTES, 0), size = end - from;
                ssize_t n = pread(fd, buf, (size_t)size + HEAD_MAX, from);

                if (n < size)
                        break;
                b->beyond += size;
                for (int64_t i = size - 1; i >= -(from == 0) && !is_all_found(b); i--) {
                        struct reader_line line;

                        if (i >= 0 && buf[i] != '\n')
                                continue;
                        if (has_end && parse(buf + i + 1, (size_t)(n - i - 1), &line) &&
                            look_back(b, &line))
                                found = from + i + 1;
                        has_end = true;
                }
                end = from;
        }
        return found;
}

/* Opens the file in which the last `tail` lines begin, at their place. */
static int begin_at(struct reader *r, int64_t tail)
{
        struct back b = {.left = tail};
        int64_t offset = 0;

        r->fd = -ENOENT;
        for (int n = 0; !is_all_found(&b) || r->fd < 0; n++) {
                int fd = open_file(r, n);

                if (fd == -ENOENT)
                        continue;
                if (fd == -ERANGE)
                        break;
                if (fd >= 0 && tail >= 0)
                        offset = tail == 0 ? lseek(fd, 0, SEEK_END) : seek_back(fd, &b);
                if (fd >= 0 && offset < 0 && r->fd >= 0) {
                        close(fd);
                        continue;
                }
                if (r->fd >= 0)
                        close(r->fd);
                r->fd = fd;
                r->offset = MAX(offset, 0);
                if (fd < 0)
                        break;
        }
        return MIN(r->fd, 0);
}

int reader_open(const struct reader_source *source, struct id id, int64_t tail, int64_t since_us,
                struct reader **ret)
{
        struct reader *r = xnew(struct reader);
        int e = -ENOENT;

        r->source = *source;
        r->id = id;
        r->since_us = since_us;
        r->last_fd = -1;
        /* A rotation meanwhile moves the files under us: then once more. */
        for (int i = 0; i < OPEN_TRIES; i++) {
                ino_t before = 0, after = 0;

                inode_at(r, 0, &before);
                e = begin_at(r, tail);
                inode_at(r, 0, &after);
                if (e < 0 || before == after)
                        break;
                if (i + 1 < OPEN_TRIES)
                        close(r->fd);
        }
        if (e < 0) {
                free(r);
                return e;
        }
        *ret = r;
        return 0;
}

void reader_go_on(struct reader *r)
{
        r->has_part = true;
}

int reader_end_here(struct reader *r)
{
        struct stat st;
        int fd = -ENOENT;

        for (int n = 0; fd == -ENOENT; n++)
                fd = open_file(r, n);
        if (fd < 0 && fd != -ERANGE)
                return fd;
        r->last_fd = fd;
        if (fstat(fd >= 0 ? fd : r->fd, &st) < 0)
                return -errno;
        r->last_inode = st.st_ino;
        r->last_size = st.st_size;
        return 0;
}

static bool is_last(const struct reader *r, int fd)
{
        struct stat st;

        return r->last_inode && fstat(fd, &st) == 0 && st.st_ino == r->last_inode;
}

/* All that is to be read was, or will be with this file. The last one may have been deleted since:
 * what there is is newer. */
static bool is_at_last(const struct reader *r)
{
        return r->last_inode && (is_last(r, r->fd) || find_file(r, r->last_inode).own == -ENOENT);
}

void reader_hold(struct reader *r, size_t max)
{
        struct place p = find_own(r);
        bool is_done = r->is_held || is_at_last(r);

        r->is_held = true;
        if (is_done || p.newer < 0)
                return;
        r->held = xnew_array(int, (size_t)p.newer + 1);
        for (int n = p.newer; n >= 0 && !is_done; n--) {
                int fd = r->n_held < max ? open_file(r, n) : -EMFILE;

                if (fd == -ENOENT)
                        continue;
                if (fd < 0) {
                        r->held_error = fd;
                        return;
                }
                r->held[r->n_held++] = fd;
                is_done = is_last(r, fd);
        }
}

size_t reader_n_held(const struct reader *r)
{
        return r->n_held - r->next_held;
}

void reader_close(struct reader *r)
{
        if (!r)
                return;
        close(r->fd);
        if (r->last_fd >= 0)
                close(r->last_fd);
        while (reader_n_held(r) > 0)
                close(r->held[r->next_held++]);
        free(r->held);
        free(r->data);
        free(r);
}

/* --- lines -------------------------------------------------------------------------------------
 */

/* A line is of the time at which it began. */
static bool is_due(struct reader *r, const struct reader_line *l)
{
        int i = l->fd - 1;

        if (!r->is_partial[i] || r->has_part)
                r->is_old[i] = l->time_us < r->since_us;
        r->is_partial[i] = l->is_partial;
        return !r->is_old[i];
}

/* The next record of what was read: 1, or 0 when there is no whole one. */
static int take_line(struct reader *r, struct reader_line *ret)
{
        while (r->begin < r->end) {
                char *p = r->data + r->begin;
                char *newline = memchr(p, '\n', r->end - r->begin);

                if (!newline)
                        return 0;
                r->begin += (size_t)(newline - p) + 1;
                if (r->is_skipping)
                        r->is_skipping = false;
                else if (parse(p, (size_t)(newline - p), ret) && is_due(r, ret))
                        return 1;
        }
        return 0;
}

/* How many bytes may be read now. */
static size_t allowed(const struct reader *r)
{
        if (!is_last(r, r->fd))
                return READER_LINE_MAX;
        return (size_t)MIN(MAX(r->last_size - r->offset, 0), READER_LINE_MAX);
}

static bool is_record_begin(const struct reader *r, off_t place)
{
        char before;

        return place == 0 || (pread(r->fd, &before, 1, place - 1) == 1 && before == '\n');
}

/* Where the record begins that a place of the file lies in; -1: it is not to be found. */
static off_t record_at(const struct reader *r, off_t place)
{
        size_t n = (size_t)MIN(place, READER_LINE_MAX);

        if (pread(r->fd, r->data, n, place - (off_t)n) != (ssize_t)n)
                return -1;
        const char *newline = memrchr(r->data, '\n', n);

        if (!newline)
                return n == (size_t)place ? 0 : -1;
        return place - (off_t)n + (newline - r->data) + 1;
}

/* A file is cut back to its last whole record when the disk does not take the next one, and may
 * have grown anew since: what follows is read from where a record begins now. */
static void find_record(struct reader *r)
{
        struct stat st;

        if (fstat(r->fd, &st) == 0 && st.st_size < r->offset) {
                r->offset = st.st_size;
                r->is_skipping = false;
        }
        if (r->is_skipping || is_record_begin(r, r->offset))
                return;
        off_t begin = record_at(r, r->offset);

        if (begin < 0)
                r->is_skipping = true;
        else
                r->offset = begin;
}

/* Reads on from the first record that is not taken yet, of which nothing is kept meanwhile. 1:
 * there is one now, or a part of what is skipped; 0: the file is at its end; -errno. */
static int fill(struct reader *r)
{
        if (!r->data)
                r->data = xmalloc(READER_LINE_MAX);
        r->offset += (off_t)r->begin;
        r->begin = r->end = 0;
        find_record(r);
        ssize_t n = pread(r->fd, r->data, allowed(r), r->offset);

        if (n < 0)
                return errno == EINTR || errno == EAGAIN ? 0 : -errno;
        r->end = (size_t)n;
        if (n > 0 && memchr(r->data, '\n', (size_t)n))
                return 1;
        if (n < READER_LINE_MAX) /* all that there is of it is read again when there is more */
                return 0;
        r->begin = (size_t)n;
        r->is_skipping = true;
        return 1;
}

/* Takes the next file over. A torn record at the end of a file never becomes whole. */
static void switch_to(struct reader *r, int fd)
{
        close(r->fd);
        r->fd = fd;
        r->offset = 0;
        r->begin = r->end = 0;
        r->is_last_read = r->is_skipping = false;
}

static int go_on_held(struct reader *r)
{
        if (reader_n_held(r) == 0)
                return r->held_error;
        switch_to(r, r->held[r->next_held++]);
        return 1;
}

/* The file has been read to its end: 1: there is more to read, perhaps of the next file; -errno. */
static int go_on(struct reader *r)
{
        if (r->is_held)
                return go_on_held(r);
        struct place p = find_own(r);

        if (p.newer < 0 || is_at_last(r)) {
                r->is_last_read = false;
                return 0;
        }
        if (!r->is_last_read) { /* what came between the last look and the rotation */
                r->is_last_read = true;
                return 1;
        }
        int fd = open_file(r, p.newer);
        if (fd < 0)
                return fd == -ENOENT ? 1 : fd; /* rotated just now: look again */
        if (find_own(r).newer != p.newer) {
                close(fd);
                return 1;
        }
        switch_to(r, fd);
        return 1;
}

int reader_next(struct reader *r, struct reader_line *ret)
{
        for (;;) {
                if (take_line(r, ret))
                        return 1;
                int more = fill(r);
                if (more == 0)
                        more = go_on(r);
                if (more < 0)
                        return more;
                if (more == 0) {
                        free(STEAL_PTR(r->data)); /* many are followed and few speak */
                        r->end = 0;
                        return 0;
                }
        }
}
