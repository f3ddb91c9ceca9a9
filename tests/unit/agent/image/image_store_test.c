/*
 * image_store: a node gets images from a manager that this test plays, message by message, with
 * what can go wrong on the way. The unpacker is the real one.
 */
#include "tests/lib/unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/image/image_store.h"
#include "agent/unpack/unpack.h"
#include "shared/base/io.h"
#include "shared/base/list.h"
#include "shared/base/log.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/base/time.h"
#include "shared/wire/wire.h"
#include "tests/lib/tar.h"

#define BLOBS_MAX  16
#define GUARD_MS   20000
#define SMALL_DISK "size=4m"

struct blob {
        char digest[DIGEST_TEXT_LEN + 1];
        struct buf bytes;
};

/* One BlobGet on its way. */
struct request {
        struct list link;
        Swarm__BlobGet *m;
};

struct world {
        struct loop *loop;
        struct loop_timer *deliver, *guard;
        char path[64];
        struct image_store *store;
        struct list requests;
        struct blob blobs[BLOBS_MAX];
        size_t n_blobs;
        int n_gets, lose; /* messages seen; how many of the next are lost */
        size_t short_by;  /* answers are so much shorter than asked */
        int waiting;
        int turns;             /* of the loop, until it stops */
        struct image_ref *ref; /* of the last answer */
        struct err err;
};

static char *unpack_path;

/* --- the manager ---------------------------------------------------------------------------- */
static const char *add_blob(struct world *w, const void *p, size_t n)
{
        struct blob *b = &w->blobs[w->n_blobs++];

        assert_true(w->n_blobs <= BLOBS_MAX);
        digest_of(p, n, b->digest);
        buf_append(&b->bytes, p, n);
        return b->digest;
}

static struct blob *find_blob(struct world *w, const char *digest)
{
        for (size_t i = 0; i < w->n_blobs; i++)
                if (str_is_equal(w->blobs[i].digest, digest))
                        return &w->blobs[i];
        return NULL;
}

static void on_fetch(void *arg, const Swarm__BlobGet *m)
{
        struct world *w = arg;
        struct request *r = xnew(struct request);

        w->n_gets++;
        r->m = wire_dup(m);
        list_push_back(&w->requests, &r->link);
        loop_timer_set(w->deliver, 0);
}

static void reply(struct world *w, const Swarm__BlobGet *m)
{
        struct blob *b = find_blob(w, m->digest);
        Swarm__BlobData d = SWARM__BLOB_DATA__INIT;

        d.request = m->request;
        d.offset = m->offset;
        char text[128];
        if (!b) { /* as a manager says it */
                snprintf(text, sizeof(text), "blob %.19s: no such blob", m->digest);
                d.error = text;
        } else {
                size_t n = MIN(b->bytes.len - (size_t)m->offset, (size_t)m->max_bytes);

                d.total = b->bytes.len;
                d.data.data = b->bytes.data + m->offset;
                d.data.len = n > w->short_by ? n - w->short_by : n;
        }
        image_store_on_blob_data(w->store, &d);
}

static void deliver(void *arg)
{
        struct world *w = arg;
        struct list batch, *l;

        list_init(&batch);
        list_splice_back(&batch, &w->requests);
        while ((l = list_pop_front(&batch))) {
                struct request *r = LIST_ITEM(l, struct request, link);

                if (w->lose > 0)
                        w->lose--;
                else if (w->store)
                        reply(w, r->m);
                wire_free(r->m);
                free(r);
        }
}

/* --- the world ------------------------------------------------------------------------------ */
static void on_guard(void *arg UNUSED)
{
        fprintf(stderr, "no answer within %d ms\n", GUARD_MS);
        abort();
}

static void open_store(struct world *w)
{
        struct image_store_config c = {
                .dir = w->path, .unpack_path = unpack_path, .arg = w, .fetch = on_fetch};

        if (image_store_open(w->loop, &c, &w->store, &w->err) < 0)
                fail_msg("%s", w->err.text);
}

static void open_swept_store(struct world *w)
{
        open_store(w);
        image_store_sweep(w->store);
}

