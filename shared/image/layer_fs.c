/*
 * The folder that a layer is unpacked into. Every name is a single component below a descriptor
 * that was opened O_NOFOLLOW, so that no link in the folder and none made meanwhile can lead out.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "shared/base/io.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/image/layer_internal.h"

#define OPEN_DIR     (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
#define OPAQUE_XATTR "trusted.overlay.opaque"
/* Folders beyond keep the time at which they were unpacked. */
#define DIR_TIMES_BYTES_MAX (128u << 20)

struct dir_time {
        struct timespec time;
        uint32_t n, len; /* components; bytes of text that follow */
};

int layer_path_parse(const char *s, struct layer_path *ret, struct err *err)
{
        size_t used = 0;

        ret->n = 0;
        while (*s) {
                size_t n = strcspn(s, "/");

                if (n == 2 && s[0] == '.' && s[1] == '.')
                        return err_set(err, EINVAL, "leads out of the image by ..");
                if (n > 0 && !(n == 1 && s[0] == '.')) {
                        if (n > NAME_MAX || used + n + 1 > sizeof(ret->text))
                                return err_set(err, ENAMETOOLONG, "name is too long");
                        if (ret->n == LAYER_DEPTH_MAX)
                                return err_set(err, ENAMETOOLONG, "deeper than %d folders",
                                               LAYER_DEPTH_MAX);
                        ret->at[ret->n++] = (uint16_t)used;
                        memcpy(ret->text + used, s, n);
                        ret->text[used + n] = 0;
                        used += n + 1;
                }
                s += n + (s[n] == '/');
        }
        return 0;
}

void layer_fs_init(struct layer_fs *fs, int root_fd)
{
        memset(fs, 0, sizeof(*fs));
        fs->root_fd = root_fd;
        fs->parent_fd = -1;
}

static void forget_parent(struct layer_fs *fs)
{
        if (fs->parent_fd >= 0)
                close(fs->parent_fd);
        fs->parent_fd = -1;
}

void layer_fs_done(struct layer_fs *fs)
{
        forget_parent(fs);
        buf_done(&fs->dir_times);
}

static size_t text_len(const struct layer_path *p, int n)
{
        return n ? p->at[n - 1] + strlen(p->text + p->at[n - 1]) + 1 : 0;
}

static bool is_whiteout(int dir_fd, const char *name)
{
        struct stat st;

        return fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISCHR(st.st_mode) &&
               st.st_rdev == makedev(0, 0);
}

int layer_fs_opaque(int dir_fd, struct err *err)
{
        if (fsetxattr(dir_fd, OPAQUE_XATTR, "y", 1, 0) < 0)
                return err_set(err, errno, "mark as opaque: %s", err_name(errno));
        return 0;
}

static int make_dir(int dir_fd, const char *name, struct err *err)
{
        bool was_whiteout = is_whiteout(dir_fd, name);

        if (was_whiteout && unlinkat(dir_fd, name, 0) < 0)
                return err_set(err, errno, "%s", err_name(errno));
        if (mkdirat(dir_fd, name, 0755) < 0)
                return err_set(err, errno, "%s", err_name(errno));
        int fd = openat(dir_fd, name, OPEN_DIR);
        if (fd < 0)
                return err_set(err, errno, "%s", err_name(errno));
        /* The lower layers' folder of this name stays hidden. */
        int r = was_whiteout ? layer_fs_opaque(fd, err) : 0;
        if (r < 0) {
                close(fd);
                return r;
        }
        return fd;
}

/* The folder of that name, made if it is not there. */
static int enter(int dir_fd, const char *name, struct err *err)
{
        int fd = openat(dir_fd, name, OPEN_DIR);

        if (fd >= 0)
                return fd;
        if (errno == ENOENT || is_whiteout(dir_fd, name))
                return make_dir(dir_fd, name, err);
        if (errno == ELOOP || errno == ENOTDIR)
                return err_set(err, EINVAL, "leads through %s, which is no folder", name);
        return err_set(err, errno, "%s", err_name(errno));
}

