/* layer: what unpacking makes of good layers, and its verdict on each kind of hostile one. */
#include "tests/lib/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "shared/base/io.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/image/image.h"
#include "shared/image/layer.h"
#include "tests/lib/tar.h"

#define CANARY    "must stay as it is"
#define BYTES_MAX (256 << 20)

/* A folder with root/ (the target) and, beside it, what no layer may touch. */
struct world {
        char path[64];
        int fd, root;
        struct buf tar;
        struct err err;
        struct layer_result result;
};

static int set_up(void **state)
{
        struct world *w = xnew(struct world);

        snprintf(w->path, sizeof(w->path), "/tmp/layer-test-XXXXXX");
        assert_non_null(mkdtemp(w->path));
        w->fd = open(w->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_int_equal(mkdirat(w->fd, "root", 0755), 0);
        assert_int_equal(mkdirat(w->fd, "out", 0755), 0);
        assert_int_equal(io_write_file_atomic(w->fd, "out/canary", CANARY, strlen(CANARY), 0600),
                         0);
        w->root = openat(w->fd, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        *state = w;
        return 0;
}

/* Every test ends with the world outside of the target as it was. */
static int tear_down(void **state)
{
        struct world *w = *state;
        _cleanup_buf_ struct buf text = {0};
        struct stat st;

        assert_int_equal(io_read_file(w->fd, "out/canary", 100, &text), 0);
        assert_string_equal(buf_str(&text), CANARY);
        assert_int_equal(fstatat(w->fd, "out/canary", &st, 0), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        assert_int_equal(st.st_nlink, 1);
        assert_int_equal(unlinkat(w->fd, "out/canary", 0), 0);
        assert_int_equal(unlinkat(w->fd, "out", AT_REMOVEDIR), 0); /* nothing came into it */
        assert_int_equal(io_remove_tree(w->fd, "root"), 0);
        assert_int_equal(rmdir(w->path), 0);
        close(w->root);
        close(w->fd);
        buf_done(&w->tar);
        free(w);
        return 0;
}

static int unpack_bytes(struct world *w, const void *p, size_t n, const char *diff_id)
{
        _cleanup_close_ int fd = test_memfd(p, n);

        memset(&w->err, 0, sizeof(w->err));
        return layer_unpack(fd, w->root, diff_id, BYTES_MAX, &w->result, &w->err);
}

/* Ends the tar, unpacks it, and begins a new one. */
static int unpack(struct world *w)
{
        tar_end(&w->tar);
        int r = unpack_bytes(w, w->tar.data, w->tar.len, NULL);
        buf_clear(&w->tar);
        return r;
}

static void assert_unpacks(struct world *w)
{
        if (unpack(w) != 0)
                fail_msg("refused: %s", w->err.text);
}

static void assert_refused(struct world *w, const char *why)
{
        assert_true(unpack(w) < 0);
        assert_int_not_equal(w->err.code, 0);
        if (!strstr(w->err.text, why))
                fail_msg("\"%s\" is not in \"%s\"", why, w->err.text);
}

static void assert_content(struct world *w, const char *path, const char *want)
{
        _cleanup_buf_ struct buf text = {0};

        assert_int_equal(io_read_file(w->root, path, 1 << 20, &text), 0);
        assert_string_equal(buf_str(&text), want);
}

static mode_t mode_of(struct world *w, const char *path)
{
        struct stat st;

        return fstatat(w->root, path, &st, AT_SYMLINK_NOFOLLOW) == 0 ? st.st_mode : 0;
}

static bool is_whiteout(struct world *w, const char *path)
{
        struct stat st;

        return fstatat(w->root, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISCHR(st.st_mode) &&
               st.st_rdev == makedev(0, 0);
}

static bool is_opaque(struct world *w, const char *path)
{
        _cleanup_close_ int fd = openat(w->root, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        char value = 0;

        assert_true(fd >= 0);
        return fgetxattr(fd, "trusted.overlay.opaque", &value, 1) == 1 && value == 'y';
}

static void test_ordinary_layer(void **state)
{
        struct world *w = *state;
        struct stat st;
        char target[32] = "";

        tar_add(&w->tar, &(struct tar_entry){.name = "./", .type = '5', .mode = 0751});
        tar_add(&w->tar, &(struct tar_entry){.name = "bin/",
                                             .type = '5',
                                             .mode = 0705,
                                             .uid = 3,
                                             .gid = 4,
                                             .mtime = 1000000});
        tar_add(&w->tar, &(struct tar_entry){.name = "bin/su",
                                             .type = '0',
                                             .mode = 04755,
                                             .uid = 7,
                                             .gid = 8,
                                             .mtime = 1234567,
                                             .data = "x",
                                             .n = 1});
        tar_hardlink(&w->tar, "bin/su2", "bin/su");
        tar_link(&w->tar, "bin/sh", "/bin/su");
        tar_add(&w->tar, &(struct tar_entry){.name = "run/pipe", .type = '6', .mode = 0622});
        tar_file(&w->tar, "/etc/hosts", "localhost\n");
        assert_unpacks(w);
        assert_int_equal(w->result.entries, 7);
        assert_int_equal(w->result.bytes, 11);
        assert_int_equal(mode_of(w, "."), S_IFDIR | 0751);
        assert_int_equal(mode_of(w, "bin/su"), S_IFREG | 04755);
        assert_int_equal(mode_of(w, "run/pipe"), S_IFIFO | 0622);
        assert_content(w, "etc/hosts", "localhost\n");
        assert_int_equal(fstatat(w->root, "bin/su2", &st, 0), 0);
        assert_int_equal(st.st_nlink, 2);
        assert_int_equal(st.st_uid, 7);
        assert_int_equal(st.st_gid, 8);
        assert_int_equal(st.st_mtime, 1234567);
        assert_int_equal(fstatat(w->root, "bin", &st, 0), 0);
        assert_int_equal(st.st_uid, 3);
        assert_int_equal(st.st_mtime, 1000000); /* though files were made in it afterwards */
        assert_int_equal(readlinkat(w->root, "bin/sh", target, sizeof(target) - 1), 7);
        assert_string_equal(target, "/bin/su");
}

static void test_compressed_and_checked(void **state)
{
        static const char *const how[] = {"gzip", "zstd"};
        struct world *w = *state;
        _cleanup_buf_ struct buf packed = {0};
        char digest[DIGEST_TEXT_LEN + 1];

        tar_file(&w->tar, "a", "text");
        tar_end(&w->tar);
        digest_of(w->tar.data, w->tar.len, digest);
        for (size_t i = 0; i < ARRAY_SIZE(how); i++) {
                buf_clear(&packed);
                test_compress(how[i], w->tar.data, w->tar.len, &packed);
                assert_true(packed.len < w->tar.len);
                assert_int_equal(unpack_bytes(w, packed.data, packed.len, digest), 0);
                assert_content(w, "a", "text");
                /* Cut anywhere, it is refused. */
                for (size_t n = 0; n + 1 < packed.len; n += 7)
                        assert_true(unpack_bytes(w, packed.data, n, digest) < 0);
        }
        digest[20] = digest[20] == 'a' ? 'b' : 'a';
        assert_true(unpack_bytes(w, packed.data, packed.len, digest) < 0);
        assert_non_null(strstr(w->err.text, "wrong content"));
}

static void test_trailing_bytes_count_for_the_digest(void **state)
{
        struct world *w = *state;
        char digest[DIGEST_TEXT_LEN + 1];

        tar_file(&w->tar, "a", "text");
        tar_end(&w->tar);
        digest_of(w->tar.data, w->tar.len, digest);
        buf_append(&w->tar, "hidden", 6);
        assert_true(unpack_bytes(w, w->tar.data, w->tar.len, digest) < 0);
        assert_non_null(strstr(w->err.text, "wrong content"));
}

static void test_not_a_tar(void **state)
{
        struct world *w = *state;
        uint8_t noise[4096];

        memset(noise, 0xa5, sizeof(noise));
        assert_true(unpack_bytes(w, noise, sizeof(noise), NULL) < 0);
        assert_non_null(strstr(w->err.text, "damaged"));
        assert_true(unpack_bytes(w, NULL, 0, NULL) < 0);
        tar_file(&w->tar, "a", "text");
        assert_true(unpack_bytes(w, w->tar.data, 514, NULL) < 0); /* in the file's bytes */
        w->tar.data[0] ^= 1;                                      /* the header's sum is wrong */
        assert_true(unpack_bytes(w, w->tar.data, w->tar.len, NULL) < 0);
}

/* As some tools write them: the last file's block is not filled up, and nothing ends the tar. */
static void test_tar_that_ends_with_data(void **state)
{
        struct world *w = *state;

        tar_file(&w->tar, "a", "text");
        w->tar.len = 512 + 4;
        assert_int_equal(unpack_bytes(w, w->tar.data, w->tar.len, NULL), 0);
        assert_content(w, "a", "text");
        assert_true(unpack_bytes(w, w->tar.data, w->tar.len - 1, NULL) < 0);
        assert_non_null(strstr(w->err.text, "damaged"));
}

/* What is to become a layer has no digest yet that would tell that it was cut. */
static void test_scan_wants_the_end(void **state)
{
        struct world *w = *state;
        char digest[DIGEST_TEXT_LEN + 1];

        tar_file(&w->tar, "a", "text");
        tar_file(&w->tar, "b", "more");
        size_t len = w->tar.len;
        tar_end(&w->tar);
        for (size_t n = 0; n <= w->tar.len; n += 4) {
                const bool is_whole = n >= len + 512;
                _cleanup_close_ int fd = test_memfd(w->tar.data, n);

                w->err = (struct err){0};
                int r = layer_scan(fd, digest, &w->err);
                if ((r == 0) != is_whole)
                        fail_msg("cut at %zu of %zu: %s", n, w->tar.len, w->err.text);
                if (n > 0 && n % 512 == 0 && r < 0)
                        assert_non_null(strstr(w->err.text, "damaged"));
        }
}

static void test_empty_layer(void **state)
{
        assert_unpacks(*state); /* only the two end blocks */
}

static void test_names_that_lead_out(void **state)
{
        static const char *const names[] = {"../x", "a/../../x", "/../x", "a/..", ".."};
        struct world *w = *state;

        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                tar_file(&w->tar, names[i], "bad");
                assert_refused(w, "leads out of the image");
        }
        tar_pax(&w->tar, "path", "../../x", 7); /* the extended name rules */
        tar_file(&w->tar, "harmless", "bad");
        assert_refused(w, "leads out of the image");
}

static void test_absolute_names_are_below_the_target(void **state)
{
        struct world *w = *state;
        _cleanup_free_ char *name = xasprintf("%s/out/new", w->path);

        tar_file(&w->tar, name, "inside");
        assert_unpacks(w);
        assert_content(w, name + 1, "inside");
}

static void test_never_through_a_link(void **state)
{
        struct world *w = *state;
        static const char *const targets[] = {"/", "..", "../out"};

        for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
                tar_link(&w->tar, "a", targets[i]);
                tar_file(&w->tar, "a/canary", "bad");
                assert_refused(w, "leads through a, which is no folder");
                tar_link(&w->tar, "a", targets[i]);
                tar_dir(&w->tar, "a/b/c");
                assert_refused(w, "leads through a");
                tar_link(&w->tar, "a", targets[i]);
                tar_hardlink(&w->tar, "mine", "a/canary");
                assert_refused(w, "leads through a");
                tar_link(&w->tar, "a", targets[i]);
                tar_file(&w->tar, "a/.wh.canary", "");
                assert_refused(w, "leads through a");
                tar_link(&w->tar, "a", targets[i]);
                tar_file(&w->tar, "a/.wh..wh..opq", "");
                assert_refused(w, "leads through a");
        }
}

static void test_hard_links_stay_inside(void **state)
{
        static const char *const targets[] = {"../out/canary", "../../etc/shadow", "..", "."};
        struct world *w = *state;

        for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
                tar_hardlink(&w->tar, "mine", targets[i]);
                assert_refused(w, "is outside of the layer");
        }
        tar_hardlink(&w->tar, "mine", "/etc/passwd"); /* below the target: not there */
        assert_refused(w, "no such file");
        tar_dir(&w->tar, "d");
        tar_hardlink(&w->tar, "mine", "d");
        assert_refused(w, "is no file");
        /* A link is linked, not followed: no change goes through it. */
        tar_link(&w->tar, "l", "../out/canary");
        tar_hardlink(&w->tar, "mine", "l");
        tar_file(&w->tar, "mine", "new");
        assert_unpacks(w);
        assert_content(w, "mine", "new");
        /* To itself: stays. */
        tar_file(&w->tar, "self", "1");
        tar_hardlink(&w->tar, "self", "self");
        assert_unpacks(w);
        assert_content(w, "self", "1");
}

static void test_replacing(void **state)
{
        struct world *w = *state;

        /* A file over a link to the outside: neither content nor mode goes through. */
        tar_link(&w->tar, "x", "../out/canary");
        tar_add(&w->tar, &(struct tar_entry){.name = "x", .type = '0', .mode = 0777});
        assert_unpacks(w);
        assert_int_equal(mode_of(w, "x"), S_IFREG | 0777);
        /* folder, link, file, folder of one name; the last stays. */
        tar_file(&w->tar, "y/deep/file", "1");
        tar_link(&w->tar, "y", "/");
        tar_file(&w->tar, "y", "2");
        assert_unpacks(w);
        assert_content(w, "y", "2");
        tar_dir(&w->tar, "y");
        tar_file(&w->tar, "y/z", "3");
        tar_dir(&w->tar, "y"); /* keeps its content */
        assert_unpacks(w);
        assert_content(w, "y/z", "3");
        /* A folder replaces a link of the same layer, and what follows goes into the folder. */
        tar_link(&w->tar, "l", "../out");
        tar_dir(&w->tar, "l");
        tar_file(&w->tar, "l/f", "4");
        assert_unpacks(w);
        assert_content(w, "l/f", "4");
        /* The folder that was written to last is replaced. */
        tar_file(&w->tar, "p/q/f", "5");
        tar_link(&w->tar, "p", "../out");
        tar_file(&w->tar, "p/q/g", "6");
        assert_refused(w, "leads through p");
}

static void test_whiteouts(void **state)
{
        struct world *w = *state;

        tar_file(&w->tar, "a/.wh.gone", "");
        tar_file(&w->tar, "b/.wh..wh..opq", "");
        tar_file(&w->tar, ".wh..wh.plnk", ""); /* of aufs: nothing */
        assert_unpacks(w);
        assert_true(is_whiteout(w, "a/gone"));
        assert_true(is_opaque(w, "b"));
        assert_false(is_opaque(w, "a"));
        assert_int_equal(mode_of(w, ".wh..wh.plnk"), 0);
        /* With something of the same name in this layer, before or after. */
        tar_file(&w->tar, "c/.wh.f", "");
        tar_file(&w->tar, "c/f", "new");
        tar_file(&w->tar, "d/f", "new");
        tar_file(&w->tar, "d/.wh.f", "");
        tar_file(&w->tar, ".wh.e", "");
        tar_file(&w->tar, "e/f", "new");
        tar_file(&w->tar, "g/f", "new");
        tar_file(&w->tar, ".wh.g", "");
        assert_unpacks(w);
        assert_content(w, "c/f", "new");
        assert_content(w, "d/f", "new");
        assert_content(w, "e/f", "new");
        assert_content(w, "g/f", "new");
        assert_true(is_opaque(w, "e"));
        assert_true(is_opaque(w, "g"));
        tar_file(&w->tar, ".wh.", "");
        assert_refused(w, "hides nothing");
        tar_file(&w->tar, ".wh...", "");
        assert_refused(w, "hides nothing");
}

static void test_devices(void **state)
{
        struct world *w = *state;

        tar_add(&w->tar, &(struct tar_entry){.name = "dev/sda", .type = '4', .major = 8});
        assert_refused(w, "dev/sda: device nodes");
        tar_add(&w->tar, &(struct tar_entry){.name = "null", .type = '3', .major = 1, .minor = 3});
        assert_refused(w, "device nodes");
        tar_add(&w->tar, &(struct tar_entry){.name = "whiteout", .type = '3'});
        assert_refused(w, "device nodes");
}

static void test_attributes(void **state)
{
        /* Revision 2, effective, CAP_NET_RAW permitted (linux/capability.h). */
        static const uint8_t cap[20] = {0x01, 0, 0, 0x02, 0, 0x20};
        static const char *const dropped[] = {"trusted.overlay.opaque", "trusted.overlay.redirect",
                                              "user.overlay.opaque", "security.selinux"};
        struct world *w = *state;
        char value[64];

        for (size_t i = 0; i < ARRAY_SIZE(dropped); i++) {
                _cleanup_free_ char *key = xasprintf("SCHILY.xattr.%s", dropped[i]);

                tar_pax(&w->tar, key, "y", 1);
                tar_dir(&w->tar, "d");
        }
        tar_pax(&w->tar, "SCHILY.xattr.security.capability", cap, sizeof(cap));
        tar_file(&w->tar, "ping", "x");
        assert_unpacks(w);
        _cleanup_close_ int d = openat(w->root, "d", O_RDONLY | O_CLOEXEC);
        for (size_t i = 0; i < ARRAY_SIZE(dropped); i++)
                assert_true(fgetxattr(d, dropped[i], value, sizeof(value)) < 0);
        _cleanup_close_ int ping = openat(w->root, "ping", O_RDONLY | O_CLOEXEC);
        assert_int_equal(fgetxattr(ping, "security.capability", value, sizeof(value)), 20);
        assert_memory_equal(value, cap, 20);
}

static void test_names_too_long_and_deep(void **state)
{
        struct world *w = *state;
        _cleanup_buf_ struct buf deep = {0}, wide = {0}, long_name = {0};

        for (int i = 0; i < 300; i++)
                buf_puts(&deep, "d/");
        for (int i = 0; i < 40; i++)
                buf_printf(&wide, "%0200d/", i);
        buf_printf(&long_name, "%0300d", 1);
        tar_pax(&w->tar, "path", deep.data, deep.len);
        tar_dir(&w->tar, "x");
        assert_refused(w, "deeper than");
        tar_pax(&w->tar, "path", wide.data, wide.len);
        tar_dir(&w->tar, "x");
        assert_refused(w, "too long");
        tar_pax(&w->tar, "path", long_name.data, long_name.len);
        tar_file(&w->tar, "x", "");
        assert_refused(w, "too long");
        /* Just within the limits it is made, and removed at the end. */
        tar_pax(&w->tar, "path", deep.data, LAYER_DEPTH_MAX * 2);
        tar_dir(&w->tar, "x");
        assert_unpacks(w);
}

static void test_odd_names(void **state)
{
        struct world *w = *state;

        tar_file(&w->tar, "caf\xe9", "latin"); /* not UTF-8: kept as it is */
        tar_file(&w->tar, "new\nline", "n");
        tar_pax(&w->tar, "path", "nul\0/../../x", 12);
        tar_file(&w->tar, "z", "cut");
        assert_unpacks(w);
        assert_content(w, "caf\xe9", "latin");
        assert_content(w, "new\nline", "n");
        assert_content(w, "nul", "cut"); /* a name ends at its NUL */
        tar_add(&w->tar, &(struct tar_entry){.name = "bad\nname", .type = '4'});
        assert_refused(w, "bad name"); /* the text stays one line */
}

static void test_sizes(void **state)
{
        struct world *w = *state;

        tar_pax(&w->tar, "size", "999999999999", 12);
        tar_file(&w->tar, "huge", "x");
        assert_refused(w, "larger than");
        tar_pax(&w->tar, "size", "-5", 2);
        tar_file(&w->tar, "negative", "x");
        assert_true(unpack(w) < 0);
        /* Sparse: a hole costs nothing on disk but counts with its size. */
        tar_pax(&w->tar, "GNU.sparse.major", "1", 1);
        tar_pax(&w->tar, "GNU.sparse.size", "999999999999", 12);
        tar_file(&w->tar, "sparse", "x");
        (void)unpack(w);
        struct stat st;
        assert_true(fstatat(w->root, "sparse", &st, 0) < 0 || st.st_size <= BYTES_MAX);
        tar_pax(&w->tar, "uid", "99999999999", 11);
        tar_file(&w->tar, "owner", "x");
        assert_refused(w, "out of range");
}

/* Zeros that compress a thousand times, in a file beyond what is allowed. */
static void test_bombs(void **state)
{
        struct world *w = *state;
        _cleanup_buf_ struct buf packed = {0};
        size_t n = 300u << 20;
        char *zeros = xcalloc(1, n);

        tar_add(&w->tar,
                &(struct tar_entry){
                        .name = "zeros", .type = '0', .mode = 0644, .data = zeros, .n = n});
        free(zeros);
        tar_end(&w->tar);
        test_compress("zstd", w->tar.data, w->tar.len, &packed);
        buf_done(&w->tar);
        assert_true(packed.len < 100000);
        _cleanup_close_ int fd = test_memfd(packed.data, packed.len);
        assert_true(layer_unpack(fd, w->root, NULL, LAYER_BYTES_MAX, &w->result, &w->err) < 0);
        assert_non_null(strstr(w->err.text, "compression bomb"));
        assert_true(unpack_bytes(w, packed.data, packed.len, NULL) < 0);
        assert_non_null(strstr(w->err.text, "larger than"));
}

static void test_compressed_twice(void **state)
{
        struct world *w = *state;
        _cleanup_buf_ struct buf once = {0}, twice = {0};

        tar_file(&w->tar, "a", "x");
        tar_end(&w->tar);
        test_compress("gzip", w->tar.data, w->tar.len, &once);
        test_compress("gzip", once.data, once.len, &twice);
        assert_true(unpack_bytes(w, twice.data, twice.len, NULL) < 0);
        assert_non_null(strstr(w->err.text, "compressed more than once"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_ordinary_layer),
                TEST(test_compressed_and_checked),
                TEST(test_trailing_bytes_count_for_the_digest),
                TEST(test_not_a_tar),
                TEST(test_tar_that_ends_with_data),
                TEST(test_scan_wants_the_end),
                TEST(test_empty_layer),
                TEST(test_names_that_lead_out),
                TEST(test_absolute_names_are_below_the_target),
                TEST(test_never_through_a_link),
                TEST(test_hard_links_stay_inside),
                TEST(test_replacing),
                TEST(test_whiteouts),
                TEST(test_devices),
                TEST(test_attributes),
                TEST(test_names_too_long_and_deep),
                TEST(test_odd_names),
                TEST(test_sizes),
                TEST(test_bombs),
                TEST(test_compressed_twice),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
