/* A manager's parts, connected: see driver.h. */
#include "manager/driver.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "manager/blobs/copies.h"
#include "manager/front.h"
#include "manager/heard.h"
#include "manager/peers/peers.h"
#include "manager/replica/members.h"
#include "manager/snapshots.h"
#include "shared/base/log.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/seal/seal.h"
#include "shared/wire/wire.h"
#include "version.h"

#define HANDOVER_MS   1000  /* for another to lead when this manager is asked to end */
#define ANNOUNCE_MS   1000  /* between two tries to tell the leader of another address */
#define OUTSIDE_MS    15000 /* that one that has joined waits to be taken in */
#define SETTLE_MS     5000  /* after the start, for what was agreed before it */
#define ASK_MS        2000  /* without a leader, until others are asked whether it is a member */
#define BEAT_MS       20
#define LOG_BYTES_MAX ((size_t)64 << 20)
#define LOG_KEEP      ((size_t)1 << 20)

struct driver {
        struct driver_config config;
        char *dir;
        struct net *net;
        struct net_server *server;
        struct peers *peers;
        struct relay *relay;
        struct heard *heard;
        struct front *front;
        struct blobs *blobs;
        struct copies *copies;
        struct snapshots *snapshots;
        struct backups *backups;
        struct replica *replica;
        struct members *members; /* NULL: does not lead */
        struct loop_hook *hook;
        struct loop_timer *timer;

        struct turn_config turn;
        char *managers[RAFT_MEMBERS_MAX + 1]; /* of turn.managers; owned */
        struct raft_members known;            /* what these and the links are made from */
        char no_leader[160];

        int64_t timer_at;   /* mono ms; TIME_NEVER: none */
        int64_t stop_until; /* handing over: mono ms; 0: not yet */
        int64_t announce_at;
        int64_t settled_at;  /* mono ms: the latest time by which the state is no old one */
        uint64_t last_index; /* of the log at the start */
        int64_t beat_at;     /* amid a turn, at the earliest */
        int64_t ask_at;      /* whether it is a member; TIME_NEVER: it hears a leader */
        bool is_ready, is_stopping, is_handing, is_removed, has_ended, has_swept;
        int exit_code;
};

static void end(struct driver *d)
{
        d->has_ended = true;
        loop_stop(d->config.loop);
}

static void fail(struct driver *d, const char *text)
{
        log_error("%s", text);
        d->exit_code = EXIT_FAILURE;
        end(d);
}

/* --- the disk -----------------------------------------------------------------------------------
 */
static void write_raft(void *arg, struct raft_write *w)
{
        db_write(((struct driver *)arg)->config.db, w);
}

static void set_store(void *arg, struct store *store)
{
        struct driver *d = arg;

        db_set_store(d->config.db, store);
        copies_set_state(d->copies, store);
}

static void set_applied(void *arg, uint64_t index)
{
        db_set_applied(((struct driver *)arg)->config.db, index);
}

static void load(void *arg)
{
        db_load(((struct driver *)arg)->config.db);
}

static void cut_log(void *arg, const struct raft_base *base)
{
        db_cut_log(((struct driver *)arg)->config.db, base);
}

static void on_durable(void *arg, uint64_t seq)
{
        replica_persisted(((struct driver *)arg)->replica, time_now(), seq);
}

static void on_covered(void *arg, uint64_t index)
{
        replica_covered(((struct driver *)arg)->replica, time_now(), index);
}

static void on_loaded(void *arg, struct store *store, uint64_t applied)
{
        replica_loaded(((struct driver *)arg)->replica, time_now(), store, applied);
}

static void on_copied(void *arg, uint64_t tag, int error, uint64_t index, uint64_t size)
{
        struct driver *d = arg;

        if (!backups_on_copied(d->backups, tag, error, size))
                snapshots_on_copied(d->snapshots, tag, error, index, size);
}

static void on_sealed(void *arg, int error)
{
        lock_on_sealed(((struct driver *)arg)->config.lock, error, time_now().mono_ms);
}

static void on_db_failure(void *arg, int error UNUSED, const char *text)
{
        log_error("%s", text);
        fail(arg, "the log cannot be written, nothing more will be committed");
}

/* --- other managers -----------------------------------------------------------------------------
 */
