/* Specs by (service, version), with a count of their tasks: see worker_internal.h. */
#include <errno.h>
#include <stdlib.h>

#include "agent/worker/worker_internal.h"
#include "shared/wire/wire.h"

/* One key for the pair: versions of one service never meet (an odd factor is a bijection), and
 * services differ in 128 random bits. */
static struct id key_of(struct id service, uint64_t version)
{
        return (struct id){service.hi, service.lo ^ (version * 0x9e3779b97f4a7c15u)};
}

struct spec *spec_get(struct worker *w, struct id service, uint64_t version)
{
        return map_get_id(&w->specs, key_of(service, version));
}

static bool is_usable(const Swarm__ServiceSpec *m)
{
        return m && m->task && m->task->container;
}

static void forget(struct worker *w, struct spec *s)
{
        map_remove(&w->specs, s);
        list_remove(&s->idle_link);
        wire_free(s->message);
        free(s);
}

static void make_idle(struct worker *w, struct spec *s)
{
        struct list *l;
        size_t n = 0;

        list_push_back(&w->idle_specs, &s->idle_link);
        for (l = w->idle_specs.next; l != &w->idle_specs; l = l->next)
                n++;
        if (n > WORKER_SPECS_IDLE_MAX)
                forget(w, LIST_ITEM(w->idle_specs.next, struct spec, idle_link));
}

struct spec *spec_put(struct worker *w, struct id service, uint64_t version,
                      Swarm__ServiceSpec **take_message)
{
        Swarm__ServiceSpec *m = STEAL_PTR(*take_message);
        struct spec *s = spec_get(w, service, version);

        if (s) {
                wire_free(m);
                return s;
        }
        s = xnew(struct spec);
        s->key = key_of(service, version);
        list_init(&s->idle_link);
        if (is_usable(m))
                s->message = m;
        else
                wire_free(m);
        map_put(&w->specs, s);
        make_idle(w, s);
        return s;
}

int spec_take(struct worker *w, const Swarm__SpecVersion *m)
{
        Swarm__ServiceSpec *spec;
        struct id service;

        if (wire_get_id(&m->service_id, &service) < 0)
                return -EBADMSG;
        if (spec_get(w, service, m->spec_version))
                return 0;
        spec = wire_unpack_heap(&swarm__service_spec__descriptor, m->spec.data, m->spec.len);
        spec_put(w, service, m->spec_version, &spec);
        return 0;
}

void spec_ref(struct spec *s)
{
        s->users++;
        list_remove(&s->idle_link);
}

void spec_unref(struct worker *w, struct spec *s)
{
        if (--s->users == 0)
                make_idle(w, s);
}

void specs_done(struct worker *w)
{
        while (!list_is_empty(&w->idle_specs))
                forget(w, LIST_ITEM(w->idle_specs.next, struct spec, idle_link));
        map_done(&w->specs);
}
