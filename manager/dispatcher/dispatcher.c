/* Joining, sessions and what they hear: see dispatcher.h. */
#include "manager/dispatcher/dispatcher.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "manager/dispatcher/dispatcher_internal.h"
#include "shared/base/mem.h"
#include "shared/base/parse.h"
#include "shared/base/str.h"
#include "shared/model/protocol.h"
#include "shared/wire/wire.h"

/* --- sessions -----------------------------------------------------------------------------------
 */
struct session *session_of(struct node *node)
{
        return node->session;
}

static struct session *session_new(struct node *node)
{
        struct session *s = xnew(struct session);

        s->node = node;
        list_init(&s->live_link);
        list_init(&s->tell_link);
        s->specs = MAP_INIT(struct sent_spec, key, MAP_KEY_ID);
        node->session = s;
        return s;
}

void session_close(struct session *s)
{
        struct task *task;

        LIST_FOREACH (task, &s->node->tasks, node_link) {
                task->flags &= (uint8_t)~TASK_FLAG_TELL;
        }
        list_remove(&s->tell_link);
        assign_forget_specs(s);
        id_list_done(&s->dirty);
        id_list_done(&s->removed);
        s->id = (struct id){0};
        s->needs_complete = s->must_ack = false;
        s->refuse_at_ms = 0;
        s->status_seq = s->assign_seq = s->confirmed_seq = 0;
}

static void session_free(struct dispatcher *d, struct session *s)
{
        liveness_forget(d, s);
        session_close(s);
        twin_forget(s);
        s->node->session = NULL;
        free(s);
}

void session_must_tell(struct dispatcher *d, struct session *s)
{
        if (!list_is_linked(&s->tell_link))
                list_push_back(&d->tell, &s->tell_link);
}

/* --- the store's changes ------------------------------------------------------------------------
 */
static void on_task(void *arg, struct task *task, enum change_kind kind,
                    const struct task_before *before)
{
        assign_on_task(arg, task, kind, before);
}

static void on_node(void *arg, struct node *node, enum change_kind kind)
{
        struct dispatcher *d = arg;

        newcomers_on_node(d, node);
        if (kind != CHANGE_REMOVED)
                return;
        struct removed_node *r = xnew(struct removed_node);

        r->id = node->id;
        memcpy(r->key, node->public_key, sizeof(r->key));
        list_push_back(&d->removed_nodes, &r->link);
        logs_on_node_down(d->logs, node->id);
        if (node->session)
                session_free(d, node->session);
}

/* --- life ---------------------------------------------------------------------------------------
 */
/* Nodes that were ready have to find this manager first: they are waited for as if heard when they
 * should have; those that were down count anew. */
static void expect_nodes(struct dispatcher *d, struct now now)
{
        int64_t here_ms = now.mono_ms + RECONNECT_MS +
                          dispatcher_setting_ms(dispatcher_settings(d)->down_ms, DEFAULT_DOWN_MS);
        struct node *node;
        size_t i;

        MAP_FOREACH (node, i, store_nodes(d->store)) {
                if (node->state == NODE_SUSPECT) /* when this manager led before */
                        store_set_node_state(d->store, node, NODE_READY, NULL, now.wall_ms);
                if (node->state != NODE_READY && node->state != NODE_DOWN)
                        continue;
                struct session *s = session_new(node);
                s->is_awaited = true;
                if (node->state == NODE_READY) {
                        s->heard_ms = here_ms;
                        list_push_back(&d->awaited, &s->live_link);
                        d->live_count++;
                } else {
                        s->heard_ms = now.mono_ms;
                        list_push_back(&d->down, &s->live_link);
                }
        }
}

struct dispatcher *dispatcher_new(struct store *store, struct logs *logs,
                                  const struct turn_config *config, struct now now)
{
        struct dispatcher *d = xnew(struct dispatcher);

        d->store = store;
        d->logs = logs;
        d->config = *config;
        d->batch = batch_new();
        list_init(&d->awaited);
        list_init(&d->told);
        list_init(&d->live);
        list_init(&d->suspect);
        list_init(&d->down);
        list_init(&d->tell);
        list_init(&d->removed_nodes);
        d->check_ms = TIME_NEVER;
        d->begun_ms = now.mono_ms;
        expect_nodes(d, now);
        d->watch = (struct store_watch){.arg = d, .on_task = on_task, .on_node = on_node};
        store_watch(store, &d->watch);
        return d;
}

