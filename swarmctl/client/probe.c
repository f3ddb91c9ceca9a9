/* Is there a manager at all? Asked with a plain connection before ZeroMQ gets to work. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/net/net.h"
#include "swarmctl/client/client_internal.h"

#define CONNECT_MS 5000

static int no_manager(const char *host, const char *why, struct err *err)
{
        return err_set(err, EHOSTUNREACH, "no manager at %s: %s", host, why);
}

/* 0 or -errno. */
static int try_connect(int family, const struct sockaddr *address, socklen_t len)
{
        _cleanup_close_ int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        int error = 0;
        socklen_t n = sizeof(error);

        if (fd < 0)
                return -errno;
        if (!connect(fd, address, len))
                return 0;
        /* EAGAIN: a unix socket whose queue is full is one that somebody serves. */
        if (errno == EAGAIN)
                return 0;
        if (errno != EINPROGRESS)
                return -errno;
        struct pollfd p = {fd, POLLOUT, 0};
        if (poll(&p, 1, CONNECT_MS) <= 0)
                return -ETIMEDOUT;
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n))
                return -errno;
        return -error;
}

static int probe_ipc(const char *host, const char *path, struct err *err)
{
        struct sockaddr_un a = {.sun_family = AF_UNIX};

        if (strlen(path) >= sizeof(a.sun_path))
                return err_set(err, EINVAL, "%s: path too long for a socket", host);
        memcpy(a.sun_path, path, strlen(path));
        int r = try_connect(AF_UNIX, (struct sockaddr *)&a, sizeof(a));
        return r < 0 ? no_manager(host, err_name(r), err) : 0;
}

static int probe_tcp(const char *host, const char *address, struct err *err)
{
        struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
        char name[NET_ENDPOINT_MAX];
        const char *port = strrchr(address, ':');

        if (!port || port == address || !port[1] || strlen(address) >= sizeof(name))
                return err_set(err, EDESTADDRREQ, "host %s: not tcp://HOST:PORT", host);
        bool is_bracketed = *address == '[' && port[-1] == ']';
        snprintf(name, sizeof(name), "%.*s", (int)(port - address) - 2 * is_bracketed,
                 address + is_bracketed);
        int r = getaddrinfo(name, port + 1, &hints, &found);
        if (r)
                return no_manager(host, gai_strerror(r), err);
        for (struct addrinfo *a = found; a; a = a->ai_next) {
                r = try_connect(a->ai_family, a->ai_addr, a->ai_addrlen);
                if (r >= 0)
                        break;
        }
        freeaddrinfo(found);
        return r < 0 ? no_manager(host, err_name(r), err) : 0;
}

int client_probe(const char *host, struct err *err)
{
        if (str_has_prefix(host, "ipc:///"))
                return probe_ipc(host, host + strlen("ipc://"), err);
        if (str_has_prefix(host, "tcp://"))
                return probe_tcp(host, host + strlen("tcp://"), err);
        return err_set(err, EDESTADDRREQ, "host %s: not ipc:///PATH or tcp://HOST:PORT", host);
}
