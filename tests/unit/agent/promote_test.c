/* The manager beside the agent: when it is started, and when it is not. */
#include "tests/lib/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/promote.h"
#include "shared/base/buf.h"
#include "shared/base/io.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"

#define DEADLINE_MS 20000
#define SILENCE_MS  300 /* long enough for what must not come to have come */

struct fixture {
        struct loop *loop;
        struct loop_timer *timer;
        struct promote *promote;
        char dir[64], program[96];
        const char *address;
        const char *awaited; /* a file, and whether it is to be there or gone */
        bool must_be_there;
        int64_t waited_ms;
};

static bool has(const struct fixture *f, const char *name)
{
        _cleanup_free_ char *path = xasprintf("%s/%s", f->dir, name);

        return access(path, F_OK) == 0;
}

static void put(const struct fixture *f, const char *name, const char *text, mode_t mode)
{
        _cleanup_free_ char *path = xasprintf("%s/%s", f->dir, name);

        assert_int_equal(io_write_file_atomic(AT_FDCWD, path, text, strlen(text), mode), 0);
}

static void assert_text(const struct fixture *f, const char *name, const char *text)
{
        _cleanup_free_ char *path = xasprintf("%s/%s", f->dir, name);
        _cleanup_buf_ struct buf b = {0};

        assert_int_equal(io_read_file(AT_FDCWD, path, 4096, &b), 0);
        assert_string_equal(buf_str(&b), text);
}

static void drop(const struct fixture *f, const char *name)
{
        _cleanup_free_ char *path = xasprintf("%s/%s", f->dir, name);

        assert_int_equal(io_remove_tree(AT_FDCWD, path), 0);
}

static void on_timer(void *arg)
{
        struct fixture *f = arg;

        f->waited_ms += 10;
        if (f->waited_ms >= DEADLINE_MS || (f->awaited && has(f, f->awaited) == f->must_be_there))
                loop_stop(f->loop);
        else if (!f->awaited && f->waited_ms >= SILENCE_MS)
                loop_stop(f->loop);
        else
                loop_timer_set(f->timer, 10);
}

static void run(struct fixture *f, const char *name, bool must_be_there)
{
        f->awaited = name;
        f->must_be_there = must_be_there;
        f->waited_ms = 0;
        loop_timer_set(f->timer, 0);
        loop_run(f->loop);
        assert_true(f->waited_ms < DEADLINE_MS);
}

static const char *address(void *arg)
{
        return ((struct fixture *)arg)->address;
}

static const char *some_manager(void *arg UNUSED)
{
        return "10.0.0.1:7377";
}

/* The program says with what it was started, in DIR/ran. */
static int setup(void **state)
{
        struct fixture *f = xnew(struct fixture);

        f->loop = loop_new();
        f->timer = loop_timer_new(f->loop, on_timer, f);
        f->address = "10.0.0.9";
        snprintf(f->dir, sizeof(f->dir), "/tmp/swarm-promote-XXXXXX");
        assert_non_null(mkdtemp(f->dir));
        _cleanup_free_ char *agent = xasprintf("%s/agent", f->dir);
        _cleanup_free_ char *manager = xasprintf("%s/manager", f->dir);
        assert_int_equal(io_mkdir_all(agent, 0700), 0);
        assert_int_equal(io_mkdir_all(manager, 0700), 0);
        put(f, "program",
            "#!/bin/sh\necho \"$*\" >\"$2/part\"; echo said; mv \"$2/part\" \"$2/ran\"; exit 1\n",
            0700);
        snprintf(f->program, sizeof(f->program), "%s/program", f->dir);
        struct promote_config c = {.data_dir = f->dir,
                                   .program = f->program,
                                   .arg = f,
                                   .address = address,
                                   .manager = some_manager};
        f->promote = promote_new(f->loop, &c);
        *state = f;
        return 0;
}

