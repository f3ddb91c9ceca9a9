/* The life of containers beyond one run: logs, execs, loss of agent and supervisor, failures at
 * every step. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "agent/runtime/runtime_internal.h"
#include "tests/lib/container_rig.h"
#include "tests/lib/unit.h"

#define STOP_GRACE_MS 100000 /* beyond what a test waits */

static struct rig rig;

static void no_answer(void *arg UNUSED, int status UNUSED, const char *output UNUSED,
                      size_t n UNUSED)
{
}

static void start(const struct container_config *c)
{
        assert_int_equal(rig_start(&rig, c), 0);
}

static void on_removed(void *arg)
{
        struct rig *r = arg;

        r->is_removed = true;
}

static void test_long_lines_are_split(void **state)
{
        char *argv[4];
        struct container_config c =
                rig_script(&rig, argv, "head -c 40000 /dev/zero | tr '\\0' x; echo; echo -n end");
        _cleanup_buf_ struct buf b = {0};

        (void)state;
        start(&c);
        rig_wait_exit(&rig);
        _cleanup_free_ char *path = runtime_log_path(rig.runtime, c.id, 0);
        assert_int_equal(io_read_file(AT_FDCWD, path, 1 << 20, &b), 0);
        size_t total = 0, partial = 0, lines = 0;

        for (char *line = (char *)b.data, *end; (end = strchr(line, '\n')); line = end + 1) {
                char *text = strchr(line, ' ');

                assert_in_range(end - text - 5, 0, SHIM_LOG_LINE_MAX);
                total += (size_t)(end - text - 5);
                partial += text[3] == 'P';
                lines++;
        }
        assert_int_equal(total, 40003);
        assert_int_equal(partial, 2);
        assert_int_equal(lines, 4);
        rig_remove(&rig, c.id);
}

/* Numbered lines, more than the files hold: what is left is whole, in order, and the end. */
static void test_rotation_of_a_flood(void **state)
{
        char *argv[4];
        struct container_config c = rig_script(&rig, argv, "seq 1 60000");
        unsigned long long want = 0;
        int files = 0;

        (void)state;
        c.log_max_bytes = 256 << 10;
        c.log_max_files = 3;
        start(&c);
        rig_wait_exit(&rig);
        assert_int_equal(rig.exit.status, 0);
        for (int i = 3; i >= 0; i--) {
                _cleanup_free_ char *path = runtime_log_path(rig.runtime, c.id, i);
                _cleanup_buf_ struct buf b = {0};

                if (io_read_file(AT_FDCWD, path, 1 << 20, &b) < 0)
                        continue;
                files++;
                assert_true(b.len <= 256 << 10);
                for (char *line = (char *)b.data, *end; (end = strchr(line, '\n'));
                     line = end + 1) {
                        unsigned long long us, n;

                        assert_int_equal(sscanf(line, "%llu o F %llu", &us, &n), 2);
                        assert_true(want == 0 || n == want);
                        want = n + 1;
                }
        }
        assert_int_equal(files, 3);
        assert_int_equal(want, 60001);
        rig_remove(&rig, c.id);
}

