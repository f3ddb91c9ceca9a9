/* Real containers: ends, errors, what a program finds inside, limits. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "shared/base/base.h"
#include "tests/lib/container_rig.h"
#include "tests/lib/unit.h"

#define STOP_GRACE_MS 100000 /* beyond what a test waits */

static struct rig rig;

/* Runs a script and wants this output, with status 0. */
static void assert_prints(const char *script, const char *output)
{
        int status = rig_run(&rig, script);

        assert_string_equal(rig_output, output);
        assert_int_equal(status, 0);
}

static void test_exit_codes(void **state)
{
        (void)state;
        assert_int_equal(rig_run(&rig, "exit 0"), 0);
        assert_int_equal(rig_run(&rig, "exit 1"), 1);
        assert_int_equal(rig_run(&rig, "exit 255"), 255);
        assert_int_equal(rig_run(&rig, "sleep 9 & kill -SEGV $!; wait $!"), 139);
        assert_false(rig.exit.is_oom);
        assert_true(rig.exit.time_ms > 1600000000000);
}

static void assert_fails(const struct container_config *c, int err, const char *text)
{
        assert_int_equal(rig_start(&rig, c), -err);
        assert_string_equal(rig.err.text, text);
}

static void test_bad_programs(void **state)
{
        char *missing[] = {"/bin/foo", NULL}, *unknown[] = {"nope", NULL};
        char *plain[] = {"/etc/noexec", NULL}, *folder[] = {"/tmp", NULL}, *none[] = {NULL};
        struct container_config c = rig_config(&rig, missing);

        (void)state;
        assert_fails(&c, ENOENT,
                     "task web.1: command /bin/foo: no such file in the container, or what "
                     "interprets it is not there");
        c.init = true;
        assert_fails(&c, ENOENT,
                     "task web.1: command /bin/foo: no such file in the container, or what "
                     "interprets it is not there");
        c = rig_config(&rig, unknown);
        assert_fails(&c, ENOENT, "task web.1: command nope: not found in PATH");
        c = rig_config(&rig, plain);
        assert_fails(&c, EACCES,
                     "task web.1: command /etc/noexec: permission denied: not a file that its user "
                     "may execute");
        c = rig_config(&rig, folder);
        assert_fails(&c, EACCES,
                     "task web.1: command /tmp: permission denied: not a file that its user may "
                     "execute");
        c = rig_config(&rig, none);
        assert_fails(&c, EINVAL, "task web.1: no command is given");
}

static void test_signals(void **state)
{
        char *const sleep_argv[] = {"sh", "-c", "trap 'exit 9' TERM; sleep 100 & wait", NULL};
        struct container_config c = rig_config(&rig, sleep_argv);

        (void)state;
        assert_int_equal(rig_start(&rig, &c), 0);
        while (kill(rig.pid, SIGTERM) == 0 && !rig.is_exited)
                rig_turn(&rig, 1); /* until the shell has set its trap: before, it is ignored */
        rig_wait_exit(&rig);
        assert_int_equal(rig.exit.status, 9);
        assert_int_equal(runtime_stop(rig.runtime, c.id, SIGTERM, STOP_GRACE_MS), -ESRCH);
        rig_remove(&rig, c.id);
        c = rig_config(&rig, sleep_argv);
        assert_int_equal(rig_start(&rig, &c), 0);
        assert_int_equal(runtime_kill(rig.runtime, c.id), 0);
        rig_wait_exit(&rig);
        assert_int_equal(rig.exit.status, 137);
        rig_remove(&rig, c.id);
}

static void test_init_hands_on_signals(void **state)
{
        char *const argv[] = {"sleep", "100", NULL};
        struct container_config c = rig_config(&rig, argv);

        (void)state;
        c.init = true;
        assert_int_equal(rig_start(&rig, &c), 0);
        assert_int_equal(runtime_stop(rig.runtime, c.id, SIGTERM, STOP_GRACE_MS), 0);
        rig_wait_exit(&rig);
        assert_int_equal(rig.exit.status, 143);
        rig_remove(&rig, c.id);
}

