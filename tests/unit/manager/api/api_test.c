/* Requests, driven through the turn: services and their versions, lists and names, nodes, images,
 * the cluster. */
#include "tests/lib/unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "shared/base/base.h"
#include "shared/base/mem.h"
#include "shared/seal/seal.h"
#include "tests/lib/turn_rig.h"

#define ASK(r, field, kind, m)                                  \
        ({                                                      \
                Swarm__Request ask_q_ = SWARM__REQUEST__INIT;   \
                ask_q_.kind_case = SWARM__REQUEST__KIND_##kind; \
                ask_q_.field = (m);                             \
                core_ask((r), &ask_q_);                         \
        })

static void open_with_node(struct core *r, struct core_node *n)
{
        core_open(r);
        core_add_image(r);
        core_add_node(r, "w1", n);
}

static struct service *service(struct core *r, const char *name)
{
        struct service *s = store_find_service_by_name(r->store, name);

        assert_non_null(s);
        return s;
}

/* Updates with the present spec and another argument. */
static const Swarm__Response *update(struct core *r, const char *name, const char *arg,
                                     uint64_t version)
{
        Swarm__ServiceUpdate u = SWARM__SERVICE_UPDATE__INIT;
        Swarm__ServiceSpec spec = *service(r, name)->spec->msg;
        Swarm__TaskSpec task = *spec.task;
        Swarm__ContainerSpec container = *task.container;
        char *args[] = {(char *)arg};

        container.n_args = arg ? 1 : 0;
        container.args = args;
        task.container = &container;
        spec.task = &task;
        u.ref = (char *)name;
        u.version = version;
        u.spec = &spec;
        return ASK(r, service_update, SERVICE_UPDATE, &u);
}

static const Swarm__Response *roll_back(struct core *r, const char *name)
{
        Swarm__ServiceUpdate u = SWARM__SERVICE_UPDATE__INIT;

        u.ref = (char *)name;
        u.rollback = true;
        return ASK(r, service_update, SERVICE_UPDATE, &u);
}

static void test_update_and_rollback(void **state UNUSED)
{
        struct core r;
        struct core_node n;

        open_with_node(&r, &n);
        core_add_service(&r, "web", 1);
        const Swarm__Response *m = roll_back(&r, "web");
        assert_int_equal(m->code, EINVAL);
        assert_string_equal(m->error, "service web does not have a previous spec");

        /* the same again is no change */
        uint64_t version = service(&r, "web")->version;
        assert_int_equal(update(&r, "web", NULL, version)->code, 0);
        assert_int_equal(service(&r, "web")->spec->version, 1);

        assert_int_equal(update(&r, "web", "one", service(&r, "web")->version)->code, 0);
        assert_int_equal(service(&r, "web")->spec->version, 2);
        assert_int_equal(service(&r, "web")->previous_spec->version, 1);
        m = update(&r, "web", "two", version);
        assert_int_equal(m->code, ESTALE);
        assert_string_equal(m->error, "service web: update out of sequence");

        assert_int_equal(roll_back(&r, "web")->code, 0);
        struct service *s = service(&r, "web");
        assert_int_equal(s->spec->version, 1);
        assert_int_equal(s->previous_spec->version, 2);
        assert_string_equal(s->update.message, "manually requested rollback");
        assert_int_equal(roll_back(&r, "web")->code, 0);
        assert_int_equal(service(&r, "web")->spec->version, 2);
        core_close(&r);
}

static void test_update_refused(void **state UNUSED)
{
        Swarm__ServiceUpdate u = SWARM__SERVICE_UPDATE__INIT;
        struct core r;
        struct core_node n;

        open_with_node(&r, &n);
        core_add_service(&r, "web", 1);
        Swarm__ServiceSpec spec = *service(&r, "web")->spec->msg;
        u.ref = (char *)"web";
        u.spec = &spec;
        spec.name = (char *)"other";
        const Swarm__Response *m = ASK(&r, service_update, SERVICE_UPDATE, &u);
        assert_string_equal(m->error, "service web: renaming is not supported");
        spec.name = (char *)"web";
        spec.mode = MODE_GLOBAL;
        spec.replicas = 0;
        m = ASK(&r, service_update, SERVICE_UPDATE, &u);
        assert_string_equal(m->error, "service web: the mode cannot be changed");
        u.spec = NULL;
        m = ASK(&r, service_update, SERVICE_UPDATE, &u);
        assert_string_equal(m->error, "service web: update without a spec");
        u.ref = (char *)"none";
        m = ASK(&r, service_update, SERVICE_UPDATE, &u);
        assert_int_equal(m->code, ENOENT);
        assert_string_equal(m->error, "no such service: none");
        assert_int_equal(service(&r, "web")->spec->version, 1);
        core_close(&r);
}

static void test_scale(void **state UNUSED)
{
        Swarm__ScaleRequest scale = SWARM__SCALE_REQUEST__INIT;
        Swarm__ScaleRequest__Item a = SWARM__SCALE_REQUEST__ITEM__INIT, b = a;
        Swarm__ScaleRequest__Item *items[] = {&a, &b};
        struct core r;
        struct core_node n;

        open_with_node(&r, &n);
        core_add_service(&r, "a", 1);
        core_add_service(&r, "b", 1);
        a.ref = (char *)"a";
        b.ref = (char *)"none";
        a.replicas = b.replicas = 5;
        scale.items = items;
        scale.n_items = 2;
        const Swarm__Response *m = ASK(&r, service_scale, SERVICE_SCALE, &scale);
        assert_int_equal(m->code, ENOENT);
        assert_int_equal(service(&r, "a")->spec->msg->replicas, 1); /* all or none */
        b.ref = (char *)"b";
        assert_int_equal(ASK(&r, service_scale, SERVICE_SCALE, &scale)->code, 0);
        assert_int_equal(service(&r, "b")->spec->msg->replicas, 5);
        assert_int_equal(store_tasks(r.store)->len, 10);
        a.replicas = CLUSTER_TASKS_MAX;
        m = ASK(&r, service_scale, SERVICE_SCALE, &scale);
        assert_string_equal(m->error,
                            "service a: replicas: the cluster would have more than 1000000 tasks");
        core_close(&r);
}

