/* Elections: who may stand, who votes for whom, and what a vote waits for. */
#include "tests/lib/cores.h"

#include <errno.h>

#include "shared/base/base.h"

static void test_one_voter_leads_at_once(void **state UNUSED)
{
        struct cores c;

        cores_init(&c, 1);
        cores_tick(&c, 1);
        assert_int_equal(c.now_ms, 0);
        assert_int_equal(cores_role(&c, 1), RAFT_LEADER);
        assert_true(c.nodes[1].out.is_ready);
        assert_int_equal(cores_propose(&c, 1, "a"), 2);
        assert_int_equal(c.nodes[1].out.commit_index, 2);
        assert_int_equal(cores_read(&c, 1), 1);
        assert_int_equal(c.nodes[1].out.read_round, 1);
        assert_int_equal(c.nodes[1].out.read_index, 2);
        assert_int_equal(c.n_queue, 0);
        cores_done(&c);
}

static void test_one_voter_leads_once_its_vote_is_durable(void **state UNUSED)
{
        struct cores c;

        cores_init(&c, 1);
        cores_hold_disk(&c, 1);
        cores_tick(&c, 1);
        assert_int_equal(cores_role(&c, 1), RAFT_CANDIDATE);
        cores_release_disk(&c, 1);
        assert_int_equal(cores_role(&c, 1), RAFT_LEADER);
        cores_done(&c);
}

static void test_three_elect_one(void **state UNUSED)
{
        struct cores c;

        cores_init(&c, 3);
        cores_run(&c, 2000);
        size_t leaders = 0;
        for (uint64_t id = 1; id <= 3; id++)
                leaders += cores_role(&c, id) == RAFT_LEADER;
        assert_int_equal(leaders, 1);
        uint64_t term = c.nodes[1].out.term, leader = c.nodes[1].out.leader;
        cores_run(&c, 10000);
        assert_int_equal(c.nodes[1].out.term, term);
        assert_int_equal(c.nodes[2].out.leader, leader);
        cores_done(&c);
}

static void test_a_vote_leaves_once_it_is_durable(void **state UNUSED)
{
        struct cores c;

        cores_init(&c, 3);
        cores_hold_disk(&c, 2);
        cores_cut(&c, 3);
        cores_tick(&c, 1);
        cores_settle(&c);
        assert_int_equal(cores_role(&c, 1), RAFT_CANDIDATE);
        assert_int_equal(c.nodes[2].n_held, 1);
        cores_release_disk(&c, 2);
        assert_non_null(cores_find(&c, RAFT_VOTED, 1));
        cores_settle(&c);
        assert_int_equal(cores_role(&c, 1), RAFT_LEADER);
        cores_done(&c);
}

static void test_a_candidate_asks_once_its_term_and_log_are_durable(void **state UNUSED)
{
        struct cores c;

        cores_init(&c, 3);
        cores_hold_disk(&c, 1);
        cores_tick(&c, 1);
        cores_settle(&c);
        assert_int_equal(cores_role(&c, 1), RAFT_CANDIDATE);
        assert_int_equal(c.nodes[2].out.term, 0);
        cores_release_disk(&c, 1);
        assert_non_null(cores_find(&c, RAFT_VOTE, 2));
        cores_settle(&c);
        assert_int_equal(cores_role(&c, 1), RAFT_LEADER);
        cores_done(&c);
}

/* Each write takes 0.7 s, longer than the shortest time-out: candidacies get longer until one wins.
 */
static void test_slow_disks_elect_as_well(void **state UNUSED)
{
        struct cores c;
        int rounds = 0;

        cores_init(&c, 3);
        while (!c.nodes[1].out.is_ready && !c.nodes[2].out.is_ready && !c.nodes[3].out.is_ready) {
                for (uint64_t id = 1; id <= 3; id++)
                        cores_hold_disk(&c, id);
                cores_run(&c, 700);
                for (uint64_t id = 1; id <= 3; id++)
                        cores_release_disk(&c, id);
                assert_true(++rounds < 60);
        }
        cores_done(&c);
}

static struct raft_message vote_of(uint64_t from, uint64_t to, uint64_t term)
{
        return (struct raft_message){.kind = RAFT_VOTE, .from = from, .to = to, .term = term};
}

