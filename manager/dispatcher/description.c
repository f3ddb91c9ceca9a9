/* What agents tell of themselves: it comes from outside and goes into the log, the tables and onto
 * terminals. */
#include <errno.h>
#include <string.h>

#include "manager/dispatcher/dispatcher_internal.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/wire/wire.h"

static int check_text(const char *what, const char *s, struct err *err)
{
        if (strlen(s) > DESCRIPTION_TEXT_MAX)
                return err_set(err, EINVAL, "%s is longer than %d bytes", what,
                               DESCRIPTION_TEXT_MAX);
        if (!text_is_valid(s))
                return err_set(err, EINVAL, "%s has control characters or is not UTF-8", what);
        return 0;
}

static int check_generic(const Swarm__GenericResource *g, struct err *err)
{
        int r = check_text("a generic resource", g->kind, err);

        if (r < 0)
                return r;
        if (g->count < 0 || g->n_names > DESCRIPTION_ITEMS_MAX)
                return err_set(err, EINVAL, "generic resource %s: invalid count", g->kind);
        for (size_t i = 0; i < g->n_names; i++)
                if ((r = check_text("a generic resource", g->names[i], err)) < 0)
                        return r;
        return 0;
}

static int check_capacity(const Swarm__Resources *c, struct err *err)
{
        if (!c)
                return err_set(err, EINVAL, "the node's capacity is missing");
        if (c->nano_cpus < 0 || c->memory_bytes < 0 || c->n_generic > DESCRIPTION_ITEMS_MAX)
                return err_set(err, EINVAL, "the node's capacity is invalid");
        for (size_t i = 0; i < c->n_generic; i++) {
                int r = check_generic(c->generic[i], err);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int check_labels(const Swarm__NodeDescription *m, struct err *err)
{
        if (m->n_engine_labels > DESCRIPTION_ITEMS_MAX)
                return err_set(err, EINVAL, "more than %d engine labels", DESCRIPTION_ITEMS_MAX);
        for (size_t i = 0; i < m->n_engine_labels; i++) {
                int r = check_text("an engine label", m->engine_labels[i]->key, err);
                if (r == 0)
                        r = check_text("an engine label", m->engine_labels[i]->value, err);
                if (r < 0)
                        return r;
        }
        return 0;
}

int description_check(const Swarm__NodeDescription *m, struct err *err)
{
        if (!m)
                return err_set(err, EINVAL, "the node's description is missing");
        const struct {
                const char *what, *text;
        } texts[] = {{"os", m->os},
                     {"arch", m->arch},
                     {"engine version", m->engine_version},
                     {"address", m->address},
                     {"host", m->host}};
        int r = 0;

        if (swarm__node_description__get_packed_size(m) > DESCRIPTION_BYTES_MAX)
                return err_set(err, EINVAL, "the node's description is larger than %u KiB",
                               DESCRIPTION_BYTES_MAX >> 10);
        r = check_text("hostname", m->hostname, err);
        if (r == 0 && (str_is_empty(m->hostname) || strlen(m->hostname) > HOSTNAME_MAX_LEN ||
                       strpbrk(m->hostname, " /=")))
                r = err_set(err, EINVAL, "invalid hostname \"%s\"", m->hostname);
        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(texts); i++)
                r = check_text(texts[i].what, texts[i].text, err);
        if (r == 0)
                r = check_capacity(m->capacity, err);
        if (r == 0)
                r = check_labels(m, err);
        return r;
}

bool description_is_equal(const Swarm__NodeDescription *a, const Swarm__NodeDescription *b)
{
        _cleanup_buf_ struct buf pa = {0}, pb = {0};

        WIRE_PACK(a, &pa);
        WIRE_PACK(b, &pb);
        return pa.len == pb.len && memcmp(pa.data, pb.data, pa.len) == 0;
}
