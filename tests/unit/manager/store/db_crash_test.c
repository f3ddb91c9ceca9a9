/*
 * What the database keeps when the process is killed in its midst, and when the disk fails: what
 * was told to be durable is there, and nothing is there in part.
 */
#include "tests/lib/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "shared/base/base.h"
#include "tests/lib/db_fixture.h"
#include "tests/lib/store_ops.h"

#define KILL_ROUNDS    10
#define INSTALL_ROUNDS 16
#define IN_FLIGHT      4
#define BYTES_MAX      (256u << 20)

static void sleep_ms(uint64_t ms)
{
        struct timespec ts = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};

        nanosleep(&ts, NULL);
}

static int wait_for(pid_t pid)
{
        int status;

        assert_int_equal(waitpid(pid, &status, 0), pid);
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* --- killed while it writes ---------------------------------------------------------------------
 */
/* What a writing process tells of a write: when it hands it in, and when it is durable. Its number
 * is the vote in it. */
struct told {
        uint64_t vote, last, hash;
        bool is_durable;
};

struct child {
        struct db_rig rig;
        struct store *agreed; /* the database's: as all durable entries that will stay make it */
        uint64_t agreed_to, vote, term;
        struct store *newest; /* with those under way */
        struct rng rng;
        struct raft_bytes **entries; /* by index; NULL: none that changes anything */
        uint64_t *hash_at;           /* of the log up to there */
        size_t cap;
        uint64_t doomed_from; /* entries from here on will be replaced; 0: none */
        struct {
                uint64_t vote, last, stays_to;
        } pending[IN_FLIGHT];
        size_t n_pending;
        int out;
};

static uint64_t hash_more(uint64_t hash, const struct raft_entry *e)
{
        hash = (hash ^ e->term) * 0x100000001b3u;
        hash = (hash ^ (uint64_t)e->kind) * 0x100000001b3u;
        for (size_t i = 0; e->bytes && i < e->bytes->len; i++)
                hash = (hash ^ e->bytes->data[i]) * 0x100000001b3u;
        return hash;
}

static void note_entry(struct child *c, uint64_t index, const struct raft_entry *e)
{
        if (index >= c->cap) {
                c->cap = 2 * index + 64;
                c->entries = xreallocarray(c->entries, c->cap, sizeof(*c->entries));
                c->hash_at = xreallocarray(c->hash_at, c->cap, sizeof(*c->hash_at));
                c->hash_at[0] = 0;
        }
        c->entries[index] = e->kind == RAFT_ENTRY_DATA ? raft_bytes_ref(e->bytes) : NULL;
        c->hash_at[index] = hash_more(c->hash_at[index - 1], e);
}

static void tell(struct child *c, uint64_t vote, uint64_t last, bool is_durable)
{
        struct told t = {vote, last, is_durable ? 0 : c->hash_at[last], is_durable};

        if (io_write_all(c->out, &t, sizeof(t)) < 0)
                abort();
}

static struct raft_entry make_entry(struct child *c, bool is_doomed)
{
        struct raft_entry e = {.term = c->term, .kind = RAFT_ENTRY_NOOP};
        _cleanup_buf_ struct buf bytes = {0};

        if (is_doomed) {
                buf_printf(&bytes, "doomed %llu", (unsigned long long)rng_next(&c->rng));
        } else {
                e.kind = RAFT_ENTRY_DATA;
                while (store_change_count(c->newest) < 20)
                        store_operate(c->newest, &c->rng, 1);
                store_take_changes(c->newest, 1, &bytes);
        }
        e.bytes = raft_bytes_new(bytes.data, bytes.len);
        return e;
}

/* A write of one to three entries: at the end, or in the place of those that are doomed. */
static void issue(struct child *c)
{
        bool is_doomed = rng_below(&c->rng, c->doomed_from ? 2 : 4) == 0;
        uint64_t from = c->rig.last + 1;
        struct raft_write w = {.vote = ++c->vote};

        if (c->doomed_from && !is_doomed) {
                from = c->doomed_from;
                c->doomed_from = 0;
                c->term++;
        } else if (is_doomed && !c->doomed_from) {
                c->doomed_from = from;
        }
        w.term = c->term;
        w.from = from;
        w.n_entries = 1 + (size_t)rng_below(&c->rng, 3);
        w.entries = xnew_array(struct raft_entry, w.n_entries);
        uint64_t last = from + w.n_entries - 1;
        for (size_t i = 0; i < w.n_entries; i++) {
                w.entries[i] = make_entry(c, is_doomed);
                note_entry(c, from + i, &w.entries[i]);
        }
        c->pending[c->n_pending].vote = c->vote;
        c->pending[c->n_pending].last = last;
        c->pending[c->n_pending++].stays_to = c->doomed_from ? c->doomed_from - 1 : last;
        tell(c, c->vote, last, false);
        db_rig_write(&c->rig, &w, last);
}

static void agree(struct child *c, uint64_t index)
{
        for (; c->agreed_to < index; c->agreed_to++) {
                const struct raft_bytes *b = c->entries[c->agreed_to + 1];

                if (b && store_apply_entry(c->agreed, b->data, b->len) < 0)
                        abort();
        }
        db_set_applied(c->rig.db, index);
}

static void on_durable(void *arg)
{
        struct child *c = arg;
        size_t n = c->n_pending - c->rig.n_pending;

        tell(c, c->pending[n - 1].vote, c->pending[n - 1].last, true);
        agree(c, c->pending[n - 1].stays_to);
        c->n_pending -= n;
        memmove(c->pending, c->pending + n, c->n_pending * sizeof(c->pending[0]));
        while (c->n_pending < IN_FLIGHT)
                issue(c);
}

static void child_writes(const char *dir, uint64_t seed, int out)
{
        struct child *c = xnew(struct child);
        const struct db_state *s = &c->rig.state;
        struct err err = {0};

        if (db_rig_open(&c->rig, dir, &err) < 0) {
                fprintf(stderr, "# %s\n", err.text);
                _exit(1);
        }
        c->rng.state = seed;
        c->out = out;
        c->agreed = STEAL_PTR(c->rig.store);
        c->agreed_to = c->rig.last;
        c->newest = store_new();
        for (size_t i = 0; i < s->n_entries; i++) {
                const struct raft_bytes *b = s->entries[i].bytes;

                note_entry(c, i + 1, &s->entries[i]);
                if (c->entries[i + 1] && store_apply_entry(c->newest, b->data, b->len) < 0)
                        _exit(3);
        }
        c->vote = s->vote;
        c->term = s->term + 1;
        c->rig.arg = c;
        c->rig.on_durable = on_durable;
        while (c->n_pending < IN_FLIGHT)
                issue(c);
        while (!c->rig.failure)
                loop_run(c->rig.loop);
        _exit(2);
}

/* The tables, and of the log what they need, are what all the log up to there makes. */
static void assert_tables_fit(const struct db_rig *r)
{
        struct store *store = store_new();

        for (uint64_t i = 0; i < r->state.applied; i++) {
                const struct raft_entry *e = &r->state.entries[i];

                if (e->kind == RAFT_ENTRY_DATA)
                        assert_int_equal(store_apply_entry(store, e->bytes->data, e->bytes->len),
                                         0);
        }
        assert_int_equal(store_hash(store), r->loaded_hash);
        store_free(store);
}

/* The log is as one of the writes left it, none older than what was told to be durable. */
static void assert_log_fits(const struct db_state *s, int fd, uint64_t *durable)
{
        uint64_t hash = 0;
        bool is_known = s->vote == *durable; /* nothing new */
        struct told t;

        for (size_t i = 0; i < s->n_entries; i++)
                hash = hash_more(hash, &s->entries[i]);
        while (io_read_exact(fd, &t, sizeof(t)) == 0) {
                if (t.is_durable) {
                        *durable = t.vote;
                } else if (t.vote == s->vote) {
                        assert_int_equal(t.last, s->n_entries);
                        assert_int_equal(t.hash, hash);
                        is_known = true;
                }
        }
        assert_true(is_known);
        assert_true(s->vote >= *durable);
        *durable = s->vote;
}

static void test_what_was_told_survives_kill(void **state)
{
        struct fixture *f = *state;
        _cleanup_free_ char *path = xasprintf("%s/told", f->dir);
        uint64_t durable = 0, applied = 0;

        for (uint64_t round = 0; round < KILL_ROUNDS; round++) {
                int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
                pid_t pid = fork();

                assert_true(fd >= 0 && pid >= 0);
                if (pid == 0)
                        child_writes(f->dir, 1000 + round, fd);
                sleep_ms(50 + rng_below(&f->rng, round % 2 ? 2200 : 300));
                kill(pid, SIGKILL);
                assert_int_equal(wait_for(pid), 128 + SIGKILL);

                fixture_open(f);
                lseek(fd, 0, SEEK_SET);
                assert_log_fits(&f->rig.state, fd, &durable);
                assert_tables_fit(&f->rig);
                applied = f->rig.state.applied;
                fixture_close(f);
                close(fd);
        }
        assert_true(durable > KILL_ROUNDS);
        assert_true(applied > 0);
}

/* --- killed while a snapshot is put in place ----------------------------------------------------
 */
static void child_installs(const char *dir, const struct buf *bytes, uint64_t index, int out)
{
        struct db_rig *r = xnew(struct db_rig);
        struct raft_base base = {.index = index, .term = 3};
        struct raft_write w = {.term = 3, .install = xmemdup(&base, sizeof(base))};
        struct err err = {0};

        if (db_rig_open(r, dir, &err) < 0) {
                fprintf(stderr, "# %s\n", err.text);
                _exit(1);
        }
        db_set_store(r->db, NULL);
        store_free(STEAL_PTR(r->store));
        w.chunk = raft_bytes_new(bytes->data, bytes->len);
        db_rig_write(r, &w, index);
        db_rig_wait(r, &r->durable_seq, r->seq);
        _exit(r->failure || io_write_all(out, "", 1) < 0 ? 2 : 0);
}

/* Makes a manager with ten entries of its own; returns the hash of its state. */
static uint64_t make_old_state(const char *dir)
{
        struct db_rig r = {0};
        struct rng rng = {99};

        io_remove_tree(AT_FDCWD, dir);
        assert_int_equal(db_rig_open(&r, dir, NULL), 0);
        for (int i = 0; i < 10; i++) {
                while (store_change_count(r.store) < 20)
                        store_operate(r.store, &rng, 3);
                db_rig_propose(&r, 1);
        }
        uint64_t hash = store_hash(r.store);
        db_rig_close(&r);
        return hash;
}

/* Kills it after so long, and looks at what is there. Returns whether it is the new state. */
static bool kill_install(struct fixture *f, const char *dir, const struct buf *bytes,
                         uint64_t index, uint64_t after_ms)
{
        uint64_t old_hash = make_old_state(dir);
        struct db_rig r = {0};
        struct stat st;
        _cleanup_free_ char *told = xasprintf("%s/told", f->dir);
        _cleanup_free_ char *incoming = xasprintf("%s/incoming.db", dir);
        _cleanup_close_ int fd = open(told, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        pid_t pid = fork();

        assert_true(fd >= 0 && pid >= 0);
        if (pid == 0)
                child_installs(dir, bytes, index, fd);
        sleep_ms(after_ms);
        kill(pid, SIGKILL);
        int status = wait_for(pid);
        assert_true(status == 0 || status == 128 + SIGKILL);
        assert_int_equal(fstat(fd, &st), 0);

        assert_int_equal(db_rig_open(&r, dir, &f->err), 0);
        bool is_new = r.state.base.index == index;
        assert_true(is_new || (st.st_size == 0 && r.state.base.index == 0));
        assert_int_equal(r.last, is_new ? index : 10);
        assert_int_equal(r.state.term, is_new ? 3 : 1);
        assert_int_equal(store_hash(r.store), is_new ? f->hash_at[index] : old_hash);
        assert_int_equal(fixture_file_size(incoming), -1);
        db_rig_close(&r);
        return is_new;
}

/* In a child: threads of the pool must not be there when others are forked. */
static int child_copies(const char *dir, const char *copy)
{
        struct db_rig *r = xnew(struct db_rig);

        if (db_rig_open(r, dir, NULL) < 0)
                return 1;
        db_copy(r->db, 1, copy);
        while (r->n_copied == 0)
                loop_run(r->loop);
        return r->copy_error;
}

static void make_copy(const char *dir, const char *copy, struct buf *ret)
{
        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0)
                _exit(child_copies(dir, copy));
        assert_int_equal(wait_for(pid), 0);
        assert_int_equal(io_read_file(AT_FDCWD, copy, BYTES_MAX, ret), 0);
}

static void test_an_install_is_all_or_nothing(void **state)
{
        struct fixture *f = *state;
        _cleanup_buf_ struct buf bytes = {0};
        _cleanup_free_ char *copy = xasprintf("%s/copy", f->dir);
        _cleanup_free_ char *other = xasprintf("%s/other", f->dir);
        bool is_new = false;

        fixture_open(f);
        fixture_fill(f, 10000);
        uint64_t index = f->rig.last;
        fixture_wait_covered(f, index);
        fixture_close(f);
        make_copy(f->dir, copy, &bytes);
        for (uint64_t i = 0; i < INSTALL_ROUNDS; i++)
                kill_install(f, other, &bytes, index, 10 * i);
        for (uint64_t ms = 500; !is_new; ms *= 2) /* left to itself it comes to its end */
                is_new = kill_install(f, other, &bytes, index, ms);
}

/* --- a disk that fails ---------------------------------------------------------------------------
 */
/* In a child: writes until the disk fails; then `heal`, and all that was told to be durable is
 * there. Returns 0, or the number of the check that failed. */
static int fail_and_heal(const char *dir, uint64_t entries_max, void (*heal)(const char *dir),
                         int *ret_failure)
{
        struct db_rig *r = xnew(struct db_rig), *again = xnew(struct db_rig);
        struct rng rng = {7};
        struct err err = {0};
        uint64_t hash = 0, before = 0;

        *ret_failure = 0;
        if (db_rig_open(r, dir, &err) == 0) {
                while (!r->failure && r->last < entries_max) {
                        before = hash;
                        while (store_change_count(r->store) < 20)
                                store_operate(r->store, &rng, 1);
                        db_rig_propose(r, 1);
                        hash = store_hash(r->store);
                        db_rig_wait(r, &r->durable, r->last);
                }
                *ret_failure = r->failure;
                uint64_t durable = r->durable;
                struct raft_write w = {.term = 2};
                if (r->failure) {
                        db_rig_write(r, &w, r->last);
                        db_rig_run_ms(r, 10);
                }
                if (r->failure && (r->n_failures != 1 || r->durable != durable))
                        return 1;
                db_rig_close(r);
        } else {
                *ret_failure = err.code;
        }
        heal(dir);
        if (db_rig_open(again, dir, &err) < 0) {
                fprintf(stderr, "# %s\n", err.text);
                return 2;
        }
        /* The failed commit itself may or may not have reached the disk. */
        if (again->last < r->durable || again->last > r->durable + 1)
                return 3;
        if (r->last && store_hash(again->store) != (again->last == r->last ? hash : before) &&
            again->last > 0)
                return 4;
        db_rig_close(again);
        return 0;
}

static void raise_limit(const char *dir UNUSED)
{
        struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};

        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_FSIZE, &limit) < 0)
                abort();
}

