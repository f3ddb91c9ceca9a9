/*
 * What is secret in the file, sealed: the cluster's row with its keys, and the log, which has had
 * all that was ever in a row. SQL has two functions for it: stored(X) is X as it is to lie in the
 * file, opened(X) is X to be read. What is so already stays as it is, and NULL stays NULL.
 *
 * What can fail: X is sealed and there is no key for it, or another one; the disk.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "manager/store/db_internal.h"
#include "shared/base/mem.h"

/* Kept in meta: all that is secret is sealed, and no trace is left of what was not. */
#define META_SEALED "'sealed'"

/* --- the functions ------------------------------------------------------------------------------
 */
static void give_open(sqlite3_context *context, const struct db_seal *seal, const uint8_t *p,
                      size_t n)
{
        uint8_t *bytes = sqlite3_malloc64(n);

        if (!bytes) {
                sqlite3_result_error_nomem(context);
        } else if (!seal->has_key || seal_open(seal->key, p, n, bytes) < 0) {
                sqlite3_free(bytes);
                sqlite3_result_error(context, "it is sealed with another key, or damaged", -1);
        } else {
                sqlite3_result_blob64(context, bytes, n - SEAL_EXTRA_BYTES, sqlite3_free);
        }
}

static void give_closed(sqlite3_context *context, const struct db_seal *seal, const uint8_t *p,
                        size_t n)
{
        uint8_t *bytes = sqlite3_malloc64(n + SEAL_EXTRA_BYTES);

        if (!bytes) {
                sqlite3_result_error_nomem(context);
                return;
        }
        seal_close(seal->key, p, n, bytes);
        sqlite3_result_blob64(context, bytes, n + SEAL_EXTRA_BYTES, sqlite3_free);
}

static void give(sqlite3_context *context, sqlite3_value *value, bool closed)
{
        const struct db_seal *seal = sqlite3_user_data(context);
        const uint8_t *p = sqlite3_value_blob(value);
        size_t n = (size_t)sqlite3_value_bytes(value);

        if (!p || seal_is_closed(p, n) == closed)
                sqlite3_result_value(context, value);
        else if (closed)
                give_closed(context, seal, p, n);
        else
                give_open(context, seal, p, n);
}

static void stored(sqlite3_context *context, int n UNUSED, sqlite3_value **values)
{
        give(context, values[0], ((const struct db_seal *)sqlite3_user_data(context))->is_on);
}

static void opened(sqlite3_context *context, int n UNUSED, sqlite3_value **values)
{
        give(context, values[0], false);
}

int db_seal_functions(sqlite3 *sqlite, struct db_seal *seal)
{
        int code =
                sqlite3_create_function(sqlite, "stored", 1, SQLITE_UTF8, seal, stored, NULL, NULL);

        return code == SQLITE_OK ? sqlite3_create_function(sqlite, "opened", 1, SQLITE_UTF8, seal,
                                                           opened, NULL, NULL)
                                 : code;
}

/* --- all of it ----------------------------------------------------------------------------------
 */
static int run(struct db_file *f, const char *sql)
{
        int code = sqlite3_exec(f->sqlite, sql, NULL, NULL, NULL);

        return code == SQLITE_OK ? 0 : db_file_failed(f, code);
}

/* SQLite overwrites what it deletes (secure_delete), once the write-ahead log is written back, and
 * the log itself goes with that. A reader keeps it: -EBUSY. */
static int scrub(struct db_file *f)
{
        int r = db_file_checkpoint(f, true);

        if (r == 0 && f->is_reader_in_way)
                return -EBUSY;
        return r < 0 ? r : run(f, "INSERT OR REPLACE INTO meta VALUES(" META_SEALED ",1)");
}

int db_file_seal(struct db_file *f, bool on)
{
        int64_t is_sealed = 0;
        int code = db_file_query(f->sqlite, "SELECT value FROM meta WHERE key=" META_SEALED,
                                 &is_sealed);

        if (code != SQLITE_OK)
                return db_file_failed(f, code);
        f->seal.is_on = on;
        if (on && is_sealed)
                return 0;
        int r = db_file_begin(f);
        if (r == 0)
                r = run(f, "DELETE FROM meta WHERE key=" META_SEALED ";"
                           "UPDATE log SET bytes=stored(bytes);"
                           "UPDATE cluster SET message=stored(message)");
        if (r == 0)
                r = db_file_commit(f);
        return r < 0 || !on ? r : scrub(f);
}

/* --- the loop's side ----------------------------------------------------------------------------
 */
static void set_wrapped(struct db_seal *seal, const uint8_t *wrapped)
{
        seal->is_on = wrapped != NULL;
        if (wrapped)
                memcpy(seal->wrapped, wrapped, sizeof(seal->wrapped));
}

void db_set_key(struct db *db, const uint8_t *key, const uint8_t *wrapped)
{
        assert(!db->has_thread);
        memcpy(db->seal.key, key, SEAL_KEY_BYTES);
        db->seal.has_key = true;
        set_wrapped(&db->seal, wrapped);
        db->file.seal = db->seal;
}

void db_seal(struct db *db, const uint8_t *wrapped)
{
        assert(db->seal.has_key);
        set_wrapped(&db->seal, wrapped);
        db_queue_seal(db, wrapped != NULL);
}

/* --- the key of a copy --------------------------------------------------------------------------
 * A copy that has sealed rows has their key with it, sealed as well: for a manager that begins with
 * it.
 */
int db_seal_put_key(sqlite3 *sqlite, const struct db_seal *seal)
{
        sqlite3_stmt *stmt = NULL;
        int code =
                sqlite3_exec(sqlite, "CREATE TABLE main.copy_key(sealed BLOB)", NULL, NULL, NULL);

        if (code == SQLITE_OK)
                code = sqlite3_prepare_v2(sqlite, "INSERT INTO main.copy_key VALUES(?1)", -1, &stmt,
                                          NULL);
        if (code == SQLITE_OK)
                sqlite3_bind_blob(stmt, 1, seal->wrapped, sizeof(seal->wrapped), SQLITE_STATIC);
        if (code == SQLITE_OK)
                code = sqlite3_step(stmt);
        sqlite3_finalize(stmt);
        return code == SQLITE_DONE ? SQLITE_OK : code;
}

int db_copied_key(struct db *db, struct buf *ret, struct err *err)
{
        struct db_file *f = &db->file;
        int64_t has_key = 0;
        sqlite3_stmt *stmt = NULL;
        int code = db_file_query(
                f->sqlite, "SELECT count(*) FROM sqlite_master WHERE name='copy_key'", &has_key);

        if (code == SQLITE_OK && has_key)
                code = sqlite3_prepare_v2(f->sqlite, "SELECT sealed FROM copy_key", -1, &stmt,
                                          NULL);
        if (code == SQLITE_OK && has_key)
                code = sqlite3_step(stmt);
        if (code == SQLITE_ROW)
                buf_append(ret, sqlite3_column_blob(stmt, 0),
                           (size_t)sqlite3_column_bytes(stmt, 0));
        sqlite3_finalize(stmt);
        return code == SQLITE_OK || code == SQLITE_ROW ? 0 : db_file_failed_open(f, code, err);
}

int db_forget_copied_key(struct db *db, struct err *err)
{
        struct db_file *f = &db->file;
        int r = run(f, "DROP TABLE IF EXISTS copy_key");

        return r < 0 ? err_set(err, -r, "%s", f->error) : 0;
}
