/* peers: links among managers over real sockets, some through a line that can be cut or go dead. */
#include "tests/lib/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "manager/peers/peers.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/loop/loop.h"
#include "shared/model/model.h"
#include "shared/wire/wire.h"
#include "tests/lib/line.h"

#define DEADLINE_MS  30000
#define STEP_MS      2
#define SETTLE_STEPS 80 /* long enough for what must not come to have come */
#define MANAGERS_MAX 3
#define MIB          ((size_t)1 << 20)
#define FRAME_ROOM   256 /* of a frame beyond its part */

struct got {
        uint64_t from;
        unsigned kind; /* enum raft_message_kind; 0: relayed */
        size_t len;    /* of the bytes inside */
        uint8_t seed;  /* their first; the others follow from it */
        bool is_whole;
};

/* Each has a loop of its own, so that one can be deaf. */
struct manager {
        uint64_t id;
        struct loop *loop;
        struct loop_timer *step;
        struct net *net;
        struct net_server *server;
        struct peers *peers;
        struct net_keys *keys;
        bool is_deaf;
        char address[RAFT_ADDRESS_MAX];
        struct got *got;
        size_t n_got, cap_got, n_broken, n_again, n_gone, frame_max;
        size_t got_at_again; /* n_got, when there was a connection again */
        uint64_t last_broken;
};

struct fixture {
        struct net_keys keys;
        struct manager managers[MANAGERS_MAX];
        struct line line;
};

/* --- managers -----------------------------------------------------------------------------------
 */
static uint8_t byte_at(uint8_t seed, size_t i)
{
        return (uint8_t)(seed + i * 7 + (i >> 20));
}

static struct buf make_bytes(uint8_t seed, size_t n)
{
        struct buf b = {0};

        buf_reserve(&b, n);
        for (size_t i = 0; i < n; i++)
                b.data[i] = byte_at(seed, i);
        b.len = n;
        return b;
}

static bool is_pattern(const uint8_t *p, size_t n)
{
        for (size_t i = 0; i < n; i++)
                if (p[i] != byte_at(p[0], i))
                        return false;
        return true;
}

static void note(struct manager *m, uint64_t from, unsigned kind, const uint8_t *p, size_t n)
{
        if (m->n_got == m->cap_got) {
                m->cap_got = m->cap_got ? 2 * m->cap_got : 64;
                m->got = xreallocarray(m->got, m->cap_got, sizeof(*m->got));
        }
        m->got[m->n_got++] = (struct got){from, kind, n, n ? p[0] : 0, is_pattern(p, n)};
}

static void on_message(void *arg, uint64_t from, const Swarm__PeerMessage *pm)
{
        struct manager *m = arg;
        struct raft_message raft;

        if (pm->kind_case != SWARM__PEER_MESSAGE__KIND_RAFT) {
                assert_int_equal(pm->kind_case, SWARM__PEER_MESSAGE__KIND_RELAY_DOWN);
                note(m, from, 0, pm->relay_down->message.data, pm->relay_down->message.len);
                return;
        }
        assert_int_equal(raft_message_decode(pm->raft.data, pm->raft.len, &raft), 0);
        if (raft.kind == RAFT_APPEND)
                note(m, from, raft.kind, raft.append.entries[0].bytes->data,
                     raft.append.entries[0].bytes->len);
        else
                note(m, from, raft.kind, NULL, 0);
        raft_message_done(&raft);
}

static void on_broken(void *arg, uint64_t id)
{
        struct manager *m = arg;

        m->n_broken++;
        m->last_broken = id;
}

static void on_again(void *arg, uint64_t id)
{
        struct manager *m = arg;

        m->n_again++;
        m->got_at_again = m->n_got;
        assert_int_not_equal(id, m->id);
}

static bool on_accept(void *arg, const uint8_t key[NET_KEY_BYTES], struct id *ret_node)
{
        struct manager *m = arg;

        *ret_node = (struct id){1, 1};
        return !memcmp(key, m->keys->public_key, NET_KEY_BYTES);
}

static void on_frame(void *arg, const struct net_sender *from, const uint8_t *p, size_t n)
{
        struct manager *m = arg;

        assert_true(peers_is_frame(p, n));
        m->frame_max = MAX(m->frame_max, n);
        peers_receive(m->peers, from->connection, p, n);
}

