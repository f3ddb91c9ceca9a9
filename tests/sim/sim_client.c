/*
 * The user of the simulation: creates, scales, updates, rolls back and removes services, drains
 * nodes and demotes managers at random, at any manager, and remembers what it was told, so that
 * what was acknowledged can be demanded.
 */
#include "tests/sim/sim.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define REQUEST_LOST_MS 10000
#define LIMBO_MS        30000 /* a request that was not answered is done by then, or never */
#define REPLICAS_MAX    12
#define LOST_KNOWN_MS   3000

static uint64_t send_request(struct sim *sim, Swarm__Request *r)
{
        _cleanup_buf_ struct buf b = {0};

        r->number = ++sim->next_request;
        r->protocol = CONTROL_PROTOCOL;
        WIRE_PACK(r, &b);
        sim_net_end_send(&sim->user.end, b.data, b.len);
        return r->number;
}

static void expect(struct sim *sim, struct sim_service *s, uint64_t number,
                   const struct sim_service *after)
{
        s->after = xmemdup(after, sizeof(*after));
        s->after->after = NULL;
        s->sent_ms = sim->now_ms;
        s->waiting = number;
}

/* The answer will not come: what was asked for may have happened or not. */
static void give_up(struct sim_service *s)
{
        free(s->after);
        s->after = NULL;
        s->waiting = 0;
        s->is_asking = false;
        s->is_ambiguous = true;
        s->limbo_ms = s->sent_ms + LIMBO_MS;
}

/* Nor will any other that was sent on this connection. */
static void give_up_all(struct sim *sim)
{
        sim_trace(sim, "client: waits no more, and goes to another manager");
        for (int i = 0; i < sim->n_services; i++)
                if (sim->services[i].waiting)
                        give_up(&sim->services[i]);
        sim_net_end_move(&sim->user.end, -1);
}

static bool is_in_limbo(const struct sim *sim, const struct sim_service *s)
{
        return s->is_ambiguous && sim->now_ms < s->limbo_ms;
}

struct spec_parts {
        Swarm__ServiceSpec spec;
        Swarm__TaskSpec task;
        Swarm__ContainerSpec container;
        Swarm__RestartPolicy restart;
        Swarm__UpdateConfig update, rollback;
        Swarm__Placement placement;
        Swarm__Resources reserve;
        Swarm__Health health;
        Swarm__Number delay;
        char *cmd, *constraint;
};

static void fill_update(struct sim *sim, Swarm__UpdateConfig *u)
{
        swarm__update_config__init(u);
        u->parallelism = (uint64_t)sim_between(sim, 0, 4);
        u->delay_ms = sim_chance(sim, 500) ? 0 : sim_between(sim, 0, 2000);
        u->monitor_ms = sim_between(sim, 100, 4000);
        u->failure_action = (uint32_t)sim_between(sim, ACTION_PAUSE, ACTION_ROLLBACK);
        u->max_failure_ratio = sim_chance(sim, 500) ? 0 : 0.5;
        u->order = (uint32_t)sim_between(sim, ORDER_STOP_FIRST, ORDER_START_FIRST);
        u->wait_ms = sim_between(sim, 5000, 30000);
}

static void fill_spec(struct sim *sim, const struct sim_service *s, struct spec_parts *p)
{
        swarm__service_spec__init(&p->spec);
        swarm__task_spec__init(&p->task);
        swarm__container_spec__init(&p->container);
        swarm__restart_policy__init(&p->restart);
        swarm__placement__init(&p->placement);
        swarm__resources__init(&p->reserve);
        swarm__health__init(&p->health);
        swarm__number__init(&p->delay);
        fill_update(sim, &p->update);
        fill_update(sim, &p->rollback);
        p->rollback.failure_action = ACTION_PAUSE;
        p->delay.value = sim_between(sim, 0, 3000);
        p->restart.delay_ms = &p->delay;
        p->reserve.memory_bytes = sim_between(sim, 1, 4) * (64 << 20);
        p->placement.max_replicas_per_node = s->max_per_node;
        if (sim_chance(sim, 200)) {
                p->constraint = (char *)(sim_chance(sim, 500) ? "node.labels.zone==a"
                                                              : "node.labels.zone!=a");
                p->placement.constraints = &p->constraint;
                p->placement.n_constraints = 1;
        }
        p->container.image = (char *)(s->is_bad              ? "bad:1"
                                      : sim_chance(sim, 500) ? "good:1"
                                                             : "good:2");
        if (sim_chance(sim, 400)) {
                p->cmd = (char *)"true";
                p->health.type = HEALTH_SHELL;
                p->health.n_cmd = 1;
                p->health.cmd = &p->cmd;
                p->container.health = &p->health;
        }
        p->placement.strategy = (uint32_t)sim_between(sim, STRATEGY_SPREAD, STRATEGY_BINPACK);
        p->task.container = &p->container;
        p->task.restart = &p->restart;
        p->task.reservations = &p->reserve;
        p->task.placement = &p->placement;
        p->spec.name = (char *)s->name;
        p->spec.mode = s->is_global ? MODE_GLOBAL : MODE_REPLICATED;
        p->spec.replicas = s->is_global ? 0 : s->replicas;
        p->spec.task = &p->task;
        p->spec.update = &p->update;
        p->spec.rollback = &p->rollback;
}

