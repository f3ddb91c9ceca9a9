/* Health checks from flags: at most one kind of check, and its times. */
#include <errno.h>
#include <string.h>

#include "shared/base/mem.h"
#include "shared/base/parse.h"
#include "shared/base/str.h"
#include "shared/model/model.h"
#include "swarmctl/cmd/spec_internal.h"

/* A port from 1 to 65535 of n characters. */
static int parse_port(const char *s, size_t n, uint32_t *ret)
{
        _cleanup_free_ char *text = xstrndup(s, n);
        uint64_t port;

        if (parse_u64(text, &port) < 0 || port < 1 || port > 65535)
                return -EINVAL;
        *ret = (uint32_t)port;
        return 0;
}

static void set_kind(Swarm__Health *h, enum health_type type, const char *cmd, const char *path)
{
        char *list[2] = {(char *)(uintptr_t)cmd, NULL};

        h->type = type;
        h->port = 0;
        edit_set_strs(&h->cmd, &h->n_cmd, list);
        edit_str(&h->path, path);
}

static void set_off(Swarm__Health *h)
{
        set_kind(h, HEALTH_NONE, NULL, "");
        h->interval_ms = h->timeout_ms = h->start_period_ms = h->start_interval_ms = 0;
        h->retries = 0;
}

static int set_http(Swarm__Health *h, const char *s, struct err *err)
{
        size_t n = strcspn(s, "/");
        uint32_t port;

        if (parse_port(s, n, &port) < 0)
                return err_set(err, EINVAL,
                               "invalid value \"%s\" for --health-http: must be PORT/PATH", s);
        set_kind(h, HEALTH_HTTP, NULL, s[n] ? s + n : "/");
        h->port = port;
        return 0;
}

static int set_tcp(Swarm__Health *h, const char *s, struct err *err)
{
        uint32_t port;

        if (parse_port(s, strlen(s), &port) < 0)
                return err_set(err, EINVAL,
                               "invalid value \"%s\" for --health-tcp: must be a port, 1 to 65535",
                               s);
        set_kind(h, HEALTH_TCP, NULL, "");
        h->port = port;
        return 0;
}

static bool any_time(const struct args *a)
{
        return args_is_set(a, "health-interval") || args_is_set(a, "health-timeout") ||
               args_is_set(a, "health-retries") || args_is_set(a, "health-start-period") ||
               args_is_set(a, "health-start-interval");
}

static int apply_times(Swarm__Health *h, const struct args *a, struct err *err)
{
        static const struct {
                const char *flag;
                size_t offset;
        } times[] = {
                {"health-interval", offsetof(Swarm__Health, interval_ms)},
                {"health-timeout", offsetof(Swarm__Health, timeout_ms)},
                {"health-start-period", offsetof(Swarm__Health, start_period_ms)},
                {"health-start-interval", offsetof(Swarm__Health, start_interval_ms)},
        };

        for (size_t i = 0; i < ARRAY_SIZE(times); i++)
                if (args_is_set(a, times[i].flag))
                        *(int64_t *)(void *)((char *)h + times[i].offset) =
                                args_get(a, times[i].flag)->number;
        if (args_is_set(a, "health-retries")) {
                const struct flag_value *v = args_get(a, "health-retries");

                if (v->number > UINT32_MAX)
                        return err_set(err, EINVAL,
                                       "invalid value \"%s\" for --health-retries: out of range",
                                       v->text);
                h->retries = (uint32_t)v->number;
        }
        return 0;
}

int spec_apply_health(Swarm__ContainerSpec *c, const struct args *a, struct err *err)
{
        const char *cmd = args_text(a, "health-cmd"), *http = args_text(a, "health-http");
        const char *tcp = args_text(a, "health-tcp");
        const bool off = args_on(a, "no-healthcheck");
        const int kinds = (cmd != NULL) + (http != NULL) + (tcp != NULL);
        Swarm__Health *h;
        int r = 0;

        if (off && (kinds || any_time(a)))
                return err_set(err, EINVAL, "--no-healthcheck conflicts with --health-* flags");
        if (kinds > 1)
                return err_set(err, EINVAL,
                               "only one of --health-cmd, --health-http and --health-tcp may be "
                               "given");
        if (!off && !kinds && !any_time(a))
                return 0;
        h = EDIT_SUB(c->health, Swarm__Health, swarm__health__init);
        if (off)
                set_off(h);
        else if (cmd && *cmd)
                set_kind(h, HEALTH_SHELL, cmd, "");
        else if (cmd)
                set_kind(h, HEALTH_DEFAULT, NULL, "");
        else if (http)
                r = set_http(h, http, err);
        else if (tcp)
                r = set_tcp(h, tcp, err);
        else if (h->type == HEALTH_NONE)
                set_kind(h, HEALTH_DEFAULT, NULL, ""); /* a time for it: it is wanted again */
        return r < 0 ? r : apply_times(h, a, err);
}
