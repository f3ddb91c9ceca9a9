/* Tasks: changing them, and their place in the indexes. */
#include "manager/store/store_internal.h"

#include <assert.h>

#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/wire/wire.h"

static void tell(struct store *s, struct task *task, enum change_kind kind,
                 const struct task_before *before)
{
        struct store_watch *w;

        LIST_FOREACH (w, &s->watches, link)
                if (w->on_task)
                        w->on_task(w->arg, task, kind, before);
}

static struct task_before before(const struct task *task)
{
        return (struct task_before){(enum task_state)task->state, (enum task_state)task->desired,
                                    task->node};
}

static void changed(struct store *s, struct task *task, const struct task_before *was)
{
        mark_changed(s, ROW_TASKS, task);
        tell(s, task, CHANGE_UPDATED, was);
}

struct task *task_new(struct id id)
{
        struct task *task = xnew(struct task);

        task->id = id;
        task->exit_code = -1;
        list_init(&task->service_link);
        list_init(&task->node_link);
        list_init(&task->stage_link);
        return task;
}

void task_count(struct task *task, int by)
{
        if (task->state == TASK_RUNNING && task->desired <= TASK_RUNNING)
                task->service->running_count += (size_t)by;
}

static void link_node(struct task *task)
{
        if (!task->node)
                return;
        list_push_back(&task->node->tasks, &task->node_link);
        task->node->task_count++;
}

void task_link(struct store *s, struct task *task)
{
        map_put(&s->tasks, task);
        list_push_back(&task->service->tasks, &task->service_link);
        task->service->task_count++;
        task_count(task, 1);
        link_node(task);
}

void task_unlink(struct store *s, struct task *task)
{
        task_count(task, -1);
        map_remove(&s->tasks, task);
        list_remove(&task->service_link);
        task->service->task_count--;
        if (!task->node)
                return;
        list_remove(&task->node_link);
        task->node->task_count--;
}

struct task *store_add_task(struct store *s, struct service *service, const struct task_init *init)
{
        struct task *task = task_new(init->id);

        task->service = service;
        task->spec = spec_retain(init->spec);
        task->node = init->node;
        task->slot = init->slot;
        task->state = (uint16_t)init->state;
        task->desired = (uint16_t)init->desired;
        task->failures = init->failures;
        task->attempts = init->attempts;
        task->flags = init->of_update ? TASK_FLAG_UPDATE : 0;
        task->created_ms = task->state_ms = init->created_ms;
        task->not_before_ms = init->not_before_ms;
        task->message = text_get(s, "created");
        task->row = ++s->last_row[ROW_TASKS];
        task_link(s, task);
        mark_created(s, ROW_TASKS, task);
        tell(s, task, CHANGE_CREATED, NULL);
        return task;
}

/* message NULL: keeps the one it has. False when nothing is another. */
static bool set_texts(struct store *s, struct task *task, const char *message, const char *error)
{
        char *new_message = text_get(s, message ? message : task->message);
        char *new_error = text_get(s, error);
        bool is_other = new_message != task->message || new_error != task->error;

        text_put(s, task->message);
        text_put(s, task->error);
        task->message = new_message;
        task->error = new_error;
        return is_other;
}

void store_set_task_state(struct store *s, struct task *task, enum task_state state,
                          int64_t state_ms, const char *message, const char *error, int exit_code)
{
        struct task_before was = before(task);

        assert(state >= was.state && state != TASK_REMOVE);
        task_count(task, -1);
        task->state = (uint16_t)state;
        task_count(task, 1);
        task->state_ms = state_ms;
        if (state == TASK_RUNNING && was.state != TASK_RUNNING)
                task->running_ms = state_ms;
        task->exit_code = (int16_t)exit_code;
        set_texts(s, task, message, error);
        changed(s, task, &was);
}

void store_set_task_desired(struct store *s, struct task *task, enum task_state desired)
{
        struct task_before was = before(task);

        task_count(task, -1);
        task->desired = (uint16_t)desired;
        task_count(task, 1);
        changed(s, task, &was);
}

void store_set_task_message(struct store *s, struct task *task, const char *message,
                            const char *error)
{
        struct task_before was = before(task);

        if (set_texts(s, task, message, error))
                changed(s, task, &was);
}

void store_assign_task(struct store *s, struct task *task, struct node *node, int64_t wall_ms,
                       Swarm__Resources **generic)
{
        struct task_before was = before(task);

        assert(!task->node || task->node == node);
        assert(task->state <= TASK_ASSIGNED);
        if (!task->node) {
                task->node = node;
                link_node(task);
        }
        task->state = TASK_ASSIGNED;
        task->state_ms = wall_ms;
        set_texts(s, task, "assigned", NULL);
        if (generic && *generic) {
                wire_free(task->generic);
                task->generic = STEAL_PTR(*generic);
        }
        changed(s, task, &was);
}

void task_move(struct task *task, struct node *node)
{
        if (task->node == node)
                return;
        if (task->node) {
                list_remove(&task->node_link);
                task->node->task_count--;
        }
        task->node = node;
        link_node(task);
}

void task_leave_node(struct store *s, struct task *task, int64_t wall_ms, const char *why)
{
        if (!task_state_is_terminal(task->state))
                store_set_task_state(s, task, TASK_ORPHANED, wall_ms, "orphaned", why, -1);
        struct task_before was = before(task);
        task_move(task, NULL);
        changed(s, task, &was);
}

void store_remove_task(struct store *s, struct task *task)
{
        struct task_before was = before(task);

        task_unlink(s, task);
        mark_removed(s, ROW_TASKS, task);
        tell(s, task, CHANGE_REMOVED, &was);
        list_remove(&task->stage_link);
        spec_release(s, task->spec);
}
