/* Taking over from a supervisor of another version: one that is newer than the agent. */
#include "tests/lib/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/runtime/runtime_internal.h"
#include "tests/lib/container_rig.h"

static struct rig rig;

/* In the place of a container's supervisor: answers each HELLO. */
struct impostor {
        pthread_t thread;
        int fd;
        atomic_int connection; /* -1: none */
        char path[sizeof(((struct sockaddr_un *)0)->sun_path)], aside[128];
        struct shim_message answer;
        int asked_value; /* of the HELLO */
};

static void *impostor_run(void *arg)
{
        struct impostor *i = arg;
        char bytes[sizeof(struct shim_message)];
        int fd;

        while ((fd = accept(i->fd, NULL, NULL)) >= 0) {
                i->connection = fd;
                while (recv(fd, bytes, sizeof(bytes), 0) == sizeof(bytes)) {
                        struct shim_message m;

                        memcpy(&m, bytes, sizeof(m));
                        i->asked_value = m.value;
                        send(fd, &i->answer, sizeof(i->answer), MSG_NOSIGNAL);
                }
                i->connection = -1;
                close(fd);
        }
        return NULL;
}

static void impostor_begin(struct impostor *i, struct id id)
{
        struct sockaddr_un a = {.sun_family = AF_UNIX};

        i->connection = -1;
        snprintf(i->path, sizeof(i->path), "%s/c/%s/sock", rig.run, ID_S(id));
        snprintf(i->aside, sizeof(i->aside), "%s.aside", i->path);
        memcpy(a.sun_path, i->path, sizeof(a.sun_path));
        assert_int_equal(rename(i->path, i->aside), 0);
        i->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(i->fd, (struct sockaddr *)&a, sizeof(a)), 0);
        assert_int_equal(listen(i->fd, 4), 0);
        assert_int_equal(pthread_create(&i->thread, NULL, impostor_run, i), 0);
}

static void impostor_end(struct impostor *i)
{
        shutdown(i->fd, SHUT_RDWR);
        if (i->connection >= 0)
                shutdown(i->connection, SHUT_RDWR);
        pthread_join(i->thread, NULL);
        close(i->fd);
        assert_int_equal(rename(i->aside, i->path), 0);
}

static void on_found(void *arg, struct id id UNUSED, bool is_running, pid_t pid,
                     const struct container_exit *e UNUSED)
{
        assert_true(is_running);
        *(pid_t *)arg = pid;
}

static struct container *take_over(struct id id, pid_t *ret_pid)
{
        rig_open_runtime(&rig);
        rig.is_exited = false;
        assert_int_equal(runtime_recover(rig.runtime, on_found, ret_pid), 0);
        return map_get_id(&rig.runtime->containers, id);
}

/* It still speaks our version, and is one whose number this agent has never heard of. */
static void test_a_newer_supervisor_is_understood(void **state UNUSED)
{
        char *argv[4];
        struct container_config c = rig_script(&rig, argv, "sleep 1000");
        struct impostor i = {.answer = {.magic = SHIM_MAGIC,
                                        .version = SHIM_VERSION + 3,
                                        .type = SHIM_HELLO,
                                        .value = SHIM_VERSION,
                                        .pid = 4711}};
        pid_t pid = 0;

        assert_int_equal(rig_start(&rig, &c), 0);
        rig_close_runtime(&rig);
        impostor_begin(&i, c.id);
        struct container *k = take_over(c.id, &pid);
        assert_int_equal(pid, 4711);
        assert_int_equal(i.asked_value, SHIM_OLDEST);
        assert_false(k->is_foreign);
        rig_close_runtime(&rig);
        impostor_end(&i);
        take_over(c.id, &pid);
        assert_int_equal(runtime_kill(rig.runtime, c.id), 0);
        rig_wait_exit(&rig);
        rig_remove(&rig, c.id);
}

/* Nothing in common: the container runs on, and is looked after once that is another. */
static void test_a_supervisor_that_is_too_new_is_left(void **state UNUSED)
{
        char *argv[4];
        struct container_config c = rig_script(&rig, argv, "sleep 1000");
        struct impostor i = {.answer = {.magic = SHIM_MAGIC,
                                        .version = SHIM_VERSION + 3,
                                        .type = SHIM_HELLO,
                                        .value = SHIM_VERSION + 2,
                                        .pid = 4711}};
        pid_t pid = 0;

        assert_int_equal(rig_start(&rig, &c), 0);
        rig_close_runtime(&rig);
        impostor_begin(&i, c.id);
        struct container *k = take_over(c.id, &pid);
        assert_int_equal(pid, 0);
        assert_true(k->is_foreign);
        assert_int_equal(k->phase, PHASE_RUNNING);
        rig_turn(&rig, 200);
        assert_false(rig.is_exited);
        assert_int_equal(rig_exec(&rig, c.id, "true", 100), -ENOTCONN);
        impostor_end(&i);
        while (k->pidfd < 0)
                rig_turn(&rig, 100);
        assert_int_equal(rig_exec(&rig, c.id, "exit 3", 5000), 3);
        assert_int_equal(runtime_kill(rig.runtime, c.id), 0);
        rig_wait_exit(&rig);
        rig_remove(&rig, c.id);
}

static int set_up(void **state UNUSED)
{
        return rig_open(&rig, NULL) ? 0 : -1;
}

static int tear_down(void **state UNUSED)
{
        rig_close(&rig);
        return 0;
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_a_newer_supervisor_is_understood),
                cmocka_unit_test(test_a_supervisor_that_is_too_new_is_left),
        };

        return cmocka_run_group_tests_name("version", tests, set_up, tear_down);
}
