/* identity: tokens as text, and the key files of a data-dir with all that can be wrong with them.
 */
#include "tests/lib/unit.h"

#include "tests/lib/unit.h"

#include "shared/identity/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/base/io.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"

struct fixture {
        char dir[64], key_file[128], cluster_file[128];
        struct err err;
};

static int setup(void **state)
{
        struct fixture *f = xnew(struct fixture);

        snprintf(f->dir, sizeof(f->dir), "/tmp/swarm-identity-XXXXXX");
        assert_non_null(mkdtemp(f->dir));
        snprintf(f->key_file, sizeof(f->key_file), "%s/node.key", f->dir);
        snprintf(f->cluster_file, sizeof(f->cluster_file), "%s/cluster.pub", f->dir);
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

static void test_key_text(void **state UNUSED)
{
        uint8_t key[NET_KEY_BYTES], back[NET_KEY_BYTES];
        char text[IDENTITY_KEY_TEXT_LEN + 1];

        for (unsigned fill = 0; fill < 256; fill += 51) {
                memset(key, (int)fill, sizeof(key));
                key[31] = 7;
                identity_key_format(key, text);
                assert_int_equal(strlen(text), IDENTITY_KEY_TEXT_LEN);
                assert_int_equal(identity_key_parse(text, back), 0);
                assert_memory_equal(key, back, sizeof(key));
        }
        memset(text, 'z', IDENTITY_KEY_TEXT_LEN); /* more than 256 bits */
        assert_int_equal(identity_key_parse(text, back), -EINVAL);
        memset(text, '0', IDENTITY_KEY_TEXT_LEN);
        text[3] = 'A';
        assert_int_equal(identity_key_parse(text, back), -EINVAL);
        assert_int_equal(identity_key_parse("", back), -EINVAL);
}

static void test_token(void **state)
{
        struct fixture *f = *state;
        uint8_t key[NET_KEY_BYTES];
        char text[IDENTITY_TOKEN_TEXT_LEN + 1];
        struct join_token token;

        memset(key, 0x5a, sizeof(key));
        join_token_format(key, "0123456789abcdefghijklmno", text);
        assert_int_equal(strlen(text), IDENTITY_TOKEN_TEXT_LEN);
        assert_int_equal(strncmp(text, "SWMT-1-", 7), 0);
        assert_int_equal(join_token_parse(text, &token, &f->err), 0);
        assert_memory_equal(token.cluster_key, key, sizeof(key));
        assert_string_equal(token.secret, "0123456789abcdefghijklmno");
        /* Cut anywhere, or with a byte changed to a bad one, it is refused. */
        for (size_t i = 0; i < IDENTITY_TOKEN_TEXT_LEN; i++) {
                char bad[sizeof(text)];

                memcpy(bad, text, sizeof(bad));
                bad[i] = 0;
                assert_int_equal(join_token_parse(bad, &token, &f->err), -EINVAL);
                bad[i] = '!';
                assert_int_equal(join_token_parse(bad, &token, &f->err), -EINVAL);
                assert_null(strstr(f->err.text, "abcdefghijklmno")); /* no secret in the message */
        }
}

static void test_node_key(void **state)
{
        struct fixture *f = *state;
        _cleanup_free_ char *below = xasprintf("%s/new/dir", f->dir);
        struct net_keys a, b;
        struct stat st;

        assert_int_equal(identity_read_node_key(f->dir, NULL, &a, &f->err), -ENOENT);
        assert_int_equal(identity_make_node_key(f->dir, NULL, &a, &f->err), 0);
        assert_int_equal(stat(f->key_file, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        assert_int_equal(st.st_nlink, 1);
        assert_int_equal(identity_make_node_key(f->dir, NULL, &b, &f->err), 0);
        assert_memory_equal(&a, &b, sizeof(a));
        assert_int_equal(identity_read_node_key(f->dir, NULL, &b, &f->err), 0);
        assert_memory_equal(&a, &b, sizeof(a));
        assert_int_equal(identity_make_node_key(below, NULL, &b, &f->err), 0);
        assert_memory_not_equal(&a, &b, sizeof(a));
}

static void refused(struct fixture *f, int code, const char *text)
{
        struct net_keys keys;

        assert_int_equal(identity_make_node_key(f->dir, NULL, &keys, &f->err), -code);
        if (!strstr(f->err.text, text) || !strstr(f->err.text, f->key_file))
                fail_msg("%s", f->err.text);
}

static void test_bad_node_keys(void **state)
{
        struct fixture *f = *state;
        uint8_t bytes[NET_KEY_BYTES + 1] = {1};
        struct net_keys keys;

        assert_int_equal(io_write_file_atomic(AT_FDCWD, f->key_file, bytes, NET_KEY_BYTES, 0644),
                         0);
        assert_int_equal(chmod(f->key_file, 0644), 0);
        refused(f, EACCES, "permissions 0644");
        for (size_t n = 0; n <= NET_KEY_BYTES + 1; n += n < 31 ? 31 : 2) {
                if (n == NET_KEY_BYTES)
                        continue;
                assert_int_equal(io_write_file_atomic(AT_FDCWD, f->key_file, bytes, n, 0600), 0);
                refused(f, EINVAL, "a key has 32");
        }
        unlink(f->key_file);
        assert_int_equal(symlink("/dev/zero", f->key_file), 0);
        refused(f, ELOOP, "node.key");
        unlink(f->key_file);
        assert_int_equal(mkdir(f->key_file, 0700), 0);
        refused(f, EINVAL, "not a file");
        assert_true(identity_make_node_key("/proc/none/x", NULL, &keys, &f->err) < 0);
        assert_non_null(strstr(f->err.text, "/proc/none/x"));
}

static void test_cluster_key(void **state)
{
        struct fixture *f = *state;
        uint8_t key[NET_KEY_BYTES] = {9, 8, 7}, back[NET_KEY_BYTES];
        static const char *const BAD[] = {"", "\n", "short\n", "not in base 36!"};

        assert_int_equal(identity_read_cluster_key(f->dir, back, &f->err), -ENOENT);
        assert_int_equal(identity_write_cluster_key(f->dir, key, &f->err), 0);
        assert_int_equal(identity_read_cluster_key(f->dir, back, &f->err), 0);
        assert_memory_equal(key, back, sizeof(key));
        for (size_t i = 0; i < ARRAY_SIZE(BAD); i++) {
                io_write_file_atomic(AT_FDCWD, f->cluster_file, BAD[i], strlen(BAD[i]), 0644);
                assert_int_equal(identity_read_cluster_key(f->dir, back, &f->err), -EINVAL);
                assert_non_null(strstr(f->err.text, f->cluster_file));
        }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_key_text),      TEST(test_token),       TEST(test_node_key),
                TEST(test_bad_node_keys), TEST(test_cluster_key),
        };

        return cmocka_run_group_tests_name("identity", tests, NULL, NULL);
}
