/* Numbers as people write them: what parses, to what, and what is refused. */
#include "tests/lib/unit.h"

#include <errno.h>
#include <string.h>

#include "shared/base/base.h"

static void test_sizes(void **state UNUSED)
{
        static const struct {
                const char *text;
                int64_t bytes; /* negative: the error */
        } cases[] = {
                {"0", 0},
                {"100", 100},
                {"1k", 1024},
                {"10M", 10 << 20},
                {"1.5GiB", 3LL << 29},
                {"512kb", 512 << 10},
                {"2T", 2LL << 40},
                {"7b", 7},
                {"", -EINVAL},
                {"M", -EINVAL},
                {"-1", -EINVAL},
                {"1X", -EINVAL},
                {"1 M", -EINVAL},
                {"1Mi", -EINVAL},
                {"1.2.3", -EINVAL},
                {"1e3", -EINVAL},
                {"99999999P", -ERANGE},
                {".", -EINVAL},
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                int64_t v = -7;
                int r = parse_size(cases[i].text, &v);

                assert_int_equal(cases[i].bytes < 0 ? cases[i].bytes : 0, r);
                assert_int_equal(cases[i].bytes < 0 ? -7 : cases[i].bytes, v);
        }
}

static void test_durations(void **state UNUSED)
{
        static const struct {
                const char *text;
                int64_t ms;
        } cases[] = {
                {"0", 0},           {"300ms", 300},      {"5s", 5000},
                {"1m30s", 90000},   {"2h", 7200000},     {"1.5s", 1500},
                {"0s", 0},          {"1h0m1s", 3601000}, {"5", -EINVAL},
                {"", -EINVAL},      {"s", -EINVAL},      {"-5s", -EINVAL},
                {"5x", -EINVAL},    {"5s5", -EINVAL},    {"9999999999999h", -ERANGE},
                {"400us", -ERANGE}, {"1ns", -ERANGE},    {"500us", 1},
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                int64_t v = -7;
                int r = parse_duration_ms(cases[i].text, &v);

                assert_int_equal(cases[i].ms < 0 ? cases[i].ms : 0, r);
                assert_int_equal(cases[i].ms < 0 ? -7 : cases[i].ms, v);
        }
}

static void test_integers(void **state UNUSED)
{
        uint64_t u = 0;
        int64_t i = 0;

        assert_int_equal(parse_u64("18446744073709551615", &u), 0);
        assert_true(u == UINT64_MAX);
        assert_int_equal(parse_u64("18446744073709551616", &u), -ERANGE);
        assert_int_equal(parse_u64("-1", &u), -EINVAL);
        assert_int_equal(parse_u64(" 1", &u), -EINVAL);
        assert_int_equal(parse_u64("1 ", &u), -EINVAL);
        assert_int_equal(parse_u64("", &u), -EINVAL);
        assert_int_equal(parse_i64("-9223372036854775808", &i), 0);
        assert_true(i == INT64_MIN);
        assert_int_equal(parse_i64("-", &i), -EINVAL);
        assert_int_equal(parse_i64("+1", &i), -EINVAL);
}

static void test_cpu_ratio_bool(void **state UNUSED)
{
        int64_t nano;
        double ratio;
        bool b;

        assert_int_equal(parse_cpu("0.5", &nano), 0);
        assert_int_equal(nano, 500000000);
        assert_int_equal(parse_cpu("0.001", &nano), 0);
        assert_int_equal(nano, 1000000);
        assert_int_equal(parse_cpu("two", &nano), -EINVAL);
        assert_int_equal(parse_cpu("9999999", &nano), -ERANGE);
        assert_int_equal(parse_ratio("0.25", &ratio), 0);
        assert_true(ratio > 0.2499 && ratio < 0.2501);
        assert_int_equal(parse_ratio("0.25x", &ratio), -EINVAL);
        assert_int_equal(parse_bool("TRUE", &b), 0);
        assert_true(b);
        assert_int_equal(parse_bool("off", &b), 0);
        assert_false(b);
        assert_int_equal(parse_bool("maybe", &b), -EINVAL);
}

static void test_key_value(void **state UNUSED)
{
        const char *value;
        size_t n;

        assert_int_equal(parse_key_value("a=b=c", &n, &value), 0);
        assert_int_equal(n, 1);
        assert_string_equal(value, "b=c");
        assert_int_equal(parse_key_value("a=", &n, &value), 0);
        assert_string_equal(value, "");
        assert_int_equal(parse_key_value("a", &n, &value), -EINVAL);
        assert_int_equal(parse_key_value("=a", &n, &value), -EINVAL);
}

static void test_formats(void **state UNUSED)
{
        char t[FORMAT_MAX];

        assert_string_equal(format_size(3LL << 29, t), "1.5GiB");
        assert_string_equal(format_size(0, t), "0B");
        assert_string_equal(format_duration_ms(0, t), "0s");
        assert_string_equal(format_duration_ms(300, t), "300ms");
        assert_string_equal(format_duration_ms(90000, t), "1m30s");
        assert_string_equal(format_duration_ms(1500, t), "1.5s");
        assert_string_equal(format_duration_ms(3600000, t), "1h0m0s");
        assert_string_equal(format_cpu(500000000, t), "0.5");
        assert_string_equal(format_age_ms(500, t), "Less than a second");
        assert_string_equal(format_age_ms(59000, t), "59 seconds");
        assert_string_equal(format_age_ms(61000, t), "About a minute");
        assert_string_equal(format_age_ms(180000, t), "3 minutes");
        assert_string_equal(format_age_ms(3600000, t), "About an hour");
        assert_string_equal(format_age_ms(3 * 3600000, t), "3 hours");
        assert_string_equal(format_age_ms(72LL * 3600000, t), "3 days");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_sizes),     cmocka_unit_test(test_durations),
                cmocka_unit_test(test_integers),  cmocka_unit_test(test_cpu_ratio_bool),
                cmocka_unit_test(test_key_value), cmocka_unit_test(test_formats),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
