/* The agent's flags: what is refused, what a later start remembers, and how that is set back. */
#include "tests/lib/unit.h"

#include "agent/options.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "shared/base/base.h"
#include "shared/wire/wire.h"

static char *folder; /* of all state */

static int set_up(void **state)
{
        char name[] = "/tmp/swarm-options.XXXXXX";

        (void)state;
        folder = xstrdup(mkdtemp(name));
        _cleanup_free_ char *agent = xasprintf("%s/agent", folder);
        return mkdir(agent, 0700);
}

static int tear_down(void **state)
{
        (void)state;
        assert_int_equal(io_remove_tree(AT_FDCWD, folder), 0);
        free(folder);
        return 0;
}

static int parse(const char *line, struct agent_options *o, struct err *err)
{
        _cleanup_strv_ char **words = NULL;
        _cleanup_free_ char *whole = xasprintf("swarm-agent --data-dir %s %s", folder, line);

        assert_int_equal(str_split_words(whole, &words), 0);
        return agent_options_parse((int)strv_len(words), words, o, stdout, err);
}

/* A start with these flags: "HOSTNAME ADDRESS CPU MEMORY LABELS... RESOURCES...", of those that are
 * not the default ones. */
static void start(const char *line, const char *expected)
{
        struct agent_options o;
        struct err err = {0};
        _cleanup_buf_ struct buf b = {0};

        if (parse(line, &o, &err) < 0 || agent_options_recall(&o, &err) < 0 ||
            agent_options_keep(&o, &err) < 0)
                fail_msg("%s: %s", line, err.text);
        if (str_is_equal(o.hostname, "node9"))
                buf_puts(&b, " node9");
        assert_true(strlen(o.hostname) > 0);
        if (o.advertise)
                buf_printf(&b, " %s", o.advertise);
        if (o.reserve_cpu)
                buf_printf(&b, " cpu=%lld", (long long)o.reserve_cpu / 1000000);
        if (o.reserve_memory)
                buf_printf(&b, " memory=%lld", (long long)o.reserve_memory);
        if (o.cgroup_parent)
                buf_printf(&b, " cgroup=%s", o.cgroup_parent);
        for (char **v = o.labels; v && *v; v++)
                buf_printf(&b, " %s", *v);
        for (char **v = o.generic; v && *v; v++)
                buf_printf(&b, " %s", *v);
        assert_string_equal(b.len ? buf_str(&b) + 1 : "", expected);
        agent_options_done(&o);
}

static void flags_are_remembered_and_set_back(void **state)
{
        (void)state;
        start("--hostname node9 --advertise 10.0.0.1 --reserve-cpu 0.5 --reserve-memory 1M "
              "--cgroup-parent x --label a=1 --label b=2 --generic-resource gpu=2",
              "node9 10.0.0.1 cpu=500 memory=1048576 cgroup=x a=1 b=2 gpu=2");
        start("", "node9 10.0.0.1 cpu=500 memory=1048576 cgroup=x a=1 b=2 gpu=2");
        start("--label c=3 --reserve-cpu 1",
              "node9 10.0.0.1 cpu=1000 memory=1048576 cgroup=x c=3 gpu=2");
        start("--reserve-cpu 0 --label ''", "node9 10.0.0.1 memory=1048576 cgroup=x gpu=2");
        start("", "node9 10.0.0.1 memory=1048576 cgroup=x gpu=2");
        start("--label '' --label d=4 --reserve-memory=0 --advertise= --cgroup-parent=",
              "node9 d=4 gpu=2");
        start("", "node9 d=4 gpu=2");
        start("--hostname= --label= --generic-resource=", "");
        struct stat st;
        _cleanup_free_ char *path = xasprintf("%s/agent/settings", folder);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_size, 0);
}

static void a_start_that_fails_leaves_nothing(void **state)
{
        struct agent_options o;
        struct err err = {0};

        (void)state;
        start("--label a=1", "a=1");
        assert_int_equal(parse("--shim /nowhere --label b=2", &o, &err), 0);
        assert_int_equal(agent_options_recall(&o, &err), 0);
        assert_int_equal(agent_options_find_programs(&o, &err), -ENOENT);
        assert_string_equal(err.text, "--shim: /nowhere: no such file or directory");
        agent_options_done(&o);
        start("", "a=1");
}

static void a_file_sets_back_likewise(void **state)
{
        _cleanup_free_ char *path = xasprintf("%s/file", folder);
        _cleanup_free_ char *flags = xasprintf("--config %s", path);
        static const char yaml[] = "label: []\nreserve-memory: 0\nhostname: \"\"\n";

        (void)state;
        start("--hostname node9 --reserve-memory 1M --label a=1", "node9 memory=1048576 a=1");
        assert_int_equal(io_write_file_atomic(AT_FDCWD, path, yaml, sizeof(yaml) - 1, 0600), 0);
        _cleanup_free_ char *with_label = xasprintf("%s --label b=2", flags);

        start(with_label, "b=2");
        start(flags, "");
}

static void what_cannot_be_is_refused(void **state)
{
        static const char *const bad[][2] = {
                {"--join nowhere", "--join: \"nowhere\" is not HOST:PORT"},
                {"--join ''", "--join: must not be empty"},
                {"--token=", "--token: must not be empty"},
                {"--log-level=", "--log-level: must not be empty"},
                {"--label =x", "--label: \"=x\" is not KEY=VALUE"},
                {"--label 'a b=c'", "--label: \"a b=c\" is not KEY=VALUE"},
                {"--advertise x", "--advertise: \"x\" is not an IP address"},
                {"--reserve-cpu -1", "--reserve-cpu: \"-1\" is not a number of CPUs, as 0.5"},
                {"--reserve-memory ''", "--reserve-memory: \"\" is not a size, as 512M"},
                {"--hostname 'a b'", "--hostname: \"a b\" is not a name"},
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                struct agent_options o;
                struct err err = {0};

                assert_int_equal(parse(bad[i][0], &o, &err), -EINVAL);
                assert_string_equal(err.text, bad[i][1]);
                agent_options_done(&o);
        }
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
        const struct CMUnitTest tests[] = {
                T(flags_are_remembered_and_set_back),
                T(a_start_that_fails_leaves_nothing),
                T(a_file_sets_back_likewise),
                T(what_cannot_be_is_refused),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
