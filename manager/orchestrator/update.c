/*
 * Rolling updates and rollbacks. The slots whose newest task is not of the spec in force wait in a
 * queue, lowest number first; `parallelism` of them are worked on at a time. One slot:
 *
 *   QUEUED -> STARTING -+- the new task runs ----------> RESTING (delay) and WATCHED (monitor) -> 0
 *                       +- it ends, or wait_ms is over -> RESTING, FAILED
 *   WATCHED: the new task ends -> FAILED
 *
 * STARTING and RESTING hold one of the `parallelism` places. Each slot fails at most once; when the
 * failed slots exceed the ratio, the failure action is taken. The update is complete when no slot
 * is queued or STARTING, and none WATCHED (that wait is left out when failures are ignored).
 *
 * A restarted manager finds the phases in the stored tasks again: those of the update say that they
 * are (Task.of_update), are of the version in force, and were made since it began.
 */
#include <assert.h>

#include "manager/orchestrator/orchestrator_internal.h"
#include "manager/store/constraint.h"
#include "shared/base/parse.h"

static const Swarm__UpdateConfig defaults = {
        .base = PROTOBUF_C_MESSAGE_INIT(&swarm__update_config__descriptor),
        .parallelism = 1,
        .monitor_ms = DEFAULT_UPDATE_MONITOR_MS,
        .wait_ms = DEFAULT_UPDATE_WAIT_MS,
};

static bool is_rollback(const struct orch_service *os)
{
        return os->service->update.state == UPDATE_ROLLBACK_STARTED;
}

static bool is_in_progress(const struct orch_service *os)
{
        return os->service->update.state == UPDATE_UPDATING || is_rollback(os);
}

static const Swarm__UpdateConfig *config(const struct orch_service *os)
{
        const Swarm__ServiceSpec *spec = os->service->spec->msg;
        const Swarm__UpdateConfig *c = is_rollback(os) ? spec->rollback : spec->update;

        return c ? c : &defaults;
}

static void count_phase(struct update *u, unsigned phase, uint32_t by)
{
        if (phase & PHASE_STARTING)
                u->starting += by;
        if (phase & PHASE_RESTING)
                u->resting += by;
        if (phase & PHASE_WATCHED)
                u->watched += by;
}

static void set_phase(struct slot *slot, unsigned phase)
{
        struct update *u = &slot->os->update;

        if (phase == slot->phase)
                return;
        count_phase(u, slot->phase, (uint32_t)-1);
        slot->phase = (uint8_t)phase;
        count_phase(u, phase, 1);
        service_mark(slot->os);
}

static void enqueue(struct slot *slot)
{
        struct update *u = &slot->os->update;

        if (u->len == u->cap) {
                u->cap = u->cap ? u->cap * 2 : 16;
                u->queue = xreallocarray(u->queue, u->cap, sizeof(u->queue[0]));
        }
        u->queue[u->len++] = slot;
        u->total++;
        set_phase(slot, PHASE_QUEUED);
}

static void stop(struct orch_service *os)
{
        struct update *u = &os->update;
        struct slot *slot;
        size_t i = 0;

        while ((slot = index_next(os, &i)))
                set_phase(slot, 0);
        assert(u->starting == 0 && u->resting == 0 && u->watched == 0);
        u->is_active = false;
        u->len = u->next = 0;
        u->total = u->failed = 0;
}

void update_forget(struct slot *slot)
{
        struct update *u = &slot->os->update;

        bool is_queued = slot->phase & PHASE_QUEUED;

        set_phase(slot, 0);
        for (size_t i = u->next; is_queued && i < u->len; i++)
                if (u->queue[i] == slot)
                        u->queue[i] = NULL;
}

static void begin(struct orch_service *os)
{
        os->update.is_active = true;
        if (os->service->update.state == UPDATE_ROLLBACK_COMPLETED)
                update_move(os, UPDATE_ROLLBACK_STARTED, "rollback in progress");
        else if (!is_rollback(os))
                update_move(os, UPDATE_UPDATING, "update in progress");
        service_mark(os);
}

