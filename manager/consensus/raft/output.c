/*
 * What leaves the core: the step's write, the messages that may go, and how far the log is agreed.
 * A message that depends on a write waits here until that write is durable; so the rule that
 * nothing is promised before it is on the disk has one home.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "manager/consensus/raft/raft_internal.h"
#include "shared/base/mem.h"

struct raft_message raft_message_to(const struct raft *r, enum raft_message_kind kind, uint64_t to)
{
        return (struct raft_message){.kind = kind, .from = r->id, .to = to, .term = r->term};
}

void raft_say(struct raft *r, enum raft_gate gate, struct raft_message *take)
{
        if (r->n_held == RAFT_HELD_MAX) {
                raft_message_done(take);
                return;
        }
        if (r->n_held == r->cap_held) {
                r->cap_held = r->cap_held ? r->cap_held * 2 : 16;
                r->held = xreallocarray(r->held, r->cap_held, sizeof(*r->held));
        }
        r->held[r->n_held++] = (struct raft_held){.message = *take, .gate = gate};
        memset(take, 0, sizeof(*take));
}

/* --- what is to be written ----------------------------------------------------------------------
 */
void raft_set_term(struct raft *r, uint64_t term, uint64_t vote)
{
        assert(term >= r->term);
        if (term == r->term && vote == r->vote)
                return;
        r->term = term;
        r->vote = vote;
        r->is_term_dirty = true;
}

static void mark_dirty(struct raft *r, uint64_t from)
{
        r->dirty_from = r->dirty_from ? MIN(r->dirty_from, from) : from;
}

void raft_append(struct raft *r, const struct raft_entry *e)
{
        raft_log_append(&r->log, e);
        uint64_t index = raft_log_last(&r->log);

        mark_dirty(r, index);
        if (e->kind == RAFT_ENTRY_MEMBERS)
                raft_log_members(&r->log, index, &r->members, &r->members_index);
}

/* Entries from here on are not what the disk has, or will have. */
static void forget_writes(struct raft *r, uint64_t from)
{
        r->durable = MIN(r->durable, from - 1);
        for (size_t i = 0; i < r->n_pending; i++)
                r->pending[i].last = MIN(r->pending[i].last, from - 1);
}

void raft_truncate(struct raft *r, uint64_t from)
{
        assert(from > r->commit);
        raft_log_truncate(&r->log, from);
        mark_dirty(r, from);
        forget_writes(r, from);
        if (r->members_index >= from)
                raft_log_members(&r->log, from - 1, &r->members, &r->members_index);
}

static void note_members(struct raft *r, const struct raft_members *m)
{
        bool is_member = raft_members_find(m, r->id) != NULL;

        r->is_removed = r->was_member && !is_member;
        r->was_member |= is_member;
}

void raft_reset(struct raft *r, const struct raft_base *base)
{
        assert(base->index > r->commit);
        raft_log_reset(&r->log, base);
        forget_writes(r, 1);
        r->is_install = true;
        r->dirty_from = 0;
        r->commit = base->index;
        r->members = base->members;
        r->members_index = base->index;
        note_members(r, &base->members);
}

void raft_commit_to(struct raft *r, uint64_t index)
{
        assert(index <= raft_log_last(&r->log));
        for (uint64_t i = r->commit + 1; i <= index; i++) {
                struct raft_members m;
                uint64_t ignored;

                if (raft_log_at(&r->log, i)->kind != RAFT_ENTRY_MEMBERS)
                        continue;
                raft_log_members(&r->log, i, &m, &ignored);
                note_members(r, &m);
        }
        r->commit = MAX(r->commit, index);
}

void raft_on_persisted(struct raft *r, uint64_t seq)
{
        size_t n = 0;

        r->persisted_seq = MAX(r->persisted_seq, MIN(seq, r->write_seq));
        for (; n < r->n_pending && r->pending[n].seq <= r->persisted_seq; n++)
                r->durable = MAX(r->durable, r->pending[n].last);
        r->n_pending -= n;
        if (r->n_pending)
                memmove(r->pending, r->pending + n, r->n_pending * sizeof(*r->pending));
}

