/*
 * Errors with a text, for the three edges where a person reads them: API validation, configuration
 * and runtime set-up. Everything else returns a plain -Exxx.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>

#define ERR_TEXT_MAX 512

/* One line of text and the code it came with. A zeroed struct means "no error". */
struct err {
        int code; /* positive errno value, 0: none */
        char text[ERR_TEXT_MAX];
};

/* Sets the text; returns -code, so that a caller writes `return err_set(err, EINVAL, "...")`.
 * err may be NULL. Control characters in the text are replaced: it stays one line. */
int err_set(struct err *err, int code, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

/* Puts "prefix: " before the text. Returns -err->code. */
int err_wrap(struct err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "permission denied" for EACCES: strerror's text with a small first letter, in a static table or
 * thread-local buffer; valid until the thread's next call. Sign of code is ignored. */
const char *err_name(int code);
