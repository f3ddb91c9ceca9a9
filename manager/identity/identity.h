/*
 * identity: the cluster's keys and secrets, and the gate: whose a connection is. Place in the flow:
 * the driver asks the gate for each connection, and tells it what the turn allowed and removed. The
 * gate holds committed knowledge only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "manager/store/store.h"
#include "shared/identity/identity.h"
#include "shared/seal/seal.h"

/* A new cluster with those keys: id, secrets, default settings. Heap; for store_put_cluster. */
Swarm__Cluster *cluster_make(const struct net_keys *keys, int64_t wall_ms);
/* The secret that takes the place of a role's present one: drawn from the cluster's secret key and
 * the present secret by BLAKE2b, so that it is a function of the state and none can guess it. */
void cluster_next_secret(const Swarm__Cluster *cluster, enum node_role role,
                         char ret[IDENTITY_SECRET_TEXT_LEN + 1]);
/* The join token of a role. */
void cluster_token(const Swarm__Cluster *cluster, enum node_role role,
                   char ret[IDENTITY_TOKEN_TEXT_LEN + 1]);
/* Autolock with that key (SEAL_KEY_BYTES); NULL: no more. */
void cluster_set_unlock_key(Swarm__Cluster *cluster, const uint8_t *key);
/* Compares in constant time. */
bool cluster_secret_is(const Swarm__Cluster *cluster, enum node_role role, const char *secret);

struct gate;
/* Lets in the nodes of the store. */
struct gate *gate_new(struct store *store);
void gate_free(struct gate *g);
void gate_allow(struct gate *g, const uint8_t key[NET_KEY_BYTES], struct id node);
void gate_forget(struct gate *g, const uint8_t key[NET_KEY_BYTES]);
/* Zero: a stranger, who may ask to join, and is told so when it does anything else. */
struct id gate_node(const struct gate *g, const uint8_t key[NET_KEY_BYTES]);
