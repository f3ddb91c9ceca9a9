/* Snapshots: who gets one, its pieces on a bad network, what it makes of the log, and cutting. */
#include "tests/lib/cores.h"

#include <errno.h>
#include <string.h>

#include "shared/base/base.h"

#define SIZE 1000 /* of the snapshots here; pieces of 100 */

/* One to three have entries up to `last` and the log is cut there; 3 was away. */
static void begin(struct cores *c, uint64_t *ret_last)
{
        struct raft_event e = {.kind = RAFT_CUT};

        cores_init(c, 3);
        c->settings.chunk_bytes = 100;
        c->settings.inflight_bytes_max = 300;
        for (uint64_t id = 1; id <= 3; id++) {
                cores_kill(c, id);
                cores_start(c, id);
        }
        cores_elect(c, 1);
        cores_cut(c, 3);
        for (int i = 0; i < 10; i++)
                cores_propose(c, 1, "x");
        cores_run(c, 2000); /* 3 is not heard any more, so nothing is kept for it */
        e.index = *ret_last = c->nodes[1].out.commit_index;
        assert_int_equal(cores_step(c, 1, &e), *ret_last - 1); /* the newest entry stays */
        cores_lose(c);
        cores_join(c, 3);
}

static int64_t ready(struct cores *c, uint64_t index)
{
        struct raft_event e = {.kind = RAFT_SNAPSHOT_READY};

        e.snapshot.peer = 3;
        e.snapshot.index = index;
        e.snapshot.size = SIZE;
        return cores_step(c, 1, &e);
}

static void want(struct cores *c)
{
        for (int i = 0; i < 300 && !c->nodes[1].want_snapshot; i++)
                cores_run(c, 10);
        assert_int_equal(c->nodes[1].want_snapshot, 3);
        c->nodes[1].want_snapshot = 0;
}

/* Puts in the bytes, as a driver does. */
static void fill(struct cores *c)
{
        for (size_t i = 0; i < c->n_queue; i++) {
                struct raft_message *m = &c->queue[i];
                uint8_t bytes[100];

                if (m->kind != RAFT_CHUNK || m->chunk.bytes)
                        continue;
                memset(bytes, (int)(m->chunk.offset / 100), sizeof(bytes));
                m->chunk.bytes = raft_bytes_new(bytes, m->chunk.len);
        }
}

static void settle(struct cores *c)
{
        for (int i = 0; c->n_queue; i++) {
                assert_true(i < 1000);
                fill(c);
                assert_int_equal(cores_deliver(c, &c->queue[0]), 0);
        }
}

static void test_one_that_lags_gets_a_snapshot(void **state UNUSED)
{
        struct raft_progress p;
        uint64_t last;
        struct cores c;

        begin(&c, &last);
        want(&c);
        assert_int_equal(raft_progress(c.nodes[1].raft, 3, &p), 0);
        assert_true(p.in_snapshot);
        assert_int_equal(ready(&c, last), 0);
        size_t chunks = 0;
        for (size_t i = 0; i < c.n_queue; i++)
                chunks += c.queue[i].kind == RAFT_CHUNK;
        assert_int_equal(chunks, 3); /* the window */
        settle(&c);
        assert_int_equal(c.nodes[3].base.index, last);
        assert_int_equal(c.nodes[3].base.term, 1);
        assert_int_equal(c.nodes[3].base.members.n, 3);
        assert_int_equal(c.nodes[3].out.commit_index, last);
        assert_int_equal(raft_progress(c.nodes[1].raft, 3, &p), 0);
        assert_false(p.in_snapshot);
        assert_int_equal(p.match, last);
        assert_int_equal(cores_propose(&c, 1, "y"), last + 1);
        cores_settle(&c);
        cores_assert_log(&c, 3, last + 1, "1:y");
        cores_done(&c);
}

/* The members that go with it are those of its index, although there are newer ones. */
static void test_a_snapshot_goes_with_its_members(void **state UNUSED)
{
        struct cores c;
        uint64_t last;

        begin(&c, &last);
        want(&c);
        assert_true(cores_change(&c, 1, RAFT_PUT_LEARNER, 4) > (int64_t)last);
        assert_int_equal(raft_members(c.nodes[1].raft)->n, 4);
        cores_lose(&c);
        assert_int_equal(ready(&c, last), 0);
        const struct raft_message *m = cores_find(&c, RAFT_CHUNK, 3);
        assert_non_null(m);
        assert_int_equal(m->chunk.index, last);
        assert_int_equal(m->chunk.members->n, 3);
        assert_null(raft_members_find(m->chunk.members, 4));
        cores_done(&c);
}

