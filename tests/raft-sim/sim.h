/*
 * raft-sim: the Raft core of 1 to 7 managers and more that join, in one process, on simulated
 * clocks, network and disks, all drawn from one seed. Faults happen for a while, and every promise
 * of the core is checked at every step; then all faults stop, and the managers must soon be of one
 * mind, or the simulator says what is stuck.
 *
 * The method is FoundationDB's and TigerBeetle's; the code is ours.
 */
#pragma once

#include "manager/consensus/raft/raft.h"
#include "shared/base/base.h"
#include "tests/raft-sim/disk.h"

#define NODES_MAX   24 /* ids that are ever used */
#define CLIENTS_MAX 8

struct world;
struct node;
struct past;

struct op { /* of a client */
        uint64_t id, key, floor;
        bool is_read, is_open;
        int64_t since;
        uint64_t began;                    /* on the history's clock */
        uint64_t node, index, term, round; /* where it waits, and for what */
};

struct node {
        struct world *w;
        uint64_t id;
        bool is_used, is_wiped;
        bool was_member; /* by a committed list */
        bool is_out;     /* was taken off one */
        struct disk disk;
        struct raft *raft; /* NULL: the process is dead */
        uint64_t life;
        double rate;
        int64_t clock_zero, paused_until, disk_slow_until, disk_hangs_until, wake_at, restart_at;
        bool is_disk_full;

        /* The driver. */
        uint64_t term, leader, told, read_round, read_index;
        int64_t leads_since;
        uint64_t voted_term, voted_for; /* as the others saw it */
        enum raft_role role;
        bool is_ready, is_removed, is_applying, is_installing;
        struct state state, made; /* made: a snapshot that the core is being told of */
        struct disk_op *queue;    /* to the disk; the first n_running are on their way */
        size_t n_queue, n_running, cap_queue;
        struct {
                uint64_t peer;
                struct state state;
        } sending[NODES_MAX];
};

struct faults {                         /* how bad the world is; chances are of 1000 */
        uint64_t loss, duplicate, slow; /* a message */
        uint64_t crash, crash_all, pause, partition, cut; /* a turn of the fault maker */
        uint64_t disk_full, disk_slow, disk_hang;
        uint64_t elected, sending, agreed, voted; /* a blow at whoever did just that */
        int64_t restart_ms;
        int64_t delay_ms, disk_ms;
        double link_bytes; /* that go over a link in a millisecond; 0: without bound */
        double drift;
};

struct version { /* of the entry at an index: one a term */
        uint64_t term, prev_term, hash;
};

struct slot { /* what is known of an index */
        struct version *versions;
        size_t n;
        bool is_committed;
        uint64_t term, op, hash; /* hash: of the chain up to here */
        uint64_t told_in;        /* the term of who first called it agreed */
};

struct list_of_members {
        uint64_t index;
        struct raft_members members;
};

struct counts {
        uint64_t commits, elections, transfers, changes, snapshots, truncations, crashes, messages;
        uint64_t reads, writes, unknown, removed_leaders, torn, events;
};

struct world {
        uint64_t seed;
        struct rng rng;
        int64_t now_ms;
        bool is_verbose, is_healed, is_closing;
        bool is_storm, is_gauntlet;
        bool is_fixed; /* the members stay once they are all there */
        bool is_calm;  /* no leader is ever hurt: then it stays, unless it is told to go */
        struct faults faults;
        struct raft_settings settings;
        struct event *events; /* binary heap */
        size_t n_events, cap_events;
        uint64_t event_seq;
        struct node nodes[NODES_MAX]; /* of id i + 1 */
        size_t n_nodes, target;       /* voters that the administrator strives for */
        uint64_t hung;                /* the one whose disk hangs while all else is well */
        uint64_t victim;              /* of a calm world: the one follower that is hurt */
        bool is_blocked[NODES_MAX][NODES_MAX];
        double link_free[NODES_MAX][NODES_MAX]; /* when what is in the link will be out of it */
        struct op ops[CLIENTS_MAX];
        int64_t client_pause_ms;
        uint64_t n_clients, next_op, hint, floor[KEYS];
        struct past *past; /* what clients did and saw */
        size_t n_past, cap_past;
        uint64_t ticks;    /* a clock that no two events share */
        uint64_t *leaders; /* by term */
        size_t n_leaders;
        struct list_of_members *lists; /* all that ever came into a log */
        size_t n_lists;
        struct list_of_members *agreed; /* those of them that were committed, in order */
        size_t n_agreed;
        struct slot *slots; /* by index */
        size_t n_slots;
        uint64_t committed;
        struct raft_members members; /* the newest committed */
        bool is_change_expected;     /* of the leader */
        uint64_t healed_ops;
        struct counts counts;
        char failure[512]; /* "": none */
};

#define FOREACH_NODE(n, w) for (n = (w)->nodes; n < (w)->nodes + (w)->n_nodes; n++)

typedef void event_fn(struct world *w, struct node *n, void *arg);

#include "tests/raft-sim/parts.h"
