/* Two relays, of the manager that leads and of another one, with a link between them. */
#include "tests/lib/unit.h"

#include "manager/relay.h"

#include <errno.h>
#include <string.h>

#include "proto/control.pb-c.h"
#include "shared/base/base.h"
#include "shared/wire/wire.h"

#define MESSAGE_MAX 1000 /* to a client */
#define LEADER      1
#define FOLLOWER    2
#define THIRD       3

struct side {
        struct relay *relay, *other;
        uint64_t id;
        int n_sent, n_inputs, n_gone;
        uint64_t number; /* of the connection that said something last */
        uint64_t said;   /* the same, at the side that passed it on */
        uint64_t answer_number, answer_code;
};

struct pair {
        struct side leader, follower;
};

static int on_send(void *arg, uint64_t connection UNUSED, const uint8_t *p, size_t n)
{
        _cleanup_arena_ struct wire_arena arena = {0};
        struct side *s = arg;

        if (n > MESSAGE_MAX)
                return -EMSGSIZE;
        const Swarm__Response *m = wire_unpack(&arena, &swarm__response__descriptor, p, n);
        assert_non_null(m);
        s->n_sent++;
        s->answer_number = m->number;
        s->answer_code = m->code;
        return 0;
}

static int on_send_peer(void *arg, uint64_t to, const Swarm__PeerMessage *m)
{
        struct side *s = arg;

        if (m->kind_case == SWARM__PEER_MESSAGE__KIND_RELAY_UP)
                s->said = m->relay_up->connection;
        if (to == THIRD || !s->other)
                return 0;
        assert_int_equal(to, s->id == LEADER ? FOLLOWER : LEADER);
        if (m->kind_case == SWARM__PEER_MESSAGE__KIND_RELAY_UP)
                relay_on_up(s->other, s->id, m->relay_up, 1000);
        else
                relay_on_down(s->other, s->id, m->relay_down);
        return 0;
}

static void on_input(void *arg, const struct relay_sender *from, const uint8_t *p UNUSED,
                     size_t n UNUSED)
{
        struct side *s = arg;

        s->n_inputs++;
        s->number = from->number;
}

static void on_gone(void *arg, uint64_t number UNUSED)
{
        ((struct side *)arg)->n_gone++;
}

static void open_side(struct side *s, uint64_t id)
{
        *s = (struct side){.id = id};
        s->relay = relay_new(&(struct relay_config){.id = id,
                                                    .arg = s,
                                                    .send = on_send,
                                                    .send_peer = on_send_peer,
                                                    .on_input = on_input,
                                                    .on_gone = on_gone});
        relay_set_leader(s->relay, LEADER, id == LEADER);
}

static void pair_open(struct pair *p)
{
        open_side(&p->leader, LEADER);
        open_side(&p->follower, FOLLOWER);
        p->leader.other = p->follower.relay;
        p->follower.other = p->leader.relay;
}

static void pair_close(struct pair *p)
{
        relay_free(p->leader.relay);
        relay_free(p->follower.relay);
}

static void ask(struct side *s, uint8_t number)
{
        const uint8_t m[] = {0x08, number, 0x52, 0};
        struct net_sender from = {.connection = 9, .key = {7}};

        relay_on_message(s->relay, &from, m, sizeof(m), 1000);
}

/* The other manager need not hear of it: this one may lead again at once. */
static void test_a_lead_that_is_lost(void **state UNUSED)
{
        static const uint8_t answer[] = {0x08, 6};
        struct pair p;

        pair_open(&p);
        ask(&p.follower, 5);
        uint64_t number = p.leader.number;
        relay_set_leader(p.leader.relay, 0, false);
        assert_int_equal(p.follower.n_sent, 1);
        assert_int_equal(p.follower.answer_number, 5);
        assert_int_equal(p.follower.answer_code, ENOTCONN);
        assert_int_equal(relay_send(p.leader.relay, number, answer, sizeof(answer)), -EHOSTUNREACH);
        relay_set_leader(p.leader.relay, LEADER, true);
        ask(&p.follower, 6);
        assert_int_equal(p.leader.n_inputs, 2);
        assert_true(p.leader.number > number);
        assert_int_equal(relay_send(p.leader.relay, p.leader.number, answer, sizeof(answer)), 0);
        assert_int_equal(p.follower.n_sent, 2);
        assert_int_equal(p.follower.answer_number, 6);
        /* only what is asked of this very manager is lost with it */
        ask(&p.follower, 7);
        p.leader.other = NULL; /* what it says is late */
        relay_set_leader(p.follower.relay, THIRD, false);
        assert_int_equal(p.follower.n_sent, 3);
        ask(&p.follower, 8);
        Swarm__RelayDown late = SWARM__RELAY_DOWN__INIT;
        late.connection = p.follower.said;
        late.is_lost = true;
        relay_on_down(p.follower.relay, LEADER, &late);
        assert_int_equal(p.follower.n_sent, 3);
        relay_on_down(p.follower.relay, THIRD, &late);
        assert_int_equal(p.follower.n_sent, 4);
        assert_int_equal(p.follower.answer_number, 8);
        pair_close(&p);
}

