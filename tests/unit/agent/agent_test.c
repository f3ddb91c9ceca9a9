/* The agent's core, driven through its ports: each way of a task, the sets, the session. */
#include "tests/lib/unit.h"

#include <errno.h>

#include "tests/lib/agent_rig.h"

/* --- ways of a task ----------------------------------------------------------------------------
 */

static void fast_start_is_one_report(void **state)
{
        struct fake *f = *state;

        fake_begin(f);
        fake_give_set(f, &(struct fake_set){.tasks = {{1, TASK_RUNNING}, {2, TASK_RUNNING}}});
        fake_expect(f, "prepare 1 prepare 2");
        fake_happen(f, 1, CONTAINER_PREPARED);
        fake_expect(f, "start 1");
        fake_expect_sent(f, "");
        fake_happen(f, 1, CONTAINER_STARTED);
        fake_expect_sent(f, "status 1: 1=running 2=preparing");
        fake_happen(f, 2, CONTAINER_PREPARED);
        fake_happen(f, 2, CONTAINER_STARTED);
        fake_expect_sent(f, "");
        fake_acknowledge(f, 1);
        fake_expect_sent(f, "status 2: 2=running");
        fake_acknowledge(f, 2);
        fake_tick(f, 500);
        fake_expect_sent(f, "");
}

static void slow_prepare_is_told(void **state)
{
        struct fake *f = *state;

        fake_begin(f);
        fake_give_set(f, &(struct fake_set){.tasks = {{1, TASK_READY}}});
        fake_tick(f, 60);
        fake_expect_sent(f, "status 1: 1=preparing");
        fake_acknowledge(f, 1);
        fake_happen(f, 1, CONTAINER_PREPARED);
        fake_expect(f, "prepare 1");
        fake_expect_sent(f, "status 2: 1=ready");
        fake_give_set(f, &(struct fake_set){.tasks = {{1, TASK_RUNNING}}});
        fake_expect(f, "start 1");
}

static void health_check_gates_running(void **state)
{
        struct fake *f = *state;
        struct container_event e = {
                .task = fake_id(1), .kind = CONTAINER_STARTED, .is_health_checked = true};

        fake_begin(f);
        fake_give_set(f, &(struct fake_set){.tasks = {{1, TASK_RUNNING}}});
        fake_happen(f, 1, CONTAINER_PREPARED);
        agent_on_container(f->a, f->now, &e);
        fake_tick(f, 60);
        fake_expect_sent(f, "status 1: 1=starting");
        fake_acknowledge(f, 1);
        fake_happen(f, 1, CONTAINER_HEALTHY);
        fake_expect_sent(f, "status 2: 1=running");
        fake_acknowledge(f, 2);
        buf_clear(&f->log);
        fake_happen(f, 1, CONTAINER_UNHEALTHY);
        fake_expect(f, "stop 1");
        fake_end(f, 1, 143, false);
        fake_expect_sent(f, "status 3: 1=failed(unhealthy: broken)");
}

static void failed_checks_are_told(void **state)
{
        struct fake *f = *state;
        struct container_event e = {
                .task = fake_id(1), .kind = CONTAINER_STARTED, .is_health_checked = true};

        fake_begin(f);
        fake_give_set(f, &(struct fake_set){.tasks = {{1, TASK_RUNNING}}});
        fake_happen(f, 1, CONTAINER_PREPARED);
        agent_on_container(f->a, f->now, &e);
        fake_happen(f, 1, CONTAINER_UNWELL);
        fake_tick(f, 60);
        fake_expect_sent(f, "status 1: 1=starting(health check failed: broken)");
        fake_acknowledge(f, 1);
        fake_happen(f, 1, CONTAINER_HEALTHY);
        fake_expect_sent(f, "status 2: 1=running");
        fake_acknowledge(f, 2);
        fake_happen(f, 1, CONTAINER_UNWELL);
        fake_tick(f, 60);
        fake_expect_sent(f, "status 3: 1=running(health check failed: broken)");
        fake_acknowledge(f, 3);
        fake_happen(f, 1, CONTAINER_HEALTHY);
        fake_tick(f, 60);
        fake_expect_sent(f, "status 4: 1=running");
}

