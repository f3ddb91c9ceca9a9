/* The parser of command lines: see flags.h. Pure: it reads argv and tables only. */
#include "swarmctl/cmd/flags.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "shared/base/mem.h"
#include "shared/base/parse.h"
#include "shared/base/str.h"

static size_t count_flags(const struct flag_sets *flags)
{
        size_t n = 0;

        for (const struct flag *const *set = flags->sets; *set; set++)
                for (const struct flag *f = *set; f->name; f++)
                        n++;
        return n;
}

static void values_init(struct args *a, const struct flag_sets *flags)
{
        struct flag_value *v;

        a->n_values = count_flags(flags);
        a->values = v = xnew_array(struct flag_value, a->n_values + 1);
        for (const struct flag *const *set = flags->sets; *set; set++)
                for (const struct flag *f = *set; f->name; f++)
                        (v++)->flag = f;
}

void args_done(struct args *a)
{
        for (size_t i = 0; i < a->n_values; i++)
                strv_free(a->values[i].list);
        free(a->values);
        free(a->rest);
        memset(a, 0, sizeof(*a));
}

static struct flag_value *find_long(const struct args *a, const char *name, size_t len)
{
        for (size_t i = 0; i < a->n_values; i++) {
                const char *s = a->values[i].flag->name;

                if (strlen(s) == len && !memcmp(s, name, len))
                        return &a->values[i];
        }
        return NULL;
}

static struct flag_value *find_short(const struct args *a, char letter)
{
        for (size_t i = 0; i < a->n_values; i++)
                if (a->values[i].flag->letter == letter)
                        return &a->values[i];
        return NULL;
}

const struct flag_value *args_find(const struct args *a, const char *name)
{
        return find_long(a, name, strlen(name));
}

const struct flag_value *args_get(const struct args *a, const char *name)
{
        const struct flag_value *v = args_find(a, name);

        assert(v);
        return v;
}

static bool is_choice(const char *choices, const char *s)
{
        _cleanup_strv_ char **v = str_split(choices, '|');

        return strv_has(v, s);
}

static int parse_uint(const char *s, int64_t *ret)
{
        uint64_t u;
        int r = parse_u64(s, &u);

        if (r == 0 && u > INT64_MAX)
                r = -ERANGE;
        if (r == 0)
                *ret = (int64_t)u;
        return r;
}

static int parse_unit_ratio(const char *s, double *ret)
{
        double v;
        int r = parse_ratio(s, &v);

        if (r == 0 && v > 1)
                r = -ERANGE;
        if (r == 0)
                *ret = v;
        return r;
}

/* What a value of the type must look like, for the error. */
static const char *form_of(enum flag_type type)
{
        switch (type) {
        case FLAG_BOOL: return "must be true or false";
        case FLAG_UINT: return "must be a whole number, 0 or more";
        case FLAG_INT: return "must be a whole number";
        case FLAG_DURATION: return "must be a duration such as 300ms, 5s or 1m30s";
        case FLAG_SIZE: return "must be a size such as 512M or 1.5GiB";
        case FLAG_CPU: return "must be a number of CPUs such as 0.5";
        case FLAG_RATIO: return "must be a number from 0 to 1";
        case FLAG_WORDS: return "has an unfinished quote";
        default: return "is not valid";
        }
}

static int parse_value(struct flag_value *v, const char *s)
{
        char **words = NULL;
        int r;

        switch (v->flag->type) {
        case FLAG_BOOL: return parse_bool(s, &v->on);
        case FLAG_UINT: return parse_uint(s, &v->number);
        case FLAG_INT: return parse_i64(s, &v->number);
        case FLAG_DURATION: return parse_duration_ms(s, &v->number);
        case FLAG_SIZE: return parse_size(s, &v->number);
        case FLAG_CPU: return parse_cpu(s, &v->number);
        case FLAG_RATIO: return parse_unit_ratio(s, &v->ratio);
        case FLAG_WORDS:
                r = str_split_words(s, &words);
                if (r < 0)
                        return r;
                strv_free(v->list);
                v->list = words;
                return 0;
        case FLAG_LIST: strv_push(&v->list, s); return 0;
        default: return 0;
        }
}

