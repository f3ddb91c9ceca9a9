/* Images and their names: a name belongs to one image at a time. */
#include "manager/store/store_internal.h"

#include <string.h>

#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/wire/wire.h"

void image_tell(struct store *s, struct image *image, enum change_kind kind, const char *name)
{
        struct store_watch *w;

        LIST_FOREACH (w, &s->watches, link)
                if (w->on_image)
                        w->on_image(w->arg, image, kind, name);
}

static void changed(struct store *s, struct image *image, const char *name)
{
        mark_changed(s, ROW_IMAGES, image);
        image_tell(s, image, CHANGE_UPDATED, name);
}

static void index_name(struct store *s, struct image *image, const char *name)
{
        struct image_name *n = map_get_str(&s->image_names, name);

        if (!n) {
                n = xnew(struct image_name);
                n->name = xstrdup(name);
                map_put(&s->image_names, n);
        }
        n->image = image;
}

static void unindex_name(struct store *s, const struct image *image, const char *name)
{
        struct image_name *n = map_get_str(&s->image_names, name);

        if (!n || n->image != image)
                return;
        map_remove(&s->image_names, n);
        free(n->name);
        free(n);
}

void image_link(struct store *s, struct image *image)
{
        map_put(&s->images, image);
        for (size_t i = 0; i < image->msg->n_names; i++)
                index_name(s, image, image->msg->names[i]);
}

void image_unlink(struct store *s, struct image *image)
{
        map_remove(&s->images, image);
        for (size_t i = 0; i < image->msg->n_names; i++)
                unindex_name(s, image, image->msg->names[i]);
}

/* False when it does not bear the name. */
static bool drop_name(struct store *s, struct image *image, const char *name)
{
        Swarm__Image *msg = image->msg;

        for (size_t i = 0; i < msg->n_names; i++) {
                if (!str_is_equal(msg->names[i], name))
                        continue;
                unindex_name(s, image, name);
                free(msg->names[i]);
                msg->n_names--;
                memmove(&msg->names[i], &msg->names[i + 1],
                        (msg->n_names - i) * sizeof(*msg->names));
                return true;
        }
        return false;
}

/* Takes the name from whoever bears it; false: it bears it already. */
static bool add_name(struct store *s, struct image *image, const char *name)
{
        Swarm__Image *msg = image->msg;
        struct image *other = store_find_image_by_name(s, name);

        if (other == image)
                return false;
        if (other && drop_name(s, other, name))
                changed(s, other, name);
        msg->names = xreallocarray(msg->names, msg->n_names + 1, sizeof(*msg->names));
        msg->names[msg->n_names++] = xstrdup(name);
        index_name(s, image, name);
        return true;
}

struct image *store_put_image(struct store *s, const Swarm__Image *msg)
{
        struct image *image = store_find_image(s, msg->id);
        bool is_new = !image;

        if (is_new) {
                Swarm__Image nameless = *msg;

                nameless.n_names = 0;
                image = xnew(struct image);
                image->id = xstrdup(msg->id);
                image->msg = wire_dup(&nameless);
                image->row = ++s->last_row[ROW_IMAGES];
                image_link(s, image);
                mark_created(s, ROW_IMAGES, image);
        }
        for (size_t i = 0; i < msg->n_names; i++)
                if (add_name(s, image, msg->names[i]) && !is_new)
                        changed(s, image, msg->names[i]);
        if (is_new)
                image_tell(s, image, CHANGE_CREATED, NULL);
        return image;
}

void store_remove_image_name(struct store *s, struct image *image, const char *name)
{
        _cleanup_free_ char *copy = xstrdup(name); /* it may be the image's own */

        if (drop_name(s, image, copy))
                changed(s, image, copy);
}

void store_remove_image(struct store *s, struct image *image)
{
        image_unlink(s, image);
        mark_removed(s, ROW_IMAGES, image);
        image_tell(s, image, CHANGE_REMOVED, NULL);
}
