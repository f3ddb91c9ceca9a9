/* The agent's core, driven through its ports: each way of a task, the sets, the session. */
#include "tests/lib/unit.h"

#include <errno.h>
#include <stdio.h>

#include "agent/agent.h"
#include "shared/base/base.h"
#include "shared/model/model.h"
#include "shared/wire/wire.h"

#define RECORDS_MAX 16

struct record {
        struct id id;
        struct buf bytes;
};

/* What the core asked for, as words: "prepare 1", "start 1", and what it sent last. */
struct fake {
        struct agent *a;
        struct now now;
        struct buf log;
        struct buf sent[64];
        size_t n_sent;
        struct record journal[RECORDS_MAX];
        uint64_t session, seq;
        uint64_t registered; /* number of the last Register */
        Swarm__NodeDescription description;
};

static struct id make_id(uint64_t n)
{
        return (struct id){n, ~n};
}

static void note(struct fake *f, const char *what, struct id id)
{
        buf_printf(&f->log, "%s%s %llu", f->log.len ? " " : "", what, (unsigned long long)id.hi);
}

static void port_send(void *arg, const uint8_t *p, size_t n)
{
        struct fake *f = arg;

        _cleanup_arena_ struct wire_arena arena = {0};
        Swarm__AgentMessage *m = wire_unpack(&arena, &swarm__agent_message__descriptor, p, n);

        assert_non_null(m);
        if (m->kind_case == SWARM__AGENT_MESSAGE__KIND_REGISTER)
                f->registered = m->register_->number;
        assert_true(f->n_sent < ARRAY_SIZE(f->sent));
        buf_append(&f->sent[f->n_sent++], p, n);
}

static void port_reconnect(void *arg)
{
        struct fake *f = arg;

        buf_printf(&f->log, "%sreconnect", f->log.len ? " " : "");
}

static void port_prepare(void *arg, const struct agent_task *t)
{
        assert_non_null(t->spec->task->container);
        note(arg, "prepare", t->id);
}

static void port_start(void *arg, const struct agent_task *t)
{
        assert_non_null(t->spec->task->container);
        note(arg, "start", t->id);
}

static void port_stop(void *arg, struct id id)
{
        note(arg, "stop", id);
}

static void port_remove(void *arg, struct id id)
{
        note(arg, "remove", id);
}

static struct record *find_record(struct fake *f, struct id id)
{
        struct record *unused = NULL;

        for (size_t i = 0; i < RECORDS_MAX; i++) {
                if (id_is_equal(f->journal[i].id, id))
                        return &f->journal[i];
                if (id_is_zero(f->journal[i].id))
                        unused = &f->journal[i];
        }
        return unused;
}

static void port_put(void *arg, struct id id, const uint8_t *p, size_t n)
{
        struct record *r = find_record(arg, id);

        assert_non_null(r);
        r->id = id;
        buf_clear(&r->bytes);
        buf_append(&r->bytes, p, n);
}

static void port_forget(void *arg, struct id id)
{
        struct record *r = find_record(arg, id);

        assert_non_null(r);
        buf_done(&r->bytes);
        r->id = (struct id){0, 0};
}

static void port_session(void *arg UNUSED, const Swarm__Session *m)
{
        assert_int_equal(m->node_id.len, ID_BYTES);
}

static void make_agent(struct fake *f)
{
        struct agent_ports ports = {.arg = f,
                                    .send = port_send,
                                    .reconnect = port_reconnect,
                                    .container_prepare = port_prepare,
                                    .container_start = port_start,
                                    .container_stop = port_stop,
                                    .container_remove = port_remove,
                                    .journal_put = port_put,
                                    .journal_remove = port_forget,
                                    .on_session = port_session};
        struct agent_config c = {7, &f->description};

        f->a = agent_new(&c, &ports);
}

static void clear_sent(struct fake *f)
{
        for (size_t i = 0; i < f->n_sent; i++)
                buf_clear(&f->sent[i]);
        f->n_sent = 0;
}

static int set_up(void **state)
{
        struct fake *f = xnew(struct fake);

        f->now = (struct now){1000, 5000000};
        swarm__node_description__init(&f->description);
        make_agent(f);
        *state = f;
        return 0;
}

static int tear_down(void **state)
{
        struct fake *f = *state;

        agent_free(f->a);
        for (size_t i = 0; i < ARRAY_SIZE(f->sent); i++)
                buf_done(&f->sent[i]);
        for (size_t i = 0; i < RECORDS_MAX; i++)
                buf_done(&f->journal[i].bytes);
        buf_done(&f->log);
        free(f);
        return 0;
}

