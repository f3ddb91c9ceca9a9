/*
 * The state tables in the simulation: rows that trail behind the memory, so that a manager may
 * start from them and the rest of the log, as the database of the daemon does. A copy of them is
 * what a manager that lags is sent.
 */
#include "tests/sim/sim_rows.h"

#include <stdlib.h>

#include "tests/sim/sim.h"

struct sim_row {
        struct id key; /* table, number */
        bool is_gone;
        struct buf bytes;
};

static struct id key_of(enum row_table table, uint64_t row)
{
        return (struct id){(uint64_t)table + 1, row};
}

static void free_row(struct sim_row *r)
{
        buf_done(&r->bytes);
        free(r);
}

static void forget(struct sim_rows *rows, struct sim_row *r)
{
        map_remove(&rows->rows, r);
        free_row(r);
}

void sim_rows_init(struct sim_rows *rows)
{
        *rows = (struct sim_rows){.rows = MAP_INIT(struct sim_row, key, MAP_KEY_ID)};
}

void sim_rows_clear(struct sim_rows *rows)
{
        struct sim_row *r;
        size_t i;

        MAP_FOREACH (r, i, &rows->rows)
                free_row(r);
        map_done(&rows->rows);
        sim_rows_init(rows);
}

void sim_rows_done(struct sim_rows *rows)
{
        sim_rows_clear(rows);
        map_done(&rows->rows);
}

/* --- writing ------------------------------------------------------------------------------------
 */
static void take_row(void *arg, const struct row *told)
{
        struct sim_slice *slice = arg;
        struct sim_row *r = xnew(struct sim_row);

        r->key = key_of(told->table, told->row);
        r->is_gone = !told->msg;
        if (told->msg)
                wire_pack(told->msg, &r->bytes);
        if (slice->n == slice->cap) {
                slice->cap = slice->cap ? slice->cap * 2 : 16;
                slice->rows = xreallocarray(slice->rows, slice->cap, sizeof(*slice->rows));
        }
        slice->rows[slice->n++] = r;
}

void sim_slice_take(struct sim_slice *slice, struct store *store, size_t max)
{
        store_flush_rows(store, max, take_row, slice);
}

void sim_slice_done(struct sim_slice *slice)
{
        for (size_t i = 0; i < slice->n; i++)
                free_row(slice->rows[i]);
        free(slice->rows);
        *slice = (struct sim_slice){0};
}

void sim_rows_put(struct sim_rows *rows, struct sim_slice *slice)
{
        for (size_t i = 0; i < slice->n; i++) {
                struct sim_row *r = slice->rows[i], *old = map_get_id(&rows->rows, r->key);

                if (old)
                        forget(rows, old);
                if (r->is_gone)
                        free_row(r);
                else
                        map_put(&rows->rows, r);
        }
        rows->newest = MAX(rows->newest, slice->newest);
        rows->covered = MAX(rows->covered, slice->covered);
        slice->n = 0;
        sim_slice_done(slice);
}

/* --- reading ------------------------------------------------------------------------------------
 */
static void load_table(struct sim *sim, const struct sim_rows *rows, enum row_table table,
                       struct store *store)
{
        struct sim_row *r;
        size_t i;

        MAP_FOREACH (r, i, &rows->rows)
                if (r->key.hi == key_of(table, 0).hi &&
                    store_load_row(store, table, r->key.lo, r->bytes.data, r->bytes.len) < 0)
                        sim_fail(sim, "row %llu of table %d cannot be loaded",
                                 (unsigned long long)r->key.lo, table);
}

