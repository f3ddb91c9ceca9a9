/*
 * backups: copies of the database for clients, in pieces. Place in the flow: the front hands it
 * what clients ask for; the database makes the copy; each client reads its own.
 */
#pragma once

#include "manager/store/db.h"
#include "proto/control.pb-c.h"

#define BACKUPS_MAX      4          /* at a time */
#define BACKUP_BYTES_MAX (1u << 20) /* of a piece */

struct backups;

struct backups_config {
        struct db *db;   /* borrowed */
        const char *dir; /* for the copies; likewise */
        void *arg;
        /* Answers; r is valid during the call only. */
        void (*on_response)(void *arg, uint64_t connection, const Swarm__Response *r);
};

/* Deletes what an earlier process left in dir. */
struct backups *backups_new(const struct backups_config *c);
void backups_free(struct backups *b); /* NULL is fine */
void backups_on_get(struct backups *b, uint64_t connection, uint64_t number,
                    const Swarm__BackupGet *m);
void backups_on_client_gone(struct backups *b, uint64_t connection); /* NULL is fine */
/* False: the copy is not one of a backup. */
bool backups_on_copied(struct backups *b, uint64_t tag, int error, uint64_t size);