/* Checks what the ports were asked for since the last check. */
static void expect(struct fake *f, const char *words)
{
        assert_string_equal(buf_str(&f->log), words);
        buf_clear(&f->log);
}

/* What was sent since the last check: "register", "heartbeat 3", "status 1: 4=running". */
static void describe_sent(struct fake *f, struct buf *out)
{
        for (size_t i = 0; i < f->n_sent; i++) {
                Swarm__AgentMessage *m = wire_unpack_heap(&swarm__agent_message__descriptor,
                                                          f->sent[i].data, f->sent[i].len);

                assert_non_null(m);
                buf_puts(out, i ? "; " : "");
                switch (m->kind_case) {
                case SWARM__AGENT_MESSAGE__KIND_REGISTER: buf_puts(out, "register"); break;
                case SWARM__AGENT_MESSAGE__KIND_HEARTBEAT:
                        buf_printf(out, "heartbeat %d", (int)m->heartbeat->assigned_seq);
                        break;
                case SWARM__AGENT_MESSAGE__KIND_STATUS:
                        buf_printf(out, "status %d:", (int)m->status->seq);
                        for (size_t k = 0; k < m->status->n_statuses; k++) {
                                const Swarm__TaskStatus *s = m->status->statuses[k];
                                struct id id;

                                assert_int_equal(wire_get_id(&s->task_id, &id), 0);
                                buf_printf(out, " %d=%s", (int)id.hi, task_state_name(s->state));
                                if (*s->error)
                                        buf_printf(out, "(%s)", s->error);
                        }
                        break;
                default: fail();
                }
                wire_free(m);
        }
        clear_sent(f);
}

static void expect_sent(struct fake *f, const char *words)
{
        _cleanup_buf_ struct buf b = {0};

        describe_sent(f, &b);
        assert_string_equal(buf_str(&b), words);
}

static void deliver(struct fake *f, Swarm__ManagerMessage *m)
{
        _cleanup_buf_ struct buf b = {0};

        m->session = (ProtobufCBinaryData){sizeof(f->session), (uint8_t *)&f->session};
        WIRE_PACK(m, &b);
        agent_on_message(f->a, f->now, b.data, b.len);
}

static void give_session(struct fake *f)
{
        Swarm__ManagerMessage m = SWARM__MANAGER_MESSAGE__INIT;
        Swarm__Session s = SWARM__SESSION__INIT;
        uint8_t node[ID_BYTES];

        f->session++;
        f->seq = 0;
        s.session = (ProtobufCBinaryData){sizeof(f->session), (uint8_t *)&f->session};
        s.node_id = wire_id(make_id(77), node);
        s.heartbeat_ms = 1000;
        s.dead_ms = 3000;
        s.answers = f->registered;
        m.kind_case = SWARM__MANAGER_MESSAGE__KIND_SESSION_START;
        m.session_start = &s;
        deliver(f, &m);
}

/* A set of tasks that all are of service 9. */
struct set {
        bool is_complete, is_continued, has_no_spec;
        uint64_t applies_to, results_in; /* 0: what fits */
        struct {
                uint64_t id;
                enum task_state desired;
        } tasks[4];
        uint64_t removed;
};

static void give_set(struct fake *f, const struct set *set)
{
        Swarm__ManagerMessage m = SWARM__MANAGER_MESSAGE__INIT;
        Swarm__Assignments as = SWARM__ASSIGNMENTS__INIT;
        Swarm__TaskAssignment tasks[4], *list[4];
        Swarm__ServiceSpec spec = SWARM__SERVICE_SPEC__INIT;
        Swarm__TaskSpec task = SWARM__TASK_SPEC__INIT;
        Swarm__ContainerSpec container = SWARM__CONTAINER_SPEC__INIT;
        Swarm__SpecVersion version = SWARM__SPEC_VERSION__INIT, *versions = &version;
        uint8_t ids[6][ID_BYTES];
        ProtobufCBinaryData removed = wire_id(make_id(set->removed), ids[4]);
        _cleanup_buf_ struct buf packed = {0};

        spec.name = (char *)"web";
        spec.task = &task;
        task.container = &container;
        WIRE_PACK(&spec, &packed);
        version.service_id = wire_id(make_id(9), ids[5]);
        version.spec_version = 1;
        version.spec = (ProtobufCBinaryData){packed.len, packed.data};
        as.is_complete = set->is_complete;
        as.is_continued = set->is_continued;
        as.applies_to = set->applies_to ? set->applies_to : (set->is_complete ? 0 : f->seq);
        as.results_in = set->results_in ? set->results_in : ++f->seq;
        as.specs = &versions;
        as.n_specs = set->has_no_spec ? 0 : 1;
        as.tasks = list;
        for (size_t i = 0; i < 4 && set->tasks[i].id; i++) {
                swarm__task_assignment__init(&tasks[i]);
                tasks[i].task_id = wire_id(make_id(set->tasks[i].id), ids[i]);
                tasks[i].service_id = version.service_id;
                tasks[i].spec_version = 1;
                tasks[i].slot = i + 1;
                tasks[i].desired = set->tasks[i].desired;
                list[as.n_tasks++] = &tasks[i];
        }
        as.removed = &removed;
        as.n_removed = set->removed ? 1 : 0;
        m.kind_case = SWARM__MANAGER_MESSAGE__KIND_ASSIGNMENTS;
        m.assignments = &as;
        deliver(f, &m);
}

