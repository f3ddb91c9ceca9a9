/* Ends and removals where something stands in the way: a supervisor that is stopped, a disk without
 * room, much trash, an agent that ends while it is waited for. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "agent/runtime/runtime_internal.h"
#include "tests/lib/container_rig.h"
#include "tests/lib/unit.h"

static struct rig rig;

static struct container *find(struct id id)
{
        return map_get_id(&rig.runtime->containers, id);
}

#define WAIT_UNTIL(condition)                                                   \
        for (int64_t before_ = time_mono_us(); !(condition); rig_turn(&rig, 5)) \
        assert_true(time_mono_us() - before_ < RIG_WAIT_MS * 1000)

static pid_t parent_of(pid_t pid)
{
        char path[64];
        _cleanup_buf_ struct buf b = {0};
        int parent = 0;

        snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
        assert_int_equal(io_read_file(AT_FDCWD, path, 4096, &b), 0);
        assert_int_equal(sscanf(strrchr(buf_str(&b), ')'), ") %*c %d", &parent), 1);
        return parent;
}

struct found {
        int n_running, n_ended;
        struct container_exit exit;
};

static void on_found(void *arg, struct id id UNUSED, bool is_running, pid_t pid UNUSED,
                     const struct container_exit *exit)
{
        struct found *f = arg;

        if (is_running)
                f->n_running++;
        else
                f->exit = *exit, f->n_ended++;
}

/* One that was ended has no cgroup, however long it is kept. */
static void test_cgroup_goes_with_the_end(void **state UNUSED)
{
        char *argv[4];
        struct container_config c = rig_script(&rig, argv, "exit 0");
        const struct cgroups *g = &rig.runtime->cgroups;
        _cleanup_free_ char *folder =
                xasprintf("%s/%s", g->unified ? g->unified : g->v1[0].folder, ID_S(c.id));

        assert_int_equal(rig_start(&rig, &c), 0);
        if (!rig.is_exited)
                rig_wait_exit(&rig);
        WAIT_UNTIL(access(folder, F_OK) < 0);
        assert_non_null(find(c.id));
        rig_remove(&rig, c.id);
}

/* It neither dies with its container nor tells of its end: it is ended, too. */
static void test_supervisor_is_stopped(void **state UNUSED)
{
        char *argv[4];
        struct container_config c = rig_script(&rig, argv, "sleep 1000");
        struct found f = {0};

        for (int is_taken_over = 0; is_taken_over < 2; is_taken_over++) {
                c.id.lo += 100;
                assert_int_equal(rig_start(&rig, &c), 0);
                pid_t supervisor = parent_of(rig.pid);

                if (is_taken_over) {
                        rig_close_runtime(&rig);
                        rig_open_runtime(&rig);
                }
                assert_int_equal(kill(supervisor, SIGSTOP), 0);
                if (is_taken_over) {
                        assert_int_equal(runtime_recover(rig.runtime, on_found, &f), 0);
                        assert_int_equal(f.n_running, 1);
                }
                rig.runtime->kill_answer_ms = 50;
                rig.is_exited = false;
                assert_int_equal(runtime_kill(rig.runtime, c.id), 0);
                rig_wait_exit(&rig);
                assert_true(rig.exit.status == -1 || rig.exit.status == 137);
                rig_remove(&rig, c.id);
        }
        rig.runtime->kill_answer_ms = RUNTIME_KILL_ANSWER_MS;
}

static void fill_up(const char *path)
{
        static char block[4096];
        _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

        assert_true(fd >= 0);
        for (size_t n = sizeof(block); n > 0;) {
                ssize_t w = write(fd, block, n);

                if (w <= 0)
                        n /= 2;
        }
}

/* Its record was made when there was room. */
static void test_end_on_a_full_disk(void **state UNUSED)
{
        char *argv[4];
        struct container_config c =
                rig_script(&rig, argv, "trap 'exit 7' TERM; while true; do sleep 0.01; done");
        _cleanup_free_ char *filler = xasprintf("%s/filler", rig.run);
        _cleanup_free_ char *sock = xasprintf("%s/c/%s/sock", rig.run, ID_S(c.id));
        struct found f = {0};

        rig_close_runtime(&rig);
        assert_int_equal(mount("full", rig.run, "tmpfs", 0, "size=1m"), 0);
        rig_open_runtime(&rig);
        assert_int_equal(rig_start(&rig, &c), 0);
        fill_up(filler);
        pid_t pid = rig.pid;

        rig_close_runtime(&rig);
        /* Again and again: the script may not have set its trap yet. */
        for (int64_t before = time_mono_us(); access(sock, F_OK) == 0; usleep(20000)) {
                kill(pid, SIGTERM);
                assert_true(time_mono_us() - before < RIG_WAIT_MS * 1000);
        }
        rig_open_runtime(&rig);
        assert_int_equal(runtime_recover(rig.runtime, on_found, &f), 0);
        assert_int_equal(f.n_ended, 1);
        assert_int_equal(f.exit.status, 7);
        assert_null(f.exit.reason);
        rig_remove(&rig, c.id);
        rig_close_runtime(&rig);
        assert_int_equal(umount2(rig.run, MNT_DETACH), 0);
        rig_open_runtime(&rig);
}