/* Why and that it is stopped is told at once, and not only when it has ended. */
static void a_stop_is_told(void **state)
{
        struct fake *f = *state;
        struct container_event e = {
                .task = fake_id(1), .kind = CONTAINER_STARTED, .is_health_checked = true};

        fake_begin(f);
        fake_give_set(f, &(struct fake_set){.tasks = {{1, TASK_RUNNING}, {2, TASK_RUNNING}}});
        fake_happen(f, 1, CONTAINER_PREPARED);
        agent_on_container(f->a, f->now, &e);
        fake_happen(f, 1, CONTAINER_UNHEALTHY);
        fake_happen(f, 1, CONTAINER_UNWELL);
        fake_happen(f, 1, CONTAINER_HEALTHY);
        e.task = fake_id(2);
        fake_happen(f, 2, CONTAINER_PREPARED);
        agent_on_container(f->a, f->now, &e);
        fake_give_set(f, &(struct fake_set){.tasks = {{2, TASK_SHUTDOWN}}});
        fake_tick(f, 60);
        fake_expect_sent(f, "status 1: 1=starting(unhealthy: broken)[stopping] "
                            "2=starting[stopping]");
        fake_end(f, 1, 143, false);
        fake_end(f, 2, 143, false);
        fake_acknowledge(f, 1);
        fake_expect_sent(f, "status 2: 1=failed(unhealthy: broken) 2=shutdown");
}

static void ends_are_told_apart(void **state)
{
        static const struct {
                int exit_code;
                bool is_oom;
                const char *sent;
        } cases[] = {
                {0, false, "status 2: 1=complete"},
                {3, false, "status 2: 1=failed(task: non-zero exit (3))"},
                {137, true, "status 2: 1=failed(task: non-zero exit (137): out of memory)"},
                {-1, false, "status 2: 1=failed(task: exit status not known)"},
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct fake *f;

                fake_set_up((void **)&f);
                fake_begin_running(f, 1);
                fake_end(f, 1, cases[i].exit_code, cases[i].is_oom);
                fake_expect_sent(f, cases[i].sent);
                fake_expect(f, "");
                fake_tear_down((void **)&f);
        }
        (void)state;
}

static void stopped_as_asked_is_shutdown(void **state)
{
        struct fake *f = *state;

        fake_begin_running(f, 1);
        fake_give_set(f, &(struct fake_set){.tasks = {{1, TASK_SHUTDOWN}}});
        fake_expect(f, "stop 1");
        fake_expect_sent(f, "");
        fake_end(f, 1, 143, false);
        fake_expect_sent(f, "status 2: 1=shutdown");
        fake_acknowledge(f, 2);
        fake_give_set(f, &(struct fake_set){.removed = 1});
        fake_expect(f, "remove 1");
        assert_true(fake_journal_has(f, 1));
        fake_happen(f, 1, CONTAINER_REMOVED);
        assert_false(fake_journal_has(f, 1));
        fake_tick(f, 500);
        fake_expect_sent(f, "");
}

static void failed_prepare_is_rejected(void **state)
{
        struct fake *f = *state;

        fake_begin(f);
        fake_give_set(f, &(struct fake_set){.tasks = {{1, TASK_RUNNING}}});
        fake_happen(f, 1, CONTAINER_FAILED);
        fake_expect_sent(f, "status 1: 1=rejected(broken)");
}

static void failed_start_is_failed(void **state)
{
        struct fake *f = *state;

        fake_begin(f);
        fake_give_set(f, &(struct fake_set){.tasks = {{1, TASK_RUNNING}}});
        fake_happen(f, 1, CONTAINER_PREPARED);
        fake_happen(f, 1, CONTAINER_FAILED);
        fake_expect_sent(f, "status 1: 1=failed(broken)");
}

static void removed_while_preparing(void **state)
{
        struct fake *f = *state;

        fake_begin(f);
        fake_give_set(f, &(struct fake_set){.tasks = {{1, TASK_RUNNING}}});
        fake_give_set(f, &(struct fake_set){.removed = 1});
        fake_expect(f, "prepare 1");
        fake_happen(f, 1, CONTAINER_PREPARED);
        fake_expect(f, "remove 1");
        fake_happen(f, 1, CONTAINER_REMOVED);
        assert_false(fake_journal_has(f, 1));
        fake_expect_sent(f, "");
}

static void shut_down_while_preparing_is_told_at_once(void **state)
{
        struct fake *f = *state;

        fake_begin(f);
        fake_give_set(f, &(struct fake_set){.tasks = {{1, TASK_RUNNING}}});
        fake_give_set(f, &(struct fake_set){.tasks = {{1, TASK_SHUTDOWN}}});
        fake_expect_sent(f, "status 1: 1=shutdown");
        fake_happen(f, 1, CONTAINER_PREPARED);
        fake_expect(f, "prepare 1");
}

