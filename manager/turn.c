/*
 * turn: the table of contents of the manager. Inputs wait in a queue until turn_run hears them in
 * order; then the stages run once, each over the same store:
 *
 *   api          what clients ask for        -> services, nodes, images, settings
 *   dispatcher   what agents say             -> nodes, states of tasks
 *   orchestrator which tasks there should be -> tasks
 *   scheduler    where they run              -> assigned tasks
 *   api          what streams are told       -> effects
 *   dispatcher   what agents are told        -> effects
 *
 * A turn is bounded: once its changes weigh TURN_CHANGES_MAX, inputs wait and stages stop, and
 * turn_run asks to be run again at once: so an entry of the log has at most about 3 MB, and what
 * one input adds to that. Likewise inputs wait when the answers are too many bytes,
 * lines of logs when those are, and what agents are told (one node's share at a time). Nothing here
 * can fail.
 */
#include "manager/turn.h"

#include <errno.h>
#include <string.h>

#include "manager/api/api.h"
#include "manager/dispatcher/dispatcher.h"
#include "manager/logs/logs.h"
#include "manager/orchestrator/orchestrator.h"
#include "manager/scheduler/scheduler.h"
#include "shared/base/mem.h"
#include "shared/wire/wire.h"

enum input_kind { INPUT_CLIENT, INPUT_AGENT, INPUT_CLIENT_GONE, INPUT_AGENT_LOST, INPUT_HEARD };

struct input {
        struct list link;
        enum input_kind kind;
        struct peer from;
        uint8_t key[32];
        int64_t heard_ms; /* INPUT_HEARD */
        bool is_gone;     /* likewise */
        size_t len;
        uint8_t bytes[];
};

struct turn {
        struct store *store;
        struct rng rng;
        struct list inputs; /* struct input, in order of arrival */
        size_t input_count, input_bytes;
        size_t stranger_count, stranger_bytes; /* of these, from keys that are no node's */
        struct wire_arena arena;               /* of the message that is looked at */
        struct breath breath;

        struct logs *logs;
        struct api *api;
        struct dispatcher *dispatcher;
        struct orchestrator *orchestrator;
        struct scheduler *scheduler;
};

static bool is_stranger(const struct input *in)
{
        return in->kind == INPUT_AGENT && id_is_zero(in->from.node);
}

struct turn *turn_new(struct store *store, const struct turn_config *config, struct now now)
{
        struct turn *t = xnew(struct turn);

        t->store = store;
        t->rng.state = config->seed;
        t->breath = config->breath;
        list_init(&t->inputs);
        t->logs = logs_new();
        t->api = api_new(store, t->logs, config, now);
        t->dispatcher = dispatcher_new(store, t->logs, config, now);
        breathe(&t->breath);
        t->orchestrator = orchestrator_new(store, now);
        breathe(&t->breath);
        t->scheduler = scheduler_new(store, &t->breath, now);
        return t;
}

static void drop_input(struct turn *t, struct input *in)
{
        list_remove(&in->link);
        t->input_count--;
        t->input_bytes -= in->len;
        if (is_stranger(in)) {
                t->stranger_count--;
                t->stranger_bytes -= in->len;
        }
        free(in);
}

void turn_free(struct turn *t)
{
        if (!t)
                return;
        while (!list_is_empty(&t->inputs))
                drop_input(t, LIST_ITEM(t->inputs.next, struct input, link));
        scheduler_free(t->scheduler);
        orchestrator_free(t->orchestrator);
        dispatcher_free(t->dispatcher);
        api_free(t->api);
        logs_free(t->logs);
        wire_arena_done(&t->arena);
        free(t);
}

/* --- inputs -------------------------------------------------------------------------------------
 */
static struct input *queue(struct turn *t, enum input_kind kind, struct peer from, const uint8_t *p,
                           size_t n)
{
        struct input *in = xcalloc(1, sizeof(*in) + n);

        in->kind = kind;
        in->from = from;
        in->len = n;
        if (n)
                memcpy(in->bytes, p, n);
        list_push_back(&t->inputs, &in->link);
        t->input_count++;
        t->input_bytes += n;
        if (is_stranger(in)) {
                t->stranger_count++;
                t->stranger_bytes += n;
        }
        return in;
}

/* Room in the queue, and bytes that are a message? They are kept packed: it is a tenth in size. */
static int check_input(struct turn *t, const ProtobufCMessageDescriptor *d, const uint8_t *p,
                       size_t n)
{
        if (n > MESSAGE_BYTES_MAX)
                return -EBADMSG;
        if (t->input_count >= TURN_INPUTS_MAX || t->input_bytes + n > TURN_INPUT_BYTES_MAX)
                return -EAGAIN;
        bool is_message = wire_unpack(&t->arena, d, p, n) != NULL;
        wire_arena_reset(&t->arena);
        return is_message ? 0 : -EBADMSG;
}

