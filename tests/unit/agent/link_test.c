/* The agent's line to managers that come and go. */
#include "tests/lib/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/link.h"
#include "shared/base/buf.h"
#include "shared/base/io.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/identity/identity.h"
#include "shared/net/net.h"
#include "shared/wire/wire.h"

#define DEADLINE_MS 20000
#define MANAGERS    3

struct manager {
        struct fixture *f;
        struct net_server *server;
        char address[NET_ENDPOINT_MAX];
        unsigned heard; /* messages, since the last look */
};

struct fixture {
        struct loop *loop;
        struct net *net;
        struct loop_timer *deadline;
        struct net_keys cluster_keys;
        struct manager managers[MANAGERS];
        struct link *link;
        char dir[64], token[IDENTITY_TOKEN_TEXT_LEN + 1];
        unsigned broken, connected;
        unsigned until_connected;
        size_t awaited; /* the manager that ends the round when it hears something; none */
        bool is_timed_out;
};

/* --- managers -----------------------------------------------------------------------------------
 */
static bool on_accept(void *arg UNUSED, const uint8_t key[NET_KEY_BYTES] UNUSED,
                      struct id *ret_node UNUSED)
{
        return true;
}

static void on_message(void *arg, const struct net_sender *from, const uint8_t *p, size_t n)
{
        struct manager *m = arg;
        _cleanup_arena_ struct wire_arena arena = {0};
        const Swarm__AgentMessage *in =
                wire_unpack(&arena, &swarm__agent_message__descriptor, p, n);
        Swarm__ManagerMessage out = SWARM__MANAGER_MESSAGE__INIT;
        Swarm__Joined joined = SWARM__JOINED__INIT;
        _cleanup_buf_ struct buf b = {0};
        uint8_t id[ID_BYTES];

        m->heard++;
        if (m == m->f->managers + m->f->awaited)
                loop_stop(m->f->loop);
        if (!in || in->kind_case != SWARM__AGENT_MESSAGE__KIND_JOIN)
                return;
        joined.node_id = wire_id((struct id){1, 2}, id);
        out.kind_case = SWARM__MANAGER_MESSAGE__KIND_JOINED;
        out.joined = &joined;
        WIRE_PACK(&out, &b);
        assert_int_equal(net_send(m->server, from->connection, b.data, b.len), 0);
}

static void on_gone(void *arg UNUSED, uint64_t connection UNUSED)
{
}

static void manager_open(struct fixture *f, size_t i)
{
        struct manager *m = &f->managers[i];
        const char *endpoints[] = {"tcp://127.0.0.1:*", NULL};
        struct net_server_config c = {.endpoints = endpoints,
                                      .keys = &f->cluster_keys,
                                      .arg = m,
                                      .accept = on_accept,
                                      .on_message = on_message,
                                      .on_gone = on_gone};

        m->f = f;
        assert_int_equal(net_listen(f->net, &c, &m->server, NULL), 0);
        snprintf(m->address, sizeof(m->address), "%s",
                 net_server_endpoint(m->server, 0) + strlen("tcp://"));
}

static size_t index_of(const struct fixture *f, const char *address)
{
        for (size_t i = 0; i < MANAGERS; i++)
                if (str_is_equal(f->managers[i].address, address))
                        return i;
        fail_msg("no manager %s", address);
        return 0;
}

/* --- the agent ----------------------------------------------------------------------------------
 */
static void on_connected(void *arg)
{
        struct fixture *f = arg;

        if (++f->connected >= f->until_connected)
                loop_stop(f->loop);
}

static void on_told(void *arg UNUSED, const uint8_t *p UNUSED, size_t n UNUSED)
{
}

static void on_broken(void *arg)
{
        ((struct fixture *)arg)->broken++;
}

static void on_refused(void *arg UNUSED, const Swarm__Refused *m)
{
        fail_msg("refused: %s", m->text);
}

static void on_deadline(void *arg)
{
        struct fixture *f = arg;

        f->is_timed_out = true;
        loop_stop(f->loop);
}

static void run_until_connected(struct fixture *f, unsigned times)
{
        f->until_connected = times;
        loop_timer_set(f->deadline, DEADLINE_MS);
        loop_run(f->loop);
        assert_false(f->is_timed_out);
}

static void open_link(struct fixture *f, const char *join)
{
        static const Swarm__NodeDescription d = SWARM__NODE_DESCRIPTION__INIT;
        struct link_config c = {.data_dir = f->dir,
                                .join = join,
                                .token = f->token,
                                .description = &d,
                                .arg = f,
                                .on_connected = on_connected,
                                .on_message = on_told,
                                .on_broken = on_broken,
                                .on_refused = on_refused};
        struct err err = {0};

        if (link_open(f->loop, &c, &f->link, &err) < 0)
                fail_msg("%s", err.text);
}

