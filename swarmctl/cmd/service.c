/* The commands of the noun "service" that change services, and the noun's table. What shows them is
 * in service_show.c. */
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "shared/base/mem.h"
#include "shared/base/parse.h"
#include "shared/base/rng.h"
#include "shared/base/str.h"
#include "shared/base/time.h"
#include "shared/wire/wire.h"
#include "swarmctl/cmd/cmd.h"
#include "swarmctl/cmd/logs.h"
#include "swarmctl/cmd/service_show.h"
#include "swarmctl/cmd/spec_internal.h"
#include "swarmctl/cmd/tasks.h"
#include "swarmctl/cmd/wait.h"
#include "swarmctl/output/output.h"

#define SCALE_MAX         1024 /* services of one command */
#define MADE_NAME_DIGITS  6
#define MADE_NAME_IMAGE_N 40 /* of the image's name, in the name of a service without one */

static void say(const char *line)
{
        _cleanup_buf_ struct buf out = {0};

        text_put(&out, line);
        buf_putc(&out, '\n');
        output_flush(&out);
}

/* --- create -------------------------------------------------------------------------------------
 */
/* "nginx-k3x9f2" for library/nginx:1.27: a service needs a name, the user need not give one. */
static char *make_name(const char *image)
{
        static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";
        const char *slash = strrchr(image, '/'), *base = slash ? slash + 1 : image;
        char made[MADE_NAME_DIGITS + 1] = {0};
        struct rng rng = {0};
        size_t n = 0;

        while (n < MADE_NAME_IMAGE_N && base[n] && !strchr(":@", base[n]))
                n++;
        if (getrandom(&rng.state, sizeof(rng.state), 0) < 0)
                rng.state = (uint64_t)time_mono_us();
        for (size_t i = 0; i < MADE_NAME_DIGITS; i++)
                made[i] = digits[rng_below(&rng, sizeof(digits) - 1)];
        char *name = xasprintf("%.*s-%s", (int)n, base, made);
        if (!name_is_valid(name)) {
                free(name);
                name = xasprintf("service-%s", made);
        }
        return name;
}

static void set_command(Swarm__ServiceSpec *spec, const struct args *args)
{
        Swarm__ContainerSpec *c = spec->task->container;

        edit_str(&c->image, args->rest[0]);
        edit_set_strs(&c->args, &c->n_args, args->rest + 1);
        if (str_is_empty(spec->name)) {
                _cleanup_free_ char *name = make_name(args->rest[0]);

                edit_str(&spec->name, name);
        }
}

static int send_create(struct ctl *ctl, Swarm__ServiceSpec *spec, struct id_text *ret)
{
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__Response *response = NULL;

        q.kind_case = SWARM__REQUEST__KIND_SERVICE_CREATE;
        q.service_create = spec;
        int r = ctl_call(ctl, &q, &response);
        if (r)
                return r;
        if (response->kind_case == SWARM__RESPONSE__KIND_CREATED) {
                for (size_t i = 0; i < response->created->n_warnings; i++)
                        ctl_warn(ctl, "%s", response->created->warnings[i]);
                *ret = text_id(&response->created->id, false);
        }
        wire_free(response);
        return 0;
}

/* Of spec_apply: what the command line says wrong, or what the service or a file is not. */
static int fail_spec(struct ctl *ctl, const char *service, const struct err *err)
{
        _cleanup_free_ char *text =
                *service ? xasprintf("service %s: %s", service, err->text) : xstrdup(err->text);

        return err->code == EINVAL ? ctl_usage(ctl, "%s", text)
                                   : ctl_fail(ctl, CLIENT_EXIT_REFUSED, "%s", text);
}

static int run_create(struct ctl *ctl, const struct args *args)
{
        Swarm__ServiceSpec *spec = spec_begin();
        struct wait_config wait = {.done = "created"};
        struct id_text id = {""};
        struct err err = {0};

        if (spec_apply(spec, args, &err) < 0) {
                wire_free(spec);
                return fail_spec(ctl, "", &err);
        }
        set_command(spec, args);
        _cleanup_free_ char *name = xstrdup(spec->name);
        int r = send_create(ctl, spec, &id);
        wire_free(spec);
        if (r)
                return r;
        say(id.s);
        wait.name = name;
        return wait_converged(ctl, args, id.s, &wait);
}

/* --- update, rollback ---------------------------------------------------------------------------
 */
static int64_t update_started_ms(const Swarm__Service *service)
{
        return service->update_status ? service->update_status->started_ms : 0;
}

