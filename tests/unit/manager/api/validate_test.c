/* What a service may not ask for, each with its one line; and what it may. */
#include "tests/lib/unit.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "shared/base/base.h"
#include "tests/lib/turn_rig.h"

/* A good spec, and parts to spoil it with. */
struct sample {
        Swarm__ServiceSpec spec;
        Swarm__TaskSpec task;
        Swarm__ContainerSpec container;
        Swarm__Resources limits, reservations;
        Swarm__RestartPolicy restart;
        Swarm__Number number;
        Swarm__Placement placement;
        Swarm__UpdateConfig update;
        Swarm__Health health;
        Swarm__Mount mount[2];
        Swarm__Ulimit ulimit;
        Swarm__KeyValue pair;
        Swarm__GenericResource generic;
        char *long_text; /* heap */
};

static void sample_init(struct sample *s)
{
        memset(s, 0, sizeof(*s));
        swarm__service_spec__init(&s->spec);
        swarm__task_spec__init(&s->task);
        swarm__container_spec__init(&s->container);
        swarm__resources__init(&s->limits);
        swarm__resources__init(&s->reservations);
        swarm__restart_policy__init(&s->restart);
        swarm__number__init(&s->number);
        swarm__placement__init(&s->placement);
        swarm__update_config__init(&s->update);
        swarm__health__init(&s->health);
        swarm__ulimit__init(&s->ulimit);
        swarm__key_value__init(&s->pair);
        swarm__generic_resource__init(&s->generic);
        for (size_t i = 0; i < ARRAY_SIZE(s->mount); i++) {
                swarm__mount__init(&s->mount[i]);
                s->mount[i].target = "/d";
        }
        s->pair.key = "k";
        s->container.image = "busybox";
        s->task.container = &s->container;
        s->spec.name = "web";
        s->spec.task = &s->task;
        s->spec.replicas = 1;
}

/* Makes a repeated field of a message of the items given. */
#define SET(message, field, ...)                                   \
        do {                                                       \
                void *set_items_[] = {__VA_ARGS__};                \
                static void *set_kept_[ARRAY_SIZE(set_items_)];    \
                memcpy(set_kept_, set_items_, sizeof(set_items_)); \
                (message).n_##field = ARRAY_SIZE(set_items_);      \
                (message).field = (void *)set_kept_;               \
        } while (0)

#define BAD(name, error, ...)                      \
        static void spoil_##name(struct sample *s) \
        {                                          \
                __VA_ARGS__;                       \
        }
#include "tests/unit/manager/api/bad_specs.def"
#undef BAD

static const struct {
        const char *name;
        void (*spoil)(struct sample *s);
        const char *error;
} bad[] = {
#define BAD(name, error, ...) {#name, spoil_##name, error},
#include "tests/unit/manager/api/bad_specs.def"
#undef BAD
};

static const Swarm__Response *create(struct core *r, struct sample *s)
{
        Swarm__Request q = SWARM__REQUEST__INIT;

        q.kind_case = SWARM__REQUEST__KIND_SERVICE_CREATE;
        q.service_create = &s->spec;
        return core_ask(r, &q);
}

static void test_bad(void **state UNUSED)
{
        struct core r;
        size_t wrong = 0;

        core_open(&r);
        core_add_image(&r);
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                struct sample s;

                sample_init(&s);
                bad[i].spoil(&s);
                const Swarm__Response *m = create(&r, &s);
                if (m->code == 0 || !str_is_equal(m->error, bad[i].error)) {
                        print_message("# %s: got \"%s\"\n", bad[i].name, m->error);
                        wrong++;
                }
                free(s.long_text);
        }
        assert_true(ARRAY_SIZE(bad) >= 60);
        assert_int_equal(wrong, 0);
        assert_int_equal(store_services(r.store)->len, 0);
        core_close(&r);
}

