/*
 * Status reports. A batch is taken in order and once; each status must be of a task of the node
 * that reports it, in a state that an agent can report, and not behind what is known. What the
 * agent has and should not have, it is told to forget.
 */
#include "manager/dispatcher/dispatcher_internal.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/wire/wire.h"

static bool can_be_reported(uint32_t state)
{
        return task_state_is_valid(state) && state >= TASK_ACCEPTED && state < TASK_REMOVE;
}

static bool is_text_equal(const char *a, const char *b)
{
        return str_is_equal(a ? a : "", b ? b : "");
}

static void take_status(struct dispatcher *d, struct task *task, struct now now,
                        const Swarm__TaskStatus *m)
{
        _cleanup_free_ char *message = text_clean(m->message, STATUS_TEXT_MAX);
        _cleanup_free_ char *error = text_clean(m->error, STATUS_TEXT_MAX);
        const char *error_or_null = *error ? error : NULL;
        bool is_time_sane = m->state_ms > 0 && m->state_ms <= now.wall_ms + REPORT_AHEAD_MAX_MS;
        bool has_exited = m->exit_code >= 0 && m->exit_code <= 255;

        if (m->state > task->state)
                store_set_task_state(d->store, task, m->state,
                                     is_time_sane ? m->state_ms : now.wall_ms, message,
                                     error_or_null, has_exited ? m->exit_code : -1);
        else if (!is_text_equal(task->message, message) || !is_text_equal(task->error, error))
                store_set_task_message(d->store, task, message, error_or_null);
}

static void on_status(struct dispatcher *d, struct session *s, struct now now,
                      const Swarm__TaskStatus *m)
{
        struct id id;

        if (wire_get_id(&m->task_id, &id) < 0)
                return;
        struct task *task = store_find_task(d->store, id);
        if (!task || task->node != s->node || task->state < TASK_ASSIGNED) {
                id_list_push(&s->removed, id);
                session_must_tell(d, s);
                return;
        }
        if (can_be_reported(m->state) && m->state >= task->state &&
            !task_state_is_terminal(task->state))
                take_status(d, task, now, m);
}

/* Nothing before it is still on its way: an acknowledgement may cover all up to it. */
static bool is_in_order(const struct session *s, const Swarm__StatusBatch *m)
{
        if (s->status_seq && m->seq <= s->status_seq + 1)
                return true;
        return m->oldest == 0 || m->oldest >= m->seq;
}

void status_on_batch(struct dispatcher *d, struct session *s, struct now now,
                     const Swarm__StatusBatch *m)
{
        if (m->seq == 0 || !is_in_order(s, m))
                return;
        if (m->seq > s->status_seq) {
                for (size_t i = 0; i < m->n_statuses; i++)
                        on_status(d, s, now, m->statuses[i]);
                s->status_seq = m->seq;
        }
        s->must_ack = true;
        session_must_tell(d, s);
}
