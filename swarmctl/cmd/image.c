/* The commands of the noun "image": import, inspect, load, ls, rm, tag. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "shared/base/mem.h"
#include "shared/base/parse.h"
#include "shared/base/str.h"
#include "shared/base/time.h"
#include "shared/image/archive.h"
#include "shared/image/image.h"
#include "shared/wire/wire.h"
#include "swarmctl/cmd/cmd.h"
#include "swarmctl/cmd/image_upload.h"
#include "swarmctl/cmd/list.h"
#include "swarmctl/output/output.h"

/* --- load, import -------------------------------------------------------------------------------
 */
static void print_loaded(const struct archive_image *i, char *const *names)
{
        _cleanup_buf_ struct buf out = {0};

        if (!*names)
                buf_printf(&out, "Loaded image ID: %s\n", i->msg->id);
        for (; *names; names++)
                buf_printf(&out, "Loaded image: %s\n", *names);
        output_flush(&out);
}

/* The names to load an image under: its own, or the one that was asked for. */
static int load_one(struct ctl *ctl, struct image_archive *a, size_t i, const char *tag,
                    bool is_quiet)
{
        const struct archive_image *image = image_archive_get(a, i);
        char *one[] = {(char *)tag, NULL}, *none[] = {NULL};
        char *const *names = tag ? one : image->names ? image->names : none;
        int r = upload_image(ctl, a, image, names, *names ? *names : image->msg->id, is_quiet);

        if (r == 0)
                print_loaded(image, names);
        for (char **bad = image->bad_names; r == 0 && !tag && bad && *bad; bad++)
                ctl_warn(ctl, "%s: a name in the archive is left out: %s", image->msg->id, *bad);
        return r;
}

static bool is_platform(const char *s)
{
        const char *slash = strchr(s, '/');

        return slash && slash != s && slash[1] && !strchr(slash + 1, '/');
}

static int run_load(struct ctl *ctl, const struct args *args)
{
        const char *path = args_text(args, "input"), *name = args_text(args, "tag");
        const char *platform = args_text(args, "platform");
        _cleanup_free_ char *tag = NULL;
        struct image_archive *a;
        struct err err = {0};
        int r = 0;

        if (args->n_rest > 0 && path)
                return ctl_usage(ctl, "the archive is named twice");
        path = args->n_rest > 0 ? args->rest[0] : path;
        if (!path && isatty(STDIN_FILENO))
                return ctl_usage(ctl, "name an archive, or give one on standard input");
        if (name && image_name_normalize(name, &tag, &err) < 0)
                return ctl_usage(ctl, "%s", err.text);
        if (platform && !is_platform(platform))
                return ctl_usage(ctl, "invalid value \"%s\" for --platform: must be OS/ARCH",
                                 platform);
        if (image_archive_open(path ? path : "-", platform, &a, &err) < 0)
                return ctl_fail(ctl, CLIENT_EXIT_REFUSED, "%s", err.text);
        if (tag && image_archive_count(a) > 1)
                r = ctl_fail(ctl, CLIENT_EXIT_REFUSED,
                             "%s: has %zu images: --tag can name only one", path ? path : "-",
                             image_archive_count(a));
        for (size_t i = 0; r == 0 && i < image_archive_count(a); i++)
                r = load_one(ctl, a, i, tag, args_on(args, "quiet"));
        image_archive_close(a);
        return r;
}

static int run_import(struct ctl *ctl, const struct args *args)
{
        _cleanup_buf_ struct buf out = {0};
        _cleanup_free_ char *name = NULL;
        struct image_archive *a;
        struct err err = {0};

        if (image_name_normalize(args->rest[0], &name, &err) < 0)
                return ctl_usage(ctl, "%s", err.text);
        if (image_archive_import(name, args->rest[1], args_get(args, "change")->list, &a, &err) < 0)
                return ctl_fail(ctl, CLIENT_EXIT_REFUSED, "%s", err.text);
        const struct archive_image *i = image_archive_get(a, 0);
        int r = upload_image(ctl, a, i, i->names, i->names[0], args_on(args, "quiet"));
        if (r == 0) {
                buf_printf(&out, "%s\n", i->msg->id);
                output_flush(&out);
        }
        image_archive_close(a);
        return r;
}

/* --- ls ------------------------------------------------------------------------------------------
 */
