/* A growable byte buffer. Zeroed is empty; buf_done() frees. data stays NUL-terminated. */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
        uint8_t *data;
        size_t len, cap;
};

void buf_reserve(struct buf *b, size_t extra); /* room for extra more bytes and a NUL */
void buf_append(struct buf *b, const void *p, size_t n);
void buf_puts(struct buf *b, const char *s);
void buf_putc(struct buf *b, char c);
void buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buf_clear(struct buf *b); /* keeps the memory */
void buf_done(struct buf *b);
/* Takes the bytes out as a NUL-terminated heap string ("" when empty) and leaves b empty. */
char *buf_take_str(struct buf *b);

static inline const char *buf_str(const struct buf *b)
{
        return b->data ? (const char *)b->data : "";
}

#define _cleanup_buf_ __attribute__((cleanup(buf_done)))
