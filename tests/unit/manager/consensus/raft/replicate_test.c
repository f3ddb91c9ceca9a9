/* Replication: what an answer proves, when an entry is agreed, what is sent and how much. */
#include "tests/lib/cores.h"

#include <errno.h>
#include <string.h>

#include "shared/base/base.h"

static void test_entries_reach_all(void **state UNUSED)
{
        struct cores c;

        cores_init(&c, 3);
        cores_elect(&c, 1);
        assert_int_equal(cores_propose(&c, 1, "a"), 2);
        assert_int_equal(cores_propose(&c, 1, "b"), 3);
        assert_int_equal(c.nodes[1].out.commit_index, 1);
        cores_settle(&c);
        assert_int_equal(c.nodes[1].out.commit_index, 3);
        cores_run(&c, 200);
        for (uint64_t id = 1; id <= 3; id++) {
                cores_assert_log(&c, id, 1, "1:- 1:a 1:b");
                assert_int_equal(c.nodes[id].out.commit_index, 3);
        }
        assert_int_equal(cores_propose(&c, 2, "c"), -EAGAIN);
        cores_done(&c);
}

static void test_an_entry_is_agreed_once_a_majority_has_it_on_disk(void **state UNUSED)
{
        struct cores c;

        cores_init(&c, 3);
        cores_elect(&c, 1);
        cores_cut(&c, 3);
        cores_hold_disk(&c, 2);
        cores_propose(&c, 1, "a");
        cores_settle(&c);
        assert_int_equal(c.nodes[1].out.commit_index, 1);
        cores_release_disk(&c, 2);
        cores_settle(&c);
        assert_int_equal(c.nodes[1].out.commit_index, 2);
        cores_done(&c);
}

/* The leader sends while it still writes, but counts itself only afterwards. */
static void test_a_leader_counts_itself_once_it_has_it_on_disk(void **state UNUSED)
{
        struct cores c;

        cores_init(&c, 3);
        cores_elect(&c, 1);
        cores_cut(&c, 3);
        cores_hold_disk(&c, 1);
        cores_propose(&c, 1, "a");
        cores_settle(&c);
        cores_assert_log(&c, 2, 1, "1:- 1:a");
        assert_int_equal(c.nodes[1].out.commit_index, 1);
        cores_run(&c, 200);
        assert_int_equal(c.nodes[2].out.commit_index, 1);
        cores_release_disk(&c, 1);
        assert_int_equal(c.nodes[1].out.commit_index, 2);
        cores_done(&c);
}

/* Both followers have it: it is agreed, but this leader's user hears so once it is here as well. */
static void test_agreed_is_told_once_it_is_on_this_disk(void **state UNUSED)
{
        struct cores c;

        cores_init(&c, 3);
        cores_elect(&c, 1);
        cores_hold_disk(&c, 1);
        cores_propose(&c, 1, "a");
        cores_settle(&c);
        cores_run(&c, 200);
        assert_int_equal(c.nodes[2].out.commit_index, 2);
        assert_int_equal(c.nodes[1].out.commit_index, 1);
        cores_release_disk(&c, 1);
        assert_int_equal(c.nodes[1].out.commit_index, 2);
        cores_done(&c);
}

/* An answer is about what its request proved, not about what else stands in the log. */
static void test_an_answer_proves_no_more_than_was_asked(void **state UNUSED)
{
        struct raft_message m = {.kind = RAFT_APPEND, .from = 2, .to = 3, .term = 5};
        struct raft_event e = {.kind = RAFT_RECEIVE, .message = &m};
        struct cores c;

        cores_init(&c, 3);
        cores_elect(&c, 1);
        for (int i = 0; i < 3; i++)
                cores_propose(&c, 1, "x");
        cores_settle(&c); /* 3 has 1:- 1:x 1:x 1:x, and knows 1 as agreed */
        cores_kill(&c, 3);
        cores_start(&c, 3);
        m.append.prev_index = 2;
        m.append.prev_term = 1;
        m.append.commit = 4;
        assert_int_equal(cores_step(&c, 3, &e), 0);
        struct raft_message *reply = cores_find(&c, RAFT_APPENDED, 2);
        assert_non_null(reply);
        assert_false(reply->appended.is_refused);
        assert_int_equal(reply->appended.index, 2);
        assert_int_equal(c.nodes[3].out.commit_index, 2);
        cores_done(&c);
}

