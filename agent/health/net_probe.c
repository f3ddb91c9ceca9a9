/*
 * A probe over the network. A socket belongs to the namespace it was made in: the thread visits the
 * container's for that one call, and a thread that could not come back would be of no use.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/health/health_internal.h"
#include "shared/base/mem.h"

struct net_probe {
        int fd;
        struct loop_fd *watch;
        struct loop_timer *timer;
        char *request; /* NULL: the connection is all */
        size_t sent, received;
        char reply[PROBE_REPLY_MAX + 1];
        net_probe_fn *done;
        void *arg;
        int error; /* of the connect call: told on the loop */
};

static void finish(struct net_probe *p, bool is_ok, const char *text)
{
        net_probe_fn *done = p->done;
        void *arg = p->arg;

        net_probe_free(p);
        done(arg, is_ok, text);
}

static void finish_error(struct net_probe *p, const char *what, int error)
{
        char text[PROBE_TEXT_MAX];

        snprintf(text, sizeof(text), "%s: %s", what, err_name(error));
        finish(p, false, text);
}

static void judge_reply(struct net_probe *p)
{
        char text[PROBE_TEXT_MAX];
        int status = 0;

        p->reply[p->received] = 0;
        if (sscanf(p->reply, "HTTP/1.%*1[01] %3d", &status) != 1) {
                finish(p, false, "the answer is not HTTP");
                return;
        }
        snprintf(text, sizeof(text), "HTTP status %d", status);
        finish(p, status >= 200 && status < 400, text);
}

static void read_reply(struct net_probe *p)
{
        ssize_t n = read(p->fd, p->reply + p->received, PROBE_REPLY_MAX - p->received);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (n < 0) {
                finish_error(p, "read", errno);
                return;
        }
        p->received += (size_t)n;
        p->reply[p->received] = 0;
        if (n == 0 || p->received == PROBE_REPLY_MAX || strchr(p->reply, '\n'))
                judge_reply(p);
}

static void write_request(struct net_probe *p)
{
        size_t len = strlen(p->request);
        ssize_t n = send(p->fd, p->request + p->sent, len - p->sent, MSG_NOSIGNAL);

        if (n < 0 && errno != EAGAIN && errno != EINTR) {
                finish_error(p, "write", errno);
                return;
        }
        p->sent += n > 0 ? (size_t)n : 0;
        if (p->sent == len)
                loop_fd_set(p->watch, LOOP_READ);
}

static void on_ready(void *arg, int events)
{
        struct net_probe *p = arg;
        int error = 0;
        socklen_t n = sizeof(error);

        if (getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0 || error) {
                finish_error(p, "connect", error ? error : errno);
        } else if (!p->request) {
                finish(p, true, "connected");
        } else if (p->sent < strlen(p->request)) {
                write_request(p);
        } else if (events & (LOOP_READ | LOOP_HANGUP)) {
                read_reply(p);
        }
}

static void on_timeout(void *arg)
{
        struct net_probe *p = arg;

        if (p->error)
                finish_error(p, "connect", p->error);
        else
                finish(p, false, "timed out");
}

/* A socket of the namespace, non-blocking; -errno. */
static int socket_in(int netns)
{
        _cleanup_close_ int home = -1;

        if (netns < 0) {
                int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
                return fd < 0 ? -errno : fd;
        }
        home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
        if (home < 0 || setns(netns, CLONE_NEWNET) < 0)
                return -errno;
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        int error = errno;
        if (setns(home, CLONE_NEWNET) < 0)
                abort();
        return fd < 0 ? -error : fd;
}

static int start(struct net_probe *p, struct loop *l, int netns, uint16_t port)
{
        struct sockaddr_in to = {.sin_family = AF_INET,
                                 .sin_port = htons(port),
                                 .sin_addr = {htonl(INADDR_LOOPBACK)}};

        p->fd = socket_in(netns);
        if (p->fd < 0)
                return p->fd;
        if (connect(p->fd, (struct sockaddr *)&to, sizeof(to)) < 0 && errno != EINPROGRESS)
                return -errno;
        return loop_fd_new(l, p->fd, LOOP_WRITE, on_ready, p, &p->watch);
}

struct net_probe *net_probe_new(struct loop *l, int netns, uint16_t port, const char *path,
                                int64_t timeout_ms, net_probe_fn *done, void *arg)
{
        struct net_probe *p = xnew(struct net_probe);

        p->fd = -1;
        p->done = done;
        p->arg = arg;
        if (path)
                p->request = xasprintf("GET %s HTTP/1.0\r\nHost: localhost\r\n"
                                       "User-Agent: swarm-health\r\nConnection: close\r\n\r\n",
                                       *path ? path : "/");
        p->timer = loop_timer_new(l, on_timeout, p);
        p->error = -start(p, l, netns, port);
        loop_timer_set(p->timer, p->error ? 0 : timeout_ms);
        return p;
}

void net_probe_free(struct net_probe *p)
{
        if (!p)
                return;
        loop_fd_free(p->watch);
        loop_timer_free(p->timer);
        if (p->fd >= 0)
                close(p->fd);
        free(p->request);
        free(p);
}
