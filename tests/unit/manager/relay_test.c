/* The relay: which nodes it says that it has heard, what it makes of requests, and what becomes of
 * them and their answers when a link between managers breaks. */
#include "tests/lib/unit.h"

#include "manager/relay.h"

#include <errno.h>
#include <string.h>

#include "proto/control.pb-c.h"
#include "shared/base/base.h"
#include "shared/wire/wire.h"

static const uint8_t AGENT_MESSAGE[] = {0x0a, 0x00}, REQUEST[] = {0x08, 0x01};

struct heard {
        int n;
        int64_t newest_ms[3]; /* by the key's first byte; 0: not heard */
        bool is_gone[3];      /* likewise, of any word */
};

static void on_heard(void *arg, const uint8_t key[NET_KEY_BYTES], int64_t heard_ms, bool is_gone)
{
        struct heard *h = arg;

        assert_in_range(key[0], 0, 2);
        h->n++;
        h->newest_ms[key[0]] = MAX(h->newest_ms[key[0]], heard_ms);
        h->is_gone[key[0]] |= is_gone;
}

static void on_input(void *arg UNUSED, const struct relay_sender *from UNUSED,
                     const uint8_t *p UNUSED, size_t n UNUSED)
{
}

static void on_gone(void *arg UNUSED, uint64_t number UNUSED)
{
}

static void say(struct relay *r, uint64_t connection, uint8_t key, const uint8_t *p, int64_t now_ms)
{
        struct net_sender from = {.connection = connection, .key = {key}};

        relay_on_message(r, &from, p, 2, now_ms);
}

static struct heard heard_at(struct relay *r, int64_t now_ms)
{
        struct heard h = {0};

        relay_heard(r, now_ms, on_heard, &h);
        return h;
}

static void test_heard(void **state UNUSED)
{
        struct relay *r = relay_new(
                &(struct relay_config){.id = 1, .on_input = on_input, .on_gone = on_gone});

        relay_set_leader(r, 1, true);
        say(r, 10, 0, AGENT_MESSAGE, 1000);
        say(r, 11, 1, AGENT_MESSAGE, 1500);
        say(r, 12, 2, REQUEST, 1600); /* a client: no node's life */
        struct heard h = heard_at(r, 2000);
        assert_int_equal(h.n, 2);
        assert_int_equal(h.newest_ms[0], 1000);
        assert_int_equal(h.newest_ms[1], 1500);
        assert_false(h.is_gone[0] || h.is_gone[1]);
        /* one that is gone was heard all the same, and again over another connection */
        relay_on_gone(r, 10);
        relay_on_gone(r, 11);
        relay_on_gone(r, 12);
        say(r, 13, 1, AGENT_MESSAGE, 3000);
        h = heard_at(r, 3000);
        assert_int_equal(h.n, 3);
        assert_int_equal(h.newest_ms[0], 1000);
        assert_int_equal(h.newest_ms[1], 3000);
        assert_int_equal(h.newest_ms[2], 0);
        assert_true(h.is_gone[0] && h.is_gone[1]);
        /* but not for ever */
        h = heard_at(r, 1001 + RELAY_HEARD_MS);
        assert_int_equal(h.newest_ms[0], 0);
        assert_int_equal(h.newest_ms[1], 3000);
        h = heard_at(r, 3001 + RELAY_HEARD_MS);
        assert_int_equal(h.n, 0);
        relay_free(r);
}

/* --- requests -----------------------------------------------------------------------------------
 */
struct side {
        int n_sent, n_inputs;
};

static int on_send(void *arg, uint64_t connection UNUSED, const uint8_t *p UNUSED, size_t n UNUSED)
{
        assert_in_range(++((struct side *)arg)->n_sent, 1, 100);
        return 0;
}

static void count_input(void *arg, const struct relay_sender *from UNUSED, const uint8_t *p UNUSED,
                        size_t n UNUSED)
{
        ((struct side *)arg)->n_inputs++;
}

static struct relay *open_leader(struct side *s)
{
        struct relay *r = relay_new(&(struct relay_config){
                .id = 1, .arg = s, .send = on_send, .on_input = count_input, .on_gone = on_gone});

        relay_set_leader(r, 1, true);
        return r;
}

/* Info asked for under numbers that can be one, and that cannot. */
static const struct {
        const char *name;
        uint8_t bytes[16];
        size_t len;
        bool is_request;
} NUMBERS[] = {
        {"1", {0x08, 1, 0x52, 0}, 4, true},
        {"128", {0x08, 0x80, 1, 0x52, 0}, 5, true},
        {"the highest",
         {0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0x52, 0},
         12,
         true},
        {"0", {0x08, 0, 0x52, 0}, 4, false},
        {"0 in two bytes", {0x08, 0x80, 0, 0x52, 0}, 5, false},
        {"2^63",
         {0x08, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1, 0x52, 0},
         13,
         false},
        {"cut off", {0x08, 0x80}, 2, false},
        {"another field", {0x10, 1, 0x52, 0}, 4, false},
};