static void test_a_doubled_or_old_append_changes_nothing(void **state UNUSED)
{
        struct raft_entry entries[2] = {{.term = 1, .kind = RAFT_ENTRY_NOOP}, {.term = 1}};
        struct raft_message m = {.kind = RAFT_APPEND, .from = 2, .to = 3, .term = 1};
        struct raft_event e = {.kind = RAFT_RECEIVE, .message = &m};
        struct cores c;

        cores_init(&c, 3);
        entries[1].kind = RAFT_ENTRY_DATA;
        entries[1].bytes = raft_bytes_new("a", 1);
        m.append.entries = entries;
        m.append.n_entries = 2;
        assert_int_equal(cores_step(&c, 3, &e), 0);
        uint64_t seq = c.nodes[3].seq;
        m.append.n_entries = 1; /* an older one: what came after it stays */
        assert_int_equal(cores_step(&c, 3, &e), 0);
        m.append.n_entries = 2;
        assert_int_equal(cores_step(&c, 3, &e), 0);
        cores_assert_log(&c, 3, 1, "1:- 1:a");
        assert_int_equal(c.nodes[3].seq, seq);
        raft_bytes_unref(entries[1].bytes);
        cores_done(&c);
}

/* The answer to a doubled append waits for the write that the first one began. */
static void test_an_answer_waits_for_all_that_is_being_written(void **state UNUSED)
{
        struct cores c;

        cores_init(&c, 3);
        cores_elect(&c, 1);
        cores_hold_disk(&c, 2);
        cores_propose(&c, 1, "a");
        struct raft_message *m = cores_find(&c, RAFT_APPEND, 2);
        m->append.n_entries = 1;
        struct raft_event e = {.kind = RAFT_RECEIVE, .message = m};
        struct raft_message copy = *m;
        e.message = &copy;
        assert_int_equal(cores_step(&c, 2, &e), 0);
        assert_int_equal(cores_step(&c, 2, &e), 0);
        assert_null(cores_find(&c, RAFT_APPENDED, 1));
        cores_release_disk(&c, 2);
        assert_non_null(cores_find(&c, RAFT_APPENDED, 1));
        cores_done(&c);
}

/* Heartbeats are answered although the disk is slow: the leader stays. */
static void test_a_slow_disk_does_not_end_a_leadership(void **state UNUSED)
{
        struct cores c;

        cores_init(&c, 3);
        cores_elect(&c, 1);
        cores_hold_disk(&c, 2);
        cores_hold_disk(&c, 3);
        cores_propose(&c, 1, "a");
        cores_run(&c, 10000);
        assert_int_equal(cores_role(&c, 1), RAFT_LEADER);
        assert_int_equal(c.nodes[1].out.term, 1);
        assert_int_equal(cores_read(&c, 1), 1);
        cores_settle(&c);
        assert_int_equal(c.nodes[1].out.read_round, 1);
        cores_done(&c);
}

/* The others go on agreeing, but nobody would hear of it while the leader's own disk hangs. */
static void test_a_leader_whose_disk_hangs_hands_over(void **state UNUSED)
{
        struct cores c;

        cores_init(&c, 3);
        cores_elect(&c, 1);
        cores_run(&c, 1000);
        cores_hold_disk(&c, 1);
        cores_run(&c, 10000); /* nothing waits for it */
        assert_int_equal(cores_role(&c, 1), RAFT_LEADER);
        cores_propose(&c, 1, "a");
        cores_run(&c, 4000);
        assert_int_equal(cores_role(&c, 1), RAFT_LEADER);
        cores_run(&c, 3000);
        assert_int_equal(cores_role(&c, 1), RAFT_FOLLOWER);
        uint64_t next = cores_role(&c, 2) == RAFT_LEADER ? 2 : 3;
        assert_int_equal(cores_role(&c, next), RAFT_LEADER);
        assert_true(c.nodes[next].out.is_ready);
        cores_release_disk(&c, 1);
        cores_run(&c, 1000);
        assert_int_equal(c.nodes[1].out.commit_index, c.nodes[next].out.commit_index);
        cores_done(&c);
}

