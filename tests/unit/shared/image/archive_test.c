/*
 * archive: docker-archives and OCI layouts, made by hand (to break them in every way) and by the
 * tools that people use; and images made of a root file system.
 */
#include "tests/lib/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shared/base/io.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/image/archive.h"
#include "shared/image/image.h"
#include "shared/image/layer.h"
#include "tests/lib/tar.h"

#define NOT_THERE "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

/* The parts of an archive of one image, to be written out as they are or after a change. */
struct world {
        char path[64];
        char *file; /* path/archive */
        struct buf layer, config, manifest, index;
        char layer_digest[DIGEST_TEXT_LEN + 1], config_digest[DIGEST_TEXT_LEN + 1];
        char manifest_digest[DIGEST_TEXT_LEN + 1];
        struct err err;
        struct image_archive *a;
        const char *platform; /* that is asked for */
};

static int set_up(void **state)
{
        struct world *w = xnew(struct world);

        snprintf(w->path, sizeof(w->path), "/tmp/archive-test-XXXXXX");
        assert_non_null(mkdtemp(w->path));
        w->file = xasprintf("%s/archive", w->path);
        tar_file(&w->layer, "hello", "world");
        tar_end(&w->layer);
        digest_of(w->layer.data, w->layer.len, w->layer_digest);
        buf_printf(
                &w->config,
                "{\"os\":\"linux\",\"architecture\":\"amd64\",\"rootfs\":{\"diff_ids\":[\"%s\"]}}",
                w->layer_digest);
        digest_of(w->config.data, w->config.len, w->config_digest);
        *state = w;
        return 0;
}

static int tear_down(void **state)
{
        struct world *w = *state;

        image_archive_close(w->a);
        assert_int_equal(io_remove_tree(AT_FDCWD, w->path), 0);
        buf_done(&w->layer);
        buf_done(&w->config);
        buf_done(&w->manifest);
        buf_done(&w->index);
        free(w->file);
        free(w);
        return 0;
}

static void write_file(const char *path, const struct buf *b)
{
        assert_int_equal(io_write_file_atomic(AT_FDCWD, path, b->data, b->len, 0600), 0);
}

static void add_bytes(struct buf *tar, const char *name, const struct buf *b)
{
        tar_add(tar,
                &(struct tar_entry){
                        .name = name, .type = '0', .mode = 0644, .data = b->data, .n = b->len});
}

static int try_open(struct world *w, const char *path)
{
        image_archive_close(w->a);
        w->a = NULL;
        memset(&w->err, 0, sizeof(w->err));
        return image_archive_open(path, w->platform, &w->a, &w->err);
}

static void assert_opens(struct world *w, const char *path)
{
        if (try_open(w, path) < 0)
                fail_msg("%s", w->err.text);
}

static void assert_refused(struct world *w, const char *path, const char *why)
{
        assert_true(try_open(w, path) < 0);
        assert_null(w->a);
        assert_true(str_has_prefix(w->err.text, path)); /* names what it could not read */
        if (!strstr(w->err.text, why))
                fail_msg("\"%s\" is not in \"%s\"", why, w->err.text);
}

static int append(void *arg, const void *p, size_t n)
{
        buf_append(arg, p, n);
        return 0;
}

static void assert_layer(struct world *w, size_t image, size_t layer, const struct buf *want)
{
        const Swarm__Layer *l = image_archive_get(w->a, image)->msg->layers[layer];
        _cleanup_buf_ struct buf got = {0};

        assert_int_equal(image_archive_read(w->a, l->digest, 0, append, &got, &w->err), 0);
        assert_int_equal(got.len, want->len);
        assert_int_equal(l->size, want->len);
        assert_memory_equal(got.data, want->data, want->len);
        buf_clear(&got); /* and its end */
        assert_int_equal(image_archive_read(w->a, l->digest, 10, append, &got, &w->err), 0);
        assert_int_equal(got.len, want->len - 10);
        assert_memory_equal(got.data, want->data + 10, got.len);
}

/* --- docker -------------------------------------------------------------------------------------
 */
static void write_docker(struct world *w, const char *manifest, const char *layer_name)
{
        _cleanup_buf_ struct buf tar = {0}, text = {0};

        buf_puts(&text, manifest);
        add_bytes(&tar, layer_name, &w->layer);
        add_bytes(&tar, "config.json", &w->config);
        add_bytes(&tar, "manifest.json", &text);
        tar_end(&tar);
        write_file(w->file, &tar);
}

