/*
 * States that come and go as a file: copies made while others write, and what a manager that lags
 * puts in the place of its own; also when that is damaged.
 */
#include "tests/lib/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "shared/base/base.h"
#include "tests/lib/db_fixture.h"
#include "tests/lib/sql.h"
#include "tests/lib/store_ops.h"

#define PIECE     10000
#define BYTES_MAX (256u << 20)

/* A fixture, a second manager's folder, and a copy's path. */
struct two {
        struct fixture *f;
        char other[96], copy[128];
        struct db_rig rig; /* of the other */
};

static void two_init(struct two *t, void **state)
{
        memset(t, 0, sizeof(*t));
        t->f = *state;
        snprintf(t->other, sizeof(t->other), "%s/other", t->f->dir);
        snprintf(t->copy, sizeof(t->copy), "%s/copy", t->f->dir);
}

static void open_other(struct two *t)
{
        t->rig = (struct db_rig){0};
        if (db_rig_open(&t->rig, t->other, &t->f->err) < 0)
                fail_msg("%s", t->f->err.text);
}

static void wait_copied(struct db_rig *r, int n)
{
        while (r->n_copied < n)
                loop_run(r->loop);
}

static void make_copy(struct two *t)
{
        struct db_rig *r = &t->f->rig;
        int n = r->n_copied;

        db_copy(r->db, 77, t->copy);
        assert_int_equal(r->n_copied, n);
        wait_copied(r, n + 1);
        assert_int_equal(r->copied_tag, 77);
        assert_int_equal(r->copy_error, 0);
        assert_int_equal(r->copied_size, fixture_file_size(t->copy));
}

/* --- copies -------------------------------------------------------------------------------------
 */
static void assert_alone(const char *path)
{
        static const char *const suffixes[] = {"-wal", "-shm", "-journal"};

        for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
                _cleanup_free_ char *other = xasprintf("%s%s", path, suffixes[i]);

                assert_int_equal(fixture_file_size(other), -1);
        }
}

/* The copy, started from as a database: the state at index, of nobody yet. */
static void assert_is_state(struct two *t, uint64_t index)
{
        _cleanup_free_ char *path = xasprintf("%s/swarm.db", t->other);
        struct db_state s;
        struct store *store;
        struct db *db;

        io_remove_tree(AT_FDCWD, t->other);
        assert_int_equal(io_mkdir_all(t->other, 0700), 0);
        assert_int_equal(rename(t->copy, path), 0);
        assert_int_equal(db_open(t->other, &db, &t->f->err), 0);
        assert_int_equal(db_read_state(db, &s, &t->f->err), 0);
        assert_int_equal(s.id | s.vote, 0);
        assert_int_equal(s.term, s.base.term);
        assert_int_equal(s.base.index, index);
        assert_int_equal(s.base.term, index > 0);
        assert_int_equal(s.base.members.n + s.n_entries, 0);
        assert_int_equal(s.applied, index);
        assert_int_equal(db_load_now(db, &store, &t->f->err), 0);
        assert_int_equal(store_hash(store), t->f->hash_at[index]);
        store_free(store);
        db_state_done(&s);
        db_close(db);
}

static void test_a_copy_is_the_state_while_others_write(void **state)
{
        struct two t;
        struct db_rig *r;
        struct stat st;

        two_init(&t, state);
        r = &t.f->rig;
        fixture_open(t.f);
        t.f->hash_at[0] = store_hash(r->store);
        for (int i = 0; i < 6; i++) {
                int64_t before = fixture_meta(t.f, "newest_row");
                int n = r->n_copied;

                db_copy(r->db, 5, t.copy);
                while (r->n_copied == n)
                        fixture_commit(t.f, 1);
                assert_int_equal(r->copy_error, 0);
                assert_true((int64_t)r->copied_at >= before && r->copied_at <= r->last);
                assert_int_equal(stat(t.copy, &st), 0);
                assert_int_equal(st.st_mode & 0777, 0600);
                assert_int_equal(r->copied_size, st.st_size);
                assert_alone(t.copy);
                assert_int_equal(sql_int(t.copy,
                                         "SELECT count(*) FROM log WHERE idx>"
                                         " (SELECT max(value) FROM meta) OR idx<=coalesce("
                                         " (SELECT value FROM meta WHERE key='covered'),0)"),
                                 0);
                assert_is_state(&t, r->copied_at);
                if (i == 2)
                        fixture_wait_covered(t.f, r->last);
                else if (i > 2)
                        db_rig_run_ms(r, 400);
        }
        assert_true(r->copied_at > 0);
}