static void test_privileges(void **state)
{
        static const char *const root_caps =
                "CapInh:\t0000000000000000\nCapPrm:\t00000000a80425fb\nCapEff:\t00000000a80425fb\n"
                "CapBnd:\t00000000a80425fb\nCapAmb:\t0000000000000000\n";
        char *argv[] = {"grep", "Cap", "/proc/self/status", NULL};
        struct container_config c = rig_config(&rig, argv);

        (void)state;
        assert_int_equal(rig_run_config(&rig, &c), 0);
        assert_string_equal(rig_output, root_caps);
        c = rig_config(&rig, argv);
        c.user = "web";
        assert_int_equal(rig_run_config(&rig, &c), 0);
        assert_string_equal(rig_output, "CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\n"
                                        "CapEff:\t0000000000000000\nCapBnd:\t00000000a80425fb\n"
                                        "CapAmb:\t0000000000000000\n");
        char *drop[] = {"ALL", NULL}, *add[] = {"NET_ADMIN", NULL};
        c = rig_config(&rig, argv);
        c.cap_drop = drop;
        c.cap_add = add;
        assert_int_equal(rig_run_config(&rig, &c), 0);
        assert_non_null(strstr(rig_output, "CapEff:\t0000000000001000\n"));
        assert_prints("grep -E 'NoNewPrivs|Seccomp:' /proc/self/status",
                      "NoNewPrivs:\t1\nSeccomp:\t2\n");
        assert_int_equal(rig_run(&rig, "mount -t tmpfs x /tmp"), 1);
        assert_int_equal(rig_run(&rig, "unshare -U true"), 1);
}

static void test_users(void **state)
{
        static const struct {
                const char *user, *out;
        } cases[] = {{NULL, "0 0 0 1004 /root\n"},
                     {"web", "1001 1002 1002 1003 1004 /home/web\n"},
                     {"1001", "1001 1002 1002 1003 1004 /home/web\n"},
                     {"web:lone", "1001 1005 1005 /home/web\n"},
                     {"77", "77 0 0 /\n"},
                     {"77:88", "77 88 88 /\n"}};
        char *argv[] = {"sh", "-c", "echo $(id -u) $(id -g) $(id -G) $HOME", NULL};

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct container_config c = rig_config(&rig, argv);

                c.user = cases[i].user;
                assert_int_equal(rig_run_config(&rig, &c), 0);
                assert_string_equal(rig_output, cases[i].out);
        }
        struct container_config c = rig_config(&rig, argv);

        c.user = "nobody-here";
        assert_fails(&c, ENOENT,
                     "task web.1: user nobody-here: there is none of that name in the image's "
                     "/etc/passwd");
        c.user = "2147483648";
        assert_fails(&c, ERANGE, "task web.1: user 2147483648: the number is too large");
        c.user = "web:4294967296";
        assert_fails(&c, ERANGE, "task web.1: group 4294967296: the number is too large");
        c.user = "web:none";
        assert_fails(
                &c, ENOENT,
                "task web.1: group none: there is none of that name in the image's /etc/group");
        c.user = "web";
        c.groups = (char *[]){"lone", "4242", NULL};
        assert_int_equal(rig_run_config(&rig, &c), 0);
        assert_string_equal(rig_output, "1001 1002 1002 1003 1004 1005 4242 /home/web\n");
}

/* Lines that are too long are passed over: their ends are no entries. */
static void test_users_behind_long_lines(void **state)
{
        static const size_t long_bytes[] = {4000, 4094, 4095, 4096, 4097, 8191, 8192, 20000};
        _cleanup_free_ char *layer = xasprintf("%s/long", rig.folder);
        _cleanup_free_ char *etc = xasprintf("%s/etc", layer);
        _cleanup_free_ char *passwd = xasprintf("%s/passwd", etc);
        char *argv[] = {"id", "-u", NULL}, *layers[] = {rig.rootfs, layer, NULL};

        (void)state;
        assert_int_equal(io_mkdir_all(etc, 0755), 0);
        for (size_t i = 0; i < ARRAY_SIZE(long_bytes); i++) {
                struct container_config c = rig_config(&rig, argv);
                _cleanup_buf_ struct buf b = {0};

                for (size_t n = 0; n < long_bytes[i]; n++)
                        buf_putc(&b, 'x');
                buf_puts(&b, "web:x:0:0:web:/:/bin/sh\nweb:x:1001:1002:web:/home/web:/bin/sh\n");
                assert_int_equal(io_write_file_atomic(AT_FDCWD, passwd, b.data, b.len, 0644), 0);
                c.user = "web";
                c.layers = layers;
                assert_int_equal(rig_run_config(&rig, &c), 0);
                assert_string_equal(rig_output, "1001\n");
        }
        assert_int_equal(io_remove_tree(AT_FDCWD, layer), 0);
}

