/*
 * A cluster of Raft cores for unit tests, driven by hand: time stands still until it is moved, a
 * message waits until it is delivered, and a write is durable at once, unless the disk is held.
 */
#pragma once

#include "manager/consensus/raft/raft.h"
#include "tests/lib/unit.h"

#define CORES_MAX 8 /* ids 1 to 7 */

struct core_node {
        struct raft *raft; /* NULL: dead */
        struct raft_settings settings;
        /* Its disk. */
        uint64_t term, vote;
        struct raft_base base;
        struct raft_entry *entries;
        size_t n_entries;
        uint64_t incoming; /* bytes of a snapshot, until it is whole or dropped */
        /* What it said last. */
        struct raft_output out; /* without its write and messages */
        uint64_t want_snapshot; /* the last peer for which it asked for one */
        uint64_t seq;           /* of the newest write */
        struct raft_write *held;
        size_t n_held;
        bool is_disk_held;
};

struct cores {
        int64_t now_ms;
        struct core_node nodes[CORES_MAX]; /* by id; 0 is not used */
        struct raft_message *queue;
        size_t n_queue;
        bool is_cut[CORES_MAX][CORES_MAX]; /* from, to */
        struct raft_settings settings;     /* of nodes that start from now on */
};

/* Voters 1 to n, each with an empty log. */
void cores_init(struct cores *c, size_t n);
void cores_done(struct cores *c);
/* A node with an empty disk that is no member yet. */
void cores_add(struct cores *c, uint64_t id);
void cores_kill(struct cores *c, uint64_t id); /* what is held is lost */
void cores_start(struct cores *c, uint64_t id);
void cores_hold_disk(struct cores *c, uint64_t id);
void cores_release_disk(struct cores *c, uint64_t id);
void cores_cut(struct cores *c, uint64_t id);  /* from all others, both ways */
void cores_join(struct cores *c, uint64_t id); /* undoes cores_cut */
void cores_cut_all(struct cores *c);
void cores_join_two(struct cores *c, uint64_t a, uint64_t b);

int64_t cores_step(struct cores *c, uint64_t id, struct raft_event *e);
/* Time goes on for this node, to when it is due. */
void cores_tick(struct cores *c, uint64_t id);
/* Delivers what waits, and what comes of it, until nothing waits. */
void cores_settle(struct cores *c);
/* All that live, for so long, in steps of 10 ms, with all messages. */
void cores_run(struct cores *c, int64_t ms);
/* Drops what waits. */
void cores_lose(struct cores *c);
/* The waiting message of that kind to that node, or NULL; deliver it or drop it by itself. */
struct raft_message *cores_find(struct cores *c, enum raft_message_kind kind, uint64_t to);
int64_t cores_deliver(struct cores *c, struct raft_message *m);
void cores_drop(struct cores *c, struct raft_message *m);

/* It stands, and wins; asserts that. */
void cores_elect(struct cores *c, uint64_t id);
int64_t cores_propose(struct cores *c, uint64_t id, const char *text);
int64_t cores_change(struct cores *c, uint64_t id, enum raft_change what, uint64_t who);
int64_t cores_read(struct cores *c, uint64_t id);
int64_t cores_transfer(struct cores *c, uint64_t id, uint64_t to);
enum raft_role cores_role(const struct cores *c, uint64_t id);
/* "1:a 2:b": term and text of each entry from first on; a no-op is "-", members are "*". */
void cores_assert_log(const struct cores *c, uint64_t id, uint64_t first, const char *want);
