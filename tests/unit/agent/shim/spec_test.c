/* The supervisor's check of its spec: what the agent encodes passes, what is damaged never leads
 * out of the spec's bytes. */
#include <string.h>

/* The file itself: the supervisor is a program apart, and its objects are musl's. */
#include "agent/shim/spec.c"

#include "agent/runtime/runtime_internal.h"
#include "tests/lib/unit.h"

#define ROUNDS 200000

static void encode(struct buf *ret)
{
        struct cgroups none = {0};
        struct encode_extra x = {.cgroups = &none,
                                 .cgroup_name = "x",
                                 .boot_id = "boot",
                                 .folder = "/folder",
                                 .base_layer = "/base",
                                 .caps = CAPS_DEFAULT};
        struct container_mount m = {.type = MOUNT_TMPFS, .target = "/t"};
        struct container_ulimit u = {"nofile", 1, 2};
        struct container_config c = {.layers = (char *[]){"/layer", NULL},
                                     .argv = (char *[]){"a", "", "c", NULL},
                                     .env = (char *[]){"A=b", NULL},
                                     .mounts = &m,
                                     .n_mounts = 1,
                                     .ulimits = &u,
                                     .n_ulimits = 1};
        struct err err = {0};

        assert_int_equal(spec_encode(&c, &x, ret, &err), 0);
}

/* Reads all that a spec refers to; a wrong offset shows under the sanitizers. */
static size_t read_all(const struct shim_spec *s)
{
        const struct shim_list *lists[] = {&s->argv,   &s->env,     &s->layers,
                                           &s->groups, &s->sysctls, &s->cgroups};
        size_t n = strlen(spec_text(s, s->name)) + strlen(spec_text(s, s->workdir)) +
                   strlen(spec_text(s, s->user)) + strlen(spec_text(s, s->folder));

        for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
                for (uint32_t k = 0; k < lists[i]->count; k++)
                        n += strlen(spec_item(s, lists[i], k));
        const struct shim_mount *m = (const void *)((const char *)s + s->mounts.offset);

        for (uint32_t i = 0; i < s->mounts.count; i++)
                n += strlen(spec_text(s, m[i].target)) + strlen(spec_text(s, m[i].source));
        return n;
}

static void test_good(void **state)
{
        _cleanup_buf_ struct buf b = {0};

        (void)state;
        encode(&b);
        assert_int_equal(shim_spec_check(b.data, b.len), 0);
        const struct shim_spec *s = (const void *)b.data;

        assert_int_equal(s->argv.count, 3);
        assert_string_equal(spec_item(s, &s->argv, 0), "a");
        assert_string_equal(spec_item(s, &s->argv, 1), "");
        assert_int_equal(s->layers.count, 2);
        assert_string_equal(spec_item(s, &s->layers, 0), "/base");
        assert_true(read_all(s) > 0);
}

static void test_truncated(void **state)
{
        _cleanup_buf_ struct buf b = {0};

        (void)state;
        encode(&b);
        for (size_t n = 0; n < b.len; n++)
                assert_int_equal(shim_spec_check(b.data, n), -EBADMSG);
        assert_int_equal(shim_spec_check(b.data, b.len + 1), -EBADMSG);
}

static void test_damaged(void **state)
{
        _cleanup_buf_ struct buf b = {0};
        struct rng rng = {.state = 1};
        size_t passed = 0, refused = 0;

        (void)state;
        encode(&b);
        for (int i = 0; i < ROUNDS; i++) {
                _cleanup_free_ uint8_t *copy = xmemdup(b.data, b.len);

                for (uint64_t k = rng_below(&rng, 4) + 1; k > 0; k--)
                        copy[rng_below(&rng, b.len)] = (uint8_t)rng_next(&rng);
                if (shim_spec_check(copy, b.len) == 0) {
                        passed++;
                        read_all((const struct shim_spec *)(const void *)copy);
                } else {
                        refused++;
                }
        }
        assert_true(passed > 0);
        assert_true(refused > 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_good),
                cmocka_unit_test(test_truncated),
                cmocka_unit_test(test_damaged),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
