/* Strings and lists of strings. A string list (strv) is a NULL-terminated array, or NULL when
 * empty. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define NAME_MAX_LEN 63

static inline bool str_is_equal(const char *a, const char *b)
{
        return strcmp(a, b) == 0;
}

static inline bool str_has_prefix(const char *s, const char *prefix)
{
        return strncmp(s, prefix, strlen(prefix)) == 0;
}

static inline bool str_is_empty(const char *s)
{
        return !s || !*s;
}

/* [a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}: names of services, nodes, volumes and the like. */
bool name_is_valid(const char *s);
/* No control characters (a NUL cannot be seen here) and valid UTF-8. */
bool text_is_valid(const char *s);
/* A copy that text_is_valid accepts: what is broken or a control character becomes '?' or a blank,
 * and what is beyond max_bytes is cut off at a character. Heap. */
char *text_clean(const char *s, size_t max_bytes);

size_t strv_len(char *const *v);
void strv_push(char ***v, const char *s); /* copies s */
void strv_free(char **v);
bool strv_has(char *const *v, const char *s);
/* Splits at each separator character; empty parts are kept: "a,,b" gives three. Caller frees. */
char **str_split(const char *s, char separator);
/* Splits a command line as a shell does: blanks, '...', "...", backslash; no expansion.
 * -EINVAL on an unfinished quote. Caller frees *ret. */
int str_split_words(const char *s, char ***ret);

static inline void strv_cleanup(char ***v)
{
        strv_free(*v);
}
#define _cleanup_strv_ __attribute__((cleanup(strv_cleanup)))
