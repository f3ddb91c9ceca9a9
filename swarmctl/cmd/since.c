/* Points in time: see since.h. */
#include "swarmctl/cmd/since.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "shared/base/parse.h"
#include "shared/base/str.h"

#define SECONDS_MAX 253402300799LL /* the last of the year 9999 */

/* Reads exactly n digits at *p, which is moved behind them. */
static bool take_number(const char **p, int n, int min, int max, int *ret)
{
        int v = 0;

        for (int i = 0; i < n; i++) {
                if (!isdigit((unsigned char)(*p)[i]))
                        return false;
                v = 10 * v + ((*p)[i] - '0');
        }
        *p += n;
        *ret = v;
        return v >= min && v <= max;
}

static bool take_char(const char **p, char c)
{
        if (**p != c)
                return false;
        (*p)++;
        return true;
}

/* ".25": 1 to 9 digits. True and 0 when there is none. */
static bool take_fraction(const char **p, int64_t *ret_us)
{
        int64_t us = 0;
        int n = 0;

        *ret_us = 0;
        if (!take_char(p, '.'))
                return true;
        for (; isdigit((unsigned char)**p) && n < 9; (*p)++, n++)
                if (n < 6)
                        us = 10 * us + (**p - '0');
        for (int i = n; i < 6; i++)
                us *= 10;
        *ret_us = us;
        return n > 0;
}

/* "T13:00[:00[.25]]" */
static bool take_clock(const char **p, struct tm *tm, int64_t *ret_us)
{
        if (!take_char(p, 'T') && !take_char(p, 't') && !take_char(p, ' '))
                return false;
        if (!take_number(p, 2, 0, 23, &tm->tm_hour) || !take_char(p, ':') ||
            !take_number(p, 2, 0, 59, &tm->tm_min))
                return false;
        if (!take_char(p, ':'))
                return true;
        return take_number(p, 2, 0, 60, &tm->tm_sec) && take_fraction(p, ret_us);
}

/* "Z" or "+02:00"; none is local time. To seconds since the epoch. */
static bool take_zone(const char **p, struct tm *tm, int64_t *ret_s)
{
        int hours, minutes, sign;

        if (!**p) {
                tm->tm_isdst = -1;
                *ret_s = (int64_t)mktime(tm);
                return true;
        }
        *ret_s = (int64_t)timegm(tm);
        if (take_char(p, 'Z') || take_char(p, 'z'))
                return true;
        sign = **p == '+' ? 1 : **p == '-' ? -1 : 0;
        if (!sign)
                return false;
        (*p)++;
        if (!take_number(p, 2, 0, 23, &hours) || !take_char(p, ':') ||
            !take_number(p, 2, 0, 59, &minutes))
                return false;
        *ret_s -= sign * (hours * 3600 + minutes * 60);
        return true;
}

static int parse_date(const char *s, int64_t *ret_us)
{
        struct tm tm = {0};
        int64_t us = 0, seconds;
        const char *p = s;

        if (!take_number(&p, 4, 1970, 9999, &tm.tm_year) || !take_char(&p, '-') ||
            !take_number(&p, 2, 1, 12, &tm.tm_mon) || !take_char(&p, '-') ||
            !take_number(&p, 2, 1, 31, &tm.tm_mday))
                return -EINVAL;
        tm.tm_year -= 1900;
        tm.tm_mon--;
        const int day = tm.tm_mday;
        if (strchr("Tt ", *p) && *p && !take_clock(&p, &tm, &us))
                return -EINVAL;
        if (!take_zone(&p, &tm, &seconds) || *p || tm.tm_mday != day)
                return -EINVAL; /* February 30th has become another day */
        *ret_us = seconds * 1000000 + us;
        return 0;
}

static int parse_epoch(const char *s, int64_t *ret_us)
{
        int64_t seconds = 0, us;
        const char *p = s;

        if (!isdigit((unsigned char)*p))
                return -EINVAL;
        for (; isdigit((unsigned char)*p); p++) {
                seconds = 10 * seconds + (*p - '0');
                if (seconds > SECONDS_MAX)
                        return -EINVAL;
        }
        if (!take_fraction(&p, &us) || *p)
                return -EINVAL;
        *ret_us = seconds * 1000000 + us;
        return 0;
}

int since_parse(const char *s, int64_t now_us, int64_t *ret_us)
{
        int64_t ms, us;

        /* "0" is a time, and "0s" a duration. */
        if (!str_is_equal(s, "0") && parse_duration_ms(s, &ms) == 0) {
                if (ms < 0 || ms > now_us / 1000)
                        return -EINVAL;
                *ret_us = now_us - ms * 1000;
                return 0;
        }
        if (parse_date(s, &us) < 0 && parse_epoch(s, &us) < 0)
                return -EINVAL;
        *ret_us = us;
        return 0;
}
