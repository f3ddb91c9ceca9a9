/* spec: what each flag makes of a spec, read through its document; and what is refused. */
#include "tests/lib/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/wire/wire.h"
#include "swarmctl/cmd/spec.h"
#include "swarmctl/output/output.h"

static const struct flag_sets all = {
        {service_common_flags, service_create_flags, service_update_flags, service_absent_flags}};

/* Applies a command line of blank-separated words to the spec. */
static int apply(Swarm__ServiceSpec *s, const char *line, struct err *err)
{
        _cleanup_strv_ char **words = NULL;
        _cleanup_args_ struct args a = {0};

        assert_int_equal(str_split_words(line, &words), 0);
        assert_int_equal(args_parse(&a, &all, false, (int)strv_len(words), words, err), 0);
        return spec_apply(s, &a, err);
}

static char *read_path(const Swarm__ServiceSpec *s, const char *path)
{
        _cleanup_free_ char *text = xasprintf("{{json %s}}", path);
        _cleanup_buf_ struct buf b = {0};
        struct template *t = NULL;
        struct err err = {0};
        json_t *doc = doc_spec(s);

        assert_int_equal(template_parse(text, &t, &err), 0);
        assert_int_equal(template_run(t, NULL, doc, &b, &err), 0);
        template_free(t);
        doc_free(doc);
        return buf_take_str(&b);
}

#define CONTAINER ".TaskTemplate.ContainerSpec."
#define PLACEMENT ".TaskTemplate.Placement."
#define RESOURCES ".TaskTemplate.Resources."
#define RESTART   ".TaskTemplate.RestartPolicy."

