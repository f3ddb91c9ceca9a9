/*
 * The images of a node: see image_store.h. An image is asked for, its config is fetched and checked
 * against what came with the assignments, its layers are made ready (layers.c), and only then is
 * the image's own file written: what has a file at start is whole.
 */
#include "agent/image/image_store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/image/image_internal.h"
#include "shared/base/io.h"
#include "shared/base/log.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/base/time.h"
#include "shared/wire/wire.h"

#define IMAGE_FILE_MAX (1u << 20)

/* What came with the assignments; the oldest is forgotten beyond IMAGE_KNOWN_MAX. */
struct known {
        char *id;
        Swarm__Image *msg;
        struct list link;
};

struct image {
        char *id;
        struct image_store *store;
        Swarm__Image *msg;
        struct image_config *config; /* NULL: not here yet */
        uint32_t refs;
        bool is_ready;
        struct layer **layers; /* those that were got so far, lowest first */
        size_t n_layers, n_missing;
        struct layer_wait *waits; /* one a layer */
        char **paths;
        struct list asks; /* image_ask.link */
        struct fetch *config_fetch;
        int config_fd;
};

struct image_ref {
        struct image *image;
};

struct layers_hold {
        struct layer **layers;
        size_t n;
};

struct image_ask {
        struct list link;
        struct image_store *store;
        image_ask_fn *done;
        void *arg;
        struct image *image; /* decided: a ref, or NULL and err */
        struct err err;
};

struct image_store {
        struct loop *loop;
        struct image_store_config config;
        char *dir;
        int dir_fd;
        struct fetcher *fetcher;
        struct layer_set *layers;
        struct map images, known; /* by id */
        struct list known_order;
        struct list decided; /* asks to be answered from the loop */
        struct loop_timer *timer;
        bool is_swept;
};

/* --- images ------------------------------------------------------------------------------------
 */
static struct image *image_new(struct image_store *s, const char *id, const Swarm__Image *msg)
{
        struct image *i = xnew(struct image);

        i->id = xstrdup(id);
        i->store = s;
        i->msg = wire_dup(msg);
        i->layers = xnew_array(struct layer *, msg->n_layers);
        i->waits = xnew_array(struct layer_wait, msg->n_layers);
        i->config_fd = -1;
        list_init(&i->asks);
        map_put(&s->images, i);
        return i;
}

static void drop_config_file(struct image *i)
{
        _cleanup_free_ char *tmp = xasprintf("tmp/%s.config", digest_hex(i->id));

        if (i->config_fd < 0)
                return;
        close(i->config_fd);
        i->config_fd = -1;
        unlinkat(i->store->dir_fd, tmp, 0);
}

static void image_free(struct image *i)
{
        map_remove(&i->store->images, i);
        if (i->config_fetch)
                fetch_cancel(i->config_fetch);
        drop_config_file(i);
        for (size_t k = 0; k < i->n_layers; k++) {
                if (i->waits[k].link.next)
                        layer_unwait(&i->waits[k]);
                layer_release(i->layers[k]);
        }
        image_config_free(i->config);
        wire_free(i->msg);
        free(i->layers);
        free(i->waits);
        free(i->paths);
        free(i->id);
        free(i);
}

/* Bounds, and that its ids are ids: names of files are made of them. */
static int check_image(const Swarm__Image *m, struct err *err)
{
        if (m->n_layers == 0 || m->n_layers > IMAGE_LAYERS_MAX)
                return err_set(err, EINVAL, "has %zu layers", m->n_layers);
        if (m->config_size <= 0 || m->config_size > IMAGE_CONFIG_MAX)
                return err_set(err, EINVAL, "its config has %lld bytes", (long long)m->config_size);
        for (size_t i = 0; i < m->n_layers; i++) {
                const Swarm__Layer *l = m->layers[i];

                if (!digest_is_valid(l->digest) || !digest_is_valid(l->diff_id))
                        return err_set(err, EINVAL, "layer %zu has no digest", i);
                if (l->size <= 0 || l->size > FETCH_SIZE_MAX)
                        return err_set(err, EINVAL, "layer %zu has %lld bytes", i,
                                       (long long)l->size);
        }
        return 0;
}

