/*
 * The core's messages as bytes (proto/raft.proto), and back. What comes in is from another manager,
 * and still looked at as if it were not: counts and kinds are checked here, what the fields may say
 * to each other by the core.
 */
#include <errno.h>
#include <string.h>

#include "manager/consensus/raft/message.h"
#include "proto/raft.pb-c.h"
#include "shared/base/mem.h"
#include "shared/wire/wire.h"

#define ARENA_BYTES_MORE (4u << 20) /* beyond the bytes themselves */

/* --- members ------------------------------------------------------------------------------------
 */
struct members_pb {
        Swarm__RaftMembers list;
        Swarm__RaftMember of[RAFT_MEMBERS_MAX];
        Swarm__RaftMember *at[RAFT_MEMBERS_MAX];
};

static void fill_members(const struct raft_members *m, struct members_pb *pb)
{
        swarm__raft_members__init(&pb->list);
        for (size_t i = 0; i < m->n; i++) {
                swarm__raft_member__init(&pb->of[i]);
                pb->of[i].id = m->of[i].id;
                pb->of[i].is_voter = m->of[i].is_voter;
                pb->of[i].address = (char *)m->of[i].address;
                pb->at[i] = &pb->of[i];
        }
        pb->list.members = pb->at;
        pb->list.n_members = m->n;
}

struct raft_bytes *raft_members_encode(const struct raft_members *m)
{
        struct members_pb pb;
        _cleanup_buf_ struct buf b = {0};

        fill_members(m, &pb);
        WIRE_PACK(&pb.list, &b);
        return raft_bytes_new(b.data, b.len);
}

static int read_members(const Swarm__RaftMembers *pb, struct raft_members *ret)
{
        struct raft_members m = {0};

        if (pb->n_members > RAFT_MEMBERS_MAX)
                return -EBADMSG;
        for (size_t i = 0; i < pb->n_members; i++) {
                const Swarm__RaftMember *it = pb->members[i];

                if (it->id == 0 || raft_members_find(&m, it->id) ||
                    strlen(it->address) >= RAFT_ADDRESS_MAX)
                        return -EBADMSG;
                m.of[i].id = it->id;
                m.of[i].is_voter = it->is_voter;
                memcpy(m.of[i].address, it->address, strlen(it->address) + 1);
                m.n = i + 1;
        }
        *ret = m;
        return 0;
}

int raft_members_decode(const uint8_t *p, size_t n, struct raft_members *ret)
{
        _cleanup_arena_ struct wire_arena arena = {0};
        const Swarm__RaftMembers *pb = wire_unpack(&arena, &swarm__raft_members__descriptor, p, n);

        return pb ? read_members(pb, ret) : -EBADMSG;
}

/* --- out ----------------------------------------------------------------------------------------
 */
union body {
        ProtobufCMessage base;
        Swarm__RaftVote vote;
        Swarm__RaftVoted voted;
        Swarm__RaftAppend append;
        Swarm__RaftAppended appended;
        Swarm__RaftHeartbeat heartbeat;
        Swarm__RaftHeard heard;
        Swarm__RaftChunk chunk;
        Swarm__RaftChunkTaken chunk_taken;
        Swarm__RaftStale stale;
        Swarm__RaftTimeoutNow timeout_now;
};

struct entries_pb {
        Swarm__RaftEntry *of, **at;
};

static ProtobufCBinaryData as_data(const struct raft_bytes *b)
{
        if (!b)
                return (ProtobufCBinaryData){0};
        return (ProtobufCBinaryData){b->len, (uint8_t *)b->data};
}

static void fill_append(const struct raft_message *m, Swarm__RaftAppend *pb, struct entries_pb *e)
{
        size_t n = m->append.n_entries;

        swarm__raft_append__init(pb);
        pb->prev_index = m->append.prev_index;
        pb->prev_term = m->append.prev_term;
        pb->commit = m->append.commit;
        e->of = xnew_array(Swarm__RaftEntry, n ? n : 1);
        e->at = xnew_array(Swarm__RaftEntry *, n ? n : 1);
        for (size_t i = 0; i < n; i++) {
                swarm__raft_entry__init(&e->of[i]);
                e->of[i].term = m->append.entries[i].term;
                e->of[i].kind = m->append.entries[i].kind;
                e->of[i].bytes = as_data(m->append.entries[i].bytes);
                e->at[i] = &e->of[i];
        }
        pb->entries = e->at;
        pb->n_entries = n;
}