/* Flags on a new spec, a path in what comes out, and what is there. */
static const struct {
        const char *line, *path, *value;
} made[] = {
        {"", ".Mode", "{\"Replicated\":{\"Replicas\":1}}"},
        {"--name web", ".Name", "\"web\""},
        {"--replicas 7", ".Mode.Replicated.Replicas", "7"},
        {"--replicas 0", ".Mode.Replicated.Replicas", "0"},
        {"--mode global", ".Mode", "{\"Global\":{}}"},
        {"--image a:1", CONTAINER "Image", "\"a:1\""},
        {"--args 'a \"b c\"'", CONTAINER "Args", "[\"a\",\"b c\"]"},
        {"--entrypoint 'sh -c'", CONTAINER "Command", "[\"sh\",\"-c\"]"},
        {"--hostname {{.Task.Slot}}", CONTAINER "Hostname", "\"{{.Task.Slot}}\""},
        {"-u 1:2", CONTAINER "User", "\"1:2\""},
        {"-w /srv", CONTAINER "Dir", "\"/srv\""},
        {"--stop-signal INT", CONTAINER "StopSignal", "\"INT\""},
        {"--stop-grace-period 1m", CONTAINER "StopGracePeriod", "60000000000"},
        {"--stop-grace-period 0", CONTAINER "StopGracePeriod", "0"},
        {"-t", CONTAINER "TTY", "true"},
        {"--init", CONTAINER "Init", "true"},
        {"--read-only", CONTAINER "ReadOnly", "true"},
        {"-e A=1 -e B=2 -e A=3", CONTAINER "Env", "[\"A=3\",\"B=2\"]"},
        {"-e A=", CONTAINER "Env", "[\"A=\"]"},
        {"-e SPEC_TEST_UNSET", CONTAINER "Env", "[\"SPEC_TEST_UNSET\"]"},
        {"-l a=1 -l b -l a=2", ".Labels", "{\"a\":\"2\",\"b\":\"\"}"},
        {"--container-label a=1=2", CONTAINER "Labels", "{\"a\":\"1=2\"}"},
        {"--group a --group b --group a", CONTAINER "Groups", "[\"a\",\"b\"]"},
        {"--sysctl net.core.somaxconn=9", CONTAINER "Sysctls", "{\"net.core.somaxconn\":\"9\"}"},
        {"--ulimit nofile=1:2", CONTAINER "Ulimits",
         "[{\"Name\":\"nofile\",\"Hard\":2,\"Soft\":1}]"},
        {"--ulimit nofile=-1", CONTAINER "Ulimits",
         "[{\"Name\":\"nofile\",\"Hard\":-1,\"Soft\":-1}]"},
        {"--cap-add net_admin", CONTAINER "CapabilityAdd", "[\"CAP_NET_ADMIN\"]"},
        {"--cap-drop all", CONTAINER "CapabilityDrop", "[\"ALL\"]"},
        {"--health-cmd 'a b'", CONTAINER "Healthcheck", "{\"Test\":[\"CMD-SHELL\",\"a b\"]}"},
        {"--health-http 80/x", CONTAINER "Healthcheck.Test", "[\"HTTP\",\"80/x\"]"},
        {"--health-http 80", CONTAINER "Healthcheck.Test", "[\"HTTP\",\"80/\"]"},
        {"--health-tcp 80", CONTAINER "Healthcheck.Test", "[\"TCP\",\"80\"]"},
        {"--no-healthcheck", CONTAINER "Healthcheck", "{\"Test\":[\"NONE\"]}"},
        {"--health-interval 1s --health-timeout 2s --health-start-period 3s "
         "--health-start-interval 4s --health-retries 5",
         CONTAINER "Healthcheck",
         "{\"Interval\":1000000000,\"Timeout\":2000000000,\"StartPeriod\":3000000000,"
         "\"StartInterval\":4000000000,\"Retries\":5}"},
        {"--limit-cpu 0.5 --limit-memory 10M --limit-pids 9", RESOURCES "Limits",
         "{\"NanoCPUs\":500000000,\"MemoryBytes\":10485760,\"Pids\":9}"},
        {"--reserve-cpu 1 --reserve-memory 1G --generic-resource gpu=2", RESOURCES "Reservations",
         "{\"NanoCPUs\":1000000000,\"MemoryBytes\":1073741824,\"GenericResources\":"
         "[{\"DiscreteResourceSpec\":{\"Kind\":\"gpu\",\"Value\":2}}]}"},
        {"--constraint node.role==worker --constraint node.id!=x", PLACEMENT "Constraints",
         "[\"node.role==worker\",\"node.id!=x\"]"},
        {"--placement-pref spread=node.labels.rack", PLACEMENT "Preferences",
         "[{\"Spread\":{\"SpreadDescriptor\":\"node.labels.rack\"}}]"},
        {"--replicas-max-per-node 2", PLACEMENT "MaxReplicas", "2"},
        {"--placement-strategy binpack", PLACEMENT "Strategy", "\"binpack\""},
        {"--network host", ".TaskTemplate.Networks", "[{\"Target\":\"host\"}]"},
        {"--restart-condition none", RESTART "Condition", "\"none\""},
        {"--restart-condition on-failure", RESTART "Delay", "5000000000"},
        {"--restart-delay 0", RESTART "Delay", "0"},
        {"--restart-max-attempts 3", RESTART "MaxAttempts", "3"},
        {"--restart-window 1s", RESTART "Window", "1000000000"},
        {"--update-delay 1s", ".UpdateConfig.Parallelism", "1"},
        {"--update-delay 1s", ".UpdateConfig.Delay", "1000000000"},
        {"--update-delay 1s", ".UpdateConfig.Monitor", "5000000000"},
        {"--update-delay 1s", ".UpdateConfig.Wait", "300000000000"},
        {"--update-parallelism 0", ".UpdateConfig.Parallelism", "0"},
        {"--update-monitor 9s", ".UpdateConfig.Monitor", "9000000000"},
        {"--update-wait 9s", ".UpdateConfig.Wait", "9000000000"},
        {"--update-order start-first", ".UpdateConfig.Order", "\"start-first\""},
        {"--update-failure-action rollback", ".UpdateConfig.FailureAction", "\"rollback\""},
        {"--update-max-failure-ratio 0.5", ".UpdateConfig.MaxFailureRatio", "0.5"},
        {"--rollback-parallelism 4", ".RollbackConfig.Parallelism", "4"},
        {"--rollback-order start-first", ".RollbackConfig.Order", "\"start-first\""},
        {"--rollback-failure-action continue", ".RollbackConfig.FailureAction", "\"continue\""},
        {"--force", ".TaskTemplate.ForceUpdate", "1"},
        {"--mount src=v,dst=/v", CONTAINER "Mounts",
         "[{\"Type\":\"volume\",\"Source\":\"v\",\"Target\":\"/v\"}]"},
        {"--mount type=bind,source=/a,target=/b,ro,bind-propagation=rslave,bind-create-src",
         CONTAINER "Mounts",
         "[{\"Type\":\"bind\",\"Source\":\"/a\",\"Target\":\"/b\",\"ReadOnly\":true,"
         "\"BindOptions\":{\"Propagation\":\"rslave\",\"CreateMountpoint\":true}}]"},
        {"--mount type=tmpfs,destination=/t,tmpfs-size=1M,tmpfs-mode=700", CONTAINER "Mounts",
         "[{\"Type\":\"tmpfs\",\"Target\":\"/t\",\"TmpfsOptions\":{\"SizeBytes\":1048576,"
         "\"Mode\":448}}]"},
        {"--mount src=v,dst=/v,volume-nocopy=true,volume-subpath=s", CONTAINER "Mounts",
         "[{\"Type\":\"volume\",\"Source\":\"v\",\"Target\":\"/v\",\"VolumeOptions\":"
         "{\"NoCopy\":true,\"Subpath\":\"s\"}}]"},
        {"--mount '\"src=/a,\"\"b\"\"\",type=bind,dst=/b'", CONTAINER "Mounts",
         "[{\"Type\":\"bind\",\"Source\":\"/a,\\\"b\\\"\",\"Target\":\"/b\"}]"},
};

