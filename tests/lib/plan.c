/* The cluster under plan: see plan.h. */
#include "tests/lib/plan.h"

#include <assert.h>
#include <stdio.h>

#include "shared/wire/wire.h"

#define WALL_START_MS 1700000000000
#define MONO_START_MS 1000000
#define TURNS_MAX     10000 /* in one settling: more would never end */

struct event {
        struct list link;
        int64_t at_ms;
        struct id task;
        enum task_state state;
};

struct name {
        struct list link;
        struct id id;
        char *text;
};

/* --- names
 * --------------------------------------------------------------------------------------*/

static const char *name_add(struct plan *p, struct id id, char *text)
{
        struct name *n = xnew(struct name);

        n->id = id;
        n->text = text;
        list_push_back(&p->names, &n->link);
        map_put(&p->by_id, n);
        return text;
}

static bool is_name_taken(struct plan *p, const char *text)
{
        struct name *n;

        LIST_FOREACH (n, &p->names, link)
                if (str_is_equal(n->text, text))
                        return true;
        return false;
}

const char *plan_name(struct plan *p, struct id id)
{
        struct name *n = map_get_id(&p->by_id, id);

        return n ? n->text : "?";
}

void plan_name_node(struct plan *p, struct id id, const char *name)
{
        name_add(p, id, xstrdup(name));
}

static const char *name_task(struct plan *p, struct task *task)
{
        char *base =
                task->slot ? xasprintf("%s.%u", task->service->name, task->slot)
                           : xasprintf("%s@%s", task->service->name, plan_name(p, task->node->id));
        char *text = xstrdup(base);

        for (int i = 2; is_name_taken(p, text); i++) {
                free(text);
                text = xasprintf("%s#%d", base, i);
        }
        free(base);
        return name_add(p, task->id, text);
}

static struct id find_id(struct plan *p, const char *text)
{
        struct name *n;

        LIST_FOREACH (n, &p->names, link)
                if (str_is_equal(n->text, text))
                        return n->id;
        return (struct id){0};
}

struct task *plan_find_task(struct plan *p, const char *name)
{
        return store_find_task(p->store, find_id(p, name));
}

struct node *plan_find_node(struct plan *p, const char *name)
{
        return store_find_node(p->store, find_id(p, name));
}

void plan_say(struct plan *p, const char *format, ...)
{
        int64_t ms = p->now.mono_ms - p->start_ms;
        char number[FORMAT_MAX], text[1024];
        va_list args;

        snprintf(number, sizeof(number), "%lld.%03d", (long long)(ms / 1000), (int)(ms % 1000));
        for (size_t n = strlen(number); number[n - 1] == '0' || number[n - 1] == '.'; n--) {
                bool is_point = number[n - 1] == '.';

                number[n - 1] = '\0';
                if (is_point)
                        break;
        }
        va_start(args, format);
        vsnprintf(text, sizeof(text), format, args);
        va_end(args);
        buf_printf(&p->out, "%ss %s\n", number, text);
}

/* --- agents
 * -------------------------------------------------------------------------------------*/

static void event_add(struct plan *p, struct task *task, int64_t after_ms, enum task_state state)
{
        struct event *e = xnew(struct event);
        struct list *before = p->events.prev;

        e->at_ms = p->now.mono_ms + after_ms;
        e->task = task->id;
        e->state = state;
        while (before != &p->events && LIST_ITEM(before, struct event, link)->at_ms > e->at_ms)
                before = before->prev;
        list_insert_between(&e->link, before, before->next);
}

static void agent_hears(struct plan *p, struct task *task)
{
        const char *image = task->spec->msg->task->container->image;

        if (p->run_ms < 0 || !task->node || task->node->state == NODE_DOWN ||
            task->state < TASK_ASSIGNED || task_state_is_terminal(task->state))
                return;
        if (task->desired > TASK_RUNNING)
                event_add(p, task, p->stop_ms, TASK_SHUTDOWN);
        else if (task->state < TASK_RUNNING && task->desired == TASK_READY)
                event_add(p, task, p->run_ms, TASK_READY);
        else if (task->state < TASK_RUNNING && !str_is_equal(image, "hang"))
                event_add(p, task, p->run_ms,
                          str_is_equal(image, "bad") ? TASK_FAILED : TASK_RUNNING);
}

