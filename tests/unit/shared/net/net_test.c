/* net: echo over ipc and tcp, who may connect, and peers that misbehave. */
#include "tests/lib/unit.h"

#include "tests/lib/unit.h"

#include "shared/net/net.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/base/io.h"
#include "shared/base/mem.h"
#include "shared/base/parse.h"
#include "shared/base/str.h"
#include "shared/model/model.h"

#define DEADLINE_MS 20000
#define CLIENTS_MAX 100
#define SILENCE_MS  300 /* long enough for what must not come to have come */

struct test_client {
        struct net_client *net;
        struct fixture *f;
        unsigned received;
        size_t last_len;
        char last[64];
        unsigned connected, broken; /* of a watched one */
};

struct fixture {
        struct loop *loop;
        struct net *net;
        struct net_server *server;
        struct net_keys server_keys, client_keys, other_keys;
        struct id node;
        bool accept_unknown;   /* keys other than client_keys */
        bool is_node_known;    /* whether client_keys is a node's already */
        bool close_on_message; /* the server closes itself */
        char dir[64];
        char ipc[128];
        struct loop_timer *deadline;
        bool timed_out;
        unsigned until_received, received, gone, until_gone;
        struct net_sender senders[CLIENTS_MAX + 8]; /* of the last messages */
        char words[CLIENTS_MAX + 8];                /* their first bytes */
        bool may_be_gone;                           /* who sent a message */
        uint64_t last_gone;
        struct test_client clients[CLIENTS_MAX];
        unsigned n_clients;
};

static bool on_accept(void *arg, const uint8_t key[NET_KEY_BYTES], struct id *ret_node)
{
        struct fixture *f = arg;

        if (memcmp(key, f->client_keys.public_key, NET_KEY_BYTES))
                return f->accept_unknown;
        if (f->is_node_known)
                *ret_node = f->node;
        return true;
}

static unsigned client_total(const struct fixture *f)
{
        unsigned n = 0;

        for (unsigned i = 0; i < f->n_clients; i++)
                n += f->clients[i].received;
        return n;
}

static void stop_if_done(struct fixture *f)
{
        if (f->gone >= f->until_gone && client_total(f) >= f->until_received)
                loop_stop(f->loop);
}

/* Echoes. */
static void on_server_message(void *arg, const struct net_sender *from, const uint8_t *p, size_t n)
{
        struct fixture *f = arg;

        f->words[f->received % ARRAY_SIZE(f->senders)] = (char)*p;
        f->senders[f->received++ % ARRAY_SIZE(f->senders)] = *from;
        int r = net_send(f->server, from->connection, p, n);
        assert_true(r == 0 || (f->may_be_gone && r == -EHOSTUNREACH));
        if (f->close_on_message) {
                net_server_close(STEAL_PTR(f->server));
                loop_stop(f->loop);
        }
}

static void on_server_gone(void *arg, uint64_t connection)
{
        struct fixture *f = arg;

        f->gone++;
        f->last_gone = connection;
        stop_if_done(f);
}

static void on_client_message(void *arg, const uint8_t *p, size_t n)
{
        struct test_client *c = arg;

        c->received++;
        c->last_len = n;
        snprintf(c->last, sizeof(c->last), "%.*s", (int)MIN(n, sizeof(c->last) - 1),
                 (const char *)p);
        stop_if_done(c->f);
}

static void on_deadline(void *arg)
{
        struct fixture *f = arg;

        f->timed_out = true;
        loop_stop(f->loop);
}

static struct test_client *add_client(struct fixture *f, const char *endpoint,
                                      const struct net_keys *keys, const uint8_t *server_key)
{
        struct test_client *c = &f->clients[f->n_clients++];
        struct net_client_config config = {.endpoint = endpoint,
                                           .keys = keys,
                                           .server_key = server_key,
                                           .arg = c,
                                           .on_message = on_client_message};

        c->f = f;
        assert_int_equal(net_connect(f->net, &config, &c->net, NULL), 0);
        return c;
}

