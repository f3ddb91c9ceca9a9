/* Settings from the command line: see config.h. */
#include "shared/config/config_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "shared/base/mem.h"
#include "shared/base/parse.h"
#include "shared/base/str.h"

int config_find(const struct config_program *p, const char *name, size_t n)
{
        for (size_t i = 0; i < p->n_flags; i++)
                if (strlen(p->flags[i].name) == n && !memcmp(p->flags[i].name, name, n))
                        return (int)i;
        return -1;
}

static void *field(const struct config_run *run, int flag)
{
        return (char *)run->values + run->program->flags[flag].offset;
}

bool config_may_be_empty(const struct config_run *run, int flag)
{
        const char *const *name = run->program->may_be_empty;

        while (name && *name && !str_is_equal(*name, run->program->flags[flag].name))
                name++;
        return name && *name;
}

static int set_text(struct config_run *run, int flag, const char *value, struct err *err)
{
        if (!*value && !config_may_be_empty(run, flag))
                return err_set(err, EINVAL, "must not be empty");
        if (strlen(value) > CONFIG_VALUE_MAX || !text_is_valid(value))
                return err_set(err, EINVAL, "too long, or not a line of text");
        if (run->program->flags[flag].type == CONFIG_LIST) {
                char ***list = field(run, flag);

                if (strv_len(*list) >= CONFIG_LIST_MAX)
                        return err_set(err, E2BIG, "more than %d values", CONFIG_LIST_MAX);
                if (*value)
                        strv_push(list, value);
                else if (!*list)
                        *list = xnew(char *);
                return 0;
        }
        char **s = field(run, flag);
        free(*s);
        *s = xstrdup(value);
        return 0;
}

int config_set(struct config_run *run, int flag, const char *value, struct err *err)
{
        static const char *const EXPECTED[] = {
                [CONFIG_BOOL] = "true or false",
                [CONFIG_CPU] = "a number of CPUs, as 0.5",
                [CONFIG_SIZE] = "a size, as 512M",
                [CONFIG_DURATION] = "a duration, as 5s",
        };
        enum config_type type = run->program->flags[flag].type;
        int r = -EINVAL;

        switch (type) {
        case CONFIG_STR:
        case CONFIG_LIST: return set_text(run, flag, value, err);
        case CONFIG_BOOL: r = parse_bool(value, field(run, flag)); break;
        case CONFIG_CPU: r = parse_cpu(value, field(run, flag)); break;
        case CONFIG_SIZE: r = parse_size(value, field(run, flag)); break;
        case CONFIG_DURATION: r = parse_duration_ms(value, field(run, flag)); break;
        }
        if (r < 0)
                return err_set(err, EINVAL, "\"%.100s\" is not %s", value, EXPECTED[type]);
        return 0;
}

static void print_help(const struct config_program *p, FILE *out)
{
        fprintf(out, "%s\n\nFlags (each also a key of the YAML file given with --config):\n",
                p->about);
        for (size_t i = 0; i < p->n_flags; i++) {
                char left[64];

                snprintf(left, sizeof(left), "--%s%s%s", p->flags[i].name,
                         p->flags[i].value ? " " : "", p->flags[i].value ? p->flags[i].value : "");
                fprintf(out, "  %-28s %s\n", left, p->flags[i].help);
        }
        fprintf(out, "  %-28s %s\n  %-28s %s\n  %-28s %s\n", "--config FILE",
                "settings from a YAML file; the command line wins", "--help", "show this",
                "--version", "show the version");
}

/* One flag at argv[*i], moved onto its value if that is a word of its own. */
static int take_flag(struct config_run *run, int argc, char *const *argv, int *i,
                     const char **ret_file, struct err *err)
{
        const char *name = argv[*i] + 2, *value = strchr(name, '=');
        size_t n = value ? (size_t)(value - name) : strlen(name);
        bool is_file = n == strlen("config") && !memcmp(name, "config", n);
        int flag = config_find(run->program, name, n);

        if (flag < 0 && !is_file)
                return err_set(err, EINVAL, "unknown flag --%.*s (see --help)", (int)MIN(n, 64u),
                               name);
        bool is_bool = flag >= 0 && run->program->flags[flag].type == CONFIG_BOOL;
        bool is_list = flag >= 0 && run->program->flags[flag].type == CONFIG_LIST;

        if (value)
                value++;
        else if (is_bool)
                value = "true";
        else if (*i + 1 < argc)
                value = argv[++*i];
        else
                return err_set(err, EINVAL, "--%s needs a value", name);
        if (is_file ? *ret_file != NULL : run->is_set[flag] && !is_list)
                return err_set(err, EINVAL, "--%.*s is given twice", (int)n, name);
        if (is_file) {
                *ret_file = value;
                return 0;
        }
        if (config_set(run, flag, value, err) < 0)
                return err_wrap(err, "--%.*s", (int)n, name);
        run->is_set[flag] = true;
        return 0;
}

int config_parse(const struct config_program *p, int argc, char *const *argv, void *values,
                 FILE *out, struct err *err)
{
        struct config_run run = {.program = p, .values = values};
        const char *file = NULL;

        assert(p->n_flags <= CONFIG_FLAGS_MAX);
        for (int i = 1; i < argc; i++) {
                if (str_is_equal(argv[i], "--help") || str_is_equal(argv[i], "-h")) {
                        print_help(p, out);
                        return 1;
                }
                if (str_is_equal(argv[i], "--version")) {
                        fprintf(out, "%s %s\n", p->name, p->version);
                        return 1;
                }
                if (!str_has_prefix(argv[i], "--") || !argv[i][2])
                        return err_set(err, EINVAL, "unexpected argument \"%.64s\" (see --help)",
                                       argv[i]);
                int r = take_flag(&run, argc, argv, &i, &file, err);
                if (r < 0)
                        return r;
        }
        return file ? config_read_file(&run, file, err) : 0;
}

void config_done(const struct config_program *p, void *values)
{
        struct config_run run = {.program = p, .values = values};

        for (int i = 0; i < (int)p->n_flags; i++) {
                if (p->flags[i].type == CONFIG_STR) {
                        char **s = field(&run, i);

                        free(*s);
                        *s = NULL;
                } else if (p->flags[i].type == CONFIG_LIST) {
                        char ***v = field(&run, i);

                        strv_free(*v);
                        *v = NULL;
                }
        }
}
