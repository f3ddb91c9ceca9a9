/* loop: timers, descriptors, signals, doorbells, work, children and hooks. */
#include "tests/lib/unit.h"

#include "tests/lib/unit.h"

#include "shared/loop/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shared/base/mem.h"
#include "shared/base/time.h"

#define DEADLINE_MS 10000

struct fixture {
        struct loop *loop;
        struct loop_timer *deadline, *timer;
        struct loop_fd *fd;
        struct loop_wake *wake;
        bool timed_out;
        char order[32];
        int count, wait_status, events;
        pid_t pid;
        pthread_t thread, worker;
        int pipe[2];
};

static void note(struct fixture *f, char c)
{
        size_t n = strlen(f->order);

        assert_true(n + 1 < sizeof(f->order));
        f->order[n] = c;
}

static void on_deadline(void *arg)
{
        struct fixture *f = arg;

        f->timed_out = true;
        loop_stop(f->loop);
}

static int setup(void **state)
{
        struct fixture *f = xnew(struct fixture);

        f->loop = loop_new();
        f->deadline = loop_timer_new(f->loop, on_deadline, f);
        loop_timer_set(f->deadline, DEADLINE_MS);
        assert_int_equal(pipe2(f->pipe, O_CLOEXEC), 0);
        *state = f;
        return 0;
}

static int teardown(void **state)
{
        struct fixture *f = *state;

        loop_timer_free(f->deadline);
        loop_free(f->loop);
        for (int i = 0; i < 2; i++)
                if (f->pipe[i] >= 0)
                        close(f->pipe[i]);
        free(f);
        return 0;
}

static void run(struct fixture *f)
{
        loop_run(f->loop);
        assert_false(f->timed_out);
}

static void on_a(void *arg)
{
        note(arg, 'a');
}

static void on_b_stop(void *arg)
{
        struct fixture *f = arg;

        note(f, 'b');
        loop_stop(f->loop);
}

static void test_timers(void **state)
{
        struct fixture *f = *state;
        struct loop_timer *a = loop_timer_new(f->loop, on_a, f);
        struct loop_timer *b = loop_timer_new(f->loop, on_b_stop, f);
        struct loop_timer *never = loop_timer_new(f->loop, on_a, f);
        int64_t start = time_now().mono_ms;

        loop_timer_set(b, 30);
        loop_timer_set(never, 5);
        loop_timer_clear(never);
        loop_timer_set(a, 1);
        loop_timer_set(a, 10); /* replaces */
        run(f);
        assert_string_equal(f->order, "ab");
        assert_true(time_now().mono_ms - start >= 29);
        loop_timer_set(b, 0);
        run(f);
        assert_string_equal(f->order, "abb");
        loop_timer_free(a);
        loop_timer_free(b);
        loop_timer_free(never);
        loop_timer_free(NULL);
}

static void on_free_itself(void *arg)
{
        struct fixture *f = arg;

        loop_timer_free(STEAL_PTR(f->timer));
        loop_stop(f->loop);
}

static void test_timer_frees_itself(void **state)
{
        struct fixture *f = *state;

        f->timer = loop_timer_new(f->loop, on_free_itself, f);
        loop_timer_set(f->timer, 0);
        run(f);
        assert_null(f->timer);
}

static void on_readable(void *arg, int events)
{
        struct fixture *f = arg;
        char c;

        f->events |= events;
        if (events & LOOP_READ && read(f->pipe[0], &c, 1) == 1)
                note(f, c);
        else
                loop_stop(f->loop);
}

static void test_fd(void **state)
{
        struct fixture *f = *state;
        struct loop_fd *fd = NULL, *again = NULL;
        int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

        assert_int_equal(loop_fd_new(f->loop, f->pipe[0], LOOP_READ, on_readable, f, &fd), 0);
        assert_int_equal(loop_fd_new(f->loop, file, LOOP_READ, on_readable, f, &again), -EPERM);
        assert_int_equal(write(f->pipe[1], "xyz", 3), 3);
        close(f->pipe[1]);
        f->pipe[1] = -1;
        run(f); /* reads all, and stops at the end of the pipe */
        assert_string_equal(f->order, "xyz");
        loop_fd_set(fd, 0);
        loop_fd_free(fd);
        loop_fd_free(NULL);
        close(file);
}

static void on_error(void *arg, int events)
{
        struct fixture *f = arg;

        f->events = events;
        f->count++;
        loop_stop(f->loop);
}

