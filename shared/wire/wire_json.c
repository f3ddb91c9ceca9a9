/* Messages as JSON: see wire_json.h. */
#include "shared/wire/wire_json.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/base/id.h"

/* The length of the UTF-8 sequence at s; 0: there is none. Neither overlong forms nor surrogates
 * (RFC 3629). */
static size_t utf8_len(const uint8_t *s)
{
        static const struct {
                uint8_t first_min, first_max, second_min, second_max, len;
        } forms[] = {
                {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
                {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3},
                {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
                {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
        };

        if (s[0] < 0x80)
                return 1;
        for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
                if (s[0] < forms[i].first_min || s[0] > forms[i].first_max)
                        continue;
                if (s[1] < forms[i].second_min || s[1] > forms[i].second_max)
                        return 0;
                for (size_t k = 2; k < forms[i].len; k++)
                        if ((s[k] & 0xc0) != 0x80)
                                return 0;
                return forms[i].len;
        }
        return 0;
}

void wire_json_str(const char *s, struct buf *b)
{
        const uint8_t *p = (const uint8_t *)s;

        buf_putc(b, '"');
        while (*p) {
                size_t n = utf8_len(p);

                if (*p == '"' || *p == '\\')
                        buf_printf(b, "\\%c", *p);
                else if (*p == '\n')
                        buf_puts(b, "\\n");
                else if (*p == '\t')
                        buf_puts(b, "\\t");
                else if (*p < 0x20 || *p == 0x7f)
                        buf_printf(b, "\\u%04x", *p);
                else if (n == 0)
                        buf_puts(b, "\xef\xbf\xbd");
                else
                        buf_append(b, p, n);
                p += n ? n : 1;
        }
        buf_putc(b, '"');
}

static void put_bytes(const ProtobufCBinaryData *bytes, struct buf *b)
{
        struct id id;

        buf_putc(b, '"');
        if (id_decode(bytes->data, bytes->len, &id) == 0)
                buf_puts(b, ID_S(id));
        else
                for (size_t i = 0; i < bytes->len; i++)
                        buf_printf(b, "%02x", bytes->data[i]);
        buf_putc(b, '"');
}

/* The shortest text that reads back as the same number; JSON has no infinities. */
static void put_double(double v, struct buf *b)
{
        char text[40];

        if (!isfinite(v)) {
                buf_puts(b, "null");
                return;
        }
        for (int digits = 1; digits <= 17; digits++) {
                snprintf(text, sizeof(text), "%.*g", digits, v);
                if (strtod(text, NULL) >= v && strtod(text, NULL) <= v)
                        break;
        }
        buf_puts(b, text);
}

static void put_enum(const ProtobufCFieldDescriptor *f, const void *p, struct buf *b)
{
        int32_t v = *(const int32_t *)p;
        const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(f->descriptor, v);

        if (value)
                wire_json_str(value->name, b);
        else
                buf_printf(b, "%" PRId32, v);
}

static void put_value(const ProtobufCFieldDescriptor *f, const void *p, struct buf *b)
{
        switch (f->type) {
        case PROTOBUF_C_TYPE_INT32:
        case PROTOBUF_C_TYPE_SINT32:
        case PROTOBUF_C_TYPE_SFIXED32: buf_printf(b, "%" PRId32, *(const int32_t *)p); break;
        case PROTOBUF_C_TYPE_INT64:
        case PROTOBUF_C_TYPE_SINT64:
        case PROTOBUF_C_TYPE_SFIXED64: buf_printf(b, "%" PRId64, *(const int64_t *)p); break;
        case PROTOBUF_C_TYPE_UINT32:
        case PROTOBUF_C_TYPE_FIXED32: buf_printf(b, "%" PRIu32, *(const uint32_t *)p); break;
        case PROTOBUF_C_TYPE_UINT64:
        case PROTOBUF_C_TYPE_FIXED64: buf_printf(b, "%" PRIu64, *(const uint64_t *)p); break;
        case PROTOBUF_C_TYPE_FLOAT: put_double((double)*(const float *)p, b); break;
        case PROTOBUF_C_TYPE_DOUBLE: put_double(*(const double *)p, b); break;
        case PROTOBUF_C_TYPE_BOOL:
                buf_puts(b, *(const protobuf_c_boolean *)p ? "true" : "false");
                break;
        case PROTOBUF_C_TYPE_ENUM: put_enum(f, p, b); break;
        case PROTOBUF_C_TYPE_STRING:
                wire_json_str(*(char *const *)p ? *(char *const *)p : "", b);
                break;
        case PROTOBUF_C_TYPE_BYTES: put_bytes(p, b); break;
        case PROTOBUF_C_TYPE_MESSAGE: wire_json(*(const ProtobufCMessage *const *)p, b); break;
        }
}

static size_t size_of(ProtobufCType type)
{
        switch (type) {
        case PROTOBUF_C_TYPE_INT64:
        case PROTOBUF_C_TYPE_SINT64:
        case PROTOBUF_C_TYPE_SFIXED64:
        case PROTOBUF_C_TYPE_UINT64:
        case PROTOBUF_C_TYPE_FIXED64:
        case PROTOBUF_C_TYPE_DOUBLE: return 8;
        case PROTOBUF_C_TYPE_BOOL: return sizeof(protobuf_c_boolean);
        case PROTOBUF_C_TYPE_STRING:
        case PROTOBUF_C_TYPE_MESSAGE: return sizeof(void *);
        case PROTOBUF_C_TYPE_BYTES: return sizeof(ProtobufCBinaryData);
        default: return 4;
        }
}

static bool is_zero(const ProtobufCFieldDescriptor *f, const void *p)
{
        static const uint8_t zeros[sizeof(ProtobufCBinaryData)];

        if (f->type == PROTOBUF_C_TYPE_STRING)
                return !*(char *const *)p || !**(char *const *)p;
        if (f->type == PROTOBUF_C_TYPE_BYTES)
                return ((const ProtobufCBinaryData *)p)->len == 0;
        return memcmp(p, zeros, size_of(f->type)) == 0;
}

static void put_list(const ProtobufCFieldDescriptor *f, const uint8_t *items, size_t n,
                     struct buf *b)
{
        buf_putc(b, '[');
        for (size_t i = 0; i < n; i++) {
                if (i)
                        buf_putc(b, ',');
                put_value(f, items + i * size_of(f->type), b);
        }
        buf_putc(b, ']');
}

/* A member of a oneof is there if the case says so, whatever its value. */
static bool is_there(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
        const uint8_t *base = (const uint8_t *)m, *p = base + f->offset;

        if (f->label == PROTOBUF_C_LABEL_REPEATED)
                return *(const size_t *)(const void *)(base + f->quantifier_offset) > 0;
        if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
                return *(const uint32_t *)(const void *)(base + f->quantifier_offset) == f->id;
        return !is_zero(f, p);
}

void wire_json(const ProtobufCMessage *m, struct buf *b)
{
        const char *separator = "";

        buf_putc(b, '{');
        for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
                const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];
                const uint8_t *base = (const uint8_t *)m, *p = base + f->offset;

                if (!is_there(m, f))
                        continue;
                buf_puts(b, separator);
                separator = ",";
                wire_json_str(f->name, b);
                buf_putc(b, ':');
                if (f->label == PROTOBUF_C_LABEL_REPEATED)
                        put_list(f, *(const uint8_t *const *)(const void *)p,
                                 *(const size_t *)(const void *)(base + f->quantifier_offset), b);
                else
                        put_value(f, p, b);
        }
        buf_putc(b, '}');
}
