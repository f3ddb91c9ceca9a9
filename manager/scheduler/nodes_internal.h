/*
 * The scheduler's picture: compact entries of the nodes, what a task needs of one, how many tasks
 * of a service a node has and how often they failed there, generic resources.
 */
#pragma once

#include "manager/scheduler/scheduler.h"

#define FAILURES_MANY      5 /* of one version on one node within the period below: avoid it */
#define FAILURES_PERIOD_MS 300000
#define FAILURES_KEPT      8   /* times kept for a version on a node */
#define FAILURES_MAX       256 /* versions and nodes kept for a service; the oldest go */

/* One node, as compact as placing needs it. */
struct snode {
        int64_t cpu_free, memory_free;
        double cpu_inverse, memory_inverse; /* 1 / capacity; 0: has none */
        uint32_t tasks;                     /* that are wanted and have not ended */
        uint32_t rank;                      /* order by node id */
        bool is_used, is_open;              /* entry in use; ready and active */
        bool is_disk_full;
        struct node *node;
        struct pool *pool; /* generic resources, NULL: none */
};

/* What a task needs of a node, from its spec. */
struct demand {
        int64_t cpu, memory;
        const Swarm__Resources *reservations; /* NULL unless it has generic ones */
        const struct spec *spec;
        struct constraint *constraints; /* NULL: none */
        bool has_bad_constraints, has_platforms;
        uint32_t max_per_node; /* 0: unlimited */
};

/* Filters, in their order. */
enum filter {
        FILTER_READY,
        FILTER_DISK,
        FILTER_TASKS,
        FILTER_RESOURCES,
        FILTER_CONSTRAINTS,
        FILTER_PLATFORM,
        FILTER_MAX_REPLICAS,
        FILTER_COUNT,
        FILTER_PASSED = FILTER_COUNT,
};

/* A hash of counts by node, open addressing: how many tasks of a service a node has. */
struct counts {
        struct count {
                uint32_t node; /* index + 1; 0: empty */
                uint32_t n;
        } * slots;
        uint32_t cap, used;
};

struct failures {
        uint64_t version;
        uint32_t node;
        uint32_t next;                /* where in the ring the next time goes */
        int64_t at_ms[FAILURES_KEPT]; /* mono */
};

/* counts.c */
uint32_t counts_get(const struct counts *c, uint32_t node);
void counts_add(struct counts *c, uint32_t node, int by);
void counts_clear(struct counts *c);
struct sservice;
void failures_add(struct sservice *ss, uint64_t version, uint32_t node, int64_t at_ms);
/* How often the version failed there within the period; 0 if less than FAILURES_MANY times. */
uint32_t failures_count(const struct failures *f, uint64_t version, int64_t now_ms);

/* generic.c: discrete and named resources of a node */
struct pool *pool_new(const Swarm__Resources *capacity); /* NULL: the node has none */
void pool_free(struct pool *pool);
bool pool_fits(const struct pool *pool, const Swarm__Resources *need);
/* Claims what is needed: the message for the task (heap). It must fit. */
Swarm__Resources *pool_claim(struct pool *pool, const Swarm__Resources *need);
void pool_take(struct pool *pool, const Swarm__Resources *claimed);
void pool_give(struct pool *pool, const Swarm__Resources *claimed);
