/* Memory: see mem.h. Exhaustion aborts here and nowhere else. */
#include "shared/base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void *check(void *p)
{
        if (!p)
                abort();
        return p;
}

void *xmalloc(size_t size)
{
        return check(malloc(size ? size : 1));
}

void *xcalloc(size_t count, size_t size)
{
        return check(calloc(count ? count : 1, size ? size : 1));
}

void *xrealloc(void *p, size_t size)
{
        return check(realloc(p, size ? size : 1));
}

void *xreallocarray(void *p, size_t count, size_t size)
{
        return check(reallocarray(p, count ? count : 1, size ? size : 1));
}

char *xstrdup(const char *s)
{
        return check(strdup(s));
}

char *xstrdup_or_null(const char *s)
{
        return s ? xstrdup(s) : NULL;
}

char *xstrndup(const char *s, size_t n)
{
        return check(strndup(s, n));
}

void *xmemdup(const void *p, size_t size)
{
        if (size == 0)
                return NULL;
        return memcpy(xmalloc(size), p, size);
}

char *xasprintf(const char *format, ...)
{
        va_list ap;
        char *s = NULL;

        va_start(ap, format);
        int n = vasprintf(&s, format, ap);
        va_end(ap);
        if (n < 0)
                abort();
        return s;
}