static void send_raft(void *arg, const struct raft_message *m)
{
        struct driver *d = arg;
        Swarm__PeerMessage out = SWARM__PEER_MESSAGE__INIT;
        struct raft_message copy = *m;
        _cleanup_buf_ struct buf b = {0};

        if (m->kind == RAFT_CHUNK) {
                copy.chunk.bytes = snapshots_read(d->snapshots, m);
                if (!copy.chunk.bytes)
                        return;
        }
        raft_message_encode(&copy, &b);
        if (m->kind == RAFT_CHUNK)
                raft_bytes_unref(copy.chunk.bytes);
        out.kind_case = SWARM__PEER_MESSAGE__KIND_RAFT;
        out.raft = (ProtobufCBinaryData){b.len, b.data};
        peers_send(d->peers, m->to, &out);
}

static void want_snapshot(void *arg, uint64_t peer)
{
        struct driver *d = arg;

        snapshots_want(d->snapshots, peer);
}

static bool snapshot_ready(void *arg, uint64_t peer, uint64_t index, uint64_t size)
{
        struct driver *d = arg;

        return replica_snapshot_ready(d->replica, time_now(), peer, index, size);
}

static void hear_raft(struct driver *d, uint64_t from, const ProtobufCBinaryData *bytes)
{
        struct raft_message m;
        int r = raft_message_decode(bytes->data, bytes->len, &m);

        if (r == -EPROTO) {
                /* It cannot be kept without being understood, and would be sent again for ever. */
                fail(d, "the managers' log has entries of a newer version than this manager: "
                        "upgrade it");
                return;
        }
        if (r < 0) {
                log_debug("manager %llu says what is no message", (unsigned long long)from);
                return;
        }
        if (m.from == from)
                replica_receive(d->replica, time_now(), &m);
        raft_message_done(&m);
}

/* --- am I still a member? -----------------------------------------------------------------------
 * One that was taken off the members while it was away hears from no leader any more. It asks
 * those it knows. A member that is gone by an agreed change never comes back under its id: so the
 * word of one that has agreed on more than this manager, and does not know it, is final. One that
 * is no member yet asks nobody, and would believe nobody.
 */
static void ask_membership(struct driver *d, uint64_t to)
{
        Swarm__PeerMessage m = SWARM__PEER_MESSAGE__INIT;
        Swarm__MemberAsked asked = SWARM__MEMBER_ASKED__INIT;

        asked.index = replica_status(d->replica)->commit_index;
        m.kind_case = SWARM__PEER_MESSAGE__KIND_MEMBER_ASKED;
        m.member_asked = &asked;
        peers_send(d->peers, to, &m);
}

static void ask_all(struct driver *d, uint64_t self)
{
        for (size_t i = 0; i < d->known.n; i++)
                if (d->known.of[i].id != self)
                        ask_membership(d, d->known.of[i].id);
}

static int64_t look_for_members(struct driver *d, int64_t now_ms)
{
        const struct consensus_status *s = replica_status(d->replica);
        bool is_outside = d->known.n == 0;
        int64_t pause_ms = is_outside ? OUTSIDE_MS : ASK_MS;

        if (s->leader || (!is_outside && !replica_is_member(d->replica, s->id))) {
                d->ask_at = TIME_NEVER;
        } else if (d->ask_at == TIME_NEVER) {
                d->ask_at = now_ms + pause_ms;
        } else if (now_ms >= d->ask_at && is_outside) {
                _cleanup_free_ char *text = xasprintf(
                        "cannot be reached at %s, it seems: no manager has taken this one in (is "
                        "--advertise its address? or was its node demoted or removed?)",
                        d->config.address);
                fail(d, text);
        } else if (now_ms >= d->ask_at) {
                d->ask_at = now_ms + pause_ms;
                ask_all(d, s->id);
        }
        return d->ask_at;
}

static void on_member_asked(struct driver *d, uint64_t from, const Swarm__MemberAsked *asked)
{
        Swarm__PeerMessage m = SWARM__PEER_MESSAGE__INIT;
        Swarm__NotMember answer = SWARM__NOT_MEMBER__INIT;

        answer.index = replica_status(d->replica)->commit_index;
        if (answer.index < asked->index || replica_is_member(d->replica, from))
                return;
        m.kind_case = SWARM__PEER_MESSAGE__KIND_NOT_MEMBER;
        m.not_member = &answer;
        peers_send(d->peers, from, &m);
}