static void test_remove(void **state UNUSED)
{
        Swarm__RefList refs = SWARM__REF_LIST__INIT;
        Swarm__ListRequest list = SWARM__LIST_REQUEST__INIT;
        char *names[] = {(char *)"web"};
        struct core r;
        struct core_node n;

        open_with_node(&r, &n);
        struct id first = core_add_service(&r, "web", 2);
        Swarm__ServiceSpec again = *service(&r, "web")->spec->msg;
        const Swarm__Response *m = ASK(&r, service_create, SERVICE_CREATE, &again);
        assert_int_equal(m->code, EEXIST);
        assert_string_equal(m->error, "service web: name is in use");

        refs.n_refs = 1;
        refs.refs = names;
        assert_int_equal(ASK(&r, service_remove, SERVICE_REMOVE, &refs)->code, 0);
        assert_int_equal(ASK(&r, service_list, SERVICE_LIST, &list)->services->n_services, 0);
        assert_int_equal(ASK(&r, task_list, TASK_LIST, &list)->tasks->n_tasks, 0);
        m = ASK(&r, service_remove, SERVICE_REMOVE, &refs);
        assert_string_equal(m->error, "no such service: web");
        /* its tasks are still there, and its name is free */
        assert_true(store_find_service(r.store, first)->is_removing);
        assert_false(id_is_equal(core_add_service(&r, "web", 1), first));
        core_close(&r);
}

/* --- names and lists ----------------------------------------------------------------------------
 */
static void test_prefixes(void **state UNUSED)
{
        Swarm__RefList refs = SWARM__REF_LIST__INIT;
        char ref[ID_TEXT_MAX], *names[] = {ref};
        struct core r;
        struct core_node n;

        open_with_node(&r, &n);
        for (int i = 0; i < 40; i++) {
                snprintf(ref, sizeof(ref), "s%d", i);
                core_add_service(&r, ref, 0);
        }
        refs.n_refs = 1;
        refs.refs = names;
        snprintf(ref, sizeof(ref), "%.12s", ID_S(service(&r, "s7")->id));
        const Swarm__Response *m = ASK(&r, service_get, SERVICE_GET, &refs);
        assert_int_equal(m->services->n_services, 1);
        assert_string_equal(m->services->services[0]->spec->name, "s7");
        snprintf(ref, sizeof(ref), "%s", ID_S(service(&r, "s7")->id));
        assert_int_equal(ASK(&r, service_get, SERVICE_GET, &refs)->code, 0);
        /* forty ids have at most 16 first characters: some have the same */
        size_t ambiguous = 0;
        for (int c = 0; c < 16; c++) {
                char text[80];

                snprintf(ref, sizeof(ref), "%x", c);
                m = ASK(&r, service_get, SERVICE_GET, &refs);
                if (m->code != EINVAL)
                        continue;
                snprintf(text, sizeof(text), "service %s: several ids begin so", ref);
                assert_string_equal(m->error, text);
                ambiguous++;
        }
        assert_true(ambiguous > 0);
        static const char *const missing[] = {"", "ZZZ", "zzzzzzzzzzzzzzzzzzzzzzzzz", "s", "../x"};
        for (size_t i = 0; i < ARRAY_SIZE(missing); i++) {
                snprintf(ref, sizeof(ref), "%s", missing[i]);
                assert_int_equal(ASK(&r, service_get, SERVICE_GET, &refs)->code, ENOENT);
        }
        core_close(&r);
}

/* A hostname that is the beginning of another node's id is the hostname; one that is another's
 * whole id is not. What was named is looked up before anything is removed. */
static void test_node_names(void **state UNUSED)
{
        Swarm__NodeRemove remove = SWARM__NODE_REMOVE__INIT;
        char begin[ID_TEXT_MAX], whole[ID_TEXT_MAX];
        char *refs[] = {begin, begin};
        struct core_node a, b, c;
        struct core r;

        core_open(&r);
        core_add_node(&r, "a", &a);
        snprintf(begin, sizeof(begin), "%.2s", ID_S(a.id));
        snprintf(whole, sizeof(whole), "%s", ID_S(a.id));
        core_add_node(&r, begin, &b);
        core_add_node(&r, whole, &c);
        remove.refs = refs;
        remove.n_refs = 2; /* the second would be the beginning of a's id, once b is gone */
        remove.force = true;
        assert_int_equal(ASK(&r, node_remove, NODE_REMOVE, &remove)->code, 0);
        assert_null(store_find_node(r.store, b.id));
        assert_non_null(store_find_node(r.store, a.id));
        refs[0] = whole;
        remove.n_refs = 1;
        assert_int_equal(ASK(&r, node_remove, NODE_REMOVE, &remove)->code, 0);
        assert_null(store_find_node(r.store, a.id));
        assert_non_null(store_find_node(r.store, c.id));
        core_close(&r);
}

