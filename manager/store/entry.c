/*
 * Entries: what a turn changed, as bytes, and back. The outer layers (Entry, Change) are written
 * and read by hand around the packed objects, so that neither side ever holds a whole entry as
 * messages.
 *
 * Order within an entry: removals, then puts, each before what refers to it, and at last the specs
 * that lost their last user.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "manager/store/store_internal.h"
#include "proto/cluster.pb-c.h"
#include "shared/base/mem.h"
#include "shared/wire/wire.h"

#define TAG(field, wire_type) ((uint8_t)((field) << 3 | (wire_type)))
#define WIRE_VARINT           0
#define WIRE_BYTES            2
#define ENTRY_CHANGES         1
#define ENTRY_WALL_MS         2

static size_t varint_len(uint64_t v)
{
        size_t n = 1;

        for (; v > 127; v >>= 7)
                n++;
        return n;
}

/* There must be room. */
static void put_varint(struct buf *b, uint64_t v)
{
        for (; v > 127; v >>= 7)
                b->data[b->len++] = (uint8_t)(v | 128);
        b->data[b->len++] = (uint8_t)v;
}

static void open_change(struct buf *b, Swarm__Change__KindCase kind, size_t body)
{
        buf_reserve(b, body + 24);
        b->data[b->len++] = TAG(ENTRY_CHANGES, WIRE_BYTES);
        put_varint(b, 1 + varint_len(body) + body);
        b->data[b->len++] = TAG((unsigned)kind, WIRE_BYTES);
        put_varint(b, body);
}

static void put_message(struct buf *b, Swarm__Change__KindCase kind, const ProtobufCMessage *m)
{
        size_t n = protobuf_c_message_get_packed_size(m);

        open_change(b, kind, n);
        b->len += protobuf_c_message_pack(m, b->data + b->len);
}

static void put_id(struct buf *b, Swarm__Change__KindCase kind, struct id id)
{
        open_change(b, kind, ID_BYTES);
        id_encode(id, b->data + b->len);
        b->len += ID_BYTES;
}

static void put_removal(struct buf *b, enum row_table kind, void *object)
{
        if (kind == ROW_TASKS) {
                put_id(b, SWARM__CHANGE__KIND_DELETE_TASK, ((struct task *)object)->id);
        } else if (kind == ROW_SERVICES) {
                put_id(b, SWARM__CHANGE__KIND_DELETE_SERVICE, ((struct service *)object)->id);
        } else if (kind == ROW_NODES) {
                put_id(b, SWARM__CHANGE__KIND_DELETE_NODE, ((struct node *)object)->id);
        } else if (kind == ROW_SPECS) {
                struct spec *spec = object;
                Swarm__SpecVersion m = SWARM__SPEC_VERSION__INIT;
                uint8_t id[ID_BYTES];

                m.service_id = wire_id(spec->service_id, id);
                m.spec_version = spec->version;
                put_message(b, SWARM__CHANGE__KIND_DELETE_SPEC, &m.base);
        } else if (kind == ROW_IMAGES) {
                const char *id = ((struct image *)object)->id;
                size_t n = strlen(id);

                open_change(b, SWARM__CHANGE__KIND_DELETE_IMAGE, n);
                buf_append(b, id, n);
        }
}

static void put_all_removals(struct store *s, enum row_table kind, struct buf *ret)
{
        const struct vec *v = &s->changed[kind];

        for (size_t i = 0; i < v->len; i++) {
                uint8_t dirty = *object_marks(s, kind, v->items[i]).dirty;

                if ((dirty & DIRTY_GONE) && !(dirty & DIRTY_NEW))
                        put_removal(ret, kind, v->items[i]);
        }
}

