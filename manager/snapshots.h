/*
 * snapshots: copies of the database that managers which lag are sent. Place in the flow: consensus
 * wants one for a peer; the database makes a copy; its pieces are read as they go out. One copy a
 * peer, deleted once the peer has it.
 */
#pragma once

#include "manager/replica/replica.h"
#include "manager/store/db.h"

struct snapshots;

/* Does the peer (still) need it? As consensus_snapshot_ready; index 0: it cannot be made now. */
typedef bool snapshot_ready_fn(void *arg, uint64_t peer, uint64_t index, uint64_t size);

/* Deletes what an earlier process left in dir. db and dir are borrowed. */
struct snapshots *snapshots_new(struct db *db, const char *dir, snapshot_ready_fn *ready,
                                void *arg);
void snapshots_free(struct snapshots *s);
void snapshots_want(struct snapshots *s, uint64_t peer);
void snapshots_on_copied(struct snapshots *s, uint64_t peer, int error, uint64_t index,
                         uint64_t size);
/* The bytes of a RAFT_CHUNK; NULL: they cannot be read, and it is not to be sent. */
struct raft_bytes *snapshots_read(struct snapshots *s, const struct raft_message *m);
/* Lets go of what no peer gets any more; for whom there was no room, it is told now. */
void snapshots_run(struct snapshots *s, const struct replica *r);
