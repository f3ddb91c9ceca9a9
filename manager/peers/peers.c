/*
 * The links among managers: see peers.h. Sending: a message waits whole in its lane, and goes out
 * in frames while there is room in the window; the receiver says on the same connection how far it
 * has read. So what is on its way is bounded in bytes, wherever it lies. Receiving: frames are put
 * together again, for each sender and lane apart.
 *
 * Frames of one connection come in order and none is left out; but a connection may begin anywhere
 * in a message, and end anywhere. A position never comes twice in the life of a link, and each
 * frame names the one of its message's first frame: so no half message is joined with another.
 */
#include "manager/peers/peers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/raft.pb-c.h"
#include "shared/base/list.h"
#include "shared/base/log.h"
#include "shared/base/mem.h"
#include "shared/base/parse.h"
#include "shared/base/str.h"
#include "shared/wire/wire.h"

#define INBOUND_MAX ((size_t)2 * RAFT_MEMBERS_MAX) /* who sends; then the oldest is forgotten */
/* What a frame counts beyond its part: so a window holds at most 512 frames, fewer than ZeroMQ's
 * queues do. */
#define FRAME_BYTES 8192
/* After so much a receiver says how far it is: often enough for no sender to wait for ever. */
#define TAKEN_EVERY (PEER_WINDOW_BYTES / 8)

enum lane_kind { LANE_URGENT, LANE_LOG, LANE_RELAY, LANE_COUNT };

struct message {
        struct list link;
        struct buf bytes;
        size_t sent;      /* of bytes */
        uint64_t message; /* the position of the first frame, once that is sent */
};

struct lane {
        struct list waiting;
        size_t bytes;
};

struct peer_link {
        struct list link;
        struct peers *peers;
        uint64_t id;
        char address[RAFT_ADDRESS_MAX];
        struct net_client *client; /* NULL: its address is none */
        bool is_up, is_member;
        bool is_refused;   /* it understands nothing of what we speak, and that was said */
        uint32_t protocol; /* that is spoken */
        bool was_broken;   /* the connection to it; it is not up again */
        bool was_lost;     /* the one from it; no frame has come since */
        struct lane lanes[LANE_COUNT];
        enum lane_kind last;      /* of LANE_LOG and LANE_RELAY, which had its turn */
        uint64_t position, taken; /* up to where all is sent; and read, or lost */
};

struct partial {
        bool is_open;
        uint64_t message;
        struct buf bytes;
};

/* A manager that sends to this one. Its newest connection is the one that counts. */
struct inbound {
        uint64_t from, connection;
        uint64_t told; /* the position that the sender knows to be read */
        bool is_refused, is_greeted;
        struct partial partials[LANE_COUNT];
};

struct peers {
        struct peers_config config;
        struct list links;
        struct inbound *inbound[INBOUND_MAX];
        size_t n_inbound;
        struct buf frame; /* the one that is being sent */
};

/* --- sending ------------------------------------------------------------------------------------
 */
static void message_free(struct message *m)
{
        buf_done(&m->bytes);
        free(m);
}

static void pop(struct lane *lane)
{
        struct message *m = LIST_ITEM(list_pop_front(&lane->waiting), struct message, link);

        lane->bytes -= m->bytes.len + sizeof(*m);
        message_free(m);
}

static void drop_waiting(struct peer_link *l)
{
        for (size_t i = 0; i < LANE_COUNT; i++)
                while (!list_is_empty(&l->lanes[i].waiting))
                        pop(&l->lanes[i]);
}