static void test_environment(void **state)
{
        char *argv[] = {"sh", "-c", "echo $A $PATH; hostname; cat /etc/hostname; pwd", NULL};
        char *env[] = {"A=b c", NULL};
        struct container_config c = rig_config(&rig, argv);

        (void)state;
        c.env = env;
        c.workdir = "/made/for/it";
        assert_int_equal(rig_run_config(&rig, &c), 0);
        assert_string_equal(rig_output, "b c /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:"
                                        "/sbin:/bin\nbox\nbox\n/made/for/it\n");
        assert_prints("echo $$", "1\n");
        assert_prints("cat /proc/net/dev | grep -c :", "1\n");
        assert_prints("ls /proc/self/fd | tr '\\n' ' '; echo", "0 1 2 3 \n");
        assert_prints("(ls /proc/1/fd > /tmp/l); wc -l < /tmp/l", "3\n");
        assert_prints("ls /dev | tr '\\n' ' '; echo",
                      "core fd full mqueue null ptmx pts random shm stderr stdin stdout tty "
                      "urandom zero \n");
        assert_prints("readlink /proc/self/fd/0", "/dev/null\n");
        assert_prints("cat /etc/hosts; wc -c < /etc/resolv.conf",
                      "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n127.0.1.1\tbox\n0\n");
        assert_prints(
                "echo 192.0.2.1 db >> /etc/hosts; tail -n 1 /etc/hosts; stat -c %a /etc/hosts",
                "192.0.2.1 db\n644\n");
}

static void test_masks(void **state)
{
        (void)state;
        assert_prints("stat -c %t:%T /proc/keys /proc/timer_list", "1:3\n1:3\n");
        assert_prints("ls /sys/firmware | wc -l", "0\n");
        assert_int_equal(rig_run(&rig, "echo x > /proc/sys/kernel/hostname"), 1);
        assert_int_equal(rig_run(&rig, "echo x > /proc/sysrq-trigger"), 1);
        assert_int_equal(rig_run(&rig, "mkdir /sys/fs/cgroup/memory/x"), 1);
        assert_int_equal(rig_run(&rig, "echo 1 > /sys/fs/cgroup/memory/tasks"), 1);
        assert_prints("mknod /tmp/d b 254 0 && { head -c 1 /tmp/d 2>/dev/null || echo denied; }",
                      "denied\n");
        assert_prints("head -c 3 /dev/zero | wc -c; echo x > /dev/null && echo ok", "3\nok\n");
}

static void test_read_only(void **state)
{
        char *argv[] = {"sh", "-c",
                        "touch /x 2>/dev/null || touch /data/x 2>/dev/null || "
                        "{ echo x >> /etc/hosts; } 2>/dev/null || touch /etc/hostname "
                        "/etc/resolv.conf 2>/dev/null || touch /dev/shm/x && echo ro",
                        NULL};
        struct container_config c = rig_config(&rig, argv);

        (void)state;
        c.read_only = true;
        assert_int_equal(rig_run_config(&rig, &c), 0);
        assert_string_equal(rig_output, "ro\n");
        c.workdir = "/made/for/it";
        assert_int_equal(rig_run_config(&rig, &c), 0);
        assert_prints("touch /x && echo x >> /etc/hosts && echo rw", "rw\n");
        _cleanup_free_ char *leaked = xasprintf("%s/x", rig.rootfs);
        assert_int_not_equal(access(leaked, F_OK), 0);
}

