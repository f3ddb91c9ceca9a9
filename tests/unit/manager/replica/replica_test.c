/* The replica: what it does with an entry that consensus does not take. */
#include "tests/lib/unit.h"

#include <string.h>

#include "manager/replica/replica.h"
#include "shared/base/base.h"
#include "shared/wire/wire.h"

#define ENTRY_BYTES_MAX 4000

/* A manager alone, with a disk that keeps the log and is told to be done with it. */
struct alone {
        struct replica *replica;
        struct now now;
        struct buf entries[100]; /* by index; of data, else empty */
        uint64_t written;        /* seq of the last write */
        bool is_load_wanted;
        int turns_begun, turns_ended;
        bool has_failed;
};

static void on_write(void *arg, struct raft_write *w)
{
        struct alone *a = arg;

        for (size_t i = 0; i < w->n_entries; i++) {
                const struct raft_entry *e = &w->entries[i];

                if (e->kind == RAFT_ENTRY_DATA && e->bytes)
                        buf_append(&a->entries[w->from + i], e->bytes->data, e->bytes->len);
        }
        a->written = w->seq;
        raft_write_done(w);
}

static void on_set_store(void *arg UNUSED, struct store *store UNUSED)
{
}

static void on_index(void *arg UNUSED, uint64_t index UNUSED)
{
}

static void on_load(void *arg)
{
        ((struct alone *)arg)->is_load_wanted = true;
}

static void on_cut_log(void *arg UNUSED, const struct raft_base *base UNUSED)
{
}

static void on_send(void *arg UNUSED, const struct raft_message *m UNUSED)
{
}

static void on_release(void *arg UNUSED, struct list *effects)
{
        effects_free(effects);
}

static void on_lead(void *arg UNUSED, struct store *store, struct now now)
{
        if (!store_find_node(store, (struct id){1, 1}))
                store_add_node(store, (struct id){1, 1}, (const uint8_t[32]){1}, ROLE_MANAGER,
                               now.wall_ms);
}

static void on_turn(void *arg, struct turn *turn UNUSED, struct store *store UNUSED)
{
        ((struct alone *)arg)->turns_begun++;
}

static void on_lead_end(void *arg)
{
        ((struct alone *)arg)->turns_ended++;
}

static void on_failure(void *arg, const char *text UNUSED)
{
        ((struct alone *)arg)->has_failed = true;
}

static void report(struct alone *a)
{
        replica_persisted(a->replica, a->now, a->written);
        if (!a->is_load_wanted)
                return;
        struct store *store = store_new();
        uint64_t index = replica_status(a->replica)->commit_index;

        a->is_load_wanted = false;
        for (uint64_t i = 1; i <= index; i++)
                assert_int_equal(store_apply_entry(store, a->entries[i].data, a->entries[i].len),
                                 0);
        replica_loaded(a->replica, a->now, store, index);
}

static void run(struct alone *a)
{
        for (int i = 0; i < 50; i++) {
                replica_run(a->replica, a->now);
                report(a);
                a->now.mono_ms += 100;
                a->now.wall_ms += 100;
        }
}

static void label(struct alone *a, size_t n_bytes)
{
        _cleanup_free_ char *value = xcalloc(1, n_bytes + 1);
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__NodeUpdate u = SWARM__NODE_UPDATE__INIT;
        Swarm__KeyValue kv = SWARM__KEY_VALUE__INIT, *labels[] = {&kv};
        char key[] = "key";
        _cleanup_buf_ struct buf b = {0};
        _cleanup_free_ char *ref = xstrdup(id_text((struct id){1, 1}).s);

        memset(value, 'x', n_bytes);
        kv.key = key;
        kv.value = value;
        u.ref = ref;
        u.label_add = labels;
        u.n_label_add = 1;
        q.number = 1;
        q.protocol = CONTROL_PROTOCOL;
        q.kind_case = SWARM__REQUEST__KIND_NODE_UPDATE;
        q.node_update = &u;
        WIRE_PACK(&q, &b);
        assert_int_equal(turn_input_client(replica_turn(a->replica), (struct peer){.connection = 1},
                                           b.data, b.len),
                         0);
        run(a);
}

static size_t label_bytes(struct alone *a)
{
        const struct node *node = store_find_node(replica_store(a->replica), (struct id){1, 1});

        return node->labels->n_labels ? strlen(node->labels->labels[0]->value) : 0;
}

/* What made it is not done; the manager goes on to lead, from what is agreed. */
static void test_too_large_an_entry(void **state UNUSED)
{
        struct alone a = {.now = {1000, 1000}};
        struct turn_config turn = {.seed = 1, .version = "1"};
        struct replica_config c = {
                .start = {.id = 1,
                          .now_ms = 1000,
                          .settings.entry_bytes_max = ENTRY_BYTES_MAX,
                          .base.members = {.n = 1, .of = {{.id = 1, .is_voter = true}}}},
                .store = store_new(),
                .turn = &turn,
                .ops = {&a, on_write, on_set_store, on_index, on_load, on_cut_log, on_send, NULL,
                        on_release, on_lead, on_turn, on_lead_end, on_failure}};

        assert_int_equal(replica_new(&c, &a.replica), 0);
        run(&a);
        assert_non_null(replica_turn(a.replica));
        label(&a, 100);
        assert_int_equal(label_bytes(&a), 100);
        assert_int_equal(a.turns_begun, 1);
        label(&a, ENTRY_BYTES_MAX);
        assert_false(a.has_failed);
        assert_int_equal(a.turns_ended, 1);
        assert_int_equal(a.turns_begun, 2);
        assert_int_equal(label_bytes(&a), 100);
        label(&a, 200);
        assert_int_equal(label_bytes(&a), 200);
        replica_free(a.replica);
        for (size_t i = 0; i < ARRAY_SIZE(a.entries); i++)
                buf_done(&a.entries[i]);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_too_large_an_entry),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
