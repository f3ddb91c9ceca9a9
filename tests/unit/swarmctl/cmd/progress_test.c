/* progress: messages of the watch in, lines and the end out. */
#include "tests/lib/unit.h"

#include <stdio.h>
#include <string.h>

#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/model/model.h"
#include "swarmctl/cmd/progress.h"

#define MONITOR_MS 5000
#define TASKS_MAX  8

/* One watch: what the manager says next is put together in m. */
struct watch {
        struct progress *p;
        struct buf out;
        Swarm__Progress m;
        Swarm__Service service;
        Swarm__UpdateStatus update;
        Swarm__Task tasks[TASKS_MAX], *list[TASKS_MAX];
};

static void watch_init(struct watch *w, const struct progress_config *config)
{
        struct progress_config c = *config;

        *w = (struct watch){0};
        c.name = "web";
        c.monitor_ms = MONITOR_MS;
        w->p = progress_new(&c);
        swarm__progress__init(&w->m);
        swarm__service__init(&w->service);
        swarm__update_status__init(&w->update);
        w->service.update_status = &w->update;
        w->m.service = &w->service;
        w->m.tasks = w->list;
}

static void watch_done(struct watch *w)
{
        progress_free(w->p);
        buf_done(&w->out);
}

static void add_task(struct watch *w, uint64_t slot, enum task_state state, int64_t created_ms,
                     const char *error)
{
        Swarm__Task *t = &w->tasks[w->m.n_tasks];

        swarm__task__init(t);
        t->slot = slot;
        t->state = state;
        t->created_ms = created_ms;
        t->node_hostname = (char *)(uintptr_t) "n1";
        t->error = (char *)(uintptr_t)error;
        w->list[w->m.n_tasks++] = t;
}

static void set_update(struct watch *w, enum update_state state, int64_t started_ms,
                       const char *message)
{
        w->update.state = state;
        w->update.started_ms = started_ms;
        w->update.message = (char *)(uintptr_t)message;
}

/* The manager says how many tasks run; the lines that this gives are compared. */
static enum progress_result hear(struct watch *w, uint64_t running, uint64_t desired,
                                 int64_t now_ms, const char *lines)
{
        w->m.running = running;
        w->m.desired = desired;
        buf_clear(&w->out);
        enum progress_result r = progress_step(w->p, &w->m, now_ms, &w->out);
        assert_string_equal(buf_str(&w->out), lines);
        return r;
}

static enum progress_result pass(struct watch *w, int64_t now_ms, const char *lines)
{
        buf_clear(&w->out);
        enum progress_result r = progress_step(w->p, NULL, now_ms, &w->out);
        assert_string_equal(buf_str(&w->out), lines);
        return r;
}

#define VERIFY "web: waiting 5s to verify that tasks are stable\n"

static void test_create(void **state)
{
        struct watch w;

        (void)state;
        watch_init(&w, &(struct progress_config){0});
        assert_int_equal(progress_wait_ms(w.p, 0), -1);
        add_task(&w, 1, TASK_PENDING, 1, "no suitable node");
        assert_int_equal(hear(&w, 0, 1, 0, "web.1: pending: no suitable node\n"), PROGRESS_GOES_ON);
        assert_int_equal(hear(&w, 0, 1, 10, ""), PROGRESS_GOES_ON);
        w.tasks[0].state = TASK_PREPARING;
        w.tasks[0].error = (char *)(uintptr_t) "";
        assert_int_equal(hear(&w, 0, 1, 20, "web.1: preparing on n1\n"), PROGRESS_GOES_ON);
        assert_int_equal(progress_wait_ms(w.p, 20), -1);
        w.tasks[0].state = TASK_RUNNING;
        assert_int_equal(hear(&w, 1, 1, 100, "web.1: running on n1\n" VERIFY), PROGRESS_GOES_ON);
        assert_int_equal(progress_wait_ms(w.p, 1100), 4000);
        assert_int_equal(pass(&w, 5099, ""), PROGRESS_GOES_ON);
        assert_int_equal(pass(&w, 5100, "web converged\n"), PROGRESS_CONVERGED);
        watch_done(&w);
}

