/*
 * What must hold. At every step: no node is promised away twice, no container of a task runs on two
 * machines, what is acknowledged is there. After healing: what was asked for runs, and nothing
 * else.
 */
#include "manager/store/constraint.h"
#include "tests/sim/sim.h"

#include <stdio.h>
#include <stdlib.h>

static char stuck[256];

/* Reservations of what is placed there and not over never exceed the node. */
static void check_capacity(struct sim *sim, const struct node *node)
{
        int64_t memory = 0;
        struct task *t;

        if (!node->description)
                return;
        LIST_FOREACH (t, &node->tasks, node_link) {
                const Swarm__Resources *r = t->spec->msg->task->reservations;

                if (r && t->state >= TASK_ASSIGNED && !task_state_is_terminal(t->state))
                        memory += r->memory_bytes;
        }
        if (memory > node->description->capacity->memory_bytes)
                sim_fail(sim, "node %s: more memory reserved than there is", node_hostname(node));
}

static void check_store(struct sim *sim)
{
        struct node *node;
        size_t i;

        MAP_FOREACH (node, i, store_nodes(sim->agreed.shadow))
                check_capacity(sim, node);
}

/* A task is one attempt on one machine. */
static void check_containers(struct sim *sim)
{
        for (int i = 0; i < sim->n_agents; i++) {
                struct sim_container *c;

                LIST_FOREACH (c, &sim->agents[i].containers, link)
                        for (int k = 0; k < i; k++)
                                if (sim_agent_find(&sim->agents[k], c->id))
                                        sim_fail(sim, "task %s is on %s and on %s", ID_S(c->id),
                                                 sim->agents[k].hostname, sim->agents[i].hostname);
        }
}

void sim_check_step(struct sim *sim)
{
        if (sim->event_seq % 64 != 0)
                return;
        check_store(sim);
        check_containers(sim);
}

/* --- after healing -------------------------------------------------------------------------------
 */
/* Of the manager that leads. */
static struct store *state(struct sim *sim)
{
        return replica_store(sim_manager_leader(sim)->replica);
}

static const char *say(const char *format, ...) __attribute__((format(printf, 1, 2)));

static const char *say(const char *format, ...)
{
        va_list ap;

        va_start(ap, format);
        vsnprintf(stuck, sizeof(stuck), format, ap);
        va_end(ap);
        return stuck;
}

static size_t live_nodes_of(struct sim *sim, const struct spec *spec)
{
        struct node *node;
        size_t i, n = 0;

        MAP_FOREACH (node, i, store_nodes(state(sim)))
                n += node->state == NODE_READY && node->availability == AVAILABILITY_ACTIVE &&
                     constraint_spec_is_met(spec, node);
        return n;
}

static bool is_container_running(struct sim *sim, const struct task *t)
{
        struct sim_agent *a = sim_agent_by_key(sim, t->node->public_key);
        struct sim_container *c = a ? sim_agent_find(a, t->id) : NULL;

        return c && c->state == SIM_RUNNING;
}

static int64_t memory_of(const struct spec *spec)
{
        const Swarm__Resources *r = spec->msg->task->reservations;

        return r ? r->memory_bytes : 0;
}

static bool can_take(const struct node *node, const struct task *task)
{
        uint64_t max = task->spec->msg->task->placement->max_replicas_per_node, mine = 0;
        int64_t left = node->description->capacity->memory_bytes;
        struct task *t;

        if (node->state != NODE_READY || node->availability != AVAILABILITY_ACTIVE ||
            !constraint_spec_is_met(task->spec, node))
                return false;
        LIST_FOREACH (t, &node->tasks, node_link) {
                if (task_state_is_terminal(t->state))
                        continue;
                left -= memory_of(t->spec);
                mine += t->service == task->service;
        }
        return left >= memory_of(task->spec) && (max == 0 || mine < max);
}