/* Where the others are too few without it, nothing is won by another leader. */
static void test_a_leader_whose_disk_is_needed_stays(void **state UNUSED)
{
        struct cores c;

        cores_init(&c, 2);
        cores_elect(&c, 1);
        cores_run(&c, 1000);
        cores_hold_disk(&c, 1);
        cores_propose(&c, 1, "a");
        cores_run(&c, 20000);
        assert_int_equal(cores_role(&c, 1), RAFT_LEADER);
        cores_release_disk(&c, 1);
        cores_run(&c, 1000);
        assert_int_equal(c.nodes[1].out.commit_index, 2);
        cores_done(&c);
}

/* Empty bytes are none, on the leader as on those that get them. */
static void test_an_entry_may_be_empty(void **state UNUSED)
{
        struct cores c;

        cores_init(&c, 3);
        cores_elect(&c, 1);
        cores_propose(&c, 1, "");
        cores_run(&c, 1000);
        for (uint64_t id = 1; id <= 3; id++) {
                assert_int_equal(raft_entry_at(c.nodes[id].raft, 2)->kind, RAFT_ENTRY_DATA);
                assert_null(raft_entry_at(c.nodes[id].raft, 2)->bytes);
        }
        cores_done(&c);
}

/* Logs as in figure 7 of the Raft paper: the leader's own is the measure. */
static void load(struct cores *c, uint64_t id, const char *terms)
{
        struct core_node *n = &c->nodes[id];

        cores_kill(c, id);
        n->n_entries = strlen(terms);
        n->entries = xreallocarray(n->entries, n->n_entries + 1, sizeof(*n->entries));
        for (size_t i = 0; i < n->n_entries; i++)
                n->entries[i] = (struct raft_entry){.term = (uint64_t)(terms[i] - '0')};
        n->term = n->n_entries ? n->entries[n->n_entries - 1].term : 0;
        cores_start(c, id);
}

static void test_logs_that_parted_are_made_one(void **state UNUSED)
{
        static const char *const logs[] = {"1114455666",   "111445566", "1114",       "11144556666",
                                           "111445566677", "1114444",   "11122233333"};
        struct cores c;

        cores_init(&c, 7);
        for (uint64_t id = 1; id <= 7; id++)
                load(&c, id, logs[id - 1]);
        c.nodes[1].term = 7;
        cores_kill(&c, 1);
        cores_start(&c, 1);
        cores_elect(&c, 1);
        cores_run(&c, 3000);
        for (uint64_t id = 1; id <= 7; id++) {
                cores_assert_log(&c, id, 1, "1:- 1:- 1:- 4:- 4:- 5:- 5:- 6:- 6:- 6:- 8:-");
                assert_int_equal(c.nodes[id].out.commit_index, 11);
        }
        cores_done(&c);
}

/* Terms are skipped as wholes: two long logs are matched in a few messages. */
static void test_the_parting_is_found_fast(void **state UNUSED)
{
        char of_leader[301], of_other[301];
        struct cores c;
        int refused = 0;

        memset(of_leader, '3', 300);
        memset(of_other, '2', 300);
        memset(of_leader, '1', 50);
        memset(of_other, '1', 50);
        of_leader[300] = of_other[300] = 0;
        cores_init(&c, 3);
        cores_cut(&c, 3);
        load(&c, 1, of_leader);
        load(&c, 2, of_other);
        cores_tick(&c, 1);
        while (c.n_queue) {
                refused += c.queue[0].kind == RAFT_APPENDED && c.queue[0].appended.is_refused;
                assert_int_equal(cores_deliver(&c, &c.queue[0]), 0);
        }
        assert_int_equal(raft_last_index(c.nodes[2].raft), 301);
        assert_in_range(refused, 1, 2);
        cores_done(&c);
}

