/* Streams, driven through the turn: progress, events, logs with their credits, and their end. */
#include "tests/lib/unit.h"

#include <errno.h>
#include <string.h>

#include "manager/logs/logs.h"
#include "shared/base/base.h"
#include "tests/lib/turn_rig.h"

#define CLIENT 4

static void open_with_node(struct core *r, struct core_node *n)
{
        core_open(r);
        core_add_image(r);
        core_add_node(r, "w1", n);
}

static const Swarm__Response *take(struct core *r)
{
        return core_take_response(r, CLIENT);
}

static struct task *only_task(struct core *r)
{
        size_t i = 0;

        assert_int_equal(store_tasks(r->store)->len, 1);
        return map_next(store_tasks(r->store), &i);
}

static uint64_t send_kind(struct core *r, Swarm__Request__KindCase kind, void *m, uint64_t number)
{
        Swarm__Request q = SWARM__REQUEST__INIT;

        q.number = number;
        q.kind_case = kind;
        q.info = m; /* any member of the union */
        core_send(r, CLIENT, &q);
        return q.number;
}

static uint64_t watch(struct core *r, const char *name)
{
        Swarm__WatchService w = SWARM__WATCH_SERVICE__INIT;

        w.ref = (char *)name;
        return send_kind(r, SWARM__REQUEST__KIND_SERVICE_WATCH, &w, 0);
}

static void test_watch(void **state UNUSED)
{
        struct core_node n;
        struct core r;

        open_with_node(&r, &n);
        core_add_service(&r, "web", 1);
        struct id id = only_task(&r)->id;
        uint64_t number = watch(&r, "web");
        const Swarm__Response *m = take(&r);
        assert_non_null(m);
        assert_true(m->more && m->number == number);
        assert_int_equal(m->progress->desired, 1);
        assert_int_equal(m->progress->running, 0);
        assert_int_equal(m->progress->n_tasks, 1);
        assert_int_equal(m->progress->by_state[TASK_ASSIGNED / 64], 1);

        /* nothing of the service: nothing told; two changes in a turn: told once */
        core_advance(&r, 100);
        assert_null(take(&r));
        core_status(&r, &n, 1, 1, id, TASK_PREPARING, "preparing");
        core_status(&r, &n, 2, 1, id, TASK_RUNNING, "started");
        core_run(&r);
        m = take(&r);
        assert_int_equal(m->progress->running, 1);
        assert_int_equal(m->progress->by_state[TASK_RUNNING / 64], 1);
        assert_int_equal(m->progress->by_state[TASK_ASSIGNED / 64], 0);
        assert_null(take(&r));

        core_status(&r, &n, 3, 3, id, TASK_FAILED, "exit 1");
        core_run(&r);
        m = take(&r);
        assert_int_equal(m->progress->failed_total, 1);
        assert_string_equal(m->progress->last_error, "exit 1");
        assert_string_equal(m->progress->last_failed, "web.1");
        core_close(&r);
}

static void scale(struct core *r, const char *name, uint64_t replicas)
{
        Swarm__ScaleRequest__Item item = SWARM__SCALE_REQUEST__ITEM__INIT, *items = &item;
        Swarm__ScaleRequest m = SWARM__SCALE_REQUEST__INIT;

        item.ref = (char *)name;
        item.replicas = replicas;
        m.items = &items;
        m.n_items = 1;
        send_kind(r, SWARM__REQUEST__KIND_SERVICE_SCALE, &m, 0);
}

/* The last that is told of the progress; -1: nothing. */
static int64_t take_stopping(struct core *r)
{
        int64_t stopping = -1;

        for (const Swarm__Response *m; (m = take(r));)
                if (m->kind_case == SWARM__RESPONSE__KIND_PROGRESS)
                        stopping = (int64_t)m->progress->stopping;
        return stopping;
}

