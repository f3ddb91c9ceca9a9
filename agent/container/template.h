/* template: a task's values for the placeholders of its service's texts. Pure. */
#pragma once

#include "agent/agent.h"
#include "shared/base/err.h"

/* What the placeholders stand for. */
struct template_values {
        const struct agent_task *task;
        struct id node_id;
        const char *node_hostname;
};

/* As placeholders_fill of shared/model/placeholder.h. A label that is not there gives nothing. */
int template_expand(const char *text, const struct template_values *v, char **ret, struct err *err);
