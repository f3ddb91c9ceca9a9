/* Services: changing them, and their place in the indexes. */
#include "manager/store/store_internal.h"

#include <assert.h>

#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/wire/wire.h"

static void tell(struct store *s, struct service *service, enum change_kind kind)
{
        struct store_watch *w;

        LIST_FOREACH (w, &s->watches, link)
                if (w->on_service)
                        w->on_service(w->arg, service, kind);
}

static void changed(struct store *s, struct service *service)
{
        service->version++;
        mark_changed(s, ROW_SERVICES, service);
        tell(s, service, CHANGE_UPDATED);
}

struct service *service_new(struct id id)
{
        struct service *service = xnew(struct service);

        service->id = id;
        list_init(&service->tasks);
        list_init(&service->orch_link);
        list_init(&service->sched_link);
        return service;
}

void service_link(struct store *s, struct service *service)
{
        map_put(&s->services, service);
        if (!service->is_removing)
                index_put(&s->services_by_name, service);
}

static void unlink_name(struct store *s, struct service *service)
{
        index_remove(&s->services_by_name, service,
                     map_get_str(&s->services_by_name, service->name));
}

void service_unlink(struct store *s, struct service *service)
{
        map_remove(&s->services, service);
        unlink_name(s, service);
}

/* The name follows the spec, the index the name and is_removing. */
void service_rename(struct store *s, struct service *service)
{
        const char *name = service->spec->msg->name;

        unlink_name(s, service);
        if (!str_is_equal(service->name, name)) {
                free(service->name);
                service->name = xstrdup(name);
        }
        if (!service->is_removing)
                index_put(&s->services_by_name, service);
}

static struct spec *add_spec(struct store *s, struct service *service,
                             const Swarm__ServiceSpec *msg)
{
        struct buf packed = {0};

        WIRE_PACK(msg, &packed);
        struct spec *spec = spec_new(s, service->id, ++service->last_spec_version, wire_dup(msg),
                                     xmemdup(packed.data, packed.len), packed.len);
        buf_done(&packed);
        spec->row = ++s->last_row[ROW_SPECS];
        mark_created(s, ROW_SPECS, spec);
        return spec_retain(spec);
}

struct service *store_add_service(struct store *s, struct id id, const Swarm__ServiceSpec *spec,
                                  int64_t wall_ms)
{
        struct service *service = service_new(id);

        assert(!store_find_service_by_name(s, spec->name));
        service->spec = add_spec(s, service, spec);
        service->name = xstrdup(spec->name);
        service->created_ms = service->updated_ms = wall_ms;
        service->version = 1;
        service->row = ++s->last_row[ROW_SERVICES];
        service_link(s, service);
        mark_created(s, ROW_SERVICES, service);
        tell(s, service, CHANGE_CREATED);
        return service;
}

void store_set_service_spec(struct store *s, struct service *service,
                            const Swarm__ServiceSpec *spec, int64_t wall_ms)
{
        struct spec *oldest = service->previous_spec;

        service->previous_spec = service->spec;
        service->spec = add_spec(s, service, spec);
        service->updated_ms = wall_ms;
        service_rename(s, service);
        spec_release(s, oldest);
        changed(s, service);
}

void store_swap_service_spec(struct store *s, struct service *service, bool drop, int64_t wall_ms)
{
        struct spec *current = service->spec;

        assert(service->previous_spec);
        service->spec = service->previous_spec;
        service->previous_spec = drop ? NULL : current;
        service->updated_ms = wall_ms;
        service_rename(s, service);
        if (drop)
                spec_release(s, current);
        changed(s, service);
}

void store_set_update_status(struct store *s, struct service *service, enum update_state state,
                             int64_t started_ms, int64_t completed_ms, const char *message)
{
        char *copy = str_is_empty(message) ? NULL : xstrdup(message);

        free(service->update.message);
        free(service->update.unknown); /* of the status that was */
        service->update = (struct update_status){state, started_ms, completed_ms, copy, NULL};
        changed(s, service);
}

void store_set_service_removing(struct store *s, struct service *service)
{
        service->is_removing = true;
        service_rename(s, service);
        changed(s, service);
}

void store_remove_service(struct store *s, struct service *service)
{
        assert(list_is_empty(&service->tasks));
        service_unlink(s, service);
        mark_removed(s, ROW_SERVICES, service);
        tell(s, service, CHANGE_REMOVED);
        list_remove(&service->orch_link);
        list_remove(&service->sched_link);
        spec_release(s, service->spec);
        spec_release(s, service->previous_spec);
}
