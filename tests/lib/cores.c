/* The cluster of cores for unit tests. */
#include "tests/lib/cores.h"

#include <string.h>

#include "shared/base/base.h"

static struct core_node *at(struct cores *c, uint64_t id)
{
        assert_in_range(id, 1, CORES_MAX - 1);
        return &c->nodes[id];
}

/* --- the disk -----------------------------------------------------------------------------------
 */
static void drop_from(struct core_node *n, uint64_t from)
{
        while (n->n_entries && n->base.index + n->n_entries >= from)
                raft_bytes_unref(n->entries[--n->n_entries].bytes);
}

static void do_write(struct core_node *n, const struct raft_write *w)
{
        n->term = w->term;
        n->vote = w->vote;
        if (w->drops_chunks)
                n->incoming = 0;
        if (w->chunk)
                n->incoming = w->chunk_offset + w->chunk->len;
        if (w->install) {
                n->incoming = 0;
                drop_from(n, n->base.index + 1);
                n->base = *w->install;
        }
        if (!w->from)
                return;
        drop_from(n, w->from);
        assert_int_equal(n->base.index + n->n_entries + 1, w->from);
        n->entries =
                xreallocarray(n->entries, n->n_entries + w->n_entries + 1, sizeof(*n->entries));
        for (size_t i = 0; i < w->n_entries; i++) {
                n->entries[n->n_entries] = w->entries[i];
                raft_bytes_ref(n->entries[n->n_entries++].bytes);
        }
}

static void persisted(struct cores *c, uint64_t id, uint64_t seq)
{
        struct raft_event e = {.kind = RAFT_PERSISTED, .seq = seq};

        cores_step(c, id, &e);
}

static void take_write(struct cores *c, uint64_t id, struct raft_write *w)
{
        struct core_node *n = at(c, id);

        if (w->seq == 0)
                return;
        assert_int_equal(w->seq, n->seq + 1);
        n->seq = w->seq;
        if (n->is_disk_held) {
                n->held = xreallocarray(n->held, n->n_held + 1, sizeof(*n->held));
                n->held[n->n_held++] = *w;
                return;
        }
        do_write(n, w);
        raft_write_done(w);
        persisted(c, id, n->seq);
}

void cores_hold_disk(struct cores *c, uint64_t id)
{
        at(c, id)->is_disk_held = true;
}

static void drop_held(struct core_node *n)
{
        for (size_t i = 0; i < n->n_held; i++)
                raft_write_done(&n->held[i]);
        n->n_held = 0;
}

void cores_release_disk(struct cores *c, uint64_t id)
{
        struct core_node *n = at(c, id);

        n->is_disk_held = false;
        for (size_t i = 0; i < n->n_held; i++)
                do_write(n, &n->held[i]);
        drop_held(n);
        persisted(c, id, n->seq);
}

/* --- nodes --------------------------------------------------------------------------------------
 */
void cores_init(struct cores *c, size_t n)
{
        memset(c, 0, sizeof(*c));
        c->settings.log_keep_bytes = 1;
        for (uint64_t id = 1; id <= n; id++) {
                struct raft_members *m = &at(c, id)->base.members;

                for (m->n = 0; m->n < n; m->n++)
                        m->of[m->n] = (struct raft_member){.id = m->n + 1, .is_voter = true};
                cores_start(c, id);
        }
}

void cores_add(struct cores *c, uint64_t id)
{
        assert_null(at(c, id)->raft);
        cores_start(c, id);
}

void cores_start(struct cores *c, uint64_t id)
{
        struct core_node *n = at(c, id);
        struct raft_start start = {.id = id,
                                   .seed = id,
                                   .now_ms = c->now_ms,
                                   .settings = c->settings,
                                   .term = n->term,
                                   .vote = n->vote,
                                   .base = n->base,
                                   .entries = n->entries,
                                   .n_entries = n->n_entries,
                                   .applied = n->base.index};

        assert_int_equal(raft_new(&start, &n->raft), 0);
        n->seq = 0;
        memset(&n->out, 0, sizeof(n->out));
}

void cores_kill(struct cores *c, uint64_t id)
{
        struct core_node *n = at(c, id);

        raft_free(n->raft);
        n->raft = NULL;
        drop_held(n);
        n->is_disk_held = false;
}

void cores_done(struct cores *c)
{
        cores_lose(c);
        free(c->queue);
        for (uint64_t id = 1; id < CORES_MAX; id++) {
                struct core_node *n = at(c, id);

                cores_kill(c, id);
                drop_from(n, 1);
                free(n->entries);
                free(n->held);
        }
}

void cores_cut(struct cores *c, uint64_t id)
{
        for (uint64_t other = 1; other < CORES_MAX; other++)
                c->is_cut[id][other] = c->is_cut[other][id] = true;
}

void cores_join(struct cores *c, uint64_t id)
{
        for (uint64_t other = 1; other < CORES_MAX; other++)
                c->is_cut[id][other] = c->is_cut[other][id] = false;
}

void cores_cut_all(struct cores *c)
{
        memset(c->is_cut, 1, sizeof(c->is_cut));
}

void cores_join_two(struct cores *c, uint64_t a, uint64_t b)
{
        c->is_cut[a][b] = c->is_cut[b][a] = false;
}

