/*
 * What cores say to each other and what stands in the log, as plain data, and its bytes on the
 * wire. Bytes of entries are shared by reference count: the count belongs to the loop's thread, the
 * bytes never change.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/base/buf.h"

#define RAFT_MEMBERS_MAX        16
#define RAFT_ADDRESS_MAX        128  /* with its NUL */
#define RAFT_APPEND_ENTRIES_MAX 1024 /* in one message */

struct raft_bytes {
        size_t refs, len;
        uint8_t data[];
};

struct raft_bytes *raft_bytes_new(const void *p, size_t n); /* p NULL: to be filled in */
struct raft_bytes *raft_bytes_ref(struct raft_bytes *b);    /* NULL is fine, and comes back */
void raft_bytes_unref(struct raft_bytes *b);                /* NULL is fine */

enum raft_entry_kind {
        RAFT_ENTRY_NOOP,   /* opens a term */
        RAFT_ENTRY_DATA,   /* of the user */
        RAFT_ENTRY_MEMBERS /* struct raft_members, as raft_members_encode writes it */
};

struct raft_entry {
        uint64_t term;
        enum raft_entry_kind kind;
        struct raft_bytes *bytes; /* NULL: none, or empty */
};

/* Ids are never 0, and never used again after a member was removed or lost its disk. */
struct raft_member {
        uint64_t id;
        bool is_voter;                  /* else a learner: has the log, but no say */
        char address[RAFT_ADDRESS_MAX]; /* not read by the core */
};

struct raft_members {
        size_t n;
        struct raft_member of[RAFT_MEMBERS_MAX];
};

const struct raft_member *raft_members_find(const struct raft_members *m,
                                            uint64_t id); /* or NULL */
bool raft_members_is_voter(const struct raft_members *m, uint64_t id);
size_t raft_members_count_voters(const struct raft_members *m);

enum raft_message_kind {                   /* numbers of proto/raft.proto */
                         RAFT_PREVOTE = 8, /* would you vote for me in the next term? */
                         RAFT_PREVOTED,
                         RAFT_VOTE,
                         RAFT_VOTED,
                         RAFT_APPEND,
                         RAFT_APPENDED,
                         RAFT_HEARTBEAT,
                         RAFT_HEARD,
                         RAFT_CHUNK,
                         RAFT_CHUNK_TAKEN,
                         RAFT_STALE,      /* your term has passed: here is mine */
                         RAFT_TIMEOUT_NOW /* become candidate at once: leadership is handed to you
                                           */
};

struct raft_message {
        enum raft_message_kind kind;
        uint64_t from, to;
        uint64_t term; /* always the sender's */
        union {
                struct {
                        uint64_t last_index, last_term;
                        bool is_transfer; /* counts although a leader is heard */
                } vote;                   /* RAFT_PREVOTE, RAFT_VOTE */
                struct {
                        bool is_granted;
                        uint64_t for_term;
                } voted; /* RAFT_PREVOTED, RAFT_VOTED */
                struct {
                        uint64_t prev_index, prev_term, commit;
                        struct raft_entry *entries;
                        size_t n_entries;
                } append;
                struct {
                        bool is_refused;
                        uint64_t index; /* all up to here is the leader's; refused: prev_index */
                        uint64_t hint_index, hint_term; /* refused: the logs may agree here */
                } appended;
                struct {
                        uint64_t commit, round;
                } heartbeat;
                struct {
                        uint64_t round;
                } heard;
                struct {
                        uint64_t transfer;            /* number of the transfer */
                        uint64_t index, index_term;   /* what the snapshot covers */
                        uint64_t offset, size;        /* of this piece; of the whole */
                        size_t len;                   /* of this piece */
                        struct raft_bytes *bytes;     /* going out: NULL, the driver fills it in */
                        struct raft_members *members; /* at index */
                } chunk;
                struct {
                        uint64_t transfer, offset; /* the next that is wanted */
                } chunk_taken;
        };
};

void raft_message_done(struct raft_message *m);

/* Appends the message's bytes to b. A chunk must have its bytes. */
void raft_message_encode(const struct raft_message *m, struct buf *b);
/* -EBADMSG: no message, or one that no core would send. -EPROTO: it has entries of a kind of a
 * later version. Free *ret with raft_message_done. */
int raft_message_decode(const uint8_t *p, size_t n, struct raft_message *ret);
struct raft_bytes *raft_members_encode(const struct raft_members *m);
int raft_members_decode(const uint8_t *p, size_t n, struct raft_members *ret); /* -EBADMSG */
