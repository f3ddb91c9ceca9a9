/*
 * The SQLite file: opening it, also one of an older format, its part of the agreement, its log, and
 * transactions. Write-ahead log, synchronous FULL: what a COMMIT acknowledged is on the disk.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "manager/store/db_file_internal.h"
#include "shared/base/io.h"
#include "shared/base/mem.h"

#define OLD_FORMAT      1
#define RECORD_OVERHEAD 4096 /* of a row of the log, beside the entry's bytes */

#define TEXT_OF(x)  TEXT_OF_(x)
#define TEXT_OF_(x) #x

static const char setup_sql[] = "PRAGMA journal_mode=WAL;"
                                "PRAGMA synchronous=FULL;"
                                "PRAGMA wal_autocheckpoint=0;"
                                "PRAGMA secure_delete=ON;" /* what was secret leaves no trace */
                                "PRAGMA temp_store=MEMORY;"
                                "PRAGMA cache_size=-4096;";

#define LOG_TABLE                                                          \
        "CREATE TABLE log(idx INTEGER PRIMARY KEY, term INTEGER NOT NULL," \
        " kind INTEGER NOT NULL, bytes BLOB);"
/* One row. Members as raft_members_encode writes them; NULL: none. */
#define RAFT_TABLE                                                                    \
        "CREATE TABLE raft(row INTEGER PRIMARY KEY, id INTEGER NOT NULL,"             \
        " term INTEGER NOT NULL, vote INTEGER NOT NULL, base_index INTEGER NOT NULL," \
        " base_term INTEGER NOT NULL, base_members BLOB);"

static const char schema_sql[] =
        "CREATE TABLE meta(key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;" LOG_TABLE
                RAFT_TABLE "INSERT INTO raft VALUES(1,0,0,0,0,0,NULL);"
        "CREATE TABLE cluster(row INTEGER PRIMARY KEY, id TEXT, updated_ms INTEGER, message BLOB);"
        "CREATE TABLE nodes(row INTEGER PRIMARY KEY, id TEXT, hostname TEXT, state TEXT,"
        " role TEXT, availability TEXT, updated_ms INTEGER, json TEXT, message BLOB);"
        "CREATE TABLE services(row INTEGER PRIMARY KEY, id TEXT, name TEXT, spec_version INTEGER,"
        " update_state TEXT, is_removing INTEGER, updated_ms INTEGER, message BLOB);"
        "CREATE TABLE specs(row INTEGER PRIMARY KEY, service_id TEXT, service TEXT,"
        " version INTEGER, spec TEXT, message BLOB);"
        "CREATE TABLE tasks(row INTEGER PRIMARY KEY, id TEXT, service TEXT, slot INTEGER,"
        " node_id TEXT, spec_version INTEGER, state TEXT, desired TEXT, state_ms INTEGER,"
        " error TEXT, message BLOB);"
        "CREATE TABLE images(row INTEGER PRIMARY KEY, id TEXT, name TEXT, created_ms INTEGER,"
        " json TEXT, message BLOB);"
        "PRAGMA application_id=" TEXT_OF(DB_APPLICATION) ";"
                                                         "PRAGMA user_version=" TEXT_OF(
                                                                 DB_FORMAT) ";";

/* Format 1 was of a manager without others: its log has the users' entries only, and all of them
 * are agreed. */
static const char change_log_sql[] =
        "ALTER TABLE log RENAME TO old_log;" LOG_TABLE
        "INSERT INTO log SELECT idx,term,1,bytes FROM old_log;"
        "DROP TABLE old_log;" RAFT_TABLE "PRAGMA user_version=" TEXT_OF(DB_FORMAT) ";";
_Static_assert(RAFT_ENTRY_DATA == 1, "the 1 in change_log_sql");
static const char add_state_sql[] =
        "INSERT INTO raft SELECT 1,?1,1,0,base,base>0,?2 FROM (SELECT coalesce("
        "(SELECT min(idx)-1 FROM log),(SELECT value FROM meta WHERE key='covered'),0) AS base)";

