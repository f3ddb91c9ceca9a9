/* Managers that have joined, driven through the turn: those that are never heard are taken off. */
#include "tests/lib/unit.h"

#include "shared/base/base.h"
#include "tests/lib/turn_rig.h"

/* The node says that it lives, once a period, for so long. */
static void live(struct core *r, const struct core_node *n, int64_t ms)
{
        for (; ms > 0; ms -= 500) {
                core_heartbeat(r, n, 1000000);
                core_advance(r, 500);
        }
        core_drop_effects(r);
}

/* Members of the log: what the leader knows of each. */
static struct turn_member members[2];

static bool get_member(void *arg UNUSED, size_t i, struct turn_member *ret)
{
        if (i < ARRAY_SIZE(members))
                *ret = members[i];
        return i < ARRAY_SIZE(members);
}

/* A manager beside n, which has an agent, and one alone; neither was heard yet. */
static void open_with_newcomers(struct core *r, struct core_node *n, struct id *ret_alone)
{
        static const struct turn_config config = {
                .seed = 1, .version = "1.0", .hostname = "m", .get_member = get_member};
        uint8_t key[32] = {7};

        for (size_t i = 0; i < ARRAY_SIZE(members); i++)
                members[i] = (struct turn_member){i + 1, "10.0.0.1:1", MEMBER_LEARNER,
                                                  MANAGER_UNREACHABLE, -1};
        core_open(r);
        turn_free(r->turn);
        r->turn = turn_new(r->store, &config, r->now);
        core_add_node(r, "n1", n);
        struct node *node = store_find_node(r->store, n->id);
        store_set_node_spec(r->store, node, node->availability, ROLE_MANAGER, NULL, 0, 1);
        store_set_node_manager(r->store, node, 1, "10.0.0.1:1", 1);
        *ret_alone = (struct id){7, 7};
        node = store_add_node(r->store, *ret_alone, key, ROLE_MANAGER, 1);
        store_set_node_manager(r->store, node, 2, "10.0.0.2:1", 1);
        core_run(r);
}

static void test_manager_never_reached(void **state UNUSED)
{
        struct core_node n;
        struct core r;
        struct id alone;

        open_with_newcomers(&r, &n, &alone);
        live(&r, &n, 19500);
        assert_int_equal(store_find_node(r.store, n.id)->role, ROLE_MANAGER);
        assert_non_null(store_find_node(r.store, alone));
        core_advance(&r, 500);
        assert_int_equal(store_find_node(r.store, n.id)->role, ROLE_WORKER);
        assert_int_equal(store_find_node(r.store, n.id)->manager_id, 0);
        assert_null(store_find_node(r.store, alone));
        core_close(&r);
}

/* One that votes, that is heard, or that was heard before, stays. */
static void test_manager_reached(void **state UNUSED)
{
        static const struct turn_member reached[] = {
                {1, "a", MEMBER_VOTER, MANAGER_UNREACHABLE, -1},
                {1, "a", MEMBER_LEARNER, MANAGER_REACHABLE, -1},
                {1, "a", MEMBER_LEARNER, MANAGER_UNREACHABLE, 7},
        };

        for (size_t i = 0; i < ARRAY_SIZE(reached); i++) {
                struct core_node n;
                struct core r;
                struct id alone;

                open_with_newcomers(&r, &n, &alone);
                live(&r, &n, 19500);
                members[0] = reached[i];
                live(&r, &n, 40000);
                assert_int_equal(store_find_node(r.store, n.id)->role, ROLE_MANAGER);
                assert_null(store_find_node(r.store, alone));
                core_close(&r);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_manager_never_reached),
                cmocka_unit_test(test_manager_reached),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