static void fill_chunk(const struct raft_message *m, Swarm__RaftChunk *pb,
                       struct members_pb *members)
{
        swarm__raft_chunk__init(pb);
        pb->transfer = m->chunk.transfer;
        pb->index = m->chunk.index;
        pb->index_term = m->chunk.index_term;
        pb->offset = m->chunk.offset;
        pb->size = m->chunk.size;
        pb->bytes = as_data(m->chunk.bytes);
        fill_members(m->chunk.members, members);
        pb->members = &members->list;
}

static void fill_answer(const struct raft_message *m, union body *pb)
{
        switch (m->kind) {
        case RAFT_APPENDED:
                swarm__raft_appended__init(&pb->appended);
                pb->appended.is_refused = m->appended.is_refused;
                pb->appended.index = m->appended.index;
                pb->appended.hint_index = m->appended.hint_index;
                pb->appended.hint_term = m->appended.hint_term;
                break;
        case RAFT_HEARTBEAT:
                swarm__raft_heartbeat__init(&pb->heartbeat);
                pb->heartbeat.commit = m->heartbeat.commit;
                pb->heartbeat.round = m->heartbeat.round;
                break;
        case RAFT_HEARD:
                swarm__raft_heard__init(&pb->heard);
                pb->heard.round = m->heard.round;
                break;
        case RAFT_CHUNK_TAKEN:
                swarm__raft_chunk_taken__init(&pb->chunk_taken);
                pb->chunk_taken.transfer = m->chunk_taken.transfer;
                pb->chunk_taken.offset = m->chunk_taken.offset;
                break;
        case RAFT_TIMEOUT_NOW: swarm__raft_timeout_now__init(&pb->timeout_now); break;
        default: swarm__raft_stale__init(&pb->stale); break;
        }
}

static void fill_body(const struct raft_message *m, union body *pb, struct entries_pb *entries,
                      struct members_pb *members)
{
        switch (m->kind) {
        case RAFT_PREVOTE:
        case RAFT_VOTE:
                swarm__raft_vote__init(&pb->vote);
                pb->vote.last_index = m->vote.last_index;
                pb->vote.last_term = m->vote.last_term;
                pb->vote.is_transfer = m->vote.is_transfer;
                break;
        case RAFT_PREVOTED:
        case RAFT_VOTED:
                swarm__raft_voted__init(&pb->voted);
                pb->voted.is_granted = m->voted.is_granted;
                pb->voted.for_term = m->voted.for_term;
                break;
        case RAFT_APPEND: fill_append(m, &pb->append, entries); break;
        case RAFT_CHUNK: fill_chunk(m, &pb->chunk, members); break;
        default: fill_answer(m, pb); break;
        }
}

void raft_message_encode(const struct raft_message *m, struct buf *b)
{
        Swarm__RaftMessage pb = SWARM__RAFT_MESSAGE__INIT;
        union body body;
        struct members_pb members;
        struct entries_pb entries = {0};

        fill_body(m, &body, &entries, &members);
        pb.from = m->from;
        pb.to = m->to;
        pb.term = m->term;
        pb.kind_case = (Swarm__RaftMessage__KindCase)m->kind;
        pb.stale = &body.stale; /* whichever it is: all are pointers in one union */
        WIRE_PACK(&pb, b);
        free(entries.of);
        free(entries.at);
}

/* --- in -----------------------------------------------------------------------------------------
 */
static struct raft_bytes *take_bytes(const ProtobufCBinaryData *b)
{
        return b->len ? raft_bytes_new(b->data, b->len) : NULL;
}