static void acknowledge(struct fake *f, uint64_t seq)
{
        Swarm__ManagerMessage m = SWARM__MANAGER_MESSAGE__INIT;
        Swarm__StatusAck ack = SWARM__STATUS_ACK__INIT;

        ack.seq = seq;
        m.kind_case = SWARM__MANAGER_MESSAGE__KIND_STATUS_ACK;
        m.status_ack = &ack;
        deliver(f, &m);
}

static void refuse(struct fake *f, int code)
{
        Swarm__ManagerMessage m = SWARM__MANAGER_MESSAGE__INIT;
        Swarm__Refused r = SWARM__REFUSED__INIT;

        r.code = (uint32_t)code;
        m.kind_case = SWARM__MANAGER_MESSAGE__KIND_REFUSED;
        m.refused = &r;
        deliver(f, &m);
}

static void happen(struct fake *f, uint64_t task, enum container_event_kind kind)
{
        struct container_event e = {.task = make_id(task), .kind = kind, .text = "broken"};

        agent_on_container(f->a, f->now, &e);
}

static void end(struct fake *f, uint64_t task, int exit_code, bool is_oom)
{
        struct container_event e = {.task = make_id(task),
                                    .kind = CONTAINER_EXITED,
                                    .exit_code = exit_code,
                                    .is_oom = is_oom};

        agent_on_container(f->a, f->now, &e);
}

static void tick(struct fake *f, int64_t ms)
{
        f->now.mono_ms += ms;
        f->now.wall_ms += ms;
        agent_tick(f->a, f->now);
}

/* Connected, with a session and an empty set. */
static void begin(struct fake *f)
{
        agent_start(f->a, f->now);
        agent_on_connected(f->a, f->now);
        expect_sent(f, "register");
        give_session(f);
        give_set(f, &(struct set){.is_complete = true});
        expect_sent(f, "");
}

/* A task that runs, all of it acknowledged. The next batch is number 2. */
static void begin_running(struct fake *f, uint64_t task)
{
        begin(f);
        give_set(f, &(struct set){.tasks = {{task, TASK_RUNNING}}});
        happen(f, task, CONTAINER_PREPARED);
        happen(f, task, CONTAINER_STARTED);
        clear_sent(f);
        acknowledge(f, 1);
        buf_clear(&f->log);
}

/* The agent's process dies; what was in the journal is loaded into a new one. */
static void restart(struct fake *f)
{
        agent_free(f->a);
        make_agent(f);
        for (size_t i = 0; i < RECORDS_MAX; i++)
                if (!id_is_zero(f->journal[i].id))
                        assert_int_equal(agent_load_task(f->a, f->journal[i].bytes.data,
                                                         f->journal[i].bytes.len),
                                         0);
        clear_sent(f);
        buf_clear(&f->log);
}

static bool journal_has(struct fake *f, uint64_t task)
{
        struct record *r = find_record(f, make_id(task));

        return r && id_is_equal(r->id, make_id(task));
}

/* --- ways of a task ----------------------------------------------------------------------------
 */

static void fast_start_is_one_report(void **state)
{
        struct fake *f = *state;

        begin(f);
        give_set(f, &(struct set){.tasks = {{1, TASK_RUNNING}, {2, TASK_RUNNING}}});
        expect(f, "prepare 1 prepare 2");
        happen(f, 1, CONTAINER_PREPARED);
        expect(f, "start 1");
        expect_sent(f, "");
        happen(f, 1, CONTAINER_STARTED);
        expect_sent(f, "status 1: 1=running 2=preparing");
        happen(f, 2, CONTAINER_PREPARED);
        happen(f, 2, CONTAINER_STARTED);
        expect_sent(f, "");
        acknowledge(f, 1);
        expect_sent(f, "status 2: 2=running");
        acknowledge(f, 2);
        tick(f, 500);
        expect_sent(f, "");
}