static void test_limits(void **state)
{
        const bool is_v1 = access("/sys/fs/cgroup/memory", F_OK) == 0;
        char *argv[] = {"sh", "-c",
                        is_v1 ? "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes "
                                "cpu/cpu.cfs_quota_us pids/pids.max; ulimit -n"
                              : "cd /sys/fs/cgroup; cat memory.max cpu.max pids.max; ulimit -n",
                        NULL};
        struct container_config c = rig_config(&rig, argv);
        struct container_ulimit u = {"nofile", 123, 456};

        (void)state;
        c.memory_bytes = 32 << 20;
        c.nano_cpus = NANO_PER_CPU / 2;
        c.pids = 17;
        c.ulimits = &u;
        c.n_ulimits = 1;
        assert_int_equal(rig_run_config(&rig, &c), 0);
        assert_string_equal(rig_output, is_v1 ? "33554432\n50000\n17\n123\n"
                                              : "33554432\n50000 100000\n17\n123\n");
        u.soft = u.hard = INT64_MAX / 2; /* more than the kernel's fs.nr_open */
        assert_fails(&c, EPERM, "task web.1: ulimit nofile: operation not permitted");
}

/* Less than the kernel's least quota of a usual period is that much of a longer one. */
static void test_little_cpu(void **state UNUSED)
{
        static const struct {
                int64_t nano_cpus;
                const char *v1, *v2;
        } cases[] = {{NANO_PER_CPU / 1000, "1000\n1000000\n", "1000 1000000\n"},
                     {NANO_PER_CPU / 200, "5000\n1000000\n", "5000 1000000\n"},
                     {NANO_PER_CPU / 100, "1000\n100000\n", "1000 100000\n"}};
        const bool is_v1 = access("/sys/fs/cgroup/cpu", F_OK) == 0;
        char *argv[] = {"cat", "/sys/fs/cgroup/cpu.max", NULL, NULL};

        if (is_v1) {
                argv[1] = "/sys/fs/cgroup/cpu/cpu.cfs_quota_us";
                argv[2] = "/sys/fs/cgroup/cpu/cpu.cfs_period_us";
        }
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct container_config c = rig_config(&rig, argv);

                c.nano_cpus = cases[i].nano_cpus;
                assert_int_equal(rig_run_config(&rig, &c), 0);
                assert_string_equal(rig_output, is_v1 ? cases[i].v1 : cases[i].v2);
        }
}

static void test_out_of_memory(void **state)
{
        char *argv[] = {"sh", "-c", "x=a; while true; do x=$x$x$x; done", NULL};
        struct container_config c = rig_config(&rig, argv);

        (void)state;
        c.memory_bytes = 8 << 20;
        assert_int_equal(rig_run_config(&rig, &c), 137);
        assert_true(rig.exit.is_oom);
}

static void test_pids(void **state)
{
        char *argv[] = {"sh", "-c", "for i in 1 2 3 4 5 6 7 8; do sleep 5 & done; exit 0", NULL};
        struct container_config c = rig_config(&rig, argv);

        (void)state;
        c.pids = 4;
        assert_int_not_equal(rig_run_config(&rig, &c), 0);
}

static void test_mounts(void **state)
{
        _cleanup_free_ char *host = xasprintf("%s/host", rig.folder);
        _cleanup_free_ char *volume = xasprintf("%s/volume", rig.folder);
        _cleanup_free_ char *file = xasprintf("%s/host/f", rig.folder);
        struct container_mount m[] = {
                {.type = MOUNT_BIND, .source = host, .target = "/a/b", .create_source = true},
                {.type = MOUNT_BIND, .source = host, .target = "/ro", .read_only = true},
                {.type = MOUNT_VOLUME,
                 .source = volume,
                 .target = "/data",
                 .copy_up = true,
                 .create_source = true},
                {.type = MOUNT_TMPFS, .target = "/t", .tmpfs_size = 1 << 20, .tmpfs_mode = 0700},
                {.type = MOUNT_BIND, .source = volume, .target = "/s", .subpath = "seed"}};
        char *argv[] = {"sh", "-c",
                        "echo hi > /a/b/f; cat /ro/f; touch /ro/g 2>/dev/null || echo no; "
                        "cat /data/seed; stat -c %a /t; dd if=/dev/zero of=/t/x bs=64k count=32 "
                        "2>/dev/null || echo full",
                        NULL};
        struct container_config c = rig_config(&rig, argv);

        (void)state;
        c.mounts = m;
        c.n_mounts = 4;
        assert_int_equal(rig_run_config(&rig, &c), 0);
        assert_string_equal(rig_output, "hi\nno\nfrom the image\n700\nfull\n");
        assert_int_equal(access(file, F_OK), 0);
        c = rig_config(&rig, (char *[]){"cat", "/s", NULL});
        c.mounts = m + 4;
        c.n_mounts = 1;
        assert_int_equal(rig_run_config(&rig, &c), 0);
        assert_string_equal(rig_output, "from the image\n");
        m[4].subpath = "../host";
        assert_fails(&c, EXDEV, "task web.1: mount subpath ../host: invalid cross-device link");
        m[4] = (struct container_mount){.source = "/nowhere", .target = "/x", .type = MOUNT_BIND};
        assert_fails(&c, ENOENT,
                     "task web.1: mount source /nowhere: no such file or folder on this node");
        _cleanup_free_ char *below = xasprintf("%s/below", file);
        _cleanup_free_ char *why =
                xasprintf("task web.1: mount /x: make %s: not a directory", below);

        m[4].create_source = true;
        m[4].source = below;
        assert_fails(&c, ENOTDIR, why);
        m[4] = (struct container_mount){.target = "/proc/self/attr", .type = MOUNT_TMPFS};
        assert_int_equal(rig_start(&rig, &c), -EPERM);
}