static int send_update(struct ctl *ctl, char *ref, const Swarm__Service *service,
                       Swarm__ServiceSpec *spec)
{
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__ServiceUpdate u = SWARM__SERVICE_UPDATE__INIT;

        u.ref = ref;
        u.version = service->version;
        u.spec = spec;
        u.rollback = !spec;
        q.kind_case = SWARM__REQUEST__KIND_SERVICE_UPDATE;
        q.service_update = &u;
        return ctl_call(ctl, &q, NULL);
}

/* From the spec in force to the one that the flags ask for. */
static int update_spec(struct ctl *ctl, const struct args *args, const Swarm__Service *service)
{
        Swarm__ServiceSpec *spec = wire_dup(service->spec);
        struct err err = {0};
        int r;

        if (spec_apply(spec, args, &err) < 0)
                r = fail_spec(ctl, args->rest[0], &err);
        else
                r = send_update(ctl, args->rest[0], service, spec);
        wire_free(spec);
        return r;
}

static int change(struct ctl *ctl, const struct args *args, bool is_rollback)
{
        Swarm__Response *response;
        Swarm__Service *service;
        int r = wait_get_service(ctl, args->rest[0], NULL, &response, &service);

        if (r)
                return r;
        _cleanup_free_ char *name = xstrdup(service->spec->name);
        const struct wait_config wait = {.name = name,
                                         .done = is_rollback ? "rollback accepted" : "updated",
                                         .is_rollback = is_rollback,
                                         .before_started_ms = update_started_ms(service)};
        struct id_text id = text_id(&service->id, false);
        r = is_rollback ? send_update(ctl, args->rest[0], service, NULL)
                        : update_spec(ctl, args, service);
        wire_free(response);
        if (r)
                return r;
        say(args->rest[0]);
        return wait_converged(ctl, args, id.s, &wait);
}

static int run_rollback(struct ctl *ctl, const struct args *args)
{
        return change(ctl, args, true);
}

static int run_update(struct ctl *ctl, const struct args *args)
{
        static const char *const along[] = {"rollback", "detach", "quiet", "host", "timeout", NULL};

        if (!args_on(args, "rollback"))
                return change(ctl, args, false);
        for (size_t i = 0; i < args->n_values; i++) {
                const struct flag_value *v = &args->values[i];
                size_t k = 0;

                while (along[k] && !str_is_equal(along[k], v->flag->name))
                        k++;
                if (v->is_set && !along[k])
                        return ctl_usage(ctl,
                                         "other flags may not be combined with --rollback: --%s",
                                         v->flag->name);
        }
        return change(ctl, args, true);
}

/* --- scale --------------------------------------------------------------------------------------
 */
/* The services of one `scale`, as the message has them and as they were. */
struct scaling {
        Swarm__ScaleRequest__Item items[SCALE_MAX], *list[SCALE_MAX];
        int64_t before_started_ms[SCALE_MAX];
        size_t n;
};

/* NAME=N */
static int read_scale(struct ctl *ctl, const char *text, struct scaling *s)
{
        Swarm__ScaleRequest__Item *item = &s->items[s->n];
        const char *value;
        size_t len;

        if (parse_key_value(text, &len, &value) < 0)
                return ctl_usage(ctl, "invalid scale specifier '%s': must be SERVICE=REPLICAS",
                                 text);
        swarm__scale_request__item__init(item);
        if (parse_u64(value, &item->replicas) < 0)
                return ctl_usage(ctl, "%s: invalid replicas value %s", text, value);
        item->ref = xstrndup(text, len);
        s->list[s->n++] = item;
        return 0;
}

static int note_before(struct ctl *ctl, struct scaling *s)
{
        for (size_t i = 0; i < s->n; i++) {
                Swarm__Response *response;
                Swarm__Service *service;
                int r = wait_get_service(ctl, s->items[i].ref, NULL, &response, &service);

                if (r)
                        return r;
                s->before_started_ms[i] = update_started_ms(service);
                wire_free(response);
        }
        return 0;
}

static int send_scale(struct ctl *ctl, struct scaling *s)
{
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__ScaleRequest m = SWARM__SCALE_REQUEST__INIT;

        m.items = s->list;
        m.n_items = s->n;
        q.kind_case = SWARM__REQUEST__KIND_SERVICE_SCALE;
        q.service_scale = &m;
        int r = ctl_call(ctl, &q, NULL);
        for (size_t i = 0; r == 0 && i < s->n; i++) {
                _cleanup_free_ char *line = xasprintf("%s scaled to %llu", s->items[i].ref,
                                                      (unsigned long long)s->items[i].replicas);

                say(line);
        }
        return r;
}

