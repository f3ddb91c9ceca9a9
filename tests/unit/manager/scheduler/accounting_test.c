/*
 * The scheduler's picture of the nodes, kept change by change, against one counted anew: after any
 * history of placing, ending, shrinking and removing, what is free and how many tasks of a service
 * a node has must be what the store's tasks say.
 */
#include "tests/lib/unit.h"

#include <stdio.h>

#include "manager/scheduler/scheduler_internal.h"
#include "tests/lib/plan_script.h"

#define SEEDS 40
#define STEPS 150

static void say(struct plan *p, const char *line)
{
        struct err err = {0};

        script_run(p, line, &err); /* what does not apply is refused */
}

static bool holds(const struct task *task)
{
        return task->state >= TASK_ASSIGNED && !task_state_is_terminal(task->state);
}

static void check_node(struct plan *p, struct node *node)
{
        const struct snode *n = &p->scheduler->nodes[nodes_index(p->scheduler, node)];
        int64_t cpu = node->description->capacity->nano_cpus;
        int64_t memory = node->description->capacity->memory_bytes;
        uint32_t wanted = 0;
        struct task *task;

        LIST_FOREACH (task, &node->tasks, node_link) {
                if (!holds(task))
                        continue;
                cpu -= task->spec->msg->task->reservations->nano_cpus;
                memory -= task->spec->msg->task->reservations->memory_bytes;
                wanted += task->desired <= TASK_RUNNING;
        }
        assert_int_equal(n->cpu_free, cpu);
        assert_int_equal(n->memory_free, memory);
        assert_int_equal(n->tasks, wanted);
}

static void check_service(struct plan *p, struct service *service)
{
        struct sservice *ss = service->sched;
        struct node *node;
        size_t i;

        MAP_FOREACH (node, i, store_nodes(p->store)) {
                uint32_t wanted = 0;
                struct task *task;

                LIST_FOREACH (task, &node->tasks, node_link)
                        wanted += task->service == service && holds(task) &&
                                  task->desired <= TASK_RUNNING;
                assert_int_equal(ss ? counts_get(&ss->counts, nodes_index(p->scheduler, node)) : 0,
                                 wanted);
        }
}

static void check(struct plan *p)
{
        struct service *service;
        struct node *node;
        size_t i;

        MAP_FOREACH (node, i, store_nodes(p->store))
                check_node(p, node);
        MAP_FOREACH (service, i, store_services(p->store))
                check_service(p, service);
}

static void change(struct plan *p, struct rng *rng)
{
        static const char *const verbs[] = {"down", "ready", "drain", "active", "remove"};
        unsigned n = (unsigned)rng_below(rng, 4), m = (unsigned)rng_below(rng, 9);
        char line[128];

        switch (rng_below(rng, 6)) {
        case 0:
                snprintf(line, sizeof(line), "service s%u update replicas=%u cpu=0.%u mem=%uM", n,
                         m, m + 1, 64 * (m + 1));
                break;
        case 1: snprintf(line, sizeof(line), "service s%u replicas=%u", n, m); break;
        case 2: snprintf(line, sizeof(line), "node n%u cpu=4", n); break;
        case 3:
                snprintf(line, sizeof(line), "node n%u %s", n,
                         verbs[rng_below(rng, ARRAY_SIZE(verbs))]);
                break;
        case 4: snprintf(line, sizeof(line), "node n%u set cpu=%u", n, m + 1); break;
        default: snprintf(line, sizeof(line), "service s%u remove", n);
        }
        say(p, line);
}

static void test_accounting(void **state UNUSED)
{
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
                struct rng rng = {seed};
                struct plan p;

                print_message("# seed %llu\n", (unsigned long long)seed);
                plan_open(&p);
                p.run_ms = 500;
                p.stop_ms = 300;
                for (int i = 0; i < STEPS; i++) {
                        change(&p, &rng);
                        if (rng_below(&rng, 2))
                                plan_advance(&p, (int64_t)rng_below(&rng, 3000));
                        plan_settle(&p);
                        if (rng_below(&rng, 20) == 0)
                                plan_restart(&p);
                        check(&p);
                }
                plan_close(&p);
        }
}

/* A node that has as many tasks as one can have takes no more; another does. */
static void test_full_node(void **state UNUSED)
{
        struct task *second, *third;
        struct node *node;
        struct plan p;

        plan_open(&p);
        say(&p, "node n1");
        say(&p, "service web replicas=1");
        plan_settle(&p);
        node = plan_find_node(&p, "n1");
        p.scheduler->nodes[nodes_index(p.scheduler, node)].tasks = NODE_TASKS_MAX - 1;
        say(&p, "service web update replicas=3");
        plan_settle(&p);
        second = plan_find_task(&p, "web.2");
        third = plan_find_task(&p, "web.3");
        assert_ptr_equal(second->node, node);
        assert_null(third->node);
        assert_string_equal(third->error, "no suitable node (too many tasks on 1 node)");
        say(&p, "node n2");
        plan_settle(&p);
        assert_ptr_equal(third->node, plan_find_node(&p, "n2"));
        plan_close(&p);
}

/* A failure counts for its version and node, from the fifth within five minutes on. */
static void test_failures(void **state UNUSED)
{
        struct sservice ss = {0};

        for (int i = 0; i < FAILURES_MANY; i++) {
                assert_true(i == 0 || failures_count(&ss.failures[0], 1, 1000 * i) == 0);
                failures_add(&ss, 1, 7, 1000 * i);
        }
        failures_add(&ss, 2, 7, 0);
        assert_int_equal(ss.n_failures, 2);
        assert_int_equal(failures_count(&ss.failures[0], 1, 5000), FAILURES_MANY);
        assert_int_equal(failures_count(&ss.failures[0], 2, 5000), 0);
        assert_int_equal(failures_count(&ss.failures[1], 2, 5000), 0);
        assert_int_equal(failures_count(&ss.failures[0], 1, FAILURES_PERIOD_MS), 0);
        for (uint32_t i = 0; i < 2 * FAILURES_MAX; i++)
                failures_add(&ss, 3, i, 0);
        assert_int_equal(ss.n_failures, FAILURES_MAX);
        free(ss.failures);
}

/* Counts by node stand many nodes and coming and going. */
static void test_counts(void **state UNUSED)
{
        struct counts c = {0};

        for (int round = 0; round < 3; round++) {
                for (uint32_t i = 0; i < 5000; i++)
                        for (uint32_t n = 0; n <= i % 3; n++)
                                counts_add(&c, i, 1);
                for (uint32_t i = 0; i < 5000; i++)
                        assert_int_equal(counts_get(&c, i), i % 3 + 1);
                for (uint32_t i = 0; i < 5000; i++)
                        for (uint32_t n = 0; n <= i % 3; n++)
                                counts_add(&c, i, -1);
        }
        assert_int_equal(counts_get(&c, 17), 0);
        assert_true(c.cap <= 32768);
        free(c.slots);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_accounting),
                cmocka_unit_test(test_full_node),
                cmocka_unit_test(test_failures),
                cmocka_unit_test(test_counts),
        };
        return cmocka_run_group_tests_name("scheduler", tests, NULL, NULL);
}
