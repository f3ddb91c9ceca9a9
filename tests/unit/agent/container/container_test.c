/* A container's config out of spec and image: Docker's rules as tables. */
#include "tests/lib/unit.h"

#include <errno.h>
#include <signal.h>

#include "agent/container/container.h"
#include "agent/container/template.h"
#include "shared/base/base.h"
#include "shared/model/model.h"

#define LIST(...) ((char *[]){__VA_ARGS__, NULL})

/* A task with its spec and image, to be changed by a test. */
struct world {
        Swarm__ServiceSpec service;
        Swarm__TaskSpec task;
        Swarm__ContainerSpec container;
        Swarm__KeyValue label, *labels[1];
        struct image_config image;
        struct agent_task at;
        struct container_input in;
        struct container_plan *plan;
        struct err err;
};

static const struct id TASK = {1, 2}, NODE = {3, 4};

static void world_init(struct world *w)
{
        static char *serve[] = {(char *)"serve", NULL};

        *w = (struct world){0};
        swarm__service_spec__init(&w->service);
        swarm__task_spec__init(&w->task);
        swarm__container_spec__init(&w->container);
        swarm__key_value__init(&w->label);
        w->label.key = (char *)"com.tier";
        w->label.value = (char *)"gold";
        w->labels[0] = &w->label;
        w->service.labels = w->labels;
        w->service.n_labels = 1;
        w->service.name = (char *)"web";
        w->service.task = &w->task;
        w->task.container = &w->container;
        w->container.image = (char *)"app:1";
        w->image.cmd = serve;
        w->at = (struct agent_task){
                .id = TASK, .service_id = {5, 6}, .slot = 3, .name = "web.3", .spec = &w->service};
        w->in = (struct container_input){.task = &w->at,
                                         .image = &w->image,
                                         .node_id = NODE,
                                         .node_hostname = "n1",
                                         .volumes_dir = "/v"};
}

static const struct container_config *make(struct world *w)
{
        container_plan_free(w->plan);
        w->plan = NULL;
        if (container_plan_make(&w->in, &w->plan, &w->err) < 0)
                fail_msg("%s", w->err.text);
        return &w->plan->config;
}

static void refuse(struct world *w, const char *text)
{
        struct container_plan *p = NULL;

        w->err = (struct err){0};
        assert_true(container_plan_make(&w->in, &p, &w->err) < 0);
        assert_string_equal(w->err.text, text);
}

static void expect_list(char *const *list, const char *joined)
{
        _cleanup_buf_ struct buf b = {0};

        for (; list && *list; list++)
                buf_printf(&b, "%s%s", b.len ? "|" : "", *list);
        assert_string_equal(buf_str(&b), joined);
}

static const char *env_get(const struct container_config *c, const char *key)
{
        const char *found = NULL;

        for (char *const *e = c->env; e && *e; e++) {
                if (str_has_prefix(*e, key) && (*e)[strlen(key)] == '=') {
                        assert_null(found); /* no key comes twice */
                        found = *e + strlen(key) + 1;
                }
        }
        return found;
}

static void command_lines_follow_dockers_rule(void **state)
{
        const struct {
                char *const *spec_entrypoint, *const *spec_args, *const *entrypoint, *const *cmd;
                const char *argv;
        } cases[] = {
                {NULL, NULL, NULL, LIST((char *)"c"), "c"},
                {NULL, NULL, LIST((char *)"e"), LIST((char *)"c"), "e|c"},
                {NULL, LIST((char *)"a", (char *)"b"), LIST((char *)"e"), LIST((char *)"c"),
                 "e|a|b"},
                {NULL, LIST((char *)"a"), NULL, LIST((char *)"c"), "a"},
                {LIST((char *)"x"), NULL, LIST((char *)"e"), LIST((char *)"c"), "x"},
                {LIST((char *)"x"), LIST((char *)"a"), LIST((char *)"e"), LIST((char *)"c"), "x|a"},
        };
        struct world w;

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                world_init(&w);
                w.container.entrypoint = (char **)cases[i].spec_entrypoint;
                w.container.n_entrypoint = strv_len(cases[i].spec_entrypoint);
                w.container.args = (char **)cases[i].spec_args;
                w.container.n_args = strv_len(cases[i].spec_args);
                w.image.entrypoint = (char **)cases[i].entrypoint;
                w.image.cmd = (char **)cases[i].cmd;
                expect_list(make(&w)->argv, cases[i].argv);
                container_plan_free(w.plan);
        }
        world_init(&w);
        w.image.cmd = NULL;
        refuse(&w, "no command: neither the service nor image app:1 has one");
}

