/* Real containers: ends, errors, isolation. */
#include <cmocka.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "shared/base/base.h"
#include "tests/lib/container_rig.h"

static struct rig rig;

static void test_exit_codes(void **state)
{
        (void)state;
        assert_int_equal(rig_run(&rig, "exit 0"), 0);
        assert_int_equal(rig_run(&rig, "exit 1"), 1);
        assert_int_equal(rig_run(&rig, "exit 255"), 255);
        assert_int_equal(rig_run(&rig, "kill -TERM $$; sleep 1; exit 7"), 7);
}

static int set_up(void **state)
{
        (void)state;
        return rig_open(&rig, NULL) ? 0 : -1;
}

static int tear_down(void **state)
{
        (void)state;
        rig_close(&rig);
        return 0;
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_exit_codes),
        };

        return cmocka_run_group_tests(tests, set_up, tear_down);
}
