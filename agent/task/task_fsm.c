/* The state machine of one task: see task_fsm.h. */
#include "agent/task/task_fsm.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "shared/base/mem.h"
#include "shared/base/str.h"

/* The end is wanted: by the desired state, or because the manager forgot the task. */
static bool wants_end(const struct task_fsm *f)
{
        return f->is_removed || f->desired > TASK_RUNNING;
}

void task_fsm_done(struct task_fsm *f)
{
        free(STEAL_PTR(f->unhealthy));
}

bool task_fsm_want(struct task_fsm *f, enum task_state desired)
{
        if (desired <= f->desired)
                return false;
        f->desired = desired;
        return true;
}

static struct task_step step_none(const struct task_fsm *f)
{
        if (f->is_removed)
                return (struct task_step){f->state, ACT_FORGET};
        if (task_state_is_terminal(f->state))
                return (struct task_step){f->state, ACT_NONE};
        if (wants_end(f))
                return (struct task_step){TASK_SHUTDOWN, ACT_NONE};
        if (f->state < TASK_ACCEPTED)
                return (struct task_step){TASK_ACCEPTED, ACT_NONE};
        return (struct task_step){MAX(f->state, TASK_PREPARING), ACT_PREPARE};
}

static struct task_step step_prepared(const struct task_fsm *f)
{
        if (wants_end(f)) {
                enum task_state s = task_state_is_terminal(f->state) ? f->state : TASK_SHUTDOWN;

                return (struct task_step){s, f->is_removed ? ACT_REMOVE : ACT_NONE};
        }
        if (f->state < TASK_READY)
                return (struct task_step){TASK_READY, ACT_NONE};
        if (f->desired == TASK_RUNNING)
                return (struct task_step){TASK_STARTING, ACT_START};
        return (struct task_step){f->state, ACT_NONE};
}

static struct task_step step_running(const struct task_fsm *f)
{
        if (wants_end(f) || f->unhealthy || task_state_is_terminal(f->state))
                return (struct task_step){f->state, ACT_STOP};
        if (!f->is_checked && f->state < TASK_RUNNING)
                return (struct task_step){TASK_RUNNING, ACT_NONE};
        return (struct task_step){f->state, ACT_NONE};
}

struct task_step task_fsm_step(const struct task_fsm *f)
{
        const struct task_step none = {f->state, ACT_NONE};

        switch (f->phase) {
        case PHASE_NONE: return step_none(f);
        case PHASE_PREPARING:
                /* The answer is awaited, but the manager need not wait for it. */
                if (wants_end(f) && !task_state_is_terminal(f->state))
                        return (struct task_step){TASK_SHUTDOWN, ACT_NONE};
                return none;
        case PHASE_PREPARED: return step_prepared(f);
        case PHASE_RUNNING: return step_running(f);
        case PHASE_ENDED:
                return (struct task_step){f->state, f->is_removed ? ACT_REMOVE : ACT_NONE};
        case PHASE_GONE: return (struct task_step){f->state, f->is_removed ? ACT_FORGET : ACT_NONE};
        case PHASE_STARTING:
                return (struct task_step){f->state, wants_end(f) ? ACT_STOP : ACT_NONE};
        case PHASE_STOPPING:
        case PHASE_REMOVING: return none;
        }
        return none;
}

void task_fsm_did(struct task_fsm *f, enum task_act act)
{
        switch (act) {
        case ACT_PREPARE:
                assert(f->phase == PHASE_NONE);
                f->phase = PHASE_PREPARING;
                break;
        case ACT_START:
                assert(f->phase == PHASE_PREPARED && f->state == TASK_STARTING);
                f->phase = PHASE_STARTING;
                break;
        case ACT_STOP:
                assert(f->phase == PHASE_STARTING || f->phase == PHASE_RUNNING);
                f->phase = PHASE_STOPPING;
                break;
        case ACT_REMOVE:
                assert(f->phase == PHASE_PREPARED || f->phase == PHASE_ENDED);
                f->phase = PHASE_REMOVING;
                break;
        case ACT_NONE:
        case ACT_FORGET: break;
        }
}

static void end_of_exit(const struct task_fsm *f, const struct container_event *e,
                        struct task_end *ret)
{
        ret->exit_code = e->exit_code;
        if (wants_end(f)) {
                ret->state = TASK_SHUTDOWN;
        } else if (f->unhealthy) {
                ret->state = TASK_FAILED;
                snprintf(ret->error, sizeof(ret->error), "unhealthy: %s", f->unhealthy);
        } else if (e->exit_code == 0) {
                ret->state = TASK_COMPLETE;
        } else if (e->exit_code < 0) {
                ret->state = TASK_FAILED;
                snprintf(ret->error, sizeof(ret->error), "task: exit status not known%s%s",
                         str_is_empty(e->text) ? "" : ": ", e->text ? e->text : "");
        } else {
                ret->state = TASK_FAILED;
                snprintf(ret->error, sizeof(ret->error), "task: non-zero exit (%d)%s", e->exit_code,
                         e->is_oom ? ": out of memory" : "");
        }
}

