/*
 * Image archives: see archive.h. An archive with a manifest.json is docker's (newer ones are OCI
 * layouts as well, with fewer names); else an index.json makes it an OCI layout.
 */
#include "shared/image/archive.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "shared/base/map.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/image/archive_internal.h"
#include "shared/image/image.h"
#include "shared/image/json_internal.h"
#include "shared/wire/wire.h"

#define MEDIA_TAR "application/vnd.oci.image.layer.v1.tar"
#define TAGS_MAX  256

struct image_archive *archive_new(struct source *s)
{
        struct image_archive *a = xnew(struct image_archive);

        a->source = s;
        a->layer_fd = -1;
        a->blobs = MAP_INIT(struct archive_blob, digest, MAP_KEY_STR);
        return a;
}

void image_archive_close(struct image_archive *a)
{
        struct archive_blob *b;
        size_t k;

        if (!a)
                return;
        for (size_t i = 0; i < a->n_images; i++) {
                strv_free(a->images[i].names);
                strv_free(a->images[i].bad_names);
                wire_free(a->images[i].msg);
                free(a->images[i].config);
        }
        MAP_FOREACH (b, k, &a->blobs) {
                free(b->digest);
                free(b->name);
                free(b);
        }
        map_done(&a->blobs);
        source_close(a->source);
        if (a->layer_fd >= 0)
                close(a->layer_fd);
        free(a->images);
        free(a->platform);
        free(a);
}

size_t image_archive_count(const struct image_archive *a)
{
        return a->n_images;
}

const struct archive_image *image_archive_get(const struct image_archive *a, size_t i)
{
        return &a->images[i];
}

/* --- building -----------------------------------------------------------------------------------
 */
static Swarm__Image *make_message(const struct image_config *c, const char *id, size_t config_len)
{
        Swarm__Image m = SWARM__IMAGE__INIT;

        m.id = (char *)id;
        m.config_size = (int64_t)config_len;
        m.os = c->os ? c->os : (char *)"";
        m.arch = c->arch ? c->arch : (char *)"";
        m.lacks_command = image_config_lacks_command(c);
        Swarm__Image *copy = wire_dup(&m);
        /* Room for a layer a diff id; archive_add_layer fills it. */
        copy->layers = xnew_array(Swarm__Layer *, strv_len(c->diff_ids));
        for (size_t i = 0; i < strv_len(c->diff_ids); i++) {
                Swarm__Layer l = SWARM__LAYER__INIT;

                l.diff_id = c->diff_ids[i];
                copy->layers[i] = wire_dup(&l);
        }
        copy->n_layers = strv_len(c->diff_ids);
        return copy;
}

int archive_add_image(struct image_archive *a, const struct buf *config, struct archive_image **ret,
                      struct err *err)
{
        char id[DIGEST_TEXT_LEN + 1];
        struct image_config *c;
        struct archive_image *i;
        int r = image_config_parse(config->data, config->len, &c, err);

        if (r < 0)
                return r;
        if (a->n_images == ARCHIVE_IMAGES_MAX) {
                image_config_free(c);
                return err_set(err, E2BIG, "more than %d images", ARCHIVE_IMAGES_MAX);
        }
        digest_of(config->data, config->len, id);
        a->images = xreallocarray(a->images, a->n_images + 1, sizeof(*a->images));
        i = &a->images[a->n_images++];
        memset(i, 0, sizeof(*i));
        i->msg = make_message(c, id, config->len);
        i->config = xmemdup(config->data, config->len);
        i->config_len = config->len;
        image_config_free(c);
        *ret = i;
        return 0;
}

/* The first layer without a digest is the next one. */
static Swarm__Layer *next_layer(struct archive_image *i)
{
        for (size_t k = 0; k < i->msg->n_layers; k++)
                if (str_is_empty(i->msg->layers[k]->digest))
                        return i->msg->layers[k];
        return NULL;
}

static void set_str(char **field, const char *s)
{
        if (*field != protobuf_c_empty_string)
                free(*field);
        *field = xstrdup(s);
}

