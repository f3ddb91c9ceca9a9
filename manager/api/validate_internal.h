/* What the files that check specs share. */
#pragma once

#include "manager/api/api_internal.h"

#define SPEC_ITEMS_MAX 1024       /* of each list in a spec */
#define SPEC_TEXT_MAX  32768      /* bytes of each text in a spec */
#define SPEC_BYTES_MAX (1u << 20) /* of a spec as it is sent */

/* -EINVAL with text naming `what`. */
int check_count(size_t n, size_t max, const char *what, struct err *err);
int check_text(const char *s, const char *what, struct err *err);
int check_labels(Swarm__KeyValue *const *labels, size_t n, const char *what, struct err *err);
int check_time_range(int64_t ms, const char *what, struct err *err);

/* spec: with a container. */
int container_validate(const Swarm__ServiceSpec *spec, struct err *err);

/* --- fill.c: changes of a heap message */
void spec_fill_defaults(Swarm__ServiceSpec *spec);
void spec_set_string(char **field, const char *value); /* of a heap message: frees, copies */
void spec_set_platform(Swarm__Placement *p, const char *arch, const char *os);
