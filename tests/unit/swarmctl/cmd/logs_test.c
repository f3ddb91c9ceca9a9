/* Lines of logs as they are shown, the table of tasks, and points in time. */
#include "tests/lib/unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "shared/base/buf.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/model/model.h"
#include "shared/wire/wire.h"
#include "swarmctl/cmd/log_lines.h"
#include "swarmctl/cmd/since.h"
#include "swarmctl/cmd/tasks.h"

struct rig {
        struct buf text[3]; /* by descriptor */
        struct log_lines *lines;
};

static void put(void *arg, int fd, const void *p, size_t n)
{
        struct rig *rig = arg;

        buf_append(&rig->text[fd], p, n);
}

static void rig_init(struct rig *rig, struct log_style style)
{
        *rig = (struct rig){0};
        style.put = put;
        style.arg = rig;
        rig->lines = log_lines_new(&style);
}

static void rig_done(struct rig *rig)
{
        log_lines_free(rig->lines);
        buf_done(&rig->text[1]);
        buf_done(&rig->text[2]);
}

/* One line of the task whose number is given. */
static void add(struct rig *rig, uint64_t task, const char *name, unsigned fd, const char *text,
                bool is_partial)
{
        Swarm__LogChunk chunk = SWARM__LOG_CHUNK__INIT;
        Swarm__LogLine line = SWARM__LOG_LINE__INIT, *lines = &line;
        _cleanup_free_ char *bytes = xstrdup(text), *task_name = xstrdup(name);
        uint8_t id[ID_BYTES];
        char node[] = "n1";

        line.time_us = 1769864400250000;
        line.fd = fd;
        line.text = (ProtobufCBinaryData){strlen(text), (uint8_t *)bytes};
        line.is_partial = is_partial;
        chunk.task_id = wire_id((struct id){task, 1}, id);
        chunk.task_name = task_name;
        chunk.node = node;
        chunk.lines = &lines;
        chunk.n_lines = 1;
        log_lines_add(rig->lines, &chunk);
}

static void test_labels_are_padded(void **state)
{
        struct rig rig;

        (void)state;
        rig_init(&rig, (struct log_style){.no_task_ids = true});
        add(&rig, 1, "web.10", 1, "a", false);
        add(&rig, 2, "web.1", 1, "b", false);
        add(&rig, 2, "web.1", 2, "c", false);
        assert_string_equal(buf_str(&rig.text[1]), "web.10@n1    | a\nweb.1@n1     | b\n");
        assert_string_equal(buf_str(&rig.text[2]), "web.1@n1     | c\n");
        rig_done(&rig);
}

static void test_label_has_short_id(void **state)
{
        const struct id id = {1, 1};
        struct rig rig;

        (void)state;
        rig_init(&rig, (struct log_style){0});
        add(&rig, 1, "web.1", 1, "a", false);
        _cleanup_free_ char *expected = xasprintf("web.1.%.12s@n1    | a\n", ID_S(id));
        assert_string_equal(buf_str(&rig.text[1]), expected);
        rig_done(&rig);
}

static void test_parts_are_joined(void **state)
{
        struct rig rig;

        (void)state;
        rig_init(&rig, (struct log_style){.no_task_ids = true});
        add(&rig, 1, "a.1", 1, "one ", true);
        add(&rig, 2, "b.1", 1, "other", false);
        add(&rig, 1, "a.1", 2, "error", false);
        add(&rig, 1, "a.1", 1, "line", false);
        add(&rig, 1, "a.1", 1, "unfinished", true);
        assert_string_equal(buf_str(&rig.text[1]), "b.1@n1    | other\na.1@n1    | one line\n");
        assert_string_equal(buf_str(&rig.text[2]), "a.1@n1    | error\n");
        buf_clear(&rig.text[1]);
        log_lines_end(rig.lines);
        assert_string_equal(buf_str(&rig.text[1]), "a.1@n1    | unfinished\n");
        rig_done(&rig);
}

