/* Which nodes are silent, and what becomes of them: also through a change of leader. */
#include "tests/lib/unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "shared/base/base.h"
#include "shared/wire/wire.h"
#include "tests/lib/turn_rig.h"

static bool warns(struct core *r)
{
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__Empty empty = SWARM__EMPTY__INIT;

        q.kind_case = SWARM__REQUEST__KIND_INFO;
        q.info = &empty;
        return *core_ask(r, &q)->info->warning != 0;
}

static enum node_state state_of(struct core *r, const struct core_node *n)
{
        return store_find_node(r->store, n->id)->state;
}

/* All nodes given say that they live, once a period, for so long. */
static void live(struct core *r, const struct core_node *nodes, size_t n, int64_t ms)
{
        for (; ms > 0; ms -= 500) {
                for (size_t i = 0; i < n; i++)
                        core_heartbeat(r, &nodes[i], 1000000);
                core_advance(r, 500);
        }
        core_drop_effects(r);
}

static struct task *only_task(struct core *r)
{
        size_t i = 0;

        assert_int_equal(store_tasks(r->store)->len, 1);
        return map_next(store_tasks(r->store), &i);
}

/* --- silence ------------------------------------------------------------------------------------
 */
static void test_suspect_down_return(void **state UNUSED)
{
        struct core_node n[3];
        static const char *const names[] = {"w1", "w2", "w3"};
        struct core r;

        core_open(&r);
        for (size_t i = 0; i < 3; i++)
                core_add_node(&r, names[i], &n[i]);
        live(&r, n, 3, 15000); /* beyond what a start allows */
        live(&r, n, 2, 1500);
        assert_int_equal(state_of(&r, &n[2]), NODE_READY);
        live(&r, n, 2, 1500);
        assert_int_equal(state_of(&r, &n[2]), NODE_SUSPECT);
        core_heartbeat(&r, &n[2], 0);
        core_run(&r);
        assert_int_equal(state_of(&r, &n[2]), NODE_READY);

        live(&r, n, 2, 4500);
        assert_int_equal(state_of(&r, &n[2]), NODE_SUSPECT);
        live(&r, n, 2, 1000);
        assert_int_equal(state_of(&r, &n[2]), NODE_DOWN);
        assert_int_equal(state_of(&r, &n[0]), NODE_READY);

        /* its session is over: it must register, and is ready then */
        core_heartbeat(&r, &n[2], 0);
        core_run(&r);
        const Swarm__ManagerMessage *m = core_take_message(&r, (struct peer){.node = n[2].id},
                                                           SWARM__MANAGER_MESSAGE__KIND_REFUSED);
        assert_non_null(m);
        assert_int_equal(m->refused->code, ESTALE);
        assert_int_equal(state_of(&r, &n[2]), NODE_DOWN);
        core_register(&r, "w3", &n[2]);
        assert_int_equal(state_of(&r, &n[2]), NODE_READY);
        core_close(&r);
}

static void test_mass_failure(void **state UNUSED)
{
        struct core_node n[3];
        static const char *const names[] = {"w1", "w2", "w3"};
        struct core r;

        core_open(&r);
        for (size_t i = 0; i < 3; i++)
                core_add_node(&r, names[i], &n[i]);
        live(&r, n, 3, 15000);
        assert_false(warns(&r));
        live(&r, n, 1, 10000);
        assert_int_equal(state_of(&r, &n[1]), NODE_SUSPECT);
        assert_true(warns(&r));

        /* one of them comes back: the other has a full period to do so too */
        core_heartbeat(&r, &n[1], 0);
        core_run(&r);
        assert_int_equal(state_of(&r, &n[2]), NODE_SUSPECT);
        assert_false(warns(&r));
        live(&r, n, 2, 4000);
        assert_int_equal(state_of(&r, &n[2]), NODE_SUSPECT);
        live(&r, n, 2, 2000);
        assert_int_equal(state_of(&r, &n[2]), NODE_DOWN);

        /* nobody comes back: after the wait they are replaced all the same */
        live(&r, n, 0, 60000);
        assert_int_equal(state_of(&r, &n[0]), NODE_SUSPECT);
        live(&r, n, 0, 10000);
        assert_int_equal(state_of(&r, &n[0]), NODE_DOWN);
        core_close(&r);
}

/* When the wait is over, those that fell silent together are declared down one after the other,
 * each at its time: that fewer are only suspect then does not mean that they come back. */
