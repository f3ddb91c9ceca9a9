/* Starts that hang: in a mount source that does not answer, behind a volume that another container
 * fills. They are given up when they stand still, and at once when that is asked for. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "agent/runtime/runtime_internal.h"
#include "tests/lib/container_rig.h"
#include "tests/lib/unit.h"

#define TURN_MS    5
#define SILENCE_MS 2500 /* above the second after which a supervisor tells how far it is */

static struct rig rig;
static char *dead, *dead_source; /* a file system that nobody answers for, and a path in it */
static int dead_fd;

struct start_wait {
        bool is_answered;
        struct err err;
};

static void on_answer(void *arg, struct id id UNUSED, pid_t pid UNUSED, const struct err *err)
{
        struct start_wait *w = arg;

        assert_false(w->is_answered);
        w->err = err ? *err : (struct err){0};
        w->is_answered = true;
}

static void begin_start(const struct container_config *c, struct start_wait *w)
{
        *w = (struct start_wait){0};
        runtime_start(rig.runtime, c, on_answer, w);
        assert_false(w->is_answered);
}

static struct container *find(struct id id)
{
        return map_get_id(&rig.runtime->containers, id);
}

#define WAIT_UNTIL(condition)                                                         \
        for (int64_t before_ = time_mono_us(); !(condition); rig_turn(&rig, TURN_MS)) \
        assert_true(time_mono_us() - before_ < RIG_WAIT_MS * 1000)

/* Until its supervisor has told what it is at. */
static void wait_until_doing(struct id id, const char *what)
{
        struct container *c = find(id);

        assert_non_null(c);
        WAIT_UNTIL(c->start && c->start->doing && strstr(c->start->doing, what));
}

static struct container_config hanging(struct container_mount *m)
{
        static char *argv[] = {NULL, NULL};

        argv[0] = (char *)(uintptr_t) "true";
        struct container_config c = rig_config(&rig, argv);

        *m = (struct container_mount){.type = MOUNT_BIND,
                                      .source = dead_source,
                                      .target = "/data",
                                      .create_source = true};
        c.mounts = m;
        c.n_mounts = 1;
        return c;
}

static void test_one_that_stands_still_is_given_up(void **state UNUSED)
{
        struct container_mount m;
        struct container_config c = hanging(&m);

        rig.runtime->start_silence_ms = SILENCE_MS;
        assert_int_equal(rig_start(&rig, &c), -ETIMEDOUT);
        rig.runtime->start_silence_ms = RUNTIME_START_SILENCE_MS;
        _cleanup_free_ char *want = xasprintf("task web.1: mount source %s: given up", dead_source);

        assert_ptr_equal(strstr(rig.err.text, want), rig.err.text);
        assert_null(find(c.id));
        assert_int_equal(rig_run(&rig, "exit 4"), 4);
}

static void test_stop_while_it_starts(void **state UNUSED)
{
        struct container_mount m;
        struct container_config c = hanging(&m);
        struct start_wait w;

        begin_start(&c, &w);
        wait_until_doing(c.id, dead_source);
        assert_int_equal(runtime_cancel(rig.runtime, c.id), 0);
        assert_false(w.is_answered);
        assert_int_equal(runtime_cancel(rig.runtime, c.id), -ESRCH);
        rig_wait(&rig, &w.is_answered);
        assert_int_equal(w.err.code, ECANCELED);
        assert_null(find(c.id));
        assert_int_equal(runtime_cancel(rig.runtime, c.id), -ESRCH);
}

/* More of them than can be under way at once: they leave their places to others, and what waits for
 * one is stopped as well. */
static void test_places_of_the_hanging(void **state UNUSED)
{
        int n = rig.runtime->starting_max;
        _cleanup_free_ struct start_wait *w = xnew_array(struct start_wait, (size_t)n + 1);
        _cleanup_free_ struct id *ids = xnew_array(struct id, (size_t)n + 1);
        struct container_mount m;

        for (int i = 0; i <= n; i++) {
                struct container_config c = hanging(&m);

                ids[i] = c.id;
                begin_start(&c, &w[i]);
        }
        WAIT_UNTIL(rig.runtime->n_starting == n);
        assert_int_equal(find(ids[n])->phase, PHASE_QUEUED);
        assert_int_equal(runtime_cancel(rig.runtime, ids[n]), 0);
        rig_wait(&rig, &w[n].is_answered);
        assert_int_equal(w[n].err.code, ECANCELED);
        assert_int_equal(rig_run(&rig, "exit 5"), 5);
        assert_int_equal(rig.runtime->n_starting, 0);
        for (int i = 0; i < n; i++) {
                assert_false(w[i].is_answered);
                assert_int_equal(runtime_cancel(rig.runtime, ids[i]), 0);
                rig_wait(&rig, &w[i].is_answered);
        }
        /* One that waits in the kernel for another's look at the same name dies after that one. */
        for (int i = 0; i < n; i++)
                WAIT_UNTIL(!find(ids[i]));
        assert_int_equal(rig.runtime->n_starting, 0);
}

