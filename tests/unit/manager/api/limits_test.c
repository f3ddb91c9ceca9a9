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

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_large_scale),
                cmocka_unit_test(test_large_image),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
