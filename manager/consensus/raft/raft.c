/*
 * The core's door: a step is one event handed to the part that knows it, then the output of all
 * that it did. Read this first, then election.c, leader.c, replicate.c (the leader's side) and
 * follower.c.
 */
#include "manager/consensus/raft/raft.h"

#include <errno.h>
#include <string.h>

#include "manager/consensus/raft/raft_internal.h"
#include "shared/base/mem.h"
#include "shared/base/time.h"

#define SIZE_OR(setting, value) ((setting) ? (setting) : (value))

/* --- its making ---------------------------------------------------------------------------------
 */
static int set_settings(struct raft_settings *s)
{
        s->heartbeat_ms = SIZE_OR(s->heartbeat_ms, 100);
        s->election_min_ms = SIZE_OR(s->election_min_ms, 500);
        s->election_max_ms = SIZE_OR(s->election_max_ms, 2 * s->election_min_ms);
        s->entry_bytes_max = SIZE_OR(s->entry_bytes_max, (size_t)64 << 20);
        s->append_bytes_max = SIZE_OR(s->append_bytes_max, (size_t)1 << 20);
        s->inflight_bytes_max = SIZE_OR(s->inflight_bytes_max, (size_t)8 << 20);
        s->chunk_bytes = SIZE_OR(s->chunk_bytes, (size_t)512 << 10);
        s->log_bytes_max = SIZE_OR(s->log_bytes_max, (size_t)256 << 20);
        /* What is kept must leave room for what is proposed. */
        s->log_keep_bytes = MIN(SIZE_OR(s->log_keep_bytes, (size_t)8 << 20), s->log_bytes_max / 2);
        return s->heartbeat_ms > 0 && s->election_min_ms >= 2 * s->heartbeat_ms &&
                               s->election_max_ms >= s->election_min_ms
                       ? 0
                       : -EINVAL;
}

static bool are_members_sound(const struct raft_members *m)
{
        for (size_t i = 0; i < MIN(m->n, (size_t)RAFT_MEMBERS_MAX); i++) {
                if (m->of[i].id == 0 || raft_members_find(m, m->of[i].id) != &m->of[i])
                        return false;
        }
        return m->n <= RAFT_MEMBERS_MAX;
}

static int check_start(const struct raft_start *s)
{
        uint64_t term = s->base.term, last = s->base.index + s->n_entries;

        if (s->id == 0 || s->base.index > UINT64_MAX / 2 || s->applied < s->base.index ||
            s->applied > last || !are_members_sound(&s->base.members))
                return -EINVAL;
        for (size_t i = 0; i < s->n_entries; i++) {
                const struct raft_entry *e = &s->entries[i];

                if (e->term < term || !raft_is_entry_sound(e))
                        return -EINVAL;
                term = e->term;
        }
        return term <= s->term ? 0 : -EINVAL;
}

static void load_log(struct raft *r, const struct raft_start *s)
{
        raft_log_init(&r->log, &s->base);
        for (size_t i = 0; i < s->n_entries; i++) {
                struct raft_entry e = s->entries[i];

                raft_bytes_ref(e.bytes);
                raft_log_append(&r->log, &e);
        }
        r->durable = raft_log_last(&r->log);
        raft_log_members(&r->log, r->durable, &r->members, &r->members_index);
        r->commit = s->base.index;
        r->was_member = raft_members_find(&s->base.members, r->id) != NULL;
        raft_commit_to(r, s->applied);
        r->told = r->commit;
}

int raft_new(const struct raft_start *start, struct raft **ret)
{
        struct raft_settings settings = start->settings;

        if (set_settings(&settings) < 0 || check_start(start) < 0)
                return -EINVAL;
        struct raft *r = xnew(struct raft);
        r->id = start->id;
        r->settings = settings;
        r->rng.state = start->seed;
        r->now_ms = start->now_ms;
        r->voted_at = start->now_ms - settings.election_min_ms; /* not known */
        r->term = start->term;
        r->vote = start->vote;
        r->peers = xnew_array(struct raft_peer, RAFT_PEERS_MAX);
        load_log(r, start);
        raft_put_off_election(r);
        /* One that needs nobody's vote leads at once. */
        if (raft_is_voter(r, r->id) && raft_members_count_voters(&r->members) == 1)
                r->deadline = r->now_ms;
        *ret = r;
        return 0;
}

void raft_free(struct raft *r)
{
        if (!r)
                return;
        for (size_t i = 0; i < r->n_held; i++)
                raft_message_done(&r->held[i].message);
        raft_log_done(&r->log);
        raft_bytes_unref(r->chunk);
        free(r->held);
        free(r->pending);
        free(r->peers);
        free(r);
}

/* --- messages -----------------------------------------------------------------------------------
 */
static bool is_request(const struct raft_message *m)
{
        return m->kind == RAFT_PREVOTE || m->kind == RAFT_VOTE || m->kind == RAFT_APPEND ||
               m->kind == RAFT_HEARTBEAT || m->kind == RAFT_CHUNK || m->kind == RAFT_TIMEOUT_NOW;
}

static bool is_of_leader(const struct raft_message *m)
{
        return m->kind == RAFT_APPEND || m->kind == RAFT_HEARTBEAT || m->kind == RAFT_CHUNK;
}

