/* copies: two managers' blobs on one loop; what one lacks comes from the other, and what was not
 * asked for is not taken. */
#include "tests/lib/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "manager/blobs/copies.h"
#include "shared/base/io.h"
#include "shared/base/log.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/base/time.h"
#include "shared/image/image.h"
#include "shared/model/model.h"
#include "shared/wire/wire.h"

#define GUARD_MS 20000
#define STEP_MS  5
#define N        3
#define BYTES    ((size_t)5 * 1024 * 1024 / 2) /* three pieces */

struct world;

struct manager {
        struct world *world;
        uint64_t id;
        char path[64];
        struct blobs *blobs;
        struct copies *copies;
        bool is_cut; /* nothing gets there or away */
        size_t n_pieces, n_placed;
        struct err placed;
};

struct world {
        struct loop *loop;
        struct loop_timer *guard, *step;
        struct loop_hook *hook;
        struct manager of[N];
        int64_t ahead_ms; /* of the clock */
        bool (*is_done)(struct world *w);
        bool is_corrupt; /* pieces of manager 1 */
        char digest[DIGEST_TEXT_LEN + 1];
};

static int64_t now_ms(const struct world *w)
{
        return time_now().mono_ms + w->ahead_ms;
}

static int send(void *arg, uint64_t to, const Swarm__PeerMessage *m)
{
        struct manager *from = arg, *other = &from->world->of[to - 1];

        if (from->is_cut || other->is_cut)
                return -ENOTCONN;
        if (m->kind_case == SWARM__PEER_MESSAGE__KIND_BLOB_PIECE) {
                from->n_pieces++;
                if (from->world->is_corrupt && from->id == 1 && m->blob_piece->data.len)
                        m->blob_piece->data.data[0] ^= 1;
        }
        copies_on_message(other->copies, from->id, m, now_ms(from->world));
        return 0;
}

static void on_placed(void *arg, uint64_t connection, const struct buf *request,
                      const struct err *err)
{
        struct manager *m = arg;

        assert_int_equal(connection, 7);
        assert_int_equal(request->len, 3);
        m->n_placed++;
        if (err)
                m->placed = *err;
}

static bool never_used(void *arg UNUSED, const char *digest UNUSED)
{
        return false;
}

static void on_response(void *arg UNUSED, uint64_t connection UNUSED, const Swarm__Response *r)
{
        assert_int_equal(r->code, 0);
}

static int on_data(void *arg UNUSED, struct id node UNUSED, uint64_t connection UNUSED,
                   const Swarm__BlobData *m UNUSED)
{
        return 0;
}

static void on_guard(void *arg UNUSED)
{
        fprintf(stderr, "nothing came within %d ms\n", GUARD_MS);
        abort();
}

static bool run_all(void *arg)
{
        struct world *w = arg;

        for (size_t i = 0; i < N; i++)
                copies_run(w->of[i].copies, i == 0, now_ms(w));
        if (w->is_done && w->is_done(w))
                loop_stop(w->loop);
        return false;
}

static void on_step(void *arg)
{
        struct world *w = arg;

        loop_timer_set(w->step, STEP_MS); /* the hook looks at what is due */
}

static void run_until(struct world *w, bool (*is_done)(struct world *w))
{
        w->is_done = is_done;
        loop_timer_set(w->guard, GUARD_MS);
        if (!is_done(w))
                loop_run(w->loop);
        w->is_done = NULL;
        loop_timer_clear(w->guard);
}

static void open_manager(struct world *w, size_t i)
{
        struct manager *m = &w->of[i];
        struct err err = {0};

        m->world = w;
        m->id = i + 1;
        snprintf(m->path, sizeof(m->path), "/tmp/copies-test-XXXXXX");
        assert_non_null(mkdtemp(m->path));
        struct blobs_config bc = {m->path, m, never_used, on_response, on_data};
        if (blobs_open(w->loop, &bc, &m->blobs, &err) < 0)
                fail_msg("%s", err.text);
        struct copies_config cc = {m->blobs, m->id, m, send, on_placed};
        m->copies = copies_new(&cc);
}

static int set_up(void **state)
{
        struct world *w = xnew(struct world);
        struct copies_member members[N];

        w->loop = loop_new();
        w->guard = loop_timer_new(w->loop, on_guard, w);
        w->step = loop_timer_new(w->loop, on_step, w);
        for (size_t i = 0; i < N; i++) {
                open_manager(w, i);
                members[i] = (struct copies_member){i + 1, true};
        }
        for (size_t i = 0; i < N; i++)
                copies_set_members(w->of[i].copies, members, N);
        w->hook = loop_hook_new(w->loop, run_all, NULL, w);
        loop_timer_set(w->step, STEP_MS);
        *state = w;
        return 0;
}

static int tear_down(void **state)
{
        struct world *w = *state;

        loop_hook_free(w->hook);
        for (size_t i = 0; i < N; i++) {
                copies_free(w->of[i].copies);
                blobs_close(w->of[i].blobs);
        }
        loop_timer_free(w->guard);
        loop_timer_free(w->step);
        loop_free(w->loop);
        for (size_t i = 0; i < N; i++)
                assert_int_equal(io_remove_tree(AT_FDCWD, w->of[i].path), 0);
        free(w);
        return 0;
}

