/*
 * Unpacks one layer: see layer.h for the verdicts. This file reads the entries and decides what
 * becomes of each; layer_fs.c makes it below the target folder.
 */
#include "shared/image/layer.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "shared/base/io.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/image/layer_internal.h"
#include "shared/image/stream_internal.h"

#define XATTR_BYTES_MAX 65536
#define TAR_BLOCK_BYTES 512

struct unpack {
        struct layer_fs fs;
        struct stream *stream;
        struct archive *tar;
        struct archive_entry *entry;
        struct layer_path path, link;
        int64_t file_bytes, max_bytes, entries;
        bool is_at_end; /* the tar ended with the entry's data */
        bool is_ended;  /* by a block of zeros, as a tar is that nothing cut */
};

static int get_meta(struct archive_entry *e, struct layer_meta *m, struct err *err)
{
        int64_t uid = archive_entry_uid(e), gid = archive_entry_gid(e);

        /* (uid_t)-1 means "leave it" to chown. */
        if (uid < 0 || uid >= UINT32_MAX || gid < 0 || gid >= UINT32_MAX)
                return err_set(err, EINVAL, "owner %lld:%lld is out of range", (long long)uid,
                               (long long)gid);
        m->mode = archive_entry_perm(e) & 07777;
        m->uid = (uid_t)uid;
        m->gid = (gid_t)gid;
        m->has_mtime = archive_entry_mtime_is_set(e);
        m->mtime.tv_sec = archive_entry_mtime(e);
        m->mtime.tv_nsec = archive_entry_mtime_nsec(e);
        if (m->mtime.tv_nsec < 0 || m->mtime.tv_nsec >= 1000000000)
                m->mtime.tv_nsec = 0;
        return 0;
}

static bool xattr_is_wanted(const char *name)
{
        if (str_has_prefix(name, "user."))
                return !str_has_prefix(name, "user.overlay.");
        return str_is_equal(name, "security.capability");
}

static int set_xattrs(struct archive_entry *e, int fd, struct err *err)
{
        const char *name;
        const void *value;
        size_t n;

        if (archive_entry_xattr_reset(e) > LAYER_XATTRS_MAX)
                return err_set(err, E2BIG, "more than %d extended attributes", LAYER_XATTRS_MAX);
        while (archive_entry_xattr_next(e, &name, &value, &n) == ARCHIVE_OK) {
                if (!name || !xattr_is_wanted(name))
                        continue;
                if (n > XATTR_BYTES_MAX)
                        return err_set(err, E2BIG, "attribute %s is too large", name);
                if (fsetxattr(fd, name, n ? value : "", n, 0) < 0 &&
                    !(errno == EOPNOTSUPP && str_has_prefix(name, "user.")))
                        return err_set(err, errno, "attribute %s: %s", name, err_name(errno));
        }
        return 0;
}

/* Owner before mode and attributes: a change of owner takes set-uid bits and capabilities away. */
static int set_meta(struct archive_entry *e, int fd, const struct layer_meta *m, struct err *err)
{
        if (fchown(fd, m->uid, m->gid) < 0)
                return err_set(err, errno, "set owner: %s", err_name(errno));
        if (fchmod(fd, m->mode) < 0)
                return err_set(err, errno, "set mode: %s", err_name(errno));
        return set_xattrs(e, fd, err);
}

/* Of what has no descriptor of its own to write through: links and pipes. Never follows. */
static int set_meta_at(int parent, const char *name, const struct layer_meta *m, struct err *err)
{
        const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, m->mtime};

        if (fchownat(parent, name, m->uid, m->gid, AT_SYMLINK_NOFOLLOW) < 0)
                return err_set(err, errno, "set owner: %s", err_name(errno));
        if (m->has_mtime && utimensat(parent, name, times, AT_SYMLINK_NOFOLLOW) < 0)
                return err_set(err, errno, "set times: %s", err_name(errno));
        return 0;
}

static int take_dir(struct unpack *u, const struct layer_meta *m, struct err *err)
{
        _cleanup_close_ int fd = layer_fs_dir(&u->fs, &u->path, err);

        if (fd < 0)
                return fd;
        if (m->has_mtime)
                layer_fs_note_time(&u->fs, &u->path, m->mtime);
        return set_meta(u->entry, fd, m, err);
}

