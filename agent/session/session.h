/*
 * session: the agent's standing with its manager: register, be given a session, heartbeat, notice
 * silence, and look for a manager again with growing, jittered pauses. Place in the flow: the first
 * to see each message. Pure: what to send and when to connect come out as one step.
 *
 *   CONNECTING -connected-> REGISTERING -Session-> ACTIVE
 *        ^                     | silent, refused      | silent, refused
 *        +----- pause over --- PAUSING <--------------+
 *   ACTIVE -the sets do not fit together, or the session is not known-> REGISTERING
 *
 * Invariant: only in ACTIVE is there a session id, and only then anything but Register is sent.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/dispatch.pb-c.h"
#include "shared/base/rng.h"
#include "shared/base/time.h"
#include "shared/model/model.h"

#define SESSION_ID_MAX           64
#define SESSION_REGISTER_MS      1000 /* Register is sent again */
#define SESSION_PAUSE_MIN_MS     100
#define SESSION_PAUSE_MAX_MS     8000
#define SESSION_HEARTBEAT_MIN_MS 100
#define SESSION_DEAD_MIN_MS      500

enum session_state { SESSION_CONNECTING, SESSION_REGISTERING, SESSION_ACTIVE, SESSION_PAUSING };

struct session {
        enum session_state state;
        uint8_t id[SESSION_ID_MAX]; /* of the present session, or of the last one */
        size_t id_len;
        int64_t heartbeat_ms, dead_ms;
        int64_t heard_ms;  /* mono: when the manager was last heard, or the wait for it began */
        int64_t next_ms;   /* mono: next heartbeat or Register, or the end of the pause */
        int64_t pause_ms;  /* upper end of the next pause */
        uint64_t asked;    /* number of the last Register */
        uint64_t answered; /* the newest that a Session answered, or that is given up */
        struct rng rng;
};

enum session_act {
        SESSION_NOTHING,
        SESSION_SEND_REGISTER,
        SESSION_SEND_HEARTBEAT,
        SESSION_RECONNECT,
};

void session_init(struct session *s, uint64_t seed, int64_t mono_ms);
void session_on_connected(struct session *s, int64_t mono_ms);
/* What is due; to be done once a call. Call again until SESSION_NOTHING. */
enum session_act session_step(struct session *s, int64_t mono_ms);
int64_t session_deadline(const struct session *s);

/* The message belongs to the present session, which was heard by it. */
bool session_hears(struct session *s, const Swarm__ManagerMessage *m, int64_t mono_ms);
/* A Session came: true when it begins a new one. */
bool session_on_session(struct session *s, const Swarm__Session *m, int64_t mono_ms);
/* Removed, of a wrong protocol or with another machine's key: connect again after the longest
 * pause. Else (a session that the manager does not know): register again after a short one, once
 * for all that were on their way. */
void session_on_refused(struct session *s, const Swarm__Refused *m, int64_t mono_ms);
/* The manager says when it wants to hear us next. */
void session_on_heartbeat(struct session *s, const Swarm__HeartbeatReply *m, int64_t mono_ms);
/* Asks for a new session over the connection there is, if there is one. */
void session_renew(struct session *s, int64_t mono_ms);
