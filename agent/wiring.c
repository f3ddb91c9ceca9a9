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
#include <sys/file.h>
#include <sys/random.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/containers.h"
#include "agent/journal/journal.h"
#include "agent/link.h"
#include "agent/logs/logs.h"
#include "proto/journal.pb-c.h"
#include "shared/base/io.h"
#include "shared/base/log.h"
#include "shared/base/mem.h"
#include "shared/base/notify.h"
#include "shared/base/str.h"
#include "shared/wire/wire.h"

struct daemon {
        const struct agent_options *options;
        Swarm__NodeDescription *description;
        struct loop *loop;
        struct loop_timer *timer;
        struct loop_hook *hook;
        struct link *link;
        struct journal *journal;
        bool is_journal_dirty;
        struct containers *containers;
        struct agent_logs *logs;
        struct agent *core;
        Swarm__JournalTask **loaded; /* of the journal: their specs are borrowed by containers */
        size_t n_loaded;
        int lock_fd;
        int exit_code;
        bool has_session;
};

static void schedule(struct daemon *d)
{
        int64_t at = agent_deadline(d->core);

        if (at == TIME_NEVER)
                loop_timer_clear(d->timer);
        else
                loop_timer_set(d->timer, MAX(at - time_now().mono_ms, 0));
}

static void on_tick(void *arg)
{
        struct daemon *d = arg;

        agent_tick(d->core, time_now());
        schedule(d);
}

/* --- the journal: written before anything that depends on it is done
 * ------------------------------ */
static void flush_journal(struct daemon *d)
{
        if (!d->is_journal_dirty)
                return;
        d->is_journal_dirty = false;
        int r = journal_flush(d->journal);
        if (r < 0)
                log_error("the journal cannot be written error=%s", err_name(r));
}

static bool on_prepare(void *arg)
{
        flush_journal(arg);
        return false;
}

static void on_check(void *arg UNUSED)
{
}

static void port_journal_put(void *arg, struct id task, const uint8_t *packed, size_t n)
{
        struct daemon *d = arg;

        d->is_journal_dirty = true;
        if (journal_put(d->journal, task, packed, n) < 0)
                log_error("the journal cannot be written task=%s", ID_S(task));
}

static void port_journal_remove(void *arg, struct id task)
{
        struct daemon *d = arg;

        d->is_journal_dirty = true;
        journal_remove(d->journal, task);
}

/* --- the line ------------------------------------------------------------------------------------
 */
static void port_send(void *arg, const uint8_t *p, size_t n)
{
        struct daemon *d = arg;

        flush_journal(d);
        link_send(d->link, p, n);
}

static void send_message(struct daemon *d, Swarm__AgentMessage *m)
{
        _cleanup_buf_ struct buf b = {0};

        m->session = agent_session(d->core);
        if (m->session.len == 0)
                return;
        WIRE_PACK(m, &b);
        link_send(d->link, b.data, b.len);
}

static void port_reconnect(void *arg)
{
        struct daemon *d = arg;

        link_reconnect(d->link);
}

static void on_connected(void *arg)
{
        struct daemon *d = arg;

        containers_set_node(d->containers, link_node(d->link));
        agent_on_connected(d->core, time_now());
        schedule(d);
}

static void on_message(void *arg, const uint8_t *p, size_t n)
{
        struct daemon *d = arg;

        agent_on_message(d->core, time_now(), p, n);
        schedule(d);
}

static void on_refused(void *arg, const char *text)
{
        struct daemon *d = arg;

        log_error("the manager refuses this node: %s", text);
        d->exit_code = EXIT_FAILURE;
        loop_stop(d->loop);
}

static void port_refused(void *arg, const Swarm__Refused *m)
{
        if (m->code != ESTALE)
                on_refused(arg, m->text);
}

static void port_session(void *arg, const Swarm__Session *m)
{
        struct daemon *d = arg;

        link_set_managers(d->link, m->managers, m->n_managers);
        agent_logs_reset(d->logs);
        image_store_on_session(containers_images(d->containers));
        if (d->has_session)
                return;
        d->has_session = true;
        log_info("agent ready node=%s hostname=%s", ID_S(link_node(d->link)),
                 d->description->hostname);
        notify_service_manager("READY=1");
}

