/*
 * image: image archives and image configs (libarchive's and jansson's home). Reading docker-archive
 * and OCI layouts (swarmctl), making an image of a root file system (swarmctl), reading an image's
 * config (manager, agent), and unpacking one layer into a folder (agent, in a child of its own).
 * All input is hostile: sizes, counts and depths are limited, nothing outside the given folder is
 * touched, and each failure is one line of text.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/objects.pb-c.h"
#include "shared/base/err.h"

#define IMAGE_CONFIG_MAX (4u << 20)
#define IMAGE_LAYERS_MAX 128
#define DIGEST_PREFIX    "sha256:"
#define DIGEST_TEXT_LEN  (7 + 64)

bool digest_is_valid(const char *s); /* "sha256:" and 64 lower-case hex digits */

struct digest; /* a running SHA-256 */
struct digest *digest_new(void);
void digest_update(struct digest *d, const void *p, size_t n);
/* Writes the text and frees d. */
void digest_finish(struct digest *d, char ret[DIGEST_TEXT_LEN + 1]);
void digest_free(struct digest *d); /* NULL is fine */
void digest_of(const void *p, size_t n, char ret[DIGEST_TEXT_LEN + 1]);
/* The name of its file: the hex digits. d must be valid. */
static inline const char *digest_hex(const char *d)
{
        return d + sizeof(DIGEST_PREFIX) - 1;
}

/* "busybox" is "busybox:latest". -EINVAL with text for what is no image name. Heap. */
int image_name_normalize(const char *name, char **ret, struct err *err);

/* What an image's config says about running it. String lists are NULL-terminated or NULL. */
struct image_config {
        char **entrypoint, **cmd, **env;
        char *user, *workdir, *stop_signal; /* NULL: not set */
        char **exposed_ports;               /* "80/tcp" */
        char **volumes;                     /* paths */
        Swarm__Health *health;              /* heap; NULL: none */
        char *os, *arch;
        char **diff_ids; /* one a layer, lowest first */
};
int image_config_parse(const uint8_t *json, size_t n, struct image_config **ret, struct err *err);
void image_config_free(struct image_config *c);
bool image_config_lacks_command(const struct image_config *c);
