/*
 * The store under random operations: indexes, watches, counters, change lists, entries applied to a
 * second store, rows flushed to a table that is cut off anywhere and loaded again.
 */
#include "tests/lib/unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "manager/store/store.h"
#include "shared/base/base.h"
#include "shared/wire/wire.h"
#include "tests/lib/store_ops.h"

#define OPERATIONS 6000
#define SEEDS      6

/* --- a table of rows, as the database has it -----------------------------------------------------
 */
struct cell {
        uint64_t key;
        enum row_table table;
        uint64_t row;
        struct buf bytes;
};

struct tables {
        struct map cells;
};

static uint64_t key_of(enum row_table table, uint64_t row)
{
        return (uint64_t)table << 56 | row;
}

static void write_row(void *arg, const struct row *r)
{
        struct tables *t = arg;
        struct cell *c = map_get_u64(&t->cells, key_of(r->table, r->row));

        if (!r->msg) {
                assert_non_null(c);
                map_remove(&t->cells, c);
                buf_done(&c->bytes);
                free(c);
                return;
        }
        if (!c) {
                c = xnew(struct cell);
                c->key = key_of(r->table, r->row);
                c->table = r->table;
                c->row = r->row;
                map_put(&t->cells, c);
        }
        buf_clear(&c->bytes);
        wire_pack(r->msg, &c->bytes);
}

static int by_row(const void *a, const void *b)
{
        const struct cell *const *x = a, *const *y = b;

        return (*x)->row < (*y)->row ? -1 : (*x)->row > (*y)->row;
}

/* Loads a new store, in the order that the database loads in. */
static struct store *load_tables(struct tables *t)
{
        static const enum row_table order[] = {ROW_CLUSTER,  ROW_NODES, ROW_SPECS,
                                               ROW_SERVICES, ROW_TASKS, ROW_IMAGES};
        struct store *s = store_new();
        struct cell **sorted = xnew_array(struct cell *, t->cells.len + 1);
        size_t n = 0, i;
        struct cell *c;

        MAP_FOREACH (c, i, &t->cells)
                sorted[n++] = c;
        qsort(sorted, n, sizeof(*sorted), by_row);
        for (size_t k = 0; k < ARRAY_SIZE(order); k++)
                for (i = 0; i < n; i++)
                        if (sorted[i]->table == order[k])
                                assert_int_equal(store_load_row(s, order[k], sorted[i]->row,
                                                                sorted[i]->bytes.data,
                                                                sorted[i]->bytes.len),
                                                 0);
        free(sorted);
        return s;
}

static void tables_done(struct tables *t)
{
        struct cell *c;
        size_t i;

        MAP_FOREACH (c, i, &t->cells) {
                buf_done(&c->bytes);
                free(c);
        }
        map_done(&t->cells);
}

static void check_counters(struct store *s)
{
        struct service *service;
        struct task *task;
        size_t i;

        MAP_FOREACH (service, i, store_services(s)) {
                uint64_t running = 0, count = 0;

                LIST_FOREACH (task, &service->tasks, service_link) {
                        running += task->state == TASK_RUNNING && task->desired <= TASK_RUNNING;
                        count++;
                }
                assert_int_equal(running, store_running_tasks(s, service));
                assert_int_equal(count, service->task_count);
                assert_true(service->is_removing ||
                            store_find_service_by_name(s, service->name) == service);
        }
}

/* --- entries -------------------------------------------------------------------------------------
 */
static void test_applied_entries_equal_the_original(void **state UNUSED)
{
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
                struct store *s = store_new(), *copy = store_new();
                struct rng rng = {seed};

                for (int i = 0; i < OPERATIONS; i++) {
                        store_operate(s, &rng, i);
                        if (rng_below(&rng, 10))
                                continue;
                        struct buf entry = {0};
                        size_t expected = store_change_count(s);
                        assert_int_equal(store_take_changes(s, i, &entry), expected);
                        assert_int_equal(store_change_count(s), 0);
                        assert_int_equal(entry.len > 0, expected > 0);
                        int r = store_apply_entry(copy, entry.data, entry.len);
                        if (r < 0 || store_hash(s) != store_hash(copy))
                                print_error("seed %u, operation %d\n", (unsigned)seed, i);
                        assert_int_equal(r, 0);
                        assert_int_equal(store_hash(s), store_hash(copy));
                        buf_done(&entry);
                }
                check_counters(s);
                check_counters(copy);
                store_free(s);
                store_free(copy);
        }
}

