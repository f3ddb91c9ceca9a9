/*
 * The core's own parts. Invariants that hold between steps:
 *   base.index <= commit <= last index of the log; told <= commit; durable <= last index;
 *   a leader is a voter of the newest members, or the entry that ended that is not yet committed;
 *   a peer's match < its next; all entries up to match are on the peer's disk, for this term;
 *   members are the newest in the log, else those of the base.
 */
#pragma once

#include "manager/consensus/raft/log_internal.h"
#include "manager/consensus/raft/peer_internal.h"
#include "shared/base/rng.h"

#define RAFT_HELD_MAX           4096 /* messages that wait for a write; more are lost */
#define RAFT_PEERS_MAX          (RAFT_MEMBERS_MAX + 8) /* with those that are leaving */
#define RAFT_SNAPSHOT_BYTES_MAX (1ull << 40)

struct raft_vote {
        uint64_t id;
        bool is_granted;
};

struct raft_pending { /* a write on its way to the disk */
        uint64_t seq, last;
        int64_t since;
};

/* When a message may leave. */
enum raft_gate {
        RAFT_AFTER_TERM, /* once term and vote are durable */
        RAFT_AFTER_ALL   /* once everything up to now is */
};

struct raft_held {
        struct raft_message message;
        enum raft_gate gate; /* of this step's, until it ends */
        uint64_t seq;
};

struct raft {
        uint64_t id;
        struct raft_settings settings;
        struct rng rng;
        int64_t now_ms;

        uint64_t term, vote;
        struct raft_log log;
        struct raft_members members;
        uint64_t members_index; /* of their entry, or of the base */
        uint64_t commit, told;
        bool was_member, is_removed; /* by what is committed */

        /* Writing. */
        uint64_t write_seq, term_seq, persisted_seq; /* newest; newest with term or vote; durable */
        uint64_t durable;                            /* this log's entries are, up to here */
        struct raft_pending *pending;
        size_t n_pending, cap_pending;
        struct raft_held *held;
        size_t n_held, cap_held;
        /* This step's. */
        bool is_term_dirty;
        uint64_t dirty_from; /* 0: the log is as it was */
        struct raft_bytes *chunk;
        uint64_t chunk_offset;
        bool drops_chunks, is_install;
        struct raft_output *out;
        size_t cap_messages;

        /* Elections. */
        enum raft_role role;
        uint64_t leader;
        int64_t heard_at, voted_at, deadline; /* a leader; for another; when this one stands */
        uint64_t attempts;                    /* candidacies since a leader was known */
        struct raft_vote votes[RAFT_MEMBERS_MAX];
        size_t n_votes;
        bool is_transfer; /* this candidacy was asked for by the leader */
        uint64_t own_vote_seq;

        /* Leading. */
        struct raft_peer *peers; /* all others */
        size_t n_peers;
        uint64_t first_own; /* index of this term's first entry */
        int64_t heartbeat_at;
        int64_t busy_ms;      /* time that passed in beats since the last tick */
        uint64_t transfer_to; /* 0: none */
        int64_t transfer_until;
        uint64_t round, confirmed, wanted; /* of reads: sent out; by a majority; asked for */
        uint64_t round_index, read_index;  /* what was agreed when they were sent out */
        bool is_round_out;
        uint64_t transfers; /* snapshots ever begun, to number them */

        /* A snapshot that comes in. */
        struct {
                uint64_t from, term, transfer, index, size, offset;
        } receiving;
};

/* output.c */
void raft_say(struct raft *r, enum raft_gate gate, struct raft_message *take);
struct raft_message raft_message_to(const struct raft *r, enum raft_message_kind kind, uint64_t to);
void raft_set_term(struct raft *r, uint64_t term, uint64_t vote);
void raft_append(struct raft *r, const struct raft_entry *e); /* takes e's reference */
void raft_truncate(struct raft *r, uint64_t from);
void raft_reset(struct raft *r, const struct raft_base *base);
void raft_on_persisted(struct raft *r, uint64_t seq);
void raft_commit_to(struct raft *r, uint64_t index);
void raft_finish_step(struct raft *r);

/* election.c */
bool raft_is_voter(const struct raft *r, uint64_t id);
bool raft_may_stand(const struct raft *r);
bool raft_hears_leader(const struct raft *r); /* a leader, or one that was heard just now */
void raft_put_off_election(struct raft *r);
void raft_become_follower(struct raft *r, uint64_t term, uint64_t leader);
void raft_campaign(struct raft *r, bool is_transfer);
void raft_on_election_due(struct raft *r);
void raft_on_leader_gone(struct raft *r, uint64_t id);
void raft_count_own_vote(struct raft *r);
void raft_on_vote_request(struct raft *r, const struct raft_message *m);
void raft_on_voted(struct raft *r, const struct raft_message *m);

/* leader.c */
void raft_become_leader(struct raft *r);
void raft_leader_tick(struct raft *r);
void raft_beat(struct raft *r, int64_t passed_ms);
void raft_leader_advance(struct raft *r); /* a match or the members changed */
void raft_leader_done(struct raft *r);
bool raft_is_ready(const struct raft *r);
bool raft_can_propose(const struct raft *r);
int64_t raft_propose(struct raft *r, struct raft_bytes *bytes);
int64_t raft_transfer(struct raft *r, uint64_t to);
void raft_hurry_transfer(struct raft *r);
int64_t raft_read(struct raft *r);
void raft_on_heard(struct raft *r, const struct raft_message *m);

/* change.c */
int64_t raft_change(struct raft *r, const struct raft_event *e);
struct raft_peer *raft_peer(const struct raft *r, uint64_t id); /* or NULL */
void raft_sync_peers(struct raft *r);
void raft_drop_leavers(struct raft *r);
void raft_peer_heard(struct raft *r, struct raft_peer *p);
/* Nobody can say that it is silent. */
bool raft_is_active(const struct raft *r, uint64_t id);
/* And it has answered this leader. */
bool raft_is_heard(const struct raft *r, uint64_t id);

/* follower.c */
bool raft_is_entry_sound(const struct raft_entry *e); /* bytes from outside */
int raft_on_append(struct raft *r, const struct raft_message *m);
int raft_on_heartbeat(struct raft *r, const struct raft_message *m);
