/* Clients that write and read one thing, and whether what they see can be: see sim_register.c. */
#pragma once

#include "tests/sim/sim_net.h"

#define SIM_REGISTER_CLIENTS 3

struct sim;

struct sim_register_client {
        struct sim_end end;
        struct sim *sim;
        bool has_service;
        uint64_t waiting; /* number of its request; 0: none */
        size_t op;        /* which that is */
        int64_t since_ms, next_ms;
};

/* In the order of events, which is finer than time. end: of one that was not answered: never. */
struct sim_register_op {
        bool is_read;
        uint64_t value, start, end;
};

struct sim_registers {
        struct sim_register_client clients[SIM_REGISTER_CLIENTS];
        struct sim_register_op *ops;
        size_t n, cap;
        uint64_t clock, last_value;
        int64_t probe_until_ms;
};

void sim_register_init(struct sim *sim);
/* Returns in how many ms to call again. */
int64_t sim_register_act(struct sim *sim);
/* That manager leads and is being cut off: for a while one client reads there, as fast as it can,
 * and the others write elsewhere. */
void sim_register_probe(struct sim *sim, int manager);
/* Fails the simulation if no order of the operations explains what was seen. */
void sim_register_check(struct sim *sim);
void sim_register_done(struct sim *sim);
