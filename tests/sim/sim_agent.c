/*
 * The nodes of the simulation: the real agent core over a machine whose containers start slowly,
 * fail, fall ill and end, and outlive the agent. A reboot takes the containers with it; the journal
 * stays, as a rule.
 */
#include "tests/sim/sim.h"
#include "tests/sim/sim_told.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct sim_record {
        struct id id;
        struct buf bytes;
};

#define JOIN_RETRY_MS     500
#define AGENT_DOWN_MS_MAX 8000

static void schedule_tick(struct sim_agent *a);

/* --- containers ----------------------------------------------------------------------------------
 */
struct sim_container *sim_agent_find(struct sim_agent *a, struct id task)
{
        struct sim_container *c;

        LIST_FOREACH (c, &a->containers, link)
                if (id_is_equal(c->id, task))
                        return c;
        return NULL;
}

/* A step of a container that is to come; void when the agent died meanwhile, if it needs the agent.
 */
struct step {
        struct sim_agent *agent;
        uint64_t life; /* 0: happens with or without the agent */
        struct id task;
        enum container_event_kind kind;
        int exit_code;
};

static void tell(struct sim_agent *a, const struct container_event *e)
{
        if (!a->core)
                return;
        agent_on_container(a->core, sim_now(a->sim), e);
        schedule_tick(a);
}

static void happen(struct sim *sim, void *arg);

static void later(struct sim_agent *a, bool needs_agent, struct id task,
                  enum container_event_kind kind, int exit_code, int64_t delay_ms)
{
        struct step *s = xnew(struct step);

        *s = (struct step){a, needs_agent ? a->life : 0, task, kind, exit_code};
        sim_at(a->sim, delay_ms, happen, s);
}

/* Tells how it is after a while, if the agent lives as long. */
static void watch_health(struct sim_container *c)
{
        struct sim *sim = c->agent->sim;

        if (!c->is_health_checked)
                return;
        bool is_ill = sim_chance(sim, sim->faults.unhealthy);
        if (sim_chance(sim, sim->faults.unhealthy))
                later(c->agent, true, c->id, CONTAINER_UNWELL, 0, sim_between(sim, 10, 3000));
        later(c->agent, true, c->id, is_ill ? CONTAINER_UNHEALTHY : CONTAINER_HEALTHY, 0,
              sim_between(sim, 10, 3000));
}

static void container_started(struct sim_container *c)
{
        struct sim_agent *a = c->agent;
        struct sim *sim = a->sim;

        c->state = SIM_RUNNING;
        c->starts++;
        sim->n_starts++;
        if (c->starts > 1)
                sim_fail(sim, "%s: container %s was started twice", a->hostname, ID_S(c->id));
        if (c->is_bad)
                later(a, false, c->id, CONTAINER_EXITED, 1, sim_between(sim, 10, 3000));
        else if (sim_chance(sim, sim->faults.exits))
                later(a, false, c->id, CONTAINER_EXITED, sim_chance(sim, 300) ? 0 : 137,
                      sim_between(sim, 10, 20000));
        watch_health(c);
}

/* Whether the step still makes sense in the container's present state; changes that state. */
static bool apply_step(struct sim_container *c, const struct step *s)
{
        switch (s->kind) {
        case CONTAINER_PREPARED:
                if (c->state == SIM_PREPARING)
                        c->state = SIM_PREPARED;
                return true;
        case CONTAINER_STARTED:
                if (c->state != SIM_STARTING)
                        return false;
                container_started(c);
                return true;
        case CONTAINER_EXITED:
                if (c->state != SIM_RUNNING)
                        return false;
                c->state = SIM_ENDED;
                c->exit_code = s->exit_code;
                return true;
        case CONTAINER_FAILED: c->state = SIM_ENDED; return true;
        case CONTAINER_HEALTHY:
        case CONTAINER_UNWELL:
        case CONTAINER_UNHEALTHY: return c->state == SIM_RUNNING;
        case CONTAINER_REMOVED:
                list_remove(&c->link);
                free(c);
                return true;
        }
        return false;
}