static void test_a_copy_has_the_log_between(void **state)
{
        struct two t;

        two_init(&t, state);
        fixture_open(t.f);
        fixture_commit(t.f, 20);
        fixture_wait_covered(t.f, 20);
        fixture_commit(t.f, 10);
        fixture_close(t.f);
        /* As if a round had ended in its midst: rows as of 25 may be there. The copy has all that
         * is applied. */
        sql_run(t.f->path, "UPDATE meta SET value=25 WHERE key='newest_row'");
        fixture_open(t.f);
        make_copy(&t);
        assert_int_equal(t.f->rig.copied_at, 30);
        assert_int_equal(sql_int(t.copy, "SELECT min(idx) FROM log"), 21);
        assert_int_equal(sql_int(t.copy, "SELECT max(idx) FROM log"), 30);
        assert_is_state(&t, 30);
}

/* What is in the folder stands alone: all of its log counts, and it is the only member. */
static void assert_stands_alone(struct fixture *f, const char *dir, uint64_t index)
{
        struct raft_members alone = {.n = 1, .of[0] = {.id = 5, .is_voter = true}};
        struct db_rig r = {0};
        struct db *db;

        assert_int_equal(db_open(dir, &db, &f->err), 0);
        assert_int_equal(db_stand_alone(db, 5, &alone, &f->err), 0);
        db_close(db);
        assert_int_equal(db_rig_open(&r, dir, &f->err), 0);
        assert_int_equal(r.state.id, 5);
        assert_int_equal(r.state.vote, 0);
        assert_int_equal(r.state.base.index, index);
        assert_int_equal(r.state.base.term, index > 0); /* as that of who has no entry, either */
        assert_int_equal(r.state.base.members.n, 1);
        assert_int_equal(r.state.n_entries, 0);
        assert_int_equal(r.state.applied, index);
        assert_int_equal(r.loaded_hash, f->hash_at[index]);
        db_rig_close(&r);
}

static void test_a_state_stands_alone(void **state)
{
        struct two t;

        two_init(&t, state);
        fixture_open(t.f);
        t.f->hash_at[0] = store_hash(t.f->rig.store);
        make_copy(&t);
        assert_is_state(&t, 0);
        assert_stands_alone(t.f, t.other, 0);
        fixture_commit(t.f, 20);
        fixture_wait_covered(t.f, 20);
        make_copy(&t);
        assert_is_state(&t, 20);
        assert_stands_alone(t.f, t.other, 20);
        fixture_commit(t.f, 10);
        fixture_close(t.f);
        assert_stands_alone(t.f, t.f->dir, 30);
}

static void assert_no_copy(struct two *t, int code, const char *text)
{
        assert_int_equal(db_check_copy(t->copy, &t->f->err), -code);
        assert_non_null(strstr(t->f->err.text, t->copy));
        if (!strstr(t->f->err.text, text))
                fail_msg("%s", t->f->err.text);
}

static void overwrite(const struct two *t, off_t offset, size_t n)
{
        _cleanup_close_ int fd = open(t->copy, O_RDWR | O_CLOEXEC);
        _cleanup_free_ uint8_t *junk = xmalloc(n);

        memset(junk, 0xa5, n);
        assert_int_equal(pwrite(fd, junk, n, offset), (ssize_t)n);
}