/* Whoever knows the cluster's public key may knock: that takes a small part of the queue, and is
 * looked at no closer when that is full. */
static int check_stranger(const struct turn *t, size_t n)
{
        if (n > TURN_STRANGER_BYTES)
                return -EBADMSG;
        return t->stranger_count >= TURN_STRANGERS_MAX ||
                               t->stranger_bytes + n > 64 * (size_t)TURN_STRANGER_BYTES
                       ? -EAGAIN
                       : 0;
}

int turn_input_client(struct turn *t, struct peer from, const uint8_t *p, size_t n)
{
        int r = check_input(t, &swarm__request__descriptor, p, n);

        if (r == 0)
                queue(t, INPUT_CLIENT, from, p, n);
        return r;
}

int turn_input_agent(struct turn *t, struct peer from, const uint8_t key[32], const uint8_t *p,
                     size_t n)
{
        int r = id_is_zero(from.node) ? check_stranger(t, n) : 0;

        if (r == 0)
                r = check_input(t, &swarm__agent_message__descriptor, p, n);
        if (r == 0)
                memcpy(queue(t, INPUT_AGENT, from, p, n)->key, key, 32);
        return r;
}

void turn_input_client_gone(struct turn *t, uint64_t connection)
{
        queue(t, INPUT_CLIENT_GONE, (struct peer){.connection = connection}, NULL, 0);
}

void turn_input_agent_lost(struct turn *t, struct id node)
{
        queue(t, INPUT_AGENT_LOST, (struct peer){.node = node}, NULL, 0);
}

void turn_input_heard(struct turn *t, struct id node, int64_t heard_ms, bool is_gone)
{
        struct input *in = queue(t, INPUT_HEARD, (struct peer){.node = node}, NULL, 0);

        in->heard_ms = heard_ms;
        in->is_gone = is_gone;
}

void turn_managers_changed(struct turn *t)
{
        dispatcher_managers_changed(t->dispatcher);
}

bool turn_has_inputs(const struct turn *t)
{
        return !list_is_empty(&t->inputs);
}

static void hear(struct turn *t, struct now now, const struct input *in, struct list *effects)
{
        const void *m;

        switch (in->kind) {
        case INPUT_CLIENT:
                m = wire_unpack(&t->arena, &swarm__request__descriptor, in->bytes, in->len);
                if (m)
                        api_on_request(t->api, in->from, m, &t->rng, effects);
                break;
        case INPUT_AGENT:
                m = wire_unpack(&t->arena, &swarm__agent_message__descriptor, in->bytes, in->len);
                if (m)
                        dispatcher_on_message(t->dispatcher, now, in->from, in->key, m, &t->rng,
                                              effects);
                break;
        case INPUT_CLIENT_GONE: api_on_client_gone(t->api, in->from.connection); break;
        case INPUT_AGENT_LOST: dispatcher_on_lost(t->dispatcher, in->from.node); break;
        case INPUT_HEARD:
                dispatcher_on_heard(t->dispatcher, now, in->from.node, in->heard_ms, in->is_gone);
                break;
        }
        wire_arena_reset(&t->arena);
}

static void hear_all(struct turn *t, struct now now, struct list *effects)
{
        struct list *counted = effects->prev;
        size_t bytes = 0;

        while (!list_is_empty(&t->inputs) && store_change_weight(t->store) < TURN_CHANGES_MAX &&
               bytes < TURN_EFFECT_BYTES_MAX) {
                struct input *in = LIST_ITEM(t->inputs.next, struct input, link);

                breathe(&t->breath);
                hear(t, now, in, effects);
                drop_input(t, in);
                for (; counted->next != effects; counted = counted->next)
                        bytes += LIST_ITEM(counted->next, struct effect, link)->bytes.len;
        }
}

/* --- the turn -----------------------------------------------------------------------------------
 */
int64_t turn_run(struct turn *t, struct now now, struct list *ret_effects)
{
        int64_t due = TIME_NEVER;

        api_begin(t->api, now);
        hear_all(t, now, ret_effects);
        if (turn_has_inputs(t)) /* nobody is silent whose message still waits here */
                due = now.mono_ms;
        else
                due = MIN(due, dispatcher_check(t->dispatcher, now, TURN_CHANGES_MAX));
        breathe(&t->breath);
        due = MIN(due, orchestrator_run(t->orchestrator, now, &t->rng, TURN_CHANGES_MAX));
        breathe(&t->breath);
        due = MIN(due, scheduler_run(t->scheduler, now, TURN_CHANGES_MAX));
        breathe(&t->breath);

        api_set_warning(t->api, dispatcher_warning(t->dispatcher));
        due = MIN(due, api_send(t->api, ret_effects));
        if (dispatcher_send(t->dispatcher, now, ret_effects))
                due = now.mono_ms;
        return due;
}

void turn_set_last_index(struct turn *t, uint64_t index)
{
        api_set_last_index(t->api, index);
}