static void test_numbers(void **state UNUSED)
{
        for (size_t i = 0; i < ARRAY_SIZE(NUMBERS); i++) {
                struct side s = {0};
                struct relay *r = open_leader(&s);
                struct net_sender from = {.connection = 9, .key = {7}};

                print_message("%s\n", NUMBERS[i].name);
                relay_on_message(r, &from, NUMBERS[i].bytes, NUMBERS[i].len, 1000);
                assert_int_equal(s.n_inputs, NUMBERS[i].is_request);
                assert_int_equal(s.n_sent, 0);
                /* one answer to each, when nobody will give another */
                relay_set_leader(r, 0, false);
                assert_int_equal(s.n_sent, NUMBERS[i].is_request);
                relay_set_leader(r, 1, true);
                relay_set_leader(r, 0, false);
                assert_int_equal(s.n_sent, NUMBERS[i].is_request);
                relay_free(r);
        }
}

/* --- a link that breaks -------------------------------------------------------------------------
 */
struct rig {
        struct relay *relay;
        int peer_result; /* of what is sent to another manager */
        int n_inputs, n_gone, n_up, n_answers, n_refused;
        uint64_t number; /* of the last input's connection */
};

static void note_input(void *arg, const struct relay_sender *from, const uint8_t *p UNUSED,
                       size_t n UNUSED)
{
        struct rig *rig = arg;

        rig->n_inputs++;
        rig->number = from->number;
}

static void note_gone(void *arg, uint64_t number UNUSED)
{
        ((struct rig *)arg)->n_gone++;
}

static int note_answer(void *arg, uint64_t connection UNUSED, const uint8_t *p, size_t n)
{
        struct rig *rig = arg;
        _cleanup_arena_ struct wire_arena arena = {0};
        const Swarm__Response *r = wire_unpack(&arena, &swarm__response__descriptor, p, n);

        assert_non_null(r);
        rig->n_answers++;
        if (r->code == ENOTCONN) {
                rig->n_refused++;
                assert_non_null(strstr(r->error, "the manager that leads"));
        }
        return 0;
}

static int to_peer(void *arg, uint64_t to UNUSED, const Swarm__PeerMessage *m)
{
        struct rig *rig = arg;

        rig->n_up += m->kind_case == SWARM__PEER_MESSAGE__KIND_RELAY_UP;
        return rig->peer_result;
}

static void rig_start(struct rig *rig, uint64_t leader)
{
        rig->relay = relay_new(&(struct relay_config){.id = 1,
                                                      .arg = rig,
                                                      .send = note_answer,
                                                      .send_peer = to_peer,
                                                      .on_input = note_input,
                                                      .on_gone = note_gone});
        relay_set_leader(rig->relay, leader, leader == 1);
}

/* A request of a client, as bytes. */
static struct buf request(uint64_t number)
{
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__ListRequest list = SWARM__LIST_REQUEST__INIT;
        struct buf b = {0};

        q.number = number;
        q.kind_case = SWARM__REQUEST__KIND_SERVICE_LIST;
        q.service_list = &list;
        WIRE_PACK(&q, &b);
        return b;
}

static void ask_here(struct rig *rig, uint64_t number)
{
        struct net_sender from = {.connection = 10, .is_local = true};
        _cleanup_buf_ struct buf b = request(number);

        relay_on_message(rig->relay, &from, b.data, b.len, 1000);
}

static void comes_up(struct rig *rig, uint64_t peer, uint64_t connection, const uint8_t *p,
                     size_t n, bool is_agent)
{
        static uint8_t key[NET_KEY_BYTES] = {7};
        Swarm__RelayUp up = SWARM__RELAY_UP__INIT;

        up.connection = connection;
        up.message = (ProtobufCBinaryData){n, (uint8_t *)(uintptr_t)p};
        if (is_agent)
                up.key = (ProtobufCBinaryData){sizeof(key), key};
        relay_on_up(rig->relay, peer, &up, 1000);
}

/* Asked of the leader, and not answered when the link to it breaks: whoever asked is told so, once;
 * what is asked while the other way is broken is told of when that is there again. */
