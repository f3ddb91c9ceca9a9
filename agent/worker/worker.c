/* The worker: see worker.h. */
#include "agent/worker/worker.h"

#include <errno.h>
#include <stdlib.h>

#include "agent/worker/worker_internal.h"
#include "shared/base/str.h"
#include "shared/wire/wire.h"

void worker_init(struct worker *w, const struct agent_ports *ports, struct report *report)
{
        *w = (struct worker){
                .ports = ports,
                .report = report,
                .tasks = MAP_INIT(struct work, id, MAP_KEY_ID),
                .specs = MAP_INIT(struct spec, key, MAP_KEY_ID),
        };
        list_init(&w->idle_specs);
}

/* All tasks in a heap array: steps may forget some while we walk. NULL when there is none. */
static struct work **all_tasks(const struct worker *w, size_t *ret_n)
{
        struct work **list, *t;
        size_t i, n = 0;

        *ret_n = w->tasks.len;
        if (w->tasks.len == 0)
                return NULL;
        list = xnew_array(struct work *, w->tasks.len);
        MAP_FOREACH (t, i, &w->tasks)
                list[n++] = t;
        return list;
}

void worker_done(struct worker *w)
{
        size_t n;
        _cleanup_free_ struct work **list = all_tasks(w, &n);

        for (size_t i = 0; i < n; i++)
                work_free(w, list[i]);
        map_done(&w->tasks);
        specs_done(w);
}

/* --- one task ----------------------------------------------------------------------------------
 */

static char *make_name(const struct worker *w, const Swarm__ServiceSpec *spec, uint64_t slot)
{
        const char *service = spec ? spec->name : "task";

        if (slot)
                return xasprintf("%s.%llu", service, (unsigned long long)slot);
        return xasprintf("%s.%s", service, ID_S(w->node_id));
}

/* Makes it the task that was assigned, with its record in the journal. */
static void fill_in(struct worker *w, struct now now, struct work *t, struct spec *spec,
                    const Swarm__TaskAssignment *m, enum task_state state)
{
        wire_get_id(&m->service_id, &t->service_id);
        t->spec_version = m->spec_version;
        t->slot = m->slot;
        t->fsm.state = state;
        t->fsm.desired = m->desired;
        t->spec = spec;
        spec_ref(spec);
        t->name = make_name(w, spec->message, m->slot);
        if (m->n_generic > 0)
                t->claim = wire_dup(m);
        t->status.state = state;
        t->status.state_ms = now.wall_ms;
        t->status.message = task_fsm_message(state);
        t->epoch = w->epoch;
        work_save(w, t);
}

static struct work *create(struct worker *w, struct now now, struct id id, struct spec *spec,
                           const Swarm__TaskAssignment *m)
{
        struct work *t = xnew(struct work);

        t->id = id;
        report_item_init(&t->status, id);
        map_put(&w->tasks, t);
        fill_in(w, now, t, spec, m, TASK_ASSIGNED);
        return t;
}

/* Returns what takes its place: it was assigned anew while it went. NULL: nothing. */
static struct work *forget(struct worker *w, struct now now, struct work *t)
{
        struct work *next = NULL;

        w->ports->journal_remove(w->ports->arg, t->id);
        map_remove(&w->tasks, t);
        if (t->again) {
                next = create(w, now, t->id, t->again_spec, t->again);
                next->epoch = t->epoch;
        }
        work_free(w, t);
        return next;
}

/* What must be known after a crash: that a container may exist, that it runs, how it ended. */
static bool is_durable(enum task_state s)
{
        return s >= TASK_STARTING;
}

/* Nobody waits for states on the way to one that is wanted. */
static bool is_urgent(const struct work *t)
{
        return t->fsm.state >= TASK_RUNNING ||
               (t->fsm.state == TASK_READY && t->fsm.desired < TASK_RUNNING);
}

