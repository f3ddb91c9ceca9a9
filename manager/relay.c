/* The way to the leader: see relay.h. */
#include "manager/relay.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "manager/consensus/raft/message.h"
#include "proto/control.pb-c.h"
#include "shared/base/list.h"
#include "shared/base/log.h"
#include "shared/base/map.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/wire/wire.h"

#define REQUEST_TAG_NUMBER (1 << 3)   /* the first field, also of a Response */
#define OWN_CONNECTION     UINT64_MAX /* none of net's: what this manager says itself */
#define GONE_MAX           20000

struct conn {
        uint64_t number;
        uint64_t peer;    /* where it is; 0: here */
        struct id remote; /* what it is called there: peer and its number; here: 0 and net's */
        uint8_t key[NET_KEY_BYTES];
        bool is_local, is_client;
        int64_t heard_ms;
        uint64_t *asked; /* numbers of requests that the leader has and has not answered */
        size_t n_asked, cap_asked;
};

/* An agent whose connection is gone, in order of that. */
struct gone {
        struct list link;
        uint8_t key[NET_KEY_BYTES];
        int64_t heard_ms;
};

/* A request that waits for a leader. */
struct held {
        struct list link;
        uint64_t number; /* of the connection */
        int64_t until_ms;
        size_t len;
        uint8_t bytes[];
};

struct relay {
        struct relay_config config;
        struct map by_number, by_remote;
        uint64_t last_number, leader;
        bool is_ready;
        struct list held;
        size_t held_bytes;
        struct list gone;
        size_t n_gone;
        uint64_t overrun[RAFT_MEMBERS_MAX]; /* managers that could not be answered */
        size_t n_overrun;
};

bool relay_is_request(const uint8_t *p, size_t n)
{
        return n > 0 && (p[0] & 7) == 0;
}

/* --- connections --------------------------------------------------------------------------------
 */
static struct id remote_id(uint64_t peer, uint64_t connection)
{
        return (struct id){peer, connection};
}

static struct conn *note_conn(struct relay *r, uint64_t peer, uint64_t connection,
                              const uint8_t *key)
{
        struct id remote = remote_id(peer, connection);
        struct conn *c = map_get_id(&r->by_remote, remote);

        if (c)
                return c;
        c = xnew(struct conn);
        c->number = ++r->last_number;
        c->peer = peer;
        c->remote = remote;
        c->is_local = !key;
        if (key)
                memcpy(c->key, key, NET_KEY_BYTES);
        map_put(&r->by_number, c);
        map_put(&r->by_remote, c);
        return c;
}

static void drop_held(struct relay *r, struct held *h)
{
        list_remove(&h->link);
        r->held_bytes -= sizeof(*h) + h->len;
        free(h);
}

static void drop_gone(struct relay *r)
{
        free(LIST_ITEM(list_pop_front(&r->gone), struct gone, link));
        r->n_gone--;
}

static void drop_old_gone(struct relay *r, int64_t now_ms)
{
        while (!list_is_empty(&r->gone) &&
               LIST_ITEM(r->gone.next, struct gone, link)->heard_ms < now_ms - RELAY_HEARD_MS)
                drop_gone(r);
}

static bool is_local_agent(const struct conn *c)
{
        return !c->peer && !c->is_local && !c->is_client && c->remote.lo != OWN_CONNECTION;
}

/* A node that dies takes its connection with it. */
static void note_gone(struct relay *r, const struct conn *c)
{
        struct gone *g = xnew(struct gone);

        drop_old_gone(r, c->heard_ms);
        if (r->n_gone == GONE_MAX)
                drop_gone(r);
        memcpy(g->key, c->key, NET_KEY_BYTES);
        g->heard_ms = c->heard_ms;
        list_push_back(&r->gone, &g->link);
        r->n_gone++;
}

static void forget_conn(struct relay *r, struct conn *c)
{
        struct held *h, *next;

        if (is_local_agent(c))
                note_gone(r, c);

        LIST_FOREACH_SAFE (h, next, &r->held, link)
                if (h->number == c->number)
                        drop_held(r, h);
        map_remove(&r->by_number, c);
        map_remove(&r->by_remote, c);
        free(c->asked);
        free(c);
}

