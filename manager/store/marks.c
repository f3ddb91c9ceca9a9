/*
 * What is common to all kinds of objects in the store: the marks that tell where an object stands
 * on its way to the log and to the tables, indexes, and shared texts.
 */
#include <assert.h>
#include <string.h>

#include "manager/store/store_internal.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/wire/wire.h"

#define OBJECT_BYTES 128 /* ids, times and the like of one, in an entry */

struct marks object_marks(struct store *s, enum row_table kind, void *object)
{
        switch (kind) {
        case ROW_CLUSTER: return (struct marks){&s->cluster.dirty, 1};
        case ROW_NODES: {
                struct node *node = object;
                return (struct marks){&node->dirty, node->row};
        }
        case ROW_SERVICES: {
                struct service *service = object;
                return (struct marks){&service->dirty, service->row};
        }
        case ROW_SPECS: {
                struct spec *spec = object;
                return (struct marks){&spec->dirty, spec->row};
        }
        case ROW_TASKS: {
                struct task *task = object;
                return (struct marks){&task->dirty, task->row};
        }
        case ROW_IMAGES: {
                struct image *image = object;
                return (struct marks){&image->dirty, image->row};
        }
        }
        abort();
}

void vec_push(struct vec *v, void *item)
{
        if (v->len == v->cap) {
                v->cap = v->cap ? v->cap * 2 : 64;
                v->items = xreallocarray(v->items, v->cap, sizeof(*v->items));
        }
        v->items[v->len++] = item;
}

/* About how many bytes it takes in an entry, as it is now. */
static size_t object_bytes(enum row_table kind, const void *object)
{
        switch (kind) {
        case ROW_CLUSTER:
                return protobuf_c_message_get_packed_size(
                        &((const struct cluster *)object)->msg->base);
        case ROW_NODES: {
                const struct node *node = object;
                size_t n = protobuf_c_message_get_packed_size(&node->labels->base);

                if (node->description)
                        n += protobuf_c_message_get_packed_size(&node->description->base);
                return OBJECT_BYTES + n;
        }
        case ROW_SERVICES: return OBJECT_BYTES;
        case ROW_SPECS: return OBJECT_BYTES + ((const struct spec *)object)->packed_len;
        case ROW_TASKS: {
                const struct task *task = object;
                size_t n = strlen(task->message ? task->message : "") +
                           strlen(task->error ? task->error : "");

                if (task->generic)
                        n += protobuf_c_message_get_packed_size(&task->generic->base);
                return OBJECT_BYTES + n;
        }
        case ROW_IMAGES:
                return protobuf_c_message_get_packed_size(
                        &((const struct image *)object)->msg->base);
        }
        abort();
}

static void note(struct store *s, enum row_table kind, void *object)
{
        uint8_t *dirty = object_marks(s, kind, object).dirty;

        assert(!(*dirty & DIRTY_GONE));
        if (*dirty & DIRTY_CHANGED)
                return;
        *dirty |= DIRTY_CHANGED;
        vec_push(&s->changed[kind], object);
        s->change_count++;
}

void mark_changed(struct store *s, enum row_table kind, void *object)
{
        note(s, kind, object);
        s->change_bytes += object_bytes(kind, object);
}

void mark_created(struct store *s, enum row_table kind, void *object)
{
        mark_changed(s, kind, object);
        *object_marks(s, kind, object).dirty |= DIRTY_NEW;
}

void mark_removed(struct store *s, enum row_table kind, void *object)
{
        uint8_t *dirty = object_marks(s, kind, object).dirty;

        note(s, kind, object);
        *dirty |= DIRTY_GONE;
        if (*dirty & DIRTY_NEW)
                s->change_count--;
}

void object_drop(struct store *s, enum row_table kind, void *object)
{
        struct marks m = object_marks(s, kind, object);
        /* The row of a task that waits to be written is deleted in its stead, so before a node to
         * which the row still refers. */
        bool is_instead = kind == ROW_TASKS && (*m.dirty & DIRTY_QUEUED);

        if ((*m.dirty & DIRTY_STORED) && !is_instead) {
                row_queue_delete(s, kind, m.row);
                *m.dirty &= (uint8_t)~DIRTY_STORED;
        }
        *m.dirty |= DIRTY_GONE;
        *m.dirty &= (uint8_t)~DIRTY_BEHIND;
        if (!(*m.dirty & DIRTY_QUEUED))
                object_free(s, kind, object);
}

static void free_task(struct store *s, struct task *task)
{
        text_put(s, task->message);
        text_put(s, task->error);
        wire_free(task->generic);
        free(task->unknown);
        free(task);
}

static void free_node(struct node *node)
{
        free(node->message);
        free(node->manager_address);
        wire_free(node->labels);
        wire_free(node->description);
        free(node->unknown);
        free(node);
}

void object_free(struct store *s, enum row_table kind, void *object)
{
        if (kind == ROW_TASKS) {
                free_task(s, object);
        } else if (kind == ROW_NODES) {
                free_node(object);
        } else if (kind == ROW_SERVICES) {
                struct service *service = object;

                free(service->name);
                free(service->update.message);
                free(service->update.unknown);
                free(service->unknown);
                free(service);
        } else if (kind == ROW_SPECS) {
                struct spec *spec = object;

                protobuf_c_message_free_unpacked((ProtobufCMessage *)(uintptr_t)spec->msg, NULL);
                free(spec->packed);
                free(spec->unknown);
                free(spec);
        } else if (kind == ROW_IMAGES) {
                struct image *image = object;

                free(image->id);
                wire_free(image->msg);
                free(image);
        }
}

static void *find_equal(const struct map *m, const void *item)
{
        const void *key = (const char *)item + m->key_offset;

        if (m->kind == MAP_KEY_ID)
                return map_get_id(m, *(const struct id *)key);
        return map_get_str(m, *(char *const *)key);
}

void index_put(struct map *m, void *item)
{
        void *other = find_equal(m, item);

        if (other == item)
                return;
        if (other)
                map_remove(m, other);
        map_put(m, item);
}

void index_remove(struct map *m, void *item, void *holder)
{
        if (holder == item)
                map_remove(m, item);
}

char *text_get(struct store *s, const char *s_or_null)
{
        if (str_is_empty(s_or_null))
                return NULL;
        struct text *text = map_get_str(&s->texts, s_or_null);
        if (!text) {
                size_t n = strlen(s_or_null) + 1;

                text = xmalloc(sizeof(*text) + n);
                memcpy(text->bytes, s_or_null, n);
                text->s = text->bytes;
                text->refs = 0;
                map_put(&s->texts, text);
        }
        text->refs++;
        return text->s;
}

void text_put(struct store *s, char *text)
{
        if (!text)
                return;
        struct text *t = CONTAINER_OF(text, struct text, bytes);
        if (--t->refs > 0)
                return;
        map_remove(&s->texts, t);
        free(t);
}
