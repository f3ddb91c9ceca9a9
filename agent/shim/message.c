/* Messages over SEQPACKET sockets, with descriptors. */
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "agent/shim/shim_internal.h"
#include "agent/shim/sys.h"

int message_send(int fd, const struct shim_message *m, const void *text, int pass_fd, int flags)
{
        struct shim_message head = *m;
        union {
                struct cmsghdr align;
                char bytes[CMSG_SPACE(sizeof(int))];
        } control;
        struct iovec v[2] = {{&head, sizeof(head)}, {(void *)(uintptr_t)text, m->length}};
        struct msghdr h = {.msg_iov = v, .msg_iovlen = 2};

        head.magic = SHIM_MAGIC;
        head.version = SHIM_VERSION;
        if (pass_fd >= 0) {
                memset(&control, 0, sizeof(control));
                h.msg_control = &control;
                h.msg_controllen = sizeof(control);
                struct cmsghdr *c = CMSG_FIRSTHDR(&h);

                c->cmsg_level = SOL_SOCKET;
                c->cmsg_type = SCM_RIGHTS;
                c->cmsg_len = CMSG_LEN(sizeof(int));
                memcpy(CMSG_DATA(c), &pass_fd, sizeof(int));
        }
        ssize_t n;

        do
                n = sendmsg(fd, &h, MSG_NOSIGNAL | flags);
        while (n < 0 && errno == EINTR);
        return n < 0 ? -errno : 0;
}

/* Takes what descriptors came, in the one header that the kernel puts them into; those that there
 * is no room for are closed. */
static void take_fds(struct msghdr *h, int *ret_fds, int *n_fds)
{
        struct cmsghdr *c = CMSG_FIRSTHDR(h);
        int room = *n_fds;

        *n_fds = 0;
        if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
                return;
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        for (size_t i = 0; i < n; i++) {
                int fd;

                memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
                if (*n_fds < room)
                        ret_fds[(*n_fds)++] = fd;
                else
                        close(fd);
        }
}

int message_receive(int fd, struct shim_message *m, char *text, size_t cap, int *ret_fds,
                    int *n_fds, int flags)
{
        union {
                struct cmsghdr align;
                char bytes[CMSG_SPACE(SHIM_FDS_MAX * sizeof(int))];
        } control;
        struct iovec v[2] = {{m, sizeof(*m)}, {text, cap}};
        struct msghdr h = {.msg_iov = v,
                           .msg_iovlen = 2,
                           .msg_control = &control,
                           .msg_controllen = sizeof(control)};
        int none = 0;
        ssize_t n;

        do
                n = recvmsg(fd, &h, MSG_CMSG_CLOEXEC | flags);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return -errno;
        take_fds(&h, ret_fds, n_fds ? n_fds : &none);
        if (n == 0)
                return -EPIPE;
        if ((size_t)n < sizeof(*m) || (h.msg_flags & MSG_TRUNC) || m->magic != SHIM_MAGIC ||
            m->length != (size_t)n - sizeof(*m))
                return -EBADMSG;
        return (int)m->length;
}
