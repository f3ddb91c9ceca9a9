/* image: digests, names of images, and what is read of an image's config. */
#include "tests/lib/unit.h"

#include <errno.h>
#include <string.h>

#include "shared/base/buf.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/image/image.h"
#include "shared/model/model.h"

#define DIFF_ID "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define ROOTFS  "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"" DIFF_ID "\"]}"

static void test_digest(void **state UNUSED)
{
        char text[DIGEST_TEXT_LEN + 1];
        struct digest *d = digest_new();

        digest_of("", 0, text);
        assert_string_equal(text, DIFF_ID);
        digest_update(d, "a", 1);
        digest_update(d, "bc", 2);
        digest_finish(d, text);
        assert_string_equal(
                text, "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_true(digest_is_valid(text));
        assert_string_equal(digest_hex(text), text + 7);
        text[8] = 'A';
        assert_false(digest_is_valid(text));
        assert_false(digest_is_valid("sha256:12"));
        assert_false(digest_is_valid("sha512:"));
        assert_false(digest_is_valid(NULL));
}

static void test_names(void **state UNUSED)
{
        static const struct {
                const char *in, *out; /* NULL: refused */
        } cases[] = {
                {"busybox", "busybox:latest"},
                {"busybox:1.36", "busybox:1.36"},
                {"docker.io/library/busybox", "busybox:latest"},
                {"index.docker.io/team/app:v1", "team/app:v1"},
                {"localhost:5000/a/b__c:V_1.2-x", "localhost:5000/a/b__c:V_1.2-x"},
                {"Reg.Example.com/a--b", "Reg.Example.com/a--b:latest"},
                {"", NULL},
                {"UPPER", NULL},
                {"a//b", NULL},
                {"/a", NULL},
                {"a/", NULL},
                {"a___b", NULL},
                {"a..b", NULL},
                {"-a", NULL},
                {"a:", NULL},
                {"a:-x", NULL},
                {"a:b:c", NULL},
                {"a b", NULL},
                {"a\n", NULL},
                {"../etc", NULL},
                {"host.com:x/a", NULL},
                {"host.com:/a", NULL},
                {"-h.com/a", NULL},
                {"a@" DIFF_ID, NULL},
                {DIFF_ID, NULL},
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct err err = {0};
                _cleanup_free_ char *got = NULL;
                int r = image_name_normalize(cases[i].in, &got, &err);

                if (!cases[i].out) {
                        assert_int_equal(r, -EINVAL);
                        assert_non_null(strstr(err.text, "image name"));
                        continue;
                }
                assert_int_equal(r, 0);
                assert_string_equal(got, cases[i].out);
        }
}

static void test_long_names(void **state UNUSED)
{
        char name[400];
        char *got;
        struct err err = {0};

        memset(name, 'a', sizeof(name));
        name[sizeof(name) - 1] = 0;
        assert_int_equal(image_name_normalize(name, &got, &err), -EINVAL);
        memcpy(name, "a:", 2);
        name[2 + 129] = 0;
        assert_int_equal(image_name_normalize(name, &got, &err), -EINVAL);
        name[2 + 128] = 0;
        assert_int_equal(image_name_normalize(name, &got, &err), 0);
        free(got);
}

static struct image_config *parse(const char *json, struct err *err)
{
        struct image_config *c = NULL;

        memset(err, 0, sizeof(*err));
        return image_config_parse((const uint8_t *)json, strlen(json), &c, err) < 0 ? NULL : c;
}

static void test_config(void **state UNUSED)
{
        struct err err;
        struct image_config *c = parse(
                "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{"
                "\"Entrypoint\":[\"/bin/httpd\",\"-f\"],\"Cmd\":[\"-p\",\"80\"],"
                "\"Env\":[\"PATH=/bin\",\"EMPTY=\"],\"User\":\"www:www\",\"WorkingDir\":\"/srv\","
                "\"StopSignal\":\"SIGINT\",\"ExposedPorts\":{\"80/tcp\":{}},"
                "\"Volumes\":{\"/data\":{}},\"Labels\":null,\"Healthcheck\":{\"Test\":"
                "[\"CMD-SHELL\",\"wget -q localhost\"],\"Interval\":1500000000,"
                "\"Timeout\":1,\"StartPeriod\":2000000000,\"Retries\":4}}," ROOTFS "}",
                &err);

        assert_non_null(c);
        assert_string_equal(c->os, "linux");
        assert_string_equal(c->arch, "amd64");
        assert_string_equal(c->entrypoint[1], "-f");
        assert_int_equal(strv_len(c->cmd), 2);
        assert_string_equal(c->env[1], "EMPTY=");
        assert_string_equal(c->user, "www:www");
        assert_string_equal(c->workdir, "/srv");
        assert_string_equal(c->stop_signal, "SIGINT");
        assert_string_equal(c->exposed_ports[0], "80/tcp");
        assert_string_equal(c->volumes[0], "/data");
        assert_string_equal(c->diff_ids[0], DIFF_ID);
        assert_int_equal(c->health->type, HEALTH_SHELL);
        assert_int_equal(c->health->n_cmd, 1);
        assert_int_equal(c->health->interval_ms, 1500);
        assert_int_equal(c->health->timeout_ms, 1); /* never rounded down to "the default" */
        assert_int_equal(c->health->start_period_ms, 2000);
        assert_int_equal(c->health->retries, 4);
        image_config_free(c);
}

static void test_small_configs(void **state UNUSED)
{
        struct err err;
        struct image_config *c = parse("{" ROOTFS "}", &err);

        assert_non_null(c);
        assert_null(c->health);
        assert_null(c->cmd);
        assert_null(c->user);
        image_config_free(c);
        c = parse("{\"config\":{\"User\":\"\",\"Cmd\":null,\"Healthcheck\":{\"Test\":[\"NONE\"]}}"
                  "," ROOTFS "}",
                  &err);
        assert_non_null(c);
        assert_null(c->user);
        assert_int_equal(c->health->type, HEALTH_NONE);
        image_config_free(c);
        c = parse("{\"config\":{\"Healthcheck\":{\"Test\":[\"CMD\",\"a\",\"b\"]}}," ROOTFS "}",
                  &err);
        assert_non_null(c);
        assert_int_equal(c->health->type, HEALTH_CMD);
        assert_string_equal(c->health->cmd[1], "b");
        image_config_free(c);
}

static void test_bad_configs(void **state UNUSED)
{
        static const struct {
                const char *json, *why;
        } cases[] = {
                {"", "not JSON"},
                {"{", "not JSON"},
                {"[]", "must be an object"},
                {"{}", "has no layers"},
                {"{\"rootfs\":{\"diff_ids\":[\"../../etc\"]}}", "is no digest"},
                {"{\"rootfs\":[]}", "must be an object"},
                {"{\"os\":\"a\",\"os\":\"b\"}", "not JSON"},
                {"{\"os\":1," ROOTFS "}", "os: must be a string"},
                {"{\"config\":{\"Cmd\":\"sh\"}," ROOTFS "}", "Cmd: must be a list"},
                {"{\"config\":{\"Cmd\":[1]}," ROOTFS "}", "list of strings"},
                {"{\"config\":{\"Env\":[\"A\"]}," ROOTFS "}", "is not KEY=VALUE"},
                {"{\"config\":{\"User\":\"a\\nb\"}," ROOTFS "}", "control characters"},
                {"{\"config\":{\"Cmd\":[\"a\\u0000b\"]}," ROOTFS "}", "not JSON"},
                {"{\"config\":{\"Healthcheck\":{\"Test\":[\"RUN\"]}}," ROOTFS "}", "begin with"},
                {"{\"config\":{\"Healthcheck\":{\"Interval\":-1}}," ROOTFS "}", "negative"},
                {"{\"config\":{\"Healthcheck\":{\"Retries\":-1}}," ROOTFS "}", "Retries"},
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct err err;

                assert_null(parse(cases[i].json, &err));
                assert_true(str_has_prefix(err.text, "image config: "));
                if (!strstr(err.text, cases[i].why))
                        fail_msg("\"%s\" is not in \"%s\"", cases[i].why, err.text);
        }
        assert_int_equal(
                image_config_parse((const uint8_t *)"[", 1, &(struct image_config *){NULL}, NULL),
                -EINVAL);
}

/* Text that is small but would be large in memory, or deep on the stack. */
static void test_json_bombs(void **state UNUSED)
{
        _cleanup_buf_ struct buf deep = {0}, wide = {0}, large = {0};
        struct image_config *c = NULL;
        struct err err;

        for (int i = 0; i < 100000; i++)
                buf_putc(&deep, '[');
        assert_null(parse(buf_str(&deep), &err));
        assert_non_null(strstr(err.text, "deeper"));
        buf_puts(&wide, "{\"a\":[[]");
        for (int i = 0; i < 1000000; i++)
                buf_puts(&wide, ",[]");
        buf_puts(&wide, "]}");
        assert_null(parse(buf_str(&wide), &err));
        assert_non_null(strstr(err.text, "more than"));
        buf_reserve(&large, IMAGE_CONFIG_MAX + 1);
        memset(large.data, ' ', IMAGE_CONFIG_MAX + 1);
        assert_int_equal(image_config_parse(large.data, IMAGE_CONFIG_MAX + 1, &c, &err), -EFBIG);
}

static void test_too_many_layers(void **state UNUSED)
{
        _cleanup_buf_ struct buf json = {0};
        struct err err;

        buf_puts(&json, "{\"rootfs\":{\"diff_ids\":[\"" DIFF_ID "\"");
        for (int i = 0; i < IMAGE_LAYERS_MAX; i++)
                buf_puts(&json, ",\"" DIFF_ID "\"");
        buf_puts(&json, "]}}");
        assert_null(parse(buf_str(&json), &err));
        assert_non_null(strstr(err.text, "more than 128"));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_digest),        cmocka_unit_test(test_names),
                cmocka_unit_test(test_long_names),    cmocka_unit_test(test_config),
                cmocka_unit_test(test_small_configs), cmocka_unit_test(test_bad_configs),
                cmocka_unit_test(test_json_bombs),    cmocka_unit_test(test_too_many_layers),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
