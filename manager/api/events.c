/*
 * Events: the last EVENTS_KEPT in a ring, and streams of them. They are what people watch, not a
 * log to rely on: a manager that starts has none, and a client that is slower than the ring misses
 * the oldest.
 */
#include "manager/api/filter_internal.h"

#include <errno.h>

static struct event *event_at(struct api *a, uint64_t k)
{
        return &a->events[k % EVENTS_KEPT];
}

void events_done(struct api *a)
{
        for (size_t i = 0; i < EVENTS_KEPT; i++) {
                free(a->events[i].id);
                free(a->events[i].name);
                free(a->events[i].value);
        }
}

/* The event just before, when it says the same of the same object in this turn. */
static struct event *find_same(struct api *a, const struct event *e)
{
        struct event *last =
                a->event_count > a->events_before ? event_at(a, a->event_count - 1) : NULL;

        return last && last->type == e->type && last->action == e->action &&
                               str_is_equal(last->id, e->id) && str_is_equal(last->name, e->name)
                       ? last
                       : NULL;
}

void events_add(struct api *a, const struct event *e)
{
        struct event *slot = find_same(a, e);

        if (!slot)
                slot = event_at(a, a->event_count++);
        free(slot->id);
        free(slot->name);
        free(slot->value);
        *slot = *e;
        slot->time_ms = a->now.wall_ms;
        slot->id = xstrdup(e->id);
        slot->name = xstrdup(e->name);
        slot->value = xstrdup_or_null(e->value);
}

static bool event_matches(const Swarm__EventsRequest *m, const struct event *e)
{
        bool is_service = str_is_equal(e->type, "service"), is_node = str_is_equal(e->type, "node");
        bool has_service = e->key && str_is_equal(e->key, "service");
        const struct filter_value values[] = {
                {"type", e->type, false},
                {"event", e->action, false},
                {"service", is_service ? e->name : NULL, false},
                {"service", is_service ? e->id : NULL, true},
                {"service", has_service ? e->value : NULL, false},
                {"node", is_node ? e->name : NULL, false},
                {"node", is_node ? e->id : NULL, true},
        };
        const struct filter_object o = {values, ARRAY_SIZE(values), NULL, 0};

        return e->time_ms >= m->since_ms && (!m->until_ms || e->time_ms <= m->until_ms) &&
               filters_match(m->filters, m->n_filters, &o);
}

static void send_event(const struct stream *s, const struct event *e, struct list *effects)
{
        Swarm__Response r = SWARM__RESPONSE__INIT;
        Swarm__Event m = SWARM__EVENT__INIT;
        Swarm__KeyValue attribute = SWARM__KEY_VALUE__INIT, *attributes = &attribute;

        m.time_ms = e->time_ms;
        m.type = (char *)(uintptr_t)e->type;
        m.action = (char *)(uintptr_t)e->action;
        m.id = e->id;
        m.name = e->name;
        if (e->key && !str_is_empty(e->value)) {
                attribute.key = (char *)(uintptr_t)e->key;
                attribute.value = e->value;
                m.attributes = &attributes;
                m.n_attributes = 1;
        }
        r.number = s->number;
        r.more = true;
        r.kind_case = SWARM__RESPONSE__KIND_EVENT;
        r.event = &m;
        effect_client(effects, s->connection, &r);
}

int on_events(struct call *c)
{
        const Swarm__EventsRequest *m = c->q->events;
        struct stream *s;
        int r = filters_check(m->filters, m->n_filters, filter_event_keys, &c->err);

        if (r == 0 && m->until_ms && m->until_ms < m->since_ms)
                r = err_set(&c->err, EINVAL, "events: until is before since");
        if (r == 0)
                r = stream_open(c, STREAM_EVENTS, &s);
        if (r < 0)
                return r;
        s->filter = wire_dup(m);
        s->event_from = m->since_ms || m->until_ms ? 0 : c->a->event_count;
        return 0;
}

void events_send(struct api *a, struct stream *s, struct list *effects)
{
        if (a->event_count > EVENTS_KEPT)
                s->event_from = MAX(s->event_from, a->event_count - EVENTS_KEPT);
        for (; s->event_from < a->event_count; s->event_from++)
                if (event_matches(s->filter, event_at(a, s->event_from)))
                        send_event(s, event_at(a, s->event_from), effects);
        if (s->filter->until_ms && a->now.wall_ms >= s->filter->until_ms)
                stream_end(a, s, 0, protobuf_c_empty_string, effects);
}
