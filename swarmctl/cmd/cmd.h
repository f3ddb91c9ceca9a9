/*
 * cmd: the commands. A file a noun; main.c has the table of them all. This header says what a
 * command is, how help and usage errors follow from its table, and what a running command has at
 * hand: the manager, the time-out, and one way to fail.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/control.pb-c.h"
#include "shared/base/err.h"
#include "swarmctl/cmd/flags.h"

/* DESIGN 7. */
enum exit_code {
        EXIT_OK = 0,
        EXIT_REFUSED = 1, /* refused, or failed */
        EXIT_USAGE = 2,
        EXIT_NO_MANAGER = 3, /* none answers, or there is no leader */
        EXIT_TIMEOUT = 124,
        EXIT_INTERRUPTED = 130,
};

struct ctl;

struct command {
        const char *noun; /* "service"; "" for commands of one word */
        const char *verb;
        const char *alias; /* NULL: none */
        const char *usage; /* "IMAGE [COMMAND] [ARG...]" */
        const char *summary;
        int args_min, args_max; /* -1: no limit */
        bool stop_at_first;     /* flags end at the first argument */
        struct flag_sets flags;
        /* Returns an exit code. What went wrong has been said with ctl_fail. */
        int (*run)(struct ctl *ctl, const struct args *args);
};

/* The tables of the nouns, each ended by an entry without a verb. */
extern const struct command cmd_service[];
extern const struct command cmd_node[];
extern const struct command cmd_task[];
extern const struct command cmd_swarm[];
extern const struct command cmd_system[];
extern const struct command cmd_image[];

#define COMMAND_TABLES_MAX 16
/* All tables, ended by NULL. */
int cmd_main(const struct command *const *tables, int argc, char *const *argv);

/* --- for commands ------------------------------------------------------------------------------ */

/* "swarmctl: TEXT" on standard error, one line without control characters. Returns code. */
int ctl_fail(struct ctl *ctl, int code, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
/* The same for wrong usage: adds "See 'swarmctl service create --help'."; returns EXIT_USAGE. */
int ctl_usage(struct ctl *ctl, const char *format, ...) __attribute__((format(printf, 2, 3)));
void ctl_warn(struct ctl *ctl, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Sends a request (its number and protocol are filled in here) and waits for the one answer, which
 * is the caller's to free with wire_free. Returns 0, or an exit code after ctl_fail: answers with
 * an error code come out as failures. what names what is done, for the time-out's text. */
int ctl_call(struct ctl *ctl, Swarm__Request *q, Swarm__Response **ret);

/* Sends a request for a stream. Each answer comes out of ctl_stream_next; *ret is NULL when the
 * stream has ended, or when until_ms (mono, TIME_NEVER: for ever) came first: then *ret_timed_out.
 * Returns 0 or an exit code after ctl_fail. */
int ctl_stream_open(struct ctl *ctl, Swarm__Request *q);
int ctl_stream_next(struct ctl *ctl, int64_t until_ms, Swarm__Response **ret, bool *ret_timed_out);
void ctl_stream_close(struct ctl *ctl);

/* Says on interrupt (SIGINT) what goes on without us, and ends. NULL: end as usual. */
void ctl_on_interrupt(struct ctl *ctl, const char *text);
