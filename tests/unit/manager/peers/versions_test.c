/* Links among managers that speak several versions of the protocol, over real sockets. */
#include "tests/lib/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "manager/peers/peers.h"
#include "shared/base/io.h"
#include "shared/base/mem.h"
#include "shared/loop/loop.h"
#include "shared/wire/wire.h"

#define STEP_MS      5
#define DEADLINE_MS  30000
#define SETTLE_STEPS 60 /* long enough for what must not come to have come */
#define LARGE        ((size_t)3 << 20)

/* --- two managers of one loop -------------------------------------------------------------------
 */
struct manager {
        uint64_t id;
        struct net *net;
        struct net_server *server;
        struct peers *peers;
        size_t n_got, last_len; /* messages, and the bytes inside the last */
};

struct fixture {
        struct loop *loop;
        struct loop_timer *step;
        struct net_keys keys;
        struct manager a, b;
};

static void on_message(void *arg, uint64_t from UNUSED, const Swarm__PeerMessage *pm)
{
        struct manager *m = arg;

        m->n_got++;
        m->last_len = pm->relay_down->message.len;
}

static void on_link(void *arg UNUSED, uint64_t id UNUSED)
{
}

static bool on_accept(void *arg UNUSED, const uint8_t key[NET_KEY_BYTES] UNUSED,
                      struct id *ret_node)
{
        *ret_node = (struct id){1, 1};
        return true;
}

static void on_frame(void *arg, const struct net_sender *from, const uint8_t *p, size_t n)
{
        peers_receive(((struct manager *)arg)->peers, from->connection, p, n);
}

static void on_gone(void *arg, uint64_t connection)
{
        peers_gone(((struct manager *)arg)->peers, connection);
}

static void start(struct fixture *f, struct manager *m, uint64_t id, struct protocol_range range)
{
        const char *endpoints[] = {"tcp://127.0.0.1:0", NULL};
        struct err err = {0};

        *m = (struct manager){.id = id, .net = net_new(f->loop)};
        struct net_server_config server = {.endpoints = endpoints,
                                           .keys = &f->keys,
                                           .arg = m,
                                           .accept = on_accept,
                                           .on_message = on_frame,
                                           .on_gone = on_gone};
        assert_int_equal(net_listen(m->net, &server, &m->server, &err), 0);
        m->peers = peers_new(&(struct peers_config){.net = m->net,
                                                    .server = m->server,
                                                    .cluster_keys = &f->keys,
                                                    .id = id,
                                                    .address = net_server_endpoint(m->server, 0) +
                                                               strlen("tcp://"),
                                                    .protocols = range,
                                                    .arg = m,
                                                    .on_message = on_message,
                                                    .on_broken = on_link,
                                                    .on_again = on_link});
}

static void stop(struct manager *m)
{
        peers_free(m->peers);
        net_server_close(m->server);
        if (m->net)
                net_free(m->net);
        *m = (struct manager){0};
}

static void on_step(void *arg)
{
        loop_stop(((struct fixture *)arg)->loop);
}

static void run_step(struct fixture *f)
{
        loop_timer_set(f->step, STEP_MS);
        loop_run(f->loop);
}

static int say(struct manager *from, const struct manager *to, size_t n)
{
        Swarm__PeerMessage m = SWARM__PEER_MESSAGE__INIT;
        Swarm__RelayDown down = SWARM__RELAY_DOWN__INIT;
        _cleanup_free_ uint8_t *bytes = xcalloc(n, 1);

        down.connection = 1;
        down.message = (ProtobufCBinaryData){n, bytes};
        m.kind_case = SWARM__PEER_MESSAGE__KIND_RELAY_DOWN;
        m.relay_down = &down;
        return peers_send(from->peers, to->id, &m);
}

/* a has a link to b, which learns of a by what it hears. */
static void link_up(struct fixture *f, struct protocol_range a, struct protocol_range b)
{
        struct raft_members members = {.n = 2, .of = {{.id = 1}, {.id = 2}}};

        stop(&f->a);
        stop(&f->b);
        start(f, &f->a, 1, a);
        start(f, &f->b, 2, b);
        snprintf(members.of[1].address, RAFT_ADDRESS_MAX, "%s",
                 net_server_endpoint(f->b.server, 0) + strlen("tcp://"));
        peers_set(f->a.peers, &members);
        for (int ms = 0; say(&f->a, &f->b, 1) < 0; ms += STEP_MS) {
                assert_true(ms < DEADLINE_MS);
                run_step(f);
        }
}

static int setup(void **state)
{
        struct fixture *f = xnew(struct fixture);

        f->loop = loop_new();
        f->step = loop_timer_new(f->loop, on_step, f);
        *state = f;
        return net_keys_make(&f->keys);
}