static void test_exec(void **state)
{
        char *argv[4];
        struct container_config c = rig_script(&rig, argv, "sleep 1000");
        int64_t before;

        (void)state;
        c.user = "web";
        c.env = (char *[]){"A=1", NULL};
        c.workdir = "/tmp";
        start(&c);
        assert_int_equal(rig_exec(&rig, c.id, "echo $A $(id -u) $(pwd) $HOME; exit 3", 5000), 3);
        assert_string_equal(rig.exec_output, "1 1001 /tmp /home/web\n");
        assert_int_equal(
                rig_exec(&rig, c.id, "grep -E 'Cap|Seccomp:|NoNew' /proc/self/status", 5000), 0);
        assert_string_equal(rig.exec_output,
                            "CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\n"
                            "CapEff:\t0000000000000000\nCapBnd:\t00000000a80425fb\n"
                            "CapAmb:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n");
        assert_int_equal(rig_exec(&rig, c.id, "ls /proc/self/fd | tr '\\n' ' '", 5000), 0);
        assert_string_equal(rig.exec_output, "0 1 2 3 ");
        assert_int_equal(rig_exec(&rig, c.id,
                                  "test \"$(cat /proc/self/cgroup)\" = \"$(cat /proc/1/cgroup)\"",
                                  5000),
                         0);
        before = time_mono_us();
        assert_int_equal(rig_exec(&rig, c.id, "sleep 100", 200), -ETIME);
        assert_in_range(time_mono_us() - before, 190000, 5000000);
        assert_int_equal(rig_exec(&rig, c.id, "yes | head -c 1000000", 5000), 0);
        assert_int_equal(strlen(rig.exec_output), SHIM_EXEC_OUTPUT);
        assert_int_equal(rig_exec_argv(&rig, c.id, (char *[]){"nope", NULL}, 1000), 127);
        assert_string_equal(rig.exec_output, "exec nope: No such file or directory");
        for (int i = 0; i < SHIM_EXECS_MAX; i++)
                runtime_exec(rig.runtime, c.id, (char *[]){"sleep", "100", NULL}, 100000, no_answer,
                             NULL);
        assert_int_equal(rig_exec(&rig, c.id, "true", 5000), -EBUSY);
        runtime_kill(rig.runtime, c.id);
        rig_wait_exit(&rig);
        assert_int_equal(rig_exec(&rig, c.id, "true", 100), -ESRCH);
        rig_remove(&rig, c.id);
}

struct found {
        int n_running, n_ended;
        struct id id;
        struct container_exit exit;
};

/* Its supervisor may not have answered yet. */
static void on_found_early(void *arg, struct id id, bool is_running, pid_t pid UNUSED,
                           const struct container_exit *e)
{
        struct found *f = arg;

        f->id = id;
        if (is_running) {
                f->n_running++;
        } else {
                f->n_ended++;
                f->exit = *e;
        }
}

static void on_found(void *arg, struct id id, bool is_running, pid_t pid,
                     const struct container_exit *e)
{
        on_found_early(arg, id, is_running, pid, e);
        assert_true(!is_running || pid > 0);
}

/* An agent that starts a container and dies at once, in a process of its own. */
static void start_and_die(const struct container_config *c)
{
        rig_close_runtime(&rig);
        pid_t pid = fork();

        if (pid == 0) {
                rig_open_runtime(&rig);
                int r = rig_start(&rig, c);

                _exit(r == 0 ? 0 : 1);
        }
        int status;

        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
}

static void test_agent_dies(void **state)
{
        char *argv[4];
        struct container_config c = rig_script(&rig, argv,
                                               "while test ! -e /go; do sleep 0.01; done; "
                                               "echo bye; exit 42");
        struct found f = {0};

        (void)state;
        start_and_die(&c);
        rig_open_runtime(&rig);
        rig.is_exited = false;
        assert_int_equal(runtime_recover(rig.runtime, on_found, &f), 0);
        assert_int_equal(f.n_running, 1);
        assert_int_equal(f.n_ended, 0);
        assert_true(id_is_equal(f.id, c.id));
        assert_int_equal(rig_exec(&rig, c.id, "touch /go", 5000), 0);
        rig_wait_exit(&rig);
        assert_int_equal(rig.exit.status, 42);
        rig_read_log(&rig, c.id);
        assert_string_equal(rig_output, "bye\n");
        rig_remove(&rig, c.id);
}

/* It also ends while there is no agent at all. */
static void test_ends_without_agent(void **state)
{
        char *argv[4];
        struct container_config c = rig_script(&rig, argv, "sleep 0.1; exit 43");
        _cleanup_free_ char *path = xasprintf("%s/c/%s/sock", rig.run, ID_S(c.id));
        struct found f = {0};
        struct timespec pause = {.tv_nsec = 5000000};

        (void)state;
        start_and_die(&c);
        for (int i = 0; i < 2000 && access(path, F_OK) == 0; i++)
                nanosleep(&pause, NULL);
        rig_open_runtime(&rig);
        assert_int_equal(runtime_recover(rig.runtime, on_found, &f), 0);
        assert_int_equal(f.n_running, 0);
        assert_int_equal(f.n_ended, 1);
        assert_int_equal(f.exit.status, 43);
        assert_null(f.exit.reason);
        rig_remove(&rig, c.id);
}

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

