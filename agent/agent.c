/*
 * The agent's core: routes what comes in to session, worker and report, and what they decide to the
 * ports. See agent.h.
 */
#include "agent/agent.h"

#include <stdlib.h>

#include "agent/report/report.h"
#include "agent/session/session.h"
#include "agent/worker/worker.h"
#include "shared/base/mem.h"
#include "shared/model/protocol.h"
#include "shared/wire/wire.h"

#define FIRST_DISPATCH_PROTOCOL 2 /* of managers that do not tell what they speak */

struct agent {
        struct agent_ports ports;
        const Swarm__NodeDescription *description;
        struct session session;
        struct worker worker;
        struct report report;
        int64_t set_by_ms; /* a complete set is to have come by then; TIME_NEVER: it has */
};

struct agent *agent_new(const struct agent_config *c, const struct agent_ports *ports)
{
        struct agent *a = xnew(struct agent);

        a->ports = *ports;
        a->description = c->description;
        a->set_by_ms = TIME_NEVER;
        session_init(&a->session, c->seed, 0);
        report_init(&a->report);
        worker_init(&a->worker, &a->ports, &a->report);
        return a;
}

void agent_free(struct agent *a)
{
        if (!a)
                return;
        worker_done(&a->worker);
        free(a);
}

ProtobufCBinaryData agent_session(const struct agent *a)
{
        if (a->session.state != SESSION_ACTIVE)
                return (ProtobufCBinaryData){0, NULL};
        return (ProtobufCBinaryData){a->session.id_len, (uint8_t *)a->session.id};
}

/* --- out ---------------------------------------------------------------------------------------
 */

static void send_message(struct agent *a, Swarm__AgentMessage *m)
{
        _cleanup_buf_ struct buf b = {0};

        m->session = agent_session(a);
        WIRE_PACK(m, &b);
        a->ports.send(a->ports.arg, b.data, b.len);
}

static void send_register(struct agent *a)
{
        Swarm__AgentMessage m = SWARM__AGENT_MESSAGE__INIT;
        Swarm__Register r = SWARM__REGISTER__INIT;

        r.description = (Swarm__NodeDescription *)a->description;
        r.last_session = (ProtobufCBinaryData){a->session.id_len, a->session.id};
        r.number = a->session.asked;
        m.kind_case = SWARM__AGENT_MESSAGE__KIND_REGISTER;
        m.register_ = &r;
        send_message(a, &m);
}

static void send_heartbeat(struct agent *a)
{
        Swarm__AgentMessage m = SWARM__AGENT_MESSAGE__INIT;
        Swarm__Heartbeat h = SWARM__HEARTBEAT__INIT;

        h.assigned_seq = a->worker.seq;
        h.is_disk_full = a->ports.is_disk_full && a->ports.is_disk_full(a->ports.arg);
        m.kind_case = SWARM__AGENT_MESSAGE__KIND_HEARTBEAT;
        m.heartbeat = &h;
        send_message(a, &m);
}

static bool session_work(struct agent *a, struct now now)
{
        switch (session_step(&a->session, now.mono_ms)) {
        case SESSION_SEND_REGISTER: send_register(a); return true;
        case SESSION_SEND_HEARTBEAT: send_heartbeat(a); return true;
        case SESSION_RECONNECT: a->ports.reconnect(a->ports.arg); return true;
        case SESSION_NOTHING: break;
        }
        return false;
}

static void send_statuses(struct agent *a, struct now now)
{
        Swarm__AgentMessage m = SWARM__AGENT_MESSAGE__INIT;
        struct report_batch *b;

        if (a->session.state != SESSION_ACTIVE)
                return;
        b = report_next(&a->report, now.mono_ms);
        if (!b)
                return;
        m.kind_case = SWARM__AGENT_MESSAGE__KIND_STATUS;
        m.status = (Swarm__StatusBatch *)report_batch_message(b);
        send_message(a, &m);
        report_batch_free(b);
}

/* Everything that is due by now: the end of each event. */
static void flush(struct agent *a, struct now now)
{
        if (now.mono_ms >= a->set_by_ms) {
                a->set_by_ms = TIME_NEVER;
                session_renew(&a->session, now.mono_ms);
        }
        while (session_work(a, now))
                ;
        send_statuses(a, now);
}

void agent_tick(struct agent *a, struct now now)
{
        flush(a, now);
}

int64_t agent_deadline(const struct agent *a)
{
        int64_t at = MIN(session_deadline(&a->session), a->set_by_ms);

        if (a->session.state == SESSION_ACTIVE)
                at = MIN(at, report_deadline(&a->report));
        return at;
}

/* --- in ----------------------------------------------------------------------------------------
 */

int agent_load_task(struct agent *a, const uint8_t *packed, size_t n)
{
        return worker_load(&a->worker, packed, n);
}

void agent_load_container(struct agent *a, struct id task, bool is_running,
                          const struct container_event *e)
{
        worker_load_container(&a->worker, task, is_running, e);
}

bool agent_get_task(const struct agent *a, struct id task, struct agent_task *ret)
{
        return worker_get_task(&a->worker, task, ret);
}

