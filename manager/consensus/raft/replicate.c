/*
 * The leader's side of replication: what to send to each peer next, and how much.
 *
 *            it agrees                     what it lacks was cut
 *   PROBE ---------------> REPLICATE      PROBE ---------------> SNAPSHOT
 *     ^                        |            ^                        |
 *     +------------------------+            +------------------------+
 *      it refuses, or is silent              it has it, or is silent for long
 *
 * Invariant: match < next. In PROBE one append is out at a time; in REPLICATE as many as the window
 * takes, in messages and bytes.
 */
#include <errno.h>
#include <string.h>

#include "manager/consensus/raft/raft_internal.h"
#include "shared/base/mem.h"

#define SILENT_TIMEOUTS                                                          \
        5 /* election time-outs until a snapshot for one that is gone is dropped \
           */

void raft_peer_probe(struct raft *r, struct raft_peer *p, uint64_t next)
{
        p->state = RAFT_PEER_PROBE;
        p->next = MAX(next, p->match + 1);
        p->is_probing = false;
        p->n_inflight = p->inflight_bytes = 0;
        p->moving_at = r->now_ms;
        memset(&p->sending, 0, sizeof(p->sending));
}

/* --- sending ------------------------------------------------------------------------------------
 */
/* Sends what comes from p->next on; returns the number of entries, their bytes in *ret_bytes. */
static size_t send_append(struct raft *r, const struct raft_peer *p, size_t *ret_bytes)
{
        struct raft_message m = raft_message_to(r, RAFT_APPEND, p->id);
        uint64_t last = raft_log_last(&r->log);
        size_t n = 0, bytes = 0;

        for (; p->next + n <= last && n < RAFT_APPEND_ENTRIES_MAX; n++) {
                size_t more = raft_entry_bytes(raft_log_at(&r->log, p->next + n));

                if (n > 0 && bytes + more > r->settings.append_bytes_max)
                        break;
                bytes += more;
        }
        m.append.prev_index = p->next - 1;
        m.append.prev_term = raft_log_term(&r->log, p->next - 1);
        m.append.commit = r->commit;
        m.append.n_entries = n;
        m.append.entries = xnew_array(struct raft_entry, MAX(n, (size_t)1));
        for (size_t i = 0; i < n; i++) {
                m.append.entries[i] = *raft_log_at(&r->log, p->next + i);
                raft_bytes_ref(m.append.entries[i].bytes);
        }
        raft_say(r, RAFT_AFTER_TERM, &m);
        *ret_bytes = bytes;
        return n;
}

static bool is_cut(const struct raft *r, const struct raft_peer *p)
{
        return p->next <= r->log.base.index;
}

static void probe(struct raft *r, struct raft_peer *p)
{
        size_t ignored;

        if (p->is_probing)
                return;
        if (is_cut(r, p)) {
                raft_begin_snapshot(r, p);
                return;
        }
        send_append(r, p, &ignored);
        p->is_probing = true;
        p->moving_at = r->now_ms;
}

static void fill_window(struct raft *r, struct raft_peer *p)
{
        while (p->next <= raft_log_last(&r->log) && p->n_inflight < RAFT_INFLIGHT_MAX &&
               p->inflight_bytes < r->settings.inflight_bytes_max) {
                if (is_cut(r, p)) {
                        raft_begin_snapshot(r, p);
                        return;
                }
                struct raft_inflight *in =
                        &p->inflight[(p->first_inflight + p->n_inflight) % RAFT_INFLIGHT_MAX];
                if (p->n_inflight == 0)
                        p->moving_at = r->now_ms;
                p->next += send_append(r, p, &in->bytes);
                in->last = p->next - 1;
                p->inflight_bytes += in->bytes;
                p->n_inflight++;
        }
}