static void test_supervisor_is_killed(void **state)
{
        char *argv[4];
        struct container_config c = rig_script(&rig, argv, "sleep 1000");

        (void)state;
        start(&c);
        assert_int_equal(kill(parent_of(rig.pid), SIGKILL), 0);
        rig_wait_exit(&rig);
        assert_int_equal(rig.exit.status, -1);
        assert_string_equal(rig.exit.reason, "supervisor was lost");
        rig_remove(&rig, c.id);
}

/* Not there, or dead and only not yet reaped. */
static bool is_dead(pid_t pid)
{
        char path[64], state = 'X';
        _cleanup_buf_ struct buf b = {0};

        snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
        if (io_read_file(AT_FDCWD, path, 4096, &b) == 0)
                sscanf(strrchr(buf_str(&b), ')'), ") %c", &state);
        return state == 'X' || state == 'Z';
}

static void wait_for_death(pid_t pid)
{
        struct timespec pause = {.tv_nsec = 2000000};

        for (int64_t before = time_mono_us(); !is_dead(pid); nanosleep(&pause, NULL))
                assert_true(time_mono_us() - before < 10000000);
}

/* With the agent away nobody notices: the container runs on, unseen, its output refused. The next
 * agent ends it, with all that it has started, and tells that its status is not known. */
static void test_supervisor_dies_without_agent(void **state)
{
        char *argv[4];
        struct container_config c =
                rig_script(&rig, argv,
                           "trap '' TERM PIPE; (trap '' TERM HUP PIPE; while true; do echo x; "
                           "sleep 0.01; done) & while true; do echo y; sleep 0.01; done");
        struct found f = {0};
        struct timespec pause = {.tv_nsec = 100000000};

        (void)state;
        start_and_die(&c);
        rig_open_runtime(&rig);
        assert_int_equal(runtime_recover(rig.runtime, on_found, &f), 0);
        struct container *k = map_get_id(&rig.runtime->containers, c.id);
        pid_t pid = k->pid, supervisor = parent_of(pid);

        rig_close_runtime(&rig);
        assert_int_equal(kill(supervisor, SIGKILL), 0);
        wait_for_death(supervisor);
        nanosleep(&pause, NULL);
        assert_false(is_dead(pid));
        memset(&f, 0, sizeof(f));
        rig_open_runtime(&rig);
        assert_int_equal(runtime_recover(rig.runtime, on_found, &f), 0);
        assert_int_equal(f.n_running, 0);
        assert_int_equal(f.n_ended, 1);
        assert_int_equal(f.exit.status, -1);
        assert_string_equal(f.exit.reason, "supervisor was lost");
        wait_for_death(pid);
        rig_remove(&rig, c.id); /* its cgroup, so all its processes are gone */
        _cleanup_free_ char *folder = xasprintf("%s/c/%s", rig.run, ID_S(c.id));
        assert_int_not_equal(access(folder, F_OK), 0);
}

/* Something holds the cgroup for long: the waits between the attempts stay bounded. */
static void test_removal_waits_for_the_cgroup(void **state)
{
        char *argv[4];
        struct container_config c = rig_script(&rig, argv, "sleep 1000");
        struct timespec pause = {.tv_nsec = 1000000};

        (void)state;
        start(&c);
        struct container *k = map_get_id(&rig.runtime->containers, c.id);
        const struct cgroups *g = &rig.runtime->cgroups;
        _cleanup_free_ char *held =
                xasprintf("%s/%s/held", g->unified ? g->unified : g->v1[0].folder, ID_S(c.id));

        assert_int_equal(mkdir(held, 0755), 0);
        assert_int_equal(runtime_kill(rig.runtime, c.id), 0);
        rig_wait_exit(&rig);
        rig.is_removed = false;
        runtime_remove(rig.runtime, c.id, on_removed, &rig);
        k->retries = 5 * 29; /* as after some 12 seconds */
        for (int64_t before = time_mono_us(); k->retries < 5 * 33;) {
                assert_true(time_mono_us() - before < 10000000);
                rig_turn(&rig, 1);
                nanosleep(&pause, NULL);
        }
        assert_int_equal(rmdir(held), 0);
        rig_wait(&rig, &rig.is_removed);
}

