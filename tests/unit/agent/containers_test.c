/* The driver of containers over a real runtime: what becomes of volumes that go with their
 * containers. */
#include "agent/containers.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "shared/base/base.h"
#include "tests/lib/container_rig.h"
#include "tests/lib/unit.h"

static struct rig rig;
static char *data, *volumes;
static struct loop *loop;
static bool is_removed, has_started, has_ended, has_failed;
static int n_found, exit_code;

static void on_event(void *arg UNUSED, const struct container_event *e)
{
        is_removed |= e->kind == CONTAINER_REMOVED;
        has_started |= e->kind == CONTAINER_STARTED;
        has_ended |= e->kind == CONTAINER_EXITED;
        has_failed |= e->kind == CONTAINER_FAILED;
        if (e->kind == CONTAINER_EXITED)
                exit_code = e->exit_code;
}

static void on_fetch(void *arg UNUSED, const Swarm__BlobGet *m UNUSED)
{
}

static bool get_none(void *arg UNUSED, struct id task UNUSED, struct agent_task *ret UNUSED)
{
        return false;
}

static void on_found(void *arg UNUSED, struct id task UNUSED, bool is_running,
                     const struct container_event *e UNUSED)
{
        assert_true(is_running);
        n_found++;
}

static char *path_of(const char *before, struct id id, const char *after)
{
        return xasprintf("%s/%s%s%s", volumes, before, ID_S(id), after);
}

static void make(const char *before, struct id id, const char *after)
{
        _cleanup_free_ char *path = path_of(before, id, after);
        _cleanup_free_ char *below = xasprintf("%s/x/y", path);

        assert_int_equal(io_mkdir_all(below, 0755), 0);
}

static bool is_there(const char *before, struct id id, const char *after)
{
        _cleanup_free_ char *path = path_of(before, id, after);

        return access(path, F_OK) == 0;
}

static void on_turn(void *arg UNUSED)
{
        loop_stop(loop);
}

/* Turns the loop until flag is set, or for a while when there is none. */
static void turn(const bool *flag)
{
        struct loop_timer *t = loop_timer_new(loop, on_turn, NULL);
        int64_t before = time_mono_us();

        while (flag ? !*flag : time_mono_us() - before < 200000) {
                assert_true(time_mono_us() - before < 20000000);
                loop_timer_set(t, 5);
                loop_run(loop);
        }
        loop_timer_free(t);
}

static struct containers *open_containers(void)
{
        const struct containers_config config = {.data_dir = data,
                                                 .hostname = "box",
                                                 .shim_path = rig.shim,
                                                 .cgroup_name = rig.cgroup,
                                                 .on_event = on_event,
                                                 .fetch = on_fetch};
        struct containers *c = NULL;
        struct err err = {0};

        loop = loop_new();
        assert_int_equal(containers_open(loop, &config, &c, &err), 0);
        return c;
}

/* An agent that dies while it removes a container, or right after a start that failed, has no
 * record of what is left: the next one finds it by its name, which no user can give. */
static void test_own_volumes_are_swept(void **state UNUSED)
{
        const struct containers_recovery y = {.get = get_none, .found = on_found};
        char *const argv[] = {"sleep", "1000", NULL};
        struct container_config config = rig_config(&rig, argv);
        struct id gone = {.hi = 77, .lo = 88}, here = config.id;

        assert_int_equal(rig_start(&rig, &config), 0);
        rig_close_runtime(&rig);
        make(".", here, ".0"), make(".", here, ".11");
        make(".", gone, ".0"), make(".", gone, ".11");
        make("", gone, ".0"), make("named-", gone, ""), make(".", gone, ".x"), make(".", gone, ".");
        make(".", gone, ""), make(".", gone, ".0.5.filling");
        struct containers *c = open_containers();

        assert_int_equal(containers_recover(c, &y), 0);
        assert_int_equal(n_found, 1);
        turn(NULL);
        assert_false(is_there(".", gone, ".0") || is_there(".", gone, ".11"));
        assert_true(is_there(".", here, ".0") && is_there(".", here, ".11"));
        assert_true(is_there("", gone, ".0") && is_there("named-", gone, ""));
        assert_true(is_there(".", gone, ".x") && is_there(".", gone, ".") &&
                    is_there(".", gone, ""));
        assert_true(is_there(".", gone, ".0.5.filling"));
        /* Of a container whose task nobody knows, too. */
        assert_int_equal(runtime_kill(containers_runtime(c), here), 0);
        turn(&has_ended);
        containers_remove(c, here);
        turn(&is_removed);
        assert_false(is_there(".", here, ".0") || is_there(".", here, ".11"));
        assert_true(is_there("", gone, ".0") && is_there("named-", gone, ""));
        containers_close(c);
        loop_free(loop);
}

