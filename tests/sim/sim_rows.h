/* The state tables of a simulated disk: see sim_rows.c. */
#pragma once

#include "manager/consensus/raft/message.h"
#include "shared/base/buf.h"
#include "shared/base/map.h"

struct sim;
struct store;

/* The state tables: what survives beside the log. */
struct sim_rows {
        struct map rows;
        uint64_t covered; /* the log up to it is in the rows */
        uint64_t newest;  /* no row is newer */
};

/* Some rows on their way there. */
struct sim_slice {
        struct sim_row **rows;
        size_t n, cap;
        uint64_t covered; /* 0: no round has ended */
        uint64_t newest;
};

void sim_rows_init(struct sim_rows *rows);
void sim_rows_clear(struct sim_rows *rows);
void sim_rows_done(struct sim_rows *rows);
/* Some that are behind. The store must be as what is agreed made it. */
void sim_slice_take(struct sim_slice *slice, struct store *store, size_t max);
void sim_slice_done(struct sim_slice *slice);
/* Empties the slice. */
void sim_rows_put(struct sim_rows *rows, struct sim_slice *slice);
/* The rows, and entries from covered + 1 on: the state at newest. Fails the simulation if they are
 * not. The caller's. */
struct store *sim_rows_load(struct sim *sim, const struct sim_rows *rows,
                            const struct raft_entry *entries);
/* A copy: the rows and those entries, as bytes and back. */
void sim_rows_pack(const struct sim_rows *rows, const struct raft_entry *entries, struct buf *ret);
/* Returns the entries; the caller's. */
struct raft_entry *sim_rows_unpack(struct sim *sim, const struct buf *b, struct sim_rows *ret);
