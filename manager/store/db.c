/*
 * The database as the loop sees it: what is to be written is queued here, rows are taken from the
 * store a slice at a time, and what the thread (db_thread.c) has done is told. The two meet under
 * one mutex.
 */
#include "manager/store/db.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "manager/store/db_internal.h"
#include "shared/base/mem.h"
#include "shared/wire/wire.h"

void db_slice_free(struct db_slice *slice)
{
        if (!slice)
                return;
        buf_done(&slice->bytes);
        free(slice->rows);
        free(slice);
}

/* --- rows written behind ------------------------------------------------------------------------
 */
static void take_row(void *arg, const struct row *r)
{
        struct db_slice *slice = arg;

        if (slice->n == slice->cap) {
                slice->cap = slice->cap ? slice->cap * 2 : 64;
                slice->rows = xreallocarray(slice->rows, slice->cap, sizeof(*slice->rows));
        }
        struct db_row *to = &slice->rows[slice->n++];
        *to = (struct db_row){.table = r->table,
                              .row = r->row,
                              .is_deletion = !r->msg,
                              .state = r->state,
                              .desired = r->desired,
                              .id = r->id,
                              .time_ms = r->time_ms};
        if (!r->msg)
                return;
        to->message = slice->bytes.len;
        wire_pack(r->msg, &slice->bytes);
        to->message_len = slice->bytes.len - to->message;
        to->name = slice->bytes.len;
        buf_append(&slice->bytes, r->name ? r->name : "", strlen(r->name ? r->name : "") + 1);
}

/* Hands the next slice of rows to the thread. Only while the store is as the agreed log makes it.
 */
static void write_behind(struct db *db)
{
        bool is_busy;

        pthread_mutex_lock(&db->mutex);
        is_busy = db->is_slice_running || db->error;
        pthread_mutex_unlock(&db->mutex);
        if (!db->is_round || is_busy || db->applied == 0 || store_change_count(db->store) > 0)
                return;
        struct db_slice *slice = xnew(struct db_slice);
        if (store_is_between_rounds(db->store))
                db->round_index = db->applied;
        store_flush_rows(db->store, DB_SLICE_ROWS_MAX, take_row, slice);
        slice->newest_row = db->applied;
        if (store_is_between_rounds(db->store)) {
                slice->covered = db->round_index;
                db->is_round = false;
        }
        pthread_mutex_lock(&db->mutex);
        db->slice = slice;
        db->is_slice_running = true;
        pthread_cond_signal(&db->cond);
        pthread_mutex_unlock(&db->mutex);
}

static void set_timer(struct db *db)
{
        /* Entries without rows are covered as well: nothing else may come, and the log be full. */
        if (!db->timer || !db->store || db->is_timer_set || db->is_round ||
            (store_unflushed_rows(db->store) == 0 && db->applied <= db->covered_told))
                return;
        db->is_timer_set = true;
        loop_timer_set(db->timer, DB_WRITE_BEHIND_MS);
}

static void on_timer(void *arg)
{
        struct db *db = arg;

        db->is_timer_set = false;
        db->is_round = true;
        write_behind(db);
}

void db_set_store(struct db *db, struct store *store)
{
        if (db->timer)
                loop_timer_clear(db->timer);
        db->store = store;
        db->applied = 0;
        db->is_round = db->is_timer_set = false;
        pthread_mutex_lock(&db->mutex);
        struct db_slice *slice = STEAL_PTR(db->slice);
        if (slice) /* not begun: else the thread has it */
                db->is_slice_running = false;
        pthread_mutex_unlock(&db->mutex);
        db_slice_free(slice);
        set_timer(db);
}

void db_set_applied(struct db *db, uint64_t index)
{
        assert(db->store);
        db->applied = index;
        db->agreed = MAX(db->agreed, index);
        write_behind(db);
        set_timer(db);
}

/* --- events -------------------------------------------------------------------------------------
 */
static void job_free(struct db_job *job)
{
        raft_write_done(&job->write);
        store_free(job->store);
        free(job);
}

static void free_jobs(struct list *jobs)
{
        struct list *l;

        while ((l = list_pop_front(jobs)))
                job_free(LIST_ITEM(l, struct db_job, link));
}

