/* JSON from outside: see json_internal.h. jansson is given only what a scan found harmless. */
#include "shared/image/json_internal.h"

#include <errno.h>

#include "shared/base/str.h"

/* Counts nesting and values outside of strings, so that a small text cannot grow large. */
static int check_bounds(const uint8_t *p, size_t n, struct err *err)
{
        size_t depth = 0, values = 1;
        bool in_string = false;

        for (size_t i = 0; i < n; i++) {
                if (in_string) {
                        if (p[i] == '\\')
                                i++;
                        else if (p[i] == '"')
                                in_string = false;
                        continue;
                }
                if (p[i] == '"')
                        in_string = true;
                else if (p[i] == ',')
                        values++;
                else if (p[i] == ']' || p[i] == '}')
                        depth -= depth > 0;
                else if (p[i] == '[' || p[i] == '{') {
                        values++;
                        if (++depth > JSON_DEPTH_MAX)
                                return err_set(err, EINVAL, "JSON is nested deeper than %d",
                                               JSON_DEPTH_MAX);
                }
                if (values > JSON_VALUES_MAX)
                        return err_set(err, EINVAL, "JSON has more than %d values",
                                       JSON_VALUES_MAX);
        }
        return 0;
}

json_t *image_json_load(const uint8_t *p, size_t n, struct err *err)
{
        json_error_t e;
        json_t *j;

        if (check_bounds(p, n, err) < 0)
                return NULL;
        j = json_loadb(n ? (const char *)p : "", n, JSON_REJECT_DUPLICATES, &e);
        if (!j)
                err_set(err, EINVAL, "not JSON: line %d: %s", e.line, e.text);
        return j;
}

static int wrong_type(const char *key, const char *want, struct err *err)
{
        return err_set(err, EINVAL, "%s: must be %s", key, want);
}

int json_get_str(const json_t *o, const char *key, const char **ret, struct err *err)
{
        const json_t *v = json_object_get(o, key);

        if (v && !json_is_null(v) && !json_is_string(v))
                return wrong_type(key, "a string", err);
        if (v && json_is_string(v) && strlen(json_string_value(v)) != json_string_length(v))
                return wrong_type(key, "a string without a NUL", err);
        *ret = v ? json_string_value(v) : NULL;
        return 0;
}

int json_get_int(const json_t *o, const char *key, int64_t *ret, struct err *err)
{
        const json_t *v = json_object_get(o, key);

        if (v && !json_is_null(v) && !json_is_integer(v))
                return wrong_type(key, "a whole number", err);
        *ret = v ? json_integer_value(v) : 0;
        return 0;
}

int json_get_object(const json_t *o, const char *key, const json_t **ret, struct err *err)
{
        const json_t *v = json_object_get(o, key);

        if (v && !json_is_null(v) && !json_is_object(v))
                return wrong_type(key, "an object", err);
        *ret = v && json_is_object(v) ? v : NULL;
        return 0;
}

int json_get_array(const json_t *o, const char *key, const json_t **ret, struct err *err)
{
        const json_t *v = json_object_get(o, key);

        if (v && !json_is_null(v) && !json_is_array(v))
                return wrong_type(key, "a list", err);
        *ret = v && json_is_array(v) ? v : NULL;
        return 0;
}

int json_get_strv(const json_t *o, const char *key, size_t max, char ***ret, struct err *err)
{
        const json_t *list, *v;
        char **out = NULL;
        size_t i;
        int r = json_get_array(o, key, &list, err);

        if (r < 0)
                return r;
        if (json_array_size(list) > max)
                return err_set(err, EINVAL, "%s: has more than %zu items", key, max);
        if (json_array_size(list) > 0)
                out = xnew_array(char *, json_array_size(list) + 1);
        json_array_foreach((json_t *)(uintptr_t)list, i, v)
        {
                if (!json_is_string(v) || strlen(json_string_value(v)) != json_string_length(v)) {
                        strv_free(out);
                        return wrong_type(key, "a list of strings", err);
                }
                out[i] = xstrdup(json_string_value(v));
        }
        *ret = out;
        return 0;
}
