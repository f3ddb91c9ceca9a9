/*
 * Uploads of blobs: chunks in sequence, each written and hashed on another thread and answered when
 * it is; with the last the digest is checked, the file synced and given its name. What can fail: a
 * chunk out of sequence (the answer says where the upload stands), another client that uploads the
 * same, the disk, the digest; after the last two nothing of the upload is left.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "manager/blobs/blobs_internal.h"
#include "shared/base/io.h"
#include "shared/base/log.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/base/time.h"
#include "shared/image/image.h"
#include "shared/model/model.h"

struct upload {
        char *digest; /* first: the map's key */
        struct blobs *blobs;
        char *tmp_name;
        int fd;
        struct digest *hash;
        uint64_t connection; /* 0: its client has gone */
        int64_t offset;      /* of the next chunk */
        int64_t used_ms;     /* when a chunk came last */
        struct list queue;   /* chunk.link */
        int n_queued;
        bool has_last; /* its last chunk is in the queue */
        bool is_dropped;
        struct job *job; /* NULL: nothing runs */
};

struct chunk {
        struct list link;
        uint64_t connection, number;
        struct buf data;
        int64_t end; /* offset behind it */
        bool is_last;
};

/* What runs on another thread: some chunks of one upload, in order. */
struct job {
        struct upload *upload;
        struct list chunks; /* to do, then done */
        struct err err;
        bool is_complete;
};

static void chunk_free(struct chunk *c)
{
        buf_done(&c->data);
        free(c);
}

static void upload_free(struct upload *u)
{
        char *name = STEAL_PTR(u->tmp_name);

        close(u->fd);
        digest_free(u->hash);
        blob_unlink(u->blobs, &name); /* missing when it has its real name now */
        free(u->digest);
        free(u);
}

static void fail_queue(struct upload *u, struct list *chunks, const struct err *err)
{
        struct list *l;

        while ((l = list_pop_front(chunks))) {
                struct chunk *c = LIST_ITEM(l, struct chunk, link);

                respond_error(u->blobs, c->connection, c->number, err, NULL);
                chunk_free(c);
        }
}

/* Forgets an upload; its job, if any, frees it. */
static void drop(struct upload *u, const struct err *err)
{
        map_remove(&u->blobs->uploads, u);
        fail_queue(u, &u->queue, err);
        u->is_dropped = true;
        if (!u->job)
                upload_free(u);
}

/* --- on another thread --------------------------------------------------------------------------
 */
