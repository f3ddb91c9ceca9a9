/* The agent's core after a restart: what the journal holds against what the runtime finds. */
#include "tests/lib/unit.h"

#include <errno.h>

#include "tests/lib/agent_rig.h"

static void restart_finds_it_running(void **state)
{
        struct fake *f = *state;

        fake_begin_running(f, 1);
        fake_restart(f);
        agent_load_container(f->a, fake_id(1), true, NULL);
        agent_start(f->a, f->now);
        fake_expect(f, "");
        agent_on_connected(f->a, f->now);
        fake_give_session(f);
        fake_expect_sent(f, "register; status 1: 1=running");
        fake_give_set(f, &(struct fake_set){.is_complete = true, .tasks = {{1, TASK_RUNNING}}});
        fake_expect(f, "");
}

static void restart_finds_it_ended(void **state)
{
        struct fake *f = *state;
        struct container_event e = {
                .task = fake_id(1), .kind = CONTAINER_EXITED, .exit_code = 4, .wall_ms = 123};

        fake_begin_running(f, 1);
        fake_restart(f);
        agent_load_container(f->a, fake_id(1), false, &e);
        agent_start(f->a, f->now);
        agent_on_connected(f->a, f->now);
        fake_give_session(f);
        fake_expect_sent(f, "register; status 1: 1=failed(task: non-zero exit (4))");
        fake_expect(f, "");
}

static void restart_finds_it_gone(void **state)
{
        struct fake *f = *state;

        fake_begin_running(f, 1);
        fake_restart(f);
        agent_start(f->a, f->now);
        agent_on_connected(f->a, f->now);
        fake_give_session(f);
        fake_expect_sent(f, "register; status 1: 1=failed(task: exit status not known: "
                            "the container was gone when the agent started)");
}

/* Its image comes with the first set. */
static void restart_before_the_start_goes_on_when_it_is_named(void **state)
{
        struct fake *f = *state;

        fake_begin(f);
        fake_give_set(f, &(struct fake_set){.tasks = {{1, TASK_RUNNING}, {2, TASK_RUNNING}}});
        fake_restart(f);
        agent_start(f->a, f->now);
        agent_on_connected(f->a, f->now);
        fake_give_session(f);
        fake_expect(f, "");
        fake_give_set(f, &(struct fake_set){.is_complete = true, .tasks = {{1, TASK_RUNNING}}});
        fake_expect(f, "prepare 1");
        assert_false(fake_journal_has(f, 2));
        fake_happen(f, 1, CONTAINER_PREPARED);
        fake_expect(f, "start 1");
}

static void restart_before_the_start_ends_if_told(void **state)
{
        struct fake *f = *state;

        fake_begin(f);
        fake_give_set(f, &(struct fake_set){.tasks = {{1, TASK_RUNNING}}});
        fake_restart(f);
        agent_start(f->a, f->now);
        agent_on_connected(f->a, f->now);
        fake_give_session(f);
        fake_clear_sent(f);
        fake_acknowledge(f, 1);
        fake_give_set(f, &(struct fake_set){.is_complete = true, .tasks = {{1, TASK_SHUTDOWN}}});
        fake_expect(f, "");
        fake_expect_sent(f, "status 2: 1=shutdown");
}

static void restart_goes_on_stopping(void **state)
{
        struct fake *f = *state;

        fake_begin_running(f, 1);
        fake_give_set(f, &(struct fake_set){.tasks = {{1, TASK_SHUTDOWN}}});
        fake_restart(f);
        agent_load_container(f->a, fake_id(1), true, NULL);
        agent_start(f->a, f->now);
        fake_expect(f, "stop 1");
}

static void restart_goes_on_removing(void **state)
{
        struct fake *f = *state;

        fake_begin_running(f, 1);
        fake_give_set(f, &(struct fake_set){.removed = 1});
        fake_end(f, 1, 0, false);
        fake_restart(f);
        agent_start(f->a, f->now);
        fake_expect(f, "remove 1");
        fake_happen(f, 1, CONTAINER_REMOVED);
        assert_false(fake_journal_has(f, 1));
}

/* A container of a task that is not known here, and a manager that is asked. */
static void begin_with_container(struct fake *f, bool is_running)
{
        const struct container_event ended = {
                .task = fake_id(5), .kind = CONTAINER_EXITED, .exit_code = 0};

        agent_load_container(f->a, fake_id(5), is_running, is_running ? NULL : &ended);
        agent_start(f->a, f->now);
        agent_on_connected(f->a, f->now);
        fake_give_session(f);
        fake_clear_sent(f);
        fake_expect(f, "");
}

static void container_of_no_task_is_removed(void **state)
{
        struct fake *f = *state;

        begin_with_container(f, true);
        fake_give_set(f, &(struct fake_set){.is_complete = true});
        fake_expect(f, "stop 5");
        fake_end(f, 5, 0, false);
        fake_expect(f, "remove 5");
        fake_expect_sent(f, "");
}

/* It may end before anybody says whose it is. */
static void ended_container_of_no_task_is_removed(void **state)
{
        struct fake *f = *state;

        begin_with_container(f, true);
        fake_end(f, 5, 3, false);
        fake_expect(f, "");
        fake_give_set(f, &(struct fake_set){.is_complete = true});
        fake_expect(f, "remove 5");
        fake_happen(f, 5, CONTAINER_REMOVED);
        assert_true(agent_is_idle(f->a));
        fake_expect_sent(f, "");
}

