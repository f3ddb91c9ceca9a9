/* How many bytes requests may put into the state. */
#include "tests/lib/unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "shared/base/base.h"
#include "tests/lib/turn_rig.h"

#define ASK(r, field, kind, m)                                  \
        ({                                                      \
                Swarm__Request ask_q_ = SWARM__REQUEST__INIT;   \
                ask_q_.kind_case = SWARM__REQUEST__KIND_##kind; \
                ask_q_.field = (m);                             \
                core_ask((r), &ask_q_);                         \
        })

static struct service *service(struct core *r, const char *name)
{
        struct service *s = store_find_service_by_name(r->store, name);

        assert_non_null(s);
        return s;
}

/* A spec comes anew with its replicas: of many large ones, few are scaled at once. */
static void test_large_scale(void **state UNUSED)
{
        Swarm__ScaleRequest scale = SWARM__SCALE_REQUEST__INIT;
        Swarm__ScaleRequest__Item items[20], *of[20];
        _cleanup_free_ char *text = xcalloc(1, 32001);
        static char names[20][8];
        Swarm__KeyValue label = SWARM__KEY_VALUE__INIT, *labels[30];
        struct core r;

        core_open(&r);
        core_add_image(&r);
        core_add_service(&r, "web", 1);
        Swarm__ServiceSpec *spec = wire_dup(service(&r, "web")->spec->msg), large = *spec;
        memset(text, 'x', 32000);
        label.key = text;
        for (size_t i = 0; i < ARRAY_SIZE(labels); i++)
                labels[i] = &label;
        large.labels = labels;
        large.n_labels = ARRAY_SIZE(labels);
        for (size_t i = 0; i < ARRAY_SIZE(of); i++) {
                snprintf(names[i], sizeof(names[i]), "s%zu", i);
                large.name = names[i];
                assert_int_equal(ASK(&r, service_create, SERVICE_CREATE, &large)->code, 0);
                of[i] = &items[i];
                swarm__scale_request__item__init(of[i]);
                of[i]->ref = names[i];
                of[i]->replicas = 2;
        }
        scale.items = of;
        scale.n_items = ARRAY_SIZE(of);
        const Swarm__Response *m = ASK(&r, service_scale, SERVICE_SCALE, &scale);
        assert_int_equal(m->code, EFBIG);
        assert_string_equal(m->error, "service s17: the specs are larger than 16 MiB together: "
                                      "scale fewer services at once");
        assert_int_equal(service(&r, "s0")->spec->msg->replicas, 1);
        scale.n_items = 17;
        assert_int_equal(ASK(&r, service_scale, SERVICE_SCALE, &scale)->code, 0);
        assert_int_equal(service(&r, "s0")->spec->msg->replicas, 2);
        wire_free(spec);
        core_close(&r);
}

/* What a later version may add to it counts as well. */
static void test_large_image(void **state UNUSED)
{
        static uint8_t bytes[65000];
        ProtobufCMessageUnknownField unknown = {.tag = 1000,
                                                .wire_type = PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED,
                                                .len = sizeof(bytes),
                                                .data = bytes};
        Swarm__ImageCreate create = SWARM__IMAGE_CREATE__INIT;
        Swarm__Image image = SWARM__IMAGE__INIT;
        struct core r;

        core_open(&r);
        bytes[0] = 0xe5; /* the length of the rest */
        bytes[1] = 0xfb;
        bytes[2] = 0x03;
        image.base.n_unknown_fields = 1;
        image.base.unknown_fields = &unknown;
        image.id = (char *)IMAGE_ID;
        create.image = &image;
        assert_int_equal(ASK(&r, image_create, IMAGE_CREATE, &create)->code, 0);
        static Swarm__Layer layer = SWARM__LAYER__INIT;
        static Swarm__Layer *layers[] = {&layer, &layer, &layer, &layer};
        layer.digest = layer.diff_id = (char *)IMAGE_ID;
        image.layers = layers;
        image.n_layers = ARRAY_SIZE(layers);
        const Swarm__Response *m = ASK(&r, image_create, IMAGE_CREATE, &create);
        assert_int_equal(m->code, EINVAL);
        assert_string_equal(m->error,
                            "image sha256:000000000000: its record is larger than 64 KiB");
        core_close(&r);
}

/* A text of n bytes, heap. */
static char *text_of(size_t n)
{
        char *s = xcalloc(1, n + 1);

        memset(s, 'x', n);
        return s;
}

/* Labels of a node that are added one after the other: they stay, but for those that are refused.
 */
static void test_node_labels(void **state UNUSED)
{
        static const struct {
                const char *key, *value;
                size_t n_bytes; /* of the value, when that is NULL */
                const char *error;
        } rows[] = {
                {"", "a", 0, "node w1: label: a key is empty"},
                {"a b", "a", 0, "node w1: label 'a b': the key has a space"},
                {"a", "\x1b", 0, "node w1: label: has control characters or is no UTF-8"},
                {"a", NULL, 32769, "node w1: label: longer than 32768 bytes"},
                {"a", NULL, 32768, ""},
                {"b", NULL, 32000, ""},
                {"c", NULL, 1000, "node w1: its labels are larger than 64 KiB"},
                {"b", NULL, 100, ""}, /* in the place of the longer one */
                {"c", NULL, 1000, ""},
        };
        Swarm__NodeUpdate u = SWARM__NODE_UPDATE__INIT;
        Swarm__KeyValue label = SWARM__KEY_VALUE__INIT, *labels[] = {&label};
        struct core_node n;
        struct core r;

        core_open(&r);
        core_add_node(&r, "w1", &n);
        u.ref = (char *)"w1";
        u.label_add = labels;
        u.n_label_add = 1;
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                _cleanup_free_ char *value =
                        rows[i].value ? xstrdup(rows[i].value) : text_of(rows[i].n_bytes);

                label.key = (char *)(uintptr_t)rows[i].key;
                label.value = value;
                const Swarm__Response *m = ASK(&r, node_update, NODE_UPDATE, &u);
                assert_string_equal(m->error, rows[i].error);
                assert_int_equal(m->code != 0, *rows[i].error != 0);
        }
        assert_int_equal(store_find_node(r.store, n.id)->labels->n_labels, 3);
        core_close(&r);
}

static void test_history_limit(void **state UNUSED)
{
        static const struct {
                int64_t limit;
                bool is_fine;
        } rows[] = {{0, true},          {10000, true}, {10001, false},
                    {INT64_MAX, false}, {-1, true},    {INT64_MIN, true}};
        Swarm__ClusterUpdate u = SWARM__CLUSTER_UPDATE__INIT;
        Swarm__Number number = SWARM__NUMBER__INIT;
        struct core r;

        core_open(&r);
        u.task_history_limit = &number;
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                number.value = rows[i].limit;
                const Swarm__Response *m = ASK(&r, cluster_update, CLUSTER_UPDATE, &u);
                assert_string_equal(m->error,
                                    rows[i].is_fine ? ""
                                                    : "cluster: task-history-limit must be at most "
                                                      "10000 (negative: all, up to as many)");
        }
        core_close(&r);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_large_scale),
                cmocka_unit_test(test_large_image),
                cmocka_unit_test(test_node_labels),
                cmocka_unit_test(test_history_limit),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
