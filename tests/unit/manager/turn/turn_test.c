/* The turn itself: its queue and bounds, garbage, and that equal input gives equal output. */
#include "tests/lib/unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "shared/base/base.h"
#include "tests/lib/turn_rig.h"

static void test_garbage(void **state UNUSED)
{
        static const uint8_t key[32];
        struct core r;
        struct rng rng = {1};
        int bad = 0;

        core_open(&r);
        assert_int_equal(turn_input_client(r.turn, (struct peer){.connection = 1},
                                           (const uint8_t *)"\xff\xff\xff", 3),
                         -EBADMSG);
        assert_int_equal(turn_input_agent(r.turn, (struct peer){.connection = 1}, key,
                                          (const uint8_t *)"\x12\x7f", 2),
                         -EBADMSG);
        assert_false(turn_has_inputs(r.turn));
        /* whatever comes, in whatever order, the turn copes */
        for (int i = 0; i < 20000; i++) {
                uint8_t p[24];
                size_t n = (size_t)rng_below(&rng, sizeof(p));

                for (size_t k = 0; k < n; k++)
                        p[k] = (uint8_t)(rng_below(&rng, 3) ? rng_below(&rng, 48)
                                                            : rng_below(&rng, 256));
                bad += turn_input_client(r.turn, (struct peer){.connection = 1}, p, n) == -EBADMSG;
                bad += turn_input_agent(r.turn, (struct peer){.connection = 1}, key, p, n) ==
                       -EBADMSG;
                if (i % 100 == 0)
                        core_run(&r);
        }
        core_run(&r);
        assert_true(bad > 1000);
        assert_int_equal(store_nodes(r.store)->len, 0);
        assert_int_equal(store_services(r.store)->len, 0);
        core_close(&r);
}

static void test_queue_is_bounded(void **state UNUSED)
{
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__Empty empty = SWARM__EMPTY__INIT;
        _cleanup_buf_ struct buf b = {0};
        struct core r;
        size_t n = 0;

        core_open(&r);
        q.kind_case = SWARM__REQUEST__KIND_INFO;
        q.info = &empty;
        WIRE_PACK(&q, &b);
        while (turn_input_client(r.turn, (struct peer){.connection = 1}, b.data, b.len) == 0)
                n++;
        assert_int_equal(n, TURN_INPUTS_MAX);
        assert_int_equal(turn_input_client(r.turn, (struct peer){.connection = 1}, b.data, b.len),
                         -EAGAIN);
        core_run(&r);
        assert_false(turn_has_inputs(r.turn));
        assert_int_equal(turn_input_client(r.turn, (struct peer){.connection = 1}, b.data, b.len),
                         0);
        core_close(&r);
}

/* Whoever is no node fills a small part of the queue, and nobody else's. */
static void test_strangers_are_bounded(void **state UNUSED)
{
        Swarm__AgentMessage m = SWARM__AGENT_MESSAGE__INIT;
        Swarm__Join join = SWARM__JOIN__INIT;
        Swarm__NodeDescription description = SWARM__NODE_DESCRIPTION__INIT;
        _cleanup_buf_ struct buf large = {0}, fits = {0};
        _cleanup_free_ char *secret = xcalloc(1, TURN_STRANGER_BYTES + 1);
        const struct peer stranger = {.connection = 5};
        uint8_t key[32] = "no node's";
        struct core_node n;
        struct core r;
        size_t taken = 0;

        core_open(&r);
        core_add_node(&r, "w1", &n);
        memset(secret, 'x', TURN_STRANGER_BYTES);
        join.secret = secret;
        join.description = &description;
        m.kind_case = SWARM__AGENT_MESSAGE__KIND_JOIN;
        m.join = &join;
        WIRE_PACK(&m, &large);
        assert_int_equal(turn_input_agent(r.turn, stranger, key, large.data, large.len), -EBADMSG);
        secret[TURN_STRANGER_BYTES - 1000] = 0;
        WIRE_PACK(&m, &fits);
        while (turn_input_agent(r.turn, stranger, key, fits.data, fits.len) == 0)
                taken++;
        assert_int_equal(taken, 64);
        core_heartbeat(&r, &n, 0); /* is heard all the same */
        core_run(&r);
        assert_non_null(core_take_message(&r, (struct peer){.node = n.id},
                                          SWARM__MANAGER_MESSAGE__KIND_HEARTBEAT));
        assert_int_equal(turn_input_agent(r.turn, stranger, key, fits.data, fits.len), 0);
        core_close(&r);
}

