/*
 * How fast is scheduling? 5,000 nodes, 1,000 services of 1,000 tasks, spread with resource fit, on
 * one core: the decisions alone, then with the store's part (each task assigned and recorded), then
 * the orchestrator that makes the tasks, and last one task that fails in a service of 100,000.
 * Prints a line of JSON a figure.
 */
#include <assert.h>
#include <stdio.h>

#include "manager/orchestrator/orchestrator.h"
#include "manager/scheduler/scheduler_internal.h"
#include "shared/base/base.h"

#define NODES         5000
#define SERVICES      1000
#define REPLICAS      1000
#define LARGE_SERVICE 100000
#define FAILING_TASKS 1000

struct bench {
        struct store *store;
        struct orchestrator *orchestrator;
        struct scheduler *scheduler;
        struct now now;
        struct rng rng;
        struct buf entry;
        size_t changes;
};

static void print_figure(const char *name, double value, const char *unit, const char *aim)
{
        printf("{\"figure\":\"%s\",\"value\":%.0f,\"unit\":\"%s\",\"aim\":\"%s\"}\n", name, value,
               unit, aim);
        fflush(stdout);
}

static void take_changes(struct bench *b)
{
        b->changes += store_take_changes(b->store, b->now.wall_ms, &b->entry);
        buf_clear(&b->entry);
}

static void add_node(struct bench *b, uint64_t i)
{
        Swarm__NodeDescription d = SWARM__NODE_DESCRIPTION__INIT;
        Swarm__Resources capacity = SWARM__RESOURCES__INIT;
        uint8_t key[32] = {(uint8_t)i, (uint8_t)(i >> 8)};

        /* Three sizes, so that the fractions differ. */
        capacity.nano_cpus = (16 + 16 * (int64_t)(i % 3)) * NANO_PER_CPU;
        capacity.memory_bytes = (64 + 64 * (int64_t)(i % 3)) * (1LL << 30);
        d.capacity = &capacity;
        struct node *node =
                store_add_node(b->store, (struct id){1, i}, key, ROLE_WORKER, b->now.wall_ms);
        store_set_node_description(b->store, node, &d, b->now.wall_ms);
        store_set_node_state(b->store, node, NODE_READY, NULL, b->now.wall_ms);
}

static void add_service(struct bench *b, uint64_t i, uint64_t replicas)
{
        Swarm__ServiceSpec spec = SWARM__SERVICE_SPEC__INIT;
        Swarm__TaskSpec task = SWARM__TASK_SPEC__INIT;
        Swarm__ContainerSpec container = SWARM__CONTAINER_SPEC__INIT;
        Swarm__Resources need = SWARM__RESOURCES__INIT;
        char name[32];

        snprintf(name, sizeof(name), "service-%llu", (unsigned long long)i);
        spec.name = name;
        spec.task = &task;
        spec.replicas = replicas;
        task.container = &container;
        task.reservations = &need;
        need.nano_cpus = NANO_PER_CPU / 100 * (int64_t)(1 + i % 8);
        need.memory_bytes = (int64_t)(32 + 32 * (i % 4)) << 20;
        store_add_service(b->store, (struct id){2, i}, &spec, b->now.wall_ms);
}

static void bench_open(struct bench *b, uint64_t services, uint64_t replicas)
{
        *b = (struct bench){.store = store_new(), .now = {1000, 1700000000000}, .rng = {1}};
        for (uint64_t i = 1; i <= NODES; i++)
                add_node(b, i);
        for (uint64_t i = 1; i <= services; i++)
                add_service(b, i, replicas);
        take_changes(b);
        b->orchestrator = orchestrator_new(b->store, b->now);
        b->scheduler = scheduler_new(b->store, &(struct breath){0}, b->now);
}

static void bench_close(struct bench *b)
{
        orchestrator_free(b->orchestrator);
        scheduler_free(b->scheduler);
        store_free(b->store);
        buf_done(&b->entry);
}

/* The decisions alone. */
static void bench_pure(void)
{
        static uint32_t nodes[REPLICAS];
        struct bench b;
        size_t placed = 0;

        bench_open(&b, SERVICES, REPLICAS);
        int64_t start_us = time_mono_us();
        for (uint64_t i = 1; i <= SERVICES; i++) {
                struct service *service = store_find_service(b.store, (struct id){2, i});
                struct sservice *ss = sservice_get(b.scheduler, service);
                struct demand d;

                demand_init(&d, service->spec);
                place_scratch(b.scheduler, ss);
                placed += place(b.scheduler, ss, &d, REPLICAS, nodes);
                demand_done(&d);
        }
        double seconds = (double)(time_mono_us() - start_us) / 1e6;
        assert(placed == (size_t)SERVICES * REPLICAS);
        print_figure("pure scheduling", (double)placed / seconds, "placements/s", "1000000");
        bench_close(&b);
}

/* Turns until the orchestrator has made all tasks, then until the scheduler has placed them. */
static void bench_stages(void)
{
        struct bench b;
        size_t n;

        bench_open(&b, SERVICES, REPLICAS);
        int64_t start_us = time_mono_us();
        while (orchestrator_run(b.orchestrator, b.now, &b.rng, 50000) <= b.now.mono_ms)
                take_changes(&b);
        take_changes(&b);
        n = store_tasks(b.store)->len;
        assert(n == (size_t)SERVICES * REPLICAS);
        print_figure("tasks made by the orchestrator, with their entries",
                     (double)n * 1e6 / (double)(time_mono_us() - start_us), "tasks/s", "");

        int64_t place_us = 0, all_us = time_mono_us();
        for (bool goes_on = true; goes_on;) {
                int64_t at_us = time_mono_us();

                goes_on = scheduler_run(b.scheduler, b.now, 50000) <= b.now.mono_ms;
                place_us += time_mono_us() - at_us;
                take_changes(&b);
        }
        all_us = time_mono_us() - all_us;
        print_figure("scheduling into the store", (double)n * 1e6 / (double)place_us,
                     "placements/s", "");
        print_figure("scheduling into the store, with the entries",
                     (double)n * 1e6 / (double)all_us, "placements/s", "");
        bench_close(&b);
}

/* One task of a large service fails, is restarted and placed: what a turn with it costs. */
static void bench_failure(void)
{
        struct bench b;

        bench_open(&b, 1, LARGE_SERVICE);
        while (orchestrator_run(b.orchestrator, b.now, &b.rng, 50000) <= b.now.mono_ms)
                take_changes(&b);
        while (scheduler_run(b.scheduler, b.now, 50000) <= b.now.mono_ms)
                take_changes(&b);
        take_changes(&b);
        struct service *service = store_find_service(b.store, (struct id){2, 1});
        struct task *task = LIST_ITEM(service->tasks.next, struct task, service_link);
        int64_t start_us = time_mono_us();
        for (int i = 0; i < FAILING_TASKS; i++) {
                store_set_task_state(b.store, task, TASK_FAILED, b.now.wall_ms, "failed", "exit 1",
                                     1);
                orchestrator_run(b.orchestrator, b.now, &b.rng, 50000);
                scheduler_run(b.scheduler, b.now, 50000);
                take_changes(&b);
                task = LIST_ITEM(task->service_link.next, struct task, service_link);
        }
        double us = (double)(time_mono_us() - start_us) / FAILING_TASKS;
        print_figure("a failed task of 100000 replaced and placed on one of 5000 nodes", us, "us",
                     "");
        bench_close(&b);
}

int main(void)
{
        bench_pure();
        bench_stages();
        bench_failure();
        return 0;
}