static const char *const statement_sql[SQL_COUNT] = {
        [SQL_BEGIN] = "BEGIN IMMEDIATE",
        [SQL_COMMIT] = "COMMIT",
        [SQL_APPEND] = "INSERT INTO log VALUES(?1,?2,?3,stored(?4))",
        [SQL_TRUNCATE] = "DELETE FROM log WHERE idx>=?1",
        [SQL_CUT] = ("DELETE FROM log WHERE idx IN"
                     " (SELECT idx FROM log WHERE idx<=?1 ORDER BY idx LIMIT ?2)"),
        [SQL_SET_META] = "INSERT OR REPLACE INTO meta VALUES(?1,?2)",
        [SQL_SET_ID] = "UPDATE raft SET id=?1",
        [SQL_SET_TERM] = "UPDATE raft SET term=?1,vote=?2",
        [SQL_SET_BASE] = "UPDATE raft SET base_index=?1,base_term=?2,base_members=?3",
        [SQL_PUT + ROW_CLUSTER] = "INSERT OR REPLACE INTO cluster VALUES(?1,?2,?3,stored(?4))",
        [SQL_PUT + ROW_NODES] = "INSERT OR REPLACE INTO nodes VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9)",
        [SQL_PUT + ROW_SERVICES] =
                "INSERT OR REPLACE INTO services VALUES(?1,?2,?3,?4,?5,?6,?7,?8)",
        [SQL_PUT + ROW_SPECS] = "INSERT OR REPLACE INTO specs VALUES(?1,?2,?3,?4,?5,?6)",
        [SQL_PUT + ROW_TASKS] =
                "INSERT OR REPLACE INTO tasks VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11)",
        [SQL_PUT + ROW_IMAGES] = "INSERT OR REPLACE INTO images VALUES(?1,?2,?3,?4,?5,?6)",
        [SQL_DELETE + ROW_CLUSTER] = "DELETE FROM cluster WHERE row=?1",
        [SQL_DELETE + ROW_NODES] = "DELETE FROM nodes WHERE row=?1",
        [SQL_DELETE + ROW_SERVICES] = "DELETE FROM services WHERE row=?1",
        [SQL_DELETE + ROW_SPECS] = "DELETE FROM specs WHERE row=?1",
        [SQL_DELETE + ROW_TASKS] = "DELETE FROM tasks WHERE row=?1",
        [SQL_DELETE + ROW_IMAGES] = "DELETE FROM images WHERE row=?1",
};

/* --- errors -------------------------------------------------------------------------------------
 */
int db_file_errno(sqlite3 *sqlite, int code)
{
        switch (code & 0xff) {
        case SQLITE_FULL: return ENOSPC;
        case SQLITE_IOERR:
        case SQLITE_CANTOPEN: {
                int e = sqlite ? sqlite3_system_errno(sqlite) : 0;
                return e > 0 ? e : EIO;
        }
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB: return EUCLEAN;
        case SQLITE_BUSY:
        case SQLITE_LOCKED: return EBUSY;
        case SQLITE_READONLY:
        case SQLITE_PERM:
        case SQLITE_AUTH: return EACCES;
        case SQLITE_TOOBIG: return EFBIG;
        default: return EIO;
        }
}

int db_file_failed(struct db_file *f, int code)
{
        snprintf(f->error, sizeof(f->error), "database %s: %s", f->path,
                 f->sqlite ? sqlite3_errmsg(f->sqlite) : sqlite3_errstr(code));
        return -db_file_errno(f->sqlite, code);
}

int db_file_failed_open(struct db_file *f, int code, struct err *err)
{
        int r = db_file_failed(f, code);

        if ((code & 0xff) == SQLITE_NOTADB)
                return err_set(err, EUCLEAN, "database %s: not a database, or damaged", f->path);
        return err_set(err, -r, "%s", f->error);
}

int db_file_unreadable(const struct db_file *f, int code, const char *what, struct err *err)
{
        if (code == -EPROTO)
                return err_set(
                        err, EPROTO,
                        "database %s: %s is of a newer version than this manager: upgrade it",
                        f->path, what);
        return err_set(err, EUCLEAN, "database %s: %s is damaged", f->path, what);
}

int db_file_unreadable_entry(const struct db_file *f, int code, uint64_t index, struct err *err)
{
        char what[48];

        snprintf(what, sizeof(what), "log: entry %llu", (unsigned long long)index);
        return db_file_unreadable(f, code, what, err);
}

/* --- opening ------------------------------------------------------------------------------------
 */
