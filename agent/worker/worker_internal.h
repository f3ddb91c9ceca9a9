/* The worker's own: tasks and their specs. */
#pragma once

#include "agent/task/task_fsm.h"
#include "agent/worker/worker.h"

/* One version of a service's spec. */
struct spec {
        struct id key;
        Swarm__ServiceSpec *message; /* heap; NULL: it came, and is not valid */
        unsigned users;
        struct list idle_link; /* worker.idle_specs, while there are no users */
};

/* A task of this node. */
struct work {
        struct id id, service_id;
        uint64_t spec_version, slot;
        struct task_fsm fsm;
        struct report_item status;
        struct spec *spec; /* NULL: a container that was found and belongs to no task */
        bool is_stray;     /* whether it does is not known yet: nothing is done with it */
        char *name;
        Swarm__TaskAssignment *claim; /* heap; NULL: no generic resources */
        uint32_t epoch; /* of the last set that named it; 0: none did since the start */
        /* As it was assigned while it is being removed: heap, and its spec. NULL: it was not. */
        Swarm__TaskAssignment *again;
        struct spec *again_spec;
};

/* The spec of a (service, version), or NULL. */
struct spec *spec_get(struct worker *w, struct id service, uint64_t version);
/* Keeps a spec; one that is there already stays. Takes the message, which may be NULL. */
struct spec *spec_put(struct worker *w, struct id service, uint64_t version,
                      Swarm__ServiceSpec **take_message);
/* Unpacks a spec as it came from the manager. */
int spec_take(struct worker *w, const Swarm__SpecVersion *m);
void spec_ref(struct spec *s);
void spec_unref(struct worker *w, struct spec *s);
void specs_done(struct worker *w);

/* Writes the task's record to the journal. */
void work_save(struct worker *w, const struct work *t);
/* Reads a record; -EBADMSG. The task is in no map yet and has its spec. */
int work_load(struct worker *w, const uint8_t *packed, size_t n, struct work **ret);
void work_free(struct worker *w, struct work *t);
/* Remembers the assignment for when the task is gone, in place of an earlier one. m NULL: none. */
void work_want_again(struct worker *w, struct work *t, struct spec *spec,
                     const Swarm__TaskAssignment *m);
