/*
 * containers: the driver of a node's containers: image, volumes, start, stop with its grace,
 * health, removal. Place in the flow: the agent's core asks through its ports, and is told what
 * came of it as container events, on the loop, never inside the asking call.
 */
#pragma once

#include "agent/agent.h"
#include "agent/image/image_store.h"
#include "agent/runtime/runtime.h"
#include "shared/loop/loop.h"

struct containers;

struct containers_config {
        const char *data_dir; /* DIR: agent/runtime, agent/images, agent/volumes are below */
        const char *hostname, *shim_path, *unpack_path, *cgroup_name;
        void *arg;
        void (*on_event)(void *arg, const struct container_event *e);
        void (*fetch)(void *arg, const Swarm__BlobGet *m);
};

int containers_open(struct loop *l, const struct containers_config *c, struct containers **ret,
                    struct err *err);
/* Leaves them running. Nothing is told any more: what was asked and not answered is found by the
 * next containers_recover. */
void containers_close(struct containers *c);
void containers_set_node(struct containers *c, struct id node);

/* At start: finds the containers of earlier. get: the task of one, false: of no known task, which
 * is then kept, until the core has it adopted, or ended and removed. found is told of each, with
 * its EXITED or STARTED. */
struct containers_recovery {
        void *arg;
        bool (*get)(void *arg, struct id task, struct agent_task *ret);
        void (*found)(void *arg, struct id task, bool is_running, const struct container_event *e);
};
int containers_recover(struct containers *c, const struct containers_recovery *y);

/* The ports of agent.h. */
void containers_prepare(struct containers *c, const struct agent_task *t);
void containers_start(struct containers *c, const struct agent_task *t);
void containers_adopt(struct containers *c, const struct agent_task *t);
void containers_stop(struct containers *c, struct id task);
void containers_remove(struct containers *c, struct id task);

/* Starts what was asked for: when the journal is written. */
void containers_pump(struct containers *c);
/* What was asked for since the last pump fails. */
void containers_refuse(struct containers *c, const char *why);
/* It runs, or will: its log may grow. */
bool containers_is_live(struct containers *c, struct id task);
struct runtime *containers_runtime(struct containers *c);
struct image_store *containers_images(struct containers *c);
