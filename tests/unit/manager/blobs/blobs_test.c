/* blobs: uploads in and out of sequence, reads, what an image may be made of, and what is deleted.
 */
#include "tests/lib/unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "manager/blobs/blobs.h"
#include "shared/base/io.h"
#include "shared/base/log.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/image/image.h"
#include "shared/model/model.h"

#define GUARD_MS 20000
#define ALICE    7
#define BOB      8
#define CONFIG   "{\"os\":\"linux\",\"architecture\":\"amd64\",\"rootfs\":{\"diff_ids\":[\"%s\"]}}"

#define LINK         9 /* the first connection of an agent */
#define ANSWERS_KEPT 4096

struct world {
        struct loop *loop;
        struct loop_timer *guard;
        char path[64];
        struct blobs *blobs;
        uint64_t number;
        int waiting;
        bool is_running;
        const char *used; /* the one digest that an image names; NULL: none */
        /* the last answer */
        uint64_t connection;
        uint32_t code;
        char error[ERR_TEXT_MAX];
        int64_t offset; /* -1: none */
        int64_t have[8];
        size_t n_have;
        struct buf data;
        uint64_t total;
        struct id node;
        uint64_t request;
        uint64_t receipts[ANSWERS_KEPT];
        size_t n_receipts; /* answers to agents so far */
        bool is_silent;    /* answers to agents are not waited for */
        int send_error;
};

static void one_less(struct world *w)
{
        if (--w->waiting == 0 && w->is_running) /* else it was answered in the call */
                loop_stop(w->loop);
}

static void take_data(struct world *w, const Swarm__BlobData *m)
{
        buf_clear(&w->data);
        if (m->data.len)
                buf_append(&w->data, m->data.data, m->data.len);
        w->total = m->total;
}

static void on_response(void *arg, uint64_t connection, const Swarm__Response *r)
{
        struct world *w = arg;

        w->connection = connection;
        w->code = r->code;
        snprintf(w->error, sizeof(w->error), "%s", r->error ? r->error : "");
        w->offset =
                r->kind_case == SWARM__RESPONSE__KIND_BLOB_OFFSET ? (int64_t)r->blob_offset : -1;
        if (r->kind_case == SWARM__RESPONSE__KIND_BLOB_STAT) {
                w->n_have = r->blob_stat->n_have_bytes;
                for (size_t i = 0; i < w->n_have; i++)
                        w->have[i] = r->blob_stat->have_bytes[i];
        }
        if (r->kind_case == SWARM__RESPONSE__KIND_BLOB_DATA)
                take_data(w, r->blob_data);
        one_less(w);
}

static int on_data(void *arg, struct id node, uint64_t connection, const Swarm__BlobData *m)
{
        struct world *w = arg;

        w->node = node;
        assert_true(connection > 0);
        w->request = m->request;
        w->receipts[w->n_receipts++ % ANSWERS_KEPT] = m->receipt;
        snprintf(w->error, sizeof(w->error), "%s", m->error);
        take_data(w, m);
        if (!w->is_silent)
                one_less(w);
        return w->send_error;
}

static bool is_used(void *arg, const char *digest)
{
        struct world *w = arg;

        return w->used && str_is_equal(w->used, digest);
}

static void on_guard(void *arg UNUSED)
{
        fprintf(stderr, "no answer within %d ms\n", GUARD_MS);
        abort();
}

static void open_blobs(struct world *w)
{
        struct err err = {0};
        struct blobs_config c = {.dir = w->path,
                                 .arg = w,
                                 .is_used = is_used,
                                 .on_response = on_response,
                                 .on_data = on_data};

        if (blobs_open(w->loop, &c, &w->blobs, &err) < 0)
                fail_msg("%s", err.text);
}

static int set_up(void **state)
{
        struct world *w = xnew(struct world);

        snprintf(w->path, sizeof(w->path), "/tmp/blobs-test-XXXXXX");
        assert_non_null(mkdtemp(w->path));
        w->loop = loop_new();
        w->guard = loop_timer_new(w->loop, on_guard, w);
        open_blobs(w);
        *state = w;
        return 0;
}

static int tear_down(void **state)
{
        struct world *w = *state;

        blobs_close(w->blobs);
        loop_timer_free(w->guard);
        loop_free(w->loop);
        buf_done(&w->data);
        umount2(w->path, MNT_DETACH);
        assert_int_equal(io_remove_tree(AT_FDCWD, w->path), 0);
        free(w);
        return 0;
}

