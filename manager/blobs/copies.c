/*
 * Fetching what this manager lacks, and serving what others do: see copies.h. A want is a blob that
 * the state names, or the leader asked for, and that is not here:
 *
 *   IDLE -> ASKED -> WRITING -> ASKED ... -> held
 *    ^        | silent, missing | not written
 *    '--------+-----------------'
 */
#include "manager/blobs/copies.h"

#include <errno.h>
#include <stdlib.h>

#include "manager/blobs/blobs_internal.h"
#include "manager/blobs/copies_internal.h"
#include "shared/base/log.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/base/time.h"
#include "shared/image/image.h"
#include "shared/model/model.h"

#define FORGET_PLEASES 5

enum want_step { WANT_IDLE, WANT_ASKED, WANT_WRITING };

struct want {
        char *digest; /* first: the map's key */
        enum want_step step;
        int64_t due_ms; /* IDLE: of the next try; ASKED: then the peer counts as silent */
        uint64_t peer;  /* ASKED, WRITING */
        uint64_t offset, number;
        bool is_last;            /* what is written is the end of it */
        size_t n_tried, n_lacks; /* peers in this round */
        bool is_nowhere;         /* in the last round all said that they lack it */
        /* Asked for: */
        uint64_t asker; /* 0: by nobody */
        int64_t asked_ms;
        bool is_named, is_held;
};

/* A piece that is being read for a peer. */
struct served {
        struct list link;
        struct copies *copies; /* NULL: gone */
        uint64_t peer;
};

static int send(struct copies *c, uint64_t to, const Swarm__PeerMessage *m)
{
        return c->config.send(c->config.arg, to, m);
}

/* --- wants --------------------------------------------------------------------------------------
 */
static void want_free(struct copies *c, struct want *w)
{
        c->n_fetching -= w->step != WANT_IDLE;
        c->n_asked -= w->asker != 0;
        map_remove(&c->wants, w);
        free(w->digest);
        free(w);
}

static struct want *want_get(struct copies *c, const char *digest)
{
        struct want *w = map_get_str(&c->wants, digest);

        if (w)
                return w;
        w = xnew(struct want);
        w->digest = xstrdup(digest);
        map_put(&c->wants, w);
        c->due_ms = 0;
        return w;
}

static void want_named(struct copies *c, const char *digest)
{
        struct want *w = map_get_str(&c->wants, digest);

        if (blob_is_held(c->config.blobs, digest)) {
                if (w && w->is_held)
                        want_free(c, w);
                return;
        }
        w = want_get(c, digest);
        w->is_named = true;
        w->is_held = false;
        c->due_ms = 0;
}

/* A leader that asked says so again and again while it waits. */
static bool is_asked_now(const struct copies *c, const struct want *w)
{
        return w->asker && c->now_ms - w->asked_ms <= FORGET_PLEASES * COPIES_PLEASE_MS;
}

/* An image may come that names it. */
static bool is_kept(const struct copies *c, const char *digest)
{
        const struct want *w = map_get_str(&c->wants, digest);

        return w && w->asker && c->now_ms - w->asked_ms <= BLOB_UNUSED_MS;
}

static void say_held(struct copies *c, uint64_t to, char **digests)
{
        Swarm__PeerMessage m = SWARM__PEER_MESSAGE__INIT;
        Swarm__BlobsHeld held = SWARM__BLOBS_HELD__INIT;

        held.digests = digests;
        held.n_digests = strv_len(digests);
        m.kind_case = SWARM__PEER_MESSAGE__KIND_BLOBS_HELD;
        m.blobs_held = &held;
        send(c, to, &m);
}

/* --- fetching -----------------------------------------------------------------------------------
 */
static void set_step(struct copies *c, struct want *w, enum want_step step, int64_t due_ms)
{
        c->n_fetching -= w->step != WANT_IDLE;
        c->n_fetching += step != WANT_IDLE;
        w->step = step;
        w->due_ms = due_ms;
        c->due_ms = MIN(c->due_ms, due_ms);
        if (step == WANT_IDLE)
                c->due_ms = 0; /* another may have its turn */
}

static void pause_want(struct copies *c, struct want *w, int64_t ms)
{
        w->n_tried = w->n_lacks = 0;
        set_step(c, w, WANT_IDLE, c->now_ms + ms);
}

