/*
 * replica: this manager's copy of the cluster's state, and who may change it. Place in the flow:
 * consensus below says what is agreed; the copy follows it. The manager that leads runs turns over
 * its copy, proposes what they changed, and lets their effects out once that is agreed. When it no
 * longer leads, a copy that has more than what is agreed is dropped and read from disk anew.
 *
 *   follower   applies entries                                    no turn
 *   leader     first applies all that was agreed before it        then a turn, one proposal at a
 * time
 *
 * Effects of a turn that changed nothing, and answers a client, are let out when this manager is
 * sure that it led after the turn's inputs had come: so no client is answered out of an old state.
 *
 * Pure: time comes in, input and output go through the ops, which must not call back.
 */
#pragma once

#include "manager/consensus/consensus.h"
#include "manager/turn.h"

struct replica;

struct replica_ops {
        void *arg;
        /* The disk's part: see manager/store/db.h, whose functions these are. */
        void (*write)(void *arg, struct raft_write *w);
        /* Also: another state is there from now on, or none (NULL). */
        void (*set_store)(void *arg, struct store *store);
        void (*set_applied)(void *arg, uint64_t index);
        void (*load)(void *arg); /* replica_loaded, some time */
        void (*cut_log)(void *arg, const struct raft_base *base);
        /* As in consensus.h. */
        void (*send)(void *arg, const struct raft_message *m);
        void (*want_snapshot)(void *arg, uint64_t peer);
        /* Carry these out, in order; the list is to be emptied. */
        void (*release)(void *arg, struct list *effects);
        /* Before the first turn of a leadership: may change the store (its own node's address,
         * what a new cluster has). */
        void (*on_lead)(void *arg, struct store *store, struct now now);
        /* It leads: inputs are taken. Until on_lead_end: its clients and sessions are nobody's
         * then. */
        void (*on_turn)(void *arg, struct turn *turn, struct store *store);
        void (*on_lead_end)(void *arg);
        /* What is agreed cannot be applied, or a proposal not be taken: the process must end. */
        void (*on_failure)(void *arg, const char *text);
};

struct replica_config {
        struct raft_start start;
        struct store *store;            /* at index start.applied; the replica's from now on */
        const struct turn_config *turn; /* borrowed, read for each leadership, which gets a seed of
                                           its own */
        struct replica_ops ops;
};

/* -EINVAL: the log's state contradicts itself. The store is freed in any case. */
int replica_new(const struct replica_config *c, struct replica **ret);
void replica_free(struct replica *r); /* NULL is fine */

const struct consensus_status *replica_status(const struct replica *r);
const struct raft_members *replica_members(const struct replica *r);
bool replica_is_member(const struct replica *r, uint64_t id); /* as consensus_is_member */
int replica_progress(const struct replica *r, uint64_t id, struct raft_progress *ret);
/* NULL: it is just being read. Not to be kept beyond the next call. */
struct store *replica_store(struct replica *r);
uint64_t replica_applied(const struct replica *r);
/* Takes inputs; NULL: this manager does not lead, or does not yet. */
struct turn *replica_turn(struct replica *r);
/* A proposal or a confirmation is under way. */
bool replica_is_waiting(const struct replica *r);

/* Events of below. */
void replica_receive(struct replica *r, struct now now, const struct raft_message *m);
void replica_link_broke(struct replica *r, struct now now, uint64_t peer);
void replica_persisted(struct replica *r, struct now now, uint64_t seq);
/* The state as the disk has it; taken. */
void replica_loaded(struct replica *r, struct now now, struct store *store, uint64_t applied);
/* The tables cover all up to index. */
void replica_covered(struct replica *r, struct now now, uint64_t index);
bool replica_snapshot_ready(struct replica *r, struct now now, uint64_t peer, uint64_t index,
                            uint64_t size);
/* As consensus_change and consensus_transfer. */
int64_t replica_change(struct replica *r, struct now now, enum raft_change what, uint64_t id,
                       const char *address);
int replica_transfer(struct replica *r, struct now now, uint64_t to);

/* For turn_config.breath: may be called amid a turn. */
void replica_beat(struct replica *r, struct now now);

/* Does what is due: applies, runs at most one turn, ticks. Call after every event, once all that
 * came in at the same time is in. Returns when to call again at the latest: mono time, now.mono_ms
 * for "at once". */
int64_t replica_run(struct replica *r, struct now now);
