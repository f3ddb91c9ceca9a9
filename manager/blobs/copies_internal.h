/* The parts of copies: fetching and serving (copies.c), and who has what (placing.c). For this
 * folder alone. */
#pragma once

#include "manager/blobs/copies.h"
#include "shared/base/list.h"
#include "shared/base/map.h"

struct copies {
        struct copies_config config;
        struct store *store; /* NULL: none now */
        struct store_watch watch;
        struct copies_member members[COPIES_MEMBERS_MAX];
        size_t n_members;
        uint64_t others[COPIES_MEMBERS_MAX]; /* the members but this one */
        size_t n_others;

        struct map wants; /* struct want, by digest */
        size_t n_fetching, n_asked;
        uint64_t last_number; /* of what is written */
        char **dropped;       /* digests that an image which is gone named */
        int64_t due_ms;       /* when the wants are to be looked at */
        int64_t now_ms;       /* of the last call */

        struct list served; /* struct served */
        size_t n_served;

        struct list placings; /* struct placing */
        size_t n_placings, placing_bytes;
};

/* --- placing.c ----------------------------------------------------------------------------------
 */
void placing_on_held(struct copies *c, uint64_t from, const Swarm__BlobsHeld *m);
/* Someone fetches it: that is progress. */
void placing_on_wanted(struct copies *c, const char *digest);
int64_t placing_run(struct copies *c, int64_t now_ms);
