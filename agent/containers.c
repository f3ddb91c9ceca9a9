/* The driver of a node's containers: see containers.h. */
#include "agent/containers.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/container/container.h"
#include "agent/health/health.h"
#include "shared/base/io.h"
#include "shared/base/list.h"
#include "shared/base/log.h"
#include "shared/base/map.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/base/time.h"
#include "shared/wire/wire.h"

#define VOLUME_MODE 0755

/* One container, from its preparation to its removal. */
struct run {
        struct id id;
        struct containers *owner;
        struct agent_task task; /* spec is the core's; name and generic are ours */
        char *name;
        Swarm__TaskAssignment *claim; /* holds a copy of the generic resources */
        struct image_ask *ask;
        struct image_ref *image;
        struct layers_hold *hold; /* of one that was taken over */
        bool is_starting, is_running, is_stopping, has_ended;
        struct container_exit exit; /* of one that was found without its task, and has ended */
        int stop_signal;
        int64_t stop_grace_ms;
        Swarm__Health *health; /* heap; NULL: none */
        char **anonymous_volumes;
        struct list start_link; /* containers.asked */
};

struct containers {
        struct loop *loop;
        struct containers_config config;
        struct id node;
        struct runtime *runtime;
        struct image_store *images;
        struct health *health;
        char *volumes_dir;
        struct map runs;
        struct list asked;    /* struct run: to be started once the journal is written */
        struct list removals; /* in the background */
        struct list late;     /* struct late_event: to be told soon */
        bool is_closing;      /* nobody is told any more */
};

/* --- events --------------------------------------------------------------------------------------
 */
struct late_event {
        struct list link;
        struct containers *owner;
        struct container_event event;
        char *text;
        struct loop_timer *timer;
};

static struct run *run_find(struct containers *c, struct id id)
{
        return map_get_id(&c->runs, id);
}

/* Whatever does not run any more, or never did, adds nothing to its log. */
static void tell(struct containers *c, const struct container_event *e)
{
        struct run *r = run_find(c, e->task);

        if (c->is_closing)
                return;
        if (r && (e->kind == CONTAINER_EXITED || e->kind == CONTAINER_FAILED))
                r->has_ended = true;
        c->config.on_event(c->config.arg, e);
}

static void late_free(struct late_event *l)
{
        list_remove(&l->link);
        loop_timer_free(l->timer);
        free(l->text);
        free(l);
}

static void on_late(void *arg)
{
        struct late_event *l = arg;

        tell(l->owner, &l->event);
        late_free(l);
}

/* For what is known inside the asking call already. */
static void tell_late(struct containers *c, const struct container_event *e)
{
        struct late_event *l = xnew(struct late_event);

        list_push_back(&c->late, &l->link);
        l->owner = c;
        l->text = xstrdup_or_null(e->text);
        l->event = *e;
        l->event.text = l->text;
        l->timer = loop_timer_new(c->loop, on_late, l);
        loop_timer_set(l->timer, 0);
}

static void fail_late(struct containers *c, struct id id, const char *why)
{
        tell_late(c, &(struct container_event){.task = id, .kind = CONTAINER_FAILED, .text = why});
}

/* --- runs ----------------------------------------------------------------------------------------
 */
static struct run *run_add(struct containers *c, const struct agent_task *t)
{
        struct run *r = xnew(struct run);
        Swarm__TaskAssignment claim = SWARM__TASK_ASSIGNMENT__INIT;

        r->id = t->id;
        r->owner = c;
        r->name = xstrdup(t->name);
        claim.generic = (Swarm__GenericResource **)(uintptr_t)t->generic;
        claim.n_generic = t->n_generic;
        r->claim = wire_dup(&claim);
        r->task = *t;
        r->task.name = r->name;
        r->task.generic = (const Swarm__GenericResource *const *)r->claim->generic;
        r->task.n_generic = r->claim->n_generic;
        list_init(&r->start_link);
        map_put(&c->runs, r);
        return r;
}

