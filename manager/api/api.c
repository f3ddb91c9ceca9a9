/*
 * The stage's frame: the table of requests, answers, and what the store tells. A request that is
 * refused changes nothing: each handler checks all before it changes anything.
 */
#include "manager/api/api_internal.h"

#include <errno.h>

#include "shared/model/protocol.h"

static const struct {
        Swarm__Request__KindCase kind;
        call_fn *fn;
} handlers[] = {
        {SWARM__REQUEST__KIND_INFO, on_info},
        {SWARM__REQUEST__KIND_KEEP_ALIVE, on_keep_alive},
        {SWARM__REQUEST__KIND_CANCEL, on_cancel},
        {SWARM__REQUEST__KIND_SERVICE_CREATE, on_service_create},
        {SWARM__REQUEST__KIND_SERVICE_UPDATE, on_service_update},
        {SWARM__REQUEST__KIND_SERVICE_SCALE, on_service_scale},
        {SWARM__REQUEST__KIND_SERVICE_REMOVE, on_service_remove},
        {SWARM__REQUEST__KIND_SERVICE_LIST, on_service_list},
        {SWARM__REQUEST__KIND_SERVICE_GET, on_service_get},
        {SWARM__REQUEST__KIND_SERVICE_WATCH, on_service_watch},
        {SWARM__REQUEST__KIND_TASK_LIST, on_task_list},
        {SWARM__REQUEST__KIND_TASK_GET, on_task_get},
        {SWARM__REQUEST__KIND_NODE_LIST, on_node_list},
        {SWARM__REQUEST__KIND_NODE_GET, on_node_get},
        {SWARM__REQUEST__KIND_NODE_UPDATE, on_node_update},
        {SWARM__REQUEST__KIND_NODE_REMOVE, on_node_remove},
        {SWARM__REQUEST__KIND_MANAGER_LIST, on_manager_list},
        {SWARM__REQUEST__KIND_MANAGER_REMOVE, on_manager_remove},
        {SWARM__REQUEST__KIND_CLUSTER_UPDATE, on_cluster_update},
        {SWARM__REQUEST__KIND_CLUSTER_GET, on_cluster_get},
        {SWARM__REQUEST__KIND_JOIN_TOKEN, on_join_token},
        {SWARM__REQUEST__KIND_UNLOCK_KEY, on_unlock_key},
        {SWARM__REQUEST__KIND_UNLOCK, on_local_request},
        {SWARM__REQUEST__KIND_NODE_KEY_GET, on_local_request},
        {SWARM__REQUEST__KIND_EVENTS, on_events},
        {SWARM__REQUEST__KIND_LOGS, on_logs},
        {SWARM__REQUEST__KIND_LOG_ACKNOWLEDGE, on_log_acknowledge},
        {SWARM__REQUEST__KIND_IMAGE_CREATE, on_image_create},
        {SWARM__REQUEST__KIND_IMAGE_LIST, on_image_list},
        {SWARM__REQUEST__KIND_IMAGE_GET, on_image_get},
        {SWARM__REQUEST__KIND_IMAGE_REMOVE, on_image_remove},
};

/* --- what the store tells ------------------------------------------------------------------------
 */
static const char *action_name(enum change_kind kind)
{
        static const char *const names[] = {"create", "update", "remove"};

        return names[kind];
}

/* One event; the strings are borrowed. */
static void add_event(struct api *a, const char *type, const char *action, const char *id,
                      const char *name, const char *key, const char *value)
{
        const struct event e = {.type = type,
                                .action = action,
                                .key = key,
                                .id = (char *)(uintptr_t)id,
                                .name = (char *)(uintptr_t)name,
                                .value = (char *)(uintptr_t)value};

        events_add(a, &e);
}

static void on_service_change(void *arg, struct service *service, enum change_kind kind)
{
        struct api *a = arg;

        streams_note_service(a, service);
        if (service->is_removing && kind == CHANGE_UPDATED)
                kind = CHANGE_REMOVED; /* gone for users */
        else if (service->is_removing)
                return;
        add_event(a, "service", action_name(kind), ID_S(service->id), service->name,
                  kind == CHANGE_UPDATED ? "updatestate" : NULL,
                  update_state_name(service->update.state));
}

static void on_task_change(void *arg, struct task *task, enum change_kind kind,
                           const struct task_before *before)
{
        struct api *a = arg;

        streams_note_task(a, task, kind, before);
        if (kind != CHANGE_UPDATED || !before || task->state == before->state ||
            task->state < TASK_RUNNING || task->service->is_removing)
                return;
        _cleanup_free_ char *name = task_name(task);
        add_event(a, "task", task_state_name(task->state), ID_S(task->id), name, "service",
                  task->service->name);
}

static void on_node_change(void *arg, struct node *node, enum change_kind kind)
{
        bool has_notice = node->state == NODE_READY && node->message;

        streams_note_nodes(arg);
        add_event(arg, "node", action_name(kind), ID_S(node->id), node_hostname(node),
                  has_notice ? "message" : "state",
                  has_notice ? node->message : node_state_name(node->state));
}

