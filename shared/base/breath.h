/*
 * breath: what a loop over very many objects calls every so often, so that its host can do what
 * cannot wait (a leader says that it is there). It must change nothing that the loop could see.
 */
#pragma once

#include <stddef.h>

#define OBJECTS_PER_BREATH 4096 /* of the quickest kind: a few ms */

struct breath {
        void *arg;
        void (*fn)(void *arg); /* NULL: nothing */
};

static inline void breathe(const struct breath *b)
{
        if (b->fn)
                b->fn(b->arg);
}

/* *n counts the objects. */
static inline void breathe_now_and_then(const struct breath *b, size_t *n)
{
        if (++*n % OBJECTS_PER_BREATH == 0)
                breathe(b);
}
