/*
 * store: the cluster's state in memory, with indexes, and the list of what a turn changed. Place in
 * the flow: every stage reads it and changes it through the functions below; the turn's driver
 * takes the change list out as one log entry. Pure: no clock, no I/O (manager/store/db.h has the
 * disk).
 *
 * Ownership: all objects belong to the store. A pointer stays valid until the object is removed and
 * the turn's changes are taken. Functions assert what is our own bug; input is checked by the
 * stages.
 */
#pragma once

#include "shared/base/buf.h"
#include "shared/base/map.h"
#include "shared/base/time.h"
#include "shared/model/objects.h"

#define STORE_CHANGE_BYTES 120

struct store;

enum change_kind { CHANGE_CREATED, CHANGE_UPDATED, CHANGE_REMOVED };

/* What a task was before the change that is told. */
struct task_before {
        enum task_state state, desired;
        struct node *node;
};

/* Told of each change at once, in the order of registration, in the middle of the stage that makes
 * it: an observer only notes what it must look at later, and changes nothing in the store.
 * An entry that is applied tells of images alone. Callbacks may be NULL. A removed object is told
 * while it still has its fields and is no longer found. */
struct store_watch {
        struct list link; /* set by store_watch */
        void *arg;
        void (*on_service)(void *arg, struct service *service, enum change_kind kind);
        void (*on_task)(void *arg, struct task *task, enum change_kind kind,
                        const struct task_before *before); /* before: NULL when created */
        void (*on_node)(void *arg, struct node *node, enum change_kind kind);
        /* name: that it got, or lost if it does not bear it any more; NULL unless it is UPDATED. */
        void (*on_image)(void *arg, struct image *image, enum change_kind kind, const char *name);
        void (*on_cluster)(void *arg, struct cluster *cluster);
};

struct store *store_new(void);
void store_free(struct store *s);
void store_watch(struct store *s, struct store_watch *w);

/* --- reading. "find" gives NULL when there is none ----------------------------------------------
 */
struct cluster *store_cluster(
        struct store *s); /* never NULL; its msg is empty before store_put_cluster */
struct service *store_find_service(struct store *s, struct id id);
struct service *store_find_service_by_name(struct store *s, const char *name);
struct task *store_find_task(struct store *s, struct id id);
struct node *store_find_node(struct store *s, struct id id);
struct node *store_find_node_by_key(struct store *s, const uint8_t key[32]);
size_t store_count_managers(const struct store *s); /* nodes of that role */
/* By the id of the manager that runs on it: looks through all nodes. */
struct node *store_find_manager(struct store *s, uint64_t manager_id);
struct image *store_find_image(struct store *s, const char *id);
struct image *store_find_image_by_name(struct store *s, const char *name);
/* All objects of a kind, for MAP_FOREACH. */
const struct map *store_services(struct store *s);
const struct map *store_tasks(struct store *s);
const struct map *store_nodes(struct store *s);
const struct map *store_images(struct store *s);
/* Tasks that are observed RUNNING and should be (desired <= RUNNING), of a service. O(1). */
uint64_t store_running_tasks(struct store *s, const struct service *service);

/* --- changing. Each records the change (an object once a turn) and tells the watchers -----------
 */
/* Takes *msg (heap, as wire_unpack_heap gives), nulls it. */
void store_put_cluster(struct store *s, Swarm__Cluster **msg);

/* Makes a service with its first spec (version 1), which is copied. The name must be free. */
struct service *store_add_service(struct store *s, struct id id, const Swarm__ServiceSpec *spec,
                                  int64_t wall_ms);
/* A new current spec, as version last + 1; the current becomes the previous. */
void store_set_service_spec(struct store *s, struct service *service,
                            const Swarm__ServiceSpec *spec, int64_t wall_ms);
/* Current and previous change places; `drop` leaves no previous one. There must be a previous. */
void store_swap_service_spec(struct store *s, struct service *service, bool drop, int64_t wall_ms);
/* message is copied; NULL: none. */
void store_set_update_status(struct store *s, struct service *service, enum update_state state,
                             int64_t started_ms, int64_t completed_ms, const char *message);
/* Its name is free from now on. */
void store_set_service_removing(struct store *s, struct service *service);
void store_remove_service(struct store *s, struct service *service); /* must have no tasks */

struct task_init {
        struct id id;
        struct spec *spec; /* a reference is taken */
        uint32_t slot;
        struct node *node; /* NULL: the scheduler decides */
        enum task_state state, desired;
        uint16_t failures, attempts;
        int64_t created_ms, not_before_ms;
        bool of_update;
};
struct task *store_add_task(struct store *s, struct service *service, const struct task_init *init);
/* Observed state: must not go back (asserted). Texts are copied, NULL: none; message may be NULL to
 * keep the one it has. exit_code -1: none. */