/* The container's own files are there whatever the user mounts at /etc and above; what he mounts in
 * their place is his, and nothing of them is left in a folder of the host. */
static void test_own_files_over_mounts(void **state)
{
        static const struct {
                bool has_hosts, read_only;
                const char *targets[2]; /* of the folder, and of the file hosts in it */
                const char *output;
        } cases[] = {
                {true, false, {"/etc", NULL}, "127.0.0.1\tlocalhost\nbox\n"},
                {true, true, {"/etc", NULL}, "127.0.0.1\tlocalhost\nbox\n"},
                {false, false, {"/etc", NULL}, "127.0.0.1\tlocalhost\nbox\n"},
                {false, true, {"/etc", NULL}, "none\n"},
                {true, false, {"/etc", "/etc/hosts"}, "the user's\nbox\n"},
                {true, false, {"/other", "/etc//hosts"}, "the user's\nbox\n"},
        };
        _cleanup_free_ char *etc = xasprintf("%s/user-etc", rig.folder);
        _cleanup_free_ char *hosts = xasprintf("%s/hosts", etc);
        _cleanup_free_ char *hostname = xasprintf("%s/hostname", etc);
        _cleanup_free_ char *resolv = xasprintf("%s/resolv.conf", etc);
        char *argv[] = {"sh", "-c",
                        "{ head -n 1 /etc/hosts && cat /etc/hostname; } 2>/dev/null || echo none",
                        NULL};

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct container_mount m[2] = {
                        {.type = MOUNT_BIND,
                         .source = etc,
                         .target = cases[i].targets[0],
                         .read_only = cases[i].read_only},
                        {.type = MOUNT_BIND, .source = hosts, .target = cases[i].targets[1]}};
                struct container_config c = rig_config(&rig, argv);
                _cleanup_buf_ struct buf b = {0};

                assert_int_equal(io_mkdir_all(etc, 0755), 0);
                if (cases[i].has_hosts) {
                        assert_int_equal(
                                io_write_file_atomic(AT_FDCWD, hosts, "the user's\n", 11, 0644), 0);
                        assert_int_equal(io_write_file_atomic(AT_FDCWD, hostname, "", 0, 0644), 0);
                        assert_int_equal(io_write_file_atomic(AT_FDCWD, resolv, "", 0, 0644), 0);
                }
                c.mounts = m;
                c.n_mounts = cases[i].targets[1] ? 2 : 1;
                assert_int_equal(rig_run_config(&rig, &c), 0);
                assert_string_equal(rig_output, cases[i].output);
                assert_int_equal(io_read_file(AT_FDCWD, hosts, 100, &b),
                                 cases[i].read_only && !cases[i].has_hosts ? -ENOENT : 0);
                assert_string_equal(buf_str(&b), cases[i].has_hosts ? "the user's\n" : "");
                assert_int_equal(io_remove_tree(AT_FDCWD, etc), 0);
        }
}