static int send_wanted(struct copies *c, struct want *w, uint64_t peer)
{
        Swarm__PeerMessage m = SWARM__PEER_MESSAGE__INIT;
        Swarm__BlobWanted wanted = SWARM__BLOB_WANTED__INIT;

        wanted.digest = w->digest;
        wanted.offset = w->offset;
        wanted.max_bytes = BLOB_CHUNK_MAX;
        m.kind_case = SWARM__PEER_MESSAGE__KIND_BLOB_WANTED;
        m.blob_wanted = &wanted;
        return send(c, peer, &m);
}

/* From whoever comes next and can be reached; after a round there is a pause. */
static void ask_someone(struct copies *c, struct want *w)
{
        w->offset = (uint64_t)upload_offset(c->config.blobs, w->digest);
        for (; w->n_tried < c->n_others; w->n_tried++) {
                w->peer = c->others[w->n_tried];
                if (send_wanted(c, w, w->peer) < 0)
                        continue;
                set_step(c, w, WANT_ASKED, c->now_ms + COPIES_PIECE_MS);
                return;
        }
        w->is_nowhere = w->n_lacks >= c->n_others;
        pause_want(c, w, COPIES_RETRY_MS);
}

static void ask_next(struct copies *c, struct want *w)
{
        w->n_tried++;
        ask_someone(c, w);
}

static void want_done(struct copies *c, struct want *w)
{
        char *digests[] = {w->digest, NULL};

        if (w->asker)
                say_held(c, w->asker, digests);
        set_step(c, w, WANT_IDLE, 0);
        w->is_held = true;
        if (w->is_named || !w->asker)
                want_free(c, w);
}

static struct want *find_written(struct copies *c, uint64_t number)
{
        struct want *w;
        size_t i;

        MAP_FOREACH (w, i, &c->wants)
                if (w->step == WANT_WRITING && w->number == number)
                        return w;
        return NULL;
}

static void on_written(void *arg, const Swarm__Response *r)
{
        struct copies *c = arg;
        struct want *w = find_written(c, r->number);

        if (!w)
                return;
        if (r->code) {
                log_warn("a copy is not taken: %s", r->error);
                if (r->code == EBADMSG)
                        ask_next(c, w);
                else
                        pause_want(c, w, r->code == ENOSPC ? COPIES_FULL_MS : COPIES_RETRY_MS);
                return;
        }
        if (w->is_last || blob_is_held(c->config.blobs, w->digest)) {
                log_info("blob %.19s: came from manager %llu", w->digest,
                         (unsigned long long)w->peer);
                want_done(c, w);
                return;
        }
        w->offset = r->blob_offset;
        if (send_wanted(c, w, w->peer) < 0)
                ask_next(c, w);
        else
                set_step(c, w, WANT_ASKED, c->now_ms + COPIES_PIECE_MS);
}

static void write_piece(struct copies *c, struct want *w, const Swarm__BlobPiece *m)
{
        Swarm__BlobPut put = SWARM__BLOB_PUT__INIT;

        w->n_lacks = 0;
        w->is_nowhere = false;
        w->is_last = m->offset + m->data.len == m->total;
        w->number = ++c->last_number;
        set_step(c, w, WANT_WRITING, TIME_NEVER);
        put.digest = w->digest;
        put.offset = m->offset;
        put.data = m->data;
        put.is_last = w->is_last;
        upload_on_put(c->config.blobs, BLOB_OWN_CONNECTION, w->number, &put);
}

static bool is_sane(const Swarm__BlobPiece *m)
{
        return m->total <= (uint64_t)BLOB_BYTES_MAX && m->offset <= m->total &&
               m->data.len <= BLOB_CHUNK_MAX && m->data.len <= m->total - m->offset &&
               (m->data.len > 0 || m->offset == m->total);
}

static void on_piece(struct copies *c, uint64_t from, const Swarm__BlobPiece *m)
{
        struct want *w = map_get_str(&c->wants, m->digest);

        if (!w || w->step != WANT_ASKED || w->peer != from || w->offset != m->offset) {
                log_debug("dropped a piece that was not asked for peer=%llu",
                          (unsigned long long)from);
                return;
        }
        if (m->missing || !is_sane(m)) {
                w->n_lacks++;
                ask_next(c, w);
        } else {
                write_piece(c, w, m);
        }
}

void copies_on_peer_broken(struct copies *c, uint64_t peer)
{
        struct want *w;
        size_t i;

        MAP_FOREACH (w, i, &c->wants)
                if (w->step == WANT_ASKED && w->peer == peer)
                        w->due_ms = c->due_ms = 0;
}

