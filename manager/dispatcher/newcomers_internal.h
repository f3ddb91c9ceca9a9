/*
 * newcomers: managers that have joined, and that this leader has not heard yet. See newcomers.c.
 */
#pragma once

#include "manager/dispatcher/dispatcher.h"

#define NEWCOMER_MS      20000 /* a manager that joined must be heard by then */
#define NEWCOMER_LOOK_MS 1000  /* and is looked for so often */

struct newcomers {
        struct newcomer {
                uint64_t id;
                int64_t since_ms; /* mono */
        } of[CLUSTER_MANAGERS_MAX];
        size_t n;
        int64_t look_ms; /* mono: when they are looked at again */
};

/* The store has made, changed or removed the node. */
void newcomers_on_node(struct dispatcher *d, const struct node *node);
/* Takes off who was not heard for too long. Returns when to check again: mono time. */
int64_t newcomers_check(struct dispatcher *d, struct now now);