static void create(struct sim *sim, struct sim_service *s)
{
        struct sim_service after = *s;
        Swarm__Request r = SWARM__REQUEST__INIT;
        struct spec_parts p;

        after.exists = true;
        after.is_global = sim_chance(sim, 250);
        after.is_bad = sim_chance(sim, 100);
        after.replicas = (uint64_t)sim_between(sim, 0, REPLICAS_MAX);
        after.max_per_node = sim_chance(sim, 300) ? (uint64_t)sim_between(sim, 1, 4) : 0;
        if (after.is_global)
                after.max_per_node = 0;
        after.is_ambiguous = is_in_limbo(sim, s);
        fill_spec(sim, &after, &p);
        r.kind_case = SWARM__REQUEST__KIND_SERVICE_CREATE;
        r.service_create = &p.spec;
        sim_trace(sim, "client: create %s, %s %llu of %s", s->name,
                  after.is_global ? "global" : "replicated", (unsigned long long)after.replicas,
                  p.container.image);
        expect(sim, s, send_request(sim, &r), &after);
}

static void scale(struct sim *sim, struct sim_service *s)
{
        struct sim_service after = *s;
        Swarm__ScaleRequest scale_request = SWARM__SCALE_REQUEST__INIT;
        Swarm__ScaleRequest__Item item = SWARM__SCALE_REQUEST__ITEM__INIT;
        Swarm__ScaleRequest__Item *items = &item;
        Swarm__Request r = SWARM__REQUEST__INIT;

        after.replicas = (uint64_t)sim_between(sim, 0, REPLICAS_MAX);
        item.ref = s->name;
        item.replicas = after.replicas;
        scale_request.n_items = 1;
        scale_request.items = &items;
        r.kind_case = SWARM__REQUEST__KIND_SERVICE_SCALE;
        r.service_scale = &scale_request;
        sim_trace(sim, "client: scale %s to %llu", s->name, (unsigned long long)after.replicas);
        expect(sim, s, send_request(sim, &r), &after);
}

static void update(struct sim *sim, struct sim_service *s)
{
        struct sim_service after = *s;
        Swarm__ServiceUpdate u = SWARM__SERVICE_UPDATE__INIT;
        Swarm__Request r = SWARM__REQUEST__INIT;
        struct spec_parts p;

        after.is_bad = sim_chance(sim, 150);
        fill_spec(sim, &after, &p);
        p.task.force_update = rng_next(&sim->rng);
        u.ref = s->name;
        u.spec = &p.spec;
        r.kind_case = SWARM__REQUEST__KIND_SERVICE_UPDATE;
        r.service_update = &u;
        sim_trace(sim, "client: update %s to %s", s->name, p.container.image);
        expect(sim, s, send_request(sim, &r), &after);
}

static void roll_back(struct sim *sim, struct sim_service *s)
{
        struct sim_service after = *s;
        Swarm__ServiceUpdate u = SWARM__SERVICE_UPDATE__INIT;
        Swarm__Request r = SWARM__REQUEST__INIT;

        after.is_ambiguous = true;
        u.ref = s->name;
        u.rollback = true;
        r.kind_case = SWARM__REQUEST__KIND_SERVICE_UPDATE;
        r.service_update = &u;
        sim_trace(sim, "client: roll back %s", s->name);
        expect(sim, s, send_request(sim, &r), &after);
}

static void remove_service(struct sim *sim, struct sim_service *s)
{
        struct sim_service after = *s;
        Swarm__RefList refs = SWARM__REF_LIST__INIT;
        Swarm__Request r = SWARM__REQUEST__INIT;
        char *name = s->name;

        after.exists = false;
        after.is_ambiguous = is_in_limbo(sim, s);
        refs.n_refs = 1;
        refs.refs = &name;
        r.kind_case = SWARM__REQUEST__KIND_SERVICE_REMOVE;
        r.service_remove = &refs;
        sim_trace(sim, "client: remove %s", s->name);
        expect(sim, s, send_request(sim, &r), &after);
}

