/*
 * The database's thread: takes what is queued, as much as can be in one transaction, and hands it
 * back when it is durable.
 *
 * Order of its work: writes and loads first, for somebody waits for them; then a slice of rows;
 * then cutting the log and writing back the write-ahead log.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "manager/store/db_internal.h"
#include "shared/base/mem.h"
#include "shared/base/process.h"

#define CUT_ENTRIES  1000        /* deleted in one transaction */
#define BATCH_MAX    (16u << 20) /* bytes of entries in one transaction */
#define WAL_PAGE     4096
#define WAL_IDLE_MIN 256   /* pages that are worth writing back when idle */
#define TRIM_ROWS    20000 /* written, and the log cut: then the heap gives back what that took */

/* What the thread took for one step. */
struct work {
        struct list jobs;
        struct db_slice *slice;
};

/* --- taking -------------------------------------------------------------------------------------
 */
/* All that waits, up to BATCH_MAX bytes; an install, a load and a sealing go alone. */
static void take_jobs(struct db *db, struct list *ret)
{
        size_t bytes = 0;

        while (!list_is_empty(&db->queue) && bytes < BATCH_MAX) {
                struct db_job *job = LIST_ITEM(db->queue.next, struct db_job, link);
                bool is_alone = job->is_load || job->is_seal || job->write.install;
                bool is_vain = (job->is_load || job->is_seal) && db->is_stopping;

                if (is_alone && !is_vain && !list_is_empty(ret))
                        return;
                list_remove(&job->link);
                list_push_back(is_vain ? &db->done : ret, &job->link);
                if (is_vain)
                        continue;
                if (is_alone)
                        return;
                bytes += job->bytes;
        }
}

static bool has_work(const struct db *db)
{
        return db->has_more || !list_is_empty(&db->queue) || db->slice || db->cut ||
               db->is_reader_gone;
}

/* Waits for something to do. False: the end. */
static bool take(struct db *db, struct work *w)
{
        *w = (struct work){0};
        list_init(&w->jobs);
        pthread_mutex_lock(&db->mutex);
        while (!has_work(db) && !db->is_stopping)
                pthread_cond_wait(&db->cond, &db->mutex);
        take_jobs(db, &w->jobs);
        bool is_end = db->is_stopping && list_is_empty(&w->jobs);
        if (list_is_empty(&w->jobs) && !is_end)
                w->slice = STEAL_PTR(db->slice);
        if (db->cut) {
                free(db->cutting);
                db->cutting = STEAL_PTR(db->cut);
        }
        if (db->is_reader_gone)
                db->file.is_reader_in_way = db->is_reader_gone = false;
        pthread_mutex_unlock(&db->mutex);
        return !is_end;
}

/* --- writing ------------------------------------------------------------------------------------
 */
static int load(struct db *db, struct store **ret)
{
        struct store *store = store_new();
        struct err err = {0};
        int r = db_file_load(&db->file, store, &err);

        if (r < 0) {
                memcpy(db->file.error, err.text, sizeof(db->file.error));
                store_free(store);
                return r;
        }
        *ret = store;
        return 0;
}

/* A state that cannot be read must not take the place of one that can: it is read before it is
 * committed, and kept, for it will be asked for. */
static int install(struct db *db, const struct raft_base *base)
{
        int r = db_file_install(&db->file, base);

        store_free(STEAL_PTR(db->installed));
        return r < 0 ? r : load(db, &db->installed);
}

static int write_one(struct db *db, const struct raft_write *w)
{
        int r = db_file_set_term(&db->file, w->term, w->vote);

        if (r == 0 && w->install)
                r = install(db, w->install);
        if (r == 0 && w->from)
                r = db_file_write_log(&db->file, w->from, w->entries, w->n_entries);
        return r;
}

static int write_incoming(struct db *db, const struct raft_write *w)
{
        if (w->drops_chunks)
                db_file_drop_incoming(&db->file);
        if (!w->chunk)
                return 0;
        return db_file_write_incoming(&db->file, w->chunk_offset, w->chunk->data, w->chunk->len);
}

/* Ends a transaction as r says, which began well if r is 0. */
static int finish(struct db *db, int r)
{
        return r < 0 ? r : db_file_commit(&db->file);
}

static int write_jobs(struct db *db, struct list *jobs)
{
        bool is_install = LIST_ITEM(jobs->next, struct db_job, link)->write.install;
        struct db_job *job;
        int r = 0;

        LIST_FOREACH (job, jobs, link) {
                if (r == 0)
                        r = write_incoming(db, &job->write);
        }
        if (r == 0 && is_install)
                r = db_file_attach_incoming(&db->file);
        if (r == 0)
                r = db_file_begin(&db->file);
        LIST_FOREACH (job, jobs, link) {
                if (r == 0)
                        r = write_one(db, &job->write);
        }
        r = finish(db, r);
        if (r == 0 && is_install)
                r = db_file_detach_incoming(&db->file);
        return r;
}