void plan_agent_returns(struct plan *p, struct node *node)
{
        struct task *task;

        LIST_FOREACH (task, &node->tasks, node_link)
                agent_hears(p, task);
}

static void event_happens(struct plan *p, const struct event *e)
{
        struct task *task = store_find_task(p->store, e->task);

        if (!task || !task->node || task->node->state == NODE_DOWN || task->state >= e->state)
                return;
        if (e->state <= TASK_RUNNING && task->desired > TASK_RUNNING)
                return;
        const char *image = task->spec->msg->task->container->image;
        bool is_end = task_state_is_terminal(e->state);

        store_set_task_state(p->store, task, e->state, p->now.wall_ms, task_state_name(e->state),
                             e->state == TASK_FAILED ? "exit code 1" : NULL,
                             !is_end                   ? -1
                             : e->state == TASK_FAILED ? 1
                                                       : 0);
        if (e->state != TASK_RUNNING)
                return;
        if (str_is_equal(image, "crash"))
                event_add(p, task, PLAN_LIFE_MS, TASK_FAILED);
        if (str_is_equal(image, "done"))
                event_add(p, task, PLAN_LIFE_MS, TASK_COMPLETE);
}

/* --- what is decided
 * ----------------------------------------------------------------------------*/

static const char *short_state(enum task_state state)
{
        return task_state_name(state);
}

static void say_created(struct plan *p, struct task *task)
{
        char delay[FORMAT_MAX], delay_text[64] = "", failures[32] = "";

        if (task->not_before_ms)
                snprintf(delay_text, sizeof(delay_text), " after %s",
                         format_duration_ms(task->not_before_ms - p->now.wall_ms, delay));
        if (task->failures)
                snprintf(failures, sizeof(failures), ", failures %u", task->failures);
        plan_say(p, "+ %s v%llu %s%s%s", name_task(p, task),
                 (unsigned long long)task->spec->version, short_state(task->desired), delay_text,
                 failures);
}

static void say_assigned(struct plan *p, struct task *task)
{
        _cleanup_buf_ struct buf b = {0};

        for (size_t i = 0; task->generic && i < task->generic->n_generic; i++) {
                const Swarm__GenericResource *g = task->generic->generic[i];

                buf_printf(&b, " %s=", g->kind);
                if (g->n_names == 0)
                        buf_printf(&b, "%lld", (long long)g->count);
                for (size_t j = 0; j < g->n_names; j++)
                        buf_printf(&b, "%s%s", j ? "," : "", g->names[j]);
        }
        plan_say(p, "%s -> %s%s", plan_name(p, task->id), plan_name(p, task->node->id),
                 buf_str(&b));
}

static void on_task(void *arg, struct task *task, enum change_kind kind,
                    const struct task_before *before)
{
        struct plan *p = arg;
        const char *name = plan_name(p, task->id);

        if (kind == CHANGE_CREATED) {
                say_created(p, task);
        } else if (kind == CHANGE_REMOVED) {
                plan_say(p, "- %s", name);
        } else if (task->desired != before->desired) {
                plan_say(p, "%s to %s", name, short_state(task->desired));
                agent_hears(p, task);
        } else if (task->state != before->state && p->is_in_stage) {
                if (task->state == TASK_ASSIGNED)
                        say_assigned(p, task);
                else
                        plan_say(p, "%s is %s: %s", name, task_state_name(task->state),
                                 task->error ? task->error : task->message);
                agent_hears(p, task);
        } else if (task->state == before->state && p->is_in_stage) {
                plan_say(p, "%s waits: %s", name, task->error);
        }
}