static void set_state(struct worker *w, struct now now, struct work *t, const struct task_end *to,
                      int64_t wall_ms)
{
        task_fsm_move(&t->fsm, to->state);
        free(t->status.error);
        t->status.error = *to->error ? xstrdup(to->error) : NULL;
        t->status.state = to->state;
        t->status.state_ms = wall_ms > 0 ? wall_ms : now.wall_ms;
        t->status.exit_code = to->exit_code;
        t->status.message = task_fsm_message(to->state);
        if (!t->fsm.is_removed) /* else nobody wants to know any more */
                report_touch(w->report, &t->status, is_urgent(t), now.mono_ms);
        if (is_durable(to->state))
                work_save(w, t);
}

static struct agent_task describe(const struct work *t)
{
        return (struct agent_task){
                .id = t->id,
                .service_id = t->service_id,
                .slot = t->slot,
                .name = t->name,
                .spec = t->spec->message,
                .generic =
                        t->claim ? (const Swarm__GenericResource *const *)t->claim->generic : NULL,
                .n_generic = t->claim ? t->claim->n_generic : 0,
                .state = t->fsm.state,
        };
}

static bool take_event(struct worker *w, struct now now, struct work *t,
                       const struct container_event *e)
{
        struct task_end end;

        if (!task_fsm_event(&t->fsm, e, &end))
                return false;
        if (end.state != t->fsm.state)
                set_state(w, now, t, &end, e->wall_ms);
        return true;
}

/* New texts beside a state that goes on. */
static void tell_texts(struct worker *w, struct now now, struct work *t)
{
        if (!t->fsm.is_removed)
                report_touch(w->report, &t->status, false, now.mono_ms);
}

/* What the health checks of a container say, while it runs and is to go on. */
static void note_health(struct worker *w, struct now now, struct work *t,
                        const struct container_event *e)
{
        if (t->fsm.phase != PHASE_RUNNING || t->fsm.unhealthy ||
            task_state_is_terminal(t->fsm.state))
                return;
        free(STEAL_PTR(t->status.error));
        if (e->kind != CONTAINER_HEALTHY)
                t->status.error = xasprintf(
                        "%s: %s", e->kind == CONTAINER_UNWELL ? "health check failed" : "unhealthy",
                        e->text);
        tell_texts(w, now, t);
}

/* That a stop is under way is not seen in the state. Of one that runs and is not to any more, the
 * desired state tells. */
static void note_stop(struct worker *w, struct now now, struct work *t)
{
        if (t->fsm.state >= TASK_RUNNING && !t->fsm.unhealthy)
                return;
        t->status.message = TASK_MESSAGE_STOPPING;
        tell_texts(w, now, t);
}

/* Why a task is not even prepared; NULL: it is. */
static const char *refusal(const struct worker *w, const struct work *t)
{
        if (!t->spec->message)
                return "specification is not valid";
        return w->tasks.len > WORKER_TASKS_MAX ? "too many tasks on this node" : NULL;
}

static void act(struct worker *w, struct now now, struct work *t, enum task_act what)
{
        const struct agent_ports *p = w->ports;
        struct agent_task at;

        task_fsm_did(&t->fsm, what);
        switch (what) {
        case ACT_PREPARE:
                if (refusal(w, t)) {
                        take_event(w, now, t,
                                   &(struct container_event){.kind = CONTAINER_FAILED,
                                                             .text = refusal(w, t)});
                        break;
                }
                at = describe(t);
                p->container_prepare(p->arg, &at);
                break;
        case ACT_START:
                at = describe(t);
                p->container_start(p->arg, &at);
                break;
        case ACT_STOP:
                note_stop(w, now, t);
                p->container_stop(p->arg, t->id);
                break;
        case ACT_REMOVE: p->container_remove(p->arg, t->id); break;
        case ACT_NONE:
        case ACT_FORGET: break;
        }
}

/* Takes the task as far as it goes by itself. It may be gone afterwards. A preparation of an
 * earlier life goes on when the manager has named the task again: its image comes with it. */
