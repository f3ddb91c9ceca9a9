/* The journal: what is written is there again, whatever happens to the process or the file. */
#include "tests/lib/unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/journal/journal.h"
#include "shared/base/base.h"

struct fixture {
        char dir[64];
        char *path;
};

static int set_up(void **state)
{
        struct fixture *f = xnew(struct fixture);

        snprintf(f->dir, sizeof(f->dir), "/tmp/journal-test.XXXXXX");
        assert_non_null(mkdtemp(f->dir));
        f->path = xasprintf("%s/journal.db", f->dir);
        log_set_level(LOG_LEVEL_ERROR);
        *state = f;
        return 0;
}

static int tear_down(void **state)
{
        struct fixture *f = *state;

        umount(f->dir); /* not all of them mount there */
        io_remove_tree(AT_FDCWD, f->dir);
        free(f->path);
        free(f);
        return 0;
}

static struct journal *open_journal(const struct fixture *f)
{
        struct journal *j;
        struct err err = {0};
        int r = journal_open(f->path, &j, &err);

        if (r < 0)
                fail_msg("%s", err.text);
        return j;
}

static struct id id_of(uint64_t n)
{
        return (struct id){n, n};
}

static void put(struct journal *j, uint64_t id, const char *text)
{
        journal_put(j, id_of(id), (const uint8_t *)text, strlen(text));
}

static int collect(void *arg, const uint8_t *p, size_t n)
{
        struct buf *b = arg;

        if (n == 3 && memcmp(p, "bad", 3) == 0)
                return -EBADMSG;
        buf_append(b, p, n);
        buf_putc(b, ' ');
        return 0;
}

static void expect(struct journal *j, const char *records)
{
        _cleanup_buf_ struct buf b = {0};
        struct err err = {0};

        assert_int_equal(journal_load(j, collect, &b, &err), 0);
        assert_string_equal(buf_str(&b), records);
}