/* --- answers ------------------------------------------------------------------------------------
 */
/* From 1 to below 2^63; 0: there is none, so nobody could be answered. */
static uint64_t request_number(const uint8_t *p, size_t n)
{
        uint64_t v = 0;

        if (n == 0 || p[0] != REQUEST_TAG_NUMBER)
                return 0;
        for (size_t i = 1; i < n && i < 10; i++) {
                v |= (uint64_t)(p[i] & 127) << (7 * (i - 1));
                if (!(p[i] & 128))
                        return v;
        }
        return 0;
}

/* A packed Response begins with its number; `more` follows when it is set. */
static bool is_last_response(const uint8_t *p, size_t n)
{
        size_t i = 1;

        while (i < n && (p[i] & 128))
                i++;
        return i + 2 >= n || p[i + 1] != (2 << 3) || !p[i + 2];
}

static void note_asked(struct conn *c, uint64_t number)
{
        if (c->n_asked == c->cap_asked) {
                c->cap_asked = c->cap_asked ? c->cap_asked * 2 : 4;
                c->asked = xreallocarray(c->asked, c->cap_asked, sizeof(*c->asked));
        }
        c->asked[c->n_asked++] = number;
}

static void note_answered(struct conn *c, uint64_t number)
{
        for (size_t i = 0; i < c->n_asked; i++) {
                if (c->asked[i] == number) {
                        c->asked[i] = c->asked[--c->n_asked];
                        return;
                }
        }
}

static void note_overrun(struct relay *r, uint64_t peer)
{
        for (size_t i = 0; i < r->n_overrun; i++)
                if (r->overrun[i] == peer)
                        return;
        if (r->n_overrun < ARRAY_SIZE(r->overrun))
                r->overrun[r->n_overrun++] = peer;
}

uint64_t relay_take_overrun(struct relay *r)
{
        return r->n_overrun ? r->overrun[--r->n_overrun] : 0;
}

/* What agents are told is told anew by whoever said it. A link that is not there is told of when it
 * is again. */
static int say_down(struct relay *r, const struct conn *c, Swarm__RelayDown *down)
{
        Swarm__PeerMessage m = SWARM__PEER_MESSAGE__INIT;

        down->connection = c->remote.lo;
        m.kind_case = SWARM__PEER_MESSAGE__KIND_RELAY_DOWN;
        m.relay_down = down;
        int e = r->config.send_peer(r->config.arg, c->peer, &m);
        if (e == -EAGAIN && (c->is_client || down->message.len == 0))
                note_overrun(r, c->peer);
        return e;
}

static int send_down(struct relay *r, struct conn *c, const uint8_t *p, size_t n)
{
        Swarm__RelayDown down = SWARM__RELAY_DOWN__INIT;

        down.message = (ProtobufCBinaryData){n, (uint8_t *)(uintptr_t)p};
        return say_down(r, c, &down);
}

static int send_as_is(struct relay *r, struct conn *c, const uint8_t *p, size_t n)
{
        if (c->peer)
                return send_down(r, c, p, n);
        if (c->is_client && relay_is_request(p, n) && is_last_response(p, n))
                note_answered(c, request_number(p, n));
        return r->config.send(r->config.arg, c->remote.lo, p, n);
}

static void refuse(struct relay *r, struct conn *c, uint64_t number, int code, const char *text)
{
        Swarm__Response response = SWARM__RESPONSE__INIT;
        _cleanup_buf_ struct buf b = {0};

        response.number = number;
        response.code = (uint32_t)code;
        response.error = (char *)(uintptr_t)text;
        WIRE_PACK(&response, &b);
        send_as_is(r, c, b.data, b.len);
}

/* A client is answered also when the answer is too large to be. */
static int send_to(struct relay *r, struct conn *c, const uint8_t *p, size_t n)
{
        int e = send_as_is(r, c, p, n);

        if (e == -EMSGSIZE && c->is_client && relay_is_request(p, n))
                refuse(r, c, request_number(p, n), EMSGSIZE,
                       "the answer is larger than a message may be");
        return e;
}

int relay_send(struct relay *r, uint64_t number, const uint8_t *p, size_t n)
{
        struct conn *c = map_get_u64(&r->by_number, number);

        return c ? send_to(r, c, p, n) : -EHOSTUNREACH;
}

