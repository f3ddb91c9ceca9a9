/* lock: what a manager's data-dir looks like with autolock, without it, and on the way; how one
 * that is locked is spoken to. */
#include "tests/lib/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "manager/identity/identity.h"
#include "manager/lock.h"
#include "shared/base/io.h"
#include "shared/base/mem.h"
#include "shared/net/net.h"
#include "shared/wire/wire.h"

#define NOW_MS 1000

struct fixture {
        char dir[64];
        struct loop *loop;
        struct db *db;
        struct lock *lock;
        Swarm__Cluster *cluster;
        struct net_keys node, keys;
        uint8_t unlock[2][SEAL_KEY_BYTES];
        int seal_error;
        bool is_sealed_told;
        struct err err;

        /* A client that speaks to a locked manager. */
        struct net *net;
        struct net_client *client;
        struct loop_timer *timer;
        const char *const *says; /* unlock keys, one after the other; "": asks for the node's key */
        size_t n_said;
        char heard[8][ERR_TEXT_MAX]; /* what is refused, and how; "": done */
        size_t n_heard;
};

static char *path(struct fixture *f, const char *name)
{
        static char text[2][128];
        static int n;

        n = !n;
        snprintf(text[n], sizeof(text[n]), "%s/%s", f->dir, name);
        return text[n];
}

static void on_seq(void *arg UNUSED, uint64_t n UNUSED)
{
}
static void on_loaded(void *arg UNUSED, struct store *s UNUSED, uint64_t n UNUSED)
{
}
static void on_copied(void *arg UNUSED, uint64_t tag UNUSED, int error UNUSED, uint64_t i UNUSED,
                      uint64_t n UNUSED)
{
}

static void on_sealed(void *arg, int error)
{
        struct fixture *f = arg;

        f->seal_error = error;
        f->is_sealed_told = true;
        loop_stop(f->loop);
}

static void on_failure(void *arg UNUSED, int error UNUSED, const char *text)
{
        fail_msg("%s", text);
}

static void open_db(struct fixture *f)
{
        if (db_open(path(f, "manager"), &f->db, &f->err) < 0)
                fail_msg("%s", f->err.text);
        f->lock = lock_new(f->dir);
}

static void start_db(struct fixture *f)
{
        struct db_events events = {f, on_seq, on_seq, on_loaded, on_copied, on_sealed, on_failure};

        lock_set_cluster_key(f->lock, f->db, f->keys.secret_key);
        db_start(f->db, f->loop, &events);
}

/* As a manager that is killed leaves it. */
static void close_db(struct fixture *f)
{
        db_close(STEAL_PTR(f->db));
        lock_free(STEAL_PTR(f->lock));
}

static int setup(void **state)
{
        struct fixture *f = xnew(struct fixture);

        snprintf(f->dir, sizeof(f->dir), "/tmp/swarm-lock-XXXXXX");
        assert_non_null(mkdtemp(f->dir));
        f->loop = loop_new();
        seal_draw_key(f->unlock[0]);
        seal_draw_key(f->unlock[1]);
        assert_int_equal(net_keys_make(&f->keys), 0);
        f->cluster = cluster_make(&f->keys, 1);
        assert_int_equal(identity_make_node_key(f->dir, NULL, &f->node, &f->err), 0);
        assert_int_equal(io_mkdir_all(path(f, "manager"), 0700), 0);
        assert_int_equal(
                seal_write_file(AT_FDCWD, path(f, "manager/cluster.key"), NULL, f->keys.secret_key),
                0);
        open_db(f);
        *state = f;
        return 0;
}

static int teardown(void **state)
{
        struct fixture *f = *state;

        close_db(f);
        wire_free(f->cluster);
        loop_free(f->loop);
        io_remove_tree(AT_FDCWD, f->dir);
        free(f);
        return 0;
}

