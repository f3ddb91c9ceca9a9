/*
 * protocol: which versions of a protocol two programs have in common. Each tells the other the
 * oldest and the newest that it understands, and both speak the lower of the two newest: so a
 * cluster can be upgraded program by program. Plain data.
 */
#pragma once

#include "shared/base/err.h"
#include "shared/model/model.h"

struct protocol_range {
        uint32_t oldest, newest;
};

#define DISPATCH_PROTOCOLS ((struct protocol_range){DISPATCH_PROTOCOL_OLDEST, DISPATCH_PROTOCOL})
#define CONTROL_PROTOCOLS  ((struct protocol_range){CONTROL_PROTOCOL_OLDEST, CONTROL_PROTOCOL})
#define PEER_PROTOCOLS     ((struct protocol_range){PEER_PROTOCOL_OLDEST, PEER_PROTOCOL})

/* As it came: one that tells no oldest understands its newest alone. */
struct protocol_range protocol_told(uint32_t oldest, uint32_t newest);
bool protocol_has(struct protocol_range r, uint32_t version);
/* The newest that both understand; 0: there is none. */
uint32_t protocol_spoken(struct protocol_range a, struct protocol_range b);

/* One end of a conversation. */
struct protocol_end {
        const char *name; /* "the agent" */
        struct protocol_range range;
};
/* protocol_spoken; or -EPROTO, and what to do: "the agent speaks dispatch protocol 3 to 4, this
 * manager 2: upgrade this manager". what: "dispatch". */
int protocol_agree(const char *what, const struct protocol_end *theirs,
                   const struct protocol_end *ours, struct err *err);
