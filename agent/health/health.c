/* Probes of running containers, one watch each: see health.h. */
#include "agent/health/health.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/health/health_internal.h"
#include "shared/base/map.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/base/time.h"
#include "shared/wire/wire.h"

struct watch {
        struct id task;
        struct health *owner;
        Swarm__Health *spec;
        bool is_healthy;       /* told */
        int64_t started_ms;    /* mono */
        int64_t next_first_ms; /* wait before the next probe, while it never was healthy */
        uint32_t failures;     /* in a row */
        struct loop_timer *timer;
        struct net_probe *net;
        uint64_t life;
};

/* An exec cannot be called back: its answer finds the watch by name, or finds it gone. */
struct exec_probe {
        struct health *owner;
        struct id task;
        uint64_t life;
};

struct health {
        struct loop *loop;
        struct runtime *runtime;
        struct health_events events;
        struct map watches;
        uint64_t lives; /* watches ever made: an answer to an earlier one is void */
};

static void probe(void *arg);

static int64_t age_ms(const struct watch *w)
{
        return time_now().mono_ms - w->started_ms;
}

/* When the next probe is due: often at first, at most an interval apart. */
static int64_t next_delay(struct watch *w)
{
        const Swarm__Health *s = w->spec;

        if (w->is_healthy)
                return s->interval_ms;
        if (age_ms(w) < s->start_period_ms)
                return MIN(s->start_interval_ms, s->interval_ms);
        int64_t delay = MIN(w->next_first_ms, s->interval_ms);
        w->next_first_ms = MIN(delay * 2, s->interval_ms);
        return delay;
}

/* A failure counts when the container had its start period, and one interval at the least. */
static bool counts(const struct watch *w)
{
        return w->is_healthy || age_ms(w) >= MAX(w->spec->start_period_ms, w->spec->interval_ms);
}

static void tell(struct watch *w, bool is_healthy, const char *text)
{
        struct health *h = w->owner;

        h->events.on_result(h->events.arg, w->task, is_healthy, text);
}

static void on_probed(struct watch *w, bool is_ok, const char *text)
{
        char why[PROBE_TEXT_MAX + 64];

        loop_timer_set(w->timer, next_delay(w));
        if (is_ok) {
                w->failures = 0;
                if (w->is_healthy)
                        return;
                w->is_healthy = true;
                loop_timer_set(w->timer, w->spec->interval_ms);
                tell(w, true, NULL);
                return;
        }
        if (!counts(w) || ++w->failures < w->spec->retries)
                return;
        snprintf(why, sizeof(why), "health check: %s", text);
        loop_timer_clear(w->timer);
        tell(w, false, why);
}

/* --- commands ------------------------------------------------------------------------------------
 */
/* The command was not even tried: the supervisor is away or busy, or somebody lacks descriptors. */
static bool is_our_own_trouble(int status)
{
        return status == -ENOTCONN || status == -EAGAIN || status == -EMFILE || status == -ENFILE;
}

static void on_exec(void *arg, int status, const char *output, size_t n)
{
        struct exec_probe *e = arg;
        struct watch *w = map_get_id(&e->owner->watches, e->task);
        char text[PROBE_TEXT_MAX];

        if (w && w->life == e->life && is_our_own_trouble(status)) {
                loop_timer_set(w->timer, w->spec->interval_ms); /* that says nothing of it */
        } else if (w && w->life == e->life) {
                if (status == -ETIME)
                        snprintf(text, sizeof(text), "timed out");
                else if (status < 0)
                        snprintf(text, sizeof(text), "%s", err_name(status));
                else
                        snprintf(text, sizeof(text), "exit %d%s%.*s", status, n ? ": " : "",
                                 (int)MIN(n, (size_t)160), n ? output : "");
                on_probed(w, status == 0, text);
        }
        free(e);
}

static void probe_command(struct watch *w)
{
        const Swarm__Health *s = w->spec;
        struct exec_probe *e = xnew(struct exec_probe);
        char **argv = NULL;

        if (s->type == HEALTH_SHELL) {
                strv_push(&argv, "/bin/sh");
                strv_push(&argv, "-c");
        }
        for (size_t i = 0; i < s->n_cmd; i++)
                strv_push(&argv, s->cmd[i]);
        *e = (struct exec_probe){w->owner, w->task, w->life};
        runtime_exec(w->owner->runtime, w->task, argv, s->timeout_ms, on_exec, e);
        strv_free(argv);
}

/* --- the network ---------------------------------------------------------------------------------
 */
static void on_net(void *arg, bool is_ok, const char *text)
{
        struct watch *w = arg;

        w->net = NULL;
        on_probed(w, is_ok, text);
}

static void probe_net(struct watch *w)
{
        const Swarm__Health *s = w->spec;
        _cleanup_close_ int netns = runtime_netns(w->owner->runtime, w->task);

        if (netns < 0) { /* it has just ended: its exit is on its way */
                loop_timer_set(w->timer, s->interval_ms);
                return;
        }
        w->net = net_probe_new(w->owner->loop, netns, (uint16_t)s->port,
                               s->type == HEALTH_HTTP ? s->path : NULL, s->timeout_ms, on_net, w);
}

static void probe(void *arg)
{
        struct watch *w = arg;

        if (w->spec->type == HEALTH_HTTP || w->spec->type == HEALTH_TCP)
                probe_net(w);
        else
                probe_command(w);
}

/* --- the module ----------------------------------------------------------------------------------
 */
struct health *health_new(struct loop *l, struct runtime *rt, const struct health_events *e)
{
        struct health *h = xnew(struct health);

        h->loop = l;
        h->runtime = rt;
        h->events = *e;
        h->watches = MAP_INIT(struct watch, task, MAP_KEY_ID);
        return h;
}

static void watch_free(struct watch *w)
{
        map_remove(&w->owner->watches, w);
        net_probe_free(w->net);
        loop_timer_free(w->timer);
        wire_free(w->spec);
        free(w);
}

void health_free(struct health *h)
{
        struct watch *w;

        if (!h)
                return;
        for (size_t i = 0; (w = map_next(&h->watches, &i)); i = 0)
                watch_free(w);
        map_done(&h->watches);
        free(h);
}

void health_watch(struct health *h, struct id task, const Swarm__Health *spec,
                  bool is_known_healthy)
{
        struct watch *w = xnew(struct watch);

        health_forget(h, task);
        w->task = task;
        w->owner = h;
        w->life = ++h->lives;
        w->spec = wire_dup(spec);
        w->is_healthy = is_known_healthy;
        w->started_ms = time_now().mono_ms;
        w->next_first_ms = HEALTH_FIRST_MS;
        w->timer = loop_timer_new(h->loop, probe, w);
        map_put(&h->watches, w);
        loop_timer_set(w->timer, is_known_healthy ? w->spec->interval_ms : HEALTH_FIRST_MS / 2);
}

void health_forget(struct health *h, struct id task)
{
        struct watch *w = map_get_id(&h->watches, task);

        if (w)
                watch_free(w);
}
