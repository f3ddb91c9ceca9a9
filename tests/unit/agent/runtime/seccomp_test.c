/* The seccomp programs, loaded into a process of this test: what passes, and what a cached one is
 * called after. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "agent/runtime/runtime_internal.h"
#include "tests/lib/unit.h"

#define FAMILIES 64

static char folder[] = "/tmp/seccomp-test-XXXXXX";

static void load(int fd)
{
        struct stat st;
        _cleanup_free_ void *p = NULL;

        assert_int_equal(fstat(fd, &st), 0);
        p = xmalloc((size_t)st.st_size);
        assert_int_equal(pread(fd, p, (size_t)st.st_size, 0), st.st_size);
        struct sock_fprog prog = {
                .len = (unsigned short)((size_t)st.st_size / sizeof(struct sock_filter)),
                .filter = p};

        assert_int_equal(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_int_equal(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog), 0);
}

struct result {
        bool low[FAMILIES], high[FAMILIES]; /* allowed, and with bits above the low 32 set */
        bool negative;
};

static bool is_allowed(long family)
{
        long fd = syscall(SYS_socket, family, SOCK_DGRAM, 0);

        if (fd < 0)
                return errno != EPERM;
        close((int)fd);
        return true;
}

/* In a process of its own: a filter is for life. */
static void try_families(uint64_t caps, struct result *ret)
{
        struct err err = {0};
        int filter = seccomp_open_program(folder, caps, &err), status, pipe_fd[2];

        assert_true(filter >= 0);
        assert_int_equal(pipe2(pipe_fd, O_CLOEXEC), 0);
        pid_t pid = fork();

        if (pid == 0) {
                struct result r = {0};

                load(filter);
                for (long i = 0; i < FAMILIES; i++) {
                        r.low[i] = is_allowed(i);
                        r.high[i] = is_allowed(1L << 32 | i);
                }
                r.negative = is_allowed(-1);
                _exit(write(pipe_fd[1], &r, sizeof(r)) == sizeof(r) ? 0 : 1);
        }
        close(pipe_fd[1]);
        close(filter);
        assert_int_equal(read(pipe_fd[0], ret, sizeof(*ret)), sizeof(*ret));
        close(pipe_fd[0]);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
}

/* The kernel takes the family as an int: what stands above its 32 bits must not get another one
 * past the filter, nor keep an allowed one out. */
static void test_socket_families(void **state UNUSED)
{
        struct result r;

        try_families(CAPS_DEFAULT, &r);
        for (int i = 0; i < FAMILIES; i++) {
                bool want = i < 46 && i != 38 && i != 40;

                if (r.low[i] != want || r.high[i] != want)
                        print_error("family %d: %d %d\n", i, r.low[i], r.high[i]);
                assert_int_equal(r.low[i], want);
                assert_int_equal(r.high[i], want);
        }
        assert_false(r.negative);
        try_families(~0ull, &r);
        assert_true(r.low[AF_INET]);
        assert_false(r.low[38] || r.low[40] || r.high[38] || r.high[40] || r.low[46]);
}

/* How many files lie in the cache. */
static int count(void)
{
        DIR *dir = opendir(folder);
        struct dirent *e;
        int n = 0;

        assert_non_null(dir);
        while ((e = readdir(dir)))
                n += str_has_prefix(e->d_name, "seccomp-2-");
        closedir(dir);
        return n;
}

static void test_cache(void **state UNUSED)
{
        struct err err = {0};
        int before = count();

        for (int i = 0; i < 2; i++) {
                int fd = seccomp_open_program(folder, 1, &err);

                assert_true(fd >= 0);
                close(fd);
                assert_int_equal(count(), before + 1);
        }
}

/* Each thing that a program is made of has its part in the name. */
static void test_name_of_the_cache(void **state UNUSED)
{
        struct profile_rule rules[] = {{0, "read write"}, {2, "mount"}, {0, NULL}};
        uint64_t plain = seccomp_rules_hash(rules);

        rules[1].caps = 4;
        assert_int_not_equal(seccomp_rules_hash(rules), plain);
        rules[1].caps = 2;
        assert_int_equal(seccomp_rules_hash(rules), plain);
        rules[1].names = "mounts";
        assert_int_not_equal(seccomp_rules_hash(rules), plain);
        /* A name is not just moved from one rule to its neighbour. */
        rules[0].names = "read";
        rules[1] = (struct profile_rule){2, "writemount"};
        uint64_t moved = seccomp_rules_hash(rules);

        rules[0].names = "readwrite";
        rules[1].names = "mount";
        assert_int_not_equal(seccomp_rules_hash(rules), moved);
}

static int set_up(void **state UNUSED)
{
        return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state UNUSED)
{
        return io_remove_tree(AT_FDCWD, folder);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_socket_families),
                cmocka_unit_test(test_cache),
                cmocka_unit_test(test_name_of_the_cache),
        };

        return cmocka_run_group_tests(tests, set_up, tear_down);
}
