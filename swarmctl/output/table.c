/* Listings: rows of named fields, printed as aligned columns, JSON lines or a template's text. */
#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "swarmctl/output/output.h"

#define COLUMN_GAP  3
#define COLUMNS_MAX 32

enum style { STYLE_TABLE, STYLE_JSON, STYLE_TEMPLATE };

struct row {
        json_t *fields, *doc;
};

struct listing {
        const struct column *columns;
        enum style style;
        struct template *template; /* of STYLE_TEMPLATE, or of a table's line */
        struct row *rows;
        size_t n, cap;
};

int listing_new(const struct column *columns, const char *format, struct listing **ret,
                struct err *err)
{
        _cleanup_listing_ struct listing *l = xnew(struct listing);
        const char *template = NULL;
        int r = 0;

        l->columns = columns;
        if (!format || !*format || str_is_equal(format, "table")) {
                l->style = STYLE_TABLE;
        } else if (str_has_prefix(format, "table ")) {
                l->style = STYLE_TABLE;
                template = format + strlen("table ");
        } else if (str_is_equal(format, "json")) {
                l->style = STYLE_JSON;
        } else {
                l->style = STYLE_TEMPLATE;
                template = format;
        }
        if (template)
                r = template_parse(template, &l->template, err);
        if (r < 0)
                return r;
        *ret = STEAL_PTR(l);
        return 0;
}

void listing_free(struct listing *l)
{
        if (!l)
                return;
        for (size_t i = 0; i < l->n; i++) {
                json_decref(l->rows[i].fields);
                json_decref(l->rows[i].doc);
        }
        template_free(l->template);
        free(l->rows);
        free(l);
}

void listing_add(struct listing *l, json_t *take_doc)
{
        if (l->n == l->cap) {
                l->cap = l->cap ? 2 * l->cap : 16;
                l->rows = xreallocarray(l->rows, l->cap, sizeof(*l->rows));
        }
        l->rows[l->n++] = (struct row){.fields = json_object(), .doc = take_doc};
}

static bool is_column(const struct listing *l, const char *field)
{
        for (const struct column *c = l->columns; c->field; c++)
                if (str_is_equal(c->field, field))
                        return true;
        return false;
}

void listing_set(struct listing *l, const char *field, const char *format, ...)
{
        char *text = NULL;
        va_list ap;

        assert(l->n > 0 && is_column(l, field));
        va_start(ap, format);
        int n = vasprintf(&text, format, ap);
        va_end(ap);
        if (n < 0)
                abort();
        _cleanup_free_ char *clean = text_safe(text);
        free(text);
        json_object_set_new(l->rows[l->n - 1].fields, field, json_string(clean));
}

/* Titles as a row of their own, so that a template's table lines up under them. */
static json_t *title_row(const struct listing *l)
{
        json_t *o = json_object();

        for (const struct column *c = l->columns; c->field; c++)
                json_object_set_new(o, c->field, json_string(c->title));
        return o;
}

static void put_default_line(const struct listing *l, json_t *fields, struct buf *out)
{
        bool is_first = true;

        for (const struct column *c = l->columns; c->field; c++) {
                if (c->is_extra)
                        continue;
                const char *s = json_string_value(json_object_get(fields, c->field));

                if (!is_first)
                        buf_putc(out, '\t');
                is_first = false;
                buf_puts(out, s ? s : "");
        }
}

static int put_line(const struct listing *l, const struct row *row, struct buf *out,
                    struct err *err)
{
        int r = 0;

        if (l->template)
                r = template_run(l->template, row->fields, row->doc, out, err);
        else
                put_default_line(l, row->fields, out);
        buf_putc(out, '\n');
        return r;
}

static void put_titles(const struct listing *l, struct buf *out)
{
        json_t *titles = title_row(l);

        if (l->template)
                template_titles(l->template, titles, out);
        else
                put_default_line(l, titles, out);
        buf_putc(out, '\n');
        json_decref(titles);
}

/* Lays out lines of tab-separated cells. */
static void align(const char *text, struct buf *out)
{
        _cleanup_strv_ char **lines = str_split(text, '\n');
        size_t width[COLUMNS_MAX] = {0};

        for (char **line = lines; line && *line; line++) {
                _cleanup_strv_ char **cells = str_split(*line, '\t');

                for (size_t i = 0; cells && cells[i] && i < COLUMNS_MAX; i++)
                        width[i] = MAX(width[i], text_width(cells[i]));
        }
        for (char **line = lines; line && *line; line++) {
                _cleanup_strv_ char **cells = str_split(*line, '\t');

                if (!line[1] && !**line)
                        break; /* behind the last newline */
                for (size_t i = 0; cells && cells[i]; i++) {
                        buf_puts(out, cells[i]);
                        if (!cells[i + 1] || i >= COLUMNS_MAX)
                                continue;
                        for (size_t n = text_width(cells[i]); n < width[i] + COLUMN_GAP; n++)
                                buf_putc(out, ' ');
                }
                while (out->len && out->data[out->len - 1] == ' ')
                        out->data[--out->len] = 0;
                buf_putc(out, '\n');
        }
}

static int print_table(const struct listing *l, struct buf *out, struct err *err)
{
        _cleanup_buf_ struct buf text = {0};
        int r = 0;

        put_titles(l, &text);
        for (size_t i = 0; i < l->n && r == 0; i++)
                r = put_line(l, &l->rows[i], &text, err);
        if (r == 0)
                align(buf_str(&text), out);
        return r;
}

int listing_print(const struct listing *l, struct buf *out, struct err *err)
{
        int r = 0;

        if (l->style == STYLE_TABLE)
                return print_table(l, out, err);
        for (size_t i = 0; i < l->n && r == 0; i++) {
                if (l->style == STYLE_JSON) {
                        char *s = json_dumps(l->rows[i].fields, JSON_COMPACT);

                        buf_puts(out, s ? s : "{}");
                        buf_putc(out, '\n');
                        free(s);
                } else {
                        r = put_line(l, &l->rows[i], out, err);
                }
        }
        return r;
}