void dispatcher_free(struct dispatcher *d)
{
        struct node *node;
        struct list *l;
        size_t i;

        if (!d)
                return;
        MAP_FOREACH (node, i, store_nodes(d->store)) {
                if (node->session)
                        session_free(d, node->session);
        }
        while ((l = list_pop_front(&d->removed_nodes)))
                free(LIST_ITEM(l, struct removed_node, link));
        list_remove(&d->watch.link);
        batch_free(d->batch);
        free(d);
}

/* --- joining ------------------------------------------------------------------------------------
 */
static void refuse(struct list *effects, struct peer to, int code, const char *text)
{
        Swarm__ManagerMessage m = SWARM__MANAGER_MESSAGE__INIT;
        Swarm__Refused refused = SWARM__REFUSED__INIT;

        refused.code = (uint32_t)code;
        refused.text = (char *)text;
        m.kind_case = SWARM__MANAGER_MESSAGE__KIND_REFUSED;
        m.refused = &refused;
        effect_agent(effects, to, &m);
}

/* Takes the same time whatever differs. */
static bool is_secret_equal(const char *given, const char *secret)
{
        size_t n = strlen(secret), given_len = strlen(given);
        unsigned char differs = n == 0 || given_len != n;

        for (size_t i = 0; i < n; i++)
                differs |= (unsigned char)(secret[i] ^ (given_len ? given[i % given_len] : 0));
        return !differs;
}

static void say_joined(struct dispatcher *d, struct list *effects, struct peer from,
                       const struct node *node, const Swarm__Join *asked)
{
        Swarm__ManagerMessage m = SWARM__MANAGER_MESSAGE__INIT;
        Swarm__Joined joined = SWARM__JOINED__INIT;
        uint8_t id[ID_BYTES];

        effect_allow_key(effects, node->id, node->public_key);
        joined.node_id = wire_id(node->id, id);
        if (asked->manager_id) {
                joined.cluster_secret_key = store_cluster(d->store)->msg->secret_key;
                joined.unlock_key = store_cluster(d->store)->msg->unlock_key;
        }
        m.kind_case = SWARM__MANAGER_MESSAGE__KIND_JOINED;
        m.joined = &joined;
        effect_agent(effects, from, &m);
}

static bool has_room_for_manager(struct dispatcher *d, struct peer from, struct list *effects)
{
        bool has_room = store_count_managers(d->store) < CLUSTER_MANAGERS_MAX;

        if (!has_room)
                refuse(effects, from, ENOSPC, "the cluster has as many managers as it can have");
        return has_room;
}

/* A manager on a node that is known: one that was promoted, or that holds the managers' token; or
 * one that has moved. */
static void join_known(struct dispatcher *d, struct now now, struct peer from, struct node *node,
                       const Swarm__Join *m, bool has_token, struct list *effects)
{
        if (m->manager_id && node->role != ROLE_MANAGER && !has_token) {
                refuse(effects, from, EACCES,
                       "this node is a worker: promote it, or join with the managers' token");
                return;
        }
        if (m->manager_id && node->role != ROLE_MANAGER && !has_room_for_manager(d, from, effects))
                return;
        if (m->manager_id && node->role != ROLE_MANAGER)
                store_set_node_spec(d->store, node, node->availability, ROLE_MANAGER,
                                    (const Swarm__KeyValue *const *)node->labels->labels,
                                    node->labels->n_labels, now.wall_ms);
        if (m->manager_id && (node->manager_id != m->manager_id ||
                              !str_is_equal(node->manager_address, m->manager_address)))
                store_set_node_manager(d->store, node, m->manager_id, m->manager_address,
                                       now.wall_ms);
        say_joined(d, effects, from, node, m);
}