#define MANIFEST(layers) \
        "[{\"Config\":\"config.json\",\"RepoTags\":[\"my/app:1\",\"b\"],\"Layers\":" layers "}]"

static void test_docker_archive(void **state)
{
        struct world *w = *state;

        write_docker(w, MANIFEST("[\"abc/layer.tar\"]"), "abc/layer.tar");
        assert_opens(w, w->file);
        assert_int_equal(image_archive_count(w->a), 1);
        const struct archive_image *i = image_archive_get(w->a, 0);
        assert_string_equal(i->msg->id, w->config_digest);
        assert_string_equal(i->names[0], "my/app:1");
        assert_string_equal(i->names[1], "b:latest");
        assert_string_equal(i->msg->arch, "amd64");
        assert_int_equal(i->msg->config_size, w->config.len);
        assert_string_equal(i->msg->layers[0]->digest, w->layer_digest);
        assert_string_equal(i->msg->layers[0]->diff_id, w->layer_digest);
        assert_layer(w, 0, 0, &w->layer);
        _cleanup_buf_ struct buf got = {0};
        assert_int_equal(image_archive_read(w->a, i->msg->id, 0, append, &got, &w->err), 0);
        assert_memory_equal(got.data, w->config.data, w->config.len);
        assert_int_equal(image_archive_read(w->a, NOT_THERE, 0, append, &got, &w->err), -ENOENT);
}

static void test_docker_links_and_compressed_layers(void **state)
{
        struct world *w = *state;
        _cleanup_buf_ struct buf tar = {0}, text = {0}, gz = {0};

        test_compress("gzip", w->layer.data, w->layer.len, &gz);
        buf_puts(&text, MANIFEST("[\"abc/layer.tar\"]"));
        add_bytes(&tar, "./real.tar", &gz);
        tar_link(&tar, "./def/layer.tar", "../real.tar");
        tar_hardlink(&tar, "./abc/layer.tar", "./def/layer.tar");
        add_bytes(&tar, "./config.json", &w->config);
        add_bytes(&tar, "./manifest.json", &text);
        tar_end(&tar);
        write_file(w->file, &tar);
        assert_opens(w, w->file);
        assert_layer(w, 0, 0, &gz);
        assert_non_null(strstr(image_archive_get(w->a, 0)->msg->layers[0]->media_type, "tar+gzip"));
}

static void test_bad_docker_archives(void **state)
{
        struct world *w = *state;
        static const struct {
                const char *manifest, *why;
        } cases[] = {
                {"", "not JSON"},
                {"{}", "must be a list"},
                {"[]", "must be a list with an image"},
                {"[1]", "list of objects"},
                {"[{}]", "Config: is missing"},
                {"[{\"Config\":\"nothing.json\"}]", "nothing.json: is not in the archive"},
                {"[{\"Config\":\"manifest.json\"}]", "image config"},
                {MANIFEST("[]"), "fewer layers than its config"},
                {MANIFEST("[\"missing.tar\"]"), "missing.tar: is not in the archive"},
                {MANIFEST("[\"../../etc/passwd\"]"), "is not in the archive"},
                {MANIFEST("[\"l\",\"l\"]"), "more layers than its config"},
                {MANIFEST("[\"config.json\"]"), "wrong content"},
                {MANIFEST("\"l\""), "Layers: must be a list"},
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                write_docker(w, cases[i].manifest, "l");
                assert_refused(w, w->file, cases[i].why);
        }
}

/* --- OCI ----------------------------------------------------------------------------------------
 */
static void set_manifest(struct world *w)
{
        buf_clear(&w->manifest);
        buf_printf(&w->manifest,
                   "{\"config\":{\"digest\":\"%s\",\"size\":%zu},\"layers\":[{\"mediaType\":"
                   "\"application/vnd.oci.image.layer.v1.tar\",\"digest\":\"%s\",\"size\":%zu}]}",
                   w->config_digest, w->config.len, w->layer_digest, w->layer.len);
        digest_of(w->manifest.data, w->manifest.len, w->manifest_digest);
}