static void happen(struct sim *sim, void *arg)
{
        struct step *s = arg;
        struct sim_agent *a = s->agent;
        struct sim_container *c = sim_agent_find(a, s->task);
        bool is_void = s->life && s->life != a->life;
        bool is_gone = !c && s->kind == CONTAINER_REMOVED; /* there may be nothing to remove */

        if (!is_void && (is_gone || (c && apply_step(c, s)))) {
                struct container_event e = {.task = s->task,
                                            .kind = s->kind,
                                            .exit_code = s->exit_code,
                                            .wall_ms = sim_now(sim).wall_ms};

                if (s->kind == CONTAINER_FAILED || s->kind == CONTAINER_UNWELL ||
                    s->kind == CONTAINER_UNHEALTHY)
                        e.text = "simulated failure";
                if (s->kind == CONTAINER_STARTED)
                        e.is_health_checked = c->is_health_checked;
                tell(a, &e);
        }
        free(s);
}

/* --- the ports -----------------------------------------------------------------------------------
 */
static void port_send(void *arg, const uint8_t *p, size_t n)
{
        struct sim_agent *a = arg;

        sim_told_report(a, p, n);
        if (a->is_joined)
                sim_net_from_agent(a, p, n);
}

static void connected(struct sim *sim, void *arg)
{
        struct step *s = arg;
        struct sim_agent *a = s->agent;

        if (a->core && s->life == a->life) {
                agent_on_connected(a->core, sim_now(sim));
                schedule_tick(a);
        }
        free(s);
}

/* To any manager, dead or alive. */
static void connect(struct sim_agent *a)
{
        sim_net_agent_left(a);
        a->connection = ++a->sim->next_request;
        a->manager = MAX(sim_net_any_manager(a->sim), 0);
        a->connected_ms = a->sim->now_ms;
}

static void port_reconnect(void *arg)
{
        struct sim_agent *a = arg;
        struct step *s = xnew(struct step);

        *s = (struct step){.agent = a, .life = a->life};
        connect(a);
        sim_at(a->sim, sim_between(a->sim, 1, 50), connected, s);
}

void sim_agent_broken(struct sim_agent *a)
{
        if (a->core && a->is_joined)
                port_reconnect(a);
}

static bool is_bad_image(const Swarm__ServiceSpec *spec)
{
        return str_has_prefix(spec->task->container->image, "bad");
}

static void port_prepare(void *arg, const struct agent_task *t)
{
        struct sim_agent *a = arg;
        struct sim *sim = a->sim;
        struct sim_container *c = sim_agent_find(a, t->id);
        bool fails = sim_chance(sim, sim->faults.prepare_fails);

        if (!c) {
                c = xnew(struct sim_container);
                list_push_back(&a->containers, &c->link);
        } else if (c->starts || c->state == SIM_STARTING) {
                sim_fail(sim, "%s: container %s is prepared again after its start", a->hostname,
                         ID_S(t->id));
        }
        c->agent = a;
        c->id = t->id;
        c->state = SIM_PREPARING;
        c->service_id = t->service_id;
        c->slot = t->slot;
        c->is_bad = is_bad_image(t->spec);
        const Swarm__Health *health = t->spec->task->container->health;
        c->is_health_checked = health && health->type != HEALTH_NONE;
        later(a, true, c->id, fails ? CONTAINER_FAILED : CONTAINER_PREPARED, 0,
              sim_between(sim, 1, 400));
}

static void port_start(void *arg, const struct agent_task *t)
{
        struct sim_agent *a = arg;
        struct sim *sim = a->sim;
        struct sim_container *c = sim_agent_find(a, t->id);
        bool fails = sim_chance(sim, sim->faults.start_fails);

        if (!c || c->state != SIM_PREPARED) {
                sim_fail(sim, "%s: start of %s, which is not prepared", a->hostname, ID_S(t->id));
                return;
        }
        c->state = SIM_STARTING;
        later(a, true, c->id, fails ? CONTAINER_FAILED : CONTAINER_STARTED, 0,
              sim_between(sim, 1, 300));
}

/* Of one that was found: how it is by then. */
static void tell_adopted(struct sim *sim, void *arg)
{
        struct step *s = arg;
        struct sim_container *c = sim_agent_find(s->agent, s->task);

        if (c && s->life == s->agent->life) {
                bool is_running = c->state == SIM_RUNNING;
                struct container_event e = {.task = c->id,
                                            .kind = is_running ? CONTAINER_STARTED
                                                               : CONTAINER_EXITED,
                                            .is_health_checked = c->is_health_checked,
                                            .exit_code = c->exit_code,
                                            .wall_ms = sim_now(sim).wall_ms};

                tell(s->agent, &e);
        }
        free(s);
}

