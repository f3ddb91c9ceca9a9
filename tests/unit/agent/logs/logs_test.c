/* Logs: lines of files that grow and are rotated, the last ones of many, and streams with their
 * window. */
#include "tests/lib/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>

#include "agent/logs/logs.h"
#include "agent/logs/reader.h"
#include "agent/shim/shim.h"
#include "shared/base/base.h"
#include "shared/model/model.h"
#include "shared/wire/wire.h"

#define ROTATE_FILES 3

struct fixture {
        char dir[64];
        int written; /* lines so far: each has its number as text and time */
        struct loop *loop;
        struct agent_logs *logs;
        struct loop_timer *timer;
        struct buf lines; /* text of all lines that were sent, by commas */
        int batches, ends;
        int until_ends, until_batches;
        size_t until_bytes;
        bool is_live, is_removed;
        bool is_unwatched; /* the paths have no folder that could be watched */
        char error[128];   /* of the last end */
};

static const struct id TASK = {1, 1};

static char *path_of(void *arg, struct id id, int n)
{
        struct fixture *f = arg;

        if (!id_is_equal(id, TASK) || f->is_removed || n >= SHIM_LOG_FILES_MAX)
                return NULL;
        if (f->is_unwatched)
                return n ? xasprintf("log.%d", n) : xstrdup("log");
        return n ? xasprintf("%s/log.%d", f->dir, n) : xasprintf("%s/log", f->dir);
}

static void append(struct fixture *f, const char *bytes)
{
        _cleanup_free_ char *path = path_of(f, TASK, 0);
        _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

        assert_true(fd >= 0);
        assert_int_equal(io_write_all(fd, bytes, strlen(bytes)), 0);
}

static void append_lines(struct fixture *f, int n)
{
        _cleanup_buf_ struct buf b = {0};

        for (int i = 0; i < n; i++, f->written++)
                buf_printf(&b, "%d o F %d\n", f->written, f->written);
        append(f, buf_str(&b));
}

static void rotate_among(struct fixture *f, int n_files)
{
        for (int n = n_files - 1; n > 0; n--) {
                _cleanup_free_ char *to = path_of(f, TASK, n), *from = path_of(f, TASK, n - 1);

                rename(from, to);
        }
        append(f, "");
}

static void rotate(struct fixture *f)
{
        rotate_among(f, ROTATE_FILES);
}

static int set_up(void **state)
{
        struct fixture *f = xnew(struct fixture);

        snprintf(f->dir, sizeof(f->dir), "/tmp/logs-test.XXXXXX");
        assert_non_null(mkdtemp(f->dir));
        *state = f;
        return 0;
}

static int tear_down(void **state)
{
        struct fixture *f = *state;

        io_remove_tree(AT_FDCWD, f->dir);
        buf_done(&f->lines);
        free(f);
        return 0;
}

/* --- the reader --------------------------------------------------------------------------------
 */

static struct reader *open_reader(struct fixture *f, int64_t tail, int64_t since_us)
{
        struct reader_source source = {f, path_of};
        struct reader *r;

        assert_int_equal(reader_open(&source, TASK, tail, since_us, &r), 0);
        return r;
}

/* The next lines have these numbers, and then there is none. */
static void expect_lines(struct reader *r, int from, int to)
{
        struct reader_line line;

        for (int i = from; i < to; i++) {
                char text[16];

                assert_int_equal(reader_next(r, &line), 1);
                snprintf(text, sizeof(text), "%d", i);
                assert_int_equal(line.len, strlen(text));
                assert_memory_equal(line.text, text, line.len);
                assert_int_equal(line.time_us, i);
                assert_int_equal(line.fd, 1);
        }
        assert_int_equal(reader_next(r, &line), 0);
}

static void lines_follow_over_rotations(void **state)
{
        struct fixture *f = *state;

        append_lines(f, 10);
        struct reader *r = open_reader(f, -1, 0);
        expect_lines(r, 0, 10);
        append_lines(f, 5); /* after the last look, before the rotation */
        rotate(f);
        append_lines(f, 5);
        rotate(f);
        append_lines(f, 5);
        expect_lines(r, 10, 25);
        rotate(f);
        expect_lines(r, 25, 25);
        append_lines(f, 1);
        expect_lines(r, 25, 26);
        reader_close(r);
}

