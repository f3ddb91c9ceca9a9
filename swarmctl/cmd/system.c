/* Commands of one word, about the cluster as a whole: events, info, version. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "shared/base/mem.h"
#include "shared/base/parse.h"
#include "shared/base/str.h"
#include "shared/base/time.h"
#include "shared/wire/wire.h"
#include "swarmctl/cmd/cmd.h"
#include "swarmctl/cmd/list.h"
#include "swarmctl/cmd/since.h"
#include "swarmctl/output/output.h"
#include "version.h"

/* "{{json .}}" is what "json" means where one object is printed a line. */
static const char *object_format(const char *format)
{
        return str_is_equal(format, "json") ? "{{json .}}" : format;
}

/* Prints an object, which is taken, by a template. Returns an exit code. */
static int print_object(struct ctl *ctl, const char *format, json_t *take_doc)
{
        _cleanup_inspection_ struct inspection docs;
        _cleanup_buf_ struct buf out = {0};
        struct err err = {0};

        inspection_init(&docs);
        inspection_add(&docs, take_doc);
        if (inspection_print(&docs, object_format(format), &out, &err) < 0)
                return ctl_usage(ctl, "%s", err.text);
        output_flush(&out);
        return CLIENT_EXIT_DONE;
}

/* --- info ----------------------------------------------------------------------------------------
 */
static int ask(struct ctl *ctl, Swarm__Request__KindCase kind, Swarm__Response__KindCase expected,
               Swarm__Response **ret)
{
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__Empty empty = SWARM__EMPTY__INIT;

        q.kind_case = kind;
        q.info = &empty; /* every kind asked for here is Empty */
        int r = ctl_call(ctl, &q, ret);
        if (r == 0 && (*ret)->kind_case != expected) {
                wire_free(*ret);
                *ret = NULL;
                return ctl_fail(ctl, CLIENT_EXIT_REFUSED,
                                "the manager's answer is of another kind");
        }
        return r;
}

static void put_text(struct buf *out, const char *title, const char *text)
{
        buf_printf(out, "%-20s", title);
        text_put(out, text);
        buf_putc(out, '\n');
}

static void put_count(struct buf *out, const char *title, uint64_t n)
{
        buf_printf(out, "%-20s%" PRIu64 "\n", title, n);
}

static void put_use(struct buf *out, const char *title, const char *reserved, const char *capacity)
{
        buf_printf(out, "%-20s%s of %s reserved\n", title, reserved, capacity);
}

static void put_duration(struct buf *out, const char *title, int64_t ms)
{
        char text[FORMAT_MAX];

        put_text(out, title, format_duration_ms(ms, text));
}

static void put_resources(struct buf *out, const Swarm__Info *i)
{
        const Swarm__Resources *c = i->capacity, *r = i->reserved;
        char reserved[FORMAT_MAX], capacity[FORMAT_MAX];

        if (!c || !r)
                return;
        put_use(out, "CPUs:", format_cpu(r->nano_cpus, reserved),
                format_cpu(c->nano_cpus, capacity));
        put_use(out, "Memory:", format_size(r->memory_bytes, reserved),
                format_size(c->memory_bytes, capacity));
}

static void put_settings(struct buf *out, const Swarm__ClusterSettings *s)
{
        if (!s)
                return;
        put_duration(out, "Heartbeat:", s->heartbeat_ms);
        put_duration(out, "Suspect after:", s->suspect_ms);
        put_duration(out, "Down after:", s->down_ms);
        put_duration(out, "Mass failure wait:", s->mass_failure_wait_ms);
        buf_printf(out, "%-20s%" PRId64 "\n", "Task history:", s->task_history_limit);
        put_text(out, "Autolock:", s->autolock ? "true" : "false");
}

static void put_info(struct buf *out, const Swarm__Info *i, const Swarm__Cluster *c)
{
        put_text(out, "Cluster ID:", text_id(&i->cluster_id, false).s);
        put_text(out, "Node ID:", text_id(&i->node_id, false).s);
        put_text(out, "Server version:", i->version);
        put_text(out, "Leader:", i->leader);
        put_text(out, "Address:", i->address);
        buf_printf(out, "%-20s%" PRIu64 " (%" PRIu64 " reachable)\n", "Managers:", i->managers,
                   i->managers_reachable);
        buf_printf(out, "%-20s%" PRIu64 " (%" PRIu64 " ready)\n", "Nodes:", i->nodes,
                   i->nodes_ready);
        put_count(out, "Services:", i->services);
        buf_printf(out, "%-20s%" PRIu64 " (%" PRIu64 " running)\n", "Tasks:", i->tasks,
                   i->tasks_running);
        put_count(out, "Images:", i->images);
        put_resources(out, i);
        put_settings(out, c->settings);
        put_count(out, "Log index:", i->last_index);
}

