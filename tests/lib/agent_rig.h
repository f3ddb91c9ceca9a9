/*
 * The agent's core for tests: driven through its ports, which note as words what it asks for
 * ("prepare 1 start 1") and keep what it sends. Tasks are of service 9 and have numbers for ids.
 */
#pragma once

#include "agent/agent.h"
#include "shared/base/base.h"

#define FAKE_RECORDS_MAX 16
#define FAKE_SENT_MAX    64

struct fake_record {
        struct id id;
        struct buf bytes;
};

struct fake {
        struct agent *a;
        struct now now;
        struct buf log;
        struct buf sent[FAKE_SENT_MAX];
        size_t n_sent;
        struct fake_record journal[FAKE_RECORDS_MAX];
        uint64_t session, seq;
        uint64_t registered; /* number of the last Register */
        uint32_t protocol;   /* that the manager says is spoken; 0: it does not say */
        Swarm__NodeDescription description;
};

/* A set of tasks that all are of service 9. */
struct fake_set {
        bool is_complete, is_continued, has_no_spec;
        uint64_t applies_to, results_in; /* 0: what fits */
        struct {
                uint64_t id;
                enum task_state desired;
        } tasks[4];
        uint64_t removed;
};

int fake_set_up(void **state);
int fake_tear_down(void **state);
struct id fake_id(uint64_t n);

/* Checks what the ports were asked for since the last check. */
void fake_expect(struct fake *f, const char *words);
/* What was sent since the last check: "register; heartbeat 3; status 1: 4=running". A task's
 * error follows its state in (), that it is being stopped in []. */
void fake_expect_sent(struct fake *f, const char *words);
void fake_clear_sent(struct fake *f);
bool fake_journal_has(struct fake *f, uint64_t task);

/* From the manager. */
void fake_give_session(struct fake *f);
void fake_give_set(struct fake *f, const struct fake_set *set);
void fake_acknowledge(struct fake *f, uint64_t seq);
void fake_refuse(struct fake *f, int code);
void fake_answer_heartbeat(struct fake *f, int64_t next_ms);
/* From the runtime. */
void fake_happen(struct fake *f, uint64_t task, enum container_event_kind kind);
void fake_end(struct fake *f, uint64_t task, int exit_code, bool is_oom);
void fake_tick(struct fake *f, int64_t ms);

/* Connected, with a session and an empty set. */
void fake_begin(struct fake *f);
/* A task that runs, all of it acknowledged. The next batch is number 2. */
void fake_begin_running(struct fake *f, uint64_t task);
/* The agent's process dies; what was in the journal is loaded into a new one. */
void fake_restart(struct fake *f);
