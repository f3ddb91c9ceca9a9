/*
 * Fetches blobs from the manager into files: several chunks are outstanding at a time, each asked
 * for again when it does not come, so that a lost message or a new session costs one chunk and no
 * more. The digest is checked at the end on another thread. What can fail: the manager lacks the
 * blob or is silent for too long, the disk, the digest.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "agent/image/image_internal.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/base/time.h"

#define TICK_MS      1000
#define VERIFY_BYTES (256u << 10)

struct chunk {
        uint64_t request; /* 0: nothing is outstanding */
        int64_t offset, len, sent_ms;
};

struct fetcher {
        struct loop *loop;
        void (*send)(void *arg, const Swarm__BlobGet *m);
        void *arg;
        struct list active, waiting; /* fetch.link */
        int n_active;
        uint64_t last_request;
        struct loop_timer *timer;
};

struct fetch {
        struct list link;
        struct fetcher *fetcher;
        char *digest;
        int64_t size, asked, received; /* bytes */
        int fd, silences;
        struct chunk chunks[IMAGE_FETCH_WINDOW];
        fetch_fn *done;
        void *arg;
        struct verify *verify; /* NULL until all is here */
};

/* The check of a digest on another thread; outlives a fetch that was cancelled. */
struct verify {
        struct fetch *fetch; /* NULL: nobody wants to know any more */
        int fd;
        char digest[DIGEST_TEXT_LEN + 1];
        int error;
};

static void on_tick(void *arg);

struct fetcher *fetcher_new(struct loop *l, void (*send)(void *arg, const Swarm__BlobGet *m),
                            void *arg)
{
        struct fetcher *f = xnew(struct fetcher);

        f->loop = l;
        f->send = send;
        f->arg = arg;
        list_init(&f->active);
        list_init(&f->waiting);
        f->timer = loop_timer_new(l, on_tick, f);
        return f;
}

void fetcher_free(struct fetcher *f)
{
        loop_timer_free(f->timer);
        free(f);
}

static void ask(struct fetch *f, struct chunk *c)
{
        Swarm__BlobGet m = SWARM__BLOB_GET__INIT;

        c->request = ++f->fetcher->last_request;
        c->sent_ms = time_now().mono_ms;
        m.request = c->request;
        m.digest = f->digest;
        m.offset = (uint64_t)c->offset;
        m.max_bytes = (uint32_t)c->len;
        f->fetcher->send(f->fetcher->arg, &m);
}

static void ask_next(struct fetch *f, struct chunk *c)
{
        c->request = 0;
        if (f->asked == f->size)
                return;
        c->offset = f->asked;
        c->len = MIN(f->size - f->asked, (int64_t)IMAGE_CHUNK_BYTES);
        f->asked += c->len;
        ask(f, c);
}

static void start_waiting(struct fetcher *fetcher)
{
        while (fetcher->n_active < FETCHES_MAX && !list_is_empty(&fetcher->waiting)) {
                struct list *l = list_pop_front(&fetcher->waiting);
                struct fetch *f = LIST_ITEM(l, struct fetch, link);

                list_push_back(&fetcher->active, l);
                if (fetcher->n_active++ == 0)
                        loop_timer_set(fetcher->timer, TICK_MS);
                for (int i = 0; i < IMAGE_FETCH_WINDOW; i++)
                        ask_next(f, &f->chunks[i]);
        }
}

struct fetch *fetch_start(struct fetcher *fetcher, const char *digest, int64_t size, int fd,
                          fetch_fn *done, void *arg)
{
        struct fetch *f = xnew(struct fetch);

        f->fetcher = fetcher;
        f->digest = xstrdup(digest);
        f->size = size;
        f->fd = fd;
        f->done = done;
        f->arg = arg;
        list_push_back(&fetcher->waiting, &f->link);
        start_waiting(fetcher);
        return f;
}

static void fetch_free(struct fetch *f)
{
        struct fetcher *fetcher = f->fetcher;
        bool was_active = f->asked > 0;

        list_remove(&f->link);
        if (f->verify)
                f->verify->fetch = NULL;
        free(f->digest);
        free(f);
        fetcher->n_active -= was_active;
        start_waiting(fetcher);
}

void fetch_cancel(struct fetch *f)
{
        fetch_free(f);
}

static void finish(struct fetch *f, const struct err *err)
{
        fetch_fn *done = f->done;
        void *arg = f->arg;

        fetch_free(f);
        done(arg, err);
}

