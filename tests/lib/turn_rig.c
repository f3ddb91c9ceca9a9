/* A manager's core for tests: see turn_rig.h. */
#include "tests/lib/turn_rig.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "shared/base/mem.h"
#include "shared/base/str.h"

static void put_cluster(struct store *store)
{
        Swarm__Cluster c = SWARM__CLUSTER__INIT;
        Swarm__ClusterSettings settings = SWARM__CLUSTER_SETTINGS__INIT;
        uint8_t id[ID_BYTES];

        settings.heartbeat_ms = DEFAULT_HEARTBEAT_MS;
        settings.suspect_ms = DEFAULT_SUSPECT_MS;
        settings.down_ms = DEFAULT_DOWN_MS;
        settings.mass_failure_wait_ms = DEFAULT_MASS_FAILURE_MS;
        settings.task_history_limit = DEFAULT_HISTORY_LIMIT;
        c.id = wire_id((struct id){7, 7}, id);
        c.worker_secret = (char *)CORE_WORKER_SECRET;
        c.manager_secret = (char *)CORE_MANAGER_SECRET;
        c.settings = &settings;
        Swarm__Cluster *heap = wire_dup(&c);
        store_put_cluster(store, &heap);
}

void core_open(struct core *r)
{
        static char *managers[] = {(char *)"10.0.0.1:7377", NULL};
        static const struct turn_config config = {.seed = 1,
                                                  .version = "1.0",
                                                  .node = {9, 9},
                                                  .hostname = "manager-1",
                                                  .managers = managers};

        *r = (struct core){.now = {.mono_ms = 1000000, .wall_ms = 1700000000000}};
        list_init(&r->effects);
        r->store = store_new();
        put_cluster(r->store);
        r->turn = turn_new(r->store, &config, r->now);
        core_run(r);
}

void core_close(struct core *r)
{
        effects_free(&r->effects);
        turn_free(r->turn);
        store_free(r->store);
        wire_arena_done(&r->arena);
}

void core_run(struct core *r)
{
        _cleanup_buf_ struct buf entry = {0};

        r->due = turn_run(r->turn, r->now, &r->effects);
        r->changes = store_take_changes(r->store, r->now.wall_ms, &entry);
        r->entry_bytes = entry.len;
}

void core_advance(struct core *r, int64_t ms)
{
        r->now.mono_ms += ms;
        r->now.wall_ms += ms;
        core_run(r);
}

void core_send(struct core *r, uint64_t connection, Swarm__Request *q)
{
        _cleanup_buf_ struct buf b = {0};

        if (!q->number)
                q->number = ++r->number;
        if (!q->protocol)
                q->protocol = CONTROL_PROTOCOL;
        WIRE_PACK(q, &b);
        int e = turn_input_client(r->turn,
                                  (struct peer){.connection = connection, .manager = r->manager},
                                  b.data, b.len);
        assert(e == 0);
        core_run(r);
}

static void drop(struct effect *e)
{
        struct list one;

        list_remove(&e->link);
        list_init(&one);
        list_push_back(&one, &e->link);
        effects_free(&one);
}

const Swarm__Response *core_take_response(struct core *r, uint64_t connection)
{
        struct effect *e;

        LIST_FOREACH (e, &r->effects, link) {
                if (e->kind != EFFECT_CLIENT || e->peer.connection != connection)
                        continue;
                const Swarm__Response *m = wire_unpack(&r->arena, &swarm__response__descriptor,
                                                       e->bytes.data, e->bytes.len);
                assert(m);
                drop(e);
                return m;
        }
        return NULL;
}

const Swarm__Response *core_ask(struct core *r, Swarm__Request *q)
{
        core_send(r, 1, q);
        const Swarm__Response *m = core_take_response(r, 1);
        assert(m);
        return m;
}

void core_say(struct core *r, struct peer from, const uint8_t key[32], Swarm__AgentMessage *m)
{
        _cleanup_buf_ struct buf b = {0};

        WIRE_PACK(m, &b);
        int e = turn_input_agent(r->turn, from, key, b.data, b.len);
        assert(e == 0);
}