static void tell_managers(struct fixture *f)
{
        char *list[MANAGERS];

        for (size_t i = 0; i < MANAGERS; i++)
                list[i] = f->managers[i].address;
        link_set_managers(f->link, list, MANAGERS);
}

static int setup(void **state)
{
        struct fixture *f = xnew(struct fixture);
        f->awaited = MANAGERS;
        f->loop = loop_new();
        f->net = net_new(f->loop);
        f->deadline = loop_timer_new(f->loop, on_deadline, f);
        snprintf(f->dir, sizeof(f->dir), "/tmp/swarm-link-XXXXXX");
        assert_non_null(mkdtemp(f->dir));
        _cleanup_free_ char *agent = xasprintf("%s/agent", f->dir);
        assert_int_equal(io_mkdir_all(agent, 0700), 0);
        assert_int_equal(net_keys_make(&f->cluster_keys), 0);
        join_token_format(f->cluster_keys.public_key, ID_S(((struct id){1, 2})), f->token);
        for (size_t i = 0; i < MANAGERS; i++)
                manager_open(f, i);
        *state = f;
        return 0;
}

static int teardown(void **state)
{
        struct fixture *f = *state;

        link_close(f->link);
        for (size_t i = 0; i < MANAGERS; i++)
                net_server_close(f->managers[i].server);
        net_free(f->net);
        loop_timer_free(f->deadline);
        loop_free(f->loop);
        io_remove_tree(AT_FDCWD, f->dir);
        free(f);
        return 0;
}

/* --- what is shown ------------------------------------------------------------------------------
 */
/* Each manager that goes is left for one that is there, at once, until the last is left. */
static void test_moves(void **state)
{
        struct fixture *f = *state;
        size_t at;

        open_link(f, f->managers[0].address);
        run_until_connected(f, 1);
        tell_managers(f);
        assert_string_equal(link_manager(f->link), f->managers[0].address);
        net_server_close(STEAL_PTR(f->managers[0].server));
        run_until_connected(f, 2);
        assert_int_equal(f->broken, 1);
        at = index_of(f, link_manager(f->link));
        assert_int_not_equal(at, 0);
        assert_int_equal(link_send(f->link, (const uint8_t *)"x", 1), 0);
        f->awaited = at;
        run_until_connected(f, UINT32_MAX); /* or rather, until that is heard */
        assert_int_equal(f->managers[at].heard, 1);
}

static void test_first_is_not_there(void **state)
{
        struct fixture *f = *state;
        _cleanup_free_ char *kept = xasprintf("%s/agent/managers", f->dir);

        assert_int_equal(io_write_file_atomic(AT_FDCWD, kept, f->managers[1].address,
                                              strlen(f->managers[1].address), 0600),
                         0);
        net_server_close(STEAL_PTR(f->managers[0].server));
        open_link(f, f->managers[0].address);
        run_until_connected(f, 1);
        assert_string_equal(link_manager(f->link), f->managers[1].address);
        assert_true(f->broken > 0);
}

/* The list is kept as it was told, but for its order, and without what is no address. */
static void test_list_is_kept(void **state)
{
        struct fixture *f = *state;
        _cleanup_free_ char *path = xasprintf("%s/agent/managers", f->dir);
        char *bad[] = {(char *)"", (char *)"a\nb", (char *)"h:1", (char *)"h:1"};
        _cleanup_buf_ struct buf b = {0};

        open_link(f, f->managers[0].address);
        run_until_connected(f, 1);
        tell_managers(f);
        assert_int_equal(io_read_file(AT_FDCWD, path, 4096, &b), 0);
        for (size_t i = 0; i < MANAGERS; i++)
                assert_non_null(strstr(buf_str(&b), f->managers[i].address));
        unlink(path);
        tell_managers(f); /* the same: nothing is written */
        assert_int_equal(access(path, F_OK), -1);
        link_set_managers(f->link, NULL, 0); /* not told */
        assert_int_equal(access(path, F_OK), -1);
        link_set_managers(f->link, bad, 4);
        buf_clear(&b);
        assert_int_equal(io_read_file(AT_FDCWD, path, 4096, &b), 0);
        assert_string_equal(buf_str(&b), "h:1\n");
        assert_string_equal(link_manager(f->link), f->managers[0].address);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_moves),
                TEST(test_first_is_not_there),
                TEST(test_list_is_kept),
        };

        return cmocka_run_group_tests_name("link", tests, NULL, NULL);
}
