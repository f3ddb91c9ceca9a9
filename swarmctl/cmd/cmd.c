/*
 * From argv to a command: global flags, the command's words, its flags, its number of arguments;
 * and how a command fails. Everything that can be wrong here is wrong usage (exit 2).
 */
#include "swarmctl/cmd/cmd.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/base/time.h"
#include "swarmctl/cmd/complete.h"
#include "swarmctl/cmd/ctl_internal.h"
#include "version.h"

const struct flag global_flags[] = {
        {"host", 'H', FLAG_STRING, "Manager: ipc://PATH or tcp://HOST:PORT (or SWARM_HOST)", NULL},
        {"timeout", 0, FLAG_DURATION, "Longest time to wait; then exit 124", NULL},
        {"help", 0, FLAG_BOOL, "Show help", NULL},
        {0},
};

static const struct flag top_flags[] = {
        {"version", 'v', FLAG_BOOL, "Show the version", NULL},
        {0},
};

__attribute__((format(printf, 2, 0))) static void say(const char *prefix, const char *format,
                                                      va_list ap)
{
        char text[2 * ERR_TEXT_MAX];

        vsnprintf(text, sizeof(text), format, ap);
        for (char *p = text; *p; p++)
                if ((unsigned char)*p < 0x20 || *p == 0x7f)
                        *p = *p == '\n' && !p[1] ? 0 : '?';
        fflush(stdout);
        fprintf(stderr, "%s%s\n", prefix, text);
}

int ctl_fail(struct ctl *ctl, int code, const char *format, ...)
{
        va_list ap;

        (void)ctl;
        va_start(ap, format);
        say("swarmctl: ", format, ap);
        va_end(ap);
        return code;
}

void ctl_warn(struct ctl *ctl, const char *format, ...)
{
        va_list ap;

        (void)ctl;
        va_start(ap, format);
        say("warning: ", format, ap);
        va_end(ap);
}

int ctl_usage(struct ctl *ctl, const char *format, ...)
{
        _cleanup_free_ char *name = ctl->command ? command_name(ctl->command) : xstrdup("");
        va_list ap;

        va_start(ap, format);
        say("swarmctl: ", format, ap);
        va_end(ap);
        fprintf(stderr, "See 'swarmctl %s%s--help'.\n", name, *name ? " " : "");
        return CLIENT_EXIT_USAGE;
}

static bool has_noun(const struct command *const *tables, const char *noun)
{
        for (; *tables; tables++)
                for (const struct command *c = *tables; c->verb; c++)
                        if (*c->noun && str_is_equal(c->noun, noun))
                                return true;
        return false;
}

const struct command *command_find(const struct command *const *tables, const char *noun,
                                   const char *verb)
{
        for (; *tables; tables++) {
                for (const struct command *c = *tables; c->verb; c++) {
                        if (!str_is_equal(c->noun, noun))
                                continue;
                        if (str_is_equal(c->verb, verb) ||
                            (c->alias && str_is_equal(c->alias, verb)))
                                return c;
                }
        }
        return NULL;
}

/* Takes over what the global flags say, wherever they stood. */
static int take_globals(struct ctl *ctl, const struct args *a)
{
        const struct flag_value *timeout = args_get(a, "timeout");

        if (args_text(a, "host"))
                ctl->host = args_text(a, "host");
        if (!timeout->is_set)
                return 0;
        if (timeout->number <= 0)
                return ctl_usage(ctl, "invalid value \"%s\" for --timeout: must be more than 0",
                                 timeout->text);
        ctl->timeout_ms = timeout->number;
        ctl->deadline_ms = time_now().mono_ms + timeout->number;
        return 0;
}

static int check_count(struct ctl *ctl, const struct command *c, const struct args *a)
{
        _cleanup_free_ char *name = command_name(c);
        const bool exact = c->args_min == c->args_max;
        const int n = (int)a->n_rest;

        if (n >= c->args_min && (c->args_max < 0 || n <= c->args_max))
                return 0;
        if (c->args_max == 0)
                return ctl_usage(ctl, "\"swarmctl %s\" accepts no arguments", name);
        const int bound = n < c->args_min ? c->args_min : c->args_max;
        return ctl_usage(ctl, "\"swarmctl %s\" requires %s %d argument%s", name,
                         exact             ? "exactly"
                         : n < c->args_min ? "at least"
                                           : "at most",
                         bound, bound == 1 ? "" : "s");
}