static void test_asked_of_a_leader_that_is_lost(void **state UNUSED)
{
        struct rig rig = {0};

        rig_start(&rig, 2);
        ask_here(&rig, 1);
        ask_here(&rig, 2);
        assert_int_equal(rig.n_up, 2);
        relay_on_peer_broken(rig.relay, 3); /* not the one that leads */
        assert_int_equal(rig.n_answers, 0);
        relay_on_peer_broken(rig.relay, 2);
        assert_int_equal(rig.n_refused, 2);
        relay_on_peer_broken(rig.relay, 2);
        assert_int_equal(rig.n_answers, 2);
        ask_here(&rig, 3);
        relay_on_peer_broken(rig.relay, 2);
        assert_int_equal(rig.n_refused, 3);
        relay_free(rig.relay);
}

/* An answer that another manager has no room for must not vanish; messages of agents are said
 * again, and a link that is not there is told of by itself. */
static void test_overrun(void **state UNUSED)
{
        struct rig rig = {0};
        _cleanup_buf_ struct buf q = request(5);
        static const uint8_t answer[] = {0x08, 0x05};

        rig_start(&rig, 1);
        comes_up(&rig, 2, 100, AGENT_MESSAGE, sizeof(AGENT_MESSAGE), true);
        uint64_t agent = rig.number;
        comes_up(&rig, 2, 101, q.data, q.len, false);
        uint64_t client = rig.number;
        comes_up(&rig, 3, 102, q.data, q.len, false);
        uint64_t other = rig.number;
        assert_int_equal(rig.n_inputs, 3);

        rig.peer_result = -ENOTCONN;
        assert_int_equal(relay_send(rig.relay, client, answer, sizeof(answer)), -ENOTCONN);
        assert_int_equal(relay_take_overrun(rig.relay), 0);
        rig.peer_result = -EAGAIN;
        assert_int_equal(relay_send(rig.relay, agent, AGENT_MESSAGE, sizeof(AGENT_MESSAGE)),
                         -EAGAIN);
        assert_int_equal(relay_take_overrun(rig.relay), 0);
        relay_drop(rig.relay, agent);
        assert_int_equal(relay_take_overrun(rig.relay), 2);
        for (int i = 0; i < 100; i++)
                relay_send(rig.relay, client, answer, sizeof(answer));
        relay_send(rig.relay, other, answer, sizeof(answer));
        assert_int_equal(relay_take_overrun(rig.relay) + relay_take_overrun(rig.relay), 2 + 3);
        assert_int_equal(relay_take_overrun(rig.relay), 0);
        /* and then nothing is left of that manager's */
        relay_on_peer_broken(rig.relay, 2);
        assert_int_equal(rig.n_gone, 2);
        assert_int_equal(relay_send(rig.relay, client, answer, sizeof(answer)), -EHOSTUNREACH);
        relay_free(rig.relay);
}

static const char *no_leader(void *arg UNUSED)
{
        return "nobody leads";
}

/* Who tells how long it waits is told before that is over, whoever else waits for longer. */
static void test_wait(void **state UNUSED)
{
        static const struct {
                uint32_t wait_ms;
                int64_t refused_ms;
        } cases[] = {{0, RELAY_WAIT_MS}, {8000, 6000}, {60000, RELAY_WAIT_MS}};
        struct side s = {0};
        struct relay *r = relay_new(&(struct relay_config){.id = 1,
                                                           .arg = &s,
                                                           .send = on_send,
                                                           .on_input = count_input,
                                                           .on_gone = on_gone,
                                                           .no_leader = no_leader});

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                Swarm__Request q = SWARM__REQUEST__INIT;
                Swarm__Empty empty = SWARM__EMPTY__INIT;
                struct net_sender from = {.connection = 9, .key = {7}}, other = {.connection = 10};
                _cleanup_buf_ struct buf b = {0};
                int64_t from_ms = 100000 * (int64_t)(i + 1);

                s.n_sent = 0;
                relay_on_message(r, &other, REQUEST, 2, from_ms);
                q.number = 5;
                q.wait_ms = cases[i].wait_ms;
                q.kind_case = SWARM__REQUEST__KIND_INFO;
                q.info = &empty;
                WIRE_PACK(&q, &b);
                relay_on_message(r, &from, b.data, b.len, from_ms);
                relay_run(r, from_ms + cases[i].refused_ms - 1);
                assert_int_equal(s.n_sent, 0);
                relay_run(r, from_ms + cases[i].refused_ms);
                assert_int_equal(s.n_sent, cases[i].refused_ms == RELAY_WAIT_MS ? 2 : 1);
                relay_run(r, from_ms + RELAY_WAIT_MS);
                assert_int_equal(s.n_sent, 2);
        }
        relay_free(r);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_numbers),
                cmocka_unit_test(test_heard),
                cmocka_unit_test(test_asked_of_a_leader_that_is_lost),
                cmocka_unit_test(test_overrun),
                cmocka_unit_test(test_wait),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
