/* A manager's disk, and the state that is kept on it. */
#pragma once

#include "manager/consensus/raft/raft.h"

#define KEYS 4

/* What the log's entries make: registers, and the hash of all that was applied. */
struct state {
        uint64_t index, hash;
        uint64_t value[KEYS], version[KEYS]; /* version: index of the write */
};

enum disk_op_kind { DISK_RAFT, DISK_TABLES, DISK_CUT };

struct disk_op {
        enum disk_op_kind kind;
        struct raft_write write;
        struct state tables;
        struct raft_base base;
};

struct disk_done {
        enum disk_op_kind kind;
        uint64_t seq; /* DISK_RAFT */
        bool is_install;
        struct state tables; /* as they were then */
};

struct disk { /* what a crash leaves */
        uint64_t term, vote;
        struct raft_base base;
        struct raft_entry *entries;
        size_t n, cap;
        struct state tables;
        struct buf staging; /* of a snapshot that comes in */
};

struct node;

void disk_queue(struct node *n, const struct disk_op *op); /* takes what is in it */
void disk_crash(struct node *n);                           /* what was on its way may be torn */
void disk_wipe(struct node *n);

void snapshot_bytes(const struct state *s, uint64_t offset, size_t len, uint8_t *ret);
uint64_t snapshot_size(const struct state *s);
uint64_t mix(uint64_t a, uint64_t b);
