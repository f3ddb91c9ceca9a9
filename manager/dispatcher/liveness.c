/*
 * Who is silent. Sessions stand in three lists by when they were last heard: live, suspect, down.
 * As all have the same periods, each list is in order of its deadlines, and a heartbeat costs O(1).
 *
 *   awaited ---.
 *   live --silent for suspect_ms--> suspect --silent for down_ms--> down --24 h--> tasks orphaned
 *     ^-----------any message-----------'                             |
 *     ^------------------------------registers again-----------------'
 *
 * When more than half of the nodes that should be there are suspect at once, our own network is the
 * more likely culprit: none is declared down then until mass_failure_wait_ms later. When we
 * ourselves were stopped (woken much later than asked), everyone gets a full period again.
 */
#include <stdio.h>
#include <stdlib.h>

#include "manager/dispatcher/dispatcher_internal.h"
#include "shared/base/mem.h"

int64_t dispatcher_setting_ms(int64_t value, int64_t standard)
{
        return value > 0 ? value : standard;
}

const Swarm__ClusterSettings *dispatcher_settings(struct dispatcher *d)
{
        return store_cluster(d->store)->msg->settings;
}

static struct session *front(struct list *l)
{
        return list_is_empty(l) ? NULL : LIST_ITEM(l->next, struct session, live_link);
}

static int64_t heard_ms(const struct dispatcher *d, const struct session *s)
{
        return MAX(s->heard_ms, d->floor_ms);
}

void liveness_forget(struct dispatcher *d, struct session *s)
{
        if (!list_is_linked(&s->live_link))
                return;
        if (s->node->state == NODE_SUSPECT)
                d->suspect_count--;
        else if (s->node->state != NODE_DOWN)
                d->live_count--;
        list_remove(&s->live_link);
}

void liveness_heard(struct dispatcher *d, struct session *s, struct now now)
{
        liveness_forget(d, s);
        s->heard_ms = now.mono_ms;
        s->is_awaited = s->is_told = false;
        list_push_back(&d->live, &s->live_link);
        d->live_count++;
        if (s->node->state != NODE_READY)
                store_set_node_state(d->store, s->node, NODE_READY, NULL, now.wall_ms);
}

/* Managers may tell of one node: it has spoken to one after the other, and the newest word counts.
 * However old that is, the node gets its grace to speak here. One that was lost sight of may have
 * gone to a manager whose machine has vanished since: it first has to see that. */
void liveness_was_heard(struct dispatcher *d, struct session *s, struct now now, int64_t told_ms,
                        bool is_gone)
{
        int64_t down_ms = dispatcher_setting_ms(dispatcher_settings(d)->down_ms, DEFAULT_DOWN_MS);
        int64_t grace_ms = is_gone ? GONE_GRACE_MS : HEARD_GRACE_MS;
        int64_t oldest_ms = now.mono_ms + grace_ms - down_ms;

        told_ms = MAX(MIN(told_ms, now.mono_ms), oldest_ms);
        if (!s->is_awaited || s->node->state == NODE_DOWN || !list_is_linked(&s->live_link) ||
            (s->is_told && told_ms <= s->heard_ms))
                return;
        liveness_forget(d, s);
        s->is_told = true;
        s->heard_ms = told_ms;
        list_push_back(&d->told, &s->live_link);
        d->live_count++;
        if (s->node->state != NODE_READY)
                store_set_node_state(d->store, s->node, NODE_READY, NULL, now.wall_ms);
}

static int by_heard(const void *a, const void *b)
{
        const struct session *x = *(struct session *const *)a, *y = *(struct session *const *)b;

        return x->heard_ms != y->heard_ms ? (x->heard_ms < y->heard_ms ? -1 : 1)
                                          : id_compare(x->node->id, y->node->id);
}

/* All that were told of go to their places at once: they may be thousands. */
static void place_told(struct dispatcher *d)
{
        struct session **told;
        size_t n = 0;
        struct list *l, *at = d->live.prev;

        if (list_is_empty(&d->told))
                return;
        told = xnew_array(struct session *, d->live_count);
        while ((l = list_pop_front(&d->told)))
                told[n++] = LIST_ITEM(l, struct session, live_link);
        qsort(told, n, sizeof(*told), by_heard);
        while (n-- > 0) {
                while (at != &d->live &&
                       LIST_ITEM(at, struct session, live_link)->heard_ms > told[n]->heard_ms)
                        at = at->prev;
                list_push_front(at, &told[n]->live_link);
        }
        free(told);
}

/* Nodes are asked to speak in groups, each at its moment of the period: what arrives together costs
 * one wake-up and one turn. Nobody is asked to wait for longer than the period. */
int64_t liveness_next_beat_ms(struct dispatcher *d, const struct node *node, struct now now)
{
        int64_t period_ms =
                dispatcher_setting_ms(dispatcher_settings(d)->heartbeat_ms, DEFAULT_HEARTBEAT_MS);
        uint64_t groups = d->live_count / BEATS_AT_ONCE + 1;
        int64_t moment_ms = (int64_t)(node->id.lo % groups) * period_ms / (int64_t)groups;
        int64_t next_ms = period_ms - (now.mono_ms - moment_ms + period_ms) % period_ms;

        /* Soon after the last one it would tell little: half-way to the one after. */
        return next_ms < period_ms / 4 ? (next_ms + period_ms) / 2 : next_ms;
}

