/*
 * `service logs`: asks for the stream, shows each chunk, then says that it has been handled: the
 * manager sends no more than a window ahead, so a slow reader slows down the source. What can fail:
 * the request, the stream, standard output.
 */
#include "swarmctl/cmd/logs.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "shared/base/buf.h"
#include "shared/base/mem.h"
#include "shared/base/parse.h"
#include "shared/base/str.h"
#include "shared/base/time.h"
#include "shared/wire/wire.h"
#include "swarmctl/cmd/log_lines.h"
#include "swarmctl/cmd/since.h"
#include "swarmctl/cmd/tasks.h"
#include "swarmctl/output/output.h"

#define WARNINGS_MAX 64 /* remembered so as not to be repeated */

const struct flag logs_flags[] = {
        {"details", 0, FLAG_ABSENT, NULL, NULL},
        {"follow", 'f', FLAG_BOOL, "Go on with what comes", NULL},
        {"no-resolve", 0, FLAG_BOOL, "Show ids instead of names", NULL},
        {"no-task-ids", 0, FLAG_BOOL, "Leave the tasks' ids out", NULL},
        {"no-trunc", 0, FLAG_BOOL, "Do not shorten ids", NULL},
        {"raw", 0, FLAG_BOOL, "Bytes as they were written, without labels", NULL},
        {"since", 0, FLAG_STRING, "From this time on (a time, or how long ago)", NULL},
        {"tail", 'n', FLAG_STRING, "Number of last lines of each task (default all)", NULL},
        {"timestamps", 't', FLAG_BOOL, "Show when each line was written", NULL},
        {0},
};

/* Text on its way out. */
struct output {
        struct ctl *ctl;
        struct client_stream *stream;
        struct buf text;
        int fd; /* of text */
        int error;
        char **warnings; /* that were said: each is said once */
        Swarm__Request *request;
        int64_t opened_us; /* wall clock, when the stream was first asked for */
};

/* Never blocks for longer than the manager waits for a sign of life. */
static int write_some(struct output *o, const uint8_t *p, size_t n)
{
        struct pollfd poll_fd = {.fd = o->fd, .events = POLLOUT};
        int r = poll(&poll_fd, 1, CLIENT_KEEP_ALIVE_MS);

        if (r == 0)
                client_stream_acknowledge(o->stream, 0);
        if (r == 0 || (r < 0 && errno == EINTR))
                return 0;
        ssize_t written = r < 0 ? -1 : write(o->fd, p, MIN(n, (size_t)PIPE_BUF));
        if (written < 0 && (errno == EINTR || errno == EAGAIN))
                return 0;
        return written < 0 ? -errno : (int)written;
}

static void flush(struct output *o)
{
        for (size_t done = 0; done < o->text.len && o->error == 0;) {
                int r = write_some(o, o->text.data + done, o->text.len - done);

                if (r < 0)
                        o->error = r;
                else
                        done += (size_t)r;
        }
        buf_clear(&o->text);
}

static void put(void *arg, int fd, const void *p, size_t n)
{
        struct output *o = arg;

        if (fd != o->fd)
                flush(o);
        o->fd = fd;
        if (n)
                buf_append(&o->text, p, n);
}

/* --no-resolve: the ids come from the task itself. One that is gone has its own id only. */
static char *name_by_ids(void *arg, const Swarm__LogChunk *chunk, char **ret_node)
{
        struct output *o = arg;
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__RefList refs = SWARM__REF_LIST__INIT;
        struct id_text id = text_id(&chunk->task_id, false);
        char *ref = id.s, *name = NULL;
        Swarm__Response *answer = NULL;
        struct err err = {0};
        int exit_code;
        struct client *c = ctl_client(o->ctl, &exit_code);

        refs.refs = &ref;
        refs.n_refs = 1;
        q.kind_case = SWARM__REQUEST__KIND_TASK_GET;
        q.task_get = &refs;
        if (!c || client_call(c, &q, 0, &answer, &err) < 0)
                return NULL;
        if (answer->kind_case == SWARM__RESPONSE__KIND_TASKS && answer->tasks->n_tasks == 1) {
                const Swarm__Task *t = answer->tasks->tasks[0];

                name = task_label(t, false);
                *ret_node = xstrdup(text_id(&t->node_id, false).s);
        }
        wire_free(answer);
        return name;
}

static void warn(struct output *o, const char *text)
{
        if (!*text || strv_has(o->warnings, text))
                return;
        ctl_warn(o->ctl, "%s", text);
        if (strv_len(o->warnings) < WARNINGS_MAX)
                strv_push(&o->warnings, text);
}

