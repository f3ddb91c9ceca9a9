/* The dispatcher, driven through the turn: joins, sessions, assignments, reports, silence. */
#include "tests/lib/unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "manager/identity/identity.h"
#include "shared/base/base.h"
#include "shared/wire/wire.h"
#include "tests/lib/turn_rig.h"

#define KIND(k) SWARM__MANAGER_MESSAGE__KIND_##k

static struct peer to(const struct core_node *n)
{
        return (struct peer){.node = n->id};
}

static enum node_state state_of(struct core *r, const struct core_node *n)
{
        return store_find_node(r->store, n->id)->state;
}

static struct task *only_task(struct core *r)
{
        size_t i = 0;

        assert_int_equal(store_tasks(r->store)->len, 1);
        return map_next(store_tasks(r->store), &i);
}

static bool is_refused_as_stale(struct core *r, const struct core_node *n)
{
        core_heartbeat(r, n, 1);
        core_run(r);
        const Swarm__ManagerMessage *m = core_take_message(r, to(n), KIND(REFUSED));
        return m && m->refused->code == ESTALE;
}

/* --- joining ------------------------------------------------------------------------------------
 */
static const Swarm__ManagerMessage *join(struct core *r, const char *secret, uint32_t role,
                                         const char *hostname, Swarm__ManagerMessage__KindCase kind)
{
        Swarm__AgentMessage m = SWARM__AGENT_MESSAGE__INIT;
        Swarm__Join j = SWARM__JOIN__INIT;
        Swarm__NodeDescription d;
        Swarm__Resources capacity;
        struct peer from = {.connection = 5};
        uint8_t key[32] = "a new key";

        core_describe(&d, &capacity, hostname);
        j.secret = (char *)secret;
        j.role = role;
        j.description = &d;
        m.kind_case = SWARM__AGENT_MESSAGE__KIND_JOIN;
        m.join = &j;
        core_say(r, from, key, &m);
        core_run(r);
        return core_take_message(r, from, kind);
}

static void test_join(void **state UNUSED)
{
        const Swarm__ManagerMessage *m;
        struct id first, again, allowed;
        struct core r;

        core_open(&r);
        m = join(&r, CORE_MANAGER_SECRET, ROLE_MANAGER, "m1", KIND(JOINED));
        assert_non_null(m);
        assert_int_equal(wire_get_id(&m->joined->node_id, &first), 0);
        assert_true(core_take_effect(&r, EFFECT_ALLOW_KEY, &allowed));
        assert_true(id_is_equal(allowed, first));
        assert_int_equal(store_find_node(r.store, first)->role, ROLE_MANAGER);
        /* the same key again, whatever token: the same node */
        m = join(&r, "", ROLE_WORKER, "m1", KIND(JOINED));
        assert_non_null(m);
        assert_int_equal(wire_get_id(&m->joined->node_id, &again), 0);
        assert_true(id_is_equal(first, again));
        assert_int_equal(store_nodes(r.store)->len, 1);
        core_close(&r);
}

static void test_join_refused(void **state UNUSED)
{
        static const struct {
                const char *secret;
                uint32_t role;
                const char *hostname;
                int code;
                const char *text;
        } cases[] = {
                {"", 0, "w", EACCES, "the join token is wrong or was rotated"},
                {"worker-secreT", 0, "w", EACCES, "the join token is wrong or was rotated"},
                {"worker-secret2", 0, "w", EACCES, "the join token is wrong or was rotated"},
                {CORE_WORKER_SECRET, 1, "w", EACCES,
                 "this is a join token for workers, not for managers"},
                {CORE_MANAGER_SECRET, 0, "w", EACCES,
                 "this is a join token for managers, not for workers"},
                {CORE_WORKER_SECRET, 0, "", EINVAL, "invalid hostname \"\""},
                {CORE_WORKER_SECRET, 0, "a b", EINVAL, "invalid hostname \"a b\""},
                {CORE_WORKER_SECRET, 0, "a\x1b[2J", EINVAL,
                 "hostname has control characters or is not UTF-8"},
        };
        struct core r;

        core_open(&r);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                const Swarm__ManagerMessage *m =
                        join(&r, cases[i].secret, cases[i].role, cases[i].hostname, KIND(REFUSED));
                assert_non_null(m);
                assert_int_equal(m->refused->code, cases[i].code);
                assert_string_equal(m->refused->text, cases[i].text);
        }
        assert_int_equal(store_nodes(r.store)->len, 0);
        assert_false(core_take_effect(&r, EFFECT_ALLOW_KEY, NULL));
        core_close(&r);
}