static bool is_coming(void *arg, const char *digest)
{
        struct copies *c = arg;
        const struct want *w = map_get_str(&c->wants, digest);

        return w && !w->is_nowhere && c->n_others > 0;
}

/* --- what others lack ---------------------------------------------------------------------------
 */
static void send_piece(struct copies *c, uint64_t to, Swarm__BlobPiece *piece)
{
        Swarm__PeerMessage m = SWARM__PEER_MESSAGE__INIT;

        m.kind_case = SWARM__PEER_MESSAGE__KIND_BLOB_PIECE;
        m.blob_piece = piece;
        send(c, to, &m);
}

static void on_read(void *arg, const struct read *r)
{
        _cleanup_free_ struct served *s = arg;
        Swarm__BlobPiece piece = SWARM__BLOB_PIECE__INIT;

        if (!s->copies)
                return;
        list_remove(&s->link);
        s->copies->n_served--;
        piece.digest = r->digest;
        piece.offset = r->offset;
        piece.total = (uint64_t)r->total;
        piece.data = (ProtobufCBinaryData){r->data.len, r->data.data};
        piece.missing = r->error < 0;
        send_piece(s->copies, s->peer, &piece);
}

/* Whoever gets no answer asks again. */
static void on_wanted(struct copies *c, uint64_t from, const Swarm__BlobWanted *m)
{
        Swarm__BlobGet get = SWARM__BLOB_GET__INIT;

        if (!digest_is_valid(m->digest) || c->n_served >= COPIES_SERVED_MAX)
                return;
        placing_on_wanted(c, m->digest);
        struct served *s = xnew(struct served);
        s->copies = c;
        s->peer = from;
        list_push_back(&c->served, &s->link);
        c->n_served++;
        get.digest = m->digest;
        get.offset = m->offset;
        get.max_bytes = m->max_bytes;
        read_start(c->config.blobs, &get, on_read, s);
}

static void note_please(struct copies *c, uint64_t from, const char *digest)
{
        struct want *w = map_get_str(&c->wants, digest);

        if (!w && c->n_asked >= COPIES_ASKED_MAX)
                return;
        w = w ? w : want_get(c, digest);
        c->n_asked += w->asker == 0;
        w->asker = from;
        w->asked_ms = c->now_ms;
        w->is_held = blob_is_held(c->config.blobs, digest);
}

static void on_please(struct copies *c, uint64_t from, const Swarm__BlobsPlease *m)
{
        _cleanup_strv_ char **held = NULL;

        if (m->n_digests > IMAGE_LAYERS_MAX + 1)
                return;
        for (size_t i = 0; i < m->n_digests; i++) {
                if (!digest_is_valid(m->digests[i]))
                        continue;
                note_please(c, from, m->digests[i]);
                if (blob_is_held(c->config.blobs, m->digests[i]))
                        strv_push(&held, m->digests[i]);
        }
        say_held(c, from, held);
}

bool copies_on_message(struct copies *c, uint64_t from, const Swarm__PeerMessage *m, int64_t now_ms)
{
        c->now_ms = now_ms;
        switch (m->kind_case) {
        case SWARM__PEER_MESSAGE__KIND_BLOB_WANTED: on_wanted(c, from, m->blob_wanted); break;
        case SWARM__PEER_MESSAGE__KIND_BLOB_PIECE: on_piece(c, from, m->blob_piece); break;
        case SWARM__PEER_MESSAGE__KIND_BLOBS_PLEASE: on_please(c, from, m->blobs_please); break;
        case SWARM__PEER_MESSAGE__KIND_BLOBS_HELD: placing_on_held(c, from, m->blobs_held); break;
        default: return false;
        }
        return true;
}

/* --- the state ----------------------------------------------------------------------------------
 */
static void image_wants(struct copies *c, const struct image *image)
{
        want_named(c, image->id);
        for (size_t i = 0; i < image->msg->n_layers; i++)
                want_named(c, image->msg->layers[i]->digest);
}

static void on_image(void *arg, struct image *image, enum change_kind kind, const char *name UNUSED)
{
        struct copies *c = arg;

        if (kind == CHANGE_CREATED)
                image_wants(c, image);
        if (kind != CHANGE_REMOVED)
                return;
        strv_push(&c->dropped, image->id);
        for (size_t i = 0; i < image->msg->n_layers; i++)
                strv_push(&c->dropped, image->msg->layers[i]->digest);
}

