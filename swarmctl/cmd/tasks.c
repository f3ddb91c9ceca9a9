/* The table of tasks: see tasks.h. */
#include "swarmctl/cmd/tasks.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "shared/base/mem.h"
#include "shared/base/parse.h"
#include "shared/base/str.h"
#include "shared/base/time.h"
#include "shared/model/model.h"
#include "swarmctl/cmd/list.h"
#include "swarmctl/output/output.h"

#define ERROR_COLUMNS 30 /* what is longer is cut, unless --no-trunc */

const struct flag tasks_flags[] = {
        {"filter", 'f', FLAG_LIST, "Only these: id=, name=, node=, desired-state=", NULL},
        {"format", 0, FLAG_STRING, "table, json or a template", NULL},
        {"no-resolve", 0, FLAG_BOOL, "Show ids instead of names", NULL},
        {"no-trunc", 0, FLAG_BOOL, "Do not shorten", NULL},
        {"quiet", 'q', FLAG_BOOL, "Show ids only", NULL},
        {0},
};

static const struct column columns[] = {
        {"ID", "ID", false},
        {"Name", "NAME", false},
        {"Image", "IMAGE", false},
        {"Node", "NODE", false},
        {"DesiredState", "DESIRED STATE", false},
        {"CurrentState", "CURRENT STATE", false},
        {"Error", "ERROR", false},
        {"Ports", "PORTS", false},
        {0},
};

char *task_label(const Swarm__Task *t, bool resolve)
{
        const struct id_text id = text_id(&t->service_id, false);
        const char *service = resolve && *t->service_name ? t->service_name : id.s;

        if (t->slot)
                return xasprintf("%s.%llu", service, (unsigned long long)t->slot);
        return xasprintf("%s.%s", service, text_id(&t->node_id, false).s);
}

static int compare_bytes(const ProtobufCBinaryData *a, const ProtobufCBinaryData *b)
{
        size_t n = MIN(a->len, b->len);
        int r = n ? memcmp(a->data, b->data, n) : 0;

        return r ? r : (a->len > b->len) - (a->len < b->len);
}

/* By service, then slot (or node), then the newest first. */
static int compare_tasks(const void *x, const void *y)
{
        const Swarm__Task *a = *(const Swarm__Task *const *)x;
        const Swarm__Task *b = *(const Swarm__Task *const *)y;
        int r = strcmp(a->service_name, b->service_name);

        if (r == 0)
                r = (a->slot > b->slot) - (a->slot < b->slot);
        if (r == 0 && a->slot == 0)
                r = compare_bytes(&a->node_id, &b->node_id);
        if (r == 0)
                r = (a->created_ms < b->created_ms) - (a->created_ms > b->created_ms);
        return r ? r : compare_bytes(&a->id, &b->id);
}

/* The first max columns of s, with a mark if there were more. */
static char *cut(const char *s, size_t max)
{
        const char *end = s;

        if (text_width(s) <= max)
                return xstrdup(s);
        for (size_t n = 1; n < max; n++)
                do
                        end++;
                while (((unsigned char)*end & 0xc0) == 0x80);
        return xasprintf("%.*s\u2026", (int)(end - s), s);
}

/* Itself, or the one that follows when it failed before its turn came. */
static bool waits_for_restart(const Swarm__Task *t, int64_t now_ms)
{
        bool has_failed = t->state == TASK_FAILED || t->state == TASK_REJECTED;
        bool is_held = t->state < TASK_STARTING && t->desired <= TASK_RUNNING;

        return (has_failed || is_held) && t->not_before_ms > now_ms;
}

/* " (stopping)", " (restart in 8 seconds after 3 failures)", or nothing. Heap. */
static char *state_note(const Swarm__Task *t, int64_t now_ms)
{
        unsigned failures = t->failures + (t->state >= TASK_STARTING);
        char wait[FORMAT_MAX];

        if (t->state <= TASK_RUNNING && str_is_equal(t->message, TASK_MESSAGE_STOPPING))
                return xstrdup(" (stopping)");
        if (!waits_for_restart(t, now_ms))
                return xstrdup("");
        format_age_ms(t->not_before_ms - now_ms, wait);
        for (char *p = wait; *p; p++)
                *p = (char)tolower((unsigned char)*p);
        if (failures == 0)
                return xasprintf(" (restart in %s)", wait);
        return xasprintf(" (restart in %s after %u failure%s)", wait, failures,
                         failures == 1 ? "" : "s");
}

static void set_state(struct listing *l, const Swarm__Task *t, int64_t now_ms)
{
        _cleanup_free_ char *desired = text_capital(task_state_name((enum task_state)t->desired));
        _cleanup_free_ char *state = text_capital(task_state_name((enum task_state)t->state));
        _cleanup_free_ char *note = state_note(t, now_ms);
        char ago[64];

        text_ago(t->state_ms, now_ms, ago);
        for (char *p = ago; *p; p++)
                *p = (char)tolower((unsigned char)*p);
        listing_set(l, "DesiredState", "%s", desired);
        listing_set(l, "CurrentState", "%s%s%s%s", state, *ago ? " " : "", ago, note);
}

