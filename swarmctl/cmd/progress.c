/* The end of the wait, and its plain lines: see progress.h. Frames for terminals are in
 * progress_frame.c. */
#include <string.h>

#include "shared/base/mem.h"
#include "shared/base/parse.h"
#include "shared/base/str.h"
#include "shared/model/model.h"
#include "shared/wire/wire.h"
#include "swarmctl/cmd/progress_internal.h"
#include "swarmctl/output/output.h"

#define NEVER_MS (-1)

struct progress *progress_new(const struct progress_config *config)
{
        struct progress *p = xnew(struct progress);

        p->config = *config;
        p->name = xstrdup(config->name);
        p->pending = xstrdup("");
        p->stable_ms = p->counted_ms = NEVER_MS;
        return p;
}

void progress_free(struct progress *p)
{
        if (!p)
                return;
        for (size_t i = 0; i < p->n_seen; i++)
                free(p->seen[i].label);
        wire_free(p->last);
        free(p->name);
        free(p->pending);
        free(p->reason);
        free(p->rollback);
        free(p);
}

const char *progress_reason(const struct progress *p)
{
        return p->reason ? p->reason : "";
}

/* The first of the tasks that do not run and say why. */
static bool put_waiting_task(const struct progress *p, struct buf *out)
{
        const Swarm__Task *tasks[PROGRESS_TASKS_MAX];
        const size_t n = progress_tasks(p->last, tasks);

        for (size_t i = 0; i < n; i++) {
                if (tasks[i]->state >= TASK_RUNNING || !*tasks[i]->error)
                        continue;
                _cleanup_free_ char *label = progress_label(p, tasks[i]);
                buf_printf(out, "; %s: %s", label, tasks[i]->error);
                return true;
        }
        return false;
}

char *progress_state(const struct progress *p)
{
        const Swarm__Progress *m = p->last;
        struct buf out = {0};

        if (!m)
                return xstrdup("the manager has not told of any progress");
        buf_printf(&out, "%llu of %llu tasks running", (unsigned long long)m->running,
                   (unsigned long long)m->desired);
        if (m->running == m->desired && m->stopping > 0)
                buf_printf(&out, ", %llu still stopping", (unsigned long long)m->stopping);
        if (m->running >= m->desired || put_waiting_task(p, &out))
                return buf_take_str(&out);
        if (*m->last_error)
                buf_printf(&out, "; %s: %s", *m->last_failed ? m->last_failed : "a task",
                           m->last_error);
        else if (*m->pending_reason)
                buf_printf(&out, "; pending: %s", m->pending_reason);
        return buf_take_str(&out);
}

/* --- what a message says ------------------------------------------------------------------------
 */
static enum update_state update_state(const struct progress *p, const Swarm__Progress *m,
                                      bool *ret_is_fresh)
{
        const Swarm__UpdateStatus *u = m->service ? m->service->update_status : NULL;

        *ret_is_fresh =
                u && u->state != UPDATE_NONE && u->started_ms != p->config.before_started_ms;
        return u ? (enum update_state)u->state : UPDATE_NONE;
}

static const char *update_message(const Swarm__Progress *m)
{
        const Swarm__UpdateStatus *u = m->service ? m->service->update_status : NULL;

        return u ? u->message : "";
}

static bool is_under_way(enum update_state s)
{
        return s == UPDATE_UPDATING || s == UPDATE_ROLLBACK_STARTED;
}

char *progress_label(const struct progress *p, const Swarm__Task *t)
{
        if (t->slot)
                return xasprintf("%s.%llu", p->name, (unsigned long long)t->slot);
        if (*t->node_hostname)
                return xasprintf("%s.%s", p->name, t->node_hostname);
        return xasprintf("%s.%s", p->name, text_id(&t->node_id, true).s);
}

static bool is_newer(const Swarm__Task *a, const Swarm__Task *b)
{
        if (a->created_ms != b->created_ms)
                return a->created_ms > b->created_ms;
        return a->spec_version > b->spec_version;
}

static bool is_same_place(const Swarm__Task *a, const Swarm__Task *b)
{
        return a->slot == b->slot &&
               (a->slot || (a->node_id.len == b->node_id.len &&
                            !memcmp(a->node_id.data, b->node_id.data, a->node_id.len)));
}

/* By slot, or by the name of the node. */
static bool is_before(const Swarm__Task *a, const Swarm__Task *b)
{
        if (a->slot != b->slot)
                return a->slot < b->slot;
        return strcmp(a->node_hostname, b->node_hostname) < 0;
}

