/*
 * What the manager may say and when: nothing leaves it before it is durable, an acknowledged report
 * is never lost, and no task ever goes back.
 */
#include "tests/sim/sim_told.h"

#include <stdlib.h>

/* The furthest that a task was seen. */
struct sim_seen {
        struct id id;
        uint32_t state, desired;
};

static void check_task(struct sim *sim, const struct task *t)
{
        struct sim_seen *seen = map_get_id(&sim->seen, t->id);

        if (!seen) {
                seen = xnew(struct sim_seen);
                seen->id = t->id;
                map_put(&sim->seen, seen);
        }
        if (t->state < seen->state || t->desired < seen->desired)
                sim_fail(sim, "task %s went back from %s to %s, desired %s to %s", ID_S(t->id),
                         task_state_name(seen->state), task_state_name(t->state),
                         task_state_name(seen->desired), task_state_name(t->desired));
        seen->state = t->state;
        seen->desired = t->desired;
}

void sim_told_init(struct sim *sim)
{
        sim->seen = MAP_INIT(struct sim_seen, id, MAP_KEY_ID);
}

void sim_told_done(struct sim *sim)
{
        struct sim_seen *seen;
        size_t i;

        MAP_FOREACH (seen, i, &sim->seen)
                free(seen);
        map_done(&sim->seen);
}

void sim_told_commit(struct sim *sim)
{
        struct task *t;
        size_t i;

        MAP_FOREACH (t, i, store_tasks(sim->agreed.shadow))
                check_task(sim, t);
}

/* The tasks are there as they are told, on this node. */
static void check_assignments(struct sim *sim, struct store *store, struct sim_agent *a,
                              const Swarm__Assignments *m)
{
        struct id id;

        for (size_t i = 0; i < m->n_tasks; i++) {
                struct task *t = NULL;

                if (wire_get_id(&m->tasks[i]->task_id, &id) == 0)
                        t = store_find_task(store, id);
                if (!t || !t->node || memcmp(t->node->public_key, a->key, sizeof(a->key)) != 0 ||
                    t->desired < m->tasks[i]->desired)
                        sim_fail(sim, "%s is told of task %s before it is durable", a->hostname,
                                 ID_S(id));
        }
        for (size_t i = 0; i < m->n_removed; i++) {
                struct task *t = NULL;

                if (wire_get_id(&m->removed[i], &id) == 0)
                        t = store_find_task(store, id);
                if (t && t->node && !memcmp(t->node->public_key, a->key, sizeof(a->key)))
                        sim_fail(sim, "%s is told to forget task %s, which is there", a->hostname,
                                 ID_S(id));
        }
}

static void check_reported(struct sim *sim, struct store *store, struct sim_agent *a,
                           const Swarm__TaskStatus *s)
{
        struct id id;

        if (wire_get_id(&s->task_id, &id) < 0)
                return;
        struct task *t = store_find_task(store, id);
        if (t && t->state < s->state && !task_state_is_terminal(t->state))
                sim_fail(sim, "%s: task %s was acknowledged to be %s, but is stored as %s",
                         a->hostname, ID_S(id), task_state_name(s->state),
                         task_state_name(t->state));
}

/* The stored report is the batch of that session and number. */
static const Swarm__StatusBatch *find_reported(struct sim_agent *a, struct wire_arena *arena,
                                               const ProtobufCBinaryData *session, uint64_t seq)
{
        const Swarm__AgentMessage *sent = wire_unpack(arena, &swarm__agent_message__descriptor,
                                                      a->reported.data, a->reported.len);
        bool is_it = sent && sent->kind_case == SWARM__AGENT_MESSAGE__KIND_STATUS &&
                     sent->status->seq == seq && sent->session.len == session->len &&
                     !memcmp(sent->session.data, session->data, session->len);

        return is_it ? sent->status : NULL;
}

static void check_ack(struct sim *sim, struct store *store, struct sim_agent *a,
                      const Swarm__ManagerMessage *m)
{
        _cleanup_arena_ struct wire_arena arena = {0};
        const Swarm__StatusBatch *sent = find_reported(a, &arena, &m->session, m->status_ack->seq);

        for (size_t i = 0; sent && i < sent->n_statuses; i++)
                check_reported(sim, store, a, sent->statuses[i]);
}

void sim_told_agent(struct sim *sim, struct store *store, struct sim_agent *a, const uint8_t *p,
                    size_t n)
{
        _cleanup_arena_ struct wire_arena arena = {0};
        const Swarm__ManagerMessage *m =
                wire_unpack(&arena, &swarm__manager_message__descriptor, p, n);

        if (!m)
                sim_fail(sim, "%s is sent what is no message", a->hostname);
        else if (m->kind_case == SWARM__MANAGER_MESSAGE__KIND_ASSIGNMENTS)
                check_assignments(sim, store, a, m->assignments);
        else if (m->kind_case == SWARM__MANAGER_MESSAGE__KIND_STATUS_ACK)
                check_ack(sim, store, a, m);
}

void sim_told_report(struct sim_agent *a, const uint8_t *p, size_t n)
{
        _cleanup_arena_ struct wire_arena arena = {0};
        const Swarm__AgentMessage *m = wire_unpack(&arena, &swarm__agent_message__descriptor, p, n);

        if (!m || m->kind_case != SWARM__AGENT_MESSAGE__KIND_STATUS)
                return;
        /* Sent again it may say more, but that is reported anew after the acknowledgement. */
        if (find_reported(a, &arena, &m->session, m->status->seq))
                return;
        buf_clear(&a->reported);
        buf_append(&a->reported, p, n);
}
