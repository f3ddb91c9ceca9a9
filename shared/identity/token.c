/* Keys and join tokens as text: see identity.h. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "shared/base/str.h"
#include "shared/identity/identity.h"
#include "shared/model/model.h"

static const char DIGITS[] = "0123456789abcdefghijklmnopqrstuvwxyz";

/* Long division of the number by 36, a digit a round, from the last one. */
void identity_key_format(const uint8_t key[NET_KEY_BYTES], char ret[IDENTITY_KEY_TEXT_LEN + 1])
{
        uint8_t number[NET_KEY_BYTES];

        memcpy(number, key, sizeof(number));
        ret[IDENTITY_KEY_TEXT_LEN] = 0;
        for (int i = IDENTITY_KEY_TEXT_LEN - 1; i >= 0; i--) {
                unsigned rest = 0;

                for (size_t j = 0; j < sizeof(number); j++) {
                        rest = rest << 8 | number[j];
                        number[j] = (uint8_t)(rest / 36);
                        rest %= 36;
                }
                ret[i] = DIGITS[rest];
        }
}

int identity_key_parse(const char *s, uint8_t ret[NET_KEY_BYTES])
{
        uint8_t number[NET_KEY_BYTES] = {0};

        if (strlen(s) != IDENTITY_KEY_TEXT_LEN)
                return -EINVAL;
        for (size_t i = 0; i < IDENTITY_KEY_TEXT_LEN; i++) {
                const char *digit = strchr(DIGITS, s[i]);
                unsigned carry;

                if (!digit)
                        return -EINVAL;
                carry = (unsigned)(digit - DIGITS);
                for (size_t j = sizeof(number); j-- > 0;) {
                        carry += number[j] * 36u;
                        number[j] = (uint8_t)carry;
                        carry >>= 8;
                }
                if (carry)
                        return -EINVAL;
        }
        memcpy(ret, number, sizeof(number));
        return 0;
}

void join_token_format(const uint8_t cluster_key[NET_KEY_BYTES], const char *secret,
                       char ret[IDENTITY_TOKEN_TEXT_LEN + 1])
{
        char key[IDENTITY_KEY_TEXT_LEN + 1];

        identity_key_format(cluster_key, key);
        snprintf(ret, IDENTITY_TOKEN_TEXT_LEN + 1, JOIN_TOKEN_PREFIX "%s-%.25s", key, secret);
}

int join_token_parse(const char *s, struct join_token *ret, struct err *err)
{
        struct join_token token;
        char key[IDENTITY_KEY_TEXT_LEN + 1];
        const char *secret = s + strlen(JOIN_TOKEN_PREFIX) + IDENTITY_KEY_TEXT_LEN + 1;

        /* The token is never shown: it is a secret. */
        if (!str_has_prefix(s, JOIN_TOKEN_PREFIX))
                return err_set(err, EINVAL, "token: does not begin with " JOIN_TOKEN_PREFIX);
        if (strlen(s) != IDENTITY_TOKEN_TEXT_LEN || secret[-1] != '-')
                return err_set(err, EINVAL, "token: not complete");
        snprintf(key, sizeof(key), "%s", s + strlen(JOIN_TOKEN_PREFIX));
        if (identity_key_parse(key, token.cluster_key) < 0)
                return err_set(err, EINVAL, "token: the cluster's key in it is damaged");
        for (const char *p = secret; *p; p++)
                if (!islower((unsigned char)*p) && !isdigit((unsigned char)*p))
                        return err_set(err, EINVAL, "token: the secret in it is damaged");
        snprintf(token.secret, sizeof(token.secret), "%s", secret);
        *ret = token;
        return 0;
}
