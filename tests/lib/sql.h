/* SQL on a file from beside: what a person with a shell sees, changes or keeps open. Errors abort.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

void sql_run(const char *path, const char *sql);
/* The first column of the first row; -1: there is none. */
int64_t sql_int(const char *path, const char *sql);
/* Runs a statement with one value, ?1, bound to bytes. */
void sql_run_bytes(const char *path, const char *sql, const void *p, size_t n);

/* A reader that has a view of the database open. */
struct sql_reader;
struct sql_reader *sql_reader_open(const char *path);
void sql_reader_close(struct sql_reader *r);