/* Each of its texts is fine, and all of them are too much. */
static void test_large_description(void **state UNUSED)
{
        static char value[256];
        Swarm__KeyValue label = SWARM__KEY_VALUE__INIT, *labels[256];
        Swarm__AgentMessage m = SWARM__AGENT_MESSAGE__INIT;
        Swarm__Register reg = SWARM__REGISTER__INIT;
        const Swarm__ManagerMessage *reply;
        Swarm__NodeDescription d;
        Swarm__Resources capacity;
        struct core_node n;
        struct core r;

        core_open(&r);
        core_add_node(&r, "w1", &n);
        const struct peer from = {.connection = n.connection, .node = n.id};
        memset(value, 'x', sizeof(value) - 1);
        label.key = value;
        label.value = (char *)"";
        for (size_t i = 0; i < ARRAY_SIZE(labels); i++)
                labels[i] = &label;
        core_describe(&d, &capacity, "w1");
        d.engine_labels = labels;
        d.n_engine_labels = ARRAY_SIZE(labels);
        reg.description = &d;
        m.kind_case = SWARM__AGENT_MESSAGE__KIND_REGISTER;
        m.register_ = &reg;
        core_say(&r, from, n.key, &m);
        core_run(&r);
        reply = core_take_message(&r, (struct peer){.connection = n.connection}, KIND(REFUSED));
        assert_non_null(reply);
        assert_int_equal(reply->refused->code, EINVAL);
        assert_string_equal(reply->refused->text, "the node's description is larger than 64 KiB");
        d.n_engine_labels = 240;
        core_say(&r, from, n.key, &m);
        core_run(&r);
        assert_non_null(core_take_message(&r, to(&n), KIND(SESSION_START)));
        core_close(&r);
}

/* What agents of other versions understand, and what is spoken with them. */
static void test_protocols(void **state UNUSED)
{
        static const struct {
                uint32_t oldest, newest, spoken;
                const char *text; /* when it is refused */
        } cases[] = {
                {0, DISPATCH_PROTOCOL, DISPATCH_PROTOCOL, NULL},
                {1, DISPATCH_PROTOCOL, DISPATCH_PROTOCOL, NULL},
                {DISPATCH_PROTOCOL, 9, DISPATCH_PROTOCOL, NULL},
                {0, 1, 0,
                 "the agent speaks dispatch protocol 1, the managers 2: upgrade the agent"},
                {8, 9, 0,
                 "the agent speaks dispatch protocol 8 to 9, the managers 2: upgrade the managers"},
        };
        struct core_node n;
        struct core r;

        core_open(&r);
        core_add_node(&r, "w1", &n);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                n.protocol_oldest = cases[i].oldest;
                n.protocol = cases[i].newest;
                core_say_register(&r, "w1", &n);
                core_run(&r);
                const Swarm__ManagerMessage *m = core_take_message(&r, to(&n), KIND(SESSION_START));
                assert_int_equal(m != NULL, cases[i].spoken != 0);
                if (m)
                        assert_int_equal(m->session_start->protocol, cases[i].spoken);
                m = core_take_message(&r, (struct peer){.connection = n.connection}, KIND(REFUSED));
                assert_int_equal(m != NULL, cases[i].text != NULL);
                if (m)
                        assert_string_equal(m->refused->text, cases[i].text);
        }
        core_close(&r);
}

