/*
 * OCI image layouts (OCI image specification: image-layout, image-index, manifest, annotations):
 * from index.json through nested indexes to the manifest for this machine, its config and layers.
 */
#include <errno.h>
#include <string.h>
#include <sys/utsname.h>

#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/image/archive_internal.h"
#include "shared/image/image.h"
#include "shared/image/json_internal.h"

#define NESTED_MAX 4
#define REF_NAME   "org.opencontainers.image.ref.name"
#define FULL_NAME  "io.containerd.image.name"

struct descriptor {
        const char *media_type, *digest, *arch, *os;
        const char *ref_name, *full_name;
        int64_t size;
        bool is_attestation; /* about an image, not one */
};

const char *machine_arch(void)
{
        static const char *const names[][2] = {
                {"x86_64", "amd64"},    {"aarch64", "arm64"},   {"i686", "386"},
                {"armv7l", "arm"},      {"ppc64le", "ppc64le"}, {"s390x", "s390x"},
                {"riscv64", "riscv64"},
        };
        struct utsname u;

        if (uname(&u) < 0)
                return "";
        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                if (str_is_equal(u.machine, names[i][0]))
                        return names[i][1];
        return "";
}

static int get_platform(const json_t *o, struct descriptor *d, struct err *err)
{
        const json_t *p;
        int r = json_get_object(o, "platform", &p, err);

        if (r == 0)
                r = json_get_str(p, "architecture", &d->arch, err);
        if (r == 0)
                r = json_get_str(p, "os", &d->os, err);
        return r;
}

static int get_annotations(const json_t *o, struct descriptor *d, struct err *err)
{
        const char *kind;
        const json_t *a;
        int r = json_get_object(o, "annotations", &a, err);

        if (r == 0)
                r = json_get_str(a, REF_NAME, &d->ref_name, err);
        if (r == 0)
                r = json_get_str(a, FULL_NAME, &d->full_name, err);
        if (r == 0)
                r = json_get_str(a, "vnd.docker.reference.type", &kind, err);
        if (r == 0)
                d->is_attestation = kind != NULL;
        return r;
}

static int get_descriptor(const json_t *o, struct descriptor *d, struct err *err)
{
        int r;

        memset(d, 0, sizeof(*d));
        if (!json_is_object(o))
                return err_set(err, EINVAL, "a descriptor must be an object");
        r = json_get_str(o, "mediaType", &d->media_type, err);
        if (r == 0)
                r = json_get_str(o, "digest", &d->digest, err);
        if (r == 0)
                r = json_get_int(o, "size", &d->size, err);
        if (r == 0)
                r = get_platform(o, d, err);
        if (r == 0)
                r = get_annotations(o, d, err);
        if (r < 0)
                return r;
        d->media_type = d->media_type ? d->media_type : "";
        if (!digest_is_valid(d->digest))
                return err_set(err, EINVAL, "digest %.80s: must be sha256",
                               d->digest ? d->digest : "");
        return 0;
}

static char *blob_path(const char *digest)
{
        return xasprintf("blobs/sha256/%s", digest_hex(digest));
}

/* Is it there, and as large as told? */
static int check_blob(struct image_archive *a, const struct descriptor *d, struct err *err)
{
        _cleanup_free_ char *path = blob_path(d->digest);
        int64_t size = source_size(a->source, path);

        if (size < 0)
                return err_set(err, ENOENT, "%s: is not in the archive", path);
        if (size != d->size)
                return err_set(err, EBADMSG, "%s: has %lld bytes, not %lld", path, (long long)size,
                               (long long)d->size);
        return 0;
}

/* A small blob, its digest checked. */
static int read_blob(struct image_archive *a, const struct descriptor *d, struct buf *ret,
                     struct err *err)
{
        _cleanup_free_ char *path = blob_path(d->digest);
        char digest[DIGEST_TEXT_LEN + 1];
        int r = check_blob(a, d, err);

        if (r == 0)
                r = source_read_all(a->source, path, ARCHIVE_JSON_MAX, ret, err);
        if (r < 0)
                return r;
        digest_of(ret->data, ret->len, digest);
        if (!str_is_equal(digest, d->digest))
                return err_set(err, EBADMSG, "%s: wrong content: its digest is %s", path, digest);
        return 0;
}

static bool is_layer_type(const char *s)
{
        return !strstr(s, "encrypted") &&
               (str_has_prefix(s, "application/vnd.oci.image.layer.") ||
                str_has_prefix(s, "application/vnd.docker.image.rootfs."));
}

static int add_layers(struct image_archive *a, struct archive_image *i, const json_t *layers,
                      struct err *err)
{
        const json_t *o;
        size_t k;

        if (json_array_size(layers) > IMAGE_LAYERS_MAX)
                return err_set(err, E2BIG, "has more than %d layers", IMAGE_LAYERS_MAX);
        json_array_foreach((json_t *)(uintptr_t)layers, k, o)
        {
                struct descriptor d;
                int r = get_descriptor(o, &d, err);

                if (r < 0)
                        return r;
                if (!is_layer_type(d.media_type))
                        return err_set(err, EINVAL, "cannot unpack a layer of type %.80s",
                                       d.media_type);
                r = check_blob(a, &d, err);
                if (r < 0)
                        return r;
                _cleanup_free_ char *path = blob_path(d.digest);
                r = archive_add_layer(a, i, d.digest, d.size, d.media_type, path, err);
                if (r < 0)
                        return r;
        }
        return archive_end_image(i, err);
}

