/*
 * container_rules: what a container's hostname and mount points may be. Place in the flow: the
 * manager refuses a service by them, as far as it knows the values of placeholders; the agent
 * refuses a task, when it knows all of them. Pure. -EINVAL with a text that names the value.
 */
#pragma once

#include <stdbool.h>

#include "shared/base/err.h"

#define HOSTNAME_MAX_LEN 63
#define PATH_MAX_LEN     4095

/* Parts of letters, digits, '_' and (inside) '-', with dots between. */
int hostname_check(const char *s, struct err *err);
/* An absolute path without "..". what: "workdir", before the value. */
int path_check(const char *s, const char *what, struct err *err);
/* A path that is not what the runtime makes itself: /, /dev, /proc and all below, /sys. */
int mount_target_check(const char *s, struct err *err);
bool path_is_same(const char *a, const char *b); /* "/a//b/" is "/a/b", and "/./a" is "/a" */