static void on_join(struct dispatcher *d, struct now now, struct peer from, const uint8_t key[32],
                    const Swarm__Join *m, struct rng *rng, struct list *effects)
{
        const Swarm__Cluster *c = store_cluster(d->store)->msg;
        bool is_worker = is_secret_equal(m->secret, c->worker_secret);
        bool is_manager = is_secret_equal(m->secret, c->manager_secret);
        struct node *node = store_find_node_by_key(d->store, key);
        char address[ADDRESS_TEXT_MAX];
        struct err err = {0};

        if (m->manager_id &&
            (parse_host_port(m->manager_address, 0, address) < 0 || m->role != ROLE_MANAGER)) {
                refuse(effects, from, EINVAL, "a manager joins with its address, as a manager");
                return;
        }
        if (node) {
                join_known(d, now, from, node, m, is_manager, effects);
                return;
        }
        if (!is_worker && !is_manager) {
                refuse(effects, from, EACCES, "the join token is wrong or was rotated");
                return;
        }
        enum node_role role = is_manager ? ROLE_MANAGER : ROLE_WORKER;
        if (m->role != role) {
                refuse(effects, from, EACCES,
                       is_manager ? "this is a join token for managers, not for workers"
                                  : "this is a join token for workers, not for managers");
                return;
        }
        if (description_check(m->description, &err) < 0) {
                refuse(effects, from, err.code, err.text);
                return;
        }
        if (store_nodes(d->store)->len >= CLUSTER_NODES_MAX) {
                refuse(effects, from, ENOSPC, "the cluster has as many nodes as it can have");
                return;
        }
        if (role == ROLE_MANAGER && !has_room_for_manager(d, from, effects))
                return;
        node = store_add_node(d->store, id_make(rng), key, role, now.wall_ms);
        store_set_node_description(d->store, node, m->description, now.wall_ms);
        if (m->manager_id)
                store_set_node_manager(d->store, node, m->manager_id, m->manager_address,
                                       now.wall_ms);
        say_joined(d, effects, from, node, m);
}

/* --- registering --------------------------------------------------------------------------------
 */
static void say_session(struct dispatcher *d, struct session *s, uint64_t answers, int protocol,
                        struct list *effects)
{
        const Swarm__ClusterSettings *c = dispatcher_settings(d);
        Swarm__ManagerMessage m = SWARM__MANAGER_MESSAGE__INIT;
        Swarm__Session session = SWARM__SESSION__INIT;
        uint8_t id[ID_BYTES], node_id[ID_BYTES];

        session.session = wire_id(s->id, id);
        session.node_id = wire_id(s->node->id, node_id);
        session.heartbeat_ms = dispatcher_setting_ms(c->heartbeat_ms, DEFAULT_HEARTBEAT_MS);
        session.dead_ms = dispatcher_setting_ms(c->down_ms, DEFAULT_DOWN_MS);
        session.n_managers = strv_len(d->config.managers);
        session.managers = (char **)d->config.managers;
        session.n_node_labels = s->node->labels->n_labels;
        session.node_labels = s->node->labels->labels;
        session.answers = answers;
        session.role = s->node->role;
        session.protocol = (uint32_t)protocol;
        s->managers = d->managers;
        session.leader_key = store_cluster(d->store)->msg->public_key;
        m.session = session.session;
        m.kind_case = SWARM__MANAGER_MESSAGE__KIND_SESSION_START;
        m.session_start = &session;
        effect_agent(effects, (struct peer){.node = s->node->id}, &m);
}

/* On the version of the protocol. */
static int agree(const Swarm__NodeDescription *d, struct err *err)
{
        struct protocol_end agent = {"the agent", protocol_told(d->protocol_oldest, d->protocol)};
        struct protocol_end managers = {"the managers", DISPATCH_PROTOCOLS};

        return protocol_agree("dispatch", &agent, &managers, err);
}

/* 0: it may have the session, and *ret_protocol is what is spoken; else it was refused, or waits.
 */
static int check_register(struct dispatcher *d, struct session *s, struct now now,
                          uint64_t connection, const Swarm__Register *m, int *ret_protocol,
                          struct list *effects)
{
        struct err err = {0};
        int r = description_check(m->description, &err);