const Swarm__ManagerMessage *core_take_message(struct core *r, struct peer to,
                                               Swarm__ManagerMessage__KindCase kind)
{
        struct effect *e;

        LIST_FOREACH (e, &r->effects, link) {
                bool is_known = !id_is_zero(to.node);

                if (e->kind != (is_known ? EFFECT_AGENT : EFFECT_UNKNOWN_AGENT) ||
                    (is_known ? !id_is_equal(e->peer.node, to.node)
                              : e->peer.connection != to.connection))
                        continue;
                const Swarm__ManagerMessage *m =
                        wire_unpack(&r->arena, &swarm__manager_message__descriptor, e->bytes.data,
                                    e->bytes.len);
                assert(m);
                if (m->kind_case != kind)
                        continue;
                drop(e);
                return m;
        }
        return NULL;
}

bool core_take_effect(struct core *r, enum effect_kind kind, struct id *ret_node)
{
        struct effect *e;

        LIST_FOREACH (e, &r->effects, link) {
                if (e->kind != kind)
                        continue;
                if (ret_node)
                        *ret_node = e->peer.node;
                drop(e);
                return true;
        }
        return false;
}

void core_drop_effects(struct core *r)
{
        effects_free(&r->effects);
        wire_arena_reset(&r->arena);
}

void core_describe(Swarm__NodeDescription *d, Swarm__Resources *capacity, const char *hostname)
{
        swarm__node_description__init(d);
        swarm__resources__init(capacity);
        capacity->nano_cpus = 64000000000;
        capacity->memory_bytes = 64LL << 30;
        d->hostname = (char *)hostname;
        d->os = (char *)"linux";
        d->arch = (char *)"x86_64";
        d->capacity = capacity;
        d->protocol = DISPATCH_PROTOCOL;
}

void core_say_register(struct core *r, const char *hostname, const struct core_node *n)
{
        Swarm__AgentMessage m = SWARM__AGENT_MESSAGE__INIT;
        Swarm__Register reg = SWARM__REGISTER__INIT;
        Swarm__NodeDescription d;
        Swarm__Resources capacity;

        core_describe(&d, &capacity, hostname);
        if (n->protocol) {
                d.protocol = n->protocol;
                d.protocol_oldest = n->protocol_oldest;
        }
        if (n->host)
                d.host = (char *)(uintptr_t)n->host;
        reg.description = &d;
        m.kind_case = SWARM__AGENT_MESSAGE__KIND_REGISTER;
        m.register_ = &reg;
        core_say(r, (struct peer){.connection = n->connection, .node = n->id}, n->key, &m);
}

void core_register(struct core *r, const char *hostname, struct core_node *n)
{
        core_say_register(r, hostname, n);
        core_run(r);
        const Swarm__ManagerMessage *reply = core_take_message(
                r, (struct peer){.node = n->id}, SWARM__MANAGER_MESSAGE__KIND_SESSION_START);
        assert(reply);
        int e = wire_get_id(&reply->session, &n->session);
        assert(e == 0);
}

void core_add_node(struct core *r, const char *hostname, struct core_node *ret)
{
        Swarm__AgentMessage m = SWARM__AGENT_MESSAGE__INIT;
        Swarm__Join join = SWARM__JOIN__INIT;
        Swarm__NodeDescription d;
        Swarm__Resources capacity;
        struct peer from = {.connection = 77};

        *ret = (struct core_node){0};
        ret->connection = 1;
        snprintf((char *)ret->key, sizeof(ret->key), "%s", hostname);
        core_describe(&d, &capacity, hostname);
        join.secret = (char *)CORE_WORKER_SECRET;
        join.description = &d;
        m.kind_case = SWARM__AGENT_MESSAGE__KIND_JOIN;
        m.join = &join;
        core_say(r, from, ret->key, &m);
        core_run(r);
        const Swarm__ManagerMessage *reply =
                core_take_message(r, from, SWARM__MANAGER_MESSAGE__KIND_JOINED);
        assert(reply);
        int e = wire_get_id(&reply->joined->node_id, &ret->id);
        assert(e == 0);
        core_register(r, hostname, ret);
}

