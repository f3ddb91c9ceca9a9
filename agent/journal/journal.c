/* The journal in SQLite: see journal.h. */
#include "agent/journal/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>

#include <sqlite3.h>

#include "shared/base/buf.h"
#include "shared/base/log.h"
#include "shared/base/map.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/base/time.h"

struct journal {
        sqlite3 *db;
        sqlite3_stmt *put, *del;
        struct map pending;                    /* struct pending */
        int error;                             /* of the last journal_write */
        int64_t retry_at_ms, failing_since_ms; /* mono; TIME_NEVER while error is 0 */
};

/* What is to be written for a task. */
struct pending {
        struct id task;
        struct buf record; /* empty: to be forgotten */
};

static int to_errno(int rc)
{
        switch (rc & 0xff) {
        case SQLITE_OK:
        case SQLITE_DONE:
        case SQLITE_ROW: return 0;
        case SQLITE_FULL: return -ENOSPC;
        case SQLITE_NOTADB:
        case SQLITE_CORRUPT: return -EUCLEAN;
        case SQLITE_CANTOPEN:
        case SQLITE_READONLY:
        case SQLITE_PERM: return -EACCES;
        case SQLITE_BUSY:
        case SQLITE_LOCKED: return -EBUSY;
        default: return -EIO;
        }
}

static const char schema[] =
        "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
        "PRAGMA cache_size=-256; PRAGMA wal_autocheckpoint=256;"
        "CREATE TABLE IF NOT EXISTS tasks (id BLOB PRIMARY KEY, record BLOB NOT NULL)"
        " WITHOUT ROWID;";

/* SQLite's own check of the whole file: small, and read at start anyway. */
static int check(sqlite3 *db)
{
        sqlite3_stmt *s = NULL;
        int rc = sqlite3_prepare_v2(db, "PRAGMA quick_check(1)", -1, &s, NULL);

        if (rc == SQLITE_OK)
                rc = sqlite3_step(s);
        if (rc == SQLITE_ROW) {
                const char *text = (const char *)sqlite3_column_text(s, 0);

                rc = text && str_is_equal(text, "ok") ? SQLITE_OK : SQLITE_CORRUPT;
        }
        sqlite3_finalize(s);
        return rc;
}

static void close_db(struct journal *j)
{
        sqlite3_finalize(j->put);
        sqlite3_finalize(j->del);
        sqlite3_close(j->db);
        j->put = j->del = NULL;
        j->db = NULL;
}

static int try_open(struct journal *j, const char *path)
{
        int rc = sqlite3_open_v2(path, &j->db,
                                 SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                                 NULL);

        if (rc == SQLITE_OK)
                rc = sqlite3_exec(j->db, schema, NULL, NULL, NULL);
        if (rc == SQLITE_OK)
                rc = check(j->db);
        if (rc == SQLITE_OK)
                rc = sqlite3_prepare_v3(j->db, "INSERT OR REPLACE INTO tasks VALUES (?1, ?2)", -1,
                                        SQLITE_PREPARE_PERSISTENT, &j->put, NULL);
        if (rc == SQLITE_OK)
                rc = sqlite3_prepare_v3(j->db, "DELETE FROM tasks WHERE id = ?1", -1,
                                        SQLITE_PREPARE_PERSISTENT, &j->del, NULL);
        if (rc != SQLITE_OK)
                close_db(j);
        return to_errno(rc);
}

static void put_aside(const char *path)
{
        static const char *const suffixes[] = {"", "-wal", "-shm"};
        long long stamp = time_now().wall_ms;

        for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
                _cleanup_free_ char *from = xasprintf("%s%s", path, suffixes[i]);
                _cleanup_free_ char *to = xasprintf("%s.broken-%lld%s", path, stamp, suffixes[i]);

                rename(from, to); /* the side files may be missing */
        }
        log_error("the journal is damaged: put aside, starting with an empty one path=%s "
                  "aside=%s.broken-%lld",
                  path, path, stamp);
}

/* The file with its mode before SQLite sees it; its side files take the mode over. */
static int make_private(const char *path)
{
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        int r;

        if (fd < 0)
                return -errno;
        r = fchmod(fd, 0600) < 0 ? -errno : 0;
        close(fd);
        return r;
}

