/*
 * logs: the hub through which log lines flow from agents to clients. The api opens streams and
 * takes chunks out; the dispatcher brings in what agents send, and takes out what they are to be
 * told. Lines never enter the store.
 *
 * Flow is by credit on both sides: an agent has at most LOG_WINDOW messages underway a stream, and
 * gets one back when its lines went on to the client; a client has at most LOG_CLIENT_WINDOW chunks
 * that it has not acknowledged. So a slow client slows the agents down and fills no memory.
 *
 * A stream of a client is, towards agents, one stream for each time that a node is asked, with a
 * number of its own. When a node comes back with a new session, what it had not sent to its end is
 * asked for again from the last line on. Lines of one task may bear the same time, so a place in a
 * log is a time and how many lines with it were had.
 */
#pragma once

#include "proto/dispatch.pb-c.h"
#include "shared/base/buf.h"
#include "shared/model/model.h"
#include "shared/model/objects.h"

#define LOG_NODES_MAX 64 /* asked at a time, when not following */
#define LOG_QUEUE_BYTES_MAX                                                   \
        (64u << 20) /* of one stream; then lines are left out, with a warning \
                     */

struct logs;
struct log_stream;

/* Up to where the lines of a task were had. */
struct log_position {
        int64_t time_us; /* 0: none were */
        uint32_t count;  /* lines that bear it */
};

struct log_options {
        uint64_t number; /* of the request: for the responses */
        bool follow;
        int64_t tail; /* -1: all */
        int64_t since_us;
};

struct logs *logs_new(void);
void logs_free(struct logs *l); /* all streams must be closed */

/* --- the client's side */
struct log_stream *logs_open(struct logs *l, const struct log_options *o);
void logs_close(struct log_stream *s);
/* Asks the task's node for its lines; it must be placed. from_start: whatever the options say, all
 * of them (a task that began while following). -ENOSPC: LOG_TASKS_MAX. A task that is being asked
 * for already is not asked for twice. */
int logs_add_task(struct log_stream *s, const struct task *task, bool from_start);
/* The same for what comes after a place. */
int logs_add_task_after(struct log_stream *s, const struct task *task,
                        const struct log_position *after);
/* Puts a warning into the stream. */
void logs_warn(struct log_stream *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
void logs_acknowledge(struct log_stream *s, uint32_t count);
/* Takes the next packed Response that the client has credit for; false: none. */
bool logs_take(struct log_stream *s, struct buf *ret);
/* All that was asked for has come and was taken. */
bool logs_is_done(const struct log_stream *s);

/* --- the agents' side */
void logs_on_data(struct logs *l, struct id node, const Swarm__LogData *m);
void logs_on_end(struct logs *l, struct id node, const Swarm__LogEnd *m);
void logs_on_session(struct logs *l, struct id node); /* the node has forgotten all streams */
void logs_on_node_down(struct logs *l, struct id node);
/* Calls tell for each LogStart, LogStop and LogAck that is due. */
void logs_flush(struct logs *l, void (*tell)(void *arg, struct id node, Swarm__ManagerMessage *m),
                void *arg);