static void run_free(struct run *r)
{
        struct containers *c = r->owner;

        map_remove(&c->runs, r);
        list_remove(&r->start_link);
        if (r->ask)
                image_ask_cancel(r->ask);
        image_ref_release(r->image);
        layers_hold_free(r->hold);
        health_forget(c->health, r->id);
        wire_free(r->health);
        wire_free(r->claim);
        strv_free(r->anonymous_volumes);
        free(r->name);
        free(r);
}

static int make_plan(struct run *r, struct container_plan **ret, struct err *err)
{
        struct container_input in = {.task = &r->task,
                                     .image = image_ref_config(r->image),
                                     .layers = image_ref_layers(r->image),
                                     .node_id = r->owner->node,
                                     .node_hostname = r->owner->config.hostname,
                                     .volumes_dir = r->owner->volumes_dir};

        return container_plan_make(&in, ret, err);
}

/* What is needed of the plan after the start. */
static void keep_plan(struct run *r, struct container_plan *p)
{
        r->stop_signal = p->stop_signal;
        r->stop_grace_ms = p->stop_grace_ms;
        wire_free(r->health);
        r->health = STEAL_PTR(p->health);
        strv_free(r->anonymous_volumes);
        r->anonymous_volumes = STEAL_PTR(p->anonymous_volumes);
}

/* --- prepare -------------------------------------------------------------------------------------
 */
static void on_image(void *arg, struct image_ref *ref, const struct err *err)
{
        struct run *r = arg;
        struct container_event e = {.task = r->id, .kind = CONTAINER_PREPARED};
        struct container_plan *plan = NULL;
        struct err bad = {0};

        r->ask = NULL;
        r->image = ref;
        if (err) {
                bad = *err;
                err_wrap(&bad, "%s on node %s", r->task.spec->task->container->image,
                         r->owner->config.hostname);
                e.kind = CONTAINER_FAILED;
                e.text = bad.text;
        } else if (make_plan(r, &plan, &bad) < 0) { /* said now, before it is to start */
                e.kind = CONTAINER_FAILED;
                e.text = bad.text;
        }
        container_plan_free(plan);
        tell(r->owner, &e);
}

void containers_prepare(struct containers *c, const struct agent_task *t)
{
        struct run *r = run_find(c, t->id);

        if (r)
                run_free(r);
        r = run_add(c, t);
        r->ask = image_ask(c->images, t->spec->task->container->image_id, on_image, r);
}

/* --- start ---------------------------------------------------------------------------------------
 */

/* Folders of volumes that go with a container: of this task, or (NULL) of all that are no more. */
static char **find_own_volumes(struct containers *c, const struct id *task)
{
        DIR *dir = opendir(c->volumes_dir);
        char **v = NULL;
        struct dirent *e;
        struct id id;

        while (dir && (e = readdir(dir))) {
                if (own_volume_parse(e->d_name, &id) < 0 ||
                    (task ? !id_is_equal(id, *task) : run_find(c, id) != NULL))
                        continue;
                _cleanup_free_ char *path = xasprintf("%s/%s", c->volumes_dir, e->d_name);

                strv_push(&v, path);
        }
        if (dir)
                closedir(dir);
        return v;
}

static int make_volumes(const struct container_plan *p, struct err *err)
{
        for (size_t i = 0; p->volumes && p->volumes[i]; i++) {
                int r = io_mkdir_all(p->volumes[i], VOLUME_MODE);

                if (r < 0)
                        return err_set(err, -r, "volume %s: %s", strrchr(p->volumes[i], '/') + 1,
                                       err_name(r));
        }
        return 0;
}

static void on_started(void *arg, struct id id, pid_t pid, const struct err *err)
{
        struct containers *c = arg;
        struct run *r = run_find(c, id);
        struct container_event e = {.task = id, .kind = CONTAINER_STARTED};

        if (r)
                r->is_starting = false;
        if (err) {
                e.kind = CONTAINER_FAILED;
                e.text = err->text;
                if (r && r->is_stopping)
                        log_info("container stopped before it had started task=%s", ID_S(id));
                else
                        log_warn("container not started task=%s error=%s", ID_S(id), err->text);
        } else if (r) {
                log_info("container started task=%s name=%s pid=%d", ID_S(id), r->name, pid);
                r->is_running = true;
                e.is_health_checked = r->health != NULL;
        }
        tell(c, &e);
        r = run_find(c, id); /* whoever is told may have it stopped in the call */
        if (r && r->is_running && !r->is_stopping && r->health)
                health_watch(c->health, id, r->health, false);
}

