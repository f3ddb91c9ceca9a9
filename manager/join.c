/* Asking to be taken in: see join.h. */
#include "manager/join.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "proto/dispatch.pb-c.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/identity/identity.h"
#include "shared/model/model.h"
#include "shared/wire/wire.h"
#include "version.h"

#define AGAIN_MS 1000

struct joining {
        const struct options *options;
        struct loop *loop;
        struct net_client *client;
        struct loop_timer *timer;
        uint64_t id;
        const char *secret;
        struct joined *ret;
        struct err *err;
        int tries, result;
};

static void end(struct joining *j, int result)
{
        j->result = result;
        loop_stop(j->loop);
}

static void say_join(struct joining *j)
{
        Swarm__AgentMessage m = SWARM__AGENT_MESSAGE__INIT;
        Swarm__Join join = SWARM__JOIN__INIT;
        Swarm__NodeDescription d = SWARM__NODE_DESCRIPTION__INIT;
        Swarm__Resources capacity = SWARM__RESOURCES__INIT;
        _cleanup_free_ char *ip = xstrdup(j->options->advertise);
        _cleanup_buf_ struct buf b = {0};
        struct utsname uts;

        *strrchr(ip, ':') = 0;
        uname(&uts);
        d.hostname = j->options->hostname;
        d.os = (char *)(uintptr_t) "linux";
        d.arch = uts.machine;
        d.address = ip;
        d.engine_version = (char *)(uintptr_t)SWARM_VERSION;
        d.capacity = &capacity;
        join.secret = (char *)(uintptr_t)j->secret;
        join.description = &d;
        join.role = ROLE_MANAGER;
        join.manager_id = j->id;
        join.manager_address = j->options->advertise;
        join.peer_protocol = PEER_PROTOCOL;
        join.peer_protocol_oldest = PEER_PROTOCOL_OLDEST;
        m.kind_case = SWARM__AGENT_MESSAGE__KIND_JOIN;
        m.join = &join;
        WIRE_PACK(&m, &b);
        net_client_send(j->client, b.data, b.len);
}

static int take_joined(struct joining *j, const Swarm__Joined *m)
{
        const ProtobufCBinaryData *key = &m->cluster_secret_key, *unlock = &m->unlock_key;

        if (key->len != NET_KEY_BYTES || net_keys_derive(key->data, &j->ret->cluster_keys) < 0)
                return err_set(j->err, EPROTO, "--join %s: its version has one manager only",
                               j->options->join);
        j->ret->is_autolocked = unlock->len == SEAL_KEY_BYTES;
        if (j->ret->is_autolocked)
                memcpy(j->ret->unlock_key, unlock->data, SEAL_KEY_BYTES);
        return 0;
}

static void on_message(void *arg, const uint8_t *p, size_t n)
{
        struct joining *j = arg;
        _cleanup_arena_ struct wire_arena arena = {0};
        const Swarm__ManagerMessage *m =
                wire_unpack(&arena, &swarm__manager_message__descriptor, p, n);

        if (!m)
                return;
        if (m->kind_case == SWARM__MANAGER_MESSAGE__KIND_REFUSED) {
                end(j,
                    err_set(j->err, EACCES, "--join %s: %s", j->options->join, m->refused->text));
        } else if (m->kind_case == SWARM__MANAGER_MESSAGE__KIND_JOINED) {
                end(j, take_joined(j, m->joined));
        }
}

static void on_timer(void *arg)
{
        struct joining *j = arg;

        if (j->tries++ * AGAIN_MS >= JOIN_WAIT_MS) {
                end(j, err_set(j->err, ETIMEDOUT,
                               "--join %s: no answer in %d s: is a manager there, has it a leader, "
                               "and is the token this cluster's?",
                               j->options->join, JOIN_WAIT_MS / 1000));
                return;
        }
        say_join(j);
        loop_timer_set(j->timer, AGAIN_MS);
}

/* Without a token: a node that is in the cluster already and was promoted. */
static int read_token(const struct options *o, struct join_token *ret, struct err *err)
{
        if (o->token)
                return join_token_parse(o->token, ret, err);
        return identity_read_cluster_key(o->data_dir, ret->cluster_key, err);
}

int join_cluster(struct loop *loop, const struct options *o, const struct net_keys *node_keys,
                 uint64_t id, struct joined *ret, struct err *err)
{
        struct joining j = {
                .options = o, .loop = loop, .id = id, .ret = ret, .err = err, .result = -ECANCELED};
        _cleanup_free_ char *endpoint = xasprintf("tcp://%s", o->join);
        struct join_token token = {0};
        int r = read_token(o, &token, err);

        if (r < 0)
                return r;
        j.secret = token.secret;
        struct net *net = net_new(loop);
        struct net_client_config c = {.endpoint = endpoint,
                                      .keys = node_keys,
                                      .server_key = token.cluster_key,
                                      .arg = &j,
                                      .on_message = on_message};
        r = net_connect(net, &c, &j.client, err);
        if (r == 0) {
                j.timer = loop_timer_new(loop, on_timer, &j);
                loop_timer_set(j.timer, 0);
                loop_run(loop);
                r = j.result;
                net_client_close(j.client);
                loop_timer_free(j.timer);
        }
        net_free(net);
        return r;
}