static void set_availability(struct sim *sim, int index, enum node_availability availability)
{
        Swarm__NodeUpdate u = SWARM__NODE_UPDATE__INIT;
        Swarm__Number number = SWARM__NUMBER__INIT;
        Swarm__Request r = SWARM__REQUEST__INIT;

        number.value = availability;
        u.ref = sim->agents[index].hostname;
        u.availability = &number;
        r.kind_case = SWARM__REQUEST__KIND_NODE_UPDATE;
        r.node_update = &u;
        sim_trace(sim, "client: node %s %s", u.ref, node_availability_name(availability));
        send_request(sim, &r);
}

static void demote(struct sim *sim, int index)
{
        Swarm__NodeUpdate u = SWARM__NODE_UPDATE__INIT;
        Swarm__Number role = SWARM__NUMBER__INIT;
        Swarm__Request r = SWARM__REQUEST__INIT;

        role.value = ROLE_WORKER;
        u.ref = sim->managers[index].hostname;
        u.role = &role;
        r.kind_case = SWARM__REQUEST__KIND_NODE_UPDATE;
        r.node_update = &u;
        sim_trace(sim, "client: node %s is to be a worker", u.ref);
        sim->demoted_ms = sim->now_ms;
        send_request(sim, &r);
}

static void set_zone(struct sim *sim, int index)
{
        Swarm__NodeUpdate u = SWARM__NODE_UPDATE__INIT;
        Swarm__KeyValue zone = SWARM__KEY_VALUE__INIT;
        Swarm__KeyValue *zones = &zone;
        Swarm__Request r = SWARM__REQUEST__INIT;

        zone.key = (char *)"zone";
        zone.value = (char *)(sim_chance(sim, 500) ? "a" : "b");
        u.ref = sim->agents[index].hostname;
        u.n_label_add = 1;
        u.label_add = &zones;
        r.kind_case = SWARM__REQUEST__KIND_NODE_UPDATE;
        r.node_update = &u;
        sim_trace(sim, "client: node %s is in zone %s", u.ref, zone.value);
        send_request(sim, &r);
}

static void remove_node(struct sim *sim, int index)
{
        Swarm__NodeRemove m = SWARM__NODE_REMOVE__INIT;
        Swarm__Request r = SWARM__REQUEST__INIT;
        char *ref = sim->agents[index].hostname;

        m.n_refs = 1;
        m.refs = &ref;
        m.force = true;
        r.kind_case = SWARM__REQUEST__KIND_NODE_REMOVE;
        r.node_remove = &m;
        sim_trace(sim, "client: remove node %s", ref);
        send_request(sim, &r);
}

static void hear(void *arg, const uint8_t *p, size_t n);

void sim_client_init(struct sim *sim)
{
        sim->user.end = (struct sim_end){.sim = sim, .arg = sim, .hear = hear};
        for (int i = 0; i < sim->n_services; i++)
                snprintf(sim->services[i].name, sizeof(sim->services[i].name), "svc%d", i);
}

static void act_on(struct sim *sim, struct sim_service *s)
{
        int64_t what = sim_between(sim, 0, 99);

        if (s->waiting && sim->now_ms - s->sent_ms > REQUEST_LOST_MS)
                give_up_all(sim);
        if (s->waiting)
                return;
        if (!s->exists || (s->is_ambiguous && sim_chance(sim, 600)))
                create(sim, s); /* of an ambiguous one it tells which it is */
        else if (what < 40 && !s->is_global)
                scale(sim, s);
        else if (what < 75)
                update(sim, s);
        else if (what < 85)
                roll_back(sim, s);
        else
                remove_service(sim, s);
}

void sim_client_act(struct sim *sim)
{
        if (sim_chance(sim, 250))
                act_on(sim, &sim->services[rng_below(&sim->rng, (uint64_t)sim->n_services)]);
        int index = (int)rng_below(&sim->rng, (uint64_t)sim->n_agents);
        if (sim_chance(sim, 50))
                set_availability(sim, index, (enum node_availability)sim_between(sim, 0, 2));
        else if (sim_chance(sim, 50))
                set_zone(sim, index);
        else if (sim_chance(sim, 10))
                remove_node(sim, index);
        /* Not while another was lost and the managers may not know: that would be one too many. */
        if (sim_chance(sim, sim->faults.demote) && sim->now_ms > sim->lost_ms + LOST_KNOWN_MS)
                demote(sim, (int)rng_below(&sim->rng, (uint64_t)sim->n_managers));
        else if (sim_chance(sim, 20))
                give_up_all(sim);
}

