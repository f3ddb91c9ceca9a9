/* The user of the simulation: see sim_client.c. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/sim/sim_net.h"

struct sim;

/* What the client knows of a service. */
struct sim_service {
        char name[16];
        bool exists, is_ambiguous; /* ambiguous: an answer never came, either may be true */
        int64_t limbo_ms;          /* until then what was not answered may yet be done */
        uint64_t replicas;
        bool is_global, is_bad;
        uint64_t max_per_node; /* 0: any number */
        bool is_asking;        /* what waits is a question only */
        uint64_t waiting;      /* number of the request that is under way; 0: none */
        int64_t sent_ms;
        struct sim_service *after; /* what holds if it is answered well; owned */
};

struct sim_user {
        struct sim_end end;
};

void sim_client_init(struct sim *sim);
void sim_client_act(struct sim *sim);
/* The user's last requests: what the healed world is to be. Until true: called again. */
bool sim_client_settle(struct sim *sim);
void sim_client_done(struct sim *sim);
