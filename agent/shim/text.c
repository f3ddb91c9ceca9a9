/* Text into fixed buffers, and numbers out of it. Cannot fail: what does not fit is cut. */
#include <string.h>

#include "agent/shim/shim_internal.h"

void text_add(struct text *t, const char *s)
{
        while (*s && t->n + 1 < t->cap)
                t->p[t->n++] = *s++;
        t->p[t->n] = 0;
}

void text_add_number(struct text *t, int64_t v)
{
        char digits[24];
        size_t i = sizeof(digits);
        uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;

        digits[--i] = 0;
        do {
                digits[--i] = (char)('0' + u % 10);
                u /= 10;
        } while (u);
        if (v < 0)
                digits[--i] = '-';
        text_add(t, digits + i);
}

bool text_parse_number(const char *s, size_t n, uint64_t *ret)
{
        uint64_t v = 0;

        if (n == 0 || n > 18)
                return false;
        for (size_t i = 0; i < n; i++) {
                if (s[i] < '0' || s[i] > '9')
                        return false;
                v = v * 10 + (uint64_t)(s[i] - '0');
        }
        *ret = v;
        return true;
}