/* The other end is gone: told, and told once. */
static void test_fd_error(void **state)
{
        struct fixture *f = *state;
        struct loop_fd *fd = NULL;

        close(f->pipe[0]);
        f->pipe[0] = -1;
        assert_int_equal(loop_fd_new(f->loop, f->pipe[1], LOOP_WRITE, on_error, f, &fd), 0);
        run(f);
        assert_true(f->events & LOOP_WRITE);
        loop_fd_free(fd);
}

static void on_signal(void *arg, int signum)
{
        struct fixture *f = arg;

        f->count = signum;
        loop_stop(f->loop);
}

static void test_signal(void **state)
{
        struct fixture *f = *state;

        assert_int_equal(loop_on_signal(f->loop, SIGUSR1, on_signal, f), 0);
        assert_true(loop_on_signal(f->loop, SIGKILL, on_signal, f) < 0);
        assert_int_equal(kill(getpid(), SIGUSR1), 0);
        run(f);
        assert_int_equal(f->count, SIGUSR1);
}

static void on_wake(void *arg)
{
        struct fixture *f = arg;

        f->count++;
        assert_true(pthread_equal(pthread_self(), f->thread));
        loop_stop(f->loop);
}

static void *ring(void *arg)
{
        struct fixture *f = arg;

        for (int i = 0; i < 100; i++)
                loop_wake_send(f->wake);
        return NULL;
}

static void test_wake(void **state)
{
        struct fixture *f = *state;

        f->thread = pthread_self();
        f->wake = loop_wake_new(f->loop, on_wake, f);
        assert_int_equal(pthread_create(&f->worker, NULL, ring, f), 0);
        run(f);
        pthread_join(f->worker, NULL);
        assert_true(f->count >= 1 && f->count <= 100);
        loop_wake_free(f->wake);
}

static void work(void *arg)
{
        struct fixture *f = arg;

        f->worker = pthread_self();
        note(f, 'w');
}

static void work_done(void *arg)
{
        struct fixture *f = arg;

        assert_true(pthread_equal(pthread_self(), f->thread));
        note(f, 'd');
        loop_stop(f->loop);
}

static void test_work(void **state)
{
        struct fixture *f = *state;

        f->thread = pthread_self();
        loop_work(f->loop, work, work_done, f);
        run(f);
        assert_string_equal(f->order, "wd");
        assert_false(pthread_equal(f->worker, f->thread));
}

static void on_exit_status(void *arg, pid_t pid, int wait_status)
{
        struct fixture *f = arg;

        f->pid = pid;
        f->wait_status = wait_status;
        loop_stop(f->loop);
}

/* Runs a shell with its output in the pipe. */
static pid_t spawn_shell(struct fixture *f, const char *script, char *const *env)
{
        char *argv[] = {(char *)"/bin/sh", (char *)"-c", (char *)script, NULL};
        int fds[] = {-1, f->pipe[1], -1, f->pipe[1], -1};
        struct loop_spawn s = {argv, env, fds, (int)ARRAY_SIZE(fds), false, on_exit_status, f};
        pid_t pid = loop_spawn(f->loop, &s);

        assert_true(pid > 0);
        run(f);
        assert_int_equal(f->pid, pid);
        return pid;
}

static void read_output(struct fixture *f, char *ret, size_t n)
{
        ssize_t r = read(f->pipe[0], ret, n - 1);

        assert_true(r >= 0);
        ret[r] = 0;
}

static void test_spawn(void **state)
{
        struct fixture *f = *state;
        char *env[] = {(char *)"A=one", NULL};
        char out[256];

        spawn_shell(f, "echo $A; echo three >&3; cat; exit 7", env);
        assert_true(WIFEXITED(f->wait_status));
        assert_int_equal(WEXITSTATUS(f->wait_status), 7);
        read_output(f, out, sizeof(out));
        assert_string_equal(out, "one\nthree\n");
        spawn_shell(f, "kill -9 $$", NULL);
        assert_true(WIFSIGNALED(f->wait_status));
        assert_int_equal(WTERMSIG(f->wait_status), SIGKILL);
}

/* Only the descriptors that were given, and no variable that was not. */
static void test_spawn_inherits_nothing(void **state)
{
        struct fixture *f = *state;
        char out[256];
        int leak = open("/dev/null", O_RDONLY | O_CLOEXEC);

        spawn_shell(f, "for i in 0 1 2 3 4 5 6 7 8 9; do [ -e /proc/$$/fd/$i ] && printf $i; done",
                    NULL);
        read_output(f, out, sizeof(out));
        assert_string_equal(out, "01234");
        spawn_shell(f, "exec /usr/bin/env", NULL);
        read_output(f, out, sizeof(out));
        assert_null(strstr(out, "HOME="));
        close(leak);
}

