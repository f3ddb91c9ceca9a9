/* The commands of the golden cases; tests/golden/cases/README has them. */
#include "tests/lib/plan_script.h"

#include <errno.h>
#include <stdlib.h>

#include "shared/wire/wire.h"
#include "tests/lib/plan_spec.h"

typedef int (*spec_fn)(void *object, const char *key, const char *value);

static int words(char **w, void *object, spec_fn fn, struct err *err)
{
        for (; *w; w++) {
                const char *value;
                size_t n;

                if (parse_key_value(*w, &n, &value) < 0)
                        return err_set(err, EINVAL, "no such word: %s", *w);
                _cleanup_free_ char *key = xstrndup(*w, n);
                if (fn(object, key, value) < 0)
                        return err_set(err, EINVAL, "no such word: %s", *w);
        }
        return 0;
}

static int on_spec(void *object, const char *key, const char *value)
{
        return spec_word(object, key, value);
}

static int on_node_word(void *object, const char *key, const char *value)
{
        return node_word(object, key, value);
}

/* --- nodes
 * --------------------------------------------------------------------------------------*/

static void node_put(struct plan *p, struct node *node, Swarm__Node *msg)
{
        store_set_node_description(p->store, node, msg->description, p->now.wall_ms);
        store_set_node_spec(p->store, node, node->availability, node->role,
                            (const Swarm__KeyValue *const *)msg->labels, msg->n_labels,
                            p->now.wall_ms);
}

static int node_add(struct plan *p, const char *name, char **w, struct err *err)
{
        Swarm__Node *msg = node_new_empty(name);
        struct id id = {1, ++p->last_node};
        uint8_t key[32] = {(uint8_t)p->last_node, (uint8_t)(p->last_node >> 8), 1};
        int r = words(w, msg, on_node_word, err);

        if (r == 0) {
                plan_name_node(p, id, name);
                struct node *node = store_add_node(p->store, id, key, ROLE_WORKER, p->now.wall_ms);
                node_put(p, node, msg);
                store_set_node_state(p->store, node, NODE_READY, NULL, p->now.wall_ms);
        }
        wire_free(msg);
        return r;
}

static int node_set(struct plan *p, struct node *node, char **w, struct err *err)
{
        Swarm__Node *msg = wire_dup(node->labels);

        wire_free(msg->description);
        msg->description = wire_dup(node->description);
        int r = words(w, msg, on_node_word, err);
        if (r == 0)
                node_put(p, node, msg);
        wire_free(msg);
        return r;
}

static void node_remove(struct plan *p, struct node *node)
{
        store_remove_node(p->store, node, p->now.wall_ms);
}

static int cmd_node(struct plan *p, char **w, struct err *err)
{
        struct node *node = plan_find_node(p, w[1]);
        enum node_availability availability;
        enum node_state state;

        if (!node)
                return node_add(p, w[1], w + 2, err);
        if (!w[2])
                return err_set(err, EINVAL, "node %s: what?", w[1]);
        if (str_is_equal(w[2], "set"))
                return node_set(p, node, w + 3, err);
        if (str_is_equal(w[2], "remove")) {
                node_remove(p, node);
        } else if (node_availability_parse(w[2], &availability) == 0) {
                store_set_node_spec(p->store, node, availability, node->role,
                                    (const Swarm__KeyValue *const *)node->labels->labels,
                                    node->labels->n_labels, p->now.wall_ms);
        } else {
                for (state = NODE_UNKNOWN; state <= NODE_SUSPECT; state++)
                        if (str_is_equal(w[2], node_state_name(state)))
                                break;
                if (state > NODE_SUSPECT)
                        return err_set(err, EINVAL, "node: no such state: %s", w[2]);
                if (state == NODE_SUSPECT && node->state != NODE_READY)
                        return err_set(err, EINVAL, "node: only a ready one becomes suspect");
                bool is_back = node->state == NODE_DOWN && state == NODE_READY;
                store_set_node_state(p->store, node, state, NULL, p->now.wall_ms);
                if (is_back)
                        plan_agent_returns(p, node);
        }
        return 0;
}

