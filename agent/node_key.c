/* The key that this node is known by: see node_key.h. */
#include "agent/node_key.h"

#include <errno.h>
#include <string.h>

#include "proto/control.pb-c.h"
#include "shared/base/log.h"
#include "shared/base/mem.h"
#include "shared/base/notify.h"
#include "shared/identity/identity.h"
#include "shared/model/model.h"
#include "shared/wire/wire.h"

#define WAITING "the node's key is sealed: waiting until its manager is unlocked"

struct asking {
        struct loop *loop;
        struct net_client *client;
        struct loop_timer *timer;
        const char *data_dir;
        struct net_keys *ret;
        bool has_it;
};

/* A locked manager refuses, one that is just opening its doors says nothing. */
static void on_message(void *arg, const uint8_t *p, size_t n)
{
        struct asking *a = arg;
        Swarm__Response *r = wire_unpack_heap(&swarm__response__descriptor, p, n);

        if (r && r->kind_case == SWARM__RESPONSE__KIND_NODE_KEY &&
            r->node_key.len == NET_KEY_BYTES && net_keys_derive(r->node_key.data, a->ret) == 0) {
                a->has_it = true;
                explicit_bzero(r->node_key.data, r->node_key.len);
                loop_stop(a->loop);
        }
        wire_free(r);
}

static void ask(void *arg)
{
        struct asking *a = arg;
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__NodeKeyGet get = SWARM__NODE_KEY_GET__INIT;
        _cleanup_buf_ struct buf b = {0};

        /* A manager that is taken off the members leaves it plain, and ends. */
        if (identity_read_node_key(a->data_dir, NULL, a->ret, NULL) == 0) {
                a->has_it = true;
                loop_stop(a->loop);
                return;
        }
        q.number = 1;
        q.protocol = CONTROL_PROTOCOL;
        q.protocol_oldest = CONTROL_PROTOCOL_OLDEST;
        q.kind_case = SWARM__REQUEST__KIND_NODE_KEY_GET;
        q.node_key_get = &get;
        WIRE_PACK(&q, &b);
        net_client_send(a->client, b.data, b.len); /* or the next time */
        loop_timer_set(a->timer, NODE_KEY_ASK_MS);
}

static int ask_manager(struct loop *l, const char *data_dir, struct net_keys *ret, struct err *err)
{
        _cleanup_free_ char *endpoint = xasprintf("ipc://%s/manager.sock", data_dir);
        struct asking a = {.loop = l, .data_dir = data_dir, .ret = ret};
        struct net_client_config c = {.endpoint = endpoint, .arg = &a, .on_message = on_message};
        struct net *net = net_new(l);
        int r = net_connect(net, &c, &a.client, err);

        if (r == 0) {
                a.timer = loop_timer_new(l, ask, &a);
                loop_timer_set(a.timer, 0);
                loop_run(l);
                loop_timer_free(a.timer);
                net_client_close(a.client);
                r = a.has_it ? 0 : -ECANCELED;
        }
        net_free(net);
        return r;
}

int node_key_take(struct loop *l, const char *data_dir, loop_fn *on_sealed, void *arg,
                  struct net_keys *ret, struct err *err)
{
        int r = identity_make_node_key(data_dir, NULL, ret, err);

        if (r != -ENOKEY)
                return r;
        log_warn(WAITING);
        notify_service_manager("READY=1\nSTATUS=" WAITING);
        if (on_sealed)
                on_sealed(arg);
        r = ask_manager(l, data_dir, ret, err);
        notify_service_manager("STATUS=");
        return r;
}
