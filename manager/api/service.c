/* Services: create, update, roll back, scale, remove. */
#include "manager/api/api_internal.h"

#include <errno.h>

#define SCALE_BYTES_MAX (16u << 20) /* of the specs that one request makes */

static void answer_created(struct call *c, struct id id)
{
        Swarm__Response r = SWARM__RESPONSE__INIT;
        Swarm__Created created = SWARM__CREATED__INIT;
        uint8_t storage[ID_BYTES];

        created.id = wire_id(id, storage);
        r.kind_case = SWARM__RESPONSE__KIND_CREATED;
        r.created = &created;
        call_answer(c, &r);
}

/* Replicas of all services but one. */
static uint64_t other_replicas(struct api *a, const struct service *but)
{
        struct service *s;
        uint64_t n = 0;
        size_t i;

        MAP_FOREACH (s, i, store_services(a->store))
                if (s != but && !s->is_removing)
                        n += s->spec->msg->replicas;
        return n;
}

static int check_total(struct call *c, const struct service *service, uint64_t replicas)
{
        if (replicas > SERVICE_REPLICAS_MAX ||
            other_replicas(c->a, service) + replicas > CLUSTER_TASKS_MAX)
                return err_set(&c->err, EINVAL,
                               "replicas: the cluster would have more than %d tasks",
                               CLUSTER_TASKS_MAX);
        return 0;
}

int on_service_create(struct call *c)
{
        Swarm__ServiceSpec *spec = wire_dup(c->q->service_create);
        int r = spec_validate(c->a, spec, NULL, &c->err);

        if (r == 0 && store_find_service_by_name(c->a->store, spec->name))
                r = err_set(&c->err, EEXIST, "service %s: name is in use", spec->name);
        if (r == 0)
                r = check_total(c, NULL, spec->replicas);
        if (r == 0) {
                struct id id = id_make(c->rng);

                store_add_service(c->a->store, id, spec, c->a->now.wall_ms);
                answer_created(c, id);
        }
        wire_free(spec);
        return r;
}

static bool is_same_spec(const struct service *service, const Swarm__ServiceSpec *spec)
{
        _cleanup_buf_ struct buf b = {0};

        WIRE_PACK(spec, &b);
        return b.len == service->spec->packed_len && !memcmp(b.data, service->spec->packed, b.len);
}

/* A new spec ends a pause: the updater looks at it afresh. */
static void put_spec(struct call *c, struct service *service, const Swarm__ServiceSpec *spec)
{
        store_set_service_spec(c->a->store, service, spec, c->a->now.wall_ms);
        store_set_update_status(c->a->store, service, UPDATE_NONE, 0, 0, NULL);
}

static int roll_back(struct call *c, struct service *service)
{
        if (!service->previous_spec)
                return err_set(&c->err, EINVAL, "service %s does not have a previous spec",
                               service->name);
        store_swap_service_spec(c->a->store, service, false, c->a->now.wall_ms);
        store_set_update_status(c->a->store, service, UPDATE_ROLLBACK_STARTED, c->a->now.wall_ms, 0,
                                "manually requested rollback");
        answer_created(c, service->id);
        return 0;
}

static int replace_spec(struct call *c, struct service *service, Swarm__ServiceSpec *spec)
{
        int r = spec_validate(c->a, spec, service->spec->msg, &c->err);

        if (r < 0)
                return err_wrap(&c->err, "service %s", service->name);
        if (!str_is_equal(spec->name, service->name))
                return err_set(&c->err, EINVAL, "service %s: renaming is not supported",
                               service->name);
        if (spec->mode != service->spec->msg->mode)
                return err_set(&c->err, EINVAL, "service %s: the mode cannot be changed",
                               service->name);
        r = check_total(c, service, spec->replicas);
        if (r < 0)
                return r;
        if (!is_same_spec(service, spec))
                put_spec(c, service, spec);
        answer_created(c, service->id);
        return 0;
}

int on_service_update(struct call *c)
{
        const Swarm__ServiceUpdate *u = c->q->service_update;
        struct service *service;
        int r = find_service(c->a, u->ref, &service, &c->err);

        if (r < 0)
                return r;
        if (u->version && u->version != service->version)
                return err_set(&c->err, ESTALE, "service %s: update out of sequence",
                               service->name);
        if (u->rollback)
                return roll_back(c, service);
        if (!u->spec)
                return err_set(&c->err, EINVAL, "service %s: update without a spec", service->name);
        Swarm__ServiceSpec *spec = wire_dup(u->spec);
        r = replace_spec(c, service, spec);
        wire_free(spec);
        return r;
}

/* *bytes: of the specs so far, each of which comes anew. */
static int check_scale(struct call *c, const Swarm__ScaleRequest__Item *item, size_t *bytes)
{
        struct service *service;
        int r = find_service(c->a, item->ref, &service, &c->err);

        if (r < 0)
                return r;
        if (service->spec->msg->mode != MODE_REPLICATED)
                return err_set(&c->err, EINVAL,
                               "service %s: scale can only be used with replicated services",
                               service->name);
        r = check_total(c, service, item->replicas);
        if (r < 0)
                return err_wrap(&c->err, "service %s", service->name);
        *bytes += service->spec->packed_len;
        if (*bytes > SCALE_BYTES_MAX)
                return err_set(&c->err, EFBIG,
                               "service %s: the specs are larger than %u MiB together: scale fewer "
                               "services at once",
                               service->name, SCALE_BYTES_MAX >> 20);
        return 0;
}

static void scale(struct call *c, const Swarm__ScaleRequest__Item *item)
{
        struct service *service;

        if (find_service(c->a, item->ref, &service, &c->err) < 0 ||
            service->spec->msg->replicas == item->replicas)
                return;
        Swarm__ServiceSpec *spec = wire_dup(service->spec->msg);
        spec->replicas = item->replicas;
        put_spec(c, service, spec);
        wire_free(spec);
}

int on_service_scale(struct call *c)
{
        const Swarm__ScaleRequest *s = c->q->service_scale;
        size_t bytes = 0;

        for (size_t i = 0; i < s->n_items; i++) {
                int r = check_scale(c, s->items[i], &bytes);

                if (r < 0)
                        return r;
        }
        for (size_t i = 0; i < s->n_items; i++)
                scale(c, s->items[i]);
        call_done(c);
        return 0;
}

/* What is named is looked up once: with some services gone, a name could be another's. */
int on_service_remove(struct call *c)
{
        const Swarm__RefList *refs = c->q->service_remove;
        _cleanup_free_ struct service **services = xnew_array(struct service *, refs->n_refs);

        for (size_t i = 0; i < refs->n_refs; i++) {
                int r = find_service(c->a, refs->refs[i], &services[i], &c->err);

                if (r < 0)
                        return r;
        }
        for (size_t i = 0; i < refs->n_refs; i++)
                if (!services[i]->is_removing) /* else it was named twice */
                        store_set_service_removing(c->a->store, services[i]);
        call_done(c);
        return 0;
}
