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
#include "swarmctl/client/client.h"
#include "swarmctl/cmd/flags.h"

#define CTL_EXIT_INTERRUPTED 130 /* by SIGINT, as a shell would say it; else enum client_exit */

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
extern const struct command cmd_manager[];
extern const struct command cmd_task[];
extern const struct command cmd_swarm[];
extern const struct command cmd_system[];
extern const struct command cmd_image[];
extern const struct command cmd_backup[];

#define COMMAND_TABLES_MAX 16
/* All tables, ended by NULL. */
int cmd_main(const struct command *const *tables, int argc, char *const *argv);

/* --- for commands ------------------------------------------------------------------------------
 */

/* "swarmctl: TEXT" on standard error, one line without control characters. Returns code. */
int ctl_fail(struct ctl *ctl, int code, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
/* The same for wrong usage: adds "See 'swarmctl service create --help'.";
 * returns CLIENT_EXIT_USAGE. */
int ctl_usage(struct ctl *ctl, const char *format, ...) __attribute__((format(printf, 2, 3)));
void ctl_warn(struct ctl *ctl, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Sends a request and waits for the one answer, which is the caller's to free with wire_free; ret
 * may be NULL. Connects first if need be. Returns 0, or an exit code after ctl_fail. A question
 * whose answer is lost, with a manager or its leader, is asked again: until --timeout, or for
 * CTL_ASK_AGAIN_MS. What changes something never is. */
#define CTL_ASK_AGAIN_MS 10000
int ctl_call(struct ctl *ctl, Swarm__Request *q, Swarm__Response **ret);
/* The client, connected, for what the two below do not cover; NULL after ctl_fail, *ret_exit set.
 */
struct client *ctl_client(struct ctl *ctl, int *ret_exit);
/* What is left of --timeout in ms: 0 when it has passed, CLIENT_NO_TIMEOUT without. */
int64_t ctl_time_left(const struct ctl *ctl);
int64_t ctl_timeout(const struct ctl *ctl); /* as given, in ms */

/* A request that is answered by a stream. Returns 0 or an exit code after ctl_fail. */
int ctl_stream_open(struct ctl *ctl, Swarm__Request *q, struct client_stream **ret);
/* 1: *ret is the next response (wire_free); 0: the stream has ended; -EAGAIN: wait_ms (or
 * CLIENT_NO_TIMEOUT) have passed without one; else nothing more comes and err says why:
 * -ENOTCONN: the connection is lost; -ETIMEDOUT: --timeout has passed; the manager's refusal. */
int ctl_stream_next(struct ctl *ctl, struct client_stream *s, int64_t wait_ms,
                    Swarm__Response **ret, struct err *err);

/* For what goes on in the manager whether it is reached or not. When the manager cannot be reached,
 * both try again for CTL_RECONNECT_MS from when it was lost, and --timeout at most; then they say
 * "WHAT: the reason" and return CLIENT_EXIT_NO_MANAGER. */
#define CTL_RECONNECT_MS 60000
/* As ctl_call, for questions. */
int ctl_ask(struct ctl *ctl, Swarm__Request *q, const char *what, Swarm__Response **ret);
/* After -ENOTCONN with err: asks anew. *s is replaced, and NULL on failure. */
int ctl_stream_reopen(struct ctl *ctl, Swarm__Request *q, const char *what, struct err *err,
                      struct client_stream **s);

/* What to say when the user interrupts (SIGINT); the process then ends with CTL_EXIT_INTERRUPTED.
 * The text must stay; NULL: nothing. */
void ctl_on_interrupt(const char *text);
/* The file goes when SIGINT, SIGTERM or SIGHUP ends the process. The path must stay; NULL: none. */
void ctl_remove_on_interrupt(const char *path);
