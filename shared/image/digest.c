/* Running SHA-256 digests over libsodium, and their text form. Cannot fail. */
#include <sodium.h>
#include <string.h>

#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/image/image.h"

struct digest {
        crypto_hash_sha256_state state;
};

bool digest_is_valid(const char *s)
{
        size_t prefix = sizeof(DIGEST_PREFIX) - 1;

        return s && str_has_prefix(s, DIGEST_PREFIX) && strlen(s) == DIGEST_TEXT_LEN &&
               strspn(s + prefix, "0123456789abcdef") == DIGEST_TEXT_LEN - prefix;
}

struct digest *digest_new(void)
{
        struct digest *d = xnew(struct digest);

        crypto_hash_sha256_init(&d->state);
        return d;
}

void digest_update(struct digest *d, const void *p, size_t n)
{
        crypto_hash_sha256_update(&d->state, p, n);
}

void digest_finish(struct digest *d, char ret[DIGEST_TEXT_LEN + 1])
{
        unsigned char bytes[crypto_hash_sha256_BYTES];
        size_t prefix = sizeof(DIGEST_PREFIX) - 1;

        crypto_hash_sha256_final(&d->state, bytes);
        memcpy(ret, DIGEST_PREFIX, prefix);
        sodium_bin2hex(ret + prefix, DIGEST_TEXT_LEN + 1 - prefix, bytes, sizeof(bytes));
        free(d);
}

void digest_free(struct digest *d)
{
        free(d);
}

void digest_of(const void *p, size_t n, char ret[DIGEST_TEXT_LEN + 1])
{
        struct digest *d = digest_new();

        digest_update(d, p, n);
        digest_finish(d, ret);
}