/* Figure 8 of the Raft paper: an entry of an old term is on a majority, and yet may be undone; it
 * is not agreed until one of the leader's own term is. */
static void test_entries_of_old_terms_are_not_agreed_by_counting(void **state UNUSED)
{
        struct cores c;

        cores_init(&c, 5);
        c.settings.append_bytes_max = 1; /* one entry at a time */
        for (uint64_t id = 1; id <= 5; id++)
                load(&c, id, "1");
        cores_cut_all(&c);
        load(&c, 1, "12"); /* (a): S1 led term 2 and reached S2 */
        load(&c, 2, "12");
        load(&c, 5, "13"); /* (b): S5 led term 3, for S3 and S4 voted, and reached nobody */
        c.nodes[1].term = c.nodes[3].term = c.nodes[4].term = 3;
        for (uint64_t id = 1; id <= 4; id++) {
                cores_kill(&c, id);
                cores_start(&c, id);
        }
        /* (c): S1 leads term 4, and its entry of term 2 reaches all; its own reaches nobody. */
        for (uint64_t id = 2; id <= 4; id++)
                cores_join_two(&c, 1, id);
        cores_tick(&c, 1);
        while (c.n_queue) {
                struct raft_message *m = &c.queue[0];

                if (m->kind == RAFT_APPEND && m->append.n_entries &&
                    m->append.entries[0].term == 4 && raft_last_index(c.nodes[m->to].raft) >= 2)
                        cores_drop(&c, m);
                else
                        assert_int_equal(cores_deliver(&c, m), 0);
        }
        assert_int_equal(cores_role(&c, 1), RAFT_LEADER);
        assert_int_equal(c.nodes[1].out.term, 4);
        cores_assert_log(&c, 1, 1, "1:- 2:- 4:-");
        cores_assert_log(&c, 2, 1, "1:- 2:-");
        cores_assert_log(&c, 3, 1, "1:- 2:-");
        assert_int_equal(c.nodes[1].out.commit_index, 0);
        /* (d): S1 dies; S5 leads with the votes of S2, S3 and S4, and undoes it. */
        cores_kill(&c, 1);
        cores_cut_all(&c);
        for (uint64_t id = 2; id <= 4; id++)
                cores_join_two(&c, 5, id);
        cores_elect(&c, 5);
        cores_run(&c, 1000);
        for (uint64_t id = 2; id <= 5; id++) {
                assert_int_equal(raft_entry_at(c.nodes[id].raft, 2)->term, 3);
                assert_true(c.nodes[id].out.commit_index >= 3);
        }
        cores_done(&c);
}

/* --- how much is sent ---------------------------------------------------------------------------
 */
static size_t count(struct cores *c, enum raft_message_kind kind, uint64_t to)
{
        size_t n = 0;

        for (size_t i = 0; i < c->n_queue; i++)
                n += c->queue[i].kind == kind && c->queue[i].to == to;
        return n;
}

static void test_the_window_bounds_messages(void **state UNUSED)
{
        struct cores c;

        cores_init(&c, 3);
        cores_elect(&c, 1);
        for (int i = 0; i < 200; i++)
                cores_propose(&c, 1, "x");
        assert_int_equal(count(&c, RAFT_APPEND, 2), 64);
        cores_settle(&c);
        assert_int_equal(c.nodes[1].out.commit_index, 201);
        cores_done(&c);
}

static void test_the_window_bounds_bytes(void **state UNUSED)
{
        char text[1001];
        struct cores c;

        memset(text, 'x', 1000);
        text[1000] = 0;
        cores_init(&c, 3);
        c.settings.append_bytes_max = 2500;
        c.settings.inflight_bytes_max = 5000;
        for (uint64_t id = 1; id <= 3; id++) {
                cores_kill(&c, id);
                cores_start(&c, id);
        }
        cores_elect(&c, 1);
        for (int i = 0; i < 50; i++)
                cores_propose(&c, 1, text);
        assert_in_range(count(&c, RAFT_APPEND, 2), 4, 5);
        while (c.n_queue) {
                if (c.queue[0].kind == RAFT_APPEND)
                        assert_true(c.queue[0].append.n_entries <= 2);
                assert_int_equal(cores_deliver(&c, &c.queue[0]), 0);
        }
        assert_int_equal(c.nodes[1].out.commit_index, 51);
        cores_done(&c);
}