static bool gets_vote(struct cores *c, const struct raft_message *m)
{
        struct raft_event e = {.kind = RAFT_RECEIVE, .message = m};
        bool is_granted;

        assert_int_equal(cores_step(c, m->to, &e), 0);
        struct raft_message *reply = cores_find(c, RAFT_VOTED, m->from);
        is_granted = reply && reply->voted.is_granted;
        cores_lose(c);
        return is_granted;
}

static void test_one_vote_a_term_also_after_a_restart(void **state UNUSED)
{
        struct raft_message of_1 = vote_of(1, 3, 5), of_2 = vote_of(2, 3, 5);
        struct cores c;

        cores_init(&c, 3);
        assert_true(gets_vote(&c, &of_1));
        assert_false(gets_vote(&c, &of_2));
        assert_true(gets_vote(&c, &of_1));
        cores_kill(&c, 3);
        cores_start(&c, 3);
        assert_false(gets_vote(&c, &of_2));
        assert_true(gets_vote(&c, &of_1));
        of_2.term = 6;
        assert_true(gets_vote(&c, &of_2));
        cores_done(&c);
}

static void test_no_vote_for_a_log_that_lacks_something(void **state UNUSED)
{
        struct raft_message m = vote_of(2, 1, 9);
        struct cores c;

        cores_init(&c, 3);
        cores_elect(&c, 1);
        cores_propose(&c, 1, "a");
        cores_settle(&c);
        cores_kill(&c, 1); /* its log: 1:- 1:a */
        cores_start(&c, 1);
        m.vote.last_term = 1;
        m.vote.last_index = 1;
        assert_false(gets_vote(&c, &m));
        m.term++;
        m.vote.last_index = 2;
        assert_true(gets_vote(&c, &m));
        m.term++;
        m.vote.last_term = 0;
        m.vote.last_index = 100;
        assert_false(gets_vote(&c, &m));
        m.term++;
        m.vote.is_transfer = true; /* the word of a leader is no log */
        assert_false(gets_vote(&c, &m));
        m.vote.is_transfer = false;
        m.term++;
        m.vote.last_term = 2;
        m.vote.last_index = 1;
        assert_true(gets_vote(&c, &m));
        cores_done(&c);
}

static void test_one_that_comes_back_disturbs_nobody(void **state UNUSED)
{
        struct cores c;

        cores_init(&c, 3);
        cores_elect(&c, 1);
        cores_cut(&c, 3);
        cores_run(&c, 20000);
        assert_int_equal(cores_role(&c, 3), RAFT_PRECANDIDATE);
        assert_int_equal(c.nodes[3].out.term, 1);
        cores_join(&c, 3);
        cores_run(&c, 3000);
        assert_int_equal(cores_role(&c, 1), RAFT_LEADER);
        assert_int_equal(c.nodes[1].out.term, 1);
        assert_int_equal(c.nodes[3].out.leader, 1);
        cores_done(&c);
}

static void test_who_hears_a_leader_does_not_vote(void **state UNUSED)
{
        struct raft_message m = vote_of(3, 2, 7);
        struct cores c;

        cores_init(&c, 3);
        cores_elect(&c, 1);
        m.vote.last_term = 1;
        m.vote.last_index = 1;
        assert_false(gets_vote(&c, &m));
        assert_int_equal(c.nodes[2].out.term, 1);
        m.vote.is_transfer = true;
        assert_true(gets_vote(&c, &m));
        assert_int_equal(c.nodes[2].out.term, 7);
        cores_done(&c);
}

static void test_one_whose_term_is_ahead_comes_back_in(void **state UNUSED)
{
        struct cores c;

        cores_init(&c, 3);
        cores_elect(&c, 1);
        cores_kill(&c, 3);
        c.nodes[3].term = 9; /* it stood, and lost, while nobody looked */
        cores_start(&c, 3);
        cores_run(&c, 5000);
        assert_true(c.nodes[3].out.leader != 0);
        assert_int_equal(c.nodes[3].out.leader, c.nodes[1].out.leader);
        assert_true(c.nodes[1].out.term > 9);
        cores_done(&c);
}