/* It is not waited for: it may never end. Whether it fails then, or had just come to its end and
 * the container does, the task is shut down, once. */
static void stop_during_start(void **state)
{
        struct fake *f = *state;

        fake_begin(f);
        fake_give_set(f, &(struct fake_set){.tasks = {{1, TASK_RUNNING}, {2, TASK_RUNNING}}});
        fake_happen(f, 1, CONTAINER_PREPARED);
        fake_happen(f, 2, CONTAINER_PREPARED);
        fake_expect(f, "prepare 1 prepare 2 start 1 start 2");
        fake_give_set(f, &(struct fake_set){.tasks = {{1, TASK_SHUTDOWN}, {2, TASK_SHUTDOWN}}});
        fake_expect(f, "stop 1 stop 2");
        fake_happen(f, 1, CONTAINER_FAILED);
        fake_happen(f, 2, CONTAINER_STARTED);
        fake_end(f, 2, 0, false);
        fake_expect(f, "");
        fake_expect_sent(f, "status 1: 1=shutdown 2=starting[stopping]");
        fake_acknowledge(f, 1);
        fake_expect_sent(f, "status 2: 2=shutdown");
        fake_give_set(f, &(struct fake_set){.removed = 1});
        fake_expect(f, "remove 1");
}

static void removed_while_running_is_stopped_first(void **state)
{
        struct fake *f = *state;

        fake_begin_running(f, 1);
        fake_give_set(f, &(struct fake_set){.removed = 1});
        fake_expect(f, "stop 1");
        fake_end(f, 1, 143, false);
        fake_expect(f, "remove 1");
        fake_happen(f, 1, CONTAINER_REMOVED);
        fake_expect_sent(f, "");
        assert_false(fake_journal_has(f, 1));
}

/* --- sets --------------------------------------------------------------------------------------
 */

static void complete_set_removes_the_rest(void **state)
{
        struct fake *f = *state;

        fake_begin_running(f, 1);
        fake_give_set(f, &(struct fake_set){.is_complete = true, .tasks = {{2, TASK_RUNNING}}});
        fake_expect(f, "prepare 2 stop 1");
}

static void complete_set_in_parts(void **state)
{
        struct fake *f = *state;

        fake_begin_running(f, 1);
        fake_give_set(f, &(struct fake_set){.is_complete = true,
                                            .is_continued = true,
                                            .tasks = {{2, TASK_RUNNING}}});
        fake_expect(f, "prepare 2");
        fake_give_set(f, &(struct fake_set){
                                 .is_complete = true, .applies_to = f->seq, .tasks = {{1, 512}}});
        fake_expect(f, "");
        fake_give_set(f, &(struct fake_set){.is_complete = true});
        fake_expect(f, "stop 1");
}

static void complete_set_that_begins_anew_stands_alone(void **state)
{
        struct fake *f = *state;

        fake_begin_running(f, 1);
        fake_give_set(f, &(struct fake_set){.is_complete = true,
                                            .is_continued = true,
                                            .tasks = {{1, TASK_RUNNING}}});
        fake_give_set(f, &(struct fake_set){.is_complete = true,
                                            .is_continued = true,
                                            .tasks = {{2, TASK_RUNNING}}});
        fake_expect(f, "prepare 2");
        fake_give_set(f, &(struct fake_set){
                                 .is_complete = true, .applies_to = f->seq, .tasks = {{3, 512}}});
        fake_expect(f, "prepare 3 stop 1");
        fake_expect_sent(f, "");
}

static void copy_of_a_first_part_is_ignored(void **state)
{
        struct fake *f = *state;
        struct fake_set part = {
                .is_complete = true, .is_continued = true, .tasks = {{1, TASK_RUNNING}}};

        fake_begin_running(f, 1);
        fake_give_set(f, &part);
        part.results_in = f->seq;
        fake_give_set(f, &part);
        fake_give_set(f, &(struct fake_set){.is_complete = true, .applies_to = f->seq});
        fake_expect(f, "");
        fake_expect_sent(f, "");
}

static void later_part_without_the_first_is_not_taken(void **state)
{
        struct fake *f = *state;

        fake_begin_running(f, 1);
        agent_on_connected(f->a, f->now);
        fake_give_session(f);
        fake_clear_sent(f);
        f->seq = 1;
        fake_give_set(
                f, &(struct fake_set){.is_complete = true, .applies_to = 1, .tasks = {{2, 512}}});
        fake_expect(f, "");
        fake_expect_sent(f, "register");
}