static int set_up(void **state)
{
        struct world *w = xnew(struct world);

        snprintf(w->path, sizeof(w->path), "/tmp/store-test-XXXXXX");
        assert_non_null(mkdtemp(w->path));
        w->loop = loop_new();
        w->deliver = loop_timer_new(w->loop, deliver, w);
        w->guard = loop_timer_new(w->loop, on_guard, w);
        list_init(&w->requests);
        open_swept_store(w);
        *state = w;
        return 0;
}

static void close_store(struct world *w)
{
        struct image_store *s = w->store;

        image_ref_release(w->ref);
        w->ref = NULL;
        image_store_close(s);
        w->store = NULL;
}

static int tear_down(void **state)
{
        struct world *w = *state;

        if (w->store)
                close_store(w);
        deliver(w);
        loop_timer_free(w->deliver);
        loop_timer_free(w->guard);
        loop_free(w->loop); /* waits for what runs in the background */
        for (size_t i = 0; i < w->n_blobs; i++)
                buf_done(&w->blobs[i].bytes);
        umount2(w->path, MNT_DETACH);
        assert_int_equal(io_remove_tree(AT_FDCWD, w->path), 0);
        free(w);
        return 0;
}

/* An image of the given tars, which are blobs as they are; its config is a blob too. */
static Swarm__Image *make_image(struct world *w, struct buf *tars, size_t n)
{
        _cleanup_buf_ struct buf json = {0};
        Swarm__Image m = SWARM__IMAGE__INIT;
        Swarm__Layer layers[8], *pointers[8];

        buf_puts(&json, "{\"os\":\"linux\",\"config\":{\"Cmd\":[\"/bin/x\"]},"
                        "\"rootfs\":{\"diff_ids\":[");
        for (size_t i = 0; i < n; i++) {
                swarm__layer__init(&layers[i]);
                layers[i].digest = layers[i].diff_id =
                        (char *)add_blob(w, tars[i].data, tars[i].len);
                layers[i].size = (int64_t)tars[i].len;
                pointers[i] = &layers[i];
                buf_printf(&json, "%s\"%s\"", i ? "," : "", layers[i].diff_id);
        }
        buf_puts(&json, "]}}");
        m.id = (char *)add_blob(w, json.data, json.len);
        m.config_size = (int64_t)json.len;
        m.layers = pointers;
        m.n_layers = n;
        image_store_learn(w->store, &m);
        return wire_dup(&m);
}

/* A tar with one file of that name and content, and another of zeros that makes it large. */
static void make_tar(struct buf *tar, const char *name, const char *text, size_t zeros)
{
        char *p = xcalloc(1, zeros + 1);

        tar_file(tar, name, text);
        if (zeros)
                tar_add(tar,
                        &(struct tar_entry){
                                .name = "zeros", .type = '0', .mode = 0644, .data = p, .n = zeros});
        tar_end(tar);
        free(p);
}

static Swarm__Image *make_small_image(struct world *w, const char *text, size_t zeros)
{
        struct buf tar = {0};

        make_tar(&tar, "file", text, zeros);
        Swarm__Image *m = make_image(w, &tar, 1);
        buf_done(&tar);
        return m;
}

static void on_answer(void *arg, struct image_ref *ref, const struct err *err)
{
        struct world *w = arg;

        image_ref_release(w->ref);
        w->ref = ref;
        memset(&w->err, 0, sizeof(w->err));
        if (err)
                w->err = *err;
        if (--w->waiting == 0)
                loop_stop(w->loop);
}

static void wait_answers(struct world *w)
{
        loop_timer_set(w->guard, GUARD_MS);
        loop_run(w->loop);
        loop_timer_clear(w->guard);
        assert_int_equal(w->waiting, 0);
}

static void ask(struct world *w, const char *id)
{
        w->waiting++;
        image_ask(w->store, id, on_answer, w);
}

static void get(struct world *w, const char *id)
{
        ask(w, id);
        assert_int_equal(w->waiting, 1); /* never inside the call */
        wait_answers(w);
}