static void set_index(struct world *w, const char *more)
{
        buf_clear(&w->index);
        buf_printf(&w->index, "{\"manifests\":[{\"digest\":\"%s\",\"size\":%zu%s}]}",
                   w->manifest_digest, w->manifest.len, more);
}

static void write_blob(struct world *w, const char *digest, const struct buf *b)
{
        _cleanup_free_ char *path =
                xasprintf("%s/oci/blobs/sha256/%s", w->path, digest_hex(digest));

        write_file(path, b);
}

/* As a folder; returns its path. */
static char *write_oci(struct world *w)
{
        _cleanup_free_ char *blobs = xasprintf("%s/oci/blobs/sha256", w->path);
        _cleanup_free_ char *index = xasprintf("%s/oci/index.json", w->path);

        assert_int_equal(io_mkdir_all(blobs, 0700), 0);
        write_blob(w, w->layer_digest, &w->layer);
        write_blob(w, w->config_digest, &w->config);
        write_blob(w, w->manifest_digest, &w->manifest);
        write_file(index, &w->index);
        return xasprintf("%s/oci", w->path);
}

static void test_oci_folder(void **state)
{
        struct world *w = *state;

        set_manifest(w);
        set_index(w, ",\"annotations\":{\"org.opencontainers.image.ref.name\":\"my/app:2\"}");
        _cleanup_free_ char *path = write_oci(w);
        assert_opens(w, path);
        assert_int_equal(image_archive_count(w->a), 1);
        assert_string_equal(image_archive_get(w->a, 0)->names[0], "my/app:2");
        assert_layer(w, 0, 0, &w->layer);
        /* A tag alone names nothing; containerd's whole name does. */
        set_index(w, ",\"annotations\":{\"org.opencontainers.image.ref.name\":\"latest\"}");
        free(write_oci(w));
        assert_opens(w, path);
        assert_null(image_archive_get(w->a, 0)->names);
        set_index(w, ",\"annotations\":{\"io.containerd.image.name\":\"docker.io/library/x:1\","
                     "\"org.opencontainers.image.ref.name\":\"1\"}");
        free(write_oci(w));
        assert_opens(w, path);
        assert_string_equal(image_archive_get(w->a, 0)->names[0], "x:1");
}

static void test_oci_nested_index(void **state)
{
        struct world *w = *state;
        _cleanup_buf_ struct buf nested = {0};
        char digest[DIGEST_TEXT_LEN + 1];

        set_manifest(w);
        buf_printf(&nested,
                   "{\"manifests\":[{\"digest\":\"" NOT_THERE "\",\"size\":1,\"platform\":{\"os\":"
                   "\"plan9\",\"architecture\":\"none\"}},"
                   "{\"digest\":\"" NOT_THERE "\",\"size\":1,\"annotations\":"
                   "{\"vnd.docker.reference.type\":\"attestation-manifest\"}},"
                   "{\"digest\":\"%s\",\"size\":%zu}]}",
                   w->manifest_digest, w->manifest.len);
        digest_of(nested.data, nested.len, digest);
        buf_printf(&w->index, "{\"manifests\":[{\"digest\":\"%s\",\"size\":%zu}]}", digest,
                   nested.len);
        _cleanup_free_ char *path = write_oci(w);
        write_blob(w, digest, &nested);
        assert_opens(w, path);
        assert_string_equal(image_archive_get(w->a, 0)->msg->id, w->config_digest);
        /* For another machine only. */
        set_index(w, ",\"platform\":{\"os\":\"plan9\",\"architecture\":\"none\"}");
        buf_clear(&nested);
        buf_append(&nested, w->index.data, w->index.len);
        digest_of(nested.data, nested.len, digest);
        buf_clear(&w->index);
        buf_printf(&w->index, "{\"manifests\":[{\"digest\":\"%s\",\"size\":%zu}]}", digest,
                   nested.len);
        free(write_oci(w));
        write_blob(w, digest, &nested);
        assert_refused(w, path, "has no image for linux/");
}

