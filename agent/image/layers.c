/*
 * Layers, each fetched and unpacked once however many images and containers want it: absent ->
 * fetch -> unpack (a child, agent/unpack/unpack.h) -> ready. Its folder gets its name only when it
 * is whole. What can fail: the fetch, the layer, the disk; then nothing of it is left.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/image/image_internal.h"
#include "agent/unpack/unpack.h"
#include "shared/base/io.h"
#include "shared/base/log.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/image/layer.h"

struct layer_set {
        struct layer_set_config config;
        struct map layers;  /* by diff id */
        struct list queued; /* layer.queue_link: fetched, to be unpacked */
        struct list broken; /* layer.queue_link: without a file, to be told so */
        struct loop_timer *soon;
        int n_unpacking;
        uint64_t n_removed; /* names for folders on their way out */
        bool is_closing;
};

struct removal {
        int dir_fd;
        char *name;
        int error;
};

static void remove_work(void *arg)
{
        struct removal *r = arg;

        r->error = io_remove_tree(r->dir_fd, r->name);
}

static void remove_done(void *arg)
{
        struct removal *r = arg;

        if (r->error < 0)
                log_warn("cannot remove %s: %s", r->name, err_name(r->error));
        close(r->dir_fd);
        free(r->name);
        free(r);
}

void remove_in_background(struct loop *l, int dir_fd, char **name)
{
        struct removal *r = xnew(struct removal);

        r->name = STEAL_PTR(*name);
        r->dir_fd = fcntl(dir_fd, F_DUPFD_CLOEXEC, 3);
        loop_work(l, remove_work, remove_done, r);
}

static void tell_broken(void *arg);

struct layer_set *layer_set_new(const struct layer_set_config *c)
{
        struct layer_set *s = xnew(struct layer_set);

        s->config = *c;
        s->soon = loop_timer_new(c->loop, tell_broken, s);
        list_init(&s->broken);
        s->layers = MAP_INIT(struct layer, diff_id, MAP_KEY_STR);
        list_init(&s->queued);
        return s;
}

static struct layer *layer_new(struct layer_set *s, const char *diff_id)
{
        struct layer *l = xnew(struct layer);

        l->set = s;
        l->diff_id = xstrdup(diff_id);
        l->path = xasprintf("%s/layers/%s", s->config.dir, digest_hex(diff_id));
        l->blob_name = xasprintf("tmp/%s.blob", digest_hex(diff_id));
        l->folder_name = xasprintf("tmp/%s.layer", digest_hex(diff_id));
        l->blob_fd = l->error_fd = -1;
        list_init(&l->waiters);
        list_init(&l->queue_link);
        map_put(&s->layers, l);
        return l;
}

static void layer_free(struct layer *l)
{
        map_remove(&l->set->layers, l);
        list_remove(&l->queue_link);
        if (l->fetch)
                fetch_cancel(l->fetch);
        if (l->blob_fd >= 0)
                close(l->blob_fd);
        if (l->error_fd >= 0)
                close(l->error_fd);
        free(l->diff_id);
        free(l->path);
        free(l->blob_name);
        free(l->folder_name);
        free(l);
}

void layer_set_free(struct layer_set *s)
{
        struct layer *l;
        size_t i;

        /* A child that still runs is ended; its exit is told to a set that frees itself then. */
        s->is_closing = true;
        loop_timer_free(STEAL_PTR(s->soon));
        MAP_FOREACH (l, i, &s->layers) {
                if (l->pid > 0) {
                        kill(l->pid, SIGKILL);
                        continue;
                }
                layer_free(l);
                i = 0;
        }
        if (s->n_unpacking > 0)
                return;
        map_done(&s->layers);
        free(s);
}

struct layer *layer_get_existing(struct layer_set *s, const char *diff_id)
{
        struct layer *l = map_get_str(&s->layers, diff_id);
        _cleanup_free_ char *name = xasprintf("layers/%s", digest_hex(diff_id));
        struct stat st;

