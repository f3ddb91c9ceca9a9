/* A manager's keys at rest: see lock.h. */
#include "manager/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shared/base/io.h"
#include "shared/base/log.h"
#include "shared/base/mem.h"
#include "shared/base/notify.h"
#include "shared/identity/identity.h"
#include "shared/net/net.h"
#include "shared/seal/seal.h"
#include "shared/wire/wire.h"

#define AGAIN_MS 30000 /* until what failed is tried again */
#define DATA_KEY "manager/data.key"
#define LOCKED   "manager is locked: run swarmctl swarm unlock"

_Static_assert(DB_WRAPPED_BYTES == SEAL_KEY_BYTES + SEAL_EXTRA_BYTES, "data.key as a copy has it");

struct lock {
        char *data_dir;
        uint8_t data_key[SEAL_KEY_BYTES];
        uint8_t unlock_key[SEAL_KEY_BYTES]; /* is_on: what data.key is sealed with */
        uint8_t wrapped[DB_WRAPPED_BYTES];  /* is_on: data.key */
        bool has_data_key;
        bool is_on;             /* there is a data.key */
        bool is_done;           /* and all is sealed */
        bool is_busy, is_to_be; /* the database is at it: to be sealed, or to be opened */
        int64_t again_at;       /* mono ms */

        /* While it is locked. */
        struct loop *loop;
        struct net_server *server;
};

static char *path_of(const struct lock *k, const char *name)
{
        return xasprintf("%s/%s", k->data_dir, name);
}

struct lock *lock_new(const char *data_dir)
{
        struct lock *k = xnew(struct lock);

        k->data_dir = xstrdup(data_dir);
        return k;
}

void lock_free(struct lock *k)
{
        if (!k)
                return;
        free(k->data_dir);
        explicit_bzero(k, sizeof(*k));
        free(k);
}

const uint8_t *lock_seal_key(const struct lock *k)
{
        return k->is_on ? k->data_key : NULL;
}

/* --- files --------------------------------------------------------------------------------------
 */
static int read_wrapped(struct lock *k)
{
        _cleanup_free_ char *path = path_of(k, DATA_KEY);
        _cleanup_buf_ struct buf b = {0};
        int r = io_read_file(AT_FDCWD, path, sizeof(k->wrapped), &b);

        if (r < 0)
                return r;
        if (b.len != sizeof(k->wrapped) || !seal_is_closed(b.data, b.len))
                return -EINVAL;
        memcpy(k->wrapped, b.data, b.len);
        return 0;
}

/* The data key under another unlock key. */
static int write_data_key(struct lock *k, const uint8_t *unlock_key)
{
        _cleanup_free_ char *path = path_of(k, DATA_KEY);
        int r = seal_write_file(AT_FDCWD, path, unlock_key, k->data_key);

        if (r == 0)
                r = read_wrapped(k);
        if (r < 0)
                return r;
        memcpy(k->unlock_key, unlock_key, sizeof(k->unlock_key));
        k->is_on = true;
        return 0;
}

/* A file of a key, sealed or plain; without one there is nothing to do. */
static int set_form(const struct lock *k, const char *name, bool sealed)
{
        _cleanup_free_ char *path = path_of(k, name);
        uint8_t secret[SEAL_KEY_BYTES];
        int r = seal_read_file(AT_FDCWD, path, NULL, secret);
        bool is_sealed = r == -ENOKEY;

        if (r == -ENOENT)
                return 0;
        if (is_sealed)
                r = seal_read_file(AT_FDCWD, path, k->data_key, secret);
        if (r == 0 && is_sealed != sealed)
                r = seal_write_file(AT_FDCWD, path, sealed ? k->data_key : NULL, secret);
        explicit_bzero(secret, sizeof(secret));
        if (r < 0)
                log_error("%s cannot be %s: %s", path, sealed ? "sealed" : "opened", err_name(r));
        return r;
}

static int set_forms(const struct lock *k, bool sealed)
{
        int r = set_form(k, "node.key", sealed);

        return r < 0 ? r : set_form(k, "manager/cluster.key", sealed);
}

/* --- requests -----------------------------------------------------------------------------------
 */
static void pack_refusal(Swarm__Response *r, int code, const char *text, struct buf *ret)
{
        r->code = (uint32_t)code;
        r->error = (char *)(uintptr_t)text;
        WIRE_PACK(r, ret);
}

