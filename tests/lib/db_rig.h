/* A database with its loop and a store, written by one manager that asks nobody: for tests and
 * benches of what is on disk. */
#pragma once

#include "manager/store/db.h"

#define DB_RIG_PENDING_MAX 256

struct db_rig {
        struct loop *loop;
        struct db *db;
        struct store *store;   /* as all entries make it */
        struct db_state state; /* as it was read at the opening */
        uint64_t loaded_hash;  /* of the store at state.applied */

        uint64_t seq, last; /* of what was written; the newest entry */
        uint64_t durable_seq, durable, covered;
        struct {
                uint64_t seq, last;
        } pending[DB_RIG_PENDING_MAX];
        size_t n_pending;

        /* Answers of the last db_load and db_copy. */
        struct store *loaded;
        uint64_t loaded_at, copied_at, copied_size, copied_tag;
        int copy_error, n_copied;
        int seal_error, n_sealed; /* of the last db_seal */

        int failure, n_failures;
        char failure_text[ERR_TEXT_MAX];

        const uint8_t *key, *wrapped; /* for db_set_key, before the opening; NULL: none */

        bool is_cutting; /* the log is cut wherever the tables cover it */
        void *arg;       /* may be NULL, as the functions */
        void (*on_durable)(void *arg);
};

/* Opens (a new file gets id 1, alone), reads, applies the whole log, starts. */
int db_rig_open(struct db_rig *r, const char *dir, struct err *err);
void db_rig_close(struct db_rig *r);
/* Takes what changed in the store as the next entry, of the term. Returns its bytes, which are
 * valid until the loop runs. */
struct raft_bytes *db_rig_propose(struct db_rig *r, uint64_t term);
/* Hands in the write with the next seq. last: the newest entry, once it is durable. */
void db_rig_write(struct db_rig *r, struct raft_write *w, uint64_t last);
/* Runs the loop until *value is at least n, or the database fails. */
void db_rig_wait(struct db_rig *r, const uint64_t *value, uint64_t n);
void db_rig_run_ms(struct db_rig *r, int64_t ms);