static void slow_prepare_is_told(void **state)
{
        struct fake *f = *state;

        begin(f);
        give_set(f, &(struct set){.tasks = {{1, TASK_READY}}});
        tick(f, 60);
        expect_sent(f, "status 1: 1=preparing");
        acknowledge(f, 1);
        happen(f, 1, CONTAINER_PREPARED);
        expect(f, "prepare 1");
        expect_sent(f, "status 2: 1=ready");
        give_set(f, &(struct set){.tasks = {{1, TASK_RUNNING}}});
        expect(f, "start 1");
}

static void health_check_gates_running(void **state)
{
        struct fake *f = *state;
        struct container_event e = {
                .task = make_id(1), .kind = CONTAINER_STARTED, .is_health_checked = true};

        begin(f);
        give_set(f, &(struct set){.tasks = {{1, TASK_RUNNING}}});
        happen(f, 1, CONTAINER_PREPARED);
        agent_on_container(f->a, f->now, &e);
        tick(f, 60);
        expect_sent(f, "status 1: 1=starting");
        acknowledge(f, 1);
        happen(f, 1, CONTAINER_HEALTHY);
        expect_sent(f, "status 2: 1=running");
        acknowledge(f, 2);
        buf_clear(&f->log);
        happen(f, 1, CONTAINER_UNHEALTHY);
        expect(f, "stop 1");
        end(f, 1, 143, false);
        expect_sent(f, "status 3: 1=failed(unhealthy container)");
}

static void ends_are_told_apart(void **state)
{
        static const struct {
                int exit_code;
                bool is_oom;
                const char *sent;
        } cases[] = {
                {0, false, "status 2: 1=complete"},
                {3, false, "status 2: 1=failed(task: non-zero exit (3))"},
                {137, true, "status 2: 1=failed(task: non-zero exit (137): out of memory)"},
                {-1, false, "status 2: 1=failed(task: exit status not known)"},
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct fake *f;

                set_up((void **)&f);
                begin_running(f, 1);
                end(f, 1, cases[i].exit_code, cases[i].is_oom);
                expect_sent(f, cases[i].sent);
                expect(f, "");
                tear_down((void **)&f);
        }
        (void)state;
}

static void stopped_as_asked_is_shutdown(void **state)
{
        struct fake *f = *state;

        begin_running(f, 1);
        give_set(f, &(struct set){.tasks = {{1, TASK_SHUTDOWN}}});
        expect(f, "stop 1");
        expect_sent(f, "");
        end(f, 1, 143, false);
        expect_sent(f, "status 2: 1=shutdown");
        acknowledge(f, 2);
        give_set(f, &(struct set){.removed = 1});
        expect(f, "remove 1");
        assert_true(journal_has(f, 1));
        happen(f, 1, CONTAINER_REMOVED);
        assert_false(journal_has(f, 1));
        tick(f, 500);
        expect_sent(f, "");
}

static void failed_prepare_is_rejected(void **state)
{
        struct fake *f = *state;

        begin(f);
        give_set(f, &(struct set){.tasks = {{1, TASK_RUNNING}}});
        happen(f, 1, CONTAINER_FAILED);
        expect_sent(f, "status 1: 1=rejected(broken)");
}

static void failed_start_is_failed(void **state)
{
        struct fake *f = *state;

        begin(f);
        give_set(f, &(struct set){.tasks = {{1, TASK_RUNNING}}});
        happen(f, 1, CONTAINER_PREPARED);
        happen(f, 1, CONTAINER_FAILED);
        expect_sent(f, "status 1: 1=failed(broken)");
}

static void removed_while_preparing(void **state)
{
        struct fake *f = *state;

        begin(f);
        give_set(f, &(struct set){.tasks = {{1, TASK_RUNNING}}});
        give_set(f, &(struct set){.removed = 1});
        expect(f, "prepare 1");
        happen(f, 1, CONTAINER_PREPARED);
        expect(f, "remove 1");
        happen(f, 1, CONTAINER_REMOVED);
        assert_false(journal_has(f, 1));
        expect_sent(f, "");
}

static void shut_down_while_preparing_is_told_at_once(void **state)
{
        struct fake *f = *state;

        begin(f);
        give_set(f, &(struct set){.tasks = {{1, TASK_RUNNING}}});
        give_set(f, &(struct set){.tasks = {{1, TASK_SHUTDOWN}}});
        expect_sent(f, "status 1: 1=shutdown");
        happen(f, 1, CONTAINER_PREPARED);
        expect(f, "prepare 1");
}

