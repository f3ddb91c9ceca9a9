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
        const char *hostname, *shim_path, *cgroup_name;
        void *arg;
        void (*on_event)(void *arg, const struct container_event *e);
        void (*fetch)(void *arg, const Swarm__BlobGet *m);
};

int containers_open(struct loop *l, const struct containers_config *c, struct containers **ret,
                    struct err *err);
/* Leaves them running. */
void containers_close(struct containers *c);
void containers_set_node(struct containers *c, struct id node);

/* At start: a task of the journal that was RUNNING and healthy, or not yet; then what is there.
 * found is told of each container, with the exit event of one that has ended. Containers of no
 * known task are ended and removed. */
void containers_load(struct containers *c, const struct agent_task *t, bool was_healthy);
typedef void containers_found_fn(void *arg, struct id task, bool is_running,
                                 const struct container_event *exited);
int containers_recover(struct containers *c, containers_found_fn *found, void *arg);

/* The ports of agent.h. */
void containers_prepare(struct containers *c, const struct agent_task *t);
void containers_start(struct containers *c, const struct agent_task *t);
void containers_stop(struct containers *c, struct id task);
void containers_remove(struct containers *c, struct id task);

bool containers_is_running(struct containers *c, struct id task);
struct runtime *containers_runtime(struct containers *c);
struct image_store *containers_images(struct containers *c);
