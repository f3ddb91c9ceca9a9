/* The runtime: opening and closing, its containers, and the calls that need no supervisor. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "agent/runtime/runtime_internal.h"

#define SHIM_PROGRAM_MAX (8 << 20)
#define LAYERS_FILE_MAX  (1 << 20)

/* The supervisor's program in a sealed memfd: whatever gets hold of it through /proc/self/exe
 * cannot change it, and all supervisors share its pages. Opened anew for reading: a file open for
 * writing cannot be executed. */
static int open_program(const char *path)
{
        _cleanup_buf_ struct buf b = {0};
        int r = io_read_file(AT_FDCWD, path, SHIM_PROGRAM_MAX, &b);
        _cleanup_close_ int fd = memfd_create("swarm-shim", MFD_CLOEXEC | MFD_ALLOW_SEALING);

        if (r >= 0)
                r = fd < 0 ? -errno : io_write_all(fd, b.data, b.len);
        if (r < 0)
                return r;
        if (fchmod(fd, 0555) < 0 ||
            fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
                return -errno;
        _cleanup_free_ char *link = xasprintf("/proc/self/fd/%d", fd);
        int again = open(link, O_RDONLY | O_CLOEXEC);
        return again < 0 ? -errno : again;
}

static int open_folder(int at, const char *path)
{
        if (mkdirat(at, path, 0700) < 0 && errno != EEXIST)
                return -errno;
        int fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
}

/* Images need not have what is mounted upon: it is in a layer below them, so that nothing has to be
 * made in the writable one. */
static int make_base_layer(struct runtime *r)
{
        static const char *const folders[] = {"proc", "sys", "dev", "etc"};
        static const char *const files[] = {"etc/hosts", "etc/hostname", "etc/resolv.conf"};
        _cleanup_close_ int fd = open_folder(r->root_fd, "base");

        r->base_layer = xasprintf("%s/base", r->root);
        if (fd < 0)
                return fd;
        for (size_t i = 0; i < ARRAY_SIZE(folders); i++)
                if (mkdirat(fd, folders[i], 0755) < 0 && errno != EEXIST)
                        return -errno;
        for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
                int file = openat(fd, files[i], O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);

                if (file < 0)
                        return -errno;
                close(file);
        }
        return fchmod(fd, 0755) < 0 ? -errno : 0;
}

static int open_root(struct runtime *r, struct err *err)
{
        int result = io_mkdir_all(r->root, 0700);
        char *absolute = result == 0 ? realpath(r->root, NULL) : NULL;

        /* Supervisors have another working folder. */
        if (absolute) {
                free(r->root);
                r->root = absolute;
        }
        if (result == 0)
                result = r->root_fd = open_folder(AT_FDCWD, r->root);
        if (result >= 0)
                result = r->containers_fd = open_folder(r->root_fd, "c");
        if (result >= 0)
                result = r->trash_fd = open_folder(r->root_fd, "trash");
        if (result >= 0)
                result = make_base_layer(r);
        return result < 0 ? err_set(err, -result, "%s: %s", r->root, err_name(result)) : 0;
}

/* Without it every container would seem to be of an earlier boot. */
static int read_boot_id(struct runtime *r, struct err *err)
{
        static const char path[] = "/proc/sys/kernel/random/boot_id";
        _cleanup_buf_ struct buf b = {0};
        int result = io_read_file(AT_FDCWD, path, 64, &b);

        if (result < 0)
                return err_set(err, -result, "%s: %s", path, err_name(result));
        snprintf(r->boot_id, sizeof(r->boot_id), "%.36s", buf_str(&b));
        return 0;
}

/* --- answers -------------------------------------------------------------------------------------
 */
void runtime_soon(struct runtime *r)
{
        loop_timer_set(r->soon, 0);
}

void answer_later(struct runtime *r, struct answer a)
{
        if (!a.started && !a.exec && !a.removed)
                return;
        struct answer *copy = xnew(struct answer);

        *copy = a;
        list_push_back(&r->answers, &copy->link);
        runtime_soon(r);
}

/* Those that are there now: what is asked meanwhile is answered later. */
static void deliver_answers(struct runtime *r)
{
        struct list answers;
        struct list *l;

        list_init(&answers);
        list_splice_back(&answers, &r->answers);
        while ((l = list_pop_front(&answers))) {
                struct answer *a = LIST_ITEM(l, struct answer, link);

                if (a->started)
                        a->started(a->arg, a->id, 0, &a->err);
                else if (a->exec)
                        a->exec(a->arg, a->status, "", 0);
                else
                        a->removed(a->arg);
                free(a);
        }
}

static void on_soon(void *arg)
{
        deliver_answers(arg);
        queue_advance(arg);
}

/* --- opening, closing ----------------------------------------------------------------------------
 */
static struct runtime *runtime_new(struct loop *l, const struct runtime_config *c)
{
        struct runtime *r = xnew(struct runtime);
        long cpus = sysconf(_SC_NPROCESSORS_ONLN);

        r->loop = l;
        r->root = xstrdup(c->root);
        r->cgroup_name = xstrdup(c->cgroup_name);
        r->events = c->events;
        r->root_fd = r->containers_fd = r->trash_fd = r->shim_fd = -1;
        r->containers = MAP_INIT(struct container, id, MAP_KEY_ID);
        r->starting_max = (int)MIN(MAX(cpus, 2), 64);
        r->start_silence_ms = RUNTIME_START_SILENCE_MS;
        r->kill_answer_ms = RUNTIME_KILL_ANSWER_MS;
        r->soon = loop_timer_new(l, on_soon, r);
        list_init(&r->queue);
        list_init(&r->answers);
        list_init(&r->trash);
        return r;
}

