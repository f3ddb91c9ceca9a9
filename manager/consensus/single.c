/* The single voter: see single.h. It leads from the start; its term never changes. */
#include "manager/consensus/single.h"

#include <errno.h>

#include "shared/base/log.h"
#include "shared/base/mem.h"

#define TERM 1

struct single {
        struct consensus port;
        struct consensus_events events;
        struct db *db;
        struct loop_timer *elected;
        bool is_leader;
};

static struct single *of(struct consensus *c)
{
        return CONTAINER_OF(c, struct single, port);
}

static void become_leader(void *arg)
{
        struct single *s = arg;

        if (s->is_leader)
                return;
        s->is_leader = true;
        s->events.on_role(s->events.arg, CONSENSUS_LEADER);
}

static void on_durable(void *arg, uint64_t index)
{
        struct single *s = arg;

        s->events.on_commit(s->events.arg, index);
}

static void on_covered(void *arg, uint64_t index)
{
        struct single *s = arg;

        s->port.ops->snapshot(&s->port, index);
}

static void on_failure(void *arg, int error, const char *text)
{
        struct single *s = arg;

        log_error("%s", text);
        s->is_leader = false;
        s->events.on_failure(s->events.arg, error);
}

static int64_t propose(struct consensus *c, struct buf *entry)
{
        struct single *s = of(c);

        return s->is_leader ? db_append(s->db, TERM, entry) : -EAGAIN;
}

static void snapshot(struct consensus *c, uint64_t index)
{
        db_cut_log(of(c)->db, index);
}

static void close_single(struct consensus *c)
{
        struct single *s = of(c);

        loop_timer_free(s->elected);
        free(s);
}

struct consensus *consensus_single_new(struct loop *loop, struct db *db,
                                       const struct consensus_events *events)
{
        static const struct consensus_ops ops = {propose, snapshot, close_single};
        struct single *s = xnew(struct single);
        struct db_events db_events = {s, on_durable, on_covered, on_failure};

        s->port.ops = &ops;
        s->events = *events;
        s->db = db;
        s->elected = loop_timer_new(loop, become_leader, s);
        loop_timer_set(s->elected, 0);
        db_start(db, loop, &db_events);
        return &s->port;
}
