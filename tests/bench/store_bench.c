/*
 * What the state costs: memory of 1,000,000 tasks, encoding and applying 100,000 changed tasks,
 * commits per second, and reading everything back at start. One line of JSON a figure.
 */
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>

#include "shared/base/base.h"
#include "shared/wire/wire.h"
#include "tests/lib/db_rig.h"

#define TASKS         1000000
#define SERVICES      1000
#define NODES         5000
#define SMALL_ENTRIES 5000
#define IN_FLIGHT     64 /* small entries proposed before the oldest is durable */

static void figure(const char *name, double value, const char *unit, const char *aim)
{
        printf("{\"figure\":\"%s\",\"value\":%.6g,\"unit\":\"%s\",\"aim\":\"%s\"}\n", name, value,
               unit, aim);
        fflush(stdout);
}

static double rss_mb(void)
{
        _cleanup_buf_ struct buf b = {0};
        unsigned long pages = 0;

        if (io_read_file(AT_FDCWD, "/proc/self/statm", 4096, &b) == 0)
                sscanf(buf_str(&b), "%*u %lu", &pages);
        return (double)pages * 4096 / 1e6;
}

struct bench {
        struct db_rig db;
        struct store *store; /* the database's, or another */
        struct rng rng;
        struct node *nodes[NODES];
};

static void give_up(const char *text)
{
        fprintf(stderr, "store_bench: %s\n", text);
        exit(1);
}

/* Until all that was proposed is durable. */
static void await(struct bench *b)
{
        db_rig_wait(&b->db, &b->db.durable, b->db.last);
        if (b->db.failure)
                give_up(b->db.failure_text);
}

static void commit(struct bench *b)
{
        db_rig_propose(&b->db, 1);
        await(b);
}

static void open_bench(struct bench *b, const char *dir)
{
        struct err err = {0};

        b->db = (struct db_rig){.is_cutting = true};
        if (db_rig_open(&b->db, dir, &err) < 0)
                give_up(err.text);
        b->store = b->db.store;
}

static void add_nodes(struct bench *b)
{
        Swarm__NodeDescription d = SWARM__NODE_DESCRIPTION__INIT;

        d.hostname = (char *)"node";
        d.os = (char *)"linux";
        d.arch = (char *)"x86_64";
        for (size_t i = 0; i < NODES; i++) {
                struct id key[2] = {id_make(&b->rng), id_make(&b->rng)};

                b->nodes[i] =
                        store_add_node(b->store, id_make(&b->rng), (uint8_t *)key, ROLE_WORKER, 1);
                store_set_node_description(b->store, b->nodes[i], &d, 1);
                store_set_node_state(b->store, b->nodes[i], NODE_READY, NULL, 1);
        }
}

static void add_service(struct bench *b, size_t number)
{
        Swarm__ServiceSpec spec = SWARM__SERVICE_SPEC__INIT;
        Swarm__TaskSpec task = SWARM__TASK_SPEC__INIT;
        char name[32];

        snprintf(name, sizeof(name), "service-%zu", number);
        spec.name = name;
        spec.task = &task;
        spec.replicas = TASKS / SERVICES;
        struct service *service = store_add_service(b->store, id_make(&b->rng), &spec, 1);
        for (uint32_t slot = 1; slot <= TASKS / SERVICES; slot++) {
                struct task_init init = {.id = id_make(&b->rng),
                                         .spec = service->spec,
                                         .slot = slot,
                                         .node = b->nodes[rng_below(&b->rng, NODES)],
                                         .state = TASK_ASSIGNED,
                                         .desired = TASK_RUNNING,
                                         .created_ms = 1700000000000};
                store_add_task(b->store, service, &init);
        }
}

/* Up to n tasks from slot *i of the map on become RUNNING. */
static void run_tasks(struct bench *b, size_t n, size_t *i)
{
        const struct map *tasks = store_tasks(b->store);
        struct task *task;

        while (n > 0 && (task = map_next(tasks, i))) {
                store_set_task_state(b->store, task, TASK_RUNNING, 1700000001000, "started", NULL,
                                     -1);
                n--;
        }
}

static void bench_memory(struct bench *b)
{
        int64_t start = time_mono_us();
        size_t position = 0;

        add_nodes(b);
        for (size_t i = 0; i < SERVICES; i++) {
                add_service(b, i);
                if (i % 50 == 49)
                        commit(b);
        }
        for (size_t done = 0; done < TASKS; done += 50000) {
                run_tasks(b, 50000, &position);
                commit(b);
        }
        figure("store: 1,000,000 tasks made and run, committed",
               2 * TASKS / ((double)(time_mono_us() - start) / 1e6), "changes/s", "");
        figure("store: memory with 1,000,000 tasks, rows on their way", rss_mb(), "MB", "400");
}