static void answer_node_key(const struct lock *k, Swarm__Response *r, struct buf *ret)
{
        struct net_keys keys = {0};
        struct err err = {0};

        if (identity_read_node_key(k->data_dir, lock_seal_key(k), &keys, &err) < 0) {
                pack_refusal(r, err.code, err.text, ret);
                return;
        }
        r->kind_case = SWARM__RESPONSE__KIND_NODE_KEY;
        r->node_key = (ProtobufCBinaryData){NET_KEY_BYTES, keys.secret_key};
        WIRE_PACK(r, ret);
        explicit_bzero(&keys, sizeof(keys));
}

bool lock_on_request(struct lock *k, const uint8_t *p, size_t n, struct buf *ret)
{
        int kind = wire_peek_kind(&swarm__request__descriptor, p, n);
        _cleanup_arena_ struct wire_arena arena = {0};
        Swarm__Response r = SWARM__RESPONSE__INIT;

        if (kind != SWARM__REQUEST__KIND_UNLOCK && kind != SWARM__REQUEST__KIND_NODE_KEY_GET)
                return false;
        const Swarm__Request *q = wire_unpack(&arena, &swarm__request__descriptor, p, n);
        if (!q)
                return false;
        r.number = q->number;
        if (q->kind_case == SWARM__REQUEST__KIND_NODE_KEY_GET)
                answer_node_key(k, &r, ret);
        else
                pack_refusal(&r, EINVAL, "manager is not locked", ret);
        return true;
}

/* --- while it is locked -------------------------------------------------------------------------
 */
static int try_unlock(struct lock *k, const char *text, struct err *err)
{
        uint8_t key[SEAL_KEY_BYTES];
        int r = seal_key_parse(text, key, err);

        if (r == 0 && seal_open(key, k->wrapped, sizeof(k->wrapped), k->data_key) < 0)
                r = err_set(err, EACCES, "unlock: the key is wrong");
        if (r == 0) {
                memcpy(k->unlock_key, key, sizeof(key));
                k->has_data_key = k->is_on = true;
        }
        explicit_bzero(key, sizeof(key));
        return r;
}

static void answer_locked(struct lock *k, const Swarm__Request *q, struct buf *ret)
{
        Swarm__Response r = SWARM__RESPONSE__INIT;
        Swarm__Empty empty = SWARM__EMPTY__INIT;
        struct err err = {0};

        r.number = q->number;
        if (q->kind_case != SWARM__REQUEST__KIND_UNLOCK) {
                pack_refusal(&r, EACCES, LOCKED, ret);
        } else if (try_unlock(k, q->unlock->key, &err) < 0) {
                log_warn("%s", err.text);
                pack_refusal(&r, err.code, err.text, ret);
        } else {
                r.kind_case = SWARM__RESPONSE__KIND_DONE;
                r.done = &empty;
                WIRE_PACK(&r, ret);
        }
}

static void on_message(void *arg, const struct net_sender *from, const uint8_t *p, size_t n)
{
        struct lock *k = arg;
        _cleanup_arena_ struct wire_arena arena = {0};
        _cleanup_buf_ struct buf b = {0};
        const Swarm__Request *q = wire_unpack(&arena, &swarm__request__descriptor, p, n);

        if (!q || k->has_data_key || q->kind_case == SWARM__REQUEST__KIND_KEEP_ALIVE ||
            q->kind_case == SWARM__REQUEST__KIND_CANCEL)
                return;
        answer_locked(k, q, &b);
        net_send(k->server, from->connection, b.data, b.len);
        if (k->has_data_key)
                loop_stop(k->loop);
}

static void on_gone(void *arg UNUSED, uint64_t connection UNUSED)
{
}

static int wait_unlocked(struct lock *k, struct loop *l, struct err *err)
{
        _cleanup_free_ char *endpoint = xasprintf("ipc://%s/manager.sock", k->data_dir);
        const char *endpoints[] = {endpoint, NULL};
        struct net_server_config c = {
                .endpoints = endpoints, .arg = k, .on_message = on_message, .on_gone = on_gone};
        struct net *net = net_new(l);
        int r = net_listen(net, &c, &k->server, err);

        k->loop = l;
        if (r == 0) {
                log_warn(LOCKED);
                notify_service_manager("READY=1\nSTATUS=" LOCKED);
                loop_run(l);
                net_server_close(k->server); /* what was answered still gets out */
                k->server = NULL;
        }
        net_free(net);
        if (r == 0 && !k->has_data_key)
                return -ECANCELED;
        if (r == 0) {
                log_info("manager is unlocked");
                notify_service_manager("STATUS=");
        }
        return r;
}

