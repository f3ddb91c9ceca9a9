/*
 * copies: every manager has the bytes of every image. Place in the flow: what the state names and
 * this manager lacks is fetched from the others, piece after piece, and put on disk as an upload
 * is. Before an image comes into being the leader asks the others to fetch its blobs, and goes on
 * once a majority of the voters have them all: so an image that was acknowledged outlives any
 * minority. What the images of the state name no more is deleted.
 *
 * A peer that is silent, or lacks the blob, is followed by the next; after a round of all there is
 * a pause. Pieces that were not asked for are dropped. At most COPIES_FETCHES_MAX pieces are on
 * their way to this manager, and COPIES_SERVED_MAX are being read for others.
 *
 * Messages, time and members come in with calls; the disk is that of the blobs.
 */
#pragma once

#include "manager/blobs/blobs.h"
#include "manager/store/store.h"
#include "proto/peer.pb-c.h"

#define COPIES_MEMBERS_MAX   16
#define COPIES_FETCHES_MAX   2
#define COPIES_SERVED_MAX    16
#define COPIES_ASKED_MAX     4096        /* blobs that a leader asked for and no image names yet */
#define COPIES_WAITS_MAX     64          /* images that wait for a majority, */
#define COPIES_WAIT_BYTES    (16u << 20) /* and the bytes of their requests */
#define COPIES_PIECE_MS      5000        /* for a piece; then the next peer is asked */
#define COPIES_RETRY_MS      1000        /* after all were asked in vain */
#define COPIES_FULL_MS       10000       /* after a write that failed */
#define COPIES_PLEASE_MS     2000  /* then the leader asks again; in 5 of these it is forgotten */
#define COPIES_STANDSTILL_MS 60000 /* without any progress an image is refused */

struct copies;

struct copies_member {
        uint64_t id;
        bool is_voter;
};

struct copies_config {
        struct blobs *blobs; /* borrowed */
        uint64_t id;         /* of this manager */
        void *arg;
        int (*send)(void *arg, uint64_t to, const Swarm__PeerMessage *m); /* as peers_send */
        /* A majority has the blobs of the image (err NULL), or there is none. The request is that
         * of copies_place, valid during the call. */
        void (*on_placed)(void *arg, uint64_t connection, const struct buf *request,
                          const struct err *err);
};

/* Blobs have one such thing at a time. */
struct copies *copies_new(const struct copies_config *c);
void copies_free(struct copies *c); /* before the blobs are closed; NULL is fine */

/* The state is another one, watched from now on; NULL: none. */
void copies_set_state(struct copies *c, struct store *store);
/* All, this manager among them; beyond COPIES_MEMBERS_MAX they are left out. */
void copies_set_members(struct copies *c, const struct copies_member *members, size_t n);
/* False: it is no message about blobs. */
bool copies_on_message(struct copies *c, uint64_t from, const Swarm__PeerMessage *m,
                       int64_t now_ms);
void copies_on_peer_broken(struct copies *c, uint64_t peer);
/* Does what is due. Returns when to call again at the latest: mono ms. is_leader: what may go is
 * told by the effects of the turn; else it goes when the state does not name it. */
int64_t copies_run(struct copies *c, bool is_leader, int64_t now_ms);

/* The leader's, for an image whose blobs are all here. 1: that is enough, there is no other voter;
 * 0: on_placed will be called, from copies_run; -EBUSY: too many wait. */
int copies_place(struct copies *c, uint64_t connection, const Swarm__Image *image,
                 const uint8_t *request, size_t n, int64_t now_ms, struct err *err);
/* The client is gone; or (0) this manager leads no more: nobody is called. c NULL: nothing. */
void copies_drop(struct copies *c, uint64_t connection);