static void environments_are_merged(void **state)
{
        struct world w;
        char *spec[] = {(char *)"A=spec", (char *)"WHO={{.Service.Name}}-{{.Task.Slot}}",
                        (char *)"ALONE", (char *)"GONE"};
        char *image[] = {(char *)"GONE=image", (char *)"A=image",   (char *)"GONER=image",
                         (char *)"B=image",    (char *)"PATH=/opt", NULL};

        (void)state;
        world_init(&w);
        w.image.env = image;
        w.container.env = spec;
        w.container.n_env = ARRAY_SIZE(spec);
        const struct container_config *c = make(&w);
        assert_string_equal(env_get(c, "A"), "spec");
        assert_string_equal(env_get(c, "B"), "image");
        assert_string_equal(env_get(c, "PATH"), "/opt");
        assert_string_equal(env_get(c, "WHO"), "web-3");
        assert_string_equal(env_get(c, "HOSTNAME"), c->hostname);
        assert_null(env_get(c, "ALONE"));
        assert_null(env_get(c, "GONE"));
        assert_string_equal(env_get(c, "GONER"), "image");
        container_plan_free(w.plan);
}

static void claims_are_in_the_environment(void **state)
{
        struct world w;
        Swarm__GenericResource a = SWARM__GENERIC_RESOURCE__INIT, b = a, n = a;
        char *one[] = {(char *)"id1"}, *two[] = {(char *)"id2"};
        const Swarm__GenericResource *list[] = {&a, &n, &b};

        (void)state;
        world_init(&w);
        a.kind = b.kind = (char *)"gpu-x";
        a.names = one;
        b.names = two;
        a.n_names = b.n_names = 1;
        n.kind = (char *)"slots";
        n.count = 4;
        w.at.generic = list;
        w.at.n_generic = 3;
        const struct container_config *c = make(&w);
        assert_string_equal(env_get(c, "SWARM_RESOURCE_GPU_X"), "id1,id2");
        assert_string_equal(env_get(c, "DOCKER_RESOURCE_GPU_X"), "id1,id2");
        assert_string_equal(env_get(c, "SWARM_RESOURCE_SLOTS"), "4");
        container_plan_free(w.plan);
}

static void templates_are_filled_in(void **state)
{
        static const struct {
                const char *text, *result; /* NULL: refused */
        } cases[] = {
                {"plain {x}", "plain {x}"},
                {"{{.Service.Name}}", "web"},
                {"a{{ .Task.Slot }}b{{.Node.Hostname}}", "a3bn1"},
                {"{{.Service.Labels.com.tier}}", "gold"},
                {"{{index .Service.Labels \"com.tier\"}}", "gold"},
                {"[{{.Service.Labels.none}}]", "[]"},
                {"{{.Task.ID}}", ""},
                {"{{.Nothing}}", NULL},
                {"{{.Service.Name", NULL},
                {"{{}}", NULL},
                {"{{index .Service.Labels x}}", NULL},
        };
        struct world w;
        const struct template_values v = {&w.at, NODE, "n1"};

        (void)state;
        world_init(&w);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_free_ char *out = NULL;
                struct err err = {0};
                int r = template_expand(cases[i].text, &v, &out, &err);

                if (!cases[i].result) {
                        assert_int_equal(r, -EINVAL);
                        assert_true(*err.text);
                } else if (strstr(cases[i].text, "Task.ID")) {
                        assert_string_equal(out, ID_S(TASK));
                } else {
                        assert_string_equal(out, cases[i].result);
                }
        }
}

