/* Checks over the network, against a server of this process: a new network namespace is made for
 * the test, so that no port of the machine is used. */
#include "tests/lib/unit.h"

#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "agent/health/health_internal.h"
#include "shared/base/base.h"

struct fixture {
        struct loop *loop;
        int home, inside; /* network namespaces */
        int listener, peer;
        uint16_t port;
        struct loop_fd *watch;
        const char *reply; /* NULL: accepts and says nothing */
        bool is_ok;
        char text[PROBE_TEXT_MAX];
};

static void bring_loopback_up(void)
{
        struct ifreq r = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
        int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        assert_true(fd >= 0);
        assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &r), 0);
        close(fd);
}

static int set_up(void **state)
{
        struct fixture *f = xnew(struct fixture);
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
        socklen_t n = sizeof(a);

        f->peer = -1;
        f->home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
        if (unshare(CLONE_NEWNET) < 0)
                fail_msg("a network namespace is needed: run as root");
        f->inside = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
        bring_loopback_up();
        f->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(f->listener, (struct sockaddr *)&a, sizeof(a)), 0);
        assert_int_equal(listen(f->listener, 1), 0);
        assert_int_equal(getsockname(f->listener, (struct sockaddr *)&a, &n), 0);
        f->port = ntohs(a.sin_port);
        assert_int_equal(setns(f->home, CLONE_NEWNET), 0);
        f->loop = loop_new();
        *state = f;
        return 0;
}

static int tear_down(void **state)
{
        struct fixture *f = *state;

        loop_fd_free(f->watch);
        loop_free(f->loop);
        close(f->listener);
        if (f->peer >= 0)
                close(f->peer);
        close(f->home);
        close(f->inside);
        free(f);
        return 0;
}

static void on_done(void *arg, bool is_ok, const char *text)
{
        struct fixture *f = arg;

        f->is_ok = is_ok;
        snprintf(f->text, sizeof(f->text), "%s", text);
        loop_stop(f->loop);
}

static void on_connection(void *arg, int events UNUSED)
{
        struct fixture *f = arg;

        f->peer = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC);
        loop_fd_set(f->watch, 0);
        if (f->reply)
                assert_int_equal(io_write_all(f->peer, f->reply, strlen(f->reply)), 0);
}

static void probe(struct fixture *f, int port, const char *path, const char *reply)
{
        f->reply = reply;
        assert_int_equal(loop_fd_new(f->loop, f->listener, LOOP_READ, on_connection, f, &f->watch),
                         0);
        net_probe_new(f->loop, f->inside, (uint16_t)port, path, 200, on_done, f);
        loop_run(f->loop);
}

static void a_connection_is_enough_for_tcp(void **state)
{
        struct fixture *f = *state;

        probe(f, f->port, NULL, NULL);
        assert_true(f->is_ok);
}

static void a_closed_port_is_told(void **state)
{
        struct fixture *f = *state;

        probe(f, 1, NULL, NULL);
        assert_false(f->is_ok);
        assert_string_equal(f->text, "connect: connection refused");
}

static void http_answers_are_judged_by_status(void **state)
{
        static const struct {
                const char *reply, *text;
                bool is_ok;
        } cases[] = {
                {"HTTP/1.1 200 OK\r\n\r\n", "HTTP status 200", true},
                {"HTTP/1.0 302 Found\r\n\r\n", "HTTP status 302", true},
                {"HTTP/1.1 404 Not Found\r\n\r\n", "HTTP status 404", false},
                {"HTTP/1.1 500 Broken\r\n\r\n", "HTTP status 500", false},
                {"SSH-2.0-x\r\n", "the answer is not HTTP", false},
                {NULL, "timed out", false},
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct fixture *f;

                set_up((void **)&f);
                probe(f, f->port, "/health", cases[i].reply);
                assert_string_equal(f->text, cases[i].text);
                assert_int_equal(f->is_ok, cases[i].is_ok);
                tear_down((void **)&f);
        }
}

static ino_t net_inode(void)
{
        struct stat st;

        assert_int_equal(stat("/proc/thread-self/ns/net", &st), 0);
        return st.st_ino;
}

static void the_thread_is_back_in_its_own_namespace(void **state)
{
        struct fixture *f = *state;
        ino_t before = net_inode();

        probe(f, f->port, NULL, NULL);
        assert_true(before == net_inode());
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
        const struct CMUnitTest tests[] = {
                T(a_connection_is_enough_for_tcp),
                T(a_closed_port_is_told),
                cmocka_unit_test(http_answers_are_judged_by_status),
                T(the_thread_is_back_in_its_own_namespace),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
