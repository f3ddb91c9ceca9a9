/*
 * A manager's disk: what manager/store/db.h promises, in the simulation. See sim_disk.c.
 */
#pragma once

#include "manager/consensus/raft/raft.h"
#include "shared/base/buf.h"
#include "tests/sim/sim_rows.h"

struct sim_manager;

struct sim_disk {
        /* What a crash leaves. */
        uint64_t term, vote;
        struct raft_base base;
        uint64_t first; /* the log begins behind it; at most base.index */
        struct raft_entry *entries;
        size_t n, cap;
        struct sim_rows rows;
        struct buf incoming; /* a snapshot */

        /* What it takes away. */
        struct sim_op *queue; /* the first n_running are on their way */
        size_t n_queue, n_running, cap_queue;
        struct store *store; /* whose rows are written behind; NULL: none */
        uint64_t applied;    /* it is as what is agreed up to here made it; 0: it is ahead */
        uint64_t round;      /* what the present round of rows will cover */

        bool is_full;
        int64_t slow_until;
};

void sim_disk_init(struct sim_manager *m); /* empty; also one that was in use */
void sim_disk_done(struct sim_manager *m);
/* The process begins. */
void sim_disk_start(struct sim_manager *m);
void sim_disk_crash(struct sim_manager *m); /* what was on its way may be torn */
/* As it is there now; the caller's. */
struct store *sim_disk_load_now(struct sim_manager *m);
/* NULL: not in the log. */
const struct raft_entry *sim_disk_entry(const struct sim_manager *m, uint64_t index);
/* The newest list of members in its log. */
void sim_disk_members(const struct sim_manager *m, struct raft_members *ret);

/* As db_X. */
void sim_disk_write(struct sim_manager *m, struct raft_write *w);
void sim_disk_set_store(struct sim_manager *m, struct store *store);
void sim_disk_set_applied(struct sim_manager *m, uint64_t index);
void sim_disk_load(struct sim_manager *m);
void sim_disk_copy(struct sim_manager *m, uint64_t peer);
void sim_disk_cut(struct sim_manager *m, const struct raft_base *base);
