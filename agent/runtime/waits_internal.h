/*
 * Of the runtime's inside: who waits for what. Starts that are under way (start.c), programs inside
 * of containers (exec.c), and answers that are known and not told yet (runtime.c).
 */
#pragma once

#include "agent/runtime/runtime.h"
#include "agent/shim/shim.h"
#include "shared/base/base.h"

struct container;

/* A start that has begun. */
struct start {
        bool has_slot;           /* it counts as one of those that are under way */
        int supervisor;          /* pidfd */
        struct loop_timer *look; /* whether it gets on */
        int64_t moved_ms;        /* mono: when it last did */
        char *doing;             /* heap: what it was at then; NULL: not known */
};

struct exec_wait {
        struct list link;
        uint32_t cookie;
        runtime_exec_fn *done;
        void *arg;
};

/* What is known already and told soon: not inside the call that asked. One of the three. */
struct answer {
        struct list link;
        void *arg;
        runtime_started_fn *started; /* with id and err */
        struct id id;
        struct err err;
        runtime_exec_fn *exec; /* with status */
        int status;
        loop_fn *removed;
};

void queue_advance(struct runtime *r);
void start_moved(struct container *c, const char *doing);
void start_done(struct container *c); /* it came to an end, in whatever way; or had none */
void runtime_soon(struct runtime *r);
void answer_later(struct runtime *r, struct answer a); /* one without a function is none */
void execs_fail(struct container *c, int status);
void exec_answered(struct container *c, const struct shim_message *m, const char *text);