static void wait_answers(struct world *w)
{
        loop_timer_set(w->guard, GUARD_MS);
        w->is_running = true;
        if (w->waiting > 0)
                loop_run(w->loop);
        w->is_running = false;
        loop_timer_clear(w->guard);
}

static void send_put(struct world *w, uint64_t from, const char *digest, uint64_t offset,
                     const char *p, size_t n, bool is_last)
{
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__BlobPut m = SWARM__BLOB_PUT__INIT;

        m.digest = (char *)digest;
        m.offset = offset;
        m.data.data = (uint8_t *)p;
        m.data.len = n;
        m.is_last = is_last;
        q.number = ++w->number;
        q.kind_case = SWARM__REQUEST__KIND_BLOB_PUT;
        q.blob_put = &m;
        w->waiting++;
        assert_true(blobs_on_request(w->blobs, from, &q));
}

static void put(struct world *w, uint64_t from, const char *digest, uint64_t offset, const char *s,
                bool is_last)
{
        send_put(w, from, digest, offset, s, strlen(s), is_last);
        wait_answers(w);
}

static int64_t stat_blob(struct world *w, const char *digest)
{
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__BlobStat m = SWARM__BLOB_STAT__INIT;
        char *digests[] = {(char *)digest};

        m.digests = digests;
        m.n_digests = 1;
        q.kind_case = SWARM__REQUEST__KIND_BLOB_STAT;
        q.blob_stat = &m;
        w->waiting++;
        assert_true(blobs_on_request(w->blobs, ALICE, &q));
        wait_answers(w);
        return w->n_have == 1 ? w->have[0] : -2;
}

static void upload(struct world *w, const char *text, char digest[DIGEST_TEXT_LEN + 1])
{
        digest_of(text, strlen(text), digest);
        put(w, ALICE, digest, 0, text, true);
        assert_string_equal(w->error, "");
        assert_int_equal(w->offset, strlen(text));
}

static void assert_refused(struct world *w, int code, const char *why)
{
        assert_int_equal(w->code, code);
        if (!strstr(w->error, why))
                fail_msg("\"%s\" is not in \"%s\"", why, w->error);
}

static size_t count_in(struct world *w, const char *folder)
{
        _cleanup_free_ char *path = xasprintf("%s/%s", w->path, folder);
        DIR *dir = opendir(path);
        struct dirent *e;
        size_t n = 0;

        while (dir && (e = readdir(dir)))
                n += e->d_name[0] != '.';
        if (dir)
                closedir(dir);
        return n;
}

static void test_upload_in_chunks(void **state)
{
        struct world *w = *state;
        char digest[DIGEST_TEXT_LEN + 1];

        digest_of("hello world", 11, digest);
        assert_int_equal(stat_blob(w, digest), 0);
        put(w, ALICE, digest, 0, "hello", false);
        assert_int_equal(w->offset, 5);
        assert_int_equal(stat_blob(w, digest), 5);
        assert_int_equal(count_in(w, "sha256"), 0);
        put(w, ALICE, digest, 5, " world", true);
        assert_int_equal(w->code, 0);
        assert_int_equal(w->offset, 11);
        assert_int_equal(stat_blob(w, digest), -1);
        assert_int_equal(count_in(w, "sha256"), 1);
        /* Brought again it is simply there. */
        put(w, BOB, digest, 0, "hello", false);
        assert_int_equal(w->code, 0);
        assert_int_equal(w->offset, 11);
        _cleanup_buf_ struct buf text = {0};
        assert_int_equal(blobs_read(w->blobs, digest, 100, &text), 0);
        assert_string_equal(buf_str(&text), "hello world");
        assert_int_equal(blobs_read(w->blobs, digest, 10, &text), -EFBIG);
        assert_int_equal(blobs_read(w->blobs, "../x", 10, &text), -EINVAL);
}

static void test_many_chunks_at_once(void **state)
{
        struct world *w = *state;
        size_t n = BLOB_CHUNK_MAX;
        char *p = xcalloc(1, n), digest[DIGEST_TEXT_LEN + 1];
        struct digest *d = digest_new();

        for (int i = 0; i < 8; i++)
                digest_update(d, p, n);
        digest_finish(d, digest);
        for (uint64_t i = 0; i < 8; i++)
                send_put(w, ALICE, digest, i * n, p, n, i == 7);
        wait_answers(w);
        assert_int_equal(w->code, 0);
        assert_int_equal(w->offset, 8 * n);
        assert_int_equal(stat_blob(w, digest), -1);
        free(p);
}

