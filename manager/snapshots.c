/* Copies for managers that lag: see snapshots.h. The files lose their names once they are open. */
#include "manager/snapshots.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "shared/base/log.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"

struct copy {
        uint64_t index;
        int fd; /* -1: none */
};

struct slot {
        uint64_t peer; /* 0: free */
        bool is_making;
        struct copy sending, made; /* made: the core is just being told of it */
};

struct snapshots {
        struct db *db;
        char *dir;
        snapshot_ready_fn *ready;
        void *arg;
        struct slot slots[RAFT_MEMBERS_MAX + 1]; /* one that left may still get its own */
        uint64_t refused[RAFT_MEMBERS_MAX];      /* for whom there was no room: to be told */
        size_t n_refused;
};

static char *path_of(const struct snapshots *s, size_t slot)
{
        return xasprintf("%s/outgoing-%zu.db", s->dir, slot);
}

static void copy_close(struct copy *c)
{
        if (c->fd >= 0)
                close(c->fd);
        *c = (struct copy){.fd = -1};
}

struct snapshots *snapshots_new(struct db *db, const char *dir, snapshot_ready_fn *ready, void *arg)
{
        struct snapshots *s = xnew(struct snapshots);

        s->db = db;
        s->dir = xstrdup(dir);
        s->ready = ready;
        s->arg = arg;
        for (size_t i = 0; i < ARRAY_SIZE(s->slots); i++) {
                _cleanup_free_ char *path = path_of(s, i);

                unlink(path);
                s->slots[i].sending.fd = s->slots[i].made.fd = -1;
        }
        return s;
}

void snapshots_free(struct snapshots *s)
{
        if (!s)
                return;
        for (size_t i = 0; i < ARRAY_SIZE(s->slots); i++) {
                _cleanup_free_ char *path = path_of(s, i);

                if (s->slots[i].is_making)
                        unlink(path);
                copy_close(&s->slots[i].sending);
                copy_close(&s->slots[i].made);
        }
        free(s->dir);
        free(s);
}

static struct slot *find(struct snapshots *s, uint64_t peer)
{
        for (size_t i = 0; i < ARRAY_SIZE(s->slots); i++)
                if (s->slots[i].peer == peer)
                        return &s->slots[i];
        return NULL;
}

void snapshots_want(struct snapshots *s, uint64_t peer)
{
        struct slot *slot = find(s, peer);

        if (!slot)
                slot = find(s, 0);
        if (slot && slot->is_making)
                return;
        if (!slot) {
                if (s->n_refused < ARRAY_SIZE(s->refused))
                        s->refused[s->n_refused++] = peer;
                return;
        }
        slot->peer = peer;
        slot->is_making = true;
        _cleanup_free_ char *path = path_of(s, (size_t)(slot - s->slots));
        db_copy(s->db, peer, path);
}

void snapshots_on_copied(struct snapshots *s, uint64_t peer, int error, uint64_t index,
                         uint64_t size)
{
        struct slot *slot = find(s, peer);

        if (!slot || !slot->is_making)
                return;
        slot->is_making = false;
        if (error == 0) {
                _cleanup_free_ char *path = path_of(s, (size_t)(slot - s->slots));

                slot->made = (struct copy){index, open(path, O_RDONLY | O_CLOEXEC)};
                if (slot->made.fd < 0)
                        error = errno;
                unlink(path);
        }
        if (error)
                log_warn("no snapshot for manager %llu: %s", (unsigned long long)peer,
                         err_name(error));
        bool is_taken = s->ready(s->arg, peer, error ? 0 : index, error ? 0 : size);
        if (is_taken && !error) {
                copy_close(&slot->sending);
                slot->sending = slot->made;
                slot->made.fd = -1;
                log_info("a snapshot of %llu bytes goes to manager %llu index=%llu",
                         (unsigned long long)size, (unsigned long long)peer,
                         (unsigned long long)index);
        }
        copy_close(&slot->made);
}

struct raft_bytes *snapshots_read(struct snapshots *s, const struct raft_message *m)
{
        struct slot *slot = find(s, m->to);

        if (!slot)
                return NULL;
        /* The step that is told of a copy sends its first pieces at once. */
        bool is_made = slot->made.fd >= 0 && slot->made.index == m->chunk.index;
        const struct copy *c = is_made ? &slot->made : &slot->sending;
        if (c->fd < 0 || c->index != m->chunk.index)
                return NULL;
        struct raft_bytes *b = raft_bytes_new(NULL, m->chunk.len);
        if (pread(c->fd, b->data, b->len, (off_t)m->chunk.offset) == (ssize_t)b->len)
                return b;
        raft_bytes_unref(b);
        return NULL;
}

void snapshots_run(struct snapshots *s, const struct replica *r)
{
        while (s->n_refused > 0)
                s->ready(s->arg, s->refused[--s->n_refused], 0, 0);
        for (size_t i = 0; i < ARRAY_SIZE(s->slots); i++) {
                struct slot *slot = &s->slots[i];
                struct raft_progress p;

                if (!slot->peer || slot->is_making)
                        continue;
                if (replica_progress(r, slot->peer, &p) == 0 && p.in_snapshot)
                        continue;
                copy_close(&slot->sending);
                slot->peer = 0;
        }
}
