/* What the last word of a command line may become. */
#include "tests/lib/unit.h"

#include <string.h>

#include "shared/base/buf.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "swarmctl/cmd/complete.h"

#define WORDS_MAX 16

/* Reads a line, of which what stands after the last space is to be completed. */
static struct completion find(const char *line, char *words[WORDS_MAX])
{
        static const struct command *const tables[] = {cmd_service, cmd_task,   cmd_node,
                                                       cmd_manager, cmd_image,  cmd_swarm,
                                                       cmd_system,  cmd_backup, NULL};
        char *rest = xstrdup(line);
        struct completion c;
        size_t n = 0;

        for (char *word; n < WORDS_MAX && (word = strsep(&rest, " "));)
                words[n++] = word;
        complete_find(tables, words, n, &c);
        return c;
}

static void check(const char *line, const char *expected, enum complete_names names)
{
        char *words[WORDS_MAX];
        struct completion c = find(line, words);
        _cleanup_buf_ struct buf got = {0};

        for (char **word = c.words; word && *word; word++)
                buf_printf(&got, "%s%s", got.len ? " " : "", *word);
        if (!str_is_equal(buf_str(&got), expected) || c.names != names)
                fail_msg("\"%s\": got \"%s\" and names %d", line, buf_str(&got), c.names);
        completion_done(&c);
        free(words[0]);
}

static void test_commands(void **state)
{
        (void)state;
        check("", "service task node manager image swarm events info version backup",
              COMPLETE_NO_NAMES);
        check("s", "service swarm", COMPLETE_NO_NAMES);
        check("-H ipc:///x --timeout 5s ev", "events", COMPLETE_NO_NAMES);
        check("service r", "rm rollback", COMPLETE_NO_NAMES);
        check("backup --f", "--force", COMPLETE_NO_NAMES);
        check("backup ", "", COMPLETE_NO_NAMES); /* a file */
        check("manager ", "ls rm", COMPLETE_NO_NAMES);
        check("--host=ipc:///x swarm ", "join-token unlock unlock-key update", COMPLETE_NO_NAMES);
        check("servic x", "", COMPLETE_NO_NAMES);
        check("service frob x", "", COMPLETE_NO_NAMES);
}

static void test_flags(void **state)
{
        (void)state;
        check("service create --up",
              "--update-delay --update-failure-action "
              "--update-max-failure-ratio --update-monitor --update-order "
              "--update-parallelism --update-wait",
              COMPLETE_NO_NAMES);
        check("node rm -", "--force --host --timeout --help", COMPLETE_NO_NAMES);
        check("--ho", "--host", COMPLETE_NO_NAMES);
        /* not those that this version refuses */
        check("service create --publ", "", COMPLETE_NO_NAMES);
        /* nor after the image, where a command's own begin */
        check("service create web:1 sh -", "", COMPLETE_NO_NAMES);
        check("service rm -- -", "", COMPLETE_SERVICES);
}

static void test_values(void **state)
{
        (void)state;
        check("service create --mode ", "replicated global", COMPLETE_NO_NAMES);
        check("service create --mode=gl", "--mode=global", COMPLETE_NO_NAMES);
        check("service create --mode global --name ", "", COMPLETE_NO_NAMES);
        check("service update --image we", "", COMPLETE_IMAGES);
        check("node update --availability p", "pause", COMPLETE_NO_NAMES);
        check("swarm join-token ", "worker manager", COMPLETE_NO_NAMES);
}

static void test_names(void **state)
{
        char *words[WORDS_MAX];
        struct completion c;

        (void)state;
        check("service ps ", "", COMPLETE_SERVICES);
        check("service ps web d", "", COMPLETE_SERVICES);
        check("service ps --no-trunc -q w", "", COMPLETE_SERVICES);
        check("service logs ", "", COMPLETE_SERVICES);
        check("service rollback web ", "", COMPLETE_NO_NAMES); /* it takes one */
        check("service create ", "", COMPLETE_IMAGES);
        check("service create --name x w", "", COMPLETE_IMAGES);
        check("service create web:1 ", "", COMPLETE_NO_NAMES);
        check("node inspect se", "self", COMPLETE_NODES);
        check("node ps ", "", COMPLETE_NODES);
        check("manager rm ", "", COMPLETE_MANAGERS);
        check("manager rm m1 m", "", COMPLETE_MANAGERS);
        check("image rm a b", "", COMPLETE_IMAGES);
        check("image tag a ", "", COMPLETE_NO_NAMES);
        check("image load ", "", COMPLETE_NO_NAMES);
        c = find("--host ipc:///x service scale we", words);
        assert_string_equal(c.host, "ipc:///x");
        assert_string_equal(c.prefix, "we");
        assert_string_equal(c.suffix, "=");
        completion_done(&c);
        free(words[0]);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_commands),
                cmocka_unit_test(test_flags),
                cmocka_unit_test(test_values),
                cmocka_unit_test(test_names),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
