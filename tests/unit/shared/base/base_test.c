/* Ids, maps, lists, strings, buffers, errors and files of the base layer. */
#include "tests/lib/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "shared/base/base.h"
#include "shared/base/process.h"

static void test_id_text(void **state UNUSED)
{
        struct rng rng = {1};
        struct id top = {UINT64_MAX, UINT64_MAX}, back = {0, 0};

        for (int i = 0; i < 1000; i++) {
                struct id id = id_make(&rng);
                uint8_t bytes[ID_BYTES];

                assert_int_equal(strlen(ID_S(id)), ID_TEXT_LEN);
                assert_int_equal(id_parse(ID_S(id), &back), 0);
                assert_true(id_is_equal(id, back));
                id_encode(id, bytes);
                assert_int_equal(id_decode(bytes, sizeof(bytes), &back), 0);
                assert_true(id_is_equal(id, back));
        }
        assert_int_equal(id_parse(ID_S(top), &back), 0);
        assert_true(id_is_equal(top, back));
        assert_int_equal(id_parse("zzzzzzzzzzzzzzzzzzzzzzzzz", &back), -EINVAL);
        assert_int_equal(id_parse("short", &back), -EINVAL);
        assert_int_equal(id_parse("AAAAAAAAAAAAAAAAAAAAAAAAA", &back), -EINVAL);
        assert_int_equal(id_decode((const uint8_t *)"x", 1, &back), -EINVAL);
        assert_true(id_compare((struct id){1, 0}, (struct id){0, 9}) > 0);
}

struct thing {
        uint64_t number;
        struct id id;
        char *name;
        bool is_in;
};

/* Random puts and removes against a plain array: every look-up must agree. */
static void test_map_against_array(void **state UNUSED)
{
        enum { N = 500 };
        static struct thing things[N];
        struct map by_id = MAP_INIT(struct thing, id, MAP_KEY_ID);
        struct map by_name = MAP_INIT(struct thing, name, MAP_KEY_STR);
        struct map by_number = MAP_INIT(struct thing, number, MAP_KEY_U64);
        struct rng rng = {42};

        for (int i = 0; i < N; i++)
                things[i] = (struct thing){(uint64_t)i, id_make(&rng), xasprintf("n%d", i), false};
        for (int round = 0; round < 20000; round++) {
                struct thing *t = &things[rng_below(&rng, N)];

                if (t->is_in) {
                        map_remove(&by_id, t);
                        map_remove(&by_name, t);
                        map_remove(&by_number, t);
                } else {
                        map_put(&by_id, t);
                        map_put(&by_name, t);
                        map_put(&by_number, t);
                }
                t->is_in = !t->is_in;
                t = &things[rng_below(&rng, N)];
                assert_ptr_equal(map_get_id(&by_id, t->id), t->is_in ? t : NULL);
                assert_ptr_equal(map_get_str(&by_name, t->name), t->is_in ? t : NULL);
                assert_ptr_equal(map_get_u64(&by_number, t->number), t->is_in ? t : NULL);
        }
        size_t n = 0, seen = 0, i;
        struct thing *it;
        for (int k = 0; k < N; k++)
                n += things[k].is_in;
        MAP_FOREACH (it, i, &by_name) {
                assert_true(it->is_in);
                seen++;
        }
        assert_int_equal(n, seen);
        assert_int_equal(n, by_id.len);
        map_done(&by_id);
        map_done(&by_name);
        map_done(&by_number);
        for (int k = 0; k < N; k++)
                free(things[k].name);
}

