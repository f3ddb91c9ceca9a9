/*
 * States that come and go as a file: a copy of ours for another manager or for later, and another
 * manager's that takes the place of ours. Both are one transaction that takes the rows from one
 * database into another; tables of the same making are copied as they are, not row by row.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "manager/store/db_file_internal.h"
#include "shared/base/io.h"
#include "shared/base/mem.h"

#define LOG_COLUMNS "idx,term,kind,stored(bytes)"
#define OF_STATE    "key IN ('covered','newest_row');" /* what meta says of it */
#define LOOK_EVERY  10000 /* steps of SQLite's machine between two looks at whether to go on */

/* The state at newest_row: the tables, and the log that leads there. */
static int copy_state(sqlite3 *sqlite, const char *from, const char *to)
{
        _cleanup_buf_ struct buf sql = {0};

        for (size_t i = 0; i < DB_TABLES; i++)
                buf_printf(&sql, "INSERT INTO %s.%s SELECT %s FROM %s.%s;", to, db_table_names[i],
                           i == ROW_CLUSTER ? "row,id,updated_ms,stored(message)" : "*", from,
                           db_table_names[i]);
        buf_printf(&sql, "INSERT INTO %s.meta SELECT * FROM %s.meta WHERE " OF_STATE, to, from);
        buf_printf(&sql,
                   "INSERT INTO %s.log SELECT " LOG_COLUMNS " FROM %s.log"
                   " WHERE idx>coalesce((SELECT value FROM %s.meta WHERE key='covered'),0)"
                   " AND idx<=(SELECT value FROM %s.meta WHERE key='newest_row') ORDER BY idx;",
                   to, from, from, from);
        return sqlite3_exec(sqlite, buf_str(&sql), NULL, NULL, NULL);
}

/* --- what comes in ------------------------------------------------------------------------------
 */
static int incoming_failed(struct db_file *f, int error)
{
        snprintf(f->error, sizeof(f->error), "%s: %s", f->incoming_path, err_name(error));
        return -error;
}

static void close_incoming(struct db_file *f)
{
        if (f->incoming_fd >= 0)
                close(STEAL_FD(f->incoming_fd));
}

void db_file_drop_incoming(struct db_file *f)
{
        static const char *const suffixes[] = {"", "-journal", "-wal", "-shm"};

        close_incoming(f);
        for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
                _cleanup_free_ char *path = xasprintf("%s%s", f->incoming_path, suffixes[i]);

                unlink(path);
        }
}