/* Neither a record of its image nor one of its task is needed for a container to keep its files. */
static void test_layers_of_the_unknown_stay(void **state UNUSED)
{
        const struct containers_recovery y = {.get = get_none, .found = on_found};
        char *const argv[] = {"sleep", "1000", NULL};
        struct container_config config = rig_config(&rig, argv);
        _cleanup_free_ char *used = xasprintf("%s/agent/images/layers/%064d/file", data, 1);
        _cleanup_free_ char *idle = xasprintf("%s/agent/images/layers/%064d/file", data, 2);
        char *layer = xstrndup(used, strlen(used) - strlen("/file"));
        char *layers[] = {config.layers[0], layer, NULL};

        if (!rig.runtime)
                rig_open_runtime(&rig);
        assert_int_equal(io_mkdir_all(used, 0755), 0);
        assert_int_equal(io_mkdir_all(idle, 0755), 0);
        config.id.lo++;
        config.layers = layers;
        assert_int_equal(rig_start(&rig, &config), 0);
        rig_close_runtime(&rig);
        struct containers *c = open_containers();

        is_removed = has_ended = false;
        assert_int_equal(containers_recover(c, &y), 0);
        turn(NULL);
        assert_int_equal(access(used, F_OK), 0);
        assert_int_equal(access(idle, F_OK), -1);
        image_store_prune(containers_images(c));
        turn(NULL);
        assert_int_equal(access(used, F_OK), 0);
        assert_int_equal(runtime_kill(containers_runtime(c), config.id), 0);
        turn(&has_ended);
        containers_remove(c, config.id);
        turn(&is_removed);
        image_store_prune(containers_images(c));
        turn(NULL);
        assert_int_equal(access(used, F_OK), -1);
        containers_close(c);
        loop_free(loop);
        free(layer);
}

/* The journal was lost, and the manager says whose the container is: it is told how it is, and what
 * becomes of it; and one that has ended meanwhile with its end. */
static void test_task_is_known_again(void **state UNUSED)
{
        const struct containers_recovery y = {.get = get_none, .found = on_found};
        char *const argv[] = {"sleep", "1000", NULL};
        struct container_config config = rig_config(&rig, argv);
        Swarm__ServiceSpec spec = SWARM__SERVICE_SPEC__INIT;
        Swarm__TaskSpec task = SWARM__TASK_SPEC__INIT;
        Swarm__ContainerSpec container = SWARM__CONTAINER_SPEC__INIT;
        struct agent_task t = {.id = config.id, .name = "web.1", .spec = &spec};
        struct agent_task gone = {.id = {5, 6}, .name = "web.2", .spec = &spec};

        spec.task = &task;
        task.container = &container;
        container.image_id = (char *)(uintptr_t) "sha256:of-no-image";
        if (!rig.runtime)
                rig_open_runtime(&rig);
        assert_int_equal(rig_start(&rig, &config), 0);
        rig_close_runtime(&rig);
        struct containers *c = open_containers();

        has_started = has_ended = has_failed = is_removed = false;
        assert_int_equal(containers_recover(c, &y), 0);
        containers_adopt(c, &t);
        assert_false(has_started);
        turn(&has_started);
        assert_true(containers_is_live(c, t.id));
        assert_int_equal(runtime_kill(containers_runtime(c), t.id), 0);
        turn(&has_ended);
        has_ended = false;
        exit_code = 0;
        containers_adopt(c, &t);
        assert_false(has_ended);
        turn(&has_ended);
        assert_int_equal(exit_code, 137);
        assert_false(containers_is_live(c, t.id));
        containers_adopt(c, &gone);
        turn(&has_failed);
        containers_remove(c, t.id);
        turn(&is_removed);
        containers_close(c);
        loop_free(loop);
}

/* The end may come between a start that is refused and the telling of it. */
static void test_closed_before_it_is_told(void **state UNUSED)
{
        struct containers *c = open_containers();
        struct agent_task unknown = {.id = {1, 2}, .name = "x"};

        containers_start(c, &unknown);
        containers_close(c);
        loop_free(loop);
}

static int set_up(void **state UNUSED)
{
        if (!rig_open(&rig, NULL))
                return -1;
        data = xasprintf("%s/agent-data", rig.folder);
        volumes = xasprintf("%s/agent/volumes", data);
        rig_close_runtime(&rig);
        free(rig.run);
        rig.run = xasprintf("%s/agent/runtime", data);
        rig_open_runtime(&rig);
        return 0;
}

static int tear_down(void **state UNUSED)
{
        rig_close(&rig);
        free(data);
        free(volumes);
        return 0;
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_own_volumes_are_swept),
                cmocka_unit_test(test_layers_of_the_unknown_stay),
                cmocka_unit_test(test_task_is_known_again),
                cmocka_unit_test(test_closed_before_it_is_told),
        };

        return cmocka_run_group_tests(tests, set_up, tear_down);
}