static void test_register(void **state UNUSED)
{
        struct core_node n, stranger = {.id = {1, 2}};
        const Swarm__ManagerMessage *m;
        struct core r;

        core_open(&r);
        core_add_node(&r, "w1", &n);
        assert_int_equal(state_of(&r, &n), NODE_READY);
        m = core_take_message(&r, to(&n), KIND(ASSIGNMENTS));
        assert_non_null(m);
        assert_true(m->assignments->is_complete && !m->assignments->is_continued);
        assert_int_equal(m->assignments->applies_to, 0);
        assert_int_equal(m->assignments->n_tasks, 0);

        /* a new session ends the older one, and takes a new description */
        struct core_node old = n;
        core_register(&r, "w1-renamed", &n);
        assert_false(id_is_equal(old.session, n.session));
        assert_string_equal(node_hostname(store_find_node(r.store, n.id)), "w1-renamed");
        core_heartbeat(&r, &old, 0);
        core_run(&r);
        m = core_take_message(&r, to(&n), KIND(REFUSED));
        assert_non_null(m);
        assert_int_equal(m->refused->code, ESTALE);
        core_heartbeat(&r, &n, 0);
        core_run(&r);
        m = core_take_message(&r, to(&n), KIND(HEARTBEAT));
        assert_non_null(m);
        assert_in_range(m->heartbeat->next_ms, 1, DEFAULT_HEARTBEAT_MS);

        core_heartbeat(&r, &stranger, 0);
        core_run(&r);
        m = core_take_message(&r, to(&stranger), KIND(REFUSED));
        assert_non_null(m);
        assert_int_equal(m->refused->code, EACCES);
        assert_true(core_take_effect(&r, EFFECT_FORGET_KEY, NULL));
        core_close(&r);
}

/* --- assignments --------------------------------------------------------------------------------
 */
/* Wherever in the period a node begins, after a few heartbeats it speaks at the moment of its
 * group: the same one for few nodes. It is never asked to wait for longer than the period. */
static void test_heartbeats_come_together(void **state UNUSED)
{
        int64_t moment_ms = -1;
        struct core_node n[3];
        struct core r;

        core_open(&r);
        for (size_t i = 0; i < ARRAY_SIZE(n); i++) {
                core_add_node(&r, (const char *[]){"w1", "w2", "w3"}[i], &n[i]);
                r.now.mono_ms += 130; /* somewhere in the period */
                for (int beat = 0; beat < 4; beat++) {
                        core_heartbeat(&r, &n[i], 0);
                        core_run(&r);
                        int64_t next_ms = core_take_message(&r, to(&n[i]), KIND(HEARTBEAT))
                                                  ->heartbeat->next_ms;
                        assert_in_range(next_ms, DEFAULT_HEARTBEAT_MS / 4, DEFAULT_HEARTBEAT_MS);
                        r.now.mono_ms += next_ms;
                }
                if (i > 0)
                        assert_int_equal(r.now.mono_ms % DEFAULT_HEARTBEAT_MS, moment_ms);
                moment_ms = r.now.mono_ms % DEFAULT_HEARTBEAT_MS;
        }
        core_close(&r);
}

/* What may have lost a message ends the session, and not the node. */
static void test_session_of_one_connection(void **state UNUSED)
{
        struct core_node n;
        struct core r;

        core_open(&r);
        core_add_node(&r, "w1", &n);
        assert_false(is_refused_as_stale(&r, &n));
        n.connection = 2;
        assert_true(is_refused_as_stale(&r, &n));
        core_register(&r, "w1", &n);
        assert_false(is_refused_as_stale(&r, &n));
        assert_non_null(core_take_message(&r, to(&n), KIND(ASSIGNMENTS)));
        turn_input_agent_lost(r.turn, n.id);
        core_run(&r);
        assert_true(is_refused_as_stale(&r, &n));
        assert_int_equal(state_of(&r, &n), NODE_READY);
        core_register(&r, "w1", &n);
        assert_false(is_refused_as_stale(&r, &n));
        turn_input_agent_lost(r.turn, (struct id){7, 7});
        core_run(&r);
        assert_false(is_refused_as_stale(&r, &n));
        core_close(&r);
}

/* A queue of messages of a session that has ended is refused once, and again only a while later. */
static void test_stale_is_said_once(void **state UNUSED)
{
        struct core_node n;
        struct core r;
        int refusals = 0;

        core_open(&r);
        core_add_node(&r, "w1", &n);
        turn_input_agent_lost(r.turn, n.id);
        core_run(&r);
        for (int i = 0; i < 40; i++)
                refusals += is_refused_as_stale(&r, &n);
        assert_int_equal(refusals, 1);
        r.now.mono_ms += 1000;
        assert_true(is_refused_as_stale(&r, &n));
        core_close(&r);
}