/* A node whose disk is full gets no new tasks, and says so. */
static void test_disk_full(void **state UNUSED)
{
        Swarm__RefList refs = SWARM__REF_LIST__INIT;
        char *ref = (char *)"w1";
        struct core_node n;
        struct core r;

        open_with_node(&r, &n);
        core_disk_full(&r, &n, true);
        core_add_service(&r, "web", 1);
        struct list *tasks = &service(&r, "web")->tasks;
        struct task *t = LIST_ITEM(tasks->next, struct task, service_link);
        assert_null(t->node);
        assert_string_equal(t->error, "no suitable node (disk full on 1 node)");
        refs.refs = &ref;
        refs.n_refs = 1;
        const Swarm__Response *m = ASK(&r, node_get, NODE_GET, &refs);
        assert_true(m->nodes->nodes[0]->is_disk_full);
        assert_string_equal(m->nodes->nodes[0]->message, "its disk is full: it gets no new tasks");
        core_disk_full(&r, &n, false);
        core_run(&r);
        assert_non_null(t->node);
        core_close(&r);
}

/* The tasks of a node that is removed stay in their service's history, and others take over. */
static void test_node_remove_keeps_history(void **state UNUSED)
{
        Swarm__NodeRemove remove = SWARM__NODE_REMOVE__INIT;
        char *ref = (char *)"w1";
        struct core_node n, other;
        struct core r;
        struct task *t;

        open_with_node(&r, &n);
        core_add_service(&r, "web", 1);
        core_add_node(&r, "w2", &other);
        remove.refs = &ref;
        remove.n_refs = 1;
        remove.force = true;
        assert_int_equal(ASK(&r, node_remove, NODE_REMOVE, &remove)->code, 0);
        assert_null(store_find_node(r.store, n.id));
        struct list *tasks = &service(&r, "web")->tasks;
        t = LIST_ITEM(tasks->next, struct task, service_link);
        assert_int_equal(t->state, TASK_ORPHANED);
        assert_int_equal(t->desired, TASK_SHUTDOWN);
        assert_string_equal(t->error, "node w1 was removed");
        assert_null(t->node);
        t = LIST_ITEM(tasks->prev, struct task, service_link);
        assert_true(id_is_equal(t->node->id, other.id) && t->desired == TASK_RUNNING);
        core_close(&r);
}

/* Likewise a service that is named twice. */
static void test_service_named_twice(void **state UNUSED)
{
        Swarm__RefList refs = SWARM__REF_LIST__INIT;
        char name[ID_TEXT_MAX], *names[] = {name, name};
        struct core_node n;
        struct core r;

        open_with_node(&r, &n);
        struct id other = core_add_service(&r, "other", 1);
        snprintf(name, sizeof(name), "%.2s", ID_S(other));
        struct id twice = core_add_service(&r, name, 1);
        refs.refs = names;
        refs.n_refs = 2;
        assert_int_equal(ASK(&r, service_remove, SERVICE_REMOVE, &refs)->code, 0);
        struct service *gone = store_find_service(r.store, twice);
        assert_true(!gone || gone->is_removing);
        assert_false(store_find_service(r.store, other)->is_removing);
        core_close(&r);
}

static size_t count_tasks(struct core *r, const char *key, const char *value)
{
        Swarm__ListRequest list = SWARM__LIST_REQUEST__INIT;
        Swarm__Filter f = SWARM__FILTER__INIT, *filters[] = {&f};

        f.key = (char *)key;
        f.value = (char *)value;
        list.filters = filters;
        list.n_filters = 1;
        const Swarm__Response *m = ASK(r, task_list, TASK_LIST, &list);
        assert_int_equal(m->code, 0);
        return m->tasks->n_tasks;
}

static void test_filters(void **state UNUSED)
{
        Swarm__ListRequest list = SWARM__LIST_REQUEST__INIT;
        Swarm__Filter f[3] = {SWARM__FILTER__INIT, SWARM__FILTER__INIT, SWARM__FILTER__INIT};
        Swarm__Filter *filters[] = {&f[0], &f[1], &f[2]};
        struct core r;
        struct core_node n;

        open_with_node(&r, &n);
        core_add_service(&r, "web", 3);
        core_add_service(&r, "webby", 1);
        core_add_service(&r, "db", 1);
        assert_int_equal(count_tasks(&r, "service", "web"), 3);
        assert_int_equal(count_tasks(&r, "name", "web.1"), 1);
        assert_int_equal(count_tasks(&r, "name", "web"), 4);
        assert_int_equal(count_tasks(&r, "node", "w1"), 5);
        assert_int_equal(count_tasks(&r, "node", "w2"), 0);
        assert_int_equal(count_tasks(&r, "desired-state", "running"), 5);
        assert_int_equal(count_tasks(&r, "desired-state", "shutdown"), 0);

        /* several of one key: any; several keys: all */
        f[0].key = f[1].key = (char *)"name";
        f[0].value = (char *)"db";
        f[1].value = (char *)"webb";
        f[2].key = (char *)"mode";
        f[2].value = (char *)"replicated";
        list.filters = filters;
        list.n_filters = 3;
        assert_int_equal(ASK(&r, service_list, SERVICE_LIST, &list)->services->n_services, 2);
        f[2].value = (char *)"global";
        assert_int_equal(ASK(&r, service_list, SERVICE_LIST, &list)->services->n_services, 0);
        f[2].key = (char *)"colour";
        const Swarm__Response *m = ASK(&r, service_list, SERVICE_LIST, &list);
        assert_string_equal(m->error, "invalid filter 'colour': must be id, label, mode or name");
        core_close(&r);
}

