/*
 * blobs: the bytes of images on the manager's disk, content-addressed. Place in the flow: the
 * driver hands it the requests BlobStat, BlobPut and BlobGet of clients and BlobGet of agents,
 * which never go through the turn; ImageCreate is checked here before it does. Reading, writing and
 * hashing happen on the pool's threads. What can fail: a full disk, a wrong digest, an upload out
 * of sequence; an upload that failed is deleted.
 *
 * On disk, below dir (0700): sha256/<hex> complete blobs, tmp/<hex> uploads (deleted at start).
 * What other managers have and this one lacks: copies.h.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/control.pb-c.h"
#include "shared/base/buf.h"
#include "shared/base/err.h"
#include "shared/base/id.h"
#include "shared/loop/loop.h"

#define BLOB_BYTES_MAX      (64LL << 30) /* of one blob */
#define BLOB_UPLOADS_MAX    64           /* at a time */
#define BLOB_QUEUE_MAX      16           /* chunks of one upload that wait for the disk */
#define BLOB_READS_MAX      1024         /* reads at a time; beyond, clients are refused */
#define BLOB_ANSWERS_MAX    512          /* underway to all agents: read, but not acknowledged */
#define BLOB_NODE_ANSWERS   32      /* of one node, with those that wait; beyond, none is given */
#define BLOB_UPLOAD_IDLE_MS 60000   /* then another client may take an upload over */
#define BLOB_PIN_MS         10000   /* a blob checked for ImageCreate is kept at least so long */
#define BLOB_UNUSED_MS      3600000 /* a complete blob that no image names is deleted after */

struct blobs;

struct blobs_config {
        const char *dir; /* DIR/manager/blobs */
        void *arg;
        /* Does an image of the (committed or working) state name this digest, as config or layer?
         */
        bool (*is_used)(void *arg, const char *digest);
        /* Answers; r and m are valid during the call only. */
        void (*on_response)(void *arg, uint64_t connection, const Swarm__Response *r);
        /* An agent's; < 0: it is lost. */
        int (*on_data)(void *arg, struct id node, uint64_t connection, const Swarm__BlobData *m);
};

/* Deletes unfinished uploads. */
int blobs_open(struct loop *l, const struct blobs_config *c, struct blobs **ret, struct err *err);
void blobs_close(struct blobs *b);
/* Deletes what was there before blobs_open and no image names. For a state that has all that is
 * agreed: an older one does not know yet which images there are. */
void blobs_sweep(struct blobs *b);

/* A client's request: true when it was one for blobs, and is or will be answered by on_response. */
bool blobs_on_request(struct blobs *b, uint64_t connection, const Swarm__Request *q);
/* An agent's request: answered by on_data in its turn, unless the node has too many already: an
 * answer counts until its receipt came back or its connection is gone. So what agents do not read
 * fills a bounded part of the memory, whatever they ask for and however often they connect. */
void blobs_on_get(struct blobs *b, struct id node, uint64_t connection, const Swarm__BlobGet *m);
void blobs_on_ack(struct blobs *b, uint64_t connection, uint64_t receipt);
/* Of a client or an agent. NULL is fine. */
void blobs_on_gone(struct blobs *b, uint64_t connection);

/* May this image be created? All blobs must be here and of the told sizes, the config must be one,
 * its platform and diff ids those of the request. To be called before the request goes to the turn;
 * on failure the driver answers it. Reads at most IMAGE_CONFIG_MAX. */
int blobs_check_image(struct blobs *b, const Swarm__ImageCreate *m, struct err *err);
/* An image that named it is gone: the blob is deleted unless is_used says that it is needed
 * (again). */
void blobs_release(struct blobs *b, const char *digest);

/* Neither here, nor on its way from another manager. */
bool blobs_is_missing(struct blobs *b, const char *digest);
/* A whole small blob. -ENOENT, -EFBIG. */
int blobs_read(struct blobs *b, const char *digest, size_t max_bytes, struct buf *ret);