static void stop_during_start_waits_for_it(void **state)
{
        struct fake *f = *state;

        begin(f);
        give_set(f, &(struct set){.tasks = {{1, TASK_RUNNING}}});
        happen(f, 1, CONTAINER_PREPARED);
        give_set(f, &(struct set){.tasks = {{1, TASK_SHUTDOWN}}});
        expect(f, "prepare 1 start 1");
        happen(f, 1, CONTAINER_STARTED);
        expect(f, "stop 1");
        end(f, 1, 0, false);
        expect_sent(f, "status 1: 1=shutdown");
}

static void removed_while_running_is_stopped_first(void **state)
{
        struct fake *f = *state;

        begin_running(f, 1);
        give_set(f, &(struct set){.removed = 1});
        expect(f, "stop 1");
        end(f, 1, 143, false);
        expect(f, "remove 1");
        happen(f, 1, CONTAINER_REMOVED);
        expect_sent(f, "");
        assert_false(journal_has(f, 1));
}

/* --- sets --------------------------------------------------------------------------------------
 */

static void complete_set_removes_the_rest(void **state)
{
        struct fake *f = *state;

        begin_running(f, 1);
        give_set(f, &(struct set){.is_complete = true, .tasks = {{2, TASK_RUNNING}}});
        expect(f, "prepare 2 stop 1");
}

static void complete_set_in_parts(void **state)
{
        struct fake *f = *state;

        begin_running(f, 1);
        give_set(f, &(struct set){.is_complete = true,
                                  .is_continued = true,
                                  .tasks = {{2, TASK_RUNNING}}});
        expect(f, "prepare 2");
        give_set(f, &(struct set){.is_complete = true, .applies_to = f->seq, .tasks = {{1, 512}}});
        expect(f, "");
        give_set(f, &(struct set){.is_complete = true});
        expect(f, "stop 1");
}

static void complete_set_that_begins_anew_stands_alone(void **state)
{
        struct fake *f = *state;

        begin_running(f, 1);
        give_set(f, &(struct set){.is_complete = true,
                                  .is_continued = true,
                                  .tasks = {{1, TASK_RUNNING}}});
        give_set(f, &(struct set){.is_complete = true,
                                  .is_continued = true,
                                  .tasks = {{2, TASK_RUNNING}}});
        expect(f, "prepare 2");
        give_set(f, &(struct set){.is_complete = true, .applies_to = f->seq, .tasks = {{3, 512}}});
        expect(f, "prepare 3 stop 1");
        expect_sent(f, "");
}

static void copy_of_a_first_part_is_ignored(void **state)
{
        struct fake *f = *state;
        struct set part = {.is_complete = true, .is_continued = true, .tasks = {{1, TASK_RUNNING}}};

        begin_running(f, 1);
        give_set(f, &part);
        part.results_in = f->seq;
        give_set(f, &part);
        give_set(f, &(struct set){.is_complete = true, .applies_to = f->seq});
        expect(f, "");
        expect_sent(f, "");
}

static void later_part_without_the_first_is_not_taken(void **state)
{
        struct fake *f = *state;

        begin_running(f, 1);
        agent_on_connected(f->a, f->now);
        give_session(f);
        clear_sent(f);
        f->seq = 1;
        give_set(f, &(struct set){.is_complete = true, .applies_to = 1, .tasks = {{2, 512}}});
        expect(f, "");
        expect_sent(f, "register");
}

static void lost_part_of_a_complete_set_is_noticed(void **state)
{
        struct fake *f = *state;

        begin_running(f, 1);
        give_set(f, &(struct set){.is_complete = true, .is_continued = true});
        f->seq++;
        give_set(f, &(struct set){.is_complete = true, .applies_to = f->seq});
        expect(f, "");
        expect_sent(f, "register");
}

static void gap_asks_for_everything(void **state)
{
        struct fake *f = *state;

        begin(f);
        f->seq += 2;
        give_set(f, &(struct set){.tasks = {{1, TASK_RUNNING}}});
        expect(f, "");
        expect_sent(f, "register");
        give_session(f);
        give_set(f, &(struct set){.is_complete = true, .tasks = {{1, TASK_RUNNING}}});
        expect(f, "prepare 1");
}

