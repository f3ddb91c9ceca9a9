/*
 * What the first process does while a container is being set up, in memory that its supervisor sees
 * too: it costs no message, and a start that is quick is never asked. One that lasts is looked at
 * now and then, and what has gone on is told to the agent, which gives up one that stands still.
 */
#include <string.h>
#include <sys/mman.h>

#include "agent/shim/shim_internal.h"
#include "agent/shim/sys.h"

struct progress {
        uint32_t count; /* grows with whatever gets done */
        char what[SHIM_TEXT_MAX];
};

static volatile struct progress *shared;
static uint32_t seen;

int progress_open(void)
{
        void *p = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                       -1, 0);

        if (p == MAP_FAILED)
                return -errno;
        shared = p;
        return 0;
}

void progress_close(void)
{
        munmap((void *)(uintptr_t)shared, sizeof(*shared));
        shared = NULL;
}

void progress_made(void)
{
        shared->count++;
}

/* The last byte stays 0: whoever reads meanwhile reads a mixture, but a text. */
void progress_at(const char *what, const char *name)
{
        char line[SHIM_TEXT_MAX];
        struct text t = {line, 0, sizeof(line)};

        text_add(&t, what);
        text_add(&t, " ");
        text_add(&t, name);
        for (size_t i = 0; i <= t.n; i++)
                shared->what[i] = line[i];
        progress_made();
}

bool progress_look(char text[SHIM_TEXT_MAX])
{
        uint32_t count = shared->count;

        if (count == seen)
                return false;
        seen = count;
        for (size_t i = 0; i < SHIM_TEXT_MAX; i++)
                text[i] = shared->what[i];
        return true;
}