/* As many as a container may have. */
static void all_of_many_files_are_read(void **state)
{
        struct fixture *f = *state;

        for (int i = 1; i < SHIM_LOG_FILES_MAX; i++) {
                append_lines(f, 1);
                rotate_among(f, SHIM_LOG_FILES_MAX);
        }
        append_lines(f, 1);
        struct reader *r = open_reader(f, -1, 0);

        expect_lines(r, 0, SHIM_LOG_FILES_MAX);
        reader_close(r);
}

static void a_file_that_was_rotated_away_is_read_to_its_end(void **state)
{
        struct fixture *f = *state;

        append_lines(f, 3);
        struct reader *r = open_reader(f, -1, 0);
        expect_lines(r, 0, 3);
        append_lines(f, 2);
        for (int i = 0; i < ROTATE_FILES; i++)
                rotate(f); /* ours is deleted: what is newer is empty */
        append_lines(f, 2);
        expect_lines(r, 3, 7);
        reader_close(r);
}

/* A rotation that is under way, or failed, leaves numbers without a file. */
static void numbers_may_be_missing(void **state)
{
        struct fixture *f = *state;
        static const int gaps[][2] = {{0, 1}, {1, 2}, {2, 5}, {0, 3}};

        for (size_t i = 0; i < ARRAY_SIZE(gaps); i++) {
                int first = f->written;
                struct reader_line line;

                for (int file = 0; file < 3; file++) {
                        if (file)
                                rotate(f);
                        append_lines(f, 5);
                }
                struct reader *old = open_reader(f, -1, first);

                assert_int_equal(reader_next(old, &line), 1);
                for (int n = ROTATE_FILES - 1; n >= gaps[i][0]; n--) {
                        _cleanup_free_ char *from = path_of(f, TASK, n);
                        _cleanup_free_ char *to = path_of(f, TASK, n + gaps[i][1] - gaps[i][0]);

                        assert_int_equal(rename(from, to), 0);
                }
                expect_lines(old, first + 1, first + 15);
                reader_close(old);
                struct reader *r = open_reader(f, -1, first);
                assert_int_equal(reader_end_here(r), 0);
                expect_lines(r, first, first + 15);
                reader_close(r);
                r = open_reader(f, 7, 0);
                expect_lines(r, first + 8, first + 15);
                append_lines(f, 1); /* into the one that is written, which may be a new one */
                expect_lines(r, first + 15, first + 16);
                reader_hold(r, 9);
                expect_lines(r, first + 16, first + 16);
                reader_close(r);
                io_remove_tree(AT_FDCWD, f->dir);
                assert_int_equal(io_mkdir_all(f->dir, 0700), 0);
        }
}

/* Without a descriptor to open the next file with, the reader says so, and does not look for ever.
 */
static void a_file_that_cannot_be_opened_is_told(void **state)
{
        struct fixture *f = *state;
        struct reader_line line;
        struct rlimit before, none;

        append_lines(f, 3);
        struct reader *r = open_reader(f, -1, 0);
        expect_lines(r, 0, 3);
        rotate(f);
        append_lines(f, 2);
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
        none = before;
        none.rlim_cur = 3;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
        int result = reader_next(r, &line);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
        assert_int_equal(result, -EMFILE);
        expect_lines(r, 3, 5);
        reader_close(r);
}

static void a_torn_line_is_given_once_it_is_whole(void **state)
{
        struct fixture *f = *state;
        struct reader_line line;

        append(f, "7 e P half");
        struct reader *r = open_reader(f, -1, 0);
        assert_int_equal(reader_next(r, &line), 0);
        append(f, " a line\n8 o");
        assert_int_equal(reader_next(r, &line), 1);
        assert_int_equal(line.fd, 2);
        assert_true(line.is_partial);
        assert_int_equal(line.len, 11);
        assert_memory_equal(line.text, "half a line", 11);
        assert_int_equal(reader_next(r, &line), 0);
        append(f, " F \n");
        assert_int_equal(reader_next(r, &line), 1);
        assert_int_equal(line.len, 0);
        reader_close(r);
}

