/*
 * A blob's bytes before compression: see stream_internal.h. Two libarchive readers in a row: the
 * outer one undoes the compression, the inner one (for a tar) is fed from it, so that what is
 * hashed is exactly what is parsed.
 */
#include "shared/image/stream_internal.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "shared/base/mem.h"

#define READ_BYTES 65536

struct stream {
        int fd;
        struct stream_limits limits;
        struct archive *outer; /* NULL: the input is empty */
        struct digest *digest;
        int64_t in_bytes, out_bytes;
        bool is_compressed, is_at_end;
        struct err err; /* what a callback below libarchive failed with; code 0: nothing */
        uint8_t data[READ_BYTES];
};

static la_ssize_t read_blob(struct archive *a UNUSED, void *arg, const void **ret)
{
        struct stream *s = arg;
        ssize_t n;

        do
                n = read(s->fd, s->data, sizeof(s->data));
        while (n < 0 && errno == EINTR);
        if (n < 0) {
                err_set(&s->err, errno, "read: %s", err_name(errno));
                return ARCHIVE_FATAL;
        }
        s->in_bytes += n;
        *ret = s->data;
        return n;
}

/* What libarchive says of a failure, or we ourselves below it. */
static int fail(struct stream *s, struct archive *a, struct err *err)
{
        if (s->err.code)
                return err_set(err, s->err.code, "%s", s->err.text);
        const char *text = archive_error_string(a);
        int code = archive_errno(a);

        return err_set(err, code == ENOMEM ? ENOMEM : EBADMSG, "damaged: %s",
                       text ? text : "not readable");
}

int stream_open(int fd, const struct stream_limits *l, struct stream **ret, struct err *err)
{
        struct stream *s = xnew(struct stream);
        struct archive_entry *entry;

        s->fd = fd;
        s->limits = *l;
        s->digest = digest_new();
        s->outer = archive_read_new();
        if (!s->outer)
                abort();
        archive_read_support_filter_gzip(s->outer);
        archive_read_support_filter_zstd(s->outer);
        archive_read_support_format_raw(s->outer);
        archive_read_support_format_empty(s->outer);
        int r = archive_read_open(s->outer, s, NULL, read_blob, NULL);
        if (r == ARCHIVE_OK)
                r = archive_read_next_header(s->outer, &entry);
        if (r != ARCHIVE_OK && r != ARCHIVE_EOF) {
                r = fail(s, s->outer, err);
                stream_close(s);
                return r;
        }
        if (r == ARCHIVE_EOF) {
                archive_read_free(s->outer);
                s->outer = NULL;
        } else {
                /* The last filter is the descriptor itself. */
                s->is_compressed = archive_filter_count(s->outer) > 1;
                if (archive_filter_count(s->outer) > 2) {
                        stream_close(s);
                        return err_set(err, EINVAL, "compressed more than once");
                }
        }
        *ret = s;
        return 0;
}

void stream_close(struct stream *s)
{
        if (!s)
                return;
        if (s->outer)
                archive_read_free(s->outer);
        digest_free(s->digest);
        free(s);
}

bool stream_is_compressed(const struct stream *s)
{
        return s->is_compressed;
}

bool stream_is_at_end(const struct stream *s)
{
        return s->is_at_end && !s->err.code;
}

static int check_limits(const struct stream *s, struct err *err)
{
        const struct stream_limits *l = &s->limits;

        if (s->out_bytes > l->bytes_max)
                return err_set(err, EFBIG, "larger than %lld bytes", (long long)l->bytes_max);
        if (s->is_compressed && s->out_bytes > l->ratio_free &&
            (s->out_bytes - l->ratio_free) / l->ratio_max > s->in_bytes)
                return err_set(err, EFBIG, "a compression bomb: grows more than %lld times",
                               (long long)l->ratio_max);
        return 0;
}

ssize_t stream_read(struct stream *s, const void **ret, struct err *err)
{
        la_int64_t offset;
        size_t n = 0;
        int r = ARCHIVE_EOF;

        while (s->outer && n == 0) {
                r = archive_read_data_block(s->outer, ret, &n, &offset);
                if (r != ARCHIVE_OK)
                        break;
        }
        if (r == ARCHIVE_EOF) {
                s->is_at_end = true;
                return 0;
        }
        if (r != ARCHIVE_OK)
                return fail(s, s->outer, err);
        s->out_bytes += (int64_t)n;
        r = check_limits(s, err);
        if (r < 0)
                return r;
        digest_update(s->digest, *ret, n);
        return (ssize_t)n;
}

int stream_finish(struct stream *s, char ret_digest[DIGEST_TEXT_LEN + 1], struct err *err)
{
        const void *p;
        ssize_t n;

        while ((n = stream_read(s, &p, err)) > 0)
                ;
        if (n < 0)
                return (int)n;
        digest_finish(STEAL_PTR(s->digest), ret_digest);
        return 0;
}

static la_ssize_t read_stream(struct archive *a UNUSED, void *arg, const void **ret)
{
        struct stream *s = arg;
        ssize_t n = stream_read(s, ret, &s->err);

        return n < 0 ? ARCHIVE_FATAL : n;
}

struct archive *stream_open_tar(struct stream *s, struct err *err)
{
        struct archive *tar = archive_read_new();

        if (!tar)
                abort();
        archive_read_support_format_tar(tar);
        if (archive_read_open(tar, s, NULL, read_stream, NULL) == ARCHIVE_OK)
                return tar;
        stream_tar_error(s, tar, err);
        archive_read_free(tar);
        return NULL;
}

int stream_tar_error(struct stream *s, struct archive *tar, struct err *err)
{
        return fail(s, tar, err);
}
