/* Objects as messages, for the log and for the tables. Built on the stack, borrowing all texts. */
#include "manager/store/store_internal.h"

#include "shared/wire/wire.h"

static void encode_node(const struct node *node, struct object_msg *ret)
{
        Swarm__Node *m = &ret->m.node;

        swarm__node__init(m);
        m->id = wire_id(node->id, ret->ids[0]);
        m->public_key = (ProtobufCBinaryData){sizeof(node->public_key),
                                              (uint8_t *)(uintptr_t)node->public_key};
        m->role = node->role;
        m->availability = node->availability;
        m->labels = node->labels->labels;
        m->n_labels = node->labels->n_labels;
        m->description = node->description;
        m->state = node_stored_state(node);
        m->message = node->message;
        m->created_ms = node->created_ms;
        m->updated_ms = node->updated_ms;
        m->version = node->version;
        m->manager_id = node->manager_id;
        m->manager_address = node->manager_address;
        wire_unknown_lend(node->unknown, m);
}

static void encode_service(const struct service *service, struct object_msg *ret)
{
        Swarm__Service *m = &ret->m.service;
        const struct update_status *u = &service->update;

        swarm__service__init(m);
        m->id = wire_id(service->id, ret->ids[0]);
        m->spec_version = service->spec->version;
        m->previous_spec_version = service->previous_spec ? service->previous_spec->version : 0;
        m->last_spec_version = service->last_spec_version;
        m->created_ms = service->created_ms;
        m->updated_ms = service->updated_ms;
        m->version = service->version;
        m->is_removing = service->is_removing;
        wire_unknown_lend(service->unknown, m);
        if (u->state == UPDATE_NONE && !u->message && !u->unknown)
                return;
        swarm__update_status__init(&ret->update);
        ret->update.state = u->state;
        ret->update.started_ms = u->started_ms;
        ret->update.completed_ms = u->completed_ms;
        ret->update.message = u->message;
        wire_unknown_lend(u->unknown, &ret->update);
        m->update_status = &ret->update;
}

static void encode_spec(const struct spec *spec, struct object_msg *ret)
{
        Swarm__SpecVersion *m = &ret->m.spec;

        swarm__spec_version__init(m);
        m->service_id = wire_id(spec->service_id, ret->ids[0]);
        m->spec_version = spec->version;
        m->spec = (ProtobufCBinaryData){spec->packed_len, spec->packed};
        wire_unknown_lend(spec->unknown, m);
}

static void encode_task(const struct task *task, struct object_msg *ret)
{
        Swarm__Task *m = &ret->m.task;

        swarm__task__init(m);
        m->id = wire_id(task->id, ret->ids[0]);
        m->service_id = wire_id(task->service->id, ret->ids[1]);
        m->spec_version = task->spec->version;
        m->slot = task->slot;
        if (task->node)
                m->node_id = wire_id(task->node->id, ret->ids[2]);
        m->state = task->state;
        m->desired = task->desired;
        m->created_ms = task->created_ms;
        m->state_ms = task->state_ms;
        m->running_ms = task->running_ms;
        m->not_before_ms = task->not_before_ms;
        m->message = task->message;
        m->error = task->error;
        m->exit_code = task->exit_code;
        m->failures = task->failures;
        m->attempts = task->attempts;
        m->of_update = task->flags & TASK_FLAG_UPDATE;
        wire_unknown_lend(task->unknown, m);
        if (task->generic) {
                m->generic = task->generic->generic;
                m->n_generic = task->generic->n_generic;
        }
}

const ProtobufCMessage *object_encode(struct store *s, enum row_table kind, void *object,
                                      struct object_msg *ret)
{
        switch (kind) {
        case ROW_CLUSTER: return &s->cluster.msg->base;
        case ROW_NODES: encode_node(object, ret); break;
        case ROW_SERVICES: encode_service(object, ret); break;
        case ROW_SPECS: encode_spec(object, ret); break;
        case ROW_TASKS: encode_task(object, ret); break;
        case ROW_IMAGES: return &((struct image *)object)->msg->base;
        }
        return &ret->m.node.base; /* a message's base is its first member */
}
