/*
 * db: the store on disk, DIR/swarm.db. Place in the flow: consensus appends entries to the log here
 * and hears when they are durable; behind that, the rows that changed are written to the state
 * tables, and the log is cut once they cover it. One thread of its own does all writing; what is
 * queued while a commit runs goes into the next one.
 *
 * What can fail: a full disk (some room is kept for that: ballast.c; what comes then can be written
 * as long as it lasts) or a broken one. Then on_failure is called once, nothing more is written or
 * acknowledged, and the process must end; the next start reads what was committed.
 */
#pragma once

#include "manager/store/store.h"
#include "shared/base/buf.h"
#include "shared/base/err.h"
#include "shared/loop/loop.h"

#define DB_FORMAT          1            /* of the file; a newer one is refused */
#define DB_ENTRY_BYTES_MAX (512u << 20) /* of one entry: what SQLite takes, with room to spare */
#define DB_SLICE_ROWS_MAX  2000         /* state rows in one transaction */
#define DB_WRITE_BEHIND_MS 1000      /* a change is in the tables this much later, or a bit more */
#define DB_BALLAST_BYTES   (8 << 20) /* room that is kept for when the disk is full */
#define DB_WAL_BYTES_MAX   (64u << 20) /* then it is written back at once, however busy we are */

struct db;

struct db_events {
        void *arg;
        /* All entries up to index are durable. */
        void (*on_durable)(void *arg, uint64_t index);
        /* The state tables cover all entries up to index: the log may be cut there. */
        void (*on_covered)(void *arg, uint64_t index);
        /* text: one line that names the file; valid during the call. */
        void (*on_failure)(void *arg, int error, const char *text);
};

/* Opens or makes dir/swarm.db (the folder as well) and loads it into the store, which must be
 * empty and is borrowed from then on. Fails with a text on a file that is in use, of a newer
 * format, damaged, or no database. */
int db_open(const char *dir, struct store *store, struct db **ret, struct err *err);
/* Starts the thread. Events come from the loop, never inside a call to db. */
void db_start(struct db *db, struct loop *loop, const struct db_events *events);
/* Waits until all that was appended is durable; no event comes any more. NULL is fine. */
void db_close(struct db *db);

/* Takes the bytes; returns the entry's index. Its changes must be in the store, and the store must
 * have no other changes than appended ones whenever the loop gets to run. -EFBIG (nothing is taken)
 * above DB_ENTRY_BYTES_MAX, -EIO after a failure. */
int64_t db_append(struct db *db, uint64_t term, struct buf *entry);
/* The newest entry; 0: none yet. */
uint64_t db_last_index(const struct db *db);
/* Deletes entries up to index, which must be covered; in slices, when there is nothing else to do.
 */
void db_cut_log(struct db *db, uint64_t index);
