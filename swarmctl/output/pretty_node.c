/* `node inspect --pretty`. */
#include <inttypes.h>

#include "shared/base/mem.h"
#include "shared/base/parse.h"
#include "shared/model/model.h"
#include "swarmctl/output/output.h"

static void put_line(struct buf *out, const char *title, const char *value)
{
        buf_printf(out, "%-24s", title);
        text_put(out, value);
        buf_putc(out, '\n');
}

static void put_capital(struct buf *out, const char *title, const char *name)
{
        _cleanup_free_ char *text = text_capital(name);

        put_line(out, title, text);
}

static void put_labels(struct buf *out, const char *title, Swarm__KeyValue *const *labels, size_t n)
{
        if (n)
                buf_printf(out, "%s\n", title);
        for (size_t i = 0; i < n; i++) {
                buf_puts(out, " - ");
                text_put(out, labels[i]->key);
                buf_putc(out, '=');
                text_put(out, labels[i]->value);
                buf_putc(out, '\n');
        }
}

static void put_resources(struct buf *out, const char *title, const Swarm__Resources *r)
{
        char text[FORMAT_MAX];

        if (!r)
                return;
        buf_printf(out, "%s\n", title);
        put_line(out, " CPUs:", format_cpu(r->nano_cpus, text));
        put_line(out, " Memory:", format_size(r->memory_bytes, text));
        for (size_t i = 0; i < r->n_generic; i++) {
                const Swarm__GenericResource *g = r->generic[i];
                const int64_t count = g->n_names ? (int64_t)g->n_names : (int64_t)g->count;
                _cleanup_free_ char *kind = xasprintf(" %s:", g->kind);
                _cleanup_free_ char *safe = text_safe(kind);

                buf_printf(out, "%-24s%" PRId64 "\n", safe, count);
        }
}

static void put_description(struct buf *out, const Swarm__NodeDescription *d)
{
        buf_puts(out, "Platform:\n");
        put_line(out, " Operating System:", d->os);
        put_line(out, " Architecture:", d->arch);
        put_resources(out, "Capacity:", d->capacity);
}

void pretty_node(const Swarm__Node *n, struct buf *out)
{
        const Swarm__NodeDescription *d = n->description;
        char time[TEXT_TIME_MAX];

        put_line(out, "ID:", text_id(&n->id, false).s);
        put_labels(out, "Labels:", n->labels, n->n_labels);
        put_line(out, "Hostname:", d ? d->hostname : "");
        put_line(out, "Joined at:", text_time(n->created_ms, time));
        put_capital(out, "Role:", node_role_name((enum node_role)n->role));
        buf_puts(out, "Status:\n");
        put_capital(out, " State:", node_state_name((enum node_state)n->state));
        if (*n->message)
                put_line(out, " Message:", n->message);
        put_capital(out, " Availability:",
                    node_availability_name((enum node_availability)n->availability));
        put_line(out, " Address:", d ? d->address : "");
        if (n->manager_status != MANAGER_NONE)
                put_capital(out, "Manager Status:",
                            manager_status_name((enum manager_status)n->manager_status));
        if (d)
                put_description(out, d);
        put_resources(out, "Reserved:", n->reserved);
        buf_printf(out, "%-24s%" PRIu64 "\n", "Tasks:", n->tasks);
        if (!d)
                return;
        put_line(out, "Engine Version:", d->engine_version);
        put_labels(out, "Engine Labels:", d->engine_labels, d->n_engine_labels);
}