static void on_gone(void *arg, uint64_t connection)
{
        struct manager *m = arg;

        m->n_gone++;
        peers_gone(m->peers, connection);
}

static void listen_at(struct manager *m, const char *endpoint)
{
        const char *endpoints[] = {endpoint, NULL};
        struct net_server_config c = {.endpoints = endpoints,
                                      .keys = m->keys,
                                      .arg = m,
                                      .accept = on_accept,
                                      .on_message = on_frame,
                                      .on_gone = on_gone};
        struct err err = {0};

        if (net_listen(m->net, &c, &m->server, &err) < 0)
                fail_msg("%s", err.text);
        snprintf(m->address, sizeof(m->address), "%s",
                 net_server_endpoint(m->server, 0) + strlen("tcp://"));
}

static void on_step(void *arg)
{
        loop_stop(((struct manager *)arg)->loop);
}

static void start(struct fixture *f, size_t i, const char *endpoint)
{
        struct manager *m = &f->managers[i];

        *m = (struct manager){.id = i + 1, .keys = &f->keys};
        m->loop = loop_new();
        m->step = loop_timer_new(m->loop, on_step, m);
        m->net = net_new(m->loop);
        listen_at(m, endpoint);
        struct peers_config c = {.net = m->net,
                                 .server = m->server,
                                 .cluster_keys = &f->keys,
                                 .id = m->id,
                                 .protocols = PEER_PROTOCOLS,
                                 .arg = m,
                                 .on_message = on_message,
                                 .on_broken = on_broken,
                                 .on_again = on_again};
        m->peers = peers_new(&c);
}

static void stop(struct manager *m)
{
        if (!m->loop)
                return;
        peers_free(m->peers);
        net_server_close(m->server);
        net_free(m->net);
        loop_timer_free(m->step);
        loop_free(m->loop);
        free(m->got);
        *m = (struct manager){0};
}

static void run_step(struct fixture *f)
{
        for (size_t i = 0; i < MANAGERS_MAX; i++) {
                struct manager *m = &f->managers[i];

                if (!m->loop || m->is_deaf)
                        continue;
                loop_timer_set(m->step, STEP_MS);
                loop_run(m->loop);
        }
}

static void run_for(struct fixture *f, int steps)
{
        while (steps-- > 0)
                run_step(f);
}

/* Runs until the condition holds, and fails when it never does. */
#define RUN_UNTIL(f, condition)                         \
        do {                                            \
                int ms_ = 0;                            \
                while (!(condition)) {                  \
                        assert_true(ms_ < DEADLINE_MS); \
                        run_step(f);                    \
                        ms_ += MANAGERS_MAX * STEP_MS;  \
                }                                       \
        } while (0)

/* a knows b, at its own address or another. */
static void set_members(struct manager *a, size_t n, struct manager *const of[],
                        const char *const addresses[])
{
        struct raft_members members = {.n = n + 1};

        members.of[0].id = a->id;
        snprintf(members.of[0].address, RAFT_ADDRESS_MAX, "%s", a->address);
        for (size_t i = 0; i < n; i++) {
                members.of[i + 1].id = of[i]->id;
                snprintf(members.of[i + 1].address, RAFT_ADDRESS_MAX, "%s",
                         addresses ? addresses[i] : of[i]->address);
        }
        peers_set(a->peers, &members);
}

static int say_relay(struct manager *a, uint64_t to, uint8_t seed, size_t n)
{
        Swarm__PeerMessage m = SWARM__PEER_MESSAGE__INIT;
        Swarm__RelayDown down = SWARM__RELAY_DOWN__INIT;
        _cleanup_buf_ struct buf b = make_bytes(seed, n);

        down.connection = 1;
        down.message = (ProtobufCBinaryData){b.len, b.data};
        m.kind_case = SWARM__PEER_MESSAGE__KIND_RELAY_DOWN;
        m.relay_down = &down;
        return peers_send(a->peers, to, &m);
}

static int say_raft(struct manager *a, const struct raft_message *raft)
{
        Swarm__PeerMessage m = SWARM__PEER_MESSAGE__INIT;
        _cleanup_buf_ struct buf b = {0};

        raft_message_encode(raft, &b);
        m.kind_case = SWARM__PEER_MESSAGE__KIND_RAFT;
        m.raft = (ProtobufCBinaryData){b.len, b.data};
        return peers_send(a->peers, raft->to, &m);
}

