/*
 * The supervisor at work: one poll over the output, the first process, the agent's connections and
 * the execs. An agent that is slow, gone or talks nonsense loses its connection, nothing else.
 */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "agent/shim/shim_internal.h"
#include "agent/shim/sys.h"

#define CONNECTIONS_MAX 4
#define IDLE_MS         1000
#define POLL_MAX        (4 + CONNECTIONS_MAX + 3 * SHIM_EXECS_MAX)

static int connections[CONNECTIONS_MAX] = {-1, -1, -1, -1};
static int listener = -1;
static char request[SHIM_EXEC_ARGS_MAX] __attribute__((aligned(4096)));

int serve_listen(void)
{
        struct sockaddr_un a = {.sun_family = AF_UNIX};
        struct text t = {a.sun_path, 0, sizeof(a.sun_path)};
        int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        if (fd < 0)
                return -errno;
        text_add(&t, "/proc/self/fd/");
        text_add_number(&t, shim.folder_fd);
        text_add(&t, "/sock");
        if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, CONNECTIONS_MAX) < 0) {
                int r = -errno;

                close(fd);
                return r;
        }
        listener = fd;
        return 0;
}

static void drop(int i)
{
        exec_forget(i);
        close(connections[i]);
        connections[i] = -1;
}

static void answer(int i, const struct shim_message *m, const char *text, int pass_fd)
{
        if (connections[i] >= 0 && message_send(connections[i], m, text, pass_fd, MSG_DONTWAIT) < 0)
                drop(i);
}

void serve_answer(int i, const struct shim_message *m, const char *text)
{
        answer(i, m, text, -1);
}

void serve_send_all(const struct shim_message *m)
{
        for (int i = 0; i < CONNECTIONS_MAX; i++)
                answer(i, m, "", -1);
}

static void handle(int i, const struct shim_message *m)
{
        struct shim_message reply = {.type = SHIM_RESULT, .cookie = m->cookie};

        switch (m->type) {
        case SHIM_HELLO:
                reply.type = SHIM_HELLO;
                reply.value = SHIM_OLDEST;
                reply.pid = shim.pid;
                reply.number = (int64_t)shim.start_time;
                answer(i, &reply, "", shim.pidfd);
                return;
        case SHIM_SIGNAL: reply.value = sys_pidfd_kill(shim.pidfd, m->value); break;
        case SHIM_KILL: reply.value = sys_pidfd_kill(shim.pidfd, SIGKILL); break;
        case SHIM_STATUS: reply.number = (int64_t)log_dropped(); break;
        case SHIM_EXEC:
                reply.value = exec_start(m, request, i);
                if (reply.value == 0)
                        return;
                break;
        default: reply.value = -ENOSYS;
        }
        answer(i, &reply, "", -1);
}

static void on_connection(int i)
{
        struct shim_message m;
        int r = message_receive(connections[i], &m, request, sizeof(request), NULL, NULL,
                                MSG_DONTWAIT);

        if (r >= 0)
                handle(i, &m);
        else if (r != -EAGAIN)
                drop(i);
}

static void on_connect(void)
{
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        struct ucred who;
        socklen_t n = sizeof(who);

        if (fd < 0)
                return;
        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) == 0 && who.uid == geteuid())
                for (int i = 0; i < CONNECTIONS_MAX; i++)
                        if (connections[i] < 0) {
                                connections[i] = fd;
                                return;
                        }
        close(fd);
}

/* The n after "oom_kill " in memory.events or memory.oom_control. */
static bool was_oom(void)
{
        char text[512];
        ssize_t n = shim.oom_fd < 0 ? -1 : pread(shim.oom_fd, text, sizeof(text) - 1, 0);

        if (n <= 0)
                return false;
        text[n] = 0;
        const char *p = strstr(text, "oom_kill ");
        return p && p[9] >= '1' && p[9] <= '9';
}

/* Reaps the first process; what it wrote before its end is still in the pipes. */
static void collect(struct shim_message *m)
{
        int status = 0;

        while (waitpid(shim.pid, &status, 0) < 0 && errno == EINTR)
                ;
        for (int i = 0; i < 2; i++) {
                /* Bounded: a pipe or terminal holds no more than this. */
                for (int rounds = 0; rounds < 128 && shim.out_fd[i] >= 0; rounds++) {
                        struct pollfd p = {.fd = shim.out_fd[i], .events = POLLIN};

                        if (poll(&p, 1, 0) <= 0)
                                break;
                        log_read(i);
                }
        }
        log_finish();
        *m = (struct shim_message){.type = SHIM_EXITED,
                                   .status = WIFEXITED(status) ? WEXITSTATUS(status)
                                                               : 128 + WTERMSIG(status),
                                   .value = was_oom(),
                                   .number = wall_us() / 1000};
}

bool serve_is_forgotten(int wait_ms)
{
        struct pollfd p[CONNECTIONS_MAX];
        struct shim_message m;

        for (int i = 0; i < CONNECTIONS_MAX; i++)
                p[i] = (struct pollfd){.fd = connections[i], .events = POLLIN};
        if (poll(p, CONNECTIONS_MAX, wait_ms) <= 0)
                return false;
        for (int i = 0; i < CONNECTIONS_MAX; i++)
                if (p[i].revents &&
                    message_receive(p[i].fd, &m, request, sizeof(request), NULL, NULL,
                                    MSG_DONTWAIT) >= 0 &&
                    m.type == SHIM_FORGET)
                        return true;
        return false;
}

static int fill(struct pollfd *p)
{
        int n = 0;

        p[n++] = (struct pollfd){.fd = shim.pidfd, .events = POLLIN};
        p[n++] = (struct pollfd){.fd = listener, .events = POLLIN};
        for (int i = 0; i < 2; i++)
                p[n++] = (struct pollfd){.fd = shim.out_fd[i], .events = POLLIN};
        for (int i = 0; i < CONNECTIONS_MAX; i++)
                p[n++] = (struct pollfd){.fd = connections[i], .events = POLLIN};
        return n + exec_poll(p + n);
}

void serve_run(int agent_fd, struct shim_message *ret_exited)
{
        static struct pollfd p[POLL_MAX];
        bool was_busy = true;

        connections[0] = agent_fd;
        for (;;) {
                int due = exec_timeout();
                int n = fill(p);
                int r = poll(p, (nfds_t)n, due >= 0 ? due : was_busy ? IDLE_MS : -1);

                if (r == 0 && due < 0)
                        log_idle();
                was_busy = r > 0;
                if (r > 0) {
                        for (int i = 0; i < 2; i++)
                                if (p[2 + i].revents)
                                        log_read(i);
                        for (int i = 0; i < CONNECTIONS_MAX; i++)
                                if (p[4 + i].revents && connections[i] >= 0)
                                        on_connection(i);
                        if (p[1].revents)
                                on_connect();
                }
                exec_advance();
                if (r > 0 && p[0].revents)
                        break;
        }
        collect(ret_exited);
}