static void copy_of_a_set_is_ignored(void **state)
{
        struct fake *f = *state;

        begin(f);
        give_set(f, &(struct set){.tasks = {{1, TASK_RUNNING}}});
        give_set(f, &(struct set){.tasks = {{2, TASK_RUNNING}}});
        expect(f, "prepare 1 prepare 2");
        give_set(f, &(struct set){.applies_to = 1, .results_in = 2, .removed = 1});
        expect(f, "");
        expect_sent(f, "");
}

static void unknown_spec_asks_for_everything(void **state)
{
        struct fake *f = *state;

        agent_start(f->a, f->now);
        agent_on_connected(f->a, f->now);
        give_session(f);
        give_set(f, &(struct set){.is_complete = true, .has_no_spec = true, .tasks = {{1, 512}}});
        expect(f, "");
        expect_sent(f, "register; register");
}

static void garbage_and_other_sessions_are_dropped(void **state)
{
        struct fake *f = *state;
        static const uint8_t garbage[] = {0xff, 0x07, 0x80, 0x80};

        begin(f);
        agent_on_message(f->a, f->now, garbage, sizeof(garbage));
        f->session += 5;
        give_set(f, &(struct set){.tasks = {{1, TASK_RUNNING}}});
        expect(f, "");
        expect_sent(f, "");
}

/* The answer to an earlier Register, overtaken by that to a later one: its sets are old. */
static void late_session_is_ignored(void **state)
{
        struct fake *f = *state;

        agent_start(f->a, f->now);
        agent_on_connected(f->a, f->now);
        tick(f, 1000);
        expect_sent(f, "register; register");
        give_session(f);
        give_set(f, &(struct set){.is_complete = true, .tasks = {{1, TASK_RUNNING}}});
        expect(f, "prepare 1");
        f->registered = 1;
        give_session(f);
        give_set(f, &(struct set){.is_complete = true});
        happen(f, 1, CONTAINER_PREPARED);
        expect(f, "start 1");
}

static void complete_set_that_never_comes_is_asked_for(void **state)
{
        struct fake *f = *state;

        agent_start(f->a, f->now);
        agent_on_connected(f->a, f->now);
        give_session(f);
        clear_sent(f);
        for (int i = 0; i < 2; i++) {
                tick(f, 1000);
                acknowledge(f, 0); /* the manager is alive */
        }
        clear_sent(f);
        tick(f, 1000);
        expect_sent(f, "register");
}

/* --- reports -----------------------------------------------------------------------------------
 */

static void reports_are_sent_again_until_acknowledged(void **state)
{
        struct fake *f = *state;

        begin_running(f, 1);
        end(f, 1, 0, false);
        expect_sent(f, "status 2: 1=complete");
        tick(f, 1000);
        expect_sent(f, "heartbeat 2; status 2: 1=complete");
        agent_on_connected(f->a, f->now);
        give_session(f);
        expect_sent(f, "register; status 3: 1=complete");
        acknowledge(f, 2); /* of the batch before: not what waits */
        tick(f, 999);
        expect_sent(f, "");
        tick(f, 1);
        expect_sent(f, "heartbeat 0; status 3: 1=complete");
        acknowledge(f, 3);
        tick(f, 1000);
        expect_sent(f, "heartbeat 0");
}

/* --- session -----------------------------------------------------------------------------------
 */

static void heartbeats_and_silence(void **state)
{
        struct fake *f = *state;

        begin(f);
        assert_int_equal(agent_deadline(f->a), f->now.mono_ms + 1000);
        tick(f, 1000);
        tick(f, 1000);
        expect_sent(f, "heartbeat 1; heartbeat 1");
        expect(f, "");
        tick(f, 1000);
        tick(f, 100); /* the longest first pause */
        expect(f, "reconnect");
        assert_int_equal(agent_session(f->a).len, 0);
        agent_on_connected(f->a, f->now);
        expect_sent(f, "register");
}

static void pauses_grow_and_are_bounded(void **state)
{
        struct fake *f = *state;
        int64_t longest = 0;

        begin(f);
        for (int i = 0; i < 40; i++) {
                int64_t silent_since = f->now.mono_ms;

                buf_clear(&f->log);
                while (f->log.len == 0) {
                        f->now.mono_ms = MAX(agent_deadline(f->a), f->now.mono_ms);
                        agent_tick(f->a, f->now);
                }
                expect(f, "reconnect");
                longest = MAX(longest, f->now.mono_ms - silent_since - 3000);
                agent_on_connected(f->a, f->now);
                clear_sent(f);
        }
        assert_true(longest > 4000);
        assert_true(longest <= 8000);
}