static int say_heartbeat(struct manager *a, uint64_t to)
{
        struct raft_message m = {.kind = RAFT_HEARTBEAT, .from = a->id, .to = to, .term = 1};

        return say_raft(a, &m);
}

static int say_append(struct manager *a, uint64_t to, uint8_t seed, size_t n)
{
        _cleanup_buf_ struct buf b = make_bytes(seed, n);
        struct raft_entry entry = {.term = 1, .kind = RAFT_ENTRY_DATA};
        struct raft_message m = {.kind = RAFT_APPEND, .from = a->id, .to = to, .term = 1};

        entry.bytes = raft_bytes_new(b.data, b.len);
        m.append.entries = &entry;
        m.append.n_entries = 1;
        int r = say_raft(a, &m);
        raft_bytes_unref(entry.bytes);
        return r;
}

/* Until the link is there; says one heartbeat. */
static void connect_to(struct fixture *f, struct manager *a, uint64_t to)
{
        int r = -ENOTCONN;

        RUN_UNTIL(f, (r = say_heartbeat(a, to)) != -ENOTCONN);
        assert_int_equal(r, 0);
}

static void link_up(struct fixture *f, struct manager *a, struct manager *b, const char *address)
{
        set_members(a, 1, &b, address ? &address : NULL);
        connect_to(f, a, b->id);
        RUN_UNTIL(f, b->n_got == 1);
        b->n_got = 0;
}

/* Between a, whose loop carries it, and b. */
static struct line *line_between(struct fixture *f, struct manager *a, struct manager *b)
{
        line_open(&f->line, a->loop, b->address);
        return &f->line;
}

/* --- fixture ------------------------------------------------------------------------------------
 */
static int setup(void **state)
{
        struct fixture *f = xnew(struct fixture);

        assert_int_equal(net_keys_make(&f->keys), 0);
        for (size_t i = 0; i < MANAGERS_MAX; i++)
                start(f, i, "tcp://127.0.0.1:*");
        *state = f;
        return 0;
}

static int teardown(void **state)
{
        struct fixture *f = *state;

        line_close(&f->line);
        for (size_t i = 0; i < MANAGERS_MAX; i++)
                stop(&f->managers[i]);
        free(f);
        return 0;
}

/* --- tests --------------------------------------------------------------------------------------
 */
static void test_all_to_all(void **state)
{
        struct fixture *f = *state;
        struct manager *m = f->managers;

        for (size_t i = 0; i < 3; i++)
                set_members(&m[i], 2, (struct manager *const[]){&m[(i + 1) % 3], &m[(i + 2) % 3]},
                            NULL);
        for (size_t i = 0; i < 3; i++) {
                connect_to(f, &m[i], (i + 1) % 3 + 1);
                connect_to(f, &m[i], (i + 2) % 3 + 1);
        }
        for (size_t i = 0; i < 3; i++) {
                RUN_UNTIL(f, m[i].n_got == 2);
                assert_int_equal(m[i].got[0].kind, RAFT_HEARTBEAT);
                assert_int_equal(m[i].got[0].from + m[i].got[1].from, 6 - m[i].id);
        }
        assert_int_equal(say_heartbeat(&m[0], 1), -EHOSTUNREACH);
        assert_int_equal(say_heartbeat(&m[0], 4), -EHOSTUNREACH);
}

static void test_members_come_and_go(void **state)
{
        struct fixture *f = *state;
        struct manager *a = &f->managers[0], *b = &f->managers[1], *c = &f->managers[2];
        const char *nowhere = "no address";

        set_members(a, 1, &b, &nowhere);
        assert_int_equal(say_heartbeat(a, b->id), -ENOTCONN);
        link_up(f, a, b, NULL);
        set_members(a, 1, &c, NULL);
        assert_int_equal(say_heartbeat(a, b->id), 0); /* one that left is told so */
        assert_int_equal(say_heartbeat(a, c->id), -ENOTCONN);
        connect_to(f, a, c->id);
        RUN_UNTIL(f, c->n_got == 1);
        /* The same again changes nothing. */
        set_members(a, 1, &c, NULL);
        assert_int_equal(say_heartbeat(a, c->id), 0);
        RUN_UNTIL(f, c->n_got == 2);
        assert_int_equal(c->n_gone, 0);
        /* Another address: another link, and who is there now is not the one meant. */
        const char *moved = b->address;
        set_members(a, 1, &c, &moved);
        connect_to(f, a, c->id);
        run_for(f, SETTLE_STEPS);
        assert_int_equal(b->n_got, 1); /* what was meant for it, before */
        assert_int_equal(a->n_broken, 0);
}