static void test_a_snapshot_is_agreed_once_it_is_on_disk(void **state UNUSED)
{
        struct raft_progress p;
        uint64_t last;
        struct cores c;

        begin(&c, &last);
        want(&c);
        ready(&c, last);
        for (int i = 0; c.nodes[3].seq == 0 || raft_base(c.nodes[3].raft)->index == 0; i++) {
                assert_true(i < 1000 && c.n_queue);
                fill(&c);
                struct raft_message *m = &c.queue[0];
                if (m->kind == RAFT_CHUNK && m->chunk.offset + m->chunk.len == SIZE)
                        cores_hold_disk(&c, 3);
                cores_deliver(&c, m);
        }
        settle(&c);
        assert_true(c.nodes[3].out.commit_index < last);
        assert_int_equal(raft_progress(c.nodes[1].raft, 3, &p), 0);
        assert_true(p.match < last);
        cores_release_disk(&c, 3);
        assert_int_equal(c.nodes[3].out.commit_index, last);
        settle(&c);
        assert_int_equal(raft_progress(c.nodes[1].raft, 3, &p), 0);
        assert_int_equal(p.match, last);
        cores_done(&c);
}

static void test_pieces_that_are_lost_doubled_or_out_of_order(void **state UNUSED)
{
        struct rng rng = {1};
        uint64_t last;
        struct cores c;

        for (int round = 0; round < 50; round++) {
                begin(&c, &last);
                want(&c);
                ready(&c, last);
                for (int i = 0; c.nodes[3].base.index != last; i++) {
                        struct raft_event e = {.kind = RAFT_TICK};

                        assert_true(i < 20000);
                        if (!c.n_queue) {
                                c.now_ms += 20;
                                cores_step(&c, 1, &e);
                                continue;
                        }
                        fill(&c);
                        struct raft_message *m = &c.queue[rng_below(&rng, c.n_queue)];
                        if (rng_below(&rng, 5) == 0) {
                                cores_drop(&c, m);
                        } else if (rng_below(&rng, 5) == 0) {
                                struct raft_message twice = *m;
                                struct raft_event again = {.kind = RAFT_RECEIVE, .message = &twice};

                                if (m->kind == RAFT_CHUNK)
                                        assert_int_equal(cores_step(&c, m->to, &again), 0);
                        } else {
                                assert_int_equal(cores_deliver(&c, m), 0);
                        }
                }
                cores_done(&c);
        }
}

static void test_a_receiver_that_starts_anew_gets_all_again(void **state UNUSED)
{
        uint64_t last;
        struct cores c;

        begin(&c, &last);
        want(&c);
        ready(&c, last);
        for (int i = 0; i < 6; i++) {
                fill(&c);
                cores_deliver(&c, &c.queue[0]);
        }
        cores_kill(&c, 3);
        cores_start(&c, 3);
        for (int i = 0; i < 300 && c.nodes[3].base.index != last; i++) {
                settle(&c);
                cores_tick(&c, 1);
        }
        assert_int_equal(c.nodes[3].base.index, last);
        cores_done(&c);
}

/* Pieces of an older transfer are not taken for those of the present one. */
static void test_two_transfers_are_not_mixed(void **state UNUSED)
{
        struct raft_members members = {.n = 1, .of = {{.id = 1, .is_voter = true}}};
        struct raft_bytes *bytes = raft_bytes_new("0123456789", 10);
        struct raft_message m = {.kind = RAFT_CHUNK, .from = 1, .to = 3, .term = 1};
        struct raft_event e = {.kind = RAFT_RECEIVE, .message = &m};
        struct cores c;

        cores_init(&c, 3);
        m.chunk.transfer = 1;
        m.chunk.index = 7;
        m.chunk.index_term = 1;
        m.chunk.size = 20;
        m.chunk.len = 10;
        m.chunk.bytes = bytes;
        m.chunk.members = &members;
        assert_int_equal(cores_step(&c, 3, &e), 0);
        assert_int_equal(cores_find(&c, RAFT_CHUNK_TAKEN, 1)->chunk_taken.offset, 10);
        cores_lose(&c);
        m.chunk.transfer = 2;
        m.chunk.offset = 10;
        assert_int_equal(cores_step(&c, 3, &e), 0);
        assert_int_equal(cores_find(&c, RAFT_CHUNK_TAKEN, 1)->chunk_taken.offset, 0);
        assert_int_equal(cores_find(&c, RAFT_CHUNK_TAKEN, 1)->chunk_taken.transfer, 2);
        assert_int_equal(raft_base(c.nodes[3].raft)->index, 0);
        m.chunk.transfer = 1; /* the first one goes on */
        assert_int_equal(cores_step(&c, 3, &e), 0);
        assert_int_equal(raft_base(c.nodes[3].raft)->index, 7);
        raft_bytes_unref(bytes);
        cores_done(&c);
}

