/* The daemons' log: see log.h. A line that cannot be written is lost: there is nowhere to tell it.
 */
#include "shared/base/log.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LOG_LINE_MAX 2048

static enum log_level log_least = LOG_LEVEL_INFO;
static const char *const level_names[] = {"debug", "info", "warn", "error"};

void log_set_level(enum log_level level)
{
        log_least = level;
}

int log_level_parse(const char *s, enum log_level *ret)
{
        for (int i = 0; i < 4; i++) {
                if (!strcmp(s, level_names[i])) {
                        *ret = (enum log_level)i;
                        return 0;
                }
        }
        return -EINVAL;
}

void log_write(enum log_level level, const char *format, ...)
{
        char line[LOG_LINE_MAX];
        struct timespec ts;
        struct tm tm;
        va_list ap;

        if (level < log_least)
                return;
        clock_gettime(CLOCK_REALTIME, &ts);
        gmtime_r(&ts.tv_sec, &tm);
        size_t n = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%S", &tm);
        n += (size_t)snprintf(line + n, sizeof(line) - n, ".%03ldZ %s ", ts.tv_nsec / 1000000,
                              level_names[level]);
        va_start(ap, format);
        int m = vsnprintf(line + n, sizeof(line) - n - 1, format, ap);
        va_end(ap);
        if (m < 0)
                return;
        size_t len = n + (size_t)m < sizeof(line) - 2 ? n + (size_t)m : sizeof(line) - 2;
        for (size_t i = 0; i < len; i++)
                if (iscntrl((unsigned char)line[i]))
                        line[i] = ' ';
        line[len++] = '\n';
        ssize_t written = write(STDERR_FILENO, line, len);
        (void)written;
}