static void test_large(void **state)
{
        struct fixture *f = *state;
        struct manager *a = &f->managers[0], *b = &f->managers[1];
        const size_t large = 40 * MIB;
        size_t heard[2] = {0};

        link_up(f, a, b, NULL);
        assert_int_equal(say_append(a, b->id, 1, large), 0);
        assert_int_equal(say_relay(a, b->id, 2, large + 12345), 0);
        assert_int_equal(say_relay(a, b->id, 3, 10), -EAGAIN);
        assert_int_equal(say_append(a, b->id, 3, 10), -EAGAIN);
        assert_int_equal(say_heartbeat(a, b->id), 0);
        RUN_UNTIL(f, b->n_got == 3);
        assert_int_equal(b->got[0].kind, RAFT_HEARTBEAT);
        for (size_t i = 1; i < 3; i++) {
                assert_true(b->got[i].is_whole);
                heard[b->got[i].kind == RAFT_APPEND] = b->got[i].len;
        }
        assert_int_equal(heard[1], large);
        assert_int_equal(heard[0], large + 12345);
        assert_true(b->frame_max > MIB && b->frame_max < MIB + FRAME_ROOM);
        /* In order. */
        for (uint8_t i = 0; i < 100; i++)
                assert_int_equal(say_relay(a, b->id, i, 1 + i * (size_t)1000), 0);
        RUN_UNTIL(f, b->n_got == 103);
        for (uint8_t i = 0; i < 100; i++)
                assert_int_equal(b->got[3 + i].seed, i);
}

static void test_too_long(void **state)
{
        struct fixture *f = *state;
        struct manager *a = &f->managers[0], *b = &f->managers[1];
        Swarm__PeerMessage m = SWARM__PEER_MESSAGE__INIT;
        Swarm__RelayDown down = SWARM__RELAY_DOWN__INIT;
        _cleanup_free_ uint8_t *bytes = xcalloc(1, PEER_MESSAGE_BYTES_MAX);

        link_up(f, a, b, NULL);
        down.message = (ProtobufCBinaryData){PEER_MESSAGE_BYTES_MAX, bytes};
        m.kind_case = SWARM__PEER_MESSAGE__KIND_RELAY_DOWN;
        m.relay_down = &down;
        assert_int_equal(peers_send(a->peers, b->id, &m), -EMSGSIZE);
}

/* Broken in the middle: neither that message nor what waited behind it comes, what follows does. */
static void test_cut(void **state)
{
        struct fixture *f = *state;
        struct manager *a = &f->managers[0], *b = &f->managers[1];
        struct line *l = line_between(f, a, b);

        link_up(f, a, b, l->address);
        for (size_t round = 1; round <= 5; round++) {
                l->cut_at = l->passed + round * 3 * MIB + 4711;
                b->n_got = 0;
                assert_int_equal(say_relay(a, b->id, 1, 30 * MIB), 0);
                assert_int_equal(say_relay(a, b->id, 2, 10), 0);
                assert_int_equal(say_append(a, b->id, 3, 30 * MIB), 0);
                RUN_UNTIL(f, a->n_broken == round);
                assert_int_equal(a->last_broken, b->id);
                l->cut_at = SIZE_MAX;
                connect_to(f, a, b->id);
                assert_int_equal(say_relay(a, b->id, 4, 3 * MIB), 0);
                assert_int_equal(say_append(a, b->id, 5, 3 * MIB), 0);
                RUN_UNTIL(f, b->n_got == 3);
                run_for(f, 10);
                assert_int_equal(b->n_got, 3);
                assert_int_equal(b->got[0].kind, RAFT_HEARTBEAT);
                for (size_t i = 1; i < 3; i++) {
                        assert_true(b->got[i].is_whole);
                        assert_int_equal(b->got[i].len, 3 * MIB);
                        assert_int_equal(b->got[i].seed, b->got[i].kind == RAFT_APPEND ? 5 : 4);
                }
        }
}