static int scale(struct ctl *ctl, const struct args *args, struct scaling *s)
{
        int r = 0;

        for (size_t i = 0; r == 0 && i < args->n_rest; i++)
                r = read_scale(ctl, args->rest[i], s);
        if (r == 0)
                r = note_before(ctl, s);
        if (r == 0)
                r = send_scale(ctl, s);
        for (size_t i = 0; r == 0 && i < s->n; i++) {
                const struct wait_config wait = {.name = s->items[i].ref,
                                                 .done = "scaled",
                                                 .before_started_ms = s->before_started_ms[i]};

                r = wait_converged(ctl, args, s->items[i].ref, &wait);
        }
        return r;
}

static int run_scale(struct ctl *ctl, const struct args *args)
{
        if (args->n_rest > SCALE_MAX)
                return ctl_usage(ctl, "more than %d services", SCALE_MAX);
        struct scaling *s = xnew(struct scaling);
        int r = scale(ctl, args, s);
        for (size_t i = 0; i < s->n; i++)
                free(s->items[i].ref);
        free(s);
        return r;
}

/* --- rm -----------------------------------------------------------------------------------------
 */
static int run_rm(struct ctl *ctl, const struct args *args)
{
        int r = 0;

        for (size_t i = 0; i < args->n_rest; i++) {
                Swarm__Request q = SWARM__REQUEST__INIT;
                Swarm__RefList refs = SWARM__REF_LIST__INIT;

                refs.refs = &args->rest[i];
                refs.n_refs = 1;
                q.kind_case = SWARM__REQUEST__KIND_SERVICE_REMOVE;
                q.service_remove = &refs;
                int one = ctl_call(ctl, &q, NULL);
                if (one == 0)
                        say(args->rest[i]);
                r = one ? one : r;
        }
        return r;
}

static int run_ps(struct ctl *ctl, const struct args *args)
{
        return tasks_run_ps(ctl, args, args->rest, args->n_rest, false);
}

/* --- the table ----------------------------------------------------------------------------------
 */
const struct command cmd_service[] = {
        {.noun = "service",
         .verb = "create",
         .usage = "IMAGE [COMMAND] [ARG...]",
         .summary = "Create a new service",
         .args_min = 1,
         .args_max = -1,
         .stop_at_first = true,
         .flags = {{service_common_flags, service_create_flags, service_absent_flags}},
         .run = run_create},
        {.noun = "service",
         .verb = "inspect",
         .usage = "SERVICE [SERVICE...]",
         .summary = "Show all there is to know about services",
         .args_min = 1,
         .args_max = -1,
         .flags = {{service_inspect_flags}},
         .run = run_service_inspect},
        {.noun = "service",
         .verb = "logs",
         .usage = "SERVICE|TASK",
         .summary = "Show the logs of a service or task",
         .args_min = 1,
         .args_max = 1,
         .flags = {{logs_flags}},
         .run = run_service_logs},
        {.noun = "service",
         .verb = "ls",
         .alias = "list",
         .summary = "List services",
         .flags = {{service_ls_flags}},
         .run = run_service_ls},
        {.noun = "service",
         .verb = "ps",
         .usage = "SERVICE [SERVICE...]",
         .summary = "List the tasks of services",
         .args_min = 1,
         .args_max = -1,
         .flags = {{tasks_flags}},
         .run = run_ps},
        {.noun = "service",
         .verb = "rm",
         .alias = "remove",
         .usage = "SERVICE [SERVICE...]",
         .summary = "Remove services",
         .args_min = 1,
         .args_max = -1,
         .run = run_rm},
        {.noun = "service",
         .verb = "rollback",
         .usage = "SERVICE",
         .summary = "Go back to a service's previous specification",
         .args_min = 1,
         .args_max = 1,
         .flags = {{wait_flags}},
         .run = run_rollback},
        {.noun = "service",
         .verb = "scale",
         .usage = "SERVICE=REPLICAS [SERVICE=REPLICAS...]",
         .summary = "Set the number of tasks of services",
         .args_min = 1,
         .args_max = -1,
         .flags = {{wait_flags}},
         .run = run_scale},
        {.noun = "service",
         .verb = "update",
         .usage = "SERVICE",
         .summary = "Update a service",
         .args_min = 1,
         .args_max = 1,
         .flags = {{service_common_flags, service_update_flags, service_absent_flags}},
         .run = run_update},
        {0},
};