static int n_entries(const char *path)
{
        DIR *dir = opendir(path);
        int n = -2; /* . and .. */

        assert_non_null(dir);
        while (readdir(dir))
                n++;
        closedir(dir);
        return n;
}

/* What an earlier agent left is deleted by and by, on one thread: others are free for other work,
 * and what fails is told meanwhile. */
static void test_much_trash(void **state UNUSED)
{
        _cleanup_free_ char *trash = xasprintf("%s/trash", rig.run);
        char *argv[4];
        struct container_config c = rig_script(&rig, argv, "exit 0");

        rig_close_runtime(&rig);
        for (int i = 0; i < 300; i++) {
                _cleanup_free_ char *path = xasprintf("%s/x%d/y/z", trash, i);

                assert_int_equal(io_mkdir_all(path, 0700), 0);
        }
        rig_open_runtime(&rig);
        assert_non_null(rig.runtime->trash_job);
        assert_false(list_is_empty(&rig.runtime->trash));
        c.user = "nobody-there";
        assert_int_not_equal(rig_start(&rig, &c), 0);
        WAIT_UNTIL(!rig.runtime->trash_job);
        assert_true(list_is_empty(&rig.runtime->trash));
        assert_int_equal(n_entries(trash), 0);
        /* One that ends meanwhile leaves the rest to the next. */
        for (int i = 0; i < 300; i++) {
                _cleanup_free_ char *path = xasprintf("%s/x%d/y/z", trash, i);

                assert_int_equal(io_mkdir_all(path, 0700), 0);
        }
        rig_close_runtime(&rig);
        rig_open_runtime(&rig);
        rig_close_runtime(&rig);
        rig_open_runtime(&rig);
        WAIT_UNTIL(!rig.runtime->trash_job);
        assert_int_equal(n_entries(trash), 0);
}

static struct {
        int started, executed, removed;
        int code, status;
} told;

static void on_started(void *arg UNUSED, struct id id UNUSED, pid_t pid UNUSED,
                       const struct err *err)
{
        told.started++;
        told.code = err ? err->code : 0;
}

static void on_executed(void *arg UNUSED, int status, const char *output UNUSED, size_t n)
{
        assert_int_equal(n, 0);
        told.executed++;
        told.status = status;
}

static void on_removed(void *arg UNUSED)
{
        told.removed++;
}

/* Whoever waits when the agent ends is told so, once; and what runs goes on. */
static void test_closing_answers_all(void **state UNUSED)
{
        char *argv[4], *other[4], *const sleep[] = {"sleep", "1000", NULL};
        struct container_config c = rig_script(&rig, argv, "sleep 1000"),
                                late = rig_script(&rig, other, "exit 0");
        struct found f = {0};

        memset(&told, 0, sizeof(told));
        assert_int_equal(rig_start(&rig, &c), 0);
        runtime_exec(rig.runtime, c.id, sleep, 100000, on_executed, NULL);
        runtime_remove(rig.runtime, (struct id){1, 1}, on_removed, NULL);
        runtime_start(rig.runtime, &late, on_started, NULL);
        assert_true(told.executed == 0 && told.removed == 0 && told.started == 0);
        rig_close_runtime(&rig);
        assert_true(told.executed == 1 && told.removed == 1 && told.started == 1);
        assert_int_equal(told.status, -ECANCELED);
        assert_int_equal(told.code, ECANCELED);
        rig_open_runtime(&rig);
        assert_int_equal(runtime_recover(rig.runtime, on_found, &f), 0);
        assert_int_equal(f.n_running, 1);
        rig.is_exited = false;
        assert_int_equal(runtime_kill(rig.runtime, c.id), 0);
        rig_wait_exit(&rig);
        rig_remove(&rig, c.id);
        assert_true(told.executed == 1 && told.removed == 1 && told.started == 1);
}

static int set_up(void **state UNUSED)
{
        return rig_open(&rig, NULL) ? 0 : -1;
}

static int tear_down(void **state UNUSED)
{
        rig_close(&rig);
        return 0;
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_cgroup_goes_with_the_end),
                cmocka_unit_test(test_supervisor_is_stopped),
                cmocka_unit_test(test_end_on_a_full_disk),
                cmocka_unit_test(test_much_trash),
                cmocka_unit_test(test_closing_answers_all),
        };

        return cmocka_run_group_tests(tests, set_up, tear_down);
}