/* Of an index of several the one that is asked for, whatever machine this is; no other is taken. */
static void test_oci_of_a_platform(void **state)
{
        struct world *w = *state;

        memcpy(strstr(buf_str(&w->config), "amd64"), "s390x", 5);
        digest_of(w->config.data, w->config.len, w->config_digest);
        set_manifest(w);
        buf_printf(&w->index,
                   "{\"manifests\":[{\"digest\":\"" NOT_THERE "\",\"size\":1,\"platform\":{\"os\":"
                   "\"linux\",\"architecture\":\"amd64\"}},{\"digest\":\"%s\",\"size\":%zu,"
                   "\"platform\":{\"os\":\"linux\",\"architecture\":\"s390x\"}}]}",
                   w->manifest_digest, w->manifest.len);
        _cleanup_free_ char *path = write_oci(w);
        w->platform = "linux/s390x";
        assert_opens(w, path);
        assert_int_equal(image_archive_count(w->a), 1);
        assert_string_equal(image_archive_get(w->a, 0)->msg->arch, "s390x");
        set_index(w, "");
        free(write_oci(w));
        assert_opens(w, path);
        w->platform = "linux/arm64";
        assert_refused(w, path, "has an image for linux/s390x, not for linux/arm64");
        w->platform = NULL;
        assert_opens(w, path);
}

static void test_index_that_names_itself(void **state)
{
        struct world *w = *state;
        _cleanup_buf_ struct buf inner = {0};
        char digest[DIGEST_TEXT_LEN + 1];

        set_manifest(w);
        set_index(w, "");
        /* An index of an index of an index …, deeper than is followed. */
        for (int i = 0; i < 6; i++) {
                buf_clear(&inner);
                buf_append(&inner, w->index.data, w->index.len);
                digest_of(inner.data, inner.len, digest);
                free(write_oci(w));
                write_blob(w, digest, &inner);
                buf_clear(&w->index);
                buf_printf(&w->index, "{\"manifests\":[{\"digest\":\"%s\",\"size\":%zu}]}", digest,
                           inner.len);
        }
        _cleanup_free_ char *path = write_oci(w);
        assert_refused(w, path, "nested deeper");
}

static void test_bad_oci(void **state)
{
        struct world *w = *state;
        static const struct {
                const char *index, *why;
        } cases[] = {
                {"", "not JSON"},
                {"{}", "names no image"},
                {"{\"manifests\":{}}", "must be a list"},
                {"{\"manifests\":[1]}", "must be an object"},
                {"{\"manifests\":[{}]}", "must be sha256"},
                {"{\"manifests\":[{\"digest\":\"sha256:../../x\"}]}", "must be sha256"},
                {"{\"manifests\":[{\"digest\":\"" NOT_THERE "\",\"size\":5}]}",
                 "is not in the archive"},
        };
        set_manifest(w);
        set_index(w, "");
        _cleanup_free_ char *path = write_oci(w);

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                buf_clear(&w->index);
                buf_puts(&w->index, cases[i].index);
                free(write_oci(w));
                assert_refused(w, path, cases[i].why);
        }
        set_index(w, "");
        w->manifest.data[3] ^= 1; /* wrong digest of the manifest */
        free(write_oci(w));
        assert_refused(w, path, "wrong content");
        buf_putc(&w->manifest, ' '); /* and size */
        free(write_oci(w));
        assert_refused(w, path, "bytes, not");
        set_manifest(w);
        buf_putc(&w->layer, 0); /* size of the layer */
        free(write_oci(w));
        assert_refused(w, path, "bytes, not");
        w->layer.len--;
        w->layer.data[600] ^= 1; /* its digest: seen when it is read */
        free(write_oci(w));
        assert_opens(w, path);
        _cleanup_buf_ struct buf got = {0};
        assert_int_equal(image_archive_read(w->a, w->layer_digest, 0, append, &got, &w->err),
                         -EBADMSG);
        assert_non_null(strstr(w->err.text, "wrong content"));
}

