/* Versions of a service's spec compared by their wire bytes, as far as tasks are made of them. */
#include "manager/store/diff.h"

#include <string.h>

#include "shared/wire/wire.h"

static bool is_packed_equal(const Swarm__TaskSpec *a, const Swarm__TaskSpec *b)
{
        _cleanup_buf_ struct buf x = {0}, y = {0};

        WIRE_PACK(a, &x);
        WIRE_PACK(b, &y);
        return x.len == y.len && (x.len == 0 || !memcmp(x.data, y.data, x.len));
}

static enum spec_diff compare(const Swarm__TaskSpec *a, const Swarm__TaskSpec *b)
{
        Swarm__TaskSpec x = *a, y = *b;

        if (is_packed_equal(a, b))
                return SPEC_SAME;
        x.placement = y.placement = NULL;
        return is_packed_equal(&x, &y) ? SPEC_PLACEMENT : SPEC_OTHER;
}

enum spec_diff spec_diffs_get(struct spec_diffs *cache, const struct spec *a, const struct spec *b)
{
        size_t i = a->version % SPEC_DIFFS_KEPT;

        if (a->version == b->version)
                return SPEC_SAME;
        if (cache->known[i].a != a->version || cache->known[i].b != b->version) {
                cache->known[i].a = a->version;
                cache->known[i].b = b->version;
                cache->known[i].diff = compare(a->msg->task, b->msg->task);
        }
        return cache->known[i].diff;
}