void update_add(struct slot *slot)
{
        struct orch_service *os = slot->os;

        if (os->service->update.state == UPDATE_PAUSED ||
            os->service->update.state == UPDATE_ROLLBACK_PAUSED)
                return;
        enqueue(slot);
        if (!os->update.is_active)
                begin(os);
}

/* The task of this slot that the update made, or the one that followed it to another node. */
static struct task *task_of_update(const struct slot *slot)
{
        const struct service *service = slot->os->service;

        for (size_t i = slot->count; i-- > 0;) {
                struct task *task = slot_task(slot, i);

                if (task->spec->version == service->spec->version &&
                    task->flags & TASK_FLAG_UPDATE &&
                    task->created_ms >= service->update.started_ms)
                        return task;
        }
        return NULL;
}

static int64_t to_mono(const struct orch_service *os, int64_t wall_ms)
{
        struct now now = os->o->now;

        return now.mono_ms - MAX(now.wall_ms - wall_ms, 0);
}

/* After a restart of the manager: where did this slot stand? */
static void resume_slot(struct slot *slot)
{
        struct orch_service *os = slot->os;
        const Swarm__UpdateConfig *c = config(os);
        struct task *task = task_of_update(slot);

        if (!task)
                return;
        os->update.total++;
        if (restart_ended_by_itself(task)) {
                bool is_early =
                        !task->running_ms || task->state_ms - task->running_ms <= c->monitor_ms;

                os->update.failed += is_early;
                slot->since_ms = to_mono(os, task->state_ms);
                set_phase(slot, PHASE_RESTING | PHASE_FAILED);
        } else if (task_is_live(task) && task->state == TASK_RUNNING) {
                slot->since_ms = to_mono(os, task->running_ms);
                set_phase(slot, PHASE_RESTING | PHASE_WATCHED);
        } else if (task_is_live(task)) {
                slot->since_ms = to_mono(os, task->created_ms);
                set_phase(slot, PHASE_STARTING);
        }
        if (slot->phase)
                slot_mark(slot);
}

static bool is_to_be_replaced(const struct slot *slot)
{
        const struct task *newest = slot_newest(slot);

        if (!newest || !task_is_dirty(slot->os, newest) || slot_has_failed(slot))
                return false;
        return !slot->os->is_global || (slot_node_is_valid(slot) && slot_node_is_open(slot));
}

/* When no update is under way, the constraints of the spec in force hold for all tasks: see node.c.
 */
static void review_places(struct orch_service *os)
{
        struct task *task;

        LIST_FOREACH (task, &os->service->tasks, service_link)
                if (task->node && task_is_live(task) && !task_has_ended(task) &&
                    !constraint_spec_is_met(os->service->spec, task->node))
                        node_mark(os->o, task->node);
}

void update_review(struct orch_service *os)
{
        bool resumes = os->is_resuming && is_in_progress(os);
        bool is_held = os->is_resuming && (os->service->update.state == UPDATE_PAUSED ||
                                           os->service->update.state == UPDATE_ROLLBACK_PAUSED);
        struct slot *slot;
        size_t i = 0;

        stop(os);
        os->seen_version = os->service->spec->version;
        os->is_resuming = false;
        if (is_held)
                return;
        while ((slot = index_next(os, &i))) {
                struct task *newest = slot_newest(slot);

                if (!newest)
                        continue;
                if (!task_is_live(newest) || task_has_ended(newest))
                        slot_mark(slot); /* another spec, another restart policy */
                if (is_to_be_replaced(slot))
                        enqueue(slot);
                else if (resumes)
                        resume_slot(slot);
        }
        if (resumes)
                os->update.is_active = true;
        else if (os->update.len > 0)
                begin(os);
        else if (is_in_progress(os))
                os->update.is_active = true; /* nothing to do: complete */
        else
                review_places(os);
        service_mark(os);
}