static void test_raw_is_as_it_came(void **state)
{
        struct rig rig;

        (void)state;
        rig_init(&rig, (struct log_style){.is_raw = true, .timestamps = true});
        add(&rig, 1, "a.1", 1, "\033[2J", true);
        add(&rig, 1, "a.1", 1, "x", false);
        assert_string_equal(buf_str(&rig.text[1]), "2026-01-31T13:00:00.250000Z \033[2Jx\n");
        rig_done(&rig);
}

/* Long lines of several tasks come in parts, by turns: none is torn by another's. */
static void test_raw_lines_are_whole(void **state)
{
        struct rig rig;

        (void)state;
        rig_init(&rig, (struct log_style){.is_raw = true});
        add(&rig, 1, "a.1", 1, "one ", true);
        add(&rig, 2, "a.2", 1, "other ", true);
        add(&rig, 1, "a.1", 2, "error", false);
        add(&rig, 3, "a.3", 1, "short", false);
        add(&rig, 1, "a.1", 1, "line", false);
        add(&rig, 2, "a.2", 1, "line", false);
        assert_string_equal(buf_str(&rig.text[1]), "short\none line\nother line\n");
        assert_string_equal(buf_str(&rig.text[2]), "error\n");
        buf_clear(&rig.text[1]);
        add(&rig, 1, "a.1", 1, "no end", true);
        add(&rig, 2, "a.2", 1, "", true);
        log_lines_end(rig.lines);
        assert_true(str_is_equal(buf_str(&rig.text[1]), "no end\n") ||
                    str_is_equal(buf_str(&rig.text[1]), "\nno end"));
        rig_done(&rig);
}

/* A line that is too long to be held comes in pieces, which nothing but another task's line parts.
 */
static void test_raw_lines_without_end(void **state)
{
        static const size_t part = 16384;
        _cleanup_free_ char *text = xmalloc(part + 1);
        struct rig rig;

        (void)state;
        memset(text, 'x', part);
        text[part] = 0;
        rig_init(&rig, (struct log_style){.is_raw = true, .timestamps = true});
        for (size_t n = 0; n <= 2 * LOG_LINE_BYTES_MAX; n += part)
                add(&rig, 1, "a.1", 1, text, true);
        assert_true(rig.text[1].len >= LOG_LINE_BYTES_MAX);
        assert_null(strchr(buf_str(&rig.text[1]), '\n'));
        assert_int_equal(rig.text[1].len % part, strlen("2026-01-31T13:00:00.250000Z "));
        add(&rig, 2, "a.2", 1, "other", false);
        add(&rig, 1, "a.1", 1, "end", false);
        const char *rest = strchr(buf_str(&rig.text[1]), '\n');

        assert_non_null(rest);
        assert_int_equal(strncmp(rest, "\n2026-01-31T13:00:00.250000Z other\n2026", 39), 0);
        assert_string_equal(rest + strlen(rest) - 5, "xend\n");
        rig_done(&rig);
}

static void test_terminal_is_safe(void **state)
{
        struct rig rig;

        (void)state;
        rig_init(&rig, (struct log_style){.no_task_ids = true, .is_terminal = {true, true}});
        add(&rig, 1, "a.1", 1, "\033[2Ja\tb\r", false);
        add(&rig, 1, "a.1", 1, "\033[31mred", false);
        assert_string_equal(buf_str(&rig.text[1]),
                            "a.1@n1    | ?[2Ja\tb\na.1@n1    | \033[31mred\033[0m\n");
        rig_done(&rig);
}

/* Up to where each task was shown, for when the connection is lost. */
static void test_positions(void **state)
{
        Swarm__LogsRequest m = SWARM__LOGS_REQUEST__INIT;
        struct rig rig;

        (void)state;
        rig_init(&rig, (struct log_style){.is_raw = true});
        assert_true(log_lines_put_positions(rig.lines, &m));
        assert_int_equal(m.n_after, 0);
        add(&rig, 1, "web.1", 1, "a", true);
        add(&rig, 1, "web.1", 2, "b", false);
        add(&rig, 2, "web.2", 1, "c", false);
        assert_true(log_lines_put_positions(rig.lines, &m));
        assert_int_equal(m.n_after, 2);
        for (size_t i = 0; i < 2; i++) {
                struct id id;

                assert_int_equal(wire_get_id(&m.after[i]->task_id, &id), 0);
                assert_int_equal(m.after[i]->time_us, 1769864400250000);
                assert_int_equal(m.after[i]->count, id_is_equal(id, (struct id){1, 1}) ? 2 : 1);
        }
        for (uint64_t i = 0; i < LOG_TASKS_MAX; i++)
                add(&rig, 10 + i, "web.3", 1, "", false);
        assert_false(log_lines_put_positions(rig.lines, &m));
        assert_int_equal(m.n_after, 0);
        log_positions_free(&m);
        rig_done(&rig);
}

