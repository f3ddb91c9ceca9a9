/* Messages as bytes: what goes in comes out, and no bytes do harm. */
#include "tests/lib/unit.h"

#include <errno.h>
#include <string.h>

#include "manager/consensus/raft/message.h"
#include "manager/consensus/raft/raft.h"
#include "proto/raft.pb-c.h"
#include "shared/base/base.h"
#include "shared/wire/wire.h"

static struct raft_message some(enum raft_message_kind kind)
{
        struct raft_message m = {.kind = kind, .from = 3, .to = 1, .term = 77};

        switch (kind) {
        case RAFT_PREVOTE:
        case RAFT_VOTE:
                m.vote.last_index = 11;
                m.vote.last_term = 12;
                m.vote.is_transfer = true;
                break;
        case RAFT_PREVOTED:
        case RAFT_VOTED:
                m.voted.is_granted = true;
                m.voted.for_term = 78;
                break;
        case RAFT_APPEND:
                m.append.prev_index = 5;
                m.append.prev_term = 6;
                m.append.commit = 4;
                m.append.n_entries = 3;
                m.append.entries = xnew_array(struct raft_entry, 3);
                m.append.entries[0] = (struct raft_entry){70, RAFT_ENTRY_NOOP, NULL};
                m.append.entries[1] =
                        (struct raft_entry){70, RAFT_ENTRY_DATA, raft_bytes_new("a\0b", 3)};
                m.append.entries[2] =
                        (struct raft_entry){77, RAFT_ENTRY_MEMBERS, raft_bytes_new("x", 1)};
                break;
        case RAFT_APPENDED:
                m.appended.is_refused = true;
                m.appended.index = 9;
                m.appended.hint_index = 8;
                m.appended.hint_term = 7;
                break;
        case RAFT_HEARTBEAT:
                m.heartbeat.commit = 99;
                m.heartbeat.round = 98;
                break;
        case RAFT_HEARD: m.heard.round = 98; break;
        case RAFT_CHUNK:
                m.chunk.transfer = 1;
                m.chunk.index = 2;
                m.chunk.index_term = 3;
                m.chunk.offset = 4;
                m.chunk.size = 100;
                m.chunk.len = 5;
                m.chunk.bytes = raft_bytes_new("12345", 5);
                m.chunk.members = xnew(struct raft_members);
                m.chunk.members->n = 2;
                m.chunk.members->of[0] = (struct raft_member){8, true, "10.0.0.1:7377"};
                m.chunk.members->of[1] = (struct raft_member){9, false, ""};
                break;
        case RAFT_CHUNK_TAKEN:
                m.chunk_taken.transfer = 1;
                m.chunk_taken.offset = 50;
                break;
        default: break;
        }
        return m;
}

static void test_all_kinds_come_out_as_they_went_in(void **state UNUSED)
{
        for (enum raft_message_kind kind = RAFT_PREVOTE; kind <= RAFT_TIMEOUT_NOW; kind++) {
                struct raft_message m = some(kind), back;
                _cleanup_buf_ struct buf a = {0}, b = {0};

                raft_message_encode(&m, &a);
                assert_int_equal(raft_message_decode(a.data, a.len, &back), 0);
                assert_int_equal(back.kind, kind);
                assert_int_equal(back.from, 3);
                assert_int_equal(back.to, 1);
                assert_int_equal(back.term, 77);
                raft_message_encode(&back, &b);
                assert_int_equal(a.len, b.len);
                assert_memory_equal(a.data, b.data, a.len);
                raft_message_done(&m);
                raft_message_done(&back);
        }
}

static void test_fields_come_out(void **state UNUSED)
{
        struct raft_message m = some(RAFT_CHUNK), back;
        _cleanup_buf_ struct buf b = {0};

        raft_message_encode(&m, &b);
        assert_int_equal(raft_message_decode(b.data, b.len, &back), 0);
        assert_int_equal(back.chunk.len, 5);
        assert_memory_equal(back.chunk.bytes->data, "12345", 5);
        assert_int_equal(back.chunk.members->n, 2);
        assert_true(back.chunk.members->of[0].is_voter);
        assert_string_equal(back.chunk.members->of[0].address, "10.0.0.1:7377");
        raft_message_done(&back);
        raft_message_done(&m);
        m = some(RAFT_APPEND);
        buf_clear(&b);
        raft_message_encode(&m, &b);
        assert_int_equal(raft_message_decode(b.data, b.len, &back), 0);
        assert_int_equal(back.append.n_entries, 3);
        assert_int_equal(back.append.entries[1].bytes->len, 3);
        assert_int_equal(back.append.entries[2].kind, RAFT_ENTRY_MEMBERS);
        assert_int_equal(back.append.entries[2].term, 77);
        raft_message_done(&back);
        raft_message_done(&m);
}

static void assert_refused(const void *p, size_t n)
{
        struct raft_message m;

        assert_int_equal(raft_message_decode(p, n, &m), -EBADMSG);
}

