/* The log in memory: log.c. */
#pragma once

#include "manager/consensus/raft/raft.h"

struct raft_log {
        struct raft_base base;
        struct raft_entry *entries; /* the first is at base.index + 1, in slot head */
        size_t head, n, cap;
        size_t bytes;
};

void raft_log_init(struct raft_log *l, const struct raft_base *base);
void raft_log_done(struct raft_log *l);
uint64_t raft_log_last(const struct raft_log *l);
uint64_t raft_log_last_term(const struct raft_log *l);
uint64_t raft_log_term(const struct raft_log *l, uint64_t index); /* base.index <= index <= last */
bool raft_log_has(const struct raft_log *l, uint64_t index, uint64_t term);
const struct raft_entry *raft_log_at(const struct raft_log *l, uint64_t index); /* in the log */
size_t raft_entry_bytes(const struct raft_entry *e);                  /* what it counts for */
void raft_log_append(struct raft_log *l, const struct raft_entry *e); /* takes e's reference */
void raft_log_truncate(struct raft_log *l, uint64_t from);
/* Up to index, but so that the newest entries with keep_bytes stay, unless they are more than
 * most_bytes: one of them is large then. */
void raft_log_cut(struct raft_log *l, uint64_t index, size_t keep_bytes, size_t most_bytes);
void raft_log_reset(struct raft_log *l, const struct raft_base *base);
/* The highest index up to `from` whose term is not above `term`: base.index at the least. */
uint64_t raft_log_agree(const struct raft_log *l, uint64_t from, uint64_t term);
/* As of index: the newest at or below it. */
void raft_log_members(const struct raft_log *l, uint64_t index, struct raft_members *ret,
                      uint64_t *ret_index);