static void on_client_connected(void *arg)
{
        ((struct test_client *)arg)->connected++;
}

static void on_client_broken(void *arg)
{
        ((struct test_client *)arg)->broken++;
}

static const char *tcp_of(struct fixture *f)
{
        return net_server_endpoint(f->server, 0);
}

static struct test_client *add_tcp(struct fixture *f, const struct net_keys *keys)
{
        return add_client(f, tcp_of(f), keys, f->server_keys.public_key);
}

static void send_text(struct test_client *c, const char *s)
{
        assert_int_equal(net_client_send(c->net, (const uint8_t *)s, strlen(s)), 0);
}

static void listen_at(struct fixture *f, const char *tcp)
{
        const char *endpoints[] = {tcp, f->ipc, NULL};
        struct net_server_config config = {
                .endpoints = endpoints,
                .keys = &f->server_keys,
                .arg = f,
                .accept = on_accept,
                .on_message = on_server_message,
                .on_gone = on_server_gone,
        };
        struct err err = {0};

        if (net_listen(f->net, &config, &f->server, &err))
                fail_msg("%s", err.text);
}

/* Runs until so many messages are received by clients and so many connections were seen to go,
 * counted from the start of the test. */
static void run_until(struct fixture *f, unsigned received, unsigned gone)
{
        f->until_received = received;
        f->until_gone = gone;
        loop_timer_set(f->deadline, DEADLINE_MS);
        loop_run(f->loop);
        assert_false(f->timed_out);
}

static void run_for(struct fixture *f, int ms)
{
        f->until_received = f->until_gone = UINT32_MAX;
        loop_timer_set(f->deadline, ms);
        loop_run(f->loop);
        f->timed_out = false;
}

static int setup(void **state)
{
        struct fixture *f = xnew(struct fixture);

        f->loop = loop_new();
        f->net = net_new(f->loop);
        f->deadline = loop_timer_new(f->loop, on_deadline, f);
        f->node = (struct id){1, 2};
        f->is_node_known = true;
        assert_int_equal(net_keys_make(&f->server_keys), 0);
        assert_int_equal(net_keys_make(&f->client_keys), 0);
        assert_int_equal(net_keys_make(&f->other_keys), 0);
        snprintf(f->dir, sizeof(f->dir), "/tmp/swarm-net-XXXXXX");
        assert_non_null(mkdtemp(f->dir));
        snprintf(f->ipc, sizeof(f->ipc), "ipc://%s/sock", f->dir);
        listen_at(f, "tcp://127.0.0.1:*");
        *state = f;
        return 0;
}

static int teardown(void **state)
{
        struct fixture *f = *state;

        for (unsigned i = 0; i < f->n_clients; i++)
                net_client_close(f->clients[i].net);
        net_server_close(f->server);
        net_free(f->net);
        loop_timer_free(f->deadline);
        loop_free(f->loop);
        io_remove_tree(AT_FDCWD, f->dir);
        free(f);
        return 0;
}

