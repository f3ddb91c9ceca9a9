/* config: good settings from both places, and every kind of bad one. */
#include "tests/lib/unit.h"

#include "tests/lib/unit.h"

#include "shared/config/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>

#include "shared/base/io.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"

struct values {
        char *dir;
        char **labels;
        bool force;
        int64_t cpu, memory, wait;
};

#define FLAG(name, type, member)                                                  \
        {                                                                         \
                name, type, offsetof(struct values, member), "X", "help of " name \
        }

static const struct config_flag FLAGS[] = {
        FLAG("data-dir", CONFIG_STR, dir),           FLAG("label", CONFIG_LIST, labels),
        FLAG("force", CONFIG_BOOL, force),           FLAG("reserve-cpu", CONFIG_CPU, cpu),
        FLAG("reserve-memory", CONFIG_SIZE, memory), FLAG("wait", CONFIG_DURATION, wait),
};

static const struct config_program PROGRAM = {
        "prog", "1.2", "Usage: prog", FLAGS, ARRAY_SIZE(FLAGS), NULL};

struct fixture {
        struct values v;
        struct err err;
        char dir[64], file[128];
        FILE *out;
        char *printed;
        size_t printed_len;
};

static int setup(void **state)
{
        struct fixture *f = xnew(struct fixture);

        snprintf(f->dir, sizeof(f->dir), "/tmp/swarm-config-XXXXXX");
        assert_non_null(mkdtemp(f->dir));
        snprintf(f->file, sizeof(f->file), "%s/c.yaml", f->dir);
        f->out = open_memstream(&f->printed, &f->printed_len);
        *state = f;
        return 0;
}

static int teardown(void **state)
{
        struct fixture *f = *state;

        config_done(&PROGRAM, &f->v);
        io_remove_tree(AT_FDCWD, f->dir);
        fclose(f->out);
        free(f->printed);
        free(f);
        return 0;
}

/* Parses the words of line as the command line. */
static int parse(struct fixture *f, const char *line)
{
        _cleanup_strv_ char **words = NULL;
        _cleanup_free_ char *with_name = xasprintf("prog %s", line);

        config_done(&PROGRAM, &f->v);
        f->v = (struct values){0};
        f->err = (struct err){0};
        assert_int_equal(str_split_words(with_name, &words), 0);
        return config_parse(&PROGRAM, (int)strv_len(words), words, &f->v, f->out, &f->err);
}

static int parse_yaml(struct fixture *f, const char *yaml, const char *more)
{
        _cleanup_free_ char *line = xasprintf("--config %s %s", f->file, more);

        assert_int_equal(io_write_file_atomic(AT_FDCWD, f->file, yaml, strlen(yaml), 0600), 0);
        return parse(f, line);
}

static void test_command_line(void **state)
{
        struct fixture *f = *state;

        assert_int_equal(parse(f, ""), 0);
        assert_null(f->v.dir);
        assert_int_equal(parse(f, "--data-dir /x --label a=b --label=c=d --force --reserve-cpu 0.5 "
                                  "--reserve-memory 1GiB --wait 1m30s"),
                         0);
        assert_string_equal(f->v.dir, "/x");
        assert_int_equal(strv_len(f->v.labels), 2);
        assert_string_equal(f->v.labels[1], "c=d");
        assert_true(f->v.force);
        assert_int_equal(f->v.cpu, 500000000);
        assert_int_equal(f->v.memory, 1 << 30);
        assert_int_equal(f->v.wait, 90000);
        assert_int_equal(parse(f, "--force=false"), 0);
        assert_false(f->v.force);
}

static void test_yaml(void **state)
{
        struct fixture *f = *state;

        assert_int_equal(parse_yaml(f,
                                    "# settings\ndata-dir: /y\nlabel: [a=1, b=2]\nforce: yes\n"
                                    "wait: 5s\nreserve-memory: 10M\n",
                                    ""),
                         0);
        assert_string_equal(f->v.dir, "/y");
        assert_int_equal(strv_len(f->v.labels), 2);
        assert_true(f->v.force);
        assert_int_equal(f->v.wait, 5000);
        assert_int_equal(parse_yaml(f, "label: only\n", ""), 0);
        assert_string_equal(f->v.labels[0], "only");
        assert_int_equal(parse_yaml(f, "", ""), 0);
}