/* A task may wait for ever only where no node can take it. */
static bool has_place(struct sim *sim, const struct task *task)
{
        struct node *node;
        size_t i;

        if (task->node)
                return can_take(task->node, task);
        MAP_FOREACH (node, i, store_nodes(state(sim)))
                if (can_take(node, task))
                        return true;
        return false;
}

static const char *check_placement(const struct task *t)
{
        uint64_t max = t->spec->msg->task->placement->max_replicas_per_node, mine = 0;
        struct task *other;

        if (!t->node || t->desired > TASK_RUNNING || task_state_is_terminal(t->state))
                return NULL;
        if (!constraint_spec_is_met(t->spec, t->node))
                return say("a task of %s is on %s against its constraints", t->service->name,
                           node_hostname(t->node));
        LIST_FOREACH (other, &t->node->tasks, node_link)
                mine += other->service == t->service && other->desired <= TASK_RUNNING &&
                        !task_state_is_terminal(other->state);
        if (max && mine > max)
                return say("%llu tasks of %s on %s, where %llu may be", (unsigned long long)mine,
                           t->service->name, node_hostname(t->node), (unsigned long long)max);
        return NULL;
}

static size_t count_running(struct sim *sim, const struct sim_container *like)
{
        size_t n = 0;

        for (int i = 0; i < sim->n_agents; i++) {
                struct sim_container *c;

                LIST_FOREACH (c, &sim->agents[i].containers, link)
                        n += c->state == SIM_RUNNING && c->slot == like->slot &&
                             id_is_equal(c->service_id, like->service_id);
        }
        return n;
}

/* No live task before it in the list has its slot, or its node if the service is global. */
static bool is_first_of_slot(const struct service *s, const struct task *task)
{
        struct task *t;

        LIST_FOREACH (t, &s->tasks, service_link) {
                if (t == task)
                        break;
                if (t->desired <= TASK_RUNNING && t->slot == task->slot &&
                    (t->slot || t->node == task->node))
                        return false;
        }
        return true;
}

/* Every live task runs or has no place; an update may have left two of a slot, a new one that has
 * no place, and the old one until then. */
static const char *check_tasks(struct sim *sim, struct service *s, uint64_t want)
{
        uint64_t live = 0;
        struct task *t;

        LIST_FOREACH (t, &s->tasks, service_link) {
                if (t->desired > TASK_RUNNING)
                        continue;
                live += is_first_of_slot(s, t);
                if (t->state == TASK_RUNNING && is_container_running(sim, t))
                        continue;
                if (t->state != TASK_PENDING || has_place(sim, t))
                        return say("service %s: task %s of slot %u is %s, should be %s", s->name,
                                   ID_S(t->id), t->slot, task_state_name(t->state),
                                   task_state_name(t->desired));
        }
        if (live != want)
                return say("service %s: %llu live of %llu", s->name, (unsigned long long)live,
                           (unsigned long long)want);
        return NULL;
}

/* It runs what it asks for, if it can. */
static const char *check_service(struct sim *sim, struct service *s)
{
        const Swarm__ServiceSpec *spec = s->spec->msg;

        if (s->is_removing)
                return say("service %s is still being removed", s->name);
        if (str_has_prefix(spec->task->container->image, "bad"))
                return NULL;
        if (s->update.state == UPDATE_UPDATING || s->update.state == UPDATE_ROLLBACK_STARTED)
                return say("service %s is still in state %s", s->name,
                           update_state_name(s->update.state));
        if (s->update.state == UPDATE_PAUSED || s->update.state == UPDATE_ROLLBACK_PAUSED)
                return NULL; /* it waits for its user, with what it had */
        return check_tasks(
                sim, s, spec->mode == MODE_GLOBAL ? live_nodes_of(sim, s->spec) : spec->replicas);
}

