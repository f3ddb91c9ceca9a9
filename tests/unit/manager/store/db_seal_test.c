/*
 * What is secret in the database, sealed: nothing of it is to be found in the files, also not of
 * what was there before; with the key all is as it was; copies go both ways.
 */
#include "tests/lib/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "manager/identity/identity.h"
#include "shared/base/base.h"
#include "shared/base/buf.h"
#include "shared/base/io.h"
#include "shared/base/mem.h"
#include "shared/seal/seal.h"
#include "shared/wire/wire.h"
#include "tests/lib/db_fixture.h"
#include "tests/lib/sql.h"

#define BYTES_MAX (256u << 20)

static const uint8_t key[SEAL_KEY_BYTES] = {1, 2, 3}, other_key[SEAL_KEY_BYTES] = {4};
static const uint8_t wrapped[DB_WRAPPED_BYTES] = {0, 's', 'w', 'm', 's', 'e', 'a', 'l', 9};
static const char before[] = "secret that was rotated away", now[] = "the secret that is in force";

/* A cluster with that secret, agreed with other changes. */
static void put_secret(struct fixture *f, const char *secret)
{
        struct net_keys keys;

        assert_int_equal(net_keys_make(&keys), 0);
        Swarm__Cluster *cluster = cluster_make(&keys, 1);
        free(cluster->worker_secret);
        cluster->worker_secret = xstrdup(secret);
        store_put_cluster(f->rig.store, &cluster);
        fixture_commit(f, 1);
}

static bool file_has(const char *path, const char *text)
{
        _cleanup_buf_ struct buf b = {0};

        return io_read_file(AT_FDCWD, path, BYTES_MAX, &b) == 0 &&
               memmem(b.data, b.len, text, strlen(text));
}

static bool has(struct fixture *f, const char *text)
{
        return file_has(f->path, text) || file_has(f->wal, text);
}

static void fill(struct fixture *f)
{
        f->key = key;
        fixture_open(f);
        f->rig.is_cutting = true;
        for (int i = 0; i < 60; i++) /* the log is cut behind them: many free pages have it */
                put_secret(f, before);
        fixture_wait_covered(f, f->rig.last);
        put_secret(f, now);
        fixture_commit(f, 3);
        fixture_wait_covered(f, f->rig.last);
        assert_true(has(f, before)); /* else nothing is shown below */
        assert_true(has(f, now));
}

static int seal(struct fixture *f, const uint8_t *wrapped_or_null)
{
        struct db_rig *r = &f->rig;
        int n = r->n_sealed;

        db_seal(r->db, wrapped_or_null);
        assert_int_equal(r->n_sealed, n); /* never inside the call */
        while (r->n_sealed == n && !r->failure)
                loop_run(r->loop);
        assert_int_equal(r->failure, 0);
        return r->seal_error;
}

static void assert_nothing_plain(struct fixture *f)
{
        assert_false(has(f, before));
        assert_false(has(f, now));
}

/* With that key it cannot be read. */
static void assert_closed_to(struct fixture *f, const uint8_t *other)
{
        struct db_rig r = {.key = other};

        assert_true(db_rig_open(&r, f->dir, &f->err) < 0);
        if (!strstr(f->err.text, "sealed"))
                fail_msg("%s", f->err.text);
}

static void reopen(struct fixture *f, const uint8_t *new_key, const uint8_t *new_wrapped)
{
        uint64_t hash = store_hash(f->rig.store);

        fixture_close(f);
        f->key = new_key;
        f->wrapped = new_wrapped;
        fixture_open(f);
        assert_int_equal(store_hash(f->rig.store), hash);
        assert_string_equal(store_cluster(f->rig.store)->msg->worker_secret, now);
}

static void test_sealed_and_opened(void **state)
{
        struct fixture *f = *state;

        fill(f);
        assert_int_equal(seal(f, wrapped), 0);
        assert_nothing_plain(f);
        put_secret(f, before); /* what comes later is written so at once */
        put_secret(f, now);
        fixture_wait_covered(f, f->rig.last);
        assert_nothing_plain(f);
        fixture_reload(f);
        uint64_t hash = store_hash(f->rig.store);
        fixture_close(f);
        assert_nothing_plain(f);
        assert_closed_to(f, NULL);
        assert_closed_to(f, other_key);
        f->wrapped = wrapped;
        fixture_open(f);
        assert_int_equal(store_hash(f->rig.store), hash);
        fixture_commit(f, 2);
        assert_nothing_plain(f);
        assert_int_equal(seal(f, wrapped), 0); /* again: nothing to do */
        /* Without autolock a version that knows of no seals can read it. */
        assert_int_equal(seal(f, NULL), 0);
        assert_true(has(f, now));
        assert_int_equal(sql_int(f->path, "SELECT count(*) FROM log WHERE hex(bytes) LIKE '00%'"),
                         0);
        assert_int_equal(
                sql_int(f->path, "SELECT count(*) FROM cluster WHERE hex(message) LIKE '00%'"), 0);
        reopen(f, NULL, NULL);
        fixture_commit(f, 2);
}

