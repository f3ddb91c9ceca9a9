/* client: calls and streams against a manager that is a thread of this program, over ipc. */
#include "tests/lib/unit.h"

#include "tests/lib/unit.h"

#include "swarmctl/client/client.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "shared/base/io.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/base/time.h"
#include "shared/net/net.h"
#include "shared/wire/wire.h"

#define EVENTS 3

/* What the manager answers is told by the request: info: at once; cluster_get: refused;
 * image_list: never; image_get: the manager goes away; events: EVENTS and an end; logs: one chunk,
 * then nothing. */
struct fixture {
        char dir[64], host[128];
        pthread_t thread;
        struct loop *loop;
        struct net *net;
        struct net_server *server;
        struct loop_wake *stop;
        atomic_int cancelled, protocol;
};

static void answer(struct fixture *f, uint64_t connection, Swarm__Response *r)
{
        _cleanup_buf_ struct buf b = {0};

        WIRE_PACK(r, &b);
        net_send(f->server, connection, b.data, b.len);
}

static void answer_stream(struct fixture *f, uint64_t connection, uint64_t number)
{
        for (int i = 0; i < EVENTS; i++) {
                Swarm__Response r = SWARM__RESPONSE__INIT;
                Swarm__Event event = SWARM__EVENT__INIT;

                r.number = number;
                r.more = true;
                r.kind_case = SWARM__RESPONSE__KIND_EVENT;
                event.time_ms = i;
                r.event = &event;
                answer(f, connection, &r);
        }
        Swarm__Response end = SWARM__RESPONSE__INIT;

        end.number = number;
        answer(f, connection, &end);
}

static void on_message(void *arg, const struct net_sender *from, const uint8_t *p, size_t n)
{
        struct fixture *f = arg;
        _cleanup_arena_ struct wire_arena arena = {0};
        Swarm__Request *q = wire_unpack(&arena, &swarm__request__descriptor, p, n);
        Swarm__Response r = SWARM__RESPONSE__INIT;
        Swarm__Info info = SWARM__INFO__INIT;
        Swarm__LogChunk chunk = SWARM__LOG_CHUNK__INIT;

        if (!q)
                return;
        f->protocol = (int)q->protocol;
        r.number = q->number;
        switch ((int)q->kind_case) {
        case SWARM__REQUEST__KIND_INFO:
                info.version = (char *)"test";
                r.kind_case = SWARM__RESPONSE__KIND_INFO;
                r.info = &info;
                answer(f, from->connection, &r);
                break;
        case SWARM__REQUEST__KIND_CLUSTER_GET:
                r.code = EACCES;
                r.error = (char *)"cluster: not for you";
                answer(f, from->connection, &r);
                break;
        case SWARM__REQUEST__KIND_EVENTS: answer_stream(f, from->connection, q->number); break;
        case SWARM__REQUEST__KIND_LOGS:
                r.more = true;
                r.kind_case = SWARM__RESPONSE__KIND_LOG;
                r.log = &chunk;
                answer(f, from->connection, &r);
                break;
        case SWARM__REQUEST__KIND_CANCEL: f->cancelled = (int)q->number; break;
        case SWARM__REQUEST__KIND_IMAGE_GET: net_server_close(STEAL_PTR(f->server)); break;
        default: break;
        }
}

static void *run(void *arg)
{
        struct fixture *f = arg;

        loop_run(f->loop);
        return NULL;
}

static void on_stop(void *arg)
{
        struct fixture *f = arg;

        loop_stop(f->loop);
}

static int setup(void **state)
{
        struct fixture *f = xnew(struct fixture);
        const char *endpoints[] = {f->host, NULL};
        struct net_server_config config = {
                .endpoints = endpoints, .arg = f, .on_message = on_message};

        snprintf(f->dir, sizeof(f->dir), "/tmp/swarm-client-XXXXXX");
        assert_non_null(mkdtemp(f->dir));
        snprintf(f->host, sizeof(f->host), "ipc://%s/sock", f->dir);
        f->loop = loop_new();
        f->net = net_new(f->loop);
        f->stop = loop_wake_new(f->loop, on_stop, f);
        assert_int_equal(net_listen(f->net, &config, &f->server, NULL), 0);
        assert_int_equal(pthread_create(&f->thread, NULL, run, f), 0);
        *state = f;
        return 0;
}

static int teardown(void **state)
{
        struct fixture *f = *state;

        loop_wake_send(f->stop);
        pthread_join(f->thread, NULL);
        net_server_close(f->server);
        net_free(f->net);
        loop_wake_free(f->stop);
        loop_free(f->loop);
        io_remove_tree(AT_FDCWD, f->dir);
        free(f);
        return 0;
}

static struct client *open_client(struct fixture *f)
{
        struct client_config config = {.host = f->host};
        struct client *c = NULL;
        struct err err = {0};

        if (client_open(&config, &c, &err))
                fail_msg("%s", err.text);
        return c;
}

static Swarm__Empty EMPTY = SWARM__EMPTY__INIT;

#define REQUEST(name, kind, field, value)             \
        Swarm__Request name = SWARM__REQUEST__INIT;   \
        name.kind_case = SWARM__REQUEST__KIND_##kind; \
        name.field = (value)

static void test_call(void **state)
{
        struct fixture *f = *state;
        struct client *c = open_client(f);
        Swarm__Response *r = NULL;
        struct err err = {0};
        REQUEST(q, INFO, info, &EMPTY);

        assert_int_equal(client_call(c, &q, 0, &r, &err), 0);
        assert_string_equal(r->info->version, "test");
        assert_int_equal(f->protocol, 1);
        wire_free(r);
        assert_int_equal(client_call(c, &q, 0, NULL, &err), 0);
        client_close(c);
}