/* One of two connections breaks: both ends are told, and told when it is there again. */
static void test_broken_and_again(void **state)
{
        struct fixture *f = *state;
        struct manager *a = &f->managers[0], *b = &f->managers[1];
        struct line *l = line_between(f, a, b);

        set_members(b, 1, &a, NULL);
        link_up(f, a, b, l->address);
        connect_to(f, b, a->id);
        RUN_UNTIL(f, a->n_got == 1);
        assert_int_equal(a->n_broken + b->n_broken + a->n_again + b->n_again, 0);

        line_hang_up(l);
        RUN_UNTIL(f, a->n_broken == 1 && b->n_broken == 1);
        assert_int_equal(a->last_broken, b->id);
        assert_int_equal(b->last_broken, a->id);
        /* the other way is there: what is said comes, and is no news of this one */
        assert_int_equal(say_relay(b, a->id, 1, 10), 0);
        RUN_UNTIL(f, a->n_got == 2);
        assert_int_equal(b->n_again, 0);
        RUN_UNTIL(f, a->n_again == 1);
        assert_int_equal(b->n_again, 0); /* with the first word, and before it */
        assert_int_equal(say_relay(a, b->id, 2, 10), 0);
        RUN_UNTIL(f, b->n_got == 1);
        assert_int_equal(b->n_again, 1);
        assert_int_equal(b->got_at_again, 0);
        assert_int_equal(say_relay(a, b->id, 3, 10), 0);
        RUN_UNTIL(f, b->n_got == 2);
        run_for(f, SETTLE_STEPS);
        assert_int_equal(a->n_broken + b->n_broken, 2);
        assert_int_equal(a->n_again + b->n_again, 2);
}

/* On purpose, with much under way: nothing of it is mixed with what is said after. */
static void test_broken_on_purpose(void **state)
{
        struct fixture *f = *state;
        struct manager *a = &f->managers[0], *b = &f->managers[1];

        peers_break(a->peers, b->id); /* no such member */
        set_members(b, 1, &a, NULL);
        link_up(f, a, b, NULL);
        assert_int_equal(say_relay(a, b->id, 1, 30 * MIB), 0);
        assert_int_equal(say_relay(a, b->id, 2, 10), 0);
        peers_break(a->peers, b->id);
        assert_int_equal(say_relay(a, b->id, 3, 10), -ENOTCONN);
        peers_break(a->peers, b->id); /* it is not there: not once more */
        assert_int_equal(a->n_again, 0);
        RUN_UNTIL(f, a->n_again == 1);
        assert_int_equal(say_relay(a, b->id, 4, MIB), 0);
        RUN_UNTIL(f, b->n_got == 1);
        assert_int_equal(b->n_again, 1);
        assert_true(b->got[0].is_whole && b->got[0].len == MIB && b->got[0].seed == 4);
        run_for(f, SETTLE_STEPS);
        assert_int_equal(b->n_got, 1);
        assert_int_equal(a->n_again, 1);
        assert_int_equal(a->n_broken, 0);
}

/* Nobody is there: nothing waits. Later there is somebody: nothing old comes. */
static void test_absent(void **state)
{
        struct fixture *f = *state;
        struct manager *a = &f->managers[0], *b = &f->managers[1];
        char endpoint[NET_ENDPOINT_MAX];

        link_up(f, a, b, NULL);
        snprintf(endpoint, sizeof(endpoint), "tcp://%s", b->address);
        stop(b);
        RUN_UNTIL(f, a->n_broken == 1);
        for (int i = 0; i < 100; i++) {
                assert_int_equal(say_relay(a, 2, 1, 1000), -ENOTCONN);
                run_step(f);
        }
        start(f, 1, endpoint);
        connect_to(f, a, 2);
        RUN_UNTIL(f, b->n_got == 1);
        run_for(f, SETTLE_STEPS);
        assert_int_equal(b->n_got, 1);
        assert_int_equal(b->got[0].kind, RAFT_HEARTBEAT);
}

