/* Lines "TITLE   value" of `inspect --pretty`, for this folder's files. */
#pragma once

#include "swarmctl/output/output.h"

#define PRETTY_COLUMN 20

void pretty_line(struct buf *out, const char *title, const char *value);
void pretty_line_if(struct buf *out, const char *title, const char *value); /* not when empty */
void pretty_number(struct buf *out, const char *title, int64_t value);
void pretty_number_if(struct buf *out, const char *title, int64_t value); /* not when 0 */
void pretty_flag_if(struct buf *out, const char *title, bool value);
void pretty_time_if(struct buf *out, const char *title, int64_t ms);
/* All on one line, or none. */
void pretty_words(struct buf *out, const char *title, char *const *words, size_t n);
/* A line each, below the title. */
void pretty_map(struct buf *out, const char *title, Swarm__KeyValue *const *v, size_t n);

/* pretty_container.c */
void pretty_container(struct buf *out, const Swarm__ContainerSpec *c);