static void port_adopt(void *arg, const struct agent_task *t)
{
        struct sim_agent *a = arg;
        struct sim_container *c = sim_agent_find(a, t->id);
        struct step *s = xnew(struct step);

        if (!c || !c->starts)
                sim_fail(a->sim, "%s: no container to adopt for %s", a->hostname, ID_S(t->id));
        else if (c->state == SIM_RUNNING)
                watch_health(c);
        *s = (struct step){.agent = a, .life = a->life, .task = t->id};
        sim_at(a->sim, sim_between(a->sim, 1, 20), tell_adopted, s);
}

static void port_stop(void *arg, struct id task)
{
        struct sim_agent *a = arg;
        struct sim_container *c = sim_agent_find(a, task);

        if (c && c->state == SIM_STARTING) {
                c->state = SIM_ENDED;
                later(a, true, task, CONTAINER_FAILED, 0, sim_between(a->sim, 1, 300));
                return;
        }
        if (!c || c->is_stopping || c->state != SIM_RUNNING)
                return;
        c->is_stopping = true;
        later(a, false, task, CONTAINER_EXITED, sim_chance(a->sim, 200) ? 137 : 0,
              sim_between(a->sim, 1, 2000));
}

static void port_remove(void *arg, struct id task)
{
        struct sim_agent *a = arg;
        struct sim_container *c = sim_agent_find(a, task);

        if (c && c->state == SIM_RUNNING)
                sim_fail(a->sim, "%s: container %s is removed while it runs", a->hostname,
                         ID_S(task));
        later(a, true, task, CONTAINER_REMOVED, 0, sim_between(a->sim, 1, 100));
}

static void port_journal_put(void *arg, struct id task, const uint8_t *packed, size_t n)
{
        struct sim_agent *a = arg;
        struct sim_record *r = map_get_id(&a->journal, task);

        if (!r) {
                r = xnew(struct sim_record);
                r->id = task;
                map_put(&a->journal, r);
        }
        buf_clear(&r->bytes);
        buf_append(&r->bytes, packed, n);
}

static void forget(struct sim_agent *a, struct sim_record *r)
{
        map_remove(&a->journal, r);
        buf_done(&r->bytes);
        free(r);
}

static void forget_all(struct sim_agent *a)
{
        struct sim_record *r;

        for (size_t i = 0; (r = map_next(&a->journal, &i)); i = 0)
                forget(a, r);
}

static void port_journal_remove(void *arg, struct id task)
{
        struct sim_agent *a = arg;
        struct sim_record *r = map_get_id(&a->journal, task);

        if (r)
                forget(a, r);
}

static void port_blob(void *arg UNUSED, const Swarm__BlobData *m UNUSED)
{
}

static void port_log_start(void *arg UNUSED, const Swarm__LogStart *m UNUSED)
{
}

static void port_log_stop(void *arg UNUSED, const Swarm__LogStop *m UNUSED)
{
}

static void port_log_ack(void *arg UNUSED, const Swarm__LogAck *m UNUSED)
{
}

/* The process cannot end inside of the call. */
static void port_refused(void *arg, const Swarm__Refused *m)
{
        struct sim_agent *a = arg;

        a->is_removed = a->is_removed || m->code == EACCES;
}

static void port_session(void *arg, const Swarm__Session *m)
{
        struct sim_agent *a = arg;
        struct id id = {0, 0};

        if (wire_get_id(&m->node_id, &id) == 0 && !id_is_equal(id, a->node)) {
                /* Removed, and a late Join of its own brought it back as a new node. */
                struct node *node = store_find_node_by_key(a->sim->agreed.shadow, a->key);

                if (node)
                        a->node = node->id;
        }
        if (!id_is_equal(id, a->node))
                sim_fail(a->sim, "%s: the session is of another node", a->hostname);
}

/* --- the process ---------------------------------------------------------------------------------
 */
static void tick(struct sim *sim, void *arg)
{
        struct step *s = arg;
        struct sim_agent *a = s->agent;

        if (a->core && s->life == a->life && a->tick_at == sim->now_ms) {
                a->tick_at = TIME_NEVER;
                agent_tick(a->core, sim_now(sim));
                schedule_tick(a);
        }
        free(s);
}