/* Of three, two are left; one of them was away, and its term is behind. */
static void test_a_term_that_is_behind_catches_up(void **state UNUSED)
{
        struct cores c;

        cores_init(&c, 3);
        cores_elect(&c, 1);
        cores_cut(&c, 3);
        cores_run(&c, 1000);
        cores_kill(&c, 1);
        cores_run(&c, 3000); /* 2 stands alone */
        c.nodes[2].term = 8;
        cores_kill(&c, 2);
        cores_start(&c, 2);
        cores_join(&c, 3);
        cores_run(&c, 5000);
        assert_true(cores_role(&c, 2) == RAFT_LEADER || cores_role(&c, 3) == RAFT_LEADER);
        cores_done(&c);
}

static void test_a_leader_that_is_cut_off_stands_down(void **state UNUSED)
{
        struct cores c;

        cores_init(&c, 3);
        cores_elect(&c, 1);
        cores_run(&c, 1000);
        cores_cut(&c, 1);
        cores_run(&c, 700);
        assert_int_equal(cores_role(&c, 1), RAFT_LEADER);
        cores_run(&c, 300); /* the longest election time-out */
        assert_int_not_equal(cores_role(&c, 1), RAFT_LEADER);
        assert_int_equal(cores_propose(&c, 1, "a"), -EAGAIN);
        assert_int_equal(cores_read(&c, 1), -EAGAIN);
        cores_run(&c, 2000);
        assert_true(cores_role(&c, 2) == RAFT_LEADER || cores_role(&c, 3) == RAFT_LEADER);
        cores_join(&c, 1);
        cores_run(&c, 2000);
        assert_int_equal(cores_role(&c, 1), RAFT_FOLLOWER);
        cores_done(&c);
}

/* It sends, but hears nobody: it stands down, and the others come to a leader. */
static void test_a_leader_that_is_deaf_stands_down(void **state UNUSED)
{
        struct cores c;

        cores_init(&c, 3);
        cores_elect(&c, 1);
        c.is_cut[2][1] = c.is_cut[3][1] = true;
        cores_run(&c, 5000);
        assert_int_not_equal(cores_role(&c, 1), RAFT_LEADER);
        assert_true(cores_role(&c, 2) == RAFT_LEADER || cores_role(&c, 3) == RAFT_LEADER);
        cores_done(&c);
}

/* The leader is at long work: it says that it is there, and hears nobody until that is done. */
static void work(struct cores *c, int64_t ms)
{
        struct raft_event beat = {.kind = RAFT_BEAT}, tick = {.kind = RAFT_TICK};

        for (int64_t end = c->now_ms + ms; c->now_ms < end; c->now_ms += 10) {
                assert_int_equal(cores_step(c, 1, &beat), 0);
                for (uint64_t id = 2; id <= 3; id++)
                        assert_int_equal(cores_step(c, id, &tick), 0);
                c->is_cut[2][1] = c->is_cut[3][1] = true; /* nothing is heard */
                cores_settle(c);
        }
        c->is_cut[2][1] = c->is_cut[3][1] = false;
}

static void test_a_leader_at_work_stays(void **state UNUSED)
{
        struct cores c;

        cores_init(&c, 3);
        cores_elect(&c, 1);
        for (int i = 0; i < 3; i++) {
                work(&c, 3000);
                assert_int_equal(cores_role(&c, 1), RAFT_LEADER);
                cores_run(&c, 1000);
                assert_int_equal(cores_role(&c, 1), RAFT_LEADER);
                assert_int_equal(c.nodes[2].out.term, 1);
        }
        /* What passed at work does not hide that nobody is there. */
        work(&c, 3000);
        cores_cut(&c, 1);
        cores_run(&c, 1000);
        assert_int_not_equal(cores_role(&c, 1), RAFT_LEADER);
        cores_done(&c);
}

static void test_a_leader_at_endless_work_is_replaced(void **state UNUSED)
{
        struct cores c;

        cores_init(&c, 3);
        cores_elect(&c, 1);
        work(&c, 9000);
        assert_int_equal(c.nodes[2].out.leader, 1);
        work(&c, 6000);
        assert_true(cores_role(&c, 2) == RAFT_LEADER || cores_role(&c, 3) == RAFT_LEADER);
        cores_done(&c);
}

