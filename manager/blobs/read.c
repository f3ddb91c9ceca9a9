/*
 * Reads of blobs: a piece of a file, read on another thread so that a slow disk holds up nobody.
 * Here for clients, who are told so beyond BLOB_READS_MAX at a time; for agents: serve.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "manager/blobs/blobs_internal.h"
#include "shared/base/mem.h"
#include "shared/image/image.h"
#include "shared/model/model.h"

static int read_piece(struct read *r, int fd)
{
        buf_reserve(&r->data, r->max_bytes);
        while (r->data.len < r->max_bytes) {
                ssize_t n = pread(fd, r->data.data + r->data.len, r->max_bytes - r->data.len,
                                  (off_t)(r->offset + r->data.len));

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0)
                        break;
                r->data.len += (size_t)n;
        }
        return 0;
}

static void work(void *arg)
{
        struct read *r = arg;
        _cleanup_close_ int fd =
                openat(r->dir_fd, r->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0) {
                r->error = -errno;
                return;
        }
        r->total = st.st_size;
        if (r->offset <= (uint64_t)r->total)
                r->error = read_piece(r, fd);
        else
                r->error = -ERANGE;
}

void read_set_error(const struct read *r, struct err *err)
{
        if (r->error == -ENOENT)
                err_set(err, ENOENT, "blob %.19s: the manager does not have it", r->digest);
        else if (r->error < 0)
                err_set(err, -r->error, "blob %.19s: %s", r->digest, err_name(r->error));
}

void read_fill(const struct read *r, Swarm__BlobData *m)
{
        m->offset = r->offset;
        m->total = (uint64_t)r->total;
        m->data.data = r->data.data;
        m->data.len = r->data.len;
}

static void done(void *arg)
{
        struct read *r = arg;

        r->blobs->n_reads--;
        r->done(r->arg, r);
        blobs_job_done(r->blobs);
        buf_done(&r->data);
        free(r->digest);
        free(r->name);
        free(r);
}

void read_start(struct blobs *b, const Swarm__BlobGet *m, read_fn *read_done, void *arg)
{
        struct read *r = xnew(struct read);

        r->blobs = b;
        r->dir_fd = b->dir_fd;
        r->done = read_done;
        r->arg = arg;
        r->offset = m->offset;
        r->digest = xstrdup(m->digest);
        r->name = blob_name(m->digest);
        r->max_bytes = m->max_bytes ? MIN(m->max_bytes, BLOB_CHUNK_MAX) : BLOB_CHUNK_MAX;
        b->n_reads++;
        b->n_jobs++;
        loop_work(b->loop, work, done, r);
}

/* --- clients ------------------------------------------------------------------------------------
 */
struct client_read {
        uint64_t connection, number;
};

static void client_done(void *arg, const struct read *r)
{
        _cleanup_free_ struct client_read *c = arg;
        struct blobs *b = r->blobs;
        Swarm__BlobData m = SWARM__BLOB_DATA__INIT;
        Swarm__Response response = SWARM__RESPONSE__INIT;
        struct err err = {0};

        if (b->is_closed)
                return;
        read_set_error(r, &err);
        if (err.code) {
                respond_error(b, c->connection, c->number, &err, NULL);
                return;
        }
        read_fill(r, &m);
        response.number = c->number;
        response.kind_case = SWARM__RESPONSE__KIND_BLOB_DATA;
        response.blob_data = &m;
        respond(b, c->connection, &response);
}

void read_on_client_get(struct blobs *b, uint64_t connection, uint64_t number,
                        const Swarm__BlobGet *m)
{
        struct err err = {0};

        if (!digest_is_valid(m->digest))
                err_set(&err, EINVAL, "blob %.80s: is no digest", m->digest);
        else if (b->n_reads >= BLOB_READS_MAX)
                err_set(&err, EBUSY, "blob %.19s: more than %d reads at a time", m->digest,
                        BLOB_READS_MAX);
        if (err.code) {
                respond_error(b, connection, number, &err, NULL);
                return;
        }
        struct client_read *c = xnew(struct client_read);
        *c = (struct client_read){connection, number};
        read_start(b, m, client_done, c);
}