static int teardown(void **state)
{
        struct fixture *f = *state;

        stop(&f->a);
        stop(&f->b);
        loop_timer_free(f->step);
        loop_free(f->loop);
        free(f);
        return 0;
}

/* --- what is logged ------------------------------------------------------------------------------
 */
struct log_catcher {
        char path[32];
        int fd, saved;
};

static void catch_log(struct log_catcher *c)
{
        *c = (struct log_catcher){.path = "/tmp/swarm-peers-XXXXXX"};
        c->fd = mkostemp(c->path, O_CLOEXEC);
        c->saved = dup(STDERR_FILENO);
        assert_true(c->fd >= 0 && c->saved >= 0);
        dup2(c->fd, STDERR_FILENO);
}

static struct buf caught_log(struct log_catcher *c)
{
        struct buf b = {0};

        dup2(c->saved, STDERR_FILENO);
        close(c->saved);
        close(c->fd);
        assert_int_equal(io_read_file(AT_FDCWD, c->path, 65536, &b), 0);
        unlink(c->path);
        return b;
}

static size_t count(const struct buf *b, const char *text)
{
        const char *p = buf_str((struct buf *)(uintptr_t)b);
        size_t n = 0;

        for (; (p = strstr(p, text)); p += strlen(text))
                n++;
        return n;
}

/* --- versions -----------------------------------------------------------------------------------
 */
static void test_versions_in_common(void **state)
{
        static const struct {
                struct protocol_range a, b;
        } cases[] = {
                {{1, 1}, {1, 2}}, {{1, 2}, {1, 1}}, {{1, 2}, {2, 3}},
                {{2, 3}, {1, 2}}, {{1, 3}, {2, 2}}, {{2, 2}, {2, 2}},
        };
        struct fixture *f = *state;

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                link_up(f, cases[i].a, cases[i].b);
                /* Things are said again, as Raft does it. */
                for (int ms = 0; f->b.n_got == 0; ms += STEP_MS) {
                        assert_true(ms < DEADLINE_MS);
                        say(&f->a, &f->b, 1);
                        run_step(f);
                }
                assert_int_equal(say(&f->a, &f->b, LARGE), 0);
                for (int ms = 0; f->b.last_len != LARGE; ms += STEP_MS) {
                        assert_true(ms < DEADLINE_MS);
                        run_step(f);
                }
                /* and b has found the way back */
                for (int ms = 0; f->a.n_got == 0; ms += STEP_MS) {
                        assert_true(ms < DEADLINE_MS);
                        say(&f->b, &f->a, 1);
                        run_step(f);
                }
        }
}

/* Both ends say so, once. */
static void test_no_version_in_common(void **state)
{
        struct fixture *f = *state;
        struct log_catcher log;

        catch_log(&log);
        link_up(f, (struct protocol_range){1, 2}, (struct protocol_range){3, 4});
        for (int i = 0; i < SETTLE_STEPS; i++) {
                say(&f->a, &f->b, 1);
                run_step(f);
        }
        _cleanup_buf_ struct buf said = caught_log(&log);
        assert_int_equal(f->b.n_got, 0);
        assert_int_equal(count(&said, "\n"), 2);
        assert_int_equal(count(&said, "is not heard"), 1);
        assert_int_equal(count(&said, "manager 1 speaks peer protocol 1 to 2, this one 3 to 4: "
                                      "upgrade manager 1"),
                         1);
        assert_int_equal(count(&said, "does not hear this one"), 1);
        assert_int_equal(count(&said, "manager 2 speaks peer protocol 3 to 4, this one 1 to 2: "
                                      "upgrade this one"),
                         1);
}

/* It does not tell what it understands: the version of its frames is all. */
static void test_a_manager_of_before(void **state)
{
        Swarm__PeerFrame frame = SWARM__PEER_FRAME__INIT;
        _cleanup_buf_ struct buf b = {0};
        struct fixture *f = *state;
        struct log_catcher log;

        start(f, &f->a, 1, (struct protocol_range){1, 1});
        frame.from = 2;
        frame.to = 1;
        frame.protocol = 2;
        frame.lane = 2;
        frame.position = frame.message = 10;
        WIRE_PACK(&frame, &b);
        catch_log(&log);
        for (int i = 0; i < 10; i++)
                peers_receive(f->a.peers, 1000, b.data, b.len);
        _cleanup_buf_ struct buf said = caught_log(&log);
        assert_int_equal(count(&said, "\n"), 1);
        assert_int_equal(count(&said, "manager 2 speaks peer protocol 2, this one 1: upgrade this "
                                      "one"),
                         1);
        assert_int_equal(f->a.n_got, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_versions_in_common),
                TEST(test_no_version_in_common),
                TEST(test_a_manager_of_before),
        };

        return cmocka_run_group_tests_name("versions", tests, NULL, NULL);
}
