/*
 * image_store: the images of a node. It fetches blobs from the manager, checks them against their
 * digests, unpacks each layer once into a folder that all containers share, and keeps what is in
 * use. Place in the flow: the agent's driver asks for an image before it starts a container of it.
 * What can fail: an unknown image, a manager that lacks a blob, a hostile or damaged layer, a full
 * disk; the error is one line a user reads, and nothing half made is left.
 *
 * On disk, below dir (0700): layers/<hex diff id>/ (complete, as an overlay lower folder),
 * images/<hex id> (a packed Image, written last), configs/<hex id>, tmp/ (emptied at start).
 */
#pragma once

#include "proto/dispatch.pb-c.h"
#include "shared/base/err.h"
#include "shared/image/image.h"
#include "shared/loop/loop.h"

#define IMAGE_KNOWN_MAX      4096 /* images remembered of assignments */
#define IMAGE_FETCH_WINDOW   4    /* chunks asked for and not yet there, of one blob */
#define IMAGE_CHUNK_BYTES    (512u << 10)
#define IMAGE_FETCH_RETRY_MS 3000 /* silent for this long: asked for again */
#define IMAGE_FETCH_GIVE_UP  100  /* times in a row without a byte; then an error */
#define IMAGE_UNPACKS_MAX    2    /* layers unpacked at a time */

struct image_store;
struct image_ref; /* an image that is complete here, and may not be deleted meanwhile */

struct image_store_config {
        const char *dir;
        const char *unpack_path; /* the program that unpacks one layer; valid while the store is */
        void *arg;
        /* Asks the manager for bytes of a blob; only queues; may be lost (it is asked again). */
        void (*fetch)(void *arg, const Swarm__BlobGet *m);
};

int image_store_open(struct loop *l, const struct image_store_config *c, struct image_store **ret,
                     struct err *err);
/* All refs and holds must have been released; asks in progress are answered with ECANCELED first.
 */
void image_store_close(struct image_store *s);

/* What an image is made of, as it came with the assignments; copied. */
void image_store_learn(struct image_store *s, const Swarm__Image *image);
/* The manager's answer to fetch. */
void image_store_on_blob_data(struct image_store *s, const Swarm__BlobData *m);
/* A new session: what is still outstanding is asked for again at once. */
void image_store_on_session(struct image_store *s);

/* Makes the image complete here. done gets a ref that it must release (err NULL), or why not. */
struct image_ask;
typedef void image_ask_fn(void *arg, struct image_ref *ref, const struct err *err);
struct image_ask *image_ask(struct image_store *s, const char *image_id, image_ask_fn *done,
                            void *arg);
/* done will not be called. Not after done was. */
void image_ask_cancel(struct image_ask *a);

/* A ref of an image that is complete already: at start, for each container that was taken over,
 * before anything is asked for. NULL: it is not here. */
struct image_ref *image_ref_get(struct image_store *s, const char *image_id);
void image_ref_release(struct image_ref *r); /* NULL is fine */
const struct image_config *image_ref_config(const struct image_ref *r);
/* Folders, lowest first, NULL-terminated; as struct container_config.layers. */
char *const *image_ref_layers(const struct image_ref *r);

/* Layers by their folders (the last names of the paths count), whatever images there are: for a
 * container that was taken over, which stands on them with or without its image. Those that are not
 * here are passed over. folders NULL: it is not known which; all that are here. */
struct layers_hold;
struct layers_hold *layers_hold_new(struct image_store *s, char *const *folders);
void layers_hold_free(struct layers_hold *h); /* NULL is fine */

/* Once after the opening, when all containers that were found hold what they stand on: deletes what
 * is left over of earlier runs. Until then nothing is deleted. */
void image_store_sweep(struct image_store *s);
/* Deletes all images and layers that nobody holds, in the background. Done by the store itself when
 * the disk is full. */
void image_store_prune(struct image_store *s);