static void on_service(void *arg, struct service *service, enum change_kind kind)
{
        struct plan *p = arg;

        if (!p->is_in_stage)
                return;
        if (kind == CHANGE_REMOVED)
                plan_say(p, "- service %s", service->name);
        else if (kind == CHANGE_UPDATED)
                plan_say(p, "%s v%llu: %s, %s", service->name,
                         (unsigned long long)service->spec->version,
                         update_state_name(service->update.state),
                         service->update.message ? service->update.message : "");
}

/* --- life
 * ---------------------------------------------------------------------------------------*/

static void attach(struct plan *p)
{
        p->store = store_new();
        for (size_t i = 0; i < p->entries.len;) {
                uint64_t n;

                memcpy(&n, p->entries.data + i, sizeof(n));
                int r = store_apply_entry(p->store, p->entries.data + i + sizeof(n), n);
                assert(r == 0);
                (void)r;
                i += sizeof(n) + n;
        }
        p->orchestrator = orchestrator_new(p->store, p->now);
        p->scheduler = scheduler_new(p->store, &(struct breath){0}, p->now);
        p->watch = (struct store_watch){.arg = p, .on_task = on_task, .on_service = on_service};
        store_watch(p->store, &p->watch);
}

static void detach(struct plan *p)
{
        orchestrator_free(p->orchestrator);
        scheduler_free(p->scheduler);
        list_remove(&p->watch.link);
        store_free(p->store);
}

void plan_open(struct plan *p)
{
        *p = (struct plan){.now = {MONO_START_MS, WALL_START_MS},
                           .start_ms = MONO_START_MS,
                           .rng = {1},
                           .change_max = 50000,
                           .run_ms = -1};
        list_init(&p->events);
        list_init(&p->names);
        p->by_id = MAP_INIT(struct name, id, MAP_KEY_ID);
        attach(p);
}

void plan_close(struct plan *p)
{
        struct list *l;

        detach(p);
        map_done(&p->by_id);
        while ((l = list_pop_front(&p->events)))
                free(LIST_ITEM(l, struct event, link));
        while ((l = list_pop_front(&p->names))) {
                free(LIST_ITEM(l, struct name, link)->text);
                free(LIST_ITEM(l, struct name, link));
        }
        buf_done(&p->out);
        buf_done(&p->entries);
}

static void commit(struct plan *p)
{
        size_t at = p->entries.len;
        uint64_t n = 0;

        buf_append(&p->entries, &n, sizeof(n));
        store_take_changes(p->store, p->now.wall_ms, &p->entries);
        n = p->entries.len - at - sizeof(n);
        if (n > 0)
                memcpy(p->entries.data + at, &n, sizeof(n));
        else
                p->entries.len = at;
}

void plan_restart(struct plan *p)
{
        commit(p);
        detach(p);
        attach(p);
}

/* One turn; returns when it wants the next. */
static int64_t turn(struct plan *p)
{
        int64_t a, b;

        p->is_in_stage = true;
        a = orchestrator_run(p->orchestrator, p->now, &p->rng, p->change_max);
        b = scheduler_run(p->scheduler, p->now, p->change_max);
        p->is_in_stage = false;
        commit(p);
        return MIN(a, b);
}

static int64_t settle(struct plan *p)
{
        for (int i = 0; i < TURNS_MAX; i++) {
                int64_t next_ms = turn(p);

                if (!list_is_empty(&p->events)) {
                        struct event *e = LIST_ITEM(p->events.next, struct event, link);

                        if (e->at_ms <= p->now.mono_ms) {
                                list_remove(&e->link);
                                event_happens(p, e);
                                free(e);
                                continue;
                        }
                        next_ms = MIN(next_ms, e->at_ms);
                }
                if (next_ms > p->now.mono_ms)
                        return next_ms;
        }
        assert(!"the stages settle");
        return TIME_NEVER;
}

void plan_settle(struct plan *p)
{
        settle(p);
}

void plan_advance(struct plan *p, int64_t ms)
{
        int64_t end_ms = p->now.mono_ms + ms;

        for (;;) {
                int64_t step_ms = MIN(settle(p), end_ms) - p->now.mono_ms;

                if (step_ms == 0)
                        return;
                p->now.mono_ms += step_ms;
                p->now.wall_ms += step_ms;
        }
}
