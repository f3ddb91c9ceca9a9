/*
 * The clients' histories, and whether one register each could have made them: a check from the
 * outside, which knows nothing of logs. Every write has a value of its own, so a register's history
 * is linearizable if and only if the zones of its values can be told apart (Gibbons and Korach,
 * Testing Shared Memories, 1997): the operations on a value, its write and all reads of it, must
 * lie together. From the first end to the last beginning of them the register surely held it
 * (`held`, no two of which may overlap); where all of them overlap, there must be a moment for it
 * outside of what another value surely held.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/raft-sim/sim.h"

struct past {
        uint64_t value, key, began,
                ended; /* ended: UINT64_MAX, not known whether it ever was done */
        bool is_read;
};

struct zone {
        uint64_t value, began, ended; /* of the write */
        uint64_t first_end, last_begin;
        bool is_written, is_read;
};

struct held {
        uint64_t from, to, value;
};

uint64_t history_tick(struct world *w)
{
        return ++w->ticks;
}

/* A read that was not answered says nothing, nor does a write that was refused. */
void history_note(struct world *w, const struct op *op, uint64_t value, bool is_answered)
{
        if (op->is_read && !is_answered)
                return;
        if (w->n_past == w->cap_past) {
                w->cap_past = w->cap_past ? w->cap_past * 2 : 256;
                w->past = xreallocarray(w->past, w->cap_past, sizeof(*w->past));
        }
        w->past[w->n_past++] = (struct past){.value = op->is_read ? value : op->id,
                                             .key = op->key,
                                             .began = op->began,
                                             .ended = is_answered ? history_tick(w) : UINT64_MAX,
                                             .is_read = op->is_read};
}

static void add_to_zone(struct zone *z, const struct past *p)
{
        z->first_end = MIN(z->first_end, p->ended);
        z->last_begin = MAX(z->last_begin, p->began);
        if (p->is_read) {
                z->is_read = true;
                return;
        }
        z->is_written = true;
        z->began = p->began;
        z->ended = p->ended;
}

/* By value; 0 was there before all. */
static struct zone *make_zones(struct world *w, uint64_t key)
{
        struct zone *zones = xnew_array(struct zone, w->next_op + 1);

        for (uint64_t v = 0; v <= w->next_op; v++)
                zones[v] = (struct zone){.value = v, .first_end = UINT64_MAX};
        zones[0].is_written = true;
        zones[0].first_end = 0;
        for (size_t i = 0; i < w->n_past; i++) {
                if (w->past[i].key == key)
                        add_to_zone(&zones[w->past[i].value], &w->past[i]);
        }
        for (size_t i = 0; i < w->n_past; i++) {
                const struct past *p = &w->past[i];

                if (p->key == key && p->is_read &&
                    (!zones[p->value].is_written || p->ended < zones[p->value].began))
                        fail(w, "history: %lu was read from key %lu, and not written before",
                             p->value, key);
        }
        return zones;
}

static int by_begin(const void *a, const void *b)
{
        const struct held *x = a, *y = b;

        return (x->from > y->from) - (x->from < y->from);
}

static void check_held(struct world *w, uint64_t key, struct held *held, size_t n)
{
        qsort(held, n, sizeof(*held), by_begin);
        for (size_t i = 1; i < n; i++) {
                if (held[i].from < held[i - 1].to)
                        fail(w, "history: key %lu held %lu and %lu at the same time", key,
                             held[i - 1].value, held[i].value);
        }
}

/* A value whose operations all overlap needs a moment between what was held. */
static void check_moment(struct world *w, uint64_t key, const struct zone *z,
                         const struct held *held, size_t n)
{
        size_t low = 0, high = n;

        while (low < high) { /* the last that is held from before it on */
                size_t mid = (low + high) / 2;

                if (held[mid].from < z->last_begin)
                        low = mid + 1;
                else
                        high = mid;
        }
        if (low > 0 && z->first_end < held[low - 1].to)
                fail(w, "history: key %lu was %lu while it held %lu", key, z->value,
                     held[low - 1].value);
}

static void check_key(struct world *w, uint64_t key)
{
        _cleanup_free_ struct zone *zones = make_zones(w, key);
        _cleanup_free_ struct held *held = xnew_array(struct held, w->next_op + 1);
        size_t n = 0;

        for (uint64_t v = 0; v <= w->next_op; v++) {
                const struct zone *z = &zones[v];

                if (z->is_written && z->first_end < z->last_begin)
                        held[n++] = (struct held){z->first_end, z->last_begin, v};
        }
        check_held(w, key, held, n);
        for (uint64_t v = 0; v <= w->next_op; v++) {
                const struct zone *z = &zones[v];

                /* A write of unknown end that nobody saw was perhaps never done. */
                if (z->is_written && z->first_end >= z->last_begin && z->first_end != UINT64_MAX)
                        check_moment(w, key, z, held, n);
        }
}

void history_check(struct world *w)
{
        for (size_t i = 0; i < w->n_clients; i++) {
                if (w->ops[i].is_open)
                        history_note(w, &w->ops[i], 0, false);
        }
        for (uint64_t key = 0; key < KEYS && !w->failure[0]; key++)
                check_key(w, key);
}
