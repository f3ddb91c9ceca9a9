/* The agent's core for tests: see agent_rig.h. */
#include "tests/lib/agent_rig.h"

#include "tests/lib/unit.h"

#include "shared/model/model.h"
#include "shared/wire/wire.h"

struct id fake_id(uint64_t n)
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

static void port_adopt(void *arg, const struct agent_task *t)
{
        assert_non_null(t->spec->task->container);
        note(arg, "adopt", t->id);
}

static void port_stop(void *arg, struct id id)
{
        note(arg, "stop", id);
}

static void port_remove(void *arg, struct id id)
{
        note(arg, "remove", id);
}

static struct fake_record *find_record(struct fake *f, struct id id)
{
        struct fake_record *unused = NULL;

        for (size_t i = 0; i < FAKE_RECORDS_MAX; i++) {
                if (id_is_equal(f->journal[i].id, id))
                        return &f->journal[i];
                if (id_is_zero(f->journal[i].id))
                        unused = &f->journal[i];
        }
        return unused;
}

static void port_put(void *arg, struct id id, const uint8_t *p, size_t n)
{
        struct fake_record *r = find_record(arg, id);

        assert_non_null(r);
        r->id = id;
        buf_clear(&r->bytes);
        buf_append(&r->bytes, p, n);
}

static void port_forget(void *arg, struct id id)
{
        struct fake_record *r = find_record(arg, id);

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
                                    .container_adopt = port_adopt,
                                    .container_stop = port_stop,
                                    .container_remove = port_remove,
                                    .journal_put = port_put,
                                    .journal_remove = port_forget,
                                    .on_session = port_session};
        struct agent_config c = {7, &f->description};

        f->a = agent_new(&c, &ports);
}

void fake_clear_sent(struct fake *f)
{
        for (size_t i = 0; i < f->n_sent; i++)
                buf_clear(&f->sent[i]);
        f->n_sent = 0;
}

int fake_set_up(void **state)
{
        struct fake *f = xnew(struct fake);

        f->now = (struct now){1000, 5000000};
        swarm__node_description__init(&f->description);
        make_agent(f);
        *state = f;
        return 0;
}

int fake_tear_down(void **state)
{
        struct fake *f = *state;

        agent_free(f->a);
        for (size_t i = 0; i < ARRAY_SIZE(f->sent); i++)
                buf_done(&f->sent[i]);
        for (size_t i = 0; i < FAKE_RECORDS_MAX; i++)
                buf_done(&f->journal[i].bytes);
        buf_done(&f->log);
        free(f);
        return 0;
}

void fake_expect(struct fake *f, const char *words)
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
                                if (str_is_equal(s->message, TASK_MESSAGE_STOPPING))
                                        buf_printf(out, "[%s]", s->message);
                        }
                        break;
                default: fail();
                }
                wire_free(m);
        }
        fake_clear_sent(f);
}

void fake_expect_sent(struct fake *f, const char *words)
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

void fake_give_session(struct fake *f)
{
        Swarm__ManagerMessage m = SWARM__MANAGER_MESSAGE__INIT;
        Swarm__Session s = SWARM__SESSION__INIT;
        uint8_t node[ID_BYTES];

        f->session++;
        f->seq = 0;
        s.session = (ProtobufCBinaryData){sizeof(f->session), (uint8_t *)&f->session};
        s.node_id = wire_id(fake_id(77), node);
        s.heartbeat_ms = 1000;
        s.dead_ms = 3000;
        s.answers = f->registered;
        s.protocol = f->protocol;
        m.kind_case = SWARM__MANAGER_MESSAGE__KIND_SESSION_START;
        m.session_start = &s;
        deliver(f, &m);
}

void fake_answer_heartbeat(struct fake *f, int64_t next_ms)
{
        Swarm__ManagerMessage m = SWARM__MANAGER_MESSAGE__INIT;
        Swarm__HeartbeatReply reply = SWARM__HEARTBEAT_REPLY__INIT;

        reply.next_ms = next_ms;
        m.kind_case = SWARM__MANAGER_MESSAGE__KIND_HEARTBEAT;
        m.heartbeat = &reply;
        deliver(f, &m);
}

