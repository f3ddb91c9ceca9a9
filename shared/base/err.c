/* Errors with a text: see err.h. */
#include "shared/base/err.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void make_one_line(char *s)
{
        for (; *s; s++)
                if (iscntrl((unsigned char)*s))
                        *s = ' ';
}

int err_set(struct err *err, int code, const char *format, ...)
{
        va_list ap;

        if (!err)
                return -code;
        err->code = code;
        va_start(ap, format);
        vsnprintf(err->text, sizeof(err->text), format, ap);
        va_end(ap);
        make_one_line(err->text);
        return -code;
}

int err_wrap(struct err *err, const char *format, ...)
{
        char inner[ERR_TEXT_MAX];
        va_list ap;

        if (!err)
                return 0;
        memcpy(inner, err->text, sizeof(inner));
        va_start(ap, format);
        vsnprintf(err->text, sizeof(err->text), format, ap);
        va_end(ap);
        size_t n = strlen(err->text);
        snprintf(err->text + n, sizeof(err->text) - n, ": %s", inner);
        make_one_line(err->text);
        return -err->code;
}

const char *err_name(int code)
{
        static _Thread_local char text[64];

        snprintf(text, sizeof(text), "%s", strerror(abs(code)));
        text[0] = (char)tolower((unsigned char)text[0]);
        return text;
}
