/*
 * The line to a manager: see client.h. Runs a loop of its own whenever something is waited for, and
 * hands out what came for whom by the request's number. What can fail: nobody listens, the line
 * breaks (then all that was asked is lost), a manager's refusal.
 */
#include "swarmctl/client/client.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "shared/base/buf.h"
#include "shared/base/list.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/base/time.h"
#include "shared/identity/identity.h"
#include "shared/model/model.h"
#include "shared/net/net.h"
#include "shared/wire/wire.h"
#include "swarmctl/client/client_internal.h"

#define STREAM_QUEUE_MAX 4096 /* responses of a stream that were not asked for yet */

struct answer {
        struct list link;
        Swarm__Response *response;
};

/* One request that is waiting for responses. */
struct client_stream {
        struct list link;
        struct client *client;
        uint64_t number;
        struct list answers;
        size_t n_answers;
        bool is_complete, has_overflowed;
};

struct client {
        struct loop *loop;
        struct net *net;
        struct net_client *line;
        struct loop_timer *deadline, *keep_alive;
        struct list streams;
        uint64_t last_number;
        const struct client_stream *waiting; /* whose answers end the wait */
        bool is_timed_out, is_broken; /* broken: what was asked before is not answered any more */
        bool is_tcp, is_heard;        /* heard: something came, so our key was taken */
        char *host;
};

enum client_exit client_exit_code(int r)
{
        switch (-r) {
        case EHOSTUNREACH:
        case ENOTCONN:
        case EAGAIN: return CLIENT_EXIT_NO_MANAGER;
        case ETIMEDOUT: return CLIENT_EXIT_TIMED_OUT;
        case EDESTADDRREQ: return CLIENT_EXIT_USAGE;
        default: return r >= 0 ? CLIENT_EXIT_DONE : CLIENT_EXIT_REFUSED;
        }
}

static void on_message(void *arg, const uint8_t *p, size_t n)
{
        struct client *c = arg;
        Swarm__Response *r = wire_unpack_heap(&swarm__response__descriptor, p, n);
        struct client_stream *s;

        if (!r)
                return;
        c->is_heard = true;
        LIST_FOREACH (s, &c->streams, link) {
                if (s->number != r->number || s->is_complete)
                        continue;
                s->is_complete = !r->more;
                if (s->n_answers == STREAM_QUEUE_MAX) {
                        s->has_overflowed = true;
                        break;
                }
                struct answer *a = xnew(struct answer);

                a->response = STEAL_PTR(r);
                list_push_back(&s->answers, &a->link);
                s->n_answers++;
                if (s == c->waiting)
                        loop_stop(c->loop);
                break;
        }
        wire_free(r);
}

static void on_deadline(void *arg)
{
        struct client *c = arg;

        c->is_timed_out = true;
        loop_stop(c->loop);
}

static void on_broken(void *arg)
{
        struct client *c = arg;

        c->is_broken = true;
        loop_stop(c->loop);
}

static int send_request(struct client *c, Swarm__Request *q, struct err *err)
{
        _cleanup_buf_ struct buf b = {0};

        q->protocol = CONTROL_PROTOCOL;
        q->protocol_oldest = CONTROL_PROTOCOL_OLDEST;
        WIRE_PACK(q, &b);
        if (b.len > MESSAGE_BYTES_MAX)
                return err_set(err, EMSGSIZE, "the request is larger than 4 MiB");
        int r = net_client_send(c->line, b.data, b.len);
        return r < 0 ? err_set(err, EHOSTUNREACH, "manager at %s: %s", c->host, err_name(r)) : 0;
}

static void on_keep_alive(void *arg)
{
        struct client *c = arg;
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__Empty empty = SWARM__EMPTY__INIT;

        q.kind_case = SWARM__REQUEST__KIND_KEEP_ALIVE;
        q.keep_alive = &empty;
        send_request(c, &q, NULL);
        loop_timer_set(c->keep_alive, CLIENT_KEEP_ALIVE_MS);
}

/* Keys and the manager's key, for tcp. */
static int read_keys(const struct client_config *config, struct net_keys *keys, uint8_t *server_key,
                     struct err *err)
{
        const char *dir = config->data_dir ? config->data_dir : getenv("SWARM_DATA_DIR");

        if (str_is_empty(dir))
                dir = CLIENT_DEFAULT_DATA_DIR;
        int r = identity_read_node_key(dir, NULL, keys, err);

        if (r >= 0)
                r = identity_read_cluster_key(dir, server_key, err);
        return r < 0 ? err_wrap(err, "tcp needs the keys of a manager's data-dir") : 0;
}

int client_open(const struct client_config *config, struct client **ret, struct err *err)
{
        const char *host = config->host;
        struct net_keys keys = {0};
        uint8_t server_key[NET_KEY_BYTES];
        int r;

        if (str_is_empty(host))
                host = getenv("SWARM_HOST");
        if (str_is_empty(host))
                host = CLIENT_DEFAULT_HOST;
        bool is_tcp = str_has_prefix(host, "tcp://");
        r = client_probe(host, err);
        if (r >= 0 && is_tcp)
                r = read_keys(config, &keys, server_key, err);
        if (r < 0)
                return r;

        struct client *c = xnew(struct client);

        list_init(&c->streams);
        c->host = xstrdup(host);
        c->is_tcp = is_tcp;
        c->loop = loop_new();
        c->net = net_new(c->loop);
        c->deadline = loop_timer_new(c->loop, on_deadline, c);
        c->keep_alive = loop_timer_new(c->loop, on_keep_alive, c);
        loop_timer_set(c->keep_alive, CLIENT_KEEP_ALIVE_MS);
        struct net_client_config line = {
                .endpoint = host,
                .keys = is_tcp ? &keys : NULL,
                .server_key = is_tcp ? server_key : NULL,
                .arg = c,
                .on_message = on_message,
                .on_broken = on_broken,
        };
        r = net_connect(c->net, &line, &c->line, err);
        explicit_bzero(&keys, sizeof(keys));
        if (r < 0)
                client_close(c);
        else
                *ret = c;
        return r;
}

