/*
 * seal: secrets at rest, and the key that opens them. What is sealed says so itself (its first byte
 * is 0, which no message of ours begins with), so that readers take both. A key is 32 random bytes;
 * one that a person keeps is written "SWMKEY-1-..." (Docker's form: base64 without padding).
 * Authenticated encryption: libsodium's secretbox with a random nonce.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/base/err.h"

#define SEAL_KEY_BYTES    32
#define SEAL_EXTRA_BYTES  48 /* what sealing adds */
#define SEAL_KEY_TEXT_LEN 52

/* A key that nobody can guess. */
void seal_draw_key(uint8_t ret[SEAL_KEY_BYTES]);
/* Another key out of a secret one: the same each time, and of no help in finding the secret. */
void seal_derive_key(const uint8_t secret[SEAL_KEY_BYTES], uint8_t ret[SEAL_KEY_BYTES]);

void seal_key_format(const uint8_t key[SEAL_KEY_BYTES], char ret[SEAL_KEY_TEXT_LEN + 1]);
/* -EINVAL with a text, which never shows the key. */
int seal_key_parse(const char *s, uint8_t ret[SEAL_KEY_BYTES], struct err *err);

bool seal_is_closed(const uint8_t *p, size_t n);
/* ret: n + SEAL_EXTRA_BYTES bytes. */
void seal_close(const uint8_t key[SEAL_KEY_BYTES], const uint8_t *p, size_t n, uint8_t *ret);
/* ret: n - SEAL_EXTRA_BYTES bytes. -EBADMSG: not sealed, not with this key, or altered. */
int seal_open(const uint8_t key[SEAL_KEY_BYTES], const uint8_t *p, size_t n, uint8_t *ret);

/* A file of one secret of 32 bytes, plain or sealed with `key`, relative to dirfd. Reading:
 * -ENOENT; -ENOKEY: it is sealed, and key is NULL; -EBADMSG: with another key; -EINVAL: no such
 * file. */
int seal_read_file(int dirfd, const char *path, const uint8_t *key, uint8_t ret[SEAL_KEY_BYTES]);
/* Writes it anew, all or nothing, sealed unless key is NULL (mode 0600). The bytes of the file that
 * it takes the place of are overwritten on the disk. */
int seal_write_file(int dirfd, const char *path, const uint8_t *key,
                    const uint8_t secret[SEAL_KEY_BYTES]);
