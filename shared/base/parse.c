/* Numbers as people write them: see parse.h. */
#include "shared/base/parse.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

int parse_u64(const char *s, uint64_t *ret)
{
        char *end;

        if (!isdigit((unsigned char)*s))
                return -EINVAL;
        errno = 0;
        unsigned long long v = strtoull(s, &end, 10);
        if (*end)
                return -EINVAL;
        if (errno)
                return -ERANGE;
        *ret = v;
        return 0;
}

int parse_i64(const char *s, int64_t *ret)
{
        char *end;

        if (!isdigit((unsigned char)*(s + (*s == '-'))))
                return -EINVAL;
        errno = 0;
        long long v = strtoll(s, &end, 10);
        if (*end)
                return -EINVAL;
        if (errno)
                return -ERANGE;
        *ret = v;
        return 0;
}

int parse_bool(const char *s, bool *ret)
{
        static const char *const yes[] = {"true", "1", "yes", "on"};
        static const char *const no[] = {"false", "0", "no", "off"};

        for (int i = 0; i < 4; i++) {
                if (!strcasecmp(s, yes[i]) || !strcasecmp(s, no[i])) {
                        *ret = !strcasecmp(s, yes[i]);
                        return 0;
                }
        }
        return -EINVAL;
}

/* Reads digits with an optional fraction at *s and moves *s behind them. */
static int scan_decimal(const char **s, double *ret)
{
        const char *p = *s;
        size_t n = strspn(p, "0123456789");
        size_t digits = n;

        if (p[n] == '.') {
                size_t fraction = strspn(p + n + 1, "0123456789");

                digits += fraction;
                n += 1 + fraction;
        }
        if (digits == 0 || n > 30)
                return -EINVAL;
        char copy[32];
        memcpy(copy, p, n);
        copy[n] = 0;
        *ret = strtod(copy, NULL);
        *s = p + n;
        return 0;
}

int parse_ratio(const char *s, double *ret)
{
        double v;

        if (scan_decimal(&s, &v) < 0 || *s)
                return -EINVAL;
        *ret = v;
        return 0;
}

int parse_size(const char *s, int64_t *ret_bytes)
{
        static const char units[] = "bkmgtp";
        double v;
        int shift = 0;

        if (scan_decimal(&s, &v) < 0)
                return -EINVAL;
        if (*s) {
                const char *unit = strchr(units, tolower((unsigned char)*s));

                if (!unit)
                        return -EINVAL;
                shift = 10 * (int)(unit - units);
                s++;
                if (shift && (*s == 'i' || *s == 'I') && (s[1] == 'b' || s[1] == 'B'))
                        s += 2;
                else if (shift && (*s == 'b' || *s == 'B'))
                        s++;
        }
        if (*s)
                return -EINVAL;
        v = ldexp(v, shift);
        if (v > 9e18)
                return -ERANGE;
        *ret_bytes = (int64_t)v;
        return 0;
}

/* Factor in ms of the unit at *s, which is moved behind it; negative if there is none. */
static double scan_duration_unit(const char **s)
{
        static const struct {
                const char *name;
                double ms;
        } units[] = {{"ns", 1e-6}, {"us", 1e-3}, {"ms", 1}, {"s", 1e3}, {"m", 6e4}, {"h", 3.6e6}};

        for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
                size_t n = strlen(units[i].name);

                if (!strncmp(*s, units[i].name, n)) {
                        *s += n;
                        return units[i].ms;
                }
        }
        return -1;
}

int parse_duration_ms(const char *s, int64_t *ret_ms)
{
        double sum = 0;

        if (!strcmp(s, "0")) {
                *ret_ms = 0;
                return 0;
        }
        if (!*s)
                return -EINVAL;
        while (*s) {
                double v, unit;

                if (scan_decimal(&s, &v) < 0)
                        return -EINVAL;
                unit = scan_duration_unit(&s);
                if (unit < 0)
                        return -EINVAL;
                sum += v * unit;
        }
        if (sum > 9e15)
                return -ERANGE;
        if (sum > 0 && sum < 0.5)
                return -ERANGE; /* not 0: that often means "none" or "the default" */
        *ret_ms = (int64_t)llround(sum);
        return 0;
}

int parse_cpu(const char *s, int64_t *ret_nano)
{
        double v;

        if (scan_decimal(&s, &v) < 0 || *s)
                return -EINVAL;
        if (v > 1e6)
                return -ERANGE;
        *ret_nano = (int64_t)llround(v * (double)NANO_PER_CPU);
        return 0;
}