static void test_wrong_digest(void **state)
{
        struct world *w = *state;
        char digest[DIGEST_TEXT_LEN + 1];

        digest_of("right", 5, digest);
        put(w, ALICE, digest, 0, "wrong", true);
        assert_refused(w, EBADMSG, "what was uploaded has the digest sha256:");
        assert_int_equal(stat_blob(w, digest), 0); /* nothing is left */
        assert_int_equal(count_in(w, "sha256"), 0);
        put(w, ALICE, digest, 0, "right", true);
        assert_int_equal(w->code, 0);
}

static void test_out_of_sequence(void **state)
{
        struct world *w = *state;
        char digest[DIGEST_TEXT_LEN + 1];

        digest_of("abcdef", 6, digest);
        put(w, ALICE, digest, 3, "def", true);
        assert_refused(w, ESTALE, "stands at 0");
        assert_int_equal(w->offset, 0);
        put(w, ALICE, digest, 0, "abc", false);
        put(w, ALICE, digest, 2, "cd", false);
        assert_refused(w, ESTALE, "stands at 3");
        assert_int_equal(w->offset, 3);
        put(w, ALICE, digest, 0, "ab", false); /* anew */
        assert_int_equal(w->offset, 2);
        put(w, ALICE, digest, 2, "cdef", true);
        assert_int_equal(w->code, 0);
        assert_int_equal(stat_blob(w, digest), -1);
}

static void test_two_clients(void **state)
{
        struct world *w = *state;
        char digest[DIGEST_TEXT_LEN + 1];

        digest_of("abcdef", 6, digest);
        put(w, ALICE, digest, 0, "abc", false);
        put(w, BOB, digest, 0, "abc", false);
        assert_refused(w, EBUSY, "by another client");
        blobs_on_gone(w->blobs, ALICE);
        put(w, BOB, digest, 3, "def", true); /* goes on where she was */
        assert_int_equal(w->code, 0);
        assert_int_equal(w->connection, BOB);
        assert_int_equal(stat_blob(w, digest), -1);
}

static void test_bad_requests(void **state)
{
        struct world *w = *state;
        char digest[DIGEST_TEXT_LEN + 1];
        char *large = xcalloc(1, BLOB_CHUNK_MAX + 1);
        Swarm__Request other = SWARM__REQUEST__INIT;

        digest_of("x", 1, digest);
        put(w, ALICE, "sha256:../../../etc/passwd", 0, "x", true);
        assert_refused(w, EINVAL, "is no digest");
        put(w, ALICE, digest, 0, "", false);
        assert_refused(w, EINVAL, "without bytes");
        send_put(w, ALICE, digest, 0, large, BLOB_CHUNK_MAX + 1, true);
        wait_answers(w);
        assert_refused(w, EINVAL, "a chunk of more than");
        put(w, ALICE, digest, UINT64_MAX, "x", true);
        assert_refused(w, ESTALE, "stands at 0");
        w->n_have = 0;
        assert_int_equal(stat_blob(w, "nonsense"), -2);
        assert_refused(w, EINVAL, "is no digest");
        assert_int_equal(count_in(w, "tmp"), 0);
        other.kind_case = SWARM__REQUEST__KIND_INFO;
        assert_false(blobs_on_request(w->blobs, ALICE, &other));
        free(large);
}

static void get(struct world *w, const char *digest, uint64_t offset, uint32_t max_bytes)
{
        Swarm__BlobGet m = SWARM__BLOB_GET__INIT;

        m.request = 3;
        m.digest = (char *)digest;
        m.offset = offset;
        m.max_bytes = max_bytes;
        w->waiting++;
        blobs_on_get(w->blobs, (struct id){1, 2}, LINK, &m);
        wait_answers(w);
}

/* Asks without reading an answer. */
static void ask(struct world *w, uint64_t node, uint64_t connection, const char *digest,
                uint64_t offset)
{
        Swarm__BlobGet m = SWARM__BLOB_GET__INIT;

        m.request = ++w->number;
        m.digest = (char *)digest;
        m.offset = offset;
        m.max_bytes = 1;
        blobs_on_get(w->blobs, (struct id){1, node}, connection, &m);
}