/* How much b got before the first of a kind. */
static size_t bytes_before(const struct manager *m, unsigned kind)
{
        size_t n = 0;

        for (size_t i = 0; m->got[i].kind != kind; i++)
                n += m->got[i].len;
        return n;
}

/* A peer that does not read: what waits is bounded, and few bytes are before a heartbeat. */
static void test_deaf(void **state)
{
        struct fixture *f = *state;
        struct manager *a = &f->managers[0], *b = &f->managers[1];
        size_t sent = 0, n_relay = 0;
        int r;

        link_up(f, a, b, NULL);
        b->is_deaf = true;
        while ((r = say_relay(a, b->id, (uint8_t)sent, MIB / 2)) == 0) {
                sent++;
                run_step(f);
        }
        assert_int_equal(r, -EAGAIN);
        assert_in_range(sent * (MIB / 2), PEER_QUEUE_BYTES_MAX,
                        PEER_QUEUE_BYTES_MAX + PEER_WINDOW_BYTES + MIB);
        assert_int_equal(say_append(a, b->id, 0, 10), 0);
        assert_int_equal(say_heartbeat(a, b->id), 0);
        run_for(f, SETTLE_STEPS);
        b->is_deaf = false;
        RUN_UNTIL(f, b->n_got == sent + 2);
        assert_in_range(bytes_before(b, RAFT_HEARTBEAT), 1, PEER_WINDOW_BYTES);
        /* Entries take turns with what is relayed. */
        assert_in_range(bytes_before(b, RAFT_APPEND), 1, PEER_WINDOW_BYTES + MIB);
        for (size_t i = 0; i < b->n_got; i++)
                if (b->got[i].kind == 0)
                        assert_int_equal(b->got[i].seed, (uint8_t)n_relay++);
        /* And small ones: more than ZeroMQ's queues hold. */
        b->is_deaf = true;
        b->n_got = 0;
        for (int i = 0; i < 5000; i++)
                assert_int_equal(say_relay(a, b->id, (uint8_t)i, 10), 0);
        run_for(f, SETTLE_STEPS);
        b->is_deaf = false;
        RUN_UNTIL(f, b->n_got == 5000);
        for (int i = 0; i < 5000; i++)
                assert_int_equal(b->got[i].seed, (uint8_t)i);
}

/* The machine is gone without a word: both ends are told. */
static void test_vanished(void **state)
{
        struct fixture *f = *state;
        struct manager *a = &f->managers[0], *b = &f->managers[1];
        struct line *l = line_between(f, a, b);

        link_up(f, a, b, l->address);
        /* An idle link stays. */
        run_for(f, NET_VANISHED_MS / STEP_MS / 3);
        assert_int_equal(a->n_broken, 0);
        line_die(l);
        assert_int_equal(say_relay(a, b->id, 1, 10 * MIB), 0);
        RUN_UNTIL(f, a->n_broken == 1 && b->n_gone == 1);
        assert_int_equal(say_heartbeat(a, b->id), -ENOTCONN);
        assert_int_equal(b->n_got, 0);
}

/* Something else answers at the address for a while. */
static void test_misled(void **state)
{
        struct fixture *f = *state;
        struct manager *a = &f->managers[0], *b = &f->managers[1];
        struct line *l = line_between(f, a, b);

        l->words = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
        set_members(a, 1, &b, (const char *const[]){l->address});
        RUN_UNTIL(f, l->n_misled > 0);
        run_for(f, SETTLE_STEPS);
        l->words = NULL;
        connect_to(f, a, b->id);
        RUN_UNTIL(f, b->n_got == 1);
}

/* The server comes and goes while much is sent: nothing is mixed, and the link comes again. */
static void test_churn(void **state)
{
        struct fixture *f = *state;
        struct manager *a = &f->managers[0], *b = &f->managers[1];
        struct line *l = line_between(f, a, b);
        uint8_t seed = 0;

        link_up(f, a, b, l->address);
        for (int i = 0; i < 40; i++) {
                for (int k = 0; k < 20; k++) {
                        int r = say_relay(a, b->id, ++seed, (size_t)k * 100 * 1024 + 1);

                        assert_true(r == 0 || r == -ENOTCONN || r == -EAGAIN);
                        if (k % 5 == 0)
                                run_step(f);
                }
                line_hang_up(l);
        }
        run_for(f, SETTLE_STEPS);
        connect_to(f, a, b->id);
        RUN_UNTIL(f, b->n_got > 0 && b->got[b->n_got - 1].kind == RAFT_HEARTBEAT);
        for (size_t i = 0; i < b->n_got; i++)
                assert_true(b->got[i].is_whole);
        assert_true(a->n_broken > 0);
}

