/* `service inspect --pretty`. */
#include <inttypes.h>

#include "shared/base/mem.h"
#include "shared/base/parse.h"
#include "shared/base/str.h"
#include "shared/model/model.h"
#include "swarmctl/output/output.h"

static void put_line(struct buf *out, const char *title, const char *value)
{
        buf_printf(out, "%-20s", title);
        text_put(out, value);
        buf_putc(out, '\n');
}

static void put_line_if(struct buf *out, const char *title, const char *value)
{
        if (!str_is_empty(value))
                put_line(out, title, value);
}

static void put_number(struct buf *out, const char *title, uint64_t value)
{
        buf_printf(out, "%-20s%" PRIu64 "\n", title, value);
}

static void put_words(struct buf *out, const char *title, char *const *words, size_t n)
{
        if (n)
                buf_printf(out, "%-19s", title);
        for (size_t i = 0; i < n; i++) {
                buf_putc(out, ' ');
                text_put(out, words[i]);
        }
        if (n)
                buf_putc(out, '\n');
}

static void put_map(struct buf *out, const char *title, Swarm__KeyValue *const *v, size_t n)
{
        if (n)
                buf_printf(out, "%s\n", title);
        for (size_t i = 0; i < n; i++) {
                buf_putc(out, ' ');
                text_put(out, v[i]->key);
                buf_putc(out, '=');
                text_put(out, v[i]->value);
                buf_putc(out, '\n');
        }
}

static void put_status(const Swarm__UpdateStatus *u, int64_t now_ms, struct buf *out)
{
        char ago[64];

        if (!u || u->state == UPDATE_NONE)
                return;
        buf_puts(out, "UpdateStatus:\n");
        put_line(out, " State:", update_state_name((enum update_state)u->state));
        put_line_if(out, " Started:", text_ago(u->started_ms, now_ms, ago));
        put_line_if(out, " Completed:", text_ago(u->completed_ms, now_ms, ago));
        put_line_if(out, " Message:", u->message);
}

static void put_placement(const Swarm__Placement *p, struct buf *out)
{
        if (!p || (!p->n_constraints && !p->n_spread && !p->max_replicas_per_node &&
                   p->strategy == STRATEGY_SPREAD))
                return;
        buf_puts(out, "Placement:\n");
        put_words(out, " Constraints:", p->constraints, p->n_constraints);
        put_words(out, " Spread:", p->spread, p->n_spread);
        if (p->strategy != STRATEGY_SPREAD)
                put_line(out, " Strategy:",
                         placement_strategy_name((enum placement_strategy)p->strategy));
        if (p->max_replicas_per_node)
                put_number(out, " Max replicas/node:", p->max_replicas_per_node);
}

static void put_update(const char *title, const Swarm__UpdateConfig *u, struct buf *out)
{
        char text[FORMAT_MAX];

        if (!u)
                return;
        buf_printf(out, "%s\n", title);
        put_number(out, " Parallelism:", u->parallelism);
        put_line(out, " Delay:", format_duration_ms(u->delay_ms, text));
        put_line(out, " On failure:", failure_action_name((enum failure_action)u->failure_action));
        put_line(out, " Monitoring Period:", format_duration_ms(u->monitor_ms, text));
        buf_printf(out, "%-20s%g\n", " Max failure ratio:", u->max_failure_ratio);
        put_line(out, " Order:", update_order_name((enum update_order)u->order));
}

static void put_mounts(const Swarm__ContainerSpec *c, struct buf *out)
{
        if (c->n_mounts)
                buf_puts(out, "Mounts:\n");
        for (size_t i = 0; i < c->n_mounts; i++) {
                const Swarm__Mount *m = c->mounts[i];

                put_line(out, " Target:", m->target);
                put_line_if(out, "  Source:", m->source);
                put_line(out, "  ReadOnly:", m->read_only ? "true" : "false");
                put_line(out, "  Type:", mount_type_name((enum mount_type)m->type));
        }
}

static void put_container(const Swarm__ContainerSpec *c, struct buf *out)
{
        buf_puts(out, "ContainerSpec:\n");
        put_line(out, " Image:", c->image);
        put_words(out, " Entrypoint:", c->entrypoint, c->n_entrypoint);
        put_words(out, " Args:", c->args, c->n_args);
        put_words(out, " Env:", c->env, c->n_env);
        put_line_if(out, " Dir:", c->workdir);
        put_line_if(out, " User:", c->user);
        put_line_if(out, " Hostname:", c->hostname);
        if (c->init)
                put_line(out, " Init:", "true");
        put_mounts(c, out);
}

static void put_amounts(const char *title, const Swarm__Resources *r, struct buf *out)
{
        char text[FORMAT_MAX];

        if (!r)
                return;
        buf_printf(out, " %s:\n", title);
        if (r->nano_cpus)
                put_line(out, "  CPU:", format_cpu(r->nano_cpus, text));
        if (r->memory_bytes)
                put_line(out, "  Memory:", format_size(r->memory_bytes, text));
        if (r->pids)
                put_number(out, "  Pids:", (uint64_t)r->pids);
}

static void put_task(const Swarm__TaskSpec *t, struct buf *out)
{
        if (t->container)
                put_container(t->container, out);
        if (t->limits || t->reservations)
                buf_puts(out, "Resources:\n");
        put_amounts("Reservations", t->reservations, out);
        put_amounts("Limits", t->limits, out);
        put_words(out, "Networks:", t->networks, t->n_networks);
}

void pretty_service(const Swarm__Service *s, int64_t now_ms, struct buf *out)
{
        const Swarm__ServiceSpec *spec = s->spec;
        _cleanup_free_ char *mode = text_capital(service_mode_name((enum service_mode)spec->mode));

        put_line(out, "ID:", text_id(&s->id, false).s);
        put_line(out, "Name:", spec->name);
        put_map(out, "Labels:", spec->labels, spec->n_labels);
        put_line(out, "Service Mode:", mode);
        if (spec->mode == MODE_REPLICATED)
                put_number(out, " Replicas:", spec->replicas);
        put_status(s->update_status, now_ms, out);
        put_placement(spec->task ? spec->task->placement : NULL, out);
        put_update("UpdateConfig:", spec->update, out);
        put_update("RollbackConfig:", spec->rollback, out);
        if (spec->task)
                put_task(spec->task, out);
}
