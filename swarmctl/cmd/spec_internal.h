/* Editing unpacked messages on the heap, for the spec files. */
#pragma once

#include <stddef.h>

#include "swarmctl/cmd/spec.h"

void edit_str(char **field, const char *s); /* as protobuf-c holds strings; "" is its own default */
void edit_push_str(char ***v, size_t *n, const char *s);
void edit_set_strs(char ***v, size_t *n, char *const *list); /* replaces all */
void edit_number(Swarm__Number **field, int64_t value);
/* Appends p, which is taken, to an array of pointers. */
void edit_push(void *array, size_t *n, void *take);
/* Takes element i out of an array of pointers; it is the caller's. */
void *edit_take(void *array, size_t *n, size_t i);

int spec_apply_lists(Swarm__ServiceSpec *s, const struct args *a, struct err *err);
int spec_apply_env_files(Swarm__ContainerSpec *c, const struct args *a, struct err *err);
int spec_apply_health(Swarm__ContainerSpec *c, const struct args *a, struct err *err);

/* A message of the type, initialized, on the heap. */
#define EDIT_NEW(type, init_fn)             \
        ({                                  \
                type *edit_m_ = xnew(type); \
                init_fn(edit_m_);           \
                edit_m_;                    \
        })
/* The message in a field, made if it is not there. */
#define EDIT_SUB(field, type, init_fn)                     \
        ({                                                 \
                if (!(field))                              \
                        (field) = EDIT_NEW(type, init_fn); \
                (field);                                   \
        })