static void on_not_member(struct driver *d, const Swarm__NotMember *m)
{
        const struct consensus_status *s = replica_status(d->replica);

        if (m->index >= s->commit_index && replica_is_member(d->replica, s->id))
                d->is_removed = true;
}

static void on_peer_message(void *arg, uint64_t from, const Swarm__PeerMessage *m)
{
        struct driver *d = arg;

        switch (m->kind_case) {
        case SWARM__PEER_MESSAGE__KIND_RAFT: hear_raft(d, from, &m->raft); break;
        case SWARM__PEER_MESSAGE__KIND_RELAY_UP:
                relay_on_up(d->relay, from, m->relay_up, time_now().mono_ms);
                break;
        case SWARM__PEER_MESSAGE__KIND_RELAY_DOWN:
                relay_on_down(d->relay, from, m->relay_down);
                break;
        case SWARM__PEER_MESSAGE__KIND_HEARD_NODES:
                heard_on_message(d->heard, m->heard_nodes, replica_status(d->replica)->leader,
                                 replica_turn(d->replica), time_now().mono_ms);
                break;
        case SWARM__PEER_MESSAGE__KIND_MEMBER_ASKED:
                on_member_asked(d, from, m->member_asked);
                break;
        case SWARM__PEER_MESSAGE__KIND_NOT_MEMBER: on_not_member(d, m->not_member); break;
        default: /* else it is of a newer version */
                copies_on_message(d->copies, from, m, time_now().mono_ms);
                break;
        }
}

static void on_peer_broken(void *arg, uint64_t id)
{
        struct driver *d = arg;

        relay_on_peer_broken(d->relay, id);
        replica_link_broke(d->replica, time_now(), id);
        copies_on_peer_broken(d->copies, id);
}

/* What was said while the link was broken one way may be lost. That is no news of the leader. */
static void on_peer_again(void *arg, uint64_t id)
{
        struct driver *d = arg;

        relay_on_peer_broken(d->relay, id);
        copies_on_peer_broken(d->copies, id);
}

static void break_overrun(struct driver *d)
{
        uint64_t id;

        while ((id = relay_take_overrun(d->relay))) {
                log_warn("a manager is not answered, too much waits for it: its link is broken "
                         "peer=%llu",
                         (unsigned long long)id);
                peers_break(d->peers, id);
        }
}

/* Links and addresses follow the members. */
static void follow_members(struct driver *d)
{
        const struct raft_members *now = replica_members(d->replica);
        struct copies_member members[RAFT_MEMBERS_MAX];
        size_t n = 0;

        if (memcmp(now, &d->known, sizeof(*now)) == 0)
                return;
        d->known = *now;
        peers_set(d->peers, now);
        for (size_t i = 0; i < now->n; i++)
                members[i] = (struct copies_member){now->of[i].id, now->of[i].is_voter};
        copies_set_members(d->copies, members, now->n);
        for (size_t i = 0; i < now->n; i++) {
                if (!now->of[i].is_voter)
                        continue;
                free(d->managers[n]);
                d->managers[n++] = xstrdup(now->of[i].address);
        }
        for (; n < ARRAY_SIZE(d->managers); n++) {
                free(d->managers[n]);
                d->managers[n] = NULL;
        }
        if (replica_turn(d->replica))
                turn_managers_changed(replica_turn(d->replica));
}

/* This manager has moved: the leader is told. (The one that leads finds out by itself.) */
static void announce(struct driver *d, int64_t now_ms)
{
        const struct consensus_status *s = replica_status(d->replica);
        const struct raft_member *self = raft_members_find(&d->known, s->id);
        Swarm__Join join = SWARM__JOIN__INIT;
        Swarm__AgentMessage m = SWARM__AGENT_MESSAGE__INIT;
        _cleanup_buf_ struct buf b = {0};

        if (!self || s->is_leader || !s->leader || now_ms < d->announce_at ||
            str_is_equal(self->address, d->config.address))
                return;
        d->announce_at = now_ms + ANNOUNCE_MS;
        join.role = ROLE_MANAGER;
        join.manager_id = s->id;
        join.manager_address = (char *)(uintptr_t)d->config.address;
        m.kind_case = SWARM__AGENT_MESSAGE__KIND_JOIN;
        m.join = &join;
        WIRE_PACK(&m, &b);
        relay_say(d->relay, d->config.node_keys->public_key, b.data, b.len);
}