static void schedule_tick(struct sim_agent *a)
{
        int64_t at = agent_deadline(a->core);

        if (at == TIME_NEVER || at >= a->tick_at)
                return;
        struct step *s = xnew(struct step);
        *s = (struct step){.agent = a, .life = a->life};
        a->tick_at = MAX(at, a->sim->now_ms + 1);
        sim_at(a->sim, a->tick_at - a->sim->now_ms, tick, s);
}

static void send_join(struct sim *sim, void *arg)
{
        struct step *s = arg;
        struct sim_agent *a = s->agent;
        _cleanup_buf_ struct buf b = {0};

        if (a->core && s->life == a->life && !a->is_joined) {
                Swarm__Join join = SWARM__JOIN__INIT;
                Swarm__AgentMessage m = SWARM__AGENT_MESSAGE__INIT;

                if (!sim->managers[a->manager].replica)
                        connect(a);
                join.secret = sim->worker_secret;
                join.description = &a->description;
                m.kind_case = SWARM__AGENT_MESSAGE__KIND_JOIN;
                m.join = &join;
                WIRE_PACK(&m, &b);
                sim_net_from_agent(a, b.data, b.len);
                sim_at(sim, JOIN_RETRY_MS, send_join, s);
                return;
        }
        free(s);
}

/* As the runtime finds it; its health is watched anew. */
static void load_container(struct sim_agent *a, struct sim_container *c)
{
        struct container_event started = {.task = c->id,
                                          .kind = CONTAINER_STARTED,
                                          .is_health_checked = c->is_health_checked};
        struct container_event exited = {
                .task = c->id, .kind = CONTAINER_EXITED, .exit_code = c->exit_code};
        bool is_running = c->state == SIM_RUNNING;

        c->is_stopping = false;
        if (!c->starts)
                return;
        agent_load_container(a->core, c->id, is_running, is_running ? &started : &exited);
        if (is_running)
                watch_health(c);
}

static void load(struct sim_agent *a)
{
        struct sim_container *c;
        struct sim_record *r;
        size_t i;

        MAP_FOREACH (r, i, &a->journal)
                if (agent_load_task(a->core, r->bytes.data, r->bytes.len) < 0)
                        sim_fail(a->sim, "%s: the agent cannot read its own journal", a->hostname);
        LIST_FOREACH (c, &a->containers, link)
                load_container(a, c);
}

/* What never ran is cleaned away by the runtime when it opens. */
static void drop_unstarted(struct sim_agent *a)
{
        struct sim_container *c, *next;

        LIST_FOREACH_SAFE (c, next, &a->containers, link) {
                if (c->starts)
                        continue;
                list_remove(&c->link);
                free(c);
        }
}

void sim_agent_start(struct sim_agent *a)
{
        struct agent_ports ports = {.arg = a,
                                    .send = port_send,
                                    .reconnect = port_reconnect,
                                    .container_prepare = port_prepare,
                                    .container_start = port_start,
                                    .container_adopt = port_adopt,
                                    .container_stop = port_stop,
                                    .container_remove = port_remove,
                                    .journal_put = port_journal_put,
                                    .journal_remove = port_journal_remove,
                                    .on_blob_data = port_blob,
                                    .on_log_start = port_log_start,
                                    .on_log_stop = port_log_stop,
                                    .on_log_ack = port_log_ack,
                                    .on_session = port_session,
                                    .on_refused = port_refused};
        struct agent_config config = {rng_next(&a->sim->rng), &a->description};
        struct step *s = xnew(struct step);

        a->life++;
        a->tick_at = TIME_NEVER;
        a->hurt_ms = a->sim->now_ms;
        connect(a);
        drop_unstarted(a);
        a->core = agent_new(&config, &ports);
        load(a);
        agent_start(a->core, sim_now(a->sim));
        *s = (struct step){.agent = a, .life = a->life};
        if (a->is_joined) {
                sim_at(a->sim, sim_between(a->sim, 1, 100), connected, s);
        } else {
                sim_at(a->sim, 1, send_join, s);
        }
        schedule_tick(a);
}

static void start_again(struct sim *sim UNUSED, void *arg)
{
        struct step *s = arg;

        if (!s->agent->core)
                sim_agent_start(s->agent);
        free(s);
}

