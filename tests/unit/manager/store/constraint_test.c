/* Placement constraints: what parses, what matches, what is refused and how. */
#include "tests/lib/unit.h"

#include <errno.h>
#include <string.h>

#include "manager/store/constraint.h"
#include "shared/base/base.h"

static Swarm__KeyValue zone = {.key = (char *)"zone", .value = (char *)"A"};
static Swarm__KeyValue disk = {.key = (char *)"disk", .value = (char *)"ssd"};
static Swarm__KeyValue *node_labels[] = {&zone}, *engine_labels[] = {&disk};

static struct node make_node(Swarm__Node *labels, Swarm__NodeDescription *d)
{
        swarm__node__init(labels);
        labels->labels = node_labels;
        labels->n_labels = 1;
        swarm__node_description__init(d);
        d->hostname = (char *)"host-1";
        d->os = (char *)"linux";
        d->arch = (char *)"x86_64";
        d->address = (char *)"10.1.2.3";
        d->engine_labels = engine_labels;
        d->n_engine_labels = 1;
        return (struct node){
                .id = {0, 35}, .role = ROLE_WORKER, .labels = labels, .description = d};
}

static void test_matching(void **state UNUSED)
{
        static const struct {
                const char *expression;
                bool is_met;
        } cases[] = {
                {"node.id==000000000000000000000000z", true},
                {"node.id == 000000000000000000000000Z", true},
                {"node.id==000000000000000000000000", false},
                {"node.hostname==HOST-1", true},
                {"node.hostname!=host-1", false},
                {"node.hostname==host", false},
                {"node.role==worker", true},
                {"node.role==manager", false},
                {"node.role!=manager", true},
                {"node.platform.os==linux", true},
                {"node.platform.arch==amd64", true},
                {"node.platform.arch==X86_64", true},
                {"node.platform.arch!=arm64", true},
                {"node.labels.zone==a", true},
                {"node.labels.zone!=a", false},
                {"node.labels.ZONE==a", false},
                {"node.labels.other==a", false},
                {"node.labels.other!=a", true},
                {"engine.labels.disk==ssd", true},
                {"engine.labels.zone==a", false},
                {"node.ip==10.1.2.3", true},
                {"node.ip==10.1.2.4", false},
                {"node.ip==10.1.0.0/16", true},
                {"node.ip!=10.1.0.0/16", false},
                {"node.ip==10.2.0.0/16", false},
                {"node.ip==0.0.0.0/0", true},
                {"node.ip==::/0", false},
                {"  node.role  ==  worker  ", true},
        };
        Swarm__Node labels;
        Swarm__NodeDescription d;
        struct node node = make_node(&labels, &d);

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                char *expressions[] = {(char *)(uintptr_t)cases[i].expression};
                struct constraint *c = NULL;

                assert_int_equal(constraint_parse(expressions, 1, &c, NULL), 0);
                if (constraint_is_met(c, &node) != cases[i].is_met)
                        print_error("%s\n", cases[i].expression);
                assert_int_equal(constraint_is_met(c, &node), cases[i].is_met);
                free(c);
        }
}

static void test_bad_expressions(void **state UNUSED)
{
        static const struct {
                const char *expression, *text;
        } cases[] = {
                {"", "constraint \"\": needs == or !="},
                {"node.role=worker", "constraint \"node.role=worker\": needs == or !="},
                {"node.role==", "constraint \"node.role==\": invalid value"},
                {"==worker", "constraint \"==worker\": invalid key"},
                {"node role==worker", "constraint \"node role==worker\": invalid key"},
                {"node.color==red", "constraint \"node.color==red\": no such key: node.color"},
                {"node.labels.==a", "constraint \"node.labels.==a\": no such key: node.labels."},
                {"node.rolex==a", "constraint \"node.rolex==a\": no such key: node.rolex"},
                {"node.role==a;b", "constraint \"node.role==a;b\": invalid value"},
                {"node.ip==10.1.2", "constraint \"node.ip==10.1.2\": not an address or a network"},
                {"node.ip==10.1.2.3/33",
                 "constraint \"node.ip==10.1.2.3/33\": not an address or a network"},
                {"node.ip==::1/129",
                 "constraint \"node.ip==::1/129\": not an address or a network"},
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                char *expressions[] = {(char *)"node.role==worker",
                                       (char *)(uintptr_t)cases[i].expression};
                struct constraint *c = NULL;
                struct err err = {0};

                assert_int_equal(constraint_parse(expressions, 2, &c, &err), -EINVAL);
                assert_null(c);
                assert_string_equal(err.text, cases[i].text);
        }
}