static void on_found(void *arg UNUSED, struct id id UNUSED, bool is_running UNUSED,
                     pid_t pid UNUSED, const struct container_exit *exit UNUSED)
{
        fail();
}

/* Nobody waits for it any more: it ends by itself, and the next agent finds nothing of it. */
static void test_agent_dies_meanwhile(void **state UNUSED)
{
        struct container_mount m;
        struct container_config c = hanging(&m);
        struct start_wait w;

        begin_start(&c, &w);
        wait_until_doing(c.id, dead_source);
        rig_close_runtime(&rig);
        assert_int_equal(w.err.code, ECANCELED);
        rig_open_runtime(&rig);
        assert_int_equal(runtime_recover(rig.runtime, on_found, NULL), 0);
        WAIT_UNTIL(!find(c.id));
}

/* As long as the one who fills the volume gets on, so does who waits for it. */
static void test_behind_a_volume_that_is_filled(void **state UNUSED)
{
        _cleanup_free_ char *folder = xasprintf("%s/volumes", rig.folder);
        _cleanup_free_ char *volume = xasprintf("%s/data", folder);
        struct container_mount m;
        struct container_config c = hanging(&m);
        struct start_wait w;
        struct stat st;

        assert_int_equal(io_mkdir_all(volume, 0755), 0);
        assert_int_equal(stat(volume, &st), 0);
        _cleanup_free_ char *marker =
                xasprintf("%s/.data.%llu.filling", folder, (unsigned long long)st.st_ino);
        _cleanup_close_ int fd = open(marker, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

        assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
        m.type = MOUNT_VOLUME;
        m.source = volume;
        m.copy_up = true;
        begin_start(&c, &w);
        wait_until_doing(c.id, "wait for another container that fills");
        for (int i = 0; i < 3; i++) {
                int64_t moved_ms = find(c.id)->start->moved_ms;

                for (; find(c.id)->start->moved_ms == moved_ms; rig_turn(&rig, TURN_MS)) {
                        assert_false(w.is_answered);
                        assert_int_equal(futimens(fd, NULL), 0);
                }
        }
        find(c.id)->start->moved_ms -= RUNTIME_START_SILENCE_MS;
        loop_timer_set(find(c.id)->start->look, 0);
        rig_wait(&rig, &w.is_answered);
        assert_int_equal(w.err.code, ETIMEDOUT);
        assert_non_null(strstr(w.err.text, volume));
        /* And who comes when it is over gets it filled. */
        close(STEAL_FD(fd));
        assert_int_equal(rig_run_config(&rig, &c), 0);
        _cleanup_free_ char *seed = xasprintf("%s/seed", volume);

        assert_int_equal(access(seed, F_OK), 0);
        assert_int_equal(access(marker, F_OK), -1);
}

static int set_up(void **state UNUSED)
{
        char options[96];

        if (!rig_open(&rig, NULL))
                return -1;
        dead = xasprintf("%s/dead", rig.folder);
        dead_source = xasprintf("%s/x", dead);
        dead_fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
        snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0", dead_fd);
        if (dead_fd < 0 || mkdir(dead, 0755) < 0)
                return -1;
        return mount("dead", dead, "fuse", 0, options);
}

static int tear_down(void **state UNUSED)
{
        umount2(dead, MNT_DETACH);
        close(dead_fd);
        rig_close(&rig);
        free(dead);
        free(dead_source);
        return 0;
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_one_that_stands_still_is_given_up),
                cmocka_unit_test(test_stop_while_it_starts),
                cmocka_unit_test(test_places_of_the_hanging),
                cmocka_unit_test(test_agent_dies_meanwhile),
                cmocka_unit_test(test_behind_a_volume_that_is_filled),
        };

        return cmocka_run_group_tests(tests, set_up, tear_down);
}
