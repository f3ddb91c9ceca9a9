/* How many tasks a slot keeps at most, whatever keeps them. */
#include "tests/lib/unit.h"

#include "shared/base/base.h"
#include "tests/lib/turn_rig.h"

#define TASKS      (TASK_HISTORY_MAX + 3000)
#define TASKS_STEP 1000

static void set_limit(struct core *r, int64_t limit)
{
        Swarm__Cluster *cluster = wire_dup(store_cluster(r->store)->msg);

        cluster->settings->task_history_limit = limit;
        store_put_cluster(r->store, &cluster);
}

static void keep_all(struct core *r, struct service *service UNUSED)
{
        set_limit(r, -1);
}

/* As no request can set it. */
static void keep_more(struct core *r, struct service *service UNUSED)
{
        set_limit(r, INT64_MAX);
}

static void restart_in_window(struct core *r, struct service *service)
{
        Swarm__ServiceSpec *spec = wire_dup(service->spec->msg);
        Swarm__RestartPolicy *policy = spec->task->restart;

        policy->max_attempts = UINT64_MAX;
        policy->window_ms = 365LL * 24 * 3600 * 1000;
        store_set_service_spec(r->store, service, spec, r->now.wall_ms);
        wire_free(spec);
}

static void test_bounded(void **state UNUSED)
{
        static void (*const cases[])(struct core * r, struct service * service) = {
                keep_all, keep_more, restart_in_window};

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct rng rng = {5};
                struct core_node n;
                struct core r;

                core_open(&r);
                core_add_image(&r);
                core_add_node(&r, "w1", &n);
                struct id id = core_add_service(&r, "web", 1);
                struct service *service = store_find_service(r.store, id);
                cases[i](&r, service);
                core_run(&r);
                for (int made = 1; made <= TASKS; made++) {
                        struct task_init init = {.id = id_make(&rng),
                                                 .spec = service->spec,
                                                 .slot = 1,
                                                 .node = store_find_node(r.store, n.id),
                                                 .state = TASK_COMPLETE,
                                                 .desired = TASK_SHUTDOWN,
                                                 .attempts = 1,
                                                 .created_ms = r.now.wall_ms};

                        store_add_task(r.store, service, &init);
                        if (made % TASKS_STEP == 0)
                                core_run(&r);
                        core_drop_effects(&r);
                }
                assert_in_range(service->task_count, TASK_HISTORY_MAX - 1, TASK_HISTORY_MAX + 2);
                core_close(&r);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_bounded),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
