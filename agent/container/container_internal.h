/* container's own: the parts of a plan. */
#pragma once

#include "agent/container/container.h"
#include "agent/container/template.h"
#include "shared/base/buf.h"
#include "shared/base/str.h"

/* What a plan's config points to. */
struct container_memory {
        char **argv, **env, **groups, **cap_add, **cap_drop, **texts;
        struct container_mount *mounts;
        struct container_ulimit *ulimits;
        struct container_sysctl *sysctls;
};

/* Puts "KEY=VALUE" into the list, in place of an entry with that key. */
void env_set(char ***env, const char *entry);
int env_make(const struct container_input *in, const struct template_values *v,
             const char *hostname, char ***ret, struct err *err);
/* Docker's rule: an entrypoint of the service drops the image's Cmd, arguments replace it. */
int argv_make(const Swarm__ContainerSpec *c, const struct image_config *image, char ***ret,
              struct err *err);
int mounts_make(const struct container_input *in, const struct template_values *v,
                struct container_plan *p, struct err *err);
/* The service's check over the image's, with defaults; *ret NULL: none. */
int health_make(const Swarm__Health *service, const Swarm__Health *image, Swarm__Health **ret,
                struct err *err);
/* Keeps a copy of the text as long as the plan. */
const char *plan_keep(struct container_plan *p, const char *text);