/* A first piece that comes late, of a transfer that was given up, does not end the one that goes
 * on. */
static void test_a_late_first_piece_changes_nothing(void **state UNUSED)
{
        struct raft_members members = {.n = 1, .of = {{.id = 1, .is_voter = true}}};
        struct raft_bytes *bytes = raft_bytes_new("0123456789", 10);
        struct raft_message m = {.kind = RAFT_CHUNK, .from = 1, .to = 3, .term = 1};
        struct raft_event e = {.kind = RAFT_RECEIVE, .message = &m};
        struct cores c;

        cores_init(&c, 3);
        m.chunk.transfer = 2;
        m.chunk.index = 7;
        m.chunk.index_term = 1;
        m.chunk.size = 20;
        m.chunk.len = 10;
        m.chunk.bytes = bytes;
        m.chunk.members = &members;
        assert_int_equal(cores_step(&c, 3, &e), 0);
        m.chunk.transfer = 1;
        m.chunk.index = 5;
        assert_int_equal(cores_step(&c, 3, &e), 0);
        m.chunk.transfer = 2;
        m.chunk.index = 7;
        m.chunk.offset = 10;
        assert_int_equal(cores_step(&c, 3, &e), 0);
        assert_int_equal(raft_base(c.nodes[3].raft)->index, 7);
        raft_bytes_unref(bytes);
        cores_done(&c);
}

/* What has come in is dropped as soon as it cannot go on. */
static void test_a_part_is_dropped_with_its_leader(void **state UNUSED)
{
        struct raft_message m = {.kind = RAFT_HEARTBEAT, .from = 2, .to = 3};
        struct raft_event e = {.kind = RAFT_RECEIVE, .message = &m};
        struct cores c;
        uint64_t last;

        begin(&c, &last);
        want(&c);
        ready(&c, last);
        for (int i = 0; i < 2; i++) {
                fill(&c);
                cores_deliver(&c, &c.queue[0]);
        }
        assert_int_equal(c.nodes[3].incoming, 200);
        cores_lose(&c);
        cores_run(&c, 100); /* its leader is still there */
        assert_int_equal(c.nodes[3].incoming, 200);
        m.term = c.nodes[3].term + 1;
        assert_int_equal(cores_step(&c, 3, &e), 0);
        assert_int_equal(c.nodes[3].term, m.term);
        assert_int_equal(c.nodes[3].incoming, 0);
        cores_done(&c);
}

static void test_a_part_of_what_the_log_has_is_dropped(void **state UNUSED)
{
        struct raft_members members = {.n = 1, .of = {{.id = 1, .is_voter = true}}};
        struct raft_bytes *bytes = raft_bytes_new("0123456789", 10);
        struct raft_entry entries[2] = {{1, RAFT_ENTRY_NOOP, NULL}, {1, RAFT_ENTRY_NOOP, NULL}};
        struct raft_message m = {.kind = RAFT_CHUNK, .from = 1, .to = 3, .term = 1};
        struct raft_event e = {.kind = RAFT_RECEIVE, .message = &m};
        struct cores c;

        cores_init(&c, 3);
        m.chunk.transfer = 1;
        m.chunk.index = 2;
        m.chunk.index_term = 1;
        m.chunk.size = 20;
        m.chunk.len = 10;
        m.chunk.bytes = bytes;
        m.chunk.members = &members;
        assert_int_equal(cores_step(&c, 3, &e), 0);
        assert_int_equal(c.nodes[3].incoming, 10);
        m = (struct raft_message){.kind = RAFT_APPEND, .from = 1, .to = 3, .term = 1};
        m.append.entries = entries;
        m.append.n_entries = 2;
        m.append.commit = 1;
        assert_int_equal(cores_step(&c, 3, &e), 0);
        assert_int_equal(c.nodes[3].incoming, 10); /* not agreed yet */
        m.append.commit = 2;
        assert_int_equal(cores_step(&c, 3, &e), 0);
        assert_int_equal(c.nodes[3].incoming, 0);
        raft_bytes_unref(bytes);
        cores_done(&c);
}

