/* The simulator's parts, by file. To be included by sim.h alone. */
#pragma once

#include <stdarg.h>

#ifndef NODES_MAX
#include "tests/raft-sim/sim.h"
#endif

/* world.c: time, chance, network. */
/* Calls fn later. With a node: only if its process is still the same one then. arg: from the heap
 * or NULL; freed after the call. */
void at(struct world *w, int64_t delay_ms, event_fn *fn, struct node *n, void *arg);
bool run_until(struct world *w, int64_t until_ms);
bool chance(struct world *w, uint64_t of_thousand);
int64_t between(struct world *w, int64_t low, int64_t high);
void fail(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
void trace(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
void world_done(struct world *w);
/* Carries a message over the (bad) network. */
void carry(struct node *from, const struct raft_message *m);
struct node *node_by_id(struct world *w, uint64_t id); /* NULL: not used */

/* node.c: a manager's driver. */
struct node *node_new(struct world *w); /* NULL: no id is left */
void node_start(struct node *n);
void node_crash(struct node *n);
void node_pause(struct node *n, int64_t ms);
void node_lose_link(struct node *n, uint64_t peer); /* to a process that may be gone */
int64_t node_step(struct node *n, struct raft_event *e);
void node_on_disk(struct node *n, const struct disk_done *done); /* it is durable */
void node_persisted(struct node *n, uint64_t seq);
void node_done(struct node *n);
uint64_t entry_op(const struct raft_entry *e); /* 0: not a client's */
uint64_t entry_key(const struct raft_entry *e);

/* client.c */
void client_act(struct world *w, struct node *unused, void *arg);
void client_knock(struct world *w, struct node *n, void *arg); /* asks that node */
void client_applied(struct node *n, uint64_t index, uint64_t term);
void client_reads(struct node *n);
void client_lost(struct node *n); /* what waits at this node will never be answered */

/* history.c */
uint64_t history_tick(struct world *w);
void history_note(struct world *w, const struct op *op, uint64_t value, bool is_answered);
void history_check(struct world *w); /* at the end */

/* fault.c */
void draw_world(struct world *w);
void fault_act(struct world *w, struct node *unused, void *arg);
void spite(struct node *n, uint64_t of_thousand); /* perhaps a blow, here and now */
void heal(struct world *w);

/* admin.c */
void admin_act(struct world *w, struct node *unused, void *arg);
void admin_ask(struct world *w, struct node *leader, void *arg);
struct node *find_leader(struct world *w); /* one that thinks it is */

/* check.c: each fails the world when a promise is broken. */
void check_leader(struct node *n);
void check_vote(struct node *n, const struct raft_message *m); /* leaves n */
void check_write(struct node *n, const struct raft_write *write);
void check_base(struct node *n, const struct raft_base *base); /* comes to stand on n's disk */
void check_commit(struct node *n, uint64_t index);
void check_applied(struct node *n, const struct raft_entry *e);
void check_leading(struct node *n);           /* after each step of a leader */
void check_stale(struct world *w);            /* now and then */
const char *check_converged(struct world *w); /* NULL: it is; else what is stuck */
