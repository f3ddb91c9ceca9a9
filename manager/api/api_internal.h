/* What the files of the api share: the stage's state, a request under way, look-ups, answers. */
#pragma once

#include "manager/api/api.h"
#include "manager/store/encode.h"
#include "shared/base/base.h"
#include "shared/wire/wire.h"

#define EVENTS_KEPT        256
#define LIST_PART_BYTES    (2u << 20) /* a list's answer is split beyond */
#define REFS_MAX           256        /* objects that one request names, and filters of a list */
#define STREAMS_MAX        1000       /* of all clients */
#define CLIENT_STREAMS_MAX 32         /* of one */
#define WATCH_STATE_STEP   64         /* task states are multiples of it, all but REMOVE */
#define WATCH_TASKS_MAX    20 /* services with at most as many slots are told task by task */

enum stream_kind { STREAM_WATCH, STREAM_EVENTS, STREAM_LOGS };

/* The progress of a service, as counted so far. */
struct watch {
        bool is_dirty;      /* something of the service changed */
        bool is_node_dirty; /* or of a node: `desired` may be another */
        uint64_t spec_version, desired;
        uint64_t by_state[TASK_ORPHANED / WATCH_STATE_STEP + 1]; /* of tasks that should live */
        uint64_t failed;                                         /* tasks of the spec in force */
        uint64_t stopping;         /* that should run no more, but do */
        char *error, *failed_task; /* of the newest that failed */
        char *pending;             /* why a task is not placed */
};

struct stream {
        struct list link;
        enum stream_kind kind;
        uint64_t connection, number;
        int64_t heard_ms;             /* mono: when the client last said something */
        struct id service;            /* watch, logs of a service */
        struct id task;               /* logs of a task */
        struct watch watch;           /* watch */
        bool follow;                  /* logs */
        struct log_stream *log;       /* logs */
        uint64_t event_from;          /* events: number of the next to tell */
        Swarm__EventsRequest *filter; /* events; heap */
};

struct event {
        const char *type, *action, *key; /* literals; key of the attribute, NULL: none */
        char *id, *name, *value;         /* heap in the ring */
        int64_t time_ms;
};

struct api {
        struct store *store;
        struct logs *logs;
        struct turn_config config;
        struct store_watch watch;
        struct now now;
        const char *warning;
        uint64_t last_index;
        struct list streams;
        size_t stream_count;
        struct event events[EVENTS_KEPT]; /* a ring: event k is at k % EVENTS_KEPT */
        uint64_t event_count;             /* ever made */
        uint64_t events_before;           /* made before this turn */
};

/* A request under way. A handler answers and returns 0, or sets err and returns -errno. */
struct call {
        struct api *a;
        uint64_t connection;
        uint64_t manager; /* which the client is connected to; 0: this one */
        const Swarm__Request *q;
        struct rng *rng;
        struct list *effects;
        struct err err;
};

/* --- api.c: answers */
void call_answer(struct call *c, Swarm__Response *r); /* fills in the number */
void call_done(struct call *c);

/* --- find.c: by id, name, or unique prefix of an id. -ENOENT, -EINVAL (ambiguous), with text */
int find_service(struct api *a, const char *ref, struct service **ret, struct err *err);
int find_node(struct call *c, const char *ref, struct node **ret); /* with the call's err */
int find_task(struct api *a, const char *ref, struct task **ret, struct err *err);
int find_image(struct api *a, const char *ref, struct image **ret, struct err *err);

/* The node of the manager that the client is connected to; NULL: it is not in the state yet. */
struct node *find_self(struct call *c);

/* --- validate.c: the spec is changed in place (defaults, the image's id). present: the one that it
 * replaces, NULL: none. -EINVAL, -ENOENT */
int spec_validate(struct api *a, Swarm__ServiceSpec *spec, const Swarm__ServiceSpec *present,
                  struct err *err);

/* --- handlers */
typedef int call_fn(struct call *c);
call_fn on_service_create, on_service_update, on_service_scale, on_service_remove;
call_fn on_service_list, on_service_get, on_task_list, on_task_get, on_node_list, on_node_get;
call_fn on_node_update, on_node_remove, on_manager_list, on_manager_remove;
call_fn on_cluster_update, on_cluster_get, on_join_token, on_unlock_key, on_local_request;
call_fn on_image_create, on_image_list, on_image_get, on_image_remove, on_info;
call_fn on_service_watch, on_events, on_logs, on_log_acknowledge, on_cancel, on_keep_alive;

/* --- stream.c */
int stream_open(struct call *c, enum stream_kind kind, struct stream **ret);
void stream_close(struct api *a, struct stream *s);
/* Answers for the last time and closes. */
void stream_end(struct api *a, struct stream *s, int code, const char *error, struct list *effects);
void streams_note_task(struct api *a, struct task *task, enum change_kind kind,
                       const struct task_before *before);
void streams_note_service(struct api *a, struct service *service);
void streams_note_nodes(struct api *a);
int64_t streams_send(struct api *a, struct list *effects);

bool image_has_name(const struct image *image, const char *name); /* image.c */

/* --- node.c: the role is the spec's; the manager on a node that is none any more is forgotten. */
void node_set_spec(struct call *c, struct node *node, enum node_availability availability,
                   enum node_role role, const Swarm__KeyValue *const *labels, size_t n_labels);

/* --- manager.c: false: no manager of that id is a member. */
bool find_member(const struct api *a, uint64_t manager_id, struct turn_member *ret);
/* As clients see it: that of a manager without an agent is the manager's. */
enum node_state node_shown_state(const struct api *a, const struct node *node);
bool node_is_bare_manager(const struct node *node); /* a manager without an agent beside it */

/* --- watch.c, events.c */
void watch_note_task(struct stream *s, struct task *task, enum change_kind kind,
                     const struct task_before *before);
void watch_note_service(struct stream *s, struct service *service);
void watch_send(struct api *a, struct stream *s, struct list *effects);
void events_add(struct api *a, const struct event *e); /* copies */
void events_send(struct api *a, struct stream *s, struct list *effects);
void events_done(struct api *a);
/* --- query.c */
/* A list under way. Zeroed but for the first two. */
struct parts {
        struct call *c;
        unsigned response_field; /* of Response: the list */
        struct buf items;        /* packed, of its present part */
        size_t n_seen;           /* objects looked at */
};
void parts_add(struct parts *p, const ProtobufCMessage *m);
int parts_end(struct parts *p); /* answers; 0 */
struct task_msg {
        struct object_msg object;
        char hostname[64];
};
const Swarm__Task *task_to_msg(struct api *a, struct task *task, struct task_msg *ret);
uint64_t service_desired(struct api *a, struct service *service);
