/* Waiting for a service to converge: see wait.h. What is told of it is decided in progress.c. */
#include "swarmctl/cmd/wait.h"

#include <errno.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "shared/base/mem.h"
#include "shared/base/time.h"
#include "shared/model/model.h"
#include "shared/wire/wire.h"
#include "swarmctl/cmd/progress.h"
#include "swarmctl/output/output.h"

const struct flag wait_flags[] = {
        {"detach", 'd', FLAG_BOOL, "Return at once, do not wait for the service to converge", NULL},
        {"quiet", 'q', FLAG_BOOL, "No progress", NULL},
        {0},
};

int wait_get_service(struct ctl *ctl, const char *ref, Swarm__Response **ret,
                     Swarm__Service **ret_service)
{
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__RefList refs = SWARM__REF_LIST__INIT;
        char *one = (char *)(uintptr_t)ref;
        int r;

        refs.refs = &one;
        refs.n_refs = 1;
        q.kind_case = SWARM__REQUEST__KIND_SERVICE_GET;
        q.service_get = &refs;
        r = ctl_call(ctl, &q, ret);
        if (r)
                return r;
        if ((*ret)->kind_case == SWARM__RESPONSE__KIND_SERVICES &&
            (*ret)->services->n_services == 1 && (*ret)->services->services[0]->spec) {
                *ret_service = (*ret)->services->services[0];
                return 0;
        }
        wire_free(*ret);
        return ctl_fail(ctl, CLIENT_EXIT_REFUSED,
                        "service %s: the manager's answer is of another kind", ref);
}

static unsigned terminal_columns(void)
{
        struct winsize w;

        return ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 ? w.ws_col : 0;
}

static struct progress *new_progress(const Swarm__ServiceSpec *spec, const struct wait_config *c,
                                     bool is_quiet)
{
        const Swarm__UpdateConfig *u = c->is_rollback ? spec->rollback : spec->update;
        const struct progress_config config = {
                .name = spec->name,
                .monitor_ms = u ? u->monitor_ms : DEFAULT_UPDATE_MONITOR_MS,
                .before_started_ms = c->before_started_ms,
                .is_rollback = c->is_rollback,
                .is_unwatched = u && u->failure_action == ACTION_CONTINUE,
                .is_terminal = !is_quiet && isatty(STDOUT_FILENO),
                .columns = terminal_columns(),
        };

        return progress_new(&config);
}

static int finish(struct ctl *ctl, const struct progress *p, enum progress_result result)
{
        if (result == PROGRESS_CONVERGED)
                return CLIENT_EXIT_DONE;
        return ctl_fail(ctl, CLIENT_EXIT_REFUSED, "%s", progress_reason(p));
}

static int follow(struct ctl *ctl, struct client_stream *s, struct progress *p, bool is_quiet)
{
        enum progress_result result = PROGRESS_GOES_ON;
        _cleanup_buf_ struct buf out = {0};
        int exit_code = 0;

        while (result == PROGRESS_GOES_ON) {
                int64_t wait_ms = progress_wait_ms(p, time_now().mono_ms);
                Swarm__Response *m = NULL;
                int r = ctl_stream_next(ctl, s, wait_ms < 0 ? CLIENT_NO_TIMEOUT : wait_ms, &m,
                                        &exit_code);

                if (r == -ECANCELED)
                        return exit_code;
                if (r == 0)
                        return ctl_fail(ctl, CLIENT_EXIT_REFUSED,
                                        "the manager has ended the watch of the service");
                if (r == 1 && m->kind_case != SWARM__RESPONSE__KIND_PROGRESS) {
                        wire_free(m);
                        continue;
                }
                result = progress_step(p, r == 1 ? m->progress : NULL, time_now().mono_ms, &out);
                wire_free(m);
                if (is_quiet)
                        buf_clear(&out);
                else
                        output_flush(&out);
        }
        return finish(ctl, p, result);
}

static int watch(struct ctl *ctl, const Swarm__ServiceSpec *spec, const struct wait_config *config,
                 bool is_quiet)
{
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__WatchService w = SWARM__WATCH_SERVICE__INIT;
        struct client_stream *s;

        w.ref = spec->name;
        q.kind_case = SWARM__REQUEST__KIND_SERVICE_WATCH;
        q.service_watch = &w;
        int r = ctl_stream_open(ctl, &q, &s);
        if (r)
                return r;
        struct progress *p = new_progress(spec, config, is_quiet);
        r = follow(ctl, s, p, is_quiet);
        progress_free(p);
        client_stream_close(s);
        return r;
}

int wait_converged(struct ctl *ctl, const struct args *args, const char *ref,
                   const struct wait_config *config)
{
        _cleanup_free_ char *text = NULL;
        Swarm__Response *response;
        Swarm__Service *service;

        if (args_on(args, "detach"))
                return CLIENT_EXIT_DONE;
        int r = wait_get_service(ctl, ref, &response, &service);
        if (r)
                return r;
        text = xasprintf("\nOperation continues in the background.\n"
                         "Use `swarmctl service ps %s` to check progress.\n",
                         service->spec->name);
        ctl_on_interrupt(text);
        r = watch(ctl, service->spec, config, args_on(args, "quiet"));
        ctl_on_interrupt(NULL);
        wire_free(response);
        return r;
}