static void what_is_written_is_there_again(void **state)
{
        struct fixture *f = *state;
        struct journal *j = open_journal(f);
        struct stat st;

        put(j, 1, "one");
        put(j, 2, "two");
        put(j, 3, "three");
        put(j, 2, "zwei");
        journal_remove(j, id_of(3));
        assert_int_equal(journal_flush(j), 0);
        journal_close(j);
        assert_int_equal(stat(f->path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        j = open_journal(f);
        expect(j, "one zwei ");
        journal_close(j);
}

/* A child that writes, flushes, says so, and is killed in the middle of the next transaction. */
static void flushed_records_outlive_sigkill(void **state)
{
        struct fixture *f = *state;
        int fds[2], status;
        char c;

        assert_int_equal(pipe(fds), 0);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                struct journal *j = open_journal(f);

                put(j, 1, "flushed");
                journal_flush(j);
                put(j, 2, "not");
                if (write(fds[1], "x", 1) == 1)
                        pause();
                _exit(1);
        }
        assert_int_equal(read(fds[0], &c, 1), 1);
        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
        close(fds[0]);
        close(fds[1]);
        struct journal *j = open_journal(f);
        expect(j, "flushed ");
        journal_close(j);
}

static size_t count_files(const char *dir, const char *part)
{
        DIR *d = opendir(dir);
        struct dirent *e;
        size_t n = 0;

        while ((e = readdir(d)))
                n += strstr(e->d_name, part) != NULL;
        closedir(d);
        return n;
}

static void a_damaged_file_is_put_aside(void **state)
{
        struct fixture *f = *state;
        static const char garbage[] = "this is no database, but it is long enough to be looked at "
                                      "as one, and it must not be lost either.........";

        assert_int_equal(io_write_file_atomic(AT_FDCWD, f->path, garbage, sizeof(garbage), 0600),
                         0);
        struct journal *j = open_journal(f);
        expect(j, "");
        put(j, 1, "new");
        journal_close(j);
        assert_int_equal(count_files(f->dir, ".broken-"), 1);
        j = open_journal(f);
        expect(j, "new ");
        journal_close(j);
}

static void a_record_that_cannot_be_read_is_forgotten(void **state)
{
        struct fixture *f = *state;
        struct journal *j = open_journal(f);

        put(j, 1, "good");
        put(j, 2, "bad");
        journal_flush(j);
        expect(j, "good ");
        journal_close(j);
        j = open_journal(f);
        expect(j, "good ");
        journal_close(j);
}

static void a_folder_that_is_not_there_is_an_error(void **state)
{
        struct journal *j;
        struct err err = {0};

        (void)state;
        assert_int_equal(journal_open("/nonexistent/journal.db", &j, &err), -ENOENT);
        assert_string_equal(err.text, "journal /nonexistent/journal.db: no such file or directory");
}

/* --- a disk that is full -------------------------------------------------------------------------
 */
static void mount_disk(struct fixture *f)
{
        assert_int_equal(mount("journal-test", f->dir, "tmpfs", 0, "size=1m"), 0);
}

static void fill_disk(struct fixture *f)
{
        static const char bytes[4096];
        _cleanup_free_ char *path = xasprintf("%s/ballast", f->dir);
        _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

        assert_true(fd >= 0);
        while (write(fd, bytes, sizeof(bytes)) > 0)
                ;
        assert_int_equal(errno, ENOSPC);
}

static void free_disk(struct fixture *f)
{
        _cleanup_free_ char *path = xasprintf("%s/ballast", f->dir);

        assert_int_equal(unlink(path), 0);
}

static void put_large(struct journal *j, uint64_t id)
{
        static const uint8_t record[100000] = {'x'};

        journal_put(j, id_of(id), record, sizeof(record));
}

static void what_a_full_disk_refused_is_written_later(void **state)
{
        struct fixture *f = *state;

        mount_disk(f);
        struct journal *j = open_journal(f);
        put(j, 1, "one");
        put(j, 2, "two");
        assert_int_equal(journal_write(j, 1000), 0);
        assert_true(journal_deadline(j) == TIME_NEVER);
        fill_disk(f);
        put_large(j, 3);
        journal_remove(j, id_of(1));
        assert_int_equal(journal_write(j, 2000), -ENOSPC);
        assert_int_equal(journal_deadline(j), 2000 + JOURNAL_RETRY_MS);
        assert_int_equal(journal_failing_since(j), 2000);
        expect(j, "one two ");
        assert_int_equal(journal_write(j, 3000), -ENOSPC);
        assert_int_equal(journal_failing_since(j), 2000);
        free_disk(f);
        put(j, 3, "three");
        assert_int_equal(journal_write(j, 3999), -ENOSPC); /* not in every round */
        assert_int_equal(journal_write(j, 4000), 0);
        assert_true(journal_deadline(j) == TIME_NEVER);
        assert_true(journal_failing_since(j) == TIME_NEVER);
        journal_close(j);
        j = open_journal(f);
        expect(j, "two three ");
        journal_close(j);
}

static void all_or_nothing_of_a_flush_is_there(void **state)
{
        struct fixture *f = *state;

        mount_disk(f);
        struct journal *j = open_journal(f);
        put(j, 1, "one");
        assert_int_equal(journal_flush(j), 0);
        fill_disk(f);
        put(j, 1, "uno");
        put_large(j, 2);
        assert_int_equal(journal_flush(j), -ENOSPC);
        journal_close(j);
        j = open_journal(f);
        expect(j, "one ");
        journal_close(j);
}

/* The disks are seen by this process alone, and go with it. */
static int own_mounts(void **state UNUSED)
{
        return unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0;
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
        const struct CMUnitTest tests[] = {
                T(what_is_written_is_there_again),
                T(flushed_records_outlive_sigkill),
                T(a_damaged_file_is_put_aside),
                T(a_record_that_cannot_be_read_is_forgotten),
                T(a_folder_that_is_not_there_is_an_error),
                T(what_a_full_disk_refused_is_written_later),
                T(all_or_nothing_of_a_flush_is_there),
        };

        return cmocka_run_group_tests(tests, own_mounts, NULL);
}
