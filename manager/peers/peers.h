/*
 * peers: the links among managers. Each manager is a client of each other one, with the cluster's
 * key, and says everything there; what others say comes in at the server, and the driver hands it
 * in here. Messages may be lost and links may break at any time; what arrives over one link arrives
 * whole. Messages larger than a frame are sent in parts.
 *
 * What the Raft core says in few bytes (heartbeats, votes, answers) overtakes all else. Its entries
 * and pieces of snapshots are in order among themselves, and so is what is relayed; these two share
 * the line. At most PEER_WINDOW_BYTES are on their way to a peer, the rest waits here, and is
 * dropped when the link breaks. Nothing waits for a link that is not there.
 *
 * A link is two connections, one each way, and may break on one of them alone: then what was said
 * on the other gets no answer. So both ends are told of either, and again when it is mended.
 *
 * Managers of several versions have links as long as they have a version of the protocol in common.
 *
 * Whoever holds the cluster's secret key is a manager, and is believed who it is.
 */
#pragma once

#include "manager/consensus/raft/message.h"
#include "proto/peer.pb-c.h"
#include "shared/model/protocol.h"
#include "shared/net/net.h"

#define PEER_MESSAGE_BYTES_MAX (320u << 20) /* the largest entry, and room */
#define PEER_PART_BYTES_MAX    (1u << 20)
#define PEER_WINDOW_BYTES      (4u << 20)  /* sent to one peer, and not yet read by it */
#define PEER_QUEUE_BYTES_MAX   (32u << 20) /* in each of 3 lanes, before the last message */

struct peers;

struct peers_config {
        struct net *net;                     /* borrowed, as all here */
        struct net_server *server;           /* where the frames of others come in */
        const struct net_keys *cluster_keys; /* both ends' */
        uint64_t id;                         /* of this manager */
        const char *address;                 /* HOST:PORT of it, which others are told */
        struct protocol_range protocols;     /* that it understands */
        void *arg;
        void (*on_message)(void *arg, uint64_t from, const Swarm__PeerMessage *m);
        /* The connection to it broke, or the one from it: what was sent may be lost, and what was
         * to come. It is tried again. A machine that is gone without a word is noticed within
         * NET_VANISHED_MS. Neither this nor on_again may do more with the peers than send. */
        void (*on_broken)(void *arg, uint64_t id);
        /* There is a connection again, to it or from it, after one that broke: what was asked and
         * answered meanwhile may be lost. Before anything that comes over it is delivered; told
         * alone where the end of the old connection was not noticed before. */
        void (*on_again)(void *arg, uint64_t id);
};

struct peers *peers_new(const struct peers_config *c);
void peers_free(struct peers *p); /* NULL is fine */

/* Whom to have a link to: all members but this manager; also whoever says something to it, at the
 * address that he says, and, for a while, those that were members. A new address means a new link;
 * what was sent over the old one may be lost, without on_broken; on_again follows. */
void peers_set(struct peers *p, const struct raft_members *members);
/* -EHOSTUNREACH: no such member; -ENOTCONN: no link to it at the moment; -EAGAIN: too much is
 * waiting; -EMSGSIZE. Then nothing was sent. */
int peers_send(struct peers *p, uint64_t to, const Swarm__PeerMessage *m);

/* Breaks the link to it, so that both ends are told: on_again follows here, on_broken and on_again
 * there. No such member, or no link to it at the moment: nothing. */
void peers_break(struct peers *p, uint64_t id);

/* Is this the beginning of a frame of a peer? */
bool peers_is_frame(const uint8_t *p, size_t n);
/* A frame that came in on a connection whose key is the cluster's. Calls on_message, with the last
 * part of a message. Garbage is dropped and told in the log (debug). */
void peers_receive(struct peers *p, uint64_t connection, const uint8_t *bytes, size_t n);
void peers_gone(struct peers *p, uint64_t connection); /* as the server's on_gone */
