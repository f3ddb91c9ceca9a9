/*
 * What agents are sent of blobs, with flow control: an agent that asks and does not read must not
 * fill the manager's memory. Each answer bears a random receipt and counts until the receipt comes
 * back (nobody can know it who has not read it) or its connection is gone. A node has at most
 * BLOB_NODE_ANSWERS, over all its connections; all nodes together BLOB_ANSWERS_MAX, and what is
 * beyond waits in order.
 */
#include <errno.h>
#include <sys/random.h>

#include "manager/blobs/blobs_internal.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/image/image.h"
#include "shared/wire/wire.h"

/* What a node has underway, over all its connections: at least one. */
struct share {
        struct id node;
        int n_answers;
};

/* A connection with answers underway: at least one. */
struct taker {
        uint64_t connection;
        struct share *share;
        struct list sent;    /* in that order */
        struct list pending; /* that wait or are being read */
};

struct answer {
        struct list link;      /* of its taker */
        struct list wait_link; /* blobs.waiting; not linked: is being read, or was sent */
        struct blobs *blobs;
        struct taker *taker; /* NULL: gone while it was being read */
        Swarm__BlobGet *ask; /* heap */
        uint64_t receipt;
};

void serve_init(struct blobs *b)
{
        b->takers = MAP_INIT(struct taker, connection, MAP_KEY_U64);
        b->shares = MAP_INIT(struct share, node, MAP_KEY_ID);
        list_init(&b->waiting);
}

static void answer_add(struct blobs *b, struct taker *t, const Swarm__BlobGet *m)
{
        struct answer *a = xnew(struct answer);

        a->blobs = b;
        a->taker = t;
        a->ask = wire_dup(m);
        t->share->n_answers++;
        list_push_back(&t->pending, &a->link);
        list_push_back(&b->waiting, &a->wait_link);
}

static struct taker *taker_new(struct blobs *b, struct share *share, uint64_t connection)
{
        struct taker *t = xnew(struct taker);

        t->share = share;
        t->connection = connection;
        list_init(&t->sent);
        list_init(&t->pending);
        map_put(&b->takers, t);
        return t;
}

static struct share *share_new(struct blobs *b, struct id node)
{
        struct share *s = xnew(struct share);

        s->node = node;
        map_put(&b->shares, s);
        return s;
}

/* Takes an answer from its taker, and frees what counts nothing any more. */
static void taker_lose(struct answer *a)
{
        struct blobs *b = a->blobs;
        struct taker *t = STEAL_PTR(a->taker);
        struct share *share = t->share;

        list_remove(&a->link);
        if (list_is_empty(&t->sent) && list_is_empty(&t->pending)) {
                map_remove(&b->takers, t);
                free(t);
        }
        if (--share->n_answers == 0) {
                map_remove(&b->shares, share);
                free(share);
        }
}

static void answer_free(struct answer *a)
{
        if (a->taker)
                taker_lose(a);
        if (list_is_linked(&a->wait_link))
                list_remove(&a->wait_link);
        else
                a->blobs->n_sent--;
        wire_free(a->ask);
        free(a);
}

static void start_waiting(struct blobs *b);

static uint64_t receipt_make(void)
{
        uint64_t receipt = 0;

        while (!receipt)
                if (getrandom(&receipt, sizeof(receipt), 0) != sizeof(receipt))
                        abort();
        return receipt;
}

static int send(struct answer *a, const struct read *r)
{
        const struct blobs_config *config = &a->blobs->config;
        Swarm__BlobData m = SWARM__BLOB_DATA__INIT;
        struct err err = {0};

        read_set_error(r, &err);
        read_fill(r, &m);
        m.request = a->ask->request;
        m.error = err.text;
        m.receipt = a->receipt = receipt_make();
        return config->on_data(config->arg, a->taker->share->node, a->taker->connection, &m);
}

/* Missing, and on its way from another manager: the agent asks again when it hears nothing. */
static bool is_to_come(const struct blobs *b, const struct read *r)
{
        return r->error == -ENOENT && b->hooks.is_coming &&
               b->hooks.is_coming(b->hooks.arg, r->digest);
}