static void test_pieces_that_cannot_be_are_refused(void **state UNUSED)
{
        struct raft_members members = {.n = 1, .of = {{.id = 1, .is_voter = true}}};
        struct raft_bytes *bytes = raft_bytes_new("0123456789", 10);
        struct raft_message good = {.kind = RAFT_CHUNK, .from = 1, .to = 3, .term = 1}, m;
        struct raft_event e = {.kind = RAFT_RECEIVE, .message = &m};
        struct cores c;

        cores_init(&c, 3);
        good.chunk.index = good.chunk.index_term = good.chunk.transfer = 1;
        good.chunk.size = 20;
        good.chunk.len = 10;
        good.chunk.bytes = bytes;
        good.chunk.members = &members;
        m = good;
        m.chunk.offset = 11;
        assert_int_equal(cores_step(&c, 3, &e), -EBADMSG);
        m = good;
        m.chunk.offset = UINT64_MAX - 5;
        assert_int_equal(cores_step(&c, 3, &e), -EBADMSG);
        m = good;
        m.chunk.len = 9;
        assert_int_equal(cores_step(&c, 3, &e), -EBADMSG);
        m = good;
        m.chunk.bytes = NULL;
        assert_int_equal(cores_step(&c, 3, &e), -EBADMSG);
        m = good;
        m.chunk.members = NULL;
        assert_int_equal(cores_step(&c, 3, &e), -EBADMSG);
        m = good;
        m.chunk.index_term = 2;
        assert_int_equal(cores_step(&c, 3, &e), -EBADMSG);
        m = good;
        m.chunk.index = UINT64_MAX;
        assert_int_equal(cores_step(&c, 3, &e), -EBADMSG);
        m = good;
        m.chunk.size = UINT64_MAX;
        assert_int_equal(cores_step(&c, 3, &e), -EBADMSG);
        m = good;
        assert_int_equal(cores_step(&c, 3, &e), 0);
        raft_bytes_unref(bytes);
        cores_done(&c);
}

/* The log that it had is void, and with it the members that only that log knew. */
static void test_a_snapshot_resets_the_members(void **state UNUSED)
{
        struct raft_members members = {.n = 2, .of = {{.id = 1, .is_voter = true}, {.id = 2}}};
        struct raft_bytes *bytes = raft_bytes_new("0123456789", 10);
        struct raft_message m = {.kind = RAFT_CHUNK, .from = 1, .to = 3, .term = 9};
        struct raft_event e = {.kind = RAFT_RECEIVE, .message = &m};
        struct cores c;

        cores_init(&c, 3);
        cores_elect(&c, 3);
        cores_cut(&c, 3);
        assert_true(cores_change(&c, 3, RAFT_PUT_LEARNER, 5) > 0);
        cores_propose(&c, 3, "x");
        m.chunk.index = 2;
        m.chunk.index_term = 8;
        m.chunk.size = m.chunk.len = 10;
        m.chunk.bytes = bytes;
        m.chunk.members = &members;
        assert_int_equal(cores_step(&c, 3, &e), 0);
        assert_int_equal(raft_members(c.nodes[3].raft)->n, 2);
        assert_int_equal(raft_last_index(c.nodes[3].raft), 2);
        assert_int_equal(c.nodes[3].base.index, 2);
        assert_int_equal(c.nodes[3].n_entries, 0);
        assert_true(c.nodes[3].out.is_removed); /* it was a member, and is not there any more */
        raft_bytes_unref(bytes);
        cores_done(&c);
}

/* A snapshot of what is here already changes nothing; the leader learns that it is. */
static void test_a_snapshot_of_what_is_here(void **state UNUSED)
{
        struct raft_members members = {.n = 1, .of = {{.id = 1, .is_voter = true}}};
        struct raft_bytes *bytes = raft_bytes_new("0123456789", 10);
        struct raft_message m = {.kind = RAFT_CHUNK, .from = 1, .to = 3, .term = 1};
        struct raft_event e = {.kind = RAFT_RECEIVE, .message = &m};
        struct cores c;

        cores_init(&c, 3);
        cores_elect(&c, 1);
        cores_propose(&c, 1, "a");
        cores_propose(&c, 1, "b");
        cores_settle(&c);
        m.chunk.index = 2;
        m.chunk.index_term = 1;
        m.chunk.size = m.chunk.len = 10;
        m.chunk.bytes = bytes;
        m.chunk.members = &members;
        assert_int_equal(cores_step(&c, 3, &e), 0);
        cores_assert_log(&c, 3, 1, "1:- 1:a 1:b");
        assert_int_equal(cores_find(&c, RAFT_APPENDED, 1)->appended.index, 2);
        assert_int_equal(c.nodes[3].out.commit_index, 2);
        raft_bytes_unref(bytes);
        cores_done(&c);
}

