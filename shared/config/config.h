/*
 * config: a daemon's settings from one table of flags, read from the command line and from a YAML
 * file (libyaml's only home). Each flag is also a key of the file that --config names; the command
 * line wins. --config, --help and --version are in every program.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "shared/base/err.h"

#define CONFIG_FILE_MAX  (1u << 20)
#define CONFIG_LIST_MAX  1024 /* values of one list */
#define CONFIG_VALUE_MAX 4096

enum config_type {
        CONFIG_STR,      /* char *, owned */
        CONFIG_LIST,     /* char **, owned (strv); may be given many times; a sequence in YAML */
        CONFIG_BOOL,     /* bool; --flag or --flag=false */
        CONFIG_CPU,      /* int64_t, billionths */
        CONFIG_SIZE,     /* int64_t, bytes */
        CONFIG_DURATION, /* int64_t, ms */
};

struct config_flag {
        const char *name; /* without dashes */
        enum config_type type;
        size_t offset;     /* in the caller's struct of values */
        const char *value; /* for --help: "DIR"; NULL for a bool */
        const char *help;
};

struct config_program {
        const char *name, *version;
        const char *about; /* what --help says first: usage lines */
        const struct config_flag *flags;
        size_t n_flags;
        /* Names of the strings and lists that may be told to be empty, which is then "" and a list
         * of none, where what is not told is NULL. Ends with NULL; NULL: none may. */
        const char *const *may_be_empty;
};

/* Fills values, which the caller has zeroed (or given defaults: only what is told is set; strings
 * and lists must start NULL). 0; 1: help or the version was printed to out, the program is to end
 * well; -EINVAL or the file's error, with one line of text. config_done in every case. */
int config_parse(const struct config_program *p, int argc, char *const *argv, void *values,
                 FILE *out, struct err *err);
void config_done(const struct config_program *p, void *values);
