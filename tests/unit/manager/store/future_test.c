/*
 * A state that managers of a later version wrote: what this one does not know of an object stays
 * with it, whatever is done to the object, in entries and in rows. What it would have to
 * understand it does not take.
 */
#include "tests/lib/unit.h"

#include <errno.h>
#include <stdlib.h>

#include "manager/store/store.h"
#include "proto/cluster.pb-c.h"
#include "shared/base/base.h"
#include "shared/wire/wire.h"
#include "tests/lib/future.h"
#include "tests/lib/store_ops.h"

#define OPERATIONS 600

/* --- making it ----------------------------------------------------------------------------------
 */
/* The spec's own fields are in its packed bytes. */
static void age_spec(Swarm__SpecVersion *m)
{
        struct buf b = {0};
        Swarm__ServiceSpec *spec =
                wire_unpack_heap(&swarm__service_spec__descriptor, m->spec.data, m->spec.len);
        Swarm__ServiceSpec *future = future_of(spec, NULL);

        WIRE_PACK(future, &b);
        free(m->spec.data);
        m->spec = (ProtobufCBinaryData){b.len, xmemdup(b.data, b.len)};
        buf_done(&b);
        wire_free(spec);
        wire_free(future);
}

/* All that is put in a oneof is a pointer in its place. */
static void age_change(Swarm__Change *c)
{
        ProtobufCMessage *m = &c->put_node->base;

        if (c->kind_case >= SWARM__CHANGE__KIND_DELETE_NODE)
                return;
        if (c->kind_case == SWARM__CHANGE__KIND_PUT_SPEC)
                age_spec(c->put_spec);
        c->put_node = future_of(m, NULL);
        wire_free(m);
}

/* The changes of a store as a manager of a later version would write them. */
static void take_future(struct store *s, struct buf *ret)
{
        _cleanup_buf_ struct buf now = {0};

        store_take_changes(s, 1, &now);
        Swarm__Entry *entry = wire_unpack_heap(&swarm__entry__descriptor, now.data, now.len);
        assert_non_null(entry);
        for (size_t i = 0; i < entry->n_changes; i++)
                age_change(entry->changes[i]);
        WIRE_PACK(entry, ret);
        wire_free(entry);
}

static struct store *store_from_future(void)
{
        struct store *newer = store_new(), *s = store_new();
        _cleanup_buf_ struct buf entry = {0};
        struct rng rng = {11};

        for (int i = 0; i < OPERATIONS; i++)
                store_operate(newer, &rng, i);
        take_future(newer, &entry);
        assert_int_equal(store_apply_entry(s, entry.data, entry.len), 0);
        store_free(newer);
        return s;
}

/* --- looking at it ------------------------------------------------------------------------------
 */
struct seen {
        size_t rows[ROW_IMAGES + 1];
        struct store *loaded; /* from the rows */
};

static void check_whole(const void *message)
{
        size_t all;

        wire_free(future_of(message, &all));
        assert_int_equal(future_count(message), all);
}

static void on_row(void *arg, const struct row *r)
{
        _cleanup_buf_ struct buf b = {0};
        struct seen *seen = arg;

        assert_non_null(r->msg);
        check_whole(r->msg);
        if (r->table == ROW_SPECS) {
                const Swarm__SpecVersion *m = (const void *)r->msg;
                void *spec = wire_unpack_heap(&swarm__service_spec__descriptor, m->spec.data,
                                              m->spec.len);

                check_whole(spec);
                wire_free(spec);
        }
        seen->rows[r->table]++;
        wire_pack(r->msg, &b);
        assert_int_equal(store_load_row(seen->loaded, r->table, r->row, b.data, b.len), 0);
}

/* All rows that are behind. */
static void check_rows(struct store *s, struct seen *seen)
{
        store_flush_rows(s, SIZE_MAX, on_row, seen);
        assert_int_equal(store_unflushed_rows(s), 0);
}

static void test_rows_keep_what_is_not_known(void **state UNUSED)
{
        struct store *s = store_from_future();
        struct seen seen = {.loaded = store_new()};

        check_rows(s, &seen);
        for (size_t i = 0; i < ARRAY_SIZE(seen.rows); i++)
                assert_true(seen.rows[i] > 0);
        assert_int_equal(store_hash(seen.loaded), store_hash(s));
        store_free(seen.loaded);
        store_free(s);
}

/* As the stages do it: each object is changed in some way. */
static void change_all(struct store *s)
{
        struct service *service;
        struct image *image;
        struct task *task;
        struct node *node;
        size_t i;

        MAP_FOREACH (node, i, store_nodes(s)) {
                store_set_node_state(s, node, NODE_DOWN, "silent", 7);
                store_set_node_manager(s, node, 5, "10.0.0.1:7377", 8);
        }
        MAP_FOREACH (service, i, store_services(s))
                store_set_service_removing(s, service);
        MAP_FOREACH (task, i, store_tasks(s)) {
                store_set_task_desired(s, task, TASK_SHUTDOWN);
                store_set_task_message(s, task, "other", "words");
        }
        MAP_FOREACH (image, i, store_images(s))
                if (image->msg->n_names)
                        store_remove_image_name(s, image, image->msg->names[0]);
        Swarm__Cluster *cluster = wire_dup(store_cluster(s)->msg);
        cluster->version++;
        store_put_cluster(s, &cluster);
}

static void test_changed_objects_keep_what_is_not_known(void **state UNUSED)
{
        struct store *s = store_from_future(), *follower = store_from_future();
        struct seen seen = {.loaded = store_new()};
        _cleanup_buf_ struct buf entry = {0};

        change_all(s);
        store_take_changes(s, 1, &entry);
        check_rows(s, &seen);
        assert_int_equal(store_apply_entry(follower, entry.data, entry.len), 0);
        assert_int_equal(store_hash(follower), store_hash(s));
        store_free(seen.loaded);
        store_free(follower);
        store_free(s);
}

/* What cannot be passed over: a manager that did would have another state than the rest. */
static void test_what_must_be_understood_is_not_taken(void **state UNUSED)
{
        static const struct {
                const char *what;
                size_t n;
                uint8_t bytes[40];
        } cases[] = {
                {"a kind of change", 5, {0x0a, 3, 0xa2, 6, 0}}, /* Change: field 100 */
                {"a part of an entry", 3, {0x1a, 1, 0}},        /* Entry: field 3 */
        };
        Swarm__Node node = SWARM__NODE__INIT;
        uint8_t id[ID_BYTES], key[32] = {1};
        _cleanup_buf_ struct buf b = {0};

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct store *s = store_new();

                if (store_apply_entry(s, cases[i].bytes, cases[i].n) != -EPROTO)
                        fail_msg("%s", cases[i].what);
                store_free(s);
        }
        node.id = wire_id((struct id){1, 2}, id);
        node.public_key = (ProtobufCBinaryData){sizeof(key), key};
        node.state = 99;
        WIRE_PACK(&node, &b);
        struct store *s = store_new();
        assert_int_equal(store_load_row(s, ROW_NODES, 1, b.data, b.len), -EPROTO);
        store_free(s);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_rows_keep_what_is_not_known),
                cmocka_unit_test(test_changed_objects_keep_what_is_not_known),
                cmocka_unit_test(test_what_must_be_understood_is_not_taken),
        };

        return cmocka_run_group_tests_name("future", tests, NULL, NULL);
}
