/*
 * The SQLite file: its tables, statements, and reading it at start. Write-ahead log, synchronous
 * FULL: what a COMMIT acknowledged is on the disk. Tables have columns for people beside the packed
 * message, which alone is read back.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "manager/store/db_internal.h"
#include "shared/base/io.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/wire/wire.h"
#include "shared/wire/wire_json.h"

#define BUSY_WAIT_MS 10000
#define APPLICATION  "1398227282" /* "SWAR": of PRAGMA application_id */

#define TEXT_OF(x)  TEXT_OF_(x)
#define TEXT_OF_(x) #x

static const char setup_sql[] = "PRAGMA journal_mode=WAL;"
                                "PRAGMA synchronous=FULL;"
                                "PRAGMA wal_autocheckpoint=0;"
                                "PRAGMA temp_store=MEMORY;"
                                "PRAGMA cache_size=-4096;";

static const char schema_sql[] =
        "BEGIN IMMEDIATE;"
        "CREATE TABLE meta(key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;"
        "CREATE TABLE log(idx INTEGER PRIMARY KEY, term INTEGER NOT NULL, bytes BLOB NOT NULL);"
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
        "PRAGMA application_id=" APPLICATION ";"
        "PRAGMA user_version=" TEXT_OF(DB_FORMAT) ";"
                                                  "COMMIT;";