/* False: there is no room for the next frame of the lane now. */
static bool send_frame(struct peer_link *l, enum lane_kind kind)
{
        struct lane *lane = &l->lanes[kind];
        struct message *m = LIST_ITEM(lane->waiting.next, struct message, link);
        struct buf *b = &l->peers->frame;
        size_t n = MIN(m->bytes.len - m->sent, (size_t)PEER_PART_BYTES_MAX);
        Swarm__PeerFrame frame = SWARM__PEER_FRAME__INIT;

        frame.from = l->peers->config.id;
        frame.protocol = l->protocol;
        frame.protocol_oldest = l->peers->config.protocols.oldest;
        frame.protocol_newest = l->peers->config.protocols.newest;
        frame.part = (ProtobufCBinaryData){n, m->bytes.data + m->sent};
        frame.has_more = m->sent + n < m->bytes.len;
        frame.to = l->id;
        frame.lane = kind;
        frame.position = l->position + n + FRAME_BYTES;
        frame.message = m->sent ? m->message : frame.position;
        frame.address = (char *)(uintptr_t)l->peers->config.address;
        if (frame.position - l->taken > PEER_WINDOW_BYTES)
                return false;
        buf_clear(b);
        WIRE_PACK(&frame, b);
        if (net_client_send(l->client, b->data, b->len) < 0)
                return false; /* broken, and not yet told */
        l->position = frame.position;
        m->message = frame.message;
        m->sent += n;
        if (!frame.has_more)
                pop(lane);
        return true;
}

/* LANE_COUNT: nothing waits. */
static enum lane_kind next_lane(const struct peer_link *l)
{
        enum lane_kind other = l->last == LANE_LOG ? LANE_RELAY : LANE_LOG;

        if (!list_is_empty(&l->lanes[LANE_URGENT].waiting))
                return LANE_URGENT;
        if (!list_is_empty(&l->lanes[other].waiting))
                return other;
        return list_is_empty(&l->lanes[l->last].waiting) ? LANE_COUNT : l->last;
}

static void pump(struct peer_link *l)
{
        enum lane_kind kind;

        while ((kind = next_lane(l)) != LANE_COUNT && send_frame(l, kind))
                if (kind != LANE_URGENT)
                        l->last = kind;
}

static enum lane_kind lane_of(const Swarm__PeerMessage *m)
{
        if (m->kind_case != SWARM__PEER_MESSAGE__KIND_RAFT)
                return LANE_RELAY;
        int kind = wire_peek_kind(&swarm__raft_message__descriptor, m->raft.data, m->raft.len);
        return kind == RAFT_APPEND || kind == RAFT_CHUNK ? LANE_LOG : LANE_URGENT;
}

static struct peer_link *find_link(const struct peers *p, uint64_t id)
{
        struct peer_link *l;

        LIST_FOREACH (l, &p->links, link)
                if (l->id == id)
                        return l;
        return NULL;
}

int peers_send(struct peers *p, uint64_t to, const Swarm__PeerMessage *m)
{
        struct peer_link *l = find_link(p, to);

        if (!l)
                return -EHOSTUNREACH;
        if (!l->is_up)
                return -ENOTCONN;
        if (protobuf_c_message_get_packed_size(&m->base) > PEER_MESSAGE_BYTES_MAX)
                return -EMSGSIZE;
        struct lane *lane = &l->lanes[lane_of(m)];
        if (lane->bytes >= PEER_QUEUE_BYTES_MAX)
                return -EAGAIN;
        struct message *copy = xnew(struct message);
        WIRE_PACK(m, &copy->bytes);
        list_push_back(&lane->waiting, &copy->link);
        lane->bytes += copy->bytes.len + sizeof(*copy);
        pump(l);
        return 0;
}

/* --- links --------------------------------------------------------------------------------------
 */
/* The receiver says what it understands. */
static void take_protocols(struct peer_link *l, const Swarm__PeerTaken *m)
{
        char name[64];
        struct protocol_end theirs = {name, protocol_told(m->protocol_oldest, m->protocol_newest)};
        struct protocol_end ours = {"this one", l->peers->config.protocols};
        struct err err = {0};

        if (m->protocol_newest == 0)
                return;
        snprintf(name, sizeof(name), "manager %llu", (unsigned long long)l->id);
        int spoken = protocol_agree("peer", &theirs, &ours, &err);
        if (spoken > 0)
                l->protocol = (uint32_t)spoken;
        else if (!l->is_refused)
                log_warn("a manager of another version does not hear this one address=%s: %s",
                         l->address, err.text);
        l->is_refused = spoken < 0;
}

