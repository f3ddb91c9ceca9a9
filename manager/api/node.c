/* Nodes and the cluster's settings: update, remove, join tokens. */
#include "manager/api/validate_internal.h"

#include <errno.h>
#include <string.h>

#include "manager/identity/identity.h"

#define LABELS_MAX       256
#define LABELS_BYTES_MAX (64u << 10) /* of all of a node's */
#define HEARTBEAT_MS_MIN 100
#define PERIOD_MS_MAX    3600000

/* --- nodes ---------------------------------------------------------------------------------------
 */
static bool is_removed(const Swarm__NodeUpdate *u, const char *key)
{
        for (size_t i = 0; i < u->n_label_rm; i++)
                if (str_is_equal(u->label_rm[i], key))
                        return true;
        for (size_t i = 0; i < u->n_label_add; i++)
                if (str_is_equal(u->label_add[i]->key, key))
                        return true;
        return false;
}

static bool has_label(const struct node *node, const char *key)
{
        for (size_t i = 0; i < node->labels->n_labels; i++)
                if (str_is_equal(node->labels->labels[i]->key, key))
                        return true;
        return false;
}

static int check_role(struct call *c, const struct node *node, int64_t role)
{
        const struct turn_config *config = &c->a->config;
        const char *name = node_hostname(node);
        struct err why = {0};

        if (role < 0 || role > ROLE_MANAGER)
                return err_set(&c->err, EINVAL, "node %s: unknown role", name);
        if (role == ROLE_MANAGER && node->role != ROLE_MANAGER &&
            store_count_managers(c->a->store) >= CLUSTER_MANAGERS_MAX)
                return err_set(&c->err, ENOSPC,
                               "node %s: the cluster has %d managers, the most it "
                               "can have",
                               name, CLUSTER_MANAGERS_MAX);
        if (role == ROLE_MANAGER || node->role != ROLE_MANAGER || !config->can_demote ||
            config->can_demote(config->arg, node->manager_id, &why))
                return 0;
        return err_set(&c->err, EBUSY, "node %s: cannot be demoted: %s", name, why.text);
}

static int check_node_update(struct call *c, const struct node *node, const Swarm__NodeUpdate *u)
{
        const char *name = node_hostname(node);

        if (u->version && u->version != node->version)
                return err_set(&c->err, ESTALE, "node %s: update out of sequence", name);
        if (u->availability &&
            (u->availability->value < 0 || u->availability->value > AVAILABILITY_DRAIN))
                return err_set(&c->err, EINVAL, "node %s: unknown availability", name);
        if (u->role && check_role(c, node, u->role->value) < 0)
                return -c->err.code;
        if (u->n_label_add > LABELS_MAX || node->labels->n_labels + u->n_label_add > LABELS_MAX)
                return err_set(&c->err, EINVAL, "node %s: more than %d labels", name, LABELS_MAX);
        if (check_labels(u->label_add, u->n_label_add, "label", &c->err) < 0)
                return err_wrap(&c->err, "node %s", name);
        for (size_t i = 0; i < u->n_label_rm; i++)
                if (!has_label(node, u->label_rm[i]))
                        return err_set(&c->err, EINVAL, "node %s: label %s is not there", name,
                                       u->label_rm[i]);
        return 0;
}

static int check_labels_bytes(struct call *c, const struct node *node,
                              const Swarm__KeyValue **labels, size_t n)
{
        Swarm__Node m = SWARM__NODE__INIT;

        m.labels = (Swarm__KeyValue **)(uintptr_t)labels;
        m.n_labels = n;
        return swarm__node__get_packed_size(&m) <= LABELS_BYTES_MAX
                       ? 0
                       : err_set(&c->err, EINVAL, "node %s: its labels are larger than %u KiB",
                                 node_hostname(node), LABELS_BYTES_MAX >> 10);
}

void node_set_spec(struct call *c, struct node *node, enum node_availability availability,
                   enum node_role role, const Swarm__KeyValue *const *labels, size_t n_labels)
{
        store_set_node_spec(c->a->store, node, availability, role, labels, n_labels,
                            c->a->now.wall_ms);
        /* A manager that left comes again as another one. */
        if (node->role != ROLE_MANAGER && node->manager_id)
                store_set_node_manager(c->a->store, node, 0, NULL, c->a->now.wall_ms);
}