/* A full disk: what was written of a record is cut off again, and others come in its place. */
static void a_file_may_be_cut_back(void **state)
{
        static const struct {
                const char *kept, *cut;
                int n_read;              /* records that come of both */
                const char *then, *text; /* written in place of cut, and what comes of it */
        } cases[] = {
                {"1 o F one\n", "2 o F torn", 1, "3 o F three\n", "three"},
                {"1 o F one\n", "2 o F torn", 1, "3 o F 3\n", "3"},
                {"1 o F one\n", "2 o F tor", 1, "3 o F 3\n", "3"},
                {"1 o F one\n", "2 o F two\n3 o F torn", 2, "4 o F long enough, and longer\n",
                 "long enough, and longer"},
                {"1 o F one\n", "2 o F two\n3 o F torn", 2, "4 o F 4\n", NULL},
                {"", "2 o F torn", 0, "3 o F three\n", "three"},
                {"", "2 o F torn", 0, "", NULL},
        };
        struct fixture *f = *state;
        _cleanup_free_ char *path = path_of(f, TASK, 0);

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct reader_line line;

                append(f, cases[i].kept);
                append(f, cases[i].cut);
                struct reader *r = open_reader(f, -1, 0);

                for (int n = 0; n < cases[i].n_read; n++)
                        assert_int_equal(reader_next(r, &line), 1);
                assert_int_equal(reader_next(r, &line), 0);
                assert_int_equal(truncate(path, (off_t)strlen(cases[i].kept)), 0);
                append(f, cases[i].then);
                if (cases[i].text) {
                        assert_int_equal(reader_next(r, &line), 1);
                        assert_int_equal(line.len, strlen(cases[i].text));
                        assert_memory_equal(line.text, cases[i].text, line.len);
                }
                assert_int_equal(reader_next(r, &line), 0);
                append(f, "9 o F last\n");
                assert_int_equal(reader_next(r, &line), 1);
                assert_int_equal(line.time_us, 9);
                reader_close(r);
                assert_int_equal(unlink(path), 0);
        }
}

static void the_last_lines_may_lie_in_several_files(void **state)
{
        struct fixture *f = *state;
        static const struct {
                int64_t tail;
                int first;
        } cases[] = {{0, 3000},    {1, 2999}, {500, 2500}, {1000, 2000},
                     {1500, 1500}, {2999, 1}, {5000, 0},   {-1, 0}};

        for (int i = 0; i < 3; i++) {
                if (i)
                        rotate(f);
                append_lines(f, 1000);
        }
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct reader *r = open_reader(f, cases[i].tail, 0);

                expect_lines(r, cases[i].first, 3000);
                reader_close(r);
        }
        struct reader *r = open_reader(f, -1, 1234);
        expect_lines(r, 1234, 3000);
        reader_close(r);
}

/* A line is as many records as it takes, by turns with those of the other descriptor, and over
 * several files: '|' stands for a rotation. */