/* Every node but those that stay drained can take tasks again. */
static bool settle_node(struct sim *sim, struct sim_agent *a)
{
        enum node_availability wanted = a->is_drained ? AVAILABILITY_DRAIN : AVAILABILITY_ACTIVE;
        struct node *node = store_find_node_by_key(sim->agreed.shadow, a->key);

        if (!node || node->availability != wanted)
                set_availability(sim, a->index, wanted);
        return node && node->availability == wanted;
}

/* Which of the two it is of what was never answered. */
static void ask(struct sim *sim, struct sim_service *s)
{
        Swarm__RefList refs = SWARM__REF_LIST__INIT;
        Swarm__Request r = SWARM__REQUEST__INIT;
        char *name = s->name;

        refs.n_refs = 1;
        refs.refs = &name;
        r.kind_case = SWARM__REQUEST__KIND_SERVICE_GET;
        r.service_get = &refs;
        s->is_asking = true;
        s->sent_ms = sim->now_ms;
        s->waiting = send_request(sim, &r);
}

static bool settle_service(struct sim *sim, struct sim_service *s)
{
        if (s->waiting && sim->now_ms - s->sent_ms > REQUEST_LOST_MS)
                give_up_all(sim);
        if (!s->waiting && s->is_ambiguous && !is_in_limbo(sim, s))
                ask(sim, s);
        return !s->waiting && !s->is_ambiguous;
}

bool sim_client_settle(struct sim *sim)
{
        bool is_settled = true;

        for (int i = 0; i < sim->n_agents; i++)
                is_settled = settle_node(sim, &sim->agents[i]) && is_settled;
        for (int i = 0; i < sim->n_services; i++)
                is_settled = settle_service(sim, &sim->services[i]) && is_settled;
        return is_settled;
}

/* The answer to ask(). */
static void learn(struct sim *sim, struct sim_service *s, const Swarm__Response *r)
{
        bool is_there = r->code == 0 && r->kind_case == SWARM__RESPONSE__KIND_SERVICES &&
                        r->services->n_services == 1;

        s->waiting = 0;
        s->is_asking = false;
        if (r->code == EAGAIN || r->code == ENOTCONN)
                return; /* it is asked again */
        if (!is_there && r->code != ENOENT) {
                sim_fail(sim, "service %s: the question after it is answered with %u: %s", s->name,
                         r->code, r->error);
                return;
        }
        s->exists = is_there;
        s->is_ambiguous = false;
        if (!is_there)
                return;
        s->is_global = r->services->services[0]->spec->mode == MODE_GLOBAL;
        s->replicas = r->services->services[0]->spec->replicas;
}

static void take_answer(struct sim *sim, struct sim_service *s, const Swarm__Response *r)
{
        struct sim_service *after;

        if (r->code == ENOTCONN) { /* it may have been done or not */
                sim_trace(sim, "client: %s: %s", s->name, r->error);
                give_up(s);
                return;
        }
        after = STEAL_PTR(s->after);
        s->waiting = 0;
        if (r->code == 0) {
                *s = *after;
                s->waiting = 0;
        } else {
                sim_trace(sim, "client: %s: %s", s->name, r->error);
                if ((r->code == EEXIST || r->code == ENOENT) && !s->is_ambiguous)
                        sim_fail(sim, "service %s: the user was told otherwise before: %s", s->name,
                                 r->error);
        }
        free(after);
}

static void hear(void *arg, const uint8_t *p, size_t n)
{
        struct sim *sim = arg;
        _cleanup_arena_ struct wire_arena arena = {0};
        Swarm__Response *r = wire_unpack(&arena, &swarm__response__descriptor, p, n);

        if (!r) {
                sim_fail(sim, "the manager's answer is no message");
                return;
        }
        for (int i = 0; i < sim->n_services; i++) {
                struct sim_service *s = &sim->services[i];

                if (!s->waiting || s->waiting != r->number)
                        continue;
                if (s->is_asking)
                        learn(sim, s, r);
                else
                        take_answer(sim, s, r);
                return;
        }
}

void sim_client_done(struct sim *sim)
{
        for (int i = 0; i < sim->n_services; i++)
                free(sim->services[i].after);
}
