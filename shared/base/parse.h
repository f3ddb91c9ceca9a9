/*
 * Numbers as people write them. All parsers take the whole string or fail: -EINVAL for what is not
 * of the form, -ERANGE for what does not fit; the output is set on success only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NANO_PER_CPU 1000000000LL
#define FORMAT_MAX   32

int parse_u64(const char *s, uint64_t *ret);
int parse_i64(const char *s, int64_t *ret);
int parse_bool(const char *s, bool *ret);    /* true/false, 1/0, yes/no, on/off */
int parse_ratio(const char *s, double *ret); /* a plain decimal number */
/* "10M", "1.5GiB", "512k", "100": powers of 1024, as Docker's sizes. */
int parse_size(const char *s, int64_t *ret_bytes);
/* "300ms", "5s", "1m30s", "2h", "0"; a bare number other than 0 is refused, as in Docker. -ERANGE
 * too for what is not 0 and would round to it. */
int parse_duration_ms(const char *s, int64_t *ret_ms);
/* "0.5" CPUs to billionths. */
int parse_cpu(const char *s, int64_t *ret_nano);
/* "KEY=VALUE": points *ret_value behind the first '=' and gives the key's length.
 * -EINVAL without '=' or with an empty key. */
int parse_key_value(const char *s, size_t *ret_key_len, const char **ret_value);

/* Text in ret (FORMAT_MAX bytes), returned for use in a printf. */
const char *format_size(int64_t bytes, char ret[FORMAT_MAX]);     /* "1.5GiB" */
const char *format_duration_ms(int64_t ms, char ret[FORMAT_MAX]); /* "1m30s" */
const char *format_cpu(int64_t nano, char ret[FORMAT_MAX]);       /* "0.5" */
/* "3 minutes", "About an hour": how Docker's listings tell an age. */
const char *format_age_ms(int64_t ms, char ret[FORMAT_MAX]);

#define ADDRESS_TEXT_MAX 128 /* with its NUL */
/* "IP", "IP:PORT", "[IP6]:PORT" to "IP:PORT" in canonical form. default_port 0: there must be one.
 * -EINVAL. */
int parse_host_port(const char *s, uint16_t default_port, char ret[ADDRESS_TEXT_MAX]);