static void start_run(struct run *r)
{
        struct containers *c = r->owner;
        struct container_plan *plan = NULL;
        struct err err = {0};
        int e = make_plan(r, &plan, &err);

        if (e == 0)
                e = make_volumes(plan, &err);
        if (plan)
                keep_plan(r, plan);
        if (e < 0) {
                fail_late(c, r->id, err.text);
                container_plan_free(plan);
                return;
        }
        r->is_starting = true;
        runtime_start(c->runtime, &plan->config, on_started, c);
        container_plan_free(plan);
}

void containers_pump(struct containers *c)
{
        struct list *l;

        while ((l = list_pop_front(&c->asked)))
                start_run(LIST_ITEM(l, struct run, start_link));
}

void containers_refuse(struct containers *c, const char *why)
{
        struct list *l;

        while ((l = list_pop_front(&c->asked))) {
                struct run *r = LIST_ITEM(l, struct run, start_link);

                log_warn("container not started task=%s error=%s", ID_S(r->id), why);
                fail_late(c, r->id, why);
        }
}

void containers_start(struct containers *c, const struct agent_task *t)
{
        struct run *r = run_find(c, t->id);

        if (!r || !r->image) {
                fail_late(c, t->id, "it is not prepared");
                return;
        }
        list_push_back(&c->asked, &r->start_link);
}

/* --- stop and end --------------------------------------------------------------------------------
 */
void containers_stop(struct containers *c, struct id task)
{
        struct run *r = run_find(c, task);

        if (!r || r->is_stopping)
                return;
        if (list_is_linked(&r->start_link)) { /* asked to start, and the journal not written */
                list_remove(&r->start_link);
                fail_late(c, task, "stopped before its start");
                return;
        }
        r->is_stopping = r->is_starting || r->is_running;
        if (r->is_starting)
                runtime_cancel(c->runtime, task);
        if (!r->is_running)
                return;
        health_forget(c->health, task);
        runtime_stop(c->runtime, task, r->stop_signal, r->stop_grace_ms);
}

static struct container_event exit_event(struct id id, const struct container_exit *e)
{
        return (struct container_event){.task = id,
                                        .kind = CONTAINER_EXITED,
                                        .exit_code = e->status,
                                        .is_oom = e->is_oom,
                                        .wall_ms = e->time_ms,
                                        .text = e->reason};
}

static void on_exit_event(void *arg, struct id id, const struct container_exit *e)
{
        struct containers *c = arg;
        struct run *r = run_find(c, id);
        struct container_event event = exit_event(id, e);

        log_info("container ended task=%s status=%d%s", ID_S(id), e->status,
                 e->is_oom ? " oom" : "");
        health_forget(c->health, id);
        if (r) {
                r->is_running = false;
                r->exit = *e;
        }
        tell(c, &event);
}

static void on_health(void *arg, struct id task, enum health_finding what, const char *text)
{
        static const enum container_event_kind kinds[] = {[HEALTH_PASSES] = CONTAINER_HEALTHY,
                                                          [HEALTH_FAILS] = CONTAINER_UNWELL,
                                                          [HEALTH_IS_BROKEN] = CONTAINER_UNHEALTHY};
        struct containers *c = arg;
        struct container_event e = {.task = task, .kind = kinds[what], .text = text};

        if (what != HEALTH_PASSES)
                log_info("health check failed task=%s%s result=%s", ID_S(task),
                         what == HEALTH_IS_BROKEN ? " stopping" : "", text);
        tell(c, &e);
}

/* --- remove --------------------------------------------------------------------------------------
 */
struct removal {
        struct list link;         /* containers.removals */
        struct containers *owner; /* NULL: closed meanwhile */
        struct id id;
        char **volumes;
};