int db_file_write_incoming(struct db_file *f, uint64_t offset, const uint8_t *p, size_t n)
{
        if (offset == 0) {
                db_file_drop_incoming(f);
                f->incoming_fd =
                        open(f->incoming_path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
                if (f->incoming_fd < 0)
                        return incoming_failed(f, errno);
        }
        assert(f->incoming_fd >= 0); /* pieces come in their order */
        if (lseek(f->incoming_fd, (off_t)offset, SEEK_SET) < 0)
                return incoming_failed(f, errno);
        int r = io_write_all(f->incoming_fd, p, n);
        return r < 0 ? incoming_failed(f, -r) : 0;
}

static int snapshot_failed(struct db_file *f, int code)
{
        int error = code == SQLITE_ERROR ? EUCLEAN : db_file_errno(f->sqlite, code);

        snprintf(f->error, sizeof(f->error), "database %s: snapshot %s: %s", f->path,
                 f->incoming_path, sqlite3_errmsg(f->sqlite));
        return -error;
}

static int snapshot_refused(struct db_file *f, const char *text)
{
        snprintf(f->error, sizeof(f->error), "database %s: snapshot %s: %s", f->path,
                 f->incoming_path, text);
        return -EUCLEAN;
}

int db_file_attach_incoming(struct db_file *f)
{
        sqlite3_stmt *stmt = NULL;

        if (f->incoming_fd < 0)
                return snapshot_refused(f, "none came in");
        if (fsync(f->incoming_fd) < 0)
                return incoming_failed(f, errno);
        close_incoming(f);
        int code = sqlite3_prepare_v2(f->sqlite, "ATTACH ?1 AS incoming", -1, &stmt, NULL);
        if (code == SQLITE_OK)
                code = sqlite3_bind_text(stmt, 1, f->incoming_path, -1, SQLITE_STATIC);
        if (code == SQLITE_OK)
                code = sqlite3_step(stmt);
        sqlite3_finalize(stmt);
        return code == SQLITE_DONE ? 0 : snapshot_failed(f, code);
}

static int check_incoming(struct db_file *f, uint64_t index, int64_t *ret_covered)
{
        int64_t application = 0, format = 0, newest_row = 0;
        int code = db_file_query(f->sqlite, "PRAGMA incoming.application_id", &application);

        if (code == SQLITE_OK)
                code = db_file_query(f->sqlite, "PRAGMA incoming.user_version", &format);
        if (code != SQLITE_OK)
                return snapshot_failed(f, code);
        if (application != DB_APPLICATION)
                return snapshot_refused(f, "not one of swarm's");
        if (format != DB_FORMAT)
                return snapshot_refused(f, "of another format: are the managers of one version?");
        code = db_file_query(f->sqlite, "SELECT value FROM incoming.meta WHERE key='newest_row'",
                             &newest_row);
        if (code == SQLITE_OK)
                code = db_file_query(f->sqlite,
                                     "SELECT value FROM incoming.meta WHERE key='covered'",
                                     ret_covered);
        if (code != SQLITE_OK)
                return snapshot_failed(f, code);
        if ((uint64_t)newest_row != index)
                return snapshot_refused(f, "not the state that was announced");
        return 0;
}

static int delete_state(sqlite3 *sqlite)
{
        _cleanup_buf_ struct buf sql = {0};

        for (size_t i = 0; i < DB_TABLES; i++)
                buf_printf(&sql, "DELETE FROM main.%s;", db_table_names[i]);
        buf_puts(&sql, "DELETE FROM main.log; DELETE FROM main.meta WHERE " OF_STATE);
        return sqlite3_exec(sqlite, buf_str(&sql), NULL, NULL, NULL);
}

int db_file_install(struct db_file *f, const struct raft_base *base)
{
        int64_t covered = 0;
        int r = check_incoming(f, base->index, &covered);

        if (r < 0)
                return r;
        int code = delete_state(f->sqlite);
        if (code == SQLITE_OK)
                code = copy_state(f->sqlite, "incoming", "main");
        if (code != SQLITE_OK)
                return snapshot_failed(f, code);
        f->covered = (uint64_t)covered;
        f->newest_row = base->index;
        return db_file_set_base(f, base);
}

int db_file_detach_incoming(struct db_file *f)
{
        int code = sqlite3_exec(f->sqlite, "DETACH incoming", NULL, NULL, NULL);

        db_file_drop_incoming(f);
        return code == SQLITE_OK ? 0 : snapshot_failed(f, code);
}

/* --- what goes out ------------------------------------------------------------------------------
 */
static const char copy_setup_sql[] =
        "PRAGMA main.journal_mode=OFF;" /* what fails is removed whole */
        "PRAGMA main.synchronous=OFF;"  /* synced at its end */
        "PRAGMA temp_store=MEMORY;";

/* Without id, vote and members: the log stands on the state itself. */
static const char copy_raft_sql[] =
        "UPDATE main.raft SET (base_index,base_term)=(SELECT newest,coalesce("
        "(SELECT term FROM source.log WHERE idx=newest),(SELECT base_term FROM source.raft))"
        " FROM (SELECT coalesce((SELECT value FROM main.meta WHERE key='newest_row'),0)"
        " AS newest));"
        "UPDATE main.raft SET term=base_term;"
        "COMMIT;";

static int is_cancelled_now(void *arg)
{
        return atomic_load((atomic_bool *)arg);
}

static int attach_source(sqlite3 *sqlite, const char *path)
{
        sqlite3_stmt *stmt = NULL;
        int code = sqlite3_prepare_v2(sqlite, "ATTACH ?1 AS source", -1, &stmt, NULL);

        if (code == SQLITE_OK)
                code = sqlite3_bind_text(stmt, 1, path, -1, SQLITE_STATIC);
        if (code == SQLITE_OK)
                code = sqlite3_step(stmt);
        sqlite3_finalize(stmt);
        return code == SQLITE_DONE ? SQLITE_OK : code;
}

/* The log goes on to what was agreed when the copy was asked for: nothing of that is left out. */
static int extend_copy(sqlite3 *sqlite, uint64_t agreed)
{
        static const char LOG[] =
                "INSERT INTO main.log SELECT " LOG_COLUMNS " FROM source.log WHERE idx<=?1 AND idx>"
                "coalesce((SELECT value FROM main.meta WHERE key='newest_row'),0)";
        static const char NEWEST[] =
                "INSERT OR REPLACE INTO main.meta SELECT 'newest_row',max(idx) FROM main.log"
                " HAVING max(idx)>coalesce((SELECT value FROM main.meta WHERE key='newest_row'),0)";
        sqlite3_stmt *stmt = NULL;
        int code = sqlite3_prepare_v2(sqlite, LOG, -1, &stmt, NULL);

        if (code == SQLITE_OK)
                code = sqlite3_bind_int64(stmt, 1, (int64_t)agreed);
        if (code == SQLITE_OK)
                code = sqlite3_step(stmt);
        sqlite3_finalize(stmt);
        return code == SQLITE_DONE ? sqlite3_exec(sqlite, NEWEST, NULL, NULL, NULL) : code;
}

static int fill_copy(sqlite3 *sqlite, const char *from, uint64_t agreed, struct db_seal *seal,
                     uint64_t *ret_index)
{
        int64_t index = 0;
        int code = sqlite3_exec(sqlite, copy_setup_sql, NULL, NULL, NULL);

        if (code == SQLITE_OK)
                code = db_seal_functions(sqlite, seal);
        if (code == SQLITE_OK)
                code = attach_source(sqlite, from);
        if (code == SQLITE_OK)
                code = sqlite3_exec(sqlite, "BEGIN", NULL, NULL, NULL);
        if (code == SQLITE_OK)
                code = db_file_create_tables(sqlite);
        if (code == SQLITE_OK)
                code = copy_state(sqlite, "source", "main");
        if (code == SQLITE_OK)
                code = extend_copy(sqlite, agreed);
        if (code == SQLITE_OK && seal->is_on)
                code = db_seal_put_key(sqlite, seal);
        if (code == SQLITE_OK)
                code = sqlite3_exec(sqlite, copy_raft_sql, NULL, NULL, NULL);
        if (code == SQLITE_OK)
                code = db_file_query(sqlite, "SELECT base_index FROM main.raft", &index);
        *ret_index = (uint64_t)index;
        return code;
}

/* The file at `to` is there, and empty. */
static int write_copy(const char *from, uint64_t agreed, const char *to, struct db_seal *seal,
                      atomic_bool *is_cancelled, uint64_t *ret_index)
{
        sqlite3 *sqlite = NULL;
        int code = sqlite3_open_v2(to, &sqlite, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);

        if (code == SQLITE_OK) {
                sqlite3_busy_timeout(sqlite, DB_BUSY_WAIT_MS);
                sqlite3_progress_handler(sqlite, LOOK_EVERY, is_cancelled_now, is_cancelled);
                code = fill_copy(sqlite, from, agreed, seal, ret_index);
        }
        int r = code == SQLITE_OK ? 0 : -db_file_errno(sqlite, code);
        sqlite3_close(sqlite);
        return code == SQLITE_INTERRUPT ? -ECANCELED : r;
}

int db_file_copy(const char *from, uint64_t agreed, const char *to, struct db_seal *seal,
                 atomic_bool *is_cancelled, uint64_t *ret_index, uint64_t *ret_size)
{
        _cleanup_close_ int fd = open(to, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        struct stat st;

        if (fd < 0)
                return -errno;
        int r = write_copy(from, agreed, to, seal, is_cancelled, ret_index);
        if (r == 0 && (fsync(fd) < 0 || fstat(fd, &st) < 0))
                r = -errno;
        if (r == 0)
                *ret_size = (uint64_t)st.st_size;
        else
                unlink(to);
        return r;
}
