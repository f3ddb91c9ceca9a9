/*
 * raft: the core that makes managers agree on a log. Pure: no clock, no randomness, no input or
 * output of its own. Place in the flow: a driver hands it events, one at a time, each with the
 * time, and does what the output of each says.
 *
 * The driver's part: it hands in messages only from whom they say they are. It makes the writes
 * durable in their order, each whole or (after a crash) not at all or in part, and reports the
 * number of the last durable one with RAFT_PERSISTED. It may send the messages of an output at
 * once, in any order, and lose them: what depends on a write is held back in the core until that
 * write is durable. It applies entries up to commit_index. From the output with an install until
 * that is durable it applies nothing and writes no state: the entries are gone, and the old state
 * must not land on top of the new. It keeps the snapshot that a peer gets until raft_progress says
 * that none goes on, also if it made a newer one in vain. Each message must get through a link in a
 * part of election_min_ms, also the largest entry, or what is small must overtake it: else no
 * leader stays.
 *
 * From: D. Ongaro, Consensus: Bridging Theory and Practice (2014): chapters 3, 4 (one change at a
 * time, corrected in 2015: only after an entry of the leader's own term is committed), 5, 6.4
 * (reads) and 9.6 (pre-vote).
 */
#pragma once

#include "manager/consensus/raft/message.h"

struct raft;

struct raft_settings {             /* 0: the default */
        int64_t heartbeat_ms;      /* 100 */
        int64_t election_min_ms;   /* 500 */
        int64_t election_max_ms;   /* 1000 */
        size_t entry_bytes_max;    /* 64 MiB: of a proposal */
        size_t append_bytes_max;   /* 1 MiB: of a message; one entry may be larger */
        size_t inflight_bytes_max; /* 8 MiB: sent to one member, not yet answered */
        size_t chunk_bytes;        /* 512 KiB: of a piece of a snapshot */
        size_t log_bytes_max;      /* 256 MiB: in memory; half of it for members that lag */
        size_t log_keep_bytes;     /* 8 MiB: kept for a later leader, if half of the log has room */
};

/* What the log stands on: all up to index is in the driver's state, and agreed. */
struct raft_base {
        uint64_t index, term;
        struct raft_members members;
};

struct raft_start {
        uint64_t id, seed; /* seed: differs among members and starts */
        int64_t now_ms;
        struct raft_settings settings;
        uint64_t term, vote;
        struct raft_base base;
        const struct raft_entry *entries; /* from base.index + 1 on; their bytes are shared */
        size_t n_entries;
        uint64_t applied; /* the driver's state covers all up to here */
};

/* -EINVAL: no state that this core could have written. */
int raft_new(const struct raft_start *start, struct raft **ret);
void raft_free(struct raft *r); /* NULL is fine */

enum raft_event_kind {
        RAFT_TICK,     /* due at raft_deadline_ms; more often does no harm */
        RAFT_BEAT,     /* amid the driver's long work: a leader is there, and hears nobody now */
        RAFT_RECEIVE,  /* message, which stays the caller's; -EBADMSG when it cannot be true */
        RAFT_PROPOSE,  /* bytes are shared; returns the index */
        RAFT_CHANGE,   /* change; returns the index */
        RAFT_TRANSFER, /* hand leadership to peer; 0: to whoever is best */
        RAFT_READ,     /* returns the round that will confirm it */
        RAFT_PERSISTED,
        RAFT_LEADER_GONE,    /* the link to peer broke: if it led, this one may stand soon */
        RAFT_SNAPSHOT_READY, /* snapshot; its index 0: it cannot be made now */
        RAFT_CUT /* the log up to index is not needed; returns where it starts now (or before) */
};

enum raft_change { RAFT_PUT_LEARNER, RAFT_PROMOTE, RAFT_DEMOTE, RAFT_REMOVE };

struct raft_event {
        enum raft_event_kind kind;
        int64_t now_ms;
        union {
                const struct raft_message *message;
                struct raft_bytes *bytes;
                struct {
                        enum raft_change what;
                        uint64_t id;
                        const char *address; /* RAFT_PUT_LEARNER: of a new member, or its new one */
                } change;
                uint64_t peer, seq, index;
                struct {
                        uint64_t peer, index, size; /* committed and applied up to index; bytes */
                } snapshot;
        };
};

/* What must become durable, as one transaction, in the order of the fields. */
struct raft_write {
        uint64_t seq;              /* 0: nothing to write */
        uint64_t term, vote;       /* always as they are now */
        bool drops_chunks;         /* what has come in of a snapshot is of no use any more */
        struct raft_bytes *chunk;  /* of a snapshot that comes in: goes to chunk_offset; 0: anew */
        uint64_t chunk_offset;     /* in the place where it is collected */
        struct raft_base *install; /* that snapshot is whole: it is the state, the log is empty */
        uint64_t from;             /* 0: the log stays; else entries from here on are these only */
        struct raft_entry *entries;
        size_t n_entries;
};

void raft_write_done(struct raft_write *w);
enum raft_role { RAFT_FOLLOWER, RAFT_PRECANDIDATE, RAFT_CANDIDATE, RAFT_LEADER };

struct raft_output {
        struct raft_write write;
        struct raft_message *messages;
        size_t n_messages;
        uint64_t want_snapshot[RAFT_MEMBERS_MAX]; /* peers: answer with RAFT_SNAPSHOT_READY */
        size_t n_want_snapshot;
        /* Always as it is now. */
        uint64_t term, leader; /* leader 0: not known */
        enum raft_role role;
        bool is_ready;         /* leads, and all that was agreed before is committed here */
        bool can_propose;      /* is_ready, not handing over, and the log has room */
        bool is_removed;       /* it was a member, and by a committed change no longer is */
        uint64_t commit_index; /* agreed, and durable here */
        /* Reads of rounds up to read_round may be answered once read_index is applied. Whoever
         * stops to lead, by role or term, drops the reads that wait. */
        uint64_t read_round, read_index;
};

void raft_output_done(struct raft_output *out);

/* Negative: refused, nothing was changed (a message's term and sender count all the same). -EAGAIN:
 * does not lead, or not yet; -EBUSY: not now, for another change or a handing over is under way, or
 * the log is full; -EFBIG; -EINVAL; -ENOENT, -EEXIST (members); -EHOSTUNREACH: too few voters would
 * be heard afterwards; -ENOSPC: too many members. *out is set in any case, and is to be carried
 * out. */
int64_t raft_step(struct raft *r, const struct raft_event *e, struct raft_output *out);
int64_t raft_deadline_ms(const struct raft *r);

/* NULL: not in the log (any more). Valid until the next step. */
const struct raft_entry *raft_entry_at(const struct raft *r, uint64_t index);
uint64_t raft_last_index(const struct raft *r);
const struct raft_base *raft_base(const struct raft *r);
const struct raft_members *raft_members(const struct raft *r); /* the newest, committed or not */
int raft_base_at(const struct raft *r, uint64_t index, struct raft_base *ret); /* -ENOENT */

struct raft_progress {
        uint64_t match;   /* it surely has the log up to here */
        bool is_active;   /* has answered this leader, last within the election time-out */
        bool in_snapshot; /* it gets one */
};
int raft_progress(const struct raft *r, uint64_t id, struct raft_progress *ret); /* -ENOENT */
