/* Help, generated from the tables of commands and flags, so that it cannot lag behind them. */
#include <stdio.h>
#include <string.h>

#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "swarmctl/cmd/ctl_internal.h"

#define HELP_COLUMN 34

char *command_name(const struct command *c)
{
        return *c->noun ? xasprintf("%s %s", c->noun, c->verb) : xstrdup(c->verb);
}

static const char *type_word(const struct flag *f)
{
        switch (f->type) {
        case FLAG_STRING: return " string";
        case FLAG_LIST: return " list";
        case FLAG_UINT: return " uint";
        case FLAG_INT: return " int";
        case FLAG_DURATION: return " duration";
        case FLAG_SIZE: return " bytes";
        case FLAG_CPU: return " decimal";
        case FLAG_RATIO: return " float";
        case FLAG_WORDS: return " command";
        case FLAG_CHOICE: return " string";
        default: return "";
        }
}

static void print_flag(const struct flag *f)
{
        char letter[8] = "    ";

        if (!f->help || f->type == FLAG_ABSENT)
                return;
        if (f->letter)
                snprintf(letter, sizeof(letter), "-%c, ", f->letter);
        int n = printf("  %s--%s%s", letter, f->name, type_word(f));
        printf("%*s%s", n < HELP_COLUMN ? HELP_COLUMN - n : 2, "", f->help);
        if (f->type == FLAG_CHOICE)
                printf(" (%s)", f->choices);
        printf("\n");
}

static void print_flags(const struct flag *f)
{
        for (; f->name; f++)
                print_flag(f);
}

void help_print_command(const struct command *c)
{
        _cleanup_free_ char *name = command_name(c);
        const bool has_flags = c->flags.sets[0] && c->flags.sets[0]->name;

        printf("Usage: swarmctl %s%s%s%s\n\n%s\n", name, has_flags ? " [OPTIONS]" : "",
               str_is_empty(c->usage) ? "" : " ", c->usage ? c->usage : "", c->summary);
        if (c->alias)
                printf("\nAlias: swarmctl %s %s\n", c->noun, c->alias);
        if (has_flags)
                printf("\nOptions:\n");
        for (const struct flag *const *set = c->flags.sets; *set; set++)
                print_flags(*set);
        printf("\nGlobal options:\n");
        print_flags(global_flags);
}

static void print_command_line(const struct command *c)
{
        _cleanup_free_ char *name = command_name(c);

        printf("  %-24s %s\n", name, c->summary);
}

void help_print_noun(const struct command *const *tables, const char *noun)
{
        printf("Usage: swarmctl %s COMMAND\n\nCommands:\n", noun);
        for (; *tables; tables++)
                for (const struct command *c = *tables; c->verb; c++)
                        if (str_is_equal(c->noun, noun))
                                print_command_line(c);
        printf("\nRun 'swarmctl %s COMMAND --help' for more about a command.\n", noun);
}

void help_print_all(const struct command *const *tables)
{
        printf("Usage: swarmctl [OPTIONS] COMMAND\n\nRuns services on a swarm.\n\nCommands:\n");
        for (; *tables; tables++)
                for (const struct command *c = *tables; c->verb; c++)
                        print_command_line(c);
        printf("\nGlobal options:\n");
        print_flags(global_flags);
        printf("\nRun 'swarmctl COMMAND --help' for more about a command.\n");
}