/* What still comes over a connection that the agent has left ends nothing. */
static void test_last_words_of_a_connection(void **state UNUSED)
{
        struct core_node n, old;
        struct core r;

        core_open(&r);
        core_add_node(&r, "w1", &n);
        old = n;
        n.connection = 9;
        core_register(&r, "w1", &n);
        assert_false(is_refused_as_stale(&r, &old));
        core_say_register(&r, "w1-late", &old);
        core_run(&r);
        assert_null(core_take_message(&r, to(&n), KIND(SESSION_START)));
        assert_string_equal(node_hostname(store_find_node(r.store, n.id)), "w1");
        core_heartbeat(&r, &n, 0);
        core_run(&r);
        assert_non_null(core_take_message(&r, to(&n), KIND(HEARTBEAT)));
        core_close(&r);
}

static void test_incremental(void **state UNUSED)
{
        struct core_node n;
        const Swarm__ManagerMessage *m;
        struct id id;
        struct core r;

        core_open(&r);
        core_add_image(&r);
        core_add_node(&r, "w1", &n);
        m = core_take_message(&r, to(&n), KIND(ASSIGNMENTS));
        uint64_t seq = m->assignments->results_in;

        core_add_service(&r, "web", 1);
        m = core_take_message(&r, to(&n), KIND(ASSIGNMENTS));
        assert_non_null(m);
        const Swarm__Assignments *a = m->assignments;
        assert_false(a->is_complete);
        assert_int_equal(a->applies_to, seq);
        assert_int_equal(a->results_in, seq + 1);
        assert_int_equal(a->n_tasks, 1);
        assert_int_equal(a->n_specs, 1);
        assert_int_equal(a->n_images, 1);
        assert_int_equal(a->images[0]->n_names, 0);
        assert_int_equal(a->tasks[0]->desired, TASK_RUNNING);
        assert_int_equal(wire_get_id(&a->tasks[0]->task_id, &id), 0);
        assert_true(id_is_equal(id, only_task(&r)->id));

        /* what the node reports itself is not told back to it */
        core_status(&r, &n, 1, 1, id, TASK_RUNNING, "started");
        core_run(&r);
        assert_null(core_take_message(&r, to(&n), KIND(ASSIGNMENTS)));

        /* the spec goes out once a session */
        store_set_task_desired(r.store, only_task(&r), TASK_SHUTDOWN);
        core_run(&r);
        m = core_take_message(&r, to(&n), KIND(ASSIGNMENTS));
        assert_non_null(m);
        assert_int_equal(m->assignments->n_specs, 0);
        assert_int_equal(m->assignments->tasks[0]->desired, TASK_SHUTDOWN);

        /* and is in the complete set of the next */
        core_register(&r, "w1", &n);
        m = core_take_message(&r, to(&n), KIND(ASSIGNMENTS));
        assert_non_null(m);
        assert_true(m->assignments->is_complete);
        assert_true(m->assignments->n_specs == 1 && m->assignments->n_tasks >= 1);
        core_close(&r);
}

static void test_complete_in_parts(void **state UNUSED)
{
        struct core_node n;
        const Swarm__ManagerMessage *m;
        uint64_t last = 0;
        size_t tasks = 0, parts = 0;
        struct core r;

        core_open(&r);
        core_add_image(&r);
        core_add_node(&r, "w1", &n);
        core_add_service(&r, "web", 3000);
        core_drop_effects(&r);
        core_register(&r, "w1", &n);
        for (bool more = true; more; parts++) {
                m = core_take_message(&r, to(&n), KIND(ASSIGNMENTS));
                assert_non_null(m);
                assert_true(m->assignments->is_complete);
                assert_int_equal(m->assignments->applies_to, last);
                assert_int_equal(m->assignments->n_specs, parts == 0 ? 1 : 0);
                last = m->assignments->results_in;
                tasks += m->assignments->n_tasks;
                more = m->assignments->is_continued;
        }
        assert_int_equal(tasks, 3000);
        assert_int_equal(parts, 3);
        assert_null(core_take_message(&r, to(&n), KIND(ASSIGNMENTS)));
        core_close(&r);
}