static int in_child(int (*fn)(const char *dir, size_t n), const char *dir, size_t n)
{
        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0)
                _exit(fn(dir, n));
        return wait_for(pid);
}

/* Files may grow to n bytes only. 100: the limit was not reached. */
static int child_limited(const char *dir, size_t n)
{
        struct rlimit limit;
        int failure;

        signal(SIGXFSZ, SIG_IGN);
        getrlimit(RLIMIT_FSIZE, &limit);
        limit.rlim_cur = n;
        setrlimit(RLIMIT_FSIZE, &limit);
        int r = fail_and_heal(dir, 60, raise_limit, &failure);
        return r ? r : failure ? 0 : 100;
}

static void test_a_write_that_fails_anywhere_is_not_told(void **state)
{
        struct fixture *f = *state;
        int r = 0;

        /* Every limit fails another call, from the first page to none at all. */
        for (size_t n = 0; r != 100; n += 12288) {
                _cleanup_free_ char *dir = xasprintf("%s/%zu", f->dir, n);

                r = in_child(child_limited, dir, n);
                if (r != 0 && r != 100)
                        print_error("limit %zu: check %d\n", n, r);
                assert_true(r == 0 || r == 100);
                assert_true(n < (64u << 20));
                io_remove_tree(AT_FDCWD, dir);
        }
}