static void put_all_objects(struct store *s, enum row_table kind, struct buf *ret)
{
        static const Swarm__Change__KindCase puts[KINDS] = {
                [ROW_CLUSTER] = SWARM__CHANGE__KIND_PUT_CLUSTER,
                [ROW_NODES] = SWARM__CHANGE__KIND_PUT_NODE,
                [ROW_SERVICES] = SWARM__CHANGE__KIND_PUT_SERVICE,
                [ROW_SPECS] = SWARM__CHANGE__KIND_PUT_SPEC,
                [ROW_TASKS] = SWARM__CHANGE__KIND_PUT_TASK,
                [ROW_IMAGES] = SWARM__CHANGE__KIND_PUT_IMAGE,
        };
        const struct vec *v = &s->changed[kind];
        struct object_msg m;

        for (size_t i = 0; i < v->len; i++)
                if (!(*object_marks(s, kind, v->items[i]).dirty & DIRTY_GONE))
                        put_message(ret, puts[kind], object_encode(s, kind, v->items[i], &m));
}

/* The marks move on: what was removed is dropped, the rest has a row to write. */
static void begin_list(struct store *s)
{
        for (enum row_table kind = 0; kind < KINDS; kind++) {
                struct vec *v = &s->changed[kind];

                for (size_t i = 0; i < v->len; i++) {
                        uint8_t *dirty = object_marks(s, kind, v->items[i]).dirty;

                        *dirty &= (uint8_t) ~(DIRTY_CHANGED | DIRTY_NEW);
                        if (*dirty & DIRTY_GONE)
                                object_drop(s, kind, v->items[i]);
                        else
                                row_queue_put(s, kind, v->items[i]);
                }
                v->len = 0;
        }
        s->change_count = 0;
        s->change_bytes = 0;
}

size_t store_take_changes(struct store *s, int64_t wall_ms, struct buf *ret)
{
        static const enum row_table removals[] = {ROW_TASKS, ROW_SERVICES, ROW_NODES, ROW_IMAGES};
        static const enum row_table puts[] = {ROW_CLUSTER,  ROW_NODES, ROW_SPECS,
                                              ROW_SERVICES, ROW_TASKS, ROW_IMAGES};
        size_t count = s->change_count;

        if (count > 0) {
                for (size_t i = 0; i < ARRAY_SIZE(removals); i++)
                        put_all_removals(s, removals[i], ret);
                for (size_t i = 0; i < ARRAY_SIZE(puts); i++)
                        put_all_objects(s, puts[i], ret);
                put_all_removals(s, ROW_SPECS, ret);
                buf_reserve(ret, 16);
                ret->data[ret->len++] = TAG(ENTRY_WALL_MS, WIRE_VARINT);
                put_varint(ret, (uint64_t)wall_ms);
                ret->data[ret->len] = 0;
        }
        begin_list(s);
        return count;
}

/* --- back ---------------------------------------------------------------------------------------
 */
static int missing(const struct store *s)
{
        return s->is_recovering ? 0 : -EBADMSG;
}

static int delete_task(struct store *s, struct id id)
{
        struct task *task = store_find_task(s, id);

        if (!task)
                return missing(s);
        task_unlink(s, task);
        task->spec->refs--;
        object_drop(s, ROW_TASKS, task);
        return 0;
}

static int delete_service(struct store *s, struct id id)
{
        struct service *service = store_find_service(s, id);

        if (!service)
                return missing(s);
        if (!list_is_empty(&service->tasks))
                return -EBADMSG;
        service_unlink(s, service);
        service->spec->refs--;
        if (service->previous_spec)
                service->previous_spec->refs--;
        object_drop(s, ROW_SERVICES, service);
        return 0;
}

static int delete_node(struct store *s, struct id id)
{
        struct node *node = store_find_node(s, id);

        if (!node)
                return missing(s);
        while (!list_is_empty(&node->tasks)) /* the same entry says so of each */
                task_move(LIST_ITEM(node->tasks.next, struct task, node_link), NULL);
        node_unlink(s, node);
        object_drop(s, ROW_NODES, node);
        return 0;
}

static int delete_spec(struct store *s, const Swarm__SpecVersion *msg)
{
        struct id service_id;

        if (wire_get_id(&msg->service_id, &service_id) < 0)
                return -EBADMSG;
        struct spec *spec = spec_find(s, service_id, msg->spec_version);
        if (!spec || spec->refs > 0)
                return missing(s);
        map_remove(&s->specs, spec);
        object_drop(s, ROW_SPECS, spec);
        return 0;
}