static void test_turn_is_bounded(void **state UNUSED)
{
        struct core_node n;
        struct core r;
        int turns = 0;

        core_open(&r);
        core_add_image(&r);
        core_add_node(&r, "w1", &n);
        core_add_service(&r, "web", TURN_CHANGES_MAX / 10 * 26);
        for (; r.due <= r.now.mono_ms && turns < 20; turns++) {
                core_run(&r);
                assert_true(r.changes <= TURN_CHANGES_MAX + 1000);
        }
        assert_int_equal(store_tasks(r.store)->len, TURN_CHANGES_MAX / 10 * 26);
        assert_true(turns >= 3 && turns < 20);
        core_close(&r);
}

#define WORDY_NODES 200

/* A node that says as much of itself as it can. */
static void say_wordy_register(struct core *r, const char *hostname, const struct core_node *n)
{
        static char keys[200][8], value[251];
        Swarm__KeyValue labels[200], *of[200];
        Swarm__AgentMessage m = SWARM__AGENT_MESSAGE__INIT;
        Swarm__Register reg = SWARM__REGISTER__INIT;
        Swarm__NodeDescription d;
        Swarm__Resources capacity;

        memset(value, 'x', sizeof(value) - 1);
        for (size_t i = 0; i < ARRAY_SIZE(of); i++) {
                snprintf(keys[i], sizeof(keys[i]), "k%zu", i);
                of[i] = &labels[i];
                swarm__key_value__init(of[i]);
                of[i]->key = keys[i];
                of[i]->value = value;
        }
        core_describe(&d, &capacity, hostname);
        d.engine_labels = of;
        d.n_engine_labels = ARRAY_SIZE(of);
        reg.description = &d;
        m.kind_case = SWARM__AGENT_MESSAGE__KIND_REGISTER;
        m.register_ = &reg;
        core_say(r, (struct peer){.connection = n->connection, .node = n->id}, n->key, &m);
}

/* Few objects can be many bytes, whether inputs change them or time does. */
static void test_entry_is_bounded(void **state UNUSED)
{
        static char names[WORDY_NODES][8];
        struct core_node n[WORDY_NODES];
        size_t bytes = 0, n_down = 0, i;
        struct node *node;
        struct core r;

        core_open(&r);
        for (i = 0; i < WORDY_NODES; i++) {
                snprintf(names[i], sizeof(names[i]), "n%zu", i);
                core_add_node(&r, names[i], &n[i]);
        }
        for (i = 0; i < WORDY_NODES; i++)
                say_wordy_register(&r, names[i], &n[i]);
        while (turn_has_inputs(r.turn)) {
                core_run(&r);
                assert_in_range(r.entry_bytes, 1, 4 << 20);
                bytes += r.entry_bytes;
        }
        assert_in_range(bytes, 9 << 20, 100 << 20);
        for (int turns = 0; n_down < WORDY_NODES; turns++) {
                core_advance(&r, r.due > r.now.mono_ms ? r.due - r.now.mono_ms : 0);
                assert_in_range(r.entry_bytes, 0, 4 << 20);
                assert_in_range(turns, 0, 1000);
                n_down = 0;
                MAP_FOREACH (node, i, store_nodes(r.store))
                        n_down += node->state == NODE_DOWN;
        }
        core_close(&r);
}

static size_t count_bytes(const struct core *r)
{
        const struct effect *e;
        size_t n = 0;

        LIST_FOREACH (e, &r->effects, link)
                n += e->bytes.len;
        return n;
}

/* Long answers are given over several turns, each to its end and in order. */
static void test_answers_are_bounded(void **state UNUSED)
{
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__ListRequest list = SWARM__LIST_REQUEST__INIT;
        _cleanup_buf_ struct buf b = {0};
        struct core r;
        uint64_t next = 100;
        int turns = 0;

        core_open(&r);
        core_add_image(&r);
        core_add_service(&r, "web", 40000);
        while (r.due <= r.now.mono_ms)
                core_run(&r);
        core_drop_effects(&r);
        q.protocol = CONTROL_PROTOCOL;
        q.kind_case = SWARM__REQUEST__KIND_TASK_LIST;
        q.task_list = &list;
        for (q.number = next; q.number < 120; q.number++) {
                buf_clear(&b);
                WIRE_PACK(&q, &b);
                assert_int_equal(
                        turn_input_client(r.turn, (struct peer){.connection = 7}, b.data, b.len),
                        0);
        }
        for (; turn_has_inputs(r.turn); turns++) {
                const Swarm__Response *m;

                core_run(&r);
                assert_true(count_bytes(&r) < TURN_EFFECT_BYTES_MAX + (10u << 20));
                if (turn_has_inputs(r.turn))
                        assert_int_equal(r.due, r.now.mono_ms);
                while ((m = core_take_response(&r, 7))) {
                        assert_int_equal(m->number, next);
                        next += !m->more;
                        wire_arena_reset(&r.arena);
                }
        }
        assert_int_equal(next, 120);
        assert_true(turns > 1);
        core_close(&r);
}