/* The key of a copy that this data-dir begins with. */
static int take_copied_key(const struct lock *k, struct db *db, struct err *err)
{
        _cleanup_free_ char *path = path_of(k, DATA_KEY);
        _cleanup_buf_ struct buf b = {0};
        int r = db_copied_key(db, &b, err);

        if (r < 0 || b.len == 0)
                return r;
        r = io_write_file_atomic(AT_FDCWD, path, b.data, b.len, 0600);
        return r < 0 ? err_set(err, -r, "%s: %s", path, err_name(r))
                     : db_forget_copied_key(db, err);
}

int lock_open(struct lock *k, struct loop *l, struct db *db, struct err *err)
{
        int r = take_copied_key(k, db, err);

        if (r < 0)
                return r;
        r = read_wrapped(k);
        if (r == -ENOENT)
                return 0;
        if (r < 0)
                return err_set(err, -r, "%s/" DATA_KEY ": %s", k->data_dir,
                               r == -EINVAL ? "damaged" : err_name(r));
        r = wait_unlocked(k, l, err);
        if (r == 0)
                db_set_key(db, k->data_key, k->wrapped);
        return r;
}

/* --- while it works -----------------------------------------------------------------------------
 */
int lock_begin(struct lock *k, struct db *db, const uint8_t *cluster_secret_key,
               const uint8_t *unlock_key, struct err *err)
{
        if (!unlock_key)
                return 0;
        seal_derive_key(cluster_secret_key, k->data_key);
        k->has_data_key = true;
        int r = write_data_key(k, unlock_key);
        if (r < 0)
                return err_set(err, -r, "%s/" DATA_KEY ": %s", k->data_dir, err_name(r));
        db_set_key(db, k->data_key, k->wrapped);
        return 0;
}

void lock_set_cluster_key(struct lock *k, struct db *db, const uint8_t *cluster_secret_key)
{
        if (k->has_data_key)
                return;
        seal_derive_key(cluster_secret_key, k->data_key);
        k->has_data_key = true;
        db_set_key(db, k->data_key, NULL);
}

static void begin_sealing(struct lock *k, struct db *db, bool on)
{
        k->is_busy = true;
        k->is_to_be = on;
        k->is_done = false;
        db_seal(db, on ? k->wrapped : NULL);
}

/* The key to it first, or what is sealed could be opened by nobody after a crash. */
static int follow_on(struct lock *k, struct db *db, const uint8_t *unlock_key)
{
        bool is_same = k->is_on && !memcmp(k->unlock_key, unlock_key, SEAL_KEY_BYTES);

        if (is_same && k->is_done)
                return 0;
        int r = is_same ? 0 : write_data_key(k, unlock_key);
        if (r == 0)
                r = set_forms(k, true);
        if (r == 0)
                begin_sealing(k, db, true);
        return r;
}

/* The key to it last, for the same reason. */
static int follow_off(struct lock *k, struct db *db)
{
        if (!k->is_on)
                return 0;
        int r = set_forms(k, false);
        if (r == 0)
                begin_sealing(k, db, false);
        return r;
}

void lock_follow(struct lock *k, struct db *db, const Swarm__Cluster *cluster, int64_t now_ms)
{
        bool is_wanted = cluster->unlock_key.len == SEAL_KEY_BYTES;

        if (cluster->public_key.len == 0 || k->is_busy || now_ms < k->again_at)
                return;
        int r = is_wanted ? follow_on(k, db, cluster->unlock_key.data) : follow_off(k, db);
        if (r < 0) {
                log_error("autolock: the keys of this manager are not %s yet: %s",
                          is_wanted ? "sealed" : "opened", err_name(r));
                k->again_at = now_ms + AGAIN_MS;
        }
}

static void forget_data_key(struct lock *k)
{
        _cleanup_free_ char *path = path_of(k, DATA_KEY);

        if (unlink(path) < 0)
                log_error("cannot remove %s error=%s", path, err_name(errno));
        k->is_on = false;
        log_info("autolock is off: this manager starts by itself");
}

void lock_on_sealed(struct lock *k, int error, int64_t now_ms)
{
        k->is_busy = false;
        if (error) {
                log_warn("autolock: the database still has traces of plain keys: %s; trying again",
                         err_name(error));
                k->again_at = now_ms + AGAIN_MS;
        } else if (k->is_to_be) {
                k->is_done = true;
                log_info("autolock is on: the next start of this manager needs the unlock key");
        } else {
                forget_data_key(k);
        }
}

int lock_give_up(struct lock *k, struct err *err)
{
        int r = k->is_on ? set_form(k, "node.key", false) : 0;

        return r < 0 ? err_set(err, -r, "%s/node.key: %s", k->data_dir, err_name(r)) : 0;
}