static void test_manifests_of_other_things(void **state)
{
        struct world *w = *state;
        static const char *const manifests[][2] = {
                {"{}", "without config or layers"},
                {"[]", ""},
                {"{\"config\":{\"digest\":\"" NOT_THERE "\",\"size\":0},\"layers\":[]}",
                 "is not in the archive"},
        };

        for (size_t i = 0; i < ARRAY_SIZE(manifests); i++) {
                buf_clear(&w->manifest);
                buf_puts(&w->manifest, manifests[i][0]);
                digest_of(w->manifest.data, w->manifest.len, w->manifest_digest);
                set_index(w, "");
                _cleanup_free_ char *path = write_oci(w);
                assert_refused(w, path, manifests[i][1]);
        }
        buf_clear(&w->manifest);
        buf_printf(&w->manifest,
                   "{\"config\":{\"digest\":\"%s\",\"size\":%zu},\"layers\":[{\"mediaType\":"
                   "\"application/vnd.oci.image.layer.v1.tar+encrypted\",\"digest\":\"%s\","
                   "\"size\":%zu}]}",
                   w->config_digest, w->config.len, w->layer_digest, w->layer.len);
        digest_of(w->manifest.data, w->manifest.len, w->manifest_digest);
        set_index(w, "");
        _cleanup_free_ char *path = write_oci(w);
        assert_refused(w, path, "cannot unpack a layer of type");
}

/* --- files that are no archives
 * ------------------------------------------------------------------- */
static void test_no_archives(void **state)
{
        struct world *w = *state;
        _cleanup_buf_ struct buf b = {0}, gz = {0};

        assert_refused(w, "/does/not/exist", "no such file");
        assert_refused(w, "/dev/null", "neither a file nor a folder");
        assert_refused(w, w->path, "neither manifest.json nor index.json");
        write_file(w->file, &b);
        assert_refused(w, w->file, "not an image archive");
        buf_puts(&b, "this is a text and not a tar, whatever its name says");
        write_file(w->file, &b);
        assert_refused(w, w->file, "not an image archive");
        test_compress("gzip", b.data, b.len, &gz);
        write_file(w->file, &gz);
        assert_refused(w, w->file, "not an image archive");
        buf_clear(&b);
        tar_file(&b, "a", "b");
        tar_end(&b);
        write_file(w->file, &b);
        assert_refused(w, w->file, "neither manifest.json nor index.json");
        /* A link to a file of the host is not followed out of the archive. */
        buf_clear(&b);
        tar_link(&b, "manifest.json", "/etc/passwd");
        tar_end(&b);
        write_file(w->file, &b);
        assert_refused(w, w->file, "not an image archive");
        _cleanup_free_ char *link = xasprintf("%s/index.json", w->path);
        assert_int_equal(symlink("/etc/passwd", link), 0);
        assert_refused(w, w->path, "not an image archive");
        /* Links in a circle end. */
        buf_clear(&b);
        tar_link(&b, "manifest.json", "x");
        tar_link(&b, "x", "manifest.json");
        tar_end(&b);
        write_file(w->file, &b);
        assert_refused(w, w->file, "not an image archive");
}

static void test_cut_anywhere(void **state)
{
        struct world *w = *state;
        _cleanup_buf_ struct buf whole = {0};

        write_docker(w, MANIFEST("[\"l\"]"), "l");
        assert_int_equal(io_read_file(AT_FDCWD, w->file, 1 << 20, &whole), 0);
        /* What matters ends with the manifest's block, before the two end blocks. */
        for (size_t n = 0; n < whole.len - 1024 - 511; n += 100) {
                struct buf part = {.data = whole.data, .len = n};

                write_file(w->file, &part);
                assert_true(try_open(w, w->file) < 0);
        }
}

static void test_too_many_entries(void **state)
{
        struct world *w = *state;
        _cleanup_buf_ struct buf tar = {0};

        for (int i = 0; i <= ARCHIVE_ENTRIES_MAX; i++)
                tar_dir(&tar, "d");
        tar_end(&tar);
        write_file(w->file, &tar);
        assert_refused(w, w->file, "more than 100000 entries");
}

/* --- import -------------------------------------------------------------------------------------
 */
static void test_import(void **state)
{
        static const char *const how[] = {"", "gzip", "zstd"};
        struct world *w = *state;

        for (size_t i = 0; i < ARRAY_SIZE(how); i++) {
                _cleanup_buf_ struct buf packed = {0};
                struct image_config *c;

                if (*how[i])
                        test_compress(how[i], w->layer.data, w->layer.len, &packed);
                else
                        buf_append(&packed, w->layer.data, w->layer.len);
                write_file(w->file, &packed);
                image_archive_close(w->a);
                w->a = NULL;
                assert_int_equal(image_archive_import("app", w->file, NULL, &w->a, &w->err), 0);
                const struct archive_image *image = image_archive_get(w->a, 0);
                assert_string_equal(image->names[0], "app:latest");
                assert_string_equal(image->msg->layers[0]->diff_id, w->layer_digest);
                assert_layer(w, 0, 0, &packed);
                assert_int_equal(image_config_parse(image->config, image->config_len, &c, &w->err),
                                 0);
                assert_string_equal(c->os, "linux");
                assert_string_equal(c->diff_ids[0], w->layer_digest);
                image_config_free(c);
        }
}