static void settle(struct worker *w, struct now now, struct work *t)
{
        while (!t->is_stray) {
                struct task_step s = task_fsm_step(&t->fsm);
                bool is_moved = s.state != t->fsm.state;

                if (s.act == ACT_FORGET) {
                        t = forget(w, now, t);
                        if (!t)
                                return;
                        continue;
                }
                if (s.act == ACT_PREPARE && t->epoch == 0)
                        return;
                if (is_moved)
                        set_state(w, now, t, &(struct task_end){.state = s.state, .exit_code = -1},
                                  0);
                if (s.act != ACT_NONE)
                        act(w, now, t, s.act);
                else if (!is_moved)
                        return;
        }
}

void worker_on_container(struct worker *w, struct now now, const struct container_event *e)
{
        struct work *t = map_get_id(&w->tasks, e->task);

        if (!t)
                return;
        if (t->is_stray) { /* where it is counts when its task is known; how, its driver keeps */
                task_fsm_event(&t->fsm, e, &(struct task_end){0});
                return;
        }
        if (e->kind == CONTAINER_HEALTHY || e->kind == CONTAINER_UNWELL ||
            e->kind == CONTAINER_UNHEALTHY)
                note_health(w, now, t, e);
        if (take_event(w, now, t, e))
                settle(w, now, t);
}

/* --- recovery ----------------------------------------------------------------------------------
 */

int worker_load(struct worker *w, const uint8_t *packed, size_t n)
{
        struct work *t;
        int r = work_load(w, packed, n, &t);

        if (r < 0)
                return r;
        if (map_get_id(&w->tasks, t->id)) {
                work_free(w, t);
                return -EBADMSG;
        }
        map_put(&w->tasks, t);
        return 0;
}

/* A container of no task we know. */
static void keep_stray(struct worker *w, struct id id, bool is_running)
{
        struct work *t = xnew(struct work);

        t->id = id;
        t->is_stray = true;
        t->fsm = (struct task_fsm){.state = TASK_STARTING,
                                   .desired = TASK_RUNNING,
                                   .phase = is_running ? PHASE_RUNNING : PHASE_ENDED};
        report_item_init(&t->status, id);
        map_put(&w->tasks, t);
}

/* The manager names its task: what has become of it is the task's, which does not begin again. */
static void take_up(struct worker *w, struct now now, struct work *t, struct spec *spec,
                    const Swarm__TaskAssignment *m)
{
        struct agent_task at;

        t->is_stray = false;
        t->fsm.phase = PHASE_STARTING;
        fill_in(w, now, t, spec, m, TASK_STARTING);
        at = describe(t);
        w->ports->container_adopt(w->ports->arg, &at);
        settle(w, now, t);
}

void worker_load_container(struct worker *w, struct id task, bool is_running,
                           const struct container_event *e)
{
        struct work *t = map_get_id(&w->tasks, task);

        if (!t) {
                keep_stray(w, task, is_running);
                return;
        }
        if (t->fsm.state < TASK_STARTING)
                t->fsm.state = t->status.state = TASK_STARTING; /* it did, and was not written */
        if (is_running) {
                t->fsm.phase = PHASE_RUNNING;
                t->fsm.is_checked = e && e->is_health_checked && t->fsm.state < TASK_RUNNING;
        } else if (!task_state_is_terminal(t->fsm.state)) {
                struct container_event lost = {.kind = CONTAINER_EXITED, .exit_code = -1};

                t->fsm.phase = PHASE_STARTING;
                take_event(w, (struct now){0}, t, e ? e : &lost);
        }
}

bool worker_get_task(const struct worker *w, struct id task, struct agent_task *ret)
{
        const struct work *t = map_get_id(&w->tasks, task);

        if (!t || !t->spec || !t->spec->message)
                return false;
        *ret = describe(t);
        return true;
}

void worker_start(struct worker *w, struct now now)
{
        const struct container_event lost = {
                .kind = CONTAINER_EXITED,
                .exit_code = -1,
                .text = "the container was gone when the agent started"};
        size_t n;
        _cleanup_free_ struct work **list = all_tasks(w, &n);

        for (size_t i = 0; i < n; i++) {
                if (list[i]->is_stray)
                        continue;
                if (list[i]->fsm.phase == PHASE_STARTING)
                        take_event(w, now, list[i], &lost);
                if (!list[i]->fsm.is_removed)
                        report_touch(w->report, &list[i]->status, true, now.mono_ms);
                settle(w, now, list[i]);
        }
}

