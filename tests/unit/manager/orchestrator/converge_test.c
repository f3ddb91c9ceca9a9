/*
 * Random lives of a cluster: services come, change, are scaled and removed, nodes come, go and are
 * drained, tasks fail, the manager restarts. At every step: no node has more reserved than it has,
 * a slot has at most two live tasks, a placed task fits its constraints, and a manager that
 * restarts decides nothing new. Then everything is healed and time passes: each service runs what
 * it should, on nodes that are there.
 */
#include "tests/lib/unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "manager/store/constraint.h"
#include "shared/base/parse.h"
#include "tests/lib/plan_script.h"

#define SEEDS    100
#define STEPS    120
#define NODES    6
#define SERVICES 4

struct life {
        struct plan plan;
        struct rng rng;
        char line[256];
};

static uint64_t below(struct life *l, uint64_t n)
{
        return rng_below(&l->rng, n);
}

static void run(struct life *l)
{
        struct err err = {0};

        script_run(&l->plan, l->line, &err); /* what does not apply is refused: that is fine */
}

#define RUN(l, ...)                                                  \
        do {                                                         \
                snprintf((l)->line, sizeof((l)->line), __VA_ARGS__); \
                run(l);                                              \
        } while (0)

static const char *const images[] = {"v1", "v2", "v3", "bad", "crash", "hang", "done"};
static const char *const words[] = {
        "update-order=start-first",
        "update-order=stop-first",
        "update-action=rollback",
        "update-action=continue",
        "update-action=pause",
        "update-parallelism=0",
        "update-parallelism=2",
        "update-wait=20s",
        "update-delay=3s",
        "constraint=node.labels.zone==a",
        "constraint=node.labels.zone!=a",
        "cpu=1",
        "cpu=0.5",
        "max-per-node=3",
        "strategy=binpack",
        "spread=node.labels.zone",
        "delay=0s",
        "delay=1s",
        "attempts=3",
        "window=30s",
        "restart=on-failure",
        "generic.gpu=1",
};
static const char *const node_states[] = {"down",  "ready",  "suspect", "drain",
                                          "pause", "active", "ready"};

static void change_service(struct life *l)
{
        unsigned n = (unsigned)below(l, SERVICES);
        unsigned replicas = (unsigned)below(l, 8);
        const char *mode = n == 0 ? "mode=global" : "mode=replicated";
        const char *image = images[below(l, ARRAY_SIZE(images))];
        const char *word = words[below(l, ARRAY_SIZE(words))];
        char name[16];

        snprintf(name, sizeof(name), "s%u", n);
        if (!store_find_service_by_name(l->plan.store, name))
                RUN(l, "service %s %s replicas=%u image=%s %s", name, mode, replicas, image, word);
        else if (below(l, 10) == 0)
                RUN(l, "service %s remove", name);
        else if (below(l, 8) == 0)
                RUN(l, "service %s rollback", name);
        else if (below(l, 2) == 0)
                RUN(l, "service %s update replicas=%u", name, replicas);
        else
                RUN(l, "service %s update image=%s %s", name, image, word);
}

static void change_node(struct life *l)
{
        unsigned n = (unsigned)below(l, NODES);
        char name[16];

        snprintf(name, sizeof(name), "n%u", n);
        if (!plan_find_node(&l->plan, name))
                RUN(l, "node n%u-%u cpu=4 label.zone=%c generic.gpu=2", n, (unsigned)below(l, 1000),
                    n % 2 ? 'a' : 'b');
        else if (below(l, 20) == 0)
                RUN(l, "node %s set cpu=%u", name, (unsigned)(2 + below(l, 4)));
        else if (below(l, 20) == 0)
                RUN(l, "node %s set label.zone=%c", name, below(l, 2) ? 'a' : 'b');
        else
                RUN(l, "node %s %s", name, node_states[below(l, ARRAY_SIZE(node_states))]);
}

/* Some task that runs fails, or completes. */
static void end_task(struct life *l)
{
        const struct map *tasks = store_tasks(l->plan.store);
        size_t at = tasks->cap ? below(l, tasks->cap) : 0;
        struct task *task = map_next(tasks, &at);

        if (task && task->state == TASK_RUNNING)
                RUN(l, "task %s %s", plan_name(&l->plan, task->id),
                    below(l, 3) ? "failed" : "complete");
}

static void check_slots(struct service *service)
{
        struct task *task, *other;

        LIST_FOREACH (task, &service->tasks, service_link) {
                int live = 0;

                if (task->desired > TASK_RUNNING)
                        continue;
                LIST_FOREACH (other, &service->tasks, service_link)
                        live += other->desired <= TASK_RUNNING && other->slot == task->slot &&
                                (task->slot || other->node == task->node);
                assert_true(live <= 2);
        }
}

static void check_node(struct node *node)
{
        int64_t cpu = 0, gpus = 0;
        struct task *task;

        LIST_FOREACH (task, &node->tasks, node_link) {
                if (task->state < TASK_ASSIGNED || task_state_is_terminal(task->state))
                        continue;
                cpu += task->spec->msg->task->reservations->nano_cpus;
                if (task->generic)
                        gpus += task->generic->generic[0]->count;
                if (node->availability == AVAILABILITY_ACTIVE && node->state == NODE_READY &&
                    task->desired <= TASK_RUNNING)
                        assert_true(constraint_spec_is_met(task->service->spec, node) ||
                                    task->spec != task->service->spec);
        }
        assert_true(gpus <= 2);
        assert_true(cpu <= 5 * NANO_PER_CPU); /* the most that a node ever had */
}