/* --- frames that no manager of ours makes -------------------------------------------------------
 */
struct crafted {
        uint64_t connection, from, to, position, message;
        uint32_t protocol, lane;
        bool has_more;
        struct buf part;
};

/* Takes the part. */
static void receive(struct manager *m, struct crafted c)
{
        Swarm__PeerFrame f = SWARM__PEER_FRAME__INIT;
        _cleanup_buf_ struct buf b = {0};

        f.from = c.from;
        f.to = c.to;
        f.protocol = c.protocol;
        f.lane = c.lane;
        f.position = c.position;
        f.message = c.message;
        f.has_more = c.has_more;
        f.part = (ProtobufCBinaryData){c.part.len, c.part.data};
        WIRE_PACK(&f, &b);
        peers_receive(m->peers, c.connection, b.data, b.len);
        buf_done(&c.part);
}

static struct buf relay_bytes(size_t n)
{
        Swarm__PeerMessage m = SWARM__PEER_MESSAGE__INIT;
        Swarm__RelayDown down = SWARM__RELAY_DOWN__INIT;
        _cleanup_buf_ struct buf b = make_bytes(9, n);
        struct buf ret = {0};

        down.message = (ProtobufCBinaryData){b.len, b.data};
        m.kind_case = SWARM__PEER_MESSAGE__KIND_RELAY_DOWN;
        m.relay_down = &down;
        WIRE_PACK(&m, &ret);
        return ret;
}

/* One of a message of two parts: 0 or 1. */
static struct buf half(int which)
{
        _cleanup_buf_ struct buf all = relay_bytes(1000);
        struct buf ret = {0};

        buf_append(&ret, all.data + (which ? 500 : 0), which ? all.len - 500 : 500);
        return ret;
}

static void test_halves(void **state)
{
        struct manager *a = &((struct fixture *)*state)->managers[0];
        struct crafted first = {1000, 2, 1, 10, 10, 1, 2, true, {0}};
        struct crafted second = {1000, 2, 1, 20, 10, 1, 2, false, {0}}, c;

#define WITH(base, field, value, piece) (c = (base), c.field = (value), c.part = half(piece), c)
        receive(a, WITH(first, lane, 2, 0));
        receive(a, WITH(second, lane, 2, 1));
        assert_int_equal(a->n_got, 1);
        assert_int_equal(a->got[0].len, 1000);
        assert_true(a->got[0].is_whole);
        /* The end of one whose beginning never came, of another message, of another lane. */
        receive(a, WITH(second, lane, 2, 1));
        receive(a, WITH(first, lane, 2, 0));
        receive(a, WITH(second, message, 15, 1));
        receive(a, WITH(second, lane, 1, 1));
        assert_int_equal(a->n_got, 1);
        receive(a, WITH(second, lane, 2, 1));
        assert_int_equal(a->n_got, 2);
        /* Over another connection, and after the sender left. */
        receive(a, WITH(first, lane, 2, 0));
        receive(a, WITH(second, connection, 1001, 1));
        receive(a, WITH(second, connection, 1000, 1)); /* not the newest any more */
        assert_int_equal(a->n_got, 2);
        receive(a, WITH(first, connection, 1001, 0));
        peers_gone(a->peers, 1001);
        receive(a, WITH(second, connection, 1001, 1));
        assert_int_equal(a->n_got, 2);
        /* Begun anew in the middle. */
        receive(a, WITH(first, connection, 1002, 0));
        receive(a, WITH(first, connection, 1002, 0));
        receive(a, WITH(second, connection, 1002, 1));
        assert_int_equal(a->n_got, 3);
        assert_true(a->got[2].is_whole && a->got[2].len == 1000);
}

