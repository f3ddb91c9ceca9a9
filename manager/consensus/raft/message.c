/* Messages, members and shared bytes as plain data. Their bytes on the wire are in wire.c. */
#include "manager/consensus/raft/message.h"

#include <string.h>

#include "shared/base/mem.h"

struct raft_bytes *raft_bytes_new(const void *p, size_t n)
{
        struct raft_bytes *b = xmalloc(sizeof(*b) + n);

        b->refs = 1;
        b->len = n;
        if (p && n)
                memcpy(b->data, p, n);
        return b;
}

struct raft_bytes *raft_bytes_ref(struct raft_bytes *b)
{
        if (b)
                b->refs++;
        return b;
}

void raft_bytes_unref(struct raft_bytes *b)
{
        if (b && --b->refs == 0)
                free(b);
}

const struct raft_member *raft_members_find(const struct raft_members *m, uint64_t id)
{
        for (size_t i = 0; i < m->n; i++) {
                if (m->of[i].id == id)
                        return &m->of[i];
        }
        return NULL;
}

bool raft_members_is_voter(const struct raft_members *m, uint64_t id)
{
        const struct raft_member *it = raft_members_find(m, id);

        return it && it->is_voter;
}

size_t raft_members_count_voters(const struct raft_members *m)
{
        size_t n = 0;

        for (size_t i = 0; i < m->n; i++)
                n += m->of[i].is_voter;
        return n;
}

void raft_message_done(struct raft_message *m)
{
        if (m->kind == RAFT_APPEND) {
                for (size_t i = 0; i < m->append.n_entries; i++)
                        raft_bytes_unref(m->append.entries[i].bytes);
                free(m->append.entries);
        } else if (m->kind == RAFT_CHUNK) {
                raft_bytes_unref(m->chunk.bytes);
                free(m->chunk.members);
        }
        memset(m, 0, sizeof(*m));
}
