/*
 * The manager's state tables in the simulation: rows that trail behind the memory, so that it may
 * start from them and the rest of the log, as the database of the daemon does.
 */
#include "tests/sim/sim.h"

#include <stdlib.h>

#define SLICE_ROWS_MAX 20

struct sim_row {
        struct id key; /* table, number */
        struct buf bytes;
};

static struct id key_of(enum row_table table, uint64_t row)
{
        return (struct id){(uint64_t)table + 1, row};
}

static void forget(struct sim_rows *rows, struct sim_row *r)
{
        map_remove(&rows->rows, r);
        buf_done(&r->bytes);
        free(r);
}

static void take_row(void *arg, const struct row *told)
{
        struct sim_rows *rows = arg;
        struct id key = key_of(told->table, told->row);
        struct sim_row *r = map_get_id(&rows->rows, key);

        if (!told->msg) {
                if (r)
                        forget(rows, r);
                return;
        }
        if (!r) {
                r = xnew(struct sim_row);
                r->key = key;
                map_put(&rows->rows, r);
        }
        buf_clear(&r->bytes);
        wire_pack(told->msg, &r->bytes);
}

void sim_rows_init(struct sim_rows *rows)
{
        rows->rows = MAP_INIT(struct sim_row, key, MAP_KEY_ID);
}

void sim_rows_clear(struct sim_rows *rows)
{
        struct sim_row *r;

        for (size_t i = 0; (r = map_next(&rows->rows, &i)); i = 0)
                forget(rows, r);
        rows->covered = rows->newest = 0;
}

void sim_rows_done(struct sim_rows *rows)
{
        sim_rows_clear(rows);
        map_done(&rows->rows);
}

void sim_rows_write(struct sim *sim)
{
        struct sim_manager *m = &sim->manager;
        struct sim_rows *rows = &m->rows;

        if (!store_unflushed_rows(m->store))
                return;
        if (store_is_between_rounds(m->store))
                rows->round_index = m->log_len;
        store_flush_rows(m->store, (size_t)sim_between(sim, 1, SLICE_ROWS_MAX), take_row, rows);
        rows->newest = m->log_len;
        if (store_is_between_rounds(m->store))
                rows->covered = rows->round_index;
}

static void load_table(struct sim *sim, enum row_table table)
{
        struct sim_row *r;
        size_t i;

        MAP_FOREACH (r, i, &sim->manager.rows.rows)
                if (r->key.hi == key_of(table, 0).hi &&
                    store_load_row(sim->manager.store, table, r->key.lo, r->bytes.data,
                                   r->bytes.len) < 0)
                        sim_fail(sim, "row %llu of table %d cannot be loaded",
                                 (unsigned long long)r->key.lo, table);
}

size_t sim_rows_load(struct sim *sim)
{
        static const enum row_table order[] = {ROW_CLUSTER,  ROW_NODES, ROW_SPECS,
                                               ROW_SERVICES, ROW_TASKS, ROW_IMAGES};

        for (size_t i = 0; i < ARRAY_SIZE(order); i++)
                load_table(sim, order[i]);
        return sim->manager.rows.covered;
}