static void test_names_and_texts(void **state UNUSED)
{
        char long_name[65];

        memset(long_name, 'a', sizeof(long_name));
        long_name[63] = 0;
        assert_true(name_is_valid(long_name));
        long_name[63] = 'a';
        long_name[64] = 0;
        assert_false(name_is_valid(long_name));
        assert_true(name_is_valid("a.b_c-1"));
        assert_false(name_is_valid(""));
        assert_false(name_is_valid("-a"));
        assert_false(name_is_valid("a/b"));
        assert_false(name_is_valid("a b"));
        assert_true(text_is_valid("gr\xc3\xbc\xc3\x9f"));
        assert_false(text_is_valid("\xc3"));
        assert_false(text_is_valid("\xc0\xaf"));         /* overlong */
        assert_false(text_is_valid("\xed\xa0\x80"));     /* surrogate */
        assert_false(text_is_valid("\xf4\x90\x80\x80")); /* beyond U+10FFFF */
        assert_false(text_is_valid("a\nb"));
}

static void test_split(void **state UNUSED)
{
        char **v = str_split("a,,b", ',');

        assert_int_equal(strv_len(v), 3);
        assert_string_equal(v[1], "");
        strv_free(v);
        assert_int_equal(str_split_words("sh -c 'a  b' \"c \\\" d\" e\\ f", &v), 0);
        assert_int_equal(strv_len(v), 5);
        assert_string_equal(v[2], "a  b");
        assert_string_equal(v[3], "c \" d");
        assert_string_equal(v[4], "e f");
        assert_true(strv_has(v, "-c"));
        strv_free(v);
        assert_int_equal(str_split_words("a 'b", &v), -EINVAL);
        assert_int_equal(str_split_words("a \\", &v), -EINVAL);
        assert_int_equal(str_split_words("  ", &v), 0);
        assert_null(v);
}

static void test_errors(void **state UNUSED)
{
        struct err err = {0};

        assert_int_equal(err_set(&err, EACCES, "mount %s: %s", "/data", err_name(-EACCES)),
                         -EACCES);
        assert_int_equal(err_wrap(&err, "task %s", "web.1"), -EACCES);
        assert_string_equal(err.text, "task web.1: mount /data: permission denied");
        err_set(&err, EINVAL, "two\nlines");
        assert_string_equal(err.text, "two lines");
        assert_int_equal(err_set(NULL, EINVAL, "nobody reads this"), -EINVAL);
}

static void test_files(void **state UNUSED)
{
        char dir[] = "/tmp/base-test-XXXXXX";
        _cleanup_buf_ struct buf b = {0};

        assert_non_null(mkdtemp(dir));
        _cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_int_equal(io_write_file_atomic(fd, "f", "hello", 5, 0600), 0);
        assert_int_equal(io_read_file(fd, "f", 100, &b), 0);
        assert_string_equal(buf_str(&b), "hello");
        assert_int_equal(io_read_file(fd, "f", 4, &b), -EFBIG);
        assert_string_equal(buf_str(&b), "hello"); /* a failure changes nothing */
        assert_int_equal(io_read_file(fd, "none", 4, &b), -ENOENT);
        _cleanup_free_ char *deep = xasprintf("%s/a/b/c", dir);
        assert_int_equal(io_mkdir_all(deep, 0700), 0);
        assert_int_equal(io_mkdir_all(deep, 0700), 0);
        _cleanup_free_ char *link = xasprintf("%s/a/out", dir);
        assert_int_equal(symlink("/etc", link), 0);
        assert_int_equal(io_remove_tree(fd, "a"), 0);
        assert_int_equal(access("/etc/passwd", F_OK), 0);
        assert_int_equal(io_remove_tree(fd, "a"), 0);
        assert_int_equal(io_remove_tree(AT_FDCWD, dir), 0);
        assert_int_equal(access(dir, F_OK), -1);
}

/* --- removing trees --- */

#define DEEP 5000

