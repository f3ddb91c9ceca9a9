/* JSON from outside, bounded before it is parsed: depth, number of values, size; and its fields. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "shared/base/err.h"
#include "shared/base/mem.h"

#define JSON_DEPTH_MAX  32
#define JSON_VALUES_MAX 200000

/* An object or array; NULL with text: "not JSON: ...". */
json_t *image_json_load(const uint8_t *p, size_t n, struct err *err);

/* Fields of an object. Absent and null are the same. -EINVAL with text for another type. */
int json_get_str(const json_t *o, const char *key, const char **ret, struct err *err);
int json_get_int(const json_t *o, const char *key, int64_t *ret, struct err *err);
int json_get_object(const json_t *o, const char *key, const json_t **ret, struct err *err);
int json_get_array(const json_t *o, const char *key, const json_t **ret, struct err *err);
/* Copies a list of strings; at most max. */
int json_get_strv(const json_t *o, const char *key, size_t max, char ***ret, struct err *err);

static inline void json_cleanup(json_t **j)
{
        json_decref(*j);
}
#define _cleanup_json_ _cleanup_(json_cleanup)