/* A short story; returns a hash of the state and of all effects. */
static uint64_t tell_story(void)
{
        struct core_node n[2];
        struct core r;
        struct effect *e;
        uint64_t hash;
        size_t i;
        struct task *t;

        core_open(&r);
        core_add_image(&r);
        core_add_node(&r, "w1", &n[0]);
        core_add_node(&r, "w2", &n[1]);
        core_add_service(&r, "web", 20);
        MAP_FOREACH (t, i, store_tasks(r.store))
                core_status(&r, id_is_equal(t->node->id, n[0].id) ? &n[0] : &n[1], i + 1, i + 1,
                            t->id, t->slot % 3 ? TASK_RUNNING : TASK_FAILED, "");
        for (int k = 0; k < 20; k++)
                core_advance(&r, 1000);
        hash = store_hash(r.store);
        LIST_FOREACH (e, &r.effects, link)
                for (size_t k = 0; k < e->bytes.len; k++)
                        hash = (hash ^ e->bytes.data[k]) * 0x100000001b3u;
        core_close(&r);
        return hash;
}

static void test_is_deterministic(void **state UNUSED)
{
        assert_true(tell_story() == tell_story());
}

static void count_breath(void *arg)
{
        ++*(size_t *)arg;
}

/* Whatever goes through very many tasks lets a leader say that it is there. */
static void test_long_work_breathes(void **state UNUSED)
{
        size_t n_breaths = 0, parts = 0;
        struct turn_config config = {.seed = 2, .version = "1.0", .hostname = "manager-1"};
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__ListRequest list = SWARM__LIST_REQUEST__INIT;
        const Swarm__Response *a;
        struct core r;

        core_open(&r);
        core_add_image(&r);
        core_add_service(&r, "web", 10 * OBJECTS_PER_BREATH);
        while (r.due <= r.now.mono_ms)
                core_run(&r);
        core_drop_effects(&r);
        turn_free(r.turn);
        config.breath = (struct breath){&n_breaths, count_breath};
        r.turn = turn_new(r.store, &config, r.now);
        assert_in_range(n_breaths, 10, 20);
        core_run(&r);
        n_breaths = 0;
        q.kind_case = SWARM__REQUEST__KIND_TASK_LIST;
        q.task_list = &list;
        core_send(&r, 1, &q);
        assert_in_range(n_breaths, 10, 20);
        do {
                a = core_take_response(&r, 1);
                assert_non_null(a);
                parts++;
        } while (a->more);
        assert_true(parts > 1);
        core_close(&r);
}

/* A new leader looks at all slots: not in one go. */
static void test_first_looks_are_many_turns(void **state UNUSED)
{
        struct turn_config config = {.seed = 2, .version = "1.0", .hostname = "manager-1"};
        size_t n_turns = 0;
        struct core r;

        core_open(&r);
        core_add_image(&r);
        core_add_service(&r, "web", 250000);
        while (r.due <= r.now.mono_ms)
                core_run(&r);
        core_drop_effects(&r);
        turn_free(r.turn);
        r.turn = turn_new(r.store, &config, r.now);
        do {
                core_run(&r);
                assert_int_equal(r.changes, 0);
                n_turns++;
        } while (r.due <= r.now.mono_ms);
        assert_in_range(n_turns, 3, 4);
        core_close(&r);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_garbage),
                cmocka_unit_test(test_queue_is_bounded),
                cmocka_unit_test(test_strangers_are_bounded),
                cmocka_unit_test(test_turn_is_bounded),
                cmocka_unit_test(test_entry_is_bounded),
                cmocka_unit_test(test_answers_are_bounded),
                cmocka_unit_test(test_is_deterministic),
                cmocka_unit_test(test_long_work_breathes),
                cmocka_unit_test(test_first_looks_are_many_turns),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
