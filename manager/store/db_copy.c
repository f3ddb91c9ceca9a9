/*
 * Copies of the database, each made on a thread of the pool with connections of its own: a reader
 * of the write-ahead log, which keeps nobody from writing. One that is under way when the database
 * is closed is given up: closing waits for it if it runs, and leaves it to itself if it has yet to
 * begin.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "manager/store/db_internal.h"
#include "shared/base/mem.h"

enum copy_state { COPY_WAITS, COPY_RUNS, COPY_ENDED };

struct copy {
        struct list link;
        struct db *db; /* the loop's; NULL: closed */
        char *from, *to;
        uint64_t tag, agreed, index, size;
        struct db_seal seal;
        int result;
        atomic_bool is_cancelled;

        pthread_mutex_t mutex;
        pthread_cond_t cond;
        enum copy_state state; /* under the mutex */
};

static void set_state(struct copy *c, enum copy_state state)
{
        pthread_mutex_lock(&c->mutex);
        c->state = state;
        pthread_cond_signal(&c->cond);
        pthread_mutex_unlock(&c->mutex);
}

/* On a thread of the pool. */
static void work(void *arg)
{
        struct copy *c = arg;

        pthread_mutex_lock(&c->mutex);
        bool is_cancelled = atomic_load(&c->is_cancelled);
        c->state = COPY_RUNS;
        pthread_mutex_unlock(&c->mutex);
        c->result = is_cancelled ? -ECANCELED
                                 : db_file_copy(c->from, c->agreed, c->to, &c->seal,
                                                &c->is_cancelled, &c->index, &c->size);
        set_state(c, COPY_ENDED);
}

static void copy_free(struct copy *c)
{
        pthread_cond_destroy(&c->cond);
        pthread_mutex_destroy(&c->mutex);
        explicit_bzero(&c->seal, sizeof(c->seal));
        free(c->from);
        free(c->to);
        free(c);
}

static void on_done(void *arg)
{
        struct copy *c = arg;
        struct db *db = c->db;

        if (db) {
                list_remove(&c->link);
                /* It may have kept the write-ahead log from being written back. */
                pthread_mutex_lock(&db->mutex);
                db->is_reader_gone = true;
                pthread_cond_signal(&db->cond);
                pthread_mutex_unlock(&db->mutex);
                if (c->result < 0)
                        db->events.on_copied(db->events.arg, c->tag, -c->result, 0, 0);
                else
                        db->events.on_copied(db->events.arg, c->tag, 0, c->index, c->size);
        } else if (c->result == 0) {
                unlink(c->to); /* nobody was told of it */
        }
        copy_free(c);
}

void db_copy(struct db *db, uint64_t tag, const char *path)
{
        struct copy *c = xnew(struct copy);

        c->db = db;
        c->tag = tag;
        c->agreed = db->agreed;
        c->seal = db->seal;
        c->from = xstrdup(db->file.path);
        c->to = xstrdup(path);
        pthread_mutex_init(&c->mutex, NULL);
        pthread_cond_init(&c->cond, NULL);
        list_push_back(&db->copies, &c->link);
        loop_work(db->loop, work, on_done, c);
}

void db_copies_end(struct db *db)
{
        struct copy *c, *tmp;

        LIST_FOREACH (c, &db->copies, link)
                atomic_store(&c->is_cancelled, true);
        LIST_FOREACH_SAFE (c, tmp, &db->copies, link) {
                pthread_mutex_lock(&c->mutex);
                while (c->state == COPY_RUNS)
                        pthread_cond_wait(&c->cond, &c->mutex);
                c->db = NULL;
                list_remove(&c->link);
                pthread_mutex_unlock(&c->mutex);
        }
}