/* --- the server ---------------------------------------------------------------------------------
 */
static bool is_peer(const struct driver *d, const struct net_sender *from)
{
        return !from->is_local &&
               memcmp(from->key, d->config.cluster_keys->public_key, NET_KEY_BYTES) == 0;
}

/* What goes no further than this manager. */
static bool take_local(struct driver *d, const struct net_sender *from, const uint8_t *p, size_t n)
{
        _cleanup_buf_ struct buf b = {0};

        if (!from->is_local || !lock_on_request(d->config.lock, p, n, &b))
                return false;
        net_send(d->server, from->connection, b.data, b.len);
        explicit_bzero(b.data, b.len);
        return true;
}

static void on_message(void *arg, const struct net_sender *from, const uint8_t *p, size_t n)
{
        struct driver *d = arg;

        if (take_local(d, from, p, n))
                return;
        if (is_peer(d, from))
                peers_receive(d->peers, from->connection, p, n);
        else if (!d->is_stopping && !peers_is_frame(p, n))
                relay_on_message(d->relay, from, p, n, time_now().mono_ms);
}

static void on_gone(void *arg, uint64_t connection)
{
        struct driver *d = arg;

        peers_gone(d->peers, connection);
        relay_on_gone(d->relay, connection);
}

static bool on_accept(void *arg, const uint8_t key[NET_KEY_BYTES], struct id *ret_node)
{
        struct driver *d = arg;
        struct store *store = d->replica ? replica_store(d->replica) : NULL;
        struct node *node = store ? store_find_node_by_key(store, key) : NULL;

        if (memcmp(key, d->config.cluster_keys->public_key, NET_KEY_BYTES) == 0)
                *ret_node = (struct id){0, 1}; /* a manager's: no stranger */
        else if (node)
                *ret_node = node->id;
        return true; /* a stranger: the turn says what it may do */
}

/* --- images -------------------------------------------------------------------------------------
 */
static bool is_blob_used(void *arg, const char *digest)
{
        struct driver *d = arg;
        struct store *store = replica_store(d->replica);
        struct image *image;
        size_t i;

        if (!store)
                return true; /* not known just now */
        MAP_FOREACH (image, i, store_images(store)) {
                if (str_is_equal(image->id, digest))
                        return true;
                for (size_t j = 0; j < image->msg->n_layers; j++)
                        if (str_is_equal(image->msg->layers[j]->digest, digest))
                                return true;
        }
        return false;
}

static void on_blob_response(void *arg, uint64_t connection, const Swarm__Response *r)
{
        front_on_blob_response(((struct driver *)arg)->front, connection, r);
}

static int on_blob_data(void *arg, struct id node, uint64_t connection, const Swarm__BlobData *data)
{
        return front_on_blob_data(((struct driver *)arg)->front, node, connection, data);
}

static int send_to_peer(void *arg, uint64_t to, const Swarm__PeerMessage *m)
{
        return peers_send(((struct driver *)arg)->peers, to, m);
}

static void on_placed(void *arg, uint64_t connection, const struct buf *request,
                      const struct err *err)
{
        front_on_placed(((struct driver *)arg)->front, connection, request, err);
}

static int open_blobs(struct driver *d, struct err *err)
{
        _cleanup_free_ char *dir = xasprintf("%s/blobs", d->dir);
        struct blobs_config c = {dir, d, is_blob_used, on_blob_response, on_blob_data};
        int r = blobs_open(d->config.loop, &c, &d->blobs, err);

        if (r < 0)
                return r;
        d->copies = copies_new(&(struct copies_config){.blobs = d->blobs,
                                                       .id = d->config.state->id,
                                                       .arg = d,
                                                       .send = send_to_peer,
                                                       .on_placed = on_placed});
        return 0;
}

/* Once: what an earlier process left behind. A manager that leads has all that is agreed. */
static void sweep_blobs(struct driver *d)
{
        if (!d->has_swept)
                blobs_sweep(d->blobs);
        d->has_swept = true;
}

/* --- leading ------------------------------------------------------------------------------------
 */
static void on_lead(void *arg, struct store *store, struct now now)
{
        struct driver *d = arg;

        d->config.on_lead(d->config.arg, store, now);
        struct node *node = store_find_node_by_key(store, d->config.node_keys->public_key);
        d->turn.node = node ? node->id : (struct id){0};
}

