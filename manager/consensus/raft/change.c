/*
 * Members: who belongs to the cluster, and the leader's book about each. A change is an entry of
 * the log that holds all members, and is in force as soon as it is in the log; one at a time, so
 * that the majorities of two lists that follow each other always share a voter. That holds only if
 * the list before was agreed in this leader's term (Ongaro's correction of 2015).
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "manager/consensus/raft/raft_internal.h"
#include "shared/base/mem.h"

#define LEAVE_TIMEOUTS 3 /* election time-outs in which one that left is still told so */

struct raft_peer *raft_peer(const struct raft *r, uint64_t id)
{
        for (size_t i = 0; i < r->n_peers; i++) {
                if (r->peers[i].id == id)
                        return &r->peers[i];
        }
        return NULL;
}

bool raft_is_active(const struct raft *r, uint64_t id)
{
        const struct raft_peer *p = raft_peer(r, id);

        /* So that a leader that is cut off stands down within the election time-out. */
        return id == r->id || (p && r->now_ms - p->heard_at <
                                            r->settings.election_max_ms - r->settings.heartbeat_ms);
}

bool raft_is_heard(const struct raft *r, uint64_t id)
{
        const struct raft_peer *p = raft_peer(r, id);

        return raft_is_active(r, id) && (!p || p->is_heard);
}

void raft_peer_heard(struct raft *r, struct raft_peer *p)
{
        p->is_heard = true;
        p->heard_at = r->now_ms;
}

static void remove_peer(struct raft *r, size_t i)
{
        memmove(&r->peers[i], &r->peers[i + 1], (r->n_peers - i - 1) * sizeof(*r->peers));
        r->n_peers--;
}

static void add_peer(struct raft *r, uint64_t id)
{
        for (size_t i = 0; r->n_peers == RAFT_PEERS_MAX; i++) {
                if (r->peers[i].is_leaving)
                        remove_peer(r, i);
        }
        struct raft_peer *p = &r->peers[r->n_peers++];
        memset(p, 0, sizeof(*p));
        p->id = id;
        p->heard_at = r->now_ms;
        raft_peer_probe(r, p, raft_log_last(&r->log) + 1);
}

void raft_sync_peers(struct raft *r)
{
        for (size_t i = 0; i < r->n_peers; i++) {
                struct raft_peer *p = &r->peers[i];
                bool was_leaving = p->is_leaving;

                p->is_leaving = !raft_members_find(&r->members, p->id);
                p->leave_at = 0;
                if (was_leaving && !p->is_leaving)
                        raft_peer_probe(r, p, 0);
        }
        for (size_t i = 0; i < r->members.n; i++) {
                uint64_t id = r->members.of[i].id;

                if (id != r->id && !raft_peer(r, id))
                        add_peer(r, id);
        }
}

void raft_drop_leavers(struct raft *r)
{
        for (size_t i = 0; i < r->n_peers; i++) {
                struct raft_peer *p = &r->peers[i];

                if (!p->is_leaving || r->members_index > r->commit)
                        continue;
                if (!p->leave_at)
                        p->leave_at = r->now_ms + LEAVE_TIMEOUTS * r->settings.election_max_ms;
                else if (r->now_ms >= p->leave_at)
                        remove_peer(r, i--);
        }
}

/* --- a change -----------------------------------------------------------------------------------
 */
static int put_learner(struct raft_members *m, uint64_t id, const char *address)
{
        struct raft_member *it = (struct raft_member *)raft_members_find(m, id);

        if (id == 0 || !address || strlen(address) >= RAFT_ADDRESS_MAX)
                return -EINVAL;
        if (it && strcmp(it->address, address) == 0)
                return -EEXIST;
        if (!it && m->n == RAFT_MEMBERS_MAX)
                return -ENOSPC;
        if (!it) {
                it = &m->of[m->n++];
                *it = (struct raft_member){.id = id};
        }
        snprintf(it->address, sizeof(it->address), "%s", address);
        return 0;
}

static int set_voter(struct raft_members *m, uint64_t id, bool is_voter)
{
        struct raft_member *it = (struct raft_member *)raft_members_find(m, id);

        if (!it)
                return -ENOENT;
        if (it->is_voter == is_voter)
                return -EEXIST;
        it->is_voter = is_voter;
        return 0;
}

static int remove_member(struct raft_members *m, uint64_t id)
{
        struct raft_member *it = (struct raft_member *)raft_members_find(m, id);

        if (!it)
                return -ENOENT;
        memmove(it, it + 1, (size_t)(&m->of[m->n] - (it + 1)) * sizeof(*it));
        m->n--;
        return 0;
}

/* Could the new voters agree on anything? Who was not heard since the election may be dead. */
static bool has_quorum_of(const struct raft *r, const struct raft_members *m)
{
        size_t n = 0;

        for (size_t i = 0; i < m->n; i++)
                n += m->of[i].is_voter && raft_is_heard(r, m->of[i].id);
        return n > raft_members_count_voters(m) / 2;
}

static int apply_change(const struct raft *r, const struct raft_event *e, struct raft_members *m)
{
        uint64_t id = e->change.id;
        const struct raft_peer *p = raft_peer(r, id);

        switch (e->change.what) {
        case RAFT_PUT_LEARNER: return put_learner(m, id, e->change.address);
        case RAFT_PROMOTE:
                /* A voter that is not there, or has nothing yet, makes agreement harder only. */
                if (p && (!raft_is_active(r, id) || !p->match))
                        return -EHOSTUNREACH;
                return set_voter(m, id, true);
        case RAFT_DEMOTE: return set_voter(m, id, false);
        case RAFT_REMOVE: return remove_member(m, id);
        }
        return -EINVAL;
}

int64_t raft_change(struct raft *r, const struct raft_event *e)
{
        struct raft_members m = r->members;
        struct raft_entry entry = {r->term, RAFT_ENTRY_MEMBERS, NULL};

        if (r->role != RAFT_LEADER || r->commit < r->first_own)
                return -EAGAIN;
        if (r->transfer_to || r->members_index > r->commit)
                return -EBUSY;
        int rc = apply_change(r, e, &m);
        if (rc < 0)
                return rc;
        if (!has_quorum_of(r, &m))
                return -EHOSTUNREACH;
        entry.bytes = raft_members_encode(&m);
        raft_append(r, &entry);
        raft_sync_peers(r);
        raft_replicate_all(r);
        raft_leader_advance(r); /* fewer voters may agree on what is there */
        return (int64_t)raft_log_last(&r->log);
}
