/* Strings: see str.h. */
#include "shared/base/str.h"

#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "shared/base/buf.h"
#include "shared/base/mem.h"

bool name_is_valid(const char *s)
{
        size_t n = strlen(s);

        if (n == 0 || n > NAME_MAX_LEN || !isalnum((unsigned char)s[0]))
                return false;
        for (; *s; s++)
                if (!isalnum((unsigned char)*s) && !strchr("_.-", *s))
                        return false;
        return true;
}

/* Length of the UTF-8 sequence at s (RFC 3629: no overlong forms, no surrogates), 0 if broken. */
static int utf8_len(const unsigned char *s)
{
        if (s[0] < 0x80)
                return 1;
        if (s[0] >= 0xc2 && s[0] <= 0xdf)
                return (s[1] & 0xc0) == 0x80 ? 2 : 0;
        if ((s[0] & 0xf0) == 0xe0) {
                if ((s[1] & 0xc0) != 0x80 || (s[2] & 0xc0) != 0x80)
                        return 0;
                uint32_t c = (uint32_t)((s[0] & 0xf) << 12 | (s[1] & 0x3f) << 6 | (s[2] & 0x3f));
                return c >= 0x800 && (c < 0xd800 || c > 0xdfff) ? 3 : 0;
        }
        if (s[0] >= 0xf0 && s[0] <= 0xf4) {
                for (int i = 1; i < 4; i++)
                        if ((s[i] & 0xc0) != 0x80)
                                return 0;
                if ((s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
                        return 0;
                return 4;
        }
        return 0;
}

bool text_is_valid(const char *s)
{
        const unsigned char *p = (const unsigned char *)s;

        while (*p) {
                int n = utf8_len(p);

                if (n == 0 || iscntrl(*p))
                        return false;
                p += n;
        }
        return true;
}

char *text_clean(const char *s, size_t max_bytes)
{
        struct buf b = {0};

        while (*s) {
                int n = utf8_len((const unsigned char *)s);

                if (b.len + (size_t)MAX(n, 1) > max_bytes)
                        break;
                if (n == 0 || iscntrl((unsigned char)*s))
                        buf_putc(&b, n == 0 ? '?' : ' ');
                else
                        buf_append(&b, s, (size_t)n);
                s += MAX(n, 1);
        }
        return buf_take_str(&b);
}

size_t strv_len(char *const *v)
{
        size_t n = 0;

        while (v && v[n])
                n++;
        return n;
}

void strv_push(char ***v, const char *s)
{
        size_t n = strv_len(*v);

        *v = xreallocarray(*v, n + 2, sizeof(char *));
        (*v)[n] = xstrdup(s);
        (*v)[n + 1] = NULL;
}

void strv_free(char **v)
{
        for (size_t i = 0; v && v[i]; i++)
                free(v[i]);
        free(v);
}

bool strv_has(char *const *v, const char *s)
{
        for (size_t i = 0; v && v[i]; i++)
                if (str_is_equal(v[i], s))
                        return true;
        return false;
}

char **str_split(const char *s, char separator)
{
        char **v = NULL;

        for (;;) {
                const char *end = strchr(s, separator);
                size_t n = end ? (size_t)(end - s) : strlen(s);
                _cleanup_free_ char *part = xstrndup(s, n);

                strv_push(&v, part);
                if (!end)
                        return v;
                s = end + 1;
        }
}

/* Reads one word of a command line into b; returns its end, NULL on an unfinished quote. */
static const char *read_word(const char *s, struct buf *b)
{
        char quote = 0;

        for (; *s && (quote || !isspace((unsigned char)*s)); s++) {
                if (quote == '\'' ? *s == '\'' : quote && *s == quote) {
                        quote = 0;
                } else if (!quote && (*s == '\'' || *s == '"')) {
                        quote = *s;
                } else if (*s == '\\' && quote != '\'') {
                        if (!*++s)
                                return NULL;
                        buf_putc(b, *s);
                } else {
                        buf_putc(b, *s);
                }
        }
        return quote ? NULL : s;
}

int str_split_words(const char *s, char ***ret)
{
        _cleanup_strv_ char **v = NULL;

        for (;;) {
                _cleanup_buf_ struct buf b = {0};

                while (isspace((unsigned char)*s))
                        s++;
                if (!*s)
                        break;
                s = read_word(s, &b);
                if (!s)
                        return -EINVAL;
                strv_push(&v, buf_str(&b));
        }
        *ret = STEAL_PTR(v);
        return 0;
}