static void each_flag_makes_its_part_of_the_spec(void **state)
{
        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(made); i++) {
                Swarm__ServiceSpec *s = spec_begin();
                struct err err = {0};

                assert_int_equal(apply(s, made[i].line, &err), 0);
                _cleanup_free_ char *value = read_path(s, made[i].path);
                if (!str_is_equal(value, made[i].value))
                        print_error("line: %s\n", made[i].line);
                assert_string_equal(value, made[i].value);
                wire_free(s);
        }
}

static const struct {
        const char *line, *text;
} refused[] = {
        {"--mode global --replicas 2", "--replicas can only be used with replicated mode"},
        {"--mode global --replicas-max-per-node 2",
         "--replicas-max-per-node can only be used with replicated mode"},
        {"--image ''", "--image must not be empty"},
        {"-e =1", "environment variable \"=1\": no name"},
        {"-l =1", "\"=1\": no key before the '='"},
        {"--sysctl a", "sysctl \"a\": must be KEY=VALUE"},
        {"--ulimit nofile", "ulimit \"nofile\": must be NAME=SOFT[:HARD]"},
        {"--ulimit a=2:1", "ulimit \"a=2:1\": the soft limit is above the hard one"},
        {"--ulimit a=-1:1", "ulimit \"a=-1:1\": the soft limit is above the hard one"},
        {"--cap-add ''", "a capability must not be empty"},
        {"--group ''", "--group must not be empty"},
        {"--constraint a=b", "constraint \"a=b\": must be KEY==VALUE or KEY!=VALUE"},
        {"--placement-pref a=b",
         "placement preference \"a=b\": only spread=node.labels.KEY is known"},
        {"--placement-pref spread=node.id",
         "placement preference \"spread=node.id\": can only spread over node.labels.KEY or "
         "engine.labels.KEY"},
        {"--network web", "network \"web\": this version knows only host and none"},
        {"--network host --network none", "a service is on one network: host or none"},
        {"--generic-resource gpu=a", "generic resource \"gpu=a\": must be KIND=COUNT"},
        {"--generic-resource gpu=0", "generic resource \"gpu=0\": must be KIND=COUNT"},
        {"--health-http 0/x", "invalid value \"0/x\" for --health-http: must be PORT/PATH"},
        {"--health-tcp 65536",
         "invalid value \"65536\" for --health-tcp: must be a port, 1 to 65535"},
        {"--health-tcp 1 --health-cmd a",
         "only one of --health-cmd, --health-http and --health-tcp may be given"},
        {"--no-healthcheck --health-retries 1", "--no-healthcheck conflicts with --health-* flags"},
        {"--health-retries 4294967296",
         "invalid value \"4294967296\" for --health-retries: out of range"},
        {"--mount type=bind,src=/a", "mount \"type=bind,src=/a\": target is required"},
        {"--mount dst=a", "mount \"dst=a\": target must be an absolute path: a"},
        {"--mount type=bind,src=a,dst=/a",
         "mount \"type=bind,src=a,dst=/a\": source of a bind mount must be an absolute path"},
        {"--mount type=tmpfs,src=a,dst=/a",
         "mount \"type=tmpfs,src=a,dst=/a\": a tmpfs mount has no source"},
        {"--mount src=/a,dst=/a", "mount \"src=/a,dst=/a\": \"/a\" is not a name of a volume"},
        {"--mount dst=/a,foo=1", "mount \"dst=/a,foo=1\": unknown key \"foo\""},
        {"--mount dst=/a,volume-label=a=b",
         "mount \"dst=/a,volume-label=a=b\": key volume-label is not supported by this version"},
        {"--mount dst", "mount \"dst\": field \"dst\" must be KEY=VALUE"},
        {"--mount type=npipe,dst=/a", "mount \"type=npipe,dst=/a\": invalid value for type: npipe"},
        {"--mount dst=/a,ro=x", "mount \"dst=/a,ro=x\": invalid value for ro: x"},
        {"--mount dst=/a,tmpfs-size=1M",
         "mount \"dst=/a,tmpfs-size=1M\": tmpfs-* keys do not go with type volume"},
        {"--mount type=tmpfs,dst=/a,tmpfs-mode=9",
         "mount \"type=tmpfs,dst=/a,tmpfs-mode=9\": invalid value for tmpfs-mode: 9"},
        {"--mount dst=/a,bind-propagation=slave",
         "mount \"dst=/a,bind-propagation=slave\": bind-* keys do not go with type volume"},
        {"--mount type=bind,src=/a,dst=/a,volume-nocopy",
         "mount \"type=bind,src=/a,dst=/a,volume-nocopy\": volume-* keys do not go with type bind"},
        {"--mount '\"dst=/a'", "mount \"\"dst=/a\": wrong or unfinished quote"},
        {"--mount '\"dst=/a\"\"'", "mount \"\"dst=/a\"\"\": wrong or unfinished quote"},
        {"--mount '\"dst=/a\"b'", "mount \"\"dst=/a\"b\": wrong or unfinished quote"},
};

