/* The Raft core behind the port: see consensus.h. */
#include "manager/consensus/consensus.h"

#include <errno.h>

#include "shared/base/mem.h"

struct consensus {
        struct consensus_ops ops;
        struct consensus_status status;
        struct raft *raft;
        uint64_t replacing_seq; /* of the write that puts a snapshot in place; 0: none */
};

/* --- an output ----------------------------------------------------------------------------------
 */
static void note_status(struct consensus *c, const struct raft_output *out)
{
        struct consensus_status *s = &c->status;

        s->term = out->term;
        s->leader = out->leader;
        s->is_leader = out->role == RAFT_LEADER;
        s->is_ready = out->is_ready;
        s->can_propose = out->can_propose;
        s->is_removed = out->is_removed;
        s->is_replacing = c->replacing_seq != 0;
        s->commit_index = out->commit_index;
        s->read_round = out->read_round;
        s->read_index = out->read_index;
}

static void carry_out(struct consensus *c, struct raft_output *out)
{
        if (out->write.install) {
                c->replacing_seq = out->write.seq;
                c->ops.on_replace(c->ops.arg);
        }
        if (out->write.seq)
                c->ops.write(c->ops.arg, &out->write);
        for (size_t i = 0; i < out->n_messages; i++)
                c->ops.send(c->ops.arg, &out->messages[i]);
        for (size_t i = 0; i < out->n_want_snapshot; i++)
                c->ops.want_snapshot(c->ops.arg, out->want_snapshot[i]);
        note_status(c, out);
        raft_output_done(out);
}

static int64_t step(struct consensus *c, int64_t now_ms, struct raft_event *e)
{
        struct raft_output out;

        e->now_ms = now_ms;
        int64_t r = raft_step(c->raft, e, &out);
        carry_out(c, &out);
        return r;
}

/* --- its life -----------------------------------------------------------------------------------
 */
int consensus_new(const struct raft_start *start, const struct consensus_ops *ops,
                  struct consensus **ret)
{
        struct consensus *c = xnew(struct consensus);
        int r = raft_new(start, &c->raft);

        if (r < 0) {
                free(c);
                return r;
        }
        c->ops = *ops;
        c->status.id = start->id;
        c->status.term = start->term;
        c->status.commit_index = start->applied;
        *ret = c;
        return 0;
}

void consensus_free(struct consensus *c)
{
        if (!c)
                return;
        raft_free(c->raft);
        free(c);
}

const struct consensus_status *consensus_status(const struct consensus *c)
{
        return &c->status;
}

int64_t consensus_deadline_ms(const struct consensus *c)
{
        return raft_deadline_ms(c->raft);
}

/* --- events -------------------------------------------------------------------------------------
 */
void consensus_tick(struct consensus *c, int64_t now_ms)
{
        struct raft_event e = {.kind = RAFT_TICK};

        step(c, now_ms, &e);
}

void consensus_beat(struct consensus *c, int64_t now_ms)
{
        struct raft_event e = {.kind = RAFT_BEAT};

        step(c, now_ms, &e);
}

int consensus_receive(struct consensus *c, int64_t now_ms, const struct raft_message *m)
{
        struct raft_event e = {.kind = RAFT_RECEIVE, .message = m};

        return (int)step(c, now_ms, &e);
}

void consensus_link_broke(struct consensus *c, int64_t now_ms, uint64_t peer)
{
        struct raft_event e = {.kind = RAFT_LEADER_GONE, .peer = peer};

        step(c, now_ms, &e);
}

void consensus_persisted(struct consensus *c, int64_t now_ms, uint64_t seq)
{
        struct raft_event e = {.kind = RAFT_PERSISTED, .seq = seq};

        if (c->replacing_seq && seq >= c->replacing_seq) {
                c->replacing_seq = 0;
                c->status.replaced++;
        }
        step(c, now_ms, &e);
}

int64_t consensus_propose(struct consensus *c, int64_t now_ms, const struct buf *entry)
{
        struct raft_event e = {.kind = RAFT_PROPOSE,
                               .bytes = raft_bytes_new(entry->data, entry->len)};
        int64_t r = step(c, now_ms, &e);

        raft_bytes_unref(e.bytes);
        return r;
}

int64_t consensus_read(struct consensus *c, int64_t now_ms)
{
        struct raft_event e = {.kind = RAFT_READ};

        return step(c, now_ms, &e);
}

int64_t consensus_change(struct consensus *c, int64_t now_ms, enum raft_change what, uint64_t id,
                         const char *address)
{
        struct raft_event e = {.kind = RAFT_CHANGE,
                               .change.what = what,
                               .change.id = id,
                               .change.address = address};

        return step(c, now_ms, &e);
}

int consensus_transfer(struct consensus *c, int64_t now_ms, uint64_t to)
{
        struct raft_event e = {.kind = RAFT_TRANSFER, .peer = to};

        return (int)step(c, now_ms, &e);
}

bool consensus_snapshot_ready(struct consensus *c, int64_t now_ms, uint64_t peer, uint64_t index,
                              uint64_t size)
{
        struct raft_event e = {.kind = RAFT_SNAPSHOT_READY,
                               .snapshot.peer = peer,
                               .snapshot.index = index,
                               .snapshot.size = size};

        return step(c, now_ms, &e) >= 0;
}

const struct raft_base *consensus_cut(struct consensus *c, int64_t now_ms, uint64_t index)
{
        struct raft_event e = {.kind = RAFT_CUT, .index = index};

        step(c, now_ms, &e);
        return raft_base(c->raft);
}

/* --- looking at it ------------------------------------------------------------------------------
 */
const struct raft_entry *consensus_entry(const struct consensus *c, uint64_t index)
{
        return raft_entry_at(c->raft, index);
}

const struct raft_members *consensus_members(const struct consensus *c)
{
        return raft_members(c->raft);
}

bool consensus_is_member(const struct consensus *c, uint64_t id)
{
        struct raft_base agreed;

        return raft_base_at(c->raft, c->status.commit_index, &agreed) == 0 &&
               raft_members_find(&agreed.members, id);
}

int consensus_progress(const struct consensus *c, uint64_t id, struct raft_progress *ret)
{
        return raft_progress(c->raft, id, ret);
}