static void test_tasks(void **state UNUSED)
{
        Swarm__RefList refs = SWARM__REF_LIST__INIT;
        char *names[] = {(char *)"web.2"};
        struct core r;
        struct core_node n;

        open_with_node(&r, &n);
        core_add_service(&r, "web", 2);
        refs.n_refs = 1;
        refs.refs = names;
        const Swarm__Response *m = ASK(&r, task_get, TASK_GET, &refs);
        assert_int_equal(m->code, 0);
        const Swarm__Task *t = m->tasks->tasks[0];
        assert_int_equal(t->slot, 2);
        assert_string_equal(t->service_name, "web");
        assert_string_equal(t->node_hostname, "w1");
        assert_string_equal(t->image, "busybox");
        assert_non_null(t->spec);
        names[0] = (char *)"web.3";
        m = ASK(&r, task_get, TASK_GET, &refs);
        assert_string_equal(m->error, "no such task: web.3");
        core_close(&r);
}

static void test_list_in_parts(void **state UNUSED)
{
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__ListRequest list = SWARM__LIST_REQUEST__INIT;
        const Swarm__Response *m;
        size_t tasks = 0, parts = 0;
        struct core r;
        struct core_node n;

        open_with_node(&r, &n);
        core_add_service(&r, "web", 40000);
        while (r.due <= r.now.mono_ms)
                core_run(&r);
        core_drop_effects(&r);
        q.kind_case = SWARM__REQUEST__KIND_TASK_LIST;
        q.task_list = &list;
        core_send(&r, 1, &q);
        do {
                m = core_take_response(&r, 1);
                assert_non_null(m);
                assert_int_equal(m->number, q.number);
                tasks += m->tasks->n_tasks;
                parts++;
        } while (m->more);
        assert_int_equal(tasks, 40000);
        assert_true(parts > 1);
        assert_null(core_take_response(&r, 1));
        core_close(&r);
}

/* --- nodes, cluster, images ---------------------------------------------------------------------
 */
static void test_node_update(void **state UNUSED)
{
        Swarm__NodeUpdate u = SWARM__NODE_UPDATE__INIT;
        Swarm__Number number = SWARM__NUMBER__INIT;
        Swarm__KeyValue label = SWARM__KEY_VALUE__INIT, *labels[] = {&label};
        char *gone[] = {(char *)"zone"};
        struct core r;
        struct core_node n;

        open_with_node(&r, &n);
        struct node *node = store_find_node(r.store, n.id);
        u.ref = (char *)"w1";
        label.key = (char *)"zone";
        label.value = (char *)"a";
        u.label_add = labels;
        u.n_label_add = 1;
        u.availability = &number;
        number.value = AVAILABILITY_DRAIN;
        assert_int_equal(ASK(&r, node_update, NODE_UPDATE, &u)->code, 0);
        assert_int_equal(node->availability, AVAILABILITY_DRAIN);
        assert_string_equal(node->labels->labels[0]->value, "a");
        number.value = 3;
        const Swarm__Response *m = ASK(&r, node_update, NODE_UPDATE, &u);
        assert_string_equal(m->error, "node w1: unknown availability");
        u.availability = NULL;
        u.n_label_add = 0;
        u.label_rm = gone;
        u.n_label_rm = 1;
        assert_int_equal(ASK(&r, node_update, NODE_UPDATE, &u)->code, 0);
        assert_int_equal(node->labels->n_labels, 0);
        m = ASK(&r, node_update, NODE_UPDATE, &u);
        assert_string_equal(m->error, "node w1: label zone is not there");
        u.n_label_rm = 0;
        u.role = &number;
        number.value = 2;
        m = ASK(&r, node_update, NODE_UPDATE, &u);
        assert_string_equal(m->error, "node w1: unknown role");
        core_close(&r);
}

static bool is_only_manager(void *arg, uint64_t manager_id, struct err *err)
{
        assert_int_equal(manager_id, 77);
        err_set(err, EBUSY, "it is the only manager");
        return *(bool *)arg;
}

static void test_node_role(void **state UNUSED)
{
        struct turn_config config = {
                .seed = 2, .version = "", .hostname = "m", .can_demote = is_only_manager};
        Swarm__NodeUpdate u = SWARM__NODE_UPDATE__INIT;
        Swarm__Number role = SWARM__NUMBER__INIT;
        bool can_demote = false;
        char key[32] = "k";
        struct core r;
        struct core_node n;

        open_with_node(&r, &n);
        struct node *node = store_find_node(r.store, n.id);
        config.arg = &can_demote;
        turn_free(r.turn);
        r.turn = turn_new(r.store, &config, r.now);
        u.ref = (char *)"w1";
        u.role = &role;
        role.value = ROLE_MANAGER;
        assert_int_equal(ASK(&r, node_update, NODE_UPDATE, &u)->code, 0);
        assert_int_equal(node->role, ROLE_MANAGER);
        store_set_node_manager(r.store, node, 77, "10.0.0.9:7377", 1);
        role.value = ROLE_WORKER;
        const Swarm__Response *m = ASK(&r, node_update, NODE_UPDATE, &u);
        assert_int_equal(m->code, EBUSY);
        assert_string_equal(m->error, "node w1: cannot be demoted: it is the only manager");
        assert_int_equal(node->role, ROLE_MANAGER);
        can_demote = true;
        assert_int_equal(ASK(&r, node_update, NODE_UPDATE, &u)->code, 0);
        assert_int_equal(node->role, ROLE_WORKER);
        assert_int_equal(node->manager_id, 0); /* never again under that id */
        for (int i = 0; i < CLUSTER_MANAGERS_MAX; i++) {
                key[1] = (char)('a' + i);
                store_add_node(r.store, (struct id){5, (uint64_t)i + 1}, (uint8_t *)key,
                               ROLE_MANAGER, 1);
        }
        role.value = ROLE_MANAGER;
        m = ASK(&r, node_update, NODE_UPDATE, &u);
        assert_string_equal(m->error, "node w1: the cluster has 16 managers, the most it can have");
        core_close(&r);
}

