/*
 * driver: a manager's parts, connected. The replica decides; the driver gives it disk (manager/
 * store/db.h), network (peers, relay, front) and time, and does what it asks for. Bytes of images
 * go to manager/blobs and never through the turn.
 *
 * Fails only as a whole: when the log cannot be written, or is not what it should be, the driver
 * stops the loop with an exit code.
 */
#pragma once

#include <stdbool.h>

#include "manager/lock.h"
#include "manager/turn.h"
#include "shared/loop/loop.h"
#include "shared/net/net.h"

struct driver;

/* All is borrowed and outlives the driver, but for db and store: they are the driver's from now on,
 * also when it cannot be opened. */
struct driver_config {
        struct loop *loop;
        struct db *db;
        const struct db_state *state; /* as read from db */
        struct store *store;          /* at index state->applied */
        const char *hostname;
        const char *address;              /* HOST:PORT that others reach this manager under */
        const struct net_keys *node_keys; /* of this machine */
        const struct net_keys *cluster_keys;
        struct lock *lock;
        const char *const *endpoints; /* to listen at; NULL-terminated; for the call only */
        const char *dir;              /* DIR/manager; likewise */
        void *arg;
        /* This manager leads: before its first turn. What the state lacks may be put there. */
        void (*on_lead)(void *arg, struct store *store, struct now now);
        /* Clients and agents are heard from now on. Once. */
        void (*on_ready)(void *arg);
};

int driver_open(const struct driver_config *c, struct driver **ret, struct err *err);
/* Ends in order: what is being committed gets committed and answered, leadership is handed over,
 * then the loop stops. */
void driver_stop(struct driver *d);
/* As the state has it now; NULL: it has none. Valid at once. */
const Swarm__Cluster *driver_cluster(struct driver *d);
struct id driver_node(struct driver *d); /* of this manager; zero: not known (yet) */
/* 0, or what the process is to end with. */
int driver_exit_code(const struct driver *d);
/* It was taken off the members: nothing of what it keeps is of use to anyone. */
bool driver_is_removed(const struct driver *d);
/* What was given to the disk gets there first. */
void driver_close(struct driver *d); /* NULL is fine */