void raft_replicate(struct raft *r, struct raft_peer *p)
{
        switch (p->state) {
        case RAFT_PEER_PROBE: probe(r, p); break;
        case RAFT_PEER_REPLICATE: fill_window(r, p); break;
        case RAFT_PEER_SNAPSHOT: raft_send_chunks(r, p); break;
        }
}

void raft_replicate_all(struct raft *r)
{
        for (size_t i = 0; i < r->n_peers; i++)
                raft_replicate(r, &r->peers[i]);
}

/* --- answers ------------------------------------------------------------------------------------
 */
static void free_window(struct raft_peer *p)
{
        while (p->n_inflight && p->inflight[p->first_inflight].last <= p->match) {
                p->inflight_bytes -= p->inflight[p->first_inflight].bytes;
                p->first_inflight = (p->first_inflight + 1) % RAFT_INFLIGHT_MAX;
                p->n_inflight--;
        }
}

static void on_agreed(struct raft *r, struct raft_peer *p, uint64_t index)
{
        if (index > p->match) {
                p->match = index;
                p->moving_at = r->now_ms;
        }
        p->next = MAX(p->next, p->match + 1);
        free_window(p);
        if (p->state == RAFT_PEER_SNAPSHOT && p->match >= r->log.base.index)
                raft_peer_probe(r, p, p->match + 1);
        if (p->state == RAFT_PEER_PROBE) {
                raft_peer_probe(r, p, 0);
                p->state = RAFT_PEER_REPLICATE;
        }
        raft_leader_advance(r);
}

/* Where the logs may still agree, as the peer's hint tells. */
static uint64_t next_to_try(const struct raft *r, const struct raft_message *m)
{
        uint64_t hint = MIN(m->appended.hint_index, raft_log_last(&r->log));

        if (hint > r->log.base.index)
                hint = raft_log_agree(&r->log, hint, m->appended.hint_term);
        return MIN(hint + 1, m->appended.index);
}

static void on_refused(struct raft *r, struct raft_peer *p, const struct raft_message *m)
{
        uint64_t index = m->appended.index;

        if (p->state == RAFT_PEER_SNAPSHOT || index <= p->match)
                return;
        if (p->state == RAFT_PEER_PROBE && index != p->next - 1)
                return; /* an older one's answer */
        p->next = 0;
        raft_peer_probe(r, p, next_to_try(r, m));
}

int raft_on_appended(struct raft *r, const struct raft_message *m)
{
        struct raft_peer *p = raft_peer(r, m->from);

        if (m->appended.index > raft_log_last(&r->log))
                return -EBADMSG;
        if (!p)
                return 0;
        raft_peer_heard(r, p);
        if (m->appended.is_refused)
                on_refused(r, p, m);
        else
                on_agreed(r, p, m->appended.index);
        /* It may lead no more. */
        p = raft_peer(r, m->from);
        if (p)
                raft_replicate(r, p);
        raft_hurry_transfer(r);
        return 0;
}

/* --- what got lost ------------------------------------------------------------------------------
 */
/* The peer was heard: if what was sent to it has not been answered for long, it is sent again. */
void raft_unstick(struct raft *r, struct raft_peer *p)
{
        bool is_late = r->now_ms - p->moving_at >= r->settings.election_min_ms;

        if (p->state == RAFT_PEER_PROBE && is_late)
                p->is_probing = false;
        else if (p->state == RAFT_PEER_REPLICATE && is_late && p->n_inflight)
                raft_peer_probe(r, p, 0);
        else if (p->state == RAFT_PEER_SNAPSHOT && is_late) {
                p->sending.sent = p->sending.acked;
                p->moving_at = r->now_ms;
        }
        raft_replicate(r, p);
}

void raft_leave_silent(struct raft *r, struct raft_peer *p)
{
        if (p->state == RAFT_PEER_SNAPSHOT &&
            r->now_ms - p->heard_at > SILENT_TIMEOUTS * r->settings.election_max_ms) {
                raft_peer_probe(r, p, 0);
                p->is_probing = true; /* until it is heard */
        }
}
