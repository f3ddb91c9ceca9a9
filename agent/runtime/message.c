/* The agent's end of the supervisor's socket. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "agent/runtime/runtime_internal.h"

int message_put(int fd, const struct shim_message *m, const void *text, const int *fds, int n_fds)
{
        struct shim_message head = *m;
        union {
                struct cmsghdr align;
                char bytes[CMSG_SPACE(SHIM_FDS_MAX * sizeof(int))];
        } control = {0};
        struct iovec v[2] = {{&head, sizeof(head)}, {(void *)(uintptr_t)text, m->length}};
        struct msghdr h = {.msg_iov = v, .msg_iovlen = 2};

        head.magic = SHIM_MAGIC;
        head.version = SHIM_VERSION;
        if (n_fds > 0) {
                size_t size = (size_t)n_fds * sizeof(int);

                h.msg_control = &control;
                h.msg_controllen = CMSG_SPACE(size);
                struct cmsghdr *c = CMSG_FIRSTHDR(&h);

                c->cmsg_level = SOL_SOCKET;
                c->cmsg_type = SCM_RIGHTS;
                c->cmsg_len = CMSG_LEN(size);
                memcpy(CMSG_DATA(c), fds, size);
        }
        return sendmsg(fd, &h, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

/* Returns the text's length; *ret_fd a descriptor that came, or -1. -EPIPE: the other end is gone.
 */
int message_take(int fd, struct shim_message *m, char *text, size_t cap, int *ret_fd)
{
        union {
                struct cmsghdr align;
                char bytes[CMSG_SPACE(sizeof(int))];
        } control;
        struct iovec v[2] = {{m, sizeof(*m)}, {text, cap}};
        struct msghdr h = {.msg_iov = v,
                           .msg_iovlen = 2,
                           .msg_control = &control,
                           .msg_controllen = sizeof(control)};
        ssize_t n;

        *ret_fd = -1;
        do
                n = recvmsg(fd, &h, MSG_CMSG_CLOEXEC);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return errno == ECONNRESET ? -EPIPE : -errno;
        struct cmsghdr *c = CMSG_FIRSTHDR(&h);

        if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
                memcpy(ret_fd, CMSG_DATA(c), sizeof(int));
        if (n == 0)
                return -EPIPE;
        if ((size_t)n < sizeof(*m) || (h.msg_flags & MSG_TRUNC) || m->magic != SHIM_MAGIC ||
            m->length != (size_t)n - sizeof(*m))
                return -EBADMSG;
        return (int)m->length;
}