static void pause_update(struct orch_service *os, const char *reason, const char *more)
{
        _cleanup_free_ char *text = NULL;
        bool is_back = is_rollback(os);

        text = xasprintf("%s paused: %s%s", is_back ? "rollback" : "update", reason, more);
        update_move(os, is_back ? UPDATE_ROLLBACK_PAUSED : UPDATE_PAUSED, text);
        stop(os);
}

static void roll_back(struct orch_service *os, const char *reason)
{
        _cleanup_free_ char *text = xasprintf("update rolled back: %s", reason);

        update_move(os, UPDATE_ROLLBACK_STARTED, text);
        stop(os);
        store_swap_service_spec(os->o->store, os->service, true, os->o->now.wall_ms);
        service_mark(os);
}

static void on_failure(struct slot *slot, const char *reason)
{
        struct orch_service *os = slot->os;
        struct update *u = &os->update;
        const Swarm__UpdateConfig *c = config(os);

        u->failed++;
        if (c->failure_action == ACTION_CONTINUE)
                return;
        if ((double)u->failed / (double)MAX(u->total, 1u) <= c->max_failure_ratio)
                return;
        if (c->failure_action != ACTION_ROLLBACK || is_rollback(os))
                pause_update(os, reason, "");
        else if (!os->service->previous_spec)
                pause_update(os, reason, "; there is no previous version to go back to");
        else
                roll_back(os, reason);
}

static char *failed_text(const struct task *task)
{
        _cleanup_free_ char *name = task_name(task);

        return xasprintf("task %s %s early%s%s", name,
                         task->state == TASK_COMPLETE ? "ended" : task_state_name(task->state),
                         task->error ? ": " : "", task->error ? task->error : "");
}

static void fail_slot(struct slot *slot, char *reason)
{
        slot->since_ms = slot->phase & PHASE_STARTING ? slot->os->o->now.mono_ms : slot->since_ms;
        set_phase(slot, PHASE_RESTING | PHASE_FAILED);
        on_failure(slot, reason);
        free(reason);
}

static int64_t wait_ms(const Swarm__UpdateConfig *c)
{
        return c->wait_ms > 0 ? c->wait_ms : DEFAULT_UPDATE_WAIT_MS;
}

static void step_starting(struct slot *slot, const struct task *task)
{
        struct orch_service *os = slot->os;
        const Swarm__UpdateConfig *c = config(os);
        int64_t now_ms = os->o->now.mono_ms;

        if (restart_ended_by_itself(task)) {
                fail_slot(slot, failed_text(task));
        } else if (task->state == TASK_RUNNING) {
                slot->since_ms = now_ms;
                set_phase(slot, PHASE_RESTING | PHASE_WATCHED);
        } else if (!task_is_live(task)) {
                set_phase(slot, 0);
        } else if (now_ms - slot->since_ms >= wait_ms(c)) {
                char text[FORMAT_MAX];
                _cleanup_free_ char *name = task_name(task);

                fail_slot(slot, xasprintf("task %s does not run after %s%s%s", name,
                                          format_duration_ms(wait_ms(c), text),
                                          task->error ? ": " : "", task->error ? task->error : ""));
        }
}

/* Bits that are over are taken away. */
static void step_time(struct slot *slot, int64_t *due_ms)
{
        const Swarm__UpdateConfig *c = config(slot->os);
        int64_t now_ms = slot->os->o->now.mono_ms;
        const struct {
                unsigned bit;
                int64_t for_ms;
        } periods[] = {{PHASE_STARTING, wait_ms(c)},
                       {PHASE_RESTING, c->delay_ms},
                       {PHASE_WATCHED, c->monitor_ms}};

        for (size_t i = 0; i < ARRAY_SIZE(periods); i++) {
                int64_t at_ms = slot->since_ms + periods[i].for_ms;

                if (!(slot->phase & periods[i].bit))
                        continue;
                if (at_ms > now_ms)
                        *due_ms = MIN(*due_ms, at_ms);
                else if (periods[i].bit != PHASE_STARTING)
                        set_phase(slot, slot->phase & ~periods[i].bit);
        }
        if (slot->phase == PHASE_FAILED)
                set_phase(slot, 0);
}