/* Writes in a row are told of as one. */
static void tell_jobs(struct db *db, struct list *jobs)
{
        uint64_t seq = 0;
        struct list *l;

        while ((l = list_pop_front(jobs))) {
                struct db_job *job = LIST_ITEM(l, struct db_job, link);
                bool is_write = !job->is_load && !job->is_seal;

                seq = is_write ? job->write.seq : seq;
                if (seq && (!is_write || list_is_empty(jobs)))
                        db->events.on_durable(db->events.arg, seq);
                if (!is_write)
                        seq = 0;
                if (job->is_load)
                        db->events.on_loaded(db->events.arg, STEAL_PTR(job->store), job->applied);
                else if (job->is_seal)
                        db->events.on_sealed(db->events.arg, job->seal_error);
                job_free(job);
        }
}

static void on_wake(void *arg)
{
        struct db *db = arg;
        char text[ERR_TEXT_MAX];
        struct list jobs;

        list_init(&jobs);
        pthread_mutex_lock(&db->mutex);
        list_splice_back(&jobs, &db->done);
        uint64_t covered = db->covered;
        int error = db->error;
        memcpy(text, db->error_text, sizeof(text));
        pthread_mutex_unlock(&db->mutex);

        if (db->store) {
                write_behind(db);
                set_timer(db);
        }
        if (covered > db->covered_told) {
                db->covered_told = covered;
                db->events.on_covered(db->events.arg, covered);
        }
        tell_jobs(db, &jobs);
        if (error && !db->is_failure_told) {
                db->is_failure_told = true;
                db->events.on_failure(db->events.arg, error, text);
        }
}

/* --- its life -----------------------------------------------------------------------------------
 */
int db_open(const char *dir, struct db **ret, struct err *err)
{
        struct db *db = xnew(struct db);

        list_init(&db->queue);
        list_init(&db->done);
        list_init(&db->copies);
        pthread_mutex_init(&db->mutex, NULL);
        pthread_cond_init(&db->cond, NULL);
        int r = db_file_open(&db->file, dir, err);
        if (r < 0) {
                db_close(db);
                return r;
        }
        db->covered = db->covered_told = db->file.covered;
        *ret = db;
        return 0;
}

void db_state_done(struct db_state *s)
{
        for (size_t i = 0; i < s->n_entries; i++)
                raft_bytes_unref(s->entries[i].bytes);
        free(s->entries);
        memset(s, 0, sizeof(*s));
}

int db_read_state(struct db *db, struct db_state *ret, struct err *err)
{
        const struct db_file *f = &db->file;
        struct db_state s = {.id = f->id,
                             .term = f->term,
                             .vote = f->vote,
                             .base = f->base,
                             .applied = f->newest_row};

        assert(!db->has_thread);
        int r = db_file_read_log(&db->file, &s.entries, &s.n_entries, err);
        if (r == 0 && (f->covered > f->newest_row || f->base.index > f->newest_row ||
                       f->newest_row > f->base.index + s.n_entries))
                r = err_set(err, EUCLEAN, "database %s: log: it does not fit the tables", f->path);
        if (r < 0) {
                db_state_done(&s);
                return r;
        }
        *ret = s;
        return 0;
}

int db_load_now(struct db *db, struct store **ret, struct err *err)
{
        struct store *store = store_new();

        assert(!db->has_thread);
        int r = db_file_load(&db->file, store, err);
        if (r < 0)
                store_free(store);
        else
                *ret = store;
        return r;
}

int db_set_identity(struct db *db, uint64_t id, const struct raft_members *members, struct err *err)
{
        struct db_file *f = &db->file;
        struct raft_base base = {f->base.index, f->base.term, *members};

        assert(!db->has_thread && id);
        int r = db_file_begin(f);
        if (r == 0)
                r = db_file_set_id(f, id);
        if (r == 0)
                r = db_file_set_base(f, &base);
        if (r == 0)
                r = db_file_commit(f);
        if (r < 0) {
                err_set(err, -r, "%s", f->error);
                db_file_rollback(f);
        }
        return r;
}

/* The newest entry that is there; its term, too. */
static int read_last(struct db_file *f, uint64_t *ret_index, uint64_t *ret_term)
{
        int64_t index = 0, term = 0;
        int code = db_file_query(f->sqlite, "SELECT max(idx) FROM log", &index);

        if (code == SQLITE_OK)
                code = db_file_query(f->sqlite, "SELECT term FROM log ORDER BY idx DESC LIMIT 1",
                                     &term);
        if (code != SQLITE_OK)
                return db_file_failed(f, code);
        bool is_in_log = (uint64_t)index >= MAX(f->newest_row, f->base.index);
        *ret_index = MAX((uint64_t)index, MAX(f->newest_row, f->base.index));
        *ret_term = is_in_log ? (uint64_t)term : f->base.term;
        return 0;
}

