/*
 * layer: unpacks one layer's tar into a folder, as an overlay lower folder. All paths are resolved
 * below the folder, component by component, and never through a symbolic link; all changes are made
 * through descriptors. For a process of its own that has locked itself in (agent/image/unpack.h):
 * this code alone must be safe, that is the second wall.
 *
 * Verdicts. Refused (the layer fails): a name or hard link target that is absolute after its
 * leading slashes were dropped, has a ".." component, or leads through something that is no folder;
 * a device node, a socket; too many bytes or entries, names too long or too deep, more than
 * LAYER_RATIO_MAX times the blob's size; a damaged tar; another diff id. Taken: a later entry
 * replaces an earlier one of the same name (a folder over a folder keeps its content), links
 * verbatim, set-uid bits,
 * `.wh.NAME` and `.wh..wh..opq` as overlay's marks. Dropped silently: extended attributes but
 * `user.*` and `security.capability`, and all of `user.overlay.*`.
 */
#pragma once

#include <stdint.h>

#include "shared/base/err.h"
#include "shared/image/image.h"

#define LAYER_BYTES_MAX   (64LL << 30) /* unpacked */
#define LAYER_ENTRIES_MAX 2000000
#define LAYER_NAME_MAX    4095
#define LAYER_DEPTH_MAX   128
#define LAYER_RATIO_MAX   1100         /* gzip's own bound is 1032 */
#define LAYER_RATIO_FREE  (64LL << 20) /* what the ratio does not apply to */
#define LAYER_XATTRS_MAX  64           /* of one entry */

struct layer_result {
        int64_t bytes, entries;
};

/* blob_fd: plain, gzip or zstd, read from its present offset. diff_id: what must come out; NULL:
 * not checked. max_bytes: at most LAYER_BYTES_MAX. A failure may leave some of it in the folder. */
int layer_unpack(int blob_fd, int target_fd, const char *diff_id, int64_t max_bytes,
                 struct layer_result *ret, struct err *err);

/* Reads a tar that is to become a layer, without unpacking it: would it be taken, as far as its
 * entries tell, and what is its diff id? Unlike a layer that has its digest, it must have its end:
 * one that was cut is told by nothing else. */
int layer_scan(int blob_fd, char ret_diff_id[DIGEST_TEXT_LEN + 1], struct err *err);