static int run_info(struct ctl *ctl, const struct args *args)
{
        const char *format = args_text(args, "format");
        Swarm__Response *info = NULL, *cluster = NULL;
        _cleanup_buf_ struct buf out = {0};
        int r = ask(ctl, SWARM__REQUEST__KIND_INFO, SWARM__RESPONSE__KIND_INFO, &info);

        if (r == 0)
                r = ask(ctl, SWARM__REQUEST__KIND_CLUSTER_GET, SWARM__RESPONSE__KIND_CLUSTER,
                        &cluster);
        if (r == 0 && format) {
                r = print_object(ctl, format, doc_info(info->info, cluster->cluster));
        } else if (r == 0) {
                put_info(&out, info->info, cluster->cluster);
                output_flush(&out);
                if (*info->info->warning)
                        ctl_warn(ctl, "%s", info->info->warning);
        }
        wire_free(info);
        wire_free(cluster);
        return r;
}

/* --- version -------------------------------------------------------------------------------------
 */
/* The client's version is told even when there is no manager; that is a failure all the same. */
static int run_version(struct ctl *ctl, const struct args *args)
{
        const char *format = args_text(args, "format");
        _cleanup_buf_ struct buf out = {0};
        Swarm__Response *info = NULL;
        int r;

        if (!format)
                printf("%-20s%s\n", "Client version:", SWARM_VERSION);
        r = ask(ctl, SWARM__REQUEST__KIND_INFO, SWARM__RESPONSE__KIND_INFO, &info);
        const Swarm__Info *server = r == 0 ? info->info : NULL;
        if (format) {
                int printed = print_object(ctl, format, doc_version(SWARM_VERSION, server));

                r = r ? r : printed;
        } else if (server) {
                put_text(&out, "Server version:", server->version);
                output_flush(&out);
        }
        wire_free(info);
        return r;
}

/* --- events --------------------------------------------------------------------------------------
 */
static void put_event(struct buf *out, const Swarm__Event *e)
{
        char time[TEXT_TIME_MAX];
        const char *separator = "";

        buf_printf(out, "%s ", text_time(e->time_ms, time));
        text_put(out, e->type);
        buf_putc(out, ' ');
        text_put(out, e->action);
        buf_putc(out, ' ');
        text_put(out, e->id);
        buf_puts(out, " (");
        for (size_t i = 0; i < e->n_attributes; i++) {
                buf_puts(out, separator);
                text_put(out, e->attributes[i]->key);
                buf_putc(out, '=');
                text_put(out, e->attributes[i]->value);
                separator = ", ";
        }
        if (*e->name) {
                buf_printf(out, "%sname=", separator);
                text_put(out, e->name);
        }
        buf_puts(out, ")\n");
}

static int print_event(struct ctl *ctl, const char *format, const Swarm__Event *e)
{
        _cleanup_buf_ struct buf out = {0};

        if (format)
                return print_object(ctl, format, doc_event(e));
        put_event(&out, e);
        output_flush(&out);
        return CLIENT_EXIT_DONE;
}

/* Events that are followed. */
struct following {
        struct ctl *ctl;
        Swarm__Request *request;
        struct client_stream *stream;
        const char *format;
        int64_t last_ms;  /* of the newest event, or from when on they were asked for; 0: neither */
        uint32_t n, skip; /* events that bear it; those of them that come a second time */
};

/* After a lost connection. A manager that has restarted knows of no event before. */
static int go_on(struct following *f, struct err *err)
{
        const int64_t lost_ms = time_now().mono_ms;
        char time[FORMAT_MAX];

        f->request->events->since_ms = f->last_ms;
        f->skip = f->n;
        int r = ctl_stream_reopen(f->ctl, f->request, "events", err, &f->stream);
        if (r == 0)
                ctl_warn(f->ctl, "the manager was not reached for %s: events may be missing",
                         format_duration_ms(time_now().mono_ms - lost_ms, time));
        return r;
}

