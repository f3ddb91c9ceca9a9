/*
 * archive: image archives as other tools make them: `docker save` (old and new), OCI layouts as a
 * tar or a folder. Read in place by an index of what lies where; nothing is unpacked. A compressed
 * archive, or one from a pipe, is spooled to a temporary file first.
 */
#pragma once

#include <stdint.h>
#include <stdio.h>

#include "proto/objects.pb-c.h"
#include "shared/base/buf.h"
#include "shared/base/err.h"

#define ARCHIVE_ENTRIES_MAX 100000
#define ARCHIVE_IMAGES_MAX  256
#define ARCHIVE_JSON_MAX    (4u << 20)
#define ARCHIVE_SPOOL_MAX   (256LL << 30)

struct image_archive;

/* An image of an archive: names are normalised, may be none. */
struct archive_image {
        char **names;
        char **bad_names;  /* a text for each that is not valid: what it is, and why */
        Swarm__Image *msg; /* id, layers (digest and size as stored in the archive), platform */
        uint8_t *config;
        size_t config_len;
};

/* path: a file, a folder, or "-" for fd 0. Reads the manifests and configs, and checks that every
 * blob they name is there with its size; of an index the image for the platform ("linux/arm64") is
 * taken, and one for another is an error; NULL: of an index the image for this machine. */
int image_archive_open(const char *path, const char *platform, struct image_archive **ret,
                       struct err *err);
void image_archive_close(struct image_archive *a); /* NULL is fine */
size_t image_archive_count(const struct image_archive *a);
const struct archive_image *image_archive_get(const struct image_archive *a, size_t i);

/* Called with the bytes in order; a negative result ends the reading with it. */
typedef int archive_data_fn(void *arg, const void *p, size_t n);
/* Reads a blob from offset on; -EBADMSG with text if, read from 0, it has not its digest. */
int image_archive_read(struct image_archive *a, const char *digest, int64_t offset,
                       archive_data_fn *fn, void *arg, struct err *err);

/* An archive with one image and one layer made of a root file system's tar (plain, gzip or zstd).
 * name is normalised. changes: lines of a Dockerfile for its config, NULL-terminated or NULL. */
int image_archive_import(const char *name, const char *path, char *const *changes,
                         struct image_archive **ret, struct err *err);
