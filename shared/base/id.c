/* Ids: see id.h. 36^25 exceeds 2^128, so that every id has one text and all texts that fit parse.
 */
#include "shared/base/id.h"

#include <errno.h>
#include <string.h>

#include "shared/base/rng.h"

__extension__ typedef unsigned __int128 u128;

struct id id_make(struct rng *rng)
{
        struct id id = {rng_next(rng), rng_next(rng)};

        return id;
}

struct id_text id_text(struct id id)
{
        struct id_text t;
        u128 v = (u128)id.hi << 64 | id.lo;

        for (int i = ID_TEXT_LEN - 1; i >= 0; i--) {
                t.s[i] = "0123456789abcdefghijklmnopqrstuvwxyz"[v % 36];
                v /= 36;
        }
        t.s[ID_TEXT_LEN] = 0;
        return t;
}

static int digit_of(char c)
{
        if (c >= '0' && c <= '9')
                return c - '0';
        if (c >= 'a' && c <= 'z')
                return c - 'a' + 10;
        return -1;
}

int id_parse(const char *s, struct id *ret)
{
        u128 v = 0;

        if (strlen(s) != ID_TEXT_LEN)
                return -EINVAL;
        for (; *s; s++) {
                int d = digit_of(*s);

                if (d < 0 || v > (~(u128)0 - (unsigned)d) / 36)
                        return -EINVAL;
                v = v * 36 + (unsigned)d;
        }
        ret->hi = (uint64_t)(v >> 64);
        ret->lo = (uint64_t)v;
        return 0;
}

void id_encode(struct id id, uint8_t ret[ID_BYTES])
{
        for (int i = 0; i < 8; i++) {
                ret[i] = (uint8_t)(id.hi >> (56 - 8 * i));
                ret[8 + i] = (uint8_t)(id.lo >> (56 - 8 * i));
        }
}

int id_decode(const uint8_t *p, size_t n, struct id *ret)
{
        struct id id = {0, 0};

        if (n != ID_BYTES)
                return -EINVAL;
        for (int i = 0; i < 8; i++) {
                id.hi = id.hi << 8 | p[i];
                id.lo = id.lo << 8 | p[8 + i];
        }
        *ret = id;
        return 0;
}