static const struct column ls_columns[] = {
        {"Repository", "REPOSITORY", false},
        {"Tag", "TAG", false},
        {"ID", "IMAGE ID", false},
        {"CreatedSince", "CREATED", false},
        {"Size", "SIZE", false},
        {"CreatedAt", "CREATED AT", true},
        {"Platform", "PLATFORM", true},
        {0},
};

/* "sha256:0123456789ab…" as the twelve digits that Docker shows. */
static const char *short_id(const char *id)
{
        return digest_is_valid(id) ? digest_hex(id) : id;
}

static void add_row(struct listing *l, const Swarm__Image *i, const char *name, bool is_whole)
{
        const char *colon = name ? strrchr(name, ':') : NULL;
        char size[FORMAT_MAX], time[TEXT_TIME_MAX], ago[64];

        listing_add(l, doc_image(i, NULL, 0));
        listing_set(l, "Repository", "%.*s", colon ? (int)(colon - name) : 6,
                    colon ? name : "<none>");
        listing_set(l, "Tag", "%s", colon ? colon + 1 : "<none>");
        if (is_whole)
                listing_set(l, "ID", "%s", i->id);
        else
                listing_set(l, "ID", "%.*s", ID_SHORT_LEN, short_id(i->id));
        listing_set(l, "CreatedSince", "%s", text_ago(i->created_ms, time_now().wall_ms, ago));
        listing_set(l, "CreatedAt", "%s", text_time(i->created_ms, time));
        listing_set(l, "Size", "%s%s", format_size(image_size(i), size),
                    i->is_missing ? " (missing)" : "");
        listing_set(l, "Platform", "%s/%s", i->os, i->arch);
}

/* REPOSITORY alone takes all its tags. */
static bool is_wanted(const char *name, const char *wanted)
{
        size_t n = strlen(wanted);

        return str_is_equal(name, wanted) ||
               (str_has_prefix(name, wanted) && name[n] == ':' && !strchr(name + n, '/'));
}

static void list_image(struct listing *l, struct buf *ids, const Swarm__Image *i,
                       const char *wanted, bool is_whole)
{
        bool is_listed = false;

        for (size_t k = 0; k < i->n_names; k++) {
                if (wanted && !is_wanted(i->names[k], wanted))
                        continue;
                add_row(l, i, i->names[k], is_whole);
                is_listed = true;
        }
        if (i->n_names == 0 && !wanted) {
                add_row(l, i, NULL, is_whole);
                is_listed = true;
        }
        if (is_listed && is_whole)
                buf_printf(ids, "%s\n", i->id);
        else if (is_listed)
                buf_printf(ids, "%.*s\n", ID_SHORT_LEN, short_id(i->id));
}

/* Newest first, as Docker lists them; then by id, so that equal states give equal lists. */
static int compare_images(const void *a, const void *b)
{
        const Swarm__Image *x = *(Swarm__Image *const *)a, *y = *(Swarm__Image *const *)b;

        if (x->created_ms != y->created_ms)
                return x->created_ms > y->created_ms ? -1 : 1;
        return strcmp(x->id, y->id);
}

/* All images of an answer, sorted; borrowed from it. */
static Swarm__Image **sort_images(const struct responses *parts, size_t *ret_n)
{
        Swarm__Image **all = NULL;
        size_t n = 0;

        for (size_t i = 0; i < parts->n; i++) {
                const Swarm__Response *r = parts->v[i];

                if (r->kind_case != SWARM__RESPONSE__KIND_IMAGES || r->images->n_images == 0)
                        continue;
                all = xreallocarray(all, n + r->images->n_images, sizeof(*all));
                memcpy(all + n, r->images->images, r->images->n_images * sizeof(*all));
                n += r->images->n_images;
        }
        if (n > 0)
                qsort(all, n, sizeof(*all), compare_images);
        *ret_n = n;
        return all;
}