static void finish_error(struct fetch *f, int code, const char *text)
{
        struct err err = {0};

        err_set(&err, code, "blob %.19s: %s", f->digest, text);
        finish(f, &err);
}

static void verify_work(void *arg)
{
        struct verify *v = arg;
        struct digest *d = digest_new();
        uint8_t *p = xmalloc(VERIFY_BYTES);
        int64_t offset = 0;
        ssize_t n;

        while ((n = pread(v->fd, p, VERIFY_BYTES, offset)) > 0) {
                digest_update(d, p, (size_t)n);
                offset += n;
        }
        v->error = n < 0 ? -errno : 0;
        digest_finish(d, v->digest);
        free(p);
}

static void verify_done(void *arg)
{
        struct verify *v = arg;
        struct fetch *f = v->fetch;

        close(v->fd);
        if (f) {
                f->verify = NULL;
                if (v->error < 0)
                        finish_error(f, -v->error, err_name(v->error));
                else if (!str_is_equal(v->digest, f->digest))
                        finish_error(f, EBADMSG, "the manager's bytes have another digest");
                else
                        finish(f, NULL);
        }
        free(v);
}

static void verify(struct fetch *f)
{
        int fd = dup(f->fd);

        if (fd < 0) {
                finish_error(f, errno, err_name(errno));
                return;
        }
        f->verify = xnew(struct verify);
        f->verify->fetch = f;
        f->verify->fd = fd;
        loop_work(f->fetcher->loop, verify_work, verify_done, f->verify);
}

/* Puts the bytes of a chunk into the file; a short answer leaves the rest of it to be asked for. */
static int take_data(struct fetch *f, struct chunk *c, const ProtobufCBinaryData *data)
{
        const uint8_t *p = data->data;
        size_t left = data->len;

        while (left > 0) {
                ssize_t n = pwrite(f->fd, p, left, c->offset);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                p += n;
                left -= (size_t)n;
                c->offset += n;
                c->len -= n;
                f->received += n;
        }
        return 0;
}

static void on_chunk(struct fetch *f, struct chunk *c, const Swarm__BlobData *m)
{
        if (!str_is_empty(m->error)) {
                struct err err = {0};

                err_set(&err, ENOENT, "%s", m->error); /* it names the blob */
                finish(f, &err);
                return;
        }
        if ((int64_t)m->total != f->size || (int64_t)m->offset != c->offset || m->data.len == 0 ||
            (int64_t)m->data.len > c->len) {
                finish_error(f, EPROTO, "the manager's answer does not fit the image");
                return;
        }
        int r = take_data(f, c, &m->data);
        if (r < 0) {
                finish_error(f, -r, err_name(r));
                return;
        }
        f->silences = 0;
        if (f->received == f->size)
                verify(f);
        else if (c->len > 0)
                ask(f, c);
        else
                ask_next(f, c);
}

void fetcher_on_data(struct fetcher *fetcher, const Swarm__BlobData *m)
{
        struct fetch *f;

        if (m->request == 0)
                return;
        LIST_FOREACH (f, &fetcher->active, link)
                for (int i = 0; i < IMAGE_FETCH_WINDOW; i++)
                        if (f->chunks[i].request == m->request) {
                                on_chunk(f, &f->chunks[i], m);
                                return;
                        }
}

static void ask_again(struct fetch *f, int64_t before_ms)
{
        bool was_silent = false;

        for (int i = 0; i < IMAGE_FETCH_WINDOW; i++) {
                struct chunk *c = &f->chunks[i];

                if (c->request && c->len > 0 && c->sent_ms <= before_ms) {
                        was_silent = true;
                        ask(f, c);
                }
        }
        f->silences += was_silent;
}

static void on_tick(void *arg)
{
        struct fetcher *fetcher = arg;
        int64_t now = time_now().mono_ms;
        struct fetch *f, *tmp;

        LIST_FOREACH_SAFE (f, tmp, &fetcher->active, link) {
                ask_again(f, now - IMAGE_FETCH_RETRY_MS);
                if (f->silences > IMAGE_FETCH_GIVE_UP) {
                        finish_error(f, ETIMEDOUT, "no answer from the manager");
                        break; /* the list may be another one now; the next tick goes on */
                }
        }
        if (fetcher->n_active > 0)
                loop_timer_set(fetcher->timer, TICK_MS);
}

void fetcher_on_session(struct fetcher *fetcher)
{
        int64_t now = time_now().mono_ms;
        struct fetch *f;

        LIST_FOREACH (f, &fetcher->active, link) {
                ask_again(f, now);
                f->silences = 0;
        }
}
