/* Questions: lists, single objects, and the cluster as a whole. Long lists are answered in parts.
 */
#include "manager/api/filter_internal.h"

#include <errno.h>
#include <stdio.h>

#include "manager/store/constraint.h"

/* --- objects as clients see them -----------------------------------------------------------------
 */
static bool has_live_task(const struct service *service, const struct node *node)
{
        const struct task *t;

        LIST_FOREACH (t, &node->tasks, node_link)
                if (t->service == service && t->desired <= TASK_RUNNING)
                        return true;
        return false;
}

/* Should a global service have a task there? A paused node keeps what it has. */
static bool is_eligible(const struct service *service, const struct node *node)
{
        if (node->state != NODE_READY && node->state != NODE_SUSPECT)
                return false;
        if (node->availability == AVAILABILITY_DRAIN ||
            !constraint_spec_is_met(service->spec, node) || !platform_is_met(service->spec, node))
                return false;
        return node->availability == AVAILABILITY_ACTIVE || has_live_task(service, node);
}

uint64_t service_desired(struct api *a, struct service *service)
{
        struct node *node;
        uint64_t n = 0;
        size_t i;

        if (service->spec->msg->mode == MODE_REPLICATED)
                return service->spec->msg->replicas;
        MAP_FOREACH (node, i, store_nodes(a->store))
                n += is_eligible(service, node);
        return n;
}

static const Swarm__Service *service_to_msg(struct api *a, struct service *service,
                                            struct object_msg *o)
{
        object_encode(a->store, ROW_SERVICES, service, o);
        Swarm__Service *m = &o->m.service;
        m->spec = (Swarm__ServiceSpec *)(uintptr_t)service->spec->msg;
        if (service->previous_spec)
                m->previous_spec = (Swarm__ServiceSpec *)(uintptr_t)service->previous_spec->msg;
        m->running = store_running_tasks(a->store, service);
        m->desired = service_desired(a, service);
        return m;
}

/* One that ended while it was held back (its image cannot be had, say) is followed by the next when
 * its own turn would have come. */
static bool is_followed(const struct task *task)
{
        const Swarm__RestartPolicy *p = task->spec->msg->task->restart;

        if (task->service->is_removing || task->spec != task->service->spec ||
            (task->state != TASK_FAILED && task->state != TASK_REJECTED))
                return false;
        return !p || (p->condition != RESTART_NONE &&
                      (p->max_attempts == 0 || task->attempts < p->max_attempts));
}

const Swarm__Task *task_to_msg(struct api *a, struct task *task, struct task_msg *ret)
{
        object_encode(a->store, ROW_TASKS, task, &ret->object);
        Swarm__Task *m = &ret->object.m.task;
        m->service_name = task->service->name;
        m->image = task->spec->msg->task->container->image;
        if (task_state_is_terminal(task->state) && !is_followed(task))
                m->not_before_ms = 0;
        ret->hostname[0] = 0;
        if (task->node)
                snprintf(ret->hostname, sizeof(ret->hostname), "%s", node_hostname(task->node));
        m->node_hostname = ret->hostname;
        return m;
}

static bool is_counted(const struct task *t)
{
        return !task_state_is_terminal(t->state) && t->desired <= TASK_RUNNING;
}

static void add_reserved(const struct node *node, Swarm__Resources *sum, uint64_t *tasks)
{
        struct task *t;

        LIST_FOREACH (t, &node->tasks, node_link) {
                const Swarm__Resources *r = t->spec->msg->task->reservations;

                if (!is_counted(t))
                        continue;
                (*tasks)++;
                sum->nano_cpus += r ? r->nano_cpus : 0;
                sum->memory_bytes += r ? r->memory_bytes : 0;
        }
}

struct node_msg {
        struct object_msg object;
        Swarm__Resources reserved; /* its generic ones are heap; kinds and names are the tasks' */
};

static Swarm__GenericResource *generic_sum(Swarm__Resources *sum, char *kind)
{
        for (size_t i = 0; i < sum->n_generic; i++)
                if (str_is_equal(sum->generic[i]->kind, kind))
                        return sum->generic[i];
        sum->generic = xreallocarray(sum->generic, sum->n_generic + 1, sizeof(*sum->generic));
        Swarm__GenericResource *g = sum->generic[sum->n_generic++] = xnew(Swarm__GenericResource);
        swarm__generic_resource__init(g);
        g->kind = kind;
        return g;
}