static int run_ls(struct ctl *ctl, const struct args *args)
{
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__Empty empty = SWARM__EMPTY__INIT;
        _cleanup_responses_ struct responses parts = {0};
        _cleanup_listing_ struct listing *l = NULL;
        _cleanup_buf_ struct buf out = {0}, ids = {0};
        const char *wanted = args->n_rest > 0 ? args->rest[0] : NULL;
        struct err err = {0};
        size_t n;
        int r;

        if (listing_new(ls_columns, args_text(args, "format"), &l, &err) < 0)
                return ctl_usage(ctl, "%s", err.text);
        q.kind_case = SWARM__REQUEST__KIND_IMAGE_LIST;
        q.image_list = &empty;
        r = list_call(ctl, &q, &parts);
        if (r != 0)
                return r;
        _cleanup_free_ Swarm__Image **images = sort_images(&parts, &n);
        for (size_t i = 0; i < n; i++)
                list_image(l, &ids, images[i], wanted, args_on(args, "no-trunc"));
        if (!args_on(args, "quiet") && listing_print(l, &out, &err) < 0)
                return ctl_fail(ctl, CLIENT_EXIT_REFUSED, "%s", err.text);
        output_flush(args_on(args, "quiet") ? &ids : &out);
        return 0;
}

/* --- inspect, tag, rm
 * ------------------------------------------------------------------------------ */
/* *ret: the response that owns *ret_image. Returns 0 or an exit code after ctl_fail. */
static int get_image(struct ctl *ctl, char *ref, Swarm__Response **ret, Swarm__Image **ret_image)
{
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__RefList refs = SWARM__REF_LIST__INIT;
        int r;

        refs.refs = &ref;
        refs.n_refs = 1;
        q.kind_case = SWARM__REQUEST__KIND_IMAGE_GET;
        q.image_get = &refs;
        r = ctl_call(ctl, &q, ret);
        if (r != 0)
                return r;
        *ret_image = NULL;
        if ((*ret)->kind_case == SWARM__RESPONSE__KIND_IMAGE)
                *ret_image = (*ret)->image->image;
        else if ((*ret)->kind_case == SWARM__RESPONSE__KIND_IMAGES && (*ret)->images->n_images == 1)
                *ret_image = (*ret)->images->images[0];
        if (*ret_image)
                return 0;
        wire_free(*ret);
        return ctl_fail(ctl, CLIENT_EXIT_REFUSED,
                        "image %s: the manager's answer is of another kind", ref);
}

/* The config is a blob, and is read as such. */
static int get_config(struct ctl *ctl, const Swarm__Image *image, struct buf *ret)
{
        while ((int64_t)ret->len < image->config_size && ret->len < IMAGE_CONFIG_MAX) {
                Swarm__Request q = SWARM__REQUEST__INIT;
                Swarm__BlobGet m = SWARM__BLOB_GET__INIT;
                Swarm__Response *response = NULL;
                int r;

                m.digest = image->id;
                m.offset = ret->len;
                q.kind_case = SWARM__REQUEST__KIND_BLOB_GET;
                q.blob_get = &m;
                r = ctl_call(ctl, &q, &response);
                if (r != 0)
                        return r;
                bool has_data = response->kind_case == SWARM__RESPONSE__KIND_BLOB_DATA &&
                                response->blob_data->data.len > 0;
                if (has_data)
                        buf_append(ret, response->blob_data->data.data,
                                   response->blob_data->data.len);
                wire_free(response);
                if (!has_data)
                        return ctl_fail(ctl, CLIENT_EXIT_REFUSED,
                                        "image %.19s: its config ends early", image->id);
        }
        return 0;
}

static int inspect_one(struct ctl *ctl, char *ref, struct inspection *in)
{
        _cleanup_buf_ struct buf config = {0};
        Swarm__Response *response = NULL;
        Swarm__Image *image;
        int r = get_image(ctl, ref, &response, &image);

        if (r != 0)
                return r;
        r = get_config(ctl, image, &config);
        if (r == 0)
                inspection_add(in, doc_image(image, config.data, config.len));
        wire_free(response);
        return r;
}

static int run_inspect(struct ctl *ctl, const struct args *args)
{
        _cleanup_inspection_ struct inspection in;
        _cleanup_buf_ struct buf out = {0};
        struct err err = {0};
        int r = 0;

        inspection_init(&in);
        for (size_t i = 0; i < args->n_rest; i++) {
                int one = inspect_one(ctl, args->rest[i], &in);

                r = one ? one : r;
        }
        if (inspection_print(&in, args_text(args, "format"), &out, &err) < 0)
                return ctl_usage(ctl, "%s", err.text);
        output_flush(&out);
        return r;
}