static void test_a_file_that_is_no_copy(void **state)
{
        struct two t;

        two_init(&t, state);
        fixture_open(t.f);
        fixture_commit(t.f, 40);
        fixture_wait_covered(t.f, 40);
        assert_no_copy(&t, ENOENT, "no such file");
        make_copy(&t);
        assert_int_equal(db_check_copy(t.copy, &t.f->err), 0);
        sql_run(t.copy, "PRAGMA user_version=3");
        assert_no_copy(&t, EUCLEAN, "newer version");
        sql_run(t.copy, "PRAGMA user_version=2; PRAGMA application_id=1");
        assert_no_copy(&t, EUCLEAN, "no backup");
        sql_run(t.copy, "PRAGMA application_id=1398227282");
        assert_int_equal(db_check_copy(t.copy, &t.f->err), 0);
        overwrite(&t, fixture_file_size(t.copy) - 4096, 4096);
        assert_no_copy(&t, EUCLEAN, "damaged");
        for (off_t size = fixture_file_size(t.copy) / 4096 - 1; size > 0; size /= 2) {
                assert_int_equal(truncate(t.copy, size * 4096 + 17), 0);
                assert_no_copy(&t, EUCLEAN, "damaged");
        }
        assert_int_equal(truncate(t.copy, 17), 0);
        assert_no_copy(&t, EUCLEAN, "no backup");
        overwrite(&t, 0, 100);
        assert_no_copy(&t, EUCLEAN, "no backup");
        assert_int_equal(truncate(t.copy, 0), 0);
        assert_no_copy(&t, EUCLEAN, "no backup");
        assert_int_equal(unlink(t.copy), 0);
        assert_int_equal(mkdir(t.copy, 0700), 0);
        assert_no_copy(&t, EISDIR, "is a directory");
        /* what is in its write-ahead log would be lost */
        assert_int_equal(db_check_copy(t.f->path, &t.f->err), -EUCLEAN);
        assert_non_null(strstr(t.f->err.text, "a manager's own database, not a backup of it"));
}

static void test_a_copy_does_not_replace_a_file(void **state)
{
        struct two t;

        two_init(&t, state);
        fixture_open(t.f);
        assert_int_equal(io_write_file_atomic(AT_FDCWD, t.copy, "x", 1, 0600), 0);
        db_copy(t.f->rig.db, 3, t.copy);
        wait_copied(&t.f->rig, 1);
        assert_int_equal(t.f->rig.copy_error, EEXIST);
        assert_int_equal(fixture_file_size(t.copy), 1);
        fixture_commit(t.f, 1);
}

static void test_a_copy_that_finds_no_room(void **state)
{
        struct two t;
        struct db_rig *r;

        two_init(&t, state);
        r = &t.f->rig;
        fixture_open(t.f);
        fixture_commit(t.f, 50);
        fixture_wait_covered(t.f, 50);
        assert_int_equal(io_mkdir_all(t.other, 0700), 0);
        assert_int_equal(mount("tmpfs", t.other, "tmpfs", 0, "size=16k"), 0);
        snprintf(t.copy, sizeof(t.copy), "%s/c", t.other);
        db_copy(r->db, 3, t.copy);
        wait_copied(r, 1);
        int64_t left = fixture_file_size(t.copy);
        assert_int_equal(umount(t.other), 0);
        assert_int_equal(r->copy_error, ENOSPC);
        assert_int_equal(left, -1);
        fixture_commit(t.f, 1); /* which is nothing to the database */
        assert_int_equal(r->failure, 0);
}

/* Those that wait for a thread as well as those that run. */
static void test_closing_gives_up_copies(void **state)
{
        struct two t;

        two_init(&t, state);
        for (int64_t ms = 0; ms < 5; ms++) {
                fixture_open(t.f);
                fixture_commit(t.f, 50);
                for (int i = 0; i < 20; i++) {
                        _cleanup_free_ char *path = xasprintf("%s/c%d", t.f->dir, i);

                        db_copy(t.f->rig.db, 1, path);
                }
                db_rig_run_ms(&t.f->rig, ms);
                int told = t.f->rig.n_copied;
                fixture_close(t.f);
                assert_int_equal(t.f->rig.n_copied, told);
                for (int i = 0, files = 0; i < 20; i++) {
                        _cleanup_free_ char *path = xasprintf("%s/c%d", t.f->dir, i);

                        files += unlink(path) == 0;
                        assert_true(files <= told);
                }
        }
}

/* --- installs -----------------------------------------------------------------------------------
 */
static struct raft_base base_at(uint64_t index)
{
        struct raft_base base = {.index = index, .term = 4};