/* Until the supervisor is connected again. */
static int exec_soon(struct id id, const char *script)
{
        struct timespec pause = {.tv_nsec = 2000000};
        int r = -ENOTCONN;

        for (int i = 0; i < 2000 && r == -ENOTCONN; i++) {
                r = rig_exec(&rig, id, script, 5000);
                nanosleep(&pause, NULL);
        }
        return r;
}

static void set_descriptors(rlim_t n)
{
        struct rlimit r;

        assert_int_equal(getrlimit(RLIMIT_NOFILE, &r), 0);
        r.rlim_cur = n;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &r), 0);
}

static void end_and_remove(struct id id)
{
        assert_int_equal(runtime_kill(rig.runtime, id), 0);
        rig_wait_exit(&rig);
        assert_int_equal(rig.exit.status, 137);
        rig_remove(&rig, id);
}

/* An agent that has the first, second, third ... descriptor of its taking over refused: nothing is
 * known of the container then, least of all that it has ended. */
static void test_taking_over_without_descriptors(void **state)
{
        char *argv[4];
        struct container_config c = rig_script(&rig, argv, "sleep 1000");
        struct rlimit before;
        int failures = 0, r = -1;

        (void)state;
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
        start_and_die(&c);
        for (unsigned n = 0; n < 40; n++) {
                struct found f = {0};

                rig_open_runtime(&rig);
                rig.is_exited = false;
                int next = dup(0);

                close(next);
                set_descriptors((rlim_t)next + n);
                r = runtime_recover(rig.runtime, on_found_early, &f);
                set_descriptors(before.rlim_cur);
                failures += r < 0;
                assert_int_equal(f.n_ended, 0);
                assert_int_equal(f.n_running, r < 0 ? 0 : 1);
                if (r == 0)
                        assert_int_equal(exec_soon(c.id, "true"), 0);
                assert_false(rig.is_exited);
                if (n < 39)
                        rig_close_runtime(&rig);
        }
        assert_true(failures > 0);
        assert_int_equal(r, 0);
        end_and_remove(c.id);
}

/* What an agent must know to tell the containers of this boot it knows, or it does not open. */
static void test_opening_without_descriptors(void **state)
{
        _cleanup_free_ char *root = xasprintf("%s/other", rig.folder);
        _cleanup_free_ char *cgroup = xasprintf("%s-other", rig.cgroup);
        struct runtime_config c = {.root = root, .shim_path = rig.shim, .cgroup_name = cgroup};
        struct rlimit before;
        struct runtime *r = NULL;
        int result = -1, next = dup(0);

        (void)state;
        close(next);
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
        for (unsigned n = 0; result < 0; n++) {
                struct err err = {0};

                assert_true(n < 40);
                set_descriptors((rlim_t)next + n);
                result = runtime_open(rig.loop, &c, &r, &err);
                set_descriptors(before.rlim_cur);
                assert_int_equal(result, -err.code);
        }
        assert_int_equal(strlen(r->boot_id), 36);
        runtime_close(r);
}

/* The connection breaks when the agent has no descriptor to make a new one. */
static void test_supervisor_is_kept_without_descriptors(void **state)
{
        char *argv[4];
        struct container_config c = rig_script(&rig, argv, "sleep 1000");
        struct timespec pause = {.tv_nsec = 1000000};
        struct rlimit before;

        (void)state;
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
        start(&c);
        struct container *k = map_get_id(&rig.runtime->containers, c.id);
        assert_int_equal(shutdown(k->socket, SHUT_RDWR), 0);
        set_descriptors(3);
        for (int i = 0; i < 100; i++) {
                rig_turn(&rig, 1);
                nanosleep(&pause, NULL);
        }
        set_descriptors(before.rlim_cur);
        assert_false(rig.is_exited);
        assert_int_equal(exec_soon(c.id, "true"), 0);
        end_and_remove(c.id);
}

/* A supervisor that does not answer, but lives: its container runs on, is said to run, and is
 * looked after again as soon as the supervisor goes on. */
