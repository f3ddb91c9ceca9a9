/*
 * What one version of a service's spec is to another, for the stages that ask it of many tasks: the
 * orchestrator (what an update replaces), the scheduler (what will be left of a service on a node).
 */
#pragma once

#include "shared/model/objects.h"

#define SPEC_DIFFS_KEPT 4

enum spec_diff {
        SPEC_SAME,      /* of what a task is made of, all is equal */
        SPEC_PLACEMENT, /* it may run elsewhere; where it may run it is the same */
        SPEC_OTHER,
};

/* The last comparisons of one service's versions; all zero: none yet. */
struct spec_diffs {
        struct {
                uint64_t a, b; /* versions; 0: empty */
                enum spec_diff diff;
        } known[SPEC_DIFFS_KEPT];
};

/* Both are of the service that the cache is of. */
enum spec_diff spec_diffs_get(struct spec_diffs *cache, const struct spec *a, const struct spec *b);