/* A chain of folders d/d/d... with a file in each hundredth, below what at is. */
static void make_deep(int at, const char *top, int levels)
{
        int fd = dup(at);

        for (int i = 0; i < levels; i++) {
                const char *name = i ? "d" : top;

                assert_int_equal(mkdirat(fd, name, 0700), 0);
                int next = openat(fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

                assert_true(next >= 0);
                close(fd);
                fd = next;
                if (i % 100 == 0)
                        close(openat(fd, "f", O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
        }
        close(fd);
}

static void make_wide(int at, const char *top, int n)
{
        char name[32];

        assert_int_equal(mkdirat(at, top, 0700), 0);
        for (int i = 0; i < n; i++) {
                snprintf(name, sizeof(name), "%s/%d", top, i);
                assert_int_equal(mkdirat(at, name, 0700), 0);
                snprintf(name, sizeof(name), "%s/%d/x", top, i);
                assert_int_equal(mkdirat(at, name, 0700), 0);
                snprintf(name, sizeof(name), "%s/%d/x/f", top, i);
                close(openat(at, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
        }
}

/* With two descriptors to spare, no more. */
static int remove_with_few_descriptors(int at, const char *name)
{
        struct rlimit before, few;
        int next = dup(0);

        close(next);
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
        few = before;
        few.rlim_cur = (rlim_t)next + 3;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
        int r = io_remove_tree(at, name);

        assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
        return r;
}

static void test_remove_tree_of_any_shape(void **state UNUSED)
{
        char dir[] = "/tmp/base-test-XXXXXX";

        assert_non_null(mkdtemp(dir));
        _cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        make_deep(fd, "deep", DEEP);
        assert_int_equal(remove_with_few_descriptors(fd, "deep"), 0);
        assert_int_equal(faccessat(fd, "deep", F_OK, 0), -1);
        make_wide(fd, "wide", 600);
        assert_int_equal(remove_with_few_descriptors(fd, "wide"), 0);
        assert_int_equal(faccessat(fd, "wide", F_OK, 0), -1);
        /* Deep ones in a wide one, and below them more. */
        assert_int_equal(mkdirat(fd, "both", 0700), 0);
        _cleanup_close_ int both = openat(fd, "both", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        char name[32];
        for (int i = 0; i < 10; i++) {
                snprintf(name, sizeof(name), "deep%d", i);
                make_deep(both, name, 1 << i);
                snprintf(name, sizeof(name), "wide%d", i);
                make_wide(both, name, 10);
        }
        assert_int_equal(remove_with_few_descriptors(fd, "both"), 0);
        assert_int_equal(rmdir(dir), 0);
}

/* What is mounted in a tree is another one: it stops there, before anything of it is gone. */
static int remove_over_a_mount(const char *dir)
{
        _cleanup_free_ char *mounted = xasprintf("%s/a/m", dir);
        _cleanup_free_ char *file = xasprintf("%s/a/m/file", dir);

        if (io_mkdir_all(mounted, 0700) < 0 || unshare(CLONE_NEWNS) < 0 ||
            mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
            mount("tmpfs", mounted, "tmpfs", 0, NULL) < 0)
                return 2;
        close(open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
        return io_remove_tree(AT_FDCWD, dir) == -EBUSY && access(file, F_OK) == 0 ? 0 : 1;
}

static void test_remove_tree_stops_at_mounts(void **state UNUSED)
{
        char dir[] = "/tmp/base-test-XXXXXX";
        int status;

        if (geteuid() != 0)
                skip();
        assert_non_null(mkdtemp(dir));
        pid_t pid = fork();

        if (pid == 0)
                _exit(remove_over_a_mount(dir));
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
        assert_int_equal(io_remove_tree(AT_FDCWD, dir), 0);
}

/* Two at it at a time: what the other has removed is not missed. */
static void test_remove_tree_together(void **state UNUSED)
{
        char dir[] = "/tmp/base-test-XXXXXX";

        assert_non_null(mkdtemp(dir));
        _cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        for (int i = 0; i < 10; i++) {
                int status;

                make_wide(fd, "wide", 40);
                make_deep(fd, "wide/deep", 40);
                pid_t pid = fork();

                if (pid == 0)
                        _exit(-io_remove_tree(fd, "wide"));
                assert_int_equal(io_remove_tree(fd, "wide"), 0);
                assert_int_equal(waitpid(pid, &status, 0), pid);
                assert_int_equal(status, 0);
        }
        assert_int_equal(rmdir(dir), 0);
}

/* An error ends it, and leaves no descriptor open. */
static void test_remove_tree_that_fails(void **state UNUSED)
{
        char dir[] = "/tmp/base-test-XXXXXX";
        int flags = 0, next = dup(0);

        close(next);
        assert_non_null(mkdtemp(dir));
        _cleanup_free_ char *folder = xasprintf("%s/a/b/c", dir);
        assert_int_equal(io_mkdir_all(folder, 0700), 0);
        _cleanup_free_ char *file = xasprintf("%s/f", folder);
        int fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

        if (ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0) { /* not every file system has them */
                flags |= FS_IMMUTABLE_FL;
                assert_int_equal(ioctl(fd, FS_IOC_SETFLAGS, &flags), 0);
                assert_true(io_remove_tree(AT_FDCWD, dir) < 0);
                flags &= ~FS_IMMUTABLE_FL;
                assert_int_equal(ioctl(fd, FS_IOC_SETFLAGS, &flags), 0);
        }
        close(fd);
        assert_int_equal(io_remove_tree(AT_FDCWD, dir), 0);
        assert_int_equal(dup(0), next);
        close(next);
}

static int count_up(int *n)
{
        return ++*n;
}

/* What is compared may do something: once. */
static void test_min_and_max(void **state UNUSED)
{
        uint8_t small = 200;
        int n = 0;

        assert_int_equal(MIN(5, count_up(&n)), 1);
        assert_int_equal(MAX(count_up(&n), -5), 2);
        assert_int_equal(MAX(MIN(count_up(&n), 9), MIN(7, MAX(4, 1))), 4);
        assert_int_equal(n, 3);
        assert_int_equal(MIN(small, 1000), 200);
        assert_true(MAX(-1, INT64_MAX) == INT64_MAX);
        assert_true(MIN(SIZE_MAX, (size_t)3) == 3);
}

static void test_list(void **state UNUSED)
{
        struct item {
                int n;
                struct list link;
        } items[3] = {{1, {0}}, {2, {0}}, {3, {0}}};
        struct list head, other;
        struct item *it, *next;
        int sum = 0;

        list_init(&head);
        list_init(&other);
        for (int i = 0; i < 3; i++)
                list_push_back(&head, &items[i].link);
        LIST_FOREACH_SAFE (it, next, &head, link) {
                sum = sum * 10 + it->n;
                if (it->n == 2)
                        list_remove(&it->link);
        }
        assert_int_equal(sum, 123);
        assert_false(list_is_linked(&items[1].link));
        list_push_back(&other, &items[1].link);
        list_splice_back(&other, &head);
        assert_true(list_is_empty(&head));
        sum = 0;
        LIST_FOREACH (it, &other, link)
                sum = sum * 10 + it->n;
        assert_int_equal(sum, 213);
}

static long resident_pages(void)
{
        _cleanup_buf_ struct buf b = {0};
        long all = 0, resident = 0;

        assert_int_equal(io_read_file(AT_FDCWD, "/proc/self/statm", 256, &b), 0);
        assert_int_equal(sscanf(buf_str(&b), "%ld %ld", &all, &resident), 2);
        return resident;
}

/* Code that was let go is there again when it is called. */
static void test_settle(void **state)
{
        long before = resident_pages();

        (void)state;
        process_settle();
        assert_true(resident_pages() < before);
        _cleanup_free_ char *text = xasprintf("%d %s", 7, "again");
        assert_string_equal(text, "7 again");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_settle),
                cmocka_unit_test(test_id_text),
                cmocka_unit_test(test_map_against_array),
                cmocka_unit_test(test_names_and_texts),
                cmocka_unit_test(test_split),
                cmocka_unit_test(test_errors),
                cmocka_unit_test(test_files),
                cmocka_unit_test(test_remove_tree_of_any_shape),
                cmocka_unit_test(test_remove_tree_stops_at_mounts),
                cmocka_unit_test(test_remove_tree_together),
                cmocka_unit_test(test_remove_tree_that_fails),
                cmocka_unit_test(test_min_and_max),
                cmocka_unit_test(test_list),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
