/*
 * front: the leading manager's face to clients and agents. Place in the flow: what they say comes
 * from the relay, is looked at (may it? is it about bytes of images?), and becomes input of the
 * turn; what the turn decided comes back here as effects, once that is agreed, and goes out to
 * their connections.
 */
#pragma once

#include "manager/backups.h"
#include "manager/blobs/blobs.h"
#include "manager/blobs/copies.h"
#include "manager/identity/identity.h"
#include "manager/relay.h"
#include "manager/turn.h"

struct front;

struct front_config {
        struct relay *relay;
        struct backups *backups;
        void *arg;
        /* Whoever bears the key is a stranger to the transport from now on. */
        void (*forget_key)(void *arg, const uint8_t key[NET_KEY_BYTES]);
};

struct front *front_new(const struct front_config *c);
void front_free(struct front *f); /* NULL is fine */

/* What it leads with; borrowed. blobs and copies NULL: nobody asks for any. */
struct front_lead {
        struct turn *turn;
        struct store *store;
        struct blobs *blobs;
        struct copies *copies;
};

/* This manager leads, until front_end. */
void front_begin(struct front *f, const struct front_lead *lead);
void front_end(struct front *f);

/* While it leads: see relay_config. */
void front_on_input(struct front *f, const struct relay_sender *from, const uint8_t *p, size_t n);
void front_on_gone(struct front *f, uint64_t connection);
/* Carries them out and empties the list. */
void front_release(struct front *f, struct list *effects);
/* See copies_config: an ImageCreate goes on, or is refused. */
void front_on_placed(struct front *f, uint64_t connection, const struct buf *request,
                     const struct err *err);
/* What the blobs answer: see blobs_config; nothing is said when this manager does not lead. */
void front_on_blob_response(struct front *f, uint64_t connection, const Swarm__Response *r);
int front_on_blob_data(struct front *f, struct id node, uint64_t connection,
                       const Swarm__BlobData *data);