        base.members = (struct raft_members){
                .n = 2, .of = {{.id = 8, .is_voter = true, .address = "b:2"}, {.id = 9}}};
        return base;
}

/* The other gets the bytes in pieces, and the last of them with an install. Its store is taken
 * back before. */
static void send(struct two *t, const struct buf *bytes, const struct raft_base *base,
                 struct raft_write *rest)
{
        struct db_rig *r = &t->rig;

        for (size_t offset = 0; offset < bytes->len; offset += PIECE) {
                size_t n = MIN(bytes->len - offset, (size_t)PIECE);
                bool is_last = offset + n == bytes->len;
                struct raft_write w = {.term = 6};

                if (is_last) {
                        w = *rest;
                        w.term = 6;
                        w.install = xmemdup(base, sizeof(*base));
                }
                w.chunk = raft_bytes_new(bytes->data + offset, n);
                w.chunk_offset = offset;
                if (is_last && r->store) {
                        db_set_store(r->db, NULL);
                        store_free(STEAL_PTR(r->store));
                }
                db_rig_write(r, &w, is_last ? base->index + rest->n_entries : r->last);
                if (r->n_pending > DB_RIG_PENDING_MAX / 2)
                        db_rig_wait(r, &r->durable_seq, r->seq);
        }
}

static void read_copy(const struct two *t, struct buf *ret)
{
        assert_int_equal(io_read_file(AT_FDCWD, t->copy, BYTES_MAX, ret), 0);
}

/* The first manager has n entries, all in the tables, and a copy is made. */
static void prepare(struct two *t, size_t n)
{
        fixture_open(t->f);
        fixture_commit(t->f, n);
        fixture_wait_covered(t->f, n);
        make_copy(t);
}

static void load_other(struct two *t)
{
        db_load(t->rig.db);
        while (!t->rig.loaded && !t->rig.failure)
                loop_run(t->rig.loop);
        assert_int_equal(t->rig.failure, 0);
}

/* Entries of its own, which are not the first one's. */
static void fill_other(struct two *t, size_t n, bool in_tables)
{
        struct rng rng = {99};

        open_other(t);
        for (size_t i = 0; i < n; i++) {
                while (store_change_count(t->rig.store) < 20)
                        store_operate(t->rig.store, &rng, 3);
                db_rig_propose(&t->rig, 1);
        }
        db_rig_wait(&t->rig, in_tables ? &t->rig.covered : &t->rig.durable, n);
}

static void test_an_install_replaces_everything(void **state)
{
        _cleanup_buf_ struct buf bytes = {0};
        _cleanup_free_ char *path = NULL;
        struct raft_base base = base_at(60);
        struct raft_write rest = {.from = 61, .n_entries = 1};
        struct two t;

        two_init(&t, state);
        prepare(&t, 60);
        read_copy(&t, &bytes);
        fill_other(&t, 30, true);
        path = xasprintf("%s/incoming.db", t.other);
        rest.entries = xnew(struct raft_entry);
        rest.entries[0].term = 5;
        send(&t, &bytes, &base, &rest);
        db_rig_wait(&t.rig, &t.rig.durable_seq, t.rig.seq);
        assert_int_equal(t.rig.failure, 0);
        assert_int_equal(fixture_file_size(path), -1);
        load_other(&t);
        assert_int_equal(t.rig.loaded_at, 60);
        assert_int_equal(store_hash(t.rig.loaded), t.f->hash_at[60]);
        t.rig.store = t.rig.loaded;
        db_set_store(t.rig.db, t.rig.store);
        db_set_applied(t.rig.db, 61);
        /* It goes on from there. */
        struct rng rng = {5};
        while (store_change_count(t.rig.store) < 20)
                store_operate(t.rig.store, &rng, 3);
        db_rig_propose(&t.rig, 6);
        uint64_t hash = store_hash(t.rig.store);
        db_rig_wait(&t.rig, &t.rig.covered, 62);
        db_rig_close(&t.rig);

        open_other(&t);
        assert_int_equal(t.rig.state.id, 1);
        assert_int_equal(t.rig.state.term, 6);
        assert_int_equal(t.rig.state.base.index, 60);
        assert_int_equal(t.rig.state.base.term, 4);
        assert_int_equal(t.rig.state.base.members.n, 2);
        assert_string_equal(t.rig.state.base.members.of[0].address, "b:2");
        assert_int_equal(t.rig.state.n_entries, 2);
        assert_int_equal(t.rig.state.entries[0].term, 5);
        assert_int_equal(store_hash(t.rig.store), hash);
        assert_int_equal(t.rig.loaded_hash, hash);
        db_rig_close(&t.rig);
}

