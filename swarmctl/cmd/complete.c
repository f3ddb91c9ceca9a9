/* Completion of command lines: see complete.h. */
#include "swarmctl/cmd/complete.h"

#include <ctype.h>
#include <string.h>

#include "shared/base/buf.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/base/time.h"
#include "swarmctl/cmd/ctl_internal.h"
#include "swarmctl/cmd/list.h"
#include "swarmctl/output/output.h"

/* A command line as far as it was read. */
struct line {
        const struct command *const *tables;
        const char *noun;              /* NULL: not there yet */
        const struct command *command; /* likewise */
        size_t n_args;
        const struct flag *open; /* the next word is its value */
        bool flags_ended, is_wrong;
        struct completion *ret;
};

static void offer(struct completion *c, const char *before, const char *word, size_t n,
                  const char *typed)
{
        _cleanup_free_ char *whole = xasprintf("%s%.*s", before, (int)n, word);

        if (str_has_prefix(whole, typed) && !strv_has(c->words, whole))
                strv_push(&c->words, whole);
}

/* --- reading ------------------------------------------------------------------------------------
 */
static const struct flag *find_in(const struct flag *f, const char *name, size_t n, char letter)
{
        for (; f && f->name; f++)
                if (letter ? f->letter == letter
                           : strlen(f->name) == n && !memcmp(f->name, name, n))
                        return f;
        return NULL;
}

/* The flag of "--name", "--name=value", "-n" or "-nvalue"; NULL: none. */
static const struct flag *find_flag(const struct line *l, const char *word)
{
        const bool is_long = word[1] == '-';
        const char *name = word + 2;
        const size_t n = is_long ? strcspn(name, "=") : 0;
        const char letter = is_long ? 0 : word[1];
        const struct flag *f = find_in(global_flags, name, n, letter);

        for (size_t i = 0; !f && l->command && l->command->flags.sets[i]; i++)
                f = find_in(l->command->flags.sets[i], name, n, letter);
        return f;
}

static void note_value(struct line *l, const struct flag *f, const char *value)
{
        if (str_is_equal(f->name, "host"))
                l->ret->host = value;
}

static void read_flag(struct line *l, const char *word)
{
        const struct flag *f = find_flag(l, word);
        const char *value = word[1] == '-' ? strchr(word, '=') : word[2] ? word + 1 : NULL;

        if (str_is_equal(word, "--"))
                l->flags_ended = true;
        if (!f || f->type == FLAG_BOOL || f->type == FLAG_ABSENT)
                return;
        if (value)
                note_value(l, f, value + 1);
        else
                l->open = f;
}

static void read_word(struct line *l, const char *word)
{
        if (l->open) {
                note_value(l, l->open, word);
                l->open = NULL;
        } else if (!l->flags_ended && word[0] == '-' && word[1]) {
                read_flag(l, word);
        } else if (l->command) {
                l->n_args++;
                l->flags_ended |= l->command->stop_at_first;
        } else if (l->noun) {
                l->command = command_find(l->tables, l->noun, word);
                l->is_wrong |= !l->command;
        } else {
                l->command = command_find(l->tables, "", word);
                l->noun = word;
        }
}

/* --- what fits ----------------------------------------------------------------------------------
 */
static void offer_command(const struct line *l, const char *typed)
{
        for (const struct command *const *table = l->tables; *table; table++) {
                for (const struct command *c = *table; c->verb; c++) {
                        const char *word = !l->noun && *c->noun ? c->noun : c->verb;

                        if (!l->noun || str_is_equal(l->noun, c->noun))
                                offer(l->ret, "", word, strlen(word), typed);
                }
        }
}

static void offer_flags(const struct line *l, const struct flag *f, const char *typed)
{
        for (; f && f->name; f++)
                if (f->help && f->type != FLAG_ABSENT)
                        offer(l->ret, "--", f->name, strlen(f->name), typed);
}

static void offer_all_flags(const struct line *l, const char *typed)
{
        for (size_t i = 0; l->command && l->command->flags.sets[i]; i++)
                offer_flags(l, l->command->flags.sets[i], typed);
        offer_flags(l, global_flags, typed);
}

static void offer_names(const struct line *l, enum complete_names names, const char *typed,
                        const char *suffix)
{
        l->ret->names = names;
        l->ret->prefix = typed;
        l->ret->suffix = suffix;
}

/* before: "--mode=", which the word begins with, or "". */
static void offer_values(const struct line *l, const struct flag *f, const char *before,
                         const char *typed)
{
        if (str_is_equal(f->name, "image") && !*before)
                offer_names(l, COMPLETE_IMAGES, typed, "");
        if (f->type != FLAG_CHOICE)
                return;
        for (const char *p = f->choices; *p;
             p += p[strcspn(p, "|")] ? strcspn(p, "|") + 1 : strlen(p))
                offer(l->ret, before, p, strcspn(p, "|"), typed);
}

/* One of the ways that the usage has for an argument: "SERVICE=REPLICAS", "worker". */
static void offer_way(const struct line *l, const char *way, size_t n, const char *typed)
{
        static const struct {
                const char *usage;
                enum complete_names names;
                const char *suffix;
        } known[] = {{"SERVICE", COMPLETE_SERVICES, ""},
                     {"SERVICE=REPLICAS", COMPLETE_SERVICES, "="},
                     {"NODE", COMPLETE_NODES, ""},
                     {"MANAGER", COMPLETE_MANAGERS, ""},
                     {"IMAGE", COMPLETE_IMAGES, ""}};

        for (size_t i = 0; i < ARRAY_SIZE(known); i++)
                if (strlen(known[i].usage) == n && !memcmp(known[i].usage, way, n))
                        offer_names(l, known[i].names, typed, known[i].suffix);
        if (n > 0 && islower((unsigned char)*way))
                offer(l->ret, "", way, n, typed);
}