static void end_of_failure(const struct task_fsm *f, const struct container_event *e,
                           struct task_end *ret)
{
        if (wants_end(f)) {
                ret->state = TASK_SHUTDOWN;
                return;
        }
        ret->state = f->phase == PHASE_PREPARING && f->state < TASK_STARTING ? TASK_REJECTED
                                                                             : TASK_FAILED;
        snprintf(ret->error, sizeof(ret->error), "%s",
                 str_is_empty(e->text) ? "container: failed for an unknown reason" : e->text);
}

static bool can_exit(enum task_phase p)
{
        return p == PHASE_STARTING || p == PHASE_RUNNING || p == PHASE_STOPPING;
}

/* Of one that is being stopped its start fails, if it had not come to its end. */
static bool can_fail(enum task_phase p)
{
        return p == PHASE_PREPARING || p == PHASE_STARTING || p == PHASE_STOPPING;
}

static bool on_end(struct task_fsm *f, const struct container_event *e, struct task_end *ret)
{
        bool is_exit = e->kind == CONTAINER_EXITED;

        if (!(is_exit ? can_exit(f->phase) : can_fail(f->phase)))
                return false;
        if (!task_state_is_terminal(f->state)) {
                if (is_exit)
                        end_of_exit(f, e, ret);
                else
                        end_of_failure(f, e, ret);
        }
        f->phase = PHASE_ENDED;
        return true;
}

static bool advance(struct task_fsm *f, enum task_phase from, enum task_phase to)
{
        if (f->phase != from)
                return false;
        f->phase = to;
        return true;
}

bool task_fsm_event(struct task_fsm *f, const struct container_event *e, struct task_end *ret)
{
        *ret = (struct task_end){.state = f->state, .exit_code = -1};
        switch (e->kind) {
        case CONTAINER_PREPARED: return advance(f, PHASE_PREPARING, PHASE_PREPARED);
        case CONTAINER_STARTED:
                if (!advance(f, PHASE_STARTING, PHASE_RUNNING))
                        return false;
                f->is_checked = e->is_health_checked;
                return true;
        case CONTAINER_HEALTHY:
                if (f->phase != PHASE_RUNNING || !f->is_checked)
                        return false;
                f->is_checked = false;
                return true;
        case CONTAINER_UNHEALTHY:
                if (f->phase != PHASE_RUNNING || f->unhealthy)
                        return false;
                f->unhealthy = xstrdup(e->text);
                return true;
        case CONTAINER_UNWELL: return false;
        case CONTAINER_EXITED:
        case CONTAINER_FAILED: return on_end(f, e, ret);
        case CONTAINER_REMOVED: return advance(f, PHASE_REMOVING, PHASE_GONE);
        }
        return false;
}

/* The legal moves, from the row to the states named. Terminal states have none. */
static const struct {
        enum task_state from, to[8];
} moves[] = {
        {TASK_ASSIGNED, {TASK_ACCEPTED, TASK_SHUTDOWN, TASK_FAILED}},
        {TASK_ACCEPTED, {TASK_PREPARING, TASK_SHUTDOWN, TASK_FAILED}},
        {TASK_PREPARING, {TASK_READY, TASK_SHUTDOWN, TASK_REJECTED, TASK_FAILED}},
        {TASK_READY, {TASK_STARTING, TASK_SHUTDOWN, TASK_REJECTED, TASK_FAILED}},
        {TASK_STARTING, {TASK_RUNNING, TASK_COMPLETE, TASK_SHUTDOWN, TASK_FAILED}},
        {TASK_RUNNING, {TASK_COMPLETE, TASK_SHUTDOWN, TASK_FAILED}},
};

static bool is_legal(enum task_state from, enum task_state to)
{
        for (size_t i = 0; i < ARRAY_SIZE(moves); i++)
                for (size_t k = 0; moves[i].from == from && k < ARRAY_SIZE(moves[i].to); k++)
                        if (moves[i].to[k] == to)
                                return true;
        return false;
}

void task_fsm_move(struct task_fsm *f, enum task_state state)
{
        assert(is_legal(f->state, state));
        f->state = state;
}

const char *task_fsm_message(enum task_state state)
{
        switch (state) {
        case TASK_ACCEPTED: return "accepted";
        case TASK_PREPARING: return "preparing";
        case TASK_READY: return "prepared";
        case TASK_STARTING: return "starting";
        case TASK_RUNNING: return "started";
        case TASK_COMPLETE: return "finished";
        case TASK_SHUTDOWN: return "shutdown";
        case TASK_FAILED: return "failed";
        case TASK_REJECTED: return "rejected";
        default: return "assigned";
        }
}
