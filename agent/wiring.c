/*
 * The agent's driver: the loop, the line to a manager, the journal, the containers and the logs,
 * and in their middle the core (agent.h), which decides. Whatever happens comes in here, goes into
 * the core, and is followed by setting the one timer to when the core wants to be called again.
 */
#include "agent/wiring.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/containers.h"
#include "agent/journal/journal.h"
#include "agent/link.h"
#include "agent/logs/logs.h"
#include "agent/promote.h"
#include "shared/base/io.h"
#include "shared/base/list.h"
#include "shared/base/log.h"
#include "shared/base/mem.h"
#include "shared/base/notify.h"
#include "shared/base/process.h"
#include "shared/base/str.h"
#include "shared/wire/wire.h"

#define SENDS_MAX         4096        /* messages that wait for the end of a round */
#define START_PATIENCE_MS 5000        /* for a journal that cannot be written */
#define DISK_FULL_BYTES   (8u << 20)  /* less is free: full, */
#define DISK_ROOM_BYTES   (32u << 20) /* until so much is free again */

/* A message that leaves once the journal is written. */
struct outgoing {
        struct list link;
        size_t n;
        uint8_t bytes[];
};

struct daemon {
        struct agent_options *options;
        int argc;
        char *const *argv;
        Swarm__NodeDescription *description;
        struct loop *loop;
        struct loop_timer *timer;
        struct loop_hook *hook;
        struct link *link;
        struct journal *journal;
        struct containers *containers;
        struct agent_logs *logs;
        struct promote *promote;
        struct agent *core;
        struct list outgoing;
        size_t n_outgoing;
        int64_t tick_at_ms; /* what the timer is set to */
        int lock_fd;
        int exit_code;
        bool has_session, is_lost, is_leaving, must_abandon;
        bool is_twin;  /* refused, and that was said: another machine has its key */
        bool has_lost; /* a message in this round */
        bool is_disk_full;
        bool has_kept; /* its options */
};

/* --- the round -----------------------------------------------------------------------------------
 */
static void schedule(struct daemon *d)
{
        int64_t at = MIN(agent_deadline(d->core), journal_deadline(d->journal));

        if (at == d->tick_at_ms)
                return;
        d->tick_at_ms = at;
        if (at == TIME_NEVER)
                loop_timer_clear(d->timer);
        else
                loop_timer_set(d->timer, MAX(at - time_now().mono_ms, 0));
}

static void on_tick(void *arg)
{
        struct daemon *d = arg;

        d->tick_at_ms = TIME_NEVER;
        agent_tick(d->core, time_now());
}

static void send_outgoing(struct daemon *d)
{
        struct list *l;

        while ((l = list_pop_front(&d->outgoing))) {
                struct outgoing *o = LIST_ITEM(l, struct outgoing, link);

                d->has_lost |= link_send(d->link, o->bytes, o->n) < 0;
                free(o);
        }
        d->n_outgoing = 0;
}

/* A container that the journal does not know must not start: it waits for a while, and then it
 * fails, so that another node may have a try. */
static void start_containers(struct daemon *d, struct now now, int journal_error)
{
        if (journal_error == 0) {
                containers_pump(d->containers);
        } else if (now.mono_ms - journal_failing_since(d->journal) >= START_PATIENCE_MS) {
                _cleanup_free_ char *why = xasprintf("the node's journal cannot be written: %s",
                                                     err_name(journal_error));

                containers_refuse(d->containers, why);
        }
}

static int write_journal(struct daemon *d, struct now now)
{
        bool was_failing = journal_failing_since(d->journal) != TIME_NEVER;
        int r = journal_write(d->journal, now.mono_ms);

        if (r == -ENOSPC && !was_failing)
                image_store_prune(containers_images(d->containers));
        return r;
}

/* The end of a round of the loop: what must last is written once for all that happened in it, then
 * messages leave and containers start. Messages leave even when it cannot be written: a state that
 * is told and then forgotten by a crash is told anew, as what is found then, and the manager takes
 * no step back. So a full disk keeps no end from being told. */