static int sync_folder(int dir_fd, const char *name)
{
        _cleanup_close_ int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

static int complete(struct upload *u, struct err *err)
{
        _cleanup_free_ char *name = blob_name(u->digest);
        char digest[DIGEST_TEXT_LEN + 1];
        int dir = u->blobs->dir_fd, r = 0;

        digest_finish(STEAL_PTR(u->hash), digest);
        if (!str_is_equal(digest, u->digest))
                return err_set(err, EBADMSG, "what was uploaded has the digest %s", digest);
        if (fsync(u->fd) < 0 || renameat(dir, u->tmp_name, dir, name) < 0)
                r = -errno;
        if (r == 0)
                r = sync_folder(dir, "sha256");
        return r < 0 ? err_set(err, -r, "%s", err_name(r)) : 0;
}

/* The log is on the same disk as a rule, and a manager that cannot write it ends: images do not
 * take the last of the room. */
static int check_room(int fd, size_t n)
{
        struct statvfs fs;

        if (fstatvfs(fd, &fs) < 0)
                return -errno;
        uint64_t room = (uint64_t)fs.f_bavail * fs.f_frsize,
                 all = (uint64_t)fs.f_blocks * fs.f_frsize;
        return room < n + MIN(all / BLOB_KEEP_FREE_PART, BLOB_KEEP_FREE_BYTES) ? -ENOSPC : 0;
}

static void work(void *arg)
{
        struct job *job = arg;
        struct upload *u = job->upload;
        struct chunk *c;
        int r = 0;

        LIST_FOREACH (c, &job->chunks, link) {
                r = check_room(u->fd, c->data.len);
                if (r == 0)
                        r = io_write_all(u->fd, c->data.data, c->data.len);
                if (r < 0) {
                        err_set(&job->err, -r, "%s", err_name(r));
                        if (ftruncate(u->fd, 0) < 0) /* its room is free before the client hears */
                                log_warn("blob %.19s: %s", u->digest, err_name(errno));
                        break;
                }
                digest_update(u->hash, c->data.data, c->data.len);
                if (c->is_last) {
                        r = complete(u, &job->err);
                        job->is_complete = r == 0;
                }
        }
        if (r < 0)
                err_wrap(&job->err, "blob %.19s", u->digest);
}

/* --- on the loop --------------------------------------------------------------------------------
 */
static void start_job(struct upload *u);

static void answer(struct blobs *b, struct list *chunks)
{
        struct list *l;

        while ((l = list_pop_front(chunks))) {
                struct chunk *c = LIST_ITEM(l, struct chunk, link);
                Swarm__Response r = SWARM__RESPONSE__INIT;

                r.number = c->number;
                r.kind_case = SWARM__RESPONSE__KIND_BLOB_OFFSET;
                r.blob_offset = (uint64_t)c->end;
                respond(b, c->connection, &r);
                chunk_free(c);
        }
}

static void free_chunks(struct list *chunks)
{
        struct list *l;

        while ((l = list_pop_front(chunks)))
                chunk_free(LIST_ITEM(l, struct chunk, link));
}

static void work_done(void *arg)
{
        struct job *job = arg;
        struct upload *u = job->upload;
        struct blobs *b = u->blobs;

        u->job = NULL;
        if (b->is_closed)
                free_chunks(&job->chunks);
        else if (job->err.code)
                fail_queue(u, &job->chunks, &job->err);
        else
                answer(b, &job->chunks);
        if (u->is_dropped) {
                upload_free(u);
        } else if (job->err.code || job->is_complete) {
                struct err err = job->err;

                if (!err.code)
                        err_set(&err, ESTALE, "blob %.19s: is complete", u->digest);
                drop(u, &err);
        } else {
                start_job(u);
        }
        blobs_job_done(b);
        free(job);
}

static void start_job(struct upload *u)
{
        struct job *job;

        if (u->job || list_is_empty(&u->queue))
                return;
        job = xnew(struct job);
        job->upload = u;
        list_init(&job->chunks);
        list_splice_back(&job->chunks, &u->queue);
        u->n_queued = 0;
        u->job = job;
        u->blobs->n_jobs++;
        loop_work(u->blobs->loop, work, work_done, job);
}

/* What comes from another manager makes way for a client. */
static bool is_idle(const struct upload *u, int64_t now_ms)
{
        return u->connection == 0 || u->connection == BLOB_OWN_CONNECTION ||
               now_ms - u->used_ms > BLOB_UPLOAD_IDLE_MS;
}

static int make_room(struct blobs *b, struct err *err)
{
        struct upload *u, *oldest = NULL;
        size_t i;

        if (b->uploads.len < BLOB_UPLOADS_MAX)
                return 0;
        MAP_FOREACH (u, i, &b->uploads)
                if (is_idle(u, time_now().mono_ms) && (!oldest || u->used_ms < oldest->used_ms))
                        oldest = u;
        if (!oldest)
                return err_set(err, EBUSY, "more than %d uploads at a time", BLOB_UPLOADS_MAX);
        struct err dropped = {0};
        err_set(&dropped, ECANCELED, "blob %.19s: another upload took its place", oldest->digest);
        drop(oldest, &dropped);
        return 0;
}

static int upload_new(struct blobs *b, const char *digest, uint64_t connection, struct upload **ret,
                      struct err *err)
{
        int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, fd;
        _cleanup_free_ char *name = blob_tmp_name(b, digest);
        int r = make_room(b, err);

        if (r < 0)
                return r;
        fd = openat(b->dir_fd, name, flags, 0600);
        if (fd < 0)
                return err_set(err, errno, "%s", err_name(errno));
        struct upload *u = xnew(struct upload);
        u->digest = xstrdup(digest);
        u->blobs = b;
        u->tmp_name = STEAL_PTR(name);
        u->fd = fd;
        u->hash = digest_new();
        u->connection = connection;
        list_init(&u->queue);
        map_put(&b->uploads, u);
        *ret = u;
        return 0;
}

/* The upload that the chunk belongs to; a first chunk begins a new one. */
static int find_upload(struct blobs *b, uint64_t connection, const Swarm__BlobPut *m,
                       struct upload **ret, struct err *err)
{
        struct upload *u = map_get_str(&b->uploads, m->digest);
        int64_t now_ms = time_now().mono_ms;

        if (u && u->connection != connection && !is_idle(u, now_ms))
                return err_set(err, EBUSY, "is being uploaded by another client");
        if (u && m->offset == 0 && u->offset > 0) {
                struct err anew = {0};

                err_set(&anew, ECANCELED, "blob %.19s: the upload began anew", m->digest);
                drop(u, &anew);
                u = NULL;
        }
        if (!u && m->offset == 0) {
                int r = upload_new(b, m->digest, connection, &u, err);

                if (r < 0)
                        return r;
        }
        if (!u || m->offset != (uint64_t)u->offset || u->has_last)
                return err_set(err, ESTALE, "the upload stands at %lld, not at %llu",
                               u ? (long long)u->offset : 0LL, (unsigned long long)m->offset);
        if (u->n_queued >= BLOB_QUEUE_MAX)
                return err_set(err, EBUSY, "more than %d chunks wait for the disk", BLOB_QUEUE_MAX);
        if (u->offset + (int64_t)m->data.len > BLOB_BYTES_MAX)
                return err_set(err, EFBIG, "is larger than %lld bytes", BLOB_BYTES_MAX);
        u->connection = connection;
        u->used_ms = now_ms;
        *ret = u;
        return 0;
}

static int check_put(const Swarm__BlobPut *m, struct err *err)
{
        if (!digest_is_valid(m->digest))
                return err_set(err, EINVAL, "is no digest");
        if (m->data.len > BLOB_CHUNK_MAX)
                return err_set(err, EINVAL, "a chunk of more than %u bytes", BLOB_CHUNK_MAX);
        if (m->data.len == 0 && !m->is_last)
                return err_set(err, EINVAL, "a chunk without bytes");
        return 0;
}

static void queue_chunk(struct upload *u, uint64_t connection, uint64_t number,
                        const Swarm__BlobPut *m)
{
        struct chunk *c = xnew(struct chunk);

        u->offset += (int64_t)m->data.len;
        u->has_last = m->is_last;
        u->n_queued++;
        c->connection = connection;
        c->number = number;
        c->end = u->offset;
        c->is_last = m->is_last;
        buf_append(&c->data, m->data.data, m->data.len);
        list_push_back(&u->queue, &c->link);
        start_job(u);
}

void upload_on_put(struct blobs *b, uint64_t connection, uint64_t number, const Swarm__BlobPut *m)
{
        struct upload *u = NULL;
        struct err err = {0};
        int r = check_put(m, &err);
        int64_t size = r == 0 ? blob_size(b, m->digest) : -EINVAL;

        if (size >= 0) { /* it is here: nothing to do for whoever brings it again */
                Swarm__Response ok = SWARM__RESPONSE__INIT;

                ok.number = number;
                ok.kind_case = SWARM__RESPONSE__KIND_BLOB_OFFSET;
                ok.blob_offset = (uint64_t)size;
                respond(b, connection, &ok);
                return;
        }
        if (r == 0)
                r = find_upload(b, connection, m, &u, &err);
        if (r < 0) {
                int64_t offset = err.code == ESTALE ? upload_offset(b, m->digest) : 0;

                err_wrap(&err, "blob %.19s", m->digest);
                respond_error(b, connection, number, &err, err.code == ESTALE ? &offset : NULL);
                return;
        }
        queue_chunk(u, connection, number, m);
}

int64_t upload_offset(struct blobs *b, const char *digest)
{
        struct upload *u = map_get_str(&b->uploads, digest);

        return u ? u->offset : 0;
}

void upload_on_client_gone(struct blobs *b, uint64_t connection)
{
        struct upload *u;
        size_t i;

        MAP_FOREACH (u, i, &b->uploads)
                if (u->connection == connection)
                        u->connection = 0;
}

void upload_drop_old(struct blobs *b, int64_t now_ms)
{
        struct err err = {0};
        struct upload *u;
        size_t i;

        err_set(&err, ETIMEDOUT, "blob: the upload was given up");
        MAP_FOREACH (u, i, &b->uploads) {
                if (u->job || now_ms - u->used_ms < BLOB_UPLOAD_KEEP_MS)
                        continue;
                drop(u, &err);
                i = 0;
        }
}

void upload_drop_all(struct blobs *b)
{
        struct err err = {0};
        struct upload *u;
        size_t i;

        err_set(&err, ECANCELED, "blob: the manager ends");
        MAP_FOREACH (u, i, &b->uploads) {
                drop(u, &err);
                i = 0;
        }
}