static void on_image_change(void *arg, struct image *image, enum change_kind kind,
                            const char *changed_name)
{
        const char *name = image->msg->n_names ? image->msg->names[0] : image->id;
        const char *action = action_name(kind);

        if (changed_name) {
                name = changed_name;
                action = image_has_name(image, name) ? "tag" : "untag";
        }
        add_event(arg, "image", action, image->id, name, NULL, NULL);
}

static void on_cluster_change(void *arg, struct cluster *cluster)
{
        struct id id = {0, 0};

        wire_get_id(&cluster->msg->id, &id);
        add_event(arg, "cluster", "update", ID_S(id), "", NULL, NULL);
}

/* --- the stage -----------------------------------------------------------------------------------
 */
struct api *api_new(struct store *store, struct logs *logs, const struct turn_config *config,
                    struct now now)
{
        struct api *a = xnew(struct api);

        a->store = store;
        a->logs = logs;
        a->config = *config;
        a->now = now;
        list_init(&a->streams);
        a->watch = (struct store_watch){.arg = a,
                                        .on_service = on_service_change,
                                        .on_task = on_task_change,
                                        .on_node = on_node_change,
                                        .on_image = on_image_change,
                                        .on_cluster = on_cluster_change};
        store_watch(store, &a->watch);
        return a;
}

void api_free(struct api *a)
{
        if (!a)
                return;
        while (!list_is_empty(&a->streams))
                stream_close(a, LIST_ITEM(a->streams.next, struct stream, link));
        events_done(a);
        list_remove(&a->watch.link);
        free(a);
}

void api_begin(struct api *a, struct now now)
{
        a->now = now;
        a->events_before = a->event_count;
}

void call_answer(struct call *c, Swarm__Response *r)
{
        r->number = c->q->number;
        effect_client(c->effects, c->connection, r);
}

void call_done(struct call *c)
{
        Swarm__Response r = SWARM__RESPONSE__INIT;
        Swarm__Empty empty = SWARM__EMPTY__INIT;

        r.kind_case = SWARM__RESPONSE__KIND_DONE;
        r.done = &empty;
        call_answer(c, &r);
}

static void refuse(struct call *c, int error)
{
        Swarm__Response r = SWARM__RESPONSE__INIT;

        r.code = (uint32_t)-error;
        r.error = c->err.text[0] ? c->err.text : (char *)(uintptr_t)err_name(error);
        call_answer(c, &r);
}

/* Each name is looked for, and each object answered, in one turn: so few may be asked at a time. */
static int check_names(struct call *c)
{
        static const char *const fields[] = {"refs", "items", "filters"};
        const ProtobufCFieldDescriptor *kind = protobuf_c_message_descriptor_get_field(
                &swarm__request__descriptor, (unsigned)c->q->kind_case);
        bool is_message = kind && kind->type == PROTOBUF_C_TYPE_MESSAGE;
        const char *base =
                is_message ? *(const char *const *)((const char *)c->q + kind->offset) : NULL;

        for (size_t i = 0; base && i < ARRAY_SIZE(fields); i++) {
                const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field_by_name(
                        ((const ProtobufCMessage *)(const void *)base)->descriptor, fields[i]);

                if (f && f->label == PROTOBUF_C_LABEL_REPEATED &&
                    *(const size_t *)(const void *)(base + f->quantifier_offset) > REFS_MAX)
                        return err_set(&c->err, EINVAL, "%s: more than %d %s in one request",
                                       kind->name, REFS_MAX, fields[i]);
        }
        return 0;
}

static int handle(struct call *c)
{
        struct protocol_end manager = {"this manager", CONTROL_PROTOCOLS};
        struct protocol_end client = {"the client",
                                      protocol_told(c->q->protocol_oldest, c->q->protocol)};
        int r = check_names(c);

        if (r < 0)
                return r;
        if (protocol_agree("control", &client, &manager, &c->err) < 0)
                return -EPROTO;
        for (size_t i = 0; i < ARRAY_SIZE(handlers); i++)
                if (handlers[i].kind == c->q->kind_case)
                        return handlers[i].fn(c);
        return err_set(&c->err, EINVAL, "a request of a kind that this manager does not know");
}

void api_on_request(struct api *a, struct peer from, const Swarm__Request *q, struct rng *rng,
                    struct list *effects)
{
        struct call c = {.a = a,
                         .connection = from.connection,
                         .manager = from.manager,
                         .q = q,
                         .rng = rng,
                         .effects = effects};
        struct stream *s;
        int r = handle(&c);

        LIST_FOREACH (s, &a->streams, link)
                if (s->connection == from.connection)
                        s->heard_ms = a->now.mono_ms;
        if (r < 0)
                refuse(&c, r);
}

void api_on_client_gone(struct api *a, uint64_t connection)
{
        struct stream *s, *next;

        LIST_FOREACH_SAFE (s, next, &a->streams, link)
                if (s->connection == connection)
                        stream_close(a, s);
}

int64_t api_send(struct api *a, struct list *effects)
{
        return streams_send(a, effects);
}

void api_set_warning(struct api *a, const char *text)
{
        a->warning = text;
}

void api_set_last_index(struct api *a, uint64_t index)
{
        a->last_index = index;
}
