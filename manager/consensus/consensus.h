/*
 * consensus: the port behind which managers agree on the order of entries. Place in the flow: the
 * turn proposes its change list here and releases its effects when the entry is committed. Behind
 * it stands a single voter whose log is the database; another engine can take its place.
 *
 * Callbacks come from the loop, never inside a call to this port.
 */
#pragma once

#include <stdint.h>

#include "shared/base/buf.h"

struct consensus;

enum consensus_role { CONSENSUS_FOLLOWER, CONSENSUS_CANDIDATE, CONSENSUS_LEADER };

struct consensus_events {
        void *arg;
        /* Entries up to index are durable and agreed. Once per index or for several at once. */
        void (*on_commit)(void *arg, uint64_t index);
        void (*on_role)(void *arg, enum consensus_role role);
        /* The log cannot be written: nothing more will be committed. The process must end. */
        void (*on_failure)(void *arg, int error);
};

struct consensus_ops {
        /* Takes the bytes out of *entry; returns the entry's index (> 0), or -EAGAIN when not
         * leader. */
        int64_t (*propose)(struct consensus *c, struct buf *entry);
        /* The state tables hold everything up to index: the log before it may be cut. */
        void (*snapshot)(struct consensus *c, uint64_t index);
        void (*close)(struct consensus *c);
};

struct consensus {
        const struct consensus_ops *ops;
};
