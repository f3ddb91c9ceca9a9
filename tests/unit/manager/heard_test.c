/* heard: what a manager says to a new leader, and what a new leader makes of it. */
#include "tests/lib/unit.h"

#include <string.h>

#include "manager/heard.h"
#include "shared/base/mem.h"
#include "tests/lib/turn_rig.h"

#define SELF  2
#define NODES 7
#define ALIVE 4 /* of them, which speak to the new leader: more than half */

static const uint8_t AGENT_MESSAGE[] = {0x0a, 0x00};
static const struct turn_config again = {.seed = 2, .version = "", .hostname = "m"};

struct world {
        struct core core;
        struct core_node n[NODES];
        struct relay *relay;
        struct heard *heard;
        uint64_t to; /* of the last message; 0: none that was not looked at */
        Swarm__HeardNodes *said;
};

static int send(void *arg, uint64_t to, const Swarm__PeerMessage *m)
{
        struct world *w = arg;

        assert_int_equal(m->kind_case, SWARM__PEER_MESSAGE__KIND_HEARD_NODES);
        assert_int_equal(w->to, 0);
        wire_free(w->said);
        w->said = wire_dup(m->heard_nodes);
        w->to = to;
        return 0;
}

static int setup(void **state)
{
        static const char *const names[NODES] = {"w1", "w2", "w3", "w4", "w5", "w6", "w7"};
        struct world *w = xnew(struct world);

        core_open(&w->core);
        for (size_t i = 0; i < NODES; i++)
                core_add_node(&w->core, names[i], &w->n[i]);
        w->relay = relay_new(&(struct relay_config){.id = SELF});
        w->heard = heard_new(&(struct heard_config){SELF, w->relay, w, send});
        *state = w;
        return 0;
}

static int teardown(void **state)
{
        struct world *w = *state;

        heard_free(w->heard);
        relay_free(w->relay);
        wire_free(w->said);
        core_close(&w->core);
        free(w);
        return 0;
}

static int64_t now_ms(const struct world *w)
{
        return w->core.now.mono_ms;
}

/* An agent says something to this manager. */
static void hear(struct world *w, uint64_t connection, const uint8_t key[32], int64_t ago_ms)
{
        struct net_sender from = {.connection = connection};

        memcpy(from.key, key, sizeof(from.key));
        relay_on_message(w->relay, &from, AGENT_MESSAGE, sizeof(AGENT_MESSAGE), now_ms(w) - ago_ms);
}

static void run(struct world *w, uint64_t leader)
{
        w->to = 0;
        heard_run(w->heard, leader, w->core.store, now_ms(w));
}

/* Another manager says that it heard that node. */
static void told(struct world *w, struct id node, int64_t ago_ms, uint64_t leader,
                 struct turn *turn)
{
        Swarm__HeardNodes m = SWARM__HEARD_NODES__INIT;
        Swarm__HeardNode one = SWARM__HEARD_NODE__INIT, *all[] = {&one};
        uint8_t id[ID_BYTES];

        one.node_id = wire_id(node, id);
        one.ago_ms = ago_ms;
        m.n_nodes = 1;
        m.nodes = all;
        heard_on_message(w->heard, &m, leader, turn, now_ms(w));
}

/* --- tests --------------------------------------------------------------------------------------
 */
static int64_t said_ago(const struct world *w, struct id node)
{
        struct id id;

        for (size_t i = 0; i < w->said->n_nodes; i++) {
                assert_int_equal(wire_get_id(&w->said->nodes[i]->node_id, &id), 0);
                if (id_is_equal(id, node))
                        return w->said->nodes[i]->ago_ms;
        }
        return -1;
}

static void test_each_new_leader_is_told(void **state)
{
        static const uint8_t stranger[32] = {99};
        static const struct {
                uint64_t leader, is_told;
        } steps[] = {{1, 1}, {1, 0}, {3, 1}, {SELF, 0}, {3, 1}, {0, 0}, {3, 1}, {0, 0}, {0, 0}};
        struct world *w = *state;

        run(w, 1);
        assert_int_equal(w->to, 0); /* of nothing */
        run(w, 0);
        hear(w, 10, w->n[0].key, 300);
        hear(w, 11, w->n[1].key, 1200);
        hear(w, 12, stranger, 100);
        for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
                run(w, steps[i].leader);
                assert_int_equal(w->to, steps[i].is_told ? steps[i].leader : 0);
        }
        assert_int_equal(w->said->n_nodes, 2);
        assert_int_equal(said_ago(w, w->n[0].id), 300);
        assert_int_equal(said_ago(w, w->n[1].id), 1200);
}