static void assert_got(struct world *w)
{
        if (w->err.code || !w->ref)
                fail_msg("%s", w->err.text);
}

static void assert_failed(struct world *w, const char *why)
{
        assert_null(w->ref);
        if (!strstr(w->err.text, why))
                fail_msg("\"%s\" is not in \"%s\"", why, w->err.text);
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

static void assert_layer_file(struct world *w, size_t layer, const char *name, const char *want)
{
        _cleanup_free_ char *path = xasprintf("%s/%s", image_ref_layers(w->ref)[layer], name);
        _cleanup_buf_ struct buf text = {0};

        assert_int_equal(io_read_file(AT_FDCWD, path, 1 << 20, &text), 0);
        assert_string_equal(buf_str(&text), want);
}

/* --- tests ------------------------------------------------------------------------------------ */
static void test_get_an_image(void **state)
{
        struct world *w = *state;
        Swarm__Image *m = make_small_image(w, "hello", 3 << 20); /* more than one window */
        struct stat st;

        get(w, m->id);
        assert_got(w);
        assert_string_equal(image_ref_config(w->ref)->cmd[0], "/bin/x");
        assert_non_null(image_ref_layers(w->ref)[0]);
        assert_null(image_ref_layers(w->ref)[1]);
        assert_layer_file(w, 0, "file", "hello");
        assert_int_equal(count_in(w, "tmp"), 0);
        assert_int_equal(stat(image_ref_layers(w->ref)[0], &st), 0);
        assert_int_equal(st.st_mode & 07777, 0755);
        assert_int_equal(stat(w->path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0700);
        /* A second time nothing is fetched. */
        int gets = w->n_gets;
        get(w, m->id);
        assert_got(w);
        assert_int_equal(w->n_gets, gets);
        wire_free(m);
}

static void test_layers_are_shared(void **state)
{
        struct world *w = *state;
        struct buf tars[3] = {{0}};

        make_tar(&tars[0], "base", "b", 0);
        make_tar(&tars[1], "one", "1", 0);
        make_tar(&tars[2], "two", "2", 0);
        Swarm__Image *one = make_image(w, tars, 2);
        struct buf again[4] = {tars[0], tars[2], tars[0], tars[2]};
        Swarm__Image *two = make_image(w, again, 4);

        /* At the same time, several asks of each. */
        for (int i = 0; i < 3; i++) {
                ask(w, one->id);
                ask(w, two->id);
        }
        wait_answers(w);
        assert_got(w);
        assert_int_equal(count_in(w, "layers"), 3);
        assert_int_equal(w->n_gets, 5); /* 2 configs, 3 layers */
        get(w, two->id);
        assert_got(w);
        assert_layer_file(w, 0, "base", "b"); /* each folder once, where it is uppermost */
        assert_layer_file(w, 1, "two", "2");
        assert_null(image_ref_layers(w->ref)[2]);
        for (size_t i = 0; i < 3; i++)
                buf_done(&tars[i]);
        wire_free(one);
        wire_free(two);
}

static void test_lost_and_short_answers(void **state)
{
        struct world *w = *state;
        Swarm__Image *m = make_small_image(w, "hello", 2 << 20);

        w->short_by = 1000;
        get(w, m->id);
        assert_got(w);
        wire_free(m);
        m = make_small_image(w, "other", 2 << 20);
        w->lose = 3;
        ask(w, m->id);
        wait_answers(w); /* asked again after IMAGE_FETCH_RETRY_MS */
        assert_got(w);
        assert_layer_file(w, 0, "file", "other");
        wire_free(m);
}

static void on_new_session(void *arg)
{
        struct world *w = arg;

        w->lose = 0;
        image_store_on_session(w->store);
}

static void test_a_new_session_asks_again(void **state)
{
        struct world *w = *state;
        Swarm__Image *m = make_small_image(w, "hello", 0);
        struct loop_timer *t = loop_timer_new(w->loop, on_new_session, w);

        w->lose = 1000;
        ask(w, m->id);
        loop_timer_set(t, 50);
        int64_t start = time_mono_us();
        wait_answers(w);
        assert_got(w);
        assert_true(time_mono_us() - start < IMAGE_FETCH_RETRY_MS * 1000);
        loop_timer_free(t);
        wire_free(m);
}

static void test_unknown(void **state)
{
        struct world *w = *state;

        get(w, "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_failed(w, "is not here, and the manager has it no more");
        get(w, "");
        assert_failed(w, "no image id");
        get(w, "../../etc/passwd");
        assert_failed(w, "no image id");
}

static void test_manager_lacks_a_blob(void **state)
{
        struct world *w = *state;
        Swarm__Image *m = make_small_image(w, "hello", 0);

        w->blobs[0].digest[10] ^= 1; /* the layer */
        get(w, m->id);
        assert_failed(w, "no such blob");
        const char *blob = strstr(w->err.text, "blob sha256:"); /* named once */
        assert_non_null(blob);
        assert_null(strstr(blob + 1, "blob sha256:"));
        assert_int_equal(count_in(w, "tmp"), 0);
        assert_int_equal(count_in(w, "images"), 0);
        /* Once the manager has it, the next ask succeeds. */
        w->blobs[0].digest[10] ^= 1;
        get(w, m->id);
        assert_got(w);
        wire_free(m);
}

static void test_wrong_bytes(void **state)
{
        struct world *w = *state;
        Swarm__Image *m = make_small_image(w, "hello", 0);

        w->blobs[0].bytes.data[600] ^= 1;
        get(w, m->id);
        assert_failed(w, "another digest");
        w->blobs[0].bytes.data[600] ^= 1;
        w->blobs[1].bytes.data[3] ^= 1; /* the config */
        get(w, m->id);
        assert_failed(w, "another digest");
        w->blobs[1].bytes.data[3] ^= 1;
        w->blobs[0].bytes.len--;
        get(w, m->id);
        assert_failed(w, "does not fit");
        assert_int_equal(count_in(w, "tmp"), 0);
        assert_int_equal(count_in(w, "layers"), 0);
        wire_free(m);
}

static void test_hostile_layer(void **state)
{
        struct world *w = *state;
        struct buf tar = {0};

        tar_link(&tar, "a", "/tmp");
        tar_file(&tar, "a/b", "bad");
        tar_end(&tar);
        Swarm__Image *m = make_image(w, &tar, 1);
        get(w, m->id);
        assert_failed(w, "a/b: leads through a");
        assert_true(str_has_prefix(w->err.text, "image sha256:"));
        assert_int_equal(count_in(w, "layers"), 0);
        assert_int_equal(count_in(w, "images"), 0);
        buf_done(&tar);
        wire_free(m);
}

static void test_config_of_other_layers(void **state)
{
        struct world *w = *state;
        struct buf tar = {0}, other = {0};

        make_tar(&tar, "a", "1", 0);
        make_tar(&other, "a", "2", 0);
        Swarm__Image *m = make_image(w, &tar, 1), *n = make_image(w, &other, 1);
        /* The config of one image with the layers of the other, under a third id. */
        _cleanup_buf_ struct buf json = {0};
        struct blob *b = find_blob(w, m->id);
        buf_append(&json, b->bytes.data, b->bytes.len);
        buf_puts(&json, " ");
        free(n->id);
        n->id = xstrdup(add_blob(w, json.data, json.len));
        n->config_size = (int64_t)json.len;
        image_store_learn(w->store, n);
        get(w, n->id);
        assert_failed(w, "its config names other layers");
        buf_done(&tar);
        buf_done(&other);
        wire_free(m);
        wire_free(n);
}

static void test_restart(void **state)
{
        struct world *w = *state;
        Swarm__Image *m = make_small_image(w, "hello", 0);
        Swarm__Image *gone = make_small_image(w, "gone", 0);
        _cleanup_free_ char *half = xasprintf("%s/tmp/half/deep", w->path);
        _cleanup_free_ char *orphan =
                xasprintf("%s/layers/%s", w->path, digest_hex(m->id)); /* no layer of an image */

        get(w, gone->id);
        _cleanup_free_ char *lost = xstrdup(image_ref_layers(w->ref)[0]);
        get(w, m->id);
        close_store(w);
        assert_int_equal(io_mkdir_all(half, 0700), 0);
        assert_int_equal(mkdir(orphan, 0700), 0);
        assert_int_equal(io_remove_tree(AT_FDCWD, lost), 0);
        open_swept_store(w);
        assert_int_equal(count_in(w, "layers"), 1);
        struct image_ref *r = image_ref_get(w->store, m->id);
        assert_non_null(r);
        image_ref_release(r);
        assert_null(image_ref_get(w->store, gone->id));
        int gets = w->n_gets;
        get(w, m->id);
        assert_got(w);
        assert_layer_file(w, 0, "file", "hello");
        assert_int_equal(w->n_gets, gets);
        wire_free(m);
        wire_free(gone);
}

static void test_prune_keeps_what_is_used(void **state)
{
        struct world *w = *state;
        Swarm__Image *m = make_small_image(w, "used", 0), *n = make_small_image(w, "idle", 0);

        get(w, n->id);
        get(w, m->id); /* releases the ref of n */
        image_store_prune(w->store);
        assert_int_equal(count_in(w, "layers"), 1);
        assert_int_equal(count_in(w, "images"), 1);
        assert_layer_file(w, 0, "file", "used");
        get(w, n->id); /* it can be had again */
        assert_got(w);
        wire_free(m);
        wire_free(n);
}

/* A container stands on its layers whatever has become of the record of its image. */
static void test_held_layers_stay(void **state)
{
        struct world *w = *state;
        Swarm__Image *m = make_small_image(w, "used", 0), *n = make_small_image(w, "idle", 0);
        _cleanup_free_ char *record = xasprintf("%s/images/%s", w->path, digest_hex(m->id));

        get(w, n->id);
        get(w, m->id);
        char *folders[] = {xstrdup(image_ref_layers(w->ref)[0]), (char[]){"/else/where"}, NULL};
        for (int all = 0; all <= 1; all++) {
                close_store(w);
                assert_int_equal(truncate(record, 1), 0);
                open_store(w);
                image_store_prune(w->store); /* too early: nothing */
                assert_int_equal(count_in(w, "layers"), 2);
                struct layers_hold *h = layers_hold_new(w->store, all ? NULL : folders);
                image_store_sweep(w->store);
                image_store_prune(w->store);
                assert_int_equal(count_in(w, "layers"), all ? 2 : 1);
                assert_int_equal(access(folders[0], F_OK), 0);
                image_store_learn(w->store, m);
                image_store_learn(w->store, n);
                get(w, m->id); /* it stands for the image, too */
                assert_got(w);
                assert_layer_file(w, 0, "file", "used");
                layers_hold_free(h);
                get(w, n->id);
        }
        image_store_prune(w->store);
        assert_int_equal(count_in(w, "layers"), 1);
        free(folders[0]);
        wire_free(m);
        wire_free(n);
}

static void test_cancel(void **state)
{
        struct world *w = *state;
        Swarm__Image *m = make_small_image(w, "hello", 0);
        struct image_ask *a = image_ask(w->store, m->id, on_answer, w);

        image_ask_cancel(a); /* on_answer would stop the loop with waiting -1 */
        get(w, m->id);
        assert_got(w);
        a = image_ask(w->store, m->id, on_answer, w); /* decided already */
        image_ask_cancel(a);
        get(w, m->id);
        assert_got(w);
        wire_free(m);
}

static bool count_turn(void *arg)
{
        struct world *w = arg;

        if (--w->turns == 0)
                loop_stop(w->loop);
        return false;
}

/* A layer whose file cannot be made: told, and not to a store that was closed meanwhile. */
static void test_no_file_for_a_layer(void **state)
{
        struct world *w = *state;
        Swarm__Image *m = make_small_image(w, "hello", 0);
        _cleanup_free_ char *blob =
                xasprintf("%s/tmp/%s.blob", w->path, digest_hex(m->layers[0]->diff_id));

        assert_int_equal(io_mkdir_all(blob, 0700), 0);
        get(w, m->id);
        assert_int_equal(w->err.code, EISDIR);
        assert_non_null(strstr(w->err.text, "make a file for it"));
        /* After the first, second, third ... turn of the loop, until it is told. */
        struct loop_hook *h = loop_hook_new(w->loop, count_turn, NULL, w);

        w->waiting = 1;
        for (int turns = 1; w->waiting > 0; turns++) {
                close_store(w);
                open_store(w);
                image_store_learn(w->store, m);
                assert_int_equal(io_mkdir_all(blob, 0700), 0); /* opening had emptied it */
                w->waiting = 1;
                image_ask(w->store, m->id, on_answer, w);
                for (w->turns = turns; w->turns > 0 && w->waiting > 0;)
                        loop_run(w->loop);
        }
        loop_hook_free(h);
        wire_free(m);
}

static void test_full_disk(void **state)
{
        struct world *w = *state;

        close_store(w);
        assert_int_equal(mount("none", w->path, "tmpfs", 0, SMALL_DISK), 0);
        open_swept_store(w);
        Swarm__Image *idle = make_small_image(w, "idle", 1 << 20);
        Swarm__Image *big = make_small_image(w, "big", 3 << 20);
        get(w, idle->id);
        assert_got(w);
        image_ref_release(w->ref);
        w->ref = NULL;
        get(w, big->id);
        assert_failed(w, "no space left on device");
        assert_int_equal(count_in(w, "images"), 0); /* what nobody used made room */
        assert_int_equal(count_in(w, "layers"), 0);
        wire_free(idle);
        wire_free(big);
}

/* What the unpacker cannot do any more once it is locked in. Runs in a child. */
static int try_to_break_out(int target)
{
        struct err err = {0};
        char *argv[] = {"/bin/true", NULL};
        int root = unpack_lock_in(target, 1 << 20, &err);

        if (root < 0) {
                fprintf(stderr, "%s\n", err.text);
                return 1;
        }
        if (execve(argv[0], argv, argv) == 0 || errno != EPERM)
                return 2;
        if (socket(AF_UNIX, SOCK_STREAM, 0) >= 0 || errno != EPERM)
                return 3;
        if (mount("none", "/", "tmpfs", 0, NULL) == 0 || chroot("/") == 0 || fork() >= 0)
                return 4;
        if (openat(AT_FDCWD, "/etc/passwd", O_RDONLY | O_CLOEXEC) >= 0 || errno != ENOENT)
                return 5;
        if (openat(root, "../../../../etc/passwd", O_RDONLY | O_CLOEXEC) >= 0)
                return 6;
        if (mknodat(root, "disk", S_IFBLK | 0600, makedev(8, 0)) == 0)
                return 7;
        return openat(root, "ok", O_WRONLY | O_CREAT | O_CLOEXEC, 0600) < 0 ? 8 : 0;
}

static void test_unpacker_is_locked_in(void **state)
{
        struct world *w = *state;
        _cleanup_close_ int target = open(w->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int status;
        pid_t pid = fork();

        if (pid == 0)
                _exit(try_to_break_out(target));
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
        assert_int_equal(faccessat(target, "ok", F_OK, 0), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_get_an_image),
                TEST(test_layers_are_shared),
                TEST(test_lost_and_short_answers),
                TEST(test_a_new_session_asks_again),
                TEST(test_unknown),
                TEST(test_manager_lacks_a_blob),
                TEST(test_wrong_bytes),
                TEST(test_hostile_layer),
                TEST(test_config_of_other_layers),
                TEST(test_restart),
                TEST(test_prune_keeps_what_is_used),
                TEST(test_held_layers_stay),
                TEST(test_cancel),
                TEST(test_no_file_for_a_layer),
                TEST(test_full_disk),
                TEST(test_unpacker_is_locked_in),
        };

        unpack_path = xasprintf("%s/swarm-unpack", getenv("BUILD") ? getenv("BUILD") : "build");
        log_set_level(LOG_LEVEL_ERROR);
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
                perror("mount namespace"); /* test_full_disk's mount must not be seen outside */
                return 1;
        }
        return cmocka_run_group_tests(tests, NULL, NULL);
}
