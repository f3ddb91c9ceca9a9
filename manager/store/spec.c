/* Versions of service specs: decoded once, counted, and removed as a change with their last user.
 */
#include <assert.h>
#include <stdlib.h>

#include "manager/store/store_internal.h"
#include "shared/base/mem.h"

/* Ids are random: that two services' versions meet at one key is as unlikely as two equal ids. */
static struct id key_of(struct id service_id, uint64_t version)
{
        service_id.lo ^= version * 0x9e3779b97f4a7c15u;
        return service_id;
}

struct spec *spec_find(struct store *s, struct id service_id, uint64_t version)
{
        struct spec *spec = map_get_id(&s->specs, key_of(service_id, version));

        if (!spec || spec->version != version || !id_is_equal(spec->service_id, service_id))
                return NULL;
        return spec;
}

struct spec *spec_new(struct store *s, struct id service_id, uint64_t version,
                      Swarm__ServiceSpec *msg, uint8_t *packed, size_t packed_len)
{
        struct spec *spec = xnew(struct spec);

        spec->service_id = service_id;
        spec->version = version;
        spec->msg = msg;
        spec->packed = packed;
        spec->packed_len = packed_len;
        spec->key = key_of(service_id, version);
        map_put(&s->specs, spec);
        return spec;
}

struct spec *spec_retain(struct spec *spec)
{
        spec->refs++;
        return spec;
}

void spec_release(struct store *s, struct spec *spec)
{
        if (!spec)
                return;
        assert(spec->refs > 0);
        if (--spec->refs > 0)
                return;
        map_remove(&s->specs, spec);
        mark_removed(s, ROW_SPECS, spec);
}