static void what_cannot_be_is_refused(void **state)
{
        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
                Swarm__ServiceSpec *s = spec_begin();
                struct err err = {0};

                assert_int_equal(apply(s, refused[i].line, &err), -EINVAL);
                assert_string_equal(err.text, refused[i].text);
                wire_free(s);
        }
}

/* A spec in force, the flags of an update, and what a path is then. */
static const struct {
        const char *first, *update, *path, *value;
} edited[] = {
        {"-e A=1 -e B=2 -e C=3", "--env-rm B --env-add D=4 --env-add A=9", CONTAINER "Env",
         "[\"A=9\",\"C=3\",\"D=4\"]"},
        {"-e A=1", "--env-rm A --env-add A=2", CONTAINER "Env", "[\"A=2\"]"},
        {"-e A=1", "--env-add B=2 --env-rm B", CONTAINER "Env", "[\"A=1\",\"B=2\"]"},
        {"-e SPEC_TEST_UNSET -e A=1", "--env-rm SPEC_TEST_UNSET", CONTAINER "Env", "[\"A=1\"]"},
        {"-l a=1 -l b=2", "--label-rm a", ".Labels", "{\"b\":\"2\"}"},
        {"-l a=1", "--label-rm a", ".Labels", "{}"},
        {"--mount src=v,dst=/v", "--mount-add src=w,dst=/v", CONTAINER "Mounts",
         "[{\"Type\":\"volume\",\"Source\":\"w\",\"Target\":\"/v\"}]"},
        {"--mount src=v,dst=/v --mount src=w,dst=/w", "--mount-rm /v", CONTAINER "Mounts",
         "[{\"Type\":\"volume\",\"Source\":\"w\",\"Target\":\"/w\"}]"},
        {"--placement-pref spread=node.labels.a --placement-pref spread=node.labels.b",
         "--placement-pref-rm spread=node.labels.a", PLACEMENT "Preferences",
         "[{\"Spread\":{\"SpreadDescriptor\":\"node.labels.b\"}}]"},
        {"--constraint a==1 --constraint b==2", "--constraint-rm a==1", PLACEMENT "Constraints",
         "[\"b==2\"]"},
        {"--network host", "--network-rm host --network-add none", ".TaskTemplate.Networks",
         "[{\"Target\":\"none\"}]"},
        {"--generic-resource a=1 --generic-resource b=1", "--generic-resource-rm a=1",
         RESOURCES "Reservations.GenericResources",
         "[{\"DiscreteResourceSpec\":{\"Kind\":\"b\",\"Value\":1}}]"},
        {"--cap-drop net_raw --cap-drop chown", "--cap-add NET_RAW", CONTAINER "CapabilityDrop",
         "[\"CAP_CHOWN\"]"},
        {"--health-cmd a --health-retries 2", "--health-interval 1s", CONTAINER "Healthcheck",
         "{\"Test\":[\"CMD-SHELL\",\"a\"],\"Interval\":1000000000,\"Retries\":2}"},
        {"--no-healthcheck", "--health-interval 1s", CONTAINER "Healthcheck",
         "{\"Interval\":1000000000}"},
        {"--health-cmd a --health-interval 1s --health-retries 2", "--no-healthcheck",
         CONTAINER "Healthcheck", "{\"Test\":[\"NONE\"]}"},
        {"--health-http 80/x", "--health-tcp 81", CONTAINER "Healthcheck.Test", "[\"TCP\",\"81\"]"},
        {"--update-parallelism 3 --update-monitor 1s", "--update-delay 2s",
         ".UpdateConfig.Parallelism", "3"},
        {"--limit-cpu 1 --limit-memory 10M", "--limit-cpu 0", RESOURCES "Limits",
         "{\"MemoryBytes\":10485760}"},
        {"--read-only", "--read-only=false --user x", CONTAINER "User", "\"x\""},
        {"--args 'a b'", "--args ''", CONTAINER "Image", "\"\""},
        {"--force", "--force", ".TaskTemplate.ForceUpdate", "2"},
        {"--replicas 4", "--image x", ".Mode.Replicated.Replicas", "4"},
};

