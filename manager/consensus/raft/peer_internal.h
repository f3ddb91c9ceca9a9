/* What a leader knows of another member: replicate.c, snapshot.c, change.c. */
#pragma once

#include "manager/consensus/raft/raft.h"

struct raft;

#define RAFT_INFLIGHT_MAX 64 /* appends sent to one peer, not yet answered */

enum raft_peer_state {
        RAFT_PEER_PROBE,     /* one append at a time, to find where the logs part */
        RAFT_PEER_REPLICATE, /* they agree up to next: as many as the window takes */
        RAFT_PEER_SNAPSHOT   /* what it lacks was cut */
};

struct raft_inflight {
        uint64_t last;
        size_t bytes;
};

struct raft_sending {          /* a snapshot that goes out */
        uint64_t transfer;     /* 0: the driver has yet to make it */
        struct raft_base base; /* what it covers */
        uint64_t size;
        uint64_t acked, sent; /* offsets */
};

struct raft_peer {
        uint64_t id;
        bool is_leaving;  /* no member any more: served until it knows */
        int64_t leave_at; /* set once that is committed */
        enum raft_peer_state state;
        uint64_t match, next;
        bool is_probing;   /* the one append is out */
        bool is_heard;     /* has answered in this term */
        int64_t heard_at;  /* when it last did; before that: when it was first asked */
        int64_t moving_at; /* last progress, or last attempt at some */
        uint64_t round;    /* the newest that it confirmed */
        struct raft_inflight inflight[RAFT_INFLIGHT_MAX];
        size_t first_inflight, n_inflight, inflight_bytes;
        struct raft_sending sending;
};

/* replicate.c */
void raft_peer_probe(struct raft *r, struct raft_peer *p, uint64_t next);
void raft_replicate(struct raft *r, struct raft_peer *p);
void raft_replicate_all(struct raft *r);
int raft_on_appended(struct raft *r, const struct raft_message *m);
void raft_unstick(struct raft *r, struct raft_peer *p);
void raft_leave_silent(struct raft *r, struct raft_peer *p);

/* snapshot.c */
void raft_begin_snapshot(struct raft *r, struct raft_peer *p);
void raft_send_chunks(struct raft *r, struct raft_peer *p);
int64_t raft_snapshot_ready(struct raft *r, const struct raft_event *e);
void raft_on_chunk_taken(struct raft *r, const struct raft_message *m);
int raft_on_chunk(struct raft *r, const struct raft_message *m);
/* At the end of a step: what came in of a snapshot that does not go on is given up. */
void raft_end_receiving(struct raft *r);
int64_t raft_cut(struct raft *r, uint64_t index);