/* The journal is lost: the manager still has the task of the container, which goes on. */
static void running_container_is_its_tasks_again(void **state)
{
        struct fake *f = *state;

        begin_with_container(f, true);
        fake_give_set(f, &(struct fake_set){.is_complete = true, .tasks = {{5, TASK_RUNNING}}});
        fake_expect(f, "adopt 5");
        assert_true(fake_journal_has(f, 5));
        fake_happen(f, 5, CONTAINER_STARTED);
        fake_expect_sent(f, "status 1: 5=running");
        fake_acknowledge(f, 1);
        fake_end(f, 5, 1, false);
        fake_expect(f, "");
        fake_expect_sent(f, "status 2: 5=failed(task: non-zero exit (1))");
}

/* And one that has run is not run again, whatever its restart policy is. */
static void ended_container_is_its_tasks_again(void **state)
{
        struct fake *f = *state;

        begin_with_container(f, false);
        fake_give_set(f, &(struct fake_set){.is_complete = true, .tasks = {{5, TASK_RUNNING}}});
        fake_expect(f, "adopt 5");
        fake_end(f, 5, 0, false);
        fake_expect_sent(f, "status 1: 5=complete");
        fake_acknowledge(f, 1);
        fake_give_set(f, &(struct fake_set){.removed = 5});
        fake_expect(f, "remove 5");
}

static void adopted_container_is_stopped(void **state)
{
        struct fake *f = *state;

        begin_with_container(f, true);
        fake_give_set(f, &(struct fake_set){.is_complete = true, .tasks = {{5, TASK_SHUTDOWN}}});
        fake_expect(f, "adopt 5 stop 5");
        fake_happen(f, 5, CONTAINER_STARTED);
        fake_end(f, 5, 143, false);
        fake_expect(f, "");
        fake_expect_sent(f, "status 1: 5=shutdown");
}

/* A task that is named again when its container goes already. */
static void begin_unknown_container(struct fake *f)
{
        begin_with_container(f, true);
        fake_give_set(f, &(struct fake_set){.is_complete = true});
        fake_expect(f, "stop 5");
        fake_give_set(f, &(struct fake_set){.tasks = {{5, TASK_RUNNING}}});
        fake_expect(f, "");
}

static void task_of_an_unknown_container_begins_when_it_is_gone(void **state)
{
        struct fake *f = *state;

        begin_unknown_container(f);
        fake_end(f, 5, 143, false);
        fake_expect(f, "remove 5");
        fake_expect_sent(f, "");
        fake_happen(f, 5, CONTAINER_REMOVED);
        fake_expect(f, "prepare 5");
        assert_true(fake_journal_has(f, 5));
        fake_happen(f, 5, CONTAINER_PREPARED);
        fake_happen(f, 5, CONTAINER_STARTED);
        fake_expect(f, "start 5");
        fake_expect_sent(f, "status 1: 5=running");
        fake_give_set(f, &(struct fake_set){.removed = 5});
        fake_expect(f, "stop 5");
}

static void task_of_an_unknown_container_may_end_before_it_begins(void **state)
{
        struct fake *f = *state;

        begin_unknown_container(f);
        fake_end(f, 5, 143, false);
        fake_give_set(f, &(struct fake_set){.tasks = {{5, TASK_SHUTDOWN}}});
        fake_happen(f, 5, CONTAINER_REMOVED);
        fake_expect(f, "remove 5");
        fake_expect_sent(f, "status 1: 5=shutdown");
}

static void task_of_an_unknown_container_may_be_removed_meanwhile(void **state)
{
        struct fake *f = *state;

        begin_unknown_container(f);
        fake_give_set(f, &(struct fake_set){.removed = 5});
        fake_end(f, 5, 143, false);
        fake_happen(f, 5, CONTAINER_REMOVED);
        fake_expect(f, "remove 5");
        assert_false(fake_journal_has(f, 5));
        assert_true(agent_is_idle(f->a));
        fake_expect_sent(f, "");
}

static void bad_records_are_refused(void **state)
{
        struct fake *f = *state;
        static const uint8_t garbage[] = {0x0a, 0xff};

        assert_int_equal(agent_load_task(f->a, garbage, sizeof(garbage)), -EBADMSG);
        assert_int_equal(agent_load_task(f->a, NULL, 0), -EBADMSG);
}
#define T(f) cmocka_unit_test_setup_teardown(f, fake_set_up, fake_tear_down)

int main(void)
{
        const struct CMUnitTest tests[] = {
                T(restart_finds_it_running),
                T(restart_finds_it_ended),
                T(restart_finds_it_gone),
                T(restart_before_the_start_goes_on_when_it_is_named),
                T(restart_before_the_start_ends_if_told),
                T(restart_goes_on_stopping),
                T(restart_goes_on_removing),
                T(container_of_no_task_is_removed),
                T(ended_container_of_no_task_is_removed),
                T(running_container_is_its_tasks_again),
                T(ended_container_is_its_tasks_again),
                T(adopted_container_is_stopped),
                T(task_of_an_unknown_container_begins_when_it_is_gone),
                T(task_of_an_unknown_container_may_end_before_it_begins),
                T(task_of_an_unknown_container_may_be_removed_meanwhile),
                T(bad_records_are_refused),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