static void remove_volumes(void *arg) /* on another thread */
{
        const struct removal *m = arg;

        for (char **v = m->volumes; v && *v; v++) {
                int r = io_remove_tree(AT_FDCWD, *v);

                if (r < 0)
                        log_warn("volume is not removed: path=%s error=%s", *v, err_name(r));
        }
}

static void all_removed(void *arg)
{
        struct removal *m = arg;
        struct container_event e = {.task = m->id, .kind = CONTAINER_REMOVED};

        if (m->owner)
                tell(m->owner, &e);
        list_remove(&m->link);
        strv_free(m->volumes);
        free(m);
}

static void on_removed(void *arg)
{
        struct removal *m = arg;

        if (m->owner && m->volumes)
                loop_work(m->owner->loop, remove_volumes, all_removed, m);
        else
                all_removed(m);
}

void containers_remove(struct containers *c, struct id task)
{
        struct run *r = run_find(c, task);
        struct removal *m = xnew(struct removal);

        m->owner = c;
        m->id = task;
        list_push_back(&c->removals, &m->link);
        if (r) {
                m->volumes = STEAL_PTR(r->anonymous_volumes);
                run_free(r);
        }
        runtime_remove(c->runtime, task, on_removed, m);
}

/* What an earlier agent had no more time for, or no record of. The tasks are known to be over. */
static void sweep_volumes(struct containers *c)
{
        struct removal *m = xnew(struct removal); /* without an owner: nobody is told */

        list_push_back(&c->removals, &m->link);
        m->volumes = find_own_volumes(c, NULL);
        loop_work(c->loop, remove_volumes, all_removed, m);
}

/* --- taking over ---------------------------------------------------------------------------------
 */
static struct run *take_over(struct containers *c, const struct agent_task *t)
{
        struct run *r = run_add(c, t);
        struct container_plan *plan = NULL;
        struct err err = {0};
        const char *image_id;

        _cleanup_strv_ char **layers = runtime_layers(c->runtime, t->id);

        r->hold = layers_hold_new(c->images, layers);
        r->stop_signal = SIGTERM;
        r->stop_grace_ms = DEFAULT_STOP_GRACE_MS;
        if (!t->spec) {
                r->anonymous_volumes = find_own_volumes(c, &t->id);
                log_warn("container of no known task: kept until a manager says whose it is "
                         "task=%s",
                         ID_S(t->id));
                return r;
        }
        image_id = t->spec->task->container->image_id;
        r->image = image_ref_get(c->images, image_id);
        if (!r->image)
                log_warn("image of a container is not here task=%s image=%s", ID_S(t->id),
                         image_id);
        else if (make_plan(r, &plan, &err) < 0)
                log_warn("container is kept as it is task=%s error=%s", ID_S(t->id), err.text);
        else
                keep_plan(r, plan);
        container_plan_free(plan);
        strv_free(r->anonymous_volumes); /* what there is counts, with a plan or without */
        r->anonymous_volumes = find_own_volumes(c, &t->id);
        return r;
}

static struct container_event state_event(const struct run *r)
{
        struct container_event e = {.task = r->id, .kind = CONTAINER_STARTED};

        if (!r->is_running)
                e = exit_event(r->id, &r->exit);
        e.is_health_checked = r->health != NULL;
        return e;
}

/* What an earlier agent had begun to stop ends, whatever the core thinks of it. */
static void go_on(struct run *r, bool is_running, bool was_healthy)
{
        struct containers *c = r->owner;

        r->is_stopping = is_running && runtime_is_stopping(c->runtime, r->id);
        if (r->is_stopping)
                log_info("container is stopping since an earlier agent task=%s", ID_S(r->id));
        else if (is_running && r->health)
                health_watch(c->health, r->id, r->health, was_healthy);
}

void containers_adopt(struct containers *c, const struct agent_task *t)
{
        struct run *found = run_find(c, t->id);

        if (!found) {
                fail_late(c, t->id, "its container is gone");
                return;
        }
        struct container_exit exit = found->exit;
        bool is_running = found->is_running;

        run_free(found);
        struct run *r = take_over(c, t);

        r->is_running = is_running;
        r->has_ended = !is_running;
        r->exit = exit;
        log_info("container taken over, for its task is known again task=%s name=%s", ID_S(r->id),
                 r->name);
        const struct container_event e = state_event(r);

        tell_late(c, &e);
        go_on(r, is_running, false);
}