/* A name of its own, or a tag alone, which names nothing. */
static void add_name(struct archive_image *i, const struct descriptor *d)
{
        if (d->full_name)
                archive_add_name(i, d->full_name);
        else if (d->ref_name && strpbrk(d->ref_name, ":/"))
                archive_add_name(i, d->ref_name);
}

static int add_manifest(struct image_archive *a, const json_t *m, const struct descriptor *named,
                        struct err *err)
{
        _cleanup_buf_ struct buf config = {0};
        const json_t *o, *layers;
        struct archive_image *i;
        struct descriptor d;
        int r = json_get_object(m, "config", &o, err);

        if (r == 0)
                r = json_get_array(m, "layers", &layers, err);
        if (r < 0)
                return r;
        if (!o || !layers)
                return err_set(err, EINVAL, "a manifest without config or layers");
        r = get_descriptor(o, &d, err);
        if (r == 0)
                r = read_blob(a, &d, &config, err);
        if (r == 0)
                r = archive_add_image(a, &config, &i, err);
        if (r < 0)
                return r;
        add_name(i, named);
        return add_layers(a, i, layers, err);
}

/* How well it suits the platform: 0 not at all, 1 it does not say, 2 it is for it. */
static int fitness(const struct image_archive *a, const struct descriptor *d)
{
        if (d->is_attestation)
                return 0;
        if (!d->arch && !d->os)
                return 1;
        _cleanup_free_ char *is = xasprintf("%s/%s", d->os ? d->os : "", d->arch ? d->arch : "");

        return str_is_equal(is, a->platform) ? 2 : 0;
}

/* The best of a nested index. */
static int choose(const struct image_archive *a, const json_t *list, struct descriptor *ret,
                  struct err *err)
{
        const json_t *o;
        int best = 0;
        size_t k;

        json_array_foreach((json_t *)(uintptr_t)list, k, o)
        {
                struct descriptor d;
                int r = get_descriptor(o, &d, err);

                if (r < 0)
                        return r;
                if (fitness(a, &d) > best) {
                        best = fitness(a, &d);
                        *ret = d;
                }
        }
        return best ? 0 : err_set(err, ENOENT, "has no image for %s", a->platform);
}

/* From a descriptor to a manifest, through as many indexes as need be. named: which bears the name.
 */
static int add_image(struct image_archive *a, const struct descriptor *first, struct err *err)
{
        struct descriptor d = *first;
        _cleanup_json_ json_t *held = NULL; /* owns what d points into */

        for (int depth = 0; depth < NESTED_MAX; depth++) {
                _cleanup_buf_ struct buf text = {0};
                const json_t *list;
                int r = read_blob(a, &d, &text, err);

                if (r < 0)
                        return r;
                json_t *o = image_json_load(text.data, text.len, err);
                if (!o)
                        return err_wrap(err, "manifest %.19s", d.digest);
                json_decref(held);
                held = o;
                r = json_get_array(o, "manifests", &list, err);
                if (r == 0 && !list)
                        r = add_manifest(a, o, first, err);
                else if (r == 0)
                        r = choose(a, list, &d, err);
                if (r < 0 || !list)
                        return r;
        }
        return err_set(err, EINVAL, "index.json: indexes are nested deeper than %d", NESTED_MAX);
}

/* All images that index.json names. Several without a name, for several machines, are one. */
static int add_images(struct image_archive *a, const json_t *list, struct err *err)
{
        bool has_fitting = false, is_skipped = false;
        const json_t *o;
        struct descriptor d;
        size_t k;
        int r;

        json_array_foreach((json_t *)(uintptr_t)list, k, o)
        {
                r = get_descriptor(o, &d, err);
                if (r < 0)
                        return r;
                has_fitting |= fitness(a, &d) == 2;
        }
        json_array_foreach((json_t *)(uintptr_t)list, k, o)
        {
                r = get_descriptor(o, &d, err);
                if (r < 0)
                        return r;
                if (d.is_attestation || (has_fitting && fitness(a, &d) == 0)) {
                        is_skipped = true;
                        continue;
                }
                r = add_image(a, &d, err);
                if (r < 0)
                        return r;
        }
        if (a->n_images == 0)
                return err_set(err, ENOENT, "index.json: %s",
                               is_skipped ? "has no image for this machine" : "names no image");
        return 0;
}

int oci_open(struct image_archive *a, struct err *err)
{
        _cleanup_buf_ struct buf text = {0};
        const json_t *list = NULL;
        int r = source_read_all(a->source, "index.json", ARCHIVE_JSON_MAX, &text, err);

        if (r < 0)
                return r;
        _cleanup_json_ json_t *index = image_json_load(text.data, text.len, err);
        if (!index)
                return err_wrap(err, "index.json");
        r = json_get_array(index, "manifests", &list, err);
        if (r == 0 && json_array_size(list) > ARCHIVE_IMAGES_MAX)
                r = err_set(err, E2BIG, "names more than %d images", ARCHIVE_IMAGES_MAX);
        if (r < 0)
                return err_wrap(err, "index.json");
        return add_images(a, list, err);
}