/* While the state is being read nobody knows whose the keys are. */
static void test_told_once_the_state_is_there(void **state)
{
        struct world *w = *state;

        hear(w, 10, w->n[0].key, 0);
        heard_run(w->heard, 1, NULL, now_ms(w));
        assert_int_equal(w->to, 0);
        run(w, 1);
        assert_int_equal(w->to, 1);
}

static void lead_anew(struct world *w)
{
        turn_free(w->core.turn);
        w->core.turn = turn_new(w->core.store, &again, w->core.now);
        core_run(&w->core);
}

static enum node_state state_of(const struct world *w, size_t i)
{
        return store_find_node(w->core.store, w->n[i].id)->state;
}

static void live(struct world *w, int64_t ms)
{
        for (; ms > 0; ms -= 500) {
                for (size_t i = 0; i < ALIVE; i++)
                        core_heartbeat(&w->core, &w->n[i], 1000000);
                core_advance(&w->core, 500);
        }
        core_drop_effects(&w->core);
}

/* Nodes that are silent from then on: one was heard here, one by a manager that told too early, and
 * one by a manager that told late; of the last nobody knows. Each is down when it is due. */
static void test_a_new_leader_goes_on(void **state)
{
        struct world *w = *state;
        struct core *r = &w->core;

        lead_anew(w);
        for (size_t i = 0; i < ALIVE; i++)
                core_register(r, "w", &w->n[i]);
        hear(w, 10, w->n[4].key, 1000);
        run(w, SELF);
        told(w, w->n[5].id, 500, SELF, NULL);
        core_advance(r, 500);
        heard_begin(w->heard, r->turn, r->store, now_ms(w));
        core_run(r);
        told(w, w->n[6].id, 500, SELF, r->turn);
        core_run(r);
        live(w, 3000);
        assert_int_not_equal(state_of(w, 4), NODE_DOWN);
        live(w, 500);
        assert_int_equal(state_of(w, 4), NODE_DOWN);
        assert_int_not_equal(state_of(w, 5), NODE_DOWN);
        live(w, 500);
        assert_int_equal(state_of(w, 5), NODE_DOWN);
        assert_int_not_equal(state_of(w, 6), NODE_DOWN);
        live(w, 500);
        assert_int_equal(state_of(w, 6), NODE_DOWN);
        for (size_t i = 0; i < ALIVE; i++)
                assert_int_equal(state_of(w, i), NODE_READY);
}

static bool has_begun_with_news(struct world *w)
{
        lead_anew(w);
        heard_begin(w->heard, w->core.turn, w->core.store, now_ms(w));
        return turn_has_inputs(w->core.turn);
}

static void test_what_is_not_kept(void **state)
{
        struct world *w = *state;

        /* for another leader */
        run(w, 1);
        told(w, w->n[0].id, 100, 1, NULL);
        assert_false(has_begun_with_news(w));
        /* for this one, and then another one leads */
        run(w, SELF);
        told(w, w->n[0].id, 100, SELF, NULL);
        run(w, 1);
        run(w, SELF);
        assert_false(has_begun_with_news(w));
        /* from the time to come */
        told(w, w->n[0].id, -1, SELF, NULL);
        assert_false(has_begun_with_news(w));
        /* once used */
        told(w, w->n[0].id, 100, SELF, NULL);
        assert_true(has_begun_with_news(w));
        assert_false(has_begun_with_news(w));
}

/* However often it is told too early: no more is kept than there are members. */
static void test_early_is_bounded(void **state)
{
        struct world *w = *state;

        run(w, SELF);
        for (int i = 0; i < 1000; i++)
                told(w, w->n[i % NODES].id, i, SELF, NULL);
        assert_true(has_begun_with_news(w));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_each_new_leader_is_told), TEST(test_told_once_the_state_is_there),
                TEST(test_a_new_leader_goes_on),    TEST(test_what_is_not_kept),
                TEST(test_early_is_bounded),
        };

        return cmocka_run_group_tests_name("heard", tests, NULL, NULL);
}
