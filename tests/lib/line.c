/* A line that can break: see line.h. */
#include "tests/lib/line.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shared/base/base.h"
#include "shared/base/io.h"
#include "tests/lib/unit.h"

void line_hang_up(struct line *l)
{
        for (int i = 1; i < 3; i++) {
                loop_fd_free(STEAL_PTR(l->watch[i]));
                if (l->fds[i] >= 0)
                        close(STEAL_FD(l->fds[i]));
        }
}

static void line_pass(struct line *l, int from)
{
        uint8_t bytes[65536];
        int to = 3 - from;
        size_t most = sizeof(bytes);

        if (from == 1)
                most = MIN(most, l->cut_at - l->passed);
        ssize_t n = most > 0 ? read(l->fds[from], bytes, most) : 0;
        if (n < 0 && errno == EAGAIN)
                return;
        if (from == 1 && n > 0)
                l->passed += (size_t)n;
        for (ssize_t done = 0; n > 0 && done < n;) {
                ssize_t w = write(l->fds[to], bytes + done, (size_t)(n - done));

                if (w < 0 && errno != EAGAIN)
                        n = -1;
                done += MAX(w, (ssize_t)0);
        }
        if (n <= 0)
                line_hang_up(l);
}

static void on_client_end(void *arg, int events UNUSED)
{
        line_pass(arg, 1);
}

static void on_server_end(void *arg, int events UNUSED)
{
        line_pass(arg, 2);
}

static void on_caller(void *arg, int events UNUSED)
{
        struct line *l = arg;
        int fd = accept4(l->fds[0], NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (fd < 0)
                return;
        line_hang_up(l);
        if (l->words) {
                l->n_misled++;
                assert_int_equal(io_write_all(fd, l->words, strlen(l->words)), 0);
                close(fd);
                return;
        }
        l->fds[1] = fd;
        l->fds[2] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(l->fds[2], (struct sockaddr *)&l->to, sizeof(l->to))) {
                line_hang_up(l);
                return;
        }
        assert_int_equal(loop_fd_new(l->loop, l->fds[1], LOOP_READ, on_client_end, l, &l->watch[1]),
                         0);
        assert_int_equal(loop_fd_new(l->loop, l->fds[2], LOOP_READ, on_server_end, l, &l->watch[2]),
                         0);
}

void line_open(struct line *l, struct loop *loop, const char *server)
{
        struct sockaddr_in at = {.sin_family = AF_INET};
        socklen_t len = sizeof(at);
        const char *port = strrchr(server, ':') + 1;

        *l = (struct line){.loop = loop, .cut_at = SIZE_MAX, .fds = {-1, -1, -1}};
        at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        l->to = at;
        l->to.sin_port = htons((uint16_t)strtoul(port, NULL, 10));
        l->fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(l->fds[0], (struct sockaddr *)&at, sizeof(at)), 0);
        assert_int_equal(listen(l->fds[0], 16), 0);
        assert_int_equal(getsockname(l->fds[0], (struct sockaddr *)&at, &len), 0);
        snprintf(l->address, sizeof(l->address), "127.0.0.1:%u", ntohs(at.sin_port));
        assert_int_equal(loop_fd_new(l->loop, l->fds[0], LOOP_READ, on_caller, l, &l->watch[0]), 0);
}

void line_die(struct line *l)
{
        for (int i = 0; i < 3; i++)
                loop_fd_set(l->watch[i], 0);
}

void line_close(struct line *l)
{
        if (!l->loop)
                return;
        line_hang_up(l);
        loop_fd_free(l->watch[0]);
        close(l->fds[0]);
        *l = (struct line){0};
}