static void test_lost_set_is_sent_again(void **state UNUSED)
{
        struct core_node n;
        const Swarm__ManagerMessage *m;
        struct core r;

        core_open(&r);
        core_add_image(&r);
        core_add_node(&r, "w1", &n);
        uint64_t seen = core_take_message(&r, to(&n), KIND(ASSIGNMENTS))->assignments->results_in;
        core_add_service(&r, "web", 1);
        core_drop_effects(&r); /* lost on the way */
        for (int i = 0; i < 4; i++) {
                core_heartbeat(&r, &n, seen);
                core_advance(&r, 1000);
        }
        assert_null(core_take_message(&r, to(&n), KIND(ASSIGNMENTS)));
        for (int i = 0; i < 3; i++) {
                core_heartbeat(&r, &n, seen);
                core_advance(&r, 1000);
        }
        m = core_take_message(&r, to(&n), KIND(ASSIGNMENTS));
        assert_non_null(m);
        assert_true(m->assignments->is_complete);
        assert_int_equal(m->assignments->n_tasks, 1);
        core_close(&r);
}

/* --- reports ------------------------------------------------------------------------------------
 */
static uint64_t acked(struct core *r, const struct core_node *n)
{
        const Swarm__ManagerMessage *m = core_take_message(r, to(n), KIND(STATUS_ACK));

        return m ? m->status_ack->seq : 0;
}

static void test_status(void **state UNUSED)
{
        struct core_node n;
        struct core r;

        core_open(&r);
        core_add_image(&r);
        core_add_node(&r, "w1", &n);
        core_add_service(&r, "web", 1);
        struct task *t = only_task(&r);

        core_status(&r, &n, 5, 5, t->id, TASK_PREPARING, "preparing");
        core_status(&r, &n, 6, 5, t->id, TASK_STARTING, "a\n\xff\x01z");
        core_run(&r);
        assert_int_equal(acked(&r, &n), 6); /* one for both */
        assert_int_equal(acked(&r, &n), 0);
        assert_int_equal(t->state, TASK_STARTING);
        assert_string_equal(t->message, "a ? z");

        /* again: acknowledged, and nothing changes */
        core_status(&r, &n, 6, 6, t->id, TASK_STARTING, "a\n\xff\x01z");
        core_run(&r);
        assert_int_equal(acked(&r, &n), 6);
        assert_int_equal(r.changes, 0);

        /* a gap: 8 before 7 is not taken, so that 7 is not acknowledged by it */
        core_status(&r, &n, 8, 7, t->id, TASK_RUNNING, "started");
        core_run(&r);
        assert_int_equal(acked(&r, &n), 0);
        assert_int_equal(t->state, TASK_STARTING);
        core_status(&r, &n, 7, 7, t->id, TASK_STARTING, "");
        core_status(&r, &n, 8, 7, t->id, TASK_RUNNING, "started");
        core_run(&r);
        assert_int_equal(acked(&r, &n), 8);
        assert_int_equal(t->state, TASK_RUNNING);

        /* back, and states that no agent may report */
        static const uint32_t bad[] = {TASK_PREPARING, TASK_NEW, TASK_REMOVE,
                                       TASK_ORPHANED,  513,      UINT32_MAX};
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                core_status(&r, &n, 9 + i, 9, t->id, (enum task_state)bad[i], "x");
        core_run(&r);
        assert_int_equal(acked(&r, &n), 8 + ARRAY_SIZE(bad));
        assert_int_equal(t->state, TASK_RUNNING);
        assert_string_equal(t->message, "started");
        core_close(&r);
}