static void test_one_that_is_silent_gets_heartbeats_only(void **state UNUSED)
{
        struct cores c;

        cores_init(&c, 3);
        cores_elect(&c, 1);
        cores_cut(&c, 3);
        for (int i = 0; i < 20; i++) {
                cores_propose(&c, 1, "x");
                cores_run(&c, 100);
        }
        cores_tick(&c, 1);
        assert_int_equal(count(&c, RAFT_APPEND, 3), 0);
        assert_int_equal(count(&c, RAFT_HEARTBEAT, 3), 1);
        cores_join(&c, 3);
        cores_run(&c, 1500);
        assert_int_equal(raft_last_index(c.nodes[3].raft), 21);
        cores_done(&c);
}

static void test_what_got_lost_is_sent_again(void **state UNUSED)
{
        struct cores c;

        cores_init(&c, 3);
        cores_elect(&c, 1);
        cores_propose(&c, 1, "a");
        cores_lose(&c);
        cores_run(&c, 1000);
        cores_assert_log(&c, 2, 1, "1:- 1:a");
        cores_assert_log(&c, 3, 1, "1:- 1:a");
        cores_done(&c);
}

static void test_a_full_log_refuses_until_it_is_cut(void **state UNUSED)
{
        struct raft_event e = {.kind = RAFT_CUT};
        struct cores c;
        int64_t rc = 0;

        cores_init(&c, 1);
        c.settings.log_bytes_max = 10000;
        c.settings.entry_bytes_max = 10;
        cores_kill(&c, 1);
        cores_start(&c, 1);
        cores_tick(&c, 1);
        for (int i = 0; i < 1000 && rc >= 0; i++)
                rc = cores_propose(&c, 1, "x");
        assert_int_equal(rc, -EBUSY);
        assert_false(c.nodes[1].out.can_propose);
        assert_true(c.nodes[1].out.is_ready);
        e.index = c.nodes[1].out.commit_index + 1;
        assert_int_equal(cores_step(&c, 1, &e), -EINVAL);
        e.index = c.nodes[1].out.commit_index;
        assert_true(cores_step(&c, 1, &e) > 0);
        assert_true(cores_propose(&c, 1, "x") > 0);
        assert_int_equal(cores_propose(&c, 1, "eleven bytes"), -EFBIG);
        cores_done(&c);
}

/* What is to be kept for a later leader must not fill the log. */
static void test_a_log_that_keeps_much_still_has_room(void **state UNUSED)
{
        struct raft_event e = {.kind = RAFT_CUT};
        struct cores c;

        cores_init(&c, 1);
        c.settings.log_bytes_max = 10000;
        c.settings.log_keep_bytes = 20000;
        cores_kill(&c, 1);
        cores_start(&c, 1);
        cores_tick(&c, 1);
        for (int i = 0; i < 1000; i++) {
                assert_true(cores_propose(&c, 1, "x") > 0);
                e.index = c.nodes[1].out.commit_index;
                assert_true(cores_step(&c, 1, &e) >= 0);
        }
        assert_in_range(raft_last_index(c.nodes[1].raft) - raft_base(c.nodes[1].raft)->index, 50,
                        150);
        cores_done(&c);
}

