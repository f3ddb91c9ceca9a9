/* Lines of `inspect --pretty`: see pretty_internal.h. */
#include <inttypes.h>
#include <string.h>

#include "shared/base/parse.h"
#include "shared/base/str.h"
#include "swarmctl/output/pretty_internal.h"

/* A title that fills its column has a space behind it all the same. */
static void put_title(struct buf *out, const char *title)
{
        buf_printf(out, "%-*s ", PRETTY_COLUMN - 1, title);
}

void pretty_line(struct buf *out, const char *title, const char *value)
{
        put_title(out, title);
        text_put(out, value);
        buf_putc(out, '\n');
}

void pretty_line_if(struct buf *out, const char *title, const char *value)
{
        if (!str_is_empty(value))
                pretty_line(out, title, value);
}

void pretty_number(struct buf *out, const char *title, int64_t value)
{
        put_title(out, title);
        buf_printf(out, "%" PRId64 "\n", value);
}

void pretty_number_if(struct buf *out, const char *title, int64_t value)
{
        if (value)
                pretty_number(out, title, value);
}

void pretty_flag_if(struct buf *out, const char *title, bool value)
{
        if (value)
                pretty_line(out, title, "true");
}

void pretty_time_if(struct buf *out, const char *title, int64_t ms)
{
        char text[FORMAT_MAX];

        if (ms)
                pretty_line(out, title, format_duration_ms(ms, text));
}

void pretty_words(struct buf *out, const char *title, char *const *words, size_t n)
{
        if (n)
                put_title(out, title);
        for (size_t i = 0; i < n; i++) {
                buf_puts(out, i ? " " : "");
                text_put(out, words[i]);
        }
        if (n)
                buf_putc(out, '\n');
}

void pretty_map(struct buf *out, const char *title, Swarm__KeyValue *const *v, size_t n)
{
        const size_t indent = strspn(title, " ");

        if (n)
                buf_printf(out, "%s\n", title);
        for (size_t i = 0; i < n; i++) {
                buf_printf(out, "%*s", (int)indent + 1, "");
                text_put(out, v[i]->key);
                buf_putc(out, '=');
                text_put(out, v[i]->value);
                buf_putc(out, '\n');
        }
}
