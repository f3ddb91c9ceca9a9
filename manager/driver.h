/*
 * driver: does what the turn decided. Inputs from the network go to the turn; what it changed is
 * proposed to consensus; once that is committed, its effects are released. Inputs that arrive
 * meanwhile wait. Bytes of images go to manager/blobs and never through the turn.
 *
 * Fails only as a whole: when the log cannot be written, or is not what it should be, the driver
 * stops the loop with an exit code.
 */
#pragma once

#include <stdbool.h>

#include "manager/blobs/blobs.h"
#include "manager/consensus/consensus.h"
#include "manager/identity/identity.h"
#include "manager/store/db.h"
#include "manager/turn.h"
#include "shared/loop/loop.h"
#include "shared/net/net.h"

struct driver;

/* All is borrowed, and outlives the driver. */
struct driver_config {
        struct loop *loop;
        struct store *store; /* loaded */
        struct db *db;
        struct gate *gate;
        const struct turn_config *turn;
        const struct net_keys *cluster_keys;
        const char *const *endpoints; /* to listen at; NULL-terminated */
        const char *blob_dir;
        void *arg;
        /* The first turn is committed: clients and agents are heard from now on. */
        void (*on_ready)(void *arg);
};

int driver_open(const struct driver_config *c, struct driver **ret, struct err *err);
/* Ends in order: what is being committed gets committed and answered, then the loop stops. */
void driver_stop(struct driver *d);
/* 0, or what the process is to end with. */
int driver_exit_code(const struct driver *d);
void driver_close(struct driver *d); /* NULL is fine */