/* A client's read and its answer. */
static void pass_by(struct world *w)
{
        char missing[DIGEST_TEXT_LEN + 1];
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__BlobGet m = SWARM__BLOB_GET__INIT;

        digest_of("nothing", 7, missing);
        m.digest = missing;
        q.kind_case = SWARM__REQUEST__KIND_BLOB_GET;
        q.blob_get = &m;
        w->waiting = 1;
        assert_true(blobs_on_request(w->blobs, BOB, &q));
        wait_answers(w);
}

/* So many answers to agents come, and no more. */
static void expect_answers(struct world *w, size_t n)
{
        while (w->n_receipts < n)
                pass_by(w);
        for (int i = 0; i < 16; i++)
                pass_by(w);
        assert_int_equal(w->n_receipts, n);
}

static void test_agents_must_acknowledge(void **state)
{
        struct world *w = *state;
        char digest[DIGEST_TEXT_LEN + 1];
        size_t limit = BLOB_NODE_ANSWERS;

        upload(w, "some bytes", digest);
        w->is_silent = true;
        for (int i = 0; i < 200; i++)
                ask(w, 1, LINK + (uint64_t)i % 2, digest, (uint64_t)i); /* on two connections */
        expect_answers(w, limit);
        ask(w, 2, LINK + 2, digest, 0); /* another node is not held up */
        expect_answers(w, limit + 1);
        blobs_on_ack(w->blobs, LINK, 12345); /* not a receipt */
        blobs_on_ack(w->blobs, LINK + 2, w->receipts[0]);
        ask(w, 1, LINK, digest, 0);
        expect_answers(w, limit + 1);
        blobs_on_gone(w->blobs, LINK + 1);
        for (int i = 0; i < 200; i++)
                ask(w, 1, LINK, digest, (uint64_t)i);
        expect_answers(w, limit + 1 + limit / 2);
        /* The newest one covers all before it. */
        blobs_on_ack(w->blobs, LINK, w->receipts[w->n_receipts - 1]);
        for (int i = 0; i < 200; i++)
                ask(w, 1, LINK, digest, (uint64_t)i);
        expect_answers(w, limit + 1 + limit / 2 + limit);
}

static void test_agents_wait_in_order(void **state)
{
        struct world *w = *state;
        char digest[DIGEST_TEXT_LEN + 1];

        upload(w, "some bytes", digest);
        w->is_silent = true;
        for (uint64_t i = 0; i < BLOB_ANSWERS_MAX; i++)
                ask(w, 1000 + i, 1000 + i, digest, 0);
        ask(w, 5, 5, digest, 0);
        ask(w, 6, 6, digest, 1);
        ask(w, 6, 6, digest, 1); /* anew: under this number from now on */
        uint64_t renewed = w->number;
        ask(w, 7, 7, digest, 0);
        expect_answers(w, BLOB_ANSWERS_MAX);
        blobs_on_gone(w->blobs, 5); /* one that waits */
        blobs_on_gone(w->blobs, 1000);
        expect_answers(w, BLOB_ANSWERS_MAX + 1);
        assert_int_equal(w->node.lo, 6);
        assert_int_equal(w->request, renewed);
        w->send_error = -EAGAIN; /* what could not be sent does not count */
        blobs_on_gone(w->blobs, 1001);
        ask(w, 8, 8, digest, 0);
        expect_answers(w, BLOB_ANSWERS_MAX + 3);
        ask(w, 9, 9, digest, 0); /* is being read when it goes */
        blobs_on_gone(w->blobs, 9);
        expect_answers(w, BLOB_ANSWERS_MAX + 3);
}

static void test_agents_read(void **state)
{
        struct world *w = *state;
        char digest[DIGEST_TEXT_LEN + 1], missing[DIGEST_TEXT_LEN + 1];

        upload(w, "some bytes", digest);
        digest_of("other", 5, missing);
        get(w, digest, 0, 4);
        assert_string_equal(w->error, "");
        assert_string_equal(buf_str(&w->data), "some");
        assert_int_equal(w->total, 10);
        assert_int_equal(w->node.lo, 2);
        get(w, digest, 5, UINT32_MAX);
        assert_string_equal(buf_str(&w->data), "bytes");
        get(w, digest, 11, 4);
        assert_int_not_equal(strlen(w->error), 0);
        get(w, missing, 0, 4);
        assert_non_null(strstr(w->error, "does not have it"));
        get(w, "../../x", 0, 4);
        assert_non_null(strstr(w->error, "is no digest"));
}