int journal_open(const char *path, struct journal **ret, struct err *err)
{
        _cleanup_free_ struct journal *j = xnew(struct journal);
        int r = make_private(path);

        j->pending = MAP_INIT(struct pending, task, MAP_KEY_ID);
        j->retry_at_ms = j->failing_since_ms = TIME_NEVER;
        if (r == 0)
                r = try_open(j, path);
        if (r == -EUCLEAN) {
                put_aside(path);
                r = make_private(path);
                if (r == 0)
                        r = try_open(j, path);
        }
        if (r == -EBUSY)
                return err_set(err, EBUSY, "journal %s: in use by another agent", path);
        if (r < 0)
                return err_set(err, -r, "journal %s: %s", path, err_name(r));
        *ret = STEAL_PTR(j);
        return 0;
}

static void forget_pending(struct journal *j)
{
        struct pending *p;
        size_t i;

        MAP_FOREACH (p, i, &j->pending) {
                buf_done(&p->record);
                free(p);
        }
        map_done(&j->pending);
}

void journal_close(struct journal *j)
{
        if (!j)
                return;
        journal_flush(j);
        forget_pending(j);
        close_db(j);
        free(j);
}

static struct pending *pending_of(struct journal *j, struct id task)
{
        struct pending *p = map_get_id(&j->pending, task);

        if (p) {
                buf_clear(&p->record);
                return p;
        }
        p = xnew(struct pending);
        p->task = task;
        map_put(&j->pending, p);
        return p;
}

void journal_put(struct journal *j, struct id task, const uint8_t *packed, size_t n)
{
        buf_append(&pending_of(j, task)->record, packed, n);
}

void journal_remove(struct journal *j, struct id task)
{
        pending_of(j, task);
}

static int write_one(struct journal *j, const struct pending *p)
{
        sqlite3_stmt *s = p->record.len > 0 ? j->put : j->del;
        uint8_t key[ID_BYTES];
        int rc;

        id_encode(p->task, key);
        sqlite3_bind_blob(s, 1, key, sizeof(key), SQLITE_STATIC);
        if (s == j->put)
                sqlite3_bind_blob64(s, 2, p->record.data, p->record.len, SQLITE_STATIC);
        rc = sqlite3_step(s);
        sqlite3_reset(s);
        sqlite3_clear_bindings(s);
        return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

int journal_flush(struct journal *j)
{
        struct pending *p;
        size_t i;
        int rc;

        if (j->pending.len == 0)
                return 0;
        rc = sqlite3_exec(j->db, "BEGIN", NULL, NULL, NULL);
        MAP_FOREACH (p, i, &j->pending)
                if (rc == SQLITE_OK)
                        rc = write_one(j, p);
        if (rc == SQLITE_OK)
                rc = sqlite3_exec(j->db, "COMMIT", NULL, NULL, NULL);
        if (rc != SQLITE_OK) {
                sqlite3_exec(j->db, "ROLLBACK", NULL, NULL, NULL); /* or it did so by itself */
                return to_errno(rc);
        }
        forget_pending(j);
        return 0;
}

int journal_write(struct journal *j, int64_t mono_ms)
{
        int r;

        if (j->error < 0 && mono_ms < j->retry_at_ms)
                return j->error;
        r = journal_flush(j);
        if (r < 0 && j->error == 0) {
                log_error("the journal cannot be written: containers do not start until it is "
                          "error=%s",
                          err_name(r));
                j->failing_since_ms = mono_ms;
        }
        if (r == 0 && j->error < 0) {
                log_info("the journal is written again");
                j->failing_since_ms = TIME_NEVER;
        }
        j->error = r;
        j->retry_at_ms = r < 0 ? mono_ms + JOURNAL_RETRY_MS : TIME_NEVER;
        return r;
}

int64_t journal_deadline(const struct journal *j)
{
        return j->retry_at_ms;
}

int64_t journal_failing_since(const struct journal *j)
{
        return j->failing_since_ms;
}

int journal_load(struct journal *j, journal_load_fn *fn, void *arg, struct err *err)
{
        sqlite3_stmt *s = NULL;
        int rc = sqlite3_prepare_v2(j->db, "SELECT id, record FROM tasks", -1, &s, NULL);

        while (rc == SQLITE_OK || rc == SQLITE_ROW) {
                struct id id;

                rc = sqlite3_step(s);
                if (rc != SQLITE_ROW)
                        break;
                if (fn(arg, sqlite3_column_blob(s, 1), (size_t)sqlite3_column_bytes(s, 1)) == 0)
                        continue;
                log_error("a record of the journal is damaged and forgotten");
                if (id_decode(sqlite3_column_blob(s, 0), (size_t)sqlite3_column_bytes(s, 0), &id) ==
                    0)
                        journal_remove(j, id);
        }
        sqlite3_finalize(s);
        if (rc != SQLITE_DONE)
                return err_set(err, EIO, "journal: %s", sqlite3_errmsg(j->db));
        return 0;
}