static void test_mass_failure_in_turn(void **state UNUSED)
{
        struct core_node n[5];
        static const char *const names[] = {"w1", "w2", "w3", "w4", "w5"};
        struct core r;

        core_open(&r);
        for (size_t i = 0; i < 5; i++)
                core_add_node(&r, names[i], &n[i]);
        live(&r, n, 5, 15000);
        live(&r, n, 4, 1000);
        live(&r, n, 3, 1000);
        live(&r, n, 2, DEFAULT_DOWN_MS + DEFAULT_MASS_FAILURE_MS - 3500);
        for (size_t i = 2; i < 5; i++)
                assert_int_equal(state_of(&r, &n[i]), NODE_SUSPECT);
        live(&r, n, 2, 4000);
        for (size_t i = 2; i < 5; i++)
                assert_int_equal(state_of(&r, &n[i]), NODE_DOWN);
        assert_int_equal(state_of(&r, &n[0]), NODE_READY);
        assert_false(warns(&r));
        core_close(&r);
}

/* A manager that starts waits for agents to find it; one that slept blames itself. */
static void test_start_and_stall(void **state UNUSED)
{
        static const struct turn_config config = {.seed = 2, .version = "", .hostname = "m"};
        struct core_node n[3];
        static const char *const names[] = {"w1", "w2", "w3"};
        struct core r;

        core_open(&r);
        for (size_t i = 0; i < 3; i++)
                core_add_node(&r, names[i], &n[i]);
        turn_free(r.turn);
        r.now.mono_ms += 3600000;
        r.turn = turn_new(r.store, &config, r.now);
        core_run(&r);
        for (size_t i = 0; i < 2; i++)
                core_register(&r, names[i], &n[i]);
        live(&r, n, 2, 12000);
        assert_int_equal(state_of(&r, &n[2]), NODE_SUSPECT);
        live(&r, n, 2, 2000);
        assert_int_equal(state_of(&r, &n[2]), NODE_DOWN);

        core_advance(&r, 60000); /* nothing ran for a minute */
        assert_int_equal(state_of(&r, &n[0]), NODE_READY);
        live(&r, n, 2, 10000);
        assert_int_equal(state_of(&r, &n[0]), NODE_READY);
        core_close(&r);
}

/* A new leader goes on from what other managers heard; whatever they say, a node gets a moment to
 * speak here, and the newest word counts. */
static void test_heard_elsewhere(void **state UNUSED)
{
        static const struct turn_config config = {.seed = 2, .version = "", .hostname = "m"};
        static const char *const names[] = {"w1", "w2", "w3", "w4", "w5", "w6", "w7"};
        struct core_node n[7];
        struct core r;

        core_open(&r);
        for (size_t i = 0; i < 7; i++)
                core_add_node(&r, names[i], &n[i]);
        turn_free(r.turn);
        r.turn = turn_new(r.store, &config, r.now);
        core_run(&r);
        for (size_t i = 0; i < 4; i++)
                core_register(&r, names[i], &n[i]);
        int64_t now_ms = r.now.mono_ms;
        turn_input_heard(r.turn, n[4].id, now_ms - 1000, false);
        turn_input_heard(r.turn, n[5].id, now_ms - 9000, false);
        turn_input_heard(r.turn, n[6].id, now_ms - 9000, false);
        turn_input_heard(r.turn, n[6].id, now_ms - 500, false);
        turn_input_heard(r.turn, n[6].id, now_ms - 2500, false);
        core_run(&r);
        live(&r, n, 4, 1500);
        assert_int_not_equal(state_of(&r, &n[5]), NODE_DOWN);
        assert_int_equal(state_of(&r, &n[6]), NODE_SUSPECT);
        live(&r, n, 4, 500);
        assert_int_equal(state_of(&r, &n[5]), NODE_DOWN);
        live(&r, n, 4, 1500);
        assert_int_not_equal(state_of(&r, &n[4]), NODE_DOWN);
        live(&r, n, 4, 500);
        assert_int_equal(state_of(&r, &n[4]), NODE_DOWN);
        assert_int_not_equal(state_of(&r, &n[6]), NODE_DOWN);
        core_register(&r, names[6], &n[6]);
        assert_int_equal(state_of(&r, &n[6]), NODE_READY);
        /* late news of one that speaks here change nothing */
        turn_input_heard(r.turn, n[6].id, now_ms - 9000, false);
        core_run(&r);
        live(&r, n, 4, 1500);
        assert_int_equal(state_of(&r, &n[6]), NODE_READY);
        for (size_t i = 0; i < 4; i++)
                assert_int_equal(state_of(&r, &n[i]), NODE_READY);
        core_close(&r);
}

/* One that another manager lost sight of may have gone to one whose machine vanished since: it
 * needs its time to see that. */
