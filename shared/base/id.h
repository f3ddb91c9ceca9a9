/* Ids: 128 bits, shown as 25 base-36 characters; 16 bytes (big-endian) on the wire. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ID_BYTES    16
#define ID_TEXT_LEN 25
#define ID_TEXT_MAX (ID_TEXT_LEN + 1)

struct rng;

struct id {
        uint64_t hi, lo;
};

/* Text of an id in a value that lives to the end of the full expression: ID_TEXT(id).s. */
struct id_text {
        char s[ID_TEXT_MAX];
};

struct id id_make(struct rng *rng);
struct id_text id_text(struct id id);
#define ID_S(id) (id_text(id).s)
int id_parse(const char *s, struct id *ret); /* exactly 25 characters 0-9a-z; -EINVAL */
void id_encode(struct id id, uint8_t ret[ID_BYTES]);
/* -EINVAL unless n is 16. */
int id_decode(const uint8_t *p, size_t n, struct id *ret);

static inline bool id_is_equal(struct id a, struct id b)
{
        return a.hi == b.hi && a.lo == b.lo;
}

static inline bool id_is_zero(struct id a)
{
        return a.hi == 0 && a.lo == 0;
}

/* Total order, by value: negative, 0, positive. */
static inline int id_compare(struct id a, struct id b)
{
        if (a.hi != b.hi)
                return a.hi < b.hi ? -1 : 1;
        return a.lo < b.lo ? -1 : a.lo > b.lo;
}