static bool on_round_end(void *arg)
{
        struct daemon *d = arg;
        struct now now = time_now();

        if (d->must_abandon)
                agent_abandon(d->core, now);
        d->must_abandon = false;
        int r = write_journal(d, now);
        send_outgoing(d);
        if (d->has_lost) { /* the streams of logs count on each message */
                agent_on_lost(d->core, now);
                send_outgoing(d);
                d->has_lost = false;
        }
        start_containers(d, now, r);
        if (d->is_leaving && agent_is_idle(d->core)) {
                link_leave(d->link);
                loop_stop(d->loop);
        }
        schedule(d);
        return false;
}

static void port_journal_put(void *arg, struct id task, const uint8_t *packed, size_t n)
{
        journal_put(((struct daemon *)arg)->journal, task, packed, n);
}

static void port_journal_remove(void *arg, struct id task)
{
        journal_remove(((struct daemon *)arg)->journal, task);
}

/* --- the line ------------------------------------------------------------------------------------
 */
static void port_send(void *arg, const uint8_t *p, size_t n)
{
        struct daemon *d = arg;
        struct outgoing *o;

        if (d->n_outgoing == SENDS_MAX) {
                d->has_lost = true;
                return;
        }
        o = xmalloc(sizeof(*o) + n);
        o->n = n;
        memcpy(o->bytes, p, n);
        list_init(&o->link);
        list_push_back(&d->outgoing, &o->link);
        d->n_outgoing++;
}

static void send_message(struct daemon *d, Swarm__AgentMessage *m)
{
        _cleanup_buf_ struct buf b = {0};

        m->session = agent_session(d->core);
        if (m->session.len == 0)
                return;
        WIRE_PACK(m, &b);
        port_send(d, b.data, b.len);
}

static bool port_is_disk_full(void *arg)
{
        struct daemon *d = arg;
        uint64_t limit = d->is_disk_full ? DISK_ROOM_BYTES : DISK_FULL_BYTES;
        struct statvfs fs;

        if (statvfs(d->options->data_dir, &fs))
                return d->is_disk_full;
        bool is_full =
                (uint64_t)fs.f_bavail * fs.f_frsize < limit || (fs.f_files > 0 && fs.f_favail == 0);
        if (is_full != d->is_disk_full)
                log_warn("%s: %s", d->options->data_dir,
                         is_full ? "the disk is full: the node takes no new tasks"
                                 : "the disk has room again");
        d->is_disk_full = is_full;
        return is_full;
}

/* Told once: it may take long, or for ever if we were removed. */
static void lose_manager(struct daemon *d, const char *why)
{
        if (!d->is_lost)
                log_warn("%s: trying again, containers go on manager=%s", why,
                         link_manager(d->link));
        d->is_lost = true;
}

static void port_reconnect(void *arg)
{
        struct daemon *d = arg;

        if (d->is_leaving)
                return;
        lose_manager(d, "the manager is silent");
        link_reconnect(d->link);
}

static void on_broken(void *arg)
{
        lose_manager(arg, "the connection to the manager is lost");
}

/* A node that joins keeps what it was told only once it was taken in. */
static void on_connected(void *arg)
{
        struct daemon *d = arg;
        struct err err = {0};

        if (!d->has_kept && agent_options_keep(d->options, &err) < 0)
                log_warn("the next start will not know what this one was told: %s", err.text);
        d->has_kept = true;
        containers_set_node(d->containers, link_node(d->link));
        agent_on_connected(d->core, time_now());
}

static void on_message(void *arg, const uint8_t *p, size_t n)
{
        struct daemon *d = arg;

        agent_on_message(d->core, time_now(), p, n);
}

static void on_refused(void *arg, const Swarm__Refused *m)
{
        struct daemon *d = arg;

        log_error("the manager refuses this node: %s", m->text);
        d->exit_code = m->code == EACCES ? EXIT_NOT_MEMBER : EXIT_FAILURE;
        loop_stop(d->loop);
}

