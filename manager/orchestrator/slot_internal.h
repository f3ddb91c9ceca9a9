/*
 * The orchestrator's data of one service: its slots, their tasks, its update.
 */
#pragma once

#include "manager/orchestrator/orchestrator.h"
#include "manager/store/diff.h"

struct orchestrator;

#define SLOT_CHUNK       32    /* slots allocated together */
#define OLD_TASK_WAIT_MS 60000 /* longest wait for a replaced task to stop */

/* Where a slot stands in the update of its service: bits, several may be set (update.c). */
enum slot_phase {
        PHASE_QUEUED = 1,   /* waits for its turn */
        PHASE_STARTING = 2, /* the new task is made and does not run yet */
        PHASE_RESTING = 4,  /* the pause after it before the next slot */
        PHASE_WATCHED = 8,  /* a failure now still counts */
        PHASE_FAILED = 16,  /* has counted as failed */
};

struct slot {
        struct orch_service *os;
        struct list link; /* orchestrator.dirty_slots, while it must be looked at */
        union {
                struct task *one;   /* cap 0 */
                struct task **many; /* cap > 0: in order of creation */
        } tasks;
        int64_t due_ms;   /* mono: its timer */
        int64_t since_ms; /* mono: when the last bit of its phase was set */
        uint32_t number;  /* from 1; 0: global */
        uint32_t timer;   /* place in the heap + 1; 0: none */
        uint16_t count, cap;
        uint8_t phase;    /* enum slot_phase */
        bool is_occupied; /* has a task that is not to be removed */
};

struct global_slot {
        struct slot slot;
        struct id node_id;
        struct node *node;
};

struct update {
        bool is_active;
        struct slot **queue; /* slots to be updated, NULL for one that is gone */
        size_t len, cap, next;
        uint32_t total, failed;
        uint32_t starting, resting, watched; /* slots with that bit */
};

struct orch_service {
        struct orchestrator *o;
        struct service *service;
        bool is_global;
        bool is_resuming; /* just loaded: an update in progress is to be taken up */
        struct slot **chunks;
        size_t n_chunks;
        struct map by_node; /* struct global_slot by node_id */
        uint32_t free_from; /* no slot below this number is free */
        size_t occupied;    /* slots that are */
        uint64_t seen_version;
        struct update update;
        struct spec_diffs diffs;
        struct list global_link; /* orchestrator.globals */
};