static void test_foreign_status(void **state UNUSED)
{
        struct core_node n, other;
        const Swarm__ManagerMessage *m;
        struct id unknown = {3, 4};
        struct core r;

        core_open(&r);
        core_add_image(&r);
        core_add_node(&r, "w1", &n);
        core_add_service(&r, "web", 1);
        core_add_node(&r, "w2", &other);
        struct task *t = only_task(&r);
        core_drop_effects(&r);

        core_status(&r, &other, 1, 1, t->id, TASK_FAILED, "not mine");
        core_status(&r, &other, 2, 1, unknown, TASK_RUNNING, "never heard of");
        core_run(&r);
        assert_int_equal(t->state, TASK_ASSIGNED);
        assert_int_equal(acked(&r, &other), 2);
        m = core_take_message(&r, to(&other), KIND(ASSIGNMENTS));
        assert_non_null(m);
        assert_int_equal(m->assignments->n_removed, 2);
        assert_null(core_take_message(&r, to(&n), KIND(ASSIGNMENTS)));
        core_close(&r);
}

/* --- managers -----------------------------------------------------------------------------------
 */
static const Swarm__HeartbeatReply *beat(struct core *r, const struct core_node *n)
{
        core_drop_effects(r);
        core_heartbeat(r, n, 0);
        core_run(r);
        const Swarm__ManagerMessage *m = core_take_message(r, to(n), KIND(HEARTBEAT));
        assert_non_null(m);
        return m->heartbeat;
}

static void test_managers_are_told_once(void **state UNUSED)
{
        struct core_node n[2];
        struct core r;

        core_open(&r);
        core_add_node(&r, "w1", &n[0]);
        assert_int_equal(beat(&r, &n[0])->n_managers, 0);
        turn_managers_changed(r.turn);
        core_add_node(&r, "w2", &n[1]); /* by its session */
        const Swarm__HeartbeatReply *m = beat(&r, &n[0]);
        assert_int_equal(m->n_managers, 1);
        assert_string_equal(m->managers[0], "10.0.0.1:7377");
        assert_int_equal(beat(&r, &n[0])->n_managers, 0);
        assert_int_equal(beat(&r, &n[1])->n_managers, 0);
        core_close(&r);
}

static void test_role_is_told(void **state UNUSED)
{
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__NodeUpdate u = SWARM__NODE_UPDATE__INIT;
        Swarm__Number role = SWARM__NUMBER__INIT;
        struct core_node n;
        struct core r;

        core_open(&r);
        core_add_node(&r, "w1", &n);
        assert_int_equal(beat(&r, &n)->role, ROLE_WORKER);
        role.value = ROLE_MANAGER;
        u.ref = (char *)"w1";
        u.role = &role;
        q.kind_case = SWARM__REQUEST__KIND_NODE_UPDATE;
        q.node_update = &u;
        assert_int_equal(core_ask(&r, &q)->code, 0);
        assert_int_equal(beat(&r, &n)->role, ROLE_MANAGER);
        core_drop_effects(&r);
        core_say_register(&r, "w1", &n);
        core_run(&r);
        const Swarm__ManagerMessage *m = core_take_message(&r, to(&n), KIND(SESSION_START));
        assert_non_null(m);
        assert_int_equal(m->session_start->role, ROLE_MANAGER);
        core_close(&r);
}

static const Swarm__ManagerMessage *join_beside(struct core *r, const struct core_node *n,
                                                Swarm__ManagerMessage__KindCase kind)
{
        Swarm__AgentMessage m = SWARM__AGENT_MESSAGE__INIT;
        Swarm__Join j = SWARM__JOIN__INIT;
        struct peer from = {.connection = n->connection + 1, .node = n->id};

        j.role = ROLE_MANAGER;
        j.manager_id = 77;
        j.manager_address = (char *)"10.0.0.9:7377";
        m.kind_case = SWARM__AGENT_MESSAGE__KIND_JOIN;
        m.join = &j;
        core_say(r, from, n->key, &m);
        core_run(r);
        return core_take_message(r, (struct peer){.connection = from.connection}, kind);
}

/* The manager of a promoted node joins with its node's key: it is answered where it asks, and the
 * agent's session stays. */
