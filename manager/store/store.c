/* The store as a whole: making it, finding things in it, watching it. See store.h. */
#include "manager/store/store.h"

#include <string.h>

#include "manager/store/store_internal.h"
#include "shared/base/mem.h"
#include "shared/wire/wire.h"

_Static_assert(offsetof(struct node, public_key) % _Alignof(struct id) == 0,
               "nodes are indexed by the first half of their public key");

void cluster_set(struct store *s, Swarm__Cluster *msg)
{
        if (!msg->settings) {
                msg->settings = xnew(Swarm__ClusterSettings);
                swarm__cluster_settings__init(msg->settings);
                msg->settings->heartbeat_ms = DEFAULT_HEARTBEAT_MS;
                msg->settings->suspect_ms = DEFAULT_SUSPECT_MS;
                msg->settings->down_ms = DEFAULT_DOWN_MS;
                msg->settings->mass_failure_wait_ms = DEFAULT_MASS_FAILURE_MS;
                msg->settings->task_history_limit = DEFAULT_HISTORY_LIMIT;
        }
        wire_free(s->cluster.msg);
        s->cluster.msg = msg;
}

static Swarm__Cluster *empty_cluster(void)
{
        Swarm__Cluster *msg = xnew(Swarm__Cluster);

        swarm__cluster__init(msg);
        return msg;
}

struct store *store_new(void)
{
        struct store *s = xnew(struct store);

        s->services = MAP_INIT(struct service, id, MAP_KEY_ID);
        s->services_by_name = MAP_INIT(struct service, name, MAP_KEY_STR);
        s->tasks = MAP_INIT(struct task, id, MAP_KEY_ID);
        s->nodes = MAP_INIT(struct node, id, MAP_KEY_ID);
        s->nodes_by_key = MAP_INIT(struct node, public_key, MAP_KEY_ID);
        s->images = MAP_INIT(struct image, id, MAP_KEY_STR);
        s->image_names = MAP_INIT(struct image_name, name, MAP_KEY_STR);
        s->specs = MAP_INIT(struct spec, key, MAP_KEY_ID);
        s->texts = MAP_INIT(struct text, s, MAP_KEY_STR);
        list_init(&s->watches);
        cluster_set(s, empty_cluster());
        return s;
}

static void free_all(struct store *s, enum row_table kind, struct map *m)
{
        void *object;
        size_t i;

        MAP_FOREACH (object, i, m)
                object_free(s, kind, object);
        map_done(m);
}

static void free_removed(struct store *s)
{
        for (enum row_table kind = 0; kind < KINDS; kind++) {
                struct vec *v = &s->changed[kind];

                for (size_t i = 0; i < v->len; i++) {
                        uint8_t dirty = *object_marks(s, kind, v->items[i]).dirty;

                        if ((dirty & DIRTY_GONE) && !(dirty & DIRTY_QUEUED))
                                object_free(s, kind, v->items[i]);
                }
                free(v->items);
        }
}

void store_free(struct store *s)
{
        struct image_name *n;
        size_t i;

        if (!s)
                return;
        free_removed(s);
        rows_done(s);
        free_all(s, ROW_TASKS, &s->tasks);
        free_all(s, ROW_SERVICES, &s->services);
        free_all(s, ROW_SPECS, &s->specs);
        free_all(s, ROW_NODES, &s->nodes);
        free_all(s, ROW_IMAGES, &s->images);
        MAP_FOREACH (n, i, &s->image_names) {
                free(n->name);
                free(n);
        }
        map_done(&s->image_names);
        map_done(&s->services_by_name);
        map_done(&s->nodes_by_key);
        map_done(&s->texts);
        wire_free(s->cluster.msg);
        wire_arena_done(&s->arena);
        free(s);
}

void store_watch(struct store *s, struct store_watch *w)
{
        list_push_back(&s->watches, &w->link);
}

struct cluster *store_cluster(struct store *s)
{
        return &s->cluster;
}

struct service *store_find_service(struct store *s, struct id id)
{
        return map_get_id(&s->services, id);
}

struct service *store_find_service_by_name(struct store *s, const char *name)
{
        return map_get_str(&s->services_by_name, name);
}

struct task *store_find_task(struct store *s, struct id id)
{
        return map_get_id(&s->tasks, id);
}

struct node *store_find_node(struct store *s, struct id id)
{
        return map_get_id(&s->nodes, id);
}

struct node *store_find_node_by_key(struct store *s, const uint8_t key[32])
{
        struct id half;

        memcpy(&half, key, sizeof(half));
        struct node *node = map_get_id(&s->nodes_by_key, half);
        if (!node || memcmp(node->public_key, key, sizeof(node->public_key)) != 0)
                return NULL;
        return node;
}

struct image *store_find_image(struct store *s, const char *id)
{
        return map_get_str(&s->images, id);
}

struct image *store_find_image_by_name(struct store *s, const char *name)
{
        struct image_name *n = map_get_str(&s->image_names, name);

        return n ? n->image : NULL;
}

const struct map *store_services(struct store *s)
{
        return &s->services;
}

const struct map *store_tasks(struct store *s)
{
        return &s->tasks;
}

const struct map *store_nodes(struct store *s)
{
        return &s->nodes;
}

const struct map *store_images(struct store *s)
{
        return &s->images;
}

uint64_t store_running_tasks(struct store *s UNUSED, const struct service *service)
{
        return service->running_count;
}

void store_put_cluster(struct store *s, Swarm__Cluster **msg)
{
        struct store_watch *w;

        cluster_set(s, STEAL_PTR(*msg));
        mark_changed(s, ROW_CLUSTER, &s->cluster);
        LIST_FOREACH (w, &s->watches, link)
                if (w->on_cluster)
                        w->on_cluster(w->arg, &s->cluster);
}

size_t store_change_count(struct store *s)
{
        return s->change_count;
}

size_t store_change_weight(struct store *s)
{
        return MAX(s->change_count, s->change_bytes / STORE_CHANGE_BYTES);
}