/* The cluster has no such node (any more). A token says that this one is to be a node of it again;
 * else what it runs for the cluster ends, and then the agent does. */
static void leave(struct daemon *d, const char *text)
{
        if (d->is_leaving)
                return;
        if (!d->has_session && link_join_again(d->link)) {
                log_warn("%s: joining again with the token", text);
                return;
        }
        log_error("%s: ending its containers, then this agent", text);
        d->is_leaving = d->must_abandon = true; /* at the end of the round: this is a port */
        d->exit_code = EXIT_NOT_MEMBER;
}

/* The other may be gone one day, and what runs here is not ended on suspicion: so it goes on
 * asking. */
static void note_twin(struct daemon *d, const char *text)
{
        if (!d->is_twin)
                log_error("the manager refuses this node: %s: remove %s and join again", text,
                          d->options->data_dir);
        d->is_twin = true;
}

static void port_refused(void *arg, const Swarm__Refused *m)
{
        if (m->code == EACCES)
                leave(arg, m->text);
        else if (m->code == ENOTUNIQ)
                note_twin(arg, m->text);
        else if (m->code != ESTALE)
                on_refused(arg, m);
}

static void port_session(void *arg, const Swarm__Session *m)
{
        struct daemon *d = arg;

        link_set_managers(d->link, m->managers, m->n_managers);
        promote_set_role(d->promote, (enum node_role)m->role);
        agent_logs_on_session(d->logs);
        image_store_on_session(containers_images(d->containers));
        if (d->is_lost)
                log_info("a manager is found again manager=%s", link_manager(d->link));
        d->is_lost = d->is_twin = false;
        if (d->has_session)
                return;
        d->has_session = true;
        printf("agent ready node=%s hostname=%s manager=%s\n", ID_S(link_node(d->link)),
               d->description->hostname, link_manager(d->link));
        fflush(stdout);
        notify_service_manager("READY=1");
        process_settle();
}

static void port_heartbeat(void *arg, const Swarm__HeartbeatReply *m)
{
        struct daemon *d = arg;

        link_set_managers(d->link, m->managers, m->n_managers);
        promote_set_role(d->promote, (enum node_role)m->role);
}

/* --- containers, images, logs --------------------------------------------------------------------
 */
static void port_prepare(void *arg, const struct agent_task *t)
{
        struct daemon *d = arg;

        containers_prepare(d->containers, t);
}

static void port_start(void *arg, const struct agent_task *t)
{
        struct daemon *d = arg;

        containers_start(d->containers, t);
}

static void port_adopt(void *arg, const struct agent_task *t)
{
        struct daemon *d = arg;

        containers_adopt(d->containers, t);
}

static void port_stop(void *arg, struct id task)
{
        containers_stop(((struct daemon *)arg)->containers, task);
}

static void port_remove(void *arg, struct id task)
{
        struct daemon *d = arg;

        agent_logs_on_remove(d->logs, task);
        containers_remove(d->containers, task);
}

static void on_container(void *arg, const struct container_event *e)
{
        struct daemon *d = arg;

        agent_on_container(d->core, time_now(), e);
        if (e->kind == CONTAINER_STARTED)
                agent_logs_on_start(d->logs, e->task);
        else if (e->kind == CONTAINER_EXITED || e->kind == CONTAINER_FAILED)
                agent_logs_on_end(d->logs, e->task);
}

static void on_fetch(void *arg, const Swarm__BlobGet *m)
{
        Swarm__AgentMessage message = SWARM__AGENT_MESSAGE__INIT;

        message.kind_case = SWARM__AGENT_MESSAGE__KIND_BLOB_GET;
        message.blob_get = (Swarm__BlobGet *)(uintptr_t)m;
        send_message(arg, &message);
}

