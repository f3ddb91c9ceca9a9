/* The files of an archive: see source_internal.h. */
#include "shared/image/source_internal.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/base/io.h"
#include "shared/base/map.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/image/stream_internal.h"

#define READ_BYTES  (256u << 10)
#define SPOOL_RATIO 1100
#define SPOOL_FREE  (1LL << 30)

struct source {
        int fd; /* of the tar, or of the folder */
        bool is_folder;
        struct map files; /* of a tar */
};

struct file {
        char *name;
        int64_t offset, size;
        char *link; /* the name that it stands for; NULL: it is a file itself */
};

/* Without "." and empty components; ".." goes up. NULL when it leads out of the archive. */
static char *clean_name(const char *folder, size_t folder_len, const char *s)
{
        _cleanup_buf_ struct buf b = {0};

        buf_append(&b, folder, folder_len);
        while (*s) {
                size_t n = strcspn(s, "/");

                if (n == 2 && s[0] == '.' && s[1] == '.') {
                        const char *slash = b.len ? memrchr(b.data, '/', b.len) : NULL;

                        if (b.len == 0)
                                return NULL;
                        b.len = slash ? (size_t)(slash - (const char *)b.data) : 0;
                } else if (n > 0 && !(n == 1 && s[0] == '.')) {
                        if (b.len)
                                buf_putc(&b, '/');
                        buf_append(&b, s, n);
                }
                s += n + (s[n] == '/');
                if (b.len > SOURCE_NAME_MAX)
                        return NULL;
        }
        return xstrndup(buf_str(&b), b.len);
}

/* --- spooling -----------------------------------------------------------------------------------
 */
int spool_new(struct err *err)
{
        const char *folder = getenv("TMPDIR");
        int fd;

        folder = str_is_empty(folder) ? "/var/tmp" : folder;
        fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        if (fd < 0)
                return err_set(err, errno, "temporary file in %s: %s", folder, err_name(errno));
        return fd;
}

static int write_spool(struct stream *from, int fd, struct err *err)
{
        const void *p;
        ssize_t n;

        while ((n = stream_read(from, &p, err)) > 0) {
                int r = io_write_all(fd, p, (size_t)n);

                if (r < 0)
                        return err_set(err, -r, "temporary file: %s", err_name(r));
        }
        if (n == 0 && lseek(fd, 0, SEEK_SET) < 0)
                return err_set(err, errno, "temporary file: %s", err_name(errno));
        return (int)n;
}

/* The stream's bytes as a file of their own. */
static int spool_stream(struct stream *from, struct err *err)
{
        _cleanup_close_ int fd = spool_new(err);
        int r = fd < 0 ? fd : write_spool(from, fd, err);

        return r < 0 ? r : STEAL_FD(fd);
}

static int copy_pipe(int from, int to, struct err *err)
{
        _cleanup_free_ uint8_t *p = xmalloc(READ_BYTES);
        int64_t total = 0;

        for (;;) {
                ssize_t n = read(from, p, READ_BYTES);
                int r;

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return err_set(err, errno, "standard input: %s", err_name(errno));
                if (n == 0)
                        break;
                total += n;
                if (total > ARCHIVE_SPOOL_MAX)
                        return err_set(err, EFBIG, "standard input: larger than %lld bytes",
                                       ARCHIVE_SPOOL_MAX);
                r = io_write_all(to, p, (size_t)n);
                if (r < 0)
                        return err_set(err, -r, "temporary file: %s", err_name(r));
        }
        return lseek(to, 0, SEEK_SET) < 0 ? err_set(err, errno, "temporary file") : 0;
}

int spool_open(const char *path, struct err *err)
{
        struct stat st;

        if (str_is_equal(path, "-")) {
                _cleanup_close_ int fd = spool_new(err);
                int r = fd < 0 ? fd : copy_pipe(STDIN_FILENO, fd, err);

                return r < 0 ? r : STEAL_FD(fd);
        }
        /* Not blocking: a pipe of that name must not hang us. */
        _cleanup_close_ int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &st) < 0)
                return err_set(err, errno, "%s: %s", path, err_name(errno));
        if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
                return err_set(err, EINVAL, "%s: is neither a file nor a folder", path);
        return STEAL_FD(fd);
}

