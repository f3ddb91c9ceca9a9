/* Images, volumes and programs that mean ill: nothing outside the container is read, written,
 * blocked or mounted. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/runtime/runtime_internal.h"
#include "tests/lib/container_rig.h"
#include "tests/lib/unit.h"

static struct rig rig;

static struct container_config config_of(char **argv, const char *script)
{
        argv[0] = (char *)(uintptr_t) "sh";
        argv[1] = (char *)(uintptr_t) "-c";
        argv[2] = (char *)(uintptr_t)script;
        argv[3] = NULL;
        return rig_config(&rig, argv);
}

/* A second layer with one link in it, put over the good one. */
static int run_with_link(const char *name, const char *to, const char *script)
{
        _cleanup_free_ char *layer = xasprintf("%s/evil", rig.folder);
        _cleanup_free_ char *link = xasprintf("%s/%s", layer, name);
        _cleanup_free_ char *parent = xstrndup(link, (size_t)(strrchr(link, '/') - link));
        char *argv[4];
        struct container_config c = config_of(argv, script);
        char *layers[] = {rig.rootfs, layer, NULL};

        assert_int_equal(io_mkdir_all(parent, 0755), 0);
        assert_int_equal(symlink(to, link), 0);
        c.layers = layers;
        int r = rig_run_config(&rig, &c);

        assert_int_equal(io_remove_tree(AT_FDCWD, layer), 0);
        return r;
}

static void test_evil_links(void **state)
{
        static const char *const etc[] = {"etc/hosts", "etc/hostname", "etc/resolv.conf"};
        _cleanup_free_ char *canary = xasprintf("%s/canary", rig.folder);

        (void)state;
        assert_int_equal(run_with_link("proc", "/tmp", "exit 0"), -ENOTDIR);
        assert_string_equal(rig.err.text, "task web.1: unsafe image /proc: not a directory");
        assert_int_equal(run_with_link("sys", "/tmp", "exit 0"), -ENOTDIR);
        assert_int_equal(run_with_link("dev", "/tmp", "exit 0"), -ENOTDIR);
        assert_int_equal(run_with_link("dev/null", "/proc/sys/kernel/core_pattern",
                                       "test -c /dev/null && test ! -L /dev/null"),
                         0);
        for (size_t i = 0; i < ARRAY_SIZE(etc); i++) {
                run_with_link(etc[i], canary, "exit 0");
                assert_int_not_equal(access(canary, F_OK), 0);
        }
        /* Passwords from a file that would never end. */
        run_with_link("etc/passwd", "/dev/zero", "exit 0");
}

static void test_evil_workdirs(void **state)
{
        char *argv[4], path[64];

        (void)state;
        for (int fd = 0; fd < 24; fd++) {
                struct container_config c = config_of(argv, "exit 0");

                snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
                c.workdir = path;
                assert_true(rig_start(&rig, &c) < 0);
        }
        assert_int_equal(run_with_link("wd", "/proc/self/fd/5", "exit 0"), 0);
        struct container_config c = config_of(argv, "pwd");

        c.workdir = "/tmp/../../../..";
        assert_int_equal(rig_run_config(&rig, &c), 0);
        assert_string_equal(rig_output, "/\n");
}

/* Whatever lies at /dev/null of the running container is never opened for an exec: a fifo would
 * keep it waiting, a link would lead it to what the program chose. */
static void test_evil_null_at_run_time(void **state)
{
        static const char *const evil[] = {
                "rm /dev/null && mknod /dev/null p",
                "rm -f /dev/null && ln -s /proc/kmsg /dev/null",
                "rm -f /dev/null && ln -s /nowhere /dev/null",
                "rm -f /dev/null",
        };
        char *argv[4];
        struct container_config c = config_of(argv, "sleep 1000");

        (void)state;
        assert_int_equal(rig_start(&rig, &c), 0);
        for (size_t i = 0; i < ARRAY_SIZE(evil); i++) {
                assert_int_equal(rig_exec(&rig, c.id, evil[i], 5000), 0);
                assert_int_equal(rig_exec(&rig, c.id, "cat && readlink /proc/self/fd/0", 5000), 0);
                assert_int_equal(strncmp(rig.exec_output, "pipe:[", 6), 0);
        }
        runtime_kill(rig.runtime, c.id);
        rig_wait_exit(&rig);
        rig_remove(&rig, c.id);
}

/* An image's own /dev is covered before anything in it is opened. */
static void test_evil_null_in_image(void **state)
{
        static const char script[] = "test -c /dev/null && test ! -L /dev/null && "
                                     "readlink /proc/self/fd/0";

        (void)state;
        assert_int_equal(run_with_link("dev/null", "/proc/sys/kernel/core_pattern", script), 0);
        assert_string_equal(rig_output, "/dev/null\n");
        assert_int_equal(run_with_link("dev/null", "/dev/zero", script), 0);
        assert_string_equal(rig_output, "/dev/null\n");
}

/* The node of the container's own /dev, not the host's: that would lead to the host's mount, and
 * giving it to the container's user would give away the host's. */
static void test_stdin_is_its_own(void **state)
{
        char *argv[4];
        struct container_config c = config_of(
                argv, "readlink /proc/self/fd/0; stat -c %d /dev/null; stat -Lc %d /proc/self/fd/0;"
                      " stat -Lc %t:%T:%u /proc/self/fd/0; cat");
        struct stat before, after;
        unsigned long long own, stdin_dev;

        (void)state;
        c.user = "web";
        assert_int_equal(stat("/dev/null", &before), 0);
        assert_int_equal(rig_run_config(&rig, &c), 0);
        assert_int_equal(stat("/dev/null", &after), 0);
        assert_int_equal(after.st_uid, before.st_uid);
        assert_int_equal(after.st_gid, before.st_gid);
        assert_int_equal(sscanf(rig_output, "/dev/null %llu %llu 1:3:0", &own, &stdin_dev), 2);
        assert_non_null(strstr(rig_output, "\n1:3:0\n"));
        assert_int_equal(stdin_dev, own);
        assert_int_not_equal(stdin_dev, before.st_dev);
}

static int set_up(void **state)
{
        (void)state;
        return rig_open(&rig, NULL) ? 0 : -1;
}

static int tear_down(void **state)
{
        (void)state;
        rig_close(&rig);
        return 0;
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_evil_links),
                cmocka_unit_test(test_evil_workdirs),
                cmocka_unit_test(test_evil_null_at_run_time),
                cmocka_unit_test(test_evil_null_in_image),
                cmocka_unit_test(test_stdin_is_its_own),
        };

        return cmocka_run_group_tests(tests, set_up, tear_down);
}
