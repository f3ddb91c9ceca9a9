/*
 * The database of one manager: what it read back, the rows behind, cutting the log, files of before
 * and files that are not ours. db_copy_test.c has copies, db_crash_test.c what outlives a crash.
 */
#include "tests/lib/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/base/base.h"
#include "tests/lib/db_fixture.h"
#include "tests/lib/sql.h"
#include "tests/lib/store_ops.h"

#define TORN_TRIES_MAX 60

#define HOLES      16000
#define HOLE_BYTES 4000

/* --- the log and the agreement ------------------------------------------------------------------
 */
static void test_a_new_file_is_nobodys(void **state)
{
        struct fixture *f = *state;
        struct raft_members none = {0};
        struct db_state s;
        struct db *db;
        struct stat st;

        assert_int_equal(db_open(f->dir, &db, &f->err), 0);
        assert_int_equal(db_read_state(db, &s, &f->err), 0);
        assert_int_equal(s.id | s.term | s.vote | s.base.index | s.base.term | s.applied, 0);
        assert_int_equal(s.base.members.n + s.n_entries, 0);
        db_state_done(&s);
        assert_int_equal(db_set_identity(db, UINT64_MAX, &none, &f->err), 0);
        db_close(db);
        assert_int_equal(stat(f->path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);

        assert_int_equal(db_open(f->dir, &db, &f->err), 0);
        assert_int_equal(db_read_state(db, &s, &f->err), 0);
        assert_true(s.id == UINT64_MAX && s.base.members.n == 0);
        db_state_done(&s);
        db_close(db);
}

static void test_reopening_gives_back_the_state(void **state)
{
        struct fixture *f = *state;

        for (uint64_t i = 0; i < 5; i++) {
                fixture_open(f);
                fixture_commit(f, 30);
                uint64_t hash = store_hash(f->rig.store);
                fixture_close(f);
                fixture_open(f);
                assert_int_equal(store_hash(f->rig.store), hash);
                assert_int_equal(f->rig.last, 30 * (i + 1));
                fixture_close(f);
        }
}

/* What was queued is written, also when nobody waited for it. */
static void test_closing_waits_for_what_is_queued(void **state)
{
        struct fixture *f = *state;

        fixture_open(f);
        fixture_propose(f, 100);
        fixture_close(f);
        fixture_open(f);
        assert_int_equal(f->rig.last, 100);
        assert_int_equal(store_hash(f->rig.store), f->hash_at[100]);
}

static void assert_entry(const struct db_state *s, uint64_t index, uint64_t term,
                         enum raft_entry_kind kind, const char *text)
{
        const struct raft_entry *e = &s->entries[index - s->base.index - 1];

        assert_int_equal(e->term, term);
        assert_int_equal(e->kind, kind);
        assert_int_equal(e->bytes != NULL, text != NULL);
        if (text) {
                assert_int_equal(e->bytes->len, strlen(text));
                assert_memory_equal(e->bytes->data, text, strlen(text));
        }
}

static void test_writes_take_effect_in_their_order(void **state)
{
        struct fixture *f = *state;
        struct raft_write w;
        struct db_state s;
        struct db *db;

        fixture_open(f);
        db_set_applied(f->rig.db, 0);
        w = entries_from(1, 5, 1, RAFT_ENTRY_NOOP, NULL);
        db_rig_write(&f->rig, &w, 5);
        assert_null(w.entries); /* taken */
        w = entries_from(3, 4, 2, RAFT_ENTRY_DATA, "");
        db_rig_write(&f->rig, &w, 6);
        w = entries_from(4, 1, 3, RAFT_ENTRY_MEMBERS, "abc");
        db_rig_write(&f->rig, &w, 4);
        w = (struct raft_write){.term = UINT64_MAX, .vote = UINT64_MAX - 1};
        db_rig_write(&f->rig, &w, 4);
        db_rig_wait(&f->rig, &f->rig.durable_seq, 4);
        fixture_close(f);

        assert_int_equal(db_open(f->dir, &db, &f->err), 0);
        assert_int_equal(db_read_state(db, &s, &f->err), 0);
        assert_true(s.term == UINT64_MAX && s.vote == UINT64_MAX - 1);
        assert_int_equal(s.id, 1);
        assert_int_equal(s.base.members.n, 1);
        assert_int_equal(s.n_entries, 4);
        assert_entry(&s, 1, 1, RAFT_ENTRY_NOOP, NULL);
        assert_entry(&s, 2, 1, RAFT_ENTRY_NOOP, NULL);
        assert_entry(&s, 3, 2, RAFT_ENTRY_DATA, "");
        assert_entry(&s, 4, 3, RAFT_ENTRY_MEMBERS, "abc");
        db_state_done(&s);
        db_close(db);
}

/* The log can be made shorter, too. */
static void test_the_log_ends_where_the_write_says(void **state)
{
        struct fixture *f = *state;
        struct raft_write w;

        fixture_open(f);
        db_set_applied(f->rig.db, 0);
        w = entries_from(1, 5, 1, RAFT_ENTRY_NOOP, NULL);
        db_rig_write(&f->rig, &w, 5);
        w = entries_from(2, 0, 1, RAFT_ENTRY_NOOP, NULL);
        db_rig_write(&f->rig, &w, 1);
        fixture_close(f);
        fixture_open(f);
        assert_int_equal(f->rig.last, 1);
}

/* --- rows behind --------------------------------------------------------------------------------
 */
static void test_rows_follow_what_is_agreed(void **state)
{
        struct fixture *f = *state;
        struct db_rig *r = &f->rig;

        fixture_open(f);
        fixture_commit(f, 10);
        db_set_applied(r->db, 0);
        db_rig_run_ms(r, DB_WRITE_BEHIND_MS + 300);
        assert_int_equal(fixture_meta(f, "newest_row"),
                         -1); /* something is under way: none is written */
        while (store_change_count(r->store) == 0)
                store_operate(r->store, &f->rng, 1);
        db_set_applied(r->db, 10); /* not while the store has more than that */
        db_rig_run_ms(r, 300);
        assert_int_equal(fixture_meta(f, "newest_row"), -1);
        db_rig_propose(r, 1);
        db_rig_wait(r, &r->durable, 11);
        fixture_wait_covered(f, 11);
        assert_int_equal(fixture_meta(f, "newest_row"), 11);
        assert_int_equal(fixture_meta(f, "covered"), 11);
        uint64_t hash = store_hash(r->store);
        fixture_close(f);

        sql_run(f->path, "DELETE FROM log"); /* the tables alone have it all */
        sql_run(f->path, "UPDATE raft SET base_index=11,base_term=1");
        fixture_open(f);
        assert_int_equal(r->state.applied, 11);
        assert_int_equal(r->loaded_hash, hash);
}

/* Whenever the store is taken back, in the middle of rounds as well. */
static void test_the_tables_and_the_log_are_a_state_at_any_time(void **state)
{
        struct fixture *f = *state;
        struct db_rig *r = &f->rig;
        size_t torn = 0;

        fixture_open(f);
        f->hash_at[0] = store_hash(r->store);
        fixture_reload(f);
        for (int i = 0; i < 8 || (torn <= 3 && i < TORN_TRIES_MAX); i++) {
                int64_t newest = fixture_meta(f, "newest_row");

                /* On a slow machine a round is over before it is looked at: another is needed. */
                if (fixture_meta(f, "covered") == newest)
                        fixture_fill(f, 5 * DB_SLICE_ROWS_MAX);
                fixture_commit(f, 3);
                /* Until rows are written: then it stops after some of the slices. */
                while (fixture_meta(f, "newest_row") == newest) {
                        db_rig_run_ms(r, 20);
                        if (i % 4 == 3)
                                fixture_commit(f, 1);
                }
                for (int j = 0; j < i % 3; j++)
                        fixture_commit(f, 1);
                torn += fixture_meta(f, "newest_row") > MAX(fixture_meta(f, "covered"), (int64_t)0);
                fixture_reload(f);
        }
        assert_true(torn > 3);
        uint64_t hash = store_hash(r->store);
        fixture_close(f);
        fixture_open(f);
        assert_int_equal(store_hash(r->store), hash);
        assert_int_equal(r->loaded_hash, f->hash_at[r->state.applied]);
}

/* A round covers what had changed when it began, and no more. */
static void test_changes_while_a_round_runs(void **state)
{
        struct fixture *f = *state;
        struct db_rig *r = &f->rig;

        fixture_open(f);
        fixture_fill(f, 5 * DB_SLICE_ROWS_MAX);
        while (fixture_meta(f, "newest_row") < 0)
                db_rig_run_ms(r, 5);
        while (r->covered == 0)
                fixture_commit(f, 1);
        fixture_close(f);
        fixture_open(f);
        assert_true(r->state.applied > 1);
        assert_int_equal(r->loaded_hash, f->hash_at[r->state.applied]);
}

/* Members and no-ops are entries like others, but nothing of the state. */
static void test_entries_that_are_not_the_users(void **state)
{
        struct fixture *f = *state;
        struct db_rig *r = &f->rig;
        struct raft_write w;

        fixture_open(f);
        fixture_commit(f, 2);
        w = entries_from(3, 1, 1, RAFT_ENTRY_NOOP, NULL);
        db_rig_write(r, &w, 3);
        w = entries_from(4, 1, 1, RAFT_ENTRY_MEMBERS, "x");
        db_rig_write(r, &w, 4);
        fixture_commit(f, 2);
        fixture_wait_covered(f, 6);
        fixture_close(f);
        /* All of it is read from the log again. */
        sql_run(f->path, "DELETE FROM tasks; DELETE FROM services; DELETE FROM specs;"
                         "DELETE FROM images; DELETE FROM nodes; DELETE FROM cluster;"
                         "UPDATE meta SET value=0 WHERE key='covered'");
        fixture_open(f);
        assert_int_equal(r->loaded_hash, f->hash_at[6]);
}

/* They alone move on what is covered: the log of one that has just begun to lead may be full. */
static void test_entries_without_rows_are_covered(void **state)
{
        struct fixture *f = *state;
        struct db_rig *r = &f->rig;
        struct raft_write w;

        fixture_open(f);
        fixture_commit(f, 2);
        fixture_wait_covered(f, 2);
        assert_int_equal(store_unflushed_rows(r->store), 0);
        w = entries_from(3, 1, 1, RAFT_ENTRY_NOOP, NULL);
        db_rig_write(r, &w, 3);
        fixture_wait_covered(f, 3);
        assert_int_equal(fixture_meta(f, "covered"), 3);
}

static void test_a_load_that_fails_is_a_failure(void **state)
{
        struct fixture *f = *state;
        struct db_rig *r = &f->rig;

        fixture_open(f);
        fixture_commit(f, 5);
        fixture_wait_covered(f, 5);
        sql_run(f->path, "UPDATE specs SET message=x'ff'");
        db_set_store(r->db, NULL);
        store_free(STEAL_PTR(r->store));
        db_load(r->db);
        while (!r->failure && !r->loaded)
                loop_run(r->loop);
        assert_int_equal(r->failure, EUCLEAN);
        assert_non_null(strstr(r->failure_text, f->path));
        assert_non_null(strstr(r->failure_text, "table specs"));
        struct raft_write w = {.term = 9};
        db_rig_write(r, &w, 5); /* goes nowhere */
        db_rig_run_ms(r, 50);
        assert_int_equal(r->n_failures, 1);
        assert_true(r->durable_seq < r->seq);
}

/* --- the log's beginning ------------------------------------------------------------------------
 */
static void cut(struct fixture *f, uint64_t index)
{
        struct raft_base base = {.index = index, .term = 1};

        base.members = (struct raft_members){.n = 1, .of[0] = {.id = 7, .address = "a:1"}};
        db_cut_log(f->rig.db, &base);
}

/* Until the log begins at index; that it never does is a failure. */
static void wait_first(struct fixture *f, int64_t index)
{
        for (int i = 0; i < 4000; i++) {
                if (sql_int(f->path, "SELECT min(idx) FROM log") == index)
                        return;
                db_rig_run_ms(&f->rig, 5);
        }
        fail_msg("the log does not begin at %lld", (long long)index);
}

static void test_the_log_is_cut_where_the_tables_cover_it(void **state)
{
        struct fixture *f = *state;
        struct db_rig *r = &f->rig;

        fixture_open(f);
        fixture_commit(f, 40);
        fixture_wait_covered(f, 40);
        fixture_commit(f, 10);
        cut(f, 30);
        wait_first(f, 31);
        assert_int_equal(sql_int(f->path, "SELECT base_index FROM raft"), 30);
        cut(f, 45);
        wait_first(f, 41); /* not beyond what is covered */
        cut(f, 20);        /* of before: nothing goes back */
        db_rig_run_ms(r, 50);
        assert_int_equal(sql_int(f->path, "SELECT base_index FROM raft"), 45);
        assert_int_equal(sql_int(f->path, "SELECT min(idx) FROM log"), 41);
        fixture_wait_covered(f, 50);
        fixture_close(f);
        fixture_open(f);
        assert_int_equal(r->state.base.index, 45);
        assert_int_equal(r->state.base.members.of[0].id, 7);
        assert_string_equal(r->state.base.members.of[0].address, "a:1");
        assert_int_equal(r->state.n_entries, 5);
        assert_int_equal(r->state.applied, 50);
        assert_int_equal(store_hash(r->store), f->hash_at[50]);
}

/* A reader keeps the write-ahead log from being written back, and is not waited for. */
static void test_the_wal_recovers_after_a_reader(void **state)
{
        struct fixture *f = *state;
        struct db_rig *r = &f->rig;
        _cleanup_free_ char *copy = xasprintf("%s/copy", f->dir);
        _cleanup_free_ char *text = xmalloc(1 << 20);

        memset(text, 'x', 1 << 20);
        text[(1 << 20) - 1] = 0;
        fixture_open(f);
        db_set_applied(r->db, 0);
        for (int round = 0; round < 2; round++) {
                struct sql_reader *reader = round == 1 ? sql_reader_open(f->path) : NULL;

                for (uint64_t i = 0; i < 100; i++) {
                        struct raft_write w = entries_from(1, 1, i, RAFT_ENTRY_DATA, text);

                        db_rig_write(r, &w, 1);
                        db_rig_wait(r, &r->durable_seq, r->seq);
                }
                if (reader) {
                        assert_true(fixture_file_size(f->wal) > DB_WAL_BYTES_MAX);
                        sql_reader_close(reader);
                } else {
                        assert_true(fixture_file_size(f->wal) <= DB_WAL_BYTES_MAX + (2 << 20));
                }
        }
        db_copy(r->db, 1, copy); /* whose end is looked at, without a write */
        for (int i = 0; i < 4000 && fixture_file_size(f->wal) > 0; i++)
                db_rig_run_ms(r, 5);
        assert_int_equal(fixture_file_size(f->wal), 0);
        assert_int_equal(r->n_copied, 1);
        assert_int_equal(r->failure, 0);
}

/* --- format 1 -----------------------------------------------------------------------------------
 */
static const char old_sql[] =
        "PRAGMA journal_mode=WAL;"
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
        "PRAGMA application_id=1398227282;"
        "PRAGMA user_version=1;";

/* Fills other/swarm.db, of format 1, with the tables of ours and of our log what is above `above`.
 */
static void make_old(struct fixture *f, const char *other, uint64_t above)
{
        _cleanup_free_ char *path = xasprintf("%s/swarm.db", other);
        static const char *const tables[] = {"meta",     "cluster", "nodes", "specs",
                                             "services", "tasks",   "images"};
        _cleanup_buf_ struct buf sql = {0};

        assert_int_equal(io_mkdir_all(other, 0700), 0);
        buf_printf(&sql, "%s ATTACH '%s' AS ours;", old_sql, f->path);
        for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
                buf_printf(&sql, "INSERT INTO main.%s SELECT * FROM ours.%s;", tables[i],
                           tables[i]);
        buf_printf(&sql, "INSERT INTO main.log SELECT idx,1,bytes FROM ours.log WHERE idx>%llu;",
                   (unsigned long long)above);
        sql_run(path, buf_str(&sql));
}

static void assert_changed(struct fixture *f, const char *other, uint64_t base, uint64_t last)
{
        uint64_t id = 0;

        for (int i = 0; i < 2; i++) {
                struct db_rig r = {0};

                assert_int_equal(db_rig_open(&r, other, &f->err), 0);
                assert_true(r.state.id != 0 && (!id || r.state.id == id));
                id = r.state.id;
                assert_int_equal(r.state.term, 1);
                assert_int_equal(r.state.vote, 0);
                assert_int_equal(r.state.base.index, base);
                assert_int_equal(r.state.base.term, base > 0);
                assert_int_equal(r.state.base.members.n, 1);
                assert_int_equal(r.state.base.members.of[0].id, id);
                assert_true(r.state.base.members.of[0].is_voter);
                assert_string_equal(r.state.base.members.of[0].address, "");
                assert_int_equal(r.last, last);
                for (size_t j = 0; j < r.state.n_entries; j++)
                        assert_int_equal(r.state.entries[j].kind, RAFT_ENTRY_DATA);
                assert_int_equal(store_hash(r.store), f->hash_at[last]);
                db_rig_close(&r);
        }
}

static void test_a_file_of_format_1_is_changed(void **state)
{
        struct fixture *f = *state;
        _cleanup_free_ char *none = xasprintf("%s/none", f->dir);
        _cleanup_free_ char *first = xasprintf("%s/first", f->dir);
        _cleanup_free_ char *second = xasprintf("%s/second", f->dir);
        _cleanup_free_ char *third = xasprintf("%s/third", f->dir);

        fixture_open(f);
        f->hash_at[0] = store_hash(f->rig.store);
        make_old(f, none, 0);
        assert_changed(f, none, 0, 0); /* nothing in it */
        fixture_commit(f, 20);
        make_old(f, first, 0); /* no row written yet */
        assert_changed(f, first, 0, 20);
        fixture_wait_covered(f, 20);
        make_old(f, second, 20); /* no entry left */
        assert_changed(f, second, 20, 20);
        fixture_commit(f, 7);
        make_old(f, third, 12);
        assert_changed(f, third, 12, 27);
}

/* --- files that are not ours, or damaged ---------------------------------------------------------
 */
static void assert_refused(struct fixture *f, int code, const char *text)
{
        struct db *db = NULL;

        assert_int_equal(db_open(f->dir, &db, &f->err), -code);
        assert_null(db);
        assert_non_null(strstr(f->err.text, f->dir));
        assert_non_null(strstr(f->err.text, text));
}

static void test_files_that_are_not_ours_are_refused(void **state)
{
        struct fixture *f = *state;
        uint8_t garbage[8192];
        struct stat st;

        memset(garbage, 'x', sizeof(garbage));
        assert_int_equal(io_write_file_atomic(AT_FDCWD, f->path, garbage, sizeof(garbage), 0600),
                         0);
        assert_refused(f, EUCLEAN, "not a database");
        assert_int_equal(unlink(f->path), 0);
        sql_run(f->path, "CREATE TABLE t(a); PRAGMA user_version=1");
        assert_refused(f, EUCLEAN, "not one of swarm's");
        assert_int_equal(sql_int(f->path, "PRAGMA user_version"), 1); /* nor changed */
        assert_int_equal(unlink(f->path), 0);
        fixture_open(f);
        fixture_commit(f, 3);
        fixture_close(f);
        sql_run(f->path, "PRAGMA user_version=3");
        assert_refused(f, EPROTO, "has format 3, this program knows up to 2");
        sql_run(f->path, "PRAGMA user_version=0");
        assert_refused(f, EUCLEAN, "not one of swarm's");
        assert_int_equal(stat(f->path, &st), 0);
}

static void assert_unreadable(struct fixture *f, const char *sql, const char *undo,
                              const char *text, int code)
{
        struct db_state s;
        struct db *db = NULL;

        sql_run(f->path, sql);
        int r = db_open(f->dir, &db, &f->err);
        if (r == 0) {
                r = db_read_state(db, &s, &f->err);
                db_close(db);
        }
        assert_int_equal(r, -code);
        assert_non_null(strstr(f->err.text, f->path));
        assert_non_null(strstr(f->err.text, text));
        sql_run(f->path, undo);
}

static void assert_damaged(struct fixture *f, const char *damage, const char *undo,
                           const char *text)
{
        assert_unreadable(f, damage, undo, text, EUCLEAN);
}

static void assert_newer(struct fixture *f, const char *change, const char *undo, const char *text)
{
        assert_unreadable(f, change, undo, text, EPROTO);
}

static void test_a_log_that_is_damaged_is_refused(void **state)
{
        struct fixture *f = *state;

        fixture_open(f);
        fixture_commit(f, 9);
        fixture_close(f);
        assert_damaged(f, "UPDATE log SET idx=100 WHERE idx=4",
                       "UPDATE log SET idx=4 WHERE idx=100", "log: entry 4 is missing");
        assert_damaged(f, "UPDATE log SET kind=-1 WHERE idx=2", "UPDATE log SET kind=1 WHERE idx=2",
                       "log: entry 2 is damaged");
        assert_newer(f, "UPDATE log SET kind=9 WHERE idx=2", "UPDATE log SET kind=1 WHERE idx=2",
                     "log: entry 2 is of a newer version than this manager: upgrade it");
        assert_damaged(f, "UPDATE raft SET base_members=x'ffff'",
                       "UPDATE raft SET base_members=NULL", "table raft: the row is damaged");
        assert_damaged(f, "UPDATE raft SET base_index=5; DELETE FROM log WHERE idx<3",
                       "UPDATE raft SET base_index=0", "does not fit");
        assert_damaged(f, "INSERT INTO meta VALUES('newest_row',10)", "DELETE FROM meta",
                       "log: entry 1 is missing");
        assert_damaged(f, "DELETE FROM raft", "SELECT 1", "table raft: the row is missing");
}

static void test_one_manager_at_a_time(void **state)
{
        struct fixture *f = *state;

        fixture_open(f);
        assert_refused(f, EBUSY, "in use by another manager");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

#if !defined(__SANITIZE_ADDRESS__) /* which has a heap of its own */
/* --- the heap -----------------------------------------------------------------------------------
 */
static size_t resident_bytes(void)
{
        _cleanup_buf_ struct buf b = {0};
        unsigned long pages = 0;

        assert_int_equal(io_read_file(AT_FDCWD, "/proc/self/statm", 4096, &b), 0);
        assert_int_equal(sscanf(buf_str(&b), "%*u %lu", &pages), 1);
        return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* Frees blocks between some that stay, so that none is at the heap's end. */
static void make_holes(void *blocks[HOLES])
{
        for (size_t i = 0; i < HOLES; i++) {
                blocks[i] = xmalloc(HOLE_BYTES);
                memset(blocks[i], 1, HOLE_BYTES);
        }
        for (size_t i = 0; i < HOLES; i++)
                if (i % 16 != 15)
                        free(STEAL_PTR(blocks[i]));
}

/* Many rows later the log is cut, and what that took is the system's again. */
static void test_memory_is_given_back_after_much_work(void **state)
{
        struct fixture *f = *state;
        static void *blocks[HOLES];

        fixture_open(f);
        f->rig.is_cutting = true;
        make_holes(blocks);
        size_t wanted = resident_bytes() - HOLES * HOLE_BYTES / 2;
        fixture_fill(f, 30000);
        fixture_wait_covered(f, 1);
        for (int i = 0; i < 100 && resident_bytes() > wanted; i++)
                db_rig_run_ms(&f->rig, 100);
        assert_in_range(resident_bytes(), 0, wanted);
        for (size_t i = 0; i < HOLES; i++)
                free(blocks[i]);
}

#endif

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_a_new_file_is_nobodys),
                TEST(test_reopening_gives_back_the_state),
                TEST(test_closing_waits_for_what_is_queued),
                TEST(test_writes_take_effect_in_their_order),
                TEST(test_the_log_ends_where_the_write_says),
                TEST(test_rows_follow_what_is_agreed),
                TEST(test_the_tables_and_the_log_are_a_state_at_any_time),
                TEST(test_changes_while_a_round_runs),
                TEST(test_entries_that_are_not_the_users),
                TEST(test_entries_without_rows_are_covered),
                TEST(test_a_load_that_fails_is_a_failure),
                TEST(test_the_log_is_cut_where_the_tables_cover_it),
                TEST(test_the_wal_recovers_after_a_reader),
                TEST(test_a_file_of_format_1_is_changed),
                TEST(test_files_that_are_not_ours_are_refused),
                TEST(test_a_log_that_is_damaged_is_refused),
                TEST(test_one_manager_at_a_time),
#if !defined(__SANITIZE_ADDRESS__)
                TEST(test_memory_is_given_back_after_much_work),
#endif
        };
        return cmocka_run_group_tests_name("db", tests, NULL, NULL);
}