static void lines_may_be_many_records(void **state)
{
        static const struct {
                const char *log; /* records: time, descriptor, kind, and text */
                int64_t tail, since_us;
                bool goes_on;
                const char *texts; /* that come */
        } cases[] = {
                {"1oFa 2oPb 3oPc 4oFd", 1, 0, false, "bcd"},
                {"1oFa 2oPb 3oPc 4oFd", 2, 0, false, "abcd"},
                {"1oFa 2oPb 3oPc 4oFd", 3, 0, false, "abcd"},
                {"1oPa 2oPb | 3oPc 4oFd", 1, 0, false, "abcd"},
                {"1oFa 2oPb | 3oPc | 4oFd", 1, 0, false, "bcd"},
                {"1oFa | 2oFb | 3oFc", 1, 0, false, "c"},
                {"1oFa | 2oFb | 3oFc", 2, 0, false, "bc"},
                {"1oFa 2oFb | ", 1, 0, false, "b"},
                {"1oFa 2oPb 3oPc", 1, 0, false, "bc"},
                {"1oFa 2oPb 3eFc 4oPd 5oFe", 1, 0, false, "bcde"},
                {"1eFa 2oPb 3eFc 4oPd 5oFe", 2, 0, false, "bcde"},
                {"1eFa 2oPb 3eFc 4oPd 5oFe", 3, 0, false, "abcde"},
                {"1oFa 2eFb 3oFc", 1, 0, false, "c"},
                {"1oFa 2eFb 3oFc", 2, 0, false, "bc"},
                {"1oPa 2oPb 3oFc", 0, 0, false, ""},
                {"1oPa 2oPb 3oFc 4oFd", -1, 2, false, "d"},
                {"1oPa 2oPb 3oFc 4oFd", -1, 2, true, "bcd"},
                {"1oPa 2eFb 3oFc 4oFd", -1, 2, false, "bd"},
                {"1oFa 2oPb 3oFc 4oFd", -1, 2, false, "bcd"},
                {"1oPa 2oPb 3oFc 4oFd", 2, 3, false, "d"},
        };
        struct fixture *f = *state;

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_buf_ struct buf texts = {0};
                struct reader_line line;

                append(f, "");
                for (const char *p = cases[i].log; *p; p++) {
                        if (*p == '|')
                                rotate(f);
                        if (*p == ' ' || *p == '|')
                                continue;
                        _cleanup_free_ char *record =
                                xasprintf("%c %c %c %c\n", p[0], p[1], p[2], p[3]);

                        append(f, record);
                        p += 3;
                }
                struct reader *r = open_reader(f, cases[i].tail, cases[i].since_us);

                if (cases[i].goes_on)
                        reader_go_on(r);
                while (reader_next(r, &line) == 1)
                        buf_append(&texts, line.text, line.len);
                assert_string_equal(buf_str(&texts), cases[i].texts);
                reader_close(r);
                assert_int_equal(io_remove_tree(AT_FDCWD, f->dir), 0);
                assert_int_equal(io_mkdir_all(f->dir, 0700), 0);
        }
}

static void damaged_records_are_passed_over(void **state)
{
        struct fixture *f = *state;
        _cleanup_buf_ struct buf huge = {0};

        append(f, "\nnonsense\n1 x F a\n1 o X a\n99999999999999999999999 o F a\n");
        for (size_t i = 0; i < 3 * READER_LINE_MAX; i++)
                buf_putc(&huge, 'x');
        append(f, buf_str(&huge));
        append(f, "\n");
        append_lines(f, 2);
        struct reader *r = open_reader(f, -1, 0);
        expect_lines(r, 0, 2);
        reader_close(r);
}

static void a_reader_may_end_at_what_there_is(void **state)
{
        struct fixture *f = *state;

        for (int rotations = 0; rotations < ROTATE_FILES; rotations++) {
                int first = f->written;

                append_lines(f, 2);
                append(f, "5 o F to");
                struct reader *r = open_reader(f, -1, first);
                assert_int_equal(reader_end_here(r), 0);
                append(f, "rn\n");
                append_lines(f, 2);
                for (int i = 0; i < rotations; i++) {
                        rotate(f);
                        append_lines(f, 2);
                }
                expect_lines(r, first, first + 2);
                append_lines(f, 2);
                expect_lines(r, first + 2, first + 2);
                reader_close(r);
                rotate(f);
        }
}

/* The file to end with is deleted while an older one is being read. */
static void a_reader_ends_before_newer_files(void **state)
{
        struct fixture *f = *state;

        append_lines(f, 2);
        rotate(f);
        append_lines(f, 2);
        struct reader *r = open_reader(f, -1, 0);
        assert_int_equal(reader_end_here(r), 0);
        for (int i = 0; i < ROTATE_FILES; i++) {
                rotate(f);
                append_lines(f, 2);
        }
        expect_lines(r, 0, 2);
        reader_close(r);
}