static void test_supervisor_is_slow(void **state)
{
        char *argv[4];
        struct container_config c = rig_script(
                &rig, argv, "trap 'echo end; exit 9' TERM; while true; do sleep 0.01; done");
        struct found f = {0};

        (void)state;
        start_and_die(&c);
        rig_open_runtime(&rig);
        assert_int_equal(runtime_recover(rig.runtime, on_found, &f), 0);
        struct container *k = map_get_id(&rig.runtime->containers, c.id);
        pid_t supervisor = parent_of(k->pid), pid = k->pid;

        assert_int_equal(kill(supervisor, SIGSTOP), 0);
        rig_close_runtime(&rig);
        memset(&f, 0, sizeof(f));
        rig_open_runtime(&rig);
        rig.is_exited = false;
        assert_int_equal(runtime_recover(rig.runtime, on_found_early, &f), 0);
        assert_int_equal(f.n_running, 1);
        assert_int_equal(kill(pid, 0), 0);
        /* Kept for it until it can be delivered. */
        assert_int_equal(runtime_stop(rig.runtime, c.id, SIGTERM, STOP_GRACE_MS), 0);
        rig_close_runtime(&rig); /* by a later agent, too */
        rig_open_runtime(&rig);
        assert_int_equal(runtime_recover(rig.runtime, on_found_early, &f), 0);
        assert_true(runtime_is_stopping(rig.runtime, c.id));
        assert_int_equal(kill(supervisor, SIGCONT), 0);
        rig_wait_exit(&rig);
        assert_int_equal(rig.exit.status, 9);
        rig_read_log(&rig, c.id);
        assert_string_equal(rig_output, "end\n");
        rig_remove(&rig, c.id);
}

static void wait_for_log(struct id id, const char *text)
{
        do {
                rig_turn(&rig, 5);
                rig_read_log(&rig, id);
        } while (!strstr(rig_output, text) && !rig.is_exited);
        assert_false(rig.is_exited);
}

static struct container *agent_restarts(struct id id)
{
        struct found f = {0};

        rig_close_runtime(&rig);
        rig_open_runtime(&rig);
        assert_int_equal(runtime_recover(rig.runtime, on_found, &f), 0);
        assert_int_equal(f.n_running, 1);
        return map_get_id(&rig.runtime->containers, id);
}

/* The signal is sent once, and the grace is one, however many agents see to it. */
static void test_stop_outlives_agents(void **state UNUSED)
{
        char *argv[4];
        struct container_config c = rig_script(&rig, argv,
                                               "trap 'echo term' TERM; trap 'exit 9' USR1; echo "
                                               "ready; while :; do sleep 0.01; done");

        start(&c);
        wait_for_log(c.id, "ready\n");
        assert_false(runtime_is_stopping(rig.runtime, c.id));
        assert_int_equal(runtime_stop(rig.runtime, c.id, SIGTERM, STOP_GRACE_MS), 0);
        struct container *k = map_get_id(&rig.runtime->containers, c.id);
        int64_t kill_at_ms = k->kill_at_ms;

        wait_for_log(c.id, "term\n");
        for (int i = 0; i < 3; i++) {
                k = agent_restarts(c.id);
                assert_true(runtime_is_stopping(rig.runtime, c.id));
                assert_int_equal(k->kill_at_ms, kill_at_ms);
                assert_int_equal(runtime_stop(rig.runtime, c.id, SIGTERM, 0), 0);
                assert_int_equal(k->kill_at_ms, kill_at_ms);
                rig_turn(&rig, 50);
        }
        assert_int_equal(kill(k->pid, SIGUSR1), 0);
        rig_wait_exit(&rig);
        assert_int_equal(rig.exit.status, 9);
        rig_read_log(&rig, c.id);
        assert_string_equal(rig_output, "ready\nterm\n");
        rig_remove(&rig, c.id);
}

static void test_grace_ends_between_agents(void **state UNUSED)
{
        char *argv[4];
        struct container_config c = rig_script(&rig, argv, "trap '' TERM; echo ready; sleep 1000");

        start(&c);
        wait_for_log(c.id, "ready\n");
        assert_int_equal(runtime_stop(rig.runtime, c.id, SIGTERM, 1), 0);
        agent_restarts(c.id);
        rig_wait_exit(&rig);
        assert_int_equal(rig.exit.status, 137);
        rig_remove(&rig, c.id);
}