static void test_manager_beside_agent(void **state UNUSED)
{
        struct core_node n;
        struct core r;

        core_open(&r);
        core_add_node(&r, "w1", &n);
        struct node *node = store_find_node(r.store, n.id);
        const Swarm__ManagerMessage *m = join_beside(&r, &n, KIND(REFUSED));
        assert_non_null(m);
        assert_int_equal(m->refused->code, EACCES);
        assert_int_equal(node->manager_id, 0);
        store_set_node_spec(r.store, node, node->availability, ROLE_MANAGER, NULL, 0, 1);
        m = join_beside(&r, &n, KIND(JOINED));
        assert_non_null(m);
        assert_int_equal(m->joined->unlock_key.len, 0);
        Swarm__Cluster *locked = wire_dup(store_cluster(r.store)->msg);
        cluster_set_unlock_key(locked, (const uint8_t *)"0123456789abcdef0123456789abcdef");
        store_put_cluster(r.store, &locked);
        m = join_beside(&r, &n, KIND(JOINED));
        assert_non_null(m);
        assert_memory_equal(m->joined->unlock_key.data, "0123456789abcdef0123456789abcdef", 32);
        assert_int_equal(node->manager_id, 77);
        assert_string_equal(node->manager_address, "10.0.0.9:7377");
        assert_int_equal(beat(&r, &n)->role, ROLE_MANAGER);
        core_close(&r);
}

static void test_managers_are_limited(void **state UNUSED)
{
        char key[32] = "k0";
        struct core r;

        core_open(&r);
        for (int i = 0; i < CLUSTER_MANAGERS_MAX; i++) {
                key[1] = (char)('a' + i);
                store_add_node(r.store, (struct id){5, (uint64_t)i + 1}, (uint8_t *)key,
                               ROLE_MANAGER, 1);
        }
        const Swarm__ManagerMessage *m =
                join(&r, CORE_MANAGER_SECRET, ROLE_MANAGER, "m", KIND(REFUSED));
        assert_non_null(m);
        assert_int_equal(m->refused->code, ENOSPC);
        assert_non_null(join(&r, CORE_WORKER_SECRET, ROLE_WORKER, "w", KIND(JOINED)));
        core_close(&r);
}

static void test_removed_node(void **state UNUSED)
{
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__NodeRemove remove = SWARM__NODE_REMOVE__INIT;
        char *refs[] = {(char *)"w1"};
        struct core_node n;
        struct id refused;
        struct core r;

        core_open(&r);
        core_add_image(&r);
        core_add_node(&r, "w1", &n);
        core_add_service(&r, "web", 2);
        remove.n_refs = 1;
        remove.refs = refs;
        q.kind_case = SWARM__REQUEST__KIND_NODE_REMOVE;
        q.node_remove = &remove;
        const Swarm__Response *m = core_ask(&r, &q);
        assert_int_equal(m->code, EBUSY);
        assert_string_equal(m->error, "node w1: is not down: use --force to remove it");
        remove.force = true;
        q.number = 0;
        m = core_ask(&r, &q);
        assert_int_equal(m->code, 0);
        assert_null(store_find_node(r.store, n.id));
        const Swarm__ManagerMessage *told = core_take_message(&r, to(&n), KIND(REFUSED));
        assert_non_null(told);
        assert_int_equal(told->refused->code, EACCES);
        assert_true(core_take_effect(&r, EFFECT_FORGET_KEY, &refused));
        assert_true(id_is_equal(refused, n.id));
        assert_false(core_take_effect(&r, EFFECT_FORGET_KEY, NULL));
        core_close(&r);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_join),
                cmocka_unit_test(test_join_refused),
                cmocka_unit_test(test_large_description),
                cmocka_unit_test(test_register),
                cmocka_unit_test(test_protocols),
                cmocka_unit_test(test_heartbeats_come_together),
                cmocka_unit_test(test_session_of_one_connection),
                cmocka_unit_test(test_stale_is_said_once),
                cmocka_unit_test(test_last_words_of_a_connection),
                cmocka_unit_test(test_incremental),
                cmocka_unit_test(test_complete_in_parts),
                cmocka_unit_test(test_lost_set_is_sent_again),
                cmocka_unit_test(test_status),
                cmocka_unit_test(test_foreign_status),
                cmocka_unit_test(test_managers_are_told_once),
                cmocka_unit_test(test_role_is_told),
                cmocka_unit_test(test_manager_beside_agent),
                cmocka_unit_test(test_managers_are_limited),
                cmocka_unit_test(test_removed_node),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
