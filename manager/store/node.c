/* Nodes: changing them, and their place in the indexes. */
#include "manager/store/store_internal.h"

#include <assert.h>
#include <string.h>

#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/wire/wire.h"

static void tell(struct store *s, struct node *node, enum change_kind kind)
{
        struct store_watch *w;

        LIST_FOREACH (w, &s->watches, link)
                if (w->on_node)
                        w->on_node(w->arg, node, kind);
}

static void changed(struct store *s, struct node *node, int64_t wall_ms)
{
        node->version++;
        node->updated_ms = wall_ms;
        mark_changed(s, ROW_NODES, node);
        tell(s, node, CHANGE_UPDATED);
}

size_t store_count_managers(const struct store *s)
{
        const struct node *node;
        size_t n = 0, i;

        MAP_FOREACH (node, i, &s->nodes)
                n += node->role == ROLE_MANAGER;
        return n;
}

struct node *store_find_manager(struct store *s, uint64_t manager_id)
{
        struct node *node;
        size_t i;

        MAP_FOREACH (node, i, &s->nodes)
                if (node->manager_id == manager_id && node->role == ROLE_MANAGER)
                        return node;
        return NULL;
}

struct node *node_new(struct id id)
{
        struct node *node = xnew(struct node);

        node->id = id;
        node->labels = xnew(Swarm__Node);
        swarm__node__init(node->labels);
        list_init(&node->tasks);
        return node;
}

void node_link(struct store *s, struct node *node)
{
        map_put(&s->nodes, node);
        index_put(&s->nodes_by_key, node);
}

void node_unlink(struct store *s, struct node *node)
{
        map_remove(&s->nodes, node);
        index_remove(&s->nodes_by_key, node, store_find_node_by_key(s, node->public_key));
}

enum node_state node_stored_state(const struct node *node)
{
        return node->state == NODE_SUSPECT ? NODE_READY : node->state;
}

void node_set_labels(struct node *node, const Swarm__KeyValue *const *labels, size_t n)
{
        Swarm__Node borrowed = SWARM__NODE__INIT;

        borrowed.labels = (Swarm__KeyValue **)(uintptr_t)labels;
        borrowed.n_labels = n;
        Swarm__Node *copy = wire_dup(&borrowed);
        wire_free(node->labels);
        node->labels = copy;
}

struct node *store_add_node(struct store *s, struct id id, const uint8_t key[32],
                            enum node_role role, int64_t wall_ms)
{
        struct node *node = node_new(id);

        memcpy(node->public_key, key, sizeof(node->public_key));
        node->role = role;
        node->created_ms = node->updated_ms = wall_ms;
        node->version = 1;
        node->row = ++s->last_row[ROW_NODES];
        node_link(s, node);
        mark_created(s, ROW_NODES, node);
        tell(s, node, CHANGE_CREATED);
        return node;
}

void store_set_node_description(struct store *s, struct node *node, const Swarm__NodeDescription *d,
                                int64_t wall_ms)
{
        Swarm__NodeDescription *copy = wire_dup(d);

        wire_free(node->description);
        node->description = copy;
        changed(s, node, wall_ms);
}

void store_set_node_state(struct store *s, struct node *node, enum node_state state,
                          const char *message, int64_t wall_ms)
{
        enum node_state stored = state == NODE_SUSPECT ? NODE_READY : state;
        bool is_in_memory_only =
                state == NODE_SUSPECT || (node->state == NODE_SUSPECT && state == NODE_READY);

        if (is_in_memory_only) {
                assert(node_stored_state(node) == stored);
                node->state = state;
                tell(s, node, CHANGE_UPDATED);
                return;
        }
        char *copy = str_is_empty(message) ? NULL : xstrdup(message);
        free(node->message);
        node->message = copy;
        node->state = state;
        changed(s, node, wall_ms);
}

void store_set_node_disk_full(struct store *s, struct node *node, bool is_full)
{
        if (node->is_disk_full == is_full)
                return;
        node->is_disk_full = is_full;
        tell(s, node, CHANGE_UPDATED);
}

void store_set_node_spec(struct store *s, struct node *node, enum node_availability availability,
                         enum node_role role, const Swarm__KeyValue *const *labels, size_t n_labels,
                         int64_t wall_ms)
{
        node->availability = availability;
        node->role = role;
        node_set_labels(node, labels, n_labels);
        changed(s, node, wall_ms);
}

void store_set_node_manager(struct store *s, struct node *node, uint64_t id, const char *address,
                            int64_t wall_ms)
{
        char *copy = str_is_empty(address) ? NULL : xstrdup(address);

        free(node->manager_address);
        node->manager_address = copy;
        node->manager_id = id;
        changed(s, node, wall_ms);
}

static bool is_of_global(const struct task *task)
{
        return task->slot == 0;
}

void store_remove_node(struct store *s, struct node *node, int64_t wall_ms)
{
        _cleanup_free_ char *why = xasprintf("node %s was removed", node_hostname(node));
        struct task *task, *next;

        LIST_FOREACH_SAFE (task, next, &node->tasks, node_link) {
                if (is_of_global(task))
                        store_remove_task(s, task);
                else
                        task_leave_node(s, task, wall_ms, why);
        }
        assert(list_is_empty(&node->tasks));
        node_unlink(s, node);
        mark_removed(s, ROW_NODES, node);
        tell(s, node, CHANGE_REMOVED);
}