static void assert_import_refused(struct world *w, const char *name, const char *why)
{
        memset(&w->err, 0, sizeof(w->err));
        assert_true(image_archive_import(name, w->file, NULL, &w->a, &w->err) < 0);
        assert_null(w->a);
        if (!strstr(w->err.text, why))
                fail_msg("\"%s\" is not in \"%s\"", why, w->err.text);
}

static void test_bad_imports(void **state)
{
        struct world *w = *state;
        _cleanup_buf_ struct buf tar = {0};

        assert_import_refused(w, "app", "no such file");
        write_file(w->file, &w->layer);
        assert_import_refused(w, "Not A Name", "image name");
        write_file(w->file, &w->config);
        assert_import_refused(w, "app", "archive: damaged");
        tar_add(&tar, &(struct tar_entry){.name = "dev/null", .type = '3', .major = 1, .minor = 3});
        tar_end(&tar);
        write_file(w->file, &tar);
        assert_import_refused(w, "app", "dev/null: device nodes");
        buf_clear(&tar);
        tar_file(&tar, "../x", "bad");
        tar_end(&tar);
        write_file(w->file, &tar);
        assert_import_refused(w, "app", "leads out of the image");
        w->layer.len = 512 + 3;
        write_file(w->file, &w->layer);
        assert_import_refused(w, "app", "damaged");
}

static int import_with(struct world *w, const char *change)
{
        char *changes[] = {(char *)change, NULL};

        image_archive_close(w->a);
        w->a = NULL;
        memset(&w->err, 0, sizeof(w->err));
        return image_archive_import("app", w->file, changes, &w->a, &w->err);
}

static void test_import_changes(void **state)
{
        struct world *w = *state;
        char *changes[] = {(char *)"CMD [\"/bin/main\",\"a b\"]",
                           (char *)"entrypoint echo \"hi\"",
                           (char *)"ENV A=1 B=\"x y\"",
                           (char *)"ENV A 2 3",
                           (char *)"USER 7:8",
                           (char *)"WORKDIR /srv",
                           (char *)"STOPSIGNAL SIGINT",
                           (char *)"EXPOSE 80 53/udp",
                           (char *)"VOLUME /data",
                           (char *)"LABEL a=b",
                           (char *)"HEALTHCHECK CMD [\"true\"]",
                           NULL};
        struct image_config *c;

        write_file(w->file, &w->layer);
        assert_int_equal(image_archive_import("app", w->file, changes, &w->a, &w->err), 0);
        const struct archive_image *i = image_archive_get(w->a, 0);
        assert_false(i->msg->lacks_command);
        assert_int_equal(image_config_parse(i->config, i->config_len, &c, &w->err), 0);
        assert_string_equal(c->cmd[0], "/bin/main");
        assert_string_equal(c->cmd[1], "a b");
        assert_string_equal(c->entrypoint[1], "-c");
        assert_string_equal(c->entrypoint[2], "echo \"hi\"");
        assert_true(strv_has(c->env, "A=2 3"));
        assert_true(strv_has(c->env, "B=x y"));
        assert_int_equal(strv_len(c->env), 3); /* and the search path */
        assert_string_equal(c->user, "7:8");
        assert_string_equal(c->workdir, "/srv");
        assert_string_equal(c->stop_signal, "SIGINT");
        assert_true(strv_has(c->exposed_ports, "80/tcp"));
        assert_true(strv_has(c->exposed_ports, "53/udp"));
        assert_string_equal(c->volumes[0], "/data");
        assert_string_equal(c->health->cmd[0], "true");
        image_config_free(c);
        assert_true(import_with(w, "RUN x") < 0);
        assert_non_null(strstr(w->err.text, "must begin with CMD"));
        assert_int_equal(import_with(w, "USER 7"), 0);
        assert_true(image_archive_get(w->a, 0)->msg->lacks_command);
        assert_int_equal(import_with(w, "ENTRYPOINT /bin/main"), 0);
        assert_false(image_archive_get(w->a, 0)->msg->lacks_command);
        assert_true(import_with(w, "CMD") < 0);
        assert_non_null(strstr(w->err.text, "has no value"));
        assert_true(import_with(w, "ENV =x") < 0);
        assert_true(import_with(w, "HEALTHCHECK maybe") < 0);
        assert_true(import_with(w, "USER \xff") < 0);
}