/* --- services
 * -----------------------------------------------------------------------------------*/

static int service_add(struct plan *p, const char *name, char **w, struct err *err)
{
        Swarm__ServiceSpec *spec = spec_new_empty(name);
        int r = words(w, spec, on_spec, err);

        if (r == 0)
                store_add_service(p->store, (struct id){2, ++p->last_service}, spec,
                                  p->now.wall_ms);
        wire_free(spec);
        return r;
}

static int service_update(struct plan *p, struct service *service, char **w, struct err *err)
{
        Swarm__ServiceSpec *spec = wire_dup(service->spec->msg);
        int r = words(w, spec, on_spec, err);

        if (r == 0) {
                store_set_service_spec(p->store, service, spec, p->now.wall_ms);
                store_set_update_status(p->store, service, UPDATE_NONE, 0, 0, NULL);
        }
        wire_free(spec);
        return r;
}

static int cmd_service(struct plan *p, char **w, struct err *err)
{
        struct service *service = store_find_service_by_name(p->store, w[1]);

        if (!service)
                return service_add(p, w[1], w + 2, err);
        if (!w[2])
                return err_set(err, EINVAL, "service %s: what?", w[1]);
        if (str_is_equal(w[2], "update"))
                return service_update(p, service, w + 3, err);
        if (str_is_equal(w[2], "remove")) {
                store_set_service_removing(p->store, service);
        } else if (str_is_equal(w[2], "rollback") && service->previous_spec) {
                store_swap_service_spec(p->store, service, false, p->now.wall_ms);
                store_set_update_status(p->store, service, UPDATE_ROLLBACK_STARTED, p->now.wall_ms,
                                        0, "rollback requested by the user");
        } else {
                return err_set(err, EINVAL, "service: cannot %s", w[2]);
        }
        return 0;
}

/* --- the rest
 * -----------------------------------------------------------------------------------*/

static int parse_state(const char *s, enum task_state *ret)
{
        for (uint32_t v = 0; v <= TASK_ORPHANED; v++)
                if (task_state_is_valid(v) && str_is_equal(task_state_name(v), s)) {
                        *ret = v;
                        return 0;
                }
        return -EINVAL;
}

static int cmd_task(struct plan *p, char **w, struct err *err)
{
        struct task *task = plan_find_task(p, w[1]);
        enum task_state state;

        if (!task)
                return err_set(err, EINVAL, "no such task: %s", w[1]);
        if (!w[2] || parse_state(w[2], &state) < 0 || state < task->state)
                return err_set(err, EINVAL, "task %s: what state?", w[1]);
        store_set_task_state(p->store, task, state, p->now.wall_ms, w[2], w[3], w[3] ? 1 : -1);
        return 0;
}

static int compare_tasks(const void *a, const void *b)
{
        const struct task *x = *(struct task *const *)a, *y = *(struct task *const *)b;

        if (x->slot != y->slot)
                return x->slot < y->slot ? -1 : 1;
        return x->row < y->row ? -1 : 1;
}

/* A line a task of a service, in order of slots. */
static int cmd_show(struct plan *p, char **w, struct err *err)
{
        struct service *service = store_find_service_by_name(p->store, w[1]);
        struct task *task;
        size_t n = 0;

        if (!service)
                return err_set(err, EINVAL, "no such service: %s", w[1]);
        plan_settle(p);
        _cleanup_free_ struct task **tasks = xnew_array(struct task *, service->task_count + 1);
        LIST_FOREACH (task, &service->tasks, service_link)
                tasks[n++] = task;
        qsort(tasks, n, sizeof(tasks[0]), compare_tasks);
        plan_say(p, "%s: %s, %zu tasks, %llu running", service->name,
                 service->update.state ? update_state_name(service->update.state) : "-", n,
                 (unsigned long long)store_running_tasks(p->store, service));
        for (size_t i = 0; i < n; i++)
                buf_printf(&p->out, "   %s v%llu %s/%s %s\n", plan_name(p, tasks[i]->id),
                           (unsigned long long)tasks[i]->spec->version,
                           task_state_name(tasks[i]->state), task_state_name(tasks[i]->desired),
                           tasks[i]->node ? plan_name(p, tasks[i]->node->id) : "-");
        return 0;
}

