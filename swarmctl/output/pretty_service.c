/* `service inspect --pretty`: all that its spec says. The container's part is in
 * pretty_container.c. */
#include <stdio.h>

#include "shared/base/mem.h"
#include "shared/base/parse.h"
#include "shared/model/model.h"
#include "swarmctl/output/pretty_internal.h"

static void put_status(const Swarm__UpdateStatus *u, int64_t now_ms, struct buf *out)
{
        char ago[64];

        if (!u || u->state == UPDATE_NONE)
                return;
        buf_puts(out, "UpdateStatus:\n");
        pretty_line(out, " State:", update_state_name((enum update_state)u->state));
        pretty_line_if(out, " Started:", text_ago(u->started_ms, now_ms, ago));
        pretty_line_if(out, " Completed:", text_ago(u->completed_ms, now_ms, ago));
        pretty_line_if(out, " Message:", u->message);
}

static void put_platforms(const Swarm__Placement *p, struct buf *out)
{
        for (size_t i = 0; i < p->n_platforms; i++) {
                _cleanup_free_ char *text =
                        xasprintf("%s/%s", p->platforms[i]->os, p->platforms[i]->arch);

                pretty_line(out, " Platform:", text);
        }
}

static void put_placement(const Swarm__Placement *p, struct buf *out)
{
        if (!p)
                return;
        buf_puts(out, "Placement:\n");
        pretty_words(out, " Constraints:", p->constraints, p->n_constraints);
        pretty_words(out, " Spread:", p->spread, p->n_spread);
        pretty_line(out,
                    " Strategy:", placement_strategy_name((enum placement_strategy)p->strategy));
        pretty_number_if(out, " Max replicas/node:", (int64_t)p->max_replicas_per_node);
        put_platforms(p, out);
}

static void put_restart(const Swarm__RestartPolicy *p, struct buf *out)
{
        char text[FORMAT_MAX];

        if (!p)
                return;
        buf_puts(out, "RestartPolicy:\n");
        pretty_line(out,
                    " Condition:", restart_condition_name((enum restart_condition)p->condition));
        if (p->delay_ms)
                pretty_line(out, " Delay:", format_duration_ms(p->delay_ms->value, text));
        pretty_number_if(out, " Max attempts:", (int64_t)p->max_attempts);
        pretty_time_if(out, " Window:", p->window_ms);
}

static void put_update(const char *title, const Swarm__UpdateConfig *u, struct buf *out)
{
        char text[FORMAT_MAX];

        if (!u)
                return;
        buf_printf(out, "%s\n", title);
        pretty_number(out, " Parallelism:", (int64_t)u->parallelism);
        pretty_line(out, " Delay:", format_duration_ms(u->delay_ms, text));
        pretty_line(out,
                    " On failure:", failure_action_name((enum failure_action)u->failure_action));
        pretty_line(out, " Monitoring Period:", format_duration_ms(u->monitor_ms, text));
        pretty_time_if(out, " Longest wait:", u->wait_ms);
        snprintf(text, sizeof(text), "%g", u->max_failure_ratio);
        pretty_line(out, " Max failure ratio:", text);
        pretty_line(out, " Order:", update_order_name((enum update_order)u->order));
}

static void put_generic(const Swarm__Resources *r, struct buf *out)
{
        for (size_t i = 0; i < r->n_generic; i++) {
                const Swarm__GenericResource *g = r->generic[i];
                _cleanup_free_ char *title = xasprintf("  %s:", g->kind);
                _cleanup_free_ char *safe = text_safe(title);

                if (g->n_names)
                        pretty_words(out, safe, g->names, g->n_names);
                else
                        pretty_number(out, safe, g->count);
        }
}

static void put_amounts(const char *title, const Swarm__Resources *r, struct buf *out)
{
        char text[FORMAT_MAX];

        if (!r || (!r->nano_cpus && !r->memory_bytes && !r->pids && !r->n_generic))
                return;
        buf_printf(out, " %s:\n", title);
        if (r->nano_cpus)
                pretty_line(out, "  CPU:", format_cpu(r->nano_cpus, text));
        if (r->memory_bytes)
                pretty_line(out, "  Memory:", format_size(r->memory_bytes, text));
        pretty_number_if(out, "  Pids:", r->pids);
        put_generic(r, out);
}

static void put_task(const Swarm__TaskSpec *t, struct buf *out)
{
        if (t->container)
                pretty_container(out, t->container);
        if (t->limits || t->reservations)
                buf_puts(out, "Resources:\n");
        put_amounts("Reservations", t->reservations, out);
        put_amounts("Limits", t->limits, out);
        pretty_words(out, "Networks:", t->networks, t->n_networks);
        pretty_number_if(out, "Forced updates:", (int64_t)t->force_update);
}

void pretty_service(const Swarm__Service *s, int64_t now_ms, struct buf *out)
{
        const Swarm__ServiceSpec *spec = s->spec;
        _cleanup_free_ char *mode = text_capital(service_mode_name((enum service_mode)spec->mode));

        pretty_line(out, "ID:", text_id(&s->id, false).s);
        pretty_line(out, "Name:", spec->name);
        pretty_map(out, "Labels:", spec->labels, spec->n_labels);
        pretty_line(out, "Service Mode:", mode);
        if (spec->mode == MODE_REPLICATED)
                pretty_number(out, " Replicas:", (int64_t)spec->replicas);
        put_status(s->update_status, now_ms, out);
        if (spec->task) {
                put_placement(spec->task->placement, out);
                put_restart(spec->task->restart, out);
        }
        put_update("UpdateConfig:", spec->update, out);
        put_update("RollbackConfig:", spec->rollback, out);
        if (spec->task)
                put_task(spec->task, out);
}