static void on_taken(void *arg, const uint8_t *p, size_t n)
{
        struct peer_link *l = arg;
        _cleanup_arena_ struct wire_arena arena = {0};
        const Swarm__PeerTaken *m = wire_unpack(&arena, &swarm__peer_taken__descriptor, p, n);

        if (m)
                take_protocols(l, m);
        if (!m || m->position <= l->taken || m->position > l->position)
                return;
        l->taken = m->position;
        pump(l);
}

static void on_connected(void *arg)
{
        struct peer_link *l = arg;

        log_debug("link to manager is up peer=%llu", (unsigned long long)l->id);
        l->taken = l->position;
        l->protocol = l->peers->config.protocols.oldest;
        l->is_up = true;
        if (!l->was_broken)
                return;
        l->was_broken = false;
        l->peers->config.on_again(l->peers->config.arg, l->id);
}

static void on_broken(void *arg)
{
        struct peer_link *l = arg;
        const struct peers_config *c = &l->peers->config;

        log_debug("link to manager broke peer=%llu", (unsigned long long)l->id);
        l->is_up = false;
        l->was_broken = true;
        drop_waiting(l);
        c->on_broken(c->arg, l->id);
}

static void link_free(struct peer_link *l)
{
        net_client_close(l->client);
        drop_waiting(l);
        list_remove(&l->link);
        free(l);
}

static struct peer_link *link_add(struct peers *p, uint64_t id, const char *address)
{
        struct peer_link *l = xnew(struct peer_link);
        char endpoint[RAFT_ADDRESS_MAX + 8];
        struct err err = {0};
        struct net_client_config c = {.endpoint = endpoint,
                                      .keys = p->config.cluster_keys,
                                      .server_key = p->config.cluster_keys->public_key,
                                      .arg = l,
                                      .on_message = on_taken,
                                      .on_broken = on_broken,
                                      .on_connected = on_connected};

        l->peers = p;
        l->id = id;
        l->last = LANE_RELAY;
        snprintf(l->address, sizeof(l->address), "%s", address);
        snprintf(endpoint, sizeof(endpoint), "tcp://%s", address);
        for (size_t i = 0; i < LANE_COUNT; i++)
                list_init(&l->lanes[i].waiting);
        list_push_back(&p->links, &l->link);
        if (net_connect(p->config.net, &c, &l->client, &err) < 0)
                log_warn("no link to manager peer=%llu: %s", (unsigned long long)l->id, err.text);
        return l;
}

/* Links of strangers are few: the oldest makes room. */
static void limit_strangers(struct peers *p)
{
        struct peer_link *l, *oldest = NULL;
        size_t n = 0;

        LIST_FOREACH (l, &p->links, link) {
                if (l->is_member)
                        continue;
                n++;
                if (!oldest)
                        oldest = l;
        }
        if (n >= RAFT_MEMBERS_MAX)
                link_free(oldest);
}

/* The same link over another connection. */
static struct peer_link *link_renew(struct peers *p, struct peer_link *l, const char *address)
{
        const struct peer_link old = *l;

        link_free(l);
        l = link_add(p, old.id, address);
        l->is_member = old.is_member;
        l->was_broken = old.was_broken || old.is_up;
        l->was_lost = old.was_lost;
        return l;
}

static struct peer_link *link_set(struct peers *p, uint64_t id, const char *address)
{
        struct peer_link *l = find_link(p, id);

        if (l && str_is_equal(l->address, address))
                return l;
        if (l)
                return link_renew(p, l, address);
        limit_strangers(p);
        return link_add(p, id, address);
}

void peers_break(struct peers *p, uint64_t id)
{
        struct peer_link *l = find_link(p, id);
        char address[RAFT_ADDRESS_MAX];

        if (!l || !l->is_up)
                return;
        snprintf(address, sizeof(address), "%s", l->address);
        log_debug("link to manager is broken on purpose peer=%llu", (unsigned long long)id);
        link_renew(p, l, address);
}

