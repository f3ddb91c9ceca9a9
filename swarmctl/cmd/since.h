/* since: points in time as users give them to --since and --until. */
#pragma once

#include <stdint.h>

/* "2026-01-31T13:00:00Z" and RFC 3339's other forms, also without zone (local time), seconds or
 * time of day; "10m": so long before now; "1769864400.25": seconds since the epoch. Microseconds
 * since the epoch in *ret_us. -EINVAL. */
int since_parse(const char *s, int64_t now_us, int64_t *ret_us);
