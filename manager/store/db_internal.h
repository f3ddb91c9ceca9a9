/* What db.c (loop side, thread) and db_file.c (the SQLite file) share. */
#pragma once

#include <pthread.h>
#include <sqlite3.h>

#include "manager/store/db.h"
#include "shared/base/list.h"

/* --- the file: every call returns 0 or -errno, and leaves its text in file->error ----------------
 */
enum {
        SQL_BEGIN,
        SQL_COMMIT,
        SQL_ROLLBACK,
        SQL_APPEND,
        SQL_CUT,
        SQL_SET_META,
        SQL_PUT,                  /* one for each enum row_table */
        SQL_DELETE = SQL_PUT + 6, /* likewise */
        SQL_COUNT = SQL_DELETE + 6
};

struct db_file {
        sqlite3 *sqlite;
        char *path, *dir, *ballast;
        int lock_fd;
        sqlite3_stmt *statements[SQL_COUNT];
        int wal_pages; /* after the last commit */
        uint64_t covered, newest_row, last_index;
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

/* ballast.c. It is given up when it opens on a full disk. */
void ballast_open(struct db_file *f, const char *dir);
void ballast_done(struct db_file *f);
/* The disk turned out to be full. False: there is no ballast. */
bool ballast_release(struct db_file *f);
/* Makes it if it is not there and there is room. */
void ballast_make(struct db_file *f);

int db_file_open(struct db_file *f, const char *dir, struct err *err);
void db_file_close(struct db_file *f);
int db_file_load(struct db_file *f, struct store *store, struct err *err);
int db_file_begin(struct db_file *f);
int db_file_commit(struct db_file *f);
void db_file_rollback(struct db_file *f);
int db_file_append(struct db_file *f, uint64_t index, uint64_t term, const struct buf *entry);
int db_file_write_slice(struct db_file *f, const struct db_slice *slice);
/* Deletes up to n entries that are not above index; returns how many. */
int db_file_cut(struct db_file *f, uint64_t index, int n);
/* Writes the write-ahead log back: all of it and from its start, or what can be without waiting. */
int db_file_checkpoint(struct db_file *f, bool all);
