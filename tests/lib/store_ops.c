/* Random operations on a store: see store_ops.h. */
#include "tests/lib/store_ops.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "shared/base/base.h"
#include "shared/wire/wire.h"

static const enum task_state states[] = {
        TASK_NEW,     TASK_PENDING,  TASK_ASSIGNED, TASK_ACCEPTED, TASK_READY,    TASK_STARTING,
        TASK_RUNNING, TASK_COMPLETE, TASK_SHUTDOWN, TASK_FAILED,   TASK_REJECTED, TASK_ORPHANED};

static void *pick(struct rng *rng, const struct map *m)
{
        size_t i = 0;
        void *item = NULL;

        if (m->len == 0)
                return NULL;
        i = rng_below(rng, m->cap);
        item = map_next(m, &i);
        if (item)
                return item;
        i = 0;
        return map_next(m, &i);
}

static void op_service(struct store *s, struct rng *rng, int64_t now)
{
        struct service *service = pick(rng, store_services(s));
        Swarm__TaskSpec task = SWARM__TASK_SPEC__INIT;
        Swarm__ServiceSpec spec = SWARM__SERVICE_SPEC__INIT;
        char name[32];

        snprintf(name, sizeof(name), "s%u", (unsigned)rng_below(rng, 8));
        spec.name = name;
        spec.task = &task;
        spec.replicas = rng_below(rng, 1000);
        uint64_t which = rng_below(rng, 10);
        if (which < 4 || !service) {
                if (!store_find_service_by_name(s, name))
                        store_add_service(s, id_make(rng), &spec, now);
        } else if (which == 4) {
                spec.name = service->name;
                store_set_service_spec(s, service, &spec, now);
        } else if (which == 5 && service->previous_spec) {
                store_swap_service_spec(s, service, rng_below(rng, 2), now);
        } else if (which == 6) {
                store_set_update_status(s, service, UPDATE_PAUSED, now, 0, "paused");
        } else if (which == 7) {
                store_set_service_removing(s, service);
        } else if (which == 8 && list_is_empty(&service->tasks)) {
                store_remove_service(s, service);
        }
}

static void op_task(struct store *s, struct rng *rng, int64_t now)
{
        struct service *service = pick(rng, store_services(s));
        struct task *task = pick(rng, store_tasks(s));
        struct node *node = pick(rng, store_nodes(s));
        uint64_t which = rng_below(rng, 10);

        if (which < 3 && service) {
                struct task_init init = {.id = id_make(rng),
                                         .spec = service->spec,
                                         .slot = 1 + (uint32_t)rng_below(rng, 9),
                                         .node = which ? NULL : node,
                                         .desired = TASK_RUNNING,
                                         .attempts = 3,
                                         .of_update = true,
                                         .created_ms = now};
                store_add_task(s, service, &init);
        } else if (!task) {
                return;
        } else if (which < 6) {
                enum task_state state = states[rng_below(rng, ARRAY_SIZE(states))];
                if (state >= task->state)
                        store_set_task_state(s, task, state, now, "moved",
                                             rng_below(rng, 2) ? "error" : NULL, 1);
        } else if (which == 6) {
                store_set_task_desired(s, task, TASK_SHUTDOWN);
        } else if (which == 7 && !task->node && task->state <= TASK_PENDING && node) {
                Swarm__GenericResource gpu = SWARM__GENERIC_RESOURCE__INIT, *list = &gpu;
                Swarm__Resources generic = SWARM__RESOURCES__INIT;

                gpu.kind = (char *)"gpu";
                gpu.count = 1;
                generic.generic = &list;
                generic.n_generic = 1;
                Swarm__Resources *taken = wire_dup(&generic);
                store_assign_task(s, task, node, now, &taken);
                assert(!taken);
        } else if (which == 8) {
                store_set_task_message(s, task, "waits", "no suitable node");
        } else if (which == 9) {
                store_remove_task(s, task);
        }
}

static void op_node(struct store *s, struct rng *rng, int64_t now)
{
        struct node *node = pick(rng, store_nodes(s));
        uint64_t which = rng_below(rng, 8);

        if (which < 2 || !node) {
                uint8_t key[32];

                for (size_t i = 0; i < sizeof(key); i++)
                        key[i] = (uint8_t)rng_next(rng);
                node = store_add_node(s, id_make(rng), key, ROLE_WORKER, now);
                assert(store_find_node_by_key(s, key) == node);
                key[31] ^= 1;
                assert(!store_find_node_by_key(s, key));
        } else if (which == 2) {
                Swarm__NodeDescription d = SWARM__NODE_DESCRIPTION__INIT;

                d.hostname = (char *)"host";
                store_set_node_description(s, node, &d, now);
        } else if (which == 3) {
                store_set_node_state(s, node, NODE_READY, "up", now);
        } else if (which == 4) {
                store_set_node_state(s, node, NODE_DOWN, "silent", now);
        } else if (which == 5 && node->state == NODE_READY) {
                store_set_node_state(s, node, NODE_SUSPECT, "late", now);
        } else if (which == 6) {
                Swarm__KeyValue label = SWARM__KEY_VALUE__INIT;
                const Swarm__KeyValue *labels[] = {&label};

                label.key = (char *)"zone";
                label.value = (char *)"a";
                store_set_node_spec(s, node, AVAILABILITY_DRAIN, ROLE_MANAGER, labels, 1, now);
        } else {
                store_remove_node(s, node, now);
        }
}

static void op_image(struct store *s, struct rng *rng, int64_t now)
{
        struct image *image = pick(rng, store_images(s));
        Swarm__Image msg = SWARM__IMAGE__INIT;
        char id[32], name[32], *names[] = {name};
        uint64_t which = rng_below(rng, 5);

        snprintf(id, sizeof(id), "sha256:%u", (unsigned)rng_below(rng, 6));
        snprintf(name, sizeof(name), "app:%u", (unsigned)rng_below(rng, 4));
        msg.id = id;
        msg.names = names;
        msg.n_names = 1;
        msg.created_ms = now;
        if (which < 3) {
                image = store_put_image(s, &msg);
                assert(store_find_image_by_name(s, name) == image);
        } else if (image && which == 3) {
                store_remove_image_name(s, image, name);
                assert(store_find_image_by_name(s, name) != image);
        } else if (image) {
                store_remove_image(s, image);
        }
}

void store_operate(struct store *s, struct rng *rng, int64_t now)
{
        uint64_t which = rng_below(rng, 20);

        if (which < 4) {
                op_service(s, rng, now);
        } else if (which < 15) {
                op_task(s, rng, now);
        } else if (which < 17) {
                op_node(s, rng, now);
        } else if (which < 19) {
                op_image(s, rng, now);
        } else {
                Swarm__Cluster *cluster = wire_dup(store_cluster(s)->msg);

                cluster->version++;
                store_put_cluster(s, &cluster);
                assert(!cluster);
        }
}
