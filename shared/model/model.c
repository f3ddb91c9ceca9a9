/* Names of the field's words: see model.h. One table an enum. */
#include "shared/model/model.h"

#include <errno.h>
#include <strings.h>

#include "shared/base/mem.h"

struct word {
        int value;
        const char *name;
};

static const char *name_of(const struct word *words, size_t n, int value)
{
        for (size_t i = 0; i < n; i++)
                if (words[i].value == value)
                        return words[i].name;
        return "unknown";
}

static int value_of(const struct word *words, size_t n, const char *name, int *ret)
{
        for (size_t i = 0; i < n; i++) {
                if (!strcasecmp(words[i].name, name)) {
                        *ret = words[i].value;
                        return 0;
                }
        }
        return -EINVAL;
}

/* Defines <type>_name from the table words_<type>. */
#define DEFINE_NAME(type)                                                       \
        const char *type##_name(enum type v)                                    \
        {                                                                       \
                return name_of(words_##type, ARRAY_SIZE(words_##type), (int)v); \
        }

#define DEFINE_PARSE(type)                                                       \
        int type##_parse(const char *s, enum type *ret)                          \
        {                                                                        \
                int v;                                                           \
                int r = value_of(words_##type, ARRAY_SIZE(words_##type), s, &v); \
                                                                                 \
                if (r == 0)                                                      \
                        *ret = (enum type)v;                                     \
                return r;                                                        \
        }

static const struct word words_task_state[] = {
        {TASK_NEW, "new"},           {TASK_PENDING, "pending"},     {TASK_ASSIGNED, "assigned"},
        {TASK_ACCEPTED, "accepted"}, {TASK_PREPARING, "preparing"}, {TASK_READY, "ready"},
        {TASK_STARTING, "starting"}, {TASK_RUNNING, "running"},     {TASK_COMPLETE, "complete"},
        {TASK_SHUTDOWN, "shutdown"}, {TASK_FAILED, "failed"},       {TASK_REJECTED, "rejected"},
        {TASK_REMOVE, "remove"},     {TASK_ORPHANED, "orphaned"},
};
DEFINE_NAME(task_state)

static const struct word words_service_mode[] = {{MODE_REPLICATED, "replicated"},
                                                 {MODE_GLOBAL, "global"}};
DEFINE_NAME(service_mode)
DEFINE_PARSE(service_mode)

static const struct word words_failure_action[] = {
        {ACTION_PAUSE, "pause"}, {ACTION_CONTINUE, "continue"}, {ACTION_ROLLBACK, "rollback"}};
DEFINE_NAME(failure_action)
DEFINE_PARSE(failure_action)

static const struct word words_update_order[] = {{ORDER_STOP_FIRST, "stop-first"},
                                                 {ORDER_START_FIRST, "start-first"}};
DEFINE_NAME(update_order)
DEFINE_PARSE(update_order)

static const struct word words_restart_condition[] = {
        {RESTART_ANY, "any"}, {RESTART_ON_FAILURE, "on-failure"}, {RESTART_NONE, "none"}};
DEFINE_NAME(restart_condition)
DEFINE_PARSE(restart_condition)

static const struct word words_placement_strategy[] = {{STRATEGY_SPREAD, "spread"},
                                                       {STRATEGY_BINPACK, "binpack"}};
DEFINE_NAME(placement_strategy)
DEFINE_PARSE(placement_strategy)

static const struct word words_mount_type[] = {
        {MOUNT_VOLUME, "volume"}, {MOUNT_BIND, "bind"}, {MOUNT_TMPFS, "tmpfs"}};
DEFINE_NAME(mount_type)
DEFINE_PARSE(mount_type)

static const struct word words_node_role[] = {{ROLE_WORKER, "worker"}, {ROLE_MANAGER, "manager"}};
DEFINE_NAME(node_role)
DEFINE_PARSE(node_role)

static const struct word words_node_availability[] = {{AVAILABILITY_ACTIVE, "active"},
                                                      {AVAILABILITY_PAUSE, "pause"},
                                                      {AVAILABILITY_DRAIN, "drain"}};
DEFINE_NAME(node_availability)
DEFINE_PARSE(node_availability)

static const struct word words_node_state[] = {{NODE_UNKNOWN, "unknown"},
                                               {NODE_DOWN, "down"},
                                               {NODE_READY, "ready"},
                                               {NODE_DISCONNECTED, "disconnected"},
                                               {NODE_SUSPECT, "suspect"}};
DEFINE_NAME(node_state)

static const struct word words_manager_status[] = {{MANAGER_NONE, ""},
                                                   {MANAGER_LEADER, "leader"},
                                                   {MANAGER_REACHABLE, "reachable"},
                                                   {MANAGER_UNREACHABLE, "unreachable"}};
DEFINE_NAME(manager_status)

static const struct word words_member_role[] = {
        {MEMBER_JOINING, "joining"}, {MEMBER_LEARNER, "learner"}, {MEMBER_VOTER, "voter"}};
DEFINE_NAME(member_role)

static const struct word words_update_state[] = {{UPDATE_NONE, ""},
                                                 {UPDATE_UPDATING, "updating"},
                                                 {UPDATE_PAUSED, "paused"},
                                                 {UPDATE_COMPLETED, "completed"},
                                                 {UPDATE_ROLLBACK_STARTED, "rollback_started"},
                                                 {UPDATE_ROLLBACK_PAUSED, "rollback_paused"},
                                                 {UPDATE_ROLLBACK_COMPLETED, "rollback_completed"}};
DEFINE_NAME(update_state)

bool task_state_is_valid(uint32_t v)
{
        for (size_t i = 0; i < ARRAY_SIZE(words_task_state); i++)
                if ((uint32_t)words_task_state[i].value == v)
                        return true;
        return false;
}
