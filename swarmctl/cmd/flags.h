/*
 * flags: the one parser of command lines, driven by tables. It knows --long, --long=VALUE,
 * --long VALUE, -s, -sVALUE, -s=VALUE, groups of short switches, `--` and, for commands that run a
 * program, that flags end at the first argument. Values are checked against their type here, so
 * that a command only ever sees good ones.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/base/err.h"

enum flag_type {
        FLAG_BOOL,
        FLAG_STRING,
        FLAG_LIST,     /* may be repeated: all are kept in order */
        FLAG_UINT,     /* 0..INT64_MAX */
        FLAG_INT,      /* any whole number */
        FLAG_DURATION, /* ms */
        FLAG_SIZE,     /* bytes */
        FLAG_CPU,      /* billionths */
        FLAG_RATIO,    /* 0..1 */
        FLAG_WORDS,    /* a command line, split as a shell does */
        FLAG_CHOICE,   /* one of `choices` */
        FLAG_ABSENT,   /* a flag of Docker's that belongs to a feature we do not have */
};

struct flag {
        const char *name;
        char letter; /* 0: none */
        enum flag_type type;
        const char *help;    /* NULL: not shown in --help */
        const char *choices; /* "a|b|c", FLAG_CHOICE only */
};

#define FLAG_SETS_MAX  6
#define FLAG_LIST_MAX  4096      /* values of one flag */
#define FLAG_VALUE_MAX (1 << 20) /* bytes of one value */

/* Tables of flags, each ended by an entry without a name; together they are a command's flags. */
struct flag_sets {
        const struct flag *sets[FLAG_SETS_MAX + 1];
};

struct flag_value {
        const struct flag *flag;
        bool is_set;
        bool on;        /* BOOL */
        int64_t number; /* UINT, INT, DURATION, SIZE, CPU */
        double ratio;
        const char *text; /* as given, the last one; borrowed from argv */
        char **list;      /* LIST: as given; WORDS: the words */
};

/* A parsed command line. Zeroed is empty. */
struct args {
        struct flag_value *values;
        size_t n_values;
        char **rest; /* arguments that are no flags, NULL-terminated; the array is ours */
        size_t n_rest;
};

/* Parses argv (without the command's own words). stop_at_first: what follows the first argument is
 * not looked at. -EINVAL with a text. On failure args is empty. */
int args_parse(struct args *a, const struct flag_sets *flags, bool stop_at_first, int argc,
               char *const *argv, struct err *err);
void args_done(struct args *a);

/* The value of a flag, which must be in the command's tables (asserted). */
const struct flag_value *args_get(const struct args *a, const char *name);
/* The same, or NULL when the command has no such flag. */
const struct flag_value *args_find(const struct args *a, const char *name);

static inline bool args_is_set(const struct args *a, const char *name)
{
        const struct flag_value *v = args_find(a, name);

        return v && v->is_set;
}

static inline bool args_on(const struct args *a, const char *name)
{
        const struct flag_value *v = args_find(a, name);

        return v && v->on;
}

/* NULL when it is not set. */
static inline const char *args_text(const struct args *a, const char *name)
{
        const struct flag_value *v = args_find(a, name);

        return v && v->is_set ? v->text : NULL;
}

#define _cleanup_args_ __attribute__((cleanup(args_done)))
