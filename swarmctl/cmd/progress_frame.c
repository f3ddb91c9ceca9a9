/* Frames of progress for terminals: each goes over the last one. See progress.h. */
#include <stdio.h>

#include "shared/base/mem.h"
#include "shared/base/parse.h"
#include "shared/base/str.h"
#include "swarmctl/cmd/progress_internal.h"
#include "swarmctl/output/output.h"

#define BAR_COLUMNS   50
#define STATE_COLUMNS 9 /* "preparing" */
#define ERASE_LINE    "\033[2K"
#define ERASE_BELOW   "\033[J"

/* Ends a line that began at `from` in out: what does not fit on the terminal is cut, so that a line
 * is one line. */
static void end_line(struct progress *p, size_t from, struct buf *out)
{
        const size_t columns = p->config.columns ? p->config.columns : PROGRESS_DEFAULT_COLUMNS;
        size_t n = 0, at = from;

        while (at < out->len && n < columns) {
                at++;
                while (at < out->len && (out->data[at] & 0xc0) == 0x80)
                        at++;
                n++;
        }
        out->len = at;
        buf_putc(out, '\n');
        p->frame_lines++;
}

static size_t begin_line(struct buf *out)
{
        buf_puts(out, ERASE_LINE);
        return out->len;
}

static void put_bar(struct buf *out, uint64_t done, uint64_t total)
{
        const size_t filled = total ? (size_t)(done * BAR_COLUMNS / total) : BAR_COLUMNS;

        buf_putc(out, '[');
        for (size_t i = 0; i < BAR_COLUMNS; i++)
                buf_putc(out, i < filled ? '=' : i == filled ? '>' : ' ');
        buf_putc(out, ']');
}

static void put_task(struct progress *p, const Swarm__Task *t, struct buf *out)
{
        _cleanup_free_ char *label = progress_label(p, t);
        const enum task_state state = (enum task_state)t->state;
        const size_t from = begin_line(out);

        text_put(out, label);
        buf_printf(out, ": %-*s ", STATE_COLUMNS, task_state_name(state));
        if (*t->error)
                text_put(out, t->error);
        else
                put_bar(out, MIN(t->state, (uint32_t)TASK_RUNNING), TASK_RUNNING);
        end_line(p, from, out);
}

static void put_overall(struct progress *p, bool has_bar, struct buf *out)
{
        const Swarm__Progress *m = p->last;
        const size_t from = begin_line(out);

        buf_printf(out, "overall progress: %llu out of %llu tasks", (unsigned long long)m->running,
                   (unsigned long long)m->desired);
        if (has_bar) {
                buf_putc(out, ' ');
                put_bar(out, MIN(m->running, m->desired), m->desired);
        }
        end_line(p, from, out);
}

static void put_text(struct progress *p, const char *title, const char *text, struct buf *out)
{
        if (str_is_empty(text))
                return;
        const size_t from = begin_line(out);
        buf_puts(out, title);
        text_put(out, text);
        end_line(p, from, out);
}

static void put_verify(struct progress *p, int64_t now_ms, struct buf *out)
{
        char text[64], time[FORMAT_MAX];
        int64_t left_ms = p->stable_ms + p->config.monitor_ms - now_ms;

        if (p->last->stopping > 0 && p->last->running == p->last->desired) {
                snprintf(text, sizeof(text), "%llu tasks", (unsigned long long)p->last->stopping);
                put_text(p, "stopping: ", text, out);
        }
        if (p->stable_ms < 0 || left_ms <= 0 || p->last->desired == 0)
                return;
        left_ms = (left_ms + 999) / 1000 * 1000;
        snprintf(text, sizeof(text), "waiting %s to verify that tasks are stable",
                 format_duration_ms(left_ms, time));
        put_text(p, "verify: ", text, out);
}

void progress_put_frame(struct progress *p, int64_t now_ms, enum progress_result result,
                        struct buf *out)
{
        const Swarm__Task *tasks[PROGRESS_TASKS_MAX];
        const Swarm__Progress *m = p->last;
        const Swarm__UpdateStatus *u = m->service ? m->service->update_status : NULL;
        const size_t n = progress_tasks(m, tasks);

        if (p->frame_lines)
                buf_printf(out, "\033[%uA\r", p->frame_lines);
        p->frame_lines = 0;
        put_overall(p, n == 0, out);
        for (size_t i = 0; i < n; i++)
                put_task(p, tasks[i], out);
        if (u && u->state != UPDATE_NONE && u->started_ms != p->config.before_started_ms)
                put_text(p, "", u->message, out);
        if (n == 0)
                put_text(p, "pending: ", m->pending_reason, out);
        if (m->failed_total)
                put_text(p, "failed: ", *m->last_error ? m->last_error : "a task", out);
        if (result == PROGRESS_GOES_ON)
                put_verify(p, now_ms, out);
        buf_puts(out, ERASE_BELOW);
}