static int check_config(const struct image *i, const struct image_config *c, struct err *err)
{
        bool fits = strv_len(c->diff_ids) == i->msg->n_layers;

        for (size_t k = 0; fits && k < i->msg->n_layers; k++)
                fits = str_is_equal(c->diff_ids[k], i->msg->layers[k]->diff_id);
        return fits ? 0 : err_set(err, EBADMSG, "its config names other layers");
}

static void set_paths(struct image *i)
{
        size_t n = 0;

        i->paths = xnew_array(char *, i->n_layers + 1);
        for (size_t k = 0; k < i->n_layers; k++) {
                size_t above = k + 1;

                /* A layer that comes again further up counts only there: overlayfs takes a folder
                 * once, and the upper one covers the lower. */
                while (above < i->n_layers && i->layers[above] != i->layers[k])
                        above++;
                if (above == i->n_layers)
                        i->paths[n++] = i->layers[k]->path;
        }
}

/* --- answering asks ----------------------------------------------------------------------------
 */
static void decide(struct image_store *s, struct image_ask *a, struct image *i,
                   const struct err *err)
{
        if (i)
                i->refs++;
        a->image = i;
        if (err)
                a->err = *err;
        list_push_back(&s->decided, &a->link);
        loop_timer_set(s->timer, 0);
}

static void decide_all(struct image *i, const struct err *err)
{
        struct list *l;

        while ((l = list_pop_front(&i->asks)))
                decide(i->store, LIST_ITEM(l, struct image_ask, link), err ? NULL : i, err);
}

static void answer(struct image_ask *a)
{
        struct image_ref *ref = NULL;

        if (a->image) {
                ref = xnew(struct image_ref);
                ref->image = a->image;
        }
        a->done(a->arg, ref, ref ? NULL : &a->err);
        free(a);
}

static void on_timer(void *arg)
{
        struct image_store *s = arg;
        struct list *l;

        while ((l = list_pop_front(&s->decided)))
                answer(LIST_ITEM(l, struct image_ask, link));
}

/* --- making an image ready ----------------------------------------------------------------------
 */
static void fail(struct image *i, const struct err *err)
{
        struct err text = *err;

        err_wrap(&text, "image %.19s", i->id);
        decide_all(i, &text);
        image_free(i);
}

static int write_files(struct image *i, const uint8_t *config, size_t n, struct err *err)
{
        _cleanup_free_ char *config_name = xasprintf("configs/%s", digest_hex(i->id));
        int r = io_write_file_atomic(i->store->dir_fd, config_name, config, n, 0600);

        return r < 0 ? err_set(err, -r, "config: %s", err_name(r)) : 0;
}

static void finish(struct image *i)
{
        _cleanup_free_ char *name = xasprintf("images/%s", digest_hex(i->id));
        _cleanup_buf_ struct buf packed = {0};
        struct err err = {0};
        int r;

        WIRE_PACK(i->msg, &packed);
        r = io_write_file_atomic(i->store->dir_fd, name, packed.data, packed.len, 0600);
        if (r < 0) {
                err_set(&err, -r, "%s", err_name(r));
                fail(i, &err);
                return;
        }
        i->is_ready = true;
        set_paths(i);
        decide_all(i, NULL);
}

static void on_layer(void *arg, const struct err *err)
{
        struct image *i = arg;

        if (err)
                fail(i, err);
        else if (--i->n_missing == 0)
                finish(i);
}

static void get_layers(struct image *i)
{
        i->n_missing = 1; /* so that it does not end before all were asked for */
        for (size_t k = 0; k < i->msg->n_layers; k++) {
                struct layer_wait *w = &i->waits[k];

                list_init(&w->link);
                w->done = on_layer;
                w->arg = i;
                i->layers[k] = layer_get(i->store->layers, i->msg->layers[k], w);
                i->n_layers++;
                i->n_missing += !i->layers[k]->is_ready;
        }
        on_layer(i, NULL);
}