static void lose_link(struct cores *c, uint64_t id, uint64_t peer)
{
        struct raft_event e = {.kind = RAFT_LEADER_GONE, .peer = peer};

        assert_int_equal(cores_step(c, id, &e), 0);
}

static void test_who_sees_the_leader_die_stands_at_once(void **state UNUSED)
{
        struct cores c;

        cores_init(&c, 3);
        cores_elect(&c, 1);
        cores_run(&c, 1000);
        cores_kill(&c, 1);
        int64_t before = raft_deadline_ms(c.nodes[2].raft);
        lose_link(&c, 2, 3); /* does not lead */
        assert_int_equal(raft_deadline_ms(c.nodes[2].raft), before);
        lose_link(&c, 2, 1);
        lose_link(&c, 3, 1);
        assert_in_range(raft_deadline_ms(c.nodes[2].raft), c.now_ms, c.now_ms + 150);
        before = raft_deadline_ms(c.nodes[2].raft);
        for (int i = 0; i < 20; i++) { /* only ever sooner */
                lose_link(&c, 2, 1);
                assert_true(raft_deadline_ms(c.nodes[2].raft) <= before);
                before = raft_deadline_ms(c.nodes[2].raft);
        }
        cores_tick(&c, 2);
        cores_settle(&c);
        assert_int_equal(cores_role(&c, 2), RAFT_LEADER);
        assert_in_range(c.now_ms, 0, 1000 + 1000 + 150);
        lose_link(&c, 2, 2); /* nobody has a link to itself */
        lose_link(&c, 2, 3);
        assert_int_equal(cores_role(&c, 2), RAFT_LEADER);
        cores_done(&c);
}

static void test_a_leader_that_others_hear_stays(void **state UNUSED)
{
        struct cores c;

        cores_init(&c, 3);
        cores_elect(&c, 1);
        for (int i = 0; i < 50; i++) {
                lose_link(&c, 2, 1);
                cores_tick(&c, 2); /* before the leader's next word */
                assert_int_equal(cores_role(&c, 2), RAFT_PRECANDIDATE);
                cores_run(&c, 250);
                assert_int_equal(cores_role(&c, 1), RAFT_LEADER);
                assert_int_equal(c.nodes[2].out.term, 1);
                assert_int_equal(c.nodes[2].out.leader, 1);
        }
        lose_link(&c, 2, 1);
        cores_run(&c, 3000);
        assert_int_equal(c.nodes[1].out.term, 1);
        cores_done(&c);
}

static void test_a_learner_never_stands_but_votes(void **state UNUSED)
{
        struct raft_message m = vote_of(1, 4, 7);
        struct cores c;

        cores_init(&c, 3);
        cores_elect(&c, 1);
        cores_add(&c, 4);
        assert_true(cores_change(&c, 1, RAFT_PUT_LEARNER, 4) > 0);
        cores_run(&c, 1000);
        cores_cut(&c, 4);
        cores_run(&c, 5000);
        assert_int_equal(cores_role(&c, 4), RAFT_FOLLOWER);
        assert_int_equal(c.nodes[4].out.leader, 0);
        m.vote.last_term = 1;
        m.vote.last_index = 2;
        assert_true(gets_vote(&c, &m)); /* it may be a voter and not know it yet */
        cores_done(&c);
}

static void test_what_no_core_sends_is_refused(void **state UNUSED)
{
        struct raft_message m = {.kind = RAFT_HEARTBEAT, .from = 2, .to = 1, .term = 1};
        struct raft_event e = {.kind = RAFT_RECEIVE, .message = &m};
        struct cores c;

        cores_init(&c, 3);
        cores_elect(&c, 1);
        assert_int_equal(cores_step(&c, 1, &e), -EBADMSG); /* two leaders of a term */
        m.to = 3;
        assert_int_equal(cores_step(&c, 1, &e), -EBADMSG); /* not for us */
        m = (struct raft_message){.kind = RAFT_APPENDED, .from = 2, .to = 1, .term = 1};
        m.appended.index = 100;
        assert_int_equal(cores_step(&c, 1, &e), -EBADMSG); /* what was never sent */
        m = (struct raft_message){.kind = RAFT_HEARTBEAT, .from = 1, .to = 2, .term = 1};
        m.heartbeat.commit = 100;
        assert_int_equal(cores_step(&c, 2, &e), -EBADMSG);
        m = (struct raft_message){.kind = RAFT_HEARTBEAT, .from = 1, .to = 2};
        m.term = UINT64_MAX;
        assert_int_equal(cores_step(&c, 2, &e), -EBADMSG);
        assert_int_equal(cores_role(&c, 1), RAFT_LEADER);
        cores_done(&c);
}

