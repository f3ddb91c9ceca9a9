/* flags: what a command line may be, and the exact words of each way to get it wrong. */
#include "tests/lib/unit.h"

#include <errno.h>

#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "swarmctl/cmd/flags.h"
#include "swarmctl/cmd/spec.h"

static const struct flag_sets all = {
        {service_common_flags, service_create_flags, service_update_flags, service_absent_flags}};

/* One word that is refused, and why. */
static const struct {
        const char *word, *text;
} refused[] = {
        {"--health-interval=5", "invalid value \"5\" for --health-interval: must be a duration "
                                "such as 300ms, 5s or 1m30s"},
        {"--health-start-interval=5", "invalid value \"5\" for --health-start-interval: must be a "
                                      "duration such as 300ms, 5s or 1m30s"},
        {"--health-start-period=5", "invalid value \"5\" for --health-start-period: must be a "
                                    "duration such as 300ms, 5s or 1m30s"},
        {"--health-timeout=5",
         "invalid value \"5\" for --health-timeout: must be a duration such as 300ms, 5s or 1m30s"},
        {"--restart-delay=5",
         "invalid value \"5\" for --restart-delay: must be a duration such as 300ms, 5s or 1m30s"},
        {"--restart-window=5",
         "invalid value \"5\" for --restart-window: must be a duration such as 300ms, 5s or 1m30s"},
        {"--rollback-delay=5",
         "invalid value \"5\" for --rollback-delay: must be a duration such as 300ms, 5s or 1m30s"},
        {"--rollback-monitor=5", "invalid value \"5\" for --rollback-monitor: must be a duration "
                                 "such as 300ms, 5s or 1m30s"},
        {"--rollback-wait=5",
         "invalid value \"5\" for --rollback-wait: must be a duration such as 300ms, 5s or 1m30s"},
        {"--stop-grace-period=5", "invalid value \"5\" for --stop-grace-period: must be a duration "
                                  "such as 300ms, 5s or 1m30s"},
        {"--update-delay=5",
         "invalid value \"5\" for --update-delay: must be a duration such as 300ms, 5s or 1m30s"},
        {"--update-monitor=5",
         "invalid value \"5\" for --update-monitor: must be a duration such as 300ms, 5s or 1m30s"},
        {"--update-wait=5",
         "invalid value \"5\" for --update-wait: must be a duration such as 300ms, 5s or 1m30s"},
        {"--update-delay=-1s",
         "invalid value \"-1s\" for --update-delay: must be a duration such as 300ms, 5s or 1m30s"},
        {"--update-delay=",
         "invalid value \"\" for --update-delay: must be a duration such as 300ms, 5s or 1m30s"},
        {"--update-delay=99999999999h",
         "invalid value \"99999999999h\" for --update-delay: out of range"},
        {"--health-retries=-1",
         "invalid value \"-1\" for --health-retries: must be a whole number, 0 or more"},
        {"--limit-pids=-1",
         "invalid value \"-1\" for --limit-pids: must be a whole number, 0 or more"},
        {"--replicas=-1", "invalid value \"-1\" for --replicas: must be a whole number, 0 or more"},
        {"--replicas-max-per-node=-1",
         "invalid value \"-1\" for --replicas-max-per-node: must be a whole number, 0 or more"},
        {"--restart-max-attempts=-1",
         "invalid value \"-1\" for --restart-max-attempts: must be a whole number, 0 or more"},
        {"--rollback-parallelism=-1",
         "invalid value \"-1\" for --rollback-parallelism: must be a whole number, 0 or more"},
        {"--update-parallelism=-1",
         "invalid value \"-1\" for --update-parallelism: must be a whole number, 0 or more"},
        {"--replicas=3.5",
         "invalid value \"3.5\" for --replicas: must be a whole number, 0 or more"},
        {"--replicas=9223372036854775808",
         "invalid value \"9223372036854775808\" for --replicas: out of range"},
        {"--replicas=99999999999999999999",
         "invalid value \"99999999999999999999\" for --replicas: out of range"},
        {"--limit-memory=10X",
         "invalid value \"10X\" for --limit-memory: must be a size such as 512M or 1.5GiB"},
        {"--limit-memory=-1",
         "invalid value \"-1\" for --limit-memory: must be a size such as 512M or 1.5GiB"},
        {"--reserve-memory=10X",
         "invalid value \"10X\" for --reserve-memory: must be a size such as 512M or 1.5GiB"},
        {"--reserve-memory=-1",
         "invalid value \"-1\" for --reserve-memory: must be a size such as 512M or 1.5GiB"},
        {"--limit-memory=99999999P",
         "invalid value \"99999999P\" for --limit-memory: out of range"},
        {"--limit-cpu=two",
         "invalid value \"two\" for --limit-cpu: must be a number of CPUs such as 0.5"},
        {"--reserve-cpu=two",
         "invalid value \"two\" for --reserve-cpu: must be a number of CPUs such as 0.5"},
        {"--limit-cpu=10000000", "invalid value \"10000000\" for --limit-cpu: out of range"},
        {"--rollback-max-failure-ratio=1.5",
         "invalid value \"1.5\" for --rollback-max-failure-ratio: must be a number from 0 to 1"},
        {"--rollback-max-failure-ratio=x",
         "invalid value \"x\" for --rollback-max-failure-ratio: must be a number from 0 to 1"},
        {"--update-max-failure-ratio=1.5",
         "invalid value \"1.5\" for --update-max-failure-ratio: must be a number from 0 to 1"},
        {"--update-max-failure-ratio=x",
         "invalid value \"x\" for --update-max-failure-ratio: must be a number from 0 to 1"},
        {"--detach=maybe", "invalid value \"maybe\" for --detach: must be true or false"},
        {"--init=maybe", "invalid value \"maybe\" for --init: must be true or false"},
        {"--no-healthcheck=maybe",
         "invalid value \"maybe\" for --no-healthcheck: must be true or false"},
        {"--quiet=maybe", "invalid value \"maybe\" for --quiet: must be true or false"},
        {"--read-only=maybe", "invalid value \"maybe\" for --read-only: must be true or false"},
        {"--tty=maybe", "invalid value \"maybe\" for --tty: must be true or false"},
        {"--force=maybe", "invalid value \"maybe\" for --force: must be true or false"},
        {"--rollback=maybe", "invalid value \"maybe\" for --rollback: must be true or false"},
        {"--placement-strategy=x",
         "invalid value \"x\" for --placement-strategy: must be one of spread|binpack"},
        {"--restart-condition=x",
         "invalid value \"x\" for --restart-condition: must be one of none|on-failure|any"},
        {"--rollback-failure-action=x",
         "invalid value \"x\" for --rollback-failure-action: must be one of pause|continue"},
        {"--rollback-order=x",
         "invalid value \"x\" for --rollback-order: must be one of start-first|stop-first"},
        {"--update-failure-action=x",
         "invalid value \"x\" for --update-failure-action: must be one of pause|continue|rollback"},
        {"--update-order=x",
         "invalid value \"x\" for --update-order: must be one of start-first|stop-first"},
        {"--mode=x", "invalid value \"x\" for --mode: must be one of replicated|global"},
        {"--entrypoint=a 'b", "invalid value \"a 'b\" for --entrypoint: has an unfinished quote"},
        {"--args=\"", "invalid value \"\"\" for --args: has an unfinished quote"},
        {"--name", "flag needs a value: --name"},
        {"--env", "flag needs a value: --env"},
        {"--mount", "flag needs a value: --mount"},
        {"--image", "flag needs a value: --image"},
        {"--hostname", "flag needs a value: --hostname"},
        {"--replicas", "flag needs a value: --replicas"},
        {"--update-order", "flag needs a value: --update-order"},
        {"--config=x", "flag --config is not supported by this version"},
        {"--config-add=x", "flag --config-add is not supported by this version"},
        {"--credential-spec=x", "flag --credential-spec is not supported by this version"},
        {"--dns=x", "flag --dns is not supported by this version"},
        {"--dns-add=x", "flag --dns-add is not supported by this version"},
        {"--dns-option=x", "flag --dns-option is not supported by this version"},
        {"--dns-search=x", "flag --dns-search is not supported by this version"},
        {"--endpoint-mode=x", "flag --endpoint-mode is not supported by this version"},
        {"--host-add=x", "flag --host-add is not supported by this version"},
        {"--isolation=x", "flag --isolation is not supported by this version"},
        {"--log-driver=x", "flag --log-driver is not supported by this version"},
        {"--log-opt=x", "flag --log-opt is not supported by this version"},
        {"--max-concurrent=x", "flag --max-concurrent is not supported by this version"},
        {"--memory-swap=x", "flag --memory-swap is not supported by this version"},
        {"--no-resolve-image=x", "flag --no-resolve-image is not supported by this version"},
        {"--oom-score-adj=x", "flag --oom-score-adj is not supported by this version"},
        {"--publish=x", "flag --publish is not supported by this version"},
        {"--publish-add=x", "flag --publish-add is not supported by this version"},
        {"--publish-rm=x", "flag --publish-rm is not supported by this version"},
        {"--secret=x", "flag --secret is not supported by this version"},
        {"--secret-rm=x", "flag --secret-rm is not supported by this version"},
        {"--with-registry-auth=x", "flag --with-registry-auth is not supported by this version"},
        {"-p", "flag -p is not supported by this version"},
        {"-x", "unknown flag: -x"},
        {"-tx", "unknown flag: -x"},
        {"--nope", "unknown flag: --nope"},
        {"--nope=1", "unknown flag: --nope"},
        {"--repl", "unknown flag: --repl"},
        {"---", "unknown flag: ---"},
        {"-e", "flag needs a value: -e"},
        {"-te", "flag needs a value: -e"},
        {"-d=maybe", "invalid value \"maybe\" for -d: must be true or false"},
};

