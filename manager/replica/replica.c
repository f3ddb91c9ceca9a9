/* The copy of the state: see replica.h. */
#include "manager/replica/replica.h"

#include <errno.h>
#include <string.h>

#include "shared/base/log.h"
#include "shared/base/mem.h"

#define APPLY_BYTES_MAX (4u << 20) /* of entries in one go; then others get their turn */
#define ENTRY_COST      64

struct replica {
        struct replica_ops ops;
        const struct turn_config *turn_config;
        struct rng rng;
        struct consensus *consensus;

        struct store *store; /* NULL: dropped; it is being read */
        uint64_t applied;    /* the store is as entries up to here made it, */
        uint64_t pending;    /* and this one, which is proposed; 0: none */
        uint64_t replaced;   /* of the status, when the store was last read */
        bool is_loading, has_failed;

        struct turn *turn;   /* NULL: does not lead, or not yet */
        uint64_t term;       /* that the turn belongs to */
        int64_t run_at;      /* mono ms: when the turn wants to run again */
        struct list effects; /* that wait for the pending entry, or for the round */
        uint64_t round;      /* that will confirm the effects; 0: none waits */
};

/* --- the copy -----------------------------------------------------------------------------------
 */
static void set_applied(struct replica *r, uint64_t index)
{
        r->applied = index;
        r->ops.set_applied(r->ops.arg, index);
}

static void end_turn(struct replica *r)
{
        if (!r->turn)
                return;
        turn_free(r->turn);
        r->turn = NULL;
        r->round = 0;
        effects_free(&r->effects);
        r->ops.on_lead_end(r->ops.arg);
}

static void drop_store(struct replica *r)
{
        end_turn(r);
        r->pending = 0;
        if (!r->store)
                return;
        r->ops.set_store(r->ops.arg, NULL);
        store_free(r->store);
        r->store = NULL;
}

static void take_store(struct replica *r, struct store *store, uint64_t applied)
{
        r->store = store;
        r->ops.set_store(r->ops.arg, store);
        set_applied(r, applied);
}

static void load(struct replica *r)
{
        if (r->is_loading || consensus_status(r->consensus)->is_replacing)
                return;
        r->is_loading = true;
        r->replaced = consensus_status(r->consensus)->replaced;
        r->ops.load(r->ops.arg);
}

/* --- what consensus wants done ------------------------------------------------------------------
 */
static void on_write(void *arg, struct raft_write *w)
{
        struct replica *r = arg;

        r->ops.write(r->ops.arg, w);
}

static void on_send(void *arg, const struct raft_message *m)
{
        struct replica *r = arg;

        r->ops.send(r->ops.arg, m);
}

static void on_want_snapshot(void *arg, uint64_t peer)
{
        struct replica *r = arg;

        r->ops.want_snapshot(r->ops.arg, peer);
}

static void on_replace(void *arg)
{
        drop_store(arg);
}

/* --- its life -----------------------------------------------------------------------------------
 */
int replica_new(const struct replica_config *c, struct replica **ret)
{
        struct replica *r = xnew(struct replica);
        struct consensus_ops ops = {r, on_write, on_send, on_want_snapshot, on_replace};

        r->ops = c->ops;
        r->turn_config = c->turn;
        r->rng.state = c->turn->seed;
        list_init(&r->effects);
        int e = consensus_new(&c->start, &ops, &r->consensus);
        if (e < 0) {
                store_free(c->store);
                free(r);
                return e;
        }
        take_store(r, c->store, c->start.applied);
        *ret = r;
        return 0;
}

void replica_free(struct replica *r)
{
        if (!r)
                return;
        drop_store(r);
        consensus_free(r->consensus);
        free(r);
}

/* --- looking at it ------------------------------------------------------------------------------
 */
const struct consensus_status *replica_status(const struct replica *r)
{
        return consensus_status(r->consensus);
}

const struct raft_members *replica_members(const struct replica *r)
{
        return consensus_members(r->consensus);
}

bool replica_is_member(const struct replica *r, uint64_t id)
{
        return consensus_is_member(r->consensus, id);
}