static void test_state_that_no_core_wrote_is_refused(void **state UNUSED)
{
        struct raft_entry entries[2] = {{.term = 3}, {.term = 2}};
        struct raft_start start = {.id = 1, .term = 3, .entries = entries, .n_entries = 2};
        struct raft *r;

        assert_int_equal(raft_new(&start, &r), -EINVAL); /* terms go back */
        entries[1].term = 4;
        assert_int_equal(raft_new(&start, &r), -EINVAL); /* an entry of a term to come */
        entries[1] = (struct raft_entry){.term = 3, .kind = RAFT_ENTRY_MEMBERS};
        assert_int_equal(raft_new(&start, &r), -EINVAL);
        entries[1].kind = (enum raft_entry_kind)7;
        assert_int_equal(raft_new(&start, &r), -EINVAL);
        entries[1].kind = RAFT_ENTRY_NOOP;
        start.base.members = (struct raft_members){.n = 2, .of = {{.id = 4}, {.id = 4}}};
        assert_int_equal(raft_new(&start, &r), -EINVAL); /* one is there twice */
        start.base.members.n = 1;
        start.base.index = UINT64_MAX;
        start.applied = 0;
        assert_int_equal(raft_new(&start, &r), -EINVAL); /* there is no room behind it */
        start.base.index = 0;
        start.applied = 3;
        assert_int_equal(raft_new(&start, &r), -EINVAL); /* applied what is not there */
        start.applied = 2;
        start.settings.election_min_ms = 150;
        assert_int_equal(raft_new(&start, &r), -EINVAL); /* heartbeats come too seldom */
        start.settings.heartbeat_ms = 50;
        start.id = 0;
        assert_int_equal(raft_new(&start, &r), -EINVAL);
        start.id = 1;
        assert_int_equal(raft_new(&start, &r), 0);
        raft_free(r);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_one_voter_leads_at_once),
                cmocka_unit_test(test_one_voter_leads_once_its_vote_is_durable),
                cmocka_unit_test(test_three_elect_one),
                cmocka_unit_test(test_a_vote_leaves_once_it_is_durable),
                cmocka_unit_test(test_a_candidate_asks_once_its_term_and_log_are_durable),
                cmocka_unit_test(test_slow_disks_elect_as_well),
                cmocka_unit_test(test_one_vote_a_term_also_after_a_restart),
                cmocka_unit_test(test_no_vote_for_a_log_that_lacks_something),
                cmocka_unit_test(test_one_that_comes_back_disturbs_nobody),
                cmocka_unit_test(test_who_hears_a_leader_does_not_vote),
                cmocka_unit_test(test_one_whose_term_is_ahead_comes_back_in),
                cmocka_unit_test(test_a_term_that_is_behind_catches_up),
                cmocka_unit_test(test_a_leader_that_is_cut_off_stands_down),
                cmocka_unit_test(test_a_leader_that_is_deaf_stands_down),
                cmocka_unit_test(test_a_leader_at_work_stays),
                cmocka_unit_test(test_a_leader_at_endless_work_is_replaced),
                cmocka_unit_test(test_who_sees_the_leader_die_stands_at_once),
                cmocka_unit_test(test_a_leader_that_others_hear_stays),
                cmocka_unit_test(test_a_learner_never_stands_but_votes),
                cmocka_unit_test(test_what_no_core_sends_is_refused),
                cmocka_unit_test(test_state_that_no_core_wrote_is_refused),
        };
        return cmocka_run_group_tests_name("raft election", tests, NULL, NULL);
}