/* Four members and one that is to be: 1 leads, 2 follows, 3 is dead, 4 (dead) is no manager of the
 * state any more, 5 is not taken in yet. */
static bool get_member(void *arg UNUSED, size_t i, struct turn_member *ret)
{
        static const struct turn_member members[] = {
                {1, "10.0.0.1:1", MEMBER_VOTER, MANAGER_LEADER, 0},
                {2, "10.0.0.2:1", MEMBER_LEARNER, MANAGER_REACHABLE, 3},
                {3, "10.0.0.3:1", MEMBER_VOTER, MANAGER_UNREACHABLE, 70},
                {4, "10.0.0.4:1", MEMBER_VOTER, MANAGER_UNREACHABLE, -1},
        };

        if (i < ARRAY_SIZE(members))
                *ret = members[i];
        return i < ARRAY_SIZE(members);
}

static bool can_all_but_1_go(void *arg UNUSED, uint64_t id, struct err *err)
{
        return id != 1 || err_set(err, EBUSY, "the others are few") == 0;
}

static void open_with_managers(struct core *r)
{
        static const struct turn_config config = {.seed = 2,
                                                  .version = "",
                                                  .hostname = "m",
                                                  .can_demote = can_all_but_1_go,
                                                  .get_member = get_member};
        static const uint64_t ids[] = {1, 2, 3, 5};
        struct core_node n;

        open_with_node(r, &n);
        turn_free(r->turn);
        r->turn = turn_new(r->store, &config, r->now);
        for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
                Swarm__NodeDescription d = SWARM__NODE_DESCRIPTION__INIT;
                char hostname[] = "m0", address[] = "10.0.0.0:1";
                uint8_t key[32] = {7, (uint8_t)ids[i]};
                struct node *node = store_add_node(r->store, (struct id){7, ids[i]}, key,
                                                   ROLE_MANAGER, r->now.wall_ms);

                hostname[1] = (char)('0' + ids[i]);
                address[7] = hostname[1];
                d.hostname = hostname;
                store_set_node_description(r->store, node, &d, r->now.wall_ms);
                store_set_node_manager(r->store, node, ids[i], address, r->now.wall_ms);
        }
}

static const Swarm__Manager *manager(const Swarm__Response *m, uint64_t id)
{
        for (size_t i = 0; i < m->managers->n_managers; i++)
                if (m->managers->managers[i]->id == id)
                        return m->managers->managers[i];
        fail_msg("manager %d is not in the list", (int)id);
        return NULL;
}

static void test_manager_list(void **state UNUSED)
{
        static const struct {
                uint64_t id;
                const char *hostname, *address;
                enum member_role role;
                enum manager_status status;
                enum node_state state;
                int64_t behind;
        } rows[] = {
                {1, "m1", "10.0.0.1:1", MEMBER_VOTER, MANAGER_LEADER, NODE_READY, 0},
                {2, "m2", "10.0.0.2:1", MEMBER_LEARNER, MANAGER_REACHABLE, NODE_READY, 3},
                {3, "m3", "10.0.0.3:1", MEMBER_VOTER, MANAGER_UNREACHABLE, NODE_DOWN, 70},
                {4, "", "10.0.0.4:1", MEMBER_VOTER, MANAGER_UNREACHABLE, NODE_UNKNOWN, -1},
                {5, "m5", "10.0.0.5:1", MEMBER_JOINING, MANAGER_UNREACHABLE, NODE_READY, -1},
        };
        Swarm__Empty empty = SWARM__EMPTY__INIT;
        struct core r;

        open_with_managers(&r);
        const Swarm__Response *m = ASK(&r, manager_list, MANAGER_LIST, &empty);
        assert_int_equal(m->kind_case, SWARM__RESPONSE__KIND_MANAGERS);
        assert_int_equal(m->managers->n_managers, ARRAY_SIZE(rows));
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                const Swarm__Manager *got = manager(m, rows[i].id);

                assert_string_equal(got->hostname, rows[i].hostname);
                assert_string_equal(got->address, rows[i].address);
                assert_int_equal(got->role, rows[i].role);
                assert_int_equal(got->status, rows[i].status);
                assert_int_equal(got->node_state, rows[i].state);
                assert_int_equal(got->behind, rows[i].behind);
                assert_int_equal(got->node_id.len, *rows[i].hostname ? ID_BYTES : 0);
        }
        core_close(&r);
}