int parse_key_value(const char *s, size_t *ret_key_len, const char **ret_value)
{
        const char *eq = strchr(s, '=');

        if (!eq || eq == s)
                return -EINVAL;
        *ret_key_len = (size_t)(eq - s);
        *ret_value = eq + 1;
        return 0;
}

const char *format_size(int64_t bytes, char ret[FORMAT_MAX])
{
        static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
        double v = (double)bytes;
        size_t i = 0;

        for (; v >= 1024 && i + 1 < sizeof(units) / sizeof(units[0]); i++)
                v /= 1024;
        snprintf(ret, FORMAT_MAX, "%.4g%s", v, units[i]);
        return ret;
}

const char *format_duration_ms(int64_t ms, char ret[FORMAT_MAX])
{
        int64_t h = ms / 3600000, m = ms / 60000 % 60, s = ms / 1000 % 60;
        int n = 0;

        if (ms < 1000) {
                snprintf(ret, FORMAT_MAX, "%" PRId64 "%s", ms, ms ? "ms" : "s");
                return ret;
        }
        if (h)
                n += snprintf(ret + n, (size_t)(FORMAT_MAX - n), "%" PRId64 "h", h);
        if (h || m)
                n += snprintf(ret + n, (size_t)(FORMAT_MAX - n), "%" PRId64 "m", m);
        if (ms % 1000)
                snprintf(ret + n, (size_t)(FORMAT_MAX - n), "%.3gs", (double)(ms % 60000) / 1000);
        else
                snprintf(ret + n, (size_t)(FORMAT_MAX - n), "%" PRId64 "s", s);
        return ret;
}

const char *format_cpu(int64_t nano, char ret[FORMAT_MAX])
{
        snprintf(ret, FORMAT_MAX, "%.9g", (double)nano / (double)NANO_PER_CPU);
        return ret;
}

const char *format_age_ms(int64_t ms, char ret[FORMAT_MAX])
{
        int64_t s = ms / 1000, m = s / 60, h = (m + 30) / 60, d = h / 24;

        if (s < 1)
                snprintf(ret, FORMAT_MAX, "Less than a second");
        else if (s == 1)
                snprintf(ret, FORMAT_MAX, "1 second");
        else if (s < 60)
                snprintf(ret, FORMAT_MAX, "%" PRId64 " seconds", s);
        else if (m == 1)
                snprintf(ret, FORMAT_MAX, "About a minute");
        else if (m < 46)
                snprintf(ret, FORMAT_MAX, "%" PRId64 " minutes", m);
        else if (h == 1)
                snprintf(ret, FORMAT_MAX, "About an hour");
        else if (h < 48)
                snprintf(ret, FORMAT_MAX, "%" PRId64 " hours", h);
        else if (d < 14)
                snprintf(ret, FORMAT_MAX, "%" PRId64 " days", d);
        else if (d < 60)
                snprintf(ret, FORMAT_MAX, "%" PRId64 " weeks", d / 7);
        else if (d < 730)
                snprintf(ret, FORMAT_MAX, "%" PRId64 " months", d / 30);
        else
                snprintf(ret, FORMAT_MAX, "%" PRId64 " years", d / 365);
        return ret;
}

int parse_host_port(const char *s, uint16_t default_port, char ret[ADDRESS_TEXT_MAX])
{
        uint64_t port = default_port;
        char ip[INET6_ADDRSTRLEN + 1];
        uint8_t binary[sizeof(struct in6_addr)];
        bool is_bracketed = *s == '[';
        const char *end = is_bracketed ? strchr(s, ']') : strchr(s, ':');
        const char *colon = is_bracketed && end ? end + 1 : end;
        size_t n = end ? (size_t)(end - s) - is_bracketed : strlen(s);

        if ((is_bracketed && !end) || n >= sizeof(ip))
                return -EINVAL;
        memcpy(ip, s + is_bracketed, n);
        ip[n] = 0;
        if (inet_pton(is_bracketed ? AF_INET6 : AF_INET, ip, binary) != 1)
                return -EINVAL;
        if (colon && *colon) {
                if (*colon != ':' || parse_u64(colon + 1, &port) || port < 1 || port > UINT16_MAX)
                        return -EINVAL;
        } else if (!default_port) {
                return -EINVAL;
        }
        snprintf(ret, ADDRESS_TEXT_MAX, is_bracketed ? "[%s]:%u" : "%s:%u", ip, (unsigned)port);
        return 0;
}