/* --- rows ----------------------------------------------------------------------------------------
 */
struct history {
        struct buf entries[OPERATIONS + 1];
        size_t n; /* the index of the newest entry */
};

static void recover(struct tables *t, const struct history *h, size_t covered, size_t newest_row,
                    uint64_t hash)
{
        struct store *s = load_tables(t);

        for (size_t i = covered + 1; i <= h->n; i++) {
                store_set_recovering(s, i <= newest_row);
                assert_int_equal(store_apply_entry(s, h->entries[i].data, h->entries[i].len), 0);
        }
        store_set_recovering(s, false);
        assert_int_equal(store_hash(s), hash);
        check_counters(s);
        /* What it flushes then must stand alone. */
        struct tables after = {MAP_INIT(struct cell, key, MAP_KEY_U64)};
        struct cell *c;
        size_t i;
        MAP_FOREACH (c, i, &t->cells) {
                struct cell *dup = xnew(struct cell);

                *dup = *c;
                dup->bytes = (struct buf){0};
                buf_append(&dup->bytes, c->bytes.data, c->bytes.len);
                map_put(&after.cells, dup);
        }
        while (store_unflushed_rows(s) > 0)
                store_flush_rows(s, 1000, write_row, &after);
        struct store *again = load_tables(&after);
        assert_int_equal(store_hash(again), hash);
        store_free(again);
        store_free(s);
        tables_done(&after);
}

static void flush_slice(struct store *s, struct rng *rng, struct tables *t, size_t n,
                        size_t *round_index, size_t *covered)
{
        if (store_unflushed_rows(s) == 0)
                return;
        if (store_is_between_rounds(s))
                *round_index = n;
        store_flush_rows(s, 1 + rng_below(rng, 12), write_row, t);
        if (store_is_between_rounds(s))
                *covered = *round_index;
}

static void test_rows_cut_off_anywhere_recover(void **state UNUSED)
{
        for (uint64_t seed = 100; seed < 100 + SEEDS; seed++) {
                struct store *s = store_new();
                struct tables t = {MAP_INIT(struct cell, key, MAP_KEY_U64)};
                struct history *h = xnew(struct history);
                size_t round_index = 0, covered = 0, newest_row = 0;
                struct rng rng = {seed};

                print_message("# seed %u\n", (unsigned)seed);
                for (int i = 0; i < OPERATIONS; i++) {
                        store_operate(s, &rng, i);
                        if (rng_below(&rng, 5))
                                continue;
                        if (store_change_count(s) > 0)
                                store_take_changes(s, i, &h->entries[++h->n]);
                        else
                                store_take_changes(s, i, &(struct buf){0});
                        if (rng_below(&rng, 2)) {
                                flush_slice(s, &rng, &t, h->n, &round_index, &covered);
                                newest_row = h->n;
                        }
                        if (rng_below(&rng, 20) == 0)
                                recover(&t, h, covered, newest_row, store_hash(s));
                }
                store_take_changes(s, 0, &h->entries[++h->n]);
                while (store_unflushed_rows(s) > 0)
                        store_flush_rows(s, 7, write_row, &t);
                struct store *loaded = load_tables(&t);
                assert_int_equal(store_hash(loaded), store_hash(s));
                store_free(loaded);
                store_free(s);
                tables_done(&t);
                for (size_t i = 0; i <= h->n; i++)
                        buf_done(&h->entries[i]);
                free(h);
        }
}

/* --- single facts --------------------------------------------------------------------------------
 */
static struct service *add_web(struct store *s, struct rng *rng)
{
        Swarm__ServiceSpec spec = SWARM__SERVICE_SPEC__INIT;
        Swarm__TaskSpec task = SWARM__TASK_SPEC__INIT;

        spec.name = (char *)"web";
        spec.task = &task;
        return store_add_service(s, id_make(rng), &spec, 1);
}

static void test_made_and_removed_in_a_turn_leaves_nothing(void **state UNUSED)
{
        struct store *s = store_new();
        struct rng rng = {1};
        struct buf entry = {0};
        struct service *web = add_web(s, &rng);

        store_remove_service(s, web);
        assert_int_equal(store_change_count(s), 0);
        assert_int_equal(store_take_changes(s, 1, &entry), 0);
        assert_int_equal(entry.len, 0);
        assert_int_equal(store_unflushed_rows(s), 0);
        store_free(s);
}

