/*
 * join: a manager that has no state yet asks a cluster to take it in. Place in the flow: before the
 * database gets an identity and the loop its parts.
 */
#pragma once

#include "manager/options.h"
#include "shared/loop/loop.h"
#include "shared/net/net.h"
#include "shared/seal/seal.h"

#define JOIN_WAIT_MS 30000 /* for an answer */

/* What a manager that was taken in is told. */
struct joined {
        struct net_keys cluster_keys;
        bool is_autolocked;
        uint8_t unlock_key[SEAL_KEY_BYTES]; /* if it is */
};

/* With the token, or as the node that this machine is already, once it was promoted. Runs the loop
 * until there is an answer. id: of this manager among the members. -ETIMEDOUT, -EACCES and other
 * refusals, with text; -ECANCELED: the loop was stopped. */
int join_cluster(struct loop *loop, const struct options *o, const struct net_keys *node_keys,
                 uint64_t id, struct joined *ret, struct err *err);