void peers_set(struct peers *p, const struct raft_members *members)
{
        struct peer_link *l;

        LIST_FOREACH (l, &p->links, link)
                l->is_member = raft_members_find(members, l->id) != NULL;
        for (size_t i = 0; i < members->n; i++) {
                const struct raft_member *m = &members->of[i];

                if (m->id != p->config.id)
                        link_set(p, m->id, m->address)->is_member = true;
        }
}

/* --- receiving ----------------------------------------------------------------------------------
 */
static void inbound_free(struct inbound *in)
{
        for (size_t i = 0; i < LANE_COUNT; i++)
                buf_done(&in->partials[i].bytes);
        free(in);
}

static void inbound_remove(struct peers *p, size_t i)
{
        struct peer_link *l = find_link(p, p->inbound[i]->from);

        if (l)
                l->was_lost = true;
        inbound_free(p->inbound[i]);
        p->inbound[i] = p->inbound[--p->n_inbound];
}

static struct inbound *inbound_add(struct peers *p, uint64_t from, uint64_t connection)
{
        size_t oldest = 0;

        for (size_t i = 1; i < p->n_inbound; i++)
                if (p->inbound[i]->connection < p->inbound[oldest]->connection)
                        oldest = i;
        if (p->n_inbound == INBOUND_MAX)
                inbound_remove(p, oldest);
        struct inbound *in = xnew(struct inbound);
        in->from = from;
        in->connection = connection;
        p->inbound[p->n_inbound++] = in;
        return in;
}

/* NULL: the frame came over a connection of a sender that has a newer one by now. */
static struct inbound *inbound_get(struct peers *p, uint64_t from, uint64_t connection)
{
        for (size_t i = 0; i < p->n_inbound; i++) {
                struct inbound *in = p->inbound[i];

                if (in->from != from)
                        continue;
                if (in->connection >= connection)
                        return in->connection == connection ? in : NULL;
                inbound_remove(p, i);
                break;
        }
        return inbound_add(p, from, connection);
}

static void tell_taken(struct peers *p, struct inbound *in, uint64_t position)
{
        Swarm__PeerTaken m = SWARM__PEER_TAKEN__INIT;
        _cleanup_buf_ struct buf b = {0};

        if (in->is_greeted && position - in->told < TAKEN_EVERY)
                return;
        m.position = position;
        m.protocol_oldest = p->config.protocols.oldest;
        m.protocol_newest = p->config.protocols.newest;
        WIRE_PACK(&m, &b);
        if (net_send(p->config.server, in->connection, b.data, b.len) < 0)
                return;
        in->told = position;
        in->is_greeted = true;
}

/* True: the message is whole. What does not belong to a message that is open is dropped. */
static bool take_part(struct partial *partial, const Swarm__PeerFrame *f)
{
        if (f->message == f->position) {
                buf_clear(&partial->bytes);
                partial->is_open = true;
                partial->message = f->message;
        }
        if (!partial->is_open || partial->message != f->message)
                return false;
        if (partial->bytes.len + f->part.len > PEER_MESSAGE_BYTES_MAX) {
                log_debug("dropped a message of a manager that is too long peer=%llu",
                          (unsigned long long)f->from);
                buf_done(&partial->bytes);
                partial->is_open = false;
                return false;
        }
        buf_append(&partial->bytes, f->part.data, f->part.len);
        partial->is_open = f->has_more;
        return !f->has_more;
}

/* Last of all: the callback may free the peers. */
static void deliver(const struct peers *p, uint64_t from, struct partial *partial)
{
        _cleanup_buf_ struct buf whole = partial->bytes;
        _cleanup_arena_ struct wire_arena arena = {.cap_bytes = whole.len + WIRE_ARENA_CAP};

        *partial = (struct partial){0};
        const Swarm__PeerMessage *m =
                wire_unpack(&arena, &swarm__peer_message__descriptor, whole.data, whole.len);
        if (m && m->kind_case != SWARM__PEER_MESSAGE__KIND__NOT_SET)
                p->config.on_message(p->config.arg, from, m);
        else
                log_debug("dropped a message of a manager that is none peer=%llu",
                          (unsigned long long)from);
}

