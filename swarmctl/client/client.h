/*
 * client: the commands' line to a manager. Looks synchronous: a call waits for its response; while
 * anything waits, keep-alives are sent. One request may open a stream of responses.
 *
 * Failures are -errno with one line of text in err. Those of the line itself are told apart from a
 * manager's refusal by their code (no manager's refusal bears them), see client_exit_code:
 * -EDESTADDRREQ: the host is not an address; -EHOSTUNREACH: there is no manager there; -ENOTCONN:
 * there was, but the connection is lost, or the manager that leads was, and what was asked may have
 * been done or not; -EAGAIN: no manager leads; -ETIMEDOUT: it did not answer in time. A refusal has
 * the response's code and its text, to be printed as it is.
 */
#pragma once

#include <stdint.h>

#include "proto/control.pb-c.h"
#include "shared/base/err.h"

#define CLIENT_DEFAULT_HOST     "ipc:///var/lib/swarm/manager.sock"
#define CLIENT_DEFAULT_DATA_DIR "/var/lib/swarm"
#define CLIENT_TIMEOUT_MS       30000 /* of a call with timeout_ms 0 */
#define CLIENT_KEEP_ALIVE_MS    5000
#define CLIENT_NO_TIMEOUT       (-1)

/* Exit codes of swarmctl. */
enum client_exit {
        CLIENT_EXIT_DONE = 0,
        CLIENT_EXIT_REFUSED = 1, /* refused or failed */
        CLIENT_EXIT_USAGE = 2,
        CLIENT_EXIT_NO_MANAGER = 3, /* no manager, or no leader */
        CLIENT_EXIT_TIMED_OUT = 124,
};
/* Of what the functions below returned. */
enum client_exit client_exit_code(int r);

struct client;

struct client_config {
        const char *host; /* ipc://PATH or tcp://HOST:PORT; NULL: SWARM_HOST, then the default */
        const char *data_dir; /* for tcp: holds node.key and cluster.pub; NULL: SWARM_DATA_DIR, then
                               * the default */
};

/* Fails at once when nobody listens there. */
int client_open(const struct client_config *config, struct client **ret, struct err *err);
void client_close(struct client *c); /* NULL is fine; streams end with it */

/* Sends the request (number and protocol are filled in) and waits. 0: *ret is the response, with
 * code 0, to be freed with wire_free; ret may be NULL. timeout_ms 0: CLIENT_TIMEOUT_MS. */
int client_call(struct client *c, Swarm__Request *request, int64_t timeout_ms,
                Swarm__Response **ret, struct err *err);

/* A request that is answered by a stream of responses: watch, events, logs. */
struct client_stream;
int client_stream_open(struct client *c, Swarm__Request *request, struct client_stream **ret,
                       struct err *err);
/* 1: *ret is the next response, to be freed with wire_free; 0: the stream has ended in order;
 * -ETIMEDOUT: nothing came for timeout_ms (the stream goes on: call again); else it has failed. A
 * last response with content is given as 1, then 0. */
int client_stream_next(struct client_stream *s, int64_t timeout_ms, Swarm__Response **ret,
                       struct err *err);
/* Logs: count more chunks have been handled. With 0 it says only that the client is alive, for when
 * it cannot wait in client_stream_next. */
int client_stream_acknowledge(struct client_stream *s, uint32_t count);
void client_stream_close(struct client_stream *s); /* cancels it; NULL is fine */
