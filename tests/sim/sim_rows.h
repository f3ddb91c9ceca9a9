/* The manager's state tables in the simulation: see sim_rows.c. */
#pragma once

#include "shared/base/map.h"

struct sim;

/* The state tables: what survives beside the log. */
struct sim_rows {
        struct map rows;
        size_t covered;     /* the log up to it is in the rows */
        size_t newest;      /* no row is newer */
        size_t round_index; /* what the present round will cover */
};

void sim_rows_init(struct sim_rows *rows);
void sim_rows_clear(struct sim_rows *rows);
void sim_rows_done(struct sim_rows *rows);
/* Writes some that are behind. The store must be as the log is. */
void sim_rows_write(struct sim *sim);
/* Into the manager's store, which is empty; returns the index of the log that they cover. */
size_t sim_rows_load(struct sim *sim);
