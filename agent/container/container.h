/*
 * container: makes of a task's spec and its image's config what the runtime and the health checks
 * need. Place in the flow: the driver, once the image is there and before the start. Pure: folders
 * of volumes are named here and made by the driver. What can fail: templates, names and commands
 * that do not work out; the error is one line a user reads.
 */
#pragma once

#include "agent/agent.h"
#include "agent/runtime/runtime.h"
#include "shared/image/image.h"

#define CONTAINER_LIST_MAX 4096 /* mounts, ulimits, sysctls, environment, arguments */

struct container_input {
        const struct agent_task *task;
        const struct image_config *image;
        char *const *layers; /* borrowed until the plan is freed */
        struct id node_id;
        const char *node_hostname;
        const char *volumes_dir; /* holds a folder a volume, by name */
};

struct container_plan {
        struct container_config config;
        Swarm__Health *health; /* with all defaults filled in; NULL: none */
        int stop_signal;
        int64_t stop_grace_ms;
        char **volumes;           /* folders of volumes that must be there */
        char **anonymous_volumes; /* those of them that go with the container */
        struct container_memory *memory;
};

int container_plan_make(const struct container_input *in, struct container_plan **ret,
                        struct err *err);
void container_plan_free(struct container_plan *p); /* NULL is fine */

/* Of which task's container a folder below volumes_dir is the own: -EINVAL for a named volume's. */
int own_volume_parse(const char *name, struct id *ret);

/* "SIGTERM", "term", "15", "RTMIN+3": -EINVAL. */
int signal_parse(const char *s, int *ret);
