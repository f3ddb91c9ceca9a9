/*
 * spec: from flags to a service's spec. One way for create (a spec with nothing set) and update
 * (the spec in force): exactly what the flags say is edited in place, everything else stays, fields
 * that this program does not know included. Pure, but for --env-file and names taken from the
 * environment.
 */
#pragma once

#include <stdbool.h>

#include "proto/objects.pb-c.h"
#include "shared/base/err.h"
#include "swarmctl/cmd/flags.h"

#define ENV_FILE_MAX (1 << 20)

/* A spec on the heap with what create starts from: one replica, all else unset. wire_free. */
Swarm__ServiceSpec *spec_begin(void);

/* Edits the spec (on the heap). -EINVAL: flags that contradict each other or cannot be read;
 * -ENOENT: a -rm flag names what is not there; -EOPNOTSUPP: the service's mode lacks what a flag
 * sets; others: a file cannot be read, or its contents; with a text. On failure the spec may be
 * half edited and is good for wire_free only. */
int spec_apply(Swarm__ServiceSpec *s, const struct args *a, struct err *err);

/* Docker's comma-separated form: "type=bind,source=/a,target=/b,readonly". wire_free. */
int spec_parse_mount(const char *text, Swarm__Mount **ret, struct err *err);
/* "nofile=1024:2048" or "nofile=1024"; -1 is unlimited. */
int spec_parse_ulimit(const char *text, Swarm__Ulimit **ret, struct err *err);

extern const struct flag service_common_flags[], service_create_flags[], service_update_flags[];
extern const struct flag service_absent_flags[];