int replica_progress(const struct replica *r, uint64_t id, struct raft_progress *ret)
{
        return consensus_progress(r->consensus, id, ret);
}

struct store *replica_store(struct replica *r)
{
        return r->store;
}

uint64_t replica_applied(const struct replica *r)
{
        return r->applied;
}

struct turn *replica_turn(struct replica *r)
{
        return r->turn;
}

bool replica_is_waiting(const struct replica *r)
{
        return r->pending || r->round;
}

/* --- applying -----------------------------------------------------------------------------------
 */
static void fail(struct replica *r, const char *text)
{
        r->has_failed = true;
        r->ops.on_failure(r->ops.arg, text);
}

static void apply_entry(struct replica *r, const struct raft_entry *e)
{
        int code = store_apply_entry(r->store, e->bytes->data, e->bytes->len);

        /* What follows would be wrong, too. */
        if (code == -EPROTO)
                fail(r, "the managers' log has changes of a newer version than this manager: "
                        "upgrade it");
        else if (code < 0)
                fail(r, "the log has an entry that does not fit this manager's state");
}

/* What others proposed. Returns whether there is more. */
static bool apply(struct replica *r)
{
        uint64_t commit = consensus_status(r->consensus)->commit_index, before = r->applied;
        size_t bytes = 0;

        while (r->store && !r->pending && r->applied < commit && bytes < APPLY_BYTES_MAX) {
                const struct raft_entry *e = consensus_entry(r->consensus, r->applied + 1);

                if (!e) /* agreed, and not in the tables yet: the core must have it */
                        abort();
                bytes += ENTRY_COST + (e->bytes ? e->bytes->len : 0);
                if (e->kind == RAFT_ENTRY_DATA)
                        apply_entry(r, e);
                if (r->has_failed)
                        return false;
                r->applied++;
        }
        if (r->applied != before)
                set_applied(r, r->applied);
        return r->store && !r->pending && r->applied < commit;
}

/* --- leading ------------------------------------------------------------------------------------
 */
static void release(struct replica *r)
{
        struct list effects;

        list_init(&effects);
        list_splice_back(&effects, &r->effects);
        r->ops.release(r->ops.arg, &effects);
}

/* What was proposed is agreed, or what was answered was so. */
static void settle(struct replica *r)
{
        const struct consensus_status *s = consensus_status(r->consensus);

        if (r->pending && s->commit_index >= r->pending) {
                uint64_t index = r->pending;

                r->pending = 0;
                set_applied(r, index);
                turn_set_last_index(r->turn, index);
                release(r);
        }
        if (r->round && s->read_round >= r->round && r->applied >= s->read_index) {
                r->round = 0;
                release(r);
        }
}

static void begin_turn(struct replica *r, struct now now)
{
        const struct consensus_status *s = consensus_status(r->consensus);

        if (r->turn || !r->store || !s->can_propose || r->applied < s->commit_index)
                return;
        r->term = s->term;
        r->ops.on_lead(r->ops.arg, r->store, now);
        struct turn_config config = *r->turn_config;
        config.seed = rng_next(&r->rng);
        r->turn = turn_new(r->store, &config, now);
        turn_set_last_index(r->turn, r->applied);
        r->run_at = now.mono_ms;
        r->ops.on_turn(r->ops.arg, r->turn, r->store);
}

/* Whoever led and does not any more, or leads another term, begins anew from what is agreed. */
static void look_at_role(struct replica *r)
{
        const struct consensus_status *s = consensus_status(r->consensus);

        if (r->turn && (!s->is_leader || s->term != r->term)) {
                bool is_ahead = r->pending || store_change_count(r->store) > 0;

                end_turn(r);
                if (is_ahead)
                        drop_store(r);
        }
        if (!r->store)
                load(r);
}

static bool answers_client(const struct list *effects)
{
        struct effect *e;

        LIST_FOREACH (e, effects, link)
                if (e->kind == EFFECT_CLIENT)
                        return true;
        return false;
}

static void confirm(struct replica *r, struct now now)
{
        if (list_is_empty(&r->effects))
                return;
        if (!answers_client(&r->effects)) {
                release(r);
                return;
        }
        int64_t round = consensus_read(r->consensus, now.mono_ms);
        if (round > 0)
                r->round = (uint64_t)round;
        settle(r);
}

