/* swarm-manager as a process: starts and refusals, who may speak, what outlives a kill. */
#include "tests/lib/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "manager/blobs/blobs.h"
#include "manager/store/db.h"
#include "proto/dispatch.pb-c.h"
#include "shared/base/buf.h"
#include "shared/base/io.h"
#include "shared/base/mem.h"
#include "shared/base/rng.h"
#include "shared/base/str.h"
#include "shared/base/time.h"
#include "shared/identity/identity.h"
#include "shared/image/image.h"
#include "shared/model/model.h"
#include "shared/net/net.h"
#include "shared/wire/wire.h"
#include "swarmctl/client/client.h"

#define DEADLINE_MS 20000
#define OUTPUT_MAX  8192

struct fixture {
        char dir[64], data[96], other[96], ipc[128], tcp[96], advertise[64];
        pid_t pid; /* 0: none runs */
        int output;
        char text[OUTPUT_MAX]; /* what the last one printed */
        struct loop *loop;
        struct net *net;
        struct loop_timer *deadline;
        bool timed_out;
        Swarm__ManagerMessage *heard;
        int pieces, awaited; /* of blobs */
        uint64_t receipt;    /* of the last */
        bool is_broken;
        struct net_client *clients[2];
        struct err err;
};

/* A port that is free now. */
static unsigned free_port(void)
{
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t n = sizeof(a);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        assert_int_equal(bind(fd, (struct sockaddr *)&a, n), 0);
        assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
        close(fd);
        return ntohs(a.sin_port);
}

static void on_deadline(void *arg)
{
        struct fixture *f = arg;

        f->timed_out = true;
        loop_stop(f->loop);
}

static int setup(void **state)
{
        struct fixture *f = xnew(struct fixture);
        unsigned port = free_port();

        snprintf(f->dir, sizeof(f->dir), "/tmp/swarm-daemon-XXXXXX");
        assert_non_null(mkdtemp(f->dir));
        snprintf(f->data, sizeof(f->data), "%s/data", f->dir);
        snprintf(f->other, sizeof(f->other), "%s/other", f->dir);
        snprintf(f->ipc, sizeof(f->ipc), "ipc://%s/manager.sock", f->data);
        snprintf(f->advertise, sizeof(f->advertise), "127.0.0.1:%u", port);
        snprintf(f->tcp, sizeof(f->tcp), "tcp://%s", f->advertise);
        f->loop = loop_new();
        f->net = net_new(f->loop);
        f->deadline = loop_timer_new(f->loop, on_deadline, f);
        *state = f;
        return 0;
}

/* Starts it with its output in a pipe. */
static void spawn(struct fixture *f, const char *flags)
{
        const char *build = getenv("BUILD");
        _cleanup_free_ char *line = xasprintf("%s/swarm-manager --data-dir %s %s",
                                              build ? build : "build", f->data, flags);
        _cleanup_strv_ char **argv = NULL;
        int fds[2];

        assert_int_equal(str_split_words(line, &argv), 0);
        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        f->pid = fork();
        assert_true(f->pid >= 0);
        if (f->pid == 0) {
                dup2(fds[1], STDOUT_FILENO);
                dup2(fds[1], STDERR_FILENO);
                execv(argv[0], argv);
                _exit(126);
        }
        close(fds[1]);
        f->output = fds[0];
        f->text[0] = 0;
}

/* Reads output until it has the text or, with NULL, to its end. */
static void read_until(struct fixture *f, const char *text)
{
        size_t n = strlen(f->text);

        while (!text || !strstr(f->text, text)) {
                ssize_t r = read(f->output, f->text + n, sizeof(f->text) - 1 - n);

                if (r <= 0) {
                        if (text)
                                fail_msg("it ended without \"%s\": %s", text, f->text);
                        return;
                }
                n += (size_t)r;
                f->text[n] = 0;
        }
}

