/* Random operations on a store, for tests that compare stores. */
#pragma once

#include "manager/store/store.h"
#include "shared/base/rng.h"

/* One legal change, or none, drawn from rng: of services, tasks, nodes, images and the cluster. */
void store_operate(struct store *s, struct rng *rng, int64_t now);