/* What the tasks claimed of the node's generic resources: counts, and names of named sets. */
static void add_generic(const struct node *node, Swarm__Resources *sum)
{
        struct task *t;

        LIST_FOREACH (t, &node->tasks, node_link) {
                if (!t->generic || !is_counted(t))
                        continue;
                for (size_t i = 0; i < t->generic->n_generic; i++) {
                        const Swarm__GenericResource *claim = t->generic->generic[i];
                        Swarm__GenericResource *g = generic_sum(sum, claim->kind);

                        g->count += claim->count;
                        for (size_t n = 0; n < claim->n_names; n++) {
                                g->names =
                                        xreallocarray(g->names, g->n_names + 1, sizeof(*g->names));
                                g->names[g->n_names++] = claim->names[n];
                        }
                }
        }
}

static void node_msg_done(struct node_msg *m)
{
        for (size_t i = 0; i < m->reserved.n_generic; i++) {
                free(m->reserved.generic[i]->names);
                free(m->reserved.generic[i]);
        }
        free(m->reserved.generic);
}

static enum manager_status manager_status(const struct api *a, const struct node *node)
{
        if (id_is_equal(node->id, a->config.node))
                return MANAGER_LEADER;
        return a->config.manager_status ? a->config.manager_status(a->config.arg, node->manager_id)
                                        : MANAGER_REACHABLE;
}

static const Swarm__Node *node_to_msg(struct api *a, struct node *node, struct node_msg *ret)
{
        object_encode(a->store, ROW_NODES, node, &ret->object);
        Swarm__Node *m = &ret->object.m.node;
        m->state = node_shown_state(a, node); /* suspect, too */
        m->is_disk_full = node->is_disk_full && node->state != NODE_DOWN;
        if (m->is_disk_full)
                m->message = (char *)(uintptr_t) "its disk is full: it gets no new tasks";
        if (node_is_bare_manager(node))
                m->message = (char *)(uintptr_t) "has no agent and takes no tasks";
        swarm__resources__init(&ret->reserved);
        add_reserved(node, &ret->reserved, &m->tasks);
        add_generic(node, &ret->reserved);
        m->reserved = &ret->reserved;
        if (node->role == ROLE_MANAGER)
                m->manager_status = manager_status(a, node);
        return m;
}

/* --- answers in parts ----------------------------------------------------------------------------
 */
#define LIST_ITEM_FIELD 1 /* every list message has its items there */

static void put_varint(struct buf *b, uint64_t v)
{
        for (; v >= 0x80; v >>= 7)
                buf_putc(b, (char)(v | 0x80));
        buf_putc(b, (char)v);
}

static void put_field(struct buf *b, unsigned field, const struct buf *bytes)
{
        put_varint(b, field << 3 | 2);
        put_varint(b, bytes->len);
        buf_append(b, bytes->data, bytes->len);
}

static void send_part(struct parts *p, bool more)
{
        Swarm__Response head = SWARM__RESPONSE__INIT;
        _cleanup_buf_ struct buf b = {0};

        head.number = p->c->q->number;
        head.more = more;
        WIRE_PACK(&head, &b);
        put_field(&b, p->response_field, &p->items);
        buf_clear(&p->items);
        effect_client_bytes(p->c->effects, p->c->connection, &b);
}

void parts_add(struct parts *p, const ProtobufCMessage *m)
{
        _cleanup_buf_ struct buf b = {0};

        wire_pack(m, &b);
        if (p->items.len + b.len > LIST_PART_BYTES)
                send_part(p, true);
        put_field(&p->items, LIST_ITEM_FIELD, &b);
}

int parts_end(struct parts *p)
{
        send_part(p, false);
        buf_done(&p->items);
        return 0;
}

/* --- services ------------------------------------------------------------------------------------
 */
static bool service_matches(const Swarm__ListRequest *m, const struct service *s)
{
        const Swarm__ServiceSpec *spec = s->spec->msg;
        struct id_text id = id_text(s->id);
        const struct filter_value values[] = {
                {"id", id.s, true},
                {"name", s->name, true},
                {"mode", service_mode_name((enum service_mode)spec->mode), false}};
        const struct filter_labels labels = {"label", spec->labels, spec->n_labels};
        const struct filter_object o = {values, ARRAY_SIZE(values), &labels, 1};

        return filters_match(m->filters, m->n_filters, &o);
}

int on_service_list(struct call *c)
{
        const Swarm__ListRequest *m = c->q->service_list;
        struct parts p = {.c = c, .response_field = SWARM__RESPONSE__KIND_SERVICES};
        struct service *s;
        size_t i;
        int r = filters_check(m->filters, m->n_filters, filter_service_keys, &c->err);

        if (r < 0)
                return r;
        MAP_FOREACH (s, i, store_services(c->a->store)) {
                struct object_msg o;

                if (!s->is_removing && service_matches(m, s))
                        parts_add(&p, &service_to_msg(c->a, s, &o)->base);
        }
        return parts_end(&p);
}

