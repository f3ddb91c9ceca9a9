/*
 * A start: config to spec at once (borrowed strings end with the call), then the queue, as many at
 * a time as there are processors; then folder, cgroup, supervisor, and its message. What can fail
 * is told by the callback, after everything has been undone. A start that takes long waits for
 * something (another container that fills its volume, a network mount), not for a processor: it
 * gives its place in the queue to another one, and is given up when it gets nowhere at all.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "agent/runtime/runtime_internal.h"

#define SLOT_MS 3000 /* how long a start counts as one that needs a processor */

static void refuse(struct runtime *r, const struct container_config *c, runtime_started_fn *done,
                   void *arg, const struct err *err)
{
        struct answer a = {.id = c->id, .started = done, .arg = arg, .err = *err};

        if (c->name)
                err_wrap(&a.err, "task %s", c->name);
        answer_later(r, a);
}

static int prepare(struct runtime *r, const struct container_config *c, struct buf *ret_spec,
                   uint64_t *ret_caps, struct err *err)
{
        struct encode_extra x = {
                .cgroups = &r->cgroups, .boot_id = r->boot_id, .fail_at = r->fail_at};
        struct id_text name = id_text(c->id);

        _cleanup_free_ char *folder = xasprintf("%s/c/%s", r->root, name.s);

        x.cgroup_name = name.s;
        x.folder = folder;
        x.base_layer = r->base_layer;
        if (map_get_id(&r->containers, c->id))
                return err_set(err, EEXIST, "container exists");
        if (capabilities_resolve(c->cap_add, c->cap_drop, &x.caps, err) < 0)
                return -err->code;
        *ret_caps = x.caps;
        return spec_encode(c, &x, ret_spec, err);
}

void runtime_start(struct runtime *r, const struct container_config *c, runtime_started_fn *done,
                   void *arg)
{
        _cleanup_buf_ struct buf spec = {0};
        struct err err = {0};
        uint64_t caps = 0;

        if (prepare(r, c, &spec, &caps, &err) < 0) {
                refuse(r, c, done, arg, &err);
                return;
        }
        struct container *n = container_new(r, c->id);

        n->spec = spec;
        memset(&spec, 0, sizeof(spec));
        for (char *const *l = c->layers; l && *l; l++)
                buf_append(&n->layers, *l, strlen(*l) + 1);
        n->caps = caps;
        n->title = xstrdup(c->name ? c->name : n->name);
        n->limits = (struct cgroup_limits){c->nano_cpus, c->memory_bytes, c->pids};
        n->started = done;
        n->started_arg = arg;
        list_push_back(&r->queue, &n->queue_link);
        runtime_soon(r);
}

/* What it stands on: for an agent to come, see runtime_layers. */
static int write_layers(struct container *c)
{
        int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
        _cleanup_close_ int fd = openat(c->folder_fd, "layers", flags, 0600);
        int r = fd < 0 ? -errno : io_write_all(fd, c->layers.data, c->layers.len);

        buf_done(&c->layers);
        return r;
}

static int make_folder(struct container *c, struct err *err)
{
        int r = mkdirat(c->runtime->containers_fd, c->name, 0700) < 0 ? -errno : 0;

        if (r == 0)
                r = container_open_folder(c);
        if (r == 0 &&
            (mkdirat(c->folder_fd, "upper", 0755) < 0 || mkdirat(c->folder_fd, "work", 0700) < 0))
                r = -errno;
        if (r == 0)
                r = write_layers(c);
        return r < 0 ? err_set(err, -r, "make container's folder: %s", err_name(r)) : 0;
}

