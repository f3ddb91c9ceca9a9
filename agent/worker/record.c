/* Tasks as records of the journal: see proto/journal.proto. */
#include <errno.h>
#include <stdlib.h>

#include "agent/worker/worker_internal.h"
#include "proto/journal.pb-c.h"
#include "shared/base/str.h"
#include "shared/wire/wire.h"

static void encode_assignment(const struct work *t, Swarm__TaskAssignment *ret,
                              uint8_t ids[2][ID_BYTES])
{
        swarm__task_assignment__init(ret);
        ret->task_id = wire_id(t->id, ids[0]);
        ret->service_id = wire_id(t->service_id, ids[1]);
        ret->spec_version = t->spec_version;
        ret->slot = t->slot;
        ret->desired = t->fsm.desired;
        if (t->claim) {
                ret->n_generic = t->claim->n_generic;
                ret->generic = t->claim->generic;
        }
}

void work_save(struct worker *w, const struct work *t)
{
        Swarm__JournalTask m = SWARM__JOURNAL_TASK__INIT;
        Swarm__TaskAssignment assignment;
        Swarm__TaskStatus status;
        uint8_t ids[3][ID_BYTES];
        _cleanup_buf_ struct buf b = {0};

        encode_assignment(t, &assignment, ids);
        report_item_encode(&t->status, &status, ids[2]);
        m.assignment = &assignment;
        m.status = &status;
        m.spec = t->spec ? t->spec->message : NULL;
        m.name = t->name;
        m.is_removed = t->fsm.is_removed;
        WIRE_PACK(&m, &b);
        w->ports->journal_put(w->ports->arg, t->id, b.data, b.len);
}

/* Where the container is, as far as the record tells: of a task that got as far as STARTING it is
 * lost unless the runtime finds it. */
static enum task_phase phase_of(enum task_state state)
{
        if (task_state_is_terminal(state))
                return PHASE_ENDED;
        return state >= TASK_STARTING ? PHASE_STARTING : PHASE_NONE;
}

static bool is_state_here(uint32_t v)
{
        return task_state_is_valid(v) && v >= TASK_ASSIGNED && v != TASK_REMOVE;
}

static int decode(struct work *t, const Swarm__JournalTask *m)
{
        const Swarm__TaskAssignment *a = m->assignment;

        if (!a || !m->status || wire_get_id(&a->task_id, &t->id) < 0 ||
            wire_get_id(&a->service_id, &t->service_id) < 0 || !is_state_here(m->status->state) ||
            !task_state_is_valid(a->desired))
                return -EBADMSG;
        t->spec_version = a->spec_version;
        t->slot = a->slot;
        t->fsm.desired = a->desired;
        t->fsm.state = m->status->state;
        t->fsm.phase = phase_of(t->fsm.state);
        t->fsm.is_removed = m->is_removed;
        report_item_init(&t->status, t->id);
        t->status.state = t->fsm.state;
        t->status.state_ms = m->status->state_ms;
        t->status.exit_code = m->status->exit_code;
        t->status.message = task_fsm_message(t->fsm.state);
        if (!str_is_empty(m->status->error))
                t->status.error = xstrdup(m->status->error);
        t->name = xstrdup(m->name);
        if (a->n_generic > 0)
                t->claim = wire_dup(a);
        return 0;
}

int work_load(struct worker *w, const uint8_t *packed, size_t n, struct work **ret)
{
        Swarm__JournalTask *m = wire_unpack_heap(&swarm__journal_task__descriptor, packed, n);
        struct work *t;

        if (!m)
                return -EBADMSG;
        t = xnew(struct work);
        if (decode(t, m) < 0) {
                wire_free(m);
                free(t);
                return -EBADMSG;
        }
        t->spec = spec_put(w, t->service_id, t->spec_version, &m->spec);
        spec_ref(t->spec);
        wire_free(m);
        *ret = t;
        return 0;
}

void work_want_again(struct worker *w, struct work *t, struct spec *spec,
                     const Swarm__TaskAssignment *m)
{
        if (spec)
                spec_ref(spec);
        if (t->again_spec)
                spec_unref(w, t->again_spec);
        wire_free(t->again);
        t->again = m ? wire_dup(m) : NULL;
        t->again_spec = spec;
}

void work_free(struct worker *w, struct work *t)
{
        work_want_again(w, t, NULL, NULL);
        report_item_done(&t->status);
        task_fsm_done(&t->fsm);
        if (t->spec)
                spec_unref(w, t->spec);
        wire_free(t->claim);
        free(t->name);
        free(t);
}
