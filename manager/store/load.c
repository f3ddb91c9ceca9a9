/*
 * Messages into the state: rows at start (with a row number) and entries (row 0). Everything that
 * was written by us once is checked again: the file may have been touched.
 */
#include <errno.h>
#include <string.h>

#include "manager/store/store_internal.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/wire/wire.h"

/* An object is as its row (row > 0) or ahead of it. Returns the row that it has from now on. */
static uint64_t settle(struct store *s, enum row_table kind, void *object, bool is_new,
                       uint64_t row)
{
        struct marks m = object_marks(s, kind, object);

        if (row == 0)
                return is_new ? ++s->last_row[kind] : m.row;
        if (!is_new && m.row != row)
                row_queue_delete(s, kind, m.row); /* a removed one and a new one met */
        *m.dirty |= DIRTY_STORED;
        s->last_row[kind] = MAX(s->last_row[kind], row);
        return row;
}

/* After the object's row number is set. */
static void queue(struct store *s, enum row_table kind, void *object, uint64_t row)
{
        if (row == 0)
                row_queue_put(s, kind, object);
}

/* In the place of what the object had. */
static void keep_unknown(struct wire_unknown **place, const void *msg)
{
        free(*place);
        *place = wire_unknown_copy(msg);
}

/* What an object refers to is not there. */
static int unresolved(const struct store *s, uint64_t row)
{
        return s->is_recovering && row == 0 ? 0 : -EBADMSG;
}

int load_cluster(struct store *s, const Swarm__Cluster *msg, uint64_t row)
{
        cluster_set(s, wire_dup(msg));
        if (row)
                s->cluster.dirty |= DIRTY_STORED;
        else
                row_queue_put(s, ROW_CLUSTER, &s->cluster);
        return 0;
}

/* Of a kind, a state, ... that a newer version added. */
static bool node_is_known(const Swarm__Node *msg)
{
        return msg->role <= ROLE_MANAGER && msg->availability <= AVAILABILITY_DRAIN &&
               msg->state <= NODE_DISCONNECTED;
}

int load_node(struct store *s, const Swarm__Node *msg, uint64_t row)
{
        struct id id;

        if (wire_get_id(&msg->id, &id) < 0)
                return -EBADMSG;
        struct node *node = store_find_node(s, id);
        bool is_new = !node;
        if (msg->public_key.len != sizeof(node->public_key))
                return -EBADMSG;
        if (!node_is_known(msg))
                return -EPROTO;
        if (is_new)
                node = node_new(id);
        else
                node_unlink(s, node);
        memcpy(node->public_key, msg->public_key.data, sizeof(node->public_key));
        node->role = msg->role;
        node->availability = msg->availability;
        node->state = msg->state;
        node->created_ms = msg->created_ms;
        node->updated_ms = msg->updated_ms;
        node->version = msg->version;
        node_set_labels(node, (const Swarm__KeyValue *const *)msg->labels, msg->n_labels);
        free(node->message);
        node->message = str_is_empty(msg->message) ? NULL : xstrdup(msg->message);
        wire_free(node->description);
        node->description = msg->description ? wire_dup(msg->description) : NULL;
        node->manager_id = msg->manager_id;
        free(node->manager_address);
        node->manager_address =
                str_is_empty(msg->manager_address) ? NULL : xstrdup(msg->manager_address);
        keep_unknown(&node->unknown, msg);
        node->row = settle(s, ROW_NODES, node, is_new, row);
        node_link(s, node);
        queue(s, ROW_NODES, node, row);
        return 0;
}

/* Takes a reference to the new before it lets go of the old. */
static void replace_spec(struct spec **place, struct spec *spec)
{
        if (spec)
                spec->refs++;
        if (*place)
                (*place)->refs--;
        *place = spec;
}