/* What should run no more is told of until it has ended, or its node cannot be asked. */
static void test_watch_stopping(void **state UNUSED)
{
        struct core_node n;
        struct core r;
        struct task *t;
        size_t i;

        open_with_node(&r, &n);
        core_add_service(&r, "web", 3);
        uint64_t sequence = 0;
        MAP_FOREACH (t, i, store_tasks(r.store)) {
                sequence++;
                core_status(&r, &n, sequence, sequence, t->id, TASK_RUNNING, "started");
        }
        core_run(&r);
        watch(&r, "web");
        assert_int_equal(take_stopping(&r), 0);
        scale(&r, "web", 1);
        assert_int_equal(take_stopping(&r), 2);
        watch(&r, "web"); /* one that begins now counts the same */
        assert_int_equal(take_stopping(&r), 2);
        MAP_FOREACH (t, i, store_tasks(r.store)) {
                if (t->desired <= TASK_RUNNING)
                        continue;
                sequence++;
                core_status(&r, &n, sequence, sequence, t->id, TASK_SHUTDOWN, "stopped");
                break;
        }
        core_run(&r);
        assert_int_equal(take_stopping(&r), 1);
        for (int k = 0; k < 120; k++)
                core_advance(&r, 1000);
        assert_int_equal(store_find_node(r.store, n.id)->state, NODE_DOWN);
        watch(&r, "web");
        assert_int_equal(take_stopping(&r), 0);
        core_close(&r);
}

static void test_watch_of_many(void **state UNUSED)
{
        struct core_node n, n2, n3; /* one cannot have so many */
        struct core r;
        uint64_t placed = 0;

        open_with_node(&r, &n);
        core_add_node(&r, "w2", &n2);
        core_add_node(&r, "w3", &n3);
        core_add_service(&r, "web", 120000);
        watch(&r, "web");
        for (int i = 0; i < 100 && r.due <= r.now.mono_ms; i++)
                core_run(&r);
        for (const Swarm__Response *m; (m = take(&r));) {
                placed = m->progress->by_state[TASK_ASSIGNED / 64];
                assert_int_equal(m->progress->n_tasks, 0);
                assert_int_equal(m->progress->desired, 120000);
        }
        assert_int_equal(placed, 120000);
        core_close(&r);
}

static void test_watch_pending(void **state UNUSED)
{
        struct core_node n;
        struct core r;

        core_open(&r);
        core_add_image(&r);
        core_add_service(&r, "web", 1);
        watch(&r, "web");
        const Swarm__Response *m = take(&r);
        assert_true(strlen(m->progress->pending_reason) > 0);
        core_add_node(&r, "w1", &n);
        for (const Swarm__Response *next; (next = take(&r));)
                m = next;
        assert_int_equal(m->progress->by_state[TASK_ASSIGNED / 64], 1);
        assert_string_equal(m->progress->pending_reason, "");
        core_close(&r);
}

static void test_watch_ends(void **state UNUSED)
{
        Swarm__RefList refs = SWARM__REF_LIST__INIT;
        Swarm__Empty empty = SWARM__EMPTY__INIT;
        char *names[] = {(char *)"web"};
        struct core_node n;
        struct core r;

        open_with_node(&r, &n);
        core_add_service(&r, "web", 1);
        watch(&r, "nope");
        assert_string_equal(take(&r)->error, "no such service: nope");

        /* cancelled: no more, not even an answer */
        uint64_t number = watch(&r, "web");
        assert_non_null(take(&r));
        send_kind(&r, SWARM__REQUEST__KIND_CANCEL, &empty, number);
        core_status(&r, &n, 1, 1, only_task(&r)->id, TASK_RUNNING, "started");
        core_run(&r);
        assert_null(take(&r));

        /* the client is silent: its stream ends; one that keeps alive stays */
        watch(&r, "web");
        assert_non_null(take(&r));
        core_advance(&r, STREAM_SILENCE_MS - 1);
        send_kind(&r, SWARM__REQUEST__KIND_KEEP_ALIVE, &empty, 0);
        core_advance(&r, STREAM_SILENCE_MS - 1);
        for (const Swarm__Response *m; (m = take(&r));)
                assert_int_equal(m->code, 0);
        core_advance(&r, 1);
        const Swarm__Response *m = NULL;
        for (const Swarm__Response *next; (next = take(&r));)
                m = next;
        assert_non_null(m);
        assert_int_equal(m->code, ETIMEDOUT);
        assert_false(m->more);

        watch(&r, "web");
        refs.n_refs = 1;
        refs.refs = names;
        send_kind(&r, SWARM__REQUEST__KIND_SERVICE_REMOVE, &refs, 0);
        for (const Swarm__Response *next; (next = take(&r));)
                if (next->code)
                        m = next;
        assert_int_equal(m->code, ENOENT);
        assert_string_equal(m->error, "the service was removed");
        core_close(&r);
}