int on_node_update(struct call *c)
{
        const Swarm__NodeUpdate *u = c->q->node_update;
        struct node *node;
        int r = find_node(c, u->ref, &node);

        if (r == 0)
                r = check_node_update(c, node, u);
        if (r < 0)
                return r;
        size_t n = 0;
        _cleanup_free_ const Swarm__KeyValue **labels =
                xnew_array(const Swarm__KeyValue *, node->labels->n_labels + u->n_label_add);
        for (size_t i = 0; i < node->labels->n_labels; i++)
                if (!is_removed(u, node->labels->labels[i]->key))
                        labels[n++] = node->labels->labels[i];
        for (size_t i = 0; i < u->n_label_add; i++)
                labels[n++] = u->label_add[i];
        if (u->n_label_add && check_labels_bytes(c, node, labels, n) < 0)
                return -c->err.code;
        node_set_spec(c, node,
                      u->availability ? (enum node_availability)u->availability->value
                                      : node->availability,
                      u->role ? (enum node_role)u->role->value : node->role, labels, n);
        call_done(c);
        return 0;
}

static int check_node_remove(struct call *c, const struct node *node, bool force)
{
        if (node->role == ROLE_MANAGER)
                return err_set(&c->err, EBUSY, "node %s: is a manager", node_hostname(node));
        /* One of which this leader has heard nothing is not there: no session, or silent for long.
         */
        if (!force && node->state != NODE_DOWN && node->state != NODE_UNKNOWN)
                return err_set(&c->err, EBUSY, "node %s: is not down: use --force to remove it",
                               node_hostname(node));
        return 0;
}

/* What is named is looked up once: with some nodes gone, a name could be another's. */
int on_node_remove(struct call *c)
{
        const Swarm__NodeRemove *m = c->q->node_remove;
        _cleanup_free_ struct id *ids = xnew_array(struct id, m->n_refs);
        struct node *node;

        for (size_t i = 0; i < m->n_refs; i++) {
                int r = find_node(c, m->refs[i], &node);

                if (r == 0)
                        r = check_node_remove(c, node, m->force);
                if (r < 0)
                        return r;
                ids[i] = node->id;
        }
        for (size_t i = 0; i < m->n_refs; i++) {
                node = store_find_node(c->a->store, ids[i]);
                if (node) /* else it was named twice */
                        store_remove_node(c->a->store, node, c->a->now.wall_ms);
        }
        call_done(c);
        return 0;
}

/* --- the cluster ---------------------------------------------------------------------------------
 */
static void take_number(int64_t *to, const Swarm__Number *from)
{
        if (from)
                *to = from->value;
}

static int check_settings(struct call *c, const Swarm__ClusterSettings *s)
{
        if (s->heartbeat_ms < HEARTBEAT_MS_MIN || s->down_ms > PERIOD_MS_MAX)
                return err_set(&c->err, EINVAL,
                               "cluster: the heartbeat must be at least 100ms and down-after at "
                               "most 1h");
        if (s->suspect_ms <= s->heartbeat_ms || s->down_ms <= s->suspect_ms)
                return err_set(&c->err, EINVAL,
                               "cluster: must be: heartbeat < suspect-after < down-after");
        if (s->task_history_limit > TASK_HISTORY_MAX)
                return err_set(&c->err, EINVAL,
                               "cluster: task-history-limit must be at most %d (negative: all, up "
                               "to as many)",
                               TASK_HISTORY_MAX);
        if (s->mass_failure_wait_ms < 0 || s->mass_failure_wait_ms > 24 * (int64_t)PERIOD_MS_MAX)
                return err_set(&c->err, EINVAL,
                               "cluster: mass-failure-wait must be between 0 and 24h");
        return 0;
}

static void draw_unlock_key(struct call *c, Swarm__Cluster *cluster)
{
        const struct turn_config *config = &c->a->config;
        uint8_t key[SEAL_KEY_BYTES];

        if (config->draw_key)
                config->draw_key(config->arg, key);
        for (size_t i = 0; !config->draw_key && i < sizeof(key); i++)
                key[i] = (uint8_t)rng_next(c->rng);
        cluster_set_unlock_key(cluster, key);
        explicit_bzero(key, sizeof(key));
}