/* The folder stays locked as long as the supervisor has this descriptor of it open. */
static int open_lock(struct container *c)
{
        _cleanup_close_ int fd = openat(c->folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
                return -errno;
        return STEAL_FD(fd);
}

static int seal_spec(struct container *c)
{
        _cleanup_close_ int fd = memfd_create("spec", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        int r = fd < 0 ? -errno : io_write_all(fd, c->spec.data, c->spec.len);

        buf_done(&c->spec);
        if (r == 0 &&
            fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
                r = -errno;
        return r < 0 ? r : STEAL_FD(fd);
}

/* One of the runtime's; the last place is used anew when there are many. */
static int open_filter(struct runtime *r, uint64_t caps, struct err *err)
{
        for (size_t i = 0; i < r->n_programs; i++)
                if (r->programs[i].caps == caps)
                        return r->programs[i].fd;
        int fd = seccomp_open_program(r->root, caps, err);
        if (fd < 0)
                return fd;
        if (r->n_programs == PROGRAMS_MAX)
                close(r->programs[--r->n_programs].fd);
        r->programs[r->n_programs].caps = caps;
        r->programs[r->n_programs++].fd = fd;
        return fd;
}

/* Nothing is to be done but to reap: that a supervisor ends is seen at its socket. */
static void on_shim_exit(void *arg, pid_t pid, int status)
{
        (void)arg, (void)pid, (void)status;
}

/* The supervisor is our child and is reaped in the loop: the number is its own until then. */
static int spawn(struct container *c, int *ret_socket)
{
        struct runtime *r = c->runtime;
        char *const argv[] = {(char[]){"/proc/self/fd/4"}, NULL};
        int pair[2];

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return -errno;
        int fds[] = {-1, -1, -1, pair[1], r->shim_fd};
        struct loop_spawn s = {
                .argv = argv, .fds = fds, .n_fds = (int)ARRAY_SIZE(fds), .on_exit = on_shim_exit};
        pid_t pid = loop_spawn(r->loop, &s);

        close(pair[1]);
        if (pid < 0) {
                close(pair[0]);
                return pid;
        }
        c->start->supervisor = (int)syscall(SYS_pidfd_open, pid, 0);
        if (c->start->supervisor < 0) {
                int result = -errno;

                close(pair[0]); /* which ends it, as it has nothing to do */
                return result;
        }
        fcntl(pair[0], F_SETFL, O_NONBLOCK);
        *ret_socket = pair[0];
        return 0;
}

static int send_start(struct container *c, int fd, int spec, int lock, int filter)
{
        struct shim_message m = {.type = SHIM_START};
        int fds[SHIM_FDS_MAX] = {spec, c->folder_fd, lock, filter};
        int n = cgroup_open_fds(&c->runtime->cgroups, c->name, fds + SHIM_START_CGROUP2, &m.value,
                                &m.status);
        int r = message_put(fd, &m, "", fds, SHIM_START_CGROUP2 + n);

        for (int i = 0; i < n; i++)
                if (fds[SHIM_START_CGROUP2 + i] >= 0)
                        close(fds[SHIM_START_CGROUP2 + i]);
        return r;
}

static int begin(struct container *c, struct err *err)
{
        struct runtime *r = c->runtime;
        int filter = open_filter(r, c->caps, err), fd = -1;

        if (filter < 0 || make_folder(c, err) < 0 ||
            cgroup_make(&r->cgroups, c->name, &c->limits, err) < 0)
                return -err->code;
        _cleanup_close_ int spec = seal_spec(c);
        _cleanup_close_ int lock = open_lock(c);
        int result = MIN(spec, lock);

        if (result >= 0)
                result = spawn(c, &fd);
        if (result < 0)
                return err_set(err, -result, "start supervisor: %s", err_name(result));
        result = container_watch(c, fd);
        if (result == 0)
                result = send_start(c, fd, spec, lock, filter);
        return result < 0 ? err_set(err, -result, "start supervisor: %s", err_name(result)) : 0;
}

/* --- how far it is -------------------------------------------------------------------------------
 */
static void leave_slot(struct container *c)
{
        struct runtime *r = c->runtime;

        if (!c->start->has_slot)
                return;
        c->start->has_slot = false;
        r->n_starting--;
        runtime_soon(r);
}

static void on_look(void *arg)
{
        struct container *c = arg;
        struct start *s = c->start;
        int64_t limit_ms = c->runtime->start_silence_ms;
        int64_t left_ms = s->moved_ms + limit_ms - time_now().mono_ms;
        struct err err = {0};

        leave_slot(c);
        if (left_ms > 0) {
                loop_timer_set(s->look, left_ms);
                return;
        }
        err_set(&err, ETIMEDOUT, "%s: given up, nothing has happened for %lld s",
                s->doing ? s->doing : "start", (long long)limit_ms / 1000);
        container_fail(c, &err);
}

void start_moved(struct container *c, const char *doing)
{
        if (!c->start)
                return;
        c->start->moved_ms = time_now().mono_ms;
        free(c->start->doing);
        c->start->doing = *doing ? xstrdup(doing) : NULL;
}

static void start_new(struct container *c)
{
        struct runtime *r = c->runtime;

        c->start = xnew(struct start);
        c->start->supervisor = -1;
        c->start->has_slot = true;
        r->n_starting++;
        c->start->look = loop_timer_new(r->loop, on_look, c);
        start_moved(c, "");
        loop_timer_set(c->start->look, MIN(SLOT_MS, r->start_silence_ms));
}

void start_done(struct container *c)
{
        struct start *s = c->start;

        if (!s)
                return;
        leave_slot(c);
        c->start = NULL;
        loop_timer_free(s->look);
        if (s->supervisor >= 0)
                close(s->supervisor);
        free(s->doing);
        free(s);
}

int runtime_cancel(struct runtime *r, struct id id)
{
        struct container *c = map_get_id(&r->containers, id);
        struct err err = {0};

        if (!c || c->is_removing || (c->phase != PHASE_QUEUED && c->phase != PHASE_STARTING))
                return -ESRCH;
        err_set(&err, ECANCELED, "stopped before it had started");
        container_fail(c, &err);
        return 0;
}

void queue_advance(struct runtime *r)
{
        while (r->n_starting < r->starting_max && !list_is_empty(&r->queue)) {
                struct container *c =
                        LIST_ITEM(list_pop_front(&r->queue), struct container, queue_link);
                struct err err = {0};

                c->phase = PHASE_STARTING;
                start_new(c);
                if (begin(c, &err) < 0)
                        container_fail(c, &err);
        }
}