size_t progress_tasks(const Swarm__Progress *m, const Swarm__Task *ret[PROGRESS_TASKS_MAX])
{
        size_t n = 0;

        for (size_t i = 0; i < m->n_tasks; i++) {
                const Swarm__Task *t = m->tasks[i];
                size_t k = 0;

                while (k < n && !is_same_place(ret[k], t))
                        k++;
                if (k < n) {
                        ret[k] = is_newer(t, ret[k]) ? t : ret[k];
                        continue;
                }
                if (n == PROGRESS_TASKS_MAX)
                        continue;
                for (k = n++; k > 0 && is_before(t, ret[k - 1]); k--)
                        ret[k] = ret[k - 1];
                ret[k] = t;
        }
        return n;
}

/* --- the end ------------------------------------------------------------------------------------
 */
/* The message without the words that say the same as what stands before it. */
static const char *without(const char *message, const char *prefix)
{
        return str_has_prefix(message, prefix) ? message + strlen(prefix) : message;
}

static enum progress_result end_paused(struct progress *p, const char *what, const char *message)
{
        _cleanup_free_ char *prefix = xasprintf("%s paused: ", what);

        free(p->reason);
        p->reason = xasprintf("service %s %s paused: %s", p->name, what, without(message, prefix));
        return PROGRESS_PAUSED;
}

static enum progress_result end_rolled_back(struct progress *p)
{
        free(p->reason);
        p->reason = xasprintf("service %s update rolled back: %s", p->name,
                              p->rollback ? without(p->rollback, "update rolled back: ")
                                          : "its tasks failed");
        return PROGRESS_ROLLED_BACK;
}

/* The update has just been completed, and the manager has seen to it that its tasks are stable. */
static bool is_watched_end(const struct progress *p, enum update_state state, bool is_fresh)
{
        return is_fresh && !p->config.is_unwatched && p->state != state &&
               (state == UPDATE_COMPLETED || state == UPDATE_ROLLBACK_COMPLETED);
}

/* Keeps when it was that all tasks began to run without a break. */
static void step_stable(struct progress *p, const Swarm__Progress *m, int64_t now_ms)
{
        bool is_fresh, has_failed = m->failed_total > p->failed;
        enum update_state state = update_state(p, m, &is_fresh);

        p->has_ended = m->stopping == 0;
        if (m->running != m->desired || is_under_way(state)) {
                p->stable_ms = NEVER_MS;
                p->is_watched = false;
        } else if (p->stable_ms == NEVER_MS || has_failed) {
                p->stable_ms = now_ms;
                p->is_watched = !has_failed && is_watched_end(p, state, is_fresh);
        }
}

static bool is_stable(const struct progress *p, int64_t now_ms)
{
        if (p->stable_ms == NEVER_MS || !p->has_ended)
                return false;
        return p->is_watched || p->last->desired == 0 ||
               now_ms - p->stable_ms >= p->config.monitor_ms;
}

static enum progress_result step_result(struct progress *p, int64_t now_ms)
{
        bool is_fresh;
        enum update_state state = update_state(p, p->last, &is_fresh);
        const char *message = update_message(p->last);

        if (state == UPDATE_PAUSED)
                return end_paused(p, "update", message);
        if (state == UPDATE_ROLLBACK_PAUSED)
                return end_paused(p, "rollback", message);
        if (state == UPDATE_ROLLBACK_COMPLETED && is_fresh && !p->config.is_rollback)
                return end_rolled_back(p);
        return is_stable(p, now_ms) ? PROGRESS_CONVERGED : PROGRESS_GOES_ON;
}

int64_t progress_wait_ms(const struct progress *p, int64_t now_ms)
{
        if (p->stable_ms == NEVER_MS)
                return NEVER_MS;
        if (!p->has_ended)
                return p->config.is_terminal ? PROGRESS_LINE_MS : NEVER_MS;
        int64_t left_ms = MAX(p->stable_ms + p->config.monitor_ms - now_ms, 0);
        return p->config.is_terminal ? MIN(left_ms, PROGRESS_LINE_MS) : left_ms;
}

/* --- lines --------------------------------------------------------------------------------------
 */
static void put_line(struct progress *p, struct buf *out, const char *what, const char *text)
{
        text_put(out, p->name);
        buf_puts(out, what);
        text_put(out, text);
        buf_putc(out, '\n');
}

static struct seen *find_seen(struct progress *p, const char *label)
{
        for (size_t i = 0; i < p->n_seen; i++)
                if (str_is_equal(p->seen[i].label, label))
                        return &p->seen[i];
        if (p->n_seen == PROGRESS_TASKS_MAX)
                return NULL;
        p->seen[p->n_seen] = (struct seen){.label = xstrdup(label), .state = UINT32_MAX};
        return &p->seen[p->n_seen++];
}

