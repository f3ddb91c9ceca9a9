/* Rules for containers: see container_rules.h. */
#include "shared/model/container_rules.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "shared/base/mem.h"
#include "shared/base/str.h"

static bool is_hostname(const char *s)
{
        size_t part = 0;

        for (; *s; s++) {
                bool is_end = !s[1] || s[1] == '.';

                if (*s == '.') {
                        if (part == 0 || is_end)
                                return false;
                        part = 0;
                        continue;
                }
                part++;
                if (*s == '-' ? part == 1 || is_end : !isalnum((unsigned char)*s) && *s != '_')
                        return false;
        }
        return true;
}

int hostname_check(const char *s, struct err *err)
{
        size_t n = strlen(s);

        if (n > HOSTNAME_MAX_LEN)
                return err_set(err, EINVAL, "hostname '%.100s': has %zu characters, more than %d",
                               text_is_valid(s) ? s : "", n, HOSTNAME_MAX_LEN);
        if (n == 0 || !is_hostname(s))
                return err_set(
                        err, EINVAL,
                        "hostname '%s': must be of letters, digits, '_' and '-', with dots between",
                        text_is_valid(s) ? s : "");
        return 0;
}

int path_check(const char *s, const char *what, struct err *err)
{
        if (strlen(s) > PATH_MAX_LEN || !text_is_valid(s))
                return err_set(err, EINVAL, "%s is too long or not a valid path", what);
        if (*s != '/')
                return err_set(err, EINVAL, "%s '%s' must be an absolute path", what, s);
        for (const char *p = s; (p = strstr(p, "/..")); p += 3)
                if (p[3] == '/' || p[3] == 0)
                        return err_set(err, EINVAL, "%s '%s' must not contain '..'", what, s);
        return 0;
}

/* The next part of a path, its length in *ret_n. */
static const char *path_part(const char *p, size_t *ret_n)
{
        while (*p == '/' || (*p == '.' && (p[1] == '/' || !p[1])))
                p++;
        *ret_n = strcspn(p, "/");
        return p;
}

/* Is a the same as b, or above it? */
static bool has_path(const char *a, const char *b, bool *ret_is_same)
{
        for (;;) {
                size_t n, n_b;

                a = path_part(a, &n);
                b = path_part(b, &n_b);
                *ret_is_same = n_b == 0;
                if (n == 0)
                        return true;
                if (n != n_b || memcmp(a, b, n) != 0)
                        return false;
                a += n;
                b += n;
        }
}

bool path_is_same(const char *a, const char *b)
{
        bool is_same;

        return has_path(a, b, &is_same) && is_same;
}

int mount_target_check(const char *s, struct err *err)
{
        static const char *const made[] = {"/", "/dev", "/proc", "/sys"};
        bool is_same;
        int r = path_check(s, "target", err);

        if (r < 0)
                return r;
        for (size_t i = 0; i < ARRAY_SIZE(made); i++)
                if (path_is_same(made[i], s))
                        return err_set(err, EINVAL, "target must not be %s", made[i]);
        if (has_path("/proc", s, &is_same))
                return err_set(err, EINVAL, "target '%s' must not be below /proc", s);
        return 0;
}
