/*
 * Names of images, [HOST[:PORT]/]PATH[:TAG], in the grammar of the distribution specification
 * (opencontainers/distribution-spec, "Pulling manifests"). A name is brought into one form, so that
 * equal names are equal texts.
 */
#include <errno.h>
#include <string.h>

#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/image/image.h"

#define NAME_BYTES_MAX 255
#define TAG_BYTES_MAX  128
#define LOWER_DIGITS   "abcdefghijklmnopqrstuvwxyz0123456789"
#define WORD           LOWER_DIGITS "ABCDEFGHIJKLMNOPQRSTUVWXYZ_"

static bool tag_is_valid(const char *s)
{
        size_t n = strlen(s);

        return n > 0 && n <= TAG_BYTES_MAX && strspn(s, WORD) > 0 && strspn(s, WORD ".-") == n;
}

/* Runs of lower-case letters and digits, joined by ".", "_", "__" or any number of "-". */
static bool component_is_valid(const char *s, size_t n)
{
        const char *end = s + n;

        for (;;) {
                size_t run = MIN(strspn(s, LOWER_DIGITS), (size_t)(end - s));

                if (run == 0)
                        return false;
                s += run;
                if (s == end)
                        return true;
                if (*s == '.')
                        s++;
                else if (*s == '_')
                        s += s + 1 < end && s[1] == '_' ? 2 : 1;
                else if (*s == '-')
                        s += MIN(strspn(s, "-"), (size_t)(end - s));
                else
                        return false;
        }
}

/* HOST[:PORT]; a first component without a dot, a port or "localhost" is no host but a path. */
static bool is_host(const char *s, size_t n)
{
        return memchr(s, '.', n) || memchr(s, ':', n) ||
               (n == strlen("localhost") && memcmp(s, "localhost", n) == 0);
}

static bool host_is_valid(const char *s, size_t n)
{
        const char *colon = memchr(s, ':', n);
        size_t host = colon ? (size_t)(colon - s) : n, port = colon ? n - host - 1 : 1;

        if (host == 0 || s[0] == '-' || s[0] == '.' || s[host - 1] == '-' || s[host - 1] == '.')
                return false;
        if (colon && (port == 0 || port > 5 || strspn(colon + 1, "0123456789") < port))
                return false;
        return strspn(s, WORD ".-") >= host && !memchr(s, '_', host);
}

static bool path_is_valid(const char *s)
{
        const char *slash = strchr(s, '/');

        if (slash && is_host(s, (size_t)(slash - s))) {
                if (!host_is_valid(s, (size_t)(slash - s)))
                        return false;
                s = slash + 1;
        }
        for (;;) {
                size_t n = strcspn(s, "/");

                if (!component_is_valid(s, n))
                        return false;
                if (!s[n])
                        return true;
                s += n + 1;
        }
}

/* What stands for the same image everywhere else stands for one image here. */
static const char *skip_default_host(const char *s)
{
        static const char *const hosts[] = {"index.docker.io/", "docker.io/"};

        for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
                if (!str_has_prefix(s, hosts[i]))
                        continue;
                s += strlen(hosts[i]);
                return str_has_prefix(s, "library/") ? s + strlen("library/") : s;
        }
        return s;
}

int image_name_normalize(const char *name, char **ret, struct err *err)
{
        if (str_is_empty(name))
                return err_set(err, EINVAL, "image name is empty");
        if (strlen(name) > NAME_BYTES_MAX)
                return err_set(err, EINVAL, "image name %.32s...: longer than %d bytes", name,
                               NAME_BYTES_MAX);
        if (strchr(name, '@'))
                return err_set(err, EINVAL,
                               "image name %s: a digest cannot be part of it; give NAME[:TAG]",
                               name);
        if (digest_is_valid(name))
                return err_set(err, EINVAL, "image name %s: this is an image id", name);

        const char *s = skip_default_host(name), *slash = strrchr(s, '/');
        const char *colon = strchr(slash ? slash : s, ':');
        const char *tag = colon ? colon + 1 : "latest";
        _cleanup_free_ char *path = xstrndup(s, colon ? (size_t)(colon - s) : strlen(s));

        if (!path_is_valid(path))
                return err_set(err, EINVAL,
                               "image name %s: must be [HOST[:PORT]/]PATH[:TAG], the path in "
                               "lower-case letters, digits and . _ -",
                               name);
        if (!tag_is_valid(tag))
                return err_set(err, EINVAL,
                               "image name %s: the tag must be letters, digits and _ . -, at most "
                               "%d",
                               name, TAG_BYTES_MAX);
        *ret = xasprintf("%s:%s", path, tag);
        return 0;
}