static void test_suspect_is_not_recorded(void **state UNUSED)
{
        struct store *s = store_new();
        struct buf entry = {0};
        uint8_t key[32] = {1};
        struct node *node = store_add_node(s, (struct id){1, 2}, key, ROLE_WORKER, 1);

        store_set_node_state(s, node, NODE_READY, NULL, 2);
        store_take_changes(s, 1, &entry);
        uint64_t hash = store_hash(s), version = node->version;
        store_set_node_state(s, node, NODE_SUSPECT, NULL, 3);
        assert_int_equal(node->state, NODE_SUSPECT);
        assert_int_equal(store_change_count(s), 0);
        assert_int_equal(store_hash(s), hash);
        assert_int_equal(node->version, version);
        store_set_node_state(s, node, NODE_READY, NULL, 4);
        assert_int_equal(store_change_count(s), 0);
        store_set_node_state(s, node, NODE_DOWN, "silent", 5);
        assert_int_equal(store_change_count(s), 1);
        buf_done(&entry);
        store_free(s);
}

struct told {
        int created, updated, removed;
        enum task_state before;
};

static void on_task(void *arg, struct task *task, enum change_kind kind,
                    const struct task_before *before)
{
        struct told *t = arg;

        assert_non_null(task->service);
        assert_int_equal(kind == CHANGE_CREATED, before == NULL);
        t->created += kind == CHANGE_CREATED;
        t->updated += kind == CHANGE_UPDATED;
        t->removed += kind == CHANGE_REMOVED;
        if (before)
                t->before = before->state;
}

static void test_watchers_hear_what_was_before(void **state UNUSED)
{
        struct store *s = store_new();
        struct rng rng = {1};
        struct told told = {0};
        struct store_watch watch = {.arg = &told, .on_task = on_task};

        store_watch(s, &watch);
        struct service *web = add_web(s, &rng);
        struct task_init init = {.id = {5, 6}, .spec = web->spec, .slot = 1};
        struct task *task = store_add_task(s, web, &init);
        store_set_task_state(s, task, TASK_RUNNING, 9, "started", NULL, -1);
        assert_int_equal(told.before, TASK_NEW);
        assert_int_equal(task->running_ms, 9);
        store_set_task_message(s, task, "started", NULL);
        assert_int_equal(told.updated, 1);
        store_remove_task(s, task);
        assert_int_equal(told.before, TASK_RUNNING);
        assert_int_equal(told.created, 1);
        assert_int_equal(told.removed, 1);
        store_free(s);
}

static void test_a_removed_name_is_free(void **state UNUSED)
{
        struct store *s = store_new();
        struct rng rng = {1};
        struct service *old = add_web(s, &rng);

        store_set_service_removing(s, old);
        assert_null(store_find_service_by_name(s, "web"));
        struct service *new = add_web(s, &rng);
        assert_ptr_equal(store_find_service_by_name(s, "web"), new);
        store_remove_service(s, old);
        assert_ptr_equal(store_find_service_by_name(s, "web"), new);
        store_free(s);
}

static void test_bytes_that_are_no_entry(void **state UNUSED)
{
        struct store *s = store_new();
        struct buf entry = {0};
        struct rng rng = {7};

        for (int i = 0; i < 60; i++)
                store_operate(s, &rng, i);
        store_take_changes(s, 1, &entry);
        for (int i = 0; i < 3000; i++) {
                struct store *victim = store_new();
                uint8_t *bytes = xmemdup(entry.data, entry.len);
                size_t n = 1 + rng_below(&rng, entry.len);

                bytes[rng_below(&rng, entry.len)] ^= (uint8_t)(1 + rng_below(&rng, 255));
                int r = store_apply_entry(victim, bytes, n);
                assert_true(r == 0 || r == -EBADMSG || r == -EPROTO);
                free(bytes);
                store_free(victim);
        }
        assert_int_equal(store_load_row(s, ROW_TASKS, 1, (const uint8_t *)"\xff", 1), -EBADMSG);
        buf_done(&entry);
        store_free(s);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_applied_entries_equal_the_original),
                cmocka_unit_test(test_rows_cut_off_anywhere_recover),
                cmocka_unit_test(test_made_and_removed_in_a_turn_leaves_nothing),
                cmocka_unit_test(test_suspect_is_not_recorded),
                cmocka_unit_test(test_watchers_hear_what_was_before),
                cmocka_unit_test(test_a_removed_name_is_free),
                cmocka_unit_test(test_bytes_that_are_no_entry),
        };
        return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
