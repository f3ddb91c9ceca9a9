/* The cluster's keys and secrets: see identity.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "manager/identity/identity.h"
#include "shared/base/mem.h"
#include "shared/wire/wire.h"

static const char *secret_of(const Swarm__Cluster *c, enum node_role role)
{
        return role == ROLE_MANAGER ? c->manager_secret : c->worker_secret;
}

static void secret_from(const uint8_t bytes[ID_BYTES], char ret[IDENTITY_SECRET_TEXT_LEN + 1])
{
        struct id id;

        id_decode(bytes, ID_BYTES, &id);
        memcpy(ret, ID_S(id), IDENTITY_SECRET_TEXT_LEN + 1);
}

Swarm__Cluster *cluster_make(const struct net_keys *keys, int64_t wall_ms)
{
        Swarm__Cluster c = SWARM__CLUSTER__INIT;
        Swarm__ClusterSettings settings = SWARM__CLUSTER_SETTINGS__INIT;
        char secrets[2][IDENTITY_SECRET_TEXT_LEN + 1];
        uint8_t id[ID_BYTES], random[ID_BYTES];

        randombytes_buf(id, sizeof(id));
        for (size_t i = 0; i < ARRAY_SIZE(secrets); i++) {
                randombytes_buf(random, sizeof(random));
                secret_from(random, secrets[i]);
        }
        settings.heartbeat_ms = DEFAULT_HEARTBEAT_MS;
        settings.suspect_ms = DEFAULT_SUSPECT_MS;
        settings.down_ms = DEFAULT_DOWN_MS;
        settings.mass_failure_wait_ms = DEFAULT_MASS_FAILURE_MS;
        settings.task_history_limit = DEFAULT_HISTORY_LIMIT;
        c.id = (ProtobufCBinaryData){sizeof(id), id};
        c.public_key = (ProtobufCBinaryData){NET_KEY_BYTES, (uint8_t *)(uintptr_t)keys->public_key};
        c.secret_key = (ProtobufCBinaryData){NET_KEY_BYTES, (uint8_t *)(uintptr_t)keys->secret_key};
        c.worker_secret = secrets[0];
        c.manager_secret = secrets[1];
        c.settings = &settings;
        c.created_ms = c.updated_ms = wall_ms;
        c.version = 1;
        return wire_dup(&c);
}

void cluster_next_secret(const Swarm__Cluster *cluster, enum node_role role,
                         char ret[IDENTITY_SECRET_TEXT_LEN + 1])
{
        static const char CONTEXT[] = "swarm join secret";
        const char *present = secret_of(cluster, role);
        crypto_generichash_state state;
        uint8_t hash[ID_BYTES], role_byte = (uint8_t)role;

        crypto_generichash_init(&state, cluster->secret_key.data,
                                MIN(cluster->secret_key.len, (size_t)NET_KEY_BYTES), sizeof(hash));
        crypto_generichash_update(&state, (const uint8_t *)CONTEXT, sizeof(CONTEXT));
        crypto_generichash_update(&state, &role_byte, 1);
        crypto_generichash_update(&state, (const uint8_t *)present, strlen(present));
        crypto_generichash_final(&state, hash, sizeof(hash));
        secret_from(hash, ret);
}

void cluster_token(const Swarm__Cluster *cluster, enum node_role role,
                   char ret[IDENTITY_TOKEN_TEXT_LEN + 1])
{
        uint8_t key[NET_KEY_BYTES] = {0};

        memcpy(key, cluster->public_key.data, MIN(cluster->public_key.len, sizeof(key)));
        join_token_format(key, secret_of(cluster, role), ret);
}

void cluster_set_unlock_key(Swarm__Cluster *cluster, const uint8_t *key)
{
        ProtobufCBinaryData *field = &cluster->unlock_key;

        if (field->len)
                explicit_bzero(field->data, field->len);
        free(field->data);
        *field = (ProtobufCBinaryData){0};
        if (key)
                *field = (ProtobufCBinaryData){SEAL_KEY_BYTES, xmemdup(key, SEAL_KEY_BYTES)};
        cluster->settings->autolock = key != NULL;
}

bool cluster_secret_is(const Swarm__Cluster *cluster, enum node_role role, const char *secret)
{
        const char *right = secret_of(cluster, role);
        size_t n = strlen(right);

        return n > 0 && strlen(secret) == n && sodium_memcmp(secret, right, n) == 0;
}