static void lost_part_of_a_complete_set_is_noticed(void **state)
{
        struct fake *f = *state;

        fake_begin_running(f, 1);
        fake_give_set(f, &(struct fake_set){.is_complete = true, .is_continued = true});
        f->seq++;
        fake_give_set(f, &(struct fake_set){.is_complete = true, .applies_to = f->seq});
        fake_expect(f, "");
        fake_expect_sent(f, "register");
}

static void gap_asks_for_everything(void **state)
{
        struct fake *f = *state;

        fake_begin(f);
        f->seq += 2;
        fake_give_set(f, &(struct fake_set){.tasks = {{1, TASK_RUNNING}}});
        fake_expect(f, "");
        fake_expect_sent(f, "register");
        fake_give_session(f);
        fake_give_set(f, &(struct fake_set){.is_complete = true, .tasks = {{1, TASK_RUNNING}}});
        fake_expect(f, "prepare 1");
}

static void copy_of_a_set_is_ignored(void **state)
{
        struct fake *f = *state;

        fake_begin(f);
        fake_give_set(f, &(struct fake_set){.tasks = {{1, TASK_RUNNING}}});
        fake_give_set(f, &(struct fake_set){.tasks = {{2, TASK_RUNNING}}});
        fake_expect(f, "prepare 1 prepare 2");
        fake_give_set(f, &(struct fake_set){.applies_to = 1, .results_in = 2, .removed = 1});
        fake_expect(f, "");
        fake_expect_sent(f, "");
}

static void unknown_spec_asks_for_everything(void **state)
{
        struct fake *f = *state;

        agent_start(f->a, f->now);
        agent_on_connected(f->a, f->now);
        fake_give_session(f);
        fake_give_set(f, &(struct fake_set){
                                 .is_complete = true, .has_no_spec = true, .tasks = {{1, 512}}});
        fake_expect(f, "");
        fake_expect_sent(f, "register; register");
}

static void garbage_and_other_sessions_are_dropped(void **state)
{
        struct fake *f = *state;
        static const uint8_t garbage[] = {0xff, 0x07, 0x80, 0x80};

        fake_begin(f);
        agent_on_message(f->a, f->now, garbage, sizeof(garbage));
        f->session += 5;
        fake_give_set(f, &(struct fake_set){.tasks = {{1, TASK_RUNNING}}});
        fake_expect(f, "");
        fake_expect_sent(f, "");
}

/* The answer to an earlier Register, overtaken by that to a later one: its sets are old. */
static void late_session_is_ignored(void **state)
{
        struct fake *f = *state;

        agent_start(f->a, f->now);
        agent_on_connected(f->a, f->now);
        fake_tick(f, 1000);
        fake_expect_sent(f, "register; register");
        fake_give_session(f);
        fake_give_set(f, &(struct fake_set){.is_complete = true, .tasks = {{1, TASK_RUNNING}}});
        fake_expect(f, "prepare 1");
        f->registered = 1;
        fake_give_session(f);
        fake_give_set(f, &(struct fake_set){.is_complete = true});
        fake_happen(f, 1, CONTAINER_PREPARED);
        fake_expect(f, "start 1");
}

static void complete_set_that_never_comes_is_asked_for(void **state)
{
        struct fake *f = *state;

        agent_start(f->a, f->now);
        agent_on_connected(f->a, f->now);
        fake_give_session(f);
        fake_clear_sent(f);
        for (int i = 0; i < 2; i++) {
                fake_tick(f, 1000);
                fake_acknowledge(f, 0); /* the manager is alive */
        }
        fake_clear_sent(f);
        fake_tick(f, 1000);
        fake_expect_sent(f, "register");
}

/* --- reports -----------------------------------------------------------------------------------
 */

static void reports_are_sent_again_until_acknowledged(void **state)
{
        struct fake *f = *state;

        fake_begin_running(f, 1);
        fake_end(f, 1, 0, false);
        fake_expect_sent(f, "status 2: 1=complete");
        fake_tick(f, 1000);
        fake_expect_sent(f, "heartbeat 2; status 2: 1=complete");
        agent_on_connected(f->a, f->now);
        fake_give_session(f);
        fake_expect_sent(f, "register; status 3: 1=complete");
        fake_acknowledge(f, 2); /* of the batch before: not what waits */
        fake_tick(f, 999);
        fake_expect_sent(f, "");
        fake_tick(f, 1);
        fake_expect_sent(f, "heartbeat 0; status 3: 1=complete");
        fake_acknowledge(f, 3);
        fake_tick(f, 1000);
        fake_expect_sent(f, "heartbeat 0");
}

