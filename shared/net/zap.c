/*
 * Who may connect: the ZAP handler (ZeroMQ RFC 27) for CURVE. ZeroMQ asks here for each new tcp
 * connection before its first message; without a handler it would let any key in, so this socket is
 * bound before any server is. The answer's user id is the key: it comes with each message of that
 * connection, and so no peer can speak for another.
 */
#include <errno.h>
#include <string.h>

#include <zmq.h>

#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/net/net_internal.h"

#define ZAP_ENDPOINT "inproc://zeromq.zap.01"
#define FRAME_MAX    256

enum {
        ZAP_ROUTE,
        ZAP_EMPTY,
        ZAP_VERSION,
        ZAP_REQUEST,
        ZAP_DOMAIN,
        ZAP_ADDRESS,
        ZAP_IDENTITY,
        ZAP_MECHANISM,
        ZAP_KEY,
        ZAP_FRAMES
};

struct frame {
        size_t len;
        uint8_t data[FRAME_MAX + 1]; /* NUL-terminated */
};

/* Reads one whole request; the number of frames (those that do not fit are counted, not kept), or
 * -EAGAIN. */
static int read_request(struct net_socket *s, struct frame frames[ZAP_FRAMES])
{
        int more = 1, count = 0;

        while (more) {
                struct frame spare, *f = count < ZAP_FRAMES ? &frames[count] : &spare;
                size_t len = sizeof(more);
                int r = zmq_recv(s->zs, f->data, FRAME_MAX, ZMQ_DONTWAIT);

                if (r < 0)
                        return net_error();
                f->len = MIN((size_t)r, (size_t)FRAME_MAX);
                f->data[f->len] = 0;
                count++;
                if (zmq_getsockopt(s->zs, ZMQ_RCVMORE, &more, &len))
                        return net_error();
        }
        return count;
}

static bool is_accepted(struct net *n, const struct frame *frames, int count)
{
        struct net_server *server;

        if (count != ZAP_FRAMES || !str_is_equal((const char *)frames[ZAP_VERSION].data, "1.0") ||
            !str_is_equal((const char *)frames[ZAP_MECHANISM].data, "CURVE") ||
            frames[ZAP_KEY].len != NET_KEY_BYTES)
                return false;
        server = net_find_server(n, (const char *)frames[ZAP_DOMAIN].data);
        return server && net_server_accepts(server, frames[ZAP_KEY].data);
}

static void reply(struct net_socket *s, const struct frame *frames, bool accepted)
{
        char user_id[NET_USER_ID_MAX] = "";
        const char *status = accepted ? "200" : "400";
        const char *text = accepted ? "OK" : "refused";

        if (accepted)
                net_user_id_format(frames[ZAP_KEY].data, user_id);
        net_send_frame(s, frames[ZAP_ROUTE].data, frames[ZAP_ROUTE].len, ZMQ_SNDMORE);
        net_send_frame(s, "", 0, ZMQ_SNDMORE);
        net_send_frame(s, "1.0", 3, ZMQ_SNDMORE);
        net_send_frame(s, frames[ZAP_REQUEST].data, frames[ZAP_REQUEST].len, ZMQ_SNDMORE);
        net_send_frame(s, status, strlen(status), ZMQ_SNDMORE);
        net_send_frame(s, text, strlen(text), ZMQ_SNDMORE);
        net_send_frame(s, user_id, strlen(user_id), ZMQ_SNDMORE);
        net_send_frame(s, "", 0, 0);
}

static void on_request(struct net_socket *s)
{
        struct frame frames[ZAP_FRAMES] = {0};

        for (int i = 0; i < READ_BUDGET; i++) {
                int count = read_request(s, frames);

                if (count < 0)
                        return;
                if (count > ZAP_REQUEST)
                        reply(s, frames, is_accepted(s->net, frames, count));
        }
}

int net_zap_open(struct net *n)
{
        if (n->zap)
                return 0;
        n->zap = net_socket_open(n, ZMQ_ROUTER, on_request, NULL);
        if (zmq_bind(n->zap->zs, ZAP_ENDPOINT)) {
                int r = net_error();

                net_socket_close(STEAL_PTR(n->zap));
                return r;
        }
        return 0;
}
