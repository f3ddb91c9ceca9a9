/*
 * journal: what the agent knows of its tasks, in a SQLite file that survives the agent's death at
 * any moment. Place in the flow: the driver writes what the core hands out, and flushes before it
 * starts a container. A file that cannot be read is put aside, and said so.
 *
 * Writes are gathered, the newest of each task, until journal_flush puts them down in one
 * transaction; what it could not write stays gathered. Durable against the death of the process,
 * not of the machine: containers do not outlive that either.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "shared/base/err.h"
#include "shared/base/id.h"

#define JOURNAL_RETRY_MS 1000

struct journal;

/* Opens or makes the file (0600). */
int journal_open(const char *path, struct journal **ret, struct err *err);
void journal_close(struct journal *j); /* flushes; NULL is fine */

/* All records, in no order. fn returns < 0 for one it cannot read, which is then forgotten. */
typedef int journal_load_fn(void *arg, const uint8_t *packed, size_t n);
int journal_load(struct journal *j, journal_load_fn *fn, void *arg, struct err *err);

void journal_put(struct journal *j, struct id task, const uint8_t *packed, size_t n);
void journal_remove(struct journal *j, struct id task);
/* Makes durable what was gathered. -EIO, -ENOSPC: none of it is. */
int journal_flush(struct journal *j);
/* The same at the end of each round of a loop: a flush that failed is tried again no earlier than
 * after JOURNAL_RETRY_MS, and said once. Returns the last flush's result. */
int journal_write(struct journal *j, int64_t mono_ms);
/* When journal_write is to be called again, mono ms; TIME_NEVER: when there is more to write. */
int64_t journal_deadline(const struct journal *j);
/* Since when it cannot be written, mono ms; TIME_NEVER: it can. */
int64_t journal_failing_since(const struct journal *j);
