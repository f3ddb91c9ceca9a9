/*
 * The database's two sides: the loop's, which queues entries and rows and tells what is durable,
 * and the thread's, which takes all that is queued into one transaction. They meet under one mutex.
 *
 * Order of the thread's work: entries first, for somebody waits for them; then a slice of rows;
 * then cutting the log and writing back the write-ahead log.
 */
#include "manager/store/db.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "manager/store/db_internal.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/wire/wire.h"

#define CUT_ENTRIES  1000        /* deleted in one transaction */
#define BATCH_MAX    (16u << 20) /* bytes of entries in one transaction */
#define WAL_PAGE     4096
#define WAL_IDLE_MIN 256 /* pages that are worth writing back when idle */

struct pending {
        struct list link;
        uint64_t index, term;
        struct buf bytes;
};

struct db {
        struct db_file file; /* the thread's once it runs */
        struct store *store;
        struct db_events events;
        struct loop_wake *wake;
        struct loop_timer *timer; /* to the next round of rows */

        /* The loop's. */
        uint64_t last_index, durable_told, covered_told, round_index;
        bool is_round, is_timer_set, is_failure_told;

        pthread_t thread;
        pthread_mutex_t mutex;
        pthread_cond_t cond;
        bool has_thread;
        /* Under the mutex. */
        struct list queue;
        struct db_slice *slice;
        bool is_slice_running, is_stopping;
        uint64_t durable, covered, cut;
        int error; /* positive; set once */
        char error_text[ERR_TEXT_MAX];
};

void db_slice_free(struct db_slice *slice)
{
        if (!slice)
                return;
        buf_done(&slice->bytes);
        free(slice->rows);
        free(slice);
}

/* --- the thread ---------------------------------------------------------------------------------
 */
static void pending_free(struct list *queue)
{
        struct list *l;

        while ((l = list_pop_front(queue))) {
                struct pending *p = LIST_ITEM(l, struct pending, link);

                buf_done(&p->bytes);
                free(p);
        }
}

static void fail(struct db *db, int r)
{
        db_file_rollback(&db->file);
        pthread_mutex_lock(&db->mutex);
        db->error = -r;
        memcpy(db->error_text, db->file.error, sizeof(db->error_text));
        pthread_mutex_unlock(&db->mutex);
        loop_wake_send(db->wake);
}

/* Ends a transaction as r says, which began well if r is 0. */
static int finish(struct db *db, int r)
{
        return r < 0 ? r : db_file_commit(&db->file);
}

static int write_entries(struct db *db, struct list *batch)
{
        struct pending *p;
        uint64_t last = 0;
        int r = db_file_begin(&db->file);

        LIST_FOREACH (p, batch, link) {
                if (r == 0)
                        r = db_file_append(&db->file, p->index, p->term, &p->bytes);
                last = p->index;
        }
        r = finish(db, r);
        if (r < 0)
                return r;
        pthread_mutex_lock(&db->mutex);
        db->durable = last;
        pthread_mutex_unlock(&db->mutex);
        loop_wake_send(db->wake);
        return 0;
}

static int write_slice(struct db *db, const struct db_slice *slice)
{
        int r = db_file_begin(&db->file);

        if (r == 0)
                r = db_file_write_slice(&db->file, slice);
        r = finish(db, r);
        if (r < 0)
                return r;
        pthread_mutex_lock(&db->mutex);
        db->is_slice_running = false;
        if (slice->covered)
                db->covered = slice->covered;
        pthread_mutex_unlock(&db->mutex);
        loop_wake_send(db->wake);
        return 0;
}

/* Returns how many entries went. */
static int cut_log(struct db *db, uint64_t index)
{
        int r = db_file_begin(&db->file), n = 0;

        if (r == 0)
                r = n = db_file_cut(&db->file, index, CUT_ENTRIES);
        r = finish(db, r < 0 ? r : 0);
        return r < 0 ? r : n;
}

/* The entries that go into one transaction: all that wait, up to BATCH_MAX bytes. */
static void take_batch(struct db *db, struct list *ret)
{
        size_t bytes = 0;

        while (!list_is_empty(&db->queue) && bytes < BATCH_MAX) {
                struct list *l = list_pop_front(&db->queue);

                bytes += LIST_ITEM(l, struct pending, link)->bytes.len;
                list_push_back(ret, l);
        }
}

/* What there is to do when neither entries nor rows wait. Sets *ret_more when there may be more. */
static int tidy_up(struct db *db, uint64_t cut, uint64_t *done_cut, bool *ret_more)
{
        *ret_more = false;
        if (cut > *done_cut) {
                int n = cut_log(db, cut);

                if (n < 0)
                        return n;
                if (n < CUT_ENTRIES)
                        *done_cut = cut;
                *ret_more = true;
                return 0;
        }
        ballast_make(&db->file);
        if (db->file.wal_pages < WAL_IDLE_MIN)
                return 0;
        return db_file_checkpoint(&db->file, false);
}

/* One step of the thread with what it took; *batch is emptied. */
static int step(struct db *db, struct list *batch, struct db_slice *slice, uint64_t cut,
                uint64_t *done_cut, bool *ret_more)
{
        int r = 0;

        *ret_more = true;
        if (!list_is_empty(batch))
                r = write_entries(db, batch);
        else if (slice)
                r = write_slice(db, slice);
        else
                r = tidy_up(db, cut, done_cut, ret_more);
        if (r == 0 && (size_t)db->file.wal_pages * WAL_PAGE > DB_WAL_BYTES_MAX)
                r = db_file_checkpoint(&db->file, true);
        return r;
}