/* What comes to a manager that does not lead is turned away, and leaves nothing there. */
static void test_at_the_wrong_manager(void **state UNUSED)
{
        struct pair p;

        pair_open(&p);
        relay_set_leader(p.leader.relay, THIRD, false);
        ask(&p.follower, 5);
        assert_int_equal(p.follower.n_sent, 1);
        assert_int_equal(p.follower.answer_number, 5);
        assert_int_equal(p.follower.answer_code, ENOTCONN);
        /* nor what waited there for a leader */
        relay_set_leader(p.leader.relay, 0, false);
        ask(&p.follower, 6);
        assert_int_equal(p.follower.n_sent, 1);
        relay_set_leader(p.leader.relay, THIRD, false);
        assert_int_equal(p.follower.n_sent, 2);
        assert_int_equal(p.follower.answer_number, 6);
        relay_set_leader(p.leader.relay, LEADER, true);
        relay_on_peer_broken(p.leader.relay, FOLLOWER);
        assert_int_equal(p.leader.n_gone, 0);
        assert_int_equal(p.leader.n_inputs, 0);
        pair_close(&p);
}

/* To a client here, and to one at another manager: its link takes more than its connection. */
static void test_large_answer(void **state UNUSED)
{
        static const uint8_t REQUEST_5[] = {0x08, 5, 0x52, 0};
        _cleanup_free_ uint8_t *large = xcalloc(1, MESSAGE_MAX + 1);
        struct net_sender from = {.connection = 9, .key = {7}};
        struct pair p;

        large[0] = 0x08;
        large[1] = 5;
        pair_open(&p);
        for (int i = 0; i < 2; i++) {
                struct side *s = i ? &p.follower : &p.leader;

                relay_on_message(s->relay, &from, REQUEST_5, sizeof(REQUEST_5), 1000);
                assert_int_equal(p.leader.n_inputs, i + 1);
                relay_send(p.leader.relay, p.leader.number, large, MESSAGE_MAX + 1);
                assert_int_equal(s->n_sent, 1);
                assert_int_equal(s->answer_number, 5);
                assert_int_equal(s->answer_code, EMSGSIZE);
        }
        /* each has its answer: there is nothing to be said when the leader is lost */
        relay_set_leader(p.leader.relay, 0, false);
        relay_set_leader(p.follower.relay, 0, false);
        assert_int_equal(p.leader.n_sent, 1);
        assert_int_equal(p.follower.n_sent, 1);
        pair_close(&p);
}

/* What is asked and not answered is remembered, so it is bounded: at either manager. */
static void test_asks_too_much(void **state UNUSED)
{
        uint8_t m[] = {0x08, 0x80, 1, 0x52, 0}, answer[] = {0x08, 0x80, 1};
        struct net_sender from = {.connection = 9, .key = {7}};
        struct pair p;

        pair_open(&p);
        for (int i = 0; i < 2; i++) {
                struct side *s = i ? &p.follower : &p.leader;
                int before = p.leader.n_inputs;

                for (int k = 0; k < RELAY_ASKED_MAX; k++)
                        relay_on_message(s->relay, &from, m, sizeof(m), 1000);
                assert_int_equal(p.leader.n_inputs - before, RELAY_ASKED_MAX);
                assert_int_equal(s->n_sent, 0);
                relay_on_message(s->relay, &from, m, sizeof(m), 1000);
                assert_int_equal(p.leader.n_inputs - before, RELAY_ASKED_MAX);
                assert_int_equal(s->answer_code, EAGAIN);
                /* the refusal and the answer make room for two */
                relay_send(p.leader.relay, p.leader.number, answer, sizeof(answer));
                for (int k = 0; k < 3; k++)
                        relay_on_message(s->relay, &from, m, sizeof(m), 1000);
                assert_int_equal(p.leader.n_inputs - before, RELAY_ASKED_MAX + 2);
        }
        pair_close(&p);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_asks_too_much),
                cmocka_unit_test(test_a_lead_that_is_lost),
                cmocka_unit_test(test_at_the_wrong_manager),
                cmocka_unit_test(test_large_answer),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