/* --- events -------------------------------------------------------------------------------------
 */
static void test_events(void **state UNUSED)
{
        Swarm__EventsRequest e = SWARM__EVENTS_REQUEST__INIT;
        Swarm__Filter f = SWARM__FILTER__INIT, *filters[] = {&f};
        struct core_node n;
        struct core r;
        const Swarm__Response *m;

        open_with_node(&r, &n);
        int64_t start_ms = r.now.wall_ms;
        core_advance(&r, 1000);
        f.key = (char *)"type";
        f.value = (char *)"service";
        e.filters = filters;
        e.n_filters = 1;
        uint64_t number = send_kind(&r, SWARM__REQUEST__KIND_EVENTS, &e, 0);
        core_add_service(&r, "web", 1);
        m = take(&r);
        assert_non_null(m);
        assert_int_equal(m->number, number);
        assert_string_equal(m->event->type, "service");
        assert_string_equal(m->event->action, "create");
        assert_string_equal(m->event->name, "web");
        assert_null(take(&r));

        /* the past, up to now, and then it ends by itself */
        e.since_ms = start_ms;
        e.until_ms = r.now.wall_ms;
        f.value = (char *)"node";
        send_kind(&r, SWARM__REQUEST__KIND_EVENTS, &e, 0);
        m = take(&r);
        assert_non_null(m);
        assert_string_equal(m->event->type, "node");
        while (m->more) {
                m = take(&r);
                assert_non_null(m);
        }
        assert_int_equal(m->code, 0);
        f.key = (char *)"colour";
        send_kind(&r, SWARM__REQUEST__KIND_EVENTS, &e, 0);
        assert_string_equal(take(&r)->error,
                            "invalid filter 'colour': must be event, node, service or type");
        core_close(&r);
}

/* The next event of an image says so. */
static void expect_image_event(struct core *r, const char *action, char id_end, const char *name)
{
        const Swarm__Response *m = take(r);

        assert_non_null(m);
        assert_int_equal(m->kind_case, SWARM__RESPONSE__KIND_EVENT);
        assert_string_equal(m->event->action, action);
        assert_int_equal(m->event->id[strlen(m->event->id) - 1], id_end);
        assert_string_equal(m->event->name, name);
}

/* A name that an image gets or loses is the event's. */
static void test_image_events(void **state UNUSED)
{
        Swarm__EventsRequest e = SWARM__EVENTS_REQUEST__INIT;
        Swarm__Filter f = SWARM__FILTER__INIT, *filters[] = {&f};
        Swarm__ImageRemove remove = SWARM__IMAGE_REMOVE__INIT;
        char other[] = IMAGE_ID;
        struct core r;

        other[sizeof(other) - 2] = '2';
        core_open(&r);
        f.key = (char *)"type";
        f.value = (char *)"image";
        e.filters = filters;
        e.n_filters = 1;
        uint64_t number = send_kind(&r, SWARM__REQUEST__KIND_EVENTS, &e, 0);
        core_add_image(&r);
        expect_image_event(&r, "create", '1', "busybox:latest");
        core_put_image(&r, IMAGE_ID, "app:1");
        expect_image_event(&r, "tag", '1', "app:1");
        core_put_image(&r, IMAGE_ID, "app:1"); /* it is already */
        core_put_image(&r, other, "app");      /* app:latest */
        expect_image_event(&r, "create", '2', "app:latest");
        core_put_image(&r, other, "app:1");
        expect_image_event(&r, "untag", '1', "app:1");
        expect_image_event(&r, "tag", '2', "app:1");
        remove.ref = (char *)"app:1";
        send_kind(&r, SWARM__REQUEST__KIND_IMAGE_REMOVE, &remove, number + 100);
        const Swarm__Response *m = take(&r);
        assert_int_equal(m->kind_case, SWARM__RESPONSE__KIND_DONE);
        expect_image_event(&r, "untag", '2', "app:1");
        assert_null(take(&r));
        core_close(&r);
}

/* --- logs ---------------------------------------------------------------------------------------
 */