/* Nor must one entry that is larger than the log may be: the newest, and one among others. */
static void test_a_large_entry_is_cut_like_others(void **state UNUSED)
{
        struct raft_bytes *large = raft_bytes_new(NULL, 20000);
        struct raft_event propose = {.kind = RAFT_PROPOSE, .bytes = large};
        struct raft_event e = {.kind = RAFT_CUT};
        struct cores c;

        memset(large->data, 0, large->len);
        for (int n_behind = 0; n_behind < 2; n_behind++) {
                cores_init(&c, 3);
                c.settings.log_bytes_max = 10000;
                c.settings.log_keep_bytes = 1000;
                for (uint64_t id = 1; id <= 3; id++) {
                        cores_kill(&c, id);
                        cores_start(&c, id);
                }
                cores_elect(&c, 1);
                cores_settle(&c);
                assert_true(cores_step(&c, 1, &propose) > 0);
                assert_false(c.nodes[1].out.can_propose);
                if (n_behind) { /* what needs no room, as a change of the members */
                        cores_add(&c, 4);
                        assert_true(cores_change(&c, 1, RAFT_PUT_LEARNER, 4) > 0);
                }
                cores_run(&c, 1000);
                assert_int_equal(c.nodes[1].out.commit_index, raft_last_index(c.nodes[1].raft));
                e.index = c.nodes[1].out.commit_index;
                assert_true(cores_step(&c, 1, &e) > 0);
                assert_true(c.nodes[1].out.can_propose);
                assert_true(cores_propose(&c, 1, "x") > 0);
                cores_done(&c);
        }
        raft_bytes_unref(large);
}

static void test_an_entry_that_contradicts_what_is_agreed_is_refused(void **state UNUSED)
{
        struct raft_entry entry = {.term = 2};
        struct raft_message m = {.kind = RAFT_APPEND, .from = 3, .to = 2, .term = 2};
        struct raft_event e = {.kind = RAFT_RECEIVE, .message = &m};
        struct cores c;

        cores_init(&c, 3);
        cores_elect(&c, 1);
        cores_propose(&c, 1, "a");
        cores_run(&c, 300);
        assert_int_equal(c.nodes[2].out.commit_index, 2);
        m.append.entries = &entry;
        m.append.n_entries = 1;
        assert_int_equal(cores_step(&c, 2, &e), -EBADMSG);
        m.append.prev_index = 2;
        m.append.prev_term = 2;
        assert_int_equal(cores_step(&c, 2, &e), -EBADMSG);
        entry.term = 3; /* of a term to come */
        m.append.prev_term = 1;
        assert_int_equal(cores_step(&c, 2, &e), -EBADMSG);
        entry = (struct raft_entry){.term = 2, .kind = RAFT_ENTRY_MEMBERS};
        assert_int_equal(cores_step(&c, 2, &e), -EBADMSG);
        cores_assert_log(&c, 2, 1, "1:- 1:a");
        cores_done(&c);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_entries_reach_all),
                cmocka_unit_test(test_an_entry_is_agreed_once_a_majority_has_it_on_disk),
                cmocka_unit_test(test_a_leader_counts_itself_once_it_has_it_on_disk),
                cmocka_unit_test(test_agreed_is_told_once_it_is_on_this_disk),
                cmocka_unit_test(test_an_answer_proves_no_more_than_was_asked),
                cmocka_unit_test(test_a_doubled_or_old_append_changes_nothing),
                cmocka_unit_test(test_an_answer_waits_for_all_that_is_being_written),
                cmocka_unit_test(test_a_slow_disk_does_not_end_a_leadership),
                cmocka_unit_test(test_a_leader_whose_disk_hangs_hands_over),
                cmocka_unit_test(test_a_leader_whose_disk_is_needed_stays),
                cmocka_unit_test(test_an_entry_may_be_empty),
                cmocka_unit_test(test_logs_that_parted_are_made_one),
                cmocka_unit_test(test_the_parting_is_found_fast),
                cmocka_unit_test(test_entries_of_old_terms_are_not_agreed_by_counting),
                cmocka_unit_test(test_the_window_bounds_messages),
                cmocka_unit_test(test_the_window_bounds_bytes),
                cmocka_unit_test(test_one_that_is_silent_gets_heartbeats_only),
                cmocka_unit_test(test_what_got_lost_is_sent_again),
                cmocka_unit_test(test_a_full_log_refuses_until_it_is_cut),
                cmocka_unit_test(test_a_log_that_keeps_much_still_has_room),
                cmocka_unit_test(test_a_large_entry_is_cut_like_others),
                cmocka_unit_test(test_an_entry_that_contradicts_what_is_agreed_is_refused),
        };
        return cmocka_run_group_tests_name("raft replication", tests, NULL, NULL);
}