void relay_drop(struct relay *r, uint64_t number)
{
        struct conn *c = map_get_u64(&r->by_number, number);

        if (c && c->peer)
                send_down(r, c, NULL, 0);
        else if (c)
                r->config.drop(r->config.arg, c->remote.lo);
}

/* --- to the leader ------------------------------------------------------------------------------
 */
static int send_up(struct relay *r, const struct conn *c, const uint8_t *p, size_t n)
{
        Swarm__PeerMessage m = SWARM__PEER_MESSAGE__INIT;
        Swarm__RelayUp up = SWARM__RELAY_UP__INIT;

        up.connection = c->number;
        if (!c->is_local)
                up.key = (ProtobufCBinaryData){NET_KEY_BYTES, (uint8_t *)(uintptr_t)c->key};
        up.message = (ProtobufCBinaryData){n, (uint8_t *)(uintptr_t)p};
        m.kind_case = SWARM__PEER_MESSAGE__KIND_RELAY_UP;
        m.relay_up = &up;
        return r->config.send_peer(r->config.arg, r->leader, &m);
}

static bool is_answered(const uint8_t *p, size_t n)
{
        int kind = wire_peek_kind(&swarm__request__descriptor, p, n);

        return kind > 0 && kind != SWARM__REQUEST__KIND_KEEP_ALIVE &&
               kind != SWARM__REQUEST__KIND_CANCEL && kind != SWARM__REQUEST__KIND_LOG_ACKNOWLEDGE;
}

/* A client that gives up sooner is told before why. */
static int64_t wait_ms(const uint8_t *p, size_t n)
{
        _cleanup_arena_ struct wire_arena arena = {0};
        const Swarm__Request *q = wire_unpack(&arena, &swarm__request__descriptor, p, n);

        return q && q->wait_ms ? MIN(RELAY_WAIT_MS, (int64_t)q->wait_ms * 3 / 4) : RELAY_WAIT_MS;
}

static void hold(struct relay *r, struct conn *c, const uint8_t *p, size_t n, int64_t now_ms)
{
        if (!relay_is_request(p, n))
                return; /* agents say it again */
        if (r->held_bytes + sizeof(struct held) + n > RELAY_BYTES_MAX) {
                refuse(r, c, request_number(p, n), EAGAIN, "too many requests wait for a leader");
                return;
        }
        struct held *h = xcalloc(1, sizeof(*h) + n);
        h->number = c->number;
        h->until_ms = now_ms + wait_ms(p, n);
        h->len = n;
        memcpy(h->bytes, p, n);
        r->held_bytes += sizeof(*h) + n;
        list_push_back(&r->held, &h->link);
}

static bool asks_too_much(const struct conn *c, const uint8_t *p, size_t n)
{
        return !c->peer && c->n_asked >= RELAY_ASKED_MAX && relay_is_request(p, n) &&
               is_answered(p, n);
}

static void note_request(struct conn *c, const uint8_t *p, size_t n)
{
        uint64_t number = request_number(p, n);

        if (wire_peek_kind(&swarm__request__descriptor, p, n) == SWARM__REQUEST__KIND_CANCEL)
                note_answered(c, number);
        else if (!c->peer && is_answered(p, n))
                note_asked(c, number);
}

/* Where it belongs; false: there is nowhere at present. */
static bool deliver(struct relay *r, struct conn *c, const uint8_t *p, size_t n)
{
        struct relay_sender from = {.number = c->number,
                                    .is_local = c->is_local,
                                    .manager = c->peer ? c->peer : r->config.id};
        bool is_here = r->leader == r->config.id;

        if (!r->leader || (is_here && !r->is_ready))
                return false;
        if (!is_here && c->peer) {
                /* Its manager has not heard yet who leads. */
                if (relay_is_request(p, n))
                        refuse(r, c, request_number(p, n), ENOTCONN,
                               "another manager leads by now: ask again");
                return true;
        }
        if (asks_too_much(c, p, n)) {
                refuse(r, c, request_number(p, n), EAGAIN,
                       "too many requests of this connection wait for their answers");
                return true;
        }
        if (!is_here && send_up(r, c, p, n) < 0)
                return false;
        if (relay_is_request(p, n))
                note_request(c, p, n);
        if (is_here) {
                memcpy(from.key, c->key, sizeof(from.key));
                r->config.on_input(r->config.arg, &from, p, n);
        }
        return true;
}

