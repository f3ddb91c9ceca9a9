/* template: Docker's placeholders in environment, hostname and mounts: "{{.Task.Slot}}". Pure. */
#pragma once

#include "agent/agent.h"
#include "shared/base/err.h"

#define TEMPLATE_BYTES_MAX 65536 /* of a text with its placeholders filled in */

/* What the placeholders stand for. */
struct template_values {
        const struct agent_task *task;
        struct id node_id;
        const char *node_hostname;
};

/* Fills in {{.Service.ID}} {{.Service.Name}} {{.Service.Labels.X}} {{index .Service.Labels "X"}}
 * {{.Node.ID}} {{.Node.Hostname}} {{.Task.ID}} {{.Task.Name}} {{.Task.Slot}}. Heap. -EINVAL with
 * text for another one, or one that does not end. A label that is not there gives nothing. */
int template_expand(const char *text, const struct template_values *v, char **ret, struct err *err);
