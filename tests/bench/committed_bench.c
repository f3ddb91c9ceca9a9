/*
 * How fast the cluster as a whole decides: many agents in this one process, real cores over real
 * ZeroMQ and CURVE, against a real manager. Their containers start at once. Measures a service's
 * create to all of its tasks RUNNING, as the progress stream tells it.
 *
 *   committed_bench NAME SOCKET ENDPOINT[,ENDPOINT...] TOKEN IMAGE AGENTS REPLICAS
 *
 * NAME is what the figure begins with; agents are spread over the endpoints of the managers.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "agent/agent.h"
#include "proto/control.pb-c.h"
#include "shared/base/base.h"
#include "shared/identity/identity.h"
#include "shared/model/model.h"
#include "shared/net/net.h"
#include "shared/wire/wire.h"

#define TICK_MS  20
#define LIMIT_MS 300000

struct bench;

struct fake_agent {
        struct bench *bench;
        struct agent *core;
        struct net_client *client;
        struct net_keys keys;
        Swarm__NodeDescription description;
        Swarm__Resources capacity;
        char hostname[32];
        bool is_joined;
};

struct step {
        struct list link;
        struct fake_agent *agent;
        struct container_event event;
};

struct bench {
        struct loop *loop;
        struct net *net;
        struct net_client *control;
        struct loop_timer *tick, *now_timer;
        struct fake_agent *agents;
        size_t n_agents, n_joined, n_sessions;
        uint64_t replicas;
        struct join_token token;
        const char *name, *image;
        char **endpoints;
        size_t n_endpoints;
        struct list steps;
        int64_t created_us;
        bool is_created;
};

/* --- containers that start at once ---------------------------------------------------------------
 */
static void queue(struct fake_agent *a, struct id task, enum container_event_kind kind)
{
        struct step *s = xnew(struct step);

        s->agent = a;
        s->event = (struct container_event){.task = task, .kind = kind};
        list_push_back(&a->bench->steps, &s->link);
        loop_timer_set(a->bench->now_timer, 0);
}

static void on_steps(void *arg)
{
        struct bench *b = arg;
        struct list now;

        list_init(&now);
        list_splice_back(&now, &b->steps);
        while (!list_is_empty(&now)) {
                struct step *s = LIST_ITEM(list_pop_front(&now), struct step, link);

                agent_on_container(s->agent->core, time_now(), &s->event);
                free(s);
        }
}

static void port_send(void *arg, const uint8_t *p, size_t n)
{
        struct fake_agent *a = arg;

        net_client_send(a->client, p, n);
}

static void port_reconnect(void *arg UNUSED)
{
}

static void port_prepare(void *arg, const struct agent_task *t)
{
        queue(arg, t->id, CONTAINER_PREPARED);
}

static void port_start(void *arg, const struct agent_task *t)
{
        queue(arg, t->id, CONTAINER_STARTED);
}

static void port_stop(void *arg, struct id task)
{
        queue(arg, task, CONTAINER_EXITED);
}

static void port_remove(void *arg, struct id task)
{
        queue(arg, task, CONTAINER_REMOVED);
}

static void port_journal_put(void *arg UNUSED, struct id t UNUSED, const uint8_t *p UNUSED,
                             size_t n UNUSED)
{
}