static void on_turn(void *arg, struct turn *turn, struct store *store)
{
        struct driver *d = arg;

        heard_begin(d->heard, turn, store, time_now().mono_ms);
        sweep_blobs(d);
        front_begin(d->front, &(struct front_lead){turn, store, d->blobs, d->copies});
        d->members = members_new(store);
}

static void on_lead_end(void *arg)
{
        struct driver *d = arg;

        members_free(d->members);
        d->members = NULL;
        front_end(d->front);
        relay_set_leader(d->relay, 0, false);
}

static void on_input(void *arg, const struct relay_sender *from, const uint8_t *p, size_t n)
{
        front_on_input(((struct driver *)arg)->front, from, p, n);
}

static void on_client_gone(void *arg, uint64_t number)
{
        front_on_gone(((struct driver *)arg)->front, number);
}

static int send_here(void *arg, uint64_t connection, const uint8_t *p, size_t n)
{
        return net_send(((struct driver *)arg)->server, connection, p, n);
}

static void drop_here(void *arg, uint64_t connection)
{
        net_drop(((struct driver *)arg)->server, connection);
}

static void forget_key(void *arg, const uint8_t key[NET_KEY_BYTES])
{
        net_forget_key(((struct driver *)arg)->server, key);
}

static void release(void *arg, struct list *effects)
{
        front_release(((struct driver *)arg)->front, effects);
}

static void on_replica_failure(void *arg, const char *text)
{
        fail(arg, text);
}

static enum manager_status manager_status(void *arg, uint64_t id)
{
        return members_status(((struct driver *)arg)->replica, id);
}

static bool can_demote(void *arg, uint64_t id, struct err *err)
{
        struct driver *d = arg;

        return members_can_leave(d->members, d->replica, id, err);
}

static bool get_member(void *arg, size_t i, struct turn_member *ret)
{
        return members_get(((struct driver *)arg)->replica, i, ret);
}

static void draw_key(void *arg UNUSED, uint8_t ret[SEAL_KEY_BYTES])
{
        seal_draw_key(ret);
}

/* Amid a turn that takes long. */
static void on_breath(void *arg)
{
        struct driver *d = arg;
        struct now now = time_now();

        if (now.mono_ms < d->beat_at)
                return;
        d->beat_at = now.mono_ms + BEAT_MS;
        replica_beat(d->replica, now);
}

static bool is_blob_missing(void *arg, const char *digest)
{
        return blobs_is_missing(((struct driver *)arg)->blobs, digest);
}

static const char *no_leader(void *arg)
{
        struct driver *d = arg;
        size_t n = raft_members_count_voters(&d->known);

        snprintf(d->no_leader, sizeof(d->no_leader),
                 "the cluster has no leader: a majority of its %zu managers must be reachable (see "
                 "--force-new-cluster if they are lost for good)",
                 n);
        return d->no_leader;
}

/* --- the loop -----------------------------------------------------------------------------------
 */
static void on_timer(void *arg)
{
        struct driver *d = arg;

        d->timer_at = TIME_NEVER; /* the hook that follows looks at what is due */
}

static void set_timer(struct driver *d, int64_t due_ms, int64_t now_ms)
{
        if (d->timer_at == due_ms)
                return;
        d->timer_at = due_ms;
        if (due_ms == TIME_NEVER)
                loop_timer_clear(d->timer);
        else
                loop_timer_set(d->timer, MAX(due_ms - now_ms, 0));
}

/* Unless the state is an older one than this manager has known: it just reads its log again. */
static void follow_lock(struct driver *d, int64_t now_ms)
{
        struct store *store = replica_store(d->replica);
        bool is_settled = replica_applied(d->replica) >= d->last_index || now_ms >= d->settled_at;

        if (store && is_settled && !replica_is_waiting(d->replica))
                lock_follow(d->config.lock, d->config.db, store_cluster(store)->msg, now_ms);
}

/* A manager that has the state and can have requests answered. */
static void look_ready(struct driver *d)
{
        const struct consensus_status *s = replica_status(d->replica);
        struct store *store = replica_store(d->replica);

        if (d->is_ready || !store || !s->leader || replica_is_waiting(d->replica) ||
            (s->is_leader && !replica_turn(d->replica)) ||
            store_cluster(store)->msg->public_key.len == 0)
                return;
        d->is_ready = true;
        d->config.on_ready(d->config.arg);
}

