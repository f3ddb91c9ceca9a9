/* Filters of lists and events. */
#pragma once

#include "manager/api/api_internal.h"
#include "shared/model/filter.h"

/* Any value of a key given, and each key given has one that matches. */
struct filter_value {
        const char *key, *value; /* value NULL: the object has no such */
        bool is_prefix;          /* matches when what is asked for is a prefix (ids, names) */
};
struct filter_labels {
        const char *key; /* "label": asked for as NAME or NAME=VALUE */
        Swarm__KeyValue *const *labels;
        size_t n;
};
struct filter_object {
        const struct filter_value *values;
        size_t n_values;
        const struct filter_labels *labels;
        size_t n_labels;
};
bool filters_match(Swarm__Filter *const *filters, size_t n, const struct filter_object *o);
/* -EINVAL for what is not in the table. */
int filters_check(Swarm__Filter *const *filters, size_t n, const struct filter_key *keys,
                  struct err *err);