/* As the container is removed: no path leads to the files any more. */
static void remove_files(struct fixture *f)
{
        f->is_removed = true;
        assert_int_equal(io_remove_tree(AT_FDCWD, f->dir), 0);
}

static void lines_are_read_after_the_removal(void **state)
{
        static const struct {
                int read_first, until; /* lines; until: -1: to the end, else when it was opened */
                size_t max;
                int end, error; /* lines that come, and then */
        } cases[] = {
                {0, -1, 10, 40, 0},  {15, -1, 10, 40, 0},     {35, -1, 10, 40, 0},
                {40, -1, 10, 40, 0}, {0, -1, 0, 10, -EMFILE}, {5, -1, 2, 30, -EMFILE},
                {35, -1, 0, 40, 0},  {0, 1, 10, 20, 0},       {15, 1, 0, 20, 0},
                {0, 0, 10, 10, 0},
        };
        struct fixture *f = *state;

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct reader *r = NULL;
                struct reader_line line;

                f->is_removed = false;
                f->written = 0;
                assert_int_equal(io_mkdir_all(f->dir, 0700), 0);
                for (int file = 0; file < 4; file++) {
                        if (file)
                                rotate_among(f, 4);
                        append_lines(f, 10);
                        if (!r)
                                r = open_reader(f, -1, 0);
                        if (file == cases[i].until)
                                assert_int_equal(reader_end_here(r), 0);
                }
                for (int n = 0; n < cases[i].read_first; n++)
                        assert_int_equal(reader_next(r, &line), 1);
                reader_hold(r, cases[i].max);
                assert_true(reader_n_held(r) <= cases[i].max);
                remove_files(f);
                for (int n = cases[i].read_first; n < cases[i].end; n++) {
                        assert_int_equal(reader_next(r, &line), 1);
                        assert_int_equal(line.time_us, n);
                }
                assert_int_equal(reader_next(r, &line), cases[i].error);
                assert_int_equal(reader_n_held(r), 0);
                reader_close(r);
        }
}

/* --- streams -----------------------------------------------------------------------------------
 */

static void check_done(struct fixture *f)
{
        if (f->ends >= f->until_ends && f->batches >= f->until_batches &&
            f->lines.len >= f->until_bytes)
                loop_stop(f->loop);
}

static void on_data(void *arg, const Swarm__LogData *m)
{
        struct fixture *f = arg;

        assert_true(m->stream == 5 || m->stream >= 100);
        f->batches++;
        for (size_t i = 0; i < m->n_lines; i++) {
                buf_append(&f->lines, m->lines[i]->text.data, m->lines[i]->text.len);
                buf_putc(&f->lines, ',');
        }
        check_done(f);
}

static void on_end(void *arg, const Swarm__LogEnd *m)
{
        struct fixture *f = arg;

        snprintf(f->error, sizeof(f->error), "%s", m->error);
        f->ends++;
        check_done(f);
}

static bool is_live(void *arg, struct id id UNUSED)
{
        struct fixture *f = arg;

        return f->is_live;
}

static void on_late(void *arg)
{
        struct fixture *f = arg;

        loop_stop(f->loop);
        fail_msg("the logs did not come: %d batches, %d ends", f->batches, f->ends);
}

static void open_logs(struct fixture *f)
{
        struct agent_logs_ports ports = {.path_arg = f,
                                         .path = path_of,
                                         .arg = f,
                                         .is_live = is_live,
                                         .send_data = on_data,
                                         .send_end = on_end};

        f->loop = loop_new();
        f->logs = agent_logs_new(f->loop, &ports);
        f->timer = loop_timer_new(f->loop, on_late, f);
}

static void close_logs(struct fixture *f)
{
        agent_logs_free(f->logs);
        loop_timer_free(f->timer);
        loop_free(f->loop);
}

