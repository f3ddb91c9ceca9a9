/* Tars made by hand, header by header, so that a test can make what no tool would. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "shared/base/buf.h"

struct tar_entry {
        const char *name;
        char type; /* '0' file, '1' hard link, '2' link, '3' char, '4' block, '5' folder, '6' pipe
                    */
        unsigned mode;
        unsigned uid, gid;
        int64_t mtime;
        const char *link;
        const void *data;
        size_t n;
        unsigned major, minor;
};

void tar_add(struct buf *tar, const struct tar_entry *e);
void tar_file(struct buf *tar, const char *name, const char *text);
void tar_dir(struct buf *tar, const char *name);
void tar_link(struct buf *tar, const char *name, const char *target);
void tar_hardlink(struct buf *tar, const char *name, const char *target);
/* An extended header for the next entry. */
void tar_pax(struct buf *tar, const char *key, const void *value, size_t n);
void tar_end(struct buf *tar);

/* The bytes compressed: "gzip" or "zstd". */
void test_compress(const char *how, const void *p, size_t n, struct buf *ret);
/* A memfd that holds the bytes, at its begin. */
int test_memfd(const void *p, size_t n);
