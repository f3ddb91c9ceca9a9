/* What the managers have agreed on: see sim_agreed.c. */
#pragma once

#include "manager/consensus/raft/raft.h"

struct sim;
struct sim_manager;
struct store;

struct sim_agreed {
        struct raft_entry *entries; /* of index i + 1 */
        uint64_t *hashes;           /* of the state at index i */
        uint64_t n, cap;
        struct store *shadow; /* fed with agreed entries only */
        struct raft_members members;
};

void sim_agreed_init(struct sim *sim);
void sim_agreed_done(struct sim *sim);
/* Looks at what the manager calls agreed by now. */
void sim_agreed_note(struct sim_manager *m);
/* Of the state at index, which must be agreed. */
uint64_t sim_agreed_hash(struct sim *sim, uint64_t index);
/* The manager says that its store is the state at index. */
void sim_agreed_check(struct sim_manager *m, struct store *store, uint64_t index, const char *what);
