/* A database written by one manager: see db_rig.h. */
#include "tests/lib/db_rig.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "shared/base/mem.h"

static void on_durable(void *arg, uint64_t seq)
{
        struct db_rig *r = arg;
        size_t n = 0;

        assert(seq > r->durable_seq && seq <= r->seq);
        r->durable_seq = seq;
        for (; n < r->n_pending && r->pending[n].seq <= seq; n++)
                r->durable = r->pending[n].last;
        r->n_pending -= n;
        memmove(r->pending, r->pending + n, r->n_pending * sizeof(r->pending[0]));
        if (r->store && r->durable == r->last && r->n_pending == 0)
                db_set_applied(r->db, r->last);
        if (r->on_durable)
                r->on_durable(r->arg);
        loop_stop(r->loop);
}

static void on_covered(void *arg, uint64_t index)
{
        struct db_rig *r = arg;
        struct raft_base base = {.index = index, .term = 1};

        assert(index > r->covered);
        r->covered = index;
        if (r->is_cutting)
                db_cut_log(r->db, &base);
        loop_stop(r->loop);
}

static void on_loaded(void *arg, struct store *store, uint64_t applied)
{
        struct db_rig *r = arg;

        r->loaded = store;
        r->loaded_at = applied;
        loop_stop(r->loop);
}

static void on_copied(void *arg, uint64_t tag, int error, uint64_t index, uint64_t size)
{
        struct db_rig *r = arg;

        r->copied_tag = tag;
        r->copy_error = error;
        r->copied_at = index;
        r->copied_size = size;
        r->n_copied++;
        loop_stop(r->loop);
}

static void on_sealed(void *arg, int error)
{
        struct db_rig *r = arg;

        r->seal_error = error;
        r->n_sealed++;
        loop_stop(r->loop);
}

static void on_failure(void *arg, int error, const char *text)
{
        struct db_rig *r = arg;

        r->failure = error;
        r->n_failures++;
        snprintf(r->failure_text, sizeof(r->failure_text), "%s", text);
        loop_stop(r->loop);
}

static int apply_rest(const struct db_state *s, struct store *store)
{
        for (uint64_t i = s->applied - s->base.index; i < s->n_entries; i++) {
                const struct raft_entry *e = &s->entries[i];

                if (e->kind == RAFT_ENTRY_DATA &&
                    store_apply_entry(store, e->bytes->data, e->bytes->len) < 0)
                        return -1;
        }
        return 0;
}

static int read_all(struct db_rig *r, struct err *err)
{
        struct raft_members alone = {.n = 1, .of[0] = {.id = 1, .is_voter = true}};
        int e = db_read_state(r->db, &r->state, err);

        if (e == 0 && r->state.id == 0)
                e = db_set_identity(r->db, 1, &alone, err);
        if (e == 0)
                e = db_load_now(r->db, &r->store, err);
        if (e < 0)
                return e;
        r->loaded_hash = store_hash(r->store);
        if (apply_rest(&r->state, r->store) < 0)
                return err_set(err, EBADMSG, "the log does not fit");
        return 0;
}

int db_rig_open(struct db_rig *r, const char *dir, struct err *err)
{
        struct db_events events = {r,         on_durable, on_covered, on_loaded,
                                   on_copied, on_sealed,  on_failure};
        int e = db_open(dir, &r->db, err);

        if (e == 0 && r->key)
                db_set_key(r->db, r->key, r->wrapped);
        if (e == 0)
                e = read_all(r, err);
        if (e < 0) {
                db_close(r->db);
                store_free(r->store);
                db_state_done(&r->state);
                return e;
        }
        r->loop = loop_new();
        r->last = r->durable = r->state.base.index + r->state.n_entries;
        db_start(r->db, r->loop, &events);
        db_set_store(r->db, r->store);
        db_set_applied(r->db, r->last);
        return 0;
}

void db_rig_close(struct db_rig *r)
{
        db_close(r->db);
        loop_free(r->loop);
        store_free(r->store);
        db_state_done(&r->state);
}

void db_rig_write(struct db_rig *r, struct raft_write *w, uint64_t last)
{
        assert(r->n_pending < DB_RIG_PENDING_MAX);
        w->seq = ++r->seq;
        r->last = last;
        r->pending[r->n_pending].seq = r->seq;
        r->pending[r->n_pending++].last = last;
        db_write(r->db, w);
}

struct raft_bytes *db_rig_propose(struct db_rig *r, uint64_t term)
{
        _cleanup_buf_ struct buf bytes = {0};
        struct raft_write w = {.term = term, .from = r->last + 1, .n_entries = 1};

        db_set_applied(r->db, 0);
        store_take_changes(r->store, 1, &bytes);
        w.entries = xnew(struct raft_entry);
        w.entries[0] = (struct raft_entry){.term = term,
                                           .kind = RAFT_ENTRY_DATA,
                                           .bytes = raft_bytes_new(bytes.data, bytes.len)};
        struct raft_bytes *ret = w.entries[0].bytes;
        db_rig_write(r, &w, w.from);
        return ret;
}

void db_rig_wait(struct db_rig *r, const uint64_t *value, uint64_t n)
{
        while (*value < n && !r->failure)
                loop_run(r->loop);
}

struct timing {
        struct loop *loop;
        bool is_over;
};

static void on_time(void *arg)
{
        struct timing *t = arg;

        t->is_over = true;
        loop_stop(t->loop);
}

void db_rig_run_ms(struct db_rig *r, int64_t ms)
{
        struct timing t = {r->loop, false};
        struct loop_timer *timer = loop_timer_new(r->loop, on_time, &t);

        loop_timer_set(timer, ms);
        while (!t.is_over)
                loop_run(r->loop);
        loop_timer_free(timer);
}
