/*
 * A node's key on two machines, as when a disk was copied. Each agent tells which machine and
 * data-dir it is of (NodeDescription.host; kept in the state with the rest, so that the next leader
 * knows it). One that is of another host than the node was registers for one of two reasons: the
 * machine was booted anew, or its data-dir moved, and then the agent of before is silent; or there
 * are two. So while the first is not silent yet, the second is kept waiting (it asks again each
 * second). Whichever comes first decides: a word of the first, and the second is refused from then
 * on; or the first is silent long enough to be suspect, and the second has the session.
 */
#include <errno.h>
#include <stdlib.h>

#include "manager/dispatcher/dispatcher_internal.h"
#include "shared/base/log.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"

/* It could still be there, as far as is known. */
static bool is_first_there(struct dispatcher *d, const struct session *s, struct now now)
{
        int64_t suspect_ms =
                dispatcher_setting_ms(dispatcher_settings(d)->suspect_ms, DEFAULT_SUSPECT_MS);

        if (s->is_awaited) /* it has not found this manager yet, which leads now */
                return s->node->state != NODE_DOWN && now.mono_ms < d->begun_ms + RECONNECT_MS;
        if (s->twin.is_proven)
                return now.mono_ms < s->heard_ms + TWIN_MS;
        return s->node->state != NODE_DOWN && now.mono_ms < s->heard_ms + suspect_ms;
}

void twin_forget(struct session *s)
{
        free(s->twin.host);
        s->twin = (struct twin){0};
}

static void tell(struct dispatcher *d, struct session *s, struct now now,
                 const Swarm__NodeDescription *m)
{
        _cleanup_free_ char *text = xasprintf("its key is in use on another machine, which is "
                                              "refused (%s, %s)",
                                              m->hostname, m->address);

        log_warn("a node's key is in use on two machines, the second is refused node=%s "
                 "hostname=%s address=%s refused_hostname=%s refused_address=%s",
                 ID_S(s->node->id), node_hostname(s->node), s->node->description->address,
                 m->hostname, m->address);
        store_set_node_state(d->store, s->node, NODE_READY, text, now.wall_ms);
}

int twin_look(struct dispatcher *d, struct session *s, struct now now,
              const Swarm__NodeDescription *m, struct err *err)
{
        const Swarm__NodeDescription *known = s->node->description;

        if (!known || str_is_empty(known->host) || str_is_empty(m->host) ||
            str_is_equal(known->host, m->host))
                return 0;
        if (!is_first_there(d, s, now)) {
                twin_forget(s);
                return 0;
        }
        if (!s->twin.host || !str_is_equal(s->twin.host, m->host)) {
                twin_forget(s);
                s->twin = (struct twin){.host = xstrdup(m->host), .since_ms = now.mono_ms};
        }
        if (s->is_awaited || (!s->twin.is_proven && s->heard_ms <= s->twin.since_ms))
                return 1;
        if (!s->twin.is_proven)
                tell(d, s, now, m);
        s->twin.is_proven = true;
        return err_set(err, ENOTUNIQ, "node key in use on another machine (%s, %s)",
                       node_hostname(s->node), known->address);
}
