/*
 * placeholder: Docker's placeholders in a service's environment, hostname and mounts:
 * "{{.Task.Slot}}". The manager checks with it what a service asks for, the agent fills in what it
 * knows. Pure.
 *
 *   {{.Service.ID}} {{.Service.Name}} {{.Service.Labels.KEY}} {{index .Service.Labels "KEY"}}
 *   {{.Node.ID}} {{.Node.Hostname}} {{.Task.ID}} {{.Task.Name}} {{.Task.Slot}}
 */
#pragma once

#include <stddef.h>

#include "shared/base/buf.h"
#include "shared/base/err.h"

#define PLACEHOLDER_TEXT_MAX 65536 /* bytes of a text with all of them filled in */

enum placeholder {
        PLACEHOLDER_SERVICE_ID,
        PLACEHOLDER_SERVICE_NAME,
        PLACEHOLDER_SERVICE_LABEL, /* with its key */
        PLACEHOLDER_NODE_ID,
        PLACEHOLDER_NODE_HOSTNAME,
        PLACEHOLDER_TASK_ID,
        PLACEHOLDER_TASK_NAME, /* web.3.TASKID */
        PLACEHOLDER_TASK_SLOT, /* of a global service: the node's id */
};

/* Appends what one of them stands for. key: the label's, else NULL. */
typedef void placeholder_fn(void *arg, enum placeholder what, const char *key, struct buf *out);

/* *ret: the text with all placeholders filled in, heap. -EINVAL with a text: one is not known or
 * does not end, or the result is too long. */
int placeholders_fill(const char *text, placeholder_fn *value, void *arg, char **ret,
                      struct err *err);