static void say_beat(struct core *r, const struct core_node *n, Swarm__Heartbeat *beat)
{
        Swarm__AgentMessage m = SWARM__AGENT_MESSAGE__INIT;
        uint8_t id[ID_BYTES];

        m.session = wire_id(n->session, id);
        m.kind_case = SWARM__AGENT_MESSAGE__KIND_HEARTBEAT;
        m.heartbeat = beat;
        core_say(r, (struct peer){.connection = n->connection, .node = n->id}, n->key, &m);
}

void core_heartbeat(struct core *r, const struct core_node *n, uint64_t assigned_seq)
{
        Swarm__Heartbeat beat = SWARM__HEARTBEAT__INIT;

        beat.assigned_seq = assigned_seq;
        say_beat(r, n, &beat);
}

void core_disk_full(struct core *r, const struct core_node *n, bool is_full)
{
        Swarm__Heartbeat beat = SWARM__HEARTBEAT__INIT;

        beat.assigned_seq = 1000000;
        beat.is_disk_full = is_full;
        say_beat(r, n, &beat);
}

void core_status(struct core *r, const struct core_node *n, uint64_t seq, uint64_t oldest,
                 struct id task, enum task_state state, const char *text)
{
        Swarm__AgentMessage m = SWARM__AGENT_MESSAGE__INIT;
        Swarm__StatusBatch batch = SWARM__STATUS_BATCH__INIT;
        Swarm__TaskStatus status = SWARM__TASK_STATUS__INIT, *statuses = &status;
        uint8_t id[ID_BYTES], task_id[ID_BYTES];

        status.task_id = wire_id(task, task_id);
        status.state = state;
        status.state_ms = r->now.wall_ms;
        status.message = (char *)text;
        status.exit_code = -1;
        batch.seq = seq;
        batch.oldest = oldest;
        batch.n_statuses = 1;
        batch.statuses = &statuses;
        m.session = wire_id(n->session, id);
        m.kind_case = SWARM__AGENT_MESSAGE__KIND_STATUS;
        m.status = &batch;
        core_say(r, (struct peer){.connection = n->connection, .node = n->id}, n->key, &m);
}

const Swarm__Response *core_put_image(struct core *r, const char *id, const char *name)
{
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__ImageCreate create = SWARM__IMAGE_CREATE__INIT;
        Swarm__Image image = SWARM__IMAGE__INIT;

        image.id = (char *)id;
        image.os = (char *)"linux";
        image.arch = (char *)"amd64";
        create.name = (char *)name;
        create.image = &image;
        q.kind_case = SWARM__REQUEST__KIND_IMAGE_CREATE;
        q.image_create = &create;
        return core_ask(r, &q);
}

void core_add_image(struct core *r)
{
        const Swarm__Response *m = core_put_image(r, IMAGE_ID, "busybox:latest");

        assert(m->code == 0);
}

struct id core_add_service(struct core *r, const char *name, uint64_t replicas)
{
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__ServiceSpec spec = SWARM__SERVICE_SPEC__INIT;
        Swarm__TaskSpec task = SWARM__TASK_SPEC__INIT;
        Swarm__ContainerSpec container = SWARM__CONTAINER_SPEC__INIT;
        struct id id = {0, 0};

        container.image = (char *)"busybox";
        task.container = &container;
        spec.name = (char *)name;
        spec.task = &task;
        spec.replicas = replicas;
        q.kind_case = SWARM__REQUEST__KIND_SERVICE_CREATE;
        q.service_create = &spec;
        const Swarm__Response *m = core_ask(r, &q);
        assert(m->code == 0 && m->kind_case == SWARM__RESPONSE__KIND_CREATED);
        int e = wire_get_id(&m->created->id, &id);
        assert(e == 0);
        return id;
}