/* Takes a value for a flag. shown is the flag as the user wrote it. */
static int set_value(struct flag_value *v, const char *shown, const char *s, struct err *err)
{
        const struct flag *f = v->flag;

        if (strlen(s) > FLAG_VALUE_MAX)
                return err_set(err, EINVAL, "value of %s is longer than %d bytes", shown,
                               FLAG_VALUE_MAX);
        if (f->type == FLAG_LIST && strv_len(v->list) >= FLAG_LIST_MAX)
                return err_set(err, EINVAL, "%s is given more than %d times", shown, FLAG_LIST_MAX);
        if (f->type == FLAG_CHOICE && !is_choice(f->choices, s))
                return err_set(err, EINVAL, "invalid value \"%s\" for %s: must be one of %s", s,
                               shown, f->choices);
        int r = parse_value(v, s);
        if (r == -ERANGE && f->type != FLAG_RATIO)
                return err_set(err, EINVAL, "invalid value \"%s\" for %s: out of range", s, shown);
        if (r < 0)
                return err_set(err, EINVAL, "invalid value \"%s\" for %s: %s", s, shown,
                               form_of(f->type));
        v->is_set = true;
        v->text = s;
        return 0;
}

/* The words being read: argv and where we are. */
struct cursor {
        int argc, i;
        char *const *argv;
};

/* Gives the flag its value: after '=' if there is one, else the next word. */
static int take_value(struct cursor *c, struct flag_value *v, const char *shown, const char *value,
                      struct err *err)
{
        if (!value && v->flag->type == FLAG_BOOL)
                value = "true";
        if (!value && c->i >= c->argc)
                return err_set(err, EINVAL, "flag needs a value: %s", shown);
        if (!value)
                value = c->argv[c->i++];
        return set_value(v, shown, value, err);
}

static int refuse_absent(const char *shown, struct err *err)
{
        return err_set(err, EINVAL, "flag %s is not supported by this version", shown);
}

static int parse_long(struct args *a, struct cursor *c, const char *word, struct err *err)
{
        const char *eq = strchr(word, '=');
        size_t len = eq ? (size_t)(eq - word) : strlen(word);
        _cleanup_free_ char *shown = xstrndup(word, len);
        struct flag_value *v = find_long(a, word + 2, len - 2);

        if (!v)
                return err_set(err, EINVAL, "unknown flag: %s", shown);
        if (v->flag->type == FLAG_ABSENT)
                return refuse_absent(shown, err);
        return take_value(c, v, shown, eq ? eq + 1 : NULL, err);
}

static int parse_short(struct args *a, struct cursor *c, const char *word, struct err *err)
{
        for (const char *p = word + 1; *p; p++) {
                char shown[3] = {'-', *p, 0};
                struct flag_value *v = find_short(a, *p);

                if (!v)
                        return err_set(err, EINVAL, "unknown flag: %s", shown);
                if (v->flag->type == FLAG_ABSENT)
                        return refuse_absent(shown, err);
                if (v->flag->type == FLAG_BOOL && p[1] != '=') {
                        v->is_set = v->on = true;
                        v->text = "true";
                        continue;
                }
                const char *value = p[1] == '=' ? p + 2 : p[1] ? p + 1 : NULL;
                return take_value(c, v, shown, value, err);
        }
        return 0;
}

static int parse_words(struct args *a, bool stop_at_first, struct cursor *c, struct err *err)
{
        bool flags_ended = false;

        while (c->i < c->argc) {
                char *word = c->argv[c->i++];
                int r = 0;

                if (flags_ended || word[0] != '-' || !word[1]) {
                        a->rest[a->n_rest++] = word;
                        flags_ended |= stop_at_first;
                } else if (str_is_equal(word, "--")) {
                        flags_ended = true;
                } else if (word[1] == '-') {
                        r = parse_long(a, c, word, err);
                } else {
                        r = parse_short(a, c, word, err);
                }
                if (r < 0)
                        return r;
        }
        return 0;
}

int args_parse(struct args *a, const struct flag_sets *flags, bool stop_at_first, int argc,
               char *const *argv, struct err *err)
{
        struct args parsed = {0};
        struct cursor c = {.argc = argc, .argv = argv};

        values_init(&parsed, flags);
        parsed.rest = xnew_array(char *, (size_t)argc + 1);
        int r = parse_words(&parsed, stop_at_first, &c, err);
        if (r < 0) {
                args_done(&parsed);
                memset(a, 0, sizeof(*a));
                return r;
        }
        *a = parsed;
        return 0;
}