static void test_echo_ipc(void **state)
{
        struct fixture *f = *state;
        struct test_client *c = add_client(f, f->ipc, NULL, NULL);
        struct stat st;

        send_text(c, "hello");
        run_until(f, 1, 0);
        assert_string_equal(c->last, "hello");
        assert_true(f->senders[0].is_local);
        assert_true(id_is_zero(f->senders[0].node));
        assert_int_equal(stat(f->ipc + strlen("ipc://"), &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
}

static void test_echo_tcp(void **state)
{
        struct fixture *f = *state;
        struct test_client *c = add_tcp(f, &f->client_keys);

        send_text(c, "hello");
        run_until(f, 1, 0);
        assert_string_equal(c->last, "hello");
        assert_false(f->senders[0].is_local);
        assert_true(id_is_equal(f->senders[0].node, f->node));
        assert_memory_equal(f->senders[0].key, f->client_keys.public_key, NET_KEY_BYTES);
        /* A connection that went is told, once, and cannot be sent to. */
        net_client_close(STEAL_PTR(c->net));
        run_until(f, 1, 1);
        assert_int_equal(f->last_gone, f->senders[0].connection);
        assert_int_equal(net_send(f->server, f->last_gone, (const uint8_t *)"x", 1), -EHOSTUNREACH);
}

static void test_wrong_server_key(void **state)
{
        struct fixture *f = *state;
        struct test_client *c = add_client(f, tcp_of(f), &f->client_keys, f->other_keys.public_key);

        send_text(c, "to someone else");
        run_for(f, SILENCE_MS);
        assert_int_equal(f->received, 0);
        assert_int_equal(c->received, 0);
}

static void test_unknown_key_refused(void **state)
{
        struct fixture *f = *state;
        struct test_client *stranger = add_tcp(f, &f->other_keys);
        struct test_client *known = add_tcp(f, &f->client_keys);

        send_text(stranger, "let me in");
        send_text(known, "I belong here");
        run_until(f, 1, 0);
        run_for(f, SILENCE_MS);
        assert_int_equal(stranger->received, 0);
        assert_int_equal(f->received, 1);
}

/* A key that is not a node's yet may speak, and is the node from the message on that follows. */
static void test_node_becomes_known(void **state)
{
        struct fixture *f = *state;
        struct test_client *c = add_tcp(f, &f->client_keys);

        f->is_node_known = false;
        send_text(c, "join");
        run_until(f, 1, 0);
        assert_true(id_is_zero(f->senders[0].node));
        f->is_node_known = true;
        send_text(c, "register");
        run_until(f, 2, 0);
        assert_true(id_is_equal(f->senders[1].node, f->node));
        assert_int_equal(f->senders[0].connection, f->senders[1].connection);
}

static void test_oversized(void **state)
{
        struct fixture *f = *state;
        struct test_client *c = add_tcp(f, &f->client_keys);
        size_t n = MESSAGE_BYTES_MAX;
        _cleanup_free_ uint8_t *big = xcalloc(1, n + 1);

        assert_int_equal(net_client_send(c->net, big, n + 1), -EMSGSIZE);
        assert_int_equal(net_client_send(c->net, big, n), 0);
        run_until(f, 1, 0);
        assert_int_equal(c->last_len, n);
        assert_int_equal(net_send(f->server, f->senders[0].connection, big,
                                  2 * (size_t)MESSAGE_BYTES_MAX + 1),
                         -EMSGSIZE);
}

/* The same node comes twice: both connections live, each with a number of its own. */
static void test_same_node_twice(void **state)
{
        struct fixture *f = *state;
        struct test_client *a = add_tcp(f, &f->client_keys);
        struct test_client *b = add_tcp(f, &f->client_keys);

        send_text(a, "first");
        run_until(f, 1, 0);
        send_text(b, "second");
        run_until(f, 2, 0);
        assert_true(f->senders[1].connection > f->senders[0].connection);
        send_text(a, "first again");
        run_until(f, 3, 0);
        assert_string_equal(a->last, "first again");
        assert_string_equal(b->last, "second");
        assert_int_equal(f->senders[2].connection, f->senders[0].connection);
}

/* A connection that the server breaks; the client makes another. */
static void test_drop(void **state)
{
        struct fixture *f = *state;
        struct test_client *a = add_tcp(f, &f->client_keys);
        struct test_client *b = add_tcp(f, &f->client_keys);

        send_text(a, "a");
        run_until(f, 1, 0);
        send_text(b, "b");
        run_until(f, 2, 0);
        net_drop(f->server, f->senders[0].connection);
        net_drop(f->server, f->senders[0].connection + 1000); /* nobody's */
        run_until(f, 2, 1);
        assert_int_equal(f->last_gone, f->senders[0].connection);
        send_text(b, "b again");
        run_until(f, 3, 1);
        assert_int_equal(f->senders[2].connection, f->senders[1].connection);
        send_text(a, "a again");
        run_until(f, 4, 1);
        assert_true(f->senders[3].connection > f->senders[1].connection);
}

/* Whose key is nobody's has a few words to say in a connection, and short ones. */
static void test_strangers(void **state)
{
        struct fixture *f = *state;
        _cleanup_free_ uint8_t *big = xcalloc(1, NET_STRANGER_BYTES + 1);

        f->may_be_gone = true;
        f->accept_unknown = true;
        struct test_client *known = add_tcp(f, &f->client_keys);
        struct test_client *many = add_tcp(f, &f->other_keys);
        for (int i = 0; i < 2 * NET_STRANGER_MESSAGES; i++) {
                send_text(many, "many");
                send_text(known, "known");
        }
        run_until(f, 2 * NET_STRANGER_MESSAGES, 1);
        run_for(f, SILENCE_MS);
        assert_int_equal(known->received, 2 * NET_STRANGER_MESSAGES);
        assert_true(many->received <= NET_STRANGER_MESSAGES * (f->gone + 1));
        net_client_close(STEAL_PTR(many->net));
        unsigned gone = f->gone;

        struct test_client *large = add_tcp(f, &f->other_keys);
        assert_int_equal(net_client_send(large->net, big, NET_STRANGER_BYTES), 0);
        run_until(f, client_total(f) + 1, 0);
        assert_int_equal(net_client_send(large->net, big, NET_STRANGER_BYTES + 1), 0);
        run_until(f, 0, gone + 1);
        assert_int_equal(large->received, 1);
        assert_int_equal(large->last_len, NET_STRANGER_BYTES);
}

static void on_unreachable(void *arg)
{
        struct test_client *c = arg;

        net_client_close(STEAL_PTR(c->net));
        loop_stop(c->f->loop);
}

/* Told also of one with which the server never was there, and may be closed then. */
static void test_unreachable(void **state)
{
        struct fixture *f = *state;
        struct test_client *c = &f->clients[f->n_clients++];
        char endpoint[NET_ENDPOINT_MAX];

        snprintf(endpoint, sizeof(endpoint), "%s", tcp_of(f));
        net_server_close(STEAL_PTR(f->server));
        run_for(f, SILENCE_MS);
        struct net_client_config config = {.endpoint = endpoint,
                                           .keys = &f->client_keys,
                                           .server_key = f->server_keys.public_key,
                                           .arg = c,
                                           .on_message = on_client_message,
                                           .on_broken = on_unreachable,
                                           .on_unreachable = on_unreachable};
        c->f = f;
        assert_int_equal(net_connect(f->net, &config, &c->net, NULL), 0);
        run_until(f, UINT32_MAX, 0);
        assert_null(c->net);
}

/* The server goes and comes back at the same port: the client finds it, with a new number. */
static void test_reconnect(void **state)
{
        struct fixture *f = *state;
        struct test_client *c = add_tcp(f, &f->client_keys);
        char endpoint[NET_ENDPOINT_MAX];

        send_text(c, "before");
        run_until(f, 1, 0);
        snprintf(endpoint, sizeof(endpoint), "%s", tcp_of(f));
        net_server_close(STEAL_PTR(f->server));
        /* The port is free once ZeroMQ's thread has closed it, which it does not tell. */
        run_for(f, SILENCE_MS);
        listen_at(f, endpoint);
        send_text(c, "after");
        run_until(f, 2, 0);
        assert_string_equal(c->last, "after");
        assert_true(f->senders[1].connection > f->senders[0].connection);
}

static struct test_client *add_watched_at(struct fixture *f, const char *endpoint,
                                          const struct net_keys *keys)
{
        struct test_client *c = &f->clients[f->n_clients++];
        struct net_client_config config = {.endpoint = endpoint,
                                           .keys = keys,
                                           .server_key = f->server_keys.public_key,
                                           .arg = c,
                                           .on_message = on_client_message,
                                           .on_broken = on_client_broken,
                                           .on_connected = on_client_connected};

        c->f = f;
        assert_int_equal(net_connect(f->net, &config, &c->net, NULL), 0);
        return c;
}

static struct test_client *add_watched(struct fixture *f, const struct net_keys *keys)
{
        return add_watched_at(f, tcp_of(f), keys);
}

static void wait_connected(struct fixture *f, const struct test_client *c, unsigned n)
{
        for (int ms = 0; c->connected < n && ms < DEADLINE_MS; ms += 20)
                run_for(f, 20);
        assert_int_equal(c->connected, n);
}

/* One that is told when it is connected: nothing is taken at another time. */
static void test_watched(void **state)
{
        struct fixture *f = *state;
        struct test_client *c = add_watched(f, &f->other_keys);
        char endpoint[NET_ENDPOINT_MAX];

        /* Refused, again and again. */
        run_for(f, SILENCE_MS);
        assert_int_equal(net_client_send(c->net, (const uint8_t *)"x", 1), -EAGAIN);
        assert_int_equal(c->connected + c->broken, 0);
        f->accept_unknown = true;
        wait_connected(f, c, 1);
        send_text(c, "hello");
        run_until(f, 1, 0);
        assert_string_equal(c->last, "hello");
        snprintf(endpoint, sizeof(endpoint), "%s", tcp_of(f));
        net_server_close(STEAL_PTR(f->server));
        run_for(f, SILENCE_MS);
        assert_int_equal(c->broken, 1);
        assert_int_equal(net_client_send(c->net, (const uint8_t *)"x", 1), -EAGAIN);
        listen_at(f, endpoint);
        wait_connected(f, c, 2);
        send_text(c, "again");
        run_until(f, 2, 0);
        assert_string_equal(c->last, "again");
        assert_int_equal(f->received, 2);
        assert_int_equal(c->broken, 1);
}

/* A port that answers nobody: its queue of those that come is full. ret_fds: to be closed. */
static unsigned full_port(int ret_fds[4])
{
        struct sockaddr_in a = {.sin_family = AF_INET};
        socklen_t len = sizeof(a);

        a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        ret_fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(ret_fds[0], (struct sockaddr *)&a, sizeof(a)), 0);
        assert_int_equal(listen(ret_fds[0], 0), 0);
        assert_int_equal(getsockname(ret_fds[0], (struct sockaddr *)&a, &len), 0);
        for (int i = 1; i < 4; i++) {
                ret_fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
                connect(ret_fds[i], (struct sockaddr *)&a, len);
        }
        return ntohs(a.sin_port);
}

/* One that is closed before it could connect holds up no other. */
static void test_closed_while_connecting(void **state)
{
        struct fixture *f = *state;
        char endpoint[NET_ENDPOINT_MAX];
        int fds[4];

        snprintf(endpoint, sizeof(endpoint), "tcp://127.0.0.1:%u", full_port(fds));
        for (int i = 0; i < 8; i++)
                add_watched_at(f, endpoint, &f->client_keys);
        run_for(f, SILENCE_MS);
        for (int i = 0; i < 8; i++) {
                assert_int_equal(f->clients[i].connected, 0);
                net_client_close(STEAL_PTR(f->clients[i].net));
        }
        run_for(f, SILENCE_MS);
        for (unsigned i = 0; i < 8; i++)
                send_text(add_tcp(f, &f->client_keys), "hello");
        run_until(f, 8, 0);
        for (int i = 0; i < 4; i++)
                close(fds[i]);
}

static void test_forget_key(void **state)
{
        struct fixture *f = *state;
        struct test_client *c = add_tcp(f, &f->client_keys);

        f->is_node_known = true;
        send_text(c, "one");
        run_until(f, 1, 0);
        assert_true(id_is_equal(f->senders[0].node, f->node));
        f->is_node_known = false;
        send_text(c, "two");
        run_until(f, 2, 0); /* nobody said that it is forgotten */
        assert_true(id_is_equal(f->senders[1].node, f->node));
        net_forget_key(f->server, f->other_keys.public_key);
        send_text(c, "three");
        run_until(f, 3, 0);
        assert_true(id_is_equal(f->senders[2].node, f->node));
        net_forget_key(f->server, f->client_keys.public_key);
        send_text(c, "four");
        run_until(f, 4, 0); /* heard, and answered, as a stranger */
        assert_true(id_is_zero(f->senders[3].node));
}

static int connect_raw(struct fixture *f)
{
        struct sockaddr_in a = {.sin_family = AF_INET};
        const char *port = strrchr(tcp_of(f), ':') + 1;
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        a.sin_port = htons((uint16_t)strtoul(port, NULL, 10));
        a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
        return fd;
}

/* Bytes that are no ZMTP, and a greeting that asks for no encryption, change nothing for others. */
static void test_garbage(void **state)
{
        struct fixture *f = *state;
        struct test_client *c = add_tcp(f, &f->client_keys);
        uint8_t junk[4096],
                greeting[64] = {0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 1, 'N', 'U', 'L', 'L'};
        int fds[3];

        for (size_t i = 0; i < sizeof(junk); i++)
                junk[i] = (uint8_t)(i * 31 + 7);
        for (int i = 0; i < 3; i++)
                fds[i] = connect_raw(f);
        assert_int_equal(io_write_all(fds[0], junk, sizeof(junk)), 0);
        assert_int_equal(io_write_all(fds[1], greeting, sizeof(greeting)), 0);
        /* fds[2] says nothing at all. */
        send_text(c, "hello");
        run_until(f, 1, 0);
        assert_int_equal(f->received, 1);
        /* Both that spoke are hung up on. */
        for (int i = 0; i < 2; i++) {
                struct timeval tv = {DEADLINE_MS / 1000, 0};
                ssize_t n;

                setsockopt(fds[i], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
                while ((n = read(fds[i], junk, sizeof(junk))) > 0)
                        ;
                assert_true(n == 0 || errno == ECONNRESET);
        }
        for (int i = 0; i < 3; i++)
                close(fds[i]);
}

static void test_many_clients(void **state)
{
        struct fixture *f = *state;

        for (unsigned i = 0; i < CLIENTS_MAX; i++)
                send_text(add_tcp(f, &f->client_keys), "hello");
        run_until(f, CLIENTS_MAX, 0);
        assert_int_equal(f->received, CLIENTS_MAX);
        for (unsigned i = 0; i < CLIENTS_MAX; i++) {
                assert_int_equal(f->clients[i].received, 1);
                for (unsigned j = 0; j < i; j++)
                        assert_true(f->senders[i].connection != f->senders[j].connection);
        }
        for (unsigned i = 0; i < CLIENTS_MAX; i++)
                net_client_close(STEAL_PTR(f->clients[i].net));
        run_until(f, CLIENTS_MAX, CLIENTS_MAX);
}

/* More messages than one round reads, all sent before the loop runs: none is left lying. */
/* A thread of ours by its name, which it gives itself some time (0: not yet), and how often it has
 * slept. */
static uint64_t find_thread(const char *name)
{
        DIR *dir = opendir("/proc/self/task");
        struct dirent *entry;
        uint64_t found = 0;

        assert_non_null(dir);
        while ((entry = readdir(dir))) {
                char path[300], comm[32] = "";

                snprintf(path, sizeof(path), "/proc/self/task/%s/comm", entry->d_name);
                FILE *file = fopen(path, "re");
                if (file && fgets(comm, sizeof(comm), file) && !strncmp(comm, name, strlen(name)) &&
                    strlen(comm) == strlen(name) + 1) {
                        assert_int_equal(found, 0);
                        assert_int_equal(parse_u64(entry->d_name, &found), 0);
                }
                if (file)
                        fclose(file);
        }
        closedir(dir);
        return found;
}

static long sleeps_of(uint64_t thread)
{
        char path[64], line[128];
        long n = -1;

        snprintf(path, sizeof(path), "/proc/self/task/%llu/status", (unsigned long long)thread);
        FILE *file = fopen(path, "re");
        assert_non_null(file);
        while (n < 0 && fgets(line, sizeof(line), file))
                if (sscanf(line, "voluntary_ctxt_switches: %ld", &n) != 1)
                        n = -1;
        fclose(file);
        assert_true(n >= 0);
        return n;
}

/* One by one, so that each wakes whoever it is of. */
static void everyone_says_something(struct fixture *f, unsigned first)
{
        for (unsigned i = first; i < f->n_clients; i++) {
                unsigned n = client_total(f);

                send_text(&f->clients[i], "here");
                run_until(f, n + 1, 0);
        }
}

/* Few connections are one I/O thread's, so that what arrives at one time wakes no more; a crowd has
 * both. */
static void test_threads(void **state)
{
        struct fixture *f = *state;
        struct net *server_net = f->net;

        uint64_t second;

        while ((second = find_thread("ZMQbg/IO/1")) == 0)
                run_for(f, 5);
        f->net = net_new(f->loop); /* of the clients: has threads of its own */
        for (unsigned i = 0; i < 10; i++)
                add_tcp(f, &f->client_keys);
        everyone_says_something(f, 0);
        long before = sleeps_of(second);
        for (int i = 0; i < 5; i++)
                everyone_says_something(f, 0);
        assert_true(sleeps_of(second) - before < 10); /* of 50 messages and answers */
        for (unsigned i = 10; i < 70; i++)
                add_tcp(f, &f->client_keys);
        everyone_says_something(f, 10);
        while (f->n_clients < CLIENTS_MAX)
                add_tcp(f, &f->client_keys);
        everyone_says_something(f, 70);
        before = sleeps_of(second);
        everyone_says_something(f, 0);
        assert_true(sleeps_of(second) > before);
        for (unsigned i = 0; i < f->n_clients; i++)
                net_client_close(STEAL_PTR(f->clients[i].net));
        net_free(f->net);
        f->net = server_net;
}

static void test_burst(void **state)
{
        struct fixture *f = *state;
        struct test_client *c = add_client(f, f->ipc, NULL, NULL);
        const unsigned n = 900;

        for (unsigned i = 0; i < n; i++)
                send_text(c, "x");
        run_until(f, n, 0);
        assert_int_equal(f->received, n);
}

static void wait_ms(int ms)
{
        usleep((useconds_t)ms * 1000);
}

/* A client goes, another gets its descriptor, and the server reads last words of the first after
 * the first words of the second: that one is not taken for gone. */
static void test_late_words(void **state)
{
        struct fixture *f = *state;

        f->may_be_gone = true;
        for (unsigned i = 0; i < 5; i++) {
                struct test_client *a = add_client(f, f->ipc, NULL, NULL), *b;

                send_text(a, "a");
                run_until(f, 3 * i + 1, 0);
                for (int k = 0; k < 3; k++)
                        send_text(a, "late");
                wait_ms(20);
                net_client_close(STEAL_PTR(a->net));
                wait_ms(20);
                b = add_client(f, f->ipc, NULL, NULL);
                send_text(b, "b");
                wait_ms(20);
                f->received = 0;
                run_until(f, 3 * i + 2, 0);
                run_for(f, 20);
                uint64_t connection = 0;
                for (unsigned k = 0; k < f->received; k++)
                        if (f->words[k] == 'b')
                                connection = f->senders[k].connection;
                f->received = 0;
                send_text(b, "b");
                run_until(f, 3 * i + 3, 0);
                assert_int_equal(f->senders[0].connection, connection);
                assert_true(f->last_gone < connection);
                net_client_close(STEAL_PTR(b->net));
                run_for(f, 20);
        }
}

/* A connection is gone also when its descriptor is another, live socket's before that is looked at.
 */
static void test_descriptor_taken(void **state)
{
        struct fixture *f = *state;
        struct test_client *c = add_tcp(f, &f->client_keys);
        int pairs[32][2];

        send_text(c, "hello");
        run_until(f, 1, 0);
        net_client_close(STEAL_PTR(c->net));
        wait_ms(200);
        for (size_t i = 0; i < ARRAY_SIZE(pairs); i++)
                assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pairs[i]), 0);
        run_until(f, 1, 1);
        assert_int_equal(f->last_gone, f->senders[0].connection);
        for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
                close(pairs[i][0]);
                close(pairs[i][1]);
        }
}