int on_service_get(struct call *c)
{
        const Swarm__RefList *refs = c->q->service_get;
        struct parts p = {.c = c, .response_field = SWARM__RESPONSE__KIND_SERVICES};
        struct object_msg o;
        struct service *s;

        for (size_t i = 0; i < refs->n_refs; i++) {
                int r = find_service(c->a, refs->refs[i], &s, &c->err);

                if (r < 0)
                        return r;
        }
        for (size_t i = 0; i < refs->n_refs; i++)
                if (find_service(c->a, refs->refs[i], &s, &c->err) == 0)
                        parts_add(&p, &service_to_msg(c->a, s, &o)->base);
        return parts_end(&p);
}

/* --- tasks ---------------------------------------------------------------------------------------
 */
static bool task_matches(const Swarm__ListRequest *m, struct task *t)
{
        struct id_text id = id_text(t->id), node_id = {{0}};
        _cleanup_free_ char *name = task_name(t);
        struct filter_value values[] = {
                {"id", id.s, true},
                {"name", name, true},
                {"service", t->service->name, false},
                {"node", t->node ? node_hostname(t->node) : NULL, false},
                {"node", t->node ? node_id.s : NULL, true},
                {"desired-state", task_state_name((enum task_state)t->desired), false},
                /* what a service removed or replaced is "shutdown" to people */
                {"desired-state", t->desired > TASK_RUNNING ? "shutdown" : NULL, false},
        };

        if (t->node)
                node_id = id_text(t->node->id);
        const struct filter_object o = {values, ARRAY_SIZE(values), NULL, 0};
        return filters_match(m->filters, m->n_filters, &o);
}

static void add_task(struct parts *p, const Swarm__ListRequest *m, struct task *t)
{
        struct task_msg o;

        breathe_now_and_then(&p->c->a->config.breath, &p->n_seen);
        if (!t->service->is_removing && task_matches(m, t))
                parts_add(p, &task_to_msg(p->c->a, t, &o)->base);
}

static void add_service_tasks(struct parts *p, const Swarm__ListRequest *m, struct service *s)
{
        struct task *t;

        LIST_FOREACH (t, &s->tasks, service_link)
                add_task(p, m, t);
}

static void add_node_tasks(struct parts *p, const Swarm__ListRequest *m, struct node *node)
{
        struct task *t;

        LIST_FOREACH (t, &node->tasks, node_link)
                add_task(p, m, t);
}

int on_task_list(struct call *c)
{
        const Swarm__ListRequest *m = c->q->task_list;
        struct parts p = {.c = c, .response_field = SWARM__RESPONSE__KIND_TASKS};
        struct service *s;
        struct node *node;
        size_t i;
        int r = filters_check(m->filters, m->n_filters, filter_task_keys, &c->err);

        for (size_t k = 0; r == 0 && k < m->n_refs; k++)
                r = m->refs_are_nodes ? find_node(c, m->refs[k], &node)
                                      : find_service(c->a, m->refs[k], &s, &c->err);
        if (r < 0)
                return r;
        for (size_t k = 0; k < m->n_refs; k++) {
                if (m->refs_are_nodes && find_node(c, m->refs[k], &node) == 0)
                        add_node_tasks(&p, m, node);
                else if (find_service(c->a, m->refs[k], &s, &c->err) == 0)
                        add_service_tasks(&p, m, s);
        }
        if (m->n_refs == 0) {
                MAP_FOREACH (s, i, store_services(c->a->store))
                        add_service_tasks(&p, m, s);
        }
        return parts_end(&p);
}

int on_task_get(struct call *c)
{
        const Swarm__RefList *refs = c->q->task_get;
        struct parts p = {.c = c, .response_field = SWARM__RESPONSE__KIND_TASKS};
        struct task_msg o;
        struct task *t;

        for (size_t i = 0; i < refs->n_refs; i++) {
                int r = find_task(c->a, refs->refs[i], &t, &c->err);

                if (r < 0)
                        return r;
        }
        for (size_t i = 0; i < refs->n_refs; i++) {
                if (find_task(c->a, refs->refs[i], &t, &c->err) < 0)
                        continue;
                task_to_msg(c->a, t, &o);
                o.object.m.task.spec = t->spec->msg->task;
                parts_add(&p, &o.object.m.task.base);
        }
        return parts_end(&p);
}

/* --- nodes ---------------------------------------------------------------------------------------
 */