/* --- assignments -------------------------------------------------------------------------------
 */

void worker_on_session(struct worker *w, struct id node_id)
{
        w->node_id = node_id;
        w->seq = 0;
        w->is_collecting = w->has_set = false;
}

static void remove_one(struct worker *w, struct now now, struct work *t)
{
        work_want_again(w, t, NULL, NULL);
        if (t->fsm.is_removed)
                return;
        t->fsm.is_removed = true;
        t->is_stray = false;
        list_remove(&t->status.link);
        t->status.is_inflight = t->status.is_changed = false;
        work_save(w, t);
        settle(w, now, t);
}

static int assign_one(struct worker *w, struct now now, const Swarm__TaskAssignment *m)
{
        struct id id, service;
        struct spec *spec;
        struct work *t;

        if (wire_get_id(&m->task_id, &id) < 0 || wire_get_id(&m->service_id, &service) < 0)
                return -EBADMSG;
        t = map_get_id(&w->tasks, id);
        if (!task_state_is_valid(m->desired)) {
                /* The manager is newer than we are: what is there stays as it is. */
                if (t)
                        t->epoch = w->epoch;
                return 0;
        }
        if (t && !t->fsm.is_removed && !t->is_stray) {
                t->epoch = w->epoch;
                if (task_fsm_want(&t->fsm, m->desired))
                        work_save(w, t);
                settle(w, now, t);
                return 0;
        }
        spec = spec_get(w, service, m->spec_version);
        if (!spec)
                return -ESTALE;
        if (t && t->is_stray && spec->message) {
                take_up(w, now, t, spec, m);
                return 0;
        }
        if (t) {
                remove_one(w, now, t);
                t->epoch = w->epoch;
                work_want_again(w, t, spec, m);
                return 0;
        }
        settle(w, now, create(w, now, id, spec, m));
        return 0;
}

static void remove_unseen(struct worker *w, struct now now)
{
        size_t n;
        _cleanup_free_ struct work **list = all_tasks(w, &n);

        for (size_t i = 0; i < n; i++)
                if (list[i]->epoch != w->epoch)
                        remove_one(w, now, list[i]);
}

void worker_abandon(struct worker *w, struct now now)
{
        w->epoch++;
        remove_unseen(w, now);
}

/* 1: to be taken, 0: a copy of what was taken, -ESTALE. A complete set may begin anew while one is
 * being taken; what only the first named is then not in it. */
static int check_order(struct worker *w, const Swarm__Assignments *m)
{
        bool has_any = w->has_set || w->is_collecting;

        if (has_any && m->results_in <= w->seq)
                return 0;
        if (m->is_complete && m->applies_to == 0) {
                w->epoch++;
                return 1;
        }
        if (!has_any || m->is_complete != w->is_collecting || m->applies_to != w->seq)
                return -ESTALE;
        return 1;
}

int worker_assign(struct worker *w, struct now now, const Swarm__Assignments *m)
{
        int r = check_order(w, m);

        if (r <= 0)
                return r;
        for (size_t i = 0; i < m->n_specs; i++)
                if (spec_take(w, m->specs[i]) < 0)
                        return -ESTALE;
        for (size_t i = 0; i < m->n_images && w->ports->on_image; i++)
                w->ports->on_image(w->ports->arg, m->images[i]);
        for (size_t i = 0; i < m->n_tasks; i++)
                if (assign_one(w, now, m->tasks[i]) < 0)
                        return -ESTALE;
        for (size_t i = 0; i < m->n_removed; i++) {
                struct id id;
                struct work *t;

                if (wire_get_id(&m->removed[i], &id) < 0)
                        return -ESTALE;
                t = map_get_id(&w->tasks, id);
                if (t)
                        remove_one(w, now, t);
        }
        w->seq = m->results_in;
        if (m->is_complete) {
                w->is_collecting = m->is_continued;
                if (!m->is_continued) {
                        w->has_set = true;
                        remove_unseen(w, now);
                }
        }
        return 0;
}