static int reap(struct fixture *f)
{
        int status = 0;

        read_until(f, NULL);
        close(f->output);
        assert_int_equal(waitpid(f->pid, &status, 0), f->pid);
        f->pid = 0;
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int end(struct fixture *f, int signum)
{
        kill(f->pid, signum);
        return reap(f);
}

static void start(struct fixture *f)
{
        _cleanup_free_ char *flags =
                xasprintf("--advertise %s --listen %s --init", f->advertise, f->advertise);

        spawn(f, flags);
        read_until(f, "manager ready");
}

static int teardown(void **state)
{
        struct fixture *f = *state;

        if (f->pid)
                end(f, SIGKILL);
        wire_free(f->heard);
        for (size_t i = 0; i < ARRAY_SIZE(f->clients); i++)
                net_client_close(f->clients[i]);
        net_free(f->net);
        loop_timer_free(f->deadline);
        loop_free(f->loop);
        umount2(f->dir, MNT_DETACH);
        io_remove_tree(AT_FDCWD, f->dir);
        free(f);
        return 0;
}

static Swarm__Empty EMPTY = SWARM__EMPTY__INIT;

/* One call of kind `info`; the code, and the response when there is one. */
static int ask_info(struct fixture *f, const char *host, const char *data_dir,
                    Swarm__Response **ret)
{
        struct client_config config = {.host = host, .data_dir = data_dir};
        Swarm__Request q = SWARM__REQUEST__INIT;
        struct client *c = NULL;
        int r = client_open(&config, &c, &f->err);

        q.kind_case = SWARM__REQUEST__KIND_INFO;
        q.info = &EMPTY;
        if (r >= 0)
                r = client_call(c, &q, DEADLINE_MS, ret, &f->err);
        client_close(c);
        return r;
}

static uint64_t count_nodes(struct fixture *f)
{
        Swarm__Response *r = NULL;

        if (ask_info(f, f->ipc, f->data, &r) < 0)
                fail_msg("%s", f->err.text);
        uint64_t n = r->info->nodes;
        wire_free(r);
        return n;
}

static void on_heard(void *arg, const uint8_t *p, size_t n)
{
        struct fixture *f = arg;

        wire_free(f->heard);
        f->heard = wire_unpack_heap(&swarm__manager_message__descriptor, p, n);
        loop_stop(f->loop);
}

/* The worker token that the manager printed. */
static void find_token(struct fixture *f, struct join_token *ret)
{
        const char *s = strstr(f->text, JOIN_TOKEN_PREFIX);
        char text[IDENTITY_TOKEN_TEXT_LEN + 1];

        assert_non_null(s);
        snprintf(text, sizeof(text), "%s", s);
        assert_int_equal(join_token_parse(text, ret, &f->err), 0);
}

static struct net_client *connect_agent(struct fixture *f, const struct net_keys *keys,
                                        const uint8_t *cluster_key)
{
        struct net_client_config config = {.endpoint = f->tcp,
                                           .keys = keys,
                                           .server_key = cluster_key,
                                           .arg = f,
                                           .on_message = on_heard};
        struct net_client *c = NULL;

        assert_int_equal(net_connect(f->net, &config, &c, &f->err), 0);
        return c;
}

static void describe(Swarm__NodeDescription *d, Swarm__Resources *capacity)
{
        swarm__node_description__init(d);
        swarm__resources__init(capacity);
        d->hostname = (char *)"n1";
        d->os = (char *)"linux";
        d->arch = (char *)"x86_64";
        d->address = (char *)"127.0.0.1";
        d->protocol = DISPATCH_PROTOCOL;
        capacity->nano_cpus = 1000000000;
        capacity->memory_bytes = 1 << 30;
        d->capacity = capacity;
}

/* What the manager answers to a Join with this secret. */
static Swarm__ManagerMessage__KindCase join(struct fixture *f, struct net_client *c,
                                            const char *secret)
{
        Swarm__AgentMessage m = SWARM__AGENT_MESSAGE__INIT;
        Swarm__Join j = SWARM__JOIN__INIT;
        Swarm__NodeDescription d;
        Swarm__Resources capacity;
        _cleanup_buf_ struct buf b = {0};

        describe(&d, &capacity);
        j.secret = (char *)secret;
        j.role = ROLE_WORKER;
        j.description = &d;
        m.kind_case = SWARM__AGENT_MESSAGE__KIND_JOIN;
        m.join = &j;
        WIRE_PACK(&m, &b);
        assert_int_equal(net_client_send(c, b.data, b.len), 0);
        loop_timer_set(f->deadline, DEADLINE_MS);
        loop_run(f->loop);
        assert_false(f->timed_out);
        assert_non_null(f->heard);
        return f->heard->kind_case;
}

static void test_not_initialised(void **state)
{
        struct fixture *f = *state;
        struct stat st;

        spawn(f, "");
        assert_int_equal(reap(f), 1);
        assert_non_null(strstr(f->text, "no cluster here; --init makes a new one"));
        spawn(f, "--init");
        assert_int_equal(reap(f), 2);
        assert_non_null(strstr(f->text, "--advertise IP[:PORT] is needed with --init"));
        spawn(f, "--join 127.0.0.1:1 --advertise 127.0.0.1");
        assert_int_equal(reap(f), 2);
        assert_non_null(strstr(f->text, "--token TOKEN is needed"));
        spawn(f, "--wrong");
        assert_int_equal(reap(f), 2);
        assert_non_null(strstr(f->text, "unknown flag --wrong"));
        assert_int_equal(stat(f->data, &st), -1); /* nothing was made */
}

static void test_init_and_end(void **state)
{
        struct fixture *f = *state;
        struct stat st;
        char path[128];

        start(f);
        assert_non_null(strstr(f->text, "swarm-agent --join "));
        snprintf(path, sizeof(path), "%s/manager.sock", f->data);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
        assert_int_equal(end(f, SIGTERM), 0);
        /* What was told at the first start need not be told again. */
        spawn(f, "");
        read_until(f, "manager ready");
        assert_non_null(strstr(f->text, f->advertise));
        assert_null(strstr(f->text, JOIN_TOKEN_PREFIX));
        assert_int_equal(end(f, SIGINT), 0);
}

/* What says nothing to it does not end it. */
static void test_signals(void **state)
{
        struct fixture *f = *state;
        static const int signals[] = {SIGUSR1, SIGUSR2, SIGHUP, SIGPIPE};

        start(f);
        for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
                assert_int_equal(kill(f->pid, signals[i]), 0);
        assert_true(count_nodes(f) > 0);
        assert_int_equal(end(f, SIGTERM), 0);
}

static void test_one_at_a_time(void **state)
{
        struct fixture *f = *state, second = *f;

        start(f);
        spawn(&second, "--init");
        assert_int_equal(reap(&second), 1);
        assert_non_null(strstr(second.text, "in use"));
        assert_true(count_nodes(f) > 0); /* the first one was not disturbed */
}

static void test_port_in_use(void **state)
{
        struct fixture *f = *state;
        struct fixture second = *f;

        start(f);
        snprintf(second.data, sizeof(second.data), "%s", f->other);
        _cleanup_free_ char *flags = xasprintf("--init --advertise %s", f->advertise);
        spawn(&second, flags);
        assert_int_equal(reap(&second), 1);
        assert_non_null(strstr(second.text, "in use"));
}

static void test_who_may_control(void **state)
{
        struct fixture *f = *state;
        Swarm__Response *r = NULL;
        uint8_t cluster_key[NET_KEY_BYTES];
        struct net_keys keys;

        start(f);
        assert_int_equal(ask_info(f, f->ipc, f->data, &r), 0);
        wire_free(r);
        assert_int_equal(ask_info(f, f->tcp, f->data, &r), 0); /* with a manager's key */
        wire_free(r);
        /* A key of its own and the cluster's public one are not enough. */
        assert_int_equal(identity_make_node_key(f->other, NULL, &keys, &f->err), 0);
        assert_int_equal(identity_read_cluster_key(f->data, cluster_key, &f->err), 0);
        assert_int_equal(identity_write_cluster_key(f->other, cluster_key, &f->err), 0);
        assert_int_equal(ask_info(f, f->tcp, f->other, &r), -EACCES);
        assert_non_null(strstr(f->err.text, "not a manager's"));
}

static void test_join_outlives_a_kill(void **state)
{
        struct fixture *f = *state;
        struct join_token token;
        struct net_keys keys;

        start(f);
        find_token(f, &token);
        uint64_t before = count_nodes(f);
        assert_int_equal(net_keys_make(&keys), 0);
        struct net_client *c = f->clients[0] = connect_agent(f, &keys, token.cluster_key);

        assert_int_equal(join(f, c, "0000000000000000000000000"),
                         SWARM__MANAGER_MESSAGE__KIND_REFUSED);
        assert_int_equal(count_nodes(f), before);
        assert_int_equal(join(f, c, token.secret), SWARM__MANAGER_MESSAGE__KIND_JOINED);
        assert_int_equal(end(f, SIGKILL), 128 + SIGKILL); /* right after the acknowledgement */
        start(f);
        assert_int_equal(count_nodes(f), before + 1);
}

static void test_garbage(void **state)
{
        struct fixture *f = *state;
        struct net_keys keys;
        uint8_t cluster_key[NET_KEY_BYTES], junk[512];
        struct rng rng = {7};

        start(f);
        assert_int_equal(net_keys_make(&keys), 0);
        assert_int_equal(identity_read_cluster_key(f->data, cluster_key, &f->err), 0);
        struct net_client_config local = {.endpoint = f->ipc, .arg = f, .on_message = on_heard};
        f->clients[0] = connect_agent(f, &keys, cluster_key);
        assert_int_equal(net_connect(f->net, &local, &f->clients[1], &f->err), 0);
        for (int i = 0; i < 2000; i++) {
                size_t n = (size_t)rng_below(&rng, sizeof(junk));

                for (size_t j = 0; j < n; j++)
                        junk[j] = (uint8_t)rng_next(&rng);
                net_client_send(f->clients[i % 2], junk, n);
        }
        loop_timer_set(f->deadline, 300);
        while (!f->timed_out)
                loop_run(f->loop);
        assert_true(count_nodes(f) > 0);
        assert_int_equal(end(f, SIGTERM), 0);
}

static void send_agent(struct net_client *c, Swarm__AgentMessage *m)
{
        _cleanup_buf_ struct buf b = {0};

        WIRE_PACK(m, &b);
        assert_int_equal(net_client_send(c, b.data, b.len), 0);
}

static void put_blob(struct fixture *f, size_t n, char digest[DIGEST_TEXT_LEN + 1])
{
        struct client_config config = {.host = f->ipc, .data_dir = f->data};
        _cleanup_free_ uint8_t *bytes = xcalloc(1, n);
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__BlobPut put = SWARM__BLOB_PUT__INIT;
        Swarm__Response *r = NULL;
        struct client *c = NULL;

        digest_of(bytes, n, digest);
        put.digest = digest;
        put.data = (ProtobufCBinaryData){n, bytes};
        put.is_last = true;
        q.kind_case = SWARM__REQUEST__KIND_BLOB_PUT;
        q.blob_put = &put;
        assert_int_equal(client_open(&config, &c, &f->err), 0);
        if (client_call(c, &q, DEADLINE_MS, &r, &f->err) < 0)
                fail_msg("%s", f->err.text);
        wire_free(r);
        client_close(c);
}

/* Counts pieces of blobs. */
static void on_piece(void *arg, const uint8_t *p, size_t n)
{
        struct fixture *f = arg;
        Swarm__ManagerMessage *m = wire_unpack_heap(&swarm__manager_message__descriptor, p, n);

        if (m->kind_case == SWARM__MANAGER_MESSAGE__KIND_BLOB_DATA) {
                assert_true(m->blob_data->data.len > BLOB_CHUNK_MAX / 2);
                f->receipt = m->blob_data->receipt;
                f->pieces++;
        }
        wire_free(m);
        if (f->pieces == f->awaited)
                loop_stop(f->loop);
}

static void on_broken(void *arg)
{
        struct fixture *f = arg;

        f->is_broken = true;
        loop_stop(f->loop);
}

static struct net_client *connect_taker(struct fixture *f, const struct net_keys *keys,
                                        const uint8_t *cluster_key)
{
        struct net_client_config config = {.endpoint = f->tcp,
                                           .keys = keys,
                                           .server_key = cluster_key,
                                           .arg = f,
                                           .on_message = on_piece,
                                           .on_broken = on_broken};
        struct net_client *c = NULL;

        assert_int_equal(net_connect(f->net, &config, &c, &f->err), 0);
        return c;
}

/* Bytes that begin as a Request does, and are none: who says them is not waited for. */
static void test_no_request(void **state)
{
        static const uint8_t words[] = {0x08, 5, 0x52, 1, 0xff};
        struct fixture *f = *state;
        struct net_keys keys;
        uint8_t cluster_key[NET_KEY_BYTES];

        start(f);
        assert_int_equal(net_keys_make(&keys), 0);
        assert_int_equal(identity_read_cluster_key(f->data, cluster_key, &f->err), 0);
        f->clients[0] = connect_taker(f, &keys, cluster_key);
        assert_int_equal(net_client_send(f->clients[0], words, sizeof(words)), 0);
        loop_timer_set(f->deadline, DEADLINE_MS);
        while (!f->is_broken && !f->timed_out)
                loop_run(f->loop);
        assert_true(f->is_broken);
        assert_int_equal(end(f, SIGTERM), 0);
}

/* So many, and no more. */
static void await_pieces(struct fixture *f, int n)
{
        f->awaited = n;
        loop_timer_set(f->deadline, DEADLINE_MS);
        if (f->pieces < n)
                loop_run(f->loop);
        assert_false(f->timed_out);
        f->awaited = -1;
        loop_timer_set(f->deadline, 300);
        loop_run(f->loop);
        f->timed_out = false;
        assert_int_equal(f->pieces, n);
}

static void ask_pieces(struct net_client *c, char *digest)
{
        Swarm__AgentMessage m = SWARM__AGENT_MESSAGE__INIT;
        Swarm__BlobGet get = SWARM__BLOB_GET__INIT;

        get.digest = digest;
        m.kind_case = SWARM__AGENT_MESSAGE__KIND_BLOB_GET;
        m.blob_get = &get;
        for (get.request = 1; get.request <= 5 * BLOB_NODE_ANSWERS; get.request++) {
                get.offset = get.request; /* the same piece twice is one that waits */
                send_agent(c, &m);
        }
}

static void acknowledge(struct net_client *c, uint64_t receipt)
{
        Swarm__AgentMessage m = SWARM__AGENT_MESSAGE__INIT;
        Swarm__BlobAck ack = SWARM__BLOB_ACK__INIT;

        ack.receipt = receipt;
        m.kind_case = SWARM__AGENT_MESSAGE__KIND_BLOB_ACK;
        m.blob_ack = &ack;
        send_agent(c, &m);
}

static void say_register(struct net_client *c)
{
        Swarm__AgentMessage m = SWARM__AGENT_MESSAGE__INIT;
        Swarm__Register r = SWARM__REGISTER__INIT;
        Swarm__NodeDescription d;
        Swarm__Resources capacity;

        describe(&d, &capacity);
        r.description = &d;
        r.number = 1;
        m.kind_case = SWARM__AGENT_MESSAGE__KIND_REGISTER;
        m.register_ = &r;
        send_agent(c, &m);
}

/* A worker's key that asks for bytes and acknowledges none does not fill the manager's memory, not
 * with many connections either. */
static void test_blobs_are_acknowledged(void **state)
{
        struct fixture *f = *state;
        char digest[DIGEST_TEXT_LEN + 1];
        struct join_token token;
        struct net_keys keys;

        start(f);
        find_token(f, &token);
        put_blob(f, BLOB_CHUNK_MAX, digest);
        assert_int_equal(net_keys_make(&keys), 0);
        f->clients[0] = connect_agent(f, &keys, token.cluster_key);
        assert_int_equal(join(f, f->clients[0], token.secret), SWARM__MANAGER_MESSAGE__KIND_JOINED);
        net_client_close(f->clients[0]);
        f->clients[0] = connect_taker(f, &keys, token.cluster_key);
        ask_pieces(f->clients[0], digest);
        await_pieces(f, BLOB_NODE_ANSWERS);
        acknowledge(f->clients[0], f->receipt ^ 1);
        ask_pieces(f->clients[0], digest);
        await_pieces(f, BLOB_NODE_ANSWERS);
        acknowledge(f->clients[0], f->receipt);
        ask_pieces(f->clients[0], digest);
        await_pieces(f, 2 * BLOB_NODE_ANSWERS);
        /* Another connection has nothing until it registers: then it takes the place of this one,
         * which is broken. */
        f->clients[1] = connect_taker(f, &keys, token.cluster_key);
        ask_pieces(f->clients[1], digest);
        await_pieces(f, 2 * BLOB_NODE_ANSWERS);
        assert_false(f->is_broken);
        say_register(f->clients[1]);
        loop_timer_set(f->deadline, DEADLINE_MS);
        while (!f->is_broken && !f->timed_out)
                loop_run(f->loop);
        assert_false(f->timed_out);
        assert_true(count_nodes(f) > 0);
}

/* --- a full disk --------------------------------------------------------------------------------
 */
/* Takes the disk's room to the last byte. */
static void fill(struct fixture *f, const char *name)
{
        _cleanup_free_ char *path = xasprintf("%s/%s", f->dir, name);
        _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_EXCL, 0600);
        static char page[4096];

        assert_true(fd >= 0);
        while (write(fd, page, sizeof(page)) > 0)
                ;
        assert_int_equal(errno, ENOSPC);
}