static void follow(struct fixture *f, const uint8_t *unlock_key)
{
        cluster_set_unlock_key(f->cluster, unlock_key);
        f->is_sealed_told = false;
        lock_follow(f->lock, f->db, f->cluster, NOW_MS);
}

static void finish(struct fixture *f)
{
        while (!f->is_sealed_told)
                loop_run(f->loop);
        lock_on_sealed(f->lock, f->seal_error, NOW_MS);
}

/* With which key the data key opens; the files open with that, or are plain. */
static void assert_sealed(struct fixture *f, int with)
{
        uint8_t key[SEAL_KEY_BYTES], bytes[SEAL_KEY_BYTES];
        struct net_keys node;

        assert_int_equal(
                seal_read_file(AT_FDCWD, path(f, "manager/data.key"), f->unlock[!with], key),
                -EBADMSG);
        assert_int_equal(
                seal_read_file(AT_FDCWD, path(f, "manager/data.key"), f->unlock[with], key), 0);
        assert_int_equal(identity_read_node_key(f->dir, NULL, &node, &f->err), -ENOKEY);
        assert_non_null(strstr(f->err.text, "autolocked"));
        assert_int_equal(identity_read_node_key(f->dir, key, &node, &f->err), 0);
        assert_memory_equal(node.secret_key, f->node.secret_key, NET_KEY_BYTES);
        assert_int_equal(seal_read_file(AT_FDCWD, path(f, "manager/cluster.key"), NULL, bytes),
                         -ENOKEY);
        assert_int_equal(seal_read_file(AT_FDCWD, path(f, "manager/cluster.key"), key, bytes), 0);
        assert_memory_equal(bytes, f->keys.secret_key, NET_KEY_BYTES);
}

static void assert_plain(struct fixture *f)
{
        uint8_t bytes[SEAL_KEY_BYTES];
        struct net_keys node;

        assert_int_equal(access(path(f, "manager/data.key"), F_OK), -1);
        assert_int_equal(identity_read_node_key(f->dir, NULL, &node, &f->err), 0);
        assert_memory_equal(node.secret_key, f->node.secret_key, NET_KEY_BYTES);
        assert_int_equal(seal_read_file(AT_FDCWD, path(f, "manager/cluster.key"), NULL, bytes), 0);
}

static void test_it_follows(void **state)
{
        struct fixture *f = *state;

        assert_int_equal(lock_open(f->lock, f->loop, f->db, &f->err), 0); /* not locked */
        start_db(f);
        follow(f, NULL);
        assert_false(f->is_sealed_told);
        assert_plain(f);
        assert_null(lock_seal_key(f->lock));
        follow(f, f->unlock[0]);
        lock_follow(f->lock, f->db, f->cluster, NOW_MS); /* asked for once */
        finish(f);
        assert_sealed(f, 0);
        assert_non_null(lock_seal_key(f->lock));
        follow(f, f->unlock[1]);
        finish(f);
        assert_sealed(f, 1);
        follow(f, NULL);
        finish(f);
        assert_plain(f);
        assert_null(lock_seal_key(f->lock));
        follow(f, f->unlock[0]);
        finish(f);
        assert_sealed(f, 0);
        /* The state goes, and the key that opens the node's with it. */
        struct net_keys node;
        assert_int_equal(lock_give_up(f->lock, &f->err), 0);
        assert_int_equal(identity_read_node_key(f->dir, NULL, &node, &f->err), 0);
        assert_memory_equal(node.secret_key, f->node.secret_key, NET_KEY_BYTES);
}

/* A state that is not there yet says nothing. */
static void test_no_state(void **state)
{
        struct fixture *f = *state;
        Swarm__Cluster empty = SWARM__CLUSTER__INIT;

        start_db(f);
        assert_int_equal(lock_begin(f->lock, f->db, f->keys.secret_key, NULL, &f->err), 0);
        assert_int_equal(access(path(f, "manager/data.key"), F_OK), -1);
        lock_follow(f->lock, f->db, &empty, NOW_MS);
        assert_plain(f);
}