static int take_event(struct following *f, const Swarm__Event *e)
{
        if (e->time_ms == f->last_ms && f->skip > 0) {
                f->skip--;
                return 0;
        }
        if (e->time_ms > f->last_ms) {
                f->last_ms = e->time_ms;
                f->n = 0;
        }
        f->n++;
        f->skip = 0;
        return print_event(f->ctl, f->format, e);
}

static int follow_events(struct following *f)
{
        int exit_code = 0;

        while (exit_code == 0 && !ferror(stdout)) {
                Swarm__Response *response;
                struct err err = {0};
                int r = ctl_stream_next(f->ctl, f->stream, CLIENT_NO_TIMEOUT, &response, &err);

                if (r == 0)
                        break;
                if (r == -ENOTCONN) {
                        exit_code = go_on(f, &err);
                        continue;
                }
                if (r < 0)
                        return ctl_fail(f->ctl, (int)client_exit_code(r), "%s", err.text);
                if (response->kind_case == SWARM__RESPONSE__KIND_EVENT)
                        exit_code = take_event(f, response->event);
                wire_free(response);
        }
        return exit_code;
}

/* A time flag in ms, at least 1; 0 when it is not given. Returns 0 or an exit code. */
static int read_time(struct ctl *ctl, const struct args *args, const char *flag, int64_t *ret_ms)
{
        const char *text = args_text(args, flag);
        int64_t us = 0;

        if (text && since_parse(text, time_now().wall_ms * 1000, &us) < 0)
                return ctl_usage(ctl,
                                 "invalid value \"%s\" for --%s: must be a time such as "
                                 "2026-01-31T13:00:00Z or 10m",
                                 text, flag);
        *ret_ms = text ? MAX(us / 1000, 1) : 0;
        return 0;
}

static int run_events(struct ctl *ctl, const struct args *args)
{
        const char *format = args_text(args, "format");
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__EventsRequest m = SWARM__EVENTS_REQUEST__INIT;
        _cleanup_filters_ struct filters filters = {0};
        struct following f = {.ctl = ctl, .format = format};
        struct template *template = NULL;
        struct err err = {0};
        int r = read_time(ctl, args, "since", &m.since_ms);

        if (r == 0)
                r = read_time(ctl, args, "until", &m.until_ms);
        if (r == 0)
                r = filters_read(ctl, args, filter_event_keys, &filters);
        if (r)
                return r;
        if (format && template_parse(object_format(format), &template, &err) < 0)
                return ctl_usage(ctl, "%s", err.text);
        template_free(template);
        m.filters = filters.v;
        m.n_filters = filters.n;
        q.kind_case = SWARM__REQUEST__KIND_EVENTS;
        q.events = &m;
        f.request = &q;
        f.last_ms = m.since_ms;
        r = ctl_stream_open(ctl, &q, &f.stream);
        if (r)
                return r;
        r = follow_events(&f);
        client_stream_close(f.stream);
        return r;
}

/* --- the table -----------------------------------------------------------------------------------
 */
static const struct flag format_flags[] = {
        {"format", 'f', FLAG_STRING, "json or a template", NULL},
        {0},
};

static const struct flag events_flags[] = {
        {"filter", 'f', FLAG_LIST, "Only these: type=, event=, service=, node=", NULL},
        {"format", 0, FLAG_STRING, "json or a template", NULL},
        {"since", 0, FLAG_STRING, "From this time on (a time, or how long ago)", NULL},
        {"until", 0, FLAG_STRING, "End at this time", NULL},
        {0},
};

#define COMMAND(verb_, summary_, flags_, run_)                                   \
        {                                                                        \
                .noun = "", .verb = (verb_), .usage = "", .summary = (summary_), \
                .flags = {{flags_}}, .run = run_                                 \
        }

const struct command cmd_system[] = {
        COMMAND("events", "Show what happens in the cluster", events_flags, run_events),
        COMMAND("info", "Show the cluster as a whole", format_flags, run_info),
        COMMAND("version", "Show the versions of swarmctl and the manager", format_flags,
                run_version),
        {0},
};