static int read_append(const Swarm__RaftAppend *pb, struct raft_message *m)
{
        if (pb->n_entries > RAFT_APPEND_ENTRIES_MAX)
                return -EBADMSG;
        for (size_t i = 0; i < pb->n_entries; i++) {
                if (pb->entries[i]->kind > RAFT_ENTRY_MEMBERS)
                        return -EPROTO;
        }
        m->append.prev_index = pb->prev_index;
        m->append.prev_term = pb->prev_term;
        m->append.commit = pb->commit;
        m->append.n_entries = pb->n_entries;
        m->append.entries = xnew_array(struct raft_entry, MAX(pb->n_entries, (size_t)1));
        for (size_t i = 0; i < pb->n_entries; i++) {
                m->append.entries[i].term = pb->entries[i]->term;
                m->append.entries[i].kind = (enum raft_entry_kind)pb->entries[i]->kind;
                m->append.entries[i].bytes = take_bytes(&pb->entries[i]->bytes);
        }
        return 0;
}

static int read_chunk(const Swarm__RaftChunk *pb, struct raft_message *m)
{
        struct raft_members members;

        if (!pb->members || !pb->bytes.len || read_members(pb->members, &members) < 0)
                return -EBADMSG;
        m->chunk.transfer = pb->transfer;
        m->chunk.index = pb->index;
        m->chunk.index_term = pb->index_term;
        m->chunk.offset = pb->offset;
        m->chunk.size = pb->size;
        m->chunk.len = pb->bytes.len;
        m->chunk.bytes = take_bytes(&pb->bytes);
        m->chunk.members = xmemdup(&members, sizeof(members));
        return 0;
}

static void read_vote(const Swarm__RaftVote *pb, struct raft_message *m)
{
        m->vote.last_index = pb->last_index;
        m->vote.last_term = pb->last_term;
        m->vote.is_transfer = pb->is_transfer;
}

static void read_voted(const Swarm__RaftVoted *pb, struct raft_message *m)
{
        m->voted.is_granted = pb->is_granted;
        m->voted.for_term = pb->for_term;
}

static void read_appended(const Swarm__RaftAppended *pb, struct raft_message *m)
{
        m->appended.is_refused = pb->is_refused;
        m->appended.index = pb->index;
        m->appended.hint_index = pb->hint_index;
        m->appended.hint_term = pb->hint_term;
}

static int read_body(const Swarm__RaftMessage *pb, struct raft_message *m)
{
        m->kind = (enum raft_message_kind)pb->kind_case;
        switch (pb->kind_case) {
        case SWARM__RAFT_MESSAGE__KIND_PREVOTE:
        case SWARM__RAFT_MESSAGE__KIND_VOTE: read_vote(pb->vote, m); return 0;
        case SWARM__RAFT_MESSAGE__KIND_PREVOTED:
        case SWARM__RAFT_MESSAGE__KIND_VOTED: read_voted(pb->voted, m); return 0;
        case SWARM__RAFT_MESSAGE__KIND_APPEND: return read_append(pb->append, m);
        case SWARM__RAFT_MESSAGE__KIND_APPENDED: read_appended(pb->appended, m); return 0;
        case SWARM__RAFT_MESSAGE__KIND_HEARTBEAT:
                m->heartbeat.commit = pb->heartbeat->commit;
                m->heartbeat.round = pb->heartbeat->round;
                return 0;
        case SWARM__RAFT_MESSAGE__KIND_HEARD: m->heard.round = pb->heard->round; return 0;
        case SWARM__RAFT_MESSAGE__KIND_CHUNK: return read_chunk(pb->chunk, m);
        case SWARM__RAFT_MESSAGE__KIND_CHUNK_TAKEN:
                m->chunk_taken.transfer = pb->chunk_taken->transfer;
                m->chunk_taken.offset = pb->chunk_taken->offset;
                return 0;
        case SWARM__RAFT_MESSAGE__KIND_STALE:
        case SWARM__RAFT_MESSAGE__KIND_TIMEOUT_NOW: return 0;
        default: return -EBADMSG;
        }
}

int raft_message_decode(const uint8_t *p, size_t n, struct raft_message *ret)
{
        _cleanup_arena_ struct wire_arena arena = {.cap_bytes = n + ARENA_BYTES_MORE};
        struct raft_message m = {0};
        const Swarm__RaftMessage *pb = wire_unpack(&arena, &swarm__raft_message__descriptor, p, n);

        if (!pb || pb->from == 0 || pb->to == 0 || pb->from == pb->to)
                return -EBADMSG;
        int r = read_body(pb, &m);
        if (r < 0)
                return r;
        m.from = pb->from;
        m.to = pb->to;
        m.term = pb->term;
        *ret = m;
        return 0;
}
