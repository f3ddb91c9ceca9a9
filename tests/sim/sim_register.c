/*
 * A register: the label of a service, written and read (service inspect) by several clients at
 * different managers. Every value is written once only; so whether there is an order of all
 * operations that each client could have seen (linearizability; Herlihy and Wing 1990) is decided
 * by zones: Gibbons and Korach, Testing Shared Memories (1997). The zone of a value goes from the
 * first end to the last start of the operations that wrote or read it: forward zones (end before
 * start: the value surely stood there) may not meet, and no backward zone may lie within a forward
 * one.
 */
#include "tests/sim/sim_register.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/sim.h"

#define NEVER          UINT64_MAX
#define LOST_MS        5000
#define THINK_MS       1500
#define EVERY_MS       200
#define PROBE_MS       2000
#define PROBE_EVERY_MS 20
#define NAME           "register"

/* --- the history --------------------------------------------------------------------------------
 */
static size_t begin_op(struct sim_registers *g, bool is_read, uint64_t value)
{
        if (g->n == g->cap) {
                g->cap = g->cap ? g->cap * 2 : 64;
                g->ops = xreallocarray(g->ops, g->cap, sizeof(*g->ops));
        }
        g->ops[g->n] = (struct sim_register_op){is_read, value, ++g->clock, NEVER};
        return g->n++;
}

static void end_op(struct sim_registers *g, size_t op, uint64_t value)
{
        if (g->ops[op].is_read)
                g->ops[op].value = value;
        g->ops[op].end = ++g->clock;
}

struct zone {
        uint64_t first_end, last_start, write_start;
        bool is_read;
};

/* Of value 0: written before all began. */
static struct zone *make_zones(const struct sim_registers *g, struct sim *sim)
{
        struct zone *zones = xnew_array(struct zone, g->last_value + 1);

        for (uint64_t v = 1; v <= g->last_value; v++)
                zones[v].first_end = NEVER;
        for (size_t i = 0; i < g->n; i++) {
                const struct sim_register_op *op = &g->ops[i];
                struct zone *z = &zones[op->value];

                if (op->is_read && op->end == NEVER)
                        continue;
                if (op->value > g->last_value) {
                        sim_fail(sim, "a value was read that nobody wrote");
                        continue;
                }
                z->first_end = MIN(z->first_end, op->end);
                z->last_start = MAX(z->last_start, op->start);
                z->is_read |= op->is_read;
                if (!op->is_read)
                        z->write_start = op->start;
                else if (op->end < z->write_start)
                        sim_fail(sim, "value %llu was read before it was written",
                                 (unsigned long long)op->value);
        }
        return zones;
}

static bool may_not_be(const struct zone *a, const struct zone *b)
{
        bool is_forward = a->first_end < a->last_start, other = b->first_end < b->last_start;

        if (!is_forward)
                return false;
        if (other)
                return a->first_end < b->last_start && b->first_end < a->last_start;
        return b->last_start > a->first_end && b->first_end < a->last_start;
}

void sim_register_check(struct sim *sim)
{
        struct sim_registers *g = &sim->registers;
        struct zone *zones = make_zones(g, sim);

        for (uint64_t a = 0; a <= g->last_value; a++)
                for (uint64_t b = 0; b <= g->last_value; b++)
                        if (a != b && zones[b].first_end != NEVER &&
                            may_not_be(&zones[a], &zones[b]))
                                sim_fail(sim,
                                         "no order of what the clients did explains that values "
                                         "%llu and %llu were seen as they were",
                                         (unsigned long long)a, (unsigned long long)b);
        free(zones);
}

/* --- requests -----------------------------------------------------------------------------------
 */
struct register_spec {
        Swarm__ServiceSpec spec;
        Swarm__TaskSpec task;
        Swarm__ContainerSpec container;
        Swarm__KeyValue label, *labels;
        char value[24];
};

static void fill(struct register_spec *s, uint64_t value)
{
        swarm__service_spec__init(&s->spec);
        swarm__task_spec__init(&s->task);
        swarm__container_spec__init(&s->container);
        swarm__key_value__init(&s->label);
        snprintf(s->value, sizeof(s->value), "%llu", (unsigned long long)value);
        s->label.key = (char *)"value";
        s->label.value = s->value;
        s->labels = &s->label;
        s->container.image = (char *)"good:1";
        s->task.container = &s->container;
        s->spec.name = (char *)NAME;
        s->spec.n_labels = 1;
        s->spec.labels = &s->labels;
        s->spec.mode = MODE_REPLICATED;
        s->spec.task = &s->task;
}

static void send_request(struct sim_register_client *c, Swarm__Request *r)
{
        _cleanup_buf_ struct buf b = {0};

        r->number = ++c->sim->next_request;
        r->protocol = CONTROL_PROTOCOL;
        WIRE_PACK(r, &b);
        c->waiting = r->number;
        c->since_ms = c->sim->now_ms;
        sim_net_end_send(&c->end, b.data, b.len);
}