struct store *sim_rows_load(struct sim *sim, const struct sim_rows *rows,
                            const struct raft_entry *entries)
{
        static const enum row_table order[] = {ROW_CLUSTER,  ROW_NODES, ROW_SPECS,
                                               ROW_SERVICES, ROW_TASKS, ROW_IMAGES};
        struct store *store = store_new();

        for (size_t i = 0; i < ARRAY_SIZE(order); i++)
                load_table(sim, rows, order[i], store);
        store_set_recovering(store, true);
        for (uint64_t i = rows->covered; i < rows->newest && !sim->failure[0]; i++) {
                const struct raft_entry *e = &entries[i - rows->covered];

                if (e->kind == RAFT_ENTRY_DATA &&
                    store_apply_entry(store, e->bytes->data, e->bytes->len) < 0)
                        sim_fail(sim, "entry %llu of the log cannot be replayed",
                                 (unsigned long long)i + 1);
        }
        store_set_recovering(store, false);
        if (store_hash(store) != sim_agreed_hash(sim, rows->newest))
                sim_fail(sim, "rows up to entry %llu and the log from %llu on give another state",
                         (unsigned long long)rows->newest, (unsigned long long)rows->covered);
        return store;
}

/* --- copies -------------------------------------------------------------------------------------
 */
static void put_u64(struct buf *b, uint64_t v)
{
        buf_append(b, &v, sizeof(v));
}

static void put_bytes(struct buf *b, const void *p, size_t n)
{
        put_u64(b, n);
        buf_append(b, p, n);
}

void sim_rows_pack(const struct sim_rows *rows, const struct raft_entry *entries, struct buf *ret)
{
        struct sim_row *r;
        size_t i;

        put_u64(ret, rows->covered);
        put_u64(ret, rows->newest);
        for (uint64_t k = 0; k < rows->newest - rows->covered; k++) {
                put_u64(ret, entries[k].term);
                put_u64(ret, (uint64_t)entries[k].kind);
                if (entries[k].bytes)
                        put_bytes(ret, entries[k].bytes->data, entries[k].bytes->len);
                else
                        put_bytes(ret, NULL, 0);
        }
        put_u64(ret, rows->rows.len);
        MAP_FOREACH (r, i, &rows->rows) {
                put_u64(ret, r->key.hi);
                put_u64(ret, r->key.lo);
                put_bytes(ret, r->bytes.data, r->bytes.len);
        }
}

struct reader {
        const uint8_t *at, *end;
        bool has_failed;
};

static const uint8_t *get(struct reader *r, size_t n)
{
        static const uint8_t nothing[8];

        r->has_failed |= (size_t)(r->end - r->at) < n;
        if (r->has_failed)
                return nothing;
        r->at += n;
        return r->at - n;
}

static uint64_t get_u64(struct reader *r)
{
        uint64_t v;

        memcpy(&v, get(r, sizeof(v)), sizeof(v));
        return v;
}

static void get_row(struct reader *r, struct sim_rows *ret)
{
        struct sim_row *row = xnew(struct sim_row);

        row->key.hi = get_u64(r);
        row->key.lo = get_u64(r);
        size_t n = get_u64(r);
        buf_append(&row->bytes, get(r, n), r->has_failed ? 0 : n);
        map_put(&ret->rows, row);
}

struct raft_entry *sim_rows_unpack(struct sim *sim, const struct buf *b, struct sim_rows *ret)
{
        struct reader r = {b->data, b->data + b->len, false};

        sim_rows_clear(ret);
        ret->covered = get_u64(&r);
        ret->newest = get_u64(&r);
        uint64_t n = r.has_failed ? 0 : ret->newest - ret->covered;
        struct raft_entry *entries = xnew_array(struct raft_entry, n + 1);
        for (uint64_t i = 0; i < n && !r.has_failed; i++) {
                entries[i].term = get_u64(&r);
                entries[i].kind = (enum raft_entry_kind)get_u64(&r);
                size_t len = get_u64(&r);
                const uint8_t *p = get(&r, len);
                entries[i].bytes = len && !r.has_failed ? raft_bytes_new(p, len) : NULL;
        }
        for (uint64_t left = get_u64(&r); left && !r.has_failed; left--)
                get_row(&r, ret);
        if (r.has_failed || r.at != r.end)
                sim_fail(sim, "a snapshot of %zu bytes is not what was sent", b->len);
        return entries;
}
