/* The folder that a layer is unpacked into: see layer_fs.c. For layer.c alone. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "shared/base/buf.h"
#include "shared/base/err.h"
#include "shared/image/layer.h"

#define WHITEOUT_PREFIX ".wh."
#define WHITEOUT_OPAQUE ".wh..wh..opq"

/* A path of an archive, taken apart: no "..", no empty and no "." components. */
struct layer_path {
        char text[LAYER_NAME_MAX + 1]; /* components with a NUL after each */
        uint16_t at[LAYER_DEPTH_MAX];  /* where each begins */
        int n;                         /* 0: the folder itself */
};
int layer_path_parse(const char *s, struct layer_path *ret, struct err *err);
static inline const char *layer_path_leaf(const struct layer_path *p)
{
        return p->n ? p->text + p->at[p->n - 1] : "";
}

struct layer_fs {
        int root_fd;   /* borrowed */
        int parent_fd; /* of the path looked up last, -1: none */
        struct layer_path parent;
        struct buf dir_times; /* struct dir_time and its path, of all folders, for the end */
};

struct layer_meta {
        mode_t mode; /* permission bits */
        uid_t uid;
        gid_t gid;
        bool has_mtime;
        struct timespec mtime;
};

void layer_fs_init(struct layer_fs *fs, int root_fd);
void layer_fs_done(struct layer_fs *fs);
/* The folder that holds the path's last component, made if need be. Borrowed until the next call.
 * The path must not be empty. */
int layer_fs_parent(struct layer_fs *fs, const struct layer_path *p, struct err *err);
/* Makes or keeps the folder itself and returns a new descriptor of it. */
int layer_fs_dir(struct layer_fs *fs, const struct layer_path *p, struct err *err);
/* Removes what bears the name, trees included, so that something else can be made there. */
int layer_fs_clear(struct layer_fs *fs, int parent_fd, const char *name, struct err *err);
int layer_fs_whiteout(struct layer_fs *fs, const struct layer_path *p, struct err *err);
int layer_fs_opaque(int dir_fd, struct err *err);
/* Sets the folder's time at the end, when nothing in it changes any more. */
void layer_fs_note_time(struct layer_fs *fs, const struct layer_path *p, struct timespec t);
int layer_fs_set_times(struct layer_fs *fs, struct err *err);