void agent_start(struct agent *a, struct now now)
{
        a->session.heard_ms = now.mono_ms;
        worker_start(&a->worker, now);
        flush(a, now);
}

void agent_on_connected(struct agent *a, struct now now)
{
        a->set_by_ms = TIME_NEVER;
        session_on_connected(&a->session, now.mono_ms);
        flush(a, now);
}

void agent_on_lost(struct agent *a, struct now now)
{
        session_renew(&a->session, now.mono_ms);
        flush(a, now);
}

void agent_on_container(struct agent *a, struct now now, const struct container_event *e)
{
        worker_on_container(&a->worker, now, e);
        flush(a, now);
}

void agent_set_description(struct agent *a, const Swarm__NodeDescription *d)
{
        a->description = d;
        session_renew(&a->session, a->session.heard_ms);
}

void agent_abandon(struct agent *a, struct now now)
{
        worker_abandon(&a->worker, now);
        flush(a, now);
}

bool agent_is_idle(const struct agent *a)
{
        return a->worker.tasks.len == 0;
}

static void on_refused(struct agent *a, struct now now, const Swarm__Refused *m)
{
        session_on_refused(&a->session, m, now.mono_ms);
        if (a->ports.on_refused)
                a->ports.on_refused(a->ports.arg, m);
}

/* The manager speaks what both understand, if it sees to that. */
static bool agrees(struct agent *a, struct now now, const Swarm__Session *m)
{
        Swarm__Refused refused = SWARM__REFUSED__INIT;
        uint32_t spoken = m->protocol ? m->protocol : FIRST_DISPATCH_PROTOCOL;
        struct protocol_end manager = {"the manager", {spoken, spoken}};
        struct protocol_end agent = {"this agent", DISPATCH_PROTOCOLS};
        struct err err = {0};

        if (protocol_agree("dispatch", &manager, &agent, &err) > 0)
                return true;
        refused.code = (uint32_t)err.code;
        refused.text = err.text;
        on_refused(a, now, &refused);
        return false;
}

static void on_session(struct agent *a, struct now now, const Swarm__Session *m)
{
        struct id node = {0};

        if (!agrees(a, now, m) || !session_on_session(&a->session, m, now.mono_ms))
                return;
        wire_get_id(&m->node_id, &node);
        worker_on_session(&a->worker, node);
        report_restart(&a->report, now.mono_ms);
        a->set_by_ms = now.mono_ms + a->session.dead_ms;
        a->ports.on_session(a->ports.arg, m);
}

static void on_assignments(struct agent *a, struct now now, const Swarm__Assignments *m)
{
        if (worker_assign(&a->worker, now, m) < 0)
                session_renew(&a->session, now.mono_ms);
        if (a->worker.has_set)
                a->set_by_ms = TIME_NEVER;
        else if (a->worker.is_collecting) /* a large one over a slow line: it comes */
                a->set_by_ms = now.mono_ms + a->session.dead_ms;
}

static void on_session_message(struct agent *a, struct now now, const Swarm__ManagerMessage *m)
{
        const struct agent_ports *p = &a->ports;

        switch (m->kind_case) {
        case SWARM__MANAGER_MESSAGE__KIND_HEARTBEAT:
                session_on_heartbeat(&a->session, m->heartbeat, now.mono_ms);
                if (p->on_heartbeat)
                        p->on_heartbeat(p->arg, m->heartbeat);
                break;
        case SWARM__MANAGER_MESSAGE__KIND_ASSIGNMENTS:
                on_assignments(a, now, m->assignments);
                break;
        case SWARM__MANAGER_MESSAGE__KIND_STATUS_ACK:
                report_on_ack(&a->report, m->status_ack->seq);
                break;
        case SWARM__MANAGER_MESSAGE__KIND_BLOB_DATA: p->on_blob_data(p->arg, m->blob_data); break;
        case SWARM__MANAGER_MESSAGE__KIND_LOG_START: p->on_log_start(p->arg, m->log_start); break;
        case SWARM__MANAGER_MESSAGE__KIND_LOG_STOP: p->on_log_stop(p->arg, m->log_stop); break;
        case SWARM__MANAGER_MESSAGE__KIND_LOG_ACK: p->on_log_ack(p->arg, m->log_ack); break;
        default: break; /* newer than we are */
        }
}

void agent_on_message(struct agent *a, struct now now, const uint8_t *p, size_t n)
{
        _cleanup_arena_ struct wire_arena arena = {0};
        const Swarm__ManagerMessage *m =
                wire_unpack(&arena, &swarm__manager_message__descriptor, p, n);

        if (!m)
                return;
        if (m->kind_case == SWARM__MANAGER_MESSAGE__KIND_SESSION_START)
                on_session(a, now, m->session_start);
        else if (m->kind_case == SWARM__MANAGER_MESSAGE__KIND_REFUSED)
                on_refused(a, now, m->refused);
        else if (session_hears(&a->session, m, now.mono_ms) ||
                 m->kind_case == SWARM__MANAGER_MESSAGE__KIND_BLOB_DATA) /* of any session */
                on_session_message(a, now, m);
        flush(a, now);
}