/* --- real tools
 * ------------------------------------------------------------------------------------ */
static void run_script(const char *folder)
{
        int status;
        pid_t pid = fork();

        if (pid == 0) {
                /* Below the tools' own noise our TAP lines could not be read. */
                int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

                dup2(null, STDOUT_FILENO);
                execl("/bin/sh", "sh", "tests/unit/shared/image/real_archives.sh", folder, NULL);
                _exit(127);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
}

static int write_to(void *arg, const void *p, size_t n)
{
        return io_write_all(*(int *)arg, p, n);
}

/* Unpacks a layer of the image into a new folder; returns a descriptor of that. */
static int unpack(struct world *w, size_t layer)
{
        const Swarm__Layer *l = image_archive_get(w->a, 0)->msg->layers[layer];
        _cleanup_free_ char *folder = xasprintf("%s/layer%zu", w->path, layer);
        _cleanup_close_ int blob = test_memfd("", 0);
        struct layer_result result;

        assert_int_equal(io_remove_tree(AT_FDCWD, folder), 0);
        assert_int_equal(mkdir(folder, 0755), 0);
        int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(fd >= 0);
        assert_int_equal(image_archive_read(w->a, l->digest, 0, write_to, &blob, &w->err), 0);
        assert_int_equal(lseek(blob, 0, SEEK_SET), 0);
        if (layer_unpack(blob, fd, l->diff_id, LAYER_BYTES_MAX, &result, &w->err) < 0)
                fail_msg("%s", w->err.text);
        return fd;
}

static void check_real(struct world *w)
{
        const struct archive_image *i = image_archive_get(w->a, 0);
        struct image_config *c;
        struct stat st;

        assert_int_equal(image_archive_count(w->a), 1);
        assert_string_equal(i->names[0], "my/app:1");
        assert_int_equal(i->msg->n_layers, 2);
        assert_int_equal(image_config_parse(i->config, i->config_len, &c, &w->err), 0);
        assert_string_equal(c->cmd[0], "/bin/tool");
        assert_true(strv_has(c->env, "A=B"));
        assert_string_equal(c->user, "7:8");
        image_config_free(c);
        _cleanup_close_ int lower = unpack(w, 0), upper = unpack(w, 1);
        assert_int_equal(fstatat(lower, "bin/tool", &st, 0), 0);
        assert_int_equal(st.st_mode & 07777, 04755);
        assert_int_equal(fstatat(upper, "new", &st, 0), 0);
        assert_int_equal(fstatat(upper, "etc/motd", &st, AT_SYMLINK_NOFOLLOW), 0);
        assert_true(S_ISCHR(st.st_mode) && st.st_rdev == makedev(0, 0)); /* hidden */
}

static void test_real_archives(void **state)
{
        static const char *const names[] = {"oci",  "docker.tar",    "oci.tar",
                                            "zstd", "docker.tar.gz", "oci.tar.zst"};
        struct world *w = *state;

        run_script(w->path);
        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                _cleanup_free_ char *path = xasprintf("%s/%s", w->path, names[i]);

                assert_opens(w, path);
                check_real(w);
        }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_docker_archive),
                TEST(test_docker_links_and_compressed_layers),
                TEST(test_bad_docker_archives),
                TEST(test_oci_folder),
                TEST(test_oci_nested_index),
                TEST(test_oci_of_a_platform),
                TEST(test_index_that_names_itself),
                TEST(test_bad_oci),
                TEST(test_manifests_of_other_things),
                TEST(test_no_archives),
                TEST(test_cut_anywhere),
                TEST(test_too_many_entries),
                TEST(test_import),
                TEST(test_bad_imports),
                TEST(test_import_changes),
                TEST(test_real_archives),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
