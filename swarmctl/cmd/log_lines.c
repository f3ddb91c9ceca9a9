/* Lines of logs: see log_lines.h. */
#include "swarmctl/cmd/log_lines.h"

#include <ctype.h>
#include <string.h>

#include "shared/base/buf.h"
#include "shared/base/map.h"
#include "shared/base/mem.h"
#include "shared/model/model.h"
#include "shared/wire/wire.h"
#include "swarmctl/output/output.h"

#define COLOUR_END "\033[0m"

/* A line of which not all has come. */
struct partial {
        struct buf text;
        int64_t time_us;
        bool is_open;
};

struct log_task {
        struct id id;
        char *label;
        struct partial partial[2]; /* of standard output, standard error */
        int64_t last_us;           /* of the newest line; 0: there was none */
        uint32_t count;            /* lines that bear it */
};

struct log_lines {
        struct log_style style;
        struct map tasks;
        size_t width; /* of the widest label so far */
        bool has_forgotten;
        struct buf line;
        struct id begun[2]; /* raw, by descriptor: whose line was shown without its end; 0: none */
};

struct log_lines *log_lines_new(const struct log_style *style)
{
        struct log_lines *l = xnew(struct log_lines);

        l->style = *style;
        l->tasks = MAP_INIT(struct log_task, id, MAP_KEY_ID);
        return l;
}

static void forget(struct log_lines *l)
{
        struct log_task *t;
        size_t i;

        MAP_FOREACH (t, i, &l->tasks) {
                buf_done(&t->partial[0].text);
                buf_done(&t->partial[1].text);
                free(t->label);
                free(t);
        }
        map_done(&l->tasks);
        l->tasks = MAP_INIT(struct log_task, id, MAP_KEY_ID);
}

void log_lines_free(struct log_lines *l)
{
        if (!l)
                return;
        forget(l);
        buf_done(&l->line);
        free(l);
}

/* --- text ----------------------------------------------------------------------------------------
 */
/* Length of a sequence at p that sets colours, 0 when there is none. */
static size_t colour_len(const uint8_t *p, size_t n)
{
        size_t i = 2;

        if (n < 3 || p[0] != '\033' || p[1] != '[')
                return 0;
        while (i < n && (isdigit(p[i]) || p[i] == ';'))
                i++;
        return i < n && p[i] == 'm' ? i + 1 : 0;
}

/* What a terminal may be given of a container's bytes. */
static void put_visible(struct buf *b, const uint8_t *p, size_t n)
{
        bool has_colour = false;
        size_t from = 0, i = 0;

        if (n > 0 && p[n - 1] == '\r')
                n--;
        while (i < n) {
                size_t colour = colour_len(p + i, n - i);
                size_t len = p[i] == '\t' ? 1 : colour;

                if (len == 0) {
                        i++;
                        continue;
                }
                has_colour |= colour > 0;
                text_put_n(b, p + from, i - from);
                buf_append(b, p + i, len);
                from = i += len;
        }
        text_put_n(b, p + from, n - from);
        if (has_colour)
                buf_puts(b, COLOUR_END);
}

static void put_time(struct buf *b, int64_t us)
{
        char text[TEXT_TIME_MAX];

        buf_printf(b, "%s ", text_time_us(us, text));
}

static void flush_line(struct log_lines *l, int fd)
{
        l->style.put(l->style.arg, fd, buf_str(&l->line), l->line.len);
        buf_clear(&l->line);
}

/* What was begun by another task is ended, so that no line holds bytes of two. */
static void show_raw(struct log_lines *l, const struct log_task *t, int fd, int64_t time_us,
                     const uint8_t *p, size_t n, bool has_end)
{
        struct id *begun = &l->begun[fd - 1];
        bool is_begun = id_is_equal(*begun, t->id);

        if (!is_begun && !id_is_zero(*begun))
                buf_putc(&l->line, '\n');
        if (!is_begun && l->style.timestamps)
                put_time(&l->line, time_us);
        if (n > 0)
                buf_append(&l->line, p, n);
        if (has_end)
                buf_putc(&l->line, '\n');
        *begun = has_end ? (struct id){0} : t->id;
        flush_line(l, fd);
}

/* has_end: the line is over, not only too long to be held. */
static void show(struct log_lines *l, const struct log_task *t, int fd, int64_t time_us,
                 const uint8_t *p, size_t n, bool has_end)
{
        struct buf *b = &l->line;
        size_t width = text_width(t->label);

        if (l->style.is_raw) {
                show_raw(l, t, fd, time_us, p, n, has_end);
                return;
        }
        l->width = MAX(l->width, width);
        if (l->style.timestamps)
                put_time(b, time_us);
        buf_printf(b, "%s%*s    | ", t->label, (int)(l->width - width), "");
        if (l->style.is_terminal[fd - 1])
                put_visible(b, p, n);
        else if (n > 0)
                buf_append(b, p, n);
        buf_putc(b, '\n');
        flush_line(l, fd);
}

