/* The parts of blobs: files and their removal (blobs.c), uploads (upload.c), reads (read.c),
 * what agents are sent (serve.c). For this folder alone. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "manager/blobs/blobs.h"
#include "shared/base/list.h"
#include "shared/base/map.h"

#define BLOB_OWN_CONNECTION  UINT64_MAX    /* no client's: what comes from other managers */
#define BLOB_STAT_MAX        1024          /* digests in one BlobStat */
#define BLOB_KEEP_FREE_BYTES (64ull << 20) /* that uploads leave free for the log, */
#define BLOB_KEEP_FREE_PART  16            /* or this part of a small disk */
#define BLOB_UPLOAD_KEEP_MS  600000        /* an upload that nobody goes on with is deleted after */

/* What copies.c is told and asked. */
struct blob_hooks {
        void *arg;
        void (*on_response)(void *arg, const Swarm__Response *r); /* to BLOB_OWN_CONNECTION */
        /* It is missing, but another manager is being asked for it. */
        bool (*is_coming)(void *arg, const char *digest);
};

struct blobs {
        struct loop *loop;
        struct blobs_config config;
        int dir_fd;
        struct map uploads; /* by digest */
        struct map pins;    /* by digest */
        struct loop_timer *timer;
        uint64_t last_tmp; /* numbers names below tmp/ */
        int64_t next_gc_ms, opened_wall_ms;
        struct blob_hooks hooks;   /* NULL: there is nobody */
        struct map takers, shares; /* of agents that have answers underway: serve.c */
        struct list waiting;       /* struct answer, of all takers, in order */
        int n_sent;                /* answers that are being read or not yet acknowledged */
        int n_reads, n_jobs;       /* on other threads; the last frees what was closed */
        bool is_closed;
};

/* "sha256/<hex>", "tmp/<hex>.<n>"; heap. */
char *blob_name(const char *digest);
char *blob_tmp_name(struct blobs *b, const char *digest);
/* Size of a complete blob; -ENOENT. */
int64_t blob_size(struct blobs *b, const char *digest);
/* It is here, whole and durable. */
bool blob_is_held(struct blobs *b, const char *digest);
/* Keeps it for BLOB_PIN_MS from now, whether an image names it or not. */
void blob_pin(struct blobs *b, const char *digest);
/* A job on another thread has ended. False: b was closed meanwhile, and may be gone now. */
bool blobs_job_done(struct blobs *b);
/* Removes a file below the folder on another thread; takes the name. */
void blob_unlink(struct blobs *b, char **name);

void respond(struct blobs *b, uint64_t connection, const Swarm__Response *r);
void respond_error(struct blobs *b, uint64_t connection, uint64_t number, const struct err *err,
                   const int64_t *offset);

/* --- upload.c ----------------------------------------------------------------------------------
 */
void upload_on_put(struct blobs *b, uint64_t connection, uint64_t number, const Swarm__BlobPut *m);
void upload_on_client_gone(struct blobs *b, uint64_t connection);
/* Bytes of an unfinished upload so far; 0: there is none. */
int64_t upload_offset(struct blobs *b, const char *digest);
void upload_drop_old(struct blobs *b, int64_t now_ms);
void upload_drop_all(struct blobs *b);

/* --- read.c ------------------------------------------------------------------------------------
 */
struct read;
/* At its end; r is the callee's to look at during the call. Also when blobs were closed. */
typedef void read_fn(void *arg, const struct read *r);

struct read {
        struct blobs *blobs;
        int dir_fd;
        read_fn *done;
        void *arg;
        uint64_t offset;
        char *digest, *name;
        size_t max_bytes;
        struct buf data;
        int64_t total;
        int error;
};

/* The digest is valid. */
void read_start(struct blobs *b, const Swarm__BlobGet *m, read_fn *done, void *arg);
void read_set_error(const struct read *r, struct err *err);
/* What was read; borrowed. */
void read_fill(const struct read *r, Swarm__BlobData *m);
void read_on_client_get(struct blobs *b, uint64_t connection, uint64_t number,
                        const Swarm__BlobGet *m);

/* --- serve.c -----------------------------------------------------------------------------------
 */
void serve_init(struct blobs *b);
void serve_on_gone(struct blobs *b, uint64_t connection);
void serve_drop_all(struct blobs *b);
