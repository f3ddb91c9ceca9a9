/*
 * The single voter over the real database: what is acknowledged is there after kill -9, a full
 * disk acknowledges nothing, and files that are not ours are refused.
 */
#include "tests/lib/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "manager/consensus/single.h"
#include "shared/base/base.h"
#include "tests/lib/store_ops.h"

#define KILL_ROUNDS 16

/* What a committing process tells of each entry. */
struct told {
        uint64_t index, hash;
        bool is_durable; /* else: about to be proposed */
};

struct rig {
        struct loop *loop;
        struct store *store;
        struct db *db;
        struct consensus *consensus;
        struct rng rng;
        uint64_t committed, proposed, hash, stop_at;
        int out; /* told are written here; -1: none */
        int failure;
        bool is_leader;
};

static void tell(struct rig *r, uint64_t index, bool is_durable)
{
        struct told t = {.index = index, .hash = r->hash, .is_durable = is_durable};

        if (r->out >= 0 && io_write_all(r->out, &t, sizeof(t)) < 0)
                abort();
}

static void propose(struct rig *r)
{
        struct buf entry = {0};

        while (store_change_count(r->store) < 20)
                store_operate(r->store, &r->rng, (int64_t)r->committed);
        store_take_changes(r->store, 1, &entry);
        r->hash = store_hash(r->store);
        tell(r, r->committed + 1, false);
        r->proposed = (uint64_t)r->consensus->ops->propose(r->consensus, &entry);
        buf_done(&entry);
}

static void on_commit(void *arg, uint64_t index)
{
        struct rig *r = arg;

        if (index != r->proposed)
                abort();
        r->committed = index;
        tell(r, index, true);
        if (r->failure == 0 && r->committed < r->stop_at)
                propose(r);
        else
                loop_stop(r->loop);
}

static void on_role(void *arg, enum consensus_role role)
{
        struct rig *r = arg;

        r->is_leader = role == CONSENSUS_LEADER;
        if (r->committed < r->stop_at)
                propose(r);
        else
                loop_stop(r->loop);
}

static void on_failure(void *arg, int error)
{
        struct rig *r = arg;

        r->failure = error;
        loop_stop(r->loop);
}

static int rig_open(struct rig *r, const char *dir, struct err *err)
{
        struct consensus_events events = {r, on_commit, on_role, on_failure};

        r->store = store_new();
        int result = db_open(dir, r->store, &r->db, err);
        if (result < 0) {
                store_free(r->store);
                return result;
        }
        r->committed = db_last_index(r->db);
        r->hash = store_hash(r->store);
        r->loop = loop_new();
        r->consensus = consensus_single_new(r->loop, r->db, &events);
        return 0;
}

static void rig_close(struct rig *r)
{
        r->consensus->ops->close(r->consensus);
        db_close(r->db);
        loop_free(r->loop);
        store_free(r->store);
}

static char *make_dir(void)
{
        char *dir = xstrdup("/tmp/swarm-db-test-XXXXXX");

        assert_non_null(mkdtemp(dir));
        return dir;
}

static void drop_dir(char *dir)
{
        io_remove_tree(AT_FDCWD, dir);
        free(dir);
}

static void run(const char *dir, uint64_t seed, uint64_t entries, uint64_t *ret_hash)
{
        struct rig r = {.rng = {seed}, .out = -1};
        struct err err = {0};

        assert_int_equal(rig_open(&r, dir, &err), 0);
        r.stop_at = r.committed + entries;
        loop_run(r.loop);
        assert_int_equal(r.failure, 0);
        *ret_hash = store_hash(r.store);
        rig_close(&r);
}

static void test_reopening_gives_back_the_state(void **state UNUSED)
{
        char *dir = make_dir();
        _cleanup_free_ char *path = xasprintf("%s/swarm.db", dir);
        uint64_t hash = 0, again = 0;
        struct stat st;

        for (uint64_t i = 0; i < 5; i++) {
                run(dir, i + 1, 30, &hash);
                run(dir, 0, 0, &again);
                assert_int_equal(hash, again);
        }
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
        drop_dir(dir);
}