/* --- the end of a step --------------------------------------------------------------------------
 */
static void write_entries(struct raft *r, struct raft_write *w)
{
        uint64_t last = raft_log_last(&r->log);

        w->from = r->dirty_from;
        w->n_entries = (size_t)(last + 1 - w->from);
        w->entries = xnew_array(struct raft_entry, MAX(w->n_entries, (size_t)1));
        for (size_t i = 0; i < w->n_entries; i++) {
                w->entries[i] = *raft_log_at(&r->log, w->from + i);
                raft_bytes_ref(w->entries[i].bytes);
        }
}

static void build_write(struct raft *r)
{
        struct raft_write *w = &r->out->write;

        w->term = r->term;
        w->vote = r->vote;
        if (!r->is_term_dirty && !r->dirty_from && !r->chunk && !r->drops_chunks && !r->is_install)
                return;
        w->seq = ++r->write_seq;
        if (r->is_term_dirty)
                r->term_seq = w->seq;
        w->drops_chunks = r->drops_chunks;
        w->chunk = STEAL_PTR(r->chunk);
        w->chunk_offset = r->chunk_offset;
        if (r->is_install)
                w->install = xmemdup(&r->log.base, sizeof(r->log.base));
        if (r->dirty_from)
                write_entries(r, w);
        if (r->n_pending == r->cap_pending) {
                r->cap_pending = r->cap_pending ? r->cap_pending * 2 : 16;
                r->pending = xreallocarray(r->pending, r->cap_pending, sizeof(*r->pending));
        }
        r->pending[r->n_pending++] =
                (struct raft_pending){w->seq, raft_log_last(&r->log), r->now_ms};
        r->is_term_dirty = r->drops_chunks = r->is_install = false;
        r->dirty_from = 0;
}

static void push_message(struct raft *r, struct raft_message *take)
{
        struct raft_output *out = r->out;

        if (out->n_messages == r->cap_messages) {
                r->cap_messages = r->cap_messages ? r->cap_messages * 2 : 8;
                out->messages =
                        xreallocarray(out->messages, r->cap_messages, sizeof(*out->messages));
        }
        out->messages[out->n_messages++] = *take;
}

/* Lets out what is covered; the rest stays in its order. */
static void release_messages(struct raft *r)
{
        size_t kept = 0;

        r->cap_messages = 0;
        for (size_t i = 0; i < r->n_held; i++) {
                struct raft_held *h = &r->held[i];

                if (h->seq == 0)
                        h->seq = h->gate == RAFT_AFTER_TERM ? r->term_seq : r->write_seq;
                if (h->seq <= r->persisted_seq)
                        push_message(r, &h->message);
                else
                        r->held[kept++] = *h;
        }
        r->n_held = kept;
}

void raft_finish_step(struct raft *r)
{
        struct raft_output *out = r->out;

        raft_end_receiving(r);
        build_write(r);
        release_messages(r);
        r->told = MAX(r->told, MIN(r->commit, r->durable));
        out->term = r->term;
        out->leader = r->leader;
        out->role = r->role;
        out->is_ready = raft_is_ready(r);
        out->can_propose = raft_can_propose(r);
        out->is_removed = r->is_removed;
        out->commit_index = r->told;
        out->read_round = r->confirmed;
        out->read_index = r->read_index;
        r->out = NULL;
}

void raft_write_done(struct raft_write *w)
{
        raft_bytes_unref(w->chunk);
        for (size_t i = 0; i < w->n_entries; i++)
                raft_bytes_unref(w->entries[i].bytes);
        free(w->entries);
        free(w->install);
        memset(w, 0, sizeof(*w));
}

void raft_output_done(struct raft_output *out)
{
        raft_write_done(&out->write);
        for (size_t i = 0; i < out->n_messages; i++)
                raft_message_done(&out->messages[i]);
        free(out->messages);
        out->messages = NULL;
        out->n_messages = 0;
}
