/* The container's part of `service inspect --pretty`. */
#include <stdio.h>

#include "shared/base/mem.h"
#include "shared/base/parse.h"
#include "shared/model/model.h"
#include "swarmctl/output/pretty_internal.h"

static void put_mount_options(const Swarm__Mount *m, struct buf *out)
{
        char text[FORMAT_MAX];

        pretty_line_if(out, "  Propagation:", m->propagation);
        pretty_flag_if(out, "  NonRecursive:", m->nonrecursive);
        pretty_flag_if(out, "  CreateSource:", m->create_source);
        pretty_flag_if(out, "  NoCopy:", m->nocopy);
        pretty_line_if(out, "  Subpath:", m->subpath);
        if (m->tmpfs_size)
                pretty_line(out, "  Size:", format_size(m->tmpfs_size, text));
        if (m->tmpfs_mode) {
                snprintf(text, sizeof(text), "%04o", m->tmpfs_mode);
                pretty_line(out, "  Mode:", text);
        }
}

static void put_mounts(const Swarm__ContainerSpec *c, struct buf *out)
{
        if (c->n_mounts)
                buf_puts(out, "Mounts:\n");
        for (size_t i = 0; i < c->n_mounts; i++) {
                const Swarm__Mount *m = c->mounts[i];

                pretty_line(out, " Target:", m->target);
                pretty_line_if(out, "  Source:", m->source);
                pretty_line(out, "  ReadOnly:", m->read_only ? "true" : "false");
                pretty_line(out, "  Type:", mount_type_name((enum mount_type)m->type));
                put_mount_options(m, out);
        }
}

/* "CMD", "HTTP 8080/health" */
static void put_test(const Swarm__Health *h, struct buf *out)
{
        static const char *const kinds[] = {
                [HEALTH_DEFAULT] = "the image's", [HEALTH_NONE] = "none", [HEALTH_CMD] = "command",
                [HEALTH_SHELL] = "shell",         [HEALTH_HTTP] = "HTTP", [HEALTH_TCP] = "TCP"};

        pretty_line(out, " Test:", h->type < ARRAY_SIZE(kinds) ? kinds[h->type] : "?");
        pretty_words(out, " Command:", h->cmd, h->n_cmd);
        pretty_number_if(out, " Port:", h->port);
        pretty_line_if(out, " Path:", h->path);
}

static void put_health(const Swarm__Health *h, struct buf *out)
{
        if (!h)
                return;
        buf_puts(out, "Healthcheck:\n");
        put_test(h, out);
        pretty_time_if(out, " Interval:", h->interval_ms);
        pretty_time_if(out, " Timeout:", h->timeout_ms);
        pretty_number_if(out, " Retries:", h->retries);
        pretty_time_if(out, " Start period:", h->start_period_ms);
        pretty_time_if(out, " Start interval:", h->start_interval_ms);
}

/* -1 is "unlimited". */
static void put_limit(struct buf *out, int64_t value)
{
        if (value < 0)
                buf_puts(out, "unlimited");
        else
                buf_printf(out, "%lld", (long long)value);
}

static void put_ulimits(const Swarm__ContainerSpec *c, struct buf *out)
{
        if (c->n_ulimits)
                buf_puts(out, " Ulimits:\n");
        for (size_t i = 0; i < c->n_ulimits; i++) {
                buf_puts(out, "  ");
                text_put(out, c->ulimits[i]->name);
                buf_putc(out, '=');
                put_limit(out, c->ulimits[i]->soft);
                buf_putc(out, ':');
                put_limit(out, c->ulimits[i]->hard);
                buf_putc(out, '\n');
        }
}

static void put_rights(const Swarm__ContainerSpec *c, struct buf *out)
{
        pretty_line_if(out, " User:", c->user);
        pretty_words(out, " Groups:", c->groups, c->n_groups);
        pretty_flag_if(out, " ReadOnly:", c->read_only);
        pretty_words(out, " CapabilityAdd:", c->cap_add, c->n_cap_add);
        pretty_words(out, " CapabilityDrop:", c->cap_drop, c->n_cap_drop);
        pretty_map(out, " Sysctls:", c->sysctls, c->n_sysctls);
        put_ulimits(c, out);
}

void pretty_container(struct buf *out, const Swarm__ContainerSpec *c)
{
        char text[FORMAT_MAX];

        buf_puts(out, "ContainerSpec:\n");
        pretty_line(out, " Image:", c->image);
        pretty_line_if(out, " ImageID:", c->image_id);
        pretty_words(out, " Entrypoint:", c->entrypoint, c->n_entrypoint);
        pretty_words(out, " Args:", c->args, c->n_args);
        pretty_words(out, " Env:", c->env, c->n_env);
        pretty_map(out, " Labels:", c->labels, c->n_labels);
        pretty_line_if(out, " Dir:", c->workdir);
        pretty_line_if(out, " Hostname:", c->hostname);
        pretty_flag_if(out, " Init:", c->init);
        pretty_flag_if(out, " TTY:", c->tty);
        put_rights(c, out);
        pretty_line_if(out, " StopSignal:", c->stop_signal);
        if (c->stop_grace_ms)
                pretty_line(out,
                            " StopGracePeriod:", format_duration_ms(c->stop_grace_ms->value, text));
        put_health(c->health, out);
        put_mounts(c, out);
}
