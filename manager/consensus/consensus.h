/*
 * consensus: the port behind which managers agree on the order of entries. Place in the flow: the
 * replica proposes what a turn changed, and applies what is agreed in order. Behind the port stands
 * the Raft core; another engine can take its place.
 *
 * Pure: the time comes with each call; what must be written, sent or copied goes out through the
 * ops, which must not call back. After any call look at consensus_status anew.
 */
#pragma once

#include "manager/consensus/raft/raft.h"
#include "shared/base/buf.h"

struct consensus;

struct consensus_ops {
        void *arg;
        /* Takes what is in *w. When it is durable: consensus_persisted with its seq. */
        void (*write)(void *arg, struct raft_write *w);
        /* Borrows. May be lost. A chunk (RAFT_CHUNK) comes without its bytes. */
        void (*send)(void *arg, const struct raft_message *m);
        /* The peer needs a snapshot: consensus_snapshot_ready, some time. */
        void (*want_snapshot)(void *arg, uint64_t peer);
        /* A snapshot comes in whole: the write that follows puts it in the place of the state.
         * Until then no row of the present state may be written any more. */
        void (*on_replace)(void *arg);
};

struct consensus_status {
        uint64_t id, term, leader; /* leader 0: not known */
        bool is_leader;
        bool is_ready;     /* leads, and commit_index has all that was agreed before */
        bool can_propose;  /* is_ready, not handing over, and there is room */
        bool is_removed;   /* it was a member, and by a committed change no longer is */
        bool is_replacing; /* a snapshot is being put in place: nothing is to be applied */
        uint64_t replaced; /* how often that was done, durably: the state must be read anew */
        uint64_t commit_index;
        uint64_t read_round, read_index; /* reads of rounds up to read_round may be answered once
                                            read_index is applied */
};

/* -EINVAL: no state that could have been written. Shares the entries of start. */
int consensus_new(const struct raft_start *start, const struct consensus_ops *ops,
                  struct consensus **ret);
void consensus_free(struct consensus *c); /* NULL is fine */

const struct consensus_status *consensus_status(const struct consensus *c);
/* When consensus_tick is due; TIME_NEVER: never. */
int64_t consensus_deadline_ms(const struct consensus *c);
void consensus_tick(struct consensus *c, int64_t now_ms);
/* Amid long work of the caller's, every few ms: see RAFT_BEAT. */
void consensus_beat(struct consensus *c, int64_t now_ms);
/* -EBADMSG: cannot be true; dropped. */
int consensus_receive(struct consensus *c, int64_t now_ms, const struct raft_message *m);
/* The link to that manager broke: if it led, this one may stand soon. */
void consensus_link_broke(struct consensus *c, int64_t now_ms, uint64_t peer);
void consensus_persisted(struct consensus *c, int64_t now_ms, uint64_t seq);
/* Returns the entry's index; the bytes are copied. Negative as raft_step. */
int64_t consensus_propose(struct consensus *c, int64_t now_ms, const struct buf *entry);
/* Returns the round that will confirm that this manager still led, or -EAGAIN. */
int64_t consensus_read(struct consensus *c, int64_t now_ms);
/* Negative as raft_step. address: of RAFT_PUT_LEARNER. */
int64_t consensus_change(struct consensus *c, int64_t now_ms, enum raft_change what, uint64_t id,
                         const char *address);
/* 0: to whoever is best. */
int consensus_transfer(struct consensus *c, int64_t now_ms, uint64_t to);
/* index 0: it cannot be made now. False: the peer does not need it (any more). */
bool consensus_snapshot_ready(struct consensus *c, int64_t now_ms, uint64_t peer, uint64_t index,
                              uint64_t size);
/* The state up to index is kept elsewhere. Returns what the log stands on now. */
const struct raft_base *consensus_cut(struct consensus *c, int64_t now_ms, uint64_t index);

/* NULL: not in the log (any more). Valid until the next call. */
const struct raft_entry *consensus_entry(const struct consensus *c, uint64_t index);
const struct raft_members *consensus_members(const struct consensus *c); /* newest, agreed or not */
/* By what is agreed, up to the status' commit_index. */
bool consensus_is_member(const struct consensus *c, uint64_t id);
int consensus_progress(const struct consensus *c, uint64_t id, struct raft_progress *ret);
