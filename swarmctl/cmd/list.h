/*
 * list: what the listing commands share: the filters of the command line, and an answer that comes
 * in several parts.
 */
#pragma once

#include <stddef.h>

#include "shared/model/filter.h"
#include "swarmctl/cmd/cmd.h"

#define LIST_PARTS_MAX   65536 /* responses of one answer */
#define LIST_FILTERS_MAX 256

/* Zeroed is empty. */
struct filters {
        Swarm__Filter **v;
        size_t n;
};

/* The values of --filter, as far as they are in the table. Returns 0 or an exit code, said. */
int filters_read(struct ctl *ctl, const struct args *args, const struct filter_key *keys,
                 struct filters *ret);
void filters_done(struct filters *f);
#define _cleanup_filters_ __attribute__((cleanup(filters_done)))

/* The parts of one answer, in order. Zeroed is empty. */
struct responses {
        Swarm__Response **v;
        size_t n, cap;
};

/* Sends the request and waits for the whole answer. Returns 0 or an exit code, said. */
int list_call(struct ctl *ctl, Swarm__Request *q, struct responses *ret);
void responses_append(struct responses *to, struct responses *from); /* empties from */
void responses_done(struct responses *r);
#define _cleanup_responses_ __attribute__((cleanup(responses_done)))
