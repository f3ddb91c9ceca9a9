/* Which version two programs speak, and what is said when there is none. */
#include "tests/lib/unit.h"

#include <errno.h>

#include "shared/base/base.h"
#include "shared/model/protocol.h"

static void test_what_is_spoken(void **state UNUSED)
{
        static const struct {
                struct protocol_range theirs, ours;
                uint32_t spoken;
                const char *text; /* when nothing is */
        } cases[] = {
                {{1, 1}, {1, 1}, 1, NULL},
                {{1, 3}, {2, 2}, 2, NULL},
                {{2, 2}, {1, 3}, 2, NULL},
                {{1, 2}, {2, 5}, 2, NULL},
                {{3, 4},
                 {1, 2},
                 0,
                 "the agent speaks test protocol 3 to 4, this manager 1 to 2: "
                 "upgrade this manager"},
                {{1, 1},
                 {2, 2},
                 0,
                 "the agent speaks test protocol 1, this manager 2: upgrade the "
                 "agent"},
                {{0, 0},
                 {1, 2},
                 0,
                 "the agent speaks test protocol 0, this manager 1 to 2: "
                 "upgrade the agent"},
                {{4, 3},
                 {1, 3},
                 0,
                 "the agent speaks test protocol 4 to 3, this manager 1 to 3: "
                 "upgrade this manager"}, /* a lie */
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct protocol_end theirs = {"the agent", cases[i].theirs};
                struct protocol_end ours = {"this manager", cases[i].ours};
                struct err err = {0};
                int r = protocol_agree("test", &theirs, &ours, &err);

                assert_int_equal(protocol_spoken(cases[i].ours, cases[i].theirs), cases[i].spoken);
                assert_int_equal(r, cases[i].spoken ? (int)cases[i].spoken : -EPROTO);
                assert_string_equal(err.text, cases[i].text ? cases[i].text : "");
        }
}

static void test_one_that_tells_no_oldest_has_one_version(void **state UNUSED)
{
        struct protocol_range r = protocol_told(0, 4);

        assert_true(r.oldest == 4 && r.newest == 4);
        r = protocol_told(2, 4);
        assert_true(protocol_has(r, 2) && protocol_has(r, 4));
        assert_false(protocol_has(r, 1) || protocol_has(r, 5));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_what_is_spoken),
                cmocka_unit_test(test_one_that_tells_no_oldest_has_one_version),
        };

        return cmocka_run_group_tests_name("protocol", tests, NULL, NULL);
}