static void test_garbage(void **state)
{
        struct manager *a = &((struct fixture *)*state)->managers[0];
        struct crafted good = {1000, 2, 1, 10, 10, 1, 2, false, {0}}, c;
        uint8_t junk[200];

#define SEND(field, value) (c = good, c.field = (value), c.part = relay_bytes(10), receive(a, c))
        for (size_t n = 0; n < sizeof(junk); n++) {
                for (size_t i = 0; i < n; i++)
                        junk[i] = (uint8_t)(i * 31 + n);
                peers_receive(a->peers, 1000, junk, n);
        }
        SEND(from, 0);
        SEND(from, 1); /* ourselves */
        SEND(to, 3);   /* someone else */
        SEND(lane, 3);
        SEND(message, 11);
        c = good;
        c.part = relay_bytes(MIB);
        receive(a, c);
        c.part = make_bytes(3, 100); /* no message */
        receive(a, c);
        c.part = (struct buf){0}; /* of no kind */
        receive(a, c);
        assert_int_equal(a->n_got, 0);
        SEND(lane, 2);
        assert_int_equal(a->n_got, 1);
        assert_true(peers_is_frame((const uint8_t *)"\xa0\x06\x01", 3));
        assert_false(peers_is_frame((const uint8_t *)"\xa0\x06", 1));
        assert_false(peers_is_frame((const uint8_t *)"\x08\x01", 2));
}

static void put_varint(struct buf *b, size_t v)
{
        for (; v >= 128; v >>= 7)
                buf_putc(b, (char)(v | 128));
        buf_putc(b, (char)v);
}

/* More than a message may have: it is dropped, all of it, and the next is taken. It would be one,
 * and so would its last part alone. */
static void test_endless(void **state)
{
        struct manager *a = &((struct fixture *)*state)->managers[0];
        struct crafted c = {1000, 2, 1, 1, 1, 1, 2, true, {0}};
        _cleanup_buf_ struct buf last = relay_bytes(10);
        size_t parts = PEER_MESSAGE_BYTES_MAX / MIB, n = parts * MIB + last.len;

        put_varint(&c.part, 3 << 3 | 2); /* relay_down */
        put_varint(&c.part, n + 6);
        put_varint(&c.part, 2 << 3 | 2); /* message: 5 bytes of length */
        put_varint(&c.part, n);
        receive(a, c);
        while (parts-- > 0) {
                c.position++;
                c.part = (struct buf){0};
                buf_reserve(&c.part, MIB);
                memset(c.part.data, 0, MIB);
                c.part.len = MIB;
                receive(a, c);
        }
        c.position++;
        c.has_more = false;
        c.part = relay_bytes(10);
        receive(a, c);
        assert_int_equal(a->n_got, 0);
        c.message = ++c.position;
        c.part = relay_bytes(10);
        receive(a, c);
        assert_int_equal(a->n_got, 1);
}

/* Senders that come again and again under other ids are not kept for ever; the newest are. */
static void test_many_senders(void **state)
{
        struct manager *a = &((struct fixture *)*state)->managers[0];
        struct crafted first = {0, 0, 1, 10, 10, 1, 2, true, {0}};
        struct crafted second = {0, 0, 1, 20, 10, 1, 2, false, {0}};

        for (uint64_t i = 2; i < 1000; i++) {
                first.connection = first.from = i;
                first.part = half(0);
                receive(a, first);
        }
        for (uint64_t i = 1000 - RAFT_MEMBERS_MAX; i < 1000; i++) {
                second.connection = second.from = i;
                second.part = half(1);
                receive(a, second);
        }
        assert_int_equal(a->n_got, RAFT_MEMBERS_MAX);
        for (uint64_t i = 2; i < 900; i++) {
                second.connection = second.from = i;
                second.part = half(1);
                receive(a, second);
        }
        assert_int_equal(a->n_got, RAFT_MEMBERS_MAX);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_all_to_all),
                TEST(test_members_come_and_go),
                TEST(test_large),
                TEST(test_too_long),
                TEST(test_cut),
                TEST(test_broken_and_again),
                TEST(test_broken_on_purpose),
                TEST(test_absent),
                TEST(test_deaf),
                TEST(test_vanished),
                TEST(test_churn),
                TEST(test_misled),
                TEST(test_halves),
                TEST(test_garbage),
                TEST(test_endless),
                TEST(test_many_senders),
        };

        return cmocka_run_group_tests_name("peers", tests, NULL, NULL);
}
