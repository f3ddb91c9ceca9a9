/*
 * report: tells the manager the newest status of each task, in batches with a number, of which one
 * is on its way at a time and is sent again until the manager says that it is durable. States
 * between two that matter are held back a moment, so that a fast start costs one report. Place in
 * the flow: the worker's last step; the session gives the door. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/dispatch.pb-c.h"
#include "shared/base/id.h"
#include "shared/base/list.h"
#include "shared/base/time.h"
#include "shared/model/model.h"

#define REPORT_BATCH_MAX 1000 /* statuses; each is below REPORT_STATUS_BYTES_MAX */
#define REPORT_RESEND_MS 1000
#define REPORT_LAZY_MS   50

/* A task's status: written with report_set, at the place of the task. */
struct report_item {
        struct list link; /* report.dirty or report.inflight, or none */
        struct id task;
        enum task_state state;
        int64_t state_ms;
        int exit_code;       /* -1: not known or not ended */
        const char *message; /* static text */
        char *error;         /* heap; NULL: none */
        bool is_inflight, is_changed;
};

struct report {
        struct list dirty, inflight;
        uint64_t seq; /* of the batch on its way, or of the last one */
        int64_t resend_at_ms, due_at_ms;
};

void report_init(struct report *r);
void report_item_init(struct report_item *i, struct id task);
void report_item_done(struct report_item *i); /* leaves its list */

/* The item's status is new: to be told. Urgent ones at once, others within REPORT_LAZY_MS. */
void report_touch(struct report *r, struct report_item *i, bool is_urgent, int64_t mono_ms);
/* A new session: what is not acknowledged is told again. */
void report_restart(struct report *r, int64_t mono_ms);
void report_on_ack(struct report *r, uint64_t seq);

/* The batch to send now, or NULL. Statuses and their bytes live until report_batch_free. */
struct report_batch;
struct report_batch *report_next(struct report *r, int64_t mono_ms);
const Swarm__StatusBatch *report_batch_message(const struct report_batch *b);
void report_batch_free(struct report_batch *b);
int64_t report_deadline(const struct report *r);

/* Writes an item as a message that borrows from it and from id (ID_BYTES). */
void report_item_encode(const struct report_item *i, Swarm__TaskStatus *ret, uint8_t id[ID_BYTES]);
