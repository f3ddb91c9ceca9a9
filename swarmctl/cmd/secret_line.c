/* A line that is not for others' eyes: see secret_line.h. */
#include "swarmctl/cmd/secret_line.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "shared/base/base.h"

/* Byte by byte: what comes behind the line is not ours. Returns its length; SECRET_LINE_MAX: too
 * long. */
static size_t read_line(int fd, char *ret)
{
        size_t n = 0;
        char c;

        while (read(fd, &c, 1) == 1 && c != '\n')
                if (n < SECRET_LINE_MAX)
                        ret[n++] = c;
        return n;
}

static size_t trim(char *s, size_t n)
{
        size_t from = 0;

        while (n > 0 && strchr(" \t\r", s[n - 1]))
                n--;
        while (from < n && strchr(" \t\r", s[from]))
                from++;
        memmove(s, s + from, n - from);
        s[n - from] = 0;
        return n - from;
}

static struct termios before;

static void on_interrupt(int signum)
{
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
        _exit(128 + signum);
}

/* The terminal shows nothing meanwhile, and is left as it was, also when the user interrupts. */
static size_t ask(const char *prompt, char *ret)
{
        static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
        struct sigaction sa = {.sa_handler = on_interrupt};
        struct termios silent;

        if (tcgetattr(STDIN_FILENO, &before) < 0)
                return 0;
        for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
                sigaction(signals[i], &sa, NULL);
        silent = before;
        silent.c_lflag &= ~(tcflag_t)ECHO;
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
        fputs(prompt, stderr);
        size_t n = read_line(STDIN_FILENO, ret);
        fputc('\n', stderr);
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
        sa.sa_handler = SIG_DFL;
        for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
                sigaction(signals[i], &sa, NULL);
        return n;
}

int secret_line_read(const char *prompt, char ret[SECRET_LINE_MAX], struct err *err)
{
        size_t n = isatty(STDIN_FILENO) ? ask(prompt, ret) : read_line(STDIN_FILENO, ret);

        if (n == SECRET_LINE_MAX)
                return err_set(err, EINVAL, "the key is too long");
        return trim(ret, n) == 0 ? err_set(err, EINVAL, "no key was given") : 0;
}