/* In a mount namespace of its own, so that nothing stays. */
static int mount_small(const char *dir)
{
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
                return -1;
        return mount("tmpfs", dir, "tmpfs", 0, "size=1m");
}

static void grow(const char *dir)
{
        if (mount("tmpfs", dir, "tmpfs", MS_REMOUNT, "size=256m") < 0)
                abort();
}

static int child_full_disk(const char *dir, size_t n UNUSED)
{
        int failure;

        if (mount_small(dir) < 0)
                return 50;
        int r = fail_and_heal(dir, 100000, grow, &failure);
        return r ? r : failure == ENOSPC ? 0 : 51;
}

static void test_a_full_disk_is_told(void **state)
{
        struct fixture *f = *state;

        assert_int_equal(in_child(child_full_disk, f->dir, 0), 0);
}

/* A snapshot comes in for which there is no room. */
static int child_incoming(const char *dir, size_t n UNUSED)
{
        struct db_rig *r = xnew(struct db_rig);
        _cleanup_free_ char *incoming = xasprintf("%s/incoming.db", dir);
        uint8_t piece[65536] = {0};

        if (mount_small(dir) < 0 || db_rig_open(r, dir, NULL) < 0)
                return 50;
        for (uint64_t i = 0; i < 100 && !r->failure; i++) {
                struct raft_write w = {.chunk_offset = i * sizeof(piece)};

                w.chunk = raft_bytes_new(piece, sizeof(piece));
                db_rig_write(r, &w, 0);
                db_rig_wait(r, &r->durable_seq, r->seq);
        }
        if (r->failure != ENOSPC || r->durable_seq != r->seq - 1)
                return 51;
        if (!strstr(r->failure_text, incoming) || fixture_file_size(incoming) != -1)
                return 52;
        db_rig_close(r);
        return 0;
}

static void test_a_snapshot_without_room_is_a_failure(void **state)
{
        struct fixture *f = *state;

        assert_int_equal(in_child(child_incoming, f->dir, 0), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_what_was_told_survives_kill),
                TEST(test_an_install_is_all_or_nothing),
                TEST(test_a_write_that_fails_anywhere_is_not_told),
                TEST(test_a_full_disk_is_told),
                TEST(test_a_snapshot_without_room_is_a_failure),
        };
        return cmocka_run_group_tests_name("db_crash", tests, NULL, NULL);
}
