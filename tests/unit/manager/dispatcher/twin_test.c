/* A node's key on two machines: who has the session, who waits, who is refused. */
#include "tests/lib/unit.h"

#include <errno.h>

#include "manager/dispatcher/dispatcher_internal.h"
#include "shared/base/base.h"
#include "shared/base/str.h"
#include "tests/lib/turn_rig.h"

#define KIND(k) SWARM__MANAGER_MESSAGE__KIND_##k

enum outcome { WAITS, HAS_SESSION, IS_REFUSED };

static struct core r;
static struct core_node first, second;

/* Registers, each time over a new connection, and says how that went. */
static enum outcome ask(struct core_node *n)
{
        static uint64_t connections = 100;
        const Swarm__ManagerMessage *m;

        n->connection = ++connections;
        core_say_register(&r, "w1", n);
        core_run(&r);
        m = core_take_message(&r, (struct peer){.connection = n->connection}, KIND(REFUSED));
        if (m) {
                assert_int_equal(m->refused->code, ENOTUNIQ);
                assert_string_equal(m->refused->text, "node key in use on another machine (w1, )");
                return IS_REFUSED;
        }
        m = core_take_message(&r, (struct peer){.node = n->id}, KIND(SESSION_START));
        if (!m)
                return WAITS;
        assert_int_equal(wire_get_id(&m->session_start->session, &n->session), 0);
        return HAS_SESSION;
}

static enum outcome ask_after(struct core_node *n, int64_t ms)
{
        core_advance(&r, ms);
        return ask(n);
}

static bool is_heard(struct core_node *n)
{
        core_heartbeat(&r, n, 0);
        core_run(&r);
        return core_take_message(&r, (struct peer){.node = n->id}, KIND(HEARTBEAT)) != NULL;
}

static struct node *node(void)
{
        return store_find_node(r.store, first.id);
}

static int setup(void **state UNUSED)
{
        core_open(&r);
        core_add_node(&r, "w1", &first);
        second = first;
        first.host = "boot-1";
        second.host = "boot-2";
        assert_int_equal(ask(&first), HAS_SESSION);
        core_drop_effects(&r);
        return 0;
}

static int teardown(void **state UNUSED)
{
        core_close(&r);
        return 0;
}

static void test_the_second_is_refused(void **state UNUSED)
{
        assert_int_equal(ask_after(&second, 500), WAITS);
        assert_int_equal(ask_after(&second, 400), WAITS);
        assert_true(is_heard(&first));
        assert_int_equal(ask_after(&second, 600), IS_REFUSED);
        assert_string_equal(node()->message,
                            "its key is in use on another machine, which is refused (w1, )");
        uint64_t version = node()->version;
        assert_int_equal(ask_after(&second, 1000), IS_REFUSED);
        assert_true(is_heard(&first));
        assert_int_equal(node()->version, version);
        assert_int_equal(node()->state, NODE_READY);
        /* the first goes on, also over another connection */
        assert_int_equal(ask_after(&first, 100), HAS_SESSION);
        assert_int_equal(ask_after(&second, 1), IS_REFUSED);
}

/* Nothing of it is slower than without a second machine. */
static void test_one_machine_is_never_kept_waiting(void **state UNUSED)
{
        assert_int_equal(ask_after(&first, 1), HAS_SESSION); /* restarted, or moved */
        assert_true(is_heard(&first));
        assert_int_equal(ask_after(&second, DEFAULT_SUSPECT_MS), HAS_SESSION); /* booted anew */
        assert_int_equal(ask_after(&second, 1), HAS_SESSION);
        assert_true(is_heard(&second));
        second.host = NULL; /* an agent of before hosts were told */
        assert_int_equal(ask_after(&second, 1), HAS_SESSION);
        assert_int_equal(ask_after(&first, 1), HAS_SESSION);
}

static void test_one_that_died_is_replaced_soon(void **state UNUSED)
{
        assert_true(is_heard(&first));
        assert_int_equal(ask_after(&second, 100), WAITS);
        assert_int_equal(ask_after(&second, 1000), WAITS);
        assert_int_equal(ask_after(&second, 1000), HAS_SESSION);
        assert_true(is_heard(&second));
        assert_null(node()->message);
}

static void test_it_may_be_a_third(void **state UNUSED)
{
        struct core_node third = second;

        third.host = "boot-3";
        assert_int_equal(ask_after(&second, 100), WAITS);
        assert_true(is_heard(&first));
        assert_int_equal(ask_after(&third, 100), WAITS);
        core_advance(&r, 1);
        assert_true(is_heard(&first));
        assert_int_equal(ask_after(&third, 100), IS_REFUSED);
}

/* A second that was proven to be one does not take over as soon as the first is cut off. */
static void test_the_first_is_waited_for(void **state UNUSED)
{
        assert_int_equal(ask_after(&second, 100), WAITS);
        core_advance(&r, 100);
        assert_true(is_heard(&first));
        assert_int_equal(ask_after(&second, 100), IS_REFUSED);
        for (int i = 0; i < (DEFAULT_DOWN_MS + DEFAULT_MASS_FAILURE_MS) / 500; i++)
                core_advance(&r, 500);
        assert_int_equal(node()->state, NODE_DOWN);
        assert_int_equal(ask_after(&second, 100), IS_REFUSED);
        assert_int_equal(node()->state, NODE_DOWN);
        assert_int_equal(ask_after(&second, TWIN_MS), HAS_SESSION);
}

static void test_a_new_leader_knows_the_first(void **state UNUSED)
{
        struct turn_config config = {.seed = 5};

        turn_free(r.turn);
        r.turn = turn_new(r.store, &config, r.now);
        assert_int_equal(ask_after(&second, 100), WAITS);
        assert_int_equal(ask_after(&first, 100), HAS_SESSION);
        assert_int_equal(ask_after(&second, 100), IS_REFUSED);

        turn_free(r.turn);
        r.turn = turn_new(r.store, &config, r.now);
        assert_int_equal(ask_after(&second, 100), WAITS);
        assert_int_equal(ask_after(&second, RECONNECT_MS), HAS_SESSION);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_the_second_is_refused),
                TEST(test_one_machine_is_never_kept_waiting),
                TEST(test_one_that_died_is_replaced_soon),
                TEST(test_it_may_be_a_third),
                TEST(test_the_first_is_waited_for),
                TEST(test_a_new_leader_knows_the_first),
        };

        return cmocka_run_group_tests_name("twin", tests, NULL, NULL);
}