static void test_clients_read(void **state)
{
        struct world *w = *state;
        char digest[DIGEST_TEXT_LEN + 1];
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__BlobGet m = SWARM__BLOB_GET__INIT;

        upload(w, "some bytes", digest);
        m.digest = digest;
        q.kind_case = SWARM__REQUEST__KIND_BLOB_GET;
        q.blob_get = &m;
        w->waiting++;
        assert_true(blobs_on_request(w->blobs, BOB, &q));
        wait_answers(w);
        assert_int_equal(w->connection, BOB);
        assert_string_equal(buf_str(&w->data), "some bytes");
        digest[9] = digest[9] == '1' ? '2' : '1';
        w->waiting++;
        assert_true(blobs_on_request(w->blobs, BOB, &q));
        wait_answers(w);
        assert_refused(w, ENOENT, "does not have it");
}

/* --- images ---------------------------------------------------------------------------------- */
struct sample {
        char layer_digest[DIGEST_TEXT_LEN + 1], config_digest[DIGEST_TEXT_LEN + 1];
        Swarm__Layer layer, *layers[1];
        Swarm__Image image;
        Swarm__ImageCreate create;
};

static void make_sample(struct world *w, struct sample *s)
{
        upload(w, "layer", s->layer_digest);
        _cleanup_free_ char *config = xasprintf(CONFIG, s->layer_digest);
        upload(w, config, s->config_digest);
        swarm__layer__init(&s->layer);
        s->layer.digest = s->layer.diff_id = s->layer_digest;
        s->layer.size = 5;
        s->layers[0] = &s->layer;
        swarm__image__init(&s->image);
        s->image.id = s->config_digest;
        s->image.config_size = (int64_t)strlen(config);
        s->image.layers = s->layers;
        s->image.n_layers = 1;
        s->image.os = (char *)"linux";
        s->image.arch = (char *)"amd64";
        s->image.lacks_command = true;
        swarm__image_create__init(&s->create);
        s->create.name = (char *)"web:1";
        s->create.image = &s->image;
}

static void assert_check(struct world *w, struct sample *s, const char *why)
{
        struct err err = {0};
        int r = blobs_check_image(w->blobs, &s->create, &err);

        if (!why && r < 0)
                fail_msg("%s", err.text);
        if (why && (r >= 0 || !strstr(err.text, why)))
                fail_msg("\"%s\" is not in \"%s\"", why, err.text);
}

static void test_check_image(void **state)
{
        struct world *w = *state;
        struct sample s;

        make_sample(w, &s);
        assert_check(w, &s, NULL);
        s.create.name = (char *)"";
        assert_check(w, &s, NULL); /* only its id */
        s.create.name = (char *)"NOT valid";
        assert_check(w, &s, "image name");
        s.create.name = (char *)"web:1";
        s.layer.size = 6;
        assert_check(w, &s, "image web:1: layer: blob");
        s.layer.size = 5;
        s.image.arch = (char *)"arm64";
        assert_check(w, &s, "is for linux/amd64, not linux/arm64");
        s.image.arch = (char *)"amd64";
        s.image.lacks_command = false;
        assert_check(w, &s, "its config has no command");
        s.image.lacks_command = true;
        s.layer.diff_id = s.config_digest;
        assert_check(w, &s, "is not the one of its config");
        s.layer.diff_id = s.layer_digest;
        s.image.n_layers = 0;
        assert_check(w, &s, "has 0 layers");
        s.image.n_layers = 1;
        s.image.id = s.layer_digest;
        s.image.config_size = 5;
        assert_check(w, &s, "not JSON");
        s.image.id = (char *)"../../etc/passwd";
        assert_check(w, &s, "is no digest");
        s.layer_digest[20] ^= 1;
        s.create.image = NULL;
        assert_check(w, &s, "is missing");
}

static void test_missing_blob(void **state)
{
        struct world *w = *state;
        struct sample s;
        char digest[DIGEST_TEXT_LEN + 1];

        make_sample(w, &s);
        digest_of("not there", 9, digest);
        s.layer.digest = digest;
        assert_check(w, &s, "has not been uploaded");
}

