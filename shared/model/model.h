/*
 * The words of the field: states, modes and policies with their numbers (as stored and sent) and
 * names, and the limits and defaults that hold everywhere. Plain data, no behaviour but names.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Observed states move forward only. The values are Docker Swarm's. REMOVE is a desired state only.
 */
enum task_state {
        TASK_NEW = 0,
        TASK_PENDING = 64,
        TASK_ASSIGNED = 192,
        TASK_ACCEPTED = 256,
        TASK_PREPARING = 320,
        TASK_READY = 384,
        TASK_STARTING = 448,
        TASK_RUNNING = 512,
        TASK_COMPLETE = 576,
        TASK_SHUTDOWN = 640,
        TASK_FAILED = 704,
        TASK_REJECTED = 768,
        TASK_REMOVE = 800,
        TASK_ORPHANED = 832,
};

enum service_mode { MODE_REPLICATED = 0, MODE_GLOBAL = 1 };
enum failure_action { ACTION_PAUSE = 0, ACTION_CONTINUE = 1, ACTION_ROLLBACK = 2 };
enum update_order { ORDER_STOP_FIRST = 0, ORDER_START_FIRST = 1 };
enum restart_condition { RESTART_ANY = 0, RESTART_ON_FAILURE = 1, RESTART_NONE = 2 };
enum placement_strategy { STRATEGY_SPREAD = 0, STRATEGY_BINPACK = 1 };
enum mount_type { MOUNT_VOLUME = 0, MOUNT_BIND = 1, MOUNT_TMPFS = 2 };
enum health_type {
        HEALTH_DEFAULT = 0,
        HEALTH_NONE,
        HEALTH_CMD,
        HEALTH_SHELL,
        HEALTH_HTTP,
        HEALTH_TCP
};
enum node_role { ROLE_WORKER = 0, ROLE_MANAGER = 1 };
enum node_availability { AVAILABILITY_ACTIVE = 0, AVAILABILITY_PAUSE = 1, AVAILABILITY_DRAIN = 2 };
enum manager_status { MANAGER_NONE = 0, MANAGER_LEADER, MANAGER_REACHABLE, MANAGER_UNREACHABLE };
/* JOINING: to be one, but not taken in yet. */
enum member_role { MEMBER_JOINING = 0, MEMBER_LEARNER, MEMBER_VOTER };

/* SUSPECT is READY for the tasks that run there, but nothing new is placed. Never in the log. */
enum node_state {
        NODE_UNKNOWN = 0,
        NODE_DOWN = 1,
        NODE_READY = 2,
        NODE_DISCONNECTED = 3,
        NODE_SUSPECT = 4
};

enum update_state {
        UPDATE_NONE = 0,
        UPDATE_UPDATING,
        UPDATE_PAUSED,
        UPDATE_COMPLETED,
        UPDATE_ROLLBACK_STARTED,
        UPDATE_ROLLBACK_PAUSED,
        UPDATE_ROLLBACK_COMPLETED,
};

/* Names as users read and type them: "running", "on-failure", "stop-first", "rollback_started".
 * An unknown number gives "unknown"; an unknown name -EINVAL. */
const char *task_state_name(enum task_state v);
const char *service_mode_name(enum service_mode v);
const char *failure_action_name(enum failure_action v);
const char *update_order_name(enum update_order v);
const char *restart_condition_name(enum restart_condition v);
const char *placement_strategy_name(enum placement_strategy v);
const char *mount_type_name(enum mount_type v);
const char *node_role_name(enum node_role v);
const char *node_availability_name(enum node_availability v);
const char *node_state_name(enum node_state v);
const char *manager_status_name(enum manager_status v);
const char *member_role_name(enum member_role v);
const char *update_state_name(enum update_state v);

int service_mode_parse(const char *s, enum service_mode *ret);
int failure_action_parse(const char *s, enum failure_action *ret);
int update_order_parse(const char *s, enum update_order *ret);
int restart_condition_parse(const char *s, enum restart_condition *ret);
int placement_strategy_parse(const char *s, enum placement_strategy *ret);
int mount_type_parse(const char *s, enum mount_type *ret);
int node_role_parse(const char *s, enum node_role *ret);
int node_availability_parse(const char *s, enum node_availability *ret);

/* The task has ended or never will begin: it holds nothing on its node any more. */
static inline bool task_state_is_terminal(enum task_state s)
{
        return s > TASK_RUNNING && s != TASK_REMOVE;
}

/* The number is one of enum task_state. */
bool task_state_is_valid(uint32_t v);

#define DEFAULT_RESTART_DELAY_MS         5000
#define DEFAULT_STOP_GRACE_MS            10000
#define DEFAULT_UPDATE_MONITOR_MS        5000
#define DEFAULT_UPDATE_WAIT_MS           300000
#define DEFAULT_HEARTBEAT_MS             1000
#define DEFAULT_SUSPECT_MS               2000
#define DEFAULT_DOWN_MS                  5000
#define DEFAULT_MASS_FAILURE_MS          60000
#define DEFAULT_HISTORY_LIMIT            5
#define TASK_HISTORY_MAX                 10000 /* tasks of a slot, whatever the limit says */
#define DEFAULT_HEALTH_INTERVAL_MS       30000
#define DEFAULT_HEALTH_TIMEOUT_MS        30000
#define DEFAULT_HEALTH_RETRIES           3
#define DEFAULT_HEALTH_START_INTERVAL_MS 5000
/* The restart delay doubles while a slot keeps failing, from at least MIN with the third failure,
 * to MAX; up for RESET it starts anew. */
#define RESTART_BACKOFF_MIN_MS   100
#define RESTART_BACKOFF_MAX_MS   300000
#define RESTART_BACKOFF_RESET_MS 600000

/* A task's message while it is stopped and its state does not tell: it has not been RUNNING, or
 * is to be by its desired state. */
#define TASK_MESSAGE_STOPPING "stopping"

#define CPU_NANO_MIN         1000000
#define MEMORY_BYTES_MIN     (4LL << 20)
#define MESSAGE_BYTES_MAX    (4u << 20)
#define BLOB_CHUNK_MAX       (1u << 20)
#define CLUSTER_NODES_MAX    10000
#define CLUSTER_MANAGERS_MAX 16
#define CLUSTER_TASKS_MAX    1000000
#define SERVICE_REPLICAS_MAX CLUSTER_TASKS_MAX
#define NODE_TASKS_MAX       50000 /* wanted and not ended, on one node: it is full then */
#define LOG_WINDOW           8     /* LogData of a stream that an agent may have unacknowledged */
#define LOG_CLIENT_WINDOW    64    /* LogChunks likewise of a client */
#define LOG_TASKS_MAX        10000 /* tasks of one stream of a client */
#define STREAM_SILENCE_MS    15000 /* a stream ends when its client says nothing for this long */
#define DEFAULT_PORT         7377
/* Versions of what is spoken, and the oldest that is understood as well: see protocol.h. */
#define DISPATCH_PROTOCOL        2 /* agents and managers: proto/dispatch.proto */
#define DISPATCH_PROTOCOL_OLDEST 2
#define CONTROL_PROTOCOL         1 /* swarmctl and managers: proto/control.proto */
#define CONTROL_PROTOCOL_OLDEST  1
#define PEER_PROTOCOL            1 /* managers: proto/peer.proto, proto/raft.proto */
#define PEER_PROTOCOL_OLDEST     1
#define JOIN_TOKEN_PREFIX        "SWMT-1-"