static int delete_image(struct store *s, const char *id)
{
        struct image *image = store_find_image(s, id);

        if (!image)
                return missing(s);
        image_unlink(s, image);
        image_tell(s, image, CHANGE_REMOVED, NULL);
        object_drop(s, ROW_IMAGES, image);
        return 0;
}

static int delete_by_id(struct store *s, const ProtobufCBinaryData *bytes,
                        int (*delete)(struct store *s, struct id id))
{
        struct id id;

        return wire_get_id(bytes, &id) < 0 ? -EBADMSG : delete (s, id);
}

static int apply_change(struct store *s, const Swarm__Change *c)
{
        switch (c->kind_case) {
        case SWARM__CHANGE__KIND_PUT_CLUSTER: return load_cluster(s, c->put_cluster, 0);
        case SWARM__CHANGE__KIND_PUT_NODE: return load_node(s, c->put_node, 0);
        case SWARM__CHANGE__KIND_PUT_SERVICE: return load_service(s, c->put_service, 0);
        case SWARM__CHANGE__KIND_PUT_SPEC: return load_spec(s, c->put_spec, 0);
        case SWARM__CHANGE__KIND_PUT_TASK: return load_task(s, c->put_task, 0);
        case SWARM__CHANGE__KIND_PUT_IMAGE: return load_image(s, c->put_image, 0);
        case SWARM__CHANGE__KIND_DELETE_NODE: return delete_by_id(s, &c->delete_node, delete_node);
        case SWARM__CHANGE__KIND_DELETE_SERVICE:
                return delete_by_id(s, &c->delete_service, delete_service);
        case SWARM__CHANGE__KIND_DELETE_SPEC: return delete_spec(s, c->delete_spec);
        case SWARM__CHANGE__KIND_DELETE_TASK: return delete_by_id(s, &c->delete_task, delete_task);
        case SWARM__CHANGE__KIND_DELETE_IMAGE: return delete_image(s, c->delete_image);
        default: return -EPROTO; /* of a newer version: it cannot be passed over */
        }
}

static int get_varint(const uint8_t **p, const uint8_t *end, uint64_t *ret)
{
        uint64_t v = 0;

        for (unsigned shift = 0; shift < 64; shift += 7) {
                if (*p == end)
                        return -EBADMSG;
                uint8_t byte = *(*p)++;
                v |= (uint64_t)(byte & 127) << shift;
                if (!(byte & 128)) {
                        *ret = v;
                        return 0;
                }
        }
        return -EBADMSG;
}

int store_apply_entry(struct store *s, const uint8_t *p, size_t n)
{
        _cleanup_arena_ struct wire_arena arena = {0};
        const uint8_t *end = p + n;
        uint64_t tag, value;

        assert(s->change_count == 0);
        while (p < end) {
                if (get_varint(&p, end, &tag) < 0 || get_varint(&p, end, &value) < 0)
                        return -EBADMSG;
                if (tag == TAG(ENTRY_WALL_MS, WIRE_VARINT))
                        continue;
                if (tag >> 3 > ENTRY_WALL_MS)
                        return -EPROTO;
                if (tag != TAG(ENTRY_CHANGES, WIRE_BYTES) || value > (size_t)(end - p))
                        return -EBADMSG;
                wire_arena_reset(&arena);
                const Swarm__Change *change =
                        wire_unpack(&arena, &swarm__change__descriptor, p, (size_t)value);
                if (!change)
                        return -EBADMSG;
                int r = apply_change(s, change);
                if (r < 0)
                        return r;
                p += value;
        }
        return 0;
}

void store_set_recovering(struct store *s, bool is_recovering)
{
        struct vec unused = {0};
        struct spec *spec;
        size_t i;

        s->is_recovering = is_recovering;
        if (is_recovering)
                return;
        MAP_FOREACH (spec, i, &s->specs)
                if (spec->refs == 0)
                        vec_push(&unused, spec);
        for (i = 0; i < unused.len; i++) {
                map_remove(&s->specs, unused.items[i]);
                object_drop(s, ROW_SPECS, unused.items[i]);
        }
        free(unused.items);
}