static void put_lines(struct core *r, const struct core_node *n, uint64_t stream, struct id task,
                      int64_t time_us, const char *text)
{
        Swarm__AgentMessage m = SWARM__AGENT_MESSAGE__INIT;
        Swarm__LogData data = SWARM__LOG_DATA__INIT;
        Swarm__LogLine line = SWARM__LOG_LINE__INIT, *lines = &line;
        uint8_t id[ID_BYTES], session[ID_BYTES];

        line.time_us = time_us;
        line.fd = 1;
        line.text = (ProtobufCBinaryData){strlen(text), (uint8_t *)text};
        data.stream = stream;
        data.task_id = wire_id(task, id);
        data.n_lines = 1;
        data.lines = &lines;
        m.session = wire_id(n->session, session);
        m.kind_case = SWARM__AGENT_MESSAGE__KIND_LOG_DATA;
        m.log_data = &data;
        core_say(r, (struct peer){.connection = n->connection, .node = n->id}, n->key, &m);
}

static void say_lines(struct core *r, const struct core_node *n, uint64_t stream, struct id task,
                      int64_t time_us, const char *text)
{
        put_lines(r, n, stream, task, time_us, text);
        core_run(r);
}

static void say_end(struct core *r, const struct core_node *n, uint64_t stream, struct id task,
                    const char *error)
{
        Swarm__AgentMessage m = SWARM__AGENT_MESSAGE__INIT;
        Swarm__LogEnd end = SWARM__LOG_END__INIT;
        uint8_t id[ID_BYTES], session[ID_BYTES];

        end.stream = stream;
        end.task_id = wire_id(task, id);
        end.error = (char *)error;
        m.session = wire_id(n->session, session);
        m.kind_case = SWARM__AGENT_MESSAGE__KIND_LOG_END;
        m.log_end = &end;
        core_say(r, (struct peer){.connection = n->connection, .node = n->id}, n->key, &m);
        core_run(r);
}

static uint64_t ask_logs(struct core *r, const char *ref, bool follow)
{
        Swarm__LogsRequest q = SWARM__LOGS_REQUEST__INIT;

        q.ref = (char *)ref;
        q.follow = follow;
        q.tail = 10;
        return send_kind(r, SWARM__REQUEST__KIND_LOGS, &q, 0);
}

static const Swarm__LogStart *take_start(struct core *r, const struct core_node *n)
{
        const Swarm__ManagerMessage *m = core_take_message(r, (struct peer){.node = n->id},
                                                           SWARM__MANAGER_MESSAGE__KIND_LOG_START);

        return m ? m->log_start : NULL;
}

static void open_running(struct core *r, struct core_node *n, struct id *ret_task)
{
        open_with_node(r, n);
        core_add_service(r, "web", 1);
        *ret_task = only_task(r)->id;
        core_status(r, n, 1, 1, *ret_task, TASK_RUNNING, "started");
        core_run(r);
        core_drop_effects(r);
}

static void test_logs(void **state UNUSED)
{
        struct core_node n;
        struct core r;
        struct id task, other = {1, 1};

        open_running(&r, &n, &task);
        ask_logs(&r, "web", false);
        const Swarm__LogStart *start = take_start(&r, &n);
        assert_non_null(start);
        assert_true(!start->follow && start->n_tasks == 1 && start->tasks[0]->tail == 10);
        uint64_t stream = start->stream;
        say_lines(&r, &n, stream, task, 100, "hello");
        const Swarm__Response *m = take(&r);
        assert_non_null(m);
        assert_string_equal(m->log->task_name, "web.1");
        assert_string_equal(m->log->node, "w1");
        assert_memory_equal(m->log->lines[0]->text.data, "hello", 5);
        assert_non_null(core_take_message(&r, (struct peer){.node = n.id},
                                          SWARM__MANAGER_MESSAGE__KIND_LOG_ACK));
        /* of a task or stream that was not asked for */
        say_lines(&r, &n, stream, other, 100, "no");
        say_lines(&r, &n, stream + 1, task, 100, "no");
        assert_null(take(&r));
        say_end(&r, &n, stream, task, "the log was cut");
        m = take(&r);
        assert_string_equal(m->log->warning, "task web.1: the log was cut");
        m = take(&r);
        assert_non_null(m);
        assert_false(m->more);
        ask_logs(&r, "nope", false);
        assert_string_equal(take(&r)->error, "no such task or service: nope");
        core_close(&r);
}

