/* Placeholders: which there are, and what is refused. */
#include "tests/lib/unit.h"

#include <errno.h>

#include "shared/base/base.h"
#include "shared/model/container_rules.h"
#include "shared/model/placeholder.h"

/* "<NUMBER>" or "<NUMBER KEY>". */
static void put_name(void *arg, enum placeholder what, const char *key, struct buf *out)
{
        (void)arg;
        buf_printf(out, key ? "<%d %s>" : "<%d>", (int)what, key);
}

static void put_much(void *arg, enum placeholder what, const char *key, struct buf *out)
{
        int *n = arg;

        (void)what, (void)key;
        for (int i = 0; i < 30000; i++)
                buf_putc(out, 'x');
        (*n)++;
}

static void test_known(void **state)
{
        static const char *const cases[][2] = {
                {"", ""},
                {"plain } {x} }}", "plain } {x} }}"},
                {"{{.Service.ID}}{{.Service.Name}}", "<0><1>"},
                {"{{.Service.Labels.a.b}}", "<2 a.b>"},
                {"{{index .Service.Labels \"a.b\"}}", "<2 a.b>"},
                {"{{ .Node.ID }} {{\t.Node.Hostname}}", "<3> <4>"},
                {"a{{.Task.ID}}b{{.Task.Name}}c{{.Task.Slot}}d", "a<5>b<6>c<7>d"},
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_free_ char *out = NULL;

                assert_int_equal(placeholders_fill(cases[i][0], put_name, NULL, &out, NULL), 0);
                assert_string_equal(out, cases[i][1]);
        }
}

static void test_refused(void **state)
{
        static const char *const cases[][2] = {
                {"{{.Task.ID", "'{{' without '}}'"},
                {"{{}}", "unknown template {{}}"},
                {"{{.Node.Labels.zone}}", "unknown template {{.Node.Labels.zone}}"},
                {"{{.Service.Labels}}", "unknown template {{.Service.Labels}}"},
                {"{{.Service.Labels.}}", "unknown template {{.Service.Labels.}}"},
                {"{{.Service.Labels.a b}}", "unknown template {{.Service.Labels.a b}}"},
                {"{{index .Service.Labels \"\"}}",
                 "unknown template {{index .Service.Labels \"\"}}"},
                {"{{index .Service.Labels \"a\" \"b\"}}",
                 "unknown template {{index .Service.Labels \"a\" \"b\"}}"},
                {"{{.Task.ID | upper}}", "unknown template {{.Task.ID | upper}}"},
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                char *out = NULL;
                struct err err = {0};

                assert_int_equal(placeholders_fill(cases[i][0], put_name, NULL, &out, &err),
                                 -EINVAL);
                assert_string_equal(err.text, cases[i][1]);
                assert_null(out);
        }
}

/* Ends as soon as it is too long, however often it would go on. */
static void test_too_long(void **state)
{
        _cleanup_buf_ struct buf text = {0};
        char *out = NULL;
        struct err err = {0};
        int n = 0;

        (void)state;
        for (int i = 0; i < 1000; i++)
                buf_puts(&text, "{{.Task.ID}}");
        assert_int_equal(placeholders_fill(buf_str(&text), put_much, &n, &out, &err), -EINVAL);
        assert_string_equal(err.text, "longer than 65536 bytes with its templates filled in");
        assert_int_equal(n, 3);
}

static void test_paths(void **state)
{
        (void)state;
        assert_true(path_is_same("/a//b/", "/./a/b"));
        assert_true(path_is_same("//", "/."));
        assert_false(path_is_same("/a", "/a/b"));
        assert_false(path_is_same("/ab", "/a"));
        assert_int_equal(mount_target_check("/dev/shm", NULL), 0);
        assert_int_equal(mount_target_check("/sys/fs/cgroup", NULL), 0);
        assert_int_equal(mount_target_check("/process", NULL), 0);
        assert_int_equal(mount_target_check("/proc/../x", NULL), -EINVAL);
        assert_int_equal(mount_target_check("//proc//self", NULL), -EINVAL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_known),
                cmocka_unit_test(test_refused),
                cmocka_unit_test(test_too_long),
                cmocka_unit_test(test_paths),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
