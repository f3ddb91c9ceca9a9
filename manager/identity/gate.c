/* Who may connect: see identity.h. */
#include <string.h>

#include "manager/identity/identity.h"
#include "shared/base/list.h"
#include "shared/base/map.h"
#include "shared/base/mem.h"

struct entry {
        struct id prefix; /* of the key: the map's key */
        uint8_t key[NET_KEY_BYTES];
        struct id node;
        bool is_refused;
        struct list refused_link; /* oldest first */
};

struct gate {
        struct map entries;
        struct list refused;
        size_t n_refused;
};

static struct id prefix_of(const uint8_t key[NET_KEY_BYTES])
{
        struct id id;

        id_decode(key, ID_BYTES, &id);
        return id;
}

static struct entry *find(const struct gate *g, const uint8_t key[NET_KEY_BYTES])
{
        struct entry *e = map_get_id(&g->entries, prefix_of(key));

        return e && !memcmp(e->key, key, NET_KEY_BYTES) ? e : NULL;
}

static void drop(struct gate *g, struct entry *e)
{
        if (e->is_refused) {
                list_remove(&e->refused_link);
                g->n_refused--;
        }
        map_remove(&g->entries, e);
        free(e);
}

/* A fresh entry in place of any that its key's beginning has. */
static struct entry *put(struct gate *g, const uint8_t key[NET_KEY_BYTES])
{
        struct entry *old = map_get_id(&g->entries, prefix_of(key));
        struct entry *e = xnew(struct entry);

        if (old)
                drop(g, old);
        e->prefix = prefix_of(key);
        memcpy(e->key, key, NET_KEY_BYTES);
        list_init(&e->refused_link);
        map_put(&g->entries, e);
        return e;
}

struct gate *gate_new(struct store *store)
{
        struct gate *g = xnew(struct gate);
        struct node *node;
        size_t i;

        g->entries = MAP_INIT(struct entry, prefix, MAP_KEY_ID);
        list_init(&g->refused);
        MAP_FOREACH (node, i, store_nodes(store))
                gate_allow(g, node->public_key, node->id);
        return g;
}

void gate_free(struct gate *g)
{
        struct entry *e;
        size_t i;

        if (!g)
                return;
        MAP_FOREACH (e, i, &g->entries)
                free(e);
        map_done(&g->entries);
        free(g);
}

void gate_allow(struct gate *g, const uint8_t key[NET_KEY_BYTES], struct id node)
{
        put(g, key)->node = node;
}

void gate_refuse(struct gate *g, const uint8_t key[NET_KEY_BYTES])
{
        struct entry *e = put(g, key);

        e->is_refused = true;
        list_push_back(&g->refused, &e->refused_link);
        if (++g->n_refused > GATE_REFUSED_MAX)
                drop(g, LIST_ITEM(g->refused.next, struct entry, refused_link));
}

bool gate_accepts(const struct gate *g, const uint8_t key[NET_KEY_BYTES], struct id *ret_node)
{
        const struct entry *e = find(g, key);

        if (e && e->is_refused)
                return false;
        *ret_node = e ? e->node : (struct id){0};
        return true;
}