static void handle(struct output *o, struct log_lines *lines, const Swarm__Response *response)
{
        const Swarm__LogChunk *chunk = response->log;

        if (response->kind_case != SWARM__RESPONSE__KIND_LOG)
                return;
        log_lines_add(lines, chunk);
        flush(o);
        warn(o, chunk->warning);
        client_stream_acknowledge(o->stream, 1);
}

/* After a lost connection: asks for what comes after the lines that were shown. Tasks of which none
 * was shown because only so many of the last were asked for: what they have written since then. */
static int go_on(struct output *o, const struct log_lines *lines, struct err *err)
{
        Swarm__LogsRequest *m = o->request->logs;
        _cleanup_free_ char *away =
                xasprintf("%s: the logs end here: the manager cannot be reached", m->ref);

        if (!log_lines_put_positions(lines, m))
                return ctl_fail(o->ctl, CLIENT_EXIT_NO_MANAGER,
                                "%s: the logs end here, of too many tasks to go on: %s", m->ref,
                                err->text);
        if (m->follow && m->tail >= 0) {
                m->tail = -1;
                m->since_us = MAX(m->since_us, o->opened_us);
        }
        return ctl_stream_reopen(o->ctl, o->request, away, err, &o->stream);
}

static int follow(struct output *o, struct log_lines *lines)
{
        int exit_code = CLIENT_EXIT_DONE;

        while (exit_code == CLIENT_EXIT_DONE && o->error == 0) {
                Swarm__Response *response;
                struct err err = {0};
                int r = ctl_stream_next(o->ctl, o->stream, CLIENT_NO_TIMEOUT, &response, &err);

                if (r == 0)
                        break;
                if (r == 1) {
                        handle(o, lines, response);
                        wire_free(response);
                } else if (r == -ENOTCONN) {
                        exit_code = go_on(o, lines, &err);
                } else {
                        exit_code = ctl_fail(o->ctl, (int)client_exit_code(r), "%s", err.text);
                }
        }
        log_lines_end(lines);
        flush(o);
        if (exit_code == CLIENT_EXIT_DONE && o->error < 0 && o->error != -EPIPE)
                return ctl_fail(o->ctl, CLIENT_EXIT_REFUSED, "standard output: %s",
                                err_name(o->error));
        return exit_code;
}

/* Fills the request from the flags. Returns 0 or an exit code. */
static int read_flags(struct ctl *ctl, const struct args *args, Swarm__LogsRequest *m)
{
        const char *since = args_text(args, "since"), *tail = args_text(args, "tail");

        m->ref = args->rest[0];
        m->follow = args_on(args, "follow");
        m->is_raw = args_on(args, "raw");
        m->tail = -1;
        if (tail && !str_is_equal(tail, "all") && parse_i64(tail, &m->tail) < 0)
                return ctl_usage(ctl, "invalid value \"%s\" for --tail: must be a number or all",
                                 tail);
        m->tail = MAX(m->tail, -1);
        if (since && since_parse(since, time_now().wall_ms * 1000, &m->since_us) < 0)
                return ctl_usage(ctl,
                                 "invalid value \"%s\" for --since: must be a time such as "
                                 "2026-01-31T13:00:00Z or 10m",
                                 since);
        return 0;
}

int run_service_logs(struct ctl *ctl, const struct args *args)
{
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__LogsRequest m = SWARM__LOGS_REQUEST__INIT;
        struct output o = {.ctl = ctl,
                           .fd = STDOUT_FILENO,
                           .request = &q,
                           .opened_us = time_now().wall_ms * 1000};
        const struct log_style style = {
                .timestamps = args_on(args, "timestamps"),
                .is_raw = args_on(args, "raw"),
                .no_task_ids = args_on(args, "no-task-ids"),
                .no_trunc = args_on(args, "no-trunc"),
                .is_terminal = {isatty(STDOUT_FILENO), isatty(STDERR_FILENO)},
                .put = put,
                .name = args_on(args, "no-resolve") ? name_by_ids : NULL,
                .arg = &o,
        };
        int r = read_flags(ctl, args, &m);

        if (r)
                return r;
        q.kind_case = SWARM__REQUEST__KIND_LOGS;
        q.logs = &m;
        r = ctl_stream_open(ctl, &q, &o.stream);
        if (r)
                return r;
        struct log_lines *lines = log_lines_new(&style);
        r = follow(&o, lines);
        log_lines_free(lines);
        log_positions_free(&m);
        client_stream_close(o.stream);
        buf_done(&o.text);
        strv_free(o.warnings);
        return r;
}