/* Standard output is complete: a full disk is a failure, a reader that went away is not. */
static int finish_output(struct ctl *ctl, int code)
{
        if (fflush(stdout) == 0 && !ferror(stdout))
                return code;
        if (errno == EPIPE)
                return code;
        return code ? code
                    : ctl_fail(ctl, CLIENT_EXIT_REFUSED, "standard output: %s", err_name(errno));
}

static int run_command(struct ctl *ctl, const struct command *c, int argc, char *const *argv)
{
        struct flag_sets sets = c->flags;
        _cleanup_args_ struct args a = {0};
        struct err err = {0};
        size_t n = 0;

        ctl->command = c;
        while (sets.sets[n])
                n++;
        assert(n < FLAG_SETS_MAX); /* the table of this very program */
        sets.sets[n] = global_flags;
        sets.sets[n + 1] = NULL;
        if (args_parse(&a, &sets, c->stop_at_first, argc, argv, &err) < 0)
                return ctl_usage(ctl, "%s", err.text);
        if (args_on(&a, "help")) {
                help_print_command(c);
                return finish_output(ctl, CLIENT_EXIT_DONE);
        }
        int r = take_globals(ctl, &a);
        if (r == 0)
                r = check_count(ctl, c, &a);
        if (r == 0)
                r = c->run(ctl, &a);
        ctl_disconnect(ctl);
        return finish_output(ctl, r);
}

/* What Docker has commands for, and is done otherwise here. */
static int fail_unknown(struct ctl *ctl, const char *noun, const char *verb)
{
        static const char *const elsewhere[][3] = {
                {"swarm", "init", "a cluster is made by swarm-manager --init"},
                {"swarm", "join", "a node joins by swarm-agent --join HOST:PORT --token TOKEN"},
                {"swarm", "leave", "a node is taken out by swarmctl node rm"},
        };

        for (size_t i = 0; i < ARRAY_SIZE(elsewhere); i++)
                if (str_is_equal(noun, elsewhere[i][0]) && str_is_equal(verb, elsewhere[i][1]))
                        return ctl_usage(ctl, "unknown command: swarmctl %s %s: %s", noun, verb,
                                         elsewhere[i][2]);
        return ctl_usage(ctl, "unknown command: swarmctl %s %s", noun, verb);
}

/* Finds the command that the words name, and runs it or shows help. */
static int dispatch(struct ctl *ctl, const struct command *const *tables, char *const *words,
                    size_t n, bool help)
{
        if (n == 0) {
                help_print_all(tables);
                return finish_output(ctl, CLIENT_EXIT_DONE);
        }
        if (str_is_equal(words[0], "__complete"))
                return finish_output(ctl, complete_run(ctl, tables, words + 1, n - 1));
        const struct command *c = command_find(tables, "", words[0]);
        if (c)
                return help ? (help_print_command(c), finish_output(ctl, CLIENT_EXIT_DONE))
                            : run_command(ctl, c, (int)n - 1, words + 1);
        if (!has_noun(tables, words[0]))
                return ctl_usage(ctl, "unknown command: swarmctl %s", words[0]);
        if (n == 1 || str_is_equal(words[1], "--help")) {
                help_print_noun(tables, words[0]);
                return finish_output(ctl, CLIENT_EXIT_DONE);
        }
        c = command_find(tables, words[0], words[1]);
        if (!c)
                return fail_unknown(ctl, words[0], words[1]);
        if (help)
                return (help_print_command(c), finish_output(ctl, CLIENT_EXIT_DONE));
        return run_command(ctl, c, (int)n - 2, words + 2);
}

int cmd_main(const struct command *const *tables, int argc, char *const *argv)
{
        static const struct flag_sets top = {{global_flags, top_flags, NULL}};
        struct ctl ctl = {.deadline_ms = TIME_NEVER};
        _cleanup_args_ struct args a = {0};
        struct err err = {0};

        signal(SIGPIPE, SIG_IGN);
        if (args_parse(&a, &top, true, argc - 1, argv + 1, &err) < 0)
                return ctl_usage(&ctl, "%s", err.text);
        int r = take_globals(&ctl, &a);
        if (r)
                return r;
        if (args_on(&a, "version")) {
                printf("swarmctl version %s\n", SWARM_VERSION);
                return finish_output(&ctl, CLIENT_EXIT_DONE);
        }
        if (a.n_rest > 0 && str_is_equal(a.rest[0], "help"))
                return dispatch(&ctl, tables, a.rest + 1, a.n_rest - 1, true);
        return dispatch(&ctl, tables, a.rest, a.n_rest, args_on(&a, "help"));
}