/* A client that does not acknowledge stops its agent, and gets all once it does. */
static void test_log_credit(void **state UNUSED)
{
        Swarm__LogAcknowledge ack = SWARM__LOG_ACKNOWLEDGE__INIT;
        struct core_node n;
        struct core r;
        struct id task;
        unsigned sent = 0, got = 0;
        unsigned credit = LOG_WINDOW;
        const Swarm__ManagerMessage *m;

        open_running(&r, &n, &task);
        uint64_t number = ask_logs(&r, "web", true);
        uint64_t stream = take_start(&r, &n)->stream;
        while (credit > 0) {
                say_lines(&r, &n, stream, task, 100 + sent, "x");
                sent++;
                credit--;
                while ((m = core_take_message(&r, (struct peer){.node = n.id},
                                              SWARM__MANAGER_MESSAGE__KIND_LOG_ACK)))
                        credit += m->log_ack->count;
        }
        while (take(&r))
                got++;
        assert_int_equal(got, LOG_CLIENT_WINDOW);
        assert_int_equal(sent, LOG_CLIENT_WINDOW + LOG_WINDOW);
        ack.count = got;
        send_kind(&r, SWARM__REQUEST__KIND_LOG_ACKNOWLEDGE, &ack, number);
        while (take(&r))
                got++;
        assert_int_equal(got, sent);
        m = core_take_message(&r, (struct peer){.node = n.id},
                              SWARM__MANAGER_MESSAGE__KIND_LOG_ACK);
        assert_non_null(m);
        assert_int_equal(m->log_ack->count, LOG_WINDOW);
        core_close(&r);
}

static void test_log_follow(void **state UNUSED)
{
        struct core_node n;
        struct core r;
        struct id task;

        open_running(&r, &n, &task);
        uint64_t number = ask_logs(&r, "web", true);
        uint64_t stream = take_start(&r, &n)->stream;
        say_lines(&r, &n, stream, task, 500, "a");
        /* the node comes back with a new session: it is asked for what comes after */
        core_register(&r, "w1", &n);
        const Swarm__LogStart *again = take_start(&r, &n);
        assert_non_null(again);
        assert_int_equal(again->tasks[0]->since_us, 500);
        assert_true(again->tasks[0]->goes_on);
        assert_int_equal(again->tasks[0]->tail, -1);
        stream = again->stream;
        assert_memory_equal(take(&r)->log->lines[0]->text.data, "a", 1);
        say_lines(&r, &n, stream, task, 500, "a"); /* comes again */
        say_lines(&r, &n, stream, task, 500, "b");
        assert_memory_equal(take(&r)->log->lines[0]->text.data, "b", 1);
        assert_null(take(&r));
        /* the task ends: the stream goes on, and the next task joins it once it starts */
        core_status(&r, &n, 1, 1, task, TASK_FAILED, "exit 1");
        core_run(&r);
        say_end(&r, &n, stream, task, "");
        for (const Swarm__Response *m; (m = take(&r));)
                assert_true(m->more);
        core_advance(&r, 6000);
        struct task *t, *next = NULL;
        size_t i;
        MAP_FOREACH (t, i, store_tasks(r.store))
                if (!id_is_equal(t->id, task))
                        next = t;
        assert_non_null(next);
        assert_null(take_start(&r, &n));
        core_status(&r, &n, 2, 2, next->id, TASK_RUNNING, "started");
        core_run(&r);
        again = take_start(&r, &n);
        assert_non_null(again);
        assert_int_equal(again->tasks[0]->tail, -1);

        Swarm__Empty empty = SWARM__EMPTY__INIT;
        send_kind(&r, SWARM__REQUEST__KIND_CANCEL, &empty, number);
        assert_non_null(core_take_message(&r, (struct peer){.node = n.id},
                                          SWARM__MANAGER_MESSAGE__KIND_LOG_STOP));
        core_close(&r);
}

static size_t count_bytes(const struct core *r)
{
        const struct effect *e;
        size_t n = 0;

        LIST_FOREACH (e, &r->effects, link)
                n += e->bytes.len;
        return n;
}

static void report_running(struct core *r, struct core_node *n)
{
        uint64_t seq = 100;
        struct task *t;
        size_t i;

        MAP_FOREACH (t, i, store_tasks(r->store)) {
                core_status(r, n, seq, seq, t->id, TASK_RUNNING, "started");
                seq++;
        }
        core_run(r);
}

