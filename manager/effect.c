/*
 * effect: what a turn wants done once its changes are committed. All effects are made here. See
 * turn.h.
 */
#include <string.h>

#include "manager/turn.h"
#include "shared/base/mem.h"
#include "shared/wire/wire.h"

static struct effect *add(struct list *effects, enum effect_kind kind, struct peer peer)
{
        struct effect *e = xnew(struct effect);

        e->kind = kind;
        e->peer = peer;
        list_push_back(effects, &e->link);
        return e;
}

void effect_client(struct list *effects, uint64_t connection, const Swarm__Response *r)
{
        struct effect *e = add(effects, EFFECT_CLIENT, (struct peer){.connection = connection});

        WIRE_PACK(r, &e->bytes);
}

void effect_client_bytes(struct list *effects, uint64_t connection, struct buf *bytes)
{
        struct effect *e = add(effects, EFFECT_CLIENT, (struct peer){.connection = connection});

        e->bytes = *bytes;
        *bytes = (struct buf){0};
}

void effect_agent(struct list *effects, struct peer to, const Swarm__ManagerMessage *m)
{
        bool is_known = !id_is_zero(to.node);
        struct effect *e = add(effects, is_known ? EFFECT_AGENT : EFFECT_UNKNOWN_AGENT, to);

        WIRE_PACK(m, &e->bytes);
}

void effect_route(struct list *effects, struct id node, uint64_t connection)
{
        add(effects, EFFECT_ROUTE, (struct peer){.node = node, .connection = connection});
}

static void add_key(struct list *effects, enum effect_kind kind, struct id node,
                    const uint8_t key[32])
{
        struct effect *e = add(effects, kind, (struct peer){.node = node});

        memcpy(e->key, key, sizeof(e->key));
}

void effect_allow_key(struct list *effects, struct id node, const uint8_t key[32])
{
        add_key(effects, EFFECT_ALLOW_KEY, node, key);
}

void effect_forget_key(struct list *effects, struct id node, const uint8_t key[32])
{
        add_key(effects, EFFECT_FORGET_KEY, node, key);
}

void effect_blob_release(struct list *effects, const char *digest)
{
        add(effects, EFFECT_BLOB_RELEASE, (struct peer){0})->text = xstrdup(digest);
}

void effects_free(struct list *effects)
{
        struct list *l;

        while ((l = list_pop_front(effects))) {
                struct effect *e = LIST_ITEM(l, struct effect, link);

                buf_done(&e->bytes);
                free(e->text);
                free(e);
        }
}
