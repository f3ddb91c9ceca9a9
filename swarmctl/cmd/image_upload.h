/* Brings an image of an archive to the manager: see image_upload.c. */
#pragma once

#include "shared/image/archive.h"
#include "swarmctl/cmd/cmd.h"

/* names: NULL-terminated, may be none; title: for the progress line on a terminal. Returns 0, or an
 * exit code after ctl_fail. */
int upload_image(struct ctl *ctl, struct image_archive *archive, const struct archive_image *image,
                 char *const *names, const char *title, bool is_quiet);
