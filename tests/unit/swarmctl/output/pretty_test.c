/* `service inspect --pretty` shows each field that a spec has: for each alone, as the message's own
 * description lists them, what is printed is another when it is set. */
#include "tests/lib/unit.h"

#include <stdlib.h>
#include <string.h>

#include "proto/control.pb-c.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "swarmctl/output/output.h"

static Swarm__Service service = SWARM__SERVICE__INIT;
static size_t n_fields, n_missing;

static char *print(void)
{
        struct buf out = {0};

        pretty_service(&service, 0, &out);
        return buf_take_str(&out);
}

static void *member(ProtobufCMessage *m, unsigned offset)
{
        return (char *)m + offset;
}

/* A new message with a part of each kind, but nothing in them. */
static ProtobufCMessage *make(const ProtobufCMessageDescriptor *d)
{
        ProtobufCMessage *m = xcalloc(1, d->sizeof_message);

        protobuf_c_message_init(d, m);
        for (unsigned i = 0; i < d->n_fields; i++) {
                const ProtobufCFieldDescriptor *f = &d->fields[i];

                if (f->type != PROTOBUF_C_TYPE_MESSAGE)
                        continue;
                ProtobufCMessage *part = make(f->descriptor);
                if (f->label != PROTOBUF_C_LABEL_REPEATED) {
                        *(void **)member(m, f->offset) = part;
                        continue;
                }
                void **list = xnew(void *);
                *list = part;
                *(void **)member(m, f->offset) = list;
                *(size_t *)member(m, f->quantifier_offset) = 1;
        }
        return m;
}

/* Sets one field to something, looks at what is printed, and puts it back. */
static void try_field(ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
        static char text[] = "xyzzy", *list[] = {text};
        _cleanup_free_ char *before = print();
        uint64_t kept, one = 1;
        double half = 0.5;

        memcpy(&kept, member(m, f->offset), sizeof(void *));
        if (f->label == PROTOBUF_C_LABEL_REPEATED) {
                *(void **)member(m, f->offset) = list;
                *(size_t *)member(m, f->quantifier_offset) = 1;
        } else if (f->type == PROTOBUF_C_TYPE_STRING) {
                *(char **)member(m, f->offset) = text;
        } else if (f->type == PROTOBUF_C_TYPE_DOUBLE) {
                memcpy(member(m, f->offset), &half, sizeof(half));
        } else {
                memcpy(member(m, f->offset), &one,
                       f->type == PROTOBUF_C_TYPE_UINT32 || f->type == PROTOBUF_C_TYPE_BOOL ? 4
                                                                                            : 8);
        }
        _cleanup_free_ char *after = print();
        n_fields++;
        if (str_is_equal(before, after)) {
                print_error("%s.%s is not shown\n", m->descriptor->name, f->name);
                n_missing++;
        }
        if (f->label == PROTOBUF_C_LABEL_REPEATED)
                *(size_t *)member(m, f->quantifier_offset) = 0;
        if (f->label != PROTOBUF_C_LABEL_REPEATED && f->type != PROTOBUF_C_TYPE_STRING &&
            (f->type == PROTOBUF_C_TYPE_UINT32 || f->type == PROTOBUF_C_TYPE_BOOL))
                memcpy(member(m, f->offset), &kept, 4);
        else
                memcpy(member(m, f->offset), &kept, 8);
}

static void try_message(ProtobufCMessage *m)
{
        const ProtobufCMessageDescriptor *d = m->descriptor;

        for (unsigned i = 0; i < d->n_fields; i++) {
                const ProtobufCFieldDescriptor *f = &d->fields[i];

                if (f->type != PROTOBUF_C_TYPE_MESSAGE)
                        try_field(m, f);
                else if (f->label == PROTOBUF_C_LABEL_REPEATED)
                        try_message(**(ProtobufCMessage ***)member(m, f->offset));
                else
                        try_message(*(ProtobufCMessage **)member(m, f->offset));
        }
}

static void test_all_fields(void **state)
{
        (void)state;
        service.spec = (Swarm__ServiceSpec *)make(&swarm__service_spec__descriptor);
        try_message(&service.spec->base);
        assert_true(n_fields > 70);
        assert_int_equal(n_missing, 0);
        protobuf_c_message_free_unpacked(&service.spec->base, NULL);
}

/* What a terminal would act on is not printed. */
static void test_is_safe(void **state)
{
        Swarm__ServiceSpec spec = SWARM__SERVICE_SPEC__INIT;
        Swarm__KeyValue label = SWARM__KEY_VALUE__INIT, *labels = &label;

        (void)state;
        label.key = (char *)(uintptr_t) "a\033[2J";
        label.value = (char *)(uintptr_t) "b\n";
        spec.name = (char *)(uintptr_t) "web";
        spec.labels = &labels;
        spec.n_labels = 1;
        service.spec = &spec;
        _cleanup_free_ char *text = print();
        assert_non_null(strstr(text, "Labels:\n a?[2J=b?\n"));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_all_fields),
                cmocka_unit_test(test_is_safe),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