static void test_good(void **state UNUSED)
{
        static const char *const signals[] = {"",   "TERM",    "SIGTERM", "15",
                                              "64", "RTMIN+3", "SIGRTMAX"};
        struct core r;

        core_open(&r);
        core_add_image(&r);
        for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
                char name[16];
                struct sample s;

                sample_init(&s);
                snprintf(name, sizeof(name), "web%zu", i);
                s.spec.name = name;
                s.container.stop_signal = (char *)signals[i];
                s.container.hostname = "{{.Service.Name}}-{{.Task.Slot}}.local";
                s.mount[0].source = "data-{{ .Task.Slot }}";
                s.mount[1].target = i ? "/dev/shm" : "/d/e..f";
                SET(s.container, mounts, &s.mount[0], &s.mount[1]);
                SET(s.container, args, "sh", "-c", "line 1\n\tline 2");
                SET(s.container, env, "A=", "B={{.Node.Hostname}}", "C=ü");
                SET(s.container, cap_add, "CAP_NET_ADMIN", "ALL");
                s.pair.key = "net/ipv4/ip_forward";
                SET(s.container, sysctls, &s.pair);
                const Swarm__Response *m = create(&r, &s);
                assert_string_equal(m->error, "");
        }
        core_close(&r);
}

static void test_too_large(void **state UNUSED)
{
        _cleanup_free_ char *value = xmalloc(32001);
        char *env[40];
        struct sample s;
        struct core r;

        core_open(&r);
        core_add_image(&r);
        sample_init(&s);
        memset(value, 'v', 32000);
        value[1] = '=';
        value[32000] = 0;
        for (size_t i = 0; i < ARRAY_SIZE(env); i++)
                env[i] = value;
        s.container.env = env;
        s.container.n_env = ARRAY_SIZE(env);
        const Swarm__Response *m = create(&r, &s);
        assert_int_equal(m->code, EINVAL);
        assert_string_equal(m->error, "service web: the spec is larger than 1MiB");
        core_close(&r);
}

static void test_filled(void **state UNUSED)
{
        struct sample s;
        struct core r;

        core_open(&r);
        core_add_image(&r);
        sample_init(&s);
        assert_int_equal(create(&r, &s)->code, 0);
        const Swarm__ServiceSpec *spec = store_find_service_by_name(r.store, "web")->spec->msg;
        assert_int_equal(spec->update->parallelism, 1);
        assert_int_equal(spec->update->monitor_ms, DEFAULT_UPDATE_MONITOR_MS);
        assert_int_equal(spec->rollback->wait_ms, DEFAULT_UPDATE_WAIT_MS);
        assert_int_equal(spec->task->restart->delay_ms->value, DEFAULT_RESTART_DELAY_MS);
        assert_true(str_has_prefix(spec->task->container->image_id, "sha256:"));
        assert_int_equal(spec->task->placement->n_platforms, 1);
        assert_string_equal(spec->task->placement->platforms[0]->arch, "amd64");
        core_close(&r);
}

/* An image that says nothing of what to run needs a command of the service's. */
static void test_no_command(void **state UNUSED)
{
        struct sample s;
        struct core r;

        core_open(&r);
        core_add_image(&r);
        ((struct image *)map_next(store_images(r.store), &(size_t){0}))->msg->lacks_command = true;
        sample_init(&s);
        const Swarm__Response *m = create(&r, &s);
        assert_int_equal(m->code, EINVAL);
        assert_string_equal(m->error, "image busybox has no command: give one");
        SET(s.container, args, "true");
        assert_int_equal(create(&r, &s)->code, 0);
        s.spec.name = "web2";
        s.container.n_args = 0;
        SET(s.container, entrypoint, "true");
        assert_int_equal(create(&r, &s)->code, 0);
        core_close(&r);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_bad),        cmocka_unit_test(test_good),
                cmocka_unit_test(test_too_large),  cmocka_unit_test(test_filled),
                cmocka_unit_test(test_no_command),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
