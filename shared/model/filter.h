/*
 * filter: by what lists may be filtered. swarmctl refuses what is wrong as wrong usage, the manager
 * refuses it from whoever asks.
 */
#pragma once

#include "shared/base/err.h"

/* A key, and its values: "a|b", or NULL: any. Tables end by an entry without a name. */
struct filter_key {
        const char *name, *values;
};

extern const struct filter_key filter_service_keys[], filter_task_keys[], filter_node_keys[],
        filter_event_keys[];

/* -EINVAL with a text that names what there is. */
int filter_check(const struct filter_key *keys, const char *key, const char *value,
                 struct err *err);
