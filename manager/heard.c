/* When nodes were last heard, through a change of leader: see heard.h. */
#include "manager/heard.h"

#include <stdlib.h>

#include "manager/consensus/raft/message.h"
#include "shared/base/mem.h"
#include "shared/wire/wire.h"

/* What another manager told before there was a turn to tell. */
struct early {
        Swarm__HeardNodes *m;
        int64_t said_ms;
};

struct heard {
        struct heard_config config;
        uint64_t leader; /* who was told, or needs not be */
        struct early early[RAFT_MEMBERS_MAX];
        size_t n_early;
};

static void drop_early(struct heard *h)
{
        while (h->n_early > 0)
                wire_free(h->early[--h->n_early].m);
}

/* --- to another manager -------------------------------------------------------------------------
 */
struct news {
        struct store *store;
        Swarm__HeardNode *nodes;
        uint8_t (*ids)[ID_BYTES];
        size_t n, cap;
        int64_t now_ms;
};

static void gather(void *arg, const uint8_t key[NET_KEY_BYTES], int64_t heard_ms, bool is_gone)
{
        struct news *news = arg;
        struct node *node = store_find_node_by_key(news->store, key);

        if (!node)
                return;
        if (news->n == news->cap) {
                news->cap = news->cap ? news->cap * 2 : 64;
                news->nodes = xreallocarray(news->nodes, news->cap, sizeof(*news->nodes));
                news->ids = xreallocarray(news->ids, news->cap, sizeof(*news->ids));
        }
        id_encode(node->id, news->ids[news->n]);
        swarm__heard_node__init(&news->nodes[news->n]);
        news->nodes[news->n].is_gone = is_gone;
        news->nodes[news->n++].ago_ms = news->now_ms - heard_ms;
}

static void say(struct heard *h, uint64_t to, struct store *store, int64_t now_ms)
{
        struct news news = {.store = store, .now_ms = now_ms};
        Swarm__PeerMessage m = SWARM__PEER_MESSAGE__INIT;
        Swarm__HeardNodes list = SWARM__HEARD_NODES__INIT;

        relay_heard(h->config.relay, now_ms, gather, &news);
        list.n_nodes = news.n;
        list.nodes = xnew_array(Swarm__HeardNode *, news.n + 1);
        for (size_t i = 0; i < news.n; i++) {
                news.nodes[i].node_id = (ProtobufCBinaryData){ID_BYTES, news.ids[i]};
                list.nodes[i] = &news.nodes[i];
        }
        m.kind_case = SWARM__PEER_MESSAGE__KIND_HEARD_NODES;
        m.heard_nodes = &list;
        if (news.n)
                h->config.send(h->config.arg, to, &m);
        free(list.nodes);
        free(news.nodes);
        free(news.ids);
}

void heard_run(struct heard *h, uint64_t leader, struct store *store, int64_t now_ms)
{
        bool is_other = leader && leader != h->config.id;

        if (leader != h->config.id)
                drop_early(h);
        if (leader == h->leader || (is_other && !store))
                return;
        h->leader = leader;
        if (is_other)
                say(h, leader, store, now_ms);
}

/* --- to the turn --------------------------------------------------------------------------------
 */
static void tell(struct turn *turn, const Swarm__HeardNodes *m, int64_t said_ms)
{
        struct id id;

        for (size_t i = 0; i < m->n_nodes; i++)
                if (wire_get_id(&m->nodes[i]->node_id, &id) == 0 && m->nodes[i]->ago_ms >= 0)
                        turn_input_heard(turn, id, said_ms - m->nodes[i]->ago_ms,
                                         m->nodes[i]->is_gone);
}

/* It may come before this manager knows that all have agreed on it. */
void heard_on_message(struct heard *h, const Swarm__HeardNodes *m, uint64_t leader,
                      struct turn *turn, int64_t now_ms)
{
        if (turn)
                tell(turn, m, now_ms);
        else if (leader == h->config.id && h->n_early < ARRAY_SIZE(h->early))
                h->early[h->n_early++] = (struct early){wire_dup(m), now_ms};
}

struct own {
        struct store *store;
        struct turn *turn;
};

static void tell_own(void *arg, const uint8_t key[NET_KEY_BYTES], int64_t heard_ms, bool is_gone)
{
        struct own *own = arg;
        struct node *node = store_find_node_by_key(own->store, key);

        if (node)
                turn_input_heard(own->turn, node->id, heard_ms, is_gone);
}

void heard_begin(struct heard *h, struct turn *turn, struct store *store, int64_t now_ms)
{
        struct own own = {store, turn};

        relay_heard(h->config.relay, now_ms, tell_own, &own);
        for (size_t i = 0; i < h->n_early; i++)
                tell(turn, h->early[i].m, h->early[i].said_ms);
        drop_early(h);
}

/* --- its life -----------------------------------------------------------------------------------
 */
struct heard *heard_new(const struct heard_config *c)
{
        struct heard *h = xnew(struct heard);

        h->config = *c;
        return h;
}

void heard_free(struct heard *h)
{
        if (!h)
                return;
        drop_early(h);
        free(h);
}