static void set_update_status(struct service *service, const Swarm__UpdateStatus *u)
{
        free(service->update.message);
        free(service->update.unknown);
        service->update = (struct update_status){0};
        if (!u)
                return;
        service->update.state = u->state;
        service->update.started_ms = u->started_ms;
        service->update.completed_ms = u->completed_ms;
        service->update.message = str_is_empty(u->message) ? NULL : xstrdup(u->message);
        service->update.unknown = wire_unknown_copy(u);
}

int load_service(struct store *s, const Swarm__Service *msg, uint64_t row)
{
        struct spec *previous = NULL;
        struct id id;

        if (wire_get_id(&msg->id, &id) < 0)
                return -EBADMSG;
        if (msg->update_status && msg->update_status->state > UPDATE_ROLLBACK_COMPLETED)
                return -EPROTO;
        struct spec *spec = spec_find(s, id, msg->spec_version);
        if (msg->previous_spec_version)
                previous = spec_find(s, id, msg->previous_spec_version);
        if (!spec || (msg->previous_spec_version && !previous))
                return unresolved(s, row);
        struct service *service = store_find_service(s, id);
        bool is_new = !service;
        if (is_new) {
                service = service_new(id);
                service->name = xstrdup(spec->msg->name);
        }
        replace_spec(&service->spec, spec);
        replace_spec(&service->previous_spec, previous);
        service->last_spec_version = msg->last_spec_version;
        service->created_ms = msg->created_ms;
        service->updated_ms = msg->updated_ms;
        service->version = msg->version;
        service->is_removing = msg->is_removing;
        set_update_status(service, msg->update_status);
        keep_unknown(&service->unknown, msg);
        service->row = settle(s, ROW_SERVICES, service, is_new, row);
        if (is_new)
                service_link(s, service);
        else
                service_rename(s, service);
        queue(s, ROW_SERVICES, service, row);
        return 0;
}

int load_spec(struct store *s, const Swarm__SpecVersion *msg, uint64_t row)
{
        struct id id;

        if (wire_get_id(&msg->service_id, &id) < 0 || msg->spec_version == 0)
                return -EBADMSG;
        struct spec *spec = spec_find(s, id, msg->spec_version);
        bool is_new = !spec;
        if (is_new) {
                Swarm__ServiceSpec *decoded = wire_unpack_heap(&swarm__service_spec__descriptor,
                                                               msg->spec.data, msg->spec.len);
                if (!decoded)
                        return -EBADMSG;
                spec = spec_new(s, id, msg->spec_version, decoded,
                                xmemdup(msg->spec.data, msg->spec.len), msg->spec.len);
        } else if (spec->packed_len != msg->spec.len ||
                   memcmp(spec->packed, msg->spec.data, msg->spec.len) != 0) {
                return -EBADMSG;
        }
        keep_unknown(&spec->unknown, msg);
        spec->row = settle(s, ROW_SPECS, spec, is_new, row);
        queue(s, ROW_SPECS, spec, row);
        return 0;
}

static bool task_is_valid(const Swarm__Task *msg)
{
        return msg->slot <= UINT32_MAX && msg->failures <= UINT16_MAX &&
               msg->attempts <= UINT16_MAX && msg->exit_code >= INT16_MIN &&
               msg->exit_code <= INT16_MAX;
}

/* All but ids, references and row. */
static void set_task(struct store *s, struct task *task, const Swarm__Task *msg)
{
        char *message = text_get(s, msg->message), *error = text_get(s, msg->error);

        text_put(s, task->message);
        text_put(s, task->error);
        task->message = message;
        task->error = error;
        task->slot = (uint32_t)msg->slot;
        task->state = (uint16_t)msg->state;
        task->desired = (uint16_t)msg->desired;
        task->exit_code = (int16_t)msg->exit_code;
        task->failures = (uint16_t)msg->failures;
        task->attempts = (uint16_t)msg->attempts;
        task->flags = (uint8_t)((task->flags & ~TASK_FLAG_UPDATE) |
                                (msg->of_update ? TASK_FLAG_UPDATE : 0));
        task->created_ms = msg->created_ms;
        task->state_ms = msg->state_ms;
        task->running_ms = msg->running_ms;
        task->not_before_ms = msg->not_before_ms;
        keep_unknown(&task->unknown, msg);
        wire_free(task->generic);
        task->generic = NULL;
        if (msg->n_generic) {
                Swarm__Resources borrowed = SWARM__RESOURCES__INIT;

                borrowed.generic = msg->generic;
                borrowed.n_generic = msg->n_generic;
                task->generic = wire_dup(&borrowed);
        }
}