static void port_image(void *arg, const Swarm__Image *m)
{
        image_store_learn(containers_images(((struct daemon *)arg)->containers), m);
}

/* Acknowledged before it is judged, and of whatever session: it was read. */
static void port_blob_data(void *arg, const Swarm__BlobData *m)
{
        Swarm__AgentMessage message = SWARM__AGENT_MESSAGE__INIT;
        Swarm__BlobAck ack = SWARM__BLOB_ACK__INIT;
        _cleanup_buf_ struct buf b = {0};

        ack.receipt = m->receipt;
        message.kind_case = SWARM__AGENT_MESSAGE__KIND_BLOB_ACK;
        message.blob_ack = &ack;
        WIRE_PACK(&message, &b);
        if (m->receipt)
                port_send(arg, b.data, b.len);
        image_store_on_blob_data(containers_images(((struct daemon *)arg)->containers), m);
}

static void send_log_data(void *arg, const Swarm__LogData *data)
{
        Swarm__AgentMessage m = SWARM__AGENT_MESSAGE__INIT;

        m.kind_case = SWARM__AGENT_MESSAGE__KIND_LOG_DATA;
        m.log_data = (Swarm__LogData *)(uintptr_t)data;
        send_message(arg, &m);
}

static void send_log_end(void *arg, const Swarm__LogEnd *end)
{
        Swarm__AgentMessage m = SWARM__AGENT_MESSAGE__INIT;

        m.kind_case = SWARM__AGENT_MESSAGE__KIND_LOG_END;
        m.log_end = (Swarm__LogEnd *)(uintptr_t)end;
        send_message(arg, &m);
}

static bool is_task_live(void *arg, struct id task)
{
        return containers_is_live(((struct daemon *)arg)->containers, task);
}

static void port_log_start(void *arg, const Swarm__LogStart *m)
{
        agent_logs_start(((struct daemon *)arg)->logs, m);
}

static void port_log_stop(void *arg, const Swarm__LogStop *m)
{
        agent_logs_stop(((struct daemon *)arg)->logs, m->stream);
}

static void port_log_ack(void *arg, const Swarm__LogAck *m)
{
        agent_logs_on_ack(((struct daemon *)arg)->logs, m->stream, m->count);
}

/* --- taking over ---------------------------------------------------------------------------------
 */
static int on_record(void *arg, const uint8_t *packed, size_t n)
{
        return agent_load_task(((struct daemon *)arg)->core, packed, n);
}

static bool get_task(void *arg, struct id task, struct agent_task *ret)
{
        return agent_get_task(((struct daemon *)arg)->core, task, ret);
}

static void on_found(void *arg, struct id task, bool is_running, const struct container_event *e)
{
        agent_load_container(((struct daemon *)arg)->core, task, is_running, e);
}

static int take_over(struct daemon *d, struct err *err)
{
        const struct containers_recovery y = {.arg = d, .get = get_task, .found = on_found};

        containers_set_node(d->containers, link_node(d->link));
        int r = journal_load(d->journal, on_record, d, err);
        if (r < 0)
                return r;
        r = containers_recover(d->containers, &y);
        if (r < 0)
                return err_set(err, -r, "containers of an earlier start: %s", err_name(r));
        agent_start(d->core, time_now());
        return 0;
}

/* --- start and end -------------------------------------------------------------------------------
 */
static int lock_data_dir(struct daemon *d, struct err *err)
{
        _cleanup_free_ char *dir = xasprintf("%s/agent", d->options->data_dir);
        _cleanup_free_ char *path = xasprintf("%s/lock", dir);
        int r = io_mkdir_all(dir, 0700);

        if (r < 0)
                return err_set(err, -r, "%s: %s", dir, err_name(r));
        d->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (d->lock_fd < 0)
                return err_set(err, errno, "%s: %s", path, err_name(errno));
        if (flock(d->lock_fd, LOCK_EX | LOCK_NB) < 0)
                return err_set(err, EBUSY, "%s: another agent runs on this data-dir",
                               d->options->data_dir);
        return 0;
}

