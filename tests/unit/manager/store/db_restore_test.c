/*
 * A backup that becomes a manager's database: whole or not at all, whatever the file is, whatever
 * was in the folder, and wherever the process dies.
 */
#include "tests/lib/unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "shared/base/base.h"
#include "tests/lib/db_fixture.h"
#include "tests/lib/sql.h"

#define ENTRIES       40
#define KILL_STEP_US  500
#define KILL_ROUNDS   60
#define FULL_FREE_MAX (1u << 20)

/* A backup, and the folder of the manager that is to begin with it. */
struct restore {
        struct fixture *f;
        char copy[128], dir[128], file[160], restoring[160];
        uint64_t index;
};

static const struct raft_members alone = {.n = 1, .of[0] = {.id = 5, .is_voter = true}};

static void paths_init(struct restore *t, void **state)
{
        memset(t, 0, sizeof(*t));
        t->f = *state;
        snprintf(t->copy, sizeof(t->copy), "%s/copy", t->f->dir);
        snprintf(t->dir, sizeof(t->dir), "%s/new/manager", t->f->dir);
        snprintf(t->file, sizeof(t->file), "%s/swarm.db", t->dir);
        snprintf(t->restoring, sizeof(t->restoring), "%s/restoring", t->dir);
}

/* In a child: threads of the pool must not be there when others are forked. */
static void make_copy(struct restore *t)
{
        struct db_rig *r = &t->f->rig;
        int status;

        fixture_open(t->f);
        fixture_commit(t->f, ENTRIES);
        fixture_wait_covered(t->f, ENTRIES);
        t->index = r->last;
        fixture_close(t->f);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                *r = (struct db_rig){0};
                if (db_rig_open(r, t->f->dir, NULL) < 0)
                        _exit(1);
                db_copy(r->db, 1, t->copy);
                while (r->n_copied == 0)
                        loop_run(r->loop);
                _exit(r->copy_error);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
}

static void restore_init(struct restore *t, void **state)
{
        paths_init(t, state);
        make_copy(t);
}

static int restore(struct restore *t)
{
        return db_restore(t->dir, t->copy, 5, &alone, &t->f->err);
}

static void assert_is_there(struct restore *t)
{
        struct db_rig r = {0};
        char log[176];

        snprintf(log, sizeof(log), "%s-wal", t->file);
        assert_true(fixture_file_size(log) <= 0);
        if (db_rig_open(&r, t->dir, &t->f->err) < 0)
                fail_msg("%s", t->f->err.text);
        assert_int_equal(fixture_file_size(t->restoring), -1); /* a start clears what a kill left */
        assert_int_equal(r.state.id, 5);
        assert_int_equal(r.state.vote, 0);
        assert_int_equal(r.state.base.index, t->index);
        assert_int_equal(r.state.base.members.n, 1);
        assert_int_equal(r.state.n_entries, 0);
        assert_int_equal(r.loaded_hash, t->f->hash_at[t->index]);
        db_rig_close(&r);
}

static void restore_well(struct restore *t)
{
        if (restore(t) < 0)
                fail_msg("%s", t->f->err.text);
        assert_is_there(t);
}

static void test_a_backup_is_begun_with(void **state)
{
        struct restore t;

        restore_init(&t, state);
        assert_int_equal(db_check_copy(t.copy, &t.f->err), 0);
        restore_well(&t);
        /* and is not replaced */
        assert_int_equal(restore(&t), -EEXIST);
        assert_non_null(strstr(t.f->err.text, t.file));
        assert_non_null(strstr(t.f->err.text, "holds a cluster: start without --restore"));
        assert_is_there(&t);
}

/* --- what was there -----------------------------------------------------------------------------
 */
static void put_junk(const char *path)
{
        assert_int_equal(io_write_file_atomic(AT_FDCWD, path, "junk", 4, 0600), 0);
}

static void test_what_an_unfinished_start_left_is_replaced(void **state)
{
        struct restore t;
        struct db *db;
        char junk[192];

        restore_init(&t, state);
        /* a restore that died */
        assert_int_equal(io_mkdir_all(t.restoring, 0700), 0);
        snprintf(junk, sizeof(junk), "%s/swarm.db", t.restoring);
        put_junk(junk);
        /* one that was made, and of which nobody is yet */
        assert_int_equal(close(open(t.file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600)), 0);
        restore_well(&t);

        io_remove_tree(AT_FDCWD, t.dir);
        assert_int_equal(db_open(t.dir, &db, &t.f->err), 0);
        db_close(db);
        restore_well(&t);

        /* the log of one that was removed */
        io_remove_tree(AT_FDCWD, t.dir);
        assert_int_equal(io_mkdir_all(t.dir, 0700), 0);
        snprintf(junk, sizeof(junk), "%s-wal", t.file);
        put_junk(junk);
        restore_well(&t);
}

static void test_what_is_no_database_of_ours_stays(void **state)
{
        struct restore t;

        restore_init(&t, state);
        assert_int_equal(io_mkdir_all(t.dir, 0700), 0);
        put_junk(t.file);
        assert_int_equal(restore(&t), -EEXIST);
        assert_int_equal(fixture_file_size(t.file), 4);
}