/* A node with many tasks comes back: one ask brings all again, each from its own place. */
static void test_log_of_many_tasks_goes_on(void **state UNUSED)
{
        enum { TASKS = 300 };
        struct core_node n;
        struct core r;
        struct task *t;
        size_t i;

        open_with_node(&r, &n);
        core_add_service(&r, "web", TASKS);
        report_running(&r, &n);
        core_drop_effects(&r);
        ask_logs(&r, "web", true);
        const Swarm__LogStart *start = take_start(&r, &n);
        assert_int_equal(start->n_tasks, TASKS);
        uint64_t stream = start->stream;
        MAP_FOREACH (t, i, store_tasks(r.store))
                if (t->slot % 50 == 0) /* within the window */
                        say_lines(&r, &n, stream, t->id, 1000 + (int64_t)t->slot, "a");
        core_register(&r, "w1", &n);
        start = take_start(&r, &n);
        assert_int_equal(start->n_tasks, TASKS);
        for (i = 0; i < TASKS; i++) {
                struct id id;

                assert_int_equal(wire_get_id(&start->tasks[i]->task_id, &id), 0);
                t = store_find_task(r.store, id);
                assert_int_equal(start->tasks[i]->since_us, t->slot % 50 == 0 ? 1000 + t->slot : 0);
                assert_int_equal(start->tasks[i]->tail, t->slot % 50 == 0 ? -1 : 10);
                assert_int_equal(start->tasks[i]->goes_on, t->slot % 50 == 0);
        }
        assert_null(take_start(&r, &n));
        core_close(&r);
}

/* More lines than fit into a turn go on in the next. */
static void test_logs_are_bounded(void **state UNUSED)
{
        enum { STREAMS = 10, LINE_BYTES = 1000000 };
        char *text = xmalloc(LINE_BYTES + 1);
        uint64_t streams[STREAMS];
        struct core_node n;
        struct core r;
        struct id task;
        size_t total = 0;

        memset(text, 'x', LINE_BYTES);
        text[LINE_BYTES] = 0;
        open_running(&r, &n, &task);
        for (size_t i = 0; i < STREAMS; i++) {
                ask_logs(&r, "web", true);
                streams[i] = take_start(&r, &n)->stream;
        }
        core_drop_effects(&r);
        for (size_t i = 0; i < STREAMS; i++)
                for (size_t k = 0; k < LOG_WINDOW; k++)
                        put_lines(&r, &n, streams[i], task, 500, text);
        for (int turns = 0; total < (size_t)STREAMS * LOG_WINDOW * LINE_BYTES; turns++) {
                core_run(&r);
                size_t bytes = count_bytes(&r);
                assert_true(bytes < TURN_EFFECT_BYTES_MAX + 2 * LINE_BYTES);
                total += bytes;
                if (turns == 0)
                        assert_int_equal(r.due, r.now.mono_ms);
                core_drop_effects(&r);
        }
        free(text);
        core_close(&r);
}

/* The node is heard over another connection than that of its session: what was sent to it may be
 * lost with the first one, also that lines are wanted. */
static void test_log_start_is_lost(void **state UNUSED)
{
        struct core_node n;
        struct core r;
        struct id task;

        open_running(&r, &n, &task);
        ask_logs(&r, "web", false);
        uint64_t stream = take_start(&r, &n)->stream;
        n.connection++;
        core_heartbeat(&r, &n, 1);
        core_run(&r);
        const Swarm__ManagerMessage *m = core_take_message(&r, (struct peer){.node = n.id},
                                                           SWARM__MANAGER_MESSAGE__KIND_REFUSED);
        assert_non_null(m);
        assert_int_equal(m->refused->code, ESTALE);
        core_register(&r, "w1", &n);
        const Swarm__LogStart *again = take_start(&r, &n);
        assert_non_null(again);
        assert_true(again->stream != stream);
        say_end(&r, &n, again->stream, task, "");
        assert_false(take(&r)->more);
        core_close(&r);
}