static void test_close_in_callback(void **state)
{
        struct fixture *f = *state;
        struct test_client *c = add_tcp(f, &f->client_keys);

        f->close_on_message = true;
        send_text(c, "last");
        send_text(c, "words");
        run_until(f, 1, 0);
        assert_null(f->server);
}

static void test_bad_endpoints(void **state)
{
        struct fixture *f = *state;
        static const char *const BAD[] = {"",
                                          "7377",
                                          "tcp:/x",
                                          "udp://1.2.3.4:5",
                                          "inproc://x",
                                          "ipc://relative",
                                          "tcp://nowhere",
                                          "tcp://127.0.0.1:x",
                                          "tcp://127.0.0.1:99999",
                                          "ipc:///no/such/folder/sock"};
        const char *busy[] = {tcp_of(f), NULL};
        struct net_server_config config = {.keys = &f->server_keys, .arg = f, .accept = on_accept};
        struct net_server *server = NULL;
        struct err err;

        for (size_t i = 0; i < ARRAY_SIZE(BAD); i++) {
                const char *endpoints[] = {BAD[i], NULL};

                config.endpoints = endpoints;
                err = (struct err){0};
                if (net_listen(f->net, &config, &server, &err) >= 0) {
                        net_server_close(server);
                        fail_msg("accepted: %s", BAD[i]);
                }
                assert_true(err.code > 0 && strlen(err.text) > 0);
                assert_null(server);
        }
        config.endpoints = busy;
        assert_int_equal(net_listen(f->net, &config, &server, &err), -EADDRINUSE);
        assert_non_null(strstr(err.text, "in use"));
}

static void test_keys(void **state)
{
        struct fixture *f = *state;
        struct net_keys derived;

        assert_int_equal(net_keys_derive(f->client_keys.secret_key, &derived), 0);
        assert_memory_equal(derived.public_key, f->client_keys.public_key, NET_KEY_BYTES);
        assert_memory_not_equal(f->client_keys.public_key, f->other_keys.public_key, NET_KEY_BYTES);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_echo_ipc),
                TEST(test_echo_tcp),
                TEST(test_wrong_server_key),
                TEST(test_unknown_key_refused),
                TEST(test_node_becomes_known),
                TEST(test_oversized),
                TEST(test_same_node_twice),
                TEST(test_drop),
                TEST(test_strangers),
                TEST(test_reconnect),
                TEST(test_watched),
                TEST(test_closed_while_connecting),
                TEST(test_forget_key),
                TEST(test_garbage),
                TEST(test_many_clients),
                TEST(test_threads),
                TEST(test_burst),
                TEST(test_unreachable),
                TEST(test_late_words),
                TEST(test_descriptor_taken),
                TEST(test_close_in_callback),
                TEST(test_bad_endpoints),
                TEST(test_keys),
        };

        return cmocka_run_group_tests_name("net", tests, NULL, NULL);
}
