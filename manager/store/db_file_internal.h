/*
 * The SQLite file below db: db_file.c, db_rows.c, db_snapshot.c, db_restore.c. One thread at a
 * time. Calls return 0 or -errno, and leave their text in file->error, or in err if they have one.
 */
#pragma once

#include <sqlite3.h>
#include <stdatomic.h>

#include "manager/store/db.h"
#include "shared/seal/seal.h"

#define DB_BUSY_WAIT_MS 10000
#define DB_APPLICATION  1398227282 /* "SWAR": of PRAGMA application_id */

enum {
        SQL_BEGIN,
        SQL_COMMIT,
        SQL_APPEND,
        SQL_TRUNCATE,
        SQL_CUT,
        SQL_SET_META,
        SQL_SET_ID,
        SQL_SET_TERM,
        SQL_SET_BASE,
        SQL_PUT,                  /* one for each enum row_table */
        SQL_DELETE = SQL_PUT + 6, /* likewise */
        SQL_COUNT = SQL_DELETE + 6
};

/* Whether and how what is secret is sealed. */
struct db_seal {
        uint8_t key[SEAL_KEY_BYTES];
        uint8_t wrapped[DB_WRAPPED_BYTES]; /* that key, sealed, for copies */
        bool has_key, is_on;
};

struct db_file {
        sqlite3 *sqlite;
        char *path, *incoming_path, *dir, *ballast;
        int lock_fd, incoming_fd; /* -1: none */
        sqlite3_stmt *statements[SQL_COUNT];
        int wal_pages;           /* not written back yet, as of the last commit */
        bool is_reader_in_way;   /* of writing back; until the next commit */
        uint64_t id, term, vote; /* these and what follows: as in the file */
        struct raft_base base;
        uint64_t covered, newest_row;
        struct db_seal seal;
        char error[ERR_TEXT_MAX];
};

/* A row on its way to the thread. */
struct db_row {
        enum row_table table;
        uint64_t row;
        bool is_deletion;
        size_t message, message_len; /* in the slice's bytes */
        size_t name;                 /* likewise, NUL-terminated */
        const char *state, *desired; /* static; may be NULL */
        struct id id;
        int64_t time_ms;
};

struct db_slice {
        struct db_row *rows;
        size_t n, cap;
        struct buf bytes;
        uint64_t newest_row; /* no row is newer than this entry */
        uint64_t covered;    /* after this slice; 0: as before */
};

void db_slice_free(struct db_slice *slice);

/* db_file.c */
int db_file_open(struct db_file *f, const char *dir, struct err *err);
void db_file_close(struct db_file *f);
/* Keeps every other manager out of the folder. The lock's descriptor. */
int db_file_lock(const char *dir, struct err *err);
#define DB_RESTORING \
        "restoring" /* in a manager's folder: where db_restore makes a database ready */
/* An empty database becomes one of ours; within the transaction that is open. Returns SQLite's
 * code. */
int db_file_create_tables(sqlite3 *sqlite);
int db_file_read_log(struct db_file *f, struct raft_entry **ret, size_t *ret_n, struct err *err);
int db_file_begin(struct db_file *f);
int db_file_commit(struct db_file *f);
void db_file_rollback(struct db_file *f);
int db_file_set_id(struct db_file *f, uint64_t id);
int db_file_set_term(struct db_file *f, uint64_t term, uint64_t vote);
int db_file_set_base(struct db_file *f, const struct raft_base *base);
int db_file_set_covered(struct db_file *f, uint64_t covered);
int db_file_set_newest_row(struct db_file *f, uint64_t newest_row);
/* The log from `from` on is these entries. */
int db_file_write_log(struct db_file *f, uint64_t from, const struct raft_entry *entries, size_t n);
/* Deletes up to n entries that are not above index; returns how many. */
int db_file_cut(struct db_file *f, uint64_t index, int n);
/* Writes the write-ahead log back: all of it and from its start, or what can be without waiting. */
int db_file_checkpoint(struct db_file *f, bool all);
int db_file_run(struct db_file *f, int which); /* a statement with its values bound */
int db_file_query(sqlite3 *sqlite, const char *sql, int64_t *ret); /* 0: no row. SQLite's code */
int db_file_errno(sqlite3 *sqlite, int code);                      /* positive */
int db_file_failed(struct db_file *f, int code);
int db_file_failed_open(struct db_file *f, int code, struct err *err);

/* db_seal.c */
/* The functions stored and opened, for that connection; seal is borrowed. SQLite's code. */
int db_seal_functions(sqlite3 *sqlite, struct db_seal *seal);
/* From now on what is secret is written sealed, or plain, and all that is in the file is made so.
 * -EBUSY, -ENOSPC: not yet, or but for traces of what was there before: try again. */
int db_file_seal(struct db_file *f, bool on);
/* In a copy that is being made. SQLite's code. */
int db_seal_put_key(sqlite3 *sqlite, const struct db_seal *seal);

/* ballast.c. It is given up when it opens on a full disk. */
void ballast_open(struct db_file *f, const char *dir);
void ballast_done(struct db_file *f);
/* The disk turned out to be full. False: there is no ballast. */
bool ballast_release(struct db_file *f);
/* Makes it if it is not there and there is room. */
void ballast_make(struct db_file *f);

/* What cannot be read: -EPROTO is of a newer version, anything else damaged. what: "log: entry 7".
 */
int db_file_unreadable(const struct db_file *f, int code, const char *what, struct err *err);
int db_file_unreadable_entry(const struct db_file *f, int code, uint64_t index, struct err *err);

/* db_rows.c: the state tables */
#define DB_TABLES 6
extern const char *const db_table_names[DB_TABLES]; /* by enum row_table */

/* The state at newest_row: the tables, and what the log has from behind covered. */
int db_file_load(struct db_file *f, struct store *store, struct err *err);
int db_file_write_slice(struct db_file *f, const struct db_slice *slice);

/* db_snapshot.c: states that come and go as a file */
void db_file_drop_incoming(struct db_file *f);
int db_file_write_incoming(struct db_file *f, uint64_t offset, const uint8_t *p, size_t n);
/* Before the transaction; the file is whole. */
int db_file_attach_incoming(struct db_file *f);
/* Within it: the incoming file's state in the place of ours, at base, no entry behind. */
int db_file_install(struct db_file *f, const struct raft_base *base);
/* After it. */
int db_file_detach_incoming(struct db_file *f);
/* The state in the database at `from` as a new file at `to`, with what is agreed at least up to
 * `agreed`, its secrets as `seal` says, which is borrowed. -ECANCELED as soon as *is_cancelled;
 * -EEXIST. Any other failure leaves no file, either.
 */
int db_file_copy(const char *from, uint64_t agreed, const char *to, struct db_seal *seal,
                 atomic_bool *is_cancelled, uint64_t *ret_index, uint64_t *ret_size);
