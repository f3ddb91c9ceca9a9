/*
 * reader: the lines of one container's log files, oldest first, across rotation. It holds the file
 * that it reads open, so that a rotation loses nothing, and gives a line only once all of it is
 * there. The format stands in agent/runtime/runtime.h.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/base/id.h"

#define READER_LINE_MAX (32u << 10) /* a longer record is damaged, and skipped */

struct reader;

struct reader_source {
        void *arg;
        /* The path of a container's log file, 0: the one that is written; there need not be one of
         * every number. Heap; NULL: none, as of any beyond the most that a container can have. */
        char *(*path)(void *arg, struct id id, int n);
};

struct reader_line {
        int64_t time_us;
        int fd; /* 1 or 2 */
        bool is_partial;
        const char *text; /* until the next call */
        size_t len;
};

/* Begins at the last `tail` lines (-1: at the first), and skips those that began before since_us. A
 * line is as many records as it takes. -ENOENT: there is no log yet. */
int reader_open(const struct reader_source *source, struct id id, int64_t tail, int64_t since_us,
                struct reader **ret);
/* An earlier reader came as far as since_us, perhaps within a line: records of that time and later
 * are given, whatever line they belong to. */
void reader_go_on(struct reader *r);
/* What is written from now on is not given. -errno: then it goes on as before. */
int reader_end_here(struct reader *r);
/* No path leads to the files any more, soon, and nothing more is written: those that are yet to be
 * read are opened now, up to max. What cannot be opened is told as an error in its place. */
void reader_hold(struct reader *r, size_t max);
size_t reader_n_held(const struct reader *r); /* files that are open for that alone */
void reader_close(struct reader *r);          /* NULL is fine */
/* 1: a line; 0: none at present; -errno. */
int reader_next(struct reader *r, struct reader_line *ret);