static void test_manager_remove(void **state UNUSED)
{
        static const struct {
                const char *ref;
                bool force;
                uint64_t id; /* 0: refused, or nothing is to be done in the state */
                const char *error;
        } rows[] = {
                {"9", false, 0, "no such manager: 9"},
                {"", false, 0, "no such manager: "},
                {"m9", true, 0, "no such manager: m9"},
                {"w1", true, 0, "node w1: is not a manager"},
                {"m2", false, 0,
                 "manager m2: is reachable: demote it first (node demote m2), or use --force"},
                {"2", false, 0,
                 "manager m2: is reachable: demote it first (node demote m2), or use --force"},
                {"m1", true, 0, "manager m1: cannot be removed: the others are few"},
                {"m3", false, 3, ""},
                {"m3", false, 0, "node m3: is not a manager"},
                {"3", false, 0, ""}, /* still a member: on its way out */
                {"4", false, 0, ""},
                {"m2", true, 2, ""},
                {"5", false, 5, ""},
        };
        Swarm__ManagerRemove remove = SWARM__MANAGER_REMOVE__INIT;
        struct core r;

        open_with_managers(&r);
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                struct node *node = store_find_node(r.store, (struct id){7, rows[i].id});

                remove.ref = (char *)(uintptr_t)rows[i].ref;
                remove.force = rows[i].force;
                const Swarm__Response *m = ASK(&r, manager_remove, MANAGER_REMOVE, &remove);
                assert_string_equal(m->error, rows[i].error);
                assert_int_equal(m->code != 0, *rows[i].error != 0);
                if (!rows[i].id)
                        continue;
                assert_int_equal(node->role, ROLE_WORKER);
                assert_int_equal(node->manager_id, 0);
        }
        assert_int_equal(store_count_managers(r.store), 1);
        core_close(&r);
}

/* The manager is a node, too: ready, though it has no agent, and without tasks. */
static void test_own_node(void **state UNUSED)
{
        static const uint8_t key[32] = "the manager's";
        Swarm__ListRequest list = SWARM__LIST_REQUEST__INIT;
        Swarm__Empty empty = SWARM__EMPTY__INIT;
        struct core r;

        core_open(&r);
        core_add_image(&r);
        struct node *self =
                store_add_node(r.store, (struct id){9, 9}, key, ROLE_MANAGER, r.now.wall_ms);
        store_set_node_manager(r.store, self, 1, "10.0.0.1:7377", r.now.wall_ms);
        core_add_service(&r, "web", 1);
        const Swarm__Response *m = ASK(&r, node_list, NODE_LIST, &list);
        assert_int_equal(m->nodes->n_nodes, 1);
        assert_int_equal(m->nodes->nodes[0]->state, NODE_READY);
        assert_int_equal(m->nodes->nodes[0]->manager_status, MANAGER_LEADER);
        assert_int_equal(m->nodes->nodes[0]->tasks, 0);
        assert_string_equal(m->nodes->nodes[0]->message, "has no agent and takes no tasks");
        m = ASK(&r, info, INFO, &empty);
        assert_int_equal(m->info->nodes, 1);
        assert_int_equal(m->info->nodes_ready, 1);
        core_close(&r);
}

/* "self" and the node of `info` are the manager's that the client is connected to. */
static void test_self(void **state UNUSED)
{
        static const uint8_t key[32] = "the manager's", other_key[32] = "another one's";
        Swarm__RefList refs = SWARM__REF_LIST__INIT;
        Swarm__Empty empty = SWARM__EMPTY__INIT;
        char *ref = (char *)"self";
        struct core r;
        struct id id;

        core_open(&r);
        struct node *own =
                store_add_node(r.store, (struct id){9, 9}, key, ROLE_MANAGER, r.now.wall_ms);
        struct node *other =
                store_add_node(r.store, (struct id){8, 8}, other_key, ROLE_MANAGER, r.now.wall_ms);
        store_set_node_manager(r.store, own, 1, "10.0.0.1:7377", r.now.wall_ms);
        store_set_node_manager(r.store, other, 2, "10.0.0.2:7377", r.now.wall_ms);
        refs.refs = &ref;
        refs.n_refs = 1;
        for (r.manager = 0; r.manager < 3; r.manager++) {
                const struct node *self = r.manager == 2 ? other : own;
                const Swarm__Response *m = ASK(&r, node_get, NODE_GET, &refs);

                assert_int_equal(m->code, 0);
                assert_int_equal(wire_get_id(&m->nodes->nodes[0]->id, &id), 0);
                assert_true(id_is_equal(id, self->id));
                m = ASK(&r, info, INFO, &empty);
                assert_int_equal(wire_get_id(&m->info->node_id, &id), 0);
                assert_true(id_is_equal(id, self->id));
                assert_int_equal(m->info->managers, 2);
                assert_int_equal(m->info->managers_reachable, 2);
        }
        /* never the leader's when it is not known whose */
        assert_string_equal(ASK(&r, node_get, NODE_GET, &refs)->error, "no such node: self");
        assert_int_equal(ASK(&r, info, INFO, &empty)->info->node_id.len, 0);
        core_close(&r);
}

static void test_cluster(void **state UNUSED)
{
        Swarm__ClusterUpdate u = SWARM__CLUSTER_UPDATE__INIT;
        Swarm__Number number = SWARM__NUMBER__INIT;
        Swarm__Empty empty = SWARM__EMPTY__INIT;
        struct core r;

        core_open(&r);
        u.down_ms = &number;
        number.value = 1500;
        const Swarm__Response *m = ASK(&r, cluster_update, CLUSTER_UPDATE, &u);
        assert_string_equal(m->error, "cluster: must be: heartbeat < suspect-after < down-after");
        number.value = 9000;
        assert_int_equal(ASK(&r, cluster_update, CLUSTER_UPDATE, &u)->code, 0);
        m = ASK(&r, cluster_get, CLUSTER_GET, &empty);
        assert_int_equal(m->cluster->settings->down_ms, 9000);
        assert_string_equal(m->cluster->worker_secret, "");
        assert_string_equal(m->cluster->manager_secret, "");
        assert_int_equal(m->cluster->secret_key.len, 0);
        core_close(&r);
}

