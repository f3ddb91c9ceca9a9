/* The worker with more tasks than a node can have: those that are too many are rejected, each by
 * itself, and the others go on. And what a newer manager may say. */
#include "tests/lib/unit.h"

#include <string.h>

#include "agent/worker/worker.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/wire/wire.h"

#define SET_TASKS 1000
#define TOO_MANY  1000

struct fixture {
        struct agent_ports ports;
        struct worker worker;
        struct report report;
        size_t prepared, sets;
        uint32_t desired;
};

static void port_prepare(void *arg, const struct agent_task *t UNUSED)
{
        struct fixture *f = arg;

        f->prepared++;
}

static void port_remove(void *arg UNUSED, struct id task UNUSED)
{
}

static void port_put(void *arg UNUSED, struct id task UNUSED, const uint8_t *p UNUSED,
                     size_t n UNUSED)
{
}

static const struct now NOW = {1000, 1000};

/* The next tasks, as one message of a complete set. */
static int give_set(struct fixture *f, bool is_continued)
{
        Swarm__ServiceSpec service = SWARM__SERVICE_SPEC__INIT;
        Swarm__TaskSpec task_spec = SWARM__TASK_SPEC__INIT;
        Swarm__ContainerSpec container = SWARM__CONTAINER_SPEC__INIT;
        Swarm__SpecVersion version = SWARM__SPEC_VERSION__INIT, *versions = &version;
        Swarm__Assignments m = SWARM__ASSIGNMENTS__INIT;
        static Swarm__TaskAssignment tasks[SET_TASKS], *list[SET_TASKS];
        static uint8_t ids[SET_TASKS][ID_BYTES];
        uint8_t service_id[ID_BYTES];
        _cleanup_buf_ struct buf packed = {0};

        service.name = (char *)"web";
        service.task = &task_spec;
        task_spec.container = &container;
        WIRE_PACK(&service, &packed);
        version.service_id = wire_id((struct id){0, 9}, service_id);
        version.spec_version = 1;
        version.spec = (ProtobufCBinaryData){packed.len, packed.data};
        for (size_t i = 0; i < SET_TASKS; i++) {
                swarm__task_assignment__init(&tasks[i]);
                tasks[i].task_id = wire_id((struct id){1, f->sets * SET_TASKS + i + 1}, ids[i]);
                tasks[i].service_id = version.service_id;
                tasks[i].spec_version = 1;
                tasks[i].slot = f->sets * SET_TASKS + i + 1;
                tasks[i].desired = f->desired;
                list[i] = &tasks[i];
        }
        m.is_complete = true;
        m.is_continued = is_continued;
        m.applies_to = f->sets;
        m.results_in = ++f->sets;
        m.specs = &versions;
        m.n_specs = 1;
        m.tasks = list;
        m.n_tasks = SET_TASKS;
        return worker_assign(&f->worker, NOW, &m);
}

static size_t count_rejected(struct fixture *f)
{
        struct report_batch *b;
        size_t n = 0;

        while ((b = report_next(&f->report, NOW.mono_ms + 60000))) {
                const Swarm__StatusBatch *m = report_batch_message(b);
                uint64_t seq = m->seq;

                for (size_t i = 0; i < m->n_statuses; i++) {
                        if (m->statuses[i]->state != TASK_REJECTED)
                                continue;
                        assert_string_equal(m->statuses[i]->error, "too many tasks on this node");
                        n++;
                }
                report_batch_free(b);
                report_on_ack(&f->report, seq);
        }
        return n;
}

static void begin(struct fixture *f)
{
        *f = (struct fixture){.ports = {.arg = f,
                                        .container_prepare = port_prepare,
                                        .container_remove = port_remove,
                                        .journal_put = port_put},
                              .desired = TASK_RUNNING};
        report_init(&f->report);
        worker_init(&f->worker, &f->ports, &f->report);
        worker_on_session(&f->worker, (struct id){0, 1});
}

static void test_too_many(void **state UNUSED)
{
        struct fixture f;

        begin(&f);
        while (f.sets * SET_TASKS < WORKER_TASKS_MAX)
                assert_int_equal(give_set(&f, true), 0);
        assert_int_equal(give_set(&f, false), 0);
        assert_int_equal(f.prepared, WORKER_TASKS_MAX);
        assert_int_equal(f.worker.tasks.len, WORKER_TASKS_MAX + TOO_MANY);
        assert_int_equal(count_rejected(&f), TOO_MANY);
        worker_done(&f.worker);
}

/* The set is taken all the same, or it would be asked for again without end. */
static void test_a_state_that_is_not_known(void **state UNUSED)
{
        struct fixture f;

        begin(&f);
        assert_int_equal(give_set(&f, false), 0);
        assert_int_equal(f.prepared, SET_TASKS);
        f.desired = 999;
        f.sets = 0;
        f.worker.has_set = false;
        assert_int_equal(give_set(&f, true), 0);  /* of these tasks */
        assert_int_equal(give_set(&f, false), 0); /* of others */
        assert_true(f.worker.has_set);
        assert_int_equal(f.worker.tasks.len, SET_TASKS);
        assert_int_equal(f.prepared, SET_TASKS);
        worker_done(&f.worker);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_too_many),
                cmocka_unit_test(test_a_state_that_is_not_known),
        };

        return cmocka_run_group_tests_name("worker", tests, NULL, NULL);
}
