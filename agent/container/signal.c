/* Names of signals: see container.h. */
#include <errno.h>
#include <signal.h>
#include <strings.h>

#include "agent/container/container.h"
#include "shared/base/mem.h"
#include "shared/base/parse.h"
#include "shared/base/str.h"

static const struct {
        const char *name;
        int number;
} names[] = {
        {"HUP", SIGHUP},   {"INT", SIGINT},       {"QUIT", SIGQUIT}, {"ILL", SIGILL},
        {"TRAP", SIGTRAP}, {"ABRT", SIGABRT},     {"BUS", SIGBUS},   {"FPE", SIGFPE},
        {"KILL", SIGKILL}, {"USR1", SIGUSR1},     {"SEGV", SIGSEGV}, {"USR2", SIGUSR2},
        {"PIPE", SIGPIPE}, {"ALRM", SIGALRM},     {"TERM", SIGTERM}, {"STKFLT", SIGSTKFLT},
        {"CHLD", SIGCHLD}, {"CONT", SIGCONT},     {"STOP", SIGSTOP}, {"TSTP", SIGTSTP},
        {"TTIN", SIGTTIN}, {"TTOU", SIGTTOU},     {"URG", SIGURG},   {"XCPU", SIGXCPU},
        {"XFSZ", SIGXFSZ}, {"VTALRM", SIGVTALRM}, {"PROF", SIGPROF}, {"WINCH", SIGWINCH},
        {"IO", SIGIO},     {"PWR", SIGPWR},       {"SYS", SIGSYS},   {"POLL", SIGPOLL},
};

/* "RTMIN", "RTMIN+3", "RTMAX-1". */
static int parse_realtime(const char *s, int *ret)
{
        bool is_min = strncasecmp(s, "RTMIN", 5) == 0;
        uint64_t n = 0;

        if (!is_min && strncasecmp(s, "RTMAX", 5) != 0)
                return -EINVAL;
        s += 5;
        if (*s && (*s != (is_min ? '+' : '-') || parse_u64(s + 1, &n) < 0 || n > 30))
                return -EINVAL;
        *ret = is_min ? SIGRTMIN + (int)n : SIGRTMAX - (int)n;
        return 0;
}

int signal_parse(const char *s, int *ret)
{
        uint64_t n;

        if (parse_u64(s, &n) == 0) {
                if (n < 1 || n > (uint64_t)SIGRTMAX)
                        return -EINVAL;
                *ret = (int)n;
                return 0;
        }
        if (strncasecmp(s, "SIG", 3) == 0)
                s += 3;
        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                if (strcasecmp(names[i].name, s) == 0) {
                        *ret = names[i].number;
                        return 0;
                }
        }
        return parse_realtime(s, ret);
}