static void port_journal_remove(void *arg UNUSED, struct id t UNUSED)
{
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

static void port_image(void *arg UNUSED, const Swarm__Image *m UNUSED)
{
}

static void create_service(struct bench *b);

static void port_session(void *arg, const Swarm__Session *m UNUSED)
{
        struct bench *b = ((struct fake_agent *)arg)->bench;

        if (++b->n_sessions == b->n_agents)
                create_service(b);
}

/* --- the user ------------------------------------------------------------------------------------
 */
static void send_request(struct bench *b, Swarm__Request *q, uint64_t number)
{
        _cleanup_buf_ struct buf out = {0};

        q->number = number;
        q->protocol = CONTROL_PROTOCOL;
        WIRE_PACK(q, &out);
        net_client_send(b->control, out.data, out.len);
}

static void create_service(struct bench *b)
{
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__ServiceSpec spec = SWARM__SERVICE_SPEC__INIT;
        Swarm__TaskSpec task = SWARM__TASK_SPEC__INIT;
        Swarm__ContainerSpec container = SWARM__CONTAINER_SPEC__INIT;
        char *command = (char *)(uintptr_t) "/bin/main";

        if (b->is_created)
                return;
        b->is_created = true;
        fprintf(stderr, "%zu agents have joined\n", b->n_agents);
        container.image = (char *)(uintptr_t)b->image;
        container.args = &command;
        container.n_args = 1;
        task.container = &container;
        spec.name = (char *)(uintptr_t) "committed";
        spec.task = &task;
        spec.replicas = b->replicas;
        q.kind_case = SWARM__REQUEST__KIND_SERVICE_CREATE;
        q.service_create = &spec;
        b->created_us = time_mono_us();
        send_request(b, &q, 1);
}

static void watch_service(struct bench *b)
{
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__WatchService w = SWARM__WATCH_SERVICE__INIT;

        w.ref = (char *)(uintptr_t) "committed";
        q.kind_case = SWARM__REQUEST__KIND_SERVICE_WATCH;
        q.service_watch = &w;
        send_request(b, &q, 2);
}

static void on_control(void *arg, const uint8_t *p, size_t n)
{
        struct bench *b = arg;
        _cleanup_arena_ struct wire_arena arena = {0};
        Swarm__Response *r = wire_unpack(&arena, &swarm__response__descriptor, p, n);

        if (!r || r->code) {
                fprintf(stderr, "the manager says: %s\n", r ? r->error : "garbage");
                exit(1);
        }
        if (r->number == 1)
                watch_service(b);
        else if (r->kind_case == SWARM__RESPONSE__KIND_PROGRESS &&
                 r->progress->running == b->replicas) {
                double s = (double)(time_mono_us() - b->created_us) / 1e6;

                printf("{\"figure\":\"%s: %zu agents, %llu replicas, create to all RUNNING\","
                       "\"value\":%.0f,\"unit\":\"tasks/s\",\"aim\":\"30000\"}\n",
                       b->name, b->n_agents, (unsigned long long)b->replicas,
                       (double)b->replicas / s);
                loop_stop(b->loop);
        }
}

/* --- agents --------------------------------------------------------------------------------------
 */
static void on_message(void *arg, const uint8_t *p, size_t n)
{
        struct fake_agent *a = arg;
        _cleanup_arena_ struct wire_arena arena = {0};

        if (a->is_joined) {
                agent_on_message(a->core, time_now(), p, n);
                return;
        }
        Swarm__ManagerMessage *m = wire_unpack(&arena, &swarm__manager_message__descriptor, p, n);
        if (!m || m->kind_case != SWARM__MANAGER_MESSAGE__KIND_JOINED) {
                fprintf(stderr, "an agent was not let in\n");
                exit(1);
        }
        a->is_joined = true;
        agent_on_connected(a->core, time_now());
}

static void send_join(struct fake_agent *a)
{
        Swarm__Join join = SWARM__JOIN__INIT;
        Swarm__AgentMessage m = SWARM__AGENT_MESSAGE__INIT;
        _cleanup_buf_ struct buf b = {0};

        join.secret = a->bench->token.secret;
        join.description = &a->description;
        m.kind_case = SWARM__AGENT_MESSAGE__KIND_JOIN;
        m.join = &join;
        WIRE_PACK(&m, &b);
        net_client_send(a->client, b.data, b.len);
}

static void add_agent(struct bench *b, size_t i)
{
        static const struct agent_ports ports = {.send = port_send,
                                                 .reconnect = port_reconnect,
                                                 .container_prepare = port_prepare,
                                                 .container_start = port_start,
                                                 .container_stop = port_stop,
                                                 .container_remove = port_remove,
                                                 .journal_put = port_journal_put,
                                                 .journal_remove = port_journal_remove,
                                                 .on_image = port_image,
                                                 .on_blob_data = port_blob,
                                                 .on_log_start = port_log_start,
                                                 .on_log_stop = port_log_stop,
                                                 .on_log_ack = port_log_ack,
                                                 .on_session = port_session};
        struct fake_agent *a = &b->agents[i];
        struct agent_ports mine = ports;
        struct agent_config config = {.seed = i, .description = &a->description};
        struct net_client_config c = {.endpoint = b->endpoints[i % b->n_endpoints],
                                      .keys = &a->keys,
                                      .server_key = b->token.cluster_key,
                                      .arg = a,
                                      .on_message = on_message};
        struct err err = {0};

        mine.arg = a;
        a->bench = b;
        snprintf(a->hostname, sizeof(a->hostname), "b%zu", i);
        swarm__node_description__init(&a->description);
        swarm__resources__init(&a->capacity);
        a->capacity.nano_cpus = 64 * NANO_PER_CPU;
        a->capacity.memory_bytes = 64LL << 30;
        a->description.hostname = a->hostname;
        a->description.os = (char *)(uintptr_t) "linux";
        a->description.arch = (char *)(uintptr_t) "x86_64";
        a->description.capacity = &a->capacity;
        a->description.protocol = DISPATCH_PROTOCOL;
        a->core = agent_new(&config, &mine);
        if (net_keys_make(&a->keys) < 0 || net_connect(b->net, &c, &a->client, &err) < 0) {
                fprintf(stderr, "agent %zu: %s\n", i, err.text);
                exit(1);
        }
        agent_start(a->core, time_now());
        send_join(a);
}

static void on_tick(void *arg)
{
        struct bench *b = arg;
        struct now now = time_now();

        for (size_t i = 0; i < b->n_agents; i++)
                if (b->agents[i].is_joined && agent_deadline(b->agents[i].core) <= now.mono_ms)
                        agent_tick(b->agents[i].core, now);
        loop_timer_set(b->tick, TICK_MS);
}

static void on_limit(void *arg UNUSED)
{
        fprintf(stderr, "not done after %d s\n", LIMIT_MS / 1000);
        exit(1);
}

static void raise_descriptor_limit(void)
{
        struct rlimit limit;

        getrlimit(RLIMIT_NOFILE, &limit);
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int argc, char **argv)
{
        static struct bench b;
        uint64_t n_agents;
        struct err err = {0};

        if (argc != 8 || join_token_parse(argv[4], &b.token, &err) < 0 ||
            parse_u64(argv[6], &n_agents) < 0 || parse_u64(argv[7], &b.replicas) < 0) {
                fprintf(stderr,
                        "usage: committed_bench NAME SOCKET ENDPOINT[,ENDPOINT...] TOKEN IMAGE"
                        " AGENTS REPLICAS %s\n",
                        err.text);
                return 2;
        }
        raise_descriptor_limit();
        b.name = argv[1];
        b.endpoints = str_split(argv[3], ',');
        b.n_endpoints = strv_len(b.endpoints);
        b.image = argv[5];
        b.n_agents = n_agents;
        list_init(&b.steps);
        b.loop = loop_new();
        b.net = net_new(b.loop);
        net_set_sockets_max(b.net, (int)n_agents * 2 + 64);
        struct net_client_config c = {.endpoint = argv[2], .arg = &b, .on_message = on_control};
        if (net_connect(b.net, &c, &b.control, &err) < 0) {
                fprintf(stderr, "%s\n", err.text);
                return 1;
        }
        b.agents = xnew_array(struct fake_agent, n_agents);
        b.now_timer = loop_timer_new(b.loop, on_steps, &b);
        b.tick = loop_timer_new(b.loop, on_tick, &b);
        loop_timer_set(loop_timer_new(b.loop, on_limit, &b), LIMIT_MS);
        for (size_t i = 0; i < n_agents; i++)
                add_agent(&b, i);
        on_tick(&b);
        loop_run(b.loop);
        return 0;
}
