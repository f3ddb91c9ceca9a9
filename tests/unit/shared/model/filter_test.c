/* By what lists may be filtered, and how the rest is refused. */
#include "tests/lib/unit.h"

#include <errno.h>
#include <string.h>

#include "shared/base/base.h"
#include "shared/model/filter.h"
#include "shared/model/model.h"

static void refuses(const struct filter_key *keys, const char *key, const char *value,
                    const char *text)
{
        struct err err = {0};

        assert_int_equal(filter_check(keys, key, value, &err), -EINVAL);
        assert_string_equal(err.text, text);
}

static void test_filters(void **state)
{
        (void)state;
        assert_int_equal(filter_check(filter_service_keys, "name", "any thing", NULL), 0);
        assert_int_equal(filter_check(filter_service_keys, "mode", "global", NULL), 0);
        assert_int_equal(filter_check(filter_task_keys, "desired-state", "Running", NULL), 0);
        assert_int_equal(filter_check(filter_event_keys, "event", "orphaned", NULL), 0);
        refuses(filter_service_keys, "mode", "foo",
                "invalid filter 'mode=foo': must be replicated or global");
        refuses(filter_service_keys, "mode", "replicated|global",
                "invalid filter 'mode=replicated|global': must be replicated or global");
        refuses(filter_service_keys, "mode", "",
                "invalid filter 'mode=': must be replicated or global");
        refuses(filter_service_keys, "role", "worker",
                "invalid filter 'role': must be id, label, mode or name");
}

/* Each value is a name that the objects bear. */
static void test_values_are_names(void **state)
{
        enum service_mode mode;
        enum node_role role;

        (void)state;
        assert_int_equal(service_mode_parse("replicated", &mode), 0);
        assert_int_equal(service_mode_parse("global", &mode), 0);
        assert_int_equal(node_role_parse("worker", &role), 0);
        assert_int_equal(node_role_parse("manager", &role), 0);
        for (enum task_state s = TASK_RUNNING; s <= TASK_ORPHANED; s += 64)
                if (s != TASK_REMOVE)
                        assert_int_equal(
                                filter_check(filter_event_keys, "event", task_state_name(s), NULL),
                                0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_filters),
                cmocka_unit_test(test_values_are_names),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