struct recovery {
        struct containers *owner;
        const struct containers_recovery *port;
};

static void on_found(void *arg, struct id id, bool is_running, pid_t pid UNUSED,
                     const struct container_exit *exit)
{
        struct recovery *y = arg;
        struct agent_task t;

        if (!y->port->get(y->port->arg, id, &t))
                t = (struct agent_task){.id = id, .name = "?"};
        struct run *r = take_over(y->owner, &t);

        r->is_running = is_running;
        r->has_ended = !is_running;
        if (is_running)
                log_info("container taken over task=%s name=%s", ID_S(id), r->name);
        if (exit)
                r->exit = *exit;
        const struct container_event e = state_event(r);

        y->port->found(y->port->arg, id, is_running, &e);
        go_on(r, is_running, t.state >= TASK_RUNNING);
}

int containers_recover(struct containers *c, const struct containers_recovery *port)
{
        struct recovery y = {c, port};
        int r = runtime_recover(c->runtime, on_found, &y);

        if (r == 0) {
                sweep_volumes(c);
                image_store_sweep(c->images);
        }
        return r;
}

/* --- the module ----------------------------------------------------------------------------------
 */
static int open_parts(struct containers *c, struct err *err)
{
        _cleanup_free_ char *root = xasprintf("%s/agent/runtime", c->config.data_dir);
        _cleanup_free_ char *images = xasprintf("%s/agent/images", c->config.data_dir);
        struct runtime_config runtime = {.root = root,
                                         .shim_path = c->config.shim_path,
                                         .cgroup_name = c->config.cgroup_name,
                                         .events = {c, on_exit_event}};
        struct image_store_config store = {.dir = images,
                                           .unpack_path = c->config.unpack_path,
                                           .arg = c->config.arg,
                                           .fetch = c->config.fetch};
        struct health_events health = {c, on_health};
        int r = io_mkdir_all(c->volumes_dir, 0711);

        if (r < 0)
                return err_set(err, -r, "%s: %s", c->volumes_dir, err_name(r));
        r = runtime_open(c->loop, &runtime, &c->runtime, err);
        if (r < 0)
                return r;
        c->health = health_new(c->loop, c->runtime, &health);
        return image_store_open(c->loop, &store, &c->images, err);
}

int containers_open(struct loop *l, const struct containers_config *config, struct containers **ret,
                    struct err *err)
{
        struct containers *c = xnew(struct containers);

        c->loop = l;
        c->config = *config;
        c->runs = MAP_INIT(struct run, id, MAP_KEY_ID);
        c->volumes_dir = xasprintf("%s/agent/volumes", config->data_dir);
        list_init(&c->asked);
        list_init(&c->removals);
        list_init(&c->late);
        int r = open_parts(c, err);
        if (r < 0) {
                containers_close(c);
                return r;
        }
        *ret = c;
        return 0;
}

void containers_close(struct containers *c)
{
        struct run *r;
        struct list *l;

        if (!c)
                return;
        c->is_closing = true;
        while ((l = list_pop_front(&c->removals)))
                LIST_ITEM(l, struct removal, link)->owner = NULL;
        for (size_t i = 0; (r = map_next(&c->runs, &i)); i = 0)
                run_free(r);
        if (c->runtime)
                runtime_close(c->runtime); /* answers the health checks, too */
        map_done(&c->runs);
        if (c->images)
                image_store_close(c->images);
        if (c->health)
                health_free(c->health);
        while (!list_is_empty(&c->late))
                late_free(LIST_ITEM(c->late.next, struct late_event, link));
        free(c->volumes_dir);
        free(c);
}

void containers_set_node(struct containers *c, struct id node)
{
        c->node = node;
}

bool containers_is_live(struct containers *c, struct id task)
{
        struct run *r = run_find(c, task);

        return r && !r->has_ended;
}

struct runtime *containers_runtime(struct containers *c)
{
        return c->runtime;
}

struct image_store *containers_images(struct containers *c)
{
        return c->images;
}