static void take(struct relay *r, struct conn *c, const uint8_t *p, size_t n, int64_t now_ms)
{
        c->heard_ms = now_ms;
        if (relay_is_request(p, n) && !request_number(p, n))
                return;
        c->is_client |= relay_is_request(p, n);
        /* Behind those that wait already. */
        if (!(relay_is_request(p, n) && !list_is_empty(&r->held)) && deliver(r, c, p, n))
                return;
        hold(r, c, p, n, now_ms);
}

void relay_on_message(struct relay *r, const struct net_sender *from, const uint8_t *p, size_t n,
                      int64_t now_ms)
{
        take(r, note_conn(r, 0, from->connection, from->is_local ? NULL : from->key), p, n, now_ms);
}

void relay_say(struct relay *r, const uint8_t key[NET_KEY_BYTES], const uint8_t *p, size_t n)
{
        deliver(r, note_conn(r, 0, OWN_CONNECTION, key), p, n);
}

static void leave(struct relay *r, struct conn *c)
{
        if (r->leader == r->config.id && r->is_ready)
                r->config.on_gone(r->config.arg, c->number);
        else if (r->leader && r->leader != r->config.id && !c->peer)
                send_up(r, c, NULL, 0);
        forget_conn(r, c);
}

void relay_on_gone(struct relay *r, uint64_t connection)
{
        struct conn *c = map_get_id(&r->by_remote, remote_id(0, connection));

        if (c)
                leave(r, c);
}

/* --- other managers -----------------------------------------------------------------------------
 */
static bool leads_other(const struct relay *r)
{
        return r->leader && r->leader != r->config.id;
}

/* All that come from that manager; 0: from any. */
static void drop_relayed(struct relay *r, uint64_t peer)
{
        struct conn **all = xnew_array(struct conn *, r->by_number.len + 1), *c;
        size_t n = 0, i;

        MAP_FOREACH (c, i, &r->by_number)
                if (c->peer && (!peer || c->peer == peer))
                        all[n++] = c;
        for (i = 0; i < n; i++)
                leave(r, all[i]);
        free(all);
}

void relay_on_up(struct relay *r, uint64_t peer, const Swarm__RelayUp *m, int64_t now_ms)
{
        if (m->key.len && m->key.len != NET_KEY_BYTES)
                return;
        if (m->message.len) {
                struct conn *c = note_conn(r, peer, m->connection, m->key.len ? m->key.data : NULL);

                if (!leads_other(r)) {
                        take(r, c, m->message.data, m->message.len, now_ms);
                        return;
                }
                deliver(r, c, m->message.data, m->message.len); /* is told so */
                forget_conn(r, c);
                return;
        }
        struct conn *c = map_get_id(&r->by_remote, remote_id(peer, m->connection));
        if (c)
                leave(r, c);
}

/* What it asked for was on its way to, or from, a manager that is lost. */
static void fail_asked(struct relay *r, struct conn *c)
{
        while (c->n_asked > 0) {
                uint64_t number = c->asked[--c->n_asked];

                refuse(r, c, number, ENOTCONN,
                       "the manager that leads was lost: what was asked may have been done or not");
        }
}

static void fail_all_asked(struct relay *r)
{
        struct conn *c;
        size_t i;

        MAP_FOREACH (c, i, &r->by_number)
                if (c->n_asked)
                        fail_asked(r, c);
}

void relay_on_down(struct relay *r, uint64_t peer, const Swarm__RelayDown *m)
{
        struct conn *c = map_get_u64(&r->by_number, m->connection);

        if (!c || c->peer)
                return;
        if (m->is_lost) {
                if (peer == r->leader) /* else all it asked is another's to answer */
                        fail_asked(r, c);
        } else if (m->message.len) {
                send_to(r, c, m->message.data, m->message.len);
        } else {
                relay_drop(r, c->number);
        }
}

