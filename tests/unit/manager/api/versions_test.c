/* Clients of other versions: what they say that this manager does not know, and how it is spoken.
 */
#include "tests/lib/unit.h"

#include <errno.h>

#include "shared/base/base.h"
#include "tests/lib/future.h"
#include "tests/lib/turn_rig.h"

#define ASK(r, field, kind, m)                                  \
        ({                                                      \
                Swarm__Request ask_q_ = SWARM__REQUEST__INIT;   \
                ask_q_.kind_case = SWARM__REQUEST__KIND_##kind; \
                ask_q_.field = (m);                             \
                core_ask((r), &ask_q_);                         \
        })

static const Swarm__ServiceSpec *web_spec(struct core *r)
{
        struct service *s = store_find_service_by_name(r->store, "web");

        assert_non_null(s);
        return s->spec->msg;
}

/* What the node was told of the spec last. */
static size_t count_told(struct core *r, const struct core_node *n)
{
        const Swarm__ManagerMessage *m;
        size_t count = 0;

        while ((m = core_take_message(r, (struct peer){.node = n->id},
                                      SWARM__MANAGER_MESSAGE__KIND_ASSIGNMENTS))) {
                if (m->assignments->n_specs == 0)
                        continue;
                const ProtobufCBinaryData *packed = &m->assignments->specs[0]->spec;
                void *spec = wire_unpack_heap(&swarm__service_spec__descriptor, packed->data,
                                              packed->len);

                count = future_count(spec);
                wire_free(spec);
        }
        return count;
}

/* Of a client that knows more than this manager, and then of one that does not. */
static void test_fields_of_a_later_version(void **state UNUSED)
{
        Swarm__ServiceSpec spec = SWARM__SERVICE_SPEC__INIT;
        Swarm__TaskSpec task = SWARM__TASK_SPEC__INIT;
        Swarm__ContainerSpec container = SWARM__CONTAINER_SPEC__INIT;
        Swarm__ScaleRequest scale = SWARM__SCALE_REQUEST__INIT;
        Swarm__ScaleRequest__Item item = SWARM__SCALE_REQUEST__ITEM__INIT, *items[] = {&item};
        Swarm__ServiceUpdate u = SWARM__SERVICE_UPDATE__INIT;
        Swarm__RefList refs = SWARM__REF_LIST__INIT;
        char *names[] = {(char *)"web"};
        struct core_node n;
        struct core r;
        size_t marks;

        core_open(&r);
        core_add_image(&r);
        core_add_node(&r, "w1", &n);
        container.image = (char *)"busybox";
        task.container = &container;
        spec.name = names[0];
        spec.task = &task;
        spec.replicas = 1;
        Swarm__ServiceSpec *future = future_of(&spec, &marks);
        assert_int_equal(marks, 3);
        assert_int_equal(ASK(&r, service_create, SERVICE_CREATE, future)->code, 0);
        wire_free(future);
        assert_int_equal(future_count(web_spec(&r)), marks);
        assert_int_equal(count_told(&r, &n), marks);

        item.ref = names[0];
        item.replicas = 2;
        scale.items = items;
        scale.n_items = 1;
        assert_int_equal(ASK(&r, service_scale, SERVICE_SCALE, &scale)->code, 0);
        assert_int_equal(future_count(web_spec(&r)), marks);

        refs.refs = names;
        refs.n_refs = 1;
        const Swarm__Response *m = ASK(&r, service_get, SERVICE_GET, &refs);
        assert_int_equal(m->services->n_services, 1);
        u.ref = names[0];
        u.spec = wire_dup(m->services->services[0]->spec);
        assert_int_equal(future_count(u.spec), marks);
        u.spec->task->force_update = 1;
        assert_int_equal(ASK(&r, service_update, SERVICE_UPDATE, &u)->code, 0);
        wire_free(u.spec);
        assert_int_equal(web_spec(&r)->task->force_update, 1);
        assert_int_equal(future_count(web_spec(&r)), marks);
        assert_int_equal(count_told(&r, &n), marks);
        core_close(&r);
}

static void test_protocols(void **state UNUSED)
{
        static const struct {
                uint32_t oldest, newest;
                const char *error;
        } cases[] = {
                {0, CONTROL_PROTOCOL, ""},
                {CONTROL_PROTOCOL, 7, ""},
                {0, 7,
                 "the client speaks control protocol 7, this manager 1: upgrade this manager"},
                {5, 7,
                 "the client speaks control protocol 5 to 7, this manager 1: upgrade this "
                 "manager"},
        };
        Swarm__Empty empty = SWARM__EMPTY__INIT;
        struct core r;

        core_open(&r);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                Swarm__Request q = SWARM__REQUEST__INIT;

                q.kind_case = SWARM__REQUEST__KIND_INFO;
                q.info = &empty;
                q.protocol = cases[i].newest;
                q.protocol_oldest = cases[i].oldest;
                const Swarm__Response *m = core_ask(&r, &q);
                assert_int_equal(m->code, *cases[i].error ? EPROTO : 0);
                assert_string_equal(m->error, cases[i].error);
                if (m->code == 0)
                        assert_int_equal(m->info->protocol, CONTROL_PROTOCOL);
        }
        core_close(&r);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_fields_of_a_later_version),
                cmocka_unit_test(test_protocols),
        };

        return cmocka_run_group_tests_name("versions", tests, NULL, NULL);
}