/* By the usage: "IMAGE [COMMAND] [ARG...]", "self|NODE [NODE...]". */
static void offer_argument(const struct line *l, const char *typed)
{
        const char *word = l->command->usage ? l->command->usage : "";
        size_t n = strcspn(word, " ");

        for (size_t i = 0; i < l->n_args && word[n]; i++) {
                word += n + 1;
                n = strcspn(word, " ");
        }
        if (l->n_args >= (size_t)l->command->args_max && l->command->args_max >= 0)
                return;
        while (n > 0 && *word == '[') {
                word++;
                n--;
        }
        n = MIN(n, strcspn(word, ".]"));
        for (size_t at = 0; at < n;) {
                size_t len = MIN(strcspn(word + at, "|"), n - at);

                offer_way(l, word + at, len, typed);
                at += len + 1;
        }
}

void complete_find(const struct command *const *tables, char *const *words, size_t n,
                   struct completion *ret)
{
        struct line l = {.tables = tables, .ret = ret};
        const char *typed = words[n - 1], *equals = strchr(typed, '=');

        *ret = (struct completion){0};
        for (size_t i = 0; i + 1 < n; i++)
                read_word(&l, words[i]);
        const bool is_flag = !l.flags_ended && *typed == '-';
        const struct flag *f = is_flag && equals ? find_flag(&l, typed) : NULL;
        if (l.is_wrong)
                return;
        if (l.open) {
                offer_values(&l, l.open, "", typed);
        } else if (f) {
                _cleanup_free_ char *before = xstrndup(typed, (size_t)(equals - typed) + 1);

                offer_values(&l, f, before, typed);
        } else if (is_flag) {
                offer_all_flags(&l, typed);
        } else if (!l.command) {
                offer_command(&l, typed);
        } else {
                offer_argument(&l, typed);
        }
}

void completion_done(struct completion *c)
{
        strv_free(c->words);
        *c = (struct completion){0};
}

/* --- names --------------------------------------------------------------------------------------
 */
static void offer_name(struct completion *c, const char *name)
{
        _cleanup_free_ char *whole = xasprintf("%s%s", name, c->suffix);

        if (str_has_prefix(name, c->prefix))
                offer(c, "", whole, strlen(whole), "");
}

static void take_names(struct completion *c, const Swarm__Response *m)
{
        if (m->kind_case == SWARM__RESPONSE__KIND_SERVICES) {
                for (size_t i = 0; i < m->services->n_services; i++)
                        if (m->services->services[i]->spec)
                                offer_name(c, m->services->services[i]->spec->name);
        } else if (m->kind_case == SWARM__RESPONSE__KIND_NODES) {
                for (size_t i = 0; i < m->nodes->n_nodes; i++)
                        if (m->nodes->nodes[i]->description)
                                offer_name(c, m->nodes->nodes[i]->description->hostname);
        } else if (m->kind_case == SWARM__RESPONSE__KIND_MANAGERS) {
                for (size_t i = 0; i < m->managers->n_managers; i++)
                        if (*m->managers->managers[i]->hostname)
                                offer_name(c, m->managers->managers[i]->hostname);
        } else if (m->kind_case == SWARM__RESPONSE__KIND_IMAGES) {
                for (size_t i = 0; i < m->images->n_images; i++)
                        for (size_t k = 0; k < m->images->images[i]->n_names; k++)
                                offer_name(c, m->images->images[i]->names[k]);
        }
}

static int ask_names(struct ctl *ctl, struct completion *c)
{
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__ListRequest list = SWARM__LIST_REQUEST__INIT;
        Swarm__Empty empty = SWARM__EMPTY__INIT;
        _cleanup_responses_ struct responses parts = {0};

        switch (c->names) {
        case COMPLETE_NO_NAMES: return 0;
        case COMPLETE_SERVICES:
                q.kind_case = SWARM__REQUEST__KIND_SERVICE_LIST;
                q.service_list = &list;
                break;
        case COMPLETE_NODES:
                q.kind_case = SWARM__REQUEST__KIND_NODE_LIST;
                q.node_list = &list;
                break;
        case COMPLETE_MANAGERS:
                q.kind_case = SWARM__REQUEST__KIND_MANAGER_LIST;
                q.manager_list = &empty;
                break;
        case COMPLETE_IMAGES:
                q.kind_case = SWARM__REQUEST__KIND_IMAGE_LIST;
                q.image_list = &empty;
                break;
        }
        int r = list_call(ctl, &q, &parts);
        for (size_t i = 0; i < parts.n; i++)
                take_names(c, parts.v[i]);
        return r;
}

int complete_run(struct ctl *ctl, const struct command *const *tables, char *const *words, size_t n)
{
        _cleanup_buf_ struct buf out = {0};
        struct completion c;

        if (n == 0)
                return CLIENT_EXIT_DONE;
        complete_find(tables, words, n, &c);
        ctl->host = c.host ? c.host : ctl->host;
        ctl->timeout_ms = COMPLETE_TIMEOUT_MS;
        ctl->deadline_ms = time_now().mono_ms + COMPLETE_TIMEOUT_MS;
        int r = ask_names(ctl, &c);
        for (char **word = c.words; word && *word; word++) {
                text_put(&out, *word);
                buf_putc(&out, '\n');
        }
        output_flush(&out);
        completion_done(&c);
        return r;
}
