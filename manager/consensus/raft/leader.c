/*
 * Leading: what is agreed, who is still heard, proposals, reads, and handing over.
 *
 * An entry is agreed once a majority of the voters has it on disk and an entry of this very term is
 * among what is counted: entries of older terms are never agreed by counting (figure 8 of the Raft
 * paper). Hence the no-op that opens each term.
 */
#include <errno.h>
#include <string.h>

#include "manager/consensus/raft/raft_internal.h"
#include "shared/base/mem.h"

#define AGREED(n_voters) ((n_voters) / 2 + 1)
#define STALL_TIMEOUTS   5  /* election time-outs that others wait for a leader's disk, */
#define BUSY_TIMEOUTS    10 /* and for its work */

bool raft_is_ready(const struct raft *r)
{
        return r->role == RAFT_LEADER && r->told >= r->first_own;
}

bool raft_can_propose(const struct raft *r)
{
        return raft_is_ready(r) && !r->transfer_to && r->log.bytes < r->settings.log_bytes_max;
}

/* --- reads --------------------------------------------------------------------------------------
 */
static void say_heartbeat(struct raft *r, const struct raft_peer *p)
{
        struct raft_message m = raft_message_to(r, RAFT_HEARTBEAT, p->id);

        m.heartbeat.commit = MIN(r->commit, p->match);
        m.heartbeat.round = r->round;
        raft_say(r, RAFT_AFTER_TERM, &m);
}

static bool is_round_confirmed(const struct raft *r)
{
        size_t n = raft_is_voter(r, r->id);

        for (size_t i = 0; i < r->n_peers; i++) {
                const struct raft_peer *p = &r->peers[i];

                n += p->round >= r->round && raft_is_voter(r, p->id);
        }
        return n >= AGREED(raft_members_count_voters(&r->members));
}

/* One round is out at a time; reads that come meanwhile share the next. */
static void turn_rounds(struct raft *r)
{
        for (;;) {
                if (r->is_round_out && is_round_confirmed(r)) {
                        r->confirmed = r->round;
                        r->read_index = r->round_index;
                        r->is_round_out = false;
                }
                if (r->is_round_out || r->wanted == r->round || r->commit < r->first_own)
                        return;
                r->round = r->wanted;
                r->round_index = r->commit;
                r->is_round_out = true;
                for (size_t i = 0; i < r->n_peers; i++)
                        say_heartbeat(r, &r->peers[i]);
        }
}

int64_t raft_read(struct raft *r)
{
        if (r->role != RAFT_LEADER)
                return -EAGAIN;
        r->wanted = r->round + 1;
        int64_t round = (int64_t)r->wanted;
        turn_rounds(r);
        return round;
}

void raft_on_heard(struct raft *r, const struct raft_message *m)
{
        struct raft_peer *p = raft_peer(r, m->from);

        if (!p)
                return;
        raft_peer_heard(r, p);
        p->round = MAX(p->round, MIN(m->heard.round, r->round));
        turn_rounds(r);
        raft_unstick(r, p);
}

/* --- handing over -------------------------------------------------------------------------------
 */
static void say_timeout_now(struct raft *r, uint64_t to)
{
        struct raft_message m = raft_message_to(r, RAFT_TIMEOUT_NOW, to);

        raft_say(r, RAFT_AFTER_TERM, &m);
}

/* The voter that is heard and has most of the log; 0: none. */
static uint64_t best_successor(const struct raft *r)
{
        const struct raft_peer *best = NULL;

        for (size_t i = 0; i < r->n_peers; i++) {
                const struct raft_peer *p = &r->peers[i];

                if (raft_is_voter(r, p->id) && raft_is_active(r, p->id) &&
                    (!best || p->match > best->match))
                        best = p;
        }
        return best ? best->id : 0;
}

void raft_hurry_transfer(struct raft *r)
{
        const struct raft_peer *p = raft_peer(r, r->transfer_to);

        if (r->role == RAFT_LEADER && p && p->match == raft_log_last(&r->log))
                say_timeout_now(r, p->id);
}

int64_t raft_transfer(struct raft *r, uint64_t to)
{
        if (r->role != RAFT_LEADER)
                return -EAGAIN;
        if (r->transfer_to)
                return -EBUSY;
        if (to == r->id)
                return 0;
        if (to && !raft_is_voter(r, to))
                return -EINVAL;
        if (to ? !raft_is_active(r, to) : !(to = best_successor(r)))
                return -EHOSTUNREACH;
        r->transfer_to = to;
        r->transfer_until = r->now_ms + r->settings.election_max_ms;
        raft_hurry_transfer(r);
        return 0;
}

/* --- what is agreed -----------------------------------------------------------------------------
 */