int load_task(struct store *s, const Swarm__Task *msg, uint64_t row)
{
        struct node *node = NULL;
        struct id id, service_id, node_id;

        if (wire_get_id(&msg->id, &id) < 0 || wire_get_id(&msg->service_id, &service_id) < 0 ||
            (msg->node_id.len && wire_get_id(&msg->node_id, &node_id) < 0) || !task_is_valid(msg))
                return -EBADMSG;
        if (!task_state_is_valid(msg->state) || !task_state_is_valid(msg->desired))
                return -EPROTO;
        struct service *service = store_find_service(s, service_id);
        struct spec *spec = spec_find(s, service_id, msg->spec_version);
        if (msg->node_id.len)
                node = store_find_node(s, node_id);
        if (!service || !spec || (msg->node_id.len && !node))
                return unresolved(s, row);
        struct task *task = store_find_task(s, id);
        bool is_new = !task;
        if (is_new) {
                task = task_new(id);
                task->service = service;
                task->node = node;
                task->spec = spec_retain(spec);
                set_task(s, task, msg);
                task_link(s, task);
        } else if (task->service != service) {
                return -EBADMSG;
        } else {
                task_count(task, -1);
                set_task(s, task, msg);
                task_count(task, 1);
                replace_spec(&task->spec, spec);
                task_move(task, node);
        }
        task->row = settle(s, ROW_TASKS, task, is_new, row);
        queue(s, ROW_TASKS, task, row);
        return 0;
}

int load_image(struct store *s, const Swarm__Image *msg, uint64_t row)
{
        if (str_is_empty(msg->id))
                return -EBADMSG;
        struct image *image = store_find_image(s, msg->id);
        bool is_new = !image;
        if (is_new) {
                image = xnew(struct image);
                image->id = xstrdup(msg->id);
        } else {
                image_unlink(s, image);
                wire_free(image->msg);
        }
        image->msg = wire_dup(msg);
        image->row = settle(s, ROW_IMAGES, image, is_new, row);
        image_link(s, image);
        queue(s, ROW_IMAGES, image, row);
        if (is_new)
                image_tell(s, image, CHANGE_CREATED, NULL);
        return 0;
}

static int load_message(struct store *s, enum row_table table, uint64_t row, const void *msg)
{
        switch (table) {
        case ROW_CLUSTER: return load_cluster(s, msg, row);
        case ROW_NODES: return load_node(s, msg, row);
        case ROW_SERVICES: return load_service(s, msg, row);
        case ROW_SPECS: return load_spec(s, msg, row);
        case ROW_TASKS: return load_task(s, msg, row);
        case ROW_IMAGES: return load_image(s, msg, row);
        }
        return -EBADMSG;
}

int store_load_row(struct store *s, enum row_table table, uint64_t row, const uint8_t *p, size_t n)
{
        static const ProtobufCMessageDescriptor *const descriptors[KINDS] = {
                [ROW_CLUSTER] = &swarm__cluster__descriptor,
                [ROW_NODES] = &swarm__node__descriptor,
                [ROW_SERVICES] = &swarm__service__descriptor,
                [ROW_SPECS] = &swarm__spec_version__descriptor,
                [ROW_TASKS] = &swarm__task__descriptor,
                [ROW_IMAGES] = &swarm__image__descriptor,
        };

        if (row == 0)
                return -EBADMSG;
        wire_arena_reset(&s->arena);
        const void *msg = wire_unpack(&s->arena, descriptors[table], p, n);
        return msg ? load_message(s, table, row, msg) : -EBADMSG;
}