static void test_what_is_no_message_is_refused(void **state UNUSED)
{
        struct raft_message m = {.kind = RAFT_STALE, .from = 1, .to = 2, .term = 3};
        _cleanup_buf_ struct buf b = {0};

        assert_refused("", 0);
        assert_refused("\xff\xff\xff", 3);
        m.to = 1; /* to itself */
        raft_message_encode(&m, &b);
        assert_refused(b.data, b.len);
        m.to = 0;
        buf_clear(&b);
        raft_message_encode(&m, &b);
        assert_refused(b.data, b.len);

        Swarm__RaftMessage none = SWARM__RAFT_MESSAGE__INIT;
        none.from = 1;
        none.to = 2;
        buf_clear(&b);
        WIRE_PACK(&none, &b);
        assert_refused(b.data, b.len);
}

static void test_counts_and_kinds_are_bounded(void **state UNUSED)
{
        struct raft_message m = some(RAFT_APPEND);
        _cleanup_buf_ struct buf b = {0};

        m.append.entries[0].kind = (enum raft_entry_kind)3;
        raft_message_encode(&m, &b);
        struct raft_message newer;
        assert_int_equal(raft_message_decode(b.data, b.len, &newer), -EPROTO);
        raft_message_done(&m);

        m = (struct raft_message){.kind = RAFT_APPEND, .from = 1, .to = 2};
        m.append.n_entries = RAFT_APPEND_ENTRIES_MAX + 1;
        m.append.entries = xnew_array(struct raft_entry, m.append.n_entries);
        buf_clear(&b);
        raft_message_encode(&m, &b);
        assert_refused(b.data, b.len);
        m.append.n_entries--;
        buf_clear(&b);
        raft_message_encode(&m, &b);
        struct raft_message back;
        assert_int_equal(raft_message_decode(b.data, b.len, &back), 0);
        raft_message_done(&back);
        raft_message_done(&m);
}

static void test_members(void **state UNUSED)
{
        struct raft_members m = {.n = 3, .of = {{1, true, "a"}, {2, false, "b"}, {3, true, ""}}};
        struct raft_members back;
        struct raft_bytes *b = raft_members_encode(&m);

        assert_int_equal(raft_members_decode(b->data, b->len, &back), 0);
        assert_int_equal(back.n, 3);
        assert_int_equal(raft_members_count_voters(&back), 2);
        assert_true(raft_members_is_voter(&back, 3));
        assert_false(raft_members_is_voter(&back, 2));
        assert_false(raft_members_is_voter(&back, 4));
        assert_null(raft_members_find(&back, 4));
        assert_string_equal(raft_members_find(&back, 2)->address, "b");
        raft_bytes_unref(b);
        m.of[2].id = 1; /* twice the same */
        b = raft_members_encode(&m);
        assert_int_equal(raft_members_decode(b->data, b->len, &back), -EBADMSG);
        raft_bytes_unref(b);
        m.of[2].id = 0;
        b = raft_members_encode(&m);
        assert_int_equal(raft_members_decode(b->data, b->len, &back), -EBADMSG);
        raft_bytes_unref(b);
}

/* Whatever decodes is a message that a core can be given: it may refuse it, never fall over it. */
static void test_bytes_that_were_changed_do_no_harm(void **state UNUSED)
{
        struct raft_members members = {.n = 1, .of = {{3, true, "x"}}};
        struct raft_start start = {.id = 1, .seed = 1, .base = {.members = members}};
        struct rng rng = {5};
        struct raft *r;
        size_t decoded = 0;

        assert_int_equal(raft_new(&start, &r), 0);
        for (int round = 0; round < 60000; round++) {
                enum raft_message_kind kind = RAFT_PREVOTE + round % 12;
                struct raft_message m = some(kind), back;
                _cleanup_buf_ struct buf b = {0};
                struct raft_output out;

                raft_message_encode(&m, &b);
                raft_message_done(&m);
                for (uint64_t i = rng_below(&rng, 3); i < 2; i++)
                        b.data[rng_below(&rng, b.len)] = (uint8_t)rng_next(&rng);
                if (rng_below(&rng, 20) == 0)
                        b.len = rng_below(&rng, b.len);
                if (raft_message_decode(b.data, b.len, &back) < 0)
                        continue;
                decoded++;
                struct raft_event e = {.kind = RAFT_RECEIVE, .now_ms = round, .message = &back};
                raft_step(r, &e, &out);
                raft_output_done(&out);
                e = (struct raft_event){.kind = RAFT_PERSISTED, .now_ms = round};
                e.seq = out.write.seq;
                raft_step(r, &e, &out);
                raft_output_done(&out);
                raft_message_done(&back);
        }
        assert_true(decoded > 10000);
        raft_free(r);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_all_kinds_come_out_as_they_went_in),
                cmocka_unit_test(test_fields_come_out),
                cmocka_unit_test(test_what_is_no_message_is_refused),
                cmocka_unit_test(test_counts_and_kinds_are_bounded),
                cmocka_unit_test(test_members),
                cmocka_unit_test(test_bytes_that_were_changed_do_no_harm),
        };
        return cmocka_run_group_tests_name("raft wire", tests, NULL, NULL);
}