static int run_load(struct db *db, struct db_job *job)
{
        job->applied = db->file.newest_row;
        job->store = STEAL_PTR(db->installed);
        return job->store ? 0 : load(db, &job->store);
}

/* A full disk, or a reader, keeps it from being complete: no reason to end. */
static int run_seal(struct db *db, struct db_job *job)
{
        int r = db_file_seal(&db->file, job->seal_on);

        if (r == -ENOSPC || r == -EBUSY) {
                db_file_rollback(&db->file);
                job->seal_error = -r;
                r = 0;
        }
        return r;
}

static int write_slice(struct db *db, const struct db_slice *slice)
{
        int r = db_file_begin(&db->file);

        assert(slice->newest_row >= db->file.newest_row);
        store_free(STEAL_PTR(db->installed));
        if (r == 0)
                r = db_file_write_slice(&db->file, slice);
        db->rows_since_trim += slice->n;
        return finish(db, r);
}

/* --- when nobody waits --------------------------------------------------------------------------
 */
static void trim(struct db *db)
{
        if (db->rows_since_trim < TRIM_ROWS)
                return;
        db->rows_since_trim = 0;
        process_trim();
}

/* What the log stands on is written before the entries below it go, or with them. */
static int cut_log(struct db *db)
{
        const struct raft_base *base = db->cutting;
        int r = db_file_begin(&db->file), n = 0;

        if (r == 0 && base->index > db->file.base.index)
                r = db_file_set_base(&db->file, base);
        if (r == 0)
                r = n = db_file_cut(&db->file, MIN(db->file.base.index, db->file.covered),
                                    CUT_ENTRIES);
        r = finish(db, r < 0 ? r : 0);
        if (r == 0 && n < CUT_ENTRIES) {
                free(db->cutting);
                db->cutting = NULL;
                trim(db);
        }
        return r;
}

static bool is_wal_large(const struct db *db)
{
        return (size_t)db->file.wal_pages * WAL_PAGE > DB_WAL_BYTES_MAX;
}

static int tidy_up(struct db *db)
{
        if (db->cutting)
                return cut_log(db);
        db->has_more = false;
        ballast_make(&db->file);
        if (db->file.wal_pages < WAL_IDLE_MIN || db->file.is_reader_in_way)
                return 0;
        return db_file_checkpoint(&db->file, is_wal_large(db));
}

/* --- the thread ---------------------------------------------------------------------------------
 */
static int step(struct db *db, struct work *w)
{
        struct db_job *job = LIST_ITEM(w->jobs.next, struct db_job, link);
        bool has_jobs = !list_is_empty(&w->jobs);
        int r;

        db->has_more = true;
        if (has_jobs && job->is_seal)
                r = run_seal(db, job);
        else if (has_jobs)
                r = job->is_load ? run_load(db, job) : write_jobs(db, &w->jobs);
        else if (w->slice)
                r = write_slice(db, w->slice);
        else
                r = tidy_up(db);
        if (r == 0 && is_wal_large(db))
                r = db_file_checkpoint(&db->file, true);
        return r;
}

/* Once more with what was kept for a full disk; a snapshot has its own room to find. */
static int step_again(struct db *db, struct work *w, int r)
{
        bool is_install = !list_is_empty(&w->jobs) &&
                          LIST_ITEM(w->jobs.next, struct db_job, link)->write.install;

        if (r != -ENOSPC || is_install || !ballast_release(&db->file))
                return r;
        db_file_rollback(&db->file);
        return step(db, w);
}

/* What failed goes back to where it came from: the loop frees it. */
static void give_back(struct db *db, struct work *w, int r)
{
        pthread_mutex_lock(&db->mutex);
        if (r < 0) {
                list_splice_back(&w->jobs, &db->queue);
                list_splice_back(&db->queue, &w->jobs);
                db->error = -r;
                memcpy(db->error_text, db->file.error, sizeof(db->error_text));
        }
        bool is_news = r < 0 || w->slice || !list_is_empty(&w->jobs);
        list_splice_back(&db->done, &w->jobs);
        if (w->slice)
                db->is_slice_running = false;
        if (r == 0)
                db->covered = db->file.covered;
        pthread_mutex_unlock(&db->mutex);
        db_slice_free(w->slice);
        if (is_news)
                loop_wake_send(db->wake);
}

void *db_thread_main(void *arg)
{
        struct db *db = arg;
        struct work w;
        int r = 0;

        db->has_more = true;
        while (r == 0 && take(db, &w)) {
                r = step_again(db, &w, step(db, &w));
                if (r < 0) {
                        db_file_rollback(&db->file);
                        db_file_drop_incoming(&db->file);
                }
                give_back(db, &w, r);
        }
        return NULL;
}
