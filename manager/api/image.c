/* Images: the records. Their bytes are the driver's (manager/blobs): it has checked a create. */
#include "manager/api/api_internal.h"

#include <errno.h>

#include "shared/image/image.h"

#define IMAGE_NAMES_MAX    128         /* of one image */
#define PLATFORM_BYTES_MAX 64          /* of an image's os and arch */
#define IMAGE_BYTES_MAX    (64u << 10) /* of its record */

bool image_has_name(const struct image *image, const char *name)
{
        for (size_t i = 0; i < image->msg->n_names; i++)
                if (str_is_equal(image->msg->names[i], name))
                        return true;
        return false;
}

/* The name is the image's already, or it can have one more. */
static int check_names(struct call *c, const char *id, const char *name)
{
        struct image *image = store_find_image(c->a->store, id);

        if (!image || image_has_name(image, name) || image->msg->n_names < IMAGE_NAMES_MAX)
                return 0;
        return err_set(&c->err, EINVAL, "image %s: has %d names already, as many as it can have",
                       name, IMAGE_NAMES_MAX);
}

/* What goes into the record is bounded: the driver has compared it with the config, which is not.
 */
static int check_image(struct call *c, const Swarm__Image *m)
{
        if (!m || !digest_is_valid(m->id))
                return err_set(&c->err, EINVAL, "image: without an id");
        if (strlen(m->os) > PLATFORM_BYTES_MAX || strlen(m->arch) > PLATFORM_BYTES_MAX)
                return err_set(&c->err, EINVAL,
                               "image %.19s: its operating system or architecture is longer than "
                               "%d bytes",
                               m->id, PLATFORM_BYTES_MAX);
        if (m->n_layers > IMAGE_LAYERS_MAX)
                return err_set(&c->err, EINVAL, "image %.19s: more than %d layers", m->id,
                               IMAGE_LAYERS_MAX);
        if (swarm__image__get_packed_size(m) > IMAGE_BYTES_MAX)
                return err_set(&c->err, EINVAL, "image %.19s: its record is larger than %u KiB",
                               m->id, IMAGE_BYTES_MAX >> 10);
        for (size_t i = 0; i < m->n_layers; i++)
                if (!digest_is_valid(m->layers[i]->digest) ||
                    !digest_is_valid(m->layers[i]->diff_id))
                        return err_set(&c->err, EINVAL,
                                       "image %.19s: layer %zu is named by no "
                                       "digest",
                                       m->id, i + 1);
        return 0;
}

int on_image_create(struct call *c)
{
        const Swarm__ImageCreate *m = c->q->image_create;
        _cleanup_free_ char *name = NULL;
        Swarm__Response r = SWARM__RESPONSE__INIT;
        Swarm__Empty empty = SWARM__EMPTY__INIT;
        int e = check_image(c, m->image);

        if (e == 0 && !str_is_empty(m->name))
                e = image_name_normalize(m->name, &name, &c->err);
        if (e == 0 && name)
                e = check_names(c, m->image->id, name);
        if (e < 0)
                return e;
        Swarm__Image image = *m->image;
        image.names = &name;
        image.n_names = name ? 1 : 0;
        image.created_ms = c->a->now.wall_ms;
        store_put_image(c->a->store, &image);
        r.kind_case = SWARM__RESPONSE__KIND_DONE;
        r.done = &empty;
        call_answer(c, &r);
        return 0;
}

static bool is_missing(struct api *a, const Swarm__Image *i)
{
        const struct turn_config *config = &a->config;

        if (!config->is_blob_missing)
                return false;
        for (size_t k = 0; k < i->n_layers; k++)
                if (config->is_blob_missing(config->arg, i->layers[k]->digest))
                        return true;
        return config->is_blob_missing(config->arg, i->id);
}

