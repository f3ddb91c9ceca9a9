/* What is derived from the manager's objects: see objects.h. */
#include "shared/model/objects.h"

#include "shared/base/mem.h"
#include "shared/base/str.h"

const char *node_hostname(const struct node *node)
{
        if (node->description && !str_is_empty(node->description->hostname))
                return node->description->hostname;
        return "(not yet known)";
}

char *task_name(const struct task *task)
{
        if (task->slot)
                return xasprintf("%s.%u", task->service->name, task->slot);
        return xasprintf("%s.%s", task->service->name, task->node ? ID_S(task->node->id) : "?");
}
