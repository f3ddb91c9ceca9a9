/* Placeholders of a service's texts: see placeholder.h. */
#include "shared/model/placeholder.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "shared/base/mem.h"
#include "shared/base/str.h"

#define LABELS ".Service.Labels."
#define INDEX  "index .Service.Labels "

static const struct {
        const char *name;
        enum placeholder what;
} names[] = {
        {".Service.ID", PLACEHOLDER_SERVICE_ID}, {".Service.Name", PLACEHOLDER_SERVICE_NAME},
        {".Node.ID", PLACEHOLDER_NODE_ID},       {".Node.Hostname", PLACEHOLDER_NODE_HOSTNAME},
        {".Task.ID", PLACEHOLDER_TASK_ID},       {".Task.Name", PLACEHOLDER_TASK_NAME},
        {".Task.Slot", PLACEHOLDER_TASK_SLOT},
};

/* The key in `"KEY"`, or NULL. Heap. */
static char *unquote(const char *s)
{
        size_t n = strlen(s);

        if (n < 3 || s[0] != '"' || s[n - 1] != '"' || strcspn(s + 1, "\"\\") != n - 2)
                return NULL;
        return xstrndup(s + 1, n - 2);
}

static int parse(const char *inner, enum placeholder *ret, char **ret_key)
{
        *ret_key = NULL;
        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                if (str_is_equal(names[i].name, inner)) {
                        *ret = names[i].what;
                        return 0;
                }
        *ret = PLACEHOLDER_SERVICE_LABEL;
        if (str_has_prefix(inner, INDEX))
                *ret_key = unquote(inner + strlen(INDEX));
        else if (str_has_prefix(inner, LABELS) && inner[strlen(LABELS)] &&
                 !strpbrk(inner + strlen(LABELS), " \t"))
                *ret_key = xstrdup(inner + strlen(LABELS));
        return *ret_key ? 0 : -EINVAL;
}

static char *trim(const char *from, const char *to)
{
        while (from < to && isspace((unsigned char)*from))
                from++;
        while (to > from && isspace((unsigned char)to[-1]))
                to--;
        return xstrndup(from, (size_t)(to - from));
}

int placeholders_fill(const char *text, placeholder_fn *value, void *arg, char **ret,
                      struct err *err)
{
        _cleanup_buf_ struct buf out = {0};

        for (const char *open; (open = strstr(text, "{{")); text = strstr(open, "}}") + 2) {
                const char *end = strstr(open, "}}");
                enum placeholder what;

                if (!end)
                        return err_set(err, EINVAL, "'{{' without '}}'");
                _cleanup_free_ char *inner = trim(open + 2, end), *key = NULL;
                if (parse(inner, &what, &key) < 0)
                        return err_set(err, EINVAL, "unknown template {{%.100s}}", inner);
                buf_append(&out, text, (size_t)(open - text));
                value(arg, what, key, &out);
                if (out.len > PLACEHOLDER_TEXT_MAX)
                        break;
        }
        buf_puts(&out, text);
        if (out.len > PLACEHOLDER_TEXT_MAX)
                return err_set(err, EINVAL, "longer than %d bytes with its templates filled in",
                               PLACEHOLDER_TEXT_MAX);
        *ret = buf_take_str(&out);
        return 0;
}