static void hostnames_have_defaults(void **state)
{
        struct world w;
        char *networks[] = {(char *)"host"};

        (void)state;
        world_init(&w);
        assert_int_equal(strlen(make(&w)->hostname), 12);
        assert_true(str_has_prefix(ID_S(TASK), w.plan->config.hostname));
        assert_int_equal(w.plan->config.network, CONTAINER_NET_NONE);
        w.task.networks = networks;
        w.task.n_networks = 1;
        assert_string_equal(make(&w)->hostname, "n1");
        assert_int_equal(w.plan->config.network, CONTAINER_NET_HOST);
        w.container.hostname = (char *)"{{.Service.Name}}-{{.Task.Slot}}";
        assert_string_equal(make(&w)->hostname, "web-3");
        container_plan_free(w.plan);
        w.plan = NULL;
        w.container.hostname = (char *)"host-{{.Task.Name}}.{{.Node.ID}}.x";
        _cleanup_free_ char *long_one =
                xasprintf("hostname 'host-web.3.%s.%s.x': has 64 characters, "
                          "more than 63",
                          ID_S(TASK), ID_S(NODE));
        refuse(&w, long_one);
        w.in.node_hostname = "a_b.";
        w.container.hostname = (char *)"x{{.Node.Hostname}}";
        refuse(&w, "hostname 'xa_b.': must be of letters, digits, '_' and '-', with dots between");
}

/* What the manager cannot know yet. */
static void mounts_of_templates_are_checked(void **state)
{
        static const struct {
                const char *target, *error;
        } cases[] = {
                {"/d", "mount /d: another mount has the target /d, too"},
                {"/{{.Service.Labels.com.tier}}/../x",
                 "mount /{{.Service.Labels.com.tier}}/../x: target '/gold/../x' must not contain "
                 "'..'"},
                {"/{{.Node.Hostname}}", "mount /{{.Node.Hostname}}: target must not be /proc"},
        };
        struct world w;
        Swarm__Mount first = SWARM__MOUNT__INIT, second = first, *mounts[] = {&first, &second};

        (void)state;
        world_init(&w);
        w.in.node_hostname = "proc";
        w.container.mounts = mounts;
        w.container.n_mounts = 2;
        first.type = second.type = MOUNT_TMPFS;
        first.target = (char *)"/{{.Service.Labels.none}}d";
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                second.target = (char *)(uintptr_t)cases[i].target;
                refuse(&w, cases[i].error);
        }
}

static void signals_have_names(void **state)
{
        static const struct {
                const char *text;
                int number; /* 0: refused */
        } cases[] = {
                {"SIGTERM", SIGTERM}, {"term", SIGTERM},  {"15", SIGTERM}, {"Quit", SIGQUIT},
                {"SIGNAL", 0},        {"0", 0},           {"65", 0},       {"", 0},
                {"RTMIN", 34},        {"SIGRTMIN+3", 37}, {"RTMAX-1", 63}, {"RTMIN-1", 0},
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                int n = 0, r = signal_parse(cases[i].text, &n);

                assert_int_equal(r, cases[i].number ? 0 : -EINVAL);
                assert_int_equal(n, cases[i].number);
        }
}

static void stopping_follows_spec_then_image(void **state)
{
        struct world w;
        Swarm__Number grace = SWARM__NUMBER__INIT;

        (void)state;
        world_init(&w);
        make(&w);
        assert_int_equal(w.plan->stop_signal, SIGTERM);
        assert_int_equal(w.plan->stop_grace_ms, DEFAULT_STOP_GRACE_MS);
        w.image.stop_signal = (char *)"SIGQUIT";
        make(&w);
        assert_int_equal(w.plan->stop_signal, SIGQUIT);
        w.container.stop_signal = (char *)"USR1";
        grace.value = 0;
        w.container.stop_grace_ms = &grace;
        make(&w);
        assert_int_equal(w.plan->stop_signal, SIGUSR1);
        assert_int_equal(w.plan->stop_grace_ms, 0);
        w.container.stop_signal = (char *)"SIGNONE";
        refuse(&w, "stop signal \"SIGNONE\": there is no such signal");
        container_plan_free(w.plan);
}

/* Else the outer one would hide it. */
static void mounts_within_others_come_after_them(void **state)
{
        static const char *const given[] = {"/etc/app/conf", "/etc/hosts", "/b", "/etc//", "/a/b/"},
                                 *const want[] = {"/b", "/etc//", "/etc/hosts", "/a/b/",
                                                  "/etc/app/conf"};
        struct world w;
        Swarm__Mount list[ARRAY_SIZE(given)], *mounts[ARRAY_SIZE(given)];

        (void)state;
        world_init(&w);
        for (size_t i = 0; i < ARRAY_SIZE(given); i++) {
                swarm__mount__init(&list[i]);
                list[i].type = MOUNT_TMPFS;
                list[i].target = (char *)(uintptr_t)given[i];
                mounts[i] = &list[i];
        }
        w.container.mounts = mounts;
        w.container.n_mounts = ARRAY_SIZE(given);
        const struct container_config *c = make(&w);

        for (size_t i = 0; i < ARRAY_SIZE(want); i++)
                assert_string_equal(c->mounts[i].target, want[i]);
        container_plan_free(w.plan);
}

