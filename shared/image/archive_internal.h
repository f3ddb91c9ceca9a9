/* The parts of reading an archive: docker's manifest.json and the door (archive.c), OCI's indexes
 * (oci.c), making an image of a root file system (import.c). For this folder alone. */
#pragma once

#include <jansson.h>

#include "shared/base/map.h"
#include "shared/image/archive.h"
#include "shared/image/source_internal.h"

struct image_archive {
        struct source *source; /* NULL: of one layer (import.c) */
        int layer_fd;          /* likewise; -1: none */
        struct archive_image *images;
        size_t n_images;
        struct map blobs; /* struct archive_blob by digest */
        char *platform;   /* to be taken of an index: "linux/arm64" */
};

/* Where a layer's bytes are. */
struct archive_blob {
        char *digest;
        char *name; /* of the file in the source */
        int64_t size;
};

struct image_archive *archive_new(struct source *s);
/* A new image with that config, which is checked; no layers yet. */
int archive_add_image(struct image_archive *a, const struct buf *config, struct archive_image **ret,
                      struct err *err);
/* Its next layer. */
int archive_add_layer(struct image_archive *a, struct archive_image *i, const char *digest,
                      int64_t size, const char *media_type, const char *name, struct err *err);
/* A name for it; one that is no image name is passed over. */
void archive_add_name(struct archive_image *i, const char *name);
/* Checks that its layers are as many as its config says. */
int archive_end_image(struct archive_image *i, struct err *err);

/* Reads index.json and what it leads to. */
int oci_open(struct image_archive *a, struct err *err);
/* "amd64": this machine, as images name it. */
const char *machine_arch(void);
/* The media type of a layer, by its first bytes. */
#define LAYER_HEAD_BYTES 4
const char *layer_media_type(const uint8_t head[LAYER_HEAD_BYTES]);
/* Applies one line of a Dockerfile to a config's "config" object. */
int config_change(json_t *config, const char *line, struct err *err);
