/* Secrets at rest: see seal.h. */
#include "shared/seal/seal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#include "shared/base/buf.h"
#include "shared/base/io.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"

#define KEY_PREFIX   "SWMKEY-1-"
#define REPLACED_MAX 3 /* times that a file is read anew */
#define NONCE_AT     sizeof(MAGIC)
#define BOX_AT       (NONCE_AT + crypto_secretbox_NONCEBYTES)

static const uint8_t MAGIC[8] = {0, 's', 'w', 'm', 's', 'e', 'a', 'l'};
_Static_assert(sizeof(MAGIC) + crypto_secretbox_NONCEBYTES + crypto_secretbox_MACBYTES ==
                       SEAL_EXTRA_BYTES,
               "what sealing adds");
_Static_assert(crypto_secretbox_KEYBYTES == SEAL_KEY_BYTES, "the key of a box");
_Static_assert(sodium_base64_ENCODED_LEN(SEAL_KEY_BYTES,
                                         sodium_base64_VARIANT_ORIGINAL_NO_PADDING) +
                               sizeof(KEY_PREFIX) ==
                       SEAL_KEY_TEXT_LEN + 2,
               "a key's text"); /* both count their NUL */

static void draw(uint8_t *ret, size_t n)
{
        if (sodium_init() < 0) /* no random numbers to be had */
                abort();
        randombytes_buf(ret, n);
}

void seal_draw_key(uint8_t ret[SEAL_KEY_BYTES])
{
        draw(ret, SEAL_KEY_BYTES);
}

void seal_derive_key(const uint8_t secret[SEAL_KEY_BYTES], uint8_t ret[SEAL_KEY_BYTES])
{
        crypto_kdf_derive_from_key(ret, SEAL_KEY_BYTES, 1, "swmseal", secret);
}

/* --- as text ------------------------------------------------------------------------------------
 */
void seal_key_format(const uint8_t key[SEAL_KEY_BYTES], char ret[SEAL_KEY_TEXT_LEN + 1])
{
        const size_t n = strlen(KEY_PREFIX);

        memcpy(ret, KEY_PREFIX, n);
        sodium_bin2base64(ret + n, SEAL_KEY_TEXT_LEN + 1 - n, key, SEAL_KEY_BYTES,
                          sodium_base64_VARIANT_ORIGINAL_NO_PADDING);
}

int seal_key_parse(const char *s, uint8_t ret[SEAL_KEY_BYTES], struct err *err)
{
        uint8_t key[SEAL_KEY_BYTES];
        size_t n = 0;

        if (!str_has_prefix(s, KEY_PREFIX))
                return err_set(err, EINVAL, "unlock key: does not begin with " KEY_PREFIX);
        s += strlen(KEY_PREFIX);
        int r = sodium_base642bin(key, sizeof(key), s, strlen(s), NULL, &n, NULL,
                                  sodium_base64_VARIANT_ORIGINAL_NO_PADDING);
        if (r == 0 && n == sizeof(key))
                memcpy(ret, key, sizeof(key));
        explicit_bzero(key, sizeof(key));
        return r < 0 || n != sizeof(key)
                       ? err_set(err, EINVAL, "unlock key: not complete, or damaged")
                       : 0;
}

/* --- bytes --------------------------------------------------------------------------------------
 */
bool seal_is_closed(const uint8_t *p, size_t n)
{
        return n >= SEAL_EXTRA_BYTES && !memcmp(p, MAGIC, sizeof(MAGIC));
}

void seal_close(const uint8_t key[SEAL_KEY_BYTES], const uint8_t *p, size_t n, uint8_t *ret)
{
        memcpy(ret, MAGIC, sizeof(MAGIC));
        draw(ret + NONCE_AT, crypto_secretbox_NONCEBYTES);
        crypto_secretbox_easy(ret + BOX_AT, p, n, ret + NONCE_AT, key);
}

int seal_open(const uint8_t key[SEAL_KEY_BYTES], const uint8_t *p, size_t n, uint8_t *ret)
{
        if (!seal_is_closed(p, n) ||
            crypto_secretbox_open_easy(ret, p + BOX_AT, n - BOX_AT, p + NONCE_AT, key) != 0)
                return -EBADMSG;
        return 0;
}

/* --- files --------------------------------------------------------------------------------------
 */
/* All zeros: it was replaced, and wiped, while it was read. */
static int read_bytes(int dirfd, const char *path, struct buf *ret)
{
        for (int i = 0; i < REPLACED_MAX; i++) {
                int r = io_read_file(dirfd, path, SEAL_KEY_BYTES + SEAL_EXTRA_BYTES, ret);

                if (r < 0)
                        return r == -EFBIG ? -EINVAL : r;
                if (!sodium_is_zero(ret->data, ret->len))
                        return 0;
        }
        return -EINVAL;
}

int seal_read_file(int dirfd, const char *path, const uint8_t *key, uint8_t ret[SEAL_KEY_BYTES])
{
        _cleanup_buf_ struct buf b = {0};
        int r = read_bytes(dirfd, path, &b);

        if (r < 0)
                return r;
        if (b.len == SEAL_KEY_BYTES)
                memcpy(ret, b.data, SEAL_KEY_BYTES);
        else if (b.len != SEAL_KEY_BYTES + SEAL_EXTRA_BYTES || !seal_is_closed(b.data, b.len))
                r = -EINVAL;
        else
                r = key ? seal_open(key, b.data, b.len, ret) : -ENOKEY;
        explicit_bzero(b.data, b.len);
        return r;
}

/* Its name is another file's by now, or none's. On the disk it is where it was: file systems that
 * write elsewhere (btrfs) keep the old bytes until they need the room. */
static int wipe(int fd)
{
        static const uint8_t zeros[4096];
        struct stat st;

        if (fstat(fd, &st) < 0 || lseek(fd, 0, SEEK_SET) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode) || st.st_size > (off_t)sizeof(zeros))
                return 0;
        int r = io_write_all(fd, zeros, (size_t)st.st_size);
        return r == 0 && fsync(fd) < 0 ? -errno : r;
}

int seal_write_file(int dirfd, const char *path, const uint8_t *key,
                    const uint8_t secret[SEAL_KEY_BYTES])
{
        uint8_t bytes[SEAL_KEY_BYTES + SEAL_EXTRA_BYTES];
        _cleanup_close_ int old = openat(dirfd, path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);

        if (old < 0 && errno != ENOENT)
                return -errno;
        if (key)
                seal_close(key, secret, SEAL_KEY_BYTES, bytes);
        else
                memcpy(bytes, secret, SEAL_KEY_BYTES);
        int r = io_write_file_atomic(dirfd, path, bytes, key ? sizeof(bytes) : SEAL_KEY_BYTES,
                                     0600);
        explicit_bzero(bytes, sizeof(bytes));
        return r == 0 && old >= 0 ? wipe(old) : r;
}