static void take_autolock(struct call *c, Swarm__Cluster *cluster, const Swarm__Number *autolock)
{
        if (autolock && autolock->value && !cluster->unlock_key.len)
                draw_unlock_key(c, cluster);
        else if (autolock && !autolock->value)
                cluster_set_unlock_key(cluster, NULL);
}

static void put_cluster(struct call *c, Swarm__Cluster *take_cluster)
{
        take_cluster->version++;
        take_cluster->updated_ms = c->a->now.wall_ms;
        store_put_cluster(c->a->store, &take_cluster);
}

int on_cluster_update(struct call *c)
{
        const Swarm__ClusterUpdate *u = c->q->cluster_update;
        Swarm__Cluster *cluster = wire_dup(store_cluster(c->a->store)->msg);
        Swarm__ClusterSettings *s = cluster->settings;

        take_number(&s->heartbeat_ms, u->heartbeat_ms);
        take_number(&s->suspect_ms, u->suspect_ms);
        take_number(&s->down_ms, u->down_ms);
        take_number(&s->task_history_limit, u->task_history_limit);
        take_number(&s->mass_failure_wait_ms, u->mass_failure_wait_ms);
        int r = check_settings(c, s);
        if (r < 0) {
                wire_free(cluster);
                return r;
        }
        take_autolock(c, cluster, u->autolock);
        put_cluster(c, cluster);
        call_done(c);
        return 0;
}

int on_cluster_get(struct call *c)
{
        Swarm__Cluster cluster = *store_cluster(c->a->store)->msg;
        Swarm__Response r = SWARM__RESPONSE__INIT;

        cluster.secret_key = cluster.unlock_key = (ProtobufCBinaryData){0, NULL};
        cluster.worker_secret = (char *)(uintptr_t)protobuf_c_empty_string;
        cluster.manager_secret = (char *)(uintptr_t)protobuf_c_empty_string;
        r.kind_case = SWARM__RESPONSE__KIND_CLUSTER;
        r.cluster = &cluster;
        call_answer(c, &r);
        return 0;
}

static void rotate(struct call *c, enum node_role role)
{
        Swarm__Cluster *cluster = wire_dup(store_cluster(c->a->store)->msg);
        char secret[IDENTITY_SECRET_TEXT_LEN + 1];
        char **field = role == ROLE_MANAGER ? &cluster->manager_secret : &cluster->worker_secret;

        cluster_next_secret(cluster, role, secret);
        free(*field);
        *field = xstrdup(secret);
        put_cluster(c, cluster);
}

int on_join_token(struct call *c)
{
        const Swarm__TokenRequest *m = c->q->join_token;
        Swarm__Response r = SWARM__RESPONSE__INIT;
        char token[IDENTITY_TOKEN_TEXT_LEN + 1];

        if (m->role > ROLE_MANAGER)
                return err_set(&c->err, EINVAL, "join-token: must be worker or manager");
        if (m->rotate)
                rotate(c, (enum node_role)m->role);
        cluster_token(store_cluster(c->a->store)->msg, (enum node_role)m->role, token);
        r.kind_case = SWARM__RESPONSE__KIND_JOIN_TOKEN;
        r.join_token = token;
        call_answer(c, &r);
        return 0;
}

int on_unlock_key(struct call *c)
{
        const Swarm__Cluster *present = store_cluster(c->a->store)->msg;
        Swarm__Response r = SWARM__RESPONSE__INIT;
        char text[SEAL_KEY_TEXT_LEN + 1] = "";

        if (c->q->unlock_key->rotate && !present->unlock_key.len)
                return err_set(&c->err, EINVAL, "unlock-key: autolock is off, there is no key");
        if (c->q->unlock_key->rotate) {
                Swarm__Cluster *cluster = wire_dup(present);

                draw_unlock_key(c, cluster);
                put_cluster(c, cluster);
                present = store_cluster(c->a->store)->msg;
        }
        if (present->unlock_key.len == SEAL_KEY_BYTES)
                seal_key_format(present->unlock_key.data, text);
        r.kind_case = SWARM__RESPONSE__KIND_UNLOCK_KEY;
        r.unlock_key = text;
        call_answer(c, &r);
        explicit_bzero(text, sizeof(text));
        return 0;
}

/* They are answered before they get here, where they may be: see manager/lock.h. */
int on_local_request(struct call *c)
{
        return err_set(&c->err, EACCES,
                       "only over the manager's own socket, on the machine that it runs on");
}