void relay_on_peer_broken(struct relay *r, uint64_t peer)
{
        drop_relayed(r, peer);
        if (peer == r->leader)
                fail_all_asked(r);
}

/* --- who leads ----------------------------------------------------------------------------------
 */
static void deliver_held(struct relay *r)
{
        while (!list_is_empty(&r->held)) {
                struct held *h = LIST_ITEM(r->held.next, struct held, link);
                struct conn *c = map_get_u64(&r->by_number, h->number);

                if (c && !deliver(r, c, h->bytes, h->len))
                        return;
                drop_held(r, h);
        }
}

/* Those that come from other managers are nobody's here any more: theirs may think that this one
 * leads all along. */
static void lose_relayed(struct relay *r)
{
        Swarm__RelayDown down = SWARM__RELAY_DOWN__INIT;
        struct conn *c;
        size_t i;

        down.is_lost = true;
        MAP_FOREACH (c, i, &r->by_number)
                if (c->peer && c->is_client)
                        say_down(r, c, &down);
        drop_relayed(r, 0);
}

/* Likewise what they said while nobody was known to lead. */
static void turn_away_held(struct relay *r)
{
        struct held *h, *next;

        LIST_FOREACH_SAFE (h, next, &r->held, link) {
                struct conn *c = map_get_u64(&r->by_number, h->number);

                if (!c || !c->peer)
                        continue;
                deliver(r, c, h->bytes, h->len); /* is told so */
                drop_held(r, h);
        }
        drop_relayed(r, 0);
}

void relay_set_leader(struct relay *r, uint64_t leader, bool is_ready)
{
        bool is_other = leader != r->leader || (r->is_ready && !is_ready);
        bool has_led = r->leader == r->config.id;

        if (!is_other && is_ready == r->is_ready)
                return;
        r->leader = leader;
        r->is_ready = is_ready;
        if (is_other && has_led)
                lose_relayed(r);
        if (is_other)
                fail_all_asked(r);
        if (leads_other(r))
                turn_away_held(r);
        deliver_held(r);
}

int64_t relay_run(struct relay *r, int64_t now_ms)
{
        int64_t due_ms = TIME_NEVER;
        struct held *h, *next;

        if (!list_is_empty(&r->held))
                deliver_held(r);
        LIST_FOREACH_SAFE (h, next, &r->held, link) {
                struct conn *c = map_get_u64(&r->by_number, h->number);

                if (h->until_ms > now_ms) {
                        due_ms = MIN(due_ms, MIN(h->until_ms, now_ms + 100));
                        continue;
                }
                if (c)
                        refuse(r, c, request_number(h->bytes, h->len), EAGAIN,
                               r->config.no_leader(r->config.arg));
                drop_held(r, h);
        }
        return due_ms;
}

void relay_heard(struct relay *r, int64_t now_ms, relay_heard_fn *fn, void *arg)
{
        struct gone *g;
        struct conn *c;
        size_t i;

        drop_old_gone(r, now_ms);
        LIST_FOREACH (g, &r->gone, link)
                fn(arg, g->key, g->heard_ms, true);
        MAP_FOREACH (c, i, &r->by_number)
                if (is_local_agent(c) && c->heard_ms >= now_ms - RELAY_HEARD_MS)
                        fn(arg, c->key, c->heard_ms, false);
}

/* --- its life -----------------------------------------------------------------------------------
 */
struct relay *relay_new(const struct relay_config *c)
{
        struct relay *r = xnew(struct relay);

        r->config = *c;
        r->by_number = MAP_INIT(struct conn, number, MAP_KEY_U64);
        r->by_remote = MAP_INIT(struct conn, remote, MAP_KEY_ID);
        list_init(&r->held);
        list_init(&r->gone);
        return r;
}

void relay_free(struct relay *r)
{
        struct conn *c;
        size_t i;

        if (!r)
                return;
        while (!list_is_empty(&r->held))
                drop_held(r, LIST_ITEM(r->held.next, struct held, link));
        while (!list_is_empty(&r->gone))
                drop_gone(r);
        MAP_FOREACH (c, i, &r->by_number) {
                free(c->asked);
                free(c);
        }
        map_done(&r->by_number);
        map_done(&r->by_remote);
        free(r);
}