static const char *unlock_key(struct core *r, bool rotate, int code)
{
        static char text[SEAL_KEY_TEXT_LEN + 1];
        Swarm__UnlockKeyRequest q = SWARM__UNLOCK_KEY_REQUEST__INIT;

        q.rotate = rotate;
        const Swarm__Response *m = ASK(r, unlock_key, UNLOCK_KEY, &q);
        assert_int_equal(m->code, code);
        snprintf(text, sizeof(text), "%s", code ? m->error : m->unlock_key);
        return text;
}

static void set_autolock(struct core *r, bool on)
{
        Swarm__ClusterUpdate u = SWARM__CLUSTER_UPDATE__INIT;
        Swarm__Number number = SWARM__NUMBER__INIT;
        Swarm__Empty empty = SWARM__EMPTY__INIT;

        number.value = on;
        u.autolock = &number;
        assert_int_equal(ASK(r, cluster_update, CLUSTER_UPDATE, &u)->code, 0);
        const Swarm__Response *m = ASK(r, cluster_get, CLUSTER_GET, &empty);
        assert_int_equal(m->cluster->settings->autolock, on);
        assert_int_equal(m->cluster->unlock_key.len, 0); /* shown to those who ask for it */
        assert_int_equal(store_cluster(r->store)->msg->unlock_key.len, on ? SEAL_KEY_BYTES : 0);
}

static void test_autolock(void **state UNUSED)
{
        Swarm__Unlock unlock = SWARM__UNLOCK__INIT;
        Swarm__NodeKeyGet get = SWARM__NODE_KEY_GET__INIT;
        uint8_t bytes[SEAL_KEY_BYTES];
        struct core r;

        core_open(&r);
        assert_string_equal(unlock_key(&r, false, 0), "");
        assert_non_null(strstr(unlock_key(&r, true, EINVAL), "autolock is off"));
        set_autolock(&r, true);
        _cleanup_free_ char *first = xstrdup(unlock_key(&r, false, 0));
        assert_int_equal(seal_key_parse(first, bytes, NULL), 0);
        set_autolock(&r, true); /* it is already: the key stays */
        assert_string_equal(unlock_key(&r, false, 0), first);
        _cleanup_free_ char *second = xstrdup(unlock_key(&r, true, 0));
        assert_string_not_equal(first, second);
        assert_string_equal(unlock_key(&r, false, 0), second);
        set_autolock(&r, false);
        assert_string_equal(unlock_key(&r, false, 0), "");
        set_autolock(&r, true);
        assert_string_not_equal(unlock_key(&r, false, 0), second);
        /* What is one manager's own never gets here but from afar. */
        assert_int_equal(ASK(&r, unlock, UNLOCK, &unlock)->code, EACCES);
        assert_int_equal(ASK(&r, node_key_get, NODE_KEY_GET, &get)->code, EACCES);
        core_close(&r);
}

static void test_images(void **state UNUSED)
{
        Swarm__ImageRemove remove = SWARM__IMAGE_REMOVE__INIT;
        Swarm__Empty empty = SWARM__EMPTY__INIT;
        struct core r;
        struct core_node n;

        open_with_node(&r, &n);
        core_add_service(&r, "web", 1);
        remove.ref = (char *)"busybox";
        const Swarm__Response *m = ASK(&r, image_remove, IMAGE_REMOVE, &remove);
        assert_int_equal(m->code, EBUSY);
        assert_string_equal(m->error, "image busybox: is in use by service web");
        assert_false(core_take_effect(&r, EFFECT_BLOB_RELEASE, NULL));
        remove.force = true;
        assert_int_equal(ASK(&r, image_remove, IMAGE_REMOVE, &remove)->code, 0);
        assert_true(core_take_effect(&r, EFFECT_BLOB_RELEASE, NULL));
        assert_int_equal(ASK(&r, image_list, IMAGE_LIST, &empty)->images->n_images, 0);
        m = ASK(&r, image_remove, IMAGE_REMOVE, &remove);
        assert_string_equal(m->error, "no such image: busybox");
        core_close(&r);
}

static void test_too_many_names(void **state UNUSED)
{
        char *refs[257];
        Swarm__Filter filter = SWARM__FILTER__INIT, *filters[257];
        Swarm__ScaleRequest__Item item = SWARM__SCALE_REQUEST__ITEM__INIT, *items[257];
        Swarm__RefList get = SWARM__REF_LIST__INIT;
        Swarm__ListRequest list = SWARM__LIST_REQUEST__INIT;
        Swarm__ScaleRequest scale = SWARM__SCALE_REQUEST__INIT;
        struct core_node n;
        struct core r;

        open_with_node(&r, &n);
        core_add_service(&r, "web", 1);
        filter.key = (char *)"name";
        filter.value = (char *)"web";
        for (size_t i = 0; i < ARRAY_SIZE(refs); i++) {
                refs[i] = (char *)"web";
                filters[i] = &filter;
                items[i] = &item;
        }
        get.refs = refs;
        get.n_refs = 256;
        const Swarm__Response *m = ASK(&r, service_get, SERVICE_GET, &get);
        assert_int_equal(m->code, 0);
        assert_int_equal(m->services->n_services, 256);
        get.n_refs = 257;
        m = ASK(&r, service_get, SERVICE_GET, &get);
        assert_int_equal(m->code, EINVAL);
        assert_string_equal(m->error, "service_get: more than 256 refs in one request");
        list.filters = filters;
        list.n_filters = 257;
        m = ASK(&r, service_list, SERVICE_LIST, &list);
        assert_string_equal(m->error, "service_list: more than 256 filters in one request");
        list.n_filters = 256;
        m = ASK(&r, service_list, SERVICE_LIST, &list);
        assert_int_equal(m->services->n_services, 1);
        scale.items = items;
        scale.n_items = 257;
        m = ASK(&r, service_scale, SERVICE_SCALE, &scale);
        assert_string_equal(m->error, "service_scale: more than 256 items in one request");
        core_close(&r);
}

