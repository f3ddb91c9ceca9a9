/* Who may connect: see identity.h. */
#include <string.h>

#include "manager/identity/identity.h"
#include "shared/base/map.h"
#include "shared/base/mem.h"

struct entry {
        struct id prefix; /* of the key: the map's key */
        uint8_t key[NET_KEY_BYTES];
        struct id node;
};

struct gate {
        struct map entries;
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
        map_put(&g->entries, e);
        return e;
}

struct gate *gate_new(struct store *store)
{
        struct gate *g = xnew(struct gate);
        struct node *node;
        size_t i;

        g->entries = MAP_INIT(struct entry, prefix, MAP_KEY_ID);
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

void gate_forget(struct gate *g, const uint8_t key[NET_KEY_BYTES])
{
        struct entry *e = find(g, key);

        if (e)
                drop(g, e);
}

struct id gate_node(const struct gate *g, const uint8_t key[NET_KEY_BYTES])
{
        const struct entry *e = find(g, key);

        return e ? e->node : (struct id){0};
}
