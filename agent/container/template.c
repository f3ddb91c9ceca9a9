/* Values of placeholders: see template.h. */
#include "agent/container/template.h"

#include "shared/base/str.h"
#include "shared/model/placeholder.h"

static void put_label(const Swarm__ServiceSpec *s, const char *key, struct buf *out)
{
        for (size_t i = 0; i < s->n_labels; i++)
                if (str_is_equal(s->labels[i]->key, key))
                        buf_puts(out, s->labels[i]->value);
}

static void put_value(void *arg, enum placeholder what, const char *key, struct buf *out)
{
        const struct template_values *v = arg;
        const struct agent_task *t = v->task;

        switch (what) {
        case PLACEHOLDER_SERVICE_ID: buf_puts(out, ID_S(t->service_id)); break;
        case PLACEHOLDER_SERVICE_NAME: buf_puts(out, t->spec->name); break;
        case PLACEHOLDER_SERVICE_LABEL: put_label(t->spec, key, out); break;
        case PLACEHOLDER_NODE_ID: buf_puts(out, ID_S(v->node_id)); break;
        case PLACEHOLDER_NODE_HOSTNAME: buf_puts(out, v->node_hostname); break;
        case PLACEHOLDER_TASK_ID: buf_puts(out, ID_S(t->id)); break;
        case PLACEHOLDER_TASK_NAME: buf_printf(out, "%s.%s", t->name, ID_S(t->id)); break;
        case PLACEHOLDER_TASK_SLOT:
                if (t->slot)
                        buf_printf(out, "%llu", (unsigned long long)t->slot);
                else
                        buf_puts(out, ID_S(v->node_id));
                break;
        }
}

int template_expand(const char *text, const struct template_values *v, char **ret, struct err *err)
{
        return placeholders_fill(text, put_value, (void *)(uintptr_t)v, ret, err);
}