static void test_since(void **state)
{
        const int64_t now = 1769864400000000; /* 2026-01-31T13:00:00Z */
        static const char *const bad[] = {"",
                                          "x",
                                          "2026-02-30T00:00:00Z",
                                          "2026-01-31T25:00:00Z",
                                          "2026-01-31T13:00:00Zx",
                                          "12.",
                                          "-5m",
                                          "1e9"};
        int64_t us;

        (void)state;
        assert_int_equal(since_parse("10m", now, &us), 0);
        assert_int_equal(us, now - 600000000);
        assert_int_equal(since_parse("2026-01-31T13:00:00Z", 0, &us), 0);
        assert_int_equal(us, now);
        assert_int_equal(since_parse("2026-01-31T14:00:00.5+01:00", 0, &us), 0);
        assert_int_equal(us, now + 500000);
        assert_int_equal(since_parse("1769864400.25", 0, &us), 0);
        assert_int_equal(us, now + 250000);
        assert_int_equal(since_parse("0", now, &us), 0);
        assert_int_equal(us, 0);
        assert_int_equal(since_parse("0s", now, &us), 0);
        assert_int_equal(us, now);
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_int_equal(since_parse(bad[i], now, &us), -EINVAL);
}

/* --- the table of tasks --------------------------------------------------------------------------
 */
static char *table(int argc, char *const *argv)
{
        static const struct flag_sets sets = {{tasks_flags}};
        Swarm__Task tasks[3], *list[] = {&tasks[0], &tasks[1], &tasks[2]};
        static char service[] = "web", image[] = "web:1@sha256:00", node[] = "n1";
        static char error[] = "a text that is longer than thirty columns";
        uint8_t ids[3][ID_BYTES];
        struct args args = {0};
        struct buf out = {0};
        struct err err = {0};

        for (uint64_t i = 0; i < 3; i++) {
                swarm__task__init(list[i]);
                list[i]->id = wire_id((struct id){i + 1, 0}, ids[i]);
                list[i]->service_name = service;
                list[i]->image = image;
                list[i]->node_hostname = node;
                list[i]->slot = i == 0 ? 2 : 1;
                list[i]->created_ms = (int64_t)i;
                list[i]->state_ms = 1000;
                list[i]->state = list[i]->desired = TASK_RUNNING;
        }
        tasks[1].state = TASK_FAILED;
        tasks[1].desired = TASK_SHUTDOWN;
        tasks[1].error = error;
        assert_int_equal(args_parse(&args, &sets, false, argc, argv, &err), 0);
        assert_int_equal(tasks_format(&args, list, 3, 181000, &out, &err), 0);
        args_done(&args);
        return buf_take_str(&out);
}

static void test_table(void **state)
{
        char format[] = "--format=table {{.Name}}\\t{{.Image}}\\t{{.CurrentState}}\\t{{.Error}}";
        char *argv[] = {format};
        _cleanup_free_ char *text = table(1, argv);

        (void)state;
        assert_string_equal(
                text, "NAME        IMAGE   CURRENT STATE           ERROR\n"
                      "web.1       web:1   Running 3 minutes ago\n"
                      " \\_ web.1   web:1   Failed 3 minutes ago    \"a text that is longer than "
                      "th\u2026\"\n"
                      "web.2       web:1   Running 3 minutes ago\n");
}

