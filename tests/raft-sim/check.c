/*
 * The promises, each checked where it could be broken first:
 *   election safety      a term has one leader, and a node one vote in it
 *   log matching         an entry of an index and term is one entry, and so is all before it
 *   leader completeness  who comes to lead has all that was ever agreed
 *   agreement            what a leader calls agreed is on the disks of a majority
 *   membership safety    a leader changes one vote, once the list before and an entry of its own
 *                        term are agreed
 *   state machine safety everybody applies the same, each once, in the same order
 */
#include <stdio.h>
#include <string.h>

#include "tests/raft-sim/sim.h"

static uint64_t entry_hash(const struct raft_entry *e)
{
        uint64_t h = mix(e->term, (uint64_t)e->kind);

        for (size_t i = 0; e->bytes && i < e->bytes->len; i++)
                h = (h ^ e->bytes->data[i]) * 0x100000001b3u;
        return h;
}

static struct slot *slot_at(struct world *w, uint64_t index)
{
        if (index >= w->n_slots) {
                size_t n = MAX((size_t)index + 1, w->n_slots * 2);

                w->slots = xreallocarray(w->slots, n, sizeof(*w->slots));
                memset(w->slots + w->n_slots, 0, (n - w->n_slots) * sizeof(*w->slots));
                w->n_slots = n;
        }
        return &w->slots[index];
}

void check_leader(struct node *n)
{
        struct world *w = n->w;

        if (n->term >= w->n_leaders) {
                size_t more = (size_t)n->term + 64;

                w->leaders = xreallocarray(w->leaders, more, sizeof(*w->leaders));
                memset(w->leaders + w->n_leaders, 0, (more - w->n_leaders) * sizeof(*w->leaders));
                w->n_leaders = more;
        }
        w->counts.elections++;
        if (w->leaders[n->term])
                fail(w, "term %lu: nodes %lu and %lu lead", n->term, w->leaders[n->term], n->id);
        w->leaders[n->term] = n->id;
        if (w->is_calm && !w->is_change_expected && w->counts.elections > 1)
                fail(w, "node %lu took leadership though the leader was well", n->id);
        w->is_change_expected = false;
        for (uint64_t i = raft_base(n->raft)->index + 1; i <= w->committed; i++) {
                const struct raft_entry *e = raft_entry_at(n->raft, i);

                /* Who was elected late, in an older term, need not have it. */
                if (w->slots[i].told_in < n->term && (!e || e->term != w->slots[i].term)) {
                        fail(w, "node %lu leads term %lu without entry %lu, which was agreed",
                             n->id, n->term, i);
                        return;
                }
        }
}

void check_vote(struct node *n, const struct raft_message *m)
{
        uint64_t to = m->kind == RAFT_VOTE ? n->id : m->to;

        if (m->kind == RAFT_VOTED && !m->voted.is_granted)
                return;
        if (m->kind == RAFT_VOTED)
                spite(n, n->w->faults.voted);
        if (n->voted_term == m->term && n->voted_for != to)
                fail(n->w, "node %lu votes for %lu and %lu in term %lu", n->id, n->voted_for, to,
                     m->term);
        n->voted_term = m->term;
        n->voted_for = to;
}

/* The term that the entry before has in n's log; of a base that is 0 as well. */
static uint64_t term_before(struct node *n, uint64_t index)
{
        struct raft_base base;

        return raft_base_at(n->raft, index - 1, &base) == 0 ? base.term : 0;
}

static void check_entry(struct node *n, uint64_t index, const struct raft_entry *e)
{
        struct slot *s = slot_at(n->w, index);
        struct version v = {e->term, term_before(n, index), entry_hash(e)};

        for (size_t i = 0; i < s->n; i++) {
                const struct version *it = &s->versions[i];

                if (it->term != v.term)
                        continue;
                if (it->hash != v.hash || it->prev_term != v.prev_term)
                        fail(n->w, "node %lu: entry %lu of term %lu is not what others have", n->id,
                             index, e->term);
                return;
        }
        s->versions = xreallocarray(s->versions, s->n + 1, sizeof(*s->versions));
        s->versions[s->n++] = v;
        if (e->kind != RAFT_ENTRY_MEMBERS)
                return;
        n->w->lists = xreallocarray(n->w->lists, n->w->n_lists + 1, sizeof(*n->w->lists));
        struct list_of_members *list = &n->w->lists[n->w->n_lists++];
        list->index = index;
        if (raft_members_decode(e->bytes->data, e->bytes->len, &list->members) < 0)
                fail(n->w, "members cannot be read");
}

