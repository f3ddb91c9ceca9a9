/* What tests of the database stand on: a folder, a database in it, and all that was proposed. */
#pragma once

#include "shared/base/rng.h"
#include "tests/lib/db_rig.h"

#define FIXTURE_ENTRIES_MAX 1000

struct fixture {
        char dir[64], path[96], wal[96], incoming[96];
        struct db_rig rig;
        bool is_open;
        const uint8_t *key, *wrapped; /* for the next opening, as in the rig */
        struct rng rng;
        struct err err;
        struct raft_bytes *entries[FIXTURE_ENTRIES_MAX]; /* by index, of those that were proposed */
        uint64_t hash_at[FIXTURE_ENTRIES_MAX];
};

/* For cmocka. */
int fixture_setup(void **state);
int fixture_teardown(void **state);

void fixture_open(struct fixture *f); /* the rig, on f->dir */
void fixture_close(struct fixture *f);
/* n entries of random changes, and their hashes. */
void fixture_propose(struct fixture *f, size_t n);
/* The same, and waits until they are durable. */
void fixture_commit(struct fixture *f, size_t n);
/* An entry with a service of that many tasks. */
void fixture_fill(struct fixture *f, uint32_t tasks);
void fixture_wait_covered(struct fixture *f, uint64_t index);
/* Takes the store back, and reads what is on disk: it must be what the entries made. */
void fixture_reload(struct fixture *f);
int64_t fixture_meta(struct fixture *f, const char *key); /* as a second connection sees it */
int64_t fixture_file_size(const char *path);              /* -1: none */

/* A write of n entries of one kind and term. text: their bytes; NULL: none. */
struct raft_write entries_from(uint64_t from, size_t n, uint64_t term, enum raft_entry_kind kind,
                               const char *text);