static void an_update_edits_only_what_its_flags_say(void **state)
{
        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(edited); i++) {
                Swarm__ServiceSpec *s = spec_begin();
                struct err err = {0};

                assert_int_equal(apply(s, edited[i].first, &err), 0);
                assert_int_equal(apply(s, edited[i].update, &err), 0);
                _cleanup_free_ char *value = read_path(s, edited[i].path);
                assert_string_equal(value, edited[i].value);
                wire_free(s);
        }
}

static void removing_what_is_not_there_does_nothing(void **state)
{
        static const char *const lines[] = {"--env-rm X",
                                            "--label-rm X",
                                            "--container-label-rm X",
                                            "--mount-rm /x",
                                            "--group-rm X",
                                            "--sysctl-rm X",
                                            "--constraint-rm a==b",
                                            "--ulimit-rm nofile",
                                            "--network-rm host",
                                            "--placement-pref-rm spread=node.labels.x"};

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
                Swarm__ServiceSpec *s = spec_begin();
                struct err err = {0};

                assert_int_equal(apply(s, "--name x --image a:1", &err), 0);
                _cleanup_free_ char *before = read_path(s, ".");
                assert_int_equal(apply(s, lines[i], &err), 0);
                _cleanup_free_ char *after = read_path(s, ".");
                assert_string_equal(after, before);
                wire_free(s);
        }
        Swarm__ServiceSpec *s = spec_begin();
        struct err err = {0};
        assert_int_equal(apply(s, "--generic-resource-rm gpu", &err), -ENOENT);
        assert_string_equal(err.text,
                            "--generic-resource-rm gpu: the service has no such generic resource");
        wire_free(s);
}