/* Without --advertise: the address that we have towards the manager. */
static void add_address(struct daemon *d)
{
        if (*d->description->address)
                return;
        char *address = agent_address_to(link_manager(d->link));
        if (address)
                d->description->address = address; /* was the shared empty text */
}

static int open_containers(struct daemon *d, struct err *err)
{
        _cleanup_free_ char *cgroup = d->options->cgroup_parent
                                              ? xstrdup(d->options->cgroup_parent)
                                              : xasprintf("swarm-%.12s", link_key_text(d->link));
        struct containers_config c = {.data_dir = d->options->data_dir,
                                      .hostname = d->options->hostname,
                                      .shim_path = d->options->shim,
                                      .unpack_path = d->options->unpack,
                                      .cgroup_name = cgroup,
                                      .arg = d,
                                      .on_event = on_container,
                                      .fetch = on_fetch};
        int r = containers_open(d->loop, &c, &d->containers, err);

        if (r < 0)
                return r;
        struct agent_logs_ports logs = {.path_arg = containers_runtime(d->containers),
                                        .path = agent_logs_runtime_path,
                                        .arg = d,
                                        .is_live = is_task_live,
                                        .send_data = send_log_data,
                                        .send_end = send_log_end};
        d->logs = agent_logs_new(d->loop, &logs);
        return 0;
}

static void make_core(struct daemon *d)
{
        struct agent_ports ports = {.arg = d,
                                    .send = port_send,
                                    .reconnect = port_reconnect,
                                    .container_prepare = port_prepare,
                                    .container_start = port_start,
                                    .container_adopt = port_adopt,
                                    .container_stop = port_stop,
                                    .container_remove = port_remove,
                                    .journal_put = port_journal_put,
                                    .journal_remove = port_journal_remove,
                                    .on_image = port_image,
                                    .on_blob_data = port_blob_data,
                                    .on_log_start = port_log_start,
                                    .on_log_stop = port_log_stop,
                                    .on_log_ack = port_log_ack,
                                    .is_disk_full = port_is_disk_full,
                                    .on_session = port_session,
                                    .on_heartbeat = port_heartbeat,
                                    .on_refused = port_refused};
        struct agent_config config = {.description = d->description};

        if (getrandom(&config.seed, sizeof(config.seed), 0) < 0)
                config.seed = (uint64_t)time_now().wall_ms;
        d->core = agent_new(&config, &ports);
}

static void on_sealed(void *arg)
{
        promote_resume(((struct daemon *)arg)->promote);
}

static int open_link(struct daemon *d, struct err *err)
{
        const struct agent_options *o = d->options;
        int r = agent_describe(o, &d->description, err);
        struct link_config c = {.data_dir = o->data_dir,
                                .join = o->join,
                                .token = o->token,
                                .description = d->description,
                                .arg = d,
                                .on_sealed = on_sealed,
                                .on_connected = on_connected,
                                .on_message = on_message,
                                .on_broken = on_broken,
                                .on_refused = on_refused};

        if (r == 0)
                r = link_open(d->loop, &c, &d->link, err);
        if (r < 0)
                return r;
        add_address(d);
        return 0;
}

static const char *own_address(void *arg)
{
        const Swarm__NodeDescription *description = ((struct daemon *)arg)->description;

        return description ? description->address : "";
}

static const char *some_manager(void *arg)
{
        return link_manager(((struct daemon *)arg)->link);
}

static void open_promote(struct daemon *d)
{
        struct promote_config c = {.data_dir = d->options->data_dir,
                                   .program = d->options->manager,
                                   .unit = promote_find_unit(d->options->data_dir),
                                   .arg = d,
                                   .address = own_address,
                                   .manager = some_manager};

        d->promote = promote_new(d->loop, &c);
}

/* What it was told, now and before, and the link to the cluster, which may lack something of it:
 * then -EINVAL. */