/* --- tasks ---------------------------------------------------------------------------------------
 */
/* "web.1.<task id>@node" */
static char *make_label(const struct log_lines *l, const Swarm__LogChunk *chunk)
{
        const struct log_style *style = &l->style;
        const struct id_text id = text_id(&chunk->task_id, !style->no_trunc);
        _cleanup_free_ char *node = NULL, *name = NULL;

        if (style->name) {
                name = style->name(style->arg, chunk, &node);
        } else {
                name = xstrdup(chunk->task_name);
                node = xstrdup(chunk->node);
        }
        const bool has_id = !style->no_task_ids || !name || !*name;
        _cleanup_free_ char *label =
                xasprintf("%s%s%s@%s", name ? name : "", has_id && name && *name ? "." : "",
                          has_id ? id.s : "", node ? node : "");
        return text_safe(label);
}

static struct log_task *find_task(struct log_lines *l, const Swarm__LogChunk *chunk)
{
        struct log_task *t;
        struct id id;

        if (wire_get_id(&chunk->task_id, &id) < 0)
                return NULL;
        t = map_get_id(&l->tasks, id);
        if (t)
                return t;
        if (l->tasks.len >= LOG_TASKS_MAX) {
                log_lines_end(l);
                forget(l);
                l->has_forgotten = true;
        }
        t = xnew(struct log_task);
        t->id = id;
        t->label = make_label(l, chunk);
        map_put(&l->tasks, t);
        return t;
}

static void end_partial(struct log_lines *l, struct log_task *t, int fd, bool has_end)
{
        struct partial *p = &t->partial[fd - 1];

        if (p->is_open)
                show(l, t, fd, p->time_us, p->text.data, p->text.len, has_end);
        buf_done(&p->text);
        p->is_open = false;
}

void log_lines_end(struct log_lines *l)
{
        struct log_task *t;
        size_t i;

        MAP_FOREACH (t, i, &l->tasks) {
                end_partial(l, t, 1, false);
                end_partial(l, t, 2, false);
        }
}

/* --- lines ---------------------------------------------------------------------------------------
 */
static void add_line(struct log_lines *l, struct log_task *t, int fd, const Swarm__LogLine *line)
{
        struct partial *p = &t->partial[fd - 1];

        if (p->is_open && p->text.len + line->text.len > LOG_LINE_BYTES_MAX)
                end_partial(l, t, fd, false);
        if (!p->is_open && !line->is_partial) {
                show(l, t, fd, line->time_us, line->text.data, line->text.len, true);
                return;
        }
        if (!p->is_open)
                p->time_us = line->time_us;
        p->is_open = true;
        if (line->text.len)
                buf_append(&p->text, line->text.data, line->text.len);
        if (!line->is_partial)
                end_partial(l, t, fd, true);
}

static void note_position(struct log_task *t, int64_t time_us)
{
        if (time_us < t->last_us)
                return; /* the node's clock was set back */
        if (time_us > t->last_us)
                t->count = 0;
        t->last_us = time_us;
        t->count++;
}

void log_lines_add(struct log_lines *l, const Swarm__LogChunk *chunk)
{
        struct log_task *t = find_task(l, chunk);

        for (size_t i = 0; t && i < chunk->n_lines; i++) {
                const int fd = chunk->lines[i]->fd == 2 ? 2 : 1;

                note_position(t, chunk->lines[i]->time_us);
                add_line(l, t, fd, chunk->lines[i]);
        }
}

/* --- going on ------------------------------------------------------------------------------------
 */
static Swarm__LogPosition *position_new(const struct log_task *t)
{
        Swarm__LogPosition *p = xnew(Swarm__LogPosition);

        swarm__log_position__init(p);
        p->task_id = wire_id(t->id, xmalloc(ID_BYTES));
        p->time_us = t->last_us;
        p->count = t->count;
        return p;
}

bool log_lines_put_positions(const struct log_lines *l, Swarm__LogsRequest *m)
{
        struct log_task *t;
        size_t i;

        log_positions_free(m);
        if (l->has_forgotten)
                return false;
        m->after = xnew_array(Swarm__LogPosition *, l->tasks.len + 1);
        MAP_FOREACH (t, i, &l->tasks)
                m->after[m->n_after++] = position_new(t);
        return true;
}

void log_positions_free(Swarm__LogsRequest *m)
{
        for (size_t i = 0; i < m->n_after; i++) {
                free(m->after[i]->task_id.data);
                free(m->after[i]);
        }
        free(m->after);
        m->after = NULL;
        m->n_after = 0;
}
