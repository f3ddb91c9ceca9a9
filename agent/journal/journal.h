/*
 * journal: what the agent knows of its tasks, in a SQLite file that survives the agent's death at
 * any moment. Place in the flow: the driver writes what the core hands out, and flushes before it
 * does anything that depends on it. A file that cannot be read is put aside, and said so.
 *
 * Writes are gathered in one transaction until journal_flush. Durable against the death of the
 * process, not of the machine: containers do not outlive that either.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "shared/base/err.h"
#include "shared/base/id.h"

struct journal;

/* Opens or makes the file (0600). */
int journal_open(const char *path, struct journal **ret, struct err *err);
void journal_close(struct journal *j); /* flushes; NULL is fine */

/* All records, in no order. fn returns < 0 for one it cannot read, which is then forgotten. */
typedef int journal_load_fn(void *arg, const uint8_t *packed, size_t n);
int journal_load(struct journal *j, journal_load_fn *fn, void *arg, struct err *err);

int journal_put(struct journal *j, struct id task, const uint8_t *packed, size_t n);
int journal_remove(struct journal *j, struct id task);
/* Makes durable what was written since the last flush. -EIO, -ENOSPC: none of it is. */
int journal_flush(struct journal *j);