/* Returns when to be called again; hands leadership over first, if there is anyone to take it. */
static int64_t end_in_order(struct driver *d, struct now now)
{
        const struct consensus_status *s = replica_status(d->replica);

        bool is_waiting = replica_is_waiting(d->replica);

        if (!d->stop_until)
                d->stop_until = now.mono_ms + HANDOVER_MS;
        if (s->is_leader && d->known.n > 1 && !is_waiting && !d->is_handing) {
                d->is_handing = true;
                if (replica_transfer(d->replica, now, 0) < 0)
                        d->stop_until = now.mono_ms;
        }
        if ((!is_waiting && (d->known.n <= 1 || !s->is_leader)) || now.mono_ms >= d->stop_until)
                end(d);
        return d->stop_until;
}

static int64_t run_parts(struct driver *d, struct now now)
{
        int64_t due = replica_run(d->replica, now);
        const struct consensus_status *s = replica_status(d->replica);

        follow_members(d);
        relay_set_leader(d->relay, s->leader, replica_turn(d->replica) != NULL);
        due = MIN(due, relay_run(d->relay, now.mono_ms));
        break_overrun(d);
        if (d->members && !replica_is_waiting(d->replica))
                due = MIN(due, members_run(d->members, d->replica, now));
        follow_lock(d, now.mono_ms);
        snapshots_run(d->snapshots, d->replica);
        due = MIN(due, copies_run(d->copies, replica_turn(d->replica) != NULL, now.mono_ms));
        heard_run(d->heard, s->leader, replica_store(d->replica), now.mono_ms);
        announce(d, now.mono_ms);
        due = MIN(due, look_for_members(d, now.mono_ms));
        look_ready(d);
        d->is_removed |= s->is_removed;
        if (d->is_removed && !d->is_stopping)
                end(d);
        struct turn *turn = replica_turn(d->replica);
        if (turn && turn_has_inputs(turn) && !replica_is_waiting(d->replica) && s->can_propose)
                due = now.mono_ms;
        return due;
}

/* Before the loop sleeps: all that came in this round is heard in one turn. */
static bool before_sleep(void *arg)
{
        struct driver *d = arg;
        struct now now = time_now();

        if (d->has_ended)
                return false;
        int64_t due = run_parts(d, now);
        if (d->is_stopping)
                due = MIN(due, end_in_order(d, now));
        if (d->has_ended)
                return false;
        if (due <= now.mono_ms)
                return true;
        set_timer(d, due, now.mono_ms);
        return false;
}

/* --- opening and closing ------------------------------------------------------------------------
 */
static int open_replica(struct driver *d, struct err *err)
{
        const struct driver_config *c = &d->config;
        struct replica_config config = {
                .start = {.id = c->state->id,
                          .now_ms = time_now().mono_ms,
                          .settings = {.entry_bytes_max = DB_ENTRY_BYTES_MAX,
                                       .log_bytes_max = LOG_BYTES_MAX,
                                       .log_keep_bytes = LOG_KEEP},
                          .term = c->state->term,
                          .vote = c->state->vote,
                          .base = c->state->base,
                          .entries = c->state->entries,
                          .n_entries = c->state->n_entries,
                          .applied = c->state->applied},
                .store = c->store,
                .turn = &d->turn,
                .ops = {.arg = d,
                        .write = write_raft,
                        .set_store = set_store,
                        .set_applied = set_applied,
                        .load = load,
                        .cut_log = cut_log,
                        .send = send_raft,
                        .want_snapshot = want_snapshot,
                        .release = release,
                        .on_lead = on_lead,
                        .on_turn = on_turn,
                        .on_lead_end = on_lead_end,
                        .on_failure = on_replica_failure},
        };

        if (getrandom(&config.start.seed, sizeof(config.start.seed), 0) < 0 ||
            getrandom(&d->turn.seed, sizeof(d->turn.seed), 0) < 0)
                abort();
        int r = replica_new(&config, &d->replica);
        return r < 0 ? err_set(err, EUCLEAN, "%s/swarm.db: the log contradicts itself", c->dir) : 0;
}