static void *thread_main(void *arg)
{
        struct db *db = arg;
        uint64_t done_cut = 0;
        bool more = true;
        int r = 0;

        while (r == 0) {
                struct list batch;
                struct db_slice *slice = NULL;

                list_init(&batch);
                pthread_mutex_lock(&db->mutex);
                while (!more && list_is_empty(&db->queue) && !db->slice && db->cut <= done_cut &&
                       !db->is_stopping)
                        pthread_cond_wait(&db->cond, &db->mutex);
                bool is_last = db->is_stopping && list_is_empty(&db->queue);
                uint64_t cut = db->cut;
                take_batch(db, &batch);
                if (list_is_empty(&batch))
                        slice = STEAL_PTR(db->slice);
                pthread_mutex_unlock(&db->mutex);
                if (is_last) {
                        db_slice_free(slice);
                        return NULL;
                }
                r = step(db, &batch, slice, cut, &done_cut, &more);
                if (r == -ENOSPC && ballast_release(&db->file)) {
                        db_file_rollback(&db->file);
                        r = step(db, &batch, slice, cut, &done_cut, &more);
                }
                pending_free(&batch);
                db_slice_free(slice);
        }
        fail(db, r);
        return NULL;
}

/* --- the loop's side ----------------------------------------------------------------------------
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

/* Hands the next slice of rows to the thread. Only while the memory is as the log is: nothing is
 * under way to the disk. */
static void write_behind(struct db *db)
{
        bool is_busy;

        pthread_mutex_lock(&db->mutex);
        is_busy = db->is_slice_running || db->durable != db->last_index || db->error;
        pthread_mutex_unlock(&db->mutex);
        if (!db->is_round || is_busy || store_change_count(db->store) > 0)
                return;
        struct db_slice *slice = xnew(struct db_slice);
        if (store_is_between_rounds(db->store))
                db->round_index = db->last_index;
        store_flush_rows(db->store, DB_SLICE_ROWS_MAX, take_row, slice);
        slice->newest_row = db->last_index;
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
        if (db->is_timer_set || db->is_round || store_unflushed_rows(db->store) == 0)
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

static void on_wake(void *arg)
{
        struct db *db = arg;
        char text[ERR_TEXT_MAX];

        pthread_mutex_lock(&db->mutex);
        uint64_t durable = db->durable, covered = db->covered;
        int error = db->error;
        memcpy(text, db->error_text, sizeof(text));
        pthread_mutex_unlock(&db->mutex);

        write_behind(db);
        set_timer(db);
        if (covered > db->covered_told) {
                db->covered_told = covered;
                db->events.on_covered(db->events.arg, covered);
        }
        if (durable > db->durable_told) {
                db->durable_told = durable;
                db->events.on_durable(db->events.arg, durable);
        }
        if (error && !db->is_failure_told) {
                db->is_failure_told = true;
                db->events.on_failure(db->events.arg, error, text);
        }
}

int db_open(const char *dir, struct store *store, struct db **ret, struct err *err)
{
        struct db *db = xnew(struct db);

        db->store = store;
        list_init(&db->queue);
        pthread_mutex_init(&db->mutex, NULL);
        pthread_cond_init(&db->cond, NULL);
        int r = db_file_open(&db->file, dir, err);
        if (r == 0)
                r = db_file_load(&db->file, store, err);
        if (r < 0) {
                db_close(db);
                return r;
        }
        db->last_index = db->durable = db->durable_told = db->file.last_index;
        db->covered = db->covered_told = db->file.covered;
        *ret = db;
        return 0;
}

void db_start(struct db *db, struct loop *loop, const struct db_events *events)
{
        sigset_t all, old;

        db->events = *events;
        db->wake = loop_wake_new(loop, on_wake, db);
        db->timer = loop_timer_new(loop, on_timer, db);
        /* Signals are for the loop's thread. */
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &old);
        if (pthread_create(&db->thread, NULL, thread_main, db) != 0)
                abort();
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        db->has_thread = true;
        set_timer(db);
}

void db_close(struct db *db)
{
        if (!db)
                return;
        if (db->has_thread) {
                pthread_mutex_lock(&db->mutex);
                db->is_stopping = true;
                pthread_cond_signal(&db->cond);
                pthread_mutex_unlock(&db->mutex);
                pthread_join(db->thread, NULL);
                loop_wake_free(db->wake);
                loop_timer_free(db->timer);
        }
        pending_free(&db->queue);
        db_slice_free(db->slice);
        db_file_close(&db->file);
        pthread_cond_destroy(&db->cond);
        pthread_mutex_destroy(&db->mutex);
        free(db);
}

int64_t db_append(struct db *db, uint64_t term, struct buf *entry)
{
        if (entry->len > DB_ENTRY_BYTES_MAX)
                return -EFBIG;
        pthread_mutex_lock(&db->mutex);
        int error = db->error;
        if (!error) {
                struct pending *p = xnew(struct pending);

                p->index = ++db->last_index;
                p->term = term;
                p->bytes = *entry;
                *entry = (struct buf){0};
                list_push_back(&db->queue, &p->link);
                pthread_cond_signal(&db->cond);
        }
        pthread_mutex_unlock(&db->mutex);
        return error ? -EIO : (int64_t)db->last_index;
}

uint64_t db_last_index(const struct db *db)
{
        return db->last_index;
}

void db_cut_log(struct db *db, uint64_t index)
{
        pthread_mutex_lock(&db->mutex);
        assert(index <= db->covered);
        db->cut = MAX(db->cut, index);
        pthread_cond_signal(&db->cond);
        pthread_mutex_unlock(&db->mutex);
}