        if (r == 0)
                r = twin_look(d, s, now, m->description, &err);
        if (r > 0)
                return r;
        if (r == 0)
                r = *ret_protocol = agree(m->description, &err);
        if (r < 0) /* not to where the node's session may be */
                refuse(effects, (struct peer){.connection = connection}, err.code, err.text);
        return MIN(r, 0);
}

static void on_register(struct dispatcher *d, struct now now, struct node *node,
                        uint64_t connection, const Swarm__Register *m, struct rng *rng,
                        struct list *effects)
{
        struct session *s = node->session ? node->session : session_new(node);
        int protocol;

        if (check_register(d, s, now, connection, m, &protocol, effects) != 0)
                return;
        effect_route(effects, node->id, connection);
        session_close(s);
        s->id = id_make(rng);
        s->connection = connection;
        s->needs_complete = true;
        liveness_heard(d, s, now);
        if (!node->description || !description_is_equal(node->description, m->description))
                store_set_node_description(d->store, node, m->description, now.wall_ms);
        logs_on_session(d->logs, node->id);
        say_session(d, s, m->number, protocol, effects);
        session_must_tell(d, s);
}

/* --- what a session hears -----------------------------------------------------------------------
 */
static void on_heartbeat(struct dispatcher *d, struct session *s, struct now now,
                         const Swarm__Heartbeat *m, struct list *effects)
{
        Swarm__ManagerMessage reply = SWARM__MANAGER_MESSAGE__INIT;
        Swarm__HeartbeatReply beat = SWARM__HEARTBEAT_REPLY__INIT;
        uint8_t id[ID_BYTES];

        store_set_node_disk_full(d->store, s->node, m->is_disk_full);
        beat.next_ms = liveness_next_beat_ms(d, s->node, now);
        beat.role = s->node->role;
        if (s->managers != d->managers) {
                beat.n_managers = strv_len(d->config.managers);
                beat.managers = (char **)d->config.managers;
                s->managers = d->managers;
        }
        reply.session = wire_id(s->id, id);
        reply.kind_case = SWARM__MANAGER_MESSAGE__KIND_HEARTBEAT;
        reply.heartbeat = &beat;
        effect_agent(effects, (struct peer){.node = s->node->id}, &reply);

        s->confirmed_seq = MAX(s->confirmed_seq, m->assigned_seq);
        if (s->confirmed_seq < s->assign_seq && !s->needs_complete &&
            now.mono_ms - s->assigned_ms >= ASSIGN_RETRY_MS) {
                s->needs_complete = true;
                session_must_tell(d, s);
        }
}

static void on_session_message(struct dispatcher *d, struct session *s, struct now now,
                               const Swarm__AgentMessage *m, struct list *effects)
{
        liveness_heard(d, s, now);
        switch (m->kind_case) {
        case SWARM__AGENT_MESSAGE__KIND_HEARTBEAT:
                on_heartbeat(d, s, now, m->heartbeat, effects);
                break;
        case SWARM__AGENT_MESSAGE__KIND_STATUS: status_on_batch(d, s, now, m->status); break;
        case SWARM__AGENT_MESSAGE__KIND_LOG_DATA:
                logs_on_data(d->logs, s->node->id, m->log_data);
                break;
        case SWARM__AGENT_MESSAGE__KIND_LOG_END:
                logs_on_end(d->logs, s->node->id, m->log_end);
                break;
        default: break;
        }
}

/* A whole queue of an agent's messages may be on its way when its session ends: that is said once,
 * not for each of them. */
static void refuse_stale(struct node *node, struct now now, struct list *effects)
{
        struct session *s = node->session;

        if (s && now.mono_ms < s->refuse_at_ms)
                return;
        if (s)
                s->refuse_at_ms = now.mono_ms + REFUSE_AGAIN_MS;
        refuse(effects, (struct peer){.node = node->id}, ESTALE,
               "the session is not known: register");
}

void dispatcher_on_message(struct dispatcher *d, struct now now, struct peer from,
                           const uint8_t key[32], const Swarm__AgentMessage *m, struct rng *rng,
                           struct list *effects)
{
        struct node *node = id_is_zero(from.node) ? NULL : store_find_node(d->store, from.node);
        struct id session;

