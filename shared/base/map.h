/*
 * Hash maps of pointers, keyed by something inside the item: an id or a string. Open addressing,
 * linear probing, 8 bytes a slot. The map never owns its items. Order of iteration is a function of
 * the keys and the history of the map, never of addresses.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "shared/base/id.h"

enum map_key { MAP_KEY_ID, MAP_KEY_STR, MAP_KEY_U64 };

struct map {
        void **slots;
        size_t cap, len;
        enum map_key kind;
        size_t key_offset; /* where in the item its struct id, char * or uint64_t lies */
};

#define MAP_INIT(type, member, kind_) \
        ((struct map){.kind = (kind_), .key_offset = offsetof(type, member)})

void map_done(struct map *m);
/* The key must not be in the map yet (asserted), and not change while the item is. */
void map_put(struct map *m, void *item);
void map_remove(struct map *m, void *item); /* the item must be in the map */
void *map_get_id(const struct map *m, struct id id);
void *map_get_str(const struct map *m, const char *s);
void *map_get_u64(const struct map *m, uint64_t key);

/* The next item at or after slot *i, which is moved behind it; NULL at the end. Start with 0. */
void *map_next(const struct map *m, size_t *i);
#define MAP_FOREACH(it, i, m) for ((i) = 0; ((it) = map_next((m), &(i)));)