/* Cut short, it goes on after the next start. */
static void test_a_start_goes_on(void **state)
{
        struct fixture *f = *state;

        fill(f);
        reopen(f, key, wrapped);
        assert_true(has(f, now)); /* as it was left */
        assert_int_equal(seal(f, wrapped), 0);
        assert_nothing_plain(f);
}

static void test_a_reader_in_the_way(void **state)
{
        struct fixture *f = *state;

        fill(f);
        struct sql_reader *reader = sql_reader_open(f->path);
        assert_int_equal(seal(f, wrapped), EBUSY);
        fixture_commit(f, 2);
        sql_reader_close(reader);
        assert_int_equal(seal(f, wrapped), 0);
        assert_nothing_plain(f);
}

/* --- copies -------------------------------------------------------------------------------------
 */
static char *make_copy(struct fixture *f)
{
        char *path = xasprintf("%s/copy", f->dir);
        int n = f->rig.n_copied;

        db_copy(f->rig.db, 1, path);
        while (f->rig.n_copied == n)
                loop_run(f->rig.loop);
        assert_int_equal(f->rig.copy_error, 0);
        return path;
}

/* The copy as the state of a manager that has that key, and seals or does not; its folder. */
static char *install(struct fixture *f, const char *copy, const uint8_t *to_wrapped)
{
        char *dir = xasprintf("%s/other", f->dir);
        _cleanup_buf_ struct buf bytes = {0};
        struct db_rig r = {.key = key, .wrapped = to_wrapped};
        struct raft_base base = {.index = f->rig.last, .term = 1};

        io_remove_tree(AT_FDCWD, dir);
        assert_int_equal(io_read_file(AT_FDCWD, copy, BYTES_MAX, &bytes), 0);
        assert_int_equal(db_rig_open(&r, dir, &f->err), 0);
        db_set_store(r.db, NULL);
        store_free(STEAL_PTR(r.store));
        struct raft_write chunk = {.term = 1, .chunk = raft_bytes_new(bytes.data, bytes.len)};
        struct raft_write put = {.term = 1, .install = xmemdup(&base, sizeof(base))};
        db_rig_write(&r, &chunk, base.index);
        db_rig_write(&r, &put, base.index);
        db_load(r.db);
        while (!r.loaded && !r.failure)
                loop_run(r.loop);
        if (r.failure)
                fail_msg("%s", r.failure_text);
        assert_int_equal(store_hash(r.loaded), store_hash(f->rig.store));
        store_free(STEAL_PTR(r.loaded));
        db_rig_close(&r);
        return dir;
}

static bool other_has(const char *dir, const char *text)
{
        _cleanup_free_ char *path = xasprintf("%s/swarm.db", dir);
        _cleanup_free_ char *wal = xasprintf("%s/swarm.db-wal", dir);

        return file_has(path, text) || file_has(wal, text);
}

static void test_copies(void **state)
{
        static const struct {
                bool from_sealed, to_sealed;
        } cases[] = {{false, false}, {false, true}, {true, false}, {true, true}};
        struct fixture *f = *state;

        fill(f);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                assert_int_equal(seal(f, cases[i].from_sealed ? wrapped : NULL), 0);
                _cleanup_free_ char *copy = make_copy(f);
                assert_int_equal(file_has(copy, now), !cases[i].from_sealed);
                assert_false(file_has(copy, before));
                _cleanup_free_ char *dir = install(f, copy, cases[i].to_sealed ? wrapped : NULL);
                assert_int_equal(other_has(dir, now), !cases[i].to_sealed);
                unlink(copy);
        }
}

static void test_a_copy_has_its_key(void **state)
{
        struct fixture *f = *state;

        fill(f);
        for (int sealed = 0; sealed < 2; sealed++) {
                assert_int_equal(seal(f, sealed ? wrapped : NULL), 0);
                _cleanup_free_ char *copy = make_copy(f);
                _cleanup_free_ char *dir = xasprintf("%s/restored%d", f->dir, sealed);
                _cleanup_free_ char *path = xasprintf("%s/swarm.db", dir);
                _cleanup_buf_ struct buf found = {0};
                struct db *db;

                assert_int_equal(io_mkdir_all(dir, 0700), 0);
                assert_int_equal(rename(copy, path), 0);
                assert_int_equal(db_open(dir, &db, &f->err), 0);
                assert_int_equal(db_copied_key(db, &found, &f->err), 0);
                assert_int_equal(found.len, sealed ? sizeof(wrapped) : 0);
                if (sealed)
                        assert_memory_equal(found.data, wrapped, sizeof(wrapped));
                assert_int_equal(db_forget_copied_key(db, &f->err), 0);
                buf_clear(&found);
                assert_int_equal(db_copied_key(db, &found, &f->err), 0);
                assert_int_equal(found.len, 0);
                db_close(db);
        }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_sealed_and_opened),   TEST(test_a_start_goes_on),
                TEST(test_a_reader_in_the_way), TEST(test_copies),
                TEST(test_a_copy_has_its_key),
        };

        return cmocka_run_group_tests_name("db_seal", tests, NULL, NULL);
}