static const char *const statement_sql[SQL_COUNT] = {
        [SQL_BEGIN] = "BEGIN IMMEDIATE",
        [SQL_COMMIT] = "COMMIT",
        [SQL_ROLLBACK] = "ROLLBACK",
        [SQL_APPEND] = "INSERT INTO log VALUES(?1,?2,?3)",
        [SQL_CUT] = ("DELETE FROM log WHERE idx IN"
                     " (SELECT idx FROM log WHERE idx<=?1 ORDER BY idx LIMIT ?2)"),
        [SQL_SET_META] = "INSERT OR REPLACE INTO meta VALUES(?1,?2)",
        [SQL_PUT + ROW_CLUSTER] = "INSERT OR REPLACE INTO cluster VALUES(?1,?2,?3,?4)",
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
static int errno_of(sqlite3 *sqlite, int code)
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

static int failed(struct db_file *f, int code)
{
        snprintf(f->error, sizeof(f->error), "database %s: %s", f->path,
                 f->sqlite ? sqlite3_errmsg(f->sqlite) : sqlite3_errstr(code));
        return -errno_of(f->sqlite, code);
}

static int failed_open(struct db_file *f, int code, struct err *err)
{
        int r = failed(f, code);

        if ((code & 0xff) == SQLITE_NOTADB)
                return err_set(err, EUCLEAN, "database %s: not a database, or damaged", f->path);
        return err_set(err, -r, "%s", f->error);
}

/* --- opening ------------------------------------------------------------------------------------
 */
static int lock_folder(struct db_file *f, const char *dir, struct err *err)
{
        _cleanup_free_ char *path = xasprintf("%s/swarm.lock", dir);

        f->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (f->lock_fd < 0)
                return err_set(err, errno, "%s: %s", path, err_name(errno));
        if (flock(f->lock_fd, LOCK_EX | LOCK_NB) == 0)
                return 0;
        if (errno == EWOULDBLOCK)
                return err_set(err, EBUSY, "database %s: in use by another manager", f->path);
        return err_set(err, errno, "%s: %s", path, err_name(errno));
}

/* So that SQLite's files get its permissions. */
static int make_file(const struct db_file *f, struct err *err)
{
        _cleanup_close_ int fd = open(f->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

        if (fd < 0)
                return err_set(err, errno, "database %s: %s", f->path, err_name(errno));
        return 0;
}

static int query_int(struct db_file *f, const char *sql, int64_t *ret)
{
        sqlite3_stmt *stmt = NULL;
        int code = sqlite3_prepare_v2(f->sqlite, sql, -1, &stmt, NULL);

        if (code == SQLITE_OK)
                code = sqlite3_step(stmt);
        if (code == SQLITE_ROW)
                *ret = sqlite3_column_int64(stmt, 0);
        else if (code == SQLITE_DONE)
                *ret = 0;
        sqlite3_finalize(stmt);
        return code == SQLITE_ROW || code == SQLITE_DONE ? SQLITE_OK : code;
}

static int check_format(struct db_file *f, struct err *err)
{
        int64_t format = 0, tables = 0;
        int code = query_int(f, "PRAGMA user_version", &format);

        if (code == SQLITE_OK)
                code = query_int(f, "SELECT count(*) FROM sqlite_master", &tables);
        if (code != SQLITE_OK)
                return failed_open(f, code, err);
        if (format > DB_FORMAT)
                return err_set(err, EPROTO,
                               "database %s: has format %lld, this program knows up to %d", f->path,
                               (long long)format, DB_FORMAT);
        if (format == DB_FORMAT)
                return 0;
        if (tables > 0)
                return err_set(err, EUCLEAN, "database %s: not one of swarm's", f->path);
        code = sqlite3_exec(f->sqlite, schema_sql, NULL, NULL, NULL);
        return code == SQLITE_OK ? 0 : failed_open(f, code, err);
}

static int on_wal(void *arg, sqlite3 *sqlite UNUSED, const char *name UNUSED, int pages)
{
        ((struct db_file *)arg)->wal_pages = pages;
        return SQLITE_OK;
}

static int prepare(struct db_file *f, struct err *err)
{
        for (int i = 0; i < SQL_COUNT; i++) {
                int code = sqlite3_prepare_v3(f->sqlite, statement_sql[i], -1,
                                              SQLITE_PREPARE_PERSISTENT, &f->statements[i], NULL);
                if (code != SQLITE_OK)
                        return failed_open(f, code, err);
        }
        return 0;
}

int db_file_open(struct db_file *f, const char *dir, struct err *err)
{
        f->lock_fd = -1;
        f->path = xasprintf("%s/swarm.db", dir);
        int r = io_mkdir_all(dir, 0700);
        if (r < 0)
                return err_set(err, -r, "%s: %s", dir, err_name(r));
        r = lock_folder(f, dir, err);
        if (r == 0)
                ballast_open(f, dir);
        if (r == 0)
                r = make_file(f, err);
        if (r < 0)
                return r;
        int code = sqlite3_open_v2(f->path, &f->sqlite, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
                                   NULL);
        if (code != SQLITE_OK)
                return failed_open(f, code, err);
        sqlite3_busy_timeout(f->sqlite, BUSY_WAIT_MS);
        r = check_format(f, err);
        if (r < 0)
                return r;
        code = sqlite3_exec(f->sqlite, setup_sql, NULL, NULL, NULL);
        if (code != SQLITE_OK)
                return failed_open(f, code, err);
        sqlite3_wal_hook(f->sqlite, on_wal, f);
        return prepare(f, err);
}

void db_file_close(struct db_file *f)
{
        for (int i = 0; i < SQL_COUNT; i++)
                sqlite3_finalize(f->statements[i]);
        sqlite3_close(f->sqlite);
        if (f->lock_fd >= 0)
                close(f->lock_fd);
        free(f->path);
        ballast_done(f);
}

/* --- loading ------------------------------------------------------------------------------------
 */
static int load_table(struct db_file *f, struct store *store, enum row_table table,
                      const char *name, struct err *err)
{
        _cleanup_free_ char *sql = xasprintf("SELECT row,message FROM %s ORDER BY row", name);
        sqlite3_stmt *stmt = NULL;
        int code = sqlite3_prepare_v2(f->sqlite, sql, -1, &stmt, NULL), r = 0;

        while (r == 0 && code != SQLITE_DONE) {
                if (code == SQLITE_OK || code == SQLITE_ROW)
                        code = sqlite3_step(stmt);
                if (code == SQLITE_DONE)
                        break;
                if (code != SQLITE_ROW) {
                        r = failed_open(f, code, err);
                        break;
                }
                int64_t row = sqlite3_column_int64(stmt, 0);
                if (store_load_row(store, table, (uint64_t)row, sqlite3_column_blob(stmt, 1),
                                   (size_t)sqlite3_column_bytes(stmt, 1)) < 0)
                        r = err_set(err, EUCLEAN, "database %s: table %s: row %lld is damaged",
                                    f->path, name, (long long)row);
        }
        sqlite3_finalize(stmt);
        return r;
}

/* The log from behind what the tables cover; without a gap. */
static int replay(struct db_file *f, struct store *store, struct err *err)
{
        sqlite3_stmt *stmt = NULL;
        uint64_t expected = f->covered + 1;
        int code = sqlite3_prepare_v2(
                f->sqlite, "SELECT idx,bytes FROM log WHERE idx>?1 ORDER BY idx", -1, &stmt, NULL);
        int r = 0;

        if (code == SQLITE_OK)
                code = sqlite3_bind_int64(stmt, 1, (int64_t)f->covered);
        while (code == SQLITE_OK || code == SQLITE_ROW) {
                code = sqlite3_step(stmt);
                if (code != SQLITE_ROW)
                        break;
                uint64_t index = (uint64_t)sqlite3_column_int64(stmt, 0);
                store_set_recovering(store, index <= f->newest_row);
                if (index != expected ||
                    store_apply_entry(store, sqlite3_column_blob(stmt, 1),
                                      (size_t)sqlite3_column_bytes(stmt, 1)) < 0) {
                        r = err_set(err, EUCLEAN, "database %s: log: entry %llu is %s", f->path,
                                    (unsigned long long)expected,
                                    index != expected ? "missing" : "damaged");
                        break;
                }
                f->last_index = expected++;
        }
        if (r == 0 && code != SQLITE_DONE)
                r = failed_open(f, code, err);
        store_set_recovering(store, false);
        sqlite3_finalize(stmt);
        return r;
}

int db_file_load(struct db_file *f, struct store *store, struct err *err)
{
        static const struct {
                enum row_table table;
                const char *name;
        } order[] = {{ROW_CLUSTER, "cluster"},   {ROW_NODES, "nodes"}, {ROW_SPECS, "specs"},
                     {ROW_SERVICES, "services"}, {ROW_TASKS, "tasks"}, {ROW_IMAGES, "images"}};
        int64_t covered = 0, newest = 0;
        int code = query_int(f, "SELECT value FROM meta WHERE key='covered'", &covered);

        if (code == SQLITE_OK)
                code = query_int(f, "SELECT value FROM meta WHERE key='newest_row'", &newest);
        if (code != SQLITE_OK)
                return failed_open(f, code, err);
        f->covered = f->last_index = (uint64_t)covered;
        f->newest_row = (uint64_t)newest;
        for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
                int r = load_table(f, store, order[i].table, order[i].name, err);

                if (r < 0)
                        return r;
        }
        int r = replay(f, store, err);
        if (r == 0 && f->last_index < f->newest_row)
                r = err_set(err, EUCLEAN, "database %s: log: entry %llu is missing", f->path,
                            (unsigned long long)f->last_index + 1);
        return r;
}

/* --- writing ------------------------------------------------------------------------------------
 */
static int run(struct db_file *f, int which)
{
        sqlite3_stmt *stmt = f->statements[which];
        int code = sqlite3_step(stmt);
        int r = code == SQLITE_DONE ? 0 : failed(f, code);

        sqlite3_reset(stmt);
        sqlite3_clear_bindings(stmt);
        return r;
}

int db_file_begin(struct db_file *f)
{
        return run(f, SQL_BEGIN);
}

int db_file_commit(struct db_file *f)
{
        return run(f, SQL_COMMIT);
}

void db_file_rollback(struct db_file *f)
{
        if (!sqlite3_get_autocommit(f->sqlite))
                sqlite3_exec(f->sqlite, "ROLLBACK", NULL, NULL, NULL);
}

int db_file_append(struct db_file *f, uint64_t index, uint64_t term, const struct buf *entry)
{
        sqlite3_stmt *stmt = f->statements[SQL_APPEND];

        sqlite3_bind_int64(stmt, 1, (int64_t)index);
        sqlite3_bind_int64(stmt, 2, (int64_t)term);
        sqlite3_bind_blob64(stmt, 3, entry->data ? (const void *)entry->data : "", entry->len,
                            SQLITE_STATIC);
        return run(f, SQL_APPEND);
}

static int set_meta(struct db_file *f, const char *key, uint64_t value)
{
        sqlite3_stmt *stmt = f->statements[SQL_SET_META];

        sqlite3_bind_text(stmt, 1, key, -1, SQLITE_STATIC);
        sqlite3_bind_int64(stmt, 2, (int64_t)value);
        return run(f, SQL_SET_META);
}

static void bind_id(sqlite3_stmt *stmt, int column, struct id id)
{
        sqlite3_bind_text(stmt, column, ID_S(id), ID_TEXT_LEN, SQLITE_TRANSIENT);
}

static void bind_text(sqlite3_stmt *stmt, int column, const char *s)
{
        if (!str_is_empty(s))
                sqlite3_bind_text(stmt, column, s, -1, SQLITE_TRANSIENT);
}

static void bind_json(sqlite3_stmt *stmt, int column, const ProtobufCMessage *m)
{
        _cleanup_buf_ struct buf json = {0};

        wire_json(m, &json);
        sqlite3_bind_text64(stmt, column, buf_str(&json), json.len, SQLITE_TRANSIENT, SQLITE_UTF8);
}

static void bind_node(sqlite3_stmt *stmt, const struct db_row *r, const Swarm__Node *m,
                      const char *name)
{
        bind_id(stmt, 2, r->id);
        bind_text(stmt, 3, name);
        bind_text(stmt, 4, r->state);
        bind_text(stmt, 5, node_role_name(m->role));
        bind_text(stmt, 6, node_availability_name(m->availability));
        sqlite3_bind_int64(stmt, 7, r->time_ms);
        bind_json(stmt, 8, &m->base);
}

static void bind_service(sqlite3_stmt *stmt, const struct db_row *r, const Swarm__Service *m,
                         const char *name)
{
        bind_id(stmt, 2, r->id);
        bind_text(stmt, 3, name);
        sqlite3_bind_int64(stmt, 4, (int64_t)m->spec_version);
        bind_text(stmt, 5, r->state);
        sqlite3_bind_int(stmt, 6, m->is_removing);
        sqlite3_bind_int64(stmt, 7, r->time_ms);
}

static void bind_spec(sqlite3_stmt *stmt, const struct db_row *r, const Swarm__SpecVersion *m,
                      const char *name)
{
        _cleanup_arena_ struct wire_arena arena = {0};
        const Swarm__ServiceSpec *spec =
                wire_unpack(&arena, &swarm__service_spec__descriptor, m->spec.data, m->spec.len);

        bind_id(stmt, 2, r->id);
        bind_text(stmt, 3, name);
        sqlite3_bind_int64(stmt, 4, (int64_t)m->spec_version);
        if (spec)
                bind_json(stmt, 5, &spec->base);
}

static void bind_task(sqlite3_stmt *stmt, const struct db_row *r, const Swarm__Task *m,
                      const char *name)
{
        struct id node;

        bind_id(stmt, 2, r->id);
        bind_text(stmt, 3, name);
        sqlite3_bind_int64(stmt, 4, (int64_t)m->slot);
        if (wire_get_id(&m->node_id, &node) == 0)
                bind_id(stmt, 5, node);
        sqlite3_bind_int64(stmt, 6, (int64_t)m->spec_version);
        sqlite3_bind_text(stmt, 7, r->state, -1, SQLITE_STATIC);
        sqlite3_bind_text(stmt, 8, r->desired, -1, SQLITE_STATIC);
        sqlite3_bind_int64(stmt, 9, r->time_ms);
        bind_text(stmt, 10, m->error);
}

/* The columns but row and message. Returns the column of the message. */
static int bind_columns(sqlite3_stmt *stmt, const struct db_row *r, const void *m, const char *name)
{
        switch (r->table) {
        case ROW_CLUSTER: {
                struct id id;

                if (wire_get_id(&((const Swarm__Cluster *)m)->id, &id) == 0)
                        bind_id(stmt, 2, id);
                sqlite3_bind_int64(stmt, 3, r->time_ms);
                return 4;
        }
        case ROW_NODES: bind_node(stmt, r, m, name); return 9;
        case ROW_SERVICES: bind_service(stmt, r, m, name); return 8;
        case ROW_SPECS: bind_spec(stmt, r, m, name); return 6;
        case ROW_TASKS: bind_task(stmt, r, m, name); return 11;
        case ROW_IMAGES:
                bind_text(stmt, 2, ((const Swarm__Image *)m)->id);
                bind_text(stmt, 3, name);
                sqlite3_bind_int64(stmt, 4, r->time_ms);
                bind_json(stmt, 5, m);
                return 6;
        }
        abort();
}

static int write_row(struct db_file *f, const struct db_slice *slice, const struct db_row *r,
                     struct wire_arena *arena)
{
        static const ProtobufCMessageDescriptor *const descriptors[] = {
                [ROW_CLUSTER] = &swarm__cluster__descriptor,
                [ROW_NODES] = &swarm__node__descriptor,
                [ROW_SERVICES] = &swarm__service__descriptor,
                [ROW_SPECS] = &swarm__spec_version__descriptor,
                [ROW_TASKS] = &swarm__task__descriptor,
                [ROW_IMAGES] = &swarm__image__descriptor,
        };
        int which = (int)r->table + (r->is_deletion ? SQL_DELETE : SQL_PUT);
        sqlite3_stmt *stmt = f->statements[which];

        sqlite3_bind_int64(stmt, 1, (int64_t)r->row);
        if (!r->is_deletion) {
                const uint8_t *p = slice->bytes.data + r->message;

                wire_arena_reset(arena);
                const void *m = wire_unpack(arena, descriptors[r->table], p, r->message_len);
                if (!m) /* we packed it: only the arena's limit can be in the way */
                        return -EFBIG;
                int column = bind_columns(stmt, r, m, (char *)slice->bytes.data + r->name);
                sqlite3_bind_blob64(stmt, column, p, r->message_len, SQLITE_STATIC);
        }
        return run(f, which);
}

int db_file_write_slice(struct db_file *f, const struct db_slice *slice)
{
        _cleanup_arena_ struct wire_arena arena = {0};
        int r = set_meta(f, "newest_row", slice->newest_row);

        for (size_t i = 0; r == 0 && i < slice->n; i++)
                r = write_row(f, slice, &slice->rows[i], &arena);
        if (r == 0 && slice->covered)
                r = set_meta(f, "covered", slice->covered);
        return r;
}

int db_file_cut(struct db_file *f, uint64_t index, int n)
{
        sqlite3_stmt *stmt = f->statements[SQL_CUT];

        sqlite3_bind_int64(stmt, 1, (int64_t)index);
        sqlite3_bind_int(stmt, 2, n);
        int r = run(f, SQL_CUT);
        return r < 0 ? r : sqlite3_changes(f->sqlite);
}

int db_file_checkpoint(struct db_file *f, bool all)
{
        sqlite3_busy_timeout(f->sqlite, 0); /* a reader may take long: rather later than waiting */
        int code = sqlite3_wal_checkpoint_v2(
                f->sqlite, NULL, all ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE, NULL,
                NULL);
        sqlite3_busy_timeout(f->sqlite, BUSY_WAIT_MS);

        f->wal_pages = 0; /* the next commit counts anew */
        if (code == SQLITE_OK || (code & 0xff) == SQLITE_BUSY)
                return 0;
        return failed(f, code);
}
