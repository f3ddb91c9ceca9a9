/* What the supervisor's checks do with their argument. */
#include <errno.h>

#include "agent/shim/shim_internal.h"
#include "shared/base/mem.h"
#include "tests/lib/unit.h"

static jmp_buf failed;
static int calls, told;

/* Instead of child.c's, which tells the parent and ends the process. */
_Noreturn void child_fail(int exit_code, int err, const char *what, const char *name)
{
        assert_int_equal(exit_code, 125);
        assert_string_equal(what, "mount");
        assert_string_equal(name, "/proc");
        told = err;
        longjmp(failed, 1);
}

/* Another result each time, as of a call that has an effect. */
static int call(void)
{
        return ++calls == 1 ? -EBUSY : 0;
}

static void test_the_argument_is_evaluated_once(void **state UNUSED)
{
        if (setjmp(failed) == 0)
                child_check(call(), "mount", "/proc");
        assert_int_equal(calls, 1);
        assert_int_equal(told, EBUSY);
        child_check(call(), "mount", "/proc");
        assert_int_equal(calls, 2);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_the_argument_is_evaluated_once),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
