/*
 * node_key: the key that this node is known by. Place in the flow: before there is a line to a
 * manager. It lies in DIR/node.key, which the first start makes. Where an autolocked manager shares
 * the data-dir, it lies there sealed: then it is asked for at DIR/manager.sock, until the manager
 * has been unlocked.
 */
#pragma once

#include "shared/base/err.h"
#include "shared/loop/loop.h"
#include "shared/net/net.h"

#define NODE_KEY_ASK_MS 500

/* Runs the loop as long as the key is sealed; on_sealed (may be NULL) is called before that.
 * -ECANCELED: the loop was stopped; else as identity_make_node_key. */
int node_key_take(struct loop *l, const char *data_dir, loop_fn *on_sealed, void *arg,
                  struct net_keys *ret, struct err *err);
