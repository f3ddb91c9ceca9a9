/* What progress.c and progress_frame.c share. */
#pragma once

#include <stddef.h>

#include "shared/model/model.h"
#include "swarmctl/cmd/progress.h"

/* What was last said of a task's place. */
struct seen {
        char *label;
        uint32_t state;
        uint64_t error; /* length of the error's text: enough to see that it is another */
};

struct progress {
        struct progress_config config;
        char *name;
        Swarm__Progress *last;   /* NULL: none yet */
        enum update_state state; /* in `last` */
        uint64_t failed;         /* likewise */
        int64_t stable_ms;       /* since when all tasks run; -1: they do not */
        bool has_ended;          /* what should run no more */
        bool is_watched;         /* the manager has seen to it that they are stable */
        char *rollback;          /* why an update was rolled back */
        char *reason;            /* of the end */

        /* Lines. */
        struct seen seen[PROGRESS_TASKS_MAX];
        size_t n_seen;
        uint64_t running, desired; /* as last said */
        int64_t counted_ms;        /* when; -1: never */
        char *pending;
        bool is_stopping_said;

        /* Frames. */
        unsigned frame_lines; /* of the last frame, which the next one goes over */
};

char *progress_label(const struct progress *p, const Swarm__Task *t); /* heap */
/* The newest task of each slot or node, in order. They are the message's. Returns how many. */
size_t progress_tasks(const Swarm__Progress *m, const Swarm__Task *ret[PROGRESS_TASKS_MAX]);
void progress_put_frame(struct progress *p, int64_t now_ms, enum progress_result result,
                        struct buf *out);
