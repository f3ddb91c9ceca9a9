/*
 * Messages as a later version would write them: each message, and each below it, bears a field that
 * this version does not know.
 */
#pragma once

#include <stddef.h>

/* A copy on the heap with such fields. ret_marks: how many; may be NULL. */
void *future_of(const void *message, size_t *ret_marks);
/* How many of them a message still has. */
size_t future_count(const void *message);
