/*
 * cgroups of each kind: containers run, are taken over, killed and removed with version 1 alone and
 * with version 2 alone. The machine has one kind or both: a child hides the other in a mount
 * namespace of its own. Limits with version 2 alone are runtime_test's where the machine has it so;
 * where it keeps the controllers for version 1, that they are missing is to be told.
 */
#include "tests/lib/container_rig.h"
#include "tests/lib/unit.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/magic.h>

#include "shared/base/mem.h"
#include "shared/base/parse.h"
#include "shared/base/str.h"

#define MOUNTS_MAX 64

struct mounts {
        char path[MOUNTS_MAX][256];
        size_t n;
};

/* The mount points of a type, in the order of the table. */
static struct mounts mounts_of(const char *type)
{
        struct mounts m = {0};
        FILE *f = fopen("/proc/self/mounts", "re");
        char path[256], kind[32];

        assert_non_null(f);
        while (m.n < MOUNTS_MAX && fscanf(f, "%*s %255s %31s %*[^\n]", path, kind) == 2)
                if (str_is_equal(kind, type))
                        snprintf(m.path[m.n++], sizeof(m.path[0]), "%s", path);
        fclose(f);
        return m;
}

static bool hide(const struct mounts *m)
{
        bool is_hidden = true;

        for (size_t i = m->n; i-- > 0;)
                is_hidden &= umount2(m->path[i], MNT_DETACH) == 0;
        return is_hidden;
}

static void on_found(void *arg, struct id id UNUSED, bool is_running, pid_t pid UNUSED,
                     const struct container_exit *exit UNUSED)
{
        *(int *)arg += is_running;
}

#define CHECK(x)                                                          \
        do {                                                              \
                if (!(x)) {                                               \
                        fprintf(stderr, "# line %d: %s\n", __LINE__, #x); \
                        return 1;                                         \
                }                                                         \
        } while (0)

/* A container runs on while its agent ends and another one begins; then it is killed. */
static int take_over_and_kill(struct rig *r)
{
        char *argv[] = {"sleep", "1000", NULL};
        struct container_config c = rig_config(r, argv);
        int n_running = 0;

        CHECK(rig_start(r, &c) == 0);
        rig_close_runtime(r);
        rig_open_runtime(r);
        CHECK(runtime_recover(r->runtime, on_found, &n_running) == 0);
        CHECK(n_running == 1);
        r->is_exited = false;
        runtime_kill(r->runtime, c.id);
        rig_wait_exit(r);
        CHECK(r->exit.status == 137);
        rig_remove(r, c.id);
        return 0;
}

static int with_v1_alone(struct rig *r)
{
        char *argv[] = {"sh", "-c", "exit 3", NULL};
        struct container_config c = rig_config(r, argv);

        c.memory_bytes = 64 << 20;
        c.nano_cpus = NANO_PER_CPU;
        c.pids = 20;
        CHECK(rig_run_config(r, &c) == 3);
        CHECK(rig_run(r, "head -c 1 /dev/zero | wc -c; mknod /tmp/d b 254 0 && cat /tmp/d") == 1);
        return take_over_and_kill(r);
}

static bool has_controller(const char *folder, const char *name)
{
        _cleanup_free_ char *path = xasprintf("%s/cgroup.controllers", folder);
        char text[256] = "";
        FILE *f = fopen(path, "re");

        if (f) {
                (void)!fgets(text, sizeof(text), f);
                fclose(f);
        }
        return strstr(text, name) != NULL;
}

static int with_v2_alone(struct rig *r)
{
        char *argv[] = {"sh", "-c", "exit 3", NULL};
        struct container_config c = rig_config(r, argv);
        struct mounts unified = mounts_of("cgroup2");

        CHECK(rig_run_config(r, &c) == 3);
        c = rig_config(r, argv);
        c.memory_bytes = 64 << 20;
        if (has_controller(unified.path[0], "memory")) {
                CHECK(rig_run_config(r, &c) == 3);
        } else {
                CHECK(rig_start(r, &c) == -EOPNOTSUPP);
                CHECK(str_is_equal(r->err.text, "task web.1: limit-memory: this node's kernel has "
                                                "no cgroups for it"));
        }
        return take_over_and_kill(r);
}

/* In a child, as the loop's threads share what a namespace is changed by. */
static void run_without(const char *hidden, int (*body)(struct rig *r))
{
        struct mounts m = mounts_of(hidden);
        int status;
        pid_t pid = fork();

        if (pid == 0) {
                struct rig r;
                int result = 1;

                if (unshare(CLONE_NEWNS) == 0 &&
                    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 && hide(&m) &&
                    rig_open(&r, NULL)) {
                        result = body(&r);
                        if (result == 0)
                                rig_close(&r);
                }
                _exit(result);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
}

static void test_v1_alone(void **state UNUSED)
{
        if (mounts_of("cgroup").n == 0)
                return; /* this machine cannot have it so */
        run_without("cgroup2", with_v1_alone);
}

static void test_v2_alone(void **state UNUSED)
{
        if (mounts_of("cgroup2").n == 0)
                return;
        run_without("cgroup", with_v2_alone);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_v1_alone),
                cmocka_unit_test(test_v2_alone),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