/* A task that leaves `running`, and one that failed and runs again, start the wait anew. */
static void test_unstable(void **state)
{
        struct watch w;

        (void)state;
        watch_init(&w, &(struct progress_config){0});
        add_task(&w, 1, TASK_RUNNING, 1, "");
        assert_int_equal(hear(&w, 1, 1, 0, "web.1: running on n1\n" VERIFY), PROGRESS_GOES_ON);
        w.m.failed_total = 1;
        w.m.last_error = (char *)(uintptr_t) "exit status 1";
        w.m.n_tasks = 0;
        add_task(&w, 1, TASK_PENDING, 2, "");
        assert_int_equal(
                hear(&w, 0, 1, 4000, "web: 1 failed task so far: exit status 1\nweb.1: pending\n"),
                PROGRESS_GOES_ON);
        assert_int_equal(pass(&w, 6000, ""), PROGRESS_GOES_ON);
        w.tasks[0].state = TASK_RUNNING;
        assert_int_equal(hear(&w, 1, 1, 7000, "web.1: running on n1\n" VERIFY), PROGRESS_GOES_ON);
        w.m.failed_total = 2;
        assert_int_equal(hear(&w, 1, 1, 9000, "web: 2 failed tasks so far: exit status 1\n" VERIFY),
                         PROGRESS_GOES_ON);
        assert_int_equal(pass(&w, 13999, ""), PROGRESS_GOES_ON);
        assert_int_equal(pass(&w, 14000, "web converged\n"), PROGRESS_CONVERGED);
        watch_done(&w);
}

/* While an update is under way all may run and yet it is not done; its end needs no more wait. */
static void test_update(void **state)
{
        struct watch w;

        (void)state;
        watch_init(&w, &(struct progress_config){.before_started_ms = 50});
        set_update(&w, UPDATE_UPDATING, 100, "update in progress");
        add_task(&w, 1, TASK_RUNNING, 1, "");
        assert_int_equal(hear(&w, 1, 1, 0, "web: update in progress\nweb.1: running on n1\n"),
                         PROGRESS_GOES_ON);
        assert_int_equal(progress_wait_ms(w.p, 0), -1);
        assert_int_equal(pass(&w, 60000, ""), PROGRESS_GOES_ON);
        add_task(&w, 1, TASK_STARTING, 2, ""); /* the newer of the slot is the one told of */
        assert_int_equal(hear(&w, 1, 1, 60001, "web.1: starting on n1\n"), PROGRESS_GOES_ON);
        set_update(&w, UPDATE_COMPLETED, 100, "update completed");
        w.tasks[1].state = TASK_RUNNING;
        assert_int_equal(hear(&w, 1, 1, 70000,
                              "web: update completed\nweb.1: running on n1\nweb converged\n"),
                         PROGRESS_CONVERGED);
        watch_done(&w);
}

static void test_update_unwatched(void **state)
{
        struct watch w;

        (void)state;
        watch_init(&w, &(struct progress_config){.is_unwatched = true});
        set_update(&w, UPDATE_COMPLETED, 100, "update completed");
        assert_int_equal(
                hear(&w, 30, 30, 0, "web: update completed\nweb: 30 of 30 tasks run\n" VERIFY),
                PROGRESS_GOES_ON);
        assert_int_equal(pass(&w, 5000, "web converged\n"), PROGRESS_CONVERGED);
        watch_done(&w);
}

/* Completed, but a task has gone since. */
static void test_update_then_gone(void **state)
{
        struct watch w;

        (void)state;
        watch_init(&w, &(struct progress_config){0});
        set_update(&w, UPDATE_COMPLETED, 100, "update completed");
        assert_int_equal(hear(&w, 29, 30, 0, "web: update completed\nweb: 29 of 30 tasks run\n"),
                         PROGRESS_GOES_ON);
        assert_int_equal(hear(&w, 30, 30, 1, "web: 30 of 30 tasks run\n" VERIFY), PROGRESS_GOES_ON);
        assert_int_equal(pass(&w, 5001, "web converged\n"), PROGRESS_CONVERGED);
        watch_done(&w);
}

static void test_paused(void **state)
{
        struct watch w;

        (void)state;
        watch_init(&w, &(struct progress_config){0});
        set_update(&w, UPDATE_UPDATING, 100, "update in progress");
        assert_int_equal(hear(&w, 29, 30, 0, "web: update in progress\nweb: 29 of 30 tasks run\n"),
                         PROGRESS_GOES_ON);
        set_update(&w, UPDATE_PAUSED, 100, "update paused: task web.3 failed early");
        assert_int_equal(hear(&w, 29, 30, 10, ""), PROGRESS_PAUSED);
        assert_string_equal(progress_reason(w.p),
                            "service web update paused: task web.3 failed early");
        watch_done(&w);

        watch_init(&w, &(struct progress_config){.is_rollback = true});
        set_update(&w, UPDATE_ROLLBACK_PAUSED, 100, "rollback paused: task web.3 failed early");
        assert_int_equal(hear(&w, 30, 30, 0, "web: 30 of 30 tasks run\n" VERIFY), PROGRESS_PAUSED);
        assert_string_equal(progress_reason(w.p),
                            "service web rollback paused: task web.3 failed early");
        watch_done(&w);
}

/* The same messages: an update that was rolled back has failed, a rollback by hand is done. */
static enum progress_result roll_back(bool is_by_hand, int64_t before_started_ms, char **ret_reason)
{
        struct watch w;

