/*
 * The files of blobs: which there are, which may go, and whether an image may be created of them.
 * See blobs.h; uploads are in upload.c, reads in read.c.
 */
#include "manager/blobs/blobs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "manager/blobs/blobs_internal.h"
#include "shared/base/io.h"
#include "shared/base/log.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/base/time.h"
#include "shared/image/image.h"

#define TIMER_MS 5000

/* A blob that was checked for an image which is on its way through the turn. */
struct pin {
        char *digest;
        int64_t until_ms;
};

struct removal {
        struct blobs *blobs;
        int dir_fd;
        char *name;
};

char *blob_name(const char *digest)
{
        return xasprintf("sha256/%s", digest_hex(digest));
}

char *blob_tmp_name(struct blobs *b, const char *digest)
{
        return xasprintf("tmp/%s.%llu", digest_hex(digest), (unsigned long long)++b->last_tmp);
}

int64_t blob_size(struct blobs *b, const char *digest)
{
        _cleanup_free_ char *name = blob_name(digest);
        struct stat st;

        if (fstatat(b->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return -errno;
        return S_ISREG(st.st_mode) ? st.st_size : -ENOENT;
}

bool blob_is_held(struct blobs *b, const char *digest)
{
        /* An upload has its name before the folder is synced. */
        return !map_get_str(&b->uploads, digest) && blob_size(b, digest) >= 0;
}

bool blobs_is_missing(struct blobs *b, const char *digest)
{
        return !blob_is_held(b, digest) &&
               !(b->hooks.is_coming && b->hooks.is_coming(b->hooks.arg, digest));
}

static void free_all(struct blobs *b)
{
        struct pin *p;
        size_t i;

        MAP_FOREACH (p, i, &b->pins) {
                free(p->digest);
                free(p);
        }
        map_done(&b->pins);
        map_done(&b->uploads);
        close(b->dir_fd);
        free(b);
}

bool blobs_job_done(struct blobs *b)
{
        b->n_jobs--;
        if (!b->is_closed)
                return true;
        if (b->n_jobs == 0)
                free_all(b);
        return false;
}

static void unlink_work(void *arg)
{
        struct removal *r = arg;

        unlinkat(r->dir_fd, r->name, 0);
}

static void unlink_done(void *arg)
{
        struct removal *r = arg;

        blobs_job_done(r->blobs);
        free(r->name);
        free(r);
}

void blob_unlink(struct blobs *b, char **name)
{
        struct removal *r = xnew(struct removal);

        r->blobs = b;
        r->dir_fd = b->dir_fd;
        r->name = STEAL_PTR(*name);
        b->n_jobs++;
        loop_work(b->loop, unlink_work, unlink_done, r);
}

/* Out of sight at once; a large file takes its time to be freed. */
static void remove_blob(struct blobs *b, const char *digest)
{
        _cleanup_free_ char *name = blob_name(digest);
        char *tmp = blob_tmp_name(b, digest);

        if (renameat(b->dir_fd, name, b->dir_fd, tmp) == 0) {
                blob_unlink(b, &tmp);
                return;
        }
        if (errno != ENOENT)
                log_warn("cannot remove blob %.19s: %s", digest, err_name(errno));
        free(tmp);
}

/* --- what may go ------------------------------------------------------------------------------ */
void blob_pin(struct blobs *b, const char *digest)
{
        struct pin *p = map_get_str(&b->pins, digest);

        if (!p) {
                p = xnew(struct pin);
                p->digest = xstrdup(digest);
                map_put(&b->pins, p);
        }
        p->until_ms = time_now().mono_ms + BLOB_PIN_MS;
}

void blobs_release(struct blobs *b, const char *digest)
{
        /* A pinned one is looked at again when its pin is taken out. */
        if (digest_is_valid(digest) && !map_get_str(&b->pins, digest) &&
            !b->config.is_used(b->config.arg, digest))
                remove_blob(b, digest);
}

static void drop_pins(struct blobs *b, int64_t now_ms)
{
        struct pin *p;
        size_t i;

        MAP_FOREACH (p, i, &b->pins) {
                if (p->until_ms > now_ms)
                        continue;
                map_remove(&b->pins, p);
                blobs_release(b, p->digest);
                free(p->digest);
                free(p);
                i = 0;
        }
}

/* Those that are as old as that and that no image names. */
static void list_unused(struct blobs *b, int64_t before_wall_ms, char ***ret)
{
        int fd = openat(b->dir_fd, "sha256", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *dir = fd < 0 ? NULL : fdopendir(fd);
        struct dirent *e;
        struct stat st;

        while (dir && (e = readdir(dir))) {
                _cleanup_free_ char *digest = xasprintf(DIGEST_PREFIX "%s", e->d_name);

                if (!digest_is_valid(digest) || map_get_str(&b->pins, digest) ||
                    fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
                    (int64_t)st.st_mtime * 1000 > before_wall_ms)
                        continue;
                if (!b->config.is_used(b->config.arg, digest))
                        strv_push(ret, digest);
        }
        if (dir)
                closedir(dir);
}

static void remove_unused(struct blobs *b, int64_t before_wall_ms)
{
        _cleanup_strv_ char **digests = NULL;

        list_unused(b, before_wall_ms, &digests);
        for (char **d = digests; d && *d; d++) {
                log_info("blob %.19s: no image needs it, removed", *d);
                remove_blob(b, *d);
        }
}

static void on_timer(void *arg)
{
        struct blobs *b = arg;
        int64_t now_ms = time_now().mono_ms;

        drop_pins(b, now_ms);
        upload_drop_old(b, now_ms);
        if (now_ms >= b->next_gc_ms) {
                b->next_gc_ms = now_ms + BLOB_UNUSED_MS / 2;
                remove_unused(b, time_now().wall_ms - BLOB_UNUSED_MS);
        }
        loop_timer_set(b->timer, TIMER_MS);
}

void blobs_sweep(struct blobs *b)
{
        remove_unused(b, b->opened_wall_ms);
}

/* --- start and end -----------------------------------------------------------------------------
 */
static int make_folders(int dir_fd)
{
        int r = io_remove_tree(dir_fd, "tmp");

        if (r < 0)
                return r;
        if (mkdirat(dir_fd, "tmp", 0700) < 0)
                return -errno;
        return mkdirat(dir_fd, "sha256", 0700) < 0 && errno != EEXIST ? -errno : 0;
}

int blobs_open(struct loop *l, const struct blobs_config *c, struct blobs **ret, struct err *err)
{
        int r = io_mkdir_all(c->dir, 0700);

        if (r < 0)
                return err_set(err, -r, "%s: %s", c->dir, err_name(r));
        _cleanup_close_ int fd = open(c->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return err_set(err, errno, "%s: %s", c->dir, err_name(errno));
        r = make_folders(fd);
        if (r < 0)
                return err_set(err, -r, "%s: %s", c->dir, err_name(r));
        struct blobs *b = xnew(struct blobs);
        b->loop = l;
        b->config = *c;
        b->dir_fd = STEAL_FD(fd);
        b->uploads = (struct map){.kind = MAP_KEY_STR}; /* the digest comes first in an upload */
        b->pins = MAP_INIT(struct pin, digest, MAP_KEY_STR);
        serve_init(b);
        b->timer = loop_timer_new(l, on_timer, b);
        b->opened_wall_ms = time_now().wall_ms;
        b->next_gc_ms = time_now().mono_ms + BLOB_UNUSED_MS / 2;
        loop_timer_set(b->timer, TIMER_MS);
        *ret = b;
        return 0;
}

void blobs_close(struct blobs *b)
{
        if (!b)
                return;
        loop_timer_free(b->timer);
        upload_drop_all(b);
        serve_drop_all(b);
        b->is_closed = true;
        b->n_jobs++;
        blobs_job_done(b);
}

/* --- requests -----------------------------------------------------------------------------------
 */
void respond(struct blobs *b, uint64_t connection, const Swarm__Response *r)
{
        if (connection != BLOB_OWN_CONNECTION)
                b->config.on_response(b->config.arg, connection, r);
        else if (b->hooks.on_response)
                b->hooks.on_response(b->hooks.arg, r);
}

void respond_error(struct blobs *b, uint64_t connection, uint64_t number, const struct err *err,
                   const int64_t *offset)
{
        Swarm__Response r = SWARM__RESPONSE__INIT;

        r.number = number;
        r.code = (uint32_t)err->code;
        r.error = (char *)err->text;
        if (offset) {
                r.kind_case = SWARM__RESPONSE__KIND_BLOB_OFFSET;
                r.blob_offset = (uint64_t)*offset;
        }
        respond(b, connection, &r);
}

static void on_stat(struct blobs *b, uint64_t connection, uint64_t number, const Swarm__BlobStat *m)
{
        Swarm__Response r = SWARM__RESPONSE__INIT;
        Swarm__BlobStatReply reply = SWARM__BLOB_STAT_REPLY__INIT;
        struct err err = {0};

        if (m->n_digests > BLOB_STAT_MAX)
                err_set(&err, EINVAL, "blobs: more than %d in one request", BLOB_STAT_MAX);
        for (size_t i = 0; !err.code && i < m->n_digests; i++)
                if (!digest_is_valid(m->digests[i]))
                        err_set(&err, EINVAL, "blob %.80s: is no digest", m->digests[i]);
        if (err.code) {
                respond_error(b, connection, number, &err, NULL);
                return;
        }
        _cleanup_free_ int64_t *have = xnew_array(int64_t, m->n_digests + 1);
        for (size_t i = 0; i < m->n_digests; i++)
                have[i] = blob_size(b, m->digests[i]) >= 0 ? -1 : upload_offset(b, m->digests[i]);
        reply.have_bytes = have;
        reply.n_have_bytes = m->n_digests;
        r.number = number;
        r.kind_case = SWARM__RESPONSE__KIND_BLOB_STAT;
        r.blob_stat = &reply;
        respond(b, connection, &r);
}

bool blobs_on_request(struct blobs *b, uint64_t connection, const Swarm__Request *q)
{
        switch (q->kind_case) {
        case SWARM__REQUEST__KIND_BLOB_STAT:
                on_stat(b, connection, q->number, q->blob_stat);
                return true;
        case SWARM__REQUEST__KIND_BLOB_PUT:
                upload_on_put(b, connection, q->number, q->blob_put);
                return true;
        case SWARM__REQUEST__KIND_BLOB_GET:
                read_on_client_get(b, connection, q->number, q->blob_get);
                return true;
        default: return false;
        }
}

void blobs_on_gone(struct blobs *b, uint64_t connection)
{
        if (!b)
                return;
        upload_on_client_gone(b, connection);
        serve_on_gone(b, connection);
}

/* --- images -------------------------------------------------------------------------------------
 */
int blobs_read(struct blobs *b, const char *digest, size_t max_bytes, struct buf *ret)
{
        if (!digest_is_valid(digest))
                return -EINVAL;
        _cleanup_free_ char *name = blob_name(digest);
        return io_read_file(b->dir_fd, name, max_bytes, ret);
}

static int check_blob(struct blobs *b, const char *what, const char *digest, int64_t size,
                      struct err *err)
{
        int64_t have;

        if (!digest_is_valid(digest))
                return err_set(err, EINVAL, "%s: \"%.80s\" is no digest", what, digest);
        have = blob_size(b, digest);
        if (have < 0)
                return err_set(err, ENOENT, "%s: blob %.19s has not been uploaded", what, digest);
        if (have != size)
                return err_set(err, EINVAL, "%s: blob %.19s has %lld bytes, not %lld", what, digest,
                               (long long)have, (long long)size);
        return 0;
}

static int check_blobs(struct blobs *b, const Swarm__Image *m, struct err *err)
{
        int r;

        if (m->config_size > IMAGE_CONFIG_MAX)
                return err_set(err, EFBIG, "its config is larger than %u bytes", IMAGE_CONFIG_MAX);
        if (m->n_layers == 0 || m->n_layers > IMAGE_LAYERS_MAX)
                return err_set(err, EINVAL, "has %zu layers, not 1 to %d", m->n_layers,
                               IMAGE_LAYERS_MAX);
        r = check_blob(b, "config", m->id, m->config_size, err);
        for (size_t i = 0; r == 0 && i < m->n_layers; i++)
                r = check_blob(b, "layer", m->layers[i]->digest, m->layers[i]->size, err);
        return r;
}

static bool is_same(const char *a, const char *b)
{
        return str_is_equal(a ? a : "", b ? b : "");
}

static int check_config(const Swarm__Image *m, const struct image_config *c, struct err *err)
{
        if (!is_same(c->os, m->os) || !is_same(c->arch, m->arch))
                return err_set(err, EINVAL, "its config is for %s/%s, not %s/%s",
                               c->os ? c->os : "", c->arch ? c->arch : "", m->os, m->arch);
        if (strv_len(c->diff_ids) != m->n_layers)
                return err_set(err, EINVAL, "its config names %zu layers, not %zu",
                               strv_len(c->diff_ids), m->n_layers);
        if (image_config_lacks_command(c) != (bool)m->lacks_command)
                return err_set(err, EINVAL, "its config has %s command",
                               m->lacks_command ? "a" : "no");
        for (size_t i = 0; i < m->n_layers; i++)
                if (!str_is_equal(c->diff_ids[i], m->layers[i]->diff_id))
                        return err_set(err, EINVAL, "layer %zu is not the one of its config",
                                       i + 1);
        return 0;
}

static int check_image(struct blobs *b, const Swarm__Image *m, struct err *err)
{
        _cleanup_buf_ struct buf json = {0};
        struct image_config *c;
        int r = check_blobs(b, m, err);

        if (r < 0)
                return r;
        r = blobs_read(b, m->id, IMAGE_CONFIG_MAX, &json);
        if (r < 0)
                return err_set(err, -r, "config: %s", err_name(r));
        r = image_config_parse(json.data, json.len, &c, err);
        if (r < 0)
                return r;
        r = check_config(m, c, err);
        image_config_free(c);
        return r;
}

int blobs_check_image(struct blobs *b, const Swarm__ImageCreate *m, struct err *err)
{
        _cleanup_free_ char *name = NULL;
        int r = 0;

        if (!m->image)
                return err_set(err, EINVAL, "image: is missing from the request");
        if (!str_is_empty(m->name))
                r = image_name_normalize(m->name, &name, err);
        if (r < 0)
                return r;
        r = check_image(b, m->image, err);
        if (r < 0)
                return err_wrap(err, "image %.80s", name ? name : m->image->id);
        blob_pin(b, m->image->id);
        for (size_t i = 0; i < m->image->n_layers; i++)
                blob_pin(b, m->image->layers[i]->digest);
        return 0;
}
