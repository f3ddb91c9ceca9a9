/*
 * Elections: who stands, who votes, who won.
 *
 *               no leader heard for a (random) while
 *   FOLLOWER ------------------------------------------> PRECANDIDATE <-+
 *      ^  ^                                                  |          | no majority in time
 *      |  |  another leads, or a newer term was seen         | majority |
 *      |  +---------------------------------------------- CANDIDATE ----+
 *      |     the same, or no majority heard any more         | majority
 *      +-------------------------------------------------- LEADER
 *
 * A precandidate asks without raising the term, so that one that comes back from a cut-off place
 * disturbs nobody. A voter that hears a leader answers neither kind of request. Then one whose term
 * is ahead of the leader's would stay outside for ever: so it answers the leader RAFT_STALE, at
 * which the leader stands down. A handed over leadership skips both. Whoever sees that the leader's
 * process is gone does not wait for the time-out; a majority must see it, too, to vote for it.
 */
#include <errno.h>

#include "manager/consensus/raft/raft_internal.h"
#include "shared/base/mem.h"

#define PATIENCE_MAX 8 /* half time-outs that a candidacy takes at most: one more each time */
#define HURRY        3 /* tenths of the time-out: who sees the leader go stands within these */

bool raft_is_voter(const struct raft *r, uint64_t id)
{
        return raft_members_is_voter(&r->members, id);
}

/* One whose vote ends with a change that is not yet agreed may have what the others lack, and be
 * the only one who can bring it to an end. It stands, but its own vote does not count. */
bool raft_may_stand(const struct raft *r)
{
        struct raft_members before;
        uint64_t ignored;

        if (raft_is_voter(r, r->id))
                return true;
        if (r->members_index <= r->commit)
                return false;
        raft_log_members(&r->log, r->members_index - 1, &before, &ignored);
        return raft_members_is_voter(&before, r->id);
}

bool raft_hears_leader(const struct raft *r)
{
        return r->role == RAFT_LEADER ||
               (r->leader && r->now_ms - r->heard_at < r->settings.election_min_ms);
}

static void put_off_for(struct raft *r, int64_t min_ms, int64_t max_ms)
{
        r->deadline =
                r->now_ms + min_ms + (int64_t)rng_below(&r->rng, (uint64_t)(max_ms - min_ms) + 1);
}

void raft_put_off_election(struct raft *r)
{
        put_off_for(r, r->settings.election_min_ms, r->settings.election_max_ms);
}

void raft_become_follower(struct raft *r, uint64_t term, uint64_t leader)
{
        bool was_leader = r->role == RAFT_LEADER;

        if (was_leader)
                raft_leader_done(r);
        if (term > r->term)
                raft_set_term(r, term, 0);
        r->role = RAFT_FOLLOWER;
        r->leader = leader;
        r->n_votes = 0;
        if (leader) {
                r->heard_at = r->now_ms;
                r->attempts = 0;
        }
        if (leader || was_leader)
                raft_put_off_election(r);
}

static void note_vote(struct raft *r, uint64_t id, bool is_granted)
{
        for (size_t i = 0; i < r->n_votes; i++) {
                if (r->votes[i].id == id)
                        return;
        }
        if (r->n_votes < RAFT_MEMBERS_MAX)
                r->votes[r->n_votes++] = (struct raft_vote){id, is_granted};
}

static bool has_majority(const struct raft *r)
{
        size_t n = 0;

        for (size_t i = 0; i < r->n_votes; i++)
                n += r->votes[i].is_granted && raft_is_voter(r, r->votes[i].id);
        return n > raft_members_count_voters(&r->members) / 2;
}

static void ask_for_votes(struct raft *r, enum raft_message_kind kind, enum raft_gate gate)
{
        for (size_t i = 0; i < r->members.n; i++) {
                const struct raft_member *member = &r->members.of[i];

                if (!member->is_voter || member->id == r->id)
                        continue;
                struct raft_message m = raft_message_to(r, kind, member->id);
                m.vote.last_index = raft_log_last(&r->log);
                m.vote.last_term = raft_log_last_term(&r->log);
                m.vote.is_transfer = r->is_transfer;
                raft_say(r, gate, &m);
        }
}