static void unknown_session_registers_again(void **state)
{
        struct fake *f = *state;

        begin(f);
        refuse(f, ESRCH);
        tick(f, 100);
        expect_sent(f, "register");
        expect(f, "");
}

static void removed_node_keeps_its_containers(void **state)
{
        struct fake *f = *state;

        begin_running(f, 1);
        refuse(f, EACCES);
        tick(f, 8000);
        expect(f, "reconnect");
        expect_sent(f, "");
}

static void abandoned_containers_end(void **state)
{
        struct fake *f = *state;

        begin_running(f, 1);
        assert_false(agent_is_idle(f->a));
        refuse(f, EACCES);
        agent_abandon(f->a, f->now);
        expect(f, "stop 1");
        end(f, 1, 143, false);
        expect(f, "remove 1");
        happen(f, 1, CONTAINER_REMOVED);
        expect_sent(f, "");
        assert_true(agent_is_idle(f->a));
        restart(f);
        assert_true(agent_is_idle(f->a));
}

/* --- restart of the agent ----------------------------------------------------------------------
 */

static void restart_finds_it_running(void **state)
{
        struct fake *f = *state;

        begin_running(f, 1);
        restart(f);
        agent_load_container(f->a, make_id(1), true, NULL);
        agent_start(f->a, f->now);
        expect(f, "");
        agent_on_connected(f->a, f->now);
        give_session(f);
        expect_sent(f, "register; status 1: 1=running");
        give_set(f, &(struct set){.is_complete = true, .tasks = {{1, TASK_RUNNING}}});
        expect(f, "");
}

static void restart_finds_it_ended(void **state)
{
        struct fake *f = *state;
        struct container_event e = {
                .task = make_id(1), .kind = CONTAINER_EXITED, .exit_code = 4, .wall_ms = 123};

        begin_running(f, 1);
        restart(f);
        agent_load_container(f->a, make_id(1), false, &e);
        agent_start(f->a, f->now);
        agent_on_connected(f->a, f->now);
        give_session(f);
        expect_sent(f, "register; status 1: 1=failed(task: non-zero exit (4))");
        expect(f, "");
}

static void restart_finds_it_gone(void **state)
{
        struct fake *f = *state;

        begin_running(f, 1);
        restart(f);
        agent_start(f->a, f->now);
        agent_on_connected(f->a, f->now);
        give_session(f);
        expect_sent(f, "register; status 1: 1=failed(task: exit status not known: the container "
                       "was gone when the agent started)");
}

/* Its image comes with the first set. */
static void restart_before_the_start_goes_on_when_it_is_named(void **state)
{
        struct fake *f = *state;

        begin(f);
        give_set(f, &(struct set){.tasks = {{1, TASK_RUNNING}, {2, TASK_RUNNING}}});
        restart(f);
        agent_start(f->a, f->now);
        agent_on_connected(f->a, f->now);
        give_session(f);
        expect(f, "");
        give_set(f, &(struct set){.is_complete = true, .tasks = {{1, TASK_RUNNING}}});
        expect(f, "prepare 1");
        assert_false(journal_has(f, 2));
        happen(f, 1, CONTAINER_PREPARED);
        expect(f, "start 1");
}

static void restart_before_the_start_ends_if_told(void **state)
{
        struct fake *f = *state;

        begin(f);
        give_set(f, &(struct set){.tasks = {{1, TASK_RUNNING}}});
        restart(f);
        agent_start(f->a, f->now);
        agent_on_connected(f->a, f->now);
        give_session(f);
        clear_sent(f);
        acknowledge(f, 1);
        give_set(f, &(struct set){.is_complete = true, .tasks = {{1, TASK_SHUTDOWN}}});
        expect(f, "");
        expect_sent(f, "status 2: 1=shutdown");
}

static void restart_goes_on_stopping(void **state)
{
        struct fake *f = *state;

        begin_running(f, 1);
        give_set(f, &(struct set){.tasks = {{1, TASK_SHUTDOWN}}});
        restart(f);
        agent_load_container(f->a, make_id(1), true, NULL);
        agent_start(f->a, f->now);
        expect(f, "stop 1");
}

static void restart_goes_on_removing(void **state)
{
        struct fake *f = *state;

        begin_running(f, 1);
        give_set(f, &(struct set){.removed = 1});
        end(f, 1, 0, false);
        restart(f);
        agent_start(f->a, f->now);
        expect(f, "remove 1");
        happen(f, 1, CONTAINER_REMOVED);
        assert_false(journal_has(f, 1));
}