/* How many wanted tasks of each service each node has. */
static int cmd_spread(struct plan *p, char **w UNUSED, struct err *err UNUSED)
{
        struct node *node;

        plan_settle(p);
        for (uint64_t i = 1; i <= p->last_node; i++) {
                struct task *task;
                size_t n = 0;

                if (!(node = store_find_node(p->store, (struct id){1, i})))
                        continue;
                LIST_FOREACH (task, &node->tasks, node_link)
                        n += task->desired <= TASK_RUNNING && task->state >= TASK_ASSIGNED &&
                             !task_state_is_terminal(task->state);
                buf_printf(&p->out, "   %s %zu\n", plan_name(p, node->id), n);
        }
        return 0;
}

static int cmd_auto(struct plan *p, char **w, struct err *err)
{
        if (str_is_equal(w[1], "run") && w[2])
                return parse_duration_ms(w[2], &p->run_ms);
        if (str_is_equal(w[1], "stop") && w[2])
                return parse_duration_ms(w[2], &p->stop_ms);
        if (!str_is_equal(w[1], "off"))
                return err_set(err, EINVAL, "auto: run, stop or off");
        p->run_ms = -1;
        return 0;
}

static int cmd_history(struct plan *p, char **w, struct err *err)
{
        Swarm__Cluster *msg = wire_dup(store_cluster(p->store)->msg);

        if (parse_i64(w[1], &msg->settings->task_history_limit) < 0)
                return err_set(err, EINVAL, "history: no number: %s", w[1]);
        store_put_cluster(p->store, &msg);
        return 0;
}

static int cmd_advance(struct plan *p, char **w, struct err *err)
{
        int64_t ms;

        if (parse_duration_ms(w[1], &ms) < 0)
                return err_set(err, EINVAL, "advance: no duration: %s", w[1]);
        plan_advance(p, ms);
        return 0;
}

static int cmd_budget(struct plan *p, char **w, struct err *err UNUSED)
{
        uint64_t n = 0;

        if (parse_u64(w[1], &n) < 0)
                return -EINVAL;
        p->change_max = n;
        return 0;
}

static int cmd_forget(struct plan *p, char **w UNUSED, struct err *err UNUSED)
{
        plan_settle(p);
        buf_clear(&p->out);
        return 0;
}

static int cmd_restart(struct plan *p, char **w UNUSED, struct err *err UNUSED)
{
        plan_restart(p);
        return 0;
}

static const struct {
        const char *name;
        size_t n_words;
        int (*fn)(struct plan *p, char **w, struct err *err);
} commands[] = {
        {"node", 2, cmd_node},       {"service", 2, cmd_service}, {"task", 2, cmd_task},
        {"show", 2, cmd_show},       {"spread", 1, cmd_spread},   {"auto", 2, cmd_auto},
        {"history", 2, cmd_history}, {"advance", 2, cmd_advance}, {"budget", 2, cmd_budget},
        {"forget", 1, cmd_forget},   {"restart", 1, cmd_restart},
};

int script_run(struct plan *p, const char *line, struct err *err)
{
        _cleanup_strv_ char **w = NULL;

        if (str_split_words(line, &w) < 0 || !w)
                return err_set(err, EINVAL, "cannot be read: %s", line);
        for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
                if (!str_is_equal(w[0], commands[i].name))
                        continue;
                if (strv_len(w) < commands[i].n_words)
                        return err_set(err, EINVAL, "%s: more words, please", w[0]);
                return commands[i].fn(p, w, err);
        }
        return err_set(err, EINVAL, "no such command: %s", w[0]);
}
