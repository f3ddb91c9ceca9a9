/* Lists of tasks that wait, and nodes of which nothing is heard, driven through the turn. */
#include "tests/lib/unit.h"

#include <string.h>

#include "shared/base/base.h"
#include "tests/lib/turn_rig.h"

/* A manager of before a restore, say: nothing is heard of it, and it will never be down. */
static void test_unknown_node_is_removed(void **state UNUSED)
{
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__NodeRemove remove = SWARM__NODE_REMOVE__INIT;
        struct id_text text = id_text((struct id){7, 1});
        char *refs[] = {text.s};
        uint8_t key[32] = {7};
        struct core r;

        core_open(&r);
        store_add_node(r.store, (struct id){7, 1}, key, ROLE_WORKER, r.now.wall_ms);
        remove.n_refs = 1;
        remove.refs = refs;
        q.kind_case = SWARM__REQUEST__KIND_NODE_REMOVE;
        q.node_remove = &remove;
        assert_int_equal(core_ask(&r, &q)->code, 0);
        assert_null(store_find_node(r.store, (struct id){7, 1}));
        core_close(&r);
}

static const Swarm__TaskList *list(struct core *r, const char *desired)
{
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__ListRequest tasks = SWARM__LIST_REQUEST__INIT;
        Swarm__Filter f = SWARM__FILTER__INIT, *filters[] = {&f};

        f.key = (char *)"desired-state";
        f.value = (char *)(uintptr_t)desired;
        tasks.filters = filters;
        tasks.n_filters = 1;
        q.kind_case = SWARM__REQUEST__KIND_TASK_LIST;
        q.task_list = &tasks;
        const Swarm__Response *m = core_ask(r, &q);
        assert_int_equal(m->code, 0);
        return m->tasks;
}

static struct id task_in(struct core *r, enum task_state desired)
{
        struct task *task;
        size_t i;

        MAP_FOREACH (task, i, store_tasks(r->store))
                if (task->desired == desired)
                        return task->id;
        fail_msg("no task is to be %s", task_state_name(desired));
        return (struct id){0};
}

static void open_with_service(struct core *r, struct core_node *n)
{
        core_open(r);
        core_add_image(r);
        core_add_node(r, "w1", n);
        core_add_service(r, "web", 3);
}

/* "running" is not "ready": the successor of one that failed waits for its start. */
static void test_desired_state_is_a_whole_word(void **state UNUSED)
{
        struct core_node n;
        struct core r;

        open_with_service(&r, &n);
        assert_int_equal(list(&r, "running")->n_tasks, 3);
        core_status(&r, &n, 1, 1, task_in(&r, TASK_RUNNING), TASK_FAILED, "exit 1");
        core_run(&r);
        assert_int_equal(list(&r, "running")->n_tasks, 2);
        assert_int_equal(list(&r, "Ready")->n_tasks, 1);
        assert_int_equal(list(&r, "shutdown")->n_tasks, 1);
        core_close(&r);
}

static size_t count_followed(struct core *r)
{
        const Swarm__TaskList *m = list(r, "shutdown");
        size_t n = 0;

        for (size_t i = 0; i < m->n_tasks; i++)
                n += m->tasks[i]->not_before_ms > r->now.wall_ms;
        return n;
}

/* One that is rejected before its turn is not followed at once: its row says when. */
static void test_rejected_before_its_turn(void **state UNUSED)
{
        struct core_node n;
        struct core r;

        open_with_service(&r, &n);
        core_status(&r, &n, 1, 1, task_in(&r, TASK_RUNNING), TASK_REJECTED, "no image");
        core_run(&r);
        assert_int_equal(count_followed(&r), 0); /* the next one has a row */
        core_status(&r, &n, 2, 1, task_in(&r, TASK_READY), TASK_REJECTED, "no image");
        core_run(&r);
        assert_int_equal(list(&r, "ready")->n_tasks, 0);
        assert_int_equal(count_followed(&r), 1);
        core_advance(&r, 5000);
        assert_int_equal(count_followed(&r), 0);
        assert_int_equal(list(&r, "ready")->n_tasks, 1);
        core_close(&r);
}

static bool is_blob_missing(void *arg UNUSED, const char *digest)
{
        return str_is_equal(digest, IMAGE_ID);
}

/* An image that no manager has whole says so, and only it. */
static void test_missing_image(void **state UNUSED)
{
        static const char other[] =
                "sha256:0000000000000000000000000000000000000000000000000000000000000002";
        static const struct turn_config config = {
                .seed = 1, .version = "", .hostname = "m", .is_blob_missing = is_blob_missing};
        Swarm__Request q = SWARM__REQUEST__INIT;
        Swarm__Empty all = SWARM__EMPTY__INIT;
        struct core r;

        core_open(&r);
        turn_free(r.turn);
        r.turn = turn_new(r.store, &config, r.now);
        core_add_image(&r);
        assert_int_equal(core_put_image(&r, other, "tool:1")->code, 0);
        q.kind_case = SWARM__REQUEST__KIND_IMAGE_LIST;
        q.image_list = &all;
        const Swarm__Response *m = core_ask(&r, &q);
        assert_int_equal(m->images->n_images, 2);
        for (size_t i = 0; i < 2; i++)
                assert_int_equal(m->images->images[i]->is_missing,
                                 str_is_equal(m->images->images[i]->id, IMAGE_ID));
        core_close(&r);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_unknown_node_is_removed),
                cmocka_unit_test(test_desired_state_is_a_whole_word),
                cmocka_unit_test(test_rejected_before_its_turn),
                cmocka_unit_test(test_missing_image),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
