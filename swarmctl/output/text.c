/* Text for people: clean, short, and aged. See output.h. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "shared/base/mem.h"
#include "shared/base/parse.h"
#include "shared/base/str.h"
#include "shared/wire/wire.h"
#include "swarmctl/output/output.h"

/* Length of the well-formed UTF-8 sequence at p (1 to 4), 0 when it is none. */
static size_t utf8_len(const unsigned char *p, size_t n)
{
        char one[5] = {0};
        size_t len = p[0] < 0x80 ? 1 : p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;

        if (len > n)
                return 0;
        memcpy(one, p, len);
        if (strlen(one) != len || !text_is_valid(one))
                return 0;
        return len;
}

/* C1 controls (U+0080..U+009F) steer terminals too. */
static bool is_c1(const unsigned char *p, size_t len)
{
        return len == 2 && p[0] == 0xc2 && p[1] < 0xa0;
}

void text_put_n(struct buf *b, const void *data, size_t n)
{
        const unsigned char *p = data;

        while (n > 0) {
                size_t len = utf8_len(p, n);

                if (len == 0 || is_c1(p, len))
                        buf_putc(b, '?');
                else
                        buf_append(b, p, len);
                len = len ? len : 1;
                p += len;
                n -= len;
        }
}

char *text_safe(const char *s)
{
        _cleanup_buf_ struct buf b = {0};

        text_put(&b, s);
        return buf_take_str(&b);
}

size_t text_width(const char *s)
{
        size_t n = 0;

        for (; *s; s++)
                n += ((unsigned char)*s & 0xc0) != 0x80;
        return n;
}

struct id_text text_id(const ProtobufCBinaryData *data, bool is_short)
{
        struct id_text t = {""};
        struct id id;

        if (wire_get_id(data, &id) < 0 || id_is_zero(id))
                return t;
        t = id_text(id);
        if (is_short)
                t.s[ID_SHORT_LEN] = 0;
        return t;
}

const char *text_ago(int64_t then_ms, int64_t now_ms, char ret[64])
{
        char age[FORMAT_MAX];

        ret[0] = 0;
        if (then_ms > 0)
                snprintf(ret, 64, "%s ago", format_age_ms(MAX(now_ms - then_ms, 0), age));
        return ret;
}

char *text_capital(const char *s)
{
        char *copy = xstrdup(s);

        copy[0] = (char)toupper((unsigned char)copy[0]);
        return copy;
}

const char *text_time_us(int64_t us, char ret[TEXT_TIME_MAX])
{
        struct tm tm = {0};
        time_t s = (time_t)(us / 1000000);
        size_t n;

        if (us <= 0 || !gmtime_r(&s, &tm)) {
                snprintf(ret, TEXT_TIME_MAX, "0001-01-01T00:00:00Z");
                return ret;
        }
        n = strftime(ret, TEXT_TIME_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
        snprintf(ret + n, TEXT_TIME_MAX - n, ".%06dZ", (int)(us % 1000000));
        return ret;
}

const char *text_time(int64_t ms, char ret[TEXT_TIME_MAX])
{
        return text_time_us(ms > INT64_MAX / 1000 ? 0 : ms * 1000, ret);
}

void output_flush(struct buf *b)
{
        fwrite(buf_str(b), 1, b->len, stdout);
        fflush(stdout);
        buf_clear(b);
}
