/* The journal in SQLite: see journal.h. */
#include "agent/journal/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>

#include <sqlite3.h>

#include "shared/base/log.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/base/time.h"

struct journal {
        sqlite3 *db;
        sqlite3_stmt *put, *del;
        bool is_dirty; /* a transaction is open */
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
        *j = (struct journal){0};
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

void journal_close(struct journal *j)
{
        if (!j)
                return;
        journal_flush(j);
        close_db(j);
        free(j);
}

static int begin(struct journal *j)
{
        int rc;

        if (j->is_dirty)
                return 0;
        rc = sqlite3_exec(j->db, "BEGIN", NULL, NULL, NULL);
        j->is_dirty = rc == SQLITE_OK;
        return to_errno(rc);
}

static int run(sqlite3_stmt *s)
{
        int rc = sqlite3_step(s);

        sqlite3_reset(s);
        sqlite3_clear_bindings(s);
        return to_errno(rc);
}

int journal_put(struct journal *j, struct id task, const uint8_t *packed, size_t n)
{
        uint8_t key[ID_BYTES];
        int r = begin(j);

        if (r < 0)
                return r;
        id_encode(task, key);
        sqlite3_bind_blob(j->put, 1, key, sizeof(key), SQLITE_STATIC);
        sqlite3_bind_blob64(j->put, 2, packed, n, SQLITE_STATIC);
        return run(j->put);
}

int journal_remove(struct journal *j, struct id task)
{
        uint8_t key[ID_BYTES];
        int r = begin(j);

        if (r < 0)
                return r;
        id_encode(task, key);
        sqlite3_bind_blob(j->del, 1, key, sizeof(key), SQLITE_STATIC);
        return run(j->del);
}

int journal_flush(struct journal *j)
{
        int rc;

        if (!j->is_dirty)
                return 0;
        j->is_dirty = false;
        rc = sqlite3_exec(j->db, "COMMIT", NULL, NULL, NULL);
        if (rc != SQLITE_OK)
                sqlite3_exec(j->db, "ROLLBACK", NULL, NULL, NULL);
        return to_errno(rc);
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
