/* Probes of running containers, one watch each: see health.h. */
#include "agent/health/health.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/health/health_internal.h"
#include "shared/base/buf.h"
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
        bool has_complained;   /* a failure was told, and no success since */
        int64_t complain_ms;   /* mono: failures before are not told */
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

static void tell(struct watch *w, enum health_finding what, const char *text)
{
        struct health *h = w->owner;

        h->events.on_finding(h->events.arg, w->task, what, text);
}

static void on_passed(struct watch *w)
{
        bool is_news = !w->is_healthy || w->has_complained;

        w->failures = 0;
        w->is_healthy = true;
        w->has_complained = false;
        loop_timer_set(w->timer, next_delay(w));
        if (is_news)
                tell(w, HEALTH_PASSES, NULL);
}

static void on_failed(struct watch *w, const char *text)
{
        int64_t now_ms = time_now().mono_ms;

        if (counts(w) && ++w->failures >= w->spec->retries) {
                loop_timer_clear(w->timer);
                tell(w, HEALTH_IS_BROKEN, text);
                return;
        }
        loop_timer_set(w->timer, next_delay(w));
        if (now_ms < w->complain_ms)
                return;
        w->has_complained = true;
        w->complain_ms = now_ms + HEALTH_AGAIN_MS;
        tell(w, HEALTH_FAILS, text);
}

static void on_probed(struct watch *w, bool is_ok, const char *text)
{
        if (is_ok)
                on_passed(w);
        else
                on_failed(w, text);
}

/* --- commands ------------------------------------------------------------------------------------
 */
/* The command was not even tried: the supervisor is away or busy, or somebody lacks descriptors. A
 * container that has no room for one process more (-EAGAIN) is in trouble of its own. */
static bool is_our_own_trouble(int status)
{
        return status == -ENOTCONN || status == -EBUSY || status == -EMFILE || status == -ENFILE;
}

/* How a command failed, by its wait status (as a shell has it) or -errno; output: all it wrote. */
static char *describe_exec(const struct watch *w, int status, const char *output, size_t n)
{
        _cleanup_buf_ struct buf b = {0};

        if (status == -ETIME)
                buf_printf(&b, "timed out after %lld ms", (long long)w->spec->timeout_ms);
        else if (status < 0)
                buf_printf(&b, "cannot be run: %s", err_name(status));
        else
                buf_printf(&b, "exit %d", status);
        while (n > 0 && isspace((unsigned char)output[n - 1]))
                n--;
        if (n > 0)
                buf_puts(&b, ": ");
        for (size_t i = 0; i < n; i++)
                buf_putc(&b, output[i] ? output[i] : ' ');
        return text_clean(buf_str(&b), PROBE_TEXT_MAX);
}

static void on_exec(void *arg, int status, const char *output, size_t n)
{
        struct exec_probe *e = arg;
        struct watch *w = map_get_id(&e->owner->watches, e->task);

        if (w && w->life == e->life && is_our_own_trouble(status)) {
                loop_timer_set(w->timer, w->spec->interval_ms); /* that says nothing of it */
        } else if (w && w->life == e->life) {
                _cleanup_free_ char *text = describe_exec(w, status, output, n);

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
        w->complain_ms = is_known_healthy ? 0 : w->started_ms + HEALTH_QUIET_MS;
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