static void test_lost_sight_of(void **state UNUSED)
{
        static const struct turn_config again = {.seed = 2, .version = "", .hostname = "m"};
        static const char *const names[] = {"w1", "w2", "w3", "w4", "w5"};
        struct core_node n[5];
        struct core r;

        core_open(&r);
        for (size_t i = 0; i < 5; i++)
                core_add_node(&r, names[i], &n[i]);
        turn_free(r.turn);
        r.turn = turn_new(r.store, &again, r.now);
        turn_input_heard(r.turn, n[3].id, r.now.mono_ms - 9500, false);
        turn_input_heard(r.turn, n[4].id, r.now.mono_ms - 9500, true);
        core_run(&r);
        for (size_t i = 0; i < 3; i++)
                core_register(&r, names[i], &n[i]);
        live(&r, n, 3, 2500);
        assert_int_equal(state_of(&r, &n[3]), NODE_DOWN);
        live(&r, n, 3, 5000);
        assert_int_not_equal(state_of(&r, &n[4]), NODE_DOWN);
        live(&r, n, 3, 1000);
        assert_int_equal(state_of(&r, &n[4]), NODE_DOWN);
        core_close(&r);
}

/* A new leader is told of all nodes at once, in any order: each is judged at its own time. */
static void test_told_in_any_order(void **state UNUSED)
{
        enum { N = 200, LIVE = 150 };
        static const struct turn_config again = {.seed = 2, .version = "", .hostname = "m"};
        static char names[N][8];
        static struct core_node n[N];
        struct core r;

        core_open(&r);
        for (size_t i = 0; i < N; i++) {
                snprintf(names[i], sizeof(names[i]), "w%zu", i);
                core_add_node(&r, names[i], &n[i]);
                core_drop_effects(&r);
        }
        turn_free(r.turn);
        r.turn = turn_new(r.store, &again, r.now);
        for (size_t i = 0; i < N; i++) { /* up to 2.985 s ago */
                size_t k = (i * 77) % N;

                turn_input_heard(r.turn, n[k].id, r.now.mono_ms - (int64_t)k * 15, false);
        }
        core_run(&r);
        for (size_t i = 0; i < LIVE; i++)
                core_register(&r, names[i], &n[i]);
        for (int64_t passed = 0; passed <= 6000; passed += 500) {
                size_t n_down = 0, n_due = 0;

                for (size_t i = 0; i < N; i++) {
                        n_down += i >= LIVE && state_of(&r, &n[i]) == NODE_DOWN;
                        n_due += i >= LIVE && (int64_t)i * 15 + passed >= DEFAULT_DOWN_MS;
                        assert_false(i < LIVE && state_of(&r, &n[i]) == NODE_DOWN);
                }
                assert_int_equal(n_down, n_due);
                live(&r, n, LIVE, 500);
        }
        core_close(&r);
}

/* A manager that leads again has nodes in its store that were suspect when it led before. */
static void test_suspect_of_before(void **state UNUSED)
{
        static const struct turn_config config = {.seed = 2, .version = "", .hostname = "m"};
        static const char *const names[] = {"w1", "w2", "w3"};
        struct core_node n[3];
        struct core r;

        core_open(&r);
        for (size_t i = 0; i < 3; i++)
                core_add_node(&r, names[i], &n[i]);
        live(&r, n, 2, 3000);
        assert_int_equal(state_of(&r, &n[2]), NODE_SUSPECT);
        turn_free(r.turn);
        r.turn = turn_new(r.store, &config, r.now);
        core_run(&r);
        assert_int_equal(state_of(&r, &n[2]), NODE_READY);
        for (size_t i = 0; i < 2; i++)
                core_register(&r, names[i], &n[i]);
        live(&r, n, 2, 14000);
        assert_int_equal(state_of(&r, &n[2]), NODE_DOWN);
        core_close(&r);
}

static void test_orphans(void **state UNUSED)
{
        struct core_node n[3];
        static const char *const names[] = {"w1", "w2", "w3"};
        struct core r;

        core_open(&r);
        core_add_image(&r);
        core_add_node(&r, names[0], &n[0]);
        core_add_service(&r, "web", 1);
        struct id id = only_task(&r)->id;
        core_add_node(&r, names[1], &n[1]);
        core_add_node(&r, names[2], &n[2]);
        core_status(&r, &n[0], 1, 1, id, TASK_RUNNING, "started");
        live(&r, n, 3, 15000);
        live(&r, n + 1, 2, 7000);
        assert_int_equal(state_of(&r, &n[0]), NODE_DOWN);
        assert_int_equal(store_find_task(r.store, id)->state, TASK_RUNNING);
        r.now.mono_ms += 24LL * 3600 * 1000;
        r.now.wall_ms += 24LL * 3600 * 1000;
        core_run(&r);
        struct task *t = store_find_task(r.store, id);
        assert_true(!t || t->state == TASK_ORPHANED);
        core_close(&r);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_suspect_down_return),
                cmocka_unit_test(test_mass_failure),
                cmocka_unit_test(test_mass_failure_in_turn),
                cmocka_unit_test(test_start_and_stall),
                cmocka_unit_test(test_heard_elsewhere),
                cmocka_unit_test(test_lost_sight_of),
                cmocka_unit_test(test_told_in_any_order),
                cmocka_unit_test(test_suspect_of_before),
                cmocka_unit_test(test_orphans),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