/* Of our protocol. An id may have been at this address before, and others not know it yet. */
static bool is_good(const struct peers *p, const Swarm__PeerFrame *f)
{
        return f->to == p->config.id && f->lane < LANE_COUNT &&
               f->part.len <= PEER_PART_BYTES_MAX && f->message <= f->position;
}

/* What is not understood may be said again so that it is: unless nothing would be. */
static void refuse(const struct peers *p, struct inbound *in, const Swarm__PeerFrame *f)
{
        char name[64];
        uint32_t newest = f->protocol_newest ? f->protocol_newest : f->protocol;
        struct protocol_end theirs = {name, protocol_told(f->protocol_oldest, newest)};
        struct protocol_end ours = {"this one", p->config.protocols};
        struct err err = {0};

        snprintf(name, sizeof(name), "manager %llu", (unsigned long long)f->from);
        if (in->is_refused || protocol_agree("peer", &theirs, &ours, &err) > 0)
                return;
        in->is_refused = true;
        log_warn("a manager of another version is not heard address=%s: %s",
                 text_is_valid(f->address) ? f->address : "", err.text);
}

/* It says something after the connection from it was lost. */
static void tell_again(struct peers *p, uint64_t from)
{
        struct peer_link *l = find_link(p, from);

        if (!l || !l->was_lost)
                return;
        l->was_lost = false;
        p->config.on_again(p->config.arg, from);
}

void peers_receive(struct peers *p, uint64_t connection, const uint8_t *bytes, size_t n)
{
        _cleanup_arena_ struct wire_arena arena = {0};
        const Swarm__PeerFrame *f = wire_unpack(&arena, &swarm__peer_frame__descriptor, bytes, n);
        bool is_ours = f && protocol_has(p->config.protocols, f->protocol);
        char address[ADDRESS_TEXT_MAX];

        if (!f || f->from == 0 || f->from == p->config.id || (is_ours && !is_good(p, f))) {
                log_debug("dropped a frame of a manager connection=%llu",
                          (unsigned long long)connection);
                return;
        }
        struct inbound *in = inbound_get(p, f->from, connection);
        if (!in)
                return;
        tell_taken(p, in, f->position);
        if (!is_ours) {
                refuse(p, in, f);
                return;
        }
        if (parse_host_port(f->address, 0, address) == 0)
                link_set(p, f->from, address);
        tell_again(p, f->from);
        if (take_part(&in->partials[f->lane], f))
                deliver(p, in->from, &in->partials[f->lane]);
}

void peers_gone(struct peers *p, uint64_t connection)
{
        for (size_t i = p->n_inbound; i-- > 0;) {
                uint64_t from = p->inbound[i]->from;

                if (p->inbound[i]->connection != connection)
                        continue;
                inbound_remove(p, i);
                p->config.on_broken(p->config.arg, from);
        }
}

bool peers_is_frame(const uint8_t *p, size_t n)
{
        return n >= 2 && p[0] == 0xa0 && p[1] == 0x06; /* field 100, a number: never left out */
}

/* --- all ----------------------------------------------------------------------------------------
 */
struct peers *peers_new(const struct peers_config *c)
{
        struct peers *p = xnew(struct peers);

        p->config = *c;
        list_init(&p->links);
        return p;
}

void peers_free(struct peers *p)
{
        struct peer_link *l, *next;

        if (!p)
                return;
        LIST_FOREACH_SAFE (l, next, &p->links, link)
                link_free(l);
        while (p->n_inbound > 0)
                inbound_remove(p, p->n_inbound - 1);
        buf_done(&p->frame);
        free(p);
}
