/* seal: keys as text, bytes that are closed and opened, and the files of secrets. */
#include "tests/lib/unit.h"

#include "shared/seal/seal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/base/io.h"
#include "shared/base/mem.h"

struct fixture {
        char dir[64], file[96];
        uint8_t key[SEAL_KEY_BYTES], other[SEAL_KEY_BYTES], secret[SEAL_KEY_BYTES];
        struct err err;
};

static int setup(void **state)
{
        struct fixture *f = xnew(struct fixture);

        snprintf(f->dir, sizeof(f->dir), "/tmp/swarm-seal-XXXXXX");
        assert_non_null(mkdtemp(f->dir));
        snprintf(f->file, sizeof(f->file), "%s/secret", f->dir);
        seal_draw_key(f->key);
        seal_draw_key(f->other);
        seal_draw_key(f->secret);
        *state = f;
        return 0;
}

static int teardown(void **state)
{
        struct fixture *f = *state;

        io_remove_tree(AT_FDCWD, f->dir);
        free(f);
        return 0;
}

static void test_keys(void **state)
{
        struct fixture *f = *state;
        uint8_t a[SEAL_KEY_BYTES], b[SEAL_KEY_BYTES];

        assert_memory_not_equal(f->key, f->other, SEAL_KEY_BYTES);
        seal_derive_key(f->key, a);
        seal_derive_key(f->key, b);
        assert_memory_equal(a, b, sizeof(a));
        assert_memory_not_equal(a, f->key, sizeof(a));
        seal_derive_key(f->other, b);
        assert_memory_not_equal(a, b, sizeof(a));
}

static void test_key_text(void **state)
{
        struct fixture *f = *state;
        char text[SEAL_KEY_TEXT_LEN + 1], bad[SEAL_KEY_TEXT_LEN + 2];
        uint8_t back[SEAL_KEY_BYTES] = {1};

        seal_key_format(f->key, text);
        assert_int_equal(strlen(text), SEAL_KEY_TEXT_LEN);
        assert_int_equal(strncmp(text, "SWMKEY-1-", 9), 0);
        assert_int_equal(seal_key_parse(text, back, &f->err), 0);
        assert_memory_equal(back, f->key, sizeof(back));
        for (size_t i = 0; i <= SEAL_KEY_TEXT_LEN;
             i++) { /* cut, or with a bad byte; one too many */
                snprintf(bad, sizeof(bad), "%s%s", text, i == SEAL_KEY_TEXT_LEN ? "A" : "");
                if (i < SEAL_KEY_TEXT_LEN)
                        bad[i] = 0;
                assert_int_equal(seal_key_parse(bad, back, &f->err), -EINVAL);
                assert_null(strstr(f->err.text, text + 20)); /* no key in the message */
                bad[i] = '!';
                assert_int_equal(seal_key_parse(bad, back, &f->err), -EINVAL);
        }
        assert_memory_equal(back, f->key, sizeof(back)); /* a failure changes nothing */
}

static void test_bytes(void **state)
{
        struct fixture *f = *state;
        uint8_t text[100], closed[sizeof(text) + SEAL_EXTRA_BYTES], back[sizeof(text)];

        memset(text, 0x5a, sizeof(text));
        for (size_t n = 0; n <= sizeof(text); n += 25) {
                assert_false(seal_is_closed(text, n));
                seal_close(f->key, text, n, closed);
                assert_true(seal_is_closed(closed, n + SEAL_EXTRA_BYTES));
                assert_int_equal(seal_open(f->key, closed, n + SEAL_EXTRA_BYTES, back), 0);
                assert_memory_equal(back, text, n);
                assert_int_equal(seal_open(f->other, closed, n + SEAL_EXTRA_BYTES, back), -EBADMSG);
                for (size_t i = 0; i < n + SEAL_EXTRA_BYTES; i++) { /* altered or cut anywhere */
                        closed[i] ^= 1;
                        assert_int_equal(seal_open(f->key, closed, n + SEAL_EXTRA_BYTES, back),
                                         -EBADMSG);
                        closed[i] ^= 1;
                        assert_int_equal(seal_open(f->key, closed, i, back), -EBADMSG);
                }
        }
        assert_null(memmem(closed, sizeof(closed), text, 8));
}

static void test_files(void **state)
{
        struct fixture *f = *state;
        uint8_t back[SEAL_KEY_BYTES], raw[SEAL_KEY_BYTES];
        struct stat st;

        assert_int_equal(seal_read_file(AT_FDCWD, f->file, NULL, back), -ENOENT);
        assert_int_equal(seal_write_file(AT_FDCWD, f->file, NULL, f->secret), 0);
        assert_int_equal(stat(f->file, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        assert_int_equal(st.st_size, SEAL_KEY_BYTES);
        assert_int_equal(seal_read_file(AT_FDCWD, f->file, NULL, back), 0);
        assert_memory_equal(back, f->secret, sizeof(back));
        /* Sealed: the plain bytes of before are gone, also from where they were. */
        _cleanup_close_ int before = open(f->file, O_RDONLY | O_CLOEXEC);
        assert_int_equal(seal_write_file(AT_FDCWD, f->file, f->key, f->secret), 0);
        assert_int_equal(io_read_exact(before, raw, sizeof(raw)), 0);
        for (size_t i = 0; i < sizeof(raw); i++)
                assert_int_equal(raw[i], 0);
        assert_int_equal(seal_read_file(AT_FDCWD, f->file, NULL, back), -ENOKEY);
        assert_int_equal(seal_read_file(AT_FDCWD, f->file, f->other, back), -EBADMSG);
        memset(back, 0, sizeof(back));
        assert_int_equal(seal_read_file(AT_FDCWD, f->file, f->key, back), 0);
        assert_memory_equal(back, f->secret, sizeof(back));
        /* And plain again. */
        assert_int_equal(seal_write_file(AT_FDCWD, f->file, NULL, f->secret), 0);
        assert_int_equal(seal_read_file(AT_FDCWD, f->file, f->key, back), 0);
}

static void test_bad_files(void **state)
{
        static const size_t sizes[] = {0,
                                       1,
                                       SEAL_KEY_BYTES - 1,
                                       SEAL_KEY_BYTES + 1,
                                       SEAL_KEY_BYTES + SEAL_EXTRA_BYTES,
                                       SEAL_KEY_BYTES + SEAL_EXTRA_BYTES + 1};
        struct fixture *f = *state;
        uint8_t bytes[128] = {7}, back[SEAL_KEY_BYTES];

        for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
                assert_int_equal(io_write_file_atomic(AT_FDCWD, f->file, bytes, sizes[i], 0600), 0);
                assert_int_equal(seal_read_file(AT_FDCWD, f->file, f->key, back), -EINVAL);
        }
        memset(bytes, 0, sizeof(bytes)); /* as one looks that was replaced while it was open */
        assert_int_equal(io_write_file_atomic(AT_FDCWD, f->file, bytes, SEAL_KEY_BYTES, 0600), 0);
        assert_int_equal(seal_read_file(AT_FDCWD, f->file, f->key, back), -EINVAL);
        unlink(f->file);
        assert_int_equal(mkdir(f->file, 0700), 0);
        assert_true(seal_write_file(AT_FDCWD, f->file, f->key, f->secret) < 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_keys, setup, teardown),
                cmocka_unit_test_setup_teardown(test_key_text, setup, teardown),
                cmocka_unit_test_setup_teardown(test_bytes, setup, teardown),
                cmocka_unit_test_setup_teardown(test_files, setup, teardown),
                cmocka_unit_test_setup_teardown(test_bad_files, setup, teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