/* With the log between covered and newest row; not all of it as it was sent first. */
static void test_an_install_of_a_torn_state(void **state)
{
        _cleanup_buf_ struct buf bytes = {0};
        struct raft_base base = base_at(30);
        struct raft_write rest = {0};
        struct two t;

        two_init(&t, state);
        fixture_open(t.f);
        fixture_commit(t.f, 20);
        fixture_wait_covered(t.f, 20);
        fixture_commit(t.f, 10);
        fixture_close(t.f);
        sql_run(t.f->path, "UPDATE meta SET value=25 WHERE key='newest_row'");
        fixture_open(t.f);
        make_copy(&t);
        read_copy(&t, &bytes);
        fill_other(&t, 40, false); /* its log is the longer one */
        /* Another transfer, given up: longer than the one that follows. */
        for (uint64_t i = 0; i < 200; i++) {
                struct raft_write w = {.term = 6, .chunk_offset = 4096 * i};

                w.chunk = raft_bytes_new(bytes.data, 4096);
                db_rig_write(&t.rig, &w, 40);
        }
        db_rig_wait(&t.rig, &t.rig.durable_seq, 240);
        send(&t, &bytes, &base, &rest);
        db_rig_wait(&t.rig, &t.rig.durable_seq, t.rig.seq);
        db_rig_close(&t.rig);
        open_other(&t);
        assert_int_equal(t.rig.state.base.index, 30);
        assert_int_equal(t.rig.state.applied, 30);
        assert_int_equal(t.rig.state.n_entries, 0);
        assert_int_equal(t.rig.loaded_hash, t.f->hash_at[30]);
        db_rig_close(&t.rig);
}

/* What came in before a crash is of no use. */
static void test_what_is_left_over_goes(void **state)
{
        struct fixture *f = *state;

        assert_int_equal(io_write_file_atomic(AT_FDCWD, f->incoming, "x", 1, 0600), 0);
        fixture_open(f);
        assert_int_equal(fixture_file_size(f->incoming), -1);
}

/* --- damaged ------------------------------------------------------------------------------------
 */
static void test_a_part_that_does_not_go_on_goes(void **state)
{
        _cleanup_buf_ struct buf bytes = {0};
        _cleanup_free_ char *incoming = NULL;
        struct raft_base base = base_at(40);
        struct raft_write rest = {0};
        struct two t;

        two_init(&t, state);
        prepare(&t, 40);
        read_copy(&t, &bytes);
        open_other(&t);
        incoming = xasprintf("%s/incoming.db", t.other);
        struct raft_write piece = {.chunk = raft_bytes_new(bytes.data, PIECE)};
        db_rig_write(&t.rig, &piece, t.rig.last);
        db_rig_wait(&t.rig, &t.rig.durable_seq, t.rig.seq);
        assert_int_equal(fixture_file_size(incoming), PIECE);
        struct raft_write drop = {.drops_chunks = true};
        db_rig_write(&t.rig, &drop, t.rig.last);
        db_rig_wait(&t.rig, &t.rig.durable_seq, t.rig.seq);
        assert_int_equal(fixture_file_size(incoming), -1);
        send(&t, &bytes, &base, &rest); /* another one comes in as ever */
        db_rig_wait(&t.rig, &t.rig.durable_seq, t.rig.seq);
        assert_int_equal(fixture_file_size(incoming), -1);
        db_rig_close(&t.rig);
        open_other(&t);
        assert_int_equal(t.rig.state.base.index, 40);
        db_rig_close(&t.rig);
}

