/*
 * The orchestrator's index: slots of a service by number (chunks that never move) or by node (a
 * map), tasks of a slot in order of creation (mostly one: no allocation), and the heap of timers.
 * All updates are O(log n) or better in the number of slots.
 */
#include <assert.h>
#include <string.h>

#include "manager/orchestrator/orchestrator_internal.h"

struct orch_service *index_add_service(struct orchestrator *o, struct service *service)
{
        struct orch_service *os = xnew(struct orch_service);

        os->o = o;
        os->service = service;
        os->is_global = service->spec->msg->mode == MODE_GLOBAL;
        os->free_from = 1;
        os->by_node = MAP_INIT(struct global_slot, node_id, MAP_KEY_ID);
        list_init(&os->global_link);
        if (os->is_global)
                list_push_back(&o->globals, &os->global_link);
        service->orch = os;
        return os;
}

static void slot_done(struct slot *slot)
{
        timer_set(slot, TIME_NEVER);
        if (list_is_linked(&slot->link))
                list_remove(&slot->link);
        if (slot->cap)
                free(slot->tasks.many);
}

void index_remove_service(struct orch_service *os)
{
        struct slot *slot;
        size_t i = 0;

        while ((slot = index_next(os, &i)))
                slot_done(slot);
        for (i = 0; i < os->n_chunks; i++)
                free(os->chunks[i]);
        free(os->chunks);
        for (i = 0; i < os->by_node.cap; i++)
                free(os->by_node.slots[i]);
        map_done(&os->by_node);
        if (list_is_linked(&os->service->orch_link))
                list_remove(&os->service->orch_link);
        list_remove(&os->global_link);
        free(os->update.queue);
        os->service->orch = NULL;
        free(os);
}

static void slot_init(struct slot *slot, struct orch_service *os, uint32_t number)
{
        slot->os = os;
        slot->number = number;
        slot->due_ms = TIME_NEVER;
        list_init(&slot->link);
}

struct slot *index_slot(struct orch_service *os, uint32_t number)
{
        size_t chunk = (number - 1) / SLOT_CHUNK;

        assert(number > 0);
        if (chunk >= os->n_chunks) {
                os->chunks = xreallocarray(os->chunks, chunk + 1, sizeof(os->chunks[0]));
                while (os->n_chunks <= chunk) {
                        struct slot *c = xnew_array(struct slot, SLOT_CHUNK);

                        for (uint32_t i = 0; i < SLOT_CHUNK; i++)
                                slot_init(&c[i], os, (uint32_t)os->n_chunks * SLOT_CHUNK + i + 1);
                        os->chunks[os->n_chunks++] = c;
                }
        }
        return &os->chunks[chunk][(number - 1) % SLOT_CHUNK];
}

struct slot *index_global_slot(struct orch_service *os, struct node *node)
{
        struct global_slot *g = map_get_id(&os->by_node, node->id);

        if (!g) {
                g = xnew(struct global_slot);
                slot_init(&g->slot, os, 0);
                g->node_id = node->id;
                g->node = node;
                map_put(&os->by_node, g);
        }
        return &g->slot;
}

void index_drop_node(struct orch_service *os, struct node *node)
{
        struct global_slot *g = map_get_id(&os->by_node, node->id);

        if (!g)
                return;
        assert(g->slot.count == 0);
        update_forget(&g->slot);
        slot_done(&g->slot);
        map_remove(&os->by_node, g);
        free(g);
}

struct node *slot_node(const struct slot *slot)
{
        return CONTAINER_OF(slot, const struct global_slot, slot)->node;
}

struct slot *index_slot_of(const struct task *task)
{
        struct orch_service *os = task->service->orch;

        if (!os)
                return NULL;
        if (!os->is_global)
                return task->slot ? index_slot(os, task->slot) : NULL;
        return task->node ? index_global_slot(os, task->node) : NULL;
}

struct slot *index_next(struct orch_service *os, size_t *i)
{
        if (os->is_global) {
                struct global_slot *g = map_next(&os->by_node, i);

                return g ? &g->slot : NULL;
        }
        if (*i >= os->n_chunks * SLOT_CHUNK)
                return NULL;
        struct slot *slot = &os->chunks[*i / SLOT_CHUNK][*i % SLOT_CHUNK];
        (*i)++;
        return slot;
}

