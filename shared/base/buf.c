/* A growable byte buffer: see buf.h. */
#include "shared/base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/base/mem.h"

#define BUF_MIN 64

void buf_reserve(struct buf *b, size_t extra)
{
        size_t need = b->len + extra + 1;

        if (need < extra)
                abort();
        if (need <= b->cap)
                return;
        size_t cap = MAX(b->cap * 2, (size_t)BUF_MIN);
        if (cap < need)
                cap = need;
        b->data = xrealloc(b->data, cap);
        b->cap = cap;
}

void buf_append(struct buf *b, const void *p, size_t n)
{
        buf_reserve(b, n);
        if (n)
                memcpy(b->data + b->len, p, n);
        b->len += n;
        b->data[b->len] = 0;
}

void buf_puts(struct buf *b, const char *s)
{
        buf_append(b, s, strlen(s));
}

void buf_putc(struct buf *b, char c)
{
        buf_append(b, &c, 1);
}

void buf_printf(struct buf *b, const char *format, ...)
{
        va_list ap, again;

        va_start(ap, format);
        va_copy(again, ap);
        int n = vsnprintf(NULL, 0, format, ap);
        va_end(ap);
        if (n < 0)
                abort();
        buf_reserve(b, (size_t)n);
        vsnprintf((char *)b->data + b->len, (size_t)n + 1, format, again);
        va_end(again);
        b->len += (size_t)n;
}

void buf_clear(struct buf *b)
{
        b->len = 0;
        if (b->data)
                b->data[0] = 0;
}

void buf_done(struct buf *b)
{
        free(b->data);
        memset(b, 0, sizeof(*b));
}

char *buf_take_str(struct buf *b)
{
        buf_reserve(b, 0);
        b->data[b->len] = 0;
        char *s = (char *)b->data;
        memset(b, 0, sizeof(*b));
        return s;
}
