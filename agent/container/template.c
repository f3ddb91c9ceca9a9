/* Placeholders: see template.h. */
#include "agent/container/template.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "shared/base/buf.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"

#define LABELS ".Service.Labels."
#define INDEX  "index .Service.Labels "

static void put_label(const struct template_values *v, const char *name, size_t n, struct buf *out)
{
        const Swarm__ServiceSpec *s = v->task->spec;

        for (size_t i = 0; i < s->n_labels; i++)
                if (strlen(s->labels[i]->key) == n && memcmp(s->labels[i]->key, name, n) == 0)
                        buf_puts(out, s->labels[i]->value);
}

/* The values with fixed names. False: no such name. */
static bool put_named(const struct template_values *v, const char *name, struct buf *out)
{
        const struct agent_task *t = v->task;

        if (str_is_equal(name, ".Service.ID"))
                buf_puts(out, ID_S(t->service_id));
        else if (str_is_equal(name, ".Service.Name"))
                buf_puts(out, t->spec->name);
        else if (str_is_equal(name, ".Node.ID"))
                buf_puts(out, ID_S(v->node_id));
        else if (str_is_equal(name, ".Node.Hostname"))
                buf_puts(out, v->node_hostname);
        else if (str_is_equal(name, ".Task.ID"))
                buf_puts(out, ID_S(t->id));
        else if (str_is_equal(name, ".Task.Name"))
                buf_printf(out, "%s.%s", t->name, ID_S(t->id));
        else if (!str_is_equal(name, ".Task.Slot"))
                return false;
        else if (t->slot)
                buf_printf(out, "%llu", (unsigned long long)t->slot);
        else
                buf_puts(out, ID_S(v->node_id));
        return true;
}

static bool put_value(const struct template_values *v, const char *name, struct buf *out)
{
        size_t n = strlen(name);

        if (str_has_prefix(name, LABELS) && name[strlen(LABELS)]) {
                put_label(v, name + strlen(LABELS), n - strlen(LABELS), out);
                return true;
        }
        if (str_has_prefix(name, INDEX)) {
                const char *quoted = name + strlen(INDEX);
                size_t len = strlen(quoted);

                if (len < 2 || quoted[0] != '"' || quoted[len - 1] != '"')
                        return false;
                put_label(v, quoted + 1, len - 2, out);
                return true;
        }
        return put_named(v, name, out);
}

int template_expand(const char *text, const struct template_values *v, char **ret, struct err *err)
{
        _cleanup_buf_ struct buf out = {0};

        for (const char *p = text, *open; *p; p = open) {
                const char *end;

                open = strstr(p, "{{");
                if (!open) {
                        buf_puts(&out, p);
                        break;
                }
                buf_append(&out, p, (size_t)(open - p));
                end = strstr(open, "}}");
                if (!end)
                        return err_set(err, EINVAL, "template \"%s\": \"{{\" without \"}}\"", text);
                const char *from = open + 2, *to = end;
                while (from < to && isspace((unsigned char)*from))
                        from++;
                while (to > from && isspace((unsigned char)to[-1]))
                        to--;
                _cleanup_free_ char *name = xstrndup(from, (size_t)(to - from));
                if (!put_value(v, name, &out))
                        return err_set(err, EINVAL, "template \"%s\": unknown \"%s\"", text, name);
                if (out.len > TEMPLATE_BYTES_MAX)
                        return err_set(err, EINVAL, "template: the text is too long");
                open = end + 2;
        }
        *ret = buf_take_str(&out);
        return 0;
}