static void test_host_was_restarted(void **state)
{
        char *argv[4];
        struct container_config c = rig_script(&rig, argv, "exit 0");
        struct found f = {0};

        (void)state;
        start(&c);
        rig_wait_exit(&rig);
        struct container *k = map_get_id(&rig.runtime->containers, c.id);
        static const char old[] = "1 00000000-0000-0000-0000-000000000000 1 1\n";

        unlinkat(k->folder_fd, "exit", 0);
        assert_int_equal(io_write_file_atomic(k->folder_fd, "state", old, sizeof(old) - 1, 0600),
                         0);
        rig_close_runtime(&rig);
        rig_open_runtime(&rig);
        assert_int_equal(runtime_recover(rig.runtime, on_found, &f), 0);
        assert_int_equal(f.n_ended, 1);
        assert_string_equal(f.exit.reason, "host was restarted");
        rig_remove(&rig, c.id);
}

/* A folder without state is a start that never came to its end: gone, and nobody hears of it. */
static void test_unfinished_start(void **state)
{
        struct id id = {.hi = 5, .lo = 6};
        _cleanup_free_ char *path = xasprintf("%s/c/%s/upper", rig.run, ID_S(id));
        struct found f = {0};
        struct timespec pause = {.tv_nsec = 1000000};

        (void)state;
        assert_int_equal(io_mkdir_all(path, 0700), 0);
        assert_int_equal(runtime_recover(rig.runtime, on_found, &f), 0);
        for (int i = 0; i < 1000 && access(path, F_OK) == 0; i++)
                nanosleep(&pause, NULL);
        assert_int_not_equal(access(path, F_OK), 0);
        assert_int_equal(f.n_ended + f.n_running, 0);
}

/* Fails at the first, second, third ... step until a start works: each failure leaves nothing,
 * which the closing of the rig checks as well. sign -1: the process dies there. */
static int fail_everywhere(int sign)
{
        _cleanup_free_ char *folders = xasprintf("%s/c", rig.run);
        char *argv[4];
        int n = 1;

        for (; n < 100; n++) {
                struct container_config c = rig_script(&rig, argv, "exit 0");

                runtime_set_fail_at(rig.runtime, sign * n);
                int r = rig_start(&rig, &c);

                if (r == 0) {
                        rig_wait_exit(&rig);
                        rig_remove(&rig, c.id);
                        break;
                }
                assert_string_equal(rig.err.text,
                                    sign > 0 ? "task web.1: injected failure : input/output error"
                                             : "task web.1: first process was killed while being "
                                               "set up: operation canceled");
                struct stat st;

                assert_int_equal(stat(folders, &st), 0);
                assert_int_equal(st.st_nlink, 2);
        }
        runtime_set_fail_at(rig.runtime, 0);
        return n - 1;
}

static void test_failure_at_every_step(void **state)
{
        const char *build = getenv("BUILD") ? getenv("BUILD") : "build";
        _cleanup_free_ char *product = STEAL_PTR(rig.shim);

        (void)state;
        rig.shim = xasprintf("%s/swarm-shim-test", build);
        rig_close_runtime(&rig);
        rig_open_runtime(&rig);
        int steps = fail_everywhere(1);

        assert_true(steps >= 10);
        assert_int_equal(fail_everywhere(-1), steps);
        rig_close_runtime(&rig);
        free(rig.shim);
        rig.shim = STEAL_PTR(product);
        rig_open_runtime(&rig);
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
                cmocka_unit_test(test_long_lines_are_split),
                cmocka_unit_test(test_rotation_of_a_flood),
                cmocka_unit_test(test_exec),
                cmocka_unit_test(test_agent_dies),
                cmocka_unit_test(test_ends_without_agent),
                cmocka_unit_test(test_supervisor_is_killed),
                cmocka_unit_test(test_supervisor_dies_without_agent),
                cmocka_unit_test(test_removal_waits_for_the_cgroup),
                cmocka_unit_test(test_taking_over_without_descriptors),
                cmocka_unit_test(test_opening_without_descriptors),
                cmocka_unit_test(test_supervisor_is_kept_without_descriptors),
                cmocka_unit_test(test_supervisor_is_slow),
                cmocka_unit_test(test_stop_outlives_agents),
                cmocka_unit_test(test_grace_ends_between_agents),
                cmocka_unit_test(test_host_was_restarted),
                cmocka_unit_test(test_unfinished_start),
                cmocka_unit_test(test_failure_at_every_step),
        };

        return cmocka_run_group_tests(tests, set_up, tear_down);
}