/* --- what is agreed -----------------------------------------------------------------------------
 */
static bool has_durable(const struct node *n, uint64_t index, uint64_t term)
{
        const struct disk *d = &n->disk;

        if (index <= d->base.index)
                return true;
        return index <= d->base.index + d->n && d->entries[index - d->base.index - 1].term == term;
}

static bool is_on_majority(struct world *w, const struct raft_members *m, uint64_t index,
                           uint64_t term)
{
        size_t n = 0;

        for (size_t i = 0; i < m->n; i++) {
                const struct node *it = node_by_id(w, m->of[i].id);

                n += m->of[i].is_voter && it && has_durable(it, index, term);
        }
        return n > raft_members_count_voters(m) / 2;
}

/* By the list of members at index, or any later one: whoever counted may be dead by now. */
static bool is_agreed(const struct node *n, uint64_t index, uint64_t term)
{
        struct world *w = n->w;
        struct raft_base base;

        if (raft_base_at(n->raft, index, &base) == 0 &&
            is_on_majority(w, &base.members, index, term))
                return true;
        for (size_t i = 0; i < w->n_lists; i++) {
                if (w->lists[i].index > index &&
                    is_on_majority(w, &w->lists[i].members, index, term))
                        return true;
        }
        return false;
}

/* --- members ------------------------------------------------------------------------------------
 */
static size_t count_changed_votes(const struct raft_members *a, const struct raft_members *b)
{
        size_t n = 0;

        for (size_t i = 0; i < a->n; i++)
                n += a->of[i].is_voter && !raft_members_is_voter(b, a->of[i].id);
        for (size_t i = 0; i < b->n; i++)
                n += b->of[i].is_voter && !raft_members_is_voter(a, b->of[i].id);
        return n;
}

/* Whose disk is gone cannot be asked any more what was on it. */
static bool is_any_wiped(struct world *w, const struct raft_members *m)
{
        for (size_t i = 0; i < m->n; i++) {
                const struct node *it = node_by_id(w, m->of[i].id);

                if (!it || it->is_wiped)
                        return true;
        }
        return false;
}

/* The list that was in force before must be agreed, and an entry of this very term. */
static void check_change(struct node *n, uint64_t index, const struct raft_entry *e)
{
        struct raft_members after;
        struct raft_base before, own;
        uint64_t list = index - 1, first = index;

        if (raft_base_at(n->raft, index - 1, &before) < 0 ||
            raft_members_decode(e->bytes->data, e->bytes->len, &after) < 0) {
                fail(n->w, "node %lu: a list of members that cannot be read", n->id);
                return;
        }
        if (count_changed_votes(&before.members, &after) > 1)
                fail(n->w, "node %lu changes more than one vote in entry %lu", n->id, index);
        if (is_any_wiped(n->w, &before.members))
                return;
        for (; raft_entry_at(n->raft, list); list--) {
                if (raft_entry_at(n->raft, list)->kind == RAFT_ENTRY_MEMBERS)
                        break;
        }
        if (raft_entry_at(n->raft, list) &&
            !is_on_majority(n->w, &before.members, list, raft_entry_at(n->raft, list)->term))
                fail(n->w, "node %lu changes members in entry %lu before entry %lu is agreed",
                     n->id, index, list);
        while (raft_base_at(n->raft, first - 1, &own) == 0 && own.term == n->term)
                first--;
        if (first == index || !is_on_majority(n->w, &before.members, first, n->term))
                fail(n->w, "node %lu changes members before it has agreed on anything", n->id);
}

