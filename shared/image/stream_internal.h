/*
 * A blob's bytes as they were before compression: over a descriptor (plain, gzip or zstd, told by
 * the first bytes), counted, hashed and bounded; read in full, or through libarchive as a tar.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "shared/base/err.h"
#include "shared/image/image.h"

struct archive;
struct stream;

struct stream_limits {
        int64_t bytes_max;             /* of what comes out */
        int64_t ratio_max, ratio_free; /* out may be ratio_free + ratio_max * in */
};

/* Borrows fd, which is read from where it stands. */
int stream_open(int fd, const struct stream_limits *l, struct stream **ret, struct err *err);
void stream_close(struct stream *s); /* NULL is fine */
bool stream_is_compressed(const struct stream *s);
/* The next bytes, valid until the next call; 0 at the end. -errno with text. */
ssize_t stream_read(struct stream *s, const void **ret, struct err *err);
/* Reads the rest and gives the digest of all that came out. */
int stream_finish(struct stream *s, char ret_digest[DIGEST_TEXT_LEN + 1], struct err *err);
bool stream_is_at_end(const struct stream *s); /* all of it was read, and nothing failed */

/* A tar reader over the stream; free it with archive_read_free, before the stream. NULL: err. */
struct archive *stream_open_tar(struct stream *s, struct err *err);
/* The text of what a call on that reader failed with: the stream's own when it was the cause. */
int stream_tar_error(struct stream *s, struct archive *tar, struct err *err);
