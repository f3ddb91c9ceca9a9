/*
 * Golden cases: golden-run [--update] DIR [NAME...]. Each DIR/NAME.txt is a script
 * (tests/lib/plan_script.h); a line "expect" compares the decisions since the last one with the
 * indented lines that follow. Prints TAP, one line a case, and what differs. --update writes what
 * came out into the files instead: read the difference before it is committed.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/plan_script.h"

#define CASE_BYTES_MAX (1u << 20)
#define CASES_MAX      1000

struct golden {
        struct plan plan;
        struct buf copy; /* the file as it should be */
        struct buf diff;
        char **lines;
        size_t i;
};

static bool is_expectation(const char *line)
{
        return line && line[0] == ' ';
}

/* The lines after "expect", without their indent, joined; moves behind them. */
static void take_expected(struct golden *g, struct buf *ret)
{
        while (is_expectation(g->lines[g->i])) {
                buf_puts(ret, g->lines[g->i++] + 4);
                buf_putc(ret, '\n');
        }
}

static void put_indented(struct buf *to, const char *prefix, const struct buf *text)
{
        char **lines = str_split(buf_str(text), '\n');

        for (size_t i = 0; lines && lines[i] && lines[i + 1]; i++)
                buf_printf(to, "%s%s\n", prefix, lines[i]);
        strv_free(lines);
}

static void expect(struct golden *g)
{
        _cleanup_buf_ struct buf expected = {0};
        size_t at = g->i;

        plan_settle(&g->plan);
        take_expected(g, &expected);
        put_indented(&g->copy, "    ", &g->plan.out);
        if (!str_is_equal(buf_str(&expected), buf_str(&g->plan.out))) {
                buf_printf(&g->diff, "# line %zu: expected\n", at);
                put_indented(&g->diff, "#   ", &expected);
                buf_puts(&g->diff, "# decided\n");
                put_indented(&g->diff, "#   ", &g->plan.out);
        }
        buf_clear(&g->plan.out);
}

static void step(struct golden *g)
{
        const char *line = g->lines[g->i++];
        struct err err = {0};

        buf_printf(&g->copy, "%s\n", line);
        if (line[0] == '\0' || line[0] == '#')
                return;
        if (str_is_equal(line, "expect"))
                expect(g);
        else if (script_run(&g->plan, line, &err) < 0)
                buf_printf(&g->diff, "# line %zu: %s\n", g->i, err.text);
}

/* Runs one file; returns whether it is as expected. */
static bool run_case(const char *dir, const char *name, int number, bool updates)
{
        _cleanup_free_ char *path = xasprintf("%s/%s", dir, name);
        _cleanup_buf_ struct buf text = {0};
        struct golden g = {0};
        bool is_ok;

        if (io_read_file(AT_FDCWD, path, CASE_BYTES_MAX, &text) < 0) {
                printf("not ok %d - %s: cannot be read\n", number, name);
                return false;
        }
        plan_open(&g.plan);
        if (text.len > 0 && text.data[text.len - 1] == '\n')
                text.data[--text.len] = '\0';
        g.lines = str_split(buf_str(&text), '\n');
        while (g.lines[g.i])
                step(&g);
        if (g.plan.out.len > 0 && g.diff.len == 0)
                buf_puts(&g.diff, "# decisions after the last expect\n");
        is_ok = g.diff.len == 0;
        printf("%s %d - %.*s\n", is_ok ? "ok" : "not ok", number, (int)strlen(name) - 4, name);
        if (!is_ok)
                fputs(buf_str(&g.diff), stdout);
        if (updates && !is_ok)
                io_write_file_atomic(AT_FDCWD, path, g.copy.data, g.copy.len, 0644);
        plan_close(&g.plan);
        strv_free(g.lines);
        buf_done(&g.copy);
        buf_done(&g.diff);
        return is_ok;
}

static int compare_names(const void *a, const void *b)
{
        return strcmp(*(char *const *)a, *(char *const *)b);
}

static int is_case(const struct dirent *e)
{
        size_t n = strlen(e->d_name);

        return n > 4 && str_is_equal(e->d_name + n - 4, ".txt");
}

/* The names in DIR, or those that were asked for. */
static char **list_cases(const char *dir, char **asked)
{
        struct dirent **entries = NULL;
        char **names = NULL;
        int n = scandir(dir, &entries, is_case, NULL);

        for (int i = 0; i < n; i++) {
                _cleanup_free_ char *stem =
                        xstrndup(entries[i]->d_name, strlen(entries[i]->d_name) - 4);

                if ((!*asked || strv_has(asked, stem)) && strv_len(names) < CASES_MAX)
                        strv_push(&names, entries[i]->d_name);
                free(entries[i]);
        }
        free(entries);
        if (names)
                qsort(names, strv_len(names), sizeof(names[0]), compare_names);
        return names;
}

int main(int argc, char **argv)
{
        bool updates = argc > 1 && str_is_equal(argv[1], "--update"), is_ok = true;
        _cleanup_strv_ char **names = NULL;

        argv += updates ? 2 : 1;
        if (argc < (updates ? 3 : 2)) {
                fputs("usage: golden-run [--update] DIR [NAME...]\n", stderr);
                return 2;
        }
        names = list_cases(argv[0], argv + 1);
        if (!names) {
                fprintf(stderr, "golden-run: no cases in %s\n", argv[0]);
                return 1;
        }
        for (int i = 0; names[i]; i++)
                is_ok &= run_case(argv[0], names[i], i + 1, updates);
        printf("1..%zu\n", strv_len(names));
        return is_ok ? 0 : 1;
}
