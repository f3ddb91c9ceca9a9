/* Bytes and messages: see wire.h. */
#include "shared/wire/wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "shared/base/mem.h"

#define BLOCK_BYTES 16384
#define ALIGN       16

struct wire_block {
        struct wire_block *next;
        size_t cap, used;
        _Alignas(ALIGN) uint8_t data[];
};

void wire_pack(const ProtobufCMessage *m, struct buf *b)
{
        size_t n = protobuf_c_message_get_packed_size(m);

        buf_reserve(b, n);
        b->len += protobuf_c_message_pack(m, b->data + b->len);
        b->data[b->len] = 0;
}

static struct wire_block *add_block(struct wire_arena *a, size_t need)
{
        size_t cap = MAX(need, (size_t)BLOCK_BYTES);
        struct wire_block *block = xmalloc(sizeof(*block) + cap);

        block->next = a->blocks;
        block->cap = cap;
        block->used = 0;
        a->blocks = block;
        return block;
}

static void *arena_alloc(void *arg, size_t size)
{
        struct wire_arena *a = arg;
        size_t need = (size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
        size_t cap = a->cap_bytes ? a->cap_bytes : WIRE_ARENA_CAP;
        struct wire_block *block = a->blocks;

        if (need < size || need > cap - MIN(a->used_bytes, cap))
                return NULL;
        if (!block || block->cap - block->used < need)
                block = add_block(a, need);
        a->used_bytes += need;
        block->used += need;
        return block->data + block->used - need;
}

static void arena_free(void *arg UNUSED, void *p UNUSED)
{
}

void wire_arena_done(struct wire_arena *a)
{
        while (a->blocks) {
                struct wire_block *next = a->blocks->next;

                free(a->blocks);
                a->blocks = next;
        }
        a->used_bytes = 0;
}

void wire_arena_reset(struct wire_arena *a)
{
        struct wire_block *first = a->blocks;

        if (!first)
                return;
        while (first->next) {
                struct wire_block *next = first->next;

                free(first);
                first = next;
        }
        first->used = 0;
        a->blocks = first;
        a->used_bytes = 0;
}

void *wire_unpack(struct wire_arena *a, const ProtobufCMessageDescriptor *d, const uint8_t *p,
                  size_t n)
{
        a->allocator = (ProtobufCAllocator){arena_alloc, arena_free, a};
        return protobuf_c_message_unpack(d, &a->allocator, n, p);
}

void *wire_unpack_heap(const ProtobufCMessageDescriptor *d, const uint8_t *p, size_t n)
{
        return protobuf_c_message_unpack(d, NULL, n, p);
}

void wire_free(void *message)
{
        if (message)
                protobuf_c_message_free_unpacked(message, NULL);
}

void *wire_dup(const void *message)
{
        const ProtobufCMessage *m = message;
        _cleanup_buf_ struct buf b = {0};

        wire_pack(m, &b);
        void *copy = wire_unpack_heap(m->descriptor, b.data, b.len);
        if (!copy)
                abort();
        return copy;
}

struct wire_unknown {
        unsigned n;
        ProtobufCMessageUnknownField fields[];
};

struct wire_unknown *wire_unknown_copy(const void *message)
{
        const ProtobufCMessage *m = message;
        size_t head =
                sizeof(struct wire_unknown) + m->n_unknown_fields * sizeof(*m->unknown_fields);
        size_t bytes = 0;

        if (m->n_unknown_fields == 0)
                return NULL;
        for (unsigned i = 0; i < m->n_unknown_fields; i++)
                bytes += m->unknown_fields[i].len;
        struct wire_unknown *u = xmalloc(head + bytes);
        uint8_t *to = (uint8_t *)u + head;
        u->n = m->n_unknown_fields;
        for (unsigned i = 0; i < u->n; i++) {
                u->fields[i] = m->unknown_fields[i];
                u->fields[i].data = memcpy(to, m->unknown_fields[i].data, u->fields[i].len);
                to += u->fields[i].len;
        }
        return u;
}

void wire_unknown_lend(const struct wire_unknown *u, void *message)
{
        ProtobufCMessage *m = message;

        m->n_unknown_fields = u ? u->n : 0;
        m->unknown_fields = u ? (ProtobufCMessageUnknownField *)(uintptr_t)u->fields : NULL;
}

/* A varint at *i, which is moved behind it. */
static bool take_varint(const uint8_t *p, size_t n, size_t *i, uint64_t *ret)
{
        *ret = 0;
        for (unsigned shift = 0; shift < 64 && *i < n; shift += 7) {
                uint8_t b = p[(*i)++];

                *ret |= (uint64_t)(b & 0x7f) << shift;
                if (!(b & 0x80))
                        return true;
        }
        return false;
}

static bool skip_value(const uint8_t *p, size_t n, size_t *i, unsigned wire_type)
{
        uint64_t len = 0;

        switch (wire_type) {
        case 0: return take_varint(p, n, i, &len);
        case 1: len = 8; break;
        case 2:
                if (!take_varint(p, n, i, &len))
                        return false;
                break;
        case 5: len = 4; break;
        default: return false;
        }
        if (len > n - *i)
                return false;
        *i += len;
        return true;
}

int wire_peek_kind(const ProtobufCMessageDescriptor *d, const uint8_t *p, size_t n)
{
        int known = 0, unknown = 0;

        for (size_t i = 0; i < n;) {
                uint64_t tag;

                if (!take_varint(p, n, &i, &tag) || tag >> 3 == 0 || tag >> 32 ||
                    !skip_value(p, n, &i, tag & 7))
                        return -EBADMSG;
                const ProtobufCFieldDescriptor *f =
                        protobuf_c_message_descriptor_get_field(d, (unsigned)(tag >> 3));
                if (!f)
                        unknown = (int)(tag >> 3);
                else if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
                        known = (int)f->id;
        }
        return known ? known : unknown;
}

ProtobufCBinaryData wire_id(struct id id, uint8_t storage[ID_BYTES])
{
        ProtobufCBinaryData b = {ID_BYTES, storage};

        id_encode(id, storage);
        return b;
}

int wire_get_id(const ProtobufCBinaryData *b, struct id *ret)
{
        return id_decode(b->data, b->len, ret);
}