static void test_an_entry_is_refused_before_leading(void **state UNUSED)
{
        char *dir = make_dir();
        struct rig r = {.out = -1};
        struct buf entry = {0};

        assert_int_equal(rig_open(&r, dir, NULL), 0);
        buf_puts(&entry, "x");
        assert_int_equal(r.consensus->ops->propose(r.consensus, &entry), -EAGAIN);
        assert_int_equal(entry.len, 1);
        buf_done(&entry);
        loop_run(r.loop);
        assert_true(r.is_leader);
        rig_close(&r);
        drop_dir(dir);
}

/* --- killed -------------------------------------------------------------------------------------
 */
static void child_commits(const char *dir, uint64_t seed, int out)
{
        struct rig r = {.rng = {seed}, .out = out, .stop_at = UINT64_MAX};
        struct err err = {0};

        if (rig_open(&r, dir, &err) < 0) {
                fprintf(stderr, "# %s\n", err.text);
                _exit(1);
        }
        loop_run(r.loop);
        _exit(2);
}

/* The hash that the entry had when it was proposed; and what was acknowledged last. */
static uint64_t read_told(int fd, uint64_t *acknowledged, uint64_t recovered)
{
        uint64_t hash = 0;
        struct told t;

        while (io_read_exact(fd, &t, sizeof(t)) == 0) {
                if (t.is_durable)
                        *acknowledged = t.index;
                if (t.index == recovered)
                        hash = t.hash;
        }
        return hash;
}

static void test_what_was_acknowledged_survives_kill(void **state UNUSED)
{
        char *dir = make_dir();
        uint64_t acknowledged = 0, hash_before = 0;
        struct rng rng = {42};
        _cleanup_free_ char *path = xasprintf("%s/told", dir);

        for (int round = 0; round < KILL_ROUNDS; round++) {
                int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
                pid_t pid = fork();

                assert_true(fd >= 0 && pid >= 0);
                if (pid == 0)
                        child_commits(dir, 1000 + (uint64_t)round, fd);
                struct timespec ts = {0, (long)(50 + rng_below(&rng, 800)) * 1000000};
                nanosleep(&ts, NULL);
                kill(pid, SIGKILL);
                int status;
                assert_int_equal(waitpid(pid, &status, 0), pid);
                assert_true(WIFSIGNALED(status));

                struct store *s = store_new();
                struct db *db = NULL;
                struct err err = {0};
                int r = db_open(dir, s, &db, &err);
                if (r < 0)
                        print_error("round %d: %s\n", round, err.text);
                assert_int_equal(r, 0);
                uint64_t recovered = db_last_index(db);
                lseek(fd, 0, SEEK_SET);
                uint64_t hash = read_told(fd, &acknowledged, recovered);
                assert_true(recovered == acknowledged || recovered == acknowledged + 1);
                assert_int_equal(store_hash(s), hash ? hash : hash_before);
                hash_before = store_hash(s);
                db_close(db);
                store_free(s);
                close(fd);
        }
        assert_true(acknowledged > KILL_ROUNDS);
        drop_dir(dir);
}

/* --- a disk that fails ---------------------------------------------------------------------------
 */
/* In a child: commits until the disk fails; then `heal`, and all that was acknowledged is there.
 * Returns 0, or the number of the check that failed. */
static int fail_and_heal(const char *dir, uint64_t entries_max, void (*heal)(const char *dir),
                         int *ret_failure)
{
        struct rig r = {.rng = {7}, .out = -1, .stop_at = entries_max}, again = {.out = -1};
        struct err err = {0};

        *ret_failure = 0;
        if (rig_open(&r, dir, &err) == 0) {
                loop_run(r.loop);
                *ret_failure = r.failure;
                struct buf entry = {0};
                if (r.failure && r.consensus->ops->propose(r.consensus, &entry) >= 0)
                        return 1;
                rig_close(&r);
        } else {
                *ret_failure = err.code;
        }
        heal(dir);
        if (rig_open(&again, dir, &err) < 0) {
                fprintf(stderr, "# %s\n", err.text);
                return 2;
        }
        /* The failed commit itself may or may not have reached the disk. */
        if (again.committed < r.committed || again.committed > r.committed + 1)
                return 3;
        if (r.proposed && again.committed == r.proposed && again.hash != r.hash)
                return 4;
        rig_close(&again);
        return 0;
}

static void raise_limit(const char *dir UNUSED)
{
        struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};

        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_FSIZE, &limit) < 0)
                abort();
}

