/*
 * Memory: allocation that ends the process on exhaustion, and cleanup attributes. Sizes that come
 * from outside are checked against their limit by the caller before they get here.
 */
#pragma once

#include <stddef.h>
#include <stdlib.h>
#include <sys/param.h> /* whoever includes it after us would have its MIN and MAX */
#include <unistd.h>

void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size); /* zeroed; overflow of count * size aborts */
void *xrealloc(void *p, size_t size);
void *xreallocarray(void *p, size_t count, size_t size);
char *xstrdup(const char *s);
char *xstrdup_or_null(const char *s); /* NULL in, NULL out */
char *xstrndup(const char *s, size_t n);
void *xmemdup(const void *p, size_t size); /* NULL when size is 0 */
char *xasprintf(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define xnew(type)                    ((type *)xcalloc(1, sizeof(type)))
#define xnew_array(type, n)           ((type *)xcalloc((n), sizeof(type)))
#define ARRAY_SIZE(a)                 (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(p, type, member) ((type *)(void *)((char *)(p)-offsetof(type, member)))
#define UNUSED                        __attribute__((unused))

static inline void mem_cleanup_free(void *p)
{
        free(*(void **)p);
}

static inline void mem_cleanup_close(int *fd)
{
        if (*fd >= 0)
                close(*fd);
}

/* Declares a local that is freed (closed) when it goes out of scope: `_cleanup_free_ char *s`. */
#define _cleanup_(f)    __attribute__((cleanup(f)))
#define _cleanup_free_  _cleanup_(mem_cleanup_free)
#define _cleanup_close_ _cleanup_(mem_cleanup_close)

/* Each argument is evaluated once, and converted to the type of both together. */
#undef MIN
#undef MAX
#define MIN(a, b)          PICK_((a), (b), <, __COUNTER__)
#define MAX(a, b)          PICK_((a), (b), >, __COUNTER__)
#define PICK_(a, b, op, n) PICK_AS_(a, b, op, n)
#define PICK_AS_(a, b, op, n)                                         \
        ({                                                            \
                __typeof__(0 ? a : b) pick_a_##n = a, pick_b_##n = b; \
                pick_a_##n op pick_b_##n ? pick_a_##n : pick_b_##n;   \
        })

/* Hands a local's value out and leaves NULL (-1) behind, so that its cleanup does nothing. */
#define STEAL_PTR(p)                            \
        ({                                      \
                __typeof__(p) steal_tmp_ = (p); \
                (p) = NULL;                     \
                steal_tmp_;                     \
        })
#define STEAL_FD(fd)                  \
        ({                            \
                int steal_fd_ = (fd); \
                (fd) = -1;            \
                steal_fd_;            \
        })