static bool has(struct world *w, size_t i)
{
        _cleanup_buf_ struct buf b = {0};
        char digest[DIGEST_TEXT_LEN + 1];

        if (blobs_read(w->of[i].blobs, w->digest, BYTES, &b) < 0)
                return false;
        digest_of(b.data, b.len, digest);
        assert_string_equal(digest, w->digest);
        return true;
}

static bool first_has(struct world *w)
{
        return has(w, 0);
}

static bool is_placed(struct world *w)
{
        return w->of[0].n_placed > 0;
}

static bool third_has(struct world *w)
{
        return has(w, 2);
}

/* Both others took it to its end, and began anew. */
static bool was_asked_again(struct world *w)
{
        return w->of[0].n_pieces > 6;
}

/* A blob of three pieces at the first manager, and an image of it that is to be. */
static void place(struct world *w)
{
        uint8_t *p = xmalloc(BYTES);
        Swarm__Image image = SWARM__IMAGE__INIT;
        struct err err = {0};

        for (size_t i = 0; i < BYTES; i++)
                p[i] = (uint8_t)(i * 7 + i / 251);
        digest_of(p, BYTES, w->digest);
        for (size_t at = 0; at < BYTES; at += BLOB_CHUNK_MAX) {
                Swarm__Request q = SWARM__REQUEST__INIT;
                Swarm__BlobPut m = SWARM__BLOB_PUT__INIT;

                m.digest = w->digest;
                m.offset = at;
                m.data.data = p + at;
                m.data.len = MIN(BYTES - at, (size_t)BLOB_CHUNK_MAX);
                m.is_last = at + m.data.len == BYTES;
                q.kind_case = SWARM__REQUEST__KIND_BLOB_PUT;
                q.blob_put = &m;
                assert_true(blobs_on_request(w->of[0].blobs, 7, &q));
        }
        free(p);
        run_until(w, first_has);
        image.id = w->digest;
        assert_int_equal(copies_place(w->of[0].copies, 7, &image, (const uint8_t *)"abc", 3,
                                      now_ms(w), &err),
                         0);
}

static void test_placed_with_a_majority(void **state)
{
        struct world *w = *state;

        w->of[2].is_cut = true;
        place(w);
        run_until(w, is_placed);
        assert_int_equal(w->of[0].placed.code, 0);
        assert_true(has(w, 1));
        assert_false(has(w, 2));
        assert_int_equal(w->of[0].n_pieces, 3);
}

/* The third takes it from the second when the first is gone meanwhile. */
static void test_next_peer(void **state)
{
        struct world *w = *state;
        Swarm__PeerMessage m = SWARM__PEER_MESSAGE__INIT;
        Swarm__BlobsPlease please = SWARM__BLOBS_PLEASE__INIT;
        char *digests[] = {w->digest};

        w->of[2].is_cut = true;
        place(w);
        run_until(w, is_placed);
        w->of[2].is_cut = false;
        w->of[0].is_cut = true;
        please.digests = digests;
        please.n_digests = 1;
        m.kind_case = SWARM__PEER_MESSAGE__KIND_BLOBS_PLEASE;
        m.blobs_please = &please;
        copies_on_message(w->of[2].copies, 2, &m, now_ms(w));
        run_until(w, third_has);
        assert_int_equal(w->of[1].n_pieces, 3);
}

static void test_minority(void **state)
{
        struct world *w = *state;

        w->of[1].is_cut = w->of[2].is_cut = true;
        place(w);
        copies_run(w->of[0].copies, true, now_ms(w) + COPIES_STANDSTILL_MS / 2);
        assert_int_equal(w->of[0].n_placed, 0);
        copies_run(w->of[0].copies, true, now_ms(w) + COPIES_STANDSTILL_MS);
        assert_int_equal(w->of[0].placed.code, EAGAIN);
        assert_non_null(strstr(w->of[0].placed.text, "1 of the 3 managers can be reached"));
}

static void test_wrong_bytes(void **state)
{
        struct world *w = *state;

        w->is_corrupt = true;
        place(w);
        run_until(w, was_asked_again);
        assert_false(has(w, 1));
        assert_int_equal(w->of[0].n_placed, 0);
        w->of[1].is_cut = w->of[2].is_cut = true;
        w->ahead_ms = COPIES_STANDSTILL_MS * 2;
        run_until(w, is_placed);
        assert_int_equal(w->of[0].placed.code, ETIMEDOUT);
        assert_false(has(w, 1));
}

static void test_unasked(void **state)
{
        struct world *w = *state;
        Swarm__PeerMessage m = SWARM__PEER_MESSAGE__INIT;
        Swarm__BlobPiece piece = SWARM__BLOB_PIECE__INIT;

        digest_of("x", 1, w->digest);
        piece.digest = w->digest;
        piece.total = 1;
        piece.data = (ProtobufCBinaryData){1, (uint8_t *)"x"};
        m.kind_case = SWARM__PEER_MESSAGE__KIND_BLOB_PIECE;
        m.blob_piece = &piece;
        assert_true(copies_on_message(w->of[1].copies, 1, &m, now_ms(w)));
        _cleanup_free_ char *tmp = xasprintf("%s/tmp", w->of[1].path);
        assert_int_equal(rmdir(tmp), 0); /* nothing is being written */
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_placed_with_a_majority),
                TEST(test_next_peer),
                TEST(test_minority),
                TEST(test_wrong_bytes),
                TEST(test_unasked),
        };

        log_set_level(LOG_LEVEL_ERROR);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