static int on_leaders_message(struct raft *r, const struct raft_message *m)
{
        if (r->role == RAFT_LEADER || (r->leader && r->leader != m->from))
                return -EBADMSG; /* a term has one leader */
        raft_become_follower(r, r->term, m->from);
        switch (m->kind) {
        case RAFT_APPEND: return raft_on_append(r, m);
        case RAFT_CHUNK: return raft_on_chunk(r, m);
        default: return raft_on_heartbeat(r, m);
        }
}

static int on_answer(struct raft *r, const struct raft_message *m)
{
        if (r->role != RAFT_LEADER)
                return 0;
        switch (m->kind) {
        case RAFT_APPENDED: return raft_on_appended(r, m);
        case RAFT_HEARD: raft_on_heard(r, m); break;
        case RAFT_CHUNK_TAKEN: raft_on_chunk_taken(r, m); break;
        default: break;
        }
        return 0;
}

/* A message of our own term. */
static int on_message(struct raft *r, const struct raft_message *m)
{
        if (is_of_leader(m))
                return on_leaders_message(r, m);
        switch (m->kind) {
        case RAFT_PREVOTE:
        case RAFT_VOTE: raft_on_vote_request(r, m); break;
        case RAFT_PREVOTED:
        case RAFT_VOTED: raft_on_voted(r, m); break;
        case RAFT_TIMEOUT_NOW:
                if (r->role == RAFT_FOLLOWER && raft_may_stand(r))
                        raft_campaign(r, true);
                break;
        default: return on_answer(r, m);
        }
        return 0;
}

static int receive(struct raft *r, const struct raft_message *m)
{
        bool is_vote = m->kind == RAFT_PREVOTE || m->kind == RAFT_VOTE;

        if (m->to != r->id || m->from == r->id || m->from == 0 || m->term > UINT64_MAX / 2)
                return -EBADMSG;
        if (m->term < r->term) {
                struct raft_message reply = raft_message_to(r, RAFT_STALE, m->from);

                if (is_request(m))
                        raft_say(r, RAFT_AFTER_TERM, &reply);
                return 0;
        }
        if (is_vote && !m->vote.is_transfer && raft_hears_leader(r))
                return 0;
        if (m->term > r->term)
                raft_become_follower(r, m->term, 0);
        return on_message(r, m);
}

/* --- a step -------------------------------------------------------------------------------------
 */
static void tick(struct raft *r)
{
        if (r->role == RAFT_LEADER)
                raft_leader_tick(r);
        else
                raft_on_election_due(r);
}

static void persisted(struct raft *r, uint64_t seq)
{
        raft_on_persisted(r, seq);
        raft_count_own_vote(r);
        if (r->role == RAFT_LEADER)
                raft_leader_advance(r);
}

static int64_t handle(struct raft *r, const struct raft_event *e, int64_t passed_ms)
{
        switch (e->kind) {
        case RAFT_TICK: tick(r); return 0;
        case RAFT_BEAT: raft_beat(r, passed_ms); return 0;
        case RAFT_RECEIVE: return receive(r, e->message);
        case RAFT_PROPOSE: return raft_propose(r, e->bytes);
        case RAFT_CHANGE: return raft_change(r, e);
        case RAFT_TRANSFER: return raft_transfer(r, e->peer);
        case RAFT_READ: return raft_read(r);
        case RAFT_PERSISTED: persisted(r, e->seq); return 0;
        case RAFT_LEADER_GONE: raft_on_leader_gone(r, e->peer); return 0;
        case RAFT_SNAPSHOT_READY: return raft_snapshot_ready(r, e);
        case RAFT_CUT: return raft_cut(r, e->index);
        }
        return -EINVAL;
}

int64_t raft_step(struct raft *r, const struct raft_event *e, struct raft_output *out)
{
        memset(out, 0, sizeof(*out));
        r->out = out;
        int64_t passed_ms = MAX(e->now_ms - r->now_ms, 0);
        r->now_ms += passed_ms;
        int64_t rc = handle(r, e, passed_ms);
        raft_finish_step(r);
        return rc;
}

int64_t raft_deadline_ms(const struct raft *r)
{
        if (r->role != RAFT_LEADER)
                return r->deadline;
        return r->n_peers ? r->heartbeat_at : TIME_NEVER;
}

/* --- looking at it ------------------------------------------------------------------------------
 */
const struct raft_entry *raft_entry_at(const struct raft *r, uint64_t index)
{
        if (index <= r->log.base.index || index > raft_log_last(&r->log))
                return NULL;
        return raft_log_at(&r->log, index);
}

uint64_t raft_last_index(const struct raft *r)
{
        return raft_log_last(&r->log);
}

const struct raft_base *raft_base(const struct raft *r)
{
        return &r->log.base;
}

const struct raft_members *raft_members(const struct raft *r)
{
        return &r->members;
}

int raft_base_at(const struct raft *r, uint64_t index, struct raft_base *ret)
{
        uint64_t ignored;

        if (index < r->log.base.index || index > raft_log_last(&r->log))
                return -ENOENT;
        ret->index = index;
        ret->term = raft_log_term(&r->log, index);
        raft_log_members(&r->log, index, &ret->members, &ignored);
        return 0;
}

int raft_progress(const struct raft *r, uint64_t id, struct raft_progress *ret)
{
        const struct raft_peer *p = raft_peer(r, id);

        if (!p)
                return -ENOENT;
        ret->match = p->match;
        ret->is_active = raft_is_heard(r, id);
        ret->in_snapshot = p->state == RAFT_PEER_SNAPSHOT;
        return 0;
}
