/* A manager's folder goes as a whole, or not at all. */
#include "tests/lib/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "manager/store/db.h"
#include "shared/base/base.h"
#include "shared/base/io.h"
#include "shared/base/mem.h"

static void test_remove(void **state UNUSED)
{
        char root[] = "/tmp/swarm-remove-XXXXXX";
        struct err err = {0};
        struct db *db;

        assert_non_null(mkdtemp(root));
        _cleanup_free_ char *dir = xasprintf("%s/manager", root);
        _cleanup_free_ char *blobs = xasprintf("%s/manager/blobs/a", root);
        _cleanup_free_ char *earlier = xasprintf("%s/manager.removed/b", root);
        _cleanup_free_ char *gone = xasprintf("%s/manager.removed", root);
        assert_int_equal(db_remove(dir, &err), -ENOENT);
        assert_int_equal(io_mkdir_all(blobs, 0700), 0);
        assert_int_equal(io_mkdir_all(earlier, 0700), 0);
        assert_int_equal(db_open(dir, &db, &err), 0);
        assert_int_equal(db_remove(dir, &err), -EBUSY);
        assert_non_null(strstr(err.text, "in use by another manager"));
        assert_int_equal(access(blobs, F_OK), 0);
        db_close(db);
        assert_int_equal(db_remove(dir, &err), 0);
        assert_int_equal(access(dir, F_OK), -1);
        assert_int_equal(access(gone, F_OK), -1);
        assert_int_equal(rmdir(root), 0); /* nothing is left in it */
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_remove),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