static void become_suspect(struct dispatcher *d, struct session *s, struct now now)
{
        liveness_forget(d, s);
        store_set_node_state(d->store, s->node, NODE_SUSPECT, NULL, now.wall_ms);
        list_push_back(&d->suspect, &s->live_link);
        d->suspect_count++;
}

static void become_down(struct dispatcher *d, struct session *s, struct now now)
{
        liveness_forget(d, s);
        session_close(s);
        s->heard_ms = now.mono_ms;
        list_push_back(&d->down, &s->live_link);
        store_set_node_state(d->store, s->node, NODE_DOWN, "heartbeat failure", now.wall_ms);
        logs_on_node_down(d->logs, s->node->id);
}

static int64_t check_live(struct dispatcher *d, struct list *live, struct now now)
{
        int64_t suspect_ms =
                dispatcher_setting_ms(dispatcher_settings(d)->suspect_ms, DEFAULT_SUSPECT_MS);
        struct session *s;

        while ((s = front(live))) {
                if (heard_ms(d, s) + suspect_ms > now.mono_ms)
                        return heard_ms(d, s) + suspect_ms;
                become_suspect(d, s, now);
        }
        return TIME_NEVER;
}

/* Those that were declared down when the wait was over are silent all the same: that fewer are only
 * suspect now does not mean that they come back. */
static bool is_mass_failure(const struct dispatcher *d)
{
        size_t silent = d->suspect_count + d->mass_down_count;

        return silent * 2 > silent + d->live_count;
}

static int64_t check_suspect(struct dispatcher *d, struct now now, size_t change_max)
{
        const Swarm__ClusterSettings *c = dispatcher_settings(d);
        int64_t down_ms = dispatcher_setting_ms(c->down_ms, DEFAULT_DOWN_MS);
        int64_t wait_ms = c->down_ms > 0 ? c->mass_failure_wait_ms : DEFAULT_MASS_FAILURE_MS;
        bool is_mass = is_mass_failure(d);
        struct session *s = front(&d->suspect);
        bool was_waiting = d->is_waiting;

        if (!is_mass)
                d->mass_down_count = 0;
        d->is_waiting = is_mass && s && heard_ms(d, s) + down_ms <= now.mono_ms;
        if (was_waiting && !is_mass && s)
                d->floor_ms = now.mono_ms; /* they are coming back: each gets its time to do so */
        for (; (s = front(&d->suspect));) {
                int64_t due = heard_ms(d, s) + down_ms;

                if (due > now.mono_ms)
                        return due;
                if (is_mass && due + wait_ms > now.mono_ms)
                        return due + wait_ms;
                if (store_change_weight(d->store) >= change_max)
                        return now.mono_ms;
                become_down(d, s, now);
                d->mass_down_count += is_mass;
        }
        d->is_waiting = false;
        d->mass_down_count = 0;
        return TIME_NEVER;
}

/* True when all is done for this node. */
static bool orphan_tasks(struct dispatcher *d, struct node *node, struct now now, size_t change_max)
{
        struct task *task;

        LIST_FOREACH (task, &node->tasks, node_link) {
                if (task->state < TASK_ASSIGNED || task_state_is_terminal(task->state))
                        continue;
                if (store_change_weight(d->store) >= change_max)
                        return false;
                store_set_task_state(d->store, task, TASK_ORPHANED, now.wall_ms, "orphaned",
                                     "node has been down for 24 hours", -1);
        }
        return true;
}

static int64_t check_down(struct dispatcher *d, struct now now, size_t change_max)
{
        struct session *s;

        while ((s = front(&d->down))) {
                if (s->heard_ms + NODE_ORPHAN_MS > now.mono_ms)
                        return s->heard_ms + NODE_ORPHAN_MS;
                if (!orphan_tasks(d, s->node, now, change_max))
                        return now.mono_ms;
                liveness_forget(d, s);
        }
        return TIME_NEVER;
}

int64_t dispatcher_check(struct dispatcher *d, struct now now, size_t change_max)
{
        if (d->check_ms != TIME_NEVER && now.mono_ms - d->check_ms > STALL_MS)
                d->floor_ms = now.mono_ms;
        place_told(d);
        int64_t due = check_live(d, &d->live, now);
        due = MIN(due, check_live(d, &d->awaited, now));
        due = MIN(due, check_suspect(d, now, change_max));
        due = MIN(due, check_down(d, now, change_max));
        d->check_ms = due;
        return MIN(due, newcomers_check(d, now));
}

const char *dispatcher_warning(struct dispatcher *d)
{
        if (!d->is_waiting)
                return NULL;
        snprintf(d->warning, sizeof(d->warning),
                 "%zu of %zu nodes are silent: their tasks are not replaced yet, as this manager's "
                 "own network may be cut",
                 d->suspect_count, d->suspect_count + d->live_count);
        return d->warning;
}