int archive_add_layer(struct image_archive *a, struct archive_image *i, const char *digest,
                      int64_t size, const char *media_type, const char *name, struct err *err)
{
        Swarm__Layer *l = next_layer(i);
        struct archive_blob *b;

        if (!l)
                return err_set(err, EBADMSG, "has more layers than its config names");
        if (size <= 0)
                return err_set(err, EBADMSG, "layer %s is empty", name);
        set_str(&l->digest, digest);
        set_str(&l->media_type, media_type);
        l->size = size;
        if (map_get_str(&a->blobs, digest))
                return 0;
        b = xnew(struct archive_blob);
        b->digest = xstrdup(digest);
        b->name = xstrdup(name);
        b->size = size;
        map_put(&a->blobs, b);
        return 0;
}

void archive_add_name(struct archive_image *i, const char *name)
{
        _cleanup_free_ char *whole = NULL;

        struct err err = {0};

        if (image_name_normalize(name, &whole, &err) < 0)
                strv_push(&i->bad_names, err.text);
        else if (!strv_has(i->names, whole))
                strv_push(&i->names, whole);
}

int archive_end_image(struct archive_image *i, struct err *err)
{
        if (next_layer(i))
                return err_set(err, EBADMSG, "has fewer layers than its config names");
        return 0;
}

/* --- docker's manifest.json ----------------------------------------------------------------------
 */
struct hashing {
        struct digest *digest;
        uint8_t head[LAYER_HEAD_BYTES];
        size_t n_head;
};

static int hash_bytes(void *arg, const void *p, size_t n)
{
        struct hashing *h = arg;

        for (size_t i = 0; h->n_head < sizeof(h->head) && i < n; i++)
                h->head[h->n_head++] = ((const uint8_t *)p)[i];
        digest_update(h->digest, p, n);
        return 0;
}

/* What kind of layer it is, by its first bytes (RFC 1952, RFC 8878). */
const char *layer_media_type(const uint8_t head[LAYER_HEAD_BYTES])
{
        static const uint8_t gzip[2] = {0x1f, 0x8b}, zstd[4] = {0x28, 0xb5, 0x2f, 0xfd};

        if (memcmp(head, gzip, sizeof(gzip)) == 0)
                return MEDIA_TAR "+gzip";
        return memcmp(head, zstd, sizeof(zstd)) == 0 ? MEDIA_TAR "+zstd" : MEDIA_TAR;
}

/* docker-archive names its layers by files, not by digests: those are made here. */
static int add_docker_layer(struct image_archive *a, struct archive_image *i, const char *name,
                            struct err *err)
{
        struct hashing h = {.digest = digest_new()};
        char digest[DIGEST_TEXT_LEN + 1];
        int r = source_read(a->source, name, 0, hash_bytes, &h, err);

        digest_finish(h.digest, digest);
        if (r < 0)
                return r;
        const char *type = layer_media_type(h.head);
        const Swarm__Layer *l = next_layer(i);
        if (l && str_is_equal(type, MEDIA_TAR) && !str_is_equal(l->diff_id, digest))
                return err_set(err, EBADMSG, "layer %s: wrong content: its digest is %s, not %s",
                               name, digest, l->diff_id);
        return archive_add_layer(a, i, digest, source_size(a->source, name), type, name, err);
}

static int add_docker_image(struct image_archive *a, const json_t *entry, struct err *err)
{
        _cleanup_strv_ char **layers = NULL, **tags = NULL;
        _cleanup_buf_ struct buf config = {0};
        struct archive_image *i;
        const char *config_name;
        int r;

        if (!json_is_object(entry))
                return err_set(err, EINVAL, "must be a list of objects");
        r = json_get_str(entry, "Config", &config_name, err);
        if (r == 0)
                r = json_get_strv(entry, "Layers", IMAGE_LAYERS_MAX, &layers, err);
        if (r == 0)
                r = json_get_strv(entry, "RepoTags", TAGS_MAX, &tags, err);
        if (r < 0)
                return r;
        if (str_is_empty(config_name))
                return err_set(err, EINVAL, "Config: is missing");
        r = source_read_all(a->source, config_name, IMAGE_CONFIG_MAX, &config, err);
        if (r == 0)
                r = archive_add_image(a, &config, &i, err);
        if (r < 0)
                return r;
        for (char **l = layers; r == 0 && l && *l; l++)
                r = add_docker_layer(a, i, *l, err);
        for (char **t = tags; t && *t; t++)
                archive_add_name(i, *t);
        return r == 0 ? archive_end_image(i, err) : r;
}