static int take_config(struct image *i, struct err *err)
{
        _cleanup_free_ char *tmp = xasprintf("tmp/%s.config", digest_hex(i->id));
        _cleanup_buf_ struct buf json = {0};
        struct image_config *c;
        int r = io_read_file(i->store->dir_fd, tmp, IMAGE_CONFIG_MAX, &json);

        if (r < 0)
                return err_set(err, -r, "config: %s", err_name(r));
        r = image_config_parse(json.data, json.len, &c, err);
        if (r < 0)
                return r;
        r = check_config(i, c, err);
        if (r == 0)
                r = write_files(i, json.data, json.len, err);
        if (r < 0) {
                image_config_free(c);
                return r;
        }
        i->config = c;
        return 0;
}

static void on_config(void *arg, const struct err *err)
{
        struct image *i = arg;
        struct err own = {0};

        i->config_fetch = NULL;
        if (!err && take_config(i, &own) < 0)
                err = &own;
        if (err) {
                fail(i, err);
                return;
        }
        drop_config_file(i);
        get_layers(i);
}

static int start_image(struct image_store *s, const char *id, const Swarm__Image *msg,
                       struct image **ret, struct err *err)
{
        _cleanup_free_ char *tmp = xasprintf("tmp/%s.config", digest_hex(id));
        int flags = O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, fd;
        int r = check_image(msg, err);

        if (r < 0)
                return r;
        fd = openat(s->dir_fd, tmp, flags, 0600);
        if (fd < 0)
                return err_set(err, errno, "config: %s", err_name(errno));
        *ret = image_new(s, id, msg);
        (*ret)->config_fd = fd;
        (*ret)->config_fetch = fetch_start(s->fetcher, id, msg->config_size, fd, on_config, *ret);
        return 0;
}

/* --- the door ----------------------------------------------------------------------------------
 */
struct image_ask *image_ask(struct image_store *s, const char *image_id, image_ask_fn *done,
                            void *arg)
{
        struct image_ask *a = xnew(struct image_ask);
        struct image *i = map_get_str(&s->images, image_id);
        struct known *k = map_get_str(&s->known, image_id);
        int r = 0;

        a->store = s;
        a->done = done;
        a->arg = arg;
        list_init(&a->link);
        if (!digest_is_valid(image_id))
                r = err_set(&a->err, EINVAL, "image \"%.80s\": is no image id", image_id);
        else if (!i && !k)
                r = err_set(&a->err, ENOENT,
                            "image %.19s: is not here, and the manager has it no more", image_id);
        else if (!i && start_image(s, image_id, k->msg, &i, &a->err) < 0)
                r = err_wrap(&a->err, "image %.19s", image_id);
        if (r < 0)
                decide(s, a, NULL, NULL);
        else if (i->is_ready)
                decide(s, a, i, NULL);
        else
                list_push_back(&i->asks, &a->link);
        return a;
}

void image_ask_cancel(struct image_ask *a)
{
        list_remove(&a->link);
        if (a->image)
                a->image->refs--;
        free(a);
}

struct image_ref *image_ref_get(struct image_store *s, const char *image_id)
{
        struct image *i = map_get_str(&s->images, image_id);
        struct image_ref *ref;

        if (!i || !i->is_ready)
                return NULL;
        i->refs++;
        ref = xnew(struct image_ref);
        ref->image = i;
        return ref;
}

void image_ref_release(struct image_ref *r)
{
        if (r)
                r->image->refs--;
        free(r);
}

const struct image_config *image_ref_config(const struct image_ref *r)
{
        return r->image->config;
}

char *const *image_ref_layers(const struct image_ref *r)
{
        return r->image->paths;
}

static void known_free(struct image_store *s, struct known *k)
{
        map_remove(&s->known, k);
        list_remove(&k->link);
        wire_free(k->msg);
        free(k->id);
        free(k);
}