static int write_block(int fd, const uint8_t *p, size_t n, int64_t offset, struct err *err)
{
        while (n > 0) {
                ssize_t w = pwrite(fd, p, n, offset);

                if (w < 0 && errno == EINTR)
                        continue;
                if (w < 0)
                        return err_set(err, errno, "write: %s", err_name(errno));
                p += w;
                n -= (size_t)w;
                offset += w;
        }
        return 0;
}

/* The data of a file, to fd; -1: nowhere. Some tools leave the last file without the zeros that
 * fill its block: a tar that ends with the data of a file is whole. */
static int write_data(struct unpack *u, int fd, int64_t size, struct err *err)
{
        const void *p;
        size_t n;
        la_int64_t offset;
        int64_t end = 0;
        int r;

        while ((r = archive_read_data_block(u->tar, &p, &n, &offset)) == ARCHIVE_OK) {
                if (offset < 0 || offset > size || (int64_t)n > size - offset)
                        return err_set(err, EBADMSG, "has data beyond its size");
                r = fd < 0 ? 0 : write_block(fd, p, n, offset, err);
                if (r < 0)
                        return r;
                end = offset + (int64_t)n;
        }
        u->is_at_end = r != ARCHIVE_EOF && end == size && stream_is_at_end(u->stream);
        if (r != ARCHIVE_EOF && !u->is_at_end)
                return stream_tar_error(u->stream, u->tar, err);
        if (fd >= 0 && ftruncate(fd, size) < 0) /* a sparse file may end in a hole */
                return err_set(err, errno, "write: %s", err_name(errno));
        return 0;
}

static int take_file(struct unpack *u, int parent, const struct layer_meta *m, struct err *err)
{
        const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, m->mtime};
        int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
        int64_t size = archive_entry_size(u->entry);

        if (size < 0 || size > u->max_bytes - u->file_bytes)
                return err_set(err, EFBIG, "the layer is larger than %lld bytes",
                               (long long)u->max_bytes);
        u->file_bytes += size;
        _cleanup_close_ int fd = openat(parent, layer_path_leaf(&u->path), flags, 0600);
        if (fd < 0)
                return err_set(err, errno, "%s", err_name(errno));
        int r = write_data(u, fd, size, err);
        if (r == 0)
                r = set_meta(u->entry, fd, m, err);
        if (r == 0 && m->has_mtime && futimens(fd, times) < 0)
                r = err_set(err, errno, "set times: %s", err_name(errno));
        return r;
}

static int take_symlink(struct unpack *u, int parent, const struct layer_meta *m, struct err *err)
{
        const char *target = archive_entry_symlink(u->entry), *name = layer_path_leaf(&u->path);

        if (str_is_empty(target) || strlen(target) > LAYER_NAME_MAX)
                return err_set(err, EINVAL, "a link to nothing that can be named");
        if (symlinkat(target, parent, name) < 0)
                return err_set(err, errno, "%s", err_name(errno));
        return set_meta_at(parent, name, m, err);
}

static int take_fifo(struct unpack *u, int parent, const struct layer_meta *m, struct err *err)
{
        const char *name = layer_path_leaf(&u->path);
        mode_t mask = umask(0);
        int r = mknodat(parent, name, S_IFIFO | m->mode, 0) < 0 ? -errno : 0;

        umask(mask);
        if (r < 0)
                return err_set(err, -r, "%s", err_name(r));
        return set_meta_at(parent, name, m, err);
}

/* A second name of a file of this layer. The file is taken hold of first: clearing the new name may
 * remove its folder. */
