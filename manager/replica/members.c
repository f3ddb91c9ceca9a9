/* Who agrees: see members.h. */
#include "manager/replica/members.h"

#include <errno.h>
#include <stdio.h>

#include "shared/base/log.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"

_Static_assert(CLUSTER_MANAGERS_MAX == RAFT_MEMBERS_MAX, "who may be one can be one");

#define LOOK_AGAIN_MS 100  /* while something is to be changed */
#define REFUSED_MS    1000 /* after a change that cannot be now */
#define BEHIND_MAX    1000 /* entries that a learner may lack to become a voter */

struct members {
        struct store *store;
        struct store_watch watch;
        bool is_dirty;
        int64_t due_ms;
};

static void on_node(void *arg, struct node *node UNUSED, enum change_kind kind UNUSED)
{
        ((struct members *)arg)->is_dirty = true;
}

struct members *members_new(struct store *store)
{
        struct members *m = xnew(struct members);

        m->store = store;
        m->is_dirty = true;
        m->watch = (struct store_watch){.arg = m, .on_node = on_node};
        store_watch(store, &m->watch);
        return m;
}

void members_free(struct members *m)
{
        if (!m)
                return;
        list_remove(&m->watch.link);
        free(m);
}

/* --- what is to be changed ----------------------------------------------------------------------
 */
struct change {
        enum raft_change what;
        uint64_t id;
        const char *address;
};

static bool is_manager(const struct node *node)
{
        return node->role == ROLE_MANAGER && node->manager_id && node->manager_address;
}

static const struct node *find_manager(struct store *s, uint64_t id)
{
        const struct node *node = store_find_manager(s, id);

        return node && is_manager(node) ? node : NULL;
}

static bool has_caught_up(const struct replica *r, uint64_t id)
{
        struct raft_progress p;

        return replica_progress(r, id, &p) == 0 && p.is_active && !p.in_snapshot && p.match &&
               p.match + BEHIND_MAX >= replica_status(r)->commit_index;
}

/* What a node of role manager needs to be a voter. */
static bool find_missing(struct store *s, const struct replica *r, struct change *ret,
                         bool *ret_waits)
{
        const struct raft_members *members = replica_members(r);
        const struct node *node;
        size_t i;

        MAP_FOREACH (node, i, store_nodes(s)) {
                if (!is_manager(node))
                        continue;
                const struct raft_member *m = raft_members_find(members, node->manager_id);
                *ret = (struct change){RAFT_PUT_LEARNER, node->manager_id, node->manager_address};
                if (!m || !str_is_equal(m->address, node->manager_address))
                        return true;
                ret->what = RAFT_PROMOTE;
                if (!m->is_voter && has_caught_up(r, m->id))
                        return true;
                *ret_waits |= !m->is_voter;
        }
        return false;
}

static bool find_leaver(struct store *s, const struct replica *r, struct change *ret)
{
        const struct raft_members *members = replica_members(r);

        for (size_t i = 0; i < members->n; i++) {
                uint64_t id = members->of[i].id;

                *ret = (struct change){RAFT_REMOVE, id, NULL};
                if (!find_manager(s, id))
                        return true;
        }
        return false;
}

/* --- changing it --------------------------------------------------------------------------------
 */
static const char *what_name(enum raft_change what)
{
        return what == RAFT_PUT_LEARNER ? "learns" : what == RAFT_PROMOTE ? "votes" : "leaves";
}

static void tell(struct store *s, const struct change *c, const char *address, int64_t index)
{
        const struct node *node = store_find_manager(s, c->id);

        log_info("manager %s node=%s hostname=%s address=%s id=%llu index=%lld", what_name(c->what),
                 node ? ID_S(node->id) : "-", node ? node_hostname(node) : "-", address,
                 (unsigned long long)c->id, (long long)index);
}

static int64_t propose(struct store *s, struct replica *r, struct now now, const struct change *c)
{
        /* The leader hands over first: whoever follows takes it off the list. */
        if (c->what == RAFT_REMOVE && c->id == replica_status(r)->id)
                return replica_transfer(r, now, 0);
        const struct raft_member *member = raft_members_find(replica_members(r), c->id);
        char address[sizeof(member->address)];

        snprintf(address, sizeof(address), "%s", c->address ? c->address : member->address);
        int64_t index = replica_change(r, now, c->what, c->id, c->address);
        if (index > 0)
                tell(s, c, address, index);
        return index;
}

int64_t members_run(struct members *m, struct replica *r, struct now now)
{
        struct change change;
        bool waits = false;

        if (!m->is_dirty && now.mono_ms < m->due_ms)
                return m->due_ms;
        m->is_dirty = false;
        m->due_ms = TIME_NEVER;
        if (find_missing(m->store, r, &change, &waits) || find_leaver(m->store, r, &change)) {
                int64_t e = propose(m->store, r, now, &change);

                m->due_ms = now.mono_ms + (e < 0 && e != -EBUSY ? REFUSED_MS : LOOK_AGAIN_MS);
        } else if (waits) {
                m->due_ms = now.mono_ms + LOOK_AGAIN_MS;
        }
        return m->due_ms;
}

/* --- looking at it ------------------------------------------------------------------------------
 */
static bool is_heard(const struct replica *r, uint64_t id)
{
        struct raft_progress p;

        return id == replica_status(r)->id || (replica_progress(r, id, &p) == 0 && p.is_active);
}

bool members_can_leave(const struct members *m, const struct replica *r, uint64_t id,
                       struct err *err)
{
        const struct raft_members *members = replica_members(r);
        size_t voters = 0, heard = 0;

        if (!raft_members_is_voter(members, id))
                return true;
        for (size_t i = 0; i < members->n; i++) {
                const struct raft_member *other = &members->of[i];

                if (!other->is_voter || other->id == id || !find_manager(m->store, other->id))
                        continue;
                voters++;
                heard += is_heard(r, other->id);
        }
        if (voters == 0)
                err_set(err, EBUSY, "it is the only manager: promote another node first");
        else if (heard <= voters / 2)
                err_set(err, EBUSY,
                        "%zu of the %zu managers that would be left are reachable: the cluster "
                        "would lose its quorum: start the others, or remove them first",
                        heard, voters);
        return voters > 0 && heard > voters / 2;
}

enum manager_status members_status(const struct replica *r, uint64_t id)
{
        if (!raft_members_is_voter(replica_members(r), id))
                return MANAGER_UNREACHABLE;
        if (id == replica_status(r)->id)
                return MANAGER_LEADER;
        return is_heard(r, id) ? MANAGER_REACHABLE : MANAGER_UNREACHABLE;
}

bool members_get(const struct replica *r, size_t i, struct turn_member *ret)
{
        const struct raft_members *members = replica_members(r);
        const struct consensus_status *s = replica_status(r);
        struct raft_progress p = {0};

        if (i >= members->n)
                return false;
        const struct raft_member *m = &members->of[i];
        const bool is_self = m->id == s->id;
        *ret = (struct turn_member){.id = m->id,
                                    .address = m->address,
                                    .role = m->is_voter ? MEMBER_VOTER : MEMBER_LEARNER,
                                    .behind = -1};
        ret->status = is_self              ? MANAGER_LEADER
                      : is_heard(r, m->id) ? MANAGER_REACHABLE
                                           : MANAGER_UNREACHABLE;
        if (is_self)
                ret->behind = 0;
        else if (replica_progress(r, m->id, &p) == 0 && p.match)
                ret->behind = (int64_t)(s->commit_index - MIN(p.match, s->commit_index));
        return true;
}
