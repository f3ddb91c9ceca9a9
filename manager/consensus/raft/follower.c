/*
 * The follower's side of replication: is what the leader sends the continuation of what is here?
 * A leader's log is right wherever it is not what is committed here; if it is not that, the message
 * is no leader's.
 */
#include <errno.h>

#include "manager/consensus/raft/raft_internal.h"
#include "shared/base/mem.h"

bool raft_is_entry_sound(const struct raft_entry *e)
{
        struct raft_members ignored;

        if (e->kind != RAFT_ENTRY_MEMBERS)
                return e->kind == RAFT_ENTRY_NOOP || e->kind == RAFT_ENTRY_DATA;
        return e->bytes && raft_members_decode(e->bytes->data, e->bytes->len, &ignored) == 0;
}

static bool is_append_sound(const struct raft_message *m)
{
        uint64_t term = m->append.prev_term;

        if (m->append.n_entries > RAFT_APPEND_ENTRIES_MAX ||
            m->append.prev_index > UINT64_MAX / 2 || term > m->term)
                return false;
        for (size_t i = 0; i < m->append.n_entries; i++) {
                const struct raft_entry *e = &m->append.entries[i];

                if (e->term < term || e->term > m->term || !raft_is_entry_sound(e))
                        return false;
                term = e->term;
        }
        return true;
}

static void refuse(struct raft *r, const struct raft_message *m)
{
        struct raft_message reply = raft_message_to(r, RAFT_APPENDED, m->from);
        uint64_t from = MIN(m->append.prev_index, raft_log_last(&r->log));

        reply.appended.is_refused = true;
        reply.appended.index = m->append.prev_index;
        reply.appended.hint_index = raft_log_agree(&r->log, from, m->append.prev_term);
        reply.appended.hint_term = raft_log_term(&r->log, reply.appended.hint_index);
        raft_say(r, RAFT_AFTER_TERM, &reply);
}

/* Takes entries that come after prev, which is in the log. */
static int take_entries(struct raft *r, uint64_t prev, const struct raft_entry *entries, size_t n)
{
        size_t i = 0;

        while (i < n && raft_log_has(&r->log, prev + 1 + i, entries[i].term))
                i++;
        if (i < n && prev + 1 + i <= raft_log_last(&r->log)) {
                if (prev + 1 + i <= r->commit)
                        return -EBADMSG;
                raft_truncate(r, prev + 1 + i);
        }
        for (; i < n; i++) {
                struct raft_entry e = entries[i];

                raft_bytes_ref(e.bytes);
                raft_append(r, &e);
        }
        return 0;
}

int raft_on_append(struct raft *r, const struct raft_message *m)
{
        uint64_t base = r->log.base.index, prev = m->append.prev_index;
        size_t n = m->append.n_entries, skip = 0;

        if (!is_append_sound(m))
                return -EBADMSG;
        if (prev < base) {
                /* What was cut is committed, so it is the same. */
                skip = (size_t)MIN((uint64_t)n, base - prev);
                prev = base;
        } else if (!raft_log_has(&r->log, prev, m->append.prev_term)) {
                if (prev <= r->commit)
                        return -EBADMSG;
                refuse(r, m);
                return 0;
        }
        if (take_entries(r, prev, m->append.entries + skip, n - skip) < 0)
                return -EBADMSG;
        uint64_t matched = prev + (n - skip);
        raft_commit_to(r, MAX(r->commit, MIN(m->append.commit, matched)));
        struct raft_message reply = raft_message_to(r, RAFT_APPENDED, m->from);
        reply.appended.index = matched;
        raft_say(r, RAFT_AFTER_ALL, &reply);
        return 0;
}

int raft_on_heartbeat(struct raft *r, const struct raft_message *m)
{
        struct raft_message reply = raft_message_to(r, RAFT_HEARD, m->from);

        /* The leader knows that the log agrees with its own up to here. */
        if (m->heartbeat.commit > raft_log_last(&r->log))
                return -EBADMSG;
        raft_commit_to(r, MAX(r->commit, m->heartbeat.commit));
        reply.heard.round = m->heartbeat.round;
        raft_say(r, RAFT_AFTER_TERM, &reply);
        return 0;
}
