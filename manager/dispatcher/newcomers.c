/*
 * Managers that have joined and cannot be reached under the address that they told: they would stay
 * in the list for good. One that does not vote, and that this leader has not heard at any look for
 * NEWCOMER_MS, is taken off: with its node, unless an agent runs there.
 */
#include "manager/dispatcher/newcomers_internal.h"

#include "manager/dispatcher/dispatcher_internal.h"
#include "shared/base/log.h"

static bool is_newcomer(const struct dispatcher *d, uint64_t id)
{
        const struct turn_config *c = &d->config;
        struct turn_member m;

        for (size_t i = 0; c->get_member(c->arg, i, &m); i++)
                if (m.id == id)
                        return m.role == MEMBER_LEARNER && m.status == MANAGER_UNREACHABLE &&
                               m.behind < 0;
        return true; /* to become a member yet */
}

static bool is_manager(const struct node *node)
{
        return node->role == ROLE_MANAGER && node->manager_id;
}

static void keep_only_newcomers(struct dispatcher *d)
{
        size_t n = 0;

        for (size_t i = 0; i < d->newcomers.n; i++) {
                uint64_t id = d->newcomers.of[i].id;

                if (store_find_manager(d->store, id) && is_newcomer(d, id))
                        d->newcomers.of[n++] = d->newcomers.of[i];
        }
        d->newcomers.n = n;
}

static bool is_noted(const struct dispatcher *d, uint64_t id)
{
        for (size_t i = 0; i < d->newcomers.n; i++)
                if (d->newcomers.of[i].id == id)
                        return true;
        return false;
}

static void note_new(struct dispatcher *d, struct now now)
{
        const struct node *node;
        size_t i;

        MAP_FOREACH (node, i, store_nodes(d->store))
                if (is_manager(node) && d->newcomers.n < CLUSTER_MANAGERS_MAX &&
                    !is_noted(d, node->manager_id) && is_newcomer(d, node->manager_id))
                        d->newcomers.of[d->newcomers.n++] =
                                (struct newcomer){node->manager_id, now.mono_ms};
}

static void drop(struct dispatcher *d, uint64_t id, struct now now)
{
        struct node *node = store_find_manager(d->store, id);

        log_warn("manager is taken off: it cannot be reached node=%s hostname=%s address=%s",
                 ID_S(node->id), node_hostname(node), node->manager_address);
        if (!node->session) {
                store_remove_node(d->store, node, now.wall_ms);
                return;
        }
        store_set_node_spec(d->store, node, node->availability, ROLE_WORKER,
                            (const Swarm__KeyValue *const *)node->labels->labels,
                            node->labels->n_labels, now.wall_ms);
        store_set_node_manager(d->store, node, 0, NULL, now.wall_ms);
}

void newcomers_on_node(struct dispatcher *d, const struct node *node)
{
        if (is_manager(node))
                d->newcomers.look_ms = 0;
}

int64_t newcomers_check(struct dispatcher *d, struct now now)
{
        if (!d->config.get_member)
                return TIME_NEVER;
        if (now.mono_ms < d->newcomers.look_ms)
                return d->newcomers.look_ms;
        keep_only_newcomers(d);
        note_new(d, now);
        d->newcomers.look_ms = TIME_NEVER;
        for (size_t i = 0; i < d->newcomers.n; i++) {
                int64_t due = d->newcomers.of[i].since_ms + NEWCOMER_MS;

                if (due > now.mono_ms) {
                        d->newcomers.look_ms = now.mono_ms + NEWCOMER_LOOK_MS;
                } else {
                        uint64_t id = d->newcomers.of[i].id;

                        d->newcomers.of[i--] = d->newcomers.of[--d->newcomers.n];
                        drop(d, id, now);
                }
        }
        return d->newcomers.look_ms;
}
