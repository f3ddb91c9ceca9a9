/* SQL on a file from beside: see sql.h. */
#include "tests/lib/sql.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>

#include "shared/base/mem.h"

#define BUSY_WAIT_MS 10000

struct sql_reader {
        sqlite3 *sqlite;
};

static void check(sqlite3 *sqlite, const char *sql, bool is_fine)
{
        if (is_fine)
                return;
        fprintf(stderr, "%s: %s\n", sql, sqlite3_errmsg(sqlite));
        abort();
}

static sqlite3 *open_file(const char *path)
{
        sqlite3 *sqlite = NULL;

        check(sqlite, path, sqlite3_open(path, &sqlite) == SQLITE_OK);
        sqlite3_busy_timeout(sqlite, BUSY_WAIT_MS);
        return sqlite;
}

static void exec(sqlite3 *sqlite, const char *sql)
{
        check(sqlite, sql, sqlite3_exec(sqlite, sql, NULL, NULL, NULL) == SQLITE_OK);
}

void sql_run(const char *path, const char *sql)
{
        sqlite3 *sqlite = open_file(path);

        exec(sqlite, sql);
        sqlite3_close(sqlite);
}

int64_t sql_int(const char *path, const char *sql)
{
        sqlite3 *sqlite = open_file(path);
        sqlite3_stmt *stmt = NULL;
        int64_t ret = -1;

        check(sqlite, sql, sqlite3_prepare_v2(sqlite, sql, -1, &stmt, NULL) == SQLITE_OK);
        int code = sqlite3_step(stmt);
        check(sqlite, sql, code == SQLITE_ROW || code == SQLITE_DONE);
        if (code == SQLITE_ROW)
                ret = sqlite3_column_int64(stmt, 0);
        sqlite3_finalize(stmt);
        sqlite3_close(sqlite);
        return ret;
}

void sql_run_bytes(const char *path, const char *sql, const void *p, size_t n)
{
        sqlite3 *sqlite = open_file(path);
        sqlite3_stmt *stmt = NULL;

        check(sqlite, sql, sqlite3_prepare_v2(sqlite, sql, -1, &stmt, NULL) == SQLITE_OK);
        sqlite3_bind_blob64(stmt, 1, p, n, SQLITE_STATIC);
        check(sqlite, sql, sqlite3_step(stmt) == SQLITE_DONE);
        sqlite3_finalize(stmt);
        sqlite3_close(sqlite);
}

struct sql_reader *sql_reader_open(const char *path)
{
        struct sql_reader *r = xnew(struct sql_reader);

        r->sqlite = open_file(path);
        exec(r->sqlite, "BEGIN; SELECT count(*) FROM meta;");
        return r;
}

void sql_reader_close(struct sql_reader *r)
{
        sqlite3_close(r->sqlite);
        free(r);
}
