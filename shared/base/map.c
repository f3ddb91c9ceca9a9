/* Hash maps: see map.h. Removal shifts back (Knuth 6.4, algorithm R), so there are no tombstones.
 */
#include "shared/base/map.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "shared/base/mem.h"

#define MAP_CAP_MIN 16

static uint64_t mix(uint64_t h)
{
        h = (h ^ (h >> 32)) * 0xd6e8feb86659fd93u;
        h = (h ^ (h >> 32)) * 0xd6e8feb86659fd93u;
        return h ^ (h >> 32);
}

static uint64_t hash_str(const char *s)
{
        uint64_t h = 0xcbf29ce484222325u; /* FNV-1a */

        for (; *s; s++)
                h = (h ^ (uint8_t)*s) * 0x100000001b3u;
        return mix(h);
}

static uint64_t hash_id(struct id id)
{
        return mix(id.hi ^ (id.lo * 0x9e3779b97f4a7c15u));
}

static const void *key_of(const struct map *m, const void *item)
{
        return (const char *)item + m->key_offset;
}

static uint64_t hash_item(const struct map *m, const void *item)
{
        const void *key = key_of(m, item);

        switch (m->kind) {
        case MAP_KEY_ID: return hash_id(*(const struct id *)key);
        case MAP_KEY_STR: return hash_str(*(char *const *)key);
        case MAP_KEY_U64: return mix(*(const uint64_t *)key);
        }
        abort();
}

static void insert(struct map *m, void *item)
{
        size_t i = hash_item(m, item) & (m->cap - 1);

        while (m->slots[i])
                i = (i + 1) & (m->cap - 1);
        m->slots[i] = item;
}

static void resize(struct map *m, size_t cap)
{
        void **old = m->slots;
        size_t old_cap = m->cap;

        m->slots = xnew_array(void *, cap);
        m->cap = cap;
        for (size_t i = 0; i < old_cap; i++)
                if (old[i])
                        insert(m, old[i]);
        free(old);
}

void map_done(struct map *m)
{
        free(m->slots);
        m->slots = NULL;
        m->cap = m->len = 0;
}

static void *get_same(const struct map *m, const void *item)
{
        const void *key = key_of(m, item);

        switch (m->kind) {
        case MAP_KEY_ID: return map_get_id(m, *(const struct id *)key);
        case MAP_KEY_STR: return map_get_str(m, *(char *const *)key);
        case MAP_KEY_U64: return map_get_u64(m, *(const uint64_t *)key);
        }
        abort();
}

void map_put(struct map *m, void *item)
{
        assert(!get_same(m, item));
        if ((m->len + 1) * 4 > m->cap * 3)
                resize(m, m->cap ? m->cap * 2 : MAP_CAP_MIN);
        insert(m, item);
        m->len++;
}

void map_remove(struct map *m, void *item)
{
        size_t mask = m->cap - 1;
        size_t i = hash_item(m, item) & mask;

        while (m->slots[i] != item) {
                assert(m->slots[i]);
                i = (i + 1) & mask;
        }
        for (size_t j = i;;) {
                m->slots[i] = NULL;
                size_t home;
                do {
                        j = (j + 1) & mask;
                        if (!m->slots[j]) {
                                m->len--;
                                return;
                        }
                        home = hash_item(m, m->slots[j]) & mask;
                } while (((j - home) & mask) < ((j - i) & mask));
                m->slots[i] = m->slots[j];
                i = j;
        }
}

#define PROBE(m, hash, is_match)                                                          \
        do {                                                                              \
                if (!(m)->cap)                                                            \
                        return NULL;                                                      \
                for (size_t i = (hash) & ((m)->cap - 1);; i = (i + 1) & ((m)->cap - 1)) { \
                        void *item = (m)->slots[i];                                       \
                        if (!item || (is_match))                                          \
                                return item;                                              \
                }                                                                         \
        } while (0)

void *map_get_id(const struct map *m, struct id id)
{
        PROBE(m, hash_id(id), id_is_equal(*(const struct id *)key_of(m, item), id));
}

void *map_get_str(const struct map *m, const char *s)
{
        PROBE(m, hash_str(s), !strcmp(*(char *const *)key_of(m, item), s));
}

void *map_get_u64(const struct map *m, uint64_t key)
{
        PROBE(m, mix(key), *(const uint64_t *)key_of(m, item) == key);
}

void *map_next(const struct map *m, size_t *i)
{
        for (; *i < m->cap; (*i)++)
                if (m->slots[*i])
                        return m->slots[(*i)++];
        return NULL;
}
