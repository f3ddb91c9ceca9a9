/* Services as people see them: see service_show.h. */
#include "swarmctl/cmd/service_show.h"

#include <stdlib.h>
#include <string.h>

#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/base/time.h"
#include "shared/model/model.h"
#include "shared/wire/wire.h"
#include "swarmctl/cmd/list.h"
#include "swarmctl/cmd/wait.h"
#include "swarmctl/output/output.h"

const struct flag service_ls_flags[] = {
        {"filter", 'f', FLAG_LIST, "Only these: id=, name=, label=, mode=", NULL},
        {"format", 0, FLAG_STRING, "table, json, or a template", NULL},
        {"no-trunc", 0, FLAG_BOOL, "Do not shorten ids", NULL},
        {"quiet", 'q', FLAG_BOOL, "Only show ids", NULL},
        {0},
};

const struct flag service_inspect_flags[] = {
        {"format", 'f', FLAG_STRING, "json, or a template", NULL},
        {"pretty", 0, FLAG_BOOL, "Show it in a form for people", NULL},
        {0},
};

/* --- ls -----------------------------------------------------------------------------------------
 */
static const struct column columns[] = {
        {"ID", "ID", false},
        {"Name", "NAME", false},
        {"Mode", "MODE", false},
        {"Replicas", "REPLICAS", false},
        {"Image", "IMAGE", false},
        {"Ports", "PORTS", false},
        {0},
};

static const char *image_of(const Swarm__ServiceSpec *spec)
{
        return spec->task && spec->task->container ? spec->task->container->image : "";
}

static void set_replicas(struct listing *l, const Swarm__Service *s)
{
        const Swarm__Placement *p = s->spec->task ? s->spec->task->placement : NULL;
        const unsigned long long running = s->running, desired = s->desired;

        if (p && p->max_replicas_per_node)
                listing_set(l, "Replicas", "%llu/%llu (max %llu per node)", running, desired,
                            (unsigned long long)p->max_replicas_per_node);
        else
                listing_set(l, "Replicas", "%llu/%llu", running, desired);
}

static void add_row(struct listing *l, const Swarm__Service *s, bool is_short)
{
        listing_add(l, doc_service(s));
        listing_set(l, "ID", "%s", text_id(&s->id, is_short).s);
        listing_set(l, "Name", "%s", s->spec->name);
        listing_set(l, "Mode", "%s", service_mode_name((enum service_mode)s->spec->mode));
        set_replicas(l, s);
        listing_set(l, "Image", "%s", image_of(s->spec));
        listing_set(l, "Ports", "%s", "");
}

static int compare_names(const void *x, const void *y)
{
        const Swarm__Service *a = *(const Swarm__Service *const *)x;
        const Swarm__Service *b = *(const Swarm__Service *const *)y;

        return strcmp(a->spec->name, b->spec->name);
}

/* All services of the answer, by name; they stay the answer's. */
static Swarm__Service **collect(const struct responses *parts, size_t *ret_n)
{
        Swarm__Service **all = NULL;
        size_t n = 0;

        for (size_t i = 0; i < parts->n; i++) {
                const Swarm__Response *part = parts->v[i];

                if (part->kind_case != SWARM__RESPONSE__KIND_SERVICES)
                        continue;
                all = xreallocarray(all, n + part->services->n_services + 1, sizeof(*all));
                for (size_t k = 0; k < part->services->n_services; k++)
                        if (part->services->services[k]->spec)
                                all[n++] = part->services->services[k];
        }
        if (n)
                qsort(all, n, sizeof(*all), compare_names);
        *ret_n = n;
        return all;
}

static int print_list(struct ctl *ctl, const struct args *args, struct listing *l,
                      const struct responses *parts)
{
        const bool is_short = !args_on(args, "no-trunc");
        const bool is_quiet = args_on(args, "quiet") && !args_text(args, "format");
        _cleanup_buf_ struct buf out = {0};
        struct err err = {0};
        size_t n;
        _cleanup_free_ Swarm__Service **all = collect(parts, &n);

        for (size_t i = 0; i < n; i++) {
                if (is_quiet)
                        buf_printf(&out, "%s\n", text_id(&all[i]->id, is_short).s);
                else
                        add_row(l, all[i], is_short);
        }
        if (!is_quiet && listing_print(l, &out, &err) < 0)
                return ctl_usage(ctl, "%s", err.text);
        output_flush(&out);
        return CLIENT_EXIT_DONE;
}

int run_service_ls(struct ctl *ctl, const struct args *args)
{
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__ListRequest list = SWARM__LIST_REQUEST__INIT;
        _cleanup_filters_ struct filters filters = {0};
        _cleanup_responses_ struct responses parts = {0};
        _cleanup_listing_ struct listing *l = NULL;
        struct err err = {0};

        if (listing_new(columns, args_text(args, "format"), &l, &err) < 0)
                return ctl_usage(ctl, "%s", err.text);
        int r = filters_read(ctl, args, filter_service_keys, &filters);
        if (r)
                return r;
        list.filters = filters.v;
        list.n_filters = filters.n;
        q.kind_case = SWARM__REQUEST__KIND_SERVICE_LIST;
        q.service_list = &list;
        r = list_call(ctl, &q, &parts);
        return r ? r : print_list(ctl, args, l, &parts);
}

/* --- inspect ------------------------------------------------------------------------------------
 */
int run_service_inspect(struct ctl *ctl, const struct args *args)
{
        const bool is_pretty = args_on(args, "pretty");
        _cleanup_inspection_ struct inspection in;
        _cleanup_buf_ struct buf out = {0};
        struct err err = {0};
        int r = 0;

        if (is_pretty && args_text(args, "format"))
                return ctl_usage(ctl, "--format is incompatible with --pretty");
        inspection_init(&in);
        for (size_t i = 0; i < args->n_rest; i++) {
                Swarm__Response *response;
                Swarm__Service *service;
                int one = wait_get_service(ctl, args->rest[i], NULL, &response, &service);

                if (one) {
                        r = one;
                        continue;
                }
                if (is_pretty && out.len)
                        buf_putc(&out, '\n');
                if (is_pretty)
                        pretty_service(service, time_now().wall_ms, &out);
                else
                        inspection_add(&in, doc_service(service));
                wire_free(response);
        }
        if (!is_pretty && inspection_print(&in, args_text(args, "format"), &out, &err) < 0)
                return ctl_usage(ctl, "%s", err.text);
        output_flush(&out);
        return r;
}