static void test_a_snapshot_that_cannot_be_made_is_wanted_again(void **state UNUSED)
{
        uint64_t last;
        struct cores c;

        begin(&c, &last);
        want(&c);
        assert_int_equal(ready(&c, last + 1), -EINVAL);
        assert_int_equal(ready(&c, 1), -EAGAIN); /* the log was cut further meanwhile */
        assert_int_equal(c.nodes[1].want_snapshot, 3);
        c.nodes[1].want_snapshot = 0;
        assert_int_equal(ready(&c, 0), 0);
        assert_int_equal(ready(&c, last), -ENOENT);
        want(&c);
        assert_int_equal(ready(&c, last), 0);
        assert_int_equal(ready(&c, last), -ENOENT);
        settle(&c);
        assert_int_equal(c.nodes[3].base.index, last);
        cores_done(&c);
}

/* While it is on its way, what comes after it stays in the log; not if its receiver is gone. */
static void test_cutting_waits_for_a_snapshot(void **state UNUSED)
{
        struct raft_event e = {.kind = RAFT_CUT};
        uint64_t last;
        struct cores c;

        begin(&c, &last);
        want(&c);
        ready(&c, last);
        settle(&c);
        cores_done(&c);

        begin(&c, &last);
        want(&c);
        ready(&c, last);
        cores_lose(&c);
        cores_cut(&c, 3);
        for (int i = 0; i < 5; i++)
                cores_propose(&c, 1, "y");
        cores_settle(&c);
        e.index = last + 4;
        assert_int_equal(c.nodes[1].out.commit_index, last + 5);
        assert_int_equal(cores_step(&c, 1, &e), last);
        cores_run(&c, 2000);
        assert_int_equal(cores_step(&c, 1, &e), last + 4);
        assert_int_equal(c.nodes[1].want_snapshot, 3); /* a newer one */
        cores_done(&c);
}

static void test_cutting_keeps_what_others_lack(void **state UNUSED)
{
        struct raft_event e = {.kind = RAFT_CUT};
        struct cores c;

        cores_init(&c, 3);
        cores_elect(&c, 1);
        cores_hold_disk(&c, 3);
        for (int i = 0; i < 10; i++)
                cores_propose(&c, 1, "x");
        cores_run(&c, 300);
        e.index = 9;
        assert_int_equal(c.nodes[1].out.commit_index, 11);
        assert_int_equal(cores_step(&c, 1, &e), 1);
        assert_int_equal(cores_step(&c, 2, &e), 9);
        cores_release_disk(&c, 3);
        cores_settle(&c);
        assert_int_equal(cores_step(&c, 1, &e), 9);
        cores_assert_log(&c, 1, 10, "1:x 1:x");
        cores_done(&c);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_one_that_lags_gets_a_snapshot),
                cmocka_unit_test(test_a_snapshot_goes_with_its_members),
                cmocka_unit_test(test_a_snapshot_is_agreed_once_it_is_on_disk),
                cmocka_unit_test(test_pieces_that_are_lost_doubled_or_out_of_order),
                cmocka_unit_test(test_a_receiver_that_starts_anew_gets_all_again),
                cmocka_unit_test(test_two_transfers_are_not_mixed),
                cmocka_unit_test(test_a_late_first_piece_changes_nothing),
                cmocka_unit_test(test_a_part_is_dropped_with_its_leader),
                cmocka_unit_test(test_a_part_of_what_the_log_has_is_dropped),
                cmocka_unit_test(test_pieces_that_cannot_be_are_refused),
                cmocka_unit_test(test_a_snapshot_resets_the_members),
                cmocka_unit_test(test_a_snapshot_of_what_is_here),
                cmocka_unit_test(test_a_snapshot_that_cannot_be_made_is_wanted_again),
                cmocka_unit_test(test_cutting_waits_for_a_snapshot),
                cmocka_unit_test(test_cutting_keeps_what_others_lack),
        };
        return cmocka_run_group_tests_name("raft snapshots", tests, NULL, NULL);
}