static void set_error(struct listing *l, const Swarm__Task *t, bool is_short)
{
        _cleanup_free_ char *clean = text_safe(t->error);
        _cleanup_free_ char *text = is_short ? cut(clean, ERROR_COLUMNS) : xstrdup(clean);

        if (*text)
                listing_set(l, "Error", "\"%s\"", text);
        else
                listing_set(l, "Error", "%s", "");
}

static void add_row(struct listing *l, const Swarm__Task *t, const struct args *args,
                    const char *label, bool is_history, int64_t now_ms)
{
        const bool is_short = !args_on(args, "no-trunc"), resolve = !args_on(args, "no-resolve");
        const char *digest = strstr(t->image, "@sha256:");
        size_t image_len = digest && is_short ? (size_t)(digest - t->image) : strlen(t->image);

        listing_add(l, doc_task(t));
        listing_set(l, "ID", "%s", text_id(&t->id, is_short).s);
        listing_set(l, "Name", "%s%s", is_history ? " \\_ " : "", label);
        listing_set(l, "Image", "%.*s", (int)image_len, t->image);
        listing_set(l, "Node", "%s",
                    resolve && *t->node_hostname ? t->node_hostname
                                                 : text_id(&t->node_id, false).s);
        set_state(l, t, now_ms);
        set_error(l, t, is_short);
        listing_set(l, "Ports", "%s", "");
}

static void format_ids(const struct args *args, Swarm__Task **tasks, size_t n, struct buf *out)
{
        for (size_t i = 0; i < n; i++)
                buf_printf(out, "%s\n", text_id(&tasks[i]->id, !args_on(args, "no-trunc")).s);
}

/* An object that was named twice has its tasks in the list twice. */
static size_t drop_doubles(Swarm__Task **tasks, size_t n)
{
        size_t kept = 0;

        for (size_t i = 0; i < n; i++)
                if (kept == 0 || compare_bytes(&tasks[kept - 1]->id, &tasks[i]->id) != 0)
                        tasks[kept++] = tasks[i];
        return kept;
}

int tasks_format(const struct args *args, Swarm__Task **tasks, size_t n, int64_t now_ms,
                 struct buf *out, struct err *err)
{
        const char *format = args_text(args, "format");
        const bool is_table = !format || str_has_prefix(format, "table");
        _cleanup_listing_ struct listing *l = NULL;
        _cleanup_free_ char *last = xstrdup("");
        int r = listing_new(columns, format, &l, err);

        if (r < 0)
                return r;
        if (n)
                qsort(tasks, n, sizeof(*tasks), compare_tasks);
        n = drop_doubles(tasks, n);
        if (args_on(args, "quiet") && !format) {
                format_ids(args, tasks, n, out);
                return 0;
        }
        for (size_t i = 0; i < n; i++) {
                char *label = task_label(tasks[i], !args_on(args, "no-resolve"));

                add_row(l, tasks[i], args, label, is_table && str_is_equal(label, last), now_ms);
                free(last);
                last = label;
        }
        return listing_print(l, out, err);
}

int tasks_print(struct ctl *ctl, const struct args *args, Swarm__Task **tasks, size_t n)
{
        _cleanup_buf_ struct buf out = {0};
        struct err err = {0};

        if (tasks_format(args, tasks, n, time_now().wall_ms, &out, &err) < 0)
                return ctl_usage(ctl, "%s", err.text);
        output_flush(&out);
        return CLIENT_EXIT_DONE;
}

static int print_parts(struct ctl *ctl, const struct args *args, const struct responses *parts)
{
        _cleanup_free_ Swarm__Task **tasks = NULL;
        size_t n = 0;

        for (size_t i = 0; i < parts->n; i++) {
                const Swarm__TaskList *list = parts->v[i]->tasks;

                if (parts->v[i]->kind_case != SWARM__RESPONSE__KIND_TASKS || !list->n_tasks)
                        continue;
                tasks = xreallocarray(tasks, n + list->n_tasks, sizeof(*tasks));
                memcpy(tasks + n, list->tasks, list->n_tasks * sizeof(*tasks));
                n += list->n_tasks;
        }
        return tasks_print(ctl, args, tasks, n);
}

int tasks_run_ps(struct ctl *ctl, const struct args *args, char *const *refs, size_t n,
                 bool refs_are_nodes)
{
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__ListRequest list = SWARM__LIST_REQUEST__INIT;
        _cleanup_filters_ struct filters filters = {0};
        _cleanup_responses_ struct responses parts = {0};
        int r = filters_read(ctl, args, filter_task_keys, &filters), one = 0;

        if (r)
                return r;
        list.filters = filters.v;
        list.n_filters = filters.n;
        list.n_refs = 1;
        list.refs_are_nodes = refs_are_nodes;
        q.kind_case = SWARM__REQUEST__KIND_TASK_LIST;
        q.task_list = &list;
        /* What is not there does not keep the others from being shown. */
        for (size_t i = 0; i < n && one <= CLIENT_EXIT_REFUSED; i++) {
                struct responses found = {0};

                list.refs = (char **)(uintptr_t)&refs[i];
                one = list_call(ctl, &q, &found);
                responses_append(&parts, &found);
                r = one ? one : r;
        }
        if (r && parts.n == 0)
                return r;
        one = print_parts(ctl, args, &parts);
        return one ? one : r;
}
