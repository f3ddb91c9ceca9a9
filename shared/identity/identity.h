/*
 * identity: what a node is known by, as files and as text. DIR/node.key is its secret Curve25519
 * key (32 raw bytes, 0600), made once and never replaced by another, but sealed (shared/seal) while
 * the manager here is autolocked; DIR/cluster.pub the public key that all managers of its cluster
 * present (one line of text); a join token holds that key and a secret.
 * What can fail: missing, foreign, readable by others, or cut files, each told by path.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shared/base/err.h"
#include "shared/net/net.h"

#define IDENTITY_KEY_TEXT_LEN    50 /* 32 bytes in base 36 */
#define IDENTITY_SECRET_TEXT_LEN 25 /* 128 bits in base 36 */
#define IDENTITY_TOKEN_TEXT_LEN  (7 + IDENTITY_KEY_TEXT_LEN + 1 + IDENTITY_SECRET_TEXT_LEN)

struct join_token {
        uint8_t cluster_key[NET_KEY_BYTES];
        char secret[IDENTITY_SECRET_TEXT_LEN + 1];
};

/* "SWMT-1-<cluster public key>-<secret>". secret: IDENTITY_SECRET_TEXT_LEN characters. */
void join_token_format(const uint8_t cluster_key[NET_KEY_BYTES], const char *secret,
                       char ret[IDENTITY_TOKEN_TEXT_LEN + 1]);
int join_token_parse(const char *s, struct join_token *ret, struct err *err); /* -EINVAL */

void identity_key_format(const uint8_t key[NET_KEY_BYTES], char ret[IDENTITY_KEY_TEXT_LEN + 1]);
int identity_key_parse(const char *s, uint8_t ret[NET_KEY_BYTES]); /* -EINVAL */

/* Reads DIR/node.key; -ENOENT when there is none, -ENOKEY when it is sealed and seal_key NULL. */
int identity_read_node_key(const char *data_dir, const uint8_t *seal_key, struct net_keys *ret,
                           struct err *err);
/* The same, and makes it (and the folder, 0700) when there is none: not sealed. */
int identity_make_node_key(const char *data_dir, const uint8_t *seal_key, struct net_keys *ret,
                           struct err *err);
/* DIR/cluster.pub. Writing replaces; -ENOENT when there is none. */
int identity_write_cluster_key(const char *data_dir, const uint8_t key[NET_KEY_BYTES],
                               struct err *err);
int identity_read_cluster_key(const char *data_dir, uint8_t ret[NET_KEY_BYTES], struct err *err);
