/*
 * Brings the images of an archive to the manager: blobs that it lacks in chunks, going on where an
 * earlier try ended, then the image itself under its names.
 */
#include "swarmctl/cmd/image_upload.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "shared/base/mem.h"
#include "shared/base/parse.h"
#include "shared/base/str.h"
#include "shared/base/time.h"
#include "shared/model/model.h"
#include "shared/wire/wire.h"

#define RETRIES_MAX   8     /* of one blob, when the upload is not where we think */
#define BUSY_WAIT_MS  90000 /* for another client that uploads the same */
#define BUSY_SLEEP_NS 250000000
#define PROGRESS_MS   100

struct upload {
        struct ctl *ctl;
        struct client *client;
        struct image_archive *archive;
        const char *title; /* for the progress line */
        bool shows_progress;
        int64_t shown_ms, done_bytes, all_bytes; /* of the image */
        /* of the blob */
        const char *digest;
        int64_t size, offset;
        struct buf chunk;
        struct err err;
};

static void show(struct upload *u, bool is_last)
{
        char done[FORMAT_MAX], all[FORMAT_MAX];
        int64_t now_ms = time_now().mono_ms;

        if (!u->shows_progress || (!is_last && now_ms - u->shown_ms < PROGRESS_MS))
                return;
        u->shown_ms = now_ms;
        if (is_last)
                fprintf(stderr, "\r\033[K");
        else
                fprintf(stderr, "\r\033[K%s: %s of %s", u->title, format_size(u->done_bytes, done),
                        format_size(u->all_bytes, all));
        fflush(stderr);
}

static int call(struct upload *u, Swarm__Request *q, Swarm__Response **ret)
{
        int64_t left = ctl_time_left(u->ctl);

        if (left == 0)
                return err_set(&u->err, ETIMEDOUT, "timed out");
        return client_call(u->client, q, left == CLIENT_NO_TIMEOUT ? 0 : left, ret, &u->err);
}

static int send_chunk(struct upload *u)
{
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__BlobPut put = SWARM__BLOB_PUT__INIT;
        int64_t end = u->offset + (int64_t)u->chunk.len;
        int r;

        put.digest = (char *)u->digest;
        put.offset = (uint64_t)u->offset;
        put.data.data = u->chunk.data;
        put.data.len = u->chunk.len;
        put.is_last = end == u->size;
        q.kind_case = SWARM__REQUEST__KIND_BLOB_PUT;
        q.blob_put = &put;
        r = call(u, &q, NULL);
        if (r < 0)
                return r;
        u->done_bytes += (int64_t)u->chunk.len;
        u->offset = end;
        buf_clear(&u->chunk);
        show(u, false);
        return 0;
}

static int take_bytes(void *arg, const void *p, size_t n)
{
        struct upload *u = arg;
        const uint8_t *s = p;

        while (n > 0) {
                size_t part = MIN(n, (size_t)BLOB_CHUNK_MAX - u->chunk.len);
                int r = 0;

                buf_append(&u->chunk, s, part);
                s += part;
                n -= part;
                if (u->chunk.len == BLOB_CHUNK_MAX || u->offset + (int64_t)u->chunk.len == u->size)
                        r = send_chunk(u);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* -1: the manager has it; else the bytes it has of it. */
static int stat_blob(struct upload *u, int64_t *ret)
{
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__BlobStat m = SWARM__BLOB_STAT__INIT;
        Swarm__Response *response = NULL;
        char *digests[] = {(char *)u->digest};
        int r;

        m.digests = digests;
        m.n_digests = 1;
        q.kind_case = SWARM__REQUEST__KIND_BLOB_STAT;
        q.blob_stat = &m;
        r = call(u, &q, &response);
        if (r < 0)
                return r;
        if (response->kind_case == SWARM__RESPONSE__KIND_BLOB_STAT &&
            response->blob_stat->n_have_bytes == 1)
                *ret = response->blob_stat->have_bytes[0];
        else
                r = err_set(&u->err, EPROTO, "the manager's answer is of another kind");
        wire_free(response);
        return r;
}

/* One try: what the manager lacks, from where it stands. */
static int try_blob(struct upload *u, int64_t *ret_skipped)
{
        int64_t have = 0;
        int r = stat_blob(u, &have);

        if (r < 0)
                return r;
        *ret_skipped = have < 0 ? u->size : have;
        if (have < 0)
                return 0;
        buf_clear(&u->chunk);
        u->offset = have >= u->size ? 0 : have;
        r = image_archive_read(u->archive, u->digest, u->offset, take_bytes, u, &u->err);
        if (r == 0 && u->offset != u->size)
                r = err_set(&u->err, EBADMSG, "blob %.19s: the archive ends too early", u->digest);
        return r;
}

static int upload_blob(struct upload *u, const char *digest, int64_t size)
{
        const int64_t before = u->done_bytes, give_up_ms = time_now().mono_ms + BUSY_WAIT_MS;
        int64_t skipped = 0;
        int r, retries = 0;

        u->digest = digest;
        u->size = size;
        for (;;) {
                r = try_blob(u, &skipped);
                if (r == -EBUSY && time_now().mono_ms < give_up_ms && ctl_time_left(u->ctl) != 0)
                        nanosleep(&(struct timespec){.tv_nsec = BUSY_SLEEP_NS}, NULL);
                else if (r != -ESTALE || ++retries > RETRIES_MAX)
                        break;
        }
        u->done_bytes = before + (r == 0 ? size : 0);
        show(u, false);
        return r;
}

static int create(struct upload *u, const struct archive_image *image, const char *name)
{
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__ImageCreate m = SWARM__IMAGE_CREATE__INIT;

        m.name = (char *)name;
        m.image = image->msg;
        q.kind_case = SWARM__REQUEST__KIND_IMAGE_CREATE;
        q.image_create = &m;
        return call(u, &q, NULL);
}

static int upload_blobs(struct upload *u, const Swarm__Image *m)
{
        int r = upload_blob(u, m->id, m->config_size);

        for (size_t i = 0; r == 0 && i < m->n_layers; i++)
                r = upload_blob(u, m->layers[i]->digest, m->layers[i]->size);
        return r;
}

int upload_image(struct ctl *ctl, struct image_archive *archive, const struct archive_image *image,
                 char *const *names, const char *title, bool is_quiet)
{
        struct upload u = {.ctl = ctl, .archive = archive, .title = title};
        int exit_code = 0, r;

        u.client = ctl_client(ctl, &exit_code);
        if (!u.client)
                return exit_code;
        u.shows_progress = !is_quiet && isatty(STDERR_FILENO);
        u.all_bytes = image->msg->config_size;
        for (size_t i = 0; i < image->msg->n_layers; i++)
                u.all_bytes += image->msg->layers[i]->size;
        r = upload_blobs(&u, image->msg);
        show(&u, true);
        if (r == 0 && !*names)
                r = create(&u, image, "");
        for (; r == 0 && *names; names++)
                r = create(&u, image, *names);
        buf_done(&u.chunk);
        return r < 0 ? ctl_fail(ctl, (int)client_exit_code(r), "%s", u.err.text) : 0;
}
