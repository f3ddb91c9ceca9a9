/* Images, volumes and programs that mean ill: nothing outside the container is read, written,
 * blocked or mounted. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/runtime/runtime_internal.h"
#include "tests/lib/container_rig.h"
#include "tests/lib/unit.h"

static struct rig rig;

/* Runs c with a second layer over the good one that has one link in it. */
static int run_config_with_link(struct container_config *c, const char *name, const char *to)
{
        _cleanup_free_ char *layer = xasprintf("%s/evil", rig.folder);
        _cleanup_free_ char *link = xasprintf("%s/%s", layer, name);
        _cleanup_free_ char *parent = xstrndup(link, (size_t)(strrchr(link, '/') - link));
        char *layers[] = {rig.rootfs, layer, NULL};

        assert_int_equal(io_mkdir_all(parent, 0755), 0);
        assert_int_equal(symlink(to, link), 0);
        c->layers = layers;
        int r = rig_run_config(&rig, c);

        assert_int_equal(io_remove_tree(AT_FDCWD, layer), 0);
        return r;
}

static int run_with_link(const char *name, const char *to, const char *script)
{
        char *argv[4];
        struct container_config c = rig_script(&rig, argv, script);

        return run_config_with_link(&c, name, to);
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
        /* What the kernel shows stays as it is. */
        assert_int_equal(run_with_link("etc/hosts", "/proc/version", "exit 0"), -EPERM);
        assert_string_equal(
                rig.err.text,
                "task web.1: mount over a system folder /etc/hosts: operation not permitted");
        assert_int_equal(run_with_link("etc/hostname", "/sys/kernel/profiling", "exit 0"), -EPERM);
        /* Passwords from a file that would never end. */
        run_with_link("etc/passwd", "/dev/zero", "exit 0");
}

static void test_evil_workdirs(void **state)
{
        char *argv[4], path[64];

        (void)state;
        for (int fd = 0; fd < 24; fd++) {
                struct container_config c = rig_script(&rig, argv, "exit 0");

                snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
                c.workdir = path;
                assert_true(rig_start(&rig, &c) < 0);
        }
        assert_int_equal(run_with_link("wd", "/proc/self/fd/5", "exit 0"), 0);
        struct container_config c = rig_script(&rig, argv, "pwd");

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
        struct container_config c = rig_script(&rig, argv, "sleep 1000");

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
        struct container_config c = rig_script(
                &rig, argv,
                "readlink /proc/self/fd/0; stat -c %d /dev/null; stat -Lc %d /proc/self/fd/0;"
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

/* How many entries a folder has. */
static int count(const char *path)
{
        DIR *dir = opendir(path);
        struct dirent *e;
        int n = 0;

        assert_non_null(dir);
        while ((e = readdir(dir)))
                n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
        closedir(dir);
        return n;
}

/* An image whose place for a volume is a link: what it leads to is looked at before anything is
 * read there, and is always inside the image. */
static void test_evil_volume(void **state)
{
        static const struct {
                const char *to;
                bool copy_up;
                int result;
                const char *text;
        } cases[] = {
                {"/proc/sys/kernel/random", true, -EPERM, "mount over a system folder /v"},
                {"/sys/kernel", true, -EPERM, "mount over a system folder /v"},
                {"/", true, -EPERM, "mount over the root folder /v"},
                {"..", true, -EPERM, "mount over the root folder /v"},
                {"/", false, -EPERM, "mount over the root folder /v"},
                {"etc/../../..", false, -EPERM, "mount over the root folder /v"},
                {"/proc/self/root/etc", true, -ELOOP, "mount /v"},
                {"/proc/1/cwd", true, -ELOOP, "mount /v"},
        };
        _cleanup_free_ char *volume = xasprintf("%s/volume", rig.folder);
        struct container_mount m = {
                .type = MOUNT_VOLUME, .source = volume, .target = "/v", .create_source = true};
        char *argv[4];

        (void)state;
        assert_int_equal(io_mkdir_all(volume, 0755), 0);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct container_config c = rig_script(&rig, argv, "exit 0");

                c.mounts = &m;
                c.n_mounts = 1;
                m.copy_up = cases[i].copy_up;
                assert_int_equal(run_config_with_link(&c, "v", cases[i].to), cases[i].result);
                assert_non_null(strstr(rig.err.text, cases[i].text));
                assert_int_equal(count(volume), 0);
        }
        assert_int_equal(io_remove_tree(AT_FDCWD, volume), 0);
}

/* What is copied is the image's, also where a link seems to lead out, and also where something else
 * is mounted: never the host's, and nothing of the mounts. */
static void test_copy_of_the_image_only(void **state)
{
        _cleanup_free_ char *volume = xasprintf("%s/volume", rig.folder);
        _cleanup_free_ char *hosts = xasprintf("%s/volume/hosts", rig.folder);
        _cleanup_free_ char *passwd = xasprintf("%s/volume/passwd", rig.folder);
        struct container_mount m = {.type = MOUNT_VOLUME,
                                    .source = volume,
                                    .target = "/v",
                                    .copy_up = true,
                                    .create_source = true};
        char *argv[4];
        struct container_config c = rig_script(&rig, argv, "cat /v/passwd | head -n 1");
        _cleanup_buf_ struct buf b = {0};
        struct stat st;

        (void)state;
        c.mounts = &m;
        c.n_mounts = 1;
        assert_int_equal(run_config_with_link(&c, "v", "../../../../../etc"), 0);
        assert_string_equal(rig_output, "root:x:0:0:root:/root:/bin/sh\n");
        assert_int_equal(io_read_file(AT_FDCWD, passwd, 4096, &b), 0);
        assert_non_null(strstr(buf_str(&b), "web:x:1001:1002:"));
        assert_int_equal(stat(hosts, &st), 0); /* the image's empty one, not what is mounted */
        assert_int_equal(st.st_size, 0);
        assert_int_equal(io_remove_tree(AT_FDCWD, volume), 0);
}

/* Of a volume inside another one only the image's files are copied, too. */
static void test_copy_below_a_mount(void **state)
{
        _cleanup_free_ char *outer = xasprintf("%s/outer", rig.folder);
        _cleanup_free_ char *secret = xasprintf("%s/outer/data/secret", rig.folder);
        _cleanup_free_ char *inner = xasprintf("%s/inner", rig.folder);
        struct container_mount m[] = {
                {.type = MOUNT_BIND, .source = outer, .target = "/tmp"},
                {.type = MOUNT_VOLUME,
                 .source = inner,
                 .target = "/tmp/data",
                 .copy_up = true,
                 .create_source = true},
        };
        char *argv[4];
        struct container_config c = rig_script(&rig, argv, "ls -A /tmp/data | wc -l");

        (void)state;
        assert_int_equal(io_mkdir_all(secret, 0755), 0);
        c.mounts = m;
        c.n_mounts = 2;
        assert_int_equal(rig_run_config(&rig, &c), 0);
        assert_string_equal(rig_output, "0\n");
        assert_int_equal(io_remove_tree(AT_FDCWD, outer), 0);
        assert_int_equal(io_remove_tree(AT_FDCWD, inner), 0);
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
                cmocka_unit_test(test_evil_volume),
                cmocka_unit_test(test_copy_of_the_image_only),
                cmocka_unit_test(test_copy_below_a_mount),
        };

        return cmocka_run_group_tests(tests, set_up, tear_down);
}
