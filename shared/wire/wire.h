/*
 * Bytes and messages: packing into a buffer, and unpacking with limits. Every message from outside
 * is unpacked here, into an arena with a cap, so that a small hostile message cannot grow large.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "shared/base/buf.h"
#include "shared/base/id.h"

/* Appends the packed message to b. */
void wire_pack(const ProtobufCMessage *m, struct buf *b);
#define WIRE_PACK(m, b) wire_pack(&(m)->base, (b))

/* Memory of one or more unpacked messages, freed together. Zeroed is empty. */
struct wire_arena {
        struct wire_block *blocks;
        size_t used_bytes, cap_bytes; /* cap_bytes 0: WIRE_ARENA_CAP */
        ProtobufCAllocator allocator;
};

#define WIRE_ARENA_CAP (64u << 20)

void wire_arena_done(struct wire_arena *a);
/* Keeps the first block for the next use. */
void wire_arena_reset(struct wire_arena *a);

/* Unpacks into the arena; NULL when the bytes are no such message or the cap is reached. The result
 * lives as long as the arena does; nothing in it is freed by itself. */
void *wire_unpack(struct wire_arena *a, const ProtobufCMessageDescriptor *d, const uint8_t *p,
                  size_t n);
/* The same on the heap, for what lives long: free it with protobuf_c_message_free_unpacked. */
void *wire_unpack_heap(const ProtobufCMessageDescriptor *d, const uint8_t *p, size_t n);
void wire_free(void *message); /* of wire_unpack_heap and wire_dup; NULL is fine */
/* Deep copy on the heap, unknown fields included. */
void *wire_dup(const void *message);

/* The fields of a message that this version does not know, kept for those that do; NULL: none.
 * One block of memory: free() it. */
struct wire_unknown;
struct wire_unknown *wire_unknown_copy(const void *message);
/* The message shows them as its own, as long as they live. */
void wire_unknown_lend(const struct wire_unknown *u, void *message);

/* Which field of its oneof a packed message has, without unpacking it: the number. If it has none
 * that is known, that of its last unknown field: a kind of a later version. 0: none; -EBADMSG: no
 * message at all. */
int wire_peek_kind(const ProtobufCMessageDescriptor *d, const uint8_t *p, size_t n);

/* An id as a bytes field that points into storage (ID_BYTES), and back. */
ProtobufCBinaryData wire_id(struct id id, uint8_t storage[ID_BYTES]);
int wire_get_id(const ProtobufCBinaryData *b, struct id *ret); /* -EINVAL */

#define _cleanup_arena_ __attribute__((cleanup(wire_arena_done)))