void store_set_task_state(struct store *s, struct task *task, enum task_state state,
                          int64_t state_ms, const char *message, const char *error, int exit_code);
void store_set_task_desired(struct store *s, struct task *task, enum task_state desired);
/* Why it is not placed, say, without a change of state; told only if the text is another. */
void store_set_task_message(struct store *s, struct task *task, const char *message,
                            const char *error);
/* Places the task: state becomes ASSIGNED. Takes *generic (may be NULL). */
void store_assign_task(struct store *s, struct task *task, struct node *node, int64_t wall_ms,
                       Swarm__Resources **generic);
void store_remove_task(struct store *s, struct task *task);

struct node *store_add_node(struct store *s, struct id id, const uint8_t key[32],
                            enum node_role role, int64_t wall_ms);
/* Copies the description. */
void store_set_node_description(struct store *s, struct node *node, const Swarm__NodeDescription *d,
                                int64_t wall_ms);
/* SUSPECT is kept in memory only: neither recorded nor a change of version. Tells the watchers. */
void store_set_node_state(struct store *s, struct node *node, enum node_state state,
                          const char *message, int64_t wall_ms);
/* Likewise in memory only. */
void store_set_node_disk_full(struct store *s, struct node *node, bool is_full);
void store_set_node_spec(struct store *s, struct node *node, enum node_availability availability,
                         enum node_role role, const Swarm__KeyValue *const *labels, size_t n_labels,
                         int64_t wall_ms);
/* The manager on it among the members (0: none), and its HOST:PORT, copied; NULL: none. */
void store_set_node_manager(struct store *s, struct node *node, uint64_t id, const char *address,
                            int64_t wall_ms);
/* Its tasks stay for their services' history, without a node; what had not ended is ORPHANED. Those
 * of global services, whose slot the node was, go with it. */
void store_remove_node(struct store *s, struct node *node, int64_t wall_ms);

/* Copies msg. Names that other images bear move to this one. An existing id gains the names. */
struct image *store_put_image(struct store *s, const Swarm__Image *msg);
void store_remove_image_name(struct store *s, struct image *image, const char *name);
void store_remove_image(struct store *s, struct image *image);

/* --- the turn's change list ----------------------------------------------------------------------
 */
/* Objects changed so far in this turn. */
size_t store_change_count(struct store *s);
/* The same, or more if they are large: the entry has less than about STORE_CHANGE_BYTES for each.
 */
size_t store_change_weight(struct store *s);
/* Appends the packed Entry with all that changed to ret (nothing when nothing did) and begins a new
 * list; removed objects are freed. Returns the number of changes. */
size_t store_take_changes(struct store *s, int64_t wall_ms, struct buf *ret);
/* Applies a packed Entry without recording or telling: replay at start. -EBADMSG on bytes that are
 * no entry or do not fit the state, -EPROTO on what a newer version wrote and this one would have
 * to understand; the store is then good for store_free only. */
int store_apply_entry(struct store *s, const uint8_t *p, size_t n);
/* While recovering, entries may be older than the rows that were loaded: what they say of objects
 * whose users are gone in the rows already is passed over. Ends with a sweep of unused specs. */
void store_set_recovering(struct store *s, bool is_recovering);

/* --- the state tables: rows that are behind the memory -------------------------------------------
 */
enum row_table { ROW_CLUSTER, ROW_NODES, ROW_SERVICES, ROW_SPECS, ROW_TASKS, ROW_IMAGES };

/* One row to write, or to delete when it has no message. Columns beside the message are for people.
 */
struct row {
        enum row_table table;
        uint64_t row;
        const ProtobufCMessage *msg; /* valid during the call */
        struct id id;
        const char *name;            /* service, hostname, image; may be NULL */
        const char *state, *desired; /* may be NULL */
        int64_t time_ms;
};
/* Calls fn for up to max rows that changed since they were last told, in row order; returns how
 * many. Call only between turns (after the changes were committed). */
size_t store_flush_rows(struct store *s, size_t max, void (*fn)(void *arg, const struct row *r),
                        void *arg);
size_t store_unflushed_rows(struct store *s);
/* Rows are told in rounds: a round covers all that had changed when it began, and its rows refer to
 * each other rightly wherever it is cut off. True when the next call begins a round. */
bool store_is_between_rounds(struct store *s);
/* Loads one row's message at start; specs and nodes before services before tasks. -EBADMSG, -EPROTO
 * as above. */
int store_load_row(struct store *s, enum row_table table, uint64_t row, const uint8_t *p, size_t n);
/* A hash of all objects, independent of row numbers and addresses: equal states give equal hashes.
 */
uint64_t store_hash(struct store *s);
