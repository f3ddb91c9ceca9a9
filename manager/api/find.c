/* Objects by what people call them: an id, a name, or a unique prefix of an id, in this order. */
#include "manager/api/api_internal.h"

#include <errno.h>
#include <stdio.h>

/* The ids that begin with a text are those from one number to another. -ENOENT: there is none. */
static int prefix_range(const char *prefix, struct id *ret_first, struct id *ret_last)
{
        char text[ID_TEXT_MAX];
        size_t n = strlen(prefix);

        if (n == 0 || n > ID_TEXT_LEN)
                return -ENOENT;
        memset(text, '0', ID_TEXT_LEN);
        memcpy(text, prefix, n);
        text[ID_TEXT_LEN] = 0;
        if (id_parse(text, ret_first) < 0)
                return -ENOENT;
        memset(text + n, 'z', ID_TEXT_LEN - n);
        if (id_parse(text, ret_last) < 0)
                *ret_last = (struct id){UINT64_MAX, UINT64_MAX};
        return 0;
}

/* Looks for the one object whose id begins with ref. is_hidden may be NULL. */
static int find_by_prefix(const struct map *m, size_t id_offset, const char *ref,
                          bool (*is_hidden)(const void *object), void **ret)
{
        void *object, *found = NULL;
        struct id first, last;
        size_t i;

        if (prefix_range(ref, &first, &last) < 0)
                return -ENOENT;
        MAP_FOREACH (object, i, m) {
                struct id id = *(struct id *)(void *)((char *)object + id_offset);

                if (id_compare(id, first) < 0 || id_compare(id, last) > 0 ||
                    (is_hidden && is_hidden(object)))
                        continue;
                if (found)
                        return -EINVAL;
                found = object;
        }
        if (!found)
                return -ENOENT;
        *ret = found;
        return 0;
}

static int complain(struct err *err, int r, const char *kind, const char *ref)
{
        if (r == -EINVAL)
                return err_set(err, EINVAL, "%s %s: several ids begin so", kind, ref);
        return err_set(err, ENOENT, "no such %s: %s", kind, ref);
}

static bool is_removing(const void *object)
{
        return ((const struct service *)object)->is_removing;
}

int find_service(struct api *a, const char *ref, struct service **ret, struct err *err)
{
        struct service *s = *ref ? store_find_service_by_name(a->store, ref) : NULL;
        void *found = s;
        int r = 0;

        if (!s || s->is_removing)
                r = *ref ? find_by_prefix(store_services(a->store), offsetof(struct service, id),
                                          ref, is_removing, &found)
                         : -ENOENT;
        if (r < 0)
                return complain(err, r, "service", ref);
        *ret = found;
        return 0;
}

struct node *find_self(struct call *c)
{
        return c->manager ? store_find_manager(c->a->store, c->manager)
                          : store_find_node(c->a->store, c->a->config.node);
}

int find_node(struct call *c, const char *ref, struct node **ret)
{
        struct api *a = c->a;
        struct err *err = &c->err;
        struct node *node, *found = NULL;
        void *by_id;
        size_t i, n = 0;

        if (str_is_equal(ref, "self") && (node = find_self(c))) {
                *ret = node;
                return 0;
        }
        int r = *ref ? find_by_prefix(store_nodes(a->store), offsetof(struct node, id), ref, NULL,
                                      &by_id)
                     : -ENOENT;
        if (r == 0 && strlen(ref) == ID_TEXT_LEN) {
                *ret = by_id; /* no hostname, which a node chooses itself, hides another's id */
                return 0;
        }
        MAP_FOREACH (node, i, store_nodes(a->store))
                if (str_is_equal(node_hostname(node), ref)) {
                        found = node;
                        n++;
                }
        if (n > 1)
                return err_set(err, EINVAL, "node %s: %zu nodes have this hostname: use an id", ref,
                               n);
        if (n == 0 && r < 0)
                return complain(err, r, "node", ref);
        *ret = n ? found : by_id;
        return 0;
}

/* "web.3", or "web.<node id>": the newest task of that slot; NULL: none. */
static struct task *find_task_by_name(struct api *a, const char *ref)
{
        const char *dot = strrchr(ref, '.');
        struct task *t, *found = NULL;
        struct service *service = NULL;

        if (dot) {
                _cleanup_free_ char *name = xstrndup(ref, (size_t)(dot - ref));
                service = store_find_service_by_name(a->store, name);
        }
        if (!service)
                return NULL;
        LIST_FOREACH (t, &service->tasks, service_link) {
                char slot[ID_TEXT_MAX];

                if (t->slot)
                        snprintf(slot, sizeof(slot), "%u", t->slot);
                else
                        snprintf(slot, sizeof(slot), "%s", t->node ? ID_S(t->node->id) : "");
                if (str_is_equal(slot, dot + 1))
                        found = t; /* they stand in order of creation */
        }
        return found;
}

int find_task(struct api *a, const char *ref, struct task **ret, struct err *err)
{
        void *found = NULL;
        struct id id;
        int r = -ENOENT;

        if (id_parse(ref, &id) == 0)
                found = store_find_task(a->store, id);
        if (!found)
                found = find_task_by_name(a, ref);
        if (!found && *ref)
                r = find_by_prefix(store_tasks(a->store), offsetof(struct task, id), ref, NULL,
                                   &found);
        if (!found)
                return complain(err, r, "task", ref);
        *ret = found;
        return 0;
}

/* An image's id goes without "sha256:" too. */
static bool image_id_begins(const struct image *image, const char *ref)
{
        const char *hex = image->id + strlen("sha256:");

        return str_has_prefix(image->id, ref) || str_has_prefix(hex, ref);
}

int find_image(struct api *a, const char *ref, struct image **ret, struct err *err)
{
        struct image *image = store_find_image_by_name(a->store, ref), *found = NULL;
        _cleanup_free_ char *latest = xasprintf("%s:latest", ref);
        size_t i, n = 0;

        if (!image)
                image = store_find_image_by_name(a->store, latest);
        if (image) {
                *ret = image;
                return 0;
        }
        MAP_FOREACH (image, i, store_images(a->store))
                if (*ref && image_id_begins(image, ref)) {
                        found = image;
                        n++;
                }
        if (n != 1)
                return complain(err, n ? -EINVAL : -ENOENT, "image", ref);
        *ret = found;
        return 0;
}