static void test_sysctls(void **state)
{
        struct container_sysctl s[] = {{"net.core.somaxconn", "77"}, {"kernel.msgmax", "9999"}};
        char *argv[] = {"cat", "/proc/sys/net/core/somaxconn", "/proc/sys/kernel/msgmax", NULL};
        struct container_config c = rig_config(&rig, argv);

        (void)state;
        c.sysctls = s;
        c.n_sysctls = 2;
        assert_int_equal(rig_run_config(&rig, &c), 0);
        assert_string_equal(rig_output, "77\n9999\n");
        s[0].key = "kernel.panic";
        assert_int_equal(rig_start(&rig, &c), -EINVAL);
        s[0].key = "net/../kernel/panic";
        assert_int_equal(rig_start(&rig, &c), -EINVAL);
}

/* Whoever it runs as may listen at any port and send pings, in a network of its own. */
static void test_sysctls_of_an_own_network(void **state UNUSED)
{
        static const char show[] = "cat /proc/sys/net/ipv4/ip_unprivileged_port_start "
                                   "/proc/sys/net/ipv4/ping_group_range";
        struct container_sysctl s[] = {{"net.ipv4.ping_group_range", "5 6"},
                                       {"net.ipv4.ip_unprivileged_port_start", "100"}};
        char *argv[4];
        _cleanup_buf_ struct buf ports = {0}, pings = {0};
        struct container_config c = rig_script(&rig, argv, show);

        assert_int_equal(rig_run_config(&rig, &c), 0);
        assert_string_equal(rig_output, "0\n0\t2147483647\n");
        c = rig_script(&rig, argv, show);
        c.sysctls = s;
        c.n_sysctls = 2;
        assert_int_equal(rig_run_config(&rig, &c), 0);
        assert_string_equal(rig_output, "100\n5\t6\n");
        assert_int_equal(io_read_file(AT_FDCWD, "/proc/sys/net/ipv4/ip_unprivileged_port_start",
                                      100, &ports),
                         0);
        assert_int_equal(io_read_file(AT_FDCWD, "/proc/sys/net/ipv4/ping_group_range", 100, &pings),
                         0);
        _cleanup_free_ char *host = xasprintf("%s%s", buf_str(&ports), buf_str(&pings));
        c = rig_script(&rig, argv, show);
        c.network = CONTAINER_NET_HOST;
        assert_int_equal(rig_run_config(&rig, &c), 0);
        assert_string_equal(rig_output, host);
}

static void test_tty(void **state)
{
        char *argv[] = {"sh", "-c", "tty; stat -c %t /dev/console; test -t 1 && echo yes", NULL};
        struct container_config c = rig_config(&rig, argv);

        (void)state;
        c.tty = true;
        assert_int_equal(rig_run_config(&rig, &c), 0);
        assert_string_equal(rig_output, "/dev/pts/0\r\n88\r\nyes\r\n");
}

static void test_host_network(void **state)
{
        char *argv[] = {"readlink", "/proc/self/ns/net", NULL};
        struct container_config c = rig_config(&rig, argv);
        char own[64] = "", want[66];

        (void)state;
        assert_true(readlink("/proc/self/ns/net", own, sizeof(own) - 1) > 0);
        snprintf(want, sizeof(want), "%s\n", own);
        c.network = CONTAINER_NET_HOST;
        assert_int_equal(rig_run_config(&rig, &c), 0);
        assert_string_equal(rig_output, want);
        c = rig_config(&rig, argv);
        assert_int_equal(rig_run_config(&rig, &c), 0);
        assert_string_not_equal(rig_output, want);
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
                cmocka_unit_test(test_exit_codes),
                cmocka_unit_test(test_bad_programs),
                cmocka_unit_test(test_signals),
                cmocka_unit_test(test_init_hands_on_signals),
                cmocka_unit_test(test_privileges),
                cmocka_unit_test(test_users),
                cmocka_unit_test(test_users_behind_long_lines),
                cmocka_unit_test(test_environment),
                cmocka_unit_test(test_masks),
                cmocka_unit_test(test_read_only),
                cmocka_unit_test(test_limits),
                cmocka_unit_test(test_little_cpu),
                cmocka_unit_test(test_out_of_memory),
                cmocka_unit_test(test_pids),
                cmocka_unit_test(test_mounts),
                cmocka_unit_test(test_own_files_over_mounts),
                cmocka_unit_test(test_sysctls),
                cmocka_unit_test(test_sysctls_of_an_own_network),
                cmocka_unit_test(test_tty),
                cmocka_unit_test(test_host_network),
        };

        return cmocka_run_group_tests(tests, set_up, tear_down);
}
