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

struct side {
        struct relay *relay, *other;
        uint64_t id;
        int n_sent, n_inputs, n_dropped;
        uint64_t number; /* of the connection that said something last */
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

        assert_int_equal(to, s->id == LEADER ? FOLLOWER : LEADER);
        if (m->kind_case == SWARM__PEER_MESSAGE__KIND_RELAY_UP)
                relay_on_up(s->other, s->id, m->relay_up, 1000);
        else
                relay_on_down(s->other, m->relay_down);
        return 0;
}

static void on_drop(void *arg, uint64_t connection UNUSED)
{
        ((struct side *)arg)->n_dropped++;
}

static void on_input(void *arg, const struct relay_sender *from, const uint8_t *p UNUSED,
                     size_t n UNUSED)
{
        struct side *s = arg;

        s->n_inputs++;
        s->number = from->number;
}

static void on_gone(void *arg UNUSED, uint64_t number UNUSED)
{
}

static void open_side(struct side *s, uint64_t id)
{
        *s = (struct side){.id = id};
        s->relay = relay_new(&(struct relay_config){.id = id,
                                                    .arg = s,
                                                    .send = on_send,
                                                    .send_peer = on_send_peer,
                                                    .drop = on_drop,
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
                cmocka_unit_test(test_large_answer),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
