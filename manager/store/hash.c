/* A hash of the whole state, for tests and for comparing managers: see store_hash. */
#include <string.h>

#include "manager/store/store_internal.h"
#include "shared/wire/wire.h"

static uint64_t mix(uint64_t h)
{
        h = (h ^ (h >> 32)) * 0xd6e8feb86659fd93u;
        return h ^ (h >> 32);
}

static uint64_t hash_bytes(uint64_t seed, const uint8_t *p, size_t n)
{
        uint64_t h = mix(seed ^ n * 0x9e3779b97f4a7c15u), word;

        for (; n >= sizeof(word); p += sizeof(word), n -= sizeof(word)) {
                memcpy(&word, p, sizeof(word));
                h = mix(h ^ word) * 0x9e3779b97f4a7c15u;
        }
        word = 0;
        if (n)
                memcpy(&word, p, n);
        return mix(mix(h ^ word) + n);
}

static uint64_t hash_object(struct store *s, enum row_table kind, void *object, struct buf *b)
{
        struct object_msg m;

        buf_clear(b);
        wire_pack(object_encode(s, kind, object, &m), b);
        return hash_bytes(kind + 1, b->data, b->len);
}

/* A sum: the order of iteration does not matter. */
static uint64_t hash_all(struct store *s, enum row_table kind, const struct map *m, struct buf *b)
{
        uint64_t sum = 0;
        void *object;
        size_t i;

        MAP_FOREACH (object, i, m)
                sum += hash_object(s, kind, object, b);
        return sum;
}

uint64_t store_hash(struct store *s)
{
        _cleanup_buf_ struct buf b = {0};

        return hash_object(s, ROW_CLUSTER, &s->cluster, &b) +
               hash_all(s, ROW_NODES, &s->nodes, &b) + hash_all(s, ROW_SERVICES, &s->services, &b) +
               hash_all(s, ROW_SPECS, &s->specs, &b) + hash_all(s, ROW_TASKS, &s->tasks, &b) +
               hash_all(s, ROW_IMAGES, &s->images, &b);
}
