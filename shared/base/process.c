/* A daemon's own limits and heap: see process.h. Nothing here can fail so that it matters. */
#include "shared/base/process.h"

#include <fcntl.h>
#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
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

/* Code is never written to, so that a page of it can be read from its file again. (Other read-only
 * pages may be the linker's work, and in no file.) */
void process_settle(void)
{
        FILE *maps = fopen("/proc/self/maps", "re");
        char *line = NULL;
        size_t cap = 0;

        while (maps && getline(&line, &cap, maps) > 0) {
                uintptr_t from, to;
                char mode[5], path[2];

                if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s %*s %*s %*s %1[/]", &from, &to,
                           mode, path) == 4 &&
                    strcmp(mode, "r-xp") == 0)
                        madvise((void *)from, to - from, MADV_DONTNEED);
        }
        free(line);
        if (maps)
                fclose(maps);
        process_trim();
}

void process_trim(void)
{
        malloc_trim(0);
}