        if (m->kind_case == SWARM__AGENT_MESSAGE__KIND_JOIN) {
                /* Answered where it came from: it may be a manager, beside its node's agent. */
                on_join(d, now, (struct peer){.connection = from.connection}, key, m->join, rng,
                        effects);
                return;
        }
        if (!node) {
                bool was_known = !id_is_zero(from.node);
                refuse(effects, from, EACCES,
                       was_known ? "this node was removed from the cluster"
                                 : "this node is not known: join with a token");
                if (was_known)
                        effect_forget_key(effects, from.node, key);
                return;
        }
        struct session *s = node->session;
        if (s && from.connection < s->connection)
                return; /* the last words of a connection that the agent has left */
        if (m->kind_case == SWARM__AGENT_MESSAGE__KIND_REGISTER) {
                on_register(d, now, node, from.connection, m->register_, rng, effects);
                return;
        }
        if (!s || id_is_zero(s->id) || wire_get_id(&m->session, &session) < 0 ||
            !id_is_equal(session, s->id) || from.connection != s->connection) {
                refuse_stale(node, now, effects);
                return;
        }
        on_session_message(d, s, now, m, effects);
}

void dispatcher_on_lost(struct dispatcher *d, struct id node_id)
{
        struct node *node = store_find_node(d->store, node_id);

        if (node && node->session)
                session_close(node->session);
}

void dispatcher_managers_changed(struct dispatcher *d)
{
        d->managers++;
}

void dispatcher_on_heard(struct dispatcher *d, struct now now, struct id node_id, int64_t heard_ms,
                         bool is_gone)
{
        struct node *node = store_find_node(d->store, node_id);

        if (node && node->session)
                liveness_was_heard(d, node->session, now, heard_ms, is_gone);
}

/* --- what agents are told -----------------------------------------------------------------------
 */
static void say_acknowledged(struct session *s, struct list *effects)
{
        Swarm__ManagerMessage m = SWARM__MANAGER_MESSAGE__INIT;
        Swarm__StatusAck ack = SWARM__STATUS_ACK__INIT;
        uint8_t id[ID_BYTES];

        ack.seq = s->status_seq;
        m.session = wire_id(s->id, id);
        m.kind_case = SWARM__MANAGER_MESSAGE__KIND_STATUS_ACK;
        m.status_ack = &ack;
        effect_agent(effects, (struct peer){.node = s->node->id}, &m);
        s->must_ack = false;
}

static void say_removed(struct dispatcher *d, struct list *effects)
{
        struct list *l;

        while ((l = list_pop_front(&d->removed_nodes))) {
                struct removed_node *r = LIST_ITEM(l, struct removed_node, link);

                refuse(effects, (struct peer){.node = r->id}, EACCES,
                       "this node was removed from the cluster");
                effect_forget_key(effects, r->id, r->key);
                free(r);
        }
}

struct log_target {
        struct dispatcher *d;
        struct list *effects;
};

static void tell_log(void *arg, struct id node_id, Swarm__ManagerMessage *m)
{
        struct log_target *t = arg;
        struct node *node = store_find_node(t->d->store, node_id);
        struct session *s = node ? node->session : NULL;
        uint8_t id[ID_BYTES];

        if (!s || id_is_zero(s->id))
                return;
        m->session = wire_id(s->id, id);
        effect_agent(t->effects, (struct peer){.node = node_id}, m);
}

bool dispatcher_send(struct dispatcher *d, struct now now, struct list *effects)
{
        struct log_target target = {d, effects};
        size_t bytes = 0;

        say_removed(d, effects);
        while (!list_is_empty(&d->tell) && bytes < TURN_EFFECT_BYTES_MAX) {
                struct session *s = LIST_ITEM(d->tell.next, struct session, tell_link);

                list_remove(&s->tell_link);
                if (s->must_ack)
                        say_acknowledged(s, effects);
                bytes += assign_send(d, s, now, effects);
        }
        logs_flush(d->logs, tell_log, &target);
        return !list_is_empty(&d->tell);
}