int layer_fs_parent(struct layer_fs *fs, const struct layer_path *p, struct err *err)
{
        int depth = p->n - 1;
        size_t len = text_len(p, depth);

        if (fs->parent_fd >= 0 && fs->parent.n == depth && text_len(&fs->parent, depth) == len &&
            memcmp(fs->parent.text, p->text, len) == 0)
                return fs->parent_fd;
        _cleanup_close_ int fd = openat(fs->root_fd, ".", OPEN_DIR);
        if (fd < 0)
                return err_set(err, errno, "%s", err_name(errno));
        for (int i = 0; i < depth; i++) {
                int next = enter(fd, p->text + p->at[i], err);

                if (next < 0)
                        return next;
                close(fd);
                fd = next;
        }
        forget_parent(fs);
        fs->parent = *p;
        fs->parent.n = depth;
        fs->parent_fd = STEAL_FD(fd);
        return fs->parent_fd;
}

int layer_fs_clear(struct layer_fs *fs, int parent_fd, const char *name, struct err *err)
{
        if (unlinkat(parent_fd, name, 0) == 0 || errno == ENOENT)
                return 0;
        int r = errno == EISDIR ? io_remove_tree(parent_fd, name) : -errno;
        if (r < 0)
                return err_set(err, -r, "replace: %s", err_name(r));
        /* What was remembered may have been in there; the caller's own folder is its parent. */
        fs->parent.n = -1;
        return 0;
}

int layer_fs_dir(struct layer_fs *fs, const struct layer_path *p, struct err *err)
{
        if (p->n == 0) {
                int fd = openat(fs->root_fd, ".", OPEN_DIR);

                return fd < 0 ? err_set(err, errno, "%s", err_name(errno)) : fd;
        }
        const char *name = layer_path_leaf(p);
        int parent = layer_fs_parent(fs, p, err), fd;

        if (parent < 0)
                return parent;
        fd = openat(parent, name, OPEN_DIR);
        if (fd >= 0)
                return fd;
        if (errno != ENOENT && !is_whiteout(parent, name)) {
                int r = layer_fs_clear(fs, parent, name, err);

                if (r < 0)
                        return r;
        }
        return make_dir(parent, name, err);
}

/* `.wh.NAME` hides NAME of the lower layers. When this layer has a NAME of its own, that stays: a
 * file hides by being there, a folder is made opaque. */
int layer_fs_whiteout(struct layer_fs *fs, const struct layer_path *p, struct err *err)
{
        const char *name = layer_path_leaf(p) + strlen(WHITEOUT_PREFIX);
        int parent;

        if (!*name || str_is_equal(name, ".") || str_is_equal(name, ".."))
                return err_set(err, EINVAL, "hides nothing that can be named");
        parent = layer_fs_parent(fs, p, err);
        if (parent < 0)
                return parent;
        if (mknodat(parent, name, S_IFCHR, makedev(0, 0)) == 0)
                return 0;
        if (errno != EEXIST)
                return err_set(err, errno, "%s", err_name(errno));
        _cleanup_close_ int dir = openat(parent, name, OPEN_DIR);
        return dir < 0 ? 0 : layer_fs_opaque(dir, err);
}

void layer_fs_note_time(struct layer_fs *fs, const struct layer_path *p, struct timespec t)
{
        struct dir_time d = {.time = t, .n = (uint32_t)p->n, .len = (uint32_t)text_len(p, p->n)};

        if (fs->dir_times.len > DIR_TIMES_BYTES_MAX)
                return;
        buf_append(&fs->dir_times, &d, sizeof(d));
        buf_append(&fs->dir_times, p->text, d.len);
}

/* A folder that was replaced meanwhile is passed over. */
static int set_time(struct layer_fs *fs, const struct dir_time *d, const char *text)
{
        const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, d->time};
        _cleanup_close_ int fd = openat(fs->root_fd, ".", OPEN_DIR);

        for (uint32_t i = 0; fd >= 0 && i < d->n; i++) {
                int next = openat(fd, text, OPEN_DIR);

                close(fd);
                fd = next;
                text += strlen(text) + 1;
        }
        return fd >= 0 && futimens(fd, times) < 0 ? -errno : 0;
}

int layer_fs_set_times(struct layer_fs *fs, struct err *err)
{
        for (size_t at = 0; at < fs->dir_times.len;) {
                struct dir_time d;

                memcpy(&d, fs->dir_times.data + at, sizeof(d));
                at += sizeof(d);
                int r = set_time(fs, &d, (const char *)fs->dir_times.data + at);
                if (r < 0)
                        return err_set(err, -r, "set times: %s", err_name(r));
                at += d.len;
        }
        return 0;
}