static void run_until(struct fixture *f, int batches, int ends, size_t bytes)
{
        f->until_batches = batches;
        f->until_ends = ends;
        f->until_bytes = bytes;
        loop_timer_set(f->timer, 10000);
        loop_run(f->loop);
        loop_timer_clear(f->timer);
        assert_string_equal(f->error, "");
}

static void start_numbered(struct fixture *f, uint64_t number, bool follow)
{
        Swarm__LogStart m = SWARM__LOG_START__INIT;
        uint8_t id[ID_BYTES];
        Swarm__LogTask task = SWARM__LOG_TASK__INIT;
        Swarm__LogTask *tasks[] = {&task};

        task.task_id = wire_id(TASK, id);
        task.tail = -1;
        m.stream = number;
        m.tasks = tasks;
        m.n_tasks = 1;
        m.follow = follow;
        agent_logs_start(f->logs, &m);
}

static void start_stream(struct fixture *f, bool follow)
{
        start_numbered(f, 5, follow);
}

static void a_stream_ends_when_all_is_sent(void **state)
{
        struct fixture *f = *state;

        append_lines(f, 3);
        open_logs(f);
        start_stream(f, false);
        run_until(f, 1, 1, 0);
        assert_string_equal(buf_str(&f->lines), "0,1,2,");
        close_logs(f);
}

/* As many as there are clients: what is limited are the tasks that they follow. */
static void many_streams_are_served(void **state)
{
        struct fixture *f = *state;

        append_lines(f, 1);
        open_logs(f);
        for (uint64_t i = 0; i < 300; i++)
                start_numbered(f, 100 + i, false);
        run_until(f, 300, 300, 0);
        assert_int_equal(f->batches, 300);
        close_logs(f);
}

static void a_window_is_kept(void **state)
{
        struct fixture *f = *state;
        int lines = LOGS_BATCH_LINES_MAX * (LOG_WINDOW + 2);

        append_lines(f, lines);
        open_logs(f);
        start_stream(f, false);
        run_until(f, LOG_WINDOW, 0, 0);
        assert_int_equal(f->batches, LOG_WINDOW);
        agent_logs_on_ack(f->logs, 5, 1);
        run_until(f, LOG_WINDOW + 1, 0, 0);
        assert_int_equal(f->batches, LOG_WINDOW + 1);
        agent_logs_on_ack(f->logs, 5, LOG_WINDOW);
        run_until(f, LOG_WINDOW + 2, 1, 0);
        assert_int_equal(f->ends, 1);
        close_logs(f);
}

static void a_stream_that_does_not_follow_ends_though_more_is_written(void **state)
{
        struct fixture *f = *state;
        int lines = LOGS_BATCH_LINES_MAX * LOG_WINDOW;

        f->is_live = true;
        append_lines(f, lines + 1);
        open_logs(f);
        start_stream(f, false);
        run_until(f, LOG_WINDOW, 0, 0);
        append_lines(f, lines);
        agent_logs_on_ack(f->logs, 5, LOG_WINDOW);
        run_until(f, LOG_WINDOW + 1, 1, 0);
        assert_int_equal(f->batches, LOG_WINDOW + 1);
        assert_int_equal(f->ends, 1);
        close_logs(f);
}

static void a_stream_follows_and_ends_with_the_container(void **state)
{
        struct fixture *f = *state;

        f->is_live = true;
        open_logs(f);
        start_stream(f, true); /* there is no log yet */
        append_lines(f, 2);
        agent_logs_on_start(f->logs, TASK);
        run_until(f, 0, 0, 4);
        assert_string_equal(buf_str(&f->lines), "0,1,");
        append_lines(f, 1);
        run_until(f, 0, 0, 6);
        rotate(f);
        append_lines(f, 1);
        run_until(f, 0, 0, 8);
        assert_string_equal(buf_str(&f->lines), "0,1,2,3,");
        assert_int_equal(f->ends, 0);
        append_lines(f, 1);
        agent_logs_on_end(f->logs, TASK);
        run_until(f, 0, 1, 10);
        assert_string_equal(buf_str(&f->lines), "0,1,2,3,4,");
        close_logs(f);
}

