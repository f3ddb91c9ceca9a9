/*
 * Snapshots: for a peer that lacks what was cut from the log, and cutting it. The data is the
 * driver's; the core keeps the offsets. Pieces go out ahead of their answers, within the window; a
 * piece that is not the next one is answered with the one that is.
 *
 * The whole snapshot becomes the state in one write, with an empty log behind it, and the newest
 * members are then those of the snapshot: what the log said before is void, committed or not.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "manager/consensus/raft/raft_internal.h"
#include "shared/base/mem.h"

/* --- going out ----------------------------------------------------------------------------------
 */
void raft_begin_snapshot(struct raft *r, struct raft_peer *p)
{
        raft_peer_probe(r, p, 0);
        p->state = RAFT_PEER_SNAPSHOT;
        if (p->is_leaving)
                return;
        for (size_t i = 0; i < r->out->n_want_snapshot; i++) {
                if (r->out->want_snapshot[i] == p->id)
                        return;
        }
        r->out->want_snapshot[r->out->n_want_snapshot++] = p->id;
}

static void send_chunk(struct raft *r, struct raft_peer *p)
{
        struct raft_sending *s = &p->sending;
        struct raft_message m = raft_message_to(r, RAFT_CHUNK, p->id);

        m.chunk.transfer = s->transfer;
        m.chunk.index = s->base.index;
        m.chunk.index_term = s->base.term;
        m.chunk.offset = s->sent;
        m.chunk.size = s->size;
        m.chunk.len = (size_t)MIN(s->size - s->sent, (uint64_t)r->settings.chunk_bytes);
        m.chunk.members = xmemdup(&s->base.members, sizeof(s->base.members));
        s->sent += m.chunk.len;
        raft_say(r, RAFT_AFTER_TERM, &m);
}

void raft_send_chunks(struct raft *r, struct raft_peer *p)
{
        struct raft_sending *s = &p->sending;

        while (s->transfer && s->sent < s->size &&
               s->sent - s->acked < r->settings.inflight_bytes_max)
                send_chunk(r, p);
}

int64_t raft_snapshot_ready(struct raft *r, const struct raft_event *e)
{
        struct raft_peer *p = raft_peer(r, e->snapshot.peer);
        uint64_t index = e->snapshot.index;

        if (r->role != RAFT_LEADER)
                return -EAGAIN;
        if (!p || p->state != RAFT_PEER_SNAPSHOT || p->sending.transfer)
                return -ENOENT;
        if (index == 0) {
                raft_peer_probe(r, p, 0);
                p->is_probing = true; /* then it is asked for again */
                return 0;
        }
        if (index > r->told || e->snapshot.size == 0 || e->snapshot.size > RAFT_SNAPSHOT_BYTES_MAX)
                return -EINVAL;
        if (index < r->log.base.index) {
                raft_begin_snapshot(r, p); /* the log was cut meanwhile */
                return -EAGAIN;
        }
        p->sending = (struct raft_sending){.transfer = ++r->transfers, .size = e->snapshot.size};
        raft_base_at(r, index, &p->sending.base);
        p->moving_at = r->now_ms;
        raft_send_chunks(r, p);
        return 0;
}

void raft_on_chunk_taken(struct raft *r, const struct raft_message *m)
{
        struct raft_peer *p = raft_peer(r, m->from);

        if (!p)
                return;
        raft_peer_heard(r, p);
        if (p->state != RAFT_PEER_SNAPSHOT || !p->sending.transfer ||
            p->sending.transfer != m->chunk_taken.transfer ||
            m->chunk_taken.offset > p->sending.size)
                return;
        if (m->chunk_taken.offset > p->sending.acked)
                p->moving_at = r->now_ms;
        else if (m->chunk_taken.offset < p->sending.acked)
                p->sending.sent = m->chunk_taken.offset; /* it was started anew */
        p->sending.acked = m->chunk_taken.offset;
        p->sending.sent = MAX(p->sending.sent, p->sending.acked);
        raft_send_chunks(r, p);
}

/* --- coming in ----------------------------------------------------------------------------------
 */
static bool is_chunk_sound(const struct raft_message *m)
{
        return m->chunk.bytes && m->chunk.bytes->len == m->chunk.len && m->chunk.len > 0 &&
               m->chunk.members && m->chunk.index > 0 && m->chunk.index <= UINT64_MAX / 2 &&
               m->chunk.index_term <= m->term && m->chunk.size <= RAFT_SNAPSHOT_BYTES_MAX &&
               m->chunk.offset < m->chunk.size && m->chunk.len <= m->chunk.size - m->chunk.offset;
}