/* --- the index of a tar
 * --------------------------------------------------------------------------- */
static void file_free(struct source *s, struct file *f)
{
        map_remove(&s->files, f);
        free(f->name);
        free(f->link);
        free(f);
}

/* Takes the names. A later entry of a name is the one that counts. */
static void put_file(struct source *s, char *name, char *link, int64_t offset, int64_t size)
{
        struct file *f = map_get_str(&s->files, name);

        if (f)
                file_free(s, f);
        f = xnew(struct file);
        f->name = name;
        f->link = link;
        f->offset = offset;
        f->size = size;
        map_put(&s->files, f);
}

static int index_entry(struct source *s, struct archive *a, struct archive_entry *e,
                       struct err *err)
{
        const char *raw = archive_entry_pathname(e), *hard = archive_entry_hardlink(e);
        const char *soft = archive_entry_filetype(e) == AE_IFLNK ? archive_entry_symlink(e) : NULL;
        char *name = raw ? clean_name("", 0, raw) : NULL, *link = NULL;

        if (!name || !*name || (!hard && !soft && archive_entry_filetype(e) != AE_IFREG)) {
                free(name); /* nothing that an image could name */
                return 0;
        }
        if (archive_entry_size(e) < 0) {
                free(name);
                return err_set(err, EBADMSG, "damaged: a file of negative size");
        }
        if (hard)
                link = clean_name("", 0, hard);
        else if (soft) {
                const char *slash = strrchr(name, '/');

                link = clean_name(name, slash ? (size_t)(slash - name) : 0, soft);
        }
        if ((hard || soft) && !link) {
                free(name);
                return 0;
        }
        /* The reader has taken the headers in, and nothing of the file yet. */
        put_file(s, name, link, archive_filter_bytes(a, -1), archive_entry_size(e));
        return 0;
}

static int tar_error(struct archive *a, struct err *err)
{
        const char *text = archive_error_string(a);

        return err_set(err, EBADMSG, "not an image archive: %s", text ? text : "damaged");
}

static int index_tar(struct source *s, struct archive *a, struct err *err)
{
        struct archive_entry *e;
        int n = 0, r;

        while ((r = archive_read_next_header(a, &e)) != ARCHIVE_EOF) {
                if (r != ARCHIVE_OK && r != ARCHIVE_WARN)
                        return tar_error(a, err);
                if (++n > ARCHIVE_ENTRIES_MAX)
                        return err_set(err, E2BIG, "not an image archive: more than %d entries",
                                       ARCHIVE_ENTRIES_MAX);
                r = index_entry(s, a, e, err);
                if (r < 0)
                        return r;
        }
        if (n == 0)
                return err_set(err, EBADMSG, "not an image archive: it is empty");
        return 0;
}

static int open_tar(struct source *s, struct err *err)
{
        struct archive *a = archive_read_new();
        int r;

        if (!a)
                abort();
        archive_read_support_format_tar(a);
        if (archive_read_open_fd(a, s->fd, READ_BYTES) != ARCHIVE_OK)
                r = tar_error(a, err);
        else
                r = index_tar(s, a, err);
        archive_read_free(a);
        return r;
}

/* A compressed archive is replaced by its plain bytes. */
static int plain(struct source *s, struct err *err)
{
        struct stream_limits limits = {
                .bytes_max = ARCHIVE_SPOOL_MAX, .ratio_max = SPOOL_RATIO, .ratio_free = SPOOL_FREE};
        struct stream *stream;
        int r = stream_open(s->fd, &limits, &stream, err), fd;

        if (r < 0)
                return r;
        if (!stream_is_compressed(stream)) {
                stream_close(stream);
                return lseek(s->fd, 0, SEEK_SET) < 0 ? err_set(err, errno, "seek") : 0;
        }
        fd = spool_stream(stream, err);
        stream_close(stream);
        if (fd < 0)
                return fd;
        close(s->fd);
        s->fd = fd;
        return 0;
}