static bool is_same_list(const struct raft_members *a, const struct raft_members *b)
{
        bool is_same = a->n == b->n;

        for (size_t i = 0; i < a->n && is_same; i++)
                is_same = a->of[i].id == b->of[i].id && a->of[i].is_voter == b->of[i].is_voter &&
                          str_is_equal(a->of[i].address, b->of[i].address);
        return is_same;
}

/* Its term and members are what was agreed at its index. */
void check_base(struct node *n, const struct raft_base *base)
{
        struct world *w = n->w;
        size_t i = w->n_agreed;

        if (base->index == 0)
                return;
        if (base->index > w->committed || base->term != w->slots[base->index].term) {
                fail(w, "node %lu: a base of index %lu and term %lu, which is not agreed", n->id,
                     base->index, base->term);
                return;
        }
        while (i > 0 && w->agreed[i - 1].index > base->index)
                i--;
        if (i > 0 && !is_same_list(&w->agreed[i - 1].members, &base->members))
                fail(w, "node %lu: the base at %lu has members that were not those", n->id,
                     base->index);
}

static void on_members(struct world *w, uint64_t index, const struct raft_entry *e)
{
        struct node *it;

        if (raft_members_decode(e->bytes->data, e->bytes->len, &w->members) < 0)
                fail(w, "members cannot be read");
        w->agreed = xreallocarray(w->agreed, w->n_agreed + 1, sizeof(*w->agreed));
        w->agreed[w->n_agreed++] = (struct list_of_members){index, w->members};
        w->counts.changes++;
        FOREACH_NODE (it, w) {
                bool is_member = raft_members_find(&w->members, it->id) != NULL;

                if (it->was_member && !is_member && !it->is_out) {
                        it->is_out = true;
                        it->restart_at = TIME_NEVER;
                }
                it->was_member |= is_member;
        }
}

/* --- what is written ----------------------------------------------------------------------------
 */
void check_write(struct node *n, const struct raft_write *write)
{
        if (write->from && write->from <= n->told)
                fail(n->w, "node %lu writes over entry %lu, which was agreed", n->id, write->from);
        if (write->install)
                check_base(n, write->install);
        for (size_t i = 0; i < write->n_entries; i++) {
                const struct raft_entry *e = &write->entries[i];

                check_entry(n, write->from + i, e);
                if (e->kind == RAFT_ENTRY_MEMBERS && n->role == RAFT_LEADER && e->term == n->term)
                        check_change(n, write->from + i, e);
        }
}

static void commit_first(struct node *n, uint64_t index, const struct raft_entry *e)
{
        struct world *w = n->w;
        struct slot *s = slot_at(w, index);

        if (index != w->committed + 1)
                fail(w, "node %lu: entry %lu is agreed right after %lu", n->id, index,
                     w->committed);
        if (!is_agreed(n, index, e->term))
                fail(w, "node %lu: entry %lu of term %lu is called agreed, and is on no majority",
                     n->id, index, e->term);
        s->is_committed = true;
        s->term = e->term;
        s->told_in = n->term;
        s->op = entry_op(e);
        s->hash = mix(index > 1 ? w->slots[index - 1].hash : 0, entry_hash(e));
        w->committed = index;
        w->counts.commits++;
        if (e->kind == RAFT_ENTRY_MEMBERS)
                on_members(w, index, e);
}

void check_commit(struct node *n, uint64_t index)
{
        struct world *w = n->w;
        const struct raft_entry *e = raft_entry_at(n->raft, index);

        if (!has_durable(n, index, e ? e->term : 0))
                fail(w, "node %lu: entry %lu is called agreed, and is not on its own disk", n->id,
                     index);
        if (!e) { /* a snapshot that was taken over */
                if (index > w->committed)
                        fail(w, "node %lu: entry %lu comes by snapshot before it was agreed", n->id,
                             index);
                return;
        }
        if (!slot_at(w, index)->is_committed)
                commit_first(n, index, e);
        else if (w->slots[index].term != e->term)
                fail(w, "node %lu: entry %lu of term %lu was agreed, but another has term %lu",
                     n->id, index, e->term, w->slots[index].term);
}