void raft_campaign(struct raft *r, bool is_transfer)
{
        int64_t patience = (int64_t)MIN(++r->attempts, (uint64_t)PATIENCE_MAX);

        raft_set_term(r, r->term + 1, r->id);
        r->role = RAFT_CANDIDATE;
        r->leader = 0;
        r->n_votes = 0;
        r->is_transfer = is_transfer;
        r->own_vote_seq = r->write_seq + 1; /* of this step */
        /* Two that stood at once soon try again; where the disk is slow, the next takes longer. */
        put_off_for(r, r->settings.election_min_ms / 2 * patience,
                    r->settings.election_max_ms / 2 * patience);
        /* The log that is promised here must not be lost, nor the term be asked for twice. */
        ask_for_votes(r, RAFT_VOTE, RAFT_AFTER_ALL);
}

static void precampaign(struct raft *r)
{
        r->role = RAFT_PRECANDIDATE;
        r->leader = 0;
        r->n_votes = 0;
        r->is_transfer = false;
        /* Nothing is lost by asking again soon. */
        put_off_for(r, r->settings.election_min_ms / 2, r->settings.election_max_ms / 2);
        note_vote(r, r->id, true);
        if (has_majority(r))
                raft_campaign(r, false);
        else
                ask_for_votes(r, RAFT_PREVOTE, RAFT_AFTER_TERM);
}

void raft_on_election_due(struct raft *r)
{
        if (r->now_ms < r->deadline)
                return;
        if (raft_may_stand(r)) {
                precampaign(r);
                return;
        }
        r->leader = 0;
        r->role = RAFT_FOLLOWER;
        raft_put_off_election(r);
}

/* If it leads all the same, its next word undoes this, or those that hear it refuse their votes. */
void raft_on_leader_gone(struct raft *r, uint64_t id)
{
        uint64_t hurry_ms = (uint64_t)r->settings.election_min_ms * HURRY / 10;

        if (r->role != RAFT_FOLLOWER || id == 0 || r->leader != id)
                return;
        r->heard_at = MIN(r->heard_at, r->now_ms - r->settings.election_min_ms);
        r->deadline = MIN(r->deadline, r->now_ms + (int64_t)rng_below(&r->rng, hurry_ms + 1));
}

static void count(struct raft *r)
{
        if (!has_majority(r))
                return;
        if (r->role == RAFT_PRECANDIDATE)
                raft_campaign(r, false);
        else
                raft_become_leader(r);
}

void raft_count_own_vote(struct raft *r)
{
        if (r->role != RAFT_CANDIDATE || r->persisted_seq < r->own_vote_seq)
                return;
        note_vote(r, r->id, true);
        count(r);
}

void raft_on_voted(struct raft *r, const struct raft_message *m)
{
        bool is_pre = m->kind == RAFT_PREVOTED;
        enum raft_role asking = is_pre ? RAFT_PRECANDIDATE : RAFT_CANDIDATE;

        if (r->role != asking || m->voted.for_term != r->term + is_pre ||
            !raft_is_voter(r, m->from))
                return;
        note_vote(r, m->from, m->voted.is_granted);
        count(r);
}

static bool is_log_enough(const struct raft *r, const struct raft_message *m)
{
        uint64_t term = raft_log_last_term(&r->log);

        return m->vote.last_term > term ||
               (m->vote.last_term == term && m->vote.last_index >= raft_log_last(&r->log));
}

/* Who has just voted gives that one the time to win. */
static bool is_vote_free(const struct raft *r, const struct raft_message *m)
{
        if (r->vote == 0 || r->vote == m->from)
                return true;
        return m->kind == RAFT_PREVOTE &&
               (r->role != RAFT_FOLLOWER || r->now_ms - r->voted_at >= r->settings.election_min_ms);
}

/* Of the same term as ours, and not while a leader is heard. One that is no member here may ask as
 * well: the log that makes it one may not have come yet. */
void raft_on_vote_request(struct raft *r, const struct raft_message *m)
{
        bool is_pre = m->kind == RAFT_PREVOTE;
        struct raft_message reply =
                raft_message_to(r, is_pre ? RAFT_PREVOTED : RAFT_VOTED, m->from);

        reply.voted.for_term = m->term + is_pre;
        reply.voted.is_granted = is_vote_free(r, m) && is_log_enough(r, m);
        if (reply.voted.is_granted && !is_pre) {
                raft_set_term(r, r->term, m->from);
                r->voted_at = r->now_ms;
                r->role = RAFT_FOLLOWER;
                raft_put_off_election(r);
        }
        raft_say(r, RAFT_AFTER_TERM, &reply);
}
