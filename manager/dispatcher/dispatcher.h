/*
 * dispatcher: the stage that talks with agents. In: joins, registrations, heartbeats, status
 * reports, log data. Out: sessions, assignments, acknowledgements. It alone decides which nodes are
 * ready, suspect and down.
 *
 * Nothing that an agent says can fail a turn: what is garbage, of another session or about another
 * node's tasks is answered or dropped.
 */
#pragma once

#include "manager/logs/logs.h"
#include "manager/turn.h"

struct dispatcher;

/* Registers a watch. Nodes that were ready get a full period to come back before they are missed.
 */
struct dispatcher *dispatcher_new(struct store *store, struct logs *logs,
                                  const struct turn_config *config, struct now now);
void dispatcher_free(struct dispatcher *d);

/* One message; key is the sender's public key, from the transport. */
void dispatcher_on_message(struct dispatcher *d, struct now now, struct peer from,
                           const uint8_t key[32], const Swarm__AgentMessage *m, struct rng *rng,
                           struct list *effects);
/* A message to or from the node was lost: its session ends, so that all is told anew. */
void dispatcher_on_lost(struct dispatcher *d, struct id node);
/* The node was last heard then, mono, at some manager. */
void dispatcher_on_heard(struct dispatcher *d, struct now now, struct id node, int64_t heard_ms,
                         bool is_gone);
/* turn_config.managers are others now. */
void dispatcher_managers_changed(struct dispatcher *d);
/* Judges who is silent. To be called only when all that had arrived was heard. Stops early when the
 * store's changes weigh change_max. Returns the mono time of the next deadline. */
int64_t dispatcher_check(struct dispatcher *d, struct now now, size_t change_max);
/* Ends a turn: tells the agents what concerns them. Returns true when there is more to tell than
 * fits into one turn. */
bool dispatcher_send(struct dispatcher *d, struct now now, struct list *effects);
/* Why replacing waits, one line; NULL: it does not. Borrowed until the next call. */
const char *dispatcher_warning(struct dispatcher *d);