/* The copy as it is now is installed: refused, and the other has what it had. */
static void assert_not_installed(struct two *t, uint64_t index, const char *text)
{
        _cleanup_buf_ struct buf bytes = {0};
        _cleanup_free_ char *incoming = xasprintf("%s/incoming.db", t->other);
        struct raft_base base = base_at(index);
        struct raft_write rest = {0};

        read_copy(t, &bytes);
        open_other(t);
        uint64_t hash = store_hash(t->rig.store), last = t->rig.last;
        send(t, &bytes, &base, &rest);
        while (!t->rig.failure && t->rig.durable_seq < t->rig.seq)
                loop_run(t->rig.loop);
        assert_int_equal(t->rig.failure, EUCLEAN);
        if (!strstr(t->rig.failure_text, text) || !strstr(t->rig.failure_text, t->other))
                fail_msg("%s", t->rig.failure_text);
        assert_int_equal(fixture_file_size(incoming), -1);
        db_load(t->rig.db);
        db_rig_run_ms(&t->rig, 30);
        assert_int_equal(t->rig.n_failures, 1);
        assert_null(t->rig.loaded);
        assert_true(t->rig.durable_seq < t->rig.seq);
        db_rig_close(&t->rig);
        open_other(t);
        assert_int_equal(t->rig.state.base.index, 0);
        assert_int_equal(t->rig.last, last);
        assert_int_equal(store_hash(t->rig.store), hash);
        db_rig_close(&t->rig);
}

static void break_and_try(struct two *t, const char *sql, uint64_t index, const char *text)
{
        assert_int_equal(unlink(t->copy), 0);
        make_copy(t);
        if (sql)
                sql_run(t->copy, sql);
        assert_not_installed(t, index, text);
}

static void test_what_is_damaged_is_not_installed(void **state)
{
        struct two t;

        two_init(&t, state);
        prepare(&t, 40);
        fill_other(&t, 10, true);
        db_rig_close(&t.rig);
        break_and_try(&t, NULL, 41, "not the state that was announced");
        break_and_try(&t, "PRAGMA user_version=3", 40, "of another format");
        break_and_try(&t, "PRAGMA application_id=1", 40, "not one of swarm's");
        break_and_try(&t, "DROP TABLE tasks", 40, "no such table");
        break_and_try(&t, "DROP TABLE meta", 40, "no such table");
        break_and_try(&t, "ALTER TABLE tasks ADD COLUMN more", 40,
                      "table main.tasks has 11 columns");
        break_and_try(&t, "UPDATE specs SET message=x'ff'", 40, "table specs: row");
        break_and_try(&t, "UPDATE meta SET value=30 WHERE key='covered'", 40,
                      "log: entry 31 is missing");
}

static void test_what_is_no_database_is_not_installed(void **state)
{
        struct two t;

        two_init(&t, state);
        prepare(&t, 40);
        fill_other(&t, 10, false);
        db_rig_close(&t.rig);
        overwrite(&t, 0, 100);
        assert_not_installed(&t, 40, "not a database");
        assert_int_equal(unlink(t.copy), 0);
        make_copy(&t);
        overwrite(&t, 4096, (size_t)fixture_file_size(t.copy) - 4096);
        assert_not_installed(&t, 40, "malformed");
        assert_int_equal(unlink(t.copy), 0);
        make_copy(&t);
        assert_int_equal(truncate(t.copy, fixture_file_size(t.copy) / 2), 0);
        assert_not_installed(&t, 40, "malformed");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_a_copy_is_the_state_while_others_write),
                TEST(test_a_copy_has_the_log_between),
                TEST(test_a_state_stands_alone),
                TEST(test_a_file_that_is_no_copy),
                TEST(test_a_copy_does_not_replace_a_file),
                TEST(test_a_copy_that_finds_no_room),
                TEST(test_closing_gives_up_copies),
                TEST(test_an_install_replaces_everything),
                TEST(test_an_install_of_a_torn_state),
                TEST(test_what_is_left_over_goes),
                TEST(test_a_part_that_does_not_go_on_goes),
                TEST(test_what_is_damaged_is_not_installed),
                TEST(test_what_is_no_database_is_not_installed),
        };
        return cmocka_run_group_tests_name("db_copy", tests, NULL, NULL);
}