void fake_give_set(struct fake *f, const struct fake_set *set)
{
        Swarm__ManagerMessage m = SWARM__MANAGER_MESSAGE__INIT;
        Swarm__Assignments as = SWARM__ASSIGNMENTS__INIT;
        Swarm__TaskAssignment tasks[4], *list[4];
        Swarm__ServiceSpec spec = SWARM__SERVICE_SPEC__INIT;
        Swarm__TaskSpec task = SWARM__TASK_SPEC__INIT;
        Swarm__ContainerSpec container = SWARM__CONTAINER_SPEC__INIT;
        Swarm__SpecVersion version = SWARM__SPEC_VERSION__INIT, *versions = &version;
        uint8_t ids[6][ID_BYTES];
        ProtobufCBinaryData removed = wire_id(fake_id(set->removed), ids[4]);
        _cleanup_buf_ struct buf packed = {0};

        spec.name = (char *)"web";
        spec.task = &task;
        task.container = &container;
        WIRE_PACK(&spec, &packed);
        version.service_id = wire_id(fake_id(9), ids[5]);
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
                tasks[i].task_id = wire_id(fake_id(set->tasks[i].id), ids[i]);
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

void fake_acknowledge(struct fake *f, uint64_t seq)
{
        Swarm__ManagerMessage m = SWARM__MANAGER_MESSAGE__INIT;
        Swarm__StatusAck ack = SWARM__STATUS_ACK__INIT;

        ack.seq = seq;
        m.kind_case = SWARM__MANAGER_MESSAGE__KIND_STATUS_ACK;
        m.status_ack = &ack;
        deliver(f, &m);
}

void fake_refuse(struct fake *f, int code)
{
        Swarm__ManagerMessage m = SWARM__MANAGER_MESSAGE__INIT;
        Swarm__Refused r = SWARM__REFUSED__INIT;

        r.code = (uint32_t)code;
        m.kind_case = SWARM__MANAGER_MESSAGE__KIND_REFUSED;
        m.refused = &r;
        deliver(f, &m);
}

void fake_happen(struct fake *f, uint64_t task, enum container_event_kind kind)
{
        struct container_event e = {.task = fake_id(task), .kind = kind, .text = "broken"};

        agent_on_container(f->a, f->now, &e);
}

void fake_end(struct fake *f, uint64_t task, int exit_code, bool is_oom)
{
        struct container_event e = {.task = fake_id(task),
                                    .kind = CONTAINER_EXITED,
                                    .exit_code = exit_code,
                                    .is_oom = is_oom};

        agent_on_container(f->a, f->now, &e);
}

void fake_tick(struct fake *f, int64_t ms)
{
        f->now.mono_ms += ms;
        f->now.wall_ms += ms;
        agent_tick(f->a, f->now);
}

void fake_begin(struct fake *f)
{
        agent_start(f->a, f->now);
        agent_on_connected(f->a, f->now);
        fake_expect_sent(f, "register");
        fake_give_session(f);
        fake_give_set(f, &(struct fake_set){.is_complete = true});
        fake_expect_sent(f, "");
}

void fake_begin_running(struct fake *f, uint64_t task)
{
        fake_begin(f);
        fake_give_set(f, &(struct fake_set){.tasks = {{task, TASK_RUNNING}}});
        fake_happen(f, task, CONTAINER_PREPARED);
        fake_happen(f, task, CONTAINER_STARTED);
        fake_clear_sent(f);
        fake_acknowledge(f, 1);
        buf_clear(&f->log);
}

void fake_restart(struct fake *f)
{
        agent_free(f->a);
        make_agent(f);
        for (size_t i = 0; i < FAKE_RECORDS_MAX; i++)
                if (!id_is_zero(f->journal[i].id))
                        assert_int_equal(agent_load_task(f->a, f->journal[i].bytes.data,
                                                         f->journal[i].bytes.len),
                                         0);
        fake_clear_sent(f);
        buf_clear(&f->log);
}

bool fake_journal_has(struct fake *f, uint64_t task)
{
        struct fake_record *r = find_record(f, fake_id(task));

        return r && id_is_equal(r->id, fake_id(task));
}
