/*
 * The log in memory: entries behind the base, in one array with room at both ends. Looking up the
 * members and where two logs agree are scans: both are rare.
 */
#include <assert.h>
#include <string.h>

#include "manager/consensus/raft/raft_internal.h"
#include "shared/base/mem.h"

#define LOG_CAP_MIN 64

void raft_log_init(struct raft_log *l, const struct raft_base *base)
{
        memset(l, 0, sizeof(*l));
        l->base = *base;
}

static void drop(struct raft_log *l, struct raft_entry *e)
{
        l->bytes -= raft_entry_bytes(e);
        raft_bytes_unref(e->bytes);
        e->bytes = NULL;
}

void raft_log_done(struct raft_log *l)
{
        raft_log_truncate(l, l->base.index + 1);
        free(l->entries);
        l->entries = NULL;
}

uint64_t raft_log_last(const struct raft_log *l)
{
        return l->base.index + l->n;
}

uint64_t raft_log_last_term(const struct raft_log *l)
{
        return raft_log_term(l, raft_log_last(l));
}

uint64_t raft_log_term(const struct raft_log *l, uint64_t index)
{
        assert(index >= l->base.index && index <= raft_log_last(l));
        return index == l->base.index ? l->base.term : raft_log_at(l, index)->term;
}

bool raft_log_has(const struct raft_log *l, uint64_t index, uint64_t term)
{
        return index >= l->base.index && index <= raft_log_last(l) &&
               raft_log_term(l, index) == term;
}

const struct raft_entry *raft_log_at(const struct raft_log *l, uint64_t index)
{
        assert(index > l->base.index && index <= raft_log_last(l));
        return &l->entries[l->head + (index - l->base.index - 1)];
}

size_t raft_entry_bytes(const struct raft_entry *e)
{
        return sizeof(*e) + sizeof(*e->bytes) + (e->bytes ? e->bytes->len : 0);
}

static void make_room(struct raft_log *l)
{
        if (l->head + l->n < l->cap)
                return;
        if (l->head > l->cap / 2) {
                memmove(l->entries, l->entries + l->head, l->n * sizeof(*l->entries));
                l->head = 0;
                return;
        }
        l->cap = l->cap ? l->cap * 2 : LOG_CAP_MIN;
        l->entries = xreallocarray(l->entries, l->cap, sizeof(*l->entries));
}

void raft_log_append(struct raft_log *l, const struct raft_entry *e)
{
        make_room(l);
        l->entries[l->head + l->n++] = *e;
        l->bytes += raft_entry_bytes(e);
}

void raft_log_truncate(struct raft_log *l, uint64_t from)
{
        assert(from > l->base.index);
        while (raft_log_last(l) >= from)
                drop(l, &l->entries[l->head + --l->n]);
}

void raft_log_cut(struct raft_log *l, uint64_t index, size_t keep_bytes, size_t most_bytes)
{
        struct raft_base base = {.index = l->base.index};
        uint64_t ignored;

        for (size_t bytes = l->bytes; base.index < index; base.index++) {
                size_t left = bytes - raft_entry_bytes(raft_log_at(l, base.index + 1));

                if (left < keep_bytes && bytes <= most_bytes)
                        break;
                bytes = left;
        }
        base.term = raft_log_term(l, base.index);
        raft_log_members(l, base.index, &base.members, &ignored);
        for (; l->base.index < base.index; l->base.index++, l->n--)
                drop(l, &l->entries[l->head++]);
        l->base = base;
        if (l->n == 0)
                l->head = 0;
}

void raft_log_reset(struct raft_log *l, const struct raft_base *base)
{
        raft_log_truncate(l, l->base.index + 1);
        l->head = 0;
        l->base = *base;
}

uint64_t raft_log_agree(const struct raft_log *l, uint64_t from, uint64_t term)
{
        uint64_t index = from;

        while (index > l->base.index && raft_log_term(l, index) > term)
                index--;
        return index;
}

void raft_log_members(const struct raft_log *l, uint64_t index, struct raft_members *ret,
                      uint64_t *ret_index)
{
        for (uint64_t i = index; i > l->base.index; i--) {
                const struct raft_entry *e = raft_log_at(l, i);

                if (e->kind != RAFT_ENTRY_MEMBERS)
                        continue;
                int r = raft_members_decode(e->bytes->data, e->bytes->len, ret);
                assert(r == 0); /* it was looked at before it came into the log */
                *ret_index = i;
                return;
        }
        *ret = l->base.members;
        *ret_index = l->base.index;
}