static void test_a_manager_that_runs_is_left_alone(void **state)
{
        struct restore t;
        struct db *db;

        restore_init(&t, state);
        assert_int_equal(db_open(t.dir, &db, &t.f->err), 0);
        assert_int_equal(restore(&t), -EBUSY);
        assert_non_null(strstr(t.f->err.text, "in use by another manager"));
        db_close(db);
        restore_well(&t);
}

/* What a restore that died left goes also when another start follows. */
static void test_a_start_clears_what_is_left(void **state)
{
        struct restore t;
        struct db *db;

        paths_init(&t, state);
        assert_int_equal(io_mkdir_all(t.restoring, 0700), 0);
        assert_int_equal(db_open(t.dir, &db, &t.f->err), 0);
        db_close(db);
        assert_int_equal(fixture_file_size(t.restoring), -1);
}

/* --- what is no backup --------------------------------------------------------------------------
 */
static void test_a_damaged_backup_leaves_nothing(void **state)
{
        static const struct {
                const char *sql, *text;
        } rows[] = {
                {"UPDATE specs SET message=x'ff'", "a damaged backup: table specs: row"},
                {"DELETE FROM raft", "a damaged backup: table raft: the row is missing"},
                {"UPDATE meta SET value=30 WHERE key='covered'", "a damaged backup: log:"},
                {"DROP TABLE tasks", "no such table"},
        };
        _cleanup_buf_ struct buf whole = {0};
        struct restore t;

        restore_init(&t, state);
        assert_int_equal(io_read_file(AT_FDCWD, t.copy, 64u << 20, &whole), 0);
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                assert_int_equal(
                        io_write_file_atomic(AT_FDCWD, t.copy, whole.data, whole.len, 0600), 0);
                sql_run(t.copy, rows[i].sql);
                assert_int_equal(db_check_copy(t.copy, &t.f->err), 0);
                assert_true(restore(&t) < 0);
                if (!str_has_prefix(t.f->err.text, t.copy) || !strstr(t.f->err.text, rows[i].text))
                        fail_msg("%s", t.f->err.text);
                assert_int_equal(fixture_file_size(t.dir), -1);
        }
        /* a folder that was there stays, with what was in it */
        assert_int_equal(io_mkdir_all(t.dir, 0700), 0);
        assert_true(restore(&t) < 0);
        assert_int_equal(fixture_file_size(t.file), -1);
        assert_int_equal(fixture_file_size(t.restoring), -1);
        assert_true(fixture_file_size(t.dir) >= 0);
}

/* --- processes that die, disks that are full ----------------------------------------------------
 */
static int wait_for(pid_t pid)
{
        int status;

        assert_int_equal(waitpid(pid, &status, 0), pid);
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* True: it came to its end. */
static bool kill_restore(struct restore *t, int after_us)
{
        struct timespec ts = {0, (long)after_us * 1000};
        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0)
                _exit(restore(t) < 0);
        nanosleep(&ts, NULL);
        kill(pid, SIGKILL);
        int status = wait_for(pid);
        assert_true(status == 0 || status == 128 + SIGKILL);
        return status == 0;
}

static void test_one_that_is_killed_may_be_run_again(void **state)
{
        struct restore t;
        bool is_done = false;

        restore_init(&t, state);
        for (int i = 0; i < KILL_ROUNDS || !is_done; i++) {
                is_done = kill_restore(&t, i * KILL_STEP_US);
                if (fixture_file_size(t.file) < 0)
                        restore_well(&t);
                else
                        assert_is_there(&t);
                io_remove_tree(AT_FDCWD, t.dir);
        }
}

/* In a mount namespace of its own, so that nothing stays. */
static int child_full(struct restore *t, size_t size)
{
        char options[32];
        char parent[128];

        snprintf(options, sizeof(options), "size=%zu", size);
        snprintf(parent, sizeof(parent), "%s/new", t->f->dir);
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
            io_mkdir_all(parent, 0700) < 0 || mount("tmpfs", parent, "tmpfs", 0, options) < 0)
                return 50;
        int r = restore(t);
        if (r == 0)
                return 100;
        if (r != -ENOSPC || !str_has_prefix(t->f->err.text, t->copy))
                return 51;
        return fixture_file_size(t->dir) < 0 ? 0 : 52;
}

static void test_a_full_disk_leaves_nothing(void **state)
{
        struct restore t;
        int r = 0, n_failed = 0;

        restore_init(&t, state);
        for (size_t size = 16384; r != 100; size += 16384) {
                pid_t pid = fork();

                assert_true(pid >= 0);
                if (pid == 0)
                        _exit(child_full(&t, size));
                r = wait_for(pid);
                if (r != 0 && r != 100)
                        fail_msg("size %zu: check %d", size, r);
                n_failed += r == 0;
                assert_true(size < FULL_FREE_MAX * 16);
        }
        assert_true(n_failed > 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_a_backup_is_begun_with),
                TEST(test_what_an_unfinished_start_left_is_replaced),
                TEST(test_what_is_no_database_of_ours_stays),
                TEST(test_a_manager_that_runs_is_left_alone),
                TEST(test_a_start_clears_what_is_left),
                TEST(test_a_damaged_backup_leaves_nothing),
                TEST(test_one_that_is_killed_may_be_run_again),
                TEST(test_a_full_disk_leaves_nothing),
        };
        return cmocka_run_group_tests_name("db_restore", tests, NULL, NULL);
}
