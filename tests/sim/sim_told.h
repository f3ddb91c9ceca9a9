/* What the manager may say and when: see sim_told.c. */
#pragma once

#include "tests/sim/sim.h"

void sim_told_init(struct sim *sim);
void sim_told_done(struct sim *sim);
void sim_told_commit(struct sim *sim); /* the shadow store went on */
/* By whoever has that state, which is agreed. */
void sim_told_agent(struct sim *sim, struct store *store, struct sim_agent *a, const uint8_t *p,
                    size_t n);
void sim_told_report(struct sim_agent *a, const uint8_t *p, size_t n);