        if (!l) {
                if (fstatat(s->config.dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
                    !S_ISDIR(st.st_mode))
                        return NULL;
                l = layer_new(s, diff_id);
                l->is_ready = true;
        }
        l->refs++;
        return l;
}

/* Out of the way at once, so that the name is free; then removed. */
static void remove_folder(struct layer_set *s, const char *hex)
{
        _cleanup_free_ char *from = xasprintf("layers/%s", hex);
        _cleanup_free_ char *to = xasprintf("tmp/%s.%llu", hex, (unsigned long long)++s->n_removed);

        if (renameat(s->config.dir_fd, from, s->config.dir_fd, to) < 0)
                log_warn("cannot remove layer %s: %s", hex, err_name(errno));
        else
                remove_in_background(s->config.loop, s->config.dir_fd, &to);
}

char **layer_set_list(struct layer_set *s)
{
        char **names = NULL;
        int fd = openat(s->config.dir_fd, "layers", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *dir = fd < 0 ? NULL : fdopendir(fd);
        struct dirent *e;

        while (dir && (e = readdir(dir)))
                if (e->d_name[0] != '.')
                        strv_push(&names, e->d_name);
        if (dir)
                closedir(dir);
        return names;
}

void layer_set_sweep(struct layer_set *s)
{
        _cleanup_strv_ char **names = layer_set_list(s);

        for (char **n = names; n && *n; n++) {
                _cleanup_free_ char *diff_id = xasprintf(DIGEST_PREFIX "%s", *n);

                if (!map_get_str(&s->layers, diff_id))
                        remove_folder(s, *n);
        }
}

/* Tells all that wait, and forgets the layer if nobody holds it. */
static void tell(struct layer *l, const struct err *err)
{
        struct list waiters, *w;

        list_init(&waiters);
        list_splice_back(&waiters, &l->waiters);
        l->refs++; /* it must outlive those who are told */
        while ((w = list_pop_front(&waiters))) {
                struct layer_wait *wait = LIST_ITEM(w, struct layer_wait, link);

                wait->done(wait->arg, err);
        }
        layer_release(l);
}

static void drop_blob(struct layer *l)
{
        if (l->blob_fd >= 0)
                close(l->blob_fd);
        l->blob_fd = -1;
        unlinkat(l->set->config.dir_fd, l->blob_name, 0);
}

static void fail(struct layer *l, const struct err *err)
{
        struct layer_set *s = l->set;
        bool is_full = err->code == ENOSPC || err->code == EDQUOT;

        drop_blob(l);
        tell(l, err);
        if (is_full)
                s->config.on_no_space(s->config.arg);
}

static void unpack_queued(struct layer_set *s);

static int name_folder(struct layer *l)
{
        struct layer_set *s = l->set;
        _cleanup_free_ char *to = xasprintf("layers/%s", digest_hex(l->diff_id));
        _cleanup_close_ int fd = -1;

        if (renameat(s->config.dir_fd, l->folder_name, s->config.dir_fd, to) < 0)
                return -errno;
        fd = openat(s->config.dir_fd, "layers", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

static void read_error(struct layer *l, int wait_status, struct err *err)
{
        char text[ERR_TEXT_MAX];
        ssize_t n = read(l->error_fd, text, sizeof(text) - 1);
        int code = WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == UNPACK_EXIT_NO_SPACE
                           ? ENOSPC
                           : EBADMSG;

        if (n > 0) {
                text[n] = 0;
                err_set(err, code, "layer %.19s: %s", l->diff_id, text);
        } else if (WIFSIGNALED(wait_status)) {
                err_set(err, EIO, "layer %.19s: the unpacker was killed by signal %d", l->diff_id,
                        WTERMSIG(wait_status));
        } else {
                err_set(err, EIO, "layer %.19s: the unpacker failed with status %d", l->diff_id,
                        WEXITSTATUS(wait_status));
        }
}

static void on_unpacked(void *arg, pid_t pid UNUSED, int wait_status)
{
        struct layer *l = arg;
        struct layer_set *s = l->set;
        struct err err = {0};
        int r = 0;

        l->pid = 0;
        s->n_unpacking--;
        if (s->is_closing) { /* what it made is removed at the next start */
                layer_free(l);
                layer_set_free(s);
                return;
        }
        if (wait_status != 0)
                read_error(l, wait_status, &err);
        else if ((r = name_folder(l)) < 0)
                err_set(&err, -r, "layer %.19s: %s", l->diff_id, err_name(r));
        close(l->error_fd);
        l->error_fd = -1;
        if (err.code) {
                char *name = xstrdup(l->folder_name);

                remove_in_background(s->config.loop, s->config.dir_fd, &name);
                fail(l, &err);
        } else {
                l->is_ready = true;
                drop_blob(l);
                tell(l, NULL);
        }
        unpack_queued(s);
}

static pid_t spawn_unpacker(struct layer *l, int folder_fd, int error_fd)
{
        struct layer_set *s = l->set;
        char max_bytes[24];
        char *argv[] = {(char *)(uintptr_t)s->config.unpack_path, l->diff_id, max_bytes, NULL};
        int fds[] = {l->blob_fd, folder_fd, error_fd};

        snprintf(max_bytes, sizeof(max_bytes), "%lld", (long long)LAYER_BYTES_MAX);
        return loop_spawn(s->config.loop, &(struct loop_spawn){.argv = argv,
                                                               .fds = fds,
                                                               .n_fds = ARRAY_SIZE(fds),
                                                               .on_exit = on_unpacked,
                                                               .arg = l});
}

/* A folder left over from a failure that is still being removed is moved out of the way. */
static int make_folder(struct layer *l)
{
        struct layer_set *s = l->set;
        int dir = s->config.dir_fd;

        if (mkdirat(dir, l->folder_name, 0755) < 0) {
                if (errno != EEXIST)
                        return -errno;
                char *to = xasprintf("%s.%llu", l->folder_name, (unsigned long long)++s->n_removed);
                if (renameat(dir, l->folder_name, dir, to) < 0) {
                        free(to);
                        return -errno;
                }
                remove_in_background(s->config.loop, dir, &to);
                if (mkdirat(dir, l->folder_name, 0755) < 0)
                        return -errno;
        }
        int fd = openat(dir, l->folder_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
}

static int start_unpacker(struct layer *l)
{
        int pipe_fds[2];
        _cleanup_close_ int folder = make_folder(l);

        if (folder < 0)
                return folder;
        if (lseek(l->blob_fd, 0, SEEK_SET) < 0 || pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) < 0)
                return -errno;
        l->error_fd = pipe_fds[0];
        pid_t pid = spawn_unpacker(l, folder, pipe_fds[1]);
        close(pipe_fds[1]);
        if (pid < 0)
                return pid;
        l->pid = pid;
        l->set->n_unpacking++;
        return 0;
}

static void unpack_queued(struct layer_set *s)
{
        while (s->n_unpacking < IMAGE_UNPACKS_MAX && !list_is_empty(&s->queued)) {
                struct layer *l = LIST_ITEM(list_pop_front(&s->queued), struct layer, queue_link);
                int r = start_unpacker(l);

                if (r < 0) {
                        struct err err = {0};

                        err_set(&err, -r, "layer %.19s: unpack: %s", l->diff_id, err_name(r));
                        fail(l, &err);
                }
        }
}

static void on_fetched(void *arg, const struct err *err)
{
        struct layer *l = arg;

        l->fetch = NULL;
        if (err) {
                fail(l, err);
                return;
        }
        list_push_back(&l->set->queued, &l->queue_link);
        unpack_queued(l->set);
}

/* Not inside the call that asked. Whoever is told may break others of them. */
static void tell_broken(void *arg)
{
        struct layer_set *s = arg;
        struct list broken, *link;

        list_init(&broken);
        list_splice_back(&broken, &s->broken);
        while ((link = list_pop_front(&broken))) {
                struct layer *l = LIST_ITEM(link, struct layer, queue_link);
                struct err err = {0};

                err_set(&err, l->error, "layer %.19s: cannot make a file for it: %s", l->diff_id,
                        err_name(l->error));
                fail(l, &err);
        }
}

static void start(struct layer *l, const Swarm__Layer *msg)
{
        int flags = O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC;

        l->blob_fd = openat(l->set->config.dir_fd, l->blob_name, flags, 0600);
        if (l->blob_fd < 0) {
                l->error = errno;
                list_push_back(&l->set->broken, &l->queue_link);
                loop_timer_set(l->set->soon, 0);
                return;
        }
        l->fetch = fetch_start(l->set->config.fetcher, msg->digest, msg->size, l->blob_fd,
                               on_fetched, l);
}

struct layer *layer_get(struct layer_set *s, const Swarm__Layer *msg, struct layer_wait *w)
{
        struct layer *l = map_get_str(&s->layers, msg->diff_id);
        bool is_new = !l;

        if (is_new)
                l = layer_new(s, msg->diff_id);
        l->refs++;
        if (!l->is_ready)
                list_push_back(&l->waiters, &w->link);
        if (is_new)
                start(l, msg);
        return l;
}

void layer_unwait(struct layer_wait *w)
{
        list_remove(&w->link);
}

/* One that is not ready and that nobody wants is given up, unless it is being unpacked: that ends
 * soon, and is of use. One that is ready stays, until it is pruned. */
void layer_release(struct layer *l)
{
        if (--l->refs > 0 || l->is_ready || l->pid > 0)
                return;
        if (l->fetch || l->blob_fd >= 0)
                drop_blob(l);
        layer_free(l);
}

void layer_set_prune(struct layer_set *s)
{
        struct layer *l;
        size_t i;

        MAP_FOREACH (l, i, &s->layers) {
                if (l->refs > 0 || !l->is_ready)
                        continue;
                remove_folder(s, digest_hex(l->diff_id));
                layer_free(l);
                i = 0;
        }
}
