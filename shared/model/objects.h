/*
 * The manager's objects in memory. They belong to the store (manager/store/store.h), which alone
 * writes them; stages read the fields and change them through the store's functions, so that each
 * change gets into the turn's list. Strings and sub-messages are owned by their object.
 */
#pragma once

#include "proto/objects.pb-c.h"
#include "shared/base/id.h"
#include "shared/base/list.h"
#include "shared/model/model.h"

/* One version of a service's spec: decoded once, never changed, shared by all tasks made from it.
 */
struct spec {
        struct id service_id;
        uint64_t version;
        uint32_t refs;
        const Swarm__ServiceSpec *msg;
        uint8_t *packed; /* as it came, to be handed on byte for byte */
        size_t packed_len;

        struct wire_unknown *unknown; /* of its SpecVersion; as in all objects below */

        struct id key; /* store: of its index, made of service id and version */
        uint64_t row;
        uint8_t dirty;
};

struct update_status {
        enum update_state state;
        int64_t started_ms, completed_ms; /* wall clock */
        char *message;                    /* NULL: none */
        struct wire_unknown *unknown;
};

struct service {
        struct id id;
        char *name;
        struct spec *spec;          /* in force */
        struct spec *previous_spec; /* NULL: none */
        uint64_t last_spec_version;
        struct update_status update;
        int64_t created_ms, updated_ms;
        uint64_t version; /* counts changes of this object */
        bool is_removing;
        struct wire_unknown *unknown;

        struct list tasks; /* task.service_link, in order of creation */
        size_t task_count;
        size_t running_count;   /* of these: RUNNING and meant to be */
        struct list orch_link;  /* orchestrator: services to look at */
        void *orch;             /* orchestrator: its state of this service */
        struct list sched_link; /* scheduler: groups waiting */
        void *sched;
        uint64_t row;  /* of the state table */
        uint8_t dirty; /* store: DIRTY_* */
};

/* struct task.flags: notes of the stages. */
#define TASK_FLAG_UPDATE 0x01 /* as Task.of_update; stored */
#define TASK_FLAG_TELL   0x80 /* dispatcher: its node is to be told of it; not stored */

struct task {
        struct id id;
        struct service *service;
        struct spec *spec;
        struct node *node; /* NULL: not placed */
        uint32_t slot;     /* from 1; 0: global */
        uint16_t state;    /* enum task_state: observed */
        uint16_t desired;  /* enum task_state */
        int16_t exit_code; /* -1: not known */
        uint16_t failures; /* in a row, of the slot, before this task */
        uint16_t attempts; /* restarts of the slot and spec version before this task */
        uint8_t dirty;     /* store: DIRTY_* */
        uint8_t flags;     /* TASK_FLAG_* */
        int64_t created_ms, state_ms, running_ms, not_before_ms; /* wall clock, 0: none */
        char *message, *error;                                   /* NULL: none */
        Swarm__Resources *generic; /* claimed generic resources, NULL: none */
        struct wire_unknown *unknown;

        struct list service_link, node_link;
        struct list stage_link; /* of the one stage that waits for something of this task */
        uint64_t row;
};

struct node {
        struct id id;
        uint8_t public_key[32];
        enum node_role role;
        enum node_availability availability;
        enum node_state state;
        bool is_disk_full;                   /* as its agent says; in memory only */
        char *message;                       /* NULL: none */
        Swarm__Node *labels;                 /* holds the labels only; never NULL */
        Swarm__NodeDescription *description; /* NULL until it registered first */
        uint64_t manager_id;   /* of the manager on it among the members; 0: none has joined */
        char *manager_address; /* HOST:PORT of that; NULL: none */
        int64_t created_ms, updated_ms;
        uint64_t version;
        struct wire_unknown *unknown;

        struct list tasks; /* task.node_link */
        size_t task_count; /* of all states */
        void *sched;       /* scheduler: what is free there */
        void *session;     /* dispatcher: NULL while there is none */
        void *orch;        /* orchestrator */
        uint64_t row;
        uint8_t dirty;
};

struct image {
        char *id; /* "sha256:<hex>" */
        Swarm__Image *msg;
        uint64_t row;
        uint8_t dirty;
};

struct cluster {
        Swarm__Cluster *msg; /* never NULL; settings never NULL */
        uint8_t dirty;
};

/* The hostname, or "(not yet known)" until the node registered; valid while the node is. */
const char *node_hostname(const struct node *node);
/* "web.3", or "web.<node id>" for a global service's. Caller frees. */
char *task_name(const struct task *task);
