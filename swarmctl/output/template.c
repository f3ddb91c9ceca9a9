/* `--format` templates: text and dotted paths, no logic. Parsed before anything is asked of the
 * manager, so that a wrong template is refused without effect. */
#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "swarmctl/output/output.h"

enum part_kind { PART_TEXT, PART_VALUE, PART_JSON };

struct part {
        enum part_kind kind;
        char *text;  /* PART_TEXT */
        char **path; /* names below the object; NULL: the object itself */
};

struct template
{
        struct part parts[TEMPLATE_PARTS_MAX];
        size_t n;
};

void template_free(struct template *t)
{
        if (!t)
                return;
        for (size_t i = 0; i < t->n; i++) {
                free(t->parts[i].text);
                strv_free(t->parts[i].path);
        }
        free(t);
}

static void template_cleanup(struct template **t)
{
        template_free(*t);
}

/* Text between two braces: "\t" and "\n" as Docker's commands take them. */
static char *unescape(const char *s, size_t n)
{
        _cleanup_buf_ struct buf b = {0};

        for (size_t i = 0; i < n; i++) {
                if (s[i] == '\\' && i + 1 < n && (s[i + 1] == 't' || s[i + 1] == 'n'))
                        buf_putc(&b, s[++i] == 't' ? '\t' : '\n');
                else
                        buf_putc(&b, s[i]);
        }
        return buf_take_str(&b);
}

static const char *skip_blank(const char *p, const char *end)
{
        while (p < end && isspace((unsigned char)*p))
                p++;
        return p;
}

/* Reads ".A.B" or "." at *p. */
static int scan_path(const char **p, const char *end, char ***ret)
{
        const char *s = *p;

        if (s >= end || *s != '.')
                return -EINVAL;
        while (s < end && *s == '.') {
                const char *name = ++s;

                while (s < end && (isalnum((unsigned char)*s) || *s == '_'))
                        s++;
                if (s == name && strv_len(*ret) == 0)
                        break;
                if (s == name || strv_len(*ret) >= TEMPLATE_DEPTH_MAX)
                        return -EINVAL;
                _cleanup_free_ char *copy = xstrndup(name, (size_t)(s - name));
                strv_push(ret, copy);
        }
        *p = s;
        return 0;
}

/* Reads the "keys" of `index .Path "key" "key"`. */
static int scan_keys(const char **p, const char *end, char ***ret)
{
        const char *s = skip_blank(*p, end);

        while (s < end && *s == '"') {
                const char *close = memchr(s + 1, '"', (size_t)(end - s - 1));

                if (!close || strv_len(*ret) >= TEMPLATE_DEPTH_MAX)
                        return -EINVAL;
                _cleanup_free_ char *copy = xstrndup(s + 1, (size_t)(close - s - 1));
                strv_push(ret, copy);
                s = skip_blank(close + 1, end);
        }
        *p = s;
        return 0;
}

static bool take_word(const char **p, const char *end, const char *word)
{
        size_t n = strlen(word);

        if ((size_t)(end - *p) <= n || memcmp(*p, word, n) != 0 || !isspace((unsigned char)(*p)[n]))
                return false;
        *p = skip_blank(*p + n, end);
        return true;
}

/* What stands between "{{" and "}}". */
static int parse_action(const char *p, const char *end, struct part *ret)
{
        bool has_keys = false;
        int r;

        p = skip_blank(p, end);
        ret->kind = take_word(&p, end, "json") ? PART_JSON : PART_VALUE;
        if (ret->kind == PART_VALUE)
                has_keys = take_word(&p, end, "index");
        r = scan_path(&p, end, &ret->path);
        if (r == 0 && has_keys)
                r = scan_keys(&p, end, &ret->path);
        if (r < 0)
                return r;
        return skip_blank(p, end) == end ? 0 : -EINVAL;
}

static int add_text(struct template *t, const char *s, size_t n)
{
        if (n == 0)
                return 0;
        if (t->n >= TEMPLATE_PARTS_MAX)
                return -E2BIG;
        t->parts[t->n++] = (struct part){.kind = PART_TEXT, .text = unescape(s, n)};
        return 0;
}

int template_parse(const char *text, struct template **ret, struct err *err)
{
        _cleanup_(template_cleanup) struct template *t = xnew(struct template);
        const char *p = text;
        const char *open;

        while ((open = strstr(p, "{{"))) {
                const char *close = strstr(open, "}}");

                if (!close)
                        return err_set(err, EINVAL, "template \"%s\": unclosed {{", text);
                if (add_text(t, p, (size_t)(open - p)) < 0 || t->n >= TEMPLATE_PARTS_MAX)
                        return err_set(err, EINVAL, "template has more than %d parts",
                                       TEMPLATE_PARTS_MAX);
                if (parse_action(open + 2, close, &t->parts[t->n++]) < 0)
                        return err_set(err, EINVAL,
                                       "template \"%s\": cannot read {{%.*s}}: only {{.Path}}, "
                                       "{{json .Path}} and {{index .Path \"key\"}} are known",
                                       text, (int)(close - open - 2), open + 2);
                p = close + 2;
        }
        if (add_text(t, p, strlen(p)) < 0)
                return err_set(err, EINVAL, "template has more than %d parts", TEMPLATE_PARTS_MAX);
        *ret = STEAL_PTR(t);
        return 0;
}

static json_t *walk(json_t *v, char *const *path)
{
        for (; v && path && *path; path++)
                v = json_object_get(v, *path);
        return v;
}

static void put_json(json_t *v, struct buf *out)
{
        char *s = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);

        buf_puts(out, s ? s : "null");
        free(s);
}

/* Lists as Go prints them ("[a b]"), objects as JSON. */
static void put_value(json_t *v, struct buf *out)
{
        size_t i;
        json_t *item;

        if (!v || json_is_null(v)) {
                buf_puts(out, "<no value>");
        } else if (json_is_string(v)) {
                text_put(out, json_string_value(v));
        } else if (json_is_array(v)) {
                buf_putc(out, '[');
                json_array_foreach(v, i, item)
                {
                        if (i)
                                buf_putc(out, ' ');
                        if (json_is_array(item))
                                put_json(item, out);
                        else
                                put_value(item, out);
                }
                buf_putc(out, ']');
        } else {
                put_json(v, out);
        }
}

int template_run(const struct template *t, json_t *row, json_t *doc, struct buf *out,
                 struct err *err)
{
        for (size_t i = 0; i < t->n; i++) {
                const struct part *p = &t->parts[i];
                json_t *base = row;

                if (p->kind == PART_TEXT) {
                        buf_puts(out, p->text);
                        continue;
                }
                if (!row || (p->path && !json_object_get(row, p->path[0])))
                        base = doc;
                if (p->path && !json_object_get(base, p->path[0]))
                        return err_set(err, EINVAL, "template: no field .%s here", p->path[0]);
                json_t *v = walk(base, p->path);
                if (p->kind == PART_JSON && v)
                        put_json(v, out);
                else
                        put_value(v, out);
        }
        return 0;
}

void template_titles(const struct template *t, json_t *titles, struct buf *out)
{
        for (size_t i = 0; i < t->n; i++) {
                const struct part *p = &t->parts[i];
                const char *name = NULL;

                if (p->kind == PART_TEXT) {
                        buf_puts(out, p->text);
                        continue;
                }
                for (char **s = p->path; s && *s; s++)
                        name = *s;
                if (p->path && !p->path[1] && json_object_get(titles, name))
                        name = json_string_value(json_object_get(titles, name));
                for (; name && *name; name++)
                        buf_putc(out, (char)toupper((unsigned char)*name));
        }
}
