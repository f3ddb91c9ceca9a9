/* Specs of services and descriptions of nodes from words KEY=VALUE, for the golden cases. */
#pragma once

#include "tests/lib/plan.h"

/* A service of one replica of image v1 with empty sub-messages, on the heap: wire_free. */
Swarm__ServiceSpec *spec_new_empty(const char *name);
/* -EINVAL: no such key, or no such value. */
int spec_word(Swarm__ServiceSpec *spec, const char *key, const char *value);
/* A node of 4 CPUs and 8 GiB, linux/x86_64. */
Swarm__Node *node_new_empty(const char *name);
int node_word(Swarm__Node *node, const char *key, const char *value);
