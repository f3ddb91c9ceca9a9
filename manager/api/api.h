/*
 * api: the stage that hears clients. It validates requests, changes services, nodes, images and
 * settings in the store, answers queries, and keeps the streams (watch, events, logs).
 */
#pragma once

#include "manager/logs/logs.h"
#include "manager/turn.h"

struct api;

/* Registers a watch. Borrows all but config, of which it keeps the values and the pointers. */
struct api *api_new(struct store *store, struct logs *logs, const struct turn_config *config,
                    struct now now);
void api_free(struct api *a);

/* Begins a turn: the time of all that happens in it. */
void api_begin(struct api *a, struct now now);
/* One request; what it is answered with is appended to effects. */
void api_on_request(struct api *a, struct peer from, const Swarm__Request *q, struct rng *rng,
                    struct list *effects);
void api_on_client_gone(struct api *a, uint64_t connection);
/* Ends a turn: tells the streams what happened in it. Returns the mono time of the next deadline.
 */
int64_t api_send(struct api *a, struct list *effects);

/* For `info`: NULL or a line to warn with (borrowed until the next call), and the log's index. */
void api_set_warning(struct api *a, const char *text);
void api_set_last_index(struct api *a, uint64_t index);