void copies_set_state(struct copies *c, struct store *store)
{
        struct image *image;
        size_t i;

        if (c->store)
                list_remove(&c->watch.link);
        c->store = store;
        strv_free(STEAL_PTR(c->dropped));
        if (!store)
                return;
        store_watch(store, &c->watch);
        MAP_FOREACH (image, i, store_images(store))
                image_wants(c, image);
}

void copies_set_members(struct copies *c, const struct copies_member *members, size_t n)
{
        c->n_members = c->n_others = 0;
        for (size_t i = 0; i < n && i < COPIES_MEMBERS_MAX; i++) {
                c->members[c->n_members++] = members[i];
                if (members[i].id != c->config.id)
                        c->others[c->n_others++] = members[i].id;
        }
        c->due_ms = 0;
}

/* --- what is due --------------------------------------------------------------------------------
 */
static void release_dropped(struct copies *c, bool is_leader)
{
        for (char **d = c->dropped; d && *d; d++)
                if (!is_leader && !is_kept(c, *d))
                        blobs_release(c->config.blobs, *d);
        strv_free(STEAL_PTR(c->dropped));
}

static bool is_needed(const struct copies *c, const struct want *w)
{
        const struct blobs_config *b = &c->config.blobs->config;

        return is_asked_now(c, w) || b->is_used(b->arg, w->digest);
}

/* Returns when to look at it again; the want may be gone. */
static int64_t run_want(struct copies *c, struct want *w)
{
        bool is_over = w->is_held && w->step == WANT_IDLE;

        if (is_over && !is_kept(c, w->digest)) {
                want_free(c, w);
                return TIME_NEVER;
        }
        if (is_over)
                return w->asked_ms + BLOB_UNUSED_MS + 1;
        if (w->due_ms > c->now_ms)
                return w->due_ms;
        if (w->step == WANT_ASKED) {
                ask_next(c, w);
        } else if (blob_is_held(c->config.blobs, w->digest)) { /* a client brought it */
                want_done(c, w);
                return 0;
        } else if (!is_needed(c, w)) {
                want_free(c, w);
                return TIME_NEVER;
        } else if (c->n_fetching < COPIES_FETCHES_MAX) {
                ask_someone(c, w);
        } else {
                return TIME_NEVER; /* until one of those ends */
        }
        return w->due_ms;
}

static void run_wants(struct copies *c)
{
        int64_t due = TIME_NEVER;
        char **digests = xnew_array(char *, c->wants.len + 1);
        struct want *w;
        size_t n = 0, i;

        c->due_ms = TIME_NEVER;
        MAP_FOREACH (w, i, &c->wants)
                digests[n++] = w->digest;
        for (i = 0; i < n; i++) /* each frees at most itself */
                due = MIN(due, run_want(c, map_get_str(&c->wants, digests[i])));
        free(digests);
        c->due_ms = MIN(c->due_ms, due);
}

int64_t copies_run(struct copies *c, bool is_leader, int64_t now_ms)
{
        c->now_ms = now_ms;
        release_dropped(c, is_leader);
        if (c->due_ms <= now_ms)
                run_wants(c);
        return MIN(c->due_ms, placing_run(c, now_ms));
}

/* --- its life -----------------------------------------------------------------------------------
 */
struct copies *copies_new(const struct copies_config *config)
{
        struct copies *c = xnew(struct copies);

        c->config = *config;
        c->wants = MAP_INIT(struct want, digest, MAP_KEY_STR);
        c->watch = (struct store_watch){.arg = c, .on_image = on_image};
        list_init(&c->served);
        list_init(&c->placings);
        config->blobs->hooks = (struct blob_hooks){c, on_written, is_coming};
        return c;
}

void copies_free(struct copies *c)
{
        struct served *s, *next;
        struct want *w;
        size_t i;

        if (!c)
                return;
        copies_set_state(c, NULL);
        copies_drop(c, 0);
        LIST_FOREACH_SAFE (s, next, &c->served, link) {
                list_remove(&s->link);
                s->copies = NULL;
        }
        c->config.blobs->hooks = (struct blob_hooks){0};
        MAP_FOREACH (w, i, &c->wants) {
                free(w->digest);
                free(w);
        }
        map_done(&c->wants);
        free(c);
}