void update_slot(struct slot *slot, int64_t *due_ms)
{
        const struct task *task;

        if (slot->phase & PHASE_QUEUED && !is_to_be_replaced(slot))
                service_mark(slot->os); /* the last one that the update waits for, perhaps */
        if (!(slot->phase & (PHASE_STARTING | PHASE_RESTING | PHASE_WATCHED)))
                return;
        task = task_of_update(slot);
        if (!task) {
                set_phase(slot, 0);
                return;
        }
        if (slot->phase & PHASE_STARTING)
                step_starting(slot, task);
        else if ((slot->phase & PHASE_WATCHED) && restart_ended_by_itself(task))
                fail_slot(slot, failed_text(task));
        else if (!task_is_live(task) && !(slot->phase & PHASE_FAILED))
                set_phase(slot, 0); /* its node went: nothing to be seen of it any more */
        step_time(slot, due_ms);
}

/* A task of the spec in force that runs: there is one when an update that starts the new task first
 * goes back. */
static struct task *find_clean(const struct slot *slot)
{
        for (size_t i = slot->count; i-- > 0;) {
                struct task *task = slot_task(slot, i);

                if (task_is_live(task) && task->state == TASK_RUNNING &&
                    !task_is_dirty(slot->os, task))
                        return task;
        }
        return NULL;
}

/* Only what serves is kept while the new one starts. */
static void stop_all_but_running(struct slot *slot, const struct task *except)
{
        for (size_t i = 0; i < slot->count; i++) {
                struct task *task = slot_task(slot, i);

                if (task != except && task_is_live(task) && task->state != TASK_RUNNING)
                        store_set_task_desired(slot->os->o->store, task, TASK_SHUTDOWN);
        }
}

/* Replaces the slot's task by one of the spec in force. */
static void replace(struct slot *slot)
{
        struct orch_service *os = slot->os;
        struct task *clean = find_clean(slot);
        bool is_start_first = config(os)->order == ORDER_START_FIRST;

        if (clean) {
                slot_set_desired(slot, clean, TASK_SHUTDOWN);
                set_phase(slot, 0);
                return;
        }
        slot->since_ms = os->o->now.mono_ms;
        struct task *task = slot_add_task(slot, is_start_first ? TASK_RUNNING : TASK_READY,
                                          &(struct task_init){.of_update = true});
        if (is_start_first)
                stop_all_but_running(slot, task);
        else
                slot_set_desired(slot, task, TASK_SHUTDOWN);
        set_phase(slot, PHASE_STARTING);
        slot_mark(slot);
}

/* The slot that is next; those that need it no more leave the queue. NULL: none. */
static struct slot *first_queued(struct orch_service *os)
{
        struct update *u = &os->update;

        for (; u->next < u->len; u->next++) {
                struct slot *slot = u->queue[u->next];

                if (slot && is_to_be_replaced(slot))
                        return slot;
                if (slot)
                        set_phase(slot, 0);
        }
        return NULL;
}

void update_pump(struct orch_service *os)
{
        struct update *u = &os->update;
        struct slot *slot;

        if (!u->is_active)
                return;
        const Swarm__UpdateConfig *c = config(os);
        while ((slot = first_queued(os)) &&
               (c->parallelism == 0 || u->starting + u->resting < c->parallelism)) {
                if (is_full(os->o)) {
                        service_mark(os);
                        return;
                }
                u->next++;
                replace(slot);
        }
        if (u->next < u->len || u->starting > 0 ||
            (u->watched > 0 && c->failure_action != ACTION_CONTINUE))
                return;
        if (is_rollback(os))
                update_move(os, UPDATE_ROLLBACK_COMPLETED, "rollback completed");
        else
                update_move(os, UPDATE_COMPLETED, "update completed");
        stop(os);
        review_places(os);
}