static void on_row(void *arg UNUSED, const struct row *r UNUSED)
{
}

static void bench_encode(struct bench *b)
{
        struct store *copy = store_new();
        struct buf entry = {0};
        size_t position = 0, i, n;

        /* A second store with 100,000 of the tasks, from an entry. */
        b->store = store_new();
        add_nodes(b);
        for (i = 0; i < 100000 / (TASKS / SERVICES); i++)
                add_service(b, i);
        store_take_changes(b->store, 1, &entry);
        if (store_apply_entry(copy, entry.data, entry.len) < 0)
                abort();
        run_tasks(b, 100000, &position);
        buf_clear(&entry);
        int64_t start = time_mono_us();
        n = store_take_changes(b->store, 1, &entry);
        figure("store: encode 100,000 changed tasks", (double)(time_mono_us() - start) / 1e3, "ms",
               "100");
        figure("store: bytes a changed task", (double)entry.len / (double)n, "B", "");
        start = time_mono_us();
        if (store_apply_entry(copy, entry.data, entry.len) < 0)
                abort();
        figure("store: apply 100,000 changed tasks", (double)(time_mono_us() - start) / 1e3, "ms",
               "100");
        if (store_hash(copy) != store_hash(b->store))
                abort();
        start = time_mono_us();
        while (store_unflushed_rows(b->store) > 0)
                store_flush_rows(b->store, DB_SLICE_ROWS_MAX, on_row, NULL);
        figure("store: tell 100,000 rows", (double)(time_mono_us() - start) / 1e3, "ms", "");
        buf_done(&entry);
        store_free(copy);
        store_free(b->store);
}

/* One changed task an entry. */
static void bench_commits(struct bench *b)
{
        size_t position = 0, sent = 0;
        struct task *task = map_next(store_tasks(b->store), &position);
        int64_t start = time_mono_us();

        for (size_t i = 0; i < 1000; i++) {
                store_set_task_desired(b->store, task, i & 1 ? TASK_RUNNING : TASK_SHUTDOWN);
                commit(b);
        }
        figure("store: commits, one at a time", 1000 / ((double)(time_mono_us() - start) / 1e6),
               "entries/s", "");
        start = time_mono_us();
        while (sent < SMALL_ENTRIES) {
                for (size_t i = 0; i < IN_FLIGHT; i++, sent++) {
                        store_set_task_desired(b->store, task,
                                               i & 1 ? TASK_RUNNING : TASK_SHUTDOWN);
                        db_rig_propose(&b->db, 1);
                }
                await(b);
        }
        figure("store: commits, 64 at a time",
               (double)sent / ((double)(time_mono_us() - start) / 1e6), "entries/s", "");
}

/* Until the tables cover everything. */
static void settle(struct bench *b)
{
        db_rig_wait(&b->db, &b->db.covered, b->db.last);
}

int main(void)
{
        char dir[] = "store-bench-XXXXXX";
        struct bench *b = xnew(struct bench), *side = xnew(struct bench);

        if (!mkdtemp(dir))
                return 1;
        side->rng.state = 2;
        bench_encode(side);
        malloc_trim(0);
        b->rng.state = 1;
        open_bench(b, dir);
        bench_memory(b);
        int64_t start = time_mono_us();
        settle(b);
        figure("store: until the tables cover it", (double)(time_mono_us() - start) / 1e6, "s", "");
        figure("store: memory with 1,000,000 tasks, settled", rss_mb(), "MB", "400");
        bench_commits(b);
        settle(b);
        uint64_t hash = store_hash(b->store);
        db_rig_close(&b->db);
        malloc_trim(0);
        start = time_mono_us();
        open_bench(b, dir);
        figure("store: start with 1,000,000 tasks", (double)(time_mono_us() - start) / 1e6, "s",
               "");
        figure("store: memory with 1,000,000 tasks after a start", rss_mb(), "MB", "400");
        bool is_equal = store_hash(b->store) == hash;
        db_rig_close(&b->db);
        io_remove_tree(AT_FDCWD, dir);
        free(b);
        free(side);
        if (!is_equal)
                fprintf(stderr, "store_bench: the state that was read is another\n");
        return is_equal ? 0 : 1;
}
