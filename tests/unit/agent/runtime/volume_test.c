/* Volumes that are filled from the image: by several containers at once, by one that is killed at
 * any moment, next to files of the user. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "agent/runtime/runtime_internal.h"
#include "tests/lib/container_rig.h"
#include "tests/lib/unit.h"

#define FILES      40
#define STARTS     6
#define FILE_BYTES 5000
#define TURN_MS    5

static struct rig rig;
static char *layer, *volumes, *volume;
static struct container_mount mount_of_data;

/* What a container sees: how many entries, how many bytes in all; and a few details. */
static const char look[] = "ls -AR /data | grep -c . ; cat /data/f* /data/sub/deep/* | wc -c; "
                           "stat -c %a:%u:%g /data /data/f0 /data/sub /data/sub/deep; "
                           "readlink /data/link";
static const char whole[] = "47\n205000\n751:7:8\n640:5:6\n711:1:2\n1775:3:4\n../x\n";

static void put(const char *path, const void *p, size_t n)
{
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);

        assert_true(fd >= 0);
        assert_int_equal(io_write_all(fd, p, n), 0);
        assert_int_equal(fchown(fd, 5, 6), 0);
        assert_int_equal(fchmod(fd, 0640), 0);
        close(fd);
}

static void own(const char *path, mode_t mode, uid_t uid, gid_t gid)
{
        assert_int_equal(chown(path, uid, gid), 0);
        assert_int_equal(chmod(path, mode), 0);
}

/* A layer with a folder data: files, a link, folders in folders. */
static void make_layer(void)
{
        static char bytes[FILE_BYTES];
        _cleanup_free_ char *data = xasprintf("%s/data", layer);
        _cleanup_free_ char *sub = xasprintf("%s/data/sub", layer);
        _cleanup_free_ char *deep = xasprintf("%s/data/sub/deep", layer);
        _cleanup_free_ char *link = xasprintf("%s/data/link", layer);
        _cleanup_free_ char *last = xasprintf("%s/data/sub/deep/last", layer);

        memset(bytes, 'x', sizeof(bytes));
        assert_int_equal(io_mkdir_all(deep, 0700), 0);
        for (int i = 0; i < FILES; i++) {
                _cleanup_free_ char *path = xasprintf("%s/f%d", data, i);

                put(path, bytes, sizeof(bytes));
        }
        put(last, bytes, sizeof(bytes));
        assert_int_equal(symlink("../x", link), 0);
        own(data, 0751, 7, 8);
        own(sub, 0711, 1, 2);
        own(deep, 01775, 3, 4);
}

static struct container_config config_of(char **argv, const char *script)
{
        static char *layers[2];

        struct container_config c = rig_script(&rig, argv, script);

        layers[0] = rig.rootfs;
        c.layers = layers;
        mount_of_data = (struct container_mount){
                .type = MOUNT_VOLUME, .source = volume, .target = "/data", .copy_up = true};
        c.mounts = &mount_of_data;
        c.n_mounts = 1;
        return c;
}

static void renew(void)
{
        assert_int_equal(io_remove_tree(AT_FDCWD, volumes), 0);
        assert_int_equal(io_mkdir_all(volume, 0755), 0);
}

/* Names below a folder, each with a blank after it. */
static void list(const char *path, struct buf *ret)
{
        DIR *dir = opendir(path);
        struct dirent *e;

        assert_non_null(dir);
        buf_clear(ret);
        while ((e = readdir(dir)))
                if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
                        buf_printf(ret, "%s ", e->d_name);
        closedir(dir);
}

static void assert_nothing_beside(void)
{
        _cleanup_buf_ struct buf b = {0};

        list(volumes, &b);
        assert_string_equal(buf_str(&b), "data ");
}

static void assert_sees_all(void)
{
        char *argv[4];
        struct container_config c = config_of(argv, look);

        assert_int_equal(rig_run_config(&rig, &c), 0);
        assert_string_equal(rig_output, whole);
        assert_nothing_beside();
}

static void test_is_filled(void **state UNUSED)
{
        renew();
        assert_sees_all();
        assert_sees_all();
}

static void use_shim(const char *name)
{
        const char *build = getenv("BUILD") ? getenv("BUILD") : "build";

        rig_close_runtime(&rig);
        free(rig.shim);
        rig.shim = xasprintf("%s/%s", build, name);
        rig_open_runtime(&rig);
}

/* One that goes with its container: nobody else fills it, nothing lies beside it at any time. */
static void test_of_one_container(void **state UNUSED)
{
        char *argv[4];

        use_shim("swarm-shim-test");
        for (int n = 1; n < 40; n++) {
                struct container_config c = config_of(argv, look);

                mount_of_data.is_own = true;
                renew();
                runtime_set_fail_at(rig.runtime, -n);
                assert_true(rig_start(&rig, &c) < 0);
                assert_nothing_beside();
        }
        use_shim("swarm-shim");
        renew();
        struct container_config c = config_of(argv, look);

        mount_of_data.is_own = true;
        assert_int_equal(rig_run_config(&rig, &c), 0);
        assert_string_equal(rig_output, whole);
}