static void test_release(void **state)
{
        struct world *w = *state;
        char digest[DIGEST_TEXT_LEN + 1];
        struct sample s;

        upload(w, "old", digest);
        w->used = digest;
        blobs_release(w->blobs, digest); /* another image has it */
        assert_int_equal(stat_blob(w, digest), -1);
        w->used = NULL;
        blobs_release(w->blobs, digest);
        assert_int_equal(stat_blob(w, digest), 0);
        blobs_release(w->blobs, "nonsense");
        /* Checked for an image that is on its way: it is pinned. */
        make_sample(w, &s);
        assert_check(w, &s, NULL);
        blobs_release(w->blobs, s.layer_digest);
        assert_int_equal(stat_blob(w, s.layer_digest), -1);
}

static void test_start_sweeps(void **state)
{
        struct world *w = *state;
        char kept[DIGEST_TEXT_LEN + 1], unused[DIGEST_TEXT_LEN + 1];

        upload(w, "kept", kept);
        upload(w, "unused", unused);
        put(w, ALICE, "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", 0,
            "half", false);
        blobs_close(w->blobs);
        w->used = kept;
        open_blobs(w);
        assert_int_equal(stat_blob(w, unused), -1); /* the state may be an old one yet */
        blobs_sweep(w->blobs);
        assert_int_equal(stat_blob(w, kept), -1);
        assert_int_equal(stat_blob(w, unused), 0);
        assert_int_equal(count_in(w, "sha256"), 1);
        assert_int_equal(
                stat_blob(
                        w,
                        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
                0);
}

static void test_full_disk(void **state)
{
        struct world *w = *state;
        size_t n = BLOB_CHUNK_MAX;
        char *p = xcalloc(1, n), digest[DIGEST_TEXT_LEN + 1];

        blobs_close(w->blobs);
        assert_int_equal(mount("none", w->path, "tmpfs", 0, "size=2m"), 0);
        open_blobs(w);
        digest_of("x", 1, digest);
        for (uint64_t i = 0; i < 3; i++)
                send_put(w, ALICE, digest, i * n, p, n, false);
        wait_answers(w);
        assert_refused(w, ENOSPC, "no space left on device");
        assert_int_equal(stat_blob(w, digest), 0);
        blobs_close(w->blobs);
        open_blobs(w);
        upload(w, "small", digest); /* there is room again */
        free(p);
}

/* The last of the room is the log's. */
static void test_room_is_left(void **state)
{
        struct world *w = *state;
        char *p = xcalloc(1, BLOB_CHUNK_MAX), digest[DIGEST_TEXT_LEN + 1];
        struct statvfs fs;

        blobs_close(w->blobs);
        assert_int_equal(mount("none", w->path, "tmpfs", 0, "size=15m"), 0);
        open_blobs(w);
        digest_of("x", 1, digest);
        for (uint64_t i = 0; i < 14; i++)
                send_put(w, ALICE, digest, i * BLOB_CHUNK_MAX, p, BLOB_CHUNK_MAX, false);
        wait_answers(w);
        assert_int_equal(stat_blob(w, digest), 14 * BLOB_CHUNK_MAX);
        send_put(w, ALICE, digest, 14ull * BLOB_CHUNK_MAX, p, BLOB_CHUNK_MAX / 4, false);
        wait_answers(w);
        assert_refused(w, ENOSPC, "no space left on device");
        assert_int_equal(statvfs(w->path, &fs), 0);
        assert_true(fs.f_bavail > 0);
        free(p);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_upload_in_chunks),
                TEST(test_many_chunks_at_once),
                TEST(test_wrong_digest),
                TEST(test_out_of_sequence),
                TEST(test_two_clients),
                TEST(test_bad_requests),
                TEST(test_agents_read),
                TEST(test_clients_read),
                TEST(test_agents_must_acknowledge),
                TEST(test_agents_wait_in_order),
                TEST(test_check_image),
                TEST(test_missing_blob),
                TEST(test_release),
                TEST(test_start_sweeps),
                TEST(test_full_disk),
                TEST(test_room_is_left),
        };

        log_set_level(LOG_LEVEL_ERROR);
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
                perror("mount namespace"); /* test_full_disk's mount must not be seen outside */
                return 1;
        }
        return cmocka_run_group_tests(tests, NULL, NULL);
}