static int run_tag(struct ctl *ctl, const struct args *args)
{
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__ImageCreate m = SWARM__IMAGE_CREATE__INIT;
        Swarm__Response *response = NULL;
        _cleanup_free_ char *name = NULL;
        struct err err = {0};
        int r;

        if (image_name_normalize(args->rest[1], &name, &err) < 0)
                return ctl_usage(ctl, "%s", err.text);
        r = get_image(ctl, args->rest[0], &response, &m.image);
        if (r != 0)
                return r;
        m.name = name;
        q.kind_case = SWARM__REQUEST__KIND_IMAGE_CREATE;
        q.image_create = &m;
        r = ctl_call(ctl, &q, NULL);
        wire_free(response);
        return r;
}

static int run_rm(struct ctl *ctl, const struct args *args)
{
        _cleanup_buf_ struct buf out = {0};
        int r = 0;

        for (size_t i = 0; i < args->n_rest; i++) {
                Swarm__Request q = SWARM__REQUEST__INIT;
                Swarm__ImageRemove m = SWARM__IMAGE_REMOVE__INIT;

                m.ref = args->rest[i];
                m.force = args_on(args, "force");
                q.kind_case = SWARM__REQUEST__KIND_IMAGE_REMOVE;
                q.image_remove = &m;
                int one = ctl_call(ctl, &q, NULL);
                if (one == 0)
                        buf_printf(&out, "%s\n", args->rest[i]);
                r = one ? one : r;
        }
        output_flush(&out);
        return r;
}

/* --- the table
 * ------------------------------------------------------------------------------------- */
static const struct flag load_flags[] = {
        {"input", 'i', FLAG_STRING, "Read from this archive, not from standard input", NULL},
        {"platform", 0, FLAG_STRING, "Load the image for OS/ARCH, not the one for this machine",
         NULL},
        {"quiet", 'q', FLAG_BOOL, "Show no progress", NULL},
        {"tag", 't', FLAG_STRING, "Name the archive's image NAME[:TAG], whatever its own name",
         NULL},
        {0},
};

static const struct flag import_flags[] = {
        {"change", 'c', FLAG_LIST, "A line of a Dockerfile for its config: CMD, ENV, USER, ...",
         NULL},
        {"quiet", 'q', FLAG_BOOL, "Show no progress", NULL},
        {0},
};

static const struct flag ls_flags[] = {
        {"format", 0, FLAG_STRING, "table, json, or a template", NULL},
        {"no-trunc", 0, FLAG_BOOL, "Do not shorten ids", NULL},
        {"quiet", 'q', FLAG_BOOL, "Only show image ids", NULL},
        {0},
};

static const struct flag inspect_flags[] = {
        {"format", 'f', FLAG_STRING, "json, or a template", NULL},
        {0},
};

static const struct flag rm_flags[] = {
        {"force", 'f', FLAG_BOOL, "Remove it though services use it", NULL},
        {0},
};

const struct command cmd_image[] = {
        {.noun = "image",
         .verb = "import",
         .usage = "NAME[:TAG] ROOTFS.tar|-",
         .summary = "Make an image of a root file system's tar",
         .args_min = 2,
         .args_max = 2,
         .flags = {{import_flags}},
         .run = run_import},
        {.noun = "image",
         .verb = "inspect",
         .usage = "IMAGE [IMAGE...]",
         .summary = "Show all there is to know about images",
         .args_min = 1,
         .args_max = -1,
         .flags = {{inspect_flags}},
         .run = run_inspect},
        {.noun = "image",
         .verb = "load",
         .usage = "[ARCHIVE|-]",
         .summary = "Load images from a docker-archive or an OCI layout (tar or folder)",
         .args_max = 1,
         .flags = {{load_flags}},
         .run = run_load},
        {.noun = "image",
         .verb = "ls",
         .alias = "list",
         .usage = "[REPOSITORY[:TAG]]",
         .summary = "List images",
         .args_max = 1,
         .flags = {{ls_flags}},
         .run = run_ls},
        {.noun = "image",
         .verb = "rm",
         .alias = "remove",
         .usage = "IMAGE [IMAGE...]",
         .summary = "Remove images",
         .args_min = 1,
         .args_max = -1,
         .flags = {{rm_flags}},
         .run = run_rm},
        {.noun = "image",
         .verb = "tag",
         .usage = "IMAGE NAME[:TAG]",
         .summary = "Give an image one more name",
         .args_min = 2,
         .args_max = 2,
         .run = run_tag},
        {0},
};
