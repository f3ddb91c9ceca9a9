/* What cmd.c, help.c and call.c share about a running swarmctl. */
#pragma once

#include "swarmctl/cmd/cmd.h"

struct client;

struct ctl {
        const struct command *command;
        const char *host;      /* as given; NULL: the default */
        int64_t deadline_ms;   /* mono; TIME_NEVER without --timeout */
        int64_t timeout_ms;    /* as given, for the text */
        struct client *client; /* NULL: not connected yet */
        int64_t connected_ms;  /* mono: when it was made */
        int64_t lost_ms;       /* mono: since when there is no lasting connection; 0: never lost */
};

extern const struct flag global_flags[];

/* Of a noun ("" for commands of one word) and a verb or alias; NULL: there is none. */
const struct command *command_find(const struct command *const *tables, const char *noun,
                                   const char *verb);
/* "service create" */
char *command_name(const struct command *c);
void help_print_all(const struct command *const *tables);
void help_print_noun(const struct command *const *tables, const char *noun);
void help_print_command(const struct command *c);
void ctl_disconnect(struct ctl *ctl);

/* A question, each time that it is asked: see ctl_call. */
struct ctl_asking {
        int64_t begun_ms; /* mono */
        bool was_lost;
};
/* r: what came of it this time. True: ask it again now, on a new connection; that took a moment. */
bool ctl_asks_again(struct ctl *ctl, const Swarm__Request *q, struct ctl_asking *asking, int r);
/* As ctl_call, but once, and says nothing. Returns -errno as client_call and client_open. */
int ctl_call_try(struct ctl *ctl, Swarm__Request *q, Swarm__Response **ret, struct err *err);
/* As ctl_stream_open, and says nothing. Returns -errno as client_stream_open and client_open. */
int ctl_stream_try(struct ctl *ctl, Swarm__Request *q, struct client_stream **ret, struct err *err);
