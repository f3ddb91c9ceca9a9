/* Fields of a later version: see future.h. */
#include "tests/lib/future.h"

#include <string.h>

#include "shared/base/mem.h"
#include "shared/wire/wire.h"

#define MARK_FIELD 1000

static const uint8_t mark_value[] = {3, 'n', 'e', 'w'}; /* with its length: a field of bytes */

typedef size_t visit_fn(ProtobufCMessage *m);

static bool is_set(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
        const char *base = (const char *)m;
        uint32_t which;

        if (!(f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF))
                return true;
        memcpy(&which, base + f->quantifier_offset, sizeof(which));
        return which == f->id;
}

static size_t visit_all(ProtobufCMessage *m, visit_fn *visit)
{
        size_t sum = visit(m);

        for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
                const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];
                char *member = (char *)m + f->offset;
                ProtobufCMessage **list = (ProtobufCMessage **)(void *)member;
                size_t n = 1;

                if (f->type != PROTOBUF_C_TYPE_MESSAGE || !is_set(m, f))
                        continue;
                if (f->label == PROTOBUF_C_LABEL_REPEATED) {
                        memcpy(&n, (char *)m + f->quantifier_offset, sizeof(n));
                        memcpy(&list, member, sizeof(list));
                }
                for (size_t j = 0; j < n; j++)
                        if (list[j])
                                sum += visit_all(list[j], visit);
        }
        return sum;
}

static size_t mark(ProtobufCMessage *m)
{
        unsigned n = m->n_unknown_fields++;
        ProtobufCMessageUnknownField *f;

        m->unknown_fields = xreallocarray(m->unknown_fields, n + 1, sizeof(*m->unknown_fields));
        f = &m->unknown_fields[n];
        f->tag = MARK_FIELD;
        f->wire_type = PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED;
        f->len = sizeof(mark_value);
        f->data = xmemdup(mark_value, sizeof(mark_value));
        return 1;
}

static size_t count(ProtobufCMessage *m)
{
        size_t sum = 0;

        for (unsigned i = 0; i < m->n_unknown_fields; i++)
                sum += m->unknown_fields[i].tag == MARK_FIELD &&
                       m->unknown_fields[i].len == sizeof(mark_value) &&
                       memcmp(m->unknown_fields[i].data, mark_value, sizeof(mark_value)) == 0;
        return sum;
}

void *future_of(const void *message, size_t *ret_marks)
{
        ProtobufCMessage *m = wire_dup(message);
        size_t n = visit_all(m, mark);

        if (ret_marks)
                *ret_marks = n;
        return m;
}

size_t future_count(const void *message)
{
        return visit_all((ProtobufCMessage *)(uintptr_t)message, count);
}