/* What fails is tried again, and not before its time. */
static void test_again(void **state)
{
        struct fixture *f = *state;

        start_db(f);
        assert_int_equal(mkdir(path(f, "manager/data.key"), 0700), 0);
        follow(f, f->unlock[0]);
        rmdir(path(f, "manager/data.key"));
        follow(f, f->unlock[0]);
        assert_plain(f);
        lock_follow(f->lock, f->db, f->cluster, NOW_MS + 60000);
        finish(f);
        assert_sealed(f, 0);
}

/* --- locked -------------------------------------------------------------------------------------
 */
static void on_message(void *arg, const uint8_t *p, size_t n)
{
        struct fixture *f = arg;
        Swarm__Response *r = wire_unpack_heap(&swarm__response__descriptor, p, n);

        assert_non_null(r);
        assert_int_equal(r->number, f->n_heard + 1);
        assert_true(f->n_heard < ARRAY_SIZE(f->heard));
        snprintf(f->heard[f->n_heard++], ERR_TEXT_MAX, "%s", r->error);
        wire_free(r);
        loop_timer_set(f->timer, 0);
}

static void say_next(void *arg)
{
        struct fixture *f = arg;
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__Unlock unlock = SWARM__UNLOCK__INIT;
        Swarm__NodeKeyGet get = SWARM__NODE_KEY_GET__INIT;
        _cleanup_buf_ struct buf b = {0};

        if (!f->says[f->n_said]) {
                loop_stop(f->loop);
                return;
        }
        unlock.key = (char *)(uintptr_t)f->says[f->n_said++];
        q.number = f->n_said;
        q.kind_case = *unlock.key ? SWARM__REQUEST__KIND_UNLOCK : SWARM__REQUEST__KIND_NODE_KEY_GET;
        if (*unlock.key)
                q.unlock = &unlock;
        else
                q.node_key_get = &get;
        WIRE_PACK(&q, &b);
        assert_int_equal(net_client_send(f->client, b.data, b.len), 0);
}

/* A start with such a client; what lock_open says. */
static int start_locked(struct fixture *f, const char *const *says)
{
        char endpoint[128];
        struct net_client_config c = {.endpoint = endpoint, .arg = f, .on_message = on_message};

        snprintf(endpoint, sizeof(endpoint), "ipc://%s/manager.sock", f->dir);
        f->says = says;
        f->n_said = f->n_heard = 0;
        f->net = net_new(f->loop);
        f->timer = loop_timer_new(f->loop, say_next, f);
        assert_int_equal(net_connect(f->net, &c, &f->client, &f->err), 0);
        loop_timer_set(f->timer, 0);
        int r = lock_open(f->lock, f->loop, f->db, &f->err);
        net_client_close(f->client);
        loop_timer_free(f->timer);
        net_free(f->net);
        return r;
}

static void test_locked(void **state)
{
        struct fixture *f = *state;
        char right[SEAL_KEY_TEXT_LEN + 1], wrong[SEAL_KEY_TEXT_LEN + 1];
        const char *const says[] = {"", "x", wrong, right, NULL};
        const char *const gives_up[] = {wrong, NULL};

        seal_key_format(f->unlock[0], right);
        seal_key_format(f->unlock[1], wrong);
        start_db(f);
        follow(f, f->unlock[0]);
        finish(f);
        close_db(f);

        open_db(f);
        assert_int_equal(start_locked(f, gives_up), -ECANCELED);
        assert_string_equal(f->heard[0], "unlock: the key is wrong");
        assert_null(lock_seal_key(f->lock));
        close_db(f);

        open_db(f);
        assert_int_equal(start_locked(f, says), 0);
        assert_int_equal(f->n_heard, 3); /* the last answer is on its way as it opens */
        assert_string_equal(f->heard[0], "manager is locked: run swarmctl swarm unlock");
        assert_string_equal(f->heard[1], "unlock key: does not begin with SWMKEY-1-");
        assert_string_equal(f->heard[2], "unlock: the key is wrong");
        assert_non_null(lock_seal_key(f->lock));
        /* The key was rotated meanwhile. */
        start_db(f);
        follow(f, f->unlock[1]);
        finish(f);
        assert_sealed(f, 1);
}

