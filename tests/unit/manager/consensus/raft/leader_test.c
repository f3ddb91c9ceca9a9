/* Leading: reads that are confirmed, and leadership that is handed over. */
#include "tests/lib/cores.h"

#include <errno.h>

#include "shared/base/base.h"

static void test_a_read_waits_for_a_majority(void **state UNUSED)
{
        struct cores c;

        cores_init(&c, 5);
        cores_elect(&c, 1);
        cores_propose(&c, 1, "a");
        cores_settle(&c);
        assert_int_equal(cores_read(&c, 1), 1);
        assert_int_equal(c.nodes[1].out.read_round, 0);
        for (uint64_t id = 2; id <= 3; id++) {
                assert_int_equal(c.nodes[1].out.read_round, 0);
                cores_deliver(&c, cores_find(&c, RAFT_HEARTBEAT, id));
                cores_deliver(&c, cores_find(&c, RAFT_HEARD, 1));
        }
        assert_int_equal(c.nodes[1].out.read_round, 1);
        assert_int_equal(c.nodes[1].out.read_index, 2);
        assert_int_equal(cores_read(&c, 2), -EAGAIN);
        cores_done(&c);
}

/* Reads that come while a round is out share the next: what they need was not asked by this one. */
/* They have no say in who leads. */
static void test_learners_confirm_no_read(void **state UNUSED)
{
        struct cores c;

        cores_init(&c, 3);
        cores_elect(&c, 1);
        for (uint64_t id = 4; id <= 5; id++) {
                cores_add(&c, id);
                assert_true(cores_change(&c, 1, RAFT_PUT_LEARNER, id) > 0);
                cores_run(&c, 1000);
        }
        cores_cut(&c, 2);
        cores_cut(&c, 3);
        int64_t round = cores_read(&c, 1);
        assert_true(round > 0);
        cores_settle(&c);
        assert_true(c.nodes[1].out.read_round < (uint64_t)round);
        cores_join(&c, 3);
        cores_run(&c, 200);
        assert_int_equal(cores_role(&c, 1), RAFT_LEADER);
        assert_int_equal(c.nodes[1].out.read_round, round);
        cores_done(&c);
}

static void test_reads_share_rounds(void **state UNUSED)
{
        struct cores c;

        cores_init(&c, 3);
        cores_elect(&c, 1);
        assert_int_equal(cores_read(&c, 1), 1);
        cores_propose(&c, 1, "a");
        assert_int_equal(cores_read(&c, 1), 2);
        assert_int_equal(cores_read(&c, 1), 2);
        size_t heartbeats = 0;
        for (size_t i = 0; i < c.n_queue; i++)
                heartbeats += c.queue[i].kind == RAFT_HEARTBEAT;
        assert_int_equal(heartbeats, 2);
        cores_settle(&c);
        assert_int_equal(c.nodes[1].out.read_round, 2);
        cores_done(&c);
}

/* A new leader may not know yet all that was agreed before. */
static void test_a_read_waits_for_an_entry_of_the_term(void **state UNUSED)
{
        struct cores c;

        cores_init(&c, 3);
        cores_elect(&c, 1);
        cores_propose(&c, 1, "a");
        cores_settle(&c); /* agreed, but the others do not know */
        cores_kill(&c, 1);
        for (int i = 0; i < 5 && cores_role(&c, 2) != RAFT_LEADER; i++) {
                cores_tick(&c, 2);
                while (c.n_queue && cores_role(&c, 2) != RAFT_LEADER)
                        cores_deliver(&c, &c.queue[0]);
        }
        assert_int_equal(c.nodes[2].out.commit_index, 1);
        assert_false(c.nodes[2].out.is_ready);
        assert_int_equal(cores_read(&c, 2), 1);
        assert_int_equal(cores_propose(&c, 2, "b"), -EAGAIN);
        cores_settle(&c);
        assert_true(c.nodes[2].out.is_ready);
        assert_int_equal(c.nodes[2].out.read_round, 1);
        assert_int_equal(c.nodes[2].out.read_index, 3);
        cores_done(&c);
}

static void test_a_read_of_a_leader_that_was_superseded_is_never_confirmed(void **state UNUSED)
{
        struct cores c;

        cores_init(&c, 3);
        cores_elect(&c, 1);
        cores_run(&c, 500);
        cores_cut(&c, 1);
        int64_t round = cores_read(&c, 1);
        assert_true(round > 0);
        cores_elect(&c, 2);
        cores_join(&c, 1);
        cores_run(&c, 1000);
        assert_int_equal(c.nodes[1].out.role, RAFT_FOLLOWER);
        assert_true(c.nodes[1].out.read_round < (uint64_t)round);
        /* Nor by the rounds of a later leadership of its own. */
        assert_int_equal(cores_transfer(&c, 2, 1), 0);
        cores_settle(&c);
        assert_int_equal(cores_role(&c, 1), RAFT_LEADER);
        assert_true(c.nodes[1].out.is_ready);
        assert_true(c.nodes[1].out.read_round < (uint64_t)round);
        assert_true(cores_read(&c, 1) > round);
        cores_done(&c);
}