static int take_hardlink(struct unpack *u, const char *target, struct err *err)
{
        const char *name = layer_path_leaf(&u->path);
        struct stat a, b;
        int r = layer_path_parse(target, &u->link, err), parent;

        if (r < 0 || u->link.n == 0)
                return err_set(err, EINVAL, "hard link to %s: is outside of the layer", target);
        parent = layer_fs_parent(&u->fs, &u->link, err);
        if (parent < 0)
                return err_wrap(err, "hard link to %s", target);
        _cleanup_close_ int from = openat(parent, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
        const char *from_name = layer_path_leaf(&u->link);
        if (from < 0 || fstatat(from, from_name, &a, AT_SYMLINK_NOFOLLOW) < 0)
                return err_set(err, errno, "hard link to %s: %s", target, err_name(errno));
        if (!S_ISREG(a.st_mode) && !S_ISLNK(a.st_mode) && !S_ISFIFO(a.st_mode))
                return err_set(err, EINVAL, "hard link to %s: is no file", target);
        parent = layer_fs_parent(&u->fs, &u->path, err);
        if (parent < 0)
                return parent;
        if (fstatat(parent, name, &b, AT_SYMLINK_NOFOLLOW) == 0 && a.st_ino == b.st_ino &&
            a.st_dev == b.st_dev)
                return 0;
        r = layer_fs_clear(&u->fs, parent, name, err);
        if (r < 0)
                return r;
        if (linkat(from, from_name, parent, name, 0) < 0)
                return err_set(err, errno, "hard link to %s: %s", target, err_name(errno));
        return 0;
}

static int take_other(struct unpack *u, const struct layer_meta *m, struct err *err)
{
        int parent, r;

        if (u->path.n == 0)
                return err_set(err, EINVAL, "the root must be a folder");
        parent = layer_fs_parent(&u->fs, &u->path, err);
        if (parent < 0)
                return parent;
        r = layer_fs_clear(&u->fs, parent, layer_path_leaf(&u->path), err);
        if (r < 0)
                return r;
        switch (archive_entry_filetype(u->entry)) {
        case AE_IFREG: return take_file(u, parent, m, err);
        case AE_IFLNK: return take_symlink(u, parent, m, err);
        default: return take_fifo(u, parent, m, err);
        }
}

static int take_whiteout(struct unpack *u, struct err *err)
{
        const char *leaf = layer_path_leaf(&u->path);

        if (str_is_equal(leaf, WHITEOUT_OPAQUE)) {
                int parent = layer_fs_parent(&u->fs, &u->path, err);

                return parent < 0 ? parent : layer_fs_opaque(parent, err);
        }
        if (str_has_prefix(leaf, WHITEOUT_PREFIX WHITEOUT_PREFIX))
                return 0; /* what aufs kept for itself */
        return layer_fs_whiteout(&u->fs, &u->path, err);
}

/* What can be told of an entry without looking at what is there already. */
static int check_entry(struct unpack *u, struct layer_meta *meta, struct err *err)
{
        int r = layer_path_parse(archive_entry_pathname(u->entry), &u->path, err);

        if (r == 0)
                r = get_meta(u->entry, meta, err);
        if (r < 0 || archive_entry_hardlink(u->entry))
                return r;
        switch (archive_entry_filetype(u->entry)) {
        case AE_IFDIR:
        case AE_IFREG:
        case AE_IFLNK:
        case AE_IFIFO: return 0;
        case AE_IFCHR:
        case AE_IFBLK: return err_set(err, EPERM, "device nodes cannot be part of an image");
        default: return err_set(err, EINVAL, "is neither file, folder, link nor pipe");
        }
}

static int take_entry(struct unpack *u, struct err *err)
{
        const char *target = archive_entry_hardlink(u->entry);
        struct layer_meta meta;
        int r = check_entry(u, &meta, err);

        if (r < 0)
                return r;
        if (str_has_prefix(layer_path_leaf(&u->path), WHITEOUT_PREFIX))
                return take_whiteout(u, err);
        if (target)
                return take_hardlink(u, target, err);
        if (archive_entry_filetype(u->entry) == AE_IFDIR)
                return take_dir(u, &meta, err);
        return take_other(u, &meta, err);
}

static int scan_entry(struct unpack *u, struct err *err)
{
        struct layer_meta meta;
        int r = check_entry(u, &meta, err);
        int64_t size = archive_entry_size(u->entry);

        if (r < 0 || archive_entry_hardlink(u->entry) ||
            archive_entry_filetype(u->entry) != AE_IFREG)
                return r;
        return size < 0 ? err_set(err, EBADMSG, "has a negative size")
                        : write_data(u, -1, size, err);
}

static int next_entry(struct unpack *u)
{
        if (u->entries > 0) /* what fills the last one's block */
                archive_read_data_skip(u->tar);
        int64_t at = archive_filter_bytes(u->tar, 0);
        int r = archive_read_next_header(u->tar, &u->entry);

        u->is_ended = r == ARCHIVE_EOF && archive_filter_bytes(u->tar, 0) - at >= TAR_BLOCK_BYTES;
        return r;
}

static int each_entry(struct unpack *u, int (*fn)(struct unpack *u, struct err *err),
                      struct err *err)
{
        while (!u->is_at_end) {
                int r = next_entry(u);

                if (r == ARCHIVE_EOF)
                        return 0;
                if (r == ARCHIVE_RETRY || r == ARCHIVE_FAILED || r == ARCHIVE_FATAL)
                        return stream_tar_error(u->stream, u->tar, err);
                if (str_is_empty(archive_entry_pathname(u->entry)))
                        return err_set(err, EBADMSG, "damaged: an entry without a name");
                if (++u->entries > LAYER_ENTRIES_MAX)
                        return err_set(err, E2BIG, "more than %d entries", LAYER_ENTRIES_MAX);
                r = fn(u, err);
                if (r < 0)
                        return err_wrap(err, "%.200s", archive_entry_pathname(u->entry));
        }
        return 0;
}

static int open_blob(struct unpack *u, int blob_fd, int64_t max_bytes, struct err *err)
{
        struct stream_limits limits = {.ratio_max = LAYER_RATIO_MAX,
                                       .ratio_free = LAYER_RATIO_FREE};
        int r;

        /* The tar's own headers come on top of the files. */
        u->max_bytes = MIN(max_bytes, LAYER_BYTES_MAX);
        limits.bytes_max = u->max_bytes + u->max_bytes / 4 + LAYER_RATIO_FREE;
        r = stream_open(blob_fd, &limits, &u->stream, err);
        if (r < 0)
                return r;
        u->tar = stream_open_tar(u->stream, err);
        return u->tar ? 0 : -err->code;
}

static void unpack_free(struct unpack *u)
{
        if (u->tar)
                archive_read_free(u->tar);
        stream_close(u->stream);
        layer_fs_done(&u->fs);
        free(u);
}

static int check_diff_id(struct unpack *u, const char *diff_id, struct err *err)
{
        char digest[DIGEST_TEXT_LEN + 1];
        int r = stream_finish(u->stream, digest, err);

        if (r < 0)
                return r;
        if (diff_id && !str_is_equal(digest, diff_id))
                return err_set(err, EBADMSG, "wrong content: its diff id is %s, not %s", digest,
                               diff_id);
        return 0;
}

int layer_unpack(int blob_fd, int target_fd, const char *diff_id, int64_t max_bytes,
                 struct layer_result *ret, struct err *err)
{
        struct unpack *u = xnew(struct unpack);
        int r;

        layer_fs_init(&u->fs, target_fd);
        r = open_blob(u, blob_fd, max_bytes, err);
        if (r == 0)
                r = each_entry(u, take_entry, err);
        if (r == 0)
                r = check_diff_id(u, diff_id, err);
        if (r == 0)
                r = layer_fs_set_times(&u->fs, err);
        if (r == 0)
                *ret = (struct layer_result){.bytes = u->file_bytes, .entries = u->entries};
        unpack_free(u);
        return r;
}

int layer_scan(int blob_fd, char ret_diff_id[DIGEST_TEXT_LEN + 1], struct err *err)
{
        struct unpack *u = xnew(struct unpack);
        int r;

        layer_fs_init(&u->fs, -1);
        r = open_blob(u, blob_fd, LAYER_BYTES_MAX, err);
        if (r == 0)
                r = each_entry(u, scan_entry, err);
        if (r == 0 && !u->is_ended)
                r = err_set(err, EBADMSG, "damaged: its end is missing, so it may have been cut");
        if (r == 0)
                r = stream_finish(u->stream, ret_diff_id, err);
        unpack_free(u);
        return r;
}