int db_file_lock(const char *dir, struct err *err)
{
        _cleanup_free_ char *path = xasprintf("%s/swarm.lock", dir);
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600), e = errno;

        if (fd < 0)
                return err_set(err, e, "%s: %s", path, err_name(e));
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
                return fd;
        e = errno;
        close(fd);
        if (e == EWOULDBLOCK)
                return err_set(err, EBUSY, "database %s/swarm.db: in use by another manager", dir);
        return err_set(err, e, "%s: %s", path, err_name(e));
}

/* Out of the way first, under the lock: who starts meanwhile finds nothing, or a folder that is
 * locked. */
int db_remove(const char *dir, struct err *err)
{
        _cleanup_free_ char *gone = xasprintf("%s.removed", dir);
        _cleanup_close_ int lock_fd = db_file_lock(dir, err);

        if (lock_fd < 0)
                return lock_fd;
        int r = io_remove_tree(AT_FDCWD, gone); /* of an earlier one that was cut short */
        if (r == 0 && rename(dir, gone) < 0)
                r = -errno;
        if (r == 0)
                r = io_remove_tree(AT_FDCWD, gone);
        return r < 0 ? err_set(err, -r, "%s: cannot be removed: %s", dir, err_name(r)) : 0;
}

/* So that SQLite's files get its permissions. */
static int make_file(const struct db_file *f, struct err *err)
{
        _cleanup_close_ int fd = open(f->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

        if (fd < 0)
                return err_set(err, errno, "database %s: %s", f->path, err_name(errno));
        return 0;
}

int db_file_query(sqlite3 *sqlite, const char *sql, int64_t *ret)
{
        sqlite3_stmt *stmt = NULL;
        int code = sqlite3_prepare_v2(sqlite, sql, -1, &stmt, NULL);

        if (code == SQLITE_OK)
                code = sqlite3_step(stmt);
        if (code == SQLITE_ROW)
                *ret = sqlite3_column_int64(stmt, 0);
        else if (code == SQLITE_DONE)
                *ret = 0;
        sqlite3_finalize(stmt);
        return code == SQLITE_ROW || code == SQLITE_DONE ? SQLITE_OK : code;
}

int db_file_create_tables(sqlite3 *sqlite)
{
        return sqlite3_exec(sqlite, schema_sql, NULL, NULL, NULL);
}

/* The part of the agreement of a manager that had none: it is the only one that has a say. */
static int add_state(sqlite3 *sqlite)
{
        struct raft_members alone = {.n = 1, .of[0].is_voter = true};
        sqlite3_stmt *stmt = NULL;

        while (alone.of[0].id == 0) {
                if (getrandom(&alone.of[0].id, sizeof(alone.of[0].id), 0) < 0)
                        return SQLITE_IOERR;
        }
        int code = sqlite3_prepare_v2(sqlite, add_state_sql, -1, &stmt, NULL);
        if (code != SQLITE_OK)
                return code;
        struct raft_bytes *members = raft_members_encode(&alone);
        sqlite3_bind_int64(stmt, 1, (int64_t)alone.of[0].id);
        sqlite3_bind_blob64(stmt, 2, members->data, members->len, SQLITE_STATIC);
        code = sqlite3_step(stmt);
        sqlite3_finalize(stmt);
        raft_bytes_unref(members);
        return code == SQLITE_DONE ? SQLITE_OK : code;
}

static int change_format(sqlite3 *sqlite)
{
        int code = sqlite3_exec(sqlite, change_log_sql, NULL, NULL, NULL);

        return code == SQLITE_OK ? add_state(sqlite) : code;
}

/* make: SQLite's code. */
static int make_in_transaction(struct db_file *f, int (*make)(sqlite3 *), struct err *err)
{
        int code = sqlite3_exec(f->sqlite, "BEGIN IMMEDIATE", NULL, NULL, NULL);

        if (code == SQLITE_OK)
                code = make(f->sqlite);
        if (code == SQLITE_OK)
                code = sqlite3_exec(f->sqlite, "COMMIT", NULL, NULL, NULL);
        return code == SQLITE_OK ? 0 : db_file_failed_open(f, code, err);
}

static int check_format(struct db_file *f, struct err *err)
{
        int64_t format = 0, application = 0, tables = 0;
        int code = db_file_query(f->sqlite, "PRAGMA user_version", &format);

        if (code == SQLITE_OK)
                code = db_file_query(f->sqlite, "PRAGMA application_id", &application);
        if (code == SQLITE_OK)
                code = db_file_query(f->sqlite, "SELECT count(*) FROM sqlite_master", &tables);
        if (code != SQLITE_OK)
                return db_file_failed_open(f, code, err);
        if (format == 0 && tables == 0)
                return make_in_transaction(f, db_file_create_tables, err);
        if (application != DB_APPLICATION || format < OLD_FORMAT)
                return err_set(err, EUCLEAN, "database %s: not one of swarm's", f->path);
        if (format > DB_FORMAT)
                return err_set(err, EPROTO,
                               "database %s: has format %lld, this program knows up to %d", f->path,
                               (long long)format, DB_FORMAT);
        return format == DB_FORMAT ? 0 : make_in_transaction(f, change_format, err);
}

static int on_wal(void *arg, sqlite3 *sqlite UNUSED, const char *name UNUSED, int pages)
{
        struct db_file *f = arg;

        f->wal_pages = pages;
        f->is_reader_in_way = false;
        return SQLITE_OK;
}

static int prepare(struct db_file *f, struct err *err)
{
        for (int i = 0; i < SQL_COUNT; i++) {
                int code = sqlite3_prepare_v3(f->sqlite, statement_sql[i], -1,
                                              SQLITE_PREPARE_PERSISTENT, &f->statements[i], NULL);
                if (code != SQLITE_OK)
                        return db_file_failed_open(f, code, err);
        }
        return 0;
}

static int read_row(struct db_file *f, sqlite3_stmt *stmt)
{
        const void *members = sqlite3_column_blob(stmt, 5);
        size_t n = (size_t)sqlite3_column_bytes(stmt, 5);

        f->id = (uint64_t)sqlite3_column_int64(stmt, 0);
        f->term = (uint64_t)sqlite3_column_int64(stmt, 1);
        f->vote = (uint64_t)sqlite3_column_int64(stmt, 2);
        f->base.index = (uint64_t)sqlite3_column_int64(stmt, 3);
        f->base.term = (uint64_t)sqlite3_column_int64(stmt, 4);
        return n == 0 ? 0 : raft_members_decode(members, n, &f->base.members);
}

static int read_state(struct db_file *f, struct err *err)
{
        int64_t covered = 0, newest_row = 0;
        sqlite3_stmt *stmt = NULL;
        int r = 0;
        int code = db_file_query(f->sqlite, "SELECT value FROM meta WHERE key='covered'", &covered);

        if (code == SQLITE_OK)
                code = db_file_query(f->sqlite, "SELECT value FROM meta WHERE key='newest_row'",
                                     &newest_row);
        if (code == SQLITE_OK)
                code = sqlite3_prepare_v2(f->sqlite,
                                          "SELECT id,term,vote,base_index,base_term,base_members"
                                          " FROM raft",
                                          -1, &stmt, NULL);
        if (code == SQLITE_OK)
                code = sqlite3_step(stmt);
        f->covered = (uint64_t)covered;
        f->newest_row = (uint64_t)newest_row;
        if (code != SQLITE_ROW && code != SQLITE_DONE)
                r = db_file_failed_open(f, code, err);
        else if (code == SQLITE_DONE || read_row(f, stmt) < 0)
                r = err_set(err, EUCLEAN, "database %s: table raft: the row is %s", f->path,
                            code == SQLITE_DONE ? "missing" : "damaged");
        sqlite3_finalize(stmt);
        return r;
}

static int open_sqlite(struct db_file *f, struct err *err)
{
        int code = sqlite3_open_v2(f->path, &f->sqlite, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
                                   NULL);

        if (code != SQLITE_OK)
                return db_file_failed_open(f, code, err);
        sqlite3_busy_timeout(f->sqlite, DB_BUSY_WAIT_MS);
        sqlite3_limit(f->sqlite, SQLITE_LIMIT_LENGTH, DB_ENTRY_BYTES_MAX + RECORD_OVERHEAD);
        int r = check_format(f, err);
        if (r < 0)
                return r;
        code = sqlite3_exec(f->sqlite, setup_sql, NULL, NULL, NULL);
        if (code == SQLITE_OK)
                code = db_seal_functions(f->sqlite, &f->seal);
        if (code != SQLITE_OK)
                return db_file_failed_open(f, code, err);
        sqlite3_wal_hook(f->sqlite, on_wal, f);
        return 0;
}

int db_file_open(struct db_file *f, const char *dir, struct err *err)
{
        f->lock_fd = f->incoming_fd = -1;
        f->path = xasprintf("%s/swarm.db", dir);
        int r = io_mkdir_all(dir, 0700);
        if (r < 0)
                return err_set(err, -r, "%s: %s", dir, err_name(r));
        r = f->lock_fd = db_file_lock(dir, err);
        if (r < 0)
                return r;
        ballast_open(f, dir);
        f->incoming_path = xasprintf("%s/incoming.db", dir);
        db_file_drop_incoming(f); /* what came in before a crash */
        _cleanup_free_ char *restoring = xasprintf("%s/" DB_RESTORING, dir);
        io_remove_tree(AT_FDCWD, restoring); /* likewise */
        r = make_file(f, err);
        if (r == 0)
                r = open_sqlite(f, err);
        if (r == 0)
                r = prepare(f, err);
        return r < 0 ? r : read_state(f, err);
}

void db_file_close(struct db_file *f)
{
        for (int i = 0; i < SQL_COUNT; i++)
                sqlite3_finalize(f->statements[i]);
        sqlite3_close(f->sqlite);
        if (f->incoming_path)
                db_file_drop_incoming(f);
        if (f->lock_fd >= 0)
                close(f->lock_fd);
        ballast_done(f);
        free(f->incoming_path);
        free(f->path);
}

/* --- the log ------------------------------------------------------------------------------------
 */
static int read_entry(sqlite3_stmt *stmt, struct raft_entry *ret)
{
        int kind = sqlite3_column_int(stmt, 2);
        const void *bytes = sqlite3_column_blob(stmt, 3);
        size_t n = (size_t)sqlite3_column_bytes(stmt, 3);

        if (kind < 0 || kind > RAFT_ENTRY_MEMBERS)
                return kind < 0 ? -EUCLEAN : -EPROTO;
        ret->term = (uint64_t)sqlite3_column_int64(stmt, 1);
        ret->kind = (enum raft_entry_kind)kind;
        if (sqlite3_column_type(stmt, 3) != SQLITE_NULL)
                ret->bytes = raft_bytes_new(bytes, n);
        return 0;
}

int db_file_read_log(struct db_file *f, struct raft_entry **ret, size_t *ret_n, struct err *err)
{
        size_t cap = 0;
        sqlite3_stmt *stmt = NULL;
        int code = sqlite3_prepare_v2(
                f->sqlite, "SELECT idx,term,kind,opened(bytes) FROM log WHERE idx>?1 ORDER BY idx",
                -1, &stmt, NULL);
        int r = 0;

        if (code == SQLITE_OK)
                code = sqlite3_bind_int64(stmt, 1, (int64_t)f->base.index);
        while (code == SQLITE_OK || code == SQLITE_ROW) {
                code = sqlite3_step(stmt);
                if (code != SQLITE_ROW)
                        break;
                uint64_t expected = f->base.index + *ret_n + 1;
                bool is_there = (uint64_t)sqlite3_column_int64(stmt, 0) == expected;
                struct raft_entry e = {0};
                if (!is_there)
                        r = err_set(err, EUCLEAN, "database %s: log: entry %llu is missing",
                                    f->path, (unsigned long long)expected);
                else if ((r = read_entry(stmt, &e)) < 0)
                        r = db_file_unreadable_entry(f, r, expected, err);
                if (r < 0)
                        break;
                if (*ret_n == cap) {
                        cap = cap ? cap * 2 : 64;
                        *ret = xreallocarray(*ret, cap, sizeof(**ret));
                }
                (*ret)[(*ret_n)++] = e;
        }
        if (r == 0 && code != SQLITE_DONE)
                r = db_file_failed_open(f, code, err);
        sqlite3_finalize(stmt);
        return r;
}

static int append(struct db_file *f, uint64_t index, const struct raft_entry *e)
{
        sqlite3_stmt *stmt = f->statements[SQL_APPEND];

        sqlite3_bind_int64(stmt, 1, (int64_t)index);
        sqlite3_bind_int64(stmt, 2, (int64_t)e->term);
        sqlite3_bind_int(stmt, 3, (int)e->kind);
        if (e->bytes)
                sqlite3_bind_blob64(stmt, 4, e->bytes->data, e->bytes->len, SQLITE_STATIC);
        return db_file_run(f, SQL_APPEND);
}

int db_file_write_log(struct db_file *f, uint64_t from, const struct raft_entry *entries, size_t n)
{
        sqlite3_bind_int64(f->statements[SQL_TRUNCATE], 1, (int64_t)from);
        int r = db_file_run(f, SQL_TRUNCATE);

        for (size_t i = 0; r == 0 && i < n; i++)
                r = append(f, from + i, &entries[i]);
        return r;
}

int db_file_cut(struct db_file *f, uint64_t index, int n)
{
        sqlite3_stmt *stmt = f->statements[SQL_CUT];

        sqlite3_bind_int64(stmt, 1, (int64_t)index);
        sqlite3_bind_int(stmt, 2, n);
        int r = db_file_run(f, SQL_CUT);
        return r < 0 ? r : sqlite3_changes(f->sqlite);
}

/* --- the one-row parts --------------------------------------------------------------------------
 */
int db_file_set_id(struct db_file *f, uint64_t id)
{
        sqlite3_bind_int64(f->statements[SQL_SET_ID], 1, (int64_t)id);
        f->id = id;
        return db_file_run(f, SQL_SET_ID);
}

int db_file_set_term(struct db_file *f, uint64_t term, uint64_t vote)
{
        sqlite3_stmt *stmt = f->statements[SQL_SET_TERM];

        if (term == f->term && vote == f->vote)
                return 0;
        sqlite3_bind_int64(stmt, 1, (int64_t)term);
        sqlite3_bind_int64(stmt, 2, (int64_t)vote);
        f->term = term;
        f->vote = vote;
        return db_file_run(f, SQL_SET_TERM);
}

int db_file_set_base(struct db_file *f, const struct raft_base *base)
{
        sqlite3_stmt *stmt = f->statements[SQL_SET_BASE];
        struct raft_bytes *members = raft_members_encode(&base->members);

        sqlite3_bind_int64(stmt, 1, (int64_t)base->index);
        sqlite3_bind_int64(stmt, 2, (int64_t)base->term);
        if (members->len)
                sqlite3_bind_blob64(stmt, 3, members->data, members->len, SQLITE_STATIC);
        f->base = *base;
        int r = db_file_run(f, SQL_SET_BASE);
        raft_bytes_unref(members);
        return r;
}

static int set_meta(struct db_file *f, const char *key, uint64_t value)
{
        sqlite3_stmt *stmt = f->statements[SQL_SET_META];

        sqlite3_bind_text(stmt, 1, key, -1, SQLITE_STATIC);
        sqlite3_bind_int64(stmt, 2, (int64_t)value);
        return db_file_run(f, SQL_SET_META);
}

int db_file_set_covered(struct db_file *f, uint64_t covered)
{
        f->covered = covered;
        return set_meta(f, "covered", covered);
}

int db_file_set_newest_row(struct db_file *f, uint64_t newest_row)
{
        f->newest_row = newest_row;
        return set_meta(f, "newest_row", newest_row);
}

/* --- transactions -------------------------------------------------------------------------------
 */
int db_file_run(struct db_file *f, int which)
{
        sqlite3_stmt *stmt = f->statements[which];
        int code = sqlite3_step(stmt);
        int r = code == SQLITE_DONE ? 0 : db_file_failed(f, code);

        sqlite3_reset(stmt);
        sqlite3_clear_bindings(stmt);
        return r;
}

int db_file_begin(struct db_file *f)
{
        return db_file_run(f, SQL_BEGIN);
}

int db_file_commit(struct db_file *f)
{
        return db_file_run(f, SQL_COMMIT);
}

void db_file_rollback(struct db_file *f)
{
        if (!sqlite3_get_autocommit(f->sqlite))
                sqlite3_exec(f->sqlite, "ROLLBACK", NULL, NULL, NULL);
}

int db_file_checkpoint(struct db_file *f, bool all)
{
        int pages = 0, done = 0;

        sqlite3_busy_timeout(f->sqlite, 0); /* a reader may take long: rather later than waiting */
        int code = sqlite3_wal_checkpoint_v2(
                f->sqlite, NULL, all ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE,
                &pages, &done);
        sqlite3_busy_timeout(f->sqlite, DB_BUSY_WAIT_MS);

        if (code != SQLITE_OK && (code & 0xff) != SQLITE_BUSY)
                return db_file_failed(f, code);
        f->is_reader_in_way = code != SQLITE_OK || done < pages;
        if (!f->is_reader_in_way)
                f->wal_pages = 0; /* the next commit counts anew */
        return 0;
}