static void test_all_must_be_met(void **state UNUSED)
{
        char *both[] = {(char *)"node.role==worker", (char *)"node.labels.zone==b"};
        Swarm__Placement placement = SWARM__PLACEMENT__INIT;
        Swarm__TaskSpec task = SWARM__TASK_SPEC__INIT;
        Swarm__ServiceSpec msg = SWARM__SERVICE_SPEC__INIT;
        struct spec spec = {.msg = &msg};
        Swarm__Node labels;
        Swarm__NodeDescription d;
        struct node node = make_node(&labels, &d);

        assert_true(constraint_spec_is_met(&spec, &node));
        msg.task = &task;
        assert_true(constraint_spec_is_met(&spec, &node));
        task.placement = &placement;
        placement.constraints = both;
        placement.n_constraints = 1;
        assert_true(constraint_spec_is_met(&spec, &node));
        placement.n_constraints = 2;
        assert_false(constraint_spec_is_met(&spec, &node));
        both[1] = (char *)"nonsense";
        assert_false(constraint_spec_is_met(&spec, &node));
}

static void test_a_node_that_has_not_registered(void **state UNUSED)
{
        char *expressions[] = {(char *)"node.ip!=10.1.2.3", (char *)"engine.labels.disk!=ssd"};
        Swarm__Node labels;
        Swarm__NodeDescription d;
        struct node node = make_node(&labels, &d);
        struct constraint *c = NULL;

        node.description = NULL;
        assert_int_equal(constraint_parse(expressions, 2, &c, NULL), 0);
        assert_true(constraint_is_met(c, &node));
        free(c);
}

static void test_platforms(void **state UNUSED)
{
        Swarm__Platform p = SWARM__PLATFORM__INIT, *platforms[] = {&p};
        Swarm__Placement placement = SWARM__PLACEMENT__INIT;
        Swarm__TaskSpec task = SWARM__TASK_SPEC__INIT;
        Swarm__ServiceSpec msg = SWARM__SERVICE_SPEC__INIT;
        struct spec spec = {.msg = &msg};
        Swarm__Node labels;
        Swarm__NodeDescription d;
        struct node node = make_node(&labels, &d);

        msg.task = &task;
        task.placement = &placement;
        assert_true(platform_is_met(&spec, &node));
        placement.platforms = platforms;
        placement.n_platforms = 1;
        p.os = (char *)"linux";
        p.arch = (char *)"amd64";
        assert_true(platform_is_met(&spec, &node));
        p.arch = (char *)"arm64";
        assert_false(platform_is_met(&spec, &node));
        d.arch = (char *)"aarch64";
        assert_true(platform_is_met(&spec, &node));
        p.os = (char *)"windows";
        assert_false(platform_is_met(&spec, &node));
        node.description = NULL;
        assert_false(platform_is_met(&spec, &node));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_matching),
                cmocka_unit_test(test_bad_expressions),
                cmocka_unit_test(test_all_must_be_met),
                cmocka_unit_test(test_a_node_that_has_not_registered),
                cmocka_unit_test(test_platforms),
        };
        return cmocka_run_group_tests_name("constraint", tests, NULL, NULL);
}