int on_image_list(struct call *c)
{
        struct parts p = {.c = c, .response_field = SWARM__RESPONSE__KIND_IMAGES};
        struct image *image;
        size_t i;

        MAP_FOREACH (image, i, store_images(c->a->store)) {
                Swarm__Image m = *image->msg;

                m.is_missing = is_missing(c->a, &m);
                parts_add(&p, &m.base);
        }
        return parts_end(&p);
}

int on_image_get(struct call *c)
{
        const Swarm__RefList *refs = c->q->image_get;
        struct image *image;

        for (size_t i = 0; i < refs->n_refs; i++) {
                int r = find_image(c->a, refs->refs[i], &image, &c->err);

                if (r < 0)
                        return r;
        }
        if (refs->n_refs == 0)
                return err_set(&c->err, EINVAL, "image: none named");
        for (size_t i = 0; i < refs->n_refs; i++) {
                Swarm__Response r = SWARM__RESPONSE__INIT;
                Swarm__ImageDetail detail = SWARM__IMAGE_DETAIL__INIT;

                find_image(c->a, refs->refs[i], &image, &c->err);
                detail.image = image->msg;
                r.more = i + 1 < refs->n_refs;
                r.kind_case = SWARM__RESPONSE__KIND_IMAGE;
                r.image = &detail;
                call_answer(c, &r);
        }
        return 0;
}

/* A service that asks for the image, now or if it is rolled back; NULL: none. */
static struct service *user_of(struct api *a, const char *image_id)
{
        struct service *s;
        size_t i;

        MAP_FOREACH (s, i, store_services(a->store)) {
                if (s->is_removing)
                        continue;
                if (str_is_equal(s->spec->msg->task->container->image_id, image_id) ||
                    (s->previous_spec &&
                     str_is_equal(s->previous_spec->msg->task->container->image_id, image_id)))
                        return s;
        }
        return NULL;
}

static bool has_layer(const struct image *image, const char *digest)
{
        for (size_t i = 0; i < image->msg->n_layers; i++)
                if (str_is_equal(image->msg->layers[i]->digest, digest))
                        return true;
        return false;
}

static void release_blob(struct call *c, const struct image *but, const char *digest)
{
        struct image *other;
        size_t i;

        MAP_FOREACH (other, i, store_images(c->a->store))
                if (other != but && (str_is_equal(other->id, digest) || has_layer(other, digest)))
                        return;
        effect_blob_release(c->effects, digest);
}

static void remove_image(struct call *c, struct image *image)
{
        for (size_t i = 0; i < image->msg->n_layers; i++)
                release_blob(c, image, image->msg->layers[i]->digest);
        release_blob(c, image, image->id);
        store_remove_image(c->a->store, image);
}

/* The name as the image bears it, if ref is one of its names; NULL: it was named by its id. */
static const char *name_of(const struct image *image, const char *ref)
{
        _cleanup_free_ char *latest = xasprintf("%s:latest", ref);

        for (size_t i = 0; i < image->msg->n_names; i++)
                if (str_is_equal(image->msg->names[i], ref) ||
                    str_is_equal(image->msg->names[i], latest))
                        return image->msg->names[i];
        return NULL;
}

int on_image_remove(struct call *c)
{
        const Swarm__ImageRemove *m = c->q->image_remove;
        struct image *image;
        int r = find_image(c->a, m->ref, &image, &c->err);

        if (r < 0)
                return r;
        const char *name = name_of(image, m->ref);
        struct service *user = user_of(c->a, image->id);
        if (name && image->msg->n_names > 1) {
                store_remove_image_name(c->a->store, image, name);
        } else if (user && !m->force) {
                return err_set(&c->err, EBUSY, "image %s: is in use by service %s", m->ref,
                               user->name);
        } else if (!name && image->msg->n_names > 1 && !m->force) {
                return err_set(&c->err, EBUSY, "image %s: has several names: use --force", m->ref);
        } else {
                remove_image(c, image);
        }
        call_done(c);
        return 0;
}
