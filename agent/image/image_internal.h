/* The parts of the image store: fetching a blob (fetch.c), layers (layers.c), images
 * (image_store.c). For this folder alone. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/image/image_store.h"
#include "shared/base/list.h"
#include "shared/base/map.h"

/* --- fetch.c: blobs from the manager into files ------------------------------------------------
 */
#define FETCHES_MAX    4 /* at a time; more wait */
#define FETCH_SIZE_MAX (64LL << 30)

struct fetcher;
struct fetch;
/* err NULL: the file holds the whole blob, and its digest is right. */
typedef void fetch_fn(void *arg, const struct err *err);

struct fetcher *fetcher_new(struct loop *l, void (*send)(void *arg, const Swarm__BlobGet *m),
                            void *arg);
/* All fetches must have been cancelled or done; what still runs on other threads ends by itself. */
void fetcher_free(struct fetcher *f);
/* fd: an empty file, borrowed until done. digest is valid, 0 < size <= FETCH_SIZE_MAX. */
struct fetch *fetch_start(struct fetcher *f, const char *digest, int64_t size, int fd,
                          fetch_fn *done, void *arg);
void fetch_cancel(struct fetch *f);
void fetcher_on_data(struct fetcher *f, const Swarm__BlobData *m);
void fetcher_on_session(struct fetcher *f);

/* --- layers.c: layers, each unpacked once -------------------------------------------------------
 */
struct layer_set;
struct layer {
        char *diff_id;
        char *path; /* of its folder */
        uint32_t refs;
        bool is_ready;
        /* of layers.c, while it is not ready */
        struct layer_set *set;
        struct list waiters; /* layer_wait.link */
        struct list queue_link;
        struct fetch *fetch;
        char *blob_name, *folder_name; /* below tmp/ */
        int blob_fd, error_fd;
        int error; /* why it has no file */
        pid_t pid; /* of its unpacker, 0: none */
};

/* Waits for one layer; embedded in its owner. */
struct layer_wait {
        struct list link;
        void (*done)(void *arg, const struct err *err); /* err NULL: ready */
        void *arg;
};

struct layer_set_config {
        struct loop *loop;
        struct fetcher *fetcher;
        const char *dir; /* the store's */
        int dir_fd;      /* borrowed: the store's folder, with layers/ and tmp/ */
        const char *unpack_path;
        void (*on_no_space)(void *arg);
        void *arg;
};

struct layer_set *layer_set_new(const struct layer_set_config *c);
/* All refs must have been released. Ends its children. */
void layer_set_free(struct layer_set *s);
/* At start: a layer that is on disk; NULL: it is not. A ref for the caller. */
struct layer *layer_get_existing(struct layer_set *s, const char *diff_id);
/* Names below layers/; heap, NULL-terminated; NULL: none. */
char **layer_set_list(struct layer_set *s);
/* After all images and containers have taken theirs: deletes the folders of all other layers. */
void layer_set_sweep(struct layer_set *s);
/* A ref for the caller. When the layer is not ready, it is made so, and w is told once. */
struct layer *layer_get(struct layer_set *s, const Swarm__Layer *msg, struct layer_wait *w);
void layer_unwait(struct layer_wait *w); /* fine if it waits for nothing */
void layer_release(struct layer *l);
/* Deletes layers without refs, in the background. */
void layer_set_prune(struct layer_set *s);

/* Removes a tree below dir_fd on another thread. name is taken. */
void remove_in_background(struct loop *l, int dir_fd, char **name);
