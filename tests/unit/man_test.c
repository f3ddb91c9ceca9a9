/* The manual pages: each command, each option of it and of the daemons, and none that is not there.
 */
#include "tests/lib/unit.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "agent/options.h"
#include "manager/options.h"
#include "shared/base/buf.h"
#include "shared/base/io.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "swarmctl/cmd/ctl_internal.h"

#define PAGE_BYTES_MAX (1 << 20)
#define OPTIONS_MAX    1024
#define HEADINGS_MAX   128
#define WORD_MAX       64

/* An option of a page, below a heading: "service create", "DESCRIPTION". */
struct option {
        char heading[WORD_MAX], name[WORD_MAX];
        char letter; /* 0: none */
        bool has_value, is_known;
};

struct page {
        const char *path;
        struct option options[OPTIONS_MAX];
        size_t n;
        char headings[HEADINGS_MAX][WORD_MAX];
        size_t n_headings;
};

/* Words of ".It Fl H , Fl -host Ar endpoint" or ".It Fl -a Ar X , Fl -b Ar Y", without ".It". */
static void read_item(struct page *page, const char *heading, char *words)
{
        char letter = 0;

        for (char *word; (word = strsep(&words, " "));) {
                if (str_is_equal(word, "Ar") && page->n > 0)
                        page->options[page->n - 1].has_value = true;
                if (!str_is_equal(word, "Fl") || !words)
                        continue;
                word = strsep(&words, " ");
                if (*word != '-') {
                        letter = *word;
                        continue;
                }
                assert_true(page->n < OPTIONS_MAX);
                struct option *o = &page->options[page->n++];
                *o = (struct option){.letter = letter};
                snprintf(o->heading, WORD_MAX, "%s", heading);
                snprintf(o->name, WORD_MAX, "%s", word + 1);
                letter = 0;
        }
}

static struct page *page_read(const char *path)
{
        struct page *page = xnew(struct page);
        _cleanup_buf_ struct buf text = {0};
        char heading[WORD_MAX] = "";

        page->path = path;
        assert_int_equal(io_read_file(AT_FDCWD, path, PAGE_BYTES_MAX, &text), 0);
        char *rest = (char *)(uintptr_t)buf_str(&text);
        for (char *line; (line = strsep(&rest, "\n"));) {
                if (str_has_prefix(line, ".Sh ") || str_has_prefix(line, ".Ss ")) {
                        snprintf(heading, sizeof(heading), "%.63s", line + 4);
                        assert_true(page->n_headings < HEADINGS_MAX);
                        memcpy(page->headings[page->n_headings++], heading, WORD_MAX);
                } else if (str_has_prefix(line, ".It Fl "))
                        read_item(page, heading, line + 4);
        }
        return page;
}

/* Has the page this option, and once? Returns how often not. */
static int look_up(struct page *page, const char *heading, const char *name, char letter,
                   bool has_value)
{
        int n = 0;

        for (size_t i = 0; i < page->n; i++) {
                struct option *o = &page->options[i];

                if (!str_is_equal(o->heading, heading) || !str_is_equal(o->name, name))
                        continue;
                o->is_known = true;
                n++;
                if (o->letter != letter || o->has_value != has_value) {
                        print_error("%s: %s: --%s: its letter or its value is another\n",
                                    page->path, heading, name);
                        return 1;
                }
        }
        if (n != 1)
                print_error("%s: %s: --%s is there %d times\n", page->path, heading, name, n);
        return n != 1;
}

/* Frees the page; returns how many of its options were not looked up. */
static int page_end(struct page *page)
{
        int bad = 0;

        for (size_t i = 0; i < page->n; i++) {
                if (page->options[i].is_known)
                        continue;
                print_error("%s: %s: --%s does not exist\n", page->path, page->options[i].heading,
                            page->options[i].name);
                bad++;
        }
        free(page);
        return bad;
}

static int look_up_flags(struct page *page, const char *heading, const struct flag *f)
{
        int bad = 0;

        for (; f->name; f++)
                if (f->help && f->type != FLAG_ABSENT)
                        bad += look_up(page, heading, f->name, f->letter, f->type != FLAG_BOOL);
        return bad;
}

static int look_up_heading(const struct page *page, const char *heading)
{
        for (size_t i = 0; i < page->n_headings; i++)
                if (str_is_equal(page->headings[i], heading))
                        return 0;
        print_error("%s: %s is not there\n", page->path, heading);
        return 1;
}

static void test_swarmctl(void **state)
{
        static const struct command *const tables[] = {cmd_service, cmd_task,   cmd_node,
                                                       cmd_manager, cmd_image,  cmd_swarm,
                                                       cmd_system,  cmd_backup, NULL};
        struct page *page = page_read("docs/man/swarmctl.1");
        int bad = look_up_flags(page, "DESCRIPTION", global_flags) +
                  look_up(page, "DESCRIPTION", "version", 'v', false);

        (void)state;
        for (const struct command *const *table = tables; *table; table++)
                for (const struct command *c = *table; c->verb; c++) {
                        _cleanup_free_ char *name = command_name(c);

                        bad += look_up_heading(page, name);
                        for (const struct flag *const *set = c->flags.sets; *set; set++)
                                bad += look_up_flags(page, name, *set);
                }
        bad += page_end(page);
        assert_int_equal(bad, 0);
}

/* A daemon's help has a line "  --name VALUE   what it is for" for each option. */
static int look_up_help(struct page *page, char *help)
{
        int bad = 0, n = 0;

        for (char *line; (line = strsep(&help, "\n"));) {
                char name[WORD_MAX], value[2];

                if (sscanf(line, "  --%63[a-z-]%1[ ]", name, value) < 1)
                        continue;
                const char *after = line + strlen("  --") + strlen(name);
                n++;
                bad += look_up(page, "DESCRIPTION", name, 0, *after == ' ' && isupper(after[1]));
        }
        assert_true(n > 5);
        return bad;
}

static void test_daemons(void **state)
{
        char *argv[] = {(char *)(uintptr_t) "daemon", (char *)(uintptr_t) "--help", NULL};
        struct agent_options agent;
        struct options manager;
        size_t len;
        int bad = 0;

        (void)state;
        for (int is_agent = 0; is_agent < 2; is_agent++) {
                struct page *page =
                        page_read(is_agent ? "docs/man/swarm-agent.8" : "docs/man/swarm-manager.8");
                char *help = NULL;
                FILE *out = open_memstream(&help, &len);

                if (is_agent) {
                        assert_int_equal(agent_options_parse(2, argv, &agent, out, NULL), 1);
                        agent_options_done(&agent);
                } else {
                        assert_int_equal(options_parse(2, argv, &manager, out, NULL), 1);
                        options_done(&manager);
                }
                fclose(out);
                bad += look_up_help(page, help) + page_end(page);
                free(help);
        }
        assert_int_equal(bad, 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_swarmctl),
                cmocka_unit_test(test_daemons),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
