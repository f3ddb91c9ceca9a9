/* Documents: the helpers, and the smaller objects. Field names are those of Docker's API. */
#include <string.h>

#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/model/model.h"
#include "shared/model/protocol.h"
#include "shared/wire/wire.h"
#include "swarmctl/output/doc_internal.h"

/* JSON must be UTF-8, which a string on the wire need not be. Control characters stay: JSON escapes
 * them. */
static json_t *str_new(const char *s)
{
        json_t *v = json_string(s ? s : "");

        if (v)
                return v;
        _cleanup_free_ char *clean = text_safe(s);
        return json_string(clean);
}

void doc_put(json_t *o, const char *key, json_t *take)
{
        json_object_set_new(o, key, take);
}

void doc_put_str(json_t *o, const char *key, const char *s)
{
        doc_put(o, key, str_new(s));
}

void doc_put_str_if(json_t *o, const char *key, const char *s)
{
        if (!str_is_empty(s))
                doc_put_str(o, key, s);
}

void doc_put_int(json_t *o, const char *key, int64_t v)
{
        doc_put(o, key, json_integer(v));
}

void doc_put_bool(json_t *o, const char *key, bool v)
{
        doc_put(o, key, json_boolean(v));
}

void doc_put_time(json_t *o, const char *key, int64_t ms)
{
        char text[TEXT_TIME_MAX];

        doc_put_str(o, key, text_time(ms, text));
}

void doc_put_id(json_t *o, const char *key, const ProtobufCBinaryData *id)
{
        doc_put_str(o, key, text_id(id, false).s);
}

void doc_put_list(json_t *o, const char *key, char *const *v, size_t n)
{
        json_t *list = json_array();

        for (size_t i = 0; i < n; i++)
                json_array_append_new(list, str_new(v[i]));
        if (n)
                doc_put(o, key, list);
        else
                json_decref(list);
}

void doc_put_map(json_t *o, const char *key, Swarm__KeyValue *const *v, size_t n)
{
        json_t *map = json_object();

        for (size_t i = 0; i < n; i++)
                doc_put_str(map, v[i]->key, v[i]->value);
        doc_put(o, key, map);
}

static json_t *generic_one(const Swarm__GenericResource *g, const char *name)
{
        json_t *o = json_object(), *spec = json_object();

        doc_put_str(spec, "Kind", g->kind);
        if (name)
                doc_put_str(spec, "Value", name);
        else
                doc_put_int(spec, "Value", g->count);
        doc_put(o, name ? "NamedResourceSpec" : "DiscreteResourceSpec", spec);
        return o;
}

static void put_generic(json_t *o, Swarm__GenericResource *const *v, size_t n)
{
        json_t *list = json_array();

        for (size_t i = 0; i < n; i++) {
                for (size_t k = 0; k < v[i]->n_names; k++)
                        json_array_append_new(list, generic_one(v[i], v[i]->names[k]));
                if (!v[i]->n_names)
                        json_array_append_new(list, generic_one(v[i], NULL));
        }
        if (n)
                doc_put(o, "GenericResources", list);
        else
                json_decref(list);
}

json_t *doc_resources(const Swarm__Resources *r)
{
        json_t *o = json_object();

        if (!r)
                return o;
        if (r->nano_cpus)
                doc_put_int(o, "NanoCPUs", r->nano_cpus);
        if (r->memory_bytes)
                doc_put_int(o, "MemoryBytes", r->memory_bytes);
        if (r->pids)
                doc_put_int(o, "Pids", r->pids);
        put_generic(o, r->generic, r->n_generic);
        return o;
}

static json_t *task_status(const Swarm__Task *t)
{
        json_t *o = json_object();

        doc_put_time(o, "Timestamp", t->state_ms);
        doc_put_str(o, "State", task_state_name((enum task_state)t->state));
        doc_put_str_if(o, "Message", t->message);
        doc_put_str_if(o, "Err", t->error);
        if (t->state >= TASK_COMPLETE) {
                json_t *c = json_object();

                doc_put_int(c, "ExitCode", t->exit_code);
                doc_put(o, "ContainerStatus", c);
        }
        return o;
}