void image_store_learn(struct image_store *s, const Swarm__Image *image)
{
        struct known *k;

        if (!digest_is_valid(image->id) || map_get_str(&s->known, image->id))
                return;
        if (s->known.len >= IMAGE_KNOWN_MAX)
                known_free(s, LIST_ITEM(s->known_order.next, struct known, link));
        k = xnew(struct known);
        k->id = xstrdup(image->id);
        k->msg = wire_dup(image);
        map_put(&s->known, k);
        list_push_back(&s->known_order, &k->link);
}

void image_store_on_blob_data(struct image_store *s, const Swarm__BlobData *m)
{
        fetcher_on_data(s->fetcher, m);
}

void image_store_on_session(struct image_store *s)
{
        fetcher_on_session(s->fetcher);
}

static void remove_files(struct image_store *s, const char *hex)
{
        _cleanup_free_ char *image = xasprintf("images/%s", hex);
        _cleanup_free_ char *config = xasprintf("configs/%s", hex);

        unlinkat(s->dir_fd, image, 0); /* first: without it the rest is nothing */
        unlinkat(s->dir_fd, config, 0);
}

void image_store_prune(struct image_store *s)
{
        struct image *i;
        size_t n;

        if (!s->is_swept)
                return;
        MAP_FOREACH (i, n, &s->images) {
                if (i->refs > 0 || !i->is_ready)
                        continue;
                remove_files(s, digest_hex(i->id));
                image_free(i);
                n = 0;
        }
        layer_set_prune(s->layers);
}

void image_store_sweep(struct image_store *s)
{
        s->is_swept = true;
        layer_set_sweep(s->layers);
}

struct layers_hold *layers_hold_new(struct image_store *s, char *const *folders)
{
        struct layers_hold *h = xnew(struct layers_hold);
        _cleanup_strv_ char **all = folders ? NULL : layer_set_list(s->layers);
        char *const *names = folders ? folders : all;
        size_t n = strv_len(names);

        h->layers = xnew_array(struct layer *, n + 1);
        for (size_t i = 0; i < n; i++) {
                const char *slash = strrchr(names[i], '/');
                _cleanup_free_ char *id =
                        xasprintf(DIGEST_PREFIX "%s", slash ? slash + 1 : names[i]);

                h->layers[h->n] = layer_get_existing(s->layers, id);
                if (h->layers[h->n])
                        h->n++;
        }
        return h;
}

void layers_hold_free(struct layers_hold *h)
{
        if (!h)
                return;
        for (size_t i = 0; i < h->n; i++)
                layer_release(h->layers[i]);
        free(h->layers);
        free(h);
}

static void on_no_space(void *arg)
{
        log_warn("the disk is full: removing images that no task uses");
        image_store_prune(arg);
}

/* --- start and end ------------------------------------------------------------------------------
 */
/* An image of an earlier run. What does not fit together is forgotten, and fetched when asked for.
 */
static int load_image(struct image_store *s, const char *hex)
{
        _cleanup_free_ char *id = xasprintf(DIGEST_PREFIX "%s", hex);
        _cleanup_free_ char *name = xasprintf("images/%s", hex);
        _cleanup_free_ char *config_name = xasprintf("configs/%s", hex);
        _cleanup_buf_ struct buf packed = {0}, json = {0};
        struct err err = {0};
        int r = digest_is_valid(id) ? io_read_file(s->dir_fd, name, IMAGE_FILE_MAX, &packed)
                                    : -EINVAL;

        if (r == 0)
                r = io_read_file(s->dir_fd, config_name, IMAGE_CONFIG_MAX, &json);
        if (r < 0)
                return r;
        Swarm__Image *msg = wire_unpack_heap(&swarm__image__descriptor, packed.data, packed.len);
        if (!msg || check_image(msg, &err) < 0) {
                wire_free(msg);
                return -EBADMSG;
        }
        struct image *i = image_new(s, id, msg);
        wire_free(msg);
        r = image_config_parse(json.data, json.len, &i->config, &err);
        if (r == 0)
                r = check_config(i, i->config, &err);
        for (size_t k = 0; r == 0 && k < i->msg->n_layers; k++) {
                i->layers[k] = layer_get_existing(s->layers, i->msg->layers[k]->diff_id);
                if (i->layers[k])
                        i->n_layers++;
                else
                        r = -ENOENT;
        }
        if (r < 0) {
                image_free(i);
                return r;
        }
        i->is_ready = true;
        set_paths(i);
        return 0;
}

