/* What the files of the api share: the stage's state, a request under way, look-ups, answers. */
#pragma once

#include "manager/api/api.h"
#include "manager/store/encode.h"
#include "shared/base/base.h"
#include "shared/wire/wire.h"

#define EVENTS_KEPT     256
#define LIST_PART_BYTES (2u << 20) /* a list's answer is split beyond */
#define STREAMS_MAX     1000       /* of all clients */
#define WATCH_TASKS_MAX 20         /* services with at most as many slots are told task by task */

enum stream_kind { STREAM_WATCH, STREAM_EVENTS, STREAM_LOGS };

struct stream {
        struct list link;
        enum stream_kind kind;
        uint64_t connection, number;
        int64_t heard_ms; /* mono: when the client last said something */
        struct id service;
        bool is_dirty;         /* watch: something of the service changed */
        bool follow;           /* logs */
        uint64_t failed;       /* watch: tasks that failed meanwhile */
        char *error, *pending; /* watch: of the newest of them; why a task is not placed */
        uint64_t event_from;   /* events: number of the next to tell */
        struct log_stream *log;
        Swarm__EventsRequest *filter; /* heap */
};

struct event {
        Swarm__Event *msg; /* heap */
};

struct api {
        struct store *store;
        struct logs *logs;
        const struct turn_config *config;
        struct store_watch watch;
        struct now now;
        const char *warning;
        uint64_t last_index;
        struct list streams;
        size_t stream_count;
        struct event events[EVENTS_KEPT]; /* a ring: event k is at k % EVENTS_KEPT */
        uint64_t event_count;             /* ever made */
};

/* A request under way. A handler answers and returns 0, or sets err and returns -errno. */
struct call {
        struct api *a;
        uint64_t connection;
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
int find_node(struct api *a, const char *ref, struct node **ret, struct err *err);
int find_task(struct api *a, const char *ref, struct task **ret, struct err *err);
int find_image(struct api *a, const char *ref, struct image **ret, struct err *err);
/* Any value of a key given, and each key given has one that matches. */
struct filter_value {
        const char *key, *value; /* value NULL: the object has no such */
        bool is_prefix;          /* matches when what is asked for is a prefix (ids, names) */
};
bool filters_match(Swarm__Filter *const *filters, size_t n, const struct filter_value *values,
                   size_t n_values);
/* -EINVAL for a key that is not in the list. */
int filters_check(Swarm__Filter *const *filters, size_t n, const char *const *keys,
                  struct err *err);

/* --- validate.c: the spec is changed in place (defaults, the image's id). -EINVAL, -ENOENT */
int spec_validate(struct api *a, Swarm__ServiceSpec *spec, struct err *err);

/* --- handlers */
typedef int call_fn(struct call *c);
call_fn on_service_create, on_service_update, on_service_scale, on_service_remove;
call_fn on_service_list, on_service_get, on_task_list, on_task_get, on_node_list, on_node_get;
call_fn on_node_update, on_node_remove, on_cluster_update, on_cluster_get, on_join_token;
call_fn on_image_create, on_image_list, on_image_get, on_image_remove, on_info;
call_fn on_service_watch, on_events, on_logs, on_log_acknowledge, on_cancel, on_keep_alive;

/* --- stream.c */
void streams_note_task(struct api *a, struct task *task, const struct task_before *before);
void streams_note_service(struct api *a, struct service *service);
void stream_close(struct api *a, struct stream *s);
void events_add(struct api *a, const char *type, const char *action, const char *id,
                const char *name, const char *key, const char *value);
int64_t streams_send(struct api *a, struct list *effects);

/* --- query.c */
struct task_msg {
        struct object_msg object;
        char hostname[64];
};
const Swarm__Task *task_to_msg(struct api *a, struct task *task, struct task_msg *ret);
uint64_t service_desired(struct api *a, struct service *service);