static void on_read(void *arg, const struct read *r)
{
        struct answer *a = arg;
        struct blobs *b = a->blobs;

        if (!a->taker || is_to_come(b, r) || send(a, r) < 0) {
                answer_free(a);
        } else {
                list_remove(&a->link);
                list_push_back(&a->taker->sent, &a->link);
        }
        start_waiting(b);
}

static void start_waiting(struct blobs *b)
{
        while (!b->is_closed && b->n_sent < BLOB_ANSWERS_MAX && !list_is_empty(&b->waiting)) {
                struct answer *a = LIST_ITEM(b->waiting.next, struct answer, wait_link);

                list_remove(&a->wait_link);
                b->n_sent++;
                read_start(b, a->ask, on_read, a);
        }
}

/* What waits and is asked for again has a new number: the old one is not waited for any more. */
static bool is_renewed(struct taker *t, const Swarm__BlobGet *m)
{
        struct answer *a;

        LIST_FOREACH (a, &t->pending, link) {
                if (a->ask->offset == m->offset && str_is_equal(a->ask->digest, m->digest)) {
                        a->ask->request = m->request;
                        return true;
                }
        }
        return false;
}

void blobs_on_get(struct blobs *b, struct id node, uint64_t connection, const Swarm__BlobGet *m)
{
        struct taker *t = map_get_u64(&b->takers, connection);

        if (!digest_is_valid(m->digest)) {
                Swarm__BlobData bad = SWARM__BLOB_DATA__INIT;

                bad.request = m->request;
                bad.error = (char *)"blob: is no digest";
                b->config.on_data(b->config.arg, node, connection, &bad);
                return;
        }
        if (t && is_renewed(t, m))
                return;
        struct share *share = map_get_id(&b->shares, node);
        if (share && share->n_answers >= BLOB_NODE_ANSWERS)
                return;
        if (!t)
                t = taker_new(b, share ? share : share_new(b, node), connection);
        answer_add(b, t, m);
        start_waiting(b);
}

/* Frees what was sent up to that one; the taker may go with the last. */
static void free_sent(struct taker *t, uint64_t receipt)
{
        struct answer *a, *next;

        LIST_FOREACH_SAFE (a, next, &t->sent, link) {
                bool is_last = a->receipt == receipt || a->link.next == &t->sent;

                answer_free(a);
                if (is_last)
                        return;
        }
}

void blobs_on_ack(struct blobs *b, uint64_t connection, uint64_t receipt)
{
        struct taker *t = map_get_u64(&b->takers, connection);
        struct answer *a;
        bool is_known = false;

        if (!t)
                return;
        LIST_FOREACH (a, &t->sent, link)
                is_known |= a->receipt == receipt;
        if (!is_known)
                return;
        free_sent(t, receipt);
        start_waiting(b);
}

/* What is being read is freed when it was. */
static void answer_drop(struct answer *a, bool is_pending)
{
        bool is_read_now = is_pending && !list_is_linked(&a->wait_link);

        if (is_read_now)
                taker_lose(a);
        else
                answer_free(a);
}

static void taker_drop(struct blobs *b, uint64_t connection)
{
        struct taker *t;

        while ((t = map_get_u64(&b->takers, connection))) {
                bool is_pending = !list_is_empty(&t->pending);
                struct list *l = is_pending ? t->pending.next : t->sent.next;

                answer_drop(LIST_ITEM(l, struct answer, link), is_pending);
        }
}

void serve_on_gone(struct blobs *b, uint64_t connection)
{
        taker_drop(b, connection);
        start_waiting(b);
}

void serve_drop_all(struct blobs *b)
{
        struct taker *t;
        size_t i = 0;

        while ((t = map_next(&b->takers, &i))) {
                taker_drop(b, t->connection);
                i = 0;
        }
        map_done(&b->takers);
        map_done(&b->shares);
}