int source_open(const char *path, struct source **ret, struct err *err)
{
        int fd = spool_open(path, err), r = 0;
        struct stat st;

        if (fd < 0)
                return fd;
        struct source *s = xnew(struct source);
        s->fd = fd;
        s->files = MAP_INIT(struct file, name, MAP_KEY_STR);
        s->is_folder = fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
        if (!s->is_folder) {
                r = plain(s, err);
                if (r == 0)
                        r = open_tar(s, err);
        }
        if (r < 0) {
                source_close(s);
                return err_wrap(err, "%s", str_is_equal(path, "-") ? "standard input" : path);
        }
        *ret = s;
        return 0;
}

void source_close(struct source *s)
{
        struct file *f;
        size_t i;

        if (!s)
                return;
        MAP_FOREACH (f, i, &s->files) {
                free(f->name);
                free(f->link);
                free(f);
        }
        map_done(&s->files);
        close(s->fd);
        free(s);
}

/* --- reading
 * --------------------------------------------------------------------------------------- */
/* Where a file lies: a descriptor (not the caller's when of a tar), offset and size. */
static int locate(struct source *s, const char *name, int *ret_fd, int64_t *ret_offset,
                  int64_t *ret_size)
{
        struct stat st;

        if (s->is_folder) {
                int fd = io_openat2(s->fd, name, O_RDONLY | O_NONBLOCK, 0,
                                    RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);

                if (fd < 0)
                        return fd;
                if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
                        close(fd);
                        return -ENOENT;
                }
                *ret_fd = fd;
                *ret_offset = 0;
                *ret_size = st.st_size;
                return 0;
        }
        _cleanup_free_ char *clean = clean_name("", 0, name);
        struct file *f = clean ? map_get_str(&s->files, clean) : NULL;
        for (int i = 0; f && f->link && i < SOURCE_LINKS_MAX; i++)
                f = map_get_str(&s->files, f->link);
        if (!f || f->link)
                return -ENOENT;
        *ret_fd = s->fd;
        *ret_offset = f->offset;
        *ret_size = f->size;
        return 0;
}

int64_t source_size(struct source *s, const char *name)
{
        int64_t offset, size;
        int fd, r = locate(s, name, &fd, &offset, &size);

        if (r < 0)
                return r;
        if (fd != s->fd)
                close(fd);
        return size;
}

static int read_range(int fd, int64_t offset, int64_t left, archive_data_fn *fn, void *arg,
                      struct err *err)
{
        _cleanup_free_ uint8_t *p = xmalloc(READ_BYTES);

        while (left > 0) {
                ssize_t n = pread(fd, p, (size_t)MIN(left, (int64_t)READ_BYTES), offset);
                int r;

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return err_set(err, errno, "read: %s", err_name(errno));
                if (n == 0)
                        return err_set(err, EBADMSG, "the archive ends too early");
                r = fn(arg, p, (size_t)n);
                if (r < 0)
                        return r;
                offset += n;
                left -= n;
        }
        return 0;
}

int source_read(struct source *s, const char *name, int64_t offset, archive_data_fn *fn, void *arg,
                struct err *err)
{
        int64_t at, size;
        int fd, r = locate(s, name, &fd, &at, &size);

        if (r < 0)
                return err_set(err, -r, "%s: is not in the archive", name);
        r = offset > size ? err_set(err, EINVAL, "%s: is shorter", name)
                          : read_range(fd, at + offset, size - offset, fn, arg, err);
        if (fd != s->fd)
                close(fd);
        return r;
}

static int append(void *arg, const void *p, size_t n)
{
        buf_append(arg, p, n);
        return 0;
}

int source_read_all(struct source *s, const char *name, size_t max_bytes, struct buf *ret,
                    struct err *err)
{
        int64_t size = source_size(s, name);

        if (size > (int64_t)max_bytes)
                return err_set(err, EFBIG, "%s: larger than %zu bytes", name, max_bytes);
        buf_clear(ret);
        return source_read(s, name, 0, append, ret, err);
}
