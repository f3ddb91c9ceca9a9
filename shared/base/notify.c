/* One datagram to the service manager: see notify.h. */
#include "shared/base/notify.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "shared/base/mem.h"

void notify_service_manager(const char *state)
{
        struct sockaddr_un a = {.sun_family = AF_UNIX};
        const char *path = getenv("NOTIFY_SOCKET");
        size_t n = path ? strlen(path) : 0;

        if (n < 2 || n >= sizeof(a.sun_path) || (path[0] != '/' && path[0] != '@'))
                return;
        memcpy(a.sun_path, path, n);
        if (path[0] == '@')
                a.sun_path[0] = 0;
        _cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return;
        ssize_t r = sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&a,
                           (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
        (void)r;
}
