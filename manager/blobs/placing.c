/*
 * Who has what, for images that are to come into being: the leader asks all members to fetch the
 * blobs, notes what they say they have, and lets the image go on once a majority of the voters has
 * all of them. What can fail: nothing comes for a long time, or the members are too few.
 */
#include <errno.h>
#include <stdlib.h>

#include "manager/blobs/blobs_internal.h"
#include "manager/blobs/copies_internal.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"

/* A member that has answered. */
struct holder {
        uint64_t id;
        size_t n_held;
        bool *has; /* one for each digest */
};

struct placing {
        struct list link;
        uint64_t connection;
        struct buf request;
        char **digests; /* none twice */
        size_t n_digests;
        struct holder of[COPIES_MEMBERS_MAX];
        size_t n_holders;
        int64_t give_up_at, ask_at;
};

static void placing_free(struct copies *c, struct placing *p)
{
        list_remove(&p->link);
        c->n_placings--;
        c->placing_bytes -= p->request.len;
        buf_done(&p->request);
        strv_free(p->digests);
        for (size_t i = 0; i < p->n_holders; i++)
                free(p->of[i].has);
        free(p);
}

static struct holder *find_holder(struct placing *p, uint64_t id)
{
        for (size_t i = 0; i < p->n_holders; i++)
                if (p->of[i].id == id)
                        return &p->of[i];
        return NULL;
}

/* --- counting -----------------------------------------------------------------------------------
 */
struct tally {
        size_t voters, answered, held; /* this manager counts as both */
};

static struct tally count(const struct copies *c, struct placing *p)
{
        struct tally t = {0};

        for (size_t i = 0; i < c->n_members; i++) {
                bool is_self = c->members[i].id == c->config.id;
                const struct holder *h = find_holder(p, c->members[i].id);

                if (!c->members[i].is_voter)
                        continue;
                t.voters++;
                t.answered += is_self || h;
                t.held += is_self || (h && h->n_held == p->n_digests);
        }
        return t;
}

static bool is_majority(size_t n, size_t voters)
{
        return n > voters / 2;
}

static void set_error(const struct tally *t, struct err *err)
{
        if (!is_majority(t->answered, t->voters))
                err_set(err, EAGAIN,
                        "image: %zu of the %zu managers can be reached: a majority must keep its "
                        "blobs",
                        t->answered, t->voters);
        else
                err_set(err, ETIMEDOUT,
                        "image: %zu of the %zu managers have its blobs, a majority must: the "
                        "others got no further for %d s",
                        t->held, t->voters, COPIES_STANDSTILL_MS / 1000);
}

/* --- asking -------------------------------------------------------------------------------------
 */
static void ask(struct copies *c, struct placing *p, int64_t now_ms)
{
        Swarm__PeerMessage m = SWARM__PEER_MESSAGE__INIT;
        Swarm__BlobsPlease please = SWARM__BLOBS_PLEASE__INIT;

        please.digests = p->digests;
        please.n_digests = p->n_digests;
        m.kind_case = SWARM__PEER_MESSAGE__KIND_BLOBS_PLEASE;
        m.blobs_please = &please;
        for (size_t i = 0; i < c->n_others; i++) {
                const struct holder *h = find_holder(p, c->others[i]);

                if (!h || h->n_held < p->n_digests)
                        c->config.send(c->config.arg, c->others[i], &m);
        }
        for (size_t i = 0; i < p->n_digests; i++)
                blob_pin(c->config.blobs, p->digests[i]);
        p->ask_at = now_ms + COPIES_PLEASE_MS;
}

static void add_digest(struct placing *p, const char *digest)
{
        if (!strv_has(p->digests, digest))
                strv_push(&p->digests, digest);
}

int copies_place(struct copies *c, uint64_t connection, const Swarm__Image *image,
                 const uint8_t *request, size_t n, int64_t now_ms, struct err *err)
{
        struct placing none = {0};
        struct tally t = count(c, &none);

        if (is_majority(t.held, t.voters))
                return 1;
        if (c->n_placings >= COPIES_WAITS_MAX || c->placing_bytes + n > COPIES_WAIT_BYTES)
                return err_set(err, EBUSY, "image: too many wait for a majority of the managers");
        struct placing *p = xnew(struct placing);
        p->connection = connection;
        buf_append(&p->request, request, n);
        add_digest(p, image->id);
        for (size_t i = 0; i < image->n_layers; i++)
                add_digest(p, image->layers[i]->digest);
        p->n_digests = strv_len(p->digests);
        p->give_up_at = now_ms + COPIES_STANDSTILL_MS;
        list_push_back(&c->placings, &p->link);
        c->n_placings++;
        c->placing_bytes += n;
        ask(c, p, now_ms);
        return 0;
}

void copies_drop(struct copies *c, uint64_t connection)
{
        struct placing *p, *next;

        if (!c)
                return;
        LIST_FOREACH_SAFE (p, next, &c->placings, link)
                if (!connection || p->connection == connection)
                        placing_free(c, p);
}

/* --- answers ------------------------------------------------------------------------------------
 */
static struct holder *note_holder(struct copies *c, struct placing *p, uint64_t id)
{
        struct holder *h = find_holder(p, id);
        bool is_other = false;

        for (size_t i = 0; i < c->n_others; i++)
                is_other |= c->others[i] == id;
        if (h || !is_other || p->n_holders == COPIES_MEMBERS_MAX)
                return h;
        h = &p->of[p->n_holders++];
        h->id = id;
        h->has = xnew_array(bool, p->n_digests);
        return h;
}

static bool mark(struct placing *p, struct holder *h, const char *digest)
{
        for (size_t i = 0; i < p->n_digests; i++) {
                if (h->has[i] || !str_is_equal(p->digests[i], digest))
                        continue;
                h->has[i] = true;
                h->n_held++;
                return true;
        }
        return false;
}

void placing_on_held(struct copies *c, uint64_t from, const Swarm__BlobsHeld *m)
{
        struct placing *p;

        LIST_FOREACH (p, &c->placings, link) {
                struct holder *h = note_holder(c, p, from);

                for (size_t i = 0; h && i < m->n_digests; i++)
                        if (mark(p, h, m->digests[i]))
                                p->give_up_at = c->now_ms + COPIES_STANDSTILL_MS;
        }
}

void placing_on_wanted(struct copies *c, const char *digest)
{
        struct placing *p;

        LIST_FOREACH (p, &c->placings, link)
                if (strv_has(p->digests, digest))
                        p->give_up_at = c->now_ms + COPIES_STANDSTILL_MS;
}

/* True: it has ended. */
static bool look(struct copies *c, struct placing *p, int64_t now_ms)
{
        struct tally t = count(c, p);
        struct err err = {0};

        if (!is_majority(t.held, t.voters)) {
                if (now_ms < p->give_up_at)
                        return false;
                set_error(&t, &err);
        }
        c->config.on_placed(c->config.arg, p->connection, &p->request, err.code ? &err : NULL);
        return true;
}

int64_t placing_run(struct copies *c, int64_t now_ms)
{
        int64_t due = TIME_NEVER;
        struct placing *p, *next;

        LIST_FOREACH_SAFE (p, next, &c->placings, link) {
                if (look(c, p, now_ms)) {
                        placing_free(c, p);
                        continue;
                }
                if (p->ask_at <= now_ms)
                        ask(c, p, now_ms);
                due = MIN(due, MIN(p->ask_at, p->give_up_at));
        }
        return due;
}