/* --- steps --------------------------------------------------------------------------------------
 */
int64_t cores_step(struct cores *c, uint64_t id, struct raft_event *e)
{
        struct core_node *n = at(c, id);
        struct raft_output out;

        assert_non_null(n->raft);
        e->now_ms = c->now_ms;
        int64_t rc = raft_step(n->raft, e, &out);
        c->queue = xreallocarray(c->queue, c->n_queue + out.n_messages + 1, sizeof(*c->queue));
        for (size_t i = 0; i < out.n_messages; i++)
                c->queue[c->n_queue++] = out.messages[i];
        free(out.messages);
        if (out.n_want_snapshot)
                n->want_snapshot = out.want_snapshot[out.n_want_snapshot - 1];
        struct raft_write w = out.write;
        memset(&out.write, 0, sizeof(out.write));
        out.messages = NULL;
        out.n_messages = 0;
        n->out = out;
        take_write(c, id, &w);
        return rc;
}

void cores_tick(struct cores *c, uint64_t id)
{
        struct raft_event e = {.kind = RAFT_TICK};

        c->now_ms = MAX(c->now_ms, raft_deadline_ms(at(c, id)->raft));
        cores_step(c, id, &e);
}

static struct raft_message take(struct cores *c, struct raft_message *m)
{
        struct raft_message taken = *m;
        size_t i = (size_t)(m - c->queue);

        memmove(m, m + 1, (c->n_queue - i - 1) * sizeof(*m));
        c->n_queue--;
        return taken;
}

int64_t cores_deliver(struct cores *c, struct raft_message *m)
{
        struct raft_message taken = take(c, m);
        struct raft_event e = {.kind = RAFT_RECEIVE, .message = &taken};
        int64_t rc = 0;

        if (at(c, taken.to)->raft && !c->is_cut[taken.from][taken.to])
                rc = cores_step(c, taken.to, &e);
        raft_message_done(&taken);
        return rc;
}

void cores_drop(struct cores *c, struct raft_message *m)
{
        struct raft_message taken = take(c, m);

        raft_message_done(&taken);
}

void cores_settle(struct cores *c)
{
        for (int i = 0; c->n_queue; i++) {
                assert_true(i < 10000);
                assert_int_equal(cores_deliver(c, &c->queue[0]), 0);
        }
}

void cores_lose(struct cores *c)
{
        while (c->n_queue)
                cores_drop(c, &c->queue[0]);
}

void cores_run(struct cores *c, int64_t ms)
{
        struct raft_event e = {.kind = RAFT_TICK};

        for (int64_t end = c->now_ms + ms; c->now_ms < end; c->now_ms += 10) {
                for (uint64_t id = 1; id < CORES_MAX; id++) {
                        if (c->nodes[id].raft)
                                cores_step(c, id, &e);
                }
                cores_settle(c);
        }
}

struct raft_message *cores_find(struct cores *c, enum raft_message_kind kind, uint64_t to)
{
        for (size_t i = 0; i < c->n_queue; i++) {
                if (c->queue[i].kind == kind && c->queue[i].to == to)
                        return &c->queue[i];
        }
        return NULL;
}

/* --- short ways ---------------------------------------------------------------------------------
 */
void cores_elect(struct cores *c, uint64_t id)
{
        for (int i = 0; i < 5 && cores_role(c, id) != RAFT_LEADER; i++) {
                cores_tick(c, id);
                cores_settle(c);
        }
        assert_int_equal(cores_role(c, id), RAFT_LEADER);
}

int64_t cores_propose(struct cores *c, uint64_t id, const char *text)
{
        struct raft_event e = {.kind = RAFT_PROPOSE, .bytes = raft_bytes_new(text, strlen(text))};
        int64_t rc = cores_step(c, id, &e);

        raft_bytes_unref(e.bytes);
        return rc;
}

int64_t cores_change(struct cores *c, uint64_t id, enum raft_change what, uint64_t who)
{
        struct raft_event e = {.kind = RAFT_CHANGE};

        e.change.what = what;
        e.change.id = who;
        e.change.address = "there";
        return cores_step(c, id, &e);
}

int64_t cores_read(struct cores *c, uint64_t id)
{
        struct raft_event e = {.kind = RAFT_READ};

        return cores_step(c, id, &e);
}

int64_t cores_transfer(struct cores *c, uint64_t id, uint64_t to)
{
        struct raft_event e = {.kind = RAFT_TRANSFER, .peer = to};

        return cores_step(c, id, &e);
}

enum raft_role cores_role(const struct cores *c, uint64_t id)
{
        return c->nodes[id].out.role;
}

void cores_assert_log(const struct cores *c, uint64_t id, uint64_t first, const char *want)
{
        _cleanup_buf_ struct buf b = {0};
        const struct raft_entry *e;

        for (uint64_t i = first; (e = raft_entry_at(c->nodes[id].raft, i)); i++) {
                buf_printf(&b, "%s%lu:", i > first ? " " : "", e->term);
                if (e->kind == RAFT_ENTRY_NOOP)
                        buf_putc(&b, '-');
                else if (e->kind == RAFT_ENTRY_MEMBERS)
                        buf_putc(&b, '*');
                else
                        buf_append(&b, e->bytes->data, e->bytes->len);
        }
        assert_string_equal(buf_str(&b), want);
}
