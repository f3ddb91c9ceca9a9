/* What the loop's side of db (db.c, db_copy.c) and its thread (db_thread.c) share. */
#pragma once

#include <pthread.h>

#include "manager/store/db_file_internal.h"
#include "shared/base/list.h"

struct db_job {
        struct list link;
        bool is_load;
        bool is_seal, seal_on;   /* what is secret is to be sealed, or no more */
        int seal_error;          /* positive: to be tried again */
        struct raft_write write; /* its counts of references are the loop's, as is its end */
        size_t bytes;
        struct store *store; /* that was loaded, */
        uint64_t applied;    /* at this index */
};

struct db {
        /* The thread's once it runs. */
        struct db_file file;
        struct store *installed; /* as read from what was just installed, for the next load */
        struct raft_base *cutting;
        bool has_more; /* there may be more to do that nobody waits for */
        size_t rows_since_trim;

        /* The loop's. */
        struct loop *loop;
        struct db_events events;
        struct loop_wake *wake;
        struct loop_timer *timer; /* to the next round of rows */
        struct store *store;
        uint64_t applied, agreed, round_index, covered_told; /* agreed: the highest applied */
        bool is_round, is_timer_set, is_failure_told;
        struct list copies;
        struct db_seal seal; /* as it is to be */

        pthread_t thread;
        pthread_mutex_t mutex;
        pthread_cond_t cond;
        bool has_thread;
        /* Under the mutex. */
        struct list queue, done; /* struct db_job */
        struct db_slice *slice;
        struct raft_base *cut;
        bool is_slice_running, is_reader_gone, is_stopping;
        uint64_t covered;
        int error; /* positive; set once */
        char error_text[ERR_TEXT_MAX];
};

/* db_thread.c */
void *db_thread_main(void *db);

/* db.c */
void db_queue_seal(struct db *db, bool on);

/* db_copy.c */
void db_copies_end(struct db *db);