/* --- session -----------------------------------------------------------------------------------
 */

static void heartbeats_and_silence(void **state)
{
        struct fake *f = *state;

        fake_begin(f);
        assert_int_equal(agent_deadline(f->a), f->now.mono_ms + 1000);
        fake_tick(f, 1000);
        fake_tick(f, 1000);
        fake_expect_sent(f, "heartbeat 1; heartbeat 1");
        fake_expect(f, "");
        fake_tick(f, 1000);
        fake_tick(f, 100); /* the longest first pause */
        fake_expect(f, "reconnect");
        assert_int_equal(agent_session(f->a).len, 0);
        agent_on_connected(f->a, f->now);
        fake_expect_sent(f, "register");
}

static void heartbeats_come_when_they_are_asked_for(void **state)
{
        struct fake *f = *state;

        fake_begin(f);
        fake_tick(f, 1000);
        fake_expect_sent(f, "heartbeat 1");
        fake_answer_heartbeat(f, 700);
        assert_int_equal(agent_deadline(f->a), f->now.mono_ms + 700);
        fake_tick(f, 700);
        fake_expect_sent(f, "heartbeat 1");
        fake_answer_heartbeat(f, 2000);
        assert_int_equal(agent_deadline(f->a), f->now.mono_ms + 2000);
        fake_answer_heartbeat(f, 0); /* no time at all, or one after our manager counts as dead */
        fake_answer_heartbeat(f, 1000000);
        assert_int_equal(agent_deadline(f->a), f->now.mono_ms + 2000);
        fake_answer_heartbeat(f, 1);
        assert_int_equal(agent_deadline(f->a), f->now.mono_ms + 100);
}

static void pauses_grow_and_are_bounded(void **state)
{
        struct fake *f = *state;
        int64_t longest = 0;

        fake_begin(f);
        for (int i = 0; i < 40; i++) {
                int64_t silent_since = f->now.mono_ms;

                buf_clear(&f->log);
                while (f->log.len == 0) {
                        f->now.mono_ms = MAX(agent_deadline(f->a), f->now.mono_ms);
                        agent_tick(f->a, f->now);
                }
                fake_expect(f, "reconnect");
                longest = MAX(longest, f->now.mono_ms - silent_since - 3000);
                agent_on_connected(f->a, f->now);
                fake_clear_sent(f);
        }
        assert_true(longest > 4000);
        assert_true(longest <= 8000);
}

static void unknown_session_registers_again(void **state)
{
        struct fake *f = *state;

        fake_begin(f);
        fake_refuse(f, ESTALE);
        fake_tick(f, 100);
        fake_expect_sent(f, "register");
        fake_expect(f, "");
}

/* Each of many messages on their way may be refused: the pause is that of one. */
static void many_refusals_are_one(void **state)
{
        struct fake *f = *state;

        fake_begin_running(f, 1);
        for (int i = 0; i < 40; i++)
                fake_refuse(f, ESTALE);
        fake_tick(f, 100);
        fake_expect_sent(f, "register");
        for (int i = 0; i < 40; i++)
                fake_refuse(f, ESTALE); /* after the Register as well */
        fake_give_session(f);
        fake_end(f, 1, 0, false);
        fake_expect_sent(f, "status 2: 1=complete");
        fake_expect(f, "");
}

/* What takes longer than a dead manager is told by, but comes, is waited for. */
static void slow_complete_set(void **state)
{
        struct fake *f = *state;

        agent_start(f->a, f->now);
        agent_on_connected(f->a, f->now);
        fake_expect_sent(f, "register");
        fake_give_session(f);
        for (uint64_t i = 0; i < 8; i++) {
                fake_give_set(f, &(struct fake_set){.is_complete = true,
                                                    .is_continued = i < 7,
                                                    .applies_to = i,
                                                    .results_in = i + 1,
                                                    .tasks = {{i + 1, TASK_RUNNING}}});
                fake_tick(f, 500);
        }
        assert_int_equal(f->registered, 1);
        fake_expect(f, "prepare 1 prepare 2 prepare 3 prepare 4 prepare 5 prepare 6 prepare 7 "
                       "prepare 8");
        fake_give_set(f, &(struct fake_set){.applies_to = 8, .results_in = 9, .removed = 8});
        fake_clear_sent(f);
}