json_t *doc_task(const Swarm__Task *t)
{
        json_t *o = json_object(), *version = json_object();

        doc_put_id(o, "ID", &t->id);
        doc_put_int(version, "Index", (int64_t)t->spec_version);
        doc_put(o, "Version", version);
        doc_put_time(o, "CreatedAt", t->created_ms);
        doc_put_time(o, "UpdatedAt", t->state_ms);
        if (t->spec)
                doc_put(o, "Spec", doc_task_spec(t->spec));
        doc_put_id(o, "ServiceID", &t->service_id);
        doc_put_str(o, "ServiceName", t->service_name);
        if (t->slot)
                doc_put_int(o, "Slot", (int64_t)t->slot);
        doc_put_id(o, "NodeID", &t->node_id);
        doc_put_str(o, "NodeHostname", t->node_hostname);
        if (t->failures)
                doc_put_int(o, "Failures", t->failures);
        if (t->not_before_ms)
                doc_put_time(o, "RestartAt", t->not_before_ms);
        doc_put(o, "Status", task_status(t));
        doc_put_str(o, "DesiredState", task_state_name((enum task_state)t->desired));
        put_generic(o, t->generic, t->n_generic);
        return o;
}

static json_t *node_description(const Swarm__NodeDescription *d)
{
        json_t *o = json_object(), *platform = json_object(), *engine = json_object();

        if (d) {
                doc_put_str(o, "Hostname", d->hostname);
                doc_put_str(platform, "Architecture", d->arch);
                doc_put_str(platform, "OS", d->os);
                doc_put_str(engine, "EngineVersion", d->engine_version);
                doc_put_map(engine, "Labels", d->engine_labels, d->n_engine_labels);
        }
        doc_put(o, "Platform", platform);
        doc_put(o, "Resources", doc_resources(d ? d->capacity : NULL));
        doc_put(o, "Engine", engine);
        return o;
}

json_t *doc_node(const Swarm__Node *n)
{
        json_t *o = json_object(), *version = json_object(), *spec = json_object();
        json_t *status = json_object();

        doc_put_id(o, "ID", &n->id);
        doc_put_int(version, "Index", (int64_t)n->version);
        doc_put(o, "Version", version);
        doc_put_time(o, "CreatedAt", n->created_ms);
        doc_put_time(o, "UpdatedAt", n->updated_ms);
        doc_put_map(spec, "Labels", n->labels, n->n_labels);
        doc_put_str(spec, "Role", node_role_name((enum node_role)n->role));
        doc_put_str(spec, "Availability",
                    node_availability_name((enum node_availability)n->availability));
        doc_put(o, "Spec", spec);
        doc_put(o, "Description", node_description(n->description));
        doc_put_str(status, "State", node_state_name((enum node_state)n->state));
        doc_put_str_if(status, "Message", n->message);
        doc_put_str(status, "Addr", n->description ? n->description->address : "");
        doc_put(o, "Status", status);
        if (n->manager_status != MANAGER_NONE) {
                json_t *m = json_object();
                const bool is_leader = n->manager_status == MANAGER_LEADER;
                const enum manager_status s = (enum manager_status)n->manager_status;

                if (is_leader)
                        doc_put_bool(m, "Leader", true);
                doc_put_str(m, "Reachability", is_leader ? "reachable" : manager_status_name(s));
                doc_put_str(m, "Addr", n->manager_address);
                doc_put(o, "ManagerStatus", m);
        }
        doc_put(o, "Reserved", doc_resources(n->reserved));
        doc_put_int(o, "Tasks", (int64_t)n->tasks);
        return o;
}

json_t *doc_manager(const Swarm__Manager *m)
{
        json_t *o = json_object();
        _cleanup_free_ char *id = xasprintf("%llu", (unsigned long long)m->id);

        doc_put_str(o, "ID", id);
        doc_put_id(o, "NodeID", &m->node_id);
        doc_put_bool(o, "Leader", m->status == MANAGER_LEADER);
        doc_put_int(o, "Behind", m->behind);
        return o;
}

static json_t *cluster_settings(const Swarm__ClusterSettings *s)
{
        json_t *o = json_object(), *orchestration = json_object(), *dispatcher = json_object();
        json_t *encryption = json_object();

        doc_put_int(orchestration, "TaskHistoryRetentionLimit", s->task_history_limit);
        doc_put(o, "Orchestration", orchestration);
        doc_put_int(dispatcher, "HeartbeatPeriod", s->heartbeat_ms * NANO_PER_MS);
        doc_put_int(dispatcher, "SuspectAfter", s->suspect_ms * NANO_PER_MS);
        doc_put_int(dispatcher, "DownAfter", s->down_ms * NANO_PER_MS);
        doc_put_int(dispatcher, "MassFailureWait", s->mass_failure_wait_ms * NANO_PER_MS);
        doc_put(o, "Dispatcher", dispatcher);
        doc_put_bool(encryption, "AutoLockManagers", s->autolock);
        doc_put(o, "EncryptionConfig", encryption);
        return o;
}

