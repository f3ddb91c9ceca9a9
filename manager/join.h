/*
 * join: a manager that has no state yet asks a cluster to take it in. Place in the flow: before the
 * database gets an identity and the loop its parts.
 */
#pragma once

#include "manager/options.h"
#include "shared/loop/loop.h"
#include "shared/net/net.h"

#define JOIN_WAIT_MS 30000 /* for an answer */

/* With the token, or as the node that this machine is already, once it was promoted. Runs the loop
 * until there is an answer. id: of this manager among the members. ret_cluster: the
 * cluster's keys. -ETIMEDOUT, -EACCES and other refusals, with text. */
int join_cluster(struct loop *loop, const struct options *o, const struct net_keys *node_keys,
                 uint64_t id, struct net_keys *ret_cluster, struct err *err);
