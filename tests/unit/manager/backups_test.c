/* Copies for clients: their pieces, who gets none and why, and that no file is left. */
#include "tests/lib/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "manager/backups.h"
#include "shared/base/base.h"
#include "tests/lib/db_fixture.h"

#define PIECE 5000

struct rig {
        struct fixture *f;
        struct backups *backups;
        /* The last answer. */
        uint64_t connection, number, offset, total;
        int code;
        char error[128];
        struct buf bytes; /* of all pieces */
        int n_answers, n_copied;
};

static void on_response(void *arg, uint64_t connection, const Swarm__Response *m)
{
        struct rig *r = arg;

        r->n_answers++;
        r->connection = connection;
        r->number = m->number;
        r->code = (int)m->code;
        snprintf(r->error, sizeof(r->error), "%s", m->error);
        if (m->code)
                return;
        assert_int_equal(m->kind_case, SWARM__RESPONSE__KIND_BLOB_DATA);
        r->offset = m->blob_data->offset;
        r->total = m->blob_data->total;
        buf_append(&r->bytes, m->blob_data->data.data, m->blob_data->data.len);
}

static void rig_open(struct rig *r, void **state)
{
        *r = (struct rig){.f = *state};
        fixture_open(r->f);
        fixture_commit(r->f, 40);
        r->backups = backups_new(&(struct backups_config){r->f->rig.db, r->f->dir, r, on_response});
}

static void rig_close(struct rig *r)
{
        fixture_close(r->f);
        backups_free(r->backups);
        buf_done(&r->bytes);
}

static void get(struct rig *r, uint64_t connection, uint64_t number, uint64_t offset, uint32_t max)
{
        Swarm__BackupGet m = SWARM__BACKUP_GET__INIT;

        m.offset = offset;
        m.max_bytes = max;
        backups_on_get(r->backups, connection, number, &m);
}

/* The copy that is being made is there: as the driver hears it. */
static void wait_made(struct rig *r)
{
        struct db_rig *db = &r->f->rig;

        while (db->n_copied == r->n_copied)
                loop_run(db->loop);
        r->n_copied = db->n_copied;
        assert_true(backups_on_copied(r->backups, db->copied_tag, db->copy_error, db->copied_size));
}

static void assert_no_file(struct rig *r)
{
        for (int i = 0; i < BACKUPS_MAX; i++) {
                _cleanup_free_ char *path = xasprintf("%s/backup-%d.db", r->f->dir, i);

                assert_int_equal(fixture_file_size(path), -1);
        }
}

static void assert_refused(struct rig *r, uint64_t connection, int code, const char *text)
{
        assert_int_equal(r->connection, connection);
        assert_int_equal(r->code, code);
        if (!strstr(r->error, text))
                fail_msg("%s", r->error);
}

static void test_pieces_are_the_copy(void **state)
{
        struct rig r;

        rig_open(&r, state);
        get(&r, 7, 1, 0, PIECE);
        assert_int_equal(r.n_answers, 0);
        wait_made(&r);
        assert_no_file(&r);
        for (uint64_t number = 2; r.bytes.len < r.total; number++) {
                assert_int_equal(r.code, 0);
                assert_int_equal(r.number, number - 1);
                assert_int_equal(r.connection, 7);
                get(&r, 7, number, r.bytes.len, PIECE);
                assert_int_equal(r.n_answers, number);
        }
        assert_int_equal(r.bytes.len, r.f->rig.copied_size);
        _cleanup_free_ char *path = xasprintf("%s/taken", r.f->dir);
        assert_int_equal(io_write_file_atomic(AT_FDCWD, path, r.bytes.data, r.bytes.len, 0600), 0);
        assert_int_equal(db_check_copy(path, &r.f->err), 0);
        /* it went with its last byte */
        get(&r, 7, 99, PIECE, PIECE);
        assert_refused(&r, 7, ESTALE, "the copy went with the manager that led");
        rig_close(&r);
}

static void test_pieces_that_are_not_there(void **state)
{
        struct rig r;

        rig_open(&r, state);
        get(&r, 7, 1, PIECE, PIECE);
        assert_refused(&r, 7, ESTALE, "the copy went");
        get(&r, 7, 2, 0, 0);
        assert_refused(&r, 7, EINVAL, "no such piece");
        get(&r, 7, 3, 0, PIECE);
        get(&r, 7, 4, 0, PIECE);
        assert_refused(&r, 7, EBUSY, "it is being made");
        wait_made(&r);
        get(&r, 7, 5, r.total, PIECE);
        assert_refused(&r, 7, EINVAL, "no such piece");
        get(&r, 8, 6, PIECE, PIECE); /* another one's */
        assert_refused(&r, 8, ESTALE, "the copy went");
        rig_close(&r);
        assert_no_file(&r);
}

static void test_clients_that_leave_make_room(void **state)
{
        struct rig r;

        rig_open(&r, state);
        for (uint64_t i = 1; i <= 2 * BACKUPS_MAX; i++) {
                get(&r, i, i, 0, PIECE);
                if (i % 2)
                        backups_on_client_gone(r.backups, i); /* before it is made */
                wait_made(&r);
                assert_int_equal(r.n_answers, i / 2);
                backups_on_client_gone(r.backups, i);
        }
        assert_no_file(&r);
        for (uint64_t i = 1; i <= BACKUPS_MAX; i++)
                get(&r, i, i, 0, PIECE);
        get(&r, 99, 1, 0, PIECE);
        assert_refused(&r, 99, EBUSY, "others are being made");
        rig_close(&r); /* what is under way is given up */
        assert_no_file(&r);
}

static void test_a_copy_that_cannot_be_made(void **state)
{
        _cleanup_free_ char *path = NULL;
        struct rig r;

        rig_open(&r, state);
        path = xasprintf("%s/backup-0.db", r.f->dir);
        for (uint64_t i = 1; i <= BACKUPS_MAX + 1; i++) { /* each gives its place back */
                assert_int_equal(io_mkdir_all(path, 0700), 0);
                get(&r, i, i, 0, PIECE);
                wait_made(&r);
                assert_refused(&r, i, EEXIST, "the copy cannot be made");
        }
        io_remove_tree(AT_FDCWD, path);
        assert_true(backups_on_copied(r.backups, BACKUPS_MAX + 1, 0, 1) == false);
        rig_close(&r);
}

static void test_what_an_earlier_process_left_goes(void **state)
{
        struct fixture *f = *state;
        _cleanup_free_ char *path = xasprintf("%s/backup-1.db", f->dir);
        struct rig r;

        assert_int_equal(io_write_file_atomic(AT_FDCWD, path, "x", 1, 0600), 0);
        rig_open(&r, state);
        assert_no_file(&r);
        rig_close(&r);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_pieces_are_the_copy),
                TEST(test_pieces_that_are_not_there),
                TEST(test_clients_that_leave_make_room),
                TEST(test_a_copy_that_cannot_be_made),
                TEST(test_what_an_earlier_process_left_goes),
        };
        return cmocka_run_group_tests_name("backups", tests, NULL, NULL);
}