static void empty(struct fixture *f, const char *name)
{
        _cleanup_free_ char *path = xasprintf("%s/%s", f->dir, name);

        assert_int_equal(unlink(path), 0);
}

static bool has_ballast(struct fixture *f)
{
        _cleanup_free_ char *path = xasprintf("%s/manager/ballast", f->data);
        struct stat st;

        return stat(path, &st) == 0 && st.st_size == DB_BALLAST_BYTES &&
               st.st_blocks * 512LL >= DB_BALLAST_BYTES;
}

/* Something that must be written down. */
static void change(struct fixture *f)
{
        struct client_config config = {.host = f->ipc, .data_dir = f->data};
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__TokenRequest rotate = SWARM__TOKEN_REQUEST__INIT;
        Swarm__Response *r = NULL;
        struct client *c = NULL;

        rotate.role = ROLE_WORKER;
        rotate.rotate = true;
        q.kind_case = SWARM__REQUEST__KIND_JOIN_TOKEN;
        q.join_token = &rotate;
        assert_int_equal(client_open(&config, &c, &f->err), 0);
        if (client_call(c, &q, DEADLINE_MS, &r, &f->err) < 0)
                fail_msg("%s", f->err.text);
        wire_free(r);
        client_close(c);
}

/* It is made when there is nothing else to write. */
static void await_ballast(struct fixture *f)
{
        struct timespec pause = {.tv_nsec = 10000000};

        for (int i = 0; i < DEADLINE_MS / 10 && !has_ballast(f); i++) {
                change(f);
                nanosleep(&pause, NULL);
        }
        assert_true(has_ballast(f));
}