/* "web.1: pending: no suitable node", "web.1: running on node-a" */
static void put_task(struct progress *p, const Swarm__Task *t, struct buf *out)
{
        _cleanup_free_ char *label = progress_label(p, t);
        struct seen *seen = find_seen(p, label);
        const uint64_t error = t->state <= TASK_PENDING && *t->error ? strlen(t->error) : 0;

        if (!seen || (seen->state == t->state && seen->error == error))
                return;
        seen->state = t->state;
        seen->error = error;
        text_put(out, label);
        buf_printf(out, ": %s", task_state_name((enum task_state)t->state));
        if (error) {
                buf_puts(out, ": ");
                text_put(out, t->error);
        } else if (t->state > TASK_PENDING && *t->node_hostname && t->slot) {
                buf_puts(out, " on ");
                text_put(out, t->node_hostname);
        }
        buf_putc(out, '\n');
}

/* For services whose tasks are not told of one by one. */
static void put_counts(struct progress *p, const Swarm__Progress *m, int64_t now_ms,
                       struct buf *out)
{
        const bool is_due = p->counted_ms == NEVER_MS || m->running == m->desired ||
                            now_ms - p->counted_ms >= PROGRESS_LINE_MS;

        if (!str_is_equal(m->pending_reason, p->pending)) {
                free(p->pending);
                p->pending = xstrdup(m->pending_reason);
                if (*p->pending)
                        put_line(p, out, ": pending: ", p->pending);
        }
        if (!is_due ||
            (p->counted_ms != NEVER_MS && p->running == m->running && p->desired == m->desired))
                return;
        p->counted_ms = now_ms;
        p->running = m->running;
        p->desired = m->desired;
        buf_printf(out, "%s: %llu of %llu tasks run\n", p->name, (unsigned long long)m->running,
                   (unsigned long long)m->desired);
}

static void put_update(struct progress *p, const Swarm__Progress *m, struct buf *out)
{
        bool is_fresh;
        enum update_state state = update_state(p, m, &is_fresh);

        if (state == p->state || !is_fresh)
                return;
        if (*update_message(m) && state != UPDATE_PAUSED && state != UPDATE_ROLLBACK_PAUSED)
                put_line(p, out, ": ", update_message(m));
}

static void put_failure(struct progress *p, const Swarm__Progress *m, struct buf *out)
{
        if (m->failed_total == p->failed)
                return;
        buf_printf(out, "%s: %llu failed task%s so far", p->name,
                   (unsigned long long)m->failed_total, m->failed_total == 1 ? "" : "s");
        if (*m->last_error) {
                buf_puts(out, ": ");
                text_put(out, m->last_error);
        }
        buf_putc(out, '\n');
}

static void put_lines(struct progress *p, const Swarm__Progress *m, int64_t now_ms, struct buf *out)
{
        const Swarm__Task *tasks[PROGRESS_TASKS_MAX];
        size_t n = progress_tasks(m, tasks);

        put_update(p, m, out);
        put_failure(p, m, out);
        for (size_t i = 0; i < n; i++)
                put_task(p, tasks[i], out);
        if (n == 0 && m->desired > 0)
                put_counts(p, m, now_ms, out);
        if (m->running == m->desired && m->stopping > 0 && !p->is_stopping_said)
                buf_printf(out, "%s: waiting for %llu task%s to stop\n", p->name,
                           (unsigned long long)m->stopping, m->stopping == 1 ? "" : "s");
        p->is_stopping_said = m->running == m->desired && m->stopping > 0;
}

static void put_verify(struct progress *p, int64_t now_ms, struct buf *out)
{
        char text[FORMAT_MAX];

        if (p->stable_ms != now_ms || p->last->desired == 0 || is_stable(p, now_ms))
                return;
        buf_printf(out, "%s: waiting %s to verify that tasks are stable\n", p->name,
                   format_duration_ms(p->config.monitor_ms, text));
}

/* --- one step -----------------------------------------------------------------------------------
 */
static void note(struct progress *p, const Swarm__Progress *m)
{
        bool is_fresh;

        p->state = update_state(p, m, &is_fresh);
        p->failed = m->failed_total;
        if (p->state != UPDATE_ROLLBACK_STARTED || !is_fresh || !*update_message(m))
                return;
        free(p->rollback);
        p->rollback = xstrdup(update_message(m));
}

enum progress_result progress_step(struct progress *p, const Swarm__Progress *m, int64_t now_ms,
                                   struct buf *out)
{
        if (m) {
                wire_free(p->last);
                p->last = wire_dup(m);
                step_stable(p, m, now_ms);
                if (!p->config.is_terminal)
                        put_lines(p, m, now_ms, out);
                note(p, m);
                if (!p->config.is_terminal)
                        put_verify(p, now_ms, out);
        }
        if (!p->last)
                return PROGRESS_GOES_ON;
        enum progress_result result = step_result(p, now_ms);
        if (p->config.is_terminal)
                progress_put_frame(p, now_ms, result, out);
        if (result == PROGRESS_CONVERGED)
                buf_printf(out, "%s converged\n", p->name);
        return result;
}