/* A node's reservations are those of its tasks, generic resources included. */
static void test_reserved_generic(void **state UNUSED)
{
        Swarm__GenericResource discrete = SWARM__GENERIC_RESOURCE__INIT,
                               named = SWARM__GENERIC_RESOURCE__INIT;
        Swarm__GenericResource *claims[] = {&discrete, &named};
        Swarm__Resources claim = SWARM__RESOURCES__INIT;
        Swarm__RefList refs = SWARM__REF_LIST__INIT;
        char *ref = (char *)"w1", name[] = "g0", *names[] = {name};
        struct core_node n;
        struct core r;
        struct task *t;
        size_t i;

        open_with_node(&r, &n);
        core_add_service(&r, "web", 2);
        discrete.kind = (char *)"disk";
        discrete.count = 3;
        named.kind = (char *)"gpu";
        named.names = names;
        named.n_names = 1;
        claim.generic = claims;
        claim.n_generic = 2;
        MAP_FOREACH (t, i, store_tasks(r.store)) {
                t->generic = wire_dup(&claim);
                name[1]++;
        }
        refs.refs = &ref;
        refs.n_refs = 1;
        const Swarm__Response *m = ASK(&r, node_get, NODE_GET, &refs);
        const Swarm__Resources *reserved = m->nodes->nodes[0]->reserved;
        assert_int_equal(reserved->n_generic, 2);
        assert_string_equal(reserved->generic[0]->kind, "disk");
        assert_int_equal(reserved->generic[0]->count, 6);
        assert_string_equal(reserved->generic[1]->kind, "gpu");
        assert_int_equal(reserved->generic[1]->n_names, 2);
        assert_string_equal(reserved->generic[1]->names[0], "g0");
        assert_string_equal(reserved->generic[1]->names[1], "g1");
        core_close(&r);
}

/* What goes into an image's record has limits. */
static void test_image_limits(void **state UNUSED)
{
        char name[400];
        struct core r;
        const Swarm__Response *m = NULL;

        core_open(&r);
        memset(name, 'a', sizeof(name));
        name[sizeof(name) - 1] = 0;
        m = core_put_image(&r, IMAGE_ID, name);
        assert_int_equal(m->code, EINVAL);
        assert_string_equal(m->error, "image name aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...: longer than "
                                      "255 bytes");
        assert_int_equal(core_put_image(&r, IMAGE_ID, "Upper")->code, EINVAL);
        assert_string_equal(core_put_image(&r, "sha256:12", "app")->error, "image: without an id");
        for (int i = 0; i < 128; i++) {
                snprintf(name, sizeof(name), "app:%d", i);
                assert_int_equal(core_put_image(&r, IMAGE_ID, name)->code, 0);
        }
        m = core_put_image(&r, IMAGE_ID, "app:128");
        assert_int_equal(m->code, EINVAL);
        assert_string_equal(m->error, "image app:128: has 128 names already, as many as it can "
                                      "have");
        assert_int_equal(core_put_image(&r, IMAGE_ID, "app:5")->code, 0); /* one that it has */
        core_close(&r);
}

static void test_unknown_kind(void **state UNUSED)
{
        Swarm__Request q = SWARM__REQUEST__INIT;
        struct core r;

        core_open(&r);
        const Swarm__Response *m = core_ask(&r, &q);
        assert_int_equal(m->code, EINVAL);
        assert_string_equal(m->error, "a request of a kind that this manager does not know");
        core_close(&r);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_update_and_rollback),
                cmocka_unit_test(test_update_refused),
                cmocka_unit_test(test_scale),
                cmocka_unit_test(test_remove),
                cmocka_unit_test(test_prefixes),
                cmocka_unit_test(test_node_names),
                cmocka_unit_test(test_node_remove_keeps_history),
                cmocka_unit_test(test_disk_full),
                cmocka_unit_test(test_service_named_twice),
                cmocka_unit_test(test_filters),
                cmocka_unit_test(test_tasks),
                cmocka_unit_test(test_list_in_parts),
                cmocka_unit_test(test_node_update),
                cmocka_unit_test(test_node_role),
                cmocka_unit_test(test_manager_list),
                cmocka_unit_test(test_manager_remove),
                cmocka_unit_test(test_own_node),
                cmocka_unit_test(test_self),
                cmocka_unit_test(test_cluster),
                cmocka_unit_test(test_autolock),
                cmocka_unit_test(test_images),
                cmocka_unit_test(test_image_limits),
                cmocka_unit_test(test_reserved_generic),
                cmocka_unit_test(test_too_many_names),
                cmocka_unit_test(test_unknown_kind),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