void index_add_task(struct slot *slot, struct task *task)
{
        if (slot->count == 0 && slot->cap == 0) {
                slot->tasks.one = task;
        } else {
                if (slot->count >= slot->cap) {
                        uint16_t cap = (uint16_t)(slot->cap ? slot->cap * 2 : 4);
                        struct task *first = slot->cap ? NULL : slot->tasks.one;
                        struct task **many = xreallocarray(slot->cap ? slot->tasks.many : NULL, cap,
                                                           sizeof(many[0]));

                        assert(cap > slot->cap);
                        if (first)
                                many[0] = first;
                        slot->tasks.many = many;
                        slot->cap = cap;
                }
                slot->tasks.many[slot->count] = task;
        }
        slot->count++;
        index_review(slot);
}

void index_remove_task(struct slot *slot, struct task *task)
{
        uint16_t i = 0;

        while (i < slot->count && slot_task(slot, i) != task)
                i++;
        if (i == slot->count)
                return;
        slot->count--;
        if (slot->cap) {
                struct task **many = slot->tasks.many;

                memmove(many + i, many + i + 1, (size_t)(slot->count - i) * sizeof(many[0]));
                if (slot->count <= 1) {
                        slot->tasks.one = slot->count ? many[0] : NULL;
                        slot->cap = 0;
                        free(many);
                }
        }
        index_review(slot);
}

struct task *slot_newest(const struct slot *slot)
{
        struct task *ended = NULL;

        for (size_t i = slot->count; i-- > 0;) {
                struct task *task = slot_task(slot, i);

                if (task_is_live(task))
                        return task;
                if (!ended && task->desired != TASK_REMOVE)
                        ended = task;
        }
        return ended;
}

struct task *slot_last(const struct slot *slot)
{
        for (size_t i = slot->count; i-- > 0;)
                if (slot_task(slot, i)->desired != TASK_REMOVE)
                        return slot_task(slot, i);
        return NULL;
}

void index_review(struct slot *slot)
{
        struct orch_service *os = slot->os;
        bool is_occupied = slot_newest(slot) != NULL;

        if (is_occupied == slot->is_occupied)
                return;
        slot->is_occupied = is_occupied;
        if (is_occupied)
                os->occupied++;
        else
                os->occupied--;
        if (!is_occupied && slot->number && slot->number < os->free_from)
                os->free_from = slot->number;
        service_mark(os);
}

/* --- timers: a binary heap
 * ----------------------------------------------------------------------*/

static void heap_put(struct orchestrator *o, size_t i, struct slot *slot)
{
        o->heap[i] = slot;
        slot->timer = (uint32_t)i + 1;
}

static void heap_up(struct orchestrator *o, size_t i)
{
        struct slot *slot = o->heap[i];

        for (; i > 0 && o->heap[(i - 1) / 2]->due_ms > slot->due_ms; i = (i - 1) / 2)
                heap_put(o, i, o->heap[(i - 1) / 2]);
        heap_put(o, i, slot);
}

static void heap_down(struct orchestrator *o, size_t i)
{
        struct slot *slot = o->heap[i];

        for (;;) {
                size_t child = 2 * i + 1;

                if (child >= o->heap_len)
                        break;
                if (child + 1 < o->heap_len && o->heap[child + 1]->due_ms < o->heap[child]->due_ms)
                        child++;
                if (o->heap[child]->due_ms >= slot->due_ms)
                        break;
                heap_put(o, i, o->heap[child]);
                i = child;
        }
        heap_put(o, i, slot);
}

static void heap_remove(struct orchestrator *o, struct slot *slot)
{
        size_t i = slot->timer - 1;
        struct slot *last = o->heap[--o->heap_len];

        slot->timer = 0;
        if (last == slot)
                return;
        heap_put(o, i, last);
        heap_up(o, i);
        heap_down(o, last->timer - 1);
}

void timer_set(struct slot *slot, int64_t due_ms)
{
        struct orchestrator *o = slot->os->o;

        if (slot->timer && slot->due_ms == due_ms)
                return;
        if (slot->timer)
                heap_remove(o, slot);
        slot->due_ms = due_ms;
        if (due_ms == TIME_NEVER)
                return;
        if (o->heap_len == o->heap_cap) {
                o->heap_cap = o->heap_cap ? o->heap_cap * 2 : 64;
                o->heap = xreallocarray(o->heap, o->heap_cap, sizeof(o->heap[0]));
        }
        heap_put(o, o->heap_len++, slot);
        heap_up(o, o->heap_len - 1);
}

struct slot *timer_take_due(struct orchestrator *o, int64_t mono_ms)
{
        if (o->heap_len == 0 || o->heap[0]->due_ms > mono_ms)
                return NULL;
        struct slot *slot = o->heap[0];
        timer_set(slot, TIME_NEVER);
        return slot;
}
