/*
 * The files of an archive, a tar or a folder, by name. Of a tar an index of what lies where is made
 * once; then files are read in place. Links are followed inside of the archive only.
 */
#pragma once

#include <stdint.h>

#include "shared/base/buf.h"
#include "shared/base/err.h"
#include "shared/image/archive.h"

#define SOURCE_LINKS_MAX 8
#define SOURCE_NAME_MAX  4096

struct source;

/* path: a file, a folder, or "-". A compressed tar, and what comes by a pipe, is spooled. */
int source_open(const char *path, struct source **ret, struct err *err);
void source_close(struct source *s); /* NULL is fine */
/* Size of a file, -ENOENT: there is none of that name. */
int64_t source_size(struct source *s, const char *name);
/* Reads from offset to the end. -errno with text, or what fn gave. */
int source_read(struct source *s, const char *name, int64_t offset, archive_data_fn *fn, void *arg,
                struct err *err);
/* A whole small file. -ENOENT with text when it is missing. */
int source_read_all(struct source *s, const char *name, size_t max_bytes, struct buf *ret,
                    struct err *err);

/* An unnamed temporary file, open for reading and writing. */
int spool_new(struct err *err);
/* Opens path ("-": fd 0) for reading from the start, spooled if it cannot be read twice. */
int spool_open(const char *path, struct err *err);
