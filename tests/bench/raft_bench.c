/*
 * What the Raft core costs by itself: three of them in this process, messages as bytes and back, a
 * disk that takes no time and is synced once a round. Entries agreed per second, memory of a log of
 * 1,000,000 entries, and how long one that lacks them all needs to catch up. One line of JSON a
 * figure.
 */
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "manager/consensus/raft/raft.h"
#include "shared/base/base.h"

#define CORES       3
#define IN_FLIGHT   64 /* entries proposed before the oldest is agreed */
#define SMALL       200
#define LARGE       (64 << 10)
#define MANY        1000000
#define ROUND_MS    1
#define CUT_ENTRIES 1000
#define STUCK       1000000 /* rounds without an end */

struct core {
        struct raft *raft;
        uint64_t seq, commit;
        enum raft_role role;
        bool is_away;
};

struct bench {
        struct core cores[CORES + 1]; /* by id */
        struct raft_message *queue;
        size_t n_queue, cap_queue;
        int64_t now_ms;
};

static void figure(const char *name, double value, const char *unit, const char *aim)
{
        printf("{\"figure\":\"%s\",\"value\":%.6g,\"unit\":\"%s\",\"aim\":\"%s\"}\n", name, value,
               unit, aim);
        fflush(stdout);
}

static double rss_mb(void)
{
        _cleanup_buf_ struct buf b = {0};
        unsigned long pages = 0;

        if (io_read_file(AT_FDCWD, "/proc/self/statm", 4096, &b) == 0)
                sscanf(buf_str(&b), "%*u %lu", &pages);
        return (double)pages * 4096 / 1e6;
}

static void give_up(const char *why)
{
        fprintf(stderr, "raft_bench: %s\n", why);
        exit(1);
}

/* --- the cluster --------------------------------------------------------------------------------
 */
static void carry(struct bench *b, const struct raft_message *m)
{
        _cleanup_buf_ struct buf bytes = {0};

        if (b->cores[m->to].is_away || b->cores[m->from].is_away)
                return;
        if (b->n_queue == b->cap_queue) {
                b->cap_queue = b->cap_queue ? b->cap_queue * 2 : 256;
                b->queue = xreallocarray(b->queue, b->cap_queue, sizeof(*b->queue));
        }
        raft_message_encode(m, &bytes);
        if (raft_message_decode(bytes.data, bytes.len, &b->queue[b->n_queue++]) < 0)
                give_up("a message cannot be read");
}

static int64_t step(struct bench *b, uint64_t id, struct raft_event *e)
{
        struct core *c = &b->cores[id];
        struct raft_output out;

        e->now_ms = b->now_ms;
        int64_t rc = raft_step(c->raft, e, &out);
        for (size_t i = 0; i < out.n_messages; i++)
                carry(b, &out.messages[i]);
        if (out.write.seq)
                c->seq = out.write.seq;
        c->commit = out.commit_index;
        c->role = out.role;
        raft_output_done(&out);
        return rc;
}

static void deliver(struct bench *b)
{
        struct raft_message *queue = b->queue;
        size_t n = b->n_queue;

        b->queue = NULL;
        b->n_queue = b->cap_queue = 0;
        for (size_t i = 0; i < n; i++) {
                struct raft_event e = {.kind = RAFT_RECEIVE, .message = &queue[i]};

                if (step(b, queue[i].to, &e) < 0)
                        give_up("a message is refused");
                raft_message_done(&queue[i]);
        }
        free(queue);
}

/* All messages that wait, then one sync of every disk, then whoever is due. */
static void turn(struct bench *b)
{
        deliver(b);
        for (uint64_t id = 1; id <= CORES; id++) {
                struct raft_event e = {.kind = RAFT_PERSISTED, .seq = b->cores[id].seq};

                if (e.seq)
                        step(b, id, &e);
                b->cores[id].seq = 0;
        }
        for (uint64_t id = 1; id <= CORES; id++) {
                struct raft_event e = {.kind = RAFT_TICK};

                if (raft_deadline_ms(b->cores[id].raft) <= b->now_ms)
                        step(b, id, &e);
        }
        b->now_ms += ROUND_MS;
}