static int docker_open(struct image_archive *a, struct err *err)
{
        _cleanup_buf_ struct buf text = {0};
        const json_t *entry;
        size_t i;
        int r = source_read_all(a->source, "manifest.json", ARCHIVE_JSON_MAX, &text, err);

        if (r < 0)
                return r;
        _cleanup_json_ json_t *list = image_json_load(text.data, text.len, err);
        if (!list)
                return err_wrap(err, "manifest.json");
        if (!json_is_array(list) || json_array_size(list) == 0)
                return err_set(err, EINVAL, "manifest.json: must be a list with an image");
        json_array_foreach(list, i, entry)
        {
                r = add_docker_image(a, entry, err);
                if (r < 0)
                        return err_wrap(err, "manifest.json");
        }
        return 0;
}

/* --- the door ------------------------------------------------------------------------------------
 */
static int check_platform(const struct image_archive *a, struct err *err)
{
        for (size_t i = 0; i < a->n_images; i++) {
                const Swarm__Image *m = a->images[i].msg;
                _cleanup_free_ char *is = xasprintf("%s/%s", m->os, m->arch);

                if (!str_is_equal(is, a->platform))
                        return err_set(err, ENOENT, "has an image for %s, not for %s", is,
                                       a->platform);
        }
        return 0;
}

int image_archive_open(const char *path, const char *platform, struct image_archive **ret,
                       struct err *err)
{
        struct source *s;
        int r = source_open(path, &s, err);

        if (r < 0)
                return r;
        struct image_archive *a = archive_new(s);
        a->platform = platform ? xstrdup(platform) : xasprintf("linux/%s", machine_arch());
        if (source_size(s, "manifest.json") >= 0)
                r = docker_open(a, err);
        else if (source_size(s, "index.json") >= 0)
                r = oci_open(a, err);
        else
                r = err_set(err, EINVAL,
                            "not an image archive: has neither manifest.json nor index.json");
        if (r == 0 && platform)
                r = check_platform(a, err);
        if (r < 0) {
                image_archive_close(a);
                return err_wrap(err, "%s", str_is_equal(path, "-") ? "standard input" : path);
        }
        *ret = a;
        return 0;
}

struct reading {
        struct digest *digest; /* NULL: not checked */
        archive_data_fn *fn;
        void *arg;
};

static int pass_on(void *arg, const void *p, size_t n)
{
        struct reading *r = arg;

        if (r->digest)
                digest_update(r->digest, p, n);
        return r->fn(r->arg, p, n);
}

static int read_fd(int fd, int64_t offset, archive_data_fn *fn, void *arg, struct err *err)
{
        uint8_t p[65536];

        for (;;) {
                ssize_t n = pread(fd, p, sizeof(p), offset);
                int r;

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return err_set(err, errno, "read: %s", err_name(errno));
                if (n == 0)
                        return 0;
                r = fn(arg, p, (size_t)n);
                if (r < 0)
                        return r;
                offset += n;
        }
}

static int read_blob(struct image_archive *a, const char *digest, int64_t offset,
                     struct reading *reading, struct err *err)
{
        struct archive_blob *b = map_get_str(&a->blobs, digest);

        if (b && a->layer_fd >= 0)
                return read_fd(a->layer_fd, offset, pass_on, reading, err);
        if (b)
                return source_read(a->source, b->name, offset, pass_on, reading, err);
        for (size_t i = 0; i < a->n_images; i++) {
                const struct archive_image *image = &a->images[i];

                if (!str_is_equal(image->msg->id, digest))
                        continue;
                if (offset > (int64_t)image->config_len)
                        return err_set(err, EINVAL, "is shorter");
                return pass_on(reading, image->config + offset, image->config_len - (size_t)offset);
        }
        return err_set(err, ENOENT, "is not in the archive");
}

int image_archive_read(struct image_archive *a, const char *digest, int64_t offset,
                       archive_data_fn *fn, void *arg, struct err *err)
{
        struct reading reading = {
                .digest = offset == 0 ? digest_new() : NULL, .fn = fn, .arg = arg};
        char got[DIGEST_TEXT_LEN + 1];
        int r = read_blob(a, digest, offset, &reading, err);

        if (!reading.digest)
                return r;
        digest_finish(reading.digest, got);
        if (r == 0 && !str_is_equal(got, digest))
                return err_set(err, EBADMSG, "blob %.19s: wrong content: its digest is %s", digest,
                               got);
        return r;
}
