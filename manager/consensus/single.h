/*
 * The single voter: consensus of one manager over its own database. What is durable here is agreed.
 */
#pragma once

#include "manager/consensus/consensus.h"
#include "manager/store/db.h"
#include "shared/loop/loop.h"

/* Starts db, which is open and stays the caller's: close it after this. Tells on_role LEADER from
 * the loop before any commit. propose can also give -EFBIG (the entry is too large) and -EIO (the
 * log failed). The entry's changes must be in the store when it is proposed. */
struct consensus *consensus_single_new(struct loop *loop, struct db *db,
                                       const struct consensus_events *events);