static void say_have(struct raft *r, const struct raft_message *m)
{
        struct raft_message reply = raft_message_to(r, RAFT_APPENDED, m->from);

        reply.appended.index = m->chunk.index;
        raft_say(r, RAFT_AFTER_ALL, &reply);
}

static void say_taken(struct raft *r, const struct raft_message *m, uint64_t offset)
{
        struct raft_message reply = raft_message_to(r, RAFT_CHUNK_TAKEN, m->from);

        reply.chunk_taken.transfer = m->chunk.transfer;
        reply.chunk_taken.offset = offset;
        raft_say(r, RAFT_AFTER_ALL, &reply);
}

static bool is_of_transfer(const struct raft *r, const struct raft_message *m)
{
        return r->receiving.from == m->from && r->receiving.term == m->term &&
               r->receiving.transfer == m->chunk.transfer && r->receiving.index == m->chunk.index &&
               r->receiving.size == m->chunk.size;
}

static bool is_of_older_transfer(const struct raft *r, const struct raft_message *m)
{
        return r->receiving.from == m->from && r->receiving.term == m->term &&
               r->receiving.transfer > m->chunk.transfer;
}

static void install(struct raft *r, const struct raft_message *m)
{
        struct raft_base base = {m->chunk.index, m->chunk.index_term, *m->chunk.members};

        memset(&r->receiving, 0, sizeof(r->receiving));
        raft_reset(r, &base);
        say_have(r, m);
}

static void take_chunk(struct raft *r, const struct raft_message *m)
{
        r->chunk = raft_bytes_ref(m->chunk.bytes);
        r->chunk_offset = m->chunk.offset;
        r->receiving.offset += m->chunk.len;
        if (r->receiving.offset == r->receiving.size)
                install(r, m);
        else
                say_taken(r, m, r->receiving.offset);
}

int raft_on_chunk(struct raft *r, const struct raft_message *m)
{
        if (!is_chunk_sound(m))
                return -EBADMSG;
        if (m->chunk.index <= r->commit ||
            raft_log_has(&r->log, m->chunk.index, m->chunk.index_term)) {
                raft_commit_to(r, MAX(r->commit, m->chunk.index));
                say_have(r, m);
                return 0;
        }
        if (is_of_older_transfer(r, m))
                return 0; /* a late one: what goes on must not be given up for it */
        bool is_same = is_of_transfer(r, m);
        if (!is_same && m->chunk.offset == 0) {
                r->receiving.from = m->from;
                r->receiving.term = m->term;
                r->receiving.transfer = m->chunk.transfer;
                r->receiving.index = m->chunk.index;
                r->receiving.size = m->chunk.size;
                r->receiving.offset = 0;
                is_same = true;
        }
        if (is_same && r->receiving.offset == m->chunk.offset)
                take_chunk(r, m);
        else
                say_taken(r, m, is_same ? r->receiving.offset : 0);
        return 0;
}

/* The leader of another term begins anew, if it sends one at all; and what the log has is not sent.
 */
void raft_end_receiving(struct raft *r)
{
        if (r->receiving.size == 0 ||
            (r->receiving.term == r->term && r->receiving.index > r->commit))
                return;
        assert(!r->chunk);
        memset(&r->receiving, 0, sizeof(r->receiving));
        r->drops_chunks = true;
}

/* --- cutting ------------------------------------------------------------------------------------
 */
/* What peers that are heard still need stays, as long as the log is not too large for that. */
static uint64_t cut_limit(const struct raft *r, uint64_t index)
{
        for (size_t i = 0; i < r->n_peers; i++) {
                const struct raft_peer *p = &r->peers[i];

                if (!raft_is_active(r, p->id))
                        continue;
                if (p->state != RAFT_PEER_SNAPSHOT)
                        index = MIN(index, p->match);
                else if (p->sending.transfer)
                        index = MIN(index, p->sending.base.index);
        }
        return index;
}

int64_t raft_cut(struct raft *r, uint64_t index)
{
        if (index > r->told)
                return -EINVAL;
        if (r->log.bytes <= r->settings.log_bytes_max / 2)
                index = cut_limit(r, index);
        if (index > r->log.base.index)
                raft_log_cut(&r->log, index, r->settings.log_keep_bytes,
                             r->settings.log_bytes_max / 2);
        for (size_t i = 0; i < r->n_peers; i++) {
                struct raft_peer *p = &r->peers[i];

                if (p->sending.transfer && p->sending.base.index < r->log.base.index)
                        raft_begin_snapshot(r, p); /* of no use any more */
        }
        return (int64_t)r->log.base.index;
}