        watch_init(&w, &(struct progress_config){.is_rollback = is_by_hand,
                                                 .before_started_ms = before_started_ms});
        w.m.running = w.m.desired = 30;
        set_update(&w, UPDATE_ROLLBACK_STARTED, 100, "update rolled back: task web.3 failed early");
        assert_int_equal(progress_step(w.p, &w.m, 0, &w.out), PROGRESS_GOES_ON);
        assert_int_equal(progress_step(w.p, NULL, 60000, &w.out), PROGRESS_GOES_ON);
        set_update(&w, UPDATE_ROLLBACK_COMPLETED, 100, "rollback completed");
        enum progress_result r = progress_step(w.p, &w.m, 60000, &w.out);
        if (r == PROGRESS_GOES_ON)
                r = progress_step(w.p, NULL, 65000, &w.out);
        *ret_reason = xstrdup(progress_reason(w.p));
        watch_done(&w);
        return r;
}

static void test_rolled_back(void **state)
{
        _cleanup_free_ char *update = NULL, *by_hand = NULL, *earlier = NULL;

        (void)state;
        assert_int_equal(roll_back(false, 0, &update), PROGRESS_ROLLED_BACK);
        assert_string_equal(update, "service web update rolled back: task web.3 failed early");
        assert_int_equal(roll_back(true, 0, &by_hand), PROGRESS_CONVERGED);
        /* It was under way before: not what the user's change led to. */
        assert_int_equal(roll_back(false, 100, &earlier), PROGRESS_CONVERGED);
}

/* That the tasks of the earlier version do not all run either does not keep the user waiting. */
static void test_rolled_back_unstable(void **state)
{
        struct watch w;

        (void)state;
        watch_init(&w, &(struct progress_config){0});
        set_update(&w, UPDATE_ROLLBACK_COMPLETED, 100, "rollback completed");
        assert_int_equal(hear(&w, 29, 30, 0, "web: rollback completed\nweb: 29 of 30 tasks run\n"),
                         PROGRESS_ROLLED_BACK);
        assert_string_equal(progress_reason(w.p),
                            "service web update rolled back: its tasks failed");
        watch_done(&w);
}

/* A change that needs no update: the status of an earlier one says nothing. */
static void test_stale_status(void **state)
{
        struct watch w;

        (void)state;
        watch_init(&w, &(struct progress_config){.before_started_ms = 100});
        set_update(&w, UPDATE_ROLLBACK_COMPLETED, 100, "rollback completed");
        assert_int_equal(hear(&w, 30, 30, 0, "web: 30 of 30 tasks run\n" VERIFY), PROGRESS_GOES_ON);
        assert_int_equal(pass(&w, 5000, "web converged\n"), PROGRESS_CONVERGED);
        watch_done(&w);
}

static void test_scale_to_none(void **state)
{
        struct watch w;

        (void)state;
        watch_init(&w, &(struct progress_config){0});
        assert_int_equal(hear(&w, 2, 0, 0, ""), PROGRESS_GOES_ON);
        assert_int_equal(hear(&w, 0, 0, 10, "web converged\n"), PROGRESS_CONVERGED);
        watch_done(&w);
}

/* What should run no more is waited for. */
static void test_stopping(void **state)
{
        struct watch w;

        (void)state;
        watch_init(&w, &(struct progress_config){0});
        w.m.stopping = 2;
        assert_int_equal(hear(&w, 0, 0, 0, "web: waiting for 2 tasks to stop\n"), PROGRESS_GOES_ON);
        assert_int_equal(progress_wait_ms(w.p, 0), -1);
        w.m.stopping = 1;
        assert_int_equal(hear(&w, 0, 0, 10, ""), PROGRESS_GOES_ON);
        assert_int_equal(pass(&w, 60000, ""), PROGRESS_GOES_ON);
        _cleanup_free_ char *text = progress_state(w.p);
        assert_string_equal(text, "0 of 0 tasks running, 1 still stopping");
        w.m.stopping = 0;
        assert_int_equal(hear(&w, 0, 0, 60001, "web converged\n"), PROGRESS_CONVERGED);
        watch_done(&w);

        /* the time in which the others must run goes on meanwhile */
        watch_init(&w, &(struct progress_config){0});
        w.m.stopping = 1;
        add_task(&w, 1, TASK_RUNNING, 1, "");
        assert_int_equal(
                hear(&w, 1, 1, 0, "web.1: running on n1\nweb: waiting for 1 task to stop\n" VERIFY),
                PROGRESS_GOES_ON);
        assert_int_equal(pass(&w, 6000, ""), PROGRESS_GOES_ON);
        w.m.stopping = 0;
        assert_int_equal(hear(&w, 1, 1, 7000, "web converged\n"), PROGRESS_CONVERGED);
        watch_done(&w);

        /* after an update that the manager has watched, it is all that is waited for */
        watch_init(&w, &(struct progress_config){.is_terminal = true});
        set_update(&w, UPDATE_COMPLETED, 100, "update completed");
        w.m.running = w.m.desired = w.m.stopping = 1;
        assert_int_equal(progress_step(w.p, &w.m, 0, &w.out), PROGRESS_GOES_ON);
        assert_int_equal(progress_wait_ms(w.p, 60000), PROGRESS_LINE_MS);
        w.m.stopping = 0;
        assert_int_equal(progress_step(w.p, &w.m, 10, &w.out), PROGRESS_CONVERGED);
        watch_done(&w);
}