static int teardown(void **state)
{
        struct fixture *f = *state;

        promote_free(f->promote);
        loop_timer_free(f->timer);
        loop_free(f->loop);
        io_remove_tree(AT_FDCWD, f->dir);
        free(f);
        return 0;
}

static void test_started_and_again(void **state)
{
        struct fixture *f = *state;
        _cleanup_free_ char *args = xasprintf("--data-dir %s\n", f->dir);

        run(f, NULL, false);
        assert_false(has(f, "ran"));
        promote_set_role(f->promote, ROLE_MANAGER);
        run(f, "ran", true);
        assert_text(f, "ran", args);
        assert_text(f, "agent/manager", "join: \"10.0.0.1:7377\"\nadvertise: \"10.0.0.9\"\n");
        assert_text(f, "manager.log", "said\n");
        /* it has ended: after a pause it is started again, now with a state */
        put(f, "manager/swarm.db", "", 0600);
        drop(f, "ran");
        promote_set_role(f->promote, ROLE_MANAGER); /* told with each heartbeat */
        run(f, "ran", true);
}

/* One that ended well was told to: it is not started again at once. */
static void test_ended_well(void **state)
{
        struct fixture *f = *state;

        put(f, "program", "#!/bin/sh\n: >\"$2/ran\"\n", 0700);
        promote_set_role(f->promote, ROLE_MANAGER);
        run(f, "ran", true);
        drop(f, "ran");
        for (int i = 0; i * SILENCE_MS < 2 * PROMOTE_PAUSE_MS; i++)
                run(f, NULL, false);
        assert_false(has(f, "ran"));
        promote_set_role(f->promote, ROLE_WORKER);
        run(f, "agent/manager", false);
        promote_set_role(f->promote, ROLE_MANAGER);
        run(f, "ran", true);
}

static void test_demoted(void **state)
{
        struct fixture *f = *state;

        promote_set_role(f->promote, ROLE_MANAGER);
        run(f, "ran", true);
        drop(f, "ran");
        /* it must be told so, and did not run when it was */
        put(f, "manager/swarm.db", "", 0600);
        promote_set_role(f->promote, ROLE_WORKER);
        run(f, "ran", true);
        assert_true(has(f, "agent/manager"));
        drop(f, "manager");
        drop(f, "ran");
        run(f, "agent/manager", false);
        run(f, NULL, false);
        assert_false(has(f, "ran"));
}

static void test_set_up_by_hand(void **state)
{
        struct fixture *f = *state;

        put(f, "manager/swarm.db", "", 0600);
        promote_set_role(f->promote, ROLE_MANAGER);
        run(f, NULL, false);
        assert_false(has(f, "ran"));
        assert_false(has(f, "agent/manager"));
}

static void test_runs_already(void **state)
{
        struct fixture *f = *state;
        _cleanup_free_ char *path = xasprintf("%s/manager/swarm.lock", f->dir);
        _cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

        assert_int_equal(flock(fd, LOCK_EX), 0);
        promote_set_role(f->promote, ROLE_MANAGER);
        run(f, NULL, false);
        assert_false(has(f, "ran"));
        /* it was looked for without getting in its way */
        assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
}

static void test_cannot_be_started(void **state)
{
        struct fixture *f = *state;

        f->address = "";
        promote_set_role(f->promote, ROLE_MANAGER);
        run(f, NULL, false);
        assert_false(has(f, "agent/manager"));
        promote_set_role(f->promote, ROLE_WORKER);
        f->address = "10.0.0.9";
        drop(f, "program");
        promote_set_role(f->promote, ROLE_MANAGER);
        run(f, "agent/manager", true);
        put(f, "program", "#!/bin/sh\n: >\"$2/ran\"\n", 0700);
        run(f, "ran", true); /* once it is there */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_started_and_again), TEST(test_ended_well),   TEST(test_demoted),
                TEST(test_set_up_by_hand),    TEST(test_runs_already), TEST(test_cannot_be_started),
        };

        return cmocka_run_group_tests_name("promote", tests, NULL, NULL);
}