static void volumes_are_folders_by_name(void **state)
{
        struct world w;
        Swarm__Mount named = SWARM__MOUNT__INIT, anonymous = named, bind = named;
        Swarm__Mount *mounts[] = {&named, &anonymous, &bind};
        char *volumes[] = {(char *)"/data", (char *)"/cache", NULL};

        (void)state;
        world_init(&w);
        named.type = anonymous.type = MOUNT_VOLUME;
        named.source = (char *)"db-{{.Task.Slot}}";
        named.target = (char *)"/data";
        anonymous.target = (char *)"/x";
        anonymous.nocopy = true;
        bind.type = MOUNT_BIND;
        bind.source = (char *)"/srv/{{.Service.Name}}";
        bind.target = (char *)"/srv";
        w.container.mounts = mounts;
        w.container.n_mounts = 3;
        w.image.volumes = volumes;
        const struct container_config *c = make(&w);
        assert_int_equal(c->n_mounts, 4); /* /data of the image is taken already */
        assert_string_equal(c->mounts[0].source, "/v/db-3");
        assert_true(c->mounts[0].copy_up);
        assert_false(c->mounts[1].copy_up);
        assert_string_equal(c->mounts[2].source, "/srv/web");
        assert_string_equal(c->mounts[3].target, "/cache");
        assert_int_equal(strv_len(w.plan->volumes), 3);
        assert_int_equal(strv_len(w.plan->anonymous_volumes), 2);
        assert_false(c->mounts[0].is_own);
        assert_true(c->mounts[1].is_own && c->mounts[3].is_own);
        struct id id;
        assert_int_equal(own_volume_parse(strrchr(c->mounts[3].source, '/') + 1, &id), 0);
        assert_true(id_is_equal(id, c->id));
        assert_int_equal(own_volume_parse("db-3", &id), -EINVAL);
        named.source = (char *)"../etc";
        refuse(&w, "mount /data: volume \"../etc\": not a valid name");
        named.source = (char *)"ok";
        bind.source = (char *)"relative";
        refuse(&w, "mount /srv: source 'relative' must be an absolute path");
        container_plan_free(w.plan);
}

static void health_checks_are_merged(void **state)
{
        struct world w;
        Swarm__Health image = SWARM__HEALTH__INIT, service = image;
        char *cmd[] = {(char *)"true"};

        (void)state;
        world_init(&w);
        make(&w);
        assert_null(w.plan->health);
        image.type = HEALTH_CMD;
        image.cmd = cmd;
        image.n_cmd = 1;
        image.interval_ms = 7000;
        w.image.health = &image;
        make(&w);
        assert_int_equal(w.plan->health->interval_ms, 7000);
        assert_int_equal(w.plan->health->retries, DEFAULT_HEALTH_RETRIES);
        service.retries = 9; /* the image's test, with other numbers */
        w.container.health = &service;
        make(&w);
        assert_int_equal(w.plan->health->type, HEALTH_CMD);
        assert_int_equal(w.plan->health->retries, 9);
        assert_int_equal(w.plan->health->interval_ms, 7000);
        service.type = HEALTH_TCP;
        service.port = 80;
        make(&w);
        assert_int_equal(w.plan->health->type, HEALTH_TCP);
        service.type = HEALTH_NONE;
        make(&w);
        assert_null(w.plan->health);
        service.type = HEALTH_HTTP;
        service.port = 0;
        refuse(&w, "health check: incomplete");
        container_plan_free(w.plan);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(command_lines_follow_dockers_rule),
                cmocka_unit_test(environments_are_merged),
                cmocka_unit_test(claims_are_in_the_environment),
                cmocka_unit_test(templates_are_filled_in),
                cmocka_unit_test(mounts_of_templates_are_checked),
                cmocka_unit_test(hostnames_have_defaults),
                cmocka_unit_test(signals_have_names),
                cmocka_unit_test(stopping_follows_spec_then_image),
                cmocka_unit_test(mounts_within_others_come_after_them),
                cmocka_unit_test(volumes_are_folders_by_name),
                cmocka_unit_test(health_checks_are_merged),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