static void container_of_no_task_is_removed(void **state)
{
        struct fake *f = *state;

        agent_load_container(f->a, make_id(5), true, NULL);
        agent_start(f->a, f->now);
        expect(f, "stop 5");
        end(f, 5, 0, false);
        expect(f, "remove 5");
}

/* A lost journal: the manager still has the task whose container is of no task here. */
static void begin_unknown_container(struct fake *f)
{
        agent_load_container(f->a, make_id(5), true, NULL);
        agent_start(f->a, f->now);
        expect(f, "stop 5");
        agent_on_connected(f->a, f->now);
        give_session(f);
        clear_sent(f);
        give_set(f, &(struct set){.is_complete = true, .tasks = {{5, TASK_RUNNING}}});
        expect(f, "");
}

static void task_of_an_unknown_container_begins_when_it_is_gone(void **state)
{
        struct fake *f = *state;

        begin_unknown_container(f);
        end(f, 5, 143, false);
        expect(f, "remove 5");
        expect_sent(f, "");
        happen(f, 5, CONTAINER_REMOVED);
        expect(f, "prepare 5");
        assert_true(journal_has(f, 5));
        happen(f, 5, CONTAINER_PREPARED);
        happen(f, 5, CONTAINER_STARTED);
        expect(f, "start 5");
        expect_sent(f, "status 1: 5=running");
        give_set(f, &(struct set){.is_complete = true});
        expect(f, "stop 5");
}

static void task_of_an_unknown_container_may_end_before_it_begins(void **state)
{
        struct fake *f = *state;

        begin_unknown_container(f);
        end(f, 5, 143, false);
        give_set(f, &(struct set){.tasks = {{5, TASK_SHUTDOWN}}});
        happen(f, 5, CONTAINER_REMOVED);
        expect(f, "remove 5");
        expect_sent(f, "status 1: 5=shutdown");
}

static void task_of_an_unknown_container_may_be_removed_meanwhile(void **state)
{
        struct fake *f = *state;

        begin_unknown_container(f);
        give_set(f, &(struct set){.removed = 5});
        end(f, 5, 143, false);
        happen(f, 5, CONTAINER_REMOVED);
        expect(f, "remove 5");
        assert_false(journal_has(f, 5));
        assert_true(agent_is_idle(f->a));
        expect_sent(f, "");
}

static void bad_records_are_refused(void **state)
{
        struct fake *f = *state;
        static const uint8_t garbage[] = {0x0a, 0xff};

        assert_int_equal(agent_load_task(f->a, garbage, sizeof(garbage)), -EBADMSG);
        assert_int_equal(agent_load_task(f->a, NULL, 0), -EBADMSG);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
        const struct CMUnitTest tests[] = {
                T(fast_start_is_one_report),
                T(slow_prepare_is_told),
                T(health_check_gates_running),
                T(ends_are_told_apart),
                T(stopped_as_asked_is_shutdown),
                T(failed_prepare_is_rejected),
                T(failed_start_is_failed),
                T(removed_while_preparing),
                T(shut_down_while_preparing_is_told_at_once),
                T(stop_during_start_waits_for_it),
                T(removed_while_running_is_stopped_first),
                T(complete_set_removes_the_rest),
                T(complete_set_in_parts),
                T(complete_set_that_begins_anew_stands_alone),
                T(copy_of_a_first_part_is_ignored),
                T(later_part_without_the_first_is_not_taken),
                T(lost_part_of_a_complete_set_is_noticed),
                T(gap_asks_for_everything),
                T(copy_of_a_set_is_ignored),
                T(unknown_spec_asks_for_everything),
                T(garbage_and_other_sessions_are_dropped),
                T(late_session_is_ignored),
                T(complete_set_that_never_comes_is_asked_for),
                T(reports_are_sent_again_until_acknowledged),
                T(heartbeats_and_silence),
                T(pauses_grow_and_are_bounded),
                T(unknown_session_registers_again),
                T(removed_node_keeps_its_containers),
                T(abandoned_containers_end),
                T(restart_finds_it_running),
                T(restart_finds_it_ended),
                T(restart_finds_it_gone),
                T(restart_before_the_start_goes_on_when_it_is_named),
                T(restart_before_the_start_ends_if_told),
                T(restart_goes_on_stopping),
                T(restart_goes_on_removing),
                T(container_of_no_task_is_removed),
                T(task_of_an_unknown_container_begins_when_it_is_gone),
                T(task_of_an_unknown_container_may_end_before_it_begins),
                T(task_of_an_unknown_container_may_be_removed_meanwhile),
                T(bad_records_are_refused),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