static int in_child(int (*fn)(const char *dir, size_t n), const char *dir, size_t n)
{
        pid_t pid = fork();
        int status;

        assert_true(pid >= 0);
        if (pid == 0)
                _exit(fn(dir, n));
        assert_int_equal(waitpid(pid, &status, 0), pid);
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Files may grow to n bytes only. 100: the limit was not reached. */
static int child_limited(const char *dir, size_t n)
{
        struct rlimit limit;
        int failure;

        signal(SIGXFSZ, SIG_IGN);
        getrlimit(RLIMIT_FSIZE, &limit);
        limit.rlim_cur = n;
        setrlimit(RLIMIT_FSIZE, &limit);
        int r = fail_and_heal(dir, 60, raise_limit, &failure);
        return r ? r : failure ? 0 : 100;
}

static void test_a_write_that_fails_anywhere_is_not_acknowledged(void **state UNUSED)
{
        int r = 0;

        /* Every limit fails another call, from the first page to none at all. */
        for (size_t n = 0; r != 100; n += 12288) {
                char *dir = make_dir();

                r = in_child(child_limited, dir, n);
                if (r != 0 && r != 100)
                        print_error("limit %zu: check %d\n", n, r);
                assert_true(r == 0 || r == 100);
                assert_true(n < (64u << 20));
                drop_dir(dir);
        }
}

static void grow(const char *dir)
{
        if (mount("tmpfs", dir, "tmpfs", MS_REMOUNT, "size=256m") < 0)
                abort();
}

static int child_full_disk(const char *dir, size_t n UNUSED)
{
        int failure;

        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
            mount("tmpfs", dir, "tmpfs", 0, "size=1m") < 0)
                return 50;
        int r = fail_and_heal(dir, 100000, grow, &failure);
        return r ? r : failure == ENOSPC ? 0 : 51;
}

static void test_a_full_disk_is_told(void **state UNUSED)
{
        char *dir = make_dir();

        assert_int_equal(in_child(child_full_disk, dir, 0), 0);
        drop_dir(dir);
}

/* --- files that are not ours ---------------------------------------------------------------------
 */
static void assert_refused(const char *dir, int code, const char *text)
{
        struct store *s = store_new();
        struct db *db = NULL;
        struct err err = {0};

        assert_int_equal(db_open(dir, s, &db, &err), -code);
        assert_null(db);
        assert_non_null(strstr(err.text, text));
        store_free(s);
}

static void patch(const char *dir, long offset, const void *bytes, size_t n)
{
        _cleanup_free_ char *path = xasprintf("%s/swarm.db", dir);
        _cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

        assert_int_equal(pwrite(fd, bytes, n, offset), (ssize_t)n);
}

static void test_files_that_are_not_ours_are_refused(void **state UNUSED)
{
        char *dir = make_dir();
        uint8_t garbage[8192];
        uint64_t hash;

        memset(garbage, 'x', sizeof(garbage));
        patch(dir, 0, garbage, sizeof(garbage));
        assert_refused(dir, EUCLEAN, "not a database");
        drop_dir(dir);

        dir = make_dir();
        run(dir, 1, 3, &hash);
        patch(dir, 60, "\0\0\0\2", 4); /* user_version: section 1.3 of SQLite's file format */
        assert_refused(dir, EPROTO, "has format 2, this program knows up to 1");
        patch(dir, 60, "\0\0\0\0", 4);
        assert_refused(dir, EUCLEAN, "not one of swarm's");
        drop_dir(dir);
}

static void test_one_manager_at_a_time(void **state UNUSED)
{
        char *dir = make_dir();
        struct rig r = {.out = -1};

        assert_int_equal(rig_open(&r, dir, NULL), 0);
        assert_refused(dir, EBUSY, "in use by another manager");
        rig_close(&r);
        drop_dir(dir);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_reopening_gives_back_the_state),
                cmocka_unit_test(test_an_entry_is_refused_before_leading),
                cmocka_unit_test(test_what_was_acknowledged_survives_kill),
                cmocka_unit_test(test_a_write_that_fails_anywhere_is_not_acknowledged),
                cmocka_unit_test(test_a_full_disk_is_told),
                cmocka_unit_test(test_files_that_are_not_ours_are_refused),
                cmocka_unit_test(test_one_manager_at_a_time),
        };
        return cmocka_run_group_tests_name("single", tests, NULL, NULL);
}
