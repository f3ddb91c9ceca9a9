/*
 * complete: `swarmctl __complete WORD...`, which the shell's completion calls: what the last word,
 * as far as it is typed, may become. From the tables of commands and flags, so that it cannot lag
 * behind them; names come from the manager.
 */
#pragma once

#include <stddef.h>

#include "swarmctl/cmd/cmd.h"

#define COMPLETE_TIMEOUT_MS 1000 /* a shell waits for it */

enum complete_names {
        COMPLETE_NO_NAMES,
        COMPLETE_SERVICES,
        COMPLETE_NODES,
        COMPLETE_MANAGERS,
        COMPLETE_IMAGES,
};

/* Zeroed is empty. */
struct completion {
        char **words;              /* strv: what fits */
        enum complete_names names; /* these, too */
        const char *prefix;        /* that they must begin with */
        const char *suffix;        /* that is put behind them */
        const char *host;          /* --host among the words; NULL: none */
};

/* What fits without asking the manager. words: n > 0 words after "swarmctl", of which the last is
 * the one to complete; they must outlive ret. */
void complete_find(const struct command *const *tables, char *const *words, size_t n,
                   struct completion *ret);
void completion_done(struct completion *c);

/* The command: a line for each. Returns an exit code. */
int complete_run(struct ctl *ctl, const struct command *const *tables, char *const *words,
                 size_t n);