static void test_command_line_wins(void **state)
{
        struct fixture *f = *state;

        assert_int_equal(parse_yaml(f, "data-dir: /y\nlabel: [a=1]\nwait: 5s\n",
                                    "--data-dir /x --label z=9"),
                         0);
        assert_string_equal(f->v.dir, "/x");
        assert_int_equal(strv_len(f->v.labels), 1);
        assert_string_equal(f->v.labels[0], "z=9");
        assert_int_equal(f->v.wait, 5000);
}

static void test_help_and_version(void **state)
{
        struct fixture *f = *state;

        assert_int_equal(parse(f, "--help"), 1);
        assert_int_equal(parse(f, "--version"), 1);
        fflush(f->out);
        assert_non_null(strstr(f->printed, "Usage: prog"));
        assert_non_null(strstr(f->printed, "help of reserve-cpu"));
        assert_non_null(strstr(f->printed, "prog 1.2\n"));
}

static void test_bad_command_line(void **state)
{
        struct fixture *f = *state;
        static const struct {
                const char *line, *text;
        } BAD[] = {
                {"--nope", "unknown flag --nope"},
                {"--dat /x", "unknown flag --dat"},
                {"word", "unexpected argument \"word\""},
                {"-x", "unexpected argument \"-x\""},
                {"--", "unexpected argument"},
                {"--data-dir", "--data-dir needs a value"},
                {"--data-dir ''", "--data-dir: must not be empty"},
                {"--data-dir /x --data-dir /y", "--data-dir is given twice"},
                {"--config a --config b", "--config is given twice"},
                {"--force=maybe", "--force: \"maybe\" is not true or false"},
                {"--reserve-cpu lots", "--reserve-cpu: \"lots\" is not a number of CPUs"},
                {"--reserve-memory -1", "--reserve-memory: \"-1\" is not a size"},
                {"--wait 5", "--wait: \"5\" is not a duration"},
                {"--data-dir '/a\nb'", "--data-dir: too long, or not a line of text"},
                {"--config /no/such/file", "/no/such/file: no such file"},
        };

        for (size_t i = 0; i < ARRAY_SIZE(BAD); i++) {
                assert_true(parse(f, BAD[i].line) < 0);
                if (!strstr(f->err.text, BAD[i].text))
                        fail_msg("%s: %s", BAD[i].line, f->err.text);
        }
}

static void test_bad_yaml(void **state)
{
        struct fixture *f = *state;
        static const struct {
                const char *yaml, *text;
        } BAD[] = {
                {"nope: 1\n", "line 1: unknown key \"nope\""},
                {"wait: 5s\nwait: 6s\n", "line 2: wait is given twice"},
                {"force: yes\nwait: 5\n", "line 2: wait: \"5\" is not a duration"},
                {"wait: [1s]\n", "line 1: wait: a plain value expected"},
                {"wait: {a: b}\n", "wait: a plain value expected"},
                {"label: {a: b}\n", "label: a plain value or a list expected"},
                {"label: [[a]]\n", "a plain value expected"},
                {"- a\n- b\n", "a mapping of keys to values expected"},
                {"just text\n", "a mapping of keys to values expected"},
                {"[a: b", "line "},
                {"wait: \"5s\n", "line "},
                {"wait: 5s\n---\nwait: 6s\n", "the end of the file expected"},
                {"*x : 1\n", "line 1"},
                {"data-dir: \"a\\0b\"\n", "a zero byte"},
                {"data-dir:\n", "must not be empty"},
        };

        for (size_t i = 0; i < ARRAY_SIZE(BAD); i++) {
                assert_true(parse_yaml(f, BAD[i].yaml, "") < 0);
                if (!strstr(f->err.text, BAD[i].text) || !strstr(f->err.text, f->file))
                        fail_msg("%s: %s", BAD[i].yaml, f->err.text);
        }
}

static void test_large_file(void **state)
{
        struct fixture *f = *state;
        _cleanup_free_ char *big = xmalloc(CONFIG_FILE_MAX + 2);

        memset(big, '#', CONFIG_FILE_MAX + 1);
        big[CONFIG_FILE_MAX + 1] = 0;
        assert_int_equal(parse_yaml(f, big, ""), -EFBIG);
        assert_non_null(strstr(f->err.text, "too large"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_command_line),     TEST(test_yaml),     TEST(test_command_line_wins),
                TEST(test_help_and_version), TEST(test_bad_yaml), TEST(test_bad_command_line),
                TEST(test_large_file),
        };

        return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
