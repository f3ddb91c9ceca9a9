/* Messages that are well-formed and untrue, in any order: a core may believe them (a manager is
 * trusted), refuse them or ignore them, but none of them ends the process. */
#include "tests/lib/unit.h"

#include "manager/consensus/raft/raft.h"
#include "shared/base/base.h"

#define CORES    400
#define MESSAGES 300
#define NUMBERS  12 /* indexes and terms are small, so that they often meet */

struct liar {
        struct rng rng;
        struct raft *raft;
        int64_t now_ms;
        uint64_t term;
};

static uint64_t below(struct liar *l, uint64_t n)
{
        return rng_below(&l->rng, n);
}

static uint64_t number(struct liar *l)
{
        return below(l, 50) == 0 ? rng_next(&l->rng) : below(l, NUMBERS);
}

static void step(struct liar *l, struct raft_event *e)
{
        uint64_t seq;

        do {
                struct raft_output out;

                e->now_ms = l->now_ms;
                raft_step(l->raft, e, &out);
                seq = below(l, 4) ? out.write.seq : 0; /* sometimes the disk is late */
                l->term = out.term;
                assert_true(out.commit_index <= raft_last_index(l->raft));
                raft_output_done(&out);
                *e = (struct raft_event){.kind = RAFT_PERSISTED, .seq = seq};
        } while (seq);
}

static struct raft_members some_members(struct liar *l)
{
        struct raft_members m = {.n = 1 + below(l, 4)};

        for (size_t i = 0; i < m.n; i++)
                m.of[i] = (struct raft_member){.id = i + 1, .is_voter = below(l, 3) > 0};
        return m;
}

static struct raft_entry some_entry(struct liar *l)
{
        struct raft_entry e = {.term = number(l), .kind = (enum raft_entry_kind)below(l, 3)};
        struct raft_members m = some_members(l);

        if (e.kind == RAFT_ENTRY_MEMBERS)
                e.bytes = raft_members_encode(&m);
        else if (below(l, 2))
                e.bytes = raft_bytes_new("x", 1);
        return e;
}

static void fill_append(struct liar *l, struct raft_message *m)
{
        m->append.prev_index = number(l);
        m->append.prev_term = number(l);
        m->append.commit = number(l);
        m->append.n_entries = below(l, 4);
        m->append.entries = xnew_array(struct raft_entry, 4);
        for (size_t i = 0; i < m->append.n_entries; i++)
                m->append.entries[i] = some_entry(l);
}

static void fill_chunk(struct liar *l, struct raft_message *m)
{
        struct raft_members members = some_members(l);

        m->chunk.transfer = below(l, 3);
        m->chunk.index = number(l);
        m->chunk.index_term = number(l);
        m->chunk.offset = below(l, 3);
        m->chunk.size = 1 + below(l, 3);
        m->chunk.len = 1 + below(l, 2);
        m->chunk.bytes = raft_bytes_new("xy", m->chunk.len);
        m->chunk.members = xmemdup(&members, sizeof(members));
}

static void fill_answer(struct liar *l, struct raft_message *m)
{
        switch (m->kind) {
        case RAFT_PREVOTE:
        case RAFT_VOTE:
                m->vote.last_index = number(l);
                m->vote.last_term = number(l);
                m->vote.is_transfer = below(l, 2);
                break;
        case RAFT_PREVOTED:
        case RAFT_VOTED:
                m->voted.is_granted = below(l, 4) > 0;
                m->voted.for_term = m->term + (m->kind == RAFT_PREVOTED);
                break;
        case RAFT_APPENDED:
                m->appended.is_refused = below(l, 2);
                m->appended.index = number(l);
                m->appended.hint_index = number(l);
                m->appended.hint_term = number(l);
                break;
        case RAFT_HEARTBEAT: m->heartbeat.commit = number(l); break;
        case RAFT_HEARD: m->heard.round = number(l); break;
        case RAFT_CHUNK_TAKEN:
                m->chunk_taken.transfer = below(l, 4);
                m->chunk_taken.offset = number(l);
                break;
        default: break;
        }
}

static void lie(struct liar *l)
{
        struct raft_message m = {.kind = (enum raft_message_kind)(RAFT_PREVOTE + below(l, 12)),
                                 .from = 2 + below(l, 3),
                                 .to = 1,
                                 .term = below(l, 8) ? l->term : number(l)};
        struct raft_event e = {.kind = RAFT_RECEIVE, .message = &m};

        if (m.kind == RAFT_APPEND)
                fill_append(l, &m);
        else if (m.kind == RAFT_CHUNK)
                fill_chunk(l, &m);
        else
                fill_answer(l, &m);
        step(l, &e);
        raft_message_done(&m);
}

/* What its own driver does meanwhile. */
static void drive(struct liar *l)
{
        struct raft_event e = {.kind = RAFT_TICK};
        struct raft_bytes *bytes = NULL;

        l->now_ms += (int64_t)below(l, 400);
        switch (below(l, 6)) {
        case 0:
                e = (struct raft_event){.kind = RAFT_PROPOSE,
                                        .bytes = bytes = raft_bytes_new("p", 1)};
                break;
        case 1: e = (struct raft_event){.kind = RAFT_CUT, .index = below(l, NUMBERS)}; break;
        case 2: e = (struct raft_event){.kind = RAFT_READ}; break;
        case 3: e = (struct raft_event){.kind = RAFT_TRANSFER, .peer = below(l, 4)}; break;
        case 4:
                e = (struct raft_event){.kind = RAFT_SNAPSHOT_READY};
                e.snapshot.peer = 2 + below(l, 2);
                e.snapshot.index = below(l, NUMBERS);
                e.snapshot.size = 3;
                break;
        default: break;
        }
        step(l, &e);
        raft_bytes_unref(bytes);
}

static void test_lies_do_no_harm(void **state UNUSED)
{
        uint64_t led = 0;

        for (uint64_t seed = 1; seed <= CORES; seed++) {
                struct raft_start start = {.id = 1, .seed = seed, .settings.log_keep_bytes = 1};
                struct liar l = {.rng.state = seed};

                start.settings.chunk_bytes = 1;
                start.base.members = some_members(&l);
                start.base.members.of[0].is_voter = true;
                assert_int_equal(raft_new(&start, &l.raft), 0);
                for (int i = 0; i < MESSAGES; i++) {
                        struct raft_base base;

                        if (below(&l, 4))
                                lie(&l);
                        else
                                drive(&l);
                        led += raft_progress(l.raft, 2, &(struct raft_progress){0}) == 0;
                        assert_int_equal(raft_base_at(l.raft, raft_last_index(l.raft), &base), 0);
                }
                raft_free(l.raft);
        }
        assert_true(led > CORES); /* leaders were lied to as well */
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_lies_do_no_harm),
        };
        return cmocka_run_group_tests_name("raft lies", tests, NULL, NULL);
}