/* A client that has lost its connection asks for what comes after the lines that it has. */
static void test_log_goes_on(void **state UNUSED)
{
        Swarm__LogsRequest q = SWARM__LOGS_REQUEST__INIT;
        Swarm__LogPosition known = SWARM__LOG_POSITION__INIT, gone = SWARM__LOG_POSITION__INIT;
        Swarm__LogPosition *after[] = {&known, &gone};
        const struct id no_task = {5, 5};
        uint8_t id[ID_BYTES], no_id[ID_BYTES];
        struct core_node n;
        struct core r;
        struct id task;

        open_running(&r, &n, &task);
        known.task_id = wire_id(task, id);
        known.time_us = 500;
        known.count = 2;
        gone.task_id = wire_id(no_task, no_id);
        q.ref = (char *)"web";
        q.tail = 3;
        q.after = after;
        q.n_after = 2;
        send_kind(&r, SWARM__REQUEST__KIND_LOGS, &q, 0);
        const Swarm__LogStart *start = take_start(&r, &n);
        assert_true(start->n_tasks == 1 && start->tasks[0]->since_us == 500 &&
                    start->tasks[0]->tail == -1);
        uint64_t stream = start->stream;
        assert_null(take_start(&r, &n));
        for (int i = 0; i < 3; i++)
                say_lines(&r, &n, stream, task, 500, "abc" + i);
        const Swarm__Response *m = take(&r);
        assert_memory_equal(m->log->lines[0]->text.data, "c", 1);
        assert_null(take(&r));
        q.n_after = LOG_TASKS_MAX + 1;
        q.after = xcalloc(q.n_after, sizeof(*q.after));
        for (size_t i = 0; i < q.n_after; i++)
                q.after[i] = &gone;
        send_kind(&r, SWARM__REQUEST__KIND_LOGS, &q, 0);
        assert_int_equal(take(&r)->code, EINVAL);
        free(q.after);
        core_close(&r);
}

/* Lines that were rotated away before they came a second time are not waited for. */
static void test_log_goes_on_after_rotation(void **state UNUSED)
{
        Swarm__LogsRequest q = SWARM__LOGS_REQUEST__INIT;
        Swarm__LogPosition known = SWARM__LOG_POSITION__INIT, *after = &known;
        uint8_t id[ID_BYTES];
        struct core_node n;
        struct core r;
        struct id task;

        open_running(&r, &n, &task);
        known.task_id = wire_id(task, id);
        known.time_us = 500;
        known.count = 2;
        q.ref = (char *)"web.1";
        q.after = &after;
        q.n_after = 1;
        send_kind(&r, SWARM__REQUEST__KIND_LOGS, &q, 0);
        uint64_t stream = take_start(&r, &n)->stream;
        say_lines(&r, &n, stream, task, 600, "a");
        say_lines(&r, &n, stream, task, 600, "b");
        assert_memory_equal(take(&r)->log->lines[0]->text.data, "a", 1);
        assert_memory_equal(take(&r)->log->lines[0]->text.data, "b", 1);
        core_close(&r);
}

static void test_log_warnings(void **state UNUSED)
{
        struct core r;

        core_open(&r);
        core_add_image(&r);
        core_add_service(&r, "web", 1);
        ask_logs(&r, "web", false);
        assert_string_equal(take(&r)->log->warning, "task web.1 has not been scheduled");
        assert_false(take(&r)->more);
        core_close(&r);
}

static void test_client_gone(void **state UNUSED)
{
        struct core_node n;
        struct core r;
        struct id task;

        open_running(&r, &n, &task);
        ask_logs(&r, "web", true);
        watch(&r, "web");
        core_drop_effects(&r);
        turn_input_client_gone(r.turn, CLIENT);
        core_run(&r);
        assert_non_null(core_take_message(&r, (struct peer){.node = n.id},
                                          SWARM__MANAGER_MESSAGE__KIND_LOG_STOP));
        core_status(&r, &n, 2, 2, task, TASK_FAILED, "exit 1");
        core_run(&r);
        assert_null(take(&r));
        core_close(&r);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_watch),
                cmocka_unit_test(test_watch_of_many),
                cmocka_unit_test(test_watch_stopping),
                cmocka_unit_test(test_watch_pending),
                cmocka_unit_test(test_watch_ends),
                cmocka_unit_test(test_events),
                cmocka_unit_test(test_image_events),
                cmocka_unit_test(test_logs),
                cmocka_unit_test(test_log_credit),
                cmocka_unit_test(test_log_follow),
                cmocka_unit_test(test_log_warnings),
                cmocka_unit_test(test_client_gone),
                cmocka_unit_test(test_logs_are_bounded),
                cmocka_unit_test(test_log_start_is_lost),
                cmocka_unit_test(test_log_of_many_tasks_goes_on),
                cmocka_unit_test(test_log_goes_on),
                cmocka_unit_test(test_log_goes_on_after_rotation),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
