/* Waiting for a service to converge: see wait.h. What is told of it is decided in progress.c. */
#include "swarmctl/cmd/wait.h"

#include <errno.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "shared/base/mem.h"
#include "shared/base/parse.h"
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

int wait_get_service(struct ctl *ctl, const char *ref, const char *what, Swarm__Response **ret,
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
        r = what ? ctl_ask(ctl, &q, what, ret) : ctl_call(ctl, &q, ret);
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

/* A wait under way. */
struct wait {
        struct ctl *ctl;
        const struct wait_config *config;
        Swarm__Request *request;
        char *away; /* what to say when the manager cannot be reached */
        struct client_stream *stream;
        struct progress *progress;
        bool is_quiet;
};

/* Of a wait that has ended by an error of the stream. */
static int finish_failed(const struct wait *w, int r, const struct err *err)
{
        const char *name = w->config->name;
        char time[FORMAT_MAX];

        if (r == -ENOENT)
                return ctl_fail(w->ctl, CLIENT_EXIT_REFUSED, "service %s: was removed", name);
        if (r != -ETIMEDOUT)
                return ctl_fail(w->ctl, (int)client_exit_code(r), "service %s: %s", name,
                                err->text);
        _cleanup_free_ char *state = progress_state(w->progress);
        return ctl_fail(w->ctl, CLIENT_EXIT_TIMED_OUT, "service %s: not converged within %s: %s",
                        name, format_duration_ms(ctl_timeout(w->ctl), time), state);
}

static int finish(const struct wait *w, enum progress_result result)
{
        if (result == PROGRESS_CONVERGED)
                return CLIENT_EXIT_DONE;
        return ctl_fail(w->ctl, CLIENT_EXIT_REFUSED, "%s", progress_reason(w->progress));
}

/* The message, or NULL when only time has passed. */
static enum progress_result step(struct wait *w, const Swarm__Progress *m)
{
        _cleanup_buf_ struct buf out = {0};
        enum progress_result result = progress_step(w->progress, m, time_now().mono_ms, &out);

        if (!w->is_quiet)
                output_flush(&out);
        return result;
}

static int follow(struct wait *w)
{
        enum progress_result result = PROGRESS_GOES_ON;

        while (result == PROGRESS_GOES_ON) {
                const int64_t wait_ms = progress_wait_ms(w->progress, time_now().mono_ms);
                Swarm__Response *m = NULL;
                struct err err = {0};
                int r = ctl_stream_next(w->ctl, w->stream,
                                        wait_ms < 0 ? CLIENT_NO_TIMEOUT : wait_ms, &m, &err);

                if (r == 0)
                        r = err_set(&err, EPROTO, "the manager has ended the watch");
                if (r == -ENOTCONN) {
                        r = ctl_stream_reopen(w->ctl, w->request, w->away, &err, &w->stream);
                        if (r)
                                return r;
                        continue;
                }
                if (r < 0 && r != -EAGAIN)
                        return finish_failed(w, r, &err);
                if (r == -EAGAIN || m->kind_case == SWARM__RESPONSE__KIND_PROGRESS)
                        result = step(w, m ? m->progress : NULL);
                wire_free(m);
        }
        return finish(w, result);
}

static int watch(struct wait *w, const Swarm__Service *service)
{
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__WatchService watched = SWARM__WATCH_SERVICE__INIT;
        struct id_text id = text_id(&service->id, false);

        watched.ref = id.s;
        q.kind_case = SWARM__REQUEST__KIND_SERVICE_WATCH;
        q.service_watch = &watched;
        w->request = &q;
        int r = ctl_stream_open(w->ctl, &q, &w->stream);
        if (r)
                return r;
        w->progress = new_progress(service->spec, w->config, w->is_quiet);
        r = follow(w);
        progress_free(w->progress);
        client_stream_close(w->stream);
        return r;
}

int wait_converged(struct ctl *ctl, const struct args *args, const char *ref,
                   const struct wait_config *config)
{
        _cleanup_free_ char *interrupted =
                xasprintf("\nOperation continues in the background.\n"
                          "Use `swarmctl service ps %s` to check progress.\n",
                          config->name);
        _cleanup_free_ char *away = xasprintf(
                "service %s: %s, but the manager cannot be reached to follow its progress",
                config->name, config->done);
        struct wait w = {
                .ctl = ctl, .config = config, .away = away, .is_quiet = args_on(args, "quiet")};
        Swarm__Response *response;
        Swarm__Service *service;

        if (args_on(args, "detach"))
                return CLIENT_EXIT_DONE;
        ctl_on_interrupt(interrupted);
        int r = wait_get_service(ctl, ref, away, &response, &service);
        if (r == 0) {
                r = watch(&w, service);
                wire_free(response);
        }
        ctl_on_interrupt(NULL);
        return r;
}
