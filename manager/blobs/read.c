/*
 * Reads of blobs, for agents and clients: a piece of a file, read on another thread so that a slow
 * disk holds up nobody. Beyond BLOB_READS_MAX at a time an agent gets no answer, and asks again; a
 * client is told so.
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

struct read {
        struct blobs *blobs;
        int dir_fd;
        bool is_client;
        uint64_t connection, number; /* of a client */
        struct id node;              /* of an agent */
        uint64_t request, offset;
        char *digest, *name;
        size_t max_bytes;
        struct buf data;
        int64_t total;
        int error;
};

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

static void set_error(const struct read *r, struct err *err)
{
        if (r->error == -ENOENT)
                err_set(err, ENOENT, "blob %.19s: the manager does not have it", r->digest);
        else if (r->error < 0)
                err_set(err, -r->error, "blob %.19s: %s", r->digest, err_name(r->error));
}

static void answer(struct read *r)
{
        struct blobs *b = r->blobs;
        Swarm__BlobData m = SWARM__BLOB_DATA__INIT;
        Swarm__Response response = SWARM__RESPONSE__INIT;
        struct err err = {0};

        set_error(r, &err);
        m.request = r->request;
        m.offset = r->offset;
        m.total = (uint64_t)r->total;
        m.data.data = r->data.data;
        m.data.len = r->data.len;
        if (!r->is_client) {
                m.error = err.text;
                b->config.on_data(b->config.arg, r->node, &m);
        } else if (err.code) {
                respond_error(b, r->connection, r->number, &err, NULL);
        } else {
                response.number = r->number;
                response.kind_case = SWARM__RESPONSE__KIND_BLOB_DATA;
                response.blob_data = &m;
                b->config.on_response(b->config.arg, r->connection, &response);
        }
}

static void done(void *arg)
{
        struct read *r = arg;

        r->blobs->n_reads--;
        if (!r->blobs->is_closed)
                answer(r);
        blobs_job_done(r->blobs);
        buf_done(&r->data);
        free(r->digest);
        free(r->name);
        free(r);
}

static struct read *read_new(struct blobs *b, const Swarm__BlobGet *m)
{
        struct read *r = xnew(struct read);

        r->blobs = b;
        r->dir_fd = b->dir_fd;
        r->request = m->request;
        r->offset = m->offset;
        r->digest = xstrdup(m->digest);
        r->name = blob_name(m->digest);
        r->max_bytes = m->max_bytes ? MIN(m->max_bytes, BLOB_CHUNK_MAX) : BLOB_CHUNK_MAX;
        return r;
}

static void start(struct read *r)
{
        r->blobs->n_reads++;
        r->blobs->n_jobs++;
        loop_work(r->blobs->loop, work, done, r);
}

void blobs_on_get(struct blobs *b, struct id node, const Swarm__BlobGet *m)
{
        struct read *r;

        if (b->n_reads >= BLOB_READS_MAX)
                return;
        if (!digest_is_valid(m->digest)) {
                Swarm__BlobData bad = SWARM__BLOB_DATA__INIT;

                bad.request = m->request;
                bad.error = (char *)"blob: is no digest";
                b->config.on_data(b->config.arg, node, &bad);
                return;
        }
        r = read_new(b, m);
        r->node = node;
        start(r);
}

void read_on_client_get(struct blobs *b, uint64_t connection, uint64_t number,
                        const Swarm__BlobGet *m)
{
        struct err err = {0};
        struct read *r;

        if (!digest_is_valid(m->digest))
                err_set(&err, EINVAL, "blob %.80s: is no digest", m->digest);
        else if (b->n_reads >= BLOB_READS_MAX)
                err_set(&err, EBUSY, "blob %.19s: more than %d reads at a time", m->digest,
                        BLOB_READS_MAX);
        if (err.code) {
                respond_error(b, connection, number, &err, NULL);
                return;
        }
        r = read_new(b, m);
        r->is_client = true;
        r->connection = connection;
        r->number = number;
        start(r);
}