static void is_state(struct watch *w, const char *expected)
{
        _cleanup_free_ char *text = progress_state(w->p);

        assert_string_equal(text, expected);
}

/* How far it has come, for a wait that ends before its time. */
static void test_state(void **state)
{
        struct watch w;

        (void)state;
        watch_init(&w, &(struct progress_config){.is_terminal = true});
        is_state(&w, "the manager has not told of any progress");
        w.m.desired = 3;
        progress_step(w.p, &w.m, 0, &w.out);
        is_state(&w, "0 of 3 tasks running");
        w.m.pending_reason = (char *)(uintptr_t) "no suitable node";
        progress_step(w.p, &w.m, 0, &w.out);
        is_state(&w, "0 of 3 tasks running; pending: no suitable node");
        w.m.last_error = (char *)(uintptr_t) "exit status 1";
        w.m.last_failed = (char *)(uintptr_t) "web.2";
        w.m.running = 2;
        progress_step(w.p, &w.m, 0, &w.out);
        is_state(&w, "2 of 3 tasks running; web.2: exit status 1");
        add_task(&w, 1, TASK_RUNNING, 1, "");
        add_task(&w, 3, TASK_PENDING, 1, "not enough memory");
        progress_step(w.p, &w.m, 0, &w.out);
        is_state(&w, "2 of 3 tasks running; web.3: not enough memory");
        w.m.running = 3;
        progress_step(w.p, &w.m, 0, &w.out);
        is_state(&w, "3 of 3 tasks running");
        watch_done(&w);
}

/* Many tasks are counted, and not more often than once a second. */
static void test_counts(void **state)
{
        struct watch w;

        (void)state;
        watch_init(&w, &(struct progress_config){0});
        w.m.pending_reason = (char *)(uintptr_t) "no suitable\nnode";
        assert_int_equal(
                hear(&w, 0, 30, 0, "web: pending: no suitable?node\nweb: 0 of 30 tasks run\n"),
                PROGRESS_GOES_ON);
        assert_int_equal(hear(&w, 5, 30, 500, ""), PROGRESS_GOES_ON);
        assert_int_equal(hear(&w, 6, 30, 1000, "web: 6 of 30 tasks run\n"), PROGRESS_GOES_ON);
        assert_int_equal(hear(&w, 30, 30, 1001, "web: 30 of 30 tasks run\n" VERIFY),
                         PROGRESS_GOES_ON);
        watch_done(&w);
}

/* On a terminal a frame goes over the one before, and no line is wider than the terminal. */
static void test_frames(void **state)
{
        struct watch w;

        (void)state;
        watch_init(&w, &(struct progress_config){.is_terminal = true, .columns = 20});
        add_task(&w, 2, TASK_PENDING, 1, "no suitable node");
        add_task(&w, 1, TASK_RUNNING, 1, "");
        assert_int_equal(hear(&w, 1, 2, 0,
                              "\033[2Koverall progress: 1 \n"
                              "\033[2Kweb.1: running   [==\n"
                              "\033[2Kweb.2: pending   no \n"
                              "\033[J"),
                         PROGRESS_GOES_ON);
        w.m.n_tasks = 0;
        assert_int_equal(
                hear(&w, 0, 0, 10, "\033[3A\r\033[2Koverall progress: 0 \n\033[Jweb converged\n"),
                PROGRESS_CONVERGED);
        watch_done(&w);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_create),
                cmocka_unit_test(test_unstable),
                cmocka_unit_test(test_update),
                cmocka_unit_test(test_update_unwatched),
                cmocka_unit_test(test_update_then_gone),
                cmocka_unit_test(test_paused),
                cmocka_unit_test(test_rolled_back),
                cmocka_unit_test(test_rolled_back_unstable),
                cmocka_unit_test(test_stale_status),
                cmocka_unit_test(test_scale_to_none),
                cmocka_unit_test(test_stopping),
                cmocka_unit_test(test_state),
                cmocka_unit_test(test_counts),
                cmocka_unit_test(test_frames),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