/* Killed between any two steps, whatever is sealed can be opened. */
static void test_on_the_way(void **state)
{
        struct fixture *f = *state;
        char right[SEAL_KEY_TEXT_LEN + 1];
        const char *const says[] = {right, NULL};

        seal_key_format(f->unlock[0], right);
        start_db(f);
        follow(f, f->unlock[0]); /* the database has not got to it */
        close_db(f);
        open_db(f);
        assert_int_equal(start_locked(f, says), 0);
        start_db(f);
        follow(f, f->unlock[0]);
        finish(f);
        assert_sealed(f, 0);
        follow(f, NULL); /* likewise */
        close_db(f);
        open_db(f);
        assert_int_equal(start_locked(f, says), 0);
        start_db(f);
        follow(f, NULL);
        finish(f);
        assert_plain(f);
}

static void test_damaged(void **state)
{
        struct fixture *f = *state;

        assert_int_equal(
                io_write_file_atomic(AT_FDCWD, path(f, "manager/data.key"), "junk", 4, 0600), 0);
        assert_int_equal(lock_open(f->lock, f->loop, f->db, &f->err), -EINVAL);
        assert_non_null(strstr(f->err.text, "manager/data.key: damaged"));
}

/* --- requests -----------------------------------------------------------------------------------
 */
static void test_requests(void **state)
{
        struct fixture *f = *state;
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__Unlock unlock = SWARM__UNLOCK__INIT;
        Swarm__NodeKeyGet get = SWARM__NODE_KEY_GET__INIT;
        Swarm__Empty empty = SWARM__EMPTY__INIT;
        _cleanup_buf_ struct buf b = {0}, answer = {0};

        start_db(f);
        follow(f, f->unlock[0]);
        finish(f);
        q.number = 7;
        q.kind_case = SWARM__REQUEST__KIND_INFO;
        q.info = &empty;
        WIRE_PACK(&q, &b);
        assert_false(lock_on_request(f->lock, b.data, b.len, &answer));
        assert_false(lock_on_request(f->lock, (const uint8_t *)"\xff", 1, &answer));
        buf_clear(&b);
        q.kind_case = SWARM__REQUEST__KIND_NODE_KEY_GET;
        q.node_key_get = &get;
        WIRE_PACK(&q, &b);
        assert_true(lock_on_request(f->lock, b.data, b.len, &answer));
        Swarm__Response *r =
                wire_unpack_heap(&swarm__response__descriptor, answer.data, answer.len);
        assert_int_equal(r->number, 7);
        assert_int_equal(r->kind_case, SWARM__RESPONSE__KIND_NODE_KEY);
        assert_int_equal(r->node_key.len, NET_KEY_BYTES);
        assert_memory_equal(r->node_key.data, f->node.secret_key, NET_KEY_BYTES);
        wire_free(r);
        buf_clear(&b);
        buf_clear(&answer);
        q.kind_case = SWARM__REQUEST__KIND_UNLOCK;
        q.unlock = &unlock;
        WIRE_PACK(&q, &b);
        assert_true(lock_on_request(f->lock, b.data, b.len, &answer));
        r = wire_unpack_heap(&swarm__response__descriptor, answer.data, answer.len);
        assert_string_equal(r->error, "manager is not locked");
        wire_free(r);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_it_follows), TEST(test_no_state), TEST(test_again),    TEST(test_locked),
                TEST(test_on_the_way), TEST(test_damaged),  TEST(test_requests),
        };

        return cmocka_run_group_tests_name("lock", tests, NULL, NULL);
}