static void each_wrong_flag_has_its_text(void **state)
{
        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
                char *const argv[] = {(char *)(uintptr_t)refused[i].word, NULL};
                struct args a = {0};
                struct err err = {0};

                assert_int_equal(args_parse(&a, &all, false, 1, argv, &err), -EINVAL);
                assert_string_equal(err.text, refused[i].text);
                assert_null(a.values);
        }
}

/* Parses words, which must be good. */
#define PARSE(a, stop, ...)                                                                        \
        do {                                                                                       \
                char *words_[] = {__VA_ARGS__};                                                    \
                struct err err_ = {0};                                                             \
                                                                                                   \
                assert_int_equal(                                                                  \
                        args_parse((a), &all, (stop), (int)ARRAY_SIZE(words_), words_, &err_), 0); \
        } while (0)

static void values_come_in_every_form(void **state)
{
        _cleanup_args_ struct args a = {0};

        (void)state;
        PARSE(&a, false, "--replicas", "3", "--limit-memory=1.5GiB", "--limit-cpu", "0.5", "-eA=1",
              "-e=B=2", "-e", "C=3", "-tq", "-d=false", "--update-delay=1m30s", "img",
              "--update-max-failure-ratio", "0.25", "--entrypoint", "sh -c 'a b'");
        assert_int_equal(args_get(&a, "replicas")->number, 3);
        assert_int_equal(args_get(&a, "limit-memory")->number, 1610612736);
        assert_int_equal(args_get(&a, "limit-cpu")->number, 500000000);
        assert_int_equal(args_get(&a, "update-delay")->number, 90000);
        assert_true(args_get(&a, "update-max-failure-ratio")->ratio == 0.25);
        assert_int_equal(strv_len(args_get(&a, "env")->list), 3);
        assert_string_equal(args_get(&a, "env")->list[1], "B=2");
        assert_string_equal(args_get(&a, "entrypoint")->list[2], "a b");
        assert_true(args_on(&a, "tty"));
        assert_true(args_on(&a, "quiet"));
        assert_true(args_is_set(&a, "detach"));
        assert_false(args_on(&a, "detach"));
        assert_false(args_is_set(&a, "name"));
        assert_int_equal(a.n_rest, 1);
}