static void run_turn(struct replica *r, struct now now)
{
        _cleanup_buf_ struct buf entry = {0};

        r->run_at = turn_run(r->turn, now, &r->effects);
        if (store_change_count(r->store) == 0) {
                store_take_changes(r->store, now.wall_ms, &entry);
                confirm(r, now);
                return;
        }
        r->ops.set_applied(r->ops.arg, 0);
        store_take_changes(r->store, now.wall_ms, &entry);
        int64_t index = consensus_propose(r->consensus, now.mono_ms, &entry);
        if (index >= 0) {
                r->pending = (uint64_t)index;
                return;
        }
        log_error("an entry of %zu bytes is not taken: %s", entry.len, err_name((int)index));
        if (index == -EFBIG)
                drop_store(r); /* what was asked is not done, and nobody was told otherwise */
        else
                fail(r, "consensus does not take what is proposed");
}

/* --- events -------------------------------------------------------------------------------------
 */
void replica_receive(struct replica *r, struct now now, const struct raft_message *m)
{
        int e = consensus_receive(r->consensus, now.mono_ms, m);

        if (e < 0)
                log_debug("a message of manager %llu is dropped: %s", (unsigned long long)m->from,
                          err_name(e));
        look_at_role(r);
}

void replica_link_broke(struct replica *r, struct now now, uint64_t peer)
{
        consensus_link_broke(r->consensus, now.mono_ms, peer);
}

void replica_persisted(struct replica *r, struct now now, uint64_t seq)
{
        consensus_persisted(r->consensus, now.mono_ms, seq);
        look_at_role(r);
}

void replica_loaded(struct replica *r, struct now now UNUSED, struct store *store, uint64_t applied)
{
        const struct consensus_status *s = consensus_status(r->consensus);

        r->is_loading = false;
        if (s->is_replacing || s->replaced != r->replaced) {
                store_free(store); /* of before */
                look_at_role(r);
                return;
        }
        take_store(r, store, applied);
}

void replica_covered(struct replica *r, struct now now, uint64_t index)
{
        if (r->store && !consensus_status(r->consensus)->is_replacing)
                r->ops.cut_log(r->ops.arg, consensus_cut(r->consensus, now.mono_ms, index));
}

bool replica_snapshot_ready(struct replica *r, struct now now, uint64_t peer, uint64_t index,
                            uint64_t size)
{
        return consensus_snapshot_ready(r->consensus, now.mono_ms, peer, index, size);
}

int64_t replica_change(struct replica *r, struct now now, enum raft_change what, uint64_t id,
                       const char *address)
{
        int64_t index = consensus_change(r->consensus, now.mono_ms, what, id, address);

        look_at_role(r);
        return index;
}

int replica_transfer(struct replica *r, struct now now, uint64_t to)
{
        int e = consensus_transfer(r->consensus, now.mono_ms, to);

        look_at_role(r);
        return e;
}

void replica_beat(struct replica *r, struct now now)
{
        consensus_beat(r->consensus, now.mono_ms);
}

int64_t replica_run(struct replica *r, struct now now)
{
        if (r->has_failed)
                return TIME_NEVER;
        if (consensus_deadline_ms(r->consensus) <= now.mono_ms)
                consensus_tick(r->consensus, now.mono_ms);
        look_at_role(r);
        settle(r);
        bool has_more = apply(r);
        begin_turn(r, now);
        if (r->turn && !replica_is_waiting(r) && !has_more &&
            consensus_status(r->consensus)->can_propose &&
            (turn_has_inputs(r->turn) || r->run_at <= now.mono_ms)) {
                run_turn(r, now);
                look_at_role(r);
        }
        int64_t due = consensus_deadline_ms(r->consensus);
        if (has_more)
                return now.mono_ms;
        if (r->turn && !replica_is_waiting(r) && consensus_status(r->consensus)->can_propose)
                due = MIN(due, turn_has_inputs(r->turn) ? now.mono_ms : r->run_at);
        return due;
}
