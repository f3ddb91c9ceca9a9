/* A daemon's own limits and heap: see process.h. Nothing here can fail so that it matters. */
#include "shared/base/process.h"

#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "shared/base/mem.h"

#define ARENAS      2            /* few threads allocate: an arena each is only memory */
#define LARGE_BYTES (128 * 1024) /* unless fixed, it grows, and large blocks stay in the heap */

/* Else one of the first files or sockets would get the number, and be written to as such. */
void process_open_stdio(void)
{
        int fd;

        do
                fd = open("/dev/null", O_RDWR); /* not closed on exec: it is for good */
        while (fd >= 0 && fd <= STDERR_FILENO);
        if (fd >= 0)
                close(fd);
}

static void raise_descriptor_limit(void)
{
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit))
                return;
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
}

static void on_ignored(int signum UNUSED)
{
}

/* With a handler of nothing: unlike SIG_IGN it is not what started programs inherit. */
static void ignore_signals(void)
{
        static const int ignored[] = {SIGUSR1, SIGUSR2, SIGHUP};
        struct sigaction action = {.sa_handler = on_ignored, .sa_flags = SA_RESTART};

        for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
                sigaction(ignored[i], &action, NULL);
}

void process_prepare(void)
{
        process_open_stdio();
        ignore_signals();
        mallopt(M_ARENA_MAX, ARENAS);
        mallopt(M_MMAP_THRESHOLD, LARGE_BYTES);
        raise_descriptor_limit();
}