static void check(struct life *l)
{
        struct service *service;
        struct node *node;
        size_t i;

        MAP_FOREACH (service, i, store_services(l->plan.store))
                check_slots(service);
        MAP_FOREACH (node, i, store_nodes(l->plan.store))
                check_node(node);
}

static void heal(struct life *l)
{
        struct node *node;
        size_t i;

        MAP_FOREACH (node, i, store_nodes(l->plan.store)) {
                RUN(l, "node %s ready", plan_name(&l->plan, node->id));
                RUN(l, "node %s active", plan_name(&l->plan, node->id));
                RUN(l, "node %s set cpu=64 label.zone=a generic.gpu=64",
                    plan_name(&l->plan, node->id));
        }
        for (unsigned n = 0; n < SERVICES; n++)
                RUN(l,
                    "service s%u update image=v9 cpu=0 max-per-node=0 constraint= delay=0s "
                    "attempts=0 restart=any update-wait=1m update-action=continue",
                    n);
        plan_advance(&l->plan, 1800000);
}

static void check_converged(struct life *l)
{
        struct service *service;
        size_t i, nodes = store_nodes(l->plan.store)->len;

        MAP_FOREACH (service, i, store_services(l->plan.store)) {
                uint64_t want = service->spec->msg->replicas, live = 0;
                struct task *task;

                assert_false(service->is_removing);
                if (service->spec->msg->mode == MODE_GLOBAL)
                        want = nodes;
                LIST_FOREACH (task, &service->tasks, service_link) {
                        if (task->desired > TASK_RUNNING)
                                continue;
                        live++;
                        assert_int_equal(task->state, TASK_RUNNING);
                        assert_string_equal(task->spec->msg->task->container->image, "v9");
                        assert_int_equal(task->node->state, NODE_READY);
                }
                assert_int_equal(live, want);
                assert_int_equal(store_running_tasks(l->plan.store, service), want);
                assert_int_not_equal(service->update.state, UPDATE_UPDATING);
        }
}

/* No line but reasons for waiting, which are told anew. */
static void assert_nothing_decided(struct life *l)
{
        _cleanup_strv_ char **lines = str_split(buf_str(&l->plan.out), '\n');

        for (size_t i = 0; lines[i]; i++)
                if (*lines[i] && !strstr(lines[i], " waits: "))
                        fail_msg("decided after a restart: %s", buf_str(&l->plan.out));
}

/* A manager that comes back decides nothing that the one before had not. (It does not know who was
 * suspect, so nobody is.) */
static void check_restart(struct life *l)
{
        struct node *node;
        size_t i;

        MAP_FOREACH (node, i, store_nodes(l->plan.store))
                if (node->state == NODE_SUSPECT)
                        store_set_node_state(l->plan.store, node, NODE_READY, NULL,
                                             l->plan.now.wall_ms);
        plan_settle(&l->plan);
        buf_clear(&l->plan.out);
        plan_restart(&l->plan);
        plan_settle(&l->plan);
        assert_nothing_decided(l);
}

static void live(uint64_t seed)
{
        struct life l = {.rng = {seed}};

        plan_open(&l.plan);
        l.plan.run_ms = (int64_t)below(&l, 3) * 700;
        l.plan.stop_ms = (int64_t)below(&l, 3) * 900;
        if (below(&l, 3) == 0)
                l.plan.change_max = 1 + below(&l, 10);
        for (unsigned n = 0; n < NODES / 2; n++)
                RUN(&l, "node n%u cpu=4 label.zone=%c generic.gpu=2", n, n % 2 ? 'a' : 'b');
        for (int i = 0; i < STEPS; i++) {
                switch (below(&l, 8)) {
                case 0:
                case 1: change_service(&l); break;
                case 2: change_node(&l); break;
                case 3:
                case 4: end_task(&l); break;
                case 5: plan_advance(&l.plan, (int64_t)below(&l, 20000)); break;
                case 6: plan_settle(&l.plan); break;
                default: check_restart(&l);
                }
                plan_settle(&l.plan);
                check(&l);
        }
        heal(&l);
        check_converged(&l);
        buf_clear(&l.plan.out);
        plan_restart(&l.plan);
        plan_advance(&l.plan, 600000);
        assert_string_equal(buf_str(&l.plan.out), "");
        plan_close(&l.plan);
}

static uint64_t first_seed = 1, last_seed = SEEDS;

static void run_seed(uint64_t seed)
{
        print_message("# seed %llu\n", (unsigned long long)seed);
        live(seed);
}

static void test_converges(void **state UNUSED)
{
        for (uint64_t seed = first_seed; seed <= last_seed; seed++)
                run_seed(seed);
}

/* Lives that went wrong once. */
static void test_converged_once(void **state UNUSED)
{
        static const uint64_t seeds[] = {532,  847,   2751,  4294,  5212,  8803,  9071,
                                         9208, 10696, 13662, 15254, 15333, 31601, 33446};

        for (size_t i = 0; i < ARRAY_SIZE(seeds); i++)
                run_seed(seeds[i]);
}

/* Arguments: the first and the last seed, for a longer search. */
int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_converges),
                cmocka_unit_test(test_converged_once),
        };

        if (argc == 3 &&
            (parse_u64(argv[1], &first_seed) < 0 || parse_u64(argv[2], &last_seed) < 0))
                return EXIT_FAILURE;
        return cmocka_run_group_tests_name("orchestrator", tests, NULL, NULL);
}