/* And what stops to come is asked for anew. */
static void torn_complete_set(void **state)
{
        struct fake *f = *state;

        agent_start(f->a, f->now);
        agent_on_connected(f->a, f->now);
        fake_give_session(f);
        fake_give_set(f, &(struct fake_set){.is_complete = true, .is_continued = true});
        for (int i = 0; i < 7; i++) {
                fake_tick(f, 500);
                fake_answer_heartbeat(f, 500); /* the manager is there */
        }
        assert_int_equal(f->registered, 2);
        fake_clear_sent(f);
}

static void lost_message_begins_a_new_session(void **state)
{
        struct fake *f = *state;

        fake_begin_running(f, 1);
        agent_on_lost(f->a, f->now);
        fake_expect_sent(f, "register");
        agent_on_lost(f->a, f->now); /* the Register was lost as well */
        fake_expect_sent(f, "");
        fake_give_session(f);
        fake_end(f, 1, 0, false);
        fake_expect_sent(f, "status 2: 1=complete");
}

static void a_protocol_that_is_not_ours_is_no_session(void **state)
{
        struct fake *f = *state;

        agent_start(f->a, f->now);
        agent_on_connected(f->a, f->now);
        fake_expect_sent(f, "register");
        f->protocol = DISPATCH_PROTOCOL + 1;
        fake_give_session(f);
        fake_tick(f, 8000);
        fake_expect(f, "reconnect");
        agent_on_connected(f->a, f->now);
        fake_expect_sent(f, "register");
        f->protocol = DISPATCH_PROTOCOL;
        fake_give_session(f);
        fake_tick(f, 1000);
        fake_expect_sent(f, "heartbeat 0");
}

static void removed_node_keeps_its_containers(void **state)
{
        struct fake *f = *state;

        fake_begin_running(f, 1);
        fake_refuse(f, EACCES);
        fake_tick(f, 8000);
        fake_expect(f, "reconnect");
        fake_expect_sent(f, "");
}

static void abandoned_containers_end(void **state)
{
        struct fake *f = *state;

        fake_begin_running(f, 1);
        assert_false(agent_is_idle(f->a));
        fake_refuse(f, EACCES);
        agent_abandon(f->a, f->now);
        fake_expect(f, "stop 1");
        fake_end(f, 1, 143, false);
        fake_expect(f, "remove 1");
        fake_happen(f, 1, CONTAINER_REMOVED);
        fake_expect_sent(f, "");
        assert_true(agent_is_idle(f->a));
        fake_restart(f);
        assert_true(agent_is_idle(f->a));
}
#define T(f) cmocka_unit_test_setup_teardown(f, fake_set_up, fake_tear_down)

int main(void)
{
        const struct CMUnitTest tests[] = {
                T(fast_start_is_one_report),
                T(slow_prepare_is_told),
                T(health_check_gates_running),
                T(failed_checks_are_told),
                T(a_stop_is_told),
                T(ends_are_told_apart),
                T(stopped_as_asked_is_shutdown),
                T(failed_prepare_is_rejected),
                T(failed_start_is_failed),
                T(removed_while_preparing),
                T(shut_down_while_preparing_is_told_at_once),
                T(stop_during_start),
                T(removed_while_running_is_stopped_first),
                T(complete_set_removes_the_rest),
                T(complete_set_in_parts),
                T(complete_set_that_begins_anew_stands_alone),
                T(copy_of_a_first_part_is_ignored),
                T(later_part_without_the_first_is_not_taken),
                T(lost_part_of_a_complete_set_is_noticed),
                T(gap_asks_for_everything),
                T(copy_of_a_set_is_ignored),
                T(unknown_spec_asks_for_everything),
                T(garbage_and_other_sessions_are_dropped),
                T(late_session_is_ignored),
                T(complete_set_that_never_comes_is_asked_for),
                T(reports_are_sent_again_until_acknowledged),
                T(heartbeats_and_silence),
                T(heartbeats_come_when_they_are_asked_for),
                T(pauses_grow_and_are_bounded),
                T(unknown_session_registers_again),
                T(many_refusals_are_one),
                T(slow_complete_set),
                T(torn_complete_set),
                T(lost_message_begins_a_new_session),
                T(a_protocol_that_is_not_ours_is_no_session),
                T(removed_node_keeps_its_containers),
                T(abandoned_containers_end),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