static void create(struct sim_register_client *c)
{
        Swarm__Request r = SWARM__REQUEST__INIT;
        struct register_spec s;

        fill(&s, 0);
        r.kind_case = SWARM__REQUEST__KIND_SERVICE_CREATE;
        r.service_create = &s.spec;
        send_request(c, &r);
}

static void put(struct sim_register_client *c)
{
        struct sim_registers *g = &c->sim->registers;
        Swarm__ServiceUpdate u = SWARM__SERVICE_UPDATE__INIT;
        Swarm__Request r = SWARM__REQUEST__INIT;
        struct register_spec s;
        uint64_t value = ++g->last_value;

        fill(&s, value);
        c->op = begin_op(g, false, value);
        u.ref = (char *)NAME;
        u.spec = &s.spec;
        r.kind_case = SWARM__REQUEST__KIND_SERVICE_UPDATE;
        r.service_update = &u;
        send_request(c, &r);
}

static void get(struct sim_register_client *c)
{
        Swarm__RefList refs = SWARM__REF_LIST__INIT;
        Swarm__Request r = SWARM__REQUEST__INIT;
        char *name = (char *)NAME;

        c->op = begin_op(&c->sim->registers, true, 0);
        refs.n_refs = 1;
        refs.refs = &name;
        r.kind_case = SWARM__REQUEST__KIND_SERVICE_GET;
        r.service_get = &refs;
        send_request(c, &r);
}

/* --- answers ------------------------------------------------------------------------------------
 */
static void take_value(struct sim_register_client *c, const Swarm__Response *r)
{
        const Swarm__ServiceSpec *spec =
                r->kind_case == SWARM__RESPONSE__KIND_SERVICES && r->services->n_services == 1
                        ? r->services->services[0]->spec
                        : NULL;
        uint64_t value;

        if (!spec || spec->n_labels != 1 || parse_u64(spec->labels[0]->value, &value) < 0)
                sim_fail(c->sim, "the register's answer has no value");
        else
                end_op(&c->sim->registers, c->op, value);
}

static void take_answer(struct sim_register_client *c, const Swarm__Response *r)
{
        struct sim *sim = c->sim;

        if (!c->has_service) {
                c->has_service = r->code == 0 || r->code == EEXIST;
                return;
        }
        if (r->code == EAGAIN || r->code == ENOTCONN)
                return; /* it may have been done or not */
        if (r->code) {
                sim_fail(sim, "the register is refused: %s", r->error);
                return;
        }
        if (sim->registers.ops[c->op].is_read)
                take_value(c, r);
        else
                end_op(&sim->registers, c->op, 0);
}

static bool is_probing(const struct sim *sim)
{
        return sim->now_ms < sim->registers.probe_until_ms;
}

static void hear(void *arg, const uint8_t *p, size_t n)
{
        struct sim_register_client *c = arg;
        _cleanup_arena_ struct wire_arena arena = {0};
        Swarm__Response *r = wire_unpack(&arena, &swarm__response__descriptor, p, n);

        if (!r || !c->waiting || c->waiting != r->number)
                return;
        c->waiting = 0;
        take_answer(c, r);
        c->next_ms = c->sim->now_ms + sim_between(c->sim, 0, is_probing(c->sim) ? 0 : THINK_MS);
}

static void act(struct sim_register_client *c)
{
        struct sim *sim = c->sim;

        if (c->waiting && sim->now_ms - c->since_ms < LOST_MS)
                return;
        if (c->waiting || (!is_probing(sim) && sim_chance(sim, 100)))
                sim_net_end_move(&c->end, -1);
        c->waiting = 0;
        if (sim->now_ms < c->next_ms)
                return;
        if (!c->has_service)
                create(c);
        else if (is_probing(sim) ? c == sim->registers.clients : sim_chance(sim, 500))
                get(c);
        else
                put(c);
}

int64_t sim_register_act(struct sim *sim)
{
        for (int i = 0; i < SIM_REGISTER_CLIENTS; i++)
                act(&sim->registers.clients[i]);
        return is_probing(sim) ? PROBE_EVERY_MS : EVERY_MS;
}

void sim_register_probe(struct sim *sim, int manager)
{
        sim->registers.probe_until_ms = sim->now_ms + PROBE_MS;
        for (int i = 0; i < SIM_REGISTER_CLIENTS; i++) {
                struct sim_register_client *c = &sim->registers.clients[i];

                c->waiting = 0;
                c->next_ms = sim->now_ms;
                do
                        sim_net_end_move(&c->end, i == 0 ? manager : -1);
                while (i > 0 && c->end.manager == manager && sim_chance(sim, 900));
        }
}

void sim_register_init(struct sim *sim)
{
        for (int i = 0; i < SIM_REGISTER_CLIENTS; i++) {
                struct sim_register_client *c = &sim->registers.clients[i];

                c->sim = sim;
                c->end = (struct sim_end){.sim = sim, .arg = c, .hear = hear};
        }
}

void sim_register_done(struct sim *sim)
{
        free(sim->registers.ops);
}