static void env_files_are_read_as_dockers(void **state)
{
        static const struct {
                const char *text, *expected; /* by commas; or the error */
        } cases[] = {
                {"A=1\n", "A=1"},
                {"\xef\xbb\xbf"
                 "A=1",
                 "A=1"},
                {"# no\n\n  # no=1\n\tA= 1 # yes \nB==\n", "A= 1 # yes ,B=="},
                {"A=1\r\nB=\r2\r\n\r\n", "A=1,B=\r2"},
                {"SPEC_TEST_SET\nSPEC_TEST_UNSET\n", "SPEC_TEST_SET=here"},
                {"A=1\nA=2\n", "A=2"},
                {"A=1\nB C=2\n", "env file FILE: line 2: variable \"B C\" contains whitespace"},
                {"A =1\n", "env file FILE: line 1: variable \"A \" contains whitespace"},
                {"\n=1\n", "env file FILE: line 2: environment variable \"=1\": no name"},
                {"B C\n", "env file FILE: line 1: variable \"B C\" contains whitespace"},
        };
        char path[] = "/tmp/swarm-env.XXXXXX";
        _cleanup_close_ int fd = mkstemp(path);
        _cleanup_free_ char *line = xasprintf("--env-file %s", path);

        (void)state;
        setenv("SPEC_TEST_SET", "here", 1);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                Swarm__ServiceSpec *s = spec_begin();
                _cleanup_buf_ struct buf b = {0};
                struct err err = {0};

                assert_int_equal(ftruncate(fd, 0), 0);
                assert_int_equal(pwrite(fd, cases[i].text, strlen(cases[i].text), 0),
                                 strlen(cases[i].text));
                int r = apply(s, line, &err);
                if (r < 0) {
                        const char *after = strstr(err.text, path);

                        assert_non_null(after);
                        assert_int_equal(r, -EBADMSG);
                        buf_printf(&b, "env file FILE%s", after + strlen(path));
                }
                for (size_t k = 0; r == 0 && k < s->task->container->n_env; k++)
                        buf_printf(&b, "%s%s", k ? "," : "", s->task->container->env[k]);
                assert_string_equal(buf_str(&b), cases[i].expected);
                wire_free(s);
        }
        unlink(path);
        Swarm__ServiceSpec *s = spec_begin();
        struct err err = {0};
        assert_int_equal(apply(s, line, &err), -ENOENT);
        assert_non_null(strstr(err.text, ": no such file or directory"));
        wire_free(s);
}

/* A field of a later version, number 900, as it would come from a newer manager. */
static void fields_of_a_later_version_survive(void **state)
{
        static const uint8_t unknown[] = {0xa0, 0x38, 0x2a};
        _cleanup_buf_ struct buf b = {0};
        Swarm__ServiceSpec *s = spec_begin();
        struct err err = {0};

        (void)state;
        WIRE_PACK(s, &b);
        wire_free(s);
        buf_append(&b, unknown, sizeof(unknown));
        s = wire_unpack_heap(&swarm__service_spec__descriptor, b.data, b.len);
        assert_non_null(s);
        assert_int_equal(apply(s, "--env-add A=1 --replicas 2", &err), 0);
        buf_clear(&b);
        WIRE_PACK(s, &b);
        wire_free(s);
        assert_true(b.len > sizeof(unknown));
        assert_memory_equal(b.data + b.len - sizeof(unknown), unknown, sizeof(unknown));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(each_flag_makes_its_part_of_the_spec),
                cmocka_unit_test(what_cannot_be_is_refused),
                cmocka_unit_test(an_update_edits_only_what_its_flags_say),
                cmocka_unit_test(removing_what_is_not_there_does_nothing),
                cmocka_unit_test(env_files_are_read_as_dockers),
                cmocka_unit_test(fields_of_a_later_version_survive),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
