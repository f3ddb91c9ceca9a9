/* Fuzz: messages of other managers: decoding any bytes, and giving what comes out to a core that
 * follows (first byte even) or leads. The input is messages, each behind its length in a byte. */
#include <stddef.h>
#include <stdint.h>

#include "manager/consensus/raft/raft.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void step(struct raft *r, struct raft_event *e, int64_t *now_ms)
{
        struct raft_output out;
        uint64_t seq;

        do {
                e->now_ms = (*now_ms)++;
                raft_step(r, e, &out);
                seq = out.write.seq;
                raft_output_done(&out);
                *e = (struct raft_event){.kind = RAFT_PERSISTED, .seq = seq};
        } while (seq);
}

static struct raft *begin(bool is_leader, int64_t *now_ms)
{
        struct raft_start start = {.id = 1, .seed = 1, .settings.log_keep_bytes = 1};
        struct raft_event e = {.kind = RAFT_TICK};
        struct raft *r;

        start.base.members = (struct raft_members){
                .n = 3, .of = {{1, true, "a"}, {2, !is_leader, "b"}, {3, false, "c"}}};
        if (raft_new(&start, &r) < 0)
                return NULL;
        step(r, &e, now_ms);
        return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
        int64_t now_ms = 0;

        if (n == 0)
                return 0;
        struct raft *r = begin(data[0] & 1, &now_ms);
        for (size_t i = 1, len; r && i < n; i += len) {
                struct raft_message m;

                len = data[i++];
                len = len < n - i ? len : n - i;
                if (raft_message_decode(data + i, len, &m) < 0)
                        continue;
                struct raft_event e = {.kind = RAFT_RECEIVE, .message = &m};
                step(r, &e, &now_ms);
                raft_message_done(&m);
        }
        raft_free(r);
        return 0;
}