static int open_network(struct driver *d, struct err *err)
{
        const struct driver_config *c = &d->config;
        struct net_server_config server = {
                .endpoints = c->endpoints,
                .keys = c->cluster_keys,
                .arg = d,
                .accept = on_accept,
                .on_message = on_message,
                .on_gone = on_gone,
        };
        struct peers_config peers = {.net = d->net,
                                     .cluster_keys = c->cluster_keys,
                                     .id = c->state->id,
                                     .address = c->address,
                                     .protocols = PEER_PROTOCOLS,
                                     .arg = d,
                                     .on_message = on_peer_message,
                                     .on_broken = on_peer_broken,
                                     .on_again = on_peer_again};
        struct relay_config relay = {.id = c->state->id,
                                     .arg = d,
                                     .send = send_here,
                                     .send_peer = send_to_peer,
                                     .drop = drop_here,
                                     .on_input = on_input,
                                     .on_gone = on_client_gone,
                                     .no_leader = no_leader};
        int r = net_listen(d->net, &server, &d->server, err);

        if (r < 0)
                return r;
        peers.server = d->server;
        d->peers = peers_new(&peers);
        d->relay = relay_new(&relay);
        d->heard = heard_new(&(struct heard_config){c->state->id, d->relay, d, send_to_peer});
        d->front = front_new(&(struct front_config){d->relay, d->backups, d, forget_key});
        return 0;
}

int driver_open(const struct driver_config *c, struct driver **ret, struct err *err)
{
        struct driver *d = xnew(struct driver);
        struct db_events events = {d,         on_durable, on_covered,   on_loaded,
                                   on_copied, on_sealed,  on_db_failure};

        d->config = *c;
        d->dir = xstrdup(c->dir);
        d->turn = (struct turn_config){.version = SWARM_VERSION,
                                       .hostname = c->hostname,
                                       .managers = d->managers,
                                       .arg = d,
                                       .manager_status = manager_status,
                                       .can_demote = can_demote,
                                       .get_member = get_member,
                                       .is_blob_missing = is_blob_missing,
                                       .draw_key = draw_key,
                                       .breath = {d, on_breath}};
        d->timer_at = d->ask_at = TIME_NEVER;
        d->settled_at = time_now().mono_ms + SETTLE_MS;
        d->last_index = c->state->base.index + c->state->n_entries;
        d->timer = loop_timer_new(c->loop, on_timer, d);
        d->net = net_new(c->loop);
        d->backups = backups_new(&(struct backups_config){c->db, d->dir, d, on_blob_response});
        d->snapshots = snapshots_new(c->db, d->dir, snapshot_ready, d);
        db_start(c->db, c->loop, &events);
        int r = open_blobs(d, err);
        if (r == 0)
                r = open_network(d, err);
        if (r == 0)
                r = open_replica(d, err);
        else
                store_free(c->store);
        if (r < 0) {
                driver_close(d);
                return r;
        }
        d->hook = loop_hook_new(c->loop, before_sleep, NULL, d);
        *ret = d;
        return 0;
}

void driver_stop(struct driver *d)
{
        d->is_stopping = true;
}

int driver_exit_code(const struct driver *d)
{
        return d->exit_code;
}

const Swarm__Cluster *driver_cluster(struct driver *d)
{
        struct store *store = replica_store(d->replica);

        return store ? store_cluster(store)->msg : NULL;
}

struct id driver_node(struct driver *d)
{
        struct store *store = replica_store(d->replica);
        struct node *node =
                store ? store_find_node_by_key(store, d->config.node_keys->public_key) : NULL;

        return node ? node->id : (struct id){0};
}

bool driver_is_removed(const struct driver *d)
{
        return d->is_removed;
}

void driver_close(struct driver *d)
{
        if (!d)
                return;
        loop_hook_free(d->hook);
        loop_timer_free(d->timer);
        replica_free(d->replica);
        db_close(d->config.db);
        copies_free(d->copies);
        blobs_close(d->blobs);
        front_free(d->front);
        heard_free(d->heard);
        relay_free(d->relay);
        peers_free(d->peers);
        snapshots_free(d->snapshots);
        backups_free(d->backups);
        net_server_close(d->server);
        net_free(d->net);
        for (size_t i = 0; i < ARRAY_SIZE(d->managers); i++)
                free(d->managers[i]);
        free(d->dir);
        free(d);
}