static void begin(struct bench *b)
{
        struct raft_start start = {.settings.log_bytes_max = (size_t)1 << 30};

        memset(b, 0, sizeof(*b));
        start.base.members.n = CORES;
        for (uint64_t id = 1; id <= CORES; id++)
                start.base.members.of[id - 1] = (struct raft_member){id, true, "x"};
        for (uint64_t id = 1; id <= CORES; id++) {
                start.id = start.seed = id;
                start.now_ms = id == 1 ? -2000 : 0; /* the first stands at once */
                if (raft_new(&start, &b->cores[id].raft) < 0)
                        give_up("a core cannot be made");
        }
        for (int i = 0; b->cores[1].role != RAFT_LEADER || b->cores[1].commit == 0; i++) {
                if (i == STUCK)
                        give_up("nobody leads");
                turn(b);
        }
}

static void end(struct bench *b)
{
        for (size_t i = 0; i < b->n_queue; i++)
                raft_message_done(&b->queue[i]);
        free(b->queue);
        for (uint64_t id = 1; id <= CORES; id++)
                raft_free(b->cores[id].raft);
        malloc_trim(0);
}

/* --- figures ------------------------------------------------------------------------------------
 */
static void cut(struct bench *b)
{
        for (uint64_t id = 1; id <= CORES; id++) {
                struct raft_event e = {.kind = RAFT_CUT, .index = b->cores[id].commit};

                step(b, id, &e);
        }
}

/* Proposes n entries of that size and waits until they are agreed. */
static void agree_on(struct bench *b, uint64_t n, size_t size, bool is_cut)
{
        _cleanup_free_ uint8_t *data = xcalloc(1, size);
        struct core *leader = &b->cores[1];
        uint64_t last = raft_last_index(leader->raft), end = last + n, cut_at = 0;

        while (leader->commit < end) {
                for (; last < end && last < leader->commit + IN_FLIGHT; last++) {
                        struct raft_event e = {.kind = RAFT_PROPOSE};

                        e.bytes = raft_bytes_new(data, size);
                        if (step(b, 1, &e) < 0)
                                give_up("a proposal is refused");
                        raft_bytes_unref(e.bytes);
                }
                turn(b);
                if (is_cut && leader->commit > cut_at + CUT_ENTRIES) {
                        cut_at = leader->commit;
                        cut(b);
                }
        }
}

static void bench_rate(uint64_t n, size_t size, const char *name)
{
        struct bench b;

        begin(&b);
        int64_t start = time_mono_us();
        agree_on(&b, n, size, true);
        figure(name, (double)n * 1e6 / (double)(time_mono_us() - start), "1/s", "");
        end(&b);
}

/* One is away while the two others agree on it all, without cutting. */
static void bench_far_behind(void)
{
        struct bench b;
        double before;

        begin(&b);
        before = rss_mb();
        b.cores[3].is_away = true;
        agree_on(&b, MANY, SMALL, false);
        figure("raft: log of 1,000,000 entries of 200 B: memory a core", (rss_mb() - before) / 2,
               "MB", "below 300");
        b.cores[3].is_away = false;
        int64_t start = time_mono_us(), round = b.now_ms;
        while (raft_last_index(b.cores[3].raft) < raft_last_index(b.cores[1].raft) ||
               b.cores[3].commit < b.cores[1].commit) {
                if (b.now_ms > round + STUCK)
                        give_up("one that lags does not catch up");
                turn(&b);
        }
        figure("raft: one that lacks 1,000,000 entries catches up",
               (double)(time_mono_us() - start) / 1e6, "s", "");
        end(&b);
}

int main(void)
{
        bench_rate(300000, SMALL, "raft: entries of 200 B that three cores agree on");
        bench_rate(5000, LARGE, "raft: entries of 64 KiB that three cores agree on");
        bench_far_behind();
        return 0;
}