/* As when the machine has no more watches. */
static void a_stream_follows_without_watches(void **state)
{
        struct fixture *f = *state;

        f->is_live = true;
        append_lines(f, 1);
        assert_int_equal(chdir(f->dir), 0);
        f->is_unwatched = true;
        open_logs(f);
        start_stream(f, true);
        run_until(f, 1, 0, 0);
        for (int i = 0; i < 2; i++) {
                append_lines(f, 1);
                run_until(f, 2 + i, 0, 0);
        }
        assert_string_equal(buf_str(&f->lines), "0,1,2,");
        close_logs(f);
        assert_int_equal(chdir("/"), 0);
}

/* Whoever follows is three files behind when the container is removed. */
static void a_stream_goes_on_after_the_removal(void **state)
{
        struct fixture *f = *state;
        int batches = 3 * (LOG_WINDOW + 1);

        f->is_live = true;
        append_lines(f, LOGS_BATCH_LINES_MAX * (LOG_WINDOW + 1));
        open_logs(f);
        start_stream(f, true);
        run_until(f, LOG_WINDOW, 0, 0);
        for (int i = 0; i < 2; i++) {
                rotate(f);
                append_lines(f, LOGS_BATCH_LINES_MAX * (LOG_WINDOW + 1));
        }
        f->is_live = false;
        agent_logs_on_end(f->logs, TASK);
        agent_logs_on_remove(f->logs, TASK);
        remove_files(f);
        for (int n = LOG_WINDOW; n < batches;) {
                agent_logs_on_ack(f->logs, 5, LOG_WINDOW);
                n = MIN(n + LOG_WINDOW, batches);
                run_until(f, n, n == batches, 0);
        }
        _cleanup_free_ char *last = xasprintf(",%d,", f->written - 1);

        assert_non_null(strstr(buf_str(&f->lines), last));
        close_logs(f);
}

/* It was asked for, but not yet looked at. */
static void a_stream_begins_with_the_removal(void **state)
{
        struct fixture *f = *state;

        append_lines(f, 2);
        rotate(f);
        append_lines(f, 2);
        open_logs(f);
        start_stream(f, true);
        agent_logs_on_remove(f->logs, TASK);
        remove_files(f);
        run_until(f, 0, 1, 0);
        assert_string_equal(buf_str(&f->lines), "0,1,2,3,");
        close_logs(f);
}

static void what_is_lost_with_the_removal_is_told(void **state)
{
        struct fixture *f = *state;
        struct rlimit before, none;

        append_lines(f, 2);
        open_logs(f);
        start_stream(f, true);
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
        none = before;
        none.rlim_cur = 3;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
        agent_logs_on_remove(f->logs, TASK);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
        remove_files(f);
        f->until_ends = 1;
        loop_timer_set(f->timer, 10000);
        loop_run(f->loop);
        assert_string_equal(f->error,
                            "it was removed before all of its log was read: too many open files");
        close_logs(f);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
        const struct CMUnitTest tests[] = {
                T(lines_follow_over_rotations),
                T(all_of_many_files_are_read),
                T(a_file_that_was_rotated_away_is_read_to_its_end),
                T(numbers_may_be_missing),
                T(a_file_that_cannot_be_opened_is_told),
                T(a_torn_line_is_given_once_it_is_whole),
                T(a_file_may_be_cut_back),
                T(the_last_lines_may_lie_in_several_files),
                T(lines_may_be_many_records),
                T(damaged_records_are_passed_over),
                T(a_reader_may_end_at_what_there_is),
                T(a_reader_ends_before_newer_files),
                T(lines_are_read_after_the_removal),
                T(a_stream_follows_without_watches),
                T(a_stream_goes_on_after_the_removal),
                T(a_stream_begins_with_the_removal),
                T(what_is_lost_with_the_removal_is_told),
                T(a_stream_that_does_not_follow_ends_though_more_is_written),
                T(a_stream_ends_when_all_is_sent),
                T(a_window_is_kept),
                T(many_streams_are_served),
                T(a_stream_follows_and_ends_with_the_container),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
