/* The manager's flags: what is taken, refused and remembered. */
#include "tests/lib/unit.h"

#include "manager/options.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "shared/base/io.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"

static int parse(const char *line, struct options *o, struct err *err)
{
        _cleanup_strv_ char **words = NULL;
        _cleanup_free_ char *with_name = xasprintf("swarm-manager %s", line);

        assert_int_equal(str_split_words(with_name, &words), 0);
        return options_parse((int)strv_len(words), words, o, stdout, err);
}

static void test_good(void **state)
{
        struct options o;
        struct err err = {0};

        (void)state;
        assert_int_equal(parse("--data-dir /d --advertise 10.0.0.1 --init", &o, &err), 0);
        assert_string_equal(o.advertise, "10.0.0.1:7377");
        assert_true(o.init);
        assert_true(strlen(o.hostname) > 0);
        options_done(&o);
        assert_int_equal(
                parse("--advertise [fe80::1]:99 --log-level debug --hostname m1", &o, &err), 0);
        assert_string_equal(o.advertise, "[fe80::1]:99");
        assert_string_equal(o.data_dir, "/var/lib/swarm");
        assert_string_equal(o.hostname, "m1");
        assert_int_equal(o.level, LOG_LEVEL_DEBUG);
        options_done(&o);
}

static void test_bad(void **state)
{
        static const struct {
                const char *line, *text;
        } BAD[] = {
                {"--advertise host", "--advertise: \"host\" is not IP[:PORT]"},
                {"--advertise 10.0.0.1:0", "is not IP[:PORT]"},
                {"--advertise 10.0.0.1:70000", "is not IP[:PORT]"},
                {"--advertise 10.0.0.256", "is not IP[:PORT]"},
                {"--advertise [fe80::1", "is not IP[:PORT]"},
                {"--advertise fe80::1", "is not IP[:PORT]"},
                {"--listen 0.0.0.0", "--listen: \"0.0.0.0\" is not IP:PORT"},
                {"--data-dir relative", "is not an absolute path"},
                {"--log-level loud", "--log-level: \"loud\" is not"},
                {"--hostname -x", "--hostname: \"-x\" is not a name"},
                {"--join 10.0.0.1:7377 --token x", "token: does not begin with SWMT-1-"},
                {"--join 10.0.0.1:7377 --init", "exclude each other"},
                {"--restore f --force-new-cluster", "exclude each other"},
                {"--nope", "unknown flag --nope"},
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(BAD); i++) {
                struct options o;
                struct err err = {0};

                assert_true(parse(BAD[i].line, &o, &err) < 0);
                if (!strstr(err.text, BAD[i].text))
                        fail_msg("%s: %s", BAD[i].line, err.text);
                options_done(&o);
        }
}

static void test_address_is_kept(void **state)
{
        char dir[] = "/tmp/swarm-options-XXXXXX";
        struct options o;
        struct err err = {0};

        (void)state;
        assert_non_null(mkdtemp(dir));
        _cleanup_free_ char *manager = xasprintf("%s/manager", dir);
        _cleanup_free_ char *first = xasprintf("--data-dir %s --advertise 10.1.2.3:5000", dir);
        _cleanup_free_ char *later = xasprintf("--data-dir %s", dir);
        assert_int_equal(io_mkdir_all(manager, 0700), 0);

        assert_int_equal(parse(later, &o, &err), 0);
        assert_int_equal(options_complete(&o, &err), -EINVAL);
        assert_non_null(strstr(err.text, "--advertise IP[:PORT] is needed"));
        options_done(&o);
        assert_int_equal(parse(first, &o, &err), 0);
        assert_int_equal(options_complete(&o, &err), 0);
        assert_string_equal(o.listen, "0.0.0.0:5000");
        options_done(&o);
        assert_int_equal(parse(later, &o, &err), 0);
        assert_int_equal(options_complete(&o, &err), 0);
        assert_string_equal(o.advertise, "10.1.2.3:5000");
        options_done(&o);
        io_remove_tree(AT_FDCWD, dir);
}

/* What an agent leaves for the manager of a promoted node; what is told, or kept, wins. */
static void test_promotion(void **state UNUSED)
{
        static const char WORD[] = "join: \"10.0.0.1:7377\"\nadvertise: \"10.0.0.9\"\n";
        char dir[] = "/tmp/swarm-options-XXXXXX";
        struct options o;
        struct err err = {0};

        assert_non_null(mkdtemp(dir));
        _cleanup_free_ char *agent = xasprintf("%s/agent", dir);
        _cleanup_free_ char *manager = xasprintf("%s/manager", dir);
        _cleanup_free_ char *word = xasprintf("%s/agent/manager", dir);
        _cleanup_free_ char *address = xasprintf("%s/manager/address", dir);
        _cleanup_free_ char *plain = xasprintf("--data-dir %s", dir);
        _cleanup_free_ char *init = xasprintf("--data-dir %s --init", dir);
        assert_int_equal(io_mkdir_all(agent, 0700), 0);
        assert_int_equal(io_mkdir_all(manager, 0700), 0);

        assert_int_equal(parse(plain, &o, &err), 0);
        assert_int_equal(options_take_promotion(&o, &err), 0);
        assert_null(o.join);
        assert_int_equal(io_write_file_atomic(AT_FDCWD, word, WORD, strlen(WORD), 0600), 0);
        assert_int_equal(options_take_promotion(&o, &err), 0);
        assert_string_equal(o.join, "10.0.0.1:7377");
        assert_string_equal(o.advertise, "10.0.0.9:7377");
        options_done(&o);

        assert_int_equal(parse(init, &o, &err), 0);
        assert_int_equal(options_take_promotion(&o, &err), 0);
        assert_null(o.join);
        options_done(&o);

        assert_int_equal(io_write_file_atomic(AT_FDCWD, address, "10.0.0.8:1", 10, 0600), 0);
        assert_int_equal(parse(plain, &o, &err), 0);
        assert_int_equal(options_take_promotion(&o, &err), 0);
        assert_string_equal(o.join, "10.0.0.1:7377");
        assert_null(o.advertise);
        options_done(&o);

        assert_int_equal(io_write_file_atomic(AT_FDCWD, word, "join: [", 7, 0600), 0);
        assert_int_equal(parse(plain, &o, &err), 0);
        assert_true(options_take_promotion(&o, &err) < 0);
        options_done(&o);
        io_remove_tree(AT_FDCWD, dir);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_good),
                cmocka_unit_test(test_bad),
                cmocka_unit_test(test_address_is_kept),
                cmocka_unit_test(test_promotion),
        };

        return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