static int open_at(int number, const char *text)
{
        int pair[2];

        assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
        assert_int_equal(write(pair[1], text, strlen(text)), (ssize_t)strlen(text));
        assert_int_equal(dup3(pair[0], number, O_CLOEXEC), number);
        close(pair[0]);
        close(pair[1]);
        return number;
}

/* 50 becomes 51 and 51 becomes 50, in one child. */
static void test_spawn_crosses_descriptors(void **state)
{
        struct fixture *f = *state;
        char *argv[] = {(char *)"/bin/sh", (char *)"-c",
                        (char *)"cat /proc/self/fd/50 /proc/self/fd/51", NULL};
        int fds[52];
        char out[64];

        for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
                fds[i] = -1;
        fds[1] = f->pipe[1];
        fds[50] = open_at(51, "from 51\n");
        fds[51] = open_at(50, "from 50\n");
        struct loop_spawn s = {argv, NULL, fds, (int)ARRAY_SIZE(fds), false, on_exit_status, f};
        assert_true(loop_spawn(f->loop, &s) > 0);
        run(f);
        read_output(f, out, sizeof(out));
        assert_string_equal(out, "from 51\nfrom 50\n");
        close(50);
        close(51);
}

static void test_spawn_with_a_session(void **state)
{
        struct fixture *f = *state;
        char *argv[] = {(char *)"/bin/sh", (char *)"-c",
                        (char *)"read a </proc/$$/stat; echo $a $$", NULL};
        int fds[] = {-1, f->pipe[1], -1};
        struct loop_spawn s = {argv, NULL, fds, 3, false, on_exit_status, f};

        for (int own = 0; own < 2; own++) {
                char out[512], name[64], state_letter;
                int pid, parent, group, session;

                s.has_own_session = own;
                assert_true(loop_spawn(f->loop, &s) > 0);
                run(f);
                read_output(f, out, sizeof(out));
                assert_int_equal(sscanf(out, "%d %63s %c %d %d %d", &pid, name, &state_letter,
                                        &parent, &group, &session),
                                 6);
                assert_int_equal(session, own ? pid : getsid(0));
        }
}

/* A loop that is freed leaves its children alone. */
static void test_children_outlive_the_loop(void **state UNUSED)
{
        struct loop *l = loop_new();
        char *argv[] = {(char *)"/bin/sleep", (char *)"100", NULL};
        struct loop_spawn s = {argv, NULL, NULL, 0, false, NULL, NULL};
        pid_t pid = loop_spawn(l, &s);

        assert_true(pid > 0);
        loop_free(l);
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void test_spawn_fails(void **state)
{
        struct fixture *f = *state;
        char *argv[] = {(char *)"/no/such/program", NULL};
        struct loop_spawn s = {argv, NULL, NULL, 0, false, on_exit_status, f};

        assert_int_equal(loop_spawn(f->loop, &s), -ENOENT);
}

static bool prepare_old(void *arg)
{
        note(arg, '1');
        return false;
}

static bool prepare_new(void *arg)
{
        struct fixture *f = arg;

        note(f, '2');
        return ++f->count < 3; /* again without sleeping */
}

static void check_old(void *arg)
{
        note(arg, 'o');
}

static void check_new(void *arg)
{
        struct fixture *f = arg;

        note(f, 'n');
        if (f->count == 3)
                loop_stop(f->loop);
}

static void test_hooks(void **state)
{
        struct fixture *f = *state;
        struct loop_hook *old = loop_hook_new(f->loop, prepare_old, check_old, f);
        struct loop_hook *new = loop_hook_new(f->loop, prepare_new, check_new, f);
        struct loop_timer *t = loop_timer_new(f->loop, on_a, f);

        loop_timer_set(t, 20); /* what ends the sleep that comes at last */
        run(f);
        assert_string_equal(f->order, "21on21on21on");
        loop_timer_free(t);
        loop_hook_free(new);
        loop_hook_free(old);
        loop_hook_free(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_timers),
                TEST(test_timer_frees_itself),
                TEST(test_fd),
                TEST(test_fd_error),
                TEST(test_signal),
                TEST(test_wake),
                TEST(test_work),
                TEST(test_spawn),
                TEST(test_spawn_crosses_descriptors),
                TEST(test_spawn_with_a_session),
                TEST(test_children_outlive_the_loop),
                TEST(test_spawn_fails),
                TEST(test_spawn_inherits_nothing),
                TEST(test_hooks),
        };

        return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