static void test_refusal(void **state)
{
        struct client *c = open_client(*state);
        struct err err = {0};
        REQUEST(q, CLUSTER_GET, cluster_get, &EMPTY);

        int r = client_call(c, &q, 0, NULL, &err);
        assert_int_equal(r, -EACCES);
        assert_string_equal(err.text, "cluster: not for you");
        assert_int_equal(client_exit_code(r), CLIENT_EXIT_REFUSED);
        client_close(c);
}

static void test_timeout(void **state)
{
        struct client *c = open_client(*state);
        struct err err = {0};
        int64_t start = time_now().mono_ms;
        REQUEST(q, IMAGE_LIST, image_list, &EMPTY);

        int r = client_call(c, &q, 50, NULL, &err);
        assert_int_equal(r, -ETIMEDOUT);
        assert_int_equal(client_exit_code(r), CLIENT_EXIT_TIMED_OUT);
        assert_true(time_now().mono_ms - start >= 49);
        client_close(c);
}

static void test_stream(void **state)
{
        struct client *c = open_client(*state);
        Swarm__EventsRequest events = SWARM__EVENTS_REQUEST__INIT;
        struct client_stream *s = NULL;
        Swarm__Response *r = NULL;
        struct err err = {0};
        REQUEST(q, EVENTS, events, &events);
        REQUEST(info, INFO, info, &EMPTY);

        assert_int_equal(client_stream_open(c, &q, &s, &err), 0);
        /* A call in between takes nothing away from the stream. */
        assert_int_equal(client_call(c, &info, 0, NULL, &err), 0);
        for (int i = 0; i < EVENTS; i++) {
                assert_int_equal(client_stream_next(s, 5000, &r, &err), 1);
                assert_int_equal(r->event->time_ms, i);
                wire_free(r);
        }
        assert_int_equal(client_stream_next(s, 5000, &r, &err), 0);
        assert_int_equal(client_stream_next(s, 5000, &r, &err), 0);
        client_stream_close(s);
        client_close(c);
}

static void test_stream_cancel(void **state)
{
        struct fixture *f = *state;
        struct client *c = open_client(f);
        Swarm__LogsRequest logs = SWARM__LOGS_REQUEST__INIT;
        struct client_stream *s = NULL;
        Swarm__Response *r = NULL;
        struct err err = {0};
        REQUEST(q, LOGS, logs, &logs);
        REQUEST(info, INFO, info, &EMPTY);

        assert_int_equal(client_stream_open(c, &q, &s, &err), 0);
        assert_int_equal(client_stream_next(s, 5000, &r, &err), 1);
        wire_free(r);
        assert_int_equal(client_stream_next(s, 20, &r, &err), -ETIMEDOUT);
        uint64_t number = q.number;
        client_stream_close(s);
        /* Messages of one connection keep their order: the answer comes after the cancellation. */
        assert_int_equal(client_call(c, &info, 0, NULL, &err), 0);
        assert_int_equal(f->cancelled, number);
        client_close(c);
}

static void test_manager_goes(void **state)
{
        struct client *c = open_client(*state);
        Swarm__RefList refs = SWARM__REF_LIST__INIT;
        struct err err = {0};
        REQUEST(q, IMAGE_GET, image_get, &refs);

        int r = client_call(c, &q, 20000, NULL, &err);
        assert_int_equal(r, -ENOTCONN);
        assert_int_equal(client_exit_code(r), CLIENT_EXIT_NO_MANAGER);
        _cleanup_free_ char *text =
                xasprintf("manager at %s: the connection broke", ((struct fixture *)*state)->host);
        assert_string_equal(err.text, text);
        client_close(c);
}

static void test_no_manager(void **state)
{
        struct fixture *f = *state;
        _cleanup_free_ char *missing = xasprintf("ipc://%s/none", f->dir);
        const char *hosts[] = {missing, "tcp://127.0.0.1:1"};
        struct client *c = NULL;

        for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
                struct client_config config = {.host = hosts[i], .data_dir = f->dir};
                struct err err = {0};
                int64_t start = time_now().mono_ms;
                int r = client_open(&config, &c, &err);

                assert_int_equal(r, -EHOSTUNREACH);
                assert_int_equal(client_exit_code(r), CLIENT_EXIT_NO_MANAGER);
                assert_non_null(strstr(err.text, hosts[i]));
                assert_true(time_now().mono_ms - start < 2000);
        }
}

static void test_bad_hosts(void **state UNUSED)
{
        static const char *const BAD[] = {"localhost", "tcp://localhost", "tcp://:1",
                                          "ipc://x",   "udp://1.2.3.4:5", "tcp://127.0.0.1:"};
        struct client *c = NULL;

        for (size_t i = 0; i < ARRAY_SIZE(BAD); i++) {
                struct client_config config = {.host = BAD[i]};
                struct err err = {0};

                assert_int_equal(client_open(&config, &c, &err), -EDESTADDRREQ);
                assert_int_equal(client_exit_code(-EDESTADDRREQ), CLIENT_EXIT_USAGE);
                assert_true(err.text[0]);
        }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_call),       TEST(test_refusal),       TEST(test_timeout),
                TEST(test_stream),     TEST(test_stream_cancel), TEST(test_manager_goes),
                TEST(test_no_manager), TEST(test_bad_hosts),
        };

        return cmocka_run_group_tests_name("client", tests, NULL, NULL);
}