static void stream_free(struct client_stream *s)
{
        struct answer *a, *next;

        LIST_FOREACH_SAFE (a, next, &s->answers, link) {
                wire_free(a->response);
                free(a);
        }
        list_remove(&s->link);
        free(s);
}

void client_close(struct client *c)
{
        if (!c)
                return;
        while (!list_is_empty(&c->streams))
                stream_free(LIST_ITEM(c->streams.next, struct client_stream, link));
        net_client_close(c->line);
        net_free(c->net);
        loop_timer_free(c->deadline);
        loop_timer_free(c->keep_alive);
        loop_free(c->loop);
        free(c->host);
        free(c);
}

int client_stream_open(struct client *c, Swarm__Request *request, struct client_stream **ret,
                       struct err *err)
{
        request->number = ++c->last_number;
        int r = send_request(c, request, err);
        if (r < 0)
                return r;
        struct client_stream *s = xnew(struct client_stream);

        s->client = c;
        s->number = request->number;
        list_init(&s->answers);
        list_push_back(&c->streams, &s->link);
        *ret = s;
        return 0;
}

/* Until there is an answer. */
static int wait_for(struct client_stream *s, int64_t timeout_ms, struct err *err)
{
        struct client *c = s->client;

        c->waiting = s;
        c->is_timed_out = false;
        if (timeout_ms >= 0)
                loop_timer_set(c->deadline, timeout_ms);
        while (list_is_empty(&s->answers) && !c->is_timed_out && !c->is_broken)
                loop_run(c->loop);
        loop_timer_clear(c->deadline);
        c->waiting = NULL;
        if (!list_is_empty(&s->answers))
                return 0;
        if (c->is_broken)
                return err_set(err, ENOTCONN, "manager at %s: the connection broke%s", c->host,
                               c->is_tcp && !c->is_heard ? ", or it does not take our key" : "");
        return err_set(err, ETIMEDOUT, "manager at %s: no answer in time", c->host);
}

static bool has_content(const Swarm__Response *r)
{
        return r->kind_case != SWARM__RESPONSE__KIND__NOT_SET &&
               r->kind_case != SWARM__RESPONSE__KIND_DONE;
}

int client_stream_next(struct client_stream *s, int64_t timeout_ms, Swarm__Response **ret,
                       struct err *err)
{
        if (s->has_overflowed)
                return err_set(err, ENOBUFS, "manager at %s: more came than could be taken",
                               s->client->host);
        if (list_is_empty(&s->answers)) {
                if (s->is_complete)
                        return 0;
                int e = wait_for(s, timeout_ms, err);
                if (e < 0)
                        return e;
        }
        struct answer *a = LIST_ITEM(list_pop_front(&s->answers), struct answer, link);
        Swarm__Response *r = a->response;

        free(a);
        s->n_answers--;
        if (r->code) {
                int code = err_set(err, (int)MIN(r->code, 4095u), "%s",
                                   *r->error ? r->error : err_name((int)MIN(r->code, 4095u)));

                wire_free(r);
                /* this process was held up, and the manager gave it up */
                return code == -ETIMEDOUT ? -ENOTCONN : code;
        }
        if (!r->more && !has_content(r)) {
                wire_free(r);
                return 0;
        }
        *ret = r;
        return 1;
}

int client_stream_acknowledge(struct client_stream *s, uint32_t count)
{
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__LogAcknowledge m = SWARM__LOG_ACKNOWLEDGE__INIT;

        if (s->is_complete)
                return 0;
        m.count = count;
        q.number = s->number;
        q.kind_case = SWARM__REQUEST__KIND_LOG_ACKNOWLEDGE;
        q.log_acknowledge = &m;
        return send_request(s->client, &q, NULL);
}

void client_stream_close(struct client_stream *s)
{
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__Empty empty = SWARM__EMPTY__INIT;

        if (!s)
                return;
        q.number = s->number;
        q.kind_case = SWARM__REQUEST__KIND_CANCEL;
        q.cancel = &empty;
        if (!s->is_complete)
                send_request(s->client, &q, NULL);
        stream_free(s);
}

int client_call(struct client *c, Swarm__Request *request, int64_t timeout_ms,
                Swarm__Response **ret, struct err *err)
{
        struct client_stream *s;
        int r = client_stream_open(c, request, &s, err);

        if (r < 0)
                return r;
        r = wait_for(s, timeout_ms ? timeout_ms : CLIENT_TIMEOUT_MS, err);
        if (r < 0) {
                stream_free(s);
                return r;
        }
        struct answer *a = LIST_ITEM(s->answers.next, struct answer, link);
        uint32_t code = MIN(a->response->code, 4095u);

        if (code)
                r = err_set(err, (int)code, "%s",
                            *a->response->error ? a->response->error : err_name((int)code));
        else if (ret)
                *ret = STEAL_PTR(a->response);
        stream_free(s);
        return r;
}
