/*
 * What must hold. At every step: no node is promised away twice, no container of a task runs on two
 * machines, what is acknowledged is there. After healing: what was asked for runs, and nothing
 * else.
 */
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

                if (r && !task_state_is_terminal(t->state) && t->desired <= TASK_RUNNING)
                        memory += r->memory_bytes;
        }
        if (memory > node->description->capacity->memory_bytes)
                sim_fail(sim, "node %s: more memory reserved than there is", node_hostname(node));
}

static void check_store(struct sim *sim)
{
        struct node *node;
        size_t i;

        MAP_FOREACH (node, i, store_nodes(sim->manager.store))
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
        if (sim->manager.store && !sim->manager.is_committing)
                check_store(sim);
        check_containers(sim);
}

/* --- after healing -------------------------------------------------------------------------------
 */
static size_t live_nodes_of(struct sim *sim)
{
        struct node *node;
        size_t i, n = 0;

        MAP_FOREACH (node, i, store_nodes(sim->manager.store))
                n += node->state == NODE_READY && node->availability == AVAILABILITY_ACTIVE;
        return n;
}

static bool is_container_running(struct sim *sim, const struct task *t)
{
        struct sim_agent *a = sim_agent_by_node(sim, t->node->id);
        struct sim_container *c = a ? sim_agent_find(a, t->id) : NULL;

        return c && c->state == SIM_RUNNING;
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

/* Every slot of a service has one live task, and it runs what the service asks for. */
static const char *check_service(struct sim *sim, struct service *s)
{
        const Swarm__ServiceSpec *spec = s->spec->msg;
        uint64_t running = 0, live = 0;
        struct task *t;

        if (s->is_removing)
                return say("service %s is still being removed", s->name);
        LIST_FOREACH (t, &s->tasks, service_link) {
                if (t->desired > TASK_RUNNING)
                        continue;
                live++;
                if (t->state == TASK_RUNNING && is_container_running(sim, t))
                        running++;
        }
        uint64_t want = spec->mode == MODE_GLOBAL ? live_nodes_of(sim) : spec->replicas;
        if (str_has_prefix(spec->task->container->image, "bad"))
                return NULL;
        if (s->update.state == UPDATE_UPDATING || s->update.state == UPDATE_ROLLBACK_STARTED)
                return say("service %s is still in state %s", s->name,
                           update_state_name(s->update.state));
        if (s->update.state == UPDATE_PAUSED || s->update.state == UPDATE_ROLLBACK_PAUSED)
                return NULL; /* it waits for its user, with what it had */
        if (running != want || live != want)
                return say("service %s: %llu live and %llu running of %llu", s->name,
                           (unsigned long long)live, (unsigned long long)running,
                           (unsigned long long)want);
        return NULL;
}

/* No container runs that no task wants. */
static const char *check_orphans(struct sim *sim)
{
        for (int i = 0; i < sim->n_agents; i++) {
                struct sim_container *c;

                LIST_FOREACH (c, &sim->agents[i].containers, link) {
                        struct task *t = store_find_task(sim->manager.store, c->id);

                        if (c->state != SIM_RUNNING)
                                continue;
                        if (!t)
                                return say("%s runs %s, a task nobody knows",
                                           sim->agents[i].hostname, ID_S(c->id));
                        if (t->desired > TASK_RUNNING)
                                return say("%s runs %s, which should be %s",
                                           sim->agents[i].hostname, ID_S(c->id),
                                           task_state_name(t->desired));
                }
        }
        return NULL;
}

/* What was acknowledged is there. */
static const char *check_promises(struct sim *sim)
{
        for (int i = 0; i < sim->n_services; i++) {
                struct sim_service *s = &sim->services[i];
                struct service *is = store_find_service_by_name(sim->manager.store, s->name);

                if (s->is_ambiguous || s->waiting)
                        continue;
                if (is && is->is_removing)
                        is = NULL;
                if (s->exists != (is != NULL))
                        return say("service %s %s, but the user was told otherwise", s->name,
                                   is ? "exists" : "does not exist");
                if (is && !s->is_global && !s->is_image_ambiguous &&
                    is->spec->msg->replicas != s->replicas)
                        return say("service %s has %llu replicas, the user was promised %llu",
                                   s->name, (unsigned long long)is->spec->msg->replicas,
                                   (unsigned long long)s->replicas);
        }
        return NULL;
}

const char *sim_check_converged(struct sim *sim)
{
        struct service *s;
        size_t i;

        if (!sim->manager.turn || sim->manager.is_committing)
                return "the manager is not at rest";
        for (int k = 0; k < sim->n_agents; k++) {
                struct node *node = sim->agents[k].is_joined ? store_find_node(sim->manager.store,
                                                                               sim->agents[k].node)
                                                             : NULL;

                if (!node || node->state != NODE_READY)
                        return say("node %s is not ready", sim->agents[k].hostname);
        }
        MAP_FOREACH (s, i, store_services(sim->manager.store)) {
                const char *problem = check_service(sim, s);

                if (problem)
                        return problem;
        }
        const char *problem = check_orphans(sim);
        return problem ? problem : check_promises(sim);
}