static void test_a_lost_round_is_confirmed_by_the_next_heartbeat(void **state UNUSED)
{
        struct cores c;

        cores_init(&c, 3);
        cores_elect(&c, 1);
        cores_read(&c, 1);
        cores_lose(&c);
        cores_tick(&c, 1);
        cores_settle(&c);
        assert_int_equal(c.nodes[1].out.read_round, 1);
        cores_done(&c);
}

/* --- handing over -------------------------------------------------------------------------------
 */
static void test_leadership_is_handed_over_at_once(void **state UNUSED)
{
        struct cores c;

        cores_init(&c, 3);
        cores_elect(&c, 1);
        cores_run(&c, 500);
        int64_t began = c.now_ms;
        assert_int_equal(cores_transfer(&c, 1, 3), 0);
        assert_false(c.nodes[1].out.can_propose);
        assert_int_equal(cores_propose(&c, 1, "a"), -EBUSY);
        assert_int_equal(cores_change(&c, 1, RAFT_REMOVE, 2), -EBUSY);
        assert_int_equal(cores_transfer(&c, 1, 2), -EBUSY);
        cores_settle(&c);
        assert_int_equal(cores_role(&c, 3), RAFT_LEADER);
        assert_int_equal(cores_role(&c, 1), RAFT_FOLLOWER);
        assert_int_equal(c.now_ms, began);
        cores_done(&c);
}

static void test_the_successor_first_gets_all(void **state UNUSED)
{
        struct cores c;

        cores_init(&c, 3);
        cores_elect(&c, 1);
        for (int i = 0; i < 10; i++)
                cores_propose(&c, 1, "x");
        assert_int_equal(cores_transfer(&c, 1, 2), 0);
        assert_null(cores_find(&c, RAFT_TIMEOUT_NOW, 2));
        cores_settle(&c);
        assert_int_equal(cores_role(&c, 2), RAFT_LEADER);
        assert_int_equal(c.nodes[2].out.commit_index, 12);
        cores_done(&c);
}

static void test_the_best_successor_is_found(void **state UNUSED)
{
        struct cores c;

        cores_init(&c, 3);
        cores_elect(&c, 1);
        cores_cut(&c, 2);
        cores_propose(&c, 1, "a");
        cores_run(&c, 300);
        assert_int_equal(cores_transfer(&c, 1, 0), 0);
        cores_join(&c, 2);
        cores_settle(&c);
        assert_int_equal(cores_role(&c, 3), RAFT_LEADER);
        cores_done(&c);
}

static void test_handing_over_ends_in_time(void **state UNUSED)
{
        struct cores c;

        cores_init(&c, 3);
        cores_elect(&c, 1);
        cores_cut(&c, 3);
        assert_int_equal(cores_transfer(&c, 1, 3), 0); /* just now it was heard */
        cores_run(&c, 900);
        assert_int_equal(cores_propose(&c, 1, "a"), -EBUSY);
        cores_run(&c, 300);
        assert_int_equal(cores_role(&c, 1), RAFT_LEADER);
        assert_true(cores_propose(&c, 1, "a") > 0);
        assert_int_equal(cores_transfer(&c, 1, 3), -EHOSTUNREACH);
        assert_int_equal(cores_transfer(&c, 1, 9), -EINVAL);
        assert_int_equal(cores_transfer(&c, 1, 1), 0);
        assert_int_equal(cores_transfer(&c, 2, 3), -EAGAIN);
        cores_done(&c);
}

static void test_one_alone_has_no_successor(void **state UNUSED)
{
        struct cores c;

        cores_init(&c, 1);
        cores_tick(&c, 1);
        assert_int_equal(cores_transfer(&c, 1, 0), -EHOSTUNREACH);
        assert_true(c.nodes[1].out.can_propose);
        cores_done(&c);
}

static void test_a_lost_word_is_said_again(void **state UNUSED)
{
        struct cores c;

        cores_init(&c, 3);
        cores_elect(&c, 1);
        cores_settle(&c);
        assert_int_equal(cores_transfer(&c, 1, 2), 0);
        cores_lose(&c);
        cores_tick(&c, 1);
        cores_settle(&c);
        assert_int_equal(cores_role(&c, 2), RAFT_LEADER);
        cores_done(&c);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_a_read_waits_for_a_majority),
                cmocka_unit_test(test_learners_confirm_no_read),
                cmocka_unit_test(test_reads_share_rounds),
                cmocka_unit_test(test_a_read_waits_for_an_entry_of_the_term),
                cmocka_unit_test(test_a_read_of_a_leader_that_was_superseded_is_never_confirmed),
                cmocka_unit_test(test_a_lost_round_is_confirmed_by_the_next_heartbeat),
                cmocka_unit_test(test_leadership_is_handed_over_at_once),
                cmocka_unit_test(test_the_successor_first_gets_all),
                cmocka_unit_test(test_the_best_successor_is_found),
                cmocka_unit_test(test_handing_over_ends_in_time),
                cmocka_unit_test(test_one_alone_has_no_successor),
                cmocka_unit_test(test_a_lost_word_is_said_again),
        };
        return cmocka_run_group_tests_name("raft leading", tests, NULL, NULL);
}
