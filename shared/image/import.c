/*
 * An image made of a root file system's tar: one layer, which is the file as it is, and a config
 * that says the platform, a search path, and what the changes add. The same input gives the same
 * image.
 */
#include <errno.h>
#include <unistd.h>

#include "shared/base/map.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/image/archive_internal.h"
#include "shared/image/image.h"
#include "shared/image/json_internal.h"
#include "shared/image/layer.h"

#define PATH_ENV "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static int hash_file(int fd, char ret[DIGEST_TEXT_LEN + 1], int64_t *ret_size, struct err *err)
{
        struct digest *d = digest_new();
        uint8_t p[65536];
        int64_t size = 0;
        ssize_t n;

        while ((n = pread(fd, p, sizeof(p), size)) > 0) {
                digest_update(d, p, (size_t)n);
                size += n;
        }
        digest_finish(d, ret);
        *ret_size = size;
        return n < 0 ? err_set(err, errno, "%s", err_name(errno)) : 0;
}

static int make_config(const char *diff_id, char *const *changes, struct buf *ret, struct err *err)
{
        _cleanup_json_ json_t *root = json_pack(
                "{sssss{s[s]}s{sss[s]}}", "architecture", machine_arch(), "os", "linux", "config",
                "Env", PATH_ENV, "rootfs", "type", "layers", "diff_ids", diff_id);
        int r = 0;

        for (; r == 0 && changes && *changes; changes++)
                r = config_change(json_object_get(root, "config"), *changes, err);
        if (r < 0)
                return r;
        char *text = json_dumps(root, JSON_COMPACT);
        if (!text)
                abort(); /* what was packed and changed above is always valid */
        buf_puts(ret, text);
        free(text);
        return 0;
}

static int import_fd(struct image_archive *a, const char *name, char *const *changes,
                     struct err *err)
{
        char digest[DIGEST_TEXT_LEN + 1], diff_id[DIGEST_TEXT_LEN + 1];
        _cleanup_buf_ struct buf config = {0};
        struct archive_image *i;
        uint8_t head[LAYER_HEAD_BYTES] = {0};
        int64_t size;
        int r = layer_scan(a->layer_fd, diff_id, err);

        if (r == 0)
                r = hash_file(a->layer_fd, digest, &size, err);
        if (r < 0)
                return r;
        if (pread(a->layer_fd, head, sizeof(head), 0) < 0)
                return err_set(err, errno, "%s", err_name(errno));
        r = make_config(diff_id, changes, &config, err);
        if (r < 0)
                return r;
        r = archive_add_image(a, &config, &i, err);
        if (r < 0)
                return r;
        archive_add_name(i, name);
        return archive_add_layer(a, i, digest, size, layer_media_type(head), "the layer", err);
}

int image_archive_import(const char *name, const char *path, char *const *changes,
                         struct image_archive **ret, struct err *err)
{
        _cleanup_free_ char *whole = NULL;
        struct image_archive *a;
        int r = image_name_normalize(name, &whole, err), fd;

        if (r < 0)
                return r;
        fd = spool_open(path, err);
        if (fd < 0)
                return fd;
        a = archive_new(NULL);
        a->layer_fd = fd;
        r = import_fd(a, whole, changes, err);
        if (r < 0) {
                image_archive_close(a);
                return err_wrap(err, "%s", str_is_equal(path, "-") ? "standard input" : path);
        }
        *ret = a;
        return 0;
}
