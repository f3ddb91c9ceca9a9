/* Health checks of a real container: what is told of those that fail, and when. */
#include "agent/health/health.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/runtime/runtime_internal.h"
#include "shared/base/base.h"
#include "tests/lib/container_rig.h"
#include "tests/lib/unit.h"

static struct rig rig;
static struct id task;
static struct health *health;
static bool has_finding;
static enum health_finding finding;
static char said[600];

static void on_finding(void *arg UNUSED, struct id id, enum health_finding what, const char *text)
{
        assert_true(id_is_equal(id, task));
        finding = what;
        snprintf(said, sizeof(said), "%s", text ? text : "");
        has_finding = true;
}

static int set_up(void **state UNUSED)
{
        struct health_events events = {.on_finding = on_finding};
        char *argv[] = {(char *)"/bin/sleep", (char *)"1000", NULL};

        if (!rig_open(&rig, NULL))
                return -1;
        struct container_config c = rig_config(&rig, argv);

        task = c.id;
        assert_int_equal(rig_start(&rig, &c), 0);
        health = health_new(rig.loop, rig.runtime, &events);
        return 0;
}

static int tear_down(void **state UNUSED)
{
        health_free(health);
        runtime_kill(rig.runtime, task);
        rig_wait_exit(&rig);
        rig_remove(&rig, task);
        rig_close(&rig);
        return 0;
}

static void watch(enum health_type type, char *command, int64_t timeout_ms, bool is_known_healthy)
{
        Swarm__Health h = SWARM__HEALTH__INIT;

        h.type = type;
        h.cmd = &command;
        h.n_cmd = command ? 1 : 0;
        h.port = 9;
        h.path = (char *)"/";
        h.interval_ms = h.start_interval_ms = 20;
        h.timeout_ms = timeout_ms;
        h.retries = 2;
        has_finding = false;
        health_watch(health, task, &h, is_known_healthy);
}

static void expect(enum health_finding what, const char *text)
{
        rig_wait(&rig, &has_finding);
        assert_int_equal(finding, what);
        assert_string_equal(said, text);
        has_finding = false;
}

static void a_failing_command_is_told_with_its_output(void **state UNUSED)
{
        watch(HEALTH_SHELL, (char *)"echo no db; echo >&2 'at 10.0.0.1'; exit 7", 5000, false);
        expect(HEALTH_IS_BROKEN, "exit 7: no db at 10.0.0.1");
}

static void output_is_cut_and_made_clean(void **state UNUSED)
{
        watch(HEALTH_SHELL,
              (char *)"printf '\\033[1m\\000'; head -c 9000 /dev/zero | tr '\\0' x; exit 1", 5000,
              false);
        rig_wait(&rig, &has_finding);
        assert_true(strlen(said) > 400 && strlen(said) < 512);
        assert_true(text_is_valid(said));
        assert_true(str_has_prefix(said, "exit 1:  [1m xxx"));
}

static void a_command_that_is_not_there_is_named(void **state UNUSED)
{
        watch(HEALTH_CMD, (char *)"/bin/none", 5000, false);
        rig_wait(&rig, &has_finding);
        assert_int_equal(finding, HEALTH_IS_BROKEN);
        assert_non_null(strstr(said, "/bin/none"));
}

static void a_slow_command_is_told_with_its_limit(void **state UNUSED)
{
        watch(HEALTH_SHELL, (char *)"echo waiting; sleep 100", 150, false);
        expect(HEALTH_IS_BROKEN, "timed out after 150 ms: waiting");
}

/* A supervisor's answer to the command that runs now, given in its stead. */
static void answer(int value)
{
        struct container *c = map_get_id(&rig.runtime->containers, task);

        while (list_is_empty(&c->execs))
                rig_turn(&rig, 5);
        const struct shim_message m = {
                .type = SHIM_RESULT,
                .cookie = LIST_ITEM(c->execs.next, struct exec_wait, link)->cookie,
                .value = value};
        exec_answered(c, &m, "");
}

/* A container that is full of processes is ill; a supervisor that is full of commands is not. */
static void a_full_container_fails_and_a_busy_supervisor_does_not(void **state UNUSED)
{
        watch(HEALTH_SHELL, (char *)"sleep 1000", 5000, false);
        for (int i = 0; i < 3; i++)
                answer(-EBUSY);
        assert_false(has_finding);
        for (int i = 0; i < 2; i++)
                answer(-EAGAIN);
        expect(HEALTH_IS_BROKEN, "cannot be run: resource temporarily unavailable");
}

static void a_refused_connection_is_told(void **state UNUSED)
{
        watch(HEALTH_TCP, NULL, 5000, false);
        expect(HEALTH_IS_BROKEN, "connect: connection refused");
}

/* The program is well, fails once, is well, and then for good. */
static void failures_of_a_healthy_one_are_told_at_once(void **state UNUSED)
{
        watch(HEALTH_SHELL, (char *)"[ -e /ill ] || exit 0; echo ill; mv /ill /was; exit 1", 5000,
              true);
        assert_int_equal(rig_exec(&rig, task, "touch /ill", 5000), 0);
        expect(HEALTH_FAILS, "exit 1: ill");
        expect(HEALTH_PASSES, "");
        watch(HEALTH_SHELL, (char *)"exit 3", 5000, true);
        expect(HEALTH_FAILS, "exit 3");
        expect(HEALTH_IS_BROKEN, "exit 3");
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
        const struct CMUnitTest tests[] = {
                T(a_failing_command_is_told_with_its_output),
                T(output_is_cut_and_made_clean),
                T(a_command_that_is_not_there_is_named),
                T(a_slow_command_is_told_with_its_limit),
                T(a_full_container_fails_and_a_busy_supervisor_does_not),
                T(a_refused_connection_is_told),
                T(failures_of_a_healthy_one_are_told_at_once),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