void check_applied(struct node *n, const struct raft_entry *e)
{
        struct world *w = n->w;
        uint64_t index = n->state.index;

        n->state.hash = mix(n->state.hash, entry_hash(e));
        if (!slot_at(w, index)->is_committed || n->state.hash != w->slots[index].hash)
                fail(w, "node %lu: has applied something else up to entry %lu", n->id, index);
}

/* --- leading ------------------------------------------------------------------------------------
 */
static bool is_change_under_way(const struct node *n)
{
        const struct raft_entry *e;

        for (uint64_t i = n->told + 1; (e = raft_entry_at(n->raft, i)); i++) {
                if (e->kind == RAFT_ENTRY_MEMBERS)
                        return true;
        }
        return false;
}

void check_leading(struct node *n)
{
        if (!raft_members_is_voter(raft_members(n->raft), n->id) && !is_change_under_way(n))
                fail(n->w, "node %lu leads on although it was agreed that it has no vote", n->id);
}

/* One that was superseded hears no majority any more, and must have noticed by now. */
void check_stale(struct world *w)
{
        int64_t limit = 3 * w->settings.election_max_ms;
        struct node *old, *new;

        if (w->faults.slow || w->faults.pause) /* old answers may come late */
                return;
        FOREACH_NODE (old, w) {
                FOREACH_NODE (new, w) {
                        if (old->raft && new->raft &&
                            old->role == RAFT_LEADER &&new->role ==
                                    RAFT_LEADER &&new->term > old->term &&
                            w->now_ms - new->leads_since > limit)
                                fail(w, "node %lu still leads term %lu, node %lu term %lu", old->id,
                                     old->term, new->id, new->term);
                }
        }
}

/* --- the end ------------------------------------------------------------------------------------
 */
static const char *say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static const char *say(const char *format, ...)
{
        static char text[256];
        va_list ap;

        va_start(ap, format);
        vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        return text;
}

static const struct node *only_leader(struct world *w)
{
        const struct node *leader = NULL, *n;

        FOREACH_NODE (n, w) {
                if (!n->raft || n->role != RAFT_LEADER)
                        continue;
                if (leader)
                        return NULL;
                leader = n;
        }
        return leader;
}

static const char *check_member(struct world *w, const struct node *leader, uint64_t id)
{
        const struct node *n = node_by_id(w, id);

        if (!n || !n->raft)
                return say("node %lu is dead", id);
        if (n->leader != leader->id)
                return say("node %lu follows %lu", id, n->leader);
        if (raft_last_index(n->raft) != raft_last_index(leader->raft))
                return say("node %lu has a log up to %lu, not %lu", id, raft_last_index(n->raft),
                           raft_last_index(leader->raft));
        if (n->state.index != w->committed || n->told != w->committed)
                return say("node %lu has applied up to %lu of %lu", id, n->state.index,
                           w->committed);
        if (n->state.hash != w->slots[w->committed].hash)
                return say("node %lu has another state", id);
        if (n->is_removed)
                return say("node %lu thinks that it was removed", id);
        if (n->disk.staging.len)
                return say("node %lu keeps a part of a snapshot", id);
        return NULL;
}

/* Every operation is on the chain at most once. */
static const char *check_once(struct world *w)
{
        _cleanup_free_ bool *is_seen = xcalloc((size_t)w->next_op + 2, 1);

        for (uint64_t i = 1; i <= w->committed; i++) {
                uint64_t op = w->slots[i].op;

                if (op && is_seen[op])
                        return say("operation %lu was done twice", op);
                is_seen[op] = op != 0;
        }
        return NULL;
}

const char *check_converged(struct world *w)
{
        const struct node *leader = only_leader(w);
        const char *stuck = NULL;

        if (!leader)
                return "no leader, or more than one";
        if (raft_last_index(leader->raft) != w->committed)
                return say("the log goes to %lu, agreed is %lu", raft_last_index(leader->raft),
                           w->committed);
        for (size_t i = 0; i < w->members.n && !stuck; i++)
                stuck = check_member(w, leader, w->members.of[i].id);
        return stuck ? stuck : check_once(w);
}