static void on_one_started(void *arg, struct id id UNUSED, pid_t pid UNUSED, const struct err *err)
{
        int *n = arg;

        assert_null(err);
        ++*n;
}

static bool has_ended(struct id id)
{
        struct container *c = map_get_id(&rig.runtime->containers, id);

        return c && c->phase == PHASE_ENDED;
}

/* Whoever starts on it, at the same time or while it is being filled, finds it whole. */
static void test_by_many_at_once(void **state UNUSED)
{
        struct id ids[STARTS];
        int n = 0;

        renew();
        for (int i = 0; i < STARTS; i++) {
                char *argv[4];
                struct container_config c = config_of(argv, look);

                ids[i] = c.id;
                runtime_start(rig.runtime, &c, on_one_started, &n);
        }
        for (int i = 0; i < STARTS; i++) {
                for (int64_t before = time_mono_us(); !has_ended(ids[i]); rig_turn(&rig, TURN_MS))
                        assert_true(time_mono_us() - before < 20000000);
                rig_read_log(&rig, ids[i]);
                assert_string_equal(rig_output, whole);
                rig_remove(&rig, ids[i]);
        }
        assert_int_equal(n, STARTS);
        assert_nothing_beside();
}

/* A start that fails (sign 1) or is killed (-1) at its nth step; false: it had no such step. */
static bool fill_until(int n, int sign)
{
        char *argv[4];
        struct container_config c = config_of(argv, "exit 0");

        renew();
        runtime_set_fail_at(rig.runtime, sign * n);
        int r = rig_start(&rig, &c);

        runtime_set_fail_at(rig.runtime, 0);
        if (r < 0)
                return true;
        rig_wait_exit(&rig);
        rig_remove(&rig, c.id);
        return false;
}

/* Killed at the first, second, third ... step of its start: the next one has the volume whole. */
static void test_killed_at_every_step(void **state UNUSED)
{
        int n = 1, sign = -1;

        use_shim("swarm-shim-test");
        for (; fill_until(n, sign); n++) {
                assert_sees_all();
                sign = -sign;
        }
        use_shim("swarm-shim");
        assert_true(n > FILES);
}

/* What the user has put there meanwhile is not touched when a half copy is done again. */
static void test_user_files_are_kept(void **state UNUSED)
{
        _cleanup_free_ char *last = xasprintf("%s/f%d", volume, FILES - 1);
        _cleanup_free_ char *sub = xasprintf("%s/sub", volume);
        _cleanup_free_ char *link = xasprintf("%s/link", volume);
        _cleanup_free_ char *more = xasprintf("%s/more", volume);
        _cleanup_buf_ struct buf b = {0};
        char *argv[4];
        struct stat st;

        use_shim("swarm-shim-test");
        assert_true(fill_until(20, -1));
        use_shim("swarm-shim");
        list(volume, &b);
        assert_true(b.len > 0); /* a part of it is there */
        unlink(last), unlink(link);
        assert_int_equal(io_remove_tree(AT_FDCWD, sub), 0);
        put(last, "mine", 4);
        put(link, "mine", 4);
        put(more, "mine", 4);
        assert_int_equal(mkdir(sub, 0755), 0);
        own(sub, 0711, 9, 9);
        struct container_config c =
                config_of(argv, "cat /data/link /data/more; cat /data/f* /data/sub/deep/* | wc -c");

        assert_int_equal(rig_run_config(&rig, &c), 0);
        assert_string_equal(rig_output, "minemine200004\n");
        assert_int_equal(stat(sub, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0711);
        assert_int_equal(st.st_uid, 9);
        assert_nothing_beside();
        /* And one that has files from the start gets none of the image's. */
        renew();
        put(more, "mine", 4);
        c = config_of(argv, "ls -A /data");
        assert_int_equal(rig_run_config(&rig, &c), 0);
        assert_string_equal(rig_output, "more\n");
}

/* A container that has the volume can lock its folder as it likes: nobody waits for that. */
static void test_locked_by_somebody(void **state UNUSED)
{
        renew();
        _cleanup_close_ int fd = open(volume, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
        assert_sees_all();
}

static int set_up(void **state UNUSED)
{
        if (!rig_open(&rig, NULL))
                return -1;
        _cleanup_free_ char *seed = xasprintf("%s/data/seed", rig.rootfs);

        unlink(seed);
        layer = rig.rootfs;
        /* In memory where that can be: each filling waits for the disk. */
        volumes = xasprintf("%s/swarm-volumes-%d",
                            access("/dev/shm", W_OK) == 0 ? "/dev/shm" : rig.folder, (int)getpid());
        volume = xasprintf("%s/data", volumes);
        make_layer();
        return 0;
}

static int tear_down(void **state UNUSED)
{
        rig_close(&rig);
        io_remove_tree(AT_FDCWD, volumes);
        free(volumes);
        free(volume);
        return 0;
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_is_filled),
                cmocka_unit_test(test_of_one_container),
                cmocka_unit_test(test_by_many_at_once),
                cmocka_unit_test(test_killed_at_every_step),
                cmocka_unit_test(test_user_files_are_kept),
                cmocka_unit_test(test_locked_by_somebody),
        };

        return cmocka_run_group_tests(tests, set_up, tear_down);
}