/* No container runs that no task wants. */
static const char *check_orphans(struct sim *sim)
{
        for (int i = 0; i < sim->n_agents; i++) {
                struct sim_container *c;

                LIST_FOREACH (c, &sim->agents[i].containers, link) {
                        struct task *t = store_find_task(state(sim), c->id);

                        if (c->state != SIM_RUNNING)
                                continue;
                        if (!t)
                                return say("%s runs %s, a task nobody knows",
                                           sim->agents[i].hostname, ID_S(c->id));
                        if (t->desired > TASK_RUNNING)
                                return say("%s runs %s, which should be %s",
                                           sim->agents[i].hostname, ID_S(c->id),
                                           task_state_name(t->desired));
                        if (task_state_is_terminal(t->state))
                                return say("%s runs %s, which is %s", sim->agents[i].hostname,
                                           ID_S(c->id), task_state_name(t->state));
                        if (c->slot && count_running(sim, c) > 1)
                                return say("slot %llu of %s runs more than once",
                                           (unsigned long long)c->slot, t->service->name);
                }
        }
        return NULL;
}

/* An automatic rollback leaves no previous spec, whatever the state after it. */
static bool was_rolled_back(const struct service *s)
{
        return s->update.state >= UPDATE_ROLLBACK_STARTED ||
               (!s->previous_spec && s->last_spec_version > 1);
}

/* What was acknowledged is there. */
static const char *check_promises(struct sim *sim)
{
        for (int i = 0; i < sim->n_services; i++) {
                struct sim_service *s = &sim->services[i];
                struct service *is = store_find_service_by_name(state(sim), s->name);

                if (s->is_ambiguous || s->waiting)
                        continue;
                if (is && is->is_removing)
                        is = NULL;
                if (s->exists != (is != NULL))
                        return say("service %s %s, but the user was told otherwise", s->name,
                                   is ? "exists" : "does not exist");
                bool is_back = is && was_rolled_back(is);
                if (is && !s->is_global && !is_back && is->spec->msg->replicas != s->replicas)
                        return say("service %s has %llu replicas, the user was promised %llu",
                                   s->name, (unsigned long long)is->spec->msg->replicas,
                                   (unsigned long long)s->replicas);
        }
        return NULL;
}

static const char *check_manager(struct sim *sim, struct sim_manager *m)
{
        if (!m->replica || !replica_store(m->replica))
                return say("%s has no state", m->hostname);
        if (!raft_members_is_voter(&sim->agreed.members, m->id))
                return say("%s has no vote", m->hostname);
        if (replica_applied(m->replica) != sim->agreed.n)
                return say("%s has applied %llu entries of %llu", m->hostname,
                           (unsigned long long)replica_applied(m->replica),
                           (unsigned long long)sim->agreed.n);
        sim_agreed_check(m, replica_store(m->replica), sim->agreed.n, "at rest");
        return NULL;
}

const char *sim_check_managers(struct sim *sim)
{
        struct sim_manager *leader = sim_manager_leader(sim);

        if (!leader)
                return say("no manager leads");
        if (replica_is_waiting(leader->replica))
                return say("%s, which leads, is not at rest", leader->hostname);
        if (sim->agreed.members.n != (size_t)sim->n_managers)
                return say("%zu members of %d managers", sim->agreed.members.n, sim->n_managers);
        for (int i = 0; i < sim->n_managers; i++) {
                const char *problem = check_manager(sim, &sim->managers[i]);

                if (problem)
                        return problem;
        }
        return NULL;
}

const char *sim_check_converged(struct sim *sim)
{
        struct service *s;
        struct task *t;
        size_t i;

        for (int k = 0; k < sim->n_agents; k++) {
                struct node *node = sim->agents[k].is_joined
                                            ? store_find_node(state(sim), sim->agents[k].node)
                                            : NULL;

                if (!node || node->state != NODE_READY)
                        return say("node %s is not ready", sim->agents[k].hostname);
        }
        MAP_FOREACH (s, i, store_services(state(sim))) {
                const char *problem = check_service(sim, s);

                if (problem)
                        return problem;
        }
        MAP_FOREACH (t, i, store_tasks(state(sim))) {
                const char *problem = check_placement(t);

                if (problem)
                        return problem;
        }
        const char *problem = check_orphans(sim);
        return problem ? problem : check_promises(sim);
}