/* A task that is held back says so, and how often its slot has failed. */
static void test_table_of_what_waits(void **state)
{
        static const struct {
                enum task_state state, desired;
                int64_t not_before_ms;
                uint32_t failures;
                const char *message, *text;
        } cases[] = {
                {TASK_READY, TASK_READY, 10000, 3, "prepared",
                 "Ready 1 second ago (restart in 8 seconds after 3 failures)"},
                {TASK_PENDING, TASK_READY, 10000, 1, "",
                 "Pending 1 second ago (restart in 8 seconds after 1 failure)"},
                {TASK_READY, TASK_READY, 2500, 0, "prepared",
                 "Ready 1 second ago (restart in less than a second)"},
                {TASK_READY, TASK_SHUTDOWN, 10000, 3, "prepared", "Ready 1 second ago"},
                {TASK_READY, TASK_READY, 2000, 3, "prepared", "Ready 1 second ago"},
                {TASK_RUNNING, TASK_RUNNING, 9000, 3, "started", "Running 1 second ago"},
                {TASK_STARTING, TASK_RUNNING, 0, 3, "stopping", "Starting 1 second ago (stopping)"},
                {TASK_FAILED, TASK_SHUTDOWN, 0, 3, "stopping", "Failed 1 second ago"},
                {TASK_REJECTED, TASK_SHUTDOWN, 10000, 1, "no image",
                 "Rejected 1 second ago (restart in 8 seconds after 2 failures)"},
                {TASK_COMPLETE, TASK_SHUTDOWN, 10000, 1, "done", "Complete 1 second ago"},
        };
        static const struct flag_sets sets = {{tasks_flags}};
        char format[] = "--format={{.CurrentState}}";
        char *argv[] = {format};

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                Swarm__Task task = SWARM__TASK__INIT, *list = &task;
                struct args args = {0};
                _cleanup_buf_ struct buf out = {0};
                struct err err = {0};

                task.slot = 1;
                task.state_ms = 1000;
                task.state = cases[i].state;
                task.desired = cases[i].desired;
                task.not_before_ms = cases[i].not_before_ms;
                task.failures = cases[i].failures;
                task.message = (char *)(uintptr_t)cases[i].message;
                assert_int_equal(args_parse(&args, &sets, false, 1, argv, &err), 0);
                assert_int_equal(tasks_format(&args, &list, 1, 2000, &out, &err), 0);
                _cleanup_free_ char *expected = xasprintf("%s\n", cases[i].text);
                assert_string_equal(buf_str(&out), expected);
                args_done(&args);
        }
}

static void test_table_template(void **state)
{
        char format[] = "--format={{.Name}} {{.DesiredState}} {{.Image}}", full[] = "--no-trunc";
        char *argv[] = {format, full};
        _cleanup_free_ char *text = table(2, argv);

        (void)state;
        assert_string_equal(text, "web.1 Running web:1@sha256:00\n"
                                  "web.1 Shutdown web:1@sha256:00\n"
                                  "web.2 Running web:1@sha256:00\n");
}

static void test_table_quiet(void **state)
{
        char quiet[] = "-q";
        char *argv[] = {quiet};
        const struct id ids[] = {{3, 0}, {2, 0}, {1, 0}};
        _cleanup_free_ char *text = table(1, argv);
        _cleanup_free_ char *expected =
                xasprintf("%.12s\n%.12s\n%.12s\n", ID_S(ids[0]), ID_S(ids[1]), ID_S(ids[2]));

        (void)state;
        assert_string_equal(text, expected);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_labels_are_padded),
                cmocka_unit_test(test_label_has_short_id),
                cmocka_unit_test(test_parts_are_joined),
                cmocka_unit_test(test_raw_is_as_it_came),
                cmocka_unit_test(test_raw_lines_are_whole),
                cmocka_unit_test(test_raw_lines_without_end),
                cmocka_unit_test(test_terminal_is_safe),
                cmocka_unit_test(test_positions),
                cmocka_unit_test(test_since),
                cmocka_unit_test(test_table),
                cmocka_unit_test(test_table_of_what_waits),
                cmocka_unit_test(test_table_template),
                cmocka_unit_test(test_table_quiet),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