int db_stand_alone(struct db *db, uint64_t id, const struct raft_members *members, struct err *err)
{
        struct db_file *f = &db->file;
        struct raft_base base = {.members = *members};

        assert(!db->has_thread && id);
        int r = db_file_begin(f);
        if (r == 0)
                r = read_last(f, &base.index, &base.term);
        if (r == 0)
                r = db_file_set_newest_row(f, base.index);
        if (r == 0)
                r = db_file_set_id(f, id);
        if (r == 0)
                r = db_file_set_term(f, MAX(f->term, base.term), 0);
        if (r == 0)
                r = db_file_set_base(f, &base);
        if (r == 0)
                r = db_file_commit(f);
        if (r < 0) {
                err_set(err, -r, "%s", f->error);
                db_file_rollback(f);
        }
        return r;
}

void db_start(struct db *db, struct loop *loop, const struct db_events *events)
{
        sigset_t all, old;

        db->loop = loop;
        db->events = *events;
        db->wake = loop_wake_new(loop, on_wake, db);
        db->timer = loop_timer_new(loop, on_timer, db);
        /* Signals are for the loop's thread. */
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &old);
        if (pthread_create(&db->thread, NULL, db_thread_main, db) != 0)
                abort();
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        db->has_thread = true;
        set_timer(db);
}

void db_close(struct db *db)
{
        if (!db)
                return;
        db_copies_end(db);
        if (db->has_thread) {
                pthread_mutex_lock(&db->mutex);
                db->is_stopping = true;
                pthread_cond_signal(&db->cond);
                pthread_mutex_unlock(&db->mutex);
                pthread_join(db->thread, NULL);
                loop_wake_free(db->wake);
                loop_timer_free(db->timer);
        }
        free_jobs(&db->queue);
        free_jobs(&db->done);
        db_slice_free(db->slice);
        store_free(db->installed);
        free(db->cutting);
        free(db->cut);
        db_file_close(&db->file);
        explicit_bzero(&db->seal, sizeof(db->seal));
        explicit_bzero(&db->file.seal, sizeof(db->file.seal));
        pthread_cond_destroy(&db->cond);
        pthread_mutex_destroy(&db->mutex);
        free(db);
}

/* --- what is queued -----------------------------------------------------------------------------
 */
/* After a failure nothing is taken any more. */
static void push(struct db *db, struct db_job *job)
{
        pthread_mutex_lock(&db->mutex);
        bool is_failed = db->error;
        if (!is_failed) {
                list_push_back(&db->queue, &job->link);
                pthread_cond_signal(&db->cond);
        }
        pthread_mutex_unlock(&db->mutex);
        if (is_failed)
                job_free(job);
}

void db_write(struct db *db, struct raft_write *w)
{
        struct db_job *job = xnew(struct db_job);

        assert(!w->install || !db->store); /* its rows must not land on top of what is installed */
        job->write = *w;
        memset(w, 0, sizeof(*w));
        job->bytes = job->write.chunk ? job->write.chunk->len : 0;
        for (size_t i = 0; i < job->write.n_entries; i++) {
                const struct raft_bytes *bytes = job->write.entries[i].bytes;

                job->bytes += bytes ? bytes->len : 0;
        }
        push(db, job);
}

void db_load(struct db *db)
{
        struct db_job *job = xnew(struct db_job);

        assert(!db->store);
        job->is_load = true;
        push(db, job);
}

void db_queue_seal(struct db *db, bool on)
{
        struct db_job *job = xnew(struct db_job);

        job->is_seal = true;
        job->seal_on = on;
        push(db, job);
}

void db_cut_log(struct db *db, const struct raft_base *base)
{
        struct raft_base *copy = xmemdup(base, sizeof(*base)), *old;

        pthread_mutex_lock(&db->mutex);
        old = db->cut;
        db->cut = copy;
        pthread_cond_signal(&db->cond);
        pthread_mutex_unlock(&db->mutex);
        free(old);
}