static int open_told(struct daemon *d, struct err *err)
{
        int r = lock_data_dir(d, err);

        if (r == 0)
                r = agent_options_recall(d->options, err);
        if (r == 0)
                r = agent_options_find_programs(d->options, err);
        if (r < 0)
                return r;
        open_promote(d);
        return open_link(d, err);
}

static int open_parts(struct daemon *d, struct err *err)
{
        _cleanup_free_ char *journal = xasprintf("%s/agent/journal.db", d->options->data_dir);
        int r = journal_open(journal, &d->journal, err);

        if (r < 0)
                return r;
        make_core(d);
        r = open_containers(d, err);
        if (r == 0)
                r = take_over(d, err);
        if (r == 0 && !id_is_zero(link_node(d->link))) {
                r = agent_options_keep(d->options, err);
                d->has_kept = r == 0;
        }
        if (r == 0) /* the newest hook goes first: before the network looks for messages to send */
                d->hook = loop_hook_new(d->loop, on_round_end, NULL, d);
        return r;
}

static void close_parts(struct daemon *d)
{
        struct list *l;

        loop_hook_free(d->hook);
        agent_logs_free(d->logs);
        containers_close(d->containers);
        agent_free(d->core);
        promote_free(d->promote);
        link_close(d->link);
        journal_close(d->journal);
        loop_timer_free(d->timer);
        loop_free(d->loop);
        while ((l = list_pop_front(&d->outgoing)))
                free(LIST_ITEM(l, struct outgoing, link));
        wire_free(d->description);
        if (d->lock_fd >= 0)
                close(d->lock_fd);
}

static void on_signal(void *arg, int signum)
{
        struct daemon *d = arg;

        log_info("ending signal=%d: containers go on", signum);
        notify_service_manager("STOPPING=1");
        loop_stop(d->loop);
}

/* What can be changed in flight: the log's level, labels, reserves and resources. */
static void on_reload(void *arg, int signum UNUSED)
{
        struct daemon *d = arg;
        struct agent_options fresh = {0};
        Swarm__NodeDescription *description = NULL;
        struct err err = {0};
        int r = agent_options_parse(d->argc, d->argv, &fresh, stderr, &err);

        if (r == 0)
                r = agent_options_recall(&fresh, &err);
        if (r == 0)
                r = agent_describe(&fresh, &description, &err);
        if (r == 0)
                r = agent_options_keep(&fresh, &err);
        if (r == 0) {
                Swarm__NodeDescription *old = d->description;

                log_set_level(fresh.level);
                d->description = description;
                add_address(d);
                agent_set_description(d->core, d->description);
                link_describe(d->link, d->description);
                wire_free(old);
        } else {
                log_warn("settings stay as they are: %s", err.text);
                wire_free(description);
        }
        agent_options_done(&fresh);
}

int agent_run(struct agent_options *o, int argc, char *const *argv)
{
        struct daemon d = {
                .options = o, .argc = argc, .argv = argv, .lock_fd = -1, .tick_at_ms = TIME_NEVER};
        struct err err = {0};

        log_set_level(o->level);
        signal(SIGPIPE, SIG_IGN);
        list_init(&d.outgoing);
        d.loop = loop_new();
        d.timer = loop_timer_new(d.loop, on_tick, &d);
        loop_on_signal(d.loop, SIGTERM, on_signal, &d);
        loop_on_signal(d.loop, SIGINT, on_signal, &d);
        int told = open_told(&d, &err), r = told < 0 ? told : open_parts(&d, &err);

        if (r < 0 && r != -ECANCELED) {
                fprintf(stderr, "swarm-agent: %s\n", err.text);
                d.exit_code = told == -EINVAL ? EXIT_USAGE : EXIT_FAILURE;
        } else if (r == 0) {
                loop_on_signal(d.loop, SIGHUP, on_reload, &d);
                loop_run(d.loop);
        }
        close_parts(&d);
        return d.exit_code;
}
