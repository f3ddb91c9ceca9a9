/*
 * A copy that becomes a manager's database. It is made ready in a folder of its own, where it is
 * read once as a whole, and gets its place with one rename: a database that is there is one that a
 * manager can start from.
 *
 * What can fail: the copy is none, or damaged; the disk is full. Then nothing is left.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "manager/store/db_file_internal.h"
#include "shared/base/io.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"

#define HEADER_MAGIC "SQLite format 3"
#define HEADER_READ  19 /* byte: 2 says that there is a write-ahead log */
#define HEADER_BYTES 20

static int refused(const char *path, const char *text, struct err *err)
{
        return err_set(err, EUCLEAN, "%s: %s", path, text);
}

/* --- is it a copy? ------------------------------------------------------------------------------
 */
/* SQLite would make files beside one with a write-ahead log, and what is in that would be lost. */
static int check_header(const char *path, struct err *err)
{
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        uint8_t header[HEADER_BYTES];
        int r = fd < 0 ? -errno : io_read_exact(fd, header, sizeof(header));

        if (fd < 0 || (r < 0 && r != -EIO))
                return err_set(err, -r, "%s: %s", path, err_name(r));
        if (r < 0 || memcmp(header, HEADER_MAGIC, sizeof(HEADER_MAGIC)) != 0)
                return refused(path, "no backup of a cluster", err);
        if (header[HEADER_READ] != 1)
                return refused(path, "a manager's own database, not a backup of it", err);
        return 0;
}

int db_check_copy(const char *path, struct err *err)
{
        int64_t application = 0, format = 0, is_sound = 0;
        sqlite3 *sqlite = NULL;
        int r = check_header(path, err);

        if (r < 0)
                return r;
        int code = sqlite3_open_v2(path, &sqlite, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL);
        if (code == SQLITE_OK)
                code = db_file_query(sqlite, "PRAGMA application_id", &application);
        if (code == SQLITE_OK)
                code = db_file_query(sqlite, "PRAGMA user_version", &format);
        if (code == SQLITE_OK && application == DB_APPLICATION)
                code = db_file_query(sqlite, "SELECT quick_check='ok' FROM pragma_quick_check(1)",
                                     &is_sound);
        if (code == SQLITE_OK && application != DB_APPLICATION)
                r = refused(path, "no backup of a cluster", err);
        else if (format > DB_FORMAT)
                r = refused(path, "a backup of a newer version", err);
        else if (code != SQLITE_OK || !is_sound)
                r = refused(path, "a damaged backup", err);
        sqlite3_close(sqlite);
        return r;
}

/* --- making it ready ----------------------------------------------------------------------------
 */
/* Reads what a start reads; one that is sealed will be read when there is a key for it. */
static int check_state(struct db *db, struct err *err)
{
        _cleanup_buf_ struct buf key = {0};
        struct db_state state = {0};
        struct store *store = NULL;
        int r = db_copied_key(db, &key, err);

        if (r < 0 || key.len)
                return r;
        r = db_read_state(db, &state, err);
        if (r == 0)
                r = db_load_now(db, &store, err);
        store_free(store);
        db_state_done(&state);
        return r;
}

/* In a folder that is new. */
static int make_ready(const char *dir, const char *copy, uint64_t id,
                      const struct raft_members *members, struct err *err)
{
        _cleanup_free_ char *file = xasprintf("%s/swarm.db", dir);
        struct db *db = NULL;
        int r = mkdir(dir, 0700) < 0 ? -errno : io_copy_file(copy, file, 0600);

        if (r < 0)
                return err_set(err, -r, "%s", err_name(r));
        r = db_open(dir, &db, err);
        if (r == 0)
                r = db_stand_alone(db, id, members, err);
        if (r == 0)
                r = check_state(db, err);
        db_close(db);
        return r;
}

/* Errors name the copy, as it is the one that a person knows. */
static int name_copy(const char *copy, const char *file, int r, struct err *err)
{
        _cleanup_free_ char *prefix = xasprintf("database %s: ", file);
        struct err why = *err;
        const char *text = why.text;

        if (str_has_prefix(text, prefix))
                text += strlen(prefix);
        return err_set(err, -r, "%s: %s%s", copy, r == -EUCLEAN ? "a damaged backup: " : "", text);
}

/* --- putting it in place ------------------------------------------------------------------------
 */
/* One without an id is of a manager that died before it was one. */
static int check_place(const char *file, struct err *err)
{
        int64_t tables = 0, id = 0;
        sqlite3 *sqlite = NULL;

        if (access(file, F_OK) < 0)
                return 0;
        int code =
                sqlite3_open_v2(file, &sqlite, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
        if (code == SQLITE_OK)
                code = db_file_query(sqlite, "SELECT count(*) FROM sqlite_master", &tables);
        if (code == SQLITE_OK && tables)
                code = db_file_query(sqlite, "SELECT id FROM raft", &id);
        sqlite3_close(sqlite);
        if (code == SQLITE_OK && id == 0)
                return 0;
        return err_set(err, EEXIST,
                       "%s holds a cluster: start without --restore to go on with it, or remove it "
                       "first",
                       file);
}

/* A write-ahead log of another database must not be taken for its own. */
static int put_in_place(const char *from, const char *file, struct err *err)
{
        _cleanup_free_ char *log = xasprintf("%s-wal", file), *index = xasprintf("%s-shm", file);
        int r = 0;

        if ((unlink(log) < 0 && errno != ENOENT) || (unlink(index) < 0 && errno != ENOENT) ||
            rename(from, file) < 0)
                r = -errno;
        if (r == 0)
                r = io_sync_folder_of(AT_FDCWD, file);
        return r < 0 ? err_set(err, -r, "%s: %s", file, err_name(r)) : 0;
}

static int restore_locked(const char *dir, const char *copy, uint64_t id,
                          const struct raft_members *members, struct err *err)
{
        _cleanup_free_ char *file = xasprintf("%s/swarm.db", dir);
        _cleanup_free_ char *making = xasprintf("%s/" DB_RESTORING, dir);
        _cleanup_free_ char *made = xasprintf("%s/swarm.db", making);
        int r = check_place(file, err);

        if (r < 0)
                return r;
        r = io_remove_tree(AT_FDCWD, making); /* of one that died on the way */
        if (r < 0)
                return err_set(err, -r, "%s: %s", making, err_name(r));
        r = make_ready(making, copy, id, members, err);
        if (r < 0)
                r = name_copy(copy, made, r, err);
        else
                r = put_in_place(made, file, err);
        io_remove_tree(AT_FDCWD, making);
        return r;
}

int db_restore(const char *dir, const char *copy, uint64_t id, const struct raft_members *members,
               struct err *err)
{
        const bool is_new = access(dir, F_OK) < 0;
        struct err ignored = {0};
        int r = io_mkdir_all(dir, 0700);

        if (r < 0)
                return err_set(err, -r, "%s: %s", dir, err_name(r));
        int lock_fd = db_file_lock(dir, err);
        if (lock_fd < 0)
                return lock_fd;
        r = restore_locked(dir, copy, id, members, err);
        close(lock_fd);
        if (r < 0 && is_new)
                db_remove(dir, &ignored);
        return r;
}
