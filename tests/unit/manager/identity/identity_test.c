/* The manager's identity: keys and secrets of a cluster, and the gate. */
#include "tests/lib/unit.h"

#include "manager/identity/identity.h"

#include <string.h>

#include "shared/wire/wire.h"

static Swarm__Cluster *new_cluster(int64_t wall_ms)
{
        struct net_keys keys;

        assert_int_equal(net_keys_make(&keys), 0);
        return cluster_make(&keys, wall_ms);
}

static void test_cluster(void **state)
{
        struct net_keys keys;
        struct join_token token;
        char text[IDENTITY_TOKEN_TEXT_LEN + 1];

        (void)state;
        Swarm__Cluster *a = new_cluster(1000), *b = new_cluster(1000);
        assert_int_equal(a->id.len, ID_BYTES);
        assert_int_equal(a->settings->heartbeat_ms, 1000);
        assert_int_equal(a->created_ms, 1000);
        assert_int_equal(net_keys_derive(a->secret_key.data, &keys), 0);
        assert_memory_equal(keys.public_key, a->public_key.data, NET_KEY_BYTES);
        assert_string_not_equal(a->worker_secret, a->manager_secret);
        assert_string_not_equal(a->worker_secret, b->worker_secret);
        assert_memory_not_equal(a->secret_key.data, b->secret_key.data, NET_KEY_BYTES);
        cluster_token(a, ROLE_MANAGER, text);
        assert_int_equal(join_token_parse(text, &token, NULL), 0);
        assert_string_equal(token.secret, a->manager_secret);
        assert_memory_equal(token.cluster_key, a->public_key.data, NET_KEY_BYTES);
        wire_free(a);
        wire_free(b);
}

static void test_secrets(void **state)
{
        char next[IDENTITY_SECRET_TEXT_LEN + 1], again[IDENTITY_SECRET_TEXT_LEN + 1];
        char other[IDENTITY_SECRET_TEXT_LEN + 1];

        (void)state;
        Swarm__Cluster *c = new_cluster(0);
        assert_true(cluster_secret_is(c, ROLE_WORKER, c->worker_secret));
        assert_false(cluster_secret_is(c, ROLE_MANAGER, c->worker_secret));
        assert_false(cluster_secret_is(c, ROLE_WORKER, ""));
        assert_false(cluster_secret_is(c, ROLE_WORKER, "x"));
        cluster_next_secret(c, ROLE_WORKER, next);
        cluster_next_secret(c, ROLE_WORKER, again);
        cluster_next_secret(c, ROLE_MANAGER, other);
        assert_int_equal(strlen(next), IDENTITY_SECRET_TEXT_LEN);
        assert_string_equal(next, again); /* a function of the state */
        assert_string_not_equal(next, other);
        assert_string_not_equal(next, c->worker_secret);
        wire_free(c);
        /* A cluster without secrets lets nobody in. */
        Swarm__Cluster empty = SWARM__CLUSTER__INIT;
        assert_false(cluster_secret_is(&empty, ROLE_WORKER, ""));
}

static void make_key(unsigned n, uint8_t ret[NET_KEY_BYTES])
{
        memset(ret, 0, NET_KEY_BYTES);
        ret[0] = (uint8_t)n;
        ret[1] = (uint8_t)(n >> 8);
}

static void test_gate(void **state)
{
        struct store *store = store_new();
        struct id node = {1, 2}, other = {3, 4};
        uint8_t known[NET_KEY_BYTES], stranger[NET_KEY_BYTES], twin[NET_KEY_BYTES];

        (void)state;
        make_key(1, known);
        make_key(2, stranger);
        make_key(1, twin); /* the same beginning, another end */
        twin[NET_KEY_BYTES - 1] = 1;
        store_add_node(store, node, known, ROLE_WORKER, 0);
        struct gate *g = gate_new(store);

        assert_true(id_is_equal(gate_node(g, known), node));
        assert_true(id_is_zero(gate_node(g, stranger)));
        assert_true(id_is_zero(gate_node(g, twin)));
        gate_allow(g, stranger, other);
        assert_true(id_is_equal(gate_node(g, stranger), other));
        gate_forget(g, twin); /* of no one: nothing happens to the one it resembles */
        assert_true(id_is_equal(gate_node(g, known), node));
        gate_forget(g, known);
        assert_true(id_is_zero(gate_node(g, known)));
        gate_allow(g, known, other); /* it joined anew */
        assert_true(id_is_equal(gate_node(g, known), other));
        gate_free(g);
        gate_free(NULL);
        store_free(store);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_cluster),
                cmocka_unit_test(test_secrets),
                cmocka_unit_test(test_gate),
        };

        return cmocka_run_group_tests_name("identity", tests, NULL, NULL);
}