json_t *doc_info(const Swarm__Info *i, const Swarm__Cluster *c)
{
        json_t *o = json_object(), *swarm = json_object(), *cluster = json_object();

        doc_put_str(o, "ServerVersion", i->version);
        doc_put_id(swarm, "NodeID", &i->node_id);
        doc_put_str_if(swarm, "Address", i->address);
        doc_put_str(swarm, "Leader", i->leader);
        doc_put_int(swarm, "Managers", (int64_t)i->managers);
        doc_put_int(swarm, "ManagersReachable", (int64_t)i->managers_reachable);
        doc_put_int(swarm, "Nodes", (int64_t)i->nodes);
        doc_put_int(swarm, "NodesReady", (int64_t)i->nodes_ready);
        doc_put_int(swarm, "Services", (int64_t)i->services);
        doc_put_int(swarm, "Tasks", (int64_t)i->tasks);
        doc_put_int(swarm, "TasksRunning", (int64_t)i->tasks_running);
        doc_put_int(swarm, "LogIndex", (int64_t)i->last_index);
        doc_put_id(cluster, "ID", &i->cluster_id);
        if (c && c->settings)
                doc_put(cluster, "Spec", cluster_settings(c->settings));
        doc_put(swarm, "Cluster", cluster);
        doc_put(o, "Swarm", swarm);
        doc_put_int(o, "Images", (int64_t)i->images);
        doc_put(o, "Capacity", doc_resources(i->capacity));
        doc_put(o, "Reserved", doc_resources(i->reserved));
        doc_put_str(o, "Warning", i->warning);
        return o;
}

json_t *doc_event(const Swarm__Event *e)
{
        json_t *o = json_object(), *actor = json_object(), *attributes = json_object();

        doc_put_str(o, "Type", e->type);
        doc_put_str(o, "Action", e->action);
        doc_put_str(actor, "ID", e->id);
        for (size_t i = 0; i < e->n_attributes; i++)
                doc_put_str(attributes, e->attributes[i]->key, e->attributes[i]->value);
        doc_put_str_if(attributes, "name", e->name);
        doc_put(actor, "Attributes", attributes);
        doc_put(o, "Actor", actor);
        doc_put_str(o, "scope", "swarm");
        doc_put_int(o, "time", e->time_ms / 1000);
        doc_put_int(o, "timeNano", e->time_ms * NANO_PER_MS);
        return o;
}

static json_t *doc_end(const char *version, struct protocol_range range)
{
        json_t *o = json_object();

        doc_put_str(o, "Version", version);
        doc_put(o, "APIVersion", json_integer(range.newest));
        doc_put(o, "MinAPIVersion", json_integer(range.oldest));
        return o;
}

json_t *doc_version(const char *client, const Swarm__Info *server)
{
        json_t *o = json_object();

        doc_put(o, "Client", doc_end(client, CONTROL_PROTOCOLS));
        if (server)
                doc_put(o, "Server",
                        doc_end(server->version,
                                protocol_told(server->protocol_oldest, server->protocol)));
        return o;
}

json_t *doc_parse(const void *p, size_t n)
{
        return json_loadb(p, n, JSON_REJECT_DUPLICATES, NULL);
}

void doc_free(json_t *doc)
{
        json_decref(doc);
}

void inspection_init(struct inspection *i)
{
        i->docs = json_array();
}

void inspection_add(struct inspection *i, json_t *take_doc)
{
        json_array_append_new(i->docs, take_doc);
}

void inspection_done(struct inspection *i)
{
        json_decref(i->docs);
        i->docs = NULL;
}

int inspection_print(const struct inspection *i, const char *format, struct buf *out,
                     struct err *err)
{
        struct template *t = NULL;
        size_t k;
        json_t *doc;
        int r = 0;

        if (!format || str_is_equal(format, "json")) {
                char *s = json_dumps(i->docs, format ? JSON_COMPACT : JSON_INDENT(4));

                buf_puts(out, s ? s : "[]");
                buf_putc(out, '\n');
                free(s);
                return 0;
        }
        r = template_parse(format, &t, err);
        if (r < 0)
                return r;
        json_array_foreach(i->docs, k, doc)
        {
                r = template_run(t, NULL, doc, out, err);
                if (r < 0)
                        break;
                buf_putc(out, '\n');
        }
        template_free(t);
        return r;
}
