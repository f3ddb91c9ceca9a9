/* Copies for clients: see backups.h. A file loses its name once it is open. */
#include "manager/backups.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "shared/base/log.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"

struct backup {
        bool is_used;
        uint64_t connection; /* 0: the client is gone, and the copy still being made */
        uint64_t number;     /* of the request that waits for the copy; 0: none */
        uint64_t size;
        int fd; /* -1: not made yet */
        size_t max_bytes;
};

struct backups {
        struct backups_config config;
        struct backup of[BACKUPS_MAX]; /* the tag of a copy is its place here, and 1 */
};

static char *path_of(const struct backups *b, size_t i)
{
        return xasprintf("%s/backup-%zu.db", b->config.dir, i);
}

static void backup_close(struct backup *c)
{
        if (c->fd >= 0)
                close(c->fd);
        *c = (struct backup){.fd = -1};
}

struct backups *backups_new(const struct backups_config *c)
{
        struct backups *b = xnew(struct backups);

        b->config = *c;
        for (size_t i = 0; i < BACKUPS_MAX; i++) {
                _cleanup_free_ char *path = path_of(b, i);

                unlink(path);
                b->of[i].fd = -1;
        }
        return b;
}

void backups_free(struct backups *b)
{
        if (!b)
                return;
        for (size_t i = 0; i < BACKUPS_MAX; i++) {
                _cleanup_free_ char *path = path_of(b, i);

                unlink(path);
                backup_close(&b->of[i]);
        }
        free(b);
}

static void answer_error(struct backups *b, uint64_t connection, uint64_t number, int code,
                         const char *text)
{
        Swarm__Response r = SWARM__RESPONSE__INIT;

        r.number = number;
        r.code = (uint32_t)code;
        r.error = (char *)(uintptr_t)text;
        b->config.on_response(b->config.arg, connection, &r);
}

/* Closes it behind the last byte. */
static void answer_piece(struct backups *b, struct backup *c, uint64_t number, uint64_t offset,
                         size_t max_bytes)
{
        size_t n = (size_t)MIN(c->size - offset, (uint64_t)max_bytes);
        _cleanup_free_ uint8_t *bytes = xmalloc(n + 1);
        Swarm__Response r = SWARM__RESPONSE__INIT;
        Swarm__BlobData data = SWARM__BLOB_DATA__INIT;
        uint64_t connection = c->connection;

        if (pread(c->fd, bytes, n, (off_t)offset) != (ssize_t)n) {
                backup_close(c);
                answer_error(b, connection, number, EIO, "backup: the copy cannot be read");
                return;
        }
        data.offset = offset;
        data.total = c->size;
        data.data = (ProtobufCBinaryData){n, bytes};
        r.number = number;
        r.kind_case = SWARM__RESPONSE__KIND_BLOB_DATA;
        r.blob_data = &data;
        if (offset + n == c->size)
                backup_close(c);
        b->config.on_response(b->config.arg, connection, &r);
}

static struct backup *find(struct backups *b, uint64_t connection)
{
        for (size_t i = 0; i < BACKUPS_MAX; i++)
                if (b->of[i].is_used && b->of[i].connection == connection)
                        return &b->of[i];
        return NULL;
}

static void begin(struct backups *b, uint64_t connection, uint64_t number, size_t max_bytes)
{
        size_t i = 0;

        while (i < BACKUPS_MAX && b->of[i].is_used)
                i++;
        if (i == BACKUPS_MAX) {
                answer_error(b, connection, number, EBUSY, "backup: others are being made");
                return;
        }
        b->of[i] = (struct backup){.is_used = true,
                                   .connection = connection,
                                   .number = number,
                                   .fd = -1,
                                   .max_bytes = max_bytes};
        _cleanup_free_ char *path = path_of(b, i);
        db_copy(b->config.db, i + 1, path);
}

void backups_on_get(struct backups *b, uint64_t connection, uint64_t number,
                    const Swarm__BackupGet *m)
{
        struct backup *c = find(b, connection);
        size_t max_bytes = MIN(m->max_bytes, BACKUP_BYTES_MAX);

        if (c && c->number)
                answer_error(b, connection, number, EBUSY, "backup: it is being made");
        else if (!c && m->offset == 0 && max_bytes > 0)
                begin(b, connection, number, max_bytes);
        else if (!c && max_bytes > 0)
                answer_error(b, connection, number, ESTALE,
                             "backup: the copy went with the manager that led");
        else if (!c || m->offset >= c->size || max_bytes == 0)
                answer_error(b, connection, number, EINVAL, "backup: there is no such piece");
        else
                answer_piece(b, c, number, m->offset, max_bytes);
}

void backups_on_client_gone(struct backups *b, uint64_t connection)
{
        struct backup *c = b ? find(b, connection) : NULL;

        if (c && c->fd >= 0)
                backup_close(c);
        else if (c)
                c->connection = 0;
}

bool backups_on_copied(struct backups *b, uint64_t tag, int error, uint64_t size)
{
        if (tag == 0 || tag > BACKUPS_MAX || !b->of[tag - 1].is_used)
                return false;
        struct backup *c = &b->of[tag - 1];
        _cleanup_free_ char *path = path_of(b, tag - 1);
        uint64_t number = c->number, connection = c->connection;

        if (error == 0)
                c->fd = open(path, O_RDONLY | O_CLOEXEC);
        if (error == 0 && c->fd < 0)
                error = errno;
        unlink(path);
        c->number = 0;
        c->size = size;
        if (error || !connection || size == 0) {
                backup_close(c);
                if (connection)
                        answer_error(b, connection, number, error ? error : EIO,
                                     error == ENOSPC ? "backup: the manager's disk is full"
                                                     : "backup: the copy cannot be made");
                return true;
        }
        answer_piece(b, c, number, 0, c->max_bytes);
        return true;
}