static void the_last_of_a_repeated_flag_wins(void **state)
{
        _cleanup_args_ struct args a = {0};

        (void)state;
        PARSE(&a, false, "--name", "a", "--name", "b", "--entrypoint", "x y", "--entrypoint", "z");
        assert_string_equal(args_text(&a, "name"), "b");
        assert_int_equal(strv_len(args_get(&a, "entrypoint")->list), 1);
}

static void flags_stop_at_the_image(void **state)
{
        _cleanup_args_ struct args a = {0};

        (void)state;
        PARSE(&a, true, "--name", "web", "img", "ls", "--name", "x", "--nope", "--");
        assert_string_equal(args_text(&a, "name"), "web");
        assert_int_equal(a.n_rest, 6);
        assert_string_equal(a.rest[5], "--");
}

static void two_dashes_end_the_flags(void **state)
{
        _cleanup_args_ struct args a = {0};

        (void)state;
        PARSE(&a, false, "web", "--", "--nope", "-");
        assert_int_equal(a.n_rest, 3);
        assert_string_equal(a.rest[1], "--nope");
        assert_string_equal(a.rest[2], "-");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(each_wrong_flag_has_its_text),
                cmocka_unit_test(values_come_in_every_form),
                cmocka_unit_test(the_last_of_a_repeated_flag_wins),
                cmocka_unit_test(flags_stop_at_the_image),
                cmocka_unit_test(two_dashes_end_the_flags),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
