/* The session with the manager: see session.h. */
#include "agent/session/session.h"

#include <errno.h>
#include <string.h>

#include "shared/base/mem.h"

void session_init(struct session *s, uint64_t seed, int64_t mono_ms)
{
        *s = (struct session){
                .state = SESSION_CONNECTING,
                .heartbeat_ms = DEFAULT_HEARTBEAT_MS,
                .dead_ms = DEFAULT_DOWN_MS,
                .heard_ms = mono_ms,
                .next_ms = TIME_NEVER,
                .pause_ms = SESSION_PAUSE_MIN_MS,
                .rng = {seed},
        };
}

static void begin_register(struct session *s, int64_t mono_ms)
{
        s->state = SESSION_REGISTERING;
        s->heard_ms = mono_ms;
        s->next_ms = mono_ms;
}

void session_on_connected(struct session *s, int64_t mono_ms)
{
        s->answered = s->asked;
        begin_register(s, mono_ms);
}

void session_renew(struct session *s, int64_t mono_ms)
{
        if (s->state == SESSION_ACTIVE)
                begin_register(s, mono_ms);
}

/* Full jitter between 0 and a bound that grows: min(100 ms + 2 * the last, 8 s). */
static void begin_pause(struct session *s, int64_t mono_ms)
{
        s->state = SESSION_PAUSING;
        s->next_ms = mono_ms + (int64_t)rng_below(&s->rng, (uint64_t)s->pause_ms + 1);
        s->pause_ms = MIN(SESSION_PAUSE_MIN_MS + 2 * s->pause_ms, SESSION_PAUSE_MAX_MS);
}

static enum session_act step_pausing(struct session *s, int64_t mono_ms)
{
        if (mono_ms < s->next_ms)
                return SESSION_NOTHING;
        s->state = SESSION_CONNECTING;
        s->heard_ms = mono_ms;
        s->next_ms = TIME_NEVER;
        return SESSION_RECONNECT;
}

enum session_act session_step(struct session *s, int64_t mono_ms)
{
        if (s->state == SESSION_PAUSING)
                return step_pausing(s, mono_ms);
        if (mono_ms - s->heard_ms >= s->dead_ms) {
                begin_pause(s, mono_ms);
                return step_pausing(s, mono_ms);
        }
        if (s->state == SESSION_CONNECTING || mono_ms < s->next_ms)
                return SESSION_NOTHING;
        if (s->state == SESSION_REGISTERING) {
                s->asked++;
                s->next_ms = mono_ms + SESSION_REGISTER_MS;
                return SESSION_SEND_REGISTER;
        }
        s->next_ms = mono_ms + s->heartbeat_ms;
        return SESSION_SEND_HEARTBEAT;
}

int64_t session_deadline(const struct session *s)
{
        if (s->state == SESSION_PAUSING)
                return s->next_ms;
        return MIN(s->next_ms, s->heard_ms + s->dead_ms);
}

bool session_hears(struct session *s, const Swarm__ManagerMessage *m, int64_t mono_ms)
{
        if (s->state != SESSION_ACTIVE || m->session.len != s->id_len ||
            memcmp(m->session.data, s->id, s->id_len) != 0)
                return false;
        s->heard_ms = mono_ms;
        return true;
}

static void take_periods(struct session *s, int64_t heartbeat_ms, int64_t dead_ms)
{
        if (heartbeat_ms > 0)
                s->heartbeat_ms = MAX(heartbeat_ms, SESSION_HEARTBEAT_MIN_MS);
        if (dead_ms > 0)
                s->dead_ms = MAX(dead_ms, SESSION_DEAD_MIN_MS);
}

bool session_on_session(struct session *s, const Swarm__Session *m, int64_t mono_ms)
{
        if (m->session.len == 0 || m->session.len > SESSION_ID_MAX)
                return false;
        if (m->answers <= s->answered || m->answers > s->asked)
                return false; /* late: its sets are older than what we have; or a copy */
        s->heard_ms = mono_ms;
        take_periods(s, m->heartbeat_ms, m->dead_ms);
        s->answered = m->answers;
        memcpy(s->id, m->session.data, m->session.len);
        s->id_len = m->session.len;
        s->state = SESSION_ACTIVE;
        s->pause_ms = SESSION_PAUSE_MIN_MS;
        s->next_ms = mono_ms + s->heartbeat_ms;
        return true;
}

void session_on_refused(struct session *s, const Swarm__Refused *m, int64_t mono_ms)
{
        if (s->state != SESSION_REGISTERING && s->state != SESSION_ACTIVE)
                return;
        if (m->code == EACCES || m->code == EPROTO || m->code == ENOTUNIQ) {
                s->pause_ms = SESSION_PAUSE_MAX_MS;
                begin_pause(s, mono_ms);
                return;
        }
        if (s->state == SESSION_REGISTERING)
                return;          /* of a message on its way before the first refusal was heard */
        begin_pause(s, mono_ms); /* the pause only: the connection is fine */
        s->state = SESSION_REGISTERING;
        s->heard_ms = mono_ms;
}

void session_on_heartbeat(struct session *s, const Swarm__HeartbeatReply *m, int64_t mono_ms)
{
        if (m->next_ms > 0 && m->next_ms < s->dead_ms)
                s->next_ms = mono_ms + MAX(m->next_ms, SESSION_HEARTBEAT_MIN_MS);
}