static void load_images(struct image_store *s)
{
        _cleanup_strv_ char **names = NULL;
        int fd = openat(s->dir_fd, "images", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *dir = fd < 0 ? NULL : fdopendir(fd);
        struct dirent *e;

        while (dir && (e = readdir(dir)))
                if (e->d_name[0] != '.')
                        strv_push(&names, e->d_name);
        if (dir)
                closedir(dir);
        for (char **n = names; n && *n; n++) {
                int r = load_image(s, *n);

                if (r < 0) {
                        log_warn("image %.12s is not whole, forgotten: %s", *n, err_name(r));
                        remove_files(s, *n);
                }
        }
}

/* What was half made goes out of the way in one step, and is removed in the background. */
static int make_folders(struct image_store *s)
{
        static const char *const names[] = {"layers", "images", "configs", "trash", "tmp"};
        char *trash = xasprintf("trash/%lld", (long long)time_now().wall_ms);

        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                if (str_is_equal(names[i], "tmp")) {
                        renameat(s->dir_fd, "tmp", s->dir_fd, trash);
                        free(trash);
                        trash = xstrdup("trash");
                        remove_in_background(s->loop, s->dir_fd, &trash);
                }
                if (mkdirat(s->dir_fd, names[i], 0700) < 0 && errno != EEXIST) {
                        int r = -errno;

                        free(trash);
                        return r;
                }
        }
        return 0;
}

int image_store_open(struct loop *l, const struct image_store_config *c, struct image_store **ret,
                     struct err *err)
{
        int r = io_mkdir_all(c->dir, 0700), fd;

        if (r < 0)
                return err_set(err, -r, "%s: %s", c->dir, err_name(r));
        fd = open(c->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return err_set(err, errno, "%s: %s", c->dir, err_name(errno));
        struct image_store *s = xnew(struct image_store);
        s->loop = l;
        s->config = *c;
        s->dir = xstrdup(c->dir);
        s->dir_fd = fd;
        s->images = MAP_INIT(struct image, id, MAP_KEY_STR);
        s->known = MAP_INIT(struct known, id, MAP_KEY_STR);
        list_init(&s->known_order);
        list_init(&s->decided);
        r = make_folders(s);
        if (r < 0) {
                err_set(err, -r, "%s: %s", c->dir, err_name(r));
                close(fd);
                free(s->dir);
                free(s);
                return r;
        }
        s->timer = loop_timer_new(l, on_timer, s);
        s->fetcher = fetcher_new(l, c->fetch, c->arg);
        s->layers = layer_set_new(&(struct layer_set_config){.loop = l,
                                                             .fetcher = s->fetcher,
                                                             .dir = s->dir,
                                                             .dir_fd = s->dir_fd,
                                                             .unpack_path = c->unpack_path,
                                                             .on_no_space = on_no_space,
                                                             .arg = s});
        load_images(s);
        *ret = s;
        return 0;
}

void image_store_close(struct image_store *s)
{
        struct err err = {0};
        struct image *i;
        size_t n;

        err_set(&err, ECANCELED, "the agent ends");
        MAP_FOREACH (i, n, &s->images) {
                decide_all(i, &err);
                image_free(i);
                n = 0;
        }
        on_timer(s);
        while (!list_is_empty(&s->known_order))
                known_free(s, LIST_ITEM(s->known_order.next, struct known, link));
        layer_set_free(s->layers);
        fetcher_free(s->fetcher);
        loop_timer_free(s->timer);
        map_done(&s->images);
        map_done(&s->known);
        close(s->dir_fd);
        free(s->dir);
        free(s);
}
