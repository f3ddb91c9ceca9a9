/*
 * log_lines: from chunks of many tasks' logs to the lines that `service logs` shows: parts joined
 * into whole lines, a label before each that says whose it is. Pure: text goes to a callback.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/control.pb-c.h"

#define LOG_LINE_BYTES_MAX (256 << 10) /* a line beyond is shown in pieces */

struct log_style {
        bool timestamps;
        bool is_raw; /* no label, nothing replaced, no newline where there was none unless a line of
                        another task follows */
        bool no_task_ids, no_trunc;
        bool is_terminal[2]; /* by descriptor: control characters become '?'; tabs and colours stay
                              */
        /* Receives text for descriptor fd (1 or 2). */
        void (*put)(void *arg, int fd, const void *p, size_t n);
        /* NULL: names as the chunk has them. Else gives the label's name and node, on the heap;
         * NULL for what is not known. */
        char *(*name)(void *arg, const Swarm__LogChunk *chunk, char **ret_node);
        void *arg; /* of both */
};

struct log_lines;

struct log_lines *log_lines_new(const struct log_style *style);
void log_lines_free(struct log_lines *l); /* NULL is fine */
void log_lines_add(struct log_lines *l, const Swarm__LogChunk *chunk);
/* Puts into the request up to where the lines of each task were shown, so that it asks for what
 * comes after; false: not known any more, because there were more than LOG_TASKS_MAX tasks. The
 * array is the caller's: log_positions_free. */
bool log_lines_put_positions(const struct log_lines *l, Swarm__LogsRequest *m);
void log_positions_free(Swarm__LogsRequest *m);
/* Shows what waits for the rest of its line. */
void log_lines_end(struct log_lines *l);