/* The highest index that a majority has on disk. */
static uint64_t majority_match(const struct raft *r)
{
        uint64_t match[RAFT_MEMBERS_MAX];
        size_t n = 0;

        for (size_t i = 0; i < r->members.n; i++) {
                const struct raft_member *m = &r->members.of[i];
                const struct raft_peer *p = raft_peer(r, m->id);
                size_t at = n;

                if (!m->is_voter)
                        continue;
                uint64_t of_it = m->id == r->id ? r->durable : p ? p->match : 0;
                for (; at > 0 && match[at - 1] < of_it; at--)
                        match[at] = match[at - 1];
                match[at] = of_it;
                n++;
        }
        return n ? match[AGREED(n) - 1] : 0;
}

/* It is no good as a leader any more. */
static void hand_over(struct raft *r)
{
        uint64_t next = best_successor(r);

        if (next)
                say_timeout_now(r, next);
        raft_become_follower(r, r->term, 0);
}

void raft_leader_advance(struct raft *r)
{
        uint64_t index = majority_match(r);

        if (r->role != RAFT_LEADER || index <= r->commit ||
            raft_log_term(&r->log, index) != r->term)
                return;
        raft_commit_to(r, index);
        turn_rounds(r);
        /* It led until the change that ends its vote was agreed. */
        if (!raft_is_voter(r, r->id) && r->members_index <= r->commit)
                hand_over(r);
}

int64_t raft_propose(struct raft *r, struct raft_bytes *bytes)
{
        struct raft_entry e = {r->term, RAFT_ENTRY_DATA, NULL};

        if (!raft_is_ready(r))
                return -EAGAIN;
        if (!raft_can_propose(r))
                return -EBUSY;
        if (!bytes || bytes->len > r->settings.entry_bytes_max)
                return -EFBIG;
        if (bytes->len) /* so it is NULL everywhere, as it comes from the wire */
                e.bytes = raft_bytes_ref(bytes);
        raft_append(r, &e);
        raft_replicate_all(r);
        return (int64_t)raft_log_last(&r->log);
}

/* --- the term of a leader -----------------------------------------------------------------------
 */
void raft_become_leader(struct raft *r)
{
        struct raft_entry noop = {r->term, RAFT_ENTRY_NOOP, NULL};

        r->role = RAFT_LEADER;
        r->leader = r->id;
        r->attempts = 0;
        r->n_peers = 0;
        raft_sync_peers(r);
        r->first_own = raft_log_last(&r->log) + 1;
        r->heartbeat_at = r->now_ms + r->settings.heartbeat_ms;
        r->busy_ms = 0;
        /* Rounds asked for in an earlier term are gone; their numbers are not used again. */
        r->round = r->wanted;
        r->is_round_out = false;
        raft_append(r, &noop);
        raft_replicate_all(r);
}

void raft_leader_done(struct raft *r)
{
        r->n_peers = 0;
        r->transfer_to = 0;
        r->is_round_out = false;
}

static bool has_quorum(const struct raft *r)
{
        size_t n = 0;

        for (size_t i = 0; i < r->members.n; i++)
                n += r->members.of[i].is_voter && raft_is_active(r, r->members.of[i].id);
        return n >= AGREED(raft_members_count_voters(&r->members));
}

/* The others have agreed, and nobody hears of it, because this one's disk does not go on. While its
 * heartbeats do, nobody else would come to lead. */
static bool is_stalled(const struct raft *r)
{
        return r->n_pending && r->commit > r->told &&
               r->now_ms - r->pending[0].since >= STALL_TIMEOUTS * r->settings.election_max_ms;
}

/* Answers to these wait unread. One that is busy without end must not lead. */
void raft_beat(struct raft *r, int64_t passed_ms)
{
        r->busy_ms += passed_ms;
        if (r->role != RAFT_LEADER || r->busy_ms > BUSY_TIMEOUTS * r->settings.election_max_ms)
                return;
        for (size_t i = 0; i < r->n_peers; i++)
                r->peers[i].heard_at += passed_ms;
        if (r->now_ms < r->heartbeat_at)
                return;
        r->heartbeat_at = r->now_ms + r->settings.heartbeat_ms;
        for (size_t i = 0; i < r->n_peers; i++)
                say_heartbeat(r, &r->peers[i]);
}

void raft_leader_tick(struct raft *r)
{
        r->busy_ms = 0;
        if (r->now_ms < r->heartbeat_at)
                return;
        r->heartbeat_at = r->now_ms + r->settings.heartbeat_ms;
        if (!has_quorum(r)) {
                raft_become_follower(r, r->term, 0);
                return;
        }
        if (is_stalled(r)) {
                hand_over(r);
                return;
        }
        if (r->transfer_to && r->now_ms >= r->transfer_until)
                r->transfer_to = 0;
        raft_drop_leavers(r);
        for (size_t i = 0; i < r->n_peers; i++) {
                raft_leave_silent(r, &r->peers[i]);
                say_heartbeat(r, &r->peers[i]);
        }
        raft_hurry_transfer(r);
}
