/*
 * What the parts of the store share. An object's way through its marks:
 *
 *   mutator     CHANGED (and NEW, GONE)   in `changed`, until the turn's changes are taken
 *   taken       BEHIND, QUEUED            in a queue of rows, until it is flushed
 *   flushed     STORED                    its row is in the state tables
 *
 * An object that is GONE is found no more; it is freed when no array points at it any longer.
 */
#pragma once

#include "manager/store/encode.h"
#include "manager/store/store.h"
#include "shared/wire/wire.h"

enum {
        DIRTY_CHANGED = 1 << 0, /* in the turn's list */
        DIRTY_NEW = 1 << 1,     /* made in this turn */
        DIRTY_GONE = 1 << 2,    /* removed */
        DIRTY_QUEUED = 1 << 3,  /* a row queue points at it */
        DIRTY_BEHIND = 1 << 4,  /* its row is not as the object is */
        DIRTY_STORED = 1 << 5,  /* it has a row */
};

#define KINDS 6 /* enum row_table names the kinds of objects as well */

struct vec {
        void **items;
        size_t len, cap;
};

struct row_ref {
        uint64_t row;
        void *object; /* NULL: delete the row */
};

struct row_queue {
        struct row_ref *refs;
        size_t len, cap, next; /* refs before next are done */
};

/* A text that many tasks share; counted. */
struct text {
        char *s;
        uint32_t refs;
        char bytes[];
};

struct image_name {
        char *name;
        struct image *image;
};

struct store {
        struct cluster cluster;
        struct map services, services_by_name, tasks, nodes, nodes_by_key, images, image_names;
        struct map specs, texts;
        struct list watches;

        struct vec changed[KINDS];
        size_t change_count; /* without what was made and removed in this turn */
        size_t change_bytes; /* about; an object counts with each change */
        uint64_t last_row[KINDS];

        /* Rows are written in rounds (rows.c): what is queued while one runs waits for the next. */
        struct row_queue puts[KINDS], deletes[KINDS];
        struct row_queue round_puts[KINDS], round_deletes[KINDS];
        size_t round_left;
        bool is_recovering;
        struct wire_arena arena; /* of store_load_row */
};

/* --- marks.c: what is common to all kinds --- */
struct marks {
        uint8_t *dirty;
        uint64_t row;
};
struct marks object_marks(struct store *s, enum row_table kind, void *object);
void vec_push(struct vec *v, void *item);
/* Once the object is as it is to be. */
void mark_created(struct store *s, enum row_table kind, void *object);
void mark_changed(struct store *s, enum row_table kind, void *object);
void mark_removed(struct store *s, enum row_table kind, void *object);
/* Frees a removed object unless a queue still points at it; queues the deletion of its row. */
void object_drop(struct store *s, enum row_table kind, void *object);
void object_free(struct store *s, enum row_table kind, void *object);
/* Puts an item in, in the place of one of equal key; takes it out if the place is still its own. */
void index_put(struct map *m, void *item);
void index_remove(struct map *m, void *item, void *holder);

/* The shared copy of a text, with one reference more; NULL for NULL and "". */
char *text_get(struct store *s, const char *s_or_null);
void text_put(struct store *s, char *text); /* NULL is fine */

/* --- spec.c --- */
struct spec *spec_find(struct store *s, struct id service_id, uint64_t version);
/* Takes msg and the packed bytes; no reference yet. */
struct spec *spec_new(struct store *s, struct id service_id, uint64_t version,
                      Swarm__ServiceSpec *msg, uint8_t *packed, size_t packed_len);
struct spec *spec_retain(struct spec *spec);
/* The last reference removes it, as a change; NULL is fine. */
void spec_release(struct store *s, struct spec *spec);

/* --- objects without recording and telling (load.c and the mutators) --- */
void service_link(struct store *s, struct service *service);
void service_unlink(struct store *s, struct service *service);
void service_rename(struct store *s, struct service *service);
void task_link(struct store *s, struct task *task);
void task_unlink(struct store *s, struct task *task);
void task_move(struct task *task, struct node *node); /* NULL: to none */
/* Its node is going: it has ended, if it had not, and is on none from now on. */
void task_leave_node(struct store *s, struct task *task, int64_t wall_ms, const char *why);
void task_count(struct task *task, int by); /* in its service's running_count, if it counts */
void node_link(struct store *s, struct node *node);
void node_unlink(struct store *s, struct node *node);
void image_tell(struct store *s, struct image *image, enum change_kind kind, const char *name);
void image_link(struct store *s, struct image *image);
void image_unlink(struct store *s, struct image *image);
void cluster_set(struct store *s, Swarm__Cluster *msg);
struct service *service_new(struct id id);
struct task *task_new(struct id id);
struct node *node_new(struct id id);
/* Sets the labels, which are copied. */
void node_set_labels(struct node *node, const Swarm__KeyValue *const *labels, size_t n);
/* SUSPECT is not stored: it is READY there. */
enum node_state node_stored_state(const struct node *node);

/* --- load.c: messages into the state. row 0: the next free one --- */
int load_cluster(struct store *s, const Swarm__Cluster *msg, uint64_t row);
int load_node(struct store *s, const Swarm__Node *msg, uint64_t row);
int load_service(struct store *s, const Swarm__Service *msg, uint64_t row);
int load_spec(struct store *s, const Swarm__SpecVersion *msg, uint64_t row);
int load_task(struct store *s, const Swarm__Task *msg, uint64_t row);
int load_image(struct store *s, const Swarm__Image *msg, uint64_t row);

/* --- rows.c --- */
void row_queue_put(struct store *s, enum row_table kind, void *object);
void row_queue_delete(struct store *s, enum row_table kind, uint64_t row);
void rows_done(struct store *s);
