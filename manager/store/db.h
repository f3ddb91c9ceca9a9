/*
 * db: what a manager keeps on disk, DIR/swarm.db: its part of the agreement (term, vote, members,
 * log) and the state tables. Place in the flow: consensus hands its writes in here and hears when
 * they are durable; behind that, rows of the store that changed are written to the state tables,
 * and the log is cut once they cover it. One thread of its own does all writing; what is queued
 * while a commit runs goes into the next one.
 *
 * The tables may be a mixture: some rows as they were at `covered`, some as late as `newest_row`.
 * Together with the log between the two they are the state at newest_row, all of which is agreed.
 * A copy of the file holds the same, so it is what a manager that lags is sent, and a backup.
 *
 * What is secret (the cluster's row, which has its keys; the log) can lie sealed in it, with a key
 * that the caller keeps. Sealed or not is told by each blob itself.
 *
 * What can fail: a full disk (some room is kept for that: ballast.c; what comes then can be written
 * as long as it lasts) or a broken one. Then on_failure is called once, nothing more is written or
 * acknowledged, and the process must end; the next start reads what was committed.
 */
#pragma once

#include "manager/consensus/raft/raft.h"
#include "manager/store/store.h"
#include "shared/base/buf.h"
#include "shared/base/err.h"
#include "shared/loop/loop.h"

#define DB_FORMAT          2 /* of the file; a newer one is refused, an older one changed */
#define DB_ENTRY_BYTES_MAX (256u << 20) /* of one entry */
#define DB_SLICE_ROWS_MAX  2000         /* state rows in one transaction */
#define DB_WRITE_BEHIND_MS 1000      /* a change is in the tables this much later, or a bit more */
#define DB_BALLAST_BYTES   (8 << 20) /* room that is kept for when the disk is full */
#define DB_WRAPPED_BYTES   80        /* a key that is sealed */
#define DB_WAL_BYTES_MAX   (64u << 20) /* then it is written back at once, however busy we are */

struct db;

struct db_events {
        void *arg;
        /* All writes up to this one are durable. */
        void (*on_durable)(void *arg, uint64_t seq);
        /* The state tables cover all entries up to index: the log may be cut there. */
        void (*on_covered)(void *arg, uint64_t index);
        /* Answers db_load: the state at index applied. The store is the receiver's. */
        void (*on_loaded)(void *arg, struct store *store, uint64_t applied);
        /* Answers db_copy. error 0: the file holds the state at index, size bytes. */
        void (*on_copied)(void *arg, uint64_t tag, int error, uint64_t index, uint64_t size);
        /* Answers db_seal. EBUSY, ENOSPC: not all is sealed, or a trace of what was there is left.
         */
        void (*on_sealed)(void *arg, int error);
        /* text: one line that names the file; valid during the call. */
        void (*on_failure)(void *arg, int error, const char *text);
};

/* What the file says of the agreement. */
struct db_state {
        uint64_t id; /* of this manager among the members; 0: none is set yet */
        uint64_t term, vote;
        struct raft_base base;
        struct raft_entry *entries; /* from base.index + 1 on, without a gap */
        size_t n_entries;
        uint64_t applied; /* what db_load_now gives the state of; at least base.index */
};

void db_state_done(struct db_state *s);

/* Opens or makes dir/swarm.db (the folder as well). Fails with a text on a file that is in use, of
 * a newer format, damaged, or no database. A file of format 1 becomes one of format 2, that of a
 * manager without others: a random id, the only voter. */
int db_open(const char *dir, struct db **ret, struct err *err);
/* Before db_start: the key (SEAL_KEY_BYTES) that opens what is sealed, here and in what comes from
 * other managers. wrapped: what is written is to be sealed with it, and copies get these
 * DB_WRAPPED_BYTES, the key itself sealed; NULL: not. */
void db_set_key(struct db *db, const uint8_t *key, const uint8_t *wrapped);
/* The same later, for all that the file has; on_sealed. Again with each other `wrapped`. */
void db_seal(struct db *db, const uint8_t *wrapped);
/* Before db_start, of a file that was a copy: the wrapped key that came with it; empty: none. */
int db_copied_key(struct db *db, struct buf *ret, struct err *err);
int db_forget_copied_key(struct db *db, struct err *err);
/* Before db_start. EUCLEAN with a text: damaged. */
int db_read_state(struct db *db, struct db_state *ret, struct err *err);
int db_load_now(struct db *db, struct store **ret, struct err *err);
/* Before db_start: who this manager is, and what an empty log stands on. Durable on return. */
int db_set_identity(struct db *db, uint64_t id, const struct raft_members *members,
                    struct err *err);
/* The same for a state that others shared, or that was a copy: all of its log is taken as agreed,
 * and what it says of members is void. Before db_read_state. */
int db_stand_alone(struct db *db, uint64_t id, const struct raft_members *members, struct err *err);
/* Is the file a whole copy, as db_copy makes them? With text if not. It is only read. */
int db_check_copy(const char *path, struct err *err);
/* Makes a database in dir, which db_open takes then, of a file that db_check_copy took: as after
 * db_stand_alone. All or nothing, also when the process dies on the way: it may be done again.
 * -EEXIST with a text: there is one already, of a manager that has an id. */
int db_restore(const char *dir, const char *copy, uint64_t id, const struct raft_members *members,
               struct err *err);
/* Starts the thread. Events come from the loop, never inside a call to db. */
void db_start(struct db *db, struct loop *loop, const struct db_events *events);
/* Waits until all writes are durable; no event comes any more. NULL is fine. */
void db_close(struct db *db);

/* Removes the folder with all that is in it, for good. -EBUSY: a manager uses it. -ENOENT. */
int db_remove(const char *dir, struct err *err);

/* Takes what is in *w and empties it. In order; several may go into one transaction. A piece of a
 * snapshot goes to DIR/incoming.db at its offset (0: a new file), which is there no longer than the
 * snapshot may go on; an install puts the tables of that file in the place of ours, in one
 * transaction. */
void db_write(struct db *db, struct raft_write *w);
/* The store whose rows are written behind; NULL: none, and what was not yet written is forgotten.
 * Borrowed. */
void db_set_store(struct db *db, struct store *store);
/* The store is as all entries up to index make it, which are agreed and durable. 0: it is ahead of
 * them, for something is proposed, or being applied: no row is taken from it. */
void db_set_applied(struct db *db, uint64_t index);
/* Reads the state as it is on disk, on the thread; on_loaded gets it. The store that was set must
 * have been taken back. */
void db_load(struct db *db);
/* Makes a copy at path (which must not exist) without keeping writes waiting; without what is this
 * manager's alone (id, term, vote), and with the log from covered to what was applied last. */
void db_copy(struct db *db, uint64_t tag, const char *path);
/* The log stands on base now: entries up to there that the tables cover are deleted, in slices,
 * when there is nothing else to do. */
void db_cut_log(struct db *db, const struct raft_base *base);