/* Others fill the disk to the last byte, while the manager is away and while it runs: it starts,
 * and what is asked of it is done. */
static void test_full_disk(void **state)
{
        struct fixture *f = *state;

        assert_int_equal(mount("none", f->dir, "tmpfs", 0, "size=64m"), 0);
        start(f);
        await_ballast(f);
        assert_int_equal(end(f, SIGTERM), 0);
        fill(f, "others");
        spawn(f, "");
        read_until(f, "manager ready");
        assert_false(has_ballast(f));
        for (int i = 0; i < 50; i++)
                change(f);
        empty(f, "others");
        await_ballast(f);
        assert_int_equal(end(f, SIGTERM), 0);
        assert_non_null(strstr(f->text, "the disk is full: 8 MiB that were kept for this"));
        spawn(f, "");
        read_until(f, "manager ready");
        fill(f, "others");
        for (int i = 0; i < 200; i++)
                change(f);
        assert_false(has_ballast(f));
        assert_int_equal(end(f, SIGTERM), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_not_initialised),
                TEST(test_init_and_end),
                TEST(test_one_at_a_time),
                TEST(test_port_in_use),
                TEST(test_who_may_control),
                TEST(test_join_outlives_a_kill),
                TEST(test_signals),
                TEST(test_garbage),
                TEST(test_no_request),
                TEST(test_full_disk),
                TEST(test_blobs_are_acknowledged),
        };

        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
                perror("mount namespace"); /* test_full_disk's mount must not be seen outside */
                return 1;
        }
        return cmocka_run_group_tests_name("daemon", tests, NULL, NULL);
}