/* --- containers, images, logs --------------------------------------------------------------------
 */
static void port_prepare(void *arg, const struct agent_task *t)
{
        struct daemon *d = arg;

        flush_journal(d);
        containers_prepare(d->containers, t);
}

static void port_start(void *arg, const struct agent_task *t)
{
        struct daemon *d = arg;

        flush_journal(d);
        containers_start(d->containers, t);
}

static void port_stop(void *arg, struct id task)
{
        containers_stop(((struct daemon *)arg)->containers, task);
}

static void port_remove(void *arg, struct id task)
{
        struct daemon *d = arg;

        flush_journal(d);
        containers_remove(d->containers, task);
}

static void on_container(void *arg, const struct container_event *e)
{
        struct daemon *d = arg;

        if (e->kind == CONTAINER_EXITED)
                agent_logs_task_ended(d->logs, e->task);
        agent_on_container(d->core, time_now(), e);
        schedule(d);
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

static void port_blob_data(void *arg, const Swarm__BlobData *m)
{
        image_store_on_blob_data(containers_images(((struct daemon *)arg)->containers), m);
}

static void on_log_message(void *arg, Swarm__AgentMessage *m)
{
        send_message(arg, m);
}

static bool is_task_running(void *arg, struct id task)
{
        return containers_is_running(((struct daemon *)arg)->containers, task);
}

static void port_log_start(void *arg, const Swarm__LogStart *m)
{
        agent_logs_start(((struct daemon *)arg)->logs, m);
}

static void port_log_stop(void *arg, const Swarm__LogStop *m)
{
        agent_logs_stop(((struct daemon *)arg)->logs, m);
}

static void port_log_ack(void *arg, const Swarm__LogAck *m)
{
        agent_logs_ack(((struct daemon *)arg)->logs, m);
}

/* --- taking over ---------------------------------------------------------------------------------
 */
static int on_record(void *arg, const uint8_t *packed, size_t n)
{
        struct daemon *d = arg;
        Swarm__JournalTask *j = wire_unpack_heap(&swarm__journal_task__descriptor, packed, n);
        struct agent_task t = {0};

        if (!j || !j->assignment || !j->spec || !j->spec->task || !j->spec->task->container ||
            wire_get_id(&j->assignment->task_id, &t.id) < 0 ||
            wire_get_id(&j->assignment->service_id, &t.service_id) < 0 ||
            agent_load_task(d->core, packed, n) < 0) {
                wire_free(j);
                return -EBADMSG;
        }
        t.slot = j->assignment->slot;
        t.name = j->name;
        t.spec = j->spec;
        t.generic = (const Swarm__GenericResource *const *)j->assignment->generic;
        t.n_generic = j->assignment->n_generic;
        containers_load(d->containers, &t, j->status && j->status->state >= TASK_RUNNING);
        d->loaded = xreallocarray(d->loaded, d->n_loaded + 1, sizeof(*d->loaded));
        d->loaded[d->n_loaded++] = j;
        return 0;
}

static void on_found(void *arg, struct id task, bool is_running,
                     const struct container_event *exited)
{
        agent_load_container(((struct daemon *)arg)->core, task, is_running, exited);
}

static int take_over(struct daemon *d, struct err *err)
{
        containers_set_node(d->containers, link_node(d->link));
        int r = journal_load(d->journal, on_record, d, err);
        if (r < 0)
                return r;
        r = containers_recover(d->containers, on_found, d);
        if (r < 0)
                return err_set(err, -r, "containers of an earlier start: %s", err_name(r));
        agent_start(d->core, time_now());
        schedule(d);
        return 0;
}

/* --- start and end -------------------------------------------------------------------------------
 */
static int lock_data_dir(struct daemon *d, struct err *err)
{
        _cleanup_free_ char *dir = xasprintf("%s/agent", d->options->data_dir);
        _cleanup_free_ char *path = xasprintf("%s/lock", dir);
        int r = io_mkdir_all(dir, 0711);

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

static int open_containers(struct daemon *d, struct err *err)
{
        _cleanup_free_ char *cgroup = d->options->cgroup_parent
                                              ? xstrdup(d->options->cgroup_parent)
                                              : xasprintf("swarm-%.12s", link_key_text(d->link));
        struct containers_config c = {.data_dir = d->options->data_dir,
                                      .hostname = d->options->hostname,
                                      .shim_path = d->options->shim,
                                      .cgroup_name = cgroup,
                                      .arg = d,
                                      .on_event = on_container,
                                      .fetch = on_fetch};
        struct agent_logs_port logs = {d, on_log_message, is_task_running};
        int r = containers_open(d->loop, &c, &d->containers, err);

        if (r == 0)
                d->logs = agent_logs_new(d->loop, containers_runtime(d->containers), &logs);
        return r;
}

static void make_core(struct daemon *d)
{
        struct agent_ports ports = {.arg = d,
                                    .send = port_send,
                                    .reconnect = port_reconnect,
                                    .container_prepare = port_prepare,
                                    .container_start = port_start,
                                    .container_stop = port_stop,
                                    .container_remove = port_remove,
                                    .journal_put = port_journal_put,
                                    .journal_remove = port_journal_remove,
                                    .on_image = port_image,
                                    .on_blob_data = port_blob_data,
                                    .on_log_start = port_log_start,
                                    .on_log_stop = port_log_stop,
                                    .on_log_ack = port_log_ack,
                                    .on_session = port_session,
                                    .on_refused = port_refused};
        struct agent_config config = {.description = d->description};

        if (getrandom(&config.seed, sizeof(config.seed), 0) < 0)
                config.seed = (uint64_t)time_now().wall_ms;
        d->core = agent_new(&config, &ports);
}

static int open_parts(struct daemon *d, struct err *err)
{
        _cleanup_free_ char *journal = xasprintf("%s/agent/journal.db", d->options->data_dir);
        struct link_config link = {.data_dir = d->options->data_dir,
                                   .join = d->options->join,
                                   .token = d->options->token,
                                   .description = d->description,
                                   .arg = d,
                                   .on_connected = on_connected,
                                   .on_message = on_message,
                                   .on_refused = on_refused};
        int r = lock_data_dir(d, err);

        if (r == 0)
                r = link_open(d->loop, &link, &d->link, err);
        if (r == 0)
                r = journal_open(journal, &d->journal, err);
        if (r < 0)
                return r;
        make_core(d);
        r = open_containers(d, err);
        return r < 0 ? r : take_over(d, err);
}

static void close_parts(struct daemon *d)
{
        agent_logs_free(d->logs);
        containers_close(d->containers);
        if (d->core)
                agent_free(d->core);
        link_close(d->link);
        journal_close(d->journal);
        loop_hook_free(d->hook);
        loop_timer_free(d->timer);
        loop_free(d->loop);
        for (size_t i = 0; i < d->n_loaded; i++)
                wire_free(d->loaded[i]);
        free(d->loaded);
        wire_free(d->description);
        if (d->lock_fd >= 0)
                close(d->lock_fd);
}

static void on_signal(void *arg, int signum)
{
        struct daemon *d = arg;

        log_info("ending signal=%d: containers go on", signum);
        loop_stop(d->loop);
}

int agent_run(const struct agent_options *o)
{
        struct daemon d = {.options = o, .lock_fd = -1};
        struct err err = {0};

        log_set_level(o->level);
        d.loop = loop_new();
        d.timer = loop_timer_new(d.loop, on_tick, &d);
        d.hook = loop_hook_new(d.loop, on_prepare, on_check, &d);
        loop_on_signal(d.loop, SIGTERM, on_signal, &d);
        loop_on_signal(d.loop, SIGINT, on_signal, &d);
        signal(SIGPIPE, SIG_IGN);
        int r = agent_describe(o, &d.description, &err);
        if (r == 0)
                r = open_parts(&d, &err);
        if (r < 0) {
                fprintf(stderr, "swarm-agent: %s\n", err.text);
                d.exit_code = EXIT_FAILURE;
        } else {
                loop_run(d.loop);
                flush_journal(&d);
        }
        close_parts(&d);
        return d.exit_code;
}
