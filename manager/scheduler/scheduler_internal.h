/*
 * What the scheduler's files share: its picture of the nodes (compact entries in one array), of
 * each service (how many of its tasks run where, recent failures), and the groups of tasks to
 * place.
 */
#pragma once

#include "manager/scheduler/nodes_internal.h"
#include "manager/store/diff.h"

#define RETELL_MS         1000 /* a large group is told a new reason at most this often */
#define RETELL_TASKS      1000 /* what is large */
#define SPREAD_LEVELS_MAX 8

/* Tasks of one service and spec version that wait for a node. */
struct group {
        struct list link; /* scheduler.groups while it is to be tried, else in scheduler.parked */
        struct list service_link;
        struct sservice *service;
        struct demand demand; /* of its tasks' spec */
        struct list tasks;    /* task.stage_link */
        size_t len;
        int64_t told_ms; /* mono: when its tasks were told why they wait; 0: never */
        bool is_stale;   /* parked: the reason may be another now */
};

struct sservice {
        struct service *service;
        struct counts counts;
        /* Of these, tasks that an update replaces: they are of another version, which says another
         * thing than the one in force. */
        struct counts old;
        uint64_t seen_version; /* the one in force when they were counted */
        struct spec_diffs diffs;
        struct failures *failures;
        size_t n_failures;
        struct list groups;
};

/* Ranking of a node for one more task, smaller is better: compared as two numbers. */
struct key {
        uint64_t hi, lo;
};

struct candidate {
        struct key key;
        uint32_t node; /* index */
        uint32_t mine; /* tasks of the service there */
        uint32_t old;  /* of these, what an update replaces */
        uint32_t failed;
};

struct scheduler {
        struct store *store;
        struct store_watch watch;
        struct snode *nodes;
        uint32_t n_nodes, cap_nodes; /* entries, used or not */
        bool is_rank_old;
        struct list groups, parked; /* struct group */
        struct list fixed;          /* preassigned tasks to be checked (stage_link) */
        struct list fixed_parked;   /* those that did not fit */
        uint32_t *touched;          /* indexes of nodes that may have more room now */
        size_t n_touched, cap_touched;
        bool is_placing; /* our own assignment is told: it is accounted already */
        bool has_news;   /* a node is another: parked groups may have another reason */
        struct now now;
        size_t change_max;
        /* Memory for one group, kept from one to the next. */
        uint32_t *mine; /* tasks of the service by node index */
        struct candidate *heap;
        uint32_t cap_scratch;
        uint32_t *decisions;
        size_t cap_decisions;
};

/* nodes.c: accounting */
struct snode *nodes_add(struct scheduler *s, struct node *node);
void nodes_remove(struct scheduler *s, struct node *node);
void nodes_refresh(struct scheduler *s, struct node *node); /* the node changed */
void nodes_rank(struct scheduler *s);
void nodes_touch(struct scheduler *s, uint32_t index);
uint32_t nodes_index(const struct scheduler *s, const struct node *node);
/* Adds (+1) or takes (-1) what the task reserves; likewise the counts of wanted tasks. */
void nodes_reserve(struct scheduler *s, const struct task *task, struct node *node, int by);
void nodes_count(struct scheduler *s, const struct task *task, struct node *node, int by);
struct sservice *sservice_get(struct scheduler *s, struct service *service);
/* The service's count of tasks on the node, of the version that they were made from. */
void sservice_count(struct sservice *ss, const struct spec *spec, uint32_t node, int by);
void sservice_free(struct scheduler *s, struct sservice *ss);

/* filter.c */
void demand_init(struct demand *d, const struct spec *spec);
void demand_done(struct demand *d);
enum filter filter_node(const struct demand *d, const struct snode *n, uint32_t mine);
/* "no suitable node (...)" in heap memory, for what keeps nodes from taking one more task. */
char *filter_explain(const struct scheduler *s, const struct demand *d, const uint32_t *mine,
                     uint32_t only_node);
#define ANY_NODE UINT32_MAX

/* place.c: the decisions for a group, without the store */
/* Chooses nodes for up to n tasks, in order: ret_nodes gets node indexes. Takes the resources of
 * the nodes and counts the tasks; generic ones are only looked at: one that claims some must be
 * placed one task at a time. Returns how many it placed. */
size_t place(struct scheduler *s, struct sservice *ss, const struct demand *d, size_t n,
             uint32_t *ret_nodes);
/* Fills s->mine for the service; place and filter_explain read it. */
void place_scratch(struct scheduler *s, const struct sservice *ss);
/* The nodes that pass the filters, with their keys, in s->heap (in order of index). */
uint32_t place_candidates(struct scheduler *s, const struct sservice *ss, const struct demand *d);
/* Puts one task on the candidate's node; false when it takes no more. Else its key is the next. */
bool place_on(struct scheduler *s, struct sservice *ss, const struct demand *d,
              struct candidate *c);
void heap_make(struct candidate *heap, uint32_t n);
void heap_down(struct candidate *heap, uint32_t n, uint32_t i);
/* tree.c: the same with `--placement-pref`: candidates are in s->heap */
size_t place_in_tree(struct scheduler *s, struct sservice *ss, const struct demand *d,
                     uint32_t n_candidates, size_t n, uint32_t *ret_nodes);

static inline bool sservice_is_old(struct sservice *ss, const struct spec *spec)
{
        const struct spec *in_force = ss->service->spec;

        return spec != in_force && spec_diffs_get(&ss->diffs, spec, in_force) == SPEC_OTHER;
}

static inline bool key_is_less(struct key a, struct key b)
{
        return a.hi != b.hi ? a.hi < b.hi : a.lo < b.lo;
}