int runtime_open(struct loop *l, const struct runtime_config *c, struct runtime **ret,
                 struct err *err)
{
        struct runtime *r = runtime_new(l, c);
        int result = open_root(r, err);

        if (result == 0)
                result = read_boot_id(r, err);
        if (result == 0) {
                r->shim_fd = open_program(c->shim_path);
                if (r->shim_fd < 0)
                        result = err_set(err, -r->shim_fd, "%s: %s", c->shim_path,
                                         err_name(r->shim_fd));
        }
        if (result == 0)
                result = cgroups_open(&r->cgroups, r->cgroup_name, err);
        if (result < 0) {
                runtime_close(r);
                return result;
        }
        trash_sweep(r);
        *ret = r;
        return 0;
}

static void close_fd(int fd)
{
        if (fd >= 0)
                close(fd);
}

/* Whoever waits for something of it does so in vain. */
static void abandon(struct container *c)
{
        struct answer a = {.id = c->id, .arg = c->started_arg};

        if (c->phase == PHASE_QUEUED || c->phase == PHASE_STARTING)
                a.started = c->started;
        if (c->failure.code)
                a.err = c->failure;
        else
                err_set(&a.err, ECANCELED, "task %s: the agent is ending", c->title);
        answer_later(c->runtime, a);
        answer_later(c->runtime, (struct answer){.removed = c->removed, .arg = c->removed_arg});
        execs_fail(c, -ECANCELED);
        container_free(c);
}

void runtime_close(struct runtime *r)
{
        struct container *c;
        size_t i;

        if (!r)
                return;
        for (i = 0; (c = map_next(&r->containers, &i)); i = 0)
                abandon(c);
        deliver_answers(r);
        trash_close(r);
        for (i = 0; i < r->n_programs; i++)
                close(r->programs[i].fd);
        map_done(&r->containers);
        loop_timer_free(r->soon);
        cgroups_done(&r->cgroups);
        close_fd(r->root_fd);
        close_fd(r->containers_fd);
        close_fd(r->trash_fd);
        close_fd(r->shim_fd);
        free(r->root);
        free(r->cgroup_name);
        free(r->base_layer);
        free(r);
}

struct container *container_new(struct runtime *r, struct id id)
{
        struct container *c = xnew(struct container);

        c->id = id;
        c->runtime = r;
        c->folder_fd = c->socket = c->pidfd = -1;
        snprintf(c->name, sizeof(c->name), "%s", ID_S(id));
        list_init(&c->queue_link);
        list_init(&c->execs);
        map_put(&r->containers, c);
        return c;
}

void container_free(struct container *c)
{
        container_unwatch(c);
        start_done(c);
        list_remove(&c->queue_link);
        map_remove(&c->runtime->containers, c);
        loop_timer_free(c->retry);
        loop_timer_free(c->look);
        loop_timer_free(c->patience);
        loop_timer_free(c->grace);
        close_fd(c->folder_fd);
        close_fd(c->pidfd);
        buf_done(&c->spec);
        buf_done(&c->layers);
        free(c->title);
        free(c);
}

int container_open_folder(struct container *c)
{
        c->folder_fd = openat(c->runtime->containers_fd, c->name,
                              O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        return c->folder_fd < 0 ? -errno : 0;
}

void runtime_set_fail_at(struct runtime *r, int n)
{
        r->fail_at = n;
}

char *runtime_log_path(struct runtime *r, struct id id, int n)
{
        const struct container *c = map_get_id(&r->containers, id);

        if (!c || c->is_removing || n < 0 || n >= SHIM_LOG_FILES_MAX)
                return NULL;
        return n ? xasprintf("%s/c/%s/log.%d", r->root, ID_S(id), n)
                 : xasprintf("%s/c/%s/log", r->root, ID_S(id));
}

char **runtime_layers(struct runtime *r, struct id id)
{
        struct container *c = map_get_id(&r->containers, id);
        _cleanup_buf_ struct buf b = {0};
        char **layers = NULL;

        if (!c || c->folder_fd < 0 ||
            io_read_file(c->folder_fd, "layers", LAYERS_FILE_MAX, &b) < 0 || b.len == 0 ||
            b.data[b.len - 1] != 0)
                return NULL;
        for (size_t at = 0; at < b.len; at += strlen((const char *)b.data + at) + 1)
                strv_push(&layers, (const char *)b.data + at);
        return layers;
}

/* The process is the one of the pidfd as long as that still answers after the opening. */
int runtime_netns(struct runtime *r, struct id id)
{
        struct container *c = map_get_id(&r->containers, id);
        char path[64];

        if (!c || c->phase != PHASE_RUNNING || c->pidfd < 0)
                return -ESRCH;
        snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)c->pid);
        int fd = open(path, O_RDONLY | O_CLOEXEC);

        if (fd < 0)
                return errno == ENOENT ? -ESRCH : -errno;
        if (syscall(SYS_pidfd_send_signal, c->pidfd, 0, NULL, 0) < 0) {
                close(fd);
                return -ESRCH;
        }
        return fd;
}
