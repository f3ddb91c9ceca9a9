/*
 * lock: a manager's keys at rest. While the cluster is autolocked, what is secret on its disk is
 * sealed: the database's secrets, DIR/node.key and DIR/manager/cluster.key with a data key that
 * comes out of the cluster's first secret key, and that one, in DIR/manager/data.key, with the
 * cluster's unlock key, which a person keeps. So another unlock key is one small file that changes,
 * at once. Without autolock there is no data.key, and nothing is sealed.
 *
 * A manager that finds data.key is locked. It listens at DIR/manager.sock alone, whose file is for
 * root, as it has no key to speak over the network with; there it takes `unlock`, and refuses all
 * else. Then it starts as always.
 *
 * The setting and the key are the cluster's, agreed: each manager follows them when it hears of
 * them. One that is away meanwhile is unlocked with the key that was in force when it left.
 */
#pragma once

#include "manager/store/db.h"
#include "proto/control.pb-c.h"
#include "shared/base/err.h"
#include "shared/loop/loop.h"

struct lock;

struct lock *lock_new(const char *data_dir);
void lock_free(struct lock *k); /* NULL is fine */

/* The database is open, and not yet read. When there is a data key, of this data-dir or come with a
 * copy, waits until somebody unlocks it. -ECANCELED: the loop was stopped before. */
int lock_open(struct lock *k, struct loop *l, struct db *db, struct err *err);
/* What keys on disk are sealed with; NULL: they are not. */
const uint8_t *lock_seal_key(const struct lock *k);
/* What a manager that joins is told, before it writes anything; unlock_key NULL: not autolocked. */
int lock_begin(struct lock *k, struct db *db, const uint8_t *cluster_secret_key,
               const uint8_t *unlock_key, struct err *err);
/* The cluster's key is known: the database opens what others have sealed. Before db_start. */
void lock_set_cluster_key(struct lock *k, struct db *db, const uint8_t *cluster_secret_key);

/* What is agreed; as often as there might be something new. now_ms: mono. */
void lock_follow(struct lock *k, struct db *db, const Swarm__Cluster *cluster, int64_t now_ms);
void lock_on_sealed(struct lock *k, int error, int64_t now_ms); /* of db_events */
/* A request of a local client: true, and the packed answer, if it is for this manager alone. */
bool lock_on_request(struct lock *k, const uint8_t *p, size_t n, struct buf *ret);
/* This manager's state is about to be removed: what is left of the data-dir is a worker's. */
int lock_give_up(struct lock *k, struct err *err);