static bool node_matches(const Swarm__ListRequest *m, const struct node *node)
{
        const Swarm__NodeDescription *d = node->description;
        struct id_text id = id_text(node->id);
        const struct filter_value values[] = {{"id", id.s, true},
                                              {"name", node_hostname(node), true},
                                              {"membership", "accepted", false},
                                              {"role", node_role_name(node->role), false}};
        const struct filter_labels labels[] = {
                {"node.label", node->labels->labels, node->labels->n_labels},
                {"label", d ? d->engine_labels : NULL, d ? d->n_engine_labels : 0}};
        const struct filter_object o = {values, ARRAY_SIZE(values), labels, ARRAY_SIZE(labels)};

        return filters_match(m->filters, m->n_filters, &o);
}

static void add_node(struct parts *p, struct node *node)
{
        struct node_msg o;

        parts_add(p, &node_to_msg(p->c->a, node, &o)->base);
        node_msg_done(&o);
}

int on_node_list(struct call *c)
{
        const Swarm__ListRequest *m = c->q->node_list;
        struct parts p = {.c = c, .response_field = SWARM__RESPONSE__KIND_NODES};
        struct node *node;
        size_t i;
        int r = filters_check(m->filters, m->n_filters, filter_node_keys, &c->err);

        if (r < 0)
                return r;
        MAP_FOREACH (node, i, store_nodes(c->a->store))
                if (node_matches(m, node))
                        add_node(&p, node);
        return parts_end(&p);
}

int on_node_get(struct call *c)
{
        const Swarm__RefList *refs = c->q->node_get;
        struct parts p = {.c = c, .response_field = SWARM__RESPONSE__KIND_NODES};
        struct node *node;

        for (size_t i = 0; i < refs->n_refs; i++) {
                int r = find_node(c, refs->refs[i], &node);

                if (r < 0)
                        return r;
        }
        for (size_t i = 0; i < refs->n_refs; i++)
                if (find_node(c, refs->refs[i], &node) == 0)
                        add_node(&p, node);
        return parts_end(&p);
}

/* --- the cluster ---------------------------------------------------------------------------------
 */
static void add_nodes(struct api *a, Swarm__Info *info)
{
        struct node *node;
        size_t i;

        MAP_FOREACH (node, i, store_nodes(a->store)) {
                uint64_t tasks = 0;

                info->nodes++;
                if (node->role == ROLE_MANAGER) {
                        info->managers++;
                        info->managers_reachable += manager_status(a, node) != MANAGER_UNREACHABLE;
                }
                add_reserved(node, info->reserved, &tasks);
                info->nodes_ready += node_shown_state(a, node) == NODE_READY;
                if (node->state != NODE_READY || !node->description || !node->description->capacity)
                        continue;
                info->capacity->nano_cpus += node->description->capacity->nano_cpus;
                info->capacity->memory_bytes += node->description->capacity->memory_bytes;
        }
}

static void add_services(struct api *a, Swarm__Info *info)
{
        struct service *s;
        size_t i;

        MAP_FOREACH (s, i, store_services(a->store)) {
                info->services += !s->is_removing;
                info->tasks_running += store_running_tasks(a->store, s);
        }
}

int on_info(struct call *c)
{
        struct api *a = c->a;
        Swarm__Info info = SWARM__INFO__INIT;
        Swarm__Resources capacity = SWARM__RESOURCES__INIT, reserved = SWARM__RESOURCES__INIT;
        Swarm__Response r = SWARM__RESPONSE__INIT;
        struct node *self = find_self(c);
        uint8_t id[ID_BYTES];

        info.cluster_id = store_cluster(a->store)->msg->id;
        info.version = (char *)(uintptr_t)a->config.version;
        info.protocol = CONTROL_PROTOCOL;
        info.protocol_oldest = CONTROL_PROTOCOL_OLDEST;
        if (self)
                info.node_id = wire_id(self->id, id);
        info.capacity = &capacity;
        info.reserved = &reserved;
        add_nodes(a, &info);
        add_services(a, &info);
        info.tasks = store_tasks(a->store)->len;
        info.images = store_images(a->store)->len;
        info.leader = (char *)(uintptr_t)a->config.hostname;
        info.last_index = a->last_index;
        info.warning = (char *)(uintptr_t)(a->warning ? a->warning : protobuf_c_empty_string);
        if (a->config.managers && a->config.managers[0])
                info.address = a->config.managers[0];
        r.kind_case = SWARM__RESPONSE__KIND_INFO;
        r.info = &info;
        call_answer(c, &r);
        return 0;
}