/* A start that the dying agent had begun goes through or not. */
static void decide_starts(struct sim_agent *a)
{
        struct sim_container *c;

        LIST_FOREACH (c, &a->containers, link) {
                if (c->state != SIM_STARTING)
                        continue;
                if (sim_chance(a->sim, 500))
                        container_started(c);
                else
                        c->state = SIM_ENDED;
        }
}

void sim_agent_crash(struct sim_agent *a)
{
        struct step *s = xnew(struct step);

        sim_trace(a->sim, "%s: agent dies", a->hostname);
        a->sim->n_crashes++;
        agent_free(a->core);
        a->core = NULL;
        a->life++;
        decide_starts(a);
        if (sim_chance(a->sim, a->sim->faults.journal_loss)) {
                sim_trace(a->sim, "%s: journal is lost", a->hostname);
                forget_all(a);
        }
        *s = (struct step){.agent = a};
        sim_at(a->sim, sim_between(a->sim, 10, AGENT_DOWN_MS_MAX), start_again, s);
}

void sim_agent_reboot(struct sim_agent *a)
{
        struct sim_container *c, *next;

        sim_agent_crash(a);
        sim_trace(a->sim, "%s: machine reboots", a->hostname);
        LIST_FOREACH_SAFE (c, next, &a->containers, link) {
                list_remove(&c->link);
                free(c);
        }
}

static void make_key(struct sim_agent *a)
{
        for (size_t i = 0; i < sizeof(a->key); i++)
                a->key[i] = (uint8_t)rng_next(&a->sim->rng);
}

/* A removed node is wiped by its administrator, and joins as a new one. */
static void join_anew(struct sim_agent *a)
{
        sim_trace(a->sim, "%s: was removed, joins anew", a->hostname);
        sim_agent_reboot(a);
        forget_all(a);
        make_key(a);
        a->is_removed = a->is_joined = false;
        a->node = (struct id){0, 0};
}

void sim_agent_hear(struct sim_agent *a, uint64_t connection, const uint8_t *p, size_t n)
{
        struct sim *sim = a->sim;

        if (!a->core || connection != a->connection)
                return;
        if (!a->is_joined) {
                struct node *node = store_find_node_by_key(sim->agreed.shadow, a->key);

                if (node) { /* Joined, or what was sent after it */
                        a->is_joined = true;
                        a->node = node->id;
                        sim_trace(sim, "%s: joined as %s", a->hostname, ID_S(a->node));
                        agent_on_connected(a->core, sim_now(sim));
                        schedule_tick(a);
                }
                return;
        }
        agent_on_message(a->core, sim_now(sim), p, n);
        if (a->is_removed) {
                join_anew(a);
                return;
        }
        schedule_tick(a);
}

struct sim_agent *sim_agent_by_key(struct sim *sim, const uint8_t key[32])
{
        for (int i = 0; i < sim->n_agents; i++)
                if (!memcmp(sim->agents[i].key, key, sizeof(sim->agents[i].key)))
                        return &sim->agents[i];
        return NULL;
}

struct sim_agent *sim_agent_by_connection(struct sim *sim, uint64_t connection)
{
        for (int i = 0; i < sim->n_agents; i++)
                if (sim->agents[i].connection == connection)
                        return &sim->agents[i];
        return NULL;
}

void sim_agent_init(struct sim *sim, int index)
{
        struct sim_agent *a = &sim->agents[index];

        a->sim = sim;
        a->index = index;
        list_init(&a->containers);
        a->journal = MAP_INIT(struct sim_record, id, MAP_KEY_ID);
        make_key(a);
        snprintf(a->hostname, sizeof(a->hostname), "n%d", index);
        swarm__node_description__init(&a->description);
        swarm__resources__init(&a->capacity);
        a->capacity.nano_cpus = 8 * NANO_PER_CPU;
        a->capacity.memory_bytes = sim_between(sim, 4, 64) * (128LL << 20);
        a->description.hostname = a->hostname;
        a->description.os = (char *)"linux";
        a->description.arch = (char *)"x86_64";
        a->description.capacity = &a->capacity;
        a->description.protocol = DISPATCH_PROTOCOL;
        sim_agent_start(a);
}

void sim_agent_done(struct sim_agent *a)
{
        agent_free(a->core);
        while (!list_is_empty(&a->containers)) {
                struct list *l = list_pop_front(&a->containers);

                free(LIST_ITEM(l, struct sim_container, link));
        }
        forget_all(a);
        map_done(&a->journal);
        buf_done(&a->reported);
}
