/* The log that a supervisor writes, where that is hard: on a disk that has no room, of a terminal
 * that nobody has open. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "agent/logs/logs.h"
#include "agent/logs/reader.h"
#include "agent/runtime/runtime_internal.h"
#include "tests/lib/container_rig.h"
#include "tests/lib/unit.h"

#define LOG_BYTES  (64 << 10)
#define PIPE_BYTES (64 << 10)
#define TURN_MS    5

static struct rig rig;

/* A small disk below the runtime. */
static void use_disk(const char *options)
{
        rig_close_runtime(&rig);
        assert_int_equal(mount("small", rig.run, "tmpfs", 0, options), 0);
        rig_open_runtime(&rig);
}

static void leave_disk(void)
{
        rig_close_runtime(&rig);
        assert_int_equal(umount2(rig.run, MNT_DETACH), 0);
        rig_open_runtime(&rig);
}

/* Files until there can be no more; how many. */
static int take_inodes(void)
{
        for (int n = 0;; n++) {
                _cleanup_free_ char *path = xasprintf("%s/filler.%d", rig.run, n);
                _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

                if (fd < 0) {
                        assert_int_equal(errno, ENOSPC);
                        return n;
                }
        }
}

static void give_inodes(int n)
{
        while (n-- > 0) {
                _cleanup_free_ char *path = xasprintf("%s/filler.%d", rig.run, n);

                assert_int_equal(unlink(path), 0);
        }
}

static void wait_for_file(struct id id, const char *path)
{
        _cleanup_free_ char *script = xasprintf("test -e %s", path);

        for (int64_t before = time_mono_us(); rig_exec(&rig, id, script, 5000) != 0;
             rig_turn(&rig, TURN_MS))
                assert_true(time_mono_us() - before < RIG_WAIT_MS * 1000);
}

/* Each answer of the supervisor is a turn in which it reads a part of what the pipe holds. */
static void wait_until_taken(struct id id)
{
        for (int i = 0; i < PIPE_BYTES / SHIM_LOG_LINE_MAX + 2; i++)
                assert_int_equal(rig_exec(&rig, id, "true", 5000), 0);
}

struct seen {
        unsigned long long first, last, lost; /* lines; what is lost lies behind last_before */
        unsigned long long last_before;
};

/* All lines are there from the first on, but for those that are told to be lost. */
static struct seen read_lines(struct id id)
{
        struct reader_source source = {rig.runtime, agent_logs_runtime_path};
        struct seen s = {0};
        struct reader_line line;
        struct reader *r;

        assert_int_equal(reader_open(&source, id, -1, 0, &r), 0);
        while (reader_next(r, &line) == 1) {
                _cleanup_free_ char *text = xstrndup(line.text, line.len);
                unsigned long long n;

                if (sscanf(text, "swarm: %llu lines of the log are lost", &n) == 1) {
                        s.lost += n;
                        s.last_before = s.last;
                        s.last += n;
                        continue;
                }
                assert_int_equal(sscanf(text, "%llu", &n), 1);
                if (!s.first)
                        s.first = n;
                else
                        assert_int_equal(n, s.last + 1);
                s.last = n;
        }
        reader_close(r);
        return s;
}

/* What cannot be rotated stays, what has no room is counted, and once there is room it goes on. */
static void test_rotation_without_room(void **state UNUSED)
{
        char *argv[4];
        struct container_mount m = {.type = MOUNT_TMPFS, .target = "/t"};
        struct container_config c = rig_script(
                &rig, argv,
                "seq 1 6000; touch /t/written; until test -e /t/on; do sleep 0.01; done; "
                "seq 6001 40000; touch /t/more; until test -e /t/end; do sleep 0.01; done; "
                "seq 40001 40010");

        use_disk("nr_inodes=200");
        c.mounts = &m;
        c.n_mounts = 1;
        c.log_max_bytes = LOG_BYTES;
        c.log_max_files = 3;
        assert_int_equal(rig_start(&rig, &c), 0);
        wait_for_file(c.id, "/t/written");
        int n = take_inodes();

        assert_int_equal(rig_exec(&rig, c.id, "touch /t/on", 5000), 0);
        wait_for_file(c.id, "/t/more");
        wait_until_taken(c.id);
        struct seen full = read_lines(c.id);

        assert_true(full.last - full.first > 2 * (LOG_BYTES / 32));
        give_inodes(n);
        assert_int_equal(rig_exec(&rig, c.id, "touch /t/end", 5000), 0);
        rig_wait_exit(&rig);
        struct seen end = read_lines(c.id);

        assert_true(end.lost > 0);
        assert_int_equal(end.last, 40010);
        assert_int_equal(end.last_before, full.last);
        rig_remove(&rig, c.id);
        leave_disk();
}

/* A moment in which nobody has the terminal open is not its end: neither for the log, nor for the
 * program that opens it again. */
static void test_terminal_that_is_opened_again(void **state UNUSED)
{
        static const struct {
                const char *script, *output;
        } cases[] = {
                {"echo one; exec </dev/null >/tmp/o 2>&1; until test -e /tmp/on; do sleep 0.01; "
                 "done; echo two >/dev/console; "
                 "exec </dev/console >/dev/console 2>&1; echo three; exit 7",
                 "one\r\ntwo\r\nthree\r\n"},
                {"echo one; exec </dev/null >/tmp/o 2>&1; until test -e /tmp/on; do sleep 0.01; "
                 "done; echo -n end >/dev/console; exit 7",
                 "one\r\nend\n"},
        };
        char *argv[4];

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct container_config c = rig_script(&rig, argv, cases[i].script);

                c.tty = true;
                assert_int_equal(rig_start(&rig, &c), 0);
                wait_for_file(c.id, "/tmp/o");
                wait_until_taken(c.id);
                assert_int_equal(rig_exec(&rig, c.id, "touch /tmp/on", 5000), 0);
                rig_wait_exit(&rig);
                rig_read_log(&rig, c.id);
                assert_string_equal(rig_output, cases[i].output);
                assert_int_equal(rig.exit.status, 7);
                rig_remove(&rig, c.id);
        }
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
                cmocka_unit_test(test_rotation_without_room),
                cmocka_unit_test(test_terminal_that_is_opened_again),
        };

        return cmocka_run_group_tests(tests, set_up, tear_down);
}
