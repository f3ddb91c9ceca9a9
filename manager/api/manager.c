/* The managers: who they are and how they stand, and one that is gone taken off. Who is a manager
 * says the state; manager/replica/members.h makes the members follow. */
#include "manager/api/api_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "shared/base/parse.h"

bool find_member(const struct api *a, uint64_t manager_id, struct turn_member *ret)
{
        const struct turn_config *config = &a->config;

        for (size_t i = 0; config->get_member && config->get_member(config->arg, i, ret); i++)
                if (ret->id == manager_id)
                        return true;
        return false;
}

bool node_is_bare_manager(const struct node *node)
{
        return node->state == NODE_UNKNOWN && node->manager_id;
}

enum node_state node_shown_state(const struct api *a, const struct node *node)
{
        struct turn_member member;

        if (!node_is_bare_manager(node))
                return node->state;
        return find_member(a, node->manager_id, &member) && member.status == MANAGER_UNREACHABLE
                       ? NODE_DOWN
                       : NODE_READY;
}

/* --- list ----------------------------------------------------------------------------------------
 */
/* node NULL: it is no manager of the state; member NULL: not yet one of those that agree. */
static void add_manager(struct parts *p, const struct node *node, const struct turn_member *member)
{
        Swarm__Manager m = SWARM__MANAGER__INIT;
        uint8_t id[ID_BYTES];

        m.id = node ? node->manager_id : member->id;
        m.address = (char *)(uintptr_t)(node && node->manager_address ? node->manager_address
                                        : member                      ? member->address
                                                                      : protobuf_c_empty_string);
        if (node) {
                m.node_id = wire_id(node->id, id);
                m.hostname = (char *)(uintptr_t)node_hostname(node);
                m.node_state = node_shown_state(p->c->a, node);
        }
        m.role = member ? member->role : MEMBER_JOINING;
        m.status = member ? member->status : MANAGER_UNREACHABLE;
        m.behind = member ? member->behind : -1;
        parts_add(p, &m.base);
}

int on_manager_list(struct call *c)
{
        struct api *a = c->a;
        const struct turn_config *config = &a->config;
        struct parts p = {.c = c, .response_field = SWARM__RESPONSE__KIND_MANAGERS};
        struct turn_member member;
        struct node *node;
        size_t i;

        MAP_FOREACH (node, i, store_nodes(a->store)) {
                if (node->role != ROLE_MANAGER || !node->manager_id)
                        continue;
                const bool is_member = find_member(a, node->manager_id, &member);
                add_manager(&p, node, is_member ? &member : NULL);
        }
        for (i = 0; config->get_member && config->get_member(config->arg, i, &member); i++)
                if (!store_find_manager(a->store, member.id))
                        add_manager(&p, NULL, &member);
        return parts_end(&p);
}

/* --- remove --------------------------------------------------------------------------------------
 */
/* What is asked to be removed. node NULL: it is a member without one. */
struct target {
        uint64_t id;
        struct node *node;
        const char *name; /* for people */
};

/* By its id, else by its node. */
static int find_target(struct call *c, const char *ref, struct target *ret)
{
        struct turn_member member;

        *ret = (struct target){.name = ref};
        if (parse_u64(ref, &ret->id) == 0 && ret->id) {
                ret->node = store_find_manager(c->a->store, ret->id);
                if (ret->node || find_member(c->a, ret->id, &member))
                        return 0;
        }
        int r = find_node(c, ref, &ret->node);
        if (r == -ENOENT)
                return err_set(&c->err, ENOENT, "no such manager: %s", ref);
        if (r < 0)
                return r;
        if (ret->node->role != ROLE_MANAGER)
                return err_set(&c->err, EINVAL, "node %s: is not a manager",
                               node_hostname(ret->node));
        ret->id = ret->node->manager_id;
        return 0;
}

static int check_remove(struct call *c, const struct target *t, bool force)
{
        const struct turn_config *config = &c->a->config;
        const char *name = t->node ? node_hostname(t->node) : t->name;
        struct turn_member member;
        struct err why = {0};

        if (config->can_demote && !config->can_demote(config->arg, t->id, &why))
                return err_set(&c->err, EBUSY, "manager %s: cannot be removed: %s", name, why.text);
        if (force || !find_member(c->a, t->id, &member) || member.status == MANAGER_UNREACHABLE)
                return 0;
        return err_set(&c->err, EBUSY,
                       "manager %s: is reachable: demote it first (node demote %s), or use --force",
                       name, name);
}

/* One without a node is on its way out already. */
int on_manager_remove(struct call *c)
{
        const Swarm__ManagerRemove *m = c->q->manager_remove;
        struct target t;
        int r = find_target(c, m->ref, &t);

        if (r == 0)
                r = check_remove(c, &t, m->force);
        if (r < 0)
                return r;
        if (t.node)
                node_set_spec(c, t.node, t.node->availability, ROLE_WORKER,
                              (const Swarm__KeyValue *const *)t.node->labels->labels,
                              t.node->labels->n_labels);
        call_done(c);
        return 0;
}
